//! `apportion finding`: list and show the usage that breaks rights or seems to be reported twice, and decide on it.

use super::output::{self, counted, exact, json, line, money};
use super::{Format, Session, double_report, named, stated};
use apportion::domain::calendar::Period;
use apportion::domain::contract::rights::OnBreach;
use apportion::domain::findings::{Ended, Finding, Verdict};
use apportion::domain::ids::ContractId;
use apportion::domain::money::{Currency, Exact, Rounding};
use apportion::domain::period::{Instant, Span, instant_or_date};
use apportion::jobs::double_reports::WaiveRequest;
use apportion::jobs::findings::{DecideRequest, FindingDetails, FindingFilter, FindingList, decide, list, show};
use apportion::store::finding_decisions::Decision;
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

const EXAMPLES: &str = "\
Usage that breaks a right (launch order, exclusivity, licence) is grouped by right, product, deployment and day. A double \
report is a reply of a model that more than one event reports, each with the same work: `find-double-reports`, a job, looks for them.

Examples:
  apportion finding list
  apportion finding show 5f0c2a9d8be41376
  apportion finding decide 5f0c2a9d8be41376 release --by ben --reason 'waived by letter'
  apportion finding waive 0b7c3e5a-91d2-4f68-a0c4-7de1f2b38c95 --by ben --reason 'charged cache'";

const LIST_EXAMPLES: &str = "\
What is held is left out of every base of its contract until it is released. Double reports belong to no contract: they are \
listed where neither a contract nor a period is asked for.

Examples:
  apportion finding list
  apportion finding list microsoft-openai --period 2026-05
  apportion finding list --known-at 2026-06-01T00:00:00Z --format json
  apportion finding list --since 2026-06-01";

const SHOW_EXAMPLES: &str = "\
Examples:
  apportion finding show 5f0c2a9d8be41376
  apportion finding show 5f0c2a9d8be41376 --format json
  apportion finding show 0b7c3e5a-91d2-4f68-a0c4-7de1f2b38c95";

const WAIVE_EXAMPLES: &str = "\
A waiver says that each event of a double report counts that is known then: they are of several calls, or of replies from a \
cache that are charged each time. One that comes later is suspected anew. What was reported twice indeed is voided instead: \
`apportion finding show ID` has the lines.

Examples:
  apportion finding waive 0b7c3e5a-91d2-4f68-a0c4-7de1f2b38c95 --by ben --reason 'charged cache'";

const DECIDE_EXAMPLES: &str = "\
A decision covers the events of the group that are known then, and stands. Released, what was held counts at its \
place, as an adjustment of its origin period; rejected, it never counts. Later events form a new group.

Examples:
  apportion finding decide 5f0c2a9d8be41376 release --by ben --reason 'waived by letter'
  apportion finding decide 5f0c2a9d8be41376 reject --by ben --reason 'sold without a right'";

/// List and show usage that breaks rights or seems to be reported twice, and decide on it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the findings that are open, and what was decided
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Of this contract alone
        contract: Option<String>,
        /// Of this period alone: a month 2026-05, a quarter 2026-Q2 or a year 2026, in the contract's zone
        #[arg(long)]
        period: Option<Period>,
        /// As known at this instant (RFC 3339, or a date for its first instant in UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
        /// List too what broke a right at this instant, or at the first one of this date in UTC, undecided, and does so no
        /// more, through later facts or corrections
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        since: Option<Instant>,
    },
    /// Show a group of findings, or a double report, with its evidence
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The group's or double report's id, as `apportion finding list` shows it
        id: String,
        /// As known at this instant (RFC 3339, or a date for its first instant in UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
    /// Release or reject a group of findings
    #[command(after_help = DECIDE_EXAMPLES)]
    Decide {
        /// The group's id, as `apportion finding list` shows it
        id: String,
        /// release or reject
        verdict: Verdict,
        /// Who decides
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
        /// Why
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Covers what was known at this instant, such as when it was listed, or at the first one of this date in UTC;
        /// without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
    /// Say that each event of a double report counts
    #[command(after_help = WAIVE_EXAMPLES)]
    Waive {
        /// The double report's id, as `apportion finding list` shows it
        id: Uuid,
        /// Who says so
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
        /// Why
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Covers what was known at this instant, such as when it was listed, or at the first one of this date in UTC;
        /// without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
}

/// Findings of both kinds, as they are listed.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    findings: FindingList,
    /// None where those of a contract or period are asked for.
    #[serde(flatten)]
    double_reports: Option<double_report::Listed>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool().await?;
    match args.command {
        Command::List { contract, period, known_at, since } => {
            let contract = contract.map(ContractId::new);
            let mut filter = FindingFilter { contract, ..FindingFilter::default() };
            if let Some(period) = period {
                filter = filter.in_period(period);
            }
            let findings = list(&pool, &filter, known_at, since).await?;
            let double_reports = match (&filter.contract, filter.from) {
                (None, None) => Some(double_report::load(&pool, findings.known_at).await?),
                _ => None,
            };
            match session.format {
                Format::Json => json(&Listed { findings, double_reports })?,
                Format::Table => {
                    print_list(&findings)?;
                    double_reports.as_ref().map_or(Ok(()), double_report::print_list)?;
                }
            }
        }
        Command::Show { id, known_at } => {
            // Only a double report is named by a UUID.
            if let Ok(id) = Uuid::try_parse(&id) {
                return double_report::run_show(session, &pool, id, known_at).await;
            }
            let details = show(&pool, &id, known_at).await?;
            match session.format {
                Format::Json => json(&details)?,
                Format::Table => print_details(&details)?,
            }
        }
        Command::Decide { id, verdict, by, reason, known_at } => {
            let request = DecideRequest { finding: id, verdict, by, reason, known_at };
            let decision = decide(&pool, &request).await?;
            match session.format {
                Format::Json => json(&decision)?,
                Format::Table => {
                    let covered = counted(decision.events, "event");
                    let done = match decision.verdict {
                        Verdict::Release => "Released",
                        Verdict::Reject => "Rejected",
                    };
                    line(format!("{done} {covered}, as known at {}.", decision.cutoff))?;
                    if decision.on_breach == OnBreach::Hold {
                        let contract = &decision.key.contract;
                        line(format!("The next settlement of {contract} takes it into account."))?;
                    }
                }
            }
        }
        Command::Waive { id, by, reason, known_at } => {
            double_report::run_waive(session, &pool, &WaiveRequest { id, by, reason }, known_at).await?;
        }
    }
    Ok(())
}

