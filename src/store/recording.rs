//! Time of recording: stamped in order, and never at or below a cutoff that was used.

use super::StoreError;
use crate::domain::period::Instant;
use sqlx::{PgConnection, PgPool};

/// The advisory lock that every transaction which records holds shared until it commits.
const RECORDING_LOCK: i64 = 0x6170_706f_7274;

/// Stamps what the transaction of `conn` records. The lock keeps a watermark from passing it before it commits.
pub async fn recording_instant(conn: &mut PgConnection) -> Result<Instant, StoreError> {
    sqlx::query!("select pg_advisory_xact_lock_shared($1)", RECORDING_LOCK).execute(&mut *conn).await?;
    let at = sqlx::query_scalar!(
        r#"
        -- greatest ignores nulls: on an empty database the clock alone decides
        select greatest(clock_timestamp(), (select max(recorded_at) from usage_batch),
                        (select max(cutoff) + interval '1 microsecond' from settlement)) as "at!"
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(at)
}

/// An instant at or below which nothing can be recorded any more: a cutoff that may be used.
pub async fn watermark(pool: &PgPool) -> Result<Instant, StoreError> {
    let mut tx = pool.begin().await?;
    // Waits for every transaction that records, and holds the next ones back for a moment.
    sqlx::query!("select pg_advisory_xact_lock($1)", RECORDING_LOCK).execute(&mut *tx).await?;
    let at = sqlx::query_scalar!(
        r#"
        select greatest(clock_timestamp(), (select max(recorded_at) from usage_batch),
                        (select max(cutoff) from settlement)) as "at!"
        "#
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(at)
}
