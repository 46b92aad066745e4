//! What contracts hold back from their bases, and the facts that this follows from: what a settlement needs of findings.

use crate::domain::contract::Contract;
use crate::domain::contract::rights::OnBreach;
use crate::domain::findings::{Held, breaches};
use crate::domain::ids::EventId;
use crate::domain::period::{Instant, Span, Timeline};
use crate::domain::price::PriceBook;
use crate::domain::record::{Deduction, Fact, Record, RecordContent, Reduces};
use crate::domain::register::Register;
use crate::store::StoreError;
use crate::store::findings::{BreachQuery, has_rejected};
use sqlx::PgConnection;

/// The facts among records, in the order of their recording.
pub(super) fn facts(records: &[Record]) -> Vec<Fact> {
    let fact = |record: &Record| match &record.content {
        RecordContent::Fact(fact) => Some(fact.clone()),
        _ => None,
    };
    records.iter().filter_map(fact).collect()
}

/// What a settlement needs to know to say what is held.
#[derive(Clone, Copy)]
pub(super) struct HeldQuery<'a> {
    pub contracts: &'a [Contract],
    pub register: &'a Register,
    pub prices: &'a PriceBook,
    pub facts: &'a [Fact],
    pub records: &'a [Record],
    pub timeline: &'a Timeline,
    pub cutoff: Instant,
}

/// What each contract holds back of the usage of a timeline, and of its deductions; only those that hold something.
pub(super) async fn load_held(conn: &mut PgConnection, query: HeldQuery<'_>) -> Result<Vec<Held>, StoreError> {
    let mut all = Vec::new();
    for contract in query.contracts {
        let id = &contract.head.id;
        let mut spans = breaches(contract, query.register, query.facts, Span::ever());
        spans.retain(|breach| breach.on_breach == OnBreach::Hold);
        let of_contract = BreachQuery::new(id, query.cutoff, &spans, Span::ever());
        if of_contract.hours(&mut *conn).await?.is_empty() && !has_rejected(&mut *conn, id, query.cutoff).await? {
            continue;
        }
        let end = query.timeline.edges().last().copied().unwrap_or(query.cutoff);
        let events = of_contract.load_held_events(&mut *conn, end).await?;
        let usage = of_contract.load_held_usage(&mut *conn, query.timeline, &query.prices.thresholds()).await?;
        let named: Vec<(&EventId, &EventId)> = query.records.iter().filter_map(named_event).collect();
        let held = of_contract.load_held_of(&mut *conn, named.iter().map(|(_, event)| *event)).await?;
        let deductions = named.iter().filter(|(_, event)| held.contains(event)).map(|(id, _)| (*id).clone()).collect();
        if !events.is_empty() || !usage.is_empty() {
            all.push(Held { contract: id.clone(), usage, deductions, events });
        }
    }
    Ok(all)
}

/// The id of a deduction that names an event, and that event.
fn named_event(record: &Record) -> Option<(&EventId, &EventId)> {
    match &record.content {
        RecordContent::Deduction(Deduction { reduces: Reduces::Event(event), .. }) => Some((&record.id, event)),
        _ => None,
    }
}
