//! Reads nodes: a share, a price per unit, a fixed sum, or several of them compared or added.

use super::super::measure::{Measure, Node, NodeKind, PartBlock};
use super::super::parsed::Parsed;
use super::super::problem::Problem;
use super::super::raw::{NodeFields, RawNode, RawPartBlock, RawTiers};
use super::super::term::{Apply, Tiers};
use super::super::value::Table;
use super::super::window::WindowRule;
use super::unit::MeasuredIn;
use super::value::{Kind, Want};
use super::{Notes, Result, Scope};
use crate::domain::money::Exact;
use std::ops::Range;
use toml::Spanned;

/// What a node has to yield where it stands.
pub struct NodeWant {
    pub unit: MeasuredIn,
    /// What the edges of bands are in, where tiers stand beside the node.
    pub bands: Option<Kind>,
    pub windows: bool,
    pub above_one: bool,
}

/// All of a measure.
pub fn whole(of: Measure) -> Node {
    let kind = NodeKind::Share { of, rate: Table::from(Exact::from_integer(1)) };
    Node { kind, times: Vec::new(), less: Vec::new() }
}

impl NodeFields<'_> {
    pub fn is_empty(&self) -> bool {
        let values = [self.rate, self.price, self.per_units, self.block_from, self.fixed];
        let lists = [self.greater_of, self.lesser_of, self.sum];
        self.of.is_none()
            && self.annual.is_none()
            && self.part_block.is_none()
            && values.iter().all(Option::is_none)
            && lists.iter().all(Option::is_none)
            && self.times.is_empty()
            && self.less.is_empty()
    }
}

impl<'a> Scope<'a> {
    pub fn node(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        fields: NodeFields<'a>,
        want: &NodeWant,
        noted: &mut Notes,
    ) -> Result<Node> {
        let factors =
            Want { bands: want.bands.clone(), windows: want.windows, ..Want::not_negative("times", Kind::Number) };
        let mut times = Vec::new();
        for factor in fields.times {
            times.push(self.table(file, factor, &factors, noted)?);
        }
        let mut less = Vec::new();
        for node in fields.less {
            less.push(self.node(file, &node.span(), node.get_ref().node(), want, noted)?);
        }
        Ok(Node { kind: self.node_kind(file, at, fields, want, noted)?, times, less })
    }

    fn node_kind(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        fields: NodeFields<'a>,
        want: &NodeWant,
        noted: &mut Notes,
    ) -> Result<NodeKind> {
        let lists = (fields.greater_of, fields.lesser_of, fields.sum);
        let blocks = (fields.per_units, fields.part_block, fields.block_from);
        if !matches!(blocks, (None, None, None)) && fields.price.is_none() {
            return file.fail(at, Problem::BlocksWithoutPrice);
        }
        match (fields.of, fields.rate, fields.annual, fields.price, fields.fixed, lists) {
            (Some(of), rate, None, None, None, (None, None, None)) => {
                let (of, rate) = self.share(file, of, rate, want, noted)?;
                Ok(NodeKind::Share { of, rate })
            }
            (Some(of), Some(rate), Some(days), None, None, (None, None, None)) => {
                let (of, rate) = self.share(file, of, Some(rate), want, noted)?;
                Ok(NodeKind::Yearly { of, rate, day_count: *days.get_ref() })
            }
            (Some(_), None, None, Some(_), None, (None, None, None)) => self.price(file, at, fields, want, noted),
            (None, None, None, None, Some(fixed), (None, None, None)) => {
                let want = self.sums("fixed", want);
                Ok(NodeKind::Fixed(self.table(file, fixed, &want, noted)?))
            }
            (None, None, None, None, None, (Some(list), None, None)) => {
                self.nodes(file, list, want, noted).map(NodeKind::GreatestOf)
            }
            (None, None, None, None, None, (None, Some(list), None)) => {
                self.nodes(file, list, want, noted).map(NodeKind::LeastOf)
            }
            (None, None, None, None, None, (None, None, Some(list))) => {
                self.nodes(file, list, want, noted).map(NodeKind::Sum)
            }
            (None, None, None, None, None, (None, None, None)) => file.fail(at, Problem::NoNode),
            (_, _, _, _, Some(fixed), (None, None, None)) => file.fail(&fixed.span(), Problem::FixedBeside),
            (None, Some(_), _, None, None, _) => file.fail(at, Problem::RateOfNothing),
            (None, None, _, Some(_), None, _) => file.fail(at, Problem::PriceOfNothing),
            _ => file.fail(at, Problem::NodeKinds),
        }
    }

    fn sums(&self, field: &'static str, want: &NodeWant) -> Want {
        Want { bands: want.bands.clone(), windows: want.windows, ..Want::plain(field, Kind::of(want.unit.clone())) }
    }

