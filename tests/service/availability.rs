//! Outcomes of requests: counted by cloud after corrections, and without any effect on what is rated.

use crate::support::*;
use apportion::domain::period::{Instant, Span, Timeline, parse_instant};
use apportion::jobs::availability::availability_by_cloud;
use apportion::store::rollups::load_usage;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

fn reported(id: &str, time: &str, deployment: &str, outcome: &str) -> String {
    let outcome = format!(r#""customer":"c1","outcome":"{outcome}","#);
    event_at(id, time, deployment, 10, 1).replace(r#""customer":"c1","#, &outcome)
}

fn lines() -> Vec<String> {
    vec![
        reported("a1", "2026-05-01T00:10:00Z", "east", "ok"),
        reported("a2", "2026-05-01T00:30:00Z", "east", "ok"),
        reported("a3", "2026-05-01T01:30:00Z", "west", "error"),
        event_at("a4", "2026-05-01T01:40:00Z", "east", 10, 1),
        // the same again; another outcome is other content
        reported("a2", "2026-05-01T00:30:00Z", "east", "ok"),
        reported("a2", "2026-05-01T00:30:00Z", "east", "error"),
        event_at("a2", "2026-05-01T00:30:00Z", "east", 10, 1),
        reported("a5", "2026-05-01T01:20:00Z", "east", "ok"),
        reported("a6", "2026-05-01T01:50:00Z", "east", "ok"),
        reported("a7", "2026-05-01T01:10:00Z", "nowhere", "ok"),
        void("v", "a5"),
        correction("k", "a6", r#""outcome":"error""#),
    ]
}

async fn shown(database: &TestDatabase, from: &str, to: &str) -> Value {
    let span = Span { start: at(from), end: at(to) };
    let found = availability_by_cloud(&database.pool, span).await.expect("counts");
    serde_json::to_value(found).expect("JSON")
}

fn row(cloud: Value, counts: [i64; 3], availability: Value) -> Value {
    let [ok, error, not_reported] = counts;
    json!({"cloud": cloud, "ok": ok, "error": error, "not_reported": not_reported, "availability": availability})
}

#[tokio::test(flavor = "multi_thread")]
async fn availability_counts_events_by_cloud_after_corrections() {
    for size in [100, 1] {
        let database = TestDatabase::new().await;
        let mut writer = database.writer().await;
        for lines in lines().chunks(size) {
            write_lines(&mut writer, lines).await;
        }
        let counts = database.counts().await;
        assert_eq!((counts["duplicate"], counts["conflict"], counts["correction_applied"]), (1, 2, 1));
        let day = shown(&database, "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z").await;
        let nowhere = row(Value::Null, [1, 0, 0], "1".into());
        assert_eq!(day, json!([row("azure".into(), [2, 2, 1], "0.5".into()), nowhere]));
        // Inside hours: from a2 on, and before a6.
        let part = shown(&database, "2026-05-01T00:30:00Z", "2026-05-01T01:50:00Z").await;
        assert_eq!(part, json!([row("azure".into(), [1, 1, 1], "0.5".into()), nowhere]));
        let one = shown(&database, "2026-05-01T01:35:00Z", "2026-05-01T01:45:00Z").await;
        assert_eq!(one, json!([row("azure".into(), [0, 0, 1], Value::Null)]));
        database.audit().await;
        database.drop_it().await;
    }
}

/// What a settlement rates, with the hours opened in which the span begins and ends.
async fn rated(lines: &[String]) -> String {
    let database = TestDatabase::new().await;
    write_lines(&mut database.writer().await, lines).await;
    let now = database.watermark().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let cuts = ["2026-05-01T01:35:00Z"].map(at);
    let timeline = Timeline::new(at("2026-05-01T00:20:00Z"), at("2026-05-02T00:00:00Z"), cuts);
    let usage = load_usage(&mut conn, &timeline, &BTreeMap::new(), now).await.expect("usage");
    drop(conn);
    database.drop_it().await;
    assert!(usage.len() >= 6, "{usage:?}");
    format!("{usage:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rated_does_not_depend_on_outcomes() {
    let first: Vec<String> = lines().into_iter().filter(|line| !line.contains("corrects")).collect();
    let without = |line: &String| line.replace(r#""outcome":"ok","#, "").replace(r#""outcome":"error","#, "");
    let stripped: Vec<String> = first.iter().map(without).collect();
    assert_ne!(first, stripped);
    assert_eq!(rated(&first).await, rated(&stripped).await);
}
