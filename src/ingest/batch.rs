//! Decides what becomes of each message of a batch. Pure: the database's knowledge comes in, rows go out.
//!
//! Messages are decided in their order, each with what stands before it: in the database, or earlier in the
//! batch. A repeat within a batch is compared with what stands, not with whatever came before it.

use super::messages::{Body, KeyedAmendment, Messages, Position};
use super::rollup_deltas::{Addend, Rollups, Thresholds};
use crate::domain::amendment::{self, Refusal, Target};
use crate::domain::outcome::Outcome;
use crate::domain::period::Instant;
use crate::domain::usage::{Amendment, AmendmentKind, UsageContent, UsageMessage};
use crate::sources::{Origin, Rejection, RejectionReason, cloudevents};
use crate::store::dictionary::{Dimension, Names};
use crate::store::quantities::RowQuantities;
use crate::store::usage::{Identity, Lookup, Wanted};
use crate::store::usage_rows::{AmendmentRow, ConflictRow, EventRow, RejectionRow, Rows, StateRow};
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::BTreeSet;
use uuid::Uuid;

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// What to look up in order to decide about these messages, where nothing is known of their keys.
pub(super) fn wanted(messages: &Messages) -> Wanted {
    let mut wanted = Wanted::default();
    for dimension in messages.names.dimensions() {
        wanted.deployments.insert(dimension.deployment.to_owned());
        wanted.products.insert(dimension.product.to_owned());
    }
    wanted.event_keys.reserve(messages.len());
    for message in &messages.list {
        match &message.body {
            Body::Event(row) => wanted.event_keys.push(row.key),
            Body::Amendment(amends) => {
                wanted.event_keys.push(amends.key);
                wanted.target_keys.push(amends.target_key);
                if let AmendmentKind::Correction(restated) = &amends.amendment.kind {
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
    NewEvent(&'a EventRow),
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
    messages: &'a Messages,
    lookup: &'a Lookup,
    /// By the place of a dimension of the messages: whether its deployment and product are known, and where the product's
    /// prices change.
    dimensions: Vec<(bool, Thresholds<'a>)>,
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
pub(super) fn decide<'a>(messages: &'a Messages, lookup: &'a Lookup, recorded_at: Instant) -> Rows<'a> {
    let mut decision = Decision::new(messages, lookup);
    for message in &messages.list {
        let rejected = decision.rows.counts.rejected;
        match &message.body {
            Body::Rejected(rejection, key) => decision.reject(&message.position, *key, Rejection::clone(rejection)),
            Body::NoUsage => decision.rows.counts.count(Outcome::NoUsage),
            Body::Event(row) => decision.event(&message.position, row),
            Body::Amendment(amends) => decision.amendment(&message.position, amends),
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
    fn new(messages: &'a Messages, lookup: &'a Lookup) -> Self {
        let of_dimension = |dimension: Dimension<'_>| {
            let known =
                lookup.deployments.contains(dimension.deployment) && lookup.products.contains(dimension.product);
            (known, thresholds(lookup, dimension.product))
        };
        let mut decision = Self {
            messages,
            lookup,
            dimensions: messages.names.dimensions().map(of_dimension).collect(),
            standing: HashMap::with_capacity_and_hasher(messages.len(), RandomState::default()),
            recorded: Vec::with_capacity(lookup.amendments.len()),
            places: HashMap::default(),
            naming: HashMap::default(),
            touched: BTreeSet::new(),
            rows: Rows::new(messages.len(), &messages.names),
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

    fn event(&mut self, position: &Position, row: &'a EventRow) {
        let names = &self.messages.names;
        if self.is_taken(position, row.key, row.content_hash, || UsageMessage::Event(names.event(row))) {
            return;
        }
        self.standing.insert(row.key, (Some(row.content_hash), Standing::NewEvent(row)));
        let known = self.dimensions[row.dimension].0;
        self.rows.counts.count(if known { Outcome::Stored } else { Outcome::StoredUnresolved });
        self.rows.events.push(row);
        if self.naming.contains_key(&row.key) {
            self.touched.insert(row.key);
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

    fn amendment(&mut self, position: &Position, amends: &'a KeyedAmendment) {
        let KeyedAmendment { key, content_hash: hash, target_key, ref amendment } = *amends;
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
        if let Some(hour) = root.and_then(|root| self.lookup.archived.get(&root)) {
            return self.reject(position, Some(key), archived(amendment, *hour));
        }
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
        let mut rollups = Rollups::default();
        let mut states = Vec::new();
        for row in self.rows.events.iter().filter(|row| self.touched.is_empty() || !self.touched.contains(&row.key)) {
            let EventRow { occurred_at, dimension, customer, ref quantities, .. } = **row;
            let thresholds = self.dimensions[dimension].1;
            let addend = Addend { occurred_at, dimension, customer, quantities, thresholds, as_of: recorded_at };
            rollups.add(&addend, 1);
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
    fn amended(&mut self, key: Uuid, recorded_at: Instant, rollups: &mut Rollups) -> Option<StateRow> {
        let stored = self.lookup.events.get(&key);
        let names = &self.messages.names;
        let (event, rules) = match (self.standing.get(&key), stored) {
            (Some((_, Standing::NewEvent(row))), _) => (Cow::Owned(names.event(row)), names.rules(row)),
            (_, Some(stored)) => (Cow::Borrowed(&stored.event), stored.rules.as_str()),
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
        let mut counting = Counting { names: &mut self.rows.names, lookup: self.lookup, rollups, origin };
        if let Some((before, stated_at)) = before.as_ref().filter(|(before, _)| before.counts()) {
            counting.add(&before.content, *stated_at, -1);
        }
        if after.counts() {
            // What did not change stays in the band in which it was counted.
            let as_of = before.as_ref().filter(|(before, _)| *before == after).map_or(recorded_at, |(_, at)| *at);
            counting.add(&after.content, as_of, 1);
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
        let [dimension, customer] = place(self.rows.names.to_mut(), origin, &after.content);
        let (voided, content) = (!after.counts(), after.content);
        let quantities = RowQuantities::of(&content.quantities);
        let UsageContent { occurred_at, ended_at, .. } = content;
        Some(StateRow { key, voided, occurred_at, ended_at, dimension, customer, quantities })
    }
}

/// Counts what an amended event was, and what it is.
struct Counting<'r, 'a> {
    names: &'r mut Cow<'a, Names>,
    lookup: &'a Lookup,
    rollups: &'r mut Rollups,
    /// Its source and rules.
    origin: [&'r str; 2],
}

impl Counting<'_, '_> {
    /// Adds it to the rollups, or takes it away (`sign` -1).
    fn add(&mut self, content: &UsageContent, as_of: Instant, sign: i32) {
        let [dimension, customer] = place(self.names.to_mut(), self.origin, content);
        let quantities = &RowQuantities::of(&content.quantities);
        let (occurred_at, thresholds) = (content.occurred_at, thresholds(self.lookup, &content.product));
        self.rollups.add(&Addend { occurred_at, dimension, customer, quantities, thresholds, as_of }, sign);
    }
}

/// Where the prices of a product change with the context.
fn thresholds<'a>(lookup: &'a Lookup, product: &str) -> Thresholds<'a> {
    lookup.thresholds.get(product).map(Vec::as_slice).unwrap_or_default()
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

/// Until the event is brought back, what it comes to cannot be told.
fn archived(amendment: &Amendment, hour: Instant) -> Rejection {
    let detail = format!(
        "{}, which it names, is in an archive; bring it back by `apportion archive restore --hours {}`, and take this in by \
         `apportion usage retry`",
        amendment.target,
        hour.format("%FT%TZ")
    );
    refused_as(amendment, RejectionReason::ArchivedTarget, detail)
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
