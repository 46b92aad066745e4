//! Which usage of a scenario breaks a right, what was decided on it, and what is left out for that (CONTRACTS section 5).

use super::answer::{Finding, State};
use super::known::Known;
use crate::domain::contract::Contract;
use crate::domain::contract::rights::OnBreach;
use crate::domain::findings::breaches;
use crate::domain::ids::{ContractId, EventId, TermId};
use crate::domain::period::{Instant, Span};
use crate::domain::record::{Fact, RecordContent};
use crate::domain::register::Register;
use std::collections::{BTreeMap, BTreeSet};

/// Every finding of a contract before an instant, in the order of time.
pub fn findings(contract: &Contract, register: &Register, known: &Known, end: Instant) -> Vec<Finding> {
    let facts: Vec<Fact> = known.records.iter().filter_map(fact).collect();
    let within = Span { start: Span::ever().start, end };
    let mut found: Vec<Finding> = Vec::new();
    let mut told: BTreeSet<(TermId, &EventId)> = BTreeSet::new();
    for breach in breaches(contract, register, &facts, within) {
        for event in &known.usage {
            let content = &event.content;
            let is_it = content.deployment == breach.deployment.as_str()
                && content.product == breach.product.as_str()
                && breach.span.contains(content.occurred_at);
            if is_it && told.insert((breach.right.clone(), &event.id)) {
                found.push(Finding {
                    right: breach.right.clone(),
                    event: event.id.clone(),
                    occurred_at: content.occurred_at,
                    on_breach: breach.on_breach,
                    why: breach.why.clone(),
                    state: state(contract, known, &breach.right, &event.id),
                });
            }
        }
    }
    found.sort_by(|a, b| (a.occurred_at, &a.event, &a.right).cmp(&(b.occurred_at, &b.event, &b.right)));
    found
}

fn fact(record: &crate::domain::record::Record) -> Option<Fact> {
    match &record.content {
        RecordContent::Fact(fact) => Some(fact.clone()),
        _ => None,
    }
}

/// What was decided last.
fn state(contract: &Contract, known: &Known, right: &TermId, event: &EventId) -> State {
    let decisions = known.records.iter().rev().filter_map(|record| match &record.content {
        RecordContent::Decision(decision) => Some(decision),
        _ => None,
    });
    let mut of_it = decisions
        .filter(|it| it.contract == contract.head.id && it.right == *right && it.event == *event)
        .map(|decision| decision.releases);
    match of_it.next() {
        None => State::Open,
        Some(true) => State::Released,
        Some(false) => State::Rejected,
    }
}

/// By usage event, the contracts that leave it out: it breaks a right of theirs, and that was not released. Held by
/// two rights it needs both released.
pub fn held(contracts: &[Contract], register: &Register, known: &Known) -> BTreeMap<EventId, BTreeSet<ContractId>> {
    let mut held: BTreeMap<EventId, BTreeSet<ContractId>> = BTreeMap::new();
    for contract in contracts {
        for finding in findings(contract, register, known, Span::ever().end) {
            if finding.on_breach == OnBreach::Hold && finding.state != State::Released {
                held.entry(finding.event).or_default().insert(contract.head.id.clone());
            }
        }
    }
    held
}
