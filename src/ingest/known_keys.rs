//! Which keys are perhaps stored: a batch looks up these alone. Pure.
//!
//! Of events of the newest generation "no" is a guess, as others store them too and none are remembered across a restart:
//! its unique index decides. A batch that it refuses looks up all of its keys, and so do some after it. Of those of a
//! sealed generation "no" is certain, as nothing is added to it any more; where its filter is not there all keys are looked
//! up. So is "no" of corrections, voids and records beside usage, which no index holds beside events, once all that are
//! recorded were told of: their filter has a fixed size, and where it fills up it says "perhaps" more often.

use super::key_filter::KeyFilter;
use crate::store::generations::Generation;
use crate::store::usage::BesideUpTo;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// How many keys of events are remembered at least: the last ones, and up to as many before them.
const EVENTS: usize = 8 << 20;

/// How many corrections and voids, with what they name, and records beside usage a filter tells apart well.
const BESIDE: usize = 1 << 20;

/// How many batches look up all of their keys after the index refused one.
const BATCHES_IN_DOUBT: u32 = 16;

/// After how many keys that were looked up in sealed generations their filters are worth the work: not for a few requests.
const WORTH_FILTERS: u64 = 20_000;

/// Whose filters they are: those of one state of the database, until another is restored.
#[derive(Clone, Default)]
pub(super) struct Era(Arc<()>);

/// What a writer knows of the keys that are stored.
pub(super) struct KnownKeys {
    /// The events of late, how many they are, and those before.
    events: [KeyFilter; 2],
    events_of_late: usize,
    /// Corrections, voids, what they name, and records beside usage.
    beside: KeyFilter,
    beside_up_to: BesideUpTo,
    doubt: u32,
    sealed: HashMap<i32, KeyFilter>,
    /// Generations that were asked about without a filter, of which of them it was asked whether one is kept, and how many keys.
    unfiltered: HashSet<Generation>,
    asked_for_kept: HashSet<Generation>,
    looked_up: u64,
    era: Era,
}

impl KnownKeys {
    pub(super) fn new() -> Self {
        Self {
            events: [KeyFilter::new(EVENTS), KeyFilter::new(EVENTS)],
            events_of_late: 0,
            beside: KeyFilter::new(2 * BESIDE),
            beside_up_to: BesideUpTo::default(),
            doubt: 0,
            sealed: HashMap::new(),
            unfiltered: HashSet::new(),
            asked_for_kept: HashSet::new(),
            looked_up: 0,
            era: Era::default(),
        }
    }

    /// Those of a batch's keys under which an event is perhaps stored, by generation: of all there are, in their order. Where
    /// the index of the newest does not decide, as of keys of corrections and voids, nothing may be guessed.
    pub(super) fn perhaps_within(
        &mut self,
        generations: &[Generation],
        keys: &[Uuid],
        may_guess: bool,
    ) -> Vec<(Generation, Vec<Uuid>)> {
        let Some((newest, sealed)) = generations.split_last() else { return Vec::new() };
        let of_newest = if may_guess { self.perhaps_events(keys) } else { keys.to_vec() };
        let mut perhaps = vec![(*newest, of_newest)];
        for generation in sealed {
            let suspected = match self.sealed.get(&generation.number) {
                Some(filter) => keys.iter().filter(|key| filter.has(**key)).copied().collect(),
                None => {
                    self.unfiltered.insert(*generation);
                    keys.to_vec()
                }
            };
            perhaps.push((*generation, suspected));
        }
        if !self.unfiltered.is_empty() {
            self.looked_up = self.looked_up.saturating_add(keys.len() as u64);
        }
        perhaps
    }

    /// The sealed generations whose filter would be worth a wait if somebody made and kept it, and for whom: each once.
    pub(super) fn wants_kept_filters(&mut self) -> Option<(Vec<Generation>, Era)> {
        if self.looked_up < WORTH_FILTERS {
            return None;
        }
        let wanted: Vec<Generation> = self.unfiltered.difference(&self.asked_for_kept).copied().collect();
        self.asked_for_kept.extend(&wanted);
        (!wanted.is_empty()).then(|| (wanted, self.era.clone()))
    }

    /// The newest of the sealed generations whose filter would be worth the work, and for whom.
    pub(super) fn wants_filter(&self) -> Option<(Generation, Era)> {
        let newest = self.unfiltered.iter().max_by_key(|generation| generation.number).copied();
        let wanted = newest.filter(|_| self.looked_up >= WORTH_FILTERS);
        wanted.map(|generation| (generation, self.era.clone()))
    }

    /// All keys of a sealed generation are in this filter.
    pub(super) fn know_sealed(&mut self, generation: Generation, filter: KeyFilter, Era(era): &Era) {
        // One that was read before another state of the database was restored says nothing of this one.
        if Arc::ptr_eq(era, &self.era.0) {
            self.unfiltered.remove(&generation);
            self.sealed.insert(generation.number, filter);
        }
    }

    /// Those of a batch's keys under which the newest generation perhaps has an event.
    fn perhaps_events(&mut self, keys: &[Uuid]) -> Vec<Uuid> {
        if self.doubt > 0 {
            self.doubt -= 1;
            return keys.to_vec();
        }
        keys.iter().filter(|key| self.events.iter().any(|filter| filter.has(**key))).copied().collect()
    }

