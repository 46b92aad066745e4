//! Terms that make room for each other without end: what waits under a deferred cap, once paid, lowers what is under it.

use super::Version;
use super::check::{Place, Thing};
use super::measure::{BelowZero, Measure, Node, NodeKind, Reduction, Source};
use super::term::{Cap, Excess, Term, Tiers};
use super::value::{Cell, Table};
use super::whole::is_of_window;
use super::window::WindowRule;
use crate::domain::ids::{ContractId, DefinedTerm, TermId};

/// What something yields of what passes rises, or falls.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Move<'a> {
    of: Thing<'a>,
    falls: bool,
}

/// The cap that a term is under, if what waits there is paid when room comes.
pub(super) fn deferred_cap<'a>(version: &'a Version, term: &'a Term) -> Option<(&'a DefinedTerm, &'a Cap)> {
    let (name, cap) = version.caps.get_key_value(term.cap.as_ref()?)?;
    (cap.excess == Excess::Deferred).then_some((name, cap))
}

/// Through what a payment of a term makes room for the next payment of it, item by item, if it does: each thing before
/// what it moves.
pub(super) fn room_without_end<'a>(place: &Place<'a>, contract: &'a ContractId, id: &'a TermId) -> Option<Vec<String>> {
    let start = Move { of: Thing::Term(contract, id), falls: false };
    let mut found: Vec<(Move<'a>, Option<usize>)> = vec![(start, None)];
    let mut next: usize = 0;
    while let Some((of, _)) = found.get(next).copied() {
        for cause in moved_by(place, of) {
            if cause == start {
                let mut path = vec![start.of.to_string()];
                let mut at = Some(next);
                while let Some((step, before)) = at.and_then(|at| found.get(at)) {
                    path.push(step.of.to_string());
                    at = *before;
                }
                return Some(path);
            }
            if found.iter().all(|(known, _)| *known != cause) {
                found.push((cause, Some(next)));
            }
        }
        next = next.saturating_add(1);
    }
    None
}

/// What moves something at once. What adds up first, in a total or in a window, moves at its end alone.
fn moved_by<'a>(place: &Place<'a>, Move { of, falls }: Move<'a>) -> Vec<Move<'a>> {
    let mut found = Vec::new();
    let contract = of.contract();
    for version in place.versions(contract) {
        let mut drawn: Vec<(&'a Measure, bool)> = Vec::new();
        match of {
            Thing::Term(_, id) => {
                let Some(term) = version.term(id) else { continue };
                let node = term.node.as_ref().filter(|_| term.on.is_none());
                drawn.extend(at_once(node, (term.each.as_ref(), term.tiers.as_ref()), version));
                let others = version.terms.iter().map(|other| (other, Thing::Term(contract, &other.id)));
                for (other, thing) in others {
                    // It is paid back out of what the other accrues.
                    if other.payer == term.payer && other.credits.iter().any(|credit| credit.of == *id) {
                        found.push(Move { of: thing, falls: !falls });
                    }
                    // What falls under its cap makes room for it.
                    if !falls && deferred_cap(version, term).is_some() && other.cap == term.cap {
                        found.push(Move { of: thing, falls: true });
                    }
                }
            }
            Thing::Base(_, name) => {
                let Some(base) = version.bases.get(name).filter(|it| it.below_zero == BelowZero::Keep) else {
                    continue;
                };
                for selection in &base.select {
                    if let Source::Of(measure) = &selection.of {
                        drawn.push((measure, false));
                    }
                }
                for less in &base.less {
                    if let Reduction::Node(node) = &less.what {
                        add_drawn(node, (true, false), &mut drawn);
                    }
                }
            }
            Thing::Amount(_, name) => {
                let Some(amount) = version.amounts.get(name) else { continue };
                drawn.extend(at_once(Some(&amount.node), (amount.each.as_ref(), amount.tiers.as_ref()), version));
            }
            Thing::Figure(..) => {}
        }
        let moves = |(measure, turns)| Move { of: Thing::of(contract, measure), falls: falls ^ turns };
        found.extend(drawn.into_iter().map(moves));
    }
    found
}

/// What a node draws on item by item, and whether that turns there: takes off.
fn at_once<'a>(
    node: Option<&'a Node>,
    (each, tiers): (Option<&WindowRule>, Option<&Tiers>),
    version: &Version,
) -> Vec<(&'a Measure, bool)> {
    let mut drawn = Vec::new();
    if let Some(node) = node.filter(|node| !is_of_window(node, each, tiers, &version.figures)) {
        add_drawn(node, (false, false), &mut drawn);
    }
    drawn
}

/// What is measured may be below zero, and turns what it multiplies or does not.
fn add_drawn<'a>(node: &'a Node, (turns, is_unsure): (bool, bool), drawn: &mut Vec<(&'a Measure, bool)>) {
    let is_unsure = is_unsure || node.times.iter().chain(node.kind.table()).any(may_be_below_zero);
    if let Some(of) = node.kind.of() {
        drawn.push((of, turns));
        drawn.extend(is_unsure.then_some((of, !turns)));
    }
    if let NodeKind::GreatestOf(nodes) | NodeKind::LeastOf(nodes) | NodeKind::Sum(nodes) = &node.kind {
        nodes.iter().for_each(|node| add_drawn(node, (turns, is_unsure), drawn));
    }
    node.less.iter().for_each(|less| add_drawn(less, (!turns, is_unsure), drawn));
}

fn may_be_below_zero(table: &Table) -> bool {
    table.cells().into_iter().any(|cell| match cell {
        Cell::Number(number) => number.is_negative(),
        Cell::Noticed(notice) => notice.least.is_negative() || notice.initial.is_negative(),
        Cell::Measured(_) => true,
        Cell::Nothing | Cell::Table(_) | Cell::Tiered { .. } => false,
    })
}
