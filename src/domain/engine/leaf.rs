//! Leaves of terms: a step of a measure times its rate or price, where tiers or a level may choose the rate.

use super::Stop;
use super::addend::{Addend, Measured};
use super::base::delta;
use super::item::{AttributesId, InUnit};
use super::life::{calendar, instant};
use super::node::{Blocks, Leaf, Leaves, blocks, evaluate, leaves_of, tiered, tiered_by_own_amount};
use super::outcome::{Cause, Lines};
use super::plan::{Step, Work};
use super::reported::missing_figure;
use super::run::Engine;
use super::state::Passing;
use super::table::Bands;
use super::watch::Total;
use super::window::is_told_at_end;
use crate::domain::contract::measure::{FigureKind, Measure, Missing, Node, PartBlock};
use crate::domain::contract::term::{Apply, Read, Term, Tiers};
use crate::domain::contract::value::Table;
use crate::domain::contract::window::WindowRule;
use crate::domain::ids::DefinedTerm;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, last_instant_before, local_date};
use std::borrow::Cow;
use std::ops::Neg;
use std::rc::Rc;

/// The leaves of a node at an item: what the item adds to each.
pub(super) struct ItemLeaves<'l, 'a, 'i, L> {
    pub engine: &'l mut Engine<'a, L>,
    pub step: &'a Step<'a>,
    pub passing: &'l Passing<'i>,
    pub tiers: Option<&'a Tiers>,
    pub group: AttributesId,
    /// Whether what passes takes off: what counts of it goes back, and what is looked up stays.
    pub is_back: bool,
    /// How many leaves came before.
    met: usize,
}

impl<'l, 'a, 'i, L: Lines> ItemLeaves<'l, 'a, 'i, L> {
    pub fn new(
        engine: &'l mut Engine<'a, L>,
        step: &'a Step<'a>,
        passing: &'l Passing<'i>,
        tiers: Option<&'a Tiers>,
        group: AttributesId,
    ) -> Self {
        Self { engine, step, passing, tiers, group, is_back: false, met: 0 }
    }

    /// The value of a node at the item. One that compares, or adds a sum, goes back the way that it went.
    ///
    /// # Errors
    /// A leaf has none.
    pub fn evaluate(mut self, node: &'a Node, needs_whole: bool) -> Result<Exact, Stop> {
        self.is_back = needs_whole && goes_back(self.step, node, self.passing);
        self.addends().clear();
        let value = evaluate(node, &mut self);
        if !self.is_back {
            return value;
        }
        self.addends().iter_mut().for_each(Addend::negate);
        value.map(Neg::neg)
    }
}

impl<'a, L: Lines> Leaves<'a> for ItemLeaves<'_, 'a, '_, L> {
    fn leaf(&mut self, leaf: Leaf<'a>) -> Result<Exact, Stop> {
        let goes_back = self.is_back && self.step.input(leaf.of).is_some();
        // Loading gives a term whose bands are told at a window's end that window.
        let (tiers, told_at_end, start) = (self.tiers, &mut None, self.addends().len());
        let amount = self.engine.add_to_leaf(self.step, (leaf, tiers), self.group, self.passing, None, told_at_end);
        let place = self.met;
        self.met = place.saturating_add(1);
        for addend in self.addends().iter_mut().skip(start) {
            addend.leaf = place;
            if goes_back {
                addend.negate();
            }
        }
        if goes_back { amount.map(Neg::neg) } else { amount }
    }

    /// A fixed sum belongs to a window or a day; for each item it stands beside what comes item by item.
    fn fixed(&mut self, table: &'a Table) -> Result<Exact, Stop> {
        let sum = self.factor(table)?;
        self.engine.adds_sum(&sum);
        Ok(sum)
    }

    fn factor(&mut self, table: &'a Table) -> Result<Exact, Stop> {
        let Passing { attributes, at, .. } = *self.passing;
        self.engine.number_reached(self.step, (table, self.tiers), (self.group, attributes), (at, None))
    }

    fn addends(&mut self) -> &mut Vec<Addend> {
        &mut self.engine.telling.addends
    }

    /// What is owed on a day is not of an item.
    fn guarantees(&self) -> bool {
        self.passing.cause != Cause::On || !self.engine.is_in_tail(self.step, self.passing.at)
    }
}

