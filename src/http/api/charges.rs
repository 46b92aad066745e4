//! `/charges`: rated usage.

use super::usage::SpanParams;
use crate::http::HttpState;
use crate::http::auth::InsideReader;
use crate::http::input::Query;
use crate::http::listing::{Page, Wanted};
use crate::http::problem::{Problem, Problems};
use crate::jobs::charges::{ChargeSum, charges};
use axum::extract::State;
use axum::response::Response;

/// Sum charges
///
/// Usage at the prices in force, unrounded, as known now; without an amount where no price is in force, and without
/// usage that nobody charges for.
#[utoipa::path(
    get, path = "/api/v1/charges", tag = "charges", security(("key" = ["read"])), params(SpanParams),
    responses(
        (status = 200, description = "By cloud, channel, seller, product, meter and currency", content(
            (Page<ChargeSum> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        Problems,
    ),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(span): Query<SpanParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    Page::whole(charges(&state.pool, span.span()?).await?).respond(&wanted)
}
