//! `/findings`: usage that breaks rights, and what people decide on it.

use crate::domain::findings::Verdict;
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use crate::http::HttpState;
use crate::http::auth::{Approver, InsideReader};
use crate::http::idempotency::Write;
use crate::http::input::{Json, Path, Query, parse};
use crate::http::problem::{ConflictProblem, Problem, Problems, WriteProblems};
use crate::jobs::findings::{self, DecideRequest, Decided, FindingDetails, FindingFilter, FindingList};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    contract: Option<String>,
    /// Such as 2026-05.
    period: Option<String>,
    /// As known at this instant; now where it is left out.
    #[param(value_type = Option<String>, format = DateTime)]
    known_at: Option<Instant>,
    /// Lists too what was open at this earlier instant and has ended since without a decision.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Instant>,
}

/// List findings
///
/// Groups of usage that breaks a right and that nobody has decided on, and what was decided.
#[utoipa::path(
    get, path = "/api/v1/findings", tag = "findings", security(("key" = ["read"])), params(Filter),
    responses((status = 200, description = "By contract, right, product, deployment and day", body = FindingList), Problems, ConflictProblem),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(filter): Query<Filter>,
) -> Result<axum::Json<FindingList>, Problem> {
    let filter = FindingFilter {
        contract: filter.contract.map(ContractId::new),
        period: filter.period.map(|text| parse("period", &text)).transpose()?,
        known_at: filter.known_at,
        since: filter.since,
    };
    Ok(axum::Json(findings::list(&state.pool, &filter).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KnownAt {
    /// As known at this instant; now where it is left out.
    #[param(value_type = Option<String>, format = DateTime)]
    known_at: Option<Instant>,
}

/// Read a finding
#[utoipa::path(
    get, path = "/api/v1/findings/{finding}", tag = "findings", security(("key" = ["read"])),
    params(("finding" = String, Path, description = "The group's id"), KnownAt),
    responses((status = 200, description = "The group with its evidence", body = FindingDetails), Problems, ConflictProblem),
)]
pub async fn show(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Path(finding): Path<String>,
    Query(KnownAt { known_at }): Query<KnownAt>,
) -> Result<axum::Json<FindingDetails>, Problem> {
    Ok(axum::Json(findings::show(&state.pool, &finding, known_at).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    verdict: Verdict,
    #[schema(min_length = 1, max_length = 2000, pattern = "[^ ]")]
    reason: String,
    /// Covers what was known then, such as when it was looked at; now where it is left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    known_at: Option<Instant>,
}

/// Decide on a finding
///
/// Covers the events that are in the group then: released, what is held counts at its place; rejected, it never does.
/// Events that come later form a new group.
#[utoipa::path(
    post, path = "/api/v1/findings/{finding}/decisions", tag = "findings", security(("key" = ["approve"])),
    params(("finding" = String, Path, description = "The group's id"), super::WriteHeaders),
    request_body = Decision,
    responses((status = 200, description = "What was decided", body = Decided), Problems, WriteProblems),
)]
pub async fn decide(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(finding): Path<String>,
    write: Write,
    Json(decision): Json<Decision>,
) -> Result<Response, Problem> {
    let reason = super::stated(&decision.reason)?;
    let (verdict, known_at) = (decision.verdict, decision.known_at);
    let cutoff = findings::known_by(&state.pool, known_at).await?;
    let request = DecideRequest { finding, verdict, by: caller.holder, reason, known_at };
    let mut writing = write.begin().await?;
    let decided = findings::decide_known(&mut *writing, &request, cutoff).await?;
    writing.end(axum::Json(decided)).await
}
