//! Runs the steps of a scenario, in order, against one set of books.

use super::Scenario;
use super::answer::{
    Answer, Answers, Booked, BookedInAll, Charges, Crossing, Entitled, EntitledPeriod, Finding, NotAgreed, Settlement,
};
use super::books::{BooksError, KeptBooks};
use super::breaches::{findings, held};
use super::charges::charges;
use super::known::{Known, known_at};
use super::step::Step;
use super::sums::run_on_sums;
use super::uncounted::uncounted;
use crate::domain::calendar::Window;
use crate::domain::contract::Contract;
use crate::domain::contract::folder::{FolderErrors, read_folder};
use crate::domain::contract::term::Payees;
use crate::domain::contract::window::WindowRule;
use crate::domain::engine::EngineError;
use crate::domain::engine::entitlement::Yield;
use crate::domain::engine::feed::{self, Event, Units};
use crate::domain::engine::item::AttributesId;
use crate::domain::engine::outcome::CapUse;
use crate::domain::engine::owed::{self, Detail, Run, rounding};
use crate::domain::engine::stretches::Grain;
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::names::{nearest, there_is};
use crate::domain::period::{Instant, LocalTime, Span};
use crate::domain::register::Register;
use crate::domain::restated::KnownUsage;
use crate::domain::settlement::BookedLine;
use std::collections::{BTreeMap, BTreeSet};

/// Why a step has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Books(#[from] BooksError),
    #[error("no contract \"{contract}\" is known{}", there_is(&nearest(contract.as_str(), .known)))]
    UnknownContract { contract: ContractId, known: Vec<String> },
    #[error("{contract} has no period \"{period}\"{}", .like.map(|it| format!("; its periods are named like {it}")).unwrap_or_default())]
    UnknownPeriod { contract: ContractId, period: String, like: Option<Window> },
}

impl StepError {
    /// Whether something can still be recorded or agreed with which there is an answer.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Engine(engine) if engine.is_waiting())
    }

    /// The name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Engine(EngineError::MissingFx { .. }) => "missing_fx",
            Self::Engine(EngineError::MissingPrices { .. }) => "missing_price",
            Self::Engine(EngineError::MissingFigure { .. }) => "missing_figure",
            Self::Engine(EngineError::NoContext { .. }) => "no_context",
            Self::Engine(EngineError::NoRow { .. }) => "no_rate_for_item",
            Self::Engine(EngineError::Straddling { .. }) => "straddling",
            Self::Engine(EngineError::NoPeriod { .. }) => "no_period",
            Self::Engine(EngineError::TornTotal { .. }) => "torn_total",
            Self::Engine(EngineError::NothingUsed { .. }) => "nothing_used",
            Self::Engine(EngineError::ToBeAgreed { .. }) => "to_be_agreed",
            Self::Engine(EngineError::Assumed { .. }) => "assumed",
            Self::Engine(EngineError::Circle { .. } | EngineError::Undeclared { .. }) => "refused",
            Self::Books(BooksError::PeriodClosed { .. }) => "period_closed",
            Self::Books(BooksError::KnowsLess { .. } | BooksError::NotSettled { .. }) => "out_of_order",
            Self::UnknownContract { .. } => "unknown_contract",
            Self::UnknownPeriod { .. } => "unknown_period",
        }
    }
}

impl From<StepError> for Answer {
    fn from(error: StepError) -> Self {
        Self::Failed { code: error.code(), is_waiting: error.is_waiting(), message: error.to_string() }
    }
}

/// Answers every step of a scenario, item by item.
///
/// # Errors
/// The contracts are refused.
pub fn run(scenario: &Scenario) -> Result<Answers, FolderErrors> {
    run_by(scenario, Grain::Items, || {})
}

/// As [`run`], with usage in a grain; `told` is called after each step.
///
/// # Errors
/// The contracts are refused.
pub fn run_by(scenario: &Scenario, grain: Grain, mut told: impl FnMut()) -> Result<Answers, FolderErrors> {
    let folder = read_folder(&scenario.documents)?;
    let (contracts, register) = (folder.contracts, folder.register);
    let mut simulation = Simulation { scenario, grain, contracts, register, books: BTreeMap::new() };
    let mut answers = Answers::default();
    for step in &scenario.steps {
        let answer = simulation.answer(step);
        answers.steps.push(answer.unwrap_or_else(Answer::from));
        told();
    }
    for (contract, kept) in &simulation.books {
        answers.booked_in_all.extend(booked_in_all(contract, &kept.books.booked));
    }
    answers.uncounted = uncounted(scenario, &simulation.contracts, &simulation.register, Instant::MAX_UTC);
    Ok(answers)
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    grain: Grain,
    contracts: Vec<Contract>,
    register: Register,
    books: BTreeMap<ContractId, KeptBooks>,
}

