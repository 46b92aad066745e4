//! Caps: what accrues is a function of the running sum, `T0 + min(max(0, cap - T0), sum since)`.

use crate::auditor::Auditor;
use crate::known::Missing;
use crate::model::{Cap, CapOf, Micros, Name, Q, Term};
use crate::time::{Window, start_of, window_at};
use num_traits::Zero;

/// A cap as it stands in a window, as a version words it.
pub struct Capped {
    pub wording: Cap,
    /// The terms that are under it.
    pub terms: Vec<Name>,
    pub window: Window,
    pub start: Q,
    pub sum: Q,
}

impl Capped {
    fn room(&self) -> Q {
        (&self.wording.is - &self.start).max(Q::zero())
    }

    fn total(&self) -> Q {
        &self.start + self.room().min(self.sum.clone())
    }

    /// What found no room.
    fn left(&self) -> Q {
        (&self.sum - self.room()).max(Q::zero())
    }
}

type Key = (usize, Option<Name>);

impl<'h> Auditor<'h> {
    /// The cap of a term at an instant, and the terms under it.
    fn cap_of(&self, contract: usize, term: &'h Term, at: Micros) -> Option<(Key, &'h Cap, Vec<Name>)> {
        let (key, cap, terms) = match &term.cap {
            CapOf::None => return None,
            CapOf::Own(cap) => ((contract, Some(term.name)), cap, vec![term.name]),
            CapOf::Shared => {
                let version = self.in_force(contract, at)?;
                let terms = version.terms.iter().filter(|it| it.cap == CapOf::Shared).map(|it| it.name).collect();
                ((contract, None), version.shared_cap.as_ref()?, terms)
            }
        };
        (start_of(self.contract(contract).zone, cap.from) <= at).then_some((key, cap, terms))
    }

    pub fn under_cap(&mut self, contract: usize, term: &'h Term, at: Micros, amount: Q) -> Q {
        let Some((key, cap, terms)) = self.cap_of(contract, term, at) else { return amount };
        self.bring_up(key, cap, terms, at);
        let Some(capped) = self.caps.get_mut(&key) else { return amount };
        let before = capped.total();
        capped.sum += amount;
        capped.total() - before
    }

    /// Begins a cap anew where its window or its wording is another than before.
    fn bring_up(&mut self, key: Key, cap: &Cap, terms: Vec<Name>, at: Micros) {
        let zone = self.contract(key.0).zone;
        let window = window_at(zone, cap.each, at);
        let known = self.caps.get(&key);
        if known.is_some_and(|it| it.wording == *cap && it.window == window && it.terms == terms) {
            return;
        }
        let is_first = window.first <= cap.from && cap.from < window.end;
        let since = start_of(zone, if is_first { cap.from } else { window.first });
        let opening = if is_first { cap.opening.clone() } else { Q::zero() };
        let counts = |it: &&crate::auditor::Line| {
            it.contract == key.0 && terms.contains(&it.term) && it.is_capped && since <= it.at && it.at < at
        };
        let accrued: Q = self.lines.iter().filter(counts).map(|it| &it.amount).sum();
        // Deferred excess waits on; lost excess stays outside.
        let sum = known.filter(|it| it.wording.is_deferred && cap.is_deferred).map(Capped::left).unwrap_or_default();
        let wording = cap.clone();
        self.caps.insert(key, Capped { wording, terms, window, start: opening + accrued, sum });
    }

    /// New windows and wordings begin; what waits is paid as far as there is room.
    pub fn open_caps(&mut self, contract: usize, at: Micros) -> Result<(), Missing> {
        let keys: Vec<Key> = self.caps.keys().filter(|key| key.0 == contract).copied().collect();
        for key in keys {
            let terms = self.terms(contract, at);
            let is_under = |term: &&&Term| match key.1 {
                Some(name) => term.name == name,
                None => term.cap == CapOf::Shared,
            };
            let Some(term) = terms.iter().find(is_under).copied() else {
                // What waits lapses with its term; the term may come back.
                let capped = self.caps.get_mut(&key).expect("a cap");
                if key.1.is_some() && capped.wording.is_deferred {
                    capped.sum = capped.sum.clone().min(capped.room());
                }
                continue;
            };
            let waits = self.caps[&key].left();
            let is_deferred = self.caps[&key].wording.is_deferred;
            let Some((_, cap, of)) = self.cap_of(contract, term, at) else {
                self.caps.remove(&key);
                if is_deferred && !waits.is_zero() {
                    self.book(contract, term.name, at, waits.clone(), true);
                    self.draw(contract, term.name, at, waits)?;
                }
                continue;
            };
            self.bring_up(key, cap, of, at);
            let paid = &waits - self.caps[&key].left();
            if is_deferred && cap.is_deferred && !paid.is_zero() {
                self.book(contract, term.name, at, paid.clone(), true);
                self.draw(contract, term.name, at, paid)?;
            }
        }
        // A cap that is stated anew takes up what has accrued before.
        for term in self.terms(contract, at) {
            if let Some((key, cap, terms)) = self.cap_of(contract, term, at) {
                self.bring_up(key, cap, terms, at);
            }
        }
        Ok(())
    }
}
