//! Findings: lists the usage that breaks rights, as known at an instant, takes decisions, and says what is held.

use super::contracts::{ContractsError, Known, load};
use crate::domain::contract::Contract;
use crate::domain::contract::rights::OnBreach;
use crate::domain::findings::{Breach, Days, Finding, Held, Rated, Verdict, breaches, findings};
use crate::domain::ids::{ContractId, EventId};
use crate::domain::period::{Instant, Period, Span, Timeline};
use crate::domain::price::PriceBook;
use crate::domain::record::{Deduction, Fact, Record, RecordContent, Reduces};
use crate::domain::register::Register;
use crate::domain::settlement::{SettlementError, find_contract};
use crate::store::StoreError;
use crate::store::contracts::load_records;
use crate::store::findings::{BreachArrays, Decision, EventAt, NewDecision, has_rejected, load_decisions};
use crate::store::recording::{self, LockMode};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

/// Which findings to list.
#[derive(Clone, Debug, Default)]
pub struct FindingFilter {
    /// Of this contract alone.
    pub contract: Option<ContractId>,
    /// Of this period alone, as the zone of each contract sees it.
    pub period: Option<Period>,
    /// As known at this instant; without it, by now.
    pub known_at: Option<Instant>,
}

/// What is open and what was decided, as known at an instant.
#[derive(Clone, Debug, Serialize)]
pub struct FindingList {
    pub known_at: Instant,
    /// Groups with usage that nobody has decided on, by contract, right, product, deployment and day.
    pub findings: Vec<Finding>,
    pub decisions: Vec<Decision>,
}

/// One group of findings with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct FindingDetails {
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

/// What a decision covers.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    pub finding: Finding,
    pub verdict: Verdict,
    pub events: i64,
    pub cutoff: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum FindingError {
    #[error(
        "{known_at} lies after {watermark}, up to which everything is recorded; leave it out, or take an earlier one"
    )]
    NotKnownYet { known_at: Instant, watermark: Instant },
    #[error("no finding {id}, as known at {known_at}; `apportion finding list` shows those there are")]
    Unknown { id: String, known_at: Instant },
    #[error("every event of finding {id} is decided on, as known at {known_at}: {by} said {verdict}")]
    Decided { id: String, known_at: Instant, by: String, verdict: Verdict },
    #[error(transparent)]
    Contract(#[from] SettlementError),
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

/// The instant that was asked for, if everything up to it is recorded; else now.
async fn known_by(pool: &PgPool, asked: Option<Instant>) -> Result<Instant, FindingError> {
    let watermark = recording::watermark(pool).await?;
    match asked {
        Some(known_at) if known_at > watermark => Err(FindingError::NotKnownYet { known_at, watermark }),
        Some(known_at) => Ok(known_at),
        None => Ok(watermark),
    }
}

/// Lists the findings that are open, and what was decided.
///
/// # Errors
/// No such contract, or an instant that lies ahead.
pub async fn list(pool: &PgPool, filter: &FindingFilter) -> Result<FindingList, FindingError> {
    let known_at = known_by(pool, filter.known_at).await?;
    let mut conn = pool.acquire().await?;
    let findings = load_open(&mut conn, filter, known_at).await?;
    let days = filter.period.map(|period| [period.first_day(), period.last_day()]);
    let decisions = load_decisions(&mut conn, filter.contract.as_ref(), days, known_at).await?;
    Ok(FindingList { known_at, findings, decisions })
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
        Some(finding) => {
            let of_group = clipped(&finding.breaches, finding);
            let arrays = BreachArrays::new(&finding.key.contract, known_at, &of_group);
            arrays.load_first_and_last(&mut conn).await?
        }
        None => Vec::new(),
    };
    Ok(FindingDetails { known_at, finding, first_and_last, decisions })
}

