//! Files of structured CloudEvents, one a line, plain or gzipped, through the same writer as Kafka.
//!
//! Idempotent by the events' identity: a file that was read in part or in whole is simply read again.

use super::batch::{Message, Position};
use super::writer::{Writer, backoff};
use crate::domain::outcome::Counts;
use crate::sources::{MAX_MESSAGE_BYTES, cloudevents};
use crate::store::StoreError;
use crate::store::usage_rows::Intake;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many lines make a batch.
const BATCH_LINES: usize = 10_000;

/// How many bytes make a batch, even if it has fewer lines.
const BATCH_BYTES: usize = 16 << 20;

/// Some editors begin a file with a byte order mark, which says nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What every gzip file begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How often a batch is tried while the database is away: some minutes, as each try waits for a connection.
const MAX_FAILURES: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, after {lines} lines: {source}", path.display())]
    Store { path: PathBuf, lines: u64, source: StoreError },
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub lines: u64,
    /// Of the file as it lies on disk, compressed where it is.
    pub bytes_read: u64,
    pub bytes_total: u64,
    pub counts: Counts,
}

/// Reads a file to its end; `on_progress` is told after each batch. Empty lines are skipped.
///
/// # Errors
/// A file that cannot be read, or a database that stays away. What was stored before stays.
pub async fn ingest_file(
    writer: &mut Writer,
    path: &Path,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Progress, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let name: Arc<str> = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into();
    let mut lines = Lines::open(path).map_err(failed)?;
    let mut progress = Progress { bytes_total: lines.bytes_total, ..Progress::default() };
    loop {
        let messages = read_batch(&mut lines, writer, &name, &mut progress.lines).map_err(failed)?;
        if messages.is_empty() {
            return Ok(progress);
        }
        let counts = write(writer, &messages).await;
        let counts =
            counts.map_err(|source| FileError::Store { path: path.to_owned(), lines: progress.lines, source })?;
        progress.counts += counts;
        progress.bytes_read = lines.bytes_read();
        on_progress(&progress);
    }
}

async fn write(writer: &mut Writer, messages: &[Message]) -> Result<Counts, StoreError> {
    let mut failures = 0;
    loop {
        match writer.write(messages, None, Intake::File).await {
            Err(error) if error.is_transient() && failures < MAX_FAILURES => {
                tracing::warn!(%error, failures, "database is away; the batch is tried again");
                tokio::time::sleep(backoff(failures)).await;
                failures = failures.saturating_add(1);
            }
            outcome => return Ok(outcome?.counts),
        }
    }
}

/// The next messages; none at the end of the file only.
fn read_batch(lines: &mut Lines, writer: &Writer, name: &Arc<str>, read: &mut u64) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut bytes: usize = 0;
    while messages.len() < BATCH_LINES && bytes < BATCH_BYTES {
        let Some(line) = lines.next_line()? else { break };
        *read = read.saturating_add(1);
        let line = if *read == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        // Of a line that is too long only the start is known: it is not taken for an empty one.
        if line.len() <= MAX_MESSAGE_BYTES && line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        bytes = bytes.saturating_add(line.len());
        let position = Position::File { name: name.clone(), line: *read };
        messages.push(writer.message(position, cloudevents::decode_structured(line)));
    }
    Ok(messages)
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

/// What a file holds, decompressed if it is gzipped, as its first bytes tell: a download may have lost the
/// ending of its name. One that is named `.gz` and is none is refused, as it was cut off or is something else.
///
/// # Errors
/// Its first bytes cannot be read.
pub fn unzipped(path: &Path, mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::new();
    file.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_gzip = start == GZIP_MAGIC || path.extension().is_some_and(|extension| extension == "gz");
    let whole = io::Cursor::new(start).chain(file);
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

struct Lines {
    reader: Box<dyn BufRead + Send>,
    bytes: Arc<AtomicU64>,
    bytes_total: u64,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes_total = file.metadata()?.len();
        let bytes = Arc::default();
        let counted = Counted { inner: file, bytes: Arc::clone(&bytes) };
        let reader: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(1 << 17, unzipped(path, counted)?));
        Ok(Self { reader, bytes, bytes_total, line: Vec::new() })
    }

    fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The next line without its end. Of a line that is too long to be taken only as much is kept as shows
    /// that, so that a file without line ends does not fill the memory.
    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut ended = false;
        let mut any = false;
        while !ended {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            let room = MAX_MESSAGE_BYTES.saturating_add(1).saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            let consumed = part.len().saturating_add(usize::from(end.is_some()));
            ended = end.is_some();
            self.reader.consume(consumed);
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(any.then_some(self.line.as_slice()))
    }
}
