//! What each event costs: quantity times the price in force, meter by meter, exact (CONTRACTS section 2).

use super::known::{Known, KnownUsage};
use crate::domain::ids::{DeploymentId, EventId, ProductId};
use crate::domain::money::{Currency, Exact};
use crate::domain::price::PriceQuery;
use crate::domain::register::{Deployment, Register};
use crate::domain::usage::{Meter, context_tokens};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::BTreeMap;

/// What one event costs, or what it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCharge {
    pub id: EventId,
    pub charge: Charge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// By currency; meters without a price beside it.
    Rated { amounts: BTreeMap<Currency, Exact>, without_price: Vec<Meter> },
    /// Nobody charges for it: it is metered for a licence.
    Unsold,
    /// No register names its deployment or product.
    Unresolved,
}

/// Rates every event that stands, in the order of recording.
pub fn charges(known: &Known, register: &Register) -> Vec<EventCharge> {
    known
        .usage
        .iter()
        .map(|event| EventCharge { id: event.id.clone(), charge: charge(event, known, register) })
        .collect()
}

fn charge(event: &KnownUsage, known: &Known, register: &Register) -> Charge {
    let content = &event.usage.content;
    let product = ProductId::from(content.product.as_str());
    let deployment = register.deployments.get(&DeploymentId::from(content.deployment.as_str()));
    let Some(deployment) = deployment.filter(|_| register.products.contains_key(&product)) else {
        return Charge::Unresolved;
    };
    if deployment.seller.is_none() {
        return Charge::Unsold;
    }
    let (mut amounts, mut without_price) = (BTreeMap::<Currency, Exact>::new(), Vec::new());
    for (meter, quantity) in &content.quantities {
        match known.prices.in_force(&query(event, *meter, &product, deployment)) {
            Some(price) => {
                *amounts.entry(price.currency).or_default() += &(&Exact::from(*quantity) * &price.unit_price());
            }
            None if quantity.is_zero() => {}
            None => without_price.push(*meter),
        }
    }
    Charge::Rated { amounts, without_price }
}

fn query<'a>(
    event: &'a KnownUsage,
    meter: Meter,
    product: &'a ProductId,
    deployment: &'a Deployment,
) -> PriceQuery<'a> {
    let content = &event.usage.content;
    // The highest whole number that the context exceeds: thresholds are whole.
    let context = context_tokens(&content.quantities).ceil().saturating_sub(Decimal::ONE);
    PriceQuery {
        product,
        meter,
        service_tier: &content.service_tier,
        customer: &content.customer,
        region: &deployment.region,
        channel: &deployment.channel,
        context_exceeds: context.to_u64().unwrap_or(0),
        at: content.occurred_at,
    }
}
