//! `apportion jobs`: what is due and when, what ran and how it ended, and one tick by hand.

use super::output::{self, json, line};
use super::{Format, Session, Stop, named};
use apportion::config as settings;
use apportion::domain::ids::ContractId;
use apportion::domain::schedule::{Job, RunOutcome, Standing};
use apportion::jobs::schedule::{Planned, Ran, Schedule, ScheduleError, Trigger, plan, run as run_planned, tick};
use apportion::store::finding_states::{OpenGroups, count_open};
use apportion::store::jobs::{JobRun, RunFilter, Starter, list_runs};
use apportion::store::recording::seconds_behind;
use apportion::telemetry::Metrics;
use chrono::TimeDelta;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Jobs draft; people approve. draft-statements settles the open period of each contract whose books \
have begun, as `apportion settle` does, once it is over and jobs.close_delay_days have passed, and \
again every jobs.redraft_hours until it is issued; what somebody approved stays. \
draw-invoices draws the invoices and credit notes of issued statements. watch-findings writes down \
which findings of each contract are open, for the dashboards. find-double-reports looks for replies \
of models that more than one event reports. expire-payloads removes what is kept of rejections in its time, \
expire-answers what is kept of answers to requests, expire-runs the runs that ended jobs.keep_runs_days ago, but for the last of each job and subject.

Examples:
  apportion jobs list
  apportion jobs runs --job draft-statements --contract microsoft-openai --limit 5
  apportion jobs run draft-statements";

const RUN_EXAMPLES: &str = "\
The same as a tick of `apportion serve --roles jobs`, but for the waits between tries: what was \
tried lately is tried again. Exit status 4 where something waits for somebody.

Examples:
  apportion jobs run
  apportion jobs run draft-statements --by ana";

/// See and run the scheduled jobs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List every job with what it runs on, when that is due next, and how its last run ended
    #[command(after_help = "Examples:\n  apportion jobs list\n  apportion jobs list --format json")]
    List,
    /// List what ran, the last first
    #[command(after_help = "Examples:\n  apportion jobs runs\n  apportion jobs runs --contract aws-openai --limit 100")]
    Runs {
        /// Of this job alone, such as draft-statements
        #[arg(long)]
        job: Option<Job>,
        /// Of this contract alone
        #[arg(long)]
        contract: Option<String>,
        /// Only those before the run of this number, to go on where a list ended
        #[arg(long, value_name = "RUN")]
        before: Option<i64>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Run now what is due
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// This job alone, such as draft-statements
        job: Option<Job>,
        /// Who has it run
        #[arg(long, env = "APPORTION_USER", value_parser = named, default_value = "command line")]
        by: String,
    },
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (pool, settings) = (session.pool().await?, &session.config.jobs);
    let schedule = schedule(settings);
    match args.command {
        Command::List => {
            let mut planned = Vec::new();
            for job in Job::ALL {
                planned.extend(plan(&pool, &schedule, *job, schedule.now(), Trigger::Schedule).await?);
            }
            match session.format {
                Format::Json => json(&planned),
                Format::Table => Ok(line(list(&planned))?),
            }
        }
        Command::Runs { job, contract, before, limit } => {
            if let Some(contract) = &contract {
                super::contracts::check_known(&pool, contract).await?;
            }
            let filter = RunFilter { job, contract: contract.map(ContractId::new), request: None, before, limit };
            let rows = list_runs(&pool, &filter).await?;
            match session.format {
                Format::Json => json(&rows),
                Format::Table if rows.is_empty() => Ok(line("No runs; `apportion jobs list` tells what is due.")?),
                Format::Table => Ok(line(runs(&rows))?),
            }
        }
        Command::Run { job, by } => {
            let trigger = Trigger::Person(Starter { name: &by, key_id: None, idempotency_key: None });
            let mut ran = Vec::new();
            for job in job.as_ref().map_or(Job::ALL, std::slice::from_ref) {
                ran.extend(tick(&pool, &schedule, *job, schedule.now(), trigger).await?);
            }
            match session.format {
                Format::Json => json(&ran)?,
                Format::Table if ran.is_empty() => line("Nothing is due; `apportion jobs list` tells what will be.")?,
                Format::Table => line(what_ran(&ran))?,
            }
            left(&ran)
        }
    }
}

