//! AWS Bedrock's ModelInvocationLog: a record as it is, or several as CloudWatch delivers them (JSON, gzip, base64).
//!
//! What includes what: `inputTokenCount`, `cacheReadInputTokenCount` and `cacheWriteInputTokenCount` stand beside
//! each other. Where `outputBodyJson.usage` states the same counts, they must agree, and it alone tells how long
//! a cache keeps what was written. The deployment is the region in which the model ran; the customer what the
//! caller tagged, else the account. Of the bodies nothing but their `usage` is read.

use super::anthropic_messages::{LIFETIMES, lifetimes};
use super::bedrock_converse::{Counts, tier_name};
use super::node::{Field, Keep, Node};
use super::record::Record;
use super::source::{Draft, NoUsage, Reading, Records, Source, open_json, prune};
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::usage::RequestOutcome;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use std::io::Read as _;

const RECORD: Keep = Keep::Object(&[
    ("schemaType", Keep::Word),
    ("schemaVersion", Keep::Word),
    ("timestamp", Keep::Time),
    ("accountId", Keep::Name),
    ("region", Keep::Name),
    ("inferenceRegion", Keep::Name),
    ("requestId", Keep::Name),
    ("modelId", Keep::Name),
    ("errorCode", Keep::Word),
    ("serviceTier", Keep::Word),
    ("performanceConfig", Keep::Object(&[("latency", Keep::Word)])),
    ("requestMetadata", Keep::Tags),
    (
        "input",
        Keep::Object(&[
            ("inputTokenCount", Keep::Number),
            ("cacheReadInputTokenCount", Keep::Number),
            ("cacheWriteInputTokenCount", Keep::Number),
        ]),
    ),
    (
        "output",
        Keep::Object(&[
            ("outputTokenCount", Keep::Number),
            ("outputBodyJson", Keep::Body(&[("usage", Keep::Body(BODY_USAGE))])),
        ]),
    ),
]);

/// The usage in a body is worded as its operation words it: as Converse does, or as Anthropic's models do.
const BODY_USAGE: &[Field] = &[
    ("inputTokens", Keep::Number),
    ("outputTokens", Keep::Number),
    ("totalTokens", Keep::Number),
    ("cacheReadInputTokens", Keep::Number),
    ("cacheReadInputTokenCount", Keep::Number),
    ("cacheWriteInputTokens", Keep::Number),
    ("cacheWriteInputTokenCount", Keep::Number),
    ("cacheDetails", Keep::List(&Keep::Object(&[("ttl", Keep::Word), ("inputTokens", Keep::Number)]))),
    ("input_tokens", Keep::Number),
    ("output_tokens", Keep::Number),
    ("cache_read_input_tokens", Keep::Number),
    ("cache_creation_input_tokens", Keep::Number),
    ("cache_creation", Keep::Object(LIFETIMES)),
];

pub(super) const SOURCE: Source =
    Source { keep: &RECORD, folds: false, rules: "bedrock_invocation/1", open: open_json, read };

pub(super) const CLOUDWATCH: Source =
    Source { keep: &RECORD, folds: false, rules: "bedrock_cloudwatch/1", open: open_cloudwatch, read };

fn read(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    if record.text("messageType")? == Some("CONTROL_MESSAGE") {
        return Ok(Reading::NoUsage(NoUsage::Control));
    }
    if record.text("schemaType")? != Some("ModelInvocationLog") {
        return Err(record.fault(Reason::UnknownType, "schemaType", "must be ModelInvocationLog"));
    }
    let error = record.text("errorCode")?;
    let counts = counts(record)?;
    if counts.input.is_none() && error.is_none() {
        return Err(record.missing("input.inputTokenCount"));
    }
    let region = record.first_text(["inferenceRegion", "region"])?;
    let tagged = record.part("requestMetadata").first_text(context.customer_tags.iter().map(String::as_str))?;
    let customer = tagged.or(record.text("accountId")?);
    let is_optimized = record.text("performanceConfig.latency")? == Some("optimized");
    let tier = record.text("serviceTier")?.map(tier_name).or_else(|| is_optimized.then(|| "optimized".to_owned()));
    let id = record.need_text("requestId")?;
    Ok(Reading::usage(Draft {
        id: Some(id.to_owned()),
        // The caller is told it too, with the reply.
        response_id: Some(id.to_owned()),
        occurred_at: record.instant("timestamp", context)?,
        deployment: region.map(str::to_owned),
        product: Some(record.need_text("modelId")?.to_owned()),
        customer: customer.map(str::to_owned),
        service_tier: tier,
        outcome: error.map_or(Some(RequestOutcome::Ok), outcome),
        quantities: counts.tally().into_quantities(),
        ..Draft::default()
    }))
}

