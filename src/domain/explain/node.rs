//! A node of an explanation, whose parts sum to it.

use crate::domain::contract::{Assumption, Clause};
use crate::domain::engine::outcome::CapUse;
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use serde::Serialize;

/// An amount and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Node {
    pub kind: Kind,
    /// In words.
    pub what: String,
    pub amount: Exact,
    /// A currency, a declared unit, the meter of a quantity, `units` of several meters, or `blocks` of them.
    pub unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "service", schema(value_type = Option<String>, format = DateTime))]
    pub at: Option<Instant>,
    /// The words of the contract behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<Clause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<CapUse>,
    /// What of it is not official.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<Assumption>,
    /// What the sum of its parts is multiplied with; none for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<Exact>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "service", schema(no_recursion))]
    pub parts: Vec<Self>,
}

/// What an amount is on its way from events to the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Booked,
    /// What was booked for the origin period in earlier ones.
    BookedBefore,
    Owed,
    /// Running totals are rounded: what that adds or takes.
    Rounding,
    /// What another payee gets of the same term.
    Others,
    Accrued,
    Version,
    BeforeCap,
    /// What finds no room.
    Cap,
    /// A base times a rate that a clause says.
    Rate,
    /// Units or blocks times a price that a clause says.
    UnitPrice,
    /// What is multiplied further, for a part of a year or window, or with -1 where it is taken off.
    Factor,
    /// What does not count, as something else is greater or less: it is multiplied with zero.
    LeftOut,
    /// A sum that the document states.
    Stated,
    /// What was recouped or set off.
    PaidBack,
    /// What a minimum lacked.
    TopUp,
    /// The minimum, what counts toward it, or what its other windows carry.
    Minimum,
    /// What other streams yield by themselves.
    Cause,
    Base,
    /// A quantity times its price in the price book.
    Price,
    /// A charge times what of it counts, or the rate of exchange; or units in blocks.
    Counted,
    Quantity,
    Usage,
    Record,
    /// Parts that are not told by themselves.
    Rest,
}

impl Node {
    pub(super) fn new(kind: Kind, what: impl Into<String>, amount: Exact, unit: &str) -> Self {
        Self {
            kind,
            what: what.into(),
            amount,
            unit: unit.to_owned(),
            at: None,
            clause: None,
            cap: None,
            rests_on: Vec::new(),
            factor: None,
            parts: Vec::new(),
        }
    }

    /// The sum of its parts.
    pub(super) fn of_parts(kind: Kind, what: impl Into<String>, unit: &str, parts: Vec<Self>) -> Self {
        let amount = sum(&parts);
        Self { parts, ..Self::new(kind, what, amount, unit) }
    }

    /// Whether it is the sum of its parts, times its factor, and so is each of them.
    pub fn adds_up(&self) -> bool {
        let sum = sum(&self.parts);
        let whole = self.factor.as_ref().map_or_else(|| sum.clone(), |factor| &sum * factor);
        self.parts.is_empty() || (whole == self.amount && self.parts.iter().all(Self::adds_up))
    }
}

fn sum(parts: &[Node]) -> Exact {
    parts.iter().map(|part| part.amount.clone()).sum()
}

/// So many of the parts; the others are told as one.
pub(super) fn limited(mut parts: Vec<Node>, limit: usize) -> Vec<Node> {
    let rest = parts.split_off(limit.min(parts.len()));
    let unit = rest.first().map(|first| first.unit.clone()).unwrap_or_default();
    parts.extend(rest_of(rest.len(), rest.into_iter().map(|part| part.amount), &unit));
    parts
}

/// Parts that are not told by themselves; none where there are none.
pub(super) fn rest_of(count: usize, amounts: impl Iterator<Item = Exact>, unit: &str) -> Option<Node> {
    (count > 0).then(|| Node::new(Kind::Rest, format!("{count} more"), amounts.sum(), unit))
}
