//! The steady state: events that come one by one, and how long until each can be queried.

use crate::topic::Topic;
use crate::{Database, consumer_config};
use apportion::ingest::consumer;
use apportion::store;
use apportion::telemetry::Metrics;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the database is asked how far it is: the error of what is told.
const ASKED: Duration = Duration::from_millis(4);

/// How long events come before they are looked at: partitions are assigned, and plans are made.
const WARMING_UP: Duration = Duration::from_secs(8);

/// Sends so many events a second for so many seconds; tells the median, and what 99 of 100 take at most.
pub async fn measure(server: &str, brokers: &str, per_second: u64, seconds: u64) {
    let database = Database::new(server).await;
    store::migrate(&database.pool).await.expect("migrations");
    let topic = Topic::empty(brokers).await;
    let stop = CancellationToken::new();
    let config = consumer::ConsumerConfig { until_caught_up: false, ..consumer_config(&topic) };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let consuming = tokio::spawn(consumer::run(config, database.pool.clone(), metrics, stop.clone()));
    let events = per_second * seconds + per_second * WARMING_UP.as_secs();
    let (begun, producing) = (Instant::now(), topic.clone());
    let producing = tokio::task::spawn_blocking(move || producing.send_each(begun, per_second, events));
    let mut stored = Vec::new();
    while stored.last().is_none_or(|(_, count)| *count < events) {
        tokio::time::sleep(ASKED).await;
        let count = read_so_far(&database.pool).await;
        if stored.last().is_none_or(|(_, last)| *last < count) {
            stored.push((begun.elapsed(), count));
        }
    }
    producing.await.expect("all sent");
    stop.cancel();
    consuming.await.expect("it ends").expect("it consumed");
    tell(&stored, per_second, events);
    topic.delete().await;
    database.drop().await;
}

/// How many messages are stored: the offsets move in the transactions that store them.
async fn read_so_far(pool: &PgPool) -> u64 {
    let sum = sqlx::query_scalar("select coalesce(sum(next_offset), 0)::bigint from kafka_offset");
    let count: i64 = sum.fetch_one(pool).await.expect("a count");
    u64::try_from(count).expect("a count")
}

fn tell(stored: &[(Duration, u64)], per_second: u64, events: u64) {
    let mut seen = stored.iter().peekable();
    let mut waits: Vec<Duration> = Vec::new();
    for place in 0..events {
        let sent = Duration::from_nanos(place * 1_000_000_000 / per_second);
        while seen.next_if(|(_, count)| *count <= place).is_some() {}
        let (at, _) = seen.peek().expect("all were stored");
        if sent >= WARMING_UP {
            waits.push(at.saturating_sub(sent));
        }
    }
    waits.sort_unstable();
    let percentile = |of: usize| waits[(waits.len() - 1) * of / 100].as_millis();
    println!(
        "{per_second} events/s: from sent to queryable {} ms (median), {} ms (99 of 100)",
        percentile(50),
        percentile(99)
    );
}
