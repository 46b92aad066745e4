//! What is measured: bases, amounts and figures, and the nodes that make amounts of them (CONTRACTS section 2).

use super::Assumption;
use super::selector::{Attribute, Filter};
use super::term::{Life, Tiers};
use super::value::Table;
use super::window::{Counting, Due, Moment, ProRata, WindowRule};
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that has a value at each item or window: a name that a node, a tier or a cell refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Base(DefinedTerm),
    Amount(DefinedTerm),
    Figure(DefinedTerm),
    /// What a term yields: its own contract's or another's. It stands at the item behind it.
    Accrual {
        contract: ContractId,
        term: TermId,
    },
}

/// A named definition: items, less what reduces them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    pub name: DefinedTerm,
    /// Whether it is a plain number, of units or facts, and no money.
    pub is_number: bool,
    /// An item that several of them select counts once.
    pub select: Vec<Selection>,
    pub less: Vec<Less>,
    pub basis: Basis,
    pub below_zero: BelowZero,
    /// Only what lies above it counts.
    pub above: Option<Threshold>,
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    pub of: Source,
    pub filter: Filter,
    /// The level figure that stands for the price of each unit.
    pub valued_at: Option<DefinedTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Charges,
    Billings,
    /// The quantities of usage, in units of their meters.
    Units,
    /// Each happening of an event counts one.
    Facts(DefinedTerm),
    Of(Measure),
}

/// When a sale counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    #[default]
    Occurred,
    Invoiced,
    Received,
}

/// What a base does whose total in a settlement period is below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BelowZero {
    #[default]
    Keep,
    Zero,
    /// It reduces the totals of later periods, and lapses with the term.
    Carried,
}

/// What reduces a base, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Less {
    pub what: Reduction,
    pub at: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Deductions of these categories.
    Deductions(Vec<String>),
    Node(Node),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At what it reduces: that item's rate and period.
    Item,
    /// At its own date: the rate then; nothing once the term has ended.
    OwnDate,
}

/// The part of a base above an amount since a counter began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Threshold {
    pub is: Table,
    pub counting: Counting,
    /// What is counted, where that is not the base itself.
    pub of: Option<Measure>,
    /// Each value has a counter of its own.
    pub per: Vec<Attribute>,
}

/// An amount that terms refer to; it is computed and not owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub name: DefinedTerm,
    pub node: Node,
    /// None: a plain number, such as a count.
    pub unit: Option<Unit>,
    pub life: Life,
    pub each: Option<WindowRule>,
    pub per: Vec<Attribute>,
    pub tiers: Option<Tiers>,
    /// Of its fixed sums.
    pub pro_rata: Option<ProRata>,
    pub assumptions: Vec<Assumption>,
}

/// How an amount is made. Nodes nest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    pub kind: NodeKind,
    /// Factors, each exact.
    pub times: Vec<Table>,
    pub less: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A measure, or a part of it.
    Share {
        of: Measure,
        rate: Table,
    },
    /// A yearly part of a measure, for the days of each window.
    Yearly {
        of: Measure,
        rate: Table,
        day_count: DayCount,
    },
    /// So much for each unit, or block of units, of a quantity.
    Price {
        of: Measure,
        price: Table,
        per_units: Exact,
        part_block: PartBlock,
    },
    Fixed(Table),
    GreatestOf(Vec<Node>),
    LeastOf(Vec<Node>),
    Sum(Vec<Node>),
}

/// Which part of a year days are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DayCount {
    #[serde(rename = "actual/actual")]
    ActualActual,
    #[serde(rename = "actual/365")]
    Actual365,
    #[serde(rename = "actual/360")]
    Actual360,
    #[serde(rename = "30/360")]
    Thirty360,
}

/// What a part of a block counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartBlock {
    /// In proportion.
    Exact,
    /// Of each item: as a whole block.
    Whole,
    /// Of each item: nothing.
    None,
    /// Nothing until the blocks of all items since then fill it.
    Running(Moment),
    /// As a whole block, once for all items since then that fill it.
    Started(Moment),
}

