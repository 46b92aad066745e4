//! What each of two parties owes the other by a statement: its lines, the credit of earlier periods, and when it is due.

use super::{Drawer, Side};
use crate::domain::contract::Negative;
use crate::domain::contract::term::Term;
use crate::domain::ids::PartyId;
use crate::domain::money::{Exact, Unit};
use crate::domain::settlement::BookedLine;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

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
        let of_period = self.booked.iter().filter(|line| line.booked == self.input.period);
        let own = of_period.filter(|it| (&it.payer, &it.payee, &it.unit) == (payer, payee, unit));
        let own: Vec<&BookedLine> = own.collect();
        let amount: Exact = own.iter().map(|line| line.amount.clone()).sum();
        let carried_in = self.carried_in((payer, payee, unit));
        let sum = &carried_in + &amount;
        let carried_out = match self.carries_credits(&own) {
            true => sum.clone().min(Exact::zero()),
            false => Exact::zero(),
        };
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

    /// What the last statement before carried on, as it was issued: an amendment of the past changes no document.
    fn carried_in(&self, (payer, payee, unit): (&PartyId, &PartyId, &Unit)) -> Exact {
        let before = self.earlier.iter().filter(|it| it.period < self.input.period && it.unit == *unit);
        let totals = before.flat_map(|it| it.totals.iter().map(move |total| (it.period, total)));
        let own = totals.filter(|(_, total)| (&total.payer, &total.payee) == (payer, payee));
        own.max_by_key(|(period, _)| *period).map(|(_, last)| last.carried_out.clone()).unwrap_or_default()
    }

    /// Whether a credit reduces later periods. Where others set off what a term owes, nothing would be left of these to
    /// reduce: what was paid of it and is set off later is paid back then.
    fn carries_credits(&self, lines: &[&BookedLine]) -> bool {
        let is_set_off = |line: &&&BookedLine| {
            let mut versions = self.contract.in_force_within(line.origin.span(self.contract.head.zone));
            versions.any(|version| {
                version
                    .terms
                    .iter()
                    .any(|by| version.set_off(by).any(|of| of.id == line.term && of.payer == line.payer))
            })
        };
        let set_off: Exact = lines.iter().filter(is_set_off).map(|line| line.amount.clone()).sum();
        self.contract.head.negative == Negative::Carry && !set_off.is_negative()
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
