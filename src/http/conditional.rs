//! ETags of what is read: an answer that the caller has already is not sent again.

use super::problem::Problem;
use crate::domain::hex::hex;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The longest answer that is digested, in bytes. Pages end long before.
const MAX_DIGESTED_BYTES: usize = 64 << 20;

/// Marks an answer that tells more than what its ETag is of: it is sent to who has it, too.
#[derive(Clone, Copy, Debug)]
pub struct Volatile;

/// Gives each answer to a GET an ETag, the digest of its body where the handler gave none, and answers 304 to
/// who has it.
pub async fn tag(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = match to_bytes(body, MAX_DIGESTED_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            return Problem::internal(&error).into_response();
        }
    };
    let given = parts.headers.get(header::ETAG).cloned();
    let digested = || HeaderValue::from_str(&format!("\"{}\"", hex(&Sha256::digest(&body)))).ok();
    if let Some(tag) = given.or_else(digested) {
        let is_volatile = parts.extensions.get::<Volatile>().is_some();
        let same = !is_volatile
            && known.as_ref().and_then(|known| known.to_str().ok()).is_some_and(|known| names(known, &tag));
        parts.headers.insert(header::ETAG, tag);
        // What a key sees is for its holder alone, and has to be asked for anew.
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if same {
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.status = StatusCode::NOT_MODIFIED;
            return Response::from_parts(parts, Body::empty());
        }
    }
    Response::from_parts(parts, Body::from(body))
}

/// Whether `If-None-Match` names a tag; a weak one is compared as the strong one that it was.
fn names(known: &str, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    known.split(',').map(str::trim).any(|it| it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag)
}
