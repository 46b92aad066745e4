//! Amounts made of measures: the value of a node, at an item or of a window.

use super::Stop;
use super::table::Bands;
use crate::domain::contract::measure::{DayCount, Measure, Node, NodeKind, PartBlock};
use crate::domain::contract::value::Table;
use crate::domain::money::Exact;

/// What the leaves of a node come to where it is evaluated.
pub trait Leaves<'n> {
    /// A measure times its table: a rate, or a price of its units.
    ///
    /// # Errors
    /// The table has no row for it, or something that it needs is not known.
    fn leaf(&mut self, leaf: Leaf<'n>) -> Result<Exact, Stop>;

    /// A fixed sum, cut where its window is.
    ///
    /// # Errors
    /// As `leaf`.
    fn fixed(&mut self, table: &'n Table) -> Result<Exact, Stop>;

    /// A factor.
    ///
    /// # Errors
    /// As `leaf`.
    fn factor(&mut self, table: &'n Table) -> Result<Exact, Stop>;

    /// Whether sums are owed whatever was sold; not after a term's end.
    fn guarantees(&self) -> bool {
        true
    }
}

/// A measure and what it is multiplied with.
#[derive(Clone, Copy)]
pub struct Leaf<'n> {
    pub of: &'n Measure,
    pub table: &'n Table,
    pub blocks: Option<Blocks<'n>>,
    /// A yearly part: for the days of the window.
    pub yearly: Option<DayCount>,
}

/// A price is for so many units.
#[derive(Clone, Copy)]
pub struct Blocks<'n> {
    pub size: &'n Exact,
    pub part: &'n PartBlock,
}

impl<'n> Leaf<'n> {
    fn of_node(kind: &'n NodeKind) -> Option<Self> {
        match kind {
            NodeKind::Share { of, rate } => Some(Self { of, table: rate, blocks: None, yearly: None }),
            NodeKind::Yearly { of, rate, day_count } => {
                Some(Self { of, table: rate, blocks: None, yearly: Some(*day_count) })
            }
            NodeKind::Price { of, price, per_units, part_block } => {
                let blocks = Some(Blocks { size: per_units, part: part_block });
                Some(Self { of, table: price, blocks, yearly: None })
            }
            NodeKind::Fixed(_) | NodeKind::GreatestOf(_) | NodeKind::LeastOf(_) | NodeKind::Sum(_) => None,
        }
    }
}

/// The value of a node.
///
/// # Errors
/// A leaf has none.
pub fn evaluate<'n>(node: &'n Node, leaves: &mut impl Leaves<'n>) -> Result<Exact, Stop> {
    let guarantees = leaves.guarantees();
    value(node, leaves, guarantees)
}

fn value<'n>(node: &'n Node, leaves: &mut impl Leaves<'n>, guarantees: bool) -> Result<Exact, Stop> {
    let whole = value_alone(node, leaves, guarantees);
    if node.times.is_empty() && node.less.is_empty() {
        return whole;
    }
    let mut value_of = whole?;
    for factor in &node.times {
        value_of = &value_of * &leaves.factor(factor)?;
    }
    for less in &node.less {
        value_of = &value_of - &value(less, leaves, true)?;
    }
    Ok(value_of)
}

/// The value before its factors, and what is taken off it.
fn value_alone<'n>(node: &'n Node, leaves: &mut impl Leaves<'n>, guarantees: bool) -> Result<Exact, Stop> {
    let is_fixed = |node: &Node| matches!(node.kind, NodeKind::Fixed(_));
    let mut all = |nodes: &'n [Node], limits: bool, both: fn(Exact, Exact) -> Exact| {
        let mut found: Option<Exact> = None;
        for node in nodes {
            let value = value(node, leaves, guarantees || limits && is_fixed(node))?;
            // A floor that holds no more is no floor of zero either.
            if !guarantees && !limits && is_fixed(node) {
                continue;
            }
            found = Some(match found {
                Some(other) => both(other, value),
                None => value,
            });
        }
        Ok(found.unwrap_or_default())
    };
    match &node.kind {
        NodeKind::GreatestOf(nodes) => all(nodes, false, Exact::max),
        NodeKind::LeastOf(nodes) => all(nodes, true, Exact::min),
        NodeKind::Sum(nodes) => all(nodes, false, |sum, value| &sum + &value),
        NodeKind::Fixed(_) if !guarantees => Ok(Exact::zero()),
        NodeKind::Fixed(table) => leaves.fixed(table),
        kind @ (NodeKind::Share { .. } | NodeKind::Yearly { .. } | NodeKind::Price { .. }) => match Leaf::of_node(kind)
        {
            Some(leaf) => leaves.leaf(leaf),
            None => Ok(Exact::zero()),
        },
    }
}

