//! Explains what a node comes to, each leaf by what it is of, its rate and its other factors, and what was left out; and top-ups.

use super::Explanation;
use super::base::Scope;
use super::node::{Kind, Node, rest_of};
use crate::domain::engine::addend::{Addend, AddendOf, Addends, Factor, FactorOf};
use crate::domain::money::Exact;

impl Explanation<'_> {
    /// What addends come to: those that count first, then what was left out.
    pub(super) fn made(&self, scope: Scope<'_>, added: impl IntoIterator<Item = Addend>) -> Vec<Node> {
        let mut sums = Addends::default();
        added.into_iter().for_each(|addend| sums.add(addend));
        let (top_up, others): (Vec<&Addend>, Vec<&Addend>) = sums.iter().partition(|addend| addend.is_of_top_up());
        let (left_out, counting): (Vec<&Addend>, Vec<&Addend>) =
            others.into_iter().partition(|addend| addend.is_left_out());
        let mut all: Vec<&Addend> = counting.into_iter().chain(left_out).collect();
        // Trees are made of those alone that are told by themselves.
        let rest = all.split_off(self.question.limit.min(all.len()));
        let mut nodes: Vec<Node> = all.into_iter().map(|addend| self.addend(scope, addend)).collect();
        nodes.extend(rest_of(rest.len(), rest.iter().map(|addend| addend.amount()), &scope.shown()));
        if !top_up.is_empty() {
            let top_up = top_up.into_iter().map(|addend| self.addend(scope, addend)).collect();
            nodes.push(Node::of_parts(Kind::TopUp, "what the minimum lacked", &scope.shown(), top_up));
        }
        nodes
    }

    fn addend(&self, scope: Scope<'_>, addend: &Addend) -> Node {
        let Addend { of, measured, counted, is_in_blocks, passes, factors, .. } = addend;
        let mut node = match of {
            AddendOf::Stated => return stated(scope, addend),
            AddendOf::Minimum | AddendOf::TowardMinimum | AddendOf::Carried => {
                Node::new(Kind::Minimum, of.to_string(), measured.clone(), &scope.shown())
            }
            AddendOf::Measure(measure) => self.base(scope, measure, measured, passes),
        };
        if *is_in_blocks {
            node = in_blocks(node, counted);
        }
        factors.iter().fold(node, |node, factor| multiplied(node, factor, &scope.shown()))
    }
}

/// A sum that the document states, and how often, or how much of it.
fn stated(scope: Scope<'_>, addend: &Addend) -> Node {
    let unit = scope.shown();
    let mut factors = addend.factors.iter();
    let sum = factors.next().map(|sum| sum.value.clone()).unwrap_or_default();
    let mut node = Node::new(Kind::Stated, addend.of.to_string(), sum, &unit);
    if addend.measured != Exact::from_integer(1) {
        let often = Factor { what: FactorOf::Times, value: addend.measured.clone() };
        node = multiplied(node, &often, &unit);
    }
    factors.fold(node, |node, factor| multiplied(node, factor, &unit))
}

/// What is multiplied of units where a price is for so many at once.
fn in_blocks(units: Node, counted: &Exact) -> Node {
    let mut blocks = Node::new(Kind::Counted, "in blocks", counted.clone(), "blocks");
    blocks.factor = blocks.amount.checked_div(&units.amount);
    blocks.parts.extend(blocks.factor.is_some().then_some(units));
    blocks
}

fn multiplied(node: Node, factor: &Factor, unit: &str) -> Node {
    let (kind, what) = match factor.what {
        FactorOf::Rate => (Kind::Rate, "base x rate"),
        FactorOf::Price => (Kind::UnitPrice, "units x price"),
        FactorOf::Sum | FactorOf::Times => (Kind::Factor, "times"),
        FactorOf::PartOfYear => (Kind::Factor, "for a part of the year"),
        FactorOf::PartOfWindow => (Kind::Factor, "for a part of the window"),
        FactorOf::TakenOff => (Kind::Factor, "taken off"),
        FactorOf::NotGreatest => (Kind::LeftOut, "not the greatest"),
        FactorOf::NotLeast => (Kind::LeftOut, "not the least"),
    };
    let mut multiplied = Node::new(kind, what, &node.amount * &factor.value, unit);
    multiplied.factor = Some(factor.value.clone());
    multiplied.parts.push(node);
    multiplied
}
