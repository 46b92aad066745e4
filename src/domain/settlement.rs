//! Settlement: what is due is what is owed as known at the cutoff, less what was booked (CONTRACTS 6 and 7).
//!
//! One path for the first run, a rerun, late usage, corrections and amendments.

use super::calendar::{Calendar, Period};
use super::contract::Contract;
use super::engine::EngineError;
use super::engine::feed::{Event, Known, Sum, Units, feed};
use super::engine::owed::{self, Account, ByPeriod, Detail, Run};
use super::findings::HeldEvents;
use super::fx::FxRate;
use super::ids::{ContractId, DeploymentId, EventId, PartyId, ProductId, TermId};
use super::money::{Exact, Unit};
use super::names::there_is;
use super::period::{Instant, LocalTime, Span};
use super::price::PriceBook;
use super::record::{Deduction, Record, RecordContent, Reduces};
use super::register::Register;
use super::usage::{UsageContent, UsageEvent};
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All that a settlement is decided from, as known at the cutoff.
#[derive(Clone, Debug, Serialize)]
pub struct SettlementInput {
    /// The one to settle.
    pub contract: ContractId,
    pub period: Period,
    pub cutoff: Instant,
    /// At least that and those that it draws on.
    pub contracts: Vec<Contract>,
    pub register: Register,
    pub prices: PriceBook,
    pub rates: Vec<FxRate>,
    /// In the order of recording.
    pub records: Vec<Record>,
    pub usage: Usage,
    pub unresolved_events: i64,
    pub books: Books,
}

/// Usage as known at the cutoff: each event of some stretches of time, records of intervals and what records name; and
/// sums of all else.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    pub events: Vec<UsageEvent>,
    pub sums: Vec<Sum>,
    /// Of these events: which are held back, and by which contracts, because they break a right.
    #[serde(serialize_with = "as_list")]
    pub held: BTreeMap<EventId, BTreeSet<ContractId>>,
    /// What is held back in all, for people.
    pub held_events: Vec<HeldEvents>,
}

/// A map whose keys are no text.
fn as_list<K: Serialize, V: Serialize, S: serde::Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map)
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

/// News of a period that is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("period {period} of {contract} is closed, and its news ({lines} lines) is booked in {open}: settle that")]
pub struct PeriodClosed {
    pub contract: ContractId,
    pub period: Period,
    pub lines: usize,
    pub open: Period,
}

impl Books {
    /// What a period's settlement books, by origin period: what is owed for all periods up to it, less what was booked for
    /// them. What a version removed is returned.
    ///
    /// # Errors
    /// The period is closed, and there is news.
    pub fn due(
        &self,
        contract: &Contract,
        period: Period,
        owed: &BTreeMap<Account, ByPeriod>,
    ) -> Result<Vec<BookedLine>, PeriodClosed> {
        let owed = owed.iter().flat_map(|(account, amounts)| amounts.iter().map(move |amount| (account, amount)));
        let owed = owed.map(|(account, (origin, amount))| ((account.clone(), *origin), amount.clone()));
        let mut due: BTreeMap<(Account, Period), Exact> = owed.collect();
        for line in &self.booked {
            let BookedLine { term, payer, payee, unit, .. } = line.clone();
            let account = Account { contract: contract.head.id.clone(), term, payer, payee, unit };
            *due.entry((account, line.origin)).or_default() += &-line.amount.clone();
        }
        let is_due = |((_, origin), amount): &((Account, Period), Exact)| *origin <= period && !amount.is_zero();
        let line = |((Account { term, payer, payee, unit, .. }, origin), amount)| BookedLine {
            term,
            payer,
            payee,
            unit,
            origin,
            booked: period,
            amount,
        };
        let lines: Vec<BookedLine> = due.into_iter().filter(is_due).map(line).collect();
        match self.closed.last().filter(|closed| period <= **closed) {
            Some(closed) if !lines.is_empty() => {
                let open = contract.head.settlement.next(*closed).unwrap_or(period);
                Err(PeriodClosed { contract: contract.head.id.clone(), period, lines: lines.len(), open })
            }
            _ => Ok(lines),
        }
    }
}

