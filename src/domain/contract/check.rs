//! Checks across contracts: every accrual drawn on exists, nothing feeds itself, no money counts twice.

use super::{Attribute, Base, ChargeFilter, Contract, Selection, Term};
use crate::domain::ids::{ContractId, DefinedTerm, TermId};
use crate::domain::money::Currency;
use crate::domain::period::Instant;
use std::collections::BTreeSet;

/// What is wrong between terms that are each right alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("term {contract}/{term} of version {number} ends at {end}, before the contract begins at {begins}")]
    EndsBeforeContract { contract: ContractId, term: TermId, number: u32, end: Instant, begins: Instant },
    #[error("contract {contract}: two versions with the number {number}")]
    RepeatedNumber { contract: ContractId, number: u32 },
    #[error(
        "term {contract}/{term} of version {number} has another payer or payee than version {before}; a flipped direction is another term, under another name"
    )]
    OtherParties { contract: ContractId, term: TermId, number: u32, before: u32 },
    #[error("term {contract}/{term} draws on {drawn_contract}/{drawn_term}, which no version of a known contract has")]
    UnknownAccrual { contract: ContractId, term: TermId, drawn_contract: ContractId, drawn_term: TermId },
    #[error(
        "term {contract}/{term} in {currency} draws on {drawn_contract}/{drawn_term} in {found}; rates of exchange are not read yet"
    )]
    OtherCurrency {
        contract: ContractId,
        term: TermId,
        currency: Currency,
        drawn_contract: ContractId,
        drawn_term: TermId,
        found: Currency,
    },
    #[error("terms feed each other in a circle: {}", path.join(" -> "))]
    Circle { path: Vec<String> },
    #[error(
        "base {base} of term {contract}/{term} counts the same money twice: what {drawn} brings may also be in a selection above it; name attributes that tell them apart"
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
        let terms = version.terms.iter().map(|term| (&term.id, term.end));
        let rights = version.rights.iter().map(|right| (&right.id, right.end));
        for (term, end) in terms.chain(rights) {
            if let (Some(end), Some(begins)) = (end, contract.begins())
                && end <= begins
            {
                let (contract, term) = (contract.head.id.clone(), term.clone());
                return Err(CheckError::EndsBeforeContract { contract, term, number: version.number, end, begins });
            }
        }
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
    let mut before: Vec<Money<'_>> = Vec::new();
    for selection in &term.base.select {
        let mut found = Vec::new();
        let what = match selection {
            Selection::Charges(filter) => {
                found.push(Money::Charges(filter));
                "its own charges".to_owned()
            }
            Selection::Figure(name) => {
                found.push(Money::Figure(&contract.head.id, name));
                format!("figure {name}")
            }
            Selection::Accrual { contract: drawn, term: drawn_term } => {
                if bases_of(contracts, drawn, drawn_term).is_empty() {
                    return Err(CheckError::UnknownAccrual {
                        contract: contract.head.id.clone(),
                        term: term.id.clone(),
                        drawn_contract: drawn.clone(),
                        drawn_term: drawn_term.clone(),
                    });
                }
                let heads = contracts.iter().map(|it| &it.head);
                if let Some(other) = heads.clone().find(|it| it.id == *drawn && it.currency != contract.head.currency) {
                    return Err(CheckError::OtherCurrency {
                        contract: contract.head.id.clone(),
                        term: term.id.clone(),
                        currency: contract.head.currency,
                        drawn_contract: drawn.clone(),
                        drawn_term: drawn_term.clone(),
                        found: other.currency,
                    });
                }
                let mut path = vec![format!("{}/{}", contract.head.id, term.id)];
                follow(contracts, (drawn, drawn_term), &mut path, &mut found)?;
                format!("{drawn}/{drawn_term}")
            }
        };
        // Within one selection only versions of one term meet, of which one is in force at a time.
        if found.iter().any(|money| before.iter().any(|other| money.may_be(other))) {
            return Err(CheckError::Twice {
                contract: contract.head.id.clone(),
                term: term.id.clone(),
                base: term.base.name.to_string(),
                drawn: what,
            });
        }
        before.extend(found);
    }
    Ok(())
}

/// What lies behind a selection, directly or through the accruals that it draws on.
#[derive(Clone, Copy)]
enum Money<'a> {
    Charges(&'a ChargeFilter),
    Figure(&'a ContractId, &'a DefinedTerm),
}

impl Money<'_> {
    fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Money::Charges(a), Money::Charges(b)) => overlap(a, b),
            (Money::Figure(contract, a), Money::Figure(other, b)) => (contract, a) == (other, b),
            (Money::Charges(_), Money::Figure(..)) | (Money::Figure(..), Money::Charges(_)) => false,
        }
    }
}

fn drawn_by(base: &Base) -> impl Iterator<Item = (&ContractId, &TermId)> {
    base.select.iter().filter_map(|selection| match selection {
        Selection::Accrual { contract, term } => Some((contract, term)),
        Selection::Charges(_) | Selection::Figure(_) => None,
    })
}

/// Gathers what lies behind an accrual and those that it draws on in turn; refuses a circle.
fn follow<'a>(
    contracts: &'a [Contract],
    drawn: (&'a ContractId, &'a TermId),
    path: &mut Vec<String>,
    behind: &mut Vec<Money<'a>>,
) -> Result<(), CheckError> {
    let name = format!("{}/{}", drawn.0, drawn.1);
    let is_circle = path.contains(&name);
    path.push(name);
    if is_circle {
        return Err(CheckError::Circle { path: path.clone() });
    }
    for base in bases_of(contracts, drawn.0, drawn.1) {
        behind.extend(base.select.iter().filter_map(|selection| match selection {
            Selection::Charges(filter) => Some(Money::Charges(filter)),
            Selection::Figure(name) => Some(Money::Figure(drawn.0, name)),
            Selection::Accrual { .. } => None,
        }));
        for next in drawn_by(base) {
            follow(contracts, next, path, behind)?;
        }
    }
    path.pop();
    Ok(())
}

/// Whether one charge could match both: no attribute that both name has disjoint values.
pub(super) fn overlap(a: &ChargeFilter, b: &ChargeFilter) -> bool {
    let values = |filter: &ChargeFilter, attribute: Attribute| -> Option<BTreeSet<String>> {
        filter.get(&attribute).map(|values| values.iter().cloned().collect())
    };
    a.keys().all(|attribute| match (values(a, *attribute), values(b, *attribute)) {
        (Some(mine), Some(theirs)) => !mine.is_disjoint(&theirs),
        _ => true,
    })
}
