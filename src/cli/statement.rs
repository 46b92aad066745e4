//! `apportion statement`: list, show, approve, issue, what the other party says, and waive what an issue waits for.

use super::contracts::check_known;
use super::hints::{next_step, waive as waive_command};
use super::output::{self, counted, json, line};
use super::{Format, Session, named, stated};
use apportion::domain::ids::ContractId;
use apportion::jobs::statements::{
    Reply, UnresolvedEvents, approve, events_since_cutoff, head, issue, read, reply, unresolved_events,
    unwaived_events, waive,
};
use apportion::store::books::{StatementFilter, StatementHead, list_statements};
use apportion::store::statement_statuses::StatusChange;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;
use std::collections::BTreeSet;

const EXAMPLES: &str = "\
A statement is a draft, then approved by someone else than its maker, then issued, which closes its period.

Examples:
  apportion statement list
  apportion statement show 1
  apportion statement approve 1 --by ben
  apportion statement issue 1 --by ben";

const SHOW_EXAMPLES: &str = "\
As JSON, `statement` is byte for byte what `sha256` is the digest of.

Examples:
  apportion statement show 1
  apportion statement show 1 --format json";

/// List, show, approve and issue statements
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the statements with their status
    #[command(after_help = "Examples:\n  apportion statement list\n  apportion statement list microsoft-openai")]
    List {
        /// Of this contract alone
        contract: Option<String>,
    },
    /// Show a statement: every amount with its clause, rate, base and cap
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The statement's number, as `apportion statement list` shows it
        #[arg(value_parser = number)]
        id: i64,
    },
    /// Approve a draft that someone else made
    #[command(after_help = "Example:\n  apportion statement approve 1 --by ben")]
    Approve {
        /// The statement's number
        #[arg(value_parser = number)]
        id: i64,
        /// Who approves; not the one who made the draft
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// Issue an approved statement; this closes its period
    #[command(after_help = "Example:\n  apportion statement issue 1 --by ben")]
    Issue {
        /// The statement's number
        #[arg(value_parser = number)]
        id: i64,
        /// Who issues
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// Note that the other party agrees to an issued statement
    #[command(after_help = "Example:\n  apportion statement agree 1 --by ben --reason 'their mail of 3 June'")]
    Agree(Replied),
    /// Note that an issued statement is disputed; what was wrong is booked in a later period
    #[command(after_help = "Example:\n  apportion statement dispute 1 --by ben --reason 'they miss a refund'")]
    Dispute(Replied),
    /// Note that a statement which was agreed to is paid, which settles it
    #[command(after_help = "Example:\n  apportion statement pay 1 --by ben --reason 'transfer of 14 July'")]
    Pay(Replied),
    /// Decide that a period need not wait for the usage that was unresolved when it was drawn up
    #[command(after_help = "Example:\n  apportion statement waive 1 --by ben --reason 'test traffic'")]
    Waive {
        /// The statement's number
        #[arg(value_parser = number)]
        id: i64,
        /// Who decides
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
        /// Why the usage need not be in the statement
        #[arg(long, value_parser = stated)]
        reason: String,
    },
}

/// Says what of the period's usage came in since the cutoff: it is still time to have it in the statement.
fn tell_news(events_since_cutoff: Option<i64>) -> anyhow::Result<()> {
    if let Some(events) = events_since_cutoff.filter(|events| *events > 0) {
        line(format!(
            "Since its cutoff {} of the period came in: settle it again before it is issued, or they are booked in the next one.",
            counted(events, "event")
        ))?;
    }
    Ok(())
}

/// What was heard of an issued statement.
#[derive(Debug, clap::Args)]
struct Replied {
    /// The statement's number
    #[arg(value_parser = number)]
    id: i64,
    /// Who notes it
    #[arg(long, env = "APPORTION_USER", value_parser = named)]
    by: String,
    /// Where it is from, or why
    #[arg(long, value_parser = stated)]
    reason: String,
}

/// A statement's number; its contract or period is none.
pub fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a statement's number is expected, as `apportion statement list` shows it".to_owned())
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool().await?;
    match args.command {
        Command::List { contract } => {
            let of = contract.as_deref().map(ContractId::from);
            let filter = StatementFilter { contract: of, ..StatementFilter::default() };
            let mut rows = list_statements(&mut *pool.acquire().await?, &filter).await?;
            if let (Some(contract), true) = (&contract, rows.is_empty()) {
                check_known(&pool, contract).await?;
            }
            rows.sort_by(|a, b| (&a.contract, a.period).cmp(&(&b.contract, b.period)));
            match session.format {
                Format::Json => json(&rows)?,
                Format::Table if rows.is_empty() => {
                    line("No statements yet; `apportion settle CONTRACT PERIOD --by NAME` drafts them.")?
                }
                Format::Table => line(list(&rows))?,
            }
        }
        Command::Show { id } => {
            let mut conn = pool.acquire().await?;
            let record = read(&mut conn, id).await?;
            let unresolved = unresolved_events(&mut conn, &record.head).await?;
            let events_since_cutoff = events_since_cutoff(&mut conn, &record.head).await?;
            match session.format {
                Format::Json => {
                    let statement = RawValue::from_string(record.document)?;
                    let (head, history) = (&record.head, &record.history);
                    let UnresolvedEvents { events: unresolved_events, unwaived: unwaived_events } = unresolved;
                    json(&Shown { head, history, unresolved_events, unwaived_events, events_since_cutoff, statement })?;
                }
                Format::Table => {
                    line(super::statement_text::text(&record.head, &record.statement()?, unresolved))?;
                    line(changes(&record.history))?;
                    tell_news(events_since_cutoff)?;
                }
            }
        }
        Command::Approve { id, by } => {
            approve(&pool, id, by.as_str()).await?;
            report(&pool, id, session).await?;
        }
        Command::Issue { id, by } => {
            issue(&pool, id, by.as_str()).await?;
            report(&pool, id, session).await?;
        }
        Command::Agree(heard) => note(&pool, Reply::Agree, &heard, session).await?,
        Command::Dispute(heard) => note(&pool, Reply::Dispute, &heard, session).await?,
        Command::Pay(heard) => note(&pool, Reply::Pay, &heard, session).await?,
        Command::Waive { id, by, reason } => {
            let waived = waive(&pool, id, &by, &reason).await?;
            let events: i64 = waived.iter().map(|usage| usage.events).sum();
            let names: BTreeSet<_> = waived.iter().map(|it| (&it.source, &it.deployment, &it.product)).collect();
            match session.format {
                Format::Json => json(&waived)?,
                Format::Table => line(format!(
                    "Waived {}, of {} of `apportion usage unresolved`. What is used later, or comes in later, is asked for again.",
                    counted(events, "unresolved event"),
                    counted(names.len(), "line")
                ))?,
            }
        }
    }
    Ok(())
}