/// Decides on a group of findings: on every event of it that was known by then. Later ones form a new group.
///
/// # Errors
/// There is no such group, or all of it is decided on.
#[tracing::instrument(name = "finding.decide", skip_all, fields(finding = request.finding, verdict = %request.verdict))]
pub async fn decide(pool: &PgPool, request: &DecideRequest) -> Result<Decided, FindingError> {
    let cutoff = known_by(pool, request.known_at).await?;
    let (finding, before) = find(&mut *pool.acquire().await?, &request.finding, cutoff).await?;
    let id = || request.finding.clone();
    let decided = |before: &[Decision]| match before.last() {
        Some(Decision { decided_by, verdict, .. }) => {
            FindingError::Decided { id: id(), known_at: cutoff, by: decided_by.clone(), verdict: *verdict }
        }
        None => FindingError::Unknown { id: id(), known_at: cutoff },
    };
    let Some(finding) = finding else { return Err(decided(&before)) };
    // Alone: two decisions on one group must see each other, and no settlement may have seen this one.
    let (mut tx, recorded_at) = recording::begin(pool, LockMode::Exclusive).await?;
    let of_group = clipped(&finding.breaches, &finding);
    let arrays = BreachArrays::new(&finding.key.contract, cutoff, &of_group);
    let DecideRequest { verdict, by, reason, .. } = request;
    let new = NewDecision { finding: &finding, verdict: *verdict, by, reason, recorded_at };
    let events = arrays.insert_decision(&mut tx, &new).await?;
    if events == 0 {
        let since = load_decisions(&mut tx, Some(&finding.key.contract), None, recorded_at).await?;
        return Err(decided(&since.into_iter().filter(|it| it.finding_id == finding.id).collect::<Vec<_>>()));
    }
    tx.commit().await?;
    Ok(Decided { finding, verdict: *verdict, events, cutoff })
}

/// The parts of breaches that lie between the first and the last event of a group.
fn clipped(breaches: &[Breach], finding: &Finding) -> Vec<Breach> {
    // The last event is within: spans are half-open, and instants whole microseconds.
    let last = finding.last_at.checked_add_signed(chrono::TimeDelta::microseconds(1)).unwrap_or(finding.last_at);
    let seen = Span { start: finding.first_at, end: last };
    let part = |it: &Breach| Some(Breach { span: it.span.intersection(seen)?, ..it.clone() });
    breaches.iter().filter_map(part).collect()
}

/// A group by its id, where something of it is open, and what was decided on it.
async fn find(
    conn: &mut PgConnection,
    id: &str,
    known_at: Instant,
) -> Result<(Option<Finding>, Vec<Decision>), FindingError> {
    let open = load_open(&mut *conn, &FindingFilter::default(), known_at).await?;
    let mut decisions = load_decisions(conn, None, None, known_at).await?;
    decisions.retain(|decision| decision.finding_id == id);
    let finding = open.into_iter().find(|finding| finding.id == id);
    match (finding, decisions.is_empty()) {
        (None, true) => Err(FindingError::Unknown { id: id.to_owned(), known_at }),
        (finding, _) => Ok((finding, decisions)),
    }
}

/// The open findings of the contracts that are asked for.
async fn load_open(
    conn: &mut PgConnection,
    filter: &FindingFilter,
    known_at: Instant,
) -> Result<Vec<Finding>, FindingError> {
    let Known { register, prices, contracts } = load(&mut *conn, known_at).await?;
    if let Some(contract) = &filter.contract {
        find_contract(&contracts, contract)?;
    }
    let facts = facts(&load_records(&mut *conn, known_at).await?);
    let mut found = Vec::new();
    for contract in contracts.iter().filter(|it| filter.contract.as_ref().is_none_or(|id| *id == it.head.id)) {
        let within = filter.period.map_or_else(Span::ever, |period| period.span(contract.head.zone));
        let all = breaches(contract, &register, &facts, within);
        let of = Of { contract, register: &register, prices: &prices };
        found.extend(load_of_contract(&mut *conn, of, &all, known_at).await?);
    }
    Ok(found)
}

