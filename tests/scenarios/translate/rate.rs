//! Rates, unit prices, tiers and thresholds: numbers, and rows of conditions.

use super::declared::moment;
use super::term::Terms;
use crate::json::{Fault, Object, text_of};
use crate::toml_text::{Block, field, list, quoted, table};
use apportion::domain::money::Exact;

/// A value with the tiers that stand beside it.
pub struct Rated {
    pub value: String,
    pub tiers: Option<String>,
}

/// What a number of a rate is: a part of money, or an amount for each unit.
#[derive(Clone, Copy)]
pub enum Number<'a> {
    Part,
    Price(Option<&'a str>),
}

impl Number<'_> {
    pub fn write(self, text: &str) -> String {
        match self {
            Self::Part => quoted(&percent(text)),
            Self::Price(unit) => quoted(&amount(text, unit)),
        }
    }
}

/// `0.2` as `20%`; a fraction stays one.
pub fn percent(text: &str) -> String {
    match text.parse::<Exact>() {
        Ok(number) if !text.contains('/') => format!("{}%", number * Exact::from_integer(100)),
        _ => text.to_owned(),
    }
}

pub fn amount(text: &str, unit: Option<&str>) -> String {
    unit.map_or(text.to_owned(), |unit| format!("{text} {unit}"))
}

