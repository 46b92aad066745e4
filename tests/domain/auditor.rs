//! An auditor of its own: takes every single item alone and in order, as CONTRACTS sections 1 to 7 say.
//!
//! It shares no code with `src/domain`: it reads no document, its terms are plain structs, its instants are
//! microseconds, and its numbers are integers in units of `1 / ONE`, which hold cents, prices and thirds exactly.

use chrono::{Datelike, TimeZone, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// One, in the auditor's units: fifteen decimal digits, and a third of a third of a third.
pub const ONE: i128 = 27 * 10_i128.pow(15);

/// Microseconds since 1970, UTC.
pub type Micros = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Item,
    OwnDate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    HalfUp,
    HalfEven,
    Down,
}

#[derive(Clone, Debug)]
pub enum Select {
    /// The seller, and the products that count; all where there are none.
    Charges {
        seller: &'static str,
        products: Vec<&'static str>,
    },
    Figure,
    Accrual {
        contract: usize,
        term: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub limit: i128,
    pub counts_from: Micros,
    pub opening: i128,
}

#[derive(Clone, Debug)]
pub struct Term {
    pub name: &'static str,
    /// Numerator and denominator.
    pub rate: (i128, i128),
    pub select: Vec<Select>,
    /// Category of deductions, and where they stand.
    pub less: Vec<(&'static str, Place)>,
    pub from: Option<Micros>,
    /// Exclusive.
    pub end: Option<Micros>,
    /// Whether the milestone ends it.
    pub until_milestone: bool,
    pub cap: Option<Cap>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub number: u32,
    pub effective: Micros,
    pub terms: Vec<Term>,
}

#[derive(Clone, Debug)]
pub struct Agreement {
    pub zone: Tz,
    /// Months in a settlement period.
    pub months: u32,
    pub mode: Mode,
    /// Numbers rising.
    pub versions: Vec<Version>,
    /// When its milestone happened, as often as it was recorded.
    pub milestones: Vec<Micros>,
}

/// What was sold, or is taken off again.
#[derive(Clone, Debug)]
pub struct Sold {
    pub seller: &'static str,
    pub product: &'static str,
}

#[derive(Clone, Debug)]
pub enum Item {
    Charge { at: Micros, sold: Sold, amount: i128 },
    Deduction { at: Micros, item_at: Option<Micros>, category: &'static str, sold: Sold, amount: i128 },
    Figure { at: Micros, agreement: usize, amount: i128 },
}

/// Months since year zero: the first month of a period.
pub type Origin = i32;

/// One item at one place: a deduction has two, of which each base takes one.
struct Step<'a> {
    at: Micros,
    item: Option<&'a Item>,
    place: Place,
}

#[derive(Default)]
struct Counter {
    accrued: Vec<(Micros, i128)>,
    /// The cap in force, what stood against it when it came, and the uncapped sum since.
    cap: Option<(Cap, i128, i128)>,
}

pub struct Auditor<'a> {
    agreements: &'a [Agreement],
    counters: BTreeMap<(usize, &'static str), Counter>,
}

impl<'a> Auditor<'a> {
    /// What every term is entitled to by period of origin, unrounded, of what stands before `end`.
    pub fn entitlements(
        agreements: &'a [Agreement],
        items: &[Item],
        end: Micros,
    ) -> BTreeMap<(usize, &'static str, Origin), i128> {
        let mut auditor = Self { agreements, counters: BTreeMap::new() };
        for step in steps(agreements, items).iter().filter(|step| step.at < end) {
            auditor.take(step);
        }
        let mut owed = BTreeMap::new();
        for ((agreement, term), counter) in auditor.counters {
            for (at, amount) in counter.accrued {
                *owed.entry((agreement, term, origin(&agreements[agreement], at))).or_default() += amount;
            }
        }
        owed
    }

    fn take(&mut self, step: &Step) {
        // What each term accrued on this very item, for the terms that draw on it.
        let mut here = BTreeMap::new();
        for (index, agreement) in self.agreements.iter().enumerate() {
            for term in in_force(agreement, step.at).map(|it| it.terms.as_slice()).unwrap_or_default() {
                self.accrue(step, index, term.name, &mut here);
            }
        }
    }

