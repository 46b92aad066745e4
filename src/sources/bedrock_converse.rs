//! AWS Bedrock Converse: the `usage` of a reply, of a stream's last event, and of a stream's trailer.
//!
//! What includes what: `inputTokens`, `cacheReadInputTokens` and `cacheWriteInputTokens` stand beside each other;
//! `cacheDetails` parts what was written by lifetime. `totalTokens` is the input and the output, with or without
//! the cache: both have been seen. Older and newer names (`..Tokens`, `..TokenCount`) come side by side with one
//! number, and are never added. Reasoning lies within the output and is not told apart. The reply names no model,
//! and its id and time stand in what the SDK puts around it: `ResponseMetadata`.

use super::node::{Field, Keep};
use super::record::{Record, Tally, lower};
use super::source::{DEFAULT_TIER, Draft, NoUsage, Reading, Source, open_json};
use super::{Context, Fault, RejectionReason as Reason};
use crate::domain::usage::{Meter, RequestOutcome};

/// The fields of `usage` that are read, in all spellings.
const USAGE: &[Field] = &[
    ("inputTokens", Keep::Number),
    ("inputTokenCount", Keep::Number),
    ("outputTokens", Keep::Number),
    ("outputTokenCount", Keep::Number),
    ("totalTokens", Keep::Number),
    ("cacheReadInputTokens", Keep::Number),
    ("cacheReadInputTokenCount", Keep::Number),
    ("cacheWriteInputTokens", Keep::Number),
    ("cacheWriteInputTokenCount", Keep::Number),
    ("cacheDetails", Keep::List(&Keep::Object(&[("ttl", Keep::Word), ("inputTokens", Keep::Number)]))),
];

const TRAILER: &str = "amazon-bedrock-invocationMetrics";
const TIER: &[Field] = &[("type", Keep::Word)];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("ResponseMetadata", Keep::Object(&[("RequestId", Keep::Name)])),
        ("usage", Keep::Object(USAGE)),
        ("serviceTier", Keep::Object(TIER)),
        ("metadata", Keep::Object(&[("usage", Keep::Object(USAGE)), ("serviceTier", Keep::Object(TIER))])),
        (TRAILER, Keep::Object(USAGE)),
        ("messageStart", Keep::Body(&[])),
        ("contentBlockStart", Keep::Body(&[])),
        ("contentBlockDelta", Keep::Body(&[])),
        ("contentBlockStop", Keep::Body(&[])),
        ("messageStop", Keep::Body(&[])),
    ]),
    folds: false,
    rules: "bedrock_converse/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    let places = [record.part("usage"), record.part("metadata.usage"), record.part(TRAILER)];
    let Some(usage) = places.into_iter().find(Record::is_there) else {
        let events = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"];
        if events.iter().any(|event| record.has(event)) {
            return Ok(Reading::NoUsage(NoUsage::StreamPart));
        }
        return Err(record.missing("usage"));
    };
    let tier = record.first_text(["serviceTier.type", "metadata.serviceTier.type"])?;
    let id = record.text("ResponseMetadata.RequestId")?;
    Ok(Reading::usage(Draft {
        id: id.map(str::to_owned),
        // Bedrock's own log has it too.
        response_id: id.map(str::to_owned),
        service_tier: tier.map(tier_name),
        outcome: Some(RequestOutcome::Ok),
        quantities: Counts::read(&usage)?.need(&usage)?.tally().into_quantities(),
        ..Draft::default()
    }))
}

/// A tier in the words of the other sources.
pub(super) fn tier_name(tier: &str) -> String {
    let tier = lower(tier);
    if tier == "standard" { DEFAULT_TIER.to_owned() } else { tier.into_owned() }
}

/// What Bedrock counts, of which a record may state some twice, in places that must agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub read: Option<u64>,
    pub written: Option<u64>,
    /// Of what was written, for five minutes and for an hour.
    pub by_lifetime: Option<[u64; 2]>,
}

impl Counts {
    pub(super) fn read(usage: &Record<'_>) -> Result<Self, Fault> {
        let counts = Self {
            input: usage.count_of_any(&["inputTokens", "inputTokenCount"])?,
            output: usage.count_of_any(&["outputTokens", "outputTokenCount"])?,
            read: usage.count_of_any(&["cacheReadInputTokens", "cacheReadInputTokenCount"])?,
            written: usage.count_of_any(&["cacheWriteInputTokens", "cacheWriteInputTokenCount"])?,
            by_lifetime: by_lifetime(usage)?,
        };
        let [input, output] = [counts.input, counts.output].map(Option::unwrap_or_default);
        let [read, written] = [counts.read, counts.written].map(Option::unwrap_or_default);
        let alone = [("inputTokens", input), ("outputTokens", output)];
        let all = [
            ("inputTokens", input),
            ("outputTokens", output),
            ("cacheReadInputTokens", read),
            ("cacheWriteInputTokens", written),
        ];
        if usage.check_total("totalTokens", &alone).is_err() {
            usage.check_total("totalTokens", &all)?;
        }
        if let (Some(written), Some([short, long])) = (counts.written, counts.by_lifetime) {
            usage.check_sum("cacheWriteInputTokens", written, &[("5m", short), ("1h", long)])?;
        }
        Ok(counts)
    }

    /// A reply states at least its input and output.
    fn need(self, usage: &Record<'_>) -> Result<Self, Fault> {
        for (path, count) in [("inputTokens", self.input), ("outputTokens", self.output)] {
            count.ok_or_else(|| usage.missing(path))?;
        }
        Ok(self)
    }

    pub(super) fn tally(self) -> Tally {
        let [short, long] = self.by_lifetime.unwrap_or_default();
        let untold = if self.by_lifetime.is_some() { 0 } else { self.written.unwrap_or(0) };
        Tally::of_request(&[
            (Meter::InputTokens, self.input.unwrap_or(0)),
            (Meter::CachedInputTokens, self.read.unwrap_or(0)),
            (Meter::CacheWriteTokens, untold),
            (Meter::CacheWrite5mTokens, short),
            (Meter::CacheWrite1hTokens, long),
            (Meter::OutputTokens, self.output.unwrap_or(0)),
        ])
    }
}

fn by_lifetime(usage: &Record<'_>) -> Result<Option<[u64; 2]>, Fault> {
    if !usage.has("cacheDetails") {
        return Ok(None);
    }
    let [mut short, mut long] = [0_u64; 2];
    for part in usage.items("cacheDetails")? {
        let count = part.need_count("inputTokens")?;
        let of = match part.need_text("ttl")? {
            "5m" => &mut short,
            "1h" => &mut long,
            _ => return Err(part.fault(Reason::WrongField, "ttl", "must be 5m or 1h")),
        };
        *of = of.saturating_add(count);
    }
    Ok(Some([short, long]))
}
