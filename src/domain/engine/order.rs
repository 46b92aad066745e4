//! The orders in which what is laid out takes what passes, and closes: that of the file, after what each draws on, and
//! totals before windows.

use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use crate::domain::contract::Contract;
use crate::domain::contract::measure::BelowZero;
use crate::domain::ids::ContractId;
use std::collections::{BTreeMap, BTreeSet};

/// What comes before each stream.
type Behind = BTreeMap<StreamId, BTreeSet<StreamId>>;

/// Puts steps in the order of their terms in the file, each after what it draws on, and tells by their places in which
/// order they close.
pub(super) fn in_file_order<'a>(mut steps: Vec<Step<'a>>, agreements: &[Contract]) -> (Vec<Step<'a>>, Vec<usize>) {
    let (terms, behind) = terms_in_order(&steps, agreements);
    // What is no term comes with the first term that draws on it, after what it draws on, as it was laid out.
    let mut places: BTreeMap<StreamId, (usize, bool)> = BTreeMap::new();
    for (place, term) in terms.iter().enumerate() {
        for of in behind.get(term).into_iter().flatten() {
            places.entry(*of).or_insert((place, false));
        }
        places.insert(*term, (place, true));
    }
    steps.sort_by_key(|step| places.get(&step.stream).copied().unwrap_or((usize::MAX, false)));
    let closing = in_order_of_closing(&steps, &behind);
    (steps, closing)
}

/// The order in which steps close, by their places, each after what it draws on. What yields an item at a period's end
/// closes as soon as what that is made of has: what is made of windows comes after every item. Of two such, of whose terms
/// one leaves the other less, that of the term first in the file closes first, unless it is made of windows of their own
/// contract. All others close in the file's order, a contract after those that it draws on.
fn in_order_of_closing(steps: &[Step<'_>], behind: &Behind) -> Vec<usize> {
    let drawn = drawn_on(steps);
    let totals: BTreeSet<StreamId> =
        steps.iter().filter(|step| is_item_of_period(&step.work)).map(|step| step.stream).collect();
    let of_totals: BTreeSet<StreamId> = totals.iter().filter_map(|total| drawn.get(total)).flatten().copied().collect();
    let draws_on = |stream: StreamId, of: StreamId| drawn.get(&stream).is_some_and(|drawn| drawn.contains(&of));
    let is_of_own_windows = |total: &Step<'_>| {
        let own = |it: &&Step<'_>| it.agreement.head.id == total.agreement.head.id && ends_with_windows(it);
        steps.iter().filter(own).any(|it| draws_on(total.stream, it.stream))
    };
    let of_items: BTreeSet<StreamId> =
        steps.iter().filter(|it| totals.contains(&it.stream) && !is_of_own_windows(it)).map(|it| it.stream).collect();
    let earlier = |total: StreamId| -> BTreeSet<StreamId> {
        let its_terms = steps.iter().filter(|step| matches!(step.work, Work::Term(_)) && draws_on(step.stream, total));
        let behind = its_terms.filter_map(|term| behind.get(&term.stream)).flatten().copied();
        behind.filter(|it| *it != total && of_items.contains(it) && !draws_on(*it, total)).collect()
    };
    let each: Behind = totals.iter().map(|total| (*total, earlier(*total))).collect();
    // Two of one term each come before the other, and neither waits: windows would pass before both.
    let is_mutual = |one: &StreamId, other: &StreamId| each.get(other).is_some_and(|of| of.contains(one));
    let earlier = |(total, of): (&StreamId, &BTreeSet<StreamId>)| {
        (*total, of.iter().filter(|it| !is_mutual(total, it)).copied().collect())
    };
    let earlier: Behind = each.iter().map(earlier).collect();
    let contracts = contracts_behind(steps, &drawn);
    let key = |(place, step): &(usize, &Step<'_>)| {
        let is_first = totals.contains(&step.stream) || of_totals.contains(&step.stream) && !ends_with_windows(step);
        // What draws on another contract that does not draw on it has more behind it.
        (!is_first, contracts.get(&step.agreement.head.id).map_or(0, BTreeSet::len), *place)
    };
    let mut left: Vec<(usize, &Step<'_>)> = steps.iter().enumerate().collect();
    left.sort_by_key(key);
    let mut closing = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let open: BTreeSet<StreamId> = left.iter().map(|(_, step)| step.stream).collect();
        let is_met = |of: &Behind, step: &Step<'_>| of.get(&step.stream).is_none_or(|of| of.is_disjoint(&open));
        // Two totals may each come before the other for the sake of different terms.
        let next = left.iter().position(|(_, step)| is_met(&drawn, step) && is_met(&earlier, step));
        let next = next.or_else(|| left.iter().position(|(_, step)| is_met(&drawn, step))).unwrap_or_default();
        closing.push(left.remove(next).0);
    }
    closing
}

/// Whether a step yields something at the end of windows.
fn ends_with_windows(step: &Step<'_>) -> bool {
    step.is_of_window || matches!(&step.work, Work::Term(term) if term.minimum.is_some())
}

