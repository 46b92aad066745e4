//! Consumers that restart, join and leave; offsets that the broker lost.

use crate::link::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use apportion::ingest::consumer::{self, ConsumerError};
use apportion::telemetry::Metrics;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
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
    assert_eq!((first.messages(), first.stored), (5000, 5000));
    // The database stands at the end: another group of the same topic reads nothing.
    assert_eq!(consume(&database, &[&topic]).await.messages(), 0);
    let second = consume(&database, &[&copy]).await;
    assert_eq!((second.messages(), second.duplicate), (5000, 5000));
    database.audit().await;
    topic.delete().await;
    copy.delete().await;
    database.drop_it().await;
}

/// Batches are in flight beside each other: a repeat may come while its first is not committed yet.
#[tokio::test(flavor = "multi_thread")]
async fn repeats_in_the_next_batch_are_known() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    let all: Vec<String> = (0..2000)
        .flat_map(|n| {
            let (id, before) = (format!("e{n}"), format!("e{}", n.max(20) - 20));
            // 20 events later each comes again, every tenth with other content; every hundredth is corrected at once.
            let again = event(&before, if n % 10 == 0 { 7 } else { 1 }, 1);
            let restated = r#""quantities":{"input_tokens":3}"#;
            let corrected = (n % 100 == 0).then(|| correction(&format!("k{n}"), &id, restated));
            [event(&id, 1, 1)].into_iter().chain((n >= 20).then_some(again)).chain(corrected)
        })
        .collect();
    topic.send(&all, 1);
    let mut config = config(&random_name("group_"), &[&topic]);
    config.batch_messages = 30;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let counts = consumer::run(config, database.pool.clone(), metrics, CancellationToken::new()).await.expect("read");
    assert_eq!((counts.messages(), counts.stored), (all.len() as u64, 2000));
    assert_eq!((counts.duplicate, counts.conflict, counts.correction_applied), (1782, 198, 20));
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 1980 + 60);
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_join_and_leave_and_nothing_counts_twice() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(6).await;
    let group = random_name("group_");
    let start = || {
        let mut config = config(&group, &[&topic]);
        config.batch_messages = 200;
        config.until_caught_up = false;
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let running = tokio::spawn(consumer::run(config, database.pool.clone(), Arc::clone(&metrics), stop.clone()));
        (stop, metrics, running)
    };
    let (stop_staying, _, staying) = start();
    let mut moved = Vec::new();
    let mut again: usize = 0;
    // Usage comes in while others join and leave: each time one has joined, and again once it has left.
    let (lines, totals) = requests();
    for part in lines.chunks(lines.len().div_ceil(4)) {
        let (stop, metrics, passing) = start();
        for few in part.chunks(500) {
            topic.send(few, 6);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let joined = async {
            while metrics.assigned() == 0 {
                topic.send(&lines[..100], 6);
                again += 100;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), joined).await.expect("partitions within a minute");
        // Leaves in the middle of what is left to read.
        topic.send(&lines[..5000], 6);
        again += 5000;
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.cancel();
        moved.push(passing.await.expect("joined").expect("stopped").messages());
    }
    let all = (EVENTS + again) as i64;
    let sql = "select coalesce(sum(messages), 0)::bigint from usage_batch";
    let waiting = async {
        while database.number(sql).await < all {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
    stop_staying.cancel();
    let stayed = staying.await.expect("joined").expect("stopped").messages();
    println!("the one that stayed stored {stayed}, those that passed {moved:?}");
    assert!(stayed > 0 && moved.iter().any(|messages| *messages > 0), "partitions moved");
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"], counts["duplicate"]), (all, EVENTS as i64, again as i64));
    check_totals(&database, totals).await;
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
async fn a_fence_on_one_partition_loses_nothing_of_another() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(2).await;
    let mut config = config(&random_name("group_"), &[&topic]);
    config.until_caught_up = false;
    let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new().expect("metrics")));
    let running = tokio::spawn(consumer::run(config, database.pool.clone(), metrics, stop.clone()));
    let wait_for = async |events: i64| {
        let waiting = async {
            while database.number("select count(*) from usage_event").await < events {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
    };
    let lines = lines(100);
    topic.send(&lines[..40], 2);
    wait_for(40).await;
    // Another consumer took five messages of partition 0 (their events are e40, e42, ... e48).
    let overtaken = "update kafka_offset set next_offset = 25 where partition = 0";
    assert_eq!(sqlx::query(overtaken).execute(&database.pool).await.expect("overtaken").rows_affected(), 1);
    topic.send(&lines[40..], 2);
    let back =
        sqlx::query("update kafka_offset set next_offset = 24 where partition = 0").execute(&database.pool).await;
    assert!(back.expect_err("refused").to_string().contains("only moves forward"));
    wait_for(95).await;
    stop.cancel();
    running.await.expect("joined").expect("stopped");
    assert_eq!(database.number("select count(*) from usage_event").await, 95);
    assert_eq!(database.number("select count(*) from usage_event where input_tokens % 2 = 1").await, 50);
    assert_eq!(database.number("select min(next_offset) from kafka_offset").await, 50);
    assert!(!database.counts().await.contains_key("duplicate"));
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_database_answers_is_no_fault() {
    let topic = TestTopic::new(1).await;
    // Nothing listens there.
    let pool = apportion::store::connect("postgres://127.0.0.1:1/none", 1).expect("a URL");
    let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new().expect("metrics")));
    let running = tokio::spawn(consumer::run(config("group", &[&topic]), pool, metrics, stop.clone()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(1), running).await.expect("at once");
    assert_eq!(stopped.expect("joined").expect("no fault").messages(), 0);
    topic.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_database_is_away_stays_in_its_group() {
    let database = TestDatabase::new().await;
    let (link, url) = Link::to_postgres(&database.url).await;
    let pool = apportion::store::connect(&url, 8).expect("a URL");
    let topic = TestTopic::new(1).await;
    let group = random_name("group_");
    let mut config = config(&group, &[&topic]);
    config.until_caught_up = false;
    // Whoever does not poll for so long is counted as gone.
    config.properties =
        [("max.poll.interval.ms", "10000"), ("session.timeout.ms", "10000")].map(|(k, v)| (k.into(), v.into())).into();
    let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new().expect("metrics")));
    let running = tokio::spawn(consumer::run(config, pool.clone(), metrics, stop.clone()));
    let stored = async |events: i64| {
        let waiting = async {
            while database.number("select count(*) from usage_event").await < events {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
    };
    let lines = lines(1000);
    topic.send(&lines[..100], 1);
    stored(100).await;
    link.set(Condition::Cut);
    topic.send(&lines[100..], 1);
    let asking: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("a client");
    let members = || {
        let groups = asking.fetch_group_list(Some(&group), Duration::from_secs(10)).expect("Kafka answers");
        groups.groups().iter().map(|group| group.members().len()).sum::<usize>()
    };
    assert_eq!(members(), 1);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(members(), 1, "it still is a member");
    link.set(Condition::Whole);
    stored(1000).await;
    stop.cancel();
    // The answer to the commit of the first may have been cut off: it is not counted again, by the consumer neither.
    running.await.expect("joined").expect("stopped");
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts.contains_key("duplicate")), (1000, false));
    database.audit().await;
    pool.close().await;
    topic.delete().await;
    database.drop_it().await;
}

async fn within_a_minute(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
}

/// As after an answer of the group that was lost: what joins again under the old name is refused for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_place_in_the_group_is_taken_begins_anew() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(2).await;
    let mut config = config(&random_name("group_"), &[&topic]);
    config.until_caught_up = false;
    config.properties = [("group.instance.id", "here"), ("session.timeout.ms", "6000")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    let mut other = ClientConfig::new();
    other.set("bootstrap.servers", &config.brokers).set("group.id", &config.group_id);
    other.set("partition.assignment.strategy", "cooperative-sticky");
    for (name, value) in &config.properties {
        other.set(name, value);
    }
    let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new().expect("metrics")));
    let running = tokio::spawn(consumer::run(config, database.pool.clone(), Arc::clone(&metrics), stop.clone()));
    let restarts = || {
        let text = String::from_utf8(metrics.render().expect("metrics")).expect("a text");
        let line = text.lines().find(|line| line.starts_with("apportion_consumer_restarts_total "));
        line.and_then(|line| line.split_once(' ')).map(|(_, value)| value.to_owned()).expect("the metric")
    };
    topic.send(&lines(100)[..50], 2);
    within_a_minute(async || database.number("select count(*) from usage_event").await == 50).await;
    assert_eq!(restarts(), "0");
    let other: BaseConsumer = other.create().expect("a client");
    other.subscribe(&[&topic.name]).expect("subscribed");
    within_a_minute(async || {
        other.poll(Duration::ZERO);
        restarts() != "0"
    })
    .await;
    drop(other);
    topic.send(&lines(100)[50..], 2);
    within_a_minute(async || database.number("select count(*) from usage_event").await == 100).await;
    stop.cancel();
    // Those of before count as well.
    assert_eq!(running.await.expect("joined").expect("stopped").stored, 100);
    assert_eq!(metrics.assigned(), 0);
    assert!(!database.counts().await.contains_key("duplicate"));
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}
