//! Which row of a table holds: by date, attributes, window and band.

use crate::domain::contract::measure::Measure;
use crate::domain::contract::selector::Filter;
use crate::domain::contract::term::Tiers;
use crate::domain::contract::value::{Cell, Condition, Edge, Notice, Row, Table};
use crate::domain::money::Exact;
use crate::domain::period::Instant;

/// What a table says of one item or window: one band without an end, or several, rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bands {
    bands: Vec<Band>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// Absent: up to anything.
    pub edge: Option<Edge>,
    /// Absent: nothing accrues, on purpose.
    pub value: Option<Exact>,
}

/// Of what a row is asked, and what cells that are measured come to.
pub trait Circumstances {
    type Error;

    fn at(&self) -> Instant;

    fn matches(&self, filter: &Filter) -> bool;

    /// The window's place since the term began, from 1.
    fn window(&self) -> Option<u32>;

    /// # Errors
    /// It is not known, and the contract does not say what holds then.
    fn measured(&self, measure: &Measure) -> Result<Option<Exact>, Self::Error>;

    /// The value of bands that measure something of their own.
    ///
    /// # Errors
    /// As `measured`.
    fn tiered(&self, bands: &Bands, tiers: &Tiers) -> Result<Option<Exact>, Self::Error>;

    /// What was set by notice.
    fn noticed(&self, notice: &Notice) -> Exact;
}

impl Bands {
    /// The bands of the rows whose other conditions hold; none where no row says what holds at the end.
    ///
    /// # Errors
    /// A measured cell is not known.
    pub fn of<C: Circumstances>(table: &Table, circumstances: &C) -> Result<Option<Self>, C::Error> {
        let mut bands = Vec::new();
        let is_whole = gather(table, None, circumstances, &mut bands)?;
        Ok(is_whole.then_some(Self { bands }))
    }

    /// The value, where it does not depend on how far tiers have come.
    pub fn single(&self) -> Option<Option<&Exact>> {
        match self.bands.as_slice() {
            [Band { edge: None, value }] => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The value that is reached with a count.
    pub fn reached(&self, count: &Exact) -> Option<&Exact> {
        let holds = |band: &&Band| band.edge.as_ref().is_none_or(|edge| is_within(edge, count));
        self.bands.iter().find(holds).and_then(|band| band.value.as_ref())
    }

    /// The parts of a step from `before` on by band, with their values: up, or back down the same way.
    pub fn parts<'a>(&'a self, before: &Exact, step: &Exact) -> Vec<(Exact, Option<&'a Exact>)> {
        let after = before + step;
        let (low, high) = if step.is_negative() { (&after, before) } else { (before, &after) };
        let mut parts = Vec::new();
        let mut start = low.clone();
        for band in &self.bands {
            let end = band.edge.as_ref().map_or_else(|| high.clone(), |edge| edge.at.clone().min(high.clone()));
            if start < end {
                let part = &end - &start;
                parts.push((if step.is_negative() { -part } else { part }, band.value.as_ref()));
                start = end;
            }
        }
        parts
    }

    /// Where one band ends and the next begins.
    pub fn edges(&self) -> impl Iterator<Item = &Exact> {
        self.bands.iter().filter_map(|band| band.edge.as_ref()).map(|edge| &edge.at)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Band> {
        self.bands.iter()
    }
}

pub fn is_within(edge: &Edge, count: &Exact) -> bool {
    *count < edge.at || (edge.inclusive && *count == edge.at)
}

/// Adds the bands of a table below `outer`; whether one of its rows holds up to there.
fn gather<C: Circumstances>(
    table: &Table,
    outer: Option<&Edge>,
    circumstances: &C,
    bands: &mut Vec<Band>,
) -> Result<bool, C::Error> {
    for row in table.rows.iter().filter(|row| holds(row, circumstances)) {
        let own = row.when.iter().find_map(|it| if let Condition::Band(edge) = it { Some(edge) } else { None });
        let edge = own.or(outer);
        let is_whole = match &row.is {
            Cell::Table(inner) => gather(inner, edge, circumstances, bands)?,
            cell => {
                let value = match cell {
                    Cell::Number(number) => Some(number.clone()),
                    Cell::Measured(measure) => circumstances.measured(measure)?,
                    Cell::Noticed(notice) => Some(circumstances.noticed(notice)),
                    Cell::Tiered { table, tiers } => match Bands::of(table, circumstances)? {
                        Some(bands) => circumstances.tiered(&bands, tiers)?,
                        None => return Ok(false),
                    },
                    Cell::Nothing | Cell::Table(_) => None,
                };
                bands.push(Band { edge: edge.cloned(), value });
                true
            }
        };
        if own.is_none() && is_whole {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds<C: Circumstances>(row: &Row, circumstances: &C) -> bool {
    row.when.iter().all(|condition| match condition {
        Condition::Dates(span) => span.contains(circumstances.at()),
        Condition::Where(filter) => circumstances.matches(filter),
        Condition::Windows { first, last } => circumstances.window().is_some_and(|it| (*first..=*last).contains(&it)),
        Condition::Band(_) => true,
    })
}
