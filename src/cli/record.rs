//! `apportion record`: records, corrections and voids from a file of JSON lines; what stands of them, and what does not count.

use super::output::{self, json, line};
use super::{Format, Session, Stop};
use apportion::domain::entry::{EntryError, NewEntry, lines};
use apportion::domain::ids::EventId;
use apportion::domain::period::{Instant, instant_or_date};
use apportion::domain::record::{Record, RecordContent};
use apportion::domain::restated::{Mention, Standing, Taking};
use apportion::jobs::findings::known_by;
use apportion::jobs::records::{Checks, RecordsError, record, waiting_records};
use apportion::jobs::settle::WaitingRecord;
use apportion::store::records::load_standing;
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Ends with status 3 where a record conflicts with one that is recorded, or a correction or void is rejected; the
others are recorded.

Examples:
  apportion record figures-2026-05.jsonl
  apportion record list
  apportion record rejections";

/// Record figures, deductions, receipts, billings, facts and decisions, and correct or void them
///
/// Each line of the file is one JSON object; contracts/README.md shows one of each kind. A record that was
/// taken before is a duplicate; the same id with other content is kept as a conflict and never counts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Records, one JSON object a line
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Take them as they are, also where no loaded contract waits for them: a history that is imported
    #[arg(long)]
    unchecked: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the records that stand, as corrected
    #[command(
        after_help = "Examples:\n  apportion record list\n  apportion record list --known-at 2026-06-30 --format json"
    )]
    List {
        /// As known at this instant, or at the first one of a date (UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
    /// List what does not count: conflicts, rejections, and what waits for what it names
    #[command(after_help = "Example:\n  apportion record rejections")]
    Rejections {
        /// As known at this instant, or at the first one of a date (UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    match (args.command, args.file) {
        (Some(Command::List { known_at }), _) => list(known_at, session).await,
        (Some(Command::Rejections { known_at }), _) => rejections(known_at, session).await,
        (None, Some(file)) => take(&file, args.unchecked, session).await,
        // The arguments say that there is one of the two.
        (None, None) => Err(Stop::Refused { reason: "name a file of records".to_owned() }.into()),
    }
}

async fn take(file: &Path, unchecked: bool, session: &Session) -> anyhow::Result<()> {
    let name = file.display();
    let refused = |line: usize, error: &dyn Display| Stop::Refused { reason: format!("{name}:{line}: {error}") };
    let text = std::fs::read_to_string(file).map_err(|error| Stop::unusable(file, &error))?;
    let (entries, lines) = read(&text).map_err(|(line, error)| refused(line, &error))?;
    if entries.is_empty() {
        return Err(Stop::Refused { reason: format!("{name} holds no record") }.into());
    }
    let checks = if unchecked { Checks::Skipped } else { Checks::Awaited };
    let pool = session.pool().await?;
    let became = record(&pool, &entries, checks).await.map_err(|error| match error {
        RecordsError::Problem { index, .. } | RecordsError::Misfit { index, .. } => {
            refused(lines.get(index).copied().unwrap_or_default(), &error).into()
        }
        error => anyhow::Error::from(error),
    })?;
    let count = |wanted: fn(&Taking) -> bool| became.iter().filter(|taking| wanted(taking)).count();
    let stored = count(|it| *it == Taking::Taken);
    let duplicates = count(|it| *it == Taking::Duplicate);
    let conflicts = count(|it| *it == Taking::Conflict);
    let rejected = count(|it| matches!(it, Taking::Rejected(_)));
    let known_at = known_by(&pool, None).await?;
    let standing = load_standing(&mut *pool.acquire().await?, known_at).await?;
    let mut waiting = waiting(&pool, &standing, known_at).await?;
    let given: BTreeSet<&EventId> = entries.iter().map(|entry| &entry.id).collect();
    waiting.retain(|it| given.contains(&it.id));
    match session.format {
        Format::Json => json(&serde_json::json!({
            "stored": stored, "duplicates": duplicates, "conflicts": conflicts, "rejected": rejected, "waiting": waiting,
        }))?,
        Format::Table => {
            line(format!(
                "{stored} recorded, {duplicates} known duplicates, {conflicts} conflicts, {rejected} rejected."
            ))?;
            for WaitingRecord { id, waits_for } in &waiting {
                line(format!("{id} counts nowhere yet: it waits for {waits_for}"))?;
            }
        }
    }
    let why = |(entry, taking): (&NewEntry, &Taking)| match taking {
        Taking::Taken | Taking::Duplicate => None,
        Taking::Conflict => {
            Some(format!("{}: what stands under this id, a record or usage, has other content", entry.id))
        }
        Taking::Rejected(reason) => Some(format!("{}: {reason}", entry.id)),
    };
    let why: Vec<String> = entries.iter().zip(&became).filter_map(why).collect();
    if why.is_empty() {
        return Ok(());
    }
    let reason = format!("{}; contracts/README.md tells how to correct a record", why.join("; "));
    Err(Stop::Refused { reason }.into())
}

