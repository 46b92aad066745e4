//! Decisions without a database: what stands comes in, rows go out.

use super::*;
use crate::domain::period::parse_instant;
use crate::sources::cloudevents::decode_structured;
use crate::store::usage::{Identity, StoredAmendment, StoredEvent};
use crate::store::usage_rows::RollupRow;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const SECRET: [u8; 32] = [7; 32];

fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

fn usage(id: &str, data: &str, kind: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"apportion.usage{kind}.v1","time":"2026-05-01T10:59:59Z","data":{data}}}"#
    )
}

fn messages(texts: &[String]) -> Messages {
    let mut messages = Messages::default();
    for text in texts {
        let position = Position::File { name: "f".into(), line: 1, record: 1 };
        messages.add(&SECRET, position, decode_structured(text.as_bytes()).into());
    }
    messages
}

fn event(id: &str, input: u32) -> String {
    usage(id, &format!(r#"{{"deployment":"d","product":"p","quantities":{{"input_tokens":{input}}}}}"#), "")
}

fn corrects(id: &str, target: &str, input: u32) -> String {
    usage(id, &format!(r#"{{"corrects":"{target}","quantities":{{"input_tokens":{input}}}}}"#), ".correction")
}

fn voids(id: &str, target: &str) -> String {
    usage(id, &format!(r#"{{"voids":"{target}"}}"#), ".void")
}

fn known() -> Lookup {
    Lookup {
        deployments: ["d".to_owned()].into(),
        products: ["p".to_owned()].into(),
        thresholds: [("p".to_owned(), vec![(at("2026-01-01T00:00:00Z"), 100)])].into(),
        ..Lookup::default()
    }
}

/// Puts messages where a lookup finds them, as recorded before.
fn stored(lookup: &mut Lookup, texts: &[String], stated_at: Instant) {
    let messages = messages(texts);
    for message in &messages.list {
        match &message.body {
            Body::Event(row) => {
                lookup.identities.insert(row.key, Identity::Event { content_hash: row.content_hash });
                let (event, rules) = (messages.names.event(row), messages.names.rules(row).to_owned());
                lookup.events.insert(row.key, StoredEvent { event, rules, stated_at });
            }
            Body::Amendment(amends) => {
                let KeyedAmendment { key, content_hash, target_key, ref amendment } = **amends;
                lookup.identities.insert(key, Identity::Amendment { content_hash });
                let (position, amendment) = ("f:1".into(), amendment.clone());
                lookup.amendments.push(StoredAmendment { key, target_key, position, amendment });
            }
            Body::NoUsage | Body::Rejected(..) => panic!("{message:?}"),
        }
    }
}

/// Per band: its lower edge, how many events more, and how many input tokens.
fn sums(rows: &Rows<'_>) -> Vec<(i64, i32, i64)> {
    let mut sums: Vec<(i64, i32, i64)> = rows
        .rollups
        .iter()
        .map(|row| {
            let tokens: Decimal = row.quantities.joined().values().sum();
            (row.context_over, row.events, tokens.to_i64().expect("whole"))
        })
        .collect();
    sums.sort_unstable();
    sums
}

#[test]
fn a_repeat_is_compared_with_what_stands() {
    let mut lookup = known();
    stored(&mut lookup, &[event("a", 1)], at("2026-05-02T00:00:00Z"));
    // The first of the batch is itself a conflict; the second equals what is stored.
    let batch = [event("a", 2), event("a", 1), event("b", 5), event("b", 6), event("b", 5)];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    let counts = rows.counts;
    assert_eq!((counts.messages(), counts.stored, counts.duplicate, counts.conflict), (5, 1, 2, 2));
    assert_eq!(sums(&rows), vec![(0, 1, 5)]);
}

#[test]
fn a_threshold_is_exceeded_by_strictly_more() {
    let lookup = known();
    let batch = [event("a", 100), event("b", 101)];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!(sums(&rows), vec![(0, 1, 100), (100, 1, 101)]);
    assert_eq!(rows.rollups[0].bucket, at("2026-05-01T10:00:00Z"));
}

#[test]
fn a_difference_leaves_the_band_in_which_it_was_counted() {
    let mut lookup = known();
    // Recorded before the threshold was known: it stands in the band from 0 on without an end.
    stored(&mut lookup, &[event("a", 500)], at("2025-12-31T00:00:00Z"));
    let batch = [corrects("k", "a", 300)];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!(sums(&rows), vec![(0, -1, -500), (100, 1, 300)]);
    let taken = rows.rollups.iter().find(|row| row.events == -1).expect("a row");
    assert_eq!((taken.context_over, taken.context_up_to), (0, i64::MAX));
}

#[test]
fn what_waited_is_applied_when_its_event_comes() {
    let mut lookup = known();
    stored(&mut lookup, &[corrects("k", "a", 9), corrects("l", "b", 9), voids("v", "b")], at("2026-05-02T00:00:00Z"));
    let batch = [event("a", 1), event("b", 1), corrects("m", "b", 3)];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!((rows.counts.stored, rows.counts.rejected), (2, 1));
    assert_eq!(rows.states.len(), 2);
    assert_eq!(sums(&rows), vec![(0, 1, 9)]);
}

#[test]
fn a_void_of_a_correction_restores_and_a_second_void_changes_nothing() {
    let mut lookup = known();
    stored(&mut lookup, &[event("a", 1), corrects("k", "a", 9)], at("2026-05-02T00:00:00Z"));
    let batch = [voids("v", "k"), voids("w", "k")];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!((rows.counts.void_applied, rows.states.len()), (2, 1));
    assert_eq!(sums(&rows), vec![(0, 0, -8)]);
    stored(&mut lookup, &batch[..1], at("2026-05-03T00:00:00Z"));
    let batched = messages(&batch[1..]);
    let rows = decide(&batched, &lookup, at("2026-05-04T00:00:00Z"));
    assert_eq!((rows.counts.void_applied, rows.states.len(), rows.rollups.len()), (1, 0, 0));
}

#[test]
fn an_interval_that_corrections_turn_around_counts_nowhere_and_is_told() {
    let mut lookup = known();
    let interval = r#"{"deployment":"d","product":"p","ended_at":"2026-05-01T11:30:00Z","quantities":{"requests":1}}"#;
    let moves = |id: &str, to: &str| usage(id, &format!(r#"{{"corrects":"a",{to}}}"#), ".correction");
    let batch = [usage("a", interval, ""), moves("k", r#""occurred_at":"2026-05-01T12:00:00Z""#)];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!((rows.counts.stored, rows.counts.correction_applied, rows.counts.rejected), (1, 1, 0));
    assert_eq!(rows.rejections.iter().map(|row| row.reason).collect::<Vec<_>>(), ["ends_before_start"]);
    assert_eq!((rows.states.len(), rows.states[0].voided, rows.rollups.len()), (1, true, 0));
    // Put right, it counts where it stands now.
    stored(&mut lookup, &batch, at("2026-05-03T00:00:00Z"));
    let put_right = [moves("l", r#""ended_at":"2026-05-01T12:00:00Z""#)];
    let batched = messages(&put_right);
    let rows = decide(&batched, &lookup, at("2026-05-04T00:00:00Z"));
    assert_eq!((rows.rejections.len(), rows.states.len(), rows.states[0].voided), (0, 1, false));
    let is_interval = |row: &RollupRow| rows.names.dimensions().nth(row.dimension).expect("its dimension").is_interval;
    let counted = rows.rollups.iter().map(|row| (row.bucket, row.events, is_interval(row)));
    assert_eq!(counted.collect::<Vec<_>>(), [(at("2026-05-01T12:00:00Z"), 1, true)]);
}

#[test]
fn sums_tell_attributes_and_intervals_apart() {
    let lookup = known();
    let told = |id: &str, more: &str| {
        usage(id, &format!(r#"{{"deployment":"d","product":"p",{more}"quantities":{{"requests":1}}}}"#), "")
    };
    let batch = [
        told("a", ""),
        told("b", r#""attributes":{},"#),
        told("c", r#""attributes":{"country":""},"#),
        told("d", r#""attributes":{"country":"CH"},"#),
        told("e", r#""attributes":{"label":"CH"},"#),
        told("f", r#""ended_at":"2026-05-01T11:00:00Z","#),
    ];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    let told = |row: &RollupRow| {
        let dimension = rows.names.dimensions().nth(row.dimension).expect("its dimension");
        (format!("{:?}", dimension.attributes), dimension.is_interval, row.events)
    };
    let mut counted: Vec<(String, bool, i32)> = rows.rollups.iter().map(told).collect();
    counted.sort();
    let expect = [
        (r#"{Country: "CH"}"#.to_owned(), false, 1),
        (r#"{Label: "CH"}"#.to_owned(), false, 1),
        ("{}".to_owned(), false, 3),
        ("{}".to_owned(), true, 1),
    ];
    assert_eq!(counted, expect);
}

#[test]
fn each_message_has_one_outcome() {
    let lookup = known();
    let batch = [
        event("a", 1),
        voids("v", "a"),
        corrects("k", "a", 1),
        voids("w", "v"),
        voids("x", "none"),
        corrects("y", "x", 1),
    ];
    let batched = messages(&batch);
    let rows = decide(&batched, &lookup, at("2026-05-03T00:00:00Z"));
    assert_eq!((rows.messages, rows.counts.messages()), (6, 6));
    assert_eq!((rows.counts.rejected, rows.counts.void_applied, rows.counts.void_waiting), (3, 1, 1));
    let reasons: Vec<&str> = rows.rejections.iter().map(|row| row.reason).collect();
    assert_eq!(reasons, ["correction_of_voided", "void_of_void", "correction_of_amendment"]);
}
