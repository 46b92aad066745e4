//! One batch, one transaction: look up, decide, save, with the partitions' offsets.
//!
//! Events are taken for new where nothing says that they may be stored (`src/ingest/known_keys.rs`); the newest generation's
//! unique index refuses a batch where that is wrong, and it is tried again with all of its keys looked up.

use super::batch::{decide, wanted};
use super::generations::{Generations, Shared, fetch_kept, locked};
use super::known_keys::{Era, KnownKeys};
use super::messages::{Messages, Position};
use super::turn::{Before, Turn, Wait};
use crate::domain::outcome::Counts;
use crate::domain::period::Instant;
use crate::sources::Decoded;
use crate::store::StoreError;
use crate::store::dictionary::{Dictionary, Numbers};
use crate::store::file_positions::{self, FileDigest};
use crate::store::generations::{self, Generation};
use crate::store::offsets::{self, Advance};
use crate::store::recording::{self, LockMode};
use crate::store::usage::{Identity, Lookup, Wanted, beside_since, event_key_secret, look_up};
use crate::store::usage_rows::{Intake, RejectionRow, Rows, Stamp, save};
use crate::telemetry::Metrics;
use chrono::TimeDelta;
use sqlx::{Connection, PgConnection, PgPool};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};
use tokio::time::{Instant as Deadline, timeout_at};
use uuid::Uuid;

/// How often a batch is tried again because another writer took one of its keys meanwhile. Each time that
/// key is found stored, so a second miss needs a second racing writer.
const MAX_KEY_RACES: u32 = 20;

/// How long the redacted bytes of a rejection are kept.
pub(super) const REJECTIONS_KEPT: TimeDelta = TimeDelta::days(30);

/// The partitions that a batch moves forward.
#[derive(Clone, Debug)]
pub struct Offsets {
    pub cluster_id: String,
    /// In the order of (topic, partition).
    pub advances: Vec<Advance>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Written {
    pub counts: Counts,
    /// Where each rejected message stands, and why it was rejected.
    pub rejections: Vec<RejectionRow>,
}

/// A batch that is written, and stored for good once its transaction commits.
pub struct Uncommitted {
    pub written: Written,
    numbers: Numbers,
    /// Of the events that it stores.
    keys: Vec<Uuid>,
    recorded_at: Instant,
    started: Clock,
}

/// Why a try came to nothing.
enum Broken {
    Store(StoreError),
    Wait(Wait),
    /// Much would be looked up in these, without filters.
    Unfiltered(Vec<Generation>, Era),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What one try is about.
struct Try<'a> {
    messages: &'a Messages,
    offsets: Option<&'a Offsets>,
    intake: Intake,
    started: Clock,
}

/// Writes batches. One per consumer; several may run beside each other.
pub struct Writer {
    pool: PgPool,
    secret: [u8; 32],
    dictionary: tokio::sync::Mutex<Dictionary>,
    known: Shared,
    generations: Mutex<Generations>,
    /// When the last batch was recorded that it committed.
    last: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// # Errors
    /// The database's.
    pub async fn open(pool: PgPool, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let secret = event_key_secret(&mut *pool.acquire().await.map_err(StoreError::from)?).await?;
        let known = Shared::new(Mutex::new(KnownKeys::new()));
        let generations = Mutex::new(Generations::new(pool.clone(), Arc::clone(&known)));
        let (dictionary, last) = (tokio::sync::Mutex::default(), Mutex::default());
        Ok(Self { pool, secret, dictionary, known, generations, last, metrics })
    }

    /// Adds what a source's reader returned to the messages of a batch.
    pub fn add(&self, messages: &mut Messages, position: Position, decoded: impl Into<Decoded>) {
        messages.add(&self.secret, position, decoded.into());
    }

    /// The messages of a batch, of what a source's reader returned.
    pub fn messages(&self, decoded: impl IntoIterator<Item = (Position, impl Into<Decoded>)>) -> Messages {
        let mut messages = Messages::default();
        decoded.into_iter().for_each(|(position, decoded)| self.add(&mut messages, position, decoded));
        messages
    }

    /// Stores a batch; returns what became of its messages.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a partition stands elsewhere; else the database's. Nothing is stored then,
    /// except that a commit whose answer was lost may have succeeded.
    pub async fn write(
        &self,
        messages: &Messages,
        offsets: Option<&Offsets>,
        intake: Intake,
    ) -> Result<Written, StoreError> {
        let mut conn = self.pool.acquire().await?;
        let batch = self.write_on(&mut conn, messages, offsets, intake).await?;
        Ok(self.committed(batch).await)
    }

