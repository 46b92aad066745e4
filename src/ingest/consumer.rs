//! Reads topics into Postgres: exactly once, whatever restarts, moves or dies.
//!
//! Postgres is the truth about offsets: a partition that is assigned starts where Postgres says, and each
//! batch moves that offset in the transaction that stores it, fenced by the offset expected. Nothing is
//! committed to Kafka. An offset that the broker does not have any more halts its partition.

pub use super::assignment::ConsumerError;
use super::assignment::{Assignment, Context, seek_or_assign_anew, wait};
use super::cluster;
use super::gathered::{Gathered, Topic};
use super::in_flight::{Batch, Ended, InFlight};
use super::writer::{Offsets, Writer, backoff};
use crate::domain::outcome::Counts;
use crate::sources::Reader;
use crate::store::StoreError;
use crate::store::offsets;
use crate::telemetry::Metrics;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sqlx::PgPool;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How long one poll waits: also how soon a request to stop is seen.
const POLL: Duration = Duration::from_millis(50);

/// How long until it is asked again whether topics that did not exist do now.
const TOPICS_AGAIN: Duration = Duration::from_secs(10);

/// How long a client went on for its fault to be none of those before.
const WENT_WELL: Duration = Duration::from_secs(60);

/// How long one seek waits, and how long until it is tried again.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub brokers: String,
    pub group_id: String,
    /// By name, how each is read.
    pub topics: BTreeMap<String, Reader>,
    /// The most messages in one batch; records that come in one message are in one batch.
    pub batch_messages: usize,
    /// How long the first message of a batch waits for others.
    pub linger: Duration,
    /// More settings of librdkafka, such as `security.protocol` and `sasl.mechanism`.
    pub properties: BTreeMap<String, String>,
    /// End once everything is stored that the topics held at the start.
    pub until_caught_up: bool,
}

