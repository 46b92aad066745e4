//! Worked examples: tables of a document headed `given`, `expect` and `record`, as data. `simulate` runs them.

mod read;

pub use read::read_examples;

use super::document::Location;
use crate::domain::calendar::{Period, Window};
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, ParseExactError};
use crate::domain::names::there_is;
use crate::domain::period::{Instant, last_instant_before};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::fmt;

/// What the document of a version says beside its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionExamples {
    pub contract: ContractId,
    pub version: u32,
    /// Each runs with this version and those before it.
    pub examples: Vec<Example>,
    /// Facts that are recorded with the version.
    pub records: Vec<Given>,
}

/// The tables below one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub title: String,
    pub place: Location,
    pub given: Vec<Given>,
    pub expect: Vec<Expect>,
}

/// One item of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub place: Location,
    pub what: What,
    /// By which other rows name it; facts may have none.
    pub id: Option<String>,
    pub at: When,
    pub until: Option<When>,
    /// When it was recorded; without one as it happened.
    pub recorded: Option<When>,
    pub amount: Option<Quantity>,
    /// Attributes, facts and what a record says beside, by the heads of their columns.
    pub values: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Charge,
    Usage,
    Billing {
        of: Vec<String>,
    },
    Receipt {
        of: Vec<String>,
    },
    Deduction {
        category: String,
        of: Vec<String>,
    },
    Figure(DefinedTerm),
    Fact(DefinedTerm),
    Status(DefinedTerm),
    /// A new value of a parameter that is set by notice.
    Notice(DefinedTerm),
    /// So much of `to` for one of `from`.
    Rate {
        from: String,
        to: String,
    },
    Correction {
        of: String,
    },
    Void {
        of: String,
    },
}

impl What {
    /// The words by which items begin; any other is the category of a deduction.
    pub const KINDS: [&str; 11] =
        ["charge", "usage", "billing", "receipt", "figure", "fact", "status", "notice", "rate", "correction", "void"];
}

/// What is to come out for a term or right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    pub place: Location,
    pub contract: ContractId,
    pub name: TermId,
    /// Of several payees this one; without, all together.
    pub payee: Option<PartyId>,
    pub period: When,
    pub expected: Expected,
    /// As known at the end of this day, or at this instant; without one, all is known.
    pub known: Option<When>,
    /// The open period that books it, settled as `known`. The rows of an example that say so are settled in their order,
    /// each after the periods before it are closed.
    pub booked: Option<When>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Amount(Quantity),
    /// What a minimum lacks that is told and not owed.
    Short(Quantity),
    Findings(u32),
    /// It cannot be settled.
    Stops,
}

/// A number with its unit as written: a currency, a declared unit, `%`, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    pub number: Exact,
    pub unit: Option<String>,
}

/// A time as an example writes it, local to the contract's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Instant(Instant),
    Date(NaiveDate),
    /// `2026-05`, `2026-Q2`, `2026`.
    Period(Period),
    /// `contract-year 2`: the window of a `[period]`, by its place.
    Window {
        name: String,
        ordinal: u32,
        days: Window,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExampleProblem {
    #[error("an example stands in the file of a version, with which it runs")]
    NoVersion,
    #[error("no column \"{name}\"{}", there_is(.known))]
    UnknownColumn { name: String, known: Vec<String> },
    #[error("the column \"{name}\" is missing")]
    MissingColumn { name: &'static str },
    #[error(
        "\"{text}\" is no item; write charge a, usage u, billing b, receipt p of a, refund r of a, figure NAME f, fact NAME, status NAME, notice NAME n, rate EUR USD, correction of f or void of a"
    )]
    What { text: String },
    #[error(
        "\"{text}\" is no time; write 2026-04-27, 2026-04-27T00:00:00-07:00, 2026-04, 2026-Q2, 2026 or \"contract-year 2\""
    )]
    When { text: String },
    #[error("\"{text}\" is no amount; write 1_000.50 USD, 300 sfg-share, 99.5% or 12")]
    Amount { text: String },
    #[error("nothing tells when \"{name} {ordinal}\" is: a [period] with dates of its own has numbered windows")]
    NoWindow { name: String, ordinal: u32 },
    #[error("what a period books depends on what is known then; add `known`")]
    BookedUnknown,
    #[error("amount: {0}")]
    Number(ParseExactError),
    #[error("no {kind} \"{name}\"{}", there_is(.known))]
    Unknown { kind: &'static str, name: String, known: Vec<String> },
    #[error("\"{id}\" is given twice; give each an id of its own")]
    Repeated { id: String },
    #[error("nothing is expected; add a table headed `expect`")]
    NothingExpected,
    #[error("a record is a fact or a status")]
    Record,
}

impl When {
    /// The days that it takes in, in a zone; an instant takes in none.
    pub fn days(&self) -> Option<Window> {
        match self {
            Self::Instant(_) => None,
            Self::Date(date) => Some(Window { first_day: *date, end_day: date.succ_opt()? }),
            Self::Period(period) => Some(*period),
            Self::Window { days, .. } => Some(*days),
        }
    }

    pub fn start(&self, zone: Tz) -> Instant {
        match (self, self.days()) {
            (Self::Instant(at), _) => *at,
            (_, days) => days.map_or(Instant::MAX_UTC, |days| days.span(zone).start),
        }
    }

    /// Its last instant.
    pub fn last(&self, zone: Tz) -> Instant {
        match (self, self.days()) {
            (Self::Instant(at), _) => *at,
            (_, days) => days.map_or(Instant::MAX_UTC, |days| last_instant_before(days.span(zone).end)),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant(at) => write!(f, "{at}"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Period(period) => write!(f, "{period}"),
            Self::Window { name, ordinal, .. } => write!(f, "{name} {ordinal}"),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit.as_deref() {
            None => self.number.fmt(f),
            Some("%") => write!(f, "{}%", self.number),
            Some(unit) => write!(f, "{} {unit}", self.number),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount(amount) => amount.fmt(f),
            Self::Short(amount) => write!(f, "{amount} short"),
            Self::Findings(1) => f.write_str("1 finding"),
            Self::Findings(count) => write!(f, "{count} findings"),
            Self::Stops => f.write_str("stops"),
        }
    }
}
