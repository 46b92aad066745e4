//! The messages of a batch, each made small as it comes, with the keys under which it is known: what many of them name
//! stands once.

use crate::domain::usage::{Amendment, UsageEvent, UsageMessage, event_key, reply_key};
use crate::sources::{Decoded, Rejection, Usage};
use crate::store::dictionary::{Dimension, Names};
use crate::store::quantities::RowQuantities;
use crate::store::usage_rows::EventRow;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Where a message stands in what it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Records of a message count from 1.
    Kafka { topic: Arc<str>, partition: i32, offset: i64, record: usize },
    /// Lines and rows count from 1, as do the records of one.
    File { name: Arc<str>, line: u64, record: usize },
    /// Sent over HTTP. Events of a request count from 1.
    Request { name: Arc<str>, place: u64 },
    /// A rejection that is decoded again.
    Retry { rejection_id: i64 },
    /// What takes back a part of a backfill. Voids of a batch count from 1.
    Revert { backfill: Arc<str>, batch: i64, place: u64 },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Kafka { topic, partition, offset, record: 1 } => write!(f, "{topic}/{partition}@{offset}"),
            Position::Kafka { topic, partition, offset, record } => write!(f, "{topic}/{partition}@{offset}#{record}"),
            Position::File { name, line, record: 1 } => write!(f, "{name}:{line}"),
            Position::File { name, line, record } => write!(f, "{name}:{line}#{record}"),
            Position::Request { name, place } => write!(f, "{name}:{place}"),
            Position::Retry { rejection_id } => write!(f, "rejection {rejection_id}"),
            Position::Revert { backfill, batch, place } => write!(f, "revert of {backfill}, batch {batch}:{place}"),
        }
    }
}

/// A message as its source's reader left it, with the keys under which it is known.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) position: Position,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Its places are those of the batch's names.
    Event(EventRow),
    Amendment(Box<KeyedAmendment>),
    NoUsage,
    /// With the key that it would have, where it says as what it is known.
    Rejected(Box<Rejection>, Option<Uuid>),
}

/// A correction or void.
#[derive(Debug)]
pub(super) struct KeyedAmendment {
    pub(super) key: Uuid,
    pub(super) content_hash: Uuid,
    pub(super) target_key: Uuid,
    pub(super) amendment: Amendment,
}

/// Messages that become one batch, in their order.
#[derive(Debug, Default)]
pub struct Messages {
    pub(super) names: Names,
    pub(super) list: Vec<Message>,
}

impl Messages {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any of them is a correction or void.
    pub(super) fn amend(&self) -> bool {
        self.list.iter().any(|message| matches!(message.body, Body::Amendment(_)))
    }

    /// Keeps those alone, in their order, of which that is said.
    pub(super) fn keep(&mut self, kept: &[bool]) {
        let mut kept = kept.iter();
        self.list.retain(|_| kept.next().is_some_and(|kept| *kept));
    }

    /// Adds what a source's reader returned; `secret` keys the hash that identifies events.
    pub(super) fn add(&mut self, secret: &[u8; 32], position: Position, decoded: Decoded) {
        let body = match decoded {
            Decoded::Rejected(rejection) => {
                tracing::debug!(%position, reason = %rejection.reason, "message rejected");
                let key = rejection.event_id().map(|id| event_key(secret, &id.source, &id.id));
                Body::Rejected(Box::new(rejection), key)
            }
            Decoded::NoUsage(_) => Body::NoUsage,
            Decoded::Usage(usage) => {
                let Usage { message, reported: content_hash, response_id, rules } = *usage;
                let id = message.id();
                let key = event_key(secret, &id.source, &id.id);
                match message {
                    UsageMessage::Event(event) => {
                        let reply = response_id.map(|id| reply_key(secret, &id));
                        Body::Event(self.row(key, content_hash, rules, event, reply))
                    }
                    UsageMessage::Amendment(amendment) => {
                        let target_key = event_key(secret, &amendment.id.source, &amendment.target);
                        Body::Amendment(Box::new(KeyedAmendment { key, content_hash, target_key, amendment }))
                    }
                }
            }
        };
        self.list.push(Message { position, body });
    }

    fn row(&mut self, key: Uuid, content_hash: Uuid, rules: &str, event: UsageEvent, reply: Option<Uuid>) -> EventRow {
        let UsageEvent { id, content } = event;
        EventRow {
            key,
            content_hash,
            dimension: self.names.dimension(&Dimension::of(&id.source, rules, &content)),
            customer: self.names.customer(&content.customer),
            id: id.id,
            occurred_at: content.occurred_at,
            ended_at: content.ended_at,
            quantities: RowQuantities::of(&content.quantities),
            reply,
        }
    }
}
