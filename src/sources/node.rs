//! What is kept of a record: the fields that its format's allow-list names, as a small tree, and nothing else.
//!
//! Decoders see this tree alone, so no message body gets past it; a rejected record is kept as this tree too.

use super::redact::{REDACTED, Text, is_identifier};
use super::{Fault, MAX_NAME_BYTES, RejectionReason as Reason, fault, number};
use crate::domain::period::{Instant, parse_instant};
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// What of a value may be read. Whatever no list names is skipped unread.
pub(super) enum Keep {
    /// A name or id, up to [`MAX_NAME_BYTES`].
    Name,
    /// A word of the format's own, such as a status.
    Word,
    /// A time: a text of digits and signs, or a number.
    Time,
    /// A number, also as a text.
    Number,
    Flag,
    Object(&'static [Field]),
    /// A body of which only these are read; one of another shape is skipped whole.
    Body(&'static [Field]),
    List(&'static Keep),
    /// Packed bytes as a text of any length, which are unpacked and never kept.
    Packed,
    /// A JSON text within the JSON.
    Nested(&'static Keep),
    /// The caller's own tags, of which configuration names those that may be read.
    Tags,
    /// A list of `{key, value}` as OpenTelemetry has them: these, and the tags that configuration names.
    Attributes(&'static [Field]),
}

pub(super) type Field = (&'static str, Keep);

/// How an allow-list is applied.
#[derive(Clone, Copy)]
pub(super) struct Pruning<'c> {
    /// The names of tags that may be read.
    pub tags: &'c [String],
    /// Whether names come in several spellings: `totalTokens` and `total-tokens` are then `total_tokens`.
    pub folds: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Text(String),
    Time(String),
    Number(String),
    Flag(bool),
    Object(Vec<(Cow<'static, str>, Node)>),
    Attributes(Vec<(String, Node)>),
    List(Vec<Node>),
    Packed(String),
    /// Something else stands there; this would be right.
    Unread(&'static str),
}

const TWICE: Node = Node::Unread("is given twice");

impl Pruning<'_> {
    /// Reads the allow-listed part of a JSON text.
    ///
    /// # Errors
    /// It is no JSON.
    pub(super) fn json(self, text: &str, keep: &Keep) -> Result<Node, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(self.value(raw.get(), keep))
    }

    fn value(self, text: &str, keep: &Keep) -> Node {
        if text == "null" {
            return Node::Null;
        }
        if text == REDACTED {
            return Node::Unread("was not kept");
        }
        match keep {
            Keep::Object(fields) => {
                self.object(text, |name| lookup(fields, name)).unwrap_or(Node::Unread("must be an object"))
            }
            Keep::Body(fields) => self.object(text, |name| lookup(fields, name)).unwrap_or(Node::Null),
            Keep::Tags => {
                let allowed = |name: &str| {
                    let tag = self.tags.iter().find(|tag| *tag == name)?;
                    Some((Cow::Owned(tag.clone()), &Keep::Name))
                };
                let tags = Self { folds: false, ..self }.object(text, allowed);
                tags.unwrap_or(Node::Unread("must be an object of texts"))
            }
            Keep::List(of) => self.list(text, of),
            Keep::Attributes(fields) => self.attributes(text, fields),
            Keep::Nested(inner) => match serde_json::from_str::<String>(text) {
                Ok(nested) => self.json(&nested, inner).unwrap_or(Node::Unread("must be a text of JSON")),
                // As it was kept after a rejection: the tree itself.
                Err(_) => self.value(text, inner),
            },
            Keep::Name | Keep::Word | Keep::Time | Keep::Number | Keep::Flag | Keep::Packed => leaf(text, keep),
        }
    }

    /// The allowed members of an object; nothing if it is none.
    fn object<'k>(self, text: &str, allowed: impl Fn(&str) -> Option<(Cow<'static, str>, &'k Keep)>) -> Option<Node> {
        let mut kept: Vec<(Cow<'static, str>, Node)> = Vec::new();
        let take = |name: &str, value: &RawValue| {
            let name = if self.folds { Cow::Owned(fold(name)) } else { Cow::Borrowed(name) };
            let Some((name, keep)) = allowed(&name) else { return };
            let node = self.value(value.get(), keep);
            match kept.iter_mut().find(|(earlier, _)| *earlier == name) {
                Some((_, earlier)) => *earlier = TWICE,
                None => kept.push((name, node)),
            }
        };
        serde_json::Deserializer::from_str(text).deserialize_any(Members(take)).ok()?;
        Some(Node::Object(kept))
    }

    fn list(self, text: &str, of: &Keep) -> Node {
        let mut kept = Vec::new();
        let take = |value: &RawValue| kept.push(self.value(value.get(), of));
        match serde_json::Deserializer::from_str(text).deserialize_any(Items(take)) {
            Ok(()) => Node::List(kept),
            Err(_) => Node::Unread("must be a list"),
        }
    }

    fn attributes(self, text: &str, fields: &'static [Field]) -> Node {
        let mut kept = Vec::new();
        let mut is_wrong = false;
        let take = |value: &RawValue| match attribute(value) {
            Some((key, value)) => self.keep_attribute(&mut kept, &key, fields, |keep| leaf(value.get(), keep)),
            None => is_wrong = true,
        };
        match serde_json::Deserializer::from_str(text).deserialize_any(Items(take)) {
            Ok(()) if !is_wrong => Node::Attributes(kept),
            _ => Node::Unread("must be a list of {key, value}"),
        }
    }

    /// Keeps an attribute if it may be read.
    pub(super) fn keep_attribute(
        self,
        kept: &mut Vec<(String, Node)>,
        key: &str,
        fields: &'static [Field],
        value: impl FnOnce(&Keep) -> Node,
    ) {
        let keep = fields.iter().find(|(name, _)| *name == key).map(|(_, keep)| keep);
        let Some(keep) = keep.or_else(|| self.tags.iter().any(|tag| tag == key).then_some(&Keep::Name)) else {
            return;
        };
        match kept.iter_mut().find(|(earlier, _)| earlier == key) {
            Some((_, earlier)) => *earlier = TWICE,
            None => kept.push((key.to_owned(), value(keep))),
        }
    }
}

/// A single text, number or flag.
pub(super) fn leaf(text: &str, keep: &Keep) -> Node {
    let string = || serde_json::from_str::<String>(text).ok();
    match keep {
        Keep::Flag => serde_json::from_str(text).map_or(Node::Unread("must be true or false"), Node::Flag),
        Keep::Number => number_node(string().as_deref().unwrap_or(text)),
        Keep::Time => time_node(string().unwrap_or_else(|| text.to_owned())),
        Keep::Packed => string().map_or(Node::Unread("must be a text"), Node::Packed),
        // A word of a list that some write as its number.
        Keep::Word => word_node(string().unwrap_or_else(|| text.to_owned())),
        _ => string().map_or(Node::Unread("must be a text"), name_node),
    }
}

pub(super) fn number_node(text: &str) -> Node {
    let is_number = !text.is_empty() && text.len() <= 42 && text.bytes().all(number::is_part);
    if is_number { Node::Number(text.to_owned()) } else { Node::Unread("must be a number") }
}

fn time_node(text: String) -> Node {
    let is_time = text.len() <= 64 && text.bytes().all(|byte| b"0123456789TtZz:+-. eE".contains(&byte));
    if is_time { Node::Time(text) } else { Node::Unread("must be a time") }
}

pub(super) fn word_node(text: String) -> Node {
    if text.is_empty() || is_identifier(&text) { Node::Text(text) } else { Node::Unread("must be a word") }
}

pub(super) fn name_node(text: String) -> Node {
    if text.len() > MAX_NAME_BYTES {
        return Node::Unread("is longer than 256 bytes");
    }
    if text.contains('\0') { Node::Unread("holds a NUL character") } else { Node::Text(text) }
}

fn lookup(fields: &'static [Field], name: &str) -> Option<(Cow<'static, str>, &'static Keep)> {
    fields.iter().find(|(known, _)| *known == name).map(|(known, keep)| (Cow::Borrowed(*known), keep))
}

/// `totalTokens`, `TotalTokens` and `total-tokens` as `total_tokens`.
pub(super) fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for sign in name.chars() {
        if sign.is_ascii_uppercase() && !folded.is_empty() && !folded.ends_with('_') {
            folded.push('_');
        }
        folded.push(if sign == '-' { '_' } else { sign.to_ascii_lowercase() });
    }
    folded
}

/// The key of `{"key":.., "value":{"intValue":..}}`, and its one value.
fn attribute(pair: &RawValue) -> Option<(String, &RawValue)> {
    let (mut key, mut value) = (None, None);
    let take = |name: &str, raw| match name {
        "key" => key = Some(raw),
        "value" => value = Some(raw),
        _ => (),
    };
    borrow_members(pair.get(), take)?;
    let key = serde_json::from_str(key.map(RawValue::get)?).ok()?;
    let mut single = None;
    borrow_members(value.map(RawValue::get)?, |_, raw| single = Some(raw))?;
    Some((key, single?))
}

fn borrow_members<'t>(text: &'t str, take: impl FnMut(&str, &'t RawValue)) -> Option<()> {
    serde_json::Deserializer::from_str(text).deserialize_any(Members(take)).ok()
}

/// Hands each member of an object on.
struct Members<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            (self.0)(&name.0, value);
        }
        Ok(())
    }
}

/// Hands each item of a list on.
struct Items<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<&'de RawValue>()? {
            (self.0)(value);
        }
        Ok(())
    }
}

