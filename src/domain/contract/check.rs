//! Checks across versions and contracts: every accrual drawn on exists, nothing feeds itself, no money counts twice.

use super::Version;
use super::measure::{Base, Measure, Source};
use super::money_twice::{Behind, behind};
use super::term::{On, Payees, Term};
use super::whole::{told_apart, untold};
use super::{Contract, Effective};
use crate::domain::ids::{ContractId, DefinedTerm, TermId};
use crate::domain::money::Unit;
use crate::domain::period::{Instant, start_of_day};

/// What is wrong between terms that are each right alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("term {contract}/{term} of version {number} ends at {end}, before the contract begins at {begins}")]
    EndsBeforeContract { contract: ContractId, term: TermId, number: u32, end: Instant, begins: Instant },
    #[error("term {contract}/{term} of version {number} begins at {from}, before the contract begins at {begins}")]
    BeginsBeforeContract { contract: ContractId, term: TermId, number: u32, from: Instant, begins: Instant },
    #[error("term {contract}/{term} of version {number} is owed on {on}, before the contract begins at {begins}")]
    OwedBeforeContract { contract: ContractId, term: TermId, number: u32, on: Instant, begins: Instant },
    #[error("contract {contract}: two versions with the number {number}")]
    RepeatedNumber { contract: ContractId, number: u32 },
    #[error("contract {contract}: version {number} is recorded before version {before}; numbers rise with recorded_at")]
    RecordedBefore { contract: ContractId, number: u32, before: u32 },
    #[error(
        "term {contract}/{term} of version {number} has another payer or payee than version {before}; a flipped direction is another term, under another name"
    )]
    OtherParties { contract: ContractId, term: TermId, number: u32, before: u32 },
    #[error(
        "term {contract}/{term} of version {number} is owed in {unit}, and in {old} in version {before}; what is owed in another currency or unit is another term, under another name"
    )]
    OtherUnit { contract: ContractId, term: TermId, number: u32, before: u32, unit: String, old: String },
    #[error(
        "{place} of {contract} version {number} draws on {drawn_contract}/{drawn_term}, which no version of a known contract has"
    )]
    UnknownAccrual { contract: ContractId, number: u32, place: String, drawn_contract: ContractId, drawn_term: TermId },
    #[error(
        "{place} of {contract} version {number} draws on {drawn_contract}/{drawn_term} in {found}, and the contract is in {currency}; write [fx] with source and date, by which one becomes the other"
    )]
    OtherCurrency {
        contract: ContractId,
        number: u32,
        place: String,
        currency: String,
        drawn_contract: ContractId,
        drawn_term: TermId,
        found: String,
    },
    #[error("terms feed each other in a circle: {}", path.join(" -> "))]
    Circle { path: Vec<String> },
    #[error(
        "base {base} of {contract} version {number} selects no sales that a {category} could reduce: select charges, or a base of them"
    )]
    NothingToDeduct { contract: ContractId, number: u32, base: DefinedTerm, category: String },
    #[error(
        "base {base} of {contract} version {number} takes off a {category} that is taken off in base {inner} too: write it in one of them"
    )]
    DeductedTwice { contract: ContractId, number: u32, base: DefinedTerm, category: String, inner: DefinedTerm },
    #[error(
        "base {base} of {contract} version {number} counts the same money twice: what {drawn} brings may also be in a selection above it; name attributes that tell them apart"
    )]
    Twice { contract: ContractId, number: u32, base: DefinedTerm, drawn: String },
    #[error(
        "base {base} of {contract} version {number} selects by {attribute} of what {drawn} brings, which is of whole windows or totals that do not tell it apart; write per = [\"{attribute}\"] there, or select what that draws on"
    )]
    Untold { contract: ContractId, number: u32, base: DefinedTerm, drawn: String, attribute: String },
}

