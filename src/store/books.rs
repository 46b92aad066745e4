//! The books of a contract: settlements, booked lines, closed periods and statements.

use super::StoreError;
use super::access::Signature;
use super::statement_statuses::append_status;
use crate::domain::calendar::Period;
use crate::domain::hex::hex;
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::money::Unit;
use crate::domain::period::Instant;
use crate::domain::settlement::{BookedLine, Books};
use crate::domain::statement::{Statement, StatementStatus};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

/// Serialises the settlements of one contract until the transaction ends; what is not loaded has none.
///
/// # Errors
/// The database's.
pub async fn lock_contract(conn: &mut PgConnection, contract: &ContractId) -> Result<(), StoreError> {
    // Rows that refer to the contract may be written meanwhile.
    sqlx::query!("select contract_id from contract where contract_id = $1 for no key update", contract.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// The latest cutoff as known at which a contract was settled.
///
/// # Errors
/// The database's.
pub async fn last_cutoff(conn: &mut PgConnection, contract: &ContractId) -> Result<Option<Instant>, StoreError> {
    let last = sqlx::query_scalar!("select max(cutoff) from settlement where contract_id = $1", contract.as_str())
        .fetch_one(conn)
        .await?;
    Ok(last)
}

/// What the books of a contract hold: all of it, or what they held before a settlement.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_books(
    conn: &mut PgConnection,
    contract: &ContractId,
    before: Option<i64>,
) -> Result<Books, StoreError> {
    let lines = sqlx::query!(
        r#"select term_id, payer, payee, currency, digits, origin_period, booked_period, amount::text as "amount!"
           from booked_line where contract_id = $1 and ($2::bigint is null or settlement_id < $2)
           order by settlement_id, line"#,
        contract.as_str(),
        before
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
                unit: Unit::of(
                    &line.currency,
                    StoreError::decoded("booked_line.digits", contract, line.digits.try_into())?,
                ),
                origin: StoreError::decoded("booked_line.origin_period", contract, line.origin_period.parse())?,
                booked: StoreError::decoded("booked_line.booked_period", contract, line.booked_period.parse())?,
                amount: StoreError::decoded("booked_line.amount", contract, line.amount.parse())?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let settled = sqlx::query_scalar!(
        "select distinct period from settlement where contract_id = $1 and ($2::bigint is null or settlement_id < $2)",
        contract.as_str(),
        before
    )
    .fetch_all(&mut *conn)
    .await?;
    // Closes and settlements of a contract wait for each other, so that their clocks tell their order.
    let closed = sqlx::query_scalar!(
        "select period from period_close where contract_id = $1 and ($2::bigint is null
           or closed_at < (select settled_at from settlement where settlement_id = $2))",
        contract.as_str(),
        before
    )
    .fetch_all(conn)
    .await?;
    let periods = |column, names: Vec<String>| {
        let parsed = names.iter().map(|name| StoreError::decoded(column, contract, name.parse::<Period>()));
        parsed.collect::<Result<_, _>>()
    };
    Ok(Books {
        booked,
        settled: periods("settlement.period", settled)?,
        closed: periods("period_close.period", closed)?,
    })
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
    /// Usage up to the period's end that no mapping knew at the cutoff.
    pub unresolved_events: i64,
    pub input_sha256: &'a str,
    pub lines: &'a [BookedLine],
}

/// Writes a settlement and the lines that it books; returns its id.
///
/// # Errors
/// The database's, which refuses to book into a closed period.
pub async fn insert_settlement(conn: &mut PgConnection, row: &SettlementRow<'_>) -> Result<i64, StoreError> {
    let span = row.period.span(row.zone);
    let id = sqlx::query_scalar!(
        "insert into settlement (contract_id, period, period_start, period_end, cutoff, settled_at, settled_by,
                                 engine_version, time_zone_data_version, unresolved_events, input_sha256)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7, $8, $9, $10) returning settlement_id",
        row.contract.as_str(),
        row.period.to_string(),
        span.start,
        span.end,
        row.cutoff,
        row.settled_by,
        row.engine_version,
        chrono_tz::IANA_TZDB_VERSION,
        row.unresolved_events,
        row.input_sha256
    )
    .fetch_one(&mut *conn)
    .await?;
    for (number, line) in (1_i32..).zip(row.lines) {
        sqlx::query!(
            "insert into booked_line (settlement_id, line, contract_id, term_id, payer, payee, currency, digits,
                                      origin_period, origin_start, booked_period, booked_start, amount)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::numeric)",
            id,
            number,
            row.contract.as_str(),
            line.term.as_str(),
            line.payer.as_str(),
            line.payee.as_str(),
            line.unit.to_string(),
            digits(&line.unit),
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

