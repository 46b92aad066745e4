//! What one batch writes: rows, rollup deltas and its account of what became of each message.

use super::StoreError;
use super::backfills::BackfillId;
use super::copy::CopyRows;
use super::dictionary::{Names, Numbers};
use super::event_ids::PackedId;
use super::generations::Generation;
use super::quantities::{COLUMN_METERS, RowQuantities};
use super::rejections::mark_taken;
use super::usage_replies::copy_replies;
use crate::domain::outcome::{Counts, Outcome};
use crate::domain::period::Instant;
use crate::domain::usage::{Amendment, AmendmentKind};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::borrow::Cow;
use uuid::Uuid;

/// The way by which a batch came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    Kafka,
    Http,
    File,
    /// Rejections that are decoded again.
    Retry,
    /// The file of a backfill.
    Backfill(BackfillId),
    /// Voids that take a backfill back.
    Revert(BackfillId),
}

impl Intake {
    pub fn name(self) -> &'static str {
        match self {
            Intake::Kafka => "kafka",
            Intake::Http => "http",
            Intake::File => "file",
            Intake::Retry => "retry",
            Intake::Backfill(_) => "backfill",
            Intake::Revert(_) => "revert",
        }
    }

    /// The backfill of which it is a part, or takes a part back.
    fn backfill(self) -> Option<BackfillId> {
        match self {
            Intake::Backfill(id) | Intake::Revert(id) => Some(id),
            Intake::Kafka | Intake::Http | Intake::File | Intake::Retry => None,
        }
    }
}

/// An event as its row has it.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub key: Uuid,
    pub content_hash: Uuid,
    /// As its source names it.
    pub id: String,
    pub occurred_at: Instant,
    /// Of a record of an interval: its end, exclusive.
    pub ended_at: Option<Instant>,
    /// Places in the batch's names.
    pub dimension: usize,
    pub customer: usize,
    pub quantities: RowQuantities,
    /// The key of the reply that it reports, where it tells which.
    pub reply: Option<Uuid>,
}

pub struct AmendmentRow<'a> {
    pub key: Uuid,
    pub content_hash: Uuid,
    pub target_key: Uuid,
    pub amendment: &'a Amendment,
    pub position: String,
}

/// The whole of an amended event from this batch on.
pub struct StateRow {
    pub key: Uuid,
    /// Whether it counts nowhere.
    pub voided: bool,
    pub occurred_at: Instant,
    pub ended_at: Option<Instant>,
    /// Places in the batch's names.
    pub dimension: usize,
    pub customer: usize,
    pub quantities: RowQuantities,
}

pub struct ConflictRow {
    pub key: Uuid,
    pub content_hash: Uuid,
    pub source: String,
    pub event_id: String,
    /// What was reported, as a structured event.
    pub reported: String,
    pub position: String,
}

#[derive(Debug)]
pub struct RejectionRow {
    pub position: String,
    pub reason: &'static str,
    pub detail: String,
    pub format: &'static str,
    pub source: String,
    /// A JSON object.
    pub carrier: String,
    pub content_type: &'static str,
    pub payload: Vec<u8>,
    /// Of the event, correction or void that it would have been, where that can be told.
    pub event_key: Option<Uuid>,
}

/// What one batch adds to the sums of an hour, of dimensions, a customer and a context band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRow {
    /// The start of the hour, UTC.
    pub bucket: Instant,
    /// Places in the batch's names.
    pub dimension: usize,
    pub customer: usize,
    /// Exclusive, in tokens.
    pub context_over: i64,
    /// Inclusive; `i64::MAX` where there is no higher threshold.
    pub context_up_to: i64,
    /// Negative where events were voided or moved away.
    pub events: i32,
    pub quantities: RowQuantities,
}

