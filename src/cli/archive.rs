//! `apportion archive`: write sealed generations of usage to files, take their events offline, and bring them back.

use super::output::{bar, counted, counted_as, instant, json, line, table, thousands};
use super::{Format, Session, Stop, named, stated};
use apportion::domain::period::{Instant, parse_instant, start_of_hour};
use apportion::jobs::archive::{
    ArchiveError, BroughtBack, Dropped, Progress, bring_back, check, list, seal, take_offline, write,
};
use apportion::store::archives::{Archive, GenerationUsage};
use apportion::store::offline_usage::{ChangeReason, HourFilter};
use indicatif::ProgressBar;
use serde_json::json as object;
use sqlx::PgPool;
use std::io;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Events lie in generations, one after another as they were recorded. The newest takes what comes; the others are sealed, and \
each can be written to a Parquet file. Once it is, its events can be dropped from Postgres: what they add up to stays, and so \
do their identities (one that is reported again is a known duplicate, or a conflict), which replies they report, and those \
events whole that a correction, a decision, a record or a finding names, or that are of an interval. What needs others says so, \
and of which hours; they are brought back from the file, all or these alone. A correction of one that is not here is refused, and \
kept until it is: `apportion usage retry` takes it in then.

Examples:
  apportion archive list
  apportion archive write /srv/archive --by ana
  apportion archive drop /srv/archive --recorded-before 2026-01-01T00:00:00Z --by ana --reason old
  apportion archive restore /srv/archive --from 2025-03-01T00:00:00Z --until 2025-03-02T00:00:00Z \\
      --by ana --reason 'audit of March'
  apportion archive check /srv/archive";

const LIST_EXAMPLES: &str = "\
Kept are the events of hours that are offline which stay here, as something names them.

Examples:
  apportion archive list
  apportion archive list --format json";

const WRITE_EXAMPLES: &str = "\
Each file is read back and compared before it is written down that it is there. Nothing is dropped. Keep the files where they \
are backed up; they may be moved to another folder. Each row has the names of its deployment, product and customer in words, so \
that DuckDB or Spark reads a file without this database. It is the event as it was first reported: corrections and voids stay \
in Postgres. A count beyond 2,147,483,647 or with a fraction, and any meter without a column, stands in other_quantities, as JSON, \
and its column is 0. A file that `apportion archive list` does not name was left by a run \
that did not end, and may be removed.

Examples:
  apportion archive write /srv/archive --by ana
  apportion archive write /srv/archive --seal --by ana";

const DROP_EXAMPLES: &str = "\
The files are compared with their SHA-256 first. It goes on where it was interrupted. Hours that were brought back stay, as \
something needs them: --again drops these too. Prices and registers that are recorded later may need hours that are offline: \
settlements then wait until these are back. At the end the space is given back, for which readers of that generation, and \
usage that comes in, wait some seconds.

Examples:
  apportion archive drop /srv/archive --generation 3 --by ana --reason 'a year old'
  apportion archive drop /srv/archive --recorded-before 2026-01-01T00:00:00Z --by ana --reason old";

const RESTORE_EXAMPLES: &str = "\
Whole hours come back: those that begin within the span, of every generation that has any, or all that there are.

Examples:
  apportion archive restore /srv/archive --generation 3 --by ana --reason 'audit of 2025'
  apportion archive restore /srv/archive --from 2025-03-01T10:00:00Z --until 2025-03-01T11:00:00Z \\
      --by ana --reason 'the settlement of June needs it'";

