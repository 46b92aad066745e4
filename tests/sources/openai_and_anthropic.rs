//! OpenAI's replies and organization usage, and Anthropic's replies.

use crate::support::{SECRET, beside, content, meters, no_usage, refuses, told, usage};
use apportion::domain::usage::RequestOutcome;
use apportion::sources::Format::{AnthropicMessages, OpenAiChat, OpenAiResponses, OpenAiUsage};
use apportion::sources::RejectionReason as Reason;
use apportion::sources::{Context, Decoded, NoUsage, decode};

fn chat(usage: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"gpt-5.5","choices":[{{"message":{{"content":"{SECRET}"}}}}],"usage":{usage},"service_tier":"default"}}"#
    )
}

/// As OpenAI's own description shows it.
const CHAT: &str = r#"{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

#[test]
fn a_chat_completion_counts_its_cache_and_reasoning_inside() {
    let context = Context { id: None, ..beside() };
    let decoded = usage(OpenAiChat, &chat(CHAT), &context);
    assert_eq!(told(content(&decoded)), "input_tokens 1117, output_tokens 46, requests 1");
    assert_eq!(content(&decoded).occurred_at.timestamp(), 1_741_569_952);
    assert_eq!((&*content(&decoded).product, &*content(&decoded).service_tier), ("gpt-5.5", "default"));
    assert_eq!((&*decoded.message.id().id, decoded.response_id.as_deref()), ("chatcmpl-1", Some("chatcmpl-1")));
    // The carrier's id holds before that of the reply, which a cache may repeat.
    assert_eq!(usage(OpenAiChat, &chat(CHAT), &beside()).message.id().id, "carried-1");
    let nested = chat(
        r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":64,"cache_write_tokens":16},"completion_tokens_details":{"reasoning_tokens":30,"rejected_prediction_tokens":5}}"#,
    );
    assert_eq!(
        meters(OpenAiChat, &nested, &beside()),
        "input_tokens 20, cached_input_tokens 64, cache_write_tokens 16, output_tokens 20, reasoning_tokens 30, requests 1"
    );
}

/// What tells a duplicate from a conflict is what was reported, by value, and not how it was written down.
#[test]
fn equal_reports_have_one_hash_however_they_are_written() {
    let reported = |text: &str| usage(OpenAiChat, text, &beside()).reported;
    let first = chat(CHAT);
    let written = r#"{ "usage": {"total_tokens": 1163.0, "completion_tokens": 4.6e1, "prompt_tokens": "1117",
        "completion_tokens_details": {"rejected_prediction_tokens": 0, "accepted_prediction_tokens": 0, "audio_tokens": 0,
        "reasoning_tokens": 0}, "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0}}, "service_tier": "default",
        "created": 1741569952, "model": "gpt-5.5", "object": "chat.completion", "id": "chatcmpl-1", "system_fingerprint": null}"#;
    assert_eq!(reported(written), reported(&first));
    assert_ne!(reported(&first.replace("1741569952", "1741569953")), reported(&first));
    assert_ne!(reported(&first.replace("\"cached_tokens\":0", "\"cached_tokens\":1")), reported(&first));
}

#[test]
fn what_breaks_a_chat_completions_sums_is_refused() {
    let detail = "usage.total_tokens: is 1164, but prompt_tokens 1117 + completion_tokens 46 make 1163";
    refuses(OpenAiChat, &chat(&CHAT.replace("1163", "1164")), Reason::BrokenIdentity, detail);
    let detail =
        "usage.prompt_tokens: is 1117, but includes cached_tokens 1118 + cache_write_tokens 0, which make 1118";
    let text = CHAT.replace("\"cached_tokens\":0", "\"cached_tokens\":1118");
    refuses(OpenAiChat, &chat(&text), Reason::BrokenIdentity, detail);
    let detail = "usage.completion_tokens: is 46, but includes reasoning_tokens 47 + audio_tokens 0 + image_tokens 0, which make 47";
    let text = CHAT.replace("\"reasoning_tokens\":0", "\"reasoning_tokens\":47");
    refuses(OpenAiChat, &chat(&text), Reason::BrokenIdentity, detail);
    let detail = "usage.prompt_tokens: must be a number";
    refuses(OpenAiChat, &chat(&CHAT.replace("1117", &format!("\"{SECRET}\""))), Reason::WrongField, detail);
    let twice = CHAT.replace("\"total_tokens\"", "\"prompt_tokens\":1,\"total_tokens\"");
    refuses(OpenAiChat, &chat(&twice), Reason::WrongField, "usage.prompt_tokens: is given twice");
}