/// All that a batch writes.
pub struct Rows<'a> {
    /// How many messages the batch has: the database checks that each has its one outcome.
    pub messages: usize,
    pub counts: Counts,
    /// What the messages name, and what is named by what became of events that they amend.
    pub names: Cow<'a, Names>,
    /// Sorted by key: Postgres then touches each page of the index once, and all writers insert in one order.
    pub events: Vec<&'a EventRow>,
    /// In order of recording.
    pub amendments: Vec<AmendmentRow<'a>>,
    pub states: Vec<StateRow>,
    pub conflicts: Vec<ConflictRow>,
    pub rejections: Vec<RejectionRow>,
    /// Earlier rejections that the batch takes in, by their ids.
    pub retried: Vec<i64>,
    /// In the order of bucket, dimension and band, those of other customers beside each other.
    pub rollups: Vec<RollupRow>,
}

/// Which places of a batch's names its rows have.
pub(super) struct Used {
    pub(super) dimensions: Vec<bool>,
    pub(super) customers: Vec<bool>,
}

impl<'a> Rows<'a> {
    /// What messages name that become no row is not among these.
    pub(super) fn used(&self) -> Used {
        let (dimensions, customers) = self.names.counts();
        let mut used = Used { dimensions: vec![false; dimensions], customers: vec![false; customers] };
        let events = self.events.iter().map(|row| (row.dimension, row.customer));
        let states = self.states.iter().map(|row| (row.dimension, row.customer));
        let rollups = self.rollups.iter().map(|row| (row.dimension, row.customer));
        for (dimension, customer) in events.chain(states).chain(rollups) {
            used.dimensions[dimension] = true;
            used.customers[customer] = true;
        }
        used
    }

    /// Nothing yet, of a batch of so many messages whose rows have their places in these names.
    pub fn new(messages: usize, names: &'a Names) -> Self {
        Self {
            messages,
            counts: Counts::default(),
            names: Cow::Borrowed(names),
            events: Vec::with_capacity(messages),
            amendments: Vec::new(),
            states: Vec::new(),
            conflicts: Vec::new(),
            rejections: Vec::new(),
            retried: Vec::new(),
            rollups: Vec::new(),
        }
    }
}

/// How a batch came in, and when.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub recorded_at: Instant,
    pub intake: Intake,
    /// How long the redacted bytes of a rejection are kept.
    pub rejections_kept: TimeDelta,
}

/// Writes a batch in the caller's transaction, with the numbers of its names.
///
/// # Errors
/// The database's; a unique violation where another writer took a key meanwhile.
pub async fn save(
    connection: &mut PgConnection,
    numbers: &Numbers,
    rows: &Rows<'_>,
    stamp: &Stamp,
) -> Result<(), StoreError> {
    let batch = insert_batch(connection, rows, stamp).await?;
    copy_events(connection, batch, &rows.events, numbers).await?;
    copy_intervals(connection, &rows.events).await?;
    copy_replies(connection, batch, &rows.events).await?;
    copy_amendments(connection, batch, &rows.amendments).await?;
    copy_states(connection, batch, &rows.states, numbers).await?;
    copy_conflicts(connection, batch, &rows.conflicts).await?;
    copy_rejections(connection, batch, &rows.rejections, stamp).await?;
    mark_taken(connection, &rows.retried).await?;
    copy_rollups(connection, batch, &rows.rollups, numbers).await
}

async fn insert_batch(connection: &mut PgConnection, rows: &Rows<'_>, stamp: &Stamp) -> Result<i64, StoreError> {
    let count = |outcome| StoreError::encoded::<i32, _>("a count of usage_batch", rows.counts.of(outcome));
    Ok(sqlx::query_scalar!(
        "insert into usage_batch (recorded_at, intake, messages, stored, stored_unresolved, duplicate, conflict,
           correction_applied, correction_waiting, void_applied, void_waiting, no_usage, rejected, backfill_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning batch_id",
        stamp.recorded_at,
        stamp.intake.name(),
        StoreError::encoded::<i32, _>("usage_batch.messages", rows.messages)?,
        count(Outcome::Stored)?,
        count(Outcome::StoredUnresolved)?,
        count(Outcome::Duplicate)?,
        count(Outcome::Conflict)?,
        count(Outcome::CorrectionApplied)?,
        count(Outcome::CorrectionWaiting)?,
        count(Outcome::VoidApplied)?,
        count(Outcome::VoidWaiting)?,
        count(Outcome::NoUsage)?,
        count(Outcome::Rejected)?,
        stamp.intake.backfill().map(|BackfillId(id)| id),
    )
    .fetch_one(connection)
    .await?)
}

