//! Master data, price book, rates of exchange and contract versions: appended as loaded, read as known at an instant.

use super::StoreError;
use super::recording;
use crate::domain::contract::Clause;
use crate::domain::contract::additions::{Additions, NewVersion};
use crate::domain::contract::folder::VersionDocument;
use crate::domain::contract::rights::RightKind;
use crate::domain::contract::term::Term;
use crate::domain::fx::FxRate;
use crate::domain::hex::hex;
use crate::domain::ids::{ContractId, DeploymentId, PartyId, ProductId, TermId};
use crate::domain::period::Instant;
use crate::domain::price::{Narrowing, Price};
use crate::domain::register::{Cloud, Deployment, Party, Product, ProductGroup, Register};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// What loading a folder added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Added {
    pub register_entries: u64,
    pub prices: u64,
    pub versions: u64,
    pub facts: u64,
    pub rates: u64,
}

fn per_units(stored: i64) -> Result<NonZeroU64, std::num::TryFromIntError> {
    NonZeroU64::try_from(u64::try_from(stored)?)
}

/// When the first version of a contract was recorded; none where none is.
///
/// # Errors
/// The database's.
pub async fn first_recorded(conn: &mut PgConnection, contract: &ContractId) -> Result<Option<Instant>, StoreError> {
    let first =
        sqlx::query_scalar!("select min(recorded_at) from contract_version where contract_id = $1", contract.as_str());
    Ok(first.fetch_one(conn).await?)
}

/// The register as known at an instant.
///
/// # Errors
/// The database's.
pub async fn load_register(conn: &mut PgConnection, known_at: Instant) -> Result<Register, StoreError> {
    let mut register = Register::default();
    for row in sqlx::query!("select party_id, name, address, tax_id, bank from party where recorded_at <= $1", known_at)
        .fetch_all(&mut *conn)
        .await?
    {
        let party = Party { name: row.name, address: row.address, tax_id: row.tax_id, bank: row.bank };
        register.parties.insert(PartyId::new(row.party_id), party);
    }
    for row in sqlx::query!("select cloud_id, operator from cloud where recorded_at <= $1", known_at)
        .fetch_all(&mut *conn)
        .await?
    {
        register.clouds.insert(row.cloud_id, Cloud { operator: PartyId::new(row.operator) });
    }
    for row in sqlx::query!("select product_id, maker, capabilities from product where recorded_at <= $1", known_at)
        .fetch_all(&mut *conn)
        .await?
    {
        let product = Product { maker: PartyId::new(row.maker), capabilities: row.capabilities };
        register.products.insert(ProductId::new(row.product_id), product);
    }
    for row in sqlx::query!("select group_id, products from product_group where recorded_at <= $1", known_at)
        .fetch_all(&mut *conn)
        .await?
    {
        let products = row.products.into_iter().map(ProductId::new).collect();
        register.groups.insert(row.group_id, ProductGroup { products });
    }
    for row in sqlx::query!(
        "select deployment_id, cloud, channel, region, operator, seller from deployment where recorded_at <= $1",
        known_at
    )
    .fetch_all(&mut *conn)
    .await?
    {
        let deployment = Deployment {
            cloud: row.cloud,
            channel: row.channel,
            region: row.region,
            operator: PartyId::new(row.operator),
            seller: row.seller.map(PartyId::new),
        };
        register.deployments.insert(DeploymentId::new(row.deployment_id), deployment);
    }
    Ok(register)
}

/// The prices known at an instant, in the order of their recording.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_prices(conn: &mut PgConnection, known_at: Instant) -> Result<Vec<Price>, StoreError> {
    let rows = sqlx::query!(
        "select price_id, product, meter, service_tier, customer, region, channel, context_over,
                amount, per_units, currency, starts_at, ends_at, source
         from price where recorded_at <= $1 order by sequence",
        known_at
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let narrowing = match (row.customer, row.region, row.channel) {
                (Some(customer), _, _) => Narrowing::Customer(customer),
                (None, Some(region), _) => Narrowing::Region(region),
                (None, None, Some(channel)) => Narrowing::Channel(channel),
                (None, None, None) => Narrowing::Any,
            };
            Ok(Price {
                meter: StoreError::decoded("price.meter", &row.price_id, row.meter.parse())?,
                currency: StoreError::decoded("price.currency", &row.price_id, row.currency.parse())?,
                context_over: StoreError::decoded(
                    "price.context_over",
                    &row.price_id,
                    u64::try_from(row.context_over),
                )?,
                per_units: StoreError::decoded("price.per_units", &row.price_id, per_units(row.per_units))?,
                id: row.price_id,
                product: ProductId::new(row.product),
                service_tier: row.service_tier,
                narrowing,
                amount: row.amount,
                from: row.starts_at,
                to: row.ends_at,
                source: row.source,
            })
        })
        .collect()
}