/// Consumes until `stop`, then finishes the batch in flight and leaves the group.
///
/// # Errors
/// Settings that are none, or a fault of the database that time does not heal. A database or broker that is away is
/// waited for, and a client of Kafka that cannot go on is replaced.
pub async fn run(
    config: ConsumerConfig,
    pool: PgPool,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<Counts, ConsumerError> {
    cluster::check_properties(&config.properties)?;
    let mut failures = 0;
    let writer = loop {
        // None, and nothing read, where it is asked to stop before the database answers.
        let open = stop.run_until_cancelled(Writer::open(pool.clone(), Arc::clone(&metrics)));
        match open.await {
            None => return Ok(Counts::default()),
            Some(Ok(writer)) => break Arc::new(writer),
            Some(Err(error)) if error.is_transient() => {
                tracing::warn!(%error, "the database is away; waiting for it");
                wait(failures, &stop).await;
                failures = failures.saturating_add(1);
            }
            Some(Err(error)) => return Err(error.into()),
        }
    };
    let runtime = Handle::current();
    // A thread of its own: polling blocks, and rebalances are answered within it.
    tokio::task::spawn_blocking(move || consume(&config, &pool, &writer, &metrics, &stop, &runtime)).await?
}

fn consume(
    config: &ConsumerConfig,
    pool: &PgPool,
    writer: &Arc<Writer>,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    runtime: &Handle,
) -> Result<Counts, ConsumerError> {
    let (mut totals, mut goal, mut failures) = (Counts::default(), None, 0);
    loop {
        let Some(cluster_id) = cluster::id(config, stop)? else { return Ok(totals) };
        let assignment = Assignment {
            cluster_id,
            topics: config.topics.keys().cloned().collect(),
            pool: pool.clone(),
            metrics: Arc::clone(metrics),
            stop: stop.clone(),
            runtime: runtime.clone(),
        };
        let mut session = Session::open(config, Arc::clone(writer), assignment)?;
        if config.until_caught_up && goal.is_none() {
            goal = Some(cluster::goal(&session.consumer, config.topics.keys())?);
        }
        let began = Clock::now();
        let outcome = session.run(config, stop, goal.as_ref());
        totals += session.end(outcome.is_err())?;
        // A group that gave our place to another, or a coordinator that went amid a rebalance: a new client may go on.
        let Err(ConsumerError::Kafka(error)) = outcome else { return outcome.map(|()| totals) };
        tracing::error!(%error, "Kafka's client cannot go on; a new one begins where the database stands");
        metrics.consumer_restarted();
        if began.elapsed() >= WENT_WELL {
            failures = 0;
        }
        runtime.block_on(wait(failures, stop));
        failures = failures.saturating_add(1);
    }
}

struct Session {
    consumer: BaseConsumer<Context>,
    writer: Arc<Writer>,
    in_flight: InFlight,
    metrics: Arc<Metrics>,
    /// What was read since the last batch was begun.
    gathered: Gathered,
    totals: Counts,
    /// When partitions were last sought.
    sought: Clock,
    /// When it was last asked which topics there are.
    topics_asked: Clock,
    topics: HashMap<String, Topic>,
}

impl Session {
    /// Joins the group with a client of its own.
    fn open(config: &ConsumerConfig, writer: Arc<Writer>, assignment: Assignment) -> Result<Self, KafkaError> {
        let metrics = Arc::clone(&assignment.metrics);
        let patience = cluster::patience(&config.properties);
        let in_flight = InFlight::new(Arc::clone(&writer), assignment.runtime.clone(), patience);
        let consumer: BaseConsumer<Context> = cluster::client(config)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Where Postgres knows no offset the assignment says so explicitly; any other lost offset is an error.
            .set("auto.offset.reset", "error")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("statistics.interval.ms", "2000")
            // The default of a second starves a consumer that is faster than the fetcher.
            .set("fetch.queue.backoff.ms", "10")
            .create_with_context(Context::new(assignment))?;
        consumer.subscribe(&config.topics.keys().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self {
            consumer,
            writer,
            in_flight,
            metrics,
            gathered: Gathered::default(),
            totals: Counts::default(),
            sought: Clock::now(),
            topics_asked: Clock::now(),
            topics: config.topics.iter().map(|(name, reader)| (name.clone(), Topic::new(name, reader))).collect(),
        })
    }

    /// Waits for what is in flight, and leaves the group: the others get our partitions at once, not after a timeout.
    fn end(mut self, failed: bool) -> Result<Counts, ConsumerError> {
        while let Some(ended) = self.in_flight.end()? {
            if let Ended::Written(_, written) = ended {
                self.totals += written.counts;
            }
        }
        // A client whose answer to a rebalance was refused waits for another, also as it closes, and takes any then for
        // letting go of all.
        if failed && self.consumer.close_queue().is_ok() {
            drop(self.consumer.unassign());
        }
        let context = Arc::clone(self.consumer.context());
        drop(self.consumer);
        context.let_go();
        Ok(self.totals)
    }

    fn run(
        &mut self,
        config: &ConsumerConfig,
        stop: &CancellationToken,
        goal: Option<&cluster::Goal>,
    ) -> Result<(), ConsumerError> {
        let mut asked = Clock::now();
        loop {
            self.poll(config)?;
            if self.sought.elapsed() >= SEEK_TIMEOUT {
                self.seek();
            }
            if self.topics_asked.elapsed() >= TOPICS_AGAIN && !self.metrics.missing_topics().is_empty() {
                self.look_for_topics();
            }
            while self.in_flight.has_ended() {
                self.settle(config, stop)?;
            }
            let full = self.is_full(config);
            // While there is no room for it the batch grows instead: the fewer and larger ones take less of each event.
            let waited = !self.in_flight.is_full() && self.gathered.waited() >= Some(config.linger);
            if full || waited || stop.is_cancelled() {
                self.flush(config, stop)?;
            }
            if stop.is_cancelled() {
                while !self.in_flight.is_empty() {
                    self.settle(config, stop)?;
                }
                return Ok(());
            }
            if let Some(goal) = goal
                && self.gathered.is_empty()
                && self.in_flight.is_empty()
                && asked.elapsed() >= POLL
            {
                asked = Clock::now();
                if self.reached(goal)? {
                    return Ok(());
                }
            }
        }
    }

    fn assignment(&self) -> &Assignment {
        &self.consumer.context().assignment
    }

    /// Takes what there is, up to a batch, and answers rebalances.
    fn poll(&mut self, config: &ConsumerConfig) -> Result<(), ConsumerError> {
        let mut wait = POLL;
        let mut faults = false;
        while !self.is_full(config) {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let held = self.consumer.context().held();
                    self.gathered.add(&held, &self.topics, &self.writer, &message);
                }
                Some(Err(error)) => {
                    faults = true;
                    self.fault(error)?;
                }
            }
            if self.gathered.waited() >= Some(config.linger) {
                break;
            }
            wait = wait.min(config.linger);
        }
        if !faults {
            self.metrics.polled();
        }
        match self.consumer.context().take_failure() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn is_full(&self, config: &ConsumerConfig) -> bool {
        self.gathered.is_full(config.batch_messages)
    }

    /// Begins to store the batch, once there is room for it.
    fn flush(&mut self, config: &ConsumerConfig, stop: &CancellationToken) -> Result<(), ConsumerError> {
        // Corrections and voids shut out all others who record, those before them too.
        let alone = self.gathered.amends();
        while self.in_flight.is_full() || (alone && !self.in_flight.is_empty()) {
            self.settle(config, stop)?;
        }
        let (messages, advances) = self.gathered.take(&self.consumer.context().held());
        if messages.is_empty() {
            return Ok(());
        }
        let offsets = Offsets { cluster_id: self.assignment().cluster_id.clone(), advances };
        self.begin(Arc::new(Batch { messages, offsets }));
        if alone { self.settle(config, stop) } else { Ok(()) }
    }

    fn begin(&mut self, batch: Arc<Batch>) {
        let watch = self.in_flight.begin(Arc::clone(&batch));
        self.consumer.context().begun(&batch.offsets.advances, watch);
    }

    /// Waits until the first batch in flight is stored, or dropped; and for a database that is away.
    fn settle(&mut self, config: &ConsumerConfig, stop: &CancellationToken) -> Result<(), ConsumerError> {
        let mut failures = 0;
        while let Some(ended) = self.in_flight.end()? {
            match ended {
                Ended::Written(batch, written) => {
                    self.totals += written.counts;
                    self.consumer.context().advanced(&batch.offsets.advances);
                    break;
                }
                Ended::Failed(error, batches) if error.is_transient() => {
                    self.metrics.database_retried();
                    tracing::warn!(%error, failures, "the database is away; the batch is tried again");
                    if stop.is_cancelled() {
                        // Nothing of it is stored or moved: it is read again after the start.
                        return Ok(());
                    }
                    self.wait_paused(failures, config, stop)?;
                    failures = failures.saturating_add(1);
                    batches.into_iter().for_each(|batch| self.begin(batch));
                }
                Ended::Failed(error @ (StoreError::Fenced { .. } | StoreError::GivenUp | StoreError::SetBack), _) => {
                    tracing::warn!(%error, "the batch is dropped; reading on where the database stands");
                    self.read_on()?;
                    break;
                }
                Ended::Failed(error, _) => return Err(error.into()),
            }
        }
        if failures > 0 {
            self.consumer.resume(&self.consumer.assignment()?)?;
        }
        Ok(())
    }

    /// Waits for the database without reading on: what we hold is paused, so that the memory does not fill, and Kafka is
    /// polled all the same, so that the group does not count us as gone.
    fn wait_paused(
        &mut self,
        failures: u32,
        config: &ConsumerConfig,
        stop: &CancellationToken,
    ) -> Result<(), ConsumerError> {
        let (began, wait) = (Clock::now(), backoff(failures));
        while began.elapsed() < wait && !stop.is_cancelled() {
            // Each time: a rebalance may have brought others.
            self.consumer.pause(&self.consumer.assignment()?)?;
            self.poll(config)?;
        }
        Ok(())
    }

    /// Goes where the database stands, with all partitions that we hold.
    fn read_on(&mut self) -> Result<(), ConsumerError> {
        let Some(stored) = self.assignment().load()? else { return Ok(()) };
        let held: Vec<(String, i32)> = {
            let held = self.consumer.context().held();
            held.iter().map(|(topic, partition, _)| (topic.to_owned(), partition)).collect()
        };
        for (topic, partition) in held {
            let next = stored.get(&(topic.clone(), partition)).copied();
            self.consumer.context().moved(&topic, partition, next);
        }
        self.seek();
        Ok(())
    }

    /// Tells Kafka's client where partitions are read on. One for which that fails is not read meanwhile: the
    /// client stands behind the messages that were dropped, and the database's fence cannot see a gap.
    fn seek(&mut self) {
        self.sought = Clock::now();
        for (topic, partition, next) in self.consumer.context().unsought() {
            match seek_or_assign_anew(&self.consumer, &topic, partition, next, SEEK_TIMEOUT) {
                Ok(()) => self.consumer.context().sought(&topic, partition),
                // It may be on its way to another consumer; else the next try helps.
                Err(error) => tracing::warn!(%error, topic, partition, "cannot seek; the partition waits"),
            }
        }
    }

    /// Most faults heal by themselves; a lost offset halts its partition; a fatal one ends the client.
    fn fault(&mut self, error: KafkaError) -> Result<(), ConsumerError> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(error.into()),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.halt_lost()
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                self.look_for_topics();
                Ok(())
            }
            // Told already, with its reason, where the client reports its errors.
            _ => Ok(()),
        }
    }

    /// Reports which of the topics to be read do not exist.
    fn look_for_topics(&mut self) {
        self.topics_asked = Clock::now();
        let metadata = match self.consumer.fetch_metadata(None, SEEK_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => return tracing::warn!(%error, "cannot ask which topics there are"),
        };
        for topic in self.topics.keys() {
            let exists = metadata.topics().iter().any(|it| it.name() == topic);
            self.metrics.set_missing(topic, !exists);
        }
    }

    /// Halts the partitions whose next offset the broker does not have. Nothing is skipped: a person decides. The others
    /// are sought anew, as the client reads on in none that it told of: where it is lost after all, it tells again.
    fn halt_lost(&mut self) -> Result<(), ConsumerError> {
        let held: Vec<(String, i32, Option<i64>)> = {
            let held = self.consumer.context().held();
            held.iter().map(|(topic, partition, held)| (topic.to_owned(), partition, held.read)).collect()
        };
        for (topic, partition, next) in held {
            // One that was never read begins where the broker does.
            let Some(next) = next else {
                self.consumer.context().stands(&topic, partition);
                continue;
            };
            let (low, high) = match self.consumer.fetch_watermarks(&topic, partition, cluster::BROKER_TIMEOUT) {
                Ok(watermarks) => watermarks,
                Err(error) => {
                    tracing::warn!(%error, topic, partition, "cannot ask which offsets the broker has");
                    self.consumer.context().stands(&topic, partition);
                    continue;
                }
            };
            if next < low || next > high {
                tracing::error!(topic, partition, next, low, high, "partition halted: the broker lost its next offset");
                self.metrics.set_halted(&topic, partition, true);
                self.consumer.context().halted(ConsumerError::Halted { topic, partition, next, low, high });
            } else {
                self.consumer.context().stands(&topic, partition);
            }
        }
        Ok(())
    }

    /// Whether the database stands at or after the goal everywhere.
    fn reached(&self, goal: &cluster::Goal) -> Result<bool, ConsumerError> {
        if let Some(halted) = self.consumer.context().take_halted() {
            return Err(halted);
        }
        let Assignment { runtime, pool, cluster_id, topics, .. } = self.assignment();
        match runtime.block_on(offsets::load(pool, cluster_id, topics)) {
            Ok(stored) => Ok(goal.iter().all(|(key, high)| stored.get(key).is_some_and(|next| next >= high))),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
