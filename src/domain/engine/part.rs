//! What streams yield of what passes: told as parts, and added up where something asks how far it has come.

use super::outcome::{Lines, Part};
use super::plan::{Step, StreamId, StreamName};
use super::run::Engine;
use super::state::{Group, Passing};
use crate::domain::contract::measure::Measure;
use crate::domain::money::{Exact, Unit};

impl<'a, L: Lines> Engine<'a, L> {
    /// Takes note of what a step yields of what passes.
    pub(super) fn yields(&mut self, step: &Step<'a>, passing: &Passing<'_>, amount: &Exact) {
        if self.lines.wants_parts() {
            self.tell_part(step, passing, amount);
        }
        // Terms and amounts add up by themselves.
        let root = self.root();
        if step.is_added_up
            && let Some(state) = self.group_state(step.stream, root)
        {
            state.accrued += amount;
        }
    }

    fn tell_part(&mut self, step: &Step<'a>, passing: &Passing<'_>, amount: &Exact) {
        let drawn = std::mem::take(&mut self.drawn);
        let part = Part {
            contract: &step.agreement.head.id,
            stream: &self.plan.streams[step.stream].name,
            at: passing.at,
            of: None,
            item: passing.item,
            taken_off: None,
            attributes: &self.attributes[passing.attributes],
            amount,
        };
        if self.taken_off.is_empty() && drawn.is_empty() {
            return self.lines.part(part);
        }
        for (of, amount) in &drawn {
            self.lines.part(Part { of: Some(of), amount, ..part });
        }
        let taken: Exact = self.taken_off.iter().map(|(_, amount)| amount.clone()).sum();
        let from_others: Exact = drawn.into_iter().map(|(_, amount)| amount).sum();
        let own = &(amount + &taken) - &from_others;
        if !own.is_zero() {
            self.lines.part(Part { amount: &own, ..part });
        }
        for (category, amount) in &self.taken_off {
            self.lines.part(Part { taken_off: Some(category), amount: &-amount.clone(), ..part });
        }
    }

    /// What a measure that a value names has come to in all; of an amount that is made of windows, in the last one.
    pub(super) fn come_to(&self, step: &Step<'a>, measure: &Measure) -> Option<Exact> {
        let own = self.plan.streams[step.stream].agreement;
        let unit = Unit::Currency(step.agreement.head.currency);
        let (place, name) = match measure {
            Measure::Base(name) => (own, StreamName::Base(name.clone(), unit)),
            Measure::Figure(name) => (own, StreamName::Figure(name.clone(), unit)),
            Measure::Amount(name) => (own, StreamName::Amount(name.clone())),
            Measure::Accrual { contract, term } => {
                let place = self.plan.agreements.iter().position(|it| it.head.id == *contract)?;
                (place, StreamName::Term(term.clone()))
            }
        };
        let stream = self.plan.stream(place, &name)?;
        let is_amount = matches!(measure, Measure::Amount(_));
        let of_window = |group: &Group| group.of_window.clone().filter(|_| is_amount);
        self.needs_items();
        Some(self.state_of_groups(stream).map(|group| of_window(group).unwrap_or_else(|| group.accrued.clone())).sum())
    }

    /// What a stream has come to in all its windows.
    pub(super) fn total(&self, stream: StreamId) -> Exact {
        self.needs_items();
        self.state_of_groups(stream).map(|group| group.accrued.clone()).sum()
    }

    fn state_of_groups(&self, stream: StreamId) -> impl Iterator<Item = &Group> {
        self.streams.get(stream.place()).into_iter().flat_map(|state| state.groups.values())
    }
}
