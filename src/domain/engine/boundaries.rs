//! Boundaries: every instant at which anything may change, so that between two of them nothing does.

use super::knowledge::Knowledge;
use super::life::{calendar, instant};
use super::mentions::tables;
use super::plan::{Plan, Step, Work};
use super::state::StreamState;
use crate::domain::calendar::Calendar;
use crate::domain::contract::Contract;
use crate::domain::contract::measure::{FigureKind, Measure};
use crate::domain::contract::term::{On, Term};
use crate::domain::contract::value::{Cell, Condition, Table};
use crate::domain::contract::window::WindowRule;
use crate::domain::period::{Instant, Span, local_date, start_of_day};
use std::collections::BTreeSet;

/// Whether a table says the same of an item until the next boundary: only what is set from outside changes it.
pub fn is_steady(step: &Step<'_>, table: &Table) -> bool {
    let is_told = |measure: &&Measure| match measure {
        Measure::Figure(name) => {
            let kind = step.version.figures.get(name).map(|figure| &figure.kind);
            matches!(kind, Some(FigureKind::Flow | FigureKind::Level))
        }
        Measure::Base(_) | Measure::Amount(_) | Measure::Accrual { .. } => false,
    };
    fn reads(table: &Table) -> bool {
        table.rows.iter().any(|row| match &row.is {
            Cell::Tiered { .. } | Cell::Noticed(_) => true,
            Cell::Table(inner) => reads(inner),
            Cell::Number(_) | Cell::Nothing | Cell::Measured(_) => false,
        })
    }
    !reads(table) && table.mentions().iter().all(is_told)
}

/// Where the run stops between items.
pub struct Boundaries {
    /// Every instant at which anything may change.
    pub cuts: BTreeSet<Instant>,
    /// Those at which accruals are noted: a cap or a minimum may begin to count in the past.
    pub marks: BTreeSet<Instant>,
    /// Beside the agreements: where their settlement periods end.
    pub period_ends: Vec<BTreeSet<Instant>>,
}

/// Every boundary up to an end.
pub(super) fn boundaries(plan: &Plan<'_>, known: &Knowledge, streams: &[StreamState], end: Instant) -> Boundaries {
    let start = plan.epochs.first().map_or(end, |epoch| epoch.span.start);
    let mut cuts: BTreeSet<Instant> = plan.epochs.iter().map(|epoch| epoch.span.start).collect();
    let mut marks = BTreeSet::new();
    cuts.extend(known.changes());
    for stretch in streams.iter().flat_map(|stream| &stream.stretches) {
        cuts.extend([stretch.span.start, stretch.span.end]);
    }
    let mut period_ends = Vec::new();
    for agreement in plan.agreements {
        for (name, fact) in agreement.versions.iter().flat_map(|version| &version.facts) {
            let zone = agreement.head.zone;
            cuts.extend(fact.lasts.iter().flat_map(|lasts| known.lapses(&agreement.head.id, name, *lasts, zone)));
        }
        let span = Span { start, end };
        let ends = window_edges(agreement, &WindowRule::Period, known, span);
        cuts.extend(&ends);
        period_ends.push(ends);
    }
    for step in plan.epochs.iter().flat_map(|epoch| &epoch.steps) {
        let agreement = step.agreement;
        for cap in step.version.caps.values() {
            marks.extend(instant(agreement, &cap.counting.from, known));
            marks.extend(window_edges(agreement, &cap.counting.each, known, Span { start, end }));
        }
        if let Work::Term(Term { minimum: Some(minimum), .. }) = &step.work {
            marks.extend(window_edges(agreement, &minimum.each, known, Span { start, end }));
            let stretches = streams.get(step.stream.place()).map(|state| state.stretches.iter());
            marks.extend(stretches.into_iter().flatten().map(|stretch| stretch.span.start));
        }
        for rule in rules(step) {
            cuts.extend(window_edges(agreement, rule, known, Span { start, end }));
        }
        for table in tables(&step.work, step.version) {
            cuts.extend(dates(table));
            // A value that was set by notice holds so long after it.
            let (id, zone) = (&agreement.head.id, agreement.head.zone);
            cuts.extend(table.notices().into_iter().flat_map(|notice| {
                known.levels(id, &notice.name).map(move |level| notice.notice.after(level.at, zone))
            }));
        }
        if let Work::Term(Term { on: Some(On::Dates(dates)), .. }) = &step.work {
            cuts.extend(dates.iter().map(|date| start_of_day(agreement.head.zone, *date)));
        }
    }
    cuts.extend(&marks);
    cuts.insert(end);
    cuts.retain(|cut| start <= *cut && *cut <= end);
    Boundaries { cuts, marks, period_ends }
}

/// The starts and ends of the windows that meet a span.
fn window_edges(agreement: &Contract, rule: &WindowRule, known: &Knowledge, span: Span) -> BTreeSet<Instant> {
    let mut edges = BTreeSet::new();
    let Some(calendar) = calendar(agreement, rule, known) else { return edges };
    let mut first_day = local_date(span.start, agreement.head.zone);
    if let Calendar::Dates(starts) = &calendar {
        // Before the first of listed dates there is no window.
        first_day = first_day.max(starts.first().copied().unwrap_or(first_day));
    }
    let mut window = calendar.window(first_day);
    while let Some(open) = window.filter(|it| it.span(agreement.head.zone).start < span.end) {
        let of_window = open.span(agreement.head.zone);
        edges.extend([of_window.start, of_window.end]);
        window = calendar.next(open);
    }
    edges
}

/// The windows in the wording of a step.
fn rules<'s>(step: &'s Step<'_>) -> Vec<&'s WindowRule> {
    match &step.work {
        Work::Figure(..) => Vec::new(),
        Work::Gauge(figure) => match &figure.kind {
            FigureKind::Ratio { over, .. } | FigureKind::Growth { over, .. } => vec![over],
            FigureKind::Flow | FigureKind::Level | FigureKind::Average { .. } | FigureKind::Left { .. } => Vec::new(),
        },
        Work::Base(base, _) => base.above.iter().map(|above| &above.counting.each).collect(),
        Work::Amount(amount) => {
            amount.each.iter().chain(amount.tiers.iter().map(|tiers| &tiers.counting.each)).collect()
        }
        Work::Term(term) => {
            let minimum = term.minimum.iter().map(|minimum| &minimum.each);
            term.each.iter().chain(term.tiers.iter().map(|tiers| &tiers.counting.each)).chain(minimum).collect()
        }
    }
}

/// The instants at which rows of a table begin or end to hold.
fn dates(table: &Table) -> Vec<Instant> {
    let conditions = table.all_conditions();
    let spans =
        conditions.into_iter().filter_map(|it| if let Condition::Dates(span) = it { Some(*span) } else { None });
    spans.flat_map(|span| [span.start, span.end]).collect()
}
