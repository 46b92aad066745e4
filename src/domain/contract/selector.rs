//! By what items are selected, grouped and told apart: their attributes, and what facts say of them.

use crate::domain::ids::DefinedTerm;
use crate::domain::usage::UsageAttribute;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What an item can be selected by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Attribute {
    /// All that are not facts.
    pub const PLAIN: [Self; 14] = [
        Self::Seller,
        Self::Buyer,
        Self::BuyerClass,
        Self::Operator,
        Self::Cloud,
        Self::Channel,
        Self::Region,
        Self::Country,
        Self::Deployment,
        Self::Product,
        Self::Customer,
        Self::ServiceTier,
        Self::Meter,
        Self::Label,
    ];

    /// The name in documents and in what people read.
    pub fn name(&self) -> &str {
        match self {
            Self::Seller => "seller",
            Self::Buyer => "buyer",
            Self::BuyerClass => "buyer_class",
            Self::Operator => "operator",
            Self::Cloud => "cloud",
            Self::Channel => "channel",
            Self::Region => "region",
            Self::Country => "country",
            Self::Deployment => "deployment",
            Self::Product => "product",
            Self::Customer => "customer",
            Self::ServiceTier => "service_tier",
            Self::Meter => "meter",
            Self::Label => "label",
            Self::Fact(name) => name.as_str(),
        }
    }

    /// The attribute of a name, facts left aside.
    pub fn plain(name: &str) -> Option<Self> {
        Self::PLAIN.into_iter().find(|it| it.name() == name)
    }
}

impl From<UsageAttribute> for Attribute {
    fn from(attribute: UsageAttribute) -> Self {
        match attribute {
            UsageAttribute::Buyer => Self::Buyer,
            UsageAttribute::BuyerClass => Self::BuyerClass,
            UsageAttribute::Country => Self::Country,
            UsageAttribute::Label => Self::Label,
        }
    }
}

/// By its name, so that it may be the key of an object.
impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Whether one item could match both: no attribute that both name has disjoint values.
pub fn overlap(a: &Values, b: &Values) -> bool {
    a.iter().all(|(attribute, mine)| b.get(attribute).is_none_or(|theirs| mine.iter().any(|it| theirs.contains(it))))
}

/// A place in words: `cloud aws`, `channel direct or vertex`.
pub fn in_words(values: &Values) -> String {
    let part =
        |(attribute, values): (&Attribute, &Vec<String>)| format!("{} {}", attribute.name(), values.join(" or "));
    values.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Selects items: each attribute of `all` has one of the values, and no table of `none` matches as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    pub all: Values,
    pub none: Vec<Values>,
}

pub type Values = BTreeMap<Attribute, Vec<String>>;

impl Filter {
    /// Whether an item could match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.all, &other.all) && !self.is_left_out_by(other) && !other.is_left_out_by(self)
    }

    /// Whether all that it selects is of a kind that the other leaves out.
    fn is_left_out_by(&self, other: &Self) -> bool {
        let covers = |(attribute, left_out): (&Attribute, &Vec<String>)| {
            self.all.get(attribute).is_some_and(|mine| mine.iter().all(|it| left_out.contains(it)))
        };
        other.none.iter().any(|none| none.iter().all(covers))
    }

    /// Whether what it selects depends on facts, which change.
    pub fn names_fact(&self) -> bool {
        let mut names = std::iter::once(&self.all).chain(&self.none).flat_map(BTreeMap::keys);
        names.any(|name| matches!(name, Attribute::Fact(_)))
    }

    /// Whether it selects an item of which `attribute` tells the value; what an item lacks matches nothing.
    pub fn selects<'a>(&self, attribute: impl Fn(&Attribute) -> Option<&'a str>) -> bool {
        let matches = |values: &Values| {
            values.iter().all(|(name, values)| attribute(name).is_some_and(|it| values.iter().any(|value| value == it)))
        };
        matches(&self.all) && !self.none.iter().any(matches)
    }
}
