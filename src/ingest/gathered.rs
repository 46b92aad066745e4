//! What is read from Kafka until it becomes a batch: records, and how far they move the partitions that they came from.

use super::assignment::HeldPartitions;
use super::messages::{Messages, Position};
use super::writer::Writer;
use crate::domain::period::{Instant, instant_since_1970};
use crate::sources::Reader;
use crate::store::offsets::Advance;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

/// How many bytes of messages make a batch, whatever their number.
const BATCH_BYTES: usize = 64 << 20;

/// About how many bytes a record takes, beside those of its message.
const RECORD_BYTES: usize = 500;

/// A topic that is read.
pub(super) struct Topic {
    /// One copy of its name.
    name: Arc<str>,
    reader: Reader,
}

impl Topic {
    pub(super) fn new(name: &str, reader: &Reader) -> Self {
        Self { name: name.into(), reader: reader.clone() }
    }
}

/// A message whose records were gathered, with the partition that it came from, as that was held.
struct Taken {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    /// Which of our holds of the partition it was read under.
    epoch: u64,
    records: usize,
}

#[derive(Default)]
pub(super) struct Gathered {
    taken: Vec<Taken>,
    messages: Messages,
    /// About how many bytes they take.
    bytes: usize,
    /// When the first of them came.
    started: Option<Clock>,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    pub(super) fn is_full(&self, batch_messages: usize) -> bool {
        self.messages.len() >= batch_messages || self.bytes >= BATCH_BYTES
    }

    /// How long the first of them has waited; none where there is none.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    pub(super) fn amends(&self) -> bool {
        self.messages.amend()
    }

    /// Adds the records of a message, where its partition is held and it is not of before where that is read.
    pub(super) fn add(
        &mut self,
        held: &HeldPartitions,
        topics: &HashMap<String, Topic>,
        writer: &Writer,
        message: &BorrowedMessage<'_>,
    ) {
        let (name, partition, offset) = (message.topic(), message.partition(), message.offset());
        let Some(held) = held.get(name, partition) else { return };
        let Some(Topic { name: topic, reader }) = topics.get(name).filter(|_| held.takes(offset)) else { return };
        let headers: Vec<(&str, &[u8])> = message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect())
            .unwrap_or_default();
        let before = self.messages.len();
        for (record, decoded) in (1..).zip(reader.read(&headers, message.payload(), received_at(message))) {
            let position = Position::Kafka { topic: Arc::clone(topic), partition, offset, record };
            writer.add(&mut self.messages, position, decoded);
        }
        let records = self.messages.len().saturating_sub(before);
        // Records may take more than their message did, which may be packed.
        let bytes = message.payload_len().saturating_add(records.saturating_mul(RECORD_BYTES));
        self.bytes = self.bytes.saturating_add(bytes);
        self.started.get_or_insert_with(Clock::now);
        self.taken.push(Taken { topic: Arc::clone(topic), partition, offset, epoch: held.epoch, records });
    }

    /// Takes all of it, and how far it moves each partition that is still held.
    pub(super) fn take(&mut self, held: &HeldPartitions) -> (Messages, Vec<Advance>) {
        let Self { taken, mut messages, .. } = std::mem::take(self);
        let mut advances: BTreeMap<(Arc<str>, i32), Advance> = BTreeMap::new();
        let mut kept = Vec::with_capacity(messages.len());
        for Taken { topic, partition, offset, epoch, records } in taken {
            let held = held.get(&topic, partition).filter(|held| held.epoch == epoch);
            kept.extend(std::iter::repeat_n(held.is_some(), records));
            // Revoked since: whoever holds the partition now reads it again.
            let Some(held) = held else { continue };
            let advance = advances.entry((Arc::clone(&topic), partition)).or_insert_with(|| Advance {
                topic: topic.to_string(),
                partition,
                expected: held.read,
                next: offset,
            });
            advance.next = offset.saturating_add(1);
        }
        messages.keep(&kept);
        (messages, advances.into_values().collect())
    }
}

/// When a message came, as its record tells: its producer's clock or its broker's, as the topic is configured.
fn received_at(message: &BorrowedMessage<'_>) -> Option<Instant> {
    instant_since_1970(message.timestamp().to_millis()?.checked_mul(1000)?)
}
