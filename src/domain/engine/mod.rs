//! The engine: items in order, term by term, become accruals (CONTRACTS sections 2 to 4). Pure and exact.
//!
//! `plan` lays out streams by version; `run` passes each item through them and closes windows at boundaries; `base`
//! and `term` say what each does with an item. Nothing is rounded here.

pub mod addend;
pub mod allocation;
pub mod arena;
mod base;
mod boundaries;
mod cap;
mod concerned;
pub mod conversion;
mod counter;
mod credit;
pub mod entitlement;
pub mod feed;
mod gauge;
pub mod item;
pub mod knowledge;
mod leaf;
pub mod life;
mod listed;
mod memo;
mod mentions;
mod minimum;
mod node;
mod once;
mod opening;
mod order;
pub mod outcome;
pub mod owed;
mod part;
mod place;
pub mod plan;
mod pro_rata;
pub mod rated;
mod reported;
pub mod run;
mod set_off;
mod spread;
mod state;
pub mod stretches;
mod sums;
mod table;
mod tail;
mod term;
mod total;
mod watch;
mod window;

use super::calendar::Window;
use super::ids::{ContractId, DefinedTerm, TermId};
use super::money::Unit;
use super::period::Instant;
use chrono::NaiveDate;
use knowledge::AskedRate;
use serde::Serialize;

/// Why nothing can be said of what is owed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("{stream} draws on itself")]
    Circle { stream: String },
    #[error("nothing declares {stream}")]
    Undeclared { stream: String },
    #[error("{}; add what is missing to the price book and settle again (a price of zero is written down)", told(.missing))]
    MissingPrices { missing: Vec<MissingPrice> },
    #[error(
        "{contract}: {item} is a record of an interval, and its price has context thresholds; report each request, or give each band a price without one"
    )]
    NoContext { contract: ContractId, item: String },
    #[error(
        "{contract}: no rate from {from} to {to}{}",
        .asked.as_ref().map_or_else(
            || "; write in [fx] how one becomes the other, or in [unit.x] what one is worth".to_owned(),
            |asked| format!(" {asked}"),
        )
    )]
    MissingFx { contract: ContractId, from: Unit, to: Unit, asked: Option<Box<AskedRate>> },
    #[error("figure \"{figure}\" of {contract} is missing for {}, and the settlement waits for it: record it first", days_told(.days))]
    MissingFigure { contract: ContractId, figure: DefinedTerm, days: Vec<Window> },
    #[error(
        "{contract}: {item} lies across a boundary from {from} to {until}; the contract refuses that: report its parts on either side, or write straddling = \"whole\""
    )]
    Straddling { contract: ContractId, item: String, from: Instant, until: Instant },
    #[error("{contract}/{term} yields something at {at}, which lies in no period; list the dates around it in starts")]
    NoPeriod { contract: ContractId, term: TermId, at: Instant },
    #[error(
        "{contract}/{term}: nothing was used in the period from {first_day} by which its pool could be shared; record the usage, or write if_none = \"nothing\" or \"equal\""
    )]
    NothingUsed { contract: ContractId, term: TermId, first_day: NaiveDate },
    #[error(
        "{contract}: \"{name}\" is still to be agreed, and the contract is not settled until it is; add the version that says it, or write meanwhile = \"nothing\""
    )]
    ToBeAgreed { contract: ContractId, name: DefinedTerm },
    #[error(
        "{contract}/{term} rests on {what}, which is assumed, and the contract refuses that; write its source and confidence once known, or assumed = \"allow\""
    )]
    Assumed { contract: ContractId, term: TermId, what: String },
    #[error(
        "base {base} of {contract} is decided on its total in each period, and at {at} {} begins or ends while others go on: give each a base of its own",
        .terms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    TornTotal { contract: ContractId, base: DefinedTerm, terms: Vec<TermId>, at: Instant },
    #[error("{contract}/{name}: no row of its table holds at {at}; end it with otherwise, or with \"none\"")]
    NoRow { contract: ContractId, name: String, at: Instant },
}

/// What stops a run. It is rare: boxed, it leaves what mostly comes of an item as small as an amount.
type Stop = Box<EngineError>;

impl From<Stop> for EngineError {
    fn from(stop: Stop) -> Self {
        *stop
    }
}

impl EngineError {
    /// Whether something can still be recorded, agreed or signed with which the same settlement succeeds; else the
    /// documents or the order of what was asked are at fault.
    pub fn is_waiting(&self) -> bool {
        match self {
            Self::MissingPrices { .. }
            | Self::MissingFx { .. }
            | Self::MissingFigure { .. }
            | Self::NoContext { .. }
            | Self::NothingUsed { .. }
            | Self::ToBeAgreed { .. } => true,
            Self::Circle { .. }
            | Self::Undeclared { .. }
            | Self::Straddling { .. }
            | Self::NoPeriod { .. }
            | Self::TornTotal { .. }
            | Self::Assumed { .. }
            | Self::NoRow { .. } => false,
        }
    }
}

/// Stretches of days, each by its first and last.
fn days_told(days: &[Window]) -> String {
    let told = days.iter().map(|it| match (it.first_day, it.last_day()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// How many missing prices are told one by one.
pub const MISSING_PRICES_TOLD: usize = 3;

/// In one line, however many there are.
fn told(missing: &[MissingPrice]) -> String {
    let first: Vec<String> = missing.iter().take(MISSING_PRICES_TOLD).map(ToString::to_string).collect();
    let is = if missing.len() == 1 { "price is" } else { "prices are" };
    let more = if missing.len() > MISSING_PRICES_TOLD { "; and so on" } else { "" };
    format!("{} {is} missing: {}{more}", missing.len(), first.join("; "))
}

/// What a base counts and the price book has no price for, where it is missing first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error(
    "{} of {}, tier {}, at {} from {at}{}, which base {base} of {contract} counts",
    .of.meter, .of.product, .of.service_tier, .of.deployment,
    .event.as_ref().map(|event| format!(" (event {event})")).unwrap_or_default()
)]
pub struct MissingPrice {
    pub contract: ContractId,
    pub base: DefinedTerm,
    #[serde(flatten)]
    pub of: Unpriced,
    pub at: Instant,
    /// The first event that needs it; none where usage is summed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// What has no price.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unpriced {
    pub product: String,
    pub meter: String,
    pub service_tier: String,
    pub deployment: String,
}

#[cfg(test)]
mod run_tests;
