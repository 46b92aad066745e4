//! Credits: what a term accrues pays others back first, such as an advance or what is owed the other way.

use super::EngineError;
use super::item::AttributesId;
use super::outcome::{Cause, Lines};
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::term::Wanted;
use crate::domain::contract::term::{Credit, Rest, Term};
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use std::collections::BTreeMap;

/// How far a term is paid back by others. Since each payment, `R0 + min(balance, sum of accruals since)`.
#[derive(Clone, Debug, Default)]
pub(super) struct PaidBack {
    before: Exact,
    balance: Exact,
    by: BTreeMap<StreamId, Payer>,
}

/// What one of the others has paid back, and what it accrued since the last payment.
#[derive(Clone, Debug, Default)]
struct Payer {
    before: Exact,
    since: Exact,
    /// The most that it pays back in all.
    limit: Option<Exact>,
}

impl Payer {
    fn counted(&self) -> Exact {
        match &self.limit {
            Some(limit) => self.since.clone().min(limit - &self.before),
            None => self.since.clone(),
        }
    }
}

impl PaidBack {
    /// What was paid back since the last payment.
    fn since(&self) -> Exact {
        self.balance.clone().min(self.by.values().map(Payer::counted).sum())
    }

    fn total(&self) -> Exact {
        &self.before + &self.since()
    }

    /// What is still to be paid back.
    fn left(&self) -> Exact {
        &self.balance - &self.since()
    }

    /// So much more was paid, and is to be paid back.
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
    }

    /// Pays back out of what another accrues; how much that is.
    fn pay_back(&mut self, by: StreamId, amount: &Exact, limit: Option<Exact>) -> Exact {
        let before = self.total();
        let payer = self.by.entry(by).or_default();
        payer.since += amount;
        payer.limit = limit;
        &self.total() - &before
    }
}

impl<'a, L: Lines> Engine<'a, L> {
    /// An accrual pays another term back before anything is paid out: a line of that term, below zero. How much that is.
    pub(super) fn pay_back(
        &mut self,
        by: &'a Step<'a>,
        (credit, of): (&'a Credit, StreamId),
        from: AttributesId,
        at: Instant,
        amount: &Exact,
    ) -> Result<Exact, EngineError> {
        let Some((step, term)) = self.term_step(of) else { return Ok(Exact::zero()) };
        let limit = match &credit.limit {
            Some(limit) => Some(self.number(by, limit, from, (at, None))?),
            None => None,
        };
        let group = self.group(&term.per, step, from, at);
        let Some(state) = self.group_state(of, group) else { return Ok(Exact::zero()) };
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

    fn book_paid_back(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        group: AttributesId,
        at: Instant,
        paid: Exact,
    ) -> Result<(), EngineError> {
        if paid.is_zero() {
            return Ok(());
        }
        let (base, amount) = (Exact::zero(), -paid);
        let wanted = Wanted { group, at, cause: Cause::PaidBack, base, amount: amount.clone(), is_outside_cap: true };
        self.book(step, term, wanted, amount.clone(), None)?;
        self.emit(step.stream, group, at, amount)
    }

    /// What is not paid back when a term ends that paid back, where it is to be repaid.
    pub(super) fn repay(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        (last, end): (Instant, Instant),
    ) -> Result<(), EngineError> {
        let state = self.streams.get(step.stream.place());
        let is_over = state.and_then(|it| it.stretches.last()).is_some_and(|stretch| stretch.span.end == end);
        let repaid = term.credits.iter().zip(&step.credits).filter(|(credit, _)| credit.rest == Rest::Repaid);
        for (_, of) in repaid.filter(|_| is_over) {
            let found = self.steps().iter().find(|step| step.stream == *of);
            let Some((step, Work::Term(term))) = found.map(|step| (step, &step.work)) else { continue };
            for group in self.groups_of(*of, |group| !group.paid_back.left().is_zero()) {
                let Some(state) = self.group_state(*of, group) else { continue };
                let left = state.paid_back.left();
                let paid = state.paid_back.pay_back(step.stream, &left, None);
                self.book_paid_back(step, term, group, last, paid)?;
            }
        }
        Ok(())
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
    }
}
