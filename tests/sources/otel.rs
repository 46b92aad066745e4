//! OpenTelemetry's GenAI spans: OTLP as JSON and protobuf, and the real spans of the Exgentic traces.

use crate::protobuf::bytes;
use crate::support::{SECRET, beside, content, refuses, shared, told, usage};
use apportion::domain::usage::{Meter, RequestOutcome};
use apportion::sources::Format::{OtelFlat, OtlpJson, OtlpProtobuf};
use apportion::sources::RejectionReason as Reason;
use apportion::sources::{Context, Decoded, NoUsage, Usage, decode};
use flate2::read::GzDecoder;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::io::Read as _;

/// The conventions' own example, with a tag and with a prompt where emitters put one.
fn otlp(more: &str) -> String {
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let number = |key: &str, value: u32| format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#);
    let attributes = [
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4"),
        text("gen_ai.response.id", "chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l"),
        text("gen_ai.response.model", "gpt-4-0613"),
        number("gen_ai.usage.output_tokens", 47),
        number("gen_ai.usage.input_tokens", 52),
        text("gen_ai.input.messages", SECRET),
        text("enduser.id", "tenant-7"),
    ]
    .join(",");
    let span = |id: &str, attributes: &str| {
        format!(
            r#"{{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"{id}","name":"{SECRET}","kind":3,"startTimeUnixNano":"1544712660300000999","endTimeUnixNano":"1544712661300000000","attributes":[{attributes}],"status":{{}}}}"#
        )
    };
    let tool = span("EEE19B7EC3C1B175", &text("gen_ai.operation.name", "execute_tool"));
    let spans = format!("{},{tool}", span("EEE19B7EC3C1B174", &format!("{attributes}{more}")));
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{}]}},"scopeSpans":[{{"scope":{{}},"spans":[{spans}]}}]}}]}}"#,
        text("service.name", SECRET)
    )
}