/// Each contract with all that it draws on, by itself or through others.
fn contracts_behind<'a>(steps: &[Step<'a>], drawn: &Behind) -> BTreeMap<&'a ContractId, BTreeSet<&'a ContractId>> {
    let contracts: BTreeMap<StreamId, &'a ContractId> =
        steps.iter().map(|step| (step.stream, &step.agreement.head.id)).collect();
    let mut behind: BTreeMap<&ContractId, BTreeSet<&ContractId>> = BTreeMap::new();
    for (stream, contract) in &contracts {
        let of = drawn.get(stream).into_iter().flatten().filter_map(|of| contracts.get(of));
        behind.entry(*contract).or_default().extend(of.chain([contract]));
    }
    for _ in 0..behind.len() {
        let so_far = behind.clone();
        for all in behind.values_mut() {
            let further: Vec<&ContractId> = all.iter().filter_map(|of| so_far.get(of)).flatten().copied().collect();
            all.extend(further);
        }
    }
    behind
}

/// The terms by their place in the file, and what comes before each stream: what it draws on, and of a term those
/// before it in the file that take of the same. Those come before it whoever else draws on one of them, and also where
/// they wait for what stands after it; only what they draw on themselves they cannot come before.
fn terms_in_order(steps: &[Step<'_>], agreements: &[Contract]) -> (Vec<StreamId>, Behind) {
    let mut behind = drawn_on(steps);
    let place = |step: &Step<'_>| match &step.work {
        Work::Term(term) => {
            let agreement = agreements.iter().position(|it| it.head.id == step.agreement.head.id)?;
            Some((agreement, step.version.terms.iter().position(|it| it.id == term.id)?))
        }
        Work::Base(..) | Work::Figure(..) | Work::Amount(_) | Work::Gauge(_) => None,
    };
    let mut terms: Vec<_> = steps.iter().filter_map(|step| Some((place(step)?, step))).collect();
    terms.sort_by_key(|(place, _)| *place);
    let mut left: Vec<&Step<'_>> = terms.into_iter().map(|(_, step)| step).collect();
    // Whose an item is comes before how much of it finds room.
    for take_of_the_same in [are_of_one_group, share_room] {
        for (place, one) in left.iter().enumerate() {
            for other in left.iter().skip(place.saturating_add(1)).filter(|other| take_of_the_same(one, other)) {
                put_before(&mut behind, one.stream, other.stream);
            }
        }
    }
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |step: &Step<'_>| {
            behind.get(&step.stream).is_some_and(|behind| left.iter().any(|it| behind.contains(&it.stream)))
        };
        // There is one, as nothing comes before itself.
        let next = left.iter().position(|step| !waits(step)).unwrap_or_default();
        ordered.push(left.remove(next).stream);
    }
    (ordered, behind)
}

/// All that each step draws on, by itself or through others. Steps are laid out after what they draw on.
fn drawn_on(steps: &[Step<'_>]) -> Behind {
    let mut behind = Behind::new();
    for step in steps {
        // Tiers may count what their own term accrued before.
        let direct = || step.after.iter().copied().filter(|of| *of != step.stream);
        let further = direct().filter_map(|of| behind.get(&of)).flatten().copied();
        let all = direct().chain(further).collect();
        behind.insert(step.stream, all);
    }
    behind
}

/// Whether an item counts in one of two terms alone.
fn are_of_one_group(one: &Step<'_>, other: &Step<'_>) -> bool {
    let once = |step: &Step<'_>| match &step.work {
        Work::Term(term) => term.once.clone().map(|group| (step.agreement.head.id.clone(), group)),
        Work::Base(..) | Work::Figure(..) | Work::Amount(_) | Work::Gauge(_) => None,
    };
    once(one).is_some_and(|group| once(other) == Some(group))
}

/// Whether one of two terms leaves the other less room under a cap, or less to pay back.
fn share_room(one: &Step<'_>, other: &Step<'_>) -> bool {
    let cap = |step: &Step<'_>| step.cap.map(|(id, _)| id);
    cap(one).is_some_and(|id| cap(other) == Some(id)) || one.credits.iter().any(|of| other.credits.contains(of))
}

/// Puts one, and what comes before it, before another and what comes after that; unless it comes after it already.
fn put_before(behind: &mut Behind, one: StreamId, other: StreamId) {
    let of_one = behind.get(&one).cloned().unwrap_or_default();
    if of_one.contains(&other) {
        return;
    }
    for (stream, behind) in behind {
        if *stream == other || behind.contains(&other) {
            behind.extend(&of_one);
            behind.insert(one);
        }
    }
}

/// Whether something yields an item at the end of a period: a figure, or a base that is decided on its total.
fn is_item_of_period(work: &Work<'_>) -> bool {
    match work {
        Work::Figure(..) => true,
        Work::Base(base, _) => base.below_zero != BelowZero::Keep,
        Work::Amount(_) | Work::Term(_) | Work::Gauge(_) => false,
    }
}

impl<'a, L: Lines> Engine<'a, L> {
    /// The steps of the present epoch in the order in which they close.
    pub(super) fn closing(&self) -> impl DoubleEndedIterator<Item = &'a Step<'a>> + use<'a, L> {
        let steps = self.steps();
        let closing = self.epoch().map(|epoch| epoch.closing.as_slice()).unwrap_or_default();
        closing.iter().filter_map(|place| steps.get(*place))
    }
}