/// A rounded amount that a settlement booked: positive where the payer owes the payee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookedLine {
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
    /// The period in which it arose.
    pub origin: Period,
    /// The period in which it was booked: the origin, or a later one that was open.
    pub booked: Period,
    pub amount: Exact,
}

/// What a settlement decides.
pub enum SettlementOutcome {
    /// Sums of these stretches cannot stand for their items: load them finer, and settle again.
    Open(Vec<Span>),
    Settled(Box<Settled>),
}

pub struct Settled {
    /// The differences to book; none where there is no news.
    pub lines: Vec<BookedLine>,
    /// What every term yields by origin period, for the statements.
    pub run: Run,
    /// What is owed in all by account and origin period, rounded.
    pub owed: BTreeMap<Account, ByPeriod>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    #[error("no contract \"{contract}\" is loaded{}", there_is(.known))]
    UnknownContract { contract: ContractId, known: Vec<ContractId> },
    #[error("{period} is none of the periods of {contract}{}", .example.map(|it| format!(", such as {it}")).unwrap_or_default())]
    NoSuchPeriod { contract: ContractId, period: Period, example: Option<Period> },
    #[error("contract {contract} has no version in force in {period}{}", .begins.map(|at| format!("; the first is from {at} on")).unwrap_or_default())]
    BeforeContract { contract: ContractId, period: Period, begins: Option<LocalTime> },
    #[error(
        "the books of {contract} begin with {first}; what is owed for {period} and other periods before it is booked there, by origin period"
    )]
    BeforeBooks { contract: ContractId, period: Period, first: Period },
    #[error("periods are settled in order: {next} comes before {period}; settle and issue it first")]
    OutOfOrder { period: Period, next: Period },
    #[error(transparent)]
    PeriodClosed(#[from] PeriodClosed),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl SettlementInput {
    /// Runs `then` on what is known.
    pub(super) fn known<T>(&self, then: impl FnOnce(&Known<'_>) -> T) -> T {
        let usage: Vec<Event<'_>> = self.usage.events.iter().map(Event::from).collect();
        let units = Units::of(&self.contracts);
        let zone = self.contracts.iter().find(|it| it.head.id == self.contract).map_or(Tz::UTC, |it| it.head.zone);
        // The books begin with the first period that is settled.
        let first = self.books.settled.first().copied().unwrap_or(self.period);
        then(&Known {
            contracts: &self.contracts,
            register: &self.register,
            prices: &self.prices,
            rates: &self.rates,
            usage: &usage,
            sums: &self.usage.sums,
            records: &self.records,
            held: &self.usage.held,
            units: &units,
            books_begin: first.span(zone).start,
        })
    }

    /// The instants between which usage may be summed, from when the contract begins to the period's end.
    ///
    /// # Errors
    /// The contract is unknown, or what stops every run of it.
    pub fn edges(&self) -> Result<Vec<Instant>, SettlementError> {
        let end = self.span()?.end;
        Ok(self.known(|known| owed::edges(known, &feed(*known), &self.contract, end))?)
    }

    /// The period in the contract's zone.
    ///
    /// # Errors
    /// The contract is unknown.
    pub fn span(&self) -> Result<Span, SettlementError> {
        Ok(self.period.span(find_contract(&self.contracts, &self.contract)?.head.zone))
    }
}

/// Decides what a period's settlement books.
///
/// # Errors
/// What stops it; then nothing is booked.
pub fn settle(input: &SettlementInput) -> Result<SettlementOutcome, SettlementError> {
    let contract = find_contract(&input.contracts, &input.contract)?;
    check_period(contract, input.period, &input.books)?;
    let end = input.span()?.end;
    let run = input.known(|known| owed::run(known, &feed(*known), &input.contract, end, Detail::Parts))?;
    if !run.unsure.is_empty() {
        return Ok(SettlementOutcome::Open(run.unsure));
    }
    let owed = run.owed(contract)?;
    let lines = input.books.due(contract, input.period, &owed)?;
    Ok(SettlementOutcome::Settled(Box::new(Settled { lines, run, owed })))
}

/// What has to come before a record has an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitsFor {
    #[error("the event {event}, which is not known or void")]
    Event { event: EventId },
    #[error("the deployment {deployment} to be registered")]
    Deployment { deployment: DeploymentId },
    #[error("the product {product} to be registered")]
    Product { product: ProductId },
    #[error("a charge, and {deployment} is a licence without one")]
    Charge { deployment: DeploymentId },
}

