//! What a version states beside bases and terms: units, facts, effects, open points, audit, interest, its end.

use super::measure::{DayCount, Measure};
use super::rights::{FactAttribute, FactKind};
use super::selector::Filter;
use super::value::Table;
use super::window::{DueAfter, WindowRule};
use super::{Assumption, Clause};
use crate::domain::ids::{DefinedTerm, PartyId, TermId};
use crate::domain::money::{Currency, Exact, Rounding};
use crate::domain::period::{Instant, Length};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// When a version ends if its facts hold then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionEnd {
    pub when: Filter,
    /// Exclusive.
    pub end: Instant,
}

/// A unit beside currencies: cloud credits, shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitDefinition {
    pub digits: u32,
    pub rounding: Rounding,
    /// What one is worth, where money becomes it.
    pub worth: Option<Worth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    Money {
        amount: Exact,
        currency: Currency,
    },
    /// An amount or a figure, as it stands at the item.
    Measured(Measure),
}

/// Something that the contract waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactDefinition {
    pub kind: FactKind,
    /// Who tells of it; none: either party.
    pub by: Option<PartyId>,
    /// What its facts may be about; nothing where they are about the contract.
    pub about: BTreeSet<FactAttribute>,
    /// Whether it names a party, such as who introduced a customer.
    pub names_party: bool,
    /// Of several about the same, which holds.
    pub pick: Pick,
    /// How many of the first do not count.
    pub skip: u32,
    /// How long after it happened it holds; none: for ever, or until its own end.
    pub lasts: Option<Length>,
    /// What proves it.
    pub evidence: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    #[default]
    First,
    Last,
}

/// What a figure brings about instead of money: proposed as a fact, for a person to confirm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub name: DefinedTerm,
    pub clause: Clause,
    pub of: Measure,
    pub each: Option<WindowRule>,
    /// The windows in which it is tested, by their place, both inclusive; none: in each.
    pub windows: Option<(u32, u32)>,
    /// The time before each window's end that is measured.
    pub over: Option<Length>,
    pub when: Reaches,
    pub proposes: DefinedTerm,
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaches {
    /// So much or more.
    AtLeast(Table),
    LessThan(Table),
}

/// A clause that cannot be computed: still to be agreed, or in an exhibit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    pub name: DefinedTerm,
    pub clause: Clause,
    /// What is to be agreed, or where it is written.
    pub what: OpenWhat,
    pub meanwhile: Meanwhile,
    /// The term that the agreement will take the place of.
    pub replaces: Option<TermId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenWhat {
    Agree(String),
    Elsewhere(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meanwhile {
    /// Nothing is owed for it.
    Nothing,
    /// The contract is not settled.
    Stop,
}

/// Who may look at the other's books, how far back, and who pays for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub clause: Clause,
    pub window: Option<(Length, DueAfter)>,
    /// The part that was paid too little from which on `cost` pays.
    pub threshold: Option<AuditThreshold>,
    pub by: Option<PartyId>,
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditThreshold {
    pub part: Exact,
    pub edge: AuditEdge,
    pub against: Against,
    pub cost: PartyId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditEdge {
    Over,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    Due,
    Reported,
}

/// What is owed on what is paid late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interest {
    pub clause: Clause,
    /// A yearly part.
    pub rate: Table,
    pub day_count: DayCount,
    pub from: InterestFrom,
    /// After which time it bears interest itself.
    pub each: Option<WindowRule>,
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterestFrom {
    Due,
    Fact(DefinedTerm),
}
