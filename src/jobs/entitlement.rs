//! What the terms of a contract yield through a period as known at an instant, whatever was settled: nothing is booked.

use super::contracts::load;
use super::settle::SettleError;
use super::settlement_input::InputSource;
use crate::domain::calendar::Period;
use crate::domain::contract::Contract;
use crate::domain::engine::books::Run;
use crate::domain::ids::ContractId;
use crate::domain::ids::TermId;
use crate::domain::period::{Instant, local_date};
use crate::domain::settlement::{Books, find_contract};
use crate::domain::simulate::answer::Entitled;
use crate::domain::simulate::run::{Grain, terms};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// What each term of a contract yields, period by period through one, as known at an instant. Amounts are the same by
/// either grain; which items found no room under a cap is told of those that are loaded one by one.
///
/// # Errors
/// The contract or period is unknown, what stops every run of it, or the database.
pub async fn entitlement(
    conn: &mut PgConnection,
    contract: &ContractId,
    through: Period,
    known_at: Instant,
    grain: Grain,
) -> Result<BTreeMap<TermId, Entitled>, SettleError> {
    let known = load(&mut *conn, known_at).await?;
    let stated = find_contract(&known.contracts, contract)?.clone();
    let books = books_before(&stated, through);
    let mut source = InputSource::load_beside(&mut *conn, known, (contract, through), known_at, books).await?;
    let run: Run = source.settle(conn, grain).await?.run;
    Ok(terms(&stated, &run, through, |_| true))
}

/// Books of which everything before a period is settled, from when the contract begins.
fn books_before(contract: &Contract, period: Period) -> Books {
    let calendar = &contract.head.settlement;
    let begins = contract.begins().and_then(|at| calendar.window(local_date(at, contract.head.zone)));
    let before = period.first_day.pred_opt().and_then(|day| calendar.window(day));
    match (begins, before) {
        (Some(first), Some(before)) if first < period => {
            Books { settled: [first, before].into(), closed: [before].into(), ..Books::default() }
        }
        _ => Books::default(),
    }
}
