//! Steps of a scenario: settle and close periods, and ask what was known.

use super::Scenario;
use crate::domain::contract::folder::read_folder;
use crate::domain::ids::ContractId;
use crate::domain::period::{Instant, parse_instant};
use chrono::SecondsFormat;
use serde::{Deserialize, Deserializer, Serialize};

/// One step, a JSON object on a line. Periods are named as the contract's calendar names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Books what is due as known at the cutoff, after the open periods before.
    Settle {
        contract: ContractId,
        period: String,
        #[serde(deserialize_with = "instant")]
        cutoff: Instant,
    },
    /// From then on the period, and those before it, refuse news.
    Close { contract: ContractId, period: String },
    /// What is owed, whatever was booked.
    Entitlement {
        contract: ContractId,
        through: String,
        #[serde(deserialize_with = "instant")]
        known_at: Instant,
    },
    Findings {
        contract: ContractId,
        through: String,
        #[serde(deserialize_with = "instant")]
        known_at: Instant,
    },
    /// What each event costs, and what of the records did not count.
    Charges {
        #[serde(deserialize_with = "instant")]
        known_at: Instant,
    },
    /// From when to when a period is, and how long.
    Period { contract: ContractId, period: String },
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
    parse_instant(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

impl Step {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// A scenario of which nothing is asked: nothing would be answered.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing is asked, as there are no steps; write steps.jsonl, or in a document a block ```jsonl steps.jsonl, with lines such as {{\"step\":\"settle\",\"contract\":\"{contract}\",\"period\":\"{period}\",\"cutoff\":\"{cutoff}\"}}"
)]
pub struct NothingAsked {
    contract: String,
    period: String,
    /// The period's end.
    cutoff: String,
}

impl Scenario {
    /// Refuses a scenario without steps, with a step that it might have.
    ///
    /// # Errors
    /// There is none.
    pub fn check_asked(&self) -> Result<(), NothingAsked> {
        if !self.steps.is_empty() {
            return Ok(());
        }
        let contracts = read_folder(&self.documents).map(|folder| folder.contracts).unwrap_or_default();
        let first = contracts.iter().find_map(|contract| Some((contract, contract.first_period()?)));
        let (contract, period, cutoff) = match first {
            Some((contract, period)) => {
                let cutoff = period.span(contract.head.zone).end.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                (contract.head.id.to_string(), period.to_string(), cutoff)
            }
            None => ["c", "2026-05", "2026-06-05T12:00:00Z"].map(str::to_owned).into(),
        };
        Err(NothingAsked { contract, period, cutoff })
    }
}