/// Writes the columns that events and states share.
fn put_content(copy: &mut CopyRows, dimension: i32, customer: i32, columns: [i64; 5]) -> Result<(), StoreError> {
    copy.int4(dimension);
    copy.int4(customer);
    for column in columns {
        copy.int4(StoreError::encoded("a column of quantities", column)?);
    }
    Ok(())
}

/// The columns of an event, in the order in which they are copied.
pub(super) const EVENT_COLUMNS: &[&str] = &[
    "event_key",
    "content_hash",
    "occurred_at",
    "batch_id",
    "dimension_id",
    "customer_id",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "requests",
    "packed_id",
    "other_quantities",
];

async fn copy_events(
    connection: &mut PgConnection,
    batch: i64,
    rows: &[&EventRow],
    numbers: &Numbers,
) -> Result<(), StoreError> {
    // By its own name: into a table of several parts rows are copied one by one.
    let mut copy = CopyRows::new(Generation::part_of("usage_event_row", batch), EVENT_COLUMNS);
    for row in rows {
        copy.row();
        copy.uuid(row.key);
        copy.uuid(row.content_hash);
        copy.instant(row.occurred_at);
        copy.int8(batch);
        let (dimension, customer) = (numbers.dimension(row.dimension)?, numbers.customer(row.customer)?);
        put_content(&mut copy, dimension, customer, row.quantities.columns)?;
        copy.bytea(PackedId::of(&row.id).bytes());
        copy.text(&row.quantities.rest_json().unwrap_or_default());
    }
    copy.send(connection).await
}

/// Where the records of intervals among the events end.
async fn copy_intervals(connection: &mut PgConnection, rows: &[&EventRow]) -> Result<(), StoreError> {
    let mut copy = CopyRows::new("usage_interval", &["event_key", "occurred_at", "ended_at"]);
    for EventRow { key, occurred_at, ended_at, .. } in rows {
        let Some(ended_at) = *ended_at else { continue };
        copy.row();
        copy.uuid(*key);
        copy.instant(*occurred_at);
        copy.instant(ended_at);
    }
    copy.send(connection).await
}

