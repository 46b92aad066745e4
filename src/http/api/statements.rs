//! `/statements`: read, approve, issue, agree, dispute, settle.

use crate::domain::ids::{ContractId, PartyId};
use crate::domain::statement::Statement;
use crate::http::HttpState;
use crate::http::auth::{Answerer, Approver, Reader};
use crate::http::input::{Json, Path, Query, Seen, parse};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{Problem, Problems, WriteProblems};
use crate::jobs::statements::{self, Actor, Answer};
use crate::store::access::Caller;
use crate::store::books::{StatementFilter, StatementHead, list_statements};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    contract: Option<String>,
    /// One of the two parties.
    party: Option<String>,
    /// Such as 2026-05.
    period: Option<String>,
    /// draft, approved, issued, agreed, disputed or settled.
    status: Option<String>,
}

/// List statements
#[utoipa::path(
    get, path = "/api/v1/statements", tag = "statements", security(("key" = ["read"])),
    params(Filter, PageParams),
    responses((status = 200, description = "By number, rising", body = Page<StatementHead>), Problems),
)]
pub async fn list(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let filter = StatementFilter {
        contract: filter.contract.map(ContractId::new),
        party: filter.party.map(PartyId::new),
        period: filter.period.map(|text| parse("period", &text)).transpose()?,
        status: filter.status.map(|text| parse("status", &text)).transpose()?,
        after: page.cursor()?,
        limit: Some(limit.saturating_add(1)),
    };
    let mut conn = caller.read(&state.reads).await?;
    let heads = list_statements(&mut conn, &filter).await?;
    Page::cut(heads, limit, |head| head.statement_id).respond(&wanted)
}

/// A statement as it stands, with its document.
#[derive(Serialize, ToSchema)]
pub struct StatementDetail {
    #[serde(flatten)]
    head: StatementHead,
    /// Byte for byte what `sha256` is the digest of.
    #[schema(value_type = Statement)]
    statement: Box<RawValue>,
}

async fn detail(caller: &Caller, state: &HttpState, id: i64) -> Result<Response, Problem> {
    let mut conn = caller.read(&state.reads).await?;
    let (head, document) = statements::document(&mut conn, id).await?;
    let tag = format!("\"{}\"", head.tag());
    let statement = RawValue::from_string(document).map_err(statements::StatementError::from)?;
    Ok(([(header::ETAG, tag)], axum::Json(StatementDetail { head, statement })).into_response())
}

/// Read a statement
///
/// Its `ETag` is what `If-Match` of a change takes.
#[utoipa::path(
    get, path = "/api/v1/statements/{id}", tag = "statements", security(("key" = ["read"])),
    params(("id" = i64, Path, description = "The statement's number")),
    responses((status = 200, description = "The statement", body = StatementDetail), Problems),
)]
pub async fn show(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    detail(&caller, &state, id).await
}

/// Approve a draft
///
/// Not by the one who made it. With `If-Match`, only what the caller saw is approved.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/approve", tag = "statements", security(("key" = ["approve"])),
    params(("id" = i64, Path, description = "The statement's number"), super::WriteHeaders, super::MatchHeader),
    responses((status = 200, description = "The statement, approved", body = StatementDetail), Problems, WriteProblems),
)]
pub async fn approve(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
    Seen(seen): Seen,
) -> Result<Response, Problem> {
    statements::approve(&state.pool, id, Actor { by: &caller.holder, seen: seen.as_deref() }).await?;
    detail(&caller, &state, id).await
}

/// Issue an approved statement
///
/// This closes its period: news that comes later is booked in the next one.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/issue", tag = "statements", security(("key" = ["approve"])),
    params(("id" = i64, Path, description = "The statement's number"), super::WriteHeaders, super::MatchHeader),
    responses((status = 200, description = "The statement, issued", body = StatementDetail), Problems, WriteProblems),
)]
pub async fn issue(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
    Seen(seen): Seen,
) -> Result<Response, Problem> {
    statements::issue(&state.pool, id, Actor { by: &caller.holder, seen: seen.as_deref() }).await?;
    detail(&caller, &state, id).await
}

/// Why a statement is answered so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[schema(min_length = 1, pattern = "[^ ]")]
    reason: String,
}

async fn answered(
    caller: &Caller,
    state: &HttpState,
    id: i64,
    answer: Answer,
    seen: Option<&str>,
    Reason { reason }: &Reason,
) -> Result<Response, Problem> {
    let reason = super::stated(reason)?;
    // What a partner may not see it may not answer either: the database says which that is.
    statements::document(&mut *caller.read(&state.reads).await?, id).await?;
    statements::answer(&state.pool, id, answer, Actor { by: &caller.holder, seen }, &reason).await?;
    detail(caller, state, id).await
}

/// Agree to an issued statement
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/agree", tag = "statements", security(("key" = ["approve"])),
    params(("id" = i64, Path, description = "The statement's number"), super::WriteHeaders, super::MatchHeader),
    request_body = Reason,
    responses((status = 200, description = "The statement, agreed", body = StatementDetail), Problems, WriteProblems),
)]
pub async fn agree(
    Answerer(caller): Answerer,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
    Seen(seen): Seen,
    Json(reason): Json<Reason>,
) -> Result<Response, Problem> {
    answered(&caller, &state, id, Answer::Agree, seen.as_deref(), &reason).await
}

/// Dispute an issued statement
///
/// Its content stays: what was wrong is booked in a later period.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/dispute", tag = "statements", security(("key" = ["approve"])),
    params(("id" = i64, Path, description = "The statement's number"), super::WriteHeaders, super::MatchHeader),
    request_body = Reason,
    responses((status = 200, description = "The statement, disputed", body = StatementDetail), Problems, WriteProblems),
)]
pub async fn dispute(
    Answerer(caller): Answerer,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
    Seen(seen): Seen,
    Json(reason): Json<Reason>,
) -> Result<Response, Problem> {
    answered(&caller, &state, id, Answer::Dispute, seen.as_deref(), &reason).await
}

/// Note that a statement which was agreed to is paid
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/settle", tag = "statements", security(("key" = ["approve"])),
    params(("id" = i64, Path, description = "The statement's number"), super::WriteHeaders, super::MatchHeader),
    request_body = Reason,
    responses((status = 200, description = "The statement, settled", body = StatementDetail), Problems, WriteProblems),
)]
pub async fn settle(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(id): Path<i64>,
    Seen(seen): Seen,
    Json(reason): Json<Reason>,
) -> Result<Response, Problem> {
    answered(&caller, &state, id, Answer::Settle, seen.as_deref(), &reason).await
}
