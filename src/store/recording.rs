//! When something was recorded: `recorded_at` never runs backwards, and nothing is recorded at or below a
//! watermark once that was handed out (CONTRACTS section 1).

use super::StoreError;
use crate::domain::period::Instant;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// The advisory lock that everything which stamps `recorded_at` holds until it commits. ("apportio")
const RECORDING_LOCK: i64 = 0x6170_706f_7274_696f;

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

/// Takes the recording lock until the transaction ends; returns the `recorded_at` of what it records.
///
/// # Errors
/// The database's.
pub async fn lock(connection: &mut PgConnection, mode: LockMode) -> Result<Instant, StoreError> {
    match mode {
        LockMode::Shared => {
            sqlx::query!("select pg_advisory_xact_lock_shared($1)", RECORDING_LOCK).execute(&mut *connection).await?;
        }
        LockMode::Exclusive => {
            sqlx::query!("select pg_advisory_xact_lock($1)", RECORDING_LOCK).execute(&mut *connection).await?;
        }
    }
    // A statement of its own: its snapshot must be taken after the lock was granted.
    Ok(sqlx::query_scalar!(
        r#"select greatest(
            recording_clock(),
            -- batches beside each other may share an instant; what batches decide by is recorded after them all
            (select max(recorded_at) from usage_batch) + $1::int * interval '1 microsecond',
            (select watermark + interval '1 microsecond' from recording_watermark),
            (select max(cutoff) + interval '1 microsecond' from settlement)
        ) as "recorded_at!""#,
        i32::from(mode == LockMode::Exclusive)
    )
    .fetch_one(connection)
    .await?)
}

/// An instant K, about now: everything recorded so far is at or before K, everything recorded later after it.
///
/// Waits until no recording transaction is open. A cutoff may be K or earlier.
///
/// # Errors
/// The database's.
pub async fn watermark(pool: &PgPool) -> Result<Instant, StoreError> {
    let (mut transaction, now) = begin(pool, LockMode::Exclusive).await?;
    let watermark = move_watermark(&mut transaction, now).await?;
    transaction.commit().await?;
    Ok(watermark)
}

/// When the last usage, master data, price or contract was recorded: what is known as of then is what is known now,
/// and stays so. Unlike [`watermark`] the same as long as nothing is recorded; before anything is, 1970.
///
/// Waits until no recording transaction is open.
///
/// # Errors
/// The database's.
pub async fn last_recorded(pool: &PgPool) -> Result<Instant, StoreError> {
    let (mut transaction, _) = begin(pool, LockMode::Exclusive).await?;
    let last = sqlx::query_scalar!(
        r#"select coalesce(greatest(
            (select max(recorded_at) from usage_batch), (select max(recorded_at) from deployment),
            (select max(recorded_at) from product), (select max(recorded_at) from product_group),
            (select max(recorded_at) from cloud), (select max(recorded_at) from party),
            (select max(recorded_at) from price), (select max(recorded_at) from contract_version)
        ), to_timestamp(0)) as "last!""#
    )
    .fetch_one(&mut *transaction)
    .await?;
    move_watermark(&mut transaction, last).await?;
    transaction.commit().await?;
    Ok(last)
}

/// Whether an instant was handed out as a watermark, or lies before one: nothing is recorded at or below it any more.
///
/// # Errors
/// The database's.
pub async fn was_handed_out(pool: &PgPool, at: Instant) -> Result<bool, StoreError> {
    let was = sqlx::query_scalar!(r#"select watermark >= $1 as "was!" from recording_watermark"#, at);
    Ok(was.fetch_one(pool).await?)
}

/// Moves the watermark up to `at`, so that whatever is recorded later gets a later time; returns where it stands.
///
/// Batches are ordered by their own rows. What is recorded otherwise (contracts, prices, figures) calls this.
///
/// # Errors
/// The database's.
pub async fn move_watermark(connection: &mut PgConnection, at: Instant) -> Result<Instant, StoreError> {
    Ok(sqlx::query_scalar!(
        "update recording_watermark set watermark = greatest(watermark, $1) returning watermark",
        at
    )
    .fetch_one(connection)
    .await?)
}