impl<'a, L: Lines> Engine<'a, L> {
    /// The number that a table says.
    pub(super) fn number(
        &mut self,
        step: &Step<'a>,
        table: &'a Table,
        of: AttributesId,
        when: (Instant, Option<u32>),
    ) -> Result<Exact, Stop> {
        if let Some(number) = table.plain() {
            return Ok(number.clone());
        }
        let bands = self.bands(step, table, of, when)?;
        Ok(bands.single().flatten().cloned().unwrap_or_default())
    }

    /// As [`Engine::number`]; of several bands the one that tiers have reached.
    pub(super) fn number_reached(
        &mut self,
        step: &'a Step<'a>,
        (table, tiers): (&'a Table, Option<&Tiers>),
        (group, of): (AttributesId, AttributesId),
        (at, window): (Instant, Option<u32>),
    ) -> Result<Exact, Stop> {
        let Some(tiers) = tiers.filter(|_| table.has_bands()) else {
            return self.number(step, table, of, (at, window));
        };
        let bands = self.bands(step, table, of, (at, window))?;
        if let Some(single) = bands.single() {
            return Ok(single.cloned().unwrap_or_default());
        }
        let level = self.level_of_tiers(step, (tiers, &bands), group, of, at)?;
        Ok(level.as_ref().and_then(|level| bands.reached(level)).cloned().unwrap_or_default())
    }

    /// What passes adds to a leaf; where the end of its window tells which band holds, the quantity and of which bands.
    pub(super) fn add_to_leaf(
        &mut self,
        step: &'a Step<'a>,
        (leaf, tiers): (Leaf<'a>, Option<&'a Tiers>),
        group: AttributesId,
        passing: &Passing<'_>,
        window: Option<u32>,
        told_at_end: &mut Option<Rc<Bands>>,
    ) -> Result<Exact, Stop> {
        let at = passing.at;
        let measured: Cow<'_, Exact> = match (step.input(leaf.of), leaf.of) {
            // What is owed on a day, or at a fact, is of all that it has come to by then.
            (Some(stream), _) if passing.cause == Cause::On => {
                let value = self.total(stream);
                Cow::Owned(match self.unit_of(stream) {
                    Some(unit) => self.convert(step, &InUnit { value, unit }, &step.unit, passing.of_and_at())?,
                    None => value,
                })
            }
            (Some(_), of) => self.drawn(step, of, &step.unit, passing)?.unwrap_or_default(),
            (None, Measure::Figure(name)) => Cow::Owned(self.looked_up(step, name, passing.of_and_at())?),
            (None, Measure::Base(_) | Measure::Amount(_) | Measure::Accrual { .. }) => Cow::Owned(Exact::zero()),
        };
        let blocks = leaf.blocks.map(|of| self.blocks(step, (group, at), &measured, of));
        let counted = blocks.as_ref().unwrap_or(&measured);
        // Of what has come up by a day nobody says what passed.
        let is_told = || self.lines.wants_addends() && passing.cause != Cause::On && step.input(leaf.of).is_some();
        let pass = is_told().then_some(passing.number);
        if measured.is_zero() {
            if let Some(tiers) = tiers.filter(|tiers| tiers.apply == Apply::Marginal && leaf.table.has_bands()) {
                self.count_beside(step, tiers, group, passing);
            }
            return Ok(Exact::zero());
        }
        let (step, leaf, tiers) = self.worded_at_end(step, (leaf, tiers), at).unwrap_or((step, leaf, tiers));
        let measured = Measured { amount: &measured, counted, pass };
        if let Some(rate) = leaf.table.plain() {
            self.adds(leaf, measured, Some(rate));
            return Ok(counted * rate);
        }
        let bands = self.bands(step, leaf.table, passing.attributes, (at, window))?;
        if let Some(rate) = bands.single() {
            return Ok(self.at_rate(leaf, measured, rate));
        }
        let Some(tiers) = tiers else { return Ok(Exact::zero()) };
        if window.is_some() && is_told_at_end(tiers, step) {
            *told_at_end = Some(bands);
            self.adds(leaf, measured, None);
            return Ok(counted.clone());
        }
        if tiers.apply == Apply::Marginal {
            return self.add_marginal((step, leaf, tiers), group, passing, (&bands, measured));
        }
        let level = self.level_of_tiers(step, (tiers, &bands), group, passing.attributes, at)?;
        let rate = level.as_ref().and_then(|level| bands.reached(level));
        Ok(self.at_rate(leaf, measured, rate))
    }

