//! Which amounts are made of whole windows, and what of them is looked up there and not counted.

use super::Version;
use super::beside::FactDefinition;
use super::measure::{Amount, BelowZero, FigureDefinition, FigureKind, Measure, Node, NodeKind};
use super::rights::FactAttribute;
use super::selector::{Attribute, Filter};
use super::term::{Apply, Read, Term, Tiers};
use super::window::WindowRule;
use crate::domain::ids::DefinedTerm;
use std::collections::BTreeMap;

type Figures = BTreeMap<DefinedTerm, FigureDefinition>;
type Facts = BTreeMap<DefinedTerm, FactDefinition>;

/// Whether an amount is made of a whole window: it compares, is fixed, looks up, or has its rate from the window's end.
pub fn is_of_window(node: &Node, each: Option<&WindowRule>, tiers: Option<&Tiers>, figures: &Figures) -> bool {
    let is_of_item = each == Some(&WindowRule::Item);
    let has_bands = node.has_bands();
    let looks_up = each.is_some() && node.measures().into_iter().any(|measure| is_looked_up(measure, figures));
    ((needs_whole(node) || looks_up) && !is_of_item)
        || (has_bands && tiers.is_some_and(|tiers| tiers.apply == Apply::Whole || is_read_at_end(tiers, figures)))
}

/// Whether a node yields something else of a sum than of its parts.
pub fn needs_whole(node: &Node) -> bool {
    let is_whole = |kind: &NodeKind| match kind {
        NodeKind::GreatestOf(_) | NodeKind::LeastOf(_) | NodeKind::Fixed(_) | NodeKind::Yearly { .. } => true,
        NodeKind::Sum(_) | NodeKind::Share { .. } | NodeKind::Price { .. } => false,
    };
    node.all().into_iter().any(|node| is_whole(&node.kind))
}

/// Whether tiers read something at the end of a window that is not known before. What is reported is.
pub fn is_read_at_end(tiers: &Tiers, figures: &Figures) -> bool {
    let is_known = |name| !figures.get(name).is_some_and(|figure| figure.kind.is_gauged());
    tiers.apply == Apply::Level(Read::WindowEnd) && !matches!(&tiers.of, Some(Measure::Figure(name)) if is_known(name))
}

/// Whether a measure is a figure that has a value at each instant, so that nothing of it can be counted.
pub fn is_looked_up(measure: &Measure, figures: &Figures) -> bool {
    let Measure::Figure(name) = measure else { return false };
    figures.get(name).is_some_and(|figure| figure.kind != FigureKind::Flow)
}

/// What is told apart of what a measure brings, where that is not of each item: of windows, totals and figures.
pub fn told_apart<'v>(measure: &Measure, version: &'v Version) -> Option<&'v [Attribute]> {
    let figures = &version.figures;
    match measure {
        Measure::Base(name) => {
            version.bases.get(name).filter(|it| it.below_zero != BelowZero::Keep).map(|_| [].as_slice())
        }
        Measure::Figure(name) => figures.get(name).map(|figure| figure.about.as_slice()),
        Measure::Amount(name) => {
            let is_whole = |it: &&Amount| is_of_window(&it.node, it.each.as_ref(), it.tiers.as_ref(), figures);
            version.amounts.get(name).filter(is_whole).map(|amount| amount.per.as_slice())
        }
        Measure::Accrual { term, .. } => {
            let of = |term: &'v Term| (term.node.as_ref(), term.each.as_ref(), term.tiers.as_ref());
            let is_whole = |(node, each, tiers): (Option<&'v Node>, _, _)| {
                node.is_none_or(|node| is_of_window(node, each, tiers, figures))
            };
            version.term(term).filter(|term| term.on.is_some() || is_whole(of(term))).map(|term| term.per.as_slice())
        }
    }
}

/// An attribute by which a filter asks, and which is not told of what `per` alone tells apart.
pub fn untold<'f>(filter: &'f Filter, per: &[Attribute], facts: &Facts) -> Option<&'f Attribute> {
    let tells = |name: &str| per.iter().any(|it| it.name() == name);
    let is_told = |attribute: &Attribute| match attribute {
        // What a product can do is told by the product.
        Attribute::Fact(name) => facts.get(name).is_some_and(|fact| {
            let mut about = fact.about.iter();
            about.all(|it| tells(if *it == FactAttribute::Capability { "product" } else { it.name() }))
        }),
        plain => tells(plain.name()),
    };
    let mut asked = filter.all.keys().chain(filter.none.iter().flat_map(|none| none.keys()));
    asked.find(|it| !per.contains(it) && !is_told(it))
}
