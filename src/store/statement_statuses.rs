//! The statuses that a statement has had: who set each, with which key, and why.

use super::StoreError;
use super::access::Signature;
use crate::domain::ids::PartyId;
use crate::domain::period::Instant;
use crate::domain::statement::StatementStatus;
use sqlx::PgConnection;

/// One status of a statement, and who set it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct StatusChange {
    pub status: StatementStatus,
    pub revision: i32,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Instant,
    pub changed_by: String,
    /// The key that it was set with; none where it was set at the command line.
    pub key_id: Option<String>,
    /// The party that the key is bound to.
    pub party: Option<PartyId>,
    pub reason: String,
}

/// The statuses that a statement has had, in their order; to a partner's key those since its issue.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_history(conn: &mut PgConnection, statement_id: i64) -> Result<Vec<StatusChange>, StoreError> {
    let rows = sqlx::query!(
        "select status, revision, changed_at, changed_by, key_id, party, reason from statement_status
         where statement_id = $1 order by sequence",
        statement_id
    )
    .fetch_all(conn)
    .await?;
    let changes = rows.into_iter().map(|row| {
        Ok(StatusChange {
            status: StoreError::decoded("statement_status.status", statement_id, row.status.parse())?,
            revision: row.revision,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
            key_id: row.key_id,
            party: row.party.map(PartyId::new),
            reason: row.reason,
        })
    });
    changes.collect()
}

/// Whether somebody made a draft of a statement, its last or an earlier one.
///
/// # Errors
/// The database's.
pub async fn is_maker(conn: &mut PgConnection, statement_id: i64, by: &str) -> Result<bool, StoreError> {
    let made = sqlx::query_scalar!(
        r#"select exists (select from statement_status where statement_id = $1 and status = 'draft'
             and lower(btrim(changed_by)) = lower(btrim($2))) as "made!""#,
        statement_id,
        by
    );
    Ok(made.fetch_one(conn).await?)
}

/// Appends a status.
///
/// # Errors
/// The database's, which refuses a status that may not follow the last, and an approver who is the maker.
pub async fn append_status(
    conn: &mut PgConnection,
    statement_id: i64,
    revision: i32,
    status: StatementStatus,
    by: &Signature,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into statement_status (statement_id, revision, sequence, status, changed_by, changed_at, reason,
                                       key_id, party)
         select $1, $2, coalesce(max(sequence), 0) + 1, $3, $4, clock_timestamp(), $5, $6, $7
         from statement_status where statement_id = $1",
        statement_id,
        revision,
        status.name(),
        by.name,
        reason,
        by.key_id,
        by.party.as_ref().map(PartyId::as_str)
    )
    .execute(conn)
    .await?;
    Ok(())
}