/// Write old usage to files, drop it from Postgres, and bring it back
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the generations of events, with the file of each and what of it is offline
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Write the sealed generations that have no file yet, each to a file of its own
    #[command(after_help = WRITE_EXAMPLES)]
    Write {
        /// The folder of the files
        folder: PathBuf,
        /// Seal the newest generation first, however small it is, so that all that was recorded by now is written
        #[arg(long)]
        seal: bool,
        /// Who does it
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// Drop the events of archived generations from Postgres
    #[command(after_help = DROP_EXAMPLES)]
    Drop {
        /// The folder of the files
        folder: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Also hours that were brought back before
        #[arg(long)]
        again: bool,
        /// Why
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Who does it
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// Bring events back from their files
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// The folder of the files
        folder: PathBuf,
        /// Of this generation alone
        #[arg(long)]
        generation: Option<i32>,
        #[command(flatten)]
        hours: Hours,
        /// Why
        #[arg(long, value_parser = stated)]
        reason: String,
        /// Who does it
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// Compare the files with what was written
    #[command(after_help = "Example:\n  apportion archive check /srv/archive")]
    Check {
        /// The folder of the files
        folder: PathBuf,
    },
}

/// Which hours come back; all where nothing is said.
#[derive(Debug, clap::Args)]
struct Hours {
    /// These alone: their starts, separated by commas, as what needs them lists them
    #[arg(long, value_parser = parse_instant, value_delimiter = ',', conflicts_with_all = ["from", "until"])]
    hours: Option<Vec<Instant>>,
    /// Those that begin then or later
    #[arg(long, value_parser = parse_instant)]
    from: Option<Instant>,
    /// Those that begin earlier
    #[arg(long, value_parser = parse_instant)]
    until: Option<Instant>,
}

/// Which generations go offline.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// This one
    #[arg(long)]
    generation: Option<i32>,
    /// All that are archived and of which all was recorded before
    #[arg(long, value_parser = parse_instant)]
    recorded_before: Option<Instant>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let as_json = session.format == Format::Json;
    let pool = session.pool().await?;
    match args.command {
        Command::List => show(&list(&pool).await?, as_json),
        Command::Write { folder, seal: seal_first, by } => {
            is_folder(&folder)?;
            if seal_first {
                seal(&pool).await?;
            }
            write_all(&pool, &folder, &by, as_json).await
        }
        Command::Drop { folder, which, again, reason, by } => {
            let mut dropped = Vec::new();
            for generation in chosen(&list(&pool).await?, &which) {
                let (bar, reason) = (bar("events", 0), ChangeReason { by: &by, why: &reason });
                dropped.push(take_offline(&pool, &folder, generation, again, reason, |it| tell(&bar, &it)).await?);
                bar.finish_and_clear();
            }
            show_dropped(&dropped, as_json)
        }
        Command::Restore { folder, generation, hours: Hours { hours, from, until }, reason, by } => {
            let which = HourFilter { from, until, hours };
            may_be_hours(&which)?;
            let all = list(&pool).await?;
            let is_wanted = |it: &GenerationUsage| match generation {
                Some(generation) => it.generation == generation,
                None => it.archive.as_ref().is_some_and(|archive| archive.offline_hours > 0),
            };
            let mut wanted: Vec<i32> = all.iter().filter(|it| is_wanted(it)).map(|it| it.generation).collect();
            // One that does not exist is told of where it is looked for.
            wanted.extend(generation.filter(|_| wanted.is_empty()));
            // All files first, so that none is brought back where another is missing.
            for archive in all.iter().filter(|it| wanted.contains(&it.generation)).filter_map(|it| it.archive.as_ref())
            {
                check(&folder, archive)?;
            }
            let mut came = Vec::new();
            for generation in wanted {
                let (bar, reason) = (bar("events", 0), ChangeReason { by: &by, why: &reason });
                came.push(bring_back(&pool, &folder, generation, &which, reason, |it| tell(&bar, &it)).await?);
                bar.finish_and_clear();
            }
            came.retain(|it| it.hours > 0);
            show_brought_back(&came, as_json)
        }
        Command::Check { folder } => check_all(&list(&pool).await?, &folder, as_json),
    }
}

fn is_folder(folder: &Path) -> anyhow::Result<()> {
    match folder.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Stop::Refused { reason: format!("{}: is no folder", folder.display()) }.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // It is not made here: it may be where a disk is mounted that is not.
            let reason = format!("{}: there is no such folder; make it first", folder.display());
            Err(Stop::Refused { reason }.into())
        }
        Err(error) => Err(Stop::unusable(folder, &error).into()),
    }
}

fn may_be_hours(HourFilter { from, until, hours }: &HourFilter) -> anyhow::Result<()> {
    if from.zip(*until).is_some_and(|(from, until)| from >= until) {
        return Err(Stop::Refused { reason: "--until: has to be later than --from".to_owned() }.into());
    }
    match hours.iter().flatten().find(|hour| start_of_hour(**hour) != **hour) {
        Some(hour) => Err(Stop::Refused { reason: format!("--hours: at {hour} no hour begins, in UTC") }.into()),
        None => Ok(()),
    }
}

fn tell(bar: &ProgressBar, progress: &Progress) {
    bar.set_message(format!("generation {}", progress.generation));
    bar.set_length(progress.of);
    bar.set_position(progress.events);
}

