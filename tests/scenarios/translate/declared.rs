//! What a contract declares, gathered while its terms are translated: figures, facts, periods, parameters, units.

use super::names::Names;
use crate::json::{Fault, Object};
use crate::toml_text::{Block, field, list, quoted, table};
use apportion::domain::money::Exact;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A figure of the contract, and the scenario's figure that it is.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredFigure {
    pub of: String,
    pub is_level: bool,
    /// None: a plain number.
    pub unit: Option<String>,
    pub about: Vec<String>,
    pub missing: String,
}

/// A fact of the contract, and what of the scenario it is.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredFact {
    pub of: FactOf,
    pub is_status: bool,
    pub about: Vec<String>,
    pub lasts: Option<String>,
    pub picks_last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactOf {
    Named(String),
    Introduction,
}

#[derive(Default)]
pub struct Declared {
    pub figures: BTreeMap<String, DeclaredFigure>,
    pub facts: BTreeMap<String, DeclaredFact>,
    /// Numbers that are set by notice, each the scenario's figure of its name.
    pub notices: BTreeSet<String>,
    periods: BTreeMap<String, Block>,
    units: BTreeMap<String, Option<String>>,
    /// Conversion, as the contract or one of its terms states it.
    pub fx: Option<Block>,
    /// Rates that the contract or one of its terms states itself.
    pub stated_rates: BTreeMap<(String, String), Exact>,
    /// By term, what the format has no names for, as last stated: its number is its name through the versions.
    numbered: BTreeMap<String, Vec<Value>>,
    /// The terms that are several sums in one of the versions.
    pub sums: BTreeSet<String>,
}

impl Declared {
    /// The name under which a figure of the scenario is declared; with another rule for what is missing it is another.
    pub fn figure(
        &mut self,
        names: &Names,
        of: &str,
        missing: &str,
        money_in: Option<&str>,
        level_unless_seen: bool,
    ) -> String {
        let seen = names.figures.get(of);
        if seen.is_none() && names.expects_unknown("figure") {
            return of.to_owned();
        }
        let figure = DeclaredFigure {
            of: of.to_owned(),
            is_level: seen.map_or(level_unless_seen, |it| it.is_level),
            unit: seen.and_then(|it| it.currency.clone()).or(money_in.map(str::to_owned)),
            about: seen.iter().flat_map(|it| &it.about).map(|it| names.attribute(it).unwrap_or(it.clone())).collect(),
            missing: missing.to_owned(),
        };
        let mut name = of.to_owned();
        while self.figures.get(&name).is_some_and(|known| *known != figure) {
            name = format!("{name}, if missing {missing}");
        }
        self.figures.insert(name.clone(), figure);
        name
    }

    /// A fact that the scenario names, declared under its own name.
    pub fn fact(&mut self, names: &Names, of: &str, is_status: bool) -> String {
        let seen = names.facts.get(of);
        if seen.is_none() && names.expects_unknown("fact") {
            return of.to_owned();
        }
        let about = seen.iter().flat_map(|it| &it.about).map(|it| names.attribute(it).unwrap_or(it.clone())).collect();
        let is_status = seen.map_or(is_status, |it| it.is_status);
        let fact = DeclaredFact { of: FactOf::Named(of.to_owned()), is_status, about, lasts: None, picks_last: false };
        self.facts.entry(of.to_owned()).or_insert(fact);
        of.to_owned()
    }

    /// A fact that the format has a kind of record for, about what that may name.
    pub fn subject_fact(&mut self, of: &str, is_status: bool, about: &[&str]) -> String {
        let about = about.iter().map(|it| (*it).to_owned()).collect();
        let fact = DeclaredFact { of: FactOf::Named(of.to_owned()), is_status, about, lasts: None, picks_last: false };
        self.facts.insert(of.to_owned(), fact);
        of.to_owned()
    }

