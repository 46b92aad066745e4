//! Archives of usage: writes sealed generations to files, takes their events offline, and brings them back.

use super::archive_file::{ArchiveReader, ArchiveWriter};
use crate::domain::hex::hex;
use crate::domain::period::{Instant, start_of_hour};
use crate::store::StoreError;
use crate::store::archives::{self, Archive, ArchivedEvent, GenerationUsage, NewArchive};
use crate::store::generations::{self, Generation};
use crate::store::offline_usage::{
    ChangeReason, HourEvents, HourFilter, Restore, count_blocks, count_hours_brought_back, drop_events,
    give_space_back, has_space_to_give, load_offline_hours, take_hours_offline,
};
use parquet::errors::ParquetError;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// About how many events come back in one transaction.
const EVENTS_AT_ONCE: i64 = 500_000;

/// In how many blocks events are dropped in one transaction, for which whoever records alone waits: 8 MB of them.
const BLOCKS_AT_ONCE: i64 = 1024;

/// How long it is waited for others, who wait behind it, before a generation is sealed or its space is given back, and how
/// often it is tried.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 10;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("there is no generation {generation}; `apportion archive list` shows all")]
    Unknown { generation: i32 },
    #[error(
        "generation {generation} takes what comes, and only a sealed one is archived; it is sealed once it is full, or by \
         `apportion archive write --seal`"
    )]
    NotSealed { generation: i32 },
    #[error("generation {generation} is not archived; `apportion archive write` does that")]
    NotArchived { generation: i32 },
    #[error("generation {generation} is archived already, in {file_name}")]
    Archived { generation: i32, file_name: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Parquet { path: PathBuf, source: ParquetError },
    /// It holds something else than what was written.
    #[error("{}: is not the file that was archived: {what}", path.display())]
    OtherFile { path: PathBuf, what: String },
    /// What was written differs from what is here.
    #[error("{}: what was read back is not what was written; the disk or memory may be faulty", path.display())]
    NotReadBack { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far it is, in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub generation: i32,
    pub events: u64,
    pub of: u64,
}

/// What was dropped of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    pub generation: i32,
    pub hours: usize,
    pub events: u64,
    /// Of all hours that are offline now: the events that stay, as something names them.
    pub named_events: i64,
    /// Hours that were brought back before, and stay.
    pub hours_brought_back: i64,
}

/// What came back of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BroughtBack {
    pub generation: i32,
    pub hours: usize,
    pub events: u64,
}

/// Seals the newest generation, so that all that was recorded by now can be archived; does nothing where it has no events.
///
/// # Errors
/// The database's, or others recorded all the time.
pub async fn seal(pool: &PgPool) -> Result<(), ArchiveError> {
    let mut tries = 1;
    loop {
        match archives::seal(pool, PATIENCE).await {
            Err(error) if error.is_lock_timeout() && tries < TRIES => tries += 1,
            ended => return Ok(ended?),
        }
    }
}

/// All generations, with their archives.
///
/// # Errors
/// The database's.
pub async fn list(pool: &PgPool) -> Result<Vec<GenerationUsage>, ArchiveError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    Ok(archives::load_generations(&mut conn).await?)
}

