//! Google Vertex: a reply's `usageMetadata`, as the REST API and as the SDK spell it.
//!
//! What includes what: `promptTokenCount` includes `cachedContentTokenCount`; `toolUsePromptTokenCount`,
//! `candidatesTokenCount` and `thoughtsTokenCount` stand beside it and each other; `totalTokenCount` is all four.
//! The `..Details` part a count by kind. Documents count as text. Traffic on provisioned throughput is the tier
//! `provisioned_throughput`: it is metered, and paid for otherwise, so its prices are written down as zero.

use super::node::{Field, Keep};
use super::record::{Record, Tally, lower};
use super::source::{DEFAULT_TIER, Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

const DETAILS: Keep = Keep::List(&Keep::Object(&[("modality", Keep::Word), ("token_count", Keep::Number)]));

const USAGE: &[Field] = &[
    ("prompt_token_count", Keep::Number),
    ("cached_content_token_count", Keep::Number),
    ("candidates_token_count", Keep::Number),
    ("thoughts_token_count", Keep::Number),
    ("tool_use_prompt_token_count", Keep::Number),
    ("total_token_count", Keep::Number),
    ("prompt_tokens_details", DETAILS),
    ("cache_tokens_details", DETAILS),
    ("candidates_tokens_details", DETAILS),
    ("tool_use_prompt_tokens_details", DETAILS),
    ("traffic_type", Keep::Word),
];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("response_id", Keep::Name),
        ("create_time", Keep::Time),
        ("model_version", Keep::Name),
        ("usage_metadata", Keep::Object(USAGE)),
        ("candidates", Keep::List(&Keep::Object(&[("finish_reason", Keep::Word)]))),
    ]),
    folds: true,
    rules: "vertex/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    // The parts of a stream repeat growing counts; only the last says why it ended.
    let candidates = record.items("candidates")?;
    if !candidates.is_empty() && !candidates.iter().any(|candidate| candidate.has("finish_reason")) {
        return Ok(Reading::NoUsage(NoUsage::StreamPart));
    }
    let usage = record.part("usage_metadata");
    if !usage.is_there() {
        return Err(record.missing("usage_metadata"));
    }
    let traffic = usage.text("traffic_type")?.map(lower);
    let tier = traffic.map(|traffic| match &*traffic {
        "on_demand" | "traffic_type_unspecified" => DEFAULT_TIER.to_owned(),
        other => other.strip_prefix("on_demand_").unwrap_or(other).to_owned(),
    });
    Ok(Reading::usage(Draft {
        response_id: record.text("response_id")?.map(str::to_owned),
        occurred_at: record.instant("create_time", context)?,
        product: record.text("model_version")?.map(str::to_owned),
        service_tier: tier,
        outcome: Some(RequestOutcome::Ok),
        quantities: tally(&usage)?.into_quantities(),
        ..Draft::default()
    }))
}

/// Counts of text, sound, pictures and film.
#[derive(Clone, Copy, Default)]
struct Kinds {
    text: u64,
    audio: u64,
    image: u64,
    video: u64,
}

/// A count by kind; without details all of it is text.
fn kinds(usage: &Record<'_>, (path, count): (&str, u64), details: &str) -> Result<Kinds, Fault> {
    if !usage.has(details) {
        return Ok(Kinds { text: count, ..Kinds::default() });
    }
    let mut kinds = Kinds::default();
    for part in usage.items(details)? {
        let of = match &*lower(part.need_text("modality")?) {
            "text" | "document" | "modality_unspecified" => &mut kinds.text,
            "audio" => &mut kinds.audio,
            "image" => &mut kinds.image,
            "video" => &mut kinds.video,
            _ => return Err(part.fault(Reason::WrongField, "modality", "must be a kind that has a meter")),
        };
        *of = of.saturating_add(part.count_or_zero("token_count")?);
    }
    let Kinds { text, audio, image, video } = kinds;
    usage.check_sum(path, count, &[("text", text), ("audio", audio), ("image", image), ("video", video)])?;
    Ok(kinds)
}

fn tally(usage: &Record<'_>) -> Result<Tally, Fault> {
    let count = |path| usage.count_or_zero(path);
    let prompt = ("prompt_token_count", usage.need_count("prompt_token_count")?);
    let cached = ("cached_content_token_count", count("cached_content_token_count")?);
    let candidates = ("candidates_token_count", count("candidates_token_count")?);
    let thoughts = ("thoughts_token_count", count("thoughts_token_count")?);
    let tools = ("tool_use_prompt_token_count", count("tool_use_prompt_token_count")?);
    usage.check_total("total_token_count", &[prompt, candidates, tools, thoughts])?;
    usage.rest(prompt, &[cached])?;
    let all = kinds(usage, prompt, "prompt_tokens_details")?;
    if cached.1 > 0 && all.text != prompt.1 && !usage.has("cache_tokens_details") {
        let what = "counts a cache beside sound or pictures; cache_tokens_details must say what of them it held";
        return Err(usage.fault(Reason::UndeterminedSplit, prompt.0, what));
    }
    let held = kinds(usage, cached, "cache_tokens_details")?;
    let asked = kinds(usage, tools, "tool_use_prompt_tokens_details")?;
    let made = kinds(usage, candidates, "candidates_tokens_details")?;
    let uncached = |kind, all, held| usage.rest((kind, all), &[("cached", held)]);
    let mut tally = Tally::of_request(&[
        (Meter::InputTokens, uncached("text", all.text, held.text)?),
        (Meter::AudioInputTokens, uncached("audio", all.audio, held.audio)?),
        (Meter::ImageInputTokens, uncached("image", all.image, held.image)?),
        (Meter::VideoInputTokens, uncached("video", all.video, held.video)?),
        (Meter::CachedInputTokens, held.text),
        (Meter::CachedAudioInputTokens, held.audio),
        (Meter::CachedImageInputTokens, held.image),
        (Meter::CachedVideoInputTokens, held.video),
        (Meter::OutputTokens, made.text),
        (Meter::AudioOutputTokens, made.audio),
        (Meter::ImageOutputTokens, made.image),
        (Meter::ReasoningTokens, thoughts.1),
    ]);
    if made.video > 0 {
        return Err(usage.fault(Reason::WrongField, "candidates_tokens_details", "no meter counts film that is made"));
    }
    for (meter, count) in [
        (Meter::InputTokens, asked.text),
        (Meter::AudioInputTokens, asked.audio),
        (Meter::ImageInputTokens, asked.image),
        (Meter::VideoInputTokens, asked.video),
    ] {
        tally.add(meter, count);
    }
    Ok(tally)
}
