//! What became of the messages, for people who look: counts by outcome, and lists with reasons. Read-only.

use super::StoreError;
use super::usage::{Identity, Wanted, look_up};
use crate::domain::names::names;
use crate::domain::outcome::Counts;
use crate::domain::period::{Instant, Span};
use crate::domain::usage::UsageMessage;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A name with how many stand under it: a rejection reason, a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameCount {
    pub name: String,
    pub count: i64,
}

/// A rejected record: however often it was read where it stands, it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RejectionLine {
    /// Of the last time that it was rejected.
    pub rejection_id: i64,
    pub recorded_at: DateTime<Utc>,
    /// How many times it was read, and rejected for the same.
    pub times: i64,
    pub state: RejectionState,
    /// Where it stands: topic/partition@offset, file:line, or key and place of a request.
    pub position: String,
    pub reason: String,
    pub detail: String,
}

names! {
    /// What became of a rejected record since.
    RejectionState as "state of a rejection" {
        /// It counts nowhere, as far as is known: of an event of ours its source and id tell that, of others nothing does.
        Open = "open",
        /// A retry took it in.
        Retried = "retried",
        /// An event stands under its source and id, or a correction or void that came after it.
        CameIn = "came_in",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictLine {
    /// Of the last time that it was read.
    pub conflict_id: i64,
    pub recorded_at: DateTime<Utc>,
    /// How many times it was read where it stands.
    pub times: i64,
    pub position: String,
    pub source: String,
    pub event_id: String,
    /// What was reported under an id that stands for something else already.
    pub reported: serde_json::Value,
    pub stands: Standing,
}

/// What stands under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it was reported first.
    Usage(Box<UsageMessage>),
    /// An event that an archive alone has.
    Archived,
    /// A record beside usage.
    Record,
}

/// Usage whose deployment or product no register names, as it stands after corrections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnresolvedLine {
    pub source: String,
    pub deployment: String,
    pub product: String,
    pub deployment_known: bool,
    pub product_known: bool,
    pub events: i64,
    /// Starts of the first and the last hour in which it occurred.
    pub first_hour: DateTime<Utc>,
    pub last_hour: DateTime<Utc>,
    /// The contracts that need not wait for it: all of it was recorded by when it was waived for them.
    pub waived_for: Vec<String>,
    /// The contracts that wait for a part of it alone: it came after the rest was waived for them.
    pub waived_in_part_for: Vec<String>,
}

/// Which line of unresolved usage it is: its source, deployment and product.
pub type UnresolvedKey = (String, String, String);

impl UnresolvedLine {
    pub fn key(&self) -> UnresolvedKey {
        (self.source.clone(), self.deployment.clone(), self.product.clone())
    }
}

/// Counts every message that was ever recorded by what became of it when it came.
///
/// # Errors
/// The database's.
pub async fn outcomes(pool: &PgPool) -> Result<Counts, StoreError> {
    let rows = sqlx::query!(
        r#"select o.name as "name!", sum(o.messages)::bigint as "messages!"
        from usage_batch b cross join lateral (values ('stored', b.stored), ('stored_unresolved', b.stored_unresolved),
          ('duplicate', b.duplicate), ('conflict', b.conflict), ('correction_applied', b.correction_applied),
          ('correction_waiting', b.correction_waiting), ('void_applied', b.void_applied),
          ('void_waiting', b.void_waiting), ('no_usage', b.no_usage), ('rejected', b.rejected)) o (name, messages)
        -- a retry takes in messages that were counted when they were rejected
        where b.intake <> 'retry' group by 1"#
    )
    .fetch_all(pool)
    .await?;
    let counts = rows.iter().map(|row| {
        let outcome = StoreError::decoded("the columns", "usage_batch", row.name.parse())?;
        Ok((outcome, StoreError::decoded("the sums", "usage_batch", row.messages.try_into())?))
    });
    counts.collect()
}

/// Rejections by reason, most first.
///
/// # Errors
/// The database's.
pub async fn rejections_by_reason(pool: &PgPool) -> Result<Vec<NameCount>, StoreError> {
    Ok(sqlx::query_as!(
        NameCount,
        r#"select reason as name, count(*) as "count!" from usage_rejection group by reason order by 2 desc, 1"#
    )
    .fetch_all(pool)
    .await?)
}

