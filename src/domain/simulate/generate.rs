//! Generated usage and figures: streams that a scenario states by month, the same from the same seed.
//!
//! A month's volume is stated; the seed only spreads it over events and instants, so that sums by month are those that
//! people can work out. Each draw is a hash of the seed, the stream, the month and the event's number.

use super::month::Month;
use crate::domain::money::{Exact, Rounding};
use crate::domain::period::{Instant, Length, Span};
use crate::domain::record::Reported;
use chrono::{Duration, SecondsFormat};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use toml::Spanned;

/// Why a file of streams is refused, and where.
#[derive(Debug, thiserror::Error)]
pub enum GenerateProblem {
    #[error("{}", .0.message())]
    Toml(toml::de::Error),
    #[error("\"{name}\" is no IANA time zone, such as \"America/Los_Angeles\"")]
    Zone { name: String },
    #[error("{stream}: \"{text}\" is no month, such as 2026-05")]
    Month { stream: String, text: String },
    #[error("{stream}: its last month lies before its first")]
    EndsBeforeStart { stream: String },
    #[error("{stream}: {field} is \"{text}\"; {form}")]
    Number { stream: String, field: &'static str, text: String, form: &'static str },
    #[error("{stream}: \"{text}\" is no length of time; write \"0 days\", \"36 hours\" or \"3 months\"")]
    Length { stream: String, text: String },
}

/// A line of records that was made, and the line of the stream behind it.
#[derive(Debug)]
pub struct Made {
    pub json: String,
    pub line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    zone: String,
    seed: u64,
    #[serde(default)]
    usage: BTreeMap<String, Spanned<RawUsage>>,
    #[serde(default)]
    figure: BTreeMap<String, Spanned<RawFigure>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUsage {
    deployment: String,
    product: String,
    service_tier: Option<String>,
    country: Option<String>,
    label: Option<String>,
    /// How many there are; events go round among them.
    customers: NonZeroU32,
    from: String,
    through: String,
    /// Each month.
    events: NonZeroU32,
    /// Of the first month, by meter, over all of its events.
    quantities: BTreeMap<String, String>,
    #[serde(default)]
    growth: Option<String>,
    #[serde(default)]
    spread: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFigure {
    contract: String,
    name: String,
    by: String,
    from: String,
    through: String,
    /// Of the first month.
    value: String,
    #[serde(default)]
    growth: Option<String>,
    /// How long after the month's end it is recorded.
    recorded: String,
}

/// What every stream is made with.
struct Setting {
    zone: Tz,
    seed: u64,
}

/// A stream by its name, its months.
struct Stream<'a> {
    name: &'a str,
    line: usize,
    first: Month,
    last: Month,
    growth: Exact,
}

/// Makes the records that a file states, each stream's in the order of time.
///
/// # Errors
/// The line of the first stream that is wrong, and what.
pub fn generate(text: &str) -> Result<Vec<Made>, (usize, GenerateProblem)> {
    let line = |span: Range<usize>| text.get(..span.start).unwrap_or_default().matches('\n').count().saturating_add(1);
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(1, line);
        (at, GenerateProblem::Toml(error))
    })?;
    let zone = raw.zone.parse().map_err(|_| (1, GenerateProblem::Zone { name: raw.zone }))?;
    let setting = Setting { zone, seed: raw.seed };
    let mut made = Vec::new();
    for (name, usage) in &raw.usage {
        let at = line(usage.span());
        usage.get_ref().make(name, at, &setting, &mut made).map_err(|problem| (at, problem))?;
    }
    for (name, figure) in &raw.figure {
        let at = line(figure.span());
        figure.get_ref().make(name, at, &setting, &mut made).map_err(|problem| (at, problem))?;
    }
    Ok(made)
}

