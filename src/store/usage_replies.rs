//! Which events report which reply: written with their batch, for those alone that tell.

use super::StoreError;
use super::copy::CopyRows;
use super::generations::Generation;
use super::usage_rows::EventRow;
use sqlx::PgConnection;
use uuid::Uuid;

/// Writes the replies of a batch's events, sorted, so that each page of the index is touched once.
pub(super) async fn copy_replies(
    connection: &mut PgConnection,
    batch: i64,
    events: &[&EventRow],
) -> Result<(), StoreError> {
    let of_event = |event: &&EventRow| event.reply.map(|reply| (reply, event.key));
    let mut replies: Vec<(Uuid, Uuid)> = events.iter().filter_map(of_event).collect();
    replies.sort_unstable();
    let mut copy = CopyRows::new(Generation::part_of("usage_reply", batch), &["reply_key", "event_key", "batch_id"]);
    for (reply, event) in replies {
        copy.row();
        copy.uuid(reply);
        copy.uuid(event);
        copy.int8(batch);
    }
    copy.send(connection).await
}
