//! What is known beside the items: facts, levels, flows to look up, and exchange rates.

use super::item::Attributes;
use crate::domain::contract::beside::{FactDefinition, Pick};
use crate::domain::contract::rights::FactKind;
use crate::domain::contract::selector::Attribute;
use crate::domain::ids::{ContractId, DefinedTerm};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Length, Span};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// What is known as of the cutoff. Each list is in the order of recording.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    facts: BTreeMap<(ContractId, DefinedTerm), Vec<Fact>>,
    levels: BTreeMap<(ContractId, DefinedTerm), Vec<Level>>,
    flows: BTreeMap<(ContractId, DefinedTerm), Vec<Flow>>,
    rates: BTreeMap<(String, Unit, Unit), BTreeMap<NaiveDate, Exact>>,
}

/// Something that happened, or holds for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub at: Instant,
    /// When it ends, exclusive.
    pub until: Option<Instant>,
    /// What it is about; what it does not name, it does not narrow.
    pub about: BTreeMap<Attribute, String>,
    /// The party that it names.
    pub party: Option<String>,
}

/// A figure that holds from an instant until another replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub at: Instant,
    pub about: BTreeMap<Attribute, String>,
    pub value: Exact,
}

/// A figure for a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub span: Span,
    pub about: BTreeMap<Attribute, String>,
    pub value: Exact,
}

/// No rate turns the one unit into the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRate {
    pub from: Unit,
    pub to: Unit,
    /// What was looked for; none where the contract says nothing of conversion.
    pub asked: Option<AskedRate>,
}

/// A rate of a source for a date, or so many days before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "of {source_name} for {date}{}; {}",
    if *.within_days == 0 { String::new() } else { format!(", or up to {within_days} days before") },
    if *.is_other_way { "one of the other direction is there: write inverse = true in [fx] where that may be turned round" }
    else { "add the row to fx.csv, under this source, and apply it" }
)]
pub struct AskedRate {
    pub source_name: String,
    pub date: NaiveDate,
    pub within_days: u32,
    /// Whether there is one of the other direction, and the contract does not take it.
    pub is_other_way: bool,
}

impl Knowledge {
    pub fn add_fact(&mut self, contract: ContractId, name: DefinedTerm, fact: Fact) {
        self.facts.entry((contract, name)).or_default().push(fact);
    }

    pub fn add_level(&mut self, contract: ContractId, name: DefinedTerm, level: Level) {
        self.levels.entry((contract, name)).or_default().push(level);
    }

    pub fn add_flow(&mut self, contract: ContractId, name: DefinedTerm, flow: Flow) {
        self.flows.entry((contract, name)).or_default().push(flow);
    }

    /// Adds a rate: so much of `to` for one of `from`. Of two for one date the last recorded holds.
    pub fn add_rate(&mut self, source: &str, from: &Unit, to: &Unit, date: NaiveDate, rate: Exact) {
        self.rates.entry((source.to_owned(), from.clone(), to.clone())).or_default().insert(date, rate);
    }

    /// Every instant at which a fact or figure begins or ends to hold.
    pub fn changes(&self) -> impl Iterator<Item = Instant> {
        let facts = self.facts.values().flatten().flat_map(|fact| [Some(fact.at), fact.until]).flatten();
        let flows = self.flows.values().flatten().flat_map(|flow| [flow.span.start, flow.span.end]);
        facts.chain(self.levels.values().flatten().map(|level| level.at)).chain(flows)
    }

    /// When the facts of a name end to hold by themselves, each so long after it happened.
    pub fn lapses(&self, contract: &ContractId, name: &DefinedTerm, lasts: Length, zone: Tz) -> Vec<Instant> {
        self.facts_of(contract, name).map(|fact| lasts.after(fact.at, zone)).collect()
    }

    /// When an event about the contract itself happened first.
    pub fn first_event(&self, contract: &ContractId, name: &DefinedTerm) -> Option<Instant> {
        self.facts_of(contract, name).map(|fact| fact.at).min()
    }

    /// Each happening of an event, the earliest first.
    pub fn events(&self, contract: &ContractId, name: &DefinedTerm) -> Vec<&Fact> {
        let mut told: Vec<&Fact> = self.facts_of(contract, name).collect();
        told.sort_by_key(|fact| fact.at);
        told
    }

