//! Archives of usage: what is written of a sealed generation, who its events are, and which hours of it are offline.

use super::StoreError;
use super::copy::CopyRows;
use super::event_ids::PackedId;
use super::generations::Generation;
use super::recording::{LockMode, lock};
use crate::domain::period::Instant;
use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{Executor, PgConnection, PgPool, Postgres, Transaction};
use std::collections::HashSet;
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
    /// When its first and its last batch were recorded.
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
    /// How many of its hours are offline.
    pub offline_hours: i64,
}

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
          (select count(*) from usage_offline_hour h where h.generation = g.generation) as "offline_hours!"
        from usage_generation g
        left join usage_archive a using (generation)
        cross join lateral (
          select min(recorded_at) as recorded_from, max(recorded_at) as recorded_to,
            sum(stored + stored_unresolved)::bigint as events
          from usage_batch where batch_id >= g.first_batch and batch_id < g.first_batch + 10000000000
        ) b
        order by g.generation
        "#
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let archive = match (row.file_name, row.file_bytes, row.file_sha256, row.archived_at, row.archived_by) {
            (Some(file_name), Some(file_bytes), Some(file_sha256), Some(archived_at), Some(archived_by)) => {
                let offline_hours = row.offline_hours;
                Some(Archive { file_name, file_bytes, file_sha256, archived_at, archived_by, offline_hours })
            }
            _ => None,
        };
        let (recorded_from, recorded_to) = (row.recorded_from, row.recorded_to);
        let (generation, events, is_sealed) = (row.generation, row.events, row.is_sealed);
        GenerationUsage { generation, recorded_from, recorded_to, events, is_sealed, archive }
    });
    Ok(rows.collect())
}

