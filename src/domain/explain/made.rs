//! Explains what a node comes to, each leaf by what it is of, its rate and its other factors, and what was left out; and top-ups.

use super::Explanation;
use super::base::{Passes, Scope};
use super::node::{Kind, Node, limited};
use super::recorder::ForWindow;
use crate::domain::calendar::Window;
use crate::domain::engine::addend::{Addend, AddendOf, Factor, FactorOf};
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::ContractId;
use crate::domain::money::Exact;
use std::collections::BTreeMap;
use std::iter::{once, once_with};

/// Addends of the same and with the same factors; last what was left out.
type AlikeKey = (bool, AddendOf, Vec<Factor>);

/// What they come to.
#[derive(Default)]
struct Alike {
    measured: Exact,
    counted: Exact,
    /// What was measured of each that passed.
    passes: Passes,
}

impl Explanation<'_> {
    /// What the addends of a stream come to, with the pass that each is of.
    pub(super) fn made(
        &self,
        scope: Scope<'_>,
        stream: &StreamName,
        added: impl IntoIterator<Item = (Option<u64>, Addend)>,
    ) -> Vec<Node> {
        let mut groups: BTreeMap<AlikeKey, Alike> = BTreeMap::new();
        for (pass, addend) in added {
            let alike = groups.entry((addend.is_left_out(), addend.of, addend.factors)).or_default();
            alike.measured += &addend.measured;
            alike.counted += &addend.counted;
            if let Some(pass) = pass {
                *alike.passes.entry(pass).or_default() += &addend.measured;
            }
        }
        let (mut nodes, mut top_up) = (Vec::new(), Vec::new());
        for ((_, of, factors), alike) in groups {
            let of_top_up = matches!(of, AddendOf::Minimum | AddendOf::TowardMinimum | AddendOf::Carried);
            let node = self.alike(scope, stream, (&of, &factors), alike);
            if of_top_up { top_up.push(node) } else { nodes.push(node) }
        }
        if !top_up.is_empty() {
            nodes.push(Node::of_parts(Kind::TopUp, "what the minimum lacked", &scope.shown(), top_up));
        }
        limited(nodes, self.question.limit)
    }

    fn alike(
        &self,
        scope: Scope<'_>,
        stream: &StreamName,
        (of, factors): (&AddendOf, &[Factor]),
        alike: Alike,
    ) -> Node {
        let Alike { measured, counted, passes } = alike;
        let whole = |kind, what| Node::new(kind, what, measured.clone(), &scope.shown());
        let mut node = match of {
            AddendOf::Stated => whole(Kind::Stated, "a sum as stated"),
            AddendOf::Minimum => whole(Kind::Minimum, "the minimum"),
            AddendOf::TowardMinimum => whole(Kind::Minimum, "what counts toward it"),
            AddendOf::Carried => whole(Kind::Minimum, "what its other windows carry"),
            AddendOf::Measure(measure) => {
                let of_units = factors.first().is_some_and(|factor| factor.what == FactorOf::Price);
                let scope = Scope { of_units: scope.of_units || of_units, ..scope };
                let gathered = |period| self.gathered((scope.contract, stream), (of, factors), period);
                let of_period = || gathered(Some(scope.period));
                let of_all = || gathered(None);
                let passes = once(passes).chain(once_with(of_period)).chain(once_with(of_all));
                self.base(scope, measure, &measured, passes)
            }
        };
        if counted != measured {
            node = in_blocks(node, counted);
        }
        factors.iter().fold(node, |node, factor| multiplied(node, factor, &scope.shown()))
    }

    /// What passed, in a period or all told, and was gathered for windows of a stream: of this, and at these factors as
    /// far as they were known.
    fn gathered(
        &self,
        (contract, stream): (&ContractId, &StreamName),
        (of, factors): (&AddendOf, &[Factor]),
        period: Option<Window>,
    ) -> Passes {
        let mut passes = Passes::new();
        for ForWindow { pass, period: at, addend } in self.recorded.gathered(contract, stream) {
            let is_of_these = addend.of == *of && factors.starts_with(&addend.factors);
            if is_of_these && (period.is_none() || *at == period) {
                *passes.entry(*pass).or_default() += &addend.measured;
            }
        }
        passes
    }
}

/// What is multiplied of units where a price is for so many at once.
fn in_blocks(units: Node, counted: Exact) -> Node {
    let mut blocks = Node::new(Kind::Counted, "in blocks", counted, "blocks");
    blocks.factor = blocks.amount.checked_div(&units.amount);
    blocks.parts.extend(blocks.factor.is_some().then_some(units));
    blocks
}

fn multiplied(node: Node, factor: &Factor, unit: &str) -> Node {
    let (kind, what) = match factor.what {
        FactorOf::Rate => (Kind::Rate, "base x rate"),
        FactorOf::Price => (Kind::UnitPrice, "units x price"),
        FactorOf::Times => (Kind::Factor, "times"),
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
