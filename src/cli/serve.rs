//! `apportion serve`: the long-running roles, until Ctrl-C or SIGTERM.

use super::jobs;
use super::{Session, away};
use anyhow::Context;
use apportion::config as settings;
use apportion::http::{self, HttpState, Limits, Readers};
use apportion::ingest::consumer;
use apportion::store::{self, Schema};
use apportion::telemetry::Metrics;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Ends the batch and the run in flight and leaves the consumer group on Ctrl-C or SIGTERM; requests \
have http.drain_timeout_seconds to end. Any number of instances may run beside each other.

Examples:
  apportion serve
  apportion serve --roles http --set http.listen=0.0.0.0:8080
  apportion serve --roles jobs";

/// How long a start waits for Postgres to tell its schema. One that is away is waited for later.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(2);

/// Consume usage from Kafka, answer over HTTP and run the scheduled jobs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to run, separated by commas: ingest takes in usage, http answers the API, /healthz, /readyz and /metrics,
    /// jobs runs what is due
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Ingest, Role::Http, Role::Jobs])]
    roles: Vec<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Ingest,
    Http,
    Jobs,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let _telemetry = session.telemetry()?;
    serve(&args.roles, session).await
}

/// Runs the roles until one fails or the process is told to end.
pub async fn serve(roles: &[Role], session: &Session) -> anyhow::Result<()> {
    let (pool, metrics, stop) = (session.pool()?, Arc::new(Metrics::new()?), CancellationToken::new());
    check_schema(&pool).await?;
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if roles.contains(&Role::Ingest) {
        metrics.runs("ingest");
        let config = session.consumer(false)?;
        let consuming = consumer::run(config, pool.clone(), Arc::clone(&metrics), stop.clone());
        running.spawn(async { Ok(consuming.await.map(|_| ())?) });
    }
    if roles.contains(&Role::Jobs) {
        metrics.runs("jobs");
        running.spawn(jobs::keep_running(
            pool.clone(),
            session.config.jobs.clone(),
            Arc::clone(&metrics),
            stop.clone(),
        ));
    }
    if roles.contains(&Role::Http) {
        metrics.runs("http");
        let ingests = roles.contains(&Role::Ingest);
        let (http, settings) = (&session.config.http, &session.config.jobs);
        let mut state = HttpState::new(pool, limits(http), metrics, ingests, jobs::schedule(settings))
            .with_readers(Readers { events: http.events.clone(), traces: http.traces.clone() });
        if roles.contains(&Role::Jobs) {
            state = state.with_jobs(Duration::from_secs(settings.tick_seconds.into()));
        }
        let listen = http.listen;
        let stop = stop.clone();
        running.spawn(async move {
            let served = http::serve(listen, state, stop).await;
            served.with_context(|| format!("cannot answer at {listen}, which http.listen sets"))
        });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        _ = tokio::signal::ctrl_c() => None,
        _ = terminate.recv() => None,
        ended = running.join_next() => ended,
    };
    // One role that fails takes the others with it, in good order.
    stop.cancel();
    let mut first = ended.transpose()?.unwrap_or(Ok(()));
    while let Some(ended) = running.join_next().await {
        first = first.and(ended?);
    }
    first
}

fn limits(http: &settings::Http) -> Limits {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Limits {
        receive: seconds(http.receive_timeout_seconds),
        read: seconds(http.read_timeout_seconds),
        turn: seconds(http.turn_timeout_seconds),
        drain: seconds(http.drain_timeout_seconds),
    }
}

/// Refuses a database that cannot work. One that is away is none of these: the roles wait for it.
async fn check_schema(pool: &PgPool) -> anyhow::Result<()> {
    let place = store::place_of_pool(pool);
    match tokio::time::timeout(SCHEMA_TIMEOUT, store::schema(pool)).await {
        Ok(Ok(Schema::Current)) => {}
        Ok(Ok(Schema::Behind)) => {
            anyhow::bail!("the database at {place} lacks migrations of this build; run `apportion migrate`")
        }
        Ok(Ok(Schema::Ahead)) => tracing::warn!("the database at {place} has migrations of a later build"),
        Ok(Err(error)) if !error.is_transient() => return Err(error.into()),
        Ok(Err(error)) => tracing::warn!(%error, "{}; waiting for it", away(&place)),
        Err(_) => tracing::warn!("{}; waiting for it", away(&place)),
    }
    Ok(())
}
