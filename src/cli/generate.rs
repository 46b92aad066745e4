//! `apportion generate`: a month of usage from a seed, into a file or Kafka.

use super::output::{Format, counted, json, line, table, thousands};
use super::{Session, Stop};
use anyhow::Context;
use apportion::domain::calendar::Period;
use apportion::produce::generate::{Generator, Plan};
use apportion::produce::kafka::{Producer, ensure_topics};
use apportion::produce::manifest::Manifest;
use apportion::produce::message::{Message, TOPICS};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Partitions of a topic that we create ourselves.
pub const PARTITIONS: i32 = 4;

const EXAMPLES: &str = "\
Prints, as exact counts, as what each message must end: stored, duplicate, conflict, correction, void, \
rejection. The same seed gives the same bytes. Times lie in the month as Los Angeles has it.

Examples:
  apportion generate --output may.jsonl.gz
  apportion generate --month 2026-04 --events 20000 --no-late --to-kafka
  apportion generate --seed 7 --output may.jsonl --format json";

/// Generate a month of usage of every channel, with duplicates, corrections, late and malformed messages
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub struct Args {
    /// The month in which the events occur
    #[arg(long, default_value = "2026-05")]
    month: Period,
    /// Distinct usage events; duplicates, corrections and malformed messages come on top
    #[arg(long, default_value_t = 200_000)]
    events: u32,
    /// Another seed gives other events
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// No events of the month before
    #[arg(long)]
    no_late: bool,
    /// Write CloudEvents, one a line; compressed if the name ends with .gz
    #[arg(long, group = "to", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Send to usage.direct, usage.azure, usage.aws, usage.google and usage.oracle, which are created if missing
    #[arg(long, group = "to")]
    to_kafka: bool,
    /// Put before the names of the topics
    #[arg(long, default_value = "", requires = "to_kafka", value_name = "PREFIX")]
    topic_prefix: String,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let Args { month, events, seed, .. } = args;
    let plan = Plan { month, events, seed, late: !args.no_late, empty_messages: args.to_kafka };
    let mut generator = Generator::new(plan).map_err(|error| Stop::Refused { reason: error.to_string() })?;
    if let Some(path) = &args.output {
        write_lines(path, generator.by_ref())?;
    } else {
        let producer = producer(session, &args.topic_prefix).await?;
        generator = tokio::task::spawn_blocking(move || {
            for message in generator.by_ref() {
                producer.send(&message)?;
            }
            producer.finish().map(|()| generator)
        })
        .await??;
    }
    match session.format {
        Format::Json => json(generator.manifest()),
        Format::Table => show(generator.manifest()),
    }
}

/// A producer, once its topics exist.
pub async fn producer(session: &Session, topic_prefix: &str) -> anyhow::Result<Producer> {
    let (brokers, properties) = (session.config.kafka_brokers()?, &session.config.kafka.properties);
    let topics: Vec<String> = TOPICS.iter().map(|topic| format!("{topic_prefix}{topic}")).collect();
    ensure_topics(brokers, properties, &topics, PARTITIONS).await?;
    Ok(Producer::new(brokers, properties, topic_prefix)?)
}

/// Writes events in structured mode, one a line; gzip where the file's name ends with `.gz`.
pub fn write_lines(path: &Path, messages: impl Iterator<Item = Message>) -> anyhow::Result<()> {
    let file = File::create(path).map_err(|error| Stop::unusable(path, &error))?;
    let out = BufWriter::new(file);
    let lines = messages.map(|message| message.line());
    let written = if path.extension().is_some_and(|extension| extension == "gz") {
        write_zipped(out, lines)
    } else {
        write_plain(out, lines).map(drop)
    };
    written.with_context(|| format!("{}", path.display()))
}

fn write_plain<W: Write>(mut out: W, lines: impl Iterator<Item = impl Display>) -> io::Result<W> {
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(out)
}

fn write_zipped(out: impl Write, lines: impl Iterator<Item = impl Display>) -> io::Result<()> {
    let encoder = write_plain(GzEncoder::new(out, Compression::fast()), lines)?;
    // Dropped, it would write the trailer too, but keep silent about a failure.
    encoder.finish()?.flush()
}

fn show(manifest: &Manifest) -> anyhow::Result<()> {
    let row = |name: &str, count: u64| vec![name.to_owned(), thousands(count)];
    let outcomes = manifest.counts.iter().map(|(outcome, count)| row(outcome.name(), count));
    line(table(&["outcome", "messages"], &[1], outcomes))?;
    let rejections = manifest.rejections.iter().map(|(reason, count)| row(reason, *count));
    line(table(&["rejected for", "messages"], &[1], rejections))?;
    let deployments = manifest.events_by_deployment.iter().map(|(name, count)| row(name, *count));
    line(table(&["deployment", "events"], &[1], deployments))?;
    let outcomes = manifest.events_by_outcome.iter().map(|(name, count)| row(name, *count));
    line(table(&["requests", "events"], &[1], outcomes))?;
    let (messages, late) = (counted(manifest.counts.messages(), "message"), thousands(manifest.late));
    Ok(line(format!("{messages}; {late} of the stored events occurred in the month before"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;

    #[test]
    fn a_zipped_file_is_whole_or_an_error() {
        let lines = || (0..1000).map(|number| format!("line {number}"));
        let mut zipped = Vec::new();
        write_zipped(&mut zipped, lines()).expect("zipped");
        let text = io::read_to_string(MultiGzDecoder::new(zipped.as_slice())).expect("a whole file");
        assert_eq!(text.lines().count(), 1000);
        // A disk that is full before the last byte, which belongs to the trailer.
        let mut room = vec![0; zipped.len() - 1];
        assert!(write_zipped(room.as_mut_slice(), lines()).is_err());
        let mut room = vec![0; zipped.len()];
        assert!(write_zipped(room.as_mut_slice(), lines()).is_ok());
    }
}
