//! Which partitions a consumer holds, and where each stands in the database.
//!
//! librdkafka tells of a rebalance within a poll, on the thread that polls. It is answered once the batches in flight are
//! over: so nothing here runs beside a batch that is being stored.

use super::turn::Watch;
use super::writer::backoff;
use crate::store::StoreError;
use crate::store::offsets::{self, Advance};
use crate::telemetry::Metrics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a fault that stays is not told of again.
pub(super) const TOLD_AGAIN: Duration = Duration::from_secs(30);

/// How long the database may take to say where to read.
const ANSWER: Duration = Duration::from_secs(10);

/// Why a consumer ends.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    #[error("the Kafka setting {name} is the consumer's own and cannot be configured")]
    ReservedProperty { name: String },
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{topic}/{partition}: halted, as the broker no longer has offset {next} (it has {low} to {high})")]
    Halted { topic: String, partition: i32, next: i64, low: i64, high: i64 },
    #[error("the consumer's thread ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Where offsets are kept, and what is needed to ask.
pub(super) struct Assignment {
    pub(super) cluster_id: String,
    pub(super) topics: Vec<String>,
    pub(super) pool: PgPool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    pub(super) runtime: Handle,
}

/// By topic and partition, the offset that the database expects next.
type Stored = BTreeMap<(String, i32), i64>;

impl Assignment {
    /// The stored offsets; waits for a database that is away. None if asked to stop meanwhile.
    pub(super) fn load(&self) -> Result<Option<Stored>, StoreError> {
        let mut failures = 0;
        loop {
            match self.runtime.block_on(self.ask()) {
                Err(error) if error.is_transient() => {
                    if self.stop.is_cancelled() {
                        return Ok(None);
                    }
                    tracing::warn!(%error, "the database is away; waiting for it to say where to read");
                    self.runtime.block_on(wait(failures, &self.stop));
                    failures = failures.saturating_add(1);
                }
                outcome => return outcome.map(Some),
            }
        }
    }

    /// Asks once. A connection on which nobody answers is closed, so that the next one is asked.
    async fn ask(&self) -> Result<Stored, StoreError> {
        let mut conn = self.pool.acquire().await?;
        match timeout(ANSWER, offsets::load(&mut *conn, &self.cluster_id, &self.topics)).await {
            Ok(stored) => stored,
            Err(_) => {
                conn.close_on_drop();
                Err(StoreError::Unanswered { seconds: ANSWER.as_secs() })
            }
        }
    }
}

/// Waits before what failed so often is tried again; not longer than until asked to stop.
pub(super) async fn wait(failures: u32, stop: &CancellationToken) {
    let _ = tokio::time::timeout(backoff(failures), stop.cancelled()).await;
}

/// Tells Kafka's client where a partition is read on; one in which it does not seek begins anew.
pub(super) fn seek_or_assign_anew(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    next: Option<i64>,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let place = next.map_or(Offset::Beginning, Offset::Offset);
    if consumer.seek(topic, partition, place, timeout).is_ok() {
        return Ok(());
    }
    // It does not seek in one that it reads no further since it told of an offset that it was refused: that begins anew.
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, partition, place)?;
    consumer.incremental_unassign(&partitions)?;
    consumer.incremental_assign(&partitions)
}

/// A partition that we hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The offset that the database expects next; none where it never stored any.
    pub(super) next: Option<i64>,
    /// Where the next batch begins: behind those in flight.
    pub(super) read: Option<i64>,
    /// Another number for each time that we got or moved it: what was read before does not count any more.
    pub(super) epoch: u64,
    /// Kafka's client still stands elsewhere: nothing that it hands out may be taken, as it may stand behind
    /// messages that were dropped.
    pub(super) unsought: bool,
}

impl Held {
    /// Whether a message is to be stored. A fetch returns whole record batches: those below the wanted offset
    /// are stored already.
    pub(super) fn takes(&self, offset: i64) -> bool {
        !self.unsought && self.read.is_none_or(|read| offset >= read)
    }
}

/// The partitions that we hold, by topic and number: asked for each message, without a copy of the topic's name.
#[derive(Default)]
pub(super) struct HeldPartitions(HashMap<String, HashMap<i32, Held>>);

impl HeldPartitions {
    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&Held> {
        self.0.get(topic)?.get(&partition)
    }

    fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Held> {
        self.0.get_mut(topic)?.get_mut(&partition)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32, &Held)> {
        self.0
            .iter()
            .flat_map(|(topic, of_topic)| of_topic.iter().map(|(number, held)| (topic.as_str(), *number, held)))
    }

    fn insert(&mut self, topic: String, partition: i32, held: Held) {
        self.0.entry(topic).or_default().insert(partition, held);
    }

    fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(of_topic) = self.0.get_mut(topic) {
            of_topic.remove(&partition);
        }
    }
}

