//! Reverts of backfills: voids of what one brought and still stands, by the same writer as any other, or on trial.
//!
//! Batch by batch, the events first: what becomes of a correction depends on its event. Each batch is looked at and taken
//! back by one who records alone, so that nobody corrects between the two what is taken back. What was taken back is
//! voided, so that one that was interrupted goes on where it stopped.

use super::backfill::BackfillError;
use super::file::Patience;
use super::messages::{Messages, Position};
use super::trial::{MAX_TRIED, Trial, TrialError, Tried, attempt};
use super::writer::Writer;
use crate::domain::backfill::{BackfillStatus, Brought, Fate, Stays, taking_back};
use crate::domain::ids::EventId;
use crate::domain::outcome::Counts;
use crate::sources::Decoded;
use crate::sources::cloudevents::Told;
use crate::store::StoreError;
use crate::store::backfill_contents::{load_amendments, load_events};
use crate::store::backfills::{self, Backfill, Reason};
use crate::store::recording::{self, LockMode};
use crate::store::usage_rows::Intake;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;

/// Something that a backfill brought and that is not taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub id: EventId,
    pub what: Brought,
    pub why: Stays,
}

/// What a revert did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reverted {
    /// What became of the voids that take back.
    pub voids: Counts,
    /// How many events, corrections and voids had no effect any more before.
    pub gone: u64,
    pub kept: Vec<Kept>,
}

/// What is looked at of a batch at once.
#[derive(Clone, Copy)]
enum Half {
    Events,
    Amendments,
}

/// What there is to do about a half of a batch.
#[derive(Default)]
struct Plan {
    taken_back: Vec<EventId>,
    gone: u64,
    kept: Vec<Kept>,
}

impl Plan {
    fn add(&mut self, id: EventId, what: Brought, fate: Fate) {
        match fate {
            Fate::TakenBack => self.taken_back.push(id),
            Fate::Gone => self.gone = self.gone.saturating_add(1),
            Fate::Stays(why) => self.kept.push(Kept { id, what, why }),
        }
    }
}

impl Reverted {
    fn add(&mut self, plan: Plan, voids: Counts) {
        self.voids += voids;
        self.gone = self.gone.saturating_add(plan.gone);
        self.kept.extend(plan.kept);
    }

    /// Whether nothing is left that could ever be taken back.
    pub fn is_all(&self) -> bool {
        self.kept.iter().all(|kept| kept.why.is_for_ever()) && self.voids.conflict == 0 && self.voids.rejected == 0
    }
}

/// Takes back all of a backfill that can be. Of one that is reverted already nothing
/// is left to take back, and it is told what stays.
///
/// # Errors
/// There is no such backfill, or the database stays away. What was taken back before stays so.
pub async fn revert(pool: &PgPool, writer: &Writer, name: &str, reason: &Reason) -> Result<Reverted, BackfillError> {
    let backfill = find(&mut *pool.acquire().await?, name).await?;
    let mut transaction = pool.begin().await?;
    if backfills::lock(&mut transaction, backfill.id).await? != BackfillStatus::Reverted {
        backfills::append_status(&mut transaction, backfill.id, BackfillStatus::Reverting, reason).await?;
        backfills::forget_position(&mut transaction, backfill.id).await?;
    }
    transaction.commit().await?;
    let mut reverted = Reverted::default();
    for (half, batch) in halves(&mut *pool.acquire().await?, &backfill).await? {
        let mut patience = Patience::default();
        let (plan, voids) = loop {
            match take_back(pool, writer, &backfill, half, batch).await {
                Ok(done) => break done,
                Err(error) => patience.wait(error).await?,
            }
        };
        reverted.add(plan, voids);
    }
    let mut transaction = pool.begin().await?;
    if backfills::lock(&mut transaction, backfill.id).await? == BackfillStatus::Reverting && reverted.is_all() {
        backfills::append_status(&mut transaction, backfill.id, BackfillStatus::Reverted, reason).await?;
    }
    transaction.commit().await?;
    Ok(reverted)
}

