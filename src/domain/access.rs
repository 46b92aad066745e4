//! What the holder of a key may do.

use super::names::names;

names! {
    /// What a key is good for. A key has one or more; none includes another.
    Scope as "scope" {
        /// Look at everything; with a party, at what concerns that.
        Read = "read",
        /// Send usage.
        Ingest = "ingest",
        /// Settle periods, and draw documents.
        Settle = "settle",
        /// Approve and issue statements; with a party, agree to those that concern it, or dispute them.
        Approve = "approve",
        /// Run jobs.
        Admin = "admin",
    }
}

impl Scope {
    /// Whether a key that is bound to a party may have it.
    pub fn is_for_partners(self) -> bool {
        match self {
            Self::Read | Self::Approve => true,
            Self::Ingest | Self::Settle | Self::Admin => false,
        }
    }
}