impl<'a> Stream<'a> {
    fn new(
        name: &'a str,
        line: usize,
        [first, last]: [&str; 2],
        growth: Option<&str>,
    ) -> Result<Self, GenerateProblem> {
        let month = |text: &str| {
            let month = Month::read(text);
            month.ok_or_else(|| GenerateProblem::Month { stream: name.to_owned(), text: text.to_owned() })
        };
        let (first, last) = (month(first)?, month(last)?);
        if last < first {
            return Err(GenerateProblem::EndsBeforeStart { stream: name.to_owned() });
        }
        let form = "write a part above -100% by which each month differs from the one before, such as \"2%\"";
        let growth = growth.map_or(Ok(Exact::zero()), |text| {
            let part = part(text).filter(|part| *part > Exact::from_integer(-1));
            part.ok_or_else(|| GenerateProblem::Number {
                stream: name.to_owned(),
                field: "growth",
                text: text.to_owned(),
                form,
            })
        })?;
        Ok(Self { name, line, first, last, growth })
    }

    fn months(&self) -> impl Iterator<Item = Month> {
        let last = self.last;
        std::iter::successors(Some(self.first), |month| Some(month.next())).take_while(move |month| *month <= last)
    }

    /// The volume of the month after one: whole units, rounded down.
    fn grown(&self, volume: &Exact) -> Exact {
        (volume * &(Exact::from_integer(1) + self.growth.clone())).floor()
    }
}

/// A part of one: `2%` or `0.02`.
fn part(text: &str) -> Option<Exact> {
    let (digits, per) = text.strip_suffix('%').map_or((text, 1), |digits| (digits, 100));
    Some(Exact::from_written(digits).ok()? * Exact::ratio(1, per)?)
}

impl RawUsage {
    fn make(&self, name: &str, line: usize, setting: &Setting, made: &mut Vec<Made>) -> Result<(), GenerateProblem> {
        let stream = Stream::new(name, line, [&self.from, &self.through], self.growth.as_deref())?;
        let spread = self.spread(name)?;
        let mut volumes: BTreeMap<&str, Exact> = BTreeMap::new();
        for (meter, text) in &self.quantities {
            let whole = Exact::from_written(text).ok().filter(|it| !it.is_negative() && it.floor() == *it);
            let form = "write a whole number of zero or more in quotes, such as \"1_000\"";
            let wrong =
                || GenerateProblem::Number { stream: name.to_owned(), field: "a quantity", text: text.clone(), form };
            volumes.insert(meter, whole.ok_or_else(wrong)?);
        }
        for month in stream.months() {
            self.make_month(&stream, month, (&volumes, spread), setting, made);
            volumes.values_mut().for_each(|volume| *volume = stream.grown(volume));
        }
        Ok(())
    }

    /// How far an event may lie from an equal part, in millionths of it.
    fn spread(&self, stream: &str) -> Result<i64, GenerateProblem> {
        let text = self.spread.as_deref().unwrap_or("0%");
        let millionths = part(text).and_then(|it| i64::try_from(it.to_decimal(6)?.mantissa()).ok());
        millionths.filter(|it| (0..=1_000_000).contains(it)).ok_or_else(|| GenerateProblem::Number {
            stream: stream.to_owned(),
            field: "spread",
            text: text.to_owned(),
            form: "write how far an event may lie from an equal part of its month, from \"0%\" to \"100%\"",
        })
    }

