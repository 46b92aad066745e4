//! Set-off: at the end of a settlement period what a term accrued meets what is owed the other way, whichever came first.

use super::Stop;
use super::item::AttributesId;
use super::outcome::Lines;
use super::plan::{Plan, Step, StreamId, Work};
use super::run::Engine;
use super::state::{PaidBackWhen, Wanted};
use crate::domain::contract::term::{Credit, Rest, Term};
use crate::domain::ids::PartyId;
use crate::domain::money::Exact;
use crate::domain::period::Instant;
use std::collections::BTreeMap;

/// What a term sets off: how, and what is owed the other way.
struct Debt<'a> {
    credit: &'a Credit,
    step: &'a Step<'a>,
    term: &'a Term,
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Sets off what was accrued in a settlement period that ends, or where a version drops either side.
    ///
    /// What is set off is what either side owes the other: both owe so much less, and accrue what they did. A debt that is
    /// not to be carried is lost once no term sets it off any more; it stays owed.
    pub(super) fn set_off(&mut self, (last, end): (Instant, Instant)) -> Result<(), Stop> {
        let mut lost = Vec::new();
        for step in self.closing() {
            let Work::Term(term) = &step.work else { continue };
            let ends_period = self.ends_period(step, end);
            let debts = self.debts(step, term);
            let due: Vec<&Debt<'_>> =
                debts.iter().filter(|debt| ends_period || !self.goes_on(step, debt.step, end)).collect();
            if due.is_empty() {
                continue;
            }
            for group in self.groups_of(step.stream, |_| true) {
                self.set_off_group((step, term), group, &due, (last, ends_period))?;
            }
            let is_over =
                |debt: &&&Debt<'_>| debt.credit.rest != Rest::Carried && !self.sets_off(debt.step.stream, (last, end));
            lost.extend(due.iter().filter(is_over).map(|debt| debt.step.stream));
        }
        for stream in lost {
            for group in self.groups_of(stream, |_| true) {
                if let Some(state) = self.group_state(stream, group) {
                    state.take_owed();
                    state.paid_back.lose_rest();
                }
            }
        }
        Ok(())
    }

    /// What a term's credits name that is owed the other way.
    fn debts(&self, step: &Step<'a>, term: &'a Term) -> Vec<Debt<'a>> {
        let credits = term.credits.iter().zip(&step.credits);
        let debts = credits.filter_map(|(credit, of)| {
            let (step, owed) = self.term_step(*of)?;
            (owed.payer != term.payer).then_some(Debt { credit, step, term: owed })
        });
        debts.collect()
    }

    /// When others pay a term back, under the versions in force.
    pub(super) fn paid_back_when(&self, term: StreamId) -> Option<PaidBackWhen> {
        let when = self.streams.get(term.place())?.paid_back?;
        // What was owed before any term set it off was owed plainly.
        let is_set_off = || self.steps().iter().any(|step| step.credits.contains(&term));
        (when == PaidBackWhen::AsTheyAccrue || is_set_off()).then_some(when)
    }

    fn set_off_group(
        &mut self,
        (step, term): (&'a Step<'a>, &'a Term),
        group: AttributesId,
        due: &[&Debt<'a>],
        (at, ends_period): (Instant, bool),
    ) -> Result<(), Stop> {
        let Some(state) = self.group_state(step.stream, group) else { return Ok(()) };
        let mut left = std::mem::take(&mut state.to_set_off);
        for debt in due {
            let limit = debt.credit.limit.as_ref().map(|it| self.number(step, it, group, (at, None))).transpose()?;
            let of = self.group(&debt.term.per, debt.step, group, at);
            let Some(state) = self.group_state(debt.step.stream, of) else { continue };
            state.take_owed();
            let paid = state.paid_back.pay_back(step.stream, &left, limit);
            left = &left - &paid;
            self.tell_set_off((step, term), group, at, &paid);
            self.tell_set_off((debt.step, debt.term), of, at, &paid);
        }
        // Within the period the rest may still meet other debts.
        if let Some(state) = self.group_state(step.stream, group).filter(|_| !ends_period) {
            state.to_set_off = left;
        }
        Ok(())
    }

    /// Whether what begins at a boundary still has a term, and what it sets off.
    fn goes_on(&self, step: &Step<'a>, debt: &Step<'a>, end: Instant) -> bool {
        let Some(next) = self.next_epoch(end) else { return true };
        let credits = |later: &Step<'a>| later.stream == step.stream && later.credits.contains(&debt.stream);
        next.steps.iter().any(credits) && next.steps.iter().any(|later| later.stream == debt.stream)
    }

    /// Whether terms are in force that set a debt off, before a boundary and from it on.
    fn sets_off(&self, debt: StreamId, (last, end): (Instant, Instant)) -> bool {
        let later = self.next_epoch(end).map_or(self.steps(), |next| next.steps.as_slice());
        [(self.steps(), last), (later, end)].into_iter().all(|(steps, at)| {
            steps.iter().filter(|step| step.credits.contains(&debt)).any(|step| {
                let state = self.streams.get(step.stream.place());
                state.is_some_and(|state| state.stretch_at(at).is_some())
            })
        })
    }

    fn tell_set_off(&mut self, (step, term): (&Step<'a>, &Term), group: AttributesId, at: Instant, paid: &Exact) {
        if paid.is_zero() {
            return;
        }
        let wanted = Wanted::paid_back(group, at, paid.clone());
        self.tell(step, term, &wanted, &wanted.amount, None);
    }
}

/// Which terms others pay back, and when: what one of them recoups has to be known as it accrues.
pub(super) fn paid_back(plan: &Plan<'_>) -> BTreeMap<StreamId, PaidBackWhen> {
    let mut found = BTreeMap::new();
    for epoch in &plan.epochs {
        let payer = |step: &Step<'_>| if let Work::Term(term) = &step.work { Some(term.payer.clone()) } else { None };
        let payers: BTreeMap<StreamId, PartyId> =
            epoch.steps.iter().filter_map(|step| Some((step.stream, payer(step)?))).collect();
        for (step, of) in epoch.steps.iter().flat_map(|step| step.credits.iter().map(move |of| (step, of))) {
            let is_recouped = payers.get(of) == payers.get(&step.stream);
            let when = found.entry(*of).or_insert(PaidBackWhen::AtPeriodEnd);
            if is_recouped {
                *when = PaidBackWhen::AsTheyAccrue;
            }
        }
    }
    found
}
