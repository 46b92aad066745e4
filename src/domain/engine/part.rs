//! What streams yield of what passes or by themselves: told as parts, and added up where something asks how far it has come.

use super::Stop;
use super::addend::Addend;
use super::base::delta;
use super::item::{AttributesId, InUnit};
use super::outcome::{Cause, Lines, Part, TakenOff};
use super::plan::{Step, StreamId, StreamName, Work};
use super::run::Engine;
use super::state::{Group, Passing};
use crate::domain::contract::measure::Measure;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Instant;
use std::borrow::Cow;

/// Whether what a step yields is a plain number.
fn is_number(step: &Step<'_>) -> bool {
    match &step.work {
        Work::Base(base, _) => base.is_number,
        Work::Figure(name, _) => step.version.figures.get(*name).is_some_and(|figure| figure.unit.is_none()),
        Work::Amount(_) | Work::Term(_) | Work::Gauge(_) => false,
    }
}

/// What the step that something passes has said of it so far, where somebody wants to know.
#[derive(Default)]
pub(super) struct Telling<'a> {
    pub taken_off: Vec<TakenOff>,
    /// What its base drew on, and how much.
    pub drawn: Vec<(&'a Measure, Exact)>,
    /// What nodes took off its base, and what each is made of.
    pub reduced: Vec<(Exact, Vec<Addend>)>,
    /// Whether its base counts the item itself.
    pub is_of_item: bool,
    /// What its node is made of.
    pub addends: Vec<Addend>,
}

impl Telling<'_> {
    pub fn clear(&mut self) {
        self.taken_off.clear();
        self.drawn.clear();
        self.reduced.clear();
        self.is_of_item = false;
        self.addends.clear();
    }
}

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

    /// Lets the streams after `stream` take what it yields by itself.
    pub(super) fn emit(
        &mut self,
        stream: StreamId,
        group: AttributesId,
        at: Instant,
        amount: Exact,
    ) -> Result<(), Stop> {
        self.emit_made_of(stream, group, at, (amount, Vec::new()))
    }

    /// The same of an amount that is told as made of these.
    pub(super) fn emit_made_of(
        &mut self,
        stream: StreamId,
        group: AttributesId,
        at: Instant,
        (amount, addends): (Exact, Vec<Addend>),
    ) -> Result<(), Stop> {
        let mut steps = self.steps().iter().skip_while(|step| step.stream != stream);
        let Some(step) = steps.next() else { return Ok(()) };
        let mut deltas = self.spare.pop().unwrap_or_default();
        deltas.set(stream, amount.clone());
        let (taken, kept, lacking) = (Vec::new(), Vec::new(), Vec::new());
        let cause = Cause::Drawn;
        let (number, item) = (self.next_pass(), None);
        let mut passing = Passing { number, at, attributes: group, item, cause, deltas, taken, kept, lacking };
        self.telling = Telling { addends, ..Telling::default() };
        self.yields(step, &passing, &amount);
        let done = self.pass(&mut passing, &steps.collect::<Vec<_>>());
        self.spare.push(passing.deltas);
        done
    }

    fn tell_part(&mut self, step: &Step<'a>, passing: &Passing<'_>, amount: &Exact) {
        let Telling { taken_off, drawn, reduced, is_of_item, addends } = std::mem::take(&mut self.telling);
        let is_of_item = is_of_item || !matches!(step.work, Work::Base(..));
        let part = Part {
            contract: &step.agreement.head.id,
            stream: &self.plan.streams[step.stream].name,
            pass: passing.number,
            at: passing.at,
            unit: self.unit_of(step.stream).filter(|_| !is_number(step)),
            of: None,
            item: passing.item.filter(|_| is_of_item),
            taken_off: None,
            attributes: &self.attributes[passing.attributes],
            amount,
            addends: &addends,
        };
        if taken_off.is_empty() && drawn.is_empty() && reduced.is_empty() {
            return self.lines.part(part);
        }
        for (of, amount) in &drawn {
            self.lines.part(Part { of: Some(of), amount, ..part });
        }
        let taken: Exact =
            taken_off.iter().map(|it| &it.amount).chain(reduced.iter().map(|(amount, _)| amount)).cloned().sum();
        let from_others: Exact = drawn.into_iter().map(|(_, amount)| amount).sum();
        let own = &(amount + &taken) - &from_others;
        if !own.is_zero() {
            self.lines.part(Part { amount: &own, ..part });
        }
        for (amount, addends) in &reduced {
            self.lines.part(Part { item: None, amount: &-amount.clone(), addends, ..part });
        }
        for taken_off in &taken_off {
            let (item, amount) = (passing.item, &-taken_off.amount.clone());
            self.lines.part(Part { taken_off: Some(taken_off), item, amount, ..part });
        }
    }

    /// What a measure yields of what passes, in a unit.
    pub(super) fn drawn<'p>(
        &self,
        step: &Step<'a>,
        measure: &Measure,
        unit: &Unit,
        passing: &'p Passing<'_>,
    ) -> Result<Option<Cow<'p, Exact>>, Stop> {
        let Some(stream) = step.input(measure) else { return Ok(None) };
        let Some(value) = delta(passing, stream) else { return Ok(None) };
        match self.unit_of(stream) {
            Some(found) if found != unit => {
                let amount = InUnit { value: value.clone(), unit: found };
                self.convert(step, &amount, unit, passing.of_and_at()).map(|amount| Some(Cow::Owned(amount)))
            }
            _ => Ok(Some(Cow::Borrowed(value))),
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
