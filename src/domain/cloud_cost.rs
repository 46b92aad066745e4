//! Cloud costs: what a cloud's own report states that it charged, row by row and in sums. They are no usage.

use super::calendar::Period;
use super::hex::hex;
use super::ids::ContractId;
use super::money::{Currency, Exact};
use super::names::names;
use super::period::{Instant, Span};
use super::record::{Record, RecordError};
use chrono::SecondsFormat;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

names! {
    /// What a cloud charges for, in FOCUS's words.
    ChargeCategory as "charge category" {
        Usage = "Usage",
        Purchase = "Purchase",
        Tax = "Tax",
        Credit = "Credit",
        Adjustment = "Adjustment",
    }

    /// Which of a row's costs.
    CostMeasure as "measure" {
        /// What the invoice says.
        Billed = "billed",
        /// With what was paid ahead spread over what it is for.
        Effective = "effective",
        /// At the prices that were negotiated, before what was paid ahead.
        Contracted = "contracted",
    }
}

/// One row of a cloud's own cost report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudCost {
    pub provider: String,
    pub invoice_issuer: String,
    pub invoice_id: Option<String>,
    pub billing_account: String,
    pub sub_account: Option<String>,
    pub service: String,
    pub sku_price: Option<String>,
    pub resource: Option<String>,
    pub region: Option<String>,
    pub category: ChargeCategory,
    /// Whether it corrects an earlier billing period.
    pub is_correction: bool,
    /// When what is charged for was used, or is for.
    pub charge: Span,
    pub billing: Span,
    pub currency: Currency,
    pub billed: Decimal,
    pub effective: Decimal,
    /// What the contract's prices make of it; some reports leave it out.
    pub contracted: Option<Decimal>,
    pub list: Decimal,
    pub consumed: Option<Decimal>,
    pub consumed_unit: Option<String>,
}

/// Costs of several rows in one currency, exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    pub rows: u64,
    pub billed: Exact,
    pub effective: Exact,
    /// Of the rows that state it.
    pub contracted: Exact,
    /// How many rows leave the contracted cost out.
    pub rows_without_contracted: u64,
    pub list: Exact,
}

impl Costs {
    /// A cost of all rows; none where some of them leave it out.
    pub fn of(&self, measure: CostMeasure) -> Option<&Exact> {
        match measure {
            CostMeasure::Billed => Some(&self.billed),
            CostMeasure::Effective => Some(&self.effective),
            CostMeasure::Contracted => (self.rows_without_contracted == 0).then_some(&self.contracted),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.billed += &other.billed;
        self.effective += &other.effective;
        self.contracted += &other.contracted;
        self.rows_without_contracted = self.rows_without_contracted.saturating_add(other.rows_without_contracted);
        self.list += &other.list;
    }
}

/// What is held of a billing period of an account, in one currency: the whole of it, as the report recorded last has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct HeldCosts {
    /// As the report calls it, such as AWS.
    pub provider: String,
    pub billing_account: String,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub billing_from: Instant,
    /// Exclusive.
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub billing_to: Instant,
    pub currency: Currency,
    pub rows: u64,
    pub billed: Exact,
    pub effective: Exact,
    /// Of the rows that state it.
    pub contracted: Exact,
    /// How many rows leave the contracted cost out.
    pub rows_without_contracted: u64,
    pub list: Exact,
    /// The SHA-256 of what the report's file holds, unpacked; of several that of theirs, sorted, one a line.
    pub report_sha256: String,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub recorded_at: Instant,
}

/// Which of the costs that are held it is. They are ordered by it, names by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldCostsKey {
    pub provider: String,
    pub billing_account: String,
    pub billing_from: Instant,
    pub currency: Currency,
}

impl HeldCosts {
    pub fn key(&self) -> HeldCostsKey {
        let Self { provider, billing_account, billing_from, currency, .. } = self.clone();
        HeldCostsKey { provider, billing_account, billing_from, currency }
    }

    pub fn costs(&self) -> Costs {
        let Self { rows, billed, effective, contracted, rows_without_contracted, list, .. } = self.clone();
        Costs { rows, billed, effective, contracted, rows_without_contracted, list }
    }
}

/// The figure that is to be made of the costs of a provider.
#[derive(Clone, Debug)]
pub struct CostFigure {
    pub provider: String,
    /// Of this account alone.
    pub billing_account: Option<String>,
    /// Of these alone; all where it is empty.
    pub categories: BTreeSet<ChargeCategory>,
    pub period: Period,
    pub measure: CostMeasure,
    /// Needed where there are several.
    pub currency: Option<Currency>,
    pub contract: ContractId,
    pub name: String,
    /// The party that reports it.
    pub by: String,
    /// What it is about, such as a cloud.
    pub about: Vec<(String, String)>,
    /// The record that it corrects, of the same source.
    pub corrects: Option<String>,
}

