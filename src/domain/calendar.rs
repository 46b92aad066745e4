//! Calendars: how an agreement cuts time into windows of whole local days.

use super::period::{Instant, Span, local_date, start_of_day};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// How time is cut into windows: months, quarters and years of the calendar or from an anchor, weeks, listed dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Calendar {
    /// Windows of so many months. Each start is counted from the anchor and clamped to its month's last day:
    /// from 31 May every quarter: 31 August, 30 November, 28 February, 31 May (CONTRACTS section 1).
    Months {
        months: NonZeroU32,
        anchor: NaiveDate,
    },
    Weeks {
        first_day: Weekday,
    },
    /// The first day of each window, rising; the last date ends the last window.
    Dates(Vec<NaiveDate>),
}

/// A stretch of whole local days.
///
/// Written as a month `2026-05`, a quarter `2026-Q2` or a year `2026` where it is one, else by its first and last day:
/// `2026-05-15/2026-06-14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    pub first_day: NaiveDate,
    /// The day after its last.
    pub end_day: NaiveDate,
}

impl Window {
    /// The instants `[start, end)` of the window in a zone.
    pub fn span(&self, zone: Tz) -> Span {
        Span { start: start_of_day(zone, self.first_day), end: start_of_day(zone, self.end_day) }
    }

    pub fn last_day(&self) -> NaiveDate {
        self.end_day.pred_opt().unwrap_or(self.first_day)
    }
}

impl Calendar {
    /// Windows of whole months that begin with 1 January: months, quarters and years of the calendar.
    pub fn of_months(months: NonZeroU32) -> Self {
        Self::Months { months, anchor: NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default() }
    }

    /// Windows that follow one of whole months and are as long; none for another.
    pub fn as_long_as(window: Window) -> Option<Self> {
        let months = u32::try_from(months_between(window.first_day, window.end_day)).ok().and_then(NonZeroU32::new)?;
        Some(Self::Months { months, anchor: window.first_day }).filter(|calendar| calendar.has(window))
    }

    /// The window in which a local date lies; none outside of listed dates.
    pub fn window(&self, date: NaiveDate) -> Option<Window> {
        match self {
            Self::Months { months, anchor } => {
                let estimate = months_between(*anchor, date).checked_div_euclid(i64::from(months.get()))?;
                // Clamping can put a start later in its month than the date's day tells: one to either side.
                (-1..=1).filter_map(|near| self.months_window(estimate.checked_add(near)?)).find(|it| it.contains(date))
            }
            Self::Weeks { first_day } => {
                let since = date.weekday().days_since(*first_day);
                let first_day = date.checked_sub_days(Days::new(since.into()))?;
                Some(Window { first_day, end_day: first_day.checked_add_days(Days::new(7))? })
            }
            Self::Dates(starts) => {
                let after = starts.partition_point(|start| *start <= date);
                let first_day = *starts.get(after.checked_sub(1)?)?;
                Some(Window { first_day, end_day: *starts.get(after)? })
            }
        }
    }

    /// The window after one of its own; none after the last of listed dates.
    pub fn next(&self, window: Window) -> Option<Window> {
        self.window(window.end_day)
    }

    /// The window in which an instant lies, as a zone sees it.
    pub fn at(&self, at: Instant, zone: Tz) -> Option<Window> {
        self.window(local_date(at, zone))
    }

    /// The window of a name, or of its first day.
    pub fn named(&self, name: &str) -> Option<Window> {
        match name.parse::<NaiveDate>() {
            Ok(first_day) => self.window(first_day).filter(|window| window.first_day == first_day),
            Err(_) => name.parse().ok().filter(|window| self.has(*window)),
        }
    }

    /// Whether a window is one of its own.
    pub fn has(&self, window: Window) -> bool {
        self.window(window.first_day) == Some(window)
    }

    /// The place of a window, 1 for the one that contains `first`; none before it.
    pub fn ordinal(&self, window: Window, first: NaiveDate) -> Option<u32> {
        let mut at = self.window(first)?;
        let mut ordinal = 1_u32;
        while at < window {
            at = self.next(at)?;
            ordinal = ordinal.checked_add(1)?;
        }
        (at == window).then_some(ordinal)
    }

    /// Window `index` of those that are counted from the anchor.
    fn months_window(&self, index: i64) -> Option<Window> {
        let Self::Months { months, anchor } = self else { return None };
        let start = |index: i64| {
            let months_after = index.checked_mul(months.get().into())?;
            let by = Months::new(u32::try_from(months_after.unsigned_abs()).ok()?);
            if months_after < 0 { anchor.checked_sub_months(by) } else { anchor.checked_add_months(by) }
        };
        Some(Window { first_day: start(index)?, end_day: start(index.checked_add(1)?)? })
    }
}

