//! Tells a database everything that a scenario says was recorded, at the instants at which it was.

use super::database::Database;
use apportion::domain::contract::document::FileLine;
use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::contract::placed_prices::PlacedPrice;
use apportion::domain::entry::{Entry, NewEntry, What};
use apportion::domain::period::Instant;
use apportion::domain::simulate::Scenario;
use apportion::domain::usage::{UsageAttribute, UsageEvent, UsageMessage};
use apportion::ingest::messages::Position;
use apportion::ingest::writer::Writer;
use apportion::jobs::contracts::apply;
use apportion::jobs::records::{Checks, record};
use apportion::sources::cloudevents::{CORRECTION_TYPE, VOID_TYPE, decode_structured, encode};
use apportion::store::usage_rows::Intake;
use apportion::telemetry::Metrics;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is told at once: it takes one instant.
enum Told<'s> {
    Agreements(Box<Folder>),
    Usage(Vec<&'s Entry>),
    Records(Vec<&'s Entry>),
}

impl Database {
    /// Tells all of it in the order of recording; returns when what was told last at each instant was stamped.
    pub async fn tell(&self, scenario: &Scenario) -> Result<BTreeMap<Instant, Instant>, String> {
        let mut stamps = BTreeMap::new();
        let mut writer = self.writer().await;
        for (at, all) in history(scenario)? {
            let mut before = i64::try_from(all.len()).map_err(|error| error.to_string())?;
            for told in all {
                before -= 1;
                // What is recorded at one instant is stamped up to it.
                let stamp = at - TimeDelta::microseconds(before);
                self.set_clock(stamp).await;
                match told {
                    Told::Agreements(folder) => {
                        apply(&self.pool, &folder).await.map_err(|error| format!("not loaded: {error}"))?;
                    }
                    Told::Usage(entries) => write(&mut writer, &entries).await?,
                    Told::Records(entries) => {
                        let entries: Vec<NewEntry> = entries.into_iter().map(storable).collect::<Result<_, _>>()?;
                        record(&self.pool, &entries, Checks::Skipped).await.map_err(|error| error.to_string())?;
                    }
                }
                let recorded = self.last_recorded().await;
                if recorded != stamp {
                    return Err(format!("what is told at {at} was stamped {recorded}, not {stamp}"));
                }
                stamps.insert(stamp, at);
            }
        }
        Ok(stamps)
    }

    async fn writer(&self) -> Writer {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        Writer::open(self.pool.clone(), metrics).await.expect("a writer")
    }
}

fn storable(entry: &Entry) -> Result<NewEntry, String> {
    NewEntry::storable(&entry.to_json().to_string()).map_err(|error| format!("{}: {error}", entry.id))
}

/// Everything by its instant, agreements first, then entries as the file has them.
fn history(scenario: &Scenario) -> Result<BTreeMap<Instant, Vec<Told<'_>>>, String> {
    let documents: Vec<SourceFile> = scenario.documents.iter().map(without_recorded_at).collect();
    let whole = read_folder(&scenario.documents).map_err(|error| error.to_string())?;
    let stated = || whole.contracts.iter().flat_map(|contract| &contract.versions).map(|version| version.recorded_at);
    let prices = scenario.prices.iter().map(|(recorded_at, _)| *recorded_at);
    let rates = scenario.rates.iter().map(|rate| rate.recorded_at);
    let dated: BTreeSet<Instant> = stated().chain(prices).chain(rates).flatten().collect();
    let first = dated.iter().copied().chain(scenario.entries.iter().map(|entry| entry.recorded_at)).min();
    // What is not dated was always known.
    let always = first.unwrap_or_default() - TimeDelta::days(1);
    let mut history: BTreeMap<Instant, Vec<Told<'_>>> = BTreeMap::new();
    for at in dated.into_iter().chain([always]) {
        let mut folder = read_folder(&documents).map_err(|error| error.to_string())?;
        let known = |recorded_at: &Option<Instant>| recorded_at.is_none_or(|it| it <= at);
        let recorded_at = |id: &_, number: u32| {
            let contract = whole.contracts.iter().find(|it| it.head.id == *id);
            contract.and_then(|it| it.versions.iter().find(|it| it.number == number)).and_then(|it| it.recorded_at)
        };
        // A history is checked as a whole: a term may draw on one that was signed after it.
        folder.versions.retain(|it| known(&recorded_at(&it.documents.contract, it.documents.number)));
        let prices = scenario.prices.iter().filter(|(at, _)| known(at)).map(|(_, price)| price.clone());
        folder.prices = prices
            .map(|price| PlacedPrice { price, at: FileLine { path: "prices.csv".to_owned(), line: 1 } })
            .collect();
        let mut rates: Vec<_> = scenario.rates.iter().filter(|rate| known(&rate.recorded_at)).collect();
        rates.sort_by_key(|rate| rate.recorded_at);
        // A restated rate is told in place of the one before.
        let last: BTreeMap<_, _> = rates.into_iter().map(|rate| (rate.key(), rate.clone())).collect();
        folder.rates = last.into_values().collect();
        history.entry(at).or_default().push(Told::Agreements(Box::new(folder)));
    }
    let usage = of_usage(scenario);
    for (place, entry) in scenario.entries.iter().enumerate() {
        let told = history.entry(entry.recorded_at).or_default();
        match (usage.contains(&place), told.last_mut()) {
            (true, Some(Told::Usage(entries))) | (false, Some(Told::Records(entries))) => entries.push(entry),
            (true, _) => told.push(Told::Usage(vec![entry])),
            (false, _) => told.push(Told::Records(vec![entry])),
        }
    }
    Ok(history)
}

