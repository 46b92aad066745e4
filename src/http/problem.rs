//! Errors as RFC 9457 problem details: the one place where what went wrong becomes a status.

use crate::domain::access::Scope;
use crate::domain::engine::EngineError;
use crate::domain::settlement::SettlementError;
use crate::jobs::contracts::ContractsError;
use crate::jobs::explain::ExplainError;
use crate::jobs::findings::FindingError;
use crate::jobs::invoices::InvoiceError;
use crate::jobs::schedule::ScheduleError;
use crate::jobs::settle::SettleError;
use crate::jobs::statements::StatementError;
use crate::store::{Offline, StoreError};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use utoipa::{IntoResponses, ToSchema};

/// The media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// After how many seconds a request may be sent again that met a fault which passes.
const RETRY_AFTER_SECONDS: u16 = 2;

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem, the same each time: `urn:apportion:problem:wrong-status`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    status: u16,
    /// What went wrong this time, where, and what to do next.
    detail: String,
    /// Facts of this kind of problem.
    #[serde(flatten)]
    #[schema(additional_properties)]
    facts: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:apportion:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            facts: Map::new(),
            headers: Vec::new(),
        }
    }

    /// With a fact of its kind.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Parameters or a body that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read", detail)
    }

    /// What was named is not there, or does not concern the key's party.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    pub fn unauthorized() -> Self {
        let detail = "send a key that holds: `Authorization: Bearer apk_...`; who runs the service makes them";
        let challenge = HeaderValue::from_static("Bearer realm=\"apportion\"");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No key that holds was sent", detail)
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    pub fn scope_missing(scope: Scope) -> Self {
        let detail = format!("this needs a key with the scope {scope}");
        Self::new(StatusCode::FORBIDDEN, "scope-missing", "The key may not do this", detail).fact("scope", scope.name())
    }

    pub fn not_for_partners() -> Self {
        let detail = "a key that is bound to a party sees the issued statements, invoices, credit notes, contracts and \
                      usage that concern it, and agrees to statements or disputes them; this is more";
        Self::new(StatusCode::FORBIDDEN, "not-for-partners", "The key may not do this", detail)
    }

    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        let title = "It changed since it was looked at";
        Self::new(StatusCode::PRECONDITION_FAILED, "changed", title, detail)
    }

    pub fn conflict(kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    pub fn unprocessable(kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, detail)
    }

    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail)
    }

    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        let title = "The body's content type is not read here";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title, detail)
    }

    pub fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "There is no such representation", detail)
    }

    /// A body that did not come in time.
    pub fn not_received(limit: Duration) -> Self {
        let detail = format!("the body has to be here within {} s; send the request again", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "not-received", "The request did not come in time", detail)
    }

    pub fn too_slow() -> Self {
        let detail = "it took longer than http.read_timeout_seconds allows; ask for less (a shorter span, or one \
                      deployment, product or contract), or send it again";
        Self::later("too-slow", "The read took too long", detail)
    }

    fn later(kind: &str, title: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail).header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Others hold what a write needs.
    pub fn busy() -> Self {
        let detail = "others hold what this needs for longer than http.turn_timeout_seconds allows; nothing was done: \
                      send the request again";
        Self::later("busy", "Others are at work on it", detail)
    }

    /// More usage comes in than is written.
    pub fn too_many() -> Self {
        let detail = "more usage comes in than can be written now; nothing was done: send the request again";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests at once", detail)
            .header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// The service ends before the request does.
    pub fn ending() -> Self {
        let detail = "the service ends, and what was not committed is undone; send the request again, a write with \
                      the Idempotency-Key that it had";
        Self::later("ending", "The service ends", detail)
    }

    /// A fault on our side; its cause goes to the log, not to the caller.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request failed");
        let detail = "this is our fault; the log of the service tells why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The service failed", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_out_of_range() {
            return Self::bad_request("an instant or a number lies beyond what can be stored");
        }
        if error.is_timeout() {
            return Self::too_slow();
        }
        if error.is_lock_timeout() {
            return Self::busy();
        }
        if let StoreError::Offline(Offline { which }) = error {
            let detail = format!("{which}; whoever runs the service brings them back by `apportion archive restore`");
            return Self::conflict("archived", "What it needs is archived", detail);
        }
        if !error.is_transient() {
            return Self::internal(&error);
        }
        tracing::warn!(%error, "a request met a fault that passes");
        let detail = "the database cannot be asked now; send the request again";
        Self::later("unavailable", "The service is not available", detail)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<ContractsError> for Problem {
    fn from(error: ContractsError) -> Self {
        match error {
            ContractsError::Store(error) => error.into(),
            // Requests load no folders: what is stored cannot be read.
            error => Self::internal(&error),
        }
    }
}

impl From<StatementError> for Problem {
    fn from(error: StatementError) -> Self {
        let detail = error.to_string();
        match error {
            StatementError::Unknown { .. } => Self::not_found(detail),
            StatementError::WrongStatus { id, status, .. } => {
                let title = "The statement's status does not allow it";
                let steps: Vec<String> =
                    status.next_steps().map(|step| format!("POST /api/v1/statements/{id}/{step}")).collect();
                let detail = if steps.is_empty() { detail } else { format!("{detail}; next: {}", steps.join(" or ")) };
                Self::conflict("wrong-status", title, detail).fact("statement_status", status.name())
            }
            StatementError::Changed { tag, .. } => Self::precondition_failed(detail).fact("etag", tag),
            StatementError::OwnDraft { .. } => {
                Self::conflict("own-draft", "The maker of a draft may not approve it", detail)
            }
            StatementError::Unresolved { events, .. } => {
                let title = "Usage of the period is not resolved";
                let detail = format!("{detail}; GET /api/v1/usage/unresolved lists it");
                Self::conflict("unresolved-usage", title, detail).fact("events", events)
            }
            StatementError::NotEnded { .. } => Self::conflict("not-ended", "The period had not ended", detail),
            StatementError::Document(error) => Self::internal(&error),
            StatementError::Store(error) => error.into(),
        }
    }
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        let detail = error.to_string();
        match error {
            SettleError::Settlement(SettlementError::UnknownContract { .. }) => Self::not_found(detail),
            SettleError::CutoffInFuture { .. } | SettleError::CutoffBeforeLast { .. } => {
                Self::conflict("wrong-cutoff", "The cutoff does not fit", detail)
            }
            SettleError::NotLoadedYet { .. } => {
                Self::conflict("not-loaded-yet", "The contract was not known by then", detail)
            }
            SettleError::PeriodNotEnded { .. } => Self::conflict("not-ended", "The period has not ended", detail),
            SettleError::Approved { .. } => {
                Self::conflict("approved", "Somebody approved what would be drafted anew", detail)
            }
            SettleError::Settlement(
                SettlementError::NoSuchPeriod { .. }
                | SettlementError::BeforeContract { .. }
                | SettlementError::BeforeBooks { .. },
            ) => Self::unprocessable("wrong-period", "The contract has no such period to settle", detail),
            SettleError::Settlement(SettlementError::Engine(EngineError::MissingPrices { missing })) => {
                let missing: Vec<Value> = missing.iter().map(|it| json!(it)).collect();
                Self::conflict("cannot-settle", "Something has to come first", detail).fact("missing_prices", missing)
            }
            SettleError::Settlement(_) => Self::conflict("cannot-settle", "Something has to come first", detail),
            SettleError::Contracts(error) => error.into(),
            SettleError::Document(error) => Self::internal(&error),
            SettleError::Store(error) => error.into(),
        }
    }
}

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::Statement(error) => error.into(),
            ExplainError::Settle(error) => error.into(),
        }
    }
}

