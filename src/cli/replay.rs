//! `apportion replay`: published traces as usage of configured deployments.

use super::generate::{PARTITIONS, write_lines};
use super::output::{Format, counted, json, line};
use super::{Session, Stop};
use apportion::ingest::file::unzipped;
use apportion::produce::kafka::{Producer, ensure_topics};
use apportion::produce::message::Message;
use apportion::produce::replay::Replay;
use chrono_tz::Tz;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  apportion replay azure-llm-2023 AzureLLMInferenceTrace_conv.csv.gz \\
    --deployment azure-openai-eastus --product gpt-5.5 \\
    --source urn:azure:trace --zone UTC --shift-days 907 \\
    --to-kafka usage.azure
  apportion replay azure-llm-2023 code.csv --deployment d --product p \\
    --source urn:s --zone UTC --shift-days 0 --output code.jsonl";

/// Replay a published trace as usage of a deployment
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    trace: Trace,
}

#[derive(Debug, clap::Subcommand)]
enum Trace {
    /// The Azure LLM inference trace of 2023: TIMESTAMP,ContextTokens,GeneratedTokens
    #[command(name = "azure-llm-2023", after_help = EXAMPLES)]
    #[command(group = clap::ArgGroup::new("to").required(true))]
    AzureLlm2023(TraceArgs),
}

#[derive(Debug, clap::Args)]
struct TraceArgs {
    /// Files of the trace, plain or gzipped; the ids of events start with a file's name
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The deployment that reports the usage, as the register names it
    #[arg(long)]
    deployment: String,
    /// The product that was used, as the register names it
    #[arg(long)]
    product: String,
    /// The CloudEvents source of the events
    #[arg(long)]
    source: String,
    /// The IANA zone of the trace's times; the file names none, so it has to be said
    #[arg(long)]
    zone: Tz,
    /// Moves every event by so many days of 24 hours
    #[arg(long, allow_negative_numbers = true)]
    shift_days: i64,
    /// Send to this topic, which is created if missing
    #[arg(long, group = "to", value_name = "TOPIC")]
    to_kafka: Option<String>,
    /// Write CloudEvents, one a line; compressed if the name ends with .gz
    #[arg(long, group = "to", value_name = "FILE")]
    output: Option<PathBuf>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let Trace::AzureLlm2023(args) = args.trace;
    let replay = Replay {
        deployment: args.deployment,
        product: args.product,
        source: args.source,
        zone: args.zone,
        shift_days: args.shift_days,
        topic: args.to_kafka.clone().unwrap_or_default(),
    };
    let mut messages = Vec::new();
    for path in &args.files {
        let read = replay.azure_llm_2023(&stem(path), &read_text(path)?);
        messages.extend(read.map_err(|error| Stop::Refused { reason: format!("{}: {error}", path.display()) })?);
    }
    let count = messages.len();
    if let Some(path) = &args.output {
        write_lines(path, messages.into_iter())?;
    } else {
        send(session, &replay.topic, messages).await?;
    }
    match session.format {
        Format::Json => json(&serde_json::json!({ "messages": count })),
        Format::Table => Ok(line(counted(count, "message"))?),
    }
}

async fn send(session: &Session, topic: &str, messages: Vec<Message>) -> anyhow::Result<()> {
    let (brokers, properties) = (session.config.kafka_brokers()?, &session.config.kafka.properties);
    ensure_topics(brokers, properties, &[topic.to_owned()], PARTITIONS).await?;
    let producer = Producer::new(brokers, properties, "")?;
    let sent = tokio::task::spawn_blocking(move || {
        messages.iter().try_for_each(|message| producer.send(message))?;
        producer.finish()
    });
    Ok(sent.await??)
}

/// The file's name up to its first point: `conv` of `conv.csv.gz`.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn read_text(path: &Path) -> Result<String, Stop> {
    let text = File::open(path).and_then(|file| unzipped(path, file)).and_then(io::read_to_string);
    text.map_err(|error| Stop::unusable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn every_member_of_a_gzip_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bytes = Vec::new();
        for part in ["a\n", "b\n"] {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part.as_bytes()).expect("zipped");
            bytes.extend(encoder.finish().expect("zipped"));
        }
        // Its first bytes tell, not its name.
        for name in ["trace.csv.gz", "trace.csv"] {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).expect("written");
            assert_eq!(read_text(&path).expect("read"), "a\nb\n");
        }
        let path = folder.path().join("short.csv");
        std::fs::write(&path, "1").expect("written");
        assert_eq!(read_text(&path).expect("read"), "1");
    }
}
