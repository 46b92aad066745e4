//! Usage summed by deployment, product and meter for people and programs that look, as known now.

use super::StoreError;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// Into what stretches of time a span is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// One sum for the whole span.
    #[default]
    Total,
    Hour,
    /// From midnight to midnight, UTC.
    Day,
}

impl Bucket {
    fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Which usage is wanted: everything, where nothing is named.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    /// From whole hour to whole hour.
    pub span: Span,
    pub bucket: Bucket,
    pub cloud: Option<String>,
    pub channel: Option<String>,
    pub deployment: Option<String>,
    pub product: Option<String>,
    pub meter: Option<String>,
    pub offset: i64,
    pub limit: i64,
}

/// How much of a meter was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UsageSum {
    /// Of the bucket: the span's own start, or that of an hour or day of it.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Instant,
    pub cloud: String,
    pub channel: String,
    pub deployment: String,
    pub product: String,
    pub service_tier: String,
    pub meter: String,
    pub quantity: Exact,
}

/// Sums usage of deployments that the register knows, ordered by bucket and names.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn usage_sums(conn: &mut PgConnection, filter: &UsageFilter) -> Result<Vec<UsageSum>, StoreError> {
    let rows = sqlx::query!(
        r#"
        with wanted as (
          select d.dimension_id, d.deployment, d.product, d.service_tier, k.cloud, k.channel
          from usage_dimension d join deployment k on k.deployment_id = d.deployment
          where ($4::text is null or k.cloud = $4) and ($5::text is null or k.channel = $5)
            and ($6::text is null or d.deployment = $6) and ($7::text is null or d.product = $7)
        ), delta as not materialized (
          select case $3 when 'hour' then r.bucket when 'day' then date_trunc('day', r.bucket, 'UTC') else $1 end
                   as starts_at, r.*
          from usage_rollup r where r.bucket >= $1 and r.bucket < $2
        ), column_sum as (
          select starts_at, dimension_id, sum(input_tokens) as input_tokens,
                 sum(cached_input_tokens) as cached_input_tokens, sum(output_tokens) as output_tokens,
                 sum(reasoning_tokens) as reasoning_tokens, sum(requests) as requests
          from delta join wanted using (dimension_id) group by 1, 2
        -- once, whatever the planner expects: it is summed from far more rows than it has
        ), metered as materialized (
          select s.starts_at, s.dimension_id, m.meter, m.quantity
          from column_sum s cross join lateral (
            values ('input_tokens', s.input_tokens), ('cached_input_tokens', s.cached_input_tokens),
                   ('output_tokens', s.output_tokens), ('reasoning_tokens', s.reasoning_tokens),
                   ('requests', s.requests)
          ) as m(meter, quantity)
          union all
          select t.starts_at, t.dimension_id, o.key, sum(o.value::numeric)
          from delta t join wanted using (dimension_id) cross join lateral jsonb_each_text(t.other_quantities) o
          where t.other_quantities is not null group by 1, 2, 3
        )
        select m.starts_at as "starts_at!", w.cloud as "cloud!", w.channel as "channel!",
               w.deployment as "deployment!", w.product as "product!", w.service_tier as "service_tier!",
               m.meter as "meter!", sum(m.quantity)::text as "quantity!"
        from metered m join wanted w using (dimension_id)
        where $8::text is null or m.meter = $8
        group by 1, 2, 3, 4, 5, 6, 7
        having sum(m.quantity) <> 0
        order by 1, w.cloud collate "C", w.channel collate "C", w.deployment collate "C", w.product collate "C",
          w.service_tier collate "C", m.meter collate "C"
        limit $9 offset $10
        "#,
        filter.span.start,
        filter.span.end,
        filter.bucket.name(),
        filter.cloud,
        filter.channel,
        filter.deployment,
        filter.product,
        filter.meter,
        filter.limit,
        filter.offset
    );
    let sums = rows.fetch_all(conn).await?.into_iter().map(|row| {
        Ok(UsageSum {
            quantity: StoreError::decoded("quantity", &row.deployment, row.quantity.parse())?,
            starts_at: row.starts_at,
            cloud: row.cloud,
            channel: row.channel,
            deployment: row.deployment,
            product: row.product,
            service_tier: row.service_tier,
            meter: row.meter,
        })
    });
    sums.collect()
}
