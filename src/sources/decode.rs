//! From the bytes of a format to what they report: the formats by name, and the way that all of them go.
//!
//! Each format is a [`Source`]: an allow-list, the version of its rules, how its bytes part into records, and
//! how a record is read. What a record reports keeps the names that it was reported under.

use super::node::{Keep, Node, Pruning};
use super::record::Record;
use super::{CloudCost, Fault, MAX_NAME_BYTES, Rejection, RejectionReason as Reason, check_size, fault, reject_shape};
use super::{
    agent_runtime, anthropic_messages, azure_gateway, bedrock_converse, bedrock_invocation, cloudevents, focus,
    litellm, oci, openai_chat, openai_responses, openai_usage, openmeter, otel, vertex,
};
use crate::domain::ids::EventId;
use crate::domain::names::names;
use crate::domain::period::Instant;
use crate::domain::usage::{Quantities, RequestOutcome, UsageContent, UsageEvent, UsageMessage};
use chrono_tz::Tz;
use std::fmt;
use uuid::Uuid;

names! {
    /// A record format, by the name that configuration gives it.
    #[derive(Hash)]
    Format as "format" {
        /// CloudEvents 1.0 with the canonical record.
        CloudEvents = "cloudevents",
        /// AWS Bedrock's ModelInvocationLog, one record.
        BedrockInvocation = "bedrock_invocation",
        /// The same as CloudWatch delivers it: several records, gzip, base64.
        BedrockCloudWatch = "bedrock_cloudwatch",
        /// The usage of a reply of Bedrock's Converse.
        BedrockConverse = "bedrock_converse",
        /// A reply of OpenAI's Chat Completions.
        OpenAiChat = "openai_chat",
        /// A reply of OpenAI's Responses.
        OpenAiResponses = "openai_responses",
        /// A reply of Anthropic's Messages.
        AnthropicMessages = "anthropic_messages",
        /// Rows of Azure API Management's `ApiManagementGatewayLlmLog`.
        AzureGateway = "azure_gateway",
        /// Buckets of OpenAI's organization usage.
        OpenAiUsage = "openai_usage",
        /// A reply of Google Vertex.
        Vertex = "vertex",
        /// A reply of Oracle's Generative AI, in its three spellings.
        Oci = "oci",
        /// OpenTelemetry's GenAI spans, OTLP as JSON.
        OtlpJson = "otlp_json",
        /// The same as protobuf.
        OtlpProtobuf = "otlp_protobuf",
        /// OpenTelemetry's GenAI spans, flattened to one JSON object each.
        OtelFlat = "otel_flat",
        /// LiteLLM's StandardLoggingPayload.
        LiteLlm = "litellm",
        /// OpenMeter's events, with counts of tokens.
        OpenMeter = "openmeter",
        /// Usage logs of AWS's agent runtime.
        AgentRuntime = "agent_runtime",
        /// FOCUS cost rows, a CSV file with its header.
        Focus = "focus",
    }
}

/// What stands beside a record: what configuration and carrier say where the record itself does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The source of events whose record names none: ids are unique within it.
    pub source: &'a str,
    /// The zone of times that name none; without it they are refused.
    pub zone: Option<Tz>,
    /// The id that the carrier gives a record that has none of its own.
    pub id: Option<&'a str>,
    /// When the carrier says that it occurred.
    pub occurred_at: Option<Instant>,
    pub deployment: Option<&'a str>,
    pub product: Option<&'a str>,
    pub customer: Option<&'a str>,
    /// The callers' tags that name the customer; the first that is there holds. No other tag is read.
    pub customer_tags: &'a [String],
    /// A Kafka message's headers.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// The rules by which a record was normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules {
    pub format: Format,
    /// Rises whenever the same record would give other quantities or names.
    pub version: u16,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.format, self.version)
    }
}

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    Usage(Box<Usage>),
    NoUsage(NoUsage),
    /// What the cloud says that it charged.
    Cost(Box<CloudCost>),
    Rejected(Rejection),
}

/// A message with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub message: UsageMessage,
    /// A hash of the fields as reported, before normalisation: it tells a duplicate from a conflict, whatever
    /// becomes of the rules.
    pub reported: Uuid,
    /// The end of an interval record, exclusive.
    pub until: Option<Instant>,
    /// The id of the reply. It is no event's id: a reply that comes from a cache repeats it.
    pub response_id: Option<String>,
    pub rules: Rules,
}

