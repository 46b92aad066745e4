//! Where a deduction stands: what it reduces, looked up, or what it waits for.

use super::ids::{DeploymentId, EventId, ProductId};
use super::money::{Currency, Exact};
use super::period::Instant;
use super::rating::ChargeAttributes;
use super::record::{Deduction, Reduces};
use super::register::Register;
use serde::Serialize;

/// A refund, credit or tax with what it reduces looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlacedDeduction {
    pub id: EventId,
    pub category: String,
    pub at: Instant,
    /// When the charge happened that it names; absent where it names none.
    pub item_at: Option<Instant>,
    pub attributes: ChargeAttributes,
    /// What it takes away, zero or more.
    pub amount: Exact,
    pub currency: Currency,
}

/// What a deduction needs to know of the event that it names.
#[derive(Clone, Debug)]
pub struct EventPlace {
    pub occurred_at: Instant,
    pub deployment: DeploymentId,
    pub product: ProductId,
    pub customer: String,
}

/// What has to come before a deduction reduces anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitsFor {
    #[error("the event {event}, which is not known or void")]
    Event { event: EventId },
    #[error("the deployment {deployment} to be registered")]
    Deployment { deployment: DeploymentId },
    #[error("the product {product} to be registered")]
    Product { product: ProductId },
    #[error("a charge, and {deployment} is a licence without one")]
    Charge { deployment: DeploymentId },
    #[error("an engine that spreads it over the events that it names")]
    Spreading,
}

/// Places a deduction at what it reduces; `event` is what is known of the event that it names, if it does.
///
/// # Errors
/// What has to come first: its charge counts only once deployment and product are known.
pub fn place(
    id: &EventId,
    deduction: &Deduction,
    event: Option<EventPlace>,
    register: &Register,
) -> Result<PlacedDeduction, WaitsFor> {
    let (item_at, place) = match (&deduction.reduces, event) {
        (Reduces::Event(_), Some(place)) => (Some(place.occurred_at), place),
        (Reduces::Event(event), None) => return Err(WaitsFor::Event { event: event.clone() }),
        // What settles by sums of usage does not open it down to the charges of several events.
        (Reduces::Events(_), _) => return Err(WaitsFor::Spreading),
        (Reduces::Usage { deployment, product, customer }, _) => {
            let (deployment, product) = (deployment.clone(), product.clone());
            let customer = customer.clone().unwrap_or_default();
            (None, EventPlace { occurred_at: deduction.at, deployment, product, customer })
        }
    };
    let EventPlace { deployment, product, customer, .. } = place;
    let Some(known) = register.deployments.get(&deployment) else {
        return Err(WaitsFor::Deployment { deployment });
    };
    if !register.products.contains_key(&product) {
        return Err(WaitsFor::Product { product });
    }
    let Some(attributes) = ChargeAttributes::of_usage(&deployment, known, &product, &customer) else {
        return Err(WaitsFor::Charge { deployment });
    };
    Ok(PlacedDeduction {
        id: id.clone(),
        category: deduction.category.clone(),
        at: deduction.at,
        item_at,
        attributes,
        amount: deduction.amount.amount.clone(),
        currency: deduction.amount.currency,
    })
}
