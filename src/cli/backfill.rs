//! `apportion backfill`: preview, apply and revert files of usage that belong together, list and show them.

use super::ingest::{left, show_counts};
use super::output::{counted, counted_as, instant, json, line, money, table, thousands};
use super::reading::{Bar, Reading};
use super::{Format, Session, Stop, named, stated};
use apportion::domain::backfill::{BackfillStatus, is_backfill_name};
use apportion::domain::money_effect::{Change, in_all};
use apportion::domain::outcome::Counts;
use apportion::ingest::backfill::{BackfillError, apply, preview};
use apportion::ingest::revert::{Kept, Reverted, kept, preview_revert, revert};
use apportion::ingest::trial::{MAX_TRIED, NotTaken, Tried};
use apportion::ingest::writer::Writer;
use apportion::jobs::money_effect::{Compared, ContractEffect, Stopped, Untold, money_effect};
use apportion::jobs::settle::SettleError;
use apportion::store::backfills::{Backfill, BackfillChange, BackfillFilter, Reason, load_backfills, load_whole};
use apportion::telemetry::Metrics;
use serde_json::json as object;
use sqlx::{PgConnection, PgPool};
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "\
A backfill is a file of events, corrections and voids that belong together. It is previewed with what it would change of \
what is owed, applied under a name, by whom and why, and reverted as one.

Examples:
  apportion backfill preview may-late.jsonl.gz
  apportion backfill apply may-late.jsonl.gz --name may-late --reason 'outage of 3 May' --by ana
  apportion backfill list
  apportion backfill show may-late
  apportion backfill preview-revert may-late
  apportion backfill revert may-late --reason 'reported twice' --by ben";

const PREVIEW_EXAMPLES: &str = "\
Nothing is stored: the file is written in a transaction that is undone, each contract is run as known before it and as \
known after it, and the amounts that differ are shown, rounded as they are booked. An amount of a period that is \
closed is booked as an adjustment. Where others record the same meanwhile, the preview gives way and begins anew.

At most 1,000,000 messages can be tried at once. Each contract is run through the last period of which there is usage; \
where that waits for something, such as a figure, through the last that was settled or that the file touches.

Ends with status 4 where messages would be rejected or conflict with what stands, or where what a contract comes to \
cannot be told.

Examples:
  apportion backfill preview may-late.jsonl.gz
  apportion backfill preview --as bedrock_invocation --source aws may.json.gz
  apportion backfill preview --format json may-late.jsonl.gz";

const APPLY_EXAMPLES: &str = "\
Goes on where it was interrupted, and does nothing once it is applied. A name is of one file, read in one way. What is known \
already is a duplicate, and no part of the backfill; nor is what `apportion usage retry` takes in later. A file that cannot \
be read to its end is refused before any of it is stored.

Ends with status 4 where messages were rejected, or conflict with what stands under their id.

Examples:
  apportion backfill apply may-late.jsonl.gz --name may-late --reason 'outage of 3 May' --by ana
  apportion backfill apply --as vertex --source google may.csv --name may --reason gap --by ana";

const PREVIEW_REVERT_EXAMPLES: &str = "\
As the preview of a file: at most 1,000,000 voids can be tried at once, and it gives way to others.

Ends with status 4 where something would stay, or where what a contract comes to cannot be told.

Example:
  apportion backfill preview-revert may-late";

const REVERT_EXAMPLES: &str = "\
Voids the events of the backfill that still stand, and its corrections. An id is never used again: what was taken back \
comes back under new ids alone. As known before the revert everything stays as it was.

What others corrected since stays until their correction is voided, and a void of the backfill's stays for ever; both are \
listed, with status 4. Reverted again, what can be taken back by then is.

Examples:
  apportion backfill preview-revert may-late
  apportion backfill revert may-late --reason 'reported twice' --by ben";

