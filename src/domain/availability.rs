//! Availability: the share of requests that a cloud answered, of those whose outcome was reported.

use super::money::Exact;
use serde::Serialize;

/// Usage events of one cloud by the outcome that was reported of their requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CloudOutcomes {
    /// `None` for deployments that no register names.
    pub cloud: Option<String>,
    pub ok: i64,
    pub error: i64,
    pub not_reported: i64,
}

impl CloudOutcomes {
    /// Answered requests of those with a reported outcome, exact, from 0 to 1; `None` where none was reported,
    /// which is neither full availability nor none.
    pub fn availability(&self) -> Option<Exact> {
        Exact::ratio(self.ok, self.ok.checked_add(self.error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reported_counts_neither_way() {
        let check = |ok, error, expect: Option<&str>| {
            let outcomes = CloudOutcomes { cloud: None, ok, error, not_reported: 5 };
            assert_eq!(outcomes.availability().map(|share| share.to_string()).as_deref(), expect);
        };
        check(1_999, 1, Some("0.9995"));
        check(2, 1, Some("2/3"));
        check(0, 4, Some("0"));
        check(7, 0, Some("1"));
        check(0, 0, None);
    }
}
