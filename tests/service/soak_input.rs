//! What the soak sends: events drawn from a seed, at a steady pace, some of them again; and what was sent, which is what
//! Kafka has acknowledged.

use crate::draw::Draw;
use crate::support::event_at;
use apportion::sources::cloudevents::CONTENT_TYPE;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const PARTITIONS: i32 = 6;

/// How many messages are sent at once, and how long after the last.
const BURST: u32 = 40;
const PAUSE: Duration = Duration::from_millis(100);

/// How many of a hundred messages are events that were sent before.
const REPEATED: i64 = 5;

/// What Kafka has.
#[derive(Debug)]
pub struct Sent {
    pub messages: i64,
    pub events: i64,
    /// Input and output, of each event once.
    pub tokens: [i64; 2],
}

#[derive(Clone, Default)]
struct Acknowledged {
    messages: Arc<AtomicI64>,
    refused: Arc<AtomicI64>,
}

impl ClientContext for Acknowledged {
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {
        // Brokers come and go.
    }
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let count = if result.is_ok() { &self.messages } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Sending {
    /// Dropped, also when the test fails, it ends.
    stop: DropGuard,
    thread: tokio::task::JoinHandle<Sent>,
}

impl Sending {
    pub fn start(brokers: &str, topic: &str, seed: u64) -> Self {
        let acknowledged = Acknowledged::default();
        let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            // What is sent again after an answer was lost stands once.
            .set("enable.idempotence", "true")
            // Until it is acknowledged, however long that takes.
            .set("message.timeout.ms", "0")
            .create_with_context(acknowledged.clone())
            .expect("a producer");
        let (stop, topic) = (CancellationToken::new(), topic.to_owned());
        let stopped = stop.clone();
        let thread = tokio::task::spawn_blocking(move || send(&producer, &acknowledged, &topic, seed, &stopped));
        Self { stop: stop.drop_guard(), thread }
    }

    /// Ends, and waits until all is acknowledged.
    pub async fn end(self) -> Sent {
        drop(self.stop);
        self.thread.await.expect("sent")
    }
}

/// The event of a number: the same each time. Its input and output tokens.
fn numbered(seed: u64, number: i64) -> (String, [i64; 2]) {
    let mut draw = Draw::new(seed.wrapping_add(1 + number as u64));
    let (input, output) = (draw.below(100_000), draw.below(5_000));
    let time = format!("2026-05-{:02}T{:02}:{:02}:00Z", draw.between(1, 28), draw.below(24), draw.below(60));
    let line = event_at(&format!("e{number}"), &time, draw.pick(&["east", "west"]), input as u64, output as u64);
    (line.replace("\"c1\"", &format!("\"customer {}\"", draw.below(500))), [input, output])
}

fn send(
    producer: &ThreadedProducer<Acknowledged>,
    acknowledged: &Acknowledged,
    topic: &str,
    seed: u64,
    stop: &CancellationToken,
) -> Sent {
    let mut draw = Draw::new(seed);
    let mut sent = Sent { messages: 0, events: 0, tokens: [0, 0] };
    while !stop.is_cancelled() {
        for _ in 0..BURST {
            let is_new = sent.events == 0 || !draw.chance(REPEATED);
            let (line, tokens) = numbered(seed, if is_new { sent.events } else { draw.below(sent.events) });
            let header = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(CONTENT_TYPE) });
            let partition = draw.below(PARTITIONS.into()) as i32;
            let record = BaseRecord::<(), str>::to(topic).partition(partition).headers(header).payload(&line);
            producer.send(record).map_err(|(error, _)| error).expect("there is room in its queue");
            sent.messages += 1;
            if is_new {
                sent.events += 1;
                sent.tokens = [sent.tokens[0] + tokens[0], sent.tokens[1] + tokens[1]];
            }
        }
        std::thread::sleep(PAUSE);
    }
    producer.flush(Duration::from_secs(120)).expect("all is acknowledged");
    let count = |count: &AtomicI64| count.load(Ordering::Relaxed);
    assert_eq!((count(&acknowledged.messages), count(&acknowledged.refused)), (sent.messages, 0), "all was taken");
    sent
}
