//! The auditor: takes every single item alone and in order, as CONTRACTS sections 1 to 4 say.

use crate::base::named_at;
use crate::cap::Capped;
use crate::items::{Body, Item, items};
use crate::known::{Known, Missing, known_at};
use crate::model::{CapOf, Contract, Each, History, How, Micros, Name, Q, Select, Tail, Term, Version, What};
use crate::recoup::Recouped;
use crate::time::{Window, at_of, date_of, start_of, window_at};
use crate::window::Windowed;
use num_traits::Zero;
use std::collections::{BTreeMap, BTreeSet};

/// Where something accrued: a term, and the country that it tells apart.
pub type Place = (usize, Name, Option<Name>);

#[derive(Clone, Debug)]
pub struct Line {
    pub contract: usize,
    pub term: Name,
    pub at: Micros,
    pub amount: Q,
    /// Whether it counts under the term's cap.
    pub is_capped: bool,
}

/// What terms tell apart in what passes: an item's own, or the country of a line that a term yields for one.
#[derive(Clone, Copy, Default)]
pub struct About {
    pub product: Option<Name>,
    pub country: Option<Name>,
}

impl About {
    pub fn item(item: &Item) -> Self {
        Self { product: item.sold.map(|sold| sold.product), country: item.sold.and_then(|sold| sold.country) }
    }

    fn country(country: Option<Name>) -> Self {
        Self { product: None, country }
    }
}

/// What is on its way through the terms: an item, or what a term yields by itself.
pub struct Step<'i> {
    pub at: Micros,
    pub item: Option<&'i Item>,
    pub about: About,
    /// What each term accrues of it.
    pub accrued: BTreeMap<(usize, Name), Q>,
    pub taken: BTreeSet<usize>,
}

#[derive(Default)]
pub struct State {
    /// How far tiers have come in a window.
    pub tiers: Option<(Window, Q)>,
    /// How far the base has come toward what only counts above.
    pub above: Option<(Window, Q)>,
    pub windowed: Windowed,
    /// The base of this period, and what an earlier one carried on.
    pub total: Q,
    pub carried: Q,
}

pub struct Auditor<'h> {
    pub history: &'h History,
    pub known: Known<'h>,
    /// By contract, the versions that are known.
    versions: Vec<Vec<&'h Version>>,
    /// When each event happened, by contract and name, rising.
    events: BTreeMap<(usize, Name), Vec<Micros>>,
    statuses: Vec<(usize, Name, Micros, Micros)>,
    pub boundaries: BTreeSet<Micros>,
    /// The contracts that count, each after those that it draws on.
    pub contracts: Vec<usize>,
    pub states: BTreeMap<Place, State>,
    pub caps: BTreeMap<(usize, Option<Name>), Capped>,
    pub recouped: BTreeMap<(usize, Name), Recouped>,
    /// Whom each term with a tail had in its time.
    customers: BTreeMap<(usize, Name), BTreeSet<Name>>,
    pub lines: Vec<Line>,
    /// Requests by product and period while a term is in force whose pool is split by them.
    pub used: BTreeMap<(usize, Name, Window, Name), Q>,
}

/// The lines of a contract up to an instant, as known at another, with what its pools are shared by.
pub fn audit(history: &History, contract: usize, known: Micros, end: Micros) -> Result<Auditor<'_>, Missing> {
    let mut auditor = Auditor::new(history, contract, known);
    let zones: Vec<_> = history.contracts.iter().map(|it| it.zone).collect();
    let all =
        items(&auditor.known, |contract, through| start_of(zones[contract], through.succ_opt().expect("a day")) - 1);
    auditor.mark(end);
    let mut boundaries: Vec<Micros> = auditor.boundaries.range(..=end).copied().collect();
    boundaries.reverse();
    for item in all.iter().filter(|item| item.at < end) {
        while boundaries.last().is_some_and(|at| *at <= item.at) {
            auditor.boundary(boundaries.pop().expect("a boundary"), end)?;
        }
        auditor.pass(&mut Step {
            at: item.at,
            item: Some(item),
            about: About::item(item),
            accrued: BTreeMap::new(),
            taken: BTreeSet::new(),
        })?;
    }
    while let Some(at) = boundaries.pop() {
        auditor.boundary(at, end)?;
    }
    Ok(auditor)
}

