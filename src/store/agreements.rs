//! Which contracts are loaded, for people who look: versions, whom their terms concern, and the documents.

use super::StoreError;
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::period::Instant;
use serde::Serialize;
use sqlx::PgConnection;

/// A version of a contract as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VersionHead {
    pub contract: ContractId,
    pub version: i32,
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Instant,
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Instant,
    /// Of the contract's own file, followed by the version's.
    pub sha256: String,
}

/// Whom a term concerns, and when it holds by its own dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TermHead {
    pub contract: ContractId,
    pub version: i32,
    pub term: TermId,
    pub kind: String,
    /// Of its clause.
    pub heading: String,
    pub parties: Vec<PartyId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Instant>,
    /// Exclusive.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Instant>,
}

/// The text of a version: the contract's own file, and the version's; the same where one file holds both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VersionText {
    pub definitions: String,
    pub document: String,
}

/// The versions of all contracts, or of one, by contract and number.
///
/// # Errors
/// The database's.
pub async fn list_versions(
    conn: &mut PgConnection,
    contract: Option<&ContractId>,
) -> Result<Vec<VersionHead>, StoreError> {
    let rows = sqlx::query!(
        "select contract_id, number, effective_at, recorded_at, sha256 from contract_version
         where $1::text is null or contract_id = $1 order by contract_id collate \"C\", number",
        contract.map(ContractId::as_str)
    );
    let heads = rows.fetch_all(conn).await?.into_iter().map(|row| VersionHead {
        contract: ContractId::new(row.contract_id),
        version: row.number,
        effective_at: row.effective_at,
        recorded_at: row.recorded_at,
        sha256: row.sha256,
    });
    Ok(heads.collect())
}

/// The terms of all versions of all contracts, or of one, by contract, number and term.
///
/// # Errors
/// The database's.
pub async fn list_terms(conn: &mut PgConnection, contract: Option<&ContractId>) -> Result<Vec<TermHead>, StoreError> {
    let rows = sqlx::query!(
        "select contract_id, number, term_id, kind, heading, parties, starts_at, ends_at from contract_term
         where $1::text is null or contract_id = $1 order by contract_id collate \"C\", number, term_id collate \"C\"",
        contract.map(ContractId::as_str)
    );
    let heads = rows.fetch_all(conn).await?.into_iter().map(|row| TermHead {
        contract: ContractId::new(row.contract_id),
        version: row.number,
        term: TermId::new(row.term_id),
        kind: row.kind,
        heading: row.heading,
        parties: row.parties.into_iter().map(PartyId::new).collect(),
        starts_at: row.starts_at,
        ends_at: row.ends_at,
    });
    Ok(heads.collect())
}

/// The text of one version.
///
/// # Errors
/// The database's.
pub async fn load_text(
    conn: &mut PgConnection,
    contract: &ContractId,
    number: i32,
) -> Result<Option<VersionText>, StoreError> {
    let text = sqlx::query_as!(
        VersionText,
        "select definitions, document from contract_version where contract_id = $1 and number = $2",
        contract.as_str(),
        number
    );
    Ok(text.fetch_optional(conn).await?)
}
