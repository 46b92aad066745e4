//! What is decided on a window: whole tiers, the greater or lesser of two, fixed sums, and minima.

use crate::auditor::{Auditor, Place};
use crate::known::Missing;
use crate::model::{Carry, Each, How, Micros, Name, Other, ProRata, Q, Term, ratio};
use crate::time::{Window, date_of, start_of, window_at, years};
use chrono::NaiveDate;
use num_traits::Zero;

/// What a term has come to in its open windows.
#[derive(Default)]
pub struct Windowed {
    /// What counted, at no rate, at its rate, and at its other rate.
    base: Q,
    one: Q,
    other: Q,
    /// What the window yielded in the periods before.
    yielded: Q,
    /// Toward a minimum.
    pub counted: Q,
    excess: Q,
    shortfall: Q,
    sum_of_minima: Q,
    sum_in_all: Q,
}

impl Windowed {
    pub fn add(&mut self, term: &Term, base: &Q) {
        self.base += base;
        if let How::Either { rate, other, .. } = &term.how {
            self.one += base * rate;
            if let Other::Rate(rate) = other {
                self.other += base * rate;
            }
        }
    }
}

impl<'h> Auditor<'h> {
    pub fn close_windows(&mut self, contract: usize, term: &'h Term, at: Micros) -> Result<(), Missing> {
        let (each, at_window_end) = match &term.how {
            How::Tiers { is_whole: true, each, .. } => (*each, false),
            How::Either { each: Some(each), other, .. } => (*each, matches!(other, Other::Amount(_))),
            How::Fixed { each, .. } => (*each, true),
            _ => return Ok(()),
        };
        let zone = self.contract(contract).zone;
        let window = window_at(zone, each, at - 1);
        let is_over = start_of(zone, window.end) <= at || self.term(contract, term.name, at).is_none();
        let ends_period = start_of(zone, self.period(contract, at - 1).end) == at;
        if !is_over && (at_window_end || !ends_period) {
            return Ok(());
        }
        if !term.per_country {
            self.states.entry((contract, term.name, None)).or_default();
        }
        let places: Vec<Place> =
            self.states.keys().filter(|it| (it.0, it.1) == (contract, term.name)).copied().collect();
        for place in places {
            let part = self.part(place, term, window, at);
            let year = match &term.how {
                How::Tiers { annual: Some(day_count), .. } => years(*day_count, self.cut(place, window, at)),
                _ => ratio(1, 1),
            };
            let state = self.states.get_mut(&place).expect("a state");
            // The counter goes on where the term comes back within its window.
            let counted = state.tiers.as_ref().filter(|it| it.0 == window).map(|it| it.1.clone()).unwrap_or_default();
            let state = &mut state.windowed;
            let value = value(term, state, (&part, &counted)) * &year;
            let amount = &value - &state.yielded;
            state.yielded = value;
            if is_over {
                (state.base, state.one, state.other, state.yielded) = (Q::zero(), Q::zero(), Q::zero(), Q::zero());
            }
            if !amount.is_zero() {
                self.accrue_alone(place, term, at - 1, amount)?;
            }
        }
        Ok(())
    }

    /// Which part of a window's amount holds where its term cuts it.
    fn part(&self, place: Place, term: &Term, window: Window, at: Micros) -> Q {
        let pro_rata = match (&term.how, &term.minimum) {
            (How::Fixed { pro_rata, .. }, _) => *pro_rata,
            _ => ProRata::Full,
        };
        self.part_of(place, pro_rata, window, at)
    }

    fn part_of(&self, place: Place, pro_rata: ProRata, window: Window, at: Micros) -> Q {
        let (first, after) = self.cut(place, window, at);
        if (first, after) == (window.first, window.end) {
            return ratio(1, 1);
        }
        match pro_rata {
            ProRata::Full => ratio(1, 1),
            ProRata::None => Q::zero(),
            ProRata::Days => ratio((after - first).num_days(), (window.end - window.first).num_days()),
            ProRata::Months => months(first, after) / months(window.first, window.end),
        }
    }

