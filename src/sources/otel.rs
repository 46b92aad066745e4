//! OpenTelemetry's GenAI spans: OTLP as JSON, OTLP as protobuf, and spans flattened to one JSON line each.
//!
//! What includes what, by the conventions: `input_tokens` includes `cache_read.input_tokens` and
//! `cache_creation.input_tokens`, `output_tokens` includes `reasoning.output_tokens`. Emitters that count a cache
//! beside the input break that, and are refused where it shows. Spans of agents and tools repeat what the spans
//! of the models' calls below them state: they are none. An event is a span; `gen_ai.response.id` is not its
//! id, as a cache may give an answer again. It occurs when it starts.

use super::node::{Field, Keep, Node};
use super::otlp_protobuf;
use super::record::{Epoch, Record, Tally, lower};
use super::source::{Draft, NoUsage, Reading, Records, Source, open_json, prune};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

/// The attributes that are read.
pub(super) const ATTRIBUTES: &[Field] = &[
    ("gen_ai.operation.name", Keep::Word),
    ("gen_ai.provider.name", Keep::Name),
    ("gen_ai.system", Keep::Name),
    ("gen_ai.request.model", Keep::Name),
    ("gen_ai.response.model", Keep::Name),
    ("gen_ai.response.id", Keep::Name),
    ("gen_ai.usage.input_tokens", Keep::Number),
    ("gen_ai.usage.prompt_tokens", Keep::Number),
    ("gen_ai.usage.output_tokens", Keep::Number),
    ("gen_ai.usage.completion_tokens", Keep::Number),
    ("gen_ai.usage.cache_read.input_tokens", Keep::Number),
    ("gen_ai.usage.cache_creation.input_tokens", Keep::Number),
    ("gen_ai.usage.reasoning.output_tokens", Keep::Number),
    ("openai.response.service_tier", Keep::Word),
    ("gen_ai.openai.response.service_tier", Keep::Word),
];

const SPAN: &[Field] = &[
    ("traceId", Keep::Word),
    ("spanId", Keep::Word),
    ("startTimeUnixNano", Keep::Time),
    ("status", Keep::Object(&[("code", Keep::Word)])),
    ("attributes", Keep::Attributes(ATTRIBUTES)),
];

const RESOURCE_SPANS: &[Field] = &[
    ("resource", Keep::Object(&[("attributes", Keep::Attributes(&[]))])),
    ("scopeSpans", Keep::List(&Keep::Object(&[("spans", Keep::List(&Keep::Object(SPAN)))]))),
];

pub(super) const JSON: Source = Source {
    keep: &Keep::Object(&[("resourceSpans", Keep::List(&Keep::Object(RESOURCE_SPANS)))]),
    folds: false,
    rules: "otlp_json/1",
    open: open_otlp,
    read: read_otlp,
};

pub(super) const PROTOBUF: Source = Source { rules: "otlp_protobuf/1", open: otlp_protobuf::open, ..JSON };

pub(super) const FLAT: Source = Source {
    keep: &Keep::Object(&[
        ("span_id", Keep::Word),
        ("start_time_iso", Keep::Time),
        ("operation_name", Keep::Word),
        ("request_model", Keep::Name),
        ("response_model", Keep::Name),
        ("response_id", Keep::Name),
        ("input_tokens", Keep::Number),
        ("output_tokens", Keep::Number),
        ("is_error", Keep::Flag),
    ]),
    folds: false,
    rules: "otel_flat/1",
    open: open_json,
    read: read_flat,
};

/// Parts a request into its spans, each with its resource.
pub(super) fn open_otlp(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    let Node::List(resources) = prune(source, bytes, context)?.take("resourceSpans") else {
        return Err(super::fault(Reason::MissingField, "resourceSpans: must be a list"));
    };
    let mut spans = Vec::new();
    for mut of_resource in resources {
        let resource = of_resource.take("resource");
        for mut scope in of_resource.take("scopeSpans").into_items() {
            let found = scope.take("spans").into_items();
            spans.extend(found.into_iter().map(|span| request_of(resource.clone(), span)));
        }
    }
    Ok(spans)
}

/// A request with one span.
pub(super) fn request_of(resource: Node, span: Node) -> Node {
    let scope = Node::object([("spans", Node::List(vec![span]))]);
    let of_resource = Node::object([("resource", resource), ("scopeSpans", Node::List(vec![scope]))]);
    Node::object([("resourceSpans", Node::List(vec![of_resource]))])
}

