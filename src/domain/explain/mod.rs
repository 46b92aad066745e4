//! Explains an amount: a tree from what was booked back through rounding, cap, rate, base and price to events and clause.
//!
//! The parts of a node sum to it, times its factor where it has one, exactly. What cannot be taken apart further has
//! no parts, rather than parts that nearly sum.

mod base;
mod made;
pub mod node;
mod recorder;
pub mod settled;

use super::calendar::Window;
use super::contract::term::Term;
use super::contract::{Contract, Version};
use super::engine::EngineError;
use super::engine::feed::{Feed, Known};
use super::engine::knowledge::Knowledge;
use super::engine::outcome::CapUse;
use super::engine::owed::{self, Account, ByPeriod, Run};
use super::ids::{ContractId, TermId};
use super::money::{Exact, Unit};
use super::period::Instant;
use base::Scope;
use node::{Kind, Node};
use recorder::{Accrual, Recorder};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// How far down a tree goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// To quantities by price.
    #[default]
    Sums,
    /// To single events and records.
    Events,
}

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub depth: Depth,
    /// How many events, records or other parts of one node are told by themselves.
    pub limit: usize,
}

impl Question {
    /// The limit, unless another is asked for.
    pub const USUAL_LIMIT: usize = 20;
}

/// What is owed on one account for one origin period.
#[derive(Clone, Debug)]
pub struct Subject {
    pub account: Account,
    pub origin: Window,
    /// What was booked for it in earlier periods, where it is about what was booked now.
    pub booked_before: Option<Exact>,
}

/// A contract's run, told line by line for some periods.
pub struct Explanation<'a> {
    contracts: &'a [Contract],
    contract: &'a Contract,
    knowledge: &'a Knowledge,
    owed: BTreeMap<Account, ByPeriod>,
    recorded: Recorder,
    question: Question,
}

impl<'a> Explanation<'a> {
    /// Runs a contract up to an instant and records what it says of some periods.
    ///
    /// # Errors
    /// What stops the settlement.
    pub fn new(
        known: &Known<'a>,
        (feed, run): (&'a Feed<'_>, &Run),
        (contract, through): (&'a Contract, Instant),
        periods: impl IntoIterator<Item = Window>,
        question: Question,
    ) -> Result<Self, EngineError> {
        let spans = periods.into_iter().map(|period| (period, period.span(contract.head.zone))).collect();
        let run_with = |recorder| owed::tell(known, feed, &contract.head.id, through, recorder).map(|told| told.lines);
        let mut recorded = run_with(Recorder::new(spans))?;
        while let Some(recorder) = recorded.begun_earlier() {
            recorded = run_with(recorder)?;
        }
        let (contracts, knowledge, owed) = (known.contracts, &feed.knowledge, run.owed(contract)?);
        Ok(Self { contracts, contract, knowledge, owed, recorded, question })
    }

    /// The accounts on which a period has an amount, or a term that yields one.
    pub fn subjects(&self, origin: Window) -> Vec<Subject> {
        let told = |term: &TermId| !self.recorded.lines(origin, &self.contract.head.id, term).is_empty();
        let has = |(account, by_period): &(&Account, &ByPeriod)| by_period.contains_key(&origin) || told(&account.term);
        let mut accounts: BTreeSet<Account> =
            self.owed.iter().filter(has).map(|(account, _)| account.clone()).collect();
        // What was paid back of all that a term accrued leaves nothing of it on any account.
        for term in self.contract.versions.iter().rev().flat_map(|version| &version.terms) {
            if !term.is_input && told(&term.id) && !accounts.iter().any(|account| account.term == term.id) {
                let contract = self.contract.head.id.clone();
                accounts.extend(term.payees.named().into_iter().map(|payee| Account {
                    contract: contract.clone(),
                    term: term.id.clone(),
                    payer: term.payer.clone(),
                    payee: payee.clone(),
                    unit: term.unit.clone(),
                }));
            }
        }
        accounts.into_iter().map(|account| Subject { account, origin, booked_before: None }).collect()
    }

    /// The tree of an amount.
    pub fn tree(&self, subject: &Subject) -> Node {
        let Subject { account, origin, booked_before } = subject;
        let owed = self.owed(account, *origin);
        let Some(before) = booked_before else { return owed };
        let what = format!("booked: {} owes {} for {origin}", account.payer, account.payee);
        let earlier = Node::new(Kind::BookedBefore, "booked in earlier periods", -before.clone(), &owed.unit);
        let mut booked = Node::new(Kind::Booked, what, &owed.amount - before, &owed.unit);
        booked.parts.push(owed);
        if !before.is_zero() {
            booked.parts.push(earlier);
        }
        booked
    }

    fn owed(&self, account: &Account, origin: Window) -> Node {
        let amount = |by_period: &ByPeriod| by_period.get(&origin).cloned().unwrap_or_default();
        let of_others = self.owed.iter().filter(|(other, _)| other.term == account.term && *other != account);
        let of_others = of_others.map(|(other, by_period)| (other, amount(by_period)));
        let of_others: Vec<_> = of_others.filter(|(_, amount)| !amount.is_zero()).collect();
        let own = self.owed.get(account).map(amount).unwrap_or_default();
        let accrued = self.accrued(self.contract, &account.term, origin);
        let unit = account.unit.to_string();
        let others = of_others.into_iter().map(|(other, amount)| {
            Node::new(Kind::Others, format!("what {} owes {} by this term", other.payer, other.payee), -amount, &unit)
        });
        let others: Vec<Node> = others.collect();
        let of_others: Exact = others.iter().map(|other| other.amount.clone()).sum();
        let rounded = &(&own - &of_others) - &accrued.amount;
        let rounding = Node::new(Kind::Rounding, "rounding of running totals", rounded, &unit);
        let what = format!("{}: {} owes {} for {origin}", account.term, account.payer, account.payee);
        let mut owed = Node::new(Kind::Owed, what, own, &unit);
        owed.parts.push(accrued);
        owed.parts.extend(Some(rounding).filter(|node| !node.amount.is_zero()));
        owed.parts.extend(others);
        owed
    }

    fn contract(&self, id: &ContractId) -> Option<&'a Contract> {
        self.contracts.iter().find(|contract| contract.head.id == *id)
    }

