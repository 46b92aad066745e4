//! Steps of a scenario: settle and close periods, and ask what was known.

use crate::domain::ids::ContractId;
use crate::domain::period::{Instant, parse_instant};
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
