//! Tables as CSV with a header: each row is a record.

use super::FileReader;
use super::rows::{OpenError, Rows};
use crate::sources::{Columns, Decoded, Reader};
use csv_core::ReadRecordResult;
use std::io::{self, BufRead};

/// How many columns a table may have.
const MAX_COLUMNS: usize = 4096;

/// The rows of a table. Of a row that is too long only as much is kept as shows that: an open quotation would else fill
/// the memory with the rest of the file.
pub(super) struct CsvRows<R> {
    rows: RawRows<R>,
    columns: Columns,
}

impl<R: BufRead + Send> CsvRows<R> {
    pub(super) fn open(input: R, max_bytes: usize, how: &FileReader) -> Result<Self, OpenError> {
        let mut rows = RawRows::new(input, max_bytes);
        let unusable = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        if !rows.advance(MAX_COLUMNS)? {
            return Err(unusable("no header: the first row of CSV names the columns").into());
        }
        let header = rows.cells().ok_or_else(|| unusable("the header is too long to be one"))?;
        let header: Result<Vec<&str>, _> = header.into_iter().map(std::str::from_utf8).collect();
        let header = header.map_err(|_| unusable("the header must be UTF-8"))?;
        let columns = Columns::find(&how.reader, &header, &how.skipped_columns);
        let columns = columns.map_err(|source| OpenError::Columns { line: Some(rows.line()), source })?;
        Ok(Self { rows, columns })
    }
}

impl<R: BufRead + Send> Rows for CsvRows<R> {
    fn advance(&mut self) -> io::Result<bool> {
        self.rows.advance(self.columns.count())
    }

    fn place(&self) -> u64 {
        self.rows.line()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes
    }

    fn read(&self, reader: &Reader) -> Vec<Decoded> {
        match self.rows.cells() {
            Some(cells) => reader.read_row(&self.columns, &cells),
            None => reader.reject_too_long(),
        }
    }
}

/// Rows as their cells, unquoted.
struct RawRows<R> {
    input: R,
    parser: csv_core::Reader,
    max_bytes: usize,
    /// The cells of the row one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    bytes: usize,
    cells: usize,
    is_too_long: bool,
    line_ends: u64,
    ended_in_line_end: bool,
}

impl<R: BufRead> RawRows<R> {
    fn new(input: R, max_bytes: usize) -> Self {
        Self {
            input,
            parser: csv_core::Reader::new(),
            max_bytes,
            text: vec![0; 4096],
            ends: Vec::new(),
            bytes: 0,
            cells: 0,
            is_too_long: false,
            line_ends: 0,
            ended_in_line_end: false,
        }
    }

    /// Goes to the next row, of which one cell more than are expected is kept.
    fn advance(&mut self, cells: usize) -> io::Result<bool> {
        self.ends.resize(cells.saturating_add(1), 0);
        (self.bytes, self.cells, self.is_too_long) = (0, 0, false);
        loop {
            let input = self.input.fill_buf()?;
            let text = self.text.get_mut(self.bytes..).unwrap_or_default();
            let ends = self.ends.get_mut(self.cells..).unwrap_or_default();
            let (result, read, written, ended) = self.parser.read_record(input, text, ends);
            let taken = input.get(..read).unwrap_or(input);
            let line_ends = taken.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.line_ends = self.line_ends.saturating_add(line_ends);
            if let Some(last) = taken.last() {
                self.ended_in_line_end = *last == b'\n';
            }
            self.input.consume(read);
            self.bytes = self.bytes.saturating_add(written);
            self.cells = self.cells.saturating_add(ended);
            match result {
                ReadRecordResult::InputEmpty => (),
                ReadRecordResult::OutputFull if self.text.len() < self.max_bytes => {
                    self.text.resize(self.text.len().saturating_mul(2).min(self.max_bytes), 0);
                }
                // The rest of it is passed over.
                ReadRecordResult::OutputFull => (self.bytes, self.is_too_long) = (0, true),
                // More cells than are expected: how many more says nothing.
                ReadRecordResult::OutputEndsFull => self.cells = cells,
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// The cells of the row; none where it is too long.
    fn cells(&self) -> Option<Vec<&[u8]>> {
        let mut start = 0;
        let cells = self.ends.iter().take(self.cells).map(|end| {
            let cell = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            cell
        });
        (!self.is_too_long).then(|| cells.collect())
    }

    /// The line on which the row ends.
    fn line(&self) -> u64 {
        self.line_ends.saturating_add(u64::from(!self.ended_in_line_end))
    }
}
