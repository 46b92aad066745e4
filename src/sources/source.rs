//! What a format is: an allow-list, the version of its rules, how its bytes part into records, and how one is read.
//!
//! What a record reports keeps the names that it was reported under; what it does not say itself, its context says.

use super::node::{Keep, Node, Pruning, not_json};
use super::record::Record;
use super::{Fault, MAX_NAME_BYTES, RejectionReason as Reason, fault};
use crate::domain::ids::EventId;
use crate::domain::names::names;
use crate::domain::period::Instant;
use crate::domain::usage::{Quantities, RequestOutcome, UsageAttributes, UsageContent, UsageEvent};
use chrono_tz::Tz;

/// What stands beside a record: what configuration and carrier say where the record itself does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The source of events whose record names none: ids are unique within it.
    pub source: &'a str,
    /// The zone of times that name none; without it they are refused.
    pub zone: Option<Tz>,
    /// The id that the carrier gives a record that has none of its own.
    pub id: Option<&'a str>,
    /// When the carrier says that it occurred.
    pub occurred_at: Option<Instant>,
    /// When it came, for a format that says that this holds where nothing tells when it occurred.
    pub received_at: Option<Instant>,
    pub deployment: Option<&'a str>,
    pub product: Option<&'a str>,
    pub customer: Option<&'a str>,
    /// The callers' tags that name the customer; the first that is there holds. No other tag is read.
    pub customer_tags: &'a [String],
    /// A Kafka message's headers.
    pub headers: &'a [(&'a str, &'a [u8])],
}

names! {
    /// Why a record that is as it should be states no usage.
    #[derive(Hash)]
    NoUsage as "reason for no usage" {
        /// A row of a call that another row states the usage of.
        OtherRow = "other_row",
        /// A part of a stream, whose end states the usage.
        StreamPart = "stream_part",
        /// A span of something other than a model's call.
        OtherSpan = "other_span",
        /// An answer from a cache before the deployment, which used nothing.
        CachedBefore = "cached_before",
        /// A message without records, such as a bucket without results.
        Empty = "empty",
        /// A message of the carrier's own.
        Control = "control",
    }
}

/// The records of a message.
pub(super) type Records = Result<Vec<Node>, Fault>;

/// A format: what of it may be read, and how.
pub(super) struct Source {
    pub keep: &'static Keep,
    /// Whether its fields come in several spellings.
    pub folds: bool,
    /// Its name, and the version of its rules, which rises whenever the same record would give other quantities or
    /// names.
    pub rules: &'static str,
    /// Parts the bytes into records.
    pub open: fn(&Source, &[u8], &Context<'_>) -> Records,
    pub read: fn(&Record<'_>, &Context<'_>) -> Result<Reading, Fault>,
}

/// What the reading of a record comes to.
pub(super) enum Reading {
    Usage(Box<Draft>),
    NoUsage(NoUsage),
}

impl Reading {
    pub(super) fn usage(draft: Draft) -> Self {
        Self::Usage(Box::new(draft))
    }
}

/// Usage as a record states it; what it does not say itself the context says.
#[derive(Default)]
pub(super) struct Draft {
    /// The event's own id. Where there is none, the carrier's holds, and then that of the reply.
    pub id: Option<String>,
    pub source: Option<String>,
    pub response_id: Option<String>,
    pub occurred_at: Option<Instant>,
    /// Of a record of an interval: its end, exclusive.
    pub ended_at: Option<Instant>,
    pub deployment: Option<String>,
    pub product: Option<String>,
    pub customer: Option<String>,
    pub service_tier: Option<String>,
    pub outcome: Option<RequestOutcome>,
    pub quantities: Quantities,
    /// The rules that it was read by, where these are not the format's alone.
    pub rules: Option<&'static str>,
}

/// The tier that a record without one was served in.
pub(super) const DEFAULT_TIER: &str = "default";

impl Draft {
    pub(super) fn finish(self, context: &Context<'_>, response_id: Option<String>) -> Result<UsageEvent, Fault> {
        let or = |own: Option<String>, beside: Option<&str>| own.or_else(|| beside.map(str::to_owned));
        let missing =
            |what: &str| fault(Reason::MissingField, format!("{what}; neither the record nor its carrier says"));
        let source = self.source.unwrap_or_else(|| context.source.to_owned());
        if source.is_empty() {
            return Err(missing("source: missing"));
        }
        let id = self.id.or_else(|| context.id.map(str::to_owned)).or(response_id);
        let id = id.ok_or_else(|| missing("id: missing"))?;
        for (name, text) in [("id", &id), ("source", &source)] {
            if text.len() > MAX_NAME_BYTES {
                return Err(fault(Reason::NameTooLong, format!("{name}: longer than {MAX_NAME_BYTES} bytes")));
            }
        }
        let content = UsageContent {
            occurred_at: self.occurred_at.or(context.occurred_at).ok_or_else(|| missing("time: missing"))?,
            ended_at: self.ended_at,
            deployment: or(self.deployment, context.deployment).ok_or_else(|| missing("deployment: missing"))?,
            product: or(self.product, context.product).ok_or_else(|| missing("product: missing"))?,
            customer: or(self.customer, context.customer).unwrap_or_default(),
            service_tier: self.service_tier.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
            outcome: self.outcome,
            attributes: UsageAttributes::new(),
            quantities: self.quantities,
        };
        if content.ends_before_start() {
            return Err(fault(Reason::EndsBeforeStart, "the interval of the record ends before it starts"));
        }
        Ok(UsageEvent { id: EventId { source, id }, content })
    }
}

/// Opens bytes that are one JSON record.
pub(super) fn open_json(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    Ok(vec![prune(source, bytes, context)?])
}

/// The allow-listed part of bytes that are a JSON object.
pub(super) fn prune(source: &Source, bytes: &[u8], context: &Context<'_>) -> Result<Node, Fault> {
    let text = text_of(bytes)?;
    let pruning = Pruning { tags: context.customer_tags, folds: source.folds };
    pruning.json(text, source.keep).map_err(|error| not_json(&error))
}

pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    // Some programs write a byte-order mark.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| fault(Reason::NotJson, "must be UTF-8"))
}
