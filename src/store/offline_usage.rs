//! Which hours of archived usage are offline: their events are dropped here, and brought back.

use super::StoreError;
use super::archives::ArchivedEvent;
use super::copy::CopyRows;
use super::event_ids::PackedId;
use super::generations::Generation;
use super::records::{load_entries, standing};
use super::usage::event_key_secret;
use super::usage_rows::EVENT_COLUMNS;
use crate::domain::entry::What;
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::record::Record;
use crate::domain::usage::event_key;
use sqlx::{Executor, PgConnection, PgPool, Postgres, Transaction};
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::time::Duration;
use uuid::Uuid;

/// How many events of a generation occurred in an hour, first as reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourEvents {
    pub bucket: Instant,
    pub events: i64,
}

/// Who changes what is offline, and why.
#[derive(Clone, Copy, Debug)]
pub struct ChangeReason<'a> {
    pub by: &'a str,
    pub why: &'a str,
}

/// Takes the hours of an archived generation offline in which there are events that nothing names, but for those that were
/// brought back before, unless `again`; returns how many.
///
/// # Errors
/// The database's.
pub async fn take_hours_offline(
    pool: &PgPool,
    generation: Generation,
    again: bool,
    reason: ChangeReason<'_>,
) -> Result<usize, StoreError> {
    let batches = generation.batches();
    let mut transaction = begin(pool, generation).await?;
    let hours = sqlx::query_scalar!(
        r#"
        with hour as (
          select date_trunc('hour', e.occurred_at, 'UTC') as bucket, count(*) as events, sum(usage_event_digest(e)) as digest
          from usage_event_row e where e.batch_id >= $2 and e.batch_id < $3 group by 1
          -- where every event stays nothing is to be gained
          having bool_or(not exists (select from usage_event_named n where n.event_key = e.event_key))
        )
        insert into usage_offline_hour (generation, bucket, events, digest)
        select $1, bucket, events, digest from hour
        where not exists (select from usage_offline_hour h where h.generation = $1 and h.bucket = hour.bucket)
          and ($4 or not exists (select from usage_archive_change x
            where x.generation = $1 and x.change = 'restore' and hour.bucket = any(x.hours)))
        returning bucket
        "#,
        generation.number,
        batches.start,
        batches.end,
        again
    );
    let hours = hours.fetch_all(&mut *transaction).await?;
    append_change(&mut transaction, generation, ("drop", &hours), reason).await?;
    transaction.commit().await?;
    Ok(hours.len())
}

/// How many hours of a generation were brought back and are online since.
///
/// # Errors
/// The database's.
pub async fn count_hours_brought_back(pool: &PgPool, generation: Generation) -> Result<i64, StoreError> {
    let hours = sqlx::query_scalar!(
        r#"select count(distinct bucket) as "hours!"
        from usage_archive_change c cross join unnest(c.hours) as bucket
        where c.generation = $1 and c.change = 'restore'
          and not exists (select from usage_offline_hour h where (h.generation, h.bucket) = (c.generation, bucket))"#,
        generation.number
    );
    Ok(hours.fetch_one(pool).await?)
}

/// How many blocks a generation's events take up.
///
/// # Errors
/// The database's.
pub async fn count_blocks(pool: &PgPool, generation: Generation) -> Result<i64, StoreError> {
    let part = Generation::part_of("usage_event_row", generation.first_batch);
    let blocks = sqlx::query_scalar!(
        r#"select pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint as "blocks!""#,
        part
    );
    Ok(blocks.fetch_one(pool).await?)
}

