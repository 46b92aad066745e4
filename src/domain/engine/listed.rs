//! Windows that are listed by their dates: past the last of them nothing can be counted in one.

use super::outcome::Lines;
use super::plan::{Step, Work};
use super::run::Engine;
use super::{EngineError, Stop};
use crate::domain::contract::measure::Measure;
use crate::domain::contract::term::{Apply, Tiers};
use crate::domain::contract::window::{Counting, WindowRule};
use crate::domain::ids::TermId;
use crate::domain::period::{Instant, start_of_day};

impl<'a, L: Lines> Engine<'a, L> {
    /// Stops where a term in force counts on past the last window that is listed for that.
    pub(super) fn check_listed(&self, at: Instant) -> Result<(), Stop> {
        for step in self.steps() {
            let is_past = |counting: &&Counting| match &counting.each {
                WindowRule::Dates(starts) => {
                    starts.last().is_some_and(|last| start_of_day(step.agreement.head.zone, *last) <= at)
                }
                _ => false,
            };
            if let Some(term) = counters(step).find(is_past).and_then(|_| self.in_force_with(step, at)) {
                return Err(
                    EngineError::NoPeriod { contract: step.agreement.head.id.clone(), term: term.clone(), at }.into()
                );
            }
        }
        Ok(())
    }

    /// The term in force that a step is, or one that draws on it.
    fn in_force_with(&self, step: &'a Step<'a>, at: Instant) -> Option<&'a TermId> {
        match &step.work {
            Work::Term(term) => self.streams.get(step.stream.place())?.stretch_at(at).map(|_| &term.id),
            Work::Amount(_) | Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => {
                self.drawing(self.steps(), step.stream, at).into_iter().next()
            }
        }
    }
}

/// What a step counts in windows.
fn counters<'s>(step: &'s Step<'_>) -> impl Iterator<Item = &'s Counting> {
    // A figure is read at an instant, whatever window that lies in.
    let is_read =
        |tiers: &Tiers| matches!(tiers.apply, Apply::Level(_)) && matches!(tiers.of, Some(Measure::Figure(_)));
    let own = match &step.work {
        Work::Base(base, _) => base.above.as_ref().map(|above| &above.counting),
        Work::Amount(amount) => amount.tiers.as_ref().filter(|it| !is_read(it)).map(|tiers| &tiers.counting),
        Work::Term(term) => term.tiers.as_ref().filter(|it| !is_read(it)).map(|tiers| &tiers.counting),
        Work::Figure(..) | Work::Gauge(_) => None,
    };
    own.into_iter().chain(step.cap.map(|(_, cap)| &cap.counting))
}