impl<'h> Auditor<'h> {
    fn new(history: &'h History, contract: usize, known: Micros) -> Self {
        let of = |it: &'h Contract| it.versions.iter().filter(|version| version.recorded_at <= known).collect();
        let versions: Vec<Vec<&Version>> = history.contracts.iter().map(of).collect();
        let known = known_at(history, known);
        let mut events: BTreeMap<(usize, Name), Vec<Micros>> = BTreeMap::new();
        let mut statuses = Vec::new();
        for record in &known.records {
            match record.what {
                What::Event { contract, name, at } => events.entry((contract, name)).or_default().push(at),
                What::Status { contract, name, at, until } => {
                    statuses.push((contract, name, at, until.unwrap_or(Micros::MAX)));
                }
                _ => {}
            }
        }
        events.values_mut().for_each(|it| it.sort_unstable());
        let mut contracts = BTreeSet::from([contract]);
        for later in (0..=contract).rev().filter(|it| *it <= contract) {
            if contracts.contains(&later) {
                let terms = versions[later].iter().flat_map(|version| &version.terms);
                contracts.extend(terms.flat_map(|term| &term.base.select).filter_map(|select| match select {
                    Select::Accrual { contract, .. } => Some(*contract),
                    _ => None,
                }));
            }
        }
        Self {
            history,
            known,
            versions,
            events,
            statuses,
            boundaries: BTreeSet::new(),
            contracts: contracts.into_iter().collect(),
            states: BTreeMap::new(),
            caps: BTreeMap::new(),
            recouped: BTreeMap::new(),
            customers: BTreeMap::new(),
            lines: Vec::new(),
            used: BTreeMap::new(),
        }
    }

    /// Marks every instant at which anything may begin or end.
    fn mark(&mut self, end: Micros) {
        let mut marks = BTreeSet::from([end]);
        for contract in self.contracts.clone() {
            let zone = self.contract(contract).zone;
            let mut starts: Vec<Micros> = Vec::new();
            for version in &self.versions[contract] {
                marks.insert(at_of(zone, version.effective));
                starts.push(at_of(zone, version.effective));
                for term in &version.terms {
                    marks.extend(own_dates(term).into_iter().map(|date| start_of(zone, date)));
                }
                marks.extend(version.shared_cap.iter().map(|cap| start_of(zone, cap.from)));
                let rules = version.terms.iter().flat_map(rules).chain(version.shared_cap.iter().map(|cap| cap.each));
                for each in rules.chain([self.contract(contract).period]).filter(|it| *it != Each::Ever) {
                    let mut at = *starts.iter().min().expect("a version");
                    while at < end {
                        at = start_of(zone, window_at(zone, each, at).end);
                        marks.insert(at);
                    }
                }
            }
        }
        marks.extend(self.events.values().flatten());
        marks.extend(self.statuses.iter().flat_map(|(_, _, at, until)| [*at, *until]));
        marks.remove(&Micros::MAX);
        self.boundaries = marks;
    }

