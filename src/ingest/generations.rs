//! What is done about generations beside the batches: the next one is opened when the newest is full, and the filters of
//! sealed ones are fetched, or made and kept.

use super::key_filter::{FORMAT, KeyFilter};
use super::known_keys::{Era, KnownKeys};
use crate::store::StoreError;
use crate::store::generations::{self, Generation};
use sqlx::{PgConnection, PgPool};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};
use tokio::task::JoinSet;

/// After how many stored events it is looked whether the newest generation is full, and how long after the last look: who
/// waits to open the next one has others wait too.
const LOOK_AFTER: u64 = 100_000;
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What writers share with the work that goes on beside their batches.
pub(super) type Shared = Arc<Mutex<KnownKeys>>;

pub(super) fn locked(known: &Mutex<KnownKeys>) -> MutexGuard<'_, KnownKeys> {
    // Whoever panicked while holding it left whole entries; and the unique index decides.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One per writer. What it is at ends with it, and is begun again by another.
pub(super) struct Generations {
    pool: PgPool,
    known: Shared,
    /// Events that were stored since it was looked, and when that was.
    stored: u64,
    looked: Option<Clock>,
    opening: JoinSet<()>,
    making: JoinSet<()>,
}

impl Generations {
    pub(super) fn new(pool: PgPool, known: Shared) -> Self {
        // Another writer may have filled it.
        Self { pool, known, stored: LOOK_AFTER, looked: None, opening: JoinSet::new(), making: JoinSet::new() }
    }

    /// After a batch, which waits for nothing of it.
    pub(super) fn stored(&mut self, events: u64) {
        self.stored = self.stored.saturating_add(events);
        let is_time = self.stored >= LOOK_AFTER && self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if events > 0 && is_time && has_ended(&mut self.opening) {
            (self.stored, self.looked) = (0, Some(Clock::now()));
            self.opening.spawn(open_next(self.pool.clone()));
        }
    }

    /// Makes the filters that would be worth it and that nobody kept, while batches look up all of their keys.
    pub(super) fn make_filters(&mut self) {
        if locked(&self.known).wants_filter().is_some() && has_ended(&mut self.making) {
            self.making.spawn(make_wanted(self.pool.clone(), Arc::clone(&self.known)));
        }
    }
}

fn has_ended(work: &mut JoinSet<()>) -> bool {
    while work.try_join_next().is_some() {}
    work.is_empty()
}

async fn open_next(pool: PgPool) {
    match begin_next(&pool).await {
        Ok(true) => tracing::info!("a new generation of events is begun, as the index of the last one is full"),
        Ok(false) => {}
        // Until then it is only slower.
        Err(error) => tracing::warn!(%error, "the next generation of events is not ready yet; it is tried again"),
    }
}

/// Opens the next generation if the newest is full, and makes the filter of that one; tells whether it did.
///
/// # Errors
/// The database's, or somebody recorded all the time.
pub async fn begin_next(pool: &PgPool) -> Result<bool, StoreError> {
    // Without a lock first, as it is seldom time for it.
    if !generations::is_newest_full(&mut *pool.acquire().await?).await? || !generations::open_next(pool).await? {
        return Ok(false);
    }
    let all = generations::load(&mut *pool.acquire().await?).await?;
    if let [.., sealed, _] = all.as_slice() {
        make_filter(pool, *sealed).await?;
    }
    Ok(true)
}

/// Fetches those of some sealed generations' filters that somebody made and kept.
///
/// # Errors
/// The database's.
pub(super) async fn fetch_kept(
    conn: &mut PgConnection,
    known: &Shared,
    (wanted, era): (Vec<Generation>, Era),
) -> Result<(), StoreError> {
    for generation in wanted {
        if let Some(filter) = kept(conn, generation).await? {
            locked(known).know_sealed(generation, filter, &era);
        }
    }
    Ok(())
}

/// Makes the filters of the sealed generations that were asked about and have none here, unless others have meanwhile.
async fn make_wanted(pool: PgPool, known: Shared) {
    loop {
        let Some((generation, era)) = locked(&known).wants_filter() else { return };
        match filter(&pool, generation).await {
            Ok(filter) => locked(&known).know_sealed(generation, filter, &era),
            Err(error) => {
                let generation = generation.number;
                return tracing::warn!(%error, generation, "a filter cannot be had; all keys are looked up meanwhile");
            }
        }
    }
}

async fn filter(pool: &PgPool, generation: Generation) -> Result<KeyFilter, StoreError> {
    let kept = kept(&mut *pool.acquire().await?, generation).await?;
    match kept {
        Some(filter) => Ok(filter),
        None => make_filter(pool, generation).await,
    }
}

async fn kept(conn: &mut PgConnection, generation: Generation) -> Result<Option<KeyFilter>, StoreError> {
    let bits = generations::load_filter(conn, generation, FORMAT).await?;
    Ok(bits.and_then(|bits| KeyFilter::from_bits(&bits)))
}

/// Makes the filter of a sealed generation of its keys, and keeps it.
async fn make_filter(pool: &PgPool, generation: Generation) -> Result<KeyFilter, StoreError> {
    let mut transaction = generations::begin(pool).await?;
    let events = generations::count(&mut transaction, generation).await?;
    let (mut filter, mut keys) = (KeyFilter::new(events), 0_usize);
    generations::each_key(&mut transaction, generation, |key| {
        filter.insert(key);
        keys = keys.saturating_add(1);
    })
    .await?;
    // One that lacks a key would have its event counted twice.
    if keys != events {
        return Err(StoreError::LacksKeys { generation: generation.number, keys, events });
    }
    generations::save_filter(&mut transaction, generation, FORMAT, &filter.bits()).await?;
    transaction.commit().await?;
    Ok(filter)
}
