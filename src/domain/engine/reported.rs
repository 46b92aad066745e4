//! Reported figures: what flows yield, what holds at the end of a period or window in which one is missing, and means of levels.

use super::item::{Attributes, AttributesId, Content, InUnit};
use super::life::calendar;
use super::outcome::Lines;
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::state::{Passing, content};
use super::window::window_rule;
use super::{EngineError, Stop};
use crate::domain::calendar::{Calendar, Window};
use crate::domain::contract::measure::{FigureKind, Missing};
use crate::domain::contract::window::WindowRule;
use crate::domain::ids::DefinedTerm;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span, end_of_day_exclusive, last_instant_before, local_date};
use chrono::NaiveDate;
use chrono_tz::Tz;

impl<'a, L: Lines> Engine<'a, L> {
    /// The mean of a level over the days of a window up to an instant, as it holds at the end of each day.
    pub(super) fn average(
        &self,
        step: &Step<'a>,
        (level, over): (&DefinedTerm, &WindowRule),
        of: AttributesId,
        at: Instant,
    ) -> Option<Exact> {
        let zone = step.agreement.head.zone;
        let today = local_date(at, zone);
        let first_day = calendar(step.agreement, over, self.known)?.window(today)?.first_day;
        let mut sum = Exact::zero();
        let mut days = 0_i64;
        for day in first_day.iter_days().take_while(|day| *day <= today) {
            let end_of_day = last_instant_before(end_of_day_exclusive(zone, day));
            sum += self.known.level(&step.agreement.head.id, level, &self.attributes[of], end_of_day)?;
            days = days.saturating_add(1);
        }
        sum.checked_div(&Exact::from_integer(days))
    }

    /// The part of a window's days that is left, today not counted.
    pub(super) fn part_left(&self, step: &Step<'a>, rule: &WindowRule, at: Instant) -> Option<Exact> {
        let today = local_date(at, step.agreement.head.zone);
        let window = calendar(step.agreement, rule, self.known)?.window(today)?;
        let days = |from: NaiveDate, to: NaiveDate| Exact::from_integer(to.signed_duration_since(from).num_days());
        days(today, window.end_day).checked_div(&days(window.first_day, window.end_day))
    }

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
                let missing: Vec<Span> = self
                    .needed(step.stream, (last, end), false)
                    .into_iter()
                    .filter_map(|span| span.intersection(Span { start: self.books_begin, ..Span::ever() }))
                    .flat_map(|span| self.known.uncovered(contract, name, span))
                    .collect();
                match missing.is_empty() {
                    true => Ok(()),
                    false => Err(missing_days(step, name, days_of(missing, step.agreement.head.zone))),
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
    missing_days(step, name, vec![days(Span { start: at, end: at }, step.agreement.head.zone)])
}

fn missing_days(step: &Step<'_>, name: &DefinedTerm, days: Vec<Window>) -> Stop {
    EngineError::MissingFigure { contract: step.agreement.head.id.clone(), figure: name.clone(), days }.into()
}

/// The days on which stretches of time lie, in order: those that touch as one, as several terms may need one figure.
fn days_of(mut spans: Vec<Span>, zone: Tz) -> Vec<Window> {
    spans.sort_by_key(|span| span.start);
    let mut found: Vec<Window> = Vec::new();
    for next in spans.into_iter().map(|span| days(span, zone)) {
        match found.last_mut().filter(|before| next.first_day <= before.end_day) {
            Some(before) => before.end_day = before.end_day.max(next.end_day),
            None => found.push(next),
        }
    }
    found
}

fn days(span: Span, zone: Tz) -> Window {
    let (first_day, last_day) = (local_date(span.start, zone), local_date(last_instant_before(span.end), zone));
    let end_day = last_day.max(first_day).succ_opt().unwrap_or(first_day);
    Window { first_day, end_day }
}
