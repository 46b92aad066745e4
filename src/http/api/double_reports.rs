//! `/findings/double-reports`: replies that more than one event reports, and what people say of them.

use super::findings::KnownAt;
use crate::domain::double_report::DoubleReport;
use crate::domain::period::Instant;
use crate::http::HttpState;
use crate::http::auth::{Approver, InsideReader};
use crate::http::idempotency::Write;
use crate::http::input::{InstantOrDate, Json, Path, Query};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{ConflictProblem, Problem, Problems, WriteProblems};
use crate::jobs::double_reports::{self, DoubleReportDetails, WaiveRequest};
use crate::jobs::findings::{FindingError, known_by};
use crate::store::double_reports::DoubleReportWaiver;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The reply of an id; any other text is the id of none.
fn reply(id: &str, known_at: Instant) -> Result<Uuid, Problem> {
    Uuid::try_parse(id).map_err(|_| FindingError::Unknown { id: id.to_owned(), known_at }.into())
}

/// List open double reports
///
/// Replies of models that more than one event reports, where an event states once more what one before it states, as known
/// at one instant on all pages. All of these events count until somebody voids those that are suspected. A job looks for
/// them each quarter of an hour.
#[utoipa::path(
    get, path = "/api/v1/findings/double-reports", tag = "findings", operation_id = "list_double_reports",
    security(("key" = ["read"])), params(KnownAt, PageParams),
    responses(
        (status = 200, description = "By when it was known", body = Page<DoubleReport>),
        Problems, ConflictProblem,
    ),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(KnownAt { known_at }): Query<KnownAt>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let cursor: Option<(Instant, Instant, String)> = page.cursor()?;
    let known_at = known_by(&state.reads, cursor.as_ref().map(|it| it.0).or(known_at.map(|it| it.0))).await?;
    let after = cursor.map(|(_, since, id)| Ok::<_, Problem>((since, reply(&id, known_at)?))).transpose()?;
    let more = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let open = double_reports::list_open(&state.reads, known_at, after, more).await?;
    let key = |report: &DoubleReport| (known_at, report.known_since, report.id.clone());
    Page::cut(open, limit, key).with_known_at(known_at).respond(&wanted)
}

/// Read a double report
///
/// Open or not: with the events of the reply that stand, and what was said of them.
#[utoipa::path(
    get, path = "/api/v1/findings/double-reports/{report}", tag = "findings", operation_id = "show_double_report",
    security(("key" = ["read"])), params(("report" = String, Path, description = "Its id"), KnownAt),
    responses((status = 200, description = "Its events and waivers", body = DoubleReportDetails), Problems, ConflictProblem),
)]
pub async fn show(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Path(report): Path<String>,
    Query(KnownAt { known_at }): Query<KnownAt>,
) -> Result<axum::Json<DoubleReportDetails>, Problem> {
    let known_at = known_by(&state.reads, known_at.map(|it| it.0)).await?;
    let id = reply(&report, known_at)?;
    Ok(axum::Json(double_reports::show(&state.reads, id, Some(known_at)).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDoubleReportWaiver {
    #[schema(min_length = 1, max_length = 2000, pattern = "[^ ]")]
    reason: String,
    /// Covers what was known then, such as when it was looked at; now where it is left out.
    known_at: Option<InstantOrDate>,
}

/// Waive a double report
///
/// Says that each of its events counts that was known then: they are of several calls, or of replies that are charged
/// each time. One that comes later is suspected anew. Where a call was reported twice indeed, send a void of the event
/// that is suspected instead.
#[utoipa::path(
    post, path = "/api/v1/findings/double-reports/{report}/waivers", tag = "findings",
    operation_id = "waive_double_report", security(("key" = ["approve"])),
    params(("report" = String, Path, description = "Its id"), super::WriteHeaders),
    request_body = NewDoubleReportWaiver,
    responses((status = 200, description = "What was said", body = DoubleReportWaiver), Problems, WriteProblems),
)]
pub async fn waive(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(report): Path<String>,
    write: Write,
    Json(waiver): Json<NewDoubleReportWaiver>,
) -> Result<Response, Problem> {
    let reason = super::stated(&waiver.reason)?;
    let cutoff = known_by(&state.writes, waiver.known_at.map(|it| it.0)).await?;
    let request = WaiveRequest { id: reply(&report, cutoff)?, by: caller.holder, reason };
    let mut writing = write.begin().await?;
    let waiver = double_reports::waive(&mut *writing, &request, cutoff).await?;
    writing.end(axum::Json(waiver)).await
}
