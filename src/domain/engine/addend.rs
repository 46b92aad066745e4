//! Addends: what each leaf of a node or each part of a top-up adds to an amount, told where somebody asks how it came about.

use super::node::Leaf;
use super::outcome::{Gathered, Lines};
use super::plan::Step;
use super::run::Engine;
use super::state::Passing;
use crate::domain::contract::measure::{Base, Measure};
use crate::domain::money::Exact;
use crate::domain::period::Span;
use std::collections::BTreeMap;

/// What is added to an amount: what counts times its factors. The addends of an amount sum to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addend {
    pub of: AddendOf,
    /// How much of that there was.
    pub measured: Exact,
    /// What of it is multiplied: blocks, where a price is for so many units at once.
    pub counted: Exact,
    /// From the inside out.
    pub factors: Vec<Factor>,
}

/// In the order in which they are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddendOf {
    Measure(Measure),
    /// A sum that the document states.
    Stated,
    /// What a minimum is in a window.
    Minimum,
    TowardMinimum,
    /// What comes from other windows of it, or is left to them.
    Carried,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor {
    pub what: FactorOf,
    pub value: Exact,
}

/// What a factor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactorOf {
    Rate,
    /// Of a unit or block.
    Price,
    /// What the document multiplies with.
    Times,
    /// A yearly part, for the days of a window.
    PartOfYear,
    /// A stated sum, where its window is cut.
    PartOfWindow,
    /// Minus one: it is taken off.
    TakenOff,
    /// Zero: something else is greater.
    NotGreatest,
    /// Zero: something else is less.
    NotLeast,
}

impl Addend {
    fn whole(of: AddendOf, amount: &Exact) -> Self {
        Self { of, measured: amount.clone(), counted: amount.clone(), factors: Vec::new() }
    }

    pub fn amount(&self) -> Exact {
        self.factors.iter().fold(self.counted.clone(), |amount, factor| &amount * &factor.value)
    }

    /// Whether something else is greater or less.
    pub fn is_left_out(&self) -> bool {
        self.factors.iter().any(|it| matches!(it.what, FactorOf::NotGreatest | FactorOf::NotLeast))
    }

    pub fn multiply(&mut self, what: FactorOf, value: &Exact) {
        self.factors.push(Factor { what, value: value.clone() });
    }

    /// Multiplies it with the part of a window that it stands for, where that is not all of it.
    pub fn cut(&mut self, part: &Exact) {
        if *part != Exact::from_integer(1) {
            self.multiply(FactorOf::PartOfWindow, part);
        }
    }

    pub fn negate(&mut self) {
        self.measured = -std::mem::take(&mut self.measured);
        self.counted = -std::mem::take(&mut self.counted);
    }
}

/// Addends, of which those of the same and with the same factors are summed.
#[derive(Clone, Debug, Default)]
pub struct Addends {
    /// What was measured and counted.
    sums: BTreeMap<(AddendOf, Vec<Factor>), (Exact, Exact)>,
}

impl Addends {
    pub fn add(&mut self, addend: Addend) {
        let (measured, counted) = self.sums.entry((addend.of, addend.factors)).or_default();
        *measured += &addend.measured;
        *counted += &addend.counted;
    }

    /// Those that come to something.
    pub fn iter(&self) -> impl Iterator<Item = Addend> {
        let sums = self.sums.iter().filter(|(_, (measured, counted))| !measured.is_zero() || !counted.is_zero());
        sums.map(|((of, factors), (measured, counted))| Addend {
            of: of.clone(),
            measured: measured.clone(),
            counted: counted.clone(),
            factors: factors.clone(),
        })
    }
}

