//! Reads worked examples: the tables of a version's document, every cell of them.

use super::{Example, ExampleProblem, Expect, Expected, Given, Quantity, VersionExamples, What, When};
use crate::domain::calendar::{Calendar, Window};
use crate::domain::contract::document::{Location, TextCell, TextTable};
use crate::domain::contract::parsed::Parsed;
use crate::domain::contract::problem::{Problem, ReadError};
use crate::domain::contract::read::{RELEASE, calendar};
use crate::domain::contract::selector::Attribute;
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::parse_instant;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

type Result<T> = std::result::Result<T, ReadError>;

/// What every table of items may have as columns, beside attributes and facts.
const COLUMNS: [&str; 10] =
    ["at", "until", "recorded", "amount", "quantity", "capability", "confidence", "source", "evidence", "why"];

struct Reader<'a> {
    definitions: &'a Parsed,
    file: &'a Parsed,
    contract: ContractId,
}

/// Reads the examples of a version's document.
///
/// # Errors
/// The first cell that is wrong, with its place.
pub fn read_examples(definitions: &Parsed, file: &Parsed) -> Result<Option<VersionExamples>> {
    let contract = definitions.contract_id().unwrap_or_else(|| ContractId::new(""));
    let reader = Reader { definitions, file, contract: contract.clone() };
    let Some((version, _)) = file.version() else { return reader.none().map(|()| None) };
    let mut examples: Vec<Example> = Vec::new();
    let mut records = Vec::new();
    for table in &file.document.tables {
        let Some(head) = table.rows.first().and_then(|row| row.first()) else { continue };
        match head.text.as_str() {
            "given" => reader.add(&mut examples, head, reader.items(table)?, Vec::new()),
            "expect" => reader.add(&mut examples, head, Vec::new(), reader.expectations(table)?),
            "record" => {
                let read = reader.items(table)?;
                if read.iter().any(|it| !matches!(it.what, What::Fact(_) | What::Status(_))) {
                    return reader.fail(head.at, ExampleProblem::Record);
                }
                records.extend(read);
            }
            _ => {}
        }
    }
    for example in &examples {
        reader.check(example)?;
    }
    Ok(Some(VersionExamples { contract, version, examples, records }))
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, at: usize, problem: ExampleProblem) -> Result<T> {
        self.file.fail(&(at..at), Problem::Example(problem))
    }

    /// Refuses tables that nothing would run.
    fn none(&self) -> Result<()> {
        let heads = self.file.document.tables.iter().filter_map(|table| table.rows.first()?.first());
        match heads.into_iter().find(|head| ["given", "expect", "record"].contains(&head.text.as_str())) {
            Some(head) => self.fail(head.at, ExampleProblem::NoVersion),
            None => Ok(()),
        }
    }

    /// Adds to the example below the heading above a table.
    fn add(&self, examples: &mut Vec<Example>, head: &TextCell, given: Vec<Given>, expect: Vec<Expect>) {
        let title = self.file.document.clause_at(head.at).heading;
        match examples.iter_mut().find(|it| it.title == title) {
            Some(known) => {
                known.given.extend(given);
                known.expect.extend(expect);
            }
            None => {
                let place = self.file.document.location_at(head.at);
                examples.push(Example { title, place, given, expect });
            }
        }
    }

    /// The rows below the heads, by the heads of their columns; empty cells are none.
    fn rows<'t>(&self, table: &'t TextTable, columns: &[String]) -> Result<Vec<BTreeMap<&'t str, &'t TextCell>>> {
        let heads = table.rows.first().map(Vec::as_slice).unwrap_or_default();
        for head in heads.iter().skip(1) {
            if !columns.contains(&head.text) {
                let (name, known) = (head.text.clone(), columns.to_vec());
                return self.fail(head.at, ExampleProblem::UnknownColumn { name, known });
            }
        }
        let row = |cells: &'t Vec<TextCell>| {
            let named = heads.iter().map(|head| head.text.as_str()).zip(cells);
            named.filter(|(_, cell)| !cell.text.is_empty()).collect()
        };
        Ok(table.rows.iter().skip(1).map(row).collect())
    }

    fn declared(&self, names: impl Fn(&'a Parsed) -> Vec<&'a String>) -> BTreeSet<&'a String> {
        [self.file, self.definitions].into_iter().flat_map(names).collect()
    }

    fn facts(&self) -> BTreeSet<&'a String> {
        self.declared(|file| file.raw.fact.keys().collect())
    }

    fn items(&self, table: &TextTable) -> Result<Vec<Given>> {
        let plain = Attribute::PLAIN.iter().map(|it| it.name().to_owned());
        let facts = self.facts().into_iter().cloned();
        let columns: Vec<String> = COLUMNS.map(str::to_owned).into_iter().chain(plain).chain(facts).collect();
        let head = table.rows.first().and_then(|row| row.first());
        let (head, start) = head.map_or(("", 0), |head| (head.text.as_str(), head.at));
        let mut items = Vec::new();
        for row in self.rows(table, &columns)? {
            let Some(first) = row.get(head) else { continue };
            let (what, id) = self.what(first)?;
            let Some(at) = row.get("at") else {
                return self.fail(start, ExampleProblem::MissingColumn { name: "at" });
            };
            let when = |name: &str| row.get(name).map(|cell| self.when(cell)).transpose();
            let values = row
                .iter()
                .filter(|(name, _)| **name != head && !["at", "until", "recorded", "amount", "why"].contains(name));
            items.push(Given {
                place: self.file.document.location_at(first.at),
                what,
                id,
                at: self.when(at)?,
                until: when("until")?,
                recorded: when("recorded")?,
                amount: row.get("amount").map(|cell| self.quantity(cell)).transpose()?,
                values: values.map(|(name, cell)| ((*name).to_owned(), cell.text.clone())).collect(),
            });
        }
        Ok(items)
    }

    /// `refund r of a`: what it is, and its id.
    fn what(&self, cell: &TextCell) -> Result<(What, Option<String>)> {
        let fail = || self.fail(cell.at, ExampleProblem::What { text: cell.text.clone() });
        let Some((kind, rest)) = cell.text.split_once(' ') else { return fail() };
        let (named, of) = rest
            .split_once("of ")
            .filter(|(before, _)| before.is_empty() || before.ends_with(' '))
            .map_or((rest, Vec::new()), |(named, of)| {
                (named.trim_end(), of.split(", ").map(str::to_owned).collect::<Vec<String>>())
            });
        let id = || Some(named.to_owned());
        let declared = |kind, known: BTreeSet<&'a String>| self.declared_in(cell, kind, named, &known);
        match (kind, of.as_slice(), named.is_empty()) {
            ("charge", [], false) => Ok((What::Charge, id())),
            ("usage", [], false) => Ok((What::Usage, id())),
            ("billing", _, false) => Ok((What::Billing { of }, id())),
            ("receipt", _, false) => Ok((What::Receipt { of }, id())),
            ("correction", [of], true) => Ok((What::Correction { of: of.clone() }, None)),
            ("void", [of], true) => Ok((What::Void { of: of.clone() }, None)),
            ("figure", [], false) => {
                let known = self.declared(|file| file.raw.figure.keys().collect());
                declared("figure", known).map(|(name, id)| (What::Figure(name), id))
            }
            ("fact", [], false) => {
                let release = RELEASE.to_owned();
                let mut known = self.facts();
                // A right that comes first on a cloud waits for releases, declared or not.
                if self.file.raw.right.values().any(|right| right.get_ref().first.is_some()) {
                    known.insert(&release);
                }
                self.declared_in(cell, "fact", named, &known).map(|(name, id)| (What::Fact(name), id))
            }
            ("status", [], false) => declared("fact", self.facts()).map(|(name, id)| (What::Status(name), id)),
            ("notice", [], false) => {
                let known = self.declared(|file| file.raw.parameter.keys().collect());
                declared("parameter", known).map(|(name, id)| (What::Notice(name), id))
            }
            ("rate", [], _) => match named.split_once(' ') {
                Some((from, to)) => Ok((What::Rate { from: from.to_owned(), to: to.to_owned() }, None)),
                None => fail(),
            },
            (category, _, false) if !["correction", "void"].contains(&category) && !named.contains(' ') => {
                Ok((What::Deduction { category: category.to_owned(), of }, id()))
            }
            _ => fail(),
        }
    }

    /// A declared name, which may have spaces, and an id after it.
    fn declared_in(
        &self,
        cell: &TextCell,
        kind: &'static str,
        words: &str,
        known: &BTreeSet<&String>,
    ) -> Result<(DefinedTerm, Option<String>)> {
        let is_known = |name: &str| known.iter().any(|it| it.as_str() == name);
        if is_known(words) {
            return Ok((DefinedTerm::new(words), None));
        }
        match words.rsplit_once(' ').filter(|(name, _)| is_known(name)) {
            Some((name, id)) => Ok((DefinedTerm::new(name), Some(id.to_owned()))),
            None => {
                let known = known.iter().map(|it| (*it).clone()).collect();
                self.fail(cell.at, ExampleProblem::Unknown { kind, name: words.to_owned(), known })
            }
        }
    }

    fn when(&self, cell: &TextCell) -> Result<When> {
        let text = cell.text.as_str();
        if let Ok(at) = parse_instant(text) {
            return Ok(When::Instant(at));
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(When::Date(date));
        }
        if let Ok(period) = text.parse() {
            return Ok(When::Period(period));
        }
        let fail = || self.fail(cell.at, ExampleProblem::When { text: text.to_owned() });
        let Some((name, ordinal)) = text.rsplit_once(' ') else { return fail() };
        let Some(ordinal) = ordinal.parse().ok().filter(|it| *it > 0) else { return fail() };
        let stated = |file: &&Parsed| file.raw.period.contains_key(name);
        let Some(file) = [self.file, self.definitions].into_iter().find(stated) else {
            let known = self.declared(|file| file.raw.period.keys().collect());
            let (name, known) = (name.to_owned(), known.into_iter().cloned().collect());
            return self.fail(cell.at, ExampleProblem::Unknown { kind: "period", name, known });
        };
        let named = Spanned::new(0..0, name.to_owned());
        match calendar(file, &named).ok().and_then(|calendar| numbered(&calendar, ordinal)) {
            Some(days) => Ok(When::Window { name: name.to_owned(), ordinal, days }),
            None => self.fail(cell.at, ExampleProblem::NoWindow { name: name.to_owned(), ordinal }),
        }
    }

    fn quantity(&self, cell: &TextCell) -> Result<Quantity> {
        let text = cell.text.as_str();
        let (number, unit) = match (text.strip_suffix('%'), text.rsplit_once(' ')) {
            (Some(number), _) => (number, Some("%")),
            (None, Some((number, unit))) => (number, Some(unit)),
            (None, None) => (text, None),
        };
        let is_known = |unit: &str| {
            let declared = self.declared(|file| file.raw.unit.keys().collect());
            unit == "%" || unit.parse::<Currency>().is_ok() || declared.iter().any(|it| it.as_str() == unit)
        };
        if !unit.is_none_or(is_known) {
            return self.fail(cell.at, ExampleProblem::Amount { text: text.to_owned() });
        }
        let number = Exact::from_written(number.trim());
        let number = number.or_else(|problem| self.fail(cell.at, ExampleProblem::Number(problem)))?;
        Ok(Quantity { number, unit: unit.map(str::to_owned) })
    }

    fn expectations(&self, table: &TextTable) -> Result<Vec<Expect>> {
        let columns = ["payee", "period", "amount", "known", "booked", "why"].map(str::to_owned);
        let start = table.rows.first().and_then(|row| row.first()).map_or(0, |head| head.at);
        let mut all = Vec::new();
        for row in self.rows(table, &columns)? {
            let Some(first) = row.get("expect") else { continue };
            let needed = |name: &'static str| match row.get(name) {
                Some(cell) => Ok(*cell),
                None => self.fail(start, ExampleProblem::MissingColumn { name }),
            };
            let (period, amount) = (needed("period")?, needed("amount")?);
            let when = |name: &str| row.get(name).map(|cell| self.when(cell)).transpose();
            let own = self.contract.as_str();
            let (contract, name) = first.text.split_once('/').unwrap_or((own, &first.text));
            let is_own = self.file.raw.term.contains_key(name) || self.file.raw.right.contains_key(name);
            if contract == own && !is_own && !self.is_ended(name) {
                let known = self.file.raw.term.keys().chain(self.file.raw.right.keys()).cloned().collect();
                let name = name.to_owned();
                return self.fail(first.at, ExampleProblem::Unknown { kind: "term or right", name, known });
            }
            if let (Some(booked), None) = (row.get("booked"), row.get("known")) {
                return self.fail(booked.at, ExampleProblem::BookedUnknown);
            }
            all.push(Expect {
                place: self.file.document.location_at(first.at),
                contract: ContractId::new(contract),
                name: TermId::new(name),
                payee: row.get("payee").map(|cell| PartyId::new(&cell.text)),
                period: self.when(period)?,
                expected: self.expected(amount)?,
                known: when("known")?,
                booked: when("booked")?,
            });
        }
        Ok(all)
    }

    /// A term of an earlier version may stand in an example of a later one; which there are is known only when all
    /// versions are read.
    fn is_ended(&self, _name: &str) -> bool {
        !std::ptr::eq(self.file, self.definitions)
    }

    fn expected(&self, cell: &TextCell) -> Result<Expected> {
        let count = cell.text.strip_suffix(" findings").or_else(|| cell.text.strip_suffix(" finding"));
        match count.map(str::parse) {
            Some(Ok(count)) => Ok(Expected::Findings(count)),
            Some(Err(_)) => self.fail(cell.at, ExampleProblem::Amount { text: cell.text.clone() }),
            None if cell.text == "stops" => Ok(Expected::Stops),
            None => match cell.text.strip_suffix(" short") {
                Some(amount) => {
                    let cell = TextCell { text: amount.to_owned(), ..cell.clone() };
                    self.quantity(&cell).map(Expected::Short)
                }
                None => self.quantity(cell).map(Expected::Amount),
            },
        }
    }

    /// Ids are of one item each, and what names one names one that there is.
    fn check(&self, example: &Example) -> Result<()> {
        let place = |at: &Location| self.file.document.offset_of(at);
        let mut ids: BTreeSet<&String> = BTreeSet::new();
        for given in &example.given {
            if let Some(id) = given.id.as_ref().filter(|id| !ids.insert(id)) {
                return self.fail(place(&given.place), ExampleProblem::Repeated { id: id.clone() });
            }
        }
        for given in &example.given {
            let named: &[String] = match &given.what {
                What::Billing { of } | What::Receipt { of } | What::Deduction { of, .. } => of,
                What::Correction { of } | What::Void { of } => std::slice::from_ref(of),
                What::Charge
                | What::Usage
                | What::Figure(_)
                | What::Fact(_)
                | What::Status(_)
                | What::Notice(_)
                | What::Rate { .. } => &[],
            };
            if let Some(name) = named.iter().find(|id| !ids.contains(id)) {
                let known = ids.iter().map(|it| (*it).clone()).collect();
                let problem = ExampleProblem::Unknown { kind: "item", name: name.clone(), known };
                return self.fail(place(&given.place), problem);
            }
        }
        match example.expect.is_empty() {
            true => self.fail(place(&example.place), ExampleProblem::NothingExpected),
            false => Ok(()),
        }
    }
}

/// The window of a place, 1 for the first: that of the anchor, or of the first date.
fn numbered(calendar: &Calendar, ordinal: u32) -> Option<Window> {
    let first = match calendar {
        Calendar::Months { anchor, .. } => calendar.window(*anchor),
        Calendar::Dates(starts) => calendar.window(*starts.first()?),
        Calendar::Weeks { .. } => None,
    };
    (1..ordinal).try_fold(first?, |window, _| calendar.next(window))
}
