//! Each outcome, through Kafka and through files, gives exactly its counts, rows and sums.

use crate::support::*;
use apportion::ingest::file::{FileReader, ingest_file};
use apportion::sources::cloudevents;
use apportion::store::{recording, usage_reports as reports};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

/// One message of every outcome, in an order in which each is decided by what stands before it.
fn every_outcome() -> Vec<String> {
    let tokens = |input: u32| format!(r#""quantities":{{"input_tokens":{input},"requests":1}}"#);
    vec![
        event("e1", 100, 10),
        event("e2", 2000, 20),
        event("e3", 5, 1),
        // the same by value, then with other content
        event_at("e1", "2026-05-01T02:30:00+02:00", "east", 100, 10),
        event("e1", 101, 10),
        event_at("e4", "2026-05-01T00:30:00Z", "nowhere", 7, 7),
        // applied: over the threshold and to another hour; voided
        correction("k1", "e1", &tokens(5000)),
        correction("k2", "e2", r#""occurred_at":"2026-05-02T00:00:00Z""#),
        void("v1", "e3"),
        // waiting: its event never comes; comes later
        correction("k3", "never", &tokens(1)),
        correction("k4", "e5", r#""deployment":"west""#),
        void("v2", "e6"),
        event("e5", 50, 5),
        event("e6", 60, 6),
        // a void of a correction brings back what was reported
        void("v3", "k2"),
        // refused
        correction("k5", "e3", &tokens(9)),
        void("v4", "v1"),
        correction("k6", "k1", &tokens(9)),
        "not json".to_owned(),
        event("e7", 1, 1).replace("\"requests\":1", "\"requests\":-1"),
        // not whole, and larger than an int4
        event("e8", 1, 1).replace("\"input_tokens\":1", "\"input_tokens\":3000000000,\"state_gb_hours\":0.125"),
        correction("k7", "e8", r#""quantities":{"state_gb_hours":"0.25"}"#),
        // an amendment again, and a conflict of one
        void("v1", "e3"),
        void("v1", "e1"),
    ]
}

fn expected() -> BTreeMap<String, i64> {
    let counts = [
        ("messages", 24),
        ("stored", 6),
        ("stored_unresolved", 1),
        ("duplicate", 2),
        ("conflict", 2),
        ("correction_applied", 3),
        ("correction_waiting", 2),
        ("void_applied", 2),
        ("void_waiting", 1),
        ("rejected", 5),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

async fn check_rows(database: &TestDatabase) {
    assert_eq!(database.number("select count(*) from usage_event").await, 7);
    assert_eq!(database.number("select count(*) from usage_amendment").await, 8);
    assert_eq!(database.number("select count(*) from usage_conflict").await, 2);
    assert_eq!(database.number("select count(*) from usage_rejection").await, 5);
    // e1 5000, e2 2000, e5 50, e4 7; voided: e3, e6; e8 has no input tokens any more
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 7057);
    assert_eq!(database.number("select sum(events)::bigint from usage_rollup").await, 5);
    let over = "select sum(input_tokens)::bigint from usage_rollup where context_over = 1000";
    assert_eq!(database.number(over).await, 7000);
    assert_eq!(database.number("select sum(events)::bigint from usage_rollup where context_over = 1000").await, 2);
    database.audit().await;
}

/// What was reported first stands, whatever corrected it since: of e1 100 input tokens, of v1 that it voids e3.
async fn check_conflicts(database: &TestDatabase) {
    let conflicts = reports::conflicts(&database.pool, None, 10).await.expect("conflicts");
    let both = conflicts.iter().map(|it| {
        let reports::Standing::Usage(stands) = &it.stands else { panic!("{it:?}") };
        let stands: Value = serde_json::from_slice(&cloudevents::encode(stands)).expect("JSON");
        let part =
            |event: &Value| event["data"].get("voids").unwrap_or(&event["data"]["quantities"]["input_tokens"]).clone();
        (it.event_id.as_str(), part(&it.reported), part(&stands))
    });
    let both: Vec<(&str, Value, Value)> = both.collect();
    assert_eq!(both, [("v1", "e1".into(), "e3".into()), ("e1", "101".into(), "100".into())]);
    assert!(conflicts.iter().all(|it| it.times == 1), "{conflicts:?}");
}

/// A list that is cut says so beside the answer, whatever its form.
fn check_limits(database: &TestDatabase) {
    for (list, limit, status, told) in [
        ("rejections", "2", 0, "There are more than these 2; --limit 10 shows more."),
        ("conflicts", "1", 0, "There are more than these 1; --limit 5 shows more."),
        ("rejections", "0", 2, "0 is not in 1..=10000"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.args(["usage", list, "--limit", limit, "--format", "json"]).env("DATABASE_URL", &database.url);
        let ended = command.output().expect("it starts");
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{list}: {complaint}");
        assert!(complaint.contains(told), "{list}: {complaint}");
        let listed: Vec<Value> = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        assert_eq!(listed.len().to_string(), limit, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_in_one_batch_or_in_many() {
    for size in [100, 1, 5] {
        let database = TestDatabase::new().await;
        let mut writer = database.writer().await;
        for lines in every_outcome().chunks(size) {
            write_lines(&mut writer, lines).await;
        }
        assert_eq!(database.counts().await, expected(), "batches of {size}");
        check_rows(&database).await;
        check_conflicts(&database).await;
        check_limits(&database);
        database.drop_it().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_through_files() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let folder = tempfile::tempdir().expect("a folder");
    let plain = folder.path().join("usage.jsonl");
    std::fs::write(&plain, every_outcome().join("\n\n")).expect("written");
    let read = ingest_file(&mut writer, &plain, &FileReader::default(), |_| {}).await.expect("read");
    assert_eq!(read.counts.messages(), 24);
    assert_eq!(database.counts().await, expected());
    check_rows(&database).await;
    let position = "select count(*) from usage_rejection where position = 'usage.jsonl:37' and reason = 'not_json'";
    assert_eq!(database.number(position).await, 1);
    // Again, gzipped: nothing is stored twice.
    let zipped = folder.path().join("usage.jsonl.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(every_outcome().join("\r\n").as_bytes()).expect("zipped");
    std::fs::write(&zipped, encoder.finish().expect("zipped")).expect("written");
    let again = ingest_file(&mut writer, &zipped, &FileReader::default(), |_| {}).await.expect("read").counts;
    assert_eq!((again.messages(), again.stored, again.duplicate, again.conflict), (24, 0, 17, 2));
    // A conflict that is read again where it stands is the same one.
    ingest_file(&mut writer, &plain, &FileReader::default(), |_| {}).await.expect("read");
    let conflicts = reports::conflicts(&database.pool, None, 10).await.expect("conflicts");
    let told = conflicts.iter().map(|it| (it.position.as_str(), it.event_id.as_str(), it.times));
    let expected = [
        ("usage.jsonl:47", "v1", 2),
        ("usage.jsonl:9", "e1", 2),
        ("usage.jsonl.gz:24", "v1", 1),
        ("usage.jsonl.gz:5", "e1", 1),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    database.audit().await;
    assert_eq!(database.number("select count(*) from usage_event").await, 7);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_never_end_a_file() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("usage.jsonl");
    // More than a batch of empty lines, then an event; then a line that is too long, with its content at the end.
    let empty = format!("{}\n", " ".repeat(1 << 20)).repeat(18);
    let long = " ".repeat((1 << 20) + 1);
    std::fs::write(&path, format!("{empty}{}\n{long}{}\n", event("e1", 1, 1), event("e2", 1, 1))).expect("written");
    let read = ingest_file(&mut writer, &path, &FileReader::default(), |_| {}).await.expect("read");
    assert_eq!((read.place, read.counts.messages(), read.counts.stored, read.counts.rejected), (20, 2, 1, 1));
    assert_eq!(database.number("select count(*) from usage_rejection where reason = 'message_too_large'").await, 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_through_kafka() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    topic.send(&every_outcome(), 1);
    let counts = consume(&database, &[&topic]).await;
    assert_eq!(counts.messages(), 24);
    assert_eq!(database.counts().await, expected());
    check_rows(&database).await;
    assert_eq!(database.number("select next_offset from kafka_offset").await, 24);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_never_stops_a_partition() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    let producer = topic.producer();
    let structured = [("content-type", "application/cloudevents+json")];
    producer.send(0, None, &structured);
    producer.send(0, Some(b""), &structured);
    producer.send(0, Some(b"\xff\xfe\x00"), &structured);
    producer.send(0, Some(event("a", 1, 1).as_bytes()), &[]);
    producer.send(0, Some(event("a\\u0000", 1, 1).as_bytes()), &structured);
    let data = br#"{"deployment":"east","product":"gpt","quantities":{"requests":1}}"#;
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_id", "b"),
        ("ce_source", "test"),
        ("ce_type", "apportion.usage.v1"),
        ("ce_time", "2026-05-01T00:00:00Z"),
    ];
    producer.send(0, Some(data), &binary);
    producer.send(0, Some(event("c", 1, 1).as_bytes()), &structured);
    producer.flush();
    let counts = consume(&database, &[&topic]).await;
    assert_eq!((counts.messages(), counts.rejected, counts.stored), (7, 5, 2));
    let empty = "select count(*) from usage_rejection where reason = 'empty_message'";
    assert_eq!(database.number(empty).await, 2);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_refusals_are_recorded_when_their_target_comes() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    // w voids v, and v turns out to be a void; k corrects c, and c turns out to be a correction.
    let first = [void("w", "v"), correction("k", "c", r#""product":"codex""#), event("e", 5, 5)];
    write_lines(&mut writer, &first).await;
    assert_eq!(database.number("select count(*) from usage_rejection").await, 0);
    write_lines(&mut writer, &[correction("c", "e", r#""product":"codex""#), void("v", "e")]).await;
    let refused = "select count(*) from usage_rejection where reason in ('void_of_void', 'correction_of_amendment')";
    assert_eq!(database.number(refused).await, 2);
    assert_eq!(database.number("select sum(events)::bigint from usage_rollup").await, 0);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_at_or_below_a_watermark() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    write_lines(&mut writer, &[event("e1", 1, 1)]).await;
    for round in 0..5 {
        let watermark = recording::watermark(&database.pool).await.expect("a watermark");
        write_lines(&mut writer, &[event(&format!("r{round}"), 1, 1)]).await;
        let last: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select max(recorded_at) from usage_batch")
            .fetch_one(&database.pool)
            .await
            .expect("a time");
        assert!(last > watermark, "{last} {watermark}");
    }
    // Not even where the clock stands before the watermark.
    sqlx::query("update recording_watermark set watermark = now() + interval '1 hour'")
        .execute(&database.pool)
        .await
        .expect("set");
    write_lines(&mut writer, &[event("later", 1, 1)]).await;
    let after = "select count(*) from usage_batch, recording_watermark where recorded_at > watermark";
    assert_eq!(database.number(after).await, 1);
    database.drop_it().await;
}