/// How the settings say that jobs are run.
pub fn schedule(settings: &settings::Jobs) -> Schedule {
    Schedule {
        actor: settings.actor.trim().to_owned(),
        holder: format!("{}:{}", host(), std::process::id()),
        delay_days: settings.close_delay_days,
        redraft: TimeDelta::hours(settings.redraft_hours.into()),
        retry: TimeDelta::seconds(settings.retry_seconds.into()),
        lease: Duration::from_secs(settings.lease_seconds.into()),
        keep_runs_days: settings.keep_runs_days,
        clock_behind_days: settings.clock_behind_days,
    }
}

/// The machine's name, for people who look which process ran a job.
fn host() -> String {
    // Where Linux tells it, containers included.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Runs what is due, tick by tick, until `stop`. A fault is logged; the next tick is the retry.
pub async fn keep_running(
    pool: PgPool,
    settings: settings::Jobs,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let schedule = schedule(&settings);
    let mut every = tokio::time::interval(Duration::from_secs(settings.tick_seconds.into()));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let told = async { tell_known_behind(&pool, &metrics).await & tell_open_findings(&pool, &metrics).await };
        // Whatever only looks ends at once: while Postgres is away each look takes long.
        let Some(mut is_well) = stop.run_until_cancelled(told).await else { return Ok(()) };
        for job in Job::ALL {
            // One job's fault keeps no other from running.
            if let Err(error) = run_due(&pool, &schedule, *job, &metrics, &stop).await {
                tracing::warn!(%job, %error, "it could not be looked what is due, or run");
                is_well = false;
            }
        }
        if is_well {
            metrics.jobs_ticked();
        }
    }
}

async fn tell_known_behind(pool: &PgPool, metrics: &Metrics) -> bool {
    match seconds_behind(pool).await {
        Ok(seconds) => {
            metrics.set_known_behind(seconds);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "it could not be told since when what is known stands still");
            false
        }
    }
}

/// Before the jobs look anew: what they find open then is a rise, for the first of a right too.
async fn tell_open_findings(pool: &PgPool, metrics: &Metrics) -> bool {
    match count_open(pool).await {
        Ok(counts) => {
            for OpenGroups { contract, right, groups } in &counts {
                metrics.set_findings_open(contract.as_str(), right.as_str(), *groups);
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "it could not be told which findings are open");
            false
        }
    }
}

/// Runs what is due of a job; each run is counted and logged as it ends.
async fn run_due(
    pool: &PgPool,
    schedule: &Schedule,
    job: Job,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), ScheduleError> {
    let planned = stop.run_until_cancelled(plan(pool, schedule, job, schedule.now(), Trigger::Schedule)).await;
    for planned in planned.transpose()?.into_iter().flatten() {
        if stop.is_cancelled() {
            break;
        }
        if let Some(ran) = run_planned(pool, schedule, &planned, schedule.now(), Trigger::Schedule).await? {
            metrics.job_ran(job, ran.outcome);
            // The one before it died without an end, and this one took its place.
            if planned.last_run.as_ref().is_some_and(JobRun::is_abandoned) {
                metrics.job_ran(job, RunOutcome::Lost);
            }
            let Ran { run_id, subject, outcome, detail, .. } = ran;
            match outcome {
                RunOutcome::Done | RunOutcome::NothingNew | RunOutcome::Waiting => {
                    tracing::info!(run_id, %job, %subject, %outcome, detail, "a job ran");
                }
                RunOutcome::Failed | RunOutcome::Lost => {
                    tracing::warn!(run_id, %job, %subject, %outcome, detail, "a job did not end well");
                }
            }
        }
    }
    Ok(())
}

