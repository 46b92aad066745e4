//! `apportion invoice`: draw invoices and credit notes from issued statements, list, show and write them out.

use super::contracts::check_known;
use super::output::{self, exact, json, line, money, tell};
use super::{Format, Session, Stop, named};
use apportion::domain::calendar::Period;
use apportion::domain::ids::{ContractId, InvoiceNumber, PartyId};
use apportion::domain::invoice::{Invoice, InvoiceKind, NotDrawn, NotDrawnReason, Payable};
use apportion::jobs::invoices::{Drawn, document, draw, draw_all, list, read, show};
use apportion::render::csv::csv;
use apportion::render::pdf::pdf;
use apportion::store::invoices::{InvoiceFilter, InvoiceHead};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
A document is drawn once from each direction of an issued statement in which something is to be paid. Its number \
is its issuer's next one, without gaps; what it says never changes.

Examples:
  apportion invoice draw --all --by ben
  apportion invoice list
  apportion invoice show OPENAI-000001
  apportion invoice pdf OPENAI-000001 --output OPENAI-000001.pdf
  apportion invoice csv --period 2026-05 --output may.csv";

const DRAW_EXAMPLES: &str = "\
A statement that was drawn before gives the same documents again.

Examples:
  apportion invoice draw 1 --by ben
  apportion invoice draw --all --by ben";

const SHOW_EXAMPLES: &str = "\
As JSON, `invoice` is byte for byte what `sha256` is the digest of.

Examples:
  apportion invoice show OPENAI-000001
  apportion invoice show OPENAI-000001 --format json";

const LIST_EXAMPLES: &str = "\
Examples:
  apportion invoice list
  apportion invoice list --contract microsoft-openai --period 2026-05
  apportion invoice list --payer openai --kind credit_note";

const PDF_EXAMPLES: &str = "\
The file is PDF/A-3b and carries the JSON document. The same document gives the same bytes.

Example:
  apportion invoice pdf OPENAI-000001 --output OPENAI-000001.pdf";

const CSV_EXAMPLES: &str = "\
One row a line; the amounts of a document's rows sum to its total.

Examples:
  apportion invoice csv
  apportion invoice csv --contract microsoft-openai --period 2026-05 --output may.csv";

/// Draw, list, show and write out invoices and credit notes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Draw the invoices and credit notes of an issued statement, or of all of them
    #[command(after_help = DRAW_EXAMPLES)]
    Draw {
        /// The statement's number, as `apportion statement list` shows it
        #[arg(value_parser = super::statement::number, required_unless_present = "all", conflicts_with = "all")]
        statement: Option<i64>,
        /// Every issued statement that was not drawn yet
        #[arg(long)]
        all: bool,
        /// Who draws
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// List the documents
    #[command(after_help = LIST_EXAMPLES)]
    List(Filter),
    /// Show a document
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its number, as `apportion invoice list` shows it
        number: String,
    },
    /// Write a document as PDF
    #[command(after_help = PDF_EXAMPLES)]
    Pdf {
        /// Its number, as `apportion invoice list` shows it
        number: String,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write documents as CSV
    #[command(after_help = CSV_EXAMPLES)]
    Csv {
        #[command(flatten)]
        filter: Filter,
        /// The file to write; else standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Under this contract
    #[arg(long)]
    contract: Option<String>,
    /// Of this period
    #[arg(long)]
    period: Option<Period>,
    /// From this party, which is paid
    #[arg(long)]
    issuer: Option<String>,
    /// To this party, which pays
    #[arg(long)]
    payer: Option<String>,
    /// `invoice` or `credit_note`
    #[arg(long)]
    kind: Option<InvoiceKind>,
    /// Drawn from this statement
    #[arg(long, value_parser = super::statement::number)]
    statement: Option<i64>,
}

impl From<Filter> for InvoiceFilter {
    fn from(asked: Filter) -> Self {
        Self {
            number: None,
            kind: asked.kind,
            issuer: asked.issuer.map(PartyId::new),
            payer: asked.payer.map(PartyId::new),
            contract: asked.contract.map(ContractId::new),
            period: asked.period,
            statement_id: asked.statement,
            ..Self::default()
        }
    }
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool().await?;
    match args.command {
        Command::Draw { statement: Some(id), all: _, by } => {
            let drawn = draw(&pool, id, &by).await?;
            match session.format {
                Format::Json => json(&drawn)?,
                Format::Table => show_drawn(&drawn)?,
            }
        }
        Command::Draw { statement: None, all: _, by } => {
            let all = draw_all(&pool, &by).await?;
            match session.format {
                Format::Json => json(&all)?,
                Format::Table => {
                    all.drawn.iter().try_for_each(show_drawn)?;
                    if all.drawn.is_empty() && all.left.is_empty() {
                        line("Every issued statement was drawn before.")?;
                    }
                }
            }
            let left: Vec<&str> = all.left.iter().map(|left| left.why.as_str()).collect();
            if !left.is_empty() {
                return Err(Stop::Left { what: left.join("\n") }.into());
            }
        }
        Command::List(filter) => {
            let contract = filter.contract.clone();
            let rows = list(&pool, &filter.into()).await?;
            if let (Some(contract), true) = (&contract, rows.is_empty()) {
                check_known(&pool, contract).await?;
            }
            match session.format {
                Format::Json => json(&rows)?,
                Format::Table if rows.is_empty() => {
                    line(
                        "No such documents; `apportion invoice draw --all --by NAME` draws those of issued statements.",
                    )?;
                }
                Format::Table => line(table(&rows))?,
            }
        }
        Command::Show { number } => {
            let number = InvoiceNumber::new(number);
            match session.format {
                Format::Json => {
                    let (head, document) = document(&pool, &number).await?;
                    json(&Shown { head: &head, invoice: RawValue::from_string(document)? })?;
                }
                Format::Table => line(text(&show(&pool, &number).await?.1))?,
            }
        }
        Command::Pdf { number, output } => {
            let (_, document) = document(&pool, &InvoiceNumber::new(number)).await?;
            write_file(&output, &pdf(&document)?)?;
        }
        Command::Csv { filter, output } => {
            let rows = csv(&read(&pool, &filter.into()).await?)?;
            match output {
                Some(output) => write_file(&output, rows.as_bytes())?,
                None => output::text(&rows)?,
            }
        }
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).map_err(|error| Stop::unusable(path, &error))?;
    tell(format_args!("Written to {}.", path.display()));
    Ok(())
}

/// A document as JSON: how it is found, and what it says, byte for byte as it was stored.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    head: &'a InvoiceHead,
    invoice: Box<RawValue>,
}

