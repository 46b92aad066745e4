//! OpenMeter's events: CloudEvents, or the record that OpenMeter itself writes to Kafka, with counts of tokens.
//!
//! In its own record `time` is in Unix seconds and `data` is a JSON text. The data is either a call with
//! `prompt_tokens`, `completion_tokens` and their `total_tokens`, as LiteLLM's callback sends it, or one count,
//! `tokens`, with its `type`, of which a call has several: those count no requests. `subject` is the customer.
//! An event need not say its `time`: as for OpenMeter it then occurred when it came, and its rules say so.

use super::node::{Field, Keep};
use super::record::{Epoch, Record, Tally};
use super::source::{Draft, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::Meter;

const DATA: &[Field] = &[
    ("model", Keep::Name),
    ("provider", Keep::Name),
    ("type", Keep::Word),
    ("tokens", Keep::Number),
    ("prompt_tokens", Keep::Number),
    ("completion_tokens", Keep::Number),
    ("total_tokens", Keep::Number),
];

/// The rules of an event that occurred when it came.
const OF_RECEIPT: &str = "openmeter/1 received";

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("id", Keep::Name),
        ("source", Keep::Name),
        ("type", Keep::Name),
        ("subject", Keep::Name),
        ("time", Keep::Time),
        ("data", Keep::Nested(&Keep::Object(DATA))),
    ]),
    folds: false,
    rules: "openmeter/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    // Seconds have no hyphen, and a date has one.
    let said_at = match record.epoch("time", Epoch::Seconds) {
        Ok(at) => at,
        Err(_) => record.instant("time", context)?,
    };
    // When it came is no part of what it says, so that an event that is sent again is known.
    let received_at = if said_at.or(context.occurred_at).is_none() { context.received_at } else { None };
    let data = record.part("data");
    let id = record.need_text("id")?;
    Ok(Reading::usage(Draft {
        id: Some(id.to_owned()),
        // LiteLLM's callback takes the reply's for that of a call; events of one count have ids of their own.
        response_id: (!data.has("tokens")).then(|| id.to_owned()),
        source: Some(record.need_text("source")?.to_owned()),
        occurred_at: said_at.or(received_at),
        deployment: data.text("provider")?.map(str::to_owned),
        product: data.text("model")?.map(str::to_owned),
        customer: record.text("subject")?.map(str::to_owned),
        quantities: tally(&data)?.into_quantities(),
        rules: received_at.map(|_| OF_RECEIPT),
        ..Draft::default()
    }))
}

fn tally(data: &Record<'_>) -> Result<Tally, Fault> {
    if let Some(tokens) = data.count("tokens")? {
        let mut tally = Tally::default();
        let meter = match data.need_text("type")? {
            "input" | "prompt" | "system" => Meter::InputTokens,
            "output" | "completion" => Meter::OutputTokens,
            _ => {
                return Err(data.fault(
                    Reason::WrongField,
                    "type",
                    "must be input, prompt, system, output or completion",
                ));
            }
        };
        tally.add(meter, tokens);
        return Ok(tally);
    }
    let prompt = data.need_count("prompt_tokens")?;
    let completion = data.count_or_zero("completion_tokens")?;
    data.check_total("total_tokens", &[("prompt_tokens", prompt), ("completion_tokens", completion)])?;
    Ok(Tally::of_request(&[(Meter::InputTokens, prompt), (Meter::OutputTokens, completion)]))
}
