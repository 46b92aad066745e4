//! Extractors whose refusals are problems, and the parameters that several routes share.

use super::HttpState;
use super::conditional::{Tags, tags};
use super::idempotency::MAX_BODY_BYTES;
use super::limits::received;
use super::problem::Problem;
use crate::domain::period::{Instant, instant_or_date};
use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use std::borrow::Cow;
use std::io::Read;

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<HttpState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let axum::Json(value) = received(state, axum::Json::from_request(request, state)).await??;
        Ok(Self(value))
    }
}

/// An instant that is asked for, or a date for its first instant in UTC, as the command line reads them.
#[derive(Clone, Copy, Debug)]
pub struct InstantOrDate(pub Instant);

impl<'de> Deserialize<'de> for InstantOrDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        instant_or_date(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// A body as it came.
pub struct Body(pub Bytes);

impl FromRequest<HttpState> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        match received(state, Bytes::from_request(request, state)).await? {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes")))
            }
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// A header's text; empty where there is none, or it is no text.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// A body without its compression. Unpacked it may be as long as one that came unpacked.
///
/// # Errors
/// Another encoding than gzip or deflate, a body that is none of its encoding, or one that is too long.
pub fn unpacked<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Problem> {
    let encoding = header_text(headers, &header::CONTENT_ENCODING);
    let decoder: Box<dyn Read> = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => return Ok(body.into()),
        "gzip" => Box::new(MultiGzDecoder::new(body)),
        "deflate" => Box::new(ZlibDecoder::new(body)),
        _ => return Err(Problem::unsupported_media_type("Content-Encoding: send gzip, deflate, or none")),
    };
    let mut unpacked = Vec::new();
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let read = decoder.take(limit.saturating_add(1)).read_to_end(&mut unpacked);
    read.map_err(|_| Problem::bad_request(format!("Content-Encoding: the body is no {encoding}")))?;
    if unpacked.len() > MAX_BODY_BYTES {
        return Err(Problem::too_large(format!("an unpacked body has at most {MAX_BODY_BYTES} bytes")));
    }
    Ok(unpacked.into())
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        // A path with another kind of name in it leads nowhere.
        Self::not_found(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let detail = rejection.body_text();
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::unsupported_media_type(detail),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes")),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Self::unprocessable("wrong-body", "The body is not what is expected", detail)
            }
            _ => Self::bad_request(detail),
        }
    }
}

/// The tags of `If-Match`: what the caller saw of what they change, in one of these states; without any, whatever
/// stands now.
pub struct Seen(pub Option<Vec<String>>);

impl<S: Send + Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(Self(None));
        }
        let fail = || Problem::bad_request("If-Match: write tags in quotes, as the ETag header had them, or *");
        match tags(&parts.headers, &header::IF_MATCH).ok_or_else(fail)? {
            Tags::Any => Ok(Self(None)),
            // What is weakly the same may differ in what counts: such a tag matches nothing here.
            Tags::These(these) => {
                Ok(Self(Some(these.into_iter().filter(|tag| !tag.is_weak).map(|tag| tag.text).collect())))
            }
        }
    }
}

/// Parses a parameter as what it has to be.
pub fn parse<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Problem::bad_request(format!("{name}: {error}")))
}
