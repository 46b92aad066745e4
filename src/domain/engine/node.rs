//! Amounts made of measures: the value of a node, at an item or of a window.

use super::Stop;
use super::addend::{Addend, FactorOf};
use super::table::Bands;
use crate::domain::contract::measure::{DayCount, Measure, Node, NodeKind, PartBlock};
use crate::domain::contract::value::Table;
use crate::domain::money::Exact;
use std::ops::Range;

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

    /// What the leaves added so far, where somebody asks for it.
    fn addends(&mut self) -> &mut Vec<Addend>;

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

    /// What its table says: a price where there are units, else a rate.
    pub fn multiplies(&self) -> FactorOf {
        if self.blocks.is_some() { FactorOf::Price } else { FactorOf::Rate }
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
    let start = leaves.addends().len();
    let whole = value_alone(node, leaves, guarantees);
    if node.times.is_empty() && node.less.is_empty() {
        return whole;
    }
    let mut value_of = whole?;
    for factor in &node.times {
        let factor = leaves.factor(factor)?;
        let added = start..leaves.addends().len();
        multiply(leaves, added, FactorOf::Times, &factor);
        value_of = &value_of * &factor;
    }
    for less in &node.less {
        let start = leaves.addends().len();
        value_of = &value_of - &value(less, leaves, true)?;
        let added = start..leaves.addends().len();
        multiply(leaves, added, FactorOf::TakenOff, &Exact::from_integer(-1));
    }
    Ok(value_of)
}

/// Multiplies some of what leaves added.
fn multiply<'n>(leaves: &mut impl Leaves<'n>, added: Range<usize>, what: FactorOf, value: &Exact) {
    for addend in leaves.addends().get_mut(added).unwrap_or_default() {
        addend.multiply(what, value);
    }
}

/// The value before its factors, and what is taken off it.
fn value_alone<'n>(node: &'n Node, leaves: &mut impl Leaves<'n>, guarantees: bool) -> Result<Exact, Stop> {
    match &node.kind {
        NodeKind::GreatestOf(nodes) => one_of(nodes, FactorOf::NotGreatest, leaves, guarantees),
        NodeKind::LeastOf(nodes) => one_of(nodes, FactorOf::NotLeast, leaves, guarantees),
        NodeKind::Sum(nodes) => {
            let mut sum = Exact::zero();
            for node in nodes {
                sum += &value_among(node, leaves, guarantees)?.unwrap_or_default();
            }
            Ok(sum)
        }
        NodeKind::Fixed(_) if !guarantees => Ok(Exact::zero()),
        NodeKind::Fixed(table) => leaves.fixed(table),
        kind @ (NodeKind::Share { .. } | NodeKind::Yearly { .. } | NodeKind::Price { .. }) => match Leaf::of_node(kind)
        {
            Some(leaf) => leaves.leaf(leaf),
            None => Ok(Exact::zero()),
        },
    }
}

/// The value of one of several nodes; none of a floor that holds no more: it is no floor of zero either.
fn value_among<'n>(node: &'n Node, leaves: &mut impl Leaves<'n>, guarantees: bool) -> Result<Option<Exact>, Stop> {
    let start = leaves.addends().len();
    let value = value(node, leaves, guarantees)?;
    if !guarantees && matches!(node.kind, NodeKind::Fixed(_)) {
        leaves.addends().truncate(start);
        return Ok(None);
    }
    Ok(Some(value))
}

/// The greatest or least of several; what the others came to is told, and does not count.
fn one_of<'n>(
    nodes: &'n [Node],
    left_out: FactorOf,
    leaves: &mut impl Leaves<'n>,
    guarantees: bool,
) -> Result<Exact, Stop> {
    let mut found: Option<(Exact, Range<usize>)> = None;
    for node in nodes {
        let start = leaves.addends().len();
        // What limits an amount goes on.
        let goes_on = guarantees || left_out == FactorOf::NotLeast && matches!(node.kind, NodeKind::Fixed(_));
        let Some(value) = value_among(node, leaves, goes_on)? else { continue };
        let added = start..leaves.addends().len();
        let Some((other, others)) = found else {
            found = Some((value, added));
            continue;
        };
        let is_better = if left_out == FactorOf::NotLeast { value < other } else { value > other };
        let (kept, others) = if is_better { ((value, added), others) } else { ((other, others), added) };
        multiply(leaves, others, left_out, &Exact::zero());
        found = Some(kept);
    }
    Ok(found.map(|(value, _)| value).unwrap_or_default())
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

/// The parts of a step of a measure by the rate of each, which depends on how far a counter has come. `counted` is what
/// the step adds to the counter; where that is something else than the measure, the step is split in its proportion.
pub fn tiered<'b>(bands: &'b Bands, step: &Exact, before: &Exact, counted: &Exact) -> Vec<(Exact, Option<&'b Exact>)> {
    if counted.is_zero() {
        return vec![(step.clone(), bands.reached(before))];
    }
    let parts = bands.parts(before, counted);
    if step == counted {
        return parts;
    }
    let share = |part: &Exact| (step * part).checked_div(counted).unwrap_or_default();
    parts.into_iter().map(|(part, rate)| (share(&part), rate)).collect()
}

/// The parts of a step of a base whose rate depends on what the amount itself has come to: the step is divided where
/// that meets an edge.
pub fn tiered_by_own_amount<'b>(bands: &'b Bands, step: &Exact, before: &Exact) -> Vec<(Exact, Option<&'b Exact>)> {
    let (mut left, mut reached, mut parts) = (step.clone(), before.clone(), Vec::new());
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
            Some(room) if !fits => room.checked_div(&rate).unwrap_or_default(),
            _ => left.clone(),
        };
        left = &left - &part;
        reached = &reached + &(&part * &rate);
        parts.push((part, band.value.as_ref()));
    }
    parts
}
