//! `/statements`: read, explain, approve, issue, agree, dispute, pay.

use crate::domain::explain::settled::Wanted as WantedLines;
use crate::domain::explain::{Depth, Question};
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::statement::Statement;
use crate::http::HttpState;
use crate::http::auth::{Approver, InsideReader, Reader, Replier};
use crate::http::idempotency::Write;
use crate::http::input::{Json, Path, Query, Seen, parse};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{ChangedProblem, Problem, Problems, RunProblems, WriteProblems};
use crate::jobs::explain::{ExplainedStatement, explain_statement};
use crate::jobs::statements::{self, Actor, Reply, StatementError, StatementRecord};
use crate::store::access::{Caller, Signature, look_away};
use crate::store::books::{StatementFilter, StatementHead, list_statements};
use crate::store::statement_statuses::StatusChange;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use utoipa::{IntoParams, IntoResponses, ToSchema};

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

/// How many parts of one amount an explanation tells at most.
const MAX_PARTS: usize = 10_000;
const EVENTS_SINCE_CUTOFF: HeaderName = HeaderName::from_static("events-since-cutoff");

/// The statement of a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StatementPath {
    /// The statement's number.
    pub id: i64,
}

/// A statement as it stands, with its document.
#[derive(Serialize, ToSchema)]
pub struct StatementDetail {
    #[serde(flatten)]
    head: StatementHead,
    /// The statuses that it had, in their order; to a partner's key those since its issue.
    history: Vec<StatusChange>,
    /// Events up to the period's end, of any source, whose deployment or product no mapping knew when it was drawn
    /// up. They are ours to resolve: a partner's key is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved_events: Option<i64>,
    /// Those of them that its issue waits for: nobody waived them.
    #[serde(skip_serializing_if = "Option::is_none")]
    unwaived_events: Option<i64>,
    /// Byte for byte what `sha256` is the digest of.
    #[schema(value_type = Statement)]
    statement: Box<RawValue>,
}

/// The statement, with its tag.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of the statement")]
enum Answered {
    #[response(
        status = 200,
        description = "The statement as it stands then; `ETag` is what `If-Match` of a change takes",
        headers(("Events-Since-Cutoff" = i64, description = "Events of the period that came in since the statement's \
            cutoff, to the hour, until it is issued: another settlement takes them in, else they are booked in the next \
            period. Beside the statement and its `ETag`, with 304, too; a partner's key is not told"))
    )]
    Statement(#[to_schema] StatementDetail),
}

/// What a caller may see of a statement.
async fn detail(caller: &Caller, conn: &mut PgConnection, id: i64) -> Result<Response, Problem> {
    caller.look(conn).await?;
    let StatementRecord { head, document, mut history } = statements::read(conn, id).await?;
    look_away(conn).await?;
    if caller.party.is_some() {
        // Who may do what with us is not theirs to know: they are told the ids of their own keys alone.
        let others = history.iter_mut().filter(|change| change.party != caller.party);
        others.for_each(|change| change.key_id = None);
    }
    let (mut unresolved, mut events_since_cutoff) = (None, None);
    if caller.party.is_none() {
        unresolved = Some(statements::unresolved_events(conn, &head).await?);
        events_since_cutoff = statements::events_since_cutoff(conn, &head).await?;
    }
    let tag = format!("\"{}\"", head.tag());
    let statement = RawValue::from_string(document).map_err(StatementError::from)?;
    let (unresolved_events, unwaived_events) = unresolved.map(|it| (it.events, it.unwaived)).unzip();
    let detail = StatementDetail { head, history, unresolved_events, unwaived_events, statement };
    let mut answer = ([(header::ETAG, tag)], axum::Json(detail)).into_response();
    // A header, as usage comes in beside the statement: what has the same tag has the same content.
    answer.headers_mut().extend(events_since_cutoff.map(|events| (EVENTS_SINCE_CUTOFF, events.into())));
    Ok(answer)
}

/// Read a statement
#[utoipa::path(
    get, path = "/api/v1/statements/{id}", tag = "statements", security(("key" = ["read"])),
    params(StatementPath), responses(Answered, Problems),
)]
pub async fn show(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(StatementPath { id }): Path<StatementPath>,
) -> Result<Response, Problem> {
    detail(&caller, &mut *caller.read(&state.reads).await?, id).await
}

/// Of which lines, and how far down.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplanationParams {
    /// The lines of this term alone.
    term: Option<String>,
    /// The lines that arose in this period alone, such as 2026-05.
    origin: Option<String>,
    /// To quantities by price (sums, unless stated), or to single events and records (events).
    #[param(inline)]
    depth: Option<Depth>,
    /// How many parts of one amount are told by themselves, 20 unless stated; the others are summed.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