#[track_caller]
fn call(decoded: &[Decoded]) -> Usage {
    assert!(!format!("{decoded:?}").contains("SECRET"), "{decoded:?}");
    match decoded {
        [Decoded::Usage(call), Decoded::NoUsage(NoUsage::OtherSpan)] => (**call).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_span_of_a_call_is_an_event_and_that_of_a_tool_is_none() {
    let tags = ["enduser.id".to_owned()];
    let context = Context { source: "otel", customer_tags: &tags, ..Context::default() };
    let decoded = call(&decode(OtlpJson, otlp("").as_bytes(), &context));
    let content = content(&decoded);
    assert_eq!(told(content), "input_tokens 52, output_tokens 47, requests 1");
    assert_eq!(decoded.message.id().id, "5b8efff798038103d269b633813fc60c/eee19b7ec3c1b174");
    assert_eq!(decoded.response_id.as_deref(), Some("chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l"));
    assert_eq!((&*content.deployment, &*content.product, &*content.customer), ("openai", "gpt-4-0613", "tenant-7"));
    // Finer digits than microseconds are truncated.
    assert_eq!(content.occurred_at.to_rfc3339(), "2018-12-13T14:51:00.300+00:00");
    assert_eq!(content.outcome, Some(RequestOutcome::Ok));
}

#[test]
fn caches_and_reasoning_lie_inside() {
    let number = |key: &str, value: u32| format!(r#",{{"key":"gen_ai.usage.{key}","value":{{"intValue":{value}}}}}"#);
    let more = number("cache_read.input_tokens", 20)
        + &number("cache_creation.input_tokens", 12)
        + &number("reasoning.output_tokens", 40);
    let decoded = call(&decode(OtlpJson, otlp(&more).as_bytes(), &beside()));
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 20, cached_input_tokens 20, cache_write_tokens 12, output_tokens 7, reasoning_tokens 40, requests 1"
    );
    let decoded = decode(OtlpJson, otlp(&number("cache_read.input_tokens", 53)).as_bytes(), &beside());
    let [Decoded::Rejected(rejection), _] = decoded.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(rejection.reason, Reason::BrokenIdentity);
    assert!(rejection.detail.ends_with("gen_ai.usage.input_tokens: is 52, but includes gen_ai.usage.cache_read.input_tokens 53 + gen_ai.usage.cache_creation.input_tokens 0, which make 53"), "{}", rejection.detail);
    // What is kept of it is one request with that span, which is refused alike.
    let kept = String::from_utf8(rejection.redacted.clone()).expect("a text");
    refuses(OtlpJson, &kept, rejection.reason, &rejection.detail);
    refuses(OtlpProtobuf, &kept, rejection.reason, &rejection.detail);
}

fn pair(key: &str, value: Vec<u8>) -> Vec<u8> {
    bytes(9, &[bytes(1, key.as_bytes()), bytes(2, &value)].concat())
}

#[test]
fn protobuf_and_json_are_one_record() {
    let text = |key: &str, value: &str| pair(key, bytes(1, value.as_bytes()));
    let number = |key: &str, value: u8| pair(key, vec![3 << 3, value]);
    let id = |number: u8, text: &str| {
        let octets: Vec<u8> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect();
        bytes(number, &octets)
    };
    let span = [
        id(1, "5B8EFFF798038103D269B633813FC60C"),
        id(2, "EEE19B7EC3C1B174"),
        bytes(5, SECRET.as_bytes()),
        [vec![7 << 3 | 1], 1_544_712_660_300_000_999_u64.to_le_bytes().to_vec()].concat(),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4"),
        text("gen_ai.response.id", "chatcmpl-9J3uIL87gldCFtiIbyaOvTeYBRA3l"),
        text("gen_ai.response.model", "gpt-4-0613"),
        number("gen_ai.usage.output_tokens", 47),
        number("gen_ai.usage.input_tokens", 52),
        text("gen_ai.input.messages", SECRET),
        bytes(15, &[]),
    ]
    .concat();
    let request = bytes(1, &[bytes(1, &[]), bytes(2, &bytes(2, &span))].concat());
    let decoded = decode(OtlpProtobuf, &request, &beside());
    assert!(!format!("{decoded:?}").contains("SECRET"));
    let [Decoded::Usage(from_protobuf)] = decoded.as_slice() else { panic!("{decoded:?}") };
    let from_json = call(&decode(OtlpJson, otlp("").as_bytes(), &beside()));
    assert_eq!(from_protobuf.message, from_json.message);
    // Cut anywhere, it is refused or another request, and never more than that.
    for end in 2..request.len() {
        let decoded = decode(OtlpProtobuf, &request[..end], &beside());
        assert!(matches!(decoded.as_slice(), [Decoded::Rejected(it)] if it.reason == Reason::WrongPacking), "{end}");
    }
}

/// A number where a name belongs, and a negative count, which protobuf writes as its two's complement.
#[test]
fn whole_numbers_come_to_the_same_in_protobuf_and_json() {
    let both = |model: u64, input_tokens: u64| {
        let number = |key: &str, mut value: u64| {
            let mut varint = vec![3 << 3];
            while value >= 0x80 {
                varint.push((value & 0x7f) as u8 | 0x80);
                value >>= 7;
            }
            varint.push(value as u8);
            pair(key, varint)
        };
        let span = [
            bytes(1, &[0x5b; 16]),
            bytes(2, &[0xee; 8]),
            [vec![7 << 3 | 1], 1_544_712_660_300_000_999_u64.to_le_bytes().to_vec()].concat(),
            pair("gen_ai.provider.name", bytes(1, b"openai")),
            pair("gen_ai.operation.name", bytes(1, b"chat")),
            number("gen_ai.request.model", model),
            number("gen_ai.usage.input_tokens", input_tokens),
        ];
        let protobuf = bytes(1, &[bytes(1, &[]), bytes(2, &bytes(2, &span.concat()))].concat());
        let json = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[]}},"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}",
              "startTimeUnixNano":"1544712660300000999","attributes":[
                {{"key":"gen_ai.provider.name","value":{{"stringValue":"openai"}}}},
                {{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},
                {{"key":"gen_ai.request.model","value":{{"intValue":"{}"}}}},
                {{"key":"gen_ai.usage.input_tokens","value":{{"intValue":"{}"}}}}]}}]}}]}}]}}"#,
            "5b".repeat(16),
            "ee".repeat(8),
            model.cast_signed(),
            input_tokens.cast_signed()
        );
        [decode(OtlpProtobuf, &protobuf, &beside()), decode(OtlpJson, json.as_bytes(), &beside())]
    };
    let [from_protobuf, from_json] = both(7, 52).map(|decoded| match decoded.as_slice() {
        [Decoded::Usage(usage)] => (**usage).clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!((&from_protobuf.message, content(&from_json).product.as_str()), (&from_json.message, "7"));
    for refused in both(7, u64::MAX) {
        let [Decoded::Rejected(rejection)] = refused.as_slice() else { panic!("{refused:?}") };
        assert_eq!(rejection.reason, Reason::NegativeQuantity);
        // What is kept of it is refused alike.
        let kept = decode(OtlpProtobuf, &rejection.redacted, &beside());
        assert!(matches!(kept.as_slice(), [Decoded::Rejected(it)] if it.detail == rejection.detail), "{kept:?}");
    }
}

fn exgentic() -> Option<String> {
    let packed = shared("data/exgentic_otel_llm_spans/llm_call_spans_2294.jsonl.gz")?;
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).expect("a text");
    Some(text)
}

