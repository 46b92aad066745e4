//! Reads what limits terms: caps, minima, and credits against what they yield.

use super::super::Version;
use super::super::parsed::{Parsed, unknown};
use super::super::problem::Problem;
use super::super::raw::{Named, RawCap, RawMinimum, RawTerm, RawValue};
use super::super::term::{Cap, Carry, CarryLimit, Credit, Minimum};
use super::super::value::Cell;
use super::super::window::WindowRule;
use super::meant::check_cut;
use super::value::{Kind, Want};
use super::window::stated;
use super::{Notes, Result, Scope, defined};
use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::money::{Exact, Unit};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

impl<'a> Scope<'a> {
    pub fn shared_caps(&self) -> Result<BTreeMap<DefinedTerm, Cap>> {
        let mut caps = BTreeMap::new();
        for (name, (file, cap)) in self.all(|raw| &raw.cap) {
            caps.insert(defined(name), self.shared_cap(file, cap, &mut Vec::new())?);
        }
        Ok(caps)
    }

    fn shared_cap(&self, file: &'a Parsed, cap: &'a Spanned<RawCap>, noted: &mut Notes) -> Result<Cap> {
        let unit = cap.get_ref().r#in.as_ref();
        let unit = unit.map_or_else(|| Ok(self.currency()), |unit| self.unit(file, unit))?;
        self.cap(file, &cap.span(), cap.get_ref(), &unit, noted)
    }