    /// When a status about the contract itself holds.
    pub fn status_spans(&self, contract: &ContractId, name: &DefinedTerm) -> Vec<Span> {
        let spans = self.facts_of(contract, name).map(|fact| (fact.at, fact.until.unwrap_or(Instant::MAX_UTC)));
        // A status that is told again from the same instant is told anew: its end may come to be known later.
        let spans: BTreeMap<Instant, Instant> = spans.collect();
        spans.into_iter().map(|(start, end)| Span { start, end }).collect()
    }

    /// What a fact says of something at an instant: the party that it names, else `true`; nothing where none holds.
    pub fn fact_value(
        &self,
        contract: &ContractId,
        (name, rule): (&DefinedTerm, &FactDefinition),
        zone: Tz,
        of: &Attributes,
        at: Instant,
    ) -> Option<&str> {
        let told = self.events(contract, name);
        let mut holding = told.iter().enumerate().filter(|(place, fact)| {
            let ends = [fact.until, rule.lasts.map(|lasts| lasts.after(fact.at, zone))].into_iter().flatten().min();
            // A status that is told again from the same instant is told anew: its end may come to be known later.
            let is_told_anew = || {
                let mut later = told.iter().skip(place.saturating_add(1));
                rule.kind == FactKind::Status && later.any(|it| (it.at, &it.about) == (fact.at, &fact.about))
            };
            fact.at <= at && ends.is_none_or(|end| at < end) && covers(&fact.about, of) && !is_told_anew()
        });
        let (_, held) = match (rule.kind, rule.pick) {
            (FactKind::Status, _) | (FactKind::Event, Pick::Last) => holding.next_back(),
            (FactKind::Event, Pick::First) => holding.next(),
        }?;
        Some(if rule.names_party { held.party.as_deref().unwrap_or_default() } else { "true" })
    }

    /// The level that holds at an instant: the last that began, and of those of one instant the last recorded.
    pub fn level(&self, contract: &ContractId, name: &DefinedTerm, of: &Attributes, at: Instant) -> Option<&Exact> {
        let levels = self.levels.get(&(contract.clone(), name.clone()))?;
        let holding = levels.iter().filter(|level| level.at <= at && covers(&level.about, of));
        holding.max_by_key(|level| level.at).map(|level| &level.value)
    }

    /// Every level of a name, in the order of recording.
    pub fn levels(&self, contract: &ContractId, name: &DefinedTerm) -> impl Iterator<Item = &Level> {
        self.levels.get(&(contract.clone(), name.clone())).into_iter().flatten()
    }

    /// The flow of the stretch of time in which an instant lies.
    pub fn flow(&self, contract: &ContractId, name: &DefinedTerm, of: &Attributes, at: Instant) -> Option<&Exact> {
        let flows = self.flows.get(&(contract.clone(), name.clone()))?;
        flows.iter().rev().find(|flow| flow.span.contains(at) && covers(&flow.about, of)).map(|flow| &flow.value)
    }

    /// The parts of a stretch of time for which no flow of a name is reported, whatever those are about.
    pub fn uncovered(&self, contract: &ContractId, name: &DefinedTerm, span: Span) -> Vec<Span> {
        let flows = self.flows.get(&(contract.clone(), name.clone())).map(Vec::as_slice).unwrap_or_default();
        flows.iter().fold(vec![span], |left, flow| {
            left.into_iter().flat_map(|it| it.without(flow.span).collect::<Vec<_>>()).collect()
        })
    }

    /// The last flow that ended at or before an instant.
    pub fn last_flow(&self, contract: &ContractId, name: &DefinedTerm, of: &Attributes, at: Instant) -> Option<&Flow> {
        let flows = self.flows.get(&(contract.clone(), name.clone()))?;
        let ended = flows.iter().filter(|flow| flow.span.end <= at && covers(&flow.about, of));
        ended.max_by_key(|flow| flow.span.end)
    }

    /// The rates of a source from one unit to another, by their dates.
    pub fn rates(&self, source: &str, (from, to): (&Unit, &Unit)) -> Option<&BTreeMap<NaiveDate, Exact>> {
        self.rates.get(&(source.to_owned(), from.clone(), to.clone()))
    }

    fn facts_of(&self, contract: &ContractId, name: &DefinedTerm) -> impl Iterator<Item = &Fact> {
        self.facts.get(&(contract.clone(), name.clone())).into_iter().flatten()
    }
}

fn covers(about: &BTreeMap<Attribute, String>, of: &Attributes) -> bool {
    about.iter().all(|(name, value)| of.get(name) == Some(value))
}