impl Terms<'_> {
    /// The rate of a term, with its tiers.
    pub fn rated(&mut self, term: &Object<'_>, number: Number<'_>, unit: Option<&str>) -> Result<Option<Rated>, Fault> {
        let Some(rate) = term.get("rate") else { return self.tiered(term, number, unit) };
        if term.has("tiers") {
            return term.fault("rate and tiers: write one of the two");
        }
        if let Some(text) = text_of(rate) {
            return Ok(Some(Rated { value: number.write(&text), tiers: None }));
        }
        let rate = term.child(".rate", rate)?;
        let rated = if rate.has("table") {
            Rated { value: self.rows(&rate, number)?, tiers: None }
        } else if rate.has("band") {
            self.band(&rate, number)?
        } else if rate.has("notice") {
            Rated { value: self.notice(&rate, number)?, tiers: None }
        } else {
            return rate.fault("a rate is a number, or has table, band or notice");
        };
        rate.finish()?;
        Ok(Some(rated))
    }

    /// Rows by attribute, status or date; without a last one the settlement stops at an item that matches none.
    fn rows(&mut self, rate: &Object<'_>, number: Number<'_>) -> Result<String, Fault> {
        let mut rows = Vec::new();
        for row in rate.objects("table")? {
            let mut fields = Vec::new();
            for key in ["from", "through"] {
                fields.extend(moment(&row, key)?.map(|at| field(key, at)));
            }
            if let Some(when) = row.object("when")? {
                for key in ["from", "through"] {
                    fields.extend(moment(&when, key)?.map(|at| field(key, at)));
                }
                let dated = when.keys().all(|key| ["from", "through"].contains(&key));
                if !dated {
                    fields.push(field("where", table(&self.dated_filter(&when)?)));
                }
            }
            fields.push(field("is", self.number(&row, number)?));
            row.finish()?;
            rows.push(table(&fields));
        }
        let otherwise = if rate.has("otherwise") { number.write(&rate.text("otherwise")?) } else { quoted("stop") };
        rows.push(table(&[field("otherwise", otherwise)]));
        Ok(list(rows))
    }

    /// A filter beside which dates may stand; those were read before.
    fn dated_filter(&mut self, when: &Object<'_>) -> Result<Vec<(String, String)>, Fault> {
        if ["from", "through"].iter().any(|key| when.has(key)) {
            let undated: serde_json::Map<String, serde_json::Value> = (when.keys())
                .filter(|key| !["from", "through"].contains(key))
                .filter_map(|key| Some((key.to_owned(), when.get(key)?.clone())))
                .collect();
            return self.filter(&Object::new(when.place.clone(), &undated.into())?);
        }
        self.filter(when)
    }

    /// The number of a row; none is written as such.
    fn number(&self, row: &Object<'_>, number: Number<'_>) -> Result<String, Fault> {
        let written = row.opt("rate")?.or(row.opt("price")?).or(row.opt("credit")?);
        Ok(match written.as_deref() {
            None | Some("none") => quoted("none"),
            Some(text) => number.write(text),
        })
    }

    /// Bands of steps; without an open end the loader has to refuse them.
    pub fn steps(&self, object: &Object<'_>, number: Number<'_>, edge_in: Option<&str>) -> Result<String, Fault> {
        let mut rows = Vec::new();
        for step in object.objects("steps")? {
            let mut fields = Vec::new();
            for key in ["up_to", "below"] {
                fields.extend(step.opt(key)?.map(|edge| field(key, quoted(&amount(&edge, edge_in)))));
            }
            let is_open = fields.is_empty();
            let value = self.number(&step, number)?;
            fields.push(field(if is_open { "otherwise" } else { "is" }, value));
            step.finish()?;
            rows.push(table(&fields));
        }
        if object.has("otherwise") {
            rows.push(table(&[field("otherwise", number.write(&object.text("otherwise")?))]));
        }
        Ok(list(rows))
    }

    /// All at the rate of the band in which another measure lies.
    fn band(&mut self, rate: &Object<'_>, number: Number<'_>) -> Result<Rated, Fault> {
        let Some(band) = rate.object("band")? else { return rate.fault("no band") };
        let missing = band.opt("missing")?.or(rate.opt("missing")?).unwrap_or_else(|| "stop".to_owned());
        let figure = self.declared.figure(self.names, &band.text("figure")?, &missing, None, true);
        let edge_in = self.declared.unit_of(&figure);
        let read = match band.opt("when")?.as_deref() {
            Some("period_end" | "window_end") => "window_end",
            Some("period_start" | "window_start") => "window_start",
            Some("item" | "at_item" | "occurrence") | None => "at_item",
            Some("previous_period" | "period_before" | "previous_window") => "previous_window",
            Some(other) => return band.fault(format!("when \"{other}\"")),
        };
        let mut fields =
            vec![field("apply", quoted("level")), field("of", quoted(&figure)), field("read", quoted(read))];
        if let Some(per) = band.opt("per")? {
            let window = self.declared.window(&per, &band, self.anchor.as_deref())?;
            fields.push(field("each", quoted(&window)));
        } else if read != "at_item" {
            fields.push(field("each", quoted("period")));
        }
        band.finish()?;
        Ok(Rated { value: self.steps(rate, number, edge_in.as_deref())?, tiers: Some(table(&fields)) })
    }

    /// A number that is set by notice within bounds: a parameter; the scenario's figures of its name bring new ones.
    fn notice(&mut self, rate: &Object<'_>, number: Number<'_>) -> Result<String, Fault> {
        let name = rate.text("notice")?;
        let mut block = Block::new("parameter", &name);
        block.set("value", number.write(&rate.text("otherwise")?));
        block.set_text("set_by", &rate.opt("by")?.unwrap_or_else(|| self.payer.clone()));
        let bounds =
            [rate.opt("min")?.unwrap_or_else(|| "0".to_owned()), rate.opt("max")?.unwrap_or_else(|| "1".to_owned())];
        block.set("between", list(bounds.iter().map(|it| number.write(it))));
        if let Some(length) = rate.object("after")? {
            block.set_text("notice", &super::declared::length(&length)?);
            length.finish()?;
        }
        self.declared.notices.insert(name.clone());
        match self.notices.get(&name) {
            Some(known) if *known != block => {
                return rate.fault(format!("{name}: a version words a notice in one way"));
            }
            Some(_) => {}
            None => {
                self.blocks.push(block.clone());
                self.notices.insert(name.clone(), block);
            }
        }
        Ok(quoted(&name))
    }

    fn tiered(&mut self, term: &Object<'_>, number: Number<'_>, unit: Option<&str>) -> Result<Option<Rated>, Fault> {
        let Some(tiers) = term.object("tiers")? else { return Ok(None) };
        let mut fields = vec![field("apply", quoted(&tiers.text("mode")?))];
        let reset = tiers.text("reset")?;
        fields.push(field("each", quoted(&self.declared.window(&reset, &tiers, self.anchor.as_deref())?)));
        fields.extend(moment(&tiers, "counts_from")?.map(|from| field("from", from)));
        let mut edge_in = match number {
            Number::Part => unit,
            Number::Price(_) => None,
        };
        if let Some((counter, is_units)) = self.counter(term, &tiers)? {
            fields.push(field("of", quoted(&counter)));
            edge_in = if is_units { None } else { unit };
        }
        let value = self.steps(&tiers, number, edge_in)?;
        tiers.finish()?;
        Ok(Some(Rated { value, tiers: Some(table(&fields)) }))
    }

    /// What tiers or a threshold count where that is not the base: another base, or what the term itself accrued.
    fn counter(&mut self, term: &Object<'_>, of: &Object<'_>) -> Result<Option<(String, bool)>, Fault> {
        let Some(counter) = of.get("counter") else { return Ok(None) };
        let own = term.text("id")?;
        match text_of(counter).as_deref() {
            Some("accrual" | "own" | "accrued" | "self") => return Ok(Some((own, false))),
            Some("base") => return Ok(None),
            Some(term) => return Ok(Some((term.to_owned(), false))),
            None => {}
        }
        let counter = of.child(".counter", counter)?;
        if counter.has("term") {
            let term = counter.text("term")?;
            counter.finish()?;
            return Ok(Some((term, false)));
        }
        let written = self.base(&format!("{own} counter"), &counter, None)?;
        Ok(Some((written.name, written.is_units)))
    }

    /// Only what lies above an amount counts.
    pub fn threshold(
        &mut self,
        term: &Object<'_>,
        edge_in: Option<&str>,
        per: &[String],
    ) -> Result<Option<String>, Fault> {
        let Some(threshold) = term.object("threshold")? else { return Ok(None) };
        let mut edge_in = edge_in;
        let counter = self.counter(term, &threshold)?;
        if counter.as_ref().is_some_and(|(_, is_units)| *is_units) {
            edge_in = None;
        }
        let reset = threshold.opt("reset")?.unwrap_or_else(|| "never".to_owned());
        let mut fields = vec![
            field("is", quoted(&amount(&threshold.text("amount")?, edge_in))),
            field("each", quoted(&self.declared.window(&reset, &threshold, self.anchor.as_deref())?)),
        ];
        fields.extend(moment(&threshold, "counts_from")?.map(|from| field("from", from)));
        fields.extend(counter.map(|(of, _)| field("of", quoted(&of))));
        if !per.is_empty() && !threshold.flag("pooled")? {
            fields.push(field("per", list(per.iter().map(|it| quoted(it)))));
        }
        threshold.finish()?;
        Ok(Some(table(&fields)))
    }
}
