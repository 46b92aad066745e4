//! OpenAI Chat Completions: a reply's `usage`. Azure OpenAI and many gateways answer in the same words.
//!
//! What includes what: `prompt_tokens` includes `cached_tokens`, `cache_write_tokens`, `audio_tokens` and
//! `image_tokens`; `completion_tokens` includes `reasoning_tokens`, `audio_tokens`, and accepted and rejected
//! predictions, which are both billed as output. `total_tokens` is the prompt and the completion.
//! How long a cache keeps what is written is not told.

use super::node::{Field, Keep};
use super::record::{Epoch, Record, Tally, lower};
use super::source::{Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

/// The fields of `usage` that are read.
pub(super) const USAGE: &[Field] = &[
    ("prompt_tokens", Keep::Number),
    ("completion_tokens", Keep::Number),
    ("total_tokens", Keep::Number),
    ("prompt_tokens_details", Keep::Object(INPUT_DETAILS)),
    ("completion_tokens_details", Keep::Object(OUTPUT_DETAILS)),
];

pub(super) const INPUT_DETAILS: &[Field] = &[
    ("cached_tokens", Keep::Number),
    ("cached_tokens_details", Keep::Object(MODALITIES)),
    ("cache_write_tokens", Keep::Number),
    ("text_tokens", Keep::Number),
    ("audio_tokens", Keep::Number),
    ("image_tokens", Keep::Number),
];

const MODALITIES: &[Field] =
    &[("text_tokens", Keep::Number), ("audio_tokens", Keep::Number), ("image_tokens", Keep::Number)];

pub(super) const OUTPUT_DETAILS: &[Field] = &[
    ("reasoning_tokens", Keep::Number),
    ("audio_tokens", Keep::Number),
    ("image_tokens", Keep::Number),
    ("accepted_prediction_tokens", Keep::Number),
    ("rejected_prediction_tokens", Keep::Number),
];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("id", Keep::Name),
        ("object", Keep::Word),
        ("created", Keep::Time),
        ("model", Keep::Name),
        ("service_tier", Keep::Word),
        ("usage", Keep::Object(USAGE)),
    ]),
    folds: false,
    rules: "openai_chat/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    let usage = record.part("usage");
    if !usage.is_there() {
        if record.text("object")? == Some("chat.completion.chunk") {
            return Ok(Reading::NoUsage(NoUsage::StreamPart));
        }
        return Err(record.fault(
            Reason::MissingField,
            "usage",
            "missing; a stream states it with include_usage alone",
        ));
    }
    let tier = record.text("service_tier")?;
    Ok(Reading::usage(Draft {
        response_id: record.text("id")?.map(str::to_owned),
        occurred_at: record.epoch("created", Epoch::Seconds)?,
        product: record.text("model")?.map(str::to_owned),
        service_tier: tier.map(|tier| lower(tier).into_owned()),
        outcome: Some(RequestOutcome::Ok),
        quantities: tally(&usage)?.into_quantities(),
        ..Draft::default()
    }))
}

/// The meters of a `usage` in these words.
pub(super) fn tally(usage: &Record<'_>) -> Result<Tally, Fault> {
    let prompt = usage.need_count("prompt_tokens")?;
    let completion = usage.count_or_zero("completion_tokens")?;
    let parts = [("prompt_tokens", prompt), ("completion_tokens", completion)];
    usage.check_total("total_tokens", &parts)?;
    let mut tally = Tally::of_request(&[]);
    add_input(&mut tally, usage, ("prompt_tokens", prompt), "prompt_tokens_details")?;
    add_output(&mut tally, usage, ("completion_tokens", completion), "completion_tokens_details")?;
    Ok(tally)
}

/// Input of several kinds, part of which came from a cache or went into one.
pub(super) fn add_input(tally: &mut Tally, usage: &Record<'_>, input: (&str, u64), details: &str) -> Result<(), Fault> {
    let details = usage.part(details);
    let cached = ("cached_tokens", details.count_or_zero("cached_tokens")?);
    let written = ("cache_write_tokens", details.count_or_zero("cache_write_tokens")?);
    tally.add(Meter::CacheWriteTokens, written.1);
    add_kinds(tally, usage, input, &details, [cached, written])
}

/// Input without what was written to a cache, by kind, and whether a cache held it.
///
/// Where a request has both a cache and sound or pictures, its kinds and its caching overlap, and only
/// `cached_tokens_details` tells how.
pub(super) fn add_kinds(
    tally: &mut Tally,
    usage: &Record<'_>,
    input: (&str, u64),
    details: &Record<'_>,
    [cached, written]: [(&str, u64); 2],
) -> Result<(), Fault> {
    let (audio, image) = (details.count_or_zero("audio_tokens")?, details.count_or_zero("image_tokens")?);
    let kinds = [("audio_tokens", audio), ("image_tokens", image)];
    let beside_kinds = usage.rest(input, &kinds)?;
    usage.rest(input, &[cached, written])?;
    if let Some(text) = details.count("text_tokens")?.filter(|text| *text > 0) {
        let [audio, image] = kinds;
        usage.check_sum(input.0, input.1, &[("text_tokens", text), audio, image])?;
    }
    let held = details.part("cached_tokens_details");
    let is_told = (held.is_there() || cached.1 == 0) && written.1 == 0;
    if beside_kinds < input.1 && !is_told {
        let what = "counts a cache beside sound or pictures; cached_tokens_details must say what of them it held";
        return Err(usage.fault(Reason::UndeterminedSplit, input.0, what));
    }
    let (held_audio, held_image) = (held.count_or_zero("audio_tokens")?, held.count_or_zero("image_tokens")?);
    let held_text =
        details.rest(cached, &[("audio_tokens of them", held_audio), ("image_tokens of them", held_image)])?;
    held.check_total("text_tokens", &[("the rest of cached_tokens", held_text)])?;
    let beside_text = [("cached text", held_text), written];
    tally.add(Meter::InputTokens, usage.rest(("text", beside_kinds), &beside_text)?);
    tally.add(Meter::CachedInputTokens, held_text);
    tally.add(Meter::AudioInputTokens, details.rest(("audio_tokens", audio), &[("cached", held_audio)])?);
    tally.add(Meter::CachedAudioInputTokens, held_audio);
    tally.add(Meter::ImageInputTokens, details.rest(("image_tokens", image), &[("cached", held_image)])?);
    tally.add(Meter::CachedImageInputTokens, held_image);
    Ok(())
}

/// Output, part of which is reasoning, sound or pictures.
pub(super) fn add_output(
    tally: &mut Tally,
    usage: &Record<'_>,
    output: (&str, u64),
    details: &str,
) -> Result<(), Fault> {
    let details = usage.part(details);
    let reasoning = details.count_or_zero("reasoning_tokens")?;
    let (audio, image) = (details.count_or_zero("audio_tokens")?, details.count_or_zero("image_tokens")?);
    let parts = [("reasoning_tokens", reasoning), ("audio_tokens", audio), ("image_tokens", image)];
    let visible = usage.rest(output, &parts)?;
    for predicted in ["accepted_prediction_tokens", "rejected_prediction_tokens"] {
        usage.rest(output, &[(predicted, details.count_or_zero(predicted)?)])?;
    }
    tally.add(Meter::OutputTokens, visible);
    tally.add(Meter::ReasoningTokens, reasoning);
    tally.add(Meter::AudioOutputTokens, audio);
    tally.add(Meter::ImageOutputTokens, image);
    Ok(())
}
