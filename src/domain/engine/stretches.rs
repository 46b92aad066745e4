//! Stretches of time: in which usage is summed, and in which it is told item by item.
//!
//! A run says which sums it cannot vouch for. Those stretches are cut finer, into days, hours and at last items, until
//! it vouches for all: then sums yield what every item in its order would.

use crate::domain::period::{Instant, Span, start_of_day, start_of_hour};
use chrono::TimeDelta;
use chrono_tz::Tz;

/// How usage reaches the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// One by one.
    Items,
    /// Summed wherever nothing decides on it, as the service reads it. Amounts are the same; what found no room under a
    /// cap is told of opened stretches alone.
    Sums,
}

/// All time of a run, cut into what is summed and what is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretches {
    /// Usage is summed within each; in the order of time.
    pub summed: Vec<Span>,
    /// Usage is told item by item.
    pub opened: Vec<Span>,
}

impl Stretches {
    /// The stretches between instants, which rise.
    pub fn between(edges: &[Instant]) -> Self {
        let summed = edges.windows(2).filter_map(|pair| match pair {
            [start, end] => Some(Span { start: *start, end: *end }),
            _ => None,
        });
        Self { summed: summed.collect(), opened: Vec::new() }
    }

    /// Puts finer stretches in the place of some that cannot stay summed, and returns those.
    pub fn open(&mut self, unsure: &[Span]) -> Self {
        let finer = Self::opening(unsure);
        self.summed.retain(|span| !unsure.contains(span));
        self.summed.extend(&finer.summed);
        self.opened.extend(&finer.opened);
        finer
    }

    /// What takes the place of stretches that cannot stay summed.
    fn opening(unsure: &[Span]) -> Self {
        let mut found = Self::default();
        for span in unsure {
            match cuts(*span) {
                None => found.opened.push(*span),
                Some(cuts) => {
                    let edges: Vec<Instant> = [span.start].into_iter().chain(cuts).chain([span.end]).collect();
                    found.summed.extend(Self::between(&edges).summed);
                }
            }
        }
        found
    }
}

/// Where a stretch is cut: at the days of UTC within it, else at the hours; none where there are none.
fn cuts(span: Span) -> Option<Vec<Instant>> {
    let next_day = |at: Instant| at.date_naive().succ_opt().map(|day| start_of_day(Tz::UTC, day));
    let next_hour = |at: Instant| start_of_hour(at).checked_add_signed(TimeDelta::hours(1));
    let within = |next: &dyn Fn(Instant) -> Option<Instant>| -> Vec<Instant> {
        std::iter::successors(next(span.start), |at| next(*at)).take_while(|at| *at < span.end).collect()
    };
    let days = within(&next_day);
    let cuts = if days.is_empty() { within(&next_hour) } else { days };
    (!cuts.is_empty()).then_some(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::period::parse_instant;

    fn span(start: &str, end: &str) -> Span {
        let at = |text: &str| parse_instant(text).expect("an instant");
        Span { start: at(start), end: at(end) }
    }

    #[test]
    fn a_stretch_opens_to_days_hours_and_items() {
        let days = Stretches::opening(&[span("2026-05-01T07:00:00Z", "2026-05-03T07:00:00Z")]);
        let expected = [
            span("2026-05-01T07:00:00Z", "2026-05-02T00:00:00Z"),
            span("2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"),
            span("2026-05-03T00:00:00Z", "2026-05-03T07:00:00Z"),
        ];
        assert_eq!(days, Stretches { summed: expected.to_vec(), opened: Vec::new() });
        let hours = Stretches::opening(&[span("2026-05-03T05:30:00Z", "2026-05-03T07:00:00Z")]);
        let expected = [
            span("2026-05-03T05:30:00Z", "2026-05-03T06:00:00Z"),
            span("2026-05-03T06:00:00Z", "2026-05-03T07:00:00Z"),
        ];
        assert_eq!(hours.summed, expected);
        assert_eq!(Stretches::opening(&expected), Stretches { summed: Vec::new(), opened: expected.to_vec() });
    }
}
