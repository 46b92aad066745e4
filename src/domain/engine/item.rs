//! Items: what money is computed from, in the one order in which they count (CONTRACTS sections 2 and 4).

use super::arena::{Arena, Id};
use crate::domain::contract::measure::Basis;
use crate::domain::contract::selector::Attribute;
use crate::domain::ids::{ContractId, DefinedTerm};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Instant;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an item can be selected, grouped and told apart by. Items share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes(pub BTreeMap<Attribute, String>);

impl Attributes {
    pub fn get(&self, name: &Attribute) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

pub type AttributesId = Id<Attributes>;
pub type AttributesList = Arena<Attributes>;

/// One item.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub at: Instant,
    pub id: ItemId<'a>,
    pub attributes: AttributesId,
    /// Of money that names a sale: when that was. Who brought its customer is asked for then.
    pub sold_at: Option<Instant>,
    pub content: Content<'a>,
    /// What makes it smaller where it stands, in bases that say so.
    pub less: Vec<Deduction<'a>>,
    /// Of a record of an interval: its exclusive end.
    pub until: Option<Instant>,
    pub counts_for: CountsFor<'a>,
}

/// The contracts that count an item.
#[derive(Clone, Copy, Debug)]
pub enum CountsFor<'a> {
    All,
    /// It breaks rights of these, and nobody has released it.
    AllBut(&'a BTreeSet<ContractId>),
    /// A sum, less what of it breaks rights of this one.
    Only(&'a ContractId),
}

impl CountsFor<'_> {
    pub fn includes(&self, contract: &ContractId) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(others) => !others.contains(contract),
            Self::Only(only) => *only == contract,
        }
    }
}

/// What tells items of one instant apart, and orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId<'a> {
    pub id: &'a str,
    pub source: &'a str,
    pub kind: Kind,
    pub meter: &'a str,
}

/// As people are told of it; a sum has no id.
impl fmt::Display for ItemId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)?;
        if self.id.is_empty() || self.source.is_empty() { Ok(()) } else { write!(f, " of {}", self.source) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Usage,
    Billing,
    Receipt,
    Deduction,
    Event,
    Figure,
}

#[derive(Clone, Debug)]
pub enum Content<'a> {
    Usage {
        quantity: Exact,
        charge: Charge<'a>,
        /// Of a record of an interval: whether another price begins within it.
        meets_prices: bool,
    },
    Billing {
        amount: InUnit<'a>,
        /// Whether it names no charge.
        is_alone: bool,
    },
    /// Of what it is for: the attributes are those of the charge or billing.
    Receipt(InUnit<'a>),
    Deduction(Deduction<'a>),
    /// A flow, at the last instant of its last day.
    Figure {
        contract: &'a ContractId,
        name: &'a DefinedTerm,
        value: Exact,
        /// None: a plain number.
        unit: Option<&'a Unit>,
    },
    /// Something that happened.
    Event {
        contract: &'a ContractId,
        name: &'a DefinedTerm,
    },
}

#[derive(Clone, Debug)]
pub struct InUnit<'a> {
    pub value: Exact,
    pub unit: &'a Unit,
}

#[derive(Clone, Debug)]
pub enum Charge<'a> {
    Rated(InUnit<'a>),
    /// Nobody charges for it: it is counted in units alone.
    Unsold,
    /// That stops the contracts whose bases select it.
    NoPrice,
    /// A record of an interval whose price depends on the context of each request: so does that.
    NoContext,
}

/// What reduces a base. It is told twice where it names an item: there, as what makes that smaller, and at its own
/// date; a base counts one.
#[derive(Clone, Debug)]
pub struct Deduction<'a> {
    pub id: ItemId<'a>,
    /// Its own date.
    pub at: Instant,
    pub category: &'a str,
    /// What it takes away, zero or more.
    pub amount: InUnit<'a>,
    /// Whether it reduces what was sold, invoiced or received.
    pub basis: Basis,
    /// The instant of the item that it names.
    pub item_at: Option<Instant>,
    /// Whether that is a billing that names no charge.
    pub is_of_lone_billing: bool,
}

impl Item<'_> {
    /// The order in which items count. A flow figure stands after every item of its last instant.
    pub fn order(&self, other: &Self) -> Ordering {
        let rank = |item: &Self| matches!(item.content, Content::Figure { .. });
        (self.at, rank(self), self.id).cmp(&(other.at, rank(other), other.id))
    }
}
