//! Scheduled jobs: finds what is due, leases it, does it. The next tick is the retry.
//!
//! A job takes no input: what it does follows from what the database holds. Another one is a variant of
//! [`Job`], what it runs on in `find`, and what it does in `jobs/perform.rs`.

use super::contracts::{self, ContractsError};
use super::perform::{RunEnd, perform};
use crate::domain::contract::rights::right_ids;
use crate::domain::period::Instant;
use crate::domain::schedule::{Job, LastRun, RunOutcome, Standing, Subject, Waits, periods_due, standing};
use crate::store::StoreError;
use crate::store::jobs::{self, JobRun, RunFilter, RunStart, Starter};
use chrono::{Days, SubsecRound, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How the jobs are run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Who makes what the jobs draft, and therefore may not approve it.
    pub actor: String,
    /// Which process runs them, for people who look.
    pub holder: String,
    /// For so many days after its end a period is not drafted: late usage comes in, figures are reported.
    pub delay_days: u32,
    /// How long until a period that is drafted is settled again, so that news get into its draft.
    pub redraft: TimeDelta,
    /// How long until a run that waits or failed is tried again, for the first time.
    pub retry: TimeDelta,
    /// How long a run that does not renew its lease still holds it.
    pub lease: Duration,
    /// For how many days runs are kept that ended.
    pub keep_runs_days: u32,
    /// How far the schedule's clock is behind the machine's, to rehearse a close that is over.
    pub clock_behind_days: u32,
}

/// What is kept for days may be kept an hour more, and invoices are due in weeks.
const HOURLY: TimeDelta = TimeDelta::hours(1);

/// Who looks at findings wants those of today.
const BETWEEN_WATCHES: TimeDelta = TimeDelta::minutes(15);

impl Schedule {
    /// What the schedule takes for now.
    pub fn now(&self) -> Instant {
        // As instants are everywhere, to the microsecond.
        let now = Utc::now().trunc_subsecs(6);
        now.checked_sub_days(Days::new(self.clock_behind_days.into())).unwrap_or(now)
    }

    fn waits(&self, job: Job) -> Waits {
        let again = match job {
            Job::DraftStatements => self.redraft,
            Job::WatchFindings | Job::FindDoubleReports => BETWEEN_WATCHES,
            Job::DrawInvoices | Job::ExpirePayloads | Job::ExpireAnswers | Job::ExpireRuns => HOURLY,
        };
        Waits { again, retry: self.retry }
    }
}

/// Why jobs are run.
#[derive(Clone, Copy, Debug)]
pub enum Trigger<'a> {
    /// Their time has come.
    Schedule,
    /// Somebody asks for it, who has done what they waited for: what was tried lately is tried again.
    Person(Starter<'a>),
}

