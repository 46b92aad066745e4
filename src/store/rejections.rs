//! Kept rejections: those that may be decoded again, and the end of their payloads.

use super::StoreError;
use sqlx::{PgConnection, PgPool};

/// A rejected record whose redacted payload is still kept, and that is still open.
#[derive(Clone, Debug)]
pub struct KeptRejection {
    pub rejection_id: i64,
    /// As what it was read, the source that configuration named there, and what its carrier said.
    pub format: String,
    pub source: String,
    pub carrier: serde_json::Value,
    /// A structured CloudEvent or a record, its fields allow-listed.
    pub payload: Vec<u8>,
}

/// Rejections by their ids: those after one, up to another.
#[derive(Clone, Copy, Debug)]
pub struct IdRange {
    pub after: i64,
    pub up_to: i64,
}

/// The id of the latest rejection; 0 where there is none.
///
/// # Errors
/// The database's.
pub async fn last_rejection(pool: &PgPool) -> Result<i64, StoreError> {
    let last = sqlx::query_scalar!(r#"select coalesce(max(rejection_id), 0) as "last!" from usage_rejection"#);
    Ok(last.fetch_one(pool).await?)
}

/// The kept records of a range that are open, each as it was rejected last, oldest first; of one reason where it is named.
///
/// Leaves out those whose reason is one of `refusals`: they were decoded, and refused by what stands.
///
/// # Errors
/// The database's.
pub async fn load_kept(
    pool: &PgPool,
    range: IdRange,
    reason: Option<&str>,
    refusals: &[String],
    limit: i64,
) -> Result<Vec<KeptRejection>, StoreError> {
    let rows = sqlx::query_as!(
        KeptRejection,
        r#"
        select r.rejection_id, r.format, r.source, r.carrier, r.payload as "payload!"
        from usage_rejection r join rejected_record o on o.rejection_id = r.rejection_id and o.state = 'open'
        where r.rejection_id > $1 and r.rejection_id <= $2 and ($3::text is null or r.reason = $3)
          and r.reason <> all($4) and r.payload is not null and (r.expires_at > now() or r.reason = 'archived_target')
          -- what was not parted into records is kept for its shape alone
          and r.content_type <> 'application/octet-stream'
        order by r.rejection_id limit $5
        "#,
        range.after,
        range.up_to,
        reason,
        refusals,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// How many rejected records are open; of one reason where it is named.
///
/// # Errors
/// The database's.
pub async fn count_open(pool: &PgPool, reason: Option<&str>) -> Result<u64, StoreError> {
    let open = sqlx::query_scalar!(
        r#"select count(*) as "open!" from rejected_record
           where state = 'open' and ($1::text is null or reason = $1)"#,
        reason
    );
    StoreError::decoded("the count of rejected_record", "open", open.fetch_one(pool).await?.try_into())
}

/// Notes which rejections were taken in.
///
/// # Errors
/// The database's.
pub(super) async fn mark_taken(connection: &mut PgConnection, rejection_ids: &[i64]) -> Result<(), StoreError> {
    if rejection_ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into usage_rejection_retry (rejection_id, taken_at)
         select id, clock_timestamp() from unnest($1::bigint[]) as t(id) on conflict do nothing",
        rejection_ids
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the payloads that have expired, but for those that wait for what is archived; returns how many.
///
/// # Errors
/// The database's.
pub async fn expire_payloads(pool: &PgPool) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update usage_rejection r set payload = null
             where payload is not null and expires_at <= now()
               and (reason <> 'archived_target'
                 or exists (select from usage_rejection_retry t where t.rejection_id = r.rejection_id))"
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
