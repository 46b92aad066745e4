//! What money lies behind a selection, directly or through the terms, bases and amounts that it draws on.

use super::check::Place;
use super::measure::{Measure, Selection, Source};
use super::selector::Filter;
use crate::domain::ids::{ContractId, DefinedTerm};

/// Sales, or a figure, that a selection brings.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    money: Money<'a>,
    /// Whether another base, amount or term passes it on.
    pub is_passed_on: bool,
}

#[derive(Clone, Copy)]
enum Money<'a> {
    Sales(&'a Filter),
    Figure(&'a ContractId, &'a DefinedTerm),
}

impl Behind<'_> {
    pub fn may_be(&self, other: &Self) -> bool {
        match (self.money, other.money) {
            (Money::Sales(a), Money::Sales(b)) => a.overlaps(b),
            (Money::Figure(contract, a), Money::Figure(other, b)) => (contract, a) == (other, b),
            (Money::Sales(_), Money::Figure(..)) | (Money::Figure(..), Money::Sales(_)) => false,
        }
    }
}

/// All money behind a selection. What reduces a base brings none.
pub(super) fn behind<'a>(place: &Place<'a>, contract: &'a ContractId, selection: &'a Selection) -> Vec<Behind<'a>> {
    let mut found = Vec::new();
    let mut walk = Walk { place, seen: Vec::new() };
    walk.selection(contract, selection, false, &mut found);
    found
}

struct Walk<'p, 'a> {
    place: &'p Place<'a>,
    seen: Vec<(&'a ContractId, &'a Measure)>,
}

impl<'a> Walk<'_, 'a> {
    fn selection(
        &mut self,
        contract: &'a ContractId,
        selection: &'a Selection,
        is_passed_on: bool,
        found: &mut Vec<Behind<'a>>,
    ) {
        match &selection.of {
            Source::Charges | Source::Billings => {
                found.push(Behind { money: Money::Sales(&selection.filter), is_passed_on });
            }
            // Counts are no money.
            Source::Units | Source::Facts(_) => {}
            Source::Of(Measure::Figure(name)) => {
                found.push(Behind { money: Money::Figure(contract, name), is_passed_on });
            }
            Source::Of(measure) => self.measure(contract, measure, found),
        }
    }

    fn measure(&mut self, contract: &'a ContractId, measure: &'a Measure, found: &mut Vec<Behind<'a>>) {
        if self.seen.contains(&(contract, measure)) {
            return;
        }
        self.seen.push((contract, measure));
        match measure {
            Measure::Figure(name) => found.push(Behind { money: Money::Figure(contract, name), is_passed_on: true }),
            Measure::Base(name) => {
                for base in self.place.versions(contract).into_iter().filter_map(|it| it.bases.get(name)) {
                    for selection in &base.select {
                        self.selection(contract, selection, true, found);
                    }
                }
            }
            Measure::Amount(name) => {
                for amount in self.place.versions(contract).into_iter().filter_map(|it| it.amounts.get(name)) {
                    for node in amount.node.all() {
                        node.kind.of().into_iter().for_each(|of| self.measure(contract, of, found));
                    }
                }
            }
            Measure::Accrual { contract, term, .. } => {
                for term in self.place.versions(contract).into_iter().filter_map(|it| it.term(term)) {
                    for node in term.node.iter().flat_map(|node| node.all()) {
                        node.kind.of().into_iter().for_each(|of| self.measure(contract, of, found));
                    }
                }
            }
        }
    }
}
