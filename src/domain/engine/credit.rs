//! Credits: what a term accrues pays others back first, such as an advance. What is owed the other way is in `src/domain/engine/set_off.rs`.

use super::Stop;
use super::item::AttributesId;
use super::outcome::Lines;
use super::plan::{Step, StreamId};
use super::run::Engine;
use super::state::Wanted;
use crate::domain::contract::term::{Credit, Rest, Term};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use std::collections::BTreeMap;

/// How far a term is paid back by others. Since each payment, `R0 + min(balance, sum of accruals since)`.
#[derive(Clone, Debug, Default)]
pub(super) struct PaidBack {
    before: Exact,
    balance: Exact,
    /// What was paid and is not to be paid back.
    lost: Exact,
    by: BTreeMap<StreamId, Recouper>,
    /// What lines have told of.
    told: Exact,
}

/// What one of the others has paid back, and what it accrued since the last payment.
#[derive(Clone, Debug, Default)]
struct Recouper {
    before: Exact,
    since: Exact,
    /// The most that it pays back in all.
    limit: Option<Exact>,
}

impl Recouper {
    /// What was paid back before stands, though a version lowered the limit.
    fn counted(&self) -> Exact {
        match &self.limit {
            Some(limit) => self.since.clone().min((limit - &self.before).max(Exact::zero())),
            None => self.since.clone(),
        }
    }
}

impl PaidBack {
    /// What was paid back since the last payment.
    fn since(&self) -> Exact {
        self.balance.clone().min(self.by.values().map(Recouper::counted).sum())
    }

    fn total(&self) -> Exact {
        &self.before + &self.since()
    }

    /// What is still to be paid back.
    fn left(&self) -> Exact {
        &self.balance - &self.since()
    }

    /// So much more was paid, and is to be paid back. Where it is less, that comes off what was lost first, and then off
    /// what was paid back.
    pub fn pay(&mut self, amount: &Exact) {
        let mut since = self.since();
        self.before += &since;
        self.balance = &(&self.balance - &since) + amount;
        for payer in self.by.values_mut() {
            let part = payer.counted().min(since.clone());
            since = &since - &part;
            payer.before += &part;
            payer.since = Exact::zero();
        }
        if self.balance.is_negative() {
            let of_lost = (-self.balance.clone()).min(self.lost.clone());
            self.lost = &self.lost - &of_lost;
            // Nothing is given back that was not paid back before.
            let least = -self.before.clone().max(Exact::zero());
            self.balance = (&self.balance + &of_lost).max(least);
        }
    }

    /// What is paid back beyond what lines have told of, below zero where less is: the next line tells it.
    pub fn untold(&mut self) -> Exact {
        let total = self.total();
        let untold = &total - &self.told;
        self.told = total;
        untold
    }

    /// What is left is not to be paid back any more.
    pub fn lose_rest(&mut self) {
        self.lost += &self.left();
        self.balance = self.since();
    }

    /// What is left is paid back at once; how much that is.
    fn repay_rest(&mut self) -> Exact {
        let left = self.left();
        self.balance = self.since();
        self.before += &left;
        self.told += &left;
        left
    }

    /// Pays back out of what another accrues; how much that is.
    pub fn pay_back(&mut self, by: StreamId, amount: &Exact, limit: Option<Exact>) -> Exact {
        if self.by.get(&by).is_some_and(|payer| payer.limit != limit) {
            self.pay(&Exact::zero());
        }
        let payer = self.by.entry(by).or_default();
        payer.since += amount;
        payer.limit = limit;
        self.untold()
    }
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Pays back out of an accrual what the same party paid in advance, and keeps the rest of it for the set-off at the end
    /// of the settlement period: until then more may be owed, either way.
    pub(super) fn recoup(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        (from, at): (AttributesId, Instant),
        amount: &Exact,
    ) -> Result<(), Stop> {
        let (mut left, mut sets_off) = (amount.clone(), false);
        for (credit, of) in term.credits.iter().zip(&step.credits) {
            match self.term_step(*of) {
                Some((_, other)) if other.payer != term.payer => sets_off = true,
                Some(other) => left = &left - &self.pay_back(step, (credit, other), (from, at), &left)?,
                None => {}
            }
        }
        if sets_off && let Some(state) = self.group_state(step.stream, from) {
            state.to_set_off += &left;
        }
        Ok(())
    }

