//! Batches of one consumer in flight beside each other: each is decided by what the one before will have stored, and
//! committed after it.
//!
//! A batch that fails lets go of its turn, and the one behind is given up with it. One that is decided anew, as another
//! writer took one of its keys meanwhile, has the one behind begin anew too.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a transaction is held open for the batch before. Two in flight of each of two consumers may wait in a ring
/// that Postgres cannot see: here in turn, there for each other's keys.
const PATIENCE: Duration = Duration::from_secs(1);

/// The keys of the events that a batch stores, sorted, each with its content hash.
pub(super) type Stored = Arc<Vec<(Uuid, Uuid)>>;

#[derive(Clone, Default)]
enum Progress {
    #[default]
    Undecided,
    /// The number of the try, and what it stores.
    Decided(u32, Stored),
    /// By which try.
    Committed(u32),
}

impl Progress {
    fn is_decided(&self) -> bool {
        !matches!(self, Self::Undecided)
    }

    fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }
}

/// Tells how far a batch came.
#[derive(Clone)]
pub(super) struct Watch(watch::Receiver<Progress>);

impl Watch {
    /// Waits until the batch is committed or given up.
    pub(super) async fn over(mut self) {
        // An error is the end of its turn.
        let _ = self.0.wait_for(Progress::is_committed).await;
    }
}

/// What a batch is to be decided by beside the database.
#[derive(Default)]
pub(super) struct Before {
    /// The try of the batch before by which it will be stored; none where nothing of it is open.
    attempt: Option<u32>,
    pub(super) stored: Stored,
}

/// Why a batch may not be committed.
pub(super) enum Wait {
    /// The batch before was given up.
    GivenUp,
    /// The batch before was decided anew, or takes long: decide again, after it.
    Again,
}

/// The place of a batch behind another.
pub(super) struct Turn {
    before: Option<Watch>,
    progress: watch::Sender<Progress>,
    attempts: u32,
    /// Whether to begin after the commit of the batch before.
    after_commit: bool,
}

impl Turn {
    /// Behind a batch that was begun before, or none.
    pub(super) fn behind(before: Option<Watch>) -> Self {
        Self { before, progress: watch::Sender::default(), attempts: 0, after_commit: false }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(self.progress.subscribe())
    }

    /// Waits until it may begin: what it is decided by.
    pub(super) async fn begin(&mut self) -> Result<Before, Wait> {
        let Some(Watch(before)) = &mut self.before else { return Ok(Before::default()) };
        let is_ready = if self.after_commit { Progress::is_committed } else { Progress::is_decided };
        let progress = before.wait_for(is_ready).await.map_err(|_| Wait::GivenUp)?.clone();
        Ok(match progress {
            Progress::Decided(attempt, stored) => Before { attempt: Some(attempt), stored },
            // What it stored is found in the database.
            Progress::Undecided | Progress::Committed(_) => Before::default(),
        })
    }

    /// Tells the batch behind what this one stores.
    pub(super) fn decided(&mut self, stored: Vec<(Uuid, Uuid)>) {
        self.attempts = self.attempts.saturating_add(1);
        self.progress.send_replace(Progress::Decided(self.attempts, Arc::new(stored)));
    }

    /// Waits until it may be committed.
    pub(super) async fn come(&mut self, decided_by: &Before) -> Result<(), Wait> {
        let (Some(attempt), Some(Watch(before))) = (decided_by.attempt, &mut self.before) else { return Ok(()) };
        let committed = match timeout(PATIENCE, before.wait_for(Progress::is_committed)).await {
            Err(_) => None,
            Ok(Err(_)) => return Err(Wait::GivenUp),
            Ok(Ok(progress)) => Some(progress.clone()),
        };
        if matches!(committed, Some(Progress::Committed(by)) if by == attempt) {
            return Ok(());
        }
        self.after_commit = true;
        Err(Wait::Again)
    }

    pub(super) fn committed(&self) {
        self.progress.send_replace(Progress::Committed(self.attempts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: u128) -> Vec<(Uuid, Uuid)> {
        vec![(Uuid::from_u128(number), Uuid::from_u128(0))]
    }

    #[tokio::test]
    async fn a_batch_is_decided_by_the_one_before_and_comes_after_it() {
        let mut first = Turn::behind(None);
        let mut second = Turn::behind(Some(first.watch()));
        assert!(timeout(Duration::from_millis(20), second.begin()).await.is_err(), "nothing is decided");
        first.decided(stored(1));
        let Ok(before) = second.begin().await else { panic!("it may begin") };
        assert_eq!(*before.stored, stored(1));
        second.decided(stored(2));
        assert!(timeout(Duration::from_millis(20), second.come(&before)).await.is_err(), "nothing is committed");
        first.committed();
        assert!(second.come(&before).await.is_ok());
        // One that begins later finds all of it in the database.
        let Ok(before) = Turn::behind(Some(first.watch())).begin().await else { panic!("it may begin") };
        assert!(before.attempt.is_none() && before.stored.is_empty());
    }

    #[tokio::test]
    async fn a_batch_whose_ground_was_decided_anew_begins_again() {
        let mut first = Turn::behind(None);
        let mut second = Turn::behind(Some(first.watch()));
        first.decided(stored(1));
        let Ok(before) = second.begin().await else { panic!("it may begin") };
        first.decided(stored(3));
        first.committed();
        assert!(matches!(second.come(&before).await, Err(Wait::Again)));
        let Ok(again) = second.begin().await else { panic!("it may begin again") };
        assert!(again.attempt.is_none() && second.come(&again).await.is_ok());
    }

    #[tokio::test]
    async fn no_transaction_is_held_open_for_long() {
        let mut first = Turn::behind(None);
        let mut second = Turn::behind(Some(first.watch()));
        first.decided(stored(1));
        let Ok(before) = second.begin().await else { panic!("it may begin") };
        assert!(matches!(second.come(&before).await, Err(Wait::Again)));
        // It waits without a transaction then.
        assert!(timeout(Duration::from_millis(20), second.begin()).await.is_err());
        first.committed();
        assert!(second.begin().await.is_ok());
    }

    #[tokio::test]
    async fn a_batch_is_given_up_with_the_one_before() {
        let mut first = Turn::behind(None);
        let (mut second, mut third) = (Turn::behind(Some(first.watch())), Turn::behind(Some(first.watch())));
        first.decided(stored(1));
        let Ok(before) = second.begin().await else { panic!("it may begin") };
        let watch = first.watch();
        drop(first);
        watch.over().await;
        assert!(matches!(second.come(&before).await, Err(Wait::GivenUp)));
        third.after_commit = true;
        assert!(matches!(third.begin().await, Err(Wait::GivenUp)));
    }
}
