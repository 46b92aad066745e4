//! Tails: with whose items a term goes on after its end, and whom it had before (CONTRACTS section 3).

use super::item::Content;
use super::outcome::Lines;
use super::plan::{Step, Stream, StreamId, StreamName, Work};
use super::run::Engine;
use super::state::{Passing, content};
use super::term::named_at;
use super::{EngineError, Stop};
use crate::domain::contract::Contract;
use crate::domain::contract::selector::{Attribute, Filter};
use crate::domain::contract::term::{Tail, TailItems, Term};
use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::period::Instant;
use std::collections::BTreeSet;

/// Whether any version lets a term go on after its end for those who were its customers, under whichever version.
pub(super) fn has_earlier_customers(stream: &Stream, agreement: Option<&Contract>) -> bool {
    let StreamName::Term(id) = &stream.name else { return false };
    let mut wordings = agreement.into_iter().flat_map(|it| &it.versions).filter_map(|version| version.term(id));
    wordings.any(|term| term.life.tail.as_ref().is_some_and(|tail| tail.of == TailItems::EarlierCustomers))
}

/// Whether some term of an agreement goes on after its end with some items alone.
pub(super) fn has_narrow_tail(agreement: &Contract) -> bool {
    let mut tails = agreement.versions.iter().flat_map(|it| &it.terms).filter_map(|term| term.life.tail.as_ref());
    tails.any(|tail| tail.of != TailItems::All || tail.filter != Filter::default())
}

/// A term that draws on something, by itself or through bases and amounts.
struct Drawing<'a> {
    step: &'a Step<'a>,
    term: &'a Term,
    /// Whether its amount is of that, and not a counter alone.
    is_of_amount: bool,
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Whether a term takes in its tail what passes.
    pub(super) fn goes_on_with(&self, step: &Step<'a>, term: &Term, passing: &Passing<'_>, at: Instant) -> bool {
        let Some(Tail { of, filter, .. }) = &term.life.tail else { return false };
        // What is made of items is made of those that the tail let in. An amount of nothing is of no customer.
        let is_of_items = |by: &Step<'_>| matches!(by.work, Work::Base(..)) || by.streams().next().is_some();
        if self.made_for(step.stream, passing).is_some_and(is_of_items) {
            return true;
        }
        let is_earlier = || {
            let known = self.streams.get(step.stream.place()).map(|state| &state.customers);
            let customer = self.attribute(step, passing.attributes, at, &Attribute::Customer);
            customer.zip(known).is_some_and(|(customer, known)| known.contains(customer))
        };
        (*of == TailItems::All || is_earlier()) && self.selects(step, filter, passing.attributes, at)
    }

    /// Keeps in mind who buys what a term counts before its end. What takes off makes nobody a customer.
    pub(super) fn remember_customer(&mut self, step: &Step<'a>, passing: &Passing<'_>) {
        let Some(state) = self.streams.get(step.stream.place()).filter(|it| it.has_earlier_customers) else { return };
        let is_sale = !matches!(content(step, passing), Some(Content::Deduction(_)));
        if !is_sale || state.stretch_at(passing.at).is_none_or(|stretch| stretch.is_tail) {
            return;
        }
        let customer = self.attribute(step, passing.attributes, passing.at, &Attribute::Customer).map(str::to_owned);
        if let Some((customer, state)) = customer.zip(self.state(step.stream)) {
            state.customers.insert(customer);
        }
    }

    /// Does so for the terms in force that draw on what yields nothing of an item by itself.
    pub(super) fn remember_for_later(&mut self, step: &Step<'a>, passing: &Passing<'_>) {
        if !self.has_narrow_tail(step) {
            return;
        }
        for Drawing { step, term, is_of_amount } in self.drawing_terms(step.stream) {
            if is_of_amount && self.is_in_force(step, term, passing) {
                self.remember_customer(step, passing);
            }
        }
    }

    /// Whether a base or amount leaves out what passes, or what that names: of all terms in force that draw on it the
    /// tails do. One total, told once, is not of some that leave it out and of others.
    pub(super) fn is_left_by_tails(
        &self,
        step: &Step<'a>,
        total: Option<&DefinedTerm>,
        passing: &Passing<'_>,
    ) -> Result<bool, Stop> {
        if !self.has_narrow_tail(step) {
            return Ok(false);
        }
        let drawing = self.drawing_terms(step.stream);
        for at in [Some(passing.at), named_at(step, passing)].into_iter().flatten() {
            let in_force = drawing.iter().filter(|it| self.life(it.step, at).is_some());
            let (leave, take): (Vec<&Drawing<'_>>, Vec<&Drawing<'_>>) = in_force.partition(|it| {
                // What takes off of a sale from before a term takes off what counted already.
                let counted =
                    self.made_for(it.step.stream, passing).is_some() || self.is_before_its_life(it.step, passing);
                !counted && !self.is_in_force_at(it.step, it.term, passing, at)
            });
            match total {
                _ if leave.is_empty() => {}
                _ if take.is_empty() => return Ok(true),
                Some(total) => {
                    let terms: Vec<TermId> = leave.into_iter().map(|it| it.term.id.clone()).collect();
                    let contract = step.agreement.head.id.clone();
                    return Err(EngineError::TornTotal { contract, base: total.clone(), terms, at }.into());
                }
                None => {}
            }
        }
        Ok(false)
    }

    fn has_narrow_tail(&self, step: &Step<'a>) -> bool {
        self.streams.get(step.stream.place()).is_some_and(|state| state.has_narrow_tail)
    }

    /// The terms that draw on a stream, in whatever of their parts. Steps stand after what they draw on.
    fn drawing_terms(&self, stream: StreamId) -> Vec<Drawing<'a>> {
        let mut reached = BTreeSet::from([stream]);
        let mut found = Vec::new();
        for step in self.steps() {
            if !step.streams().any(|of| reached.contains(&of)) {
                continue;
            }
            match &step.work {
                Work::Term(term) => {
                    let is_of_amount = step.of.iter().any(|of| reached.contains(of));
                    found.push(Drawing { step, term, is_of_amount });
                }
                Work::Base(..) | Work::Amount(_) => drop(reached.insert(step.stream)),
                Work::Figure(..) | Work::Gauge(_) => {}
            }
        }
        found
    }

    /// The base or amount that yields by itself what passes, where a term draws on that.
    fn made_for(&self, term: StreamId, passing: &Passing<'_>) -> Option<&'a Step<'a>> {
        let by = passing.deltas.first().filter(|_| passing.item.is_none())?;
        let step = self.steps().iter().find(|step| step.stream == by)?;
        let is_made = matches!(step.work, Work::Base(..) | Work::Amount(_));
        let is_drawn = is_made && self.drawing_terms(by).iter().any(|it| it.step.stream == term);
        is_drawn.then_some(step)
    }
}
