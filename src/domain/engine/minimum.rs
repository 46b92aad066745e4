//! Minima: what is owed on top, window by window, so that at least so much is owed or spent (CONTRACTS section 3).

use crate::domain::contract::term::{Carry, Minimum};
use crate::domain::money::Exact;
use std::collections::VecDeque;

/// What earlier windows left for later ones.
#[derive(Clone, Debug, Default)]
pub struct MinimumState {
    /// Spend above earlier minima, the oldest first, and for how many windows it still counts.
    excess: VecDeque<(Exact, Option<u32>)>,
    /// What earlier windows lack and is not due yet, and in how many windows it will be.
    lacking: VecDeque<(Exact, Option<u32>)>,
    minima: Exact,
    counted: Exact,
    topped_up: Exact,
}

impl MinimumState {
    /// The top-up at the end of a window of which the minimum `is` so much; below zero where a cumulative minimum
    /// takes an earlier one back. `limit` is the most that is carried.
    pub fn close(
        &mut self,
        minimum: &Minimum,
        is: &Exact,
        limit: Option<Exact>,
        counted: &Exact,
        is_last: bool,
    ) -> Exact {
        if minimum.is_cumulative {
            return self.close_cumulative(is, counted);
        }
        match minimum.carry {
            Carry::None => (is - counted).max(Exact::zero()),
            Carry::Excess => self.close_with_excess(minimum, is, limit, counted),
            Carry::Shortfall => self.close_with_shortfall(minimum, is, limit, counted, is_last),
        }
    }

    /// `accrued + top-ups through window n = max(sum of minima, sum accrued)`.
    fn close_cumulative(&mut self, is: &Exact, counted: &Exact) -> Exact {
        self.minima += is;
        self.counted += counted;
        let through = (&self.minima - &self.counted).max(Exact::zero());
        let top_up = &through - &self.topped_up;
        self.topped_up = through;
        top_up
    }

    /// Carried excess is used before new spend counts as excess.
    fn close_with_excess(&mut self, minimum: &Minimum, is: &Exact, limit: Option<Exact>, counted: &Exact) -> Exact {
        self.keep_within(limit);
        let mut open = is.clone();
        while let Some((carried, windows)) = self.excess.pop_front() {
            let used = carried.clone().min(open.clone());
            open = &open - &used;
            if used < carried {
                self.excess.push_front((&carried - &used, windows));
                break;
            }
        }
        let excess = (counted - &open).max(Exact::zero());
        for (_, windows) in &mut self.excess {
            *windows = windows.map(|it| it.saturating_sub(1));
        }
        self.excess.retain(|(_, windows)| *windows != Some(0));
        if !excess.is_zero() {
            self.excess.push_back((excess, minimum.carry_windows));
        }
        (open - counted.clone()).max(Exact::zero())
    }

    /// What lacks is due so many windows later unless made good, and at the latest with the last.
    fn close_with_shortfall(
        &mut self,
        minimum: &Minimum,
        is: &Exact,
        limit: Option<Exact>,
        counted: &Exact,
        is_last: bool,
    ) -> Exact {
        let mut above = (counted - is).max(Exact::zero());
        while let Some((lacks, windows)) = self.lacking.pop_front() {
            let made_good = lacks.clone().min(above.clone());
            above = &above - &made_good;
            if made_good < lacks {
                self.lacking.push_front((&lacks - &made_good, windows));
                break;
            }
        }
        let mut due = Exact::zero();
        for (_, windows) in &mut self.lacking {
            *windows = windows.map(|it| it.saturating_sub(1));
        }
        let mut lacks = (is - counted).max(Exact::zero());
        // What exceeds the limit is not carried: it is due at once.
        if let Some(limit) = limit {
            let carried = lacks.clone().min(limit);
            due += &(&lacks - &carried);
            lacks = carried;
        }
        if !lacks.is_zero() {
            self.lacking.push_back((lacks, minimum.carry_windows));
        }
        let is_due = |windows: &Option<u32>| is_last || *windows == Some(0);
        due = self.lacking.iter().filter(|(_, windows)| is_due(windows)).fold(due, |sum, (lacks, _)| &sum + lacks);
        self.lacking.retain(|(_, windows)| !is_due(windows));
        due
    }

    /// Of what is carried into a window the oldest is kept, up to the limit.
    fn keep_within(&mut self, limit: Option<Exact>) {
        let Some(mut room) = limit else { return };
        for (carried, _) in &mut self.excess {
            *carried = carried.clone().min(room.clone());
            room = &room - carried;
        }
        self.excess.retain(|(carried, _)| !carried.is_zero());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::contract::term::{CarryLimit, Shortfall};
    use crate::domain::contract::window::WindowRule;

    fn minimum(carry: Carry, carry_limit: Option<CarryLimit>, carry_windows: Option<u32>) -> Minimum {
        Minimum {
            is: Exact::zero().into(),
            each: WindowRule::Period,
            of: Vec::new(),
            is_cumulative: false,
            carry,
            carry_limit,
            carry_windows,
            shortfall: Shortfall::Due,
            is_outside_cap: false,
            pro_rata: None,
            due: None,
        }
    }

    /// The top-ups of windows with a minimum of 100 each, the last one the last of the term.
    fn top_ups<const N: usize>(minimum: &Minimum, counted: [i64; N]) -> [String; N] {
        let mut state = MinimumState::default();
        let mut left = N;
        counted.map(|counted| {
            left -= 1;
            let limit = match &minimum.carry_limit {
                Some(CarryLimit::Amount(limit)) => Some(limit.clone()),
                Some(CarryLimit::Part(_)) | None => None,
            };
            let (is, counted) = (Exact::from_integer(100), Exact::from_integer(counted));
            let top_up = state.close(minimum, &is, limit, &counted, left == 0);
            top_up.to_string()
        })
    }

    #[test]
    fn a_cumulative_guarantee_takes_earlier_top_ups_back() {
        let cumulative = Minimum { is_cumulative: true, ..minimum(Carry::None, None, None) };
        assert_eq!(top_ups(&cumulative, [150, 60, 50]), ["0", "0", "40"]);
        assert_eq!(top_ups(&cumulative, [60, 150, 10]), ["40", "-40", "80"]);
    }

    #[test]
    fn excess_counts_in_later_windows() {
        assert_eq!(top_ups(&minimum(Carry::Excess, None, None), [150, 60, 50]), ["0", "0", "40"]);
        let limited = minimum(Carry::Excess, Some(CarryLimit::Amount(Exact::from_integer(30))), None);
        assert_eq!(top_ups(&limited, [150, 60, 50]), ["0", "10", "50"]);
        let one_window = minimum(Carry::Excess, None, Some(1));
        assert_eq!(top_ups(&one_window, [150, 100, 60]), ["0", "0", "0"], "new spend is excess again");
        assert_eq!(top_ups(&one_window, [300, 100, 0]), ["0", "0", "0"], "100 of 2027 are new excess");
        assert_eq!(top_ups(&one_window, [300, 0, 0]), ["0", "0", "100"], "what is left of 200 has lapsed");
    }

    #[test]
    fn a_carried_shortfall_is_made_good_or_due() {
        let one_window = minimum(Carry::Shortfall, None, Some(1));
        assert_eq!(top_ups(&one_window, [60, 130, 100, 100]), ["0", "10", "0", "0"]);
        assert_eq!(top_ups(&one_window, [60, 100, 90]), ["0", "40", "10"], "the last window's is due with it");
        assert_eq!(top_ups(&minimum(Carry::Shortfall, None, None), [60, 100, 150]), ["0", "0", "0"]);
    }
}
