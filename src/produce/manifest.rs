//! What the generator made, to be held beside what was stored.

use crate::domain::calendar::Period;
use crate::domain::outcome::Counts;
use crate::domain::usage::RequestOutcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// Exact counts of the messages by the outcome that each must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    pub seed: u64,
    pub month: Period,
    #[serde(flatten)]
    pub counts: Counts,
    /// The rejected ones, by reason.
    pub rejections: BTreeMap<&'static str, u64>,
    /// Of the stored ones: occurred in the month before.
    pub late: u64,
    /// Of the stored ones, resolved or not, by deployment as first reported.
    pub events_by_deployment: BTreeMap<&'static str, u64>,
    /// The same by the outcome of the request: `ok`, `error` and `not reported`.
    pub events_by_outcome: BTreeMap<&'static str, u64>,
}

impl Manifest {
    pub(super) fn new(seed: u64, month: Period) -> Self {
        Self {
            seed,
            month,
            counts: Counts::default(),
            rejections: BTreeMap::new(),
            late: 0,
            events_by_deployment: BTreeMap::new(),
            events_by_outcome: BTreeMap::new(),
        }
    }

    pub(super) fn count_event(&mut self, deployment: &'static str, outcome: Option<RequestOutcome>, late: bool) {
        self.late = self.late.saturating_add(u64::from(late));
        count(&mut self.events_by_deployment, deployment);
        count(&mut self.events_by_outcome, outcome.map_or("not reported", RequestOutcome::name));
    }

    pub(super) fn count_rejection(&mut self, reason: &'static str) {
        count(&mut self.rejections, reason);
    }
}

fn count(counts: &mut BTreeMap<&'static str, u64>, name: &'static str) {
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(1);
}
