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

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
}

/// The name of a file, in lower case and without the ending that says how it is packed; and what that says.
pub fn packing(path: &Path) -> (String, Option<Packing>) {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let endings = [(".gz", Packing::Gzip), (".zst", Packing::Zstd), (".zstd", Packing::Zstd)];
    let named = endings.iter().find_map(|(end, packing)| Some((name.strip_suffix(end)?.to_owned(), *packing)));
    named.map_or((name, None), |(name, packing)| (name, Some(packing)))
}

/// What a file holds, unpacked if it is packed, as its first bytes tell: a download may have lost the ending of its
/// name. One that is named as packed and is not is refused, as it was cut off or is something else.
///
/// # Errors
/// Its first bytes cannot be read.
pub fn unpacked(path: &Path, mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    file.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_skipped = matches!(start.as_slice(), [0x50..=0x5f, rest @ ..] if *rest == ZSTD_SKIPPED);
    let found = match start.starts_with(&GZIP_MAGIC) {
        true => Some(Packing::Gzip),
        false => (start == ZSTD_MAGIC || is_skipped).then_some(Packing::Zstd),
    };
    let whole = io::Cursor::new(start).chain(file);
    Ok(match found.or(packing(path).1) {
        Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(whole)),
        Some(Packing::Zstd) => Box::new(zstd::Decoder::new(whole)?),
        None => Box::new(whole),
    })
}