names! {
    /// Why a record that is as it should be states no usage.
    #[derive(Hash)]
    NoUsage as "reason for no usage" {
        /// A row of a call that another row states the usage of.
        OtherRow = "other_row",
        /// A part of a stream, whose end states the usage.
        StreamPart = "stream_part",
        /// A span of something other than a model's call.
        OtherSpan = "other_span",
        /// An answer from a cache before the deployment, which used nothing.
        CachedBefore = "cached_before",
        /// A message without records, such as a bucket without results.
        Empty = "empty",
        /// A message of the carrier's own.
        Control = "control",
    }
}

/// The records of a message, of which some may be refused alone.
pub(super) type Records = Result<Vec<Result<Node, Fault>>, Fault>;

/// A format: what of it may be read, and how.
pub(super) struct Source {
    pub keep: &'static Keep,
    /// Whether its fields come in several spellings.
    pub folds: bool,
    /// The version of its rules.
    pub version: u16,
    /// Parts the bytes into records.
    pub open: fn(&Source, &[u8], &Context<'_>) -> Records,
    pub read: fn(&Record<'_>, &Context<'_>) -> Result<Reading, Fault>,
}

/// What the reading of a record comes to.
pub(super) enum Reading {
    Usage(Box<Draft>),
    NoUsage(NoUsage),
}

impl Reading {
    pub(super) fn usage(draft: Draft) -> Self {
        Self::Usage(Box::new(draft))
    }
}

/// Usage as a record states it; what it does not say itself the context says.
#[derive(Default)]
pub(super) struct Draft {
    /// The event's own id. Where there is none, the carrier's holds, and then that of the reply.
    pub id: Option<String>,
    pub source: Option<String>,
    pub response_id: Option<String>,
    pub occurred_at: Option<Instant>,
    pub until: Option<Instant>,
    pub deployment: Option<String>,
    pub product: Option<String>,
    pub customer: Option<String>,
    pub service_tier: Option<String>,
    pub outcome: Option<RequestOutcome>,
    pub quantities: Quantities,
}

/// The tier that a record without one was served in.
pub(super) const DEFAULT_TIER: &str = "default";

impl Format {
    fn source(self) -> Option<&'static Source> {
        Some(match self {
            Format::CloudEvents | Format::Focus => return None,
            Format::BedrockInvocation => &bedrock_invocation::SOURCE,
            Format::BedrockCloudWatch => &bedrock_invocation::CLOUDWATCH,
            Format::BedrockConverse => &bedrock_converse::SOURCE,
            Format::OpenAiChat => &openai_chat::SOURCE,
            Format::OpenAiResponses => &openai_responses::SOURCE,
            Format::AnthropicMessages => &anthropic_messages::SOURCE,
            Format::AzureGateway => &azure_gateway::SOURCE,
            Format::OpenAiUsage => &openai_usage::SOURCE,
            Format::Vertex => &vertex::SOURCE,
            Format::Oci => &oci::SOURCE,
            Format::OtlpJson => &otel::JSON,
            Format::OtlpProtobuf => &otel::PROTOBUF,
            Format::OtelFlat => &otel::FLAT,
            Format::LiteLlm => &litellm::SOURCE,
            Format::OpenMeter => &openmeter::SOURCE,
            Format::AgentRuntime => &agent_runtime::SOURCE,
        })
    }

    /// The rules that it is normalised by now.
    pub fn rules(self) -> Rules {
        Rules { format: self, version: self.source().map_or(1, |source| source.version) }
    }
}

/// Decodes a message: what each of its records reports, in their order. No message comes to nothing.
pub fn decode(format: Format, bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    let mut decoded = decode_records(format, bytes, context);
    if decoded.is_empty() {
        decoded.push(Decoded::NoUsage(NoUsage::Empty));
    }
    decoded
}

