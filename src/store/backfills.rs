//! Backfills: which there are, how far each is, who did it and why, and which batches belong to it.

use super::file_positions::FileDigest;
use super::{StoreError, begin_read};
use crate::domain::backfill::BackfillStatus;
use crate::domain::outcome::{Counts, Outcome};
use crate::domain::period::Instant;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

/// The number of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillId(pub i64);

/// A backfill as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Backfill {
    #[serde(skip)]
    pub id: BackfillId,
    pub name: String,
    /// The name that its file had.
    pub file: String,
    pub status: BackfillStatus,
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Instant,
    pub begun_by: String,
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Instant,
    pub changed_by: String,
    /// How many messages of its file were taken in, whatever became of them.
    pub messages: i64,
    /// How many events of it were stored.
    pub events: i64,
    /// How many voids took back a part of it.
    pub taken_back: i64,
}

/// One status of a backfill, and who set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BackfillChange {
    pub status: BackfillStatus,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Instant,
    pub changed_by: String,
    pub reason: String,
}

/// Who changes the status of a backfill, and why.
#[derive(Clone, Debug)]
pub struct Reason {
    pub by: String,
    pub why: String,
}

/// Which backfills are wanted.
#[derive(Clone, Debug, Default)]
pub struct BackfillFilter {
    pub name: Option<String>,
    /// Those that were begun before one of this number.
    pub before: Option<i64>,
    pub limit: Option<i64>,
}

/// The last that were begun, the newest first.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_backfills(conn: &mut PgConnection, filter: &BackfillFilter) -> Result<Vec<Backfill>, StoreError> {
    let rows = sqlx::query!(
        r#"select f.backfill_id, f.name, f.file_name, first.changed_at as begun_at, first.changed_by as begun_by,
             first.reason, last.status, last.changed_at, last.changed_by, b.messages as "messages!",
             b.events as "events!", b.taken_back as "taken_back!"
           from backfill f
           join backfill_status first on first.backfill_id = f.backfill_id and first.sequence = 1
           cross join lateral (select status, changed_at, changed_by from backfill_status s
             where s.backfill_id = f.backfill_id order by sequence desc limit 1) last
           cross join lateral (select
               coalesce(sum(messages) filter (where intake = 'backfill'), 0)::bigint as messages,
               coalesce(sum(stored + stored_unresolved), 0)::bigint as events,
               coalesce(sum(void_applied + void_waiting) filter (where intake = 'revert'), 0)::bigint as taken_back
             from usage_batch u where u.backfill_id = f.backfill_id) b
           where ($1::text is null or f.name = $1) and ($2::bigint is null or f.backfill_id < $2)
           order by f.backfill_id desc limit $3"#,
        filter.name,
        filter.before,
        filter.limit
    );
    let backfills = rows.fetch_all(conn).await?.into_iter().map(|row| {
        Ok(Backfill {
            id: BackfillId(row.backfill_id),
            status: StoreError::decoded("backfill_status.status", &row.name, row.status.parse())?,
            name: row.name,
            file: row.file_name,
            begun_at: row.begun_at,
            begun_by: row.begun_by,
            reason: row.reason,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
            messages: row.messages,
            events: row.events,
            taken_back: row.taken_back,
        })
    });
    backfills.collect()
}

/// The backfill of a name.
///
/// # Errors
/// As [`load_backfills`].
pub async fn find_backfill(conn: &mut PgConnection, name: &str) -> Result<Option<Backfill>, StoreError> {
    let filter = BackfillFilter { name: Some(name.to_owned()), ..BackfillFilter::default() };
    Ok(load_backfills(conn, &filter).await?.pop())
}

/// A backfill with its statuses, in their order, and what became of the messages of its file: one state of all three.
///
/// # Errors
/// As [`load_backfills`].
pub async fn load_whole(
    pool: &PgPool,
    name: &str,
) -> Result<Option<(Backfill, Vec<BackfillChange>, Counts)>, StoreError> {
    let mut read = begin_read(pool).await?;
    let Some(backfill) = find_backfill(&mut read, name).await? else { return Ok(None) };
    let history = load_history(&mut read, backfill.id).await?;
    let counts = outcomes(&mut read, backfill.id).await?;
    Ok(Some((backfill, history, counts)))
}

async fn load_history(conn: &mut PgConnection, BackfillId(id): BackfillId) -> Result<Vec<BackfillChange>, StoreError> {
    let rows = sqlx::query!(
        "select status, changed_at, changed_by, reason from backfill_status where backfill_id = $1 order by sequence",
        id
    );
    let changes = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let status = StoreError::decoded("backfill_status.status", id, row.status.parse())?;
        Ok(BackfillChange { status, changed_at: row.changed_at, changed_by: row.changed_by, reason: row.reason })
    });
    changes.collect()
}

