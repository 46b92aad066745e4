//! Decodes kept rejections again, after a decoder was mended, and takes in those that are right now.

use super::messages::{Messages, Position};
use super::writer::Writer;
use crate::domain::outcome::Counts;
use crate::sources::{Decoded, Reader, RejectionReason};
use crate::store::StoreError;
use crate::store::rejections::{IdRange, KeptRejection, count_open, last_rejection, load_kept};
use crate::store::usage_rows::Intake;
use sqlx::PgPool;

/// How many rejections one transaction takes.
const BATCH: i64 = 1000;

/// What a retry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Retried {
    /// The records that are decoded now, by what became of them. Those `rejected` are refused by what stands; they stay
    /// as they are.
    pub taken: Counts,
    /// Records that are rejected still, whether or not they could be decoded again: of the reason that was named, or all.
    pub still_rejected: u64,
}

/// Decodes every rejected record again that was open and kept when this began, of one reason where it is named, as the reader of its
/// source reads now.
///
/// # Errors
/// The database's; what was taken in before stays.
pub async fn retry(
    writer: &mut Writer,
    pool: &PgPool,
    readers: &[Reader],
    reason: Option<&str>,
) -> Result<Retried, StoreError> {
    let mut retried = Retried::default();
    // What others reject meanwhile waits for the next retry, so that this one ends.
    let mut range = IdRange { after: 0, up_to: last_rejection(pool).await? };
    let refusals: Vec<String> = RejectionReason::ALL
        .iter()
        .filter(|reason| reason.is_refusal())
        .map(|reason| reason.name().to_owned())
        .collect();
    loop {
        let kept = load_kept(pool, range, reason, &refusals, BATCH).await?;
        let Some(last) = kept.last() else { break };
        range.after = last.rejection_id;
        let mut messages = Messages::default();
        for rejection in kept {
            if let Some(decoded) = read_again(&rejection, readers) {
                let position = Position::Retry { rejection_id: rejection.rejection_id };
                writer.add(&mut messages, position, decoded);
            }
        }
        if !messages.is_empty() {
            retried.taken += writer.write(&messages, None, Intake::Retry).await?.counts;
        }
    }
    retried.still_rejected = count_open(pool, reason).await?;
    Ok(retried)
}

/// What a kept record comes to by now; nothing where it is still rejected, or of a later build, which may read it.
fn read_again(kept: &KeptRejection, readers: &[Reader]) -> Option<Decoded> {
    let format = kept.format.parse().ok()?;
    let carrier = serde_json::from_value(kept.carrier.clone()).ok()?;
    // The configuration has at most one: those of one source and format say the same.
    let reader = readers.iter().find(|reader| (&reader.source, reader.format) == (&kept.source, format));
    // A source that no configuration names any more says nothing but its name.
    let unknown = Reader { source: kept.source.clone(), ..Reader::default() };
    // A record is kept alone.
    let decoded = reader.unwrap_or(&unknown).read_again(format, &carrier, &kept.payload).pop();
    decoded.filter(|decoded| !matches!(decoded, Decoded::Rejected(_)))
}
