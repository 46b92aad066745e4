//! Agreements as data: contracts, versions and terms, read from documents that people can read too.
//!
//! A contract file states the definitions, a version file restates all terms from its effective instant
//! on (CONTRACTS sections 1 to 3). `contracts/README.md` documents the language.

pub mod additions;
pub mod beside;
pub mod check;
pub mod document;
pub mod example;
pub mod folder;
pub mod fx;
pub mod measure;
mod money_twice;
mod of_toml;
pub mod parsed;
pub mod placed_prices;
pub mod problem;
mod raw;
pub mod read;
pub mod records;
pub mod rights;
mod room;
pub mod schema;
pub mod selector;
pub mod term;
pub mod unmeant;
pub mod value;
pub mod whole;
pub mod window;

use super::calendar::{Calendar, Window};
use super::ids::{ContractId, DefinedTerm, PartyId, TermId};
use super::money::{Currency, Rounding};
use super::period::{Instant, Span, local_date};
use beside::{Audit, Effect, FactDefinition, Interest, Open, UnitDefinition, VersionEnd};
use chrono::NaiveDate;
use chrono_tz::Tz;
use fx::FxRule;
use measure::{Amount, Base, FigureDefinition, Measure, Node};
use rights::Right;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use term::{Cap, Term};
use value::{Notice, Table};
use window::{BusinessDays, ProRata};

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

/// What becomes of an interval record that lies across a boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Straddling {
    /// It stands whole at its start, and the statement says so.
    #[default]
    Whole,
    Refuse,
}

/// What becomes of a settlement that rests on assumed numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumed {
    /// It says so.
    #[default]
    Allow,
    Refuse,
}

/// What holds through all versions of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractHead {
    pub id: ContractId,
    pub title: String,
    pub zone: Tz,
    pub currency: Currency,
    /// The periods in which it is settled.
    pub settlement: Calendar,
    pub rounding: Rounding,
    pub negative: Negative,
    /// For windows that a start or end cuts, where a part does not say it itself.
    pub pro_rata: Option<ProRata>,
    pub straddling: Straddling,
    pub assumed: Assumed,
    pub business_days: Option<BusinessDays>,
}

/// An agreement with the versions that are known, numbers rising.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contract<V = Version> {
    pub head: ContractHead,
    pub versions: Vec<V>,
}

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

/// A version has a number and an instant from which on it is effective.
pub trait Effective {
    fn number(&self) -> u32;
    fn effective_at(&self) -> Instant;
}

impl<V: Effective> Contract<V> {
    /// The version in force at an instant: of those effective by then the one with the highest number.
    pub fn in_force(&self, at: Instant) -> Option<&V> {
        self.versions.iter().rev().find(|version| version.effective_at() <= at)
    }

    /// The versions that are in force at some time of a span, numbers rising.
    pub fn in_force_within(&self, span: Span) -> impl Iterator<Item = &V> {
        let begins = self.versions.iter().map(|version| version.effective_at()).filter(move |at| span.contains(*at));
        let in_force = [span.start].into_iter().chain(begins).filter_map(|at| self.in_force(at));
        let numbers: BTreeSet<u32> = in_force.map(|version| version.number()).collect();
        self.versions.iter().filter(move |version| numbers.contains(&version.number()))
    }

    /// The earliest instant at which any version is effective.
    pub fn begins(&self) -> Option<Instant> {
        self.versions.iter().map(|version| version.effective_at()).min()
    }
}

impl Contract {
    /// The period in which it begins, or, where it begins before all of those that it lists, the first.
    pub fn first_period(&self) -> Option<Window> {
        let calendar = &self.head.settlement;
        let begins = self.begins().and_then(|at| calendar.window(local_date(at, self.head.zone)));
        begins.or_else(|| match calendar {
            Calendar::Dates(starts) => starts.first().and_then(|first| calendar.window(*first)),
            Calendar::Months { .. } | Calendar::Weeks { .. } => None,
        })
    }

    /// How many of the first events of a name do not count, as the last version says that declares it.
    pub fn skipped(&self, name: &DefinedTerm) -> usize {
        let skip = self.versions.iter().rev().find_map(|version| version.facts.get(name)).map_or(0, |fact| fact.skip);
        usize::try_from(skip).unwrap_or(usize::MAX)
    }

