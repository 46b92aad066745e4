//! Kept rejections: those that may be decoded again, and the end of their payloads.

use super::StoreError;
use sqlx::PgPool;

/// A rejection whose redacted payload is still kept and was not taken in since.
#[derive(Clone, Debug)]
pub struct KeptRejection {
    pub rejection_id: i64,
    /// A structured CloudEvent, its fields allow-listed.
    pub payload: Vec<u8>,
}

/// The kept rejections after an id, oldest first; of one reason where it is named.
pub async fn load_kept(
    pool: &PgPool,
    after_id: i64,
    reason: Option<&str>,
    limit: i64,
) -> Result<Vec<KeptRejection>, StoreError> {
    let rows = sqlx::query_as!(
        KeptRejection,
        r#"
        select r.rejection_id, r.payload as "payload!"
        from usage_rejection r
        where r.rejection_id > $1 and ($2::text is null or r.reason = $2) and r.payload is not null
          -- what was no json is kept for its shape alone
          and r.content_type = 'application/cloudevents+json'
          and not exists (select from usage_rejection_retry t where t.rejection_id = r.rejection_id)
        order by r.rejection_id limit $3
        "#,
        after_id,
        reason,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// Notes which rejections were taken in.
pub async fn mark_taken(pool: &PgPool, rejection_ids: &[i64]) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into usage_rejection_retry (rejection_id, taken_at)
         select id, clock_timestamp() from unnest($1::bigint[]) as t(id) on conflict do nothing",
        rejection_ids
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Removes the payloads that have expired; returns how many.
pub async fn expire_payloads(pool: &PgPool) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("update usage_rejection set payload = null where payload is not null and expires_at <= now()")
            .execute(pool)
            .await?;
    Ok(done.rows_affected())
}
