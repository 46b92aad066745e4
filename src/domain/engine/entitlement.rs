//! Entitlements: what each term yields by period, with how that came about; and what of it is owed, rounded.

use super::EngineError;
use super::addend::Addends;
use super::allocation::round_together;
use super::item::AttributesId;
use super::outcome::{CapUse, Cause, Line, Lines, Part, WholeInterval};
use super::plan::StreamName;
use crate::domain::calendar::{Calendar, Window};
use crate::domain::contract::Contract;
use crate::domain::contract::selector::Attribute;
use crate::domain::contract::term::{IfNone, Payees, Term};
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::money::{Exact, Rounding, Unit};
use crate::domain::period::{Instant, Span};
use std::collections::{BTreeMap, BTreeSet};

/// What terms yield by period, gathered from the engine's lines.
#[derive(Clone, Debug, Default)]
pub struct Entitlements {
    /// The zones and periods in which lines fall.
    calendars: BTreeMap<ContractId, (chrono_tz::Tz, Calendar)>,
    /// The period of the last line, in which the next one mostly falls.
    at_hand: Option<(ContractId, Span, Window)>,
    pub terms: BTreeMap<(ContractId, TermId), BTreeMap<Window, Yield>>,
    /// By term, as the run calls it: what the period of its last line has come to so far, before `terms` has it.
    open: Vec<Option<OpenPeriod>>,
    /// Records of intervals that lie across a boundary, which people are told.
    pub whole_intervals: BTreeSet<WholeInterval>,
    /// The first amount that lies in no period: before the first listed date, or after the last.
    outside: Option<(ContractId, TermId, Instant)>,
    /// What streams of this contract yielded, and what its amounts are made of, where that was asked for.
    parts_of: Option<ContractId>,
    parts: BTreeMap<(StreamName, Window), BTreeMap<PartKey, Exact>>,
}

/// The period of a term in which its lines mostly fall for a while.
#[derive(Clone, Debug)]
struct OpenPeriod {
    of: (ContractId, TermId),
    period: Window,
    span: Span,
    yields: Yield,
}

/// What tells parts of a base apart, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartKey {
    /// `charges`, `usage`, `figure Subscriptions`, `deduction refund`.
    pub what: String,
    pub cloud: String,
    pub channel: String,
    pub product: String,
    /// None of a plain number.
    pub unit: Option<Unit>,
}

/// What a term yields in one period, unrounded.
#[derive(Clone, Debug, Default)]
pub struct Yield {
    pub base: Exact,
    pub uncapped: Exact,
    /// What was recouped or set off of it, below zero, or given back of that; no cap counts it.
    pub paid_back: Exact,
    /// What its cap leaves, and what was paid back.
    pub amount: Exact,
    /// How far its cap was used up before the first line and after the last, for each counter that the cap tells apart.
    pub caps: BTreeMap<AttributesId, CapUse>,
    /// What a minimum lacked that is told and not owed.
    pub shortfall: Exact,
    pub versions: BTreeMap<u32, VersionYield>,
    /// Lines of which the cap left a part.
    pub crossings: Vec<Crossing>,
    /// The ids of items of which the cap left nothing.
    pub without_room: Vec<String>,
    last_at_cap: Option<Crossing>,
}

/// What a term yields in one period under one version.
#[derive(Clone, Debug, Default)]
pub struct VersionYield {
    pub uncapped: Exact,
    /// What caps left out, below zero, and what they let in of what they had left out before.
    pub left_out: Exact,
    pub let_in: Exact,
    /// As those of the period, and `amount` too.
    pub paid_back: Exact,
    pub amount: Exact,
    /// As those of the period.
    pub caps: BTreeMap<AttributesId, CapUse>,
    /// What it is made of before the cap, if that was asked for.
    pub addends: Addends,
}

/// The line at which a cap is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The item's id; none where a window's amount crosses.
    pub item: Option<String>,
    pub at: Instant,
    pub found_room: Exact,
    pub found_none: Exact,
}

/// What is owed for a period to one payee, rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub payer: PartyId,
    pub payee: PartyId,
    pub unit: Unit,
    pub amount: Exact,
}

