//! `/backfills`: files of usage that were taken in, and perhaps taken back, as one.

use super::usage::OutcomeCount;
use crate::http::HttpState;
use crate::http::auth::InsideReader;
use crate::http::input::{Path, Query};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{Problem, Problems};
use crate::store::backfills::{Backfill, BackfillChange, BackfillFilter, load_backfills, load_whole};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// List backfills
///
/// The newest first.
#[utoipa::path(
    get, path = "/api/v1/backfills", tag = "backfills", security(("key" = ["read"])), params(PageParams),
    responses((status = 200, description = "How far each is, by whom and why", body = Page<Backfill>), Problems),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let filter = BackfillFilter { name: None, before: page.cursor()?, limit: Some(limit.saturating_add(1)) };
    let backfills = load_backfills(&mut *state.reads.acquire().await?, &filter).await?;
    Page::cut(backfills, limit, |backfill| backfill.id.0).respond(&wanted)
}

/// A backfill, with what became of it.
#[derive(Serialize, ToSchema)]
pub struct BackfillDetail {
    #[serde(flatten)]
    backfill: Backfill,
    /// Who set which status when, and why, in their order.
    history: Vec<BackfillChange>,
    /// What became of the messages of its file.
    outcomes: Vec<OutcomeCount>,
}

/// Read a backfill
#[utoipa::path(
    get, path = "/api/v1/backfills/{name}", tag = "backfills", security(("key" = ["read"])),
    params(("name" = String, Path, description = "The backfill's name")),
    responses((status = 200, description = "The backfill", body = BackfillDetail), Problems),
)]
pub async fn show(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Path(name): Path<String>,
) -> Result<Json<BackfillDetail>, Problem> {
    let found = load_whole(&state.reads, &name).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no backfill \"{name}\"")));
    let (backfill, history, counts) = found?;
    Ok(Json(BackfillDetail { backfill, history, outcomes: counts.iter().map(OutcomeCount::from).collect() }))
}
