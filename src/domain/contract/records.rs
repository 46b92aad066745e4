//! Whether a record is one that a known contract waits for: declared, by its party, in its unit, once.

use super::beside::FactDefinition;
use super::measure::{Base, FigureDefinition, FigureKind};
use super::rights::FactKind;
use super::{Contract, Version};
use crate::domain::ids::{ContractId, DefinedTerm, DeploymentId, EventId, PartyId, ProductId};
use crate::domain::money::Currency;
use crate::domain::names::there_is;
use crate::domain::record::{
    Decision, Deduction, Fact, Figure, Level, Record, RecordContent, Reduces, Reported, Subject,
};
use crate::domain::register::Register;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};

/// Why a record would never count, or count twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    #[error("no contract \"{contract}\" is loaded{}", there_is(.known))]
    UnknownContract { contract: ContractId, known: Vec<ContractId> },
    #[error("contract {contract} declares no {kind} \"{name}\"{}", there_is(.known))]
    Undeclared { contract: ContractId, kind: &'static str, name: DefinedTerm, known: Vec<DefinedTerm> },
    #[error("{kind} \"{name}\" is reported by {expected}, not by {found}")]
    OtherParty { kind: &'static str, name: DefinedTerm, expected: PartyId, found: PartyId },
    #[error("figure \"{name}\" is in {expected}, not in {found}")]
    OtherUnit { name: DefinedTerm, expected: String, found: String },
    #[error("figure \"{name}\" is {expected}")]
    OtherKind { name: DefinedTerm, expected: &'static str },
    #[error("{kind} \"{name}\" names {expected}")]
    OtherNamed { kind: &'static str, name: DefinedTerm, expected: &'static str },
    #[error("figure \"{name}\" is reported for some of these days already: record {other}")]
    Overlap { name: DefinedTerm, other: EventId },
    #[error("no base of a loaded contract takes deductions of the category \"{category}\"{}", there_is(.known))]
    UnknownCategory { category: String, known: Vec<String> },
    #[error("deductions of the category \"{category}\" are taken in {}, not in {found}", listed(.expected))]
    DeductionCurrency { category: String, expected: Vec<Currency>, found: Currency },
    #[error("fact \"{name}\" happens once, so it has no until; a status has")]
    EventUntil { name: DefinedTerm },
    #[error("{kind} \"{name}\" cannot be about a {found}{}", there_is(.known))]
    OtherSubject { kind: &'static str, name: DefinedTerm, found: String, known: Vec<String> },
    #[error("{kind} \"{name}\" does not say what it is about{}", there_is(.known))]
    NoSubject { kind: &'static str, name: DefinedTerm, known: Vec<String> },
    #[error("no {kind} \"{name}\" is registered{}", there_is(.known))]
    UnknownName { kind: &'static str, name: String, known: Vec<String> },
    #[error("no version of {contract} has a right \"{name}\"{}", there_is(.known))]
    UnknownRight { contract: ContractId, name: String, known: Vec<String> },
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
        RecordContent::Figure(figure) => check_figure(&record.id, figure, contracts, register, others),
        RecordContent::Level(level) => check_level(level, contracts, register),
        RecordContent::Deduction(deduction) => check_deduction(deduction, contracts, register),
        RecordContent::Fact(fact) => check_fact(fact, contracts, register),
        // What is paid may come later; until then it waits.
        RecordContent::Receipt(_) => Ok(()),
        RecordContent::Billing(billing) => check_names(&billing.about, register),
        RecordContent::Decision(decision) => check_decision(decision, contracts),
    }
}

fn contract_of<'a>(contracts: &'a [Contract], id: &ContractId) -> Result<&'a Contract, RecordProblem> {
    let found = contracts.iter().find(|contract| contract.head.id == *id);
    found.ok_or_else(|| {
        let known = contracts.iter().map(|contract| contract.head.id.clone()).collect();
        RecordProblem::UnknownContract { contract: id.clone(), known }
    })
}

/// The figure that a contract declares under a name.
fn figure_of<'a>(
    contracts: &'a [Contract],
    id: &ContractId,
    name: &DefinedTerm,
) -> Result<&'a FigureDefinition, RecordProblem> {
    let contract = contract_of(contracts, id)?;
    let declared = contract.versions.iter().rev().find_map(|version| version.figures.get(name));
    declared.ok_or_else(|| {
        let known = contract.versions.iter().flat_map(|version| version.figures.keys()).cloned().collect();
        RecordProblem::Undeclared { contract: id.clone(), kind: "figure", name: name.clone(), known }
    })
}

