//! What usage carries for agreements to select by, and records of intervals: by every way in, and as corrected.

use crate::api_client::{Api, bearer};
use crate::books::at;
use crate::support::*;
use apportion::domain::access::Scope;
use apportion::domain::period::Span;
use apportion::domain::usage::UsageEvent;
use apportion::ingest::file::{FileReader, ingest_file};
use apportion::ingest::retry::retry;
use apportion::store::usage_events::{load_events, load_interval_events};
use apportion::store::usage_reports as reports;
use serde_json::json;

/// An event that occurs at 00:30, with more in its data.
fn told(id: &str, more: &str) -> String {
    event(id, 1, 1).replace(r#""customer":"#, &format!(r#"{more},"customer":"#))
}

fn messages() -> Vec<String> {
    vec![
        told("e1", r#""attributes":{"country":"CH","buyer_class":"public"}"#),
        // The same by value, and with other content.
        told("e1", r#""attributes":{"buyer_class":"public","label":"","country":"CH"},"ended_at":null"#),
        told("e1", r#""attributes":{"country":"DE","buyer_class":"public"}"#),
        event("e1", 1, 1),
        told("e2", r#""ended_at":"2026-05-01T03:00:00Z""#),
        told("e2", r#""ended_at":"2026-05-01T04:00:00+01:00""#),
        told("e2", r#""ended_at":"2026-05-01T03:00:00.000001Z""#),
        // Attribute by attribute, the last that is not voided holds.
        event("e3", 1, 1),
        correction("k1", "e3", r#""attributes":{"country":"FR","label":"fee"}"#),
        correction("k2", "e3", r#""attributes":{"label":"","buyer":"acme"}"#),
        correction("k3", "e3", r#""attributes":{"country":"IT"}"#),
        void("v1", "k3"),
        // A correction makes it a record of an interval; another one waited for its event.
        correction("k4", "e4", r#""ended_at":"2026-05-01T01:00:00Z""#),
        event("e4", 1, 1),
        // Ends before it starts, once it is moved.
        told("e5", r#""ended_at":"2026-05-01T01:00:00Z""#),
        correction("k5", "e5", r#""occurred_at":"2026-05-01T02:00:00Z""#),
        // Never read.
        told("e6", r#""attributes":{"region":"eu"}"#),
        told("e7", r#""ended_at":"2026-05-01T00:00:00Z""#),
    ]
}

/// In words: the id, what is told, and until when.
fn in_words(UsageEvent { id, content }: &UsageEvent) -> String {
    let attributes = content.attributes.iter().map(|(name, value)| format!(" {name}={value}"));
    let until = content.ended_at.map_or(String::new(), |end| format!(" until {}", end.format("%H:%M")));
    format!("{}{}{until}", id.id, attributes.collect::<String>())
}

async fn check(database: &TestDatabase) {
    let counts = database.counts().await;
    let expected = [("messages", 18), ("stored", 5), ("duplicate", 2), ("conflict", 3), ("rejected", 2)];
    for (name, count) in expected {
        assert_eq!(counts[name], count, "{name}");
    }
    let (known_at, day) = (database.watermark().await, ("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"));
    let day = Span { start: at(day.0), end: at(day.1) };
    let mut conn = database.pool.acquire().await.expect("a connection");
    let events = load_events(&mut conn, &[day], known_at).await.expect("events");
    let standing = ["e1 buyer_class=public country=CH", "e2 until 03:00", "e3 buyer=acme country=FR", "e4 until 01:00"];
    let mut found: Vec<String> = events.iter().map(in_words).collect();
    for words in &mut found {
        // The attributes of one event have no order of their own.
        let mut parts: Vec<&str> = words.split(' ').collect();
        let ends = parts.iter().position(|it| *it == "until").unwrap_or(parts.len());
        parts[1..ends].sort_unstable();
        *words = parts.join(" ");
    }
    assert_eq!(found, standing);
    let intervals = load_interval_events(&mut conn, day, known_at).await.expect("events");
    assert_eq!(intervals, events.iter().filter(|it| it.content.is_interval()).cloned().collect::<Vec<_>>());
    drop(conn);
    // Intervals have sums of their own, and the one that counts nowhere has none.
    let of_intervals = "select sum(events)::bigint from usage_rollup join usage_dimension using (dimension_id)
        where is_interval";
    assert_eq!(database.number(of_intervals).await, 2);
    assert_eq!(database.number("select sum(events)::bigint from usage_rollup").await, 4);
    for reason in ["unknown_attribute", "ends_before_start"] {
        let rejections = reports::rejections_by_reason(&database.pool).await.expect("reasons");
        let count = rejections.iter().find(|it| it.name == reason).map(|it| it.count);
        assert_eq!(count, Some(if reason == "ends_before_start" { 2 } else { 1 }), "{reason}");
    }
    let conflicts = reports::conflicts(&database.pool, None, 10).await.expect("conflicts");
    assert_eq!(conflicts[2].reported["data"]["attributes"], json!({"buyer_class": "public", "country": "DE"}));
    assert_eq!(conflicts[0].reported["data"]["ended_at"], json!("2026-05-01T03:00:00.000001Z"));
    database.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_intervals_in_batches_of_any_size() {
    for size in [100, 1, 7] {
        let database = TestDatabase::new().await;
        let mut writer = database.writer().await;
        for lines in messages().chunks(size) {
            write_lines(&mut writer, lines).await;
        }
        check(&database).await;
        // What was refused for what it says is not tried again; the other one is, in vain.
        let retried = retry(&mut writer, &database.pool, &[], None).await.expect("retried");
        assert_eq!((retried.taken.messages(), retried.still_rejected), (0, 3));
        // Put right, it stands where it was moved to.
        let put_right = correction("k6", "e5", r#""ended_at":"2026-05-01T02:30:00Z""#);
        assert_eq!(write_lines(&mut writer, &[put_right]).await.correction_applied, 1);
        assert_eq!(database.number("select sum(events)::bigint from usage_rollup").await, 5);
        database.audit().await;
        database.drop_it().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_intervals_through_a_file() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("usage.jsonl");
    std::fs::write(&path, messages().join("\n")).expect("written");
    ingest_file(&mut writer, &path, &FileReader::default(), |_| {}).await.expect("read");
    check(&database).await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_intervals_through_kafka() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    topic.send(&messages(), 1);
    consume(&database, &[&topic]).await;
    check(&database).await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_intervals_over_http() {
    let database = TestDatabase::new().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("collector", &[Scope::Ingest], None).await;
    let headers = [bearer(&key), "content-type: application/cloudevents-batch+json".to_owned()];
    let sent = api.send("POST", "/api/v1/events", &headers, &format!("[{}]", messages().join(","))).await;
    assert_eq!(sent.status, 422, "{sent:?}");
    let told = sent.json()["rejections"].to_string();
    for detail in ["data.attributes.region: unknown; the attributes are", "data.ended_at: lies before time"] {
        assert!(told.contains(detail), "{told}");
    }
    check(&database).await;
    database.drop_it().await;
}
