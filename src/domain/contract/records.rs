//! Whether a record is one that a known contract waits for: declared, by its party, in its unit, once.

use super::Contract;
use super::beside::FactDefinition;
use super::measure::{FigureDefinition, Reduction};
use super::problem::there_is;
use super::rights::{FactAttribute, FactKind};
use crate::domain::calendar::Period;
use crate::domain::ids::{ContractId, DefinedTerm, DeploymentId, EventId, PartyId, ProductId};
use crate::domain::money::{Currency, Unit};
use crate::domain::record::{Deduction, Fact, Figure, Record, RecordContent, Reduces, Subject};
use crate::domain::register::Register;
use std::collections::{BTreeMap, BTreeSet};

/// Why a record would never count, or count twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    #[error("a {kind} cannot be recorded here yet; `apportion simulate` reads it")]
    NotStored { kind: &'static str },
    #[error("no contract \"{contract}\" is loaded{}", there_is(.known))]
    UnknownContract { contract: ContractId, known: Vec<ContractId> },
    #[error("contract {contract} declares no {kind} \"{name}\"{}", there_is(.known))]
    Undeclared { contract: ContractId, kind: &'static str, name: DefinedTerm, known: Vec<DefinedTerm> },
    #[error("{kind} \"{name}\" is reported by {expected}, not by {found}")]
    OtherParty { kind: &'static str, name: DefinedTerm, expected: PartyId, found: PartyId },
    #[error("figure \"{name}\" is in {expected}, not in {found}")]
    OtherCurrency { name: DefinedTerm, expected: String, found: String },
    #[error("figure \"{name}\" lies across periods; report one for each of {first} to {last}")]
    AcrossPeriods { name: DefinedTerm, first: Period, last: Period },
    #[error("figure \"{name}\" is reported for some of these days already: record {other}")]
    Overlap { name: DefinedTerm, other: EventId },
    #[error("no base of a loaded contract takes deductions of the category \"{category}\"{}", there_is(.known))]
    UnknownCategory { category: String, known: Vec<String> },
    #[error("deductions of the category \"{category}\" are taken in {}, not in {found}", listed(.expected))]
    DeductionCurrency { category: String, expected: Vec<Currency>, found: Currency },
    #[error("fact \"{name}\" happens once, so it has no until; a status has")]
    EventUntil { name: DefinedTerm },
    #[error("fact \"{name}\" cannot be about a {found}{}", there_is(.known))]
    OtherSubject { name: DefinedTerm, found: String, known: Vec<&'static str> },
    #[error("fact \"{name}\" does not say what it is about{}", there_is(.known))]
    NoSubject { name: DefinedTerm, known: Vec<&'static str> },
    #[error("no {kind} \"{name}\" is registered{}", there_is(.known))]
    UnknownName { kind: &'static str, name: String, known: Vec<String> },
    #[error("no deployment \"{deployment}\" is registered")]
    UnknownDeployment { deployment: DeploymentId },
    #[error("no product \"{product}\" is registered")]
    UnknownProduct { product: ProductId },
}

fn listed(currencies: &[Currency]) -> String {
    currencies.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// Checks a record against what is loaded; `others` are the records that were taken before it.
///
/// # Errors
/// Why it would never count, or count twice.
pub fn check_record(
    record: &Record,
    contracts: &[Contract],
    register: &Register,
    others: &[Record],
) -> Result<(), RecordProblem> {
    match &record.content {
        RecordContent::Figure(figure) => check_figure(&record.id, figure, contracts, others),
        RecordContent::Deduction(deduction) => check_deduction(deduction, contracts, register),
        RecordContent::Fact(fact) => check_fact(fact, contracts, register),
        RecordContent::Level(_)
        | RecordContent::Receipt(_)
        | RecordContent::Billing(_)
        | RecordContent::Decision(_) => Err(RecordProblem::NotStored { kind: record.kind() }),
    }
}

fn contract_of<'a>(contracts: &'a [Contract], id: &ContractId) -> Result<&'a Contract, RecordProblem> {
    let found = contracts.iter().find(|contract| contract.head.id == *id);
    found.ok_or_else(|| {
        let known = contracts.iter().map(|contract| contract.head.id.clone()).collect();
        RecordProblem::UnknownContract { contract: id.clone(), known }
    })
}

fn check_figure(id: &EventId, figure: &Figure, contracts: &[Contract], others: &[Record]) -> Result<(), RecordProblem> {
    if figure.about != Subject::default() {
        return Err(RecordProblem::NotStored { kind: "figure about something" });
    }
    let contract = contract_of(contracts, &figure.contract)?;
    let name = figure.name.clone();
    let declared = contract.versions.iter().rev().find_map(|version| version.figures.get(&name));
    let Some(FigureDefinition { unit, by, .. }) = declared else {
        let known = contract.versions.iter().flat_map(|version| version.figures.keys());
        return Err(RecordProblem::Undeclared {
            contract: figure.contract.clone(),
            kind: "figure",
            name,
            known: known.cloned().collect(),
        });
    };
    if let Some(by) = by.as_ref().filter(|by| **by != figure.by) {
        return Err(RecordProblem::OtherParty { kind: "figure", name, expected: by.clone(), found: figure.by.clone() });
    }
    if *unit != figure.value.currency().map(Unit::Currency) {
        let in_words = |unit: Option<String>| unit.unwrap_or_else(|| "plain numbers".to_owned());
        let (expected, found) = (unit.as_ref().map(ToString::to_string), figure.value.unit.clone());
        return Err(RecordProblem::OtherCurrency { name, expected: in_words(expected), found: in_words(found) });
    }
    let period = |date| contract.head.settlement.window(date);
    if let (Some(first), Some(last)) = (period(figure.from), period(figure.through))
        && first != last
    {
        return Err(RecordProblem::AcrossPeriods { name, first, last });
    }
    let overlaps = |other: &&Record| match &other.content {
        RecordContent::Figure(known) => {
            other.id != *id
                && (&known.contract, &known.name) == (&figure.contract, &figure.name)
                && known.from <= figure.through
                && figure.from <= known.through
        }
        _ => false,
    };
    match others.iter().find(overlaps) {
        Some(other) => Err(RecordProblem::Overlap { name, other: other.id.clone() }),
        None => Ok(()),
    }
}

fn check_fact(fact: &Fact, contracts: &[Contract], register: &Register) -> Result<(), RecordProblem> {
    if fact.party.is_some() {
        return Err(RecordProblem::NotStored { kind: "fact that names a party" });
    }
    let contract = contract_of(contracts, &fact.contract)?;
    let name = fact.name.clone();
    let declared = contract.versions.iter().rev().find_map(|version| version.facts.get(&name));
    let Some(FactDefinition { by, kind, about, .. }) = declared else {
        let known = contract.versions.iter().flat_map(|version| version.facts.keys()).cloned().collect();
        return Err(RecordProblem::Undeclared { contract: fact.contract.clone(), kind: "fact", name, known });
    };
    if let Some(by) = by.as_ref().filter(|by| **by != fact.by) {
        return Err(RecordProblem::OtherParty { kind: "fact", name, expected: by.clone(), found: fact.by.clone() });
    }
    if fact.until.is_some() && *kind == FactKind::Event {
        return Err(RecordProblem::EventUntil { name });
    }
    check_subject(fact, about, register)
}

/// Checks that a fact is about what it may be about, and that there is such a thing.
fn check_subject(fact: &Fact, about: &BTreeSet<FactAttribute>, register: &Register) -> Result<(), RecordProblem> {
    let Subject { product, capability, cloud, others } = &fact.about;
    if let Some(other) = others.keys().next() {
        let known = about.iter().map(|attribute| attribute.name()).collect();
        return Err(RecordProblem::OtherSubject { name: fact.name.clone(), found: other.clone(), known });
    }
    let named = [
        product.is_some().then_some(FactAttribute::Product),
        capability.is_some().then_some(FactAttribute::Capability),
        cloud.is_some().then_some(FactAttribute::Cloud),
    ];
    let named: Vec<FactAttribute> = named.into_iter().flatten().collect();
    let known: Vec<&str> = about.iter().map(|attribute| attribute.name()).collect();
    if let Some(other) = named.iter().find(|attribute| !about.contains(attribute)) {
        let (name, found) = (fact.name.clone(), other.name().to_owned());
        return Err(RecordProblem::OtherSubject { name, found, known });
    }
    if named.is_empty() && !about.is_empty() {
        return Err(RecordProblem::NoSubject { name: fact.name.clone(), known });
    }
    if let Some(product) = product.as_ref().filter(|product| !register.products.contains_key(product)) {
        return Err(RecordProblem::UnknownProduct { product: product.clone() });
    }
    if let Some(cloud) = cloud.as_ref().filter(|cloud| !register.clouds.contains_key(*cloud)) {
        let known = register.clouds.keys().cloned().collect();
        return Err(RecordProblem::UnknownName { kind: "cloud", name: cloud.clone(), known });
    }
    let capabilities = || register.products.values().flat_map(|product| &product.capabilities);
    if let Some(capability) = capability.as_ref().filter(|it| !capabilities().any(|known| known == *it)) {
        let known = capabilities().cloned().collect();
        return Err(RecordProblem::UnknownName {
            kind: "product with the capability",
            name: capability.clone(),
            known,
        });
    }
    Ok(())
}

fn check_deduction(deduction: &Deduction, contracts: &[Contract], register: &Register) -> Result<(), RecordProblem> {
    let (category, found) = (deduction.category.clone(), deduction.amount.currency);
    let mut known: BTreeMap<&String, BTreeSet<Currency>> = BTreeMap::new();
    for contract in contracts {
        let bases = contract.versions.iter().flat_map(|version| version.bases.values());
        for less in bases.flat_map(|base| &base.less) {
            let Reduction::Deductions(categories) = &less.what else { continue };
            for taken in categories {
                known.entry(taken).or_default().insert(contract.head.currency);
            }
        }
    }
    let Some(currencies) = known.get(&category) else {
        return Err(RecordProblem::UnknownCategory { category, known: known.into_keys().cloned().collect() });
    };
    if !currencies.contains(&found) {
        let expected = currencies.iter().copied().collect();
        return Err(RecordProblem::DeductionCurrency { category, expected, found });
    }
    match &deduction.reduces {
        // An event may come after its refund; until then the deduction waits, and settlements count it.
        Reduces::Event(_) => Ok(()),
        Reduces::Events(_) => Err(RecordProblem::NotStored { kind: "deduction of several events" }),
        Reduces::Usage { deployment, .. } if !register.deployments.contains_key(deployment) => {
            Err(RecordProblem::UnknownDeployment { deployment: deployment.clone() })
        }
        Reduces::Usage { product, .. } if !register.products.contains_key(product) => {
            Err(RecordProblem::UnknownProduct { product: product.clone() })
        }
        Reduces::Usage { .. } => Ok(()),
    }
}
