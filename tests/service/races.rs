//! Writers beside each other: the same ids, the same partition, corrections and their events.

use crate::support::*;
use apportion::ingest::batch::Position;
use apportion::ingest::writer::Offsets;
use apportion::sources::cloudevents::decode_structured;
use apportion::store::StoreError;
use apportion::store::offsets::Advance;
use apportion::store::usage_rows::Intake;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_of_one_partition_one_is_fenced() {
    let database = TestDatabase::new().await;
    for round in 0..10_i64 {
        let write = async |name: &str| {
            let mut writer = database.writer().await;
            let position = Position::Kafka { topic: "t".into(), partition: 0, offset: round, record: 1 };
            let line = event(&format!("{name}{round}"), 10, 1);
            let messages = [writer.message(position, decode_structured(line.as_bytes()))];
            let advance =
                Advance { topic: "t".into(), partition: 0, expected: (round > 0).then_some(round), next: round + 1 };
            let offsets = Offsets { cluster_id: "cluster".into(), advances: vec![advance] };
            writer.write(&messages, Some(&offsets), Intake::Kafka).await
        };
        let (a, b) = tokio::join!(write("a"), write("b"));
        let fenced = |outcome: &Result<_, _>| matches!(outcome, Err(StoreError::Fenced { .. }));
        assert!(fenced(&a) != fenced(&b) && a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    }
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 100);
    assert_eq!(database.number("select next_offset from kafka_offset").await, 10);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_racing_for_the_same_ids_store_each_once() {
    let database = TestDatabase::new().await;
    let lines: Vec<String> = (0..3000).map(|n| event(&format!("e{n}"), 1, 1)).collect();
    let write = async |reversed: bool| {
        let mut writer = database.writer().await;
        let mut lines = lines.clone();
        if reversed {
            lines.reverse();
        }
        for batch in lines.chunks(500) {
            write_lines(&mut writer, batch).await;
        }
    };
    tokio::join!(write(false), write(false), write(true), write(true));
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"], counts["duplicate"]), (12_000, 3000, 9000));
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 3000);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_racing_their_events_are_all_applied() {
    let database = TestDatabase::new().await;
    let write = async |lines: Vec<String>| {
        let mut writer = database.writer().await;
        for batch in lines.chunks(7) {
            write_lines(&mut writer, batch).await;
        }
    };
    let numbers = || 0..210;
    let events = write(numbers().map(|n| event(&format!("e{n}"), 1, 0)).collect());
    let restated = r#""quantities":{"input_tokens":10}"#;
    let corrections = write(numbers().map(|n| correction(&format!("k{n}"), &format!("e{n}"), restated)).collect());
    let voids = write(numbers().step_by(3).map(|n| void(&format!("v{n}"), &format!("k{n}"))).collect());
    tokio::join!(events, corrections, voids);
    // 140 corrected to 10, 70 whose correction is voided.
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 1470);
    database.audit().await;
    database.drop_it().await;
}
