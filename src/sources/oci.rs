//! Oracle OCI Generative AI: a reply's `chatResponse.usage`, as the API, the SDK and the CLI spell it.
//!
//! What includes what is as in OpenAI's Chat Completions: the prompt includes cached tokens, the completion
//! reasoning and predictions, and the total is both. The reply's id stands in its headers: the carrier gives it.

use super::node::{Field, Keep};
use super::openai_chat::{USAGE, tally};
use super::record::{Record, lower};
use super::source::{DEFAULT_TIER, Draft, Reading, Source, open_json};
use super::{Context, Fault};
use crate::domain::usage::RequestOutcome;

const REPLY: &[Field] = &[
    ("model_id", Keep::Name),
    ("opc_request_id", Keep::Name),
    (
        "chat_response",
        Keep::Object(&[("time_created", Keep::Time), ("service_tier", Keep::Word), ("usage", Keep::Object(USAGE))]),
    ),
    // The CLI puts the reply into `data`.
    ("data", Keep::Object(INNER)),
];

const INNER: &[Field] = &[
    ("model_id", Keep::Name),
    (
        "chat_response",
        Keep::Object(&[("time_created", Keep::Time), ("service_tier", Keep::Word), ("usage", Keep::Object(USAGE))]),
    ),
];

pub(super) const SOURCE: Source =
    Source { keep: &Keep::Object(REPLY), folds: true, rules: "oci/1", open: open_json, read };

fn read(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    let inner = record.part("data");
    let reply = if inner.is_there() { inner } else { record.clone() };
    let usage = reply.part("chat_response.usage");
    if !usage.is_there() {
        return Err(reply.missing("chat_response.usage"));
    }
    let tier = reply.text("chat_response.service_tier")?.map(lower);
    let tier = tier.map(|tier| if tier == "auto" { DEFAULT_TIER.to_owned() } else { tier.into_owned() });
    let id = record.text("opc_request_id")?;
    Ok(Reading::usage(Draft {
        id: id.map(str::to_owned),
        // It is of the request: whoever else logs the call has it too.
        response_id: id.map(str::to_owned),
        occurred_at: reply.instant("chat_response.time_created", context)?,
        product: reply.text("model_id")?.map(str::to_owned),
        service_tier: tier,
        outcome: Some(RequestOutcome::Ok),
        quantities: tally(&usage)?.into_quantities(),
        ..Draft::default()
    }))
}