impl Entitlements {
    pub fn new(agreements: &[Contract]) -> Self {
        let calendars =
            agreements.iter().map(|it| (it.head.id.clone(), (it.head.zone, it.head.settlement.clone()))).collect();
        Self { calendars, ..Self::default() }
    }

    /// Gathers what a contract's streams yielded too, and what its amounts are made of.
    pub fn with_parts(mut self, contract: &ContractId) -> Self {
        self.parts_of = Some(contract.clone());
        self
    }

    /// What a stream yielded in a period, if that was asked for.
    pub fn parts(&self, stream: &StreamName, period: Window) -> impl Iterator<Item = (&PartKey, &Exact)> {
        self.parts.get(&(stream.clone(), period)).into_iter().flatten().filter(|(_, amount)| !amount.is_zero())
    }

    /// What was gathered of a contract, where every amount of it lies in a period.
    ///
    /// # Errors
    /// One does not.
    pub fn checked(mut self, contract: &ContractId) -> Result<Self, EngineError> {
        for open in std::mem::take(&mut self.open).into_iter().flatten() {
            self.close(open);
        }
        match &self.outside {
            Some((of, term, at)) if of == contract => {
                Err(EngineError::NoPeriod { contract: of.clone(), term: term.clone(), at: *at })
            }
            _ => Ok(self),
        }
    }

    /// What the term of a line has come to in its period; none where it lies in no period.
    fn yields(&mut self, line: &Line<'_>) -> Option<&mut Yield> {
        let place = line.stream.place();
        if self.open.len() <= place {
            self.open.resize_with(place.saturating_add(1), || None);
        }
        let open = self.open.get(place)?.as_ref();
        if !open.is_some_and(|open| open.span.contains(line.at)) {
            let (span, period) = self.period(line.contract, line.at)?;
            if let Some(last) = self.open.get_mut(place)?.take() {
                self.close(last);
            }
            let of = (line.contract.clone(), line.term.clone());
            let before = self.terms.get_mut(&of).and_then(|periods| periods.remove(&period));
            *self.open.get_mut(place)? = Some(OpenPeriod { of, period, span, yields: before.unwrap_or_default() });
        }
        self.open.get_mut(place)?.as_mut().map(|open| &mut open.yields)
    }

    fn close(&mut self, open: OpenPeriod) {
        self.terms.entry(open.of).or_default().insert(open.period, open.yields);
    }

    /// The period of a contract in which an instant lies.
    fn period(&mut self, contract: &ContractId, at: Instant) -> Option<(Span, Window)> {
        let is_at_hand = |(of, span, _): &&(ContractId, Span, Window)| of == contract && span.contains(at);
        if let Some((_, span, period)) = self.at_hand.as_ref().filter(is_at_hand) {
            return Some((*span, *period));
        }
        let (zone, calendar) = self.calendars.get(contract)?;
        let period = calendar.at(at, *zone)?;
        let span = period.span(*zone);
        self.at_hand = Some((contract.clone(), span, period));
        Some((span, period))
    }

    /// The sum of what a term yields up to and with a period.
    pub fn cumulative(&self, contract: &ContractId, term: &TermId, through: Window) -> Exact {
        let periods = self.terms.get(&(contract.clone(), term.clone()));
        periods.into_iter().flatten().filter(|(period, _)| **period <= through).map(|(_, it)| it.amount.clone()).sum()
    }
}

