//! From what is known to what the engine takes: items in their order, and what stands beside them (CONTRACTS section 2).

use super::item::{Attributes, AttributesId, AttributesList, Charge, Content, InUnit, Item, ItemId, Kind};
use super::knowledge::{Fact, Flow, Knowledge, Level};
use super::spread::Sold;
use crate::domain::contract::rights::FactKind;
use crate::domain::contract::selector::Attribute;
use crate::domain::contract::{Contract, Version};
use crate::domain::fx::FxRate;
use crate::domain::ids::{ContractId, DeploymentId, EventId, ProductId};
use crate::domain::money::{Currency, Exact, Unit};
use crate::domain::period::{Instant, Span, end_of_day_exclusive, last_instant_before, start_of_day};
use crate::domain::price::{Price, PriceBook, PriceQuery};
use crate::domain::record::{self, Record, RecordContent, Subject};
use crate::domain::register::{Deployment, Register};
use crate::domain::usage::{Meter, Quantities, UsageContent, context_tokens};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::{BTreeMap, BTreeSet};

/// A usage event that stands.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub id: &'a EventId,
    pub content: &'a UsageContent,
    /// Of a record of an interval: its exclusive end.
    pub until: Option<Instant>,
    /// What it can be selected by beside what it reports: by the attributes' names.
    pub attributes: &'a BTreeMap<String, String>,
}

/// Usage of a stretch of time in which nothing that decides on it changes, summed.
#[derive(Clone, Debug)]
pub struct Sum {
    pub span: Span,
    pub deployment: String,
    pub product: String,
    pub customer: String,
    pub service_tier: String,
    /// By the attributes' names.
    pub attributes: BTreeMap<String, String>,
    /// The highest context threshold that each of its requests exceeds, in tokens; 0 where none.
    pub context_over: u64,
    pub quantities: BTreeMap<Meter, Exact>,
    /// The contracts that leave it out.
    pub left_out_by: BTreeSet<ContractId>,
}

/// Everything that is known at an instant. Lists are in the order of recording.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub contracts: &'a [Contract],
    pub register: &'a Register,
    pub prices: &'a PriceBook,
    pub rates: &'a [FxRate],
    pub usage: &'a [Event<'a>],
    /// Usage beside that, of other stretches of time.
    pub sums: &'a [Sum],
    /// Usage that records name, and that is in the sums: what it costs is known by itself.
    pub named: &'a [Event<'a>],
    pub records: &'a [Record],
    /// By usage event, the contracts that leave it out.
    pub held: &'a BTreeMap<EventId, BTreeSet<ContractId>>,
    pub units: &'a Units,
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
    let mut builder =
        Builder { known, items: Vec::new(), attributes: Interned::default(), knowledge: Knowledge::default() };
    let mut sold = Sold::default();
    // Sums first: they stand before whatever else is of their first instant.
    for sum in known.sums {
        builder.sum(sum);
    }
    for event in known.usage {
        builder.usage(event, &mut sold);
    }
    for event in known.named {
        builder.named_usage(event, &mut sold);
    }
    super::spread::add_money(&mut builder, &mut sold);
    for record in known.records {
        match &record.content {
            RecordContent::Figure(figure) => builder.flow(record, figure),
            RecordContent::Level(level) => builder.level(level),
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
    let mut summed: Vec<Span> = known.sums.iter().map(|sum| sum.span).collect();
    summed.sort_by_key(|span| span.start);
    summed.dedup();
    Feed { items: builder.items, attributes: builder.attributes.list, knowledge: builder.knowledge, summed }
}

/// What of usage decides on its price, and by what it is selected.
struct Used<'u> {
    at: Instant,
    deployment: &'u str,
    product: &'u str,
    customer: &'u str,
    service_tier: &'u str,
    attributes: &'u BTreeMap<String, String>,
    /// The highest whole number of tokens that the context of its requests exceeds.
    context_exceeds: u64,
    /// Whether it is a record of an interval, which does not know the context of each request.
    is_interval: bool,
}

/// Where usage ran, as the register knows it.
struct UsedPlace<'a> {
    attributes: Attributes,
    deployment: &'a Deployment,
    product: ProductId,
}

impl<'u> Used<'u> {
    fn of(event: &Event<'u>) -> Self {
        let UsageContent { occurred_at, deployment, product, customer, service_tier, quantities, .. } = event.content;
        Self {
            at: *occurred_at,
            deployment,
            product,
            customer,
            service_tier,
            attributes: event.attributes,
            context_exceeds: context_exceeds(quantities),
            is_interval: event.until.is_some(),
        }
    }

    fn of_sum(sum: &'u Sum) -> Self {
        let Sum { span, deployment, product, customer, service_tier, attributes, context_over, .. } = sum;
        Self {
            at: span.start,
            deployment,
            product,
            customer,
            service_tier,
            attributes,
            context_exceeds: *context_over,
            is_interval: false,
        }
    }

