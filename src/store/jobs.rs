//! Runs of scheduled jobs, and the leases that keep two instances from running the same subject at once.

use super::StoreError;
use super::requests::KEPT_DAYS;
use crate::domain::calendar::Period;
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use crate::domain::schedule::{Job, LastRun, Progress, RunOutcome, Subject};
use chrono::TimeDelta;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::time::Duration;

/// The database's clock.
///
/// # Errors
/// The database's.
pub async fn clock(conn: &mut PgConnection) -> Result<Instant, StoreError> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await?)
}

/// How far the books of each contract are that has begun them.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_progress(conn: &mut PgConnection) -> Result<BTreeMap<ContractId, Progress>, StoreError> {
    let rows = sqlx::query!(
        r#"select s.contract_id, s.period as "settled!",
             (select c.period from period_close c where c.contract_id = s.contract_id
              order by c.period_start desc limit 1) as closed
           from (select distinct on (contract_id) contract_id, period from settlement
                 order by contract_id, period_start desc) s"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let settled = StoreError::decoded("settlement.period", &row.contract_id, row.settled.parse())?;
            let closed = row.closed.map(|closed| closed.parse()).transpose();
            let closed = StoreError::decoded("period_close.period", &row.contract_id, closed)?;
            Ok((ContractId::new(row.contract_id), Progress { settled: Some(settled), closed }))
        })
        .collect()
}

/// A run as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct JobRun {
    pub run_id: i64,
    pub job: Job,
    #[serde(flatten)]
    pub subject: Subject,
    /// By the clock of the process that ran it.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Instant,
    /// Which try it is since one succeeded; from 1.
    pub attempt: u32,
    /// Which process ran it.
    pub holder: String,
    /// Who had it run; none where its time had come.
    pub started_by: Option<String>,
    /// The key by which that was asked for over HTTP.
    pub key_id: Option<String>,
    /// By the database's clock.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Instant,
    /// By the database's clock; none while it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Instant>,
    /// None while it runs; lost, too, where its lease ran out and nobody has taken it over yet.
    pub outcome: Option<RunOutcome>,
    /// What was done, or what it waits for or failed of; none while it runs, or where it found nothing to do.
    pub detail: Option<String>,
    /// How long ago it ended or was lost, by the database's clock.
    #[serde(skip)]
    ended_ago: TimeDelta,
}

impl JobRun {
    /// Whether its lease ran out without an end, and nobody has taken it over yet.
    pub fn is_abandoned(&self) -> bool {
        self.outcome == Some(RunOutcome::Lost) && self.ended_at.is_none()
    }

    pub fn standing(&self) -> LastRun {
        match self.outcome {
            None => LastRun::Running,
            Some(outcome) => LastRun::Ended { outcome, attempt: self.attempt, ago: self.ended_ago },
        }
    }
}

/// A row of a run, as the queries below select it.
struct JobRunRow {
    run_id: i64,
    job: String,
    contract_id: Option<String>,
    period: Option<String>,
    due_at: Instant,
    attempt: i32,
    holder: String,
    started_by: Option<String>,
    key_id: Option<String>,
    started_at: Instant,
    ended_at: Option<Instant>,
    outcome: Option<String>,
    detail: Option<String>,
    ended_ago_micros: i64,
}

impl TryFrom<JobRunRow> for JobRun {
    type Error = StoreError;

    fn try_from(row: JobRunRow) -> Result<Self, StoreError> {
        let id = row.run_id;
        let period = row.period.map(|period| period.parse::<Period>()).transpose();
        let outcome = row.outcome.map(|outcome| outcome.parse()).transpose();
        Ok(Self {
            run_id: id,
            job: StoreError::decoded("job_run.job", id, row.job.parse())?,
            subject: Subject {
                contract: row.contract_id.map(ContractId::new),
                period: StoreError::decoded("job_run.period", id, period)?,
            },
            due_at: row.due_at,
            attempt: StoreError::decoded("job_run.attempt", id, u32::try_from(row.attempt))?,
            holder: row.holder,
            started_by: row.started_by,
            key_id: row.key_id,
            started_at: row.started_at,
            ended_at: row.ended_at,
            outcome: StoreError::decoded("job_run_end.outcome", id, outcome)?,
            detail: row.detail,
            ended_ago: TimeDelta::microseconds(row.ended_ago_micros),
        })
    }
}