    /// A term's own cap is kept under the term's name; a shared one is named.
    pub fn term_cap(
        &self,
        term: &str,
        written: &'a Spanned<Named<RawCap>>,
        raw: &'a RawTerm,
        unit: &Unit,
        version: &mut Version,
        noted: &mut Notes,
    ) -> Result<DefinedTerm> {
        let at = written.span();
        match written.get_ref() {
            Named::Name(name) => match self.find(|raw| &raw.cap, name) {
                Some((file, cap)) => {
                    self.note(&format!("cap {name}"), cap.get_ref().provenance(), noted);
                    // What its values rest on, each term under it does.
                    self.shared_cap(file, cap, noted)?;
                    Ok(defined(name))
                }
                None => self.file.fail(&at, unknown("cap", name, self.all(|raw| &raw.cap).into_keys())),
            },
            Named::Inline(own) => {
                if self.find(|raw| &raw.cap, term).is_some() {
                    let name = term.to_owned();
                    return self
                        .file
                        .fail(&at, Problem::TwoKinds { name, kind: "shared cap", other: "term with its own" });
                }
                if own.r#in.is_some() {
                    return self.file.fail(&at, Problem::UnitOfOwnCap);
                }
                let mut cap = self.cap(self.file, &at, own, unit, noted)?;
                if cap.per.is_empty() {
                    cap.per = self.attributes(self.file, &raw.per)?;
                }
                version.caps.insert(defined(term), cap);
                Ok(defined(term))
            }
        }
    }

    fn cap(&self, file: &'a Parsed, at: &Range<usize>, raw: &'a RawCap, unit: &Unit, noted: &mut Notes) -> Result<Cap> {
        let counting = self.counting(file, &raw.each, &raw.from)?;
        if counting.each == WindowRule::Item {
            return file.fail(&raw.each.span(), Problem::CapOfItem);
        }
        let pro_rata = stated(raw.pro_rata.as_ref());
        self.check_pro_rata(file, (at, "the cap"), &counting.each, pro_rata)?;
        if self.is_new() {
            check_cut(file, raw.pro_rata.as_ref(), std::iter::once(&counting.each))?;
        }
        let kind = Kind::In(unit.clone());
        let windows = counting.each != WindowRule::Term;
        let limit = self.table(file, &raw.is, &Want { windows, ..Want::plain("cap", kind.clone()) }, noted)?;
        if let RawValue::Text(name) = raw.from.get_ref()
            && let Some((_, parameter)) = self.find(|raw| &raw.parameter, name)
        {
            self.note(name, parameter.get_ref().provenance(), noted);
        }
        let opening = self.number(file, &raw.opening, &Want::plain("opening", kind), noted)?;
        if opening.is_negative() {
            return file.fail(&raw.opening.span(), Problem::OpeningNegative);
        }
        let numbers = limit.cells().into_iter().map(|cell| match cell {
            Cell::Number(number) => Some(number.clone()),
            _ => None,
        });
        let greatest: Option<Vec<Exact>> = numbers.collect();
        if let Some(limit) = greatest.and_then(|numbers| numbers.into_iter().max())
            && opening > limit
        {
            return file.fail(&raw.opening.span(), Problem::OpeningAboveCap { opening, limit });
        }
        Ok(Cap {
            limit,
            unit: unit.clone(),
            counting,
            opening,
            excess: raw.excess,
            per: self.attributes(file, &raw.per)?,
            pro_rata: pro_rata.or(self.head.pro_rata),
        })
    }

    pub fn minimum(
        &self,
        spanned: &'a Spanned<RawMinimum>,
        term: &'a RawTerm,
        unit: &Unit,
        noted: &mut Notes,
    ) -> Result<Minimum> {
        let (raw, at, file) = (spanned.get_ref(), spanned.span(), self.file);
        let each = self.window(file, &raw.each)?;
        if each == WindowRule::Item {
            return file.fail(&raw.each.span(), Problem::MinimumOfItem);
        }
        let pro_rata = stated(raw.pro_rata.as_ref()).or(stated(term.pro_rata.as_ref()));
        self.check_pro_rata(file, (&at, "the minimum"), &each, pro_rata)?;
        let kind = Kind::In(unit.clone());
        let mut of = Vec::new();
        for (at, name) in raw.of.as_ref().map(Self::names).unwrap_or_default() {
            let measure = self.measure(file, &at, name)?;
            let found = self.measured_in(&measure, &mut Vec::new())?;
            self.check_fits(file, &at, &found, &Some(unit.clone()))?;
            of.push(measure);
        }
        if of.is_empty() && term.node().is_empty() {
            return file.fail(&at, Problem::MinimumOfNothing);
        }
        let limit = raw.carry_limit.as_ref().map(|it| self.carry_limit(it, &kind, noted)).transpose()?;
        if raw.carry == Carry::None && (limit.is_some() || raw.carry_for.is_some()) {
            return file.fail(&at, Problem::NothingCarried);
        }
        if raw.carry != Carry::None && raw.cumulative {
            return file.fail(&at, Problem::CumulativeCarry);
        }
        let windows = each != WindowRule::Term;
        Ok(Minimum {
            is: self.table(file, &raw.is, &Want { windows, ..Want::not_negative("minimum", kind) }, noted)?,
            each,
            of,
            is_cumulative: raw.cumulative,
            carry: raw.carry,
            carry_limit: limit,
            carry_windows: raw.carry_for.as_ref().map(|it| *it.get_ref()),
            shortfall: raw.shortfall,
            is_outside_cap: raw.outside_cap,
            pro_rata: pro_rata.or(self.head.pro_rata),
            due: raw.due.as_ref().map(|it| self.due_named(&it.span(), it.get_ref(), noted)).transpose()?,
        })
    }

    fn carry_limit(&self, value: &'a Spanned<RawValue>, kind: &Kind, noted: &mut Notes) -> Result<CarryLimit> {
        let is_part = matches!(value.get_ref(), RawValue::Text(text) if text.ends_with('%') || text.contains('/'));
        if is_part {
            let want = Want::plain("carry_limit", Kind::Rate { above_one: false });
            return self.number(self.file, value, &want, noted).map(CarryLimit::Part);
        }
        self.number(self.file, value, &Want::not_negative("carry_limit", kind.clone()), noted).map(CarryLimit::Amount)
    }

    pub fn credits(&self, raw: &'a RawTerm, noted: &mut Notes) -> Result<Vec<Credit>> {
        let unit = raw.r#in.as_ref().map_or_else(|| Ok(self.currency()), |unit| self.unit(self.file, unit))?;
        let mut credits: Vec<Credit> = Vec::new();
        for credit in &raw.credits {
            let written = credit.get_ref();
            let of = &written.of;
            if !self.file.raw.term.contains_key(of.get_ref()) {
                return self.file.fail(&of.span(), unknown("term", of.get_ref(), self.file.raw.term.keys()));
            }
            if credits.iter().any(|it| it.of.as_str() == of.get_ref()) {
                return self.file.fail(&of.span(), Problem::CreditTwice);
            }
            let want = Want::plain("limit", Kind::In(unit.clone()));
            let limit = written.limit.as_ref().map(|limit| self.table(self.file, limit, &want, noted)).transpose()?;
            credits.push(Credit { of: TermId::new(of.get_ref()), rest: written.rest, limit });
        }
        Ok(credits)
    }
}
