//! The JSON schema of the blocks, for editors: the reader itself is asked which fields it takes, and of which form.

use super::raw::RawDocument;
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The schema of a document's blocks, as they are after another in one TOML file.
pub fn schema() -> Value {
    let notes = Notes::default();
    // Each pass follows one field of each block, and no field is far: what is new comes early.
    let mut quiet = 0_u32;
    while quiet < 2_000 {
        notes.is_new.set(false);
        let found = RefCell::new(None);
        drop(RawDocument::deserialize(Asked { notes: &notes, place: "Document", found: &found }));
        quiet = if notes.is_new.get() { 0 } else { quiet.saturating_add(1) };
    }
    let blocks = notes.blocks.into_inner();
    let definition = |(name, block): (&String, &Block)| (plain(name), block.schema());
    let mut definitions: Map<String, Value> = blocks.iter().map(definition).collect();
    let row = json!({"$ref": reference(ROW)});
    let value = json!({"anyOf": [
        {"type": "string"},
        row,
        {"type": "array", "items": {"anyOf": [{"type": "string"}, row]}},
    ]});
    definitions.insert("Value".to_owned(), value);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "The toml blocks of agreements; made by `apportion contracts schema`.",
        "$ref": reference("RawDocument"),
        "definitions": definitions,
    })
}

/// What was learnt of the reader.
#[derive(Default)]
struct Notes {
    blocks: RefCell<BTreeMap<String, Block>>,
    /// Those that are being read, the innermost last.
    open: RefCell<Vec<String>>,
    is_new: Cell<bool>,
}

#[derive(Default)]
struct Block {
    fields: Vec<&'static str>,
    forms: BTreeMap<&'static str, Form>,
    required: BTreeSet<&'static str>,
    next: usize,
}

/// How a field is written.
#[derive(Clone, PartialEq)]
enum Form {
    Text,
    Whole,
    Flag,
    /// Text or a flag or a number.
    Word,
    Words(&'static [&'static str]),
    /// A literal, a name, or rows.
    Value,
    Block(String),
    List(Box<Form>),
    OneOrMore(Box<Form>),
    NameOr(Box<Form>),
    Named(Box<Form>),
}

const ROW: &str = "Row";

fn plain(name: &str) -> String {
    name.strip_prefix("Raw").unwrap_or(name).to_owned()
}

fn reference(name: &str) -> String {
    format!("#/definitions/{}", plain(name))
}

impl Block {
    fn schema(&self) -> Value {
        let properties: Map<String, Value> =
            self.forms.iter().map(|(field, form)| ((*field).to_owned(), form.schema())).collect();
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if let (false, Some(schema)) = (self.required.is_empty(), schema.as_object_mut()) {
            schema.insert("required".to_owned(), json!(self.required));
        }
        schema
    }
}

impl Form {
    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Whole => json!({"type": "integer"}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Word => json!({"type": ["string", "boolean", "integer"]}),
            Self::Words(words) => json!({"enum": words}),
            Self::Value => json!({"$ref": reference("Value")}),
            Self::Block(name) => json!({"$ref": reference(name)}),
            Self::List(item) => json!({"type": "array", "items": item.schema()}),
            Self::OneOrMore(item) => {
                let item = item.schema();
                json!({"anyOf": [item, {"type": "array", "items": item}]})
            }
            Self::NameOr(block) => json!({"anyOf": [{"type": "string"}, block.schema()]}),
            Self::Named(item) => json!({"type": "object", "additionalProperties": item.schema()}),
        }
    }
}

/// Why the reader refused what it was given.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("missing")]
    Missing(&'static str),
    #[error("unknown")]
    Unknown(&'static [&'static str]),
    #[error("other")]
    Other,
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(expected)
    }
}

/// What the reader reads: it notes what it is asked for, and gives something of that form.
#[derive(Clone, Copy)]
struct Asked<'n> {
    notes: &'n Notes,
    /// The block and field; blocks without a name are called so.
    place: &'n str,
    found: &'n RefCell<Option<Form>>,
}

impl<'n> Asked<'n> {
    fn is(&self, form: Form) {
        self.found.replace(Some(form));
    }