/// The records that have no effect yet, each with what it waits for. Events are looked up by `usage`.
pub fn waiting<'r>(
    records: &'r [Record],
    usage: &BTreeMap<&EventId, &UsageContent>,
    register: &Register,
) -> Vec<(&'r EventId, WaitsFor)> {
    let money: BTreeSet<&EventId> = records.iter().map(|record| &record.id).collect();
    let of_place = |deployment: DeploymentId, product: ProductId| match register.deployments.get(&deployment) {
        None => Some(WaitsFor::Deployment { deployment }),
        Some(_) if !register.products.contains_key(&product) => Some(WaitsFor::Product { product }),
        Some(known) if known.seller.is_none() => Some(WaitsFor::Charge { deployment }),
        Some(_) => None,
    };
    let of_event = |event: &EventId| match usage.get(event) {
        Some(content) => of_place(content.deployment.as_str().into(), content.product.as_str().into()),
        None if money.contains(event) => None,
        None => Some(WaitsFor::Event { event: event.clone() }),
    };
    let waits_for = |record: &Record| match &record.content {
        RecordContent::Deduction(Deduction { reduces: Reduces::Usage { deployment, product, .. }, .. }) => {
            of_place(deployment.clone(), product.clone())
        }
        _ => record.names().into_iter().find_map(of_event),
    };
    records.iter().filter_map(|record| Some((&record.id, waits_for(record)?))).collect()
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

/// Refuses a period that is not the contract's, or not the one to be settled now.
///
/// # Errors
/// Which one would be.
pub fn check_period(contract: &Contract, period: Period, books: &Books) -> Result<(), SettlementError> {
    let (id, calendar) = (contract.head.id.clone(), &contract.head.settlement);
    if !calendar.has(period) {
        let example = calendar.window(period.last_day());
        return Err(SettlementError::NoSuchPeriod { contract: id, period, example });
    }
    let (begins, zone) = (contract.begins(), contract.head.zone);
    if begins.is_none_or(|begins| period.span(zone).end <= begins) {
        let begins = begins.map(|at| LocalTime { at, zone });
        return Err(SettlementError::BeforeContract { contract: id, period, begins });
    }
    if let Some(first) = books.settled.first().filter(|first| period < **first) {
        return Err(SettlementError::BeforeBooks { contract: id, period, first: *first });
    }
    let next = open_period(calendar, books.closed.last().copied(), books.settled.last().copied()).unwrap_or(period);
    if period != next && !books.closed.contains(&period) {
        return Err(SettlementError::OutOfOrder { period, next });
    }
    Ok(())
}

/// The period that is to be settled next, by the last that was closed and the last that was settled.
///
/// The books begin with the first period that is settled: none before that. After it each period waits for the
/// close of the one before; the last open one may be settled again and again.
pub fn open_period(calendar: &Calendar, last_closed: Option<Period>, last_settled: Option<Period>) -> Option<Period> {
    match last_closed {
        Some(closed) => calendar.next(closed),
        None => last_settled,
    }
}