/// Preview, apply and revert files of usage that belong together, with what they change of what is owed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what a file would change of what is owed; nothing is stored
    #[command(after_help = PREVIEW_EXAMPLES)]
    Preview {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Take in a file under a name
    #[command(after_help = APPLY_EXAMPLES)]
    Apply {
        /// The file
        file: PathBuf,
        /// What it is called: letters, digits, `.`, `_` and `-`
        #[arg(long, value_parser = backfill_name)]
        name: String,
        /// Why it comes
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Who takes it in
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
        #[command(flatten)]
        reading: Box<Reading>,
    },
    /// List the backfills, the newest first
    #[command(after_help = "Examples:\n  apportion backfill list\n  apportion backfill list --format json")]
    List,
    /// Show a backfill: who did what and why, what became of its messages, and what stayed when it was reverted
    #[command(after_help = "Example:\n  apportion backfill show may-late")]
    Show {
        /// Its name, as `apportion backfill list` shows it
        name: String,
    },
    /// Show what the revert of a backfill would change of what is owed, and what would stay; nothing is stored
    #[command(after_help = PREVIEW_REVERT_EXAMPLES)]
    PreviewRevert {
        /// Its name, as `apportion backfill list` shows it
        name: String,
    },
    /// Take back all of a backfill that can be
    #[command(after_help = REVERT_EXAMPLES)]
    Revert {
        /// Its name, as `apportion backfill list` shows it
        name: String,
        /// Why
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Who takes it back
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
}

/// The name of a backfill.
fn backfill_name(text: &str) -> Result<String, String> {
    match is_backfill_name(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("a name is up to 100 letters, digits, `.`, `_` and `-`, and begins with a letter or digit".to_owned())
        }
    }
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let as_json = session.format == Format::Json;
    match args.command {
        Command::Preview { file, reading } => {
            let how = reading.file_reader(&session.readers())?;
            let measured = preview(&session.pool().await?, (&file, &how), MAX_TRIED, measure).await?;
            let (tried, effects) = measured?;
            show_preview(&tried, &effects, as_json)
        }
        Command::Apply { file, name, reason: why, by, reading } => {
            let how = reading.file_reader(&session.readers())?;
            let pool = session.pool().await?;
            let writer = Writer::open(pool.clone(), Arc::new(Metrics::new()?)).await?;
            let bar = Bar::new(&file)?;
            let reason = Reason { by, why };
            let applied = apply(&pool, &writer, &name, (&file, &how), &reason, |progress| bar.show(progress)).await?;
            bar.end();
            show_applied(&pool, &name, applied, as_json).await
        }
        Command::List => list(&session.pool().await?, as_json).await,
        Command::Show { name } => show(&session.pool().await?, &name, as_json).await,
        Command::PreviewRevert { name } => {
            let (reverted, effects) = preview_revert(&session.pool().await?, &name, measure).await??;
            show_revert(&reverted, Some(&effects), as_json)
        }
        Command::Revert { name, reason: why, by } => {
            let reason = Reason { by, why };
            let pool = session.pool().await?;
            let writer = Writer::open(pool.clone(), Arc::new(Metrics::new()?)).await?;
            let reverted = revert(&pool, &writer, &name, &reason).await?;
            show_revert(&reverted, None, as_json)
        }
    }
}

/// What differs of what is owed.
async fn measure(conn: &mut PgConnection, tried: &Tried) -> Result<Vec<ContractEffect>, SettleError> {
    let Tried { before, after, last_hour, .. } = *tried;
    money_effect(conn, Compared { before, after, last_hour }).await
}