/// How many rejections a retry took in since.
///
/// # Errors
/// The database's.
pub async fn taken_by_retries(pool: &PgPool) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from usage_rejection_retry"#).fetch_one(pool).await?)
}

/// How many events of a span were recorded after an instant, to the hour.
///
/// # Errors
/// The database's.
pub async fn events_since(conn: &mut PgConnection, span: Span, known_at: Instant) -> Result<i64, StoreError> {
    let events = sqlx::query_scalar!(
        r#"select coalesce(sum(r.events), 0) as "events!"
        from usage_rollup r join usage_batch b using (batch_id)
        where r.bucket >= $1 and r.bucket < $2 and b.recorded_at > $3 and r.events > 0"#,
        span.start,
        span.end,
        known_at
    );
    Ok(events.fetch_one(conn).await?)
}

/// Events by deployment, as first reported.
///
/// # Errors
/// The database's.
pub async fn events_by_deployment(pool: &PgPool) -> Result<Vec<NameCount>, StoreError> {
    Ok(sqlx::query_as!(
        NameCount,
        r#"select d.deployment as name, count(*) as "count!"
        from usage_event e join usage_dimension d using (dimension_id) group by 1 order by 2 desc, 1"#
    )
    .fetch_all(pool)
    .await?)
}

/// Events by the outcome of their requests, as first reported.
///
/// # Errors
/// The database's.
pub async fn events_by_outcome(pool: &PgPool) -> Result<Vec<NameCount>, StoreError> {
    Ok(sqlx::query_as!(
        NameCount,
        r#"select coalesce(d.outcome, 'not reported') as "name!", count(*) as "count!"
        from usage_event e join usage_dimension d using (dimension_id) group by 1 order by 2 desc, 1"#
    )
    .fetch_all(pool)
    .await?)
}

/// The last rejected records, newest first, of those before one where it is named.
///
/// # Errors
/// The database's.
pub async fn rejections(
    pool: &PgPool,
    reason: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<RejectionLine>, StoreError> {
    let rows = sqlx::query!(
        r#"select rejection_id as "rejection_id!", recorded_at as "recorded_at!", times as "times!", state as "state!",
          position as "position!", reason as "reason!", detail as "detail!"
        from rejected_record
        where ($1::text is null or reason = $1) and ($2::bigint is null or rejection_id < $2)
        order by rejection_id desc limit $3"#,
        reason,
        before,
        limit
    );
    let lines = rows.fetch_all(pool).await?.into_iter().map(|row| {
        let state = StoreError::decoded("rejected_record.state", row.rejection_id, row.state.parse())?;
        let (rejection_id, recorded_at, times) = (row.rejection_id, row.recorded_at, row.times);
        let (position, reason, detail) = (row.position, row.reason, row.detail);
        Ok(RejectionLine { rejection_id, recorded_at, times, state, position, reason, detail })
    });
    lines.collect()
}

/// The last conflicts, newest first, of those before one where it is named.
///
/// # Errors
/// The database's.
pub async fn conflicts(pool: &PgPool, before: Option<i64>, limit: i64) -> Result<Vec<ConflictLine>, StoreError> {
    let rows = sqlx::query!(
        r#"select c.conflict_id, b.recorded_at, same.times as "times!", c.position, c.event_key, c.source, c.event_id,
          c.reported
        from usage_conflict c join usage_batch b using (batch_id)
        -- however often it was read where it stands, it is one, told as it was read last
        cross join lateral (
          select count(*) as times, max(o.conflict_id) as last_id from usage_conflict o
          where (o.event_key, o.content_hash, o.position) = (c.event_key, c.content_hash, c.position)
        ) same
        where same.last_id = c.conflict_id and ($1::bigint is null or c.conflict_id < $1)
        order by c.conflict_id desc limit $2"#,
        before,
        limit
    );
    let rows = rows.fetch_all(pool).await?;
    let keys: Vec<Uuid> = rows.iter().map(|row| row.event_key).collect();
    let wanted = Wanted { beside_keys: keys.clone(), target_keys: keys, ..Wanted::default() };
    let known = look_up(&mut *pool.acquire().await?, &wanted).await?;
    let stands =
        |key: &Uuid| match known.identities.get(key)? {
            Identity::Event { .. } => Some(known.events.get(key).map_or(Standing::Archived, |stored| {
                Standing::Usage(Box::new(UsageMessage::Event(stored.event.clone())))
            })),
            Identity::Amendment { .. } => {
                let stored = known.amendments.iter().find(|stored| stored.key == *key);
                stored.map(|stored| Standing::Usage(Box::new(UsageMessage::Amendment(stored.amendment.clone()))))
            }
            Identity::Record => Some(Standing::Record),
        };
    let lines = rows.into_iter().map(|row| {
        let stands = stands(&row.event_key).ok_or("nothing stands under it");
        let stands = StoreError::decoded("usage_conflict.event_key", row.event_key, stands)?;
        let (recorded_at, times, position, reported) = (row.recorded_at, row.times, row.position, row.reported);
        let (conflict_id, source, event_id) = (row.conflict_id, row.source, row.event_id);
        Ok(ConflictLine { conflict_id, recorded_at, times, position, source, event_id, reported, stands })
    });
    lines.collect()
}

/// Events that came after the close of a period in which they had occurred, or of a later one.
///
/// # Errors
/// The database's.
pub async fn late_events(pool: &PgPool) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"with closed as (
          select c.closed_at, s.period_end from period_close c join settlement s using (contract_id, period)
          group by 1, 2
        )
        select count(*) as "count!" from usage_event e join usage_batch b using (batch_id)
        where exists (select from closed c where e.occurred_at < c.period_end and b.recorded_at > c.closed_at)"#
    )
    .fetch_one(pool)
    .await?)
}

