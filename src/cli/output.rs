//! How results are printed: tables for people, JSON for programs.

use apportion::domain::period::Instant;
use apportion::jobs::gather::Gathered;
pub use apportion::render::amount::{exact, factors, measured, minor, money, thousands};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::Write;

/// How a command prints its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Json,
}

/// What the command line may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Printed {
    Table,
    Json,
    Csv,
}

/// Lines above and below the heading and at the end, none between the rows.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Between two columns.
const GAP: usize = 2;

/// A table with a heading; the columns in `numbers` are aligned to the right.
///
/// A terminal that is too narrow for it, even with words below each other, gets one line a cell instead: a name
/// or number that is broken in two cannot be read or copied.
pub fn table(heading: &[&str], numbers: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    // None where the output is no terminal: then nothing is wrapped.
    arranged(heading, numbers, &rows, Table::new().width())
}

fn arranged(heading: &[&str], numbers: &[usize], rows: &[Vec<String>], width: Option<u16>) -> Table {
    // A terminal that says 0 does not know its width.
    let width = width.map(usize::from).filter(|width| *width > 0);
    let column = |index: usize| rows.iter().filter_map(move |row| row.get(index)).map(String::as_str);
    let longest_word = |index: usize| {
        let cells = column(index).chain(heading.get(index).copied());
        cells.flat_map(str::split_whitespace).map(|word| word.chars().count()).max().unwrap_or_default()
    };
    let words: Vec<usize> = (0..heading.len()).map(longest_word).collect();
    let least = words.iter().map(|word| word.saturating_add(GAP)).sum::<usize>();
    let mut table = Table::new();
    table.load_style(LINES);
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        // Left to itself it would ask the terminal again.
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    if width.is_some_and(|width| width < least) {
        table.add_rows(rows.iter().flat_map(|row| stacked(heading, row)));
        return table;
    }
    table.set_header(heading);
    table.add_rows(rows);
    for (column, word) in table.column_iter_mut().zip(words) {
        // One blank here and the separator make the gap.
        column.set_padding((0, 1));
        if width.is_some() {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(
                u16::try_from(word.saturating_add(1)).unwrap_or(u16::MAX),
            )));
        }
    }
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The cells of a row below each other, each beside its heading; what is empty is left out.
fn stacked(heading: &[&str], row: &[String]) -> Vec<Vec<String>> {
    let cells = heading.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
    let lines = cells.map(|(name, cell)| vec![(*name).to_owned(), cell.clone()]);
    // Apart from the next row.
    lines.chain([vec![String::new(), String::new()]]).collect()
}

/// Nothing more can be printed, as on a full disk.
#[derive(Debug, thiserror::Error)]
#[error("the output cannot be written")]
pub struct OutputError(#[from] std::io::Error);

/// Prints a line to standard output.
///
/// # Errors
/// It cannot be written.
pub fn line(text: impl std::fmt::Display) -> Result<(), OutputError> {
    self::text(&format!("{text}\n"))
}

/// Prints text as it is to standard output. Whoever reads it may have gone away, as `head` does, with what it wanted:
/// the command goes on, and its exit status tells how it ended.
///
/// # Errors
/// It cannot be written.
pub fn text(text: &str) -> Result<(), OutputError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Tells a line on standard error, beside the answer: that nobody is there to hear it changes nothing.
pub fn tell(text: impl std::fmt::Display) {
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Tells, beside the answer, which files of a folder are not read: one may have a wrong ending.
pub fn tell_unread(found: &Gathered, endings: &[&str]) {
    if found.unread.is_empty() {
        return;
    }
    let names: Vec<String> = found.unread.iter().map(|path| path.display().to_string()).collect();
    let endings: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
    tell(format_args!("Not read, as what is read ends in {}: {}.", endings.join(", "), names.join(", ")));
}

/// Prints a value as indented JSON.
///
/// # Errors
/// It cannot be written.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(line(text)?)
}

/// An instant for people, in UTC to the second; JSON has all of it.
pub fn instant(at: Instant) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// So many of a thing whose plural takes an s: `1 line`, `2,000 lines`.
pub fn counted(number: impl std::fmt::Display, thing: &str) -> String {
    let number = thousands(number);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// So many of a thing, and what they are, in either number: `1 line was`, `2 lines were`.
pub fn counted_as(number: impl std::fmt::Display, thing: &str, (one, more): (&str, &str)) -> String {
    let things = counted(number, thing);
    let verb = if things == format!("1 {thing}") { one } else { more };
    format!("{things} {verb}")
}

/// A bar on a terminal; nothing elsewhere.
pub fn bar(message: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    // The template is ours and well-formed; the default one is no reason to stop.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::{arranged, counted, counted_as};

    #[test]
    fn no_word_is_broken_however_narrow_the_terminal() {
        let rows =
            [["microsoft-openai", "38,000,000,000.00 USD", "a sentence of several words"].map(str::to_owned).to_vec()];
        let heading = ["contract", "amount", "why"];
        for width in [200_u16, 80, 60, 50, 40] {
            let shown = arranged(&heading, &[1], &rows, Some(width)).to_string();
            assert!(shown.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}:\n{shown}");
            for word in ["microsoft-openai", "38,000,000,000.00", "sentence", "several"] {
                assert!(shown.contains(word), "{word} in {width}:\n{shown}");
            }
        }
    }

    #[test]
    fn a_terminal_that_does_not_know_its_width_gets_whole_lines() {
        let rows = [["microsoft-openai", "a sentence of several words"].map(str::to_owned).to_vec()];
        for width in [None, Some(0)] {
            let shown = arranged(&["contract", "why"], &[], &rows, width).to_string();
            assert!(shown.contains("microsoft-openai  a sentence of several words"), "{width:?}:\n{shown}");
        }
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!((counted(1, "line"), counted(0, "line")), ("1 line".to_owned(), "0 lines".to_owned()));
        let of = |number| counted_as(number, "line", ("is", "are"));
        assert_eq!((of(1), of(11)), ("1 line is".to_owned(), "11 lines are".to_owned()));
    }
}
