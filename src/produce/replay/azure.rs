//! The Azure LLM inference trace of 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`, a request a row.
//!
//! The lines end with CR LF, the last with nothing. Times name no zone and have seven fractional digits, of
//! which six are kept. ContextTokens are `input_tokens`, GeneratedTokens `output_tokens`.

use super::{LocalTimes, ReplayError, Row, read_lines};
use crate::domain::usage::Meter;

pub(super) const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

pub(super) fn rows(stem: &str, times: LocalTimes, text: &str) -> Result<Vec<Row>, ReplayError> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(ReplayError::WrongHeader);
    }
    read_lines(lines, |number, line| {
        let mut fields = line.split(',');
        let mut next = || fields.next().ok_or("it has fewer than three fields");
        let occurred_at = times.instant(next()?, "%Y-%m-%d %H:%M:%S%.f")?;
        let tokens = |text: &str| text.parse::<u64>().map_err(|_| "a token count is no whole number");
        let (input, output) = (tokens(next()?)?, tokens(next()?)?);
        if fields.next().is_some() {
            return Err("it has more than three fields");
        }
        Ok(Row {
            id: format!("{stem}-{number:06}"),
            model: None,
            occurred_at,
            outcome: None,
            quantities: vec![(Meter::InputTokens, input), (Meter::OutputTokens, output), (Meter::Requests, 1)],
        })
    })
}
