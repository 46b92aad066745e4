//! Ids of events as rows hold them: those of 128 bits packed. `event_id_text` of `migrations/0001_usage.sql` opens them.

use uuid::Uuid;

/// Before the bits of an id that is written as a UUID. No UTF-8 text has such a byte.
const UUID: u8 = 0xff;

/// Before those of one that is written as 32 digits.
const DIGITS: u8 = 0xfe;

/// An id as a row holds it.
pub(super) enum PackedId<'a> {
    Text(&'a str),
    /// How it is written, and its bits.
    Bits([u8; 17]),
}

impl<'a> PackedId<'a> {
    /// Its text, unless it is a UUID or 32 hexadecimal digits, in small letters, as most ids are.
    pub(super) fn of(id: &'a str) -> Self {
        Self::bits(id).map_or(Self::Text(id), Self::Bits)
    }

    fn bits(id: &str) -> Option<[u8; 17]> {
        let bits = Uuid::try_parse(id).ok()?;
        let mut written = Uuid::encode_buffer();
        let (spelling, text) = match id.len() {
            36 => (UUID, bits.hyphenated().encode_lower(&mut written)),
            32 => (DIGITS, bits.simple().encode_lower(&mut written)),
            _ => return None,
        };
        // In other letters it would not be the same text when it is opened.
        (text == id).then(|| {
            let mut packed = [spelling; 17];
            packed[1..].copy_from_slice(bits.as_bytes());
            packed
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bits(packed) => packed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_spelt_in_one_way_are_packed() {
        let bits = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x0f];
        let packed = |spelling: u8| [&[spelling], bits.as_slice()].concat();
        assert_eq!(PackedId::of("123e4567-e89b-12d3-a456-42661417400f").bytes(), packed(UUID));
        assert_eq!(PackedId::of("123e4567e89b12d3a45642661417400f").bytes(), packed(DIGITS));
        for text in [
            "",
            "r-1",
            "a text of seventee",
            "123E4567-e89b-12d3-a456-42661417400f",
            "123e4567e89b12d3a45642661417400g",
            "123e4567-e89b-12d3-a456-426614174-0f",
            "123e45678e89b-12d3-a456-42661417400f",
            "123e4567-e89b-12d3-a456-4266141740-0",
            "123e4567ae89bc12d3da456e42661417400f",
            "123e4567e89b-12d3a45642661417400f",
            "{123e4567-e89b-12d3-a456-42661417400}",
        ] {
            assert_eq!(PackedId::of(text).bytes(), text.as_bytes());
        }
    }
}