/// The source of figures that are made of costs.
pub const COST_FIGURES_SOURCE: &str = "cloud-costs";

/// Why costs make no figure.
#[derive(Debug, thiserror::Error)]
pub enum CostFigureError {
    #[error("no cost of {provider}{} is held for {period}", currency.map_or(String::new(), |it| format!(" in {it}")))]
    Nothing { provider: String, currency: Option<Currency>, period: Period },
    #[error(
        "the billing period {from} to {to} of account {account} reaches beyond {period}: take one that holds all of it"
    )]
    Beyond { account: String, from: Instant, to: Instant, period: Period },
    #[error(
        "nothing is held of account {account} for {from} to {to}, which is a part of {period}: import its report first"
    )]
    Missing { account: String, from: Instant, to: Instant, period: Period },
    #[error("the costs are in {}; name one of these", found.join(" and "))]
    Currencies { found: Vec<String> },
    #[error("the contracted cost is left out of {rows} of the rows: take billed or effective")]
    LeftOut { rows: u64 },
    #[error("it makes no record: {0}")]
    Record(#[from] RecordError),
    #[error("no figure of costs \"{id}\" stands, which could be corrected")]
    NoFigure { id: String },
    #[error("\"{id}\" is another figure: its {field} is {theirs}, not {ours}")]
    OtherFigure { id: String, field: String, theirs: String, ours: String },
    #[error("nothing is to be corrected: \"{id}\" stands at {value}")]
    Unchanged { id: String, value: String },
}

impl CostFigure {
    /// Makes a record of all costs that are held for its provider and period, of which those of its categories are counted.
    /// Its id says what was summed, and of which reports.
    ///
    /// # Errors
    /// There is none, one that reaches beyond the period, one that is missing, or no single sum.
    pub fn record(&self, held: &[HeldCosts], counted: &[HeldCosts]) -> Result<Record, CostFigureError> {
        let currency = self.sole_currency(held, counted)?;
        self.check_whole(held)?;
        let mut sum = Costs::default();
        counted.iter().filter(|it| it.currency == currency).for_each(|it| sum.add(&it.costs()));
        let rows = sum.rows_without_contracted;
        let amount = sum.of(self.measure).ok_or(CostFigureError::LeftOut { rows })?;
        let figure = self.figure(&self.id(currency, held), &format!("{amount} {currency}"));
        Ok(Record::from_json(&Value::Object(figure).to_string())?)
    }

    /// The one that is named, or in which all is that counts; where nothing does, in which all is that is held.
    fn sole_currency(&self, held: &[HeldCosts], counted: &[HeldCosts]) -> Result<Currency, CostFigureError> {
        let of = |costs: &[HeldCosts]| costs.iter().map(|it| it.currency).collect::<BTreeSet<_>>();
        let mut found = of(if counted.is_empty() || self.currency.is_some() { held } else { counted });
        if let Some(named) = self.currency {
            found.retain(|it| *it == named);
        }
        match found.iter().collect::<Vec<_>>().as_slice() {
            [] => {
                let (provider, currency) = (self.provider.clone(), self.currency);
                Err(CostFigureError::Nothing { provider, currency, period: self.period })
            }
            [only] => Ok(**only),
            several => Err(CostFigureError::Currencies { found: several.iter().map(ToString::to_string).collect() }),
        }
    }

    /// Of each account all of the period has to be held, and nothing beyond: a part of it would pass for the whole.
    fn check_whole(&self, held: &[HeldCosts]) -> Result<(), CostFigureError> {
        let (whole, period) = (self.period.span(Tz::UTC), self.period);
        let mut spans: BTreeMap<&str, BTreeSet<(Instant, Instant)>> = BTreeMap::new();
        for it in held {
            let (from, to) = (it.billing_from, it.billing_to);
            if from < whole.start || to > whole.end {
                return Err(CostFigureError::Beyond { account: it.billing_account.clone(), from, to, period });
            }
            spans.entry(&it.billing_account).or_default().insert((from, to));
        }
        for (account, spans) in spans {
            let mut from = whole.start;
            for (start, end) in spans.into_iter().chain([(whole.end, whole.end)]) {
                if start > from {
                    return Err(CostFigureError::Missing { account: account.to_owned(), from, to: start, period });
                }
                from = from.max(end);
            }
        }
        Ok(())
    }

