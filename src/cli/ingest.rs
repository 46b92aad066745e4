//! `apportion ingest`: files of usage through the same writer as Kafka.

use super::jobs::schedule;
use super::output::{Format, counted, counted_as, json, line, table, tell, thousands};
use super::reading::{Bar, Reading};
use super::{Session, Stop};
use apportion::domain::outcome::Counts;
use apportion::domain::schedule::Job;
use apportion::ingest::file::{Progress, ingest_file};
use apportion::ingest::writer::Writer;
use apportion::jobs::schedule::{Trigger, tick};
use apportion::telemetry::Metrics;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "\
A file read twice, or once in part and once whole, counts once: what is known already is a duplicate. One that was \
interrupted goes on after the records that are stored, as long as it is the same file, read the same way. Of one that \
is cut off, all that is whole is taken in before the place is named.

Files may be packed, with gzip or zstd; Parquet packs by itself. A file named .csv (.csv.gz, .csv.zst) is a table with a header, Parquet is \
told by its first bytes, and others have one record a line; --layout says otherwise. A column is named as the field that it holds, by its whole path: \
usage.inputTokens. Those of the events of ours may be named by the field alone: deployment, country, input_tokens. An \
empty cell says nothing.

A record that does not say its id, source or time may be given them beside its own fields, as texts: ce_id, ce_source, \
ce_time (RFC 3339). What --source and the options below it say holds where records do not say it; where the \
configuration has a topic of that format and source, its words hold.

Ends with status 4 where messages were rejected, or conflict with what stands under their id: both are kept, \
rejections redacted, and the others are taken in.

Examples:
  apportion ingest may.jsonl.gz
  apportion ingest usage.csv
  apportion ingest --skip-column note warehouse.parquet
  apportion ingest --as bedrock_invocation --source aws --customer-tag tenant logs/*.json.gz
  apportion ingest --as azure_gateway --source azure --skip-column '*' gateway.csv.zst
  apportion ingest --as openai_usage --source openai --layout whole --deployment api page.json
  apportion ingest --as otel_flat --source agents --zone UTC --deployment azure spans.jsonl
  apportion ingest --format json day-*.jsonl";

/// Ingest files of usage: events of ours, or what clouds and gateways write, one a line, as CSV or Parquet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files to read, in this order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

/// What became of the messages of all files.
#[derive(Default, Serialize)]
struct Report {
    #[serde(flatten)]
    counts: Counts,
    /// Records that runs before took in, which were interrupted.
    rows_before: u64,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let how = args.reading.file_reader(&session.readers())?;
    let pool = session.pool().await?;
    // Where nothing serves, this is all that runs now and then.
    let schedule = schedule(&session.config.jobs);
    tick(&pool, &schedule, Job::ExpirePayloads, schedule.now(), Trigger::Schedule).await?;
    let mut writer = Writer::open(pool, Arc::new(Metrics::new()?)).await?;
    let mut report = Report::default();
    let mut ended = Ok(());
    for path in &args.files {
        let bar = Bar::new(path)?;
        let mut progress = Progress::default();
        let read = ingest_file(&mut writer, path, &how, |reached| {
            bar.show(reached);
            progress = *reached;
        });
        ended = read.await.map(drop);
        bar.end();
        report.counts += progress.counts;
        report.rows_before = report.rows_before.saturating_add(progress.rows_before);
        if ended.is_err() {
            break;
        }
    }
    report.show(session.format)?;
    if let Err(error) = ended {
        tell(
            "What is counted above was taken in. Once the file is mended, ingest all of it again: what is known counts once.",
        );
        return Err(error.into());
    }
    match left(&report.counts) {
        Some(what) => Err(Stop::Left { what }.into()),
        None => Ok(()),
    }
}

impl Report {
    fn show(&self, format: Format) -> anyhow::Result<()> {
        if format == Format::Json {
            return json(self);
        }
        show_counts(&self.counts)?;
        if self.rows_before > 0 {
            let before = counted_as(self.rows_before, "record", ("was", "were"));
            line(format!("Before these {before} taken in by a run that was interrupted."))?;
        }
        Ok(())
    }
}

/// An outcome a line, and how many there are in all.
pub fn show_counts(counts: &Counts) -> anyhow::Result<()> {
    let rows = counts.iter().map(|(outcome, count)| vec![outcome.name().to_owned(), thousands(count)]);
    line(table(&["outcome", "messages"], &[1], rows))?;
    Ok(line(counted(counts.messages(), "message"))?)
}

/// What of the messages waits for someone, and where to look.
pub fn left(total: &Counts) -> Option<String> {
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