impl From<InvoiceError> for Problem {
    fn from(error: InvoiceError) -> Self {
        let detail = error.to_string();
        match error {
            InvoiceError::UnknownStatement { .. } | InvoiceError::Unknown { .. } => Self::not_found(detail),
            InvoiceError::NotIssued { id, .. } => {
                let detail = format!("{detail}: POST /api/v1/statements/{id}/issue");
                Self::conflict("not-issued", "The statement is not issued", detail)
            }
            InvoiceError::EarlierFirst { earlier, .. } => {
                let detail = format!("{detail}: POST /api/v1/statements/{earlier}/invoices");
                Self::conflict("earlier-first", "An earlier statement comes first", detail).fact("statement", earlier)
            }
            InvoiceError::Drawing { .. } => Self::conflict("cannot-draw", "The document cannot be drawn", detail),
            InvoiceError::Document(error) => Self::internal(&error),
            InvoiceError::Store(error) => error.into(),
        }
    }
}

impl From<FindingError> for Problem {
    fn from(error: FindingError) -> Self {
        let detail = error.to_string();
        match error {
            FindingError::NotKnownYet { .. } => Self::conflict("not-known-yet", "The instant lies ahead", detail),
            FindingError::Unknown { .. } => Self::not_found(detail),
            FindingError::Decided { .. } => Self::conflict("decided", "All of it is decided on", detail),
            FindingError::Ended { .. } => Self::conflict("ended", "It breaks the right no more", detail),
            FindingError::NotDouble { .. } => Self::conflict("ended", "It is a double report no more", detail),
            FindingError::Contract(error) => error.into(),
            FindingError::Contracts(error) => error.into(),
            FindingError::Store(error) => error.into(),
        }
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Running { .. } => {
                Self::conflict("in-progress", "The request is being worked on", error.to_string())
            }
            ScheduleError::Contracts(error) => error.into(),
            ScheduleError::Store(error) => error.into(),
        }
    }
}