/// The last run of every subject of a job.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_last_runs(conn: &mut PgConnection, job: Job) -> Result<BTreeMap<Subject, JobRun>, StoreError> {
    let rows = sqlx::query_as!(
        JobRunRow,
        r#"select r.run_id, r.job, r.contract_id, r.period, r.due_at, r.attempt, r.holder, r.started_by,
             r.key_id, r.started_at, e.ended_at as "ended_at?", outcome_of(e, l) as outcome,
             e.detail as "detail?",
             (extract(epoch from clock_timestamp() - coalesce(e.ended_at, l.leased_until)) * 1000000)::bigint
               as "ended_ago_micros!"
           from job_lease l join job_run r using (run_id) left join job_run_end e using (run_id)
           where l.job = $1"#,
        job.name()
    )
    .fetch_all(conn)
    .await?;
    let runs = rows.into_iter().map(|row| JobRun::try_from(row).map(|run| (run.subject.clone(), run)));
    runs.collect()
}

/// Which runs to list.
#[derive(Clone, Debug)]
pub struct RunFilter<'a> {
    pub job: Option<Job>,
    pub contract: Option<ContractId>,
    /// Those that a request asked for which named itself: its key, and what it calls itself. As long as its answer is
    /// kept: later the name is free for another request.
    pub request: Option<(&'a str, &'a str)>,
    /// Those before this run, to go on where a list ended.
    pub before: Option<i64>,
    pub limit: u32,
}

/// Runs, the last first.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn list_runs(pool: &PgPool, filter: &RunFilter<'_>) -> Result<Vec<JobRun>, StoreError> {
    let rows = sqlx::query_as!(
        JobRunRow,
        r#"select r.run_id, r.job, r.contract_id, r.period, r.due_at, r.attempt, r.holder, r.started_by,
             r.key_id, r.started_at, e.ended_at as "ended_at?", outcome_of(e, l) as outcome,
             e.detail as "detail?",
             coalesce(extract(epoch from clock_timestamp() - coalesce(e.ended_at, l.leased_until)) * 1000000, 0)::bigint
               as "ended_ago_micros!"
           from job_run r left join job_run_end e using (run_id) left join job_lease l using (run_id)
           where ($1::text is null or r.job = $1) and ($2::text is null or r.contract_id = $2)
             and ($3::bigint is null or r.run_id < $3)
             and ($4::text is null or ((r.key_id, r.idempotency_key) = ($4, $5)
               and r.started_at > clock_timestamp() - make_interval(days => $7)))
           order by r.run_id desc limit $6"#,
        filter.job.map(Job::name),
        filter.contract.as_ref().map(ContractId::as_str),
        filter.before,
        filter.request.map(|(key_id, _)| key_id),
        filter.request.map(|(_, idempotency_key)| idempotency_key),
        i64::from(filter.limit),
        KEPT_DAYS
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(JobRun::try_from).collect()
}

/// A person who has jobs run.
#[derive(Clone, Copy, Debug)]
pub struct Starter<'a> {
    pub name: &'a str,
    /// The key by which it is asked for over HTTP.
    pub key_id: Option<&'a str>,
    /// What the request calls itself, where it does.
    pub idempotency_key: Option<&'a str>,
}

/// A run that is to begin.
#[derive(Clone, Debug)]
pub struct RunStart<'a> {
    pub job: Job,
    pub subject: &'a Subject,
    pub due_at: Instant,
    /// What the clock of this process says.
    pub clock_at: Instant,
    pub attempt: u32,
    pub holder: &'a str,
    /// Who has it run; none where its time has come.
    pub starter: Option<Starter<'a>>,
    /// The last run of the subject that was known when this one was found due.
    pub follows: Option<i64>,
    /// How long the lease lasts unless it is renewed.
    pub lease: Duration,
}