/// A number that a party reports, or that is derived from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureDefinition {
    /// None: a plain number, such as a percentage.
    pub unit: Option<Unit>,
    pub kind: FigureKind,
    pub by: Option<PartyId>,
    /// By what its values are told apart.
    pub about: Vec<Attribute>,
    pub missing: Missing,
    /// When it is to be reported.
    pub due: Option<Due>,
}

impl FigureDefinition {
    /// Whether a value that is reported in a unit is one of this figure; in none: a plain number.
    pub fn is_in(&self, unit: Option<&str>) -> bool {
        self.unit.as_ref().map(ToString::to_string).as_deref() == unit
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureKind {
    /// For a stretch of days; it stands at the last instant of the last.
    Flow,
    /// From an instant until it is replaced.
    Level,
    Ratio {
        of: Measure,
        to: Measure,
        over: WindowRule,
    },
    /// The mean of a level by days.
    Average {
        of: DefinedTerm,
        over: WindowRule,
    },
    /// The value of this window over that of the one before, less one.
    Growth {
        of: Measure,
        over: WindowRule,
    },
    /// The part of a window's days that is left.
    Left {
        of: WindowRule,
    },
}

impl FigureKind {
    /// Whether it is computed of what streams come to over a window.
    pub fn is_gauged(&self) -> bool {
        matches!(self, Self::Ratio { .. } | Self::Growth { .. })
    }
}

/// What holds while a figure is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The settlement stops.
    Stop,
    Zero,
    /// Nothing accrues of it.
    Nothing,
    /// This part of the last one; without an earlier one the settlement stops.
    Last(Exact),
}

impl Node {
    /// The nodes within it, itself first.
    pub fn all(&self) -> Vec<&Node> {
        let inner: &[Node] = match &self.kind {
            NodeKind::GreatestOf(nodes) | NodeKind::LeastOf(nodes) | NodeKind::Sum(nodes) => nodes,
            NodeKind::Share { .. } | NodeKind::Yearly { .. } | NodeKind::Price { .. } | NodeKind::Fixed(_) => &[],
        };
        let nested = inner.iter().chain(&self.less).flat_map(Node::all);
        [self].into_iter().chain(nested).collect()
    }

    /// What it and the nodes in it are of.
    pub fn measures(&self) -> Vec<&Measure> {
        self.all().into_iter().filter_map(|node| node.kind.of()).collect()
    }

    /// Every table in it.
    pub fn tables(&self) -> Vec<&Table> {
        self.all().into_iter().flat_map(|node| node.kind.table().into_iter().chain(&node.times)).collect()
    }

    /// Everything that it measures, in its tables too.
    pub fn mentions(&self) -> Vec<&Measure> {
        self.measures().into_iter().chain(self.tables().into_iter().flat_map(Table::mentions)).collect()
    }

    pub fn has_bands(&self) -> bool {
        self.tables().into_iter().any(Table::has_bands)
    }

    /// Whether it compares, which it does over a window.
    pub fn has_comparison(&self) -> bool {
        self.all().iter().any(|node| matches!(node.kind, NodeKind::GreatestOf(_) | NodeKind::LeastOf(_)))
    }

    /// Whether a part of it is owed whatever is sold.
    pub fn has_fixed(&self) -> bool {
        self.all().iter().any(|node| matches!(node.kind, NodeKind::Fixed(_)))
    }
}

impl NodeKind {
    /// What it is a part of.
    pub fn of(&self) -> Option<&Measure> {
        match self {
            Self::Share { of, .. } | Self::Yearly { of, .. } | Self::Price { of, .. } => Some(of),
            Self::Fixed(_) | Self::GreatestOf(_) | Self::LeastOf(_) | Self::Sum(_) => None,
        }
    }

    /// The number that is of it.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Share { rate, .. } | Self::Yearly { rate, .. } => Some(rate),
            Self::Price { price, .. } => Some(price),
            Self::Fixed(sum) => Some(sum),
            Self::GreatestOf(_) | Self::LeastOf(_) | Self::Sum(_) => None,
        }
    }
}

