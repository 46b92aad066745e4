//! Files of records of any format, as lines or tables, packed or not, through the same writer as Kafka.
//!
//! What makes a file safe to read again is the identity of its events. Beside it, a run that is interrupted leaves in the
//! database how far it came, by what the file holds and how it is read, so that the next one goes on there.

mod csv;
mod lines;
mod packed;
mod parquet;
mod rows;

pub use packed::unpacked;

use super::messages::{Messages, Position};
use super::writer::{Writer, backoff};
use crate::domain::names::names;
use crate::domain::outcome::Counts;
use crate::sources::{Decoded, Format, Reader, WrongColumns};
use crate::store::StoreError;
use crate::store::file_positions::FileDigest;
use packed::packing;
use parquet::PARQUET_MAGIC;
use rows::{OpenError, Rows};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many records make a batch.
const BATCH_RECORDS: usize = 10_000;

/// How many bytes make a batch, even if it has fewer records.
const BATCH_BYTES: usize = 16 << 20;

/// How often a batch is tried while the database is away: some minutes, as each try waits for a connection.
const MAX_FAILURES: u32 = 16;

names! {
    /// How the records of a file are laid out.
    Layout as "layout" {
        /// One record a line.
        Lines = "lines",
        /// A table with a header.
        Csv = "csv",
        /// A table that says itself what its columns are.
        Parquet = "parquet",
        /// The whole file is one message.
        Whole = "whole",
    }
}

/// How a file is read.
#[derive(Clone, Debug, Default)]
pub struct FileReader {
    pub reader: Reader,
    /// As its name and format tell, where it is not said.
    pub layout: Option<Layout>,
    /// Columns of a table that are not read.
    pub skipped_columns: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}{}: {source}", path.display(), after(*place))]
    Read { path: PathBuf, place: u64, source: io::Error },
    #[error("{}{}: {source}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Columns {
        path: PathBuf,
        /// Where the header stands, of a table that has lines.
        line: Option<u64>,
        source: WrongColumns,
    },
    #[error("{}{}: {source}", path.display(), after(*place))]
    Store { path: PathBuf, place: u64, source: StoreError },
}

fn after(place: u64) -> String {
    if place == 0 { String::new() } else { format!(", after line {place}") }
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Records, of those one a line or row each; empty lines are none.
    pub rows: u64,
    /// Of these, what a run before took in that was interrupted.
    pub rows_before: u64,
    /// Where the last of them stands: its line, or its row.
    pub place: u64,
    /// Of the file as it lies on disk, packed where it is.
    pub bytes_read: u64,
    pub bytes_total: u64,
    pub counts: Counts,
}