    /// Whether some term of some version is between a party and another one.
    pub fn concerns(&self, party: &PartyId) -> bool {
        self.versions.iter().flat_map(|version| &version.terms).any(|term| term.parties().contains(&party))
    }
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

    /// What a term recoups as it accrues: terms that its payer paid in advance.
    pub fn recouped<'v>(&'v self, by: &'v Term) -> impl Iterator<Item = &'v Term> {
        self.credited(by).filter(|of| of.payer == by.payer)
    }

    /// What a term sets off at the end of settlement periods: terms that its payee owes.
    pub fn set_off<'v>(&'v self, by: &'v Term) -> impl Iterator<Item = &'v Term> {
        self.credited(by).filter(|of| of.payer != by.payer)
    }

    /// With which terms something is recouped or set off of a term, in the order of the file.
    pub fn paid_back_with<'v>(&'v self, of: &'v Term) -> impl Iterator<Item = &'v Term> {
        let is_paid_back = |by: &Term| by.credits.iter().any(|credit| credit.of == of.id);
        self.terms.iter().filter(move |it| is_paid_back(it) || self.set_off(of).any(|owed| owed.id == it.id))
    }

    fn credited<'v>(&'v self, by: &'v Term) -> impl Iterator<Item = &'v Term> {
        by.credits.iter().filter_map(|credit| self.term(&credit.of))
    }

    /// What is not official in a term of this version of a contract, and in all of the contract that it draws on.
    pub fn assumptions_behind<'v>(&'v self, contract: &ContractId, term: &'v Term) -> Vec<&'v Assumption> {
        let measures = self.measures_behind(contract, term.mentions());
        let behind = measures.into_iter().flat_map(|measure| match measure {
            Measure::Base(name) => self.bases.get(name).map(|base| &base.assumptions),
            Measure::Amount(name) => self.amounts.get(name).map(|amount| &amount.assumptions),
            Measure::Accrual { contract: of, term, .. } if of == contract => self.term(term).map(|it| &it.assumptions),
            Measure::Accrual { .. } | Measure::Figure(_) => None,
        });
        term.assumptions.iter().chain(behind.flatten()).collect()
    }

    /// Whether a measure is a plain number, such as a count, and no money.
    pub fn is_number(&self, measure: &Measure) -> bool {
        match measure {
            Measure::Base(name) => self.bases.get(name).is_some_and(|base| base.is_number),
            Measure::Amount(name) => self.amounts.get(name).is_some_and(|amount| amount.unit.is_none()),
            Measure::Figure(name) => self.figures.get(name).is_some_and(|figure| figure.unit.is_none()),
            Measure::Accrual { .. } => false,
        }
    }

    /// Measures with all that they are made of within a contract. Loading refuses circles.
    pub fn measures_behind<'v>(&'v self, contract: &ContractId, measures: Vec<&'v Measure>) -> Vec<&'v Measure> {
        let mut found = Vec::new();
        for measure in measures {
            found.push(measure);
            let within = match measure {
                Measure::Base(name) => self.bases.get(name).map(|base| base.mentions()),
                Measure::Amount(name) => self.amounts.get(name).map(|amount| amount.mentions()),
                Measure::Accrual { contract: of, term, .. } if of == contract => {
                    self.term(term).map(|it| it.mentions())
                }
                Measure::Accrual { .. } | Measure::Figure(_) => None,
            };
            found.extend(self.measures_behind(contract, within.unwrap_or_default()));
        }
        found
    }

    pub fn right(&self, id: &TermId) -> Option<&Right> {
        self.rights.iter().find(|right| right.id == *id)
    }

    /// The values that parties set by notice.
    pub fn notices(&self) -> Vec<&Notice> {
        let nodes = self.terms.iter().filter_map(|term| term.node.as_ref());
        let nodes = nodes.chain(self.amounts.values().map(|amount| &amount.node));
        let minima = self.terms.iter().filter_map(|term| term.minimum.as_ref()).map(|minimum| &minimum.is);
        let limits = self.caps.values().map(|cap| &cap.limit);
        nodes.flat_map(Node::tables).chain(minima).chain(limits).flat_map(Table::notices).collect()
    }
}
