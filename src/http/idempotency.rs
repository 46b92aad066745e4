//! Writes: each goes on to its end when its caller hangs up; one that names itself is done once, and answered alike
//! when it is sent again.

use super::HttpState;
use super::auth::caller;
use super::input;
use super::problem::Problem;
use crate::store::requests::{Known, RequestName, StoredAnswer, claim, find, keep};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use tracing::Instrument;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The longest body of a write, in bytes.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Does a write apart from its connection: a caller who hangs up breaks nothing off, and a service that is told to
/// end waits for it. One that was done before, by its name, is answered as it was then.
pub async fn once(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (tasks, cut, path) = (state.writing.clone(), state.cut.clone(), request.uri().path().to_owned());
    let writing = async move {
        let response = match request.headers().contains_key(&KEY) {
            false => Ok(next.run(request).await),
            true => named(&state, request, next).await,
        };
        response.unwrap_or_else(IntoResponse::into_response)
    };
    let bounded = async move {
        tokio::select! {
            response = writing => response,
            () = cut.cancelled() => {
                tracing::warn!(path, "a write was broken off, as the service ends: it is undone unless it was committed");
                Problem::ending().into_response()
            }
        }
    };
    let written = tasks.spawn(bounded.in_current_span()).await;
    written.unwrap_or_else(|error| Problem::internal(&error).into_response())
}

async fn named(state: &HttpState, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let mut keys = parts.headers.get_all(&KEY).iter();
    let key = keys.next().and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if keys.next().is_some() {
        return Err(Problem::bad_request("Idempotency-Key: send one"));
    }
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Problem::bad_request(format!("Idempotency-Key: write 1 to {MAX_KEY_BYTES} visible letters")));
    }
    let caller = caller(&mut parts, state).await?;
    let input::Body(body) = input::Body::from_request(Request::from_parts(parts.clone(), body), state).await?;
    let name = RequestName { key_id: caller.key_id, idempotency_key: key, sha256: request_digest(&parts, &body) };
    if let Some(answer) = answered(state, &name).await? {
        return Ok(answer);
    }
    parts.extensions.insert(name.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status() != StatusCode::CONFLICT {
        return Ok(response);
    }
    // Another of its name was at work, and may have been answered while this one waited for its turn.
    Ok(answered(state, &name).await?.unwrap_or(response))
}

/// What a request of that name was answered, if one was.
async fn answered(state: &HttpState, name: &RequestName) -> Result<Option<Response>, Problem> {
    match find(&mut *state.callers.acquire().await?, name).await? {
        Known::Nothing => Ok(None),
        Known::Answered(stored) => Ok(Some(replay(stored))),
        Known::OtherRequest => {
            let title = "The key was used for another request";
            let detail = "take a new Idempotency-Key for each request; send the same key with the same request alone";
            Err(Problem::unprocessable("idempotency-key-reused", title, detail))
        }
    }
}

/// What makes a request the same: its method, path, query, what it says of its body, and the body. Of an event in binary
/// mode headers say whose it is.
fn request_digest(parts: &Parts, body: &[u8]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes()] {
        digest.update(part);
        digest.update([0]);
    }
    let mut of_event: Vec<&HeaderName> = parts.headers.keys().filter(|it| it.as_str().starts_with("ce-")).collect();
    of_event.sort_by_key(|name| name.as_str());
    for name in [&header::CONTENT_TYPE, &header::CONTENT_ENCODING, &header::IF_MATCH].into_iter().chain(of_event) {
        digest.update(name.as_str());
        digest.update([0]);
        for value in parts.headers.get_all(name) {
            digest.update(value);
            digest.update([0]);
        }
        digest.update([0]);
    }
    digest.update(body);
    digest.finalize().to_vec()
}

fn replay(stored: StoredAnswer) -> Response {
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::from(stored.body));
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let texts = [(header::CONTENT_TYPE, stored.content_type), (header::ETAG, stored.etag)];
    let values = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text?).ok()?)));
    response.headers_mut().extend(values);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A write that a handler is about to do.
pub struct Write {
    pool: PgPool,
    name: Option<RequestName>,
}

impl FromRequestParts<HttpState> for Write {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        Ok(Self { pool: state.writes.clone(), name: parts.extensions.remove() })
    }
}

impl Write {
    /// Begins the transaction of the write.
    ///
    /// # Errors
    /// Another request of the same name is at work, or has just been answered.
    pub async fn begin(self) -> Result<Writing, Problem> {
        let pool = self.pool.clone();
        self.begin_in(&pool).await
    }

    /// As [`Write::begin`], on a connection of another pool than that of writes which may wait for each other.
    ///
    /// # Errors
    /// As [`Write::begin`].
    pub async fn begin_in(self, pool: &PgPool) -> Result<Writing, Problem> {
        let mut transaction = pool.begin().await?;
        if let Some(name) = &self.name
            && !claim(&mut transaction, name).await?
        {
            let title = "The request is being worked on";
            let detail = "another request with this Idempotency-Key is being worked on, or was answered just now; \
                          send this one again to get that answer";
            return Err(Problem::conflict("in-progress", title, detail));
        }
        Ok(Writing { transaction, name: self.name })
    }
}

/// A write in its transaction, which is rolled back where it is not ended.
pub struct Writing {
    transaction: Transaction<'static, Postgres>,
    name: Option<RequestName>,
}

impl Deref for Writing {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl Writing {
    /// What the request calls itself.
    pub fn name(&self) -> Option<&RequestName> {
        self.name.as_ref()
    }

    /// Commits what was done together with its answer.
    ///
    /// # Errors
    /// The database's; then nothing was done, unless the connection broke on its way back.
    pub async fn end(mut self, answer: impl IntoResponse) -> Result<Response, Problem> {
        let (parts, body) = answer.into_response().into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(|error| Problem::internal(&error))?;
        if let Some(name) = &self.name {
            let stored = StoredAnswer {
                status: i16::try_from(parts.status.as_u16()).map_err(|error| Problem::internal(&error))?,
                content_type: text(&parts.headers, &header::CONTENT_TYPE),
                etag: text(&parts.headers, &header::ETAG),
                body: body.to_vec(),
            };
            keep(&mut self.transaction, name, &stored).await?;
        }
        self.transaction.commit().await?;
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