impl Lines for Entitlements {
    fn line(&mut self, line: Line<'_>) {
        debug_assert!(!self.wants_addends() || line.adds_up(), "addends do not sum to {line:?}");
        let is_asked_for = self.parts_of.as_ref() == Some(line.contract);
        let Some(entry) = self.yields(&line) else {
            if !line.amount.is_zero() && self.outside.is_none() {
                self.outside = Some((line.contract.clone(), line.term.clone(), line.at));
            }
            return;
        };
        let of_version = entry.versions.entry(line.version).or_default();
        if line.cause == Cause::Shortfall {
            entry.shortfall += line.uncapped;
            return;
        }
        of_version.amount += line.amount;
        if let Some((group, cap)) = &line.cap {
            CapUse::use_further(&mut of_version.caps, *group, cap);
        }
        if line.cause == Cause::PaidBack {
            of_version.paid_back += line.amount;
            entry.paid_back += line.amount;
        } else {
            of_version.uncapped += line.uncapped;
            entry.uncapped += line.uncapped;
            of_version.at_cap(&(line.amount - line.uncapped));
            line.addends.iter().filter(|_| is_asked_for).for_each(|addend| of_version.addends.add(addend.by_itself()));
        }
        entry.base += line.base;
        entry.amount += line.amount;
        let Some((group, cap)) = line.cap else { return };
        entry.add_at_cap(Crossing {
            item: if let Cause::Item(id) = line.cause { Some(id.id.to_owned()) } else { None },
            at: line.at,
            found_none: line.uncapped - line.amount,
            found_room: line.amount.clone(),
        });
        CapUse::use_further(&mut entry.caps, group, cap);
    }

    fn wants_parts(&self) -> bool {
        self.parts_of.is_some()
    }

    fn wants_addends(&self) -> bool {
        self.parts_of.is_some()
    }

    fn part(&mut self, part: Part<'_>) {
        if self.parts_of.as_ref() != Some(part.contract) {
            return;
        }
        let Some((_, period)) = self.period(part.contract, part.at) else { return };
        // Of what other terms yield no more is told than the sum.
        let value = |name| part.attributes.get(name).filter(|_| part.of.is_none()).unwrap_or_default().to_owned();
        let key = PartKey {
            what: part.what(),
            cloud: value(&Attribute::Cloud),
            channel: value(&Attribute::Channel),
            product: value(&Attribute::Product),
            unit: part.unit.cloned(),
        };
        let of_stream = self.parts.entry((part.stream.clone(), period)).or_default();
        *of_stream.entry(key).or_default() += part.amount;
    }

    fn stands_whole(&mut self, interval: WholeInterval) {
        self.whole_intervals.insert(interval);
    }
}

impl CapUse {
    /// A cap from the first line to the last, for each counter that it tells apart.
    pub fn use_further(caps: &mut BTreeMap<AttributesId, Self>, group: AttributesId, line: &Self) {
        let of_group = caps.entry(group).or_insert_with(|| line.clone());
        (of_group.limit, of_group.after) = (line.limit.clone(), line.after.clone());
    }

    /// How far several are used up together: one for each product is many.
    pub fn in_all<'c>(caps: impl IntoIterator<Item = &'c Self>) -> Option<Self> {
        let add = |all: Self, one: &Self| Self {
            limit: &all.limit + &one.limit,
            before: &all.before + &one.before,
            after: &all.after + &one.after,
        };
        let mut caps = caps.into_iter();
        let first = caps.next()?.clone();
        Some(caps.fold(first, add))
    }
}

impl VersionYield {
    fn at_cap(&mut self, difference: &Exact) {
        *(if difference.is_negative() { &mut self.left_out } else { &mut self.let_in }) += difference;
    }
}

impl Yield {
    /// Tells what found no room. An item of several meters has several lines: it crosses once.
    fn add_at_cap(&mut self, mut line: Crossing) {
        let is_same = |last: &&Crossing| last.item.is_some() && (&last.item, last.at) == (&line.item, line.at);
        if let Some(last) = self.last_at_cap.as_ref().filter(is_same) {
            line.found_room += &last.found_room;
            line.found_none += &last.found_none;
            self.crossings.pop_if(|crossing| (&crossing.item, crossing.at) == (&line.item, line.at));
            self.without_room.pop_if(|item| Some(&*item) == line.item.as_ref());
        }
        let has_lost = !line.found_none.is_zero() && !line.found_none.is_negative() && !line.found_room.is_negative();
        match (has_lost, line.found_room.is_zero()) {
            (true, true) => self.without_room.extend(line.item.clone()),
            (true, false) => self.crossings.push(line.clone()),
            (false, _) => {}
        }
        self.last_at_cap = Some(line);
    }
}

