//! `apportion settle`: settle one period of one contract.

use super::output::{self, counted, json, line};
use super::{Format, Session, hints, named};
use apportion::domain::calendar::Period;
use apportion::domain::ids::ContractId;
use apportion::domain::period::{Instant, instant_or_date};
use apportion::jobs::settle::{SettleReport, SettleRequest, settle};
use apportion::store::books::StatementHead;

/// Settle a period: book what is due and not yet booked, and draft the statements
///
/// A rerun without news books nothing. News of a closed period is booked in the open one. The books of a
/// contract begin with the first period that is settled.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  apportion settle microsoft-openai 2026-05 --by ana\n  \
                        apportion settle aws-openai 2026-05 --by ana --cutoff 2026-06-05T12:00:00-07:00")]
pub struct Args {
    /// The contract's id, as `apportion contracts show` lists it
    contract: String,
    /// A month 2026-05, a quarter 2026-Q2 or a year 2026
    period: Period,
    /// Who settles; someone else has to approve the statements
    #[arg(long, env = "APPORTION_USER", value_parser = named)]
    by: String,
    /// See only what was recorded by then (RFC 3339, or a date for its first instant in UTC); everything recorded by
    /// now if left out. One within the period tells what it comes to so far, in statements that cannot be issued yet
    #[arg(long, value_parser = instant_or_date)]
    cutoff: Option<Instant>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let Args { contract, period, by, cutoff } = args;
    let request = SettleRequest {
        contract: ContractId::new(contract),
        period,
        cutoff,
        by: by.as_str().into(),
        keep_approvals: false,
    };
    let report = settle(&session.pool().await?, &request).await?;
    match session.format {
        Format::Json => json(&serde_json::json!({
            "cutoff": report.cutoff, "booked": report.lines, "unresolved": report.unresolved,
            "unwaived_events": report.unwaived_events,
            "waiting_records": report.waiting_records, "approvals_lost": report.approvals_lost,
            "drafted": report.drafted.iter().map(|(id, _)| id).collect::<Vec<_>>(),
            "unchanged": report.unchanged.iter().map(|head| head.statement_id).collect::<Vec<_>>(),
        })),
        Format::Table => print(&report),
    }
}

fn print(report: &SettleReport) -> anyhow::Result<()> {
    if report.lines.is_empty() {
        line(format!("Nothing new to book, as known at {}.", report.cutoff))?;
    } else {
        let heading = ["term", "payer", "payee", "origin", "booked in", "amount"];
        let rows = report.lines.iter().map(|booked| {
            vec![
                booked.term.to_string(),
                booked.payer.to_string(),
                booked.payee.to_string(),
                booked.origin.to_string(),
                booked.booked.to_string(),
                output::money(&booked.amount, booked.unit.clone()),
            ]
        });
        line(output::table(&heading, &[5], rows))?;
    }
    for (id, statement) in &report.drafted {
        let [a, b] = &statement.parties;
        line(format!("Drafted statement {id} between {a} and {b}: `apportion statement show {id}`."))?;
        if report.approvals_lost.contains(id) {
            line(format!("It says something new, so its approval no longer holds: approve statement {id} anew."))?;
        }
    }
    for head in &report.unchanged {
        let StatementHead { statement_id: id, revision, status, .. } = head;
        let next = hints::next_step(*id, *status).map(|step| format!("; next: {step}")).unwrap_or_default();
        line(format!("Statement {id} stands as it was drawn up: revision {revision}, {status}{next}."))?;
    }
    let events = report.unwaived_events;
    let is_open = |head: &StatementHead| head.status.may_be_drafted_anew();
    if events > 0 && (!report.drafted.is_empty() || report.unchanged.iter().any(is_open)) {
        line(format!(
            "No register names the deployment or product of {} (`apportion usage unresolved`): \
             register them with `apportion contracts apply FOLDER` and settle again, or waive them, before the issue.",
            counted(events, "event")
        ))?;
    }
    for waiting in &report.waiting_records {
        line(format!("The record {} waits for {}.", waiting.id, waiting.waits_for))?;
    }
    Ok(())
}