/// Removes the events of hours that are offline which stand in some blocks, but for those that something names; returns how
/// many. Nothing begins to name one meanwhile.
///
/// # Errors
/// The database's.
pub async fn drop_events(pool: &PgPool, generation: Generation, blocks: Range<i64>) -> Result<u64, StoreError> {
    let mut transaction = begin(pool, generation).await?;
    // Beside batches, which do not wait for it, and not beside those who record alone: what they name is seen here.
    sqlx::query!("lock table recording_gate in row exclusive mode").execute(&mut *transaction).await?;
    let kept = keys_named_by_records(&mut transaction).await?;
    let batches = generation.batches();
    let gone = sqlx::query!(
        r#"
        delete from usage_event_row e
        where e.batch_id >= $1 and e.batch_id < $2
          and e.ctid >= format('(%s,0)', $3::bigint)::tid and e.ctid < format('(%s,0)', $4::bigint)::tid
          and exists (select from usage_offline_hour h
            where h.generation = $5 and h.bucket = date_trunc('hour', e.occurred_at, 'UTC'))
          and not exists (select from usage_event_named n where n.event_key = e.event_key)
          and e.event_key <> all($6)
        "#,
        batches.start,
        batches.end,
        blocks.start,
        blocks.end,
        generation.number,
        &kept
    )
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    transaction.commit().await?;
    Ok(gone)
}

/// The events whose charges or money records beside usage are about.
async fn keys_named_by_records(conn: &mut PgConnection) -> Result<Vec<Uuid>, StoreError> {
    let secret = event_key_secret(&mut *conn).await?;
    let entries = load_entries(conn, Instant::MAX_UTC).await?;
    // Also as they were first said: as known before they were corrected or voided that is what stands.
    let said = entries.iter().filter_map(|entry| match &entry.what {
        What::Record(content) => Some(content.names()),
        What::Usage(_) | What::Correction { .. } | What::Void { .. } => None,
    });
    let standing = standing(&entries).records;
    let names: BTreeSet<&EventId> = said.flatten().chain(standing.iter().flat_map(Record::names)).collect();
    Ok(names.into_iter().map(|id| event_key(&secret, &id.source, &id.id)).collect())
}

/// Begins to change what of an archive is offline: one at a time.
async fn begin(pool: &PgPool, generation: Generation) -> Result<Transaction<'static, Postgres>, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("select from usage_archive where generation = $1 for update", generation.number)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Which hours to look for: all where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct HourFilter {
    /// Those that begin then or later.
    pub from: Option<Instant>,
    /// Those that begin earlier.
    pub until: Option<Instant>,
    /// Those that begin then.
    pub hours: Option<Vec<Instant>>,
}

/// Some hours of a generation that are offline, in their order.
///
/// # Errors
/// The database's.
pub async fn load_offline_hours(
    conn: &mut PgConnection,
    generation: Generation,
    filter: &HourFilter,
) -> Result<Vec<HourEvents>, StoreError> {
    let hours = sqlx::query_as!(
        HourEvents,
        "select bucket, events from usage_offline_hour
         where generation = $1 and ($2::timestamptz is null or bucket >= $2) and ($3::timestamptz is null or bucket < $3)
           and ($4::timestamptz[] is null or bucket = any($4))
         order by bucket",
        generation.number,
        filter.from,
        filter.until,
        filter.hours.as_deref()
    );
    Ok(hours.fetch_all(conn).await?)
}

/// Hours that are being brought back: none of them is online before all of their events are here.
pub struct Restore {
    transaction: Transaction<'static, Postgres>,
    generation: Generation,
    came: u64,
}

impl Restore {
    /// # Errors
    /// The database's.
    pub async fn begin(pool: &PgPool, generation: Generation) -> Result<Self, StoreError> {
        Ok(Self { transaction: begin(pool, generation).await?, generation, came: 0 })
    }

    /// Brings back those of some events that did not stay.
    ///
    /// # Errors
    /// The database's; that one is of an hour that is online.
    pub async fn add(&mut self, events: &[ArchivedEvent]) -> Result<(), StoreError> {
        let keys: Vec<Uuid> = events.iter().map(|event| event.event_key).collect();
        let batches = self.generation.batches();
        let stayed = sqlx::query_scalar!(
            "select event_key from usage_event_row where event_key = any($1) and batch_id >= $2 and batch_id < $3",
            &keys,
            batches.start,
            batches.end
        );
        let stayed: HashSet<Uuid> = stayed.fetch_all(&mut *self.transaction).await?.into_iter().collect();
        let missing: Vec<&ArchivedEvent> = events.iter().filter(|event| !stayed.contains(&event.event_key)).collect();
        copy_events(&mut self.transaction, self.generation, &missing).await?;
        self.came = self.came.saturating_add(missing.len() as u64);
        Ok(())
    }

