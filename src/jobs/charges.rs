//! Usage and charges of a span by cloud and channel.

use super::contracts::{ContractsError, Known, load};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::{Instant, Span, Timeline};
use crate::domain::rating::{UsageRollup, rate};
use crate::store::StoreError;
use crate::store::recording::watermark;
use crate::store::rollups::load_usage;
use sqlx::PgPool;
use std::collections::BTreeMap;

/// What was used and charged through one channel of one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChannelCharges {
    pub cloud: String,
    pub channel: String,
    /// None where nobody charges: a licence.
    pub seller: Option<String>,
    /// All token meters together.
    pub tokens: Exact,
    /// Gross charges at list price by currency, unrounded.
    pub gross: BTreeMap<Currency, Exact>,
    /// Quantities without a price in force by product and meter; they are in no sum.
    pub unpriced: BTreeMap<String, Exact>,
}

/// What a seller charged for a meter of a product, through one channel of one cloud.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct ChargeSum {
    pub cloud: String,
    pub channel: String,
    pub seller: String,
    pub product: String,
    pub meter: String,
    pub quantity: Exact,
    /// Unrounded; absent where no price is in force.
    pub amount: Option<Exact>,
    pub currency: Option<Currency>,
}

/// Which sum of charges it is: cloud, channel, seller, product and meter, and the currency.
pub type ChargeKey = ([String; 5], Option<Currency>);

impl ChargeSum {
    pub fn key(&self) -> ChargeKey {
        let Self { cloud, channel, seller, product, meter, .. } = self;
        ([cloud, channel, seller, product, meter].map(Clone::clone), self.currency)
    }
}

/// Quantities and amounts by currency; without one what has no price.
type ByCurrency = BTreeMap<Option<Currency>, (Exact, Exact)>;

/// Sums the charges of a span by cloud, channel, seller, product, meter and currency, ordered by these, as known at an
/// instant.
///
/// # Errors
/// The database, or a stored document that cannot be read.
pub async fn charges(pool: &PgPool, span: Span, known_at: Instant) -> Result<Vec<ChargeSum>, ContractsError> {
    let (known, timeline, usage) = load_known_usage(pool, span, known_at).await?;
    let mut sums: BTreeMap<[String; 5], ByCurrency> = BTreeMap::new();
    for charge in rate(&usage, &timeline, &known.register, &known.prices) {
        let it = charge.attributes;
        let of = sums.entry([it.cloud, it.channel, it.seller, it.product, it.meter]).or_default();
        let (quantity, amount) = of.entry(charge.rated.as_ref().map(|rated| rated.currency)).or_default();
        *quantity += &charge.quantity;
        *amount += &charge.rated.map(|rated| rated.amount).unwrap_or_default();
    }
    let by_currency = |([cloud, channel, seller, product, meter], of): ([String; 5], ByCurrency)| {
        of.into_iter().map(move |(currency, (quantity, amount))| ChargeSum {
            cloud: cloud.clone(),
            channel: channel.clone(),
            seller: seller.clone(),
            product: product.clone(),
            meter: meter.clone(),
            quantity,
            amount: currency.is_some().then_some(amount),
            currency,
        })
    };
    Ok(sums.into_iter().flat_map(by_currency).collect())
}

async fn load_known_usage(
    pool: &PgPool,
    span: Span,
    known_at: Instant,
) -> Result<(Known, Timeline, Vec<UsageRollup>), ContractsError> {
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    let known = load(&mut conn, known_at).await?;
    let timeline = Timeline::new(span.start, span.end, known.prices.boundaries());
    let usage = load_usage(&mut conn, &timeline, &known.prices.thresholds(), known_at).await?;
    Ok((known, timeline, usage))
}

/// Sums the usage and charges of a span by cloud, channel and seller of record, as known now.
///
/// # Errors
/// The database, or a stored document that cannot be read.
pub async fn charges_by_channel(pool: &PgPool, span: Span) -> Result<Vec<ChannelCharges>, ContractsError> {
    let (known, timeline, usage) = load_known_usage(pool, span, watermark(pool).await?).await?;
    let mut sums: BTreeMap<(String, String, Option<String>), ChannelCharges> = BTreeMap::new();
    for rollup in &usage {
        let Some(deployment) = known.register.deployments.get(&rollup.deployment) else { continue };
        let seller = deployment.seller.as_ref().map(ToString::to_string);
        let sum = sums.entry((deployment.cloud.clone(), deployment.channel.clone(), seller)).or_default();
        if rollup.meter.is_token() {
            sum.tokens += &rollup.quantity;
        }
    }
    for charge in rate(&usage, &timeline, &known.register, &known.prices) {
        let it = charge.attributes;
        let sum = sums.entry((it.cloud, it.channel, Some(it.seller))).or_default();
        match charge.rated {
            Some(rated) => *sum.gross.entry(rated.currency).or_default() += &rated.amount,
            None => {
                let what = format!("{} {}", it.product, it.meter);
                *sum.unpriced.entry(what).or_default() += &charge.quantity;
            }
        }
    }
    let named = |((cloud, channel, seller), sum)| ChannelCharges { cloud, channel, seller, ..sum };
    Ok(sums.into_iter().map(named).collect())
}
