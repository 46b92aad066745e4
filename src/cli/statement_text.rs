//! A statement as text for people: what is owed, and how each amount came about.

use super::output::{counted, exact, factors, measured, money, table};
use apportion::domain::contract::Confidence;
use apportion::domain::engine::outcome::WholeInterval;
use apportion::domain::findings::HeldEvents;
use apportion::domain::money::{Exact, Rounding, Unit};
use apportion::domain::statement::{DirectionTotal, LineDetail, Statement, StatementLine};
use apportion::jobs::statements::UnresolvedEvents;
use apportion::store::books::StatementHead;
use std::fmt::{self, Write};

/// Writes a statement out. Unrounded amounts show six fractional digits; the JSON has them all.
pub fn text(row: &StatementHead, statement: &Statement, unresolved: UnresolvedEvents) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, row, statement, unresolved);
    out
}

fn write(out: &mut String, row: &StatementHead, statement: &Statement, unresolved: UnresolvedEvents) -> fmt::Result {
    let [a, b] = &statement.parties;
    writeln!(out, "Statement {} (revision {}, {})", row.statement_id, row.revision, row.status)?;
    writeln!(out, "{}: {a} and {b}, {} in {}", statement.title, statement.period, statement.zone)?;
    writeln!(out, "As known at {}. SHA-256 of the statement {}", statement.cutoff, row.sha256)?;
    let accrued = format!("accrued ({})", statement.unit);
    let heading = ["clause", "origin", "who owes whom", &accrued, "booked before", "booked now"];
    let lines = statement.lines.iter().map(|line| line_row(statement, line));
    writeln!(out, "{}", table(&heading, &[3, 4, 5], lines))?;
    write_rounding(out, statement)?;
    for line in &statement.lines {
        line.details.iter().try_for_each(|detail| write_made(out, &statement.unit, line, detail))?;
        if !line.owed_to_others.is_zero() {
            let others = money(&line.owed_to_others, statement.unit.clone());
            writeln!(out, "Of {} of {} others are owed {others}.", line.term, line.origin_period)?;
        }
        write_parts(out, line)?;
    }
    let heading = ["payer", "payee", "this period", "carried in", "payable", "carried on", "due"];
    let totals = statement.totals.iter().map(|total| total_row(statement, total));
    writeln!(out, "{}", table(&heading, &[2, 3, 4, 5], totals))?;
    for line in &statement.lines {
        for detail in &line.details {
            write_cap(out, statement, line, detail)?;
        }
    }
    let UnresolvedEvents { events, unwaived } = unresolved;
    let waived = events.saturating_sub(unwaived);
    if events > 0 {
        let waived = if waived > 0 { format!("; {waived} of them waived") } else { String::new() };
        writeln!(out, "Not in it: {} of unknown deployments or products{waived}.", counted(events, "event"))?;
    }
    for HeldEvents { contract, product, deployment, events } in &statement.held {
        let events = counted(events, "event");
        writeln!(out, "Held back from the bases of {contract}: {events} of {product} at {deployment}.")?;
    }
    for WholeInterval { contract, event, span } in &statement.whole_intervals {
        let (start, end) = (span.start, span.end);
        writeln!(out, "Whole at its start in {contract}, though across a boundary: {event}, from {start} to {end}.")?;
    }
    write_assumptions(out, statement)
}

fn line_row(statement: &Statement, line: &StatementLine) -> Vec<String> {
    vec![
        format!("{} ({})", line.clause.heading, line.term),
        line.origin_period.to_string(),
        format!("{} owes {}", line.payer, line.payee),
        exact(&line.accrued),
        money(&line.booked_before, statement.unit.clone()),
        money(&line.amount, statement.unit.clone()),
    ]
}

