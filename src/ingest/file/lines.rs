//! Files of one record a line, and files that are one message.

use super::rows::Rows;
use crate::sources::{Decoded, Reader};
use std::io::{self, BufRead, Read};

/// Some editors begin a file with a byte order mark, which says nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Records one a line; empty lines are passed over.
pub(super) struct Lines<R> {
    input: R,
    max_bytes: usize,
    place: u64,
    line: Vec<u8>,
}

impl<R: BufRead + Send> Lines<R> {
    pub(super) fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, place: 0, line: Vec::new() }
    }

    /// The next line without its end. Of a line that is too long to be taken only as much is kept as shows that, so
    /// that a file without line ends does not fill the memory.
    fn next_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut ended = false;
        let mut any = false;
        while !ended {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            // One byte more than may be taken, also once a carriage return is taken off, which may stand where it is cut.
            let room = self.max_bytes.saturating_add(2).saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            let consumed = part.len().saturating_add(usize::from(end.is_some()));
            ended = end.is_some();
            self.input.consume(consumed);
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(any)
    }

    /// Of a line that is too long only the start is known: it is not taken for an empty one.
    fn is_empty(&self) -> bool {
        self.line.len() <= self.max_bytes && self.line.iter().all(u8::is_ascii_whitespace)
    }
}

impl<R: BufRead + Send> Rows for Lines<R> {
    fn advance(&mut self) -> io::Result<bool> {
        while self.next_line()? {
            self.place = self.place.saturating_add(1);
            if self.place == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn bytes(&self) -> usize {
        self.line.len()
    }

    fn read(&self, reader: &Reader) -> Vec<Decoded> {
        reader.read_record(&self.line)
    }
}

/// A file that is one message.
pub(super) struct Whole<R> {
    input: R,
    max_bytes: usize,
    is_read: bool,
    bytes: Vec<u8>,
}

impl<R: Read + Send> Whole<R> {
    pub(super) fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, is_read: false, bytes: Vec::new() }
    }
}

impl<R: Read + Send> Rows for Whole<R> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.is_read {
            return Ok(false);
        }
        // One more than may be taken shows that it is too long.
        let most = u64::try_from(self.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
        self.input.by_ref().take(most).read_to_end(&mut self.bytes)?;
        self.is_read = true;
        Ok(true)
    }

    fn place(&self) -> u64 {
        u64::from(self.is_read)
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, reader: &Reader) -> Vec<Decoded> {
        reader.read_record(&self.bytes)
    }
}