    /// The fact that tells who introduced a customer, for so long, by first or last touch.
    pub fn introduction(&mut self, lasts: Option<String>, picks_last: bool) -> String {
        let mut name = "introduced".to_owned();
        if let Some(lasts) = &lasts {
            name = format!("{name}-{}", lasts.replace(' ', "-"));
        }
        if picks_last {
            name.push_str("-last");
        }
        let about = vec!["customer".to_owned()];
        self.facts.insert(
            name.clone(),
            DeclaredFact { of: FactOf::Introduction, is_status: false, about, lasts, picks_last },
        );
        name
    }

    /// The numbers, from 1, of what a version of a term states: what it says again has the number it had, whatever its
    /// place, and anything else the first one that is left.
    pub fn numbers(&mut self, of: &str, stated: &[&Value]) -> Vec<usize> {
        let known = self.numbered.entry(of.to_owned()).or_default();
        let mut places: Vec<Option<usize>> = Vec::new();
        for value in stated {
            let same = (0..known.len()).find(|place| known[*place] == **value && !places.contains(&Some(*place)));
            places.push(same);
        }
        for at in 0..stated.len() {
            let left = (0..).find(|place| !places.contains(&Some(*place))).filter(|_| places[at].is_none());
            places[at] = places[at].or(left);
        }
        known.resize(known.len().max(stated.len()), Value::Null);
        for (place, value) in places.iter().flatten().zip(stated) {
            known[*place] = (*value).clone();
        }
        places.into_iter().flatten().map(|place| place + 1).collect()
    }

    /// The name of a window: `never`, `month`, `calendar_year`, `contract_quarter` from an anchor, a week's day.
    pub fn window(&mut self, name: &str, at: &Object<'_>, anchor: Option<&str>) -> Result<String, Fault> {
        let own_anchor = at.opt("anchor")?;
        let first_day = at.opt("first_day")?;
        let anchored = |months: &str| {
            let anchor = own_anchor.as_deref().or(anchor);
            anchor.map(|from| (format!("{name}-from-{from}"), months.to_owned(), from.to_owned()))
        };
        let found = match name {
            "never" | "term" | "total" | "none" => return Ok("term".to_owned()),
            "item" | "period" | "month" | "quarter" | "year" => return Ok(name.to_owned()),
            "settlement_period" => return Ok("period".to_owned()),
            "calendar_month" | "calendar_quarter" | "calendar_year" => return Ok(name.replace("calendar_", "")),
            "week" => {
                let Some(day) = first_day else { return Ok("week".to_owned()) };
                let mut block = Block::new("period", &format!("week-from-{}", day.to_lowercase()));
                block.set_text("every", "1 week").set_text("first_day", &full_day(&day));
                let name = format!("week-from-{}", day.to_lowercase());
                self.periods.insert(name.clone(), block);
                return Ok(name);
            }
            "dates" => {
                let dates = at.texts("dates")?;
                let name = format!("dates-from-{}", dates.first().cloned().unwrap_or_default());
                let mut block = Block::new("period", &name);
                block.set("starts", list(dates));
                self.periods.insert(name.clone(), block);
                return Ok(name);
            }
            "contract_month" => anchored("1 month"),
            "contract_quarter" => anchored("3 months"),
            "contract_year" => anchored("12 months"),
            other if at.is_to_be_refused() => return Ok(other.to_owned()),
            other => return at.fault(format!("unknown window \"{other}\"")),
        };
        let Some((name, every, from)) = found else { return at.fault(format!("{name} without an anchor")) };
        let mut block = Block::new("period", &name);
        block.set_text("every", &every).set("from", from);
        self.periods.insert(name.clone(), block);
        Ok(name)
    }

