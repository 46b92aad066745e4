//! Master data: parties, clouds, products and deployments. Entries are added, never changed.

use super::ids::{DeploymentId, PartyId, ProductId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A legal entity: a lab, a cloud, a reseller, a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    pub name: String,
    /// The postal address, line by line, as invoices show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub address: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    /// Where it is paid, line by line, as its invoices show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bank: Vec<String>,
}

impl Party {
    /// What documents show of it, line by line.
    pub fn printed(&self) -> impl Iterator<Item = &String> {
        [&self.name].into_iter().chain(&self.address).chain(&self.tax_id).chain(&self.bank)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    pub operator: PartyId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub maker: PartyId,
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// A named list of products, as contracts use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductGroup {
    pub products: Vec<ProductId>,
}

/// One place that runs models and reports usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    pub cloud: String,
    pub channel: String,
    pub region: String,
    pub operator: PartyId,
    /// Who charges the customer. Absent where nobody does: the usage is metered for a licence.
    #[serde(default)]
    pub seller: Option<PartyId>,
}

/// All names that agreements and usage may refer to, as known at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Register {
    pub parties: BTreeMap<PartyId, Party>,
    pub clouds: BTreeMap<String, Cloud>,
    pub products: BTreeMap<ProductId, Product>,
    pub groups: BTreeMap<String, ProductGroup>,
    pub deployments: BTreeMap<DeploymentId, Deployment>,
}

/// An entry is stated twice, differently: in two files, or in a file and among what is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} \"{name}\" is known with other content; master data never changes: give the new one a new name")]
pub struct RegisterConflict {
    pub kind: &'static str,
    pub name: String,
}

/// Two parties whose names are one in capitals, by which invoices are numbered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "party \"{name}\" is \"{other}\" in capitals, and invoices are numbered by their issuer's name in capitals; give one of them another name"
)]
pub struct Namesake {
    pub name: PartyId,
    pub other: PartyId,
}

impl Register {
    /// Refuses a party whose invoices would be numbered like those of another.
    ///
    /// # Errors
    /// The first other one that is called the same in capitals.
    pub fn check_namesakes(&self, party: &PartyId) -> Result<(), Namesake> {
        let capitals = party.in_capitals();
        let mut others = self.parties.keys().filter(|other| *other != party);
        match others.find(|other| other.in_capitals() == capitals) {
            Some(other) => Err(Namesake { name: party.clone(), other: other.clone() }),
            None => Ok(()),
        }
    }

    /// Adds the entries of `other`; an entry that stands in both must be equal.
    ///
    /// # Errors
    /// The first entry that differs.
    pub fn extend(&mut self, other: Register) -> Result<(), RegisterConflict> {
        merge("party", &mut self.parties, other.parties)?;
        merge("cloud", &mut self.clouds, other.clouds)?;
        merge("product", &mut self.products, other.products)?;
        merge("group", &mut self.groups, other.groups)?;
        merge("deployment", &mut self.deployments, other.deployments)?;
        // A selection would change its meaning with a group that takes a product's name.
        let doubled = self.groups.keys().find(|name| self.products.contains_key(&ProductId::from(name.as_str())));
        doubled.map_or(Ok(()), |name| Err(RegisterConflict { kind: "product or group", name: name.clone() }))
    }

    /// The products that a name stands for: itself, or those of the group.
    pub fn products_named(&self, name: &str) -> Option<Vec<String>> {
        if let Some(group) = self.groups.get(name) {
            return Some(group.products.iter().map(|product| product.as_str().to_owned()).collect());
        }
        self.products.contains_key(&ProductId::from(name)).then(|| vec![name.to_owned()])
    }
}

fn merge<K: Ord + ToString, V: PartialEq>(
    kind: &'static str,
    into: &mut BTreeMap<K, V>,
    from: BTreeMap<K, V>,
) -> Result<(), RegisterConflict> {
    for (name, entry) in from {
        match into.get(&name) {
            Some(known) if *known != entry => return Err(RegisterConflict { kind, name: name.to_string() }),
            Some(_) => {}
            None => {
                into.insert(name, entry);
            }
        }
    }
    Ok(())
}
