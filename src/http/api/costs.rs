//! `/costs`: what clouds report that they charged, as it is held.

use crate::domain::cloud_cost::{HeldCosts, HeldCostsKey};
use crate::domain::period::Instant;
use crate::http::HttpState;
use crate::http::auth::InsideReader;
use crate::http::input::{InstantOrDate, Query};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{ConflictProblem, Problem, Problems};
use crate::jobs::findings::known_by;
use crate::store::costs::{HeldCostsFilter, load_held};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// As the reports call it, such as AWS.
    provider: Option<String>,
    /// As known at this instant, or at the first one of a date in UTC; now where it is left out.
    known_at: Option<InstantOrDate>,
}

/// List cloud costs
///
/// What the clouds' own reports (FOCUS) state by provider, billing account, billing period and currency, as known at one
/// instant on all pages. Of the reports of an account and period the one recorded last holds.
#[utoipa::path(
    get, path = "/api/v1/costs", tag = "costs", security(("key" = ["read"])), params(Filter, PageParams),
    responses(
        (status = 200, description = "By provider, billing account, billing period and currency", body = Page<HeldCosts>),
        Problems, ConflictProblem,
    ),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let (cursor_known_at, after) = page.cursor::<(Instant, HeldCostsKey)>()?.unzip();
    let known_at = known_by(&state.reads, cursor_known_at.or(filter.known_at.map(|it| it.0))).await?;
    let more = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let filter = HeldCostsFilter { provider: filter.provider, after, limit: Some(more), ..HeldCostsFilter::default() };
    let held = load_held(&mut *state.reads.acquire().await?, &filter, known_at).await?;
    Page::cut(held, limit, |it| (known_at, it.key())).with_known_at(known_at).respond(&wanted)
}