/// Takes back on trial what [`revert`] would, and measures what that would change; nothing of it is stored.
///
/// # Errors
/// There is no such backfill, it is too large to be tried, or others are in the way; within, what `measure` fails with.
pub async fn preview_revert<T, E>(
    pool: &PgPool,
    name: &str,
    measure: impl AsyncFn(&mut PgConnection, &Tried) -> Result<T, E>,
) -> Result<Result<(Reverted, T), E>, BackfillError> {
    let backfill = find(&mut *pool.acquire().await?, name).await?;
    let write = async |trial: &mut Trial| -> Result<Reverted, TrialError> {
        let mut reverted = Reverted::default();
        for (half, batch) in halves(trial.connection(), &backfill).await? {
            let plan = plan(trial.connection(), &backfill, half, batch).await?;
            let voids = voids(&backfill, batch, &plan, trial.adder());
            let counts = if voids.is_empty() { Counts::default() } else { trial.write(&voids).await? };
            reverted.add(plan, counts);
        }
        Ok(reverted)
    };
    let tried = attempt(pool, MAX_TRIED, write, measure).await?;
    Ok(tried.map(|(_, reverted, measured)| (reverted, measured)))
}

/// What of a backfill would stay if it were reverted now, or stayed when it was.
///
/// # Errors
/// The database's.
pub async fn kept(conn: &mut PgConnection, backfill: &Backfill) -> Result<Vec<Kept>, StoreError> {
    let mut all: Vec<Kept> = Vec::new();
    for (half, batch) in halves(&mut *conn, backfill).await? {
        let kept = plan(&mut *conn, backfill, half, batch).await?.kept;
        // The events come first: a correction stays with one that stays, and goes with one that would be taken back.
        let stays = |it: &Kept| match &it.why {
            Stays::WithEvent { event } => all.iter().any(|of| (&of.id.source, &of.id.id) == (&it.id.source, event)),
            Stays::CorrectedSince { .. } | Stays::Void { .. } => true,
        };
        let kept: Vec<Kept> = kept.into_iter().filter(stays).collect();
        all.extend(kept);
    }
    Ok(all)
}

async fn find(conn: &mut PgConnection, name: &str) -> Result<Backfill, BackfillError> {
    let found = backfills::find_backfill(conn, name).await?;
    found.ok_or_else(|| BackfillError::Unknown { name: name.to_owned() })
}

async fn halves(conn: &mut PgConnection, backfill: &Backfill) -> Result<Vec<(Half, i64)>, StoreError> {
    let batches = backfills::batches(conn, backfill.id).await?;
    let of_all = |half| batches.iter().map(move |batch| (half, *batch));
    Ok(of_all(Half::Events).chain(of_all(Half::Amendments)).collect())
}

async fn plan(conn: &mut PgConnection, backfill: &Backfill, half: Half, batch: i64) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    match half {
        Half::Events => {
            for event in load_events(conn, backfill.id, batch).await? {
                let fate = event.fate();
                plan.add(event.id, Brought::Event, fate);
            }
        }
        Half::Amendments => {
            for amendment in load_amendments(conn, backfill.id, batch).await? {
                let (what, fate) = (amendment.brought(), amendment.fate());
                plan.add(amendment.id, what, fate);
            }
        }
    }
    Ok(plan)
}

fn voids(backfill: &Backfill, batch: i64, plan: &Plan, add: impl Fn(&mut Messages, Position, Decoded)) -> Messages {
    let name: Arc<str> = backfill.name.as_str().into();
    let mut voids = Messages::default();
    for (place, brought) in (1..).zip(&plan.taken_back) {
        let position = Position::Revert { backfill: Arc::clone(&name), batch, place };
        let told = Told { message: taking_back(&name, brought), reply_id: None };
        add(&mut voids, position, Ok(told).into());
    }
    voids
}

/// Takes back what can be of a half of a batch.
async fn take_back(
    pool: &PgPool,
    writer: &Writer,
    backfill: &Backfill,
    half: Half,
    batch: i64,
) -> Result<(Plan, Counts), StoreError> {
    let mut transaction = pool.begin().await?;
    // First of all: who waits for another revert of it holds nothing else.
    let status = backfills::lock(&mut transaction, backfill.id).await?;
    recording::lock(&mut transaction, LockMode::Exclusive).await?;
    let plan = plan(&mut transaction, backfill, half, batch).await?;
    let voids = voids(backfill, batch, &plan, |messages, position, decoded| writer.add(messages, position, decoded));
    if voids.is_empty() || status != BackfillStatus::Reverting {
        return Ok((plan, Counts::default()));
    }
    let written = writer.write_on(&mut transaction, &voids, None, Intake::Revert(backfill.id)).await?;
    transaction.commit().await?;
    Ok((plan, writer.committed(written).await.counts))
}
