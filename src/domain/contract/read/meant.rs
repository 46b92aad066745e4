//! Refuses what would mean nothing where it stands, or something else than it says.

use super::super::Version;
use super::super::measure::{
    Base, Basis, FigureDefinition, FigureKind, Measure, Missing, Node, NodeKind, Reduction, Source,
};
use super::super::parsed::Parsed;
use super::super::problem::Problem;
use super::super::raw::{RawBase, RawTerm};
use super::super::selector::Attribute;
use super::super::term::{Apply, Read, Rest, Term, Tiers};
use super::super::unmeant::Unmeant;
use super::super::value::{Cell, Condition, Table};
use super::super::whole::{is_looked_up, is_of_window, untold};
use super::super::window::{Counting, Moment, ProRata, WindowRule};
use super::{Result, Scope, defined};
use crate::domain::ids::TermId;
use crate::domain::money::Exact;
use crate::domain::period::{Length, start_of_day};
use std::ops::Range;
use toml::Spanned;

/// What a term or amount yields, and where it is written.
struct Yield<'y> {
    file: &'y Parsed,
    at: Range<usize>,
    node: &'y Node,
    each: Option<&'y WindowRule>,
    tiers: Option<&'y Tiers>,
    per: &'y [Attribute],
    is_on: bool,
    /// Whether something that it is not of comes to it, too.
    has_beside: bool,
}

impl<'a> Scope<'a> {
    pub fn check_meant(&self, version: &Version) -> Result<()> {
        for (name, (file, figure)) in self.all(|raw| &raw.figure) {
            if let Some(read) = version.figures.get(&defined(name)) {
                check_figure(file, &figure.span(), read, version)?;
            }
        }
        for (name, (file, spanned)) in self.all(|raw| &raw.base) {
            let Some(base) = version.bases.get(&defined(name)) else { continue };
            check_base(file, spanned.get_ref(), base, version)?;
            if let Some((above, written)) = base.above.as_ref().zip(spanned.get_ref().above.as_ref()) {
                self.check_counter(file, &written.get_ref().each.span(), &above.counting)?;
                if let Some(level) = above.of.as_ref().and_then(|of| level(of, version)) {
                    return file.fail(&written.span(), level);
                }
            }
        }
        for (name, (file, spanned)) in self.all(|raw| &raw.amount) {
            let Some(amount) = version.amounts.get(&defined(name)) else { continue };
            let (at, each) = (spanned.span(), amount.each.as_ref());
            if let Some(each) = each.filter(|_| amount.node.has_fixed()) {
                let at = spanned.get_ref().each.as_ref().map_or_else(|| at.clone(), Spanned::span);
                self.check_pro_rata(file, (&at, "the fixed sum"), each, amount.pro_rata)?;
            }
            check_cut(file, spanned.get_ref().pro_rata.as_ref(), each.into_iter())?;
            let (node, tiers) = (&amount.node, amount.tiers.as_ref());
            self.check_tiers(file, spanned.get_ref().tiers.as_ref(), tiers)?;
            let (per, has_beside) = (&amount.per, tiers.is_some());
            check_yield(&Yield { file, at, node, each, tiers, per, is_on: false, has_beside }, version)?;
        }
        for (name, spanned) in self.in_order(&self.file.raw.term) {
            let Some(term) = version.term(&TermId::new(name)) else { continue };
            self.check_tiers(self.file, spanned.get_ref().tiers.as_ref(), term.tiers.as_ref())?;
            if let Some(node) = &term.node {
                let (at, each, tiers) = (spanned.span(), term.each.as_ref(), term.tiers.as_ref());
                let counts = term.minimum.as_ref().is_some_and(|minimum| !minimum.of.is_empty());
                let has_beside = tiers.is_some() || counts || term.payees.shared_by().is_some();
                let (file, per, is_on) = (self.file, &term.per, term.on.is_some());
                check_yield(&Yield { file, at, node, each, tiers, per, is_on, has_beside }, version)?;
            }
            let of_minimum = term.minimum.as_ref().map(|minimum| &minimum.each);
            check_cut(self.file, spanned.get_ref().pro_rata.as_ref(), term.each.iter().chain(of_minimum))?;
            self.check_limits(spanned.get_ref(), term, version)?;
            self.check_credits(spanned.get_ref(), term, version)?;
            self.check_span(spanned.get_ref(), term, version)?;
        }
        Ok(())
    }

