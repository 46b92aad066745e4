//! Decides what becomes of each message of a batch. Pure: the database's knowledge comes in, rows go out.
//!
//! Messages are decided in their order, each with what stands before it: in the database, or earlier in the
//! batch. A repeat within a batch is compared with what stands, not with whatever came before it.

use crate::domain::amendment::{self, Refusal, Target};
use crate::domain::outcome::Outcome;
use crate::domain::period::Instant;
use crate::domain::usage::{Amendment, AmendmentKind, UsageContent, UsageEvent, UsageMessage, event_key};
use crate::ingest::rollup_deltas::Rollups;
use crate::sources::{Decoded, Origin, Rejection, RejectionReason, Usage, cloudevents};
use crate::store::dictionary::{Dimension, Names};
use crate::store::usage::{Identity, Lookup, Wanted};
use crate::store::usage_rows::{AmendmentRow, ConflictRow, EventRow, RejectionRow, Rows, StateRow};
use std::collections::{BTreeSet, HashMap};
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
        }
    }
}

/// A message as its source's reader left it, with the keys under which it is known.
#[derive(Clone, Debug)]
pub struct Message {
    position: Position,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Event {
        key: Uuid,
        hash: Uuid,
        rules: &'static str,
        event: UsageEvent,
    },
    Amendment {
        key: Uuid,
        hash: Uuid,
        target_key: Uuid,
        amendment: Amendment,
    },
    NoUsage,
    /// With the key that it would have, where it says as what it is known.
    Rejected(Rejection, Option<Uuid>),
}

impl Message {
    /// `secret` keys the hash that identifies events.
    pub fn new(secret: &[u8; 32], position: Position, decoded: Decoded) -> Self {
        let body = match decoded {
            Decoded::Rejected(rejection) => {
                let key = rejection.event_id().map(|id| event_key(secret, &id.source, &id.id));
                Body::Rejected(rejection, key)
            }
            Decoded::NoUsage(_) => Body::NoUsage,
            Decoded::Usage(usage) => {
                let Usage { message, reported: hash, rules, .. } = *usage;
                let id = message.id();
                let key = event_key(secret, &id.source, &id.id);
                match message {
                    UsageMessage::Event(event) => Body::Event { key, hash, rules, event },
                    UsageMessage::Amendment(amendment) => {
                        let target_key = event_key(secret, &amendment.id.source, &amendment.target);
                        Body::Amendment { key, hash, target_key, amendment }
                    }
                }
            }
        };
        Self { position, body }
    }

    pub fn is_amendment(&self) -> bool {
        matches!(self.body, Body::Amendment { .. })
    }
}

/// What to look up in order to decide about these messages, where nothing is known of their keys.
pub fn wanted(messages: &[Message]) -> Wanted {
    let mut wanted = Wanted::default();
    for message in messages {
        match &message.body {
            Body::Event { key, event, .. } => {
                wanted.event_keys.push(*key);
                let UsageContent { deployment, product, .. } = &event.content;
                // Looked at first, so that a name is not copied for each event.
                if !wanted.deployments.contains(deployment) {
                    wanted.deployments.insert(deployment.clone());
                }
                if !wanted.products.contains(product) {
                    wanted.products.insert(product.clone());
                }
            }
            Body::Amendment { key, target_key, amendment, .. } => {
                wanted.event_keys.push(*key);
                wanted.target_keys.push(*target_key);
                if let AmendmentKind::Correction(restated) = &amendment.kind {
                    wanted.products.extend(restated.product.clone());
                }
            }
            Body::NoUsage | Body::Rejected(..) => {}
        }
    }
    wanted.event_keys.sort_unstable();
    wanted.event_keys.dedup();
    wanted.beside_keys.clone_from(&wanted.event_keys);
    wanted
}

/// What stands under a key.
#[derive(Clone, Copy)]
enum Standing<'a> {
    StoredEvent,
    NewEvent(&'a UsageEvent, &'static str),
    Amendment,
    /// A record beside usage.
    Record,
}

/// A correction or void in the order of recording, with the place where it was reported.
struct Recorded<'a> {
    key: Uuid,
    target_key: Uuid,
    amendment: &'a Amendment,
    position: String,
    is_new: bool,
}

