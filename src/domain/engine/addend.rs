//! Addends: what each leaf of a node adds to an amount, told where somebody asks how the amount came about.

use super::node::Leaf;
use super::outcome::{Gathered, Lines};
use super::plan::Step;
use super::run::Engine;
use crate::domain::contract::measure::Measure;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};

/// What a leaf adds to an amount: what it counts times its factors. The addends of an amount sum to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addend {
    /// None for a sum that the document states.
    pub of: Option<Measure>,
    /// How much of that there was; of a stated sum the sum.
    pub measured: Exact,
    /// What of it is multiplied: blocks, where a price is for so many units at once.
    pub counted: Exact,
    /// From the inside out.
    pub factors: Vec<Factor>,
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
    fn stated(sum: &Exact) -> Self {
        Self { of: None, measured: sum.clone(), counted: sum.clone(), factors: Vec::new() }
    }

    pub fn amount(&self) -> Exact {
        self.factors.iter().fold(self.counted.clone(), |amount, factor| &amount * &factor.value)
    }

    pub fn multiply(&mut self, what: FactorOf, value: &Exact) {
        self.factors.push(Factor { what, value: value.clone() });
    }

    pub fn negate(&mut self) {
        self.measured = -std::mem::take(&mut self.measured);
        self.counted = -std::mem::take(&mut self.counted);
    }
}

/// Adds to what is of the same and has the same factors.
pub fn add_alike(addends: &mut Vec<Addend>, addend: Addend) {
    match addends.iter_mut().find(|it| it.of == addend.of && it.factors == addend.factors) {
        Some(alike) => {
            alike.measured += &addend.measured;
            alike.counted += &addend.counted;
        }
        None => addends.push(addend),
    }
}

/// What came to addends since they stood otherwise.
pub fn since(before: Vec<Addend>, now: &[Addend]) -> Vec<Addend> {
    let mut since = now.to_vec();
    for mut addend in before {
        addend.negate();
        add_alike(&mut since, addend);
    }
    since.retain(|addend| !addend.measured.is_zero() || !addend.counted.is_zero());
    since
}

impl<'a, L: Lines> Engine<'a, L> {
    /// Takes note of what a leaf adds: so much of its measure at a rate, or at one that the window's end tells.
    pub(super) fn adds(&mut self, leaf: Leaf<'a>, (measured, counted): (&Exact, &Exact), rate: Option<&Exact>) {
        if self.lines.wants_addends() {
            let (of, measured, counted) = (Some(leaf.of.clone()), measured.clone(), counted.clone());
            let mut addend = Addend { of, measured, counted, factors: Vec::new() };
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
    pub(super) fn tell_gathered(&mut self, step: &Step<'a>, (at, window): (Instant, Span), addends: &[Addend]) {
        let (contract, stream) = (&step.agreement.head.id, &self.plan.streams[step.stream].name);
        for addend in addends {
            self.lines.gathers(Gathered { contract, stream, at, window, addend });
        }
    }

    /// Takes note of a sum that the document states.
    pub(super) fn adds_sum(&mut self, sum: &Exact) {
        if self.lines.wants_addends() {
            self.telling.addends.push(Addend::stated(sum));
        }
    }
}
