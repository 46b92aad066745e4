//! What contracts hold back from their bases, and the facts that this follows from: what a settlement needs of findings.

use crate::domain::contract::Contract;
use crate::domain::contract::rights::OnBreach;
use crate::domain::engine::feed::Sum;
use crate::domain::findings::{HeldEvents, breaches};
use crate::domain::ids::{ContractId, EventId, ProductId};
use crate::domain::period::{Instant, Span, Timeline};
use crate::domain::rating::UsageRollup;
use crate::domain::record::{Fact, Record, RecordContent};
use crate::domain::register::Register;
use crate::domain::usage::UsageAttributes;
use crate::store::StoreError;
use crate::store::findings::{BreachQuery, has_rejected};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// The facts among records, in the order of their recording.
pub(super) fn facts(records: &[Record]) -> Vec<Fact> {
    let fact = |record: &Record| match &record.content {
        RecordContent::Fact(fact) => Some(fact.clone()),
        _ => None,
    };
    records.iter().filter_map(fact).collect()
}

/// The contracts that hold something back, and what to ask of each.
pub(super) struct Holdings<'a> {
    of_contracts: Vec<(&'a ContractId, BreachQuery<'a>)>,
}

impl<'a> Holdings<'a> {
    /// Of some contracts as known at a cutoff, those that hold anything back.
    pub async fn load(
        conn: &mut PgConnection,
        contracts: &'a [Contract],
        register: &Register,
        facts: &[Fact],
        cutoff: Instant,
    ) -> Result<Self, StoreError> {
        let mut of_contracts = Vec::new();
        for contract in contracts {
            let id = &contract.head.id;
            let mut spans = breaches(contract, register, facts, Span::ever());
            spans.retain(|breach| breach.on_breach == OnBreach::Hold);
            let query = BreachQuery::new(id, cutoff, &spans, Span::ever());
            if !query.hours(&mut *conn).await?.is_empty() || has_rejected(&mut *conn, id, cutoff).await? {
                of_contracts.push((id, query));
            }
        }
        Ok(Self { of_contracts })
    }

    /// How much of what is held back, for people.
    pub async fn events(&self, conn: &mut PgConnection, end: Instant) -> Result<Vec<HeldEvents>, StoreError> {
        let mut all = Vec::new();
        for (_, query) in &self.of_contracts {
            all.extend(query.load_held_events(&mut *conn, end).await?);
        }
        Ok(all)
    }

    /// By event, the contracts that hold it back.
    pub async fn of(
        &self,
        conn: &mut PgConnection,
        events: &[&EventId],
    ) -> Result<BTreeMap<EventId, BTreeSet<ContractId>>, StoreError> {
        let mut held: BTreeMap<EventId, BTreeSet<ContractId>> = BTreeMap::new();
        for (contract, query) in &self.of_contracts {
            for event in query.load_held_of(&mut *conn, events.iter().copied()).await? {
                held.entry(event.clone()).or_default().insert((*contract).clone());
            }
        }
        Ok(held)
    }

    /// Notes in sums what of each is held back.
    pub async fn note(
        &self,
        conn: &mut PgConnection,
        sums: &mut [Sum],
        thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
    ) -> Result<(), StoreError> {
        let edges = sums.iter().flat_map(|sum| [sum.usage.span.start, sum.usage.span.end]);
        let (Some(start), Some(end)) = (edges.clone().min(), edges.clone().max()) else { return Ok(()) };
        let timeline = Timeline::new(start, end, edges);
        let segments: Vec<Span> = timeline.segments().collect();
        for (contract, query) in &self.of_contracts {
            let rows = query.load_held_usage(&mut *conn, &timeline, thresholds).await?;
            let held: BTreeMap<HeldKey<'_>, Vec<&UsageRollup>> =
                rows.iter().fold(BTreeMap::new(), |mut held, (usage, attributes)| {
                    if let Some(span) = segments.get(usage.segment) {
                        held.entry(HeldKey::of_row(span, usage, attributes)).or_default().push(usage);
                    }
                    held
                });
            for sum in &mut *sums {
                let rows: Vec<&UsageRollup> = held.get(&HeldKey::of_sum(sum)).cloned().unwrap_or_default();
                for usage in rows {
                    sum.held.add(contract, usage.meter, &usage.quantity);
                }
            }
        }
        Ok(())
    }
}

/// What tells sums apart: the start of the stretch; deployment, product, customer, service tier; attributes; context.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HeldKey<'k>(Instant, [&'k str; 4], &'k UsageAttributes, u64);

impl<'k> HeldKey<'k> {
    fn of_row(span: &Span, usage: &'k UsageRollup, attributes: &'k UsageAttributes) -> Self {
        let UsageRollup { deployment, product, customer, service_tier, context_over, .. } = usage;
        let names = [deployment.as_str(), product.as_str(), customer.as_str(), service_tier.as_str()];
        Self(span.start, names, attributes, *context_over)
    }

    fn of_sum(sum: &'k Sum) -> Self {
        let it = &sum.usage;
        let names = [&it.deployment, &it.product, &it.customer, &it.service_tier].map(String::as_str);
        Self(it.span.start, names, &it.attributes, it.context_over)
    }
}
