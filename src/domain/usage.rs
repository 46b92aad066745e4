//! Usage events as reported: immutable, identified for ever, with quantities by meter.

use super::ids::EventId;
use super::money::Exact;
use super::names::names;
use super::period::{Instant, Span};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! meters {
    ($($(#[$doc:meta])* $meter:ident = $name:literal $context:literal),* $(,)?) => {
        /// A measured quantity with a unit. The token meters exclude each other: no token counts in two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Meter {
            $($(#[$doc])* #[serde(rename = $name)] $meter,)*
        }

        impl Meter {
            pub const ALL: &[Meter] = &[$(Meter::$meter),*];

            /// The name in records, price books and the API.
            pub fn name(self) -> &'static str {
                match self { $(Meter::$meter => $name,)* }
            }

            /// Whether it counts tokens: their meters are named so.
            pub fn is_token(self) -> bool {
                self.name().ends_with("_tokens")
            }

            /// Whether it counts hours: their meters are named so. Their parts are told finely.
            pub fn is_hours(self) -> bool {
                self.name().ends_with("_hours")
            }

            /// Whether it belongs to the context of a request, which decides on long-context prices:
            /// all input, cached and cache-written included (CONTRACTS section 2).
            pub fn is_context(self) -> bool {
                match self { $(Meter::$meter => $context,)* }
            }
        }
    };
}

meters! {
    /// Input that was neither read from nor written to a cache.
    InputTokens = "input_tokens" true,
    /// Input that was read from a cache, but for sound and pictures.
    CachedInputTokens = "cached_input_tokens" true,
    CachedAudioInputTokens = "cached_audio_input_tokens" true,
    CachedImageInputTokens = "cached_image_input_tokens" true,
    CachedVideoInputTokens = "cached_video_input_tokens" true,
    /// Written to a cache for a time that the source does not tell, or of which it has one alone.
    CacheWriteTokens = "cache_write_tokens" true,
    CacheWrite5mTokens = "cache_write_5m_tokens" true,
    CacheWrite1hTokens = "cache_write_1h_tokens" true,
    /// Visible output, without reasoning.
    OutputTokens = "output_tokens" false,
    ReasoningTokens = "reasoning_tokens" false,
    AudioInputTokens = "audio_input_tokens" true,
    AudioOutputTokens = "audio_output_tokens" false,
    ImageInputTokens = "image_input_tokens" true,
    VideoInputTokens = "video_input_tokens" true,
    ImageOutputTokens = "image_output_tokens" false,
    Requests = "requests" false,
    ToolCalls = "tool_calls" false,
    RuntimeSeconds = "runtime_seconds" false,
    StateGbHours = "state_gb_hours" false,
    VcpuHours = "vcpu_hours" false,
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No meter has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown meter \"{name}\"; the meters are {}", Meter::ALL.iter().map(|m| m.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownMeter {
    pub name: String,
}

impl FromStr for Meter {
    type Err = UnknownMeter;

    fn from_str(name: &str) -> Result<Self, UnknownMeter> {
        Self::ALL
            .iter()
            .find(|meter| meter.name() == name)
            .copied()
            .ok_or_else(|| UnknownMeter { name: name.to_owned() })
    }
}

/// Quantities by meter, each zero or more. A meter that is absent is zero.
pub type Quantities = BTreeMap<Meter, Decimal>;

/// All input of a request: what a context threshold is compared with. In tokens.
pub fn context_tokens(quantities: &Quantities) -> Decimal {
    quantities.iter().filter(|(meter, _)| meter.is_context()).map(|(_, quantity)| *quantity).sum()
}

names! {
    /// How a request ended, as its deployment saw it: what OpenTelemetry calls a span's status. What availability
    /// is proposed from; money never depends on it.
    #[derive(Hash)]
    RequestOutcome as "outcome of a request" {
        /// It was answered, or refused for a fault of its caller.
        Ok = "ok",
        /// The deployment failed to answer it.
        Error = "error",
    }
}

names! {
    /// What a source may tell of a sale, for contracts to select by, beside what its deployment tells of it.
    #[derive(Hash)]
    UsageAttribute as "attribute of usage" {
        /// The party that bought it.
        Buyer = "buyer",
        BuyerClass = "buyer_class",
        Country = "country",
        /// Free text that the seller puts on a sale, such as the kind of a fee.
        Label = "label",
    }
}

/// Attributes by name, none of them empty. Each is a field of its own: a correction of one leaves the others.
pub type UsageAttributes = BTreeMap<UsageAttribute, String>;

/// What was reported of one usage event, apart from its identity: the fields that a correction may restate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageContent {
    /// The event's instant: when the usage happened.
    pub occurred_at: Instant,
    /// Of a record of an interval: its end, exclusive. Such a record is never summed with others, as what lies
    /// within it may change.
    pub ended_at: Option<Instant>,
    /// The deployment's name as reported; whether it is known is decided when it is read.
    pub deployment: String,
    /// The product's name as reported.
    pub product: String,
    /// The customer's pseudonymous key; empty where the source names none.
    pub customer: String,
    /// `default`, `flex`, `priority`, `batch`, as reported.
    pub service_tier: String,
    /// `None` where the source reports none, which is neither of them.
    pub outcome: Option<RequestOutcome>,
    pub attributes: UsageAttributes,
    pub quantities: Quantities,
}

impl UsageContent {
    pub fn is_interval(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Whether it is of an interval that would end before it starts: then it counts nowhere.
    pub fn ends_before_start(&self) -> bool {
        self.ended_at.is_some_and(|end| end < self.occurred_at)
    }
}

/// One request's usage, as reported, immutable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageEvent {
    pub id: EventId,
    pub content: UsageContent,
}

/// Usage of a span of time, summed over all that neither a price nor a selection can tell apart. Records of
/// intervals are in no sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageSum {
    pub span: Span,
    pub deployment: String,
    pub product: String,
    /// Empty where none is named.
    pub customer: String,
    pub service_tier: String,
    pub attributes: UsageAttributes,
    /// The highest context threshold, in tokens, that each of the requests exceeds; 0 where they exceed none.
    pub context_over: u64,
    /// None of them zero.
    pub quantities: BTreeMap<Meter, Exact>,
}

impl UsageSum {
    /// Whether an event is in it. `thresholds` are those of its product.
    pub fn holds(&self, event: &UsageContent, thresholds: &BTreeSet<u64>) -> bool {
        let names = [&event.deployment, &event.product, &event.customer, &event.service_tier];
        self.span.contains(event.occurred_at)
            && names == [&self.deployment, &self.product, &self.customer, &self.service_tier]
            && event.attributes == self.attributes
            && context_over(&event.quantities, thresholds) == self.context_over
    }
}

/// The highest threshold that the context of a request exceeds, in tokens; 0 where it exceeds none.
pub fn context_over(quantities: &Quantities, thresholds: &BTreeSet<u64>) -> u64 {
    let tokens = context_tokens(quantities);
    thresholds.iter().rev().find(|over| Decimal::from(**over) < tokens).copied().unwrap_or(0)
}

/// The fields that a correction restates; the others stay as they were. It is no delta.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restatement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RequestOutcome>,
    /// Those that are restated; an empty one takes the attribute away.
    #[serde(default, skip_serializing_if = "UsageAttributes::is_empty")]
    pub attributes: UsageAttributes,
    /// An event's quantities together are one field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantities: Option<Quantities>,
}

/// What a correction or void does to what it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmendmentKind {
    Correction(Restatement),
    /// Removes an event, or a correction of one.
    Void,
}

