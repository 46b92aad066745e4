//! Each format row by row: what becomes of it, and what is refused.

use super::*;

fn replay(format: Format, text: &str) -> Result<Vec<Message>, ReplayError> {
    let products = [(None, "p"), (Some("kimi"), "k")];
    let replay = Replay {
        deployment: "d".into(),
        products: products.map(|(model, product)| (model.map(str::to_owned), product.to_owned())).into(),
        source: "urn:s".into(),
        topic: "usage.azure".into(),
    };
    replay.messages(format, "conv", text)
}

fn azure(text: &str, zone: Tz) -> Result<Vec<Message>, ReplayError> {
    replay(Format::AzureLlm2023(LocalTimes { zone, shift_days: 2 }), text)
}

fn start() -> Instant {
    parse_instant("2026-05-01T00:00:00Z").expect("an instant")
}

/// Each message's id, time, product and what follows the service tier.
fn shown(messages: Result<Vec<Message>, ReplayError>) -> Vec<[String; 4]> {
    let show = |message: &Message| {
        let event = message.event.as_ref().expect("an event");
        assert_eq!(message.key, event.attribute("id"));
        let rest = event.data.split_once("\"default\",").expect("a tier").1.trim_end_matches('}').to_owned();
        let product = event.data.split('"').nth(7).expect("a product").to_owned();
        [message.key.clone(), event.attribute("time").to_owned(), product, rest]
    };
    messages.expect("messages").iter().map(show).collect()
}

#[test]
fn a_row_of_azure_is_one_request() {
    let text =
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805909,374,44\r\n2023-11-16 18:15:50,1,0";
    let messages = azure(text, Tz::UTC).expect("messages");
    assert_eq!(
        messages[0].line(),
        r#"{"specversion":"1.0","id":"conv-000001","source":"urn:s","type":"apportion.usage.v1","time":"2023-11-18T18:15:46.680590Z","data":{"deployment":"d","product":"p","service_tier":"default","quantities":{"input_tokens":374,"output_tokens":44,"requests":1}}}"#
    );
    assert_eq!((messages.len(), messages[1].key.as_str()), (2, "conv-000002"));
}

