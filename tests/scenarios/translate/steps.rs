//! Steps as JSON lines; rounding and allocation are questions to the rules of money alone.

use super::names::Names;
use super::records::{Line, written};
use crate::json::{Fault, Object};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::money::Currency;
use serde_json::json;

/// Who answers a step of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// The next step of `steps.jsonl`.
    Simulate,
    /// What an amount is when it is booked, with the digits of its unit.
    Round { amounts: Vec<String>, digits: u32, mode: String },
    /// How a rounded total is parted.
    Allocate { total: String, names: Vec<String>, weights: Vec<String>, digits: u32, mode: String },
}

pub fn steps(names: &Names, scenario: &Object<'_>) -> Result<(SourceFile, Vec<Asked>), Fault> {
    let (mut text, mut asked) = (String::new(), Vec::new());
    for step in scenario.objects("steps")? {
        let op = step.text("op")?;
        let keys: &[&str] = match op.as_str() {
            "settle" => &["contract", "period", "cutoff"],
            "close" | "period" => &["contract", "period"],
            "entitlement" | "findings" => &["contract", "through", "known_at"],
            "charges" => &["known_at"],
            "round" | "allocate" => {
                asked.push(of_money(names, &op, &step)?);
                step.finish()?;
                continue;
            }
            other => return step.fault(format!("op \"{other}\"")),
        };
        if op == "charges" {
            // Prices are of no contract.
            step.pass(&["contract"]);
        }
        let mut line = Line::from_iter([("step".to_owned(), json!(op))]);
        for key in keys {
            line.insert((*key).to_owned(), json!(step.text(key)?));
        }
        step.finish()?;
        text.push_str(&written(&line));
        asked.push(Asked::Simulate);
    }
    Ok((SourceFile { path: "steps.jsonl".to_owned(), text }, asked))
}

/// The README names these two steps without their keys: an amount or several, a currency and a mode; weights.
fn of_money(names: &Names, op: &str, step: &Object<'_>) -> Result<Asked, Fault> {
    let first = |keys: &[&str]| -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        for key in keys {
            found.extend(step.texts(key)?);
        }
        Ok(found)
    };
    let one = |keys: &[&str], otherwise: &str| -> Result<String, Fault> {
        Ok(first(keys)?.first().cloned().unwrap_or_else(|| otherwise.to_owned()))
    };
    let (unit, mode) = (one(&["currency", "unit"], "USD")?, one(&["mode", "rounding"], "half_up")?);
    let digits = match names.units.get(&unit) {
        Some(digits) => digits.parse().ok(),
        None => unit.parse::<Currency>().ok().map(|it| it.minor_digits()),
    };
    let Some(digits) = digits else { return step.fault(format!("{op}: unknown unit \"{unit}\"")) };
    if op == "round" {
        return Ok(Asked::Round { amounts: first(&["amount", "amounts", "value", "values"])?, digits, mode });
    }
    let total = one(&["total", "amount", "value"], "0")?;
    let mut weights = first(&["weights"])?;
    let mut names = step.texts("names")?;
    for part in if weights.is_empty() { step.objects("payees")? } else { Vec::new() } {
        names.push(part.text("party")?);
        weights.push(part.text("weight")?);
        part.finish()?;
    }
    Ok(Asked::Allocate { total, names, weights, digits, mode })
}
