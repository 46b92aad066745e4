//! `apportion ingest`: files of usage through the same writer as Kafka.

use super::jobs::schedule;
use super::output::{Format, counted, json, line, table, thousands};
use super::{Session, Stop};
use apportion::domain::outcome::Counts;
use apportion::domain::schedule::Job;
use apportion::ingest::file::ingest_file;
use apportion::ingest::writer::Writer;
use apportion::jobs::schedule::{Trigger, tick};
use apportion::telemetry::Metrics;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "\
A file read twice, or once in part and once whole, counts once: what is known already is a duplicate. \
Ends with status 4 where messages were rejected, or conflict with what stands under their id: both are kept, \
rejections redacted, and the others are taken in.

Examples:
  apportion ingest may.jsonl.gz
  apportion ingest --format json day-*.jsonl";

/// Ingest files of CloudEvents, one a line, plain or gzipped
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files to read, in this order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool()?;
    // Where nothing serves, this is all that runs now and then.
    let schedule = schedule(&session.config.jobs);
    tick(&pool, &schedule, Job::ExpirePayloads, schedule.now(), Trigger::Schedule).await?;
    let mut writer = Writer::open(pool, Arc::new(Metrics::new()?)).await?;
    let mut total = Counts::default();
    for path in &args.files {
        // Hidden where standard error is no terminal.
        let bar =
            ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}")?);
        bar.set_message(path.display().to_string());
        let progress = ingest_file(&mut writer, path, |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_read);
        })
        .await?;
        bar.finish_and_clear();
        total += progress.counts;
    }
    match session.format {
        Format::Json => json(&total)?,
        Format::Table => {
            let rows = total.iter().map(|(outcome, count)| vec![outcome.name().to_owned(), thousands(count)]);
            line(table(&["outcome", "messages"], &[1], rows))?;
            line(counted(total.messages(), "message"))?;
        }
    }
    match left(&total) {
        Some(what) => Err(Stop::Left { what }.into()),
        None => Ok(()),
    }
}

/// What of the messages waits for someone, and where to look.
fn left(total: &Counts) -> Option<String> {
    let all = counted(total.messages(), "message");
    let told = |count: u64, became: &str, command: &str| {
        let told = format!("{} of {all} {became}; `apportion usage {command}` tells where and why", thousands(count));
        (count > 0).then_some(told)
    };
    let rejected = told(total.rejected, "rejected", "rejections");
    let conflicting = told(total.conflict, "in conflict with what stands", "conflicts");
    let parts: Vec<String> = rejected.into_iter().chain(conflicting).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
