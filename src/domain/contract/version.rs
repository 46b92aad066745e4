//! A version of an agreement: every definition, term and right in force from its effective instant on.

use super::measure::{Amount, Base, DayCount, FigureDefinition, Measure};
use super::rights::{FactAttribute, FactKind, Right};
use super::selector::Filter;
use super::term::{Cap, Term};
use super::value::Table;
use super::window::{DueAfter, WindowRule};
use super::{Assumption, Clause, Effective};
use crate::domain::ids::{DefinedTerm, PartyId, TermId};
use crate::domain::money::{Currency, Exact, Rounding};
use crate::domain::period::{Instant, Length};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The full set of terms in force from an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    pub number: u32,
    pub effective_at: Instant,
    /// When it was agreed: examples take it as recorded then.
    pub signed: Option<NaiveDate>,
    /// Given in the file for imports of history; else loading it stamps it.
    pub recorded_at: Option<Instant>,
    /// When it ends; the first whose facts hold. Empty: when another version replaces it.
    pub end: Vec<VersionEnd>,
    pub units: BTreeMap<DefinedTerm, UnitDefinition>,
    pub figures: BTreeMap<DefinedTerm, FigureDefinition>,
    pub facts: BTreeMap<DefinedTerm, FactDefinition>,
    pub bases: BTreeMap<DefinedTerm, Base>,
    pub amounts: BTreeMap<DefinedTerm, Amount>,
    /// A term's own cap has the term's name.
    pub caps: BTreeMap<DefinedTerm, Cap>,
    /// In the order of the file, which is their order at one item.
    pub terms: Vec<Term>,
    /// Who may sell what first, alone, or at all.
    pub rights: Vec<Right>,
    pub effects: Vec<Effect>,
    /// What is still to be agreed.
    pub opens: Vec<Open>,
    pub audit: Option<Audit>,
    pub interest: Option<Interest>,
    pub fx: Option<FxRule>,
    /// What else is stated not to be official: units, periods, calendars, figures, facts, open points.
    pub assumptions: Vec<Assumption>,
}

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

/// At which rates one currency becomes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FxRule {
    pub source: String,
    pub date: FxDate,
    /// How many days before the date a rate may be of; zero: that date alone.
    pub days_before: u32,
    pub inverse: bool,
    pub cross: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FxDate {
    Item,
    PeriodEnd,
    Fixed(NaiveDate),
}

impl Effective for Version {
    fn number(&self) -> u32 {
        self.number
    }

    fn effective_at(&self) -> Instant {
        self.effective_at
    }
}

impl Version {
    pub fn term(&self, id: &TermId) -> Option<&Term> {
        self.terms.iter().find(|term| term.id == *id)
    }

    pub fn right(&self, id: &TermId) -> Option<&Right> {
        self.rights.iter().find(|right| right.id == *id)
    }
}
