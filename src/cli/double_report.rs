//! The double reports among `apportion finding`: how they are listed, shown with what would count each call once, and waived.

use super::finding::charged;
use super::output::{exact, json, line, table};
use super::{Format, Session};
use apportion::domain::double_report::DoubleReport;
use apportion::domain::ids::EventId;
use apportion::domain::period::Instant;
use apportion::domain::usage::{Amendment, AmendmentKind, UsageMessage};
use apportion::jobs::double_reports::{DoubleReportDetails, WaiveRequest, list_open, show, waive};
use apportion::jobs::findings::known_by;
use apportion::sources::cloudevents::encode;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

/// How many are listed at most: where two sources report all of their calls there are as many as calls.
const LISTED: usize = 1000;

/// Those that are open, and whether there are more.
#[derive(Serialize)]
pub struct Listed {
    double_reports: Vec<DoubleReport>,
    more_double_reports: bool,
}

pub async fn load(pool: &PgPool, known_at: Instant) -> anyhow::Result<Listed> {
    let mut open = list_open(pool, known_at, None, LISTED.saturating_add(1)).await?;
    let more = open.len() > LISTED;
    open.truncate(LISTED);
    Ok(Listed { double_reports: open, more_double_reports: more })
}

pub fn print_list(Listed { double_reports, more_double_reports }: &Listed) -> anyhow::Result<()> {
    if double_reports.is_empty() {
        return Ok(());
    }
    line("Calls that seem to be reported more than once; each event counts until it is voided:")?;
    let heading = ["id", "event", "source", "deployment", "cloud", "occurred", "charged", ""];
    line(table(&heading, &[6], double_reports.iter().flat_map(rows)))?;
    if *more_double_reports {
        line(format!("There are more than {LISTED}: `/api/v1/findings/double-reports` lists them in pages."))?;
    }
    line("`apportion finding show ID` says what would count each call once.")?;
    Ok(())
}

/// A row for each event, of which the first one names the report and says what is charged for those suspected.
fn rows(report: &DoubleReport) -> impl Iterator<Item = Vec<String>> {
    let archived = report.archived_hours.iter().map(|hour| {
        let mut row = vec![String::new(); 8];
        row[1] = "archived".to_owned();
        row[5] = format!("in the hour of {hour}");
        row
    });
    let here = report.events.iter().enumerate().map(|(place, event)| {
        let is_first = place == 0;
        vec![
            if is_first { report.id.clone() } else { String::new() },
            event.id.clone(),
            event.source.clone(),
            event.deployment.clone(),
            event.cloud.clone().unwrap_or_default(),
            event.occurred_at.to_string(),
            if is_first { charged(&report.amounts, report.unpriced) } else { String::new() },
            if event.is_suspected { "suspected" } else { "" }.to_owned(),
        ]
    });
    here.chain(archived)
}

pub async fn run_show(session: &Session, pool: &PgPool, id: Uuid, known_at: Option<Instant>) -> anyhow::Result<()> {
    let details = show(pool, id, known_at).await?;
    match session.format {
        Format::Json => json(&details),
        Format::Table => print_details(&details),
    }
}

fn print_details(DoubleReportDetails { known_at, report, waivers }: &DoubleReportDetails) -> anyhow::Result<()> {
    line(format!("Double report {}, known since {}, as known at {known_at}", report.id, report.known_since))?;
    for event in &report.events {
        let cloud = event.cloud.as_deref().unwrap_or("no known cloud");
        line(format!(
            "{}: {} of {}, {} at {} ({cloud}) at {}, recorded at {}",
            if event.is_suspected { "Suspected" } else { "Not suspected" },
            event.id,
            event.source,
            event.product,
            event.deployment,
            event.occurred_at,
            event.recorded_at,
        ))?;
        let quantities = event.quantities.iter().map(|(meter, quantity)| vec![meter.to_string(), exact(quantity)]);
        line(table(&["meter", "quantity"], &[1], quantities))?;
    }
    for waiver in waivers {
        line(format!("Waived by {} at {}: {}", waiver.waived_by, waiver.recorded_at, waiver.reason))?;
    }
    if !report.is_open() {
        return Ok(line("Nothing of it is suspected: its events are of several calls, voided or waived.")?);
    }
    line(format!("Charged for what is suspected: {}", charged(&report.amounts, report.unpriced)))?;
    line(format!(
        "To count the call once, take in {} from a file, by `apportion ingest FILE`:",
        if report.suspected().count() == 1 { "this line" } else { "these lines" }
    ))?;
    for void in voids(report) {
        line(void)?;
    }
    Ok(line(format!("Or to let each count: `apportion finding waive {} --by NAME --reason WHY`", report.id))?)
}

/// Events that void those that are suspected. Their ids follow from what they void, so that taken in twice they are one.
fn voids(report: &DoubleReport) -> impl Iterator<Item = String> {
    report.suspected().map(|event| {
        // An id of the longest kind would leave no room for more.
        let digest = blake3::hash(event.id.as_bytes()).to_hex();
        let id = EventId { source: event.source.clone(), id: format!("double-report/{}/{digest}", report.id) };
        let void = Amendment { id, target: event.id.clone(), kind: AmendmentKind::Void };
        String::from_utf8_lossy(&encode(&UsageMessage::Amendment(void))).into_owned()
    })
}

pub async fn run_waive(
    session: &Session,
    pool: &PgPool,
    request: &WaiveRequest,
    known_at: Option<Instant>,
) -> anyhow::Result<()> {
    let cutoff = known_by(pool, known_at).await?;
    let waiver = waive(pool, request, cutoff).await?;
    match session.format {
        Format::Json => json(&waiver),
        Format::Table => {
            Ok(line(format!("Waived: each event of the reply that was known at {} counts.", waiver.cutoff))?)
        }
    }
}
