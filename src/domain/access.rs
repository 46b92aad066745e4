//! What the holder of a key may do.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a key is good for. A key has one or more; none includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything; with a party, at what concerns that.
    Read,
    /// Send usage.
    Ingest,
    /// Settle periods, and draw documents.
    Settle,
    /// Approve and issue statements; with a party, agree to those that concern it, or dispute them.
    Approve,
    /// Run jobs.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Read, Self::Ingest, Self::Settle, Self::Approve, Self::Admin];

    /// The name in the database, on the command line and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Settle => "settle",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }

    /// Whether a key that is bound to a party may have it.
    pub fn is_for_partners(self) -> bool {
        match self {
            Self::Read | Self::Approve => true,
            Self::Ingest | Self::Settle | Self::Admin => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No scope has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope \"{name}\"; there are read, ingest, settle, approve and admin")]
pub struct UnknownScope {
    pub name: String,
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == name);
        named.ok_or_else(|| UnknownScope { name: name.to_owned() })
    }
}
