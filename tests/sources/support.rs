//! What the tests of decoders share.

pub use crate::beside::beside;
pub use crate::costs::costs;
use apportion::domain::usage::{UsageContent, UsageMessage};
use apportion::sources::{Context, Decoded, Format, NoUsage, Rejection, RejectionReason, Usage, decode};
use std::path::PathBuf;

/// A text that stands where prompts and answers do: it may never come out again.
pub const SECRET: &str = "My salary is a SECRET of 4711 euros.";

/// The one usage that a message holds.
#[track_caller]
pub fn usage(format: Format, text: &str, context: &Context<'_>) -> Usage {
    match single(format, text, context) {
        Decoded::Usage(usage) => *usage,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn single(format: Format, text: &str, context: &Context<'_>) -> Decoded {
    let mut decoded = decode(format, text.as_bytes(), context);
    assert!(!format!("{decoded:?}").contains("SECRET"), "{decoded:?}");
    assert_eq!(decoded.len(), 1, "{decoded:?}");
    decoded.remove(0)
}

/// What is metered, in words.
#[track_caller]
pub fn meters(format: Format, text: &str, context: &Context<'_>) -> String {
    told(content(&usage(format, text, context)))
}

pub fn content(usage: &Usage) -> &UsageContent {
    match &usage.message {
        UsageMessage::Event(event) => &event.content,
        UsageMessage::Amendment(_) => panic!("{usage:?}"),
    }
}

pub fn told(content: &UsageContent) -> String {
    let told: Vec<_> = content.quantities.iter().map(|(meter, quantity)| format!("{meter} {quantity}")).collect();
    told.join(", ")
}

/// Why a message is refused. What is kept of it must lead to the same again, and hold nothing of its text.
#[track_caller]
pub fn refusal(format: Format, text: &str, context: &Context<'_>) -> (RejectionReason, String) {
    let rejection = match single(format, text, context) {
        Decoded::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    };
    let Rejection { reason, detail, origin, content_type, redacted } = rejection;
    assert_eq!(origin.format, format);
    let kept = String::from_utf8(redacted).expect("a text");
    assert!(!kept.contains("SECRET"), "{kept}");
    if content_type == "application/json" {
        match single(format, &kept, context) {
            Decoded::Rejected(again) => assert_eq!(again.reason, reason, "{kept}"),
            other => panic!("{kept}: {other:?}"),
        }
    }
    (reason, detail)
}

#[track_caller]
pub fn refuses(format: Format, text: &str, reason: RejectionReason, detail: &str) {
    assert_eq!(refusal(format, text, &beside()), (reason, detail.to_owned()));
}

#[track_caller]
pub fn no_usage(format: Format, text: &str, why: NoUsage) {
    assert_eq!(single(format, text, &beside()), Decoded::NoUsage(why));
}

/// A file of the folder `shared` beside the checkout, or none, which is said aloud.
pub fn shared(path: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("{} is missing: the records in it are not tried", path.display());
    }
    bytes
}
