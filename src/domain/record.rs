//! Dated, evidenced records beside usage: figures, deductions, receipts, billings, facts and decisions.

pub mod fields;
mod read;

pub use read::read_content;

use super::ids::{ContractId, DefinedTerm, DeploymentId, EventId, PartyId, ProductId, TermId, is_name};
use super::money::{Currency, Exact, Money, ParseExactError, ParseMoneyError};
use super::names::{UnknownName, names};
use super::period::{Instant, ParseInstantError, Span};
use chrono::NaiveDate;
use fields::Fields;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One record with its identity: unique within its source, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: EventId,
    pub content: RecordContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordContent {
    Figure(Figure),
    Level(Level),
    Deduction(Deduction),
    Receipt(Receipt),
    Billing(Billing),
    Fact(Fact),
    Decision(Decision),
}

names! {
    /// What a record is.
    RecordKind as "kind" {
        /// A flow, or a level.
        Figure = "figure",
        Deduction = "deduction",
        Receipt = "receipt",
        Billing = "billing",
        Fact = "fact",
        Decision = "decision",
    }
}

impl RecordContent {
    /// The events and records that it names, whose charges or money it is about.
    pub fn names(&self) -> Vec<&EventId> {
        match self {
            RecordContent::Deduction(deduction) => match &deduction.reduces {
                Reduces::Event(event) => vec![event],
                Reduces::Events(events) => events.iter().collect(),
                Reduces::Usage { .. } => Vec::new(),
            },
            RecordContent::Receipt(receipt) => receipt.pays.iter().map(|paid| &paid.event).collect(),
            RecordContent::Billing(billing) => billing.names.iter().collect(),
            RecordContent::Figure(_)
            | RecordContent::Level(_)
            | RecordContent::Fact(_)
            | RecordContent::Decision(_) => Vec::new(),
        }
    }

    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Figure(_) | Self::Level(_) => RecordKind::Figure,
            Self::Deduction(_) => RecordKind::Deduction,
            Self::Receipt(_) => RecordKind::Receipt,
            Self::Billing(_) => RecordKind::Billing,
            Self::Fact(_) => RecordKind::Fact,
            Self::Decision(_) => RecordKind::Decision,
        }
    }
}

/// A number that a party reports: an amount of a currency or declared unit, or a plain number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    pub amount: Exact,
    /// As it is written; none for a plain number. A percentage is one: `99.5%` is `0.995`.
    pub unit: Option<String>,
}

impl Reported {
    /// The currency that it is in, if that is what its unit names.
    pub fn currency(&self) -> Option<Currency> {
        self.unit.as_ref()?.parse().ok()
    }
}

impl From<Money> for Reported {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, unit: Some(money.currency.to_string()) }
    }
}

impl FromStr for Reported {
    type Err = ParseExactError;

    fn from_str(text: &str) -> Result<Self, ParseExactError> {
        if let Some(number) = text.strip_suffix('%') {
            let hundredth = Exact::ratio(1, 100).unwrap_or_default();
            return Ok(Self { amount: &Exact::from_written(number.trim_end())? * &hundredth, unit: None });
        }
        let (amount, unit) = text.split_once(' ').map_or((text, None), |(amount, unit)| (amount, Some(unit)));
        Ok(Self { amount: Exact::from_written(amount)?, unit: unit.map(str::to_owned) })
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "{} {unit}", self.amount),
            None => self.amount.fmt(f),
        }
    }
}

/// A flow that a party reports for a stretch of days, such as the subscriptions of a month.
///
/// It stands at the last instant of its last day, in the contract's zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The contract that declares it.
    pub contract: ContractId,
    pub name: DefinedTerm,
    pub by: PartyId,
    pub from: NaiveDate,
    /// Includes the whole day.
    pub through: NaiveDate,
    #[serde(serialize_with = "as_text")]
    pub value: Reported,
    pub about: Subject,
}

/// A number that holds from an instant until it is replaced, such as a headcount or an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The contract that declares it.
    pub contract: ContractId,
    pub name: DefinedTerm,
    pub by: PartyId,
    pub at: Instant,
    #[serde(serialize_with = "as_text")]
    pub value: Reported,
    pub about: Subject,
}

/// Cash that was received for charges or billings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    pub at: Instant,
    #[serde(serialize_with = "as_text")]
    pub amount: Money,
    pub pays: Vec<Paid>,
}

/// What a receipt pays: a part that it names, or what is open in proportion. All of them name one, or none does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paid {
    #[serde(flatten)]
    pub event: EventId,
    #[serde(serialize_with = "as_text_if_some", skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// A line of a seller's invoice: of charges that it names, or standing alone, such as a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Billing {
    /// The invoice's date.
    pub at: Instant,
    #[serde(serialize_with = "as_text")]
    pub amount: Money,
    pub names: Vec<EventId>,
    /// Of one that stands alone: seller, customer, product and whatever else it can be selected by.
    pub about: Subject,
}