impl CheckError {
    /// The version that it is about, and in it the block, as `term share`; none where it is the version as a whole.
    pub fn about(&self) -> Option<(&ContractId, u32, Option<String>)> {
        match self {
            Self::EndsBeforeContract { contract, term, number, .. }
            | Self::BeginsBeforeContract { contract, term, number, .. }
            | Self::OwedBeforeContract { contract, term, number, .. }
            | Self::OtherParties { contract, term, number, .. }
            | Self::OtherUnit { contract, term, number, .. } => Some((contract, *number, Some(format!("term {term}")))),
            Self::UnknownAccrual { contract, number, place, .. }
            | Self::OtherCurrency { contract, number, place, .. } => Some((contract, *number, Some(place.clone()))),
            Self::NothingToDeduct { contract, number, base, .. }
            | Self::DeductedTwice { contract, number, base, .. }
            | Self::Twice { contract, number, base, .. }
            | Self::Untold { contract, number, base, .. } => Some((contract, *number, Some(format!("base {base}")))),
            Self::RepeatedNumber { contract, number } | Self::RecordedBefore { contract, number, .. } => {
                Some((contract, *number, None))
            }
            Self::Circle { .. } => None,
        }
    }
}

/// Checks all contracts together.
///
/// # Errors
/// The first problem found.
pub fn check(contracts: &[Contract]) -> Result<(), CheckError> {
    for contract in contracts {
        check_versions(contract)?;
    }
    for contract in contracts {
        for version in &contract.versions {
            let of = Place { contracts, contract, version };
            of.check_accruals()?;
            for term in &version.terms {
                of.check_circle(Thing::Term(&contract.head.id, &term.id), &mut Vec::new())?;
            }
            for base in version.bases.values() {
                of.check_circle(Thing::Base(&contract.head.id, &base.name), &mut Vec::new())?;
                of.check_deductions(base)?;
                of.check_money(base)?;
                of.check_filters(base)?;
            }
        }
    }
    Ok(())
}

fn check_versions(contract: &Contract) -> Result<(), CheckError> {
    let id = || contract.head.id.clone();
    for (index, version) in contract.versions.iter().enumerate() {
        let number = version.number;
        let terms = version.terms.iter().map(|term| (&term.id, term.life.dates()));
        let rights = version.rights.iter().map(|right| (&right.id, right.life.dates()));
        let Some(begins) = contract.begins() else { continue };
        for (term, (from, end)) in terms.chain(rights) {
            if let Some(end) = end.filter(|end| *end <= begins) {
                return Err(CheckError::EndsBeforeContract { contract: id(), term: term.clone(), number, end, begins });
            }
            if let Some(from) = from.filter(|from| *from < begins) {
                let term = term.clone();
                return Err(CheckError::BeginsBeforeContract { contract: id(), term, number, from, begins });
            }
        }
        for term in &version.terms {
            let Some(On::Dates(dates)) = &term.on else { continue };
            let mut days = dates.iter().map(|date| start_of_day(contract.head.zone, *date));
            if let Some(on) = days.find(|on| *on < begins) {
                let term = term.id.clone();
                return Err(CheckError::OwedBeforeContract { contract: id(), term, number, on, begins });
            }
        }
        for before in contract.versions.iter().take(index) {
            check_pair(contract, before, version)?;
        }
    }
    Ok(())
}

fn check_pair(contract: &Contract, before: &Version, version: &Version) -> Result<(), CheckError> {
    let (id, number) = (contract.head.id.clone(), version.number);
    if before.number == number {
        return Err(CheckError::RepeatedNumber { contract: id, number });
    }
    if let (Some(earlier), Some(later)) = (before.recorded_at, version.recorded_at)
        && later < earlier
    {
        return Err(CheckError::RecordedBefore { contract: id, number, before: before.number });
    }
    for term in &version.terms {
        let Some(old) = before.term(&term.id) else { continue };
        let (contract, term_id, before) = (id.clone(), term.id.clone(), before.number);
        if (&old.payer, parties(&old.payees)) != (&term.payer, parties(&term.payees)) {
            return Err(CheckError::OtherParties { contract, term: term_id, number, before });
        }
        if old.unit != term.unit {
            let (unit, old) = (term.unit.to_string(), old.unit.to_string());
            return Err(CheckError::OtherUnit { contract, term: term_id, number, before, unit, old });
        }
    }
    Ok(())
}

/// Parts may change through the versions; who is paid may not.
fn parties(payees: &Payees) -> Vec<&str> {
    let mut names: Vec<&str> = payees.named().into_iter().map(|party| party.as_str()).collect();
    names.sort_unstable();
    names
}

/// A version among all contracts: of its own contract it alone is in force, of others any version may be.
pub(super) struct Place<'a> {
    pub contracts: &'a [Contract],
    pub contract: &'a Contract,
    pub version: &'a Version,
}