impl Node {
    /// The value of a member, `Null` where there is none.
    pub(super) fn get(&self, name: &str) -> &Node {
        let found = match self {
            Node::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, node)| node),
            Node::Attributes(members) => members.iter().find(|(known, _)| known == name).map(|(_, node)| node),
            Node::Unread(_) => Some(self),
            _ => None,
        };
        found.unwrap_or(&Node::Null)
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Node {
        match self {
            Node::Object(members) => {
                let member = members.iter_mut().find(|(known, _)| known == name);
                member.map_or(Node::Null, |(_, node)| std::mem::replace(node, Node::Null))
            }
            _ => Node::Null,
        }
    }

    /// The items of a list; of anything else there are none.
    pub(super) fn into_items(self) -> Vec<Node> {
        match self {
            Node::List(items) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn object<const N: usize>(members: [(&'static str, Node); N]) -> Node {
        Node::Object(members.into_iter().map(|(name, node)| (Cow::Borrowed(name), node)).collect())
    }

    /// Writes it as JSON that its decoder reads again.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Node::Null => out.push_str("null"),
            Node::Text(text) | Node::Time(text) | Node::Number(text) => push_text(out, text),
            Node::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Node::Object(members) => write_list(out, ['{', '}'], members, |out, (name, node)| {
                push_text(out, name);
                out.push(':');
                node.write(out);
            }),
            Node::Attributes(members) => write_list(out, ['[', ']'], members, |out, (name, node)| {
                out.push_str("{\"key\":");
                push_text(out, name);
                out.push_str(",\"value\":{\"stringValue\":");
                node.write(out);
                out.push_str("}}");
            }),
            Node::List(items) => write_list(out, ['[', ']'], items, |out, node| node.write(out)),
            Node::Packed(_) | Node::Unread(_) => out.push_str(REDACTED),
        }
    }

    /// A hash of what was reported, by value: `100` and `100.0` are equal, as are `00:00Z` and `01:00+01:00`;
    /// what is null is as good as absent, and the order of fields says nothing. With when the carrier says that it
    /// occurred, where that counts.
    pub(super) fn content_hash(&self, carried_at: Option<Instant>) -> Uuid {
        let mut hasher = blake3::Hasher::new();
        if let Some(at) = carried_at {
            hash_text(&mut hasher, b'i', &at.timestamp_micros().to_string());
        }
        self.hash(&mut hasher);
        let mut bytes = [0_u8; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Uuid::from_bytes(bytes)
    }

    fn hash(&self, hasher: &mut blake3::Hasher) {
        match self {
            Node::Null => drop(hasher.update(b"0")),
            Node::Text(text) => hash_text(hasher, b't', text),
            Node::Time(text) => match parse_instant(text) {
                Ok(at) => hash_text(hasher, b'i', &at.timestamp_micros().to_string()),
                Err(_) => hash_text(hasher, b't', text),
            },
            Node::Number(text) => match number::exact_decimal(text) {
                Some(value) => hash_text(hasher, b'n', &value.normalize().to_string()),
                None => hash_text(hasher, b't', text),
            },
            Node::Flag(flag) => drop(hasher.update(if *flag { b"y" } else { b"x" })),
            Node::Object(members) => hash_members(hasher, members.iter().map(|(name, node)| (&**name, node))),
            Node::Attributes(members) => hash_members(hasher, members.iter().map(|(name, node)| (&**name, node))),
            Node::List(items) => {
                hasher.update(b"l");
                for item in items {
                    item.hash(hasher);
                }
                hasher.update(b"e");
            }
            Node::Packed(_) | Node::Unread(_) => drop(hasher.update(b"u")),
        }
    }
}

fn hash_members<'n>(hasher: &mut blake3::Hasher, members: impl Iterator<Item = (&'n str, &'n Node)>) {
    let mut members: Vec<_> = members.filter(|(_, node)| **node != Node::Null).collect();
    members.sort_by_key(|(name, _)| *name);
    hasher.update(b"o");
    for (name, node) in members {
        hash_text(hasher, b'k', name);
        node.hash(hasher);
    }
    hasher.update(b"e");
}

/// Length first, so that no two lists of texts are the same bytes.
fn hash_text(hasher: &mut blake3::Hasher, kind: u8, text: &str) {
    hasher.update(&[kind]);
    hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(text.as_bytes());
}

pub(super) fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn write_list<T>(out: &mut String, [open, close]: [char; 2], items: &[T], write: impl Fn(&mut String, &T)) {
    out.push(open);
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

/// Where the JSON went wrong, without a word of it.
pub(super) fn not_json(error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line(), error.column());
    // A position names the line of a file: within a record that is one line another number would be mistaken for it.
    let line = if line > 1 { format!("line {line}, ") } else { String::new() };
    fault(Reason::NotJson, format!("no JSON object: see its {line}column {column}"))
}
