//! Invoices and credit notes: drawn once from a statement, numbered without gaps by issuer, never changed.

use super::StoreError;
use super::books::StatementHead;
use crate::domain::calendar::Period;
use crate::domain::hex::hex;
use crate::domain::ids::{ContractId, InvoiceNumber, PartyId};
use crate::domain::invoice::{Invoice, InvoiceKind};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::Instant;
use crate::domain::statement::StatementStatus;
use chrono::NaiveDate;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

/// A document as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct InvoiceHead {
    pub number: InvoiceNumber,
    pub kind: InvoiceKind,
    pub issuer: PartyId,
    pub payer: PartyId,
    pub contract: ContractId,
    pub period: Period,
    pub statement_id: i64,
    pub issued_on: NaiveDate,
    /// The contract's date; where it lies before `issued_on`, the document is to be paid on receipt.
    pub due_on: Option<NaiveDate>,
    pub currency: Currency,
    /// Positive: the payer owes it; negative: it is given back.
    pub total: Exact,
    pub drawn_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub drawn_at: Instant,
    /// The digest of the document.
    pub sha256: String,
}

/// Which documents to list; what is absent is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvoiceFilter {
    pub number: Option<InvoiceNumber>,
    pub kind: Option<InvoiceKind>,
    pub issuer: Option<PartyId>,
    pub payer: Option<PartyId>,
    pub contract: Option<ContractId>,
    pub period: Option<Period>,
    pub statement_id: Option<i64>,
    /// Only those after the document of this number.
    pub after: Option<InvoiceNumber>,
    /// How many at most.
    pub limit: Option<i64>,
}

/// The documents that a filter asks for, by issuer and number.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_invoices(conn: &mut PgConnection, filter: &InvoiceFilter) -> Result<Vec<InvoiceHead>, StoreError> {
    let rows = sqlx::query!(
        r#"select i.number, i.kind, i.issuer, i.payer, s.contract_id, s.period, i.statement_id, i.issued_on, i.due_on,
                  s.currency, i.total::text as "total!", d.drawn_by, d.drawn_at, i.sha256
           from invoice i join invoice_draw d using (statement_id) join statement s using (statement_id)
           where ($1::text is null or i.number = $1) and ($2::text is null or i.kind = $2)
             and ($3::text is null or i.issuer = $3) and ($4::text is null or i.payer = $4)
             and ($5::text is null or s.contract_id = $5) and ($6::text is null or s.period = $6)
             and ($7::bigint is null or i.statement_id = $7)
             and ($8::text is null or (i.issuer collate "C", i.sequence)
               > (select p.issuer collate "C", p.sequence from invoice p where p.number = $8))
           order by i.issuer collate "C", i.sequence limit $9"#,
        filter.number.as_ref().map(InvoiceNumber::as_str),
        filter.kind.map(InvoiceKind::name),
        filter.issuer.as_ref().map(PartyId::as_str),
        filter.payer.as_ref().map(PartyId::as_str),
        filter.contract.as_ref().map(ContractId::as_str),
        filter.period.map(|period| period.to_string()),
        filter.statement_id,
        filter.after.as_ref().map(InvoiceNumber::as_str),
        filter.limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let number = row.number;
            Ok(InvoiceHead {
                kind: StoreError::decoded("invoice.kind", &number, row.kind.parse())?,
                issuer: PartyId::new(row.issuer),
                payer: PartyId::new(row.payer),
                contract: ContractId::new(row.contract_id),
                period: StoreError::decoded("statement.period", &number, row.period.parse())?,
                statement_id: row.statement_id,
                issued_on: row.issued_on,
                due_on: row.due_on,
                currency: StoreError::decoded("statement.currency", &number, row.currency.parse())?,
                total: StoreError::decoded("invoice.total", &number, row.total.parse())?,
                drawn_by: row.drawn_by,
                drawn_at: row.drawn_at,
                sha256: row.sha256,
                number: InvoiceNumber::new(number),
            })
        })
        .collect()
}

