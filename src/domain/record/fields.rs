//! The fields of one JSON object: each known, none twice, numbers as they are written.

use super::RecordError;
use crate::domain::period::{Instant, parse_instant};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// An object taken apart, its values still text: a number in it keeps every digit.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, Box<RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(earlier, _)| *earlier == name) {
                        return Err(serde::de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    members.push((name, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Fields)
    }
}

impl Fields {
    /// Takes one JSON object apart.
    ///
    /// # Errors
    /// A text that is no object, or in which a field stands twice.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(RecordError::Json)
    }

    /// The text of a value; a field that is absent or null is not given.
    fn value(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, value)| name == field && value.get() != "null");
        found.map(|(_, value)| value.get())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The fields that are given, each with the text of its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    /// All but some.
    pub fn without(mut self, fields: &[&str]) -> Self {
        self.0.retain(|(name, _)| !fields.contains(&name.as_str()));
        self
    }

    /// The fields of `other` in place of those of the same names.
    pub fn restated(&self, other: &Self) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !other.names().any(|restated| restated == name));
        Self(kept.chain(&other.0).cloned().collect())
    }

    /// # Errors
    /// A field that is not among the known ones.
    pub fn refuse_others(&self, known: &[&str]) -> Result<(), RecordError> {
        match self.names().find(|name| !known.contains(name)) {
            Some(field) => Err(RecordError::UnknownField { field: field.to_owned(), known: known.join(", ") }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// A value that is no text.
    pub fn text(&self, field: &'static str) -> Result<Option<String>, RecordError> {
        self.parsed(field, "text in quotes")
    }

    /// # Errors
    /// A value of another form.
    pub fn parsed<T: DeserializeOwned>(
        &self,
        field: &'static str,
        form: &'static str,
    ) -> Result<Option<T>, RecordError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        // Of an object or list the reader knows better what is wrong in it.
        let is_nested = |problem: &serde_json::Error| value.starts_with(['{', '[']) && problem.is_data();
        serde_json::from_str(value).map(Some).map_err(|problem| match is_nested(&problem) {
            true => RecordError::Within { field, form, problem: super::without_line(&problem) },
            false => RecordError::WrongType { field, form },
        })
    }

    /// # Errors
    /// A field that is missing, or whose value is no text.
    pub fn required(&self, field: &'static str, form: &'static str) -> Result<String, RecordError> {
        self.parsed(field, form)?.ok_or(RecordError::Missing { field, form })
    }

    /// # Errors
    /// A value that is no instant with a zone.
    pub fn instant(&self, field: &'static str) -> Result<Option<Instant>, RecordError> {
        let read = |text: String| parse_instant(&text).map_err(|problem| RecordError::Instant { field, problem });
        self.parsed(field, INSTANT)?.map(read).transpose()
    }

    /// # Errors
    /// A field that is missing, or that is no instant with a zone.
    pub fn required_instant(&self, field: &'static str) -> Result<Instant, RecordError> {
        self.instant(field)?.ok_or(RecordError::Missing { field, form: INSTANT })
    }
}

const INSTANT: &str = "an instant in quotes, such as \"2026-04-27T00:00:00-07:00\"";