struct Decision<'a> {
    lookup: &'a Lookup,
    /// By key: the content hash, where it is usage's, and what stands there.
    standing: HashMap<Uuid, (Option<Uuid>, Standing<'a>)>,
    recorded: Vec<Recorded<'a>>,
    /// By their own key: places in `recorded`.
    places: HashMap<Uuid, usize>,
    /// By the key that is named: places in `recorded`.
    naming: HashMap<Uuid, Vec<usize>>,
    /// Events whose state may have changed.
    touched: BTreeSet<Uuid>,
    rows: Rows<'a>,
}

/// Decides about the messages in their order; `recorded_at` is when their batch is recorded.
pub fn decide<'a>(messages: &'a [Message], lookup: &'a Lookup, recorded_at: Instant) -> Rows<'a> {
    let mut decision = Decision::new(lookup);
    decision.rows.messages = messages.len();
    for message in messages {
        let rejected = decision.rows.counts.rejected;
        match &message.body {
            Body::Rejected(rejection, key) => decision.reject(&message.position, *key, rejection.clone()),
            Body::NoUsage => decision.rows.counts.count(Outcome::NoUsage),
            Body::Event { key, hash, rules, event } => decision.event(&message.position, *key, *hash, rules, event),
            Body::Amendment { key, hash, target_key, amendment } => {
                decision.amendment(&message.position, *key, *hash, *target_key, amendment);
            }
        }
        if let Position::Retry { rejection_id } = message.position
            && decision.rows.counts.rejected == rejected
        {
            decision.rows.retried.push(rejection_id);
        }
    }
    decision.finish(recorded_at)
}

impl<'a> Decision<'a> {
    fn new(lookup: &'a Lookup) -> Self {
        let mut decision = Self {
            lookup,
            standing: HashMap::with_capacity(lookup.identities.len()),
            recorded: Vec::with_capacity(lookup.amendments.len()),
            places: HashMap::with_capacity(lookup.amendments.len()),
            naming: HashMap::new(),
            touched: BTreeSet::new(),
            rows: Rows::default(),
        };
        for (key, identity) in &lookup.identities {
            let standing = match identity {
                Identity::Event { content_hash } => (Some(*content_hash), Standing::StoredEvent),
                Identity::Amendment { content_hash } => (Some(*content_hash), Standing::Amendment),
                Identity::Record => (None, Standing::Record),
            };
            decision.standing.insert(*key, standing);
        }
        for stored in &lookup.amendments {
            decision.record(Recorded {
                key: stored.key,
                target_key: stored.target_key,
                amendment: &stored.amendment,
                position: stored.position.clone(),
                is_new: false,
            });
        }
        decision
    }

    fn record(&mut self, recorded: Recorded<'a>) {
        self.places.insert(recorded.key, self.recorded.len());
        self.naming.entry(recorded.target_key).or_default().push(self.recorded.len());
        self.recorded.push(recorded);
    }

