//! Windows: what is made of all items of a stretch of time, and closed at its end (CONTRACTS section 4).

use super::Stop;
use super::addend::{Addend, FactorOf, Measured, since};
use super::item::AttributesId;
use super::life::calendar;
use super::node::{Leaf, Leaves, blocks, evaluate, leaves_of};
use super::outcome::{Cause, Lines};
use super::plan::{Step, StreamId, Work};
use super::pro_rata::{part_of_window, part_of_year};
use super::run::Engine;
use super::state::{Group, Passing, Wanted};
use super::sums::{Added, Banded, LeafSums};
use super::term::of_all;
use super::watch::Total;
use crate::domain::calendar::Window;
use crate::domain::contract::Version;
use crate::domain::contract::measure::{BelowZero, Measure, Node};
use crate::domain::contract::term::{Apply, Carry, CarryLimit, Minimum, Shortfall, Term, Tiers};
use crate::domain::contract::value::Table;
use crate::domain::contract::whole::{self, is_read_at_end};
use crate::domain::contract::window::WindowRule;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span, last_instant_before, local_date};

/// A window that is being filled.
#[derive(Clone, Debug)]
pub(super) struct OpenWindow {
    pub place: WindowPlace,
    sums: LeafSums,
    /// What it yielded in earlier periods.
    yielded: Exact,
    /// What that is made of, where somebody wants to know.
    yielded_addends: Vec<Addend>,
    /// What it is of, since then.
    base: Exact,
    /// What counts toward a minimum.
    pub counted: Exact,
}

/// Where a window lies: cut by the start and end of its term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WindowPlace {
    pub span: Span,
    /// As the calendar has it; none where it is all the time of the term.
    pub whole: Option<Window>,
    /// Its place since the term began, from 1.
    pub ordinal: u32,
    /// Whether the term ends with it.
    pub is_last: bool,
}

/// Whether what a step does is made of a whole window.
pub(super) fn is_of_window(work: &Work<'_>, version: &Version) -> bool {
    let (node, each, tiers) = match work {
        Work::Amount(it) => (Some(&it.node), it.each.as_ref(), it.tiers.as_ref()),
        Work::Term(it) => (it.node.as_ref(), it.each.as_ref(), it.tiers.as_ref()),
        Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => return false,
    };
    node.is_some_and(|node| whole::is_of_window(node, each, tiers, &version.figures))
}

/// Over what an amount is made of a whole window, if it is.
fn own_window<'s>(step: &'s Step<'_>) -> Option<&'s WindowRule> {
    let (each, tiers) = match &step.work {
        Work::Amount(it) => (it.each.as_ref(), it.tiers.as_ref()),
        Work::Term(it) => (it.each.as_ref(), it.tiers.as_ref()),
        Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => return None,
    };
    step.is_of_window.then(|| window_rule(each, tiers))
}

/// Whether the band that holds is known only once the window is over.
pub(super) fn is_told_at_end(tiers: &Tiers, step: &Step<'_>) -> bool {
    tiers.apply == Apply::Whole
        || (is_read_at_end(tiers, &step.version.figures)
            && tiers.of.as_ref().is_some_and(|it| step.input(it).is_some() || matches!(it, Measure::Figure(_))))
}

impl<'a, L: Lines> Engine<'a, L> {
    /// The window of a rule in which an instant lies, within the life of a term.
    pub(super) fn window_place(&self, step: &Step<'a>, rule: &WindowRule, at: Instant) -> Option<WindowPlace> {
        let zone = step.agreement.head.zone;
        let life = self.life(step, at)?;
        let first_day = local_date(self.began(step, life.start), zone);
        let Some(calendar) = calendar(step.agreement, rule, self.known) else {
            let is_all = matches!(rule, WindowRule::Term);
            return is_all.then_some(WindowPlace { span: life, whole: None, ordinal: 1, is_last: true });
        };
        let whole = calendar.window(local_date(at, zone))?;
        let span = whole.span(zone).intersection(life)?;
        let first = calendar.window(first_day).map_or(whole.first_day, |first| first.first_day);
        let ordinal = calendar.ordinal(whole, first).unwrap_or(1);
        Some(WindowPlace { span, whole: Some(whole), ordinal, is_last: span.end == life.end })
    }

