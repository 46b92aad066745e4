//! `apportion replay`: published traces as usage of configured deployments.

use super::generate::{PARTITIONS, write_lines};
use super::output::{self, counted, json, line};
use super::{Session, Stop};
use apportion::domain::period::{Instant, parse_instant};
use apportion::ingest::file::unpacked;
use apportion::produce::kafka::{Producer, ensure_topics};
use apportion::produce::message::Message;
use apportion::produce::replay::{Format, LocalTimes, Replay};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
A trace names no deployment, and few name a product: what its rows stand for is said here. Ids \
are the same in every run, so that a second one gives known duplicates. contracts/trace-share.md \
has deployments and products for all four, contracts/README.md what each format becomes.

Examples:
  apportion replay azure-llm-2023 --help
  apportion replay weka-requests requests_761.jsonl.gz \\
    --deployment trace-weka --product trace-long-context --source urn:weka \\
    --start 2026-05-01T00:00:00Z --to-kafka usage.azure";

const AZURE_EXAMPLES: &str = "\
ContextTokens become input_tokens, GeneratedTokens output_tokens. The times name no zone.

Examples:
  apportion replay azure-llm-2023 AzureLLMInferenceTrace_conv.csv.gz \\
    --deployment azure-openai-eastus --product gpt-5.5 --source urn:azure:trace \\
    --zone UTC --shift-days 907 --to-kafka usage.azure
  apportion replay azure-llm-2023 code.csv --deployment trace-code --product trace-model \\
    --source urn:azure:trace --zone UTC --shift-days 0 --output code.jsonl";

const EXGENTIC_EXAMPLES: &str = "\
A span is one request, at its start, under its span_id: requests that a cache answered with the \
same response_id all count. A failed one has the outcome error and no tokens.

Examples:
  apportion replay exgentic-spans llm_call_spans_2294.jsonl.gz --deployment trace-exgentic \\
    --product azure/Kimi-K2.5=kimi-k2.5 --product azure/DeepSeek-V3.2=deepseek-v3.2 \\
    --source urn:exgentic --zone UTC --shift-days 0 --to-kafka usage.azure";

const MOONCAKE_EXAMPLES: &str = "\
Of the input, what an unbounded cache of 512-token blocks had at the front of the prompt becomes \
cached_input_tokens, the rest input_tokens. Files do not share a cache.

Examples:
  apportion replay mooncake-conversation conversation_trace.head2000.jsonl.gz \\
    --deployment trace-mooncake --product kimi-k2.5 --source urn:mooncake \\
    --start 2026-05-01T00:00:00Z --to-kafka usage.azure";

const WEKA_EXAMPLES: &str = "\
Every session begins at --start. All input becomes input_tokens; where the product has a price \
above 272,000 tokens of it, the requests beyond take that one.

Examples:
  apportion replay weka-requests requests_761.jsonl.gz \\
    --deployment trace-weka --product trace-long-context --source urn:weka \\
    --start 2026-05-01T00:00:00Z --output weka.jsonl";

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
    #[command(name = "azure-llm-2023", after_help = AZURE_EXAMPLES)]
    AzureLlm2023(LocalArgs),
    /// Exgentic's agent traces: OpenTelemetry spans with the outcome of each request
    #[command(name = "exgentic-spans", after_help = EXGENTIC_EXAMPLES)]
    ExgenticSpans(LocalArgs),
    /// Mooncake's conversation trace, with the input that a cache held
    #[command(name = "mooncake-conversation", after_help = MOONCAKE_EXAMPLES)]
    MooncakeConversation(StartArgs),
    /// Weka's requests of coding sessions, some above 272,000 tokens of input
    #[command(name = "weka-requests", after_help = WEKA_EXAMPLES)]
    WekaRequests(StartArgs),
}

/// Of a trace with times of day.
#[derive(Debug, clap::Args)]
struct LocalArgs {
    #[command(flatten)]
    trace: TraceArgs,
    /// The IANA zone of those of the trace's times that name none
    #[arg(long)]
    zone: Tz,
    /// Moves every event by so many days of 24 hours
    #[arg(long, allow_negative_numbers = true)]
    shift_days: i64,
}

