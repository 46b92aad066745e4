//! Reads what is measured: figures, bases and amounts.

use super::super::measure::{
    Amount, Base, FigureDefinition, FigureKind, Less, Measure, Missing, Reduction, Selection, Source, Threshold,
};
use super::super::parsed::{Parsed, unknown};
use super::super::problem::Problem;
use super::super::raw::{RawAbove, RawAmount, RawBase, RawFigure, RawFigureKind, RawLess, RawValue};
use super::super::window::WindowRule;
use super::node::NodeWant;
use super::unit::MeasuredIn;
use super::value::{Kind, Want};
use super::{Notes, Result, Scope, defined};
use crate::domain::ids::DefinedTerm;
use crate::domain::money::Exact;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

impl<'a> Scope<'a> {
    pub fn figures(&self) -> Result<BTreeMap<DefinedTerm, FigureDefinition>> {
        let mut read = BTreeMap::new();
        for (name, (file, figure)) in self.all(|raw| &raw.figure) {
            read.insert(defined(name), self.figure(file, figure)?);
        }
        Ok(read)
    }

    fn figure(&self, file: &'a Parsed, spanned: &'a Spanned<RawFigure>) -> Result<FigureDefinition> {
        let raw = spanned.get_ref();
        let over = raw.over.as_ref().map(|name| self.window(file, name)).transpose()?;
        let named = |name: &Spanned<String>| self.measure(file, &name.span(), name.get_ref());
        let derived = match (&raw.average_of, &raw.ratio_of, &raw.growth_of, &raw.left_of, over) {
            (None, None, None, None, _) => None,
            (Some(level), None, None, None, Some(over)) => {
                Some(FigureKind::Average { of: self.level(file, level)?, over })
            }
            (None, Some([of, to]), None, None, Some(over)) => {
                Some(FigureKind::Ratio { of: named(of)?, to: named(to)?, over })
            }
            (None, None, Some(of), None, Some(over)) => Some(FigureKind::Growth { of: named(of)?, over }),
            (None, None, None, Some(window), None) => Some(FigureKind::Left { of: self.window(file, window)? }),
            _ => return file.fail(&spanned.span(), Problem::DerivedFigure),
        };
        let unit = self.figure_unit(file, &raw.unit)?;
        let is_part = !matches!(derived, None | Some(FigureKind::Average { .. }));
        if is_part && unit.is_some() {
            return file.fail(&raw.unit.span(), Problem::RatioUnit);
        }
        let is_derived = derived.is_some();
        let missing = match (&raw.missing, is_derived) {
            (Some(text), false) => self.missing(file, text)?,
            // What it is made of says what holds while that is missing.
            (None, true) => Missing::Stop,
            (Some(text), true) => return file.fail(&text.span(), Problem::MissingOfDerived),
            (None, false) => return file.fail(&spanned.span(), Problem::NoMissing),
        };
        let reported = match raw.kind {
            RawFigureKind::Flow => FigureKind::Flow,
            RawFigureKind::Level => FigureKind::Level,
        };
        Ok(FigureDefinition {
            unit,
            kind: derived.unwrap_or(reported),
            by: raw.by.as_ref().map(|name| self.party(file, name)).transpose()?,
            about: self.attributes(file, &raw.about)?,
            missing,
            due: raw.due.as_ref().map(|text| self.due(file, &text.span(), text.get_ref())).transpose()?,
        })
    }

    fn missing(&self, file: &Parsed, text: &Spanned<String>) -> Result<Missing> {
        match text.get_ref().as_str() {
            "stop" => Ok(Missing::Stop),
            "zero" => Ok(Missing::Zero),
            "nothing" => Ok(Missing::Nothing),
            "last" => Ok(Missing::Last(Exact::from_integer(1))),
            other => {
                let part = other.strip_suffix("% of last").and_then(|part| Exact::from_written(part).ok());
                let hundredth = Exact::ratio(1, 100).unwrap_or_default();
                part.filter(|part| !part.is_negative()).map_or_else(
                    || file.fail(&text.span(), Problem::Missing),
                    |part| Ok(Missing::Last(part * hundredth)),
                )
            }
        }
    }