/// What is known at an instant.
struct View {
    contracts: Vec<Contract>,
    known: Known,
}

impl Simulation<'_> {
    fn answer(&mut self, step: &Step) -> Result<Answer, StepError> {
        match step {
            Step::Settle { contract, period, cutoff } => self.settle(contract, period, *cutoff),
            Step::Close { contract, period } => {
                let window = self.window(contract, period)?;
                self.books.entry(contract.clone()).or_default().close(contract, window)?;
                Ok(Answer::Closed)
            }
            Step::Entitlement { contract, through, known_at } => self.entitlement(contract, through, *known_at),
            Step::Findings { contract, through, known_at } => {
                let end = self.end_of(contract, self.window(contract, through)?)?;
                let findings = self.findings(&self.view(*known_at), contract, end);
                Ok(Answer::Findings { findings })
            }
            Step::Charges { known_at: at } => {
                let known = known_at(self.scenario, *at);
                let charges = charges(&known, &self.register);
                let Known { conflicts, rejected, waiting, .. } = known;
                Ok(Answer::Charges(Charges { charges, conflicts, rejected, waiting }))
            }
            Step::Period { contract, period } => {
                let zone = self.contract(contract)?.head.zone;
                let span = self.window(contract, period)?.span(zone);
                let micros = span.end.timestamp_micros().saturating_sub(span.start.timestamp_micros());
                let hours = Exact::ratio(micros, 3_600_000_000).unwrap_or_default();
                Ok(Answer::Period { start: span.start, end: span.end, hours })
            }
        }
    }

    fn contract(&self, id: &ContractId) -> Result<&Contract, StepError> {
        contract_named(&self.contracts, id)
    }

    fn window(&self, contract: &ContractId, period: &str) -> Result<Window, StepError> {
        period_named(self.contract(contract)?, period)
    }

    fn end_of(&self, contract: &ContractId, window: Window) -> Result<Instant, StepError> {
        Ok(window.span(self.contract(contract)?.head.zone).end)
    }

    /// What was recorded at or before an instant.
    fn view(&self, at: Instant) -> View {
        View { contracts: as_known(&self.contracts, at), known: known_at(self.scenario, at) }
    }

    fn findings(&self, view: &View, contract: &ContractId, end: Instant) -> Vec<Finding> {
        let contract = view.contracts.iter().find(|it| it.head.id == *contract);
        contract.map(|contract| findings(contract, &self.register, &view.known, end)).unwrap_or_default()
    }

    fn run(&self, view: &View, contract: &ContractId, through: Instant) -> Result<Run, StepError> {
        run_on(&view.contracts, &self.register, &view.known, contract, through, self.grain)
    }

    fn settle(&mut self, id: &ContractId, period: &str, cutoff: Instant) -> Result<Answer, StepError> {
        let window = self.window(id, period)?;
        let end = self.end_of(id, window)?;
        let view = self.view(cutoff);
        let findings = self.findings(&view, id, end);
        let known = view.contracts.iter().find(|contract| contract.head.id == *id);
        let not_agreed = match known.map(Contract::begins) {
            None => Some(NotAgreed::NotRecorded),
            Some(begins) => {
                let zone = self.contract(id)?.head.zone;
                let begins = begins.filter(|begins| end <= *begins).map(|at| LocalTime { at, zone });
                begins.map(|begins| NotAgreed::BeforeContract { begins })
            }
        };
        let (run, owed) = match known {
            Some(contract) => {
                let run = self.run(&view, id, end)?;
                let owed = run.owed(contract)?;
                (Some((contract, run)), owed)
            }
            None => (None, BTreeMap::new()),
        };
        let contract = self.contract(id)?.clone();
        let settled = self.books.entry(id.clone()).or_default().settle(&contract, window, cutoff, &owed)?;
        let first = settled.iter().map(|it| it.period).min().unwrap_or(window);
        let adjusted: BTreeSet<Window> = settled.iter().flat_map(|it| &it.lines).map(|line| line.origin).collect();
        let is_shown = |period: Window| period >= first || adjusted.contains(&period);
        let terms = run.map(|(contract, run)| terms(contract, &run, window, is_shown)).unwrap_or_default();
        let settlements = settled
            .into_iter()
            .map(|it| Settlement { period: it.period.to_string(), booked: booked(&contract, &it.lines) });
        Ok(Answer::Settled { settlements: settlements.collect(), terms, findings, not_agreed })
    }

    fn entitlement(&self, id: &ContractId, through: &str, known_at: Instant) -> Result<Answer, StepError> {
        let window = self.window(id, through)?;
        let view = self.view(known_at);
        let Some(contract) = view.contracts.iter().find(|contract| contract.head.id == *id) else {
            return Ok(Answer::Entitled { terms: BTreeMap::new() });
        };
        let run = self.run(&view, id, self.end_of(id, window)?)?;
        Ok(Answer::Entitled { terms: terms(contract, &run, window, |_| true) })
    }
}