    /// The correction or void that has this key.
    fn recorded(&self, key: Uuid) -> Option<&Recorded<'a>> {
        self.places.get(&key).and_then(|place| self.recorded.get(*place))
    }

    /// What was recorded and names this key, in order.
    fn naming(&self, key: Uuid) -> impl Iterator<Item = &Recorded<'a>> {
        self.naming.get(&key).into_iter().flatten().filter_map(|place| self.recorded.get(*place))
    }

    fn is_voided(&self, key: Uuid) -> bool {
        self.naming(key).any(|recorded| matches!(recorded.amendment.kind, AmendmentKind::Void))
    }

    fn reject(&mut self, position: &Position, key: Option<Uuid>, rejection: Rejection) {
        self.rows.counts.count(Outcome::Rejected);
        if matches!(position, Position::Retry { .. }) {
            // It is kept already, and stays so; another row each time would never end.
            return;
        }
        self.rows.rejections.push(rejection_row(position.to_string(), key, rejection));
    }

    fn event(
        &mut self,
        position: &Position,
        key: Uuid,
        content_hash: Uuid,
        rules: &'static str,
        event: &'a UsageEvent,
    ) {
        if self.is_taken(position, key, content_hash, || UsageMessage::Event(event.clone())) {
            return;
        }
        self.standing.insert(key, (Some(content_hash), Standing::NewEvent(event, rules)));
        let content = &event.content;
        let known =
            self.lookup.deployments.contains(&content.deployment) && self.lookup.products.contains(&content.product);
        self.rows.counts.count(if known { Outcome::Stored } else { Outcome::StoredUnresolved });
        let [dimension, customer] = place(&mut self.rows.names, [&event.id.source, rules], content);
        self.rows.events.push(EventRow { key, content_hash, event, dimension, customer });
        if self.naming.contains_key(&key) {
            self.touched.insert(key);
        }
    }

    /// Whether something stands under the key. If so, the message is its duplicate, or in conflict with it.
    fn is_taken(
        &mut self,
        position: &Position,
        key: Uuid,
        content_hash: Uuid,
        message: impl FnOnce() -> UsageMessage,
    ) -> bool {
        let Some((standing_hash, _)) = self.standing.get(&key) else { return false };
        if *standing_hash == Some(content_hash) {
            self.rows.counts.count(Outcome::Duplicate);
        } else {
            self.conflict(position, key, content_hash, &message());
        }
        true
    }

    fn conflict(&mut self, position: &Position, key: Uuid, content_hash: Uuid, message: &UsageMessage) {
        self.rows.counts.count(Outcome::Conflict);
        let id = message.id();
        self.rows.conflicts.push(ConflictRow {
            key,
            content_hash,
            source: id.source.clone(),
            event_id: id.id.clone(),
            reported: String::from_utf8_lossy(&cloudevents::encode(message)).into_owned(),
            position: position.to_string(),
        });
    }

    fn amendment(&mut self, position: &Position, key: Uuid, hash: Uuid, target_key: Uuid, amendment: &'a Amendment) {
        if self.is_taken(position, key, hash, || UsageMessage::Amendment(amendment.clone())) {
            return;
        }
        let target = match &amendment.kind {
            // One that names itself would wait for ever.
            AmendmentKind::Void if target_key == key => Target::Void,
            AmendmentKind::Correction(_) if target_key == key => Target::Correction,
            AmendmentKind::Void | AmendmentKind::Correction(_) => self.target(target_key),
        };
        if let Err(refusal) = amendment::check(&amendment.kind, target) {
            return self.reject(position, Some(key), refused(amendment, refusal));
        }
        // The event behind it: what it names, or what the correction that it voids corrects.
        let root = match target {
            Target::Correction => self.recorded(target_key).map(|recorded| recorded.target_key),
            Target::Event { .. } | Target::Unknown { .. } | Target::Void => Some(target_key),
        };
        let root = root.filter(|root| {
            matches!(self.standing.get(root), Some((_, Standing::StoredEvent | Standing::NewEvent(..))))
        });
        self.rows.counts.count(match (&amendment.kind, root.is_some()) {
            (AmendmentKind::Correction(_), true) => Outcome::CorrectionApplied,
            (AmendmentKind::Correction(_), false) => Outcome::CorrectionWaiting,
            (AmendmentKind::Void, true) => Outcome::VoidApplied,
            (AmendmentKind::Void, false) => Outcome::VoidWaiting,
        });
        self.touched.extend(root);
        self.refuse_waiting(key, amendment);
        self.standing.insert(key, (Some(hash), Standing::Amendment));
        let position = position.to_string();
        self.record(Recorded { key, target_key, amendment, position: position.clone(), is_new: true });
        self.rows.amendments.push(AmendmentRow { key, content_hash: hash, target_key, amendment, position });
    }

    fn target(&self, key: Uuid) -> Target {
        match self.standing.get(&key) {
            // Records are corrected where they are taken in: it waits here.
            None | Some((_, Standing::Record)) => Target::Unknown { voided: self.is_voided(key) },
            Some((_, Standing::StoredEvent | Standing::NewEvent(..))) => Target::Event { voided: self.is_voided(key) },
            Some((_, Standing::Amendment)) => match self.recorded(key) {
                Some(Recorded { amendment: Amendment { kind: AmendmentKind::Void, .. }, .. }) => Target::Void,
                Some(_) | None => Target::Correction,
            },
        }
    }

    /// Refuses what waited for this correction or void and may not name it. It was recorded and counted when
    /// it came; now it is recorded that it never has an effect, at the position where it came.
    fn refuse_waiting(&mut self, key: Uuid, amendment: &Amendment) {
        let target = match amendment.kind {
            AmendmentKind::Void => Target::Void,
            AmendmentKind::Correction(_) => Target::Correction,
        };
        let refused: Vec<RejectionRow> = self
            .naming(key)
            .filter_map(|waiting| {
                let refusal = amendment::check(&waiting.amendment.kind, target).err()?;
                Some(rejection_row(waiting.position.clone(), Some(waiting.key), refused(waiting.amendment, refusal)))
            })
            .collect();
        self.rows.rejections.extend(refused);
    }

    fn finish(mut self, recorded_at: Instant) -> Rows<'a> {
        let mut rollups = Rollups::new(self.lookup);
        let mut states = Vec::new();
        for row in self.rows.events.iter().filter(|row| !self.touched.contains(&row.key)) {
            rollups.add([row.dimension, row.customer], &row.event.content, recorded_at, 1);
        }
        for key in std::mem::take(&mut self.touched) {
            states.extend(self.amended(key, recorded_at, &mut rollups));
        }
        self.rows.states = states;
        self.rows.events.sort_unstable_by_key(|row| row.key);
        self.rows.rollups = rollups.into_rows();
        self.rows
    }

    /// The state of an event that the batch amends, if it is another than before; adds the difference.
    fn amended(&mut self, key: Uuid, recorded_at: Instant, rollups: &mut Rollups<'_>) -> Option<StateRow> {
        let stored = self.lookup.events.get(&key);
        let (event, rules) = match (self.standing.get(&key), stored) {
            (Some((_, Standing::NewEvent(event, rules))), _) => (*event, *rules),
            (_, Some(stored)) => (&stored.event, stored.rules.as_str()),
            (_, None) => return None,
        };
        let corrections = self.naming.get(&key).into_iter().flatten();
        let mut places: Vec<usize> = corrections.copied().collect();
        let voids = self.naming(key).filter_map(|correction| self.naming.get(&correction.key)).flatten();
        places.extend(voids);
        places.sort_unstable();
        let of_event = || places.iter().filter_map(|place| self.recorded.get(*place));
        let before: Vec<&Amendment> = of_event().filter(|r| !r.is_new).map(|r| r.amendment).collect();
        let all: Vec<&Amendment> = of_event().map(|r| r.amendment).collect();
        let after = amendment::state(&event.id.id, &event.content, &all);
        let origin = [event.id.source.as_str(), rules];
        let reported = amendment::EventState { voided: false, content: event.content.clone() };
        let before = stored.map(|stored| (amendment::state(&event.id.id, &event.content, &before), stored.stated_at));
        if let Some((before, stated_at)) = before.as_ref().filter(|(before, _)| before.counts()) {
            rollups.add(place(&mut self.rows.names, origin, &before.content), &before.content, *stated_at, -1);
        }
        if after.counts() {
            // What did not change stays in the band in which it was counted.
            let as_of = before.as_ref().filter(|(before, _)| *before == after).map_or(recorded_at, |(_, at)| *at);
            rollups.add(place(&mut self.rows.names, origin, &after.content), &after.content, as_of, 1);
        }
        let unchanged = before.map_or(reported, |(before, _)| before) == after;
        if unchanged {
            return None;
        }
        if !after.voided && !after.counts() {
            let last = of_event().next_back();
            let refused = last
                .map(|last| rejection_row(last.position.clone(), Some(last.key), ends_before_start(last.amendment)));
            self.rows.rejections.extend(refused);
        }
        let [dimension, customer] = place(&mut self.rows.names, origin, &after.content);
        Some(StateRow { key, voided: !after.counts(), content: after.content, dimension, customer })
    }
}

