//! How far caps are used up, as the statements say, and when they will be at the pace of the last periods.

use super::calendar::Period;
use super::ids::{ContractId, PartyId, TermId};
use super::money::{Exact, Rounding, Unit};
use super::period::{Instant, local_date};
use super::statement::{Statement, StatementLine};
use chrono::{Days, NaiveDate};
use serde::Serialize;
use std::collections::BTreeMap;

/// Of how many periods, the last ones, the pace is taken.
const PACE_PERIODS: usize = 3;

/// How far the cap of one term is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct BurnDown {
    pub contract: ContractId,
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    /// What the cap is in.
    #[serde(flatten)]
    pub unit: Unit,
    pub limit: Exact,
    /// What has accrued under the cap through `period`, its opening included.
    pub used: Exact,
    pub remaining: Exact,
    /// The last period that was settled.
    pub period: Period,
    /// What accrued under the cap, by period, the earliest first.
    pub periods: Vec<PeriodUse>,
    pub forecast: Forecast,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct PeriodUse {
    pub period: Period,
    /// As the statement of that period says.
    pub accrued: Exact,
    pub used: Exact,
}

/// When a cap will be used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "outlook", rename_all = "snake_case")]
pub enum Forecast {
    /// There is no room left.
    UsedUp,
    /// At the pace of the last periods, on this day in the contract's zone.
    UsedUpOn { day: NaiveDate, pace_periods: usize },
    /// The term ends before, so that room is left then.
    EndsBefore {
        #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
        ends_at: Instant,
        pace_periods: usize,
    },
    /// Nothing accrued in the last periods.
    NoPace,
}

/// Reads the burn-down of every capped term out of a contract's statements.
///
/// `statements` holds the last revision of each; `ends` the instants (exclusive) at which terms end by their own
/// dates. A period's use is what its own statement says: what came later is in the total.
pub fn burn_down(statements: &[Statement], ends: &BTreeMap<TermId, Instant>) -> Vec<BurnDown> {
    let mut by_term: BTreeMap<&TermId, Vec<(&Statement, &StatementLine)>> = BTreeMap::new();
    for statement in statements {
        for line in statement.lines.iter().filter(|line| line.origin_period == statement.period) {
            by_term.entry(&line.term).or_default().push((statement, line));
        }
    }
    let of_term = |(term, mut lines): (&TermId, Vec<(&Statement, &StatementLine)>)| {
        lines.sort_by_key(|(statement, _)| statement.period);
        let capped = lines.iter().filter_map(|(statement, line)| {
            let uses: Vec<_> = line.details.iter().filter_map(|detail| detail.cap.as_ref()).collect();
            let (first, last) = (uses.first()?, uses.last()?);
            let accrued = &last.after - &first.before;
            Some((last.limit.clone(), PeriodUse { period: statement.period, accrued, used: last.after.clone() }))
        });
        let (limits, periods): (Vec<Exact>, Vec<PeriodUse>) = capped.unzip();
        let ((statement, line), limit, last) = (lines.last()?, limits.last()?.clone(), periods.last()?.clone());
        let remaining = (&limit - &last.used).max(Exact::zero());
        Some(BurnDown {
            contract: statement.contract.clone(),
            term: term.clone(),
            payer: line.payer.clone(),
            payee: line.payee.clone(),
            unit: statement.unit.clone(),
            used: last.used,
            forecast: forecast(&remaining, &periods, ends.get(term), &statement.zone),
            remaining,
            limit,
            period: last.period,
            periods,
        })
    };
    by_term.into_iter().filter_map(of_term).collect()
}

fn forecast(remaining: &Exact, periods: &[PeriodUse], ends_at: Option<&Instant>, zone: &str) -> Forecast {
    if remaining.is_zero() {
        return Forecast::UsedUp;
    }
    let paced: Vec<&PeriodUse> = periods.iter().rev().take(PACE_PERIODS).collect();
    let accrued: Exact = paced.iter().map(|it| it.accrued.clone()).sum();
    let days: i64 = paced.iter().map(|it| days_of(it.period)).sum();
    if accrued.is_zero() || accrued.is_negative() {
        return Forecast::NoPace;
    }
    // remaining / (accrued / days); a day that is begun counts
    let needed = (remaining * &Exact::from_integer(days)).checked_div(&accrued).unwrap_or_default();
    let whole = needed.round(0, Rounding::Down);
    let begun = u64::from(needed > whole);
    let needed: u64 = whole.to_string().parse().unwrap_or(u64::MAX);
    let last_day = periods.last().map_or(NaiveDate::MIN, |it| it.period.last_day());
    let day = last_day.checked_add_days(Days::new(needed.saturating_add(begun))).unwrap_or(NaiveDate::MAX);
    let pace_periods = paced.len();
    match (ends_at, zone.parse::<chrono_tz::Tz>()) {
        (Some(ends_at), Ok(zone)) if local_date(*ends_at, zone) <= day => {
            Forecast::EndsBefore { ends_at: *ends_at, pace_periods }
        }
        _ => Forecast::UsedUpOn { day, pace_periods },
    }
}

fn days_of(period: Period) -> i64 {
    period.end_day.signed_duration_since(period.first_day).num_days()
}