/// A correction or void: an event of its own, with an id of its own, that names another of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    pub id: EventId,
    /// The id that it corrects or voids, within the same source.
    pub target: String,
    pub kind: AmendmentKind,
}

/// What a source's record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageMessage {
    Event(UsageEvent),
    Amendment(Amendment),
}

/// The 128-bit key of an (source, id), under which it is known for ever.
///
/// A keyed hash, so that nobody outside can craft two ids with one key.
pub fn event_key(secret: &[u8; 32], source: &str, id: &str) -> Uuid {
    let mut hashed = Hashed::default();
    hashed.text(source);
    hashed.text(id);
    first_half(blake3::keyed_hash(secret, &hashed.0))
}

/// The 128-bit key of a reply, by the id that whoever answered gave it: the same whichever source tells of it.
///
/// Keyed as those of events are, and none of them: no source is as long as what stands first would say.
pub fn reply_key(secret: &[u8; 32], id: &str) -> Uuid {
    let mut hashed = Hashed::default();
    hashed.bytes(&u32::MAX.to_le_bytes());
    hashed.text(id);
    first_half(blake3::keyed_hash(secret, &hashed.0))
}

impl UsageMessage {
    pub fn id(&self) -> &EventId {
        match self {
            UsageMessage::Event(event) => &event.id,
            UsageMessage::Amendment(amendment) => &amendment.id,
        }
    }

