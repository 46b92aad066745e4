//! Draws the invoices and credit notes of issued statements, once for each, and shows them.

use crate::domain::ids::InvoiceNumber;
use crate::domain::invoice::{
    Circumstances, Drawing, DrawingError, Invoice, InvoiceKind, NotDrawn, StatementReference, Unnumbered, drawings,
};
use crate::domain::register::Register;
use crate::domain::statement::{Statement, StatementStatus};
use crate::store::StoreError;
use crate::store::books::{StatementHead, load_document, load_statement, lock_contract};
use crate::store::contracts::load_register;
use crate::store::invoices::{
    InvoiceFilter, InvoiceHead, insert_draw, insert_invoice, is_drawn, load_contents, load_earlier,
    load_earlier_undrawn, load_invoices, load_undrawn, take_sequence,
};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool, Postgres};

/// What drawing a statement's documents came to; the same again for a statement that was drawn before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Drawn {
    pub statement_id: i64,
    /// Whether this call drew them.
    pub is_new: bool,
    pub invoices: Vec<InvoiceHead>,
    /// The directions without a document, and why.
    pub not_drawn: Vec<NotDrawn>,
}

/// What drawing all issued statements came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AllDrawn {
    pub drawn: Vec<Drawn>,
    /// The statements that were left, and why.
    pub left: Vec<Left>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub statement_id: i64,
    pub why: String,
}

#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error("no statement {id}")]
    UnknownStatement { id: i64 },
    #[error("statement {id} is {status}; invoices are drawn once it is issued")]
    NotIssued { id: i64, status: StatementStatus },
    #[error(
        "statement {earlier} of {period}, which is {status}, comes before statement {id}: issue it if it is not, then draw its invoices"
    )]
    EarlierFirst { id: i64, earlier: i64, period: String, status: StatementStatus },
    #[error("no invoice or credit note {number}")]
    Unknown { number: InvoiceNumber },
    #[error("statement {id}: {problem}")]
    Drawing { id: i64, problem: DrawingError },
    #[error("the document cannot be read or written: {0}")]
    Document(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for InvoiceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Draws the documents of an issued statement. A second call returns what the first one drew.
///
/// # Errors
/// The statement is not issued, or an earlier one between the same parties comes first.
#[tracing::instrument(name = "invoice.draw", skip(database))]
pub async fn draw<'c>(
    database: impl Acquire<'c, Database = Postgres>,
    statement_id: i64,
    by: &str,
) -> Result<Drawn, InvoiceError> {
    let mut tx = database.begin().await?;
    let known = async |conn: &mut PgConnection| {
        load_statement(conn, statement_id).await?.ok_or(InvoiceError::UnknownStatement { id: statement_id })
    };
    // One draw after another: the second sees what the first one drew.
    let contract = known(&mut tx).await?.contract;
    lock_contract(&mut tx, &contract).await?;
    let head = known(&mut tx).await?;
    // What became of it since it was issued changes nothing that it says.
    if head.status.may_be_drafted_anew() {
        return Err(InvoiceError::NotIssued { id: statement_id, status: head.status });
    }
    let statement: Statement = serde_json::from_str(&load_document(&mut tx, &head).await?)?;
    let problem = |problem| InvoiceError::Drawing { id: statement_id, problem };
    let mut documents = Vec::new();
    let mut not_drawn = Vec::new();
    for drawing in drawings(&statement).map_err(problem)? {
        match drawing {
            Drawing::Document(document) => documents.push(document),
            Drawing::None(none) => not_drawn.push(none),
        }
    }
    let is_new = !is_drawn(&mut tx, statement_id).await?;
    if is_new {
        save(&mut tx, &head, &statement, documents, by).await?;
    }
    let of_statement = InvoiceFilter { statement_id: Some(statement_id), ..InvoiceFilter::default() };
    let invoices = load_invoices(&mut tx, &of_statement).await?;
    tx.commit().await?;
    Ok(Drawn { statement_id, is_new, invoices, not_drawn })
}

