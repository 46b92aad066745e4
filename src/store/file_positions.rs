//! How far files were taken in by runs that were interrupted. It moves in the transaction that stores what was read.

use super::StoreError;
use sqlx::{PgConnection, PgExecutor, PgPool};

/// What tells a file, read in one way, from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest(pub [u8; 32]);

/// How many rows of a file are stored; 0 where no run of it was interrupted.
///
/// # Errors
/// The database's.
pub async fn load(database: impl PgExecutor<'_>, digest: &FileDigest) -> Result<u64, StoreError> {
    let taken = sqlx::query_scalar!("select rows_taken from file_position where file_digest = $1", digest.0.as_slice());
    Ok(taken.fetch_optional(database).await?.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0))
}

/// Says that the first rows of a file are stored. Where another run took in more of it meanwhile, that stands.
///
/// # Errors
/// The database's.
pub async fn advance(connection: &mut PgConnection, digest: &FileDigest, rows_taken: u64) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into file_position (file_digest, rows_taken) values ($1, $2)
         on conflict (file_digest) do update set rows_taken = excluded.rows_taken
         where file_position.rows_taken < excluded.rows_taken",
        digest.0.as_slice(),
        i64::try_from(rows_taken).unwrap_or(i64::MAX)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a file that was read to its end: read again, it is read from its start.
///
/// # Errors
/// The database's.
pub async fn forget(pool: &PgPool, digest: &FileDigest) -> Result<(), StoreError> {
    sqlx::query!("delete from file_position where file_digest = $1", digest.0.as_slice()).execute(pool).await?;
    Ok(())
}
