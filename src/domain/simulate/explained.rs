//! Explains what a scenario comes to: what is owed for a period, as known at an instant, whatever was booked.

use super::Scenario;
use super::known::known_at;
use super::run::{StepError, as_known, contract_named, fed, period_named};
use super::uncounted::{Uncounted, uncounted};
use crate::domain::contract::Contract;
use crate::domain::contract::folder::{FolderErrors, read_folder};
use crate::domain::engine::feed::feed;
use crate::domain::engine::knowledge::Knowledge;
use crate::domain::engine::life::{Named, stretches};
use crate::domain::engine::owed::{self, Detail};
use crate::domain::explain::node::Node;
use crate::domain::explain::{Explanation, Question};
use crate::domain::ids::{ContractId, TermId};
use crate::domain::names::there_is;
use crate::domain::period::{Instant, LocalTime, Span};
use std::collections::BTreeSet;

/// What of a scenario is to be explained.
#[derive(Clone, Debug)]
pub struct Amounts<'a> {
    pub contract: &'a ContractId,
    /// As the contract's calendar names it.
    pub period: &'a str,
    /// This alone.
    pub term: Option<&'a TermId>,
    pub known_at: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Contracts(#[from] FolderErrors),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error("no version of {contract} has a term \"{term}\"{}", there_is(.known))]
    UnknownTerm { contract: ContractId, term: TermId, known: Vec<String> },
}

impl ExplainError {
    /// Whether something can still be recorded or agreed with which there is an answer.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Step(error) if error.is_waiting())
    }
}

/// What a scenario comes to.
#[derive(Clone, Debug)]
pub struct Explained {
    /// A tree for each amount that is owed for the period.
    pub amounts: Vec<Node>,
    /// Why there is no amount, where the times say it at which what was asked for is in force.
    pub not_in_force: Option<NotInForce>,
    /// What of the scenario counts in none of them.
    pub uncounted: Vec<Uncounted>,
}

/// When terms are in force of which nothing is in the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    #[error("not in force before {0}")]
    Before(LocalTime),
    #[error("not in force from {0} on")]
    From(LocalTime),
}

impl Amounts<'_> {
    /// Says that there are none.
    pub fn none(&self, not_in_force: Option<NotInForce>) -> String {
        let of = self.term.map(|term| format!("{term} of ")).unwrap_or_default();
        let why = not_in_force.map(|it| format!(", which is {it}")).unwrap_or_default();
        format!("Nothing is owed for {} under {of}{}{why}.", self.period, self.contract)
    }

    /// Where the terms that are asked for begin only after a span, or are over by then.
    fn not_in_force(&self, contract: &Contract, span: Span, known: &Knowledge) -> Option<NotInForce> {
        let terms = contract.versions.iter().flat_map(|version| &version.terms).map(|term| &term.id);
        let asked: BTreeSet<&TermId> = terms.filter(|id| self.term.is_none_or(|term| term == *id)).collect();
        let lives = asked.into_iter().flat_map(|term| stretches(contract, &Named::Term(term), known));
        let lives: Vec<Span> = lives.map(|stretch| stretch.span).collect();
        let local = |at: Instant| LocalTime { at, zone: contract.head.zone };
        let begins = lives.iter().map(|life| life.start).min().filter(|at| *at >= span.end);
        let over = lives.iter().map(|life| life.end).max().filter(|at| *at <= span.start);
        begins.map(|at| NotInForce::Before(local(at))).or(over.map(|at| NotInForce::From(local(at))))
    }
}

/// Explains what is owed for the period.
///
/// # Errors
/// The contracts are refused, there is no such contract, period or term, or nothing can be said of what is owed.
pub fn explain(scenario: &Scenario, of: &Amounts<'_>, question: Question) -> Result<Explained, ExplainError> {
    let folder = read_folder(&scenario.documents)?;
    let contracts = as_known(&folder.contracts, of.known_at);
    let contract = contract_named(&contracts, of.contract)?;
    let period = period_named(contract, of.period)?;
    let all = contract.versions.iter().flat_map(|version| &version.terms).filter(|term| !term.is_input);
    let known: BTreeSet<&TermId> = all.map(|term| &term.id).collect();
    if let Some(term) = of.term.filter(|term| !known.contains(term)) {
        let known = known.iter().map(ToString::to_string).collect();
        return Err(ExplainError::UnknownTerm { contract: of.contract.clone(), term: term.clone(), known });
    }
    let span = period.span(contract.head.zone);
    let end = span.end;
    let known = known_at(scenario, of.known_at);
    let told = fed((&contracts, &folder.register), &known, |known| {
        let feed = feed(*known);
        let run = owed::run(known, &feed, of.contract, end, Detail::Amounts)?;
        let contract = known.contracts.iter().find(|it| it.head.id == *of.contract).unwrap_or(contract);
        let explanation = Explanation::new(known, (&feed, &run), (contract, end), [period], question)?;
        let subjects = explanation.subjects(period).into_iter();
        let subjects = subjects.filter(|it| of.term.is_none_or(|term| it.account.term == *term));
        let amounts: Vec<Node> = subjects.map(|subject| explanation.tree(&subject)).collect();
        let not_in_force = if amounts.is_empty() { of.not_in_force(contract, span, &feed.knowledge) } else { None };
        Ok((amounts, not_in_force))
    });
    let (amounts, not_in_force) = told.map_err(StepError::Engine)?;
    Ok(Explained { amounts, not_in_force, uncounted: uncounted(scenario, &contracts, &folder.register, of.known_at) })
}