/// The rates of exchange known at an instant, in the order of their recording; a restated one with those before it.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_rates(conn: &mut PgConnection, known_at: Instant) -> Result<Vec<FxRate>, StoreError> {
    let rows = sqlx::query!(
        "select sequence, source, rate_date, from_unit, to_unit, rate, recorded_at
         from fx_rate where recorded_at <= $1 order by sequence",
        known_at
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(FxRate {
                date: row.rate_date,
                from: row.from_unit,
                to: row.to_unit,
                rate: StoreError::decoded("fx_rate.rate", row.sequence, row.rate.parse())?,
                source: row.source,
                recorded_at: Some(row.recorded_at),
            })
        })
        .collect()
}

/// The documents of all contract versions known at an instant, by contract and number.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_versions(conn: &mut PgConnection, known_at: Instant) -> Result<Vec<VersionDocument>, StoreError> {
    let rows = sqlx::query!(
        "select contract_id, number, definitions, document from contract_version
         where recorded_at <= $1 order by contract_id collate \"C\", number",
        known_at
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let number = StoreError::decoded("contract_version.number", &row.contract_id, u32::try_from(row.number))?;
            Ok(VersionDocument {
                contract: ContractId::new(row.contract_id),
                number,
                definitions: row.definitions,
                document: row.document,
            })
        })
        .collect()
}

/// Appends what is new, of the register what is not there yet, recorded at `at`, which the caller's transaction was given.
///
/// # Errors
/// The database's, or a number that is too large for its column.
pub async fn append(
    conn: &mut PgConnection,
    register: &Register,
    additions: &Additions,
    at: Instant,
) -> Result<Added, StoreError> {
    let mut added = Added { register_entries: append_register(&mut *conn, register, at).await?, ..Added::default() };
    for price in &additions.prices {
        added.prices = added.prices.saturating_add(append_price(&mut *conn, price, at).await?);
    }
    for rate in &additions.rates {
        append_rate(&mut *conn, rate, at).await?;
        added.rates = added.rates.saturating_add(1);
    }
    for version in &additions.versions {
        append_version(&mut *conn, version, at).await?;
        added.versions = added.versions.saturating_add(1);
    }
    recording::note_alone(conn, at).await?;
    Ok(added)
}

async fn append_register(conn: &mut PgConnection, register: &Register, at: Instant) -> Result<u64, StoreError> {
    let mut added: u64 = 0;
    let mut count = |done: sqlx::postgres::PgQueryResult| added = added.saturating_add(done.rows_affected());
    for (id, party) in &register.parties {
        let insert = sqlx::query!(
            "insert into party (party_id, name, recorded_at, address, tax_id, bank) values ($1, $2, $3, $4, $5, $6)
             on conflict do nothing",
            id.as_str(),
            party.name,
            at,
            &party.address,
            party.tax_id,
            &party.bank
        );
        count(insert.execute(&mut *conn).await?);
    }
    for (id, cloud) in &register.clouds {
        let insert = sqlx::query!(
            "insert into cloud (cloud_id, operator, recorded_at) values ($1, $2, $3) on conflict do nothing",
            id,
            cloud.operator.as_str(),
            at
        );
        count(insert.execute(&mut *conn).await?);
    }
    for (id, product) in &register.products {
        let insert = sqlx::query!(
            "insert into product (product_id, maker, capabilities, recorded_at) values ($1, $2, $3, $4)
             on conflict do nothing",
            id.as_str(),
            product.maker.as_str(),
            &product.capabilities,
            at
        );
        count(insert.execute(&mut *conn).await?);
    }
    for (id, group) in &register.groups {
        let products: Vec<String> = group.products.iter().map(ToString::to_string).collect();
        let insert = sqlx::query!(
            "insert into product_group (group_id, products, recorded_at) values ($1, $2, $3) on conflict do nothing",
            id,
            &products,
            at
        );
        count(insert.execute(&mut *conn).await?);
    }
    for (id, it) in &register.deployments {
        let insert = sqlx::query!(
            "insert into deployment (deployment_id, cloud, channel, region, operator, seller, recorded_at)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            id.as_str(),
            it.cloud,
            it.channel,
            it.region,
            it.operator.as_str(),
            it.seller.as_ref().map(PartyId::as_str),
            at
        );
        count(insert.execute(&mut *conn).await?);
    }
    Ok(added)
}

