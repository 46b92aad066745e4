//! Tails: with whose items a term goes on after its end, and whom it had before (CONTRACTS section 3).

use super::item::Content;
use super::outcome::Lines;
use super::plan::Step;
use super::run::{Engine, content};
use super::state::Passing;
use crate::domain::contract::selector::Attribute;
use crate::domain::contract::term::{Tail, TailItems, Term};
use crate::domain::period::Instant;

impl<'a, L: Lines> Engine<'a, L> {
    /// Whether a term takes in its tail what passes.
    pub(super) fn goes_on_with(&self, step: &Step<'a>, term: &Term, passing: &Passing<'_>, at: Instant) -> bool {
        let Some(Tail { of, filter, .. }) = &term.life.tail else { return false };
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
}