    pub fn contract(&self, contract: usize) -> &'h Contract {
        &self.history.contracts[contract]
    }

    pub fn in_force(&self, contract: usize, at: Micros) -> Option<&'h Version> {
        let zone = self.contract(contract).zone;
        let begun = self.versions[contract].iter().filter(|version| at_of(zone, version.effective) <= at);
        begun.max_by_key(|version| version.number).copied()
    }

    /// The terms that may accrue at an instant, in the order of the file.
    pub fn terms(&self, contract: usize, at: Micros) -> Vec<&'h Term> {
        let Some(version) = self.in_force(contract, at) else { return Vec::new() };
        version.terms.iter().filter(|term| self.is_active(contract, term, at)).collect()
    }

    /// A term as it is worded at an instant, if it is in force.
    pub fn term(&self, contract: usize, name: Name, at: Micros) -> Option<&'h Term> {
        let term = self.in_force(contract, at)?.terms.iter().find(|term| term.name == name)?;
        self.is_active(contract, term, at).then_some(term)
    }

    fn is_active(&self, contract: usize, term: &Term, at: Micros) -> bool {
        let date = date_of(self.contract(contract).zone, at);
        let happened = |name: Name| self.events(contract, name).first().is_some_and(|first| *first <= at);
        term.from.is_none_or(|from| from <= date)
            && last_day(term).is_none_or(|last| date <= last)
            && term.starts.is_none_or(happened)
            && !term.until.is_some_and(happened)
    }

    /// The customer of what passes, where a term has a tail of its earlier customers, and whether an instant is in that.
    fn customer(&self, contract: usize, term: &Term, step: &Step<'_>, at: Micros) -> Option<(Option<Name>, bool)> {
        let (Some((_, Tail::EarlierCustomers)), Some(through)) = (term.tail, term.through) else { return None };
        let customer = step.item.and_then(|item| item.sold).map(|sold| sold.customer);
        Some((customer, self.is_active(contract, term, at) && date_of(self.contract(contract).zone, at) > through))
    }

    /// Whether a tail leaves out what passes, or what that names: after a term's end it may be of customers alone whom
    /// the term had before. What takes off of a sale from before the term takes off what counted already.
    fn is_left(&self, contract: usize, term: &Term, step: &Step<'_>) -> bool {
        if named_at(step).is_some_and(|at| at < self.begins(contract, term.name)) {
            return false;
        }
        let known = self.customers.get(&(contract, term.name));
        [Some(step.at), named_at(step)].into_iter().flatten().any(|at| {
            let Some((customer, true)) = self.customer(contract, term, step, at) else { return false };
            !customer.is_some_and(|customer| known.is_some_and(|known| known.contains(customer)))
        })
    }

    pub fn events(&self, contract: usize, name: Name) -> &[Micros] {
        self.events.get(&(contract, name)).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn holds(&self, contract: usize, name: Name, at: Micros) -> bool {
        self.statuses.iter().any(|it| (it.0, it.1) == (contract, name) && it.2 <= at && at < it.3)
    }

    /// From when to when a term is in force around an instant at which it is.
    pub fn life(&self, contract: usize, name: Name, at: Micros) -> (Micros, Micros) {
        let is_in = |at: Micros| self.term(contract, name, at).is_some();
        let mut start = at;
        for boundary in self.boundaries.range(..=at).rev() {
            if !is_in(*boundary) {
                break;
            }
            start = *boundary;
        }
        let end = self.boundaries.range(at + 1..).find(|boundary| !is_in(**boundary));
        (start, end.copied().unwrap_or(Micros::MAX))
    }

    /// When a term is in force for the first time.
    pub fn begins(&self, contract: usize, name: Name) -> Micros {
        let is_in = |at: &&Micros| self.term(contract, name, **at).is_some();
        self.boundaries.iter().find(is_in).copied().unwrap_or(Micros::MIN)
    }

    pub fn period(&self, contract: usize, at: Micros) -> Window {
        let Contract { zone, period, .. } = self.contract(contract);
        window_at(*zone, *period, at)
    }

    /// What ends at a boundary ends, and what begins there begins.
    fn boundary(&mut self, at: Micros, end: Micros) -> Result<(), Missing> {
        for contract in self.contracts.clone() {
            // A base's total is an item; what is made of windows comes after every item.
            for term in self.terms(contract, at - 1) {
                self.close_base(contract, term, at)?;
            }
            for term in self.terms(contract, at - 1) {
                self.close_windows(contract, term, at)?;
                self.close_minimum(contract, term, at)?;
                self.repay(contract, term, at);
            }
        }
        if at < end {
            for contract in self.contracts.clone() {
                self.open_caps(contract, at)?;
                for term in self.terms(contract, at) {
                    self.pay_on(contract, term, at)?;
                }
            }
        }
        Ok(())
    }

    fn pay_on(&mut self, contract: usize, term: &'h Term, at: Micros) -> Result<(), Missing> {
        let zone = self.contract(contract).zone;
        let (amount, times) = match &term.how {
            How::OnDates { amount, dates } => {
                (amount, dates.iter().filter(|date| start_of(zone, **date) == at).count())
            }
            How::OnFact { amount, fact, at_most } => {
                let owed = |at: &&Micros| self.term(contract, term.name, **at).is_some();
                let earliest = self.events(contract, fact).iter().filter(owed).take(*at_most);
                (amount, earliest.filter(|it| **it == at).count())
            }
            _ => return Ok(()),
        };
        for _ in 0..times {
            self.accrue_alone((contract, term.name, None), term, at, amount.clone())?;
        }
        Ok(())
    }

    /// A term accrues by itself; those that draw on it take it as an item.
    pub fn accrue_alone(&mut self, place: Place, term: &'h Term, at: Micros, amount: Q) -> Result<(), Missing> {
        let amount = self.accrue(place.0, term, at, amount, true);
        self.draw(place, at, amount)
    }

    pub fn draw(&mut self, (contract, term, country): Place, at: Micros, amount: Q) -> Result<(), Missing> {
        let accrued = BTreeMap::from([((contract, term), amount)]);
        self.pass(&mut Step { at, item: None, about: About::country(country), accrued, taken: BTreeSet::new() })
    }

    /// Books what a term accrues, as far as its cap has room, and lets it pay an advance back.
    pub fn accrue(&mut self, contract: usize, term: &'h Term, at: Micros, amount: Q, is_capped: bool) -> Q {
        let amount = if is_capped { self.under_cap(contract, term, at, amount) } else { amount };
        self.book(contract, term.name, at, amount.clone(), is_capped);
        amount
    }

    pub fn book(&mut self, contract: usize, term: Name, at: Micros, amount: Q, is_capped: bool) {
        if amount.is_zero() {
            return;
        }
        self.count_toward_minimum(contract, term, at, &amount);
        self.lines.push(Line { contract, term, at, amount: amount.clone(), is_capped });
        self.recoup(contract, term, at, &amount);
    }

    /// Takes something through the terms that draw on it.
    pub fn pass(&mut self, step: &mut Step<'_>) -> Result<(), Missing> {
        for contract in self.contracts.clone() {
            let version = self.in_force(contract, step.at);
            for term in version.into_iter().flat_map(|version| &version.terms) {
                let is_named = named_at(step).is_none_or(|at| self.term(contract, term.name, at).is_some());
                let is_left = self.is_left(contract, term, step);
                if !is_named || !self.is_active(contract, term, step.at) || is_left {
                    self.count_alone(contract, term, step, is_left)?;
                    continue;
                }
                self.count_use(contract, term, step);
                if step.accrued.contains_key(&(contract, term.name)) {
                    continue;
                }
                let Some(base) = self.base(contract, term, step)? else { continue };
                // What takes off makes nobody a customer.
                if let Some((customer, false)) = self.customer(contract, term, step, step.at)
                    && !is_deduction(step)
                {
                    self.customers.entry((contract, term.name)).or_default().extend(customer);
                }
                if term.once && !step.taken.insert(contract) {
                    continue;
                }
                if let Some(amount) = self.take(contract, term, step, base)? {
                    let amount = self.accrue(contract, term, step.at, amount, true);
                    step.accrued.insert((contract, term.name), amount);
                }
            }
        }
        Ok(())
    }
}