#[derive(Clone, Copy)]
struct Of<'a> {
    contract: &'a Contract,
    register: &'a Register,
    prices: &'a PriceBook,
}

async fn load_of_contract(
    conn: &mut PgConnection,
    Of { contract, register, prices }: Of<'_>,
    breaches: &[Breach],
    known_at: Instant,
) -> Result<Vec<Finding>, StoreError> {
    let head = &contract.head;
    let arrays = BreachArrays::new(&head.id, known_at, breaches);
    let Some(hours) = arrays.hours(&mut *conn).await? else { return Ok(Vec::new()) };
    let days = Days::of(head.zone, hours);
    let starts: Vec<Instant> = days.starts().collect();
    let begin = starts.first().copied().unwrap_or(hours.start);
    // A day with a change of prices is cut there: within a segment one price is in force.
    let timeline = Timeline::new(begin, hours.end, starts.iter().copied().chain(prices.boundaries()));
    let events = arrays.load_open_events(&mut *conn, &starts).await?;
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let usage = arrays.load_open_usage(conn, &timeline, &prices.thresholds()).await?;
    let rated = Rated { days: &days, timeline: &timeline, register, prices };
    Ok(findings(&head.id, breaches, &events, &usage, &rated))
}

/// The facts among records, in the order of their recording.
pub(super) fn facts(records: &[Record]) -> Vec<Fact> {
    let fact = |record: &Record| match &record.content {
        RecordContent::Fact(fact) => Some(fact.clone()),
        RecordContent::Figure(_) | RecordContent::Deduction(_) => None,
    };
    records.iter().filter_map(fact).collect()
}

/// What a settlement needs to know to say what is held.
#[derive(Clone, Copy)]
pub(super) struct HeldQuery<'a> {
    pub contracts: &'a [Contract],
    pub register: &'a Register,
    pub prices: &'a PriceBook,
    pub facts: &'a [Fact],
    pub records: &'a [Record],
    pub timeline: &'a Timeline,
    pub cutoff: Instant,
}

/// What each contract holds back of the usage of a timeline, and of its deductions; only those that hold something.
pub(super) async fn load_held(conn: &mut PgConnection, query: HeldQuery<'_>) -> Result<Vec<Held>, StoreError> {
    let mut all = Vec::new();
    for contract in query.contracts {
        let id = &contract.head.id;
        let mut spans = breaches(contract, query.register, query.facts, Span::ever());
        spans.retain(|breach| breach.on_breach == OnBreach::Hold);
        let arrays = BreachArrays::new(id, query.cutoff, &spans);
        if arrays.hours(&mut *conn).await?.is_none() && !has_rejected(&mut *conn, id, query.cutoff).await? {
            continue;
        }
        let end = query.timeline.edges().last().copied().unwrap_or(query.cutoff);
        let events = arrays.load_held_events(&mut *conn, end).await?;
        let usage = arrays.load_held_usage(&mut *conn, query.timeline, &query.prices.thresholds()).await?;
        let named: Vec<(&EventId, &EventId)> = query.records.iter().filter_map(named_event).collect();
        let held = arrays.load_held_of(&mut *conn, named.iter().map(|(_, event)| *event)).await?;
        let deductions = named.iter().filter(|(_, event)| held.contains(event)).map(|(id, _)| (*id).clone()).collect();
        if !events.is_empty() || !usage.is_empty() {
            all.push(Held { contract: id.clone(), usage, deductions, events });
        }
    }
    Ok(all)
}

/// The id of a deduction that names an event, and that event.
fn named_event(record: &Record) -> Option<(&EventId, &EventId)> {
    match &record.content {
        RecordContent::Deduction(Deduction { reduces: Reduces::Event(event), .. }) => Some((&record.id, event)),
        RecordContent::Deduction(_) | RecordContent::Figure(_) | RecordContent::Fact(_) => None,
    }
}