    /// These hours are online; returns how many events came back.
    ///
    /// # Errors
    /// The database's; that not all of their events are here as they were.
    pub async fn end(mut self, hours: &[HourEvents], reason: ChangeReason<'_>) -> Result<u64, StoreError> {
        let buckets: Vec<Instant> = hours.iter().map(|hour| hour.bucket).collect();
        let buckets = sqlx::query_scalar!(
            "delete from usage_offline_hour where generation = $1 and bucket = any($2) returning bucket",
            self.generation.number,
            &buckets
        )
        .fetch_all(&mut *self.transaction)
        .await?;
        append_change(&mut self.transaction, self.generation, ("restore", &buckets), reason).await?;
        self.transaction.commit().await?;
        Ok(self.came)
    }
}

async fn copy_events(
    conn: &mut PgConnection,
    generation: Generation,
    events: &[&ArchivedEvent],
) -> Result<(), StoreError> {
    let mut copy = CopyRows::new(Generation::part_of("usage_event_row", generation.first_batch), EVENT_COLUMNS);
    for event in events {
        copy.row();
        copy.uuid(event.event_key);
        copy.uuid(event.content_hash);
        copy.instant(event.occurred_at);
        copy.int8(event.batch_id);
        copy.int4(event.dimension_id);
        copy.int4(event.customer_id);
        event.columns.iter().for_each(|column| copy.int4(*column));
        copy.bytea(PackedId::of(&event.event_id).bytes());
        copy.text(&event.other_quantities);
    }
    copy.send(conn).await
}

async fn append_change(
    transaction: &mut Transaction<'_, Postgres>,
    generation: Generation,
    (change, hours): (&str, &[Instant]),
    reason: ChangeReason<'_>,
) -> Result<(), StoreError> {
    if hours.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into usage_archive_change (generation, change, hours, changed_at, changed_by, reason)
         values ($1, $2, $3, clock_timestamp(), $4, $5)",
        generation.number,
        change,
        hours,
        reason.by,
        reason.why
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Whether a generation takes up much more space than the events of it that are here need.
///
/// # Errors
/// The database's.
pub async fn has_space_to_give(pool: &PgPool, generation: Generation) -> Result<bool, StoreError> {
    let batches = generation.batches();
    let has = sqlx::query_scalar!(
        r#"select pg_relation_size($1::text::regclass) > 1048576 + 1000 * (select count(*) from usage_event_row
             where batch_id >= $2 and batch_id < $3) as "has!""#,
        Generation::part_of("usage_event_row", generation.first_batch),
        batches.start,
        batches.end
    );
    Ok(has.fetch_one(pool).await?)
}

/// Gives the space of a generation's dropped events back to the machine, once nobody reads the generation. Batches and readers
/// wait meanwhile, for as long as it takes to read what there was and to write anew what is left.
///
/// # Errors
/// The database's; [`StoreError::is_lock_timeout`] where somebody read all the time.
pub async fn give_space_back(pool: &PgPool, generation: Generation, patience: Duration) -> Result<(), StoreError> {
    let mut conn = pool.acquire().await?;
    // The limit is this connection's for as long as it is open.
    conn.close_on_drop();
    sqlx::query_scalar!("select set_config('lock_timeout', $1, false)", format!("{}ms", patience.as_millis()))
        .fetch_one(&mut *conn)
        .await?;
    let part = Generation::part_of("usage_event_row", generation.first_batch);
    conn.execute(sqlx::AssertSqlSafe(format!("vacuum (full) {part}"))).await?;
    Ok(())
}
