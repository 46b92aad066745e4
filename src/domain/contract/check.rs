//! Checks across contracts: every accrual drawn on exists, nothing feeds itself, no money counts twice.

use super::{Attribute, Base, ChargeFilter, Contract, Selection, Term};
use crate::domain::ids::{ContractId, TermId};
use std::collections::BTreeSet;

/// What is wrong between terms that are each right alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("contract {contract}: two versions with the number {number}")]
    RepeatedNumber { contract: ContractId, number: u32 },
    #[error(
        "term {contract}/{term} of version {number} has another payer or payee than version {before}; a flipped direction is another term, under another name"
    )]
    OtherParties { contract: ContractId, term: TermId, number: u32, before: u32 },
    #[error("term {contract}/{term} draws on {drawn_contract}/{drawn_term}, which no version of a known contract has")]
    UnknownAccrual { contract: ContractId, term: TermId, drawn_contract: ContractId, drawn_term: TermId },
    #[error("terms feed each other in a circle: {}", path.join(" -> "))]
    Circle { path: Vec<String> },
    #[error(
        "base {base} of term {contract}/{term} counts the same money twice: a charge that it selects is also behind {drawn}, which it draws on"
    )]
    Twice { contract: ContractId, term: TermId, base: String, drawn: String },
}

/// Checks all contracts together.
///
/// # Errors
/// The first problem found.
pub fn check(contracts: &[Contract]) -> Result<(), CheckError> {
    for contract in contracts {
        check_versions(contract)?;
    }
    for (contract, term) in terms(contracts) {
        check_accruals(contracts, contract, term)?;
    }
    Ok(())
}

fn terms(contracts: &[Contract]) -> impl Iterator<Item = (&Contract, &Term)> {
    contracts.iter().flat_map(|contract| {
        contract.versions.iter().flat_map(move |version| version.terms.iter().map(move |term| (contract, term)))
    })
}

fn check_versions(contract: &Contract) -> Result<(), CheckError> {
    for (index, version) in contract.versions.iter().enumerate() {
        for before in contract.versions.iter().take(index) {
            if before.number == version.number {
                return Err(CheckError::RepeatedNumber { contract: contract.head.id.clone(), number: version.number });
            }
            for term in &version.terms {
                let flipped =
                    before.term(&term.id).is_some_and(|old| (&old.payer, &old.payee) != (&term.payer, &term.payee));
                if flipped {
                    return Err(CheckError::OtherParties {
                        contract: contract.head.id.clone(),
                        term: term.id.clone(),
                        number: version.number,
                        before: before.number,
                    });
                }
            }
        }
    }
    Ok(())
}

/// The bases of a term through all versions of its contract.
fn bases_of<'a>(contracts: &'a [Contract], contract: &ContractId, term: &TermId) -> Vec<&'a Base> {
    terms(contracts).filter(|(it, t)| it.head.id == *contract && t.id == *term).map(|(_, t)| &t.base).collect()
}

fn check_accruals(contracts: &[Contract], contract: &Contract, term: &Term) -> Result<(), CheckError> {
    let mut path = vec![format!("{}/{}", contract.head.id, term.id)];
    let mut behind = Vec::new();
    for drawn in drawn_by(&term.base) {
        if bases_of(contracts, drawn.0, drawn.1).is_empty() {
            return Err(CheckError::UnknownAccrual {
                contract: contract.head.id.clone(),
                term: term.id.clone(),
                drawn_contract: drawn.0.clone(),
                drawn_term: drawn.1.clone(),
            });
        }
        follow(contracts, drawn, &mut path, &mut behind)?;
    }
    // Charges that the base selects itself, or that two of its accruals share, would count twice.
    let own: Vec<(&ChargeFilter, String)> = charges_of(&term.base).map(|filter| (filter, String::new())).collect();
    let all: Vec<(&ChargeFilter, String)> = own.into_iter().chain(behind).collect();
    for (index, (filter, _)) in all.iter().enumerate() {
        for (other, drawn) in all.iter().skip(index.saturating_add(1)).filter(|(_, drawn)| !drawn.is_empty()) {
            let same_source = all.get(index).is_some_and(|(_, name)| name == drawn);
            if !same_source && overlap(filter, other) {
                return Err(CheckError::Twice {
                    contract: contract.head.id.clone(),
                    term: term.id.clone(),
                    base: term.base.name.to_string(),
                    drawn: drawn.clone(),
                });
            }
        }
    }
    Ok(())
}

fn drawn_by(base: &Base) -> impl Iterator<Item = (&ContractId, &TermId)> {
    base.select.iter().filter_map(|selection| match selection {
        Selection::Accrual { contract, term } => Some((contract, term)),
        Selection::Charges(_) | Selection::Figure(_) => None,
    })
}

fn charges_of(base: &Base) -> impl Iterator<Item = &ChargeFilter> {
    base.select.iter().filter_map(|selection| match selection {
        Selection::Charges(filter) => Some(filter),
        Selection::Accrual { .. } | Selection::Figure(_) => None,
    })
}

/// Gathers the charges behind an accrual and those that it draws on in turn; refuses a circle.
fn follow<'a>(
    contracts: &'a [Contract],
    drawn: (&'a ContractId, &'a TermId),
    path: &mut Vec<String>,
    behind: &mut Vec<(&'a ChargeFilter, String)>,
) -> Result<(), CheckError> {
    let name = format!("{}/{}", drawn.0, drawn.1);
    let is_circle = path.contains(&name);
    path.push(name.clone());
    if is_circle {
        return Err(CheckError::Circle { path: path.clone() });
    }
    for base in bases_of(contracts, drawn.0, drawn.1) {
        behind.extend(charges_of(base).map(|filter| (filter, name.clone())));
        for next in drawn_by(base) {
            follow(contracts, next, path, behind)?;
        }
    }
    path.pop();
    Ok(())
}

/// Whether one charge could match both: no attribute that both name has disjoint values.
fn overlap(a: &ChargeFilter, b: &ChargeFilter) -> bool {
    let values = |filter: &ChargeFilter, attribute: Attribute| -> Option<BTreeSet<String>> {
        filter.get(&attribute).map(|values| values.iter().cloned().collect())
    };
    a.keys().all(|attribute| match (values(a, *attribute), values(b, *attribute)) {
        (Some(mine), Some(theirs)) => !mine.is_disjoint(&theirs),
        _ => true,
    })
}
