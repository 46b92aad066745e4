//! What a run of a scenario answers to its steps, in a form that programs read.

use super::charges::EventCharge;
use super::uncounted::Uncounted;
use crate::domain::contract::rights::OnBreach;
use crate::domain::engine::outcome::CapUse;
use crate::domain::findings::Why;
use crate::domain::ids::{ContractId, EventId, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::names::names;
use crate::domain::period::{Instant, LocalTime};
use crate::domain::restated::{Mention, Rejected, Waiting};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A run of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Answers {
    pub steps: Vec<Answer>,
    /// Everything that was booked.
    pub booked_in_all: Vec<BookedInAll>,
    /// What counts in no answer, or counts here alone, once all is recorded.
    pub uncounted: Vec<Uncounted>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BookedInAll {
    pub contract: ContractId,
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
    pub amount: Exact,
}

/// Why nothing was agreed of a period yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAgreed {
    #[error("the contract begins at {begins}, when the period is over")]
    BeforeContract { begins: LocalTime },
    #[error("no version of the contract was recorded by the cutoff")]
    NotRecorded,
}

impl Serialize for NotAgreed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The answer to one step.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Each period that the step settled and that had something to book, the named one last.
    Settled {
        settlements: Vec<Settlement>,
        /// How the terms come to it, in the periods that were settled or adjusted.
        terms: BTreeMap<TermId, Entitled>,
        findings: Vec<Finding>,
        /// Why nothing can be owed, where nothing was agreed of the period.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_agreed: Option<NotAgreed>,
    },
    Closed,
    /// Nothing was booked.
    Failed {
        /// For programs: `missing_price`, `period_closed` and others.
        code: &'static str,
        /// Whether something can still be recorded or agreed with which the step has an answer.
        #[serde(skip)]
        is_waiting: bool,
        message: String,
    },
    Entitled {
        terms: BTreeMap<TermId, Entitled>,
    },
    Findings {
        findings: Vec<Finding>,
    },
    Charges(Charges),
    Period {
        start: Instant,
        end: Instant,
        hours: Exact,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Settlement {
    pub period: String,
    pub booked: Vec<Booked>,
}

/// What a settlement books for a term and payee.
#[derive(Clone, Debug, Serialize)]
pub struct Booked {
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    /// Whether the term has several payees.
    pub is_shared: bool,
    #[serde(flatten)]
    pub unit: Unit,
    pub amount: Exact,
    /// By origin period; those of others than the settled one are adjustments.
    pub lines: BTreeMap<String, Exact>,
}

/// What a term yields, by period.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Entitled {
    /// None for a term that no version states.
    #[serde(flatten)]
    pub unit: Option<Unit>,
    pub periods: BTreeMap<String, EntitledPeriod>,
    pub cumulative: Exact,
    pub crossings: Vec<Crossing>,
    /// Items of which the cap left nothing.
    pub without_room: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct EntitledPeriod {
    /// What the term is of, in all: where that is of several things their numbers are added up, whatever they are in.
    pub base: Exact,
    pub uncapped: Exact,
    /// What was recouped or set off of it, below zero, or given back of that; it is in what accrued.
    pub paid_back: Exact,
    pub accrued: Exact,
    /// The rounded sum through the period less that through the one before.
    pub rounded: Exact,
    pub cap: Option<CapUse>,
    /// What a minimum lacked that is told and not owed.
    pub shortfall: Exact,
    pub versions: Vec<u32>,
}

/// Where a cap is reached.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Crossing {
    /// None where a window's amount crosses.
    pub item: Option<String>,
    pub period: String,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub at: Instant,
    pub found_room: Exact,
    pub found_none: Exact,
}

/// Usage that breaks a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub right: TermId,
    pub event: EventId,
    pub occurred_at: Instant,
    pub on_breach: OnBreach,
    pub why: Why,
    pub state: State,
}

names! {
    /// What was decided on a finding.
    State as "state of a finding" {
        Open = "open",
        Released = "released",
        Rejected = "rejected",
    }
}

/// What each event costs, and what of the records does not count.
#[derive(Clone, Debug, Serialize)]
pub struct Charges {
    pub charges: Vec<EventCharge>,
    pub conflicts: Vec<Mention>,
    pub rejected: Vec<Rejected>,
    pub waiting: Vec<Waiting>,
}