/// What may feed another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thing<'a> {
    Term(&'a ContractId, &'a TermId),
    Base(&'a ContractId, &'a DefinedTerm),
    Amount(&'a ContractId, &'a DefinedTerm),
    Figure(&'a ContractId, &'a DefinedTerm),
}

impl<'a> Place<'a> {
    /// The versions in which a name of a contract is looked up.
    pub fn versions(&self, contract: &ContractId) -> Vec<&'a Version> {
        if *contract == self.contract.head.id {
            return vec![self.version];
        }
        let others = self.contracts.iter().filter(|it| it.head.id == *contract);
        others.flat_map(|it| &it.versions).collect()
    }

    /// Everything that the version measures, with the part that does.
    fn measured(&self) -> Vec<(String, &'a Measure)> {
        let version = self.version;
        let mut found = Vec::new();
        for base in version.bases.values() {
            found.extend(base.mentions().into_iter().map(|it| (format!("base {}", base.name), it)));
        }
        for amount in version.amounts.values() {
            found.extend(amount.mentions().into_iter().map(|it| (format!("amount {}", amount.name), it)));
        }
        for term in &version.terms {
            found.extend(term.mentions().into_iter().map(|it| (format!("term {}", term.id), it)));
        }
        found.extend(version.effects.iter().map(|effect| (format!("effect {}", effect.name), &effect.of)));
        found
    }

    fn check_accruals(&self) -> Result<(), CheckError> {
        for (place, measure) in self.measured() {
            let Measure::Accrual { contract: drawn, term, .. } = measure else { continue };
            let of_contract = self.contracts.iter().filter(|it| it.head.id == *drawn);
            let versions = of_contract.flat_map(|contract| &contract.versions);
            let terms: Vec<&Term> = versions.filter_map(|version| version.term(term)).collect();
            let (contract, number) = (self.contract.head.id.clone(), self.version.number);
            let (drawn_contract, drawn_term) = (drawn.clone(), term.clone());
            if terms.is_empty() {
                return Err(CheckError::UnknownAccrual { contract, number, place, drawn_contract, drawn_term });
            }
            let own = Unit::Currency(self.contract.head.currency);
            let is_other = |term: &&Term| term.unit != own && *drawn != contract && self.version.fx.is_none();
            if let Some(term) = terms.into_iter().find(is_other) {
                let (currency, found) = (own.to_string(), term.unit.to_string());
                return Err(CheckError::OtherCurrency {
                    contract,
                    number,
                    place,
                    currency,
                    drawn_contract,
                    drawn_term,
                    found,
                });
            }
        }
        Ok(())
    }

    fn check_circle(&self, thing: Thing<'a>, path: &mut Vec<Thing<'a>>) -> Result<(), CheckError> {
        let is_circle = path.contains(&thing);
        path.push(thing);
        if is_circle {
            return Err(CheckError::Circle { path: path.iter().map(Thing::to_string).collect() });
        }
        for next in self.fed_by(thing) {
            self.check_circle(next, path)?;
        }
        path.pop();
        Ok(())
    }

    fn fed_by(&self, thing: Thing<'a>) -> Vec<Thing<'a>> {
        let mut found = Vec::new();
        let of = |contract: &'a ContractId, measure: &'a Measure| match measure {
            Measure::Base(name) => Thing::Base(contract, name),
            Measure::Amount(name) => Thing::Amount(contract, name),
            Measure::Figure(name) => Thing::Figure(contract, name),
            Measure::Accrual { contract, term, .. } => Thing::Term(contract, term),
        };
        let (Thing::Term(contract, _)
        | Thing::Base(contract, _)
        | Thing::Amount(contract, _)
        | Thing::Figure(contract, _)) = thing;
        for version in self.versions(contract) {
            let measures = match thing {
                Thing::Term(_, id) => version.term(id).map(Term::mentions),
                Thing::Base(_, name) => version.bases.get(name).map(Base::mentions),
                Thing::Amount(_, name) => version.amounts.get(name).map(super::measure::Amount::mentions),
                Thing::Figure(_, name) => version.figures.get(name).map(|figure| figure.kind.mentions()),
            };
            found.extend(measures.unwrap_or_default().into_iter().map(|measure| of(contract, measure)));
            if let Thing::Term(_, id) = thing
                && let Some(term) = version.term(id)
            {
                found.extend(term.credits.iter().map(|credit| Thing::Term(contract, &credit.of)));
                found.extend(term.payees.shared_by().map(|name| Thing::Base(contract, name)));
            }
        }
        found
    }

    /// Refuses deductions from a base without sales, and those that a base takes off after one that it selects.
    fn check_deductions(&self, base: &'a Base) -> Result<(), CheckError> {
        let (contract, number) = (self.contract.head.id.clone(), self.version.number);
        let inner = self.selected_bases(base);
        let mut all = std::iter::once(base).chain(inner.iter().copied());
        let has_sales =
            all.any(|base| base.select.iter().any(|it| matches!(it.of, Source::Charges | Source::Billings)));
        for category in base.categories() {
            let (base, category) = (base.name.clone(), category.to_owned());
            if !has_sales {
                return Err(CheckError::NothingToDeduct { contract, number, base, category });
            }
            if let Some(inner) = inner.iter().find(|inner| inner.categories().any(|it| it == category)) {
                let inner = inner.name.clone();
                return Err(CheckError::DeductedTwice { contract, number, base, category, inner });
            }
        }
        Ok(())
    }

    /// The bases that a base selects, and those that they select.
    fn selected_bases(&self, base: &'a Base) -> Vec<&'a Base> {
        let mut found = Vec::new();
        for selection in &base.select {
            if let Source::Of(Measure::Base(name)) = &selection.of
                && let Some(inner) = self.version.bases.get(name)
            {
                found.push(inner);
                found.extend(self.selected_bases(inner));
            }
        }
        found
    }

    /// Refuses filters that nothing of a whole window or total matches, as those have not the attribute.
    fn check_filters(&self, base: &Base) -> Result<(), CheckError> {
        let facts = &self.version.facts;
        for selection in &base.select {
            let Source::Of(measure) = &selection.of else { continue };
            let drawn = match measure {
                Measure::Accrual { contract, .. } => self.versions(contract),
                Measure::Base(_) | Measure::Amount(_) | Measure::Figure(_) => vec![self.version],
            };
            let per = drawn.into_iter().filter_map(|version| told_apart(measure, version));
            if let Some(attribute) = per.filter_map(|per| untold(&selection.filter, per, facts)).next() {
                let (contract, number) = (self.contract.head.id.clone(), self.version.number);
                let (drawn, attribute) = (measure.to_string(), attribute.name().to_owned());
                return Err(CheckError::Untold { contract, number, base: base.name.clone(), drawn, attribute });
            }
        }
        Ok(())
    }

    /// Refuses a base of which one selection brings what may be in another.
    fn check_money(&self, base: &'a Base) -> Result<(), CheckError> {
        let mut before: Vec<Behind<'a>> = Vec::new();
        for selection in &base.select {
            let found = behind(self, &self.contract.head.id, selection);
            let of = matches!(selection.of, Source::Of(_));
            // Sales that two selections share count once.
            let is_twice =
                |money: &Behind<'a>| before.iter().any(|other| (of || other.is_passed_on) && money.may_be(other));
            if found.iter().any(is_twice) {
                let drawn = match &selection.of {
                    Source::Of(Measure::Accrual { contract, term, .. }) => format!("{contract}/{term}"),
                    Source::Of(Measure::Figure(name)) => format!("figure {name}"),
                    Source::Of(Measure::Base(name)) => format!("base {name}"),
                    Source::Of(Measure::Amount(name)) => format!("amount {name}"),
                    Source::Charges | Source::Billings | Source::Units | Source::Facts(_) => {
                        "its own charges".to_owned()
                    }
                };
                return Err(CheckError::Twice {
                    contract: self.contract.head.id.clone(),
                    number: self.version.number(),
                    base: base.name.clone(),
                    drawn,
                });
            }
            before.extend(found);
        }
        Ok(())
    }
}

impl std::fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term(contract, term) => write!(f, "{contract}/{term}"),
            Self::Base(contract, name) => write!(f, "base {name} of {contract}"),
            Self::Amount(contract, name) => write!(f, "amount {name} of {contract}"),
            Self::Figure(contract, name) => write!(f, "figure {name} of {contract}"),
        }
    }
}