/// A statement as JSON: how it stands, how it came there, and the document byte for byte as it was stored.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    head: &'a StatementHead,
    history: &'a [StatusChange],
    unresolved_events: i64,
    unwaived_events: i64,
    /// Until it is issued.
    events_since_cutoff: Option<i64>,
    statement: Box<RawValue>,
}

async fn note(pool: &PgPool, heard: Reply, said: &Replied, session: &Session) -> anyhow::Result<()> {
    reply(pool, said.id, heard, said.by.as_str(), &said.reason).await?;
    report(pool, said.id, session).await
}

async fn report(pool: &PgPool, id: i64, session: &Session) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let row = head(&mut conn, id).await?;
    match session.format {
        Format::Json => json(&row),
        Format::Table => {
            line(format!("Statement {id} is {}, revision {}.", row.status, row.revision))?;
            let unwaived = unwaived_events(&mut conn, &row).await?;
            if unwaived > 0 {
                line(format!(
                    "Before its issue: no register names the deployment or product of {}. Register them with \
                     `apportion contracts apply FOLDER` and settle again, or {}.",
                    counted(unwaived, "event"),
                    waive_command(id)
                ))?;
            }
            if let Some(step) = next_step(id, row.status) {
                line(format!("Next: {step}."))?;
            }
            tell_news(events_since_cutoff(&mut conn, &row).await?)
        }
    }
}

/// The statuses that a statement had, as a table.
fn changes(history: &[StatusChange]) -> comfy_table::Table {
    let heading = ["status", "revision", "at", "by", "key", "party", "reason"];
    let row = |change: &StatusChange| {
        vec![
            change.status.to_string(),
            change.revision.to_string(),
            change.changed_at.to_string(),
            change.changed_by.clone(),
            change.key_id.clone().unwrap_or_default(),
            change.party.as_ref().map(ToString::to_string).unwrap_or_default(),
            change.reason.clone(),
        ]
    };
    output::table(&heading, &[1], history.iter().map(row))
}

/// The statements as a table.
pub fn list(rows: &[StatementHead]) -> comfy_table::Table {
    let heading = ["id", "contract", "period", "between", "currency", "revision", "status", "status set by"];
    let row = |row: &StatementHead| {
        vec![
            row.statement_id.to_string(),
            row.contract.to_string(),
            row.period.to_string(),
            format!("{} and {}", row.party_a, row.party_b),
            row.unit.to_string(),
            row.revision.to_string(),
            row.status.to_string(),
            row.changed_by.clone(),
        ]
    };
    output::table(&heading, &[0, 5], rows.iter().map(row))
}
