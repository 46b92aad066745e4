//! The order in which what is laid out takes what passes: that of the file, after what each draws on.

use super::plan::{Step, StreamId, Work};
use crate::domain::contract::Contract;
use crate::domain::contract::measure::BelowZero;
use std::collections::{BTreeMap, BTreeSet};

/// Puts steps in the order of their terms in the file, as far as what they draw on lets them: terms under one cap take
/// its room in that order, whoever else draws on one of them. What yields an item at a period's end stands before all
/// terms: what is made of windows comes after every item.
pub(super) fn in_file_order<'a>(steps: Vec<Step<'a>>, agreements: &[Contract]) -> Vec<Step<'a>> {
    let rank = |step: &Step<'_>| match &step.work {
        Work::Term(term) => {
            let agreement = agreements.iter().position(|it| it.head.id == step.agreement.head.id)?;
            Some((agreement, Stands::AsTerm, step.version.terms.iter().position(|it| it.id == term.id)?))
        }
        Work::Base(..) | Work::Figure(..) | Work::Amount(_) | Work::Gauge(_) => None,
    };
    let mut ranks: BTreeMap<StreamId, _> = steps.iter().filter_map(|step| Some((step.stream, rank(step)?))).collect();
    let terms: BTreeSet<StreamId> = ranks.keys().copied().collect();
    // What is no term comes with the first term that draws on it. Steps stand after what they draw on.
    for step in steps.iter().rev() {
        let Some((agreement, mut stands, number)) = ranks.get(&step.stream).copied() else { continue };
        if is_item_of_period(&step.work) {
            stands = Stands::BeforeTerms;
        }
        let own = (agreement, stands, number);
        ranks.insert(step.stream, own);
        for of in step.after.iter().filter(|of| !terms.contains(of)) {
            ranks.entry(*of).and_modify(|rank| *rank = own.min(*rank)).or_insert(own);
        }
    }
    let mut left = steps;
    let mut ordered: Vec<Step<'a>> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_ready = |step: &Step<'_>| !step.after.iter().any(|of| left.iter().any(|it| it.stream == *of));
        // It waits for what stands before it in its file, though it is ready, unless that waits for it.
        let waits = |step: &Step<'_>| {
            let own = ranks.get(&step.stream);
            let is_before = |rank: &(usize, Stands, usize)| own.is_some_and(|own| rank.0 == own.0 && rank < own);
            left.iter().filter_map(|it| ranks.get(&it.stream)).any(is_before)
        };
        let ready = left.iter().enumerate().filter(|(_, step)| is_ready(step));
        // The first that is left always is: it was laid out after all that it draws on.
        let next =
            ready.min_by_key(|(_, step)| (waits(step), !ranks.contains_key(&step.stream), ranks.get(&step.stream)));
        let next = next.map_or(0, |(place, _)| place);
        ordered.push(left.remove(next));
    }
    ordered
}

/// Where steps stand in the order of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stands {
    BeforeTerms,
    AsTerm,
}

/// Whether something yields an item at the end of a period: a figure, or a base that is decided on its total.
fn is_item_of_period(work: &Work<'_>) -> bool {
    match work {
        Work::Figure(..) => true,
        Work::Base(base, _) => base.below_zero != BelowZero::Keep,
        Work::Amount(_) | Work::Term(_) | Work::Gauge(_) => false,
    }
}
