//! From what is known to what the engine takes: items in their order, and what stands beside them (CONTRACTS section 2).

use super::item::{Attributes, AttributesId, AttributesList, Content, CountsFor, Item, ItemId, Kind};
use super::knowledge::{Fact, Flow, Knowledge, Level};
use super::rated::ToldAttributes;
use super::spread::Sold;
use crate::domain::contract::rights::FactKind;
use crate::domain::contract::selector::Attribute;
use crate::domain::contract::{Contract, Version};
use crate::domain::fx::FxRate;
use crate::domain::ids::{ContractId, DefinedTerm, DeploymentId, EventId, ProductId};
use crate::domain::money::{Currency, Exact, Unit};
use crate::domain::period::{Instant, Span, end_of_day_exclusive, last_instant_before, start_of_day};
use crate::domain::price::PriceBook;
use crate::domain::record::{self, Record, RecordContent, Subject};
use crate::domain::register::{Deployment, Register};
use crate::domain::usage::{Meter, UsageContent, UsageEvent, UsageSum};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A usage event that stands.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub id: &'a EventId,
    pub content: &'a UsageContent,
}

impl<'a> From<&'a UsageEvent> for Event<'a> {
    fn from(event: &'a UsageEvent) -> Self {
        Self { id: &event.id, content: &event.content }
    }
}

/// Usage of a stretch of time in which nothing that decides on it changes, summed.
#[derive(Clone, Debug, Serialize)]
pub struct Sum {
    #[serde(flatten)]
    pub usage: UsageSum,
    /// What of it contracts leave out.
    pub held: Held,
}

impl From<UsageSum> for Sum {
    fn from(usage: UsageSum) -> Self {
        Self { usage, held: Held::default() }
    }
}

/// What contracts leave out of a sum, and which do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Held {
    pub(super) by: BTreeSet<ContractId>,
    pub(super) quantities: BTreeMap<ContractId, BTreeMap<Meter, Exact>>,
}

impl Sum {
    /// Takes an event out that is told by itself, with what contracts hold back of it.
    pub fn take_out<'c>(&mut self, event: &UsageContent, held_by: impl IntoIterator<Item = &'c ContractId>) {
        let held_by: Vec<&ContractId> = held_by.into_iter().collect();
        for (meter, quantity) in &event.quantities {
            let quantity = -Exact::from(*quantity);
            *self.usage.quantities.entry(*meter).or_default() += &quantity;
            held_by.iter().for_each(|contract| self.held.add(contract, *meter, &quantity));
        }
    }
}

impl Held {
    pub fn add(&mut self, contract: &ContractId, meter: Meter, quantity: &Exact) {
        self.by.insert(contract.clone());
        *self.quantities.entry(contract.clone()).or_default().entry(meter).or_default() += quantity;
    }
}

/// Everything that is known at an instant. Lists are in the order of recording.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub contracts: &'a [Contract],
    pub register: &'a Register,
    pub prices: &'a PriceBook,
    pub rates: &'a [FxRate],
    pub usage: &'a [Event<'a>],
    /// Usage beside that, summed: of other stretches of time, and less what records name, which has to be told by itself.
    pub sums: &'a [Sum],
    pub records: &'a [Record],
    /// By usage event, the contracts that leave it out.
    pub held: &'a BTreeMap<EventId, BTreeSet<ContractId>>,
    pub units: &'a Units,
    /// Figures that must not be missing are asked for from here on; before, those that are stand for zero.
    pub books_begin: Instant,
}

/// Every unit that amounts can be in, by its name: items refer to them.
#[derive(Clone, Debug)]
pub struct Units {
    currencies: BTreeMap<Currency, Unit>,
    declared: BTreeMap<String, BTreeSet<Unit>>,
}

/// What the engine runs on.
pub struct Feed<'a> {
    /// In the order in which they count.
    pub items: Vec<Item<'a>>,
    pub attributes: AttributesList,
    pub knowledge: Knowledge,
    /// The stretches of the sums among the items, in the order of time.
    pub summed: Vec<Span>,
}

impl Units {
    pub fn of(contracts: &[Contract]) -> Self {
        let mut declared: BTreeMap<String, BTreeSet<Unit>> = BTreeMap::new();
        for version in contracts.iter().flat_map(|contract| &contract.versions) {
            for (name, unit) in &version.units {
                let unit = Unit::Declared { name: name.clone(), digits: unit.digits };
                declared.entry(name.to_string()).or_default().insert(unit);
            }
        }
        Self { currencies: Currency::all().map(|it| (it, Unit::Currency(it))).collect(), declared }
    }

    pub fn currency(&self, currency: Currency) -> Option<&Unit> {
        self.currencies.get(&currency)
    }