    /// What a term yields in a period, unrounded.
    fn accrued(&self, contract: &Contract, term: &TermId, period: Window) -> Node {
        let mut versions: BTreeMap<u32, Vec<&Accrual>> = BTreeMap::new();
        for line in self.recorded.lines(period, &contract.head.id, term) {
            versions.entry(line.version).or_default().push(line);
        }
        let stated = contract.versions.iter().rev().find_map(|version| version.term(term));
        let unit = stated.map(|term| term.unit.clone()).unwrap_or(Unit::Currency(contract.head.currency));
        let versions = versions.into_iter().map(|(number, lines)| {
            let version = contract.versions.iter().find(|version| version.number == number);
            self.version((contract, version, number), term, (period, &unit), &lines)
        });
        let what = format!("accrued by {}/{term}, unrounded", contract.head.id);
        Node::of_parts(Kind::Accrued, what, &unit.to_string(), versions.collect())
    }

    fn version(
        &self,
        (contract, version, number): (&Contract, Option<&Version>, u32),
        id: &TermId,
        (period, unit): (Window, &Unit),
        lines: &[&Accrual],
    ) -> Node {
        let term = version.and_then(|version| Some((version, version.term(id)?)));
        let (name, what) = (unit.to_string(), format!("version {number}"));
        let (paid_back, lines): (Vec<&Accrual>, Vec<&Accrual>) = lines.iter().partition(|line| line.is_paid_back);
        let scope = Scope { contract: &contract.head.id, period, unit, version, is_number: false };
        let parts = self.made(scope, lines.iter().flat_map(|line| line.addends.iter().cloned()));
        let mut before = Node::of_parts(Kind::BeforeCap, "before the cap", &name, parts);
        before.parts.retain(|part| !part.amount.is_zero() || !part.parts.is_empty());
        let mut caps = BTreeMap::new();
        for (group, line) in lines.iter().filter_map(|line| line.cap.as_ref()) {
            CapUse::use_further(&mut caps, *group, line);
        }
        let (let_in, left_out): (Vec<Exact>, Vec<Exact>) =
            lines.iter().map(|line| line.at_cap()).partition(|difference| !difference.is_negative());
        let mut cap = Node::new(Kind::Cap, "what the cap leaves out", left_out.into_iter().sum(), &name);
        cap.cap = CapUse::in_all(caps.values());
        // What waited comes too where no cap is in force any more.
        let let_in = Node::new(Kind::Cap, "what the cap had left out before", let_in.into_iter().sum(), &name);
        let at_cap = [cap, let_in].into_iter().filter(|node| node.cap.is_some() || !node.amount.is_zero());
        let at_cap: Vec<Node> = at_cap.collect();
        let parts = if at_cap.is_empty() { before.parts } else { [before].into_iter().chain(at_cap).collect() };
        let mut node = Node::of_parts(Kind::Version, what, &name, parts);
        if !paid_back.is_empty() {
            let paid_back = paid_back_node(term, &paid_back, &name);
            node.amount += &paid_back.amount;
            node.parts.push(paid_back);
        }
        node.clause = term.map(|(_, term)| term.clause.clone());
        let behind = term.map(|(version, term)| version.assumptions_behind(&contract.head.id, term));
        for assumption in behind.unwrap_or_default() {
            if !node.rests_on.contains(assumption) {
                node.rests_on.push(assumption.clone());
            }
        }
        node
    }
}

/// What was recouped or set off of a term, and the terms that did it.
fn paid_back_node(term: Option<(&Version, &Term)>, lines: &[&Accrual], unit: &str) -> Node {
    let others: Vec<&Term> = term.into_iter().flat_map(|(version, term)| version.paid_back_with(term)).collect();
    let names: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
    let amount: Exact = lines.iter().map(|line| line.amount.clone()).sum();
    let with = if names.is_empty() { String::new() } else { format!(" with {}", names.join(" and ")) };
    let mut node = Node::new(Kind::PaidBack, format!("paid back or set off{with}"), amount, unit);
    if let [other] = *others {
        node.clause = Some(other.clause.clone());
    }
    node
}
