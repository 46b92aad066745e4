//! Archives of usage: what is written of a sealed generation, and that it is there.

use super::generations::Generation;
use super::recording::{LockMode, lock};
use super::{StoreError, limit_lock_wait};
use crate::domain::period::Instant;
use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use std::time::Duration;
use uuid::Uuid;

/// An event as its row has it, with what its numbers stand for, so that a file of them says all by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedEvent {
    pub event_key: Uuid,
    pub content_hash: Uuid,
    pub source: String,
    pub event_id: String,
    pub occurred_at: Instant,
    pub ended_at: Option<Instant>,
    pub batch_id: i64,
    pub recorded_at: Instant,
    pub dimension_id: i32,
    pub deployment: String,
    pub product: String,
    pub service_tier: String,
    pub outcome: Option<String>,
    /// A JSON object.
    pub attributes: String,
    pub rules: String,
    pub customer_id: i32,
    pub customer: String,
    /// Input, cached input, output and reasoning tokens, and requests.
    pub columns: [i32; 5],
    /// A JSON object of further meters; empty where there are none.
    pub other_quantities: String,
}

/// A sealed generation, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GenerationUsage {
    pub generation: i32,
    /// When its first and its last event were recorded.
    pub recorded_from: Option<Instant>,
    pub recorded_to: Option<Instant>,
    pub events: i64,
    pub is_sealed: bool,
    pub archive: Option<Archive>,
}

/// The file that a generation was written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archive {
    pub file_name: String,
    pub file_bytes: i64,
    /// Hexadecimal digits.
    pub file_sha256: String,
    pub archived_at: Instant,
    pub archived_by: String,
    /// How many of its hours are offline, and of their events how many are, and how many stay, as something names them.
    pub offline_hours: i64,
    pub offline_events: i64,
    pub named_events: i64,
}

/// All generations, with their archives.
///
/// # Errors
/// The database's.
pub async fn load_generations(conn: &mut PgConnection) -> Result<Vec<GenerationUsage>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select g.generation, b.recorded_from, b.recorded_to, coalesce(b.events, 0) as "events!",
          g.generation < (select max(generation) from usage_generation) as "is_sealed!",
          a.file_name as "file_name?", a.file_bytes as "file_bytes?", encode(a.file_sha256, 'hex') as file_sha256,
          a.archived_at as "archived_at?", a.archived_by as "archived_by?",
          h.hours as "offline_hours!", coalesce(a.events - here.events, 0) as "offline_events!",
          coalesce(h.events - a.events + here.events, 0) as "named_events!"
        from usage_generation g
        left join usage_archive a using (generation)
        cross join lateral (
          -- batches without events stand where they were recorded, and no file has them
          select min(recorded_at) filter (where stored + stored_unresolved > 0) as recorded_from,
            max(recorded_at) filter (where stored + stored_unresolved > 0) as recorded_to,
            sum(stored + stored_unresolved)::bigint as events
          from usage_batch where batch_id >= g.first_batch and batch_id < g.first_batch + 10000000000
        ) b
        cross join lateral (
          select count(*) as hours, sum(events)::bigint as events from usage_offline_hour where generation = g.generation
        ) h
        -- where hours are offline few events are left to be counted
        left join lateral (
          select count(*) as events from usage_event_row e
          where e.batch_id >= g.first_batch and e.batch_id < g.first_batch + 10000000000
        ) here on h.hours > 0
        order by g.generation
        "#
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let archive = match (row.file_name, row.file_bytes, row.file_sha256, row.archived_at, row.archived_by) {
            (Some(file_name), Some(file_bytes), Some(file_sha256), Some(archived_at), Some(archived_by)) => {
                let (offline_hours, offline_events, named_events) =
                    (row.offline_hours, row.offline_events, row.named_events);
                Some(Archive {
                    file_name,
                    file_bytes,
                    file_sha256,
                    archived_at,
                    archived_by,
                    offline_hours,
                    offline_events,
                    named_events,
                })
            }
            _ => None,
        };
        let (recorded_from, recorded_to) = (row.recorded_from, row.recorded_to);
        let (generation, events, is_sealed) = (row.generation, row.events, row.is_sealed);
        GenerationUsage { generation, recorded_from, recorded_to, events, is_sealed, archive }
    });
    Ok(rows.collect())
}

