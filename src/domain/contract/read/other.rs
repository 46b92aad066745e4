//! Reads what stands beside terms: facts, effects, open points, audit, interest, exchange rates, a version's end.

use super::super::beside::{
    Audit, AuditThreshold, Effect, FactDefinition, Interest, InterestFrom, Open, OpenWhat, Pick, Reaches, VersionEnd,
};
use super::super::fx::{FixedRate, FxDate, FxRule};
use super::super::problem::Problem;
use super::super::raw::{RawEffect, RawFact, RawFx, RawFxRate, RawOpen, RawValue};
use super::super::rights::{FactAttribute, FactKind};
use super::super::selector::Filter;
use super::super::window::WindowRule;
use super::right::RELEASE;
use super::value::{Kind, Want};
use super::window::{Edge, ordinals};
use super::{Parsed, Result, Scope, defined, length};
use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Length};
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

impl<'a> Scope<'a> {
    pub fn facts(&self) -> Result<BTreeMap<DefinedTerm, FactDefinition>> {
        let mut facts = BTreeMap::new();
        for (name, (file, fact)) in self.all(|raw| &raw.fact) {
            facts.insert(defined(name), self.fact(file, fact)?);
        }
        let waits = self.file.raw.right.values().map(Spanned::get_ref);
        if waits.into_iter().any(|right| right.first.is_some() && right.release.is_none()) {
            facts.entry(defined(RELEASE)).or_insert_with(|| FactDefinition {
                kind: FactKind::Event,
                by: None,
                about: BTreeSet::from([FactAttribute::Product, FactAttribute::Cloud]),
                names_party: false,
                pick: Pick::First,
                skip: 0,
                lasts: None,
                evidence: None,
            });
        }
        Ok(facts)
    }

    fn fact(&self, file: &'a Parsed, spanned: &'a Spanned<RawFact>) -> Result<FactDefinition> {
        let raw = spanned.get_ref();
        if raw.kind == FactKind::Status && (raw.skip > 0 || raw.lasts.is_some()) {
            return file.fail(&spanned.span(), Problem::StatusCounts);
        }
        Ok(FactDefinition {
            kind: raw.kind,
            by: raw.by.as_ref().map(|by| self.party(file, by)).transpose()?,
            about: raw.about.clone(),
            names_party: raw.value.is_some(),
            pick: raw.pick,
            skip: raw.skip,
            lasts: raw.lasts.as_ref().map(|text| length(file, text)).transpose()?,
            evidence: raw.evidence.clone(),
        })
    }

    /// A date, or rows of which the first whose facts hold decides.
    pub fn version_end(&self, value: &'a Spanned<RawValue>) -> Result<Vec<VersionEnd>> {
        let RawValue::List(rows) = value.get_ref() else {
            return Ok(vec![VersionEnd { when: Filter::default(), end: self.end_after_effective(value)? }]);
        };
        let mut ends = Vec::new();
        let mut is_whole = false;
        for written in rows {
            let RawValue::Row(row) = written.get_ref() else {
                return self.file.fail(&written.span(), Problem::NoRow);
            };
            if is_whole {
                return self.file.fail(&written.span(), Problem::AfterOtherwise);
            }
            let others = (&row.from, &row.through, &row.period, &row.up_to, &row.below);
            let (when, end) = match (others, &row.r#where, &row.is, &row.otherwise) {
                ((None, None, None, None, None), Some(filter), Some(end), None) => {
                    (self.filter(self.file, filter)?, end)
                }
                ((None, None, None, None, None), None, None, Some(end)) => {
                    is_whole = true;
                    (Filter::default(), end)
                }
                _ => return self.file.fail(&written.span(), Problem::Row),
            };
            ends.push(VersionEnd { when, end: self.end_after_effective(end)? });
        }
        match is_whole {
            true => Ok(ends),
            false => {
                let problem = Problem::RowsEnd { field: "through", example: "2030-12-31".to_owned() };
                self.file.fail(&value.span(), problem)
            }
        }
    }

