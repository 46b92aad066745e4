//! Addends: what each leaf of a node or each part of a top-up adds to an amount, told where somebody asks how it came about.

use super::node::Leaf;
use super::outcome::{Gathered, Lines};
use super::plan::Step;
use super::run::Engine;
use crate::domain::contract::measure::Measure;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};

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
    /// What counts toward it.
    Counted,
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
    pub(super) fn tell_gathered(&mut self, step: &Step<'a>, (at, window): (Instant, Span), addends: &[Addend]) {
        let (contract, stream) = (&step.agreement.head.id, &self.plan.streams[step.stream].name);
        for addend in addends {
            self.lines.gathers(Gathered { contract, stream, at, window, addend });
        }
    }

    /// Takes note of a sum that the document states.
    pub(super) fn adds_sum(&mut self, sum: &Exact) {
        if self.lines.wants_addends() {
            self.telling.addends.push(Addend::whole(AddendOf::Stated, sum));
        }
    }

    /// What a top-up is made of: the minimum, less what counts toward it, and what other windows carried.
    pub(super) fn addends_of(&self, top_up: &Exact, (minimum, counted): (&Exact, &Exact)) -> Vec<Addend> {
        if !self.lines.wants_addends() {
            return Vec::new();
        }
        let mut taken_off = Addend::whole(AddendOf::Counted, counted);
        taken_off.multiply(FactorOf::TakenOff, &Exact::from_integer(-1));
        let carried = &(top_up - minimum) + counted;
        let all = [Addend::whole(AddendOf::Minimum, minimum), taken_off, Addend::whole(AddendOf::Carried, &carried)];
        all.into_iter().filter(|addend| !addend.measured.is_zero()).collect()
    }
}
