//! Usage summed in memory as rollups have it, and opened where the engine cannot vouch for a sum.

use crate::domain::engine::EngineError;
use crate::domain::engine::books::{self, Detail, Run};
use crate::domain::engine::feed::{self, Event, Held, Known, Sum};
use crate::domain::engine::stretches::Stretches;
use crate::domain::ids::{ContractId, EventId, ProductId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use crate::domain::record::Record;
use crate::domain::usage::{UsageAttributes, UsageSum, context_over};
use std::collections::{BTreeMap, BTreeSet};

/// Runs a contract on sums of usage, as fine as they have to be.
///
/// # Errors
/// What stops the settlement.
pub fn run_on_sums(known: &Known<'_>, contract: &ContractId, through: Instant) -> Result<Run, EngineError> {
    let named: BTreeSet<&EventId> = known.records.iter().flat_map(Record::names).collect();
    let (intervals, requests): (Vec<Event<'_>>, Vec<Event<'_>>) =
        known.usage.iter().partition(|event| event.content.is_interval());
    let without_usage = Known { usage: &[], ..*known };
    let edges = books::edges(&without_usage, &feed::feed(without_usage), contract, through)?;
    let mut stretches = Stretches::between(&edges);
    loop {
        let is_opened = |event: &Event<'_>| stretches.opened.iter().any(|it| it.contains(event.content.occurred_at));
        let mut usage: Vec<Event<'_>> = intervals.clone();
        // What records name is told by itself: a deduction stands at its item.
        let is_item = |event: &Event<'_>| named.contains(event.id) || is_opened(event);
        let (items, summed): (Vec<Event<'_>>, Vec<Event<'_>>) = requests.iter().partition(|event| is_item(event));
        usage.extend(items);
        let sums = sums(known, &summed, &stretches.summed);
        let known = Known { usage: &usage, sums: &sums, ..*known };
        let run = books::run(&known, &feed::feed(known), contract, through, Detail::Amounts)?;
        if run.unsure.is_empty() {
            return Ok(run);
        }
        stretches.open(&run.unsure);
    }
}

/// What tells sums apart: stretch; deployment, product, customer and service tier; attributes; context threshold.
type Key<'k> = (usize, [&'k str; 4], &'k UsageAttributes, u64);

fn sums(known: &Known<'_>, requests: &[Event<'_>], stretches: &[Span]) -> Vec<Sum> {
    let thresholds = known.prices.thresholds();
    let mut found: BTreeMap<Key<'_>, Sum> = BTreeMap::new();
    for event in requests {
        let content = event.content;
        let Some(place) = stretches.iter().position(|span| span.contains(content.occurred_at)) else { continue };
        let of_product = thresholds.get(&ProductId::from(content.product.as_str()));
        let over = of_product.map_or(0, |thresholds| context_over(&content.quantities, thresholds));
        let names = [&content.deployment, &content.product, &content.customer, &content.service_tier];
        let key: Key<'_> = (place, names.map(String::as_str), &content.attributes, over);
        let usage = || UsageSum {
            span: stretches.get(place).copied().unwrap_or_else(Span::ever),
            deployment: content.deployment.clone(),
            product: content.product.clone(),
            customer: content.customer.clone(),
            service_tier: content.service_tier.clone(),
            attributes: content.attributes.clone(),
            context_over: over,
            quantities: BTreeMap::new(),
        };
        let sum = found.entry(key).or_insert_with(|| Sum { usage: usage(), held: Held::default() });
        for (meter, quantity) in &content.quantities {
            let quantity = Exact::from(*quantity);
            *sum.usage.quantities.entry(*meter).or_default() += &quantity;
            for contract in known.held.get(event.id).into_iter().flatten() {
                sum.held.add(contract, *meter, &quantity);
            }
        }
    }
    found.into_values().collect()
}
