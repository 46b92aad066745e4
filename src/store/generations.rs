//! Generations of events: each a part of the table with an index of its own, of which the newest takes what comes.

use super::recording::{LockMode, lock};
use super::{StoreError, limit_lock_wait};
use futures_util::TryStreamExt;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::ops::Range;
use std::time::Duration;
use uuid::Uuid;

/// How many bytes of a filter a row holds.
const PART_BYTES: usize = 8 << 20;

/// How long the next generation waits for those who record: meanwhile nobody else can begin to, and it may be tried again.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many batches a generation has numbers for, as `usage_generation` says.
const BATCHES: i64 = 10_000_000_000;

/// A part of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// From 1.
    pub number: i32,
    pub first_batch: i64,
}

impl Generation {
    /// Of which its events are.
    pub fn batches(self) -> Range<i64> {
        self.first_batch..self.first_batch.saturating_add(BATCHES)
    }

    /// The part of a table in which the rows of a batch lie.
    pub(super) fn part_of(table: &str, batch: i64) -> String {
        format!("{table}_{}", batch.saturating_sub(1) / BATCHES + 1)
    }
}

/// All generations in their order: the last one takes what comes, and those before it never change. At least one.
///
/// # Errors
/// The database's.
pub async fn load(conn: &mut PgConnection) -> Result<Vec<Generation>, StoreError> {
    let generations = sqlx::query_as!(
        Generation,
        r#"select generation as number, first_batch as "first_batch!" from usage_generation order by generation"#
    );
    Ok(generations.fetch_all(conn).await?)
}

/// Whether it is time for the next one.
///
/// # Errors
/// The database's.
pub async fn is_newest_full(conn: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"select usage_generation_is_full() as "is_full!""#).fetch_one(conn).await?)
}

/// Opens the next generation if it is time for it, once nobody records; tells whether it did.
///
/// # Errors
/// The database's; [`StoreError::is_lock_timeout`] where somebody recorded all the time.
pub async fn open_next(pool: &PgPool) -> Result<bool, StoreError> {
    let mut transaction = pool.begin().await?;
    limit_lock_wait(&mut transaction, PATIENCE).await?;
    lock(&mut transaction, LockMode::Exclusive).await?;
    // Others may have come first.
    if !is_newest_full(&mut transaction).await? {
        return Ok(false);
    }
    sqlx::query!("select open_usage_generation()").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// The bits of a sealed generation's filter, where somebody made one of this format.
///
/// # Errors
/// The database's.
pub async fn load_filter(
    conn: &mut PgConnection,
    generation: Generation,
    format: i32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut parts = sqlx::query_scalar!(
        "select bits from usage_generation_filter where generation = $1 and format = $2 order by part",
        generation.number,
        format
    )
    .fetch(conn);
    let mut bits: Option<Vec<u8>> = None;
    while let Some(part) = parts.try_next().await? {
        bits.get_or_insert_default().extend(part);
    }
    Ok(bits)
}

/// Begins to make a filter: all that is read and kept until its commit is of one state of the database.
///
/// # Errors
/// The database's.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    Ok(pool.begin_with("begin isolation level repeatable read").await?)
}

/// How many events a generation has.
///
/// # Errors
/// The database's.
pub async fn count(conn: &mut PgConnection, generation: Generation) -> Result<usize, StoreError> {
    let batches = generation.batches();
    let events = sqlx::query_scalar!(
        r#"select coalesce(sum(stored + stored_unresolved), 0)::bigint as "events!" from usage_batch
           where batch_id >= $1 and batch_id < $2"#,
        batches.start,
        batches.end
    );
    let events = events.fetch_one(conn).await?;
    StoreError::decoded("the events of a generation", generation.number, usize::try_from(events))
}

/// Hands over the keys of a generation's events, one by one: of all of them, also where some are in an archive alone.
///
/// # Errors
/// The database's.
pub async fn each_key(
    conn: &mut PgConnection,
    generation: Generation,
    mut take: impl FnMut(Uuid),
) -> Result<(), StoreError> {
    let is_archived = sqlx::query_scalar!(
        r#"select exists (select from usage_archive where generation = $1) as "is_archived!""#,
        generation.number
    );
    if is_archived.fetch_one(&mut *conn).await? {
        let mut parts = sqlx::query_scalar!(
            "select event_keys from usage_archive_identity where generation = $1",
            generation.number
        )
        .fetch(conn);
        while let Some(keys) = parts.try_next().await? {
            keys.into_iter().for_each(&mut take);
        }
        return Ok(());
    }
    let batches = generation.batches();
    let mut keys = sqlx::query_scalar!(
        "select event_key from usage_event_row where batch_id >= $1 and batch_id < $2",
        batches.start,
        batches.end
    )
    .fetch(conn);
    while let Some(key) = keys.try_next().await? {
        take(key);
    }
    Ok(())
}

/// Keeps the bits of a sealed generation's filter, unless another made it meanwhile.
///
/// # Errors
/// The database's; that the generation is not sealed.
pub async fn save_filter(
    conn: &mut PgConnection,
    generation: Generation,
    format: i32,
    bits: &[u8],
) -> Result<(), StoreError> {
    for (part, bits) in bits.chunks(PART_BYTES).enumerate() {
        sqlx::query!(
            "insert into usage_generation_filter (generation, format, part, bits) values ($1, $2, $3, $4)
             on conflict do nothing",
            generation.number,
            format,
            StoreError::encoded::<i32, _>("usage_generation_filter.part", part)?,
            bits
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_its_generation() {
        let second = Generation { number: 2, first_batch: BATCHES + 1 };
        let part = |batch| Generation::part_of("usage_event_row", batch);
        assert_eq!([part(1), part(BATCHES)], ["usage_event_row_1", "usage_event_row_1"]);
        let batches = second.batches();
        assert_eq!([part(batches.start), part(batches.end - 1)], ["usage_event_row_2", "usage_event_row_2"]);
        assert_eq!(part(batches.end), "usage_event_row_3");
    }
}
