//! What is owed of a contract: a run through a period, with all that it draws on, and its totals, rounded, by account.

use super::EngineError;
use super::entitlement::{Entitlements, owed};
use super::feed::{Feed, Known};
use super::outcome::{Line, Lines};
use super::plan::plan;
use super::run::{Engine, Finished, Shares};
use crate::domain::calendar::Window;
use crate::domain::contract::beside::Meanwhile;
use crate::domain::contract::fx::FxDate;
use crate::domain::contract::measure::{FigureDefinition, FigureKind, Measure};
use crate::domain::contract::{Assumed, Confidence, Contract, Version};
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Rounding, Unit};
use crate::domain::period::{Instant, Span, local_date, start_of_day};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where amounts are booked: each has its own sum by origin period.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Account {
    pub contract: ContractId,
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    pub unit: Unit,
}

/// By origin period.
pub type ByPeriod = BTreeMap<Window, Exact>;

/// What a run tells beside amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Amounts,
    /// What the contract's bases are made of, for people.
    Parts,
}

/// What the terms of a contract yield, as far as they and those that they draw on have come.
pub struct Run {
    pub entitlements: Entitlements,
    shares: Shares,
    /// Stretches of summed usage that have to be opened: what is said here may differ from what the items yield.
    pub unsure: Vec<Span>,
}

/// The instants between which nothing that decides on usage changes for a contract, or for those that it draws on,
/// from when they begin up to an end. Usage may be summed between them.
///
/// # Errors
/// As [`run`].
pub fn edges(
    known: &Known<'_>,
    feed: &Feed<'_>,
    contract: &ContractId,
    through: Instant,
) -> Result<Vec<Instant>, EngineError> {
    let contracts = drawn_on(known.contracts, contract);
    let plan = plan(&contracts)?;
    let lines = |_: Line<'_>| {};
    let changes = Engine::new(&plan, &feed.knowledge, feed.attributes.clone(), through, lines).changes();
    let Some(start) = changes.first().copied() else { return Ok(Vec::new()) };
    let span = Span { start, end: through };
    let prices = known.prices.boundaries().filter(|at| span.contains(*at));
    let mut edges: BTreeSet<Instant> = changes.iter().copied().chain(prices).collect();
    for contract in &contracts {
        if contract.versions.iter().any(changes_daily) {
            let zone = contract.head.zone;
            let days = local_date(start, zone).iter_days().map(|day| start_of_day(zone, day));
            edges.extend(days.skip_while(|at| *at <= start).take_while(|at| *at < through));
        }
    }
    Ok(edges.into_iter().collect())
}

/// Whether what decides on an item depends on its local day.
fn changes_daily(version: &Version) -> bool {
    let of_day =
        |figure: &FigureDefinition| matches!(figure.kind, FigureKind::Average { .. } | FigureKind::Left { .. });
    version.fx.as_ref().is_some_and(|rule| rule.date == FxDate::Item) || version.figures.values().any(of_day)
}

/// Runs a contract, and those that it draws on, up to an instant.
///
/// # Errors
/// What stops the settlement.
pub fn run(
    known: &Known<'_>,
    feed: &Feed<'_>,
    contract: &ContractId,
    through: Instant,
    detail: Detail,
) -> Result<Run, EngineError> {
    let settled = known.contracts.iter().find(|it| it.head.id == *contract);
    settled.map_or(Ok(()), |settled| check_agreed(settled, through))?;
    let mut lines = Entitlements::new(known.contracts);
    if detail == Detail::Parts {
        lines = lines.with_parts(contract);
    }
    let Finished { lines, shares, unsure } = tell(known, feed, contract, through, lines)?;
    let entitlements = lines.checked(contract)?;
    settled.map_or(Ok(()), |settled| check_official(settled, &entitlements))?;
    Ok(Run { entitlements, shares, unsure })
}

/// Runs a contract, and those that it draws on, up to an instant, and tells every line.
///
/// # Errors
/// What stops every run of it.
pub fn tell<L: Lines>(
    known: &Known<'_>,
    feed: &Feed<'_>,
    contract: &ContractId,
    through: Instant,
    lines: L,
) -> Result<Finished<L>, EngineError> {
    let contracts = drawn_on(known.contracts, contract);
    let plan = plan(&contracts)?;
    let mut engine = Engine::new(&plan, &feed.knowledge, feed.attributes.clone(), through, lines);
    engine = engine.with_summed(&feed.summed).with_books_from(known.books_begin);
    for item in &feed.items {
        engine.item(item)?;
    }
    engine.finish()
}