/// What people decided on usage that a right holds back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub contract: ContractId,
    pub right: TermId,
    pub event: EventId,
    /// It counts at its place from then on; else never.
    pub releases: bool,
    pub reason: String,
}

/// A refund, credit or tax: what reduces a base. The amount is what it takes away, positive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deduction {
    pub category: String,
    /// Its own date.
    pub at: Instant,
    #[serde(serialize_with = "as_text")]
    pub amount: Money,
    pub reduces: Reduces,
}

/// What a deduction takes away from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduces {
    /// The charge of one usage event, or what was received for it where it names a receipt.
    Event(EventId),
    /// Several of them, in proportion.
    Events(Vec<EventId>),
    /// The charges of a product at a deployment, standing at the deduction's own date.
    Usage {
        deployment: DeploymentId,
        product: ProductId,
        /// Without one it reduces no base that selects customers.
        customer: Option<String>,
    },
}

/// Something that happened and that a contract waits for, such as a milestone, or a status that holds for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub contract: ContractId,
    pub name: DefinedTerm,
    pub by: PartyId,
    pub at: Instant,
    /// When a status ends, exclusive; absent: not yet, and for what happens once.
    pub until: Option<Instant>,
    pub about: Subject,
    /// Whom it names, such as who introduced a customer.
    pub party: Option<PartyId>,
    /// Where it can be verified.
    pub evidence: String,
}

/// Further attributes by their names, such as `customer` and `country`.
pub type Others = BTreeMap<String, String>;

/// What a figure or fact is about; what it does not name, it does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    pub product: Option<ProductId>,
    /// Every product that has it.
    pub capability: Option<String>,
    pub cloud: Option<String>,
    #[serde(flatten)]
    pub others: Others,
}

impl Subject {
    /// Whether it takes in a product, with what that can do, on a cloud.
    pub fn covers(&self, product: &ProductId, capabilities: &[String], cloud: &str) -> bool {
        self.product.as_ref().is_none_or(|it| it == product)
            && self.capability.as_ref().is_none_or(|it| capabilities.contains(it))
            && self.cloud.as_ref().is_none_or(|it| it == cloud)
    }
}

/// When a fact about its contract happened first, those aside that do not count; a milestone is reached once.
pub fn first_fact(facts: &[Fact], contract: &ContractId, name: &DefinedTerm, skipped: usize) -> Option<Instant> {
    let named = facts.iter().filter(|fact| fact.contract == *contract && fact.name == *name);
    let mut times: Vec<Instant> = named.map(|fact| fact.at).collect();
    times.sort();
    times.get(skipped).copied()
}

/// When a status holds. `statuses` stand in the order of their recording: of those of one name and subject
/// that begin at one instant the last holds, so that an end may be told later.
pub fn status_spans(statuses: &[&Fact]) -> Vec<Span> {
    let same = |a: &Fact, b: &Fact| (&a.contract, &a.name, &a.about, a.at) == (&b.contract, &b.name, &b.about, b.at);
    let last = statuses.iter().enumerate().filter(|(place, fact)| {
        let mut later = statuses.iter().skip(place.saturating_add(1));
        !later.any(|other| same(fact, other))
    });
    last.map(|(_, fact)| Span { start: fact.at, end: fact.until.unwrap_or(Instant::MAX_UTC) }).collect()
}

