//! Agreements as data: contracts, versions and terms, read from documents that people can read too.
//!
//! A contract file states the definitions, a version file restates all terms from its effective instant
//! on (CONTRACTS sections 1 to 3). `contracts/README.md` documents the language.

pub mod additions;
pub mod check;
pub mod document;
pub mod folder;
pub mod parsed;
pub mod problem;
mod raw;
pub mod read;
mod read_right;
pub mod records;
pub mod rights;

use super::ids::{ContractId, DefinedTerm, PartyId, TermId};
use super::money::{Currency, Exact, Rounding};
use super::period::{Instant, PeriodUnit, Span};
use chrono_tz::Tz;
use rights::{FactAttribute, FactKind, Right};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How well a number is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    #[default]
    Official,
    Reported,
    Assumed,
}

/// What becomes of a total below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Negative {
    /// It reduces what is owed in later periods.
    Carry,
    /// The payee pays it back.
    Pay,
}

/// What holds through all versions of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractHead {
    pub id: ContractId,
    pub title: String,
    pub zone: Tz,
    pub currency: Currency,
    pub period: PeriodUnit,
    pub rounding: Rounding,
    pub negative: Negative,
}

/// An agreement with the versions that are known, numbers rising.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contract {
    pub head: ContractHead,
    pub versions: Vec<Version>,
}

/// The full set of terms in force from an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    pub number: u32,
    pub effective_at: Instant,
    pub figures: BTreeMap<DefinedTerm, FigureDefinition>,
    pub facts: BTreeMap<DefinedTerm, FactDefinition>,
    /// In the order of the file, which is their order at one item.
    pub terms: Vec<Term>,
    /// Who may sell what first, alone, or at all.
    pub rights: Vec<Right>,
}

/// A number that a party reports for a flow of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureDefinition {
    pub currency: Currency,
    pub by: PartyId,
    pub missing: Missing,
}

/// What holds while a figure is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The settlement stops.
    Stop,
    Zero,
}

/// Something that the contract waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactDefinition {
    pub kind: FactKind,
    pub by: PartyId,
    /// What its facts may be about; nothing where they are about the contract.
    pub about: BTreeSet<FactAttribute>,
}

/// One clause as data: who owes whom which share of which base, from when to when, up to which cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    pub id: TermId,
    pub clause: Clause,
    pub payer: PartyId,
    pub payee: PartyId,
    pub rate: Exact,
    pub base: Base,
    /// Inclusive; absent: while its version is in force.
    pub from: Option<Instant>,
    /// Exclusive.
    pub end: Option<Instant>,
    /// The fact that ends it.
    pub until: Option<DefinedTerm>,
    pub cap: Option<Cap>,
    pub due: Option<Due>,
    /// What in it is not official.
    pub assumptions: Vec<Assumption>,
}

/// The text that a term encodes: the heading above its block and the words below that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Clause {
    pub heading: String,
    pub text: String,
}

/// A figure or reading that is reported or assumed, with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Assumption {
    /// The parameter, base or term that it is about.
    pub what: String,
    pub confidence: Confidence,
    pub source: String,
}

/// A named selection of items, less its deductions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    pub name: DefinedTerm,
    pub select: Vec<Selection>,
    pub less: Vec<Deductions>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    Charges(ChargeFilter),
    Figure(DefinedTerm),
    /// What another term yields, as it accrues, after its cap.
    Accrual {
        contract: ContractId,
        term: TermId,
    },
}

/// Each attribute that is named must have one of the values.
pub type ChargeFilter = BTreeMap<Attribute, Vec<String>>;

/// By what charges can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    Seller,
    Operator,
    Cloud,
    Channel,
    Region,
    Deployment,
    Product,
    Customer,
    ServiceTier,
    Meter,
}

impl Attribute {
    /// The name in documents and in what people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Operator => "operator",
            Self::Cloud => "cloud",
            Self::Channel => "channel",
            Self::Region => "region",
            Self::Deployment => "deployment",
            Self::Product => "product",
            Self::Customer => "customer",
            Self::ServiceTier => "service_tier",
            Self::Meter => "meter",
        }
    }
}

/// Categories of deductions that reduce a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deductions {
    pub categories: Vec<String>,
    pub at: DeductionPlace,
}

/// Where a deduction that names a charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeductionPlace {
    /// At that charge: its rate, its period.
    Item,
    /// At its own date: the rate then; nothing once the term has ended.
    OwnDate,
}

/// The most that a term yields in all from a date on; what exceeds it is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cap {
    pub limit: Exact,
    pub counts_from: Instant,
    /// What had accrued before our books began; at most the limit.
    pub opening: Exact,
}

/// When an amount is to be paid: days after the period's last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    pub days_after_period: u32,
}

impl Contract {
    /// The version in force at an instant: of those effective by then the one with the highest number.
    pub fn in_force(&self, at: Instant) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.effective_at <= at)
    }

    /// The versions that are in force at some time of a span, numbers rising.
    pub fn in_force_within(&self, span: Span) -> impl Iterator<Item = &Version> {
        let begins = self.versions.iter().map(|version| version.effective_at).filter(move |at| span.contains(*at));
        let in_force = [span.start].into_iter().chain(begins).filter_map(|at| self.in_force(at));
        let numbers: BTreeSet<u32> = in_force.map(|version| version.number).collect();
        self.versions.iter().filter(move |version| numbers.contains(&version.number))
    }

    /// Whether some term of some version is between a party and another one.
    pub fn concerns(&self, party: &PartyId) -> bool {
        self.versions.iter().flat_map(|version| &version.terms).any(|term| [&term.payer, &term.payee].contains(&party))
    }

    /// The earliest instant at which any version is effective.
    pub fn begins(&self) -> Option<Instant> {
        self.versions.iter().map(|version| version.effective_at).min()
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

impl Term {
    /// Whether its own dates and its fact, where it happened at `ended_at`, leave it in force.
    pub fn in_force(&self, at: Instant, ended_at: Option<Instant>) -> bool {
        self.from.is_none_or(|from| from <= at)
            && self.end.is_none_or(|end| at < end)
            && ended_at.is_none_or(|end| at < end)
    }
}
