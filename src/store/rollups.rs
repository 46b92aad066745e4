//! Usage summed for rating, exact as known at a cutoff, and what of it no mapping knows.

use super::StoreError;
use crate::domain::ids::{CustomerId, DeploymentId, ProductId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Timeline, start_of_hour};
use crate::domain::rating::UsageRollup;
use crate::domain::usage::Meter;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Usage stored whose deployment or product was not known at the cutoff.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnresolvedUsage {
    pub dimension_id: i32,
    pub source: String,
    pub deployment: String,
    pub product: String,
    pub events: i64,
}

/// The start of the last hour of which any usage was ever recorded.
///
/// # Errors
/// The database's.
pub async fn last_hour(conn: &mut PgConnection) -> Result<Option<Instant>, StoreError> {
    Ok(sqlx::query_scalar!("select max(bucket) from usage_rollup_row").fetch_one(conn).await?)
}

/// Sums the usage of a timeline by segment and by all that can decide on its price, as known at `known_at`.
///
/// Whole hours come from the rollup deltas; an hour in which an edge of the timeline falls is opened down
/// to its events, and so is a context band in which a price threshold falls that was not known when the
/// rollup was made. So no bucket ever decides anything.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_usage(
    conn: &mut PgConnection,
    timeline: &Timeline,
    thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
    known_at: Instant,
) -> Result<Vec<UsageRollup>, StoreError> {
    let edges = timeline.edges();
    let opened = opened_hours(edges);
    let (products, overs) = threshold_arrays(thresholds);
    let rows = sqlx::query_file!(
        "src/store/usage_by_segment.sql",
        edges,
        &opened,
        known_at,
        &products,
        &overs,
        &context_meters()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            // The columns are the query's own.
            let of = format!("the usage of {} and {}", row.deployment, row.product);
            Ok(UsageRollup {
                segment: StoreError::decoded("segment", &of, usize::try_from(row.segment))?,
                deployment: DeploymentId::new(row.deployment),
                product: ProductId::new(row.product),
                customer: CustomerId::new(row.customer),
                service_tier: row.service_tier,
                context_over: StoreError::decoded("context_over", &of, u64::try_from(row.context_over))?,
                meter: StoreError::decoded("meter", &of, row.meter.parse())?,
                quantity: StoreError::decoded("quantity", &of, row.quantity.parse::<Exact>())?,
            })
        })
        .collect()
}

/// The meters that belong to the context of a request, by their names.
pub(super) fn context_meters() -> Vec<String> {
    Meter::ALL.iter().filter(|meter| meter.is_context()).map(|meter| meter.name().to_owned()).collect()
}

/// Context thresholds in the form in which queries take them: products, and numbers of tokens.
pub(super) fn threshold_arrays(thresholds: &BTreeMap<ProductId, BTreeSet<u64>>) -> (Vec<String>, Vec<i64>) {
    let over = |over: &u64| i64::try_from(*over).unwrap_or(i64::MAX);
    let of_product = |(product, overs): (&ProductId, &BTreeSet<u64>)| {
        let product = product.to_string();
        overs.iter().map(move |it| (product.clone(), over(it))).collect::<Vec<_>>()
    };
    thresholds.iter().flat_map(of_product).unzip()
}

/// The hours in which an edge falls other than at their start.
pub(super) fn opened_hours(edges: &[Instant]) -> Vec<Instant> {
    let inside = edges.iter().filter(|edge| start_of_hour(**edge) != **edge);
    let hours: BTreeSet<Instant> = inside.map(|edge| start_of_hour(*edge)).collect();
    hours.into_iter().collect()
}

/// Usage up to `end` (exclusive) whose deployment or product no register knew at `known_at`.
///
/// As in [`load_usage`], an hour in which `end` falls is opened down to its events.
///
/// # Errors
/// The database's.
pub async fn load_unresolved(
    conn: &mut PgConnection,
    end: Instant,
    known_at: Instant,
) -> Result<Vec<UnresolvedUsage>, StoreError> {
    let last_hour = start_of_hour(end);
    let rows = sqlx::query_as!(
        UnresolvedUsage,
        r#"
        with known_batch as (
          select batch_id from usage_batch where recorded_at <= $2
        ), unknown_dimension as (
          select * from usage_dimension d
          where not (exists (select from deployment where deployment_id = d.deployment and recorded_at <= $2)
                 and exists (select from product where product_id = d.product and recorded_at <= $2))
        ), counted as (
          select r.dimension_id, r.events::bigint as events
          from usage_rollup r join known_batch using (batch_id) where r.bucket < $3
          union all
          select s.dimension_id, 1
          from (
            select distinct on (event_key) * from usage_state join known_batch using (batch_id)
            where $3 < $1 order by event_key, batch_id desc
          ) s
          where not s.voided and s.occurred_at >= $3 and s.occurred_at < $1
          union all
          select e.dimension_id, 1
          from usage_event_online e join known_batch using (batch_id)
          where $3 < $1
            and usage_is_online((select range_agg(tstzrange($3, $1)) from usage_rollup_row r
              where r.bucket = $3 and r.dimension_id in (select dimension_id from unknown_dimension)))
            and e.occurred_at >= $3 and e.occurred_at < $1
            and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
        )
        select d.dimension_id as "dimension_id!", d.source as "source!", d.deployment as "deployment!",
               d.product as "product!", sum(c.events)::bigint as "events!"
        from counted c join unknown_dimension d using (dimension_id)
        group by 1, 2, 3, 4
        having sum(c.events) > 0
        order by 2, 3, 4, 1
        "#,
        end,
        known_at,
        last_hour
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
