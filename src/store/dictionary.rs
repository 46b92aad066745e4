//! Numbers for what usage rows have in common, so that the rows stay narrow.

use super::StoreError;
use super::usage_rows::{EventRow, Rows};
use crate::domain::ids::EventId;
use crate::domain::usage::{RequestOutcome, UsageAttributes, UsageContent, UsageEvent};
use foldhash::fast::RandomState;
use sqlx::PgConnection;
use std::fmt::Display;
use std::hash::BuildHasher;

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

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

impl OwnedDimension {
    fn of(dimension: &Dimension<'_>) -> Self {
        let Dimension { source, deployment, product, service_tier, rules, .. } = dimension;
        Self {
            names: [source, deployment, product, service_tier, rules].map(|name| (*name).to_owned()),
            outcome: dimension.outcome,
            attributes: dimension.attributes.clone(),
            is_interval: dimension.is_interval,
        }
    }

    fn as_dimension(&self) -> Dimension<'_> {
        let [source, deployment, product, service_tier, rules] = &self.names;
        let (outcome, attributes, is_interval) = (self.outcome, &self.attributes, self.is_interval);
        Dimension { source, deployment, product, service_tier, outcome, attributes, is_interval, rules }
    }
}

/// The dimensions and customers that the rows of a batch name, each once: rows have their places here.
#[derive(Clone, Debug, Default)]
pub struct Names {
    dimensions: Vec<OwnedDimension>,
    /// By the hash of a dimension, so that none is copied to be found.
    dimension_places: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    customers: Vec<String>,
    customer_places: HashMap<String, usize>,
}

impl Names {
    /// The place of a dimension. Places count from 0, in the order of first use.
    pub fn dimension(&mut self, dimension: &Dimension<'_>) -> usize {
        let places = self.dimension_places.entry(self.hasher.hash_one(dimension)).or_default();
        let is_it = |place: &&usize| self.dimensions.get(**place).is_some_and(|it| it.as_dimension() == *dimension);
        if let Some(place) = places.iter().find(is_it) {
            return *place;
        }
        places.push(self.dimensions.len());
        self.dimensions.push(OwnedDimension::of(dimension));
        self.dimensions.len().saturating_sub(1)
    }

    /// The rules by which the event of a row was normalised.
    pub fn rules(&self, row: &EventRow) -> &str {
        self.dimensions[row.dimension].as_dimension().rules
    }

    /// How many dimensions and how many customers there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.dimensions.len(), self.customers.len())
    }

    /// The dimensions in the order of their places.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension<'_>> {
        self.dimensions.iter().map(OwnedDimension::as_dimension)
    }

    /// The event of a row whose places are of these names, as it was reported.
    pub fn event(&self, row: &EventRow) -> UsageEvent {
        let dimension = &self.dimensions[row.dimension];
        let [source, deployment, product, service_tier, _] = dimension.names.clone();
        let content = UsageContent {
            occurred_at: row.occurred_at,
            ended_at: row.ended_at,
            deployment,
            product,
            customer: self.customers[row.customer].clone(),
            service_tier,
            outcome: dimension.outcome,
            attributes: dimension.attributes.clone(),
            quantities: row.quantities.joined(),
        };
        UsageEvent { id: EventId { source, id: row.id.clone() }, content }
    }

    /// The place of a customer.
    pub fn customer(&mut self, customer: &str) -> usize {
        if let Some(place) = self.customer_places.get(customer) {
            return *place;
        }
        let place = self.customers.len();
        self.customers.push(customer.to_owned());
        self.customer_places.insert(customer.to_owned(), place);
        place
    }
}

/// The numbers that a writer knows. Entries are added once their transaction is committed.
#[derive(Debug, Default)]
pub struct Dictionary {
    dimensions: HashMap<OwnedDimension, i32>,
    customers: HashMap<String, i32>,
}

/// The numbers of those of a batch's [`Names`] that its rows have, by their places.
#[derive(Debug, Default)]
pub struct Numbers {
    dimensions: Vec<Option<i32>>,
    customers: Vec<Option<i32>>,
    /// Those that the dictionary did not have.
    new_dimensions: Vec<(OwnedDimension, i32)>,
    new_customers: Vec<(String, i32)>,
}

