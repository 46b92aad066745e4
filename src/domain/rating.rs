//! Rating: usage of a stretch of time becomes charges, quantity x price, exact.

use super::ids::{CustomerId, DeploymentId, ProductId};
use super::money::{Currency, Exact};
use super::period::Timeline;
use super::price::{PriceBook, PriceQuery};
use super::register::{Deployment, Register};
use super::usage::Meter;
use serde::Serialize;

/// Usage of one meter, summed over a segment of the timeline by all that can decide on its price or place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageRollup {
    pub segment: usize,
    pub deployment: DeploymentId,
    pub product: ProductId,
    pub customer: CustomerId,
    pub service_tier: String,
    /// The highest price threshold that the requests' context exceeds, in tokens; 0 for none.
    pub context_over: u64,
    pub meter: Meter,
    pub quantity: Exact,
}

/// What a charge can be selected by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ChargeAttributes {
    pub seller: String,
    pub operator: String,
    pub cloud: String,
    pub channel: String,
    pub region: String,
    pub deployment: String,
    pub product: String,
    pub customer: String,
    pub service_tier: String,
    /// Empty for a deduction, which reduces an event as a whole.
    pub meter: String,
}

impl ChargeAttributes {
    /// Those of usage at a deployment; `None` where nobody charges for it.
    pub fn of_usage(id: &DeploymentId, deployment: &Deployment, product: &ProductId, customer: &str) -> Option<Self> {
        Some(Self {
            seller: deployment.seller.as_ref()?.to_string(),
            operator: deployment.operator.to_string(),
            cloud: deployment.cloud.clone(),
            channel: deployment.channel.clone(),
            region: deployment.region.clone(),
            deployment: id.to_string(),
            product: product.to_string(),
            customer: customer.to_owned(),
            service_tier: String::new(),
            meter: String::new(),
        })
    }
}

/// A rated rollup: what the seller charges for usage of one meter in one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Charge {
    pub segment: usize,
    pub attributes: ChargeAttributes,
    pub quantity: Exact,
    /// Absent where no price is in force: that stops the settlement of contracts that can select it.
    pub rated: Option<Rated>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rated {
    pub price_id: String,
    pub amount: Exact,
    pub currency: Currency,
}

/// Rates usage whose deployment is known; what has no seller of record is metered and not charged.
///
/// Within a segment one price is in force, so that the sum is rated as each of its events would be.
pub fn rate(usage: &[UsageRollup], timeline: &Timeline, register: &Register, prices: &PriceBook) -> Vec<Charge> {
    let segments: Vec<_> = timeline.segments().collect();
    let charge = |rollup: &UsageRollup| -> Option<Charge> {
        let deployment = register.deployments.get(&rollup.deployment)?;
        let start = segments.get(rollup.segment)?.start;
        let customer = rollup.customer.as_str();
        let usage = ChargeAttributes::of_usage(&rollup.deployment, deployment, &rollup.product, customer)?;
        let query = PriceQuery {
            product: &rollup.product,
            meter: rollup.meter,
            service_tier: &rollup.service_tier,
            customer,
            region: &deployment.region,
            channel: &deployment.channel,
            context_exceeds: rollup.context_over,
            at: start,
        };
        let rated = prices.in_force(&query).map(|price| Rated {
            price_id: price.id.clone(),
            amount: &rollup.quantity * &price.unit_price(),
            currency: price.currency,
        });
        let meter = rollup.meter.name().to_owned();
        let attributes = ChargeAttributes { service_tier: rollup.service_tier.clone(), meter, ..usage };
        Some(Charge { segment: rollup.segment, attributes, quantity: rollup.quantity.clone(), rated })
    };
    usage.iter().filter(|rollup| !rollup.quantity.is_zero()).filter_map(charge).collect()
}