    /// A credit, item by item at a rate that a window's end tells, as the version in force at that end words it.
    fn worded_at_end(
        &self,
        step: &Step<'a>,
        (leaf, tiers): (Leaf<'a>, Option<&'a Tiers>),
        at: Instant,
    ) -> Option<(&'a Step<'a>, Leaf<'a>, Option<&'a Tiers>)> {
        let tiers = tiers.filter(|it| it.apply == Apply::Level(Read::WindowEnd) && !step.is_of_window)?;
        let (node, _) = in_windows(step)?;
        let last = last_instant_before(self.window_place(step, &tiers.counting.each, at)?.span.end);
        // Mostly no version comes between.
        if self.epoch().is_some_and(|epoch| epoch.span.contains(last)) {
            return None;
        }
        let later = self.plan.epochs.iter().find(|epoch| epoch.span.contains(last))?;
        let later = later.steps.iter().find(|later| later.stream == step.stream)?;
        let (worded, later_tiers) = in_windows(later)?;
        let later_tiers = later_tiers?;
        let goes_on =
            later_tiers.apply == tiers.apply && later_tiers.counting.each == tiers.counting.each && !later.is_of_window;
        let (mut leaves, mut later_leaves) = (Vec::new(), Vec::new());
        leaves_of(node, &mut leaves);
        leaves_of(worded, &mut later_leaves);
        let place = leaves.iter().position(|it| std::ptr::eq(it.table, leaf.table))?;
        let leaf = later_leaves.get(place).filter(|it| goes_on && it.of == leaf.of)?;
        Some((later, *leaf, Some(later_tiers)))
    }

    /// Counts toward tiers what the term itself yields nothing of.
    fn count_beside(&mut self, step: &'a Step<'a>, tiers: &Tiers, group: AttributesId, passing: &Passing<'_>) {
        let counter_of = tiers.of.as_ref().and_then(|measure| step.input(measure)).filter(|of| *of != step.stream);
        if let Some(adds) = counter_of.and_then(|of| delta(passing, of)).cloned() {
            self.count(step, tiers, (group, passing.at), &adds);
        }
    }

    fn count(&mut self, step: &Step<'a>, tiers: &Tiers, (group, at): (AttributesId, Instant), adds: &Exact) {
        let known = self.known;
        if let Some(state) = self.group_state(step.stream, group)
            && state.tiers.counts(step.agreement, &tiers.counting, known, at)
        {
            let before = state.tiers.count.clone();
            state.tiers.count += adds;
            self.watches.advance(Total::Tiers(step.stream, group), &before, adds, []);
        }
    }

    /// Counts what a level is read of, where that is not told at a window's end.
    pub(super) fn count_level(
        &mut self,
        step: &'a Step<'a>,
        tiers: Option<&'a Tiers>,
        group: AttributesId,
        passing: &Passing<'_>,
    ) {
        let is_level = |tiers: &&Tiers| matches!(tiers.apply, Apply::Level(_)) && !is_told_at_end(tiers, step);
        if let Some(tiers) = tiers.filter(is_level) {
            self.count_beside(step, tiers, group, passing);
        }
    }

    /// Counts what a term accrues, where its own tiers read a level of that.
    pub(super) fn count_own(&mut self, step: &Step<'a>, term: &Term, place: (AttributesId, Instant), amount: &Exact) {
        let is_own = |tiers: &&Tiers| {
            let of = tiers.of.as_ref().and_then(|measure| step.input(measure));
            matches!(tiers.apply, Apply::Level(_)) && of == Some(step.stream)
        };
        if let Some(tiers) = term.tiers.as_ref().filter(is_own) {
            self.count(step, tiers, place, amount);
        }
    }

    /// Counts toward the tiers and blocks of a term before it begins, from the date on that it states.
    pub(super) fn count_only(&mut self, step: &'a Step<'a>, term: &'a Term, passing: &Passing<'_>) {
        let mut leaves = Vec::new();
        term.node.iter().for_each(|node| leaves_of(node, &mut leaves));
        for leaf in leaves {
            let measured = step.input(leaf.of).and_then(|of| delta(passing, of)).cloned();
            let running =
                leaf.blocks.filter(|blocks| matches!(blocks.part, PartBlock::Running(_) | PartBlock::Started(_)));
            if let Some((measured, blocks)) = measured.zip(running) {
                let group = self.group(&term.per, step, passing.attributes, passing.at);
                self.blocks(step, (group, passing.at), &measured, blocks);
            }
        }
        let Some(tiers) = term.tiers.as_ref().filter(|it| it.apply == Apply::Whole || !is_told_at_end(it, step)) else {
            return;
        };
        let counter_of = match &tiers.of {
            Some(measure) => step.input(measure).filter(|of| *of != step.stream),
            None => step.of.first().copied(),
        };
        let Some(adds) = counter_of.and_then(|of| delta(passing, of)).cloned() else { return };
        let (known, group) = (self.known, self.group(&term.per, step, passing.attributes, passing.at));
        if let Some(state) = self.group_state(step.stream, group)
            && state.tiers.counts(step.agreement, &tiers.counting, known, passing.at)
        {
            state.tiers.count += &adds;
        }
    }