    /// A term lasts, goes on after an end that it has, and is owed at least once.
    fn check_span(&self, raw: &RawTerm, term: &Term, version: &Version) -> Result<()> {
        let file = self.file;
        if let Some(at_most) = raw.at_most.as_ref().filter(|it| *it.get_ref() == 0) {
            return file.fail(&at_most.span(), Unmeant::AtMostNone.into());
        }
        if let Some((written, _)) = raw.lasts.as_ref().zip(term.life.lasts.filter(Length::is_none)) {
            return file.fail(&written.span(), Unmeant::LastsNone.into());
        }
        let Some((written, tail)) = raw.tail.as_ref().zip(term.life.tail.as_ref()) else { return Ok(()) };
        if tail.lasts.is_none() {
            return file.fail(&written.get_ref().lasts.span(), Unmeant::LastsNone.into());
        }
        let has_end = !term.life.until.is_empty() || term.life.lasts.is_some() || !version.end.is_empty();
        if has_end { Ok(()) } else { file.fail(&written.span(), Unmeant::TailOfNoEnd.into()) }
    }

    fn check_tiers<T>(&self, file: &Parsed, written: Option<&Spanned<T>>, tiers: Option<&Tiers>) -> Result<()> {
        match written.zip(tiers.filter(|tiers| !matches!(tiers.apply, Apply::Level(_)))) {
            Some((written, tiers)) => self.check_counter(file, &written.span(), &tiers.counting),
            None => Ok(()),
        }
    }