fn show_preview(tried: &Tried, effects: &[ContractEffect], as_json: bool) -> anyhow::Result<()> {
    let Tried { counts, not_taken, .. } = tried;
    if as_json {
        json(&object!({ "counts": counts, "not_taken": not_taken, "effects": effects }))?;
    } else {
        show_counts(counts)?;
        if !not_taken.is_empty() {
            let row = |it: &NotTaken| vec![it.position.clone(), it.why.clone()];
            line(table(&["position", "why it would not be taken"], &[], not_taken.iter().map(row)))?;
        }
        if counts.duplicate > 0 {
            line(
                "A duplicate changes nothing, also where what it repeats was voided since: that comes back under a new id alone.",
            )?;
        }
        show_effects(effects)?;
    }
    let waits = (counts.rejected, counts.conflict) != (0, 0);
    let what = waits.then(|| {
        let (rejected, conflicts) = (thousands(counts.rejected), counted(counts.conflict, "conflict"));
        format!("{rejected} would be rejected, and there would be {conflicts}")
    });
    ended(what.into_iter().chain(not_told(effects)).collect())
}

/// Status 4 where anything is left.
fn ended(left: Vec<String>) -> anyhow::Result<()> {
    match left.is_empty() {
        true => Ok(()),
        false => Err(Stop::Left { what: left.join("; ") }.into()),
    }
}

fn not_told(effects: &[ContractEffect]) -> Option<String> {
    let untold = effects.iter().filter(|it| it.untold.is_some());
    let contracts: Vec<String> = untold.map(|it| it.contract.to_string()).collect();
    (!contracts.is_empty()).then(|| format!("what it changes of {} cannot be told", contracts.join(", ")))
}

/// The amounts that differ, their sums, and what cannot be told.
fn show_effects(effects: &[ContractEffect]) -> anyhow::Result<()> {
    let changes: Vec<Change> = effects.iter().flat_map(|it| it.changes.clone()).collect();
    for ContractEffect { contract, through, untold, .. } in effects {
        match untold {
            Some(Untold { stopped: Stopped::Before, why }) => {
                line(format!("{contract} through {through} cannot be told, whether or not this comes: {why}"))?;
            }
            Some(Untold { stopped: Stopped::After, why }) => {
                line(format!("{contract} through {through} could not be settled once this comes: {why}"))?;
            }
            None => line(format!("{contract} was looked at through {through}."))?,
        }
    }
    if changes.is_empty() {
        return Ok(line("No amount that could be told changes.")?);
    }
    let row = |it: &Change| {
        let [before, after, difference] =
            [&it.before, &it.after, &it.difference].map(|amount| money(amount, it.unit.clone()));
        let booked_in =
            if it.is_adjustment() { format!("{} (adjustment)", it.booked_in) } else { it.booked_in.to_string() };
        let parties = format!("{} to {}", it.payer, it.payee);
        let (contract, term, period) = (it.contract.to_string(), it.term.to_string(), it.origin_period.to_string());
        vec![contract, term, parties, period, before, after, difference, booked_in]
    };
    let heading = ["contract", "term", "from and to", "period", "before", "after", "difference", "booked in"];
    line(table(&heading, &[4, 5, 6], changes.iter().map(row)))?;
    for ((contract, payer, payee, unit), sum) in in_all(&changes) {
        line(format!("In all under {contract}, {payer} to {payee}: {}", money(&sum, unit)))?;
    }
    Ok(())
}

async fn whole(pool: &PgPool, name: &str) -> anyhow::Result<(Backfill, Vec<BackfillChange>, Counts)> {
    let found = load_whole(pool, name).await?;
    Ok(found.ok_or_else(|| BackfillError::Unknown { name: name.to_owned() })?)
}

async fn show_applied(pool: &PgPool, name: &str, applied: bool, as_json: bool) -> anyhow::Result<()> {
    let (backfill, _, counts) = whole(pool, name).await?;
    if as_json {
        json(&object!({ "applied_now": applied, "backfill": backfill, "counts": counts }))?;
    } else {
        let (since, by) = (instant(backfill.changed_at), &backfill.changed_by);
        if !applied {
            line(format!("Backfill {name} was {} by {by} at {since}: nothing was done now.", backfill.status))?;
        }
        show_counts(&counts)?;
        if applied {
            line(format!("Backfill {name} is {}, since {since}.", backfill.status))?;
        }
        if counts.duplicate > 0 && counts.duplicate == counts.messages() {
            line("All of it was known before: none of it is a part of this backfill.")?;
        }
    }
    ended(left(&counts).into_iter().collect())
}

