//! How far each Kafka partition was read. Postgres is the truth: the offset moves in the transaction that
//! stores what was read.

use super::StoreError;
use sqlx::{PgConnection, PgExecutor};
use std::collections::BTreeMap;

/// One step of a partition: from the offset that the database must expect next to the one after the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    pub topic: String,
    pub partition: i32,
    /// None where nothing of the partition was ever stored.
    pub expected: Option<i64>,
    pub next: i64,
}

/// The offsets that come next, by topic and partition.
///
/// # Errors
/// The database's.
pub async fn load(
    executor: impl PgExecutor<'_>,
    cluster_id: &str,
    topics: &[String],
) -> Result<BTreeMap<(String, i32), i64>, StoreError> {
    let rows = sqlx::query!(
        "select topic, partition, next_offset from kafka_offset where cluster_id = $1 and topic = any($2)",
        cluster_id,
        topics
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.topic, row.partition), row.next_offset)).collect())
}

/// Moves partitions forward, if the database expects exactly what the writer does.
///
/// Locks the rows until the transaction ends, in the order of `advances`, which must be that of (topic,
/// partition), the same for all writers: so two writers of one partition never wait in a ring.
///
/// # Errors
/// [`StoreError::Fenced`] for the first partition that stands elsewhere.
pub async fn advance(connection: &mut PgConnection, cluster_id: &str, advances: &[Advance]) -> Result<(), StoreError> {
    for Advance { topic, partition, expected, next } in advances {
        let moved = match expected {
            Some(expected) => sqlx::query!(
                "update kafka_offset set next_offset = $5
                 where cluster_id = $1 and topic = $2 and partition = $3 and next_offset = $4",
                cluster_id,
                topic,
                partition,
                expected,
                next
            ),
            None => sqlx::query!(
                "insert into kafka_offset (cluster_id, topic, partition, next_offset) values ($1, $2, $3, $4)
                 on conflict do nothing",
                cluster_id,
                topic,
                partition,
                next
            ),
        };
        if moved.execute(&mut *connection).await?.rows_affected() == 0 {
            return Err(StoreError::Fenced { topic: topic.clone(), partition: *partition, expected: *expected });
        }
    }
    Ok(())
}
