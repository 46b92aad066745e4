//! The consumer's connection to Kafka breaks, stalls, is slow or half closed, and offsets are lost while the broker
//! cannot be asked: no usage is lost, none counts twice, and a partition that cannot go on says why.

use crate::http::get;
use crate::instance::*;
use crate::link::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A client that learns sooner than by default of a connection on which nobody answers.
const IMPATIENT: [(&str, &str); 3] = [
    ("APPORTION_KAFKA__PROPERTIES__SOCKET_TIMEOUT_MS", "2000"),
    ("APPORTION_KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS", "100"),
    ("APPORTION_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "6000"),
];

async fn start(database: &TestDatabase, topic: &TestTopic) -> (Link, Process, SocketAddr) {
    let (mut links, there) = Link::to_kafka(&brokers()).await;
    let mut command = consumer(&database.url, &there, &topic.name, "one");
    // A group of its own, as others test beside it.
    command.env("APPORTION_KAFKA__GROUP_ID", &topic.name).envs(IMPATIENT);
    let (process, address) = Process::serving(command);
    (links.pop().expect("a link"), process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_the_way_to_kafka_nothing_is_lost_or_doubled() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(PARTITIONS).await);
    let (link, mut process, _) = start(&database, &topic).await;
    let (lines, totals) = requests();
    let mut parts = Parts::of(&lines, 6, &topic, PARTITIONS);
    wait_for(&database, parts.send(), Instant::now() + TIME_LIMIT).await;
    assert!(link.fetches() > 0, "usage comes by the link");
    let seconds = Duration::from_secs;
    for (condition, lasts, passes) in [
        (Condition::Slow(Duration::from_millis(100)), seconds(1), true),
        (Condition::Cut, seconds(3), false),
        (Condition::Stalled, seconds(3), false),
        (Condition::ServiceGone, seconds(1), true),
        (Condition::ServerGone, seconds(1), true),
    ] {
        println!("{condition:?}");
        let before = progress(&database).await.expect("Postgres answers");
        link.set(condition);
        let sent = parts.send();
        tokio::time::sleep(lasts).await;
        let after = progress(&database).await.expect("Postgres answers");
        assert!(passes || after == before, "{condition:?}: {before} messages were stored, then {after}");
        if !passes {
            link.set(Condition::Whole);
        }
        wait_for(&database, sent, Instant::now() + TIME_LIMIT).await;
        link.set(Condition::Whole);
    }
    assert_eq!(process.child.try_wait().expect("its status"), None, "the consumer lives");
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"]), (EVENTS as i64, EVENTS as i64), "{counts:?}");
    check_totals(&database, totals).await;
    process.kill();
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_lost_while_the_broker_cannot_be_asked_halts_its_partition_once_it_can() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(1).await);
    let (link, mut process, address) = start(&database, &topic).await;
    let lines: Vec<String> = (0..30).map(|n| event(&format!("e{n}"), n, 1)).collect();
    topic.send(&lines[..10], 1);
    wait_for(&database, 10, Instant::now() + TIME_LIMIT).await;
    link.set(Condition::Cut);
    topic.send(&lines[10..], 1);
    topic.lose_before(0, 15).await;
    link.set_deaf(Some(LIST_OFFSETS));
    link.set(Condition::Whole);
    // Longer than the consumer waits for the answer.
    tokio::time::sleep(Duration::from_secs(12)).await;
    link.set_deaf(None);
    let told = async {
        loop {
            let (status, why) = get(address, "/readyz").await;
            if why.contains(&format!("halted, as the broker lost their next offset: {}/0", topic.name)) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let status = tokio::time::timeout(TIME_LIMIT, told).await.expect("it says why it stands still");
    assert_eq!(status, 503);
    assert_eq!(process.child.try_wait().expect("its status"), None, "the consumer lives");
    // Nothing was skipped.
    assert_eq!(database.number("select next_offset from kafka_offset").await, 10);
    assert_eq!(database.counts().await["messages"], 10);
    process.kill();
    topic.delete().await;
    database.drop_it().await;
}
