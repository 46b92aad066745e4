//! `/contracts/{contract}/settlements`: settle a period.

use crate::domain::calendar::Period;
use crate::domain::ids::ContractId;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Instant;
use crate::http::HttpState;
use crate::http::auth::Settler;
use crate::http::idempotency::Write;
use crate::http::input::{InstantOrDate, Json, Path, parse};
use crate::http::problem::{Problem, Problems, WriteProblems};
use crate::jobs::settle::{SettleReport, SettleRequest, settle_known};
use crate::store::access::Signature;
use crate::store::recording::watermark;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSettlement {
    /// Such as 2026-05, of the contract's length.
    #[schema(value_type = Period)]
    period: String,
    /// An instant, or a date for its first one in UTC. Nothing recorded later is seen; without it, everything recorded by
    /// now. One within the period tells what it comes to so far: such statements cannot be issued.
    cutoff: Option<InstantOrDate>,
}

/// What a settlement did.
#[derive(Serialize, ToSchema)]
pub struct Settlement {
    contract: ContractId,
    period: Period,
    #[schema(value_type = String, format = DateTime)]
    cutoff: Instant,
    /// What was booked: nothing on a rerun without news.
    lines: Vec<BookedLine>,
    /// The numbers of the statements that were drafted.
    statements: Vec<i64>,
    /// Those of them that had been approved: they have to be approved anew.
    approvals_lost: Vec<i64>,
    /// The numbers of the period's statements that say the same as before, or were issued: they stand.
    unchanged: Vec<i64>,
    /// Events that count nowhere until a mapping knows them.
    unresolved_events: i64,
    /// Those of them that the issue of the statements waits for: nobody waived them.
    unwaived_events: i64,
    /// How many deductions reduce nothing yet, as what they name is not known.
    waiting_records: usize,
}

/// A rounded amount that was booked: positive where the payer owes the payee.
#[derive(Serialize, ToSchema)]
struct BookedLine {
    term: String,
    payer: String,
    payee: String,
    #[serde(flatten)]
    unit: Unit,
    origin_period: Period,
    amount: Exact,
}

impl Settlement {
    fn new(contract: ContractId, period: Period, report: SettleReport) -> Self {
        let lines = report.lines.into_iter().map(|line| BookedLine {
            term: line.term.to_string(),
            payer: line.payer.to_string(),
            payee: line.payee.to_string(),
            unit: line.unit,
            origin_period: line.origin,
            amount: line.amount,
        });
        Self {
            contract,
            period,
            cutoff: report.cutoff,
            lines: lines.collect(),
            statements: report.drafted.iter().map(|(id, _)| *id).collect(),
            approvals_lost: report.approvals_lost,
            unchanged: report.unchanged.iter().map(|head| head.statement_id).collect(),
            unresolved_events: report.unresolved.iter().map(|usage| usage.events).sum(),
            unwaived_events: report.unwaived_events,
            waiting_records: report.waiting_records.len(),
        }
    }
}

/// Settle a period
///
/// Books what differs from the books, and drafts the statements. The key's holder is the maker of the drafts.
#[utoipa::path(
    post, path = "/api/v1/contracts/{contract}/settlements", tag = "statements", security(("key" = ["settle"])),
    params(("contract" = String, Path, description = "The contract's id"), super::WriteHeaders),
    request_body = NewSettlement,
    responses((status = 200, description = "What was done", body = Settlement), Problems, WriteProblems),
)]
pub async fn settle(
    Settler(caller): Settler,
    State(state): State<HttpState>,
    Path(contract): Path<String>,
    write: Write,
    Json(wanted): Json<NewSettlement>,
) -> Result<Response, Problem> {
    let request = SettleRequest {
        contract: ContractId::new(contract),
        period: parse("period", &wanted.period)?,
        cutoff: wanted.cutoff.map(|it| it.0),
        by: Signature::from(&caller),
        keep_approvals: false,
    };
    let watermark = watermark(&state.writes).await?;
    let mut writing = write.begin().await?;
    let report = settle_known(&mut *writing, &request, watermark).await?;
    writing.end(axum::Json(Settlement::new(request.contract, request.period, report))).await
}