    /// Each part of a step at the rate of its band, as far as the counter has come.
    fn add_marginal(
        &mut self,
        (step, leaf, tiers): (&'a Step<'a>, Leaf<'a>, &Tiers),
        group: AttributesId,
        passing: &Passing<'_>,
        (bands, measured): (&Bands, Measured<'_>),
    ) -> Result<Exact, Stop> {
        let counter_of = tiers.of.as_ref().and_then(|measure| step.input(measure));
        let is_own = counter_of == Some(step.stream);
        let adds = counter_of.map_or(Some(measured.amount), |other| delta(passing, other)).cloned().unwrap_or_default();
        let known = self.known;
        let Some(state) = self.group_state(step.stream, group) else { return Ok(Exact::zero()) };
        let counter = &mut state.tiers;
        if !counter.counts(step.agreement, &tiers.counting, known, passing.at) {
            return Ok(Exact::zero());
        }
        let parts = match is_own {
            true => tiered_by_own_amount(bands, measured.counted, &counter.count),
            false => tiered(bands, measured.counted, &counter.count, &adds),
        };
        let amount = parts.iter().filter_map(|(part, rate)| Some(part * (*rate)?)).sum();
        let before = counter.count.clone();
        let adds = if is_own { &amount } else { &adds };
        counter.count += adds;
        self.watches.advance(Total::Tiers(step.stream, group), &before, adds, bands.edges());
        self.adds_by_band(leaf, measured, &parts);
        Ok(amount)
    }

    /// What tiers read that choose a rate for all: a figure, or how far a measure has come.
    pub(super) fn level_of_tiers(
        &mut self,
        step: &'a Step<'a>,
        (tiers, bands): (&Tiers, &Bands),
        group: AttributesId,
        of: AttributesId,
        at: Instant,
    ) -> Result<Option<Exact>, Stop> {
        let read = if let Apply::Level(read) = tiers.apply { read } else { Read::WindowEnd };
        if let Some(Measure::Figure(name)) = tiers.of.as_ref().filter(|measure| step.input(measure).is_none()) {
            let read_at = self.read_at(step, &tiers.counting.each, read, at);
            return match read_at {
                Some(read_at) => self.figure(step, name, of, read_at),
                None => Ok(None),
            };
        }
        if let Some(Measure::Amount(_) | Measure::Accrual { .. }) = tiers.of
            && let Some(stream) = tiers.of.as_ref().and_then(|measure| step.input(measure))
            && tiers.counting.each == WindowRule::Term
        {
            self.needs_items();
            // What is not told apart there is one level for all groups.
            let groups = self.streams.get(stream.place()).map(|state| &state.groups);
            let found = groups.and_then(|groups| groups.get(&group).or_else(|| groups.get(&self.root())));
            return Ok(Some(found.map(|group| group.accrued.clone()).unwrap_or_default()));
        }
        let known = self.known;
        let Some(state) = self.group_state(step.stream, group) else { return Ok(None) };
        if matches!(tiers.apply, Apply::Level(_)) {
            // A window may have begun since it last counted.
            state.tiers.counts(step.agreement, &tiers.counting, known, at);
        }
        if read == Read::PreviousWindow {
            return Ok(Some(state.tiers.previous.clone()));
        }
        let level = state.tiers.count.clone();
        self.watches.advance(Total::Tiers(step.stream, group), &level, &Exact::zero(), bands.edges());
        Ok(Some(level))
    }

    /// What the tiers of a cell read: a figure, or how far a measure has come in all.
    pub(super) fn level_of(
        &self,
        step: &Step<'a>,
        tiers: &Tiers,
        of: AttributesId,
        at: Instant,
    ) -> Result<Option<Exact>, Stop> {
        let read = if let Apply::Level(read) = tiers.apply { read } else { Read::AtItem };
        match &tiers.of {
            Some(Measure::Figure(name)) => match self.read_at(step, &tiers.counting.each, read, at) {
                Some(read_at) => self.figure(step, name, of, read_at),
                None => Ok(None),
            },
            Some(measure) => Ok(self.come_to(step, measure)),
            None => Ok(None),
        }
    }

    /// The instant at which a level is read; none before there is a window.
    fn read_at(&self, step: &Step<'a>, each: &WindowRule, read: Read, at: Instant) -> Option<Instant> {
        let zone = step.agreement.head.zone;
        let date = local_date(at, zone);
        let window = calendar(step.agreement, each, self.known).and_then(|calendar| calendar.window(date));
        let span = window.map(|window| window.span(zone));
        match read {
            Read::AtItem => Some(at),
            Read::WindowStart => span.map(|span| span.start),
            Read::WindowEnd => span.map(|span| last_instant_before(span.end)),
            Read::PreviousWindow => span.map(|span| last_instant_before(span.start)),
        }
    }

    /// A figure at an instant: a level that holds, or the flow of the time in which the instant lies. Where it is
    /// missing, what the contract says of that; nothing where it says that nothing accrues.
    pub(super) fn figure(
        &self,
        step: &Step<'a>,
        name: &DefinedTerm,
        of: AttributesId,
        at: Instant,
    ) -> Result<Option<Exact>, Stop> {
        let missing = || missing_figure(step, name, at);
        let Some(figure) = step.version.figures.get(name) else { return Err(missing()) };
        let (contract, attributes) = (&step.agreement.head.id, &self.attributes[of]);
        let (found, last) = match &figure.kind {
            FigureKind::Level => {
                let level = self.known.level(contract, name, attributes, at);
                (level.cloned(), None)
            }
            FigureKind::Flow => {
                let flow = self.known.flow(contract, name, attributes, at);
                (flow.cloned(), self.known.last_flow(contract, name, attributes, at).map(|last| last.value.clone()))
            }
            FigureKind::Average { of: level, over } => (self.average(step, (level, over), of, at), None),
            FigureKind::Left { of } => (self.part_left(step, of, at), None),
            FigureKind::Ratio { .. } | FigureKind::Growth { .. } => (self.gauge(step, (name, figure), of, at)?, None),
        };
        match (found, &figure.missing) {
            (Some(value), _) => Ok(Some(value)),
            (None, Missing::Zero) => Ok(Some(Exact::zero())),
            (None, Missing::Nothing) => Ok(None),
            (None, Missing::Last(part)) => last.map(|last| Some(&last * part)).ok_or_else(missing),
            (None, Missing::Stop) if at < self.books_begin => Ok(Some(Exact::zero())),
            (None, Missing::Stop) => Err(missing()),
        }
    }

    /// Blocks of units: of each item, or of a running count.
    pub(super) fn blocks(
        &mut self,
        step: &Step<'a>,
        (group, at): (AttributesId, Instant),
        measured: &Exact,
        of: Blocks<'_>,
    ) -> Exact {
        if *of.part != PartBlock::Exact {
            self.needs_items();
        }
        let (PartBlock::Running(from) | PartBlock::Started(from)) = of.part else { return blocks(measured, of) };
        if instant(step.agreement, from, self.known).is_none_or(|from| at < from) {
            return Exact::zero();
        }
        let Some(state) = self.group_state(step.stream, group) else { return Exact::zero() };
        let before = blocks(&state.blocks, of);
        state.blocks += measured;
        blocks(&state.blocks, of) - before
    }
}

/// Whether what passes takes off of what a node is of, and adds to nothing of it.
fn goes_back(step: &Step<'_>, node: &Node, passing: &Passing<'_>) -> bool {
    let deltas = || node.measures().into_iter().filter_map(|it| delta(passing, step.input(it)?));
    deltas().any(Exact::is_negative) && deltas().all(|delta| delta.is_negative() || delta.is_zero())
}

/// What a term or amount of windows is made of, and its tiers.
fn in_windows<'a>(step: &Step<'a>) -> Option<(&'a Node, Option<&'a Tiers>)> {
    match &step.work {
        Work::Term(term) => term.each.as_ref().and_then(|_| Some((term.node.as_ref()?, term.tiers.as_ref()))),
        Work::Amount(amount) => amount.each.as_ref().map(|_| (&amount.node, amount.tiers.as_ref())),
        Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => None,
    }
}
