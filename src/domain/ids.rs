//! Names of things: each kind has a type of its own, so that a party is never taken for a product.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name_types {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the name as written; whether anything of that name exists is the reader's question.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    )*};
}

name_types! {
    /// A legal entity: a lab, a cloud, a reseller, a customer.
    PartyId,
    /// One place that runs models and reports usage.
    DeploymentId,
    /// What is sold: `gpt-api`, `codex`, `bedrock-managed-agents`.
    ProductId,
    /// A pseudonymous key of the customer who used it.
    CustomerId,
    /// An agreement through all its versions.
    ContractId,
    /// One clause as data; its identity through the versions of one contract.
    TermId,
    /// What an invoice or credit note is called: `OPENAI-000001`.
    InvoiceNumber,
    /// A fact, figure or parameter that a contract declares, by its own defined term.
    DefinedTerm,
}

impl PartyId {
    /// In capitals, as invoices are numbered by it.
    pub fn in_capitals(&self) -> String {
        self.0.to_uppercase()
    }
}

/// What identifies a usage event, a correction, a void or a record for ever: its id within its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EventId {
    /// Who emitted it (the `source` of a CloudEvent).
    pub source: String,
    /// Unique within the source, for ever (the `id` of a CloudEvent).
    pub id: String,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.id, self.source)
    }
}

/// The longest reason, in characters; the database keeps to the same.
pub const MAX_REASON_CHARS: usize = 2000;

/// Whether a text can say why: not empty, not longer than people read, and storable.
pub fn is_reason(text: &str) -> bool {
    !text.contains('\0') && (1..=MAX_REASON_CHARS).contains(&text.chars().count())
}

/// Whether a text can name something: not empty, not longer than an index holds, and of letters that a
/// terminal shows and Postgres stores.
pub fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
}
