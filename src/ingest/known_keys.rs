//! Which keys are perhaps stored: a batch looks up these alone. Pure.
//!
//! Of events "no" is a guess, as others store them too and none are remembered across a restart: the unique index decides.
//! A batch that it refuses looks up all of its keys, and so do some after it. Of corrections, voids and records
//! beside usage, which no index holds beside events, "no" is certain once all that are recorded were told of. The filters have a fixed size: where
//! they fill up they say "perhaps" more often.

use crate::store::usage::BesideUpTo;
use uuid::Uuid;

/// How many keys of events are remembered at least: the last ones, and up to as many before them.
const EVENTS: usize = 8 << 20;

/// How many corrections and voids, with what they name, and records beside usage a filter tells apart well.
const BESIDE: usize = 1 << 20;

/// How many batches look up all of their keys after the index refused one.
const BATCHES_IN_DOUBT: u32 = 16;

/// 512 bits: as many as a processor loads at once.
type Block = [u64; 8];

/// How many bits of its block a key sets.
const BITS: u32 = 6;

/// A blocked Bloom filter of 16 bits for each key: about three keys in a thousand that it was not told of it takes for
/// known when it is full. Keys are hashes under a secret, so they need no further hashing, and nobody can choose them.
struct KeyFilter {
    blocks: Vec<Block>,
}

impl KeyFilter {
    fn new(keys: usize) -> Self {
        Self { blocks: vec![Block::default(); keys / 32 + 1] }
    }

    /// Its block, in the order of keys: sorted ones touch the memory in its order.
    fn block(&self, key: u128) -> usize {
        let blocks = u128::try_from(self.blocks.len()).unwrap_or_default();
        usize::try_from(((key >> 64) * blocks) >> 64).unwrap_or_default()
    }

    /// The bits of a key in its block.
    fn mask(key: u128) -> Block {
        let mut mask = Block::default();
        for bit in 0..BITS {
            let place = (key >> (9 * bit)) & 511;
            let word = usize::try_from(place >> 6).unwrap_or_default();
            mask[word] |= 1 << (place & 63);
        }
        mask
    }

    fn insert(&mut self, key: Uuid) {
        let key = key.as_u128();
        let (block, mask) = (self.block(key), Self::mask(key));
        for (word, bits) in self.blocks[block].iter_mut().zip(mask) {
            *word |= bits;
        }
    }

    fn has(&self, key: Uuid) -> bool {
        let key = key.as_u128();
        let (block, mask) = (self.block(key), Self::mask(key));
        self.blocks[block].iter().zip(mask).all(|(word, bits)| word & bits == bits)
    }
}

/// What a writer knows of the keys that are stored.
pub(super) struct KnownKeys {
    /// The events of late, how many they are, and those before.
    events: [KeyFilter; 2],
    events_of_late: usize,
    /// Corrections, voids, what they name, and records beside usage.
    beside: KeyFilter,
    beside_up_to: BesideUpTo,
    doubt: u32,
}

impl KnownKeys {
    pub(super) fn new() -> Self {
        Self {
            events: [KeyFilter::new(EVENTS), KeyFilter::new(EVENTS)],
            events_of_late: 0,
            beside: KeyFilter::new(2 * BESIDE),
            beside_up_to: BesideUpTo::default(),
            doubt: 0,
        }
    }

    /// Those of a batch's keys under which an event is perhaps stored.
    pub(super) fn perhaps_events(&mut self, keys: &[Uuid]) -> Vec<Uuid> {
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
                self.events[0].blocks.fill(Block::default());
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
mod tests {
    use super::*;

    /// Keys as a keyed hash spreads them.
    fn keys(range: std::ops::Range<u64>) -> impl Iterator<Item = Uuid> {
        range.map(|number| crate::domain::usage::event_key(&[7; 32], "s", &number.to_string()))
    }

    #[test]
    fn what_was_stored_is_always_suspected_and_little_else_is() {
        let mut known = KnownKeys::new();
        known.stored(keys(0..10_000));
        let stored: Vec<Uuid> = keys(0..10_000).collect();
        assert_eq!(known.perhaps_events(&stored), stored);
        let mut small = KeyFilter::new(10_000);
        keys(0..10_000).for_each(|key| small.insert(key));
        let wrong = keys(10_000..110_000).filter(|key| small.has(*key)).count();
        assert!(wrong > 0 && wrong < 500, "{wrong} of 100,000");
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
}
