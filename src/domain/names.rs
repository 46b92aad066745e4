//! Closed lists of names that are stored and told: each as an enum, with its names stated once.

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
