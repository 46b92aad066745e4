//! Instants, half-open spans, and the local periods of a contract.
//!
//! CONTRACTS section 1: instants are UTC with microseconds, every interval is `[start, end)`, and local
//! boundaries are computed here, never in SQL.

use chrono::{
    DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta,
    TimeZone, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A point in time, UTC, in whole microseconds.
pub type Instant = DateTime<Utc>;

/// The text is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no instant with a zone; write RFC 3339, such as 2026-04-27T00:00:00-07:00")]
pub struct ParseInstantError {
    pub text: String,
}

/// Reads an RFC 3339 instant; finer digits than microseconds are truncated.
///
/// The leap second `:60` is the last microsecond of that minute.
///
/// # Errors
/// A text without a zone, or that is no time at all.
pub fn parse_instant(text: &str) -> Result<Instant, ParseInstantError> {
    let fail = || ParseInstantError { text: text.to_owned() };
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| fail())?.with_timezone(&Utc);
    // A zone can lead out of the four-digit years; what it is then written as could not be read back.
    if !(0..=9999).contains(&parsed.year()) {
        return Err(fail());
    }
    // chrono keeps a leap second as the 59th second with more than a second of nanoseconds.
    if parsed.timestamp_subsec_nanos() >= 1_000_000_000 {
        let last = TimeDelta::microseconds(999_999);
        return DateTime::from_timestamp(parsed.timestamp(), 0)
            .and_then(|s| s.checked_add_signed(last))
            .ok_or_else(fail);
    }
    Ok(parsed.trunc_subsecs(6))
}

/// The instant so many microseconds after 1970 began, where a year of four digits tells it. Zero stands for a time that was
/// not set.
pub fn instant_since_1970(micros: i64) -> Option<Instant> {
    (1..=253_402_300_799_999_999).contains(&micros).then(|| DateTime::from_timestamp_micros(micros)).flatten()
}

/// The text is neither an instant nor a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or a date, such as 2026-04-27")]
pub struct ParseInstantOrDateError(ParseInstantError);

/// Reads an instant, or a date for its first instant in UTC: what was recorded when is told in UTC, too.
///
/// # Errors
/// A text that is neither.
pub fn instant_or_date(text: &str) -> Result<Instant, ParseInstantOrDateError> {
    match text.parse() {
        Ok(date) => Ok(start_of_day(Tz::UTC, date)),
        Err(_) => parse_instant(text).map_err(ParseInstantOrDateError),
    }
}

/// The instant one microsecond earlier: the last instant of a span that ends at `end_exclusive`.
pub fn last_instant_before(end_exclusive: Instant) -> Instant {
    end_exclusive.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(end_exclusive)
}

/// The start of the hour, in UTC, in which an instant lies.
pub fn start_of_hour(at: Instant) -> Instant {
    // chrono's own truncation knows only the years 1677 to 2262.
    let seconds = at.timestamp();
    DateTime::from_timestamp(seconds.saturating_sub(seconds.rem_euclid(3600)), 0).unwrap_or(at)
}

/// The local date of an instant: it begins with its first instant.
///
/// Where clocks go back over midnight, what a clock shows then is for a while the date before.
pub fn local_date(at: Instant, zone: Tz) -> NaiveDate {
    let shown = at.with_timezone(&zone).date_naive();
    shown.succ_opt().filter(|next| start_of_day(zone, *next) <= at).unwrap_or(shown)
}

/// An instant as people of a zone tell it: by its date there, and its time where that does not begin it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    pub at: Instant,
    pub zone: Tz,
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, zone } = self;
        let date = local_date(*at, *zone);
        match start_of_day(*zone, date) == *at {
            true => write!(f, "{date} ({zone})"),
            false => write!(f, "{} ({zone})", at.with_timezone(zone).naive_local()),
        }
    }
}

/// The first instant of a local date.
///
/// Where the zone skips midnight, that is the first instant which exists on the date; where midnight
/// comes twice, the earlier one.
pub fn start_of_day(zone: Tz, date: NaiveDate) -> Instant {
    first_instant_at(zone, date.and_time(NaiveTime::MIN))
}

/// The first instant at which a zone's clocks show a local time, or, where they skip it, one after it.
fn first_instant_at(zone: Tz, local: NaiveDateTime) -> Instant {
    // No zone has ever skipped more than a day; a quarter of an hour divides every gap.
    (0..=96_i64)
        .filter_map(|quarter| local.checked_add_signed(TimeDelta::minutes(quarter.saturating_mul(15))))
        .find_map(|local| match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
            LocalResult::None => None,
        })
        .unwrap_or_else(|| local.and_utc())
}

