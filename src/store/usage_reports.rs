//! What became of the messages, for people who look: counts by outcome, and lists with reasons. Read-only.

use super::StoreError;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

/// Messages by outcome, over all batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    pub messages: i64,
    pub stored: i64,
    pub stored_unresolved: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub corrections_applied: i64,
    pub corrections_waiting: i64,
    pub voids_applied: i64,
    pub voids_waiting: i64,
    pub rejected: i64,
}

impl Outcomes {
    /// By the names of the columns, in the order in which they are shown; without the sum.
    pub fn by_name(&self) -> [(&'static str, i64); 9] {
        [
            ("stored", self.stored),
            ("stored_unresolved", self.stored_unresolved),
            ("duplicates", self.duplicates),
            ("conflicts", self.conflicts),
            ("corrections_applied", self.corrections_applied),
            ("corrections_waiting", self.corrections_waiting),
            ("voids_applied", self.voids_applied),
            ("voids_waiting", self.voids_waiting),
            ("rejected", self.rejected),
        ]
    }
}

/// A name with how many stand under it: a rejection reason, a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameCount {
    pub name: String,
    pub count: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectionLine {
    pub recorded_at: DateTime<Utc>,
    /// Where it stands: topic/partition@offset or file:line.
    pub position: String,
    pub reason: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictLine {
    pub recorded_at: DateTime<Utc>,
    pub position: String,
    pub source: String,
    pub event_id: String,
    /// What was reported under an id that stands for something else already.
    pub reported: serde_json::Value,
}

/// Usage whose deployment or product no register names, as it stands after corrections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
}

/// Counts every message that was ever recorded by its outcome.
///
/// # Errors
/// The database's.
pub async fn outcomes(pool: &PgPool) -> Result<Outcomes, StoreError> {
    Ok(sqlx::query_as!(
        Outcomes,
        r#"select coalesce(sum(messages), 0)::bigint as "messages!", coalesce(sum(stored), 0)::bigint as "stored!",
          coalesce(sum(stored_unresolved), 0)::bigint as "stored_unresolved!",
          coalesce(sum(duplicates), 0)::bigint as "duplicates!", coalesce(sum(conflicts), 0)::bigint as "conflicts!",
          coalesce(sum(corrections_applied), 0)::bigint as "corrections_applied!",
          coalesce(sum(corrections_waiting), 0)::bigint as "corrections_waiting!",
          coalesce(sum(voids_applied), 0)::bigint as "voids_applied!",
          coalesce(sum(voids_waiting), 0)::bigint as "voids_waiting!", coalesce(sum(rejected), 0)::bigint as "rejected!"
        from usage_batch"#
    )
    .fetch_one(pool)
    .await?)
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

/// The last rejections, newest first.
///
/// # Errors
/// The database's.
pub async fn rejections(pool: &PgPool, reason: Option<&str>, limit: i64) -> Result<Vec<RejectionLine>, StoreError> {
    Ok(sqlx::query_as!(
        RejectionLine,
        "select b.recorded_at, r.position, r.reason, r.detail
        from usage_rejection r join usage_batch b using (batch_id)
        where $1::text is null or r.reason = $1 order by r.rejection_id desc limit $2",
        reason,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// The last conflicts, newest first.
///
/// # Errors
/// The database's.
pub async fn conflicts(pool: &PgPool, limit: i64) -> Result<Vec<ConflictLine>, StoreError> {
    Ok(sqlx::query_as!(
        ConflictLine,
        "select b.recorded_at, c.position, c.source, c.event_id, c.reported
        from usage_conflict c join usage_batch b using (batch_id) order by c.conflict_id desc limit $1",
        limit
    )
    .fetch_all(pool)
    .await?)
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

/// Usage that no register resolves today, most events first.
///
/// # Errors
/// The database's.
pub async fn unresolved(pool: &PgPool) -> Result<Vec<UnresolvedLine>, StoreError> {
    // Rollups hold every event after its corrections, in far fewer rows than the events.
    Ok(sqlx::query_as!(
        UnresolvedLine,
        r#"select d.source, d.deployment, d.product,
          exists (select from deployment k where k.deployment_id = d.deployment) as "deployment_known!",
          exists (select from product k where k.product_id = d.product) as "product_known!",
          sum(r.events)::bigint as "events!", min(r.bucket) as "first_hour!", max(r.bucket) as "last_hour!"
        from usage_rollup r join usage_dimension d using (dimension_id)
        where not exists (select from deployment k where k.deployment_id = d.deployment)
          or not exists (select from product k where k.product_id = d.product)
        group by 1, 2, 3 having sum(r.events) <> 0 order by 6 desc, 1, 2, 3"#
    )
    .fetch_all(pool)
    .await?)
}
