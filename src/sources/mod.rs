//! Record formats: bytes in, a usage message or a rejection out. Pure; one file per format.

// No bytes make a decoder panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::float_arithmetic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod agent_runtime;
mod anthropic_messages;
mod azure_gateway;
mod bedrock_converse;
mod bedrock_invocation;
pub mod cloudevents;
mod columns;
mod decode;
mod fields;
mod focus;
mod litellm;
pub mod mapping;
mod node;
mod number;
mod oci;
mod openai_chat;
mod openai_responses;
mod openai_usage;
mod openmeter;
mod otel;
mod otlp_protobuf;
mod reader;
mod record;
mod redact;
mod source;
mod vertex;

pub use columns::{ALL_OTHERS, Columns, WrongColumns};
pub use decode::{Decoded, Format, Usage, decode};
pub use focus::{CostColumns, WrongCost};
pub use reader::{Carrier, Origin, Reader};
pub use source::{Context, NoUsage};

use crate::domain::amendment::Refusal;
use crate::domain::ids::EventId;
use crate::domain::names::names;

/// The longest message that is taken, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The longest message of a format that gathers the records of many calls, in bytes.
pub const MAX_GATHERED_BYTES: usize = 16 << 20;

/// The content type of what is kept of bytes that could not be parted into records: their shape alone.
pub const SHAPE_CONTENT_TYPE: &str = "application/octet-stream";

/// The longest name or id that is taken, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

names! {
    /// Why a message was rejected. The names are stable: metrics, reports and replays use them.
    #[derive(Hash)]
    RejectionReason as "reason of a rejection" {
        /// A tombstone, or a message without content.
        EmptyMessage = "empty_message",
        MessageTooLarge = "message_too_large",
        /// Neither structured nor binary mode, or a content type that we do not read.
        UnsupportedContentType = "unsupported_content_type",
        NotJson = "not_json",
        /// A CloudEvents attribute is missing or is no text.
        WrongAttribute = "wrong_attribute",
        UnknownType = "unknown_type",
        /// `time` or `occurred_at` is no RFC 3339 instant with a zone.
        WrongTime = "wrong_time",
        /// A record of an interval ends before it starts, by itself or as corrections restate it.
        EndsBeforeStart = "ends_before_start",
        MissingField = "missing_field",
        UnknownField = "unknown_field",
        WrongField = "wrong_field",
        UnknownMeter = "unknown_meter",
        UnknownAttribute = "unknown_attribute",
        WrongQuantity = "wrong_quantity",
        NegativeQuantity = "negative_quantity",
        /// Parts that do not make up their total, or lie outside it.
        BrokenIdentity = "broken_identity",
        /// Breakdowns that overlap in a way that the record does not tell.
        UndeterminedSplit = "undetermined_split",
        /// Bytes that are not packed as their format says.
        WrongPacking = "wrong_packing",
        NameTooLong = "name_too_long",
        NulCharacter = "nul_character",
        /// A correction that restates nothing.
        NothingRestated = "nothing_restated",
        CorrectionOfVoided = "correction_of_voided",
        CorrectionOfAmendment = "correction_of_amendment",
        VoidOfVoid = "void_of_void",
        /// The event that a correction or void names is in an archive: once it is brought back, it is taken.
        ArchivedTarget = "archived_target",
    }
}

impl RejectionReason {
    /// Whether it was refused for what it says, or what stood before it. Such a message was decoded: no mended
    /// decoder takes it.
    pub fn is_refusal(self) -> bool {
        self == Self::EndsBeforeStart
            || [Refusal::CorrectionOfVoided, Refusal::CorrectionOfAmendment, Refusal::VoidOfVoid]
                .into_iter()
                .any(|refusal| Self::from(refusal) == self)
    }
}

impl From<Refusal> for RejectionReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CorrectionOfVoided => Self::CorrectionOfVoided,
            Refusal::CorrectionOfAmendment => Self::CorrectionOfAmendment,
            Refusal::VoidOfVoid => Self::VoidOfVoid,
        }
    }
}

/// A message that could not be taken. It is recorded, with its position, and can be decoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: RejectionReason,
    /// Names the place and what would be right. Never quotes the message: it could hold a prompt.
    pub detail: String,
    pub origin: Origin,
    /// What `redacted` is, as a content type.
    pub content_type: &'static str,
    /// The message with allow-listed fields only.
    pub redacted: Vec<u8>,
}

impl Rejection {
    /// Of what it would have been, where what is kept of it says so. Of our own events alone: of others an id is made of
    /// several fields, or of where they were read.
    pub fn event_id(&self) -> Option<EventId> {
        #[derive(serde::Deserialize)]
        struct Named {
            source: String,
            id: String,
        }
        let named = |Named { source, id }| EventId { source, id };
        let is_ours = self.origin.format == Format::CloudEvents;
        serde_json::from_slice(&self.redacted).ok().filter(|_| is_ours).map(named)
    }
}

/// A fault found while decoding; with the message's redacted bytes it becomes a [`Rejection`].
struct Fault {
    reason: RejectionReason,
    detail: String,
}

fn fault(reason: RejectionReason, detail: impl Into<String>) -> Fault {
    Fault { reason, detail: detail.into() }
}

fn check_size(bytes: &[u8], max: usize) -> Result<(), Fault> {
    if bytes.len() > max {
        let detail = format!("{} bytes; a message may have {max}", bytes.len());
        return Err(fault(RejectionReason::MessageTooLarge, detail));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(fault(RejectionReason::EmptyMessage, "no content; a tombstone means nothing here"));
    }
    Ok(())
}

/// Keeps nothing that could be decoded again.
fn reject_shape(fault: Fault, bytes: &[u8]) -> Rejection {
    let Fault { reason, detail } = fault;
    let (origin, redacted) = (Origin::default(), redact::mask(bytes));
    Rejection { reason, detail, origin, content_type: SHAPE_CONTENT_TYPE, redacted }
}
