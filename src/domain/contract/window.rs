//! Windows of a term: over which stretch of time something is counted, compared or owed.

use crate::domain::ids::DefinedTerm;
use crate::domain::period::{Instant, Length};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// How a term cuts time, as it is written: an anchor may be a fact that is still to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowRule {
    /// Each item by itself.
    Item,
    /// Months, quarters or years of the calendar.
    Calendar {
        months: NonZeroU32,
    },
    Anchored {
        months: NonZeroU32,
        from: Anchor,
    },
    Week {
        first_day: Weekday,
    },
    Dates(Vec<NaiveDate>),
    /// The settlement period of the contract.
    Period,
    /// All the time that the term is in force.
    Term,
}

impl WindowRule {
    /// Whether what begins or ends within such a window leaves a part of it.
    pub fn can_be_cut(&self) -> bool {
        !matches!(self, Self::Item | Self::Term)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    Date(NaiveDate),
    Fact(DefinedTerm),
}

/// When something begins or ends, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    At(Instant),
    Fact(DefinedTerm),
}

/// What a counter counts over, and the date from which on: it may lie before the term's own start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counting {
    /// `Term`: it never resets.
    pub each: WindowRule,
    pub from: Moment,
}

/// What of an amount holds in a window that a start or end cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProRata {
    Full,
    Days,
    /// Months of the window whole, a rest by the days of its month.
    Months,
    /// Nothing holds in a cut window.
    None,
}

/// The days on which business is done: all but weekends and holidays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusinessDays {
    pub holidays: BTreeSet<NaiveDate>,
    pub weekend: Vec<Weekday>,
}

/// When an amount is to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    pub after: Length,
    pub business_days: bool,
    pub what: DueAfter,
}

impl Due {
    /// The day on which it is due, where that is counted from the end of a settlement period.
    pub fn after_period(&self, last_day: NaiveDate, business_days: Option<&BusinessDays>) -> Option<NaiveDate> {
        match (&self.what, self.after) {
            (DueAfter::Window | DueAfter::Receipt | DueAfter::Invoice | DueAfter::Fact(_), _) => None,
            (DueAfter::Period, Length::Days(days)) if self.business_days => business_days?.after(last_day, days),
            (DueAfter::Period, Length::Days(days)) => last_day.checked_add_days(Days::new(days.into())),
            (DueAfter::Period, Length::Months(months)) => last_day.checked_add_months(Months::new(months)),
            (DueAfter::Period, Length::Hours(_)) => None,
        }
    }
}

impl BusinessDays {
    /// The day so many business days later.
    fn after(&self, day: NaiveDate, days: u32) -> Option<NaiveDate> {
        let is_one = |day: &NaiveDate| !self.weekend.contains(&day.weekday()) && !self.holidays.contains(day);
        match usize::try_from(days).ok()?.checked_sub(1) {
            None => Some(day),
            Some(before) => day.succ_opt()?.iter_days().filter(is_one).nth(before),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueAfter {
    Period,
    Window,
    Receipt,
    Invoice,
    Fact(DefinedTerm),
}