fn decode_records(format: Format, bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    let Some(source) = format.source() else {
        return match format {
            Format::Focus => decode_costs(bytes, context),
            _ => vec![decode_cloudevent(bytes, context)],
        };
    };
    let records = match check_size(bytes).and_then(|()| (source.open)(source, bytes, context)) {
        Ok(records) => records,
        Err(fault) => return vec![Decoded::Rejected(reject_shape(fault, bytes))],
    };
    let decoded = records.into_iter().map(|node| match node {
        Ok(node) => decode_record(source, format, &node, context),
        // What is no JSON may be anything: not even its shape is kept.
        Err(fault) => Decoded::Rejected(reject_shape(fault, b"")),
    });
    decoded.collect()
}

fn decode_cloudevent(bytes: &[u8], context: &Context<'_>) -> Decoded {
    match cloudevents::decode_message(context.headers, Some(bytes)) {
        Ok(message) => {
            let reported = message.content_hash();
            let rules = Format::CloudEvents.rules();
            Decoded::Usage(Box::new(Usage { message, reported, until: None, response_id: None, rules }))
        }
        Err(rejection) => Decoded::Rejected(rejection),
    }
}

fn decode_costs(bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    let rejected = |fault| Decoded::Rejected(reject_shape(fault, b""));
    match focus::rows(bytes, context) {
        Ok(rows) => {
            rows.into_iter().map(|row| row.map_or_else(rejected, |cost| Decoded::Cost(Box::new(cost)))).collect()
        }
        Err(fault) => vec![rejected(fault)],
    }
}

fn decode_record(source: &Source, format: Format, node: &Node, context: &Context<'_>) -> Decoded {
    let record = Record::new(node);
    let read = (source.read)(&record, context).and_then(|reading| match reading {
        Reading::NoUsage(why) => Ok(Decoded::NoUsage(why)),
        Reading::Usage(mut draft) => {
            let (until, response_id) = (draft.until, draft.response_id.take());
            let message = UsageMessage::Event(draft.finish(context, response_id.clone())?);
            let usage = Usage { message, reported: node.content_hash(), until, response_id, rules: format.rules() };
            Ok(Decoded::Usage(Box::new(usage)))
        }
    });
    read.unwrap_or_else(|Fault { reason, detail }| {
        let mut redacted = String::new();
        node.write(&mut redacted);
        let redacted = redacted.into_bytes();
        Decoded::Rejected(Rejection { reason, detail, content_type: "application/json", redacted })
    })
}

impl Draft {
    fn finish(self, context: &Context<'_>, response_id: Option<String>) -> Result<UsageEvent, Fault> {
        let or = |own: Option<String>, beside: Option<&str>| own.or_else(|| beside.map(str::to_owned));
        let missing =
            |what: &str| fault(Reason::MissingField, format!("{what}; neither the record nor its carrier says"));
        let source = self.source.unwrap_or_else(|| context.source.to_owned());
        if source.is_empty() {
            return Err(missing("source: missing"));
        }
        let id = self.id.or_else(|| context.id.map(str::to_owned)).or(response_id);
        let id = id.ok_or_else(|| missing("id: missing"))?;
        for (name, text) in [("id", &id), ("source", &source)] {
            if text.len() > MAX_NAME_BYTES {
                return Err(fault(Reason::NameTooLong, format!("{name}: longer than {MAX_NAME_BYTES} bytes")));
            }
        }
        let content = UsageContent {
            occurred_at: self.occurred_at.or(context.occurred_at).ok_or_else(|| missing("time: missing"))?,
            deployment: or(self.deployment, context.deployment).ok_or_else(|| missing("deployment: missing"))?,
            product: or(self.product, context.product).ok_or_else(|| missing("product: missing"))?,
            customer: or(self.customer, context.customer).unwrap_or_default(),
            service_tier: self.service_tier.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
            outcome: self.outcome,
            quantities: self.quantities,
        };
        Ok(UsageEvent { id: EventId { source, id }, content })
    }
}

/// Opens bytes that are one JSON record.
pub(super) fn open_json(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    Ok(vec![Ok(prune(source, bytes, context)?)])
}

/// The allow-listed part of bytes that are a JSON object.
pub(super) fn prune(source: &Source, bytes: &[u8], context: &Context<'_>) -> Result<Node, Fault> {
    let text = text_of(bytes)?;
    let pruning = Pruning { tags: context.customer_tags, folds: source.folds };
    pruning.json(text, source.keep).map_err(|error| super::node::not_json(&error))
}

pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    // Some programs write a byte-order mark.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| fault(Reason::NotJson, "must be UTF-8"))
}
