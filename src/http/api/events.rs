//! `/events`: usage that is sent here, through the same writer as Kafka's.

use crate::http::HttpState;
use crate::http::auth::Ingester;
use crate::http::idempotency::Write;
use crate::http::input::Body;
use crate::http::limits;
use crate::http::problem::{Problem, Problems, WriteProblems};
use crate::ingest::batch::{Message, Position};
use crate::ingest::writer::Written;
use crate::sources::cloudevents::{self, decode_structured};
use crate::store::limit_lock_wait;
use crate::store::usage_rows::{Intake, RejectionRow};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// The media type of several events at once, a JSON array of structured ones.
const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// The most events of one request.
const MAX_EVENTS: usize = 10_000;

/// What became of the events of a request.
#[derive(Serialize, ToSchema)]
pub struct EventsTaken {
    messages: u64,
    /// Those that any event had, with how many.
    outcomes: BTreeMap<&'static str, u64>,
}

/// Send usage
///
/// One CloudEvent, or a batch of them, at most 10,000. It is stored when the answer comes; sent again, each event is
/// a known duplicate. Where some are rejected the answer is 422: the others are taken in, so that all may be sent
/// again once those are mended.
///
/// The data of a usage event names its `deployment`, its `product` and its `quantities` by meter, and may name its
/// `customer`, `service_tier` and `outcome`; the `attributes` that agreements select by (`buyer`, `buyer_class`,
/// `country`, `label`); and, where it is a record of an interval that began at its `time`, when that `ended_at`.
/// A correction (`apportion.usage.correction.v1`) restates any of these of the event that it `corrects`, attribute by
/// attribute, and `occurred_at`; a void (`apportion.usage.void.v1`) removes what it `voids`.
#[utoipa::path(
    post, path = "/api/v1/events", tag = "usage", security(("key" = ["ingest"])), params(super::WriteHeaders),
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
        (Vec<Object> = "application/cloudevents-batch+json"))),
    responses((status = 200, description = "What became of each", body = EventsTaken), Problems, WriteProblems),
)]
pub async fn send(
    Ingester(caller): Ingester,
    State(state): State<HttpState>,
    headers: HeaderMap,
    write: Write,
    Body(body): Body,
) -> Result<Response, Problem> {
    let events = split(&headers, &body)?;
    let name: Arc<str> = format!("key {}", caller.key_id).into();
    let mut writer = limits::turn(&state, state.writer().await?.lock()).await?;
    let message = |(place, event): (u64, &[u8])| {
        writer.message(Position::Request { name: Arc::clone(&name), place }, decode_structured(event))
    };
    let messages: Vec<Message> = (1..).zip(events).map(message).collect();
    // As what comes from Kafka: it waits for no lock that writes hold among themselves, nor for their connections.
    let mut writing = write.begin_in(&state.pool).await?;
    limit_lock_wait(&mut writing, state.limits.turn).await?;
    let batch = writer.write_on(&mut writing, &messages, None, Intake::Http).await?;
    let answer = writing.end(answer(&batch.written)).await?;
    writer.committed(batch);
    Ok(answer)
}

/// What became of the events of a request. Where some were rejected this is a problem, which is kept like any answer:
/// the others were taken in.
fn answer(written: &Written) -> Response {
    let nonzero = written.counts.iter().filter(|(_, count)| *count > 0);
    let outcomes = nonzero.map(|(outcome, count)| (outcome.name(), count)).collect();
    let taken = EventsTaken { messages: written.counts.messages(), outcomes };
    if written.rejections.is_empty() {
        return Json(taken).into_response();
    }
    let told = |row: &RejectionRow| json!({"position": row.position, "reason": row.reason, "detail": row.detail});
    let rejections: Vec<Value> = written.rejections.iter().map(told).collect();
    let detail = "the rejected events are kept, and the others are taken in; mend the former and send them again";
    Problem::unprocessable("events-rejected", "Events were rejected", detail)
        .fact("outcomes", json!(taken.outcomes))
        .fact("rejections", rejections)
        .into_response()
}

/// The events of a body: one, or those of a batch.
fn split<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<Vec<&'a [u8]>, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        cloudevents::CONTENT_TYPE => Ok(vec![body]),
        BATCH_CONTENT_TYPE => {
            let fail = |error| Problem::bad_request(format!("a batch is a JSON array of events: {error}"));
            let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(fail)?;
            if events.len() > MAX_EVENTS {
                let detail = format!("{} events; a batch has at most {MAX_EVENTS}", events.len());
                return Err(Problem::too_large(detail));
            }
            Ok(events.into_iter().map(|event| event.get().as_bytes()).collect())
        }
        _ => {
            let detail = format!("Content-Type: send {} or {BATCH_CONTENT_TYPE}", cloudevents::CONTENT_TYPE);
            Err(Problem::unsupported_media_type(detail))
        }
    }
}
