//! What is known at an instant: everything recorded by then, after corrections, voids and conflicts.

use super::Scenario;
use super::entry::{Entry, EntryError, What};
use super::what_if::multiply;
use crate::domain::amendment::{Refusal, Target, may_name};
use crate::domain::fx::FxRate;
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::price::PriceBook;
use crate::domain::record::Record;
use crate::domain::usage::UsageContent;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUsage {
    pub id: EventId,
    /// When the event itself was recorded.
    pub recorded_at: Instant,
    pub content: UsageContent,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mention {
    pub id: EventId,
    pub recorded_at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    pub what: Mention,
    #[serde(serialize_with = "as_text")]
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub what: Mention,
    pub waits_for: EventId,
}

/// Why an entry never has an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("a quantity is negative; a correction restates the quantity")]
    NegativeQuantity,
    /// What corrections make of a record does not fit together.
    #[error("{0}")]
    Misfit(String),
}

fn as_text<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

impl Reason {
    /// The name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::CorrectionOfVoided) => "correction_of_voided",
            Self::Refused(Refusal::CorrectionOfAmendment) => "correction_of_amendment",
            Self::Refused(Refusal::VoidOfVoid) => "void_of_void",
            Self::NegativeQuantity => "negative_quantity",
            Self::Misfit(_) => "misfit",
        }
    }
}

/// What is known of a scenario at an instant: what is recorded at it is seen, what is recorded later is not.
pub fn known_at(scenario: &Scenario, at: Instant) -> Known {
    let is_known = |recorded_at: &Option<Instant>| recorded_at.is_none_or(|it| it <= at);
    let mut prices: Vec<_> = scenario.prices.iter().filter(|(recorded_at, _)| is_known(recorded_at)).collect();
    // Sorting is stable: what is recorded at one instant stays in the order of the files.
    prices.sort_by_key(|(recorded_at, _)| *recorded_at);
    let mut rates: Vec<&FxRate> = scenario.rates.iter().filter(|rate| is_known(&rate.recorded_at)).collect();
    rates.sort_by_key(|rate| rate.recorded_at);
    let mut entries: Vec<&Entry> = scenario.entries.iter().filter(|entry| entry.recorded_at <= at).collect();
    entries.sort_by_key(|entry| entry.recorded_at);
    let mut known = Known {
        prices: PriceBook::new(prices.into_iter().map(|(_, price)| price.clone())),
        rates: rates.into_iter().cloned().collect(),
        ..Known::default()
    };
    let taken = take(&entries, &mut known);
    stand(&taken, &mut known);
    if let Some(volumes) = &scenario.volumes {
        multiply(&mut known, volumes);
    }
    known
}

/// What was taken in, in the order of recording.
#[derive(Default)]
struct Taken<'a> {
    by_id: BTreeMap<&'a EventId, &'a Entry>,
    in_order: Vec<&'a Entry>,
    /// Corrections and voids by what they name.
    naming: BTreeMap<(&'a str, &'a str), Vec<&'a Entry>>,
}

impl<'a> Taken<'a> {
    fn named(&self, source: &str, id: &str) -> Option<&'a Entry> {
        self.by_id.get(&EventId { source: source.to_owned(), id: id.to_owned() }).copied()
    }

    /// Whether a void names it.
    fn is_voided(&self, id: &EventId) -> bool {
        let naming = self.naming.get(&(id.source.as_str(), id.id.as_str()));
        naming.is_some_and(|it| it.iter().any(|entry| matches!(entry.what, What::Void { .. })))
    }

    /// What a correction or void names, as far as it is known.
    fn target(&self, source: &str, id: &str) -> Target {
        let voided = self.is_voided(&EventId { source: source.to_owned(), id: id.to_owned() });
        match self.named(source, id).map(|entry| &entry.what) {
            None => Target::Unknown { voided },
            Some(What::Usage(_) | What::Record(_)) => Target::Event { voided },
            Some(What::Correction { .. }) => Target::Correction,
            Some(What::Void { .. }) => Target::Void,
        }
    }
}

/// Takes entries in, one after the other, as they were recorded. What is rejected leaves its id free.
fn take<'a>(entries: &[&'a Entry], known: &mut Known) -> Taken<'a> {
    let mut taken = Taken::default();
    for entry in entries {
        if entry.has_negative_quantity {
            known.reject(entry, Reason::NegativeQuantity);
            continue;
        }
        match taken.by_id.get(&entry.id) {
            Some(first) if first.says_the_same(entry) => continue,
            Some(_) => {
                known.conflicts.push(Mention::of(entry));
                continue;
            }
            None => {}
        }
        if let Some(target) = entry.what.target() {
            let is_void = matches!(entry.what, What::Void { .. });
            if let Err(refusal) = may_name(is_void, taken.target(&entry.id.source, target)) {
                known.reject(entry, refusal.into());
                continue;
            }
            taken.naming.entry((&entry.id.source, target)).or_default().push(entry);
        }
        taken.by_id.insert(&entry.id, entry);
        taken.in_order.push(entry);
    }
    taken
}

/// Says how everything stands that was taken in.
fn stand(taken: &Taken<'_>, known: &mut Known) {
    for entry in &taken.in_order {
        let EventId { source, id } = &entry.id;
        let Some(target) = entry.what.target() else {
            if taken.is_voided(&entry.id) {
                continue;
            }
            let naming = taken.naming.get(&(source.as_str(), id.as_str()));
            let holding = naming.into_iter().flatten().filter(|correction| !taken.is_voided(&correction.id));
            match entry.restated(holding.copied()) {
                Ok(what) => known.add(entry, what),
                Err(misfit) => known.reject(entry, misfit.into()),
            }
            continue;
        };
        // What waited may have turned out to name what cannot be named.
        let is_void = matches!(entry.what, What::Void { .. });
        match taken.target(source, target) {
            Target::Unknown { .. } => known.waiting.push(Waiting {
                what: Mention::of(entry),
                waits_for: EventId { source: source.clone(), id: target.to_owned() },
            }),
            Target::Event { .. } => {}
            found @ (Target::Correction | Target::Void) => {
                if let Err(refusal) = may_name(is_void, found) {
                    known.reject(entry, refusal.into());
                }
            }
        }
    }
    let rejected: BTreeSet<Mention> = known.rejected.iter().map(|it| it.what.clone()).collect();
    known.waiting.retain(|waiting| !rejected.contains(&waiting.what));
}

impl From<EntryError> for Reason {
    fn from(misfit: EntryError) -> Self {
        Self::Misfit(misfit.to_string())
    }
}

impl Mention {
    fn of(entry: &Entry) -> Self {
        Self { id: entry.id.clone(), recorded_at: entry.recorded_at }
    }
}

impl Known {
    fn reject(&mut self, entry: &Entry, reason: Reason) {
        self.rejected.push(Rejected { what: Mention::of(entry), reason });
    }

    fn add(&mut self, entry: &Entry, what: What) {
        let id = entry.id.clone();
        match what {
            What::Usage(content) => self.usage.push(KnownUsage { id, recorded_at: entry.recorded_at, content }),
            What::Record(content) => self.records.push(Record { id, content }),
            // Only what happened is restated.
            What::Correction { .. } | What::Void { .. } => {}
        }
    }
}

impl What {
    /// What it names, if it is a correction or void.
    fn target(&self) -> Option<&str> {
        match self {
            Self::Correction { target } | Self::Void { target } => Some(target),
            Self::Usage(_) | Self::Record(_) => None,
        }
    }
}
