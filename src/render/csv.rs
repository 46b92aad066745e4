//! Invoices and credit notes as CSV: one row a line, so that the rows of a document sum to its total.

use crate::domain::invoice::{Invoice, InvoiceLine};
use crate::domain::money::{Exact, Rounding};
use std::borrow::Cow;

/// The columns. They never change their order; new ones come last.
const HEADER: [&str; 16] = [
    "number",
    "kind",
    "issuer",
    "payer",
    "contract",
    "period",
    "issued_on",
    "due_on",
    "statement",
    "line",
    "entry",
    "term",
    "clause",
    "origin_period",
    "currency",
    "amount",
];

/// How many digits after its point a number has in a cell that has no finite decimal.
const FRACTION_DIGITS: u32 = 12;

/// A text as a cell: one that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises
/// ("CSV Injection"). Numbers stay numbers.
pub fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(text);
    if is_formula { format!("'{text}").into() } else { text.into() }
}

/// Whether a text is an exact number as we write them: `-12.50`, or `-1/3`.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    unsigned.split_once(['.', '/']).map_or_else(|| digits(unsigned), |(whole, rest)| digits(whole) && digits(rest))
}

/// An exact number as a decimal, rounded where it has no finite one: spreadsheets take 1/3 for a date.
pub fn decimal(text: &str) -> String {
    match text.parse::<Exact>() {
        Ok(fraction) if text.contains('/') => fraction.round(FRACTION_DIGITS, Rounding::HalfEven).to_string(),
        _ => text.to_owned(),
    }
}

/// The table of some documents, with a head.
///
/// # Errors
/// None that a text in memory could meet; the writer's type has them.
pub fn csv(invoices: &[Invoice]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for invoice in invoices {
        let lines = invoice.lines.iter().map(|line| ("line", Some(line), &line.amount));
        let carried = (!invoice.carried_in.is_zero()).then_some(("carried_in", None, &invoice.carried_in));
        for (number, (entry, line, amount)) in (1_usize..).zip(lines.chain(carried)) {
            let record = record(invoice, number, entry, line, amount);
            writer.write_record(record.iter().map(|text| cell(text).into_owned()))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `entry` is `line`, or `carried_in` for a credit of earlier periods, which is of no term.
fn record(invoice: &Invoice, number: usize, entry: &str, line: Option<&InvoiceLine>, amount: &Exact) -> [String; 16] {
    let decimal = amount.to_decimal(invoice.currency.minor_digits());
    [
        invoice.number.to_string(),
        invoice.kind.to_string(),
        invoice.issuer.party.to_string(),
        invoice.payer.party.to_string(),
        invoice.contract.to_string(),
        invoice.period.to_string(),
        invoice.issued_on.to_string(),
        invoice.due_on.map(|date| date.to_string()).unwrap_or_default(),
        invoice.statement.statement_id.to_string(),
        number.to_string(),
        entry.to_owned(),
        line.map(|line| line.term.to_string()).unwrap_or_default(),
        line.map(|line| line.clause.clone()).unwrap_or_default(),
        line.map(|line| line.origin_period.to_string()).unwrap_or_default(),
        invoice.currency.to_string(),
        decimal.map_or_else(|| amount.to_string(), |decimal| decimal.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_text_is_taken_for_a_formula_and_numbers_stay() {
        for text in ["=1+1", "+1", "-a", "@sum(a1)", "\tx", "\rx", "-", "-1-1", "-1.", "-1.2.3", "-1/2/3", "=-1"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        for text in ["", "-12.50", "-7", "-1/3", "12", "a=b", "'x", "2026-05", "é"] {
            assert_eq!(cell(text), text);
        }
    }
}