/// A writer keeps at most this many customers in memory; beyond it starts anew.
const MAX_CUSTOMERS: usize = 1_000_000;

/// The same of dimensions, which attributes may make many.
const MAX_DIMENSIONS: usize = 100_000;

impl Numbers {
    pub(super) fn dimension(&self, place: usize) -> Result<i32, StoreError> {
        self.dimensions.get(place).copied().flatten().ok_or_else(|| missing("usage_dimension.dimension_id", place))
    }

    pub(super) fn customer(&self, place: usize) -> Result<i32, StoreError> {
        self.customers.get(place).copied().flatten().ok_or_else(|| missing("usage_customer.customer_id", place))
    }
}

fn missing(column: &'static str, row: impl Display) -> StoreError {
    StoreError::Corrupt { column, row: row.to_string(), problem: "was inserted and is not there".to_owned() }
}

impl Dictionary {
    /// Finds the numbers of all that the rows of a batch name, and gives numbers to what has none.
    ///
    /// New entries are inserted in sorted order, dimensions first, so that two writers never wait for each
    /// other in a ring.
    ///
    /// # Errors
    /// The database's.
    pub async fn numbers(&self, connection: &mut PgConnection, rows: &Rows<'_>) -> Result<Numbers, StoreError> {
        let (names, used) = (&rows.names, rows.used());
        let dimensions = || names.dimensions.iter().zip(&used.dimensions);
        let customers = || names.customers.iter().zip(&used.customers);
        let unknown = dimensions().filter(|(it, used)| **used && !self.dimensions.contains_key(*it));
        let new_dimensions = add_dimensions(connection, unknown.map(|(it, _)| it.clone()).collect()).await?;
        let unknown = customers().filter(|(it, used)| **used && !self.customers.contains_key(*it));
        let new_customers = add_customers(connection, unknown.map(|(it, _)| it.clone()).collect()).await?;
        let added: HashMap<&OwnedDimension, i32> = new_dimensions.iter().map(|(it, number)| (it, *number)).collect();
        let number = |it| self.dimensions.get(it).or_else(|| added.get(it)).copied();
        let dimensions = dimensions().map(|(it, used)| if *used { number(it) } else { None }).collect();
        let added: HashMap<&str, i32> = new_customers.iter().map(|(it, number)| (it.as_str(), *number)).collect();
        let number = |it: &String| self.customers.get(it).or_else(|| added.get(it.as_str())).copied();
        let customers = customers().map(|(it, used)| if *used { number(it) } else { None }).collect();
        Ok(Numbers { dimensions, customers, new_dimensions, new_customers })
    }

    /// Keeps the numbers of a batch that was committed.
    pub fn keep(&mut self, numbers: Numbers) {
        if self.customers.len() > MAX_CUSTOMERS {
            self.customers.clear();
        }
        if self.dimensions.len() > MAX_DIMENSIONS {
            self.dimensions.clear();
        }
        self.dimensions.extend(numbers.new_dimensions);
        self.customers.extend(numbers.new_customers);
    }
}

async fn add_dimensions(
    connection: &mut PgConnection,
    new: Vec<OwnedDimension>,
) -> Result<Vec<(OwnedDimension, i32)>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
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
    let numbers: HashMap<usize, i32> =
        // Ordinals count from 1.
        rows.into_iter().filter_map(|row| Some((usize::try_from(row.place).ok()?.checked_sub(1)?, row.dimension_id))).collect();
    Ok(new.into_iter().enumerate().filter_map(|(place, it)| Some((it, *numbers.get(&place)?))).collect())
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

async fn add_customers(connection: &mut PgConnection, new: Vec<String>) -> Result<Vec<(String, i32)>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query!(
        // what exists is left out first, so that it burns no number
        "insert into usage_customer (customer)
         select n.customer from unnest($1::text[]) as n (customer)
         where not exists (select from usage_customer c where c.customer = n.customer)
         order by 1
         on conflict do nothing",
        &new
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query!("select customer_id, customer from usage_customer where customer = any($1)", &new)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.customer, row.customer_id)).collect())
}