    fn accrue(
        &mut self,
        step: &Step,
        index: usize,
        name: &'static str,
        here: &mut BTreeMap<(usize, &'static str), i128>,
    ) -> i128 {
        if let Some(amount) = here.get(&(index, name)) {
            return *amount;
        }
        let agreements = self.agreements;
        let Some(term) = term_at(&agreements[index], name, step.at) else { return 0 };
        let mut base = step.item.map_or(0, |item| own_base(&agreements[index], index, term, item, step.place));
        for select in &term.select {
            if let Select::Accrual { contract, term: drawn } = select {
                base += self.accrue(step, *contract, drawn, here);
            }
        }
        let uncapped = times(base, term.rate);
        let counter = self.counters.entry((index, name)).or_default();
        let amount = counter.under_cap(term.cap.filter(|cap| cap.counts_from <= step.at), uncapped);
        counter.accrued.push((step.at, amount));
        here.insert((index, name), amount);
        amount
    }
}

impl Counter {
    fn under_cap(&mut self, cap: Option<Cap>, uncapped: i128) -> i128 {
        let Some(cap) = cap else {
            self.cap = None;
            return uncapped;
        };
        let same = self.cap.filter(|(known, _, _)| *known == cap);
        let (_, start, sum) = same.unwrap_or_else(|| {
            let since: i128 =
                self.accrued.iter().filter(|(at, _)| cap.counts_from <= *at).map(|(_, amount)| amount).sum();
            (cap, cap.opening + since, 0)
        });
        let total = |sum: i128| start + sum.min((cap.limit - start).max(0));
        self.cap = Some((cap, start, sum + uncapped));
        total(sum + uncapped) - total(sum)
    }
}

/// Everything in the order of time. A step without an item looks at terms where something may change, since a
/// cap is introduced or changed even while nothing happens.
fn steps<'a>(agreements: &[Agreement], items: &'a [Item]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut looks = BTreeSet::new();
    for agreement in agreements {
        looks.extend(agreement.milestones.iter().copied());
        for version in &agreement.versions {
            looks.insert(version.effective);
            for term in &version.terms {
                looks.extend([term.from, term.end, term.cap.map(|cap| cap.counts_from)].into_iter().flatten());
            }
        }
    }
    steps.extend(looks.into_iter().map(|at| Step { at, item: None, place: Place::Item }));
    for item in items {
        let mut add = |at, place| steps.push(Step { at, item: Some(item), place });
        match item {
            Item::Charge { at, .. } | Item::Figure { at, .. } => add(*at, Place::Item),
            Item::Deduction { at, item_at, .. } => {
                add(*at, Place::OwnDate);
                item_at.iter().for_each(|item_at| add(*item_at, Place::Item));
            }
        }
    }
    // Stable: looks come first, the items of one instant as they are listed, figures being listed last.
    steps.sort_by_key(|step| step.at);
    steps
}

/// What an item adds to a term's base by itself.
fn own_base(agreement: &Agreement, index: usize, term: &Term, item: &Item, place: Place) -> i128 {
    match item {
        Item::Charge { sold, amount, .. } => {
            amount * i128::try_from(term.select.iter().filter(|it| selects(it, sold)).count()).expect("a few")
        }
        Item::Figure { agreement: of, amount, .. } => {
            let counts = *of == index && term.select.iter().any(|it| matches!(it, Select::Figure));
            if counts { *amount } else { 0 }
        }
        Item::Deduction { item_at, category, sold, amount, .. } => {
            // The terms at the item that it names say whether that counts, and where the deduction stands.
            let governing = match item_at {
                Some(item_at) => term_at(agreement, term.name, *item_at),
                None => Some(term),
            };
            let Some(governing) = governing else { return 0 };
            let stands = governing.less.iter().find(|(listed, _)| listed == category).map(|(_, place)| *place);
            let stands = if item_at.is_none() { stands.map(|_| Place::OwnDate) } else { stands };
            let counts = stands == Some(place) && governing.select.iter().any(|it| selects(it, sold));
            if counts { -amount } else { 0 }
        }
    }
}

fn selects(select: &Select, sold: &Sold) -> bool {
    match select {
        Select::Charges { seller, products } => {
            *seller == sold.seller && (products.is_empty() || products.contains(&sold.product))
        }
        Select::Figure | Select::Accrual { .. } => false,
    }
}

fn in_force(agreement: &Agreement, at: Micros) -> Option<&Version> {
    agreement.versions.iter().filter(|version| version.effective <= at).max_by_key(|version| version.number)
}

fn term_at<'a>(agreement: &'a Agreement, name: &str, at: Micros) -> Option<&'a Term> {
    let term = in_force(agreement, at)?.terms.iter().find(|term| term.name == name)?;
    let reached = term.until_milestone && agreement.milestones.iter().any(|milestone| *milestone <= at);
    let begun = term.from.is_none_or(|from| at >= from);
    (begun && !reached && term.end.is_none_or(|end| at < end)).then_some(term)
}

fn times(amount: i128, (numerator, denominator): (i128, i128)) -> i128 {
    let product = amount.checked_mul(numerator).expect("an amount that fits");
    assert_eq!(product % denominator, 0, "the auditor's units are too coarse for {amount} x {numerator}/{denominator}");
    product / denominator
}

/// The period in which an instant lies, local to the agreement.
pub fn origin(agreement: &Agreement, at: Micros) -> Origin {
    let local = Utc.timestamp_micros(at).single().expect("an instant").with_timezone(&agreement.zone);
    let months = i32::try_from(agreement.months).expect("a few");
    let month = local.year() * 12 + i32::try_from(local.month0()).expect("a month");
    month - month.rem_euclid(months)
}

/// Rounds an amount to minor units of a currency with `digits` digits.
pub fn to_minor(amount: i128, digits: u32, mode: Mode) -> i128 {
    let unit = ONE / 10_i128.pow(digits);
    let (whole, rest) = (amount / unit, (amount % unit).abs());
    let away = match mode {
        Mode::Down => false,
        Mode::HalfUp => rest * 2 >= unit,
        Mode::HalfEven => rest * 2 > unit || (rest * 2 == unit && whole % 2 != 0),
    };
    if away { whole + amount.signum() } else { whole }
}

/// Books in minor units, by term and period of origin.
pub type Books = BTreeMap<(&'static str, Origin), i128>;

/// What a settlement of one agreement books, given what is booked: differences, never zero.
pub fn due(
    agreement: &Agreement,
    index: usize,
    owed: &BTreeMap<(usize, &'static str, Origin), i128>,
    digits: u32,
    booked: &Books,
) -> Books {
    let mut due: Books = booked.iter().map(|(key, amount)| (*key, -amount)).collect();
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for ((_, term, origin), amount) in owed.iter().filter(|((it, _, _), _)| *it == index) {
        let sum = sums.entry(term).or_default();
        let before = to_minor(*sum, digits, agreement.mode);
        *sum += amount;
        *due.entry((term, *origin)).or_default() += to_minor(*sum, digits, agreement.mode) - before;
    }
    due.retain(|_, amount| *amount != 0);
    due
}
