//! Checks across versions and contracts: every accrual drawn on exists, nothing feeds itself, no money counts twice.

use super::Contract;
use super::Version;
use super::measure::{Base, Measure, Source};
use super::money_twice::{Behind, behind};
use super::room::{deferred_cap, room_without_end};
use super::term::{Payees, Term};
use super::whole::{told_apart, untold};
use crate::domain::ids::{ContractId, DefinedTerm, TermId};
use crate::domain::money::Unit;
use std::fmt;

/// What is wrong between parts that are each right alone, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}", told(.contract, *.number, .block.as_ref()))]
pub struct CheckError {
    pub contract: ContractId,
    pub number: u32,
    /// None where it is the version as a whole.
    pub block: Option<BlockName>,
    pub problem: CheckProblem,
}

/// A block of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockName {
    Term(TermId),
    Right(TermId),
    Base(DefinedTerm),
    Amount(DefinedTerm),
    Effect(DefinedTerm),
    Fact(DefinedTerm),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckProblem {
    #[error("has the number of another version")]
    RepeatedNumber,
    #[error("is recorded before version {before}; numbers rise with recorded_at")]
    RecordedBefore { before: u32 },
    #[error(
        "has another payer or payee than in version {before}; a flipped direction is another term, under another name"
    )]
    OtherParties { before: u32 },
    #[error(
        "is owed in {unit}, and in {old} in version {before}; what is owed in another currency or unit is another term, under another name"
    )]
    OtherUnit { before: u32, unit: Unit, old: Unit },
    #[error(
        "skips {skip} of its facts, and {old} in version {before}; what came before would be read anew, so write another fact"
    )]
    OtherSkip { before: u32, skip: u32, old: u32 },
    #[error("draws on {contract}/{term}, which no version of a known contract has")]
    UnknownAccrual { contract: ContractId, term: TermId },
    #[error(
        "draws on {contract}/{term} in {found}, and the contract is in {currency}; write [fx] with source and date, by which one becomes the other"
    )]
    OtherCurrency { contract: ContractId, term: TermId, found: Unit, currency: Unit },
    #[error("feeds itself in a circle: {}", path.join(" -> "))]
    Circle { path: Vec<String>, next: String },
    #[error(
        "feeds itself in a circle through cap {cap}, whose excess is deferred: each payment of what waits makes room for the next, {}; write excess = \"lost\", or leave under the cap only terms that take none of the others off",
        path.join(" -> ")
    )]
    RoomWithoutEnd { cap: DefinedTerm, path: Vec<String> },
    #[error("selects no sales that a {category} could reduce: select charges, or a base of them")]
    NothingToDeduct { category: String },
    #[error("takes off a {category} that is taken off in base {inner} too: write it in one of them")]
    DeductedTwice { category: String, inner: DefinedTerm },
    #[error(
        "counts the same money twice: what {drawn} brings may also be in a selection above it; name attributes that tell them apart"
    )]
    Twice { drawn: String, selection: usize },
    #[error(
        "selects by {attribute} of what {drawn} brings, which is of whole windows or totals that do not tell it apart; write per = [\"{attribute}\"] there, or select what that draws on"
    )]
    Untold { drawn: String, attribute: String },
}

impl CheckError {
    /// With the text at fault, where it is told which.
    pub fn quoting(&self, found: &str) -> String {
        let place = told(&self.contract, self.number, self.block.as_ref());
        if found.is_empty() { self.to_string() } else { format!("{place}: {found}\n  {}", self.problem) }
    }
}

fn told(contract: &ContractId, number: u32, block: Option<&BlockName>) -> String {
    match block {
        Some(block) => format!("{block} of {contract} version {number}"),
        None => format!("version {number} of {contract}"),
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(id) => write!(f, "term {id}"),
            Self::Right(id) => write!(f, "right {id}"),
            Self::Base(name) => write!(f, "base {name}"),
            Self::Amount(name) => write!(f, "amount {name}"),
            Self::Effect(name) => write!(f, "effect {name}"),
            Self::Fact(name) => write!(f, "fact {name}"),
        }
    }
}