    /// The time that a stream is in force around an instant, with no gap in it.
    pub(super) fn life(&self, step: &Step<'a>, at: Instant) -> Option<Span> {
        match &step.work {
            Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => {
                Some(Span { start: step.version.effective_at, end: Instant::MAX_UTC })
            }
            Work::Amount(_) | Work::Term(_) => {
                let state = self.streams.get(step.stream.place())?;
                let tails = state.stretches.iter().filter(|stretch| stretch.is_tail).map(|stretch| &stretch.span);
                state.lives.iter().chain(tails).find(|life| life.contains(at)).copied()
            }
        }
    }

    /// Whether a version begins then that states another window, or none: what was made of the one before stands.
    pub(super) fn is_reworded(&self, step: &Step<'a>, end: Instant) -> bool {
        let Some(next) = self.next_epoch(end) else { return false };
        let later = next.steps.iter().find(|later| later.stream == step.stream);
        later.is_some_and(|later| own_window(later) != own_window(step))
    }

    /// Adds what passes to the window of a node.
    pub(super) fn gather(
        &mut self,
        step: &'a Step<'a>,
        (node, tiers): (&'a Node, Option<&'a Tiers>),
        group: AttributesId,
        passing: &Passing<'_>,
    ) -> Result<(), Stop> {
        self.open_window(step, group, passing.at);
        let ordinal = self.group_state(step.stream, group).and_then(|it| it.window.as_ref()).map(|it| it.place.ordinal);
        let mut leaves = Vec::new();
        leaves_of(node, &mut leaves);
        let mut added = Vec::new();
        for leaf in &leaves {
            let mut bands = None;
            self.telling.addends.clear();
            let amount = self.add_to_leaf(step, (*leaf, tiers), group, passing, ordinal, &mut bands)?;
            let addends = std::mem::take(&mut self.telling.addends);
            added.push(Added { amount, bands, addends });
        }
        // What whole tiers count, where that is not a figure.
        if let Some(tiers) = tiers.filter(|tiers| is_told_at_end(tiers, step)) {
            let counter_of = tiers.of.as_ref().or_else(|| leaves.first().map(|leaf| leaf.of));
            let adds = counter_of.and_then(|measure| super::base::delta(passing, step.input(measure)?)).cloned();
            let known = self.known;
            if let Some((adds, state)) = adds.zip(self.group_state(step.stream, group))
                && state.tiers.counts(step.agreement, &tiers.counting, known, passing.at)
            {
                let before = state.tiers.count.clone();
                state.tiers.count += &adds;
                self.watches.advance(Total::Tiers(step.stream, group), &before, &adds, []);
            }
        }
        let Some(window) = self.group_state(step.stream, group).and_then(|it| it.window.as_mut()) else {
            return Ok(());
        };
        window.base += &*of_all(step, passing);
        window.sums.add(&leaves, added, passing.attributes);
        Ok(())
    }

    /// Opens the window in which an instant lies, where none is open.
    fn open_window(&mut self, step: &Step<'a>, group: AttributesId, at: Instant) {
        let rule = match &step.work {
            Work::Term(term) => window_rule(term.each.as_ref(), term.tiers.as_ref()),
            Work::Amount(amount) => window_rule(amount.each.as_ref(), amount.tiers.as_ref()),
            Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => return,
        };
        let place = self.window_place(step, rule, at);
        let Some(state) = self.group_state(step.stream, group) else { return };
        if state.window.is_none() {
            state.window = place.map(OpenWindow::new);
        }
    }

    /// Opens the window of a minimum in which an instant lies, where none is open.
    pub(super) fn open_minimum(&mut self, step: &Step<'a>, term: &Term, group: AttributesId, at: Instant) {
        let Some(minimum) = &term.minimum else { return };
        // Guarantees do not go on after the end.
        let is_tail = self.is_in_tail(step, at);
        let place = self.window_place(step, &minimum.each, at).filter(|_| !is_tail);
        let Some(state) = self.group_state(step.stream, group) else { return };
        if state.minimum_window.is_none() {
            let mut window = place.map(OpenWindow::new);
            // A version may bring the minimum in the middle of its window.
            if let Some(window) = &mut window {
                let start = window.place.span.start;
                let is_own = minimum.of.is_empty();
                window.counted = if is_own { state.accrued_since(start) } else { state.spent_since(start) };
            }
            state.minimum_window = window;
        }
    }

