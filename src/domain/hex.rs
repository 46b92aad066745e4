//! Bytes as hexadecimal digits, and back.

use std::fmt::Write;

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that hexadecimal digits of either case stand for; none where the text is something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    // A sign would pass for a digit.
    let fits = rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| pairs.iter().map(pair).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_nothing_else_does() {
        assert_eq!((hex(&[0, 10, 255]).as_str(), unhex("000aFF")), ("000aff", Some(vec![0, 10, 255])));
        assert_eq!(unhex(""), Some(Vec::new()));
        for text in ["0", "0g", "+1", "é", "é0"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
