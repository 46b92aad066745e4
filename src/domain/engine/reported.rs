//! Reported flows: what holds at the end of a period or window in which one is missing.

use super::EngineError;
use super::item::Attributes;
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::window::window_rule;
use crate::domain::contract::measure::{FigureKind, Missing};
use crate::domain::ids::DefinedTerm;
use crate::domain::period::{Instant, Span, local_date};

impl<'a, L: Lines> Engine<'a, L> {
    /// Of a figure that was not reported, what the contract says of that.
    pub(super) fn close_figure(
        &mut self,
        step: &'a Step<'a>,
        name: &DefinedTerm,
        (last, end): (Instant, Instant),
    ) -> Result<(), EngineError> {
        let Some(figure) = step.version.figures.get(name).filter(|figure| figure.kind == FigureKind::Flow) else {
            return Ok(());
        };
        let (contract, root) = (&step.agreement.head.id, self.root());
        match figure.missing {
            Missing::Last(_)
                if !self.needed(step.stream, (last, end)).is_empty()
                    && self.known.flow(contract, name, &Attributes::default(), last).is_none() =>
            {
                match self.figure(step, name, root, last)? {
                    Some(value) => self.emit(step.stream, root, last, value),
                    None => Ok(()),
                }
            }
            Missing::Stop => {
                let is_missing = self
                    .needed(step.stream, (last, end))
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

    /// The stretches of time that end at a boundary and for which the terms that draw on a stream need it.
    fn needed(&self, stream: StreamId, (last, end): (Instant, Instant)) -> Vec<Span> {
        let mut found = Vec::new();
        for step in self.steps().iter().filter(|step| step.streams().any(|it| it == stream)) {
            let Work::Term(term) = &step.work else {
                found.extend(self.needed(step.stream, (last, end)));
                continue;
            };
            let Some(life) = self.life(step, last) else { continue };
            let span = match step.is_of_window && term.at_window_end {
                true => {
                    let window = self.window_place(step, window_rule(term.each.as_ref(), term.tiers.as_ref()), last);
                    window.map(|window| window.span).filter(|span| span.end == end)
                }
                false => {
                    let date = local_date(last, step.agreement.head.zone);
                    let period = step.agreement.head.settlement.window(date);
                    period.and_then(|period| period.span(step.agreement.head.zone).intersection(life))
                }
            };
            found.extend(span);
        }
        found
    }
}

/// What is missing, on the day of an instant in the agreement's zone.
pub(super) fn missing_figure(step: &Step<'_>, name: &DefinedTerm, at: Instant) -> EngineError {
    let head = &step.agreement.head;
    let day = local_date(at, head.zone);
    EngineError::MissingFigure { contract: head.id.clone(), figure: name.clone(), day }
}
