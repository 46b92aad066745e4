//! Addends: what each leaf of a node or each part of a top-up adds to an amount, told where somebody asks how it came about.

use super::node::Leaf;
use super::outcome::Lines;
use super::run::Engine;
use crate::domain::contract::measure::{Base, Measure};
use crate::domain::money::Exact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// What is added to an amount: what counts times its factors. The addends of an amount sum to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addend {
    pub of: AddendOf,
    /// Which leaf of its node it is of: two may be of the same.
    pub leaf: usize,
    /// How much of that there was; of a stated sum, how often.
    pub measured: Exact,
    /// What of it is multiplied: blocks, where a price is for so many units at once.
    pub counted: Exact,
    pub is_in_blocks: bool,
    /// What was measured of each that passed, by its number; empty where nothing passed, as of what is looked up.
    pub passes: Passes,
    /// From the inside out.
    pub factors: Vec<Factor>,
}

/// How much each that passed brought, by its number.
pub type Passes = BTreeMap<u64, Exact>;

/// So much of a measure, and what of it is multiplied.
#[derive(Clone, Copy)]
pub(super) struct Measured<'m> {
    pub amount: &'m Exact,
    pub counted: &'m Exact,
    /// The number of what passes; none of what is looked up, or has come up by some day.
    pub pass: Option<u64>,
}

/// In the order in which they are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddendOf {
    Measure(Measure),
    /// A sum that the document states, so often.
    Stated,
    /// What a minimum is in a window.
    Minimum,
    TowardMinimum,
    /// What comes from other windows of it, or is left to them.
    Carried,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Factor {
    pub what: FactorOf,
    pub value: Exact,
}

/// What a factor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FactorOf {
    /// A stated sum.
    Sum,
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

impl fmt::Display for AddendOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measure(measure) => measure.fmt(f),
            Self::Stated => f.write_str("a sum as stated"),
            Self::Minimum => f.write_str("the minimum"),
            Self::TowardMinimum => f.write_str("what counts toward it"),
            Self::Carried => f.write_str("what its other windows carry"),
        }
    }
}

impl Addend {
    fn whole(of: AddendOf, amount: &Exact) -> Self {
        let (measured, counted) = (amount.clone(), amount.clone());
        Self { of, leaf: 0, measured, counted, is_in_blocks: false, passes: Passes::new(), factors: Vec::new() }
    }

    /// Without what passed.
    pub fn by_itself(&self) -> Self {
        let Self { of, leaf, measured, counted, is_in_blocks, factors, .. } = self;
        let (of, factors, passes) = (of.clone(), factors.clone(), Passes::new());
        let (measured, counted) = (measured.clone(), counted.clone());
        Self { of, leaf: *leaf, measured, counted, is_in_blocks: *is_in_blocks, passes, factors }
    }

    pub fn amount(&self) -> Exact {
        self.factors.iter().fold(self.counted.clone(), |amount, factor| &amount * &factor.value)
    }

    /// Whether it is of what a minimum lacked.
    pub fn is_of_top_up(&self) -> bool {
        matches!(self.of, AddendOf::Minimum | AddendOf::TowardMinimum | AddendOf::Carried)
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

    /// A share of it.
    pub fn share(&mut self, share: &Exact) {
        for amount in [&mut self.measured, &mut self.counted].into_iter().chain(self.passes.values_mut()) {
            *amount = &*amount * share;
        }
    }

    pub fn negate(&mut self) {
        self.share(&Exact::from_integer(-1));
    }
}

/// Addends, of which those of the same and with the same factors are summed.
#[derive(Clone, Debug, Default)]
pub struct Addends {
    sums: BTreeMap<(AddendOf, usize, Vec<Factor>), Addend>,
}

impl Addends {
    pub fn add(&mut self, addend: Addend) {
        match self.sums.entry((addend.of.clone(), addend.leaf, addend.factors.clone())) {
            Entry::Vacant(vacant) => {
                vacant.insert(addend);
            }
            Entry::Occupied(mut alike) => {
                let sum = alike.get_mut();
                sum.measured += &addend.measured;
                sum.counted += &addend.counted;
                for (pass, measured) in addend.passes {
                    *sum.passes.entry(pass).or_default() += &measured;
                }
            }
        }
    }

    /// Those that come to something, or of which something passed.
    pub fn iter(&self) -> impl Iterator<Item = &Addend> {
        let is_something =
            |it: &&Addend| [&it.measured, &it.counted].into_iter().chain(it.passes.values()).any(|it| !it.is_zero());
        self.sums.values().filter(is_something)
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
    since.iter().cloned().collect()
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Takes note of what a leaf adds: so much of its measure at a rate, or at one that the window's end tells.
    pub(super) fn adds(&mut self, leaf: Leaf<'a>, measured: Measured<'_>, rate: Option<&Exact>) {
        if self.lines.wants_addends() {
            let Measured { amount, counted, pass } = measured;
            let passes = pass.map(|pass| (pass, amount.clone())).into_iter().collect();
            let whole = Addend::whole(AddendOf::Measure(leaf.of.clone()), amount);
            let is_in_blocks = leaf.blocks.is_some_and(|blocks| *blocks.size != Exact::from_integer(1));
            let mut addend = Addend { counted: counted.clone(), is_in_blocks, passes, ..whole };
            if let Some(rate) = rate {
                addend.multiply(leaf.multiplies(), rate);
            }
            self.telling.addends.push(addend);
        }
    }

    /// So much of a leaf at a rate; without one nothing accrues.
    pub(super) fn at_rate(&mut self, leaf: Leaf<'a>, measured: Measured<'_>, rate: Option<&Exact>) -> Exact {
        let nothing = Exact::zero();
        self.adds(leaf, measured, Some(rate.unwrap_or(&nothing)));
        rate.map(|rate| measured.counted * rate).unwrap_or(nothing)
    }

    /// Takes note of what a leaf adds, each part at the rate of its band.
    pub(super) fn adds_by_band(&mut self, leaf: Leaf<'a>, measured: Measured<'_>, parts: &[(Exact, Option<&Exact>)]) {
        if !self.lines.wants_addends() {
            return;
        }
        for (place, (part, rate)) in parts.iter().enumerate() {
            // What fills no block yet is told with the first band.
            let unfilled = if place == 0 { measured.amount.clone() } else { Exact::zero() };
            let amount = (measured.amount * part).checked_div(measured.counted).unwrap_or(unfilled);
            let measured = Measured { amount: &amount, counted: part, ..measured };
            self.adds(leaf, measured, Some(rate.unwrap_or(&Exact::zero())));
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
            let mut addend = Addend::whole(AddendOf::Stated, &Exact::from_integer(1));
            addend.multiply(FactorOf::Sum, sum);
            self.telling.addends.push(addend);
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
