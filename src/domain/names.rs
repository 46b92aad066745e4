//! Closed lists of names, each as an enum with its names stated once; and of names those that may have been meant.

use std::collections::BTreeSet;
use std::fmt::Display;

/// No kind of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} \"{name}\"; there is {}", known.join(", "))]
pub struct UnknownName {
    pub what: &'static str,
    pub name: String,
    pub known: Vec<&'static str>,
}

/// Defines enums whose variants have a stable name, which the database, metrics, the command line and JSON use.
macro_rules! names {
    ($(
        $(#[doc = $doc:literal])*
        $(#[derive($($more:ident),*)])?
        $kind:ident as $what:literal { $($(#[$of:meta])* $variant:ident = $name:literal),* $(,)? }
    )*) => {$(
        $(#[doc = $doc])*
        $(#[derive($($more),*)])?
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $kind { $($(#[$of])* $variant,)* }

        impl $kind {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name: the database, metrics, the command line and JSON use it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::domain::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().find(|it| it.name() == name).copied().ok_or_else(|| Self::Err {
                    what: $what,
                    name: name.to_owned(),
                    known: Self::ALL.iter().map(|it| it.name()).collect(),
                })
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "service")]
        impl utoipa::PartialSchema for $kind {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let text = utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::schema::Type::String);
                let names = utoipa::openapi::ObjectBuilder::new().schema_type(text);
                let names = names.enum_values(Some(Self::ALL.iter().map(|it| it.name())));
                names.description(Some(concat!($($doc),*).trim())).into()
            }
        }

        #[cfg(feature = "service")]
        impl utoipa::ToSchema for $kind {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed(stringify!($kind))
            }
        }
    )*};
}

pub(crate) use names;

/// What a derived reader refuses, taken from its words: these list every name, and say nothing of the nearest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("\"{name}\" is none of {}{}", known.join(", "), meant(name, known))]
    Word { name: String, known: Vec<String> },
    #[error("unknown field `{name}`{}{}", there_is(known), meant(name, known))]
    Field { name: String, known: Vec<String> },
    #[error("missing field `{name}`")]
    Missing { name: String },
}

impl Unfit {
    /// Nothing where the words say something else.
    pub fn of(message: &str) -> Option<Self> {
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>();
        let names = |start: &str| message.strip_prefix(start).map(quoted).filter(|names| !names.is_empty());
        if let Some([name]) = names("missing field ").as_deref() {
            return Some(Self::Missing { name: name.clone() });
        }
        if let Some([name, known @ ..]) = names("unknown variant ").as_deref() {
            return Some(Self::Word { name: name.clone(), known: known.to_vec() });
        }
        match names("unknown field ").as_deref() {
            Some([name, known @ ..]) => Some(Self::Field { name: name.clone(), known: known.to_vec() }),
            _ => None,
        }
    }
}

/// The one name that is like it.
fn meant(name: &str, known: &[String]) -> String {
    let near: Vec<&String> = known.iter().filter(|it| is_near(it, name)).collect();
    match near.as_slice() {
        [one] => format!("; is \"{one}\" meant?"),
        _ => String::new(),
    }
}

/// The names that would have been right, each once: documents may state one name twice.
pub fn there_is<T: Display>(names: &[T]) -> String {
    let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("; there is {}", names.join(", ")) }
}

/// Of many names those that look like it, or else all.
pub fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let bare = |known: &&String| {
        // Names of several kinds stand as `base "Revenue" (contract.md:42)`.
        let quoted = known.split('"').nth(1).unwrap_or(known);
        is_near(quoted, name)
    };
    let near: Vec<String> = known.iter().filter(bare).cloned().collect();
    if near.is_empty() || known.len() < 8 { known.to_vec() } else { near }
}

/// Whether one of two names may be a misspelling of the other: few letters differ.
pub fn is_near(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.to_lowercase().chars().filter(|it| it.is_alphanumeric()).collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    let may_differ = a.len().min(b.len()).div_euclid(4).max(1);
    // The distance of Levenshtein, row by row.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, own) in a.iter().enumerate() {
        let mut next = vec![line.saturating_add(1)];
        for ((other, above), diagonal) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            let replaced = diagonal.saturating_add(usize::from(own != other));
            next.push(replaced.min(left.min(*above).saturating_add(1)));
        }
        row = next;
    }
    row.last().is_some_and(|distance| *distance <= may_differ)
}
