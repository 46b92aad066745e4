//! What things are measured in: currencies, declared units, plain numbers; and that they fit each other.

use super::super::beside::{UnitDefinition, Worth};
use super::super::measure::Measure;
use super::super::parsed::{Parsed, unknown};
use super::super::problem::Problem;
use super::super::raw::{NodeFields, RawNode, RawSelector, RawValue};
use super::{Result, Scope, defined};
use crate::domain::ids::{ContractId, DefinedTerm, TermId};
use crate::domain::money::{Currency, Money, Unit};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// What a measure is in; none: a plain number, such as a count or a percentage.
pub type MeasuredIn = Option<Unit>;

/// How a figure says that it is a plain number.
const NUMBERS: [&str; 2] = ["%", "number"];

/// The names on the way to what is looked up, so that a circle is seen.
pub type Path = Vec<String>;

impl<'a> Scope<'a> {
    pub fn currency(&self) -> Unit {
        self.head.currency.into()
    }

    pub fn unit_named(&self, name: &str) -> Option<Unit> {
        if let Some((_, unit)) = self.find(|raw| &raw.unit, name) {
            return Some(Unit::Declared { name: defined(name), digits: unit.get_ref().digits });
        }
        name.parse().map(Unit::Currency).ok()
    }

    /// A currency, or a unit that the contract declares.
    pub fn unit(&self, file: &Parsed, name: &Spanned<String>) -> Result<Unit> {
        let found = self.unit_named(name.get_ref());
        found.map_or_else(|| file.fail(&name.span(), self.unknown_unit(name.get_ref())), Ok)
    }

    fn unknown_unit(&self, name: &str) -> Problem {
        let units = self.all(|raw| &raw.unit);
        let known: Vec<String> = units.into_keys().cloned().chain([self.head.currency.to_string()]).collect();
        unknown("currency or unit", name, known.iter())
    }

    pub fn figure_unit(&self, file: &Parsed, name: &Spanned<String>) -> Result<MeasuredIn> {
        if NUMBERS.contains(&name.get_ref().as_str()) {
            return Ok(None);
        }
        self.unit(file, name).map(Some)
    }

    pub fn units(&self) -> Result<BTreeMap<DefinedTerm, UnitDefinition>> {
        let mut units = BTreeMap::new();
        for (name, (file, unit)) in self.all(|raw| &raw.unit) {
            if name.parse::<Currency>().is_ok() {
                return file.fail(&unit.span(), Problem::UnitIsCurrency { name: name.clone() });
            }
            let raw = unit.get_ref();
            let rounding = raw.rounding.unwrap_or(self.head.rounding);
            let worth = raw.worth.as_ref().map(|text| self.worth(file, text)).transpose()?;
            units.insert(defined(name), UnitDefinition { digits: raw.digits, rounding, worth });
        }
        Ok(units)
    }

    fn worth(&self, file: &'a Parsed, text: &Spanned<String>) -> Result<Worth> {
        if self.find(|raw| &raw.amount, text.get_ref()).is_some()
            || self.find(|raw| &raw.figure, text.get_ref()).is_some()
        {
            return Ok(Worth::Measured(self.measure(file, &text.span(), text.get_ref())?));
        }
        match text.get_ref().parse::<Money>() {
            Ok(Money { amount, currency }) => Ok(Worth::Money { amount, currency }),
            Err(problem) => file.fail(&text.span(), Problem::Money { field: "worth", problem }),
        }
    }

