//! The records of a file one after the other, whichever way it is laid out.

use super::csv::CsvRows;
use super::lines::{Lines, Whole};
use super::{FileReader, Layout};
use crate::sources::{Decoded, Reader, WrongColumns};
use std::io::{self, BufReader, Read};

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
    #[error(transparent)]
    Columns(#[from] WrongColumns),
}

/// Begins what a file holds, unpacked.
pub(super) fn open(
    unpacked: Box<dyn Read + Send>,
    layout: Layout,
    how: &FileReader,
) -> Result<Box<dyn Rows>, OpenError> {
    let input = Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked));
    let max_bytes = how.reader.format.max_bytes();
    Ok(match layout {
        Layout::Lines => Box::new(Lines::new(input, max_bytes)),
        Layout::Whole => Box::new(Whole::new(input, max_bytes)),
        Layout::Csv => Box::new(CsvRows::open(input, max_bytes, how)?),
    })
}