/// Checks all contracts together.
///
/// # Errors
/// The first problem found.
pub fn check(contracts: &[Contract]) -> Result<(), CheckError> {
    for contract in contracts {
        for (index, version) in contract.versions.iter().enumerate() {
            let of = Place { contracts, contract, version };
            let before = contract.versions.iter().take(index);
            before.into_iter().try_for_each(|before| of.check_after(before))?;
        }
    }
    for contract in contracts {
        for version in &contract.versions {
            let of = Place { contracts, contract, version };
            of.check_accruals()?;
            for term in &version.terms {
                of.check_circle(Thing::Term(&contract.head.id, &term.id), &mut Vec::new())
                    .and_then(|()| of.check_room(term))
                    .map_err(|problem| of.fail(BlockName::Term(term.id.clone()), problem))?;
            }
            for base in version.bases.values() {
                of.check_circle(Thing::Base(&contract.head.id, &base.name), &mut Vec::new())
                    .and_then(|()| of.check_deductions(base))
                    .and_then(|()| of.check_money(base))
                    .and_then(|()| of.check_filters(base))
                    .map_err(|problem| of.fail(BlockName::Base(base.name.clone()), problem))?;
            }
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
pub(super) enum Thing<'a> {
    Term(&'a ContractId, &'a TermId),
    Base(&'a ContractId, &'a DefinedTerm),
    Amount(&'a ContractId, &'a DefinedTerm),
    Figure(&'a ContractId, &'a DefinedTerm),
}

impl<'a> Thing<'a> {
    /// What a measure in a contract's wording is of.
    pub fn of(contract: &'a ContractId, measure: &'a Measure) -> Self {
        match measure {
            Measure::Base(name) => Self::Base(contract, name),
            Measure::Amount(name) => Self::Amount(contract, name),
            Measure::Figure(name) => Self::Figure(contract, name),
            Measure::Accrual { contract, term, .. } => Self::Term(contract, term),
        }
    }

    /// As a contract names it: a term of another one by that one's name, too.
    fn written(self, within: &Contract) -> String {
        match self {
            Self::Term(contract, id) if *contract != within.head.id => format!("{contract}/{id}"),
            Self::Term(_, id) => id.to_string(),
            Self::Base(_, name) | Self::Amount(_, name) | Self::Figure(_, name) => name.to_string(),
        }
    }

    pub fn contract(self) -> &'a ContractId {
        let (Self::Term(contract, _) | Self::Base(contract, _) | Self::Amount(contract, _) | Self::Figure(contract, _)) =
            self;
        contract
    }
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

    fn fail(&self, block: BlockName, problem: CheckProblem) -> CheckError {
        let contract = self.contract.head.id.clone();
        CheckError { contract, number: self.version.number, block: Some(block), problem }
    }

    /// Refuses what does not go on from a version before it.
    fn check_after(&self, before: &Version) -> Result<(), CheckError> {
        let of_version = |problem| {
            let contract = self.contract.head.id.clone();
            Err(CheckError { contract, number: self.version.number, block: None, problem })
        };
        if before.number == self.version.number {
            return of_version(CheckProblem::RepeatedNumber);
        }
        if let (Some(earlier), Some(later)) = (before.recorded_at, self.version.recorded_at)
            && later < earlier
        {
            return of_version(CheckProblem::RecordedBefore { before: before.number });
        }
        for term in &self.version.terms {
            let Some(old) = before.term(&term.id) else { continue };
            let block = || BlockName::Term(term.id.clone());
            if (&old.payer, parties(&old.payees)) != (&term.payer, parties(&term.payees)) {
                return Err(self.fail(block(), CheckProblem::OtherParties { before: before.number }));
            }
            if old.unit != term.unit {
                let (before, unit, old) = (before.number, term.unit.clone(), old.unit.clone());
                return Err(self.fail(block(), CheckProblem::OtherUnit { before, unit, old }));
            }
        }
        for (name, fact) in &self.version.facts {
            let Some(old) = before.facts.get(name).filter(|old| old.skip != fact.skip) else { continue };
            let problem = CheckProblem::OtherSkip { before: before.number, skip: fact.skip, old: old.skip };
            return Err(self.fail(BlockName::Fact(name.clone()), problem));
        }
        Ok(())
    }

    /// Everything that the version measures, with the block that does.
    fn measured(&self) -> Vec<(BlockName, &'a Measure)> {
        let version = self.version;
        let mut found = Vec::new();
        for base in version.bases.values() {
            found.extend(base.mentions().into_iter().map(|it| (BlockName::Base(base.name.clone()), it)));
        }
        for amount in version.amounts.values() {
            found.extend(amount.mentions().into_iter().map(|it| (BlockName::Amount(amount.name.clone()), it)));
        }
        for term in &version.terms {
            found.extend(term.mentions().into_iter().map(|it| (BlockName::Term(term.id.clone()), it)));
        }
        found.extend(version.effects.iter().map(|effect| (BlockName::Effect(effect.name.clone()), &effect.of)));
        found
    }

    fn check_accruals(&self) -> Result<(), CheckError> {
        for (block, measure) in self.measured() {
            let Measure::Accrual { contract: drawn, term, .. } = measure else { continue };
            let of_contract = self.contracts.iter().filter(|it| it.head.id == *drawn);
            let versions = of_contract.flat_map(|contract| &contract.versions);
            let terms: Vec<&Term> = versions.filter_map(|version| version.term(term)).collect();
            let (contract, term) = (drawn.clone(), term.clone());
            if terms.is_empty() {
                return Err(self.fail(block, CheckProblem::UnknownAccrual { contract, term }));
            }
            let currency = Unit::Currency(self.contract.head.currency);
            let is_other =
                |term: &&Term| term.unit != currency && *drawn != self.contract.head.id && self.version.fx.is_none();
            if let Some(other) = terms.into_iter().find(is_other) {
                let found = other.unit.clone();
                return Err(self.fail(block, CheckProblem::OtherCurrency { contract, term, found, currency }));
            }
        }
        Ok(())
    }

    fn check_circle(&self, thing: Thing<'a>, path: &mut Vec<Thing<'a>>) -> Result<(), CheckProblem> {
        let is_circle = path.contains(&thing);
        path.push(thing);
        if is_circle {
            let next = path.get(1).map(|it| it.written(self.contract)).unwrap_or_default();
            return Err(CheckProblem::Circle { path: path.iter().map(Thing::to_string).collect(), next });
        }
        for next in self.fed_by(thing) {
            self.check_circle(next, path)?;
        }
        path.pop();
        Ok(())
    }

    /// Refuses a term under a deferred cap that makes room for itself.
    fn check_room(&self, term: &'a Term) -> Result<(), CheckProblem> {
        let Some((cap, _)) = deferred_cap(self.version, term) else { return Ok(()) };
        match room_without_end(self, &self.contract.head.id, &term.id) {
            Some(path) => Err(CheckProblem::RoomWithoutEnd { cap: cap.clone(), path }),
            None => Ok(()),
        }
    }

    fn fed_by(&self, thing: Thing<'a>) -> Vec<Thing<'a>> {
        let mut found = Vec::new();
        let contract = thing.contract();
        for version in self.versions(contract) {
            let measures = match thing {
                Thing::Term(_, id) => version.term(id).map(Term::mentions),
                Thing::Base(_, name) => version.bases.get(name).map(Base::mentions),
                Thing::Amount(_, name) => version.amounts.get(name).map(super::measure::Amount::mentions),
                Thing::Figure(_, name) => version.figures.get(name).map(|figure| figure.kind.mentions()),
            };
            found.extend(measures.unwrap_or_default().into_iter().map(|measure| Thing::of(contract, measure)));
            if let Thing::Term(_, id) = thing
                && let Some(term) = version.term(id)
            {
                found.extend(version.recouped(term).map(|of| Thing::Term(contract, &of.id)));
                found.extend(term.payees.shared_by().map(|name| Thing::Base(contract, name)));
            }
        }
        found
    }

    /// Refuses deductions from a base without sales, and those that a base takes off after one that it selects.
    fn check_deductions(&self, base: &'a Base) -> Result<(), CheckProblem> {
        let inner = self.selected_bases(base);
        let mut all = std::iter::once(base).chain(inner.iter().copied());
        let has_sales =
            all.any(|base| base.select.iter().any(|it| matches!(it.of, Source::Charges | Source::Billings)));
        for category in base.categories() {
            let category = category.to_owned();
            if !has_sales {
                return Err(CheckProblem::NothingToDeduct { category });
            }
            if let Some(inner) = inner.iter().find(|inner| inner.categories().any(|it| it == category)) {
                return Err(CheckProblem::DeductedTwice { category, inner: inner.name.clone() });
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
    fn check_filters(&self, base: &Base) -> Result<(), CheckProblem> {
        let facts = &self.version.facts;
        for selection in &base.select {
            let Source::Of(measure) = &selection.of else { continue };
            let drawn = match measure {
                Measure::Accrual { contract, .. } => self.versions(contract),
                Measure::Base(_) | Measure::Amount(_) | Measure::Figure(_) => vec![self.version],
            };
            let per = drawn.into_iter().filter_map(|version| told_apart(measure, version));
            if let Some(attribute) = per.filter_map(|per| untold(&selection.filter, per, facts)).next() {
                let (drawn, attribute) = (measure.to_string(), attribute.name().to_owned());
                return Err(CheckProblem::Untold { drawn, attribute });
            }
        }
        Ok(())
    }

    /// Refuses a base of which one selection brings what may be in another.
    fn check_money(&self, base: &'a Base) -> Result<(), CheckProblem> {
        let mut before: Vec<Behind<'a>> = Vec::new();
        for (place, selection) in base.select.iter().enumerate() {
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
                return Err(CheckProblem::Twice { drawn, selection: place });
            }
            before.extend(found);
        }
        Ok(())
    }
}

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(contract, term) => write!(f, "{contract}/{term}"),
            Self::Base(contract, name) => write!(f, "base {name} of {contract}"),
            Self::Amount(contract, name) => write!(f, "amount {name} of {contract}"),
            Self::Figure(contract, name) => write!(f, "figure {name} of {contract}"),
        }
    }
}