/// A job and what it runs on, as it stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Planned {
    pub job: Job,
    #[serde(flatten)]
    pub subject: Subject,
    /// From when on it is due; none where it always is, or where time alone does not tell.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Instant>,
    /// When it is run next, as things stand.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Instant>,
    pub standing: Standing,
    /// What has to come first, where something has.
    pub waits_for: Option<String>,
    pub last_run: Option<JobRun>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Ran {
    pub run_id: i64,
    pub job: Job,
    #[serde(flatten)]
    pub subject: Subject,
    pub outcome: RunOutcome,
    /// What was done, or what it waits for or failed of; none where it found nothing to do.
    pub detail: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("run {run_id} of this request has not ended; if its process died, it is lost once its lease runs out")]
    Running { run_id: i64 },
    #[error(transparent)]
    Contracts(#[from] ContractsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ScheduleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Everything that a job runs on, and where each stands at `now`.
///
/// # Errors
/// The database's, or a stored contract that cannot be read.
pub async fn plan(
    pool: &PgPool,
    schedule: &Schedule,
    job: Job,
    now: Instant,
    trigger: Trigger<'_>,
) -> Result<Vec<Planned>, ScheduleError> {
    let mut last_runs = jobs::load_last_runs(&mut *pool.acquire().await?, job).await?;
    let waits = match trigger {
        Trigger::Schedule => schedule.waits(job),
        Trigger::Person(_) => Waits::NONE,
    };
    let found = find(pool, schedule, job, now).await?;
    Ok(found.into_iter().map(|it| it.planned(job, now, &waits, &mut last_runs)).collect())
}

/// Something that a job runs on, before its last run is looked at.
enum Found {
    /// From then on; always, where that is none.
    From(Option<Instant>, Subject),
    /// Not yet, and no time can be told.
    Blocked { standing: Standing, due_at: Option<Instant>, waits_for: String, subject: Subject },
}

impl Found {
    fn planned(self, job: Job, now: Instant, waits: &Waits, last_runs: &mut BTreeMap<Subject, JobRun>) -> Planned {
        match self {
            Self::From(due_at, subject) => {
                let last_run = last_runs.remove(&subject);
                let last = last_run.as_ref().map(JobRun::standing);
                let (standing, next_at) = standing(now, due_at.unwrap_or(now), last.as_ref(), waits);
                Planned { job, subject, due_at, next_at, standing, waits_for: None, last_run }
            }
            Self::Blocked { standing, due_at, waits_for, subject } => {
                let last_run = last_runs.remove(&subject);
                Planned { job, subject, due_at, next_at: None, standing, waits_for: Some(waits_for), last_run }
            }
        }
    }
}

/// What a job runs on.
async fn find(pool: &PgPool, schedule: &Schedule, job: Job, now: Instant) -> Result<Vec<Found>, ScheduleError> {
    match job {
        Job::DraftStatements => find_periods(pool, schedule, now).await,
        Job::WatchFindings => find_contracts_with_rights(pool).await,
        Job::DrawInvoices | Job::FindDoubleReports | Job::ExpirePayloads | Job::ExpireAnswers | Job::ExpireRuns => {
            Ok(vec![Found::From(None, Subject::default())])
        }
    }
}

async fn find_periods(pool: &PgPool, schedule: &Schedule, now: Instant) -> Result<Vec<Found>, ScheduleError> {
    let mut conn = pool.acquire().await?;
    let known_at = jobs::clock(&mut conn).await?;
    let contracts = contracts::load(&mut conn, known_at).await?.contracts;
    let progress = jobs::load_progress(&mut conn).await?;
    let mut found = Vec::new();
    for head in contracts.iter().map(|contract| &contract.head) {
        let id = &head.id;
        let periods = periods_due(head, progress.get(id).copied().unwrap_or_default(), now, schedule.delay_days);
        if periods.is_empty() {
            let waits_for = "its books to begin: somebody settles its first period".to_owned();
            let (standing, subject) = (Standing::NotBegun, Subject::of(id));
            found.push(Found::Blocked { standing, due_at: None, waits_for, subject });
        }
        found.extend(periods.into_iter().map(|due| {
            let subject = Subject::period(id, due.period);
            let Some(before) = due.after else { return Found::From(Some(due.due_at), subject) };
            let waits_for = format!("{before} to be issued");
            Found::Blocked { standing: Standing::InLine, due_at: Some(due.due_at), waits_for, subject }
        }));
    }
    Ok(found)
}

async fn find_contracts_with_rights(pool: &PgPool) -> Result<Vec<Found>, ScheduleError> {
    let mut conn = pool.acquire().await?;
    let known_at = jobs::clock(&mut conn).await?;
    let contracts = contracts::load(&mut conn, known_at).await?.contracts;
    let with_rights = contracts.iter().filter(|contract| !right_ids(contract).is_empty());
    Ok(with_rights.map(|contract| Found::From(None, Subject::of(&contract.head.id))).collect())
}

/// Runs what was planned, if it is due and nobody else runs it or has run it meanwhile.
///
/// # Errors
/// The database's. Then the run has no end, and counts as lost once its lease runs out.
#[tracing::instrument(name = "job.run", skip_all, fields(job = %planned.job, subject = %planned.subject))]
pub async fn run(
    pool: &PgPool,
    schedule: &Schedule,
    planned: &Planned,
    now: Instant,
    trigger: Trigger<'_>,
) -> Result<Option<Ran>, StoreError> {
    let (Standing::Due, Some(due_at)) = (planned.standing, planned.due_at.or(planned.next_at)) else { return Ok(None) };
    let start = RunStart {
        job: planned.job,
        subject: &planned.subject,
        due_at,
        clock_at: now,
        attempt: LastRun::next_attempt(planned.last_run.as_ref().map(JobRun::standing).as_ref()),
        holder: &schedule.holder,
        starter: match trigger {
            Trigger::Schedule => None,
            Trigger::Person(starter) => Some(starter),
        },
        follows: planned.last_run.as_ref().map(|run| run.run_id),
        lease: schedule.lease,
    };
    let Some(run_id) = jobs::begin_run(pool, &start).await? else { return Ok(None) };
    let RunEnd { outcome, detail } = tokio::select! {
        end = perform(pool, schedule, planned.job, &planned.subject) => end,
        error = keep_lease(pool, run_id, schedule.lease) => return Err(error),
    };
    let is_ours = jobs::end_run(pool, run_id, outcome, detail.as_deref()).await?;
    let (outcome, detail) = match is_ours {
        true => (outcome, detail),
        // What it did stands, and another run found that.
        false => {
            let told = detail.map_or_else(String::new, |detail| format!(", {detail}"));
            (RunOutcome::Lost, Some(format!("taken over before it ended: {outcome}{told}")))
        }
    };
    Ok(Some(Ran { run_id, job: planned.job, subject: planned.subject.clone(), outcome, detail }))
}

/// Runs what is due of a job, one after the other; returns how each run ended, with those that the same request ran
/// before its process died.
///
/// # Errors
/// The database's, a stored contract that cannot be read, or a run of the request that has not ended.
pub async fn tick(
    pool: &PgPool,
    schedule: &Schedule,
    job: Job,
    now: Instant,
    trigger: Trigger<'_>,
) -> Result<Vec<Ran>, ScheduleError> {
    let mut all = match trigger {
        Trigger::Person(starter) => ran_before(pool, job, starter).await?,
        Trigger::Schedule => Vec::new(),
    };
    let is_done = |ran: &Ran| ran.outcome != RunOutcome::Lost;
    let done: BTreeSet<Subject> = all.iter().filter(|ran| is_done(ran)).map(|ran| ran.subject.clone()).collect();
    let planned = plan(pool, schedule, job, now, trigger).await?;
    for planned in planned.iter().filter(|planned| !done.contains(&planned.subject)) {
        all.extend(run(pool, schedule, planned, now, trigger).await?);
    }
    Ok(all)
}

/// What a request ran before its process died: that is not run again for it.
async fn ran_before(pool: &PgPool, job: Job, starter: Starter<'_>) -> Result<Vec<Ran>, ScheduleError> {
    let Some(request) = starter.key_id.zip(starter.idempotency_key) else { return Ok(Vec::new()) };
    let of_request =
        RunFilter { job: Some(job), contract: None, request: Some(request), before: None, limit: u32::MAX };
    let ended = |run: JobRun| match run.outcome {
        Some(outcome) => {
            let JobRun { run_id, job, subject, detail, .. } = run;
            Ok(Ran { run_id, job, subject, outcome, detail })
        }
        None => Err(ScheduleError::Running { run_id: run.run_id }),
    };
    jobs::list_runs(pool, &of_request).await?.into_iter().rev().map(ended).collect()
}

/// Renews a lease as long as it is asked to. One that was taken over is let go: what the run does is safe beside
/// another, and its end will tell.
async fn keep_lease(pool: &PgPool, run_id: i64, lease: Duration) -> StoreError {
    loop {
        tokio::time::sleep(lease / 3).await;
        match jobs::renew_lease(pool, run_id, lease).await {
            Ok(true) => {}
            Ok(false) => std::future::pending().await,
            Err(error) if error.is_transient() => tracing::warn!(%error, run_id, "the lease could not be renewed"),
            Err(error) => return error,
        }
    }
}
