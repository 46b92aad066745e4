//! Backfills: a file that is taken in under a name, by the same writer as any other, or on trial.
//!
//! How far one came stands in the database under a digest of what the file holds, how it is read, and the backfill's
//! name: it goes on there, also where two runs of it are at work, and a file that is taken in otherwise is none of it.

use super::file::{FileError, FileReader, Patience, Progress, Records};
use super::messages::Messages;
use super::trial::{Trial, TrialError, Tried, attempt};
use super::writer::Writer;
use crate::domain::backfill::BackfillStatus;
use crate::domain::outcome::Counts;
use crate::store::StoreError;
use crate::store::backfills::{self, BackfillFile, BackfillId, Reason};
use crate::store::file_positions::{self, FileDigest};
use crate::store::usage_rows::Intake;
use sqlx::{PgConnection, PgPool};
use std::ops::Range;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error("no backfill \"{name}\"")]
    Unknown { name: String },
    #[error("{}: what comes through a pipe cannot be read again if it is interrupted; give a file", path.display())]
    NoFile { path: PathBuf },
    #[error(
        "the name \"{name}\" is of another file, {file}, or of one that was read otherwise; give this one a name of its own"
    )]
    OtherFile { name: String, file: String },
    #[error(
        "backfill \"{name}\" is {status}: nothing more of it is taken in. What was taken back keeps its ids; report it under \
         new ones, as a backfill of another name"
    )]
    NoLongerTaken { name: String, status: BackfillStatus },
    #[error("another run takes in backfill \"{name}\" in other batches; let it end")]
    Overtaken { name: String },
    #[error("{0}; nothing of it was taken in")]
    NotWhole(#[source] FileError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Trial(#[from] TrialError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for BackfillError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What became of a part of a file.
enum Part {
    Stored(Counts),
    /// Another run stored it, or this one and did not hear of it.
    StoredBefore,
    Overtaken,
    /// The backfill is none that gets more.
    Ended(BackfillStatus),
}

/// A backfill that is being taken in.
struct Applying<'a> {
    pool: &'a PgPool,
    writer: &'a Writer,
    name: &'a str,
    id: BackfillId,
    digest: FileDigest,
}

/// Takes in a file as a backfill; `on_progress` is told after each batch. One that was interrupted goes on. Nothing
/// happens to one that is applied already, which is told by `false`.
///
/// # Errors
/// The name is of another file or of one that was reverted, the file cannot be read to its end, or the database stays away.
/// What was stored before stays.
pub async fn apply(
    pool: &PgPool,
    writer: &Writer,
    name: &str,
    (path, how): (&Path, &FileReader),
    reason: &Reason,
    mut on_progress: impl FnMut(&Progress),
) -> Result<bool, BackfillError> {
    let mut records = Records::open(path, how)?;
    let Some(digest) = records.digest.as_ref().map(|digest| named(digest, name)) else {
        return Err(BackfillError::NoFile { path: path.to_owned() });
    };
    let mut conn = pool.acquire().await?;
    if backfills::find_backfill(&mut conn, name).await?.is_none() {
        // To its end, before any of it is stored: one that is cut off would have to be reverted, and its ids were gone.
        Records::open(path, how)?.skip(u64::MAX).map_err(BackfillError::NotWhole)?;
    }
    drop(conn);
    let file = BackfillFile { name: records.name.to_string(), digest };
    let mut transaction = pool.begin().await?;
    let (id, known) = backfills::begin(&mut transaction, name, &file, reason).await?;
    let status = backfills::lock(&mut transaction, id).await?;
    let mut stored = file_positions::load(&mut *transaction, &file.digest).await?;
    transaction.commit().await?;
    if known.digest != file.digest {
        return Err(BackfillError::OtherFile { name: name.to_owned(), file: known.name });
    }
    if status == BackfillStatus::Applied {
        return Ok(false);
    }
    records.skip(stored)?;
    let applying = Applying { pool, writer, name, id, digest: file.digest };
    loop {
        let (messages, ended) = records.batch(|messages, position, decoded| writer.add(messages, position, decoded));
        if !messages.is_empty() {
            let rows = records.progress.rows;
            records.progress.counts += applying.store(&messages, stored..rows).await?;
            stored = rows;
        }
        on_progress(&records.progress);
        if ended? {
            break;
        }
    }
    applying.end(reason).await?;
    Ok(true)
}

