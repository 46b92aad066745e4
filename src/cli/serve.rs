//! `apportion serve`: the long-running roles, until Ctrl-C or SIGTERM.

use super::Session;
use apportion::http::{self, HttpState};
use apportion::ingest::consumer;
use apportion::store::rejections;
use apportion::telemetry::Metrics;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Ends the batch in flight and leaves the consumer group on Ctrl-C or SIGTERM.

Examples:
  apportion serve
  apportion serve --roles http --set http.listen=0.0.0.0:8080";

/// Payloads are kept for days: some minutes more do not matter.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);

/// Consume usage from Kafka and answer over HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to run, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Ingest, Role::Http])]
    roles: Vec<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Ingest,
    Http,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let _telemetry = session.telemetry()?;
    serve(&args.roles, session).await
}

/// Runs the roles until one fails or the process is told to end.
pub async fn serve(roles: &[Role], session: &Session) -> anyhow::Result<()> {
    let (pool, metrics, stop) = (session.pool()?, Arc::new(Metrics::new()?), CancellationToken::new());
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if roles.contains(&Role::Ingest) {
        let config = session.consumer(false)?;
        let consuming = consumer::run(config, pool.clone(), Arc::clone(&metrics), stop.clone());
        running.spawn(async { Ok(consuming.await.map(|_| ())?) });
        running.spawn(expire_payloads(pool.clone(), stop.clone()));
    }
    if roles.contains(&Role::Http) {
        let (listen, state) = (session.config.http.listen, HttpState { pool, metrics });
        let stop = stop.clone();
        running.spawn(async move { Ok(http::serve(listen, state, stop).await?) });
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

/// Removes the payloads of rejections that have expired, now and then. A fault is logged and tried again.
async fn expire_payloads(pool: PgPool, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        match rejections::expire_payloads(&pool).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "payloads of rejections expired"),
            Err(error) => tracing::warn!(%error, "payloads of rejections could not be expired"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EXPIRY_INTERVAL) => {}
        }
    }
}
