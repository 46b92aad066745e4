//! Exgentic's agent traces: flattened OpenTelemetry GenAI client spans as JSON lines, a request a span.
//!
//! A span occurs when it starts; some of the times name no zone. Its `span_id` identifies it. A `response_id`
//! does not: five of them come twice, as a cache gave an answer again, and each such request was made and is
//! counted; failed requests have none. What stands out of order is reported so.

use super::{LocalTimes, ReplayError, Row, json, read_lines};
use crate::domain::usage::{Meter, RequestOutcome};
use serde::Deserialize;

#[derive(Deserialize)]
struct Span {
    span_id: String,
    start_time_iso: String,
    response_model: String,
    /// All input; the trace does not say what of it a cache held.
    input_tokens: u64,
    output_tokens: u64,
    is_error: bool,
}

pub(super) fn rows(times: LocalTimes, text: &str) -> Result<Vec<Row>, ReplayError> {
    read_lines(text.lines(), |_, line| {
        let span: Span = json(line)?;
        Ok(Row {
            occurred_at: times.instant(&span.start_time_iso, "%Y-%m-%dT%H:%M:%S%.f")?,
            id: span.span_id,
            model: Some(span.response_model),
            outcome: Some(if span.is_error { RequestOutcome::Error } else { RequestOutcome::Ok }),
            quantities: vec![
                (Meter::InputTokens, span.input_tokens),
                (Meter::OutputTokens, span.output_tokens),
                (Meter::Requests, 1),
            ],
        })
    })
}
