//! The Kafka cluster: how it is reached, which one it is, and what its topics hold.

use super::assignment::{ConsumerError, Context, TOLD_AGAIN};
use super::consumer::ConsumerConfig;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant as Clock};
use tokio_util::sync::CancellationToken;

/// How long to wait for an answer of the broker.
pub(super) const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of librdkafka on which "neither lost nor twice" rests; the configuration may not change them.
const RESERVED: [&str; 6] = [
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "partition.assignment.strategy",
];

/// How long Kafka waits for a poll before it counts a consumer as gone, where nothing else is configured.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// How long a batch may take: nothing is polled while it is waited for, so that the group would give its partitions
/// away. Somewhat less than that, to be polled in time after it was given up.
pub(super) fn patience(properties: &BTreeMap<String, String>) -> Duration {
    let configured = properties.get("max.poll.interval.ms").and_then(|interval| interval.parse().ok());
    configured.map_or(MAX_POLL_INTERVAL, Duration::from_millis) * 3 / 4
}

/// # Errors
/// Properties that are the consumer's own.
pub(super) fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), ConsumerError> {
    match properties.keys().find(|name| RESERVED.contains(&name.as_str())) {
        Some(name) => Err(ConsumerError::ReservedProperty { name: name.clone() }),
        None => Ok(()),
    }
}

pub(super) fn client(config: &ConsumerConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers).set("group.id", &config.group_id);
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client
}

/// The id of the cluster that answers; none if asked to stop before it did.
pub(super) fn id(config: &ConsumerConfig, stop: &CancellationToken) -> Result<Option<String>, KafkaError> {
    let probe: BaseConsumer = client(config).create()?;
    let topic = config.topics.keys().next().map(String::as_str);
    let mut told: Option<Clock> = None;
    while !stop.is_cancelled() {
        // The id comes with any answer; one that is only waited for comes when the client looks for brokers by itself,
        // which it does once a second.
        let answer = probe.fetch_metadata(topic, Duration::from_secs(2));
        if answer.is_ok()
            && let Some(id) = probe.client().fetch_cluster_id(Duration::from_secs(2))
        {
            return Ok(Some(id));
        }
        if told.is_none_or(|at| at.elapsed() >= TOLD_AGAIN) {
            tracing::warn!(brokers = config.brokers, "Kafka is away; waiting for it");
            told = Some(Clock::now());
        }
    }
    Ok(None)
}

/// What each partition must have reached: the offset after its last message now.
pub(super) type Goal = BTreeMap<(String, i32), i64>;

pub(super) fn goal<'a>(
    consumer: &BaseConsumer<Context>,
    topics: impl Iterator<Item = &'a String>,
) -> Result<Goal, KafkaError> {
    let mut goal = Goal::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT)?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), BROKER_TIMEOUT)?;
            if high > low {
                goal.insert((topic.clone(), partition.id()), high);
            }
        }
    }
    Ok(goal)
}
