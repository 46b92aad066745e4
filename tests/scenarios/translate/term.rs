//! Terms of money: who, when, of what, and which one way to yield.

use super::base::{Written, introduction_of};
use super::declared::{Declared, length, moment};
use super::names::Names;
use super::rate::{Number, Rated};
use crate::json::{Fault, Object, text_of};
use crate::toml_text::{Block, field, list, one_or_more, quoted, table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a term pays back: what it recoups comes before what is set off.
#[derive(Default)]
pub struct Credits {
    pub recouped: Vec<String>,
    pub set_off: Vec<String>,
}

/// The terms of one version, while they are translated.
pub struct Terms<'a> {
    pub names: &'a Names,
    pub declared: &'a mut Declared,
    pub contract: String,
    pub currency: Option<String>,
    /// From which date contract years count where nothing else says.
    pub anchor: Option<String>,
    /// The window by which is settled.
    pub period: Option<String>,
    /// Terms that are only inputs of others.
    pub inputs: BTreeSet<String>,
    /// By term, what it pays back.
    pub credits: BTreeMap<String, Credits>,
    /// By term, the cap that it shares.
    pub caps: BTreeMap<String, String>,
    /// The notices that the version has worded, by name.
    pub notices: BTreeMap<String, Block>,
    /// The payer of the term that is translated, and whether that is an amount.
    pub payer: String,
    /// The blocks of the term that is translated: what it refers to before itself.
    pub blocks: Vec<Block>,
}

/// JSON as TOML: what is unknown is passed on where the loader has to refuse it.
fn passed_on(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => list(items.iter().map(passed_on)),
        Value::Object(map) => table(&map.iter().map(|(name, it)| field(name, passed_on(it))).collect::<Vec<_>>()),
        Value::Null => quoted(""),
        other => other.to_string(),
    }
}

/// Fails on a key that nobody asked for, in it or within, or passes it on to the loader where that has to refuse it.
pub fn finish(object: &Object<'_>, block: &mut Block) -> Result<(), Fault> {
    object.finish()?;
    for (key, value) in object.take_strays() {
        block.set(&key, passed_on(&value));
    }
    Ok(())
}

/// A term as it stands in the format, for the loader to refuse: the translation has no way to say it.
pub fn untranslated(term: &Object<'_>) -> Vec<Block> {
    term.take_strays();
    let id = term.opt("id").ok().flatten().unwrap_or_default();
    let mut block = Block::new(if term.has("right") { "right" } else { "term" }, &id);
    for key in term.keys().filter(|key| *key != "id") {
        block.set_if(key, term.get(key).map(passed_on));
    }
    vec![block]
}

/// Whether a term that is only an input has no part that amounts of the language lack.
pub fn is_amount(term: &Object<'_>) -> bool {
    let owed = [
        "cap",
        "minimum",
        "commitment",
        "advance",
        "tail",
        "once",
        "payees",
        "at_window_end",
        "credit",
        "starts_at",
        "fixed",
    ];
    !owed.into_iter().any(|key| term.has(key))
}