    fn price_query<'q>(&'q self, place: &'q UsedPlace<'_>, meter: Meter) -> PriceQuery<'q> {
        PriceQuery {
            product: &place.product,
            meter,
            service_tier: self.service_tier,
            customer: self.customer,
            region: &place.deployment.region,
            channel: &place.deployment.channel,
            context_exceeds: self.context_exceeds,
            at: self.at,
        }
    }
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

    pub fn left_out_by(&self, sale: Option<&EventId>) -> Option<&'a BTreeSet<ContractId>> {
        sale.and_then(|sale| self.known.held.get(sale))
    }

    /// An item for each meter. What no register names does not count until it does.
    fn usage(&mut self, event: &Event<'a>, sold: &mut Sold<'a>) {
        let content = event.content;
        let used = Used::of(event);
        let Some(place) = self.place(&used) else { return };
        for (meter, quantity) in content.quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            let attributes = self.attributes_of(&used, &place, *meter);
            let quantity = Exact::from(*quantity);
            let (charge, price) = self.charge(&used, &place, *meter, &quantity);
            if let Charge::Rated(amount) = &charge {
                sold.add(event.id, (attributes, content.occurred_at), amount.value.clone());
            }
            let query = used.price_query(&place, *meter);
            let meets_prices = event.until.is_some_and(|until| self.changes_price(&query, price, until));
            self.items.push(Item {
                at: content.occurred_at,
                id: ItemId { id: &event.id.id, source: &event.id.source, kind: Kind::Usage, meter: meter.name() },
                attributes,
                content: Content::Usage { quantity, charge, meets_prices },
                until: event.until,
                left_out_by: self.left_out_by(Some(event.id)),
            });
        }
    }

    /// What usage costs that is an item only within a sum.
    fn named_usage(&mut self, event: &Event<'a>, sold: &mut Sold<'a>) {
        let used = Used::of(event);
        let Some(place) = self.place(&used) else { return };
        for (meter, quantity) in event.content.quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            let attributes = self.attributes_of(&used, &place, *meter);
            if let (Charge::Rated(amount), _) = self.charge(&used, &place, *meter, &Exact::from(*quantity)) {
                sold.add(event.id, (attributes, used.at), amount.value);
            }
        }
    }

    /// An item for each meter, at the start of the stretch. It stands before all others there.
    fn sum(&mut self, sum: &'a Sum) {
        let used = Used::of_sum(sum);
        let Some(place) = self.place(&used) else { return };
        for (meter, quantity) in sum.quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            let attributes = self.attributes_of(&used, &place, *meter);
            let (charge, _) = self.charge(&used, &place, *meter, quantity);
            self.items.push(Item {
                at: sum.span.start,
                id: ItemId { id: "", source: "", kind: Kind::Usage, meter: meter.name() },
                attributes,
                content: Content::Usage { quantity: quantity.clone(), charge, meets_prices: false },
                until: None,
                left_out_by: Some(&sum.left_out_by).filter(|it| !it.is_empty()),
            });
        }
    }

    /// What is told of where usage ran; none where no register names it.
    fn place(&self, used: &Used<'_>) -> Option<UsedPlace<'a>> {
        let attributes = of_place(self.known.register, used.deployment, used.product)?;
        let deployment = self.known.register.deployments.get(&DeploymentId::from(used.deployment))?;
        Some(UsedPlace { attributes, deployment, product: ProductId::from(used.product) })
    }

    fn attributes_of(&mut self, used: &Used<'_>, place: &UsedPlace<'_>, meter: Meter) -> AttributesId {
        let mut attributes = place.attributes.clone();
        let own = used.attributes.iter().filter_map(|(name, value)| Some((Attribute::plain(name)?, value.clone())));
        attributes.0.extend(own);
        let told = [(Attribute::Customer, used.customer), (Attribute::ServiceTier, used.service_tier)];
        attributes.0.extend(told.map(|(name, value)| (name, value.to_owned())));
        attributes.0.insert(Attribute::Meter, meter.name().to_owned());
        self.attributes(attributes)
    }

    /// What a quantity costs, and the price in force.
    fn charge(
        &self,
        used: &Used<'_>,
        place: &UsedPlace<'_>,
        meter: Meter,
        quantity: &Exact,
    ) -> (Charge<'a>, Option<&'a Price>) {
        let price = self.known.prices.in_force(&used.price_query(place, meter));
        let has_thresholds = || self.known.prices.thresholds().contains_key(&place.product);
        let charge = match (place.deployment.seller.is_some(), price) {
            (false, _) => Charge::Unsold,
            _ if used.is_interval && has_thresholds() => Charge::NoContext,
            (true, None) => Charge::NoPrice,
            (true, Some(price)) => match self.known.units.currency(price.currency) {
                Some(unit) => Charge::Rated(InUnit { value: quantity * &price.unit_price(), unit }),
                None => Charge::NoPrice,
            },
        };
        (charge, price)
    }

    /// Whether another price begins between an item and an instant.
    fn changes_price(&self, query: &PriceQuery<'_>, price: Option<&Price>, until: Instant) -> bool {
        let within = self.known.prices.boundaries().filter(|at| query.at < *at && *at < until);
        within.into_iter().any(|at| self.known.prices.in_force(&PriceQuery { at, ..*query }) != price)
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
            until: None,
            left_out_by: None,
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

    fn level(&mut self, level: &record::Level) {
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
            until: None,
            left_out_by: None,
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

/// What the price of a meter of an event is asked for.
pub fn price_query<'q>(
    content: &'q UsageContent,
    meter: Meter,
    product: &'q ProductId,
    deployment: &'q Deployment,
) -> PriceQuery<'q> {
    PriceQuery {
        product,
        meter,
        service_tier: &content.service_tier,
        customer: &content.customer,
        region: &deployment.region,
        channel: &deployment.channel,
        context_exceeds: context_exceeds(&content.quantities),
        at: content.occurred_at,
    }
}

/// The highest whole number that the context of a request exceeds: thresholds are whole.
fn context_exceeds(quantities: &Quantities) -> u64 {
    context_tokens(quantities).ceil().saturating_sub(Decimal::ONE).to_u64().unwrap_or(0)
}