/// Writes a sealed generation to a file in a folder, reads it back, and writes down that it is there. Nothing goes offline.
///
/// # Errors
/// It is not sealed, or archived already; the file cannot be written, or is not read back as it was written; the
/// database's. What was written then is no archive, and may be removed.
pub async fn write(
    pool: &PgPool,
    folder: &Path,
    generation: i32,
    by: &str,
    mut progress: impl FnMut(Progress),
) -> Result<Archive, ArchiveError> {
    let (generation, found) = find(pool, generation).await?;
    if !found.is_sealed {
        return Err(ArchiveError::NotSealed { generation: generation.number });
    }
    if let Some(Archive { file_name, .. }) = found.archive {
        return Err(ArchiveError::Archived { generation: generation.number, file_name });
    }
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    // One that a run leaves which does not end is not written down, and is never taken for another.
    let file_name = archives::new_file_name(&mut conn, generation).await?;
    let path = folder.join(&file_name);
    let of_parquet = |source| ArchiveError::Parquet { path: path.clone(), source };
    let mut writer = ArchiveWriter::new(File::create_new(&path).map_err(of_file(&path))?).map_err(of_parquet)?;
    let of = u64::try_from(found.events).unwrap_or(0);
    let (mut events, mut written) = (0_u64, blake3::Hasher::new());
    archives::each_event(&mut conn, generation, |event| {
        hash(&mut written, &event);
        events = events.saturating_add(1);
        if events.is_multiple_of(10_000) {
            progress(Progress { generation: generation.number, events, of });
        }
        writer.push(event).map_err(of_parquet)
    })
    .await?;
    drop(conn);
    writer.end().map_err(of_parquet)?;
    let mut read_back = blake3::Hasher::new();
    let reader = open(&path)?;
    for group in 0..reader.groups() {
        reader.read(group).map_err(of_parquet)?.iter().for_each(|event| hash(&mut read_back, event));
    }
    if read_back.finalize() != written.finalize() {
        return Err(ArchiveError::NotReadBack { path });
    }
    let (file_bytes, file_sha256) = digest(&path)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(of_file(folder))?;
    let new = NewArchive { file_name: &file_name, file_bytes, file_sha256, events, by };
    let appended = archives::append_archive(pool, generation, &new).await;
    let (_, found) = find(pool, generation.number).await?;
    match (appended, found.archive) {
        (Err(error), Some(Archive { file_name, .. })) if error.is_unique_violation() => {
            Err(ArchiveError::Archived { generation: generation.number, file_name })
        }
        (Err(error), _) => Err(error.into()),
        (Ok(()), found) => found.ok_or(ArchiveError::NotArchived { generation: generation.number }),
    }
}

/// Whether the file of an archive is in a folder, as it was written.
///
/// # Errors
/// It is not, or cannot be read.
pub fn check(folder: &Path, archive: &Archive) -> Result<PathBuf, ArchiveError> {
    let path = folder.join(&archive.file_name);
    let (bytes, sha256) = digest(&path)?;
    let found = hex(&sha256);
    match i64::try_from(bytes) == Ok(archive.file_bytes) && found == archive.file_sha256 {
        true => Ok(path),
        false => Err(ArchiveError::OtherFile {
            path,
            what: format!(
                "it has {bytes} bytes of SHA-256 {found}, and that has {} of {}",
                archive.file_bytes, archive.file_sha256
            ),
        }),
    }
}

/// Takes the events of an archived generation offline, once its file was found as it was written, but for hours that were
/// brought back before, which stay unless `again`. Events that something names stay. It goes on where it was interrupted.
///
/// # Errors
/// It is not archived, or its file is not there; the database's. What went offline until then stays so.
pub async fn take_offline(
    pool: &PgPool,
    folder: &Path,
    generation: i32,
    again: bool,
    reason: ChangeReason<'_>,
    mut progress: impl FnMut(Progress),
) -> Result<Dropped, ArchiveError> {
    let (generation, found) = find(pool, generation).await?;
    let archive = found.archive.ok_or(ArchiveError::NotArchived { generation: generation.number })?;
    check(folder, &archive)?;
    let hours = take_hours_offline(pool, generation, again, reason).await?;
    let mut events = 0_u64;
    let blocks = count_blocks(pool, generation).await?;
    let mut done = 0;
    while done < blocks {
        let next = done.saturating_add(BLOCKS_AT_ONCE);
        events = events.saturating_add(drop_events(pool, generation, done..next).await?);
        done = next;
        // As if all blocks had as many events.
        let of = u64::try_from(found.events).unwrap_or(0);
        let share =
            u64::try_from(done.min(blocks)).unwrap_or(0).saturating_mul(of) / u64::try_from(blocks).unwrap_or(1);
        progress(Progress { generation: generation.number, events: share, of });
    }
    if has_space_to_give(pool, generation).await? {
        give_space_back_in_time(pool, generation).await?;
    }
    let hours_brought_back = count_hours_brought_back(pool, generation).await?;
    let (generation, after) = find(pool, generation.number).await?;
    let named_events = after.archive.map_or(0, |archive| archive.named_events);
    Ok(Dropped { generation: generation.number, hours, events, named_events, hours_brought_back })
}

