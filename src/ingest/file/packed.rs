//! Packed files, told by their first bytes: gzip, zstd, or neither.

use flate2::read::MultiGzDecoder;
use std::io::{self, Read};
use std::path::Path;

/// What every gzip file begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What every zstd file begins with, but for one that begins with a frame to be skipped.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a frame to be skipped begins with, after a byte from `0x50` to `0x5f`.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// What a file holds, unpacked if it is packed, as its first bytes tell: a download may have lost the ending of its
/// name. One that is named `.gz` or `.zst` and is none is refused, as it was cut off or is something else.
///
/// # Errors
/// Its first bytes cannot be read.
pub fn unpacked(path: &Path, mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    file.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_named = |ending: &str| path.extension().is_some_and(|extension| extension == ending);
    let is_gzip = start.starts_with(&GZIP_MAGIC);
    let is_skipped = matches!(start.as_slice(), [0x50..=0x5f, rest @ ..] if *rest == ZSTD_SKIPPED);
    let is_zstd = start == ZSTD_MAGIC || is_skipped;
    let whole = io::Cursor::new(start).chain(file);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(zstd::Decoder::new(whole)?),
        _ if is_named("gz") => Box::new(MultiGzDecoder::new(whole)),
        _ if is_named("zst") => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}
