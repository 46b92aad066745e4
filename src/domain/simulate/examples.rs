//! Worked examples of agreements: each is run, and it is told figure by figure what came out.

use super::books::KeptBooks;
use super::breaches::findings;
use super::given::{GivenError, Told, known_by};
use super::known::known_at;
use super::run::{StepError, as_known, run_on};
use crate::domain::calendar::Window;
use crate::domain::contract::Contract;
use crate::domain::contract::document::Location;
use crate::domain::contract::example::{Example, Expect, Expected, Given, Quantity, VersionExamples, What, When};
use crate::domain::contract::folder::Folder;
use crate::domain::contract::measure::{FigureDefinition, Missing};
use crate::domain::engine::entitlement::Yield;
use crate::domain::engine::outcome::CapUse;
use crate::domain::engine::owed::{Account, ByPeriod, Run};
use crate::domain::engine::stretches::Grain;
use crate::domain::entry::Entry;
use crate::domain::ids::{ContractId, DefinedTerm};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span, start_of_day};
use crate::domain::settlement::BookedLine;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One row of what an example expects, and what came out instead where that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    pub at: Location,
    pub contract: ContractId,
    pub version: u32,
    pub example: String,
    /// The term or right, with the contract where it is another's.
    pub of: String,
    pub period: String,
    pub expected: String,
    pub found: String,
    pub is_right: bool,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, example, of, period, expected, found, .. } = self;
        write!(f, "{at}: example \"{example}\": {of} {period}: expected {expected}, and what came out is {found}")
    }
}

/// Why nothing came out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NothingFound {
    #[error(transparent)]
    Given(#[from] GivenError),
    #[error("it stops: {0}")]
    Step(#[from] StepError),
    #[error("no period of the contract's settlements, or several together; those are named like {like}")]
    NoPeriod { like: String },
    #[error("{contract} is not known yet")]
    NotKnown { contract: ContractId },
    #[error("{name} is a right, which yields findings")]
    NoTerm { name: String },
}

type Result<T> = std::result::Result<T, NothingFound>;

/// Runs every example of a folder, each with its version and those before it; other agreements stand as they are.
pub fn run_examples(folder: &Folder) -> Vec<Figure> {
    let examples = |of: &'_ VersionExamples| -> Vec<Figure> {
        of.examples.iter().flat_map(|example| run_example(folder, of, example)).collect()
    };
    folder.examples.iter().flat_map(examples).collect()
}

fn run_example(folder: &Folder, of: &VersionExamples, example: &Example) -> Vec<Figure> {
    let contracts = contracts(folder, of, example);
    let run = setting(folder, of, example, &contracts);
    let found = |expect: &Expect| match &run {
        Ok(setting) => setting.found(expect),
        Err(problem) => Err(problem.clone()),
    };
    let figure = |expect: &Expect| {
        let (found, is_right) = match found(expect) {
            Ok((found, is_right)) => (found, is_right),
            Err(NothingFound::Step(_)) if expect.expected == Expected::Stops => ("stops".to_owned(), true),
            Err(problem) => (problem.to_string(), false),
        };
        Figure {
            at: expect.place.clone(),
            contract: of.contract.clone(),
            version: of.version,
            example: example.title.clone(),
            of: match expect.contract == of.contract {
                true => expect.name.to_string(),
                false => format!("{}/{}", expect.contract, expect.name),
            },
            period: expect.period.to_string(),
            expected: expect.expected.to_string(),
            found,
            is_right,
        }
    };
    example.expect.iter().map(figure).collect()
}

/// The agreements as an example sees them: of its own no later version, and a figure that it never names is zero.
fn contracts(folder: &Folder, of: &VersionExamples, example: &Example) -> Vec<Contract> {
    let named: BTreeSet<&DefinedTerm> = example.given.iter().filter_map(figure_of).collect();
    let mut contracts = folder.contracts.clone();
    for contract in &mut contracts {
        let (zone, is_own) = (contract.head.zone, contract.head.id == of.contract);
        contract.versions.retain(|version| !is_own || version.number <= of.version);
        for version in &mut contract.versions {
            let signed = version.signed.map(|date| start_of_day(zone, date));
            if is_own {
                version.recorded_at = version.recorded_at.or(signed).or(Some(version.effective_at));
            }
            let unnamed = |(name, _): &(&DefinedTerm, &mut FigureDefinition)| !(is_own && named.contains(*name));
            for (_, figure) in version.figures.iter_mut().filter(unnamed) {
                if figure.missing != Missing::Nothing {
                    figure.missing = Missing::Zero;
                }
            }
        }
    }
    contracts
}

fn figure_of(given: &Given) -> Option<&DefinedTerm> {
    match &given.what {
        What::Figure(name) => Some(name),
        _ => None,
    }
}

/// What an example gives, told to its agreements.
struct Setting<'a> {
    contracts: &'a [Contract],
    told: Told<'a>,
    example: &'a Example,
}

