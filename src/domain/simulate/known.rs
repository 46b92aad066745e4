//! What is known at an instant: everything recorded by then, after corrections, voids and conflicts.

use super::Scenario;
use super::what_if::multiply;
use crate::domain::entry::Entry;
use crate::domain::fx::FxRate;
use crate::domain::period::Instant;
use crate::domain::price::PriceBook;
use crate::domain::record::Record;
use crate::domain::restated::{KnownUsage, Ledger, Mention, Rejected, Standing, Waiting};

/// What a scenario says as known at an instant; each list is in the order of recording.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub prices: PriceBook,
    pub rates: Vec<FxRate>,
    /// Usage that stands, as it stands.
    pub usage: Vec<KnownUsage>,
    /// Records that stand, as they stand.
    pub records: Vec<Record>,
    /// Other content under a known id: it never counts by itself.
    pub conflicts: Vec<Mention>,
    pub rejected: Vec<Rejected>,
    /// Corrections and voids whose event is not known yet.
    pub waiting: Vec<Waiting>,
}

/// What is known of a scenario at an instant: what is recorded at it is seen, what is recorded later is not.
pub fn known_at(scenario: &Scenario, at: Instant) -> Known {
    let is_known = |recorded_at: &Option<Instant>| recorded_at.is_none_or(|it| it <= at);
    let mut prices: Vec<_> = scenario.prices.iter().filter(|(recorded_at, _)| is_known(recorded_at)).collect();
    // Sorting is stable: what is recorded at one instant stays in the order of the files.
    prices.sort_by_key(|(recorded_at, _)| *recorded_at);
    let mut rates: Vec<&FxRate> = scenario.rates.iter().filter(|rate| is_known(&rate.recorded_at)).collect();
    rates.sort_by_key(|rate| rate.recorded_at);
    let mut ledger = Ledger::default();
    for (_, entry) in recorded_by(scenario, at) {
        ledger.take(entry);
    }
    let Standing { usage, records, conflicts, rejected, waiting } = ledger.standing();
    let mut known = Known {
        prices: PriceBook::new(prices.into_iter().map(|(_, price)| price.clone())),
        rates: rates.into_iter().cloned().collect(),
        usage,
        records,
        conflicts,
        rejected,
        waiting,
    };
    if let Some(volumes) = &scenario.volumes {
        multiply(&mut known, volumes);
    }
    known
}

/// The entries that were recorded by an instant, in the order of recording, each with its place in the scenario.
pub(super) fn recorded_by(scenario: &Scenario, at: Instant) -> Vec<(usize, &Entry)> {
    let mut entries: Vec<(usize, &Entry)> =
        scenario.entries.iter().enumerate().filter(|(_, entry)| entry.recorded_at <= at).collect();
    entries.sort_by_key(|(_, entry)| entry.recorded_at);
    entries
}
