//! Cloud costs beside what is rated of usage, as known at an instant, and figures that are made of them.

use super::charges::charges;
use super::contracts::{ContractsError, load};
use crate::domain::cloud_cost::{CostFigure, CostFigureError, correction};
use crate::domain::cost_comparison::{CloudByProvider, CostComparison, RatedUsage, compare};
use crate::domain::period::{Instant, Span};
use crate::store::costs::{HeldCostsFilter, load_held, load_reported};
use crate::store::records::load_records;
use crate::store::{StoreError, recording};
use chrono_tz::Tz;
use serde_json::Value;
use sqlx::PgPool;
use std::collections::BTreeSet;

/// What to compare.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// From whole hour to whole hour: usage is summed by the hour.
    pub span: Span,
    pub clouds: CloudByProvider,
    /// What is reported of these services alone; all where it is empty.
    pub services: BTreeSet<String>,
}

/// Compares what clouds report for the usage of a span with what is rated of it, as known at an instant that was handed out.
///
/// # Errors
/// The database, or a stored document that cannot be read.
pub async fn compare_costs(
    pool: &PgPool,
    request: &CompareRequest,
    known_at: Instant,
) -> Result<CostComparison, ContractsError> {
    let CompareRequest { span, clouds, services } = request;
    let rated = charges(pool, *span, known_at).await?.into_iter().map(|it| RatedUsage {
        rated: it.amount.zip(it.currency),
        cloud: it.cloud,
        product: it.product,
        meter: it.meter,
        quantity: it.quantity,
    });
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let register = load(&mut conn, known_at).await?.register;
    let reported = load_reported(&mut conn, *span, known_at).await?;
    Ok(compare(&reported, services, &rated.collect::<Vec<_>>(), clouds, &register))
}

#[derive(Debug, thiserror::Error)]
pub enum CostFigureFault {
    #[error(transparent)]
    Figure(#[from] CostFigureError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a record of the costs that are held as known at an instant that was handed out, or the correction of one that
/// stands: one line, as records are taken in.
///
/// # Errors
/// The database's, or why they make none.
pub async fn cost_figure(pool: &PgPool, figure: &CostFigure, known_at: Instant) -> Result<Value, CostFigureFault> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let filter = HeldCostsFilter {
        provider: Some(figure.provider.clone()),
        billing_account: figure.billing_account.clone(),
        billing: Some(figure.period.span(Tz::UTC)),
        ..HeldCostsFilter::default()
    };
    let held = load_held(&mut conn, &filter, known_at).await?;
    let counted = match figure.categories.is_empty() {
        true => held.clone(),
        false => {
            let filter = HeldCostsFilter { categories: figure.categories.iter().copied().collect(), ..filter };
            load_held(&mut conn, &filter, known_at).await?
        }
    };
    let record = figure.record(&held, &counted)?;
    let Some(corrects) = &figure.corrects else { return Ok(record.to_json()) };
    // As records stand now, however long ago the costs were known.
    let now = recording::watermark(pool).await?;
    Ok(correction(&record, corrects, &load_records(&mut conn, now).await?)?)
}
