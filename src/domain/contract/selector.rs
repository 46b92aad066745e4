//! By what items are selected, grouped and told apart: their attributes, and what facts say of them.

use crate::domain::ids::DefinedTerm;
use serde::Serialize;
use std::collections::BTreeMap;

/// What an item can be selected by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    Seller,
    Buyer,
    BuyerClass,
    Operator,
    Cloud,
    Channel,
    Region,
    Country,
    Deployment,
    Product,
    Customer,
    ServiceTier,
    Meter,
    /// Free text that the seller puts on a sale, such as the kind of a fee.
    Label,
    /// The party that a fact of the contract names for the item, such as who introduced its customer; `true` for a
    /// status or event that names none.
    Fact(DefinedTerm),
}

/// Selects items: each attribute of `all` has one of the values, and no table of `none` matches as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    pub all: Values,
    pub none: Vec<Values>,
}

pub type Values = BTreeMap<Attribute, Vec<String>>;

impl Filter {
    /// Whether it selects an item of which `attribute` tells the value; what an item lacks matches nothing.
    pub fn selects<'a>(&self, attribute: impl Fn(&Attribute) -> Option<&'a str>) -> bool {
        let matches = |values: &Values| {
            values.iter().all(|(name, values)| attribute(name).is_some_and(|it| values.iter().any(|value| value == it)))
        };
        matches(&self.all) && !self.none.iter().any(matches)
    }
}
