//! Reads when and how long: dates, instants, windows, lengths, counters, and when something is due.

use super::super::parsed::{Parsed, unknown};
use super::super::problem::Problem;
use super::super::raw::{OneOrMore, RawOrdinals, RawPeriod, RawValue};
use super::super::rights::FactKind;
use super::super::term::Life;
use super::super::window::{Anchor, Counting, Due, DueAfter, Moment, ProRata, WindowRule};
use super::{Result, Scope, defined};
use crate::domain::calendar::Calendar;
use crate::domain::ids::DefinedTerm;
use crate::domain::period::{Instant, Length, end_of_day_exclusive, parse_instant, start_of_day};
use chrono::{NaiveDate, Weekday};
use std::num::NonZeroU32;
use std::ops::Range;
use toml::Spanned;

/// Which instant a date stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The first instant of the date.
    Start,
    /// The first instant after the date: the whole day belongs to it.
    Through,
}

/// Windows that need no block.
const WINDOWS: [&str; 7] = ["item", "month", "quarter", "year", "week", "period", "term"];

impl<'a> Scope<'a> {
    /// The value behind the name of a parameter that is a date, or the value itself.
    fn dated(&self, file: &'a Parsed, value: &'a Spanned<RawValue>) -> (&'a Parsed, &'a Spanned<RawValue>) {
        match value.get_ref() {
            RawValue::Text(name) => {
                let found = self.find(|raw| &raw.parameter, name);
                found.map_or((file, value), |(file, parameter)| (file, &parameter.get_ref().value))
            }
            _ => (file, value),
        }
    }

    pub fn date(&self, file: &'a Parsed, value: &'a Spanned<RawValue>) -> Result<NaiveDate> {
        let (file, value) = self.dated(file, value);
        date(file, value)
    }

    pub fn instant(
        &self,
        field: &'static str,
        file: &'a Parsed,
        value: &'a Spanned<RawValue>,
        edge: Edge,
    ) -> Result<Instant> {
        let (file, value) = self.dated(file, value);
        let (text, is_date_like) = match value.get_ref() {
            RawValue::Date(at) => (at.to_string(), edge == Edge::Start),
            RawValue::Text(text) => (text.clone(), false),
            _ => return file.fail(&value.span(), Problem::NoDate { field }),
        };
        if let Ok(date) = NaiveDate::parse_from_str(&text, "%Y-%m-%d") {
            return Ok(match edge {
                Edge::Start => start_of_day(self.head.zone, date),
                Edge::Through => end_of_day_exclusive(self.head.zone, date),
            });
        }
        match parse_instant(&text) {
            Ok(at) if is_date_like => Ok(at),
            Err(problem) if is_date_like => file.fail(&value.span(), problem.into()),
            _ => file.fail(&value.span(), Problem::NoDate { field }),
        }
    }

    /// The recording that a file gives: an instant, as a date leaves open when on it.
    pub fn recorded_at(&self) -> Result<Option<Instant>> {
        let Some(value) = &self.version.recorded_at else { return Ok(None) };
        match value.get_ref() {
            RawValue::Date(at) => parse_instant(&at.to_string())
                .or_else(|problem| self.file.fail(&value.span(), problem.into()))
                .map(Some),
            _ => self.file.fail(&value.span(), Problem::NoDate { field: "recorded_at" }),
        }
    }

    /// A date, or a fact about the contract.
    pub fn moment(&self, field: &'static str, file: &'a Parsed, value: &'a Spanned<RawValue>) -> Result<Moment> {
        match value.get_ref() {
            RawValue::Text(name) if self.find(|raw| &raw.fact, name).is_some() => {
                self.event_of_contract(file, &value.span(), name).map(Moment::Fact)
            }
            RawValue::Text(text) if is_date(text) => file.fail(&value.span(), quoted_date(text)),
            RawValue::Text(name) if self.find(|raw| &raw.parameter, name).is_none() => {
                let facts = self.all(|raw| &raw.fact);
                let parameters = self.all(|raw| &raw.parameter);
                let known = facts.into_keys().chain(parameters.into_keys());
                file.fail(&value.span(), unknown("fact or parameter", name, known))
            }
            _ => self.instant(field, file, value, Edge::Start).map(Moment::At),
        }
    }

