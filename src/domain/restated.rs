//! What stands of all that was recorded: after corrections and voids, without conflicts and what is refused.

use super::amendment::{Refusal, Target, may_name};
use super::entry::{Entry, EntryError, What};
use super::ids::EventId;
use super::names::UnknownName;
use super::period::Instant;
use super::record::Record;
use super::usage::UsageContent;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// What stands, and what does not count; each list is in the order of recording.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Usage, as it stands.
    pub usage: Vec<KnownUsage>,
    /// Records, as they stand.
    pub records: Vec<Record>,
    /// Other content under a known id: it never counts by itself.
    pub conflicts: Vec<Mention>,
    /// First those that were refused when they were taken, in their order.
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
    /// The reason for which an entry was refused when it came.
    ///
    /// # Errors
    /// A name that is none of them.
    pub fn named(name: &str) -> Result<Self, UnknownName> {
        let all = [
            Self::Refused(Refusal::CorrectionOfVoided),
            Self::Refused(Refusal::CorrectionOfAmendment),
            Self::Refused(Refusal::VoidOfVoid),
            Self::NegativeQuantity,
        ];
        let known = all.iter().map(Self::name).collect();
        let found = all.iter().find(|reason| reason.name() == name).cloned();
        found.ok_or_else(|| UnknownName { what: "reason", name: name.to_owned(), known })
    }

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

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    Taken,
    /// Known already, with equal content.
    Duplicate,
    /// Known already with other content, which stands.
    Conflict,
    /// It never has an effect, and leaves its id free.
    Rejected(Reason),
}

/// What was taken in, in the order of recording.
#[derive(Default)]
pub struct Ledger<'a> {
    /// Ids of what is recorded elsewhere.
    elsewhere: BTreeSet<EventId>,
    by_id: BTreeMap<&'a EventId, &'a Entry>,
    in_order: Vec<&'a Entry>,
    /// Corrections and voids by what they name.
    naming: BTreeMap<(&'a str, &'a str), Vec<&'a Entry>>,
    conflicts: Vec<Mention>,
    rejected: Vec<Rejected>,
}

impl<'a> Ledger<'a> {
    /// An empty one, beside what has these ids already.
    pub fn beside(elsewhere: BTreeSet<EventId>) -> Self {
        Self { elsewhere, ..Self::default() }
    }

    /// Takes an entry in, recorded after those before.
    pub fn take(&mut self, entry: &'a Entry) -> Taking {
        if entry.has_negative_quantity {
            return self.reject(entry, Reason::NegativeQuantity);
        }
        match self.by_id.get(&entry.id) {
            Some(first) if first.says_the_same(entry) => return Taking::Duplicate,
            None if !self.elsewhere.contains(&entry.id) => {}
            Some(_) | None => {
                self.conflicts.push(Mention::of(entry));
                return Taking::Conflict;
            }
        }
        if let Some(target) = entry.what.target() {
            let is_void = matches!(entry.what, What::Void { .. });
            if let Err(refusal) = may_name(is_void, self.target(&entry.id.source, target)) {
                return self.reject(entry, refusal.into());
            }
            self.naming.entry((&entry.id.source, target)).or_default().push(entry);
        }
        self.by_id.insert(&entry.id, entry);
        self.in_order.push(entry);
        Taking::Taken
    }

    fn reject(&mut self, entry: &Entry, reason: Reason) -> Taking {
        self.rejected.push(Rejected { what: Mention::of(entry), reason: reason.clone() });
        Taking::Rejected(reason)
    }

    /// How a record stands, if it is known and not voided.
    ///
    /// # Errors
    /// What corrections make of it does not fit together.
    pub fn record(&self, id: &EventId) -> Result<Option<Record>, EntryError> {
        let Some(entry) = self.by_id.get(id).filter(|_| !self.is_voided(id)) else { return Ok(None) };
        Ok(match self.restated(entry)? {
            What::Record(content) => Some(Record { id: id.clone(), content }),
            What::Usage(_) | What::Correction { .. } | What::Void { .. } => None,
        })
    }

    /// An entry with what its corrections restate.
    fn restated(&self, entry: &Entry) -> Result<What, EntryError> {
        let naming = self.naming.get(&(entry.id.source.as_str(), entry.id.id.as_str()));
        let holding = naming.into_iter().flatten().filter(|correction| !self.is_voided(&correction.id));
        entry.restated(holding.copied())
    }

    /// Whether a void names it.
    fn is_voided(&self, id: &EventId) -> bool {
        let naming = self.naming.get(&(id.source.as_str(), id.id.as_str()));
        naming.is_some_and(|it| it.iter().any(|entry| matches!(entry.what, What::Void { .. })))
    }

    /// What a correction or void names, as far as it is known.
    fn target(&self, source: &str, id: &str) -> Target {
        let id = EventId { source: source.to_owned(), id: id.to_owned() };
        let voided = self.is_voided(&id);
        match self.by_id.get(&id).map(|entry| &entry.what) {
            None => Target::Unknown { voided },
            Some(What::Usage(_) | What::Record(_)) => Target::Event { voided },
            Some(What::Correction { .. }) => Target::Correction,
            Some(What::Void { .. }) => Target::Void,
        }
    }

    /// How everything stands that was taken in.
    pub fn standing(&self) -> Standing {
        let (conflicts, rejected) = (self.conflicts.clone(), self.rejected.clone());
        let mut standing = Standing { conflicts, rejected, ..Standing::default() };
        for entry in &self.in_order {
            match entry.what.target() {
                Some(target) => self.stand_naming(entry, target, &mut standing),
                None if self.is_voided(&entry.id) => {}
                None => match self.restated(entry) {
                    Ok(what) => standing.add(entry, what),
                    Err(misfit) => standing.reject(entry, misfit.into()),
                },
            }
        }
        let rejected: BTreeSet<Mention> = standing.rejected.iter().map(|it| it.what.clone()).collect();
        standing.waiting.retain(|waiting| !rejected.contains(&waiting.what));
        standing
    }

    /// What waited may have turned out to name what cannot be named.
    fn stand_naming(&self, entry: &Entry, target: &str, standing: &mut Standing) {
        let is_void = matches!(entry.what, What::Void { .. });
        match self.target(&entry.id.source, target) {
            Target::Unknown { .. } => standing.waiting.push(Waiting {
                what: Mention::of(entry),
                waits_for: EventId { source: entry.id.source.clone(), id: target.to_owned() },
            }),
            Target::Event { .. } => {}
            found @ (Target::Correction | Target::Void) => {
                if let Err(refusal) = may_name(is_void, found) {
                    standing.reject(entry, refusal.into());
                }
            }
        }
    }
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

impl Standing {
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
