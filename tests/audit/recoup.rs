//! Advances: since each payment, `recouped = R0 + min(balance, sum of accruals since)`.

use crate::auditor::{Auditor, Line};
use crate::model::{Micros, Name, Q};
use num_traits::Zero;

/// How far an advance is recouped.
#[derive(Default)]
pub struct Recouped {
    balance: Q,
    since: Q,
}

impl Auditor<'_> {
    /// After a term accrued: an advance that it recoups is paid back, one that was paid is to be.
    pub fn recoup(&mut self, contract: usize, name: Name, at: Micros, amount: &Q) {
        let version = self.in_force(contract, at);
        let Some(version) = version else { return };
        if version.terms.iter().any(|it| it.recoups == Some(name)) {
            let state = self.recouped.entry((contract, name)).or_default();
            state.balance = &state.balance - state.since.clone().min(state.balance.clone()) + amount;
            state.since = Q::zero();
        }
        let Some(advance) = version.terms.iter().find(|it| it.name == name).and_then(|it| it.recoups) else { return };
        let state = self.recouped.entry((contract, advance)).or_default();
        let before = state.since.clone().min(state.balance.clone());
        state.since += amount;
        let paid = state.since.clone().min(state.balance.clone()) - before;
        if !paid.is_zero() {
            self.lines.push(Line { contract, term: advance, at, amount: -paid, is_capped: false });
        }
    }
}
