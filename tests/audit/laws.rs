//! Laws that hold of every history, whatever its figures are.

use crate::compare::{Figures, of_product, simulated};
use crate::generate::generate;
use crate::model::{History, Step};
use crate::time::{at_of, start_of, window};

const SEEDS: std::ops::Range<u64> = 1_000_000..1_000_060;

fn figures(history: &History) -> Figures {
    of_product(&simulated(history).expect("contracts that are read"))
}

/// The step that asks last, of what the first contract yields.
fn asks(history: &History) -> (Step, i64) {
    let asked = history.steps.iter().rev().find_map(|step| match step {
        Step::Entitlement { contract: 0, known_at, .. } => Some((step.clone(), *known_at)),
        _ => None,
    });
    asked.expect("every history asks in the end")
}

#[test]
fn the_order_in_the_files_means_nothing() {
    for seed in SEEDS {
        let history = generate(seed);
        let mut turned = history.clone();
        // What is recorded at one instant stays in its order.
        turned.records.sort_by_key(|record| std::cmp::Reverse(record.recorded_at));
        assert_eq!(figures(&turned), figures(&history), "seed {seed}");
    }
}

#[test]
fn a_rerun_books_nothing() {
    for seed in SEEDS {
        let history = generate(seed);
        let mut twice = history.clone();
        twice.steps = Vec::new();
        for step in &history.steps {
            let again = matches!(step, Step::Settle { .. }).then(|| step.clone());
            twice.steps.extend([step.clone()].into_iter().chain(again));
        }
        let found = figures(&twice);
        for (place, pair) in twice.steps.windows(2).enumerate() {
            if let [Step::Settle { contract, period, cutoff }, Step::Settle { contract: of, period: again, cutoff: at }] =
                pair
                && (contract, period, cutoff) == (of, again, at)
            {
                let second = format!("{} ", place + 1);
                let first_failed = found.contains_key(&format!("{place} error"));
                let booked = found.keys().any(|key| key.starts_with(&second));
                assert!(!booked || first_failed, "seed {seed}: step {place} books twice");
            }
        }
    }
}

#[test]
fn what_is_recorded_later_was_not_known() {
    for seed in SEEDS {
        let mut history = generate(seed);
        let (Step::Entitlement { contract, through, .. }, _) = asks(&history) else { continue };
        let of = &history.contracts[contract];
        let known_at = start_of(of.zone, window(of.period, through).first);
        history.steps = vec![Step::Entitlement { contract, through, known_at }];
        let mut then = history.clone();
        then.records.retain(|record| record.recorded_at <= known_at);
        then.rates.retain(|rate| rate.recorded_at.is_none_or(|at| at <= known_at));
        then.prices.retain(|price| price.recorded_at.is_none_or(|at| at <= known_at));
        for contract in &mut then.contracts {
            contract.versions.retain(|version| version.number == 1 || version.recorded_at <= known_at);
        }
        assert_eq!(figures(&then), figures(&history), "seed {seed}");
    }
}

#[test]
fn an_amendment_touches_nothing_before_it() {
    let mut amended = 0;
    for seed in SEEDS {
        let mut history = generate(seed);
        history.contracts.truncate(1);
        let contract = &history.contracts[0];
        let Some(last) = contract.versions.last().filter(|version| version.number > 1) else { continue };
        // Up to the period before the one in which it takes effect.
        let at = at_of(contract.zone, last.effective);
        let period = window(contract.period, crate::time::date_of(contract.zone, at));
        let through = window(contract.period, period.first.pred_opt().expect("a day")).first;
        let (_, known_at) = asks(&history);
        history.steps = vec![Step::Entitlement { contract: 0, through, known_at }];
        history.records.retain(|record| !record.is_of_contract_after(0));
        let mut before = history.clone();
        before.contracts[0].versions.pop();
        assert_eq!(figures(&before), figures(&history), "seed {seed}");
        amended += 1;
    }
    assert!(amended > 10, "{amended} amendments");
}
