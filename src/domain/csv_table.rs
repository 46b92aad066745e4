//! Tables in files of agreements: a header that names the columns in any order, and rows that fit it.

use super::period::{Instant, ParseInstantError, parse_instant};
use csv::{Position, StringRecord};
use std::fmt::{Debug, Display};

/// A column that any table may have beside its own, as those of a scenario do: when a row was recorded.
const RECORDED_AT: &str = "recorded_at";

/// What spreadsheets part cells by where a comma stands in numbers.
const SEPARATORS: [(char, &str); 2] = [(';', "semicolons"), ('\t', "tabs")];

/// A table of `N` columns of which the header is right.
pub struct CsvTable<'t, const N: usize> {
    columns: Columns<N>,
    rows: csv::StringRecordsIntoIter<&'t [u8]>,
}

/// Where the columns of a table stand in its rows.
struct Columns<const N: usize> {
    needed: [usize; N],
    recorded_at: Option<usize>,
    /// How many there are.
    width: usize,
}

/// A row of a table.
pub struct CsvRow<'c, const N: usize> {
    columns: &'c Columns<N>,
    cells: StringRecord,
}

#[derive(Debug, thiserror::Error)]
pub enum TableProblem {
    #[error("its columns are parted by {found}; part them by commas")]
    Separator { found: &'static str },
    #[error("{text}: its cells are parted by {found}, and the columns of the header by commas; part both by commas")]
    CellSeparator { text: String, found: &'static str },
    #[error("no column \"{column}\"; the header is {header}")]
    NoColumn { column: &'static str, header: String },
    #[error("the column \"{column}\" is none of these; the header is {header}")]
    UnknownColumn { column: String, header: String },
    #[error("the column \"{column}\" stands twice")]
    RepeatedColumn { column: String },
    #[error("{found} cells; the header names {expected} columns, and a cell with a comma in it stands in quotes")]
    Cells { found: usize, expected: usize },
    #[error("{0}")]
    Unreadable(csv::Error),
}

/// What is wrong in a column.
#[derive(Debug, thiserror::Error)]
#[error("{column}: {problem}")]
pub struct InColumn<P: Debug + Display> {
    column: &'static str,
    problem: Box<P>,
}

/// Says in which column it stands, if something is wrong.
///
/// # Errors
/// What is wrong, with the column.
pub fn of_column<T, E: Into<P>, P: Debug + Display>(
    column: &'static str,
    read: Result<T, E>,
) -> Result<T, InColumn<P>> {
    read.map_err(|problem| InColumn { column, problem: Box::new(problem.into()) })
}

/// What stands at a line, or is wrong there.
pub type AtLine<T> = (usize, T);

impl<'t, const N: usize> CsvTable<'t, N> {
    /// Reads the header of a table, which has every column of `needed`, and perhaps `recorded_at` beside them.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn open(text: &'t str, needed: [&'static str; N]) -> Result<Self, AtLine<TableProblem>> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let columns = columns(reader.headers().map_err(unreadable)?, needed).map_err(|problem| (1, problem))?;
        Ok(Self { columns, rows: reader.into_records() })
    }

    /// The rows, each with its line.
    pub fn rows(&mut self) -> impl Iterator<Item = Result<AtLine<CsvRow<'_, N>>, AtLine<TableProblem>>> {
        let columns = &self.columns;
        self.rows.by_ref().map(move |cells| {
            let cells = cells.map_err(unreadable)?;
            let (line, found, expected) = (line_of(cells.position()), cells.len(), columns.width);
            if found == expected {
                return Ok((line, CsvRow { columns, cells }));
            }
            // A decimal comma cuts such a row into a few cells.
            let text = cells.iter().collect::<Vec<&str>>().join(",");
            let is_meant = |(sign, _): &(char, &str)| text.matches(*sign).count().saturating_add(1) == expected;
            let other = SEPARATORS.into_iter().find(is_meant);
            let cells = TableProblem::Cells { found, expected };
            Err((line, other.map_or(cells, |(_, found)| TableProblem::CellSeparator { text: text.clone(), found })))
        })
    }
}

impl<const N: usize> CsvRow<'_, N> {
    /// The cells of the columns that the table was opened with, in their order.
    pub fn cells(&self) -> [&str; N] {
        self.columns.needed.map(|place| self.cell(place))
    }

    /// When it was recorded; none where the table does not say.
    ///
    /// # Errors
    /// What is no instant.
    pub fn recorded_at(&self) -> Result<Option<Instant>, ParseInstantError> {
        self.columns.recorded_at.map_or(Ok(None), |place| instant(self.cell(place)))
    }

    fn cell(&self, place: usize) -> &str {
        // A row has as many cells as the header has columns.
        self.cells.get(place).unwrap_or_default()
    }
}

/// An instant; none where the cell is empty.
///
/// # Errors
/// What is no instant.
pub fn instant(cell: &str) -> Result<Option<Instant>, ParseInstantError> {
    (!cell.is_empty()).then(|| parse_instant(cell)).transpose()
}

fn columns<const N: usize>(header: &StringRecord, needed: [&'static str; N]) -> Result<Columns<N>, TableProblem> {
    let shown = || needed.join(",");
    if header.len() == 1 {
        let others = SEPARATORS.into_iter();
        let found = others.filter(|(other, _)| header.iter().any(|only| only.contains(*other))).map(|(_, found)| found);
        found.map(|found| TableProblem::Separator { found }).next().map_or(Ok(()), Err)?;
    }
    for (place, column) in header.iter().enumerate() {
        if header.iter().take(place).any(|earlier| earlier == column) {
            return Err(TableProblem::RepeatedColumn { column: column.to_owned() });
        }
        if column != RECORDED_AT && !needed.contains(&column) {
            return Err(TableProblem::UnknownColumn { column: column.to_owned(), header: shown() });
        }
    }
    let place_of = |column: &str| header.iter().position(|name| name == column);
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(needed) {
        *place = place_of(column).ok_or_else(|| TableProblem::NoColumn { column, header: shown() })?;
    }
    Ok(Columns { needed: places, recorded_at: place_of(RECORDED_AT), width: header.len() })
}

fn unreadable(error: csv::Error) -> AtLine<TableProblem> {
    (line_of(error.position()), TableProblem::Unreadable(error))
}

/// A quoted cell may hold line breaks, so the reader knows the line and a count of rows does not.
fn line_of(position: Option<&Position>) -> usize {
    position.map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX))
}
