//! `/v1/traces`: OpenTelemetry's GenAI spans as a collector sends them, through the same writer as Kafka's.

use super::intake::{Intake, store};
use crate::http::HttpState;
use crate::http::auth::Ingester;
use crate::http::idempotency::Write;
use crate::http::input::{Body, header_text, unpacked};
use crate::http::problem::{BusyProblem, CONTENT_TYPE as PROBLEM, Problem, Problems, WriteProblems};
use crate::http::schema::Binary;
use crate::ingest::writer::Written;
use crate::sources::{Format, Reader, SHAPE_CONTENT_TYPE};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::openapi::{Content, Ref, RefOr, response};
use utoipa::{IntoResponses, ToSchema};

const PATH: &str = "/v1/traces";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// What became of the spans of a request: OpenTelemetry's `ExportTraceServiceResponse`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesTaken {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    partial_success: Option<PartialSuccess>,
}

/// Spans that were rejected, and kept; the others were taken in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartialSuccess {
    /// How many: a number as a text, as protobuf's JSON has it.
    rejected_spans: String,
    /// Why the first of them was.
    error_message: String,
}

/// What went wrong: OpenTelemetry's `Status`, of which its clients read the message alone.
#[derive(Serialize, ToSchema)]
pub struct OtlpStatus {
    message: String,
}

/// What may be answered instead: what other routes answer that take in usage, as [`tell_by_status`] tells it.
struct StatusProblems;

impl IntoResponses for StatusProblems {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let mut problems = Problems::responses();
        problems.extend(WriteProblems::responses());
        problems.extend(BusyProblem::responses());
        // Nothing is looked for, nor is there a choice of answers; and who is late is told so by another code.
        for never in ["404", "406", "408"] {
            problems.remove(never);
        }
        let told = |media_type: &str, schema| (media_type.to_owned(), RefOr::T(Content::new(Some(schema))));
        for (code, problem) in &mut problems {
            let RefOr::T(problem) = problem else { continue };
            if code == "503" {
                problem.description.push_str("; the body did not come in time");
            }
            let (status, bytes) = (Ref::from_schema_name(OtlpStatus::name()), Ref::from_schema_name(Binary::name()));
            problem.content = [told(JSON, status), told(PROTOBUF, bytes)].into_iter().collect();
        }
        problems
    }
}

/// What is told of a problem.
#[derive(Deserialize)]
struct Told {
    title: String,
    detail: String,
}

