//! Usage events by cloud and reported outcome, exact as known at a cutoff.

use super::StoreError;
use super::rollups::opened_hours;
use crate::domain::availability::CloudOutcomes;
use crate::domain::period::{Instant, Span};
use sqlx::PgPool;

/// Counts the events of a span by cloud and outcome, as known at `known_at`; clouds by name.
///
/// Whole hours come from the rollup deltas; an hour in which the span begins or ends is opened down to its
/// events.
///
/// # Errors
/// The database's.
pub async fn load_outcomes(pool: &PgPool, span: Span, known_at: Instant) -> Result<Vec<CloudOutcomes>, StoreError> {
    let opened = opened_hours(&[span.start, span.end]);
    let rows = sqlx::query_as!(
        CloudOutcomes,
        r#"
        with known_batch as (
          select batch_id from usage_batch where recorded_at <= $3
        ), counted as (
          select r.dimension_id, r.events::bigint as events
          from usage_rollup r join known_batch using (batch_id)
          where r.bucket >= $1 and r.bucket < $2 and r.bucket <> all($4::timestamptz[])
          union all
          select s.dimension_id, 1
          from (
            select distinct on (event_key) * from usage_state join known_batch using (batch_id)
            where cardinality($4::timestamptz[]) > 0 order by event_key, batch_id desc
          ) s
          where not s.voided and s.occurred_at >= $1 and s.occurred_at < $2
            and date_trunc('hour', s.occurred_at, 'UTC') = any($4::timestamptz[])
          union all
          select e.dimension_id, 1
          from usage_event_online e join known_batch using (batch_id)
          where cardinality($4::timestamptz[]) > 0
            and usage_is_online((select range_agg(tstzrange(h, h + interval '1 hour')) from unnest($4::timestamptz[]) h))
            and e.occurred_at >= $1 and e.occurred_at < $2
            and date_trunc('hour', e.occurred_at, 'UTC') = any($4::timestamptz[])
            and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
        )
        select k.cloud as "cloud?",
               coalesce(sum(c.events) filter (where d.outcome = 'ok'), 0)::bigint as "ok!",
               coalesce(sum(c.events) filter (where d.outcome = 'error'), 0)::bigint as "error!",
               coalesce(sum(c.events) filter (where d.outcome is null), 0)::bigint as "not_reported!"
        from counted c
        join usage_dimension d using (dimension_id)
        left join deployment k on k.deployment_id = d.deployment and k.recorded_at <= $3
        group by 1
        having sum(c.events) <> 0
        order by 1
        "#,
        span.start,
        span.end,
        known_at,
        &opened
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}