/// The records of a file with the line of each, or the first line that is none. Some editors begin a file with
/// a byte order mark, which says nothing.
fn read(text: &str) -> Result<(Vec<NewEntry>, Vec<usize>), (usize, EntryError)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    lines(text).map(|(number, line)| Ok((NewEntry::storable(line).map_err(|error| (number, error))?, number))).collect()
}

async fn standing(known_at: Option<Instant>, session: &Session) -> anyhow::Result<(Standing, Vec<WaitingRecord>)> {
    let pool = session.pool().await?;
    let known_at = known_by(&pool, known_at).await?;
    let standing = load_standing(&mut *pool.acquire().await?, known_at).await?;
    let waiting = waiting(&pool, &standing, known_at).await?;
    Ok((standing, waiting))
}

/// Whatever has no effect yet: corrections and voids by what they name, and records by what they are about.
async fn waiting(pool: &PgPool, standing: &Standing, known_at: Instant) -> anyhow::Result<Vec<WaitingRecord>> {
    let naming = standing.waiting.iter();
    let naming = naming.map(|it| WaitingRecord { id: it.what.id.clone(), waits_for: it.waits_for.to_string() });
    let records = waiting_records(&mut *pool.acquire().await?, &standing.records, known_at).await?;
    Ok(naming.chain(records).collect())
}

async fn list(known_at: Option<Instant>, session: &Session) -> anyhow::Result<()> {
    let (Standing { records, .. }, waiting) = standing(known_at, session).await?;
    if session.format == Format::Json {
        return json(&records.iter().map(Record::to_json).collect::<Vec<_>>());
    }
    let waiting: BTreeMap<EventId, String> = waiting.into_iter().map(|it| (it.id, it.waits_for)).collect();
    let rows = records.iter().map(|record| {
        let (when, what, value) = in_words(&record.content);
        let waits = waiting.get(&record.id).cloned().unwrap_or_default();
        vec![record.id.to_string(), record.kind().to_string(), when, what, value, waits]
    });
    Ok(line(output::table(&["record", "kind", "when", "what", "value", "waits for"], &[4], rows))?)
}

/// When a record counts, of what it is, and what it says.
fn in_words(content: &RecordContent) -> (String, String, String) {
    match content {
        RecordContent::Figure(it) => (
            format!("{} through {}", it.from, it.through),
            format!("{} of {}", it.name, it.contract),
            it.value.to_string(),
        ),
        RecordContent::Level(it) => {
            (format!("from {}", it.at), format!("{} of {}", it.name, it.contract), it.value.to_string())
        }
        RecordContent::Deduction(it) => (it.at.to_string(), it.category.clone(), it.amount.to_string()),
        RecordContent::Receipt(it) => (it.at.to_string(), format!("for {}", it.pays.len()), it.amount.to_string()),
        RecordContent::Billing(it) => (it.at.to_string(), String::new(), it.amount.to_string()),
        RecordContent::Fact(it) => {
            let until = it.until.map(|until| format!(" until {until}")).unwrap_or_default();
            (format!("{}{until}", it.at), format!("{} of {}", it.name, it.contract), String::new())
        }
        RecordContent::Decision(it) => {
            let verdict = if it.releases { "release" } else { "reject" };
            (String::new(), format!("{} of {}: {}", it.right, it.contract, it.event), verdict.to_owned())
        }
    }
}

async fn rejections(known_at: Option<Instant>, session: &Session) -> anyhow::Result<()> {
    let (Standing { conflicts, rejected, .. }, waiting) = standing(known_at, session).await?;
    if session.format == Format::Json {
        return json(&serde_json::json!({ "conflicts": conflicts, "rejected": rejected, "waiting": waiting }));
    }
    if conflicts.is_empty() && rejected.is_empty() && waiting.is_empty() {
        return Ok(line("Everything that was recorded counts.")?);
    }
    let row = |what: &Mention, outcome: &str, why: String| {
        vec![what.id.to_string(), what.recorded_at.to_string(), outcome.to_owned(), why]
    };
    let waits = |it: &WaitingRecord| {
        vec![it.id.to_string(), String::new(), "waits".to_owned(), format!("for {}", it.waits_for)]
    };
    let conflicts = conflicts
        .iter()
        .map(|it| row(it, "conflict", "what stands under its id, a record or usage, has other content".to_owned()));
    let rejected = rejected.iter().map(|it| row(&it.what, "rejected", it.reason.to_string()));
    let rows = conflicts.chain(rejected).chain(waiting.iter().map(waits));
    Ok(line(output::table(&["record", "recorded at", "outcome", "why"], &[], rows))?)
}
