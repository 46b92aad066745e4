//! Trials: batches written in a transaction that is never committed, and what is asked of it. A trial gives way to whoever waits for it.
//!
//! What it writes has later times of recording than all that it sees, as if it were recorded now. So it is asked as
//! known before it and as known after it, like any other question about what was known when.

use super::batch::{decide, wanted};
use super::file::FileError;
use super::messages::{Messages, Position};
use super::writer::{REJECTIONS_KEPT, backoff};
use crate::domain::outcome::Counts;
use crate::domain::period::{Instant, last_instant_before, start_of_hour};
use crate::sources::Decoded;
use crate::store::StoreError;
use crate::store::dictionary::Dictionary;
use crate::store::recording::next_instant;
use crate::store::trials::{self, Begun};
use crate::store::usage::{event_key_secret, look_up};
use crate::store::usage_rows::{Intake, Rows, Stamp, save};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How many messages a preview tries at most: they are one transaction, and what it wrote has to be cleaned up.
pub const MAX_TRIED: u64 = 1_000_000;

/// How often it is looked whether somebody waits for a trial: nobody waits much longer.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Of how many messages that would not be taken it is told where they stand, and why.
const MOST_TOLD: usize = 20;

/// How often a trial begins anew that gave way, or met others who wrote the same.
const MAX_TRIES: u32 = 6;

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(
        "it has more than {most} messages, which is as much as can be tried at once; a file may be parted, and each part \
         be previewed and applied under a name of its own"
    )]
    TooMany { most: u64 },
    #[error("others are recording the same usage right now, and the preview gave way to them; try again later")]
    InTheWay,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a trial came to: as known at which instants it is asked before and after it, and what it touched.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Everything but the trial.
    pub before: Instant,
    /// The trial, too.
    pub after: Instant,
    /// The start of the last hour in which any sum or event differs.
    pub last_hour: Option<Instant>,
    pub counts: Counts,
    /// The first messages that would be rejected, or conflict with what stands.
    pub not_taken: Vec<NotTaken>,
}

/// A message that would not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotTaken {
    /// Where it stands: file:line.
    pub position: String,
    pub why: String,
}

/// A trial that goes on.
pub struct Trial {
    transaction: Transaction<'static, Postgres>,
    secret: [u8; 32],
    dictionary: Dictionary,
    most: u64,
    tried: Tried,
}

impl Trial {
    /// What it sees: all there is, and what it wrote itself.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Adds to messages what a source's reader returned, as a writer does.
    pub(super) fn adder(&self) -> impl Fn(&mut Messages, Position, Decoded) + use<> {
        let secret = self.secret;
        move |messages, position, decoded| messages.add(&secret, position, decoded)
    }

    /// Writes a batch as a writer would.
    ///
    /// # Errors
    /// There are too many messages, or the database's.
    pub async fn write(&mut self, messages: &Messages) -> Result<Counts, TrialError> {
        let conn = &mut *self.transaction;
        let recorded_at = next_instant(&mut *conn).await?;
        let lookup = look_up(&mut *conn, &wanted(messages)).await?;
        let rows = decide(messages, &lookup, recorded_at);
        let numbers = self.dictionary.numbers(&mut *conn, &rows).await?;
        let stamp = Stamp { recorded_at, intake: Intake::File, rejections_kept: REJECTIONS_KEPT };
        save(conn, &numbers, &rows, &stamp).await?;
        self.dictionary.keep(numbers);
        self.tried.after = recorded_at;
        // A correction may change what an event is, and no sum.
        let states = rows.states.iter().map(|row| start_of_hour(row.occurred_at));
        let hours = rows.rollups.iter().map(|row| row.bucket).chain(states);
        self.tried.last_hour = self.tried.last_hour.max(hours.max());
        self.tried.counts += rows.counts;
        let room = MOST_TOLD.saturating_sub(self.tried.not_taken.len());
        self.tried.not_taken.extend(not_taken(&rows).take(room));
        if self.tried.counts.messages() > self.most {
            return Err(TrialError::TooMany { most: self.most });
        }
        Ok(rows.counts)
    }
}