/// What a term owes for each period: the rounded cumulative total through it less that through the one before, so that
/// rounding never drifts. With several payees the rounded cumulative total is allocated, and each is owed the
/// difference (CONTRACTS section 6).
///
/// `usage` is what a pool is shared by, by period and part.
///
/// # Errors
/// A pool of a period in which nothing was used, where the contract stops at that.
pub fn owed(
    agreement: &Contract,
    term: &Term,
    yields: &BTreeMap<Window, Yield>,
    usage: &BTreeMap<(Window, PartyId), Exact>,
    rounding: Rounding,
) -> Result<BTreeMap<Window, Vec<Owed>>, EngineError> {
    let digits = term.unit.digits();
    let payees: Vec<&PartyId> = match &term.payees {
        Payees::EachParty { .. } => {
            let all: BTreeSet<&PartyId> = usage.keys().map(|(_, party)| party).collect();
            all.into_iter().collect()
        }
        named => named.named(),
    };
    // What each payee's part has come to, unrounded, and what of the rounded total was allocated to it.
    let mut cumulative = vec![Exact::zero(); payees.len()];
    let mut allocated = cumulative.clone();
    let mut found = BTreeMap::new();
    for (period, it) in yields {
        // Parts are those of the version under which an amount accrued.
        for (number, of_version) in it.versions.iter().filter(|(_, it)| !it.amount.is_zero()) {
            let version = agreement.versions.iter().find(|version| version.number == *number);
            let wording = version.and_then(|version| version.term(&term.id)).unwrap_or(term);
            // What was computed for others alone is owed by nobody, whatever a later version says.
            if wording.is_input {
                continue;
            }
            let parts =
                parts_of(&wording.payees, &payees, (usage, *period)).ok_or_else(|| EngineError::NothingUsed {
                    contract: agreement.head.id.clone(),
                    term: term.id.clone(),
                    first_day: period.first_day,
                })?;
            for (sum, part) in cumulative.iter_mut().zip(parts) {
                *sum += &(&of_version.amount * &part);
            }
        }
        let now = round_together(&cumulative, digits, rounding);
        let differences = payees.iter().zip(now.iter().zip(&allocated)).map(|(payee, (now, before))| Owed {
            payer: term.payer.clone(),
            payee: (*payee).clone(),
            unit: term.unit.clone(),
            amount: now - before,
        });
        found.insert(*period, differences.filter(|owed| !owed.amount.is_zero()).collect());
        allocated = now;
    }
    Ok(found)
}

/// What part of an amount each payee has; none where nothing was used of what a pool is shared by, and the contract
/// stops at that.
fn parts_of(
    stated: &Payees,
    payees: &[&PartyId],
    (usage, period): (&BTreeMap<(Window, PartyId), Exact>, Window),
) -> Option<Vec<Exact>> {
    match stated {
        Payees::One(_) => Some(vec![Exact::from_integer(1); payees.len()]),
        Payees::Parts(parts) => {
            let part = |payee: &&PartyId| parts.iter().find(|(party, _)| party == *payee).map(|(_, part)| part.clone());
            Some(payees.iter().map(|payee| part(payee).unwrap_or_default()).collect())
        }
        Payees::ByUsage { if_none, .. } | Payees::EachParty { if_none, .. } => {
            pool_parts(usage, period, payees, *if_none)
        }
    }
}

/// The parts of a pool in a period, which sum to one; none where nothing was used and the contract stops at that.
fn pool_parts(
    usage: &BTreeMap<(Window, PartyId), Exact>,
    period: Window,
    payees: &[&PartyId],
    if_none: IfNone,
) -> Option<Vec<Exact>> {
    let used = payees.iter().map(|payee| usage.get(&(period, (*payee).clone())).cloned().unwrap_or_default());
    let used: Vec<Exact> = used.collect();
    let whole: Exact = used.iter().cloned().sum();
    if !whole.is_zero() {
        return used.iter().map(|used| used.checked_div(&whole)).collect();
    }
    match if_none {
        IfNone::Stop => None,
        IfNone::Nothing => Some(vec![Exact::zero(); payees.len()]),
        IfNone::Equal => {
            let part = Exact::from_integer(i64::try_from(payees.len()).ok()?).inverse()?;
            Some(vec![part; payees.len()])
        }
    }
}