    /// A figure that is a level: it has a value at each instant.
    pub fn level(&self, file: &Parsed, name: &Spanned<String>) -> Result<DefinedTerm> {
        match self.find(|raw| &raw.figure, name.get_ref()) {
            Some((_, figure)) if figure.get_ref().kind == RawFigureKind::Level => Ok(defined(name.get_ref())),
            Some(_) => file.fail(&name.span(), Problem::NoLevel),
            None => file.fail(&name.span(), unknown("figure", name.get_ref(), self.all(|raw| &raw.figure).into_keys())),
        }
    }

    pub fn bases(&self) -> Result<BTreeMap<DefinedTerm, Base>> {
        let mut read = BTreeMap::new();
        for (name, (file, base)) in self.all(|raw| &raw.base) {
            read.insert(defined(name), self.base(file, name, base)?);
        }
        Ok(read)
    }

    fn base(&self, file: &'a Parsed, name: &'a str, spanned: &'a Spanned<RawBase>) -> Result<Base> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let mut assumptions = Vec::new();
        self.note(&format!("base {name}"), raw.provenance(), &mut assumptions);
        if raw.select.get_ref().is_empty() && raw.less.is_empty() {
            return file.fail(&raw.select.span(), Problem::EmptyBase);
        }
        let unit = self.measured_in(&Measure::Base(defined(name)), &mut Vec::new())?;
        let mut select: Vec<Selection> = Vec::new();
        for (at, selector) in raw.select.get_ref().items(&raw.select.span()) {
            let selection = self.selection(file, &at, selector)?;
            // Sales that two selections share count once; of a figure or an accrual each would count.
            if matches!(selection.of, Source::Of(_)) && select.contains(&selection) {
                return file.fail(&at, Problem::SelectedTwice);
            }
            select.push(selection);
        }
        let mut less = Vec::new();
        let mut seen = BTreeSet::new();
        for written in &raw.less {
            let read = self.less(file, written, &unit, &mut assumptions)?;
            if let Reduction::Deductions(categories) = &read.what
                && let Some(category) = categories.iter().find(|it| !seen.insert((*it).clone()))
            {
                return file.fail(&written.span(), Problem::RepeatedDeduction { category: category.clone() });
            }
            less.push(read);
        }
        let above = raw.above.as_ref().map(|above| self.above(file, above, &unit, &mut assumptions)).transpose()?;
        if above.is_some() && raw.below_zero != super::super::measure::BelowZero::Keep {
            return file.fail(&at, Problem::AboveAndBelowZero);
        }
        let basis = raw.basis.as_ref().map(|basis| *basis.get_ref()).unwrap_or_default();
        let (name, is_number, below_zero) = (defined(name), unit.is_none(), raw.below_zero);
        Ok(Base { name, is_number, select, less, basis, below_zero, above, assumptions })
    }