/// Send spans
///
/// OTLP over HTTP: an `ExportTraceServiceRequest` as JSON or protobuf, perhaps packed with gzip or deflate. Spans of a
/// model's call become usage, and others are passed over. It is stored when the answer comes; sent again, each span is
/// a known duplicate. The spans that are rejected are kept, and named in the answer's `partialSuccess`. What is refused
/// as a whole is answered by a `Status`, in the format of the request.
#[utoipa::path(
    post, path = "/v1/traces", tag = "usage", security(("key" = ["ingest"])), params(super::WriteHeaders),
    request_body(description = "An ExportTraceServiceRequest", content(
        (Object = "application/json"), (Binary = "application/x-protobuf"))),
    responses(
        (status = 200, description = "Taken in, but for what `partialSuccess` names", content(
            (TracesTaken = "application/json"), (Binary = "application/x-protobuf"))),
        StatusProblems),
)]
pub async fn send_spans(
    Ingester(caller): Ingester,
    State(state): State<HttpState>,
    intake: Intake,
    headers: HeaderMap,
    write: Write,
    Body(body): Body,
) -> Result<Response, Problem> {
    let format = format(&headers)?;
    let body = unpacked(&headers, &body)?;
    let reader = Reader { format, ..state.readers.traces.clone() };
    let decoded = reader.read(&[], Some(&body), None);
    store(&state, intake, &caller, write, decoded, |written| answer(written, format)).await
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let content_type = header_text(headers, &header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    match content_type {
        _ if content_type.eq_ignore_ascii_case(JSON) => Ok(Format::OtlpJson),
        _ if content_type.eq_ignore_ascii_case(PROTOBUF) => Ok(Format::OtlpProtobuf),
        _ => Err(Problem::unsupported_media_type(format!("Content-Type: send {PROTOBUF} or {JSON}"))),
    }
}

/// Answers a problem of this path as OTLP has it.
pub async fn tell_by_status(request: Request, next: Next) -> Response {
    if request.uri().path() != PATH {
        return next.run(request).await;
    }
    let format = format(request.headers()).unwrap_or(Format::OtlpJson);
    let response = next.run(request).await;
    if response.headers().get(header::CONTENT_TYPE).is_none_or(|it| it != PROBLEM) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let told = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let message = serde_json::from_slice(&told).map(|Told { title, detail }| format!("{title}: {detail}"));
    let status = OtlpStatus { message: message.unwrap_or_default() };
    // An exporter drops what is answered 408, and sends again what is answered 503.
    if parts.status == StatusCode::REQUEST_TIMEOUT {
        parts.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    for of_the_problem in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(of_the_problem);
    }
    let (status_code, headers) = (parts.status, parts.headers);
    match format {
        Format::OtlpProtobuf => {
            (status_code, headers, [(header::CONTENT_TYPE, PROTOBUF)], status.protobuf()).into_response()
        }
        _ => (status_code, headers, axum::Json(status)).into_response(),
    }
}

/// Says what was rejected, in the format of the request. A body that is no request at all is to be sent to nobody again.
fn answer(written: &Written, format: Format) -> Response {
    let rejected = written.rejections.len();
    let partial_success = match written.rejections.first() {
        Some(whole) if whole.content_type == SHAPE_CONTENT_TYPE => {
            return Problem::bad_request(format!("{}: {}", whole.reason, whole.detail)).into_response();
        }
        Some(first) => Some(PartialSuccess {
            rejected_spans: rejected.to_string(),
            error_message: format!("{}: {}: {}", first.position, first.reason, first.detail),
        }),
        None => None,
    };
    let taken = TracesTaken { partial_success };
    match format {
        Format::OtlpProtobuf => ([(header::CONTENT_TYPE, PROTOBUF)], taken.protobuf(rejected)).into_response(),
        _ => axum::Json(taken).into_response(),
    }
}

impl TracesTaken {
    /// As protobuf: field 1 is the partial success, of which 1 is a number, and 2 a text.
    fn protobuf(&self, rejected: usize) -> Vec<u8> {
        let Some(PartialSuccess { error_message, .. }) = &self.partial_success else { return Vec::new() };
        let mut inner = vec![0x08];
        put_varint(&mut inner, rejected);
        put_bytes(&mut inner, 0x12, error_message.as_bytes());
        let mut outer = Vec::new();
        put_bytes(&mut outer, 0x0a, &inner);
        outer
    }
}

impl OtlpStatus {
    /// As protobuf: field 2 is the message; field 1, a code, may be left out.
    fn protobuf(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, 0x12, self.message.as_bytes());
        bytes
    }
}

/// A field whose value has a length: a text, or a message.
fn put_bytes(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    put_varint(bytes, value.len());
    bytes.extend_from_slice(value);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f | 0x80).unwrap_or(u8::MAX));
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(u8::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_written_as_protobuf_has_it() {
        let partial = |text: &str| {
            let told = PartialSuccess { rejected_spans: "300".into(), error_message: text.into() };
            TracesTaken { partial_success: Some(told) }.protobuf(300)
        };
        assert_eq!(partial("no"), b"\x0a\x07\x08\xac\x02\x12\x02no");
        assert!(partial(&"x".repeat(200)).starts_with(b"\x0a\xce\x01\x08\xac\x02\x12\xc8\x01xx"));
        assert!(TracesTaken { partial_success: None }.protobuf(0).is_empty());
    }
}