#[derive(Default)]
struct State {
    held: HeldPartitions,
    epochs: u64,
    failure: Option<ConsumerError>,
    halted: Option<ConsumerError>,
    /// The last batch in flight: it is over when all are.
    in_flight: Option<Watch>,
    /// By fault of the client, when it was last told.
    told: Vec<(KafkaError, Clock)>,
}

impl State {
    fn next_epoch(&mut self) -> u64 {
        self.epochs = self.epochs.saturating_add(1);
        self.epochs
    }
}

pub(super) struct Context {
    pub(super) assignment: Assignment,
    state: Mutex<State>,
}

/// A lock on the held partitions that shows nothing else.
pub(super) struct HeldGuard<'a>(MutexGuard<'a, State>);

impl std::ops::Deref for HeldGuard<'_> {
    type Target = HeldPartitions;

    fn deref(&self) -> &HeldPartitions {
        &self.0.held
    }
}

impl Context {
    pub(super) fn new(assignment: Assignment) -> Self {
        Self { assignment, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked while holding it left whole entries: each change is one insert or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> HeldGuard<'_> {
        HeldGuard(self.state())
    }

    /// Nothing is held any more, whether or not Kafka's client told so as it ended.
    pub(super) fn let_go(&self) {
        let held = std::mem::take(&mut self.state().held);
        for (topic, partition, _) in held.iter() {
            self.assignment.metrics.forget_partition(topic, partition);
        }
        self.assignment.metrics.set_assigned(0);
        self.assignment.metrics.set_connected_brokers(0);
    }

    /// What went wrong in a rebalance, once.
    pub(super) fn take_failure(&self) -> Option<ConsumerError> {
        self.state().failure.take()
    }

    /// Whether a fault was not told of lately. While Kafka is away its client reports the same ones all the time.
    fn is_news(&self, error: &KafkaError) -> bool {
        let told = &mut self.state().told;
        told.retain(|(_, at)| at.elapsed() < TOLD_AGAIN);
        let is_news = told.iter().all(|(other, _)| other != error);
        if is_news {
            told.push((error.clone(), Clock::now()));
        }
        is_news
    }

    /// Remembers that a partition is halted.
    pub(super) fn halted(&self, halted: ConsumerError) {
        self.state().halted = Some(halted);
    }

    pub(super) fn take_halted(&self) -> Option<ConsumerError> {
        self.state().halted.take()
    }

    /// A batch is in flight, behind those that are.
    pub(super) fn begun(&self, advances: &[Advance], batch: Watch) {
        let mut state = self.state();
        for Advance { topic, partition, next, .. } in advances {
            if let Some(held) = state.held.get_mut(topic, *partition) {
                held.read = Some(*next);
            }
        }
        state.in_flight = Some(batch);
    }

    /// A batch was committed.
    pub(super) fn advanced(&self, advances: &[Advance]) {
        let mut state = self.state();
        for Advance { topic, partition, next, .. } in advances {
            if let Some(held) = state.held.get_mut(topic, *partition) {
                held.next = Some(*next);
            }
        }
    }

    /// A partition is to be read on from elsewhere, once Kafka's client was told so.
    pub(super) fn moved(&self, topic: &str, partition: i32, next: Option<i64>) {
        let mut state = self.state();
        let epoch = state.next_epoch();
        if let Some(held) = state.held.get_mut(topic, partition) {
            *held = Held { next, read: next, epoch, unsought: true };
        }
    }

    /// A partition is to be read on from where it stands, batches in flight included, once Kafka's client was told so.
    pub(super) fn stands(&self, topic: &str, partition: i32) {
        let mut state = self.state();
        let epoch = state.next_epoch();
        if let Some(held) = state.held.get_mut(topic, partition) {
            // What was gathered of it comes again.
            (held.epoch, held.unsought) = (epoch, true);
        }
    }

    /// The partitions of which Kafka's client is still to be told where they are read on.
    pub(super) fn unsought(&self) -> Vec<(String, i32, Option<i64>)> {
        let state = self.state();
        let unsought = state.held.iter().filter(|(_, _, held)| held.unsought);
        unsought.map(|(topic, partition, held)| (topic.to_owned(), partition, held.read)).collect()
    }

    /// Kafka's client stands where the partition is read on.
    pub(super) fn sought(&self, topic: &str, partition: i32) {
        if let Some(held) = self.state().held.get_mut(topic, partition) {
            held.unsought = false;
        }
    }

    /// Starts each partition where the database stands.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> Result<(), ConsumerError> {
        let Some(stored) = self.assignment.load()? else { return Ok(()) };
        let assigned: Vec<(String, i32)> =
            partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        for (topic, partition) in assigned {
            let next = stored.get(&(topic.clone(), partition)).copied();
            let place = next.map_or(Offset::Beginning, Offset::Offset);
            partitions.set_partition_offset(&topic, partition, place)?;
            tracing::info!(topic, partition, ?next, "partition assigned");
            let mut state = self.state();
            let epoch = state.next_epoch();
            state.held.insert(topic, partition, Held { next, read: next, epoch, unsought: false });
            self.assignment.metrics.set_assigned(state.held.iter().count());
        }
        Ok(consumer.incremental_assign(partitions)?)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), ConsumerError> {
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            tracing::info!(topic, partition, "partition revoked");
            let mut state = self.state();
            state.held.remove(topic, partition);
            self.assignment.metrics.set_assigned(state.held.iter().count());
            self.assignment.metrics.forget_partition(topic, partition);
        }
        Ok(consumer.incremental_unassign(partitions)?)
    }
}