/// Brings back the events of a generation in some hours, from its file.
///
/// # Errors
/// It is not archived, or its file is not there as it was written; the database's. What came back until then is here.
pub async fn bring_back(
    pool: &PgPool,
    folder: &Path,
    generation: i32,
    which: &HourFilter,
    reason: ChangeReason<'_>,
    mut progress: impl FnMut(Progress),
) -> Result<BroughtBack, ArchiveError> {
    let (generation, found) = find(pool, generation).await?;
    let archive = found.archive.ok_or(ArchiveError::NotArchived { generation: generation.number })?;
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let hours = load_offline_hours(&mut conn, generation, which).await?;
    drop(conn);
    let mut came = BroughtBack { generation: generation.number, hours: 0, events: 0 };
    if hours.is_empty() {
        return Ok(came);
    }
    let path = check(folder, &archive)?;
    let reader = open(&path)?;
    let mut done = 0_u64;
    for step in steps(&hours) {
        let mut restore = Restore::begin(pool, generation).await?;
        let wanted: HashSet<Instant> = step.iter().map(|hour| hour.bucket).collect();
        for group in (0..reader.groups()).filter(|group| reader.may_have(*group, &wanted)) {
            let mut events =
                reader.read(group).map_err(|source| ArchiveError::Parquet { path: path.clone(), source })?;
            events.retain(|event| wanted.contains(&start_of_hour(event.occurred_at)));
            restore.add(&events).await?;
        }
        came.events = came.events.saturating_add(restore.end(step, reason).await?);
        came.hours = came.hours.saturating_add(step.len());
        done = done.saturating_add(total(step));
        progress(Progress { generation: generation.number, events: done, of: total(&hours) });
    }
    Ok(came)
}

async fn find(pool: &PgPool, generation: i32) -> Result<(Generation, GenerationUsage), ArchiveError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let all = generations::load(&mut conn).await?;
    let of_number = all.into_iter().find(|it| it.number == generation);
    let found = archives::load_generations(&mut conn).await?.into_iter().find(|it| it.generation == generation);
    of_number.zip(found).ok_or(ArchiveError::Unknown { generation })
}

async fn give_space_back_in_time(pool: &PgPool, generation: Generation) -> Result<(), ArchiveError> {
    for _ in 0..TRIES {
        match give_space_back(pool, generation, PATIENCE).await {
            Err(error) if error.is_lock_timeout() => {}
            ended => return Ok(ended?),
        }
    }
    tracing::warn!(
        generation = generation.number,
        "others read the generation all the time; drop it once more later, and the space of its events is given back"
    );
    Ok(())
}

/// Parts hours so that each part has about as many events as are moved at once, and at least one hour.
fn steps(hours: &[HourEvents]) -> Vec<&[HourEvents]> {
    let mut events = 0_i64;
    let mut part = 0_u32;
    let parts: Vec<u32> = hours
        .iter()
        .map(|hour| {
            events = events.saturating_add(hour.events);
            if events > EVENTS_AT_ONCE {
                events = hour.events;
                part = part.saturating_add(1);
            }
            part
        })
        .collect();
    let mut rest = hours;
    let mut steps = Vec::new();
    for same in parts.chunk_by(|left, right| left == right) {
        let (step, left) = rest.split_at(same.len());
        steps.push(step);
        rest = left;
    }
    steps
}

fn total(hours: &[HourEvents]) -> u64 {
    hours.iter().map(|hour| u64::try_from(hour.events).unwrap_or(0)).sum()
}

fn hash(hasher: &mut blake3::Hasher, event: &ArchivedEvent) {
    hasher.update(format!("{event:?}").as_bytes());
}

fn open(path: &Path) -> Result<ArchiveReader, ArchiveError> {
    let file = File::open(path).map_err(of_file(path))?;
    ArchiveReader::new(file).map_err(|source| ArchiveError::Parquet { path: path.to_owned(), source })
}

fn of_file(path: &Path) -> impl Fn(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::File { path: path.clone(), source }
}

/// How many bytes a file has, and their SHA-256.
fn digest(path: &Path) -> Result<(u64, [u8; 32]), ArchiveError> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(of_file(path))?);
    let (mut hasher, mut bytes) = (Sha256::new(), 0_u64);
    loop {
        let read = file.fill_buf().map_err(of_file(path))?;
        if read.is_empty() {
            return Ok((bytes, hasher.finalize().into()));
        }
        hasher.update(read);
        let length = read.len();
        bytes = bytes.saturating_add(length as u64);
        file.consume(length);
    }
}
