//! Published traces as usage of configured deployments. Pure: a file's text in, messages out; one file per format.

mod azure;
mod exgentic;
mod mooncake;
mod weka;

use super::message::{CloudEvent, Message, Mode};
use super::usage::{Style, time};
use crate::domain::period::{Instant, parse_instant};
use crate::domain::usage::{Meter, RequestOutcome};
use chrono::{LocalResult, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The published format of a trace, with what its times need to become instants.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// Azure's LLM inference trace of 2023.
    AzureLlm2023(LocalTimes),
    /// Flattened OpenTelemetry spans of Exgentic's agents.
    ExgenticSpans(LocalTimes),
    /// Mooncake's conversation trace, whose times begin at zero.
    MooncakeConversation { start: Instant },
    /// Weka's requests of coding sessions, each of which begins at zero.
    WekaRequests { start: Instant },
}

/// What turns the local times of a trace into instants.
#[derive(Clone, Copy, Debug)]
pub struct LocalTimes {
    /// The zone of times that name none.
    pub zone: Tz,
    /// Moves every instant by so many days of 24 hours; negative moves it back.
    pub shift_days: i64,
}

/// As whose usage a trace is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    pub deployment: String,
    /// Products by the trace's name of the model; under `None` that of every other model.
    pub products: BTreeMap<Option<String>, String>,
    /// The CloudEvents `source`.
    pub source: String,
    /// The whole name of the Kafka topic.
    pub topic: String,
}

/// A row cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the first line must be \"{}\"", azure::HEADER)]
    WrongHeader,
    #[error("row {row}: {fault}")]
    WrongRow { row: u64, fault: &'static str },
    #[error("\"{name}\" has a quote, a backslash or a control character; an id or name here may have none")]
    WrongName { name: String },
    #[error("row {row}: no product is given for its model, {}", model.as_deref().unwrap_or("which it does not name"))]
    NoProduct { row: u64, model: Option<String> },
}

/// What a format reads of one row: one request.
struct Row {
    /// Unique within the trace, the same in every run.
    id: String,
    /// `None` where the trace names none.
    model: Option<String>,
    occurred_at: Instant,
    outcome: Option<RequestOutcome>,
    quantities: Vec<(Meter, u64)>,
}

impl Replay {
    /// Reads a whole file of a trace. Equal rows give equal ids: a second run gives known duplicates.
    ///
    /// `stem` begins the ids of formats whose rows have none of their own, then `-000001` and so on by row.
    ///
    /// # Errors
    /// A header, row or name that is not as the format's, or a model without a product. Nothing is skipped.
    pub fn messages(&self, format: Format, stem: &str, text: &str) -> Result<Vec<Message>, ReplayError> {
        for name in [&self.deployment, &self.source, stem].into_iter().chain(self.products.values().map(String::as_str))
        {
            check_name(name)?;
        }
        let rows = match format {
            Format::AzureLlm2023(times) => azure::rows(stem, times, text),
            Format::ExgenticSpans(times) => exgentic::rows(times, text),
            Format::MooncakeConversation { start } => mooncake::rows(stem, start, text),
            Format::WekaRequests { start } => weka::rows(start, text),
        }?;
        (1..).zip(rows).map(|(number, row)| self.message(number, row)).collect()
    }

    fn message(&self, number: u64, row: Row) -> Result<Message, ReplayError> {
        check_name(&row.id)?;
        let product = self.products.get(&row.model).or_else(|| self.products.get(&None));
        let product = product.ok_or(ReplayError::NoProduct { row: number, model: row.model })?;
        let attributes = vec![
            ("id", row.id.clone()),
            ("source", self.source.clone()),
            ("type", "apportion.usage.v1".to_owned()),
            ("time", time(row.occurred_at, Style::Plain)),
        ];
        let outcome = row.outcome.map_or(String::new(), |it| format!("\"outcome\":\"{}\",", it.name()));
        let quantities: Vec<String> =
            row.quantities.iter().map(|(meter, count)| format!("\"{meter}\":{count}")).collect();
        let data = format!(
            "{{\"deployment\":\"{}\",\"product\":\"{product}\",\"service_tier\":\"default\",{outcome}\
             \"quantities\":{{{}}}}}",
            self.deployment,
            quantities.join(",")
        );
        let event = Some(CloudEvent { attributes, data });
        Ok(Message { topic: self.topic.clone().into(), key: row.id, mode: Mode::Structured, event })
    }
}

fn check_name(name: &str) -> Result<(), ReplayError> {
    let is_wrong = |letter: char| letter == '"' || letter == '\\' || letter.is_control();
    if name.chars().any(is_wrong) { Err(ReplayError::WrongName { name: name.to_owned() }) } else { Ok(()) }
}

/// Reads each line that is not empty, with its number.
fn read_lines<'a>(
    lines: impl Iterator<Item = &'a str>,
    mut read: impl FnMut(u64, &'a str) -> Result<Row, &'static str>,
) -> Result<Vec<Row>, ReplayError> {
    let rows = (1..).zip(lines.filter(|line| !line.is_empty()));
    rows.map(|(row, line)| read(row, line).map_err(|fault| ReplayError::WrongRow { row, fault })).collect()
}

/// Reads a line of JSON. What else it holds is dropped, among it whatever was said.
fn json<T: DeserializeOwned>(line: &str) -> Result<T, &'static str> {
    serde_json::from_str(line).map_err(|_| "it is no JSON object with the fields of this trace")
}

impl LocalTimes {
    /// A time with a zone, or one in the form of `local` without.
    fn instant(self, text: &str, local: &str) -> Result<Instant, &'static str> {
        let at = match parse_instant(text) {
            Ok(at) => at,
            Err(_) => self.zoned(text, local)?,
        };
        let shift = TimeDelta::try_days(self.shift_days).ok_or(LEAVES_CALENDAR)?;
        at.checked_add_signed(shift).ok_or(LEAVES_CALENDAR)
    }

    fn zoned(self, text: &str, local: &str) -> Result<Instant, &'static str> {
        let time = NaiveDateTime::parse_from_str(text, local).map_err(|_| "its time is no time")?;
        match self.zone.from_local_datetime(&time) {
            LocalResult::Single(at) => Ok(at.with_timezone(&Utc).trunc_subsecs(6)),
            // Which of the two was meant cannot be known.
            LocalResult::Ambiguous(..) => Err("its time comes twice in that zone"),
            LocalResult::None => Err("its time does not exist in that zone"),
        }
    }
}

const LEAVES_CALENDAR: &str = "its time leaves the calendar";

/// So many microseconds after the start.
fn after(start: Instant, micros: u64) -> Result<Instant, &'static str> {
    let micros = i64::try_from(micros).map_err(|_| LEAVES_CALENDAR)?;
    start.checked_add_signed(TimeDelta::microseconds(micros)).ok_or(LEAVES_CALENDAR)
}

#[cfg(test)]
mod tests;