async fn save(
    conn: &mut PgConnection,
    head: &StatementHead,
    statement: &Statement,
    documents: Vec<Unnumbered>,
    by: &str,
) -> Result<(), InvoiceError> {
    let id = head.statement_id;
    if let Some(first) = load_earlier_undrawn(&mut *conn, id).await? {
        let (earlier, period, status) = (first.statement_id, first.period, first.status);
        return Err(InvoiceError::EarlierFirst { id, earlier, period, status });
    }
    let drawn_at = insert_draw(&mut *conn, head, by).await?;
    // The parties of a statement were known at its cutoff, which a clock that was put back may lie before.
    let register = load_register(&mut *conn, drawn_at.max(statement.cutoff)).await?;
    for document in documents {
        save_document(&mut *conn, head, statement, document, &register).await?;
    }
    Ok(())
}

async fn save_document(
    conn: &mut PgConnection,
    head: &StatementHead,
    statement: &Statement,
    document: Unnumbered,
    register: &Register,
) -> Result<(), InvoiceError> {
    let earlier = match document.kind {
        InvoiceKind::Invoice => Vec::new(),
        InvoiceKind::CreditNote => load_earlier(&mut *conn, head, &document.issuer).await?,
    };
    let (sequence, issued_at) = take_sequence(&mut *conn, &document.issuer).await?;
    let reference =
        StatementReference { statement_id: head.statement_id, revision: head.revision, sha256: head.sha256.clone() };
    let given = Circumstances { sequence, issued_at, statement: reference, register, earlier: &earlier };
    let numbered = document.numbered(statement, &given);
    let invoice = numbered.map_err(|problem| InvoiceError::Drawing { id: head.statement_id, problem })?;
    let content = serde_json::to_string_pretty(&invoice)?;
    Ok(insert_invoice(conn, &invoice, sequence, &content).await?)
}

/// Draws the documents of every issued statement that has none yet, each in a transaction of its own.
///
/// # Errors
/// A fault of the database that passes; what was drawn before stands.
pub async fn draw_all(pool: &PgPool, by: &str) -> Result<AllDrawn, InvoiceError> {
    let undrawn = load_undrawn(&mut *pool.acquire().await?).await?;
    let mut all = AllDrawn::default();
    for statement_id in undrawn {
        match draw(pool, statement_id, by).await {
            Ok(drawn) => all.drawn.push(drawn),
            Err(InvoiceError::Store(error)) if error.is_transient() => return Err(error.into()),
            // One that cannot be drawn holds up those of its own contract and parties alone.
            Err(error) => all.left.push(Left { statement_id, why: error.to_string() }),
        }
    }
    Ok(all)
}

/// The documents that a filter asks for, by issuer and number.
///
/// # Errors
/// The database's.
pub async fn list(pool: &PgPool, filter: &InvoiceFilter) -> Result<Vec<InvoiceHead>, InvoiceError> {
    Ok(load_invoices(&mut *pool.acquire().await?, filter).await?)
}

/// What the documents that a filter asks for say, in the same order.
///
/// # Errors
/// The database's, or a document that cannot be read.
pub async fn read(pool: &PgPool, filter: &InvoiceFilter) -> Result<Vec<Invoice>, InvoiceError> {
    let mut conn = pool.acquire().await?;
    let numbers: Vec<_> = load_invoices(&mut conn, filter).await?.into_iter().map(|head| head.number).collect();
    let contents = load_contents(&mut conn, &numbers).await?;
    Ok(contents.iter().map(|content| serde_json::from_str(content)).collect::<Result<_, _>>()?)
}

/// A document as it is stored, byte for byte what its digest is of; [`Invoice`] reads it.
///
/// # Errors
/// There is none of that number.
pub async fn document(pool: &PgPool, number: &InvoiceNumber) -> Result<(InvoiceHead, String), InvoiceError> {
    let mut conn = pool.acquire().await?;
    let of_number = InvoiceFilter { number: Some(number.clone()), ..InvoiceFilter::default() };
    let head = load_invoices(&mut conn, &of_number).await?.pop();
    let content = load_contents(&mut conn, std::slice::from_ref(number)).await?.pop();
    head.zip(content).ok_or_else(|| InvoiceError::Unknown { number: number.clone() })
}

/// A document with what it says.
///
/// # Errors
/// There is none of that number, or it cannot be read.
pub async fn show(pool: &PgPool, number: &InvoiceNumber) -> Result<(InvoiceHead, Invoice), InvoiceError> {
    let (head, content) = document(pool, number).await?;
    Ok((head, serde_json::from_str(&content)?))
}