async fn copy_amendments(
    connection: &mut PgConnection,
    batch: i64,
    rows: &[AmendmentRow<'_>],
) -> Result<(), StoreError> {
    const COLUMNS: &[&str] = &[
        "amendment_key",
        "content_hash",
        "batch_id",
        "place",
        "source",
        "amendment_id",
        "target_key",
        "target_id",
        "kind",
        "restated",
        "position",
    ];
    let mut copy = CopyRows::new("usage_amendment", COLUMNS);
    for (place, row) in rows.iter().enumerate() {
        let (kind, restated) = match &row.amendment.kind {
            AmendmentKind::Void => ("void", serde_json::json!({})),
            AmendmentKind::Correction(restated) => ("correction", serde_json::json!(restated)),
        };
        copy.row();
        copy.uuid(row.key);
        copy.uuid(row.content_hash);
        copy.int8(batch);
        copy.int4(StoreError::encoded("usage_amendment.place", place)?);
        copy.text(&row.amendment.id.source);
        copy.text(&row.amendment.id.id);
        copy.uuid(row.target_key);
        copy.text(&row.amendment.target);
        copy.text(kind);
        copy.json(Some(&restated.to_string()));
        copy.text(&row.position);
    }
    copy.send(connection).await
}

async fn copy_states(
    connection: &mut PgConnection,
    batch: i64,
    rows: &[StateRow],
    numbers: &Numbers,
) -> Result<(), StoreError> {
    const COLUMNS: &[&str] = &[
        "event_key",
        "batch_id",
        "voided",
        "occurred_at",
        "dimension_id",
        "customer_id",
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "requests",
        "other_quantities",
        "ended_at",
    ];
    let mut copy = CopyRows::new("usage_state", COLUMNS);
    for row in rows {
        copy.row();
        copy.uuid(row.key);
        copy.int8(batch);
        copy.boolean(row.voided);
        copy.instant(row.occurred_at);
        let (dimension, customer) = (numbers.dimension(row.dimension)?, numbers.customer(row.customer)?);
        put_content(&mut copy, dimension, customer, row.quantities.columns)?;
        copy.json(row.quantities.rest_json().as_deref());
        copy.optional_instant(row.ended_at);
    }
    copy.send(connection).await
}

async fn copy_conflicts(connection: &mut PgConnection, batch: i64, rows: &[ConflictRow]) -> Result<(), StoreError> {
    const COLUMNS: &[&str] = &["batch_id", "event_key", "source", "event_id", "content_hash", "reported", "position"];
    let mut copy = CopyRows::new("usage_conflict", COLUMNS);
    for row in rows {
        copy.row();
        copy.int8(batch);
        copy.uuid(row.key);
        copy.text(&row.source);
        copy.text(&row.event_id);
        copy.uuid(row.content_hash);
        copy.json(Some(&row.reported));
        copy.text(&row.position);
    }
    copy.send(connection).await
}

async fn copy_rejections(
    connection: &mut PgConnection,
    batch: i64,
    rows: &[RejectionRow],
    stamp: &Stamp,
) -> Result<(), StoreError> {
    let expires_at = stamp.recorded_at.checked_add_signed(stamp.rejections_kept).unwrap_or(Instant::MAX_UTC);
    const COLUMNS: &[&str] = &[
        "batch_id",
        "position",
        "reason",
        "detail",
        "format",
        "source",
        "carrier",
        "content_type",
        "payload",
        "expires_at",
        "event_key",
    ];
    let mut copy = CopyRows::new("usage_rejection", COLUMNS);
    for row in rows {
        copy.row();
        copy.int8(batch);
        copy.text(&row.position);
        copy.text(row.reason);
        copy.text(&row.detail);
        copy.text(row.format);
        copy.text(&row.source);
        copy.json(Some(&row.carrier));
        copy.text(row.content_type);
        copy.bytea(&row.payload);
        copy.instant(expires_at);
        copy.optional_uuid(row.event_key);
    }
    copy.send(connection).await
}

/// Rows that differ in the customer alone stand beside each other, and become one.
async fn copy_rollups(
    connection: &mut PgConnection,
    batch: i64,
    rows: &[RollupRow],
    numbers: &Numbers,
) -> Result<(), StoreError> {
    const COLUMNS: &[&str] = &[
        "bucket",
        "batch_id",
        "context_over",
        "context_up_to",
        "dimension_id",
        "customer_ids",
        "events",
        "input_tokens",
        "cached_input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "requests",
        "other_quantities",
    ];
    let key = |row: &RollupRow| (row.bucket, row.dimension, row.context_over, row.context_up_to);
    let mut copy = CopyRows::new("usage_rollup_row", COLUMNS);
    for same in rows.chunk_by(|a, b| key(a) == key(b)) {
        let (bucket, dimension, context_over, context_up_to) = key(&same[0]);
        copy.row();
        copy.instant(bucket);
        copy.int8(batch);
        copy.int8(context_over);
        copy.int8(context_up_to);
        copy.int4(numbers.dimension(dimension)?);
        let customers = same.iter().map(|row| numbers.customer(row.customer)).collect::<Result<Vec<_>, _>>()?;
        copy.int4_array(customers.into_iter());
        copy.int4_array(same.iter().map(|row| row.events));
        for column in 0..COLUMN_METERS.len() {
            copy.int8_array(same.iter().map(|row| row.quantities.columns[column]));
        }
        copy.json_array(&same.iter().map(|row| row.quantities.rest_json()).collect::<Vec<_>>());
    }
    copy.send(connection).await
}
