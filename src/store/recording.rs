//! When something was recorded: `recorded_at` never runs backwards, and nothing is recorded at or below an instant
//! once that was handed out (CONTRACTS section 1).
//!
//! Whoever asks what is known waits for nobody who records, nor holds anybody up. Three steps make an instant that can
//! be handed out, each a statement of its own, so that it sees what was committed before it began:
//!
//! 1. An *upper bound* is taken, or read, such that whoever comes to record later gets a later instant. One of now is
//!    written to the watermark and committed; the last instant at which anything was recorded is such a bound as it is.
//!    [`lock`] stamps beyond both.
//! 2. The *floor* is looked at: the earliest start of a transaction that holds the recording gate.
//! 3. What is handed out is the bound, or the instant before the floor if that is earlier; and never less than when
//!    something was recorded alone last, as it was known in step 1.
//!
//! Why nothing is recorded at or below it any more. Take any transaction that records:
//!
//! - It was over before step 2: what it recorded is committed, or never will be.
//! - It held the gate in step 2: it stamps at or after its own start, which is never before the floor. A clock that
//!   goes back between the two changes nothing, as the start is one of the things that a stamp is the latest of.
//! - It came to the gate after step 2: it reads the watermark and the last recorded instant after it has the gate, so
//!   it sees those of step 1, and stamps later than the bound, whatever its clock says.
//! - Who recorded alone held the gate beside nobody: what was stamped before was over by then, and who comes to the
//!   gate after its commit stamps later than it did. So a batch that waits for the gate meanwhile, and began before,
//!   does not hide what was recorded alone.
//!
//! A process or connection that dies lets go of the gate when Postgres rolls its transaction back: there is nothing to
//! clean up. Postgres shows when a transaction started from before its first statement until after its commit can be
//! seen and its locks are gone; so one that held the gate and shows no start any more is over. What is handed out is
//! kept, so that it only moves forward, and triggers refuse rows at or below it.

use super::StoreError;
use crate::domain::period::Instant;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// Whom a recording transaction may run beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Beside others that share.
    Shared,
    /// Beside none. For what others decide by: corrections and voids (an event stored beside its correction
    /// would not see it, nor the correction the event, and neither would be applied), prices and their
    /// thresholds, contract versions, master data.
    Exclusive,
}

/// Starts a transaction that may record, and says when.
///
/// # Errors
/// The database's.
pub async fn begin(pool: &PgPool, mode: LockMode) -> Result<(Transaction<'static, Postgres>, Instant), StoreError> {
    let mut transaction = pool.begin().await?;
    let recorded_at = lock(&mut transaction, mode).await?;
    Ok((transaction, recorded_at))
}

/// Takes the recording gate until the transaction ends; returns the `recorded_at` of what it records.
///
/// # Errors
/// The database's.
pub async fn lock(connection: &mut PgConnection, mode: LockMode) -> Result<Instant, StoreError> {
    match mode {
        LockMode::Shared => {
            sqlx::query!("lock table recording_gate in row share mode").execute(&mut *connection).await?
        }
        LockMode::Exclusive => {
            sqlx::query!("lock table recording_gate in exclusive mode").execute(&mut *connection).await?
        }
    };
    // A statement of its own: its snapshot must be taken after the lock was granted.
    next_instant(connection).await
}

/// What would be the `recorded_at` of what is recorded now: later than of all that this connection sees. Whoever
/// records holds the gate meanwhile, see [`lock`].
///
/// # Errors
/// The database's.
pub async fn next_instant(connection: &mut PgConnection) -> Result<Instant, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select greatest(
            -- not before the floor, as it is shown to those who ask what is known
            recording_clock(),
            -- batches beside each other may share an instant, as neither sees the other; what came before is earlier
            (select max(recorded_at) from usage_batch) + interval '1 microsecond',
            (select recorded_at from recorded_alone) + interval '1 microsecond',
            (select watermark from recording_watermark) + interval '1 microsecond',
            (select max(cutoff) from settlement) + interval '1 microsecond'
        ) as "recorded_at!""#
    )
    .fetch_one(connection)
    .await?)
}

