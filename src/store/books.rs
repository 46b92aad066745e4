//! The books of a contract: settlements, booked lines, closed periods, statements and their statuses.

use super::StoreError;
use super::rollups::UnresolvedUsage;
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::period::{Instant, Period};
use crate::domain::settlement::{BookedLine, Books};
use crate::domain::statement::Statement;
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Serialises the settlements of one contract until the transaction ends.
pub async fn lock_contract(conn: &mut PgConnection, contract: &ContractId) -> Result<(), StoreError> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('settle ' || $1, 0))", contract.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// The latest cutoff as known at which a contract was settled.
pub async fn last_cutoff(conn: &mut PgConnection, contract: &ContractId) -> Result<Option<Instant>, StoreError> {
    let last = sqlx::query_scalar!("select max(cutoff) from settlement where contract_id = $1", contract.as_str())
        .fetch_one(conn)
        .await?;
    Ok(last)
}

/// What the books of a contract hold.
pub async fn load_books(conn: &mut PgConnection, contract: &ContractId) -> Result<Books, StoreError> {
    let lines = sqlx::query!(
        r#"select term_id, payer, payee, currency, origin_period, booked_period, amount::text as "amount!"
           from booked_line where contract_id = $1 order by settlement_id, line"#,
        contract.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let booked = lines
        .into_iter()
        .map(|line| {
            Ok(BookedLine {
                term: TermId::new(line.term_id),
                payer: PartyId::new(line.payer),
                payee: PartyId::new(line.payee),
                currency: StoreError::decoded("booked_line.currency", line.currency.parse())?,
                origin: StoreError::decoded("booked_line.origin_period", line.origin_period.parse())?,
                booked: StoreError::decoded("booked_line.booked_period", line.booked_period.parse())?,
                amount: StoreError::decoded("booked_line.amount", line.amount.parse())?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let settled =
        sqlx::query_scalar!("select distinct period from settlement where contract_id = $1", contract.as_str())
            .fetch_all(&mut *conn)
            .await?;
    let closed = sqlx::query_scalar!("select period from period_close where contract_id = $1", contract.as_str())
        .fetch_all(conn)
        .await?;
    let periods = |names: Vec<String>| {
        names.iter().map(|name| StoreError::decoded("period", name.parse::<Period>())).collect::<Result<_, _>>()
    };
    Ok(Books { booked, settled: periods(settled)?, closed: periods(closed)? })
}

/// A settlement as it is to be written down.
pub struct SettlementRow<'a> {
    pub contract: &'a ContractId,
    pub period: Period,
    /// The contract's, in which periods begin and end.
    pub zone: Tz,
    pub cutoff: Instant,
    pub settled_by: &'a str,
    pub engine_version: &'a str,
    pub input_sha256: &'a str,
    pub lines: &'a [BookedLine],
}

/// Writes a settlement and the lines that it books; returns its id.
pub async fn insert_settlement(conn: &mut PgConnection, row: &SettlementRow<'_>) -> Result<i64, StoreError> {
    let span = row.period.span(row.zone);
    let id = sqlx::query_scalar!(
        "insert into settlement (contract_id, period, period_start, period_end, cutoff, settled_at, settled_by,
                                 engine_version, time_zone_data_version, input_sha256)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7, $8, $9) returning settlement_id",
        row.contract.as_str(),
        row.period.to_string(),
        span.start,
        span.end,
        row.cutoff,
        row.settled_by,
        row.engine_version,
        chrono_tz::IANA_TZDB_VERSION,
        row.input_sha256
    )
    .fetch_one(&mut *conn)
    .await?;
    for (number, line) in (1_i32..).zip(row.lines) {
        sqlx::query!(
            "insert into booked_line (settlement_id, line, contract_id, term_id, payer, payee, currency, origin_period,
                                      origin_start, booked_period, booked_start, amount)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::numeric)",
            id,
            number,
            row.contract.as_str(),
            line.term.as_str(),
            line.payer.as_str(),
            line.payee.as_str(),
            line.currency.code(),
            line.origin.to_string(),
            line.origin.span(row.zone).start,
            line.booked.to_string(),
            span.start,
            line.amount.to_string()
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(id)
}

/// A statement as it stands: its last revision and status.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StatementRow {
    pub statement_id: i64,
    pub contract_id: String,
    pub party_a: String,
    pub party_b: String,
    pub currency: String,
    pub period: String,
    pub revision: i32,
    pub status: String,
    pub changed_by: String,
    pub changed_at: Instant,
    /// The document, byte for byte what `sha256` is the digest of.
    #[serde(skip)]
    pub content: String,
    pub sha256: String,
}

/// The statement of the same contract, parties, currency and period, if there is one.
pub async fn find_statement(
    conn: &mut PgConnection,
    statement: &Statement,
) -> Result<Option<StatementRow>, StoreError> {
    let [a, b] = &statement.parties;
    let id = sqlx::query_scalar!(
        "select statement_id from statement where contract_id = $1 and party_a = $2 and party_b = $3
           and currency = $4 and period = $5",
        statement.contract.as_str(),
        a.as_str(),
        b.as_str(),
        statement.currency.code(),
        statement.period.to_string()
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => load_statement(conn, id).await,
        None => Ok(None),
    }
}

/// Writes a new draft of a statement: its first revision, or the next.
pub async fn insert_draft(
    conn: &mut PgConnection,
    statement: &Statement,
    content: &str,
    settlement_id: i64,
    maker: &str,
) -> Result<i64, StoreError> {
    let before = find_statement(&mut *conn, statement).await?;
    let id = match &before {
        Some(row) => row.statement_id,
        None => insert_statement(&mut *conn, statement).await?,
    };
    let revision = before.map_or(1, |row| row.revision.saturating_add(1));
    sqlx::query!(
        "insert into statement_revision (statement_id, revision, settlement_id, content, sha256) values ($1, $2, $3, $4, $5)",
        id,
        revision,
        settlement_id,
        content,
        super::hex(&Sha256::digest(content))
    )
    .execute(&mut *conn)
    .await?;
    append_status(conn, id, revision, "draft", maker, "settled").await?;
    Ok(id)
}

async fn insert_statement(conn: &mut PgConnection, statement: &Statement) -> Result<i64, StoreError> {
    let [a, b] = &statement.parties;
    let id = sqlx::query_scalar!(
        "insert into statement (contract_id, party_a, party_b, currency, period, period_start)
         values ($1, $2, $3, $4, $5, $6) returning statement_id",
        statement.contract.as_str(),
        a.as_str(),
        b.as_str(),
        statement.currency.code(),
        statement.period.to_string(),
        statement.span.start
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Appends a status; the database refuses one that may not follow the last.
pub async fn append_status(
    conn: &mut PgConnection,
    statement_id: i64,
    revision: i32,
    status: &str,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into statement_status (statement_id, revision, sequence, status, changed_by, changed_at, reason)
         select $1, $2, coalesce(max(sequence), 0) + 1, $3, $4, clock_timestamp(), $5
         from statement_status where statement_id = $1",
        statement_id,
        revision,
        status,
        by,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All statements, by contract, period and parties; of one contract where it is named.
pub async fn list_statements(pool: &PgPool, contract: Option<&str>) -> Result<Vec<StatementRow>, StoreError> {
    let rows = sqlx::query_as!(
        StatementRow,
        "select s.statement_id, s.contract_id, s.party_a, s.party_b, s.currency, s.period, t.revision, t.status,
                t.changed_by, t.changed_at, r.content, r.sha256
         from statement s
         join lateral (select * from statement_status where statement_id = s.statement_id
                       order by sequence desc limit 1) t on true
         join statement_revision r on r.statement_id = s.statement_id and r.revision = t.revision
         where $1::text is null or s.contract_id = $1
         order by s.contract_id, s.period_start, s.party_a, s.party_b, s.currency",
        contract
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// One statement with its last revision and status.
pub async fn load_statement(conn: &mut PgConnection, statement_id: i64) -> Result<Option<StatementRow>, StoreError> {
    let row = sqlx::query_as!(
        StatementRow,
        "select s.statement_id, s.contract_id, s.party_a, s.party_b, s.currency, s.period, t.revision, t.status,
                t.changed_by, t.changed_at, r.content, r.sha256
         from statement s
         join lateral (select * from statement_status where statement_id = s.statement_id
                       order by sequence desc limit 1) t on true
         join statement_revision r on r.statement_id = s.statement_id and r.revision = t.revision
         where s.statement_id = $1",
        statement_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Closes a period: the database refuses bookings into it from then on. A second close changes nothing.
pub async fn close_period(
    conn: &mut PgConnection,
    contract: &ContractId,
    period: Period,
    start: Instant,
    by: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into period_close (contract_id, period, period_start, closed_at, closed_by)
         values ($1, $2, $3, clock_timestamp(), $4) on conflict do nothing",
        contract.as_str(),
        period.to_string(),
        start,
        by
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many unresolved events of each dimension someone decided not to wait for, in this period or before it.
///
/// # Errors
/// The database's.
pub async fn load_waivers(conn: &mut PgConnection, contract: &ContractId) -> Result<BTreeMap<i32, i64>, StoreError> {
    let waived = sqlx::query!(
        r#"select dimension_id, max(events) as "events!" from unresolved_waiver where contract_id = $1 group by 1"#,
        contract.as_str()
    )
    .fetch_all(conn)
    .await?;
    Ok(waived.into_iter().map(|row| (row.dimension_id, row.events)).collect())
}

/// Records that a contract need not wait for the events of a dimension that are unresolved now.
///
/// # Errors
/// The database's.
pub async fn insert_waiver(
    conn: &mut PgConnection,
    contract: &ContractId,
    period: Period,
    usage: &UnresolvedUsage,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into unresolved_waiver (contract_id, period, dimension_id, events, waived_at, waived_by, reason)
         values ($1, $2, $3, $4, clock_timestamp(), $5, $6) on conflict do nothing",
        contract.as_str(),
        period.to_string(),
        usage.dimension_id,
        usage.events,
        by,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}
