//! Tests of the CloudEvents format: a table of faults, exactness, and what redaction may keep.

use super::*;
use crate::domain::period::parse_instant;
use crate::domain::usage::{Meter, Quantities, RequestOutcome, UsageAttribute};
use crate::sources::MAX_MESSAGE_BYTES;
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// What an event reports, whatever it tells beside that.
fn decode_structured(bytes: &[u8]) -> Result<UsageMessage, Rejection> {
    super::decode_structured(bytes).map(|told| told.message)
}

fn decode_message(headers: &[(&str, &[u8])], payload: Option<&[u8]>) -> Result<UsageMessage, Rejection> {
    super::decode_message(headers, payload).map(|told| told.message)
}

fn event(data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"e1","source":"s","type":"{USAGE_TYPE}","time":"2026-05-01T02:00:00.1234567+02:00","data":{data}}}"#
    )
}

fn usage(quantities: &str) -> String {
    event(&format!(r#"{{"deployment":"d","product":"p","quantities":{quantities}}}"#))
}

fn quantity(text: &str) -> Result<Decimal, Reason> {
    match decode_structured(usage(&format!(r#"{{"input_tokens":{text}}}"#)).as_bytes()) {
        Ok(UsageMessage::Event(event)) => Ok(event.content.quantities[&Meter::InputTokens]),
        Ok(UsageMessage::Amendment(_)) => panic!("an event"),
        Err(rejection) => Err(rejection.reason),
    }
}

#[test]
fn an_event_is_read_by_value() {
    let Ok(UsageMessage::Event(event)) = decode_structured(usage(r#"{"requests":1,"input_tokens":"2.50"}"#).as_bytes())
    else {
        panic!("an event")
    };
    assert_eq!(event.id, EventId { source: "s".into(), id: "e1".into() });
    assert_eq!(event.content.occurred_at, parse_instant("2026-05-01T00:00:00.123456Z").expect("an instant"));
    assert_eq!((event.content.customer.as_str(), event.content.service_tier.as_str()), ("", "default"));
    assert_eq!(event.content.quantities[&Meter::InputTokens].to_string(), "2.5");
}

#[test]
fn the_id_of_the_reply_is_told_beside_what_is_reported() {
    let with = |reply: &str| {
        let data = format!(r#"{{"deployment":"d","product":"p",{reply}"quantities":{{"requests":1}}}}"#);
        super::decode_structured(event(&data).as_bytes())
    };
    let told = with(r#""reply_id":"chatcmpl-1","#).expect("an event");
    assert_eq!(told.reply_id.as_deref(), Some("chatcmpl-1"));
    let without = with("").expect("an event");
    assert_eq!((without.reply_id, &without.message), (None, &told.message));
    assert!(!String::from_utf8_lossy(&encode(&told.message)).contains("chatcmpl-1"));
    assert_eq!(with(r#""reply_id":"","#).map_err(|rejection| rejection.reason), Err(Reason::WrongField));
    // What is kept of one that is rejected tells it once more when it is read again.
    let kept = with(r#""reply_id":"chatcmpl-1","customer":7,"#).expect_err("a rejection").redacted;
    assert!(String::from_utf8_lossy(&kept).contains(r#""reply_id":"chatcmpl-1""#));
    let corrects = r#"{"corrects":"e0","customer":"c","reply_id":"chatcmpl-1"}"#;
    let corrects = event(corrects).replace(USAGE_TYPE, CORRECTION_TYPE);
    assert_eq!(decode_structured(corrects.as_bytes()).map_err(|it| it.reason), Err(Reason::UnknownField));
}

#[test]
fn an_outcome_is_of_a_closed_list_and_part_of_the_content() {
    let read = |outcome: &str| {
        let data = format!(r#"{{"deployment":"d","product":"p",{outcome}"quantities":{{"requests":1}}}}"#);
        decode_structured(event(&data).as_bytes())
    };
    let mut hashes = Vec::new();
    for (outcome, expect) in [
        ("", None),
        (r#""outcome":"ok","#, Some(RequestOutcome::Ok)),
        (r#""outcome":"error","#, Some(RequestOutcome::Error)),
    ] {
        let message = read(outcome).expect("an event");
        let UsageMessage::Event(event) = &message else { panic!("an event") };
        assert_eq!(event.content.outcome, expect);
        assert_eq!(decode_structured(&encode(&message)).as_ref(), Ok(&message));
        hashes.push(message.content_hash());
    }
    assert_eq!(read(r#""outcome":null,"#).expect("an event").content_hash(), hashes[0]);
    hashes.dedup();
    assert_eq!(hashes.len(), 3);
    // A word that is none of them is kept, to be decoded again; a sentence is not.
    for (outcome, reason, is_kept) in [
        (r#""outcome":"timeout","#, Reason::WrongField, true),
        (r#""outcome":"a word of the prompt","#, Reason::WrongField, false),
        (r#""outcome":1,"#, Reason::WrongField, false),
        (r#""latency":0.5,"#, Reason::UnknownField, false),
    ] {
        let rejection = read(outcome).expect_err("a rejection");
        assert_eq!(rejection.reason, reason, "{outcome}");
        // It may be anything.
        assert!(!rejection.detail.contains("prompt"), "{}", rejection.detail);
        let kept = String::from_utf8(rejection.redacted).expect("text");
        assert_eq!(kept.contains(outcome), is_kept, "{kept}");
    }
    let restated = event(r#"{"corrects":"e1","outcome":"error"}"#).replace(USAGE_TYPE, CORRECTION_TYPE);
    let message = decode_structured(restated.as_bytes()).expect("a correction");
    assert_eq!(decode_structured(&encode(&message)), Ok(message));
}

#[test]
fn attributes_and_the_end_of_an_interval_are_part_of_the_content() {
    let read = |more: &str| {
        let data = format!(r#"{{"deployment":"d","product":"p",{more}"quantities":{{"requests":1}}}}"#);
        decode_structured(event(&data).as_bytes())
    };
    let told = |pairs: &[(UsageAttribute, &str)]| -> BTreeMap<UsageAttribute, String> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let (country, label) = (UsageAttribute::Country, UsageAttribute::Label);
    let mut hashes = Vec::new();
    for (more, attributes, ended_at) in [
        ("", told(&[]), None),
        (r#""attributes":{"country":"CH"},"#, told(&[(country, "CH")]), None),
        (r#""attributes":{"label":"CH"},"#, told(&[(label, "CH")]), None),
        (r#""ended_at":"2026-05-01T00:00:00.123456Z","#, told(&[]), Some("2026-05-01T00:00:00.123456Z")),
        (r#""ended_at":"2026-05-01T02:00:00+01:00","#, told(&[]), Some("2026-05-01T01:00:00Z")),
    ] {
        let message = read(more).expect("an event");
        let UsageMessage::Event(event) = &message else { panic!("an event") };
        assert_eq!(event.content.attributes, attributes, "{more}");
        assert_eq!(event.content.ended_at, ended_at.map(|text| parse_instant(text).expect("an instant")), "{more}");
        assert_eq!(decode_structured(&encode(&message)).as_ref(), Ok(&message));
        hashes.push(message.content_hash());
    }
    for same in [r#""attributes":null,"#, r#""attributes":{},"#, r#""attributes":{"buyer":""},"ended_at":null,"#] {
        assert_eq!(read(same).expect("an event").content_hash(), hashes[0], "{same}");
    }
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!((all, hashes.len()), (5, 5));
}

#[test]
fn a_fault_of_an_attribute_names_its_place() {
    let long = format!(r#"{{"label":"{}"}}"#, "x".repeat(257));
    for (more, reason, detail) in [
        (
            r#""attributes":{"region":"eu"}"#,
            Reason::UnknownAttribute,
            "data.attributes.region: unknown; the attributes are buyer, buyer_class, country, label",
        ),
        (r#""attributes":{"tell me":"x"}"#, Reason::UnknownAttribute, "data.attributes.(no identifier): unknown"),
        (r#""attributes":["CH"]"#, Reason::WrongField, "data.attributes: must be an object"),
        (r#""attributes":{"country":7}"#, Reason::WrongField, "data.attributes.country: must be a string"),
        (r#""attributes":{"country":"a","country":"b"}"#, Reason::WrongField, "data.attributes.country: given twice"),
        (r#""attributes":{"buyer":"a\u0000"}"#, Reason::NulCharacter, "data.attributes.buyer: holds a NUL"),
        (&format!(r#""attributes":{long}"#), Reason::NameTooLong, "data.attributes.label: longer than 256 bytes"),
        (r#""ended_at":"2026-05-01T00:00:00""#, Reason::WrongTime, "data.ended_at: must be RFC 3339"),
        (r#""ended_at":"2026-05-01T00:00:00Z""#, Reason::EndsBeforeStart, "data.ended_at: lies before time"),
    ] {
        let data = format!(r#"{{"deployment":"d","product":"p",{more},"quantities":{{"requests":1}}}}"#);
        let rejection = decode_structured(event(&data).as_bytes()).expect_err(more);
        assert_eq!(rejection.reason, reason, "{more}");
        assert!(rejection.detail.starts_with(detail), "{more}: {}", rejection.detail);
    }
    // Known attributes are kept, to be decoded again; what stands under any other name may be anything.
    let data =
        r#"{"attributes":{"country":"CH","mood":"SECRET","two words":"SECRET"},"ended_at":"2026-05-01T01:00:00Z"}"#;
    let kept = decode_structured(event(data).as_bytes()).expect_err("a rejection").redacted;
    let kept = String::from_utf8(kept).expect("text");
    assert!(
        kept.contains(r#"{"country":"CH","mood":{"redacted":"apportion"},"redacted-2":{"redacted":"apportion"}}"#),
        "{kept}"
    );
    assert!(kept.contains(r#""ended_at":"2026-05-01T01:00:00Z""#) && !kept.contains("SECRET"), "{kept}");
}

#[test]
fn quantities_are_exact_or_refused() {
    let cases = [
        ("0", Ok("0")),
        ("-0", Ok("0")),
        ("100.0", Ok("100")),
        ("2e3", Ok("2000")),
        ("1.5e-3", Ok("0.0015")),
        ("0.1", Ok("0.1")),
        ("\"7\"", Ok("7")),
        ("1000000000000000", Ok("1000000000000000")),
        ("1000000000000001", Err(Reason::WrongQuantity)),
        ("0.0000001", Err(Reason::WrongQuantity)),
        ("1e99", Err(Reason::WrongQuantity)),
        ("1e-99", Err(Reason::WrongQuantity)),
        ("-1", Err(Reason::NegativeQuantity)),
        ("\"1_000\"", Err(Reason::WrongQuantity)),
        ("\"\"", Err(Reason::WrongQuantity)),
        ("true", Err(Reason::WrongQuantity)),
        ("null", Err(Reason::WrongQuantity)),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|value: &str| value.parse::<Decimal>().expect("a decimal"));
        assert_eq!(quantity(text), expected, "{text}");
    }
}

#[test]
fn each_fault_has_its_reason() {
    let long = "x".repeat(257);
    let correction = |data: &str| event(data).replace(USAGE_TYPE, CORRECTION_TYPE);
    let cases = [
        (String::new(), Reason::EmptyMessage),
        (" ".repeat(MAX_MESSAGE_BYTES + 1), Reason::MessageTooLarge),
        ("[1]".into(), Reason::NotJson),
        ("{".into(), Reason::NotJson),
        (usage("{}"), Reason::WrongField),
        (usage(r#"{"thoughts":1}"#), Reason::UnknownMeter),
        (usage(r#"{"requests":1,"requests":1}"#), Reason::WrongField),
        (usage(r#"{"requests":1}"#).replace("1.0", "0.3"), Reason::WrongAttribute),
        (usage(r#"{"requests":1}"#).replace("\"e1\"", "\"\""), Reason::WrongAttribute),
        (usage(r#"{"requests":1}"#).replace("\"e1\"", "1"), Reason::WrongAttribute),
        (usage(r#"{"requests":1}"#).replace("e1", &long), Reason::NameTooLong),
        (usage(r#"{"requests":1}"#).replace("e1", "a\\u0000b"), Reason::NulCharacter),
        (usage(r#"{"requests":1}"#).replace("+02:00", ""), Reason::WrongTime),
        (usage(r#"{"requests":1}"#).replace(USAGE_TYPE, "other"), Reason::UnknownType),
        (event(r#"{"deployment":"d","product":"p"}"#), Reason::MissingField),
        (event(r#"{"deployment":"d","product":"p","prompt":"x","quantities":{"requests":1}}"#), Reason::UnknownField),
        (event("3"), Reason::WrongField),
        (event("-3"), Reason::WrongField),
        (event("0.5"), Reason::WrongField),
        (event("null"), Reason::WrongField),
        (event("true"), Reason::WrongField),
        (event("\"d\""), Reason::WrongField),
        (event("[{\"deployment\":\"d\"}]"), Reason::WrongField),
        (event("{"), Reason::NotJson),
        (usage("3"), Reason::WrongField),
        (usage("[1]"), Reason::WrongField),
        (usage("null"), Reason::MissingField),
        (usage(r#"{"data":{"requests":1}}"#), Reason::UnknownMeter),
        (event(r#"{"deployment":7,"product":"p","quantities":{"requests":1}}"#), Reason::WrongField),
        (correction(r#"{"corrects":"e0"}"#), Reason::NothingRestated),
        (correction(r#"{"product":"p"}"#), Reason::MissingField),
        (correction(r#"{"corrects":"e0","occurred_at":"2026-05-01T00:00:00"}"#), Reason::WrongTime),
    ];
    for (text, reason) in cases {
        let shown: String = text.chars().take(300).collect();
        match decode_structured(text.as_bytes()) {
            Ok(message) => panic!("{shown}: read as {message:?}"),
            Err(rejection) => assert_eq!(rejection.reason, reason, "{shown}"),
        }
    }
}

#[test]
fn an_unknown_meter_is_told_those_there_are() {
    let rejection = decode_structured(usage(r#"{"thoughts":1}"#).as_bytes()).expect_err("a rejection");
    let expect = "data.quantities.thoughts: unknown; the meters are input_tokens, cached_input_tokens, ";
    assert!(rejection.detail.starts_with(expect), "{}", rejection.detail);
}

#[test]
fn both_modes_of_kafka_are_read() {
    let structured = usage(r#"{"requests":1}"#);
    let expected = decode_structured(structured.as_bytes());
    let header: [(&str, &[u8]); 1] = [("Content-Type", b"application/CloudEvents+JSON; charset=UTF-8")];
    assert_eq!(decode_message(&header, Some(structured.as_bytes())), expected);
    let binary: [(&str, &[u8]); 6] = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e1"),
        ("ce_source", b"s"),
        ("ce_type", USAGE_TYPE.as_bytes()),
        ("ce_time", b"2026-05-01T00:00:00.123456Z"),
    ];
    let data = br#"{"deployment":"d","product":"p","quantities":{"requests":1}}"#;
    assert_eq!(decode_message(&binary, Some(data)), expected);
    let reason = |headers: &[(&str, &[u8])], payload| decode_message(headers, payload).map_err(|r| r.reason);
    assert_eq!(reason(&binary, None), Err(Reason::EmptyMessage));
    assert_eq!(reason(&[], Some(data)), Err(Reason::UnsupportedContentType));
    let batch: [(&str, &[u8]); 1] = [("content-type", b"application/cloudevents-batch+json")];
    assert_eq!(reason(&batch, Some(data)), Err(Reason::UnsupportedContentType));
    // What is kept of a rejected binary message is a structured event with its attributes.
    let rejected = decode_message(&binary, Some(br#"{"prompt":"secret","product":"p"}"#)).expect_err("a rejection");
    let kept = String::from_utf8(rejected.redacted).expect("text");
    assert!(kept.contains(r#""id":"e1""#) && kept.contains(r#""prompt":{"redacted":"apportion"}"#), "{kept}");
    // Also the content type, without which it would decode when it is tried again.
    let mut text = binary;
    text[0].1 = b"text/plain";
    let rejected = decode_message(&text, Some(data)).expect_err("a rejection");
    assert_eq!(rejected.reason, Reason::UnsupportedContentType);
    assert!(decode_structured(&rejected.redacted).is_err());
}

#[test]
fn an_attribute_that_is_no_text_or_given_twice_is_refused() {
    let data = br#"{"deployment":"d","product":"p","quantities":{"requests":1}}"#;
    for (place, name) in ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"].into_iter().enumerate() {
        let mut binary: [(&str, &[u8]); 5] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"e1"),
            ("ce_source", b"s"),
            ("ce_type", USAGE_TYPE.as_bytes()),
            ("ce_time", b"2026-05-01T00:00:00Z"),
        ];
        assert!(decode_message(&binary, Some(data)).is_ok());
        binary[place].1 = b"e\xff";
        let rejected = decode_message(&binary, Some(data)).expect_err("a rejection");
        assert_eq!((rejected.reason, rejected.detail), (Reason::WrongAttribute, format!("{name}: must be UTF-8")));
        // It is not tried again: without the attribute it would be another event.
        assert_ne!(rejected.content_type, CONTENT_TYPE);
        // Nor is it known which of two would be meant.
        binary[place].1 = b"e1";
        let twice = [binary.as_slice(), &[(name, b"e2")]].concat();
        let rejected = decode_message(&twice, Some(data)).expect_err("a rejection");
        assert_eq!((rejected.reason, rejected.detail), (Reason::WrongAttribute, format!("{name}: given twice")));
    }
}

#[test]
fn a_name_is_kept_by_its_own_length() {
    // 1536 bytes as written, 256 bytes as read.
    let escaped = "\\u0078".repeat(256);
    let rejected = decode_structured(usage("{}").replace("e1", &escaped).as_bytes()).expect_err("a rejection");
    assert!(String::from_utf8_lossy(&rejected.redacted).contains(&escaped));
    let rejected = decode_structured(usage("{}").replace("e1", &"x".repeat(257)).as_bytes()).expect_err("a rejection");
    assert!(String::from_utf8_lossy(&rejected.redacted).contains(r#""id":{"redacted":"apportion"}"#));
}

#[test]
fn what_is_written_is_read_back() {
    let id = || EventId { source: "s".into(), id: "x \"1\"".into() };
    let Ok(event) = decode_structured(usage(r#"{"requests":1,"state_gb_hours":0.125}"#).as_bytes()) else {
        panic!("an event")
    };
    let restated = Restatement {
        occurred_at: parse_instant("2026-05-01T00:00:00.000001Z").ok(),
        ended_at: parse_instant("2026-05-01T01:00:00Z").ok(),
        attributes: [(UsageAttribute::Country, "CH".to_owned()), (UsageAttribute::Label, String::new())].into(),
        quantities: Some(Quantities::from([(Meter::ToolCalls, Decimal::ONE)])),
        ..Restatement::default()
    };
    let amendment = |kind| UsageMessage::Amendment(Amendment { id: id(), target: "e1".into(), kind });
    for message in [event, amendment(AmendmentKind::Void), amendment(AmendmentKind::Correction(restated))] {
        assert_eq!(decode_structured(&encode(&message)), Ok(message));
    }
}

/// A structured event with one fault and a secret planted somewhere that no allow-list covers.
fn planted(secret: &str) -> impl Strategy<Value = String> + use<> {
    let secret = secret.to_owned();
    (0..7_usize).prop_map(move |place| match place {
        0 => event(&format!(r#"{{"deployment":"d","prompt":"{secret}"}}"#)),
        1 => usage(&format!(r#"{{"requests":"{secret}"}}"#)),
        2 => event(&format!(r#"{{"deployment":{{"text":"{secret}"}}}}"#)),
        3 => usage("{}").replace("\"id\"", &format!("\"note\":\"{secret}\",\"id\"")),
        4 => event(&format!("\"{secret}\"")),
        5 => usage("{}").replace("2026-05-01", &secret),
        _ => format!("no json {secret}"),
    })
}

/// A value as any field might hold it: right, wrong, too long, nested or redacted before.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(r#""d""#.to_owned()),
        1 => Just(r#""[redacted]""#.to_owned()),
        1 => Just(r#"{"redacted":"apportion"}"#.to_owned()),
        1 => Just(r#"{"requests":1}"#.to_owned()),
        1 => (250..260_usize).prop_map(|length| format!("\"{}\"", "x".repeat(length))),
        1 => (250..260_usize).prop_map(|length| format!("\"{}\"", "\\u0078".repeat(length))),
        1 => "[0-9.e-]{1,50}".prop_map(|text| format!("\"{text}\"")),
        1 => Just("7".to_owned()),
        1 => Just("null".to_owned()),
    ]
}

proptest! {
    /// Rejected bytes are decoded again as they were kept: they may not become another event than was sent.
    #[test]
    fn what_is_redacted_decodes_to_what_was_sent_or_not_at_all(
        kind in prop_oneof![Just(USAGE_TYPE), Just(CORRECTION_TYPE), Just(VOID_TYPE)],
        replaced in proptest::collection::btree_map(0..11_usize, value(), 0..3),
    ) {
        let kind = format!("\"{kind}\"");
        let mut values = [
            r#""1.0""#, r#""e1""#, r#""s""#, &kind, r#""2026-05-01T00:00:00Z""#,
            r#""d""#, r#""p""#, r#""c""#, r#""t""#, r#"{"requests":1}"#, r#""CH""#,
        ].map(str::to_owned);
        for (place, value) in replaced {
            values[place] = value;
        }
        let [specversion, id, source, r#type, time, deployment, product, customer, tier, quantities, country] = values;
        let data = if kind.contains(".void.") {
            format!(r#"{{"voids":{deployment}}}"#)
        } else {
            let first = if kind.contains(".correction.") {
                format!(r#""corrects":{customer},"occurred_at":{time}"#)
            } else {
                format!(r#""customer":{customer}"#)
            };
            format!(
                r#"{{{first},"deployment":{deployment},"product":{product},"service_tier":{tier},"attributes":{{"country":{country}}},"ended_at":{time},"quantities":{quantities}}}"#
            )
        };
        let sent = format!(
            r#"{{"specversion":{specversion},"id":{id},"source":{source},"type":{type},"time":{time},"data":{data}}}"#
        );
        let (kept, _) = redact(sent.as_bytes());
        if let Ok(message) = decode_structured(&kept) {
            prop_assert_eq!(Ok(message), decode_structured(sent.as_bytes()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_structured(&bytes);
        let header: [(&str, &[u8]); 2] = [("ce_id", &bytes), ("content-type", b"application/json")];
        let _ = decode_message(&header, Some(&bytes));
    }

    #[test]
    fn no_cut_of_an_event_makes_it_panic(cut in 0..200_usize, byte in any::<u8>()) {
        let mut bytes = usage(r#"{"requests":1,"input_tokens":2.5}"#).into_bytes();
        let place = cut.min(bytes.len() - 1);
        bytes[place] = byte;
        let _ = decode_structured(&bytes);
        bytes.truncate(place);
        let _ = decode_structured(&bytes);
    }

    #[test]
    fn a_secret_is_never_kept(text in planted("tell me a SECRET 4711")) {
        let rejection = decode_structured(text.as_bytes()).expect_err("a rejection");
        let kept = String::from_utf8_lossy(&rejection.redacted).into_owned();
        prop_assert!(!kept.contains("SECRET") && !rejection.detail.contains("SECRET"), "{kept} {}", rejection.detail);
    }

    #[test]
    fn redaction_is_stable(text in planted("abc")) {
        let once = decode_structured(text.as_bytes()).expect_err("a rejection");
        if once.content_type == CONTENT_TYPE {
            let again = decode_structured(&once.redacted).expect_err("a rejection");
            prop_assert_eq!(again.redacted, once.redacted);
        }
    }
}
