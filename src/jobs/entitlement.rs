//! What the terms of a contract yield through a period as known at an instant, whatever was settled: nothing is booked.

use super::contracts::load;
use super::settle::SettleError;
use super::settlement_input::{InputSource, find_known};
use crate::domain::calendar::Period;
use crate::domain::contract::Contract;
use crate::domain::engine::stretches::Grain;
use crate::domain::ids::{ContractId, TermId};
use crate::domain::period::Instant;
use crate::domain::settlement::{Books, Settled};
use crate::domain::simulate::answer::Entitled;
use crate::domain::simulate::run::terms;
use crate::store::books::load_books;
use crate::store::recording::{last_recorded, watermark};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// What the terms of a contract yield.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Entitlement {
    pub contract: ContractId,
    /// The last period that is told.
    pub through: Period,
    #[schema(value_type = String, format = DateTime)]
    pub known_at: Instant,
    pub terms: BTreeMap<TermId, Entitled>,
}

/// What each term of a contract yields, period by period through one, as known at an instant: without one, as known now.
///
/// # Errors
/// The contract or period is unknown, the instant lies ahead, what stops every run of it, or the database.
pub async fn entitlement(
    pool: &PgPool,
    contract: &ContractId,
    through: Period,
    known_at: Option<Instant>,
) -> Result<Entitlement, SettleError> {
    let known_at = match known_at {
        None => last_recorded(pool).await?,
        Some(cutoff) => {
            let watermark = watermark(pool).await?;
            if cutoff > watermark {
                return Err(SettleError::CutoffInFuture { cutoff, watermark });
            }
            cutoff
        }
    };
    let mut tx = pool.begin().await?;
    let first = load_books(&mut tx, contract, None).await?.settled.first().copied();
    entitlement_as_known(&mut tx, (contract, through), known_at, first, Grain::Sums).await
}

/// As [`entitlement`], as known at an instant that was handed out, with books that begin with a period: before it, or
/// before the one asked for, figures that are missing stand for zero. Amounts are the same by either grain; which
/// items found no room under a cap is told of those that are loaded one by one.
///
/// # Errors
/// As there.
pub async fn entitlement_as_known(
    conn: &mut PgConnection,
    (contract, through): (&ContractId, Period),
    known_at: Instant,
    books_begin: Option<Period>,
    grain: Grain,
) -> Result<Entitlement, SettleError> {
    let (stated, settled) = run_as_known(conn, (contract, through), known_at, books_begin, grain).await?;
    let terms = terms(&stated, &settled.run, through, |_| true);
    Ok(Entitlement { contract: contract.clone(), through, known_at, terms })
}

/// What a contract comes to through a period as known at an instant, and the contract as known then.
pub(super) async fn run_as_known(
    conn: &mut PgConnection,
    (contract, through): (&ContractId, Period),
    known_at: Instant,
    books_begin: Option<Period>,
    grain: Grain,
) -> Result<(Contract, Settled), SettleError> {
    let known = load(&mut *conn, known_at).await?;
    let stated = find_known(&mut *conn, &known.contracts, contract, known_at).await?.clone();
    let books = books_before(&stated, books_begin, through);
    let mut source = InputSource::load_beside(&mut *conn, known, (contract, through), known_at, books).await?;
    let settled = source.settle(conn, grain).await?;
    Ok((stated, settled))
}

/// Books of which everything from their first period to the one before another is settled.
fn books_before(contract: &Contract, first: Option<Period>, period: Period) -> Books {
    let before = period.first_day.pred_opt().and_then(|day| contract.head.settlement.window(day));
    match (first, before) {
        (Some(first), Some(before)) if first < period => {
            Books { settled: [first, before].into(), closed: [before].into(), ..Books::default() }
        }
        _ => Books::default(),
    }
}
