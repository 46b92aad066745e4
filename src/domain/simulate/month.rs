//! Months of the calendar, in which streams and paths are stated.

use crate::domain::period::{Instant, Span, start_of_day};
use chrono::{Datelike, Months, NaiveDate};
use chrono_tz::Tz;
use std::fmt;

/// A month, written `2026-05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month {
    first_day: NaiveDate,
}

impl Month {
    /// Reads `2026-05`, and nothing else.
    pub fn read(text: &str) -> Option<Self> {
        let first_day = format!("{text}-01").parse().ok()?;
        Some(Self { first_day }).filter(|month| month.to_string() == text)
    }

    pub fn containing(date: NaiveDate) -> Self {
        Self { first_day: date.with_day(1).unwrap_or(date) }
    }

    /// The month in which an instant lies, as a zone sees it.
    pub fn at(at: Instant, zone: Tz) -> Self {
        let named = Self::containing(at.with_timezone(&zone).date_naive());
        // Where clocks go back over midnight, the local date of an instant can be that of the day before.
        let next = named.next();
        if next.span(zone).start <= at { next } else { named }
    }

    pub fn next(self) -> Self {
        Self { first_day: self.first_day.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX) }
    }

    pub fn first_day(self) -> NaiveDate {
        self.first_day
    }

    pub fn last_day(self) -> NaiveDate {
        self.next().first_day.pred_opt().unwrap_or(NaiveDate::MAX)
    }

    /// The instants `[start, end)` of the month in a zone.
    pub fn span(self, zone: Tz) -> Span {
        Span { start: start_of_day(zone, self.first_day), end: start_of_day(zone, self.next().first_day) }
    }

    /// How many months another lies later.
    pub fn months_to(self, other: Self) -> i64 {
        let number = |day: NaiveDate| i64::from(day.year()).saturating_mul(12).saturating_add(day.month0().into());
        number(other.first_day).saturating_sub(number(self.first_day))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first_day.year(), self.first_day.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_one_way_and_follow_each_other() {
        for wrong in ["", "2026", "2026-5", "2026-13", "2026-Q1", "2026-05-01", " 2026-05", "+2026-05", "12026-05"] {
            assert_eq!(Month::read(wrong), None, "{wrong}");
        }
        let december = Month::read("2026-12").expect("a month");
        assert_eq!(december.next().to_string(), "2027-01");
        assert_eq!(december.last_day().to_string(), "2026-12-31");
        assert_eq!(december.months_to(Month::read("2028-02").expect("a month")), 14);
    }

    #[test]
    fn the_hour_before_a_doubled_midnight_is_in_the_month_that_it_begins() {
        // St. John's put its clocks back at 00:01 on 1 November 2009, a minute into the month.
        let zone = chrono_tz::America::St_Johns;
        for at in ["2009-11-01T02:30:00Z", "2009-11-01T02:31:00Z", "2009-11-01T03:30:00Z"] {
            let at = crate::domain::period::parse_instant(at).expect("an instant");
            assert_eq!(Month::at(at, zone).to_string(), "2009-11", "{at}");
        }
    }
}