async fn write_all(pool: &PgPool, folder: &Path, by: &str, as_json: bool) -> anyhow::Result<()> {
    let all = list(pool).await?;
    let mut written = Vec::new();
    for generation in all.iter().filter(|it| it.is_sealed && it.archive.is_none()).map(|it| it.generation) {
        let bar = bar("events", 0);
        written.push((generation, write(pool, folder, generation, by, |it| tell(&bar, &it)).await?));
        bar.finish_and_clear();
    }
    if as_json {
        return json(
            &written
                .iter()
                .map(|(generation, it)| object!({"generation": generation, "archive": it}))
                .collect::<Vec<_>>(),
        );
    }
    if written.is_empty() {
        return Ok(line(
            "Nothing to write: every sealed generation has its file. The newest is sealed once it is full, or by --seal.",
        )?);
    }
    for (generation, Archive { file_name, file_bytes, file_sha256, .. }) in written {
        let bytes = thousands(file_bytes);
        line(format!("Generation {generation} is in {file_name}: {bytes} bytes, SHA-256 {file_sha256}."))?;
    }
    Ok(())
}

fn chosen(all: &[GenerationUsage], which: &Which) -> Vec<i32> {
    if let Some(generation) = which.generation {
        return vec![generation];
    }
    let is_old = |it: &&GenerationUsage| {
        it.archive.is_some() && it.recorded_to.zip(which.recorded_before).is_some_and(|(to, before)| to < before)
    };
    all.iter().filter(is_old).map(|it| it.generation).collect()
}

fn show_dropped(dropped: &[Dropped], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&dropped);
    }
    if dropped.is_empty() {
        return Ok(line("Nothing to drop: see `apportion archive list`.")?);
    }
    for Dropped { generation, hours, events, named_events, hours_brought_back } in dropped {
        let (events, hours) = (counted(*events, "event"), counted(*hours, "hour"));
        line(format!("Generation {generation}: {events} dropped, {hours} went offline."))?;
        if *named_events > 0 {
            let stay = counted_as(*named_events, "event", ("stays", "stay"));
            line(format!("  {stay} of hours that are offline, as something names them."))?;
        }
        if *hours_brought_back > 0 {
            let stay = counted_as(*hours_brought_back, "hour", ("stays", "stay"));
            line(format!("  {stay} that came back before; --again drops them too."))?;
        }
    }
    Ok(())
}

fn show_brought_back(came: &[BroughtBack], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&came);
    }
    if came.is_empty() {
        return Ok(line("Nothing was brought back: no such hour is offline; see `apportion archive list`.")?);
    }
    for BroughtBack { generation, hours, events } in came {
        let (events, hours) = (counted(*events, "event"), counted(*hours, "hour"));
        line(format!("Generation {generation}: {events} of {hours} brought back."))?;
    }
    Ok(())
}

fn show(all: &[GenerationUsage], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&all);
    }
    let rows = all.iter().map(|it| {
        let at = |at: Option<Instant>| at.map(instant).unwrap_or_default();
        let file = match &it.archive {
            Some(archive) => archive.file_name.clone(),
            None if it.is_sealed => "not written yet".to_owned(),
            None => "takes what comes".to_owned(),
        };
        let of = |count: fn(&Archive) -> i64| it.archive.as_ref().map(|it| thousands(count(it))).unwrap_or_default();
        let (hours, events, stay) = (of(|it| it.offline_hours), of(|it| it.offline_events), of(|it| it.named_events));
        let (from, to) = (at(it.recorded_from), at(it.recorded_to));
        vec![it.generation.to_string(), from, to, thousands(it.events), file, hours, events, stay]
    });
    let heading = ["generation", "recorded from", "to", "events", "file", "hours offline", "events offline", "kept"];
    Ok(line(table(&heading, &[3, 5, 6, 7], rows))?)
}

fn check_all(all: &[GenerationUsage], folder: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    for (generation, archive) in all.iter().filter_map(|it| it.archive.as_ref().map(|archive| (it.generation, archive)))
    {
        match check(folder, archive) {
            Ok(_) => right.push(generation),
            Err(error @ (ArchiveError::File { .. } | ArchiveError::OtherFile { .. })) => {
                wrong.push((generation, error))
            }
            Err(error) => return Err(error.into()),
        }
    }
    if as_json {
        let wrong: Vec<_> =
            wrong.iter().map(|(generation, why)| object!({"generation": generation, "why": why.to_string()})).collect();
        json(&object!({"as_written": right, "not_as_written": wrong}))?;
    } else {
        let files = counted(right.len() as u64, "file");
        line(format!("{files} as written."))?;
        for (generation, why) in &wrong {
            line(format!("Generation {generation}: {why}"))?;
        }
    }
    match wrong.len() {
        0 => Ok(()),
        files => Err(Stop::Refused { reason: format!("{} not as written", counted(files as u64, "file")) }.into()),
    }
}
