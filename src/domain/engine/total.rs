//! Bases that are decided on their total: at each period's end, and where the terms that draw on them begin or end.

use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::{EngineError, Stop};
use crate::domain::contract::measure::{Base, BelowZero};
use crate::domain::ids::TermId;
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use std::collections::BTreeSet;

impl<'a, L: Lines> Engine<'a, L> {
    /// The total becomes the base's only item. What is carried lapses with the last term that draws on the base, and
    /// what came before the first is no term's; a version may let the base keep what lies below zero from then on.
    pub(super) fn close_base(
        &mut self,
        step: &'a Step<'a>,
        base: &Base,
        (last, end): (Instant, Instant),
    ) -> Result<(), Stop> {
        let (before, after) = self.drawing_around(step.stream, (last, end));
        let is_kept =
            |later: &Step<'_>| matches!(&later.work, Work::Base(base, _) if base.below_zero == BelowZero::Keep);
        let later = self.next_epoch(end).and_then(|next| next.steps.iter().find(|later| later.stream == step.stream));
        let is_cut = before != after && before.is_disjoint(&after) || later.is_some_and(is_kept);
        let (root, ends_period) = (self.root(), self.ends_period(step, end));
        let Some(group) = self.group_state(step.stream, root) else { return Ok(()) };
        let total = &group.period + &group.carried;
        if !is_cut && !ends_period {
            return refuse_torn(step, base, end, (&before, &after), &total);
        }
        group.period = Exact::zero();
        group.carried = Exact::zero();
        if !total.is_negative() {
            return self.emit(step.stream, root, last, total);
        }
        if base.below_zero == BelowZero::Carried && !is_cut {
            refuse_torn(step, base, end, (&before, &after), &total)?;
            group.carried = total;
        }
        Ok(())
    }

    /// The terms in force that draw on a stream before a boundary, and from it on.
    pub(super) fn drawing_around(
        &self,
        stream: StreamId,
        (last, end): (Instant, Instant),
    ) -> (BTreeSet<&'a TermId>, BTreeSet<&'a TermId>) {
        let later = self.next_epoch(end).map_or(self.steps(), |next| next.steps.as_slice());
        (self.drawing(self.steps(), stream, last), self.drawing(later, stream, end))
    }

    /// The terms in force that draw on a stream, by themselves or through bases and amounts.
    pub(super) fn drawing(&self, steps: &[Step<'a>], stream: StreamId, at: Instant) -> BTreeSet<&'a TermId> {
        let is_in_force =
            |step: &Step<'a>| self.streams.get(step.stream.place()).is_some_and(|state| state.stretch_at(at).is_some());
        let mut found = BTreeSet::new();
        for step in steps.iter().filter(|step| step.streams().any(|of| of == stream)) {
            match &step.work {
                Work::Term(_) | Work::Amount(_) if !is_in_force(step) => {}
                Work::Term(term) => drop(found.insert(&term.id)),
                Work::Amount(_) | Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => {
                    found.extend(self.drawing(steps, step.stream, at));
                }
            }
        }
        found
    }
}

/// Refuses a total that goes on where not all terms go on that draw on it: what one had by then is not another's.
fn refuse_torn(
    step: &Step<'_>,
    base: &Base,
    at: Instant,
    (before, after): (&BTreeSet<&TermId>, &BTreeSet<&TermId>),
    total: &Exact,
) -> Result<(), Stop> {
    let leaves = before.difference(after).next().is_some() && !total.is_zero() && !total.is_negative();
    let joins = after.difference(before).next().is_some() && !total.is_zero();
    if !leaves && !joins {
        return Ok(());
    }
    Err(EngineError::TornTotal {
        contract: step.agreement.head.id.clone(),
        base: base.name.clone(),
        terms: before.symmetric_difference(after).map(|term| (*term).clone()).collect(),
        at,
    }
    .into())
}