#[test]
fn a_span_is_a_request_that_may_have_failed() {
    let span = |id: &str, start: &str, model: &str, tokens: u64, is_error: bool| {
        format!(
            r#"{{"span_id":"{id}","response_id":null,"start_time_iso":"{start}","response_model":"{model}","input_tokens":{tokens},"output_tokens":1,"is_error":{is_error},"input_messages":"what was said"}}"#
        )
    };
    let format = Format::ExgenticSpans(LocalTimes { zone: chrono_tz::America::Los_Angeles, shift_days: -1 });
    let lines = [
        span("b", "2026-04-20T13:44:54.855935+02:00", "kimi", 7, false),
        span("a", "2026-04-20T04:44:54.5", "other", 0, true),
    ];
    let messages = replay(format, &lines.join("\n"));
    let said = |messages: &[Message]| messages.iter().any(|message| message.line().contains("said"));
    assert!(!said(messages.as_deref().expect("messages")));
    let quantities = |input: u64| format!(r#""quantities":{{"input_tokens":{input},"output_tokens":1,"requests":1"#);
    let expect = [
        ["b", "2026-04-19T11:44:54.855935Z", "k", &format!(r#""outcome":"ok",{}"#, quantities(7))],
        ["a", "2026-04-19T11:44:54.500000Z", "p", &format!(r#""outcome":"error",{}"#, quantities(0))],
    ];
    assert_eq!(shown(messages), expect.map(|row| row.map(str::to_owned)));
    let wrong = [span("a\\n", "2026-04-20T04:44:54", "kimi", 1, false), span("a", "yesterday", "kimi", 1, false)];
    assert!(matches!(replay(format, &wrong[0]), Err(ReplayError::WrongName { .. })));
    assert!(matches!(replay(format, &wrong[1]), Err(ReplayError::WrongRow { row: 1, .. })));
    assert!(matches!(replay(format, "{}"), Err(ReplayError::WrongRow { row: 1, .. })));
}

#[test]
fn a_request_reads_from_the_cache_what_stood_at_the_front_of_an_earlier_one() {
    let lines = [
        r#"{"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [0, 1]}"#,
        r#"{"timestamp": 27482, "input_length": 1600, "output_length": 6, "hash_ids": [0, 2, 1, 3]}"#,
        // All of it, though its last block is not full.
        r#"{"timestamp": 27482, "input_length": 1000, "output_length": 7, "hash_ids": [0, 1]}"#,
        r#"{"timestamp": 30000, "input_length": 600, "output_length": 8, "hash_ids": [9, 1]}"#,
    ];
    let messages = shown(replay(Format::MooncakeConversation { start: start() }, &lines.join("\n")));
    let quantities = |[input, cached, output]: [u64; 3]| {
        format!(
            r#""quantities":{{"input_tokens":{input},"cached_input_tokens":{cached},"output_tokens":{output},"requests":1"#
        )
    };
    let expect = [[1000, 0, 5], [1088, 512, 6], [0, 1000, 7], [600, 0, 8]].map(quantities);
    assert_eq!(messages.iter().map(|message| message[3].clone()).collect::<Vec<_>>(), expect);
    assert_eq!(messages[1][..2], ["conv-000002", "2026-05-01T00:00:27.482000Z"]);
}

#[test]
fn a_session_begins_at_the_start() {
    let line = |seconds: &str| {
        format!(
            r#"{{"session_id":"s","turn_index":3,"model_id":"opus","request_arrival_delta_s":{seconds},"input_tokens":272001,"output_tokens":2}}"#
        )
    };
    let format = Format::WekaRequests { start: start() };
    let expect = [["s/3", "2026-05-08T20:49:52.966000Z", "p"].map(str::to_owned)];
    let messages = shown(replay(format, &line("679792.966")));
    assert_eq!(messages.iter().map(|message| message[..3].to_vec()).collect::<Vec<_>>(), expect);
    assert_eq!(messages[0][3], r#""quantities":{"input_tokens":272001,"output_tokens":2,"requests":1"#);
    for wrong in ["-1", "\"1\"", "1e999", "1e300", "99999999999999999999", "null"] {
        assert!(matches!(replay(format, &line(wrong)), Err(ReplayError::WrongRow { row: 1, .. })), "{wrong}");
    }
}

#[test]
fn a_model_without_a_product_is_refused() {
    let replay = Replay {
        deployment: "d".into(),
        products: [(Some("kimi".to_owned()), "k".to_owned())].into(),
        source: "urn:s".into(),
        topic: String::new(),
    };
    let line = r#"{"session_id":"s","turn_index":0,"model_id":"opus","request_arrival_delta_s":0,"input_tokens":1,"output_tokens":2}"#;
    let refused = replay.messages(Format::WekaRequests { start: start() }, "f", line).expect_err("no product");
    assert_eq!(refused.to_string(), "row 1: no product is given for its model, opus");
    let line = r#"{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[]}"#;
    let refused = replay.messages(Format::MooncakeConversation { start: start() }, "f", line).expect_err("no product");
    assert_eq!(refused.to_string(), "row 1: no product is given for its model, which it does not name");
}

#[test]
fn nothing_is_skipped() {
    let check = |row: &str, zone: Tz| {
        let text = format!("TIMESTAMP,ContextTokens,GeneratedTokens\r\n{row}");
        assert!(matches!(azure(&text, zone), Err(ReplayError::WrongRow { row: 1, .. })), "{row}");
    };
    check("2023-11-16 18:15:46,1", Tz::UTC);
    check("2023-11-16 18:15:46,1,2,3", Tz::UTC);
    check("2023-11-16 18:15:46,-1,2", Tz::UTC);
    check("2023-11-99 18:15:46,1,2", Tz::UTC);
    check("2023-11-05 01:30:00,1,2", chrono_tz::America::Los_Angeles);
    check("2023-03-12 02:30:00,1,2", chrono_tz::America::Los_Angeles);
    assert_eq!(azure("a,b\n", Tz::UTC).expect_err("no header"), ReplayError::WrongHeader);
}
