//! Findings: lists the usage that breaks rights, as known at an instant, and takes decisions.

use super::contracts::{ContractsError, Known, load};
use super::held::facts;
use super::settle::SettleError;
use super::settlement_input::find_known;
use crate::domain::calendar::Period;
use crate::domain::contract::Contract;
use crate::domain::findings::{Breach, Days, Ended, Finding, Rated, Verdict, breaches, find_group, findings};
use crate::domain::ids::{ContractId, EventId};
use crate::domain::period::{Instant, Span, end_of_day_exclusive, start_of_day};
use crate::domain::record::{Fact, Record, RecordContent, Subject};
use crate::store::StoreError;
use crate::store::finding_decisions::{Decision, DecisionFilter, NewDecision, load_decisions};
use crate::store::findings::{BreachQuery, EventAt};
use crate::store::recording::{self, LockMode};
use crate::store::records::load_records;
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool, Postgres};

/// Which findings to list.
#[derive(Clone, Debug, Default)]
pub struct FindingFilter {
    /// Of this contract alone.
    pub contract: Option<ContractId>,
    /// From this day on, in the zone of each contract.
    pub from: Option<NaiveDate>,
    /// Through this day.
    pub through: Option<NaiveDate>,
}

impl FindingFilter {
    /// Of a period alone.
    pub fn in_period(self, period: Period) -> Self {
        Self { from: Some(period.first_day), through: Some(period.last_day()), contract: self.contract }
    }

    /// The stretch of time that is asked for, as a zone sees it.
    fn span(&self, zone: Tz) -> Span {
        let Span { start, end } = Span::ever();
        Span {
            start: self.from.map_or(start, |day| start_of_day(zone, day)),
            end: self.through.map_or(end, |day| end_of_day_exclusive(zone, day)),
        }
    }
}

/// What is open and what was decided, as known at an instant.
#[derive(Clone, Debug, Serialize)]
pub struct FindingList {
    pub known_at: Instant,
    /// Groups with usage that nobody has decided on, by contract, right, product, deployment and day.
    pub findings: Vec<Finding>,
    pub decisions: Vec<Decision>,
    /// What no longer breaks a right, since the instant that was asked for.
    pub ended: Vec<Ended>,
}

/// One group of findings with its evidence.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FindingDetails {
    #[schema(value_type = String, format = DateTime)]
    pub known_at: Instant,
    /// Absent where all of it is decided on, or no longer breaks the right.
    pub finding: Option<Finding>,
    /// The first and the last event of what is open.
    pub first_and_last: Vec<EventAt>,
    pub decisions: Vec<Decision>,
}