/// As the column has them.
fn digits(unit: &Unit) -> i32 {
    i32::try_from(unit.digits()).unwrap_or(i32::MAX)
}

/// A statement as it stands: its last revision and status, without its document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct StatementHead {
    pub statement_id: i64,
    pub contract: ContractId,
    pub party_a: PartyId,
    pub party_b: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
    pub period: Period,
    pub revision: i32,
    pub status: StatementStatus,
    pub changed_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Instant,
    /// The digest of the document.
    pub sha256: String,
    /// The place of its last status among all that it had.
    #[serde(skip)]
    sequence: i32,
}

impl StatementHead {
    /// What changes whenever the statement does, and never comes back.
    pub fn tag(&self) -> String {
        format!("{}-{}", self.sequence, self.status)
    }
}

/// Which statements are wanted: all, where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct StatementFilter {
    pub contract: Option<ContractId>,
    pub party: Option<PartyId>,
    pub period: Option<Period>,
    pub status: Option<StatementStatus>,
    /// Those after this one.
    pub after: Option<i64>,
    pub limit: Option<i64>,
}

/// The heads of statements, in the order of their ids.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn list_statements(
    conn: &mut PgConnection,
    filter: &StatementFilter,
) -> Result<Vec<StatementHead>, StoreError> {
    load_heads(conn, filter, None).await
}

async fn load_heads(
    conn: &mut PgConnection,
    filter: &StatementFilter,
    statement_id: Option<i64>,
) -> Result<Vec<StatementHead>, StoreError> {
    let rows = sqlx::query!(
        "select s.statement_id, s.contract_id, s.party_a, s.party_b, s.currency, s.digits, s.period, t.revision, t.status,
                t.sequence, t.changed_by, t.changed_at, r.sha256
         from statement s
         join lateral (select * from statement_status where statement_id = s.statement_id
                       order by sequence desc limit 1) t on true
         join statement_revision r on r.statement_id = s.statement_id and r.revision = t.revision
         where ($1::text is null or s.contract_id = $1) and ($2::bigint is null or s.statement_id = $2)
           and ($3::text is null or $3 in (s.party_a, s.party_b)) and ($4::text is null or s.period = $4)
           and ($5::text is null or t.status = $5) and ($6::bigint is null or s.statement_id > $6)
         order by s.statement_id limit $7",
        filter.contract.as_ref().map(ContractId::as_str),
        statement_id,
        filter.party.as_ref().map(PartyId::as_str),
        filter.period.map(|period| period.to_string()),
        filter.status.map(StatementStatus::name),
        filter.after,
        filter.limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = row.statement_id;
            Ok(StatementHead {
                statement_id: id,
                contract: ContractId::new(row.contract_id),
                party_a: PartyId::new(row.party_a),
                party_b: PartyId::new(row.party_b),
                unit: Unit::of(&row.currency, StoreError::decoded("statement.digits", id, row.digits.try_into())?),
                period: StoreError::decoded("statement.period", id, row.period.parse())?,
                revision: row.revision,
                status: StoreError::decoded("statement_status.status", id, row.status.parse())?,
                changed_by: row.changed_by,
                changed_at: row.changed_at,
                sha256: row.sha256,
                sequence: row.sequence,
            })
        })
        .collect()
}

/// One statement with its last revision and status.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_statement(conn: &mut PgConnection, statement_id: i64) -> Result<Option<StatementHead>, StoreError> {
    Ok(load_heads(conn, &StatementFilter::default(), Some(statement_id)).await?.pop())
}

/// The document of a statement's revision, byte for byte what the head's digest is of.
///
/// # Errors
/// The database's.
pub async fn load_document(conn: &mut PgConnection, head: &StatementHead) -> Result<String, StoreError> {
    let document = sqlx::query_scalar!(
        "select content from statement_revision where statement_id = $1 and revision = $2",
        head.statement_id,
        head.revision
    )
    .fetch_one(conn)
    .await?;
    Ok(document)
}