/// Takes the lease of a subject and writes down that its run begins; returns the run's number, the fencing token.
///
/// None where another instance holds the lease, or has run it since it was found due. A run whose lease ran out
/// without an end is written down as lost.
///
/// # Errors
/// The database's.
pub async fn begin_run(pool: &PgPool, start: &RunStart<'_>) -> Result<Option<i64>, StoreError> {
    let (job, contract) = (start.job.name(), start.subject.contract.as_ref().map(ContractId::as_str));
    let period = start.subject.period.map(|period| period.to_string());
    let lease = lease_seconds(start.lease)?;
    let mut tx = pool.begin().await?;
    let last = sqlx::query!(
        r#"select l.run_id, is_held(l) as "is_held!", exists (select from job_run_end e where e.run_id = l.run_id) as "has_ended!"
           from job_lease l where l.job = $1 and (l.contract_id, l.period) is not distinct from ($2::text, $3::text)
           for update of l"#,
        job,
        contract,
        period
    )
    .fetch_optional(&mut *tx)
    .await?;
    if last.as_ref().map(|last| last.run_id) != start.follows || last.as_ref().is_some_and(|last| last.is_held) {
        return Ok(None);
    }
    if let Some(last) = last.as_ref().filter(|last| !last.has_ended) {
        insert_end(&mut tx, last.run_id, RunOutcome::Lost, Some("its lease ran out before it ended")).await?;
    }
    let run_id = insert_run(&mut tx, start).await?;
    let taken = match last {
        Some(last) => {
            sqlx::query!(
                "update job_lease set run_id = $1, renewed_at = clock_timestamp(),
                   leased_until = clock_timestamp() + $2::int * interval '1 second' where run_id = $3",
                run_id,
                lease,
                last.run_id
            )
            .execute(&mut *tx)
            .await?
        }
        None => {
            sqlx::query!(
                "insert into job_lease (job, contract_id, period, run_id, renewed_at, leased_until)
                 values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + $5::int * interval '1 second')
                 -- another instance was the first
                 on conflict (job, contract_id, period) do nothing",
                job,
                contract,
                period,
                run_id,
                lease
            )
            .execute(&mut *tx)
            .await?
        }
    };
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some(run_id))
}

async fn insert_run(conn: &mut PgConnection, start: &RunStart<'_>) -> Result<i64, StoreError> {
    let run_id = sqlx::query_scalar!(
        "insert into job_run (job, contract_id, period, due_at, clock_at, attempt, holder, started_by, key_id,
           idempotency_key)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning run_id",
        start.job.name(),
        start.subject.contract.as_ref().map(ContractId::as_str),
        start.subject.period.map(|period| period.to_string()),
        start.due_at,
        start.clock_at,
        StoreError::encoded::<i32, _>("job_run.attempt", start.attempt)?,
        start.holder,
        start.starter.map(|starter| starter.name),
        start.starter.and_then(|starter| starter.key_id),
        start.starter.and_then(|starter| starter.idempotency_key)
    )
    .fetch_one(conn)
    .await?;
    Ok(run_id)
}

fn lease_seconds(lease: Duration) -> Result<i32, StoreError> {
    StoreError::encoded("job_lease.leased_until", lease.as_secs())
}

/// Holds the lease of a run for longer; false where it was taken over.
///
/// # Errors
/// The database's.
pub async fn renew_lease(pool: &PgPool, run_id: i64, lease: Duration) -> Result<bool, StoreError> {
    let renewed = sqlx::query!(
        "update job_lease set renewed_at = clock_timestamp(),
           leased_until = clock_timestamp() + $1::int * interval '1 second' where run_id = $2",
        lease_seconds(lease)?,
        run_id
    )
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Writes down how a run ended and gives its lease back; false where it was taken over: then it counts as lost.
///
/// # Errors
/// The database's.
pub async fn end_run(
    pool: &PgPool,
    run_id: i64,
    outcome: RunOutcome,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let mut tx = pool.begin().await?;
    let held = sqlx::query_scalar!("select run_id from job_lease where run_id = $1 for update", run_id);
    if held.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(false);
    }
    insert_end(&mut tx, run_id, outcome, detail).await?;
    sqlx::query!(
        "update job_lease set renewed_at = now.at, leased_until = now.at
         from (select clock_timestamp() as at) as now where run_id = $1",
        run_id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

async fn insert_end(
    conn: &mut PgConnection,
    run_id: i64,
    outcome: RunOutcome,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into job_run_end (run_id, outcome, detail) values ($1, $2, $3)",
        run_id,
        outcome.name(),
        detail
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the runs that ended so many days ago, but for the last of each subject; returns how many.
///
/// # Errors
/// The database's.
pub async fn expire_runs(pool: &PgPool, keep_days: u32) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        "delete from job_run r using job_run_end e
         where e.run_id = r.run_id and e.ended_at < clock_timestamp() - make_interval(days => $1)
           and not exists (select from job_lease l where l.run_id = r.run_id)",
        StoreError::encoded::<i32, _>("job_run_end.ended_at", keep_days)?
    );
    Ok(removed.execute(pool).await?.rows_affected())
}
