//! Reads the conditions of rows, and tells which of two covers the other.

use super::super::measure::Measure;
use super::super::parsed::Parsed;
use super::super::problem::Problem;
use super::super::raw::{RawApply, RawRow, RawTiers};
use super::super::term::{Apply, Read, Tiers};
use super::super::value::{Condition, Edge as BandEdge};
use super::super::window::{Counting, Moment, WindowRule};
use super::unit::MeasuredIn;
use super::value::{Kind, Want};
use super::window::{Edge, ordinals};
use super::{Notes, Result, Scope};
use crate::domain::money::Unit;
use crate::domain::period::Span;
use std::ops::Range;
use toml::Spanned;

impl<'a> Scope<'a> {
    pub fn conditions(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        row: &'a RawRow,
        want: &Want,
        noted: &mut Notes,
    ) -> Result<Vec<Condition>> {
        let mut when = Vec::new();
        if row.from.is_some() || row.through.is_some() {
            let ever = Span::ever();
            let from = row.from.as_ref().map(|it| self.instant("from", file, it, Edge::Start)).transpose()?;
            let end = row.through.as_ref().map(|it| self.instant("through", file, it, Edge::Through)).transpose()?;
            let (start, end) = (from.unwrap_or(ever.start), end.unwrap_or(ever.end));
            if end <= start {
                return file.fail(at, Problem::EndsBeforeStart { from: self.local(start), end: self.local(end) });
            }
            if let Some(through) = &row.through {
                self.check_end(file, &through.span(), end)?;
            }
            when.push(Condition::Dates(Span { start, end }));
        }
        if let Some(filter) = &row.r#where {
            when.push(Condition::Where(self.filter(file, filter)?));
        }
        if let Some(period) = &row.period {
            if !want.windows {
                return file.fail(&period.span(), Problem::PeriodWithoutWindows);
            }
            let (first, last) = ordinals(file, period)?;
            when.push(Condition::Windows { first, last });
        }
        let (edge, inclusive) = match (&row.up_to, &row.below) {
            (Some(_), Some(below)) => return file.fail(&below.span(), Problem::TwoEdges),
            (Some(edge), None) => (edge, true),
            (None, Some(edge)) => (edge, false),
            (None, None) => return Ok(when),
        };
        let Some(kind) = &want.bands else {
            return file.fail(&edge.span(), Problem::BandsWithoutTiers);
        };
        let edge = self.number(file, edge, &Want::plain("edge", kind.clone()), noted)?;
        when.push(Condition::Band(BandEdge { at: edge, inclusive }));
        Ok(when)
    }

    /// Tiers, and what the edges of the bands beside them are in. `own` is what the node beside them is of, `each`
    /// over what the block beside them runs.
    pub fn tiers(
        &self,
        file: &'a Parsed,
        spanned: &'a Spanned<RawTiers>,
        own: Option<(&Measure, &MeasuredIn)>,
        each: Option<&WindowRule>,
    ) -> Result<(Tiers, Kind)> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let of = raw.of.as_ref().map(|name| self.measure(file, &name.span(), name.get_ref())).transpose()?;
        let Some(counted) = of.as_ref().or(own.map(|(measure, _)| measure)) else {
            return file.fail(&at, Problem::TiersOfNothing);
        };
        let found = self.measured_in(counted, &mut Vec::new())?;
        // Counters of money are in the currency of the term, whatever its base is in.
        let kind = match (found, own) {
            (Some(Unit::Currency(_)), Some((_, Some(unit @ Unit::Currency(_))))) if raw.apply != RawApply::Level => {
                Kind::In(unit.clone())
            }
            (found, _) => Kind::of(found),
        };
        let (apply, counting) = match (raw.apply, raw.read) {
            (RawApply::Level, Some(read)) if raw.from.is_none() && raw.of.is_some() => {
                let own = raw.each.as_ref().map(|name| self.window(file, name)).transpose()?;
                let window = own.as_ref().or(each).cloned().unwrap_or(WindowRule::Period);
                let begin = self.instant("effective", self.file, &self.version.effective, Edge::Start)?;
                (Apply::Level(read), Counting { each: window, from: Moment::At(begin) })
            }
            (RawApply::Marginal | RawApply::Whole, None) => {
                let (Some(each), Some(from)) = (&raw.each, &raw.from) else {
                    return file.fail(&at, Problem::TiersCount);
                };
                let apply = if raw.apply == RawApply::Whole { Apply::Whole } else { Apply::Marginal };
                (apply, self.counting(file, each, from)?)
            }
            _ => return file.fail(&at, Problem::Tiers),
        };
        if let (Apply::Level(Read::WindowStart | Read::WindowEnd | Read::PreviousWindow), WindowRule::Item) =
            (apply, &counting.each)
        {
            return file.fail(&at, Problem::ReadWithoutWindow);
        }
        // A window begins with nothing but what was reported before it.
        if apply == Apply::Level(Read::WindowStart) && !matches!(of, Some(Measure::Figure(_))) {
            return file.fail(&at, Problem::LevelAtStart);
        }
        Ok((Tiers { apply, of, counting }, kind))
    }
}

impl Condition {
    /// Whether the other holds whenever this one does, or on the day on which this one says that it begins or ends.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::Dates(own), Self::Dates(other)) = (self, other) else { return self.implies(other) };
        let ever = Span::ever();
        let begins_within = own.start > ever.start && other.contains(own.start);
        let ends_within =
            own.end < ever.end && other.start > ever.start && other.start < own.end && own.end <= other.end;
        begins_within || ends_within
    }

    /// Whether the other holds whenever this one does.
    pub fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dates(own), Self::Dates(other)) => other.start <= own.start && own.end <= other.end,
            (Self::Windows { first, last }, Self::Windows { first: other_first, last: other_last }) => {
                other_first <= first && last <= other_last
            }
            (Self::Band(own), Self::Band(other)) => {
                own.at < other.at || own.at == other.at && (other.inclusive || !own.inclusive)
            }
            (Self::Where(own), Self::Where(other)) => {
                other.none.iter().all(|none| own.none.contains(none))
                    && other.all.iter().all(|(attribute, values)| {
                        let mine = own.all.get(attribute);
                        mine.is_some_and(|mine| mine.iter().all(|value| values.contains(value)))
                    })
            }
            _ => false,
        }
    }
}