    /// What has a name: contracts may give units of one name different digits.
    fn named(&self, name: &str) -> Vec<&Unit> {
        let currency = name.parse().ok().and_then(|currency| self.currency(currency));
        currency.into_iter().chain(self.declared.get(name).into_iter().flatten()).collect()
    }
}

/// Makes items of everything that is known.
pub fn feed(known: Known<'_>) -> Feed<'_> {
    let mut builder = Builder {
        known,
        items: Vec::new(),
        attributes: Interned::default(),
        told: ToldAttributes::default(),
        knowledge: Knowledge::default(),
    };
    let mut sold = Sold::default();
    let skipped = skipped(&known);
    // Sums first: they stand before whatever else is of their first instant.
    for sum in known.sums {
        builder.sum(sum);
    }
    for event in known.usage {
        builder.usage(event, &mut sold);
    }
    super::spread::add_money(&mut builder, &mut sold);
    for record in known.records {
        match &record.content {
            RecordContent::Figure(figure) => builder.flow(record, figure),
            RecordContent::Level(level) => builder.level(level),
            RecordContent::Fact(_) if skipped.contains(&record.id) => {}
            RecordContent::Fact(fact) => builder.fact(record, fact),
            RecordContent::Deduction(_)
            | RecordContent::Receipt(_)
            | RecordContent::Billing(_)
            // What they leave out or let in is told by `held`.
            | RecordContent::Decision(_) => {}
        }
    }
    for rate in known.rates {
        for from in known.units.named(&rate.from) {
            for to in known.units.named(&rate.to) {
                builder.knowledge.add_rate(&rate.source, from, to, rate.date, rate.rate.clone());
            }
        }
    }
    // Sorting is stable: what one record is spread over stays in the order of that.
    builder.items.sort_by(Item::order);
    let mut summed: Vec<Span> = known.sums.iter().map(|sum| sum.usage.span).collect();
    summed.sort_by_key(|span| span.start);
    summed.dedup();
    Feed { items: builder.items, attributes: builder.attributes.list, knowledge: builder.knowledge, summed }
}

/// The facts of each name that do not count, being its first.
fn skipped<'a>(known: &Known<'a>) -> BTreeSet<&'a EventId> {
    let mut told: BTreeMap<(&ContractId, &DefinedTerm), Vec<(Instant, &'a EventId)>> = BTreeMap::new();
    for record in known.records {
        if let RecordContent::Fact(fact) = &record.content {
            told.entry((&fact.contract, &fact.name)).or_default().push((fact.at, &record.id));
        }
    }
    let mut found = BTreeSet::new();
    for ((contract, name), mut facts) in told {
        let agreement = known.contracts.iter().find(|agreement| agreement.head.id == *contract);
        facts.sort();
        found.extend(facts.into_iter().map(|(_, id)| id).take(agreement.map_or(0, |it| it.skipped(name))));
    }
    found
}

/// Attributes of which each combination is kept once.
#[derive(Default)]
struct Interned {
    list: AttributesList,
    known: BTreeMap<Attributes, AttributesId>,
}

pub(super) struct Builder<'a> {
    pub known: Known<'a>,
    pub items: Vec<Item<'a>>,
    attributes: Interned,
    pub told: ToldAttributes<'a>,
    knowledge: Knowledge,
}

impl<'a> Builder<'a> {
    pub fn attributes(&mut self, attributes: Attributes) -> AttributesId {
        if let Some(known) = self.attributes.known.get(&attributes) {
            return *known;
        }
        let id = self.attributes.list.push(attributes.clone());
        self.attributes.known.insert(attributes, id);
        id
    }

