//! Replies that more than one event reports: found batch by batch, loaded as known at an instant, and waived.

use super::StoreError;
use super::recording::{self, LockMode};
use super::usage::event_key_secret;
use super::usage_events::load_keyed_events;
use crate::domain::double_report::Seen;
use crate::domain::period::Instant;
use crate::domain::usage::{UsageEvent, event_key};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use uuid::Uuid;

/// How many batches are looked at in one step: what is found in it fits into memory.
const BATCHES_AT_ONCE: i64 = 100;

/// How many of the found are written down in one transaction.
const WRITTEN_AT_ONCE: usize = 1_000;

/// How many events may tell one id: what more tell is no reply's id, but what somebody writes where there is none.
const MOST_EVENTS: i32 = 100;

/// How far the search for replies that are reported more than once has come.
///
/// # Errors
/// The database's.
pub async fn load_watch(pool: &PgPool) -> Result<Instant, StoreError> {
    Ok(sqlx::query_scalar!("select known_at from double_report_watch").fetch_one(pool).await?)
}

/// Where the next step of the search ends that goes from `after` to `until`, inclusive.
///
/// # Errors
/// The database's.
pub async fn next_step(pool: &PgPool, after: Instant, until: Instant) -> Result<Instant, StoreError> {
    let end = sqlx::query_scalar!(
        r#"select coalesce((select recorded_at from usage_batch where recorded_at > $1 and recorded_at <= $2
             order by recorded_at offset $3 limit 1), $2) as "end!""#,
        after,
        until,
        BATCHES_AT_ONCE
    );
    Ok(end.fetch_one(pool).await?)
}

/// The replies that an event reports which was recorded after `after` and by `until`, and another one too, however long
/// ago, and that nobody has found.
///
/// # Errors
/// The database's.
pub async fn find_repeated(pool: &PgPool, after: Instant, until: Instant) -> Result<Vec<Uuid>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        with batch as (
          select batch_id from usage_batch where recorded_at > $1 and recorded_at <= $2
        )
        select distinct r.reply_key
        from usage_reply r join batch using (batch_id)
        -- bounds that the narrow index answers for
        where r.batch_id >= (select min(batch_id) from batch) and r.batch_id <= (select max(batch_id) from batch)
          and exists (select from usage_reply o where o.reply_key = r.reply_key and o.event_key <> r.event_key)
          and not exists (select from double_report d where d.reply_key = r.reply_key)
        "#,
        after,
        until
    );
    Ok(found.fetch_all(pool).await?)
}

/// Writes down what a step of the search found; false where somebody else has made that step.
///
/// # Errors
/// The database's. What of it was written down stands, and is not found again.
pub async fn append(pool: &PgPool, after: Instant, until: Instant, found: &[Uuid]) -> Result<bool, StoreError> {
    // Alone, as is whatever is recorded that is no batch: a few at once, so that nobody waits long.
    for found in found.chunks(WRITTEN_AT_ONCE) {
        let (mut tx, recorded_at) = recording::begin(pool, LockMode::Exclusive).await?;
        sqlx::query!(
            "insert into double_report (reply_key, recorded_at)
             select k, $2 from unnest($1::uuid[]) as k on conflict do nothing",
            found,
            recorded_at
        )
        .execute(&mut *tx)
        .await?;
        recording::note_alone(&mut tx, recorded_at).await?;
        tx.commit().await?;
    }
    let moved = sqlx::query!("update double_report_watch set known_at = $2 where known_at = $1", after, until);
    Ok(moved.execute(pool).await?.rows_affected() > 0)
}

/// A reply that more than one event reports, as known at an instant.
#[derive(Clone, Debug)]
pub struct Found {
    pub reply: Uuid,
    pub known_since: Instant,
    /// What was recorded by then counts, as somebody said.
    pub waived_through: Option<Instant>,
    /// The events that stand, and are here.
    pub events: Vec<Seen>,
    /// Of those that are archived: when each was recorded, and the hour in which it occurred.
    pub archived: Vec<(Instant, Instant)>,
}

/// Which replies to load.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundFilter {
    /// This one alone.
    pub reply: Option<Uuid>,
    /// Those that come after this one, by when they were known, to go on where a list ended.
    pub after: Option<(Instant, Uuid)>,
    /// How many at most.
    pub limit: Option<i64>,
}

