//! What each of two parties owes the other by a statement: its lines, the credit of earlier periods, and when it is due.

use super::{Drawer, Side};
use crate::domain::calendar::Period;
use crate::domain::contract::Negative;
use crate::domain::contract::term::Term;
use crate::domain::ids::PartyId;
use crate::domain::money::{Exact, Unit};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one of the two owes the other in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct DirectionTotal {
    pub payer: PartyId,
    pub payee: PartyId,
    /// The sum of this statement's lines.
    pub amount: Exact,
    /// A credit of earlier periods, zero or less.
    pub carried_in: Exact,
    /// What is to be paid: zero or more, or a credit below zero where the contract says that it is paid back.
    pub payable: Exact,
    /// The credit that later periods take off, zero or less.
    pub carried_out: Exact,
    pub due_on: Option<NaiveDate>,
}

impl Drawer<'_> {
    pub(super) fn totals(&self, side: &Side) -> Vec<DirectionTotal> {
        let [a, b] = &side.parties;
        let mentioned = |payer: &PartyId, payee: &PartyId| {
            let pays = |term: &Term| term.payer == *payer && term.unit == side.unit;
            self.terms_of_period().any(|term| pays(term) && self.payees(term).contains(payee))
                || self.booked.iter().any(|line| (&line.payer, &line.payee, &line.unit) == (payer, payee, &side.unit))
        };
        let directions = [(a, b), (b, a)].into_iter().filter(|(payer, payee)| mentioned(payer, payee));
        directions.map(|(payer, payee)| self.total(payer, payee, &side.unit)).collect()
    }

    fn total(&self, payer: &PartyId, payee: &PartyId, unit: &Unit) -> DirectionTotal {
        let mut by_period: BTreeMap<Period, Exact> = BTreeMap::new();
        for line in self.booked.iter().filter(|it| (&it.payer, &it.payee, &it.unit) == (payer, payee, unit)) {
            *by_period.entry(line.booked).or_default() += &line.amount;
        }
        let amount = by_period.get(&self.input.period).cloned().unwrap_or_default();
        let credit = |period: Period, sum: Exact| match self.carries_credits((payer, payee, unit), period) {
            true => sum.min(Exact::zero()),
            false => Exact::zero(),
        };
        let earlier = by_period.range(..self.input.period);
        let carried_in = earlier.fold(Exact::zero(), |carried, (period, total)| credit(*period, &carried + total));
        let sum = &carried_in + &amount;
        let carried_out = credit(self.input.period, sum.clone());
        DirectionTotal {
            payer: payer.clone(),
            payee: payee.clone(),
            payable: &sum - &carried_out,
            due_on: self.due_on(payer, payee, unit),
            amount,
            carried_in,
            carried_out,
        }
    }

    /// Whether a credit reduces later periods: where others set off what is owed, nothing would be left of these to
    /// reduce. What was paid and is set off later is paid back then.
    fn carries_credits(&self, (payer, payee, unit): (&PartyId, &PartyId, &Unit), period: Period) -> bool {
        let mut versions = self.contract.in_force_within(period.span(self.contract.head.zone));
        let is_set_off = versions.any(|version| {
            let others = version.terms.iter().filter(|by| by.payer == *payee);
            others.flat_map(|by| version.set_off(by)).any(|of| of.payer == *payer && of.unit == *unit)
        });
        self.contract.head.negative == Negative::Carry && !is_set_off
    }

    /// The earliest due date that a term of this direction states, counted from the period.
    fn due_on(&self, payer: &PartyId, payee: &PartyId, unit: &Unit) -> Option<NaiveDate> {
        let terms = self.terms_of_period().filter(|term| term.payer == *payer && term.unit == *unit);
        let terms = terms.filter(|term| self.payees(term).contains(payee));
        let business_days = self.contract.head.business_days.as_ref();
        let last_day = self.input.period.last_day();
        terms.flat_map(|term| &term.due).filter_map(|part| part.due.after_period(last_day, business_days)).min()
    }
}
