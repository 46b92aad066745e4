//! Reads values: numbers, amounts, the parameters behind names, and rows of conditions.

use super::super::measure::Measure;
use super::super::parsed::{Parsed, quoted_rate};
use super::super::problem::Problem;
use super::super::raw::{RawParameter, RawValue};
use super::super::unmeant::Unmeant;
use super::super::value::{Cell, Condition, Notice, Row, Table};
use super::meant::check_parameter_tiers;
use super::unit::{in_words, is_in};
use super::{Notes, Result, Scope, defined, length};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Length;
use std::ops::Range;
use toml::Spanned;

/// What a number has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of something: not negative, and at most the whole unless stated.
    Rate {
        above_one: bool,
    },
    /// A plain number, or a percentage.
    Number,
    In(Unit),
}

impl Kind {
    /// That of numbers that compare with a measure.
    pub fn of(unit: Option<Unit>) -> Self {
        unit.map_or(Self::Number, Self::In)
    }
}

/// What a value has to be where it stands.
#[derive(Clone, Debug)]
pub struct Want {
    pub field: &'static str,
    pub kind: Kind,
    /// What the edges of bands are, where tiers stand beside the value.
    pub bands: Option<Kind>,
    /// Whether there are windows whose place a row can name.
    pub windows: bool,
    /// Whether below zero it would mean nothing.
    pub not_negative: bool,
}

impl Want {
    pub fn plain(field: &'static str, kind: Kind) -> Self {
        Self { field, kind, bands: None, windows: false, not_negative: false }
    }

    pub fn not_negative(field: &'static str, kind: Kind) -> Self {
        Self { not_negative: true, ..Self::plain(field, kind) }
    }
}

impl<'a> Scope<'a> {
    pub fn table(
        &self,
        file: &'a Parsed,
        value: &'a Spanned<RawValue>,
        want: &Want,
        noted: &mut Notes,
    ) -> Result<Table> {
        Ok(match self.cell(file, value, want, noted, &mut Vec::new())? {
            Cell::Table(table) => table,
            cell => Table { rows: vec![Row { when: Vec::new(), is: cell }] },
        })
    }

    /// A number on which no condition decides.
    pub fn number(
        &self,
        file: &'a Parsed,
        value: &'a Spanned<RawValue>,
        want: &Want,
        noted: &mut Notes,
    ) -> Result<Exact> {
        match self.cell(file, value, want, noted, &mut Vec::new())? {
            Cell::Number(number) => Ok(number),
            _ => file.fail(&value.span(), Problem::OneNumber { field: want.field }),
        }
    }

    fn cell(
        &self,
        file: &'a Parsed,
        value: &'a Spanned<RawValue>,
        want: &Want,
        noted: &mut Notes,
        path: &mut Vec<&'a str>,
    ) -> Result<Cell> {
        let at = value.span();
        match value.get_ref() {
            RawValue::Text(text) if text == "none" => Ok(Cell::Nothing),
            RawValue::Text(text) => match self.find(|raw| &raw.parameter, text) {
                Some((there, parameter)) => {
                    self.note(text, parameter.get_ref().provenance(), noted);
                    if path.contains(&text.as_str()) {
                        path.push(text);
                        let path = path.iter().map(|name| format!("parameter {name}")).collect();
                        return file.fail(&at, Problem::Circle { path });
                    }
                    path.push(text);
                    let cell = self.parameter(there, text, parameter.get_ref(), want, noted, path)?;
                    path.pop();
                    Ok(cell)
                }
                None => self.text(file, &at, text, want),
            },
            RawValue::List(rows) => self.rows(file, &at, rows, want, noted, path).map(Cell::Table),
            RawValue::Row(_) => file.fail(&at, Problem::LoneRow),
            RawValue::Date(_) => file.fail(&at, Problem::DateAsNumber { field: want.field }),
            RawValue::Other => {
                let found = file.document.text.get(at.clone()).unwrap_or_default();
                file.fail(&at, Problem::Unquoted { field: want.field, write: suggestion(found, &want.kind) })
            }
        }
    }

