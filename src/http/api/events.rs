//! `/events`: usage that is sent here as CloudEvents, ours or OpenMeter's, through the same writer as Kafka's.

use super::intake::{Intake, store};
use crate::http::HttpState;
use crate::http::auth::Ingester;
use crate::http::idempotency::Write;
use crate::http::input::{Body, header_text, unpacked};
use crate::http::problem::{BusyProblem, Problem, Problems, WriteProblems};
use crate::ingest::writer::Written;
use crate::sources::{Decoded, cloudevents};
use crate::store::usage_rows::RejectionRow;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{SubsecRound as _, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The media type of several events at once, a JSON array of structured ones.
const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// How OpenMeter's clients name one event or several, too; with `ce-` headers it is the data of one.
const JSON: &str = "application/json";

/// The most events of one request.
const MAX_EVENTS: usize = 10_000;

/// What callers ask for who want an answer with a body (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");
const REPRESENTATION: &str = "return=representation";

/// What became of the events of a request.
#[derive(Serialize, ToSchema)]
pub struct EventsTaken {
    messages: u64,
    /// Those that any event had, with how many.
    outcomes: BTreeMap<&'static str, u64>,
}

/// The header of those who want to know what became of what they sent.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers; they are read where they are used")]
struct PreferHeader {
    /// `return=representation` asks what became of the events; without it the answer has no body.
    #[param(rename = "Prefer")]
    prefer: Option<String>,
}

/// Send usage
///
/// One CloudEvent, or a batch of them, at most 10,000, perhaps packed with gzip or deflate. Each is recorded when the
/// answer comes; sent again, it is a known duplicate. One that says something else under an id that is taken is a
/// conflict: it is kept, never counted, and no error of the request, as sending it again would mend nothing; ask for the
/// outcomes (`Prefer: return=representation`), or list `/api/v1/usage/conflicts`. Where some are rejected the answer is
/// 422: the others are taken in, so that all may be sent again once those are mended.
///
/// The data of a usage event names its `deployment`, its `product` and its `quantities` by meter, and may name its
/// `customer`, `service_tier` and `outcome`; the `attributes` that agreements select by (`buyer`, `buyer_class`,
/// `country`, `label`); and, where it is a record of an interval that began at its `time`, when that `ended_at`.
/// Its `reply_id`, the id that the provider gave the reply, or one of the request that all who report it share, is no part
/// of what it reports: where events of other ids tell the same one, that is a finding.
/// A correction (`apportion.usage.correction.v1`) restates any of these of the event that it `corrects`, attribute by
/// attribute, and `occurred_at`; a void (`apportion.usage.void.v1`) removes what it `voids`.
///
/// An event of any other type that does not begin with `apportion.` is OpenMeter's: its data has counts of tokens, the
/// `model` and its `provider`, and its `subject` is the customer; one without a `time` occurred when it first came. So
/// clients of OpenMeter send it here as they do there.
#[utoipa::path(
    post, path = "/api/v1/events", tag = "usage", security(("key" = ["ingest"])),
    params(super::WriteHeaders, PreferHeader),
    request_body(description = "CloudEvents 1.0 with usage as their data", content(
        (Object = "application/cloudevents+json", example = json!({
            "specversion": "1.0", "type": "apportion.usage.v1", "source": "openai-direct", "id": "req-1",
            "time": "2026-05-03T17:00:00Z",
            "data": {
                "deployment": "openai-direct", "product": "gpt-5.5", "customer": "c-17", "service_tier": "default",
                "outcome": "ok", "attributes": {"country": "CH"},
                "quantities": {"input_tokens": 1200, "output_tokens": 80, "requests": 1},
            },
        })),
        (Vec<Object> = "application/cloudevents-batch+json"),
        (Value = "application/json"))),
    responses(
        (status = 204, description = "None was rejected: each is stored, a known duplicate, or a conflict that is kept and not counted"),
        (status = 200, description = "None was rejected; how many had which outcome, where that was asked for", body = EventsTaken),
        Problems, WriteProblems, BusyProblem),
)]
pub async fn send(
    Ingester(caller): Ingester,
    State(state): State<HttpState>,
    intake: Intake,
    headers: HeaderMap,
    write: Write,
    Body(body): Body,
) -> Result<Response, Problem> {
    let decoded = read(&state, &headers, &unpacked(&headers, &body)?)?;
    let asked =
        headers.get_all(PREFER).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(REPRESENTATION.as_bytes()));
    store(&state, intake, &caller, write, decoded, |written| answer(written, asked)).await
}

