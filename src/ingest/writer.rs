//! One batch, one transaction: look up, decide, save, with the partitions' offsets.

use super::batch::{Message, Position, decide, wanted};
use crate::domain::outcome::Counts;
use crate::sources::Decoded;
use crate::store::StoreError;
use crate::store::dictionary::{Dictionary, Numbers};
use crate::store::file_positions::{self, FileDigest};
use crate::store::offsets::{self, Advance};
use crate::store::recording::{self, LockMode};
use crate::store::usage::{event_key_secret, look_up};
use crate::store::usage_rows::{Intake, RejectionRow, Stamp, save};
use crate::telemetry::Metrics;
use chrono::TimeDelta;
use sqlx::{Connection, PgConnection, PgPool};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

/// How often a batch is tried again because another writer took one of its keys meanwhile. Each time that
/// key is found stored, so a second miss needs a second racing writer.
const MAX_KEY_RACES: u32 = 20;

/// How long the redacted bytes of a rejection are kept.
const REJECTIONS_KEPT: TimeDelta = TimeDelta::days(30);

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
    started: Clock,
}

/// Writes batches. One per consumer; several may run beside each other.
pub struct Writer {
    pool: PgPool,
    secret: [u8; 32],
    dictionary: Dictionary,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// # Errors
    /// The database's.
    pub async fn open(pool: PgPool, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        let secret = event_key_secret(&mut *pool.acquire().await.map_err(StoreError::from)?).await?;
        Ok(Self { pool, secret, dictionary: Dictionary::default(), metrics })
    }

    /// Makes a message of what a source's reader returned.
    pub fn message(&self, position: Position, decoded: impl Into<Decoded>) -> Message {
        let decoded = decoded.into();
        if let Decoded::Rejected(rejection) = &decoded {
            tracing::debug!(%position, reason = %rejection.reason, "message rejected");
        }
        Message::new(&self.secret, position, decoded)
    }

    /// Stores a batch; returns what became of its messages.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if a partition stands elsewhere; else the database's. Nothing is stored then,
    /// except that a commit whose answer was lost may have succeeded.
    pub async fn write(
        &mut self,
        messages: &[Message],
        offsets: Option<&Offsets>,
        intake: Intake,
    ) -> Result<Written, StoreError> {
        let mut conn = self.pool.acquire().await?;
        let batch = self.write_on(&mut conn, messages, offsets, intake).await?;
        Ok(self.committed(batch))
    }

    /// As [`Writer::write`], with how many rows of a file are stored by then.
    ///
    /// # Errors
    /// The database's. Nothing is stored then, except that a commit whose answer was lost may have succeeded.
    pub async fn write_file(
        &mut self,
        messages: &[Message],
        taken: Option<(&FileDigest, u64)>,
    ) -> Result<Written, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let batch = self.write_on(&mut transaction, messages, None, Intake::File).await?;
        if let Some((digest, rows)) = taken {
            file_positions::advance(&mut transaction, digest, rows).await?;
        }
        transaction.commit().await?;
        Ok(self.committed(batch))
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
    #[tracing::instrument(
        name = "ingest.batch",
        skip_all,
        fields(messaging.batch.message_count = messages.len(), intake = intake.name())
    )]
    pub async fn write_on(
        &self,
        conn: &mut PgConnection,
        messages: &[Message],
        offsets: Option<&Offsets>,
        intake: Intake,
    ) -> Result<Uncommitted, StoreError> {
        let started = Clock::now();
        let mut races = 0;
        loop {
            match self.try_write(&mut *conn, messages, offsets, intake).await {
                Ok((written, numbers)) => return Ok(Uncommitted { written, numbers, started }),
                // Another writer stored one of the keys after we had looked: look again.
                Err(error) if error.is_unique_violation() && races < MAX_KEY_RACES => races += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Counts a batch that is stored for good, and keeps the numbers that it took.
    pub fn committed(&mut self, batch: Uncommitted) -> Written {
        let Uncommitted { written, numbers, started } = batch;
        self.dictionary.keep(numbers);
        let reasons: Vec<_> = written.rejections.iter().map(|row| row.reason).collect();
        self.metrics.batch_written(&written.counts, &reasons, started.elapsed());
        written
    }

    async fn try_write(
        &self,
        conn: &mut PgConnection,
        messages: &[Message],
        offsets: Option<&Offsets>,
        intake: Intake,
    ) -> Result<(Written, Numbers), StoreError> {
        let amends = messages.iter().any(Message::is_amendment);
        let mode = if amends { LockMode::Exclusive } else { LockMode::Shared };
        let mut transaction = conn.begin().await?;
        let recorded_at = recording::lock(&mut transaction, mode).await?;
        if let Some(Offsets { cluster_id, advances }) = offsets {
            // First: a second writer of the partition waits here and then finds that it was overtaken.
            offsets::advance(&mut transaction, cluster_id, advances).await?;
        }
        let lookup = look_up(&mut transaction, &wanted(messages)).await?;
        let rows = decide(messages, &lookup, recorded_at);
        let stamp = Stamp { recorded_at, intake, rejections_kept: REJECTIONS_KEPT };
        let numbers = save(&mut transaction, &self.dictionary, &rows, &stamp).await?;
        if mode == LockMode::Exclusive {
            recording::note_alone(&mut transaction, recorded_at).await?;
        }
        transaction.commit().await?;
        Ok((Written { counts: rows.counts, rejections: rows.rejections }, numbers))
    }
}

/// How long to wait before a transient fault is tried again: doubling from 100 ms to 5 s.
pub fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100_u64.saturating_mul(1 << failures.min(6))).min(Duration::from_secs(5))
}