/// The first instant after a local date: where `through` that date ends, exclusive.
pub fn end_of_day_exclusive(zone: Tz, date: NaiveDate) -> Instant {
    date.succ_opt().map_or(Instant::MAX_UTC, |next| start_of_day(zone, next))
}

/// A half-open interval `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Span {
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub start: Instant,
    /// Exclusive.
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub end: Instant,
}

impl Span {
    pub fn contains(&self, at: Instant) -> bool {
        self.start <= at && at < self.end
    }

    /// Every instant that can be written: the years 0 to 9999.
    pub fn ever() -> Self {
        let year = |year| {
            NaiveDate::from_ymd_opt(year, 1, 1)
                .map_or(Instant::UNIX_EPOCH, |day| day.and_time(NaiveTime::MIN).and_utc())
        };
        Self { start: year(0), end: year(10_000) }
    }

    /// What two spans have in common; `None` where that is nothing.
    pub fn intersection(self, other: Span) -> Option<Span> {
        let both = Span { start: self.start.max(other.start), end: self.end.min(other.end) };
        (both.start < both.end).then_some(both)
    }

    /// What of it lies outside of another.
    pub fn without(self, other: Span) -> impl Iterator<Item = Span> {
        let before = Span { start: self.start, end: self.end.min(other.start) };
        let after = Span { start: self.start.max(other.end), end: self.end };
        let [before, after] =
            if other.start < other.end { [before, after] } else { [self, Span { end: self.start, ..self }] };
        [before, after].into_iter().filter(|rest| rest.start < rest.end)
    }
}

/// A length of time: hours elapse; days and months keep the wall clock of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Hours(u32),
    Days(u32),
    Months(u32),
}

impl Length {
    /// Whether it ends as it begins.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Hours(0) | Self::Days(0) | Self::Months(0))
    }

    /// The instant so much later. A month that has no such day is taken at its last day, a time that the
    /// zone skips at the first instant after the gap, and the earlier of a time that comes twice.
    pub fn after(self, start: Instant, zone: Tz) -> Instant {
        let local = start.with_timezone(&zone).naive_local();
        let later = match self {
            Self::Hours(hours) => {
                let hours = TimeDelta::try_hours(hours.into()).unwrap_or(TimeDelta::MAX);
                return start.checked_add_signed(hours).unwrap_or(Instant::MAX_UTC);
            }
            // Of a wall time that comes twice, the second is kept too.
            Self::Days(0) | Self::Months(0) => return start,
            Self::Days(days) => local.checked_add_days(Days::new(days.into())),
            Self::Months(months) => local.checked_add_months(Months::new(months)),
        };
        later.map_or(Instant::MAX_UTC, |later| first_instant_at(zone, later))
    }
}

impl FromStr for Length {
    type Err = ParseLengthError;

    fn from_str(text: &str) -> Result<Self, ParseLengthError> {
        let fail = || ParseLengthError { text: text.to_owned() };
        let (number, unit) = text.split_once(' ').ok_or_else(fail)?;
        // `parse` would take a sign for a digit.
        let number: u32 = number.parse().ok().filter(|_| !number.starts_with('+')).ok_or_else(fail)?;
        match unit {
            "hour" | "hours" => Ok(Self::Hours(number)),
            "day" | "days" => Ok(Self::Days(number)),
            "week" | "weeks" => number.checked_mul(7).map(Self::Days).ok_or_else(fail),
            "month" | "months" => Ok(Self::Months(number)),
            "quarter" | "quarters" => number.checked_mul(3).map(Self::Months).ok_or_else(fail),
            "year" | "years" => number.checked_mul(12).map(Self::Months).ok_or_else(fail),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self {
            Self::Hours(number) => (number, "hour"),
            Self::Days(number) => (number, "day"),
            Self::Months(number) => (number, "month"),
        };
        write!(f, "{number} {unit}{}", if *number == 1 { "" } else { "s" })
    }
}

/// The text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no length of time; write \"0 days\", \"36 hours\", \"12 months\" or \"5 years\"")]
pub struct ParseLengthError {
    pub text: String,
}

/// Time cut at every instant at which something that decides on money may change.
///
/// Segment `i` is `[edges[i], edges[i + 1])`. Within a segment the same version, terms, rates and prices
/// hold, so its usage may be summed before it is rated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeline {
    edges: Vec<Instant>,
}

