//! How long the door waits: for a request to come, for a read, for a write's turn, and for the rest when it ends.

use super::HttpState;
use super::problem::Problem;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tokio::time::timeout;

/// How long the door waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, and for its body.
    pub receive: Duration,
    /// For the whole of a read.
    pub read: Duration,
    /// For what a write needs and others hold: a lock, a connection, its turn.
    pub turn: Duration,
    /// For what is going on when the service is told to end.
    pub drain: Duration,
}

/// Ends a read that takes too long, whatever it is at. A write goes on to its end.
pub async fn bound_read(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    if request.method() == Method::POST {
        return next.run(request).await;
    }
    let answered = timeout(state.limits.read, next.run(request)).await;
    answered.unwrap_or_else(|_| Problem::too_slow().into_response())
}

/// What comes of receiving a body.
///
/// # Errors
/// It did not come in time.
pub async fn received<T>(state: &HttpState, receiving: impl Future<Output = T>) -> Result<T, Problem> {
    timeout(state.limits.receive, receiving).await.map_err(|_| Problem::not_received(state.limits.receive))
}

/// What comes of waiting for one's turn.
///
/// # Errors
/// It did not come in time.
pub async fn turn<T>(state: &HttpState, waiting: impl Future<Output = T>) -> Result<T, Problem> {
    timeout(state.limits.turn, waiting).await.map_err(|_| Problem::busy())
}
