//! The producer: idempotent, acknowledged by all replicas, with a bounded queue that makes the sender wait.

use super::message::Message;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long Kafka may take to answer at all.
const ANSWER: Duration = Duration::from_secs(15);

/// How long Kafka may take to acknowledge what is still queued at the end.
const FLUSH: Duration = Duration::from_secs(60);

/// Sending failed.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("Kafka at {brokers} does not answer; check kafka.brokers (KAFKA_BROKERS), or start Kafka (`make up`)")]
    Away { brokers: String },
    #[error("topic {topic} could not be created: {code}")]
    Topic { topic: String, code: RDKafkaErrorCode },
    #[error("topic {topic} could not be deleted: {code}")]
    NotDeleted { topic: String, code: RDKafkaErrorCode },
    #[error("kafka did not take {failed} messages; the first failed with: {first}")]
    Undelivered { failed: u64, first: String },
}

/// Client settings that producer and admin share: brokers, and what is passed on to librdkafka.
fn client(brokers: &str, properties: &BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    for (name, value) in properties {
        config.set(name, value);
    }
    config
}

/// A client for changing topics, and the topics that there are: by then Kafka has answered.
fn admin(brokers: &str, properties: &BTreeMap<String, String>) -> Result<(AdminClient<Quiet>, Metadata), ProduceError> {
    let admin: AdminClient<Quiet> = client(brokers, properties).create_with_context(Quiet)?;
    match admin.inner().fetch_metadata(None, ANSWER) {
        Ok(metadata) => Ok((admin, metadata)),
        Err(KafkaError::MetadataFetch(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut,
        )) => Err(ProduceError::Away { brokers: brokers.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

/// Creates the topics that are missing, with so many partitions each. One that exists stays as it is.
///
/// # Errors
/// Kafka cannot be reached, or refuses.
pub async fn ensure_topics(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    topics: &[String],
    partitions: i32,
) -> Result<(), ProduceError> {
    let (admin, _) = admin(brokers, properties)?;
    // A replication of -1 is the broker's own default.
    let wanted: Vec<NewTopic<'_>> =
        topics.iter().map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for result in admin.create_topics(&wanted, &options).await? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(ProduceError::Topic { topic, code }),
        }
    }
    Ok(())
}

/// What librdkafka logs of its own matters to whoever looks for a fault: what comes of it is told as an error.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka is not well");
    }
}

/// Counts what Kafka did not acknowledge.
#[derive(Default)]
struct Failures {
    count: AtomicU64,
    first: std::sync::OnceLock<String>,
}

#[derive(Clone, Default)]
struct Deliveries(Arc<Failures>);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka is not well; sending goes on when it is");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.0.count.fetch_add(1, Ordering::Relaxed);
            // Only the first says what went wrong; the rest are its company.
            let _ = self.0.first.set(error.to_string());
        }
    }
}

/// Sends messages to Kafka. Its calls block: use it on a thread of its own.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
    topic_prefix: String,
}

impl Producer {
    /// `topic_prefix` stands before the name of each topic, so that a trial keeps apart from real usage.
    ///
    /// # Errors
    /// The settings are refused by librdkafka.
    pub fn new(brokers: &str, properties: &BTreeMap<String, String>, topic_prefix: &str) -> Result<Self, ProduceError> {
        let deliveries = Deliveries::default();
        let inner = client(brokers, properties)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "20")
            .set("compression.type", "zstd")
            .set("queue.buffering.max.messages", "50000")
            .set("queue.buffering.max.kbytes", "65536")
            .create_with_context(deliveries.clone())?;
        Ok(Self { inner, deliveries, topic_prefix: topic_prefix.to_owned() })
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// Kafka's client refuses it, for another reason than a full queue.
    pub fn send(&self, message: &Message) -> Result<(), ProduceError> {
        let topic = format!("{}{}", self.topic_prefix, message.topic);
        let (value, mut headers) = (message.value(), OwnedHeaders::new());
        for (name, value) in message.headers() {
            headers = headers.insert(Header { key: &name, value: Some(&value) });
        }
        let mut record = BaseRecord::to(&topic).key(&message.key).payload(&value).headers(headers);
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until Kafka has acknowledged everything.
    ///
    /// # Errors
    /// A message was not acknowledged.
    pub fn finish(self) -> Result<(), ProduceError> {
        self.inner.flush(FLUSH)?;
        let failed = self.deliveries.0.count.load(Ordering::Relaxed);
        match self.deliveries.0.first.get() {
            Some(first) => Err(ProduceError::Undelivered { failed, first: first.clone() }),
            None => Ok(()),
        }
    }
}

/// Deletes the topics whose names start with a prefix.
///
/// # Errors
/// Kafka cannot be reached, or refuses.
pub async fn delete_topics(
    brokers: &str,
    properties: &BTreeMap<String, String>,
    prefix: &str,
) -> Result<(), ProduceError> {
    let (admin, metadata) = admin(brokers, properties)?;
    let old: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix)).collect();
    if old.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for result in admin.delete_topics(&old, &options).await? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(ProduceError::NotDeleted { topic, code }),
        }
    }
    Ok(())
}
