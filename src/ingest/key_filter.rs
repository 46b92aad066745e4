//! A filter of keys: says of each whether it was perhaps told of it, and of none that it was told of that it was not. Pure.

use uuid::Uuid;

/// Of the bits as they are kept: another number for each way to set them.
pub(super) const FORMAT: i32 = 1;

/// 512 bits: as many as a processor loads at once.
type Block = [u64; 8];

/// How many keys share a block: each has 16 bits of it.
const KEYS_A_BLOCK: usize = 32;

/// How many bits of its block a key sets.
const BITS: u32 = 6;

/// A blocked Bloom filter of 16 bits for each key: about three keys in a thousand that it was not told of it takes for
/// known when it is full. Keys are hashes under a secret, so they need no further hashing, and nobody can choose them.
pub(super) struct KeyFilter {
    blocks: Vec<Block>,
}

impl KeyFilter {
    pub(super) fn new(keys: usize) -> Self {
        Self { blocks: vec![Block::default(); keys / KEYS_A_BLOCK + 1] }
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

    pub(super) fn insert(&mut self, key: Uuid) {
        let key = key.as_u128();
        let (block, mask) = (self.block(key), Self::mask(key));
        for (word, bits) in self.blocks[block].iter_mut().zip(mask) {
            *word |= bits;
        }
    }

    pub(super) fn has(&self, key: Uuid) -> bool {
        let key = key.as_u128();
        let (block, mask) = (self.block(key), Self::mask(key));
        self.blocks[block].iter().zip(mask).all(|(word, bits)| word & bits == bits)
    }

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.blocks.fill(Block::default());
    }

    /// Its bits, as [`KeyFilter::from_bits`] reads them.
    pub(super) fn bits(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// None where they are those of no filter.
    pub(super) fn from_bits(bits: &[u8]) -> Option<Self> {
        let (words, rest) = bits.as_chunks::<8>();
        let (blocks, others) = words.as_chunks::<8>();
        let is_whole = rest.is_empty() && others.is_empty() && !blocks.is_empty();
        is_whole.then(|| Self { blocks: blocks.iter().map(|words| words.map(u64::from_le_bytes)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::known_keys::tests::keys;

    #[test]
    fn few_keys_that_it_was_not_told_of_are_suspected() {
        let mut filter = KeyFilter::new(10_000);
        keys(0..10_000).for_each(|key| filter.insert(key));
        assert!(keys(0..10_000).all(|key| filter.has(key)));
        let wrong = keys(10_000..110_000).filter(|key| filter.has(*key)).count();
        assert!(wrong > 0 && wrong < 500, "{wrong} of 100,000");
    }

    #[test]
    fn a_filter_is_read_as_it_was_written() {
        let mut filter = KeyFilter::new(1_000);
        keys(0..1_000).for_each(|key| filter.insert(key));
        let bits = filter.bits();
        assert_eq!(bits.len(), (1_000 / KEYS_A_BLOCK + 1) * size_of::<Block>());
        let read = KeyFilter::from_bits(&bits).expect("a filter");
        assert!(keys(0..100_000).all(|key| read.has(key) == filter.has(key)));
        assert!(KeyFilter::from_bits(&bits[1..]).is_none() && KeyFilter::from_bits(&[]).is_none());
    }
}