    /// What a name in a node stands for: a base, amount, figure or term of the contract, or another's term.
    pub fn measure(&self, file: &Parsed, at: &Range<usize>, name: &str) -> Result<Measure> {
        if self.find(|raw| &raw.base, name).is_some() {
            return Ok(Measure::Base(defined(name)));
        }
        if self.find(|raw| &raw.amount, name).is_some() {
            return Ok(Measure::Amount(defined(name)));
        }
        if self.find(|raw| &raw.figure, name).is_some() {
            return Ok(Measure::Figure(defined(name)));
        }
        let accrual = |contract, term| Measure::Accrual { contract, term };
        if self.file.raw.term.contains_key(name) {
            return Ok(accrual(self.head.id.clone(), TermId::new(name)));
        }
        match name.split_once('/') {
            // Whether that term exists is known only once all contracts are read: see `check`.
            Some((contract, term)) => Ok(accrual(ContractId::new(contract), TermId::new(term))),
            _ => {
                fn of<'a, T>(
                    kind: &'static str,
                    blocks: BTreeMap<&'a String, (&'a Parsed, &'a Spanned<T>)>,
                ) -> Vec<String> {
                    let place = |file: &Parsed, block: &Spanned<T>| {
                        let at = file.document.location_at(block.span().start);
                        format!("{}:{}", at.file, at.line)
                    };
                    blocks
                        .into_iter()
                        .map(|(name, (file, block))| format!("{kind} \"{name}\" ({})", place(file, block)))
                        .collect()
                }
                let mut known = of("base", self.all(|raw| &raw.base));
                known.extend(of("amount", self.all(|raw| &raw.amount)));
                known.extend(of("figure", self.all(|raw| &raw.figure)));
                known.extend(self.file.raw.term.keys().map(|name| format!("term \"{name}\"")));
                file.fail(at, unknown("base, amount, figure or term", name, known.iter()))
            }
        }
    }

    /// What a measure is in. A circle of names is refused here, before anything is computed.
    pub fn measured_in(&self, measure: &Measure, path: &mut Path) -> Result<MeasuredIn> {
        match measure {
            Measure::Figure(name) => match self.find(|raw| &raw.figure, name.as_str()) {
                Some((file, figure)) => self.figure_unit(file, &figure.get_ref().unit),
                None => Ok(None),
            },
            Measure::Accrual { contract, term, .. } if *contract == self.head.id => {
                let term = self.file.raw.term.get(term.as_str());
                let unit = term.and_then(|term| term.get_ref().r#in.as_ref());
                unit.map_or_else(|| Ok(self.currency()), |unit| self.unit(self.file, unit)).map(Some)
            }
            Measure::Accrual { .. } => Ok(Some(self.currency())),
            Measure::Base(name) => {
                let Some((file, base)) = self.find(|raw| &raw.base, name.as_str()) else { return Ok(None) };
                self.enter(file, &base.span(), format!("base {name}"), path, |path| {
                    let select = &base.get_ref().select;
                    let mut common: Option<MeasuredIn> = None;
                    for (at, selector) in select.get_ref().items(&select.span()) {
                        let found = self.selected_in(file, &at, selector, path)?;
                        common = Some(match common {
                            Some(other) => self.common(file, &at, other, found)?,
                            None => found,
                        });
                    }
                    // A base may be what reduces it alone, such as a cost.
                    Ok(common.unwrap_or_else(|| Some(self.currency())))
                })
            }
            Measure::Amount(name) => {
                let Some((file, amount)) = self.find(|raw| &raw.amount, name.as_str()) else { return Ok(None) };
                let raw = amount.get_ref();
                self.enter(file, &amount.span(), format!("amount {name}"), path, |path| match &raw.r#in {
                    Some(unit) => self.unit(file, unit).map(Some),
                    None => self.node_in(file, &amount.span(), raw.node(), path),
                })
            }
        }
    }

    fn enter<T>(
        &self,
        file: &Parsed,
        at: &Range<usize>,
        name: String,
        path: &mut Path,
        read: impl FnOnce(&mut Path) -> Result<T>,
    ) -> Result<T> {
        let is_circle = path.contains(&name);
        path.push(name);
        if is_circle {
            let second = path.get(1).and_then(|name| name.split_once(' ')).map(|(_, name)| name);
            let at = second.and_then(|name| file.document.naming(at.start, name)).unwrap_or_else(|| at.clone());
            return file.fail(&at, Problem::Circle { path: path.clone() });
        }
        let found = read(path);
        path.pop();
        found
    }

    fn selected_in(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        selector: &'a RawSelector,
        path: &mut Path,
    ) -> Result<MeasuredIn> {
        let named = [&selector.figure, &selector.base, &selector.amount].into_iter().flatten().next();
        if let Some(name) = named {
            let measure = self.measure(file, &name.span(), name.get_ref())?;
            return self.measured_in(&measure, path);
        }
        if let Some(name) = &selector.accrual {
            let measure = self.accrual(file, name, selector.r#as.as_ref())?;
            return self.measured_in(&measure, path);
        }
        match (&selector.charges, &selector.billings, &selector.units, &selector.facts) {
            (Some(_), ..) | (_, Some(_), ..) => Ok(Some(self.currency())),
            (.., Some(_), _) | (.., Some(_)) => Ok(None),
            _ => file.fail(at, Problem::Selector),
        }
    }

    /// What two things are in together: currencies become the contract's.
    fn common(&self, file: &Parsed, at: &Range<usize>, a: MeasuredIn, b: MeasuredIn) -> Result<MeasuredIn> {
        match (&a, &b) {
            (one, other) if one == other => Ok(a),
            (Some(Unit::Currency(_)), Some(Unit::Currency(_))) if self.has_fx() => Ok(Some(self.currency())),
            (Some(Unit::Currency(_)), Some(Unit::Currency(_))) => {
                file.fail(at, Problem::NoFx { found: is_in(&b), wanted: in_words(&a) })
            }
            _ => file.fail(at, Problem::MixedUnits { one: in_words(&a), other: in_words(&b) }),
        }
    }

    /// What a node yields, as far as its fields tell without their values.
    pub fn node_in(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        node: NodeFields<'a>,
        path: &mut Path,
    ) -> Result<MeasuredIn> {
        if let Some(value) = node.price.or(node.fixed) {
            return Ok(Some(self.unit_written(value.get_ref()).unwrap_or_else(|| self.currency())));
        }
        if let Some(of) = node.of {
            let measure = self.measure(file, &of.span(), of.get_ref())?;
            return self.measured_in(&measure, path);
        }
        let lists = [node.greater_of, node.lesser_of, node.sum].into_iter().flatten();
        let parts: Vec<&'a Spanned<RawNode>> = lists.flat_map(|list| list.get_ref()).collect();
        match parts.first() {
            Some(first) => self.node_in(file, &first.span(), first.get_ref().node(), path),
            None => file.fail(at, Problem::NoNode),
        }
    }

    /// The unit of the first amount of a value.
    fn unit_written(&self, value: &RawValue) -> Option<Unit> {
        match value {
            RawValue::Text(text) => match self.find(|raw| &raw.parameter, text) {
                Some((_, parameter)) => self.unit_written(parameter.get_ref().value.get_ref()),
                None => text.rsplit_once(' ').and_then(|(_, unit)| self.unit_named(unit)),
            },
            RawValue::List(rows) => rows.iter().find_map(|row| self.unit_written(row.get_ref())),
            RawValue::Row(row) => {
                row.is.iter().chain(&row.otherwise).find_map(|value| self.unit_written(value.get_ref()))
            }
            RawValue::Date(_) | RawValue::Other => None,
        }
    }

    /// Refuses a measure that cannot become what is wanted: counts are no money, and other currencies need rates.
    pub fn check_fits(&self, file: &Parsed, at: &Range<usize>, found: &MeasuredIn, wanted: &MeasuredIn) -> Result<()> {
        let fits = match (found, wanted) {
            (a, b) if a == b => true,
            (Some(_), Some(_)) if self.has_fx() => true,
            (Some(Unit::Currency(_)), Some(Unit::Currency(_))) => {
                return file.fail(at, Problem::NoFx { found: is_in(found), wanted: in_words(wanted) });
            }
            (Some(Unit::Currency(_)), Some(Unit::Declared { name, .. })) => {
                let unit = self.find(|raw| &raw.unit, name.as_str());
                unit.is_some_and(|(_, unit)| unit.get_ref().worth.is_some())
            }
            _ => false,
        };
        match fits {
            true => Ok(()),
            false => file.fail(at, Problem::OtherMeasure { found: is_in(found), wanted: in_words(wanted) }),
        }
    }

    fn has_fx(&self) -> bool {
        self.files().any(|file| file.raw.fx.is_some())
    }
}

pub(super) fn is_in(unit: &MeasuredIn) -> String {
    unit.as_ref().map_or_else(|| in_words(unit), |unit| format!("in {unit}"))
}

pub(super) fn in_words(unit: &MeasuredIn) -> String {
    unit.as_ref().map_or_else(|| "a plain number".to_owned(), ToString::to_string)
}
