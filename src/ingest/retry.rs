//! Decodes kept rejections again, after a decoder was mended, and takes in those that are right now.

use super::batch::Position;
use super::writer::Writer;
use crate::sources::cloudevents;
use crate::store::StoreError;
use crate::store::rejections::{load_kept, mark_taken};
use crate::store::usage_rows::{Counts, Door};
use sqlx::PgPool;

/// How many rejections one transaction takes.
const BATCH: i64 = 1000;

/// What a retry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Retried {
    /// Decoded now, by what became of them.
    pub taken: Counts,
    /// Still rejected: they stay as they are.
    pub still_rejected: u64,
}

/// Decodes every kept rejection again, of one reason where it is named.
///
/// # Errors
/// The database's; what was taken in before stays.
pub async fn retry(writer: &mut Writer, pool: &PgPool, reason: Option<&str>) -> Result<Retried, StoreError> {
    let mut retried = Retried::default();
    let mut last = 0;
    loop {
        let kept = load_kept(pool, last, reason, BATCH).await?;
        let Some(end) = kept.last().map(|rejection| rejection.rejection_id) else { break };
        last = end;
        let (mut messages, mut taken) = (Vec::new(), Vec::new());
        for rejection in kept {
            match cloudevents::decode_structured(&rejection.payload) {
                Ok(message) => {
                    let position = Position::Retry { rejection_id: rejection.rejection_id };
                    messages.push(writer.message(position, Ok(message)));
                    taken.push(rejection.rejection_id);
                }
                Err(_) => retried.still_rejected = retried.still_rejected.saturating_add(1),
            }
        }
        if !messages.is_empty() {
            retried.taken.add(&writer.write(&messages, None, Door::Retry).await?);
            mark_taken(pool, &taken).await?;
        }
    }
    Ok(retried)
}
