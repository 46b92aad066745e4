//! OpenAI Responses: a reply's `usage`, also inside the event that ends its stream.
//!
//! What includes what: `input_tokens` includes `cached_tokens` and `cache_write_tokens`; `output_tokens` includes
//! `reasoning_tokens`; `total_tokens` is both. How long a cache keeps what is written is not told.

use super::node::{Field, Keep};
use super::openai_chat::{INPUT_DETAILS, OUTPUT_DETAILS, add_input, add_output};
use super::record::{Epoch, Record, Tally, lower};
use super::source::{Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::RequestOutcome;

const REPLY: &[Field] = &[
    ("id", Keep::Name),
    ("status", Keep::Word),
    ("created_at", Keep::Time),
    ("model", Keep::Name),
    ("service_tier", Keep::Word),
    ("usage", Keep::Object(USAGE)),
    // Those of a stream's event.
    ("type", Keep::Word),
    ("response", Keep::Object(INNER)),
];

const INNER: &[Field] = &[
    ("id", Keep::Name),
    ("status", Keep::Word),
    ("created_at", Keep::Time),
    ("model", Keep::Name),
    ("service_tier", Keep::Word),
    ("usage", Keep::Object(USAGE)),
];

const USAGE: &[Field] = &[
    ("input_tokens", Keep::Number),
    ("input_tokens_details", Keep::Object(INPUT_DETAILS)),
    ("output_tokens", Keep::Number),
    ("output_tokens_details", Keep::Object(OUTPUT_DETAILS)),
    ("total_tokens", Keep::Number),
];

pub(super) const SOURCE: Source =
    Source { keep: &Keep::Object(REPLY), folds: false, rules: "openai_responses/1", open: open_json, read };

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    let ended = ["response.completed", "response.incomplete", "response.failed"];
    let reply = match record.text("type")? {
        None => record.clone(),
        Some(kind) if ended.contains(&kind) => record.part("response"),
        Some(_) => return Ok(Reading::NoUsage(NoUsage::StreamPart)),
    };
    let outcome = match reply.text("status")? {
        Some("queued" | "in_progress") => return Ok(Reading::NoUsage(NoUsage::StreamPart)),
        Some("failed") => RequestOutcome::Error,
        _ => RequestOutcome::Ok,
    };
    let usage = reply.part("usage");
    let tally = match (usage.is_there(), outcome) {
        (true, _) => tally(&usage)?,
        (false, RequestOutcome::Error) => Tally::of_request(&[]),
        (false, RequestOutcome::Ok) => return Err(reply.fault(Reason::MissingField, "usage", "missing")),
    };
    Ok(Reading::usage(Draft {
        response_id: reply.text("id")?.map(str::to_owned),
        occurred_at: reply.epoch("created_at", Epoch::Seconds)?,
        product: reply.text("model")?.map(str::to_owned),
        service_tier: reply.text("service_tier")?.map(|tier| lower(tier).into_owned()),
        outcome: Some(outcome),
        quantities: tally.into_quantities(),
        ..Draft::default()
    }))
}

fn tally(usage: &Record<'_>) -> Result<Tally, Fault> {
    let (input, output) = (usage.need_count("input_tokens")?, usage.need_count("output_tokens")?);
    usage.check_total("total_tokens", &[("input_tokens", input), ("output_tokens", output)])?;
    let mut tally = Tally::of_request(&[]);
    add_input(&mut tally, usage, ("input_tokens", input), "input_tokens_details")?;
    add_output(&mut tally, usage, ("output_tokens", output), "output_tokens_details")?;
    Ok(tally)
}
