//! Extractors whose refusals are problems, and the parameters that several routes share.

use super::idempotency::MAX_BODY_BYTES;
use super::problem::Problem;
use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header};

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Json<T>(pub T);

/// A body as it came.
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::too_large(format!("a body has at most {MAX_BODY_BYTES} bytes")))
            }
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
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

/// The tag of `If-Match`: what the caller saw of what they change.
pub struct Seen(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let quoted = value.to_str().ok().map(str::trim);
        if quoted == Some("*") {
            return Ok(Self(None));
        }
        let tag = quoted.and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        let fail = || Problem::bad_request("If-Match: write one tag in quotes, as the ETag header had it, or *");
        tag.map(|tag| Self(Some(tag.to_owned()))).ok_or_else(fail)
    }
}

/// Parses a parameter as what it has to be.
pub fn parse<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Problem::bad_request(format!("{name}: {error}")))
}
