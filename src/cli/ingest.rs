//! `apportion ingest`: files of usage through the same writer as Kafka.

use super::jobs::schedule;
use super::output::{Format, counted, json, line, table, thousands};
use super::{Session, Stop};
use apportion::domain::outcome::Counts;
use apportion::domain::schedule::Job;
use apportion::ingest::file::{FileReader, Layout, ingest_file};
use apportion::ingest::writer::Writer;
use apportion::jobs::schedule::{Trigger, tick};
use apportion::sources::{self, Reader};
use apportion::telemetry::Metrics;
use chrono_tz::Tz;
use indicatif::{ProgressBar, ProgressStyle};
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
    /// As what the records are read: cloudevents, bedrock_invocation and so on, as README.md lists them
    #[arg(long = "as", value_name = "FORMAT", value_parser = str::parse::<sources::Format>, default_value = "cloudevents")]
    read_as: sources::Format,
    /// How records are laid out, where the file's name does not tell: lines, csv, parquet, or whole for a file that is one message
    #[arg(long, value_parser = str::parse::<Layout>)]
    layout: Option<Layout>,
    /// A column of a table that is not to be read, or '*' for all that are none of the format; may be given more than once
    #[arg(long = "skip-column", value_name = "COLUMN")]
    skipped_columns: Vec<String>,
    /// The source of records that name none: ids are unique within it, for ever
    #[arg(long)]
    source: Option<String>,
    /// The zone of times that name none; without it these are rejected
    #[arg(long)]
    zone: Option<Tz>,
    /// The deployment of records that name none
    #[arg(long)]
    deployment: Option<String>,
    /// The product of records that name none
    #[arg(long)]
    product: Option<String>,
    /// The customer of records that name none
    #[arg(long)]
    customer: Option<String>,
    /// A tag of the callers' own that names the customer; of several the first that is there holds
    #[arg(long = "customer-tag", value_name = "TAG")]
    customer_tags: Vec<String>,
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
    let how = FileReader {
        reader: reader(&args, &session.readers())?,
        layout: args.layout,
        skipped_columns: args.skipped_columns,
    };
    let pool = session.pool().await?;
    // Where nothing serves, this is all that runs now and then.
    let schedule = schedule(&session.config.jobs);
    tick(&pool, &schedule, Job::ExpirePayloads, schedule.now(), Trigger::Schedule).await?;
    let mut writer = Writer::open(pool, Arc::new(Metrics::new()?)).await?;
    let mut report = Report::default();
    for path in &args.files {
        // Hidden where standard error is no terminal.
        let bar =
            ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}")?);
        bar.set_message(path.display().to_string());
        let progress = ingest_file(&mut writer, path, &how, |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_read);
        })
        .await?;
        bar.finish_and_clear();
        report.counts += progress.counts;
        report.rows_before = report.rows_before.saturating_add(progress.rows_before);
    }
    let Report { counts, rows_before } = &report;
    match session.format {
        Format::Json => json(&report)?,
        Format::Table => {
            let rows = counts.iter().map(|(outcome, count)| vec![outcome.name().to_owned(), thousands(count)]);
            line(table(&["outcome", "messages"], &[1], rows))?;
            line(counted(counts.messages(), "message"))?;
            if *rows_before > 0 {
                let before = counted(*rows_before, "record");
                line(format!("Before these {before} were taken in by a run that was interrupted."))?;
            }
        }
    }
    match left(counts) {
        Some(what) => Err(Stop::Left { what }.into()),
        None => Ok(()),
    }
}

/// How records are read: as a topic of their format and source would be.
fn reader(args: &Args, configured: &[Reader]) -> Result<Reader, Stop> {
    let (format, source) = (args.read_as, args.source.clone().unwrap_or_default());
    let refused = |reason: String| Err(Stop::Refused { reason });
    if format == sources::Format::CloudEvents {
        let given = [
            ("--source", args.source.is_some()),
            ("--zone", args.zone.is_some()),
            ("--deployment", args.deployment.is_some()),
            ("--product", args.product.is_some()),
            ("--customer", args.customer.is_some()),
            ("--customer-tag", !args.customer_tags.is_empty()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
            return refused(format!(
                "{option} is for records of other formats that do not say it, and events of ours do; leave it out, or say \
                 with --as of which format these are"
            ));
        }
        return Ok(Reader::default());
    }
    let told = Reader {
        format,
        source: source.clone(),
        zone: args.zone,
        deployment: args.deployment.clone(),
        product: args.product.clone(),
        customer: args.customer.clone(),
        customer_tags: args.customer_tags.clone(),
    };
    let known = configured.iter().find(|known| (known.format, &known.source) == (format, &source));
    let bare = Reader { format, source, ..Reader::default() };
    match known {
        Some(known) if told == bare || told == *known => Ok(known.clone()),
        Some(_) => refused(format!(
            "the configuration reads {format} of source \"{}\" otherwise; leave out the options below --source, or \
             give these records a source of their own",
            told.source
        )),
        None if told.source.is_empty() && format != sources::Format::OpenMeter => {
            refused(format!("--source: {format} does not name the source of its records; say it"))
        }
        None => Ok(told),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn read(words: &[&str], configured: &[Reader]) -> Result<Reader, String> {
        let command = Args::augment_args(clap::Command::new("ingest"));
        let words = ["ingest", "f"].into_iter().chain(words.iter().copied());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = Args::from_arg_matches(&matches).expect("arguments");
        reader(&args, configured).map_err(|stop| stop.to_string())
    }

    #[test]
    fn records_are_read_as_those_of_a_topic_of_their_format_and_source() {
        let topic = Reader {
            format: sources::Format::BedrockInvocation,
            source: "aws".into(),
            customer_tags: vec!["tenant".into()],
            ..Reader::default()
        };
        let configured = [Reader::default(), topic.clone()];
        let words = ["--as", "bedrock_invocation", "--source", "aws"];
        assert_eq!(read(&words, &configured), Ok(topic.clone()));
        let tagged = [words.as_slice(), &["--customer-tag", "tenant"]].concat();
        assert_eq!((read(&tagged, &configured), read(&tagged, &[])), (Ok(topic.clone()), Ok(topic)));
        let other = read(&[words.as_slice(), &["--customer-tag", "team"]].concat(), &configured);
        assert!(other.as_ref().is_err_and(|why| why.contains("reads bedrock_invocation of source \"aws\" otherwise")));
        assert_eq!(read(&[], &configured), Ok(Reader::default()));
    }

    #[test]
    fn options_that_would_say_nothing_are_refused() {
        for (words, why) in [
            (["--deployment", "east"].as_slice(), "--deployment is for records of other formats"),
            (
                &["--product", "gpt"],
                "--product is for records of other formats that do not say it, and events of ours do",
            ),
            (&["--zone", "UTC"], "--zone is for records of other formats"),
            (&["--as", "vertex"], "--source: vertex does not name the source"),
            (&["--as", "xml"], "no format \"xml\"; there is cloudevents, bedrock_"),
            (&["--zone", "Mars/North"], "invalid value"),
        ] {
            let refused = read(words, &[]);
            assert!(refused.as_ref().is_err_and(|told| told.contains(why)), "{refused:?}");
        }
    }
}
