//! What each scheduled job does, and how it words what came of it.

use super::double_reports;
use super::finding_watch::watch;
use super::invoices::{AllDrawn, Left, draw_all};
use super::schedule::Schedule;
use super::settle::{SettleReport, SettleRequest, settle};
use crate::domain::schedule::{Job, RunOutcome, Subject};
use crate::store::{Offline, StoreError, jobs, rejections, requests};
use sqlx::PgPool;
use std::error::Error;
use std::fmt::Display;

/// How a run ended.
pub(super) struct RunEnd {
    pub outcome: RunOutcome,
    pub detail: Option<String>,
}

impl RunEnd {
    fn done(detail: String) -> Self {
        Self { outcome: RunOutcome::Done, detail: Some(detail) }
    }

    fn nothing_new() -> Self {
        Self { outcome: RunOutcome::NothingNew, detail: None }
    }

    fn waiting(why: &impl Display) -> Self {
        Self { outcome: RunOutcome::Waiting, detail: Some(why.to_string()) }
    }

    fn failed(why: &impl Display) -> Self {
        Self { outcome: RunOutcome::Failed, detail: Some(why.to_string()) }
    }
}

/// Does a job; what it cannot do is its outcome.
pub(super) async fn perform(pool: &PgPool, schedule: &Schedule, job: Job, subject: &Subject) -> RunEnd {
    match job {
        Job::DraftStatements => draft_statements(pool, schedule, subject).await,
        Job::DrawInvoices => draw_invoices(pool, schedule).await,
        Job::WatchFindings => watch_findings(pool, subject).await,
        Job::FindDoubleReports => find_double_reports(pool).await,
        Job::ExpirePayloads => expired("payloads of rejections", rejections::expire_payloads(pool).await),
        Job::ExpireAnswers => expired("answers to requests", requests::expire(pool).await),
        Job::ExpireRuns => expired("runs", jobs::expire_runs(pool, schedule.keep_runs_days).await),
    }
}

/// Whether somebody has to bring events back first.
fn needs_archive(error: &(dyn Error + 'static)) -> bool {
    error.is::<Offline>() || error.source().is_some_and(needs_archive)
}

/// What a look waits for that comes before more is known.
const NO_MORE_KNOWN: &str = "a transaction that records to end: until then no more is known than at the last look";

async fn watch_findings(pool: &PgPool, subject: &Subject) -> RunEnd {
    let Some(contract) = &subject.contract else { return RunEnd::failed(&format!("{subject} is no contract")) };
    match watch(pool, contract).await {
        Ok(None) => RunEnd::waiting(&NO_MORE_KNOWN),
        Ok(Some(news)) if news.is_empty() => RunEnd::nothing_new(),
        Ok(Some(news)) => {
            let counts = [("new", &news.opened), ("changed", &news.changed), ("no longer open", &news.gone)];
            let told: Vec<String> = counts.iter().map(|(what, of)| format!("{what}: {}", of.len())).collect();
            RunEnd::done(format!("findings {}", told.join(", ")))
        }
        Err(error) if needs_archive(&error) => RunEnd::waiting(&error),
        Err(error) => RunEnd::failed(&error),
    }
}

async fn find_double_reports(pool: &PgPool) -> RunEnd {
    match double_reports::look(pool).await {
        Ok(None) => RunEnd::waiting(&NO_MORE_KNOWN),
        Ok(Some(0)) => RunEnd::nothing_new(),
        Ok(Some(count)) => RunEnd::done(format!("replies that more than one event reports: {count}")),
        Err(error) => RunEnd::failed(&error),
    }
}

fn expired(what: &str, count: Result<u64, StoreError>) -> RunEnd {
    match count {
        Ok(0) => RunEnd::nothing_new(),
        Ok(count) => RunEnd::done(format!("{what} that expired: {count}")),
        Err(error) => RunEnd::failed(&error),
    }
}

/// Settles as a person does at the command line, but for what somebody has approved: that stays.
async fn draft_statements(pool: &PgPool, schedule: &Schedule, subject: &Subject) -> RunEnd {
    let (Some(contract), Some(period)) = (subject.contract.clone(), subject.period) else {
        return RunEnd::failed(&format!("{subject} is no period of a contract"));
    };
    let request =
        SettleRequest { contract, period, cutoff: None, by: schedule.actor.as_str().into(), keep_approvals: true };
    match settle(pool, &request).await {
        Ok(report) if report.lines.is_empty() && report.drafted.is_empty() => RunEnd::nothing_new(),
        Ok(report) => RunEnd::done(booked(&report)),
        Err(error) if error.is_waiting() || needs_archive(&error) => RunEnd::waiting(&error),
        Err(error) => RunEnd::failed(&error),
    }
}

/// Draws what can be drawn. What is left waits for an earlier statement, or for somebody who mends what is wrong.
async fn draw_invoices(pool: &PgPool, schedule: &Schedule) -> RunEnd {
    match draw_all(pool, &schedule.actor).await {
        Ok(AllDrawn { drawn, left }) if drawn.is_empty() => match left.first() {
            None => RunEnd::nothing_new(),
            Some(_) => RunEnd::waiting(&reasons(&left)),
        },
        Ok(AllDrawn { drawn, left }) => {
            let numbers: Vec<String> =
                drawn.iter().flat_map(|it| &it.invoices).map(|head| head.number.to_string()).collect();
            let done = format!("statements: {}, documents: {}", drawn.len(), numbers.join(", "));
            let left = if left.is_empty() { String::new() } else { format!("; left: {}", reasons(&left)) };
            RunEnd::done(done + &left)
        }
        Err(error) => RunEnd::failed(&error),
    }
}

fn reasons(left: &[Left]) -> String {
    left.iter().map(|left| left.why.as_str()).collect::<Vec<_>>().join("; ")
}

fn booked(report: &SettleReport) -> String {
    let ids: Vec<String> = report.drafted.iter().map(|(id, _)| id.to_string()).collect();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let lines = report.lines.len();
    format!("drafted statement{} {}, booked {lines} line{}", plural(ids.len()), ids.join(", "), plural(lines))
}
