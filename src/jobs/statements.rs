//! What people do to statements: approve (not the one who made the draft), issue, agree, dispute, pay.

use crate::domain::burn_down::{BurnDown, burn_down};
use crate::domain::calendar::Period;
use crate::domain::ids::{ContractId, TermId};
use crate::domain::period::Instant;
use crate::domain::statement::{Statement, StatementStatus};
use crate::store::StoreError;
use crate::store::access::Signature;
use crate::store::agreements::list_terms;
use crate::store::books::{
    StatementHead, close_period, load_document, load_documents, load_statement, load_unresolved_events, lock_contract,
};
use crate::store::rollups::{UnresolvedUsage, load_unresolved};
use crate::store::statement_statuses::{StatusChange, append_status, is_maker, load_history};
use crate::store::usage_reports;
use crate::store::waivers::{insert_waiver, without_waived};
use sqlx::{Acquire, PgConnection, Postgres};
use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("no statement {id}")]
    Unknown { id: i64 },
    #[error("statement {id} is {status}; it has to be {} to be {wanted}", any_of(wanted.follows()))]
    WrongStatus { id: i64, status: StatementStatus, wanted: StatementStatus },
    #[error("statement {id} is \"{tag}\" by now, not what was seen: look at it again")]
    Changed { id: i64, tag: String },
    #[error("{by} made statement {id}; someone else has to approve it")]
    OwnDraft { id: i64, by: String },
    #[error(
        "{events} events of {period} are of deployments or products that no register knows; register them and settle again, or waive them"
    )]
    Unresolved { id: i64, period: Period, events: i64 },
    #[error(
        "statement {id} says what {period} came to by {cutoff}, and the period ends at {end}: settle it again then"
    )]
    NotEnded { id: i64, period: Period, cutoff: Instant, end: Instant },
    #[error("the stored statement cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn any_of(statuses: &[StatementStatus]) -> String {
    statuses.iter().map(|status| status.name()).collect::<Vec<_>>().join(" or ")
}

/// Where a statement stands, without its content.
///
/// # Errors
/// There is none of that id.
pub async fn head(conn: &mut PgConnection, id: i64) -> Result<StatementHead, StatementError> {
    load_statement(conn, id).await?.ok_or(StatementError::Unknown { id })
}

async fn load(conn: &mut PgConnection, id: i64) -> Result<(StatementHead, Statement), StatementError> {
    let head = head(&mut *conn, id).await?;
    let statement = serde_json::from_str(&load_document(conn, &head).await?)?;
    Ok((head, statement))
}

/// Who does something to a statement, having seen it.
#[derive(Clone, Debug)]
pub struct Actor<'a> {
    pub by: Signature,
    /// The statement's tag when they looked, or several: by now it must be one of these. Without any, whatever stands.
    pub seen: Option<&'a [String]>,
}

impl<'a> From<&'a str> for Actor<'a> {
    fn from(by: &'a str) -> Self {
        Self { by: by.into(), seen: None }
    }
}

/// Locks the contract of a statement, then reads where the statement stands: a settlement may have drafted it
/// anew while this waited. Refuses one that `wanted` may not follow, or that is not what the actor saw.
async fn lock(
    conn: &mut PgConnection,
    id: i64,
    wanted: StatementStatus,
    actor: &Actor<'_>,
) -> Result<StatementHead, StatementError> {
    let before = head(&mut *conn, id).await?;
    lock_contract(&mut *conn, &before.contract).await?;
    let head = head(conn, id).await?;
    if actor.seen.is_some_and(|seen| !seen.contains(&head.tag())) {
        return Err(StatementError::Changed { id, tag: head.tag() });
    }
    if !wanted.follows().contains(&head.status) {
        return Err(StatementError::WrongStatus { id, status: head.status, wanted });
    }
    Ok(head)
}

/// A statement with all that is known of it.
#[derive(Clone, Debug)]
pub struct StatementRecord {
    pub head: StatementHead,
    /// As it is stored, byte for byte what the head's digest is of.
    pub document: String,
    pub history: Vec<StatusChange>,
}

