//! Local time, worked out from the zone's rules alone: first instants of dates, windows, and their names.

use crate::model::{Each, Micros, Q, When, ratio};
use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// A stretch of local days, its end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub first: NaiveDate,
    pub end: NaiveDate,
}

pub fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

pub fn date_of(zone: Tz, at: Micros) -> NaiveDate {
    instant(at).with_timezone(&zone).date_naive()
}

pub fn instant(at: Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).expect("an instant")
}

/// The first instant of a local date, also where the zone skips its midnight.
pub fn start_of(zone: Tz, date: NaiveDate) -> Micros {
    let mut local = date.and_time(NaiveTime::MIN);
    loop {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(found) | LocalResult::Ambiguous(found, _) => return found.timestamp_micros(),
            // Zones change at whole minutes.
            LocalResult::None => local += chrono::TimeDelta::minutes(1),
        }
    }
}

pub fn at_of(zone: Tz, when: When) -> Micros {
    match when {
        When::Date(date) => start_of(zone, date),
        When::Instant(at) => at,
    }
}

/// The date so many months after another, or the last of that month.
fn months_after(anchor: NaiveDate, months: i32) -> NaiveDate {
    let month = anchor.year() * 12 + i32::try_from(anchor.month0()).expect("a month") + months;
    let (year, month) = (month.div_euclid(12), u32::try_from(month.rem_euclid(12)).expect("a month") + 1);
    let mut of_month = anchor.day();
    loop {
        if let Some(found) = NaiveDate::from_ymd_opt(year, month, of_month) {
            return found;
        }
        of_month -= 1;
    }
}

/// The window in which a date lies.
pub fn window(each: Each, date: NaiveDate) -> Window {
    let (months, anchor) = match each {
        Each::Week => {
            let first = date - Days::new(date.weekday().num_days_from_monday().into());
            return Window { first, end: first + Days::new(7) };
        }
        Each::ContractMonth(anchor) => (1, anchor),
        Each::Month => (1, day(2000, 1, 1)),
        Each::Quarter => (3, day(2000, 1, 1)),
        Each::Year => (12, day(2000, 1, 1)),
        Each::ContractYear(anchor) => (12, anchor),
        Each::Ever => return Window { first: day(1900, 1, 1), end: day(2200, 1, 1) },
    };
    let mut count = (date.year() - anchor.year() - 1) * 12 / months;
    while months_after(anchor, (count + 1) * months) <= date {
        count += 1;
    }
    Window { first: months_after(anchor, count * months), end: months_after(anchor, (count + 1) * months) }
}

pub fn window_at(zone: Tz, each: Each, at: Micros) -> Window {
    window(each, date_of(zone, at))
}

/// What a settlement period is called: by its first and last day where it is none of the calendar's.
pub fn period_name(period: Window) -> String {
    let first = period.first;
    let is = |each| window(each, first) == period;
    if is(Each::Month) {
        first.format("%Y-%m").to_string()
    } else if is(Each::Quarter) {
        format!("{}-Q{}", first.year(), first.month0() / 3 + 1)
    } else if is(Each::Year) {
        first.year().to_string()
    } else {
        format!("{first}/{}", period.end.pred_opt().expect("a day"))
    }
}

/// Which part of a year a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DayCount {
    ActualActual,
    Actual365,
    Actual360,
    Thirty360,
}

/// Which part of a year days are.
pub fn years(day_count: DayCount, (first, after): (NaiveDate, NaiveDate)) -> Q {
    let days = (after - first).num_days();
    match day_count {
        DayCount::Actual365 => ratio(days, 365),
        DayCount::Actual360 => ratio(days, 360),
        DayCount::ActualActual => {
            let days = first.iter_days().take_while(|day| *day < after);
            days.map(|day| ratio(1, if day.leap_year() { 366 } else { 365 })).sum()
        }
        DayCount::Thirty360 => {
            let of = |day: NaiveDate| {
                i64::from(day.year()) * 360 + i64::from(day.month0()) * 30 + i64::from(day.day().min(30))
            };
            ratio(of(after) - of(first), 360)
        }
    }
}