/// Usage that no register resolves today, by its key; after one where that is named.
///
/// # Errors
/// The database's.
pub async fn unresolved(
    pool: &PgPool,
    after: Option<&UnresolvedKey>,
    limit: Option<i64>,
) -> Result<Vec<UnresolvedLine>, StoreError> {
    // Rollups hold every event after its corrections, in far fewer rows than the events.
    Ok(sqlx::query_as!(
        UnresolvedLine,
        r#"with line as (
          select d.source, d.deployment, d.product,
            exists (select from deployment k where k.deployment_id = d.deployment) as deployment_known,
            exists (select from product k where k.product_id = d.product) as product_known,
            sum(r.events)::bigint as events, min(r.bucket) as first_hour, max(r.bucket) as last_hour
          from usage_rollup r join usage_dimension d using (dimension_id)
          where not (exists (select from deployment k where k.deployment_id = d.deployment)
              and exists (select from product k where k.product_id = d.product))
            and ($1::text is null
              or (d.source collate "C", d.deployment collate "C", d.product collate "C") > ($1, $2::text, $3::text))
          group by 1, 2, 3 having sum(r.events) <> 0
          order by d.source collate "C", d.deployment collate "C", d.product collate "C" limit $4
        )
        select l.source as "source!", l.deployment as "deployment!", l.product as "product!",
          l.deployment_known as "deployment_known!", l.product_known as "product_known!", l.events as "events!",
          l.first_hour as "first_hour!", l.last_hour as "last_hour!",
          w.whole as "waived_for!", w.part as "waived_in_part_for!"
        from line l cross join lateral (
          select coalesce(array_agg(contract_id order by contract_id) filter (where is_whole), '{}') as whole,
            coalesce(array_agg(contract_id order by contract_id) filter (where not is_whole), '{}') as part
          from (
            select c.contract_id, bool_and(is_waived(c.contract_id, o.dimension_id, n.bucket, b.recorded_at)) as is_whole
            from (
              select distinct w.contract_id from unresolved_waiver w join usage_dimension x using (dimension_id)
              where (x.source, x.deployment, x.product) = (l.source, l.deployment, l.product)
            ) c
            cross join usage_dimension o join usage_rollup n using (dimension_id) join usage_batch b using (batch_id)
            where (o.source, o.deployment, o.product) = (l.source, l.deployment, l.product) and n.events > 0
            group by 1
          ) of_contract
        ) w
        order by l.source collate "C", l.deployment collate "C", l.product collate "C" "#,
        after.map(|(source, ..)| source),
        after.map(|(_, deployment, _)| deployment),
        after.map(|(.., product)| product),
        limit
    )
    .fetch_all(pool)
    .await?)
}
