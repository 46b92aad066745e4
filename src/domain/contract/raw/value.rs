//! Values as they are written: words, dates, rows of conditions; and what may be one thing or a list.

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use toml::Spanned;
use toml::value::Datetime;

/// A literal, a name, or rows.
#[derive(Clone, Debug)]
pub enum RawValue {
    Text(String),
    Date(Datetime),
    List(Vec<Spanned<RawValue>>),
    Row(Box<RawRow>),
    /// A bare number or a truth value, which no value is.
    Other,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRow {
    pub from: Option<Spanned<RawValue>>,
    pub through: Option<Spanned<RawValue>>,
    pub r#where: Option<Spanned<RawFilter>>,
    pub period: Option<Spanned<RawOrdinals>>,
    pub up_to: Option<Spanned<RawValue>>,
    pub below: Option<Spanned<RawValue>>,
    pub is: Option<Spanned<RawValue>>,
    pub otherwise: Option<Spanned<RawValue>>,
}

/// Where what a term yields counts for what draws on it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawAs {
    /// At the item behind it.
    Owed,
    /// When it is paid, which no record says: it is read to be refused in words.
    Received,
}

/// `3`, or `"1-6"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RawOrdinals {
    One(u32),
    Range(String),
}

/// Attributes, and facts by their names.
pub type RawFilter = BTreeMap<Spanned<String>, Spanned<OneOrMore<RawWord>>>;

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RawWord {
    Text(String),
    Flag(bool),
}

/// One thing, or a list of them.
#[derive(Clone, Debug)]
pub struct OneOrMore<T> {
    items: Vec<(Option<Range<usize>>, T)>,
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> OneOrMore<T> {
    /// Each with its place; the place of one that stands alone is that of the whole.
    pub fn items<'a>(&'a self, whole: &Range<usize>) -> impl Iterator<Item = (Range<usize>, &'a T)> {
        self.items.iter().map(move |(at, item)| (at.clone().unwrap_or_else(|| whole.clone()), item))
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A name, or what it would stand for.
#[derive(Clone, Debug)]
pub enum Named<T> {
    Name(String),
    Inline(Box<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one, or a list")
            }

            fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(OneOrMore { items: vec![(None, T::deserialize(flag.into_deserializer())?)] })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMore { items: vec![(None, T::deserialize(text.into_deserializer())?)] })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMore { items: vec![(None, T::deserialize(MapAccessDeserializer::new(map))?)] })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<Spanned<T>>()? {
                    items.push((Some(item.span()), item.into_inner()));
                }
                Ok(OneOrMore { items })
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOr<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for NameOr<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a table")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Named::Name(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(Named::Inline(Box::new(T::deserialize(MapAccessDeserializer::new(map))?)))
            }
        }
        deserializer.deserialize_any(NameOr(PhantomData))
    }
}

/// By this key the reader of TOML passes a date as if it were a table.
const DATE_KEY: &str = "$__toml_private_datetime";

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<RawValue, E> {
                Ok(RawValue::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<RawValue, E> {
                Ok(RawValue::Other)
            }

            fn visit_i128<E>(self, _: i128) -> Result<RawValue, E> {
                Ok(RawValue::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<RawValue, E> {
                Ok(RawValue::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
                Ok(RawValue::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawValue, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(RawValue::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
                let first: Option<String> = map.next_key()?;
                if first.as_deref() == Some(DATE_KEY) {
                    let text: String = map.next_value()?;
                    return text.parse().map(RawValue::Date).map_err(serde::de::Error::custom);
                }
                let row = RawRow::deserialize(MapAccessDeserializer::new(Unread { first, rest: map }))?;
                Ok(RawValue::Row(Box::new(row)))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

/// A table whose first key was read already.
struct Unread<A> {
    first: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Unread<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => seed.deserialize(StringDeserializer::new(key)).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}
