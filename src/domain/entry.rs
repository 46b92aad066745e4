//! Entries: usage, records, and corrections and voids of any of them, each with its time of recording.
//!
//! A line is a JSON object: a record as `Record` reads it; usage with the canonical fields of a usage
//! event; `{"kind":"correction","corrects":ID, ..}` with the fields that it restates; `{"kind":"void","voids":ID}`.

use super::ids::{EventId, is_name};
use super::money::Exact;
use super::names::{UnknownName, names};
use super::period::Instant;
use super::record::fields::Fields;
use super::record::{Record, RecordContent, RecordError, RecordKind, Reported, read_content};
use super::usage::{Quantities, UnknownMeter, UsageAttribute, UsageAttributes, UsageContent};
use rust_decimal::Decimal;

/// What somebody says, before it is recorded.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub id: EventId,
    pub what: What,
    /// When it was recorded, where the line says so, as those of a scenario may.
    pub stated: Option<Instant>,
    fields: Fields,
    has_negative_quantity: bool,
}

/// What somebody said, and when that was recorded.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: EventId,
    pub recorded_at: Instant,
    pub what: What,
    /// Its fields, without who it is and when it was recorded: what a correction restates.
    pub(super) fields: Fields,
    /// Whether it reports or restates a quantity below zero, which is refused.
    pub(super) has_negative_quantity: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Usage(UsageContent),
    Record(RecordContent),
    /// Restates fields of another of its source.
    Correction {
        target: String,
    },
    Void {
        target: String,
    },
}

names! {
    /// What an entry may be that is no record.
    OtherKind as "kind" {
        Correction = "correction",
        Void = "void",
        Usage = "usage",
    }
}