impl Applying<'_> {
    /// Stores a part of the file, unless another run did: these rows of it, counted from 0.
    async fn store(&self, messages: &Messages, rows: Range<u64>) -> Result<Counts, BackfillError> {
        let mut patience = Patience::default();
        let part = loop {
            match self.try_store(messages, &rows).await {
                Ok(part) => break part,
                Err(error) => patience.wait(error).await?,
            }
        };
        let name = self.name.to_owned();
        match part {
            Part::Stored(counts) => Ok(counts),
            Part::StoredBefore => Ok(Counts::default()),
            Part::Overtaken => Err(BackfillError::Overtaken { name }),
            Part::Ended(status) => Err(BackfillError::NoLongerTaken { name, status }),
        }
    }

    async fn try_store(&self, messages: &Messages, rows: &Range<u64>) -> Result<Part, StoreError> {
        let mut transaction = self.pool.begin().await?;
        // First of all: a run that waits for another one holds nothing else.
        match backfills::lock(&mut transaction, self.id).await? {
            BackfillStatus::Applying => {}
            BackfillStatus::Applied => return Ok(Part::StoredBefore),
            status => return Ok(Part::Ended(status)),
        }
        match file_positions::load(&mut *transaction, &self.digest).await? {
            taken if taken == rows.start => {}
            taken if taken >= rows.end => return Ok(Part::StoredBefore),
            _ => return Ok(Part::Overtaken),
        }
        let batch = self.writer.write_on(&mut transaction, messages, None, Intake::Backfill(self.id)).await?;
        file_positions::advance(&mut transaction, &self.digest, rows.end).await?;
        transaction.commit().await?;
        Ok(Part::Stored(self.writer.committed(batch).await.counts))
    }

    async fn end(&self, reason: &Reason) -> Result<(), BackfillError> {
        let mut transaction = self.pool.begin().await?;
        match backfills::lock(&mut transaction, self.id).await? {
            BackfillStatus::Applying => {
                backfills::append_status(&mut transaction, self.id, BackfillStatus::Applied, reason).await?;
                backfills::forget_position(&mut transaction, self.id).await?;
            }
            BackfillStatus::Applied => {}
            status => return Err(BackfillError::NoLongerTaken { name: self.name.to_owned(), status }),
        }
        Ok(transaction.commit().await?)
    }
}

/// What tells a file that is taken in under a name from the same under another, or without one.
fn named(FileDigest(digest): &FileDigest, name: &str) -> FileDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest).update(b"backfill").update(name.as_bytes());
    FileDigest(hasher.finalize().into())
}

/// Takes in a file on trial, and measures what it would change; nothing of it is stored.
///
/// # Errors
/// The file cannot be read to its end, has more than `most` messages, or others are in the way; within, what `measure`
/// fails with.
pub async fn preview<T, E>(
    pool: &PgPool,
    (path, how): (&Path, &FileReader),
    most: u64,
    measure: impl AsyncFn(&mut PgConnection, &Tried) -> Result<T, E>,
) -> Result<Result<(Tried, T), E>, BackfillError> {
    let write = async |trial: &mut Trial| {
        let add = trial.adder();
        let mut records = Records::open(path, how)?;
        loop {
            let (messages, ended) = records.batch(&add);
            if !messages.is_empty() {
                trial.write(&messages).await?;
            }
            if ended? {
                return Ok(());
            }
        }
    };
    let tried = attempt(pool, most, write, measure).await?;
    Ok(tried.map(|(tried, (), measured)| (tried, measured)))
}
