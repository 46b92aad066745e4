//! Scheduled jobs: what there is to run, when it is due, and how long to wait before it is tried again.
//!
//! Two clocks: `now`, the scheduler's, says which periods are over. How long ago a run ended is told by the
//! database's, the same for all instances: one whose clock jumps neither hurries nor starves the others.

use super::calendar::Period;
use super::contract::ContractHead;
use super::ids::ContractId;
use super::names::names;
use super::period::{Instant, start_of_day};
use super::settlement::open_period;
use chrono::{Days, TimeDelta};
use serde::Serialize;
use std::fmt;

names! {
    /// What runs by itself.
    Job as "job" {
        /// Settles the open period of each contract once it is over, and drafts its statements; later again, so
        /// that news get into the drafts.
        DraftStatements = "draft-statements",
        /// Draws the invoices and credit notes of issued statements that have none.
        DrawInvoices = "draw-invoices",
        /// Looks at which findings of each contract are open, and writes down what differs.
        WatchFindings = "watch-findings",
        /// Looks for replies that more than one event reports.
        FindDoubleReports = "find-double-reports",
        /// Removes the payloads of rejections that have expired.
        ExpirePayloads = "expire-payloads",
        /// Removes the answers that were kept for repeated requests long enough.
        ExpireAnswers = "expire-answers",
        /// Removes runs that ended long ago, but for the last of each subject.
        ExpireRuns = "expire-runs",
    }

    /// How a run ended.
    RunOutcome as "outcome" {
        Done = "done",
        /// There was nothing to do.
        NothingNew = "nothing_new",
        /// Somebody has to do something first.
        Waiting = "waiting",
        Failed = "failed",
        /// It never ended: its process died, or lost its lease.
        Lost = "lost",
    }

    /// Where a job stands with a subject.
    Standing as "standing" {
        /// The books of the contract have not begun: that is for a person to decide.
        NotBegun = "not_begun",
        /// A period that is over, and comes after the open one.
        InLine = "in_line",
        /// Not yet.
        Scheduled = "scheduled",
        Due = "due",
        Running = "running",
    }
}

impl RunOutcome {
    /// Whether the job did what it is for.
    pub fn is_success(self) -> bool {
        match self {
            Self::Done | Self::NothingNew => true,
            Self::Waiting | Self::Failed | Self::Lost => false,
        }
    }
}

/// What a job runs on: a contract, a period of it, or neither where there is but one thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Subject {
    pub contract: Option<ContractId>,
    pub period: Option<Period>,
}

impl Subject {
    pub fn of(contract: &ContractId) -> Self {
        Self { contract: Some(contract.clone()), period: None }
    }

    pub fn period(contract: &ContractId, period: Period) -> Self {
        Self { contract: Some(contract.clone()), period: Some(period) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.contract, self.period) {
            (Some(contract), Some(period)) => write!(f, "{contract} {period}"),
            (Some(contract), None) => write!(f, "{contract}"),
            (None, _) => f.write_str("all"),
        }
    }
}

/// How long until a subject is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// After a run that succeeded.
    pub again: TimeDelta,
    /// After the first that did not; it doubles from try to try.
    pub retry: TimeDelta,
}

impl Waits {
    /// None: for one who runs the jobs by hand, and has just done what they waited for.
    pub const NONE: Self = Self { again: TimeDelta::zero(), retry: TimeDelta::zero() };
    /// No try waits longer than this for what it lacks.
    const LONGEST: TimeDelta = TimeDelta::hours(1);

    fn after(&self, outcome: RunOutcome, attempt: u32) -> TimeDelta {
        if outcome.is_success() {
            return self.again;
        }
        let doublings = attempt.saturating_sub(1).min(16);
        let wait = 1_i32.checked_shl(doublings).and_then(|factor| self.retry.checked_mul(factor));
        wait.unwrap_or(Self::LONGEST).min(Self::LONGEST)
    }
}

/// How the last run of a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastRun {
    Running,
    Ended {
        outcome: RunOutcome,
        /// Which try it was since one succeeded; from 1.
        attempt: u32,
        /// By the database's clock; negative where that went back.
        ago: TimeDelta,
    },
}

impl LastRun {
    /// The number of the next try.
    pub fn next_attempt(last: Option<&Self>) -> u32 {
        match last {
            Some(Self::Ended { outcome, attempt, .. }) if !outcome.is_success() => attempt.saturating_add(1),
            Some(Self::Ended { .. } | Self::Running) | None => 1,
        }
    }
}

