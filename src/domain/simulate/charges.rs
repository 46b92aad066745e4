//! What each event costs: quantity times the price in force, meter by meter, exact (CONTRACTS section 2).

use super::known::Known;
use crate::domain::engine::rated::price_query;
use crate::domain::ids::{DeploymentId, EventId, ProductId};
use crate::domain::money::{Currency, Exact};
use crate::domain::register::Register;
use crate::domain::restated::KnownUsage;
use crate::domain::usage::Meter;
use serde::Serialize;
use std::collections::BTreeMap;

/// What one event costs, or what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventCharge {
    pub id: EventId,
    pub charge: Charge,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    let content = &event.content;
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
        match known.prices.in_force(&price_query(content, *meter, &product, deployment)) {
            Some(price) => {
                *amounts.entry(price.currency).or_default() += &(&Exact::from(*quantity) * &price.unit_price());
            }
            None if quantity.is_zero() => {}
            None => without_price.push(*meter),
        }
    }
    Charge::Rated { amounts, without_price }
}
