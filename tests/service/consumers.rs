//! Consumers that restart, join and leave; offsets that the broker lost.

use crate::support::*;
use apportion::ingest::consumer::{self, ConsumerError};
use apportion::telemetry::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn lines(count: u32) -> Vec<String> {
    (0..count).map(|n| event(&format!("e{n}"), u64::from(n), 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_topic_is_known() {
    let database = TestDatabase::new().await;
    let (topic, copy) = (TestTopic::new(3).await, TestTopic::new(2).await);
    let lines = lines(5000);
    topic.send(&lines, 3);
    copy.send(&lines, 2);
    let first = consume(&database, &[&topic]).await;
    assert_eq!((first.messages, first.stored), (5000, 5000));
    // The database stands at the end: another group of the same topic reads nothing.
    assert_eq!(consume(&database, &[&topic]).await.messages, 0);
    let second = consume(&database, &[&copy]).await;
    assert_eq!((second.messages, second.duplicates), (5000, 5000));
    database.audit().await;
    topic.delete().await;
    copy.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_join_and_leave_and_nothing_counts_twice() {
    const EVENTS: u32 = 40_000;
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(6).await;
    topic.send(&lines(EVENTS), 6);
    let group = random_name("group_");
    let start = |until_caught_up: bool| {
        let mut config = config(&group, &[&topic]);
        config.batch_messages = 200;
        config.until_caught_up = until_caught_up;
        config.properties.insert("session.timeout.ms".into(), "6000".into());
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let running = tokio::spawn(consumer::run(config, database.pool.clone(), metrics, stop.clone()));
        (stop, running)
    };
    let (_stay, staying) = start(true);
    let mut moved = 0;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (stop, passing) = start(false);
        tokio::time::sleep(Duration::from_secs(4)).await;
        stop.cancel();
        moved += passing.await.expect("joined").expect("stopped").messages;
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), staying).await.expect("within a minute");
    let stayed = ended.expect("joined").expect("caught up").messages;
    println!("the one that stayed stored {stayed}, those that passed {moved}");
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"]), (i64::from(EVENTS), i64::from(EVENTS)));
    let sum = i64::from(EVENTS) * (i64::from(EVENTS) - 1) / 2;
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, sum);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_the_broker_lost_halts_its_partition() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    topic.send(&lines(10), 1);
    consume(&database, &[&topic]).await;
    topic.send(&lines(20), 1);
    topic.lose_before(0, 15).await;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let config = config(&random_name("group_"), &[&topic]);
    let running = consumer::run(config, database.pool.clone(), Arc::clone(&metrics), CancellationToken::new());
    let outcome = tokio::time::timeout(Duration::from_secs(60), running).await.expect("within a minute");
    assert!(matches!(outcome, Err(ConsumerError::Halted { next: 10, low: 15, high: 30, .. })), "{outcome:?}");
    assert_eq!(database.number("select next_offset from kafka_offset").await, 10);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speed_is_told() {
    const EVENTS: u32 = 100_000;
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(4).await;
    topic.send(&lines(EVENTS), 4);
    let started = std::time::Instant::now();
    let counts = consume(&database, &[&topic]).await;
    let seconds = started.elapsed();
    println!("{EVENTS} events in {seconds:?}: {} a second", u128::from(EVENTS) * 1000 / seconds.as_millis().max(1));
    assert_eq!(counts.stored, EVENTS);
    topic.delete().await;
    database.drop_it().await;
}