/// Refuses to settle while something is to be agreed first.
fn check_agreed(contract: &Contract, through: Instant) -> Result<(), EngineError> {
    let within = Span { start: Span::ever().start, end: through };
    let opens = contract.in_force_within(within).flat_map(|version| &version.opens);
    match opens.into_iter().find(|open| open.meanwhile == Meanwhile::Stop) {
        Some(open) => Err(EngineError::ToBeAgreed { contract: contract.head.id.clone(), name: open.name.clone() }),
        None => Ok(()),
    }
}

/// Refuses amounts that rest on assumed numbers, where the contract says so.
fn check_official(contract: &Contract, entitlements: &Entitlements) -> Result<(), EngineError> {
    if contract.head.assumed == Assumed::Allow {
        return Ok(());
    }
    for ((of, id), yields) in entitlements.terms.iter().filter(|((of, _), _)| *of == contract.head.id) {
        let numbers: BTreeSet<u32> = yields.values().flat_map(|it| it.versions.keys()).copied().collect();
        let versions = contract.versions.iter().filter(|version| numbers.contains(&version.number));
        for (version, term) in versions.filter_map(|version| Some((version, version.term(id)?))) {
            let mut all = version.assumptions_behind(of, term).into_iter();
            if let Some(assumed) = all.find(|it| it.confidence == Confidence::Assumed) {
                let what = assumed.what.clone();
                return Err(EngineError::Assumed { contract: of.clone(), term: id.clone(), what });
            }
        }
    }
    Ok(())
}

/// A contract with all on whose terms it draws.
pub fn drawn_on(contracts: &[Contract], id: &ContractId) -> Vec<Contract> {
    let mut found = BTreeSet::from([id.clone()]);
    let mut open = vec![id.clone()];
    while let Some(id) = open.pop() {
        let versions = contracts.iter().filter(|it| it.head.id == id).flat_map(|it| &it.versions);
        for measure in versions.flat_map(mentions) {
            if let Measure::Accrual { contract, .. } = measure
                && found.insert(contract.clone())
            {
                open.push(contract.clone());
            }
        }
    }
    contracts.iter().filter(|it| found.contains(&it.head.id)).cloned().collect()
}

/// Everything that a version measures.
fn mentions(version: &Version) -> Vec<&Measure> {
    let bases = version.bases.values().flat_map(|base| base.mentions());
    let amounts = version.amounts.values().flat_map(|amount| amount.mentions());
    let figures = version.figures.values().flat_map(|figure| figure.kind.mentions());
    let caps = version.caps.values().flat_map(|cap| cap.limit.mentions());
    let terms = version.terms.iter().flat_map(|term| term.mentions());
    bases.chain(amounts).chain(figures).chain(caps).chain(terms).collect()
}

impl Run {
    /// What is owed of a contract, by account and origin period, rounded.
    ///
    /// # Errors
    /// A pool of a period in which nothing was used, where the contract stops at that.
    pub fn owed(&self, contract: &Contract) -> Result<BTreeMap<Account, ByPeriod>, EngineError> {
        let mut found: BTreeMap<Account, ByPeriod> = BTreeMap::new();
        let nothing = BTreeMap::new();
        for ((of, id), yields) in self.entitlements.terms.iter().filter(|((of, _), _)| *of == contract.head.id) {
            let mut stated = contract.versions.iter().rev().filter_map(|version| version.term(id));
            let Some(term) = stated.find(|term| !term.is_input) else { continue };
            let usage = self.shares.get(&(of.clone(), id.clone())).unwrap_or(&nothing);
            for (origin, owed) in owed(contract, term, yields, usage, rounding(contract, &term.unit))? {
                for owed in owed {
                    let (contract, term) = (of.clone(), id.clone());
                    let account = Account { contract, term, payer: owed.payer, payee: owed.payee, unit: owed.unit };
                    *found.entry(account).or_default().entry(origin).or_default() += &owed.amount;
                }
            }
        }
        Ok(found)
    }
}

/// How amounts of a unit are rounded: a declared one by its own mode.
pub fn rounding(contract: &Contract, unit: &Unit) -> Rounding {
    let of_unit = |name: &DefinedTerm| contract.versions.iter().rev().find_map(|it| it.units.get(name));
    match unit {
        Unit::Declared { name, .. } => of_unit(name).map_or(contract.head.rounding, |unit| unit.rounding),
        Unit::Currency(_) => contract.head.rounding,
    }
}
