//! LiteLLM's StandardLoggingPayload: a call through its gateway, which knows the provider and whose key it was.
//!
//! What includes what: LiteLLM states every provider's usage in OpenAI's words: `prompt_tokens` includes what a
//! cache held (`cached_tokens`) and what was written to one (`cache_creation_tokens`, by lifetime in
//! `cache_creation_token_details`); `completion_tokens` includes reasoning; the total is both. The same counts
//! stand on top and in `usage_object`, and under older names beside newer ones; they must agree. An answer from
//! LiteLLM's own cache used nothing. `id` is the reply's; the call's is `litellm_call_id`.

use super::node::{Field, Keep};
use super::openai_chat::{OUTPUT_DETAILS, add_kinds, add_output};
use super::record::{Epoch, Record, Tally, lower};
use super::source::{Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

const LIFETIMES: &[Field] = &[("ephemeral_5m_input_tokens", Keep::Number), ("ephemeral_1h_input_tokens", Keep::Number)];

const DETAILS: &[Field] = &[
    ("cached_tokens", Keep::Number),
    ("cache_creation_tokens", Keep::Number),
    ("cache_creation_token_details", Keep::Object(LIFETIMES)),
    ("text_tokens", Keep::Number),
    ("audio_tokens", Keep::Number),
    ("image_tokens", Keep::Number),
];

const USAGE: &[Field] = &[
    ("prompt_tokens", Keep::Number),
    ("completion_tokens", Keep::Number),
    ("total_tokens", Keep::Number),
    ("cache_read_input_tokens", Keep::Number),
    ("cache_creation_input_tokens", Keep::Number),
    ("prompt_tokens_details", Keep::Object(DETAILS)),
    ("completion_tokens_details", Keep::Object(OUTPUT_DETAILS)),
];

const METADATA: &[Field] = &[
    ("user_api_key_end_user_id", Keep::Name),
    ("user_api_key_team_id", Keep::Name),
    ("user_api_key_org_id", Keep::Name),
    ("user_api_key_hash", Keep::Name),
    ("usage_object", Keep::Object(USAGE)),
];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("id", Keep::Name),
        ("litellm_call_id", Keep::Name),
        ("status", Keep::Word),
        ("cache_hit", Keep::Flag),
        ("custom_llm_provider", Keep::Name),
        ("model", Keep::Name),
        ("startTime", Keep::Time),
        ("prompt_tokens", Keep::Number),
        ("completion_tokens", Keep::Number),
        ("total_tokens", Keep::Number),
        ("end_user", Keep::Name),
        ("cost_breakdown", Keep::Object(&[("service_tier", Keep::Word)])),
        ("metadata", Keep::Object(METADATA)),
    ]),
    folds: false,
    rules: "litellm/1",
    open: open_json,
    read,
};

/// Who a call was for, the nearest first.
const CUSTOMER: [&str; 5] = [
    "end_user",
    "metadata.user_api_key_end_user_id",
    "metadata.user_api_key_team_id",
    "metadata.user_api_key_org_id",
    "metadata.user_api_key_hash",
];

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    if record.flag("cache_hit")? == Some(true) {
        return Ok(Reading::NoUsage(NoUsage::CachedBefore));
    }
    let outcome = match record.need_text("status")? {
        "success" => RequestOutcome::Ok,
        "failure" => RequestOutcome::Error,
        _ => return Err(record.fault(Reason::WrongField, "status", "must be success or failure")),
    };
    let tier = record.text("cost_breakdown.service_tier")?;
    Ok(Reading::usage(Draft {
        id: Some(record.need_text("litellm_call_id")?.to_owned()),
        response_id: record.text("id")?.map(str::to_owned),
        occurred_at: record.epoch("startTime", Epoch::Seconds)?,
        deployment: record.text("custom_llm_provider")?.map(str::to_owned),
        product: record.text("model")?.map(str::to_owned),
        customer: record.first_text(CUSTOMER)?.map(str::to_owned),
        service_tier: tier.map(|tier| lower(tier).into_owned()),
        outcome: Some(outcome),
        quantities: tally(record)?.into_quantities(),
        ..Draft::default()
    }))
}

fn tally(record: &Record<'_>) -> Result<Tally, Fault> {
    let usage = record.part("metadata.usage_object");
    let both = |name: &str| record.count_of_any(&[name, &format!("metadata.usage_object.{name}")]);
    let prompt = both("prompt_tokens")?.ok_or_else(|| record.missing("prompt_tokens"))?;
    let completion = both("completion_tokens")?.unwrap_or(0);
    let parts = [("prompt_tokens", prompt), ("completion_tokens", completion)];
    for whole in [record, &usage] {
        whole.check_total("total_tokens", &parts)?;
    }
    let details = usage.part("prompt_tokens_details");
    let cached = usage.count_of_any(&["prompt_tokens_details.cached_tokens", "cache_read_input_tokens"])?;
    let written =
        usage.count_of_any(&["prompt_tokens_details.cache_creation_tokens", "cache_creation_input_tokens"])?;
    let (cached, written) = (cached.unwrap_or(0), written.unwrap_or(0));
    let mut tally = Tally::of_request(&[]);
    let lifetimes = details.part("cache_creation_token_details");
    if lifetimes.is_there() {
        let short = lifetimes.count_or_zero("ephemeral_5m_input_tokens")?;
        let long = lifetimes.count_or_zero("ephemeral_1h_input_tokens")?;
        let parts = [("ephemeral_5m_input_tokens", short), ("ephemeral_1h_input_tokens", long)];
        details.check_sum("cache_creation_tokens", written, &parts)?;
        tally.add(Meter::CacheWrite5mTokens, short);
        tally.add(Meter::CacheWrite1hTokens, long);
    } else {
        tally.add(Meter::CacheWriteTokens, written);
    }
    let caches = [("cached_tokens", cached), ("cache_creation_tokens", written)];
    add_kinds(&mut tally, &usage, ("prompt_tokens", prompt), &details, caches)?;
    add_output(&mut tally, &usage, ("completion_tokens", completion), "completion_tokens_details")?;
    Ok(tally)
}
