//! Tables in files of agreements: a header that names the columns, and rows that fit it, each cell by its column's name.

use csv::{Position, StringRecord};

/// A table of which the header is right.
pub struct Table<'t> {
    header: StringRecord,
    rows: csv::StringRecordsIntoIter<&'t [u8]>,
}

/// A row of a table.
pub struct Row<'h> {
    header: &'h StringRecord,
    cells: StringRecord,
}

#[derive(Debug, thiserror::Error)]
pub enum TableProblem {
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

/// A problem with the line where it stands.
pub type AtLine<P> = (u64, P);

impl<'t> Table<'t> {
    /// Reads the header of a table, which has every column of `needed` and perhaps that which is `allowed` beside them.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn open(text: &'t str, needed: &[&'static str], allowed: &'static str) -> Result<Self, AtLine<TableProblem>> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let header = reader.headers().map_err(unreadable)?.clone();
        check(&header, needed, allowed).map_err(|problem| (1, problem))?;
        Ok(Self { header, rows: reader.into_records() })
    }

    /// The rows, each with its line.
    pub fn rows(&mut self) -> impl Iterator<Item = Result<AtLine<Row<'_>>, AtLine<TableProblem>>> {
        let header = &self.header;
        self.rows.by_ref().map(move |cells| {
            let cells = cells.map_err(unreadable)?;
            let (line, found, expected) = (line_of(cells.position()), cells.len(), header.len());
            let row = Row { header, cells };
            if found == expected { Ok((line, row)) } else { Err((line, TableProblem::Cells { found, expected })) }
        })
    }
}

impl Row<'_> {
    /// The cell of a column; empty where the table has no such column.
    pub fn cell(&self, column: &str) -> &str {
        let place = self.header.iter().position(|name| name == column);
        place.and_then(|place| self.cells.get(place)).unwrap_or_default()
    }
}

fn check(header: &StringRecord, needed: &[&'static str], allowed: &str) -> Result<(), TableProblem> {
    let shown = || needed.join(",");
    for (place, column) in header.iter().enumerate() {
        if header.iter().take(place).any(|earlier| earlier == column) {
            return Err(TableProblem::RepeatedColumn { column: column.to_owned() });
        }
        if column != allowed && !needed.contains(&column) {
            return Err(TableProblem::UnknownColumn { column: column.to_owned(), header: shown() });
        }
    }
    match needed.iter().find(|needed| !header.iter().any(|column| column == **needed)) {
        Some(column) => Err(TableProblem::NoColumn { column, header: shown() }),
        None => Ok(()),
    }
}

fn unreadable(error: csv::Error) -> AtLine<TableProblem> {
    (line_of(error.position()), TableProblem::Unreadable(error))
}

/// A quoted cell may hold line breaks, so the reader knows the line and a count of rows does not.
fn line_of(position: Option<&Position>) -> u64 {
    position.map_or(1, Position::line)
}
