//! Usage summed by span of time and by all that an agreement can select by, exact as known at a cutoff.

use super::StoreError;
use super::dictionary;
use super::quantities::COLUMN_METERS;
use super::rollups::{context_meters, opened_hours, threshold_arrays};
use crate::domain::ids::ProductId;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use crate::domain::usage::{Meter, UsageSum};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Sums usage by span, as known at `known_at`, in an order that depends on nothing else.
///
/// Whole hours come from the rollup deltas; an hour in which an edge of a span falls is opened down to its
/// events, and so is one with a context band in which a price threshold falls that was not known when the rollup
/// was made. What no mapping knew by then is left out, and so are records of intervals:
/// [`super::usage_events::load_interval_events`] has those. Where spans overlap, what they share is a span of its own.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_span_sums(
    conn: &mut PgConnection,
    spans: &[Span],
    thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
    known_at: Instant,
) -> Result<Vec<UsageSum>, StoreError> {
    let (edges, wanted) = segments(spans);
    let (products, overs) = threshold_arrays(thresholds);
    let opened = opened_hours(&edges);
    let rows = sqlx::query_file!(
        "src/store/span_sums.sql",
        &edges,
        &opened,
        known_at,
        &products,
        &overs,
        &wanted,
        &context_meters()
    )
    .fetch_all(conn)
    .await?;
    let mut sums = Vec::with_capacity(rows.len());
    for row in rows {
        // The columns are the query's own.
        let of = format!("the usage of {} and {}", row.deployment, row.product);
        let columns =
            [row.input_tokens, row.cached_input_tokens, row.output_tokens, row.reasoning_tokens, row.requests];
        let quantities = quantities(columns, row.other_quantities);
        let quantities = StoreError::decoded("quantities", &of, quantities)?;
        if quantities.is_empty() {
            continue;
        }
        let place = StoreError::decoded("segment", &of, usize::try_from(row.segment))?;
        let span = edges.get(place..).and_then(|rest| match rest {
            [start, end, ..] => Some(Span { start: *start, end: *end }),
            _ => None,
        });
        sums.push(UsageSum {
            span: StoreError::decoded("segment", &of, span.ok_or("lies beyond the last edge"))?,
            context_over: StoreError::decoded("context_over", &of, u64::try_from(row.context_over))?,
            attributes: dictionary::attributes(row.attributes, &of)?,
            deployment: row.deployment,
            product: row.product,
            customer: row.customer,
            service_tier: row.service_tier,
            quantities,
        });
    }
    Ok(sums)
}

/// The edges of spans and of the gaps between them in order, and of each segment whether it lies in a span.
fn segments(spans: &[Span]) -> (Vec<Instant>, Vec<bool>) {
    let mut begun: BTreeMap<Instant, i64> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.start < span.end) {
        *begun.entry(span.start).or_default() += 1;
        *begun.entry(span.end).or_default() -= 1;
    }
    let mut open = 0;
    let wanted = begun.values().map(|change| {
        open += change;
        open > 0
    });
    let wanted = wanted.collect();
    (begun.into_keys().collect(), wanted)
}

/// Puts sums of columns together with those of what did not fit them, which may be of the same meters.
fn quantities(columns: [String; 5], other: Option<Value>) -> Result<BTreeMap<Meter, Exact>, String> {
    let other: BTreeMap<Meter, String> =
        other.map(serde_json::from_value).transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    let mut quantities: BTreeMap<Meter, Exact> = BTreeMap::new();
    for (meter, sum) in COLUMN_METERS.into_iter().zip(columns).chain(other) {
        *quantities.entry(meter).or_default() += &sum.parse::<Exact>().map_err(|error| error.to_string())?;
    }
    quantities.retain(|_, sum| !sum.is_zero());
    Ok(quantities)
}