    /// As [`Writer::write`], beside the batch before and committed after it. A connection on which it takes longer than
    /// `patience` is closed: its other end may be gone, and nobody said so.
    ///
    /// # Errors
    /// As [`Writer::write`]; [`StoreError::GivenUp`] if the batch before failed; [`StoreError::Unanswered`].
    pub(super) async fn write_behind(
        &self,
        messages: &Messages,
        offsets: &Offsets,
        intake: Intake,
        mut turn: Turn,
        patience: Duration,
    ) -> Result<Written, StoreError> {
        // Before a connection is taken, which the batch before may need.
        turn.begin().await.map_err(|_| StoreError::GivenUp)?;
        let (deadline, unanswered) =
            (Deadline::now() + patience, StoreError::Unanswered { seconds: patience.as_secs() });
        let Ok(conn) = timeout_at(deadline, self.pool.acquire()).await else { return Err(unanswered) };
        let mut conn = conn?;
        let writing = self.write_through(&mut conn, messages, Some(offsets), intake, &mut turn);
        let Ok(batch) = timeout_at(deadline, writing).await else {
            conn.close_on_drop();
            return Err(unanswered);
        };
        let batch = batch?;
        let written = self.committed(batch).await;
        turn.committed();
        Ok(written)
    }

    /// As [`Writer::write`], with how many rows of a file are stored by then.
    ///
    /// # Errors
    /// The database's. Nothing is stored then, except that a commit whose answer was lost may have succeeded.
    pub async fn write_file(
        &self,
        messages: &Messages,
        taken: Option<(&FileDigest, u64)>,
    ) -> Result<Written, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let batch = self.write_on(&mut transaction, messages, None, Intake::File).await?;
        if let Some((digest, rows)) = taken {
            file_positions::advance(&mut transaction, digest, rows).await?;
        }
        transaction.commit().await?;
        Ok(self.committed(batch).await)
    }

    /// How many rows of a file are stored by runs that were interrupted.
    ///
    /// # Errors
    /// The database's.
    pub async fn rows_taken(&self, digest: &FileDigest) -> Result<u64, StoreError> {
        file_positions::load(&self.pool, digest).await
    }

    /// Says that a file was read to its end.
    ///
    /// # Errors
    /// The database's.
    pub async fn file_ended(&self, digest: &FileDigest) -> Result<(), StoreError> {
        file_positions::forget(&self.pool, digest).await
    }

    /// As [`Writer::write`], on a connection whose transaction, if it is in one, the caller commits. Then the caller
    /// says so by [`Writer::committed`].
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_on(
        &self,
        conn: &mut PgConnection,
        messages: &Messages,
        offsets: Option<&Offsets>,
        intake: Intake,
    ) -> Result<Uncommitted, StoreError> {
        self.write_through(conn, messages, offsets, intake, &mut Turn::behind(None)).await
    }