fn as_text<T: fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_if_some<S: serde::Serializer>(value: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the {field} \"{text}\"; it has 1 to 256 bytes and no control characters")]
    Name { field: &'static str, text: String },
    #[error("the evidence has a NUL character, which cannot be stored")]
    Nul,
    #[error("{}", without_line(.0))]
    Json(serde_json::Error),
    #[error(transparent)]
    Kind(#[from] UnknownName),
    #[error("\"{field}\" has to be {form}")]
    WrongType { field: &'static str, form: &'static str },
    #[error("\"{field}\" has to be {form}: {problem}")]
    Within { field: &'static str, form: &'static str, problem: String },
    #[error("missing field \"{field}\"; write {form}")]
    Missing { field: &'static str, form: &'static str },
    #[error("unknown field \"{field}\"; the fields are {known}")]
    UnknownField { field: String, known: String },
    #[error("\"{field}\": \"{text}\" is no date; write one such as 2026-05-31")]
    Date { field: &'static str, text: String },
    #[error("\"{field}\": {problem}")]
    Instant { field: &'static str, problem: ParseInstantError },
    #[error("\"{field}\": {problem}")]
    Money { field: &'static str, problem: ParseMoneyError },
    #[error("\"{field}\": {problem}")]
    Number { field: &'static str, problem: ParseExactError },
    #[error("a figure is a flow with from and through, or a level with at")]
    FlowOrLevel,
    #[error("the parts of a receipt are its amount together, in its currency; write all parts, or none")]
    PartsOfReceipt,
    #[error("a deduction is of zero or more: {amount}")]
    NegativeDeduction { amount: String },
    #[error("names charges and what they are about; write one of the two")]
    TwoTargets,
    #[error(
        "names nothing that it reduces; write event {{source, id}}, or events, or deployment, product and perhaps customer"
    )]
    NoTarget,
    #[error("until {until} is not after at {at}")]
    EndsAtStart { at: Instant, until: Instant },
    #[error("through {through} lies before from {from}")]
    EndsBeforeStart { from: NaiveDate, through: NaiveDate },
}

/// A record is one line: its place in the file is told by whoever reads that, and only the column is news.
pub(super) fn without_line(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let told = format!(" at line {} column {column}", error.line());
    text.strip_suffix(&told).map_or_else(|| text.clone(), |words| format!("{words}, in column {column}"))
}

impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl EventId {
    /// Reads who a record is.
    ///
    /// # Errors
    /// A source or id that is missing or no name.
    pub fn of_fields(fields: &Fields) -> Result<Self, RecordError> {
        let read = |field| {
            let text = fields.required(field, "text in quotes")?;
            if is_name(&text) {
                Ok(text)
            } else {
                Err(RecordError::Name { field, text: text.escape_debug().to_string() })
            }
        };
        Ok(Self { source: read("source")?, id: read("id")? })
    }
}

impl Record {
    /// Reads one JSON object, such as a line of a file of records.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let fields = Fields::parse(text)?;
        let kind = fields.required("kind", "text in quotes")?.parse()?;
        let content = read_content(kind, &fields)?;
        Ok(Self { id: EventId::of_fields(&fields)?, content })
    }

    /// The record as one JSON object, in the form that `from_json` reads, amounts and instants normalised.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::{Map, Value, json, to_value};
        let own = match &self.content {
            RecordContent::Figure(figure) => to_value(figure),
            RecordContent::Level(level) => to_value(level),
            RecordContent::Fact(fact) => to_value(fact),
            RecordContent::Deduction(deduction) => to_value(deduction),
            RecordContent::Receipt(receipt) => to_value(receipt),
            RecordContent::Billing(billing) => to_value(billing),
            RecordContent::Decision(decision) => to_value(decision),
        };
        let mut object = Map::new();
        // These structs hold nothing but text, dates and lists of such, so that none fails to be written.
        for (name, value) in own.ok().and_then(|it| it.as_object().cloned()).unwrap_or_default() {
            match (name.as_str(), value) {
                ("about", Value::Object(inner)) => object.extend(inner),
                ("reduces", Value::Object(inner)) => match inner.get("usage") {
                    Some(Value::Object(usage)) => object.extend(usage.clone()),
                    _ => object.extend(inner),
                },
                ("pays" | "names", value) => drop(object.insert("for".to_owned(), value)),
                ("releases", value) => {
                    let decision = if value == json!(true) { "release" } else { "reject" };
                    object.insert("decision".to_owned(), json!(decision));
                }
                (_, value) => drop(object.insert(name, value)),
            }
        }
        // What is absent is left out, so that a record has one form.
        object.retain(|name, value| !(value.is_null() || name == "for" && *value == json!([])));
        object.extend([
            ("source".to_owned(), json!(self.id.source)),
            ("id".to_owned(), json!(self.id.id)),
            ("kind".to_owned(), json!(self.kind())),
        ]);
        Value::Object(object)
    }

    /// The events and records that it names, whose charges or money it is about.
    pub fn names(&self) -> Vec<&EventId> {
        self.content.names()
    }

    pub fn kind(&self) -> RecordKind {
        self.content.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_compare_by_value() {
        let texts = [
            r#"{"kind":"figure","source":"openai","id":"f","contract":"m","name":"Subscriptions","by":"openai","from":"2026-05-01","through":"2026-05-31","value":"1_000.50 USD"}"#,
            r#"{"kind":"deduction","source":"openai","id":"d","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD","event":{"source":"s","id":"e"}}"#,
            r#"{"kind":"deduction","source":"openai","id":"d","category":"tax","at":"2026-05-02T00:00:00Z","amount":"3 USD","deployment":"d","product":"p"}"#,
            r#"{"kind":"deduction","source":"openai","id":"d","category":"tax","at":"2026-05-02T00:00:00Z","amount":"3 USD","deployment":"d","product":"p","customer":"c"}"#,
            r#"{"kind":"fact","source":"panel","id":"a","contract":"m","name":"agi-verified","by":"panel","at":"2026-05-02T00:00:00Z","evidence":"minutes"}"#,
            r#"{"kind":"fact","source":"azure","id":"w","contract":"m","name":"azure-waiver","by":"microsoft","at":"2026-05-02T00:00:00Z","until":"2026-06-02T00:00:00Z","product":"p","capability":"agents","evidence":"letter"}"#,
            r#"{"kind":"fact","source":"crm","id":"i","contract":"m","name":"introduced","by":"p","at":"2026-05-02T00:00:00Z","customer":"c","party":"p","evidence":"mail"}"#,
            r#"{"kind":"figure","source":"ops","id":"a","contract":"m","name":"Availability","by":"p","from":"2026-05-01","through":"2026-05-31","value":"99.5%","country":"DE"}"#,
            r#"{"kind":"figure","source":"ops","id":"l","contract":"m","name":"Subscribers","by":"p","at":"2026-05-01T00:00:00Z","value":"5_000"}"#,
            r#"{"kind":"deduction","source":"openai","id":"d","category":"tax","at":"2026-05-02T00:00:00Z","amount":"3 USD","events":[{"source":"s","id":"e"},{"source":"s","id":"f"}]}"#,
            r#"{"kind":"receipt","source":"bank","id":"r","at":"2026-05-02T00:00:00Z","amount":"3 USD","for":[{"source":"s","id":"e","amount":"1 USD"},{"source":"s","id":"f","amount":"2 USD"}]}"#,
            r#"{"kind":"receipt","source":"bank","id":"r","at":"2026-05-02T00:00:00Z","amount":"3 USD","for":[{"source":"s","id":"e"}]}"#,
            r#"{"kind":"billing","source":"b","id":"b","at":"2026-05-02T00:00:00Z","amount":"3 USD","for":[{"source":"s","id":"e"}]}"#,
            r#"{"kind":"billing","source":"b","id":"b","at":"2026-05-02T00:00:00Z","amount":"3 USD","seller":"p","customer":"c","label":"seats"}"#,
            r#"{"kind":"decision","source":"d","id":"d","contract":"m","right":"azure-first","event":{"source":"s","id":"e"},"decision":"reject","reason":"agreed"}"#,
        ];
        for text in texts {
            let record = Record::from_json(text).expect("a record");
            assert_eq!(Record::from_json(&record.to_json().to_string()).expect("a record"), record);
        }
        let other = texts[0].replace("1_000.50", "1000.5");
        let read = |text: &str| Record::from_json(text).expect("a record");
        assert_eq!(read(texts[0]), read(&other));
        assert_ne!(read(texts[1]), read(texts[2]));
    }

    #[test]
    fn wrong_records_say_what_would_be_right() {
        let check = |text: &str, expect: &str| {
            let error = Record::from_json(text).expect_err("a refusal").to_string();
            assert!(error.contains(expect), "{error}");
        };
        let deduction = |rest: &str| {
            format!(
                r#"{{"kind":"deduction","source":"s","id":"d","category":"refund","at":"2026-05-02T00:00:00Z",{rest}}}"#
            )
        };
        check(&deduction(r#""amount":"3 USD""#), "names nothing");
        check(&deduction(r#""amount":"3","deployment":"d","product":"p""#), "has no currency");
        check(&deduction(r#""amount":"-3 USD","deployment":"d","product":"p""#), "zero or more");
        check(&deduction(r#""amount":3,"deployment":"d","product":"p""#), "\"amount\" has to be an amount in quotes");
        let figure = |from: &str| {
            format!(
                r#"{{"kind":"figure","source":"s","id":"f","contract":"c","name":"n","by":"p","from":{from},"through":"2026-05-31","value":"1 USD"}}"#
            )
        };
        check(&figure(r#""2026-13-01""#), "\"from\": \"2026-13-01\" is no date; write one such as 2026-05-31");
        check(&figure("20260501"), "\"from\" has to be a date in quotes");
        check(
            r#"{"kind":"fact","source":"s","id":"f","contract":"c","name":"n","by":"p","at":"2026-05-02T00:00:00Z","until":"2026-05-02T00:00:00Z","evidence":"e"}"#,
            "is not after at",
        );
        check(r#"{"kind":"fact","source":"s""#, "EOF while parsing an object, in column 27");
        check(&deduction(r#""amount":"3 USD","why":"x""#), "unknown field \"why\"");
        let receipt = |rest: &str| {
            format!(r#"{{"kind":"receipt","source":"s","id":"r","at":"2026-05-02T00:00:00Z","amount":"3 USD",{rest}}}"#)
        };
        check(
            &receipt(r#""for":[{"source":"s","id":"e","amount":"1 USD"},{"source":"s","id":"f"}]"#),
            "all parts, or none",
        );
        check(&receipt(r#""for":[{"source":"s","id":"e","amount":"1 USD"}]"#), "its amount together");
        check(&receipt(r#""for":[]"#), "missing field \"for\"");
        check(&figure(r#""2026-05-01","at":"2026-05-01T00:00:00Z""#), "a level with at");
    }
}
