//! Laws that hold of every history, whatever its figures are.

use crate::compare::{Figures, missing_alike, number, of_product, of_sums, simulated};
use crate::generate::generate;
use crate::model::{Cap, CapOf, Each, History, Q, Step, whole};
use crate::print::printed;
use crate::time::{at_of, instant, period_name, start_of, window};
use apportion::domain::explain::node::{Kind, Node};
use apportion::domain::explain::{Depth, Question};
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{Answer, Answers};
use apportion::domain::simulate::explained::{Amounts, explain};
use num_traits::Zero;
use std::collections::BTreeMap;

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

/// A history that settles the last period of its first contract at its end, and nothing after.
fn settled_in_the_end(mut history: History) -> History {
    let (Step::Entitlement { contract, through, .. }, cutoff) = asks(&history) else { unreachable!("it asks") };
    history.steps.retain(|step| matches!(step, Step::Settle { contract: 0, .. } | Step::Close { contract: 0, .. }));
    history.steps.push(Step::Settle { contract, period: through, cutoff });
    history
}

/// Everything that was booked, where the last step has an answer.
fn booked_in_all(history: &History) -> Option<BTreeMap<(String, String), Q>> {
    let answers = simulated(history).expect("contracts that are read");
    matches!(answers.steps.last(), Some(Answer::Settled { .. })).then(|| {
        let booked = answers.booked_in_all.iter().filter(|it| !it.amount.is_zero());
        booked.map(|it| ((it.term.to_string(), it.payee.to_string()), number(&it.amount))).collect()
    })
}

#[test]
fn usage_that_is_summed_gives_what_it_gives_item_by_item() {
    for seed in SEEDS {
        let history = generate(seed);
        let scenario = Scenario::read(&printed(&history)).expect("a scenario that is read");
        assert_eq!(of_sums(&scenario), missing_alike(&figures(&history)), "seed {seed}");
    }
}

#[test]
fn however_often_it_is_settled_the_same_is_booked_in_all() {
    let mut settled = 0;
    for seed in SEEDS {
        let often = settled_in_the_end(generate(seed));
        let mut once = often.clone();
        once.steps.drain(..once.steps.len() - 1);
        let (Some(often), Some(once)) = (booked_in_all(&often), booked_in_all(&once)) else { continue };
        settled += once.len();
        assert_eq!(often, once, "seed {seed}");
    }
    assert!(settled > 50, "{settled} amounts");
}

/// What each term yields by period: the last answer, and by each payee what was booked until then.
fn yields(answers: &Answers) -> BTreeMap<String, Q> {
    let Some(Answer::Entitled { terms }) = answers.steps.last() else { return BTreeMap::new() };
    let rounded = |it: &apportion::domain::simulate::answer::Entitled| {
        it.periods.values().map(|period| number(&period.rounded)).sum::<Q>()
    };
    let sums = terms.iter().map(|(term, it)| (term.to_string(), rounded(it)));
    sums.filter(|(_, sum)| !sum.is_zero()).collect()
}

#[test]
fn lines_sum_to_what_is_booked_and_payees_to_the_term() {
    let mut shared = 0;
    for seed in SEEDS {
        let history = generate(seed);
        let (asked, _) = asks(&history);
        let mut history = settled_in_the_end(history);
        history.steps.push(asked);
        let answers = simulated(&history).expect("contracts that are read");
        let mut by_term: BTreeMap<String, Q> = BTreeMap::new();
        for answer in &answers.steps {
            let Answer::Settled { settlements, .. } = answer else { continue };
            for booked in settlements.iter().flat_map(|it| &it.booked) {
                let lines: Q = booked.lines.values().map(number).sum();
                assert_eq!(lines, number(&booked.amount), "seed {seed}: {}", booked.term);
                *by_term.entry(booked.term.to_string()).or_default() += lines;
                shared += usize::from(booked.is_shared);
            }
        }
        let is_settled = matches!(answers.steps.iter().rev().nth(1), Some(Answer::Settled { .. }));
        by_term.retain(|_, sum| !sum.is_zero());
        assert!(!is_settled || by_term == yields(&answers), "seed {seed}: {by_term:?} and {:?}", yields(&answers));
    }
    assert!(shared > 20, "{shared} amounts of several payees");
}