    /// Tries until the batch is written, or the one before is given up.
    #[tracing::instrument(
        name = "ingest.batch",
        skip_all,
        fields(messaging.batch.message_count = messages.len(), intake = intake.name())
    )]
    async fn write_through(
        &self,
        conn: &mut PgConnection,
        messages: &Messages,
        offsets: Option<&Offsets>,
        intake: Intake,
        turn: &mut Turn,
    ) -> Result<Uncommitted, StoreError> {
        let started = Clock::now();
        let mut races = 0;
        loop {
            match self.try_write(&mut *conn, &Try { messages, offsets, intake, started }, turn).await {
                Ok(stored) => return Ok(stored),
                // One of the keys was stored that was taken for new, perhaps after we had looked: look at all.
                Err(Broken::Store(error)) if error.is_unique_violation() && races < MAX_KEY_RACES => {
                    races += 1;
                    self.known().doubt();
                }
                Err(Broken::Store(error)) => return Err(error),
                Err(Broken::Wait(Wait::Again)) => {}
                // Now, while it holds no lock that others wait for.
                Err(Broken::Unfiltered(wanted, era)) => fetch_kept(&mut *conn, &self.known, (wanted, era)).await?,
                Err(Broken::Wait(Wait::GivenUp)) => return Err(StoreError::GivenUp),
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownKeys> {
        locked(&self.known)
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        // Whoever panicked while holding it left whole entries.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        // An instant is written whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a batch that is stored for good, and remembers the numbers that it took and its keys.
    pub async fn committed(&self, batch: Uncommitted) -> Written {
        let Uncommitted { written, numbers, keys, recorded_at, started } = batch;
        {
            let mut last = self.last();
            *last = (*last).max(Some(recorded_at));
        }
        self.dictionary.lock().await.keep(numbers);
        let stored = keys.len() as u64;
        self.known().stored(keys.into_iter());
        self.generations().stored(stored);
        let reasons: Vec<_> = written.rejections.iter().map(|row| row.reason).collect();
        self.metrics.batch_written(&written.counts, &reasons, started.elapsed());
        written
    }

    async fn try_write(
        &self,
        conn: &mut PgConnection,
        Try { messages, offsets, intake, started }: &Try<'_>,
        turn: &mut Turn,
    ) -> Result<Uncommitted, Broken> {
        let before = turn.begin().await.map_err(Broken::Wait)?;
        let amends = messages.amend();
        let mode = if amends { LockMode::Exclusive } else { LockMode::Shared };
        let mut transaction = conn.begin().await?;
        let recorded_at = recording::lock(&mut transaction, mode).await?;
        if self.forget_what_is_gone(&mut transaction).await? && offsets.is_some() {
            return Err(StoreError::SetBack.into());
        }
        let lookup = self.look_up(&mut transaction, wanted(messages), amends, &before).await?;
        let rows = decide(messages, &lookup, recorded_at);
        turn.decided(rows.events.iter().map(|row| (row.key, row.content_hash)).collect());
        let stamp = Stamp { recorded_at, intake: *intake, rejections_kept: REJECTIONS_KEPT };
        let numbers = self.dictionary.lock().await.numbers(&mut transaction, &rows).await?;
        save(&mut transaction, &numbers, &rows, &stamp).await?;
        if mode == LockMode::Exclusive {
            recording::note_alone(&mut transaction, recorded_at).await?;
        }
        turn.come(&before).await.map_err(Broken::Wait)?;
        if let Some(Offsets { cluster_id, advances }) = offsets {
            // Last, as the batch before moves the same rows: a second writer of the partition finds that it was overtaken.
            offsets::advance(&mut transaction, cluster_id, advances).await?;
        }
        transaction.commit().await?;
        let Rows { counts, rejections, events, .. } = rows;
        let keys = events.iter().map(|row| row.key).collect();
        Ok(Uncommitted { written: Written { counts, rejections }, numbers, keys, recorded_at, started: *started })
    }

    /// Whether an older state of the database was restored under us. Then nothing that we remember holds: its numbers may
    /// be given to others, and corrections be recorded before the place up to which they are known.
    async fn forget_what_is_gone(&self, conn: &mut PgConnection) -> Result<bool, StoreError> {
        let last = *self.last();
        let Some(last) = last else { return Ok(false) };
        if recording::is_recorded(conn, last).await? {
            return Ok(false);
        }
        *self.dictionary.lock().await = Dictionary::default();
        *self.known() = KnownKeys::new();
        *self.last() = None;
        Ok(true)
    }

    /// Looks up what may stand under the keys of a batch. Of one that amends nothing is guessed, as it is alone.
    async fn look_up(
        &self,
        conn: &mut PgConnection,
        mut wanted: Wanted,
        amends: bool,
        before: &Before,
    ) -> Result<Lookup, Broken> {
        let keys = std::mem::take(&mut wanted.event_keys);
        // After the gate, as all that is looked up: no generation is opened meanwhile.
        let generations = generations::load(&mut *conn).await?;
        {
            let mut known = self.known();
            wanted.keys_within = known.perhaps_within(&generations, &keys, !amends);
            if let Some((unfiltered, era)) = known.wants_kept_filters() {
                return Err(Broken::Unfiltered(unfiltered, era));
            }
        }
        self.generations().make_filters();
        if !amends {
            let since = self.known().beside_up_to();
            let (beside, up_to) = beside_since(conn, since).await?;
            let mut known = self.known();
            known.know_beside(beside.into_iter(), up_to);
            wanted.beside_keys = known.perhaps_beside(&keys);
        }
        let mut lookup = look_up(conn, &wanted).await?;
        let mut stored = before.stored.iter().peekable();
        // Both are sorted.
        for key in keys {
            while stored.next_if(|(other, _)| *other < key).is_some() {}
            if let Some((_, content_hash)) = stored.next_if(|(other, _)| *other == key) {
                lookup.identities.insert(key, Identity::Event { content_hash: *content_hash });
            }
        }
        Ok(lookup)
    }
}

/// How long to wait before a transient fault is tried again: doubling from 100 ms to 5 s.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100_u64.saturating_mul(1 << failures.min(6))).min(Duration::from_secs(5))
}
