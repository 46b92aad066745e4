//! Explains a statement: loads what it was settled on, as known at its cutoff, and takes its amounts apart.

use super::settle::SettleError;
use super::settlement_input::InputSource;
use super::statements::{StatementError, read};
use crate::domain::calendar::Period;
use crate::domain::engine::stretches::Grain;
use crate::domain::explain::settled::{Explained, Wanted, explain};
use crate::domain::explain::{Depth, Question};
use crate::domain::ids::ContractId;
use crate::domain::period::{Instant, Span};
use crate::domain::settlement::find_contract;
use crate::domain::statement::Statement;
use crate::store::books::load_input_digest;
use serde::Serialize;
use sqlx::PgPool;

/// A statement with its amounts taken apart.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ExplainedStatement {
    #[serde(rename = "statement")]
    pub id: i64,
    pub revision: i32,
    pub contract: ContractId,
    pub period: Period,
    /// As known at which it was settled, and is explained.
    #[schema(value_type = String, format = DateTime)]
    pub cutoff: Instant,
    /// The digest of what it was settled on, as stored then.
    pub settled_sha256: String,
    /// The digest of the same as loaded now: it is equal, unless the database was changed by hand.
    pub loaded_sha256: String,
    pub lines: Vec<Explained>,
}

impl ExplainedStatement {
    /// Whether it is explained from what it was settled on.
    pub fn is_same_input(&self) -> bool {
        self.settled_sha256 == self.loaded_sha256
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Settle(#[from] SettleError),
}

/// Takes the amounts of a statement apart.
///
/// # Errors
/// There is none of that id, or what stops its settlement now.
pub async fn explain_statement(
    pool: &PgPool,
    id: i64,
    wanted: &Wanted,
    question: Question,
) -> Result<ExplainedStatement, ExplainError> {
    let mut tx = pool.begin().await.map_err(StatementError::from)?;
    let record = read(&mut tx, id).await?;
    let statement = record.statement()?;
    let head = record.head;
    let (settlement, settled_sha256) = load_input_digest(&mut tx, &head).await.map_err(StatementError::from)?;
    let of = (&statement.contract, statement.period);
    let mut source = InputSource::load(&mut tx, of, statement.cutoff, Some(settlement)).await?;
    let settled = source.settle(&mut tx, Grain::Sums).await?;
    let loaded_sha256 = source.digest().map_err(SettleError::from)?;
    if question.depth == Depth::Events {
        let contract = find_contract(&source.input.contracts, &statement.contract).map_err(SettleError::from)?;
        let zone = contract.head.zone;
        let spans: Vec<Span> = wanted.origins(&statement).iter().map(|origin| origin.span(zone)).collect();
        source.open(&mut tx, &spans).await?;
    }
    let lines = explain((&source.input, &settled.run), &statement, wanted, question).map_err(SettleError::from)?;
    let Statement { contract, period, cutoff, .. } = statement;
    let (id, revision) = (head.statement_id, head.revision);
    Ok(ExplainedStatement { id, revision, contract, period, cutoff, settled_sha256, loaded_sha256, lines })
}
