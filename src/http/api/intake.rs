//! What the doors for usage share: how much comes in at once, and the writer.

use crate::http::HttpState;
use crate::http::idempotency::Write;
use crate::http::limits;
use crate::http::problem::Problem;
use crate::ingest::messages::Position;
use crate::ingest::writer::Written;
use crate::sources::Decoded;
use crate::store::access::Caller;
use crate::store::usage_rows::Intake as By;
use crate::store::{StoreError, limit_lock_wait};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// How many requests with usage are read and written at once. Each may hold a whole body in memory.
pub const MAX_AT_ONCE: usize = 32;

/// A request with usage that is let in. Where too many are, it waits for its turn before its body is read, as not
/// every client sends again what is refused; only then it is told to come later.
pub struct Intake(#[expect(dead_code, reason = "lets the next one in when it is dropped")] OwnedSemaphorePermit);

impl FromRequestParts<HttpState> for Intake {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let permit = limits::turn(state, Arc::clone(&state.intake).acquire_owned()).await;
        permit.ok().and_then(Result::ok).map(Self).ok_or_else(Problem::too_many)
    }
}

/// Stores what a request holds, and answers it as `answer` says; all of it in one transaction.
pub async fn store(
    state: &HttpState,
    _let_in: Intake,
    caller: &Caller,
    write: Write,
    decoded: Vec<Decoded>,
    answer: impl FnOnce(&Written) -> Response,
) -> Result<Response, Problem> {
    let name: Arc<str> = format!("key {}", caller.key_id).into();
    let writer = limits::turn(state, state.writer().await?.lock()).await.map_err(|_| Problem::too_many())?;
    let position = |place| Position::Request { name: Arc::clone(&name), place };
    let messages = writer.messages((1..).zip(decoded).map(|(place, decoded)| (position(place), decoded)));
    // As what comes from Kafka: it waits for no lock that writes hold among themselves, nor for their connections.
    let mut writing = write.begin_in(&state.pool).await?;
    limit_lock_wait(&mut writing, state.limits.turn).await?;
    let batch = writer.write_on(&mut writing, &messages, None, By::Http).await.map_err(too_many)?;
    let answer = writing.end(answer(&batch.written)).await?;
    writer.committed(batch).await;
    Ok(answer)
}

/// Who waits for a lock too long comes later.
fn too_many(error: StoreError) -> Problem {
    if error.is_lock_timeout() { Problem::too_many() } else { error.into() }
}
