//! What an example gives, as a scenario: each row becomes usage or a record, each charge with a price of its own.

mod untold;

use super::Scenario;
use crate::domain::contract::Contract;
use crate::domain::contract::document::Location;
use crate::domain::contract::example::{Given, Quantity, What, When};
use crate::domain::contract::measure::FigureKind;
use crate::domain::contract::selector::Attribute;
use crate::domain::entry::{Entry, EntryError};
use crate::domain::fx::FxRate;
use crate::domain::ids::{DefinedTerm, DeploymentId, PartyId, ProductId};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::Instant;
use crate::domain::price::{Narrowing, Price};
use crate::domain::register::{Cloud, Deployment, Product, Register};
use crate::domain::usage::Meter;
use chrono::TimeDelta;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Why a row cannot be run, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct GivenError {
    pub at: Location,
    pub problem: GivenProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenProblem {
    #[error("no amount; write one, such as 1_000.50 USD")]
    NoAmount,
    #[error("{amount} is in no currency, and money is in one")]
    NoCurrency { amount: String },
    #[error("{number} is no number of at most 28 digits, zero or more")]
    Number { number: Exact },
    #[error("a charge is for a whole number of units, 1 or more, not for {quantity}")]
    Units { quantity: String },
    #[error("the column \"{column}\" says nothing of this; what it is about is told by what it names, or elsewhere")]
    Column { column: String },
    #[error("no register names a {kind} \"{name}\"")]
    Unknown { kind: &'static str, name: String },
    #[error("deployment {deployment} has another {column} than \"{found}\"")]
    OtherPlace { deployment: String, column: &'static str, found: String },
    #[error(
        "another charge of the same product, region and channel has another price at that instant; give it another"
    )]
    SameInstant,
    #[error("a flow is of a period or day, and this is an instant")]
    NoDays,
    #[error("the contract has no [fx], which names the source of rates")]
    NoFx,
    #[error("{0}")]
    Entry(String),
}

type Result<T> = std::result::Result<T, GivenError>;

/// What the seller is called that a charge does not name: no contract can select it.
const SOMEBODY: &str = "somebody, for the example";
const SOURCE: &str = "example";

/// What rows tell, as it grows.
pub(super) struct Told<'a> {
    contract: &'a Contract,
    zone: Tz,
    /// With a deployment for each charge that names none.
    pub register: Register,
    pub scenario: Scenario,
    /// Rows by their ids, as corrected so far.
    standing: BTreeMap<String, Given>,
    /// How many rows were told.
    count: usize,
}

impl<'a> Told<'a> {
    pub fn new(contract: &'a Contract, register: &Register) -> Self {
        let mut register = register.clone();
        let maker = PartyId::from(SOMEBODY);
        register.products.insert(ProductId::from(SOMEBODY), Product { maker: maker.clone(), capabilities: Vec::new() });
        register.clouds.insert(SOMEBODY.to_owned(), Cloud { operator: maker });
        let (standing, scenario) = (BTreeMap::new(), Scenario::default());
        Self { contract, zone: contract.head.zone, register, scenario, standing, count: 0 }
    }

