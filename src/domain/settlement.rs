//! Settlement: what is due is what is owed as known at the cutoff, less what was booked (CONTRACTS 6 and 7).
//!
//! One path for the first run, a rerun, late usage, corrections and amendments.

use super::contract::problem::there_is;
use super::contract::{Contract, Missing, Selection, Term};
use super::deduction::PlacedDeduction;
use super::findings::{Held, without_held};
use super::ids::{ContractId, DefinedTerm, PartyId, TermId};
use super::money::{Currency, Exact};
use super::period::{Instant, Period, Timeline, last_instant_before};
use super::price::PriceBook;
use super::rating::{UsageRollup, rate};
use super::record::{Fact, Figure, first_fact};
use super::register::Register;
use super::sharing::{Accrual, HeldBack, SharingError, SharingInput, parties_of, share};
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All that a settlement is decided from, as known at the cutoff.
#[derive(Clone, Debug, Serialize)]
pub struct SettlementInput {
    pub contract: ContractId,
    pub period: Period,
    pub cutoff: Instant,
    /// Every contract that the settled one draws on, itself included.
    pub contracts: Vec<Contract>,
    pub register: Register,
    pub prices: PriceBook,
    pub timeline: Timeline,
    pub usage: Vec<UsageRollup>,
    pub deductions: Vec<PlacedDeduction>,
    pub figures: Vec<Figure>,
    pub facts: Vec<Fact>,
    /// How many events up to the period's end no mapping knows: they count nowhere yet.
    pub unresolved_events: i64,
    /// What each of the contracts holds back because it breaks a right.
    pub held: Vec<Held>,
    pub books: Books,
}

/// What the contract's books hold so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Books {
    pub booked: Vec<BookedLine>,
    /// Every period that was settled.
    pub settled: BTreeSet<Period>,
    /// Every period that was closed.
    pub closed: BTreeSet<Period>,
}

/// A rounded amount that a settlement booked: positive where the payer owes the payee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookedLine {
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    pub currency: Currency,
    /// The period in which it arose.
    pub origin: Period,
    /// The period in which it was booked: the origin, or a later one that was open.
    pub booked: Period,
    pub amount: Exact,
}

/// What a settlement decides.
#[derive(Clone, Debug)]
pub struct SettlementOutcome {
    /// The differences to book; none where there is no news.
    pub lines: Vec<BookedLine>,
    /// What every term yields by origin period, for the statements.
    pub entitlements: Vec<Entitlement>,
}

/// What one term yields in one origin period, and how that came about.
#[derive(Clone, Debug)]
pub struct Entitlement {
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    pub origin: Period,
    /// Exact, of this period alone.
    pub amount: Exact,
    /// Exact, of all periods before.
    pub cumulative_before: Exact,
    /// The rounded cumulative total through this period less that through the one before.
    pub rounded: Exact,
    pub accruals: Vec<Accrual>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    #[error("no contract \"{contract}\" is loaded{}", there_is(.known))]
    UnknownContract { contract: ContractId, known: Vec<ContractId> },
    #[error("period {period} is of another length than the {contract} contract's periods, such as {example}")]
    WrongPeriodUnit { contract: ContractId, period: Period, example: Period },
    #[error("contract {contract} has no version in force in {period}")]
    BeforeContract { contract: ContractId, period: Period },
    #[error(
        "the books of {contract} begin with {first}; what is owed for {period} and other periods before it is booked there, by origin period"
    )]
    BeforeBooks { contract: ContractId, period: Period, first: Period },
    #[error("periods are settled in order: {next} comes before {period}; settle and issue it first")]
    OutOfOrder { period: Period, next: Period },
    #[error("period {period} is closed, and its news ({lines} lines) is booked in {open}: settle that")]
    PeriodClosed { contract: ContractId, period: Period, lines: usize, open: Period },
    #[error(
        "figure \"{figure}\" of {contract} is missing for {period}, and it says missing = \"stop\": record it first"
    )]
    MissingFigure { contract: ContractId, figure: DefinedTerm, period: Period },
    #[error(transparent)]
    Sharing(#[from] SharingError),
}