/// What a line says it is.
enum Kind {
    Record(RecordKind),
    Other(OtherKind),
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("\"quantities\": {0}")]
    Meter(#[from] UnknownMeter),
    #[error("\"quantities\": {meter} is {text}; write a decimal with at most 28 digits, such as \"1000.5\"")]
    Quantity { meter: String, text: String },
    #[error(transparent)]
    Name(#[from] UnknownName),
    #[error("a {kind} says when it was recorded; write \"recorded_at\"")]
    NoRecordedAt { kind: String },
    #[error("recorded_at is stamped when a record is taken; only the records of a scenario state it")]
    RecordedAt,
    #[error("usage comes as events: `apportion ingest` takes them")]
    Usage,
    #[error("a NUL character, which cannot be stored")]
    Nul,
    #[error("a correction restates at least one field")]
    NothingRestated,
    #[error("ended_at {ended_at} lies before occurred_at {occurred_at}")]
    EndsBeforeStart { occurred_at: Instant, ended_at: Instant },
}

const TEXT: &str = "text in quotes";
const KIND: &str = "what it is, such as \"usage\", \"figure\" or \"fact\"";
const EVENT: &str = "an object {\"source\": .., \"id\": ..}";
const QUANTITIES: &str = "an object of numbers by meter, such as {\"requests\": \"1\"}";

/// The lines of a file that are not empty, with their numbers.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

impl NewEntry {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it.
    pub fn from_json(text: &str) -> Result<Self, EntryError> {
        Self::read(text, OtherKind::ALL)
    }

    /// Reads one JSON object: a record, or one of the other kinds that are taken.
    fn read(text: &str, others: &[OtherKind]) -> Result<Self, EntryError> {
        let all = Fields::parse(text)?;
        let (id, kind) = (EventId::of_fields(&all)?, Kind::named(&all.required("kind", KIND)?, others)?);
        let stated = all.instant("recorded_at")?;
        let fields = all.without(&["source", "id", "recorded_at"]);
        let (what, fields) = match kind {
            Kind::Other(OtherKind::Correction) => {
                let target = target("corrects", &fields)?;
                let restated = fields.without(&["kind", "corrects"]);
                if restated.names().next().is_none() {
                    return Err(EntryError::NothingRestated);
                }
                (What::Correction { target }, restated)
            }
            Kind::Other(OtherKind::Void) => {
                fields.refuse_others(&["kind", "voids"])?;
                (What::Void { target: target("voids", &fields)? }, Fields::default())
            }
            Kind::Other(OtherKind::Usage) => (What::Usage(read_usage(&fields)?), fields),
            Kind::Record(kind) => (What::Record(read_content(kind, &fields)?), fields),
        };
        let quantities = read_quantities(&fields)?;
        let has_negative_quantity = quantities.is_some_and(|it| it.values().any(Decimal::is_sign_negative));
        Ok(Self { id, what, stated, fields, has_negative_quantity })
    }

    /// Reads one JSON object that the database is to keep: a record, or a correction or void of one.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it, or what comes another way.
    pub fn storable(text: &str) -> Result<Self, EntryError> {
        let entry = Self::read(text, &[OtherKind::Correction, OtherKind::Void])?;
        if entry.stated.is_some() {
            Err(EntryError::RecordedAt)
        } else if entry.fields.iter().any(|(_, json)| has_nul(json)) {
            Err(EntryError::Nul)
        } else {
            Ok(entry)
        }
    }

    /// As it is once recorded.
    pub fn recorded(self, recorded_at: Instant) -> Entry {
        let Self { id, what, fields, has_negative_quantity, .. } = self;
        Entry { id, recorded_at, what, fields, has_negative_quantity }
    }
}

impl Kind {
    /// A record's, or one of those others that are taken.
    fn named(name: &str, others: &[OtherKind]) -> Result<Self, EntryError> {
        if let Ok(kind) = name.parse() {
            return Ok(Self::Record(kind));
        }
        match others.iter().find(|it| it.name() == name) {
            Some(kind) => Ok(Self::Other(*kind)),
            None if name == OtherKind::Usage.name() => Err(EntryError::Usage),
            None => {
                let records = RecordKind::ALL.iter().map(|it| it.name());
                let known = records.chain(others.iter().map(|it| it.name())).collect();
                Err(UnknownName { what: "kind", name: name.to_owned(), known }.into())
            }
        }
    }
}

impl From<&Record> for NewEntry {
    fn from(record: &Record) -> Self {
        // A record is written as an object of its own fields.
        let fields = Fields::parse(&record.to_json().to_string()).unwrap_or_default().without(&["source", "id"]);
        let what = What::Record(record.content.clone());
        Self { id: record.id.clone(), what, stated: None, fields, has_negative_quantity: false }
    }
}

/// The id that a correction or void names within its source.
fn target(field: &'static str, fields: &Fields) -> Result<String, EntryError> {
    let text = fields.required(field, TEXT)?;
    let is_name = is_name(&text);
    is_name.then_some(text.clone()).ok_or_else(|| {
        let text = text.escape_debug().to_string();
        RecordError::Name { field, text }.into()
    })
}

/// Whether a text within holds a NUL.
fn has_nul(json: &str) -> bool {
    fn within(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(values) => values.iter().any(within),
            serde_json::Value::Object(fields) => {
                fields.iter().any(|(name, value)| name.contains('\0') || within(value))
            }
            _ => false,
        }
    }
    serde_json::from_str(json).is_ok_and(|value| within(&value))
}

impl Entry {
    /// Reads one JSON object that says when it was recorded, or was recorded as it happened.
    ///
    /// # Errors
    /// What is missing, unknown or wrong in it.
    pub fn from_json(text: &str) -> Result<Self, EntryError> {
        let entry = NewEntry::from_json(text)?;
        let recorded_at = entry.stated.or_else(|| entry.what.own_instant());
        let recorded_at = recorded_at.ok_or_else(|| EntryError::NoRecordedAt { kind: entry.what.kind().to_owned() })?;
        Ok(entry.recorded(recorded_at))
    }

