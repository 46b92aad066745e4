//! The consumer, Postgres and Kafka are killed while usage comes in; nothing is lost, nothing counts twice.
//!
//! Runs on an instance of the services of its own, as it kills them.

use crate::draw::Draw;
use crate::instance::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One in ten is sent again.
const DUPLICATES: usize = 2_819;
const PARTITIONS: i32 = 4;
const TIME_LIMIT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn kills_neither_lose_nor_double() {
    let instance = Instance::up("crash");
    let database = TestDatabase::at(&instance.database_url).await;
    let topic = TestTopic::at(&instance.brokers, PARTITIONS).await;
    let serve = || {
        let mut command = consumer(&database.url, &instance.brokers, &topic.name, "one");
        command.env("APPORTION_KAFKA__BATCH_MESSAGES", "50");
        Process::serving(command).0
    };
    let mut draw = Draw::new(seed());
    let (mut lines, totals) = requests();
    lines.extend(lines.clone().into_iter().step_by(10));
    topic.send(&lines, PARTITIONS);
    let all = lines.len() as i64;
    // Ten kills of the consumer, two of each service, at random places of the way.
    let killed = (0..10).map(|_| "consumer").chain(["postgres", "kafka", "postgres", "kafka"]);
    let mut kills: Vec<(i64, &str)> = killed.map(|what| (draw.below(all * 8 / 10), what)).collect();
    kills.sort_unstable();
    println!("kills, after how many messages: {kills:?}");
    let deadline = Instant::now() + TIME_LIMIT;
    let mut consumer = serve();
    let mut last = 0;
    for (messages, what) in kills {
        // Each kill finds a consumer that has got on since the last.
        wait_for(&database, messages.max(last + 1).min(all), deadline).await;
        tokio::time::sleep(Duration::from_millis(draw.below(30) as u64)).await;
        let stored = progress(&database).await;
        println!("killing {what} after {stored:?} messages");
        last = stored.unwrap_or(last);
        match what {
            "consumer" => {
                consumer.kill();
                consumer = serve();
            }
            service => instance.bounce(service),
        }
    }
    wait_for(&database, all, deadline).await;
    assert_eq!(consumer.child.try_wait().expect("its status"), None, "the consumer lives");
    consumer.kill();
    let counts = database.counts().await;
    assert_eq!(counts["messages"], all);
    assert_eq!((counts["stored"], counts["duplicate"]), (EVENTS as i64, DUPLICATES as i64));
    check_totals(&database, totals).await;
    assert_eq!(database.number("select sum(next_offset)::bigint from kafka_offset").await, all);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_killed_midway_goes_on_and_counts_once() {
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("usage.jsonl");
    let lines: Vec<String> = (0..EVENTS as u64 * 2).map(|n| event(&format!("e{n}"), n, n % 7)).collect();
    std::fs::write(&path, lines.join("\n")).expect("written");
    let ingest = || {
        Command::new(env!("CARGO_BIN_EXE_apportion"))
            .arg("ingest")
            .arg(&path)
            .env("DATABASE_URL", &database.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    let (all, deadline) = (lines.len() as i64, Instant::now() + TIME_LIMIT);
    let mut killed = ingest();
    wait_for(&database, 1, deadline).await;
    killed.kill().expect("killed");
    killed.wait().expect("it ended");
    let before = database.number("select count(*) from usage_event").await;
    assert!(ingest().wait().expect("it ended").success());
    assert_eq!(database.number("select count(*) from usage_event").await, all);
    // Nothing that was stored was read again.
    println!("{before} of {all} events were stored when it was killed");
    assert_eq!(database.counts().await["messages"], all);
    database.audit().await;
    database.drop_it().await;
}
