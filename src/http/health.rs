//! Whether the process lives, whether it is ready, and its metrics.

use super::HttpState;
use crate::store::{self, Schema};
use crate::telemetry::Metrics;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long Postgres may take to answer before we are not ready: whoever asks waits about as long.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long Kafka may stay unpolled. The longest batches take seconds.
const POLL_TIMEOUT_SECONDS: i64 = 60;

/// How much longer than a tick it may take until it is looked again what is due: the jobs run in between.
const TICK_TIMEOUT: Duration = Duration::from_secs(300);

/// The process lives. Says nothing about the database: restarting us would not bring that back.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the process can do its work, and what of it not.
#[derive(Serialize)]
pub struct Readiness {
    ready: bool,
    roles: BTreeMap<&'static str, RoleReadiness>,
}

#[derive(Serialize)]
struct RoleReadiness {
    ready: bool,
    /// What keeps the role from its work; empty when it is ready.
    why: Vec<String>,
}

/// Ready: Postgres answers and has this build's migrations; Kafka is connected and read, and no partition halted; it
/// was looked lately what is due.
pub async fn readyz(State(state): State<HttpState>) -> (StatusCode, Json<Readiness>) {
    let database = database_trouble(&state.pool).await;
    let mut why = BTreeMap::from([("http", database.clone())]);
    if state.ingests {
        why.insert("ingest", [database.clone(), kafka_trouble(&state.metrics)].concat());
    }
    if let Some(tick) = state.tick {
        why.insert("jobs", [database, jobs_trouble(&state.metrics, tick)].concat());
    }
    let role = |why: Vec<String>| RoleReadiness { ready: why.is_empty(), why };
    let roles: BTreeMap<_, _> = why.into_iter().map(|(name, why)| (name, role(why))).collect();
    let ready = roles.values().all(|role| role.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, roles }))
}

async fn database_trouble(pool: &PgPool) -> Vec<String> {
    let place = store::place_of_pool(pool);
    let trouble = match tokio::time::timeout(DATABASE_TIMEOUT, store::schema(pool)).await {
        Ok(Ok(Schema::Current)) => return Vec::new(),
        Ok(Ok(schema)) => schema.to_string(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            "cannot be asked; the log tells why".to_owned()
        }
        Err(_) => format!("does not answer within {} s", DATABASE_TIMEOUT.as_secs()),
    };
    vec![format!("Postgres at {place} {trouble}")]
}

fn kafka_trouble(metrics: &Metrics) -> Vec<String> {
    let mut why = Vec::new();
    if !metrics.is_kafka_connected() {
        why.push("no Kafka broker is connected".to_owned());
    }
    match metrics.seconds_since_poll() {
        None => why.push("Kafka was not polled yet".to_owned()),
        Some(seconds) if seconds > POLL_TIMEOUT_SECONDS => {
            why.push(format!("Kafka was last polled without an error {seconds} s ago"));
        }
        Some(_) => {}
    }
    why.extend(metrics.missing_topics().iter().map(|topic| format!("topic {topic} does not exist")));
    let halted = metrics.halted();
    if !halted.is_empty() {
        why.push(format!("halted, as the broker lost their next offset: {}", halted.join(", ")));
    }
    why
}

fn jobs_trouble(metrics: &Metrics, tick: Duration) -> Vec<String> {
    let longest = i64::try_from(tick.saturating_add(TICK_TIMEOUT).as_secs()).unwrap_or(i64::MAX);
    match metrics.seconds_since_tick() {
        None => vec!["it was not looked yet which jobs are due".to_owned()],
        Some(seconds) if seconds > longest => {
            vec![format!("it was last looked without an error {seconds} s ago which jobs are due")]
        }
        Some(_) => Vec::new(),
    }
}

pub async fn metrics(State(state): State<HttpState>) -> Response {
    let pools =
        [("main", &state.pool), ("reads", &state.reads), ("writes", &state.writes), ("callers", &state.callers)];
    for (name, pool) in pools {
        let limit = pool.options().get_max_connections();
        state.metrics.set_connections(name, pool.size(), pool.num_idle(), limit);
    }
    match state.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
