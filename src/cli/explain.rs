//! `apportion explain`: an amount, back through rounding, cap, rate, base and price to events and clause.

use super::explain_text::tree;
use super::output::{json, line};
use super::simulate::{files, left_out};
use super::simulate_text::drawn;
use super::statement::number;
use super::{Format, Session, Stop};
use anyhow::Context;
use apportion::domain::calendar::Period;
use apportion::domain::explain::settled::Wanted;
use apportion::domain::explain::{Depth, Question};
use apportion::domain::ids::{ContractId, TermId};
use apportion::domain::period::{Instant, instant_or_date};
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::explained::{Amounts, Explained, explain};
use apportion::domain::simulate::sheet;
use apportion::jobs::explain::{ExplainError, ExplainedStatement, explain_statement};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Parts sum exactly to the amount above them, times its factor where it has one. Of a statement everything is as \
known at its cutoff. Of a scenario it is what is owed for the period, whatever was booked; that needs no database. \
Usage and records of a scenario that do not count are told below, where they stand and why. Exit status 4 where there \
are any, or something is missing, such as a price or figure.

Examples:
  apportion explain 1
  apportion explain 2 --term revenue-share --origin 2026-05 --depth events --limit 5
  apportion explain 1 --format json
  apportion explain --scenario scenarios/reference --with contracts \\
    --contract microsoft-openai --period 2026-05 --known-at 2026-07-01";

/// Take an amount apart: rounding, cap, rate, base, prices, events, and the clause behind it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The statement's number, as `apportion statement list` shows it
    #[arg(value_name = "STATEMENT", value_parser = statement, required_unless_present = "scenario", conflicts_with = "scenario")]
    statement: Option<i64>,
    /// A scenario in place of a statement: a folder, or a document that holds the files
    #[arg(long, value_name = "FOLDER", requires_all = ["contract", "period"])]
    scenario: Option<PathBuf>,
    /// Files beneath those of the scenario, such as agreements
    #[arg(long, value_name = "FOLDER", requires = "scenario")]
    with: Vec<PathBuf>,
    /// Of a scenario: the contract's id
    #[arg(long, requires = "scenario")]
    contract: Option<String>,
    /// Of a scenario: the period in which what is owed arose, as the contract's calendar names it
    #[arg(long, requires = "scenario")]
    period: Option<String>,
    /// Of a scenario: see only what was recorded by then; everything if left out
    #[arg(long, value_parser = instant_or_date, requires = "scenario")]
    known_at: Option<Instant>,
    /// This term alone
    #[arg(long)]
    term: Option<String>,
    /// Of a statement: what arose in this period alone
    #[arg(long, conflicts_with = "scenario")]
    origin: Option<Period>,
    /// How far down: to quantities by price, or to single events and records
    #[arg(long, value_enum, default_value_t = DepthArg::Sums)]
    depth: DepthArg,
    /// How many parts of one amount are told by themselves; the others are summed
    #[arg(long, default_value_t = Question::USUAL_LIMIT)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DepthArg {
    Sums,
    Events,
}

/// The number of a statement.
fn statement(text: &str) -> Result<i64, String> {
    number(text).map_err(|error| format!("{error}; a scenario's folder comes after --scenario"))
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let depth = match args.depth {
        DepthArg::Sums => Depth::Sums,
        DepthArg::Events => Depth::Events,
    };
    let question = Question { depth, limit: args.limit };
    match args.statement {
        Some(id) => {
            let wanted = Wanted { term: args.term.map(TermId::new), origin: args.origin };
            let explained = explain_statement(&session.pool().await?, id, &wanted, question).await;
            let explained = explained.map_err(|error| match error {
                ExplainError::Statement(error) => anyhow::Error::from(error),
                ExplainError::Settle(error) => anyhow::Error::from(error),
            })?;
            show_statement(&explained, session.format)
        }
        None => of_scenario(&args, question, session.format),
    }
}

fn show_statement(explained: &ExplainedStatement, format: Format) -> anyhow::Result<()> {
    let ExplainedStatement { id, revision, contract, period, cutoff, .. } = explained;
    if explained.lines.is_empty() {
        let reason =
            format!("no such line in statement {id}; `apportion statement show {id}` lists its terms and origins");
        return Err(Stop::Refused { reason }.into());
    }
    let is_same = explained.is_same_input();
    let differing = explained.lines.iter().filter(|it| it.tree.amount != it.stated).count();
    match format {
        Format::Json => json(explained)?,
        Format::Table => {
            line(format!("Statement {id} (revision {revision}) of {contract}, {period}, as known at {cutoff}"))?;
            match is_same {
                true => {
                    line(format!("From the input that was settled, whose SHA-256 is {}", explained.settled_sha256))?
                }
                false => line(format!(
                    "NOT from the input that was settled: its SHA-256 was {}, now it is {}",
                    explained.settled_sha256, explained.loaded_sha256
                ))?,
            }
            for it in &explained.lines {
                line(format!("\n{}", tree(&it.tree)))?;
            }
        }
    }
    match (differing, is_same) {
        (0, true) => Ok(()),
        (0, false) => anyhow::bail!(
            "the amounts are those of the statement, but not from the input that was settled: compare the versions, \
             prices, rates, records and usage recorded by {cutoff} with what stood when it was settled"
        ),
        (count, _) => {
            anyhow::bail!("{count} amounts are not what the statement says; its input is not what was settled")
        }
    }
}

fn of_scenario(args: &Args, question: Question, format: Format) -> anyhow::Result<()> {
    let missing = "--scenario, --contract and --period";
    let folder = args.scenario.as_ref().context(missing)?;
    let contract = ContractId::new(args.contract.as_ref().context(missing)?);
    let period = args.period.as_ref().context(missing)?;
    let mut beneath = Vec::new();
    for with in &args.with {
        beneath.extend(files(with)?);
    }
    let scenario = Scenario::read_between(&beneath, &files(folder)?, &[]);
    let scenario = scenario.map_err(|errors| Stop::Refused { reason: errors.to_string() })?;
    let term = args.term.as_ref().map(TermId::new);
    let known_at = args.known_at.unwrap_or(Instant::MAX_UTC);
    let amounts = Amounts { contract: &contract, period, term: term.as_ref(), known_at };
    let Explained { amounts: trees, not_in_force, uncounted } =
        explain(&scenario, &amounts, question).map_err(|error| match error.is_waiting() {
            true => Stop::Left { what: error.to_string() },
            false => Stop::Refused { reason: error.to_string() },
        })?;
    match format {
        Format::Json => json(&serde_json::json!({
            "scenario": folder, "contract": contract, "period": period, "known_at": args.known_at, "amounts": trees,
            "not_in_force": not_in_force.map(|it| it.to_string()), "uncounted": uncounted,
        }))?,
        Format::Table => {
            if trees.is_empty() {
                line(amounts.none(not_in_force))?;
            }
            for (place, node) in trees.iter().enumerate() {
                line(format!("{}{}", if place == 0 { "" } else { "\n" }, tree(node)))?;
            }
            if !uncounted.is_empty() {
                line(format!("\nuncounted\n{}", drawn(&sheet::uncounted(&uncounted))))?;
            }
        }
    }
    left_out(uncounted.len()).map_or(Ok(()), |what| Err(Stop::Left { what }.into()))
}