impl ClientContext for Context {
    /// What librdkafka logs of its own. Faults of connections also come as errors, and are told there.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            _ if facility == "FAIL" || facility == "ERROR" => tracing::debug!(facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, "{message}");
            }
            _ => tracing::warn!(facility, "{message}"),
        }
    }

    /// The poll returns the same fault, without the reason: it is told here, and only here.
    fn error(&self, error: KafkaError, reason: &str) {
        // Each topic that does not exist is told of, though all in the same words.
        let is_of_topic = error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition);
        if is_of_topic || self.is_news(&error) {
            tracing::warn!(%error, reason, "Kafka is not well; reading goes on when it is");
        }
    }

    fn stats(&self, statistics: Statistics) {
        // A broker may stand there twice, as itself and as the group's coordinator; a negative id is none yet.
        let connected = statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.state == "UP");
        let connected: BTreeSet<i32> = connected.map(|broker| broker.nodeid).collect();
        self.assignment.metrics.set_connected_brokers(connected.len());
        let state = self.state();
        for (topic, statistics) in &statistics.topics {
            for (partition, statistics) in &statistics.partitions {
                // -1 is librdkafka's own, for messages without a partition.
                if let Some(held) = state.held.get(topic, *partition) {
                    let lag = lag(held.next, statistics.lo_offset, statistics.hi_offset);
                    self.assignment.metrics.set_lag(topic, *partition, lag);
                }
            }
        }
    }
}

/// How many messages are left to read. librdkafka gives a negative offset where it knows none yet.
fn lag(next: Option<i64>, low: i64, high: i64) -> i64 {
    high.max(0).saturating_sub(next.unwrap_or(low).max(0)).max(0)
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let in_flight = self.state().in_flight.take();
        if let Some(batch) = in_flight {
            self.assignment.runtime.block_on(batch.over());
        }
        let answered = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            // Lost without warning or asked back: either way another may hold them already.
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, partitions),
            other => {
                tracing::error!(?other, "rebalance failed; the group tries again");
                return;
            }
        };
        if let Err(error) = answered {
            tracing::error!(%error, "the rebalance could not be answered");
            self.state().failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::turn::Turn;

    #[test]
    fn a_lag_is_never_negative() {
        let unknown = -1001;
        let cases = [
            ((Some(7), 0, 10), 3),
            ((None, 4, 10), 6),
            ((None, unknown, 10), 10),
            ((None, unknown, unknown), 0),
            ((Some(7), unknown, unknown), 0),
            ((Some(7), 0, 5), 0),
        ];
        for ((next, low, high), expected) in cases {
            assert_eq!(lag(next, low, high), expected, "{next:?} {low} {high}");
        }
    }

    #[tokio::test]
    async fn a_partition_that_was_moved_is_not_read_until_it_was_sought() {
        let context = Context::new(Assignment {
            cluster_id: "cluster".into(),
            topics: Vec::new(),
            pool: crate::store::connect("postgres://127.0.0.1:1/none", 1).expect("a URL"),
            metrics: Arc::new(Metrics::new().expect("metrics")),
            stop: CancellationToken::new(),
            runtime: Handle::current(),
        });
        let held = Held { next: Some(20), read: Some(20), epoch: 0, unsought: false };
        context.state().held.insert("t".to_owned(), 1, held);
        let takes = |offset| context.held().get("t", 1).is_some_and(|held| held.takes(offset));
        assert!(takes(20) && !takes(19));
        // A batch with 20 to 29 was dropped; the client stands at 30, and the seek to 20 fails.
        context.moved("t", 1, Some(20));
        assert!(!takes(30) && !takes(20));
        assert_eq!(context.unsought(), [("t".to_owned(), 1, Some(20))]);
        context.sought("t", 1);
        assert!(takes(20) && context.unsought().is_empty());
        // With 20 to 29 in flight it is read on from 30, whatever happens to the client.
        let advance = Advance { topic: "t".to_owned(), partition: 1, expected: Some(20), next: 30 };
        context.begun(&[advance], Turn::behind(None).watch());
        context.stands("t", 1);
        assert!(!takes(30));
        assert_eq!(context.unsought(), [("t".to_owned(), 1, Some(30))]);
        context.sought("t", 1);
        assert!(takes(30) && !takes(29));
        // One that is not held any more is nobody's to seek.
        context.moved("t", 2, Some(5));
        context.sought("t", 2);
        assert!(context.unsought().is_empty() && context.held().get("t", 2).is_none());
    }
}
