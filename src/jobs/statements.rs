//! Approves and issues statements. People do both; the one who made a draft may not approve it.

use crate::domain::period::Period;
use crate::domain::statement::{Statement, StatementStatus};
use crate::store::StoreError;
use crate::store::books::{
    StatementHead, append_status, close_period, insert_waiver, load_document, load_statement, load_waived,
    lock_contract,
};
use crate::store::rollups::{UnresolvedUsage, load_unresolved};
use sqlx::{PgConnection, PgPool};

#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("no statement {id}; `apportion statement list` shows those there are")]
    Unknown { id: i64 },
    #[error("statement {id} is {status}; it has to be {expected} to be {wanted}")]
    WrongStatus { id: i64, status: StatementStatus, expected: StatementStatus, wanted: StatementStatus },
    #[error("{by} made statement {id}; someone else has to approve it")]
    OwnDraft { id: i64, by: String },
    #[error(
        "{events} events of {period} are of deployments or products that no register knows; register them with `apportion contracts apply` and settle again, or waive them with `apportion statement waive {id} --by NAME --reason WHY`"
    )]
    Unresolved { id: i64, period: Period, events: i64 },
    #[error("the stored statement cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

async fn head(conn: &mut PgConnection, id: i64) -> Result<StatementHead, StatementError> {
    load_statement(conn, id).await?.ok_or(StatementError::Unknown { id })
}

async fn load(conn: &mut PgConnection, id: i64) -> Result<(StatementHead, Statement), StatementError> {
    let head = head(&mut *conn, id).await?;
    let statement = serde_json::from_str(&load_document(conn, &head).await?)?;
    Ok((head, statement))
}

/// Locks the contract of a statement, then reads where the statement stands: a settlement may have drafted it
/// anew while this waited. Refuses one that is not what it has to be.
async fn lock(
    conn: &mut PgConnection,
    id: i64,
    expected: StatementStatus,
    wanted: StatementStatus,
) -> Result<StatementHead, StatementError> {
    let before = head(&mut *conn, id).await?;
    lock_contract(&mut *conn, &before.contract_id).await?;
    let head = head(conn, id).await?;
    if head.status != expected {
        return Err(StatementError::WrongStatus { id, status: head.status, expected, wanted });
    }
    Ok(head)
}

/// A statement with its status and its content.
///
/// # Errors
/// There is none of that id, or it cannot be read.
pub async fn show(pool: &PgPool, id: i64) -> Result<(StatementHead, Statement), StatementError> {
    load(&mut *pool.acquire().await?, id).await
}

/// A statement with its document as it is stored, byte for byte what its digest is of.
///
/// # Errors
/// There is none of that id.
pub async fn document(pool: &PgPool, id: i64) -> Result<(StatementHead, String), StatementError> {
    let mut conn = pool.acquire().await?;
    let head = head(&mut conn, id).await?;
    let document = load_document(&mut conn, &head).await?;
    Ok((head, document))
}

/// Approves a draft.
///
/// # Errors
/// It is no draft, or `by` made it.
pub async fn approve(pool: &PgPool, id: i64, by: &str) -> Result<(), StatementError> {
    let mut tx = pool.begin().await?;
    let head = lock(&mut tx, id, StatementStatus::Draft, StatementStatus::Approved).await?;
    // Of a draft the last status was set by its maker.
    if head.changed_by.trim().to_lowercase() == by.trim().to_lowercase() {
        return Err(StatementError::OwnDraft { id, by: by.to_owned() });
    }
    append_status(&mut tx, id, head.revision, StatementStatus::Approved, by, "approved").await?;
    Ok(tx.commit().await?)
}

/// Issues an approved statement and closes its period: from then on news is booked in the next one.
///
/// # Errors
/// It is not approved, or usage of the period is unresolved and not waived.
#[tracing::instrument(name = "statement.issue", skip(pool))]
pub async fn issue(pool: &PgPool, id: i64, by: &str) -> Result<(), StatementError> {
    let mut tx = pool.begin().await?;
    lock(&mut tx, id, StatementStatus::Approved, StatementStatus::Issued).await?;
    let (head, statement) = load(&mut tx, id).await?;
    let unresolved = unwaived(&mut tx, &statement).await?;
    let events: i64 = unresolved.iter().map(|usage| usage.events).sum();
    if events > 0 {
        return Err(StatementError::Unresolved { id, period: statement.period, events });
    }
    append_status(&mut tx, id, head.revision, StatementStatus::Issued, by, "issued").await?;
    close_period(&mut tx, &statement.contract, statement.period, statement.span.start, by).await?;
    Ok(tx.commit().await?)
}

/// The usage that was unresolved when the statement was drawn up, and that nobody waived.
///
/// As known then: usage that was mapped since is not in the statement, so it has to be settled again.
async fn unwaived(conn: &mut PgConnection, statement: &Statement) -> Result<Vec<UnresolvedUsage>, StoreError> {
    let (end, known_at) = (statement.span.end, statement.cutoff);
    let waived = load_waived(&mut *conn, &statement.contract, end, known_at).await?;
    let mut unresolved = load_unresolved(conn, end, known_at).await?;
    unresolved.retain(|usage| !waived.contains(&usage.dimension_id));
    Ok(unresolved)
}

/// Decides that a statement's period need not wait for the usage that was unresolved when it was drawn up; returns it.
///
/// # Errors
/// There is no statement of that id, or it cannot be read.
pub async fn waive(pool: &PgPool, id: i64, by: &str, reason: &str) -> Result<Vec<UnresolvedUsage>, StatementError> {
    let mut tx = pool.begin().await?;
    let (_, statement) = load(&mut tx, id).await?;
    let unresolved = unwaived(&mut tx, &statement).await?;
    for usage in &unresolved {
        insert_waiver(&mut tx, &statement.contract, statement.period, usage, statement.cutoff, by, reason).await?;
    }
    tx.commit().await?;
    Ok(unresolved)
}
