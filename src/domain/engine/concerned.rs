//! Which steps an item concerns: of usage it is found out once for each kind, as millions of items are of a few kinds.

use super::item::{Content, Item};
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use crate::domain::contract::measure::Source;
use crate::domain::contract::selector::Filter;
use std::collections::BTreeSet;
use std::rc::Rc;

impl<'a, L: Lines> Engine<'a, L> {
    /// The steps of the present epoch that an item can mean anything to: those that select it, and those that draw on
    /// any of them.
    pub(super) fn concerned(&mut self, item: &Item<'_>) -> Rc<[&'a Step<'a>]> {
        let is_plain_usage =
            matches!(item.content, Content::Usage { .. }) && item.less.is_empty() && item.sold_at.is_none();
        let Some(epoch) = self.epoch().filter(|_| is_plain_usage) else { return self.steps().iter().collect() };
        if let Some(known) = self.concerned.get(epoch, item.attributes) {
            return known.clone();
        }
        let mut touched: BTreeSet<StreamId> = BTreeSet::new();
        let mut lasts = true;
        let mut concerned = Vec::new();
        for step in &epoch.steps {
            let mut selects = |filter: &'a Filter| {
                lasts &= !filter.names_fact();
                self.selects(step, filter, item.attributes, item.at)
            };
            let draws = step.streams().any(|stream| touched.contains(&stream));
            if draws || filters_of_usage(step).any(&mut selects) {
                touched.insert(step.stream);
                concerned.push(step);
            }
        }
        let concerned: Rc<[&'a Step<'a>]> = concerned.into();
        self.concerned.insert(epoch, item.attributes, concerned.clone(), lasts);
        concerned
    }
}

/// What selects usage for a step by itself.
fn filters_of_usage<'a>(step: &'a Step<'a>) -> impl Iterator<Item = &'a Filter> {
    let selections = match &step.work {
        Work::Base(base, _) => base.select.as_slice(),
        Work::Figure(..) | Work::Amount(_) | Work::Term(_) | Work::Gauge(_) => &[],
    };
    let of_usage = selections.iter().filter(|it| match it.of {
        Source::Charges | Source::Units => true,
        Source::Billings | Source::Facts(_) | Source::Of(_) => false,
    });
    of_usage.map(|selection| &selection.filter)
}
