//! Takes in figures, deductions and facts: each is one that a loaded contract waits for.

use super::contracts::{ContractsError, Known, load};
use crate::domain::contract::records::{RecordProblem, check_record};
use crate::domain::ids::EventId;
use crate::domain::record::Record;
use crate::store::StoreError;
use crate::store::contracts::{RecordOutcome, append_records, load_records};
use crate::store::recording::{self, LockMode};
use sqlx::PgPool;

#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// `index` counts from 0 in the records that were given.
    #[error("record {id}: {problem}")]
    Problem { index: usize, id: EventId, problem: RecordProblem },
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records all of them in one transaction, each with its outcome.
///
/// # Errors
/// The first that would never count, or count twice; then none is recorded.
pub async fn record(pool: &PgPool, records: &[Record]) -> Result<Vec<RecordOutcome>, RecordsError> {
    // Alone: two reports of one figure must see each other.
    let (mut tx, at) = recording::begin(pool, LockMode::Exclusive).await?;
    let Known { register, contracts, .. } = load(&mut tx, at).await?;
    let mut known = load_records(&mut tx, at).await?;
    for (index, record) in records.iter().enumerate() {
        check_record(record, &contracts, &register, &known).map_err(|problem| RecordsError::Problem {
            index,
            id: record.id.clone(),
            problem,
        })?;
        // Of equal ids the first stands: another content becomes a conflict, and never counts.
        if known.iter().all(|other| other.id != record.id) {
            known.push(record.clone());
        }
    }
    let outcomes = append_records(&mut tx, records, at).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(outcomes)
}
