//! What is owed of what accrued, rounded once, and what is due beyond what was booked (CONTRACTS sections 6 and 7).

use crate::auditor::{Auditor, audit};
use crate::known::Missing;
use crate::model::{Contract, History, Micros, Mode, Name, Payees, Q, whole};
use crate::time::{Window, start_of, window};
use num_traits::{Signed, Zero};
use std::collections::{BTreeMap, BTreeSet};

/// By term and payee.
pub type Account = (Name, Name);

pub type ByPeriod = BTreeMap<Window, Q>;

/// ISO 4217's minor digits.
fn digits(currency: Name) -> u32 {
    match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    }
}

/// Rounds to so many digits.
pub fn rounded(amount: &Q, digits: u32, mode: Mode) -> Q {
    let unit = whole(10_i64.pow(digits));
    let units = amount * &unit;
    let (down, rest) = (units.trunc(), units.fract().abs());
    let half = Q::new(1.into(), 2.into());
    let is_odd = !(&down / whole(2)).is_integer();
    let away = match mode {
        Mode::Down => false,
        Mode::HalfUp => rest >= half,
        Mode::HalfEven => rest > half || rest == half && is_odd,
    };
    let found = if away { down + units.signum() } else { down };
    found / unit
}

/// Parts of a rounded amount by weight: the largest remainders first, ties to the part listed first. Where some are owed
/// and others returned, the weights are what each part is itself.
pub fn allocated(amount: &Q, digits: u32, weights: &[Q]) -> Vec<Q> {
    let all: Q = weights.iter().sum();
    let unit = whole(10_i64.pow(digits));
    let is_mixed = weights.iter().any(|weight| !weight.is_zero() && weight.is_negative() != all.is_negative());
    let part = |weight: &Q| if is_mixed { weight * &unit } else { amount * &unit * weight / &all };
    let exact: Vec<Q> = weights.iter().map(part).collect();
    let mut parts: Vec<Q> = exact.iter().map(Q::trunc).collect();
    let left = amount * &unit - parts.iter().sum::<Q>();
    let (sign, mut left) = (left.signum(), left.abs());
    let mut served = BTreeSet::new();
    while left.is_positive() {
        let open = (0..parts.len()).filter(|it| !served.contains(it) && !weights[*it].is_zero());
        let rest = |it: usize| (&exact[it] - &exact[it].trunc()) * &sign;
        let Some(next) = open.reduce(|best, it| if rest(it) > rest(best) { it } else { best }) else { break };
        served.insert(next);
        parts[next] += &sign;
        left -= whole(1);
    }
    parts.into_iter().map(|part| part / &unit).collect()
}

/// What each term accrued by period of origin, unrounded.
pub fn accrued(auditor: &Auditor<'_>, contract: usize) -> BTreeMap<Name, ByPeriod> {
    let mut by_term: BTreeMap<Name, ByPeriod> = BTreeMap::new();
    for line in auditor.lines.iter().filter(|line| line.contract == contract) {
        let period = auditor.period(contract, line.at);
        *by_term.entry(line.term).or_default().entry(period).or_default() += &line.amount;
    }
    by_term
}