impl StatementRecord {
    /// What the document says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn statement(&self) -> Result<Statement, StatementError> {
        Ok(serde_json::from_str(&self.document)?)
    }
}

/// A statement with its document and its history.
///
/// # Errors
/// There is none of that id.
pub async fn read(conn: &mut PgConnection, id: i64) -> Result<StatementRecord, StatementError> {
    let head = head(&mut *conn, id).await?;
    let document = load_document(&mut *conn, &head).await?;
    let history = load_history(conn, id).await?;
    Ok(StatementRecord { head, document, history })
}

/// Events up to a period's end that no mapping knew when its statement was drawn up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnresolvedEvents {
    pub events: i64,
    /// Those of them that the statement's issue waits for: nobody waived them.
    pub unwaived: i64,
}

/// How many events are not in a statement, as no mapping knew them when it was drawn up.
///
/// # Errors
/// The database's, or a statement that cannot be read.
pub async fn unresolved_events(
    conn: &mut PgConnection,
    head: &StatementHead,
) -> Result<UnresolvedEvents, StatementError> {
    let events = load_unresolved_events(&mut *conn, head).await?;
    let unwaived = if events == 0 { 0 } else { unwaived_events(conn, head).await? };
    Ok(UnresolvedEvents { events, unwaived })
}

/// How far the caps of a contract are used up, as its statements say.
///
/// # Errors
/// The database's, or a stored statement that cannot be read.
pub async fn caps(conn: &mut PgConnection, contract: &ContractId) -> Result<Vec<BurnDown>, StatementError> {
    let statements = load_documents(&mut *conn, contract).await?;
    // By number, rising: the last version that has a term says when it ends.
    let terms = list_terms(conn, Some(contract)).await?;
    let ends: BTreeMap<TermId, Option<Instant>> = terms.into_iter().map(|term| (term.term, term.ends_at)).collect();
    let ends = ends.into_iter().filter_map(|(term, ends_at)| Some((term, ends_at?))).collect();
    Ok(burn_down(&statements, &ends))
}

/// Approves a draft.
///
/// # Errors
/// It is no draft or was changed, or the actor made it.
pub async fn approve<'a, 'c>(
    database: impl Acquire<'c, Database = Postgres>,
    id: i64,
    actor: impl Into<Actor<'a>>,
) -> Result<(), StatementError> {
    let actor = actor.into();
    let mut tx = database.begin().await?;
    let head = lock(&mut tx, id, StatementStatus::Approved, &actor).await?;
    if is_maker(&mut tx, id, &actor.by.name).await? {
        return Err(StatementError::OwnDraft { id, by: actor.by.name });
    }
    append_status(&mut tx, id, head.revision, StatementStatus::Approved, &actor.by, "approved").await?;
    Ok(tx.commit().await?)
}

/// Issues an approved statement and closes its period: from then on news is booked in the next one.
///
/// # Errors
/// It is not approved or was changed, the period had not ended, or usage of it is unresolved and not waived.
#[tracing::instrument(name = "statement.issue", skip(database, actor))]
pub async fn issue<'a, 'c>(
    database: impl Acquire<'c, Database = Postgres>,
    id: i64,
    actor: impl Into<Actor<'a>>,
) -> Result<(), StatementError> {
    let actor = actor.into();
    let mut tx = database.begin().await?;
    lock(&mut tx, id, StatementStatus::Issued, &actor).await?;
    let (head, statement) = load(&mut tx, id).await?;
    if !statement.is_of_whole_period() {
        let (period, cutoff, end) = (statement.period, statement.cutoff, statement.span.end);
        return Err(StatementError::NotEnded { id, period, cutoff, end });
    }
    let unresolved = unwaived(&mut tx, &statement).await?;
    let events: i64 = unresolved.iter().map(|usage| usage.events).sum();
    if events > 0 {
        return Err(StatementError::Unresolved { id, period: statement.period, events });
    }
    append_status(&mut tx, id, head.revision, StatementStatus::Issued, &actor.by, "issued").await?;
    let by = &actor.by.name;
    close_period(&mut tx, &statement.contract, statement.period, statement.span.start, by).await?;
    Ok(tx.commit().await?)
}

