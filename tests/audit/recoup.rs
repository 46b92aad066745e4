//! Advances: since each payment, `recouped = R0 + min(balance, sum of accruals since)`, up to a limit in all.

use crate::auditor::{Auditor, Line};
use crate::model::{Micros, Name, Q, Recoups, Term};
use num_traits::Zero;

/// How far an advance is recouped.
#[derive(Default)]
pub struct Recouped {
    balance: Q,
    since: Q,
    before: Q,
    /// As the term last worded it that recouped anything; none yet at first.
    limit: Option<Option<Q>>,
}

impl Recouped {
    fn paid(&self) -> Q {
        // What was recouped stands under a lower limit.
        let most = self.limit.as_ref().and_then(Option::as_ref).map(|limit| (limit - &self.before).max(Q::zero()));
        let paid = self.since.clone().min(self.balance.clone());
        most.map_or_else(|| paid.clone(), |most| paid.clone().min(most))
    }

    fn begin_anew(&mut self) {
        let paid = self.paid();
        self.balance -= &paid;
        self.before += paid;
        self.since = Q::zero();
    }
}

impl Auditor<'_> {
    /// After a term accrued: an advance that it recoups is paid back, one that was paid is to be.
    pub fn recoup(&mut self, contract: usize, name: Name, at: Micros, amount: &Q) {
        let Some(version) = self.in_force(contract, at) else { return };
        let of = |term: &Term| term.recoups.as_ref().map(|it| it.advance);
        if version.terms.iter().any(|it| of(it) == Some(name)) {
            let state = self.recouped.entry((contract, name)).or_default();
            state.begin_anew();
            state.balance += amount;
        }
        let Some(recoups) = version.terms.iter().find(|it| it.name == name).and_then(|it| it.recoups.as_ref()) else {
            return;
        };
        let state = self.recouped.entry((contract, recoups.advance)).or_default();
        if state.limit.as_ref().is_some_and(|limit| *limit != recoups.limit) {
            state.begin_anew();
        }
        let before = state.paid();
        state.limit = Some(recoups.limit.clone());
        state.since += amount;
        let paid = state.paid() - before;
        self.pay_back(contract, recoups.advance, at, paid);
    }

    /// What is left of an advance where the term ends that was to pay it back.
    pub fn repay(&mut self, contract: usize, term: &Term, at: Micros) {
        let Some(Recoups { advance, is_repaid: true, .. }) = &term.recoups else { return };
        let of = |term: &Term| term.recoups.as_ref().map(|it| it.advance);
        let goes_on = self.terms(contract, at).iter().any(|it| of(it) == Some(*advance));
        let Some(state) = self.recouped.get_mut(&(contract, advance)).filter(|_| !goes_on) else { return };
        let left = &state.balance - state.paid();
        state.balance = state.paid();
        self.pay_back(contract, advance, at - 1, left);
    }

    fn pay_back(&mut self, contract: usize, advance: Name, at: Micros, paid: Q) {
        if !paid.is_zero() {
            self.lines.push(Line { contract, term: advance, at, amount: -paid, is_capped: false });
        }
    }
}
