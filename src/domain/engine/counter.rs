//! Counters: how far a measure has come since a date, in a window that resets.

use super::knowledge::Knowledge;
use super::life::{calendar, instant};
use crate::domain::contract::version::Agreement;
use crate::domain::contract::window::Counting;
use crate::domain::money::Exact;
use crate::domain::period::Instant;

/// What was counted since the window began.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    pub count: Exact,
    /// What the window before came to.
    pub previous: Exact,
    /// When it resets.
    window_end: Option<Instant>,
}

impl Counter {
    /// Whether anything counts at an instant; a window that is over begins anew.
    pub fn counts(&mut self, agreement: &Agreement, counting: &Counting, known: &Knowledge, at: Instant) -> bool {
        if instant(agreement, &counting.from, known).is_none_or(|from| at < from) {
            return false;
        }
        if self.window_end.is_some_and(|end| end <= at) {
            *self = Self { previous: std::mem::take(&mut self.count), ..Self::default() };
        }
        if self.window_end.is_none() {
            let date = at.with_timezone(&agreement.zone).date_naive();
            let window = calendar(agreement, &counting.each, known).and_then(|calendar| calendar.window(date));
            self.window_end = Some(window.map_or(Instant::MAX_UTC, |window| window.span(agreement.zone).end));
        }
        true
    }
}

/// How much of a step from `before` to `before + step` lies above `edge`; negative where the step goes down.
pub fn part_above(before: &Exact, step: &Exact, edge: &Exact) -> Exact {
    let above = |count: &Exact| (count - edge).max(Exact::zero());
    above(&(before + step)) - above(before)
}