/// What every route may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum Problems {
    #[response(status = 400, description = "Parameters, headers or a body that cannot be read", content_type = CONTENT_TYPE)]
    BadRequest(#[to_schema] Problem),
    #[response(status = 401, description = "No key that holds", content_type = CONTENT_TYPE)]
    Unauthorized(#[to_schema] Problem),
    #[response(status = 403, description = "The key may not do this", content_type = CONTENT_TYPE)]
    Forbidden(#[to_schema] Problem),
    #[response(status = 404, description = "No such thing, or it does not concern the key's party", content_type = CONTENT_TYPE)]
    NotFound(#[to_schema] Problem),
    #[response(status = 406, description = "No such representation", content_type = CONTENT_TYPE)]
    NotAcceptable(#[to_schema] Problem),
    #[response(status = 503, description = "The database cannot be asked now, or not for so much at once; others hold what a write needs; the service ends", content_type = CONTENT_TYPE, headers(("Retry-After" = u16, description = "After how many seconds to send the request again")))]
    Unavailable(#[to_schema] Problem),
}

/// What every route that writes may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum WriteProblems {
    #[response(status = 408, description = "The body did not come in time", content_type = CONTENT_TYPE)]
    NotReceived(#[to_schema] Problem),
    #[response(status = 409, description = "What stands does not allow it", content_type = CONTENT_TYPE)]
    Conflict(#[to_schema] Problem),
    #[response(status = 413, description = "The body is too large", content_type = CONTENT_TYPE)]
    TooLarge(#[to_schema] Problem),
    #[response(status = 415, description = "The body's content type is not read here", content_type = CONTENT_TYPE)]
    UnsupportedMediaType(#[to_schema] Problem),
    #[response(status = 422, description = "The body can be read and cannot be taken", content_type = CONTENT_TYPE)]
    Unprocessable(#[to_schema] Problem),
}

/// What a route that takes in usage may answer instead, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum BusyProblem {
    #[response(status = 429, description = "More usage comes in than can be written now", content_type = CONTENT_TYPE, headers(("Retry-After" = u16, description = "After how many seconds to send the request again")))]
    TooMany(#[to_schema] Problem),
}

/// What a route that takes `If-Match` may answer instead, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum ChangedProblem {
    #[response(status = 412, description = "It changed since it was looked at", content_type = CONTENT_TYPE)]
    Changed(#[to_schema] Problem),
}

/// What a route that typesets may answer instead, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum TypesetProblem {
    #[response(status = 422, description = "The document cannot be typeset", content_type = CONTENT_TYPE)]
    NotTypeset(#[to_schema] Problem),
}

/// What a route that reads as known at an instant may answer instead, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum ConflictProblem {
    #[response(status = 409, description = "The instant lies ahead, or before the contract was loaded", content_type = CONTENT_TYPE)]
    Conflict(#[to_schema] Problem),
}

/// What a route that runs a contract, and books nothing, may answer instead, too.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made of problems")]
pub enum RunProblems {
    #[response(status = 409, description = "Something has to come first: a price, a rate, a figure; or the instant lies ahead", content_type = CONTENT_TYPE)]
    Conflict(#[to_schema] Problem),
    #[response(status = 422, description = "The contract has no such period", content_type = CONTENT_TYPE)]
    Unprocessable(#[to_schema] Problem),
}

pub async fn no_route() -> Problem {
    Problem::not_found("there is no such path; /api/v1/openapi.json describes those there are")
}

pub async fn no_method() -> Problem {
    let title = "The path does not know this method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title, "the Allow header names those it knows")
}
