//! Settles a period: load what is known at the cutoff, decide, book the differences and draft the statements.

use super::contracts::{ContractsError, Known};
use super::held::{HeldQuery, facts, load_held};
use crate::domain::contract::simple;
use crate::domain::deduction::{PlacedDeduction, place};
use crate::domain::hex::hex;
use crate::domain::ids::{ContractId, EventId};
use crate::domain::period::{Instant, Period};
use crate::domain::record::{Figure, Record, RecordContent, Reduces};
use crate::domain::register::Register;
use crate::domain::settlement::{
    BookedLine, SettlementError, SettlementInput, find_contract, settle as decide, with_drawn_on,
};
use crate::domain::sharing::timeline;
use crate::domain::statement::{Statement, StatementStatus, statements};
use crate::store::access::Signature;
use crate::store::books::{
    SettlementRow, find_statement, insert_draft, insert_settlement, last_cutoff, load_books, load_document,
    load_unresolved_events, lock_contract,
};
use crate::store::records::load_records;
use crate::store::rollups::{UnresolvedUsage, load_event_place, load_unresolved, load_usage};
use crate::store::{StoreError, recording};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{Acquire, PgConnection, PgPool, Postgres};

/// What to settle.
#[derive(Clone, Debug)]
pub struct SettleRequest {
    pub contract: ContractId,
    pub period: Period,
    /// Nothing recorded later is seen; without it, everything recorded by now.
    pub cutoff: Option<Instant>,
    /// Who makes the draft, and therefore may not approve it.
    pub by: Signature,
    /// Refuse rather than draft anew what somebody has approved.
    pub keep_approvals: bool,
}

/// What a settlement did.
#[derive(Clone, Debug)]
pub struct SettleReport {
    pub cutoff: Instant,
    /// What was booked: nothing on a rerun without news.
    pub lines: Vec<BookedLine>,
    /// The ids of the statements that were drafted, with their content.
    pub drafted: Vec<(i64, Statement)>,
    /// Those of them that had been approved: they have to be approved anew.
    pub approvals_lost: Vec<i64>,
    /// Usage that counts nowhere until a mapping knows it; it blocks the issue of the statements.
    pub unresolved: Vec<UnresolvedUsage>,
    /// Deductions that reduce nothing yet, each with what it waits for.
    pub waiting_deductions: Vec<WaitingDeduction>,
}

