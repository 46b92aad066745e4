//! Usage events one by one, each as it stood at a cutoff: for hours that are opened, and records of intervals.

use super::quantities::join;
use super::usage::event_key_secret;
use super::{StoreError, dictionary};
use crate::domain::ids::EventId;
use crate::domain::period::{Instant, Span};
use crate::domain::usage::{UsageContent, UsageEvent, event_key};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// An event as the queries below tell it.
struct EventRow {
    source: String,
    event_id: String,
    occurred_at: Instant,
    ended_at: Option<Instant>,
    deployment: String,
    product: String,
    service_tier: String,
    outcome: Option<String>,
    attributes: Value,
    customer: String,
    input_tokens: i32,
    cached_input_tokens: i32,
    output_tokens: i32,
    reasoning_tokens: i32,
    requests: i32,
    other_quantities: Option<Value>,
}

/// The query for events of spans as known at a cutoff; `$state` and `$event` say which.
macro_rules! events_of_spans {
    ($state:tt, $event:tt, $starts:expr, $ends:expr, $known_at:expr) => {
        sqlx::query_as!(
            EventRow,
            r#"
            with known_batch as (
              select batch_id from usage_batch where recorded_at <= $3
            ), span as (
              -- spans that overlap are one: no event comes twice
              select lower(r) as start, upper(r) as "end"
              from unnest((select range_agg(tstzrange(s.start, s."end"))
                from unnest($1::timestamptz[], $2::timestamptz[]) as s (start, "end"))) r
            ), standing as (
              -- its last state recorded by the cutoff, else as first reported
              select e.event_id, s.occurred_at, s.ended_at, s.dimension_id, s.customer_id, s.input_tokens,
                     s.cached_input_tokens, s.output_tokens, s.reasoning_tokens, s.requests, s.other_quantities
              from span
              join usage_state s on s.occurred_at >= span.start and s.occurred_at < span."end"
              join known_batch using (batch_id)
              -- what a state is of stays
              join usage_event_online e using (event_key)
              where not s.voided
                and not exists (select from usage_state later join known_batch using (batch_id)
                  where later.event_key = s.event_key and later.batch_id > s.batch_id)"#
                + $state
                + r#"
              union all
              select e.event_id, e.occurred_at, e.ended_at, e.dimension_id, e.customer_id, e.input_tokens,
                     e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
              from span
              join usage_event_online e on e.occurred_at >= span.start and e.occurred_at < span."end"
              join known_batch using (batch_id)
              where not exists (select from usage_state s join known_batch using (batch_id)
                  where s.event_key = e.event_key)"#
                + $event
                + r#"
            )
            select d.source, e.event_id as "event_id!", e.occurred_at as "occurred_at!", e.ended_at, d.deployment,
                   d.product, d.service_tier, d.outcome, d.attributes, c.customer, e.input_tokens as "input_tokens!",
                   e.cached_input_tokens as "cached_input_tokens!", e.output_tokens as "output_tokens!",
                   e.reasoning_tokens as "reasoning_tokens!", e.requests as "requests!", e.other_quantities
            from standing e
            join usage_dimension d using (dimension_id)
            join usage_customer c using (customer_id)
            order by e.occurred_at, e.event_id collate "C", d.source collate "C""#,
            $starts,
            $ends,
            $known_at
        )
    };
}

/// Every event that stood within some spans at `known_at`, in the order in which they count. Records of intervals
/// are among them by where they start, and so is usage that no mapping knows.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_events(
    conn: &mut PgConnection,
    spans: &[Span],
    known_at: Instant,
) -> Result<Vec<UsageEvent>, StoreError> {
    let (starts, ends): (Vec<Instant>, Vec<Instant>) = spans.iter().map(|span| (span.start, span.end)).unzip();
    // All of them have to be here.
    let rows = events_of_spans!(
        "",
        " and usage_is_online((select range_agg(tstzrange(s.start, s.\"end\")) from span s))",
        &starts,
        &ends,
        known_at
    );
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter().map(EventRow::read).collect()
}

