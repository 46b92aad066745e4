//! What becomes of a message: each has one outcome, and whatever counts messages counts by these.

use serde::ser::{Serialize, SerializeMap, Serializer};
use std::ops::AddAssign;
use std::str::FromStr;

macro_rules! outcomes {
    ($($(#[$doc:meta])* $outcome:ident = $name:ident),* $(,)?) => {
        /// What became of a message, or of each record of one that holds several. The names are stable: the database, metrics, reports and JSON use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome { $($(#[$doc])* $outcome,)* }

        /// How many messages had each outcome.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Outcome {
            /// In the order in which they are shown.
            pub const ALL: &[Outcome] = &[$(Outcome::$outcome),*];

            pub fn name(self) -> &'static str {
                match self { $(Outcome::$outcome => stringify!($name),)* }
            }
        }

        impl Counts {
            pub fn of(&self, outcome: Outcome) -> u64 {
                match outcome { $(Outcome::$outcome => self.$name,)* }
            }

            fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
                match outcome { $(Outcome::$outcome => &mut self.$name,)* }
            }
        }
    };
}

outcomes! {
    Stored = stored,
    /// Stored, but no mapping knew the deployment or the product then.
    StoredUnresolved = stored_unresolved,
    /// Same id, equal content.
    Duplicate = duplicate,
    /// Same id, other content: the first stands.
    Conflict = conflict,
    CorrectionApplied = correction_applied,
    /// Came before what it names.
    CorrectionWaiting = correction_waiting,
    VoidApplied = void_applied,
    /// Came before what it names.
    VoidWaiting = void_waiting,
    /// As it should be, and states no usage, such as a row of a call that another row states the usage of.
    NoUsage = no_usage,
    Rejected = rejected,
}

impl Counts {
    /// One more message.
    pub fn count(&mut self, outcome: Outcome) {
        self.add(outcome, 1);
    }

    fn add(&mut self, outcome: Outcome, more: u64) {
        let count = self.of_mut(outcome);
        *count = count.saturating_add(more);
    }

    /// All messages: each has one outcome.
    pub fn messages(&self) -> u64 {
        self.iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Every outcome with its count, in the order in which they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.iter().map(|outcome| (*outcome, self.of(*outcome)))
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (outcome, more) in other.iter() {
            self.add(outcome, more);
        }
    }
}

impl FromIterator<(Outcome, u64)> for Counts {
    fn from_iter<I: IntoIterator<Item = (Outcome, u64)>>(counts: I) -> Self {
        let mut sum = Self::default();
        for (outcome, count) in counts {
            sum.add(outcome, count);
        }
        sum
    }
}

/// All messages first, then each outcome by its name.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("messages", &self.messages())?;
        for (outcome, count) in self.iter() {
            map.serialize_entry(outcome.name(), &count)?;
        }
        map.end()
    }
}

/// No outcome has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown outcome \"{name}\"")]
pub struct UnknownOutcome {
    pub name: String,
}

impl FromStr for Outcome {
    type Err = UnknownOutcome;

    fn from_str(name: &str) -> Result<Self, UnknownOutcome> {
        let named = Self::ALL.iter().find(|outcome| outcome.name() == name);
        named.copied().ok_or_else(|| UnknownOutcome { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_counts_under_its_name() {
        let mut counts = Counts::default();
        for (number, outcome) in (1..).zip(Outcome::ALL) {
            assert_eq!(outcome.name().parse(), Ok(*outcome));
            for _ in 0..number {
                counts.count(*outcome);
            }
            assert_eq!(counts.of(*outcome), number);
        }
        // 1 + 2 + ... + 10
        assert_eq!((counts.messages(), counts.stored, counts.rejected), (55, 1, 10));
        let mut twice: Counts = counts.iter().collect();
        twice += counts;
        assert_eq!((twice.messages(), twice.void_waiting), (110, 16));
        let text = serde_json::to_string(&Counts { duplicate: 2, ..Counts::default() }).expect("json");
        assert!(text.starts_with(r#"{"messages":2,"stored":0,"stored_unresolved":0,"duplicate":2,"#), "{text}");
    }
}
