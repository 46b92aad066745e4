//! Caps: what accrues is a function of the running sum, `T0 + min(max(0, cap - T0), sum)` (CONTRACTS section 4).

use super::outcome::CapUse;
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use std::collections::VecDeque;

/// How far a cap is used up in its window.
#[derive(Clone, Debug)]
pub struct CapState<T> {
    pub limit: Exact,
    /// What stood against the cap when it came into force, or was changed.
    t0: Exact,
    /// How far that lets terms come since, which is nowhere where it stood above the limit.
    room: Exact,
    /// What terms wanted since.
    sum: Exact,
    /// How much has accrued under it: `T0 + min(room, sum)`.
    used: Exact,
    pub window_end: Instant,
    /// What found no room and is paid when room comes, the first to come first.
    waiting: VecDeque<(T, Exact)>,
}

/// What an accrual finds, and how far the cap is used up before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub amount: Exact,
    pub used: CapUse,
}

impl<T: Clone + PartialEq> CapState<T> {
    pub fn new(limit: Exact, t0: Exact, window_end: Instant) -> Self {
        let room = (&limit - &t0).max(Exact::zero());
        Self { limit, used: t0.clone(), t0, room, sum: Exact::zero(), window_end, waiting: VecDeque::new() }
    }

    /// What terms wanted since it came into force, or was changed.
    pub fn sum(&self) -> &Exact {
        &self.sum
    }

    /// How far that could go: from there on nothing finds room.
    pub fn room_at_start(&self) -> &Exact {
        &self.room
    }

    /// How far it still can go: below what stood when it was lowered, up to that.
    fn left(&self) -> Exact {
        (&self.room - &self.sum).max(Exact::zero())
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whose excess waits.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(term, _)| term)
    }

    /// Takes room for what a term wants. A negative line reduces the total only as far as the sum falls under the
    /// cap: what found no room before fills it.
    pub fn take(&mut self, wanted: &Exact) -> Taken {
        let (limit, before) = (self.limit.clone(), self.used.clone());
        let had_room = self.sum <= self.room;
        self.sum += wanted;
        let amount = if had_room && self.sum <= self.room {
            self.used += wanted;
            wanted.clone()
        } else {
            self.used = &self.t0 + (&self.sum).min(&self.room);
            &self.used - &before
        };
        Taken { amount, used: CapUse { limit, before, after: self.used.clone() } }
    }

    /// As `take`, but what finds no room waits. A line below zero is filled by what waits of its own term, where that is
    /// the first to come; it makes room for what waits of others (`release` pays it).
    pub fn take_or_wait(&mut self, term: T, wanted: &Exact) -> Taken {
        let wanted = self.fill(&term, wanted.clone());
        let taken = self.take((&wanted).min(&self.left()));
        let rest = &wanted - &taken.amount;
        if !rest.is_zero() {
            self.waiting.push_back((term, rest));
        }
        taken
    }

    fn fill(&mut self, term: &T, mut wanted: Exact) -> Exact {
        while wanted.is_negative()
            && let Some((_, rest)) = self.waiting.front_mut().filter(|(first, _)| first == term)
        {
            wanted += &*rest;
            if wanted > Exact::zero() {
                *rest = std::mem::take(&mut wanted);
            } else {
                self.waiting.pop_front();
            }
        }
        wanted
    }

    /// Pays what waits as far as there is room.
    pub fn release(&mut self) -> Vec<(T, Taken)> {
        let mut paid = Vec::new();
        while let Some((term, rest)) = self.waiting.pop_front() {
            let taken = self.take((&rest).min(&self.left()));
            let left = &rest - &taken.amount;
            let is_full = !left.is_zero();
            if !taken.amount.is_zero() {
                paid.push((term.clone(), taken));
            }
            if is_full {
                self.waiting.push_front((term, left));
                break;
            }
        }
        paid
    }

    /// Begins a new window, or is changed by a later version, of which what accrued stands. What waits goes on waiting.
    pub fn change(&mut self, limit: Exact, t0: Exact, window_end: Instant) {
        *self = Self { waiting: std::mem::take(&mut self.waiting), ..Self::new(limit, t0, window_end) };
    }

    /// What waits, of the terms that `is_of` tells: all of it where a version drops the cap.
    pub fn drain(&mut self, is_of: impl Fn(&T) -> bool) -> Vec<(T, Exact)> {
        let (taken, left) = std::mem::take(&mut self.waiting).into_iter().partition(|(term, _)| is_of(term));
        self.waiting = left;
        let taken: VecDeque<(T, Exact)> = taken;
        taken.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(value: i64) -> Exact {
        Exact::from_integer(value)
    }

    #[test]
    fn a_refund_is_filled_by_what_found_no_room() {
        // Case 3: 140 wanted under 100; a refund of 20 leaves 120, of 90 more 30.
        let mut cap: CapState<()> = CapState::new(exact(100), exact(0), Instant::MAX_UTC);
        let amounts: Vec<Exact> = [60, 80, -20, -90].map(|it| cap.take(&exact(it)).amount).to_vec();
        assert_eq!(amounts, [60, 40, 0, -70].map(exact));
        assert_eq!(cap.used, exact(30));
    }

    #[test]
    fn what_stood_before_a_change_stands() {
        let mut cap: CapState<()> = CapState::new(exact(50), exact(200), Instant::MAX_UTC);
        assert_eq!(cap.take(&exact(10)).amount, exact(0));
        assert_eq!(cap.take(&exact(-15)).amount, exact(-5), "the total returns to what stood, and falls below it");
        assert_eq!(cap.take(&exact(100)).amount, exact(5), "and never rises above it");
    }

    #[test]
    fn deferred_excess_is_paid_when_room_comes() {
        let mut cap = CapState::new(exact(100), exact(0), Instant::MAX_UTC);
        assert_eq!(cap.take_or_wait("a", &exact(150)).amount, exact(100));
        assert_eq!(cap.take_or_wait("b", &exact(-30)).amount, exact(-30));
        assert_eq!(
            cap.release().into_iter().map(|(term, it)| (term, it.amount)).collect::<Vec<_>>(),
            [("a", exact(30))]
        );
        assert_eq!(cap.take_or_wait("a", &exact(-5)).amount, exact(0), "filled by what waits of its own");
        assert_eq!(cap.take_or_wait("a", &exact(5)).amount, exact(0));
        cap.change(exact(100), exact(0), Instant::MAX_UTC);
        assert_eq!(cap.release().into_iter().map(|(_, it)| it.amount).collect::<Vec<_>>(), [15, 5].map(exact));
        assert_eq!(cap.take_or_wait("a", &exact(100)).amount, exact(80));
        assert_eq!(cap.drain(|_| true), [("a", exact(20))]);
    }
}
