//! Counters: how far a measure has come since a date, in a window that resets.

use super::knowledge::Knowledge;
use super::life::{calendar, instant};
use crate::domain::contract::Contract;
use crate::domain::contract::window::{Counting, WindowRule};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span, local_date};

/// What was counted since the window began.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    pub count: Exact,
    /// What the window before came to.
    pub previous: Exact,
    /// The window that it counts in, and by which rule.
    window: Option<Span>,
    each: Option<WindowRule>,
    /// When it last counted.
    last: Option<Instant>,
}

impl Counter {
    /// Whether anything counts at an instant; a window that is over begins anew.
    pub fn counts(&mut self, agreement: &Contract, counting: &Counting, known: &Knowledge, at: Instant) -> bool {
        if instant(agreement, &counting.from, known).is_none_or(|from| at < from) {
            return false;
        }
        // By another rule it goes on in the window of that, unless this has just begun.
        let is_reworded = self.each.as_ref().is_some_and(|each| *each != counting.each);
        if is_reworded || self.window.is_none_or(|window| window.end <= at) {
            let date = local_date(at, agreement.head.zone);
            let span = |date| {
                let window = calendar(agreement, &counting.each, known).and_then(|calendar| calendar.window(date));
                window.map(|window| window.span(agreement.head.zone))
            };
            let window = span(date);
            if let Some((last, window)) = self.last.zip(window).filter(|(last, window)| last < &window.start) {
                let count = std::mem::take(&mut self.count);
                // In a window between nothing may have counted at all.
                let is_before = span(local_date(last, agreement.head.zone)).is_some_and(|it| it.end == window.start);
                self.previous = if is_before { count } else { Exact::zero() };
            }
            let ever = Span { start: at, end: Instant::MAX_UTC };
            (self.window, self.each) = (Some(window.unwrap_or(ever)), Some(counting.each.clone()));
        }
        self.last = Some(at);
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
