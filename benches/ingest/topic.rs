//! The topic that everything is read from, and the ways to read it that store nothing.

use crate::events::event;
use apportion::sources::cloudevents::{CONTENT_TYPE, decode_structured};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 4;

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub brokers: String,
    pub events: u64,
}

impl Topic {
    /// A fresh topic with so many events, in turn to its partitions.
    pub async fn filled(brokers: &str, events: u64) -> Self {
        let topic = Self { events, ..Self::empty(brokers).await };
        let producer = topic.producer("20");
        (0..events).for_each(|place| topic.send(&producer, place));
        producer.flush(PATIENCE).expect("all sent");
        topic
    }

    /// A fresh topic.
    pub async fn empty(brokers: &str) -> Self {
        let name = format!("apportion_bench_{:016x}", rand::random::<u64>());
        let topic = Self { name, brokers: brokers.to_owned(), events: 0 };
        let new = NewTopic::new(&topic.name, PARTITIONS, TopicReplication::Fixed(1));
        let created = topic.admin().create_topics(&[new], &AdminOptions::new()).await.expect("Kafka answers");
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        topic
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("an admin client")
    }

    fn producer(&self, linger_ms: &str) -> ThreadedProducer<DefaultProducerContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("linger.ms", linger_ms);
        config.create().expect("a producer")
    }

    fn send(&self, producer: &ThreadedProducer<DefaultProducerContext>, place: u64) {
        let value = event(place);
        let partition = i32::try_from(place % u64::from(PARTITIONS.unsigned_abs())).expect("a partition");
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
        let mut record = BaseRecord::<(), str>::to(&self.name).partition(partition).payload(&value).headers(headers);
        while let Err((error, unsent)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            std::thread::sleep(Duration::from_millis(5));
            record = unsent;
        }
    }

    /// Sends so many events a second, each at its moment since some instant.
    pub fn send_each(&self, begun: Instant, per_second: u64, events: u64) {
        let producer = self.producer("0");
        for place in 0..events {
            let moment = Duration::from_nanos(place * 1_000_000_000 / per_second);
            std::thread::sleep(moment.saturating_sub(begun.elapsed()));
            self.send(&producer, place);
        }
        producer.flush(PATIENCE).expect("all sent");
    }

    /// Reads the first so many events, and does something with the bytes of each.
    pub fn read(&self, events: u64, mut with: impl FnMut(&[u8])) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "apportion_bench")
            .set("enable.auto.commit", "false")
            .set("fetch.queue.backoff.ms", "10")
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&self.name, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("assigned");
        for _ in 0..events {
            let message = consumer.poll(PATIENCE).expect("a message in time").expect("a message");
            with(message.payload().expect("a value"));
        }
    }

    /// Reads and decodes all events.
    pub fn decode(&self) {
        self.read(self.events, |bytes| drop(decode_structured(bytes).expect("usage")));
    }

    pub async fn delete(self) {
        let deleted = self.admin().delete_topics(&[&self.name], &AdminOptions::new()).await.expect("Kafka answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }
}