impl Terms<'_> {
    /// Translates a term into its blocks.
    pub fn term(&mut self, term: &Object<'_>) -> Result<Vec<Block>, Fault> {
        let id = term.text("id")?;
        let is_input = term.flag("input_only")?;
        // An amount of the language is computed and not owed: what has more parts is a term that is only an input.
        let is_amount = is_input && is_amount(term);
        let mut block = Block::new(if is_amount { "amount" } else { "term" }, &id);
        self.payer = term.opt("payer")?.unwrap_or_default();
        let unit = term.opt("currency")?.or(self.currency.clone());
        if let Some(unit) = unit.as_deref().filter(|unit| self.names.units.contains_key(*unit)) {
            self.declared.unit(unit, None)?;
        }
        if is_amount {
            term.pass(&["payer", "payee"]);
        } else {
            let (mut payer, mut payee) = (term.opt("payer")?.as_deref().map(quoted), self.payee(term, &id)?);
            if is_input {
                block.set("input", "true");
                // Who owes what is not owed need not be said.
                let mut parties = self.names.parties.iter().map(|party| quoted(party));
                payer = payer.or(parties.next());
                payee = payee.or(parties.find(|party| Some(party) != payer.as_ref()));
            }
            block.set_if("payer", payer).set_if("payee", payee);
        }
        self.life(term, &mut block)?;
        if unit != self.currency {
            block.set_if("in", unit.as_deref().map(quoted));
        }
        let per = self.per(term)?;
        if !per.is_empty() {
            block.set("per", list(per.iter().map(|it| quoted(it))));
        }
        if let Some(fx) = term.object("fx")? {
            self.declared.convert(self.names, &self.contract, &fx)?;
        }
        self.yields(term, &mut block, unit.as_deref(), &per)?;
        if let Some(minimum) = term.object("minimum")? {
            let minimum = self.minimum(&minimum, unit.as_deref(), None)?;
            block.set("minimum", minimum);
        }
        if let Some(cap) = term.object("cap")? {
            let cap = self.cap(&cap, unit.as_deref())?;
            block.set("cap", table(&cap));
            if let Some(shared) = self.caps.get(&id) {
                return term.fault(format!("a cap of its own, and {shared}"));
            }
        } else if let Some(shared) = self.caps.get(&id) {
            block.set("cap", quoted(shared));
        }
        if let Some(credits) = self.credits.get(&id) {
            block.set("credits", list(credits.recouped.iter().chain(&credits.set_off).cloned()));
        }
        if let Some(once) = term.object("once")? {
            // Its order is the order of the file, in which the terms were put before.
            once.pass(&["order"]);
            block.set("once", quoted(&once.text("group")?));
            once.finish()?;
        }
        if term.has("at_window_end") {
            block.set("at_window_end", term.flag("at_window_end")?.to_string());
        }
        term.pass(&["clause"]);
        finish(term, &mut block)?;
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.push(block);
        Ok(blocks)
    }

    /// The attributes whose values have counters of their own.
    fn per(&mut self, term: &Object<'_>) -> Result<Vec<String>, Fault> {
        let named = term.texts("group_by")?;
        let introduction = introduction(term)?;
        let found = named.iter().map(|name| match self.names.attribute(name) {
            Some(attribute) => Ok(attribute),
            None if name == "introduced_by" => {
                let (lasts, picks_last) = introduction.clone();
                Ok(self.declared.introduction(lasts, picks_last))
            }
            None => term.fault(format!("group_by: unknown attribute \"{name}\"")),
        });
        found.collect()
    }

    /// One payee, fixed parts, or parts by usage.
    fn payee(&mut self, term: &Object<'_>, id: &str) -> Result<Option<String>, Fault> {
        let payees = term.objects("payees")?;
        if let Some(split) = term.object("split")? {
            return self.pool(id, &payees, &split).map(Some);
        }
        if payees.is_empty() {
            return Ok(term.opt("payee")?.as_deref().map(quoted));
        }
        let mut parts = Vec::new();
        for payee in &payees {
            parts.push((payee.text("party")?, exact(payee, "weight")?));
            payee.finish()?;
        }
        if let [(party, _)] = parts.as_slice() {
            return Ok(Some(quoted(party)));
        }
        let whole: apportion::domain::money::Exact = parts.iter().map(|(_, weight)| weight.clone()).sum();
        let part = |(party, weight): &(String, apportion::domain::money::Exact)| {
            let part = weight.checked_div(&whole).map_or_else(|| weight.to_string(), |part| part.to_string());
            table(&[field("party", quoted(party)), field("part", quoted(&part))])
        };
        Ok(Some(list(parts.iter().map(part))))
    }

    /// A pool that is shared by usage.
    fn pool(&mut self, id: &str, payees: &[Object<'_>], split: &Object<'_>) -> Result<String, Fault> {
        let mut parts = Vec::new();
        for payee in payees {
            let party = payee.text("party")?;
            let Some(of) = payee.object("of")? else { return payee.fault("no of") };
            parts.push((party, self.filter(&of)?));
            payee.finish()?;
        }
        let meters: Vec<String> = split.texts("meters")?.iter().map(|it| self.names.meter(it)).collect();
        let counted = table(&[field("units", table(&[field("meter", one_or_more(&meters))]))]);
        let mut block = Block::new("base", &format!("{id} usage"));
        block.set("select", counted);
        self.blocks.push(block);
        let if_none = match split.opt("no_usage")?.as_deref() {
            Some("equal") => "equal",
            Some("stop" | "error") | None => "stop",
            Some("nothing" | "none" | "payer") => "nothing",
            Some(other) => return split.fault(format!("no_usage \"{other}\"")),
        };
        split.finish()?;
        let part = |(party, of): (String, Vec<(String, String)>)| {
            table(&[field("party", quoted(&party)), field("where", table(&of))])
        };
        Ok(table(&[
            field("by", quoted(&format!("{id} usage"))),
            field("if_none", quoted(if_none)),
            field("parts", list(parts.into_iter().map(part))),
        ]))
    }

    /// From when to when it is in force.
    pub fn life(&mut self, term: &Object<'_>, block: &mut Block) -> Result<(), Fault> {
        let from = moment(term, "from")?;
        match (from, term.opt("starts_at")?) {
            (Some(from), Some(fact)) => {
                let fact = self.declared.fact(self.names, &fact, false);
                block.set("from", list([from, quoted(&fact)]));
            }
            (None, Some(fact)) => {
                let fact = self.declared.fact(self.names, &fact, false);
                block.set("from", quoted(&fact));
            }
            (from, None) => {
                block.set_if("from", from);
            }
        }
        block.set_if("through", moment(term, "through")?);
        let ends = term.texts("ends_at")?;
        if !ends.is_empty() {
            let ends: Vec<String> = ends.iter().map(|it| self.declared.fact(self.names, it, false)).collect();
            block.set("until", one_or_more(&ends));
        }
        let Some(tail) = term.object("tail")? else { return Ok(()) };
        let Some(lasts) = tail.object("for")? else { return tail.fault("no for") };
        let mut fields = vec![field("lasts", quoted(&length(&lasts)?))];
        lasts.finish()?;
        match tail.opt("items")?.as_deref() {
            None | Some("all") => fields.push(field("of", quoted("all"))),
            Some("customers" | "earlier_customers") => fields.push(field("of", quoted("earlier customers"))),
            Some("introduced" | "introductions") => {
                let payee = term.text("payee")?;
                let (lasts, picks_last) = introduction(term)?;
                let introduced = self.declared.introduction(lasts, picks_last);
                fields.push(field("of", quoted("all")));
                fields.push(field("where", table(&[field(&introduced, quoted(&payee))])));
            }
            Some(other) => return tail.fault(format!("items \"{other}\"")),
        }
        if let Some(filter) = tail.object("where")? {
            fields.push(field("where", table(&self.filter(&filter)?)));
        }
        tail.finish()?;
        block.set("tail", table(&fields));
        Ok(())
    }

    /// The one way to yield.
    fn yields(
        &mut self,
        term: &Object<'_>,
        block: &mut Block,
        unit: Option<&str>,
        per: &[String],
    ) -> Result<(), Fault> {
        let id = term.text("id")?;
        for way in ["greater_of", "lesser_of"] {
            if let Some(comparison) = term.object(way)? {
                return self.comparison(way, &id, &comparison, block, (unit, per));
            }
        }
        if let Some(set_off) = term.object("set_off")? {
            // The README does not say what it holds: here, what the terms that it is set off against pay back first.
            // What is set off is the term's own yield, said beside it.
            set_off.pass(&["against", "rest", "limit"]);
            set_off.finish()?;
        }
        if let Some(commitment) = term.object("commitment")? {
            let base = self.own_base(term, None)?;
            let minimum = self.minimum(&commitment, unit, Some(&base.name))?;
            block.set("minimum", minimum);
            return Ok(());
        }
        if let Some(advance) = term.object("advance")? {
            return self.advance(&advance, block, unit);
        }
        if term.has("fixed") {
            return self.fixed(term, block, unit);
        }
        if let Some(credit) = term.object("credit")? {
            return self.service_credit(term, &credit, block);
        }
        self.share(term, block, unit, per)
    }

    /// A part of a base, or a price for its units.
    fn share(&mut self, term: &Object<'_>, block: &mut Block, unit: Option<&str>, per: &[String]) -> Result<(), Fault> {
        let Some(base) = term.object("base")? else { return term.fault("no way to yield that the README names") };
        let is_units = !base.objects("quantities")?.is_empty();
        let edge_in = if is_units { None } else { unit };
        let baseline = term.object("baseline")?;
        let of_period = baseline.as_ref().map(|it| self.is_of_period(it)).transpose()?.unwrap_or_default();
        // Over more than one settlement period a stated baseline is a threshold, unless it is cut or says what holds below
        // zero: only a threshold goes on from one to the next.
        let is_whole = |baseline: &Object<'_>| {
            let is_cut = baseline.opt("partial").is_ok_and(|it| it.is_some_and(|it| it != "full"));
            baseline.has("amount")
                && !baseline.has("below_zero")
                && !is_cut
                && (!of_period || is_units || !per.is_empty())
        };
        let stated = baseline.filter(is_whole);
        let above = match &stated {
            Some(baseline) => Some(self.stated_baseline(baseline, edge_in, per)?),
            None => self.threshold(term, edge_in, per)?,
        };
        let mut written = self.own_base(term, above)?;
        if let Some(baseline) = term.object("baseline")?.filter(|_| stated.is_none()) {
            written = self.baseline(&written, &baseline, edge_in, per)?;
        }
        let number = if is_units { Number::Price(unit) } else { Number::Part };
        let Some(Rated { value, tiers }) = self.rated(term, number, unit)? else {
            return term.fault("a base without rate or tiers");
        };
        block.set(if is_units { "price" } else { "rate" }, value).set("of", quoted(&written.name));
        block.set_if("tiers", tiers);
        let above_one = term.flag("above_one")?;
        // A price is no part of anything.
        block.set_if("above_one", (above_one && !is_units).then(|| "true".to_owned()));
        let Some(blocks) = term.object("block")? else { return Ok(()) };
        block.set("per_units", quoted(&blocks.text("size")?));
        let running = blocks.opt("of")?.as_deref() == Some("counter");
        let part = match (blocks.opt("part")?.as_deref(), running) {
            (Some("exact") | None, _) => "exact",
            (Some("none"), false) => "none",
            (Some("full" | "whole"), false) => "whole",
            (Some("none"), true) => "running",
            (Some("full" | "whole"), true) => "started",
            (Some(other), _) => return blocks.fault(format!("part \"{other}\"")),
        };
        block.set("part_block", quoted(part));
        let from = moment(&blocks, "counts_from")?;
        block.set_if("block_from", from.filter(|_| matches!(part, "running" | "started")));
        blocks.finish()
    }

    /// Whether a baseline is of each settlement period by itself.
    fn is_of_period(&mut self, baseline: &Object<'_>) -> Result<bool, Fault> {
        let window = baseline.opt("per")?.or(baseline.opt("reset")?).unwrap_or_else(|| "period".to_owned());
        let window = self.declared.window(&window, baseline, self.anchor.as_deref())?;
        Ok(!baseline.has("counts_from") && (window == "period" || Some(window) == self.period))
    }

    fn own_base(&mut self, term: &Object<'_>, above: Option<String>) -> Result<Written, Fault> {
        let Some(base) = term.object("base")? else { return term.fault("no base") };
        self.base(&format!("{} base", term.text("id")?), &base, above)
    }
}

/// How long an introduction of a customer holds, and whether the last one counts, as the base of a term says.
fn introduction(term: &Object<'_>) -> Result<(Option<String>, bool), Fault> {
    let Some(base) = term.object("base")? else { return Ok((None, false)) };
    for key in ["charges", "quantities"] {
        for selection in base.objects(key)? {
            if selection.has("introduced_by") {
                return introduction_of(&selection);
            }
        }
    }
    Ok((None, false))
}

pub fn exact(object: &Object<'_>, key: &str) -> Result<apportion::domain::money::Exact, Fault> {
    let text = object.text(key)?;
    text.parse().or_else(|_| object.fault(format!("{key}: {text} is no number")))
}

/// Whether a JSON value is one text.
pub fn is_text(value: Option<&Value>) -> bool {
    value.is_some_and(|value| text_of(value).is_some())
}
