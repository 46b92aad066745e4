//! Sums in place of items: where the order of the items that were summed could have mattered.
//!
//! What items yield in their order depends on running totals: how far a cap is used up, which band a counter has
//! reached. Over a stretch of time whose usage was summed, a running total stays within what it was at the start, less
//! all that went down there, and plus all that went up, whatever the order. Where no edge lies within that, every
//! order yields the same, and the sum is as good as its items. Else the stretch has to be opened.

use super::item::AttributesId;
use super::outcome::Lines;
use super::plan::{CapId, StreamId};
use super::run::Engine;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A running total that edges are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Total {
    Cap(CapId, AttributesId),
    Tiers(StreamId, AttributesId),
    /// Of a base that counts what is above something.
    Threshold(StreamId, AttributesId),
}

/// A running total within one stretch.
#[derive(Clone, Debug)]
struct Watch {
    stretch: usize,
    /// The least and the most that it can have been in any order.
    least: Exact,
    most: Exact,
    /// What it was held against.
    edges: BTreeSet<Exact>,
}

impl Watch {
    /// Whether an edge lies where the total can have been on either side of it.
    fn meets_edge(&self) -> bool {
        // An edge may belong to either side.
        self.least != self.most && self.edges.range(&self.least..=&self.most).next().is_some()
    }
}

/// The stretches that are summed, and those of them in which order could have mattered.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    /// In the order of time, apart from each other.
    stretches: Vec<Span>,
    totals: BTreeMap<Total, Watch>,
    /// When what passes now passes; none while windows close, which is after all items before.
    item_at: Option<Instant>,
    /// Noted also where the engine is only read.
    unsure: RefCell<BTreeSet<usize>>,
}

impl Watches {
    pub fn new(stretches: &[Span]) -> Self {
        Self { stretches: stretches.to_vec(), ..Self::default() }
    }

    pub fn pass(&mut self, item_at: Option<Instant>) {
        self.item_at = item_at;
    }

    /// The stretches that have to be opened.
    pub fn unsure(self) -> Vec<Span> {
        self.unsure.borrow().iter().filter_map(|place| self.stretches.get(*place)).copied().collect()
    }

    /// The stretch in which something passes.
    fn stretch(&self) -> Option<usize> {
        let at = self.item_at.filter(|_| !self.stretches.is_empty())?;
        let place = self.stretches.partition_point(|stretch| stretch.end <= at);
        self.stretches.get(place).filter(|stretch| stretch.contains(at)).map(|_| place)
    }

    /// A running total goes on from `before` by `step`, and was held against edges.
    pub fn advance<'e>(
        &mut self,
        total: Total,
        before: &Exact,
        step: &Exact,
        edges: impl IntoIterator<Item = &'e Exact>,
    ) {
        let Some(stretch) = self.stretch() else { return };
        let begin = || Watch { stretch, least: before.clone(), most: before.clone(), edges: BTreeSet::new() };
        let watch = self.totals.entry(total).or_insert_with(begin);
        if watch.stretch != stretch {
            *watch = begin();
        }
        if step.is_negative() {
            watch.least += step;
        } else {
            watch.most += step;
        }
        watch.edges.extend(edges.into_iter().cloned());
        if watch.meets_edge() {
            self.unsure.borrow_mut().insert(stretch);
        }
    }
}

impl<L: Lines> Engine<'_, L> {
    /// What is done here is not the same for a sum as for its items.
    pub(super) fn needs_items(&self) {
        self.watches.unsure.borrow_mut().extend(self.watches.stretch());
    }
}