fn is_deduction(step: &Step<'_>) -> bool {
    step.item.is_some_and(|item| matches!(item.body, Body::Deduction { .. }))
}

/// Its last day, that of its tail included.
fn last_day(term: &Term) -> Option<chrono::NaiveDate> {
    term.through.map(|through| through + chrono::Days::new(term.tail.map_or(0, |(days, _)| days)))
}

fn own_dates(term: &Term) -> Vec<chrono::NaiveDate> {
    let mut dates: Vec<_> = term.from.into_iter().collect();
    dates.extend([term.through, last_day(term)].into_iter().flatten().filter_map(|it| it.succ_opt()));
    if let CapOf::Own(cap) = &term.cap {
        dates.push(cap.from);
    }
    match &term.how {
        How::OnDates { dates: on, .. } => dates.extend(on),
        How::Tiers { from, .. } => dates.push(*from),
        _ => {}
    }
    dates
}

/// The windows that a term counts in.
fn rules(term: &Term) -> Vec<Each> {
    let mut rules = Vec::new();
    match &term.how {
        How::Tiers { each, .. } | How::Fixed { each, .. } => rules.push(*each),
        How::Either { each, .. } => rules.extend(each),
        _ => {}
    }
    if let CapOf::Own(cap) = &term.cap {
        rules.push(cap.each);
    }
    rules.extend(term.minimum.iter().map(|it| it.each));
    rules.extend(term.base.above.iter().map(|it| it.1));
    rules
}
