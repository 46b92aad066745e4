//! Bedrock: invocation logs, plain and as CloudWatch delivers them, and Converse.

use crate::support::{SECRET, beside, content, meters, no_usage, refuses, single, told, usage};
use apportion::domain::usage::RequestOutcome;
use apportion::sources::Format::{BedrockCloudWatch, BedrockConverse, BedrockInvocation};
use apportion::sources::RejectionReason as Reason;
use apportion::sources::{Context, Decoded, NoUsage, decode};
use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// The record that a talk of AWS showed, on a day that exists, with bodies.
fn record(timestamp: &str, output_tokens: u64) -> String {
    format!(
        r#"{{"schemaType":"ModelInvocationLog","schemaVersion":"1.0","timestamp":"{timestamp}","accountId":"654654377904","identity":{{"arn":"arn:aws:sts::xxxx"}},"region":"us-east-1","requestId":"915a6a04-3f83-4c70-a277-7fbf7ea546b3","operation":"Converse","modelId":"anthropic.claude-3-haiku-20240307-v1:0","input":{{"inputContentType":"application/json","inputBodyJson":{{"messages":[{{"content":"{SECRET}"}}]}},"inputTokenCount":35}},"output":{{"outputContentType":"application/json","outputBodyJson":{{"output":{{"message":"{SECRET}"}},"stopReason":"end_turn","metrics":{{"latencyMs":3640}},"usage":{{"inputTokens":35,"outputTokens":446,"totalTokens":481}}}},"outputTokenCount":{output_tokens}}},"requestMetadata":{{"traceId":"b956002a-fd01-47ba-9da7-07e4c9b1a6b6","note":"{SECRET}"}}}}"#
    )
}

fn good() -> String {
    record("2025-04-09T23:00:17Z", 446)
}

#[test]
fn an_invocation_is_metered_under_the_names_that_it_reports() {
    let usage = usage(BedrockInvocation, &good(), &Context { source: "aws", ..Context::default() });
    let content = content(&usage);
    assert_eq!(told(content), "input_tokens 35, output_tokens 446, requests 1");
    let id = "915a6a04-3f83-4c70-a277-7fbf7ea546b3";
    assert_eq!((&*usage.message.id().id, usage.response_id.as_deref()), (id, Some(id)));
    assert_eq!(content.occurred_at.to_rfc3339(), "2025-04-09T23:00:17+00:00");
    assert_eq!((&*content.deployment, &*content.product), ("us-east-1", "anthropic.claude-3-haiku-20240307-v1:0"));
    assert_eq!((&*content.customer, &*content.service_tier), ("654654377904", "default"));
    assert_eq!(content.outcome, Some(RequestOutcome::Ok));
    assert_eq!(usage.rules, "bedrock_invocation/1");
}

