//! Values that depend on the item: rows of conditions, of which the first that matches holds.

use super::measure::Measure;
use super::selector::Filter;
use super::term::Tiers;
use crate::domain::ids::{DefinedTerm, PartyId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Length, Span};
use serde::Serialize;
use std::fmt;

/// A number of a term: a rate, an amount, a price, a factor. A plain number is one row without conditions.
///
/// The first row that matches holds; where none does the settlement stops, as the document says on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// All of them must hold; none: whatever comes here.
    pub when: Vec<Condition>,
    pub is: Cell,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The item's instant, or a window's last.
    Dates(Span),
    /// The item's attributes and what is known of them.
    Where(Filter),
    /// The window's place since the term began, from 1, both inclusive.
    Windows { first: u32, last: u32 },
    /// Up to here of what the tiers beside the table measure.
    Band(Edge),
}

/// Where a band ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    pub at: Exact,
    /// Whether the edge itself is of this band (`up_to`) or of the next (`below`).
    pub inclusive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Number(Exact),
    /// Nothing accrues, on purpose.
    Nothing,
    /// A figure or an amount, as it stands at the item or at the window's last instant.
    Measured(Measure),
    Table(Table),
    /// A table whose bands measure something of its own.
    Tiered {
        table: Table,
        tiers: Box<Tiers>,
    },
    /// What a party sets by notice.
    Noticed(Box<Notice>),
}

/// A number that one party sets: facts of its name bring new values. One out of bounds does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    pub name: DefinedTerm,
    pub by: PartyId,
    pub least: Exact,
    pub most: Exact,
    /// How long after the notice its value holds.
    pub notice: Length,
    /// What holds before any notice.
    pub initial: Exact,
}

impl From<Exact> for Table {
    fn from(number: Exact) -> Self {
        Self { rows: vec![Row { when: Vec::new(), is: Cell::Number(number) }] }
    }
}

impl Table {
    /// The number, where it is one without any condition.
    pub fn plain(&self) -> Option<&Exact> {
        match self.rows.as_slice() {
            [Row { when, is: Cell::Number(number) }] if when.is_empty() => Some(number),
            _ => None,
        }
    }

    /// How it is told where it is a sum in a unit.
    pub fn sum_in(&self, unit: &Unit) -> String {
        self.plain().map_or_else(|| self.to_string(), |sum| format!("{sum} {unit}"))
    }

    /// Every cell that is not a table itself, with those of its tables.
    pub fn cells(&self) -> Vec<&Cell> {
        let mut found = Vec::new();
        for row in &self.rows {
            match &row.is {
                Cell::Table(table) | Cell::Tiered { table, .. } => found.extend(table.cells()),
                cell => found.push(cell),
            }
        }
        found
    }

    /// The conditions of every row, with those of its tables.
    pub fn all_conditions(&self) -> Vec<&Condition> {
        let mut found = Vec::new();
        for row in &self.rows {
            found.extend(&row.when);
            if let Cell::Table(table) | Cell::Tiered { table, .. } = &row.is {
                found.extend(table.all_conditions());
            }
        }
        found
    }

    /// Whether some row of it is of certain windows. Asked at every item, so nothing is gathered.
    pub fn tells_windows_apart(&self) -> bool {
        self.rows.iter().any(|row| {
            let within = match &row.is {
                Cell::Table(table) | Cell::Tiered { table, .. } => table.tells_windows_apart(),
                Cell::Number(_) | Cell::Nothing | Cell::Measured(_) | Cell::Noticed(_) => false,
            };
            within || row.when.iter().any(|it| matches!(it, Condition::Windows { .. }))
        })
    }

    /// The values in it that are set by notice.
    pub fn notices(&self) -> Vec<&Notice> {
        let mut found: Vec<&Notice> = Vec::new();
        for row in &self.rows {
            match &row.is {
                Cell::Noticed(notice) => found.push(notice),
                Cell::Table(table) | Cell::Tiered { table, .. } => found.extend(table.notices()),
                Cell::Number(_) | Cell::Nothing | Cell::Measured(_) => {}
            }
        }
        found
    }

    /// The figures and amounts that stand for numbers in it, and what its own tiers measure.
    pub fn mentions(&self) -> Vec<&Measure> {
        let mut found = Vec::new();
        for row in &self.rows {
            match &row.is {
                Cell::Measured(measure) => found.push(measure),
                Cell::Table(table) => found.extend(table.mentions()),
                Cell::Tiered { table, tiers } => {
                    found.extend(table.mentions());
                    found.extend(&tiers.of);
                }
                Cell::Number(_) | Cell::Nothing | Cell::Noticed(_) => {}
            }
        }
        found
    }

    /// Whether a row asks how far the tiers have come.
    pub fn has_bands(&self) -> bool {
        self.rows.iter().any(|row| {
            let inner = matches!(&row.is, Cell::Table(table) if table.has_bands());
            inner || row.when.iter().any(|it| matches!(it, Condition::Band(_)))
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows.as_slice() {
            [Row { when, is }] if when.is_empty() => match is {
                Cell::Number(number) => number.fmt(f),
                Cell::Nothing => f.write_str("none"),
                Cell::Measured(measure) => measure.fmt(f),
                Cell::Noticed(notice) => write!(f, "{} by notice", notice.name),
                Cell::Table(_) | Cell::Tiered { .. } => f.write_str("by rows"),
            },
            _ => f.write_str("by rows"),
        }
    }
}
