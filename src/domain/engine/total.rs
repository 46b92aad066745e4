//! Bases that are decided on their total: at each period's end, and where the terms that draw on them begin or end.

use super::EngineError;
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use crate::domain::contract::measure::{Base, BelowZero};
use crate::domain::period::Instant;

impl<'a, L: Lines> Engine<'a, L> {
    /// The total becomes the base's only item. What is carried lapses with the last term that draws on the base, and
    /// what came before the first is no term's; a version may let the base keep what lies below zero from then on.
    pub(super) fn close_base(
        &mut self,
        step: &'a Step<'a>,
        base: &Base,
        (last, end): (Instant, Instant),
        ends_period: bool,
    ) -> Result<(), EngineError> {
        let (was_drawn_on, is_drawn_on) = self.is_drawn_on_around(step, (last, end));
        let is_kept =
            |later: &Step<'_>| matches!(&later.work, Work::Base(base, _) if base.below_zero == BelowZero::Keep);
        let later = self.next_epoch(end).and_then(|next| next.steps.iter().find(|later| later.stream == step.stream));
        let is_cut = was_drawn_on != is_drawn_on || later.is_some_and(is_kept);
        if !ends_period && !is_cut {
            return Ok(());
        }
        let root = self.root();
        let Some(group) = self.group_state(step.stream, root) else { return Ok(()) };
        let total = &std::mem::take(&mut group.period) + &std::mem::take(&mut group.carried);
        if !total.is_negative() {
            return self.emit(step.stream, root, last, total);
        }
        if base.below_zero == BelowZero::Carried && !is_cut {
            group.carried = total;
        }
        Ok(())
    }

    /// Whether a term that is in force draws on a step before a boundary, and from it on.
    pub(super) fn is_drawn_on_around(&self, step: &Step<'a>, (last, end): (Instant, Instant)) -> (bool, bool) {
        let later = self.next_epoch(end).map_or(self.steps(), |next| next.steps.as_slice());
        (self.is_drawn_on(self.steps(), step.stream, last), self.is_drawn_on(later, step.stream, end))
    }

    /// Whether a term that is in force draws on a stream, by itself or through bases and amounts.
    pub(super) fn is_drawn_on(&self, steps: &[Step<'a>], stream: StreamId, at: Instant) -> bool {
        let is_in_force = |step: &Step<'a>| {
            let state = self.streams.get(step.stream.place());
            state.is_some_and(|state| state.stretches.iter().any(|stretch| stretch.span.contains(at)))
        };
        steps.iter().filter(|step| step.streams().any(|of| of == stream)).any(|step| match &step.work {
            Work::Term(_) => is_in_force(step),
            Work::Amount(_) => is_in_force(step) && self.is_drawn_on(steps, step.stream, at),
            Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => self.is_drawn_on(steps, step.stream, at),
        })
    }
}
