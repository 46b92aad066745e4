//! Record formats: bytes in, a usage message or a rejection out. Pure; one file per format.

pub mod cloudevents;
mod fields;
mod redact;

use crate::domain::amendment::Refusal;
use crate::domain::names::names;

/// The longest message that is taken, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

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
        NameTooLong = "name_too_long",
        NulCharacter = "nul_character",
        /// A correction that restates nothing.
        NothingRestated = "nothing_restated",
        CorrectionOfVoided = "correction_of_voided",
        CorrectionOfAmendment = "correction_of_amendment",
        VoidOfVoid = "void_of_void",
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
    /// What `redacted` is, as a content type.
    pub content_type: &'static str,
    /// The message with allow-listed fields only.
    pub redacted: Vec<u8>,
}

/// A fault found while decoding; with the message's redacted bytes it becomes a [`Rejection`].
struct Fault {
    reason: RejectionReason,
    detail: String,
}

fn fault(reason: RejectionReason, detail: impl Into<String>) -> Fault {
    Fault { reason, detail: detail.into() }
}
