//! Exchange rates as their source states them: for a date, from one unit to another, to be multiplied with.

use super::csv_table::{AtLine, CsvRow, CsvTable, InColumn, TableProblem, of_column};
use super::ids::is_name;
use super::money::{Exact, ParseExactError};
use super::period::{Instant, ParseInstantError};
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::BTreeSet;

/// So much of `to` for one of `from` on a date. Of several of one source, pair and date the last recorded holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FxRate {
    pub date: NaiveDate,
    /// A currency, or a unit that a contract declares.
    pub from: String,
    pub to: String,
    pub rate: Exact,
    pub source: String,
    /// None: known from the start.
    pub recorded_at: Option<Instant>,
}

impl FxRate {
    /// What it is the rate of: its source, date and pair.
    pub fn key(&self) -> (&str, NaiveDate, &str, &str) {
        (&self.source, self.date, &self.from, &self.to)
    }
}

/// Why a table of rates cannot be read, and in which line.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct FxError {
    pub line: usize,
    pub problem: FxProblem,
}

#[derive(Debug, thiserror::Error)]
pub enum FxProblem {
    #[error(transparent)]
    Table(#[from] TableProblem),
    #[error("\"{text}\" is no date; write one such as 2026-05-31")]
    Date { text: String },
    #[error(transparent)]
    Column(#[from] InColumn<Self>),
    #[error(transparent)]
    Rate(#[from] ParseExactError),
    #[error("a rate is above zero: {rate}")]
    NotPositive { rate: Exact },
    #[error(transparent)]
    Instant(#[from] ParseInstantError),
    #[error("{field} \"{text}\"; a name has 1 to 256 bytes and no control characters")]
    Name { field: &'static str, text: String },
    #[error("from {unit} to {unit} there is nothing to convert")]
    SameUnit { unit: String },
    #[error("recorded_at is stamped when rates are loaded; only the rates of a scenario state it")]
    RecordedAt,
    #[error("{source} states from {from} to {to} on {date} twice; a restated rate stands in place of the one before", source = .rate.source, from = .rate.from, to = .rate.to, date = .rate.date)]
    Repeated { rate: Box<FxRate> },
}

/// The columns of a table of rates.
const COLUMNS: [&str; 5] = ["date", "from", "to", "rate", "source"];

/// Reads rates that are to be loaded: CSV with the header `date,from,to,rate,source`, each source, date and pair once.
/// Each is told with its line.
///
/// # Errors
/// The first line that is wrong.
pub fn read_fx_rates(text: &str) -> Result<Vec<AtLine<FxRate>>, FxError> {
    let (mut rates, mut seen) = (Vec::new(), BTreeSet::new());
    read_rows(text, |line, rate| {
        if rate.recorded_at.is_some() {
            return Err(FxProblem::RecordedAt);
        }
        if !seen.insert((rate.source.clone(), rate.date, rate.from.clone(), rate.to.clone())) {
            return Err(FxProblem::Repeated { rate: Box::new(rate) });
        }
        rates.push((line, rate));
        Ok(())
    })?;
    Ok(rates)
}

/// Reads rates that may have one more column, `recorded_at`, as a scenario's have; there a restated one is a row more.
///
/// # Errors
/// The first line that is wrong.
pub fn read_recorded_fx_rates(text: &str) -> Result<Vec<FxRate>, FxError> {
    let mut rates = Vec::new();
    read_rows(text, |_, rate| {
        rates.push(rate);
        Ok(())
    })?;
    Ok(rates)
}

fn read_rows(text: &str, mut take: impl FnMut(usize, FxRate) -> Result<(), FxProblem>) -> Result<(), FxError> {
    let of_table = |(line, problem): AtLine<TableProblem>| FxError { line, problem: problem.into() };
    let mut table = CsvTable::open(text, COLUMNS).map_err(of_table)?;
    for row in table.rows() {
        let (line, row) = row.map_err(of_table)?;
        rate_of_row(&row).and_then(|rate| take(line, rate)).map_err(|problem| FxError { line, problem })?;
    }
    Ok(())
}

fn rate_of_row(row: &CsvRow<'_, { COLUMNS.len() }>) -> Result<FxRate, FxProblem> {
    let [date, from, to, rate, source] = row.cells();
    for (field, text) in [("from", from), ("to", to), ("source", source)] {
        if !is_name(text) {
            return Err(FxProblem::Name { field, text: text.escape_debug().to_string() });
        }
    }
    if from == to {
        return Err(FxProblem::SameUnit { unit: from.to_owned() });
    }
    let rate = of_column("rate", Exact::from_written(rate))?;
    if rate.is_negative() || rate.is_zero() {
        return Err(FxProblem::NotPositive { rate });
    }
    let date = of_column("date", date.parse().map_err(|_| FxProblem::Date { text: date.to_owned() }))?;
    let [from, to, source] = [from, to, source].map(str::to_owned);
    Ok(FxRate { date, from, to, rate, source, recorded_at: of_column("recorded_at", row.recorded_at())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_exact_and_wrong_rows_named() {
        let header = "date,from,to,rate,source,recorded_at\n";
        let rates =
            read_recorded_fx_rates(&format!("{header}2026-03-10,EUR,USD,1.1000000001,ECB,2026-03-10T16:00:00Z\n"));
        let rates = rates.expect("rates");
        assert_eq!((rates[0].rate.to_string(), rates[0].recorded_at.is_some()), ("1.1000000001".to_owned(), true));
        let check = |row: &str, expect: &str| {
            let error = read_fx_rates(&format!("{header}2026-03-09,EUR,USD,1.1,ECB,\n{row}\n"));
            let error = error.expect_err("a refusal").to_string();
            assert!(error.starts_with("line 3: ") && error.contains(expect), "{error}");
        };
        check("2026-03-32,EUR,USD,1,ECB,", "date: \"2026-03-32\" is no date");
        check("2026-03-10,EUR,USD,\"1,1\",ECB,", "rate: \"1,1\" is not an exact");
        check("2026-03-10,EUR,USD,0,ECB,", "above zero");
        check("2026-03-10,EUR,EUR,1,ECB,", "nothing to convert");
        check("2026-03-10,EUR,USD,1,,", "source \"\"");
        check("2026-03-10,EUR,USD,1,ECB,today", "recorded_at: \"today\" is no instant");
        check("2026-03-10,EUR,USD,1", "4 cells; the header names 6 columns");
        check("2026-03-10,EUR,USD,1,ECB,2026-03-10T16:00:00Z", "only the rates of a scenario");
        check("2026-03-09,EUR,USD,1.2,ECB,", "from EUR to USD on 2026-03-09 twice");
        let error = read_fx_rates("date,from,to,rat,source\n2026-03-10,EUR,USD,1,ECB\n").expect_err("a refusal");
        let told = "line 1: the column \"rat\" is none of these; the header is date,from,to,rate,source";
        assert_eq!(error.to_string(), told);
    }
}