fn show_drawn(drawn: &Drawn) -> anyhow::Result<()> {
    let when = if drawn.is_new { "drawn" } else { "was drawn before" };
    line(format!("Statement {}: {when}.", drawn.statement_id))?;
    if !drawn.invoices.is_empty() {
        line(table(&drawn.invoices))?;
    }
    for NotDrawn { payer, payee, reason } in &drawn.not_drawn {
        line(format!("No document from {payee} to {payer}: {}.", why(reason)))?;
    }
    Ok(())
}

fn why(reason: &NotDrawnReason) -> String {
    match reason {
        NotDrawnReason::NothingToPay => "nothing is to be paid".to_owned(),
        NotDrawnReason::NotMoney { unit } => format!("it is owed in {unit}, which is no currency"),
        // It is kept as what comes off.
        NotDrawnReason::CreditCarried { credit } => {
            format!("a credit of {} is carried into later periods", exact(&-credit.clone()))
        }
    }
}

/// The documents as a table.
fn table(rows: &[InvoiceHead]) -> comfy_table::Table {
    let heading = ["number", "kind", "to", "contract", "period", "issued", "due", "total", "statement"];
    let row = |row: &InvoiceHead| {
        vec![
            row.number.to_string(),
            row.kind.to_string(),
            row.payer.to_string(),
            row.contract.to_string(),
            row.period.to_string(),
            row.issued_on.to_string(),
            due(row),
            money(&row.total, row.currency),
            row.statement_id.to_string(),
        ]
    };
    output::table(&heading, &[7, 8], rows.iter().map(row))
}

fn due(row: &InvoiceHead) -> String {
    match Payable::of(row.issued_on, row.due_on) {
        Payable::By(due) => due.to_string(),
        Payable::OnReceipt { was_due_on } => format!("on receipt, was {was_due_on}"),
        Payable::Unstated => "not stated".to_owned(),
    }
}

fn text(invoice: &Invoice) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, invoice);
    out
}

fn write(out: &mut String, invoice: &Invoice) -> fmt::Result {
    let kind = match invoice.kind {
        InvoiceKind::Invoice => "Invoice",
        InvoiceKind::CreditNote => "Credit note",
    };
    writeln!(out, "{kind} {}", invoice.number)?;
    writeln!(out, "From {} to {}, issued on {}", invoice.issuer.name, invoice.payer.name, invoice.issued_on)?;
    writeln!(out, "{}: {} in {}", invoice.title, invoice.period, invoice.zone)?;
    let reference = &invoice.statement;
    writeln!(
        out,
        "From statement {}, revision {}. SHA-256 of the statement {}",
        reference.statement_id, reference.revision, reference.sha256
    )?;
    for corrected in &invoice.corrects {
        writeln!(out, "Corrects {} of {}", corrected.number, corrected.issued_on)?;
    }
    let mut rows: Vec<Vec<String>> = invoice
        .lines
        .iter()
        .map(|line| {
            let clause = format!("{} ({})", line.clause, line.term);
            vec![clause, line.origin_period.to_string(), money(&line.amount, invoice.currency)]
        })
        .collect();
    if !invoice.carried_in.is_zero() {
        let amount = money(&invoice.carried_in, invoice.currency);
        rows.push(vec!["Credit of earlier periods".into(), String::new(), amount]);
    }
    rows.push(vec!["Total".into(), String::new(), money(&invoice.total, invoice.currency)]);
    writeln!(out, "{}", output::table(&["clause", "origin", "amount"], &[2], rows))?;
    match invoice.payable() {
        Payable::By(due) => write!(out, "Due on {due}."),
        Payable::OnReceipt { was_due_on } => {
            write!(out, "Due on receipt; by the contract it was due by {was_due_on}, before it was issued.")
        }
        Payable::Unstated => write!(out, "No term says when after the period it is due."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apportion::domain::money::Exact;

    #[test]
    fn a_credit_is_told_without_a_sign() {
        let reason = NotDrawnReason::CreditCarried { credit: Exact::from_integer(-2580) };
        assert_eq!(why(&reason), "a credit of 2,580 is carried into later periods");
    }
}
