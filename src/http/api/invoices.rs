//! `/invoices`: invoices and credit notes, as JSON, CSV or PDF; drawn from issued statements.

use super::statements::StatementPath;
use crate::domain::ids::{ContractId, InvoiceNumber, PartyId};
use crate::domain::invoice::Invoice;
use crate::http::HttpState;
use crate::http::auth::{Reader, Settler};
use crate::http::idempotency::Write;
use crate::http::input::{Path, Query, parse};
use crate::http::listing::{CSV, JSON, Page, PageParams, Wanted, choose};
use crate::http::problem::{Problem, Problems, TypesetProblem, WriteProblems};
use crate::http::schema::Binary;
use crate::jobs::invoices::{Drawn, InvoiceError, draw as draw_invoices};
use crate::render;
use crate::store::invoices::{InvoiceFilter, InvoiceHead, load_contents, load_invoices};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

const PDF: &str = "application/pdf";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// invoice or credit_note.
    kind: Option<String>,
    issuer: Option<String>,
    payer: Option<String>,
    contract: Option<String>,
    /// Such as 2026-05.
    period: Option<String>,
    statement: Option<i64>,
}

/// List invoices and credit notes
#[utoipa::path(
    get, path = "/api/v1/invoices", tag = "invoices", security(("key" = ["read"])),
    params(Filter, PageParams),
    responses((status = 200, description = "By issuer and number", body = Page<InvoiceHead>), Problems),
)]
pub async fn list(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let filter = InvoiceFilter {
        number: None,
        kind: filter.kind.map(|text| parse("kind", &text)).transpose()?,
        issuer: filter.issuer.map(PartyId::new),
        payer: filter.payer.map(PartyId::new),
        contract: filter.contract.map(ContractId::new),
        period: filter.period.map(|text| parse("period", &text)).transpose()?,
        statement_id: filter.statement,
        after: page.cursor::<String>()?.map(InvoiceNumber::new),
        limit: Some(limit.saturating_add(1)),
    };
    let mut conn = caller.read(&state.reads).await?;
    let heads = load_invoices(&mut conn, &filter).await?;
    Page::cut(heads, limit, |head| head.number.to_string()).respond(&wanted)
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Csv,
    Pdf,
}

/// Read an invoice or credit note
///
/// As JSON byte for byte what its digest is of, as CSV a row a line, or as PDF, by `Accept`.
#[utoipa::path(
    get, path = "/api/v1/invoices/{number}", tag = "invoices", security(("key" = ["read"])),
    params(("number" = String, Path, description = "Such as OPENAI-000001")),
    responses(
        (status = 200, description = "The document", content(
            (Invoice = "application/json"), (String = "text/csv"), (Binary = "application/pdf"))),
        Problems, TypesetProblem,
    ),
)]
pub async fn show(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = choose(&headers, &[(JSON, Form::Json), (CSV, Form::Csv), (PDF, Form::Pdf)])?;
    let number = InvoiceNumber::new(number);
    let mut conn = caller.read(&state.reads).await?;
    let content = load_contents(&mut conn, std::slice::from_ref(&number)).await?.pop();
    let content = content.ok_or_else(|| Problem::not_found(format!("there is no invoice or credit note {number}")))?;
    let (content_type, bytes) = match form {
        Form::Json => (JSON, content.into_bytes()),
        Form::Csv => {
            let invoice: Invoice = serde_json::from_str(&content).map_err(InvoiceError::from)?;
            let text = render::csv::csv(&[invoice]).map_err(|error| Problem::internal(&error))?;
            ("text/csv; charset=utf-8", text.into_bytes())
        }
        Form::Pdf => {
            let title = "The document cannot be typeset";
            let unprintable =
                |error: render::pdf::PdfError| Problem::unprocessable("not-typeset", title, error.to_string());
            // Typesetting takes the processor for a while, which other requests share.
            let typeset = tokio::task::spawn_blocking(move || render::pdf::pdf(&content)).await;
            (PDF, typeset.map_err(|error| Problem::internal(&error))?.map_err(unprintable)?)
        }
    };
    let mut response = ([(header::CONTENT_TYPE, content_type)], bytes).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Draw a statement's invoices and credit notes
///
/// Once it is issued. Drawn again, the same documents are answered.
#[utoipa::path(
    post, path = "/api/v1/statements/{id}/invoices", tag = "invoices", security(("key" = ["settle"])),
    params(StatementPath, super::WriteHeaders),
    responses((status = 200, description = "The documents", body = Drawn), Problems, WriteProblems),
)]
pub async fn draw(
    Settler(caller): Settler,
    Path(StatementPath { id }): Path<StatementPath>,
    write: Write,
) -> Result<Response, Problem> {
    let mut writing = write.begin().await?;
    let drawn = draw_invoices(&mut *writing, id, &caller.holder).await?;
    writing.end(Json(drawn)).await
}