impl Base {
    /// The categories of deductions that it takes off, and where each stands.
    fn deductions(&self) -> impl Iterator<Item = (&str, Place)> {
        self.less.iter().flat_map(|less| {
            let categories = match &less.what {
                Reduction::Deductions(categories) => categories.as_slice(),
                Reduction::Node(_) => &[],
            };
            categories.iter().map(|category| (category.as_str(), less.at))
        })
    }

    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.deductions().map(|(category, _)| category)
    }

    /// Where deductions of a category stand; nowhere where it takes none off.
    pub fn place_of(&self, category: &str) -> Option<Place> {
        self.deductions().find(|(listed, _)| *listed == category).map(|(_, place)| place)
    }

    /// What it is made of beside items.
    pub fn mentions(&self) -> Vec<&Measure> {
        let selected = self.select.iter().filter_map(|it| match &it.of {
            Source::Of(measure) => Some(measure),
            Source::Charges | Source::Billings | Source::Units | Source::Facts(_) => None,
        });
        let less = self.less.iter().flat_map(|less| match &less.what {
            Reduction::Node(node) => node.mentions(),
            Reduction::Deductions(_) => Vec::new(),
        });
        let above = self.above.iter().flat_map(|it| it.of.iter().chain(it.is.mentions()));
        selected.chain(less).chain(above).collect()
    }
}

impl Amount {
    pub fn mentions(&self) -> Vec<&Measure> {
        let tiers = self.tiers.iter().filter_map(|tiers| tiers.of.as_ref());
        self.node.mentions().into_iter().chain(tiers).collect()
    }
}

impl FigureKind {
    /// What it is made of, where it is not reported.
    pub fn mentions(&self) -> Vec<&Measure> {
        match self {
            Self::Ratio { of, to, .. } => vec![of, to],
            Self::Growth { of, .. } => vec![of],
            Self::Flow | Self::Level | Self::Average { .. } | Self::Left { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(name) | Self::Amount(name) | Self::Figure(name) => name.fmt(f),
            Self::Accrual { contract, term, .. } => write!(f, "{contract}/{term}"),
        }
    }
}

impl Node {
    /// What it yields, of sums in a unit: `0.2 of Revenue`, `5 USD`.
    pub fn in_words(&self, unit: &Unit) -> String {
        let list = |name: &str, nodes: &[Node]| {
            let nodes: Vec<String> = nodes.iter().map(|node| node.in_words(unit)).collect();
            format!("{name} of ({})", nodes.join("; "))
        };
        let mut words = match &self.kind {
            NodeKind::Share { of, rate } => format!("{rate} of {of}"),
            NodeKind::Yearly { of, rate, .. } => format!("{rate} a year of {of}"),
            NodeKind::Price { of, price, per_units, .. } if *per_units == Exact::from_integer(1) => {
                format!("{} per unit of {of}", price.sum_in(unit))
            }
            NodeKind::Price { of, price, per_units, part_block } => {
                let part = match part_block {
                    PartBlock::Exact => "a part in proportion",
                    PartBlock::Whole => "a part of each item as a whole",
                    PartBlock::None => "a part of each item as nothing",
                    PartBlock::Running(_) => "whole ones of all items",
                    PartBlock::Started(_) => "of all items, a part as a whole",
                };
                format!("{} per {per_units} of {of}, {part}", price.sum_in(unit))
            }
            NodeKind::Fixed(sum) => sum.sum_in(unit),
            NodeKind::GreatestOf(nodes) => list("the greatest", nodes),
            NodeKind::LeastOf(nodes) => list("the least", nodes),
            NodeKind::Sum(nodes) => list("the sum", nodes),
        };
        words.extend(self.times.iter().map(|factor| format!(" times {factor}")));
        words.extend(self.less.iter().map(|less| format!(" less {}", less.in_words(unit))));
        words
    }
}
