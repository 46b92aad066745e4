//! `apportion entitlement`: what the terms of a contract yield, period by period, as known at any instant.

use super::output::{exact, json, line, money, table};
use super::{Format, Session, Stop};
use apportion::domain::calendar::Period;
use apportion::domain::ids::{ContractId, TermId};
use apportion::domain::money::{Exact, Unit};
use apportion::domain::period::{Instant, instant_or_date};
use apportion::domain::simulate::answer::{Crossing, Entitled};
use apportion::jobs::entitlement::entitlement;

const EXAMPLES: &str = "\
Nothing is booked, and it does not matter what was settled: the same question has the same answer, also years later.

Examples:
  apportion entitlement microsoft-openai --through 2026-05
  apportion entitlement microsoft-openai --through 2026-05 --known-at 2026-06-10
  apportion entitlement microsoft-openai --through 2026-05 --term revenue-share
  apportion entitlement microsoft-openai --through 2026-05 --format json";

/// Tell what the terms of a contract yield, period by period, as known at any instant
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The contract's id, as `apportion contracts show` lists it
    contract: String,
    /// The last period that is told, such as 2026-05
    #[arg(long)]
    through: Period,
    /// See only what was recorded by then (RFC 3339, or a date for its first instant in UTC); everything recorded by
    /// now if left out
    #[arg(long, value_parser = instant_or_date)]
    known_at: Option<Instant>,
    /// This term alone
    #[arg(long)]
    term: Option<String>,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let contract = ContractId::new(args.contract);
    let mut told = entitlement(&session.pool().await?, &contract, args.through, args.known_at).await?;
    if let Some(term) = args.term.map(TermId::new) {
        let known: Vec<String> = told.terms.keys().map(ToString::to_string).collect();
        told.terms.retain(|id, _| *id == term);
        if told.terms.is_empty() {
            let there_are = if known.is_empty() { "none yields anything".to_owned() } else { known.join(", ") };
            let reason = format!("{contract} has no term \"{term}\" that yields anything by then: {there_are}");
            return Err(Stop::Refused { reason }.into());
        }
    }
    if session.format == Format::Json {
        return json(&told);
    }
    line(format!("{contract} through {}, as known at {}", told.through, told.known_at))?;
    if told.terms.is_empty() {
        line("No term yields anything.")?;
    }
    for (term, entitled) in &told.terms {
        let unit = entitled.unit.as_ref();
        line(format!("\n{term}: {} in all", unrounded(&entitled.cumulative, unit)))?;
        line(periods(entitled))?;
        for crossing in &entitled.crossings {
            line(crossed(crossing, unit))?;
        }
    }
    Ok(())
}

/// Everything unrounded but what a period's books come to.
fn periods(entitled: &Entitled) -> comfy_table::Table {
    let unit = entitled.unit.as_ref();
    let has_paid_back = entitled.periods.values().any(|it| !it.paid_back.is_zero());
    let rows = entitled.periods.iter().map(|(period, it)| {
        let (used, limit) = it.cap.as_ref().map(|cap| (exact(&cap.after), exact(&cap.limit))).unwrap_or_default();
        let rounded = unit.map_or_else(|| exact(&it.rounded), |unit| money(&it.rounded, unit.clone()));
        let [base, uncapped, accrued] = [&it.base, &it.uncapped, &it.accrued].map(exact);
        let paid_back = has_paid_back.then(|| exact(&it.paid_back));
        [period.clone(), base, uncapped].into_iter().chain(paid_back).chain([accrued, rounded, used, limit]).collect()
    });
    let paid_back = has_paid_back.then_some("paid back");
    let heading = ["period", "base", "before cap"].into_iter().chain(paid_back);
    let heading: Vec<&str> = heading.chain(["accrued", "rounded", "cap used", "cap"]).collect();
    let numbers: Vec<usize> = (1..heading.len()).collect();
    table(&heading, &numbers, rows)
}

fn crossed(crossing: &Crossing, unit: Option<&Unit>) -> String {
    let Crossing { item, at, found_room, found_none, .. } = crossing;
    let (room, none) = (unrounded(found_room, unit), unrounded(found_none, unit));
    let what = item.as_deref().unwrap_or("the amount of a window");
    format!("The cap is reached at {at} by {what}: {room} found room, {none} did not.")
}

fn unrounded(amount: &Exact, unit: Option<&Unit>) -> String {
    unit.map_or_else(|| exact(amount), |unit| format!("{} {unit}", exact(amount)))
}
