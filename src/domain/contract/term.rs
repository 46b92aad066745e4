//! Terms: who owes whom how much of what, from when to when, with what around it (CONTRACTS section 3).

use super::measure::{Measure, Node};
use super::selector::{Attribute, Filter};
use super::value::Table;
use super::window::{Counting, Due, Moment, ProRata, WindowRule};
use super::{Assumption, Clause};
use crate::domain::ids::{DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Length};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One clause as data. Its parts are independent of each other, and each is optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    pub id: TermId,
    pub clause: Clause,
    pub payer: PartyId,
    pub payees: Payees,
    pub unit: Unit,
    /// What it yields; without one it owes what its minimum lacks.
    pub node: Option<Node>,
    pub tiers: Option<Tiers>,
    pub life: Life,
    /// Over what its comparisons and fixed sums run.
    pub each: Option<WindowRule>,
    pub on: Option<On>,
    /// Each value has counters, caps and minima of its own.
    pub per: Vec<Attribute>,
    /// The name of its cap among those of the version.
    pub cap: Option<DefinedTerm>,
    pub minimum: Option<Minimum>,
    /// What its accruals pay back first, in this order.
    pub credits: Vec<Credit>,
    /// The group of terms of which the first takes an item alone.
    pub once: Option<String>,
    /// Whether a window's amount is one line at its end; else each period has what came to date less what was before.
    pub at_window_end: bool,
    pub pro_rata: Option<ProRata>,
    /// Its parts sum to one; empty: not stated.
    pub due: Vec<Instalment>,
    /// Whether tax is part of what it yields, where the agreement says so.
    pub tax: Option<Tax>,
    /// Computed and never booked.
    pub is_input: bool,
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payees {
    One(PartyId),
    /// Fixed parts of the whole, in this order.
    Parts(Vec<(PartyId, Exact)>),
    /// In proportion to what a base counts for each; what belongs to whom is told by filters of its items.
    ByUsage {
        of: DefinedTerm,
        parts: Vec<(PartyId, Filter)>,
        if_none: IfNone,
    },
    /// The same where the value of an attribute of the base's items is the party itself.
    EachParty {
        of: DefinedTerm,
        attribute: Attribute,
        if_none: IfNone,
    },
}

impl Payees {
    /// The base by which a pool is shared.
    pub fn shared_by(&self) -> Option<&DefinedTerm> {
        match self {
            Self::ByUsage { of, .. } | Self::EachParty { of, .. } => Some(of),
            Self::One(_) | Self::Parts(_) => None,
        }
    }

    /// The parties that the document names, each once.
    pub fn named(&self) -> Vec<&PartyId> {
        match self {
            Self::One(party) => vec![party],
            Self::Parts(parts) => parts.iter().map(|(party, _)| party).collect(),
            Self::ByUsage { parts, .. } => {
                let mut named: Vec<&PartyId> = Vec::new();
                for (party, _) in parts {
                    if !named.contains(&party) {
                        named.push(party);
                    }
                }
                named
            }
            Self::EachParty { .. } => Vec::new(),
        }
    }
}

/// A part of what is owed, and when it is to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instalment {
    pub part: Exact,
    pub due: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tax {
    Included,
    Added,
}

impl fmt::Display for Payees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(party) => party.fmt(f),
            Self::Parts(_) | Self::ByUsage { .. } => f.write_str(&listed(&self.named(), ", ")),
            Self::EachParty { attribute, .. } => write!(f, "each {}", attribute.name()),
        }
    }
}

fn listed<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

/// How a pool is shared in a period without usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfNone {
    Equal,
    Stop,
    /// It stays with the payer.
    Nothing,
}

impl Life {
    /// The dates between which it is in force, whatever the facts say; the end is exclusive.
    pub fn dates(&self) -> (Option<Instant>, Option<Instant>) {
        let at = |moment: &Moment| match moment {
            Moment::At(at) => Some(*at),
            Moment::Fact(_) => None,
        };
        (self.from.iter().filter_map(at).max(), self.until.iter().filter_map(at).min())
    }
}

/// When a term is in force, within the time of its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Life {
    /// The last of them; none: as long as its versions.
    pub from: Vec<Moment>,
    /// The first of them, exclusive.
    pub until: Vec<Moment>,
    pub lasts: Option<Length>,
    /// The status that has to hold.
    pub during: Option<DefinedTerm>,
    pub tail: Option<Tail>,
}

