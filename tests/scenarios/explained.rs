//! Takes apart what scenarios owe, and tries that the parts are the whole at every place of the tree.

use crate::translate::Translated;
use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::explain::node::{Kind, Node};
use apportion::domain::explain::{Depth, Question};
use apportion::domain::ids::ContractId;
use apportion::domain::period::Instant;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{Answer, EntitledPeriod};
use apportion::domain::simulate::explained::{Amounts, explain};
use apportion::domain::simulate::run::run;
use apportion::domain::simulate::step::Step;
use std::collections::BTreeMap;

/// How many amounts were taken apart, and what was wrong with them.
pub fn explained(scenario: &Translated) -> (usize, Vec<String>) {
    let Ok(read) = Scenario::read(&scenario.files) else { return (0, Vec::new()) };
    let Ok(answers) = run(&read) else { return (0, Vec::new()) };
    let (mut amounts, mut faults) = (0, Vec::new());
    let said = said(&read, &scenario.files);
    for (step, answer) in read.steps.iter().zip(&answers.steps) {
        let Some((contract, known_at)) = asked(step) else { continue };
        for (period, yields) in periods(answer) {
            for depth in [Depth::Sums, Depth::Events] {
                // Few parts are told by themselves, so that the rest is tried as well.
                let question = Question { depth, limit: 3 };
                let of = Amounts { contract, period: &period, term: None, known_at };
                let trees = match explain(&read, &of, question) {
                    Ok(explained) => explained.amounts,
                    Err(error) => {
                        faults.push(format!("{period}: {error}"));
                        continue;
                    }
                };
                amounts += trees.len();
                for tree in &trees {
                    let fault = fault(tree, &yields).or_else(|| unsaid(tree, &said));
                    faults.extend(fault.map(|fault| format!("{contract} {period}: {fault}")));
                }
            }
        }
    }
    (amounts, faults)
}

/// All that agreements and records say, as text; what was used is no rate.
fn said(scenario: &Scenario, files: &[SourceFile]) -> String {
    let folder = read_folder(&scenario.documents).expect("agreements that were read");
    let contracts = serde_json::to_string(&folder.contracts).expect("JSON");
    let records = files.iter().flat_map(|file| file.text.lines()).filter(|line| !line.contains(r#""kind":"usage""#));
    records.fold(contracts, |said, record| said + record)
}

/// A rate or price of it that neither agreements nor records say; zero stands for what accrues nothing.
fn unsaid(node: &Node, said: &str) -> Option<String> {
    let is_stated = matches!(node.kind, Kind::Rate | Kind::UnitPrice);
    let factor = node.factor.as_ref().filter(|factor| is_stated && !factor.is_zero());
    let is_unsaid = factor.is_some_and(|factor| !said.contains(&format!("\"{factor}\"")));
    let own = is_unsaid.then(|| format!("nobody says the rate of {node:#?}"));
    own.or_else(|| node.parts.iter().find_map(|part| unsaid(part, said)))
}

fn asked(step: &Step) -> Option<(&ContractId, Instant)> {
    match step {
        Step::Settle { contract, cutoff, .. } => Some((contract, *cutoff)),
        Step::Entitlement { contract, known_at, .. } => Some((contract, *known_at)),
        _ => None,
    }
}

/// How the terms come to what they yield by period, as the answer says.
fn periods(answer: &Answer) -> BTreeMap<String, BTreeMap<String, EntitledPeriod>> {
    let (Answer::Settled { terms, .. } | Answer::Entitled { terms }) = answer else { return BTreeMap::new() };
    let mut found: BTreeMap<String, BTreeMap<String, EntitledPeriod>> = BTreeMap::new();
    for (term, entitled) in terms {
        for (period, yielded) in &entitled.periods {
            found.entry(period.clone()).or_default().insert(term.to_string(), yielded.clone());
        }
    }
    found
}

fn fault(tree: &Node, yields: &BTreeMap<String, EntitledPeriod>) -> Option<String> {
    if !tree.adds_up() {
        return Some(format!("does not add up: {tree:#?}"));
    }
    let term = tree.what.split(':').next().unwrap_or_default();
    let yielded = yields.get(term);
    let accrued = yielded.map(|it| &it.accrued);
    let told = tree.parts.iter().find(|part| part.kind == Kind::Accrued);
    if told.map(|part| &part.amount) != accrued {
        return Some(format!("{term} accrued {accrued:?}, and {told:#?} was taken apart"));
    }
    // Of several versions each tells its own cap. What no line of the period uses stays as it was in an answer, and is
    // not told: where nothing was used before, both are the same.
    let [version] = told?.parts.as_slice() else { return None };
    let stated = yielded?.cap.as_ref().filter(|cap| cap.before.is_zero());
    let stated = stated?;
    let told = version.parts.iter().find_map(|part| part.cap.as_ref());
    (told != Some(stated)).then(|| format!("{term} used {stated:?} of its cap, and {told:?} was told"))
}

#[test]
fn a_rate_that_nobody_says_is_noticed() {
    let leaf = |kind, factor: &str, parts| Node {
        kind,
        what: String::new(),
        amount: "1".parse().expect("a number"),
        unit: "USD".to_owned(),
        at: None,
        clause: None,
        cap: None,
        rests_on: Vec::new(),
        factor: Some(factor.parse().expect("a number")),
        parts,
    };
    for kind in [Kind::Rate, Kind::UnitPrice] {
        let below = leaf(Kind::Factor, "2", vec![leaf(kind, "0.2", Vec::new())]);
        assert_eq!(unsaid(&below, r#"{"rate":"0.2"}"#), None);
        assert!(unsaid(&below, r#"{"rate":"0.25"}"#).is_some());
    }
}