/// The leaves of a node in their order.
pub fn leaves_of<'n>(node: &'n Node, found: &mut Vec<Leaf<'n>>) {
    found.extend(Leaf::of_node(&node.kind));
    if let NodeKind::GreatestOf(nodes) | NodeKind::LeastOf(nodes) | NodeKind::Sum(nodes) = &node.kind {
        nodes.iter().for_each(|node| leaves_of(node, found));
    }
    node.less.iter().for_each(|node| leaves_of(node, found));
}

/// Blocks of so many units in a quantity, a part of one as stated. Below zero it goes the same way back.
pub fn blocks(quantity: &Exact, blocks: Blocks<'_>) -> Exact {
    let exact = quantity.checked_div(blocks.size).unwrap_or_default();
    match blocks.part {
        PartBlock::Exact => exact,
        PartBlock::None => exact.trunc(),
        PartBlock::Whole => {
            let whole = exact.trunc();
            match whole == exact {
                true => whole,
                false if exact.is_negative() => &whole - &Exact::from_integer(1),
                false => &whole + &Exact::from_integer(1),
            }
        }
        // Of a running count: floor, so that it fills and empties at the same edges.
        PartBlock::Running(_) => exact.floor(),
        PartBlock::Started(_) => -(-exact).floor(),
    }
}

/// The amount of a step of a measure whose rate depends on how far a counter has come. `counted` is what the step
/// adds to the counter; where that is something else than the measure, the step is split in its proportion.
pub fn tiered(bands: &Bands, step: &Exact, before: &Exact, counted: &Exact) -> Exact {
    let amount = |part: &Exact, rate: Option<&Exact>| rate.map(|rate| part * rate).unwrap_or_default();
    if counted.is_zero() {
        return amount(step, bands.reached(before));
    }
    let parts = bands.parts(before, counted);
    if step == counted {
        return parts.iter().map(|(part, rate)| amount(part, *rate)).sum();
    }
    let share = |part: &Exact| (step * part).checked_div(counted).unwrap_or_default();
    parts.iter().map(|(part, rate)| amount(&share(part), *rate)).sum()
}

/// The amount of a step of a base whose rate depends on what the amount itself has come to: the step is divided
/// where that meets an edge.
pub fn tiered_by_own_amount(bands: &Bands, step: &Exact, before: &Exact) -> Exact {
    let (mut left, mut reached, mut amount) = (step.clone(), before.clone(), Exact::zero());
    let edges: Vec<_> = bands.iter().collect();
    let is_down = step.is_negative();
    let order: Vec<_> = if is_down { edges.iter().rev().collect() } else { edges.iter().collect() };
    for band in order {
        let place = edges.iter().position(|it| std::ptr::eq(*it, *band));
        let low = place.and_then(|it| edges.get(it.checked_sub(1)?)).and_then(|it| it.edge.as_ref()).map(|it| &it.at);
        let high = band.edge.as_ref().map(|edge| &edge.at);
        let is_past =
            if is_down { low.is_some_and(|low| reached <= *low) } else { high.is_some_and(|high| reached >= *high) };
        if left.is_zero() || is_past {
            continue;
        }
        let rate = band.value.clone().unwrap_or_default();
        let wanted = &left * &rate;
        let room = if is_down { low.map(|low| low - &reached) } else { high.map(|high| high - &reached) };
        let fits = room.as_ref().is_none_or(|room| if is_down { wanted >= *room } else { wanted <= *room });
        let part = match room {
            Some(room) if !fits => room,
            _ => wanted,
        };
        left = if fits { Exact::zero() } else { &left - &part.checked_div(&rate).unwrap_or_default() };
        reached = &reached + &part;
        amount = &amount + &part;
    }
    amount
}
