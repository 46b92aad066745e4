//! What the reader of TOML refuses, in our words: what is missing, unknown, twice or not quoted, and what would be right.

use super::document::{Document, table_head};
use super::parsed::quoted_rate;
use super::problem::{MissingField, Problem};
use super::schema::schema;
use crate::domain::money::Exact;
use crate::domain::names::Unfit;
use serde_json::{Map, Value};
use std::ops::Range;
use std::sync::LazyLock;
use toml::Table;

/// Which fields each block takes and needs, as the reader itself says.
static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// What stands without quotes, by how the reader says that it expects it.
const PLAIN: [(&str, &str); 2] =
    [("expected u32", "a whole number such as 1"), ("expected a boolean", "true or false")];

/// What the reader says of a line that is no TOML, by how it begins to, and what we say.
const SYNTAX: [(&str, &str); 9] = [
    ("unclosed table", "the head of a block is its kind and name, such as [term.share] or [base.\"Net Sales\"]"),
    (
        "unexpected key or value",
        "each field stands on a line of its own, and an amount in quotes, such as \"1_000.50 USD\"",
    ),
    ("key with no value", "a field is written with `=`, such as rate = \"20%\""),
    ("invalid basic string", "a text ends on its line, with a quote; a quote within it is written \\\""),
    ("invalid literal string", "a text ends on its line, with a quote; write it in double quotes"),
    ("missing escaped value", "a text ends on its line, with a quote; a backslash within it is written \\\\"),
    ("missing comma between array elements", "a list ends with `]`, and commas part what is in it"),
    ("unclosed array", "a list ends with `]`, and commas part what is in it"),
    ("unclosed inline table", "a table ends with `}`, and commas part its fields"),
];

/// What is wrong, and where: the reader's place, or the line or head that is at fault.
pub fn problem(document: &Document, at: &Range<usize>, message: &str) -> (Range<usize>, Problem) {
    if let Some((head, write)) = nameless(document, at, message) {
        return (head, Problem::Head { write });
    }
    let line = line_at(document, at.start);
    let head = document.toml.get(line.clone()).and_then(table_head);
    if let Some(write) = head.and_then(|head| quoted_head(head, message)) {
        return (line, Problem::BareHead { write });
    }
    match SYNTAX.iter().find(|(start, _)| message.starts_with(start)) {
        Some((_, words)) => (line, Problem::Toml((*words).to_owned())),
        None => (at.clone(), problem_at(document, at, message)),
    }
}

/// What is wrong at the reader's place.
fn problem_at(document: &Document, at: &Range<usize>, message: &str) -> Problem {
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
        || (message == "wanted string or table" || message.ends_with("expected a string"))
            && !found.starts_with(['[', '{']);
    if is_bare {
        let text = found.split([',', '}', ']', '#']).next().unwrap_or_default();
        let text = text.trim_matches([' ', '\u{201c}', '\u{201d}', '\u{201e}']);
        let key = if key.is_empty() { String::new() } else { format!("{key} = ") };
        return Problem::Bare { write: format!("{key}\"{text}\"") };
    }
    if let Some(problem) = other_shape(key, found, message) {
        return problem;
    }
    if message == "duplicate key" {
        let head = document.toml.get(line_at(document, at.start)).and_then(table_head);
        return match head.and_then(|head| head.strip_prefix('[')?.strip_suffix(']')) {
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

/// The line of a place, without the blanks around it.
fn line_at(document: &Document, at: usize) -> Range<usize> {
    let start = document.toml.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1));
    let line = document.toml.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let start = start.saturating_add(line.len().saturating_sub(line.trim_start().len()));
    start..start.saturating_add(line.trim().len())
}

/// The head above a place that has no name where its kind needs one, or stands in double brackets; and that head as it
/// is right. A head without a name is right above `its-name.field = ..`.
fn nameless(document: &Document, at: &Range<usize>, message: &str) -> Option<(Range<usize>, String)> {
    let line = line_at(document, at.start);
    let ends = document.toml.get(..line.end)?.match_indices('\n').map(|(end, _)| end.saturating_add(1));
    let mut lines = std::iter::once(0).chain(ends).rev().map(|start| line_at(document, start));
    let head_at = |line: Range<usize>| {
        let text = table_head(document.toml.get(line.clone())?)?;
        Some((line.start..line.start.saturating_add(text.len()), text))
    };
    let (head, text) = lines.find_map(head_at)?;
    let (kind, name) = text.trim_matches(['[', ']']).split_once('.').unwrap_or((text.trim_matches(['[', ']']), ""));
    let fields = fields_of(kind)?;
    let (key, _) = document.toml.get(line)?.split_once('=').unwrap_or_default();
    let is_field = name.is_empty() && (fields.contains_key(key.trim()) || message.contains("expected struct"));
    // One of several credits of a term may stand as [[term.its-name.credits]].
    let is_within = name.split('.').skip(1).any(|field| fields.contains_key(field));
    let name = if name.is_empty() { "its-name" } else { name };
    (is_field || text.starts_with("[[") && !is_within).then(|| (head, format!("[{kind}.{name}]")))
}

/// A head with its name in quotes, where that cannot stand without.
fn quoted_head(head: &str, message: &str) -> Option<String> {
    let is_of_name = ["unclosed table", "invalid unquoted key"].iter().any(|start| message.starts_with(start));
    let (kind, rest) = head.strip_prefix('[')?.strip_suffix(']').filter(|_| is_of_name)?.split_once('.')?;
    let fields = fields_of(kind)?;
    // A cap of a term stands as [term.its-name.cap].
    let inner = rest.rsplit_once('.').filter(|(_, field)| fields.contains_key(*field));
    let (name, field) = inner.map_or((rest, String::new()), |(name, field)| (name, format!(".{field}")));
    (!name.contains('"')).then(|| format!("[{kind}.\"{name}\"{field}]"))
}

/// The fields of a kind of blocks that have names.
fn fields_of(kind: &str) -> Option<&'static Map<String, Value>> {
    let named = SCHEMA.pointer("/definitions/Document/properties")?.get(kind)?.get("additionalProperties")?;
    referred(named)?.get("properties")?.as_object()
}