async fn append_price(conn: &mut PgConnection, price: &Price, at: Instant) -> Result<u64, StoreError> {
    let (mut customer, mut region, mut channel) = (None, None, None);
    match &price.narrowing {
        Narrowing::Any => {}
        Narrowing::Customer(name) => customer = Some(name),
        Narrowing::Region(name) => region = Some(name),
        Narrowing::Channel(name) => channel = Some(name),
    }
    let done = sqlx::query!(
        "insert into price (price_id, product, meter, service_tier, customer, region, channel, context_over,
                            amount, per_units, currency, starts_at, ends_at, source, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict do nothing",
        price.id,
        price.product.as_str(),
        price.meter.name(),
        price.service_tier,
        customer,
        region,
        channel,
        StoreError::encoded::<i64, _>("price.context_over", price.context_over)?,
        price.amount as Decimal,
        StoreError::encoded::<i64, _>("price.per_units", price.per_units.get())?,
        price.currency.code(),
        price.from,
        price.to,
        price.source,
        at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn append_rate(conn: &mut PgConnection, rate: &FxRate, at: Instant) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into fx_rate (source, rate_date, from_unit, to_unit, rate, recorded_at) values ($1, $2, $3, $4, $5, $6)",
        rate.source,
        rate.date,
        rate.from,
        rate.to,
        rate.rate.to_string(),
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn append_version(conn: &mut PgConnection, new: &NewVersion, at: Instant) -> Result<(), StoreError> {
    let NewVersion { document: version, read } = new;
    let number = StoreError::encoded::<i32, _>("contract_version.number", version.number)?;
    let digest = Sha256::new().chain_update(&version.definitions).chain_update(&version.document).finalize();
    sqlx::query!("insert into contract (contract_id) values ($1) on conflict do nothing", version.contract.as_str())
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "insert into contract_version (contract_id, number, effective_at, recorded_at, definitions, document, sha256)
         values ($1, $2, $3, $4, $5, $6, $7)",
        version.contract.as_str(),
        number,
        read.effective_at,
        at,
        version.definitions,
        version.document,
        hex(&digest)
    )
    .execute(&mut *conn)
    .await?;
    let of_version: BTreeSet<&PartyId> = read.terms.iter().flat_map(Term::parties).collect();
    for term in &read.terms {
        let (parties, span): (BTreeSet<&PartyId>, _) = (term.parties().into_iter().collect(), term.life.dates());
        append_term(&mut *conn, version, number, (&term.id, "money", &term.clause), &parties, span).await?;
    }
    for right in &read.rights {
        let parties = match &right.kind {
            RightKind::Licence { licensor, licensee, .. } => &BTreeSet::from([licensor, licensee]),
            // Who may sell what first or alone concerns everybody who is in the agreement.
            RightKind::First { .. } | RightKind::Only(_) => &of_version,
        };
        let named = (&right.id, right.kind.name(), &right.clause);
        append_term(&mut *conn, version, number, named, parties, right.life.dates()).await?;
    }
    Ok(())
}

async fn append_term(
    conn: &mut PgConnection,
    version: &VersionDocument,
    number: i32,
    (id, kind, clause): (&TermId, &str, &Clause),
    parties: &BTreeSet<&PartyId>,
    (starts_at, ends_at): (Option<Instant>, Option<Instant>),
) -> Result<(), StoreError> {
    let parties: Vec<String> = parties.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into contract_term (contract_id, number, term_id, kind, heading, parties, starts_at, ends_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        version.contract.as_str(),
        number,
        id.as_str(),
        kind,
        clause.heading,
        &parties,
        starts_at,
        ends_at
    )
    .execute(conn)
    .await?;
    Ok(())
}