impl Window {
    pub fn contains(&self, date: NaiveDate) -> bool {
        self.first_day <= date && date < self.end_day
    }
}

/// How many months lie between the months of two dates, whatever their days.
fn months_between(from: NaiveDate, to: NaiveDate) -> i64 {
    let months = |date: NaiveDate| i64::from(date.year()).saturating_mul(12).saturating_add(date.month0().into());
    months(to).saturating_sub(months(from))
}

/// A settlement period: a window of its contract's calendar.
pub type Period = Window;

/// How many months of the calendar of all a window is, if it is one of those that have a name.
fn named_months(window: &Window) -> Option<u32> {
    let of_year = |months| Calendar::of_months(months).has(*window).then_some(months.get());
    [1, 3, 12].into_iter().filter_map(NonZeroU32::new).find_map(of_year)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = self.first_day.year();
        match named_months(self) {
            Some(1) => write!(f, "{year:04}-{:02}", self.first_day.month()),
            Some(3) => write!(f, "{year:04}-Q{}", self.first_day.quarter()),
            Some(_) => write!(f, "{year:04}"),
            None => write!(f, "{}/{}", self.first_day, self.last_day()),
        }
    }
}

/// The text is no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is no period; write a month 2026-05, a quarter 2026-Q2, a year 2026, or first and last day 2026-05-15/2026-06-14"
)]
pub struct ParsePeriodError {
    pub text: String,
}

impl FromStr for Window {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, ParsePeriodError> {
        let window = match text.split_once('/') {
            Some((first, last)) => days(first, last),
            None => named_window(text),
        };
        // A window has one way to be written.
        window.filter(|it| it.to_string() == text).ok_or_else(|| ParsePeriodError { text: text.to_owned() })
    }
}

fn days(first: &str, last: &str) -> Option<Window> {
    let (first_day, last_day): (NaiveDate, NaiveDate) = (first.parse().ok()?, last.parse().ok()?);
    Some(Window { first_day, end_day: last_day.succ_opt()? }).filter(|window| window.first_day < window.end_day)
}

