//! Findings: which usage breaks a right, decided by where and when it ran (CONTRACTS section 5).

use super::contract::rights::{OnBreach, RightKind, Stretch, allowed_elsewhere, right_ids, stretches};
use super::contract::{Attribute, ChargeFilter, Contract};
use super::ids::{ContractId, DeploymentId, PartyId, ProductId, TermId};
use super::period::{Instant, Span};
use super::record::Fact;
use super::register::{Deployment, Register};
use serde::Serialize;
use std::fmt;

/// A stretch of time in which usage of a product at a deployment breaks a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    pub contract: ContractId,
    pub right: TermId,
    pub version: u32,
    pub deployment: DeploymentId,
    pub product: ProductId,
    pub span: Span,
    pub on_breach: OnBreach,
    pub why: Why,
}

/// How usage breaks a right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Why {
    /// It is not, or not long enough, on the cloud that comes first.
    NotFirst { first: String, on: String, released_at: Option<Instant>, allowed_from: Option<Instant> },
    /// It is outside of the only place.
    Elsewhere { only: String },
    /// The licensee runs it while the licence is not in force.
    Unlicensed { licensee: PartyId },
    /// Someone else runs it while the licence is exclusive.
    LicensedAlone { licensee: PartyId, operator: PartyId },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFirst { first, on, released_at: None, .. } => {
                write!(f, "on {on} without a release on {first} or a waiver")
            }
            Self::NotFirst { first, on, released_at: Some(released_at), allowed_from } => {
                write!(f, "on {on} too early: released on {first} at {released_at}")?;
                let later = allowed_from.filter(|from| from != released_at);
                later.map_or(Ok(()), |from| write!(f, ", allowed elsewhere from {from}"))
            }
            Self::Elsewhere { only } => write!(f, "elsewhere than on {only} alone"),
            Self::Unlicensed { licensee } => write!(f, "run by {licensee} outside of its licence"),
            Self::LicensedAlone { licensee, operator } => {
                write!(f, "run by {operator} while {licensee}'s licence is exclusive")
            }
        }
    }
}

/// Every stretch of a span in which usage breaks a right of a contract, by right, product, deployment and time.
///
/// Exact: usage that lies in one is a finding, and no other usage is. No event is needed to say so.
pub fn breaches(contract: &Contract, register: &Register, facts: &[Fact], within: Span) -> Vec<Breach> {
    let mut found = Vec::new();
    for id in right_ids(contract) {
        for stretch in stretches(contract, id, facts, within) {
            for product in &stretch.right.products {
                for (deployment_id, deployment) in &register.deployments {
                    for (span, why) in broken(contract, &stretch, product, (deployment_id, deployment), register, facts)
                    {
                        found.push(Breach {
                            contract: contract.head.id.clone(),
                            right: id.clone(),
                            version: stretch.version,
                            deployment: deployment_id.clone(),
                            product: product.clone(),
                            span,
                            on_breach: stretch.right.on_breach,
                            why,
                        });
                    }
                }
            }
        }
    }
    found
}

/// When in a stretch usage of a product at a deployment breaks the right, and how.
fn broken(
    contract: &Contract,
    stretch: &Stretch<'_>,
    product: &ProductId,
    (id, deployment): (&DeploymentId, &Deployment),
    register: &Register,
    facts: &[Fact],
) -> Vec<(Span, Why)> {
    let whole = |why| vec![(stretch.span, why)];
    match &stretch.right.kind {
        RightKind::First { cloud, .. } if stretch.in_force && deployment.cloud != *cloud => {
            let (head, right) = (&contract.head, stretch.right);
            let Some(allowed) = allowed_elsewhere(&head.id, head.zone, right, product, register, facts) else {
                return Vec::new();
            };
            let why = Why::NotFirst {
                first: cloud.clone(),
                on: deployment.cloud.clone(),
                released_at: allowed.released_at,
                allowed_from: allowed.from,
            };
            allowed.rest_of(stretch.span).into_iter().map(|span| (span, why.clone())).collect()
        }
        RightKind::Only(filter) if stretch.in_force && !is_at(filter, id, deployment) => {
            whole(Why::Elsewhere { only: written(filter) })
        }
        RightKind::Licence { licensee, .. } if deployment.operator == *licensee => match stretch.in_force {
            true => Vec::new(),
            false => whole(Why::Unlicensed { licensee: licensee.clone() }),
        },
        RightKind::Licence { licensor, licensee, exclusive: true }
            if stretch.in_force && deployment.operator != *licensor =>
        {
            whole(Why::LicensedAlone { licensee: licensee.clone(), operator: deployment.operator.clone() })
        }
        RightKind::First { .. } | RightKind::Only(_) | RightKind::Licence { .. } => Vec::new(),
    }
}

/// Whether a deployment is in the only place that a right allows.
fn is_at(filter: &ChargeFilter, id: &DeploymentId, deployment: &Deployment) -> bool {
    filter.iter().all(|(attribute, values)| {
        let value = match attribute {
            Attribute::Seller => deployment.seller.as_ref().map(PartyId::as_str).unwrap_or_default(),
            Attribute::Operator => deployment.operator.as_str(),
            Attribute::Cloud => &deployment.cloud,
            Attribute::Channel => &deployment.channel,
            Attribute::Region => &deployment.region,
            Attribute::Deployment => id.as_str(),
            // The reader of rights refuses these.
            Attribute::Product | Attribute::Customer | Attribute::ServiceTier | Attribute::Meter => return true,
        };
        values.iter().any(|it| it == value)
    })
}

/// The only place in words: `cloud aws`, `channel direct or vertex`.
fn written(filter: &ChargeFilter) -> String {
    let part =
        |(attribute, values): (&Attribute, &Vec<String>)| format!("{} {}", attribute.name(), values.join(" or "));
    filter.iter().map(part).collect::<Vec<_>>().join(", ")
}