    /// It as one JSON object, in the form that `NewEntry` reads; the fields of a record normalised.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::{Map, Value};
        if let What::Record(content) = &self.what {
            return Record { id: self.id.clone(), content: content.clone() }.to_json();
        }
        // Each value was read as JSON.
        let value = |json: &str| serde_json::from_str(json).unwrap_or_default();
        let mut object: Map<String, Value> =
            self.fields.iter().map(|(name, json)| (name.to_owned(), value(json))).collect();
        let named = match &self.what {
            What::Correction { target } => Some(("corrects", target)),
            What::Void { target } => Some(("voids", target)),
            What::Usage(_) | What::Record(_) => None,
        };
        object.extend(named.map(|(field, target)| (field.to_owned(), Value::from(target.as_str()))));
        object.extend(
            [("kind", self.what.kind()), ("source", &self.id.source), ("id", &self.id.id)]
                .map(|(field, text)| (field.to_owned(), Value::from(text))),
        );
        Value::Object(object)
    }

    /// The usage event that a decision names, or that a correction says instead.
    pub fn decided_event(&self) -> Option<EventId> {
        match &self.what {
            What::Record(RecordContent::Decision(decision)) => Some(decision.event.clone()),
            What::Correction { .. } => self.fields.parsed("event", EVENT).ok().flatten(),
            What::Record(_) | What::Usage(_) | What::Void { .. } => None,
        }
    }

    /// What it is with the fields of corrections in place of its own; they stand in order, and the last one of a field holds.
    ///
    /// # Errors
    /// A field that it does not have, or what does not fit together any more.
    pub fn restated<'a>(&self, corrections: impl IntoIterator<Item = &'a Entry>) -> Result<What, EntryError> {
        let mut corrections = corrections.into_iter().peekable();
        if corrections.peek().is_none() {
            return Ok(self.what.clone());
        }
        let fields = corrections
            .fold(self.fields.clone(), |fields, it| fields.without(&displaced(&it.fields)).restated(&it.fields));
        Ok(match &self.what {
            What::Usage(_) => What::Usage(read_usage(&fields)?),
            What::Record(content) => What::Record(read_content(content.kind(), &fields)?),
            // These are voided, and never corrected.
            What::Correction { .. } | What::Void { .. } => self.what.clone(),
        })
    }

    /// The quantities that it reports or restates.
    pub(super) fn quantities(&self) -> Quantities {
        // They were read once already.
        read_quantities(&self.fields).ok().flatten().unwrap_or_default()
    }

    /// Whether another entry says the same, by value: everything but when it was recorded.
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (What::Usage(one), What::Usage(another)) => without_zeros(one) == without_zeros(another),
            (What::Correction { target }, What::Correction { target: another }) => {
                target == another && same_fields(&self.fields, &other.fields)
            }
            (one, another) => one == another,
        }
    }
}

impl What {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => OtherKind::Usage.name(),
            Self::Record(content) => content.kind().name(),
            Self::Correction { .. } => OtherKind::Correction.name(),
            Self::Void { .. } => OtherKind::Void.name(),
        }
    }

    /// What it names, if it is a correction or void.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Correction { target } | Self::Void { target } => Some(target),
            Self::Usage(_) | Self::Record(_) => None,
        }
    }

    /// When it happened: what is recorded at once needs no time of recording.
    fn own_instant(&self) -> Option<Instant> {
        match self {
            Self::Usage(usage) => Some(usage.occurred_at),
            Self::Record(RecordContent::Level(level)) => Some(level.at),
            Self::Record(RecordContent::Deduction(deduction)) => Some(deduction.at),
            Self::Record(RecordContent::Receipt(receipt)) => Some(receipt.at),
            Self::Record(RecordContent::Billing(billing)) => Some(billing.at),
            Self::Record(RecordContent::Fact(fact)) => Some(fact.at),
            Self::Record(RecordContent::Figure(_) | RecordContent::Decision(_))
            | Self::Correction { .. }
            | Self::Void { .. } => None,
        }
    }
}

/// The ways to say what a deduction takes away from.
const REDUCES: [&[&str]; 3] = [&["event"], &["events"], &["deployment", "product", "customer"]];

/// What a correction puts out of force beside the fields that it restates: what was said of the same in another way.
fn displaced(correction: &Fields) -> Vec<&'static str> {
    let is_said = |way: &&[&'static str]| correction.names().any(|name| way.contains(&name));
    let (said, others): (Vec<_>, Vec<_>) = REDUCES.into_iter().partition(is_said);
    if said.is_empty() { Vec::new() } else { others.concat() }
}

