//! Calendars: how an agreement cuts time into windows of whole local days.

use super::period::{Period, PeriodUnit, Span, start_of_day};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use chrono_tz::Tz;
use serde::Serialize;
use std::num::NonZeroU32;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

    /// What people call a window: `2026-05`, `2026-Q2` or `2026` in the calendar of all, else its first day.
    pub fn name(&self, window: Window) -> String {
        match self.period_unit() {
            Some(unit) => Period::containing(window.first_day, unit).to_string(),
            None => window.first_day.to_string(),
        }
    }

    /// The window of a name, or of its first day.
    pub fn named(&self, name: &str) -> Option<Window> {
        let of_period = name.parse::<Period>().ok().filter(|period| Some(period.unit()) == self.period_unit());
        let first_day = of_period.map(|period| period.first_day()).or_else(|| name.parse().ok())?;
        self.window(first_day).filter(|window| window.first_day == first_day)
    }

    /// Whether its windows are months, quarters or years of the calendar of all.
    fn period_unit(&self) -> Option<PeriodUnit> {
        let Self::Months { months, .. } = self else { return None };
        let unit = match months.get() {
            1 => PeriodUnit::Month,
            3 => PeriodUnit::Quarter,
            12 => PeriodUnit::Year,
            _ => return None,
        };
        (*self == Self::of_months(*months)).then_some(unit)
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn windows_have_names() {
        let of_all = |length| Calendar::of_months(NonZeroU32::new(length).expect("some"));
        let check = |calendar: &Calendar, date: &str, name: &str| {
            let window = calendar.window(day(date)).expect("a window");
            assert_eq!((calendar.name(window), calendar.named(name)), (name.to_owned(), Some(window)));
        };
        check(&of_all(1), "2026-05-31", "2026-05");
        check(&of_all(3), "2026-05-31", "2026-Q2");
        check(&of_all(12), "2026-05-31", "2026");
        check(&of_all(5), "2000-06-30", "2000-06-01");
        check(&months(3, "2026-05-31"), "2026-12-01", "2026-11-30");
        assert_eq!(months(3, "2026-05-31").named("2026-12-01"), None, "no first day");
        assert_eq!(of_all(1).named("2026-Q2"), None);
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