/// The contract of an id.
///
/// # Errors
/// There is none, and which there are.
pub fn contract_named<'a>(contracts: &'a [Contract], id: &ContractId) -> Result<&'a Contract, StepError> {
    let found = contracts.iter().find(|contract| contract.head.id == *id);
    found.ok_or_else(|| {
        let known = contracts.iter().map(|contract| contract.head.id.to_string()).collect();
        StepError::UnknownContract { contract: id.clone(), known }
    })
}

/// The period that a contract's calendar calls by a name.
///
/// # Errors
/// There is none, and how they are named.
pub fn period_named(contract: &Contract, name: &str) -> Result<Window, StepError> {
    contract.head.settlement.named(name).ok_or_else(|| {
        let (contract, like) = (contract.head.id.clone(), contract.first_period());
        StepError::UnknownPeriod { contract, period: name.to_owned(), like }
    })
}

/// The versions that were recorded at or before an instant, and the contracts that have one.
pub(super) fn as_known(contracts: &[Contract], at: Instant) -> Vec<Contract> {
    let mut contracts = contracts.to_vec();
    for contract in &mut contracts {
        contract.versions.retain(|version| version.recorded_at.is_none_or(|recorded_at| recorded_at <= at));
    }
    contracts.retain(|contract| !contract.versions.is_empty());
    contracts
}

/// Runs a contract on what is known, up to an instant.
pub(super) fn run_on(
    contracts: &[Contract],
    register: &Register,
    known: &Known,
    contract: &ContractId,
    through: Instant,
    grain: Grain,
) -> Result<Run, StepError> {
    fed((contracts, register), known, |fed| match grain {
        Grain::Items => Ok(owed::run(fed, &feed::feed(*fed), contract, through, Detail::Amounts)?),
        Grain::Sums => Ok(run_on_sums(fed, contract, through)?),
    })
}