    /// From when until when something is in force: it begins at the last of several moments, and ends at the first.
    pub fn life(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        (from, through): (Option<&'a Spanned<RawValue>>, Option<&'a Spanned<RawValue>>),
        until: Option<&'a Spanned<OneOrMore<String>>>,
    ) -> Result<Life> {
        let from = match from.map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, RawValue::List(moments))) => {
                moments.iter().map(|it| self.moment("from", file, it)).collect::<Result<_>>()?
            }
            Some((value, _)) => vec![self.moment("from", file, value)?],
        };
        let through = through.map(|value| self.instant("through", file, value, Edge::Through).map(Moment::At));
        let names = until.map(Self::names).unwrap_or_default();
        let facts = names.into_iter().map(|(at, name)| self.event_of_contract(file, &at, name).map(Moment::Fact));
        let until = through.into_iter().chain(facts).collect::<Result<_>>()?;
        let life = Life { from, until, ..Life::default() };
        match life.dates() {
            (Some(from), Some(end)) if end <= from => {
                file.fail(at, Problem::EndsBeforeStart { from: self.local(from), end: self.local(end) })
            }
            _ => Ok(life),
        }
    }

    /// Refuses a term or right that begins or ends before the contract does.
    pub fn check_begun(
        &self,
        life: &Life,
        (from, through): (Option<&Spanned<RawValue>>, Option<&Spanned<RawValue>>),
    ) -> Result<()> {
        let (start, end) = life.dates();
        if let Some((through, end)) = through.zip(end) {
            self.check_end(self.file, &through.span(), end)?;
        }
        match from.zip(start) {
            Some((from, start)) => self.check_begin(self.file, &from.span(), start),
            None => Ok(()),
        }
    }

    /// A fact that begins or ends something: it happens once, and is about the contract.
    pub fn event_of_contract(&self, file: &Parsed, at: &Range<usize>, name: &str) -> Result<DefinedTerm> {
        let (_, fact) = self.fact_named(file, at, name)?;
        let found = match (fact.get_ref().kind, fact.get_ref().about.is_empty()) {
            (FactKind::Event, true) => return Ok(defined(name)),
            (FactKind::Event, false) => "not about the contract alone",
            (FactKind::Status, _) => "a status",
        };
        let name = name.to_owned();
        file.fail(at, Problem::WrongFact { name, found, expected: "an event about the contract" })
    }

    pub fn window(&self, file: &Parsed, name: &Spanned<String>) -> Result<WindowRule> {
        if let Some(window) = window_named(name.get_ref()) {
            return Ok(window);
        }
        let Some((file, period)) = self.find(|raw| &raw.period, name.get_ref()) else {
            let periods = self.all(|raw| &raw.period);
            let known = WINDOWS.iter().map(ToString::to_string).chain(periods.into_keys().cloned());
            let known: Vec<String> = known.collect();
            return file.fail(&name.span(), unknown("window", name.get_ref(), known.iter()));
        };
        self.period(file, period)
    }

    fn period(&self, file: &'a Parsed, spanned: &'a Spanned<RawPeriod>) -> Result<WindowRule> {
        let raw = spanned.get_ref();
        match (&raw.every, &raw.from, &raw.first_day, &raw.starts) {
            (Some(every), Some(from), None, None) => {
                let months = every_months(file, every)?;
                let from = match from.get_ref() {
                    RawValue::Text(name) if self.find(|raw| &raw.parameter, name).is_none() => {
                        Anchor::Fact(self.event_of_contract(file, &from.span(), name)?)
                    }
                    _ => Anchor::Date(self.date(file, from)?),
                };
                Ok(WindowRule::Anchored { months, from })
            }
            (Some(every), None, Some(day), None) if every.get_ref() == "1 week" => {
                Ok(WindowRule::Week { first_day: weekday(file, day)? })
            }
            (None, None, None, Some(starts)) => starts_of(file, starts).map(WindowRule::Dates),
            _ => file.fail(&spanned.span(), Problem::Period),
        }
    }

    /// What a counter counts over, and from when on.
    pub fn counting(&self, file: &'a Parsed, each: &Spanned<String>, from: &'a Spanned<RawValue>) -> Result<Counting> {
        Ok(Counting { each: self.window(file, each)?, from: self.moment("from", file, from)? })
    }

    /// `"45 days after period"`, `"10 business days after receipt"`, `"30 days after delivery"`.
    pub fn due(&self, file: &Parsed, at: &Range<usize>, text: &str) -> Result<Due> {
        let fail = || file.fail(at, Problem::Due);
        let Some((length, after)) = text.split_once(" after ") else { return fail() };
        let plain = length.replace(" business ", " ");
        let business_days = plain != length;
        if business_days && self.head.business_days.is_none() {
            return file.fail(at, Problem::NoCalendar);
        }
        let Ok(length) = plain.parse() else { return fail() };
        if matches!(length, Length::Hours(_)) || business_days && !matches!(length, Length::Days(_)) {
            return fail();
        }
        Ok(Due { after: length, business_days, what: self.due_after(file, at, after)? })
    }

    pub fn due_after(&self, file: &Parsed, at: &Range<usize>, after: &str) -> Result<DueAfter> {
        Ok(match after {
            "period" => DueAfter::Period,
            "window" => DueAfter::Window,
            "receipt" => DueAfter::Receipt,
            "invoice" => DueAfter::Invoice,
            fact => DueAfter::Fact(self.event_of_contract(file, at, fact)?),
        })
    }
}