/// A deduction that names what is not known yet: it waits for that.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingDeduction {
    pub id: EventId,
    pub waits_for: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(
        "cutoff {cutoff} lies after {watermark}, up to which everything is recorded; leave it out, or take an earlier one"
    )]
    CutoffInFuture { cutoff: Instant, watermark: Instant },
    #[error(
        "cutoff {cutoff} lies before {last}, as known at which this contract was settled; what was learnt between would be taken back"
    )]
    CutoffBeforeLast { cutoff: Instant, last: Instant },
    #[error("period {period} has not ended yet: it ends at {end}")]
    PeriodNotEnded { period: Period, end: Instant },
    #[error(
        "there is news, and {}; issue what is approved, or draft it anew",
        approved(.statements)
    )]
    Approved { contract: ContractId, period: Period, statements: Vec<i64> },
    #[error(transparent)]
    Settlement(#[from] SettlementError),
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error("the document cannot be written: {0}")]
    Document(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn approved(statements: &[i64]) -> String {
    let ids: Vec<String> = statements.iter().map(ToString::to_string).collect();
    let (noun, verb) = if ids.len() == 1 { ("statement", "is") } else { ("statements", "are") };
    format!("{noun} {} {verb} approved", ids.join(" and "))
}

impl SettleError {
    /// Whether somebody, or time, has to do something first: then the same settlement may succeed.
    pub fn is_waiting(&self) -> bool {
        match self {
            Self::PeriodNotEnded { .. }
            | Self::Approved { .. }
            | Self::Settlement(
                SettlementError::OutOfOrder { .. }
                | SettlementError::PeriodClosed { .. }
                | SettlementError::MissingFigure { .. }
                | SettlementError::Sharing(_),
            ) => true,
            Self::CutoffBeforeLast { .. }
            | Self::CutoffInFuture { .. }
            | Self::Settlement(
                SettlementError::BeforeBooks { .. }
                | SettlementError::UnknownContract { .. }
                | SettlementError::WrongPeriodUnit { .. }
                | SettlementError::BeforeContract { .. }
                | SettlementError::NotYet(_),
            )
            | Self::Contracts(_)
            | Self::Document(_)
            | Self::Store(_) => false,
        }
    }
}

impl From<sqlx::Error> for SettleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Settles one period of one contract in one transaction.
///
/// # Errors
/// What stops the settlement; then nothing is booked.
pub async fn settle(pool: &PgPool, request: &SettleRequest) -> Result<SettleReport, SettleError> {
    let watermark = recording::watermark(pool).await?;
    settle_known(pool, request, watermark).await
}

/// As [`settle`], up to a watermark that was taken before.
///
/// # Errors
/// What stops the settlement; then nothing is booked.
#[tracing::instrument(name = "settle", skip_all, fields(contract = %request.contract, period = %request.period))]
pub async fn settle_known<'c>(
    database: impl Acquire<'c, Database = Postgres>,
    request: &SettleRequest,
    watermark: Instant,
) -> Result<SettleReport, SettleError> {
    let mut tx = database.begin().await?;
    lock_contract(&mut tx, &request.contract).await?;
    // While we waited for the lock another settlement may have seen more than we asked for.
    let last = last_cutoff(&mut tx, &request.contract).await?;
    let cutoff = request.cutoff.unwrap_or(watermark.max(last.unwrap_or(watermark)));
    if let Some(last) = last.filter(|last| cutoff < *last) {
        return Err(SettleError::CutoffBeforeLast { cutoff, last });
    }
    if request.cutoff.is_some_and(|asked| asked > watermark) {
        return Err(SettleError::CutoffInFuture { cutoff, watermark });
    }
    let Loaded { input, unresolved, waiting_deductions } = load_input(&mut tx, request, cutoff).await?;
    let outcome = decide(&input)?;
    let mut booked = input.books.booked.clone();
    booked.extend(outcome.lines.iter().cloned());
    let drawn = statements(&input, &outcome, &booked, env!("CARGO_PKG_VERSION"))?;
    let Drafted { statements: drafted, approvals_lost } = save(&mut tx, request, &input, &outcome.lines, drawn).await?;
    tx.commit().await?;
    Ok(SettleReport { cutoff, lines: outcome.lines, drafted, approvals_lost, unresolved, waiting_deductions })
}

/// What a settlement is decided from, and what of it counts nowhere yet.
struct Loaded {
    input: SettlementInput,
    unresolved: Vec<UnresolvedUsage>,
    waiting_deductions: Vec<WaitingDeduction>,
}

async fn load_input(conn: &mut PgConnection, request: &SettleRequest, cutoff: Instant) -> Result<Loaded, SettleError> {
    let known = super::contracts::load(&mut *conn, cutoff).await?;
    let head = &find_contract(&known.contracts, &request.contract)?.head;
    let end = request.period.span(head.zone).end;
    if end > cutoff {
        return Err(SettleError::PeriodNotEnded { period: request.period, end });
    }
    let Known { register, prices, contracts } = known;
    let simple = simple::contracts(&contracts, &request.contract).map_err(SettlementError::from)?;
    let simple = with_drawn_on(simple, &request.contract);
    let records = load_records(&mut *conn, cutoff).await?;
    let facts = facts(&records);
    let figure = |record: &Record| match &record.content {
        RecordContent::Figure(figure) => Some(figure.clone()),
        _ => None,
    };
    let figures: Vec<Figure> = records.iter().filter_map(figure).collect();
    let Some(timeline) = timeline(&simple, &facts, &prices, end) else {
        let (contract, period) = (request.contract.clone(), request.period);
        return Err(SettlementError::BeforeContract { contract, period }.into());
    };
    let usage = load_usage(&mut *conn, &timeline, &prices.thresholds(), cutoff).await?;
    let (deductions, waiting_deductions) = place_deductions(&mut *conn, &records, &register, cutoff).await?;
    let unresolved = load_unresolved(&mut *conn, end, cutoff).await?;
    let contracts: Vec<_> =
        contracts.into_iter().filter(|it| simple.iter().any(|other| other.head.id == it.head.id)).collect();
    let query = HeldQuery {
        contracts: &contracts,
        register: &register,
        prices: &prices,
        facts: &facts,
        records: &records,
        timeline: &timeline,
        cutoff,
    };
    let held = load_held(&mut *conn, query).await?;
    let books = load_books(conn, &request.contract).await?;
    let input = SettlementInput {
        contract: request.contract.clone(),
        period: request.period,
        cutoff,
        contracts: simple,
        register,
        prices,
        timeline,
        usage,
        deductions,
        figures,
        facts,
        unresolved_events: unresolved.iter().map(|usage| usage.events).sum(),
        held,
        books,
    };
    Ok(Loaded { input, unresolved, waiting_deductions })
}

