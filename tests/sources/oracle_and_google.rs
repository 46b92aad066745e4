//! Oracle's and Google's replies.

use crate::support::{SECRET, beside, content, meters, no_usage, refuses, told, usage};
use apportion::sources::Format::{Oci, Vertex};
use apportion::sources::NoUsage;
use apportion::sources::RejectionReason as Reason;

fn vertex(usage: &str) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{SECRET}"}}]}},"finishReason":"STOP"}}],"usageMetadata":{usage},"modelVersion":"gemini-2.5-pro","createTime":"2026-05-01T12:00:00.5Z","responseId":"v-1"}}"#
    )
}

#[test]
fn thoughts_stand_beside_what_vertex_shows() {
    // As a regression test of a public program recorded it: 200 tokens of output, not 6.
    let recorded =
        r#"{"promptTokenCount": 27, "candidatesTokenCount": 6, "thoughtsTokenCount": 194, "totalTokenCount": 227}"#;
    let decoded = usage(Vertex, &vertex(recorded), &beside());
    assert_eq!(told(content(&decoded)), "input_tokens 27, output_tokens 6, reasoning_tokens 194, requests 1");
    assert_eq!((&*content(&decoded).product, &*content(&decoded).service_tier), ("gemini-2.5-pro", "default"));
    assert_eq!(decoded.response_id.as_deref(), Some("v-1"));
    // The SDK's spelling is the same record.
    let snake = vertex(recorded)
        .replace("promptTokenCount", "prompt_token_count")
        .replace("candidatesTokenCount", "candidates_token_count")
        .replace("thoughtsTokenCount", "thoughts_token_count")
        .replace("totalTokenCount", "total_token_count")
        .replace("usageMetadata", "usage_metadata")
        .replace("modelVersion", "model_version");
    let snake = usage(Vertex, &snake, &beside());
    assert_eq!((snake.message, snake.reported), (decoded.message, decoded.reported));
    let detail = "usage_metadata.total_token_count: is 33, but prompt_token_count 27 + candidates_token_count 6 + tool_use_prompt_token_count 0 + thoughts_token_count 194 make 227";
    refuses(Vertex, &vertex(&recorded.replace("227", "33")), Reason::BrokenIdentity, detail);
}

#[test]
fn kinds_and_caches_of_vertex_are_told_apart() {
    let details = r#"{"promptTokenCount":100,"cachedContentTokenCount":50,"candidatesTokenCount":10,"toolUsePromptTokenCount":5,"totalTokenCount":115,"promptTokensDetails":[{"modality":"TEXT","tokenCount":60},{"modality":"AUDIO","tokenCount":40}],"cacheTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":30}],"trafficType":"PROVISIONED_THROUGHPUT"}"#;
    let decoded = usage(Vertex, &vertex(details), &beside());
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 45, cached_input_tokens 20, cached_audio_input_tokens 30, output_tokens 10, audio_input_tokens 10, requests 1"
    );
    assert_eq!(content(&decoded).service_tier, "provisioned_throughput");
    let untold = details.replace(
        r#""cacheTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":30}],"#,
        "",
    );
    let detail = "usage_metadata.prompt_token_count: counts a cache beside sound or pictures; cache_tokens_details must say what of them it held";
    refuses(Vertex, &vertex(&untold), Reason::UndeterminedSplit, detail);
    for (traffic, tier) in [("ON_DEMAND", "default"), ("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND_PRIORITY", "priority")] {
        let decoded = usage(Vertex, &vertex(&details.replace("PROVISIONED_THROUGHPUT", traffic)), &beside());
        assert_eq!(content(&decoded).service_tier, tier);
    }
}

#[test]
fn a_part_of_a_stream_of_vertex_states_no_usage() {
    let part = vertex(r#"{"promptTokenCount":1}"#).replace(r#","finishReason":"STOP""#, "");
    no_usage(Vertex, &part, NoUsage::StreamPart);
}

#[test]
fn three_spellings_of_oracle_are_one_record() {
    // As an integration guide of a public project shows it.
    let sdk = format!(
        r#"{{"chat_response": {{"api_format": "GENERIC", "choices": [{{"finish_reason": "stop", "index": 0, "message": {{"content": [{{"text": "{SECRET}", "type": "TEXT"}}], "role": "ASSISTANT"}}}}], "usage": {{"completion_tokens": 18, "prompt_tokens": 38, "total_tokens": 56}}}}}}"#
    );
    let wire = sdk
        .replace("chat_response", "chatResponse")
        .replace("completion_tokens", "completionTokens")
        .replace("prompt_tokens", "promptTokens")
        .replace("total_tokens", "totalTokens");
    let cli = sdk.replace("_tokens", "-tokens").replace("chat_response", "chat-response");
    let [sdk, wire, cli] = [sdk, wire, cli].map(|text| usage(Oci, &text, &beside()));
    assert_eq!(told(content(&sdk)), "input_tokens 38, output_tokens 18, requests 1");
    assert_eq!((&sdk.message, sdk.reported), (&wire.message, wire.reported));
    assert_eq!((&sdk.message, sdk.reported), (&cli.message, cli.reported));
    let wrapped =
        r#"{"data":{"chat-response":{"usage":{"completion-tokens":18,"prompt-tokens":38,"total-tokens":56}}}}"#;
    assert_eq!(meters(Oci, wrapped, &beside()), "input_tokens 38, output_tokens 18, requests 1");
    let detail = "data.chat_response.usage.total_tokens: is 57, but prompt_tokens 38 + completion_tokens 18 make 56";
    refuses(Oci, &wrapped.replace("56", "57"), Reason::BrokenIdentity, detail);
}