fn check_parts(seed: u64, node: &Node) -> usize {
    if node.parts.is_empty() {
        return 1;
    }
    let parts: Q = node.parts.iter().map(|part| number(&part.amount)).sum();
    let factor = node.factor.as_ref().map_or_else(|| whole(1), number);
    assert_eq!(parts * factor, number(&node.amount), "seed {seed}: {node:#?}");
    1 + node.parts.iter().map(|part| check_parts(seed, part)).sum::<usize>()
}

#[test]
fn the_parts_of_an_explanation_sum_to_its_amount() {
    let (mut nodes, mut amounts) = (0, 0);
    for seed in SEEDS {
        let history = generate(seed);
        let (Step::Entitlement { through, known_at, .. }, _) = asks(&history) else { unreachable!("it asks") };
        let scenario = Scenario::read(&printed(&history)).expect("a scenario that is read");
        let of = &history.contracts[0];
        let last = window(of.period, through);
        for period in [last, window(of.period, last.first.pred_opt().expect("a day"))] {
            let (contract, name) = (of.id.into(), period_name(period));
            let asked = Amounts { contract: &contract, period: &name, term: None, known_at: instant(known_at) };
            for depth in [Depth::Sums, Depth::Events] {
                // What cannot be settled cannot be explained.
                let Ok(explained) = explain(&scenario, &asked, Question { depth, limit: 2 }) else { continue };
                for tree in &explained.amounts {
                    assert!(matches!(tree.kind, Kind::Booked | Kind::Owed), "seed {seed}: {tree:#?}");
                    nodes += check_parts(seed, tree);
                    amounts += 1;
                }
            }
        }
    }
    assert!(amounts > 50 && nodes > 5 * amounts, "{nodes} nodes of {amounts} amounts");
}

/// What one cap lets its terms accrue, where it counts from the start of the contract on and for ever.
fn check_cap(seed: u64, cap: &Cap, accrued: &Q) {
    let most = (&cap.is - &cap.opening).max(Q::zero());
    assert!(*accrued <= most, "seed {seed}: {accrued} accrued of {most}");
}

#[test]
fn no_cap_is_exceeded() {
    let (mut told, mut reached) = (0, 0);
    for seed in SEEDS.start..SEEDS.start + 300 {
        let mut history = generate(seed);
        // What accrued before a version lowers a cap stands above it.
        history.contracts.iter_mut().for_each(|it| it.versions.truncate(1));
        let (asked, _) = asks(&history);
        history.steps = vec![asked];
        let answers = simulated(&history).expect("contracts that are read");
        let Some(Answer::Entitled { terms }) = answers.steps.last() else { continue };
        for cap in terms.values().flat_map(|it| it.periods.values()).filter_map(|it| it.cap.as_ref()) {
            assert!(cap.before <= cap.limit && cap.after <= cap.limit, "seed {seed}: {cap:?}");
            told += 1;
            reached += usize::from(cap.after == cap.limit);
        }
        let version = &history.contracts[0].versions[0];
        let accrued = |name: &str| terms.get(&name.into()).map(|it| number(&it.cumulative)).unwrap_or_default();
        let is_whole = |cap: &Cap| cap.each == Each::Ever && crate::model::When::Date(cap.from) == version.effective;
        for term in &version.terms {
            let is_beside = term.minimum.as_ref().is_some_and(|it| it.is_outside_cap);
            if let CapOf::Own(cap) = &term.cap
                && is_whole(cap)
                && !is_beside
            {
                check_cap(seed, cap, &accrued(term.name));
            }
        }
        if let Some(cap) = version.shared_cap.as_ref().filter(|cap| is_whole(cap)) {
            let under = version.terms.iter().filter(|term| term.cap == CapOf::Shared);
            check_cap(seed, cap, &under.map(|term| accrued(term.name)).sum());
        }
    }
    assert!(told > 200 && reached > 20, "{told} periods of caps, {reached} that reached theirs");
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
