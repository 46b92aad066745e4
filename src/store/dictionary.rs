//! Numbers for what usage rows have in common, so that the rows stay narrow.

use super::StoreError;
use crate::domain::usage::{RequestOutcome, UsageAttributes, UsageContent};
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;

/// What usage rows have in common; names as reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension<'a> {
    pub source: &'a str,
    pub deployment: &'a str,
    pub product: &'a str,
    pub service_tier: &'a str,
    pub outcome: Option<RequestOutcome>,
    pub attributes: &'a UsageAttributes,
    pub is_interval: bool,
    pub rules: &'a str,
}

impl<'a> Dimension<'a> {
    pub fn of(source: &'a str, rules: &'a str, content: &'a UsageContent) -> Self {
        Self {
            source,
            deployment: &content.deployment,
            product: &content.product,
            service_tier: &content.service_tier,
            outcome: content.outcome,
            attributes: &content.attributes,
            is_interval: content.is_interval(),
            rules,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OwnedDimension {
    /// Source, deployment, product, service tier, rules.
    names: [String; 5],
    outcome: Option<RequestOutcome>,
    attributes: UsageAttributes,
    is_interval: bool,
}

/// The numbers that a writer knows. Entries are added once their transaction is committed.
#[derive(Debug, Default)]
pub struct Dictionary {
    dimensions: HashMap<OwnedDimension, i32>,
    customers: HashMap<String, i32>,
}

/// What of the dictionary one batch needs, by name; includes what it added.
#[derive(Debug, Default)]
pub struct Numbers {
    dimensions: HashMap<OwnedDimension, i32>,
    customers: HashMap<String, i32>,
}

/// A writer keeps at most this many customers in memory; beyond it starts anew.
const MAX_CUSTOMERS: usize = 1_000_000;

/// The same of dimensions, which attributes may make many.
const MAX_DIMENSIONS: usize = 100_000;

impl Numbers {
    pub(super) fn dimension(&self, dimension: &Dimension<'_>) -> Result<i32, StoreError> {
        self.dimensions
            .get(&owned(dimension))
            .copied()
            .ok_or_else(|| missing("usage_dimension.dimension_id", dimension.deployment))
    }

    pub(super) fn customer(&self, customer: &str) -> Result<i32, StoreError> {
        self.customers.get(customer).copied().ok_or_else(|| missing("usage_customer.customer_id", customer))
    }
}

fn owned(dimension: &Dimension<'_>) -> OwnedDimension {
    let names = [dimension.source, dimension.deployment, dimension.product, dimension.service_tier, dimension.rules];
    OwnedDimension {
        names: names.map(str::to_owned),
        outcome: dimension.outcome,
        attributes: dimension.attributes.clone(),
        is_interval: dimension.is_interval,
    }
}

fn missing(column: &'static str, row: &str) -> StoreError {
    StoreError::Corrupt { column, row: row.to_owned(), problem: "was inserted and is not there".to_owned() }
}

impl Dictionary {
    /// Finds the numbers of all that a batch names, and gives numbers to what has none.
    ///
    /// New entries are inserted in sorted order, dimensions first, so that two writers never wait for each
    /// other in a ring.
    ///
    /// # Errors
    /// The database's.
    pub async fn numbers(
        &self,
        connection: &mut PgConnection,
        dimensions: &BTreeSet<Dimension<'_>>,
        customers: &BTreeSet<&str>,
    ) -> Result<Numbers, StoreError> {
        let mut numbers = Numbers::default();
        let mut new_dimensions = Vec::new();
        for dimension in dimensions {
            let key = owned(dimension);
            match self.dimensions.get(&key) {
                Some(number) => drop(numbers.dimensions.insert(key, *number)),
                None => new_dimensions.push(key),
            }
        }
        let mut new_customers = Vec::new();
        for customer in customers {
            match self.customers.get(*customer) {
                Some(number) => drop(numbers.customers.insert((*customer).to_owned(), *number)),
                None => new_customers.push((*customer).to_owned()),
            }
        }
        add_dimensions(connection, &new_dimensions, &mut numbers).await?;
        add_customers(connection, &new_customers, &mut numbers).await?;
        Ok(numbers)
    }

    /// Keeps the numbers of a batch that was committed.
    pub fn keep(&mut self, numbers: Numbers) {
        if self.customers.len() > MAX_CUSTOMERS {
            self.customers.clear();
        }
        if self.dimensions.len() > MAX_DIMENSIONS {
            self.dimensions.clear();
        }
        self.dimensions.extend(numbers.dimensions);
        self.customers.extend(numbers.customers);
    }
}

async fn add_dimensions(
    connection: &mut PgConnection,
    new: &[OwnedDimension],
    numbers: &mut Numbers,
) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let column = |place: usize| new.iter().map(|it| it.names[place].clone()).collect::<Vec<_>>();
    let [sources, deployments, products, tiers, rules] = [0, 1, 2, 3, 4].map(column);
    let outcomes: Vec<Option<String>> =
        new.iter().map(|it| it.outcome.map(|outcome| outcome.name().to_owned())).collect();
    let attributes: Vec<serde_json::Value> = new.iter().map(|it| serde_json::json!(it.attributes)).collect();
    let are_intervals: Vec<bool> = new.iter().map(|it| it.is_interval).collect();
    sqlx::query!(
        // what exists is left out first, so that it burns no number
        "insert into usage_dimension (source, deployment, product, service_tier, outcome, attributes, is_interval, rules)
         select n.*
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::boolean[], $8::text[])
           as n (source, deployment, product, service_tier, outcome, attributes, is_interval, rules)
         where not exists (select from usage_dimension d
           where (d.source, d.deployment, d.product, d.service_tier, d.attributes, d.is_interval, d.rules)
             = (n.source, n.deployment, n.product, n.service_tier, n.attributes, n.is_interval, n.rules)
             and d.outcome is not distinct from n.outcome)
         order by 1, 2, 3, 4, 5, 6, 7, 8
         on conflict do nothing",
        &sources,
        &deployments,
        &products,
        &tiers,
        &outcomes as &[Option<String>],
        &attributes,
        &are_intervals,
        &rules
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        r#"select n.place as "place!", d.dimension_id from usage_dimension d
         join unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::boolean[], $8::text[])
           with ordinality
             as n (source, deployment, product, service_tier, outcome, attributes, is_interval, rules, place)
           on (d.source, d.deployment, d.product, d.service_tier, d.attributes, d.is_interval, d.rules)
             = (n.source, n.deployment, n.product, n.service_tier, n.attributes, n.is_interval, n.rules)
             and d.outcome is not distinct from n.outcome"#,
        &sources,
        &deployments,
        &products,
        &tiers,
        &outcomes as &[Option<String>],
        &attributes,
        &are_intervals,
        &rules
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        // Ordinals count from 1.
        let place = usize::try_from(row.place).ok().and_then(|place| place.checked_sub(1));
        if let Some(dimension) = place.and_then(|place| new.get(place)) {
            numbers.dimensions.insert(dimension.clone(), row.dimension_id);
        }
    }
    Ok(())
}

/// Reads `usage_dimension.outcome` of a row.
///
/// # Errors
/// It is none that we know.
pub(super) fn outcome(name: Option<&str>, row: impl Display) -> Result<Option<RequestOutcome>, StoreError> {
    name.map(|name| StoreError::decoded("usage_dimension.outcome", row, name.parse())).transpose()
}

/// Reads `usage_dimension.attributes` of a row.
///
/// # Errors
/// They are none that we know.
pub(super) fn attributes(json: serde_json::Value, row: impl Display) -> Result<UsageAttributes, StoreError> {
    StoreError::decoded("usage_dimension.attributes", row, serde_json::from_value(json))
}

async fn add_customers(connection: &mut PgConnection, new: &[String], numbers: &mut Numbers) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        // what exists is left out first, so that it burns no number
        "insert into usage_customer (customer)
         select n.customer from unnest($1::text[]) as n (customer)
         where not exists (select from usage_customer c where c.customer = n.customer)
         order by 1
         on conflict do nothing",
        new
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query!("select customer_id, customer from usage_customer where customer = any($1)", new)
        .fetch_all(connection)
        .await?;
    numbers.customers.extend(rows.into_iter().map(|row| (row.customer, row.customer_id)));
    Ok(())
}
