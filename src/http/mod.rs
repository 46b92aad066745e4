//! The HTTP door: whether the process lives, whether it is ready, and its metrics.

use crate::store;
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sqlx::PgPool;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the handlers share.
#[derive(Clone)]
pub struct HttpState {
    pub pool: PgPool,
    pub metrics: Arc<Metrics>,
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
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
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

/// The process lives. Says nothing about the database: restarting us would not bring that back.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: Postgres answers, has this build's migrations, and no partition is halted.
async fn readyz(State(state): State<HttpState>) -> (StatusCode, &'static str) {
    match store::is_current(&state.pool).await {
        Ok(true) if state.metrics.is_halted() => {
            (StatusCode::SERVICE_UNAVAILABLE, "a partition is halted: its next offset is gone from the broker\n")
        }
        Ok(true) => (StatusCode::OK, "ready\n"),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "the database lacks migrations, or has newer ones\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
        }
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    match state.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
