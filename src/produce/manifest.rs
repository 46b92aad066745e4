//! What the generator made, to be held beside what was stored.

use crate::domain::period::Period;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exact counts of the messages by the outcome that each must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub seed: u64,
    pub month: Period,
    /// The sum of all outcomes below.
    pub messages: u64,
    pub stored: u64,
    pub stored_unresolved: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub corrections_applied: u64,
    /// Sent before their event.
    pub corrections_waiting: u64,
    pub voids_applied: u64,
    /// Sent before their event.
    pub voids_waiting: u64,
    /// By reason.
    pub rejected: BTreeMap<String, u64>,
    /// Of the stored ones: occurred in the month before.
    pub late: u64,
    /// Of the stored ones, resolved or not, by deployment as first reported.
    pub events_by_deployment: BTreeMap<String, u64>,
}

impl Manifest {
    pub fn new(seed: u64, month: Period) -> Self {
        Self {
            seed,
            month,
            messages: 0,
            stored: 0,
            stored_unresolved: 0,
            duplicates: 0,
            conflicts: 0,
            corrections_applied: 0,
            corrections_waiting: 0,
            voids_applied: 0,
            voids_waiting: 0,
            rejected: BTreeMap::new(),
            late: 0,
            events_by_deployment: BTreeMap::new(),
        }
    }

    pub(super) fn count_event(&mut self, deployment: &str, late: bool) {
        self.late = self.late.saturating_add(u64::from(late));
        match self.events_by_deployment.get_mut(deployment) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.events_by_deployment.insert(deployment.to_owned(), 1);
            }
        }
    }

    /// The outcomes by the names that Postgres and the reports give them, in the order in which they are shown.
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("stored", self.stored),
            ("stored_unresolved", self.stored_unresolved),
            ("duplicates", self.duplicates),
            ("conflicts", self.conflicts),
            ("corrections_applied", self.corrections_applied),
            ("corrections_waiting", self.corrections_waiting),
            ("voids_applied", self.voids_applied),
            ("voids_waiting", self.voids_waiting),
            ("rejected", self.rejected.values().sum()),
        ]
    }
}