/// What came to addends since they stood otherwise. What was left out then counted nothing.
pub fn since(before: Vec<Addend>, now: &[Addend]) -> Vec<Addend> {
    let mut since = Addends::default();
    now.iter().for_each(|addend| since.add(addend.clone()));
    for mut addend in before.into_iter().filter(|addend| !addend.is_left_out()) {
        addend.negate();
        since.add(addend);
    }
    since.iter().collect()
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Takes note of what a leaf adds: so much of its measure at a rate, or at one that the window's end tells.
    pub(super) fn adds(&mut self, leaf: Leaf<'a>, (measured, counted): (&Exact, &Exact), rate: Option<&Exact>) {
        if self.lines.wants_addends() {
            let whole = Addend::whole(AddendOf::Measure(leaf.of.clone()), measured);
            let mut addend = Addend { counted: counted.clone(), ..whole };
            if let Some(rate) = rate {
                addend.multiply(leaf.multiplies(), rate);
            }
            self.telling.addends.push(addend);
        }
    }

    /// So much of a leaf at a rate; without one nothing accrues.
    pub(super) fn at_rate(
        &mut self,
        leaf: Leaf<'a>,
        (measured, counted): (&Exact, &Exact),
        rate: Option<&Exact>,
    ) -> Exact {
        let nothing = Exact::zero();
        self.adds(leaf, (measured, counted), Some(rate.unwrap_or(&nothing)));
        rate.map(|rate| counted * rate).unwrap_or(nothing)
    }

    /// Tells what an item adds to a window.
    pub(super) fn tell_gathered(&mut self, step: &Step<'a>, passing: &Passing<'_>, window: Span, addends: &[Addend]) {
        let (contract, stream) = (&step.agreement.head.id, &self.plan.streams[step.stream].name);
        let (pass, at) = (passing.number, passing.at);
        for addend in addends {
            self.lines.gathers(Gathered { contract, stream, pass, at, window, addend });
        }
    }

    /// Takes note of what a leaf adds, each part at the rate of its band.
    pub(super) fn adds_by_band(
        &mut self,
        leaf: Leaf<'a>,
        (measured, counted): (&Exact, &Exact),
        parts: &[(Exact, Option<&Exact>)],
    ) {
        if !self.lines.wants_addends() {
            return;
        }
        for (place, (part, rate)) in parts.iter().enumerate() {
            // What fills no block yet is told with the first band.
            let unfilled = if place == 0 { measured.clone() } else { Exact::zero() };
            let of_measured = (measured * part).checked_div(counted).unwrap_or(unfilled);
            self.adds(leaf, (&of_measured, part), Some(rate.unwrap_or(&Exact::zero())));
        }
    }

    /// Takes note of what a node took off a base. Of what is above a threshold nobody can say which part was taken off.
    pub(super) fn tell_reduced(&mut self, base: &Base, amount: &Exact) {
        let mut addends = std::mem::take(&mut self.telling.addends);
        if self.lines.wants_addends() && base.above.is_none() {
            addends.iter_mut().for_each(|addend| addend.multiply(FactorOf::TakenOff, &Exact::from_integer(-1)));
            self.telling.reduced.push((amount.clone(), addends));
        }
    }

    /// Takes note of a sum that the document states.
    pub(super) fn adds_sum(&mut self, sum: &Exact) {
        if self.lines.wants_addends() {
            self.telling.addends.push(Addend::whole(AddendOf::Stated, sum));
        }
    }

    /// What a top-up is made of: the minimum, less what counts toward it, and what other windows carried.
    pub(super) fn addends_of(&self, top_up: &Exact, (stated, part): (&Exact, &Exact), counted: &Exact) -> Vec<Addend> {
        if !self.lines.wants_addends() {
            return Vec::new();
        }
        let mut minimum = Addend::whole(AddendOf::Minimum, stated);
        minimum.cut(part);
        let mut taken_off = Addend::whole(AddendOf::TowardMinimum, counted);
        taken_off.multiply(FactorOf::TakenOff, &Exact::from_integer(-1));
        let carried = &(top_up - &minimum.amount()) + counted;
        let all = [minimum, taken_off, Addend::whole(AddendOf::Carried, &carried)];
        all.into_iter().filter(|addend| !addend.measured.is_zero()).collect()
    }
}