    /// A declared unit, with what one is worth where that is stated.
    pub fn unit(&mut self, name: &str, worth: Option<String>) -> Result<(), Fault> {
        let known = self.units.entry(name.to_owned()).or_default();
        match (known.as_ref(), &worth) {
            (Some(known), Some(worth)) if known != worth => Err(format!("unit {name} is worth {known} and {worth}")),
            (None, Some(_)) => {
                *known = worth;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What a figure is in; none: a plain number.
    pub fn unit_of(&self, figure: &str) -> Option<String> {
        self.figures.get(figure).and_then(|it| it.unit.clone())
    }

    /// How amounts are converted; rates that are stated come before those that are stored.
    fn fx_block(&self) -> Option<Block> {
        if self.stated_rates.is_empty() {
            return self.fx.clone();
        }
        let mut block = self.fx.clone().unwrap_or_else(|| {
            let mut block = Block::unnamed("fx");
            block.set_text("source", "stated").set_text("date", "item");
            block
        });
        let rate = |((from, to), rate): (&(String, String), &Exact)| {
            table(&[field("from", quoted(from)), field("to", quoted(to)), field("rate", quoted(&rate.to_string()))])
        };
        block.set("rates", list(self.stated_rates.iter().map(rate)));
        Some(block)
    }

    /// The blocks of all that is declared.
    pub fn blocks(&self, names: &Names) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.periods.values().cloned().collect();
        for (name, worth) in &self.units {
            let mut block = Block::new("unit", name);
            block.set_if("digits", names.units.get(name).cloned()).set_if("worth", worth.as_deref().map(quoted));
            blocks.push(block);
        }
        blocks.extend(self.fx_block());
        for (name, figure) in &self.figures {
            let mut block = Block::new("figure", name);
            block.set_text("unit", figure.unit.as_deref().unwrap_or("number"));
            block.set_text("kind", if figure.is_level { "level" } else { "flow" });
            if !figure.about.is_empty() {
                block.set("about", list(figure.about.iter().map(|it| quoted(it))));
            }
            block.set_text("missing", &figure.missing);
            blocks.push(block);
        }
        for (name, fact) in &self.facts {
            let mut block = Block::new("fact", name);
            block.set_text("kind", if fact.is_status { "status" } else { "event" });
            if !fact.about.is_empty() {
                block.set("about", list(fact.about.iter().map(|it| quoted(it))));
            }
            if fact.of == FactOf::Introduction {
                block.set_text("value", "party");
            }
            block.set_if("pick", fact.picks_last.then(|| quoted("last")));
            block.set_if("lasts", fact.lasts.as_deref().map(quoted));
            blocks.push(block);
        }
        blocks
    }
}

fn full_day(day: &str) -> String {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let day = day.to_lowercase();
    days.into_iter().find(|full| full.starts_with(day.as_str())).map_or(day.clone(), str::to_owned)
}

/// `{"months": 2}` as `"2 months"`; several units stand in one number of the smallest only if they can.
pub fn length(object: &Object<'_>) -> Result<String, Fault> {
    let mut found = Vec::new();
    for unit in ["years", "quarters", "months", "weeks", "days", "hours"] {
        if let Some(number) = object.opt(unit)? {
            let one = number == "1";
            found.push(format!("{number} {}", if one { unit.trim_end_matches('s') } else { unit }));
        }
    }
    match found.as_slice() {
        [] => Ok("0 days".to_owned()),
        [one] => Ok(one.clone()),
        more => object.fault(format!("a length of {}: write one unit", more.join(" and "))),
    }
}

/// A date or instant as TOML has it.
pub fn moment(object: &Object<'_>, key: &str) -> Result<Option<String>, Fault> {
    let Some(text) = object.opt(key)? else { return Ok(None) };
    let is_date = text.parse::<chrono::NaiveDate>().is_ok();
    let is_instant = apportion::domain::period::parse_instant(&text).is_ok();
    match is_date || is_instant {
        true => Ok(Some(text)),
        false if object.is_to_be_refused() => Ok(Some(quoted(&text))),
        false => object.fault(format!("{key}: {text} is no date or instant")),
    }
}
