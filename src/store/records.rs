//! Records beside usage, with their corrections and voids: appended as they were said, read as known at an instant.

use super::{StoreError, recording};
use crate::domain::entry::{Entry, NewEntry};
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::record::Record;
use crate::domain::restated::{Ledger, Mention, Reason, Rejected, Standing, Taking};
use crate::domain::usage::event_key;
use sqlx::PgConnection;

/// Appends what entries became, recorded at `at`, which the caller's transaction was given.
///
/// # Errors
/// The database's.
pub async fn append_entries(
    conn: &mut PgConnection,
    entries: &[(&Entry, Taking)],
    at: Instant,
) -> Result<(), StoreError> {
    let secret = super::usage::event_key_secret(&mut *conn).await?;
    for (entry, taking) in entries {
        let EventId { source, id } = &entry.id;
        let content = || entry.to_json();
        match taking {
            Taking::Taken => {
                let (kind, target) = (entry.what.kind(), entry.what.target());
                let key = event_key(&secret, source, id);
                let decided = entry.decided_event().map(|event| event_key(&secret, &event.source, &event.id));
                sqlx::query!(
                    "insert into record (source, record_id, record_key, kind, target, event_key, content, recorded_at)
                     values ($1, $2, $3, $4, $5, $6, $7, $8)",
                    source,
                    id,
                    key,
                    kind,
                    target,
                    decided,
                    content(),
                    at
                )
                .execute(&mut *conn)
                .await?;
            }
            Taking::Conflict => {
                sqlx::query!(
                    "insert into record_conflict (source, record_id, content, recorded_at) values ($1, $2, $3, $4)",
                    source,
                    id,
                    content(),
                    at
                )
                .execute(&mut *conn)
                .await?;
            }
            Taking::Rejected(reason) => {
                sqlx::query!(
                    "insert into record_rejection (source, record_id, content, reason, recorded_at)
                     values ($1, $2, $3, $4, $5)",
                    source,
                    id,
                    content(),
                    reason.name(),
                    at
                )
                .execute(&mut *conn)
                .await?;
            }
            Taking::Duplicate => {}
        }
    }
    recording::note_alone(conn, at).await?;
    Ok(())
}

/// Everything that was taken in by an instant, in the order of its recording.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_entries(conn: &mut PgConnection, known_at: Instant) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query!(
        "select sequence, content, recorded_at from record where recorded_at <= $1 order by sequence",
        known_at
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.iter().map(|row| {
        let read = NewEntry::storable(&row.content.to_string());
        Ok(StoreError::decoded("record.content", row.sequence, read)?.recorded(row.recorded_at))
    });
    entries.collect()
}

/// The records that stand as known at an instant, in the order of their recording.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_records(conn: &mut PgConnection, known_at: Instant) -> Result<Vec<Record>, StoreError> {
    Ok(standing(&load_entries(conn, known_at).await?).records)
}

/// What stands as known at an instant, and what does not count.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_standing(conn: &mut PgConnection, known_at: Instant) -> Result<Standing, StoreError> {
    let mut standing = standing(&load_entries(&mut *conn, known_at).await?);
    let conflicts = sqlx::query!(
        "select source, record_id, recorded_at from record_conflict where recorded_at <= $1 order by sequence",
        known_at
    );
    let mention = |source, id, recorded_at| Mention { id: EventId { source, id }, recorded_at };
    let conflicts = conflicts.fetch_all(&mut *conn).await?;
    standing.conflicts = conflicts.into_iter().map(|row| mention(row.source, row.record_id, row.recorded_at)).collect();
    let rejections = sqlx::query!(
        "select sequence, source, record_id, reason, recorded_at from record_rejection
         where recorded_at <= $1 order by sequence",
        known_at
    );
    let mut rejected = Vec::new();
    for row in rejections.fetch_all(conn).await? {
        let reason = StoreError::decoded("record_rejection.reason", row.sequence, Reason::named(&row.reason))?;
        rejected.push(Rejected { what: mention(row.source, row.record_id, row.recorded_at), reason });
    }
    // What was refused when it came stands before what turned out to name what cannot be named.
    standing.rejected.splice(0..0, rejected);
    Ok(standing)
}

/// How entries stand that were taken in, in this order.
pub(super) fn standing(entries: &[Entry]) -> Standing {
    let mut ledger = Ledger::default();
    for entry in entries {
        ledger.take(entry);
    }
    ledger.standing()
}