/// The replies that were known at an instant to be reported more than once, in the order in which that was known.
///
/// # Errors
/// The database's, or a row that cannot be read; where one is asked for, that an event of it is archived.
pub async fn load_found(
    conn: &mut PgConnection,
    filter: &FoundFilter,
    known_at: Instant,
) -> Result<Vec<Found>, StoreError> {
    let (after_at, after) = filter.after.unzip();
    let rows = sqlx::query!(
        r#"
        with found as (
          select reply_key, recorded_at from double_report
          where recorded_at <= $1 and ($2::uuid is null or reply_key = $2)
            and ($3::timestamptz is null or (recorded_at, reply_key) > ($3, $4))
            -- as many as were known then: what comes later changes no answer
            and (select count(*) from (select from usage_reply r join usage_batch b using (batch_id)
              where r.reply_key = double_report.reply_key and b.recorded_at <= $1 limit $6 + 1) told) <= $6
          order by recorded_at, reply_key
          limit $5
        )
        select f.reply_key, f.recorded_at as known_since, r.event_key, b.recorded_at,
          (select max(w.cutoff) from double_report_waiver w
           where w.reply_key = f.reply_key and w.recorded_at <= $1) as waived_through
        from found f join usage_reply r using (reply_key) join usage_batch b using (batch_id)
        where b.recorded_at <= $1
        order by f.recorded_at, f.reply_key
        "#,
        known_at,
        filter.reply,
        after_at,
        after,
        filter.limit,
        MOST_EVENTS
    )
    .fetch_all(&mut *conn)
    .await?;
    let keys: Vec<Uuid> = rows.iter().map(|row| row.event_key).collect();
    let secret = event_key_secret(&mut *conn).await?;
    let standing = load_keyed_events(&mut *conn, &keys, known_at, filter.reply.is_some()).await?.into_iter();
    let mut standing: BTreeMap<Uuid, UsageEvent> =
        standing.map(|event| (event_key(&secret, &event.id.source, &event.id.id), event)).collect();
    let archived = sqlx::query!(
        r#"select a.event_key as "event_key!", a.bucket as "bucket!" from archived_usage($1) a
           where not exists (select from usage_event_row e where e.event_key = a.event_key)"#,
        &keys
    );
    let archived = archived.fetch_all(conn).await?.into_iter();
    let archived: BTreeMap<Uuid, Instant> = archived.map(|row| (row.event_key, row.bucket)).collect();
    let mut all: Vec<Found> = Vec::new();
    for row in rows {
        let archived = archived.get(&row.event_key).map(|hour| (row.recorded_at, *hour));
        let seen = standing.remove(&row.event_key).map(|event| Seen { recorded_at: row.recorded_at, event });
        match all.last_mut().filter(|last| last.reply == row.reply_key) {
            Some(last) => {
                last.events.extend(seen);
                last.archived.extend(archived);
            }
            None => all.push(Found {
                reply: row.reply_key,
                known_since: row.known_since,
                waived_through: row.waived_through,
                events: seen.into_iter().collect(),
                archived: archived.into_iter().collect(),
            }),
        }
    }
    Ok(all)
}

/// What somebody said of a double report: that each event of it counts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct DoubleReportWaiver {
    pub waiver_id: i64,
    /// The double report's id.
    pub double_report: String,
    /// The events that were recorded by then are covered.
    #[schema(value_type = String, format = DateTime)]
    pub cutoff: Instant,
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Instant,
    pub waived_by: String,
    pub reason: String,
}

/// Writes down that the events of a reply which were recorded by a cutoff count, each of them.
///
/// # Errors
/// The database's.
pub async fn insert_waiver(
    conn: &mut PgConnection,
    reply: Uuid,
    [cutoff, recorded_at]: [Instant; 2],
    [by, reason]: [&str; 2],
) -> Result<DoubleReportWaiver, StoreError> {
    let waiver_id = sqlx::query_scalar!(
        "insert into double_report_waiver (reply_key, cutoff, recorded_at, waived_by, reason)
         values ($1, $2, $3, $4, $5) returning waiver_id",
        reply,
        cutoff,
        recorded_at,
        by,
        reason
    )
    .fetch_one(&mut *conn)
    .await?;
    recording::note_alone(conn, recorded_at).await?;
    let (double_report, waived_by, reason) = (reply.to_string(), by.to_owned(), reason.to_owned());
    Ok(DoubleReportWaiver { waiver_id, double_report, cutoff, recorded_at, waived_by, reason })
}

/// What was said by an instant of the events of a reply, in its order.
///
/// # Errors
/// The database's.
pub async fn load_waivers(
    conn: &mut PgConnection,
    reply: Uuid,
    known_at: Instant,
) -> Result<Vec<DoubleReportWaiver>, StoreError> {
    let waivers = sqlx::query_as!(
        DoubleReportWaiver,
        r#"select waiver_id, reply_key::text as "double_report!", cutoff, recorded_at, waived_by, reason
           from double_report_waiver where reply_key = $1 and recorded_at <= $2 order by waiver_id"#,
        reply,
        known_at
    );
    Ok(waivers.fetch_all(conn).await?)
}