    fn make_month(
        &self,
        stream: &Stream<'_>,
        month: Month,
        (volumes, spread): (&BTreeMap<&str, Exact>, i64),
        setting: &Setting,
        made: &mut Vec<Made>,
    ) {
        let draws: Vec<[u16; 2]> =
            (1..=self.events.get()).map(|number| draw(setting.seed, stream.name, month, number)).collect();
        // 2^16 parts of a millionth each, so that an event has some even where all spread is taken away.
        let weight = |draw: u16| {
            let aside = i64::from(draw).saturating_sub(32_768).saturating_mul(spread);
            65_536_000_000_i64.saturating_add(aside.saturating_mul(2)).max(1)
        };
        let all = draws.iter().fold(0_i64, |sum, [draw, _]| sum.saturating_add(weight(*draw)));
        let mut through = 0_i64;
        let mut given: BTreeMap<&str, Exact> = BTreeMap::new();
        for (number, [by, at]) in (1..).zip(&draws) {
            through = through.saturating_add(weight(*by));
            let share = Exact::ratio(through, all).unwrap_or_default();
            let mut quantities = Map::new();
            for (meter, volume) in volumes {
                // What the events up to this one have together is rounded down, so that all of them have the whole.
                let together = (volume * &share).floor();
                let before = given.insert(meter, together.clone()).unwrap_or_default();
                quantities.insert((*meter).to_owned(), json!((together - before).to_string()));
            }
            let place = Place { number, of: self.events.get(), at: *at };
            let customer = number.saturating_sub(1).checked_rem(self.customers.get()).unwrap_or_default();
            let mut line = json!({
                "kind": "usage",
                "source": "generate",
                "id": format!("{}-{month}-{number:06}", stream.name),
                "occurred_at": place.instant(month.span(setting.zone)).to_rfc3339_opts(SecondsFormat::Secs, true),
                "deployment": self.deployment,
                "product": self.product,
                "customer": format!("customer-{}", customer.saturating_add(1)),
                "quantities": quantities,
            });
            let told = [("service_tier", &self.service_tier), ("country", &self.country), ("label", &self.label)];
            if let Value::Object(fields) = &mut line {
                fields
                    .extend(told.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
            }
            made.push(Made { json: line.to_string(), line: stream.line });
        }
    }
}

impl RawFigure {
    fn make(&self, name: &str, line: usize, setting: &Setting, made: &mut Vec<Made>) -> Result<(), GenerateProblem> {
        let stream = Stream::new(name, line, [&self.from, &self.through], self.growth.as_deref())?;
        let wrong = |_| GenerateProblem::Number {
            stream: name.to_owned(),
            field: "value",
            text: self.value.clone(),
            form: "write an amount or a number in quotes, such as \"1_000 USD\"",
        };
        let mut value: Reported = self.value.parse().map_err(wrong)?;
        let length: Length = self
            .recorded
            .parse()
            .map_err(|_| GenerateProblem::Length { stream: name.to_owned(), text: self.recorded.clone() })?;
        for month in stream.months() {
            let recorded_at = length.after(month.span(setting.zone).end, setting.zone);
            let line = json!({
                "kind": "figure",
                "source": "generate",
                "id": format!("{name}-{month}"),
                "recorded_at": recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
                "contract": self.contract,
                "name": self.name,
                "by": self.by,
                "from": month.first_day(),
                "through": month.last_day(),
                "value": value.to_string(),
            });
            made.push(Made { json: line.to_string(), line: stream.line });
            value.amount = stream.grown(&value.amount);
        }
        Ok(())
    }
}

/// Where an event stands among those of its month.
struct Place {
    number: u32,
    of: u32,
    at: u16,
}

impl Place {
    /// Each event has an equal part of the month to itself and lies somewhere in it, at a whole second.
    fn instant(&self, month: Span) -> Instant {
        let seconds = month.end.timestamp().saturating_sub(month.start.timestamp());
        let parts = i64::from(self.number).saturating_sub(1).saturating_mul(65_536).saturating_add(self.at.into());
        let all = i64::from(self.of).saturating_mul(65_536);
        let after = Exact::from_integer(seconds) * Exact::ratio(parts, all).unwrap_or_default();
        let whole = after.round(0, Rounding::Down).to_decimal(0).and_then(|it| i64::try_from(it.mantissa()).ok());
        let after = Duration::try_seconds(whole.unwrap_or_default()).unwrap_or_default();
        month.start.checked_add_signed(after).unwrap_or(month.start)
    }
}

/// Two draws of an event, from 0 to 65535, the same wherever and whenever.
fn draw(seed: u64, stream: &str, month: Month, number: u32) -> [u16; 2] {
    let hash = blake3::hash(format!("{seed}/{stream}/{month}/{number}").as_bytes());
    match hash.as_bytes() {
        [a, b, c, d, ..] => [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::{Entry, What};

    const STREAMS: &str = r#"zone = "America/Los_Angeles"
seed = 42

[usage.direct]
deployment = "own"
product = "m"
customers = 2
from = "2026-11"
through = "2027-01"
events = 3
quantities = { requests = "1_000" }
growth = "10.05%"
spread = "50%"

[figure.subs]
contract = "main"
name = "Subscriptions"
by = "lab"
from = "2026-11"
through = "2026-12"
value = "999 USD"
growth = "-50%"
recorded = "2 days"
"#;

    fn entries(text: &str) -> Vec<Entry> {
        let made = generate(text).expect("streams");
        made.iter().map(|it| Entry::from_json(&it.json).expect("an entry")).collect()
    }

    #[test]
    fn months_have_the_volumes_that_are_stated_and_events_lie_in_them() {
        let zone = chrono_tz::America::Los_Angeles;
        let mut sums: BTreeMap<String, rust_decimal::Decimal> = BTreeMap::new();
        let mut last = None;
        for entry in entries(STREAMS) {
            let What::Usage(usage) = &entry.what else { continue };
            let month = Month::at(usage.occurred_at, zone);
            assert!(entry.id.id.contains(&month.to_string()), "{entry:?}");
            assert!(last < Some(usage.occurred_at), "{entry:?}");
            last = Some(usage.occurred_at);
            *sums.entry(month.to_string()).or_default() += usage.quantities.values().sum::<rust_decimal::Decimal>();
        }
        // 1000 * 1.1005 = 1100.5, and 1100 * 1.1005 = 1210.55.
        let expect = [("2026-11", 1000), ("2026-12", 1100), ("2027-01", 1210)];
        assert_eq!(sums, expect.map(|(month, sum)| (month.to_owned(), sum.into())).into());
    }

    #[test]
    fn figures_are_recorded_after_their_month() {
        let lines: Vec<String> = generate(STREAMS).expect("streams").into_iter().map(|it| it.json).collect();
        let figures: Vec<&String> = lines.iter().filter(|line| line.contains("figure")).collect();
        assert!(figures[0].contains(r#""recorded_at":"2026-12-03T08:00:00.000000Z""#), "{figures:?}");
        assert!(figures[1].contains(r#""value":"499 USD""#), "{figures:?}");
        assert_eq!(generate(STREAMS).expect("streams").last().map(|it| it.line), Some(15));
    }

    #[test]
    fn the_seed_spreads_events_and_changes_no_sum() {
        let lines = |text: &str| generate(text).expect("streams").into_iter().map(|it| it.json).collect::<Vec<_>>();
        assert_eq!(lines(STREAMS), lines(STREAMS));
        let other = STREAMS.replace("seed = 42", "seed = 43");
        assert_ne!(lines(STREAMS), lines(&other));
        let even = lines(&STREAMS.replace("50%\"\n\n", "0%\"\n\n"));
        assert!(even[0].contains(r#""requests":"333""#) && even[2].contains(r#""requests":"334""#), "{even:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |from: &str, to: &str, line: usize, expect: &str| {
            let (at, problem) = generate(&STREAMS.replacen(from, to, 1)).expect_err("a refusal");
            assert_eq!(at, line, "{problem}");
            assert!(problem.to_string().contains(expect), "{problem}");
        };
        check("America/Los_Angeles", "Mars", 1, "no IANA time zone");
        check("through = \"2027-01\"", "through = \"2026-01\"", 4, "before its first");
        check("\"10.05%\"", "\"-100%\"", 4, "growth");
        check("\"50%\"", "\"101%\"", 4, "spread");
        check("\"1_000\"", "\"0.5\"", 4, "whole number");
        check("2 days", "2 fortnights", 15, "length of time");
        check("events = 3", "events = 0", 10, "nonzero");
        check("customers", "clients", 7, "clients");
    }
}