    fn end_after_effective(&self, value: &'a Spanned<RawValue>) -> Result<Instant> {
        let from = self.instant("effective", self.file, &self.version.effective, Edge::Start)?;
        let end = self.instant("through", self.file, value, Edge::Through)?;
        match end <= from {
            true => {
                let [from, end] = [from, end].map(|at| self.local(at));
                self.file.fail(&value.span(), Problem::EndsBeforeStart { from, end })
            }
            false => Ok(end),
        }
    }

    pub fn effects(&self) -> Result<Vec<Effect>> {
        let effects = self.in_order(&self.file.raw.effect);
        effects.into_iter().map(|(name, effect)| self.effect(name, effect)).collect()
    }

    fn effect(&self, name: &str, spanned: &'a Spanned<RawEffect>) -> Result<Effect> {
        let (raw, file) = (spanned.get_ref(), self.file);
        let mut assumptions = Vec::new();
        self.note(&format!("effect {name}"), raw.provenance(), &mut assumptions);
        let when = raw.when.get_ref();
        let of = self.measure(file, &when.of.span(), when.of.get_ref())?;
        let unit = self.measured_in(&of, &mut Vec::new())?;
        let each = when.each.as_ref().map(|name| self.window(file, name)).transpose()?;
        let windows = each.as_ref().is_some_and(|each| *each != WindowRule::Term);
        let want = |field| Want { windows, ..Want::plain(field, Kind::of(unit.clone())) };
        let test = match (&when.reaches, &when.falls_below) {
            (Some(value), None) => Reaches::AtLeast(self.table(file, value, &want("reaches"), &mut assumptions)?),
            (None, Some(value)) => {
                Reaches::LessThan(self.table(file, value, &want("falls_below"), &mut assumptions)?)
            }
            _ => return file.fail(&raw.when.span(), Problem::EffectTest),
        };
        if let Some(period) = when.period.as_ref().filter(|_| !windows) {
            return file.fail(&period.span(), Problem::PeriodWithoutWindows);
        }
        Ok(Effect {
            name: defined(name),
            clause: file.document.clause_at(spanned.span().start),
            of,
            each,
            windows: when.period.as_ref().map(|it| ordinals(file, it)).transpose()?,
            over: when.over.as_ref().map(|text| length(file, text)).transpose()?,
            when: test,
            proposes: self.event_of_contract(file, &raw.proposes.span(), raw.proposes.get_ref())?,
            assumptions,
        })
    }

    pub fn opens(&self) -> Result<Vec<Open>> {
        self.in_order(&self.file.raw.open).into_iter().map(|(name, open)| self.open(name, open)).collect()
    }

