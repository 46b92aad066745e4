//! The HTTP door: the API, whether the process lives and is ready, and its metrics.

mod api;
mod auth;
mod conditional;
mod health;
mod idempotency;
mod input;
mod limits;
mod listen;
mod listing;
mod parameters;
mod problem;
mod schema;
mod table;

use crate::ingest::writer::Writer;
use crate::jobs::schedule::Schedule;
use crate::sources::Reader;
use crate::store::{self, StoreError};
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sqlx::PgPool;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use api::description;
pub use limits::Limits;

/// What holds of usage that is sent here where it does not say it itself.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    /// Of events that are not ours, and as what they are read.
    pub events: Reader,
    /// Of spans.
    pub traces: Reader,
}

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    pub pool: PgPool,
    /// For requests that change nothing that is told, made by [`store::for_reading`]; what is read as known now moves
    /// the watermark.
    pub reads: PgPool,
    /// To find out who calls, and what they were answered before, made by [`store::for_callers`].
    pub callers: PgPool,
    /// For writes that may have to wait for each other, made by [`store::for_writing`].
    pub writes: PgPool,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Whether this process takes in usage from Kafka, too.
    pub ingests: bool,
    /// How jobs are run that a request starts.
    pub schedule: Arc<Schedule>,
    /// How often this process looks what is due, where it runs the jobs, too.
    pub tick: Option<Duration>,
    /// Of jobs that requests start: one at a time, as each holds a connection beside those of its runs.
    runs: Arc<Mutex<()>>,
    /// Of events that are sent here; opened when the first come. One batch at a time is written, the next ones wait.
    writer: Arc<OnceCell<Mutex<Writer>>>,
    /// How what is sent here is read where it does not say it itself.
    readers: Arc<Readers>,
    /// A permit for each request with usage that may be read and written at once.
    intake: Arc<Semaphore>,
    /// The writes that are going on.
    writing: TaskTracker,
    /// Cancelled when what is still going on is to be broken off.
    cut: CancellationToken,
}

impl HttpState {
    pub fn new(pool: PgPool, limits: Limits, metrics: Arc<Metrics>, ingests: bool, schedule: Schedule) -> Self {
        Self {
            reads: store::for_reading(&pool, limits.read),
            callers: store::for_callers(&pool, limits.turn),
            writes: store::for_writing(&pool, limits.turn),
            pool,
            limits,
            metrics,
            ingests,
            schedule: Arc::new(schedule),
            tick: None,
            runs: Arc::default(),
            writer: Arc::default(),
            readers: Arc::default(),
            intake: Arc::new(Semaphore::new(api::MAX_AT_ONCE)),
            writing: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Reading what is sent here so.
    pub fn with_readers(self, readers: Readers) -> Self {
        Self { readers: Arc::new(readers), ..self }
    }

    /// Of a process that looks each `tick` what is due, too.
    pub fn with_jobs(self, tick: Duration) -> Self {
        Self { tick: Some(tick), ..self }
    }

    async fn writer(&self) -> Result<&Mutex<Writer>, StoreError> {
        let open = async || Writer::open(self.pool.clone(), Arc::clone(&self.metrics)).await.map(Mutex::new);
        self.writer.get_or_try_init(open).await
    }
}

/// Serves until `stop`, then lets requests in flight finish, and writes whose callers have hung up, for as long as
/// [`Limits::drain`] allows; what is left then is broken off, and told in the log.
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
    let HttpState { limits, writing, cut, .. } = state.clone();
    let connections = listen::until(listener, router(state), limits.receive, &stop).await;
    writing.close();
    let ended = async || {
        connections.wait().await;
        writing.wait().await;
    };
    if timeout(limits.drain, ended()).await.is_err() {
        cut.cancel();
        if timeout(CUT_TIMEOUT, ended()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections were cut on which no request came, or no answer went"
            );
        }
    }
    Ok(())
}

/// How long it may take to tell callers that their requests are broken off.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

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
    let method = request.method().clone();
    let response = tokio::select! {
        response = next.run(request) => response,
        // A write tells of itself, whether its caller is still there or not.
        () = state.cut.cancelled(), if method != Method::POST => {
            tracing::warn!(%method, path, "a request was broken off, as the service ends");
            problem::Problem::ending().into_response()
        }
    };
    state.metrics.http_requests.with_label_values(&[path.as_str(), response.status().as_str()]).inc();
    response
}