/// Of a trace whose times begin at zero.
#[derive(Debug, clap::Args)]
struct StartArgs {
    #[command(flatten)]
    trace: TraceArgs,
    /// The instant (RFC 3339) that the trace, or each of its sessions, begins at
    #[arg(long, value_parser = parse_instant)]
    start: Instant,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
struct TraceArgs {
    /// Files of the trace, plain or gzipped; ids start with a file's name where rows have none of their own
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The deployment that reports the usage, as the register names it
    #[arg(long)]
    deployment: String,
    /// The product that was used, as the register names it; of one model alone, by the trace's name of it
    #[arg(long = "product", required = true, value_name = "[MODEL=]PRODUCT", value_parser = model_and_product)]
    products: Vec<(Option<String>, String)>,
    /// The CloudEvents source of the events
    #[arg(long)]
    source: String,
    /// Send to this topic, which is created if missing
    #[arg(long, group = "to", value_name = "TOPIC")]
    to_kafka: Option<String>,
    /// Write CloudEvents, one a line; compressed if the name ends with .gz
    #[arg(long, group = "to", value_name = "FILE")]
    output: Option<PathBuf>,
}

fn model_and_product(text: &str) -> Result<(Option<String>, String), &'static str> {
    let (model, product) = match text.split_once('=') {
        Some((model, product)) => (Some(model), product),
        None => (None, text),
    };
    if product.is_empty() || model == Some("") {
        return Err("write PRODUCT, or MODEL=PRODUCT");
    }
    Ok((model.map(str::to_owned), product.to_owned()))
}

impl Trace {
    fn parts(self) -> (Format, TraceArgs) {
        let times = |args: &LocalArgs| LocalTimes { zone: args.zone, shift_days: args.shift_days };
        match self {
            Trace::AzureLlm2023(args) => (Format::AzureLlm2023(times(&args)), args.trace),
            Trace::ExgenticSpans(args) => (Format::ExgenticSpans(times(&args)), args.trace),
            Trace::MooncakeConversation(args) => (Format::MooncakeConversation { start: args.start }, args.trace),
            Trace::WekaRequests(args) => (Format::WekaRequests { start: args.start }, args.trace),
        }
    }
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (format, args) = args.trace.parts();
    let mut products = BTreeMap::new();
    for (model, product) in args.products {
        if let Some(other) = products.insert(model, product) {
            return Err(Stop::Refused { reason: format!("--product: two for one model, one of them {other}") }.into());
        }
    }
    let topic = args.to_kafka.clone().unwrap_or_default();
    let replay = Replay { deployment: args.deployment, products, source: args.source, topic };
    let mut messages = Vec::new();
    for path in &args.files {
        let read = replay.messages(format, &stem(path), &read_text(path)?);
        messages.extend(read.map_err(|error| Stop::Refused { reason: format!("{}: {error}", path.display()) })?);
    }
    let count = messages.len();
    if let Some(path) = &args.output {
        write_lines(path, messages.into_iter())?;
    } else {
        send(session, &replay.topic, messages).await?;
    }
    match session.format {
        output::Format::Json => json(&serde_json::json!({ "messages": count })),
        output::Format::Table => Ok(line(counted(count, "message"))?),
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
    let text = File::open(path).and_then(|file| unpacked(path, file)).and_then(io::read_to_string);
    text.map_err(|error| Stop::unusable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    #[test]
    fn a_product_is_of_every_model_or_of_one() {
        let own = |model: Option<&str>, product: &str| Ok((model.map(str::to_owned), product.to_owned()));
        assert_eq!(model_and_product("p"), own(None, "p"));
        assert_eq!(model_and_product("azure/Kimi-K2.5=k"), own(Some("azure/Kimi-K2.5"), "k"));
        for wrong in ["", "=p", "m="] {
            assert!(model_and_product(wrong).is_err(), "{wrong}");
        }
    }

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
