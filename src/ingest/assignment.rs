//! Which partitions a consumer holds, and where each stands in the database.
//!
//! librdkafka tells of a rebalance within a poll, on the thread that polls; so nothing here runs beside a
//! batch that is being stored.

use super::consumer::ConsumerError;
use super::writer::backoff;
use crate::store::StoreError;
use crate::store::offsets::{self, Advance};
use crate::telemetry::Metrics;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Where offsets are kept, and what is needed to ask.
pub(super) struct Assignment {
    pub(super) cluster_id: String,
    pub(super) topics: Vec<String>,
    pub(super) pool: PgPool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
    pub(super) runtime: Handle,
}

impl Assignment {
    /// The stored offsets; waits for a database that is away, until asked to stop.
    pub(super) fn load(&self) -> Result<BTreeMap<(String, i32), i64>, StoreError> {
        let mut failures = 0;
        loop {
            match self.runtime.block_on(offsets::load(&self.pool, &self.cluster_id, &self.topics)) {
                Err(error) if error.is_transient() && !self.stop.is_cancelled() => {
                    tracing::warn!(%error, "the database is away; waiting for it to say where to read");
                    std::thread::sleep(backoff(failures));
                    failures = failures.saturating_add(1);
                }
                outcome => return outcome,
            }
        }
    }
}

/// A partition that we hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The offset that the database expects next; none where it never stored any.
    pub(super) next: Option<i64>,
    /// Another number for each time that we got or moved it: what was read before does not count any more.
    pub(super) epoch: u64,
}

type HeldPartitions = HashMap<(String, i32), Held>;

#[derive(Default)]
struct State {
    held: HeldPartitions,
    epochs: u64,
    failure: Option<StoreError>,
    halted: Option<ConsumerError>,
}

pub(super) struct Context {
    pub(super) assignment: Assignment,
    held: Mutex<State>,
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
        Self { assignment, held: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked while holding it left whole entries: each change is one insert or removal.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> HeldGuard<'_> {
        HeldGuard(self.state())
    }

    /// What went wrong in a rebalance, once.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.state().failure.take()
    }

    /// Remembers that a partition is halted.
    pub(super) fn halted(&self, halted: ConsumerError) {
        self.state().halted = Some(halted);
    }

    pub(super) fn take_halted(&self) -> Option<ConsumerError> {
        self.state().halted.take()
    }

    /// A batch was committed.
    pub(super) fn advanced(&self, advances: &[Advance]) {
        let mut state = self.state();
        for Advance { topic, partition, next, .. } in advances {
            if let Some(held) = state.held.get_mut(&(topic.clone(), *partition)) {
                held.next = Some(*next);
            }
        }
    }

    /// A partition is read on from elsewhere.
    pub(super) fn moved(&self, topic: &str, partition: i32, next: Option<i64>) {
        let mut state = self.state();
        state.epochs = state.epochs.saturating_add(1);
        let epoch = state.epochs;
        if let Some(held) = state.held.get_mut(&(topic.to_owned(), partition)) {
            *held = Held { next, epoch };
        }
    }

    /// Starts each partition where the database stands.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> Result<(), KafkaError> {
        let stored = match self.assignment.load() {
            Ok(stored) => stored,
            Err(error) => {
                self.state().failure = Some(error);
                return Ok(());
            }
        };
        let assigned: Vec<(String, i32)> =
            partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        for (topic, partition) in assigned {
            let next = stored.get(&(topic.clone(), partition)).copied();
            let place = next.map_or(Offset::Beginning, Offset::Offset);
            partitions.set_partition_offset(&topic, partition, place)?;
            tracing::info!(topic, partition, ?next, "partition assigned");
            let mut state = self.state();
            state.epochs = state.epochs.saturating_add(1);
            let epoch = state.epochs;
            state.held.insert((topic, partition), Held { next, epoch });
        }
        consumer.incremental_assign(partitions)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            tracing::info!(topic, partition, "partition revoked");
            self.state().held.remove(&(topic.to_owned(), partition));
            self.assignment.metrics.forget_partition(topic, partition);
        }
        consumer.incremental_unassign(partitions)
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let state = self.state();
        for (topic, statistics) in &statistics.topics {
            for (partition, statistics) in &statistics.partitions {
                // -1 is librdkafka's own, for messages without a partition.
                if let Some(held) = state.held.get(&(topic.clone(), *partition)) {
                    let lag = statistics.hi_offset.saturating_sub(held.next.unwrap_or(statistics.lo_offset));
                    self.assignment.metrics.set_lag(topic, *partition, lag);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
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
        }
    }
}