    /// A counter counts more than one item, in windows that there are.
    fn check_counter(&self, file: &Parsed, at: &Range<usize>, counting: &Counting) -> Result<()> {
        match (&counting.each, &counting.from) {
            (WindowRule::Item, _) => file.fail(at, Unmeant::CounterOfItem.into()),
            (WindowRule::Dates(starts), Moment::At(from)) => {
                let before = starts.first().filter(|first| *from < start_of_day(self.head.zone, **first));
                match before {
                    Some(first) => file.fail(at, Unmeant::CounterBeforeStarts { first: *first }.into()),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// What limits a term counts what the term tells apart.
    fn check_limits(&self, raw: &RawTerm, term: &Term, version: &Version) -> Result<()> {
        let file = self.file;
        if let (Some(minimum), Some(written)) = (&term.minimum, &raw.minimum) {
            if let Some(level) = minimum.of.iter().find_map(|it| level(it, version)) {
                return file.fail(&written.span(), level);
            }
            if let Some(windows) = written.get_ref().carry_for.as_ref().filter(|it| *it.get_ref() == 0) {
                return file.fail(&windows.span(), Unmeant::CarriedNowhere.into());
            }
            check_told(file, &written.get_ref().is.span(), &minimum.is, (&term.per, version))?;
            check_cut(file, written.get_ref().pro_rata.as_ref(), std::iter::once(&minimum.each))?;
        }
        let cap = term.cap.as_ref().and_then(|name| version.caps.get(name));
        if let (Some(cap), Some(written)) = (cap, &raw.cap) {
            if let Some(attribute) = beyond(&cap.per, &term.per) {
                return file.fail(&written.span(), Unmeant::CapPer { attribute }.into());
            }
            check_told(file, &written.span(), &cap.limit, (&cap.per, version))?;
            self.check_counter(file, &written.span(), &cap.counting)?;
        }
        Ok(())
    }

    /// What a term pays back is owed, by what it tells apart, in the order in which that is known; and once.
    fn check_credits(&self, raw: &RawTerm, term: &Term, version: &Version) -> Result<()> {
        let file = self.file;
        let mut set_off = None;
        for (credit, written) in term.credits.iter().zip(&raw.credits) {
            let at = written.get_ref().of.span();
            let Some(other) = version.term(&credit.of) else { continue };
            if other.is_input {
                return file.fail(&at, Problem::CreditOfInput);
            }
            if let Some(attribute) = beyond(&other.per, &term.per) {
                return file.fail(&at, Unmeant::CreditPer { of: credit.of.clone(), attribute }.into());
            }
            if let Some(limit) = &credit.limit {
                check_told(file, &written.span(), limit, (&term.per, version))?;
                let is_negative = |cell: &Cell| matches!(cell, Cell::Number(number) if number.is_negative());
                if limit.cells().into_iter().any(is_negative) {
                    return file.fail(&written.span(), Problem::CreditLimitNegative);
                }
            }
            if other.payer == term.payer {
                match set_off {
                    Some((of, at)) => return file.fail(&at, Problem::SetOffBeforeAdvance { of }),
                    None => continue,
                }
            }
            if credit.rest == Rest::Repaid {
                return file.fail(&written.span(), Problem::SetOffRepaid);
            }
            if version.set_off(other).next().is_some() {
                return file.fail(&at, Problem::SetOffTwice { of: credit.of.clone() });
            }
            set_off = set_off.or(Some((credit.of.clone(), at)));
        }
        Ok(())
    }
}

/// Where nothing is cut, nothing can say how.
pub fn check_cut<'w>(
    file: &Parsed,
    pro_rata: Option<&Spanned<ProRata>>,
    mut windows: impl Iterator<Item = &'w WindowRule>,
) -> Result<()> {
    match pro_rata {
        Some(written) if !windows.any(WindowRule::can_be_cut) => file.fail(&written.span(), Unmeant::NothingCut.into()),
        _ => Ok(()),
    }
}

/// Tiers of a parameter are read of what is told of the value alone.
pub fn check_parameter_tiers<T>(file: &Parsed, written: &Spanned<T>, tiers: &Tiers) -> Result<()> {
    let is_lasting = tiers.counting.each == WindowRule::Term;
    match (&tiers.of, tiers.apply) {
        (Some(Measure::Figure(_)), Apply::Level(_)) => Ok(()),
        (Some(_), Apply::Level(Read::AtItem)) if is_lasting => Ok(()),
        _ => file.fail(&written.span(), Unmeant::ParameterTiers.into()),
    }
}

fn check_figure(file: &Parsed, at: &Range<usize>, figure: &FigureDefinition, version: &Version) -> Result<()> {
    let (counted, over) = match &figure.kind {
        FigureKind::Ratio { of, over, .. } | FigureKind::Growth { of, over } => (level(of, version), Some(over)),
        FigureKind::Average { over, .. } | FigureKind::Left { of: over } => (None, Some(over)),
        FigureKind::Flow | FigureKind::Level => (None, None),
    };
    if let Some(level) = counted {
        return file.fail(at, level);
    }
    if over == Some(&WindowRule::Item) {
        return file.fail(at, Unmeant::FigureOfItem.into());
    }
    match (&figure.missing, figure.kind == FigureKind::Flow) {
        (Missing::Last(_), true) if !figure.about.is_empty() => file.fail(at, Unmeant::LastOfMany.into()),
        // A level holds until the next one in any case.
        (Missing::Last(part), false) if *part != Exact::from_integer(1) => {
            file.fail(at, Unmeant::PartOfLastLevel.into())
        }
        _ => Ok(()),
    }
}

fn check_base(file: &Parsed, raw: &RawBase, base: &Base, version: &Version) -> Result<()> {
    let sales = |of: &Source| matches!(of, Source::Charges | Source::Billings);
    if let Some(basis) = raw.basis.as_ref().filter(|_| !base.select.iter().any(|it| sales(&it.of))) {
        return file.fail(&basis.span(), Unmeant::BasisOfNothing.into());
    }
    let whole = raw.select.span();
    for (selection, (at, _)) in base.select.iter().zip(raw.select.get_ref().items(&whole)) {
        if let Source::Of(measure) = &selection.of
            && let Some(level) = level(measure, version)
        {
            return file.fail(&at, level);
        }
        let is_valued = selection.of == Source::Charges && base.basis == Basis::Occurred;
        if selection.valued_at.is_some() && !is_valued {
            return file.fail(&at, Unmeant::ValuedAt.into());
        }
    }
    for (less, written) in base.less.iter().zip(&raw.less) {
        let Reduction::Node(node) = &less.what else { continue };
        let mut levels = node.measures().into_iter().map(|it| level(it, version));
        // Beside what comes item by item, a level is looked up at each item.
        if let Some(Some(level)) = levels.next()
            && levels.all(|it| it.is_some())
        {
            return file.fail(&written.span(), level);
        }
        if is_annual(node) {
            return file.fail(&written.span(), Unmeant::Annual.into());
        }
    }
    Ok(())
}

fn check_yield(it: &Yield<'_>, version: &Version) -> Result<()> {
    let fail = |problem: Unmeant| it.file.fail(&it.at, problem.into());
    let measures = it.node.measures();
    let levels = || measures.iter().filter(|measure| is_looked_up(measure, &version.figures));
    let is_counted = measures.iter().any(|measure| !is_looked_up(measure, &version.figures));
    let counting = it.tiers.filter(|tiers| !matches!(tiers.apply, Apply::Level(_)));
    let counted = counting.and_then(|tiers| tiers.of.as_ref().or(it.node.kind.of()));
    if let Some(level) = counted.and_then(|of| level(of, version)) {
        return it.file.fail(&it.at, level);
    }
    if is_annual(it.node) && it.each.is_none_or(|each| *each == WindowRule::Item) {
        return fail(Unmeant::Annual);
    }
    match it.each {
        None if it.is_on => return Ok(()),
        None => {
            if let Some(Measure::Figure(figure)) = levels().next() {
                return fail(Unmeant::LevelWithoutWindow { figure: figure.clone() });
            }
        }
        Some(WindowRule::Item) if !is_counted => return fail(Unmeant::NothingByItem),
        Some(_) if !is_counted && !it.per.is_empty() && !it.has_beside => return fail(Unmeant::NothingPer),
        Some(_) => {}
    }
    if !is_of_window(it.node, it.each, it.tiers, &version.figures) {
        return Ok(());
    }
    for measure in levels() {
        check_about(it.file, &it.at, measure, (it.per, version))?;
    }
    for node in it.node.all() {
        let own = match &node.kind {
            NodeKind::Fixed(table) => Some(table),
            NodeKind::Share { of, rate: table }
            | NodeKind::Yearly { of, rate: table, .. }
            | NodeKind::Price { of, price: table, .. } => Some(table).filter(|_| is_looked_up(of, &version.figures)),
            NodeKind::GreatestOf(_) | NodeKind::LeastOf(_) | NodeKind::Sum(_) => None,
        };
        for table in own.into_iter().chain(&node.times) {
            check_told(it.file, &it.at, table, (it.per, version))?;
        }
    }
    Ok(())
}

/// Of a whole window a value depends on what `per` tells apart alone.
fn check_told(file: &Parsed, at: &Range<usize>, table: &Table, (per, version): (&[Attribute], &Version)) -> Result<()> {
    for condition in table.all_conditions() {
        if let Condition::Where(filter) = condition
            && let Some(attribute) = untold(filter, per, &version.facts)
        {
            return file.fail(at, Unmeant::Untold { attribute: attribute.name().to_owned() }.into());
        }
    }
    table.mentions().into_iter().try_for_each(|measure| check_about(file, at, measure, (per, version)))
}

fn check_about(
    file: &Parsed,
    at: &Range<usize>,
    measure: &Measure,
    (per, version): (&[Attribute], &Version),
) -> Result<()> {
    let Measure::Figure(name) = measure else { return Ok(()) };
    let figure = version.figures.get(name);
    let told = figure.and_then(|figure| match &figure.kind {
        FigureKind::Average { of, .. } => version.figures.get(of),
        _ => Some(figure),
    });
    match told.and_then(|told| beyond(&told.about, per)) {
        Some(attribute) => file.fail(at, Unmeant::LevelUntold { figure: name.clone(), attribute }.into()),
        None => Ok(()),
    }
}

/// What stands where something is counted, if nothing of it can be.
fn level(measure: &Measure, version: &Version) -> Option<super::Problem> {
    match measure {
        Measure::Figure(figure) if is_looked_up(measure, &version.figures) => {
            Some(Unmeant::LevelCounted { figure: figure.clone() }.into())
        }
        _ => None,
    }
}

/// An attribute that others do not have.
fn beyond(attributes: &[Attribute], others: &[Attribute]) -> Option<String> {
    attributes.iter().find(|it| !others.contains(it)).map(|it| it.name().to_owned())
}

fn is_annual(node: &Node) -> bool {
    node.all().iter().any(|it| matches!(it.kind, NodeKind::Yearly { .. }))
}
