//! Reported flows: what they yield, and what holds at the end of a period or window in which one is missing.

use super::item::{Attributes, Content, InUnit};
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::state::{Passing, content};
use super::window::window_rule;
use super::{EngineError, Stop};
use crate::domain::calendar::{Calendar, Window};
use crate::domain::contract::measure::{FigureKind, Missing};
use crate::domain::ids::DefinedTerm;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span, local_date};

impl<'a, L: Lines> Engine<'a, L> {
    /// What a flow figure yields where it stands.
    pub(super) fn pass_figure(
        &mut self,
        step: &'a Step<'a>,
        name: &DefinedTerm,
        unit: &Unit,
        passing: &Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        match content(step, passing) {
            Some(Content::Figure { contract, name: reported, value, unit: reported_in })
                if **contract == step.agreement.head.id && *reported == name =>
            {
                let Some(reported_in) = reported_in else { return Ok(Some(value.clone())) };
                self.convert(step, &InUnit { value: value.clone(), unit: reported_in }, unit, passing.of_and_at())
                    .map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Of a figure that was not reported, what the contract says of that.
    pub(super) fn close_figure(
        &mut self,
        step: &'a Step<'a>,
        name: &DefinedTerm,
        (last, end): (Instant, Instant),
    ) -> Result<(), Stop> {
        let Some(figure) = step.version.figures.get(name).filter(|figure| figure.kind == FigureKind::Flow) else {
            return Ok(());
        };
        let (contract, root) = (&step.agreement.head.id, self.root());
        match figure.missing {
            Missing::Last(_)
                if self.ends_period(step, end)
                    && !self.needed(step.stream, (last, end), true).is_empty()
                    && self.known.flow(contract, name, &Attributes::default(), last).is_none()
                    && self.is_due(step, name, last) =>
            {
                match self.figure(step, name, root, last)? {
                    Some(value) => self.emit(step.stream, root, last, value),
                    None => Ok(()),
                }
            }
            Missing::Stop => {
                let is_missing = self
                    .needed(step.stream, (last, end), false)
                    .into_iter()
                    .filter_map(|span| span.intersection(Span { start: self.books_begin, ..Span::ever() }))
                    .any(|span| !self.known.is_covered(contract, name, span));
                match is_missing {
                    true => Err(missing_figure(step, name, last)),
                    false => Ok(()),
                }
            }
            Missing::Last(_) | Missing::Zero | Missing::Nothing => Ok(()),
        }
    }

    /// Whether what stands for a missing flow is of the period that ends: where the last flow was of whole months, one
    /// that long has to end in it.
    fn is_due(&self, step: &Step<'_>, name: &DefinedTerm, last: Instant) -> bool {
        let head = &step.agreement.head;
        let flow = self.known.last_flow(&head.id, name, &Attributes::default(), last);
        let (Some(flow), Some(period)) = (flow, head.settlement.at(last, head.zone)) else { return true };
        let span =
            Window { first_day: local_date(flow.span.start, head.zone), end_day: local_date(flow.span.end, head.zone) };
        let Some(next) = Calendar::as_long_as(span).and_then(|calendar| calendar.window(period.first_day)) else {
            return true;
        };
        next > span && next.end_day <= period.end_day
    }

    /// The stretches of time that end at a boundary and for which the terms that draw on a stream need it; with
    /// `within`, also windows that are still open then and end within a period.
    fn needed(&self, stream: StreamId, (last, end): (Instant, Instant), within: bool) -> Vec<Span> {
        let mut found = Vec::new();
        for step in self.steps().iter().filter(|step| step.streams().any(|it| it == stream)) {
            let Work::Term(term) = &step.work else {
                found.extend(self.needed(step.stream, (last, end), within));
                continue;
            };
            let Some(life) = self.life(step, last) else { continue };
            let rule = window_rule(term.each.as_ref(), term.tiers.as_ref());
            let window = self.window_place(step, rule, last).filter(|_| step.is_of_window).map(|it| it.span);
            let ends = self.period_ends.get(self.plan.streams[step.stream].agreement);
            let is_within = |span: &Span| within && !ends.is_some_and(|ends| ends.contains(&span.end));
            let is_over = window.is_some_and(|it| it.end == end || self.is_reworded(step, end));
            found.extend(match step.is_of_window && term.at_window_end {
                true => window.filter(|it| is_over || is_within(it)).map(|it| Span { end: end.min(it.end), ..it }),
                false => {
                    let zone = step.agreement.head.zone;
                    let period = step.agreement.head.settlement.window(local_date(last, zone)).map(|it| it.span(zone));
                    period.filter(|it| it.end == end || is_over).and_then(|it| it.intersection(life))
                }
            });
        }
        found
    }
}

/// What is missing, on the day of an instant in the agreement's zone.
pub(super) fn missing_figure(step: &Step<'_>, name: &DefinedTerm, at: Instant) -> Stop {
    let head = &step.agreement.head;
    let day = local_date(at, head.zone);
    EngineError::MissingFigure { contract: head.id.clone(), figure: name.clone(), day }.into()
}
