//! Settles and closes as people do: periods in order, each issued before the next.

use super::{Desk, Failure, is_not_agreed};
use apportion::domain::calendar::Period;
use apportion::domain::contract::Contract;
use apportion::domain::ids::ContractId;
use apportion::domain::period::Instant;
use apportion::domain::simulate::answer::{BookedInAll, Settlement};
use apportion::domain::simulate::run::{booked, booked_in_all};
use apportion::domain::statement::StatementStatus;
use apportion::jobs::settle::{SettleError, SettleRequest, settle_known};
use apportion::jobs::statements::{approve, issue, waive};
use apportion::store::books::{StatementFilter, list_statements, load_books};
use sqlx::PgConnection;

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
            let next = |period| contract.head.settlement.next(period);
            let open = books.closed.last().map_or_else(|| contract.first_period(), |closed| next(*closed));
            let mut at = open.filter(|open| *open < period);
            while let Some(earlier) = at.filter(|earlier| *earlier < period) {
                if let Some(settlement) = settled(&mut tx, contract, earlier, cutoff).await? {
                    issue_all(&mut tx, id, earlier).await?;
                    settlements.extend(Some(settlement).filter(|it| !it.booked.is_empty()));
                }
                at = next(earlier);
            }
        }
        match settled(&mut tx, contract, period, cutoff).await? {
            Some(settlement) => settlements.push(settlement),
            None => _ = self.not_agreed.lock().expect("a set").insert((id.clone(), period)),
        }
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
        if self.not_agreed.lock().expect("a set").contains(&(contract.head.id.clone(), period)) {
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
        booked_in_all(id, &load_books(&mut conn, id, None).await.expect("the books").booked)
    }
}

/// Settles a period; none where nothing was agreed of it yet, as known at the cutoff.
async fn settled(
    conn: &mut PgConnection,
    contract: &Contract,
    period: Period,
    cutoff: Instant,
) -> Result<Option<Settlement>, SettleError> {
    let request = SettleRequest {
        contract: contract.head.id.clone(),
        period,
        cutoff: Some(cutoff),
        by: "ana".into(),
        keep_approvals: false,
    };
    let report = match settle_known(conn, &request, cutoff).await {
        Ok(report) => report,
        Err(error) if is_not_agreed(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Settlement { period: period.to_string(), booked: booked(contract, &report.lines) }))
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