/// The documents of some numbers, by issuer and number, byte for byte what their heads' digests are of.
///
/// # Errors
/// The database's.
pub async fn load_contents(conn: &mut PgConnection, numbers: &[InvoiceNumber]) -> Result<Vec<String>, StoreError> {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let contents = sqlx::query_scalar!(
        r#"select content from invoice where number = any($1) order by issuer collate "C", sequence"#,
        &numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(contents)
}

/// What an issuer asked of a payer under the statement's contract so far, document by document.
///
/// # Errors
/// The database's, or a document that cannot be read.
pub async fn load_earlier(
    conn: &mut PgConnection,
    statement: &StatementHead,
    issuer: &PartyId,
) -> Result<Vec<Invoice>, StoreError> {
    let rows = sqlx::query!(
        "select i.number, i.content from invoice i join statement s using (statement_id)
         where i.issuer = $1 and i.payer in ($2, $3) and s.contract_id = $4 and s.currency = $5
         order by i.sequence",
        issuer.as_str(),
        statement.party_a.as_str(),
        statement.party_b.as_str(),
        statement.contract.as_str(),
        statement.unit.to_string()
    )
    .fetch_all(conn)
    .await?;
    let read = rows.iter().map(|row| {
        let invoice = serde_json::from_str(&row.content);
        StoreError::decoded("invoice.content", &row.number, invoice)
    });
    read.collect()
}

/// Whether a statement's documents were drawn.
///
/// # Errors
/// The database's.
pub async fn is_drawn(conn: &mut PgConnection, statement_id: i64) -> Result<bool, StoreError> {
    let drawn = sqlx::query_scalar!(
        r#"select exists (select from invoice_draw where statement_id = $1) as "drawn!""#,
        statement_id
    )
    .fetch_one(conn)
    .await?;
    Ok(drawn)
}

/// The issued statements whose documents were not drawn yet, period after period within a contract.
///
/// # Errors
/// The database's.
pub async fn load_undrawn(conn: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let undrawn = sqlx::query_scalar!(
        "select s.statement_id from statement s
         where exists (select from statement_status t where t.statement_id = s.statement_id and t.status = 'issued')
           and not exists (select from invoice_draw d where d.statement_id = s.statement_id)
         order by s.contract_id collate \"C\", s.period_start, s.statement_id",
    )
    .fetch_all(conn)
    .await?;
    Ok(undrawn)
}

/// A statement of the same contract, parties and currency, of an earlier period, whose documents come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierUndrawn {
    pub statement_id: i64,
    pub period: String,
    pub status: StatementStatus,
}

/// The first such statement, if there is any.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_earlier_undrawn(
    conn: &mut PgConnection,
    statement_id: i64,
) -> Result<Option<EarlierUndrawn>, StoreError> {
    let row = sqlx::query!(
        "select before.statement_id, before.period, t.status
         from statement s join statement before
           on (before.contract_id, before.party_a, before.party_b, before.currency)
              = (s.contract_id, s.party_a, s.party_b, s.currency) and before.period_start < s.period_start
         join lateral (select status from statement_status where statement_id = before.statement_id
                       order by sequence desc limit 1) t on true
         where s.statement_id = $1
           and not exists (select from invoice_draw d where d.statement_id = before.statement_id)
         order by before.period_start limit 1",
        statement_id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let status = StoreError::decoded("statement_status.status", row.statement_id, row.status.parse())?;
    Ok(Some(EarlierUndrawn { statement_id: row.statement_id, period: row.period, status }))
}

/// Writes down that a statement's documents are drawn; returns when.
///
/// # Errors
/// The database's, which refuses what was never issued, a second time, and an earlier period that was left out.
pub async fn insert_draw(conn: &mut PgConnection, statement: &StatementHead, by: &str) -> Result<Instant, StoreError> {
    let at = sqlx::query_scalar!(
        "insert into invoice_draw (statement_id, revision, drawn_at, drawn_by)
         values ($1, $2, clock_timestamp(), $3) returning drawn_at",
        statement.statement_id,
        statement.revision,
        by
    )
    .fetch_one(conn)
    .await?;
    Ok(at)
}

/// Takes an issuer's next number and the time: whoever else wants one waits until this transaction ends.
///
/// # Errors
/// The database's.
pub async fn take_sequence(conn: &mut PgConnection, issuer: &PartyId) -> Result<(u32, Instant), StoreError> {
    let row = sqlx::query!(
        r#"insert into invoice_counter (issuer, last_sequence) values ($1, 1)
           on conflict (issuer) do update set last_sequence = invoice_counter.last_sequence + 1
           returning last_sequence, clock_timestamp() as "now!""#,
        issuer.as_str()
    )
    .fetch_one(conn)
    .await?;
    let sequence = StoreError::decoded("invoice_counter.last_sequence", issuer, u32::try_from(row.last_sequence))?;
    Ok((sequence, row.now))
}

/// Writes a document.
///
/// # Errors
/// The database's, which refuses a number that is taken or leaves a gap.
pub async fn insert_invoice(
    conn: &mut PgConnection,
    invoice: &Invoice,
    sequence: u32,
    content: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into invoice (issuer, sequence, number, kind, payer, statement_id, revision, issued_on, due_on, total,
                              content, sha256)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric, $11, $12)",
        invoice.issuer.party.as_str(),
        StoreError::encoded::<i32, _>("invoice.sequence", sequence)?,
        invoice.number.as_str(),
        invoice.kind.name(),
        invoice.payer.party.as_str(),
        invoice.statement.statement_id,
        invoice.statement.revision,
        invoice.issued_on,
        invoice.due_on,
        invoice.total.to_string(),
        content,
        hex(&Sha256::digest(content))
    )
    .execute(conn)
    .await?;
    Ok(())
}
