//! Usage summed by deployment, product and meter for people and programs that look, page by page.

use super::StoreError;
use crate::domain::money::Exact;
use crate::domain::names::names;
use crate::domain::period::{Instant, Span};
use chrono::{Duration, DurationRound};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

names! {
    /// Into what stretches of time a span is divided.
    #[derive(Default)]
    Bucket as "bucket" {
        /// One sum for the whole span.
        #[default]
        Total = "total",
        Hour = "hour",
        /// From midnight to midnight, UTC.
        Day = "day",
    }
}

impl Bucket {
    /// How long one is; none where it is the whole span.
    fn length(self) -> Option<Duration> {
        match self {
            Self::Total => None,
            Self::Hour => Some(Duration::hours(1)),
            Self::Day => Some(Duration::days(1)),
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
    /// Nothing recorded later counts.
    pub known_at: Instant,
    /// Only sums after this one.
    pub after: Option<UsageKey>,
    pub limit: usize,
}

/// Which sum it is. Sums are ordered by it, names by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageKey {
    starts_at: Instant,
    cloud: String,
    channel: String,
    deployment: String,
    product: String,
    service_tier: String,
    meter: String,
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

impl UsageSum {
    pub fn key(&self) -> UsageKey {
        UsageKey {
            starts_at: self.starts_at,
            cloud: self.cloud.clone(),
            channel: self.channel.clone(),
            deployment: self.deployment.clone(),
            product: self.product.clone(),
            service_tier: self.service_tier.clone(),
            meter: self.meter.clone(),
        }
    }
}

/// Sums usage of deployments that the register knew, ordered by bucket and names.
///
/// Reads no more of the span than `limit` sums need: a few buckets first, then twice as many each time.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn usage_sums(conn: &mut PgConnection, filter: &UsageFilter) -> Result<Vec<UsageSum>, StoreError> {
    let mut sums = Vec::new();
    let after = filter.after.as_ref().map_or(filter.span.start, |key| key.starts_at);
    let mut start = after.max(filter.span.start);
    let mut width = filter.bucket.length();
    while start < filter.span.end && sums.len() < filter.limit {
        let end = width.and_then(|width| edge_after(start, filter.bucket, width)).unwrap_or(filter.span.end);
        let window = Span { start, end: end.min(filter.span.end) };
        let missing = filter.limit.saturating_sub(sums.len());
        sums.extend(sums_of_window(&mut *conn, filter, window, missing).await?);
        start = window.end;
        width = width.and_then(|width| width.checked_mul(2));
    }
    Ok(sums)
}

/// Where so much time after the start of the bucket in which an instant lies has passed, which is where a bucket ends;
/// none beyond what can be told.
fn edge_after(at: Instant, bucket: Bucket, width: Duration) -> Option<Instant> {
    at.duration_trunc(bucket.length()?).ok()?.checked_add_signed(width)
}

/// At most `limit` sums of the buckets of a window.
async fn sums_of_window(
    conn: &mut PgConnection,
    filter: &UsageFilter,
    window: Span,
    limit: usize,
) -> Result<Vec<UsageSum>, StoreError> {
    let after = filter.after.as_ref();
    let rows = sqlx::query_file!(
        "src/store/usage_sums.sql",
        window.start,
        window.end,
        filter.bucket.name(),
        filter.cloud,
        filter.channel,
        filter.deployment,
        filter.product,
        filter.meter,
        filter.known_at,
        filter.span.start,
        after.map(|key| key.starts_at),
        after.map(|key| &key.cloud),
        after.map(|key| &key.channel),
        after.map(|key| &key.deployment),
        after.map(|key| &key.product),
        after.map(|key| &key.service_tier),
        after.map(|key| &key.meter),
        StoreError::encoded::<i64, _>("limit", limit)?
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
