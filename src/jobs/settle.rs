//! Settles a period: load what is known at the cutoff, decide, book the differences and draft the statements.

use super::contracts::ContractsError;
use super::settlement_input::InputSource;
use crate::domain::calendar::Period;
use crate::domain::engine::stretches::Grain;
use crate::domain::ids::{ContractId, EventId};
use crate::domain::period::{Instant, Span};
use crate::domain::settlement::{BookedLine, SettlementError, SettlementInput, find_contract};
use crate::domain::statement::{Statement, StatementStatus, statements};
use crate::store::access::Signature;
use crate::store::books::{
    SettlementRow, StatementHead, find_statement, insert_draft, insert_settlement, last_cutoff, load_document,
    load_last_documents, load_unresolved_events, lock_contract,
};
use crate::store::rollups::UnresolvedUsage;
use crate::store::waivers::without_waived;
use crate::store::{StoreError, recording};
use serde::Serialize;
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
    /// The period's statements that say the same as before, or were issued: they stand.
    pub unchanged: Vec<StatementHead>,
    /// Usage that counts nowhere until a mapping knows it.
    pub unresolved: Vec<UnresolvedUsage>,
    /// How many of its events the issue of the statements waits for: those that nobody waived.
    pub unwaived_events: i64,
    /// Records that have no effect yet, each with what it waits for.
    pub waiting_records: Vec<WaitingRecord>,
}

/// A record that names what is not known yet: it waits for that.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingRecord {
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
    #[error(
        "contract {contract} was not loaded yet at {known_at}; ask as known at {first}, when it was first recorded, or later"
    )]
    NotLoadedYet { contract: ContractId, known_at: Instant, first: Instant },
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
            | Self::Settlement(SettlementError::OutOfOrder { .. } | SettlementError::PeriodClosed { .. }) => true,
            Self::Settlement(SettlementError::Engine(error)) => error.is_waiting(),
            Self::CutoffBeforeLast { .. }
            | Self::CutoffInFuture { .. }
            | Self::NotLoadedYet { .. }
            | Self::Settlement(
                SettlementError::BeforeBooks { .. }
                | SettlementError::UnknownContract { .. }
                | SettlementError::NoSuchPeriod { .. }
                | SettlementError::BeforeContract { .. },
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
    let mut source = InputSource::load(&mut tx, (&request.contract, request.period), cutoff, None).await?;
    check_has_ended(&source.input, request)?;
    let settled = source.settle(&mut tx, Grain::Sums).await?;
    let waiting_records = source.waiting();
    let digest = source.digest()?;
    let InputSource { input, unresolved, .. } = source;
    let mut booked = input.books.booked.clone();
    booked.extend(settled.lines.iter().cloned());
    let waited_for = without_waived(&mut tx, &input.contract, unresolved.clone(), input.span()?.end, cutoff).await?;
    let unwaived_events = waited_for.iter().map(|usage| usage.events).sum();
    let earlier = load_last_documents(&mut tx, &input.contract, input.span()?.start).await?;
    let drawn = statements(&input, &settled, &booked, &earlier, env!("CARGO_PKG_VERSION"))?;
    let lines = settled.lines;
    let Drafted { statements: drafted, approvals_lost, unchanged } =
        save(&mut tx, request, (&input, &digest), &lines, drawn).await?;
    tx.commit().await?;
    Ok(SettleReport { cutoff, lines, drafted, approvals_lost, unchanged, unresolved, unwaived_events, waiting_records })
}

/// A period that goes on is settled where a cutoff within it is asked for: what it comes to so far.
fn check_has_ended(input: &SettlementInput, request: &SettleRequest) -> Result<(), SettleError> {
    let Span { start, end } = input.span()?;
    let needed = if request.cutoff.is_some() { start } else { end };
    if needed > input.cutoff {
        return Err(SettleError::PeriodNotEnded { period: input.period, end });
    }
    Ok(())
}

/// Books the lines and drafts each statement that says something new.
async fn save(
    conn: &mut PgConnection,
    request: &SettleRequest,
    (input, digest): (&SettlementInput, &str),
    lines: &[BookedLine],
    drawn: Vec<Statement>,
) -> Result<Drafted, SettleError> {
    let mut all_news = Vec::new();
    let mut drafted = Drafted::default();
    for statement in drawn {
        match compare(&mut *conn, input, statement).await? {
            Compared::News(news) => all_news.push(news),
            Compared::Stands(head) => drafted.unchanged.extend(head),
        }
    }
    let approved: Vec<i64> = all_news.iter().filter_map(|news| news.approved).collect();
    if request.keep_approvals && !approved.is_empty() {
        let (contract, period) = (request.contract.clone(), request.period);
        return Err(SettleError::Approved { contract, period, statements: approved });
    }
    if lines.is_empty() && all_news.is_empty() {
        return Ok(drafted);
    }
    let zone = find_contract(&input.contracts, &input.contract)?.head.zone;
    let row = SettlementRow {
        contract: &request.contract,
        period: request.period,
        zone,
        cutoff: input.cutoff,
        settled_by: &request.by.name,
        unresolved_events: input.unresolved_events,
        engine_version: env!("CARGO_PKG_VERSION"),
        input_sha256: digest,
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

/// The statements that were drafted, which of them had been approved before, and those that stand.
#[derive(Default)]
struct Drafted {
    statements: Vec<(i64, Statement)>,
    approvals_lost: Vec<i64>,
    unchanged: Vec<StatementHead>,
}

/// What becomes of a statement that was drawn up.
enum Compared {
    News(News),
    /// What there was stands, if there was any.
    Stands(Option<StatementHead>),
}

/// A statement that says something new.
struct News {
    statement: Statement,
    /// The statement that stands, where someone has approved that.
    approved: Option<i64>,
}

/// Compares a statement with the one that stands: it is to be drafted where it says something new, and nobody was told
/// otherwise for good.
async fn compare(
    conn: &mut PgConnection,
    input: &SettlementInput,
    statement: Statement,
) -> Result<Compared, SettleError> {
    let before = find_statement(&mut *conn, &statement).await?;
    // What is known since is in the statements of the open period.
    if input.books.closed.contains(&input.period) {
        return Ok(Compared::Stands(before));
    }
    let Some(before) = before else { return Ok(Compared::News(News { statement, approved: None })) };
    if !before.status.may_be_drafted_anew() {
        return Ok(Compared::Stands(Some(before)));
    }
    let drafted: Statement = serde_json::from_str(&load_document(&mut *conn, &before).await?)?;
    let approved = (before.status == StatementStatus::Approved).then_some(before.statement_id);
    // What was unresolved then is what its issue waits for, and so it does for the period's end.
    let is_news = !says_the_same(&drafted, &statement)
        || (!drafted.is_of_whole_period() && statement.is_of_whole_period())
        || load_unresolved_events(conn, &before).await? != input.unresolved_events;
    Ok(if is_news { Compared::News(News { statement, approved }) } else { Compared::Stands(Some(before)) })
}

/// Whether two statements differ in their cutoff alone.
fn says_the_same(before: &Statement, now: &Statement) -> bool {
    Statement { cutoff: now.cutoff, ..before.clone() } == *now
}