    /// Opens the windows that hold something without any item: fixed sums and minima.
    pub(super) fn open_windows(&mut self, at: Instant) {
        for step in self.steps() {
            if self.life(step, at).is_none() {
                continue;
            }
            let (per, term) = match &step.work {
                Work::Amount(amount) => (&amount.per, None),
                Work::Term(term) => (&term.per, Some(term)),
                Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => continue,
            };
            let has_window = step.is_of_window && term.is_none_or(|term| term.on.is_none());
            // Of what is told apart those that have come up go on.
            let groups = if per.is_empty() { vec![self.root()] } else { self.groups_of(step.stream, |_| true) };
            for group in groups {
                if has_window {
                    self.open_window(step, group, at);
                }
                if let Some(term) = term {
                    self.open_minimum(step, term, group, at);
                }
            }
        }
    }

    /// Closes what ends: periods, windows and minima, in the order in which streams draw on each other.
    ///
    /// `last` is the last instant before the boundary at `end`.
    pub(super) fn close(&mut self, last: Instant, end: Instant) -> Result<(), Stop> {
        for step in self.closing() {
            let ends_period = self.ends_period(step, end);
            match &step.work {
                Work::Figure(name, _) => self.close_figure(step, name, (last, end))?,
                Work::Base(base, _) if base.below_zero != BelowZero::Keep => {
                    self.close_base(step, base, (last, end))?;
                }
                Work::Amount(amount) => {
                    let node = (&amount.node, amount.tiers.as_ref());
                    // What the last term that draws on it has by then is asked for now.
                    let is_last = step.is_of_window && {
                        let (before, after) = self.drawing_around(step.stream, (last, end));
                        !before.is_empty() && after.is_empty()
                    };
                    self.close_windows(step, node, (last, end), ends_period || is_last, None)?;
                }
                Work::Term(term) => {
                    if let Some(node) = &term.node {
                        self.close_windows(step, (node, term.tiers.as_ref()), (last, end), ends_period, Some(term))?;
                    }
                    self.close_minima(step, term, (last, end))?;
                    self.settle_rest(step, term, (last, end))?;
                    self.drop_waiting(step, end);
                }
                Work::Base(..) | Work::Gauge(_) => {}
            }
        }
        // What is owed is known once all has ended.
        self.set_off((last, end))
    }

    /// Whether a settlement period of a step's agreement ends at an instant.
    pub(super) fn ends_period(&self, step: &Step<'a>, end: Instant) -> bool {
        let place = self.plan.streams[step.stream].agreement;
        self.period_ends.get(place).is_some_and(|ends| ends.contains(&end))
    }

    fn close_windows(
        &mut self,
        step: &'a Step<'a>,
        (node, tiers): (&'a Node, Option<&'a Tiers>),
        (last, end): (Instant, Instant),
        ends_period: bool,
        term: Option<&'a Term>,
    ) -> Result<(), Stop> {
        let groups: Vec<AttributesId> = self.groups_of(step.stream, |group| group.window.is_some());
        for group in groups {
            let Some(mut window) = self.group_state(step.stream, group).and_then(|it| it.window.clone()) else {
                continue;
            };
            if self.is_reworded(step, end) {
                window.place.span.end = end.min(window.place.span.end);
            }
            let is_over = window.place.span.end <= end;
            let to_date = ends_period && !term.is_some_and(|term| term.at_window_end);
            if !is_over && !to_date {
                continue;
            }
            let mut leaves =
                WindowLeaves { engine: self, step, window: &window, tiers, group, at: last, met: Vec::new() };
            leaves.addends().clear();
            let value = evaluate(node, &mut leaves)?;
            let told = std::mem::take(leaves.addends());
            let amount = &value - &window.yielded;
            let addends = since(std::mem::take(&mut window.yielded_addends), &told);
            if let Some(state) = self.group_state(step.stream, group) {
                state.of_window = Some(value.clone());
                let left = OpenWindow { yielded: value, yielded_addends: told, base: Exact::zero(), ..window.clone() };
                state.window = (!is_over).then_some(left);
            }
            let base = window.base;
            if amount.is_zero() && base.is_zero() {
                continue;
            }
            match term {
                Some(term) => {
                    let wanted = Wanted { base, amount, addends, ..Wanted::of_nothing(group, last, Cause::Window) };
                    let amount = self.accrue(step, term, &wanted)?;
                    self.emit(step.stream, group, last, amount)?;
                }
                None => {
                    if let Some(state) = self.group_state(step.stream, group) {
                        state.accrued += &amount;
                    }
                    self.emit_made_of(step.stream, group, last, (amount, addends))?;
                }
            }
        }
        Ok(())
    }

