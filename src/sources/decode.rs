//! From the bytes of a format to what they report: the formats by name, and the way that all of them go.

use super::node::Node;
use super::record::Record;
use super::source::{Context, NoUsage, Reading, Source};
use super::{CloudCost, Fault, Rejection, check_size, reject_shape};
use super::{
    agent_runtime, anthropic_messages, azure_gateway, bedrock_converse, bedrock_invocation, cloudevents, focus,
    litellm, oci, openai_chat, openai_responses, openai_usage, openmeter, otel, vertex,
};
use crate::domain::names::names;
use crate::domain::usage::UsageMessage;
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
    /// The id of the reply. It is no event's id: a reply that comes from a cache repeats it.
    pub response_id: Option<String>,
    pub rules: Rules,
}

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
    match check_size(bytes).and_then(|()| (source.open)(source, bytes, context)) {
        Ok(records) => records.iter().map(|node| decode_record(source, format, node, context)).collect(),
        Err(fault) => vec![Decoded::Rejected(reject_shape(fault, bytes))],
    }
}

fn decode_cloudevent(bytes: &[u8], context: &Context<'_>) -> Decoded {
    match cloudevents::decode_message(context.headers, Some(bytes)) {
        Ok(message) => {
            let reported = message.content_hash();
            let rules = Format::CloudEvents.rules();
            Decoded::Usage(Box::new(Usage { message, reported, response_id: None, rules }))
        }
        Err(rejection) => Decoded::Rejected(rejection),
    }
}

fn decode_costs(bytes: &[u8], context: &Context<'_>) -> Vec<Decoded> {
    // A file is taken in again as it is; of its rows nothing is kept.
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
            let response_id = draft.response_id.take();
            let message = UsageMessage::Event(draft.finish(context, response_id.clone())?);
            let usage = Usage { message, reported: node.content_hash(), response_id, rules: format.rules() };
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
