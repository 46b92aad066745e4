//! What of a rejected message may be kept: allow-listed fields, enough to decode it again once its fault is
//! repaired on our side. A message may hold a prompt by mistake; nothing of it may reach the database.

use super::cloudevents::CONTENT_TYPE;
use super::{MAX_NAME_BYTES, SHAPE_CONTENT_TYPE};
use crate::domain::usage::UsageAttribute;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// A text, borrowed where it is written without escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The text that a JSON string holds; none where it is another value.
pub(super) fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    // Whoever captured the value has seen that it is JSON: without an escape the text is what stands between the quotes.
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Some(Cow::Borrowed(text)),
        Some(_) => serde_json::from_str(json).ok().map(|Text(text)| text),
        None => None,
    }
}

/// The members of a JSON object in their order, the values as written.
///
/// A number keeps its text, so that no quantity goes through a float; a repeated name is kept twice.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// Stands for a value that is not kept. An object, as no field takes one: a text would be read as a name. Nobody else
/// writes this one, so that where an object may stand it is still known for what is missing.
pub(super) const REDACTED: &str = r#"{"redacted":"apportion"}"#;

/// What is kept of bytes that are no JSON object, in bytes.
const MAX_MASKED_BYTES: usize = 4096;

/// How a value is kept.
#[derive(Clone, Copy)]
enum Keep {
    /// A name or id, up to [`MAX_NAME_BYTES`].
    Name,
    /// A word of a closed list, which may be longer on another day.
    Word,
    /// An instant: digits and the few signs that RFC 3339 uses.
    Time,
    /// Names by attribute.
    Attributes,
    /// Quantities by meter.
    Quantities,
    /// The fields of the usage record.
    Data,
}

/// The content type of what [`redact`] returns.
pub(super) fn content_type(redacted_is_json: bool) -> &'static str {
    if redacted_is_json { CONTENT_TYPE } else { SHAPE_CONTENT_TYPE }
}

/// Keeps the allow-listed fields of a structured event; of bytes that are no JSON object, their shape.
///
/// The second part says whether it is JSON.
pub(super) fn redact(bytes: &[u8]) -> (Vec<u8>, bool) {
    let Some(members) = std::str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str::<Members>(text).ok())
    else {
        return (mask(bytes), false);
    };
    let mut out = String::with_capacity(bytes.len());
    write_object(&mut out, &members, |name| match name {
        "specversion" | "id" | "source" | "type" | "subject" | "datacontenttype" => Some(Keep::Name),
        "time" => Some(Keep::Time),
        "data" => Some(Keep::Data),
        _ => None,
    });
    (out.into_bytes(), true)
}

/// Whether a name may be repeated in a report: an identifier, not a sentence.
pub(super) fn is_identifier(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.is_empty() && name.len() <= 40 && name.bytes().all(allowed)
}

/// The shape of bytes: letters and digits become `x`, other ASCII stays.
pub(super) fn mask(bytes: &[u8]) -> Vec<u8> {
    let masked = |byte: &u8| if byte.is_ascii_alphanumeric() || !byte.is_ascii() { b'x' } else { *byte };
    bytes.iter().take(MAX_MASKED_BYTES).map(masked).collect()
}

fn write_object(out: &mut String, members: &Members<'_>, keep: impl Fn(&str) -> Option<Keep>) {
    out.push('{');
    for (place, (name, value)) in members.0.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        // A name that is no identifier could be anything; it is numbered instead.
        let written =
            if is_identifier(name) { write!(out, "\"{name}\":") } else { write!(out, "\"redacted-{place}\":") };
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
        match keep(name) {
            Some(how) => write_value(out, value, how),
            None => out.push_str(REDACTED),
        }
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &RawValue, keep: Keep) {
    let text = value.get();
    let fits = match keep {
        _ if text == REDACTED => true,
        Keep::Name => serde_json::from_str::<String>(text).is_ok_and(|name| name.len() <= MAX_NAME_BYTES),
        Keep::Word => serde_json::from_str::<String>(text).is_ok_and(|word| is_identifier(&word)),
        Keep::Time => text.len() <= 64 && is_text_of(text, b"0123456789TtZz:+-. "),
        Keep::Attributes | Keep::Quantities | Keep::Data => {
            return match (serde_json::from_str::<Members>(text), keep) {
                (Ok(members), Keep::Data) => write_object(out, &members, data_field),
                (Ok(members), Keep::Attributes) => write_object(out, &members, attribute),
                (Ok(members), _) => write_quantities(out, &members),
                (Err(_), _) => out.push_str(REDACTED),
            };
        }
    };
    out.push_str(if fits { text } else { REDACTED });
}

fn data_field(name: &str) -> Option<Keep> {
    match name {
        "deployment" | "product" | "customer" | "service_tier" | "reply_id" | "corrects" | "voids" => Some(Keep::Name),
        "outcome" => Some(Keep::Word),
        "occurred_at" | "ended_at" => Some(Keep::Time),
        "attributes" => Some(Keep::Attributes),
        "quantities" => Some(Keep::Quantities),
        _ => None,
    }
}

fn attribute(name: &str) -> Option<Keep> {
    name.parse::<UsageAttribute>().ok().map(|_| Keep::Name)
}

/// Numbers are kept under any meter's name: a meter that we learn of later can then be decoded.
fn write_quantities(out: &mut String, members: &Members<'_>) {
    out.push('{');
    for (place, (name, value)) in members.0.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        let text = value.get();
        let is_number = text.len() <= 42 && is_text_of(text, b"0123456789.+-eE");
        let meter = if is_identifier(name) { name.to_string() } else { format!("redacted-{place}") };
        out.push_str(&format!("\"{meter}\":{}", if is_number { text } else { REDACTED }));
    }
    out.push('}');
}

/// Whether a JSON value is a string or a number made of these bytes only.
fn is_text_of(json: &str, allowed: &[u8]) -> bool {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
    inner.bytes().all(|byte| allowed.contains(&byte))
}
