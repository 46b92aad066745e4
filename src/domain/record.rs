//! Dated, evidenced records beside usage: figures that a party reports, deductions, and facts.

use super::ids::{ContractId, DefinedTerm, DeploymentId, EventId, PartyId, ProductId, is_name};
use super::money::{Money, ParseMoneyError};
use super::period::{Instant, ParseInstantError, Span, parse_instant};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One record with its identity: unique within its source, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: EventId,
    pub content: RecordContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordContent {
    Figure(Figure),
    Deduction(Deduction),
    Fact(Fact),
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
    pub value: Money,
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
    /// The charge of one usage event.
    Event(EventId),
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
    /// Where it can be verified.
    pub evidence: String,
}

/// What a fact is about; what it does not name, it does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    pub product: Option<ProductId>,
    /// Every product that has it.
    pub capability: Option<String>,
    pub cloud: Option<String>,
}

impl Subject {
    /// Whether it takes in a product, with what that can do, on a cloud.
    pub fn covers(&self, product: &ProductId, capabilities: &[String], cloud: &str) -> bool {
        self.product.as_ref().is_none_or(|it| it == product)
            && self.capability.as_ref().is_none_or(|it| capabilities.contains(it))
            && self.cloud.as_ref().is_none_or(|it| it == cloud)
    }
}

