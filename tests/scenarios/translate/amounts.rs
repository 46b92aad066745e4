//! Comparisons, minima, commitments, caps, advances, fixed sums, service credits, baselines, and conversion.

use super::base::Written;
use super::declared::{Declared, moment};
use super::names::Names;
use super::rate::{Number, Rated, amount};
use super::term::{Terms, exact, is_text};
use crate::json::{Fault, Object};
use crate::toml_text::{Block, field, list, quoted, table};
use apportion::domain::money::Exact;
use serde_json::Value;
use std::collections::BTreeMap;

/// How a window that is cut is treated, in the language's words; nothing of one that nothing cuts.
fn partial(object: &Object<'_>, window: &str) -> Result<Option<String>, Fault> {
    let partial = match object.opt("partial")?.as_deref() {
        None => None,
        Some("full") => Some("full".to_owned()),
        Some("days" | "prorata_days") => Some("days".to_owned()),
        Some("months" | "prorata_months") => Some("months".to_owned()),
        Some("none") => Some("none".to_owned()),
        Some(other) => return object.fault(format!("partial \"{other}\"")),
    };
    Ok(partial.filter(|_| !matches!(window, "term" | "item")))
}

/// The sums of a term by their dates; nothing where one has no date, or two have the same.
fn dated(sums: &[Object<'_>]) -> Result<Option<BTreeMap<String, String>>, Fault> {
    let mut dated = BTreeMap::new();
    for sum in sums {
        let dates = dates(sum)?;
        let amount = sum.text("amount")?;
        if dates.is_empty() || dates.iter().any(|on| dated.insert(on.clone(), amount.clone()).is_some()) {
            return Ok(None);
        }
    }
    Ok(Some(dated))
}

/// When a sum is owed, where its dates are stated.
fn dates(sum: &Object<'_>) -> Result<Vec<String>, Fault> {
    if sum.get("on").is_some_and(Value::is_array) {
        return sum.texts("on");
    }
    Ok(moment(sum, "on")?.or(moment(sum, "date")?).into_iter().collect())
}

/// Whether a term is several sums, each of which needs a name.
pub fn is_several_sums(term: &Object<'_>) -> Result<bool, Fault> {
    let sums = term.objects("fixed")?;
    Ok(sums.len() > 1 && dated(&sums)?.is_none())
}

impl Terms<'_> {
    /// The greater or lesser of amounts, terms and figures over a window.
    pub fn comparison(
        &mut self,
        way: &str,
        id: &str,
        comparison: &Object<'_>,
        block: &mut Block,
        (unit, groups): (Option<&str>, &[String]),
    ) -> Result<(), Fault> {
        let per = comparison.text("per")?;
        let window = self.declared.window(&per, comparison, self.anchor.as_deref())?;
        block.set("each", quoted(&window));
        let mut nodes = Vec::new();
        let parts = comparison.objects("of")?;
        let bases: Vec<&Value> = parts.iter().filter(|of| !of.has("amount")).filter_map(|of| of.get("base")).collect();
        let mut numbers = self.declared.numbers(&format!("{id} part"), &bases).into_iter();
        for of in &parts {
            let node = if of.has("amount") {
                let unit = of.opt("currency")?.or(unit.map(str::to_owned));
                field("fixed", quoted(&amount(&of.text("amount")?, unit.as_deref())))
            } else if let Some(base) = of.object("base")? {
                let name = format!("{id} part {}", numbers.next().unwrap_or_default());
                nodes.push(self.part(of, &base, &name, (unit, groups))?);
                of.finish()?;
                continue;
            } else if of.has("figure") {
                let missing = of.opt("missing")?.unwrap_or_else(|| "stop".to_owned());
                let figure = of.text("figure")?;
                field("of", quoted(&self.declared.figure(self.names, &figure, &missing, unit, false)))
            } else {
                field("of", quoted(&of.text("term")?))
            };
            of.finish()?;
            nodes.push(table(&[node]));
        }
        block.set(way, list(nodes));
        block.set_if("pro_rata", partial(comparison, &window)?.as_deref().map(quoted));
        if comparison.has("at_window_end") {
            block.set("at_window_end", comparison.flag("at_window_end")?.to_string());
        }
        comparison.finish()
    }

    /// A share or price within a comparison; one with tiers is an amount of its own.
    fn part(
        &mut self,
        of: &Object<'_>,
        base: &Object<'_>,
        name: &str,
        (unit, groups): (Option<&str>, &[String]),
    ) -> Result<String, Fault> {
        let written = self.base(name, base, None)?;
        let (way, number) = if written.is_units { ("price", Number::Price(unit)) } else { ("rate", Number::Part) };
        let Some(Rated { value, tiers }) = self.rated(of, number, unit)? else { return of.fault("no rate") };
        let Some(tiers) = tiers else {
            return Ok(table(&[field(way, value), field("of", quoted(&written.name))]));
        };
        let name = format!("{name} in tiers");
        let mut block = Block::new("amount", &name);
        block.set(way, value).set("of", quoted(&written.name)).set("tiers", tiers);
        block.set_if("in", unit.map(quoted));
        if !groups.is_empty() {
            block.set("per", list(groups.iter().map(|it| quoted(it))));
        }
        self.blocks.push(block);
        Ok(table(&[field("of", quoted(&name))]))
    }

    /// A minimum of the term's own accruals, or of the spend of a base.
    pub fn minimum(&mut self, minimum: &Object<'_>, unit: Option<&str>, of: Option<&str>) -> Result<String, Fault> {
        let per = minimum.text("per")?;
        let window = self.declared.window(&per, minimum, self.anchor.as_deref())?;
        let mut fields = vec![field("each", quoted(&window))];
        let amounts = minimum.texts("amounts")?;
        let is = if is_text(minimum.get("amount")) || amounts.is_empty() {
            quoted(&amount(&minimum.text("amount")?, unit))
        } else {
            // The first window's, the second's, and the last one's from then on.
            let rows = amounts.iter().enumerate().map(|(at, text)| {
                let value = quoted(&amount(text, unit));
                if at + 1 == amounts.len() {
                    return table(&[field("otherwise", value)]);
                }
                table(&[field("period", (at + 1).to_string()), field("is", value)])
            });
            list(rows)
        };
        fields.push(field("is", is));
        fields.extend(of.map(|base| field("of", quoted(base))));
        match minimum.opt("mode")?.as_deref() {
            None | Some("period" | "per_period") => {}
            Some("cumulative") => fields.push(field("cumulative", "true")),
            Some(other) => return minimum.fault(format!("mode \"{other}\"")),
        }
        match minimum.opt("carry_forward")?.as_deref() {
            None | Some("none") => {}
            Some(carry @ ("excess" | "shortfall")) => fields.push(field("carry", quoted(carry))),
            Some(other) => return minimum.fault(format!("carry_forward \"{other}\"")),
        }
        if let Some(limit) = minimum.opt("limit")? {
            let limit = if limit.ends_with('%') { limit } else { amount(&limit, unit) };
            fields.push(field("carry_limit", quoted(&limit)));
        }
        for key in ["windows", "carry_for", "for_windows"] {
            fields.extend(minimum.opt(key)?.map(|count| field("carry_for", count)));
        }
        if minimum.flag("outside_cap")? {
            fields.push(field("outside_cap", "true"));
        }
        fields.extend(partial(minimum, &window)?.map(|it| field("pro_rata", quoted(&it))));
        minimum.finish()?;
        Ok(table(&fields))
    }

    /// A cap, of one term or shared.
    pub fn cap(&mut self, cap: &Object<'_>, unit: Option<&str>) -> Result<Vec<(String, String)>, Fault> {
        let unit = cap.opt("currency")?.or(unit.map(str::to_owned));
        let unit = unit.as_deref();
        let reset = cap.opt("reset")?.unwrap_or_else(|| "never".to_owned());
        let opening = cap.opt("opening")?.unwrap_or_else(|| "0".to_owned());
        let window = self.declared.window(&reset, cap, self.anchor.as_deref())?;
        let is = quoted(&amount(&cap.text("amount")?, unit));
        let mut fields = vec![field("is", is), field("each", quoted(&window))];
        fields.extend(moment(cap, "counts_from")?.map(|from| field("from", from)));
        fields.push(field("opening", quoted(&amount(&opening, unit))));
        let excess = cap.opt("excess")?.unwrap_or_else(|| "lost".to_owned());
        fields.push(field("excess", quoted(&excess)));
        let whole = (self.names.refusal.is_none() && window != "term").then(|| "full".to_owned());
        fields.extend(partial(cap, &window)?.or(whole).map(|it| field("pro_rata", quoted(&it))));
        cap.finish()?;
        Ok(fields)
    }

    /// What is paid in advance; the terms that pay it back were told before.
    pub fn advance(&mut self, advance: &Object<'_>, block: &mut Block, unit: Option<&str>) -> Result<(), Fault> {
        let mut paid: BTreeMap<String, Exact> = BTreeMap::new();
        for payment in advance.objects("paid")? {
            let Some(on) = moment(&payment, "on")? else { return payment.fault("no on") };
            *paid.entry(on).or_default() += &exact(&payment, "amount")?;
            payment.finish()?;
        }
        let paid: Vec<_> = paid.into_iter().map(|(on, sum)| (on, sum.to_string())).collect();
        self.dated_sums(&paid, block, unit);
        advance.pass(&["recoup_from", "rest", "limit"]);
        advance.finish()
    }

    /// Sums at dates: one number, or a row for each date.
    fn dated_sums(&self, paid: &[(String, String)], block: &mut Block, unit: Option<&str>) {
        let value = |text: &str| quoted(&amount(text, unit));
        let same = paid.iter().all(|(_, text)| Some(text) == paid.first().map(|(_, first)| first));
        let fixed = match paid.last() {
            Some((_, last)) if same => value(last),
            Some((_, last)) => {
                let before = &paid[..paid.len() - 1];
                let rows = before.iter().map(|(on, text)| table(&[field("through", on), field("is", value(text))]));
                list(rows.chain([table(&[field("otherwise", value(last))])]))
            }
            None => value("0"),
        };
        let dates: Vec<String> = paid.iter().map(|(on, _)| on.clone()).collect();
        let on = if let [one] = dates.as_slice() { one.clone() } else { list(dates) };
        block.set("fixed", fixed).set("on", on);
    }

    /// Sums once at a fact, at dates, or each window.
    pub fn fixed(&mut self, term: &Object<'_>, block: &mut Block, unit: Option<&str>) -> Result<(), Fault> {
        let sums = term.objects("fixed")?;
        let dated = dated(&sums)?;
        if self.declared.sums.contains(&term.text("id")?) {
            self.several_sums(term, &sums, block, unit)?;
        } else if let Some(dated) = dated.filter(|dated| !dated.is_empty()) {
            self.dated_sums(&dated.into_iter().collect::<Vec<_>>(), block, unit);
        } else if let [sum] = sums.as_slice() {
            self.fixed_sum(sum, block, unit)?;
        }
        sums.iter().try_for_each(Object::finish)
    }

    /// One sum, at a date, at a fact, or each window.
    fn fixed_sum(&mut self, sum: &Object<'_>, block: &mut Block, unit: Option<&str>) -> Result<(), Fault> {
        block.set("fixed", quoted(&amount(&sum.text("amount")?, unit)));
        let dates = dates(sum)?;
        if let [one] = dates.as_slice() {
            block.set("on", one.clone());
        } else if !dates.is_empty() {
            block.set("on", list(dates));
        } else if sum.has("fact") {
            let fact = self.declared.fact(self.names, &sum.text("fact")?, false);
            block.set("on", quoted(&fact)).set_if("at_most", sum.opt("max")?);
        } else {
            let window = self.declared.window(&sum.text("per")?, sum, self.anchor.as_deref())?;
            block.set("each", quoted(&window));
            block.set_if("pro_rata", partial(sum, &window)?.as_deref().map(quoted));
        }
        Ok(())
    }

    /// Sums at several facts, dates or windows: each is only an input, and the term is all of them.
    fn several_sums(
        &mut self,
        term: &Object<'_>,
        sums: &[Object<'_>],
        block: &mut Block,
        unit: Option<&str>,
    ) -> Result<(), Fault> {
        let id = term.text("id")?;
        let payee = self.names.parties.iter().find(|party| **party != self.payer).cloned().unwrap_or_default();
        let mut select = Vec::new();
        let stated: Vec<&Value> = match term.get("fixed") {
            Some(Value::Array(list)) => list.iter().collect(),
            one => one.into_iter().collect(),
        };
        let numbers = self.declared.numbers(&format!("{id} sum"), &stated);
        for (number, sum) in numbers.into_iter().zip(sums) {
            let name = format!("{id} sum {number}");
            let mut own = Block::new("term", &name);
            own.set("input", "true").set_text("payer", &self.payer).set_text("payee", &payee);
            own.set_if("in", unit.map(quoted));
            self.life(term, &mut own)?;
            self.fixed_sum(sum, &mut own, unit)?;
            self.blocks.push(own);
            let accrual = quoted(&format!("{}/{name}", self.contract));
            select.push(table(&[field("accrual", accrual), field("as", quoted("owed"))]));
        }
        let mut base = Block::new("base", &format!("{id} sums"));
        base.set("select", list(select));
        self.blocks.push(base);
        block.set_text("rate", "100%").set_text("of", &format!("{id} sums"));
        Ok(())
    }

    /// A rate by the band of a reported figure; without the figure there is no credit.
    pub fn service_credit<'o>(
        &mut self,
        term: &Object<'o>,
        credit: &Object<'o>,
        block: &mut Block,
    ) -> Result<(), Fault> {
        let missing = credit.opt("missing")?.unwrap_or_else(|| "nothing".to_owned());
        let figure = self.declared.figure(self.names, &credit.text("figure")?, &missing, None, false);
        let per = credit.opt("per")?.unwrap_or_else(|| "period".to_owned());
        let window = self.declared.window(&per, credit, self.anchor.as_deref())?;
        let (outer, inner) = (term.object("base")?, credit.object("base")?);
        let Some(base) = outer.as_ref().or(inner.as_ref()) else { return term.fault("no base") };
        let written = self.base(&format!("{} base", term.text("id")?), base, None)?;
        let edge_in = self.declared.unit_of(&figure);
        block.set("of", quoted(&written.name));
        block.set("rate", self.steps(credit, Number::Part, edge_in.as_deref())?);
        let tiers = [
            field("apply", quoted("level")),
            field("of", quoted(&figure)),
            field("read", quoted("window_end")),
            field("each", quoted(&window)),
        ];
        block.set("tiers", table(&tiers)).set("each", quoted(&window));
        block.set_if("above_one", term.flag("above_one")?.then(|| "true".to_owned()));
        credit.finish()
    }

    /// A stated baseline: what lies above it in each window.
    pub fn stated_baseline(
        &mut self,
        baseline: &Object<'_>,
        unit: Option<&str>,
        per: &[String],
    ) -> Result<String, Fault> {
        let window = baseline.opt("per")?.or(baseline.opt("reset")?).unwrap_or_else(|| "period".to_owned());
        baseline.pass(&["partial"]);
        let mut fields = vec![
            field("is", quoted(&amount(&baseline.text("amount")?, unit))),
            field("each", quoted(&self.declared.window(&window, baseline, self.anchor.as_deref())?)),
        ];
        let from = moment(baseline, "counts_from")?.or(self.anchor.clone());
        fields.extend(from.map(|from| field("from", from)));
        if !per.is_empty() {
            fields.push(field("per", list(per.iter().map(|it| quoted(it)))));
        }
        baseline.finish()?;
        Ok(table(&fields))
    }

    /// Only what lies over a baseline counts: a base less it, and nothing below zero.
    pub fn baseline(
        &mut self,
        over: &Written,
        baseline: &Object<'_>,
        unit: Option<&str>,
        per: &[String],
    ) -> Result<Written, Fault> {
        let name = format!("{} over baseline", over.name);
        let less = if baseline.has("figure") {
            // It is of the periods for which it is reported, whole.
            baseline.pass(&["per", "reset", "partial"]);
            let missing = baseline.opt("missing")?.unwrap_or_else(|| "stop".to_owned());
            let figure = baseline.text("figure")?;
            field("figure", quoted(&self.declared.figure(self.names, &figure, &missing, unit, false)))
        } else {
            let window = baseline.opt("per")?.or(baseline.opt("reset")?).unwrap_or_else(|| "period".to_owned());
            let window = self.declared.window(&window, baseline, self.anchor.as_deref())?;
            let mut block = Block::new("amount", &format!("{name} amount"));
            block.set("fixed", quoted(&amount(&baseline.text("amount")?, unit))).set("each", quoted(&window));
            block.set_if("from", moment(baseline, "counts_from")?);
            if !per.is_empty() {
                block.set("per", list(per.iter().map(|it| quoted(it))));
            }
            block.set_if("pro_rata", partial(baseline, &window)?.as_deref().map(quoted));
            self.blocks.push(block);
            field("amount", quoted(&format!("{name} amount")))
        };
        let mut block = Block::new("base", &name);
        block.set("select", table(&[field("base", quoted(&over.name))]));
        block.set("less", list([table(&[less, field("at", quoted("own_date"))])]));
        block.set("below_zero", quoted(&baseline.opt("below_zero")?.unwrap_or_else(|| "zero".to_owned())));
        baseline.finish()?;
        self.blocks.push(block);
        Ok(Written { name, is_units: over.is_units })
    }
}