    fn open(&self, name: &str, spanned: &Spanned<RawOpen>) -> Result<Open> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let what = match (&raw.agree, &raw.elsewhere) {
            (Some(words), None) => OpenWhat::Agree(words.clone()),
            (None, Some(place)) => OpenWhat::Elsewhere(place.clone()),
            _ => return self.file.fail(&at, Problem::OpenWhat),
        };
        if let Some(term) = &raw.replaces
            && !self.file.raw.term.contains_key(term.get_ref())
        {
            let known = self.file.raw.term.keys();
            return self.file.fail(&term.span(), super::unknown("term", term.get_ref(), known));
        }
        Ok(Open {
            name: defined(name),
            clause: self.file.document.clause_at(at.start),
            what,
            meanwhile: raw.meanwhile,
            replaces: raw.replaces.as_ref().map(|term| TermId::new(term.get_ref())),
        })
    }

    pub fn audit(&self) -> Result<Option<Audit>> {
        let Some((file, spanned)) = self.files().find_map(|file| Some((file, file.raw.audit.as_ref()?))) else {
            return Ok(None);
        };
        let raw = spanned.get_ref();
        let mut assumptions = Vec::new();
        self.note("audit", raw.provenance(), &mut assumptions);
        let window = raw.window.as_ref().map(|text| self.due(file, &text.span(), text.get_ref())).transpose()?;
        let threshold = match (&raw.threshold, raw.edge, raw.against, &raw.cost) {
            (None, None, None, None) => None,
            (Some(part), Some(edge), Some(against), Some(cost)) => {
                let want = Want::plain("threshold", Kind::Rate { above_one: false });
                Some(AuditThreshold {
                    part: self.number(file, part, &want, &mut assumptions)?,
                    edge,
                    against,
                    cost: self.party(file, cost)?,
                })
            }
            _ => return file.fail(&spanned.span(), Problem::AuditThreshold),
        };
        Ok(Some(Audit {
            clause: file.document.clause_at(spanned.span().start),
            window: window.map(|due| (due.after, due.what)),
            threshold,
            by: raw.by.as_ref().map(|by| self.party(file, by)).transpose()?,
            assumptions,
        }))
    }

    pub fn interest(&self) -> Result<Option<Interest>> {
        let Some((file, spanned)) = self.files().find_map(|file| Some((file, file.raw.interest.as_ref()?))) else {
            return Ok(None);
        };
        let raw = spanned.get_ref();
        let mut assumptions = Vec::new();
        self.note("interest", raw.provenance(), &mut assumptions);
        let want = Want::plain("rate", Kind::Rate { above_one: false });
        Ok(Some(Interest {
            clause: file.document.clause_at(spanned.span().start),
            rate: self.table(file, &raw.rate, &want, &mut assumptions)?,
            day_count: raw.day_count,
            from: match raw.from.get_ref().as_str() {
                "due" => InterestFrom::Due,
                fact => InterestFrom::Fact(self.event_of_contract(file, &raw.from.span(), fact)?),
            },
            each: raw.each.as_ref().map(|name| self.window(file, name)).transpose()?,
            assumptions,
        }))
    }

    pub fn fx(&self) -> Result<Option<FxRule>> {
        let found = self.files().find_map(|file| Some((file, file.raw.fx.as_ref()?)));
        found.map(|(file, fx)| self.fx_rule(file, fx)).transpose()
    }

    fn fx_rule(&self, file: &'a Parsed, spanned: &'a Spanned<RawFx>) -> Result<FxRule> {
        let raw = spanned.get_ref();
        let Some(source) = raw.provenance().source.cloned() else {
            return file.fail(&spanned.span(), Problem::FxSource);
        };
        let date = match raw.date.get_ref() {
            RawValue::Text(text) if text == "item" => FxDate::Item,
            RawValue::Text(text) if text == "period_end" => FxDate::PeriodEnd,
            RawValue::Date(_) => FxDate::On(self.date(file, &raw.date)?),
            _ => return file.fail(&raw.date.span(), Problem::FxDate),
        };
        let within_days = match raw.within.as_ref().map(|text| Ok((text, length(file, text)?))).transpose()? {
            None => 0,
            Some((_, Length::Days(days))) => days,
            Some((text, _)) => return file.fail(&text.span(), Problem::FxWithin),
        };
        let mut fixed = Vec::new();
        for written in &raw.rates {
            let RawFxRate { from, to, rate } = written.get_ref();
            let (from, to) = (self.unit(file, from)?, self.unit(file, to)?);
            let number = self.number(file, rate, &Want::plain("rate", Kind::Number), &mut Vec::new())?;
            if from == to || number <= Exact::zero() {
                return file.fail(&written.span(), Problem::FxRate);
            }
            fixed.push(FixedRate { from, to, rate: number });
        }
        let cross = raw.cross.as_ref().map(|unit| self.unit(file, unit)).transpose()?;
        Ok(FxRule { source, date, within_days, allows_inverse: raw.inverse, cross, fixed })
    }
}
