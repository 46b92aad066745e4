//! What the reader of TOML refuses, in our words: what is missing, unknown, twice or not quoted, and what would be right.

use super::document::Document;
use super::parsed::quoted_rate;
use super::problem::{MissingField, Problem};
use super::schema::schema;
use crate::domain::money::Exact;
use crate::domain::names::Unfit;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;
use toml::Table;

/// Which fields each block takes and needs, as the reader itself says.
static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// What stands without quotes, by how the reader says that it expects it.
const PLAIN: [(&str, &str); 2] =
    [("expected u32", "a whole number such as 1"), ("expected a boolean", "true or false")];

/// What is wrong at a place of a document.
pub fn problem(document: &Document, at: &Range<usize>, message: &str) -> Problem {
    let fault = document.fault_at(at);
    let (key, found) = fault.split_once(" = ").unwrap_or(("", &fault));
    if message.starts_with("invalid type: floating point") {
        return match Exact::from_written(found) {
            Ok(rate) if key == "rate" => Problem::Unquoted { field: "rate", write: quoted_rate(rate, false) },
            _ => Problem::Unquoted { field: "value", write: format!("\"{found}\", with its currency if it has one") },
        };
    }
    if ["invalid date", "invalid time", "invalid offset"].iter().any(|start| message.starts_with(start)) {
        return Problem::NotInCalendar;
    }
    if let Some((_, what)) = PLAIN.iter().find(|(expected, _)| message.ends_with(expected)) {
        return Problem::Plain { what };
    }
    let is_bare = message.starts_with("string values must be quoted")
        || message.ends_with("expected a string") && !found.starts_with(['[', '{']);
    if is_bare {
        let text = found.split([',', '}', ']', '#']).next().unwrap_or_default().trim();
        let key = if key.is_empty() { String::new() } else { format!("{key} = ") };
        return Problem::Bare { write: format!("{key}\"{text}\"") };
    }
    if message == "duplicate key" {
        let line = line_of(document, at.start);
        return match line.strip_prefix('[').and_then(|head| head.strip_suffix(']')) {
            Some("version") => Problem::SecondVersion,
            Some(head) => Problem::SecondBlock { head: head.to_owned() },
            None => Problem::FieldTwice { name: fault },
        };
    }
    match Unfit::of(message) {
        Some(Unfit::Missing { name }) => Problem::MissingFields { fields: missing(document, at, name) },
        Some(Unfit::Field { name, known }) => Problem::UnknownField { name, known },
        Some(word @ Unfit::Word { .. }) => Problem::UnknownWord(word),
        None => Problem::Toml(message.to_owned()),
    }
}

fn line_of(document: &Document, at: usize) -> &str {
    let start = document.toml.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1));
    document.toml.get(start..).unwrap_or_default().lines().next().unwrap_or_default().trim()
}

/// All that a block lacks, of which the reader tells the first.
fn missing(document: &Document, at: &Range<usize>, first: String) -> Vec<MissingField> {
    let block = block(document, at).and_then(|(kind, block)| Some((definition(&kind)?, kind, block)));
    let Some((definition, kind, block)) = block else { return vec![MissingField { name: first, write: None }] };
    let needed = definition.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let others = needed.filter(|name| *name != first && !block.contains_key(*name));
    let names = std::iter::once(first.as_str()).chain(others);
    let written = |name: &str| MissingField { name: name.to_owned(), write: to_write((&kind, definition), name) };
    names.map(written).collect()
}

/// The kind of the block at a place, and the fields that it has.
fn block(document: &Document, at: &Range<usize>) -> Option<(String, Table)> {
    let text = document.toml.get(at.clone())?;
    if text.starts_with('{') {
        let (key, _) = document.fault_at(at).split_once(" = ").map(|(key, rest)| (key.to_owned(), rest.to_owned()))?;
        let table: Table = toml::from_str(&format!("it = {text}")).ok()?;
        return Some((key, table.get("it")?.as_table()?.clone()));
    }
    let mut head: Table = toml::from_str(line_of(document, at.start)).ok()?;
    let mut block: Table = toml::from_str(&document.toml).ok()?;
    let mut path: Vec<String> = Vec::new();
    while let Some((name, inner)) = head.into_iter().next() {
        block = block.remove(&name)?.as_table()?.clone();
        head = inner.as_table()?.clone();
        path.push(name);
    }
    // A cap of a term stands as [term.its-name.cap].
    let kind = if path.len() > 2 { path.pop() } else { path.into_iter().next() };
    Some((kind?, block))
}

fn definition(kind: &str) -> Option<&'static Value> {
    let mut letters = kind.chars();
    let name: String = letters.next()?.to_uppercase().chain(letters).collect();
    SCHEMA.get("definitions")?.get(name)
}

/// What to write in a field: one of its words, or what stands there most.
fn to_write((kind, definition): (&str, &Value), field: &str) -> Option<String> {
    let words = definition.get("properties")?.get(field)?.get("enum").and_then(Value::as_array);
    if let Some(words) = words {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        let (last, others) = words.split_last()?;
        return Some(if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) });
    }
    let of_kind = |name: &str| name.split_once('.').is_some_and(|it| it == (kind, field));
    let own = TO_WRITE.iter().find(|(name, _)| of_kind(name));
    own.or_else(|| TO_WRITE.iter().find(|(name, _)| *name == field)).map(|(_, write)| (*write).to_owned())
}

/// What to write in fields that are no words of a list: of one kind of block, or of any.
const TO_WRITE: [(&str, &str); 13] = [
    ("interest.from", "\"due\" or the name of a fact"),
    ("zone", "an IANA name such as \"America/Los_Angeles\""),
    ("currency", "the code of a currency, such as \"USD\""),
    ("period", "\"month\", \"quarter\", \"year\", \"week\" or the name of a [period]"),
    ("id", "its name, such as \"lab-cloud\""),
    ("number", "1 for the first version"),
    ("effective", "the date from which it holds, such as 2026-01-01"),
    ("is", "an amount such as \"1_000.50 USD\""),
    ("each", "\"month\", \"year\", \"term\" or another window"),
    ("from", "the date from which it counts, such as 2026-01-01"),
    ("opening", "what had accrued before, such as \"0 USD\""),
    ("payer", "the name of a [party]"),
    ("payee", "the name of a [party]"),
];