/// Whether a batch of that instant is there. One that was committed is not where an older state of the database was
/// restored since.
///
/// # Errors
/// The database's.
pub async fn is_recorded(connection: &mut PgConnection, at: Instant) -> Result<bool, StoreError> {
    let is_there =
        sqlx::query_scalar!(r#"select exists (select from usage_batch where recorded_at = $1) as "is_there!""#, at);
    Ok(is_there.fetch_one(connection).await?)
}

/// Notes that something other than a batch is recorded, by one who holds the gate alone: what is recorded later gets a
/// later time. Batches are ordered by their own rows.
///
/// # Errors
/// The database's.
pub async fn note_alone(connection: &mut PgConnection, at: Instant) -> Result<(), StoreError> {
    sqlx::query!("update recorded_alone set recorded_at = $1", at).execute(connection).await?;
    Ok(())
}

/// An instant K, about now: everything recorded by then is committed, and nothing is recorded at or before K any more.
///
/// While a transaction records, K lies before its start: what others committed since is known by a later K. A cutoff
/// may be K or earlier.
///
/// # Errors
/// The database's, or a recording transaction whose start cannot be seen.
pub async fn watermark(pool: &PgPool) -> Result<Instant, StoreError> {
    // One connection, and no transaction: the bound is committed before the next statement begins.
    let mut conn = pool.acquire().await?;
    let step = sqlx::query!(
        r#"update recording_watermark set watermark = greatest(
            recording_clock(),
            watermark + interval '1 microsecond',
            (select max(recorded_at) from usage_batch),
            alone.recorded_at
        ) from recorded_alone alone returning watermark, alone.recorded_at as "alone!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    hand_out(&mut conn, step.watermark, step.alone).await
}

/// When anything was recorded last: what is known as of then is what is known now, and stays so. Unlike [`watermark`]
/// the same as long as nothing is recorded; before anything is, 1970. While a transaction records it may lie earlier.
///
/// # Errors
/// The database's, or a recording transaction whose start cannot be seen.
pub async fn last_recorded(pool: &PgPool) -> Result<Instant, StoreError> {
    let mut conn = pool.acquire().await?;
    let last = sqlx::query!(
        r#"select l.at as "at!", l.alone as "alone!", l.at <= w.known_at as "is_known!"
           from recording_watermark w,
             (select greatest((select max(recorded_at) from usage_batch), recorded_at) as at, recorded_at as alone
              from recorded_alone) l"#
    )
    .fetch_one(&mut *conn)
    .await?;
    // What was handed out before needs no look at who records, and no write.
    if last.is_known { Ok(last.at) } else { hand_out(&mut conn, last.at, last.alone).await }
}

/// Hands out an upper bound, or what lies before the floor of those who record, but never less than `alone`: when
/// something was recorded alone last, as it was committed before this looks at who records.
async fn hand_out(conn: &mut PgConnection, bound: Instant, alone: Instant) -> Result<Instant, StoreError> {
    let handed_out = sqlx::query!(
        r#"with floor as (select at from recording_floor)
           update recording_watermark w
           set known_at = greatest(w.known_at, $2, least($1, floor.at - interval '1 microsecond')),
             watermark = greatest(w.watermark, $2, least($1, floor.at - interval '1 microsecond'))
           from floor
           returning w.known_at, coalesce(floor.at = '-infinity', false) as "is_hidden!""#,
        bound,
        alone
    )
    .fetch_one(conn)
    .await?;
    if handed_out.is_hidden { Err(StoreError::HiddenRecorder) } else { Ok(handed_out.known_at) }
}

/// Whether an instant was handed out, or lies before one: nothing is recorded at or below it any more.
///
/// # Errors
/// The database's.
pub async fn was_handed_out(pool: &PgPool, at: Instant) -> Result<bool, StoreError> {
    let was = sqlx::query_scalar!(r#"select known_at >= $1 as "was!" from recording_watermark"#, at);
    Ok(was.fetch_one(pool).await?)
}

/// For how many seconds what is known has stood still: since when the earliest of those who record does so; 0 where
/// nobody does.
///
/// # Errors
/// The database's, or a recording transaction whose start cannot be seen.
pub async fn seconds_behind(pool: &PgPool) -> Result<i64, StoreError> {
    let floor = sqlx::query!(
        r#"select coalesce(floor.at = '-infinity', false) as "is_hidden!",
             case when isfinite(floor.at) then greatest(extract(epoch from clock_timestamp() - floor.at), 0)::bigint
               else 0 end as "seconds!"
           from recording_floor floor"#
    )
    .fetch_one(pool)
    .await?;
    if floor.is_hidden { Err(StoreError::HiddenRecorder) } else { Ok(floor.seconds) }
}
