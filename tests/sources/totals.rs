//! Whatever a source counts inside or beside what: its meters exclude each other, and together are its total.

use crate::support::{beside, content, usage};
use apportion::sources::Format;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The parts of a call, as nobody reports them: each token in one alone.
#[derive(Clone, Debug)]
struct Call {
    uncached: u32,
    read: u32,
    written_5m: u32,
    written_1h: u32,
    visible: u32,
    reasoning: u32,
}

impl Call {
    fn written(&self) -> u32 {
        self.written_5m + self.written_1h
    }

    fn input(&self) -> u32 {
        self.uncached + self.read + self.written()
    }

    fn output(&self) -> u32 {
        self.visible + self.reasoning
    }

    fn total(&self) -> u32 {
        self.input() + self.output()
    }
}

fn calls() -> impl Strategy<Value = Call> {
    proptest::array::uniform6(0..1_000_000_u32).prop_map(
        |[uncached, read, written_5m, written_1h, visible, reasoning]| Call {
            uncached,
            read,
            written_5m,
            written_1h,
            visible,
            reasoning,
        },
    )
}

/// How each source writes such a call down.
fn records(call: &Call) -> Vec<(Format, Value)> {
    let lifetimes = json!({"ephemeral_5m_input_tokens": call.written_5m, "ephemeral_1h_input_tokens": call.written_1h});
    let converse = json!({"inputTokens": call.uncached, "outputTokens": call.output(), "totalTokens": call.total(),
        "cacheReadInputTokens": call.read, "cacheReadInputTokenCount": call.read,
        "cacheWriteInputTokens": call.written(), "cacheDetails": [
            {"ttl": "5m", "inputTokens": call.written_5m}, {"ttl": "1h", "inputTokens": call.written_1h}]});
    let attribute = |key: &str, value: u32| json!({"key": key, "value": {"intValue": value.to_string()}});
    vec![
        (
            Format::OpenAiChat,
            json!({"id": "c", "model": "m", "created": 1, "usage": {"prompt_tokens": call.input(),
                "completion_tokens": call.output(), "total_tokens": call.total(),
                "prompt_tokens_details": {"cached_tokens": call.read, "cache_write_tokens": call.written()},
                "completion_tokens_details": {"reasoning_tokens": call.reasoning}}}),
        ),
        (
            Format::OpenAiResponses,
            json!({"id": "r", "model": "m", "created_at": 1, "status": "completed", "usage": {"input_tokens": call.input(),
                "output_tokens": call.output(), "total_tokens": call.total(),
                "input_tokens_details": {"cached_tokens": call.read, "cache_write_tokens": call.written()},
                "output_tokens_details": {"reasoning_tokens": call.reasoning}}}),
        ),
        (
            Format::AnthropicMessages,
            json!({"id": "m", "type": "message", "model": "m", "usage": {"input_tokens": call.uncached,
                "cache_read_input_tokens": call.read, "cache_creation_input_tokens": call.written(),
                "cache_creation": lifetimes, "output_tokens": call.output()}}),
        ),
        (Format::BedrockConverse, json!({"usage": converse})),
        (
            Format::BedrockInvocation,
            json!({"schemaType": "ModelInvocationLog", "timestamp": "2026-05-01T00:00:00Z", "requestId": "r", "modelId": "m",
                "region": "r", "input": {"inputTokenCount": call.uncached, "cacheReadInputTokenCount": call.read,
                    "cacheWriteInputTokenCount": call.written()},
                "output": {"outputTokenCount": call.output(), "outputBodyJson": {"usage": converse}}}),
        ),
        (
            Format::Vertex,
            // Vertex writes no cache by request: what is written is plain input.
            json!({"responseId": "v", "modelVersion": "m", "usageMetadata": {"promptTokenCount": call.input(),
                "cachedContentTokenCount": call.read, "candidatesTokenCount": call.visible,
                "thoughtsTokenCount": call.reasoning, "totalTokenCount": call.total()}}),
        ),
        (
            Format::LiteLlm,
            json!({"litellm_call_id": "l", "status": "success", "model": "m", "startTime": 1, "prompt_tokens": call.input(),
                "completion_tokens": call.output(), "total_tokens": call.total(), "metadata": {"usage_object": {
                    "prompt_tokens": call.input(), "completion_tokens": call.output(), "total_tokens": call.total(),
                    "cache_read_input_tokens": call.read, "cache_creation_input_tokens": call.written(),
                    "prompt_tokens_details": {"cached_tokens": call.read, "cache_creation_tokens": call.written(),
                        "cache_creation_token_details": lifetimes},
                    "completion_tokens_details": {"reasoning_tokens": call.reasoning}}}}),
        ),
        (
            Format::OtlpJson,
            json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "a", "spanId": "b", "startTimeUnixNano": "1000",
                "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                    attribute("gen_ai.usage.input_tokens", call.input()),
                    attribute("gen_ai.usage.output_tokens", call.output()),
                    attribute("gen_ai.usage.cache_read.input_tokens", call.read),
                    attribute("gen_ai.usage.cache_creation.input_tokens", call.written()),
                    attribute("gen_ai.usage.reasoning.output_tokens", call.reasoning)]}]}]}]}),
        ),
        (
            Format::OpenAiUsage,
            json!({"object": "bucket", "start_time": 1, "end_time": 2, "results": [{
                "object": "organization.usage.completions.result", "input_tokens": call.input(),
                "input_cached_tokens": call.read, "input_cache_write_tokens": call.written(),
                "input_uncached_tokens": call.uncached, "output_tokens": call.output(), "num_model_requests": 1}]}),
        ),
    ]
}

proptest! {
    #[test]
    fn meters_exclude_each_other_and_make_the_total(call in calls()) {
        for (format, record) in records(&call) {
            let decoded = usage(format, &record.to_string(), &beside());
            let quantities = &content(&decoded).quantities;
            let tokens = quantities.iter().filter(|(meter, _)| meter.is_token()).map(|(_, quantity)| *quantity);
            prop_assert_eq!(tokens.sum::<rust_decimal::Decimal>(), call.total().into(), "{}", format);
            // All input is context, whatever a cache did with it.
            prop_assert_eq!(apportion::domain::usage::context_tokens(quantities), call.input().into(), "{}", format);
            let read = quantities.iter().find(|(meter, _)| meter.name() == "cached_input_tokens");
            prop_assert_eq!(read.map_or_else(Default::default, |(_, read)| *read), call.read.into(), "{}", format);
        }
    }
}

#[test]
fn rules_are_named_by_their_format_and_version() {
    for format in Format::ALL {
        let version = format.rules().strip_prefix(format.name()).and_then(|rest| rest.strip_prefix('/'));
        assert!(version.is_some_and(|version| version.parse::<u16>().is_ok()), "{format}: {}", format.rules());
    }
}
