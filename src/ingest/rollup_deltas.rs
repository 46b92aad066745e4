//! What a batch adds to the sums of each hour, of dimensions, a customer and a context band. Pure.

use crate::domain::period::{Instant, start_of_hour};
use crate::store::quantities::RowQuantities;
use crate::store::usage_rows::RollupRow;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// Context thresholds of a product: since when each is known, and the threshold in tokens, exclusive.
pub(super) type Thresholds<'a> = &'a [(Instant, i64)];

/// In the order in which rows are stored.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RollupKey {
    bucket: Instant,
    /// Places in the batch's names.
    dimension: usize,
    band: (i64, i64),
    customer: usize,
}

/// What the events of a batch add to rollups.
#[derive(Default)]
pub(super) struct Rollups {
    sums: HashMap<RollupKey, (i32, RowQuantities), RandomState>,
}

/// What an event adds, or takes away.
pub(super) struct Addend<'a> {
    pub(super) occurred_at: Instant,
    /// Places in the batch's names.
    pub(super) dimension: usize,
    pub(super) customer: usize,
    pub(super) quantities: &'a RowQuantities,
    /// Those of its product.
    pub(super) thresholds: Thresholds<'a>,
    /// When it was recorded so: it counts in the context band as of then.
    pub(super) as_of: Instant,
}

impl Rollups {
    /// Adds an event, or takes one away (`sign` -1).
    pub(super) fn add(&mut self, addend: &Addend<'_>, sign: i32) {
        let Addend { occurred_at, dimension, customer, quantities, thresholds, as_of } = *addend;
        let (bucket, band) = (start_of_hour(occurred_at), band(quantities, thresholds, as_of));
        let key = RollupKey { bucket, dimension, band, customer };
        let (events, sums) = self.sums.entry(key).or_default();
        *events = events.saturating_add(sign);
        sums.add(quantities, sign);
    }

    pub(super) fn into_rows(self) -> Vec<RollupRow> {
        let is_news = |(_, (events, sums)): &(RollupKey, (i32, RowQuantities))| *events != 0 || !sums.is_zero();
        let mut sums: Vec<_> = self.sums.into_iter().filter(is_news).collect();
        sums.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let rows = sums.into_iter().map(|(key, (events, quantities))| {
            let RollupKey { bucket, dimension, customer, band: (context_over, context_up_to) } = key;
            RollupRow { bucket, dimension, customer, context_over, context_up_to, events, quantities }
        });
        rows.collect()
    }
}

/// The band `(over, up_to]` between the thresholds that were known then.
fn band(quantities: &RowQuantities, thresholds: Thresholds<'_>, as_of: Instant) -> (i64, i64) {
    if thresholds.is_empty() {
        return (0, i64::MAX);
    }
    let context = quantities.context_tokens();
    let known = || thresholds.iter().filter(|(at, _)| *at <= as_of).map(|(_, over)| *over);
    (
        known().filter(|over| *over < context).max().unwrap_or(0),
        known().filter(|over| *over >= context).min().unwrap_or(i64::MAX),
    )
}