/// What to decide on a group of findings.
#[derive(Clone, Debug)]
pub struct DecideRequest {
    /// The group's id, as it is listed.
    pub finding: String,
    pub verdict: Verdict,
    pub by: String,
    pub reason: String,
    /// Covers what was known then, such as when it was listed; without it, what is known by now.
    pub known_at: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
pub enum FindingError {
    #[error(
        "{known_at} lies after {watermark}, up to which everything is recorded; leave it out, or take an earlier one"
    )]
    NotKnownYet { known_at: Instant, watermark: Instant },
    #[error("no finding {id}, as known at {known_at}")]
    Unknown { id: String, known_at: Instant },
    #[error(
        "finding {id} has ended since {known_at}: facts or corrections that came later leave nothing that breaks the right"
    )]
    Ended { id: String, known_at: Instant },
    #[error(
        "nothing of double report {id} is suspected any more, of what was known at {known_at}: events were voided or \
         corrected, or somebody has waived it"
    )]
    NotDouble { id: String, known_at: Instant },
    #[error("every event of finding {id} is decided on, as known at {known_at}: {by} said {verdict}")]
    Decided { id: String, known_at: Instant, by: String, verdict: Verdict },
    #[error(transparent)]
    Contract(#[from] SettleError),
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for FindingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The instant that was asked for, if everything up to it is recorded; without one, now.
///
/// # Errors
/// It lies ahead.
pub async fn known_by(pool: &PgPool, asked: Option<Instant>) -> Result<Instant, FindingError> {
    // What was handed out before needs no wait for those who record.
    if let Some(known_at) = asked
        && recording::was_handed_out(pool, known_at).await?
    {
        return Ok(known_at);
    }
    let watermark = recording::watermark(pool).await?;
    match asked {
        Some(known_at) if known_at > watermark => Err(FindingError::NotKnownYet { known_at, watermark }),
        Some(known_at) => Ok(known_at),
        None => Ok(watermark),
    }
}

/// Lists the findings that are open, what was decided, and what was open at `since` and has ended without a decision.
///
/// # Errors
/// No such contract, or an instant that lies ahead.
pub async fn list(
    pool: &PgPool,
    filter: &FindingFilter,
    known_at: Option<Instant>,
    since: Option<Instant>,
) -> Result<FindingList, FindingError> {
    let known_at = known_by(pool, known_at).await?;
    let findings = list_open(pool, filter, known_at).await?;
    let ended = match since {
        Some(since) => list_ended(pool, filter, since, known_at).await?,
        None => Vec::new(),
    };
    let FindingFilter { contract, from, through } = filter;
    let decisions =
        DecisionFilter { contract: contract.as_ref(), from: *from, through: *through, ..DecisionFilter::default() };
    let decisions = load_decisions(pool, &decisions, Some(known_at)).await?;
    Ok(FindingList { known_at, findings, decisions, ended })
}

/// Lists the findings that are open, as known at an instant that [`known_by`] gave.
///
/// # Errors
/// No such contract.
pub async fn list_open(pool: &PgPool, filter: &FindingFilter, known_at: Instant) -> Result<Vec<Finding>, FindingError> {
    let mut conn = pool.acquire().await?;
    let now = snapshot_of(&mut conn, filter, known_at).await?;
    let mut found = Vec::new();
    for contract in now.contracts(filter) {
        let within = filter.span(contract.head.zone);
        let breaches = now.breaches(contract, within);
        found.extend(load_open_of(&mut conn, &now, contract, &breaches, within).await?);
    }
    Ok(found)
}

/// Lists what was open at an instant and, as known at one that [`known_by`] gave, has ended without a decision.
///
/// # Errors
/// No such contract.
pub async fn list_ended(
    pool: &PgPool,
    filter: &FindingFilter,
    since: Instant,
    known_at: Instant,
) -> Result<Vec<Ended>, FindingError> {
    let mut conn = pool.acquire().await?;
    let now = snapshot_of(&mut conn, filter, known_at).await?;
    if since >= known_at {
        return Ok(Vec::new());
    }
    let before = snapshot(&mut conn, since).await?;
    Ok(load_ended(&mut conn, filter, &before, &now).await?)
}

/// Shows one group of findings with its evidence and what was decided on it.
///
/// # Errors
/// There is no such group.
pub async fn show(pool: &PgPool, id: &str, known_at: Option<Instant>) -> Result<FindingDetails, FindingError> {
    let known_at = known_by(pool, known_at).await?;
    let mut conn = pool.acquire().await?;
    let (finding, decisions) = find(&mut conn, id, known_at).await?;
    let first_and_last = match &finding {
        Some(finding) => query_of(finding, known_at).load_first_and_last(&mut conn).await?,
        None => Vec::new(),
    };
    Ok(FindingDetails { known_at, finding, first_and_last, decisions })
}

/// Decides on a group of findings: on every event of it that was known by then. Later ones form a new group.
///
/// # Errors
/// There is no such group, all of it is decided on, or it has ended since.
pub async fn decide(pool: &PgPool, request: &DecideRequest) -> Result<Decision, FindingError> {
    let cutoff = known_by(pool, request.known_at).await?;
    decide_known(pool, request, cutoff).await
}

/// As [`decide`], on what was known at an instant that [`known_by`] gave.
///
/// # Errors
/// There is no such group, all of it is decided on, or it has ended since.
#[tracing::instrument(name = "finding.decide", skip_all, fields(finding = request.finding, verdict = %request.verdict))]
pub async fn decide_known<'c>(
    database: impl Acquire<'c, Database = Postgres>,
    request: &DecideRequest,
    cutoff: Instant,
) -> Result<Decision, FindingError> {
    let mut tx = database.begin().await?;
    let (finding, before) = find(&mut tx, &request.finding, cutoff).await?;
    let id = || request.finding.clone();
    let decided = |before: &[Decision]| match before.last() {
        Some(Decision { decided_by, verdict, .. }) => {
            FindingError::Decided { id: id(), known_at: cutoff, by: decided_by.clone(), verdict: *verdict }
        }
        None => FindingError::Unknown { id: id(), known_at: cutoff },
    };
    let Some(finding) = finding else { return Err(decided(&before)) };
    // Alone: two decisions on one group must see each other, and no settlement may have seen this one.
    let recorded_at = recording::lock(&mut tx, LockMode::Exclusive).await?;
    // A release or waiver may have ended it since it was looked at: what breaks no right is not rejected for good.
    let still = match find(&mut tx, &request.finding, recorded_at).await {
        Ok((Some(still), _)) => still,
        Ok((None, since)) if !since.is_empty() => return Err(decided(&since)),
        Ok(_) | Err(FindingError::Unknown { .. }) => return Err(FindingError::Ended { id: id(), known_at: cutoff }),
        Err(error) => return Err(error),
    };
    let DecideRequest { verdict, by, reason, .. } = request;
    let new = NewDecision { finding: &finding, verdict: *verdict, by, reason, recorded_at };
    let now = BreachQuery::new(&finding.key.contract, recorded_at, &still.breaches, Span::ever());
    let Some(decision) = query_of(&finding, cutoff).insert_decision(&mut tx, &new, &now).await? else {
        return Err(decided(&load_decisions(&mut *tx, &decisions_on(&finding.id), Some(recorded_at)).await?));
    };
    tx.commit().await?;
    Ok(decision)
}