    /// Reads what is inside, and notes it as part of a form.
    fn within<T>(
        self,
        form: impl FnOnce(Box<Form>) -> Form,
        read: impl FnOnce(Asked<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let inner = RefCell::new(None);
        let result = read(Asked { found: &inner, ..self });
        if let Some(inner) = inner.into_inner() {
            self.is(form(Box::new(inner)));
        }
        result
    }

    /// Reads a block: what it needs, and one field more.
    fn block<'de, V: Visitor<'de>>(self, name: &str, fields: &[&'static str], visitor: V) -> Result<V::Value, Fault> {
        let is_inside = self.notes.open.borrow().iter().any(|open| open == name);
        let keys: Vec<&'static str> = {
            let mut blocks = self.notes.blocks.borrow_mut();
            let block = blocks.entry(name.to_owned()).or_default();
            if block.fields.is_empty() {
                block.fields.extend(fields);
            }
            let unknown = block.fields.iter().find(|field| !block.forms.contains_key(*field)).copied();
            block.next = block.next.wrapping_add(1);
            let turn = block.next.checked_rem(block.fields.len()).and_then(|place| block.fields.get(place)).copied();
            let more = unknown.or(turn).filter(|_| !is_inside);
            let needed = block.required.iter().copied().filter(|field| Some(*field) != more);
            let keys: Vec<&str> = needed.chain(more).collect();
            if block.fields.is_empty() { vec!["?"] } else { keys }
        };
        self.notes.open.borrow_mut().push(name.to_owned());
        let result = visitor.visit_map(Fields { asked: self, name, keys: keys.into_iter(), at: None });
        self.notes.open.borrow_mut().pop();
        let mut blocks = self.notes.blocks.borrow_mut();
        let (Some(block), Err(fault)) = (blocks.get_mut(name), &result) else { return result };
        let is_new = match fault {
            Fault::Missing(field) => block.required.insert(field),
            Fault::Unknown(fields) if block.fields.is_empty() => {
                block.fields.extend(*fields);
                true
            }
            Fault::Unknown(_) | Fault::Other => false,
        };
        self.notes.is_new.set(self.notes.is_new.get() || is_new);
        result.map_err(|_| Fault::Other)
    }
}

/// The fields of a block, each with what the reader asks for.
struct Fields<'n, 'b> {
    asked: Asked<'n>,
    name: &'b str,
    keys: std::vec::IntoIter<&'static str>,
    at: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.at = self.keys.next();
        self.at.map(|key| seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(field) = self.at else { return Err(Fault::Other) };
        let (notes, found) = (self.asked.notes, RefCell::new(None));
        let place = format!("{}.{field}", self.name);
        let result = seed.deserialize(Asked { notes, place: &place, found: &found });
        if let (Some(form), Some(block)) = (found.into_inner(), notes.blocks.borrow_mut().get_mut(self.name))
            && block.forms.get(field) != Some(&form)
        {
            block.forms.insert(field, form);
            notes.is_new.set(true);
        }
        result
    }
}

/// So many things of a list, or one named thing.
struct Things<'n> {
    asked: Asked<'n>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Things<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.asked).map(Some)
    }
}

impl<'de> MapAccess<'de> for Things<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let ignored = RefCell::new(None);
        seed.deserialize(Asked { found: &ignored, ..self.asked }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(self.asked)
    }
}

/// What `Spanned` asks for: where something stands, and the thing.
struct Span<'n> {
    asked: Asked<'n>,
    fields: std::slice::Iter<'static, &'static str>,
    is_thing: bool,
}

impl<'de> MapAccess<'de> for Span<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.is_thing = field.ends_with("value");
        seed.deserialize(BorrowedStrDeserializer::<Fault>::new(field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.is_thing {
            true => seed.deserialize(self.asked),
            false => seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(0_usize)),
        }
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Fault;

    /// What reads anything says in its own words what it expects.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let expected: &dyn Expected = &visitor;
        match expected.to_string().as_str() {
            "one, or a list" => self.within(Form::OneOrMore, |asked| visitor.visit_seq(Things { asked, left: 1 })),
            "a name, or a table" => {
                self.is(Form::NameOr(Box::new(Form::Block(self.place.to_owned()))));
                self.block(self.place, &[], visitor)
            }
            "a value" => {
                self.is(Form::Value);
                let is_row = self.notes.open.borrow().iter().any(|open| open == ROW);
                let turn = self.notes.blocks.borrow().get(ROW).map_or(0, |row| row.next);
                // Every row is followed by a plain value, so that what needs one gets one.
                match is_row || self.place.starts_with("RawVersion") || turn > 200 {
                    true => visitor.visit_str("x"),
                    false => self.block(ROW, &[], visitor),
                }
            }
            _ => {
                self.is(Form::Word);
                visitor.visit_str("x")
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.is(Form::Flag);
        visitor.visit_bool(false)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.is(Form::Whole);
        visitor.visit_u64(1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.is(Form::Text);
        visitor.visit_str("x")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.within(Form::List, |asked| visitor.visit_seq(Things { asked, left: 1 }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.within(Form::List, |asked| visitor.visit_seq(Things { asked, left: length }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.within(Form::Named, |asked| visitor.visit_map(Things { asked, left: 1 }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if fields.iter().any(|field| field.contains("spanned")) {
            return visitor.visit_map(Span { asked: self, fields: fields.iter(), is_thing: false });
        }
        self.is(Form::Block(name.to_owned()));
        self.block(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.is(Form::Words(variants));
        let first = variants.first().copied().unwrap_or_default();
        visitor.visit_enum(StrDeserializer::<Fault>::new(first))
    }

    /// No block has such a number; the trait asks for it.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 char bytes byte_buf unit unit_struct tuple_struct identifier
        ignored_any
    }
}
