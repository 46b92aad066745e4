//! What a wording measures: in its own words, in its values, and what of it is looked up.

use super::plan::Work;
use crate::domain::contract::Version;
use crate::domain::contract::measure::{FigureKind, Measure, NodeKind, PartBlock, Reduction, Source};
use crate::domain::contract::term::{Apply, Term};
use crate::domain::contract::value::Table;
use crate::domain::contract::whole;
use crate::domain::contract::window::Moment;

/// The measures in the wording of a stream.
pub(super) fn measures<'a>(work: &Work<'a>) -> Vec<&'a Measure> {
    let mut found = Vec::new();
    match work {
        Work::Figure(..) => {}
        Work::Base(base, _) => {
            for selection in &base.select {
                found.extend(match &selection.of {
                    Source::Of(measure) => Some(measure),
                    Source::Charges | Source::Billings | Source::Units | Source::Facts(_) => None,
                });
            }
            for less in &base.less {
                if let Reduction::Node(node) = &less.what {
                    found.extend(node.measures());
                }
            }
            found.extend(base.above.as_ref().and_then(|above| above.of.as_ref()));
        }
        Work::Gauge(figure) => match &figure.kind {
            FigureKind::Ratio { of, to, .. } => found.extend([of, to]),
            FigureKind::Growth { of, .. } => found.push(of),
            FigureKind::Flow | FigureKind::Level | FigureKind::Average { .. } | FigureKind::Left { .. } => {}
        },
        Work::Amount(amount) => {
            found.extend(amount.node.measures());
            found.extend(amount.tiers.as_ref().and_then(|tiers| tiers.of.as_ref()));
        }
        Work::Term(term) => {
            found.extend(term.node.iter().flat_map(|node| node.measures()));
            found.extend(term.tiers.as_ref().and_then(|tiers| tiers.of.as_ref()));
            found.extend(term.minimum.iter().flat_map(|minimum| &minimum.of));
        }
    }
    found
}

/// Every table in the wording of a stream: of its numbers, and of what limits it.
pub(super) fn tables<'a>(work: &Work<'a>, version: &'a Version) -> Vec<&'a Table> {
    match work {
        Work::Figure(..) | Work::Gauge(_) => Vec::new(),
        Work::Base(base, _) => {
            let less = base.less.iter().flat_map(|less| match &less.what {
                Reduction::Node(node) => node.tables(),
                Reduction::Deductions(_) => Vec::new(),
            });
            less.chain(base.above.iter().map(|above| &above.is)).collect()
        }
        Work::Amount(amount) => amount.node.tables(),
        Work::Term(term) => {
            let cap = term.cap.as_ref().and_then(|name| version.caps.get(name)).map(|cap| &cap.limit);
            let minimum = term.minimum.as_ref().map(|minimum| &minimum.is);
            let credits = term.credits.iter().filter_map(|credit| credit.limit.as_ref());
            let node = term.node.iter().flat_map(|node| node.tables());
            node.chain(cap).chain(minimum).chain(credits).collect()
        }
    }
}

/// The measures that stand where a number could.
pub(super) fn read_by_values<'a>(work: &Work<'a>, version: &'a Version) -> Vec<&'a Measure> {
    tables(work, version).into_iter().flat_map(|table| table.mentions()).collect()
}

/// Whether a measure is a figure that is looked up where it is needed: a level, or what a level of tiers reads.
pub(super) fn is_read_where_needed(measure: &Measure, version: &Version, work: &Work<'_>) -> bool {
    if !matches!(measure, Measure::Figure(_)) {
        return false;
    }
    let tiers = match work {
        Work::Amount(amount) => amount.tiers.as_ref(),
        Work::Term(term) => term.tiers.as_ref(),
        Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => None,
    };
    let read = tiers.filter(|tiers| matches!(tiers.apply, Apply::Level(_))).and_then(|tiers| tiers.of.as_ref());
    whole::is_looked_up(measure, &version.figures) || read.is_some_and(|read| std::ptr::eq(read, measure))
}

/// From when on a term counts what is not its own alone: toward its tiers, or into blocks of units.
pub(super) fn counts_from(term: &Term) -> Option<&Moment> {
    let running = match term.node.as_ref().map(|node| &node.kind) {
        Some(NodeKind::Price { part_block: PartBlock::Running(from) | PartBlock::Started(from), .. }) => Some(from),
        _ => None,
    };
    term.tiers.as_ref().map(|tiers| &tiers.counting.from).or(running)
}