    fn parameter(
        &self,
        file: &'a Parsed,
        name: &'a str,
        raw: &'a RawParameter,
        want: &Want,
        noted: &mut Notes,
        path: &mut Vec<&'a str>,
    ) -> Result<Cell> {
        if raw.set_by.is_some() || raw.between.is_some() || raw.notice.is_some() {
            return self.notice(file, name, raw, want, noted);
        }
        let Some(written) = &raw.tiers else {
            return self.cell(file, &raw.value, want, noted, path);
        };
        let (tiers, bands) = self.tiers(file, written, None, None)?;
        check_parameter_tiers(file, written, &tiers)?;
        let own = Want { bands: Some(bands), ..want.clone() };
        match self.cell(file, &raw.value, &own, noted, path)? {
            Cell::Table(table) if table.has_bands() => Ok(Cell::Tiered { table, tiers: Box::new(tiers) }),
            _ => file.fail(&raw.value.span(), Problem::TiersWithoutBands),
        }
    }

    /// A number that a party sets by notice, within bounds.
    fn notice(
        &self,
        file: &'a Parsed,
        name: &str,
        raw: &'a RawParameter,
        want: &Want,
        noted: &mut Notes,
    ) -> Result<Cell> {
        let at = raw.value.span();
        let (Some(by), Some(between), None) = (&raw.set_by, &raw.between, &raw.tiers) else {
            return file.fail(&at, Problem::SetBy);
        };
        let [least, most] = between.get_ref();
        let want = Want { bands: None, windows: false, ..want.clone() };
        let notice = Notice {
            name: defined(name),
            by: self.party(file, by)?,
            least: self.number(file, least, &want, noted)?,
            most: self.number(file, most, &want, noted)?,
            notice: raw.notice.as_ref().map(|text| length(file, text)).transpose()?.unwrap_or(Length::Days(0)),
            initial: self.number(file, &raw.value, &want, noted)?,
        };
        if notice.most < notice.least {
            return file.fail(&between.span(), Problem::BoundsFall);
        }
        if notice.initial < notice.least || notice.most < notice.initial {
            return file.fail(&at, Problem::OutOfBounds);
        }
        Ok(Cell::Noticed(Box::new(notice)))
    }

    /// A literal, or the name of a figure or amount.
    fn text(&self, file: &'a Parsed, at: &Range<usize>, text: &str, want: &Want) -> Result<Cell> {
        let is_figure = self.find(|raw| &raw.figure, text).is_some();
        if is_figure || self.find(|raw| &raw.amount, text).is_some() {
            let name = defined(text);
            let measure = if is_figure { Measure::Figure(name) } else { Measure::Amount(name) };
            let found = self.measured_in(&measure, &mut Vec::new())?;
            let wanted = match &want.kind {
                Kind::Rate { .. } | Kind::Number => None,
                Kind::In(unit) => Some(unit.clone()),
            };
            self.check_fits(file, at, &found, &wanted)?;
            // What is looked up stands as it is told: nothing says at which day's rate it would be converted.
            if found != wanted {
                return file.fail(at, Problem::NotConverted { found: is_in(&found), wanted: in_words(&wanted) });
            }
            return Ok(Cell::Measured(measure));
        }
        if text.starts_with(|first: char| first.is_alphabetic()) {
            let known = self.all(|raw| &raw.parameter).into_keys().cloned();
            let known = known.chain(self.all(|raw| &raw.figure).into_keys().cloned());
            let known: Vec<String> = known.chain(self.all(|raw| &raw.amount).into_keys().cloned()).collect();
            let problem = super::unknown("parameter, figure or amount", text, known.iter());
            return file.fail(at, problem);
        }
        self.literal(file, at, text, want).map(Cell::Number)
    }

    fn literal(&self, file: &Parsed, at: &Range<usize>, text: &str, want: &Want) -> Result<Exact> {
        let number = self.number_written(file, at, text, want)?;
        match want.not_negative && number.is_negative() && self.is_new() {
            true => file.fail(at, Unmeant::BelowZero { field: want.field }.into()),
            false => Ok(number),
        }
    }