/// The operations that are a call of a model.
const CALLS: [&str; 4] = ["chat", "text_completion", "generate_content", "embeddings"];

fn read_otlp(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    let of_resource = record.only("resourceSpans")?;
    let span = of_resource.only("scopeSpans")?.only("spans")?;
    let attributes = span.part("attributes");
    let counts = ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"];
    let is_call = match attributes.text("gen_ai.operation.name")? {
        Some(operation) => CALLS.contains(&operation),
        // Older emitters name no operation.
        None => counts.iter().any(|name| attributes.has(name)),
    };
    if !is_call {
        return Ok(Reading::NoUsage(NoUsage::OtherSpan));
    }
    let is_error = matches!(span.text("status.code")?, Some("2" | "STATUS_CODE_ERROR"));
    let (trace, id) = (span.need_text("traceId")?, span.need_text("spanId")?);
    let tags = || context.customer_tags.iter().map(String::as_str);
    let customer = match attributes.first_text(tags())? {
        Some(customer) => Some(customer),
        None => of_resource.part("resource.attributes").first_text(tags())?,
    };
    let tier = attributes.first_text(["openai.response.service_tier", "gen_ai.openai.response.service_tier"])?;
    let model = attributes.first_text(["gen_ai.response.model", "gen_ai.request.model"])?;
    Ok(Reading::usage(Draft {
        // JSON may write them in either case.
        id: Some(format!("{}/{}", lower(trace), lower(id))),
        response_id: attributes.text("gen_ai.response.id")?.map(str::to_owned),
        occurred_at: span.epoch("startTimeUnixNano", Epoch::Nanoseconds)?,
        deployment: attributes.first_text(["gen_ai.provider.name", "gen_ai.system"])?.map(str::to_owned),
        product: model.map(str::to_owned),
        customer: customer.map(str::to_owned),
        service_tier: tier.map(|tier| lower(tier).into_owned()),
        outcome: Some(outcome(is_error)),
        quantities: tally(&attributes, counts, is_error)?.into_quantities(),
        ..Draft::default()
    }))
}

fn outcome(is_error: bool) -> RequestOutcome {
    if is_error { RequestOutcome::Error } else { RequestOutcome::Ok }
}

fn tally(attributes: &Record<'_>, input: [&str; 2], is_error: bool) -> Result<Tally, Fault> {
    let output = ["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"];
    let (all_input, all_output) = (attributes.count_of_any(&input)?, attributes.count_of_any(&output)?);
    // A call that failed has no usage, or none that was told.
    if all_input.is_none() && !is_error {
        return Err(attributes.missing("gen_ai.usage.input_tokens"));
    }
    let read = "gen_ai.usage.cache_read.input_tokens";
    let written = "gen_ai.usage.cache_creation.input_tokens";
    let reasoning = "gen_ai.usage.reasoning.output_tokens";
    let (read, written) = ((read, attributes.count_or_zero(read)?), (written, attributes.count_or_zero(written)?));
    let reasoning = (reasoning, attributes.count_or_zero(reasoning)?);
    let uncached = attributes.rest(("gen_ai.usage.input_tokens", all_input.unwrap_or(0)), &[read, written])?;
    let visible = attributes.rest(("gen_ai.usage.output_tokens", all_output.unwrap_or(0)), &[reasoning])?;
    Ok(Tally::of_request(&[
        (Meter::InputTokens, uncached),
        (Meter::CachedInputTokens, read.1),
        (Meter::CacheWriteTokens, written.1),
        (Meter::OutputTokens, visible),
        (Meter::ReasoningTokens, reasoning.1),
    ]))
}

fn read_flat(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    if !record.text("operation_name")?.is_none_or(|operation| CALLS.contains(&operation)) {
        return Ok(Reading::NoUsage(NoUsage::OtherSpan));
    }
    let is_error = record.flag("is_error")?.ok_or_else(|| record.missing("is_error"))?;
    let tally = Tally::of_request(&[
        (Meter::InputTokens, record.need_count("input_tokens")?),
        (Meter::OutputTokens, record.need_count("output_tokens")?),
    ]);
    Ok(Reading::usage(Draft {
        id: Some(record.need_text("span_id")?.to_owned()),
        response_id: record.text("response_id")?.map(str::to_owned),
        occurred_at: record.instant("start_time_iso", context)?,
        product: record.first_text(["response_model", "request_model"])?.map(str::to_owned),
        outcome: Some(outcome(is_error)),
        quantities: tally.into_quantities(),
        ..Draft::default()
    }))
}
