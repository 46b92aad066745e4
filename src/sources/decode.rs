//! From the bytes of a format to what they report: the formats by name, and the way that all of them go.

use super::cloudevents::Told;
use super::node::Node;
use super::record::Record;
use super::source::{Context, NoUsage, Reading, Source};
use super::{Fault, MAX_GATHERED_BYTES, MAX_MESSAGE_BYTES, Origin, Rejection, check_size, reject_shape};
use super::{
    agent_runtime, anthropic_messages, azure_gateway, bedrock_converse, bedrock_invocation, cloudevents, litellm, oci,
    openai_chat, openai_responses, openai_usage, openmeter, otel, vertex,
};
use crate::domain::names::names;
use crate::domain::usage::UsageMessage;
use uuid::Uuid;

names! {
    /// A record format, by the name that configuration gives it.
    #[derive(Default, Hash)]
    Format as "format" {
        /// CloudEvents 1.0 with the canonical record.
        #[default]
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
    }
}

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    Usage(Box<Usage>),
    NoUsage(NoUsage),
    Rejected(Rejection),
}

/// A message with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub message: UsageMessage,
    /// A hash of the fields as reported, before normalisation: it tells a duplicate from a conflict, whatever
    /// becomes of the rules.
    pub reported: Uuid,
    /// The id that whoever answered gave the reply or its request. It is no event's id: a reply that comes from a cache
    /// repeats it, as does a second report of one call.
    pub response_id: Option<String>,
    /// The rules by which it was normalised: the format, the version of the format's rules, and whether its time is that
    /// of receipt.
    pub rules: &'static str,
}

/// The rules of CloudEvents.
const CLOUDEVENTS_RULES: &str = "cloudevents/1";

/// What a CloudEvent with the canonical record came to.
impl From<Result<Told, Rejection>> for Decoded {
    fn from(read: Result<Told, Rejection>) -> Self {
        match read {
            Ok(Told { message, reply_id }) => {
                let reported = message.content_hash();
                let (response_id, rules) = (reply_id, CLOUDEVENTS_RULES);
                Self::Usage(Box::new(Usage { message, reported, response_id, rules }))
            }
            Err(rejection) => Self::Rejected(rejection),
        }
    }
}

impl Format {
    pub(super) fn source(self) -> Option<&'static Source> {
        Some(match self {
            Format::CloudEvents => return None,
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

    /// The longest message of it that is taken, in bytes.
    pub fn max_bytes(self) -> usize {
        match self {
            Format::OtlpJson | Format::OtlpProtobuf => MAX_GATHERED_BYTES,
            _ => MAX_MESSAGE_BYTES,
        }
    }

    /// The rules that it is normalised by now.
    pub fn rules(self) -> &'static str {
        self.source().map_or(CLOUDEVENTS_RULES, |source| source.rules)
    }
}

/// Decodes a message: what each of its records reports, in their order. No message comes to nothing.
pub fn decode(format: Format, bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    let mut decoded = decode_records(format, bytes, context);
    if decoded.is_empty() {
        decoded.push(Decoded::NoUsage(NoUsage::Empty));
    }
    for record in &mut decoded {
        if let Decoded::Rejected(rejection) = record {
            rejection.origin.format = format;
        }
    }
    decoded
}

fn decode_records(format: Format, bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    let Some(source) = format.source() else { return vec![decode_cloudevent(bytes, context)] };
    match check_size(bytes, format.max_bytes()).and_then(|()| (source.open)(source, bytes, context)) {
        Ok(records) => records.iter().map(|node| decode_record(source, format, node, context)).collect(),
        Err(fault) => vec![Decoded::Rejected(reject_shape(fault, bytes))],
    }
}

fn decode_cloudevent(bytes: &[u8], context: &Context<'_>) -> Decoded {
    cloudevents::decode_message(context.headers, Some(bytes)).into()
}

fn decode_record(source: &Source, format: Format, node: &Node, context: &Context<'_>) -> Decoded {
    let record = Record::new(node);
    let read = (source.read)(&record, context).and_then(|reading| match reading {
        Reading::NoUsage(why) => Ok(Decoded::NoUsage(why)),
        Reading::Usage(mut draft) => {
            let response_id = draft.response_id.take();
            let rules = draft.rules.unwrap_or(format.rules());
            // What the carrier says for the record is reported with it.
            let carried_at = draft.occurred_at.map_or(context.occurred_at, |_| None);
            let message = UsageMessage::Event(draft.finish(context, response_id.clone())?);
            let usage = Usage { message, reported: node.content_hash(carried_at), response_id, rules };
            Ok(Decoded::Usage(Box::new(usage)))
        }
    });
    read.unwrap_or_else(|Fault { reason, detail }| {
        let mut redacted = String::new();
        node.write(&mut redacted);
        let redacted = redacted.into_bytes();
        let origin = Origin::default();
        Decoded::Rejected(Rejection { reason, detail, origin, content_type: "application/json", redacted })
    })
}
