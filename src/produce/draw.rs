//! Draws that are the same for ever: ChaCha8 streams and integer arithmetic, no floating point.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One stream of draws.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of number `stream` under a seed. Streams are independent, so that any one event can be
    /// drawn again without those before it.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `[0, bound)`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()).saturating_mul(u128::from(bound)) >> 64;
        u64::try_from(wide).unwrap_or(0)
    }

    /// Whether something of `per_10_000` in ten thousand happens.
    pub fn happens(&mut self, per_10_000: u64) -> bool {
        self.below(10_000) < per_10_000
    }

    /// One of the entries, by weight. `entries` must not be empty, nor its weights all zero.
    pub fn weighted<'a, T>(&mut self, entries: &'a [(u64, T)]) -> &'a T {
        let total = entries.iter().map(|(weight, _)| weight).sum();
        let mut rest = self.below(total);
        for (weight, entry) in entries {
            match rest.checked_sub(*weight) {
                Some(less) => rest = less,
                None => return entry,
            }
        }
        &entries[0].1
    }

    /// A number distributed as a table of evenly spaced quantiles says, linear between two of them.
    pub fn quantile(&mut self, table: &[u64]) -> u64 {
        let steps = u64::try_from(table.len().saturating_sub(1)).unwrap_or(0);
        let at = self.below(steps.saturating_mul(1 << 16));
        let step = usize::try_from(at >> 16).unwrap_or(0);
        let (low, high) = (table[step], table[step.saturating_add(1)]);
        low.saturating_add(high.saturating_sub(low).saturating_mul(at & 0xffff) >> 16)
    }

    /// Puts items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            items.swap(last, usize::try_from(self.below(bound)).unwrap_or(0));
        }
    }
}