/// What is asked about a group: its breaches between its first and its last event.
fn query_of(finding: &Finding, known_at: Instant) -> BreachQuery<'_> {
    // The last event is within: spans are half-open, and instants whole microseconds.
    let last = finding.last_at.checked_add_signed(chrono::TimeDelta::microseconds(1)).unwrap_or(finding.last_at);
    let seen = Span { start: finding.first_at, end: last };
    BreachQuery::new(&finding.key.contract, known_at, &finding.breaches, seen)
}

fn decisions_on(finding: &str) -> DecisionFilter<'_> {
    DecisionFilter { finding: Some(finding), ..DecisionFilter::default() }
}

/// A group by its id, where something of it is open, and what was decided on it.
async fn find(
    conn: &mut PgConnection,
    id: &str,
    known_at: Instant,
) -> Result<(Option<Finding>, Vec<Decision>), FindingError> {
    let now = snapshot(&mut *conn, known_at).await?;
    let mut finding = None;
    for contract in &now.known.contracts {
        let mut breaches = now.breaches(contract, Span::ever());
        let query = BreachQuery::new(&contract.head.id, known_at, &breaches, Span::ever());
        let days = Days::of_hours(contract.head.zone, &query.hours(&mut *conn).await?);
        // An id tells nothing of its group; the ids of those that there may be are computed without looking at usage.
        let Some((key, day)) = find_group(id, &breaches, &days) else { continue };
        breaches.retain(|it| (&it.right, &it.product, &it.deployment) == (&key.right, &key.product, &key.deployment));
        finding = load_open_of(&mut *conn, &now, contract, &breaches, day).await?.into_iter().find(|it| it.id == id);
        break;
    }
    let decisions = load_decisions(conn, &decisions_on(id), Some(known_at)).await?;
    match (finding, decisions.is_empty()) {
        (None, true) => Err(FindingError::Unknown { id: id.to_owned(), known_at }),
        (finding, _) => Ok((finding, decisions)),
    }
}

/// All that decides on findings but usage, as known at an instant.
pub(super) struct Snapshot {
    known_at: Instant,
    pub(super) known: Known,
    records: Vec<Record>,
    facts: Vec<Fact>,
}

pub(super) async fn snapshot(conn: &mut PgConnection, known_at: Instant) -> Result<Snapshot, FindingError> {
    let known = load(&mut *conn, known_at).await?;
    let records = load_records(conn, known_at).await?;
    Ok(Snapshot { known_at, known, facts: facts(&records), records })
}

