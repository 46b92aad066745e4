//! Once groups: what passes counts in one of their terms alone (CONTRACTS section 3).

use super::item::{Content, Deduction};
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::{Engine, content};
use super::state::Passing;
use crate::domain::contract::term::Term;
use crate::domain::ids::TermId;

/// The terms whose amount something is of, where each is of a once group; none where anything else draws on it.
pub(super) fn once_terms<'a>(steps: &[Step<'a>], of: StreamId) -> Option<Vec<&'a Term>> {
    let mut found = Vec::new();
    for step in steps.iter().filter(|step| step.after.contains(&of)) {
        match &step.work {
            Work::Term(term) if term.once.is_some() && step.of.contains(&of) => found.push(*term),
            Work::Base(..) | Work::Amount(_) => found.extend(once_terms(steps, step.stream)?),
            Work::Term(_) | Work::Figure(..) | Work::Gauge(_) => return None,
        }
    }
    Some(found)
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Whether what passes counts in none of the terms that a base is for: others of their groups have it.
    pub(super) fn is_left_to_others(&mut self, step: &Step<'a>, passing: &mut Passing<'_>) -> bool {
        !step.once_terms.is_empty() && step.once_terms.iter().all(|term| self.is_taken(step, term, passing))
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