fn setting<'a>(
    folder: &Folder,
    of: &VersionExamples,
    example: &'a Example,
    contracts: &'a [Contract],
) -> Result<Setting<'a>> {
    let find = |id: &ContractId| {
        let found = contracts.iter().find(|contract| contract.head.id == *id);
        found.ok_or_else(|| NothingFound::NotKnown { contract: id.clone() })
    };
    let mut told = Told::new(find(&of.contract)?, &folder.register);
    for given in &example.given {
        told.add(given, None)?;
    }
    let periods = example.expect.iter().flat_map(|it| [Some(&it.period), it.booked.as_ref()]).flatten();
    let last = periods.filter_map(When::days).map(|days| days.end_day).max();
    told.fill(&example.given, last);
    // What is recorded with versions, and stands beside them.
    for recorded in folder.examples.iter().filter(|it| !it.records.is_empty()) {
        let contract = find(&recorded.contract)?;
        let Some(version) = contract.versions.iter().find(|version| version.number == recorded.version) else {
            continue;
        };
        let mut with_version = Told::new(contract, &folder.register);
        for given in &recorded.records {
            with_version.add(given, version.recorded_at)?;
        }
        let entries = with_version.scenario.entries.into_iter().map(|mut entry| {
            entry.id.source = format!("{} {}", recorded.contract, recorded.version);
            entry
        });
        told.scenario.entries.extend(entries);
    }
    for record in &folder.facts {
        let entry = Entry::from_json(&record.to_json().to_string());
        told.scenario.entries.extend(entry.ok());
    }
    Ok(Setting { contracts, told, example })
}

