//! The HTTP door: the API, whether the process lives and is ready, and its metrics.

mod api;
mod auth;
mod conditional;
mod health;
mod idempotency;
mod input;
mod listing;
mod parameters;
mod problem;
mod schema;

use crate::ingest::writer::Writer;
use crate::jobs::schedule::Schedule;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use sqlx::PgPool;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use api::description;

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    pub pool: PgPool,
    pub metrics: Arc<Metrics>,
    /// Whether this process takes in usage from Kafka, too.
    pub ingests: bool,
    /// How jobs are run that a request starts.
    pub schedule: Arc<Schedule>,
    /// How often this process looks what is due, where it runs the jobs, too.
    pub tick: Option<Duration>,
    /// Of events that are sent here; opened when the first come.
    writer: Arc<Mutex<Option<Writer>>>,
}

impl HttpState {
    pub fn new(pool: PgPool, metrics: Arc<Metrics>, ingests: bool, schedule: Schedule) -> Self {
        Self { pool, metrics, ingests, schedule: Arc::new(schedule), tick: None, writer: Arc::default() }
    }

    /// Of a process that looks each `tick` what is due, too.
    pub fn with_jobs(self, tick: Duration) -> Self {
        Self { tick: Some(tick), ..self }
    }

    /// The writer, while its guard lives: one batch at a time is written, the next ones wait.
    async fn writer(&self) -> Result<tokio::sync::MappedMutexGuard<'_, Writer>, StoreError> {
        let mut guard = self.writer.lock().await;
        if guard.is_none() {
            *guard = Some(Writer::open(self.pool.clone(), Arc::clone(&self.metrics)).await?);
        }
        tokio::sync::MutexGuard::try_map(guard, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed.into())
    }
}

/// Serves until `stop`, then lets requests in flight finish.
///
/// # Errors
/// An address that cannot be bound.
pub async fn serve(addr: SocketAddr, state: HttpState, stop: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    serve_on(listener, state, stop).await
}

/// As [`serve`], on a socket that is open already; a port of 0 is then known to the caller.
///
/// # Errors
/// The socket's.
pub async fn serve_on(listener: TcpListener, state: HttpState, stop: CancellationToken) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "listening");
    axum::serve(listener, router(state)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .merge(api::router(&state))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(middleware::from_fn_with_state(state.clone(), count_request))
        .with_state(state)
}

async fn count_request(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    // The route, not the path: a label has few values.
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |p| p.as_str().to_owned());
    let response = next.run(request).await;
    state.metrics.http_requests.with_label_values(&[path.as_str(), response.status().as_str()]).inc();
    response
}