/// The definition that a form of the schema refers to.
fn referred(form: &Value) -> Option<&'static Value> {
    SCHEMA.pointer(form.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// A table, list or text where another of them stands.
fn other_shape(key: &str, found: &str, message: &str) -> Option<Problem> {
    let (_, expected) = match message {
        "wanted string or table" => ("", "a string"),
        _ => message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?,
    };
    let (what, write, of) = match expected {
        "a string" => {
            let only = found.split('"').nth(1).filter(|_| found.matches('"').count() == 2);
            ("one text in quotes", format!("\"{}\"", only.unwrap_or("..")), None)
        }
        "a map" => ("a table", "{ .. }".to_owned(), None),
        "one, or a list" => ("a text or table, or a list of them", "\"..\"".to_owned(), None),
        "an array of length 2" => ("a list of two", "[.., ..]".to_owned(), None),
        "a sequence" => {
            let blocks = SCHEMA.get("definitions")?.as_object()?.values();
            let item = blocks.filter_map(|it| it.pointer(&format!("/properties/{key}/items"))).next()?;
            let of = referred(item).filter(|it| it.get("properties").is_some());
            let is_item = found.starts_with('{') == of.is_some();
            let written = of.map_or("\"..\"".to_owned(), table);
            ("a list", format!("[{}]", if is_item { found } else { &written }), of.filter(|_| !is_item))
        }
        _ => {
            let Some(kind) = expected.strip_prefix("struct ") else {
                return Some(Problem::Toml(format!("{expected} stands here")));
            };
            let of = SCHEMA.get("definitions")?.get(kind.strip_prefix("Raw").unwrap_or(kind))?;
            ("a table", table(of), Some(of))
        }
    };
    let lead = if key.is_empty() { String::new() } else { format!("{key} = ") };
    let field = |of, name: &str| Some(format!("; {name} is {}", to_write((key, of), name)?));
    let fields: String = of.iter().flat_map(|of| required(of).filter_map(|name| field(*of, name))).collect();
    Some(Problem::Shape { what, write: format!("{lead}{write}{fields}") })
}

/// A table with the fields that it needs.
fn table(definition: &Value) -> String {
    let fields: Vec<String> = required(definition).map(|name| format!("{name} = ..")).collect();
    format!("{{ {} }}", if fields.is_empty() { "..".to_owned() } else { fields.join(", ") })
}

fn required(definition: &Value) -> impl Iterator<Item = &str> {
    definition.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// All that a block lacks, of which the reader tells the first.
fn missing(document: &Document, at: &Range<usize>, first: String) -> Vec<MissingField> {
    let block = block(document, at).and_then(|(kind, block)| Some((definition(&kind)?, kind, block)));
    let Some((definition, kind, block)) = block else { return vec![MissingField { name: first, write: None }] };
    let others = required(definition).filter(|name| *name != first && !block.contains_key(*name));
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
    let mut head: Table = toml::from_str(document.toml.get(line_at(document, at.start))?).ok()?;
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
