//! Writes over HTTP that name themselves by an idempotency key: done once, answered alike each time.

use super::StoreError;
use sqlx::PgPool;

/// How long an answer is kept, in days.
pub const KEPT_DAYS: i32 = 30;

/// After how long, in seconds, a request without an answer is taken for one whose process died.
const CLAIM_SECONDS: f64 = 600.0;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: i16,
    pub content_type: Option<String>,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

/// Where a request stands that names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours to do.
    Ours,
    /// It was done: this was the answer.
    Answered(StoredAnswer),
    /// Another is at work on it.
    InProgress,
    /// The key was used for another request.
    OtherRequest,
}

/// Claims a request, or says what became of it.
///
/// # Errors
/// The database's.
pub async fn claim(
    pool: &PgPool,
    key_id: &str,
    idempotency_key: &str,
    request_sha256: &[u8],
) -> Result<Claim, StoreError> {
    // A claim whose process died is taken over: what it did before is found done, as each write is once-only.
    let claimed = sqlx::query_scalar!(
        "insert into api_request as r (key_id, idempotency_key, request_sha256, claimed_at)
         values ($1, $2, $3, clock_timestamp())
         on conflict (key_id, idempotency_key) do update set claimed_at = clock_timestamp()
           where r.status is null and r.request_sha256 = $3
             and r.claimed_at < clock_timestamp() - make_interval(secs => $4)
         returning true",
        key_id,
        idempotency_key,
        request_sha256,
        CLAIM_SECONDS
    )
    .fetch_optional(pool)
    .await?;
    if claimed.is_some() {
        return Ok(Claim::Ours);
    }
    let row = sqlx::query!(
        "select request_sha256, status, content_type, etag, body from api_request
         where key_id = $1 and idempotency_key = $2",
        key_id,
        idempotency_key
    )
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some(row) if row.request_sha256 != request_sha256 => Claim::OtherRequest,
        Some(row) => match (row.status, row.body) {
            (Some(status), Some(body)) => {
                Claim::Answered(StoredAnswer { status, content_type: row.content_type, etag: row.etag, body })
            }
            _ => Claim::InProgress,
        },
        // It was given up between the two questions.
        None => Claim::InProgress,
    })
}

/// Keeps the answer of a request that was claimed.
///
/// # Errors
/// The database's.
pub async fn answer(
    pool: &PgPool,
    key_id: &str,
    idempotency_key: &str,
    answer: &StoredAnswer,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update api_request set status = $3, content_type = $4, etag = $5, body = $6
         where key_id = $1 and idempotency_key = $2 and status is null",
        key_id,
        idempotency_key,
        answer.status,
        answer.content_type,
        answer.etag,
        answer.body
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives a claim up: the request failed on our side, and may be tried again at once.
///
/// # Errors
/// The database's.
pub async fn give_up(pool: &PgPool, key_id: &str, idempotency_key: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from api_request where key_id = $1 and idempotency_key = $2 and status is null",
        key_id,
        idempotency_key
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Removes the answers that were kept long enough; says how many.
///
/// # Errors
/// The database's.
pub async fn expire(pool: &PgPool) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        "delete from api_request where claimed_at < clock_timestamp() - make_interval(days => $1)",
        KEPT_DAYS
    );
    Ok(removed.execute(pool).await?.rows_affected())
}
