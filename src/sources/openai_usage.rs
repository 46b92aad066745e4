//! OpenAI's organization usage: buckets of completions, embeddings and moderations, one or a page of them.
//!
//! Each result of a bucket is an interval record, identified by the interval and by what it is grouped by.
//! What includes what: `input_tokens` is `input_cached_tokens`, `input_cache_write_tokens` and
//! `input_uncached_tokens`; each of the first and the last is its text, audio and image tokens, as is
//! `output_tokens`, which includes reasoning. How long a cache keeps what is written is not told.

use super::node::{Field, Keep, Node};
use super::record::{Epoch, Record, Tally, lower};
use super::source::{DEFAULT_TIER, Draft, Reading, Records, Source, prune};
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::usage::{Meter, Quantities};

const RESULT: &[Field] = &[
    ("object", Keep::Word),
    ("input_tokens", Keep::Number),
    ("input_cached_tokens", Keep::Number),
    ("input_cache_write_tokens", Keep::Number),
    ("input_uncached_tokens", Keep::Number),
    ("input_text_tokens", Keep::Number),
    ("input_audio_tokens", Keep::Number),
    ("input_image_tokens", Keep::Number),
    ("input_cached_text_tokens", Keep::Number),
    ("input_cached_audio_tokens", Keep::Number),
    ("input_cached_image_tokens", Keep::Number),
    ("output_tokens", Keep::Number),
    ("output_text_tokens", Keep::Number),
    ("output_audio_tokens", Keep::Number),
    ("output_image_tokens", Keep::Number),
    ("num_model_requests", Keep::Number),
    ("project_id", Keep::Name),
    ("user_id", Keep::Name),
    ("api_key_id", Keep::Name),
    ("model", Keep::Name),
    ("batch", Keep::Flag),
    ("service_tier", Keep::Word),
];

const BUCKET: Keep = Keep::Object(&[
    ("object", Keep::Word),
    ("start_time", Keep::Time),
    ("end_time", Keep::Time),
    ("results", Keep::List(&Keep::Object(RESULT))),
]);

pub(super) const SOURCE: Source =
    Source { keep: &BUCKET, folds: false, rules: "openai_usage/1", open: open_buckets, read };

const PAGE: Source = Source { keep: &Keep::Object(&[("data", Keep::List(&BUCKET))]), ..SOURCE };

/// Each result becomes a bucket of its own.
fn open_buckets(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    let buckets = match prune(&PAGE, bytes, context)?.take("data") {
        Node::List(buckets) => buckets,
        Node::Null => vec![prune(source, bytes, context)?],
        _ => return Err(fault(Reason::WrongField, "data: must be a list of buckets")),
    };
    let mut records = Vec::new();
    for mut bucket in buckets {
        let Node::List(results) = bucket.take("results") else {
            return Err(fault(Reason::WrongField, "results: must be a list"));
        };
        let (start, end) = (bucket.take("start_time"), bucket.take("end_time"));
        records.extend(results.into_iter().map(|result| {
            let result = Node::List(vec![result]);
            Node::object([("start_time", start.clone()), ("end_time", end.clone()), ("results", result)])
        }));
    }
    Ok(records)
}

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    let (start, end) = (record.epoch("start_time", Epoch::Seconds)?, record.epoch("end_time", Epoch::Seconds)?);
    let start = start.ok_or_else(|| record.missing("start_time"))?;
    let end = end.ok_or_else(|| record.missing("end_time"))?;
    let result = &record.only("results")?;
    let kind = result.need_text("object")?;
    let kinds = ["completions", "embeddings", "moderations"].map(|kind| format!("organization.usage.{kind}.result"));
    if !kinds.iter().any(|known| known == kind) {
        let expected = format!("must be {}; others count what is not metered", kinds.join(" or "));
        return Err(result.fault(Reason::UnknownType, "object", expected));
    }
    let tier = result.text("service_tier")?.map(|tier| lower(tier).into_owned());
    let is_batch = result.flag("batch")?;
    let mut id = format!("{}-{}/{kind}", start.timestamp(), end.timestamp());
    let groups = ["project_id", "user_id", "api_key_id", "model", "service_tier"];
    for group in groups {
        // Unlike what a group may be called, so that no two groups have one id.
        id.push('/');
        id.push_str(&result.text(group)?.map(|text| format!("{}:{text}", text.len())).unwrap_or_default());
    }
    id.push_str(match is_batch {
        Some(true) => "/batch",
        Some(false) => "/online",
        None => "/",
    });
    Ok(Reading::usage(Draft {
        id: Some(id),
        occurred_at: Some(start),
        ended_at: Some(end),
        product: result.text("model")?.map(str::to_owned),
        customer: result.text("project_id")?.map(str::to_owned),
        service_tier: Some(if is_batch == Some(true) {
            "batch".to_owned()
        } else {
            tier.unwrap_or_else(|| DEFAULT_TIER.to_owned())
        }),
        quantities: quantities(result)?,
        ..Draft::default()
    }))
}

/// A count's kinds, and that they make it up where any of them is given.
fn kinds(record: &Record<'_>, whole: (&str, u64), paths: [&str; 3]) -> Result<[u64; 3], Fault> {
    let [text, audio, image] = paths;
    if !paths.iter().any(|path| record.has(path)) {
        return Ok([whole.1, 0, 0]);
    }
    let counts = [record.count_or_zero(text)?, record.count_or_zero(audio)?, record.count_or_zero(image)?];
    let [of_text, of_audio, of_image] = counts;
    record.check_sum(whole.0, whole.1, &[(text, of_text), (audio, of_audio), (image, of_image)])?;
    Ok(counts)
}

fn quantities(result: &Record<'_>) -> Result<Quantities, Fault> {
    let (input, output) = (result.need_count("input_tokens")?, result.count_or_zero("output_tokens")?);
    let cached = result.count_or_zero("input_cached_tokens")?;
    let written = result.count_or_zero("input_cache_write_tokens")?;
    let known = [("input_cached_tokens", cached), ("input_cache_write_tokens", written)];
    let uncached = result.rest(("input_tokens", input), &known)?;
    result.check_total("input_uncached_tokens", &[("the rest of input_tokens", uncached)])?;
    let uncached = ("input_uncached_tokens", uncached);
    let [text, audio, image] =
        kinds(result, uncached, ["input_text_tokens", "input_audio_tokens", "input_image_tokens"])?;
    let paths = ["input_cached_text_tokens", "input_cached_audio_tokens", "input_cached_image_tokens"];
    let [cached_text, cached_audio, cached_image] = kinds(result, ("input_cached_tokens", cached), paths)?;
    let paths = ["output_text_tokens", "output_audio_tokens", "output_image_tokens"];
    let [visible, output_audio, output_image] = kinds(result, ("output_tokens", output), paths)?;
    let mut tally = Tally::default();
    for (meter, count) in [
        (Meter::InputTokens, text),
        (Meter::AudioInputTokens, audio),
        (Meter::ImageInputTokens, image),
        (Meter::CachedInputTokens, cached_text),
        (Meter::CachedAudioInputTokens, cached_audio),
        (Meter::CachedImageInputTokens, cached_image),
        (Meter::CacheWriteTokens, written),
        (Meter::OutputTokens, visible),
        (Meter::AudioOutputTokens, output_audio),
        (Meter::ImageOutputTokens, output_image),
        (Meter::Requests, result.need_count("num_model_requests")?),
    ] {
        tally.add(meter, count);
    }
    Ok(tally.into_quantities())
}