    /// Those of a batch's keys that corrections or voids perhaps have or name, or records beside usage have.
    pub(super) fn perhaps_beside(&self, keys: &[Uuid]) -> Vec<Uuid> {
        keys.iter().filter(|key| self.beside.has(**key)).copied().collect()
    }

    /// The index refused a key that was taken for new.
    pub(super) fn doubt(&mut self) {
        self.doubt = BATCHES_IN_DOUBT;
    }

    pub(super) fn stored(&mut self, keys: impl Iterator<Item = Uuid>) {
        for key in keys {
            if self.events_of_late >= EVENTS {
                self.events.swap(0, 1);
                self.events[0].clear();
                self.events_of_late = 0;
            }
            self.events[0].insert(key);
            self.events_of_late += 1;
        }
    }

    /// How far corrections, voids and records beside usage are known.
    pub(super) fn beside_up_to(&self) -> BesideUpTo {
        self.beside_up_to
    }

    /// The keys that corrections and voids have and name, and that records beside usage have, up to some of them.
    pub(super) fn know_beside(&mut self, keys: impl Iterator<Item = Uuid>, up_to: BesideUpTo) {
        keys.for_each(|key| self.beside.insert(key));
        let known = self.beside_up_to;
        self.beside_up_to = BesideUpTo { batch: known.batch.max(up_to.batch), record: known.record.max(up_to.record) };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Keys as a keyed hash spreads them.
    pub(in crate::ingest) fn keys(range: std::ops::Range<u64>) -> impl Iterator<Item = Uuid> {
        range.map(|number| crate::domain::usage::event_key(&[7; 32], "s", &number.to_string()))
    }

    #[test]
    fn what_was_stored_is_suspected() {
        let mut known = KnownKeys::new();
        known.stored(keys(0..10_000));
        let stored: Vec<Uuid> = keys(0..10_000).collect();
        assert_eq!(known.perhaps_events(&stored), stored);
        assert!(known.perhaps_events(&keys(10_000..20_000).collect::<Vec<_>>()).is_empty());
    }

    #[test]
    fn the_last_events_are_remembered_when_a_filter_is_full() {
        let mut known = KnownKeys::new();
        let all: Vec<Uuid> = keys(0..1000).collect();
        known.events_of_late = EVENTS - 500;
        known.stored(all.iter().copied());
        assert_eq!((known.perhaps_events(&all), known.events_of_late), (all, 500));
    }

    #[test]
    fn doubt_suspects_every_key_for_a_while() {
        let mut known = KnownKeys::new();
        let some: Vec<Uuid> = keys(0..10).collect();
        known.doubt();
        for _ in 0..BATCHES_IN_DOUBT {
            assert_eq!(known.perhaps_events(&some), some);
        }
        assert!(known.perhaps_events(&some).is_empty());
    }

    #[test]
    fn corrections_are_known_by_what_they_have_and_name() {
        let mut known = KnownKeys::new();
        known.know_beside(keys(0..2), BesideUpTo { batch: 7, record: 2 });
        known.know_beside(keys(2..4), BesideUpTo { batch: 5, record: 3 });
        let some: Vec<Uuid> = keys(0..6).collect();
        let up_to = BesideUpTo { batch: 7, record: 3 };
        assert_eq!((known.perhaps_beside(&some), known.beside_up_to()), (some[..4].to_vec(), up_to));
    }

    #[test]
    fn a_sealed_generation_is_looked_up_until_its_filter_is_there() {
        let generation = |number| Generation { number, first_batch: i64::from(number) };
        let all = [generation(1), generation(2), generation(3)];
        let mut known = KnownKeys::new();
        let some: Vec<Uuid> = keys(0..20_000).collect();
        let both = [(all[2], Vec::new()), (all[0], some.clone()), (all[1], some.clone())];
        assert_eq!(known.perhaps_within(&all, &some, true), both);
        // Worth it by now: of both it is asked once whether one is kept, and the newest of them is made first.
        let mut kept = known.wants_kept_filters().expect("two").0;
        kept.sort_by_key(|generation| generation.number);
        assert_eq!((kept, known.wants_kept_filters().is_none()), (all[..2].to_vec(), true));
        let (wanted, era) = known.wants_filter().expect("a generation");
        assert_eq!(wanted, all[1]);
        let mut filter = KeyFilter::new(100);
        filter.insert(some[7]);
        known.know_sealed(all[1], filter, &era);
        assert_eq!(known.perhaps_within(&all, &some, true)[2], (all[1], vec![some[7]]));
        assert_eq!(known.wants_filter().expect("a generation").0, all[0]);
        // A batch that amends looks at all of the newest, and believes the filter of what is sealed.
        let [(_, newest), _, (_, sealed)] = known.perhaps_within(&all, &some, false).try_into().expect("three");
        assert_eq!((newest.len(), sealed), (some.len(), vec![some[7]]));
        // One of another state of the database is not taken.
        known.know_sealed(all[0], KeyFilter::new(100), &Era::default());
        assert_eq!(known.perhaps_within(&all, &some, true)[1], (all[0], some));
    }

    #[test]
    fn a_few_keys_are_worth_no_filter() {
        let generation = |number| Generation { number, first_batch: i64::from(number) };
        let mut known = KnownKeys::new();
        known.perhaps_within(&[generation(1), generation(2)], &keys(0..100).collect::<Vec<_>>(), true);
        assert!(known.wants_filter().is_none() && known.wants_kept_filters().is_none());
    }
}
