//! Weka's traces of coding sessions: JSON lines, a request a line.
//!
//! `request_arrival_delta_s` is in seconds from the session's start; every session is taken to begin at the
//! same instant. A request is identified by its session and its turn. The trace does not say what of the input
//! a cache held: all of it is `input_tokens`.

use super::{ReplayError, Row, after, json, read_lines};
use crate::domain::period::Instant;
use crate::domain::usage::Meter;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request {
    session_id: String,
    turn_index: u64,
    model_id: String,
    /// As written, so that no time goes through a float.
    request_arrival_delta_s: Box<RawValue>,
    input_tokens: u64,
    output_tokens: u64,
}

pub(super) fn rows(start: Instant, text: &str) -> Result<Vec<Row>, ReplayError> {
    read_lines(text.lines(), |_, line| {
        let request: Request = json(line)?;
        let micros = micros(request.request_arrival_delta_s.get()).ok_or("its time is no number of seconds")?;
        Ok(Row {
            id: format!("{}/{}", request.session_id, request.turn_index),
            model: Some(request.model_id),
            occurred_at: after(start, micros)?,
            outcome: None,
            quantities: vec![
                (Meter::InputTokens, request.input_tokens),
                (Meter::OutputTokens, request.output_tokens),
                (Meter::Requests, 1),
            ],
        })
    })
}

/// Finer digits are cut.
fn micros(seconds: &str) -> Option<u64> {
    Decimal::from_str_exact(seconds).ok()?.checked_mul(Decimal::from(1_000_000))?.to_u64()
}