    /// The days of a window in which its term is in force: the first, and the one after the last.
    fn cut(&self, place: Place, window: Window, at: Micros) -> (NaiveDate, NaiveDate) {
        let zone = self.contract(place.0).zone;
        let (start, end) = self.life(place.0, place.1, at - 1);
        let last = date_of(zone, end.min(start_of(zone, window.end)) - 1);
        (date_of(zone, start).max(window.first), last.succ_opt().expect("a day"))
    }

    pub fn count_toward_minimum(&mut self, contract: usize, name: Name, at: Micros, amount: &Q) {
        // A commitment names what counts.
        let is_own = |it: &Term| it.minimum.is_some() && it.how != How::Commitment;
        let has_minimum = self.term(contract, name, at).is_some_and(is_own);
        if has_minimum {
            self.states.entry((contract, name, None)).or_default().windowed.counted += amount;
        }
    }

    pub fn close_minimum(&mut self, contract: usize, term: &'h Term, at: Micros) -> Result<(), Missing> {
        let Some(minimum) = &term.minimum else { return Ok(()) };
        let zone = self.contract(contract).zone;
        let window = window_at(zone, minimum.each, at - 1);
        let is_last = self.term(contract, term.name, at).is_none();
        if start_of(zone, window.end) > at && !is_last {
            return Ok(());
        }
        let place = (contract, term.name, None);
        let is = &minimum.is * self.part_of(place, minimum.pro_rata, window, at);
        let state = &mut self.states.entry(place).or_default().windowed;
        let counted = std::mem::take(&mut state.counted);
        let lacks = |counted: Q| (&is - counted).max(Q::zero());
        let top_up = match minimum.carry {
            Carry::None => lacks(counted),
            Carry::Excess => {
                let used = state.excess.clone().min(is.clone());
                let rest = &is - &used;
                state.excess += (&counted - &rest).max(Q::zero()) - used;
                (rest - counted).max(Q::zero())
            }
            Carry::Shortfall => {
                state.shortfall = (&state.shortfall + &is - counted).max(Q::zero());
                if is_last { std::mem::take(&mut state.shortfall) } else { Q::zero() }
            }
            Carry::Cumulative => {
                // What was topped up before is part of what there is.
                state.sum_of_minima += &is;
                state.sum_in_all += &counted;
                let should = state.sum_of_minima.clone().max(state.sum_in_all.clone());
                let is = &state.sum_in_all + &state.excess;
                let top_up = should - is;
                state.excess += &top_up;
                top_up
            }
        };
        if !top_up.is_zero() {
            let amount = self.accrue(contract, term, at - 1, top_up, !minimum.is_outside_cap);
            // A top-up makes good its own window, which is over.
            self.states.entry(place).or_default().windowed.counted = Q::zero();
            self.draw(place, at - 1, amount)?;
        }
        Ok(())
    }
}

fn value(term: &Term, state: &Windowed, (part, counted): (&Q, &Q)) -> Q {
    match &term.how {
        How::Tiers { bands, above, .. } => {
            let reached =
                bands.iter().find(|band| if band.is_inclusive { *counted <= band.edge } else { *counted < band.edge });
            &state.base * reached.map_or(above, |band| &band.rate)
        }
        How::Either { is_greater, other, .. } => {
            let other = match other {
                Other::Rate(_) => state.other.clone(),
                Other::Amount(amount) => amount * part,
            };
            let one = state.one.clone();
            if *is_greater { one.max(other) } else { one.min(other) }
        }
        How::Fixed { amount, .. } => amount * part,
        _ => Q::zero(),
    }
}

/// Whole months, and a rest by the days of its month.
fn months(first: NaiveDate, end: NaiveDate) -> Q {
    let (mut sum, mut at) = (Q::zero(), first);
    while at < end {
        let month = crate::time::window(Each::Month, at);
        let until = month.end.min(end);
        sum += ratio((until - at).num_days(), (month.end - month.first).num_days());
        at = until;
    }
    sum
}