/// Hands what is known to the engine, in its words.
pub(super) fn fed<T>(
    (contracts, register): (&[Contract], &Register),
    known: &Known,
    then: impl FnOnce(&feed::Known<'_>) -> T,
) -> T {
    let held = held(contracts, register, known);
    let units = Units::of(contracts);
    let usage: Vec<Event<'_>> = known.usage.iter().map(event).collect();
    then(&feed::Known {
        contracts,
        register,
        prices: &known.prices,
        rates: &known.rates,
        usage: &usage,
        sums: &[],
        records: &known.records,
        held: &held,
        units: &units,
        books_begin: Span::ever().start,
    })
}

/// What each term of a contract yields through a period, told of some periods.
pub fn terms(
    contract: &Contract,
    run: &Run,
    through: Window,
    is_shown: impl Fn(Window) -> bool,
) -> BTreeMap<TermId, Entitled> {
    let of_contract = run.entitlements.terms.iter().filter(|((of, _), _)| *of == contract.head.id);
    let terms = of_contract.map(|((_, term), yields)| {
        (term.clone(), entitled(contract, term, filled(contract, yields, through), &is_shown))
    });
    terms.collect()
}

/// The lines that a settlement booked, by term, parties and unit.
pub fn booked(contract: &Contract, lines: &[BookedLine]) -> Vec<Booked> {
    let mut found: BTreeMap<_, BTreeMap<String, Exact>> = BTreeMap::new();
    for line in lines {
        let of = found.entry((&line.term, &line.payer, &line.payee, &line.unit)).or_default();
        *of.entry(line.origin.to_string()).or_default() += &line.amount;
    }
    let booked =
        |((term, payer, payee, unit), lines): ((&TermId, &PartyId, &PartyId, &Unit), BTreeMap<String, Exact>)| {
            let stated = contract.versions.iter().rev().find_map(|version| version.term(term));
            Booked {
                is_shared: stated.is_some_and(|term| !matches!(term.payees, Payees::One(_))),
                term: term.clone(),
                payer: payer.clone(),
                payee: payee.clone(),
                unit: unit.clone(),
                amount: lines.values().cloned().sum(),
                lines,
            }
        };
    found.into_iter().map(booked).collect()
}

/// The sums of everything that a contract's books hold.
pub fn booked_in_all(contract: &ContractId, lines: &[BookedLine]) -> Vec<BookedInAll> {
    let mut sums = BTreeMap::new();
    for BookedLine { term, payer, payee, unit, amount, .. } in lines {
        *sums.entry((term, payer, payee, unit)).or_insert_with(Exact::default) += amount;
    }
    let sum = |((term, payer, payee, unit), amount): ((&TermId, &PartyId, &PartyId, &Unit), Exact)| BookedInAll {
        contract: contract.clone(),
        term: term.clone(),
        payer: payer.clone(),
        payee: payee.clone(),
        unit: unit.clone(),
        amount,
    };
    sums.into_iter().map(sum).collect()
}

fn entitled(
    contract: &Contract,
    id: &TermId,
    yields: BTreeMap<Window, Yield>,
    is_shown: &impl Fn(Window) -> bool,
) -> Entitled {
    let unit = contract.versions.iter().rev().find_map(|version| version.term(id)).map(|term| &term.unit);
    let round = |amount: &Exact| match unit {
        Some(unit) => amount.round(unit.digits(), rounding(contract, unit)),
        None => amount.clone(),
    };
    let never_resets = never_resets(contract, id);
    let mut found = Entitled { unit: unit.cloned(), ..Entitled::default() };
    let mut used: BTreeMap<AttributesId, CapUse> = BTreeMap::new();
    for (window, it) in yields {
        let before = round(&found.cumulative);
        found.cumulative += &it.amount;
        // What has no line in a period stays as it was, where no window ends.
        used.retain(|_, _| never_resets);
        used.values_mut().for_each(|cap| cap.before.clone_from(&cap.after));
        used.extend(it.caps.iter().map(|(group, cap)| (*group, cap.clone())));
        let cap = CapUse::in_all(used.values());
        if !is_shown(window) {
            continue;
        }
        let name = window.to_string();
        let period = EntitledPeriod {
            base: it.base.clone(),
            uncapped: it.uncapped.clone(),
            paid_back: it.paid_back.clone(),
            accrued: it.amount.clone(),
            rounded: round(&found.cumulative) - before,
            cap,
            shortfall: it.shortfall.clone(),
            versions: it.versions.keys().copied().collect(),
        };
        found.crossings.extend(it.crossings.iter().map(|crossing| Crossing {
            item: crossing.item.clone(),
            period: name.clone(),
            at: crossing.at,
            found_room: crossing.found_room.clone(),
            found_none: crossing.found_none.clone(),
        }));
        found.without_room.extend(it.without_room.iter().cloned());
        found.periods.insert(name, period);
    }
    found
}

/// A yield for each period from the first with one on.
fn filled(contract: &Contract, yields: &BTreeMap<Window, Yield>, through: Window) -> BTreeMap<Window, Yield> {
    let mut all = yields.clone();
    let mut at = yields.keys().next().copied();
    while let Some(window) = at.filter(|window| *window <= through) {
        all.entry(window).or_default();
        at = contract.head.settlement.next(window);
    }
    all
}

/// Whether a term has its caps for all time, so that a period without a line leaves them as they were.
fn never_resets(contract: &Contract, id: &TermId) -> bool {
    let caps = contract.versions.iter().filter_map(|version| version.caps.get(version.term(id)?.cap.as_ref()?));
    caps.into_iter().all(|cap| cap.counting.each == WindowRule::Term)
}

fn event(event: &KnownUsage) -> Event<'_> {
    let KnownUsage { id, content, .. } = event;
    Event { id, content }
}