/// Explain a statement
///
/// Each line taken apart: from the booked amount through rounding, cap, rate, base, prices and quantities down to
/// events and records, with the clause behind it. Parts sum exactly to the amount above them, times its factor where
/// it has one. All of it is as known at the statement's cutoff.
#[utoipa::path(
    get, path = "/api/v1/statements/{id}/explanation", tag = "statements", security(("key" = ["read"])),
    params(StatementPath, ExplanationParams),
    responses((status = 200, description = "A tree for each line", body = ExplainedStatement), Problems, RunProblems),
)]
pub async fn explanation(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Path(StatementPath { id }): Path<StatementPath>,
    Query(params): Query<ExplanationParams>,
) -> Result<axum::Json<ExplainedStatement>, Problem> {
    let origin = params.origin.map(|text| parse("origin", &text)).transpose()?;
    let wanted = WantedLines { term: params.term.map(TermId::new), origin };
    let limit = params.limit.unwrap_or(Question::USUAL_LIMIT);
    if !(1..=MAX_PARTS).contains(&limit) {
        return Err(Problem::bad_request(format!("limit: write a number from 1 to {MAX_PARTS}")));
    }
    let question = Question { depth: params.depth.unwrap_or_default(), limit };
    Ok(axum::Json(explain_statement(&state.reads, id, &wanted, question).await?))
}

/// Approve a draft
///
/// Not by the one who made it. With `If-Match`, only what the caller saw is approved.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/approve", tag = "statements", security(("key" = ["approve"])),
    params(StatementPath, super::WriteHeaders, super::MatchHeader),
    responses(Answered, Problems, WriteProblems, ChangedProblem),
)]
pub async fn approve(
    Approver(caller): Approver,
    Path(StatementPath { id }): Path<StatementPath>,
    Seen(seen): Seen,
    write: Write,
) -> Result<Response, Problem> {
    let mut writing = write.begin().await?;
    statements::approve(&mut *writing, id, Actor { by: Signature::from(&caller), seen: seen.as_deref() }).await?;
    let answer = detail(&caller, &mut writing, id).await?;
    writing.end(answer).await
}

/// Issue an approved statement
///
/// This closes its period: news that comes later is booked in the next one.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/issue", tag = "statements", security(("key" = ["approve"])),
    params(StatementPath, super::WriteHeaders, super::MatchHeader),
    responses(Answered, Problems, WriteProblems, ChangedProblem),
)]
pub async fn issue(
    Approver(caller): Approver,
    Path(StatementPath { id }): Path<StatementPath>,
    Seen(seen): Seen,
    write: Write,
) -> Result<Response, Problem> {
    let mut writing = write.begin().await?;
    statements::issue(&mut *writing, id, Actor { by: Signature::from(&caller), seen: seen.as_deref() }).await?;
    let answer = detail(&caller, &mut writing, id).await?;
    writing.end(answer).await
}

/// Why a party replies so to a statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementReason {
    #[schema(min_length = 1, max_length = 2000, pattern = "[^ ]")]
    reason: String,
}

async fn replied(
    caller: &Caller,
    write: Write,
    id: i64,
    reply: Reply,
    seen: Option<&[String]>,
    StatementReason { reason }: &StatementReason,
) -> Result<Response, Problem> {
    let reason = super::stated(reason)?;
    let mut writing = write.begin().await?;
    // To what a partner may not see it may not reply either: the database says which that is.
    detail(caller, &mut writing, id).await?;
    statements::reply(&mut *writing, id, reply, Actor { by: Signature::from(caller), seen }, &reason).await?;
    let answer = detail(caller, &mut writing, id).await?;
    writing.end(answer).await
}

/// Agree to an issued statement
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/agree", tag = "statements", security(("key" = ["approve"])),
    params(StatementPath, super::WriteHeaders, super::MatchHeader), request_body = StatementReason,
    responses(Answered, Problems, WriteProblems, ChangedProblem),
)]
pub async fn agree(
    Replier(caller): Replier,
    Path(StatementPath { id }): Path<StatementPath>,
    Seen(seen): Seen,
    write: Write,
    Json(reason): Json<StatementReason>,
) -> Result<Response, Problem> {
    replied(&caller, write, id, Reply::Agree, seen.as_deref(), &reason).await
}

/// Dispute an issued statement
///
/// Its content stays, and so do its invoices: what was wrong is booked in a later period.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/dispute", tag = "statements", security(("key" = ["approve"])),
    params(StatementPath, super::WriteHeaders, super::MatchHeader), request_body = StatementReason,
    responses(Answered, Problems, WriteProblems, ChangedProblem),
)]
pub async fn dispute(
    Replier(caller): Replier,
    Path(StatementPath { id }): Path<StatementPath>,
    Seen(seen): Seen,
    write: Write,
    Json(reason): Json<StatementReason>,
) -> Result<Response, Problem> {
    replied(&caller, write, id, Reply::Dispute, seen.as_deref(), &reason).await
}

/// Note that a statement which was agreed to is paid
///
/// Then it is settled.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/pay", tag = "statements", security(("key" = ["approve"])),
    params(StatementPath, super::WriteHeaders, super::MatchHeader), request_body = StatementReason,
    responses(Answered, Problems, WriteProblems, ChangedProblem),
)]
pub async fn pay(
    Approver(caller): Approver,
    Path(StatementPath { id }): Path<StatementPath>,
    Seen(seen): Seen,
    write: Write,
    Json(reason): Json<StatementReason>,
) -> Result<Response, Problem> {
    replied(&caller, write, id, Reply::Pay, seen.as_deref(), &reason).await
}