/// The places of usage, and of what corrects or voids it, or what nobody told of.
fn of_usage(scenario: &Scenario) -> BTreeSet<usize> {
    let is_record = |entry: &Entry| {
        let mut at = entry;
        for _ in 0..scenario.entries.len() {
            match (&at.what, at.what.target()) {
                (What::Record(_), _) => return true,
                (What::Usage(_), _) | (_, None) => return false,
                (_, Some(target)) => {
                    let named = |it: &&Entry| it.id.source == at.id.source && it.id.id == target;
                    match scenario.entries.iter().find(named) {
                        Some(named) => at = named,
                        None => return false,
                    }
                }
            }
        }
        false
    };
    (0..).zip(&scenario.entries).filter(|(_, entry)| !is_record(entry)).map(|(place, _)| place).collect()
}

/// The service stamps what it loads: a document does not say when it was recorded.
fn without_recorded_at(document: &SourceFile) -> SourceFile {
    let lines = document.text.split_inclusive('\n').filter(|line| !line.starts_with("recorded_at = "));
    SourceFile { path: document.path.clone(), text: lines.collect() }
}

async fn write(writer: &mut Writer, entries: &[&Entry]) -> Result<(), String> {
    let messages = (1..).zip(entries).map(|(line, entry)| {
        let position = Position::File { name: "records.jsonl".into(), line, record: 1 };
        (position, decode_structured(&event(entry)))
    });
    writer.write(&writer.messages(messages), None, Intake::File).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Usage, a correction or void of it as the event that a source would send.
fn event(entry: &Entry) -> Vec<u8> {
    if let What::Usage(content) = &entry.what {
        return encode(&UsageMessage::Event(UsageEvent { id: entry.id.clone(), content: content.clone() }));
    }
    let Value::Object(mut data) = entry.to_json() else { unreachable!("an entry is an object") };
    let kind = if matches!(entry.what, What::Void { .. }) { VOID_TYPE } else { CORRECTION_TYPE };
    data.retain(|field, _| !["kind", "source", "id"].contains(&field.as_str()));
    let attributes: Map<String, Value> =
        UsageAttribute::ALL.iter().filter_map(|it| data.remove_entry(it.name())).collect();
    if !attributes.is_empty() {
        data.insert("attributes".to_owned(), Value::Object(attributes));
    }
    let event = json!({
        "specversion": "1.0", "type": kind, "source": entry.id.source, "id": entry.id.id, "data": data,
    });
    event.to_string().into_bytes()
}
