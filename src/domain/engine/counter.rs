//! Counters: how far a measure has come since a date, in a window that resets.

use super::knowledge::Knowledge;
use super::life::{calendar, instant};
use crate::domain::contract::Contract;
use crate::domain::contract::window::Counting;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span, local_date};

/// What was counted since the window began.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    pub count: Exact,
    /// What the window before came to.
    pub previous: Exact,
    /// The window that it counts in.
    window: Option<Span>,
}

impl Counter {
    /// Whether anything counts at an instant; a window that is over begins anew.
    pub fn counts(&mut self, agreement: &Contract, counting: &Counting, known: &Knowledge, at: Instant) -> bool {
        if instant(agreement, &counting.from, known).is_none_or(|from| at < from) {
            return false;
        }
        if self.window.is_some_and(|window| window.end <= at) {
            *self = Self { previous: std::mem::take(&mut self.count), ..Self::default() };
        }
        if self.window.is_none() {
            let date = local_date(at, agreement.head.zone);
            let window = calendar(agreement, &counting.each, known).and_then(|calendar| calendar.window(date));
            let ever = Span { start: at, end: Instant::MAX_UTC };
            self.window = Some(window.map_or(ever, |window| window.span(agreement.head.zone)));
        }
        true
    }

    /// What the window of an instant came to, where that is the present one or the one before.
    pub fn in_window_of(&self, at: Instant) -> &Exact {
        match self.window {
            Some(window) if at < window.start => &self.previous,
            _ => &self.count,
        }
    }
}

/// How much of a step from `before` to `before + step` lies above `edge`; negative where the step goes down.
pub fn part_above(before: &Exact, step: &Exact, edge: &Exact) -> Exact {
    let above = |count: &Exact| (count - edge).max(Exact::zero());
    above(&(before + step)) - above(before)
}
