//! Mooncake's conversation trace (FAST '25): JSON lines, a request a line, in the order of arrival.
//!
//! `timestamp` is in milliseconds from the start. `hash_ids` name the prompt's blocks of 512 tokens, so that
//! the cache can be replayed too: of an unbounded one, shared by all requests of the file, a request reads the
//! blocks at its front that an earlier request had. Those tokens are `cached_input_tokens`, not `input_tokens`.

use super::{ReplayError, Row, after, json, read_lines};
use crate::domain::period::Instant;
use crate::domain::usage::Meter;
use serde::Deserialize;
use std::collections::HashSet;

const BLOCK_TOKENS: u64 = 512;

#[derive(Deserialize)]
struct Request {
    timestamp: u64,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
}

pub(super) fn rows(stem: &str, start: Instant, text: &str) -> Result<Vec<Row>, ReplayError> {
    let mut cache = HashSet::new();
    read_lines(text.lines(), |number, line| {
        let request: Request = json(line)?;
        let hits = request.hash_ids.iter().take_while(|block| cache.contains(*block)).count();
        let cached = u64::try_from(hits).unwrap_or(u64::MAX).saturating_mul(BLOCK_TOKENS);
        // The last block need not be full.
        let cached = cached.min(request.input_length);
        cache.extend(request.hash_ids);
        Ok(Row {
            id: format!("{stem}-{number:06}"),
            model: None,
            occurred_at: after(start, request.timestamp.saturating_mul(1_000))?,
            outcome: None,
            quantities: vec![
                (Meter::InputTokens, request.input_length.saturating_sub(cached)),
                (Meter::CachedInputTokens, cached),
                (Meter::OutputTokens, request.output_length),
                (Meter::Requests, 1),
            ],
        })
    })
}
