//! The records of a file one after the other, whichever way it is laid out.

use super::csv::CsvRows;
use super::lines::{Lines, Whole};
use super::packed::unpacked;
use super::parquet::{PARQUET_MAGIC, ParquetRows};
use super::{FileReader, Layout};
use crate::sources::{Decoded, Reader, WrongColumns};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is unpacked at a time.
const BUFFER_BYTES: usize = 1 << 17;

/// What stands in a file where a message of Kafka would be: a line, a row, or all of it.
pub(super) trait Rows: Send {
    /// Goes to the next one; false at the end.
    fn advance(&mut self) -> io::Result<bool>;

    /// Where it stands: its line or row, counted from 1.
    fn place(&self) -> u64;

    /// How long it is, as far as it was kept.
    fn bytes(&self) -> usize;

    /// What each of its records reports.
    fn read(&self, reader: &Reader) -> Vec<Decoded>;
}

/// Why a file cannot be begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The line of the header, where there is one.
    #[error("{source}")]
    Columns { line: Option<u64>, source: WrongColumns },
}

/// Begins a file; `bytes_read` is told how far it was read.
pub(super) fn open(
    path: &Path,
    file: File,
    layout: Layout,
    how: &FileReader,
    bytes_read: Arc<AtomicU64>,
) -> Result<Box<dyn Rows>, OpenError> {
    let max_bytes = how.reader.format.max_bytes();
    if matches!(layout, Layout::Lines | Layout::Whole) && !how.skipped_columns.is_empty() {
        return Err(OpenError::Columns { line: None, source: WrongColumns::NoTable });
    }
    Ok(match layout {
        Layout::Lines => Box::new(Lines::new(text(path, file, bytes_read)?, max_bytes)),
        Layout::Csv => Box::new(CsvRows::open(text(path, file, bytes_read)?, max_bytes, how)?),
        Layout::Parquet => Box::new(ParquetRows::open(file, bytes_read, how)?),
        Layout::Whole => Box::new(Whole::new(text(path, file, bytes_read)?, max_bytes)),
    })
}

/// What a file holds that is read from its start to its end, unpacked.
fn text(path: &Path, file: File, bytes: Arc<AtomicU64>) -> io::Result<impl BufRead + Send + use<>> {
    let unpacked = unpacked(path, Counted { inner: file, bytes })?;
    let mut text = BufReader::with_capacity(BUFFER_BYTES, unpacked);
    if text.fill_buf()?.starts_with(PARQUET_MAGIC) {
        let detail = "Parquet is read from a file as it is: not packed as a whole, nor through a pipe";
        return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
    }
    Ok(text)
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