/// Seals the newest generation by opening the next, once nobody records; does nothing where it has no events.
///
/// # Errors
/// The database's; [`StoreError::is_lock_timeout`] where somebody recorded all the time.
pub async fn seal(pool: &PgPool, patience: Duration) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    limit_lock_wait(&mut transaction, patience).await?;
    lock(&mut transaction, LockMode::Exclusive).await?;
    let has_events = sqlx::query_scalar!(
        r#"select exists (select from usage_event_row
             where batch_id >= (select max(first_batch) from usage_generation)) as "has_events!""#
    );
    if has_events.fetch_one(&mut *transaction).await? {
        // A statement of its own: whoever reads the whole table cannot add a part to it.
        sqlx::query!("select open_usage_generation()").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Hands over a generation's events one by one, in the order of occurrence and then of keys.
///
/// # Errors
/// The database's, or what `take` fails with.
pub async fn each_event<E: From<StoreError>>(
    conn: &mut PgConnection,
    generation: Generation,
    mut take: impl FnMut(ArchivedEvent) -> Result<(), E>,
) -> Result<(), E> {
    let batches = generation.batches();
    let mut rows = sqlx::query!(
        r#"
        select e.event_key, e.content_hash, d.source, event_id_text(e.packed_id) as "event_id!", e.occurred_at,
          i.ended_at as "ended_at?", e.batch_id, b.recorded_at, e.dimension_id, d.deployment, d.product, d.service_tier,
          d.outcome, d.attributes::text as "attributes!", d.rules, e.customer_id, c.customer, e.input_tokens,
          e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
        from usage_event_row e
        join usage_batch b using (batch_id)
        join usage_dimension d using (dimension_id)
        join usage_customer c using (customer_id)
        left join usage_interval i using (event_key)
        where e.batch_id >= $1 and e.batch_id < $2
        order by e.occurred_at, e.event_key
        "#,
        batches.start,
        batches.end
    )
    .fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(StoreError::from)? {
        take(ArchivedEvent {
            event_key: row.event_key,
            content_hash: row.content_hash,
            source: row.source,
            event_id: row.event_id,
            occurred_at: row.occurred_at,
            ended_at: row.ended_at,
            batch_id: row.batch_id,
            recorded_at: row.recorded_at,
            dimension_id: row.dimension_id,
            deployment: row.deployment,
            product: row.product,
            service_tier: row.service_tier,
            outcome: row.outcome,
            attributes: row.attributes,
            rules: row.rules,
            customer_id: row.customer_id,
            customer: row.customer,
            columns: [row.input_tokens, row.cached_input_tokens, row.output_tokens, row.reasoning_tokens, row.requests],
            other_quantities: row.other_quantities,
        })?;
    }
    Ok(())
}

/// The file that was written and read back.
#[derive(Clone, Debug)]
pub struct NewArchive<'a> {
    pub file_name: &'a str,
    pub file_bytes: u64,
    pub file_sha256: [u8; 32],
    pub events: u64,
    pub by: &'a str,
}

/// Writes down that a file has all events of a sealed generation, and who they are.
///
/// # Errors
/// The database's; that it has other events, or is not sealed.
pub async fn append_archive(pool: &PgPool, generation: Generation, archive: &NewArchive<'_>) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await?;
    let events = StoreError::encoded::<i64, _>("usage_archive.events", archive.events)?;
    sqlx::query!(
        "insert into usage_archive (generation, file_name, file_bytes, file_sha256, events, archived_at, archived_by)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6)",
        generation.number,
        archive.file_name,
        StoreError::encoded::<i64, _>("usage_archive.file_bytes", archive.file_bytes)?,
        archive.file_sha256.as_slice(),
        events,
        archive.by
    )
    .execute(&mut *transaction)
    .await?;
    let identified = sqlx::query_scalar!(r#"select identify_archived_usage($1) as "events!""#, generation.number)
        .fetch_one(&mut *transaction)
        .await?;
    let same = if identified == events { Ok(()) } else { Err(format!("{identified} events are here")) };
    StoreError::decoded("usage_archive.events", generation.number, same)?;
    transaction.commit().await?;
    Ok(())
}

/// What a file of a generation may be called: no two are called the same, neither of two databases nor of two runs.
///
/// # Errors
/// The database's.
pub async fn new_file_name(conn: &mut PgConnection, generation: Generation) -> Result<String, StoreError> {
    let name = sqlx::query_scalar!(
        r#"select format('usage-%s-%s-%s.parquet', left(installation_id::text, 8), $1::integer,
             left(gen_random_uuid()::text, 8)) as "name!" from installation"#,
        generation.number
    );
    Ok(name.fetch_one(conn).await?)
}
