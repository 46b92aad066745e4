//! What is measured: bases, amounts and figures, and the nodes that make amounts of them (CONTRACTS section 2).

use super::Assumption;
use super::selector::{Attribute, Filter};
use super::value::Table;
use super::window::{Counting, WindowRule};
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Span;
use serde::Serialize;

/// Something that has a value at each item or window: a name that a node, a tier or a cell refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Base(DefinedTerm),
    Amount(DefinedTerm),
    Figure(DefinedTerm),
    /// What a term yields: its own contract's or another's.
    Accrual {
        contract: ContractId,
        term: TermId,
        when: AccrualPlace,
    },
}

/// Where an accrual that is drawn on stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccrualPlace {
    /// At the item behind it.
    Owed,
    /// When it is paid.
    Received,
}

/// A named definition: items, less what reduces them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    pub name: DefinedTerm,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    #[default]
    Occurred,
    Invoiced,
    Received,
}

/// What a base does whose total in a settlement period is below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    pub unit: Unit,
    pub in_force: Span,
    pub each: Option<WindowRule>,
    pub per: Vec<Attribute>,
    pub tiers: Option<super::term::Tiers>,
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

/// What a part of a block counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartBlock {
    /// In proportion.
    Exact,
    /// Of each item: as a whole block.
    Whole,
    /// Of each item: nothing.
    None,
    /// Nothing until the blocks of all items since a date fill it.
    Running,
}

/// A number that a party reports, or that is derived from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureDefinition {
    pub unit: Unit,
    pub kind: FigureKind,
    pub by: Option<PartyId>,
    /// By what its values are told apart.
    pub about: Vec<Attribute>,
    pub missing: Missing,
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
    /// What it and the nodes in it are of.
    pub fn measures(&self) -> Vec<&Measure> {
        let mut found = match &self.kind {
            NodeKind::Share { of, .. } | NodeKind::Price { of, .. } => vec![of],
            NodeKind::Fixed(_) => Vec::new(),
            NodeKind::GreatestOf(nodes) | NodeKind::LeastOf(nodes) | NodeKind::Sum(nodes) => {
                nodes.iter().flat_map(Self::measures).collect()
            }
        };
        found.extend(self.less.iter().flat_map(Self::measures));
        found
    }

    /// The tables in it and in the nodes in it.
    pub fn tables(&self) -> Vec<&Table> {
        let mut found: Vec<&Table> = self.times.iter().collect();
        match &self.kind {
            NodeKind::Share { rate: table, .. } | NodeKind::Price { price: table, .. } | NodeKind::Fixed(table) => {
                found.push(table);
            }
            NodeKind::GreatestOf(nodes) | NodeKind::LeastOf(nodes) | NodeKind::Sum(nodes) => {
                found.extend(nodes.iter().flat_map(Self::tables));
            }
        }
        found.extend(self.less.iter().flat_map(Self::tables));
        found
    }
}
