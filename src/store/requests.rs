//! Writes over HTTP that name themselves by an idempotency key: done once, answered alike each time.
//!
//! What is done and its answer are one transaction, so neither a crash nor a broken connection leaves one without the
//! other. While that transaction is open it holds an advisory lock on the name, which Postgres lets go when it ends.
//! Anybody may take advisory locks, but not this one: who does not know the name cannot guess its hash.

use super::StoreError;
use sqlx::{PgConnection, PgPool};

/// How long an answer is kept, in days.
pub const KEPT_DAYS: i32 = 30;

/// What a request calls itself, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestName {
    /// Of the key that it was sent with: each has names of its own.
    pub key_id: String,
    pub idempotency_key: String,
    /// The digest of all that makes it the same request.
    pub sha256: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: i16,
    pub content_type: Option<String>,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

/// What is known of a request by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// It was done: this was the answer.
    Answered(StoredAnswer),
    /// The name was used for another request.
    OtherRequest,
}

/// Looks a request up by its name.
///
/// # Errors
/// The database's.
pub async fn find(conn: &mut PgConnection, name: &RequestName) -> Result<Known, StoreError> {
    let row = sqlx::query!(
        "select request_sha256, status, content_type, etag, body from api_request
         where key_id = $1 and idempotency_key = $2",
        name.key_id,
        name.idempotency_key
    )
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        None => Known::Nothing,
        Some(row) if row.request_sha256 != name.sha256 => Known::OtherRequest,
        Some(row) => Known::Answered(StoredAnswer {
            status: row.status,
            content_type: row.content_type,
            etag: row.etag,
            body: row.body,
        }),
    })
}

/// Claims a request until the transaction ends; false where another is at work on it, or has answered it meanwhile.
///
/// # Errors
/// The database's.
pub async fn claim(conn: &mut PgConnection, name: &RequestName) -> Result<bool, StoreError> {
    let free = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('request ' || $1 || ' ' || $2, 0)) as "free!""#,
        name.key_id,
        name.idempotency_key
    );
    // A statement of its own looks: its snapshot has to be taken after the lock was.
    Ok(free.fetch_one(&mut *conn).await? && find(conn, name).await? == Known::Nothing)
}

/// Keeps the answer of a request that was claimed in this transaction.
///
/// # Errors
/// The database's.
pub async fn keep(conn: &mut PgConnection, name: &RequestName, answer: &StoredAnswer) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into api_request (key_id, idempotency_key, request_sha256, answered_at, status, content_type, etag, body)
         values ($1, $2, $3, clock_timestamp(), $4, $5, $6, $7)",
        name.key_id,
        name.idempotency_key,
        name.sha256,
        answer.status,
        answer.content_type,
        answer.etag,
        answer.body
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the answers that were kept long enough; says how many.
///
/// # Errors
/// The database's.
pub async fn expire(pool: &PgPool) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        "delete from api_request where answered_at < clock_timestamp() - make_interval(days => $1)",
        KEPT_DAYS
    );
    Ok(removed.execute(pool).await?.rows_affected())
}
