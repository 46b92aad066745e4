//! How `apportion simulate` prints what scenarios came to: tables for people, and one table for spreadsheets.

use super::Stop;
use super::output::{self, exact, line, minor, table, tell, text};
use super::simulate::Outcome;
use apportion::domain::money::Unit;
use apportion::domain::simulate::answer::Answer;
use apportion::domain::simulate::report::{CaseReport, Report};
use apportion::domain::simulate::sheet::{Cell, Sheet, SheetKind};
use apportion::render::csv::{cell, decimal};

/// Of a scenario by itself.
const OF_ONE: &[SheetKind] = &[
    SheetKind::Steps,
    SheetKind::Booked,
    SheetKind::Owed,
    SheetKind::Crossings,
    SheetKind::Parties,
    SheetKind::Breaches,
    SheetKind::Charges,
    SheetKind::Periods,
    SheetKind::Uncounted,
];

/// Of one with what-ifs: the rest is told where it is asked for.
const OF_SEVERAL: &[SheetKind] = &[SheetKind::Differences, SheetKind::Crossings, SheetKind::Uncounted];

pub fn show(outcomes: &[Outcome], only: &[SheetKind]) -> anyhow::Result<()> {
    for outcome in outcomes {
        match outcome {
            Outcome::Refused { scenario, refused } => line(format!("{scenario}: refused\n{refused}\n"))?,
            Outcome::Ran(report) => show_report(report, only)?,
        }
    }
    Ok(())
}

fn show_report(report: &Report, only: &[SheetKind]) -> anyhow::Result<()> {
    let is_compared = report.cases.len() > 1;
    let kinds = match (only, is_compared) {
        ([], false) => OF_ONE,
        ([], true) => OF_SEVERAL,
        (only, _) => only,
    };
    line(format!("{}\n", report.scenario))?;
    if is_compared && only.is_empty() {
        for case in &report.cases {
            tell_failures(case)?;
        }
        tell_stated(report)?;
    }
    for kind in kinds {
        let mut sheets = report.sheets(*kind);
        if *kind == SheetKind::Uncounted && only.is_empty() {
            // Mostly the same in every case.
            sheets.dedup_by(|next, before| next.1 == before.1);
        }
        // What is asked for by name shows its heading where it is empty.
        for (case, sheet) in sheets.into_iter().filter(|(_, sheet)| !only.is_empty() || !sheet.rows.is_empty()) {
            let of = if is_compared && !case.is_empty() { format!(": {case}") } else { String::new() };
            line(format!("{kind}{of}"))?;
            line(format!("{}\n", drawn(&sheet)))?;
        }
    }
    Ok(())
}

fn tell_failures(case: &CaseReport) -> Result<(), output::OutputError> {
    for step in &case.steps {
        if let Answer::Failed { code, message, .. } = &step.answer {
            line(format!("{}: step {} has no answer ({code}): {message}", case.name, step.number))?;
        }
    }
    Ok(())
}

/// No path changes an amount that a record states.
fn tell_stated(report: &Report) -> Result<(), output::OutputError> {
    match report.stated_amounts {
        0 => Ok(()),
        count => line(format!(
            "{} stay as recorded under every price and volume path: deductions, receipts and billings state their amounts.\n",
            output::counted(count, "amount")
        )),
    }
}

/// A sheet as a table for people.
pub fn drawn(sheet: &Sheet) -> comfy_table::Table {
    let heading: Vec<&str> = sheet.columns.iter().map(String::as_str).collect();
    let is_number = |column: &usize| sheet.rows.iter().any(|row| row.get(*column).is_some_and(Cell::is_number));
    let numbers: Vec<usize> = (0..heading.len()).filter(is_number).collect();
    let rows = sheet.rows.iter().map(|row| row.iter().map(for_people).collect());
    table(&heading, &numbers, rows)
}

fn for_people(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Exact(number) | Cell::Amount(number, Unit::Declared { .. }) => exact(number),
        Cell::Amount(amount, Unit::Currency(currency)) => minor(amount, *currency),
        Cell::Nothing => String::new(),
    }
}

/// One sheet of all scenarios, as CSV, with a heading also where it is empty.
///
/// # Errors
/// Several sheets are asked for, or it cannot be written.
pub fn csv_of(outcomes: &[Outcome], only: &[SheetKind]) -> anyhow::Result<()> {
    let is_compared = outcomes.iter().any(|it| matches!(it, Outcome::Ran(report) if report.cases.len() > 1));
    let kind = match only {
        [] if is_compared => SheetKind::Differences,
        [] => SheetKind::Booked,
        [kind] => *kind,
        _ => {
            let reason = "CSV is one table: write one sheet after --only".to_owned();
            return Err(Stop::Refused { reason }.into());
        }
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut has_heading = false;
    for outcome in outcomes {
        let report = match outcome {
            Outcome::Ran(report) => report,
            Outcome::Refused { scenario, refused } => {
                tell(format_args!("{scenario}: refused\n{refused}"));
                continue;
            }
        };
        for (case, sheet) in report.sheets(kind) {
            if !std::mem::replace(&mut has_heading, true) {
                writer
                    .write_record(["scenario", "case"].into_iter().chain(sheet.columns.iter().map(String::as_str)))?;
            }
            for row in &sheet.rows {
                let row = row.iter().map(|it| cell(&for_programs(it)).into_owned());
                let of = [cell(&report.scenario).into_owned(), cell(case).into_owned()];
                writer.write_record(of.into_iter().chain(row))?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(text(&String::from_utf8_lossy(&bytes))?)
}

fn for_programs(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Exact(number) | Cell::Amount(number, _) => decimal(&number.to_string()),
        Cell::Nothing => String::new(),
    }
}