    fn number_written(&self, file: &Parsed, at: &Range<usize>, text: &str, want: &Want) -> Result<Exact> {
        let field = want.field;
        if let Kind::In(unit) = &want.kind {
            let Some((digits, name)) = text.rsplit_once(' ') else {
                return file.fail(at, Problem::NoUnit { field, unit: unit.to_string() });
            };
            let number = Exact::from_written(digits.trim());
            let number = number.or_else(|problem| file.fail(at, Problem::Number { field, problem }))?;
            return match self.unit_named(name) {
                Some(found) if found == *unit => Ok(number),
                Some(_) => {
                    let (found, expected) = (name.to_owned(), unit.to_string());
                    file.fail(at, Problem::OtherUnit { field, found, expected })
                }
                None => file.fail(at, Problem::UnknownUnit { field, found: name.to_owned() }),
            };
        }
        if let Some((digits, "%")) = text.rsplit_once(' ') {
            return file.fail(at, Problem::SpacedPercent { write: format!("\"{}%\"", digits.trim()) });
        }
        if let Some((_, name)) = text.rsplit_once(' ') {
            return file.fail(at, Problem::UnitOfNumber { field, found: name.to_owned() });
        }
        let (digits, is_percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let number = Exact::from_written(digits);
        let number = number.or_else(|problem| file.fail(at, Problem::Number { field, problem }))?;
        let number = if is_percent { number * Exact::ratio(1, 100).unwrap_or_default() } else { number };
        match &want.kind {
            Kind::Rate { .. } if number.is_negative() => file.fail(at, Problem::RateNegative { rate: number }),
            Kind::Rate { above_one: false } if number > Exact::from_integer(1) => {
                let percent = (!is_percent).then(|| digits.to_owned()).filter(|digits| !digits.contains('/'));
                file.fail(at, Problem::RateAboveOne { rate: number, percent })
            }
            _ => Ok(number),
        }
    }

    fn rows(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        written: &'a [Spanned<RawValue>],
        want: &Want,
        noted: &mut Notes,
        path: &mut Vec<&'a str>,
    ) -> Result<Table> {
        let mut rows: Vec<Row> = Vec::new();
        let mut ends = false;
        for value in written {
            let RawValue::Row(row) = value.get_ref() else {
                return file.fail(&value.span(), Problem::NoRow);
            };
            if ends {
                return file.fail(&value.span(), Problem::AfterOtherwise);
            }
            let when = self.conditions(file, &value.span(), row, want, noted)?;
            let cell = match (&row.is, &row.otherwise) {
                (Some(is), None) if !when.is_empty() => self.cell(file, is, want, noted, path)?,
                (None, Some(otherwise)) if when.is_empty() => {
                    ends = true;
                    if matches!(otherwise.get_ref(), RawValue::Text(text) if text == "stop") {
                        break;
                    }
                    self.cell(file, otherwise, want, noted, path)?
                }
                _ => return file.fail(&value.span(), Problem::Row),
            };
            check_reached(file, &value.span(), &rows, &when)?;
            rows.push(Row { when, is: cell });
        }
        if !ends {
            return file.fail(at, no_end(file, want, written));
        }
        Ok(Table { rows })
    }
}

/// What the last row leaves open.
fn no_end(file: &Parsed, want: &Want, rows: &[Spanned<RawValue>]) -> Problem {
    let last = rows.last().and_then(|row| match row.get_ref() {
        RawValue::Row(row) => Some(row.as_ref()),
        _ => None,
    });
    let written = |value: &Spanned<RawValue>| {
        let text = file.document.text.get(value.span()).unwrap_or_default();
        text.trim_matches('"').to_owned()
    };
    let example = last.and_then(|row| row.is.as_ref()).map(written).filter(|it| !it.starts_with('['));
    let edge = last.and_then(|row| row.up_to.as_ref().or(row.below.as_ref())).map(written);
    let example = example.unwrap_or_else(|| "0%".to_owned());
    match edge {
        Some(edge) => Problem::BandsEnd { field: want.field, edge, example },
        None => Problem::RowsEnd { field: want.field, example },
    }
}

/// Refuses a row that never holds, as one before it does whenever it would, or that does not on days that it names.
fn check_reached(file: &Parsed, at: &Range<usize>, before: &[Row], when: &[Condition]) -> Result<()> {
    let Some(earlier) = before.iter().find(|row| row.when.iter().all(|it| when.iter().any(|own| own.implies(it))))
    else {
        let is_overlapped = before.iter().any(|row| row.when.iter().all(|it| when.iter().any(|own| own.overlaps(it))));
        return if is_overlapped { file.fail(at, Problem::DatesOverlap) } else { Ok(()) };
    };
    let edge = |conditions: &[Condition]| {
        conditions.iter().find_map(|it| match it {
            Condition::Band(edge) => Some(edge.at.to_string()),
            _ => None,
        })
    };
    match (edge(&earlier.when), edge(when)) {
        (Some(after), Some(found)) => file.fail(at, Problem::BandsFall { after, found }),
        _ => file.fail(at, Problem::Unreachable),
    }
}

/// What a bare number would be as text.
fn suggestion(found: &str, kind: &Kind) -> String {
    match (kind, Exact::from_written(found)) {
        (Kind::In(unit), _) => format!("\"{found} {unit}\""),
        (Kind::Rate { above_one }, Ok(number)) => quoted_rate(number, *above_one),
        _ => format!("\"{found}\""),
    }
}
