//! The setting of a topic: its name, and how its messages are read.

use crate::sources::Reader;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A topic, and how its messages are read. One of CloudEvents may be written by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub reader: Reader,
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            name: String,
            #[serde(flatten)]
            reader: Reader,
        }
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Topic;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a topic, or a table of its name and how it is read")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Topic, E> {
                Ok(Topic { name: name.to_owned(), reader: Reader::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Topic, A::Error> {
                let Table { name, reader } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Topic { name, reader })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