/// What is not done of what was run now.
fn left(ran: &[Ran]) -> anyhow::Result<()> {
    let told = |ran: &Ran| format!("{} of {}: {}", ran.job, ran.subject, ran.detail.as_deref().unwrap_or_default());
    let failed: Vec<String> =
        ran.iter().filter(|it| matches!(it.outcome, RunOutcome::Failed | RunOutcome::Lost)).map(told).collect();
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    let waiting = ran.iter().filter(|it| it.outcome == RunOutcome::Waiting).count();
    if waiting > 0 {
        let what = format!("{} for somebody, as told above", counted_that_wait(waiting));
        return Err(Stop::Left { what }.into());
    }
    Ok(())
}

fn counted_that_wait(runs: usize) -> String {
    if runs == 1 { "1 run waits".to_owned() } else { format!("{runs} runs wait") }
}

fn list(planned: &[Planned]) -> comfy_table::Table {
    let heading = ["job", "of", "due", "next run", "standing", "last run", "outcome", "what"];
    let rows = planned.iter().map(|it| {
        let last = it.last_run.as_ref();
        let waits = it.waits_for.as_ref().map(|what| format!("waits for {what}"));
        let what = waits.or_else(|| last.and_then(|run| run.detail.clone())).unwrap_or_default();
        let next = match it.standing {
            // It was due before, mostly: the next tick runs it.
            Standing::Due => "due now".to_owned(),
            _ => it.next_at.map(output::instant).unwrap_or_default(),
        };
        vec![
            it.job.to_string(),
            it.subject.to_string(),
            it.due_at.map(output::instant).unwrap_or_default(),
            next,
            it.standing.to_string().replace('_', " "),
            last.map(|run| output::instant(run.started_at)).unwrap_or_default(),
            last.map(outcome).unwrap_or_default(),
            what,
        ]
    });
    output::table(&heading, &[], rows)
}

fn runs(rows: &[JobRun]) -> comfy_table::Table {
    let heading = ["run", "job", "of", "try", "due", "started", "seconds", "process", "by", "outcome", "what"];
    let rows = rows.iter().map(|run| {
        let seconds = run.ended_at.map(|ended| (ended - run.started_at).num_milliseconds());
        vec![
            run.run_id.to_string(),
            run.job.to_string(),
            run.subject.to_string(),
            run.attempt.to_string(),
            output::instant(run.due_at),
            output::instant(run.started_at),
            seconds.map(|ms| format!("{}.{}", ms / 1000, ms % 1000 / 100)).unwrap_or_default(),
            run.holder.clone(),
            run.started_by.clone().unwrap_or_else(|| "schedule".to_owned()),
            outcome(run),
            run.detail.clone().unwrap_or_default(),
        ]
    });
    output::table(&heading, &[0, 3, 6], rows)
}

fn what_ran(ran: &[Ran]) -> comfy_table::Table {
    let row = |it: &Ran| {
        let outcome = it.outcome.to_string().replace('_', " ");
        vec![
            it.run_id.to_string(),
            it.job.to_string(),
            it.subject.to_string(),
            outcome,
            it.detail.clone().unwrap_or_default(),
        ]
    };
    output::table(&["run", "job", "of", "outcome", "what"], &[0], ran.iter().map(row))
}

fn outcome(run: &JobRun) -> String {
    run.outcome.map_or_else(|| "running".to_owned(), |outcome| outcome.to_string().replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use apportion::config::{Config, Sources};
    use std::time::Instant;

    /// A pool waits ten seconds for a server that is away, and a tick looks at a dozen things.
    #[tokio::test]
    async fn while_postgres_is_away_the_jobs_end_when_they_are_told_to() {
        let sources = Sources { file: None, environment: Vec::new(), flags: Vec::new() };
        let (config, _) = Config::load(&sources).expect("the defaults");
        // Nobody listens at port 1.
        let pool = apportion::store::connect("postgres://nobody@127.0.0.1:1/none", 1).expect("a pool");
        let (metrics, stop) = (Arc::new(Metrics::new().expect("metrics")), CancellationToken::new());
        let running = tokio::spawn(keep_running(pool, config.jobs, metrics, stop.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!running.is_finished());
        let told = Instant::now();
        stop.cancel();
        running.await.expect("it ended").expect("well");
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    }
}
