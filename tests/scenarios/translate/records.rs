//! What arrives, as JSON lines in the order of the scenario: usage, records, corrections and voids.
//!
//! Figures and facts belong to a contract in the product and to none in the format: each contract that declares
//! one gets it, under an id of its own from the second on, and so do its corrections and voids.

use super::contract::Contract;
use super::declared::{DeclaredFact, DeclaredFigure, FactOf};
use super::names::{Names, fact_of};
use crate::json::{Fault, Object, text_of};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::period::start_of_day;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The source of records that name none.
const SOURCE: &str = "main";

pub type Line = Map<String, Value>;

/// One line that a record became: the contract that it is of decides on the zone of its dates.
#[derive(Clone)]
struct Written {
    id: String,
    kind: String,
    zone: chrono_tz::Tz,
    /// What its amounts are in.
    unit: Option<String>,
    amount: Option<String>,
}

struct Records<'a> {
    names: &'a Names,
    contracts: &'a [Contract],
    /// By source and id, the lines that a record became.
    written: BTreeMap<(String, String), Vec<Written>>,
    /// By id, the sources that have it.
    sources: BTreeMap<String, Vec<String>>,
}

pub fn records(names: &Names, contracts: &[Contract], scenario: &Object<'_>) -> Result<SourceFile, Fault> {
    let all = scenario.objects("records")?;
    let mut records = Records { names, contracts, written: BTreeMap::new(), sources: BTreeMap::new() };
    for record in all.iter().filter(|record| !is(record, "correction") && !is(record, "void")) {
        let source = records.source(record)?;
        records.sources.entry(record.text("id")?).or_default().push(source);
    }
    // What is corrected or voided is known before what does it, wherever it stands.
    let mut lines: BTreeMap<usize, Vec<Line>> = BTreeMap::new();
    let passes: [&dyn Fn(&Object<'_>) -> bool; 3] =
        [&|record| !is(record, "correction") && !is(record, "void"), &|record| is(record, "correction"), &|record| {
            is(record, "void")
        }];
    for pass in passes {
        for (place, record) in all.iter().enumerate().filter(|(_, record)| pass(record)) {
            lines.insert(place, records.lines(record)?);
            record.finish()?;
        }
    }
    let text = lines.into_values().flatten().map(|line| written(&line)).collect();
    Ok(SourceFile { path: "records.jsonl".to_owned(), text })
}

/// What a correction is of, as its fields tell where nothing of that id is known.
fn restated_kind(record: &Object<'_>) -> String {
    let has = |keys: &[&str]| keys.iter().any(|key| record.has(key));
    let kind = match () {
        () if has(&["amount", "category", "event", "events"]) => "deduction",
        () if has(&["value", "through"]) => "figure",
        () if has(&["at", "from", "to", "party"]) => "fact",
        () => "usage",
    };
    kind.to_owned()
}

fn is(record: &Object<'_>, kind: &str) -> bool {
    record.text("kind").is_ok_and(|it| it == kind)
}

/// A line as people would write it: what it is and who, before all else.
pub fn written(line: &Line) -> String {
    let first = ["step", "kind", "source", "id", "corrects", "voids", "contract", "name", "by", "occurred_at", "at"];
    let rest = line.keys().map(String::as_str).filter(|key| !first.contains(key));
    let given = first.into_iter().filter_map(|key| line.get_key_value(key).map(|(key, _)| key.as_str()));
    let fields: Vec<String> = given.chain(rest).map(|key| format!("{}:{}", json!(key), line[key])).collect();
    format!("{{{}}}\n", fields.join(","))
}

impl Records<'_> {
    fn lines(&mut self, record: &Object<'_>) -> Result<Vec<Line>, Fault> {
        let kind = record.text("kind")?;
        let made: Vec<(Written, Line)> = match kind.as_str() {
            "correction" => self.amendments(record, "corrects")?,
            "void" => self.amendments(record, "voids")?,
            "figure" => self.figures(record)?,
            "usage" | "receipt" | "deduction" | "decision" | "billing" => vec![self.plain(record, &kind)?],
            _ => self.facts(record, &kind)?,
        };
        let source = self.source(record)?;
        let (id, recorded_at) = (record.text("id")?, record.opt("recorded_at")?);
        if is(record, "correction") || is(record, "void") {
            self.sources.entry(id.clone()).or_default().push(source.clone());
        }
        let known = self.written.entry((source.clone(), id.clone())).or_default();
        let mut lines = Vec::new();
        for (place, (mut written, mut line)) in made.into_iter().enumerate() {
            written.id = if place == 0 { id.clone() } else { format!("{id}#{}", place + 1) };
            line.insert("source".to_owned(), json!(source));
            line.insert("id".to_owned(), json!(written.id));
            line.extend(recorded_at.clone().map(|at| ("recorded_at".to_owned(), json!(at))));
            // The first of one id stands: what comes later under it is a conflict, or the same.
            if known.len() <= place {
                known.push(written);
            }
            lines.push(line);
        }
        Ok(lines)
    }

    /// The zone of dates that belong to no contract: that of the first.
    fn zone(&self) -> chrono_tz::Tz {
        self.contracts.iter().find_map(|it| it.zone).unwrap_or(chrono_tz::UTC)
    }

    /// Usage, receipts, deductions, decisions and billings, which are of no contract.
    fn plain(&self, record: &Object<'_>, kind: &str) -> Result<(Written, Line), Fault> {
        // Usage has no amount of its own: one that is written there is unknown, and so named.
        let has_amount = kind != "usage" && kind != "decision";
        let unit = if has_amount { record.opt("currency")? } else { None };
        let amount = if has_amount { record.opt("amount")? } else { None };
        let written = Written { id: String::new(), kind: kind.to_owned(), zone: self.zone(), unit, amount };
        let mut line = Line::new();
        line.insert("kind".to_owned(), json!(kind));
        line.extend(self.fields(record, &written)?);
        Ok((written, line))
    }

    /// One line for each contract and name under which it declares the figure.
    fn figures(&self, record: &Object<'_>) -> Result<Vec<(Written, Line)>, Fault> {
        let (name, amount) = (record.text("name")?, record.opt("value")?);
        let mut made = Vec::new();
        for contract in self.contracts {
            let declared = contract.declared.figures.iter().filter(|(_, figure)| figure.of == name);
            let noticed = contract.declared.notices.iter().filter(|notice| **notice == name);
            let unit = |figure: &DeclaredFigure| figure.unit.clone();
            let targets = declared.map(|(target, figure)| (target, unit(figure))).chain(noticed.map(|it| (it, None)));
            for (target, unit) in targets {
                let zone = contract.zone.unwrap_or(chrono_tz::UTC);
                let written =
                    Written { id: String::new(), kind: "figure".to_owned(), zone, unit, amount: amount.clone() };
                let mut line = self.of_contract("figure", contract, target);
                line.extend(self.fields(record, &written)?);
                made.push((written, line));
            }
        }
        record.pass(&["name", "value", "currency", "from", "through", "at", "attrs", "source"]);
        Ok(made)
    }

    /// One line for each contract and name under which it declares the fact.
    fn facts(&self, record: &Object<'_>, kind: &str) -> Result<Vec<(Written, Line)>, Fault> {
        let introduces = kind == "introduction";
        let name = match fact_of(kind, record)? {
            Some(fact) => fact.name,
            None if introduces => String::new(),
            None => return record.fault(format!("kind \"{kind}\"")),
        };
        let is_it = |fact: &DeclaredFact| match &fact.of {
            FactOf::Introduction => introduces,
            FactOf::Named(of) => !introduces && *of == name,
        };
        let mut made = Vec::new();
        for contract in self.contracts {
            for (target, _) in contract.declared.facts.iter().filter(|(_, fact)| is_it(fact)) {
                let zone = contract.zone.unwrap_or(chrono_tz::UTC);
                let written = Written { id: String::new(), kind: "fact".to_owned(), zone, unit: None, amount: None };
                let mut line = self.of_contract("fact", contract, target);
                line.extend(self.fields(record, &written)?);
                line.entry("evidence").or_insert_with(|| json!("scenario"));
                made.push((written, line));
            }
        }
        record.pass(&["name", "at", "from", "to", "until", "evidence", "attrs", "source"]);
        record.pass(&["product", "capability", "cloud", "customer", "party"]);
        Ok(made)
    }

    fn of_contract(&self, kind: &str, contract: &Contract, name: &str) -> Line {
        let fields = [("kind", kind), ("contract", &contract.id), ("name", name), ("by", self.names.reporter())];
        fields.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    }

    /// Corrections and voids, one for each line that what they name became.
    fn amendments(&self, record: &Object<'_>, key: &str) -> Result<Vec<(Written, Line)>, Fault> {
        let (source, target) = (self.source(record)?, record.text(key)?);
        let unknown =
            Written { id: target.clone(), kind: restated_kind(record), zone: self.zone(), unit: None, amount: None };
        let targets = self.written.get(&(source, target)).cloned().unwrap_or_else(|| vec![unknown]);
        if targets.is_empty() {
            // What no contract declares is of no line, and nor is what corrects it.
            record.pass(&record.keys().collect::<Vec<_>>());
        }
        let mut made = Vec::new();
        for target in targets {
            let mut line = Line::new();
            line.insert("kind".to_owned(), record.get("kind").cloned().unwrap_or_default());
            line.insert(key.to_owned(), json!(target.id));
            if key == "corrects" {
                line.extend(self.fields(record, &target)?);
            }
            record.get("kind");
            made.push((target, line));
        }
        // Of a correction whatever has no counterpart would be lost: what it restates was asked for above.
        Ok(made)
    }

    /// The fields of a record in the product's names; of a correction those that it restates.
    fn fields(&self, record: &Object<'_>, written: &Written) -> Result<Line, Fault> {
        let mut line = Line::new();
        let mut put = |name: &str, value: Option<String>| {
            line.extend(value.map(|value| (name.to_owned(), json!(value))));
        };
        let instant = |key: &str| self.instant(record, key, written.zone);
        match written.kind.as_str() {
            "usage" => {
                put("occurred_at", instant("occurred_at")?);
                put("ended_at", instant("ended_at")?);
                put("service_tier", record.opt("tier")?);
                for key in ["deployment", "product", "customer"] {
                    put(key, record.opt(key)?);
                }
            }
            "figure" => {
                for key in ["from", "through"] {
                    put(key, record.opt(key)?);
                }
                put("at", instant("at")?);
                put("value", self.money(record, "value", written)?);
            }
            "fact" => {
                let (from, to) = (instant("from")?, instant("to")?);
                put("at", instant("at")?.or(from));
                put("until", to.or(instant("until")?));
                for key in ["product", "capability", "cloud", "customer", "party", "evidence"] {
                    put(key, record.opt(key)?);
                }
            }
            "decision" => {
                put("contract", record.opt("contract")?);
                put("right", record.opt("term")?);
                put("decision", record.opt("decision")?);
                put("reason", record.opt("reason")?);
                record.pass(&["evidence"]);
            }
            _ => {
                put("at", instant("at")?);
                put("category", record.opt("category")?);
                put("amount", self.money(record, "amount", written)?);
                for key in ["deployment", "product", "customer", "seller"] {
                    put(key, record.opt(key)?);
                }
            }
        }
        self.objects(record, written, &mut line)?;
        Ok(line)
    }

    /// Quantities, attributes, and what is named.
    fn objects(&self, record: &Object<'_>, written: &Written, line: &mut Line) -> Result<(), Fault> {
        if let Some(quantities) = record.object("quantities")? {
            let mut by_meter = Line::new();
            for meter in quantities.keys() {
                by_meter.insert(self.names.meter(meter), json!(quantities.text(meter)?));
            }
            line.insert("quantities".to_owned(), Value::Object(by_meter));
        }
        if let Some(attrs) = record.object("attrs")? {
            for name in attrs.keys() {
                let attribute = self.names.attribute(name).unwrap_or_else(|| name.to_owned());
                line.insert(attribute, json!(attrs.text(name)?));
            }
        }
        let named = [self.named(record, "event")?, self.named(record, "events")?].concat();
        match (written.kind.as_str(), named.as_slice()) {
            (_, []) => {}
            ("receipt" | "billing", _) => drop(line.insert("for".to_owned(), json!(named))),
            (_, [one]) => drop(line.insert("event".to_owned(), one.clone())),
            _ => drop(line.insert("events".to_owned(), json!(named))),
        }
        Ok(())
    }

    /// Its source; a correction or void that says none is of the source of what it names.
    fn source(&self, record: &Object<'_>) -> Result<String, Fault> {
        let target = record.opt("corrects")?.or(record.opt("voids")?);
        let sources = target.and_then(|target| self.sources.get(&target)).cloned().unwrap_or_default();
        let of_target = sources.iter().find(|source| *source == SOURCE).or(sources.first()).cloned();
        Ok(record.opt("source")?.or(of_target).unwrap_or_else(|| SOURCE.to_owned()))
    }

    /// The events of a key: one or several, each by its id alone or with its source.
    fn named(&self, record: &Object<'_>, key: &str) -> Result<Vec<Value>, Fault> {
        let values = match record.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one) => vec![one],
        };
        let named = values.into_iter().map(|value| {
            let Some(id) = text_of(value) else {
                let event = record.child(&format!(".{key}"), value)?;
                let named = json!({ "source": event.text("source")?, "id": event.text("id")? });
                return event.finish().map(|()| named);
            };
            self.event(record, &id)
        });
        named.collect()
    }

    /// An event of the record's own source, or else of the only one that has the id.
    fn event(&self, record: &Object<'_>, id: &str) -> Result<Value, Fault> {
        let own = record.opt("source")?.unwrap_or_else(|| SOURCE.to_owned());
        let sources = self.sources.get(id).cloned().unwrap_or_default();
        let source = if sources.contains(&own) { own } else { sources.first().cloned().unwrap_or(own) };
        Ok(json!({ "source": source, "id": id }))
    }

    /// An instant; of a date its first in the zone.
    fn instant(&self, record: &Object<'_>, key: &str, zone: chrono_tz::Tz) -> Result<Option<String>, Fault> {
        let text = record.opt(key)?;
        Ok(text.map(|text| match text.parse() {
            Ok(date) => start_of_day(zone, date).to_rfc3339(),
            Err(_) => text,
        }))
    }

    /// An amount with its unit; a correction that restates one of the two has the other of what it corrects.
    fn money(&self, record: &Object<'_>, key: &str, written: &Written) -> Result<Option<String>, Fault> {
        let (text, unit) = (record.opt(key)?, record.opt("currency")?);
        if text.is_none() && unit.is_none() {
            return Ok(None);
        }
        let unit = unit.or(written.unit.clone());
        let Some(text) = text.or(written.amount.clone()) else { return Ok(None) };
        Ok(Some(super::rate::amount(&text, unit.as_deref())))
    }
}
