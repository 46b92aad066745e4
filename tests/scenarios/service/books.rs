//! Settles and closes as people do: periods in order, each issued before the next.

use super::{Desk, Failure};
use apportion::domain::calendar::{Calendar, Period};
use apportion::domain::contract::Contract;
use apportion::domain::contract::term::Payees;
use apportion::domain::ids::ContractId;
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, local_date};
use apportion::domain::settlement::{BookedLine, SettlementError};
use apportion::domain::simulate::answer::{Booked, BookedInAll, Settlement};
use apportion::domain::statement::StatementStatus;
use apportion::jobs::settle::{SettleError, SettleRequest, settle_known};
use apportion::jobs::statements::{approve, issue, waive};
use apportion::store::books::{StatementFilter, list_statements, load_books};
use sqlx::PgConnection;
use std::collections::BTreeMap;

impl Desk {
    /// Settles a period; the open ones before it are settled and issued first. All of it, or nothing.
    pub async fn settle(
        &self,
        contract: &Contract,
        period: Period,
        cutoff: Instant,
    ) -> Result<Vec<Settlement>, Failure> {
        let mut tx = self.pool.begin().await?;
        let id = &contract.head.id;
        let books = load_books(&mut tx, id, None).await?;
        let mut settlements = Vec::new();
        if books.closed.last().is_none_or(|closed| *closed < period) {
            let mut at = first_open(contract, books.closed.last().copied()).filter(|open| *open < period);
            while let Some(earlier) = at.filter(|earlier| *earlier < period) {
                match settled(&mut tx, contract, earlier, cutoff).await {
                    Ok(settlement) => {
                        issue_all(&mut tx, id, earlier).await?;
                        settlements.extend(Some(settlement).filter(|it| !it.booked.is_empty()));
                    }
                    // Nothing can be owed before the contract as it was known then.
                    Err(SettleError::Settlement(SettlementError::BeforeContract { .. })) => {}
                    Err(error) => return Err(error.into()),
                }
                at = contract.head.settlement.next(earlier);
            }
        }
        settlements.push(settled(&mut tx, contract, period, cutoff).await?);
        tx.commit().await?;
        Ok(settlements)
    }

    /// Closes a period by issuing its statements.
    pub async fn close(&self, contract: &Contract, period: Period) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await?;
        let books = load_books(&mut tx, &contract.head.id, None).await?;
        if books.closed.last().is_some_and(|closed| period <= *closed) {
            return Ok(());
        }
        if !books.settled.contains(&period) {
            return Err(Failure::Code("out_of_order", format!("{period} is not settled")));
        }
        issue_all(&mut tx, &contract.head.id, period).await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn booked_in_all(&self, id: &ContractId) -> Vec<BookedInAll> {
        let mut conn = self.pool.acquire().await.expect("a connection");
        let books = load_books(&mut conn, id, None).await.expect("the books");
        let mut sums = BTreeMap::new();
        for BookedLine { term, payer, payee, unit, amount, .. } in books.booked {
            *sums.entry((term, payer, payee, unit)).or_insert_with(Exact::default) += &amount;
        }
        let sum = |((term, payer, payee, unit), amount)| BookedInAll {
            contract: id.clone(),
            term,
            payer,
            payee,
            unit,
            amount,
        };
        sums.into_iter().map(sum).collect()
    }
}

/// The first period that is not closed: without a closed one that in which the contract begins.
fn first_open(contract: &Contract, closed: Option<Period>) -> Option<Period> {
    let calendar = &contract.head.settlement;
    let begins = contract.begins().and_then(|at| calendar.window(local_date(at, contract.head.zone)));
    match (closed, calendar) {
        (Some(closed), _) => calendar.next(closed),
        (None, Calendar::Dates(starts)) => begins.or_else(|| starts.first().and_then(|first| calendar.window(*first))),
        (None, Calendar::Months { .. } | Calendar::Weeks { .. }) => begins,
    }
}

async fn settled(
    conn: &mut PgConnection,
    contract: &Contract,
    period: Period,
    cutoff: Instant,
) -> Result<Settlement, SettleError> {
    let request = SettleRequest {
        contract: contract.head.id.clone(),
        period,
        cutoff: Some(cutoff),
        by: "ana".into(),
        keep_approvals: false,
    };
    let report = settle_known(conn, &request, cutoff).await?;
    let mut booked: Vec<Booked> = Vec::new();
    for line in report.lines {
        let same = |it: &&mut Booked| {
            (&it.term, &it.payer, &it.payee, &it.unit) == (&line.term, &line.payer, &line.payee, &line.unit)
        };
        let (origin, amount) = (line.origin.to_string(), line.amount.clone());
        match booked.iter_mut().find(same) {
            Some(it) => {
                it.amount += &amount;
                it.lines.insert(origin, amount);
            }
            None => {
                let stated = contract.versions.iter().rev().find_map(|version| version.term(&line.term));
                booked.push(Booked {
                    is_shared: stated.is_some_and(|term| !matches!(term.payees, Payees::One(_))),
                    term: line.term,
                    payer: line.payer,
                    payee: line.payee,
                    unit: line.unit,
                    amount: line.amount,
                    lines: [(origin, amount)].into(),
                });
            }
        }
    }
    Ok(Settlement { period: period.to_string(), booked })
}

/// Issues the statements of a period, approved by another than who made them; that closes it.
async fn issue_all(conn: &mut PgConnection, contract: &ContractId, period: Period) -> Result<(), Failure> {
    let filter =
        StatementFilter { contract: Some(contract.clone()), period: Some(period), ..StatementFilter::default() };
    for head in list_statements(&mut *conn, &filter).await? {
        if head.status == StatementStatus::Draft {
            approve(&mut *conn, head.statement_id, "ben").await?;
            // Usage that no register knows counts nowhere, here as there.
            waive(&mut *conn, head.statement_id, "ben", "counts nowhere").await?;
            issue(&mut *conn, head.statement_id, "ben").await?;
        }
    }
    Ok(())
}