#[test]
fn a_cache_beside_sound_must_say_what_it_held() {
    let with = |details: &str| {
        chat(&format!(
            r#"{{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{{"audio_tokens":40,{details}}}}}"#
        ))
    };
    assert_eq!(
        meters(OpenAiChat, &with(r#""cached_tokens":0"#), &beside()),
        "input_tokens 60, output_tokens 9, audio_input_tokens 40, requests 1"
    );
    let told = r#""cached_tokens":50,"cached_tokens_details":{"text_tokens":20,"audio_tokens":30}"#;
    assert_eq!(
        meters(OpenAiChat, &with(told), &beside()),
        "input_tokens 40, cached_input_tokens 20, cached_audio_input_tokens 30, output_tokens 9, audio_input_tokens 10, requests 1"
    );
    let detail = "usage.prompt_tokens: counts a cache beside sound or pictures; cached_tokens_details must say what of them it held";
    refuses(OpenAiChat, &with(r#""cached_tokens":50"#), Reason::UndeterminedSplit, detail);
}

#[test]
fn the_parts_of_a_stream_state_no_usage_but_for_the_last() {
    let part = format!(
        r#"{{"object":"chat.completion.chunk","choices":[{{"delta":{{"content":"{SECRET}"}}}}],"usage":null}}"#
    );
    no_usage(OpenAiChat, &part, NoUsage::StreamPart);
    let last = format!(
        r#"{{"object":"chat.completion.chunk","id":"c","created":1741569952,"model":"m","choices":[],"usage":{CHAT}}}"#
    );
    assert_eq!(meters(OpenAiChat, &last, &beside()), "input_tokens 1117, output_tokens 46, requests 1");
    let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{SECRET}"}}"#);
    no_usage(OpenAiResponses, &delta, NoUsage::StreamPart);
}

/// As OpenAI's own description shows it.
const RESPONSE: &str = r#"{"input_tokens":8438,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":398,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":8836}"#;

#[test]
fn a_response_is_metered_bare_and_at_the_end_of_its_stream() {
    let reply = format!(
        r#"{{"id":"resp_1","object":"response","status":"completed","created_at":1741476542,"model":"gpt-5.5","output":[{{"text":"{SECRET}"}}],"usage":{RESPONSE},"service_tier":"flex"}}"#
    );
    let bare = usage(OpenAiResponses, &reply, &beside());
    assert_eq!(told(content(&bare)), "input_tokens 8438, output_tokens 398, requests 1");
    assert_eq!(content(&bare).service_tier, "flex");
    let event = format!(r#"{{"type":"response.completed","response":{reply}}}"#);
    assert_eq!(usage(OpenAiResponses, &event, &beside()).message, bare.message);
    let failed = r#"{"id":"resp_2","status":"failed","created_at":1741476542,"model":"m","usage":null}"#;
    let failed = usage(OpenAiResponses, failed, &beside());
    assert_eq!((told(content(&failed)), content(&failed).outcome), ("requests 1".into(), Some(RequestOutcome::Error)));
    let detail = "usage.total_tokens: is 8837, but input_tokens 8438 + output_tokens 398 make 8836";
    refuses(OpenAiResponses, &reply.replace("8836", "8837"), Reason::BrokenIdentity, detail);
}

#[test]
fn a_message_of_anthropic_counts_its_cache_beside_its_input() {
    let message = format!(
        r#"{{"id":"msg_1","type":"message","model":"claude-opus-4-7","content":[{{"text":"{SECRET}"}}],"usage":{{"input_tokens":2095,"cache_creation_input_tokens":30,"cache_read_input_tokens":7,"cache_creation":{{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}},"output_tokens":503,"server_tool_use":{{"web_search_requests":2}},"service_tier":"standard"}}}}"#
    );
    let decoded = usage(AnthropicMessages, &message, &beside());
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 2095, cached_input_tokens 7, cache_write_5m_tokens 10, cache_write_1h_tokens 20, output_tokens 503, requests 1, tool_calls 2"
    );
    assert_eq!((&*content(&decoded).service_tier, decoded.response_id.as_deref()), ("default", Some("msg_1")));
    let untold =
        message.replace(r#""cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"#, "");
    assert!(meters(AnthropicMessages, &untold, &beside()).contains("cache_write_tokens 30"));
    let detail = "usage.cache_creation_input_tokens: is 31, but ephemeral_5m_input_tokens 10 + ephemeral_1h_input_tokens 20 make 30";
    refuses(AnthropicMessages, &message.replace(":30,", ":31,"), Reason::BrokenIdentity, detail);
    no_usage(
        AnthropicMessages,
        &format!(r#"{{"type":"content_block_delta","delta":"{SECRET}"}}"#),
        NoUsage::StreamPart,
    );
    refuses(AnthropicMessages, r#"{"type":"error"}"#, Reason::UnknownType, "type: must be message");
}

/// As OpenAI's own description shows it.
const BUCKET: &str = r#"{"object":"bucket","start_time":1730419200,"end_time":1730505600,"results":[{"object":"organization.usage.completions.result","input_tokens":1000,"input_cached_tokens":400,"input_cache_write_tokens":100,"input_uncached_tokens":500,"output_tokens":500,"input_text_tokens":400,"output_text_tokens":400,"input_cached_text_tokens":300,"input_audio_tokens":50,"input_cached_audio_tokens":50,"output_audio_tokens":50,"input_image_tokens":50,"input_cached_image_tokens":50,"output_image_tokens":50,"num_model_requests":5,"project_id":null,"user_id":null,"api_key_id":null,"model":null,"batch":null,"service_tier":null}]}"#;

#[test]
fn a_bucket_ends_after_it_starts() {
    let turned = BUCKET.replace("1730505600", "1730419199");
    let detail = "the interval of the record ends before it starts";
    refuses(OpenAiUsage, &turned, Reason::EndsBeforeStart, detail);
}

#[test]
fn a_bucket_parts_into_meters_that_exclude_each_other() {
    let decoded = usage(OpenAiUsage, BUCKET, &beside());
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 400, cached_input_tokens 300, cached_audio_input_tokens 50, cached_image_input_tokens 50, cache_write_tokens 100, output_tokens 400, audio_input_tokens 50, audio_output_tokens 50, image_input_tokens 50, image_output_tokens 50, requests 5"
    );
    assert_eq!(content(&decoded).occurred_at.timestamp(), 1_730_419_200);
    assert_eq!(content(&decoded).ended_at.map(|end| end.timestamp()), Some(1_730_505_600));
    assert_eq!(decoded.message.id().id, "1730419200-1730505600/organization.usage.completions.result//////");
}

#[test]
fn each_group_of_a_page_is_an_event_of_its_own() {
    let group = |model: &str| BUCKET.replace("\"model\":null", &format!("\"model\":\"{model}\""));
    let page =
        format!(r#"{{"object":"page","data":[{},{}],"has_more":false,"next_page":null}}"#, group("a"), group("b"));
    let decoded = decode(OpenAiUsage, page.as_bytes(), &Context { product: None, ..beside() });
    let ids: Vec<_> = decoded
        .iter()
        .map(|it| match it {
            Decoded::Usage(usage) => usage.message.id().id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0] != ids[1] && ids[0].contains("/1:a/"), "{ids:?}");
}

#[test]
fn a_bucket_whose_parts_do_not_add_up_is_refused() {
    let detail = "results[0].input_uncached_tokens: is 501, but the rest of input_tokens 500 make 500";
    refuses(
        OpenAiUsage,
        &BUCKET.replace("uncached_tokens\":500", "uncached_tokens\":501"),
        Reason::BrokenIdentity,
        detail,
    );
    let detail = "results[0].input_cached_tokens: is 400, but input_cached_text_tokens 301 + input_cached_audio_tokens 50 + input_cached_image_tokens 50 make 401";
    refuses(OpenAiUsage, &BUCKET.replace(":300", ":301"), Reason::BrokenIdentity, detail);
    let other = BUCKET.replace("usage.completions", "usage.audio_speeches");
    let kinds = ["completions", "embeddings", "moderations"].map(|kind| format!("organization.usage.{kind}.result"));
    let detail = format!("results[0].object: must be {}; others count what is not metered", kinds.join(" or "));
    refuses(OpenAiUsage, &other, Reason::UnknownType, &detail);
}
