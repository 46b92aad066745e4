//! Translates a scenario of JSON into the product's files: contracts as documents, records and steps as JSON lines.
//!
//! What the format leaves open is decided as CONTRACTS.md says, where it is; a key that is not known is an error.

mod amounts;
mod base;
mod contract;
mod declared;
mod names;
mod rate;
mod records;
mod register;
mod steps;
mod term;

use crate::json::{Fault, Object};
use apportion::domain::contract::folder::SourceFile;
use names::Names;
use serde_json::Value;
pub use steps::Asked;

/// A scenario in the product's files, with what its hand-worked answers are about.
pub struct Translated {
    pub name: String,
    pub description: String,
    pub files: Vec<SourceFile>,
    /// By step of the scenario, who answers it.
    pub asked: Vec<Asked>,
    pub hand: Value,
}

/// Translates a whole scenario file.
pub fn translate(json: &Value) -> Result<Translated, Fault> {
    let mut scenario = Object::new("scenario", json)?;
    let hand = scenario.get("hand").cloned().unwrap_or_default();
    let refusal = hand.pointer("/load/error").and_then(Value::as_str).map(str::to_owned);
    if refusal.is_some() {
        scenario = scenario.refusable();
    }
    let names = Names::of(&scenario, refusal)?;
    let mut files = vec![register::register(&names, &scenario)?, register::prices(&names, &scenario)?];
    let mut contracts = Vec::new();
    for object in scenario.objects("contracts")? {
        contracts.push(contract::contract(&names, &object)?);
    }
    files.push(register::rates(&scenario)?);
    files.extend(contracts.iter().flat_map(|contract| contract.files.iter().cloned()));
    files.push(records::records(&names, &contracts, &scenario)?);
    let (steps, asked) = steps::steps(&names, &scenario)?;
    files.push(steps);
    let (name, description) = (scenario.opt("name")?, scenario.opt("description")?);
    scenario.pass(&["case"]);
    scenario.finish()?;
    if let Some(key) = scenario.take_strays().keys().next() {
        return scenario.fault(format!("unknown key \"{key}\", which reaches no document"));
    }
    Ok(Translated { name: name.unwrap_or_default(), description: description.unwrap_or_default(), files, asked, hand })
}