/// Checks who reports a figure, in what, and about what.
fn check_reported(
    declared: &FigureDefinition,
    name: &DefinedTerm,
    (found_by, value, about): (&PartyId, &Reported, &Subject),
    register: &Register,
) -> Result<(), RecordProblem> {
    let FigureDefinition { unit, by, .. } = declared;
    if let Some(by) = by.as_ref().filter(|by| *by != found_by) {
        let (expected, found) = (by.clone(), found_by.clone());
        return Err(RecordProblem::OtherParty { kind: "figure", name: name.clone(), expected, found });
    }
    if !declared.is_in(value.unit.as_deref()) {
        let in_words = |unit: Option<String>| unit.unwrap_or_else(|| "plain numbers".to_owned());
        let (expected, found) = (unit.as_ref().map(ToString::to_string), value.unit.clone());
        return Err(RecordProblem::OtherUnit {
            name: name.clone(),
            expected: in_words(expected),
            found: in_words(found),
        });
    }
    let known = declared.about.iter().map(|attribute| attribute.name().to_owned()).collect();
    check_subject(("figure", name), about, known, register)
}

fn check_figure(
    id: &EventId,
    figure: &Figure,
    contracts: &[Contract],
    register: &Register,
    others: &[Record],
) -> Result<(), RecordProblem> {
    let name = figure.name.clone();
    let declared = figure_of(contracts, &figure.contract, &name)?;
    if declared.kind != FigureKind::Flow {
        let expected = match declared.kind {
            FigureKind::Level => "a level; write at instead of from and through",
            _ => COMPUTED,
        };
        return Err(RecordProblem::OtherKind { name, expected });
    }
    check_reported(declared, &name, (&figure.by, &figure.value, &figure.about), register)?;
    let mut reported = ReportedDays::default();
    others.iter().filter(|other| other.id != *id).for_each(|other| drop(reported.add(other)));
    reported.add_figure(id, figure).map_or(Ok(()), Err)
}

/// The days for which figures are reported, by what they are of.
#[derive(Default)]
pub struct ReportedDays<'r> {
    of: BTreeMap<(&'r ContractId, &'r DefinedTerm, &'r Subject), Stretches<'r>>,
}

/// By the first day of each: its last, and the record that reported it first.
type Stretches<'r> = BTreeMap<NaiveDate, (NaiveDate, &'r EventId)>;

impl<'r> ReportedDays<'r> {
    /// Adds the days of a record that is a figure; some of them may be reported already, by another.
    pub fn add(&mut self, record: &'r Record) -> Option<RecordProblem> {
        match &record.content {
            RecordContent::Figure(figure) => self.add_figure(&record.id, figure),
            _ => None,
        }
    }

    fn add_figure(&mut self, id: &'r EventId, figure: &'r Figure) -> Option<RecordProblem> {
        let days = self.of.entry((&figure.contract, &figure.name, &figure.about)).or_default();
        let (mut from, mut through, mut first) = (figure.from, figure.through, None);
        // No two stretches overlap: those that this one meets become one with it.
        while let Some((&start, &(last, other))) =
            days.range(..=through).next_back().filter(|(_, (last, _))| *last >= from)
        {
            days.remove(&start);
            (from, through, first) = (from.min(start), through.max(last), Some(other));
        }
        days.insert(from, (through, first.unwrap_or(id)));
        first.map(|other| RecordProblem::Overlap { name: figure.name.clone(), other: other.clone() })
    }
}

const COMPUTED: &str = "computed of others, and not reported";

/// A level is a figure's, or the value of a parameter that a party sets by notice.
fn check_level(level: &Level, contracts: &[Contract], register: &Register) -> Result<(), RecordProblem> {
    let Level { contract, name, .. } = level;
    let declared = match figure_of(contracts, contract, name) {
        Err(undeclared @ RecordProblem::Undeclared { .. }) => {
            let versions = &contract_of(contracts, contract)?.versions;
            let mut notices = versions.iter().flat_map(Version::notices);
            let Some(notice) = notices.find(|notice| notice.name == *name) else { return Err(undeclared) };
            if notice.by != level.by {
                let (expected, found) = (notice.by.clone(), level.by.clone());
                return Err(RecordProblem::OtherParty { kind: "parameter", name: name.clone(), expected, found });
            }
            return Ok(());
        }
        declared => declared?,
    };
    match declared.kind {
        FigureKind::Level => check_reported(declared, name, (&level.by, &level.value, &level.about), register),
        FigureKind::Flow => {
            let expected = "a flow; write from and through instead of at";
            Err(RecordProblem::OtherKind { name: name.clone(), expected })
        }
        _ => Err(RecordProblem::OtherKind { name: name.clone(), expected: COMPUTED }),
    }
}

fn check_decision(decision: &Decision, contracts: &[Contract]) -> Result<(), RecordProblem> {
    let contract = contract_of(contracts, &decision.contract)?;
    if contract.versions.iter().any(|version| version.right(&decision.right).is_some()) {
        return Ok(());
    }
    let rights = contract.versions.iter().flat_map(|version| &version.rights);
    let known: BTreeSet<String> = rights.map(|right| right.id.to_string()).collect();
    let name = decision.right.to_string();
    Err(RecordProblem::UnknownRight { contract: decision.contract.clone(), name, known: known.into_iter().collect() })
}