/// Writes on trial, measures what came of it, and undoes all of it. Where somebody waits for what it wrote, or wrote the
/// same meanwhile, it begins anew with what is known by then.
///
/// # Errors
/// What `write` fails with, or that others were in the way each time; within, what `measure` fails with.
pub async fn attempt<W, T, E>(
    pool: &PgPool,
    most: u64,
    write: impl AsyncFn(&mut Trial) -> Result<W, TrialError>,
    measure: impl AsyncFn(&mut PgConnection, &Tried) -> Result<T, E>,
) -> Result<Result<(Tried, W, T), E>, TrialError> {
    let mut last = TrialError::InTheWay;
    for failures in 0..MAX_TRIES {
        let (mut trial, process) = begin(pool, most).await?;
        let gave_way = Arc::<AtomicBool>::default();
        let mut watch = JoinSet::new();
        // A task of its own: deciding and measuring take the processor for a while.
        watch.spawn(give_way(pool.clone(), process, Arc::clone(&gave_way)));
        let work = async {
            let written = write(&mut trial).await?;
            let measured = measure(&mut trial.transaction, &trial.tried).await;
            Ok(measured.map(|measured| (trial.tried.clone(), written, measured)))
        };
        let came_of = tokio::select! {
            came_of = work => came_of,
            // It has ended the trial.
            _ = watch.join_next() => Err(TrialError::InTheWay),
        };
        // Before its connection is used for anything else.
        watch.shutdown().await;
        // If that fails the connection is gone, and the transaction with it.
        drop(trial.transaction.rollback().await);
        match came_of {
            Ok(Ok(done)) => return Ok(Ok(done)),
            _ if gave_way.load(Ordering::Relaxed) => last = TrialError::InTheWay,
            Err(TrialError::Store(error)) if error.is_unique_violation() => last = TrialError::InTheWay,
            Err(error) if error.is_passing() => last = error,
            ended => return ended,
        }
        tokio::time::sleep(backoff(failures)).await;
    }
    Err(last)
}

impl TrialError {
    /// Whether the same may succeed on another try: the connection broke, or was ended.
    fn is_passing(&self) -> bool {
        match self {
            Self::InTheWay => true,
            Self::Store(error) => error.is_transient(),
            Self::TooMany { .. } | Self::File(_) => false,
        }
    }
}

fn not_taken(rows: &Rows<'_>) -> impl Iterator<Item = NotTaken> {
    let rejected = rows.rejections.iter().map(|row| {
        let (position, why) = (row.position.clone(), format!("{}: {}", row.reason, row.detail));
        NotTaken { position, why }
    });
    let conflicts = rows.conflicts.iter().map(|row| {
        let why = format!("what stands under {} of {} has other content", row.event_id, row.source);
        NotTaken { position: row.position.clone(), why }
    });
    rejected.chain(conflicts)
}

async fn begin(pool: &PgPool, most: u64) -> Result<(Trial, i32), TrialError> {
    let Begun { mut transaction, process, from } = trials::begin(pool).await?;
    let secret = event_key_secret(&mut transaction).await?;
    // What is written first is recorded at `from` or later: the clock may go back.
    let before = last_instant_before(from);
    let tried = Tried { before, after: before, last_hour: None, counts: Counts::default(), not_taken: Vec::new() };
    Ok((Trial { transaction, secret, dictionary: Dictionary::default(), most, tried }, process))
}

/// Looks whether somebody waits for the trial, and ends it then.
async fn give_way(pool: PgPool, process: i32, gave_way: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match trials::is_in_the_way(&pool, process).await {
            Ok(false) => {}
            Ok(true) => {
                gave_way.store(true, Ordering::Relaxed);
                match trials::end(&pool, process).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "a trial could not be ended; it is tried again"),
                }
            }
            // The trial itself finds out whether the database is there.
            Err(error) => tracing::warn!(%error, "it cannot be seen whether somebody waits for a trial"),
        }
    }
}