    /// Adds a row, recorded when it says so, or at the latest of its own instant and `not_before`.
    ///
    /// # Errors
    /// What of it cannot be run.
    pub fn add(&mut self, given: &Given, not_before: Option<Instant>) -> Result<()> {
        self.count = self.count.saturating_add(1);
        let id = given.id.clone().unwrap_or_else(|| format!("{} {}", SOMEBODY, self.count));
        let own = match &given.what {
            What::Figure(name) if self.is_flow(name) => given.at.last(self.zone),
            _ => given.at.start(self.zone),
        };
        let own = not_before.map_or(own, |not_before| own.max(not_before));
        let recorded = given.recorded.as_ref().map_or(own, |at| at.start(self.zone));
        let mut fields = match &given.what {
            What::Rate { from, to } => return self.rate(given, from, to, recorded),
            What::Correction { of } => {
                let corrected = self.corrected(given, of);
                let mut fields = self.fields(&corrected, &format!("{of}, {id}"))?;
                self.standing.insert(of.clone(), corrected);
                fields.insert("kind".to_owned(), json!("correction"));
                fields.insert("corrects".to_owned(), json!(of));
                fields
            }
            What::Void { of } => {
                self.only(given, &[])?;
                Map::from_iter([("kind".to_owned(), json!("void")), ("voids".to_owned(), json!(of))])
            }
            _ => self.fields(given, &id)?,
        };
        fields.insert("source".to_owned(), json!(SOURCE));
        fields.insert("id".to_owned(), json!(id));
        fields.insert("recorded_at".to_owned(), json!(recorded.to_rfc3339()));
        let fail = |problem: EntryError| self.problem(given, GivenProblem::Entry(problem.to_string()));
        let text = Value::Object(fields).to_string();
        let entry = Entry::from_json(&text).map_err(fail)?;
        self.scenario.entries.push(entry);
        self.standing.insert(id, given.clone());
        Ok(())
    }

    fn problem(&self, given: &Given, problem: GivenProblem) -> GivenError {
        GivenError { at: given.place.clone(), problem }
    }

    fn fail<T>(&self, given: &Given, problem: GivenProblem) -> Result<T> {
        Err(self.problem(given, problem))
    }

    /// What a row becomes where another corrects it: what that leaves empty stays.
    fn corrected(&self, given: &Given, of: &str) -> Given {
        let Some(mut merged) = self.standing.get(of).cloned() else { return given.clone() };
        merged.place = given.place.clone();
        merged.at = given.at.clone();
        merged.until = given.until.clone().or(merged.until);
        merged.amount = given.amount.clone().or(merged.amount);
        merged.values.extend(given.values.clone());
        merged
    }

    fn is_flow(&self, name: &DefinedTerm) -> bool {
        let declared = self.contract.versions.iter().rev().find_map(|version| version.figures.get(name));
        declared.is_some_and(|figure| figure.kind == FigureKind::Flow)
    }