    fn close_minima(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        (last, end): (Instant, Instant),
    ) -> Result<(), Stop> {
        let Some(minimum) = &term.minimum else { return Ok(()) };
        let over = |group: &Group| group.minimum_window.as_ref().is_some_and(|it| it.place.span.end <= end);
        for group in self.groups_of(step.stream, over) {
            let Some(window) = self.group_state(step.stream, group).and_then(|it| it.minimum_window.take()) else {
                continue;
            };
            let stated = self.number(step, &minimum.is, group, (last, Some(window.place.ordinal)))?;
            let part = part_of_window(step, &window.place, minimum.pro_rata.or(term.pro_rata));
            let is = &stated * &part;
            let limit = match &minimum.carry_limit {
                Some(CarryLimit::Amount(limit)) => Some(limit.clone()),
                Some(CarryLimit::Part(part)) if minimum.carry == Carry::Shortfall => {
                    Some(part * &self.next_minimum(step, term, group, &window.place)?)
                }
                Some(CarryLimit::Part(part)) => Some(part * &is),
                None => None,
            };
            let Some(state) = self.group_state(step.stream, group) else { continue };
            let top_up = state.minimum.close(minimum, &is, limit, &window.counted, window.place.is_last);
            if top_up.is_zero() {
                continue;
            }
            // Of a commitment the base is what was spent; else the lines before have told it.
            let base = if term.node.is_some() { Exact::zero() } else { window.counted.clone() };
            let amount = top_up;
            let addends = self.addends_of(&amount, (&stated, &part), &window.counted);
            let wanted = Wanted { base, amount, addends, ..Wanted::of_nothing(group, last, Cause::TopUp) };
            if minimum.shortfall == Shortfall::Report {
                let wanted = Wanted { cause: Cause::Shortfall, is_outside_cap: true, ..wanted };
                self.tell(step, term, &wanted, &Exact::zero(), None);
                continue;
            }
            let wanted = Wanted { is_outside_cap: minimum.is_outside_cap, ..wanted };
            let amount = self.accrue(step, term, &wanted)?;
            self.emit(step.stream, group, last, amount)?;
        }
        self.drop_minima(step, minimum, end);
        Ok(())
    }

    /// Drops windows that the version that begins then does not state: at their end, no such minimum is in force.
    fn drop_minima(&mut self, step: &Step<'a>, minimum: &Minimum, end: Instant) {
        let later = self.next_epoch(end).and_then(|next| next.steps.iter().find(|later| later.stream == step.stream));
        let each_of = |later: &Step<'_>| match &later.work {
            Work::Term(term) => term.minimum.as_ref().map(|minimum| minimum.each.clone()),
            Work::Base(..) | Work::Figure(..) | Work::Amount(_) | Work::Gauge(_) => None,
        };
        if later.is_some_and(|later| each_of(later).as_ref() != Some(&minimum.each)) {
            for group in self.groups_of(step.stream, |group| group.minimum_window.is_some()) {
                if let Some(state) = self.group_state(step.stream, group) {
                    state.minimum_window = None;
                }
            }
        }
    }

    /// The minimum of the window after one, as the version in force says then: it receives what is carried.
    fn next_minimum(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        group: AttributesId,
        place: &WindowPlace,
    ) -> Result<Exact, Stop> {
        let later = step.agreement.in_force(place.span.end).and_then(|version| version.term(&term.id));
        let minimum = later.and_then(|term| term.minimum.as_ref());
        let Some((minimum, next)) =
            minimum.and_then(|it| Some((it, self.window_place(step, &it.each, place.span.end)?)))
        else {
            return Ok(Exact::zero());
        };
        let is = self.number(step, &minimum.is, group, (last_instant_before(next.span.end), Some(next.ordinal)))?;
        Ok(&is * &part_of_window(step, &next, minimum.pro_rata.or(term.pro_rata)))
    }

    pub(super) fn groups_of(&self, stream: StreamId, is_wanted: impl Fn(&Group) -> bool) -> Vec<AttributesId> {
        let state = self.streams.get(stream.place());
        let groups = state.into_iter().flat_map(|state| &state.groups);
        groups.filter(|(_, group)| is_wanted(group)).map(|(id, _)| *id).collect()
    }
}

impl OpenWindow {
    fn new(place: WindowPlace) -> Self {
        let (yielded, base, counted) = (Exact::zero(), Exact::zero(), Exact::zero());
        Self { place, sums: LeafSums::default(), yielded, yielded_addends: Vec::new(), base, counted }
    }
}

