//! A statement as text for people: what is owed, and how each amount came about.

use super::output::{counted, exact, money, table};
use apportion::domain::contract::Confidence;
use apportion::domain::engine::outcome::WholeInterval;
use apportion::domain::findings::HeldEvents;
use apportion::domain::money::{Exact, Rounding};
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
    let heading = ["clause", "origin", "who owes whom", "base", "rate", "accrued", "booked before", "booked now"];
    let lines = statement.lines.iter().flat_map(|line| line_rows(statement, line));
    writeln!(out, "{}", table(&heading, &[3, 4, 5, 6, 7], lines))?;
    write_rounding(out, statement)?;
    for line in &statement.lines {
        write_parts(out, statement, line)?;
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

fn line_rows(statement: &Statement, line: &StatementLine) -> Vec<Vec<String>> {
    let who = format!("{} owes {}", line.payer, line.payee);
    let booked = money(&line.amount, statement.unit.clone());
    let before_now = money(&line.booked_before, statement.unit.clone());
    let heading = format!("{} ({})", line.clause.heading, line.term);
    let origin = line.origin_period.to_string();
    let Some((last, before)) = line.details.split_last() else {
        return vec![vec![heading, origin, who, "0".into(), String::new(), "0".into(), before_now, booked]];
    };
    // The amount is booked for the origin period as a whole, so it stands at its last row.
    let rows = |detail: &LineDetail, before_now: String, booked: String| {
        let clause = format!("{heading}, version {}", detail.version);
        let rate = detail.rate.as_ref().map(ToString::to_string).unwrap_or_default();
        let accrued = exact(&(&detail.accrued - &detail.paid_back));
        let row = vec![clause, origin.clone(), who.clone(), exact(&detail.base), rate, accrued, before_now, booked];
        let paid_back = (!detail.paid_back.is_zero()).then(|| {
            let clause = format!("{heading}, version {}, paid back or set off", detail.version);
            let (paid_back, nothing) = (exact(&detail.paid_back), String::new);
            vec![clause, origin.clone(), who.clone(), nothing(), nothing(), paid_back, nothing(), nothing()]
        });
        paid_back.into_iter().chain([row])
    };
    let earlier = before.iter().flat_map(|detail| rows(detail, String::new(), String::new()));
    earlier.chain(rows(last, before_now, booked)).collect()
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

fn write_parts(out: &mut String, statement: &Statement, line: &StatementLine) -> fmt::Result {
    let amount = format!("amount in {}", statement.unit);
    if line.parts.is_empty() {
        return Ok(());
    }
    writeln!(out, "The base of {} in {}:", line.term, line.origin_period)?;
    let parts = line.parts.iter().map(|part| {
        vec![part.what.clone(), part.cloud.clone(), part.channel.clone(), part.product.clone(), exact(&part.amount)]
    });
    writeln!(out, "{}", table(&["what", "cloud", "channel", "product", &amount], &[4], parts))
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