/// What is owed for each period up to an end, as known at an instant.
pub fn owed(
    history: &History,
    contract: usize,
    known: Micros,
    end: Micros,
) -> Result<BTreeMap<Account, ByPeriod>, Missing> {
    let auditor = audit(history, contract, known, end)?;
    let of = &history.contracts[contract];
    let mut owed: BTreeMap<Account, ByPeriod> = BTreeMap::new();
    for (term, by_period) in accrued(&auditor, contract) {
        let payees = payees(of, term);
        let names: Vec<Name> = match payees {
            Payees::One(payee) => vec![payee],
            Payees::Parts(parts) => parts.iter().map(|it| it.0).collect(),
            Payees::ByUse(by) => by.iter().map(|it| it.1).collect(),
        };
        let mut sum = Q::zero();
        let mut weights = vec![Q::zero(); names.len()];
        let mut before = vec![Q::zero(); names.len()];
        for (period, amount) in by_period {
            sum += &amount;
            match payees {
                Payees::One(_) => weights = vec![whole(1)],
                Payees::Parts(parts) => weights = parts.iter().map(|it| whole(it.1)).collect(),
                Payees::ByUse(by) => {
                    for (weight, part) in weights.iter_mut().zip(used(&auditor, (contract, term), period, by)) {
                        *weight += &amount * part;
                    }
                }
            }
            let total = rounded(&sum, digits(of.currency), of.mode);
            let parts = if weights.iter().all(Q::is_zero) {
                vec![Q::zero(); names.len()]
            } else {
                allocated(&total, digits(of.currency), &weights)
            };
            for ((name, part), before) in names.iter().zip(parts).zip(&mut before) {
                let booked = &part - &*before;
                owed.entry((term, name)).or_default().insert(period, booked);
                *before = part;
            }
        }
    }
    Ok(owed)
}

/// The part of each payee in the use of a period; equal parts where nothing was used.
fn used(auditor: &Auditor<'_>, (contract, term): (usize, Name), period: Window, by: &[(Name, Name)]) -> Vec<Q> {
    let used = |it: &(Name, Name)| auditor.used.get(&(contract, term, period, it.0)).cloned().unwrap_or_default();
    let used: Vec<Q> = by.iter().map(used).collect();
    let all: Q = used.iter().sum();
    if all.is_zero() {
        return vec![Q::new(1.into(), by.len().into()); by.len()];
    }
    used.into_iter().map(|it| it / &all).collect()
}

pub fn payees(contract: &Contract, term: Name) -> &Payees {
    let terms = contract.versions.iter().flat_map(|version| &version.terms);
    &terms.into_iter().find(|it| it.name == term).expect("a term").payees
}

/// What was booked under one contract.
#[derive(Default)]
pub struct Books {
    pub booked: BTreeMap<Account, ByPeriod>,
    pub settled: Option<Window>,
    pub closed: Option<Window>,
}

/// What a settlement comes to.
pub enum Settled {
    Booked(BTreeMap<Account, ByPeriod>),
    Failed(&'static str),
}

impl Books {
    /// Books what is due up to a period; earlier ones are closed with it.
    pub fn settle(&mut self, history: &History, contract: usize, first_day: NaiveDate, known: Micros) -> Settled {
        let of = &history.contracts[contract];
        let period = window(of.period, first_day);
        let owed = match owed(history, contract, known, start_of(of.zone, period.end)) {
            Ok(owed) => owed,
            Err(missing) => return Settled::Failed(missing.code()),
        };
        let mut due = owed;
        for (account, by_period) in &self.booked {
            for (origin, amount) in by_period {
                *due.entry(*account).or_default().entry(*origin).or_default() -= amount;
            }
        }
        for by_period in due.values_mut() {
            by_period.retain(|origin, amount| *origin <= period && !amount.is_zero());
        }
        due.retain(|_, by_period| !by_period.is_empty());
        if self.closed.is_some_and(|closed| period <= closed) {
            return if due.is_empty() { Settled::Booked(due) } else { Settled::Failed("period_closed") };
        }
        for (account, by_period) in &due {
            for (origin, amount) in by_period {
                *self.booked.entry(*account).or_default().entry(*origin).or_default() += amount;
            }
        }
        let before = window(of.period, period.first.pred_opt().expect("a day"));
        self.closed = self.closed.max(Some(before));
        self.settled = self.settled.max(Some(period));
        Settled::Booked(due)
    }

    /// Whether a period can be closed: it is settled.
    pub fn close(&mut self, period: Window) -> bool {
        let is_settled = self.settled.max(self.closed).is_some_and(|settled| period <= settled);
        if is_settled {
            self.closed = self.closed.max(Some(period));
        }
        is_settled
    }
}

use chrono::NaiveDate;