/// What becomes of a statement once it is issued. Its content stays: what was wrong is booked in a later period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Agree,
    Dispute,
    /// It was paid, which settles it.
    Pay,
}

impl Reply {
    fn status(self) -> StatementStatus {
        match self {
            Self::Agree => StatementStatus::Agreed,
            Self::Dispute => StatementStatus::Disputed,
            Self::Pay => StatementStatus::Settled,
        }
    }
}

/// Agrees to an issued statement, disputes it, or notes that it was paid.
///
/// # Errors
/// It stands otherwise, or was changed.
pub async fn reply<'a, 'c>(
    database: impl Acquire<'c, Database = Postgres>,
    id: i64,
    reply: Reply,
    actor: impl Into<Actor<'a>>,
    reason: &str,
) -> Result<(), StatementError> {
    let actor = actor.into();
    let mut tx = database.begin().await?;
    let head = lock(&mut tx, id, reply.status(), &actor).await?;
    append_status(&mut tx, id, head.revision, reply.status(), &actor.by, reason).await?;
    Ok(tx.commit().await?)
}

/// The usage that was unresolved when the statement was drawn up, and that nobody waived.
///
/// As known then: usage that was mapped since is not in the statement, so it has to be settled again.
async fn unwaived(conn: &mut PgConnection, statement: &Statement) -> Result<Vec<UnresolvedUsage>, StoreError> {
    let (end, known_at) = (statement.span.end, statement.cutoff);
    let unresolved = load_unresolved(&mut *conn, end, known_at).await?;
    without_waived(conn, &statement.contract, unresolved, end, known_at).await
}

/// How many events the issue of a statement waits for: they were unresolved when it was drawn up, and nobody waived them.
/// None where it was issued.
///
/// # Errors
/// The database's, or a statement that cannot be read.
pub async fn unwaived_events(conn: &mut PgConnection, head: &StatementHead) -> Result<i64, StatementError> {
    if !head.status.may_be_drafted_anew() {
        return Ok(0);
    }
    let statement = serde_json::from_str(&load_document(&mut *conn, head).await?)?;
    Ok(unwaived(conn, &statement).await?.iter().map(|usage| usage.events).sum())
}

/// Decides that a statement's period need not wait for the usage that was unresolved when it was drawn up; returns it.
///
/// # Errors
/// There is no statement of that id, or it cannot be read.
pub async fn waive<'c>(
    database: impl Acquire<'c, Database = Postgres>,
    id: i64,
    by: &str,
    reason: &str,
) -> Result<Vec<UnresolvedUsage>, StatementError> {
    let mut tx = database.begin().await?;
    let (_, statement) = load(&mut tx, id).await?;
    let unresolved = unwaived(&mut tx, &statement).await?;
    let period = (statement.period, statement.span.end);
    for usage in &unresolved {
        insert_waiver(&mut tx, &statement.contract, period, usage, statement.cutoff, by, reason).await?;
    }
    tx.commit().await?;
    Ok(unresolved)
}

/// How many events of a statement's period were recorded since its cutoff, while another settlement can take them in;
/// none once it is issued: from then on they are news of the next period.
///
/// # Errors
/// The database's, or a statement that cannot be read.
pub async fn events_since_cutoff(conn: &mut PgConnection, head: &StatementHead) -> Result<Option<i64>, StatementError> {
    if !head.status.may_be_drafted_anew() {
        return Ok(None);
    }
    let statement: Statement = serde_json::from_str(&load_document(&mut *conn, head).await?)?;
    Ok(Some(usage_reports::events_since(conn, statement.span, statement.cutoff).await?))
}
