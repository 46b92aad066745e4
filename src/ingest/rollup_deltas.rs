//! What a batch adds to the sums of each hour, of dimensions, a customer and a context band. Pure.

use crate::domain::period::{Instant, start_of_hour};
use crate::domain::usage::{Quantities, RequestOutcome, UsageAttributes, UsageContent, context_tokens};
use crate::store::usage::Lookup;
use crate::store::usage_rows::RollupRow;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::HashMap;

#[derive(PartialEq, Eq, Hash)]
struct RollupKey {
    bucket: Instant,
    /// Source, rules, deployment, product, service tier, customer.
    names: [String; 6],
    outcome: Option<RequestOutcome>,
    attributes: UsageAttributes,
    is_interval: bool,
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

    /// Adds an event of a source and of the rules by which it was normalised, or takes one away (`sign` -1), in the
    /// context band as of when it was recorded so.
    pub(super) fn add(&mut self, [source, rules]: [&str; 2], content: &UsageContent, as_of: Instant, sign: i32) {
        let bucket = start_of_hour(content.occurred_at);
        let names = [source, rules, &content.deployment, &content.product, &content.service_tier, &content.customer];
        let band = self.band(content, as_of);
        let key = RollupKey {
            bucket,
            names: names.map(str::to_owned),
            outcome: content.outcome,
            attributes: content.attributes.clone(),
            is_interval: content.is_interval(),
            band,
        };
        let (events, sums) = self.sums.entry(key).or_default();
        *events = events.saturating_add(sign);
        for (meter, quantity) in &content.quantities {
            // A quantity has at most 22 digits, fractional ones included, and a batch far below 10^6 events: at most 10^5
            // messages (see `Config::load`) and what the last one holds. 28 digits hold the sum.
            *sums.entry(*meter).or_default() += *quantity * Decimal::from(sign);
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
        let rows = self.sums.into_iter().filter(is_news).map(|(key, (events, quantities))| {
            let [source, rules, deployment, product, service_tier, customer] = key.names;
            let (context_over, context_up_to) = key.band;
            RollupRow {
                bucket: key.bucket,
                source,
                deployment,
                product,
                service_tier,
                outcome: key.outcome,
                attributes: key.attributes,
                is_interval: key.is_interval,
                rules,
                customer,
                context_over,
                context_up_to,
                events,
                quantities,
            }
        });
        let mut rows: Vec<RollupRow> = rows.collect();
        rows.sort_by(|a, b| (a.bucket, &a.customer).cmp(&(b.bucket, &b.customer)));
        rows
    }
}
