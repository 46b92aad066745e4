//! The batches of a consumer that are being written: a few at once, each committed after the one before.

use super::assignment::ConsumerError;
use super::messages::Messages;
use super::turn::{Turn, Watch};
use super::writer::{Offsets, Writer, Written};
use crate::store::StoreError;
use crate::store::usage_rows::Intake;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How many transactions are open at once: with two, one is written while the other is committed.
const AT_ONCE: usize = 2;

/// Messages and how far they move their partitions.
pub(super) struct Batch {
    pub(super) messages: Messages,
    pub(super) offsets: Offsets,
}

struct Running {
    batch: Arc<Batch>,
    turn: Watch,
    task: JoinHandle<Result<Written, StoreError>>,
}

/// What became of the first batch in flight.
pub(super) enum Ended {
    Written(Arc<Batch>, Written),
    /// It, and with it those behind: nothing of them is stored, except that a commit whose answer was lost may have
    /// succeeded.
    Failed(StoreError, Vec<Arc<Batch>>),
}

pub(super) struct InFlight {
    writer: Arc<Writer>,
    runtime: Handle,
    /// How long each may take.
    patience: Duration,
    running: VecDeque<Running>,
}

impl InFlight {
    pub(super) fn new(writer: Arc<Writer>, runtime: Handle, patience: Duration) -> Self {
        Self { writer, runtime, patience, running: VecDeque::with_capacity(AT_ONCE) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.running.len() >= AT_ONCE
    }

    /// Whether the first one ended, so that nobody waits for it.
    pub(super) fn has_ended(&self) -> bool {
        self.running.front().is_some_and(|running| running.task.is_finished())
    }

    /// Begins to write a batch behind those in flight.
    pub(super) fn begin(&mut self, batch: Arc<Batch>) -> Watch {
        let turn = Turn::behind(self.running.back().map(|running| running.turn.clone()));
        let watch = turn.watch();
        let (writer, writing, patience) = (Arc::clone(&self.writer), Arc::clone(&batch), self.patience);
        let task = self.runtime.spawn(async move {
            writer.write_behind(&writing.messages, &writing.offsets, Intake::Kafka, turn, patience).await
        });
        self.running.push_back(Running { batch, turn: watch.clone(), task });
        watch
    }

    /// Waits for the first one in flight, and where it failed for all; none where none is.
    pub(super) fn end(&mut self) -> Result<Option<Ended>, ConsumerError> {
        let Some(Running { batch, task, .. }) = self.running.pop_front() else { return Ok(None) };
        let error = match self.runtime.block_on(task)? {
            Ok(written) => return Ok(Some(Ended::Written(batch, written))),
            Err(error) => error,
        };
        let mut batches = vec![batch];
        while let Some(Running { batch, task, .. }) = self.running.pop_front() {
            drop(self.runtime.block_on(task)?);
            batches.push(batch);
        }
        Ok(Some(Ended::Failed(error, batches)))
    }
}
