//! Takes in records beside usage, and corrections and voids of them: each is one that a loaded contract waits for.

use super::contracts::{ContractsError, Known, load};
use super::settle::WaitingRecord;
use crate::domain::contract::records::{RecordProblem, check_record};
use crate::domain::entry::{Entry, EntryError, NewEntry};
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::record::{Record, RecordContent};
use crate::domain::restated::{Ledger, Taking};
use crate::domain::settlement::waiting;
use crate::store::StoreError;
use crate::store::contracts::load_register;
use crate::store::recording::{self, LockMode};
use crate::store::records::{append_entries, load_entries};
use crate::store::usage::ids_of_usage;
use crate::store::usage_events::load_named_events;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeSet;

#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// `index` counts from 0 in the records that were given.
    #[error("record {id}: {problem}")]
    Problem { index: usize, id: EventId, problem: RecordProblem },
    /// The same, of a correction.
    #[error("record {id}: what it restates does not fit {of}: {problem}")]
    Misfit { index: usize, id: EventId, of: EventId, problem: EntryError },
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is asked of records before they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// That a loaded contract waits for each, from whom and in what it comes, and that nothing is said twice.
    Awaited,
    /// Nothing: a history may tell of what agreements are loaded for later.
    Skipped,
}

/// Records all of them in one transaction, each with what became of it.
///
/// # Errors
/// The first that would never count, or count twice; then none is recorded.
pub async fn record(pool: &PgPool, entries: &[NewEntry], checks: Checks) -> Result<Vec<Taking>, RecordsError> {
    // Alone: two reports of one figure must see each other, and a correction what it corrects.
    let (mut tx, at) = recording::begin(pool, LockMode::Exclusive).await?;
    let known = match checks {
        Checks::Awaited => Some(load(&mut tx, at).await?),
        Checks::Skipped => None,
    };
    let stored = load_entries(&mut tx, at).await?;
    let new: Vec<Entry> = entries.iter().map(|entry| entry.clone().recorded(at)).collect();
    let mut ledger = Ledger::beside(ids_of_usage(&mut tx, new.iter().map(|entry| &entry.id)).await?);
    for entry in &stored {
        ledger.take(entry);
    }
    let mut became = Vec::with_capacity(new.len());
    for (index, entry) in new.iter().enumerate() {
        let taking = ledger.take(entry);
        if let (Some(known), Taking::Taken) = (&known, &taking) {
            check(index, entry, known, &ledger)?;
        }
        became.push((entry, taking));
    }
    append_entries(&mut tx, &became, at).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(became.into_iter().map(|(_, taking)| taking).collect())
}

/// What of the records that stand has no effect yet, as it names what is not there: each with what it waits for.
///
/// # Errors
/// The database's.
pub async fn waiting_records(
    conn: &mut PgConnection,
    records: &[Record],
    known_at: Instant,
) -> Result<Vec<WaitingRecord>, RecordsError> {
    let register = load_register(&mut *conn, known_at).await?;
    let names: BTreeSet<&EventId> = records.iter().flat_map(Record::names).collect();
    let named = load_named_events(conn, names, known_at).await?;
    let named = named.iter().map(|event| (&event.id, &event.content)).collect();
    let found = waiting(records, &named, &register).into_iter();
    Ok(found.map(|(id, waits_for)| WaitingRecord { id: id.clone(), waits_for: waits_for.to_string() }).collect())
}

/// Checks what stands since an entry was taken: the record itself, or what a correction made of one.
fn check(index: usize, entry: &Entry, known: &Known, ledger: &Ledger<'_>) -> Result<(), RecordsError> {
    let id = match entry.what.target() {
        Some(target) => EventId { source: entry.id.source.clone(), id: target.to_owned() },
        None => entry.id.clone(),
    };
    let record = match ledger.record(&id) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(()),
        Err(problem) => return Err(RecordsError::Misfit { index, id: entry.id.clone(), of: id, problem }),
    };
    // Figures alone may not say again what others have said.
    let others = match record.content {
        RecordContent::Figure(_) => ledger.standing().records,
        _ => Vec::new(),
    };
    check_record(&record, &known.contracts, &known.register, &others).map_err(|problem| RecordsError::Problem {
        index,
        id: entry.id.clone(),
        problem,
    })
}
