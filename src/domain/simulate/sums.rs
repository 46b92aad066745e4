//! Usage summed in memory as rollups have it, and opened where the engine cannot vouch for a sum.

use crate::domain::engine::EngineError;
use crate::domain::engine::books::{self, Run};
use crate::domain::engine::feed::{self, Event, Known, Sum};
use crate::domain::engine::stretches::Stretches;
use crate::domain::ids::{ContractId, EventId, ProductId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use crate::domain::record::{Record, RecordContent, Reduces};
use crate::domain::usage::context_tokens;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// Runs a contract on sums of usage, as fine as they have to be.
///
/// # Errors
/// What stops the settlement.
pub fn run_on_sums(known: &Known<'_>, contract: &ContractId, through: Instant) -> Result<Run, EngineError> {
    let named: BTreeSet<&EventId> = known.records.iter().flat_map(names).collect();
    let (intervals, requests): (Vec<Event<'_>>, Vec<Event<'_>>) =
        known.usage.iter().partition(|event| event.until.is_some());
    let without_usage = Known { usage: &[], ..*known };
    let edges = books::edges(&without_usage, &feed::feed(without_usage), contract, through)?;
    let mut stretches = Stretches::between(&edges);
    loop {
        let is_opened = |event: &Event<'_>| stretches.opened.iter().any(|it| it.contains(event.content.occurred_at));
        let mut usage: Vec<Event<'_>> = intervals.clone();
        usage.extend(requests.iter().filter(|event| is_opened(event)));
        let sums = sums(known, &requests, &stretches.summed);
        let summed: Vec<Event<'_>> =
            requests.iter().filter(|event| named.contains(event.id) && !is_opened(event)).copied().collect();
        let known = Known { usage: &usage, sums: &sums, named: &summed, ..*known };
        let run = books::run(&known, &feed::feed(known), contract, through)?;
        if run.unsure.is_empty() {
            return Ok(run);
        }
        let finer = Stretches::opening(&run.unsure);
        stretches.summed.retain(|span| !run.unsure.contains(span));
        stretches.summed.extend(finer.summed);
        stretches.opened.extend(finer.opened);
    }
}

/// The usage that a record names.
fn names(record: &Record) -> Vec<&EventId> {
    match &record.content {
        RecordContent::Deduction(deduction) => match &deduction.reduces {
            Reduces::Event(event) => vec![event],
            Reduces::Events(events) => events.iter().collect(),
            Reduces::Usage { .. } => Vec::new(),
        },
        RecordContent::Receipt(receipt) => receipt.pays.iter().map(|paid| &paid.event).collect(),
        RecordContent::Billing(billing) => billing.names.iter().collect(),
        RecordContent::Figure(_) | RecordContent::Level(_) | RecordContent::Fact(_) | RecordContent::Decision(_) => {
            Vec::new()
        }
    }
}

/// What tells sums of one stretch apart: deployment, product, customer, service tier, attributes, context threshold,
/// and who leaves it out.
type Key<'k> = (usize, [&'k str; 4], &'k BTreeMap<String, String>, u64, Option<&'k BTreeSet<ContractId>>);

fn sums(known: &Known<'_>, requests: &[Event<'_>], stretches: &[Span]) -> Vec<Sum> {
    let thresholds = known.prices.thresholds();
    let mut found: BTreeMap<Key<'_>, Sum> = BTreeMap::new();
    for event in requests {
        let content = event.content;
        let Some(place) = stretches.iter().position(|span| span.contains(content.occurred_at)) else { continue };
        let tokens = context_tokens(&content.quantities);
        let over = thresholds.get(&ProductId::from(content.product.as_str())).into_iter().flatten();
        let over = over.copied().filter(|over| Decimal::from(*over) < tokens).max().unwrap_or(0);
        let names = [&content.deployment, &content.product, &content.customer, &content.service_tier];
        let left_out_by = known.held.get(event.id);
        let key: Key<'_> = (place, names.map(String::as_str), event.attributes, over, left_out_by);
        let sum = found.entry(key).or_insert_with(|| Sum {
            span: stretches.get(place).copied().unwrap_or_else(Span::ever),
            deployment: content.deployment.clone(),
            product: content.product.clone(),
            customer: content.customer.clone(),
            service_tier: content.service_tier.clone(),
            attributes: event.attributes.clone(),
            context_over: over,
            quantities: BTreeMap::new(),
            left_out_by: left_out_by.cloned().unwrap_or_default(),
        });
        for (meter, quantity) in &content.quantities {
            *sum.quantities.entry(*meter).or_default() += &Exact::from(*quantity);
        }
    }
    found.into_values().collect()
}
