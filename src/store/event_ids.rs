//! Ids of events as rows hold them: those of 128 bits packed. `event_id_text` of `migrations/0001_usage.sql` opens them.

use std::borrow::Cow;

/// Before the bits of an id that is written as a UUID. No UTF-8 text has such a byte.
const UUID: u8 = 0xff;

/// Before those of one that is written as 32 digits.
const DIGITS: u8 = 0xfe;

/// An id's bytes: those of its text, unless it is a UUID or 32 hexadecimal digits, in small letters, as most ids are.
pub(super) fn packed_id(id: &str) -> Cow<'_, [u8]> {
    let text = id.as_bytes();
    let spelling = match text.len() {
        36 if [8, 13, 18, 23].iter().all(|dash| text.get(*dash) == Some(&b'-')) => UUID,
        32 => DIGITS,
        _ => return Cow::Borrowed(text),
    };
    let mut bits: u128 = 0;
    let mut digits: u32 = 0;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'-' if spelling == UUID => continue,
            _ => return Cow::Borrowed(text),
        };
        bits = bits << 4 | u128::from(digit);
        digits += 1;
    }
    if digits != 32 {
        return Cow::Borrowed(text);
    }
    let mut packed = Vec::with_capacity(17);
    packed.push(spelling);
    packed.extend_from_slice(&bits.to_be_bytes());
    Cow::Owned(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_spelt_in_one_way_are_packed() {
        let bits = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x0f];
        let packed = |spelling: u8| [&[spelling], bits.as_slice()].concat();
        assert_eq!(*packed_id("123e4567-e89b-12d3-a456-42661417400f"), packed(UUID));
        assert_eq!(*packed_id("123e4567e89b12d3a45642661417400f"), packed(DIGITS));
        for text in [
            "",
            "r-1",
            "a text of seventee",
            "123E4567-e89b-12d3-a456-42661417400f",
            "123e4567e89b12d3a45642661417400g",
            "123e4567-e89b-12d3-a456-426614174-0f",
            "123e45678e89b-12d3-a456-42661417400f",
            "{123e4567-e89b-12d3-a456-42661417400}",
        ] {
            assert_eq!(*packed_id(text), *text.as_bytes());
        }
    }
}
