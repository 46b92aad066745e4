//! Pro rata: which part of a window holds where it is cut, and which part of a year a window is.

use super::plan::Step;
use super::window::WindowPlace;
use crate::domain::contract::measure::DayCount;
use crate::domain::contract::window::ProRata;
use crate::domain::money::Exact;
use crate::domain::period::{Span, last_instant_before, local_date};
use chrono::NaiveDate;

/// Which part of a window holds where its term cuts it.
pub(super) fn part_of_window(step: &Step<'_>, place: &WindowPlace, pro_rata: Option<ProRata>) -> Exact {
    let one = Exact::from_integer(1);
    let Some(whole) = place.whole else { return one };
    let zone = step.agreement.head.zone;
    let first = local_date(place.span.start, zone);
    let last = local_date(last_instant_before(place.span.end), zone);
    let end = last.succ_opt().unwrap_or(last);
    if (first, end) == (whole.first_day, whole.end_day) {
        return one;
    }
    let parts = |count: fn(NaiveDate, NaiveDate) -> Exact| {
        count(first, end).checked_div(&count(whole.first_day, whole.end_day)).unwrap_or_default()
    };
    match pro_rata.or(step.agreement.head.pro_rata) {
        // Loading refuses a window that can be cut without one.
        None | Some(ProRata::Full) => one,
        Some(ProRata::None) => Exact::zero(),
        Some(ProRata::Days) => parts(days),
        Some(ProRata::Months) => parts(months),
    }
}

fn days(first: NaiveDate, end: NaiveDate) -> Exact {
    Exact::from_integer(end.signed_duration_since(first).num_days())
}

/// Which part of a year a window is.
pub(super) fn part_of_year(step: &Step<'_>, span: Span, day_count: DayCount) -> Exact {
    use chrono::Datelike;
    let zone = step.agreement.head.zone;
    let first = local_date(span.start, zone);
    let last = local_date(last_instant_before(span.end), zone);
    let end = last.succ_opt().unwrap_or(last);
    let year = |days: i64| Exact::from_integer(days);
    match day_count {
        DayCount::Actual365 => days(first, end).checked_div(&year(365)).unwrap_or_default(),
        DayCount::Actual360 => days(first, end).checked_div(&year(360)).unwrap_or_default(),
        DayCount::ActualActual => first.iter_days().take_while(|day| *day < end).fold(Exact::zero(), |sum, day| {
            let length = if day.leap_year() { 366 } else { 365 };
            &sum + &year(length).inverse().unwrap_or_default()
        }),
        DayCount::Thirty360 => {
            let thirtieths = |day: NaiveDate| {
                let months = i64::from(day.year()).saturating_mul(12).saturating_add(day.month0().into());
                months.saturating_mul(30).saturating_add(i64::from(day.day().min(30)))
            };
            year(thirtieths(end).saturating_sub(thirtieths(first))).checked_div(&year(360)).unwrap_or_default()
        }
    }
}

/// Whole months, and a rest by the days of its month: from 10 February to the end of March 19/28 + 1.
fn months(first: NaiveDate, end: NaiveDate) -> Exact {
    use chrono::{Datelike, Months};
    let mut sum = Exact::zero();
    let mut month = first.with_day(1).unwrap_or(first);
    while month < end {
        let next = month.checked_add_months(Months::new(1)).unwrap_or(end);
        let part = days(first.max(month), end.min(next));
        sum += &part.checked_div(&days(month, next)).unwrap_or_default();
        month = next;
    }
    sum
}