async fn outcomes(conn: &mut PgConnection, BackfillId(id): BackfillId) -> Result<Counts, StoreError> {
    let sums = sqlx::query!(
        r#"select sum(stored)::bigint as stored, sum(stored_unresolved)::bigint as stored_unresolved,
             sum(duplicate)::bigint as duplicate, sum(conflict)::bigint as conflict,
             sum(correction_applied)::bigint as correction_applied,
             sum(correction_waiting)::bigint as correction_waiting, sum(void_applied)::bigint as void_applied,
             sum(void_waiting)::bigint as void_waiting, sum(no_usage)::bigint as no_usage,
             sum(rejected)::bigint as rejected
           from usage_batch where backfill_id = $1 and intake = 'backfill'"#,
        id
    );
    let sums = sums.fetch_one(conn).await?;
    let of = |outcome| match outcome {
        Outcome::Stored => sums.stored,
        Outcome::StoredUnresolved => sums.stored_unresolved,
        Outcome::Duplicate => sums.duplicate,
        Outcome::Conflict => sums.conflict,
        Outcome::CorrectionApplied => sums.correction_applied,
        Outcome::CorrectionWaiting => sums.correction_waiting,
        Outcome::VoidApplied => sums.void_applied,
        Outcome::VoidWaiting => sums.void_waiting,
        Outcome::NoUsage => sums.no_usage,
        Outcome::Rejected => sums.rejected,
    };
    let counts = Outcome::ALL.iter().map(|outcome| {
        let count = of(*outcome).unwrap_or_default();
        Ok((*outcome, StoreError::decoded("the sums of usage_batch", id, u64::try_from(count))?))
    });
    counts.collect()
}

/// The file of a backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillFile {
    pub name: String,
    pub digest: FileDigest,
}

/// Begins a backfill, unless one has its name; returns the one that has it, with its file.
///
/// # Errors
/// The database's.
pub async fn begin(
    conn: &mut PgConnection,
    name: &str,
    file: &BackfillFile,
    reason: &Reason,
) -> Result<(BackfillId, BackfillFile), StoreError> {
    let new = sqlx::query_scalar!(
        "insert into backfill (name, file_name, file_digest) values ($1, $2, $3)
         on conflict (name) do nothing returning backfill_id",
        name,
        file.name,
        file.digest.0.as_slice()
    );
    if let Some(id) = new.fetch_optional(&mut *conn).await? {
        append_status(conn, BackfillId(id), BackfillStatus::Applying, reason).await?;
        return Ok((BackfillId(id), file.clone()));
    }
    let known = sqlx::query!("select backfill_id, file_name, file_digest from backfill where name = $1", name);
    let known = known.fetch_one(conn).await?;
    let digest = known.file_digest.try_into().map_err(|_| "must have 32 bytes");
    let digest = FileDigest(StoreError::decoded("backfill.file_digest", name, digest)?);
    Ok((BackfillId(known.backfill_id), BackfillFile { name: known.file_name, digest }))
}

/// Keeps a backfill as it is until the transaction ends; returns its status.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn lock(conn: &mut PgConnection, BackfillId(id): BackfillId) -> Result<BackfillStatus, StoreError> {
    // A statement of its own: the next one has to see what was committed while this one waited.
    sqlx::query!("select backfill_id from backfill where backfill_id = $1 for update", id)
        .fetch_one(&mut *conn)
        .await?;
    let status = sqlx::query_scalar!(
        "select status from backfill_status where backfill_id = $1 order by sequence desc limit 1",
        id
    );
    StoreError::decoded("backfill_status.status", id, status.fetch_one(conn).await?.parse())
}

/// Appends a status.
///
/// # Errors
/// The database's, which refuses a status that may not follow the last.
pub async fn append_status(
    conn: &mut PgConnection,
    BackfillId(id): BackfillId,
    status: BackfillStatus,
    Reason { by, why }: &Reason,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into backfill_status (backfill_id, sequence, status, changed_at, changed_by, reason)
         select $1, coalesce(max(sequence), 0) + 1, $2, clock_timestamp(), $3, $4
         from backfill_status where backfill_id = $1",
        id,
        status.name(),
        by,
        why
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets how far its file was taken in: nothing more of it will be.
///
/// # Errors
/// The database's.
pub async fn forget_position(conn: &mut PgConnection, BackfillId(id): BackfillId) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from file_position p using backfill f where f.backfill_id = $1 and p.file_digest = f.file_digest",
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The batches in which its file was taken in, in their order.
///
/// # Errors
/// The database's.
pub async fn batches(conn: &mut PgConnection, BackfillId(id): BackfillId) -> Result<Vec<i64>, StoreError> {
    let batches = sqlx::query_scalar!(
        "select batch_id from usage_batch where backfill_id = $1 and intake = 'backfill' order by batch_id",
        id
    );
    Ok(batches.fetch_all(conn).await?)
}
