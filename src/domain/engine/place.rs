//! Where in the life of its term something lies: in which of its windows, for rows that name its place, and in its tail.

use super::life::{calendar, instant};
use super::outcome::Lines;
use super::plan::{Step, Work};
use super::run::Engine;
use crate::domain::contract::value::Table;
use crate::domain::contract::window::Counting;
use crate::domain::period::{Instant, local_date};

impl<'a, L: Lines> Engine<'a, L> {
    /// The place of the window in which an item lies, where a table asks for it. It changes at boundaries alone.
    pub(super) fn place_at_item(&self, step: &Step<'a>, table: &Table, at: Instant) -> Option<u32> {
        if !table.tells_windows_apart() {
            return None;
        }
        let each = match &step.work {
            Work::Base(base, _) => return self.place_since(step, &base.above.as_ref()?.counting, at),
            Work::Amount(amount) => amount.each.as_ref(),
            Work::Term(term) => term.each.as_ref(),
            Work::Figure(..) | Work::Gauge(_) => None,
        };
        self.window_place(step, each?, at).map(|place| place.ordinal)
    }

    /// The place of a counter's window since it began to count.
    fn place_since(&self, step: &Step<'a>, counting: &Counting, at: Instant) -> Option<u32> {
        let zone = step.agreement.head.zone;
        let from = instant(step.agreement, &counting.from, self.known)?;
        let calendar = calendar(step.agreement, &counting.each, self.known)?;
        let (first, whole) = (calendar.window(local_date(from, zone))?, calendar.window(local_date(at, zone))?);
        calendar.ordinal(whole, first.first_day)
    }

    /// Whether a term goes on after its end then, without what it guarantees.
    pub(super) fn is_in_tail(&self, step: &Step<'a>, at: Instant) -> bool {
        let state = self.streams.get(step.stream.place());
        state.and_then(|state| state.stretch_at(at)).is_some_and(|stretch| stretch.is_tail)
    }

    /// When a term began that is in force at an instant: its tail goes on in the windows of what it follows.
    pub(super) fn began(&self, step: &Step<'a>, life_start: Instant) -> Instant {
        let state = self.streams.get(step.stream.place());
        let is_tail = |start| {
            let mut stretches = state.into_iter().flat_map(|state| &state.stretches);
            stretches.any(|stretch| stretch.is_tail && stretch.span.start == start)
        };
        let lives = state.into_iter().flat_map(|state| &state.lives);
        let before = lives.filter(|life| life.end <= life_start).map(|life| life.start).max();
        before.filter(|_| is_tail(life_start)).unwrap_or(life_start)
    }
}
