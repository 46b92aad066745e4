//! What a batch adds to the sums of each hour, of dimensions, a customer and a context band. Pure.

use crate::domain::period::{Instant, start_of_hour};
use crate::domain::usage::{Quantities, UsageContent, context_tokens};
use crate::store::usage::Lookup;
use crate::store::usage_rows::RollupRow;
use rust_decimal::prelude::ToPrimitive;
use std::collections::HashMap;

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RollupKey {
    bucket: Instant,
    /// Places in the batch's names.
    dimension: usize,
    customer: usize,
    band: (i64, i64),
}

/// What the events of a batch add to rollups.
pub(super) struct Rollups<'a> {
    lookup: &'a Lookup,
    sums: HashMap<RollupKey, (i32, Quantities)>,
}

impl<'a> Rollups<'a> {
    pub(super) fn new(lookup: &'a Lookup) -> Self {
        Self { lookup, sums: HashMap::new() }
    }

    /// Adds an event of a dimension and customer, or takes one away (`sign` -1), in the context band as of when it was
    /// recorded so.
    pub(super) fn add(&mut self, [dimension, customer]: [usize; 2], content: &UsageContent, as_of: Instant, sign: i32) {
        let (bucket, band) = (start_of_hour(content.occurred_at), self.band(content, as_of));
        let (events, sums) = self.sums.entry(RollupKey { bucket, dimension, customer, band }).or_default();
        *events = events.saturating_add(sign);
        for (meter, quantity) in &content.quantities {
            // A quantity has at most 22 digits, fractional ones included, and a batch far below 10^6 events: at most 10^5
            // messages (see `Config::load`) and what the last one holds. 28 digits hold the sum.
            *sums.entry(*meter).or_default() += if sign < 0 { -quantity } else { *quantity };
        }
    }

    /// The band `(over, up_to]` between the thresholds that the product's prices had.
    fn band(&self, content: &UsageContent, as_of: Instant) -> (i64, i64) {
        let Some(thresholds) = self.lookup.thresholds.get(&content.product) else { return (0, i64::MAX) };
        // A part of a token above a threshold is above it.
        let context = context_tokens(&content.quantities).ceil().to_i64().unwrap_or(i64::MAX);
        let known = || thresholds.iter().filter(|(at, _)| *at <= as_of).map(|(_, over)| *over);
        (
            known().filter(|over| *over < context).max().unwrap_or(0),
            known().filter(|over| *over >= context).min().unwrap_or(i64::MAX),
        )
    }

    pub(super) fn into_rows(self) -> Vec<RollupRow> {
        let is_news = |(_, (events, sums)): &(RollupKey, (i32, Quantities))| {
            *events != 0 || sums.values().any(|sum| !sum.is_zero())
        };
        let mut sums: Vec<_> = self.sums.into_iter().filter(is_news).collect();
        sums.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let rows = sums.into_iter().map(|(key, (events, quantities))| {
            let RollupKey { bucket, dimension, customer, band: (context_over, context_up_to) } = key;
            RollupRow { bucket, dimension, customer, context_over, context_up_to, events, quantities }
        });
        rows.collect()
    }
}