/// The counts of the record, which its body may state too.
fn counts(record: &Record<'_>) -> Result<Counts, Fault> {
    let both = |own: &str, in_body: &[&str]| {
        let in_body: Vec<String> = in_body.iter().map(|name| format!("output.outputBodyJson.usage.{name}")).collect();
        let paths: Vec<&str> = std::iter::once(own).chain(in_body.iter().map(String::as_str)).collect();
        record.count_of_any(&paths)
    };
    let body = record.part("output.outputBodyJson.usage");
    let mut counts = Counts::read(&body)?;
    counts.input = both("input.inputTokenCount", &["inputTokens", "input_tokens"])?;
    counts.output = both("output.outputTokenCount", &["outputTokens", "output_tokens"])?;
    let names = ["cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens"];
    counts.read = both("input.cacheReadInputTokenCount", &names)?;
    let names = ["cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens"];
    counts.written = both("input.cacheWriteInputTokenCount", &names)?;
    counts.by_lifetime = counts.by_lifetime.or(lifetimes(&body)?);
    if let Some([short, long]) = counts.by_lifetime {
        let parts = [("5m", short), ("1h", long)];
        record.check_sum("input.cacheWriteInputTokenCount", counts.written.unwrap_or(0), &parts)?;
    }
    Ok(counts)
}

/// Whose fault an error was; of one that is not known here neither is told.
fn outcome(error: &str) -> Option<RequestOutcome> {
    match error {
        "InternalServerException"
        | "ServiceUnavailableException"
        | "ModelErrorException"
        | "ModelTimeoutException"
        | "ModelNotReadyException"
        | "ModelStreamErrorException" => Some(RequestOutcome::Error),
        "AccessDeniedException"
        | "ResourceNotFoundException"
        | "ServiceQuotaExceededException"
        | "ThrottlingException"
        | "ValidationException" => Some(RequestOutcome::Ok),
        _ => None,
    }
}

/// How much a delivery may hold once it is unpacked, in bytes. CloudWatch's deliveries stay far below.
const MAX_UNPACKED_BYTES: usize = 16 << 20;

/// What CloudWatch delivers to a function: gzip in base64.
const DELIVERY: Source =
    Source { keep: &Keep::Object(&[("awslogs", Keep::Object(&[("data", Keep::Packed)]))]), ..SOURCE };

/// What is in it, and what it delivers to a stream.
const EVENTS: Source = Source {
    keep: &Keep::Object(&[
        ("messageType", Keep::Word),
        ("logEvents", Keep::List(&Keep::Object(&[("message", Keep::Nested(&RECORD))]))),
    ]),
    ..SOURCE
};

fn open_cloudwatch(_: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unzip(bytes)?;
        &unpacked
    } else if let Node::Packed(packed) = prune(&DELIVERY, bytes, context)?.take("awslogs").take("data") {
        let packed = STANDARD.decode(packed.as_bytes());
        let packed = packed.map_err(|_| fault(Reason::WrongPacking, "awslogs.data: must be base64"))?;
        unpacked = unzip(&packed)?;
        &unpacked
    } else {
        bytes
    };
    let mut delivery = prune(&EVENTS, bytes, context)?;
    match delivery.get("messageType") {
        Node::Text(kind) if kind == "DATA_MESSAGE" => (),
        Node::Text(kind) if kind == "CONTROL_MESSAGE" => {
            return Ok(vec![Node::object([("messageType", Node::Text(kind.clone()))])]);
        }
        // A record alone, such as one that was kept after a rejection.
        Node::Null => return open_json(&SOURCE, bytes, context),
        _ => return Err(fault(Reason::UnknownType, "messageType: must be DATA_MESSAGE or CONTROL_MESSAGE")),
    }
    let events = match delivery.take("logEvents") {
        Node::List(events) => events,
        _ => return Err(fault(Reason::WrongField, "logEvents: must be a list")),
    };
    Ok(events.into_iter().map(|mut event| event.take("message")).collect())
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(MAX_UNPACKED_BYTES).unwrap_or(u64::MAX);
    let read = MultiGzDecoder::new(bytes).take(limit.saturating_add(1)).read_to_end(&mut unpacked);
    read.map_err(|_| fault(Reason::WrongPacking, "must be gzip"))?;
    if unpacked.len() > MAX_UNPACKED_BYTES {
        let detail = format!("unpacks to more than {MAX_UNPACKED_BYTES} bytes");
        return Err(fault(Reason::MessageTooLarge, detail));
    }
    Ok(unpacked)
}
