//! `/charges`: rated usage.

use super::usage::SpanParams;
use crate::http::HttpState;
use crate::http::auth::InsideReader;
use crate::http::input::Query;
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{Problem, Problems};
use crate::jobs::charges::{ChargeKey, ChargeSum, charges};
use axum::extract::State;
use axum::response::Response;

/// Sum charges
///
/// Usage at the prices in force, unrounded; without an amount where no price is in force, and without usage that nobody
/// charges for. A charge is of no contract: several may share it, each by bases of its own, and the parts of a
/// statement's lines tell what of it they count. The first page is as known now, and the pages that lead on from it
/// as known then (`known_at`).
#[utoipa::path(
    get, path = "/api/v1/charges", tag = "charges", security(("key" = ["read"])), params(SpanParams, PageParams),
    responses((status = 200, description = "By cloud, channel, seller, product, meter and currency", body = Page<ChargeSum>), Problems),
)]
pub async fn list(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(span): Query<SpanParams>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let (limit, span) = (page.limit()?, span.span()?);
    let (known_at, after) = super::as_known::<ChargeKey>(&state, page.cursor()?).await?;
    // There are few sums, of much usage that each of them may rest on: a page is cut from all of them.
    let mut sums = charges(&state.reads, span, known_at).await?;
    sums.retain(|sum| after.as_ref().is_none_or(|after| sum.key() > *after));
    Page::cut(sums, limit, |sum| (known_at, sum.key())).with_known_at(known_at).respond(&wanted)
}