/// A quantity that is zero is as good as absent.
fn without_zeros(usage: &UsageContent) -> UsageContent {
    let mut usage = usage.clone();
    usage.quantities.retain(|_, quantity| !quantity.is_zero());
    usage
}

fn read_usage(fields: &Fields) -> Result<UsageContent, EntryError> {
    let own = [
        "kind",
        "source",
        "id",
        "occurred_at",
        "ended_at",
        "deployment",
        "product",
        "customer",
        "service_tier",
        "outcome",
        "quantities",
    ];
    let attributes = UsageAttribute::ALL.iter().map(|attribute| attribute.name());
    fields.refuse_others(&own.into_iter().chain(attributes).collect::<Vec<_>>())?;
    let content = UsageContent {
        occurred_at: fields.required_instant("occurred_at")?,
        ended_at: fields.instant("ended_at")?,
        deployment: fields.required("deployment", TEXT)?,
        product: fields.required("product", TEXT)?,
        customer: fields.text("customer")?.unwrap_or_default(),
        service_tier: fields.text("service_tier")?.unwrap_or_else(|| "default".to_owned()),
        outcome: fields.text("outcome")?.map(|text| text.parse()).transpose()?,
        attributes: read_attributes(fields)?,
        quantities: read_quantities(fields)?.ok_or(RecordError::Missing { field: "quantities", form: QUANTITIES })?,
    };
    if let Some(ended_at) = content.ended_at.filter(|_| content.ends_before_start()) {
        return Err(EntryError::EndsBeforeStart { occurred_at: content.occurred_at, ended_at });
    }
    Ok(content)
}

/// The attributes that are told; one that is empty is not.
fn read_attributes(fields: &Fields) -> Result<UsageAttributes, EntryError> {
    let mut attributes = UsageAttributes::new();
    for attribute in UsageAttribute::ALL {
        let value = fields.text(attribute.name())?.filter(|value| !value.is_empty());
        attributes.extend(value.map(|value| (*attribute, value)));
    }
    Ok(attributes)
}

/// The quantities that are given.
fn read_quantities(fields: &Fields) -> Result<Option<Quantities>, EntryError> {
    let Some(given) = fields.parsed::<Fields>("quantities", QUANTITIES)? else { return Ok(None) };
    let mut quantities = Quantities::new();
    for (name, text) in given.iter() {
        let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let wrong = || EntryError::Quantity { meter: name.to_owned(), text: text.to_owned() };
        let exact = Exact::from_written(text).map_err(|_| wrong())?;
        let quantity = (0..=Decimal::MAX_SCALE).find_map(|digits| exact.to_decimal(digits)).ok_or_else(wrong)?;
        quantities.insert(name.parse()?, quantity.normalize());
    }
    Ok(Some(quantities))
}

/// Whether two corrections restate the same fields with equal values.
fn same_fields(a: &Fields, b: &Fields) -> bool {
    let names = |fields: &Fields| fields.names().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    names(a) == names(b)
        && a.iter().all(|(name, value)| b.iter().any(|(other, it)| other == name && same(name, value, it)))
}

fn same(field: &str, a: &str, b: &str) -> bool {
    let text = |json: &str| serde_json::from_str::<String>(json).ok();
    match field {
        "occurred_at" | "ended_at" | "at" | "until" => {
            let read = |json| text(json).and_then(|text| super::period::parse_instant(&text).ok());
            read(a).is_some() && read(a) == read(b)
        }
        "amount" | "value" => {
            let read = |json| text(json).and_then(|text| text.parse::<Reported>().ok());
            read(a).is_some() && read(a) == read(b)
        }
        "quantities" => {
            let read = |json: &str| {
                let fields = Fields::parse(&format!("{{\"quantities\":{json}}}")).ok()?;
                read_quantities(&fields).ok().flatten()
            };
            read(a).is_some() && read(a) == read(b)
        }
        _ => {
            let read = |json| serde_json::from_str::<serde_json::Value>(json).ok();
            read(a) == read(b)
        }
    }
}