#[test]
fn a_tag_names_the_customer_and_the_region_of_inference_the_deployment() {
    let tags = ["tenant".to_owned(), "traceId".to_owned()];
    let context = Context { source: "aws", customer_tags: &tags, ..Context::default() };
    let text = good().replace(r#""region":"#, r#""inferenceRegion":"us-west-2","region":"#);
    let decoded = usage(BedrockInvocation, &text, &context);
    assert_eq!(content(&decoded).customer, "b956002a-fd01-47ba-9da7-07e4c9b1a6b6");
    assert_eq!(content(&decoded).deployment, "us-west-2");
}

#[test]
fn a_day_that_does_not_exist_is_refused() {
    let detail = "timestamp: must be RFC 3339 with a zone";
    refuses(BedrockInvocation, &record("2025-04-99T23:00:17Z", 446), Reason::WrongTime, detail);
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    let detail = "output.outputBodyJson.usage.outputTokens: is 446, while output.outputTokenCount says 447; they state one number";
    refuses(BedrockInvocation, &record("2025-04-09T23:00:17Z", 447), Reason::BrokenIdentity, detail);
    let total = good().replace("481", "482");
    let detail = "output.outputBodyJson.usage.totalTokens: is 482, but inputTokens 35 + outputTokens 446 + cacheReadInputTokens 0 + cacheWriteInputTokens 0 make 481";
    refuses(BedrockInvocation, &total, Reason::BrokenIdentity, detail);
    // A body may state a cache under its older name alone.
    let in_body = good().replace(r#""totalTokens":481"#, r#""totalTokens":488,"cacheReadInputTokenCount":7"#);
    let expected = "input_tokens 35, cached_input_tokens 7, output_tokens 446, requests 1";
    assert_eq!(meters(BedrockInvocation, &in_body, &beside()), expected);
    let negative = good().replace(":35", ":-35");
    refuses(
        BedrockInvocation,
        &negative,
        Reason::NegativeQuantity,
        "output.outputBodyJson.usage.inputTokens: is negative",
    );
    let none =
        good().replace("\"inputTokenCount\":35", "\"x\":35").replace("\"inputTokens\":35,", "").replace("481", "446");
    refuses(BedrockInvocation, &none, Reason::MissingField, "input.inputTokenCount: missing");
    refuses(BedrockInvocation, "{}", Reason::UnknownType, "schemaType: must be ModelInvocationLog");
}

#[test]
fn the_body_of_a_model_of_anthropic_tells_how_long_a_cache_keeps() {
    let text = good()
        .replace(r#""inputTokenCount":35"#, r#""inputTokenCount":35,"cacheReadInputTokenCount":7,"cacheWriteInputTokenCount":30"#)
        .replace(
            r#""usage":{"inputTokens":35,"outputTokens":446,"totalTokens":481}"#,
            r#""usage":{"input_tokens":35,"output_tokens":446,"cache_read_input_tokens":7,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
        );
    assert_eq!(
        meters(BedrockInvocation, &text, &beside()),
        "input_tokens 35, cached_input_tokens 7, cache_write_5m_tokens 10, cache_write_1h_tokens 20, output_tokens 446, requests 1"
    );
    let text = text.replace("\"ephemeral_1h_input_tokens\":20", "\"ephemeral_1h_input_tokens\":21");
    let detail = "output.outputBodyJson.usage.cache_creation_input_tokens: is 30, but ephemeral_5m_input_tokens 10 + ephemeral_1h_input_tokens 21 make 31";
    refuses(BedrockInvocation, &text, Reason::BrokenIdentity, detail);
}

#[test]
fn an_error_is_a_request_without_tokens() {
    let start = r#"{"schemaType":"ModelInvocationLog","timestamp":"2025-04-09T23:00:17Z","region":"r","requestId":"1","modelId":"m","input":{},"#;
    for (code, outcome) in [
        ("InternalServerException", Some(RequestOutcome::Error)),
        ("ThrottlingException", Some(RequestOutcome::Ok)),
        ("SomethingNew", None),
    ] {
        let decoded = usage(BedrockInvocation, &format!("{start}\"errorCode\":\"{code}\"}}"), &beside());
        assert_eq!(told(content(&decoded)), "requests 1");
        assert_eq!(content(&decoded).outcome, outcome, "{code}");
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("gzip")
}

fn delivery(messages: &[String]) -> String {
    let events: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(id, message)| serde_json::json!({"id": id.to_string(), "timestamp": 1, "message": message}))
        .collect();
    serde_json::json!({"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": events}).to_string()
}

#[test]
fn cloudwatch_delivers_the_same_records_packed() {
    let plain = usage(BedrockInvocation, &good(), &beside());
    let delivery = delivery(&[good(), record("2025-04-99T23:00:17Z", 446), format!("no JSON: {SECRET}")]);
    let packed = base64::engine::general_purpose::STANDARD.encode(gzip(&delivery));
    let wrapped = serde_json::json!({"awslogs": {"data": packed}}).to_string();
    for bytes in [delivery.clone().into_bytes(), gzip(&delivery), wrapped.into_bytes()] {
        let decoded = decode(BedrockCloudWatch, &bytes, &beside());
        assert!(!format!("{decoded:?}").contains("SECRET"));
        let [Decoded::Usage(first), Decoded::Rejected(second), Decoded::Rejected(third)] = decoded.as_slice() else {
            panic!("{decoded:?}");
        };
        // One identity and one content, whichever way it came.
        assert_eq!((&first.message, first.reported), (&plain.message, plain.reported));
        assert_eq!((second.reason, third.reason), (Reason::WrongTime, Reason::WrongField));
        // What is kept of a record is one alone, and refused alike.
        let kept = String::from_utf8(second.redacted.clone()).expect("a text");
        refuses(BedrockCloudWatch, &kept, second.reason, &second.detail);
    }
    no_usage(BedrockCloudWatch, r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#, NoUsage::Control);
    refuses(BedrockCloudWatch, r#"{"awslogs":{"data":"%"}}"#, Reason::WrongPacking, "awslogs.data: must be base64");
    refuses(BedrockCloudWatch, r#"{"awslogs":{"data":"AAAA"}}"#, Reason::WrongPacking, "must be gzip");
    let bomb = gzip(&" ".repeat(17 << 20));
    assert!(bomb.len() < 1 << 20);
    let decoded = decode(BedrockCloudWatch, &bomb, &beside());
    assert!(matches!(decoded.as_slice(), [Decoded::Rejected(it)] if it.reason == Reason::MessageTooLarge));
}

#[test]
fn converse_counts_its_cache_beside_its_input() {
    // The trailer of a stream, as it was recorded.
    let trailer = r#"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":13,"invocationLatency":3037,"firstByteLatency":2635,"cacheReadInputTokenCount":0,"cacheWriteInputTokenCount":25037}}"#;
    let expected = "input_tokens 3, cache_write_tokens 25037, output_tokens 13, requests 1";
    assert_eq!(meters(BedrockConverse, trailer, &beside()), expected);
    let both = |usage: &str| {
        format!(
            r#"{{"output":{{"message":{{"content":[{{"text":"{SECRET}"}}]}}}},"ResponseMetadata":{{"RequestId":"r-1"}},"usage":{usage}}}"#
        )
    };
    // Older and newer names side by side are one number.
    let text = both(
        r#"{"inputTokens":3,"outputTokens":13,"totalTokens":16,"cacheReadInputTokens":7,"cacheReadInputTokenCount":7,"cacheWriteInputTokens":30,"cacheWriteInputTokenCount":30,"cacheDetails":[{"ttl":"5m","inputTokens":10},{"ttl":"1h","inputTokens":20}]}"#,
    );
    let decoded = usage(BedrockConverse, &text, &beside());
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 3, cached_input_tokens 7, cache_write_5m_tokens 10, cache_write_1h_tokens 20, output_tokens 13, requests 1"
    );
    // The id of the request, which Bedrock's own log states too.
    assert_eq!((&*decoded.message.id().id, decoded.response_id.as_deref()), ("r-1", Some("r-1")));
    // A total that takes the cache in is as good.
    let _ = usage(BedrockConverse, &text.replace(":16,", ":53,"), &beside());
    let detail = "usage.cacheWriteInputTokens: is 30, but 5m 10 + 1h 19 make 29";
    refuses(BedrockConverse, &text.replace(":20}", ":19}"), Reason::BrokenIdentity, detail);
    let detail = "usage.cacheReadInputTokenCount: is 8, while cacheReadInputTokens says 7; they state one number";
    refuses(BedrockConverse, &text.replace("Count\":7", "Count\":8"), Reason::BrokenIdentity, detail);
    let delta = format!(r#"{{"contentBlockDelta":{{"delta":{{"text":"{SECRET}"}}}}}}"#);
    no_usage(BedrockConverse, &delta, NoUsage::StreamPart);
}

#[test]
fn a_converse_without_a_model_beside_it_is_refused() {
    let text = r#"{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}"#;
    let context = Context { product: None, ..beside() };
    let decoded = single(BedrockConverse, text, &context);
    assert!(matches!(decoded, Decoded::Rejected(it) if it.detail.starts_with("product: missing")));
}