/// When a fact about its contract happened first; a milestone is reached once.
pub fn first_fact(facts: &[Fact], contract: &ContractId, name: &DefinedTerm) -> Option<Instant> {
    facts.iter().filter(|fact| fact.contract == *contract && fact.name == *name).map(|fact| fact.at).min()
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

fn as_text<S: serde::Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(money)
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
    #[error("\"{field}\" has to be {form}")]
    WrongType { field: &'static str, form: &'static str },
    #[error("\"{field}\": \"{text}\" is no date; write one such as 2026-05-31")]
    Date { field: &'static str, text: String },
    #[error("\"{field}\": {problem}")]
    Instant { field: &'static str, problem: ParseInstantError },
    #[error("\"{field}\": {problem}")]
    Money { field: &'static str, problem: ParseMoneyError },
    #[error("a deduction is of zero or more: {amount}")]
    NegativeDeduction { amount: String },
    #[error("names both an event and a deployment with a product; write one of the two")]
    TwoTargets,
    #[error("names nothing that it reduces; write event {{source, id}}, or deployment, product and perhaps customer")]
    NoTarget,
    #[error("until {until} is not after at {at}")]
    EndsAtStart { at: Instant, until: Instant },
    #[error("through {through} lies before from {from}")]
    EndsBeforeStart { from: NaiveDate, through: NaiveDate },
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Raw {
    Figure {
        source: String,
        id: String,
        contract: ContractId,
        name: DefinedTerm,
        by: PartyId,
        from: String,
        through: String,
        value: String,
    },
    Deduction {
        source: String,
        id: String,
        category: String,
        at: String,
        amount: String,
        event: Option<EventId>,
        deployment: Option<DeploymentId>,
        product: Option<ProductId>,
        customer: Option<String>,
    },
    Fact {
        source: String,
        id: String,
        contract: ContractId,
        name: DefinedTerm,
        by: PartyId,
        at: String,
        until: Option<String>,
        product: Option<ProductId>,
        capability: Option<String>,
        cloud: Option<String>,
        evidence: String,
    },
}

/// The fields of records, and the form of each.
const FORMS: [(&str, &str); 19] = [
    ("kind", "\"figure\", \"deduction\" or \"fact\""),
    ("source", "text in quotes"),
    ("id", "text in quotes"),
    ("contract", "text in quotes"),
    ("name", "text in quotes"),
    ("by", "text in quotes"),
    ("from", "a date in quotes, such as \"2026-05-01\""),
    ("through", "a date in quotes, such as \"2026-05-31\""),
    ("value", "an amount in quotes, such as \"1_000.50 USD\""),
    ("category", "text in quotes"),
    ("at", "an instant in quotes, such as \"2026-04-27T00:00:00-07:00\""),
    ("amount", "an amount in quotes, such as \"1_000.50 USD\""),
    ("deployment", "text in quotes"),
    ("product", "text in quotes"),
    ("capability", "text in quotes"),
    ("cloud", "text in quotes"),
    ("until", "an instant in quotes, such as \"2026-04-27T00:00:00-07:00\""),
    ("customer", "text in quotes"),
    ("evidence", "text in quotes"),
];

/// Names the field whose value is of another type than its own: the reader of JSON does not.
fn named(text: &str, error: serde_json::Error) -> RecordError {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let may_be_null = ["deployment", "product", "customer", "capability", "cloud", "until"];
    let wrong = FORMS.iter().find(|(field, _)| {
        object.get(*field).is_some_and(|it| !(it.is_string() || it.is_null() && may_be_null.contains(field)))
    });
    match wrong {
        Some((field, form)) => RecordError::WrongType { field, form },
        None => RecordError::Json(error),
    }
}

/// A record is one line: its place in the file is told by whoever reads that, and only the column is news.
fn without_line(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let told = format!(" at line {} column {column}", error.line());
    text.strip_suffix(&told).map_or_else(|| text.clone(), |words| format!("{words}, in column {column}"))
}

fn date(field: &'static str, text: &str) -> Result<NaiveDate, RecordError> {
    text.parse().map_err(|_| RecordError::Date { field, text: text.to_owned() })
}

fn instant(field: &'static str, text: &str) -> Result<Instant, RecordError> {
    parse_instant(text).map_err(|problem| RecordError::Instant { field, problem })
}

fn money(field: &'static str, text: &str) -> Result<Money, RecordError> {
    text.parse().map_err(|problem| RecordError::Money { field, problem })
}

impl Record {
    /// Reads one JSON object, such as a line of a file of records.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let (source, id, content) = match serde_json::from_str(text).map_err(|error| named(text, error))? {
            Raw::Figure { source, id, contract, name, by, from, through, value } => {
                let (from, through) = (date("from", &from)?, date("through", &through)?);
                if through < from {
                    return Err(RecordError::EndsBeforeStart { from, through });
                }
                let figure = Figure { contract, name, by, from, through, value: money("value", &value)? };
                (source, id, RecordContent::Figure(figure))
            }
            Raw::Deduction { source, id, category, at, amount, event, deployment, product, customer } => {
                let reduces = match (event, deployment, product, customer) {
                    (Some(event), None, None, None) => Reduces::Event(event),
                    (None, Some(deployment), Some(product), customer) => {
                        Reduces::Usage { deployment, product, customer }
                    }
                    (Some(_), ..) => return Err(RecordError::TwoTargets),
                    (None, ..) => return Err(RecordError::NoTarget),
                };
                let taken = money("amount", &amount)?;
                if taken.amount.is_negative() {
                    return Err(RecordError::NegativeDeduction { amount });
                }
                let deduction = Deduction { category, at: instant("at", &at)?, amount: taken, reduces };
                (source, id, RecordContent::Deduction(deduction))
            }
            Raw::Fact { source, id, contract, name, by, at, until, product, capability, cloud, evidence } => {
                let at = instant("at", &at)?;
                let until = until.map(|until| instant("until", &until)).transpose()?;
                if let Some(until) = until.filter(|until| *until <= at) {
                    return Err(RecordError::EndsAtStart { at, until });
                }
                let about = Subject { product, capability, cloud };
                let fact = Fact { contract, name, by, at, until, about, evidence };
                (source, id, RecordContent::Fact(fact))
            }
        };
        for (field, text) in [("source", &source), ("id", &id)] {
            if !is_name(text) {
                return Err(RecordError::Name { field, text: text.escape_debug().to_string() });
            }
        }
        if matches!(&content, RecordContent::Fact(fact) if fact.evidence.contains('\0')) {
            return Err(RecordError::Nul);
        }
        Ok(Self { id: EventId { source, id }, content })
    }

    /// The record as one JSON object, in the form that `from_json` reads, amounts and instants normalised.
    pub fn to_json(&self) -> serde_json::Value {
        let content = match &self.content {
            RecordContent::Figure(figure) => serde_json::json!({
                "contract": figure.contract, "name": figure.name, "by": figure.by,
                "from": figure.from, "through": figure.through, "value": figure.value.to_string(),
            }),
            RecordContent::Deduction(deduction) => serde_json::json!({
                "category": deduction.category, "at": deduction.at, "amount": deduction.amount.to_string(),
            }),
            RecordContent::Fact(fact) => serde_json::json!({
                "contract": fact.contract, "name": fact.name, "by": fact.by, "at": fact.at, "evidence": fact.evidence,
            }),
        };
        // What is absent is left out, so that a record has one form.
        let target = match &self.content {
            RecordContent::Deduction(Deduction { reduces: Reduces::Event(event), .. }) => {
                serde_json::json!({ "event": event })
            }
            RecordContent::Deduction(Deduction {
                reduces: Reduces::Usage { deployment, product, customer }, ..
            }) => match customer {
                Some(customer) => {
                    serde_json::json!({ "deployment": deployment, "product": product, "customer": customer })
                }
                None => serde_json::json!({ "deployment": deployment, "product": product }),
            },
            RecordContent::Figure(_) => serde_json::json!({}),
            RecordContent::Fact(Fact { until, about, .. }) => {
                let until = until.map(|until| serde_json::json!(until));
                let Subject { product, capability, cloud } = about;
                let product = product.as_ref().map(|product| serde_json::json!(product));
                let named = [("until", until), ("product", product)].into_iter();
                let text = |name: &Option<String>| name.as_ref().map(|name| serde_json::json!(name));
                let named = named.chain([("capability", text(capability)), ("cloud", text(cloud))]);
                named.filter_map(|(field, value)| Some((field.to_owned(), value?))).collect()
            }
        };
        let identity = serde_json::json!({ "source": self.id.source, "id": self.id.id, "kind": self.kind() });
        let objects = [identity, content, target].into_iter();
        objects.filter_map(|part| part.as_object().cloned()).flatten().collect()
    }

    pub fn kind(&self) -> &'static str {
        match self.content {
            RecordContent::Figure(_) => "figure",
            RecordContent::Deduction(_) => "deduction",
            RecordContent::Fact(_) => "fact",
        }
    }

    /// Equal for equal content by value: the hash is of the normalised form.
    pub fn content_hash(&self) -> Uuid {
        let hash = blake3::hash(self.to_json().to_string().as_bytes());
        let mut bytes = [0_u8; 16];
        bytes.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        Uuid::from_bytes(bytes)
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
        ];
        for text in texts {
            let record = Record::from_json(text).expect("a record");
            assert_eq!(Record::from_json(&record.to_json().to_string()).expect("a record"), record);
        }
        let other = texts[0].replace("1_000.50", "1000.5");
        let hash = |text: &str| Record::from_json(text).expect("a record").content_hash();
        assert_eq!(hash(texts[0]), hash(&other));
        assert_ne!(hash(texts[1]), hash(texts[2]));
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
        check(&deduction(r#""amount":"3 USD","why":"x""#), "unknown field `why`");
    }
}