    /// An accrual pays another term back before anything is paid out: a line of that term, below zero. How much that is.
    fn pay_back(
        &mut self,
        by: &'a Step<'a>,
        (credit, (step, term)): (&'a Credit, (&'a Step<'a>, &'a Term)),
        (from, at): (AttributesId, Instant),
        amount: &Exact,
    ) -> Result<Exact, Stop> {
        let limit = credit.limit.as_ref().map(|limit| self.number(by, limit, from, (at, None))).transpose()?;
        let group = self.group(&term.per, step, from, at);
        let Some(state) = self.group_state(step.stream, group) else { return Ok(Exact::zero()) };
        let was_over = state.paid_back.left().is_zero();
        let paid = state.paid_back.pay_back(by.stream, amount, limit);
        let is_whole = paid == *amount && !state.paid_back.left().is_zero();
        // A payment among what pays it back.
        let is_of_items = term.on.is_none() && !step.is_of_window;
        if is_of_items || amount.is_negative() || !(was_over || is_whole) {
            self.needs_items();
        }
        self.book_paid_back(step, term, group, at, paid.clone())?;
        Ok(paid)
    }

    pub(super) fn book_paid_back(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        group: AttributesId,
        at: Instant,
        paid: Exact,
    ) -> Result<(), Stop> {
        if paid.is_zero() {
            return Ok(());
        }
        let wanted = Wanted::paid_back(group, at, paid);
        self.book(step, term, &wanted, &wanted.amount, None)?;
        self.emit(step.stream, group, at, wanted.amount)
    }

    /// What becomes of the rest of an advance once nothing pays it back any more: it is repaid or lost, or waits for a term
    /// to come back.
    pub(super) fn settle_rest(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        (last, end): (Instant, Instant),
    ) -> Result<(), Stop> {
        for (credit, of) in term.credits.iter().zip(&step.credits) {
            if credit.rest == Rest::Carried || !self.is_last_to_pay_back(step, *of, end) {
                continue;
            }
            let Some((of_step, of_term)) = self.term_step(*of).filter(|(_, of)| of.payer == term.payer) else {
                continue;
            };
            for group in self.groups_of(*of, |group| !group.paid_back.left().is_zero()) {
                let Some(state) = self.group_state(*of, group) else { continue };
                if credit.rest == Rest::Repaid {
                    let left = state.paid_back.repay_rest();
                    self.book_paid_back(of_step, of_term, group, last, left)?;
                } else {
                    state.paid_back.lose_rest();
                }
            }
        }
        Ok(())
    }

    /// Whether a step is the last to pay another back: it ends then, none goes on, and none that ends then comes after it.
    fn is_last_to_pay_back(&self, step: &Step<'a>, of: StreamId, end: Instant) -> bool {
        let is_any = |step: &Step<'a>, is_it: fn(&Span, Instant) -> bool| {
            let state = self.streams.get(step.stream.place());
            state.is_some_and(|state| state.stretches.iter().any(|stretch| is_it(&stretch.span, end)))
        };
        let pays_back = |step: &&Step<'a>| step.credits.contains(&of);
        let mut ending = self.closing().filter(pays_back).filter(|step| is_any(step, |span, end| span.end == end));
        let later = self.next_epoch(end).map_or(self.steps(), |next| next.steps.as_slice());
        let goes_on = later.iter().filter(pays_back).any(|step| is_any(step, |span, end| span.contains(end)));
        !goes_on && ending.next_back().is_some_and(|last| last.stream == step.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::engine::arena::Arena;

    #[test]
    fn a_limit_is_of_all_that_is_paid_back() {
        let mut streams = Arena::default();
        let name = super::super::plan::StreamName::Term("rs".into());
        let by = streams.push(super::super::plan::Stream { agreement: 0, name });
        let exact = Exact::from_integer;
        let mut state = PaidBack::default();
        state.pay(&exact(20));
        let paid = |state: &mut PaidBack, amount| state.pay_back(by, &exact(amount), Some(exact(50)));
        assert_eq!([15, 15, -15].map(|it| paid(&mut state, it)), [15, 5, -5].map(exact));
        state.pay(&exact(100));
        assert_eq!([30, 40, -50, 100].map(|it| paid(&mut state, it)), [30, 5, -15, 15].map(exact), "15 + 35 is 50");
        assert_eq!((state.total(), state.left()), (exact(50), exact(70)));
        state.pay(&exact(-80));
        assert_eq!(state.untold(), exact(-10), "40 are owed in all, and 50 were paid back");
        assert_eq!(paid(&mut state, 0), exact(0));
        let mut owed_the_other_way = PaidBack::default();
        owed_the_other_way.pay(&exact(-100));
        assert_eq!(owed_the_other_way.untold(), exact(0), "nothing was paid back");
    }
}
