//! Usage as items, rated: one for each meter, of an event or of a sum.

use super::feed::{Builder, Event, Sum, of_place};
use super::item::{AttributesId, Charge, Content, CountsFor, InUnit, Item, ItemId, Kind};
use super::spread::Sold;
use crate::domain::contract::selector::Attribute;
use crate::domain::ids::{DeploymentId, ProductId};
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use crate::domain::price::{Price, PriceQuery};
use crate::domain::register::Deployment;
use crate::domain::usage::{Meter, Quantities, UsageAttributes, UsageContent, UsageSum, context_tokens};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::HashMap;

/// What of usage decides on its price, and by what it is selected.
struct Used<'u> {
    at: Instant,
    deployment: &'u str,
    product: &'u str,
    customer: &'u str,
    service_tier: &'u str,
    attributes: &'u UsageAttributes,
    /// The highest whole number of tokens that the context of its requests exceeds.
    context_exceeds: u64,
    /// Whether it is a record of an interval, which does not know the context of each request.
    is_interval: bool,
}

/// All that decides on the attributes of usage: deployment, product, customer and service tier; attributes; meter.
type Told<'a> = ([&'a str; 4], &'a UsageAttributes, Meter);

/// Attributes by what they are made of, so that they are made once.
pub(super) type ToldAttributes<'a> = HashMap<Told<'a>, AttributesId>;

/// Where usage ran, as the register knows it.
struct UsedPlace<'a> {
    deployment: &'a Deployment,
    product: ProductId,
}

impl<'u> Used<'u> {
    fn of(event: &Event<'u>) -> Self {
        let content = event.content;
        let UsageContent { occurred_at, deployment, product, customer, service_tier, attributes, quantities, .. } =
            content;
        Self {
            at: *occurred_at,
            deployment,
            product,
            customer,
            service_tier,
            attributes,
            context_exceeds: context_exceeds(quantities),
            is_interval: content.is_interval(),
        }
    }

    fn of_sum(sum: &'u Sum) -> Self {
        let UsageSum { span, deployment, product, customer, service_tier, attributes, context_over, .. } = &sum.usage;
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

impl<'a> Builder<'a> {
    /// An item for each meter. What no register names does not count until it does.
    pub fn usage(&mut self, event: &Event<'a>, sold: &mut Sold<'a>) {
        let content = event.content;
        let used = Used::of(event);
        let Some(place) = self.place(&used) else { return };
        for (meter, quantity) in content.quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            let attributes = self.attributes_of(&used, *meter);
            let quantity = Exact::from(*quantity);
            let (charge, price) = self.charge(&used, &place, *meter, &quantity);
            if let Charge::Rated(amount) = &charge {
                sold.add(event.id, (attributes, content.occurred_at), amount.value.clone(), self.items.len());
            }
            let query = used.price_query(&place, *meter);
            let meets_prices = content.ended_at.is_some_and(|until| self.changes_price(&query, price, until));
            self.items.push(Item {
                at: content.occurred_at,
                id: ItemId { id: &event.id.id, source: &event.id.source, kind: Kind::Usage, meter: meter.name() },
                attributes,
                content: Content::Usage { quantity, charge, meets_prices },
                less: Vec::new(),
                sold_at: None,
                until: content.ended_at,
                counts_for: self.counts_for(Some(event.id)),
            });
        }
    }

    /// An item for each meter, at the start of the stretch. It stands before all others there.
    pub fn sum(&mut self, sum: &'a Sum) {
        let used = Used::of_sum(sum);
        let Some(place) = self.place(&used) else { return };
        for (meter, quantity) in &sum.usage.quantities {
            let all = if sum.held.by.is_empty() { CountsFor::All } else { CountsFor::AllBut(&sum.held.by) };
            self.part_of_sum(&used, &place, *meter, quantity.clone(), all);
            for contract in &sum.held.by {
                let left_out = sum.held.quantities.get(contract).and_then(|it| it.get(meter)).cloned();
                self.part_of_sum(
                    &used,
                    &place,
                    *meter,
                    quantity - &left_out.unwrap_or_default(),
                    CountsFor::Only(contract),
                );
            }
        }
    }

    fn part_of_sum(
        &mut self,
        used: &Used<'a>,
        place: &UsedPlace<'_>,
        meter: Meter,
        quantity: Exact,
        counts_for: CountsFor<'a>,
    ) {
        if quantity.is_zero() {
            return;
        }
        let attributes = self.attributes_of(used, meter);
        let (charge, _) = self.charge(used, place, meter, &quantity);
        self.items.push(Item {
            at: used.at,
            id: ItemId { id: "", source: "", kind: Kind::Usage, meter: meter.name() },
            attributes,
            content: Content::Usage { quantity, charge, meets_prices: false },
            less: Vec::new(),
            sold_at: None,
            until: None,
            counts_for,
        });
    }

    /// What is told of where usage ran; none where no register names it.
    fn place(&self, used: &Used<'_>) -> Option<UsedPlace<'a>> {
        let register = self.known.register;
        let deployment = register.deployments.get(&DeploymentId::from(used.deployment))?;
        let product = ProductId::from(used.product);
        register.products.contains_key(&product).then_some(UsedPlace { deployment, product })
    }

    fn attributes_of(&mut self, used: &Used<'a>, meter: Meter) -> AttributesId {
        let names = [used.deployment, used.product, used.customer, used.service_tier];
        let told = (names, used.attributes, meter);
        if let Some(attributes) = self.told.get(&told) {
            return *attributes;
        }
        let mut attributes = of_place(self.known.register, used.deployment, used.product).unwrap_or_default();
        attributes.0.extend(used.attributes.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let named = [
            (Attribute::Customer, used.customer),
            (Attribute::ServiceTier, used.service_tier),
            (Attribute::Meter, meter.name()),
        ];
        attributes.0.extend(named.map(|(name, value)| (name, value.to_owned())));
        let attributes = self.attributes(attributes);
        self.told.insert(told, attributes);
        attributes
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
