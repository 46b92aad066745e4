//! What begins at a boundary: new cap windows pay what waits, and fixed days and facts pay what they owe.

use super::Stop;
use super::cap::Taken;
use super::item::{Attributes, AttributesId};
use super::leaf::ItemLeaves;
use super::outcome::{CapUse, Cause, Lines};
use super::plan::{Step, StreamId, Work};
use super::run::Engine;
use super::state::{CapInForce, CapKey, Deltas, Passing, Waiting, Wanted};
use crate::domain::contract::term::{Excess, On, Term};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, start_of_day};
use std::collections::BTreeSet;

impl<'a, L: Lines> Engine<'a, L> {
    /// Caps that begin a window, or are worded anew, at a boundary: what waits is paid before the next item.
    pub(super) fn open_caps(&mut self, at: Instant) -> Result<(), Stop> {
        let keys: Vec<CapKey> = self.caps.keys().copied().collect();
        for key in keys {
            let (id, group) = key;
            let gone = self.let_go(key, at);
            let steps = self.steps().iter();
            match steps.filter_map(|step| Some((step, step.cap.filter(|(cap, _)| *cap == id)?.1))).next() {
                Some((step, cap)) if self.open_cap(step, (id, cap), group, at)? => match cap.excess {
                    Excess::Deferred => self.release(key, at)?,
                    // A version says so of what waits too.
                    Excess::Lost => self.lose_waiting(key),
                },
                // No term is under it any more, or not before a later date: all that waits is paid, unless its term
                // has ended.
                Some(_) | None => self.drop_cap(key, at)?,
            }
            // For a term that a version takes out of a cap, it drops the cap.
            for (waiting, amount) in gone {
                self.pay_waiting(waiting, amount, at, None)?;
            }
        }
        Ok(())
    }

    /// Pays what waits under a cap as far as it has room.
    pub(super) fn release(&mut self, key: CapKey, at: Instant) -> Result<(), Stop> {
        let Some(CapInForce { state, .. }) = self.caps.get_mut(&key) else { return Ok(()) };
        for (waiting, Taken { amount, used }) in state.release() {
            self.pay_waiting(waiting, amount, at, Some((key.1, &used)))?;
        }
        Ok(())
    }

    fn lose_waiting(&mut self, key: CapKey) {
        if let Some(cap) = self.caps.get_mut(&key) {
            drop(cap.state.drain(|_| true));
        }
    }

    fn drop_cap(&mut self, key: CapKey, at: Instant) -> Result<(), Stop> {
        let Some(mut dropped) = self.caps.remove(&key) else { return Ok(()) };
        for (waiting, amount) in dropped.state.drain(|_| true) {
            self.pay_waiting(waiting, amount, at, None)?;
        }
        Ok(())
    }

    /// Takes what waits of terms that a version takes out of a cap as it begins.
    fn let_go(&mut self, key: CapKey, at: Instant) -> Vec<(Waiting, Exact)> {
        let begins = self.epoch().is_some_and(|epoch| epoch.span.start == at);
        let Some(cap) = self.caps.get(&key).filter(|_| begins) else { return Vec::new() };
        let mut gone: BTreeSet<StreamId> = cap.state.waiting().map(|it| it.stream).collect();
        let under = |stream| self.term_step(stream)?.0.cap.filter(|(cap, _)| *cap == key.0);
        gone.retain(|stream| under(*stream).is_none());
        let cap = self.caps.get_mut(&key);
        cap.map(|cap| cap.state.drain(|it| gone.contains(&it.stream))).unwrap_or_default()
    }

    fn pay_waiting(
        &mut self,
        waiting: Waiting,
        amount: Exact,
        at: Instant,
        cap: Option<(AttributesId, &CapUse)>,
    ) -> Result<(), Stop> {
        let Some((step, term)) = self.term_step(waiting.stream) else { return Ok(()) };
        let group = waiting.group;
        // What was wanted was told when it found no room.
        let wanted = Wanted::of_nothing(group, at, Cause::Deferred);
        self.book(step, term, &wanted, &amount, cap)?;
        self.emit(waiting.stream, group, at, amount)
    }

    /// What waits lapses with its term, also where that comes back later.
    pub(super) fn drop_waiting(&mut self, step: &Step<'a>, end: Instant) {
        let goes_on = self.streams.get(step.stream.place()).and_then(|state| state.stretch_at(end));
        if goes_on.is_none() {
            for cap in self.caps.values_mut() {
                drop(cap.state.drain(|waiting| waiting.stream == step.stream));
            }
        }
    }

    /// The step of a term in the present epoch.
    pub(super) fn term_step(&self, stream: StreamId) -> Option<(&'a Step<'a>, &'a Term)> {
        let step = self.steps().iter().find(|step| step.stream == stream)?;
        match &step.work {
            Work::Term(term) => Some((step, term)),
            Work::Base(..) | Work::Figure(..) | Work::Amount(_) | Work::Gauge(_) => None,
        }
    }

    /// Pays what is owed on a day, or when a fact happens.
    pub(super) fn pay_on(&mut self, at: Instant) -> Result<(), Stop> {
        for step in self.steps() {
            let Work::Term(term) = &step.work else { continue };
            let (Some(on), Some(node)) = (&term.on, &term.node) else { continue };
            let state = self.streams.get(step.stream.place());
            let is_in_force = |at| state.is_some_and(|state| state.stretch_at(at).is_some());
            if !is_in_force(at) {
                continue;
            }
            let owed_for: Vec<Attributes> = match on {
                On::Dates(dates) => {
                    let zone = step.agreement.head.zone;
                    dates
                        .iter()
                        .filter(|date| start_of_day(zone, **date) == at)
                        .map(|_| Attributes::default())
                        .collect()
                }
                On::Fact { name, at_most } => {
                    let events = self.known.events(&step.agreement.head.id, name);
                    let most = at_most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
                    let owed = events.into_iter().filter(|fact| is_in_force(fact.at)).take(most);
                    owed.filter(|fact| fact.at == at).map(|fact| Attributes(fact.about.clone())).collect()
                }
            };
            for about in owed_for {
                let root = self.root();
                let passing = Passing {
                    number: self.next_pass(),
                    at,
                    attributes: self.group_of(about),
                    item: None,
                    cause: Cause::On,
                    deltas: Deltas::default(),
                    taken: Vec::new(),
                    kept: Vec::new(),
                    lacking: Vec::new(),
                };
                let amount = ItemLeaves::new(self, step, &passing, term.tiers.as_ref(), root).evaluate(node, false)?;
                let addends = std::mem::take(&mut self.telling.addends);
                let wanted = Wanted { amount, addends, ..Wanted::of_nothing(root, at, Cause::On) };
                let amount = self.accrue(step, term, &wanted)?;
                self.emit(step.stream, root, at, amount)?;
            }
        }
        Ok(())
    }
}