/// The records of intervals among the events that stood within a span at `known_at`: those that no sum holds.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_interval_events(
    conn: &mut PgConnection,
    span: Span,
    known_at: Instant,
) -> Result<Vec<UsageEvent>, StoreError> {
    let (start, end) = ([span.start], [span.end]);
    // Of the events, few end: an index has these alone, and they stay when others are archived.
    let rows = events_of_spans!(
        " and s.ended_at is not null",
        " and e.event_key in (select i.event_key from usage_interval i
            join span s on i.occurred_at >= s.start and i.occurred_at < s.\"end\")",
        &start,
        &end,
        known_at
    );
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter().map(EventRow::read).collect()
}

/// Those of some events that stood at `known_at`, by their ids.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_named_events(
    conn: &mut PgConnection,
    ids: impl IntoIterator<Item = &EventId>,
    known_at: Instant,
) -> Result<Vec<UsageEvent>, StoreError> {
    let secret = event_key_secret(&mut *conn).await?;
    let keys: Vec<Uuid> = ids.into_iter().map(|id| event_key(&secret, &id.source, &id.id)).collect();
    load_keyed_events(conn, &keys, known_at, true).await
}

/// Those of some events that stood at `known_at`, by their keys: of all that there are, or of those alone that are here where
/// some are archived.
///
/// # Errors
/// The database's, or a row that cannot be read; where all are wanted, that one is archived.
pub async fn load_keyed_events(
    conn: &mut PgConnection,
    keys: &[Uuid],
    known_at: Instant,
    all: bool,
) -> Result<Vec<UsageEvent>, StoreError> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"
        with known_batch as (
          select batch_id from usage_batch where recorded_at <= $2
        ), standing as (
          select e.event_key, e.event_id, coalesce(s.occurred_at, e.occurred_at) as occurred_at,
                 case when s.event_key is null then e.ended_at else s.ended_at end as ended_at,
                 coalesce(s.dimension_id, e.dimension_id) as dimension_id,
                 coalesce(s.customer_id, e.customer_id) as customer_id,
                 coalesce(s.input_tokens, e.input_tokens) as input_tokens,
                 coalesce(s.cached_input_tokens, e.cached_input_tokens) as cached_input_tokens,
                 coalesce(s.output_tokens, e.output_tokens) as output_tokens,
                 coalesce(s.reasoning_tokens, e.reasoning_tokens) as reasoning_tokens,
                 coalesce(s.requests, e.requests) as requests,
                 case when s.event_key is null then e.other_quantities else s.other_quantities end as other_quantities
          from usage_event_online e
          join known_batch using (batch_id)
          left join lateral (
            select st.* from usage_state st join known_batch using (batch_id)
            where st.event_key = e.event_key order by st.batch_id desc limit 1
          ) s on true
          where (not $3 or usage_keys_are_online($1)) and e.event_key = any($1) and not coalesce(s.voided, false)
        )
        select d.source, e.event_id as "event_id!", e.occurred_at as "occurred_at!", e.ended_at, d.deployment,
               d.product, d.service_tier, d.outcome, d.attributes, c.customer, e.input_tokens as "input_tokens!",
               e.cached_input_tokens as "cached_input_tokens!", e.output_tokens as "output_tokens!",
               e.reasoning_tokens as "reasoning_tokens!", e.requests as "requests!", e.other_quantities
        from standing e
        join usage_dimension d using (dimension_id)
        join usage_customer c using (customer_id)
        order by e.occurred_at, e.event_id collate "C", d.source collate "C"
        "#,
        keys,
        known_at,
        all
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(EventRow::read).collect()
}

impl EventRow {
    fn read(self) -> Result<UsageEvent, StoreError> {
        let columns =
            [self.input_tokens, self.cached_input_tokens, self.output_tokens, self.reasoning_tokens, self.requests];
        let quantities = join(columns, self.other_quantities);
        let id = EventId { source: self.source, id: self.event_id };
        let content = UsageContent {
            occurred_at: self.occurred_at,
            ended_at: self.ended_at,
            deployment: self.deployment,
            product: self.product,
            customer: self.customer,
            service_tier: self.service_tier,
            outcome: dictionary::outcome(self.outcome.as_deref(), &id.id)?,
            attributes: dictionary::attributes(self.attributes, &id.id)?,
            quantities: StoreError::decoded("other_quantities", &id.id, quantities)?,
        };
        Ok(UsageEvent { id, content })
    }
}
