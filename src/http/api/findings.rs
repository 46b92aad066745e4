//! `/findings`: usage that breaks rights, and what people decide on it.

use crate::domain::calendar::Period;
use crate::domain::contract::rights::OnBreach;
use crate::domain::findings::{Ended, Finding, GroupKey, Verdict};
use crate::domain::ids::{ContractId, EventId};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::Instant;
use crate::http::HttpState;
use crate::http::auth::{Approver, InsideReader};
use crate::http::idempotency::Write;
use crate::http::input::{InstantOrDate, Json, Path, Query, parse};
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{ConflictProblem, Problem, Problems, WriteProblems};
use crate::jobs::findings::{self, DecideRequest, FindingDetails, FindingFilter};
use crate::store::finding_decisions::{Decision, DecisionFilter, load_decisions};
use axum::extract::State;
use axum::response::Response;
use chrono::Months;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// How far back a list goes that names no period.
const DEFAULT_SPAN: Months = Months::new(12);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    contract: Option<String>,
    /// Of the usage of a month 2026-05, a quarter 2026-Q2 or a year 2026; of the last 12 months where it is left out.
    period: Option<String>,
    /// As known at this instant, or at the first one of a date in UTC; now where it is left out.
    known_at: Option<InstantOrDate>,
}

impl Filter {
    fn at(self, known_at: Instant) -> Result<FindingFilter, Problem> {
        let filter = FindingFilter { contract: self.contract.map(ContractId::new), ..FindingFilter::default() };
        Ok(match self.period {
            Some(text) => filter.in_period(parse("period", &text)?),
            None => FindingFilter { from: known_at.date_naive().checked_sub_months(DEFAULT_SPAN), ..filter },
        })
    }
}

/// Which page is asked for.
struct Asked {
    /// As known then all pages are.
    known_at: Instant,
    /// The page comes after the group of this id.
    after: Option<String>,
    limit: i64,
}

impl Asked {
    async fn new(state: &HttpState, filter: &Filter, page: &PageParams) -> Result<Self, Problem> {
        let limit = page.limit()?;
        let (known_at, after) = page.cursor::<(Instant, String)>()?.unzip();
        let known_at = findings::known_by(&state.reads, known_at.or(filter.known_at.map(|it| it.0))).await?;
        Ok(Self { known_at, after, limit })
    }

    /// The page of a whole list. As known then, the list is what it was for the page before.
    fn page<R: Serialize + ToSchema>(self, mut rows: Vec<R>, id: impl Fn(&R) -> &String) -> Result<Page<R>, Problem> {
        if let Some(after) = &self.after {
            let other = || Problem::bad_request("cursor: it is of a list that was asked for otherwise");
            let place = rows.iter().position(|row| id(row) == after).ok_or_else(other)?;
            rows.drain(..=place);
        }
        Ok(Page::cut(rows, self.limit, |row| (self.known_at, id(row).clone())).with_known_at(self.known_at))
    }
}

/// A group of findings in a list; `/findings/{finding}` has the rest.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingRow {
    id: String,
    #[serde(flatten)]
    key: GroupKey,
    /// `hold` while the usage is left out of the contract's bases.
    on_breach: OnBreach,
    /// How the usage breaks the right.
    why: Vec<String>,
    events: i64,
    #[schema(value_type = String, format = DateTime)]
    first_at: Instant,
    #[schema(value_type = String, format = DateTime)]
    last_at: Instant,
    /// What is charged for it, by currency; nothing for what nobody charges.
    #[schema(value_type = BTreeMap<String, Exact>)]
    amounts: BTreeMap<Currency, Exact>,
    /// Some of it has no price, so that the amounts are too low.
    unpriced: bool,
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        let Finding { id, key, on_breach, why, events, first_at, last_at, amounts, unpriced, .. } = finding;
        Self { id, key, on_breach, why, events, first_at, last_at, amounts, unpriced }
    }
}

/// List open findings
///
/// Groups of usage that breaks a right and that nobody has decided on, as known at one instant on all pages. A key of
/// a party is refused: findings follow from everybody's usage and agreements, which no row policy narrows to a party.
#[utoipa::path(
    get, path = "/api/v1/findings", tag = "findings", security(("key" = ["read"])), params(Filter, PageParams),
    responses(
        (status = 200, description = "By contract, right, product, deployment and day", body = Page<FindingRow>),
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
    let asked = Asked::new(&state, &filter, &page).await?;
    let open = findings::list_open(&state.reads, &filter.at(asked.known_at)?, asked.known_at).await?;
    asked.page(open.into_iter().map(FindingRow::from).collect(), |row| &row.id)?.respond(&wanted)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Since {
    /// What was open at this instant, or at the first one of a date in UTC.
    since: InstantOrDate,
}

/// A group of findings that was open and is no more, though nobody decided: it no longer breaks the right.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedRow {
    id: String,
    #[serde(flatten)]
    key: GroupKey,
    /// How the usage broke the right, as known before.
    why: Vec<String>,
    /// How many events no longer break it.
    events: i64,
    /// The facts about its product that were recorded since; none where a correction or a new version ended it.
    facts: Vec<EventId>,
}