/// Control totals and anomalies of these spans, as PROVENANCE.md of the folder states them.
#[test]
fn the_real_spans_give_their_control_totals() {
    let Some(text) = exgentic() else { return };
    let context =
        Context { source: "exgentic", deployment: Some("azure"), zone: Some(chrono_tz::UTC), ..Context::default() };
    let spans: Vec<Usage> = text.lines().map(|line| usage(OtelFlat, line, &context)).collect();
    assert_eq!(spans.len(), 2294);
    let mut by_model: BTreeMap<&str, [Decimal; 3]> = BTreeMap::new();
    for content in spans.iter().map(content) {
        let sums = by_model.entry(&content.product).or_default();
        for (sum, meter) in sums.iter_mut().zip([Meter::Requests, Meter::InputTokens, Meter::OutputTokens]) {
            *sum += content.quantities.get(&meter).copied().unwrap_or_default();
        }
    }
    assert_eq!(by_model["azure/Kimi-K2.5"].map(|sum| sum.to_string()), ["1495", "34216422", "374998"]);
    assert_eq!(by_model["azure/DeepSeek-V3.2"].map(|sum| sum.to_string()), ["799", "28963436", "185640"]);

    // A failure is a request without tokens, and has no answer.
    let failed: Vec<_> = spans.iter().filter(|span| content(span).outcome == Some(RequestOutcome::Error)).collect();
    assert_eq!(failed.len(), 148);
    assert!(failed.iter().all(|span| told(content(span)) == "requests 1" && span.response_id.is_none()));

    // Five answers came twice from a cache: ten events, as a response's id is not an event's.
    let mut answers: BTreeMap<&str, u32> = BTreeMap::new();
    for id in spans.iter().filter_map(|span| span.response_id.as_deref()) {
        *answers.entry(id).or_default() += 1;
    }
    assert_eq!(answers.values().filter(|count| **count == 2).count(), 5);
    assert!(answers.values().all(|count| *count <= 2));
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.message.id().id).collect();
    assert_eq!(ids.len(), 2294);
}

#[test]
fn the_times_of_the_real_spans_stand_as_they_are() {
    let Some(text) = exgentic() else { return };
    let zoned =
        Context { source: "exgentic", deployment: Some("azure"), zone: Some(chrono_tz::UTC), ..Context::default() };
    // Without a configured zone, a time that names none is refused and named.
    let zoneless = Context { zone: None, ..zoned };
    let refused = text.lines().filter(|line| {
        matches!(decode(OtelFlat, line.as_bytes(), &zoneless).as_slice(),
            [Decoded::Rejected(it)] if it.reason == Reason::WrongTime && it.detail.contains("names no zone"))
    });
    assert_eq!(refused.count(), 915);
    // Disorder is reported as it is: nothing is sorted or dropped.
    let times: Vec<_> = text.lines().map(|line| content(&usage(OtelFlat, line, &zoned)).occurred_at).collect();
    assert_eq!(times.windows(2).filter(|pair| pair[0] > pair[1]).count(), 29);
}

#[test]
fn a_local_time_that_comes_twice_or_never_is_refused() {
    let span = |time: &str| {
        format!(
            r#"{{"span_id":"s","start_time_iso":"{time}","response_model":"m","input_tokens":1,"output_tokens":1,"is_error":false}}"#
        )
    };
    let context = Context { zone: Some(chrono_tz::America::Los_Angeles), id: None, ..beside() };
    let at = content(&usage(OtelFlat, &span("2026-07-01T00:00:00.1234567"), &context)).occurred_at;
    assert_eq!(at.to_rfc3339(), "2026-07-01T07:00:00.123456+00:00");
    for (time, expected) in [("2026-11-01T01:30:00", "comes twice"), ("2026-03-08T02:30:00", "does not exist")] {
        let decoded = decode(OtelFlat, span(time).as_bytes(), &context);
        let [Decoded::Rejected(rejection)] = decoded.as_slice() else { panic!("{decoded:?}") };
        assert!(rejection.detail.contains(expected), "{}", rejection.detail);
    }
}