/// How a term goes on after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tail {
    pub lasts: Length,
    pub of: TailItems,
    pub filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TailItems {
    All,
    /// Of customers who bought what the term counts before its end.
    #[serde(rename = "earlier customers")]
    EarlierCustomers,
}

/// Tiers: which row of a table holds is told by a counter or a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tiers {
    pub apply: Apply,
    /// What is measured; without one, what the node beside it is of.
    pub of: Option<Measure>,
    pub counting: Counting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// Each part at its own rate.
    Marginal,
    /// All at the reached rate.
    Whole,
    /// All at the rate of the level that another measure has.
    Level(Read),
}

/// When a level is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    AtItem,
    WindowStart,
    WindowEnd,
    PreviousWindow,
}

/// The days or facts at which a fixed sum, or a part of a measure, is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    Dates(Vec<NaiveDate>),
    /// Each time, at most so often: the earliest first.
    Fact {
        name: DefinedTerm,
        at_most: Option<u32>,
    },
}

/// The most that terms yield in a window; they take room item by item, in the order of the file at one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cap {
    pub limit: Table,
    pub unit: Unit,
    pub counting: Counting,
    /// What had accrued before our books began; at most the limit. It belongs to the first window.
    pub opening: Exact,
    pub excess: Excess,
    pub per: Vec<Attribute>,
    pub pro_rata: Option<ProRata>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excess {
    Lost,
    /// Paid when room comes.
    Deferred,
}

/// The least that is owed, or spent, in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Minimum {
    pub is: Table,
    pub each: WindowRule,
    /// What counts toward it; without one, what the term accrues after its cap.
    pub of: Vec<Measure>,
    /// Compared with all windows together.
    pub is_cumulative: bool,
    pub carry: Carry,
    /// The most that is carried: an amount, or a part of the receiving window's minimum.
    pub carry_limit: Option<CarryLimit>,
    /// Into how many later windows; none: until used up.
    pub carry_windows: Option<u32>,
    pub shortfall: Shortfall,
    pub is_outside_cap: bool,
    pub pro_rata: Option<ProRata>,
    pub due: Option<Due>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carry {
    #[default]
    None,
    /// What exceeds the minimum counts in later windows.
    Excess,
    /// What lacks is due later unless made good.
    Shortfall,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CarryLimit {
    Amount(Exact),
    Part(Exact),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortfall {
    Due,
    /// It is told and not owed.
    Report,
}

/// Paid in advance or owed the other way: accruals pay it back before anything is paid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// The term whose accruals are paid back.
    pub of: TermId,
    pub rest: Rest,
    pub limit: Option<Table>,
}

/// What becomes of what is not paid back when the term ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    Lost,
    Carried,
    Repaid,
}

impl Term {
    /// The parties that the document names.
    pub fn parties(&self) -> Vec<&PartyId> {
        [&self.payer].into_iter().chain(self.payees.named()).collect()
    }

    /// What it yields: `20% of Revenue`.
    pub fn in_words(&self) -> String {
        match (&self.node, &self.minimum) {
            (Some(node), None) => node.in_words(&self.unit),
            (Some(node), Some(minimum)) => {
                format!("{}, at least {}", node.in_words(&self.unit), minimum.is.sum_in(&self.unit))
            }
            (None, Some(minimum)) => {
                format!("what {} lacks of {}", listed(&minimum.of, " and "), minimum.is.sum_in(&self.unit))
            }
            (None, None) => String::new(),
        }
    }

    /// Everything that it measures; what its own tiers count of itself left aside.
    pub fn mentions(&self) -> Vec<&Measure> {
        let is_own = |measure: &&Measure| matches!(measure, Measure::Accrual { term, .. } if *term == self.id);
        let tiers = self.tiers.iter().filter_map(|tiers| tiers.of.as_ref()).filter(|measure| !is_own(measure));
        let minimum = self.minimum.iter().flat_map(|it| it.of.iter().chain(it.is.mentions()));
        self.node.iter().flat_map(Node::mentions).chain(tiers).chain(minimum).collect()
    }
}