/// Where a subject stands that is due from `due_at` on, and when it is run next.
pub fn standing(now: Instant, due_at: Instant, last: Option<&LastRun>, waits: &Waits) -> (Standing, Option<Instant>) {
    let next_at = match last {
        Some(LastRun::Running) => return (Standing::Running, None),
        None => due_at,
        // How much of the wait is over cannot be told any more: rather once too often.
        Some(LastRun::Ended { ago, .. }) if *ago < TimeDelta::zero() => due_at,
        Some(LastRun::Ended { outcome, attempt, ago }) => {
            let left = waits.after(*outcome, *attempt).checked_sub(ago).unwrap_or(TimeDelta::zero());
            let again_at = now.checked_add_signed(left.max(TimeDelta::zero())).unwrap_or(now);
            again_at.max(due_at)
        }
    };
    (if next_at <= now { Standing::Due } else { Standing::Scheduled }, Some(next_at))
}

/// How far the books of a contract are: its last period that was settled, and its last that was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub settled: Option<Period>,
    pub closed: Option<Period>,
}

/// A period of a contract that is to be settled: the open one, or one that comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodDue {
    pub period: Period,
    pub due_at: Instant,
    /// The period that has to be closed first.
    pub after: Option<Period>,
}

/// The periods of a contract that are to be settled: the open one, and those after it that are due as well.
///
/// Each is due when its last day and so many more have passed in the contract's zone. None where the books have
/// not begun: they begin with the first period that is settled, and which one that is, a schedule cannot know.
pub fn periods_due(head: &ContractHead, progress: Progress, now: Instant, delay_days: u32) -> Vec<PeriodDue> {
    let calendar = &head.settlement;
    let Some(open) = open_period(calendar, progress.closed, progress.settled) else { return Vec::new() };
    let due_at = |period: Period| {
        let day = period.end_day.checked_add_days(Days::new(delay_days.into())).unwrap_or(period.end_day);
        start_of_day(head.zone, day)
    };
    let mut due = vec![PeriodDue { period: open, due_at: due_at(open), after: None }];
    let mut before = open;
    while let Some(next) = calendar.next(before).filter(|next| due_at(*next) <= now) {
        due.push(PeriodDue { period: next, due_at: due_at(next), after: Some(before) });
        before = next;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::super::calendar::Calendar;
    use super::super::contract::{Assumed, Negative, Straddling};
    use super::super::money::Rounding;
    use super::super::period::parse_instant;
    use super::*;
    use std::num::NonZeroU32;

    const WAITS: Waits = Waits { again: TimeDelta::days(1), retry: TimeDelta::minutes(1) };

    fn at(text: &str) -> Instant {
        parse_instant(text).expect("an instant")
    }

    fn period(text: &str) -> Period {
        text.parse().expect("a period")
    }

    fn head() -> ContractHead {
        ContractHead {
            id: "c".into(),
            title: String::new(),
            zone: chrono_tz::America::Los_Angeles,
            currency: "USD".parse().expect("a currency"),
            settlement: Calendar::of_months(NonZeroU32::MIN),
            rounding: Rounding::HalfUp,
            negative: Negative::Carry,
            pro_rata: None,
            straddling: Straddling::Whole,
            assumed: Assumed::Allow,
            business_days: None,
        }
    }

    fn due(settled: Option<&str>, closed: Option<&str>, now: &str) -> Vec<String> {
        let progress = Progress { settled: settled.map(period), closed: closed.map(period) };
        let due = periods_due(&head(), progress, at(now), 3);
        due.iter()
            .map(|it| {
                let after = it.after.map(|after| format!(" after {after}")).unwrap_or_default();
                format!("{} from {}{after}", it.period, it.due_at.format("%m-%dT%H"))
            })
            .collect()
    }

    #[test]
    fn a_period_is_due_when_days_of_its_zone_have_passed() {
        // Three days after the end of February; the zone is eight hours behind UTC, from 8 March on seven.
        assert_eq!(due(Some("2026-02"), Some("2026-01"), "2026-02-10T00:00:00Z"), ["2026-02 from 03-04T08"]);
        assert_eq!(due(Some("2026-03"), Some("2026-02"), "2026-02-10T00:00:00Z"), ["2026-03 from 04-04T07"]);
    }

    #[test]
    fn books_begin_with_what_a_person_settles() {
        assert!(due(None, None, "2026-06-10T00:00:00Z").is_empty());
        assert_eq!(due(Some("2026-04"), None, "2026-05-10T00:00:00Z"), ["2026-04 from 05-04T07"]);
    }

    #[test]
    fn a_clock_that_jumps_passes_no_period_over() {
        let (april, may) = ("2026-04 from 05-04T07", "2026-05 from 06-04T07");
        assert_eq!(due(Some("2026-04"), Some("2026-03"), "2026-05-10T00:00:00Z"), [april]);
        let jumped = due(Some("2026-04"), Some("2026-03"), "2026-07-10T00:00:00Z");
        assert_eq!(jumped, [april, "2026-05 from 06-04T07 after 2026-04", "2026-06 from 07-04T07 after 2026-05"]);
        // April was issued: the next is open, also where the clock went back.
        assert_eq!(due(Some("2026-04"), Some("2026-04"), "2026-06-10T00:00:00Z"), [may]);
        assert_eq!(due(Some("2026-04"), Some("2026-04"), "2026-05-10T00:00:00Z"), [may]);
    }

    #[test]
    fn a_try_waits_longer_each_time_up_to_an_hour() {
        let now = at("2026-06-10T00:00:00Z");
        let wait = |outcome, attempt, ago: i64| {
            let last = LastRun::Ended { outcome, attempt, ago: TimeDelta::seconds(ago) };
            let (standing, next) = standing(now, at("2026-06-04T07:00:00Z"), Some(&last), &WAITS);
            assert_eq!(standing == Standing::Due, next <= Some(now), "{standing}");
            next.map(|next| (next - now).num_seconds().max(0))
        };
        for outcome in [RunOutcome::Waiting, RunOutcome::Failed, RunOutcome::Lost] {
            let waits: Vec<_> = [1, 2, 3, 6, 7, 40, u32::MAX].map(|attempt| wait(outcome, attempt, 0)).into();
            assert_eq!(waits, [60, 120, 240, 1920, 3600, 3600, 3600].map(Some));
            assert_eq!((wait(outcome, 2, 100), wait(outcome, 2, 120)), (Some(20), Some(0)));
        }
        for outcome in [RunOutcome::Done, RunOutcome::NothingNew] {
            assert_eq!((wait(outcome, 1, 3600), wait(outcome, 1, 86_400)), (Some(82_800), Some(0)));
        }
        // The database's clock went back.
        assert_eq!(wait(RunOutcome::Failed, 9, -5_000_000), Some(0));
    }

    #[test]
    fn what_runs_is_not_due_and_what_never_ran_is_due_in_its_time() {
        let due_at = at("2026-06-04T07:00:00Z");
        let (early, late) = (at("2026-06-04T06:59:59Z"), at("2026-06-04T07:00:00Z"));
        assert_eq!(standing(late, due_at, Some(&LastRun::Running), &Waits::NONE), (Standing::Running, None));
        assert_eq!(standing(early, due_at, None, &WAITS), (Standing::Scheduled, Some(due_at)));
        assert_eq!(standing(late, due_at, None, &WAITS), (Standing::Due, Some(due_at)));
        // A clock that went back over the due time: what ran is not due again before it.
        let ended = LastRun::Ended { outcome: RunOutcome::Done, attempt: 1, ago: TimeDelta::days(2) };
        assert_eq!(standing(early, due_at, Some(&ended), &WAITS), (Standing::Scheduled, Some(due_at)));
        assert_eq!(standing(late, due_at, Some(&ended), &Waits::NONE), (Standing::Due, Some(late)));
    }

    #[test]
    fn tries_are_counted_from_the_last_success() {
        let ended = |outcome| LastRun::Ended { outcome, attempt: 4, ago: TimeDelta::zero() };
        assert_eq!(LastRun::next_attempt(None), 1);
        assert_eq!(LastRun::next_attempt(Some(&ended(RunOutcome::Waiting))), 5);
        assert_eq!(LastRun::next_attempt(Some(&ended(RunOutcome::NothingNew))), 1);
        let refused = "draft".parse::<Job>().expect_err("unknown").to_string();
        assert!(
            refused.contains(
                "draft-statements, draw-invoices, watch-findings, find-double-reports, expire-payloads, expire-answers, expire-runs"
            ),
            "{refused}"
        );
    }
}