/// Reads a file to its end; `on_progress` is told after each batch.
///
/// # Errors
/// A file that cannot be read, or a database that stays away. What was stored before stays.
pub async fn ingest_file(
    writer: &mut Writer,
    path: &Path,
    how: &FileReader,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Progress, FileError> {
    let mut records = Records::open(path, how)?;
    let digest = records.digest.clone();
    let not_stored = |place, source| FileError::Store { path: path.to_owned(), place, source };
    if let Some(digest) = &digest {
        records.skip(writer.rows_taken(digest).await.map_err(|source| not_stored(0, source))?)?;
    }
    loop {
        let (messages, ended) = records.batch(|messages, position, decoded| writer.add(messages, position, decoded));
        let Progress { rows, place, .. } = records.progress;
        if !messages.is_empty() {
            let counts = write(writer, &messages, digest.as_ref().map(|digest| (digest, rows))).await;
            records.progress.counts += counts.map_err(|source| not_stored(place, source))?;
        }
        on_progress(&records.progress);
        if ended? {
            if let Some(digest) = &digest {
                writer.file_ended(digest).await.map_err(|source| not_stored(place, source))?;
            }
            return Ok(records.progress);
        }
    }
}

async fn write(
    writer: &mut Writer,
    messages: &Messages,
    taken: Option<(&FileDigest, u64)>,
) -> Result<Counts, StoreError> {
    let mut patience = Patience::default();
    loop {
        match writer.write_file(messages, taken).await {
            Ok(written) => return Ok(written.counts),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// How long it is waited for a database that is away.
#[derive(Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    /// Waits before the next try.
    ///
    /// # Errors
    /// That of the last try: it will not pass, or has not for long.
    pub async fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        let failures = self.failures;
        if !error.is_transient() || failures >= MAX_FAILURES {
            return Err(error);
        }
        tracing::warn!(%error, failures, "database is away; the batch is tried again");
        tokio::time::sleep(backoff(failures)).await;
        self.failures = failures.saturating_add(1);
        Ok(())
    }
}

/// A file whose records are read one after the other, and handed out in batches.
pub(super) struct Records<'a> {
    path: &'a Path,
    reader: &'a Reader,
    /// As positions name it.
    pub name: Arc<str>,
    rows: Box<dyn Rows>,
    bytes_read: Arc<AtomicU64>,
    /// Of a file that could be read again: what comes through a pipe is gone.
    pub digest: Option<FileDigest>,
    pub progress: Progress,
}

impl<'a> Records<'a> {
    /// # Errors
    /// It cannot be read, or its columns are not those of its format.
    pub fn open(path: &'a Path, how: &'a FileReader) -> Result<Self, FileError> {
        Self::begin(path, how).map_err(|error| match error {
            OpenError::Read(source) => FileError::Read { path: path.to_owned(), place: 0, source },
            OpenError::Columns { line, source } => FileError::Columns { path: path.to_owned(), line, source },
        })
    }

    fn begin(path: &'a Path, how: &'a FileReader) -> Result<Self, OpenError> {
        let name: Arc<str> = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into();
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let layout = match how.layout {
            Some(layout) => layout,
            None if about.is_file() && is_parquet(&mut file)? => Layout::Parquet,
            None => layout_of(path, how.reader.format),
        };
        let digest = about.is_file().then(|| digest(&mut file, how, layout)).transpose()?;
        let bytes_read = Arc::<AtomicU64>::default();
        let rows = rows::open(path, file, layout, how, Arc::clone(&bytes_read))?;
        let progress = Progress { bytes_total: about.len(), ..Progress::default() };
        Ok(Self { path, reader: &how.reader, name, rows, bytes_read, digest, progress })
    }

    fn not_read(&self, source: io::Error) -> FileError {
        FileError::Read { path: self.path.to_owned(), place: self.progress.place, source }
    }

    /// Passes over what was taken in before.
    ///
    /// # Errors
    /// It cannot be read so far.
    pub fn skip(&mut self, rows: u64) -> Result<(), FileError> {
        self.progress.rows_before = rows;
        while self.progress.rows < rows && self.rows.advance().map_err(|source| self.not_read(source))? {
            self.progress.rows = self.progress.rows.saturating_add(1);
            self.progress.place = self.rows.place();
        }
        Ok(())
    }

    /// The next messages, and whether the file ends there; what could be read before an error is handed out with it.
    pub fn batch(&mut self, add: impl Fn(&mut Messages, Position, Decoded)) -> (Messages, Result<bool, FileError>) {
        let mut messages = Messages::default();
        let mut bytes: usize = 0;
        let mut ended = Ok(false);
        while messages.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            ended = self.rows.advance().map(|advanced| !advanced).map_err(|source| self.not_read(source));
            if !matches!(ended, Ok(false)) {
                break;
            }
            self.progress.rows = self.progress.rows.saturating_add(1);
            self.progress.place = self.rows.place();
            bytes = bytes.saturating_add(self.rows.bytes());
            for (record, decoded) in (1..).zip(self.rows.read(self.reader)) {
                let position = Position::File { name: Arc::clone(&self.name), line: self.progress.place, record };
                add(&mut messages, position, decoded);
            }
        }
        self.progress.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        (messages, ended)
    }
}

fn is_parquet(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.by_ref().take(PARQUET_MAGIC.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start == PARQUET_MAGIC)
}

/// How a file is laid out that does not say it.
fn layout_of(path: &Path, format: Format) -> Layout {
    let (name, _) = packing(path);
    match format {
        // It is no text, so that it has no lines.
        Format::OtlpProtobuf => Layout::Whole,
        _ if name.ends_with(".csv") => Layout::Csv,
        _ => Layout::Lines,
    }
}

/// What tells a file, read in one way, from others.
fn digest(file: &mut File, how: &FileReader, layout: Layout) -> io::Result<FileDigest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut *file)?;
    file.rewind()?;
    let FileReader { reader, layout: _, skipped_columns } = how;
    let Reader { format, source, zone, deployment, product, customer, customer_tags } = reader;
    // In words of our own: every build says the same of the same, so that it goes on where another was interrupted.
    let read = serde_json::json!({
        "layout": layout.name(), "skipped_columns": skipped_columns, "format": format.name(), "source": source,
        "zone": zone.map(|zone| zone.name()), "deployment": deployment, "product": product, "customer": customer,
        "customer_tags": customer_tags,
    });
    hasher.update(read.to_string().as_bytes());
    Ok(FileDigest(hasher.finalize().into()))
}