    /// A hash of everything reported but the identity, by value: `100` and `100.0` are equal, as are
    /// `00:00Z` and `01:00+01:00`. Equal hashes are a known duplicate, others a conflict.
    pub fn content_hash(&self) -> Uuid {
        let mut hashed = Hashed::default();
        match self {
            UsageMessage::Event(event) => {
                hashed.bytes(b"event");
                let content = &event.content;
                hashed.instant(Some(content.occurred_at));
                hashed.instant(content.ended_at);
                for text in [&content.deployment, &content.product, &content.customer, &content.service_tier] {
                    hashed.text(text);
                }
                hashed.outcome(content.outcome);
                hashed.attributes(&content.attributes);
                hashed.quantities(&content.quantities);
            }
            UsageMessage::Amendment(Amendment { target, kind, .. }) => {
                hashed.bytes(match kind {
                    AmendmentKind::Void => b"void",
                    AmendmentKind::Correction(_) => b"correction",
                });
                hashed.text(target);
                if let AmendmentKind::Correction(restated) = kind {
                    hashed.instant(restated.occurred_at);
                    hashed.instant(restated.ended_at);
                    for text in [&restated.deployment, &restated.product, &restated.customer, &restated.service_tier] {
                        hashed.optional(text.as_deref(), Hashed::text);
                    }
                    hashed.outcome(restated.outcome);
                    hashed.attributes(&restated.attributes);
                    hashed.optional(restated.quantities.as_ref(), Hashed::quantities);
                }
            }
        }
        first_half(blake3::hash(&hashed.0))
    }
}

/// What is hashed, gathered first: a hash of many small parts takes longer than all of its bytes.
struct Hashed(Vec<u8>);

impl Default for Hashed {
    fn default() -> Self {
        // Most events have fewer.
        Self(Vec::with_capacity(512))
    }
}