pub fn print_list(found: &FindingList) -> anyhow::Result<()> {
    if found.findings.is_empty() {
        line(format!("No open finding, as known at {}.", found.known_at))?;
    } else {
        let heading = ["id", "contract", "right", "product", "deployment", "day", "events", "charged", "held", "why"];
        line(output::table(&heading, &[6, 7], found.findings.iter().map(row)))?;
        line(format!("As known at {}; `apportion finding show ID` shows the evidence.", found.known_at))?;
    }
    for Ended { finding, facts } in &found.ended {
        let key = &finding.key;
        let facts: Vec<String> = facts.iter().map(ToString::to_string).collect();
        let cause = if facts.is_empty() { "a correction or a version".to_owned() } else { facts.join(", ") };
        line(format!(
            "Ended: {} of {} at {} on {} no longer {} {}/{} ({}), since {cause} was recorded.",
            counted(finding.events, "event"),
            key.product,
            key.deployment,
            key.day,
            if finding.events == 1 { "breaks" } else { "break" },
            key.contract,
            key.right,
            finding.why.join("; "),
        ))?;
    }
    print_decisions(&found.decisions)
}

fn row(finding: &Finding) -> Vec<String> {
    let key = &finding.key;
    vec![
        finding.id.clone(),
        key.contract.to_string(),
        key.right.to_string(),
        key.product.to_string(),
        key.deployment.to_string(),
        key.day.to_string(),
        output::thousands(finding.events),
        charged(&finding.amounts, finding.unpriced),
        held(finding.on_breach).to_owned(),
        finding.why.join("; "),
    ]
}

fn held(on_breach: OnBreach) -> &'static str {
    match on_breach {
        OnBreach::Hold => "held",
        OnBreach::Report => "",
    }
}

/// What is charged, to the minor unit.
pub fn charged(amounts: &BTreeMap<Currency, Exact>, unpriced: bool) -> String {
    let rounded = amounts
        .iter()
        .map(|(currency, amount)| money(&amount.round(currency.minor_digits(), Rounding::HalfUp), *currency));
    let unpriced = unpriced.then(|| "some without a price".to_owned());
    rounded.chain(unpriced).collect::<Vec<_>>().join(", ")
}

fn print_decisions(decisions: &[Decision]) -> anyhow::Result<()> {
    if decisions.is_empty() {
        return Ok(());
    }
    let heading = ["decision", "finding", "right", "product", "deployment", "day", "events", "verdict", "by", "reason"];
    let row = |it: &Decision| {
        vec![
            it.decision_id.to_string(),
            it.finding.clone(),
            format!("{}/{}", it.key.contract, it.key.right),
            it.key.product.to_string(),
            it.key.deployment.to_string(),
            it.key.day.to_string(),
            output::thousands(it.events),
            it.verdict.to_string(),
            it.decided_by.clone(),
            it.reason.clone(),
        ]
    };
    Ok(line(output::table(&heading, &[0, 6], decisions.iter().map(row)))?)
}

fn print_details(details: &FindingDetails) -> anyhow::Result<()> {
    match &details.finding {
        Some(finding) => {
            let key = &finding.key;
            line(format!(
                "Finding {} of {}/{}, as known at {}",
                finding.id, key.contract, key.right, details.known_at
            ))?;
            line(format!("{} at {} on {}: {}", key.product, key.deployment, key.day, finding.why.join("; ")))?;
            let held = if finding.on_breach == OnBreach::Hold { ", held until it is released" } else { "" };
            line(format!(
                "{}{held}. Charged: {}",
                counted(finding.events, "event"),
                charged(&finding.amounts, finding.unpriced)
            ))?;
            for breach in &finding.breaches {
                let end = breach.span.end;
                let until = if end >= Span::ever().end { "on".to_owned() } else { format!("to {end}") };
                line(format!("Broken from {} {until} (version {})", breach.span.start, breach.version))?;
            }
            let quantities =
                finding.quantities.iter().map(|(meter, quantity)| vec![meter.to_string(), exact(quantity)]);
            line(output::table(&["meter", "quantity"], &[1], quantities))?;
            let events = ["first", "last"].iter().zip(&details.first_and_last);
            for (which, event) in events {
                line(format!("The {which} event: {} of {} at {}", event.id, event.source, event.at))?;
            }
        }
        None => line(format!("Nothing of it is open, as known at {}.", details.known_at))?,
    }
    print_decisions(&details.decisions)
}