/// What an amount is made of under one version: before its cap, what that left out, and what was paid back.
fn write_made(out: &mut String, unit: &Unit, line: &StatementLine, detail: &LineDetail) -> fmt::Result {
    let row = |what: &str, amount: &Exact| vec![what.to_owned(), String::new(), String::new(), exact(amount)];
    let addends =
        detail.addends.iter().map(|it| vec![it.of.clone(), measured(it), factors(&it.factors), exact(&it.amount)]);
    let others = [
        ("what the cap leaves out", &detail.left_out),
        ("what the cap had left out before", &detail.let_in),
        ("paid back or set off", &detail.paid_back),
    ];
    let others = others.into_iter().filter(|(_, amount)| !amount.is_zero()).map(|(what, amount)| row(what, amount));
    let mut rows: Vec<Vec<String>> = addends.chain(others).collect();
    if rows.is_empty() {
        return Ok(());
    }
    if rows.len() > 1 {
        rows.push(row("accrued", &detail.accrued));
    }
    writeln!(out, "How {} of {} comes about, version {}:", line.term, line.origin_period, detail.version)?;
    writeln!(out, "{}", table(&["of", "so much", "times", &format!("comes to ({unit})")], &[1, 3], rows))
}

/// How what accrued became what is booked: totals are rounded, so that rounding never adds up.
fn write_rounding(out: &mut String, statement: &Statement) -> fmt::Result {
    let mode = match statement.rounding {
        Rounding::HalfUp => "halves away from zero",
        Rounding::HalfEven => "halves to the even digit",
        Rounding::Down => "toward zero",
    };
    writeln!(
        out,
        "Running totals are rounded, {mode}; what is booked is the difference of two, less what was booked:"
    )?;
    let rounded = |exact: &Exact| exact.round(statement.unit.digits(), statement.rounding);
    let cell = |amount: &Exact| money(amount, statement.unit.clone());
    let rows = statement.lines.iter().map(|line| {
        let through = &line.accrued_before + &line.accrued;
        vec![
            line.term.to_string(),
            line.origin_period.to_string(),
            exact(&through),
            cell(&rounded(&through)),
            cell(&rounded(&line.accrued_before)),
            cell(&line.booked_before),
            cell(&line.amount),
        ]
    });
    let heading = ["term", "through", "accrued in all", "rounded", "of it before", "booked before", "booked now"];
    writeln!(out, "{}", table(&heading, &[2, 3, 4, 5, 6], rows))
}

fn total_row(statement: &Statement, total: &DirectionTotal) -> Vec<String> {
    let cell = |amount: &Exact| money(amount, statement.unit.clone());
    vec![
        total.payer.to_string(),
        total.payee.to_string(),
        cell(&total.amount),
        cell(&total.carried_in),
        cell(&total.payable),
        cell(&total.carried_out),
        total.due_on.map(|date| date.to_string()).unwrap_or_default(),
    ]
}

fn write_parts(out: &mut String, line: &StatementLine) -> fmt::Result {
    if line.parts.is_empty() {
        return Ok(());
    }
    writeln!(out, "What the base of {} in {} consists of:", line.term, line.origin_period)?;
    let parts = line.parts.iter().map(|part| {
        let amount = part.unit.iter().fold(exact(&part.amount), |amount, unit| format!("{amount} {unit}"));
        vec![part.what.clone(), part.cloud.clone(), part.channel.clone(), part.product.clone(), amount]
    });
    writeln!(out, "{}", table(&["what", "cloud", "channel", "product", "amount"], &[4], parts))
}

fn write_cap(out: &mut String, statement: &Statement, line: &StatementLine, detail: &LineDetail) -> fmt::Result {
    let Some(cap) = &detail.cap else { return Ok(()) };
    let percent = cap.after.checked_div(&cap.limit).map(|used| used * Exact::from_integer(100));
    writeln!(
        out,
        "{} of {}, version {}: of its cap of {}, {} was used before, {} after ({} %); {} is left.",
        line.term,
        line.origin_period,
        detail.version,
        money(&cap.limit, statement.unit.clone()),
        exact(&cap.before),
        exact(&cap.after),
        percent.unwrap_or_default().round(4, Rounding::HalfEven),
        exact(&(&cap.limit - &cap.after)),
    )
}

fn write_assumptions(out: &mut String, statement: &Statement) -> fmt::Result {
    for assumption in &statement.assumptions {
        let confidence = match assumption.confidence {
            Confidence::Official => "official",
            Confidence::Reported => "reported",
            Confidence::Assumed => "assumed",
        };
        writeln!(out, "Rests on {}: {confidence} ({}).", assumption.what, assumption.source)?;
    }
    Ok(())
}
