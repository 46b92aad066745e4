//! Archives of usage: writes sealed generations to files, takes their events offline, and brings them back.

use super::archive_file::{ArchiveReader, ArchiveWriter};
use crate::domain::hex::hex;
use crate::domain::period::{Instant, start_of_hour};
use crate::domain::record::Record;
use crate::domain::usage::event_key;
use crate::store::archives::{
    self, Archive, ArchivedEvent, ChangeReason, GenerationUsage, HourEvents, HourFilter, NewArchive, Restore,
};
use crate::store::generations::{self, Generation};
use crate::store::records::load_records;
use crate::store::usage::event_key_secret;
use crate::store::{StoreError, recording};
use parquet::errors::ParquetError;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// About how many events go offline or come back in one transaction: what names events waits that long at most.
const EVENTS_AT_ONCE: i64 = 500_000;

/// How long it is waited for readers before the space of dropped events is given back, and how often.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: u32 = 5;

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

/// What became of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub generation: i32,
    pub hours: usize,
    pub events: u64,
}

/// Seals the newest generation, so that all that was recorded by now can be archived.
///
/// # Errors
/// The database's.
pub async fn seal(pool: &PgPool) -> Result<(), ArchiveError> {
    Ok(archives::seal(pool).await?)
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
/// database's. What was begun is begun anew then.
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
    let file_name = archives::file_name(&mut conn, generation).await?;
    let path = folder.join(&file_name);
    let part = folder.join(format!("{file_name}.part"));
    let of_parquet = |source| ArchiveError::Parquet { path: part.clone(), source };
    let mut writer = ArchiveWriter::new(File::create(&part).map_err(of_file(&part))?).map_err(of_parquet)?;
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
    let reader = open(&part)?;
    for group in 0..reader.groups() {
        reader.read(group).map_err(of_parquet)?.iter().for_each(|event| hash(&mut read_back, event));
    }
    if read_back.finalize() != written.finalize() {
        return Err(ArchiveError::NotReadBack { path: part });
    }
    let (file_bytes, file_sha256) = digest(&part)?;
    // One of this name that nobody wrote down was begun by a run that did not end.
    fs::rename(&part, &path).map_err(of_file(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(of_file(folder))?;
    let new = NewArchive { file_name: &file_name, file_bytes, file_sha256, events, by };
    archives::append_archive(pool, generation, &new).await?;
    let (_, found) = find(pool, generation.number).await?;
    found.archive.ok_or(ArchiveError::NotArchived { generation: generation.number })
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

/// Takes the events of an archived generation offline, once its file was found as it was written: hour by hour, but for
/// those hours that were brought back before, which stay unless `again`. Events that something names stay.
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
) -> Result<Moved, ArchiveError> {
    let (generation, found) = find(pool, generation).await?;
    let archive = found.archive.ok_or(ArchiveError::NotArchived { generation: generation.number })?;
    check(folder, &archive)?;
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let hours = archives::load_online_hours(&mut conn, generation, again).await?;
    drop(conn);
    let of = total(&hours);
    let mut moved = Moved { generation: generation.number, hours: 0, events: 0 };
    let mut done = 0_u64;
    for step in steps(&hours) {
        let kept = named_by_records(pool, generation).await?;
        let gone = archives::drop_hours(pool, generation, step, &kept, reason).await?;
        moved.hours = moved.hours.saturating_add(step.len());
        moved.events = moved.events.saturating_add(gone);
        done = done.saturating_add(total(step));
        progress(Progress { generation: generation.number, events: done, of });
    }
    if moved.events > 0 {
        give_space_back(pool, generation).await?;
    }
    Ok(moved)
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
) -> Result<Moved, ArchiveError> {
    let (generation, found) = find(pool, generation).await?;
    let archive = found.archive.ok_or(ArchiveError::NotArchived { generation: generation.number })?;
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let hours = archives::load_offline_hours(&mut conn, generation, which).await?;
    drop(conn);
    let mut moved = Moved { generation: generation.number, hours: 0, events: 0 };
    if hours.is_empty() {
        return Ok(moved);
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
        let came = restore.end(step, reason).await?;
        moved.hours = moved.hours.saturating_add(step.len());
        moved.events = moved.events.saturating_add(came);
        done = done.saturating_add(total(step));
        progress(Progress { generation: generation.number, events: done, of: total(&hours) });
    }
    Ok(moved)
}

async fn find(pool: &PgPool, generation: i32) -> Result<(Generation, GenerationUsage), ArchiveError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let all = generations::load(&mut conn).await?;
    let of_number = all.into_iter().find(|it| it.number == generation);
    let found = archives::load_generations(&mut conn).await?.into_iter().find(|it| it.generation == generation);
    of_number.zip(found).ok_or(ArchiveError::Unknown { generation })
}

/// The events of a generation that records beside usage name: they are asked for with each settlement.
async fn named_by_records(pool: &PgPool, generation: Generation) -> Result<Vec<Uuid>, ArchiveError> {
    let known_at = recording::watermark(pool).await?;
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let secret = event_key_secret(&mut conn).await?;
    let records = load_records(&mut conn, known_at).await?;
    let names = records.iter().flat_map(Record::names).map(|id| event_key(&secret, &id.source, &id.id));
    let keys: Vec<Uuid> = names.collect::<BTreeSet<_>>().into_iter().collect();
    Ok(archives::load_own_keys(&mut conn, generation, &keys).await?)
}

async fn give_space_back(pool: &PgPool, generation: Generation) -> Result<(), ArchiveError> {
    for _ in 0..TRIES {
        match archives::give_space_back(pool, generation, PATIENCE).await {
            Err(error) if error.is_lock_timeout() => {}
            ended => return Ok(ended?),
        }
    }
    tracing::warn!(
        generation = generation.number,
        "others read the generation all the time; `vacuum (full)` of its table gives the space of what was dropped back"
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