async fn list(pool: &PgPool, as_json: bool) -> anyhow::Result<()> {
    let all = load_backfills(&mut *pool.acquire().await?, &BackfillFilter::default()).await?;
    if as_json {
        return json(&all);
    }
    if all.is_empty() {
        return Ok(line("No backfills.")?);
    }
    let rows = all.into_iter().map(|it| {
        let [messages, events, taken_back] = [it.messages, it.events, it.taken_back].map(thousands);
        let begun = instant(it.begun_at);
        vec![it.name, it.status.to_string(), begun, it.begun_by, messages, events, taken_back, it.reason]
    });
    let heading = ["backfill", "status", "begun", "by", "messages", "events stored", "taken back", "reason"];
    Ok(line(table(&heading, &[4, 5, 6], rows))?)
}

async fn show(pool: &PgPool, name: &str, as_json: bool) -> anyhow::Result<()> {
    let (backfill, history, counts) = whole(pool, name).await?;
    let stays = match backfill.status {
        BackfillStatus::Applying | BackfillStatus::Applied => Vec::new(),
        BackfillStatus::Reverting | BackfillStatus::Reverted => kept(&mut *pool.acquire().await?, &backfill).await?,
    };
    if as_json {
        return json(&object!({ "backfill": backfill, "history": history, "counts": counts, "kept": stays }));
    }
    line(format!("{name}, of {}: {}", backfill.file, backfill.status))?;
    let row = |it: BackfillChange| vec![it.status.to_string(), instant(it.changed_at), it.changed_by, it.reason];
    line(table(&["status", "since", "by", "reason"], &[], history.into_iter().map(row)))?;
    show_counts(&counts)?;
    if backfill.taken_back > 0 {
        line(format!("{} took back a part of it.", counted(backfill.taken_back, "void")))?;
    }
    show_kept(&stays)
}

fn show_kept(stays: &[Kept]) -> anyhow::Result<()> {
    if stays.is_empty() {
        return Ok(());
    }
    let row = |it: &Kept| vec![it.id.to_string(), it.what.to_string(), it.why.to_string()];
    Ok(line(table(&["what stays", "is", "because"], &[], stays.iter().map(row)))?)
}

fn show_revert(reverted: &Reverted, effects: Option<&[ContractEffect]>, as_json: bool) -> anyhow::Result<()> {
    let Reverted { voids, gone, kept } = reverted;
    let taken = voids.void_applied.saturating_add(voids.void_waiting);
    if as_json {
        let mut told = object!({ "taken_back": taken, "voids": voids, "gone": gone, "kept": kept });
        if let (Some(effects), Some(told)) = (effects, told.as_object_mut()) {
            told.insert("effects".to_owned(), object!(effects));
        }
        json(&told)?;
    } else {
        let tense = if effects.is_some() { ("would be", "would be") } else { ("was", "were") };
        let taken = counted_as(taken, "message", tense);
        let gone = counted_as(gone, "message", ("has", "have"));
        let kept_now = counted_as(kept.len(), "message", ("stays", "stay"));
        line(format!("{taken} taken back; {gone} no effect any more; {kept_now}."))?;
        show_kept(kept)?;
        if let Some(effects) = effects {
            show_effects(effects)?;
        }
    }
    let stays = (!kept.is_empty()).then(|| counted_as(kept.len(), "message", ("stays", "stay")));
    let refused = voids.conflict.saturating_add(voids.rejected);
    let refused = (refused > 0).then(|| format!("{} could not be recorded", counted(refused, "void")));
    ended(stays.into_iter().chain(refused).chain(effects.and_then(not_told)).collect())
}
