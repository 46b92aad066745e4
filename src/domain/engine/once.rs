//! Once groups: what passes counts in one of their terms alone (CONTRACTS section 3).

use super::item::{Content, Deduction};
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::state::{Passing, content};
use crate::domain::contract::measure::BelowZero;
use crate::domain::contract::term::Term;
use crate::domain::ids::TermId;

/// The terms of once groups whose amount a base or amount is for, and whether it is for these alone.
pub(super) fn once_terms<'a>(steps: &[Step<'a>], of: &Step<'a>) -> (Vec<&'a Term>, bool) {
    let (mut found, mut is_alone) = (Vec::new(), true);
    if !matches!(of.work, Work::Base(..) | Work::Amount(_)) {
        return (found, false);
    }
    for step in steps.iter().filter(|step| step.after.contains(&of.stream)) {
        match &step.work {
            Work::Term(term) if term.once.is_some() && step.of.contains(&of.stream) => found.push(*term),
            Work::Base(..) | Work::Amount(_) => {
                let (further, is_for_these) = once_terms(steps, step);
                found.extend(further);
                is_alone &= is_for_these;
            }
            Work::Term(_) | Work::Figure(..) | Work::Gauge(_) => is_alone = false,
        }
    }
    (found, is_alone)
}

/// Whether a base or amount adds up what passes: toward what it counts above, in a total, or in a window.
pub(super) fn keeps(step: &Step<'_>) -> bool {
    match &step.work {
        Work::Base(base, _) => base.above.is_some() || base.below_zero != BelowZero::Keep,
        Work::Amount(_) => step.is_of_window,
        Work::Figure(..) | Work::Term(_) | Work::Gauge(_) => false,
    }
}

/// What passes counts here, and yields something later.
pub(super) fn keep(step: &Step<'_>, passing: &mut Passing<'_>) {
    if !step.once_terms.is_empty() {
        passing.kept.push(step.stream);
    }
}

/// What keeps it for something else keeps it for all that draws on that.
pub(super) fn keep_further(step: &Step<'_>, passing: &mut Passing<'_>) {
    if !passing.kept.is_empty() && is_made_of(step, |of| passing.kept.contains(&of)) {
        keep(step, passing);
    }
}

/// Whether a base or amount is made of any such stream. What only its tiers count is not in it.
pub(super) fn is_made_of(step: &Step<'_>, is_such: impl Fn(StreamId) -> bool) -> bool {
    match &step.work {
        Work::Amount(amount) => amount.node.measures().into_iter().filter_map(|of| step.input(of)).any(is_such),
        Work::Base(..) => step.streams().any(is_such),
        Work::Figure(..) | Work::Term(_) | Work::Gauge(_) => false,
    }
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Whether what passes counts in none of the terms that a base or amount adds up for: others of their groups have
    /// it.
    pub(super) fn is_left_to_others(&mut self, step: &Step<'a>, passing: &mut Passing<'_>) -> bool {
        step.keeps_for_once
            && !step.once_terms.is_empty()
            && step.once_terms.iter().all(|term| self.is_taken(step, term, passing))
    }

    /// A term has what passes: no other of its group does.
    pub(super) fn take(&self, step: &Step<'a>, term: &Term, passing: &mut Passing<'_>) {
        if let Some(once) = &term.once {
            passing.taken.push((self.plan.streams[step.stream].agreement, once.clone(), term.id.clone()));
        }
    }

    /// The same where it counts in a total or a window that the term is of.
    pub(super) fn take_kept(&mut self, step: &Step<'a>, term: &'a Term, passing: &mut Passing<'_>) {
        let is_kept = step.of.iter().any(|of| passing.kept.contains(of));
        if is_kept && self.is_in_force(step, term, passing) {
            self.take(step, term, passing);
        }
    }

    /// Whether another term of its group has what passes. What names an item is with the term that took that.
    pub(super) fn is_taken(&mut self, step: &Step<'a>, term: &Term, passing: &mut Passing<'_>) -> bool {
        let Some(once) = &term.once else { return false };
        let agreement = self.plan.streams[step.stream].agreement;
        let taken = passing.taken.iter().find(|(of, group, _)| *of == agreement && group == once);
        if let Some((_, _, by)) = taken {
            return *by != term.id;
        }
        let Some(Content::Deduction(deduction)) = content(step, passing) else { return false };
        let Some(by) = self.taker((agreement, once), deduction, passing) else { return false };
        let is_other = by != term.id;
        passing.taken.push((agreement, once.clone(), by));
        is_other
    }

    /// The first term of a group that counted what a deduction names, as they were then.
    fn taker(
        &self,
        (agreement, once): (usize, &str),
        deduction: &Deduction<'_>,
        passing: &Passing<'_>,
    ) -> Option<TermId> {
        let item_at = deduction.item_at?;
        let then = self.plan.epochs.iter().find(|epoch| epoch.span.contains(item_at))?;
        for step in &then.steps {
            let Work::Term(term) = &step.work else { continue };
            if term.once.as_deref() != Some(once) || self.plan.streams[step.stream].agreement != agreement {
                continue;
            }
            let counts = step.of.iter().any(|of| self.counted_in(*of, &then.steps, deduction, passing));
            if counts && self.is_in_force_at(step, term, passing, item_at) {
                return Some(term.id.clone());
            }
        }
        None
    }

    /// Whether what a deduction names counted in a base, or in one that an amount is made of.
    fn counted_in(&self, of: StreamId, steps: &[Step<'a>], deduction: &Deduction<'_>, passing: &Passing<'_>) -> bool {
        let Some((step, at)) = steps.iter().find(|step| step.stream == of).zip(deduction.item_at) else { return false };
        match &step.work {
            Work::Base(base, _) => self.counts_named(step, base, deduction, (at, passing)),
            Work::Amount(_) => step.streams().any(|of| self.counted_in(of, steps, deduction, passing)),
            Work::Figure(..) | Work::Term(_) | Work::Gauge(_) => false,
        }
    }
}