    fn less(
        &self,
        file: &'a Parsed,
        spanned: &'a Spanned<RawLess>,
        unit: &MeasuredIn,
        noted: &mut Notes,
    ) -> Result<Less> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let accrual = raw.accrual.as_ref().map(|name| self.accrual(file, name, raw.r#as.as_ref()));
        let named = [(&raw.figure, "figure"), (&raw.base, "base"), (&raw.amount, "amount")];
        let named = named.into_iter().filter_map(|(name, kind)| Some(self.named_as(file, name.as_ref()?, kind)));
        let measures: Vec<Measure> = accrual.into_iter().chain(named).collect::<Result<_>>()?;
        let has_node = !raw.node().is_empty();
        let what = match (&raw.deductions, measures.as_slice(), has_node) {
            (Some(categories), [], false) => {
                if categories.get_ref().is_empty() {
                    return file.fail(&categories.span(), Problem::NoValues);
                }
                Reduction::Deductions(categories.get_ref().clone())
            }
            (None, [measure], false) => {
                let found = self.measured_in(measure, &mut Vec::new())?;
                self.check_fits(file, &at, &found, unit)?;
                Reduction::Node(super::node::whole(measure.clone()))
            }
            (None, [], true) => {
                let want = NodeWant { unit: unit.clone(), bands: None, windows: false, above_one: false };
                let node = self.node(file, &at, raw.node(), &want, noted)?;
                if node.has_fixed() {
                    return file.fail(&at, Problem::FixedInBase);
                }
                Reduction::Node(node)
            }
            _ => return file.fail(&at, Problem::LessKind),
        };
        let Some(place) = raw.at else {
            let what = match &what {
                Reduction::Deductions(categories) => format!("a {}", categories.join(" or ")),
                Reduction::Node(_) => "it".to_owned(),
            };
            return file.fail(&at, Problem::NoPlace { what });
        };
        Ok(Less { what, at: place })
    }

    fn above(
        &self,
        file: &'a Parsed,
        spanned: &'a Spanned<RawAbove>,
        unit: &MeasuredIn,
        noted: &mut Notes,
    ) -> Result<Threshold> {
        let raw = spanned.get_ref();
        let of = raw.of.as_ref().map(|name| self.measure(file, &name.span(), name.get_ref())).transpose()?;
        let counted = match &of {
            Some(measure) => self.measured_in(measure, &mut Vec::new())?,
            None => unit.clone(),
        };
        let counting = self.counting(file, &raw.each, &raw.from)?;
        let windows = counting.each != WindowRule::Term;
        let want = Want { windows, ..Want::not_negative("above", Kind::of(counted)) };
        Ok(Threshold {
            is: self.table(file, &raw.is, &want, noted)?,
            counting,
            of,
            per: self.attributes(file, &raw.per)?,
        })
    }

    pub fn amounts(&self) -> Result<BTreeMap<DefinedTerm, Amount>> {
        let mut read = BTreeMap::new();
        for (name, (file, amount)) in self.all(|raw| &raw.amount) {
            read.insert(defined(name), self.amount(file, name, amount)?);
        }
        Ok(read)
    }

    fn amount(&self, file: &'a Parsed, name: &'a str, spanned: &'a Spanned<RawAmount>) -> Result<Amount> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let mut assumptions = Vec::new();
        self.note(&format!("amount {name}"), raw.provenance(), &mut assumptions);
        let unit = self.measured_in(&Measure::Amount(defined(name)), &mut Vec::new())?;
        let each = raw.each.as_ref().map(|name| self.window(file, name)).transpose()?;
        let (tiers, bands) = self.tiers_beside(file, raw.tiers.as_ref(), raw.node(), &unit, each.as_ref())?;
        let windows = each.as_ref().is_some_and(|each| *each != WindowRule::Item);
        let want = NodeWant { unit: unit.clone(), bands, windows, above_one: true };
        let node = self.node(file, &at, raw.node(), &want, &mut assumptions)?;
        self.check_bands(file, &at, tiers.as_ref(), Some(&node))?;
        if each.is_none() && (node.has_comparison() || node.has_fixed()) {
            return file.fail(&at, Problem::NoWindow);
        }
        let life = self.life(file, &at, (raw.from.as_ref(), raw.through.as_ref()), raw.until.as_ref())?;
        Ok(Amount {
            name: defined(name),
            node,
            unit,
            life,
            each,
            per: self.attributes(file, &raw.per)?,
            tiers,
            pro_rata: super::window::stated(raw.pro_rata.as_ref()).or(self.head.pro_rata),
            assumptions,
        })
    }

    /// Every parameter is a value of some kind, whether or not a term uses it yet.
    pub fn check_parameters(&self) -> Result<()> {
        for (file, parameter) in self.all(|raw| &raw.parameter).into_values() {
            let raw = parameter.get_ref();
            if let Some(by) = &raw.set_by {
                self.party(file, by)?;
            }
            if matches!(raw.value.get_ref(), RawValue::Other) {
                let at = raw.value.span();
                let write = format!("\"{}\"", file.document.text.get(at.clone()).unwrap_or_default());
                return file.fail(&at, Problem::Unquoted { field: "value", write });
            }
        }
        Ok(())
    }
}