/// Looks up what each deduction reduces; those for which it is not known wait.
async fn place_deductions(
    conn: &mut PgConnection,
    records: &[Record],
    register: &Register,
    cutoff: Instant,
) -> Result<(Vec<PlacedDeduction>, Vec<WaitingDeduction>), StoreError> {
    let mut placed = Vec::new();
    let mut waiting = Vec::new();
    for record in records {
        let RecordContent::Deduction(deduction) = &record.content else { continue };
        let event = match &deduction.reduces {
            Reduces::Event(event) => load_event_place(&mut *conn, event, cutoff).await?,
            Reduces::Events(_) | Reduces::Usage { .. } => None,
        };
        match place(&record.id, deduction, event, register) {
            Ok(deduction) => placed.push(deduction),
            Err(waits_for) => {
                waiting.push(WaitingDeduction { id: record.id.clone(), waits_for: waits_for.to_string() })
            }
        }
    }
    Ok((placed, waiting))
}

/// Books the lines and drafts each statement that says something new.
async fn save(
    conn: &mut PgConnection,
    request: &SettleRequest,
    input: &SettlementInput,
    lines: &[BookedLine],
    drawn: Vec<Statement>,
) -> Result<Drafted, SettleError> {
    let mut all_news = Vec::new();
    for statement in drawn {
        all_news.extend(news(&mut *conn, input, statement).await?);
    }
    let approved: Vec<i64> = all_news.iter().filter_map(|news| news.approved).collect();
    if request.keep_approvals && !approved.is_empty() {
        let (contract, period) = (request.contract.clone(), request.period);
        return Err(SettleError::Approved { contract, period, statements: approved });
    }
    let mut drafted = Drafted::default();
    if lines.is_empty() && all_news.is_empty() {
        return Ok(drafted);
    }
    let zone = find_contract(&input.contracts, &input.contract)?.head.zone;
    let digest = Sha256::digest(serde_json::to_vec(input)?);
    let row = SettlementRow {
        contract: &request.contract,
        period: request.period,
        zone,
        cutoff: input.cutoff,
        settled_by: &request.by.name,
        unresolved_events: input.unresolved_events,
        engine_version: env!("CARGO_PKG_VERSION"),
        input_sha256: &hex(&digest),
        lines,
    };
    let settlement = insert_settlement(&mut *conn, &row).await?;
    for News { statement, approved } in all_news {
        let content = serde_json::to_string_pretty(&statement)?;
        let id = insert_draft(&mut *conn, &statement, &content, settlement, &request.by).await?;
        drafted.approvals_lost.extend(approved);
        drafted.statements.push((id, statement));
    }
    Ok(drafted)
}

/// The statements that were drafted, and which of them had been approved before.
#[derive(Default)]
struct Drafted {
    statements: Vec<(i64, Statement)>,
    approvals_lost: Vec<i64>,
}

/// A statement that says something new.
struct News {
    statement: Statement,
    /// The statement that stands, where someone has approved that.
    approved: Option<i64>,
}

/// Takes a statement that is to be drafted: it says something new, and nobody was told otherwise for good.
async fn news(
    conn: &mut PgConnection,
    input: &SettlementInput,
    statement: Statement,
) -> Result<Option<News>, SettleError> {
    // What is known since is in the statements of the open period.
    if input.books.closed.contains(&input.period) {
        return Ok(None);
    }
    let Some(before) = find_statement(&mut *conn, &statement).await? else {
        return Ok(Some(News { statement, approved: None }));
    };
    if !before.status.may_be_drafted_anew() {
        return Ok(None);
    }
    let drafted: Statement = serde_json::from_str(&load_document(&mut *conn, &before).await?)?;
    let approved = (before.status == StatementStatus::Approved).then_some(before.statement_id);
    // What was unresolved then is what its issue waits for.
    let is_news =
        !says_the_same(&drafted, &statement) || load_unresolved_events(conn, &before).await? != input.unresolved_events;
    Ok(is_news.then_some(News { statement, approved }))
}

/// Whether two statements differ in their cutoff alone.
fn says_the_same(before: &Statement, now: &Statement) -> bool {
    Statement { cutoff: now.cutoff, ..before.clone() } == *now
}