fn check_fact(fact: &Fact, contracts: &[Contract], register: &Register) -> Result<(), RecordProblem> {
    let contract = contract_of(contracts, &fact.contract)?;
    let name = fact.name.clone();
    let declared = contract.versions.iter().rev().find_map(|version| version.facts.get(&name));
    let Some(FactDefinition { by, kind, about, names_party, .. }) = declared else {
        let known = contract.versions.iter().flat_map(|version| version.facts.keys()).cloned().collect();
        return Err(RecordProblem::Undeclared { contract: fact.contract.clone(), kind: "fact", name, known });
    };
    if let Some(by) = by.as_ref().filter(|by| **by != fact.by) {
        return Err(RecordProblem::OtherParty { kind: "fact", name, expected: by.clone(), found: fact.by.clone() });
    }
    if fact.until.is_some() && *kind == FactKind::Event {
        return Err(RecordProblem::EventUntil { name });
    }
    match &fact.party {
        Some(party) if *names_party && !register.parties.contains_key(party) => {
            let known = register.parties.keys().map(ToString::to_string).collect();
            return Err(RecordProblem::UnknownName { kind: "party", name: party.to_string(), known });
        }
        Some(_) if !names_party => {
            return Err(RecordProblem::OtherNamed { kind: "fact", name, expected: "no party" });
        }
        None if *names_party => return Err(RecordProblem::OtherNamed { kind: "fact", name, expected: "a party" }),
        _ => {}
    }
    let known = about.iter().map(|attribute| attribute.name().to_owned()).collect();
    check_subject(("fact", &name), &fact.about, known, register)
}

/// Checks that something is about what it may be about, and that there is such a thing.
fn check_subject(
    (kind, name): (&'static str, &DefinedTerm),
    subject: &Subject,
    known: Vec<String>,
    register: &Register,
) -> Result<(), RecordProblem> {
    let Subject { product, capability, cloud, others } = subject;
    let named = [("product", product.is_some()), ("capability", capability.is_some()), ("cloud", cloud.is_some())];
    let named = named.into_iter().filter(|(_, is_named)| *is_named).map(|(name, _)| name);
    let named: Vec<&str> = named.chain(others.keys().map(String::as_str)).collect();
    if let Some(other) = named.iter().find(|attribute| !known.iter().any(|it| it == *attribute)) {
        let (name, found) = (name.clone(), (*other).to_owned());
        return Err(RecordProblem::OtherSubject { kind, name, found, known });
    }
    if named.is_empty() && !known.is_empty() {
        return Err(RecordProblem::NoSubject { kind, name: name.clone(), known });
    }
    check_names(subject, register)
}

/// Checks that the register has the products, capabilities, clouds and deployments that a subject names.
fn check_names(subject: &Subject, register: &Register) -> Result<(), RecordProblem> {
    let Subject { product, capability, cloud, others } = subject;
    if let Some(product) = product.as_ref().filter(|product| !register.products.contains_key(product)) {
        return Err(RecordProblem::UnknownProduct { product: product.clone() });
    }
    if let Some(cloud) = cloud.as_ref().filter(|cloud| !register.clouds.contains_key(*cloud)) {
        let known = register.clouds.keys().cloned().collect();
        return Err(RecordProblem::UnknownName { kind: "cloud", name: cloud.clone(), known });
    }
    let deployment = others.get("deployment").map(|it| DeploymentId::from(it.as_str()));
    if let Some(deployment) = deployment.filter(|it| !register.deployments.contains_key(it)) {
        return Err(RecordProblem::UnknownDeployment { deployment });
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

/// The categories of deductions that bases take, each with the currencies in which.
pub fn categories(contracts: &[Contract]) -> BTreeMap<&str, BTreeSet<Currency>> {
    let mut known: BTreeMap<&str, BTreeSet<Currency>> = BTreeMap::new();
    for contract in contracts {
        let bases = contract.versions.iter().flat_map(|version| version.bases.values());
        for taken in bases.flat_map(Base::categories) {
            known.entry(taken).or_default().insert(contract.head.currency);
        }
    }
    known
}

fn check_deduction(deduction: &Deduction, contracts: &[Contract], register: &Register) -> Result<(), RecordProblem> {
    let (category, found) = (deduction.category.clone(), deduction.amount.currency);
    let known = categories(contracts);
    let Some(currencies) = known.get(category.as_str()) else {
        return Err(RecordProblem::UnknownCategory { category, known: known.into_keys().map(str::to_owned).collect() });
    };
    if !currencies.contains(&found) {
        let expected = currencies.iter().copied().collect();
        return Err(RecordProblem::DeductionCurrency { category, expected, found });
    }
    match &deduction.reduces {
        // An event may come after its refund; until then the deduction waits, and settlements count it.
        Reduces::Event(_) | Reduces::Events(_) => Ok(()),
        Reduces::Usage { deployment, .. } if !register.deployments.contains_key(deployment) => {
            Err(RecordProblem::UnknownDeployment { deployment: deployment.clone() })
        }
        Reduces::Usage { product, .. } if !register.products.contains_key(product) => {
            Err(RecordProblem::UnknownProduct { product: product.clone() })
        }
        Reduces::Usage { .. } => Ok(()),
    }
}
