//! Figures that are computed of others over a window: ratios and growth.

use super::Stop;
use super::base::delta;
use super::item::{Attributes, AttributesId};
use super::outcome::Lines;
use super::plan::{Step, StreamName, Work};
use super::run::Engine;
use super::state::Passing;
use crate::domain::contract::measure::{FigureDefinition, FigureKind, Measure};
use crate::domain::contract::window::{Counting, Moment, WindowRule};
use crate::domain::ids::DefinedTerm;
use crate::domain::money::Exact;
use crate::domain::period::Instant;

impl<'a, L: Lines> Engine<'a, L> {
    /// Counts what passes toward the measures of a computed figure.
    pub(super) fn pass_gauge(
        &mut self,
        step: &'a Step<'a>,
        figure: &'a FigureDefinition,
        passing: &Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        let Some((measures, over)) = gauged(figure) else { return Ok(None) };
        let group = self.group(&figure.about, step, passing.attributes, passing.at);
        let counting = Counting { each: over.clone(), from: Moment::At(step.version.effective_at) };
        let known = self.known;
        for (place, measure) in measures.into_iter().enumerate() {
            let adds = measure.and_then(|measure| delta(passing, step.input(measure)?)).cloned();
            let state = self.group_state(step.stream, group);
            let counter = state.and_then(|state| state.gauged.get_mut(place));
            if let Some((adds, counter)) = adds.zip(counter)
                && counter.counts(step.agreement, &counting, known, passing.at)
            {
                counter.count += &adds;
            }
        }
        Ok(None)
    }

    /// A computed figure in the window of an instant, as far as that has come; none where it has no value.
    pub(super) fn gauge(
        &self,
        step: &Step<'a>,
        (name, figure): (&DefinedTerm, &FigureDefinition),
        of: AttributesId,
        at: Instant,
    ) -> Result<Option<Exact>, Stop> {
        let place = self.plan.streams[step.stream].agreement;
        let Some(stream) = self.plan.stream(place, &StreamName::Gauge(name.clone())) else { return Ok(None) };
        // It is read as far as it has come.
        self.needs_items();
        let value = |name| self.attribute(step, of, at, name).map(str::to_owned);
        let values = figure.about.iter().filter_map(|name| Some((name.clone(), value(name)?)));
        let group = self.known_group(&Attributes(values.collect()));
        let state = group.and_then(|group| self.streams.get(stream.place())?.groups.get(&group));
        let counted = |place: usize| {
            let counter = state.and_then(|state| state.gauged.get(place));
            counter.map(|counter| counter.in_window_of(at).clone()).unwrap_or_default()
        };
        match &figure.kind {
            FigureKind::Ratio { to, .. } => {
                let own = self.steps().iter().find(|step| step.stream == stream);
                let is_counted = own.is_some_and(|own| match &own.work {
                    Work::Gauge(FigureDefinition { kind: FigureKind::Ratio { to, .. }, .. }) => own.input(to).is_some(),
                    _ => false,
                });
                let to = match to {
                    // A level is looked up, not counted.
                    Measure::Figure(level) if !is_counted => self.figure(step, level, of, at)?.unwrap_or_default(),
                    _ => counted(1),
                };
                Ok(counted(0).checked_div(&to))
            }
            FigureKind::Growth { .. } => {
                let before = state.and_then(|state| state.gauged.first()).map(|counter| counter.previous.clone());
                let ratio = before.and_then(|before| counted(0).checked_div(&before));
                Ok(ratio.map(|ratio| &ratio - &Exact::from_integer(1)))
            }
            FigureKind::Flow | FigureKind::Level | FigureKind::Average { .. } | FigureKind::Left { .. } => Ok(None),
        }
    }
}

/// What a computed figure counts, and over which windows.
fn gauged(figure: &FigureDefinition) -> Option<([Option<&Measure>; 2], &WindowRule)> {
    match &figure.kind {
        FigureKind::Ratio { of, to, over } => Some(([Some(of), Some(to)], over)),
        FigureKind::Growth { of, over } => Some(([Some(of), None], over)),
        FigureKind::Flow | FigureKind::Level | FigureKind::Average { .. } | FigureKind::Left { .. } => None,
    }
}