/// Decides what a period's settlement books.
///
/// # Errors
/// What stops it; then nothing is booked.
pub fn settle(input: &SettlementInput) -> Result<SettlementOutcome, SettlementError> {
    let contract = find_contract(&input.contracts, &input.contract)?;
    check_period(contract, input)?;
    check_figures(input, contract)?;
    let charges = rate(&input.usage, &input.timeline, &input.register, &input.prices);
    let left = |held: &Held| without_held(&input.usage, &held.usage);
    let mut held = Vec::new();
    for back in &input.held {
        let charges = rate(&left(back), &input.timeline, &input.register, &input.prices);
        held.push(HeldBack { contract: &back.contract, charges, deductions: &back.deductions });
    }
    let accruals = share(&SharingInput {
        contracts: &input.contracts,
        timeline: &input.timeline,
        charges: &charges,
        held: &held,
        deductions: &input.deductions,
        figures: &input.figures,
        facts: &input.facts,
    })?;
    let entitlements = entitlements(contract, accruals);
    let lines = due(contract, input, &entitlements);
    if input.books.closed.contains(&input.period) && !lines.is_empty() {
        let open = input.books.closed.last().map_or(input.period, Period::next);
        let (contract, period) = (input.contract.clone(), input.period);
        return Err(SettlementError::PeriodClosed { contract, period, lines: lines.len(), open });
    }
    Ok(SettlementOutcome { lines, entitlements })
}

/// The contract of an id among those that are loaded.
///
/// # Errors
/// There is none.
pub fn find_contract<'a>(contracts: &'a [Contract], id: &ContractId) -> Result<&'a Contract, SettlementError> {
    let found = contracts.iter().find(|contract| contract.head.id == *id);
    found.ok_or_else(|| {
        let known = contracts.iter().map(|contract| contract.head.id.clone()).collect();
        SettlementError::UnknownContract { contract: id.clone(), known }
    })
}

/// Of several contracts the one of `id`, and of others the terms that it draws on, in the order of their ids.
pub fn with_drawn_on(contracts: Vec<Contract>, id: &ContractId) -> Vec<Contract> {
    let mut wanted: BTreeSet<(ContractId, TermId)> = BTreeSet::new();
    let is_wanted = |wanted: &BTreeSet<_>, contract: &ContractId, term: &TermId| {
        contract == id || wanted.contains(&(contract.clone(), term.clone()))
    };
    loop {
        let mut drawn = wanted.clone();
        for contract in &contracts {
            let terms = contract.versions.iter().flat_map(|version| &version.terms);
            for term in terms.filter(|term| is_wanted(&wanted, &contract.head.id, &term.id)) {
                drawn.extend(term.base.select.iter().filter_map(|selection| match selection {
                    Selection::Accrual { contract, term } => Some((contract.clone(), term.clone())),
                    Selection::Charges(_) | Selection::Figure(_) => None,
                }));
            }
        }
        if drawn.len() == wanted.len() {
            break;
        }
        wanted = drawn;
    }
    let mut needed: Vec<Contract> = contracts
        .into_iter()
        .filter(|it| it.head.id == *id || wanted.iter().any(|(of, _)| *of == it.head.id))
        .collect();
    for contract in &mut needed {
        for version in &mut contract.versions {
            version.terms.retain(|term| is_wanted(&wanted, &contract.head.id, &term.id));
        }
    }
    needed
}

fn check_period(contract: &Contract, input: &SettlementInput) -> Result<(), SettlementError> {
    let (id, period) = (contract.head.id.clone(), input.period);
    let last = last_instant_before(period.span(contract.head.zone).end);
    if period.unit() != contract.head.period {
        let example = Period::at(last, contract.head.zone, contract.head.period);
        return Err(SettlementError::WrongPeriodUnit { contract: id, period, example });
    }
    if contract.in_force(last).is_none() {
        return Err(SettlementError::BeforeContract { contract: id, period });
    }
    if let Some(first) = input.books.settled.first().filter(|first| period < **first) {
        return Err(SettlementError::BeforeBooks { contract: id, period, first: *first });
    }
    let next = open_period(input.books.closed.last().copied(), input.books.settled.last().copied()).unwrap_or(period);
    if period != next && !input.books.closed.contains(&period) {
        return Err(SettlementError::OutOfOrder { period, next });
    }
    Ok(())
}

/// The period that is to be settled next, by the last that was closed and the last that was settled.
///
/// The books begin with the first period that is settled: none before that. After it each period waits for the
/// close of the one before; the last open one may be settled again and again.
pub fn open_period(last_closed: Option<Period>, last_settled: Option<Period>) -> Option<Period> {
    last_closed.map(|closed| closed.next()).or(last_settled)
}

/// Refuses to settle while a figure is missing that the terms in force need, since the books began.
fn check_figures(input: &SettlementInput, settled: &Contract) -> Result<(), SettlementError> {
    let first = input.books.settled.first().copied().unwrap_or(input.period);
    let begin = first.span(settled.head.zone).start;
    let end = input.period.span(settled.head.zone).end;
    for contract in &input.contracts {
        let zone = contract.head.zone;
        let mut period = Period::at(begin, zone, contract.head.period);
        while period.span(zone).end <= end {
            let span = period.span(zone);
            for name in needed_figures(input, contract, last_instant_before(span.end)) {
                if !is_reported(&input.figures, contract, name, period) {
                    let (contract, figure) = (contract.head.id.clone(), name.clone());
                    return Err(SettlementError::MissingFigure { contract, figure, period });
                }
            }
            period = period.next();
        }
    }
    Ok(())
}