/// The settlement that a statement's last revision was drawn up by, and the digest of what that was decided from.
///
/// # Errors
/// The database's.
pub async fn load_input_digest(conn: &mut PgConnection, head: &StatementHead) -> Result<(i64, String), StoreError> {
    let row = sqlx::query!(
        "select g.settlement_id, g.input_sha256 from statement_revision r join settlement g using (settlement_id)
         where r.statement_id = $1 and r.revision = $2",
        head.statement_id,
        head.revision
    )
    .fetch_one(conn)
    .await?;
    Ok((row.settlement_id, row.input_sha256))
}

/// The documents of a contract's statements, of the last revision of each, period after period.
///
/// # Errors
/// The database's, or a document that cannot be read.
pub async fn load_documents(conn: &mut PgConnection, contract: &ContractId) -> Result<Vec<Statement>, StoreError> {
    let rows = sqlx::query!(
        "select s.statement_id, r.content
         from statement s
         join lateral (select content from statement_revision where statement_id = s.statement_id
                       order by revision desc limit 1) r on true
         where s.contract_id = $1 order by s.period_start, s.statement_id",
        contract.as_str()
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| read_document(row.statement_id, &row.content)).collect()
}

/// The documents of the last statements of a contract before an instant: one for each pair of parties and unit.
///
/// # Errors
/// The database's, or a document that cannot be read.
pub async fn load_last_documents(
    conn: &mut PgConnection,
    contract: &ContractId,
    before: Instant,
) -> Result<Vec<Statement>, StoreError> {
    let rows = sqlx::query!(
        "select distinct on (s.party_a, s.party_b, s.currency, s.digits) s.statement_id, r.content
         from statement s
         join lateral (select content from statement_revision where statement_id = s.statement_id
                       order by revision desc limit 1) r on true
         where s.contract_id = $1 and s.period_start < $2
         order by s.party_a, s.party_b, s.currency, s.digits, s.period_start desc",
        contract.as_str(),
        before
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| read_document(row.statement_id, &row.content)).collect()
}

fn read_document(statement_id: i64, content: &str) -> Result<Statement, StoreError> {
    StoreError::decoded("statement_revision.content", statement_id, serde_json::from_str(content))
}

/// How many events up to the period's end no mapping knew when a statement's last revision was drawn up.
///
/// # Errors
/// The database's.
pub async fn load_unresolved_events(conn: &mut PgConnection, head: &StatementHead) -> Result<i64, StoreError> {
    let events = sqlx::query_scalar!(
        "select g.unresolved_events from statement_revision r join settlement g using (settlement_id)
         where r.statement_id = $1 and r.revision = $2",
        head.statement_id,
        head.revision
    );
    Ok(events.fetch_one(conn).await?)
}

/// The statement of the same contract, parties, unit and period, if there is one.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn find_statement(
    conn: &mut PgConnection,
    statement: &Statement,
) -> Result<Option<StatementHead>, StoreError> {
    let [a, b] = &statement.parties;
    let id = sqlx::query_scalar!(
        "select statement_id from statement where contract_id = $1 and party_a = $2 and party_b = $3
           and currency = $4 and digits = $5 and period = $6",
        statement.contract.as_str(),
        a.as_str(),
        b.as_str(),
        statement.unit.to_string(),
        digits(&statement.unit),
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
///
/// # Errors
/// The database's, which refuses a draft of what was issued.
pub async fn insert_draft(
    conn: &mut PgConnection,
    statement: &Statement,
    content: &str,
    settlement_id: i64,
    maker: &Signature,
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
        hex(&Sha256::digest(content))
    )
    .execute(&mut *conn)
    .await?;
    append_status(conn, id, revision, StatementStatus::Draft, maker, "drawn up").await?;
    Ok(id)
}

async fn insert_statement(conn: &mut PgConnection, statement: &Statement) -> Result<i64, StoreError> {
    let [a, b] = &statement.parties;
    let id = sqlx::query_scalar!(
        "insert into statement (contract_id, party_a, party_b, currency, digits, period, period_start)
         values ($1, $2, $3, $4, $5, $6, $7) returning statement_id",
        statement.contract.as_str(),
        a.as_str(),
        b.as_str(),
        statement.unit.to_string(),
        digits(&statement.unit),
        statement.period.to_string(),
        statement.span.start
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Closes a period: the database refuses bookings into it from then on. A second close changes nothing.
///
/// # Errors
/// The database's.
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
