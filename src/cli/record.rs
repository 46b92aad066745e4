//! `apportion record`: figures, deductions and facts from a file of JSON lines.

use super::output::{json, line};
use super::{Format, Session, Stop};
use anyhow::Context;
use apportion::domain::record::Record;
use apportion::jobs::records::record;
use apportion::store::contracts::RecordOutcome;
use std::path::PathBuf;

/// Record figures, deductions and facts
///
/// Each line of the file is one JSON object; contracts/README.md shows one of each kind. A record that was
/// taken before is a duplicate; the same id with other content is kept as a conflict and never counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  apportion record figures-2026-05.jsonl")]
pub struct Args {
    file: PathBuf,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let name = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| name.to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line): (usize, &str)| {
        let place = index.saturating_add(1);
        Record::from_json(line).map_err(|error| Stop::Refused { reason: format!("{name}:{place}: {error}") })
    };
    let records = lines.map(read).collect::<Result<Vec<Record>, Stop>>()?;
    let outcomes = record(&session.pool()?, &records).await?;
    let count = |wanted: RecordOutcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let stored = count(RecordOutcome::Stored);
    let (duplicates, conflicts) = (count(RecordOutcome::Duplicate), count(RecordOutcome::Conflict));
    match session.format {
        Format::Json => json(&serde_json::json!({"stored": stored, "duplicates": duplicates, "conflicts": conflicts})),
        Format::Table => Ok(line(format!("{stored} recorded, {duplicates} known duplicates, {conflicts} conflicts."))?),
    }
}