/// The figures that may not be missing, of the terms that are in force at a period's last instant.
fn needed_figures<'a>(
    input: &'a SettlementInput,
    contract: &'a Contract,
    at: Instant,
) -> impl Iterator<Item = &'a DefinedTerm> {
    let version = contract.in_force(at);
    let ended_at = |term: &Term| term.until.as_ref().and_then(|it| first_fact(&input.facts, &contract.head.id, it));
    let terms = version.into_iter().flat_map(|version| &version.terms);
    let selections = terms.filter(move |term| term.in_force(at, ended_at(term))).flat_map(|term| &term.base.select);
    selections.filter_map(move |selection| match selection {
        Selection::Figure(name) => {
            let stops = version.and_then(|it| it.figures.get(name)).is_some_and(|it| it.missing == Missing::Stop);
            stops.then_some(name)
        }
        Selection::Charges(_) | Selection::Accrual { .. } => None,
    })
}

/// Whether a figure is reported for every day of a period on which the contract was in being.
fn is_reported(figures: &[Figure], contract: &Contract, name: &DefinedTerm, period: Period) -> bool {
    let begins = contract.begins().map(|at| at.with_timezone(&contract.head.zone).date_naive());
    let first_day = begins.unwrap_or(NaiveDate::MIN).max(period.first_day());
    let mut reported: Vec<&Figure> =
        figures.iter().filter(|figure| figure.contract == contract.head.id && figure.name == *name).collect();
    reported.sort_by_key(|figure| figure.from);
    let mut next_day = Some(first_day);
    for figure in reported {
        if next_day.is_some_and(|day| figure.from <= day && day <= figure.through) {
            next_day = figure.through.succ_opt();
        }
    }
    next_day.is_none_or(|day| day > period.last_day())
}

/// Sums accruals by term and origin period, and rounds the running total.
fn entitlements(contract: &Contract, accruals: Vec<Accrual>) -> Vec<Entitlement> {
    let (zone, unit) = (contract.head.zone, contract.head.period);
    let mut by_term: BTreeMap<TermId, BTreeMap<Period, Vec<Accrual>>> = BTreeMap::new();
    for accrual in accruals.into_iter().filter(|accrual| accrual.contract == contract.head.id) {
        let origin = Period::at(accrual.span.start, zone, unit);
        by_term.entry(accrual.term.clone()).or_default().entry(origin).or_default().push(accrual);
    }
    let round = |exact: &Exact| exact.round(contract.head.currency.minor_digits(), contract.head.rounding);
    let mut entitlements = Vec::new();
    for (term, periods) in by_term {
        let Some((payer, payee)) = parties_of(contract, &term) else { continue };
        let mut cumulative = Exact::zero();
        for (origin, accruals) in periods {
            let amount: Exact = accruals.iter().map(|accrual| accrual.amount.clone()).sum();
            let through = &cumulative + &amount;
            let rounded = round(&through) - round(&cumulative);
            let cumulative_before = std::mem::replace(&mut cumulative, through);
            entitlements.push(Entitlement {
                term: term.clone(),
                payer: payer.clone(),
                payee: payee.clone(),
                origin,
                amount,
                cumulative_before,
                rounded,
                accruals,
            });
        }
    }
    entitlements
}

/// The differences between what is owed by origin period and what is booked for it.
fn due(contract: &Contract, input: &SettlementInput, entitlements: &[Entitlement]) -> Vec<BookedLine> {
    let mut due: BTreeMap<(TermId, PartyId, PartyId, Period), Exact> = BTreeMap::new();
    for owed in entitlements {
        let key = (owed.term.clone(), owed.payer.clone(), owed.payee.clone(), owed.origin);
        *due.entry(key).or_default() += &owed.rounded;
    }
    // What is booked for a term that no longer yields anything is due back: nothing vanishes.
    for line in input.books.booked.iter().filter(|line| line.origin <= input.period) {
        let key = (line.term.clone(), line.payer.clone(), line.payee.clone(), line.origin);
        *due.entry(key).or_default() += &(-line.amount.clone());
    }
    due.into_iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|((term, payer, payee, origin), amount)| BookedLine {
            term,
            payer,
            payee,
            currency: contract.head.currency,
            origin,
            booked: input.period,
            amount,
        })
        .collect()
}