    fn share(
        &self,
        file: &'a Parsed,
        of: &'a Spanned<String>,
        rate: Option<&'a Spanned<super::super::raw::RawValue>>,
        want: &NodeWant,
        noted: &mut Notes,
    ) -> Result<(Measure, Table)> {
        let measure = self.measure(file, &of.span(), of.get_ref())?;
        let found = self.measured_in(&measure, &mut Vec::new())?;
        self.check_fits(file, &of.span(), &found, &want.unit)?;
        let rate = match rate {
            Some(rate) => {
                let kind = Kind::Rate { above_one: want.above_one };
                let rates = Want { bands: want.bands.clone(), windows: want.windows, ..Want::plain("rate", kind) };
                self.table(file, rate, &rates, noted)?
            }
            None => Table::from(Exact::from_integer(1)),
        };
        Ok((measure, rate))
    }

    fn price(
        &self,
        file: &'a Parsed,
        at: &Range<usize>,
        fields: NodeFields<'a>,
        want: &NodeWant,
        noted: &mut Notes,
    ) -> Result<NodeKind> {
        let (Some(of), Some(price)) = (fields.of, fields.price) else {
            return file.fail(at, Problem::PriceOfNothing);
        };
        let measure = self.measure(file, &of.span(), of.get_ref())?;
        if self.measured_in(&measure, &mut Vec::new())?.is_some() {
            return file.fail(&of.span(), Problem::PriceOfMoney);
        }
        let per_units = match fields.per_units {
            Some(value) => {
                let units = self.number(file, value, &Want::plain("per_units", Kind::Number), noted)?;
                if units <= Exact::zero() {
                    return file.fail(&value.span(), Problem::PerUnits);
                }
                units
            }
            None => Exact::from_integer(1),
        };
        let part_block = match (fields.part_block, fields.block_from) {
            (Some(running), Some(from)) if *running.get_ref() == RawPartBlock::Running => {
                PartBlock::Running(self.moment("block_from", file, from)?)
            }
            (Some(started), Some(from)) if *started.get_ref() == RawPartBlock::Started => {
                PartBlock::Started(self.moment("block_from", file, from)?)
            }
            (Some(part), None) => match part.get_ref() {
                RawPartBlock::Exact => PartBlock::Exact,
                RawPartBlock::Whole => PartBlock::Whole,
                RawPartBlock::None => PartBlock::None,
                RawPartBlock::Running | RawPartBlock::Started => {
                    return file.fail(&part.span(), Problem::RunningBlocks);
                }
            },
            (None, None) if fields.per_units.is_none() => PartBlock::Exact,
            (None, None) => return file.fail(at, Problem::NoPartBlock),
            _ => return file.fail(at, Problem::RunningBlocks),
        };
        let prices = Want { not_negative: true, ..self.sums("price", want) };
        let price = self.table(file, price, &prices, noted)?;
        Ok(NodeKind::Price { of: measure, price, per_units, part_block })
    }

    fn nodes(
        &self,
        file: &'a Parsed,
        list: &'a Spanned<Vec<Spanned<RawNode>>>,
        want: &NodeWant,
        noted: &mut Notes,
    ) -> Result<Vec<Node>> {
        if list.get_ref().len() < 2 {
            return file.fail(&list.span(), Problem::OneNode);
        }
        let nodes = list.get_ref().iter();
        nodes.map(|node| self.node(file, &node.span(), node.get_ref().node(), want, noted)).collect()
    }

    /// Tiers choose among bands; and what they count of their own measure they count for one table of bands.
    pub fn check_bands(
        &self,
        file: &Parsed,
        at: &Range<usize>,
        tiers: Option<&Tiers>,
        node: Option<&Node>,
    ) -> Result<()> {
        let Some(tiers) = tiers else { return Ok(()) };
        let tables = node.into_iter().flat_map(Node::tables).filter(|table| table.has_bands()).count();
        match tables {
            0 => file.fail(at, Problem::TiersWithoutBands),
            1 => Ok(()),
            _ if tiers.apply == Apply::Marginal && tiers.of.is_some() => file.fail(at, Problem::SeveralBanded),
            _ => Ok(()),
        }
    }

    /// The tiers beside a node, and what the edges of its bands are in.
    pub fn tiers_beside(
        &self,
        file: &'a Parsed,
        tiers: Option<&'a Spanned<RawTiers>>,
        node: NodeFields<'a>,
        unit: &MeasuredIn,
        each: Option<&WindowRule>,
    ) -> Result<(Option<Tiers>, Option<Kind>)> {
        let Some(tiers) = tiers else { return Ok((None, None)) };
        let of = node.of.map(|name| self.measure(file, &name.span(), name.get_ref())).transpose()?;
        let own = of.as_ref().map(|measure| (measure, unit));
        let (tiers, kind) = self.tiers(file, tiers, own, each)?;
        Ok((Some(tiers), Some(kind)))
    }
}