    pub fn counts_for(&self, sale: Option<&EventId>) -> CountsFor<'a> {
        sale.and_then(|sale| self.known.held.get(sale)).map_or(CountsFor::All, CountsFor::AllBut)
    }

    fn contract(&self, id: &ContractId) -> Option<&'a Contract> {
        self.known.contracts.iter().find(|contract| contract.head.id == *id)
    }

    /// A flow figure stands at the last instant of its last day.
    fn flow(&mut self, record: &'a Record, figure: &'a record::Figure) {
        let Some(contract) = self.contract(&figure.contract) else { return };
        let zone = contract.head.zone;
        let end = end_of_day_exclusive(zone, figure.through);
        let about = about(&figure.about);
        let span = Span { start: start_of_day(zone, figure.from), end };
        let flow = Flow { span, about: about.clone(), value: figure.value.amount.clone() };
        self.knowledge.add_flow(figure.contract.clone(), figure.name.clone(), flow);
        let attributes = self.attributes(Attributes(about));
        let unit = figure.value.unit.as_ref().and_then(|name| self.unit_of(contract, name));
        self.items.push(Item {
            at: last_instant_before(end),
            id: ItemId { id: &record.id.id, source: &record.id.source, kind: Kind::Figure, meter: "" },
            attributes,
            content: Content::Figure {
                contract: &figure.contract,
                name: &figure.name,
                value: figure.value.amount.clone(),
                unit,
            },
            less: Vec::new(),
            sold_at: None,
            until: None,
            counts_for: CountsFor::All,
        });
    }

    /// The unit that a contract means by a name.
    fn unit_of(&self, contract: &Contract, name: &str) -> Option<&'a Unit> {
        let declares = |version: &Version, unit: &Unit| match unit {
            Unit::Declared { name, digits } => version.units.get(name).is_some_and(|it| it.digits == *digits),
            Unit::Currency(_) => true,
        };
        let mut named = self.known.units.named(name).into_iter();
        named.find(|unit| contract.versions.iter().any(|version| declares(version, unit)))
    }

    /// A level counts in its own unit alone: where it is looked up nothing tells how it was reported.
    fn level(&mut self, level: &record::Level) {
        let Some(contract) = self.contract(&level.contract) else { return };
        let unit = level.value.unit.as_deref();
        let mut declared = contract.versions.iter().filter_map(|version| version.figures.get(&level.name)).peekable();
        // What a party sets by notice is told under the name of a parameter.
        if declared.peek().is_some() && declared.all(|figure| !figure.is_in(unit)) {
            return;
        }
        let told = Level { at: level.at, about: about(&level.about), value: level.value.amount.clone() };
        self.knowledge.add_level(level.contract.clone(), level.name.clone(), told);
    }

    /// A fact about a capability is one about each product that has it.
    fn fact(&mut self, record: &'a Record, fact: &'a record::Fact) {
        let Some(contract) = self.contract(&fact.contract) else { return };
        let about = about(&fact.about);
        let products = fact.about.capability.as_ref().map(|capability| {
            let has = |(_, product): &(&ProductId, &crate::domain::register::Product)| {
                product.capabilities.iter().any(|it| it == capability)
            };
            self.known.register.products.iter().filter(has).map(|(id, _)| id.to_string()).collect::<Vec<_>>()
        });
        let told = Fact {
            at: fact.at,
            until: fact.until,
            about: about.clone(),
            party: fact.party.as_ref().map(ToString::to_string),
        };
        match products {
            None => self.knowledge.add_fact(fact.contract.clone(), fact.name.clone(), told),
            Some(products) => {
                for product in products {
                    let mut told = told.clone();
                    told.about.insert(Attribute::Product, product);
                    self.knowledge.add_fact(fact.contract.clone(), fact.name.clone(), told);
                }
            }
        }
        let is_event = |version: &Version| version.facts.get(&fact.name).is_some_and(|it| it.kind == FactKind::Event);
        if !contract.versions.iter().any(is_event) {
            return;
        }
        let attributes = self.attributes(Attributes(about));
        self.items.push(Item {
            at: fact.at,
            id: ItemId { id: &record.id.id, source: &record.id.source, kind: Kind::Event, meter: "" },
            attributes,
            content: Content::Event { contract: &fact.contract, name: &fact.name },
            less: Vec::new(),
            sold_at: None,
            until: None,
            counts_for: CountsFor::All,
        });
    }
}

/// What is told of a deployment and a product; none where no register names them.
pub(super) fn of_place(register: &Register, deployment: &str, product: &str) -> Option<Attributes> {
    let known = register.deployments.get(&DeploymentId::from(deployment))?;
    register.products.get(&ProductId::from(product))?;
    let Deployment { cloud, channel, region, operator, seller } = known;
    let mut attributes = BTreeMap::from([
        (Attribute::Cloud, cloud.clone()),
        (Attribute::Channel, channel.clone()),
        (Attribute::Region, region.clone()),
        (Attribute::Operator, operator.to_string()),
        (Attribute::Deployment, deployment.to_owned()),
        (Attribute::Product, product.to_owned()),
    ]);
    attributes.extend(seller.as_ref().map(|seller| (Attribute::Seller, seller.to_string())));
    Some(Attributes(attributes))
}

/// What a record is about, capabilities left aside.
pub(super) fn about(subject: &Subject) -> BTreeMap<Attribute, String> {
    let others = subject.others.iter().filter_map(|(name, value)| Some((Attribute::plain(name)?, value.clone())));
    let product = subject.product.iter().map(|product| (Attribute::Product, product.to_string()));
    let cloud = subject.cloud.iter().map(|cloud| (Attribute::Cloud, cloud.clone()));
    others.chain(product).chain(cloud).collect()
}
