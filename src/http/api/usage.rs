//! `/usage`: sums, and what became of what was reported.

use crate::domain::outcome::Outcome;
use crate::domain::period::{Instant, Span, start_of_hour};
use crate::http::HttpState;
use crate::http::auth::{InsideReader, Reader};
use crate::http::input::{InstantOrDate, Query};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{Problem, Problems};
use crate::sources::cloudevents;
use crate::store::usage_reports::{self, ConflictLine, RejectionLine, Standing, UnresolvedLine};
use crate::store::usage_sums::{Bucket, UsageFilter, UsageKey, UsageSum, usage_sums};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A stretch of time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpanParams {
    /// The first instant, a whole hour, or a date for its first instant in UTC.
    #[param(example = "2026-05-01T00:00:00Z")]
    from: InstantOrDate,
    /// The end, exclusive, a whole hour or a date as well.
    #[param(example = "2026-06-01")]
    to: InstantOrDate,
}

impl SpanParams {
    /// The span.
    ///
    /// # Errors
    /// It is empty, or does not begin and end at whole hours: usage is summed by the hour.
    pub fn span(&self) -> Result<Span, Problem> {
        let (InstantOrDate(start), InstantOrDate(end)) = (self.from, self.to);
        if end <= start {
            return Err(Problem::bad_request("to: it has to come after from"));
        }
        match [start, end].into_iter().find(|at| start_of_hour(*at) != *at) {
            Some(at) => Err(Problem::bad_request(format!("{at} is no whole hour; usage is summed by the hour"))),
            None => Ok(Span { start, end }),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Into what the span is divided; one sum where it is left out.
    #[serde(default)]
    #[param(inline)]
    bucket: Bucket,
    cloud: Option<String>,
    channel: Option<String>,
    deployment: Option<String>,
    product: Option<String>,
    meter: Option<String>,
}

/// Sum usage
///
/// Of deployments that the register knows, after corrections and voids. The first page is as known now, and the pages
/// that lead on from it as known then (`known_at`): together they are one answer, whatever comes in meanwhile.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "usage", security(("key" = ["read"])),
    params(SpanParams, Filter, PageParams),
    responses(
        (status = 200, description = "By bucket, cloud, channel, deployment, product, service tier and meter", body = Page<UsageSum>),
        Problems,
    ),
)]
pub async fn sums(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Query(span): Query<SpanParams>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let (limit, span) = (page.limit()?, span.span()?);
    let (known_at, after) = super::as_known::<UsageKey>(&state, page.cursor()?).await?;
    let filter = UsageFilter {
        span,
        bucket: filter.bucket,
        cloud: filter.cloud,
        channel: filter.channel,
        deployment: filter.deployment,
        product: filter.product,
        meter: filter.meter,
        known_at,
        after,
        limit: usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1),
    };
    let mut conn = caller.read(&state.reads).await?;
    let sums = usage_sums(&mut conn, &filter).await?;
    Page::cut(sums, limit, |sum| (known_at, sum.key())).with_known_at(known_at).respond(&wanted)
}

/// How many messages had an outcome.
#[derive(Serialize, ToSchema)]
pub struct OutcomeCount {
    outcome: &'static str,
    messages: u64,
}

impl From<(Outcome, u64)> for OutcomeCount {
    fn from((outcome, messages): (Outcome, u64)) -> Self {
        Self { outcome: outcome.name(), messages }
    }
}

/// Count messages by outcome
///
/// Every message that was ever recorded, by what became of it when it came; one that came again counts again.
#[utoipa::path(
    get, path = "/api/v1/usage/outcomes", tag = "usage", security(("key" = ["read"])),
    responses((status = 200, description = "Each outcome with its count", body = Page<OutcomeCount>), Problems),
)]
pub async fn outcomes(
    _reader: InsideReader,
    State(state): State<HttpState>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let counts = usage_reports::outcomes(&state.reads).await?;
    Page::whole(counts.iter().map(OutcomeCount::from).collect()).respond(&wanted)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RejectionFilter {
    /// Such as unknown_field.
    reason: Option<String>,
}

/// List rejected messages
///
/// The newest first; without their content. One that was read several times, at the same place, is listed once, as it was
/// rejected last, with how often and with what became of it since.
#[utoipa::path(
    get, path = "/api/v1/usage/rejections", tag = "usage", security(("key" = ["read"])),
    params(RejectionFilter, PageParams),
    responses((status = 200, description = "Where each stands, and why it was rejected", body = Page<RejectionLine>), Problems),
)]
pub async fn rejections(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(filter): Query<RejectionFilter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let (reason, more) = (filter.reason.as_deref(), limit.saturating_add(1));
    let lines = usage_reports::rejections(&state.reads, reason, page.cursor()?, more).await?;
    Page::cut(lines, limit, |line| line.rejection_id).respond(&wanted)
}

/// Another content that was reported under an id that is taken, and what stands for it.
#[derive(Serialize, ToSchema)]
pub struct Conflict {
    /// Of the last time that it was read.
    conflict_id: i64,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Instant,
    /// How many times it was read where it stands.
    times: i64,
    /// Where the second one stands: topic/partition@offset, file:line or request.
    position: String,
    source: String,
    event_id: String,
    /// What was reported under an id that stands for something else already: kept, never counted.
    #[schema(value_type = Object)]
    reported: Value,
    /// What stands for that id: what was reported first; null where that is archived, or a record beside usage.
    #[schema(value_type = Option<Object>)]
    stands: Option<Value>,
    /// Whether an event that is archived has the id.
    is_archived: bool,
}

impl Conflict {
    fn new(line: ConflictLine) -> Result<Self, serde_json::Error> {
        Ok(Self {
            conflict_id: line.conflict_id,
            recorded_at: line.recorded_at,
            times: line.times,
            position: line.position,
            source: line.source,
            event_id: line.event_id,
            reported: line.reported,
            is_archived: line.stands == Standing::Archived,
            stands: match line.stands {
                Standing::Usage(message) => Some(serde_json::from_slice(&cloudevents::encode(&message))?),
                Standing::Archived | Standing::Record => None,
            },
        })
    }
}

/// List conflicts
///
/// The newest first. One that was read several times, at the same place, is listed once, as it was read last.
#[utoipa::path(
    get, path = "/api/v1/usage/conflicts", tag = "usage", security(("key" = ["read"])), params(PageParams),
    responses((status = 200, description = "What was reported under an id that stands already", body = Page<Conflict>), Problems),
)]
pub async fn conflicts(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let lines = usage_reports::conflicts(&state.reads, page.cursor()?, limit.saturating_add(1)).await?;
    let conflicts: Result<Vec<Conflict>, _> = lines.into_iter().map(Conflict::new).collect();
    let conflicts = conflicts.map_err(|error| Problem::internal(&error))?;
    Page::cut(conflicts, limit, |conflict| conflict.conflict_id).respond(&wanted)
}

/// List unresolved usage
///
/// Usage whose deployment or product no register names: it counts nowhere yet, and blocks the issue of statements.
#[utoipa::path(
    get, path = "/api/v1/usage/unresolved", tag = "usage", security(("key" = ["read"])), params(PageParams),
    responses((status = 200, description = "By source, deployment and product", body = Page<UnresolvedLine>), Problems),
)]
pub async fn unresolved(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let (limit, after) = (page.limit()?, page.cursor()?);
    let lines = usage_reports::unresolved(&state.reads, after.as_ref(), Some(limit.saturating_add(1))).await?;
    Page::cut(lines, limit, UnresolvedLine::key).respond(&wanted)
}
