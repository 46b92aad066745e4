//! What the engine says: a line for each accrual, in the order in which they come about.

use super::addend::Addend;
use super::item::{Attributes, AttributesId, Content, Deduction, Item, ItemId};
use super::plan::{StreamId, StreamName};
use crate::domain::contract::measure::Measure;
use crate::domain::ids::{ContractId, EventId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span};
use serde::{Deserialize, Serialize};

/// One accrual of a term, unrounded.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    pub contract: &'a ContractId,
    pub term: &'a TermId,
    /// The term, as the run calls it.
    pub stream: StreamId,
    pub version: u32,
    /// The values that tell its counters apart (`per`).
    pub group: AttributesId,
    pub at: Instant,
    pub cause: Cause<'a>,
    /// What the term is of here.
    pub base: &'a Exact,
    /// Before the cap.
    pub uncapped: &'a Exact,
    pub amount: &'a Exact,
    /// How far its cap was used up, and the values that tell the cap's counters apart.
    pub cap: Option<(AttributesId, &'a CapUse)>,
    /// What it is made of before the cap, where that was wanted: of a node, or of a minimum.
    pub addends: &'a [Addend],
}

impl Line<'_> {
    /// Whether its addends, where they were wanted, sum to what it comes to before the cap.
    pub fn adds_up(&self) -> bool {
        let is_told = !matches!(self.cause, Cause::PaidBack | Cause::Shortfall);
        !is_told || self.addends.iter().map(Addend::amount).sum::<Exact>() == *self.uncapped
    }
}

/// Why a line comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    Item(ItemId<'a>),
    /// What another term or a base came to at the end of a window.
    Drawn,
    /// The amount of a window, to date or at its end.
    Window,
    /// What a minimum lacks.
    TopUp,
    /// What a minimum lacks, told and not owed.
    Shortfall,
    /// What waited under a cap.
    Deferred,
    /// Another term's accrual pays this one back.
    PaidBack,
    /// A fixed day or fact.
    On,
}

/// How far a cap was used up before and after a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct CapUse {
    pub limit: Exact,
    pub before: Exact,
    pub after: Exact,
}

/// A record of an interval that lies across a boundary, and stands whole at its start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct WholeInterval {
    pub contract: ContractId,
    pub event: EventId,
    pub span: Span,
}

/// What a stream yields of something, and what that is.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub contract: &'a ContractId,
    pub stream: &'a StreamName,
    /// The number of what passes: an item, or what a stream yields by itself.
    pub pass: u64,
    pub at: Instant,
    /// What it is in; none for a plain number.
    pub unit: Option<&'a Unit>,
    /// What other stream it was drawn of, where it was.
    pub of: Option<&'a Measure>,
    /// None where it comes of what other streams yielded by themselves.
    pub item: Option<&'a Item<'a>>,
    /// The deduction, of what was taken off.
    pub taken_off: Option<&'a TakenOff>,
    pub attributes: &'a Attributes,
    pub amount: &'a Exact,
    /// What it is made of, where that was wanted and it is of a node.
    pub addends: &'a [Addend],
}

/// What a deduction takes off.
#[derive(Clone, Debug)]
pub struct TakenOff {
    pub category: String,
    /// Its id, with its source.
    pub by: String,
    /// Its own date.
    pub at: Instant,
    pub amount: Exact,
}

impl TakenOff {
    pub fn by(deduction: &Deduction<'_>, amount: &Exact) -> Self {
        let Deduction { id, at, category, .. } = deduction;
        Self { category: (*category).to_owned(), by: id.to_string(), at: *at, amount: amount.clone() }
    }
}

impl Part<'_> {
    /// What it is, in words: the same on a statement and where an amount is explained.
    pub fn what(&self) -> String {
        if let Some(taken_off) = self.taken_off {
            return format!("deduction {}", taken_off.category);
        }
        match self.of {
            Some(Measure::Accrual { contract, term, .. }) => return format!("accrual {contract}/{term}"),
            Some(Measure::Base(name)) => return format!("base {name}"),
            Some(Measure::Amount(name)) => return format!("amount {name}"),
            Some(Measure::Figure(name)) => return format!("figure {name}"),
            None => {}
        }
        match self.stream {
            StreamName::Amount(name) => return format!("amount {name}"),
            StreamName::Term(term) => return format!("accrual {}/{term}", self.contract),
            StreamName::Base(..) | StreamName::Figure(..) | StreamName::Gauge(_) => {}
        }
        let Some(content) = self.item.map(|item| &item.content) else {
            // Of a base: what a node takes off, or a total that it is decided on.
            let taken_off = self.addends.first().map(|addend| format!("less {}", addend.of));
            return taken_off.unwrap_or_else(|| "its total".to_owned());
        };
        match content {
            Content::Usage { .. } if self.unit.is_none() => "usage".to_owned(),
            Content::Usage { .. } => "charges".to_owned(),
            Content::Billing { .. } => "billings".to_owned(),
            Content::Receipt(_) => "receipts".to_owned(),
            Content::Deduction(deduction) => format!("deduction {}", deduction.category),
            Content::Figure { name, .. } => format!("figure {name}"),
            Content::Event { name, .. } => format!("fact {name}"),
        }
    }
}

/// Takes lines as they come.
pub trait Lines {
    fn line(&mut self, line: Line<'_>);

    /// Whether `part` is wanted: for people who ask what an amount is made of.
    fn wants_parts(&self) -> bool {
        false
    }

    fn part(&mut self, _: Part<'_>) {}

    /// Whether addends are wanted.
    fn wants_addends(&self) -> bool {
        false
    }

    /// Once for each base and meter that counts it.
    fn stands_whole(&mut self, _: WholeInterval) {}
}

impl<F: FnMut(Line<'_>)> Lines for F {
    fn line(&mut self, line: Line<'_>) {
        self(line);
    }
}