fn named_window(text: &str) -> Option<Window> {
    let (year, part) = text.split_once('-').map_or((text, None), |(year, part)| (year, Some(part)));
    let (month, months) = match part {
        None => (1, 12),
        Some(part) => match part.strip_prefix('Q') {
            Some(quarter) => (quarter.parse::<u32>().ok()?.checked_mul(3)?.checked_sub(2)?, 3),
            None => (part.parse().ok()?, 1),
        },
    };
    let first_day = NaiveDate::from_ymd_opt(year.parse().ok()?, month, 1)?;
    Calendar::of_months(NonZeroU32::new(months)?).window(first_day)
}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::period::{end_of_day_exclusive, last_instant_before, parse_instant};

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn months(months: u32, anchor: &str) -> Calendar {
        Calendar::Months { months: NonZeroU32::new(months).expect("some"), anchor: day(anchor) }
    }

    fn window(calendar: &Calendar, date: &str) -> [String; 2] {
        let found = calendar.window(day(date)).expect("a window");
        [found.first_day.to_string(), found.end_day.to_string()]
    }

    #[test]
    fn months_are_counted_from_the_anchor_and_clamped() {
        let quarters = months(3, "2026-05-31");
        assert_eq!(window(&quarters, "2026-05-31"), ["2026-05-31", "2026-08-31"]);
        assert_eq!(window(&quarters, "2026-11-29"), ["2026-08-31", "2026-11-30"]);
        assert_eq!(window(&quarters, "2026-11-30"), ["2026-11-30", "2027-02-28"]);
        assert_eq!(window(&quarters, "2027-02-28"), ["2027-02-28", "2027-05-31"]);
        assert_eq!(window(&quarters, "2026-05-30"), ["2026-02-28", "2026-05-31"]);
        assert_eq!(window(&months(12, "2024-02-29"), "2025-02-28"), ["2025-02-28", "2026-02-28"]);
        assert_eq!(window(&months(12, "2024-02-29"), "2028-02-28"), ["2027-02-28", "2028-02-29"]);
    }

    #[test]
    fn windows_follow_each_other_without_gap_or_overlap() {
        let weeks = Calendar::Weeks { first_day: Weekday::Sun };
        let dates = Calendar::Dates(["2020-01-01", "2024-01-31", "2031-01-01"].map(day).to_vec());
        for calendar in [months(1, "2023-01-31"), months(5, "2023-03-30"), months(12, "2024-02-29"), weeks, dates] {
            let mut at = calendar.window(day("2020-01-01")).expect("a window");
            while at.end_day < day("2031-01-01") {
                let next = calendar.next(at).expect("the next");
                assert_eq!(next.first_day, at.end_day, "{calendar:?}");
                assert_eq!(calendar.window(next.last_day()), Some(next), "{calendar:?}");
                at = next;
            }
        }
    }

    const LOS_ANGELES: Tz = chrono_tz::America::Los_Angeles;

    fn of_all(length: u32) -> Calendar {
        Calendar::of_months(NonZeroU32::new(length).expect("some"))
    }

    fn instant(text: &str) -> Instant {
        parse_instant(text).expect("an instant")
    }

    #[test]
    fn the_end_of_2030_is_local() {
        let end = end_of_day_exclusive(LOS_ANGELES, NaiveDate::from_ymd_opt(2030, 12, 31).expect("a date"));
        assert_eq!(end, instant("2031-01-01T08:00:00Z"));
        let year = |text| of_all(12).at(instant(text), LOS_ANGELES).map(|it| it.to_string());
        assert_eq!(year("2031-01-01T07:59:59.999999Z"), Some("2030".to_owned()));
        assert_eq!(year("2031-01-01T08:00:00Z"), Some("2031".to_owned()));
    }

    #[test]
    fn months_have_days_of_23_and_25_hours() {
        let hours = |text: &str| {
            let span = text.parse::<Window>().expect("a period").span(LOS_ANGELES);
            (span.end - span.start).num_hours()
        };
        assert_eq!(hours("2026-03"), 31 * 24 - 1);
        assert_eq!(hours("2026-11"), 30 * 24 + 1);
    }

    #[test]
    fn the_hour_before_a_doubled_midnight_is_in_the_period_that_it_begins() {
        // St. John's put its clocks back at 00:01 on 1 November 2009, a minute into the month.
        let zone = chrono_tz::America::St_Johns;
        let november: Window = "2009-11".parse().expect("a period");
        assert_eq!(november.span(zone).start, instant("2009-11-01T02:30:00Z"));
        for at in ["2009-11-01T02:30:00Z", "2009-11-01T02:31:00Z", "2009-11-01T03:00:00Z", "2009-11-01T03:30:00Z"] {
            assert_eq!(of_all(1).at(instant(at), zone), Some(november), "{at}");
        }
        let before = last_instant_before(instant("2009-11-01T02:30:00Z"));
        assert_eq!(of_all(1).at(before, zone), "2009-10".parse().ok());
    }

    #[test]
    fn periods_are_written_and_follow_each_other() {
        for (months, text, next) in [(1, "2026-12", "2027-01"), (3, "2026-Q4", "2027-Q1"), (12, "2026", "2027")] {
            let period: Window = text.parse().expect("a period");
            assert_eq!(period.to_string(), text);
            assert_eq!(of_all(months).next(period), next.parse().ok());
        }
        for wrong in ["", "26-05", "2026-13", "2026-5", "2026-Q5", "2026-Q0", "2026-é", "+202-05", "2026-+5"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
    #[test]
    fn windows_have_names() {
        let check = |calendar: &Calendar, date: &str, name: &str| {
            let window = calendar.window(day(date)).expect("a window");
            assert_eq!((window.to_string(), calendar.named(name)), (name.to_owned(), Some(window)));
            assert_eq!(calendar.named(&window.first_day.to_string()), Some(window));
        };
        check(&of_all(1), "2026-05-31", "2026-05");
        check(&of_all(3), "2026-05-31", "2026-Q2");
        check(&of_all(12), "2026-05-31", "2026");
        check(&of_all(5), "2000-06-30", "2000-06-01/2000-10-31");
        check(&months(3, "2026-05-31"), "2026-12-01", "2026-11-30/2027-02-27");
        assert_eq!(months(3, "2026-05-31").named("2026-12-01"), None, "no first day");
        assert_eq!(of_all(1).named("2026-Q2"), None);
        for wrong in ["2026-5", "2026-13", "+026-05", "2026-Q5", "26", "2026-05-02/2026-05-01", "2026-05-01/2026-05-31"]
        {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn listed_dates_end_with_the_last() {
        let calendar = Calendar::Dates(["2018-08-21", "2020-01-01", "2021-01-01"].map(day).to_vec());
        assert_eq!(window(&calendar, "2020-12-31"), ["2020-01-01", "2021-01-01"]);
        assert_eq!(calendar.window(day("2021-01-01")), None);
        assert_eq!(calendar.window(day("2018-08-20")), None);
        let second = calendar.window(day("2020-05-05")).expect("a window");
        assert_eq!(calendar.ordinal(second, day("2018-08-21")), Some(2));
        assert_eq!(calendar.next(second), None);
    }
}
