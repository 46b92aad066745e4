//! Anthropic Messages: a reply's `usage`.
//!
//! What includes what: `input_tokens` stands beside `cache_read_input_tokens` and `cache_creation_input_tokens`;
//! the latter is the sum of `cache_creation.ephemeral_5m_input_tokens` and `..1h..`, where they are given.
//! `output_tokens` includes thinking, which is not told apart. No total is stated. The standard tier is `default`.

use super::node::{Field, Keep};
use super::record::{Record, Tally, lower};
use super::source::{DEFAULT_TIER, Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

const USAGE: &[Field] = &[
    ("input_tokens", Keep::Number),
    ("cache_read_input_tokens", Keep::Number),
    ("cache_creation_input_tokens", Keep::Number),
    ("cache_creation", Keep::Object(LIFETIMES)),
    ("output_tokens", Keep::Number),
    ("server_tool_use", Keep::Object(&[("web_search_requests", Keep::Number), ("web_fetch_requests", Keep::Number)])),
    ("service_tier", Keep::Word),
];

pub(super) const LIFETIMES: &[Field] =
    &[("ephemeral_5m_input_tokens", Keep::Number), ("ephemeral_1h_input_tokens", Keep::Number)];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("id", Keep::Name),
        ("type", Keep::Word),
        ("model", Keep::Name),
        ("usage", Keep::Object(USAGE)),
    ]),
    folds: false,
    rules: "anthropic_messages/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    match record.text("type")? {
        Some("message") => (),
        // The events of a stream. Each states but a part; whoever collects them ends with a message.
        Some(kind) if kind.starts_with("message_") || kind.starts_with("content_block_") || kind == "ping" => {
            return Ok(Reading::NoUsage(NoUsage::StreamPart));
        }
        _ => return Err(record.fault(Reason::UnknownType, "type", "must be message")),
    }
    let usage = record.part("usage");
    if !usage.is_there() {
        return Err(record.missing("usage"));
    }
    let tier = usage.text("service_tier")?.map(lower);
    let tier = tier.map(|tier| if tier == "standard" { DEFAULT_TIER.to_owned() } else { tier.into_owned() });
    Ok(Reading::usage(Draft {
        response_id: record.text("id")?.map(str::to_owned),
        product: record.text("model")?.map(str::to_owned),
        service_tier: tier,
        outcome: Some(RequestOutcome::Ok),
        quantities: tally(&usage)?.into_quantities(),
        ..Draft::default()
    }))
}

/// The meters of a `usage` in these words.
fn tally(usage: &Record<'_>) -> Result<Tally, Fault> {
    let mut tally = Tally::of_request(&[
        (Meter::InputTokens, usage.need_count("input_tokens")?),
        (Meter::CachedInputTokens, usage.count_or_zero("cache_read_input_tokens")?),
        (Meter::OutputTokens, usage.need_count("output_tokens")?),
    ]);
    match lifetimes(usage)? {
        Some([short, long]) => {
            tally.add(Meter::CacheWrite5mTokens, short);
            tally.add(Meter::CacheWrite1hTokens, long);
        }
        None => tally.add(Meter::CacheWriteTokens, usage.count_or_zero("cache_creation_input_tokens")?),
    }
    let tools = usage.part("server_tool_use");
    tally.add(Meter::ToolCalls, tools.count_or_zero("web_search_requests")?);
    tally.add(Meter::ToolCalls, tools.count_or_zero("web_fetch_requests")?);
    Ok(tally)
}

/// What was written to a cache for five minutes and for an hour, where that is told.
pub(super) fn lifetimes(usage: &Record<'_>) -> Result<Option<[u64; 2]>, Fault> {
    let lifetimes = usage.part("cache_creation");
    if !lifetimes.is_there() {
        return Ok(None);
    }
    let short = lifetimes.count_or_zero("ephemeral_5m_input_tokens")?;
    let long = lifetimes.count_or_zero("ephemeral_1h_input_tokens")?;
    let parts = [("ephemeral_5m_input_tokens", short), ("ephemeral_1h_input_tokens", long)];
    usage.check_total("cache_creation_input_tokens", &parts)?;
    Ok(Some([short, long]))
}
