//! Explains a statement: loads what it was settled on, as known at its cutoff, and takes its amounts apart.

use super::settle::SettleError;
use super::settlement_input::InputSource;
use super::statements::{StatementError, read};
use crate::domain::explain::settled::{Explained, Wanted, explain};
use crate::domain::explain::{Depth, Question};
use crate::domain::period::Span;
use crate::domain::settlement::find_contract;
use crate::domain::simulate::run::Grain;
use crate::domain::statement::Statement;
use crate::store::books::{StatementHead, load_input_digest};
use sqlx::PgPool;

/// A statement with its amounts taken apart.
#[derive(Clone, Debug)]
pub struct ExplainedStatement {
    pub head: StatementHead,
    pub statement: Statement,
    /// The digest of what it was settled on, as stored then and as loaded now.
    pub settled_sha256: String,
    pub loaded_sha256: String,
    pub lines: Vec<Explained>,
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
    Ok(ExplainedStatement { head, statement, settled_sha256, loaded_sha256, lines })
}