    fn figure(&self, id: &str, value: &str) -> Map<String, Value> {
        let (from, through) = (self.period.first_day, self.period.last_day());
        let own = [
            ("kind", "figure".to_owned()),
            ("source", COST_FIGURES_SOURCE.to_owned()),
            ("id", id.to_owned()),
            ("contract", self.contract.to_string()),
            ("name", self.name.clone()),
            ("by", self.by.clone()),
            ("from", from.to_string()),
            ("through", through.to_string()),
            ("value", value.to_owned()),
        ];
        let own = own.into_iter().map(|(field, text)| (field.to_owned(), text));
        self.about.iter().cloned().chain(own).map(|(field, text)| (field, Value::String(text))).collect()
    }

    /// For what figure, what was summed, and of which reports, with when each was recorded: one that was replaced and imported
    /// anew is another.
    fn id(&self, currency: Currency, held: &[HeldCosts]) -> String {
        let stamp = |at: Instant| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let reports: BTreeSet<(&str, Instant)> =
            held.iter().map(|it| (it.report_sha256.as_str(), it.recorded_at)).collect();
        let report = match reports.iter().collect::<Vec<_>>().as_slice() {
            [(sha256, at)] => format!("report-{}@{}", sha256.get(..16).unwrap_or(sha256), stamp(*at)),
            several => {
                let names = several.iter().map(|(sha256, at)| format!("{sha256}@{}", stamp(*at)));
                format!("reports-{}", digest_of(&names.collect()))
            }
        };
        let categories = self.categories.iter().map(|it| it.name()).collect::<Vec<_>>().join("+");
        // One report may make a figure of several contracts and names.
        let about = self.about.iter().map(|(_, value)| value.as_str());
        let parts = [Some(self.provider.as_str()), self.billing_account.as_deref(), Some(categories.as_str())];
        let of = [self.contract.as_str(), self.name.as_str()].into_iter().chain(about);
        let mut id: String =
            of.map(Some).chain(parts).flatten().filter(|it| !it.is_empty()).map(|it| format!("{it}/")).collect();
        id.push_str(&format!("{}/{}/{currency}/{report}", self.period, self.measure));
        id
    }
}

/// The SHA-256 of texts, sorted, each with a line's end.
pub fn digest_of(texts: &BTreeSet<String>) -> String {
    let lines: String = texts.iter().map(|text| format!("{text}\n")).collect();
    hex(&Sha256::digest(lines.as_bytes()))
}

/// The correction that makes a figure which stands what a new one of the same is.
///
/// # Errors
/// It does not stand, is another figure, or is that already.
pub fn correction(figure: &Record, corrects: &str, standing: &[Record]) -> Result<Value, CostFigureError> {
    let id = corrects.to_owned();
    let is_it = |it: &&Record| it.id.source == COST_FIGURES_SOURCE && it.id.id == corrects;
    let Some(theirs) = standing.iter().find(is_it) else { return Err(CostFigureError::NoFigure { id }) };
    let (ours, theirs) = (figure.to_json(), theirs.to_json());
    let text = |record: &Value, field: &str| {
        record.get(field).map_or("none".to_owned(), |it| it.as_str().map_or(it.to_string(), str::to_owned))
    };
    let fields = |record: &Value| record.as_object().map_or(Vec::new(), |it| it.keys().cloned().collect());
    for field in fields(&ours).into_iter().chain(fields(&theirs)).filter(|it| it != "id" && it != "value") {
        let (theirs, ours) = (text(&theirs, &field), text(&ours, &field));
        if theirs != ours {
            return Err(CostFigureError::OtherFigure { id, field, theirs, ours });
        }
    }
    // What was summed is in no field: the id has it before its last part, which is of reports.
    let sum = |id: &str| id.rsplit_once('/').map_or(String::new(), |(sum, _)| sum.to_owned());
    let (of_theirs, of_ours) = (sum(corrects), sum(&figure.id.id));
    if of_theirs != of_ours {
        return Err(CostFigureError::OtherFigure { id, field: "sum".to_owned(), theirs: of_theirs, ours: of_ours });
    }
    let value = text(&ours, "value");
    if text(&theirs, "value") == value {
        return Err(CostFigureError::Unchanged { id, value });
    }
    Ok(json!({
        "kind": "correction", "source": COST_FIGURES_SOURCE, "id": figure.id.id, "corrects": corrects, "value": value,
    }))
}
