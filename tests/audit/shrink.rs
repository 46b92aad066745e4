//! Makes a failing history small: leaves out whatever it can while it still fails.

use crate::model::{Basis, BelowZero, CapOf, History, Payees, Step, When};
use std::path::Path;

/// The smallest history found that still fails.
pub fn shrunk(mut history: History, fails: &dyn Fn(&History) -> bool) -> History {
    loop {
        let Some(smaller) = smaller(&history).find(|it| fails(it)) else { return history };
        history = smaller;
    }
}

/// Histories that are a little smaller, those that leave out most first.
fn smaller(history: &History) -> impl Iterator<Item = History> {
    let mut found: Vec<History> = Vec::new();
    let mut with = |change: &dyn Fn(&mut History)| {
        let mut next = history.clone();
        change(&mut next);
        found.push(next);
    };
    let steps = history.steps.len();
    let records = history.records.len();
    for length in [records / 2, records / 4, 1].into_iter().filter(|it| *it > 0) {
        for start in (0..records).step_by(length) {
            with(&|it| drop(it.records.drain(start..(start + length).min(it.records.len()))));
        }
    }
    for place in 0..steps {
        with(&|it| {
            it.steps.remove(place);
        });
    }
    for (place, contract) in history.contracts.iter().enumerate() {
        let is_last = place + 1 == history.contracts.len();
        let is_asked = history.steps.iter().any(|step| contract_of(step) == place);
        if is_last && !is_asked && place > 0 {
            with(&|it| drop(it.contracts.pop()));
        }
        for version in (1..contract.versions.len()).rev() {
            with(&|it| drop(it.contracts[place].versions.remove(version)));
        }
        let first = &contract.versions[0];
        for term in &first.terms {
            let name = term.name;
            with(&|it| {
                it.contracts[place].versions.iter_mut().for_each(|it| it.terms.retain(|term| term.name != name));
            });
            let mut change = |change: &dyn Fn(&mut crate::model::Term)| {
                with(&|it| {
                    let versions = it.contracts[place].versions.iter_mut();
                    versions.flat_map(|it| &mut it.terms).filter(|it| it.name == name).for_each(change);
                });
            };
            change(&|it| it.cap = CapOf::None);
            change(&|it| it.minimum = None);
            change(&|it| it.recoups = None);
            change(&|it| it.once = false);
            change(&|it| it.per_country = false);
            change(&|it| (it.from, it.through, it.until, it.starts, it.tail) = (None, None, None, None, None));
            change(&|it| it.base.less.clear());
            change(&|it| it.base.above = None);
            change(&|it| it.base.not_customer = None);
            change(&|it| it.base.basis = Basis::Occurred);
            change(&|it| it.base.below_zero = BelowZero::Keep);
            change(&|it| it.base.select.truncate(1));
            change(&|it| {
                if let Payees::Parts(parts) = &it.payees {
                    it.payees = Payees::One(parts[0].0);
                }
            });
        }
        with(&|it| it.contracts[place].versions.iter_mut().for_each(|it| it.holds.clear()));
        with(&|it| it.contracts[place].zone = chrono_tz::UTC);
        with(&|it| {
            for version in &mut it.contracts[place].versions {
                if let When::Instant(at) = version.effective {
                    version.effective = When::Date(crate::time::date_of(chrono_tz::UTC, at));
                }
            }
        });
    }
    found.extend(without_prices(history));
    let size = weight(history);
    found.into_iter().filter(move |it| weight(it) < size)
}

fn without_prices(history: &History) -> Vec<History> {
    let mut found = vec![history.clone()];
    found[0].prices.retain(|price| price.from.is_none());
    for length in [history.rates.len(), 4] {
        for start in (0..history.rates.len()).step_by(length.max(1)) {
            let mut next = history.clone();
            next.rates.drain(start..(start + length).min(history.rates.len()));
            found.push(next);
        }
    }
    found
}

/// What shrinking makes less.
fn weight(history: &History) -> usize {
    format!("{history:?}").len()
}

fn contract_of(step: &Step) -> usize {
    match step {
        Step::Settle { contract, .. } | Step::Close { contract, .. } | Step::Entitlement { contract, .. } => *contract,
    }
}

/// Writes a history as the folder of a scenario.
pub fn write(history: &History, folder: &Path) -> std::io::Result<()> {
    for file in crate::print::printed(history) {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, &file.text)?;
    }
    Ok(())
}