impl From<Ended> for EndedRow {
    fn from(Ended { finding: Finding { id, key, why, events, .. }, facts }: Ended) -> Self {
        Self { id, key, why, events, facts }
    }
}

/// List findings that ended
///
/// What was open and no longer breaks its right, through later facts, corrections or versions, without a decision.
#[utoipa::path(
    get, path = "/api/v1/findings/ended", tag = "findings", security(("key" = ["read"])),
    params(Since, Filter, PageParams),
    responses(
        (status = 200, description = "By contract, right, product, deployment and day", body = Page<EndedRow>),
        Problems, ConflictProblem,
    ),
)]
pub async fn ended(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(Since { since: InstantOrDate(since) }): Query<Since>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let asked = Asked::new(&state, &filter, &page).await?;
    let ended = findings::list_ended(&state.reads, &filter.at(asked.known_at)?, since, asked.known_at).await?;
    asked.page(ended.into_iter().map(EndedRow::from).collect(), |row| &row.id)?.respond(&wanted)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DecisionParams {
    contract: Option<String>,
    /// On usage of a month 2026-05, a quarter 2026-Q2 or a year 2026.
    period: Option<String>,
    /// On this group of findings.
    finding: Option<String>,
}

/// List decisions on findings
///
/// In the order in which they were made.
#[utoipa::path(
    get, path = "/api/v1/findings/decisions", tag = "findings", security(("key" = ["read"])),
    params(DecisionParams, PageParams),
    responses(
        (status = 200, description = "What was decided, by whom and why", body = Page<Decision>),
        Problems,
    ),
)]
pub async fn decisions(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(filter): Query<DecisionParams>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let contract = filter.contract.map(ContractId::new);
    let period: Option<Period> = filter.period.map(|text| parse("period", &text)).transpose()?;
    let filter = DecisionFilter {
        contract: contract.as_ref(),
        from: period.map(|period| period.first_day),
        through: period.map(|period| period.last_day()),
        finding: filter.finding.as_deref(),
        after: page.cursor()?,
        limit: Some(limit.saturating_add(1)),
    };
    let decisions = load_decisions(&state.reads, &filter, None).await?;
    Page::cut(decisions, limit, |decision| decision.decision_id).respond(&wanted)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KnownAt {
    /// As known at this instant, or at the first one of a date in UTC; now where it is left out.
    pub(super) known_at: Option<InstantOrDate>,
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
    Ok(axum::Json(findings::show(&state.reads, &finding, known_at.map(|it| it.0)).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    verdict: Verdict,
    #[schema(min_length = 1, max_length = 2000, pattern = "[^ ]")]
    reason: String,
    /// Covers what was known then, such as when it was looked at; now where it is left out.
    known_at: Option<InstantOrDate>,
}

/// Decide on a finding
///
/// Covers the events that are in the group then: released, what is held counts at its place; rejected, it never does.
/// Events that come later form a new group.
#[utoipa::path(
    post, path = "/api/v1/findings/{finding}/decisions", tag = "findings", security(("key" = ["approve"])),
    params(("finding" = String, Path, description = "The group's id"), super::WriteHeaders),
    request_body = NewDecision,
    responses((status = 200, description = "What was decided", body = Decision), Problems, WriteProblems),
)]
pub async fn decide(
    Approver(caller): Approver,
    State(state): State<HttpState>,
    Path(finding): Path<String>,
    write: Write,
    Json(decision): Json<NewDecision>,
) -> Result<Response, Problem> {
    let reason = super::stated(&decision.reason)?;
    let (verdict, known_at) = (decision.verdict, decision.known_at.map(|it| it.0));
    let cutoff = findings::known_by(&state.writes, known_at).await?;
    let request = DecideRequest { finding, verdict, by: caller.holder, reason, known_at };
    let mut writing = write.begin().await?;
    let decision = findings::decide_known(&mut *writing, &request, cutoff).await?;
    writing.end(axum::Json(decision)).await
}
