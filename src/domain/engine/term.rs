//! Terms at an item: what they yield of it, and what of that their caps leave (CONTRACTS section 4).

use super::Stop;
use super::base::delta;
use super::cap::{CapState, Taken};
use super::item::{AttributesId, Content};
use super::leaf::ItemLeaves;
use super::life::{calendar, instant};
use super::once::{is_made_of, keep};
use super::outcome::{CapUse, Cause, Line, Lines};
use super::plan::{CapId, Step, Stream, StreamName, Work};
use super::pro_rata::part_of_window;
use super::run::Engine;
use super::state::{CapInForce, PaidBackWhen, Passing, Waiting, Wanted, content};
use super::table::{Bands, Circumstances};
use super::watch::Total;
use super::window::{WindowPlace, window_rule};
use crate::domain::contract::measure::{Amount, Measure};
use crate::domain::contract::selector::Filter;
use crate::domain::contract::term::{Cap, Excess, Payees, Term, Tiers};
use crate::domain::contract::value::Notice;
use crate::domain::ids::{PartyId, TermId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span, last_instant_before, local_date};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl<'a, L: Lines> Engine<'a, L> {
    pub(super) fn pass_amount(
        &mut self,
        step: &'a Step<'a>,
        amount: &'a Amount,
        passing: &mut Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        // As of terms: what reduces a sale that it did not count does not reduce it.
        let is_in_force = |at| self.life(step, at).is_some();
        if !is_touched(step, passing) || !is_in_force(passing.at) || !named_at(step, passing).is_none_or(is_in_force) {
            return Ok(None);
        }
        if self.is_left_to_others(step, passing) {
            self.remember_for_later(step, passing);
            return Ok(None);
        }
        if self.is_left_by_tails(step, step.is_of_window.then_some(&amount.name), passing)? {
            return Ok(None);
        }
        let group = self.group(&amount.per, step, passing.attributes, passing.at);
        self.count_level(step, amount.tiers.as_ref(), group, passing);
        if step.is_of_window {
            self.remember_for_later(step, passing);
            self.gather(step, (&amount.node, amount.tiers.as_ref()), group, passing)?;
            if is_made_of(step, |of| delta(passing, of).is_some()) {
                keep(step, passing);
            }
            return Ok(None);
        }
        if step.needs_whole {
            self.needs_items();
        }
        let leaves = ItemLeaves::new(self, step, passing, amount.tiers.as_ref(), group);
        let value = leaves.evaluate(&amount.node, step.needs_whole)?;
        if let Some(state) = self.group_state(step.stream, group) {
            state.accrued += &value;
        }
        Ok(Some(value))
    }

    pub(super) fn pass_term(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        passing: &mut Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        // A refund of a sale that counted in one term of a group counts there alone, if at all.
        let is_taken = self.is_taken(step, term, passing);
        if !is_taken {
            self.take_kept(step, term, passing);
        }
        if !is_touched(step, passing) {
            return Ok(None);
        }
        if !self.is_in_force(step, term, passing) {
            if !is_taken && self.is_before_its_life(step, passing) {
                self.count_only(step, term, passing);
            }
            return Ok(None);
        }
        let is_of_amount = is_of_amount(step, passing);
        if is_of_amount {
            self.remember_customer(step, passing);
        }
        let group = self.group(&term.per, step, passing.attributes, passing.at);
        self.count_toward_minimum(step, term, group, passing);
        self.share_usage(step, term, passing);
        self.count_level(step, term.tiers.as_ref(), group, passing);
        let Some(node) = &term.node else { return Ok(None) };
        if term.on.is_some() {
            return Ok(None);
        }
        // What only shares its pool, or counts beside its amount, is left to the others of its group.
        if is_of_amount && is_taken {
            return Ok(None);
        }
        if is_of_amount {
            self.take(step, term, passing);
        }
        if step.is_of_window {
            self.gather(step, (node, term.tiers.as_ref()), group, passing)?;
            return Ok(None);
        }
        if step.needs_whole {
            self.needs_items();
        }
        let amount =
            ItemLeaves::new(self, step, passing, term.tiers.as_ref(), group).evaluate(node, step.needs_whole)?;
        // Of what only counts beside its amount it yields nothing, not even zero, to what draws on it.
        if !is_of_amount {
            return Ok(None);
        }
        let (base, addends) = (of_all(step, passing).into_owned(), std::mem::take(&mut self.telling.addends));
        let (at, cause) = (passing.at, passing.cause);
        let wanted = Wanted { group, at, cause, base, amount, addends, is_outside_cap: false };
        self.accrue(step, term, &wanted).map(Some)
    }

    /// Whether what passes was before a term began, or names what was: a deduction takes off what counted already.
    pub(super) fn is_before_its_life(&self, step: &Step<'a>, passing: &Passing<'_>) -> bool {
        let at = named_at(step, passing).map_or(passing.at, |named| named.min(passing.at));
        let lives = self.streams.get(step.stream.place()).map(|state| &state.lives);
        lives.and_then(|lives| lives.first()).is_some_and(|life| at < life.start)
    }

    /// Whether a term is in force for what passes, as for the item that a deduction names.
    pub(super) fn is_in_force(&self, step: &Step<'a>, term: &Term, passing: &Passing<'_>) -> bool {
        let mut times = [Some(passing.at), named_at(step, passing)].into_iter().flatten();
        times.all(|at| self.is_in_force_at(step, term, passing, at))
    }

    pub(super) fn is_in_force_at(&self, step: &Step<'a>, term: &Term, passing: &Passing<'_>, at: Instant) -> bool {
        let stretch = self.streams.get(step.stream.place()).and_then(|state| state.stretch_at(at));
        stretch.is_some_and(|it| !it.is_tail || self.goes_on_with(step, term, passing, at))
    }

    fn count_toward_minimum(&mut self, step: &Step<'a>, term: &Term, group: AttributesId, passing: &Passing<'_>) {
        let Some(minimum) = &term.minimum else { return };
        let measures = minimum.of.iter().filter_map(|measure| delta(passing, step.input(measure)?));
        let counted: Exact = measures.cloned().sum();
        self.open_minimum(step, term, group, passing.at);
        let state = self.group_state(step.stream, group);
        if let Some(state) = state {
            state.spent += &counted;
            if let Some(window) = &mut state.minimum_window {
                window.counted += &counted;
            }
        }
    }

    /// Counts what a term's measures come to before a version that gives it a minimum of that.
    pub(super) fn count_spend(&mut self, step: &'a Step<'a>, passing: &Passing<'_>) {
        let Work::Term(Term { per, minimum: Some(minimum), .. }) = &step.work else { return };
        let mut times = [Some(passing.at), named_at(step, passing)].into_iter().flatten();
        if !times.all(|at| self.life(step, at).is_some()) {
            return;
        }
        let measures = minimum.of.iter().filter_map(|measure| delta(passing, step.input(measure)?));
        let spent: Exact = measures.cloned().sum();
        let group = self.group(per, step, passing.attributes, passing.at);
        if let Some(state) = self.group_state(step.stream, group).filter(|_| !spent.is_zero()) {
            state.spent += &spent;
        }
    }

    /// Counts usage by which a pool is shared.
    fn share_usage(&mut self, step: &Step<'a>, term: &Term, passing: &Passing<'_>) {
        let Some(usage) = step.shared_by.and_then(|stream| delta(passing, stream)) else { return };
        // What is owed at the end of a window is shared by what was used in all of it.
        let rule =
            (step.is_of_window && term.at_window_end).then(|| window_rule(term.each.as_ref(), term.tiers.as_ref()));
        let window = rule.and_then(|rule| self.window_place(step, rule, passing.at));
        let at = window.map_or(passing.at, |window| last_instant_before(window.span.end));
        let date = local_date(at, step.agreement.head.zone);
        let Some(period) = step.agreement.head.settlement.window(date) else { return };
        let party = match &term.payees {
            Payees::One(_) | Payees::Parts(_) => None,
            Payees::ByUsage { parts, .. } => {
                let part = parts.iter().find(|(_, of)| self.selects(step, of, passing.attributes, passing.at));
                part.map(|(party, _)| party.clone())
            }
            Payees::EachParty { attribute, .. } => {
                self.attribute(step, passing.attributes, passing.at, attribute).map(PartyId::from)
            }
        };
        if let Some(party) = party {
            *self.shares.entry((step.stream, period, party)).or_default() += usage;
        }
    }

    /// Books what a term wants as far as its cap leaves it, and what that pays back.
    pub(super) fn accrue(&mut self, step: &'a Step<'a>, term: &'a Term, wanted: &Wanted<'_>) -> Result<Exact, Stop> {
        let cap = step.cap.filter(|_| !wanted.is_outside_cap);
        let (group, at) = (wanted.group, wanted.at);
        let taken = match cap {
            Some(cap) => self.take_room(step, cap, wanted)?,
            None => None,
        };
        let amount = taken.as_ref().map_or(&wanted.amount, |(_, taken)| &taken.amount);
        let used = taken.as_ref().map(|(group, taken)| (*group, &taken.used));
        self.book(step, term, wanted, amount, used)?;
        // A line below zero makes room for what waits.
        if let Some((id, cap)) = cap.filter(|(_, cap)| cap.excess == Excess::Deferred && amount.is_negative()) {
            let group = self.group(&cap.per, step, group, at);
            self.release((id, group), at)?;
        }
        Ok(amount.clone())
    }

    /// Tells a line of an amount that was wanted.
    pub(super) fn tell(
        &mut self,
        step: &Step<'a>,
        term: &Term,
        wanted: &Wanted<'_>,
        amount: &Exact,
        cap: Option<(AttributesId, &CapUse)>,
    ) {
        self.lines.line(Line {
            contract: &step.agreement.head.id,
            term: &term.id,
            stream: step.stream,
            version: step.version.number,
            group: wanted.group,
            at: wanted.at,
            cause: wanted.cause,
            base: &wanted.base,
            uncapped: &wanted.amount,
            amount,
            cap,
            addends: &wanted.addends,
        });
    }

    /// Tells a line, and lets what the term pays back know.
    pub(super) fn book(
        &mut self,
        step: &'a Step<'a>,
        term: &'a Term,
        wanted: &Wanted<'_>,
        amount: &Exact,
        cap: Option<(AttributesId, &CapUse)>,
    ) -> Result<(), Stop> {
        let Wanted { group, at, cause, is_outside_cap, .. } = *wanted;
        let is_accrual = cause != Cause::PaidBack;
        let paid_back = self.paid_back_when(step.stream);
        let mut given_back = Exact::zero();
        if let Some(state) = self.group_state(step.stream, group) {
            state.accrued += amount;
            if !is_outside_cap {
                state.capped += amount;
            }
            if term.minimum.as_ref().is_some_and(|minimum| minimum.of.is_empty())
                && cause != Cause::TopUp
                && let Some(window) = &mut state.minimum_window
            {
                window.counted += amount;
            }
            match paid_back.filter(|_| is_accrual) {
                Some(PaidBackWhen::AsTheyAccrue) => {
                    state.paid_back.pay(amount);
                    given_back = state.paid_back.untold();
                }
                Some(PaidBackWhen::AtPeriodEnd) => state.owed += amount,
                None => {}
            }
        }
        self.count_own(step, term, (group, at), amount);
        self.tell(step, term, wanted, amount, cap);
        // No more is paid back of an advance than was paid.
        self.book_paid_back(step, term, group, at, given_back)?;
        // What is paid back is no accrual, of which others could be paid back.
        if is_accrual { self.recoup(step, term, (group, at), amount) } else { Ok(()) }
    }

    /// The room that a cap has for what a term wants; none where the cap does not count yet.
    fn take_room(
        &mut self,
        step: &'a Step<'a>,
        (id, cap): (CapId, &'a Cap),
        wanted: &Wanted<'_>,
    ) -> Result<Option<(AttributesId, Taken)>, Stop> {
        let group = self.group(&cap.per, step, wanted.group, wanted.at);
        let is_up_to_date = self.caps.get(&(id, group)).is_some_and(|cap| cap.as_of == self.passed);
        if !is_up_to_date && !self.open_cap(step, (id, cap), group, wanted.at)? {
            return Ok(None);
        }
        let Some(CapInForce { state, .. }) = self.caps.get_mut(&(id, group)) else { return Ok(None) };
        let waiting = Waiting { stream: step.stream, group: wanted.group };
        self.watches.advance(Total::Cap(id, group), state.sum(), &wanted.amount, [state.room_at_start()]);
        let taken = match cap.excess {
            Excess::Lost => state.take(&wanted.amount),
            Excess::Deferred => state.take_or_wait(waiting, &wanted.amount),
        };
        // Who waits behind whom depends on the order.
        if state.has_waiting() {
            self.needs_items();
        }
        Ok(Some((group, taken)))
    }

    /// Makes a cap as it is in force at an instant: new, changed by a version, or in a new window.
    pub(super) fn open_cap(
        &mut self,
        step: &'a Step<'a>,
        (id, cap): (CapId, &'a Cap),
        group: AttributesId,
        at: Instant,
    ) -> Result<bool, Stop> {
        let Some(from) = instant(step.agreement, &cap.counting.from, self.known).filter(|from| *from <= at) else {
            return Ok(false);
        };
        let under = |term: &&Term| term.cap.as_ref() == Some(&self.plan.caps[id].name);
        let terms: BTreeSet<TermId> = step.version.terms.iter().filter(under).map(|term| term.id.clone()).collect();
        let (window, place) = self.cap_window(step, cap, &terms, (from, at));
        let limit = self.number(step, &cap.limit, group, (at, Some(place.ordinal)))?;
        let limit = &limit * &part_of_window(step, &place, cap.pro_rata);
        let (start, end) = (window.start.max(from), window.end);
        let (key, as_of) = ((id, group), self.passed);
        let is_first = start == from;
        let stood = match self.caps.get_mut(&key) {
            Some(it) if it.says(cap, &terms) && it.state.limit == limit && it.state.window_end == end => {
                it.as_of = as_of;
                return Ok(true);
            }
            Some(it) if it.says(cap, &terms) && it.state.window_end <= at => None,
            _ => Some(self.accrued_since(step, (cap, &terms), group, start)),
        };
        let t0 = match (&stood, is_first) {
            (Some(stood), true) => &cap.opening + stood,
            (Some(stood), false) => stood.clone(),
            (None, true) => cap.opening.clone(),
            (None, false) => Exact::zero(),
        };
        match self.caps.get_mut(&key) {
            Some(it) => {
                it.state.change(limit, t0, end);
                (it.wording, it.terms, it.as_of) = (cap.clone(), terms, as_of);
            }
            None => {
                let state = CapState::new(limit, t0, end);
                self.caps.insert(key, CapInForce { state, wording: cap.clone(), terms, as_of });
            }
        }
        Ok(true)
    }

    /// The window of a cap in which an instant lies, and what of it the terms under it are in force.
    fn cap_window(
        &self,
        step: &Step<'a>,
        cap: &Cap,
        terms: &BTreeSet<TermId>,
        (from, at): (Instant, Instant),
    ) -> (Span, WindowPlace) {
        let (zone, ever) = (step.agreement.head.zone, Span { start: from, end: Instant::MAX_UTC });
        let calendar = calendar(step.agreement, &cap.counting.each, self.known);
        let Some((calendar, whole)) = calendar.and_then(|it| it.window(local_date(at, zone)).map(|found| (it, found)))
        else {
            return (ever, WindowPlace { span: ever, whole: None, ordinal: 1, is_last: true });
        };
        let first = calendar.window(local_date(from, zone)).map_or(whole.first_day, |first| first.first_day);
        let ordinal = calendar.ordinal(whole, first).unwrap_or(1);
        let window = whole.span(zone);
        let is_under = |stream: &Stream| matches!(&stream.name, StreamName::Term(term) if terms.contains(term));
        let place = self.plan.streams[step.stream].agreement;
        let under = self.plan.streams.iter().filter(|(_, stream)| stream.agreement == place && is_under(stream));
        let stretches = under.filter_map(|(id, _)| self.streams.get(id.place())).flat_map(|state| &state.stretches);
        let in_force: Vec<Span> = stretches.filter_map(|it| it.span.intersection(window)?.intersection(ever)).collect();
        let cut = in_force.iter().map(|span| span.start).min().zip(in_force.iter().map(|span| span.end).max());
        let span = cut.map_or(window, |(start, end)| Span { start, end });
        (window, WindowPlace { span, whole: Some(whole), ordinal, is_last: false })
    }

    /// What the terms under a cap have accrued since an instant, of the values that it tells apart.
    fn accrued_since(
        &mut self,
        step: &'a Step<'a>,
        (cap, terms): (&'a Cap, &BTreeSet<TermId>),
        of: AttributesId,
        since: Instant,
    ) -> Exact {
        let (plan, place) = (self.plan, self.plan.streams[step.stream].agreement);
        let mut sum = Exact::zero();
        for term in terms {
            let Some(stream) = plan.stream(place, &StreamName::Term(term.clone())) else { continue };
            for group in self.groups_of(stream, |_| true) {
                if self.group(&cap.per, step, group, since) != of {
                    continue;
                }
                let Some(group) = self.group_state(stream, group) else { continue };
                sum += &group.capped_since(since);
            }
        }
        sum
    }
}

/// What passes of all that a term's amount is of.
pub(super) fn of_all<'p>(step: &Step<'_>, passing: &'p Passing<'_>) -> Cow<'p, Exact> {
    let parts = step.of.iter().filter_map(|stream| delta(passing, *stream)).map(Cow::Borrowed);
    parts.reduce(|sum, part| Cow::Owned(&*sum + &*part)).unwrap_or_default()
}

/// When the item was that a deduction names.
pub(super) fn named_at(step: &Step<'_>, passing: &Passing<'_>) -> Option<Instant> {
    match content(step, passing) {
        Some(Content::Deduction(deduction)) => deduction.item_at,
        _ => None,
    }
}

/// Whether anything that a step draws on yields something of what passes.
fn is_touched(step: &Step<'_>, passing: &Passing<'_>) -> bool {
    step.streams().any(|stream| delta(passing, stream).is_some())
}

/// Whether what passes is of a term's amount, and not of its pool's use or its minimum's spend alone.
fn is_of_amount(step: &Step<'_>, passing: &Passing<'_>) -> bool {
    step.of.iter().any(|of| delta(passing, *of).is_some())
}

/// A table that is asked at an item, or for a window.
pub(super) struct AtItem<'e, 'a, L> {
    pub engine: &'e Engine<'a, L>,
    pub step: &'e Step<'a>,
    pub of: AttributesId,
    pub at: Instant,
    pub window: Option<u32>,
}

impl<L: Lines> Circumstances for AtItem<'_, '_, L> {
    type Error = Stop;

    fn at(&self) -> Instant {
        self.at
    }

    fn matches(&self, filter: &Filter) -> bool {
        self.engine.selects(self.step, filter, self.of, self.at)
    }

    fn window(&self) -> Option<u32> {
        self.window
    }

    fn measured(&self, measure: &Measure) -> Result<Option<Exact>, Stop> {
        match measure {
            Measure::Figure(name) => self.engine.figure(self.step, name, self.of, self.at),
            Measure::Base(_) | Measure::Amount(_) | Measure::Accrual { .. } => {
                Ok(self.engine.come_to(self.step, measure))
            }
        }
    }

    fn tiered(&self, bands: &Bands, tiers: &Tiers) -> Result<Option<Exact>, Stop> {
        let level = self.engine.level_of(self.step, tiers, self.of, self.at)?;
        Ok(level.as_ref().and_then(|level| bands.reached(level)).cloned())
    }

    fn noticed(&self, notice: &Notice) -> Exact {
        let (engine, zone) = (self.engine, self.step.agreement.head.zone);
        let set = engine.known.levels(&self.step.agreement.head.id, &notice.name);
        let is_within = |value: &Exact| *value >= notice.least && *value <= notice.most;
        let holding = set.filter(|level| is_within(&level.value) && notice.notice.after(level.at, zone) <= self.at);
        holding.max_by_key(|level| level.at).map_or_else(|| notice.initial.clone(), |level| level.value.clone())
    }
}