/// The window of an amount: that of its whole tiers, else its own, else the settlement period.
pub(super) fn window_rule<'r>(each: Option<&'r WindowRule>, tiers: Option<&'r Tiers>) -> &'r WindowRule {
    let whole = tiers.filter(|tiers| tiers.apply == Apply::Whole).map(|tiers| &tiers.counting.each);
    whole.or(each).unwrap_or(&WindowRule::Period)
}

/// The leaves of a node over a window.
struct WindowLeaves<'l, 'a, L> {
    engine: &'l mut Engine<'a, L>,
    step: &'a Step<'a>,
    window: &'l OpenWindow,
    tiers: Option<&'a Tiers>,
    group: AttributesId,
    at: Instant,
    /// What the leaves before are of: they are met in the order of `leaves_of`.
    met: Vec<&'a Measure>,
}

impl<'a, L: Lines> Leaves<'a> for WindowLeaves<'_, 'a, L> {
    fn leaf(&mut self, leaf: Leaf<'a>) -> Result<Exact, Stop> {
        let sum = self.window.sums.of(leaf.of, self.met.iter().filter(|of| **of == leaf.of).count());
        let (place, start) = (self.met.len(), self.addends().len());
        self.met.push(leaf.of);
        let mut amount = match (leaf.of, self.step.input(leaf.of)) {
            // What is looked up is looked up once: at the window's end.
            (Measure::Figure(name), None) => {
                let figure = self.engine.looked_up(self.step, name, (self.group, self.at))?;
                let counted = leaf.blocks.map_or_else(|| figure.clone(), |of| blocks(&figure, of));
                let rate = self.factor(leaf.table)?;
                self.engine.adds(leaf, Measured { amount: &figure, counted: &counted, pass: None }, Some(&rate));
                &counted * &rate
            }
            _ => {
                self.addends().extend(sum.into_iter().flat_map(|sum| sum.addends.iter().cloned()));
                sum.map(|sum| sum.amount.clone()).unwrap_or_default()
            }
        };
        for ((wording, of), Banded { bands, quantity, addends }) in sum.into_iter().flat_map(|sum| &sum.banded) {
            let Some(tiers) = self.tiers else { continue };
            // What a window is rated by is as the version at its end words it.
            let is_worded_so = std::ptr::eq(*wording, leaf.table);
            let when = (self.at, Some(self.window.place.ordinal));
            let bands =
                if is_worded_so { bands.clone() } else { self.engine.bands(self.step, leaf.table, *of, when)? };
            let level = self.engine.level_of_tiers(self.step, (tiers, &bands), self.group, self.group, self.at)?;
            let rate = level.as_ref().and_then(|level| bands.reached(level)).cloned().unwrap_or_default();
            for mut addend in addends.iter().cloned() {
                addend.multiply(leaf.multiplies(), &rate);
                self.addends().push(addend);
            }
            amount += &(quantity * &rate);
        }
        if let Some(day_count) = leaf.yearly {
            let part = part_of_year(self.step, self.window.place.span, day_count);
            self.addends().iter_mut().skip(start).for_each(|addend| addend.multiply(FactorOf::PartOfYear, &part));
            amount = &amount * &part;
        }
        self.addends().iter_mut().skip(start).for_each(|addend| addend.leaf = place);
        Ok(amount)
    }

    fn fixed(&mut self, table: &'a Table) -> Result<Exact, Stop> {
        let pro_rata = match &self.step.work {
            Work::Amount(amount) => amount.pro_rata,
            Work::Term(term) => term.pro_rata,
            Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => None,
        };
        let (sum, start) = (self.factor(table)?, self.addends().len());
        let part = part_of_window(self.step, &self.window.place, pro_rata);
        self.engine.adds_sum(&sum);
        self.addends().iter_mut().skip(start).for_each(|addend| addend.cut(&part));
        Ok(&sum * &part)
    }

    fn addends(&mut self) -> &mut Vec<Addend> {
        &mut self.engine.telling.addends
    }

    fn factor(&mut self, table: &'a Table) -> Result<Exact, Stop> {
        let when = (self.at, Some(self.window.place.ordinal));
        self.engine.number_reached(self.step, (table, self.tiers), (self.group, self.group), when)
    }

    fn guarantees(&self) -> bool {
        !self.engine.is_in_tail(self.step, self.at)
    }
}