/// Whether a text looks like a date, of the calendar or not, and hardly like a name: it was put in quotes.
pub fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.iter().all(is_number)
}

/// What is wrong with a date in quotes.
pub fn quoted_date(text: &str) -> Problem {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_or(Problem::NotInCalendar, |_| Problem::NoDay)
}

/// A date without a time.
pub fn date(file: &Parsed, value: &Spanned<RawValue>) -> Result<NaiveDate> {
    let text = match value.get_ref() {
        RawValue::Date(at) => at.to_string(),
        _ => String::new(),
    };
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d");
    date.or_else(|_| file.fail(&value.span(), Problem::NoDay))
}

/// What a block says of windows that are cut.
pub fn stated(pro_rata: Option<&Spanned<ProRata>>) -> Option<ProRata> {
    pro_rata.map(|it| *it.get_ref())
}

fn window_named(name: &str) -> Option<WindowRule> {
    let calendar = |months| NonZeroU32::new(months).map(|months| WindowRule::Calendar { months });
    match name {
        "item" => Some(WindowRule::Item),
        "month" => calendar(1),
        "quarter" => calendar(3),
        "year" => calendar(12),
        "week" => Some(WindowRule::Week { first_day: Weekday::Mon }),
        "period" => Some(WindowRule::Period),
        "term" => Some(WindowRule::Term),
        _ => None,
    }
}

/// The calendar of settlement periods: dates alone, as periods may not wait for a fact.
pub fn calendar(file: &Parsed, name: &Spanned<String>) -> Result<Calendar> {
    match window_named(name.get_ref()) {
        Some(WindowRule::Calendar { months }) => return Ok(Calendar::of_months(months)),
        Some(WindowRule::Week { first_day }) => return Ok(Calendar::Weeks { first_day }),
        Some(_) => return file.fail(&name.span(), Problem::NoSettlementPeriod),
        None => {}
    }
    let Some(period) = file.raw.period.get(name.get_ref()) else {
        let known: Vec<String> = ["month", "quarter", "year", "week"].map(str::to_owned).to_vec();
        let known: Vec<String> = known.into_iter().chain(file.raw.period.keys().cloned()).collect();
        return file.fail(&name.span(), unknown("period", name.get_ref(), known.iter()));
    };
    let raw = period.get_ref();
    match (&raw.every, &raw.from, &raw.first_day, &raw.starts) {
        (Some(every), Some(from), None, None) => {
            Ok(Calendar::Months { months: every_months(file, every)?, anchor: date(file, from)? })
        }
        (Some(every), None, Some(day), None) if every.get_ref() == "1 week" => {
            Ok(Calendar::Weeks { first_day: weekday(file, day)? })
        }
        (None, None, None, Some(starts)) => starts_of(file, starts).map(Calendar::Dates),
        _ => file.fail(&period.span(), Problem::Period),
    }
}

fn starts_of(file: &Parsed, starts: &Spanned<Vec<Spanned<RawValue>>>) -> Result<Vec<NaiveDate>> {
    let dates: Vec<NaiveDate> = starts.get_ref().iter().map(|it| date(file, it)).collect::<Result<_>>()?;
    let rising = dates.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    match rising && dates.len() > 1 {
        true => Ok(dates),
        false => file.fail(&starts.span(), Problem::Starts),
    }
}

fn every_months(file: &Parsed, every: &Spanned<String>) -> Result<NonZeroU32> {
    let months = match every.get_ref().parse() {
        Ok(Length::Months(months)) => NonZeroU32::new(months),
        _ => None,
    };
    months.map_or_else(|| file.fail(&every.span(), Problem::Every), Ok)
}

pub fn weekday(file: &Parsed, day: &Spanned<String>) -> Result<Weekday> {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let days = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
    let found = names.into_iter().zip(days).find(|(name, _)| name == day.get_ref());
    found.map_or_else(
        || file.fail(&day.span(), unknown("day of the week", day.get_ref(), names.iter())),
        |(_, day)| Ok(day),
    )
}

/// A length of time: as records write it, and quarters, years and weeks.
pub fn length(file: &Parsed, text: &Spanned<String>) -> Result<Length> {
    text.get_ref().parse().or_else(|problem| file.fail(&text.span(), Problem::Length(problem)))
}

/// The places of windows, from 1, both inclusive: `3`, `"1-6"`.
pub fn ordinals(file: &Parsed, ordinals: &Spanned<RawOrdinals>) -> Result<(u32, u32)> {
    let found = match ordinals.get_ref() {
        RawOrdinals::One(one) => Some((*one, *one)),
        RawOrdinals::Range(text) => {
            text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        }
    };
    found
        .filter(|(first, last)| 0 < *first && first <= last)
        .map_or_else(|| file.fail(&ordinals.span(), Problem::Ordinals), Ok)
}
