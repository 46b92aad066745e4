//! `apportion serve`: the long-running roles, until Ctrl-C or SIGTERM.

use super::jobs;
use super::{Session, away};
use anyhow::Context;
use apportion::config as settings;
use apportion::http::{self, HttpState, Limits, Readers};
use apportion::ingest::consumer;
use apportion::store;
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

/// How long Postgres may take to tell its schema.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for a Postgres that is away until it is asked again.
const SCHEMA_WAIT: Duration = Duration::from_secs(1);

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
    let (pool, metrics, stop) = (session.any_pool()?, Arc::new(Metrics::new()?), CancellationToken::new());
    // One that is refused is told at once.
    is_there(&pool).await?;
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if roles.contains(&Role::Ingest) {
        metrics.runs("ingest");
        let config = session.consumer(false)?;
        let consuming = consumer::run(config, pool.clone(), Arc::clone(&metrics), stop.clone());
        let role = async { Ok(consuming.await.map(|_| ())?) };
        running.spawn(once_there(pool.clone(), stop.clone(), role));
    }
    if roles.contains(&Role::Jobs) {
        metrics.runs("jobs");
        let (settings, metrics) = (session.config.jobs.clone(), Arc::clone(&metrics));
        let role = jobs::keep_running(pool.clone(), settings, metrics, stop.clone());
        running.spawn(once_there(pool.clone(), stop.clone(), role));
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

/// Runs a role once Postgres is there: at its start it may be away.
async fn once_there(
    pool: PgPool,
    stop: CancellationToken,
    role: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    loop {
        match stop.run_until_cancelled(is_there(&pool)).await.transpose()? {
            None => return Ok(()),
            Some(true) => return role.await,
            Some(false) => stop.run_until_cancelled(tokio::time::sleep(SCHEMA_WAIT)).await,
        };
    }
}

/// Whether Postgres answers; a database that this build cannot work on is refused.
async fn is_there(pool: &PgPool) -> anyhow::Result<bool> {
    let place = store::place_of_pool(pool);
    match tokio::time::timeout(SCHEMA_TIMEOUT, store::check_schema(pool)).await {
        Ok(Ok(())) => return Ok(true),
        Ok(Err(error)) if !error.is_transient() => return Err(error.into()),
        Ok(Err(error)) => tracing::warn!(%error, "{}; waiting for it", away(&place)),
        Err(_) => tracing::warn!("{}; waiting for it", away(&place)),
    }
    Ok(false)
}