/// The places of the dimension and the customer of what a source reported, as normalised by some rules.
fn place(names: &mut Names, [source, rules]: [&str; 2], content: &UsageContent) -> [usize; 2] {
    [names.dimension(&Dimension::of(source, rules, content)), names.customer(&content.customer)]
}

fn rejection_row(position: String, event_key: Option<Uuid>, rejection: Rejection) -> RejectionRow {
    RejectionRow {
        position,
        reason: rejection.reason.name(),
        detail: rejection.detail,
        format: rejection.origin.format.name(),
        source: rejection.origin.source,
        carrier: serde_json::json!(rejection.origin.carrier).to_string(),
        content_type: rejection.content_type,
        payload: rejection.redacted,
        event_key,
    }
}

fn refused(amendment: &Amendment, refusal: Refusal) -> Rejection {
    refused_as(amendment, refusal.into(), refusal.to_string())
}

/// What is told once of an event that counts nowhere, as corrections made of it what does not fit together.
fn ends_before_start(last: &Amendment) -> Rejection {
    let detail = "what it corrects now ends before it starts, and counts nowhere; correct occurred_at or ended_at";
    refused_as(last, RejectionReason::EndsBeforeStart, detail.to_owned())
}

fn refused_as(amendment: &Amendment, reason: RejectionReason, detail: String) -> Rejection {
    Rejection {
        reason,
        detail,
        origin: Origin::default(),
        content_type: cloudevents::CONTENT_TYPE,
        redacted: cloudevents::encode(&UsageMessage::Amendment(amendment.clone())),
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
