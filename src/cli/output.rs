//! How results are printed: tables for people, JSON for programs.

use apportion::domain::money::{Currency, Exact, Rounding};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Lines above and below the heading and at the end, none between the rows.
const LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A table with a heading; the columns in `numbers` are aligned to the right.
pub fn table(heading: &[&str], numbers: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heading);
    table.add_rows(rows);
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a line to standard output.
///
/// # Errors
/// The reader has gone away.
pub fn line(text: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}

/// Prints a value as indented JSON.
///
/// # Errors
/// The reader has gone away.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(line(text)?)
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn thousands(number: impl std::fmt::Display) -> String {
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let mut grouped = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rounded amount with all minor digits of its currency: `1,234.50 USD`.
pub fn money(amount: &Exact, currency: Currency) -> String {
    let decimal = amount.to_decimal(currency.minor_digits());
    let text = decimal.map_or_else(|| amount.to_string(), |decimal| decimal.to_string());
    match text.split_once('.') {
        Some((whole, minor)) => format!("{}.{minor} {currency}", thousands(whole)),
        None => format!("{} {currency}", thousands(text)),
    }
}

/// An unrounded number for people: whole where it is short, else its first six fractional digits and `…`.
pub fn exact(amount: &Exact) -> String {
    let shown = amount.round(6, Rounding::Down);
    let (text, rest) = (shown.to_string(), if shown == *amount { "" } else { "…" });
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}{rest}", thousands(whole)),
        None => format!("{}{rest}", thousands(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::{exact, thousands};

    #[test]
    fn what_is_not_shown_is_marked() {
        let cases = [("1234.5", "1,234.5"), ("1/3", "0.333333…"), ("-0.0000001", "0…"), ("2000000", "2,000,000")];
        for (number, expect) in cases {
            assert_eq!(exact(&number.parse().expect("a number")), expect);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        let cases = [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1234567", "-1,234,567")];
        for (number, expect) in cases {
            assert_eq!(thousands(number), expect);
        }
    }
}
