//! Makes inputs: a record of some format, changed at random, and packed as its format is.

use crate::draw::Draw;
use crate::records::record;
use apportion::sources::Format;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// The longest input; messages as long as may be have a test of their own.
const LONGEST_BYTES: usize = 1 << 16;

/// What stands at edges: of numbers, texts, names and shapes.
const TOKENS: [&str; 40] = [
    "0",
    "-0",
    "-1",
    "1e2",
    "1e-7",
    "1e999",
    "0.5",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "79228162514264337593543950336",
    "0.0000000000000000000000000001",
    "1E+400",
    "00",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"2026-02-30T00:00:00Z\"",
    "\"2026-06-30T23:59:60Z\"",
    "\"9999-12-31T23:59:59.999999999Z\"",
    "\"-2026-01-01T00:00:00Z\"",
    "\"2026-01-01T00:00:00+14:60\"",
    "\"2026-01-01 00:00:00\"",
    "253402300800",
    "-62135596801",
    ",",
    ":",
    "\"",
    "\\",
    "[",
    "{",
    "]",
    "}",
    "\"total_tokens\":",
];

/// A format and a message for it, by its seed.
pub fn input(seed: u64) -> (Format, Vec<u8>) {
    // Seeds that follow each other have nothing in common.
    let mut draw = Draw::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
    let format = draw.pick(Format::ALL);
    // Now and then what belongs to another.
    let of = if draw.chance(5) { draw.pick(Format::ALL) } else { format };
    let mut bytes = record(of);
    for _ in 0..draw.between(0, 4) {
        change(&mut draw, &mut bytes);
        bytes.truncate(LONGEST_BYTES);
    }
    if of == Format::BedrockCloudWatch && draw.chance(70) {
        bytes = packed(&mut draw, &bytes);
    }
    (format, bytes)
}

fn change(draw: &mut Draw, bytes: &mut Vec<u8>) {
    let (from, to) = stretch(draw, bytes);
    match draw.below(9) {
        0 => drop(bytes.splice(from..to, [])),
        1 => {
            let again = bytes[from..to].repeat(draw.pick(&[1, 1, 2, 50]));
            bytes.splice(from..from, again);
        }
        2 | 3 => {
            let token = draw.pick(&TOKENS).as_bytes().to_vec();
            bytes.splice(from..from, token);
        }
        // A whole value becomes another.
        4 | 5 => {
            let (from, to) = value(bytes, from);
            let token = draw.pick(&TOKENS).as_bytes().to_vec();
            bytes.splice(from..to, token);
        }
        6 => {
            let other = record(draw.pick(Format::ALL));
            let (start, end) = stretch(draw, &other);
            bytes.splice(from..to, other[start..end].to_vec());
        }
        7 => bytes.truncate(to),
        _ if bytes.is_empty() => {}
        _ => {
            let place = draw.place(bytes.len());
            bytes[place] = u8::try_from(draw.below(256)).expect("a byte");
        }
    }
}

/// Somewhere in some bytes, mostly short.
fn stretch(draw: &mut Draw, bytes: &[u8]) -> (usize, usize) {
    let from = draw.place(bytes.len() + 1);
    let most = draw.pick(&[1, 4, 16, 64, bytes.len()]);
    (from, (from + draw.place(most + 1)).min(bytes.len()))
}

/// The number or text that stands at a place or after it.
fn value(bytes: &[u8], at: usize) -> (usize, usize) {
    let is_end = |byte: &u8| b",]}".contains(byte);
    let from = bytes[at..].iter().position(|byte| *byte == b':').map_or(at, |colon| at + colon + 1);
    (from, bytes[from..].iter().position(is_end).map_or(bytes.len(), |end| from + end))
}

/// As CloudWatch packs what it delivers, and now and then damaged.
fn packed(draw: &mut Draw, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    let mut gzip = encoder.finish().expect("gzip");
    if draw.chance(10) {
        change(draw, &mut gzip);
    }
    if draw.chance(50) {
        return gzip;
    }
    let mut wrapped = format!(r#"{{"awslogs":{{"data":"{}"}}}}"#, STANDARD.encode(gzip)).into_bytes();
    if draw.chance(10) {
        change(draw, &mut wrapped);
    }
    wrapped
}
