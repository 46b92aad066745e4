//! Idempotency keys: a write that names itself is done once, and answered alike when it is sent again.

use super::HttpState;
use super::auth::caller;
use super::problem::Problem;
use crate::store::requests::{Claim, StoredAnswer, answer, claim, give_up};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The longest body of a write, in bytes.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Answers a write that was done already as it was answered then; does one that is new, and keeps the answer.
pub async fn once(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(&KEY) {
        return next.run(request).await;
    }
    match once_only(&state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn once_only(state: &HttpState, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let key = parts.headers.get(&KEY).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Problem::bad_request(format!("Idempotency-Key: write 1 to {MAX_KEY_BYTES} visible letters")));
    }
    let caller = caller(&mut parts, state).await?;
    let body = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| Problem::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes")))?;
    let digest = request_digest(&parts, &body);
    match claim(&state.pool, &caller.key_id, &key, &digest).await? {
        Claim::Ours => {}
        Claim::Answered(stored) => return Ok(replay(stored)),
        Claim::InProgress => {
            let title = "The request is being worked on";
            let detail = "another request with this Idempotency-Key is not answered yet; send it again in a while";
            return Err(Problem::conflict("in-progress", title, detail));
        }
        Claim::OtherRequest => {
            let title = "The key was used for another request";
            let detail = "take a new Idempotency-Key for each request; send the same key with the same request alone";
            return Err(Problem::unprocessable("idempotency-key-reused", title, detail));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(state, &caller.key_id, &key, response).await
}

/// Keeps the answer of what was done, in part at least (422). What failed on our side, or was refused as things
/// stood, is given up, so that it can be sent again.
async fn keep(state: &HttpState, key_id: &str, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let is_done = parts.status.is_success() || parts.status == StatusCode::UNPROCESSABLE_ENTITY;
    let kept = match i16::try_from(parts.status.as_u16()) {
        Ok(status) if is_done => {
            let text =
                |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
            let (content_type, etag) = (text(header::CONTENT_TYPE), text(header::ETAG));
            let stored = StoredAnswer { status, content_type, etag, body: body.to_vec() };
            answer(&state.pool, key_id, key, &stored).await
        }
        _ => give_up(&state.pool, key_id, key).await,
    };
    if let Err(error) = kept {
        // It was done. Sent again, it is found done by what it did, or refused.
        tracing::warn!(%error, "the answer of a request could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// What makes a request the same: its method, path, query, what it says of its body, and the body.
fn request_digest(parts: &axum::http::request::Parts, body: &[u8]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes()] {
        digest.update(part);
        digest.update([0]);
    }
    for name in [header::CONTENT_TYPE, header::IF_MATCH] {
        digest.update(parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default());
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