impl Timeline {
    /// Cuts `[start, end)` at those of `cuts` that lie inside.
    pub fn new(start: Instant, end: Instant, cuts: impl IntoIterator<Item = Instant>) -> Self {
        let inside = cuts.into_iter().filter(|cut| start < *cut && *cut < end);
        let edges: std::collections::BTreeSet<Instant> = inside.chain([start, end]).collect();
        Self { edges: edges.into_iter().collect() }
    }

    pub fn edges(&self) -> &[Instant] {
        &self.edges
    }

    /// The segments in the order of time.
    pub fn segments(&self) -> impl Iterator<Item = Span> {
        self.edges.windows(2).filter_map(|pair| match pair {
            [start, end] => Some(Span { start: *start, end: *end }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOS_ANGELES: Tz = chrono_tz::America::Los_Angeles;

    fn instant(text: &str) -> Instant {
        parse_instant(text).expect("an instant")
    }

    #[test]
    fn instants_truncate_and_hold_the_leap_second() {
        let check = |text: &str, expect: &str| assert_eq!(instant(text), instant(expect), "{text}");
        check("2023-11-16T18:15:46.6805909Z", "2023-11-16T18:15:46.680590Z");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z");
        check("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999Z");
        check("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z");
        assert!(parse_instant("2026-01-01T00:00:00").is_err());
        assert!(parse_instant("2025-04-99T23:00:17Z").is_err());
    }

    #[test]
    fn a_skipped_midnight_is_the_first_instant_of_the_date() {
        // Santiago skips 00:00 to 01:00 on 2024-09-08.
        let day = NaiveDate::from_ymd_opt(2024, 9, 8).expect("a date");
        assert_eq!(start_of_day(chrono_tz::America::Santiago, day), instant("2024-09-08T04:00:00Z"));
        // Samoa skipped the whole of 2011-12-30.
        let gone = NaiveDate::from_ymd_opt(2011, 12, 30).expect("a date");
        assert_eq!(start_of_day(chrono_tz::Pacific::Apia, gone), instant("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn lengths_keep_the_wall_clock_and_hours_elapse() {
        let check = |length: &str, start: &str, end: &str| {
            let length: Length = length.parse().expect("a length");
            assert_eq!(length.after(instant(start), LOS_ANGELES), instant(end), "{length}");
        };
        check("0 days", "2026-04-27T12:00:00-07:00", "2026-04-27T12:00:00-07:00");
        // The clocks go forward on 8 March 2026, at 02:00.
        check("1 day", "2026-03-07T12:00:00-08:00", "2026-03-08T12:00:00-07:00");
        check("24 hours", "2026-03-07T12:00:00-08:00", "2026-03-08T13:00:00-07:00");
        check("1 day", "2026-03-07T02:00:00-08:00", "2026-03-08T03:00:00-07:00");
        check("1 month", "2026-01-31T09:00:00-08:00", "2026-02-28T09:00:00-08:00");
        check("2 weeks", "2026-03-01T12:00:00-08:00", "2026-03-15T12:00:00-07:00");
        check("1 quarter", "2026-01-31T09:00:00-08:00", "2026-04-30T09:00:00-07:00");
        check("4 years", "2024-02-29T09:00:00-08:00", "2028-02-29T09:00:00-08:00");
        for wrong in ["", "3", "3 fortnights", "-1 days", "4294967295 weeks", "+1 days", "1.5 days"] {
            assert!(wrong.parse::<Length>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_is_told_by_its_local_date() {
        let told = |at: &str, zone| LocalTime { at: instant(at), zone }.to_string();
        assert_eq!(told("2026-04-27T07:00:00Z", Tz::America__Los_Angeles), "2026-04-27 (America/Los_Angeles)");
        assert_eq!(told("2026-04-27T07:00:01Z", Tz::Asia__Tokyo), "2026-04-27 16:00:01 (Asia/Tokyo)");
        // Beirut skips that midnight.
        assert_eq!(told("2026-03-28T22:00:00Z", Tz::Asia__Beirut), "2026-03-29 (Asia/Beirut)");
    }

    #[test]
    fn hours_start_in_every_year() {
        let check = |at: &str, start: &str| assert_eq!(start_of_hour(instant(at)), instant(start));
        check("1600-05-01T10:45:00.5Z", "1600-05-01T10:00:00Z");
        check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:00:00Z");
        check("2400-01-01T00:00:00Z", "2400-01-01T00:00:00Z");
    }

    #[test]
    fn a_timeline_is_cut_into_segments() {
        let [start, cut, end] = ["2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"].map(instant);
        let timeline = Timeline::new(start, end, [start, cut, end]);
        let segments: Vec<Span> = timeline.segments().collect();
        assert_eq!(segments, [Span { start, end: cut }, Span { start: cut, end }]);
    }
}