    /// The fields of a record, without who it is.
    fn fields(&mut self, given: &Given, id: &str) -> Result<Map<String, Value>> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        let at = given.at.start(self.zone).to_rfc3339();
        let contract = self.contract.head.id.as_str();
        let named = |ids: &[String]| ids.iter().map(|id| json!({"source": SOURCE, "id": id})).collect::<Vec<Value>>();
        match &given.what {
            What::Charge | What::Usage => return self.usage(given, id),
            What::Billing { of } => {
                set("kind", json!("billing"));
                set("amount", json!(self.money(given)?.to_string()));
                if !of.is_empty() {
                    self.only(given, &[])?;
                    set("for", json!(named(of)));
                }
                set("at", json!(at));
            }
            What::Receipt { of } => {
                self.only(given, &[])?;
                set("kind", json!("receipt"));
                set("amount", json!(self.money(given)?.to_string()));
                set("for", json!(named(of)));
                set("at", json!(at));
            }
            What::Deduction { category, of } => {
                set("kind", json!("deduction"));
                set("category", json!(category));
                set("amount", json!(self.money(given)?.to_string()));
                set("at", json!(at));
                match of.is_empty() {
                    true => self.reduced(given, id, &mut fields)?,
                    false => {
                        self.only(given, &[])?;
                        set("events", json!(named(of)));
                    }
                }
                return Ok(fields);
            }
            What::Figure(name) | What::Notice(name) => {
                let amount = given.amount.as_ref().ok_or_else(|| self.problem(given, GivenProblem::NoAmount))?;
                set("kind", json!("figure"));
                set("contract", json!(contract));
                set("name", json!(name.as_str()));
                set("by", json!(SOMEBODY));
                set("value", json!(amount.to_string()));
                if self.is_flow(name) {
                    let days = given.at.days().ok_or_else(|| self.problem(given, GivenProblem::NoDays))?;
                    set("from", json!(days.first_day.to_string()));
                    set("through", json!(days.last_day().to_string()));
                } else {
                    set("at", json!(at));
                }
            }
            What::Fact(name) | What::Status(name) => {
                set("kind", json!("fact"));
                set("contract", json!(contract));
                set("name", json!(name.as_str()));
                set("by", json!(SOMEBODY));
                set("at", json!(at));
                self.happened(given, name, &mut fields)?;
            }
            // Told by whom they name.
            What::Rate { .. } | What::Correction { .. } | What::Void { .. } => {}
        }
        self.about(given, &mut fields)?;
        Ok(fields)
    }

    /// What is told of a fact beside what it is about.
    fn happened(&self, given: &Given, name: &DefinedTerm, fields: &mut Map<String, Value>) -> Result<()> {
        if let Some(until) = &given.until {
            fields.insert("until".to_owned(), json!(until.start(self.zone).to_rfc3339()));
        }
        if let Some(party) = given.values.get(name.as_str()) {
            self.known_party(given, party)?;
            fields.insert("party".to_owned(), json!(party));
        }
        let evidence = given.values.get("evidence").map_or(SOMEBODY, String::as_str);
        fields.insert("evidence".to_owned(), json!(evidence));
        Ok(())
    }

    /// What a deduction reduces that names nothing.
    fn reduced(&mut self, given: &Given, id: &str, fields: &mut Map<String, Value>) -> Result<()> {
        let place = ["deployment", "product", "customer", "cloud", "channel", "region", "operator", "seller"];
        self.only(given, &place)?;
        fields.insert("deployment".to_owned(), json!(self.deployment(given, id, None)?.0));
        fields.insert("product".to_owned(), json!(self.product(given)?));
        if let Some(customer) = given.values.get("customer") {
            fields.insert("customer".to_owned(), json!(customer));
        }
        Ok(())
    }

    /// Refuses columns that would be passed over.
    fn only(&self, given: &Given, columns: &[&str]) -> Result<()> {
        let notes = ["source", "confidence", "evidence"];
        let mut other = given.values.keys().filter(|name| !columns.contains(&name.as_str()));
        match other.find(|name| !notes.contains(&name.as_str())) {
            Some(column) => self.fail(given, GivenProblem::Column { column: column.clone() }),
            None => Ok(()),
        }
    }

    /// What a record is about.
    fn about(&self, given: &Given, fields: &mut Map<String, Value>) -> Result<()> {
        let is_fact = matches!(given.what, What::Fact(_) | What::Status(_));
        let own = match &given.what {
            What::Fact(name) | What::Status(name) => name.as_str(),
            _ => "",
        };
        let plain: Vec<&str> = Attribute::PLAIN.iter().map(Attribute::name).collect();
        let also: &[&str] = if is_fact { &["capability", own] } else { &[] };
        self.only(given, &[plain.as_slice(), also].concat())?;
        for (name, value) in &given.values {
            if plain.contains(&name.as_str()) || is_fact && name == "capability" {
                self.known_name(given, name, value)?;
                fields.insert(name.clone(), json!(value));
            }
        }
        Ok(())
    }

    /// Looks up names that have to be in a register.
    fn known_name(&self, given: &Given, column: &str, name: &str) -> Result<()> {
        let (kind, is_known) = match column {
            "seller" | "operator" => return self.known_party(given, name),
            "product" => ("product", self.register.products.contains_key(&ProductId::from(name))),
            "cloud" => ("cloud", self.register.clouds.contains_key(name)),
            "deployment" => ("deployment", self.register.deployments.contains_key(&DeploymentId::from(name))),
            _ => return Ok(()),
        };
        if is_known { Ok(()) } else { self.fail(given, GivenProblem::Unknown { kind, name: name.to_owned() }) }
    }

    fn known_party(&self, given: &Given, name: &str) -> Result<()> {
        match self.register.parties.contains_key(&PartyId::from(name)) {
            true => Ok(()),
            false => self.fail(given, GivenProblem::Unknown { kind: "party", name: name.to_owned() }),
        }
    }

    fn product(&self, given: &Given) -> Result<String> {
        let Some(name) = given.values.get("product") else { return Ok(SOMEBODY.to_owned()) };
        self.known_name(given, "product", name)?;
        Ok(name.clone())
    }

    fn amount<'g>(&self, given: &'g Given) -> Result<&'g Quantity> {
        given.amount.as_ref().ok_or_else(|| self.problem(given, GivenProblem::NoAmount))
    }

    fn money<'g>(&self, given: &'g Given) -> Result<&'g Quantity> {
        let amount = self.amount(given)?;
        self.currency(given, amount).map(|_| amount)
    }

    fn currency(&self, given: &Given, amount: &Quantity) -> Result<Currency> {
        let currency = amount.unit.as_ref().and_then(|unit| unit.parse().ok());
        currency.ok_or_else(|| self.problem(given, GivenProblem::NoCurrency { amount: amount.to_string() }))
    }

    fn decimal(&self, given: &Given, number: &Exact) -> Result<Decimal> {
        let found = (0..=Decimal::MAX_SCALE).find_map(|digits| number.to_decimal(digits));
        let found = found.filter(|_| !number.is_negative());
        found.ok_or_else(|| self.problem(given, GivenProblem::Number { number: number.clone() }))
    }

    /// An event with the price that makes its charge of it.
    fn usage(&mut self, given: &Given, id: &str) -> Result<Map<String, Value>> {
        let plain: Vec<&str> = Attribute::PLAIN.iter().map(Attribute::name).collect();
        self.only(given, &[plain.as_slice(), &["quantity"]].concat())?;
        let is_charge = given.what == What::Charge;
        let seller = is_charge.then_some(SOMEBODY);
        let (deployment, narrowing) = self.deployment(given, id, seller)?;
        let product = self.product(given)?;
        let fail = |problem: &dyn std::fmt::Display| self.problem(given, GivenProblem::Entry(problem.to_string()));
        let meter = given.values.get("meter").map_or(Ok(Meter::Requests), |name| name.parse::<Meter>());
        let meter = meter.map_err(|problem| fail(&problem))?;
        let amount = self.amount(given)?;
        let (quantity, price, per_units, currency) = if is_charge {
            let stated = given.values.get("quantity").map_or("1", String::as_str);
            let wrong = || self.problem(given, GivenProblem::Units { quantity: stated.to_owned() });
            let units: NonZeroU64 = stated.replace('_', "").parse().map_err(|_| wrong())?;
            let price = self.decimal(given, &amount.number)?;
            (Decimal::from(units.get()), price, units, self.currency(given, amount)?)
        } else {
            self.only(given, &plain)?;
            let quantity = self.decimal(given, &amount.number)?;
            (quantity, Decimal::ZERO, NonZeroU64::MIN, self.contract.head.currency)
        };
        let at = given.at.start(self.zone);
        let service_tier = given.values.get("service_tier").map_or("default", String::as_str);
        // Where region and channel are stated, only its instant tells a charge from others.
        let is_dated = narrowing == Narrowing::Any;
        self.add_price(
            given,
            Price {
                id: format!("price of {id}"),
                product: ProductId::new(&product),
                meter,
                service_tier: service_tier.to_owned(),
                narrowing,
                context_over: 0,
                amount: price,
                per_units,
                currency,
                from: is_dated.then_some(at),
                to: is_dated.then(|| at.checked_add_signed(TimeDelta::microseconds(1))).flatten(),
                source: SOURCE.to_owned(),
            },
        )?;
        let mut fields = Map::from_iter([
            ("kind".to_owned(), json!("usage")),
            ("occurred_at".to_owned(), json!(at.to_rfc3339())),
            ("deployment".to_owned(), json!(deployment)),
            ("product".to_owned(), json!(product)),
            ("service_tier".to_owned(), json!(service_tier)),
            ("quantities".to_owned(), json!({ meter.name(): quantity.to_string() })),
        ]);
        for name in ["customer", "buyer", "buyer_class", "country", "label"] {
            if let Some(value) = given.values.get(name) {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        if let Some(until) = &given.until {
            fields.insert("ended_at".to_owned(), json!(until.start(self.zone).to_rfc3339()));
        }
        Ok(fields)
    }

    fn add_price(&mut self, given: &Given, price: Price) -> Result<()> {
        let whose = |it: &Price| (it.product.clone(), it.meter, it.service_tier.clone(), it.narrowing.clone(), it.from);
        let says = |it: &Price| (it.amount, it.per_units, it.currency);
        let same = self.scenario.prices.iter().find(|(_, other)| whose(other) == whose(&price));
        if same.is_some_and(|(_, other)| says(other) != says(&price)) {
            return self.fail(given, GivenProblem::SameInstant);
        }
        self.scenario.prices.push((None, price));
        Ok(())
    }

    /// Where a row stands: the deployment that it names, or one of its own; and what tells its price from others.
    fn deployment(&mut self, given: &Given, id: &str, seller: Option<&str>) -> Result<(String, Narrowing)> {
        let stated = |column: &str| given.values.get(column);
        for column in ["seller", "operator", "cloud", "deployment"] {
            stated(column).map_or(Ok(()), |name| self.known_name(given, column, name))?;
        }
        if let Some(name) = stated("deployment")
            && let Some(known) = self.register.deployments.get(&DeploymentId::new(name))
        {
            let seller = known.seller.as_ref().map_or("", PartyId::as_str);
            let told = [
                ("cloud", known.cloud.as_str()),
                ("channel", &known.channel),
                ("region", &known.region),
                ("operator", known.operator.as_str()),
                ("seller", seller),
            ];
            for (column, known) in told {
                if let Some(found) = stated(column).filter(|found| *found != known) {
                    let (deployment, found) = (name.clone(), found.clone());
                    return self.fail(given, GivenProblem::OtherPlace { deployment, column, found });
                }
            }
            return Ok((name.clone(), Narrowing::Any));
        }
        let own = format!("place of {id}");
        let cloud = stated("cloud").map_or(SOMEBODY, String::as_str);
        let seller = stated("seller").map(String::as_str).or(seller).map(PartyId::from);
        let of_cloud = self.register.clouds.get(cloud).map(|cloud| cloud.operator.clone());
        let operator = stated("operator").map(PartyId::new).or(of_cloud).unwrap_or_else(|| PartyId::from(SOMEBODY));
        let narrowing = match (stated("region"), stated("channel")) {
            (None, _) => Narrowing::Region(own.clone()),
            (_, None) => Narrowing::Channel(own.clone()),
            (Some(_), Some(_)) => Narrowing::Any,
        };
        let place = Deployment {
            cloud: cloud.to_owned(),
            channel: stated("channel").unwrap_or(&own).clone(),
            region: stated("region").unwrap_or(&own).clone(),
            operator,
            seller,
        };
        self.register.deployments.insert(DeploymentId::new(&own), place);
        Ok((own, narrowing))
    }

    /// A rate as the source of the contract's conversions states it.
    fn rate(&mut self, given: &Given, from: &str, to: &str, recorded_at: Instant) -> Result<()> {
        self.only(given, &[])?;
        let rule = self.contract.versions.iter().rev().find_map(|version| version.fx.as_ref());
        let source = rule.ok_or_else(|| self.problem(given, GivenProblem::NoFx))?.source.clone();
        let days = given.at.days().ok_or_else(|| self.problem(given, GivenProblem::NoDays))?;
        self.scenario.rates.push(FxRate {
            date: days.first_day,
            from: from.to_owned(),
            to: to.to_owned(),
            rate: self.amount(given)?.number.clone(),
            source,
            recorded_at: Some(recorded_at),
        });
        Ok(())
    }
}

/// When a row is said to be known: at the end of a day, that day included.
pub(super) fn known_by(known: Option<&When>, zone: Tz) -> Instant {
    known.map_or(Instant::MAX_UTC, |when| when.last(zone))
}