/// What became of the events of a request. Where some were rejected this is a problem, which is kept like any answer:
/// the others were taken in.
fn answer(written: &Written, asked: bool) -> Response {
    let nonzero = written.counts.iter().filter(|(_, count)| *count > 0);
    let outcomes = nonzero.map(|(outcome, count)| (outcome.name(), count)).collect();
    let taken = EventsTaken { messages: written.counts.messages(), outcomes };
    if written.rejections.is_empty() {
        return match asked {
            true => Json(taken).into_response(),
            false => StatusCode::NO_CONTENT.into_response(),
        };
    }
    let told = |row: &RejectionRow| json!({"position": row.position, "reason": row.reason, "detail": row.detail});
    let rejections: Vec<Value> = written.rejections.iter().map(told).collect();
    let detail = "the rejected events are kept, and the others are taken in; mend the former and send them again";
    Problem::unprocessable("events-rejected", "Events were rejected", detail)
        .fact("outcomes", json!(taken.outcomes))
        .fact("rejections", rejections)
        .into_response()
}

/// Reads a body: one event, those of a batch, or the data of the one that its headers describe.
fn read(state: &HttpState, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Decoded>, Problem> {
    let content_type =
        header_text(headers, &header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_list = || body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let events = match content_type.as_str() {
        JSON if headers.contains_key("ce-specversion") => return Ok(read_binary(headers, body)),
        cloudevents::CONTENT_TYPE => vec![body],
        BATCH_CONTENT_TYPE => split(body)?,
        JSON if is_list() => split(body)?,
        JSON => vec![body],
        _ => {
            let detail = format!("Content-Type: send {}, {BATCH_CONTENT_TYPE} or {JSON}", cloudevents::CONTENT_TYPE);
            return Err(Problem::unsupported_media_type(detail));
        }
    };
    let received_at = Utc::now().trunc_subsecs(6);
    Ok(events.into_iter().flat_map(|event| state.readers.events.read_event(event, received_at)).collect())
}

fn split(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let fail = |error| Problem::bad_request(format!("a batch is a JSON array of events: {error}"));
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(fail)?;
    if events.len() > MAX_EVENTS {
        let detail = format!("{} events; a batch has at most {MAX_EVENTS}", events.len());
        return Err(Problem::too_large(detail));
    }
    Ok(events.into_iter().map(|event| event.get().as_bytes()).collect())
}

/// An event in binary mode: its attributes are headers, with the signs of other languages encoded as in URLs.
fn read_binary(headers: &HeaderMap, body: &[u8]) -> Vec<Decoded> {
    let attribute = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix("ce-")?;
        Some((format!("ce_{name}"), percent_decoded(value.as_bytes())))
    };
    let attributes: Vec<(String, Vec<u8>)> = headers.iter().filter_map(attribute).collect();
    let mut named: Vec<(&str, &[u8])> =
        attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    named.push(("content-type", JSON.as_bytes()));
    vec![cloudevents::decode_message(&named, Some(body)).into()]
}

/// `%C3%BC` as the bytes that it stands for; a percent sign without two digits stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |sign: u8| char::from(sign).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        decoded.push(*byte);
        rest = after;
        if let (b'%', Some(([high, low], after))) = (byte, after.split_first_chunk())
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.pop();
            decoded.extend(u8::try_from(high * 16 + low));
            rest = after;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_stand_for_bytes() {
        for (text, expected) in
            [("a%20b", "a b"), ("M%C3%BCnchen", "München"), ("100%", "100%"), ("%zz%+1%4", "%zz%+1%4")]
        {
            assert_eq!(percent_decoded(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