impl Declared {
    /// Conversion: rates by source and date, or stated ones.
    pub fn convert(&mut self, names: &Names, contract: &str, fx: &Object<'_>) -> Result<(), Fault> {
        let rule = fx.opt("date_rule")?;
        if let Some(rates) = fx.object("rates")? {
            for pair in rates.keys() {
                let rate = exact(&rates, pair)?;
                let Some((from, to)) = pair.split_once(['/', '>']) else { return rates.fault(format!("pair {pair}")) };
                if names.units.contains_key(to) {
                    // So many for one of money is the worth of one the other way round.
                    let worth = Exact::from_integer(1).checked_div(&rate);
                    self.unit(to, worth.map(|worth| format!("{worth} {from}")))?;
                    continue;
                }
                let of_pair = (from.to_owned(), to.to_owned());
                if self.stated_rates.insert(of_pair, rate.clone()).is_some_and(|known| known != rate) {
                    return rates.fault(format!("{pair}: a contract of the language states one rate of it"));
                }
            }
            rates.finish()?;
        }
        let date = match rule.as_deref() {
            Some("occurrence_date") | None => quoted("item"),
            Some("period_end") => quoted("period_end"),
            Some("fixed") if fx.has("date") => moment(fx, "date")?.unwrap_or_default(),
            // What is stated needs neither source nor date.
            Some("fixed") => {
                fx.pass(&["source", "fallback_days"]);
                return fx.finish();
            }
            Some(other) => return fx.fault(format!("date_rule \"{other}\"")),
        };
        let source = fx.opt("source")?.unwrap_or_else(|| format!("stated by {contract}"));
        let mut block = Block::unnamed("fx");
        block.set_text("source", &source).set("date", date);
        let within = fx.opt("fallback_days")?.filter(|days| days != "0");
        block.set_if("within", within.map(|days| quoted(&format!("{days} day{}", if days == "1" { "" } else { "s" }))));
        for (key, name) in [("inverse", "inverse"), ("allow_inverse", "inverse")] {
            block.set_if(name, fx.flag(key)?.then(|| "true".to_owned()));
        }
        fx.finish()?;
        match &self.fx {
            Some(known) if *known != block => Err(format!("{}: a contract of the language has one [fx]", fx.place)),
            _ => {
                self.fx = Some(block);
                Ok(())
            }
        }
    }
}