impl Hashed {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Length first, so that ("ab", "c") and ("a", "bc") differ; in as many bytes on every machine.
    fn text(&mut self, text: &str) {
        self.bytes(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    /// Whether it is there, and then what it is.
    fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bytes(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn instant(&mut self, at: Option<Instant>) {
        self.optional(at, |hashed, at| hashed.bytes(&at.timestamp_micros().to_le_bytes()));
    }

    fn outcome(&mut self, outcome: Option<RequestOutcome>) {
        self.optional(outcome.map(RequestOutcome::name), Self::text);
    }

    /// All attributes, told or not: none can be taken for another, nor for what follows.
    fn attributes(&mut self, attributes: &UsageAttributes) {
        for name in UsageAttribute::ALL {
            self.optional(attributes.get(name).map(String::as_str), Self::text);
        }
    }

    /// A meter that is zero is as good as absent; a trailing zero changes no value.
    fn quantities(&mut self, quantities: &Quantities) {
        for (meter, quantity) in quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            self.text(meter.name());
            let quantity = quantity.normalize();
            let digits = quantity.mantissa().to_le_bytes();
            let last = digits.iter().rposition(|byte| *byte != 0);
            let digits = last.and_then(|last| digits.get(..=last)).unwrap_or_default();
            // How fine it is and how long, which take a byte each, and its digits without the zeros before them.
            self.bytes(&[quantity.scale().to_le_bytes()[0], digits.len().to_le_bytes()[0]]);
            self.bytes(digits);
        }
    }
}

/// The first 128 bits of a hash.
fn first_half(hash: blake3::Hash) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::period::parse_instant;

    #[test]
    fn a_sum_holds_what_nothing_tells_apart_from_it() {
        let at = |text: &str| parse_instant(text).expect("an instant");
        let (start, end) = (at("2026-05-01T10:00:00Z"), at("2026-05-01T11:00:00Z"));
        let tokens = |tokens: u32| Quantities::from([(Meter::InputTokens, Decimal::from(tokens))]);
        let thresholds = BTreeSet::from([100_000, 200_000, 300_000]);
        let event = UsageContent {
            occurred_at: start,
            ended_at: None,
            deployment: "d".to_owned(),
            product: "p".to_owned(),
            customer: "c".to_owned(),
            service_tier: "default".to_owned(),
            outcome: None,
            attributes: UsageAttributes::new(),
            quantities: tokens(200_001),
        };
        let sum = UsageSum {
            span: Span { start, end },
            deployment: "d".to_owned(),
            product: "p".to_owned(),
            customer: "c".to_owned(),
            service_tier: "default".to_owned(),
            attributes: UsageAttributes::new(),
            context_over: 200_000,
            quantities: BTreeMap::new(),
        };
        let holds = |change: &dyn Fn(&mut UsageContent)| {
            let mut event = event.clone();
            change(&mut event);
            sum.holds(&event, &thresholds)
        };
        assert!(holds(&|_| ()));
        assert!(holds(&|it| it.quantities = tokens(300_000)), "it exceeds no more than 200,000");
        assert!(!holds(&|it| it.quantities = tokens(200_000)), "it exceeds no more than 100,000");
        assert!(!holds(&|it| it.occurred_at = end));
        assert!(!holds(&|it| it.deployment = "e".to_owned()));
        assert!(!holds(&|it| it.product = "q".to_owned()));
        assert!(!holds(&|it| it.customer = String::new()));
        assert!(!holds(&|it| it.service_tier = "batch".to_owned()));
        assert!(!holds(&|it| it.attributes = UsageAttributes::from([(UsageAttribute::Country, "FR".to_owned())])));
    }

    #[test]
    fn reports_whose_quantities_differ_in_value_are_told_apart() {
        let reported = |quantities: &[(Meter, &str)]| {
            let quantities = quantities.iter().map(|(meter, text)| (*meter, text.parse().expect("a decimal")));
            let restated = Restatement { quantities: Some(quantities.collect()), ..Restatement::default() };
            let id = EventId { source: "s".to_owned(), id: "c".to_owned() };
            let kind = AmendmentKind::Correction(restated);
            UsageMessage::Amendment(Amendment { id, target: "e".to_owned(), kind }).content_hash()
        };
        let of = |text| reported(&[(Meter::StateGbHours, text)]);
        let texts =
            ["0", "1", "10", "0.1", "0.01", "255", "256", "25.6", "65536", "0.000000000000001", "1000000000000000"];
        let mut hashes: Vec<Uuid> = texts.iter().map(|text| of(text)).collect();
        hashes.push(reported(&[(Meter::Requests, "1")]));
        hashes.push(reported(&[(Meter::Requests, "1"), (Meter::ToolCalls, "1")]));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), texts.len() + 2);
        assert_eq!([of("1.0"), of("10.00"), of("0.10")], [of("1"), of("10"), of("0.1")]);
        assert_eq!(reported(&[(Meter::Requests, "1"), (Meter::ToolCalls, "0")]), reported(&[(Meter::Requests, "1")]));
    }
}