/// As [`snapshot`], where the contract that is asked for is known then.
async fn snapshot_of(
    conn: &mut PgConnection,
    filter: &FindingFilter,
    known_at: Instant,
) -> Result<Snapshot, FindingError> {
    let now = snapshot(&mut *conn, known_at).await?;
    if let Some(contract) = &filter.contract {
        find_known(conn, &now.known.contracts, contract, known_at).await?;
    }
    Ok(now)
}

impl Snapshot {
    /// The contracts that are asked for.
    fn contracts(&self, filter: &FindingFilter) -> impl Iterator<Item = &Contract> {
        let asked = filter.contract.clone();
        self.known.contracts.iter().filter(move |it| asked.as_ref().is_none_or(|id| *id == it.head.id))
    }

    pub(super) fn breaches(&self, contract: &Contract, within: Span) -> Vec<Breach> {
        breaches(contract, &self.known.register, &self.facts, within)
    }
}

/// The open findings of a contract whose usage lies within a span.
pub(super) async fn load_open_of(
    conn: &mut PgConnection,
    now: &Snapshot,
    contract: &Contract,
    breaches: &[Breach],
    within: Span,
) -> Result<Vec<Finding>, StoreError> {
    let (head, Known { register, prices, .. }) = (&contract.head, &now.known);
    let query = BreachQuery::new(&head.id, now.known_at, breaches, within);
    let days = Days::of_hours(head.zone, &query.hours(&mut *conn).await?);
    let starts: Vec<Instant> = days.starts().collect();
    let events = query.load_open_events(&mut *conn, &starts).await?;
    if events.is_empty() {
        return Ok(Vec::new());
    }
    // A day with a change of prices is cut there: within a segment one price is in force.
    let timeline = days.timeline(prices.boundaries());
    let usage = query.load_open_usage(conn, &timeline, &prices.thresholds()).await?;
    let rated = Rated { days: &days, timeline: &timeline, register, prices };
    Ok(findings(&head.id, breaches, &events, &usage, &rated))
}

/// What was open before and is no more, though nobody decided.
async fn load_ended(
    conn: &mut PgConnection,
    filter: &FindingFilter,
    before: &Snapshot,
    now: &Snapshot,
) -> Result<Vec<Ended>, StoreError> {
    let Known { register, prices, .. } = &before.known;
    let mut ended = Vec::new();
    for contract in before.contracts(filter) {
        let head = &contract.head;
        let breaches = before.breaches(contract, filter.span(contract.head.zone));
        // Contracts are never taken away; an event may break the right at another place by now.
        let still = now.known.contracts.iter().filter(|it| it.head.id == head.id);
        let still: Vec<Breach> = still.flat_map(|contract| now.breaches(contract, Span::ever())).collect();
        let query = BreachQuery::new(&head.id, before.known_at, &breaches, Span::ever());
        let days = Days::of_hours(head.zone, &query.hours(&mut *conn).await?);
        let starts: Vec<Instant> = days.starts().collect();
        let later = BreachQuery::new(&head.id, now.known_at, &still, Span::ever());
        let events = query.load_ended_events(&mut *conn, &later, &starts).await?;
        let timeline = days.timeline(prices.boundaries());
        let rated = Rated { days: &days, timeline: &timeline, register, prices };
        let found = findings(&head.id, &breaches, &events, &[], &rated).into_iter();
        ended.extend(found.map(|finding| Ended { facts: facts_since(&finding, before, now), finding }));
    }
    Ok(ended)
}

/// The facts about the product of a finding that were recorded since.
fn facts_since(finding: &Finding, before: &Snapshot, now: &Snapshot) -> Vec<EventId> {
    let key = &finding.key;
    let known = now.known.register.products.get(&key.product);
    let capabilities = known.map(|product| product.capabilities.as_slice()).unwrap_or_default();
    let is_about = |fact: &Fact| {
        let about = Subject { cloud: None, ..fact.about.clone() };
        fact.contract == key.contract && about.covers(&key.product, capabilities, "")
    };
    let since = now.records.iter().skip(before.records.len());
    let facts = since.filter(|record| matches!(&record.content, RecordContent::Fact(fact) if is_about(fact)));
    facts.map(|record| record.id.clone()).collect()
}
