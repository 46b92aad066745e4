//! `apportion record`: figures, deductions and facts from a file of JSON lines.

use super::output::{json, line};
use super::{Format, Session, Stop};
use apportion::domain::record::{Record, RecordError};
use apportion::jobs::records::{RecordsError, record};
use apportion::store::contracts::RecordOutcome;
use std::fmt::Display;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Ends with status 3 where a record conflicts with one that is recorded; the others are recorded.

Examples:
  apportion record figures-2026-05.jsonl";

/// Record figures, deductions and facts
///
/// Each line of the file is one JSON object; contracts/README.md shows one of each kind. A record that was
/// taken before is a duplicate; the same id with other content is kept as a conflict and never counts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Records, one JSON object a line
    file: PathBuf,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let name = args.file.display();
    let refused = |line: usize, error: &dyn Display| Stop::Refused { reason: format!("{name}:{line}: {error}") };
    let text = std::fs::read_to_string(&args.file).map_err(|error| Stop::unusable(&args.file, &error))?;
    let (records, lines) = read(&text).map_err(|(line, error)| refused(line, &error))?;
    if records.is_empty() {
        return Err(Stop::Refused { reason: format!("{name} holds no record") }.into());
    }
    let outcomes = record(&session.pool()?, &records).await.map_err(|error| match error {
        RecordsError::Problem { index, .. } => refused(lines.get(index).copied().unwrap_or_default(), &error).into(),
        error => anyhow::Error::from(error),
    })?;
    let count = |wanted: RecordOutcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let stored = count(RecordOutcome::Stored);
    let (duplicates, conflicts) = (count(RecordOutcome::Duplicate), count(RecordOutcome::Conflict));
    match session.format {
        Format::Json => json(&serde_json::json!({"stored": stored, "duplicates": duplicates, "conflicts": conflicts}))?,
        Format::Table => line(format!("{stored} recorded, {duplicates} known duplicates, {conflicts} conflicts."))?,
    }
    let conflicting = records.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == RecordOutcome::Conflict);
    let conflicting: Vec<String> = conflicting.map(|(record, _)| record.id.to_string()).collect();
    if conflicting.is_empty() {
        return Ok(());
    }
    let which = conflicting.join(", ");
    let reason = format!(
        "recorded already with other content, which stands: {which}; contracts/README.md tells how to correct one"
    );
    Err(Stop::Refused { reason }.into())
}

/// The records of a file with the line of each, or the first line that is none. Some editors begin a file with
/// a byte order mark, which says nothing.
fn read(text: &str) -> Result<(Vec<Record>, Vec<usize>), (usize, RecordError)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| Ok((Record::from_json(line).map_err(|error| (number, error))?, number))).collect()
}