impl Setting<'_> {
    /// What came out, in words, and whether that was expected.
    fn found(&self, expect: &Expect) -> Result<(String, bool)> {
        let contract = self.contract(&expect.contract)?;
        let periods = periods(contract, &expect.period)?;
        let known = known_by(expect.known.as_ref(), contract.head.zone);
        match &expect.expected {
            Expected::Findings(expected) => {
                let count = self.findings(contract, expect, known);
                Ok((Expected::Findings(count).to_string(), count == *expected))
            }
            Expected::Amount(expected) => {
                let unit = self.unit(contract, expect)?;
                let (found, how) = match &expect.booked {
                    Some(booked) => (self.booked(contract, expect, booked, &periods)?, String::new()),
                    None => {
                        let run = self.run(contract, known, &periods)?;
                        let owed = run.owed(contract).map_err(StepError::from)?;
                        (sum(&owed, expect, &periods), in_words(&run, expect, &periods))
                    }
                };
                let is_right = is_of(&unit, expected) && found == expected.number;
                let found = format!("{}{how}", Quantity { number: found, unit: Some(unit.to_string()) });
                Ok((found, is_right))
            }
            Expected::Short(expected) => {
                let unit = self.unit(contract, expect)?;
                let run = self.run(contract, known, &periods)?;
                let lacks: Exact = yields(&run, expect, &periods).map(|(_, it)| it.shortfall.clone()).sum();
                let is_right = is_of(&unit, expected) && lacks == expected.number;
                let found = Expected::Short(Quantity { number: lacks, unit: Some(unit.to_string()) });
                Ok((found.to_string(), is_right))
            }
            Expected::Stops => {
                let run = self.run(contract, known, &periods)?;
                let owed = run.owed(contract).map_err(StepError::from)?;
                Ok((sum(&owed, expect, &periods).to_string(), false))
            }
        }
    }

    fn contract(&self, id: &ContractId) -> Result<&Contract> {
        let found = self.contracts.iter().find(|contract| contract.head.id == *id);
        found.ok_or_else(|| NothingFound::NotKnown { contract: id.clone() })
    }

    /// What a term is owed in.
    fn unit(&self, contract: &Contract, expect: &Expect) -> Result<Unit> {
        let stated = contract.versions.iter().rev().find_map(|version| version.term(&expect.name));
        let unit = stated.map(|term| term.unit.clone());
        unit.ok_or_else(|| NothingFound::NoTerm { name: expect.name.to_string() })
    }

    fn findings(&self, contract: &Contract, expect: &Expect, known: Instant) -> u32 {
        let contracts = as_known(self.contracts, known);
        let Some(contract) = contracts.iter().find(|it| it.head.id == contract.head.id) else { return 0 };
        let (zone, days) = (contract.head.zone, expect.period.days());
        let known = known_at(&self.told.scenario, known);
        let within = |at: Instant| days.map_or(at == expect.period.start(zone), |days| days.span(zone).contains(at));
        let found = findings(contract, &self.told.register, &known, Span::ever().end);
        let count = found.iter().filter(|it| it.right == expect.name && within(it.occurred_at)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Runs an agreement as it was known, through the last of some periods.
    fn run(&self, contract: &Contract, known: Instant, periods: &[Window]) -> Result<Run> {
        let zone = contract.head.zone;
        let through = periods.last().map_or(Instant::MIN_UTC, |period| period.span(zone).end);
        let contracts = as_known(self.contracts, known);
        let known = known_at(&self.told.scenario, known);
        Ok(run_on(&contracts, &self.told.register, &known, &contract.head.id, through, Grain::Items)?)
    }

    /// What a period books for others: it, and those that the example books before it, are settled in their order.
    fn booked(&self, contract: &Contract, expect: &Expect, booked: &When, periods: &[Window]) -> Result<Exact> {
        let zone = contract.head.zone;
        let mut settled: BTreeSet<(Window, Instant)> = BTreeSet::new();
        for row in self.example.expect.iter().filter(|row| row.contract == expect.contract) {
            let Some(booked) = &row.booked else { continue };
            let last = self::periods(contract, booked)?.last().copied();
            settled.extend(last.map(|period| (period, known_by(row.known.as_ref(), zone))));
        }
        let mine = self::periods(contract, booked)?.last().map(|it| (*it, known_by(expect.known.as_ref(), zone)));
        let mut books = KeptBooks::default();
        let mut open: Option<Window> = None;
        for (period, known) in settled {
            if let Some(before) = open.filter(|before| *before < period) {
                books.close(&contract.head.id, before).map_err(StepError::from)?;
            }
            open = Some(period);
            let owed = self.run(contract, known, &[period])?.owed(contract).map_err(StepError::from)?;
            let settlements = books.settle(contract, period, known, &owed).map_err(StepError::from)?;
            if mine == Some((period, known)) {
                let lines = settlements.iter().filter(|it| it.period == period).flat_map(|it| &it.lines);
                let is_of = |line: &&BookedLine| {
                    line.term == expect.name
                        && expect.payee.as_ref().is_none_or(|payee| *payee == line.payee)
                        && periods.contains(&line.origin)
                };
                return Ok(lines.filter(is_of).map(|line| line.amount.clone()).sum());
            }
        }
        Ok(Exact::zero())
    }
}

/// The settlement periods that a row names: one or several, whole.
fn periods(contract: &Contract, when: &When) -> Result<Vec<Window>> {
    let calendar = &contract.head.settlement;
    let (zone, days) = (contract.head.zone, when.days());
    let first_day = when.start(zone).with_timezone(&zone).date_naive();
    let first = calendar.window(first_day);
    let no_period = || {
        let like = first.map(|period| period.to_string()).unwrap_or_default();
        NothingFound::NoPeriod { like }
    };
    let first = first.ok_or_else(no_period)?;
    let Some(days) = days.filter(|_| !matches!(when, When::Date(_))) else { return Ok(vec![first]) };
    let mut periods = vec![first];
    let mut last = first;
    while last.end_day < days.end_day {
        last = calendar.next(last).ok_or_else(no_period)?;
        periods.push(last);
    }
    match (first.first_day, last.end_day) == (days.first_day, days.end_day) {
        true => Ok(periods),
        false => Err(no_period()),
    }
}

/// What of some accounts is of a row: its term, payee and periods.
fn sum(accounts: &BTreeMap<Account, ByPeriod>, expect: &Expect, periods: &[Window]) -> Exact {
    let is_of = |account: &Account| {
        (&account.contract, &account.term) == (&expect.contract, &expect.name)
            && expect.payee.as_ref().is_none_or(|payee| *payee == account.payee)
    };
    let lines = accounts.iter().filter(|(account, _)| is_of(account)).flat_map(|(_, lines)| lines);
    lines.filter(|(origin, _)| periods.contains(origin)).map(|(_, amount)| amount.clone()).sum()
}

fn yields<'r>(run: &'r Run, expect: &Expect, periods: &[Window]) -> impl Iterator<Item = (&'r Window, &'r Yield)> {
    let of_term = run.entitlements.terms.get(&(expect.contract.clone(), expect.name.clone()));
    of_term.into_iter().flatten().filter(|(period, _)| periods.contains(period))
}

/// How an amount came about.
fn in_words(run: &Run, expect: &Expect, periods: &[Window]) -> String {
    let yields: Vec<&Yield> = yields(run, expect, periods).map(|(_, it)| it).collect();
    let sum = |of: fn(&Yield) -> &Exact| yields.iter().map(|it| of(it).clone()).sum::<Exact>();
    let (base, uncapped, amount) = (sum(|it| &it.base), sum(|it| &it.uncapped), sum(|it| &it.amount));
    let cap = yields.iter().rev().find_map(|it| CapUse::in_all(it.caps.values()));
    let cap = cap.map(|cap| format!(", {uncapped} before the cap, of which {} of {} are used", cap.after, cap.limit));
    format!(" (base {base}{}, {amount} unrounded)", cap.unwrap_or_default())
}

fn is_of(unit: &Unit, expected: &Quantity) -> bool {
    expected.unit.as_ref().is_some_and(|named| *named == unit.to_string())
}
