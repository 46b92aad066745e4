//! Values that depend on the item: rows of conditions, of which the first that matches holds.

use super::measure::Measure;
use super::selector::Filter;
use crate::domain::money::Exact;
use crate::domain::period::Span;
use serde::Serialize;

/// A number of a term: a rate, an amount, a price, a factor. A plain number is one row without conditions.
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

    /// Every cell that is not a table itself, with those of its tables.
    pub fn cells(&self) -> Vec<&Cell> {
        let mut found = Vec::new();
        for row in &self.rows {
            match &row.is {
                Cell::Table(table) => found.extend(table.cells()),
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
            if let Cell::Table(table) = &row.is {
                found.extend(table.all_conditions());
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
