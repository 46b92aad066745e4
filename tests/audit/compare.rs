//! One history through the product and through the auditor, and every figure in which they differ.

use crate::auditor::audit;
use crate::books::{Account, Books, ByPeriod, Settled, accrued};
use crate::model::{History, Q, Step};
use crate::print::printed;
use crate::time::{period_name, start_of, window};
use apportion::domain::engine::stretches::Grain;
use apportion::domain::money::Exact;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{Answer, Answers};
use apportion::domain::simulate::run::{run, run_by};
use num_bigint::BigInt;
use num_traits::Zero;
use std::collections::{BTreeMap, BTreeSet};

/// A figure by its name: step, term, payee or nothing, and period.
pub type Figures = BTreeMap<String, String>;

/// What the product answers to a history.
pub fn simulated(history: &History) -> Result<Answers, String> {
    let scenario = Scenario::read(&printed(history)).map_err(|errors| errors.to_string())?;
    run(&scenario).map_err(|errors| errors.to_string())
}

/// Each figure that is not the same on both sides, or where usage is summed; none where all are.
pub fn differences(history: &History) -> Vec<String> {
    let product = match simulated(history) {
        Ok(answers) => of_product(&answers),
        Err(refusal) => return vec![format!("refused: {refusal}")],
    };
    let scenario = Scenario::read(&printed(history)).expect("as before");
    let on_sums = of_sums(&scenario);
    if let Some((key, figure)) = on_sums.iter().find(|(key, figure)| missing_alike(&product).get(*key) != Some(*figure))
    {
        let of_items = product.get(key).map_or("nothing", String::as_str);
        return vec![format!("{key}: sums {figure}, items {of_items}")];
    }
    let auditor = of_auditor(history);
    let keys: BTreeSet<&String> = product.keys().chain(auditor.keys()).collect();
    let shown = |of: &Figures, key: &String| of.get(key).cloned().unwrap_or_else(|| "nothing".to_owned());
    let differing = keys.into_iter().filter(|key| product.get(*key) != auditor.get(*key));
    differing.map(|key| format!("{key}: simulate {}, by hand {}", shown(&product, key), shown(&auditor, key))).collect()
}

/// What the product answers where usage is summed.
pub fn of_sums(scenario: &Scenario) -> Figures {
    missing_alike(&of_product(&run_by(scenario, Grain::Sums, || {}).expect("contracts that are read")))
}

/// Which of several things that are missing is met first is told by the order in which items come.
pub fn missing_alike(figures: &Figures) -> Figures {
    let told = |figure: &String| if figure.starts_with("missing_") { "missing".to_owned() } else { figure.clone() };
    figures.iter().map(|(key, figure)| (key.clone(), told(figure))).collect()
}

pub fn number(exact: &Exact) -> Q {
    let text = exact.to_string();
    let integer = |text: &str| text.parse::<BigInt>().expect("an integer");
    if let Some((above, below)) = text.split_once('/') {
        return Q::new(integer(above), integer(below));
    }
    let Some((_, fraction)) = text.split_once('.') else { return Q::from_integer(integer(&text)) };
    let places = u32::try_from(fraction.len()).expect("a few");
    Q::new(integer(&text.replace('.', "")), BigInt::from(10).pow(places))
}

fn add(figures: &mut Figures, key: String, amount: &Q) {
    if !amount.is_zero() {
        figures.insert(key, amount.to_string());
    }
}

/// The figures of the product's answers.
pub fn of_product(answers: &Answers) -> Figures {
    let mut figures = Figures::new();
    for (place, answer) in answers.steps.iter().enumerate() {
        match answer {
            Answer::Settled { settlements, .. } => {
                let mut sums: BTreeMap<String, Q> = BTreeMap::new();
                for booked in settlements.iter().flat_map(|it| &it.booked) {
                    for (origin, amount) in &booked.lines {
                        let key = format!("{place} {} to {} of {origin}", booked.term, booked.payee);
                        *sums.entry(key).or_default() += number(amount);
                    }
                }
                sums.into_iter().for_each(|(key, amount)| add(&mut figures, key, &amount));
            }
            Answer::Failed { code, .. } => {
                figures.insert(format!("{place} error"), (*code).to_owned());
            }
            Answer::Entitled { terms } => {
                for (term, entitled) in terms {
                    for (origin, it) in &entitled.periods {
                        let key = format!("{place} {term} accrued in {origin}");
                        add(&mut figures, key, &number(&it.accrued));
                    }
                    add(&mut figures, format!("{place} {term} in all"), &number(&entitled.cumulative));
                }
            }
            _ => {}
        }
    }
    figures
}

/// The figures of the auditor.
pub fn of_auditor(history: &History) -> Figures {
    let mut figures = Figures::new();
    let mut books: BTreeMap<usize, Books> = BTreeMap::new();
    for (place, step) in history.steps.iter().enumerate() {
        match step {
            Step::Settle { contract, period, cutoff } => {
                match books.entry(*contract).or_default().settle(history, *contract, *period, *cutoff) {
                    Settled::Booked(lines) => add_lines(&mut figures, place, &lines),
                    Settled::Failed(code) => {
                        figures.insert(format!("{place} error"), code.to_owned());
                    }
                }
            }
            Step::Close { contract, period } => {
                let of = &history.contracts[*contract];
                let books = books.entry(*contract).or_default();
                if !books.close(window(of.period, *period)) {
                    figures.insert(format!("{place} error"), "out_of_order".to_owned());
                }
            }
            Step::Entitlement { contract, through, known_at } => {
                let of = &history.contracts[*contract];
                let end = start_of(of.zone, window(of.period, *through).end);
                match audit(history, *contract, *known_at, end) {
                    Err(missing) => {
                        figures.insert(format!("{place} error"), missing.code().to_owned());
                    }
                    Ok(auditor) => {
                        for (term, by_period) in accrued(&auditor, *contract) {
                            for (origin, amount) in &by_period {
                                let key = format!("{place} {term} accrued in {}", period_name(*origin));
                                add(&mut figures, key, amount);
                            }
                            add(&mut figures, format!("{place} {term} in all"), &by_period.values().sum());
                        }
                    }
                }
            }
        }
    }
    figures
}

fn add_lines(figures: &mut Figures, place: usize, lines: &BTreeMap<Account, ByPeriod>) {
    for ((term, payee), by_period) in lines {
        for (origin, amount) in by_period {
            add(figures, format!("{place} {term} to {payee} of {}", period_name(*origin)), amount);
        }
    }
}