/// Seals the newest generation by opening the next, once nobody records.
///
/// # Errors
/// The database's.
pub async fn seal(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query!("select open_usage_generation()").execute(pool).await?;
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

/// The hours in which events of a generation occurred that are online, in their order; those that were brought back once
/// only where they are asked for.
///
/// # Errors
/// The database's.
pub async fn load_online_hours(
    conn: &mut PgConnection,
    generation: Generation,
    with_restored: bool,
) -> Result<Vec<HourEvents>, StoreError> {
    let batches = generation.batches();
    let hours = sqlx::query_as!(
        HourEvents,
        r#"
        with hour as (
          select date_trunc('hour', occurred_at, 'UTC') as bucket, count(*) as events
          from usage_event_row where batch_id >= $2 and batch_id < $3 group by 1
        )
        select bucket as "bucket!", events as "events!" from hour
        where not exists (select from usage_offline_hour h where h.bucket = hour.bucket and h.generation = $1)
          and ($4 or not exists (select from usage_archive_change x where x.generation = $1 and x.change = 'restore'
            and x.first_bucket <= hour.bucket and x.last_bucket >= hour.bucket))
        order by bucket
        "#,
        generation.number,
        batches.start,
        batches.end,
        with_restored
    );
    Ok(hours.fetch_all(conn).await?)
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

/// Which of some events a generation has.
///
/// # Errors
/// The database's.
pub async fn load_own_keys(
    conn: &mut PgConnection,
    generation: Generation,
    keys: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let batches = generation.batches();
    let own = sqlx::query_scalar!(
        "select event_key from usage_event_row where event_key = any($1) and batch_id >= $2 and batch_id < $3",
        keys,
        batches.start,
        batches.end
    );
    Ok(own.fetch_all(conn).await?)
}

/// Takes some hours of an archived generation offline, and removes their events but for those that something names, and
/// for `kept`; returns how many went.
///
/// # Errors
/// The database's; that an hour is offline already.
pub async fn drop_hours(
    pool: &PgPool,
    generation: Generation,
    hours: &[HourEvents],
    kept: &[Uuid],
    reason: ChangeReason<'_>,
) -> Result<u64, StoreError> {
    let [Some(first), Some(last)] = [hours.first(), hours.last()] else { return Ok(0) };
    let (buckets, events): (Vec<Instant>, Vec<i64>) = hours.iter().map(|hour| (hour.bucket, hour.events)).unzip();
    let batches = generation.batches();
    let mut transaction = pool.begin().await?;
    // Beside batches, and not beside what names events: nothing begins to name one that goes.
    lock(&mut transaction, LockMode::Shared).await?;
    sqlx::query!(
        "insert into usage_offline_hour (bucket, generation, events)
         select bucket, $1, events from unnest($2::timestamptz[], $3::bigint[]) as h (bucket, events)",
        generation.number,
        &buckets,
        &events
    )
    .execute(&mut *transaction)
    .await?;
    let gone = sqlx::query!(
        r#"
        delete from usage_event_row e
        where e.batch_id >= $1 and e.batch_id < $2 and e.occurred_at >= $3 and e.occurred_at < $4::timestamptz + interval '1 hour'
          and date_trunc('hour', e.occurred_at, 'UTC') = any($5)
          and e.event_key <> all($6)
          -- these stay whoever asks: see refuse_removal
          and not exists (select from usage_amendment a where a.target_key = e.event_key)
          and not exists (select from usage_state s where s.event_key = e.event_key)
          and not exists (select from usage_interval i where i.event_key = e.event_key)
          and not exists (select from finding_decision_event f where f.event_key = e.event_key)
          and not exists (select from record r where r.event_key = e.event_key)
          -- and these are asked for with each list of findings, and of rejections
          and not exists (select from double_report d join usage_reply r using (reply_key) where r.event_key = e.event_key)
          and not exists (select from usage_rejection r where r.event_key = e.event_key)
        "#,
        batches.start,
        batches.end,
        first.bucket,
        last.bucket,
        &buckets,
        kept
    )
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    append_change(&mut transaction, generation, ("drop", first, last, gone), reason).await?;
    transaction.commit().await?;
    Ok(gone)
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
        Ok(Self { transaction: pool.begin().await?, generation, came: 0 })
    }

    /// Brings back those of some events that did not stay.
    ///
    /// # Errors
    /// The database's; that one is of an hour that is online.
    pub async fn add(&mut self, events: &[ArchivedEvent]) -> Result<(), StoreError> {
        let keys: Vec<Uuid> = events.iter().map(|event| event.event_key).collect();
        let stayed = load_own_keys(&mut self.transaction, self.generation, &keys).await?;
        let stayed: HashSet<Uuid> = stayed.into_iter().collect();
        let missing: Vec<&ArchivedEvent> = events.iter().filter(|event| !stayed.contains(&event.event_key)).collect();
        copy_events(&mut self.transaction, self.generation, &missing).await?;
        self.came = self.came.saturating_add(missing.len() as u64);
        Ok(())
    }

    /// These hours are online; returns how many events came back.
    ///
    /// # Errors
    /// The database's; that not all of their events are here.
    pub async fn end(mut self, hours: &[HourEvents], reason: ChangeReason<'_>) -> Result<u64, StoreError> {
        let [Some(first), Some(last)] = [hours.first(), hours.last()] else { return Ok(0) };
        let buckets: Vec<Instant> = hours.iter().map(|hour| hour.bucket).collect();
        sqlx::query!(
            "delete from usage_offline_hour where generation = $1 and bucket = any($2)",
            self.generation.number,
            &buckets
        )
        .execute(&mut *self.transaction)
        .await?;
        append_change(&mut self.transaction, self.generation, ("restore", first, last, self.came), reason).await?;
        self.transaction.commit().await?;
        Ok(self.came)
    }
}

async fn copy_events(
    conn: &mut PgConnection,
    generation: Generation,
    events: &[&ArchivedEvent],
) -> Result<(), StoreError> {
    const COLUMNS: &[&str] = &[
        "event_key",
        "content_hash",
        "occurred_at",
        "batch_id",
        "dimension_id",
        "customer_id",
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "requests",
        "packed_id",
        "other_quantities",
    ];
    let mut copy = CopyRows::new(Generation::part_of("usage_event_row", generation.first_batch), COLUMNS);
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
    (change, first, last, events): (&str, &HourEvents, &HourEvents, u64),
    reason: ChangeReason<'_>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into usage_archive_change (generation, change, first_bucket, last_bucket, events, changed_at, changed_by,
           reason)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7)",
        generation.number,
        change,
        first.bucket,
        last.bucket,
        StoreError::encoded::<i64, _>("usage_archive_change.events", events)?,
        reason.by,
        reason.why
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Gives the space of a generation's dropped events back to the machine, once nobody reads the generation; its readers
/// wait meanwhile, for as long as what is left of it takes to be written anew.
///
/// # Errors
/// The database's; [`StoreError::is_lock_timeout`] where somebody read all the time.
pub async fn give_space_back(pool: &PgPool, generation: Generation, patience: Duration) -> Result<(), StoreError> {
    let mut conn = pool.acquire().await?;
    // Of this connection, which is closed then.
    conn.close_on_drop();
    sqlx::query_scalar!("select set_config('lock_timeout', $1, false)", format!("{}ms", patience.as_millis()))
        .fetch_one(&mut *conn)
        .await?;
    let part = Generation::part_of("usage_event_row", generation.first_batch);
    conn.execute(sqlx::AssertSqlSafe(format!("vacuum (full) {part}"))).await?;
    Ok(())
}

/// What a generation's file is called: no two databases have one of the same name.
///
/// # Errors
/// The database's.
pub async fn file_name(conn: &mut PgConnection, generation: Generation) -> Result<String, StoreError> {
    let installation = sqlx::query_scalar!("select installation_id from installation").fetch_one(conn).await?;
    Ok(format!("usage-{installation}-{}.parquet", generation.number))
}
