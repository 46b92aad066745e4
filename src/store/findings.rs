//! Usage that breaks rights, summed and counted as known at an instant, and what of it is held back from bases.

use super::rollups::{context_meters, threshold_arrays};
use super::{StoreError, dictionary};
use crate::domain::findings::{Breach, HeldEvents, OpenEvents, OpenUsage};
use crate::domain::ids::{ContractId, CustomerId, DeploymentId, EventId, ProductId, TermId};
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span, Timeline};
use crate::domain::rating::UsageRollup;
use crate::domain::usage::{UsageAttributes, event_key};
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// A span of a breach in the form in which queries take it.
#[derive(Clone, Debug, sqlx::Type)]
#[sqlx(type_name = "breach_span")]
pub(super) struct BreachSpan {
    right_id: String,
    deployment: String,
    product: String,
    starts_at: Instant,
    ends_at: Instant,
}

/// What is asked about breaches of one contract, as known at an instant.
pub struct BreachQuery<'a> {
    pub(super) contract: &'a ContractId,
    pub(super) known_at: Instant,
    pub(super) spans: Vec<BreachSpan>,
}

impl<'a> BreachQuery<'a> {
    /// About what of the breaches lies within a span.
    pub fn new<'b>(
        contract: &'a ContractId,
        known_at: Instant,
        breaches: impl IntoIterator<Item = &'b Breach>,
        within: Span,
    ) -> Self {
        let span = |breach: &Breach| {
            let Span { start, end } = breach.span.intersection(within)?;
            let (right_id, deployment) = (breach.right.to_string(), breach.deployment.to_string());
            Some(BreachSpan {
                right_id,
                deployment,
                product: breach.product.to_string(),
                starts_at: start,
                ends_at: end,
            })
        };
        Self { contract, known_at, spans: breaches.into_iter().filter_map(span).collect() }
    }

    /// The hours in which there may be usage that breaks a right, each by its first instant, rising.
    ///
    /// # Errors
    /// The database's.
    pub async fn hours(&self, conn: &mut PgConnection) -> Result<Vec<Instant>, StoreError> {
        let hours = sqlx::query_scalar!(
            r#"
            with breach as (
              select d.dimension_id, b.starts_at - interval '1 hour' as hour_before, b.ends_at
              from unnest($1::breach_span[]) as b join usage_dimension d using (deployment, product)
            )
            select r.bucket as "bucket!"
            from usage_rollup r
            join usage_batch u on u.batch_id = r.batch_id and u.recorded_at <= $2
            where exists (select from breach b where b.dimension_id = r.dimension_id
                and r.bucket > b.hour_before and r.bucket < b.ends_at)
              and r.bucket > (select min(hour_before) from breach)
              and r.bucket < (select max(ends_at) from breach)
            group by r.bucket, r.dimension_id
            -- what was voided, or moved to another hour by a correction, is here no more
            having sum(r.events) <> 0
            order by r.bucket
            "#,
            &self.spans as _,
            self.known_at
        );
        let mut hours = hours.fetch_all(conn).await?;
        hours.dedup();
        Ok(hours)
    }

    /// The hours from the first to the last of such usage that was recorded after an instant: news, corrections
    /// and voids among them.
    ///
    /// # Errors
    /// The database's.
    pub async fn hours_recorded_after(
        &self,
        conn: &mut PgConnection,
        after: Instant,
    ) -> Result<Option<Span>, StoreError> {
        let row = sqlx::query!(
            r#"
            with breach as (
              -- of bare columns, so that an index answers for each
              select d.dimension_id, b.starts_at - interval '1 hour' as hour_before, b.ends_at
              from unnest($1::breach_span[]) as b join usage_dimension d using (deployment, product)
            )
            select min(r.bucket) as first, max(r.bucket) as last
            from usage_rollup r
            join usage_batch u on u.batch_id = r.batch_id and u.recorded_at <= $2
              and u.recorded_at > $3
            join breach b on b.dimension_id = r.dimension_id
              and r.bucket > b.hour_before and r.bucket < b.ends_at
            where r.bucket > (select min(hour_before) from breach)
              and r.bucket < (select max(ends_at) from breach)
              and r.batch_id >= coalesce((select min(batch_id) from usage_batch where recorded_at > $3), 0)
            "#,
            &self.spans as _,
            self.known_at,
            after
        )
        .fetch_one(conn)
        .await?;
        let hour = TimeDelta::hours(1);
        let span = |(start, last): (Instant, Instant)| Some(Span { start, end: last.checked_add_signed(hour)? });
        Ok(row.first.zip(row.last).and_then(span))
    }

    /// The usage of each right that nobody has decided on, by segment.
    ///
    /// # Errors
    /// The database's, or a row that cannot be read.
    pub async fn load_open_usage(
        &self,
        conn: &mut PgConnection,
        timeline: &Timeline,
        thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
    ) -> Result<Vec<OpenUsage>, StoreError> {
        let rows = self.load_usage(conn, timeline, thresholds, false).await?;
        Ok(rows.into_iter().map(|(usage, _)| usage).collect())
    }

    /// The usage that is held back, by segment, with its attributes; the breaches are those of rights that hold.
    /// Records of intervals are left aside.
    ///
    /// # Errors
    /// The database's, or a row that cannot be read.
    pub async fn load_held_usage(
        &self,
        conn: &mut PgConnection,
        timeline: &Timeline,
        thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
    ) -> Result<Vec<(UsageRollup, UsageAttributes)>, StoreError> {
        let held = self.load_usage(conn, timeline, thresholds, true).await?;
        Ok(held.into_iter().map(|(of_right, attributes)| (of_right.usage, attributes)).collect())
    }

    async fn load_usage(
        &self,
        conn: &mut PgConnection,
        timeline: &Timeline,
        thresholds: &BTreeMap<ProductId, BTreeSet<u64>>,
        held: bool,
    ) -> Result<Vec<(OpenUsage, UsageAttributes)>, StoreError> {
        let (products, overs) = threshold_arrays(thresholds);
        let rows = sqlx::query_file!(
            "src/store/breaching_usage.sql",
            timeline.edges(),
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            &products,
            &overs,
            held,
            &context_meters()
        )
        .fetch_all(conn)
        .await?;
        rows.into_iter()
            .map(|row| {
                let of = format!("the usage of {} and {}", row.deployment, row.product);
                let usage = UsageRollup {
                    segment: StoreError::decoded("segment", &of, usize::try_from(row.segment))?,
                    deployment: DeploymentId::new(row.deployment),
                    product: ProductId::new(row.product),
                    customer: CustomerId::new(row.customer),
                    service_tier: row.service_tier,
                    context_over: StoreError::decoded("context_over", &of, u64::try_from(row.context_over))?,
                    meter: StoreError::decoded("meter", &of, row.meter.parse())?,
                    quantity: StoreError::decoded("quantity", &of, row.quantity.parse::<Exact>())?,
                };
                let attributes = dictionary::attributes(row.attributes, &of)?;
                Ok((OpenUsage { right: TermId::new(row.right_id), usage }, attributes))
            })
            .collect()
    }

    /// How many events of each right and day nobody has decided on. `days` are the first instants of local days.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_open_events(
        &self,
        conn: &mut PgConnection,
        days: &[Instant],
    ) -> Result<Vec<OpenEvents>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"
            select b.right_id as "right_id!", d.deployment, d.product, min(b.occurred_at) as "first_at!",
                   max(b.occurred_at) as "last_at!", count(*) as "events!"
            from breaching_event($1, $2, $3) b
            join usage_dimension d using (dimension_id)
            where b.verdict is null
            group by b.right_id, d.deployment, d.product, width_bucket(b.occurred_at, $4::timestamptz[])
            "#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            days
        )
        .fetch_all(conn)
        .await?;
        Ok(rows.into_iter().map(OpenEvents::from).collect())
    }

    /// How many events of each right and day were open as known at `self`, and neither break the right as known
    /// later, nor were decided on by then.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_ended_events(
        &self,
        conn: &mut PgConnection,
        later: &BreachQuery<'_>,
        days: &[Instant],
    ) -> Result<Vec<OpenEvents>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"
            select b.right_id as "right_id!", d.deployment, d.product, min(b.occurred_at) as "first_at!",
                   max(b.occurred_at) as "last_at!", count(*) as "events!"
            from breaching_event($1, $2, $3) b
            join usage_dimension d using (dimension_id)
            where b.verdict is null
              and (b.right_id, b.event_key) not in (
                select l.right_id, l.event_key from breaching_event($1, $5, $6) l)
              and not exists (
                select from finding_decision_event f join finding_decision k using (decision_id)
                where (f.contract_id, f.right_id, f.event_key) = ($1, b.right_id, b.event_key) and k.recorded_at <= $5)
            group by b.right_id, d.deployment, d.product, width_bucket(b.occurred_at, $4::timestamptz[])
            "#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            days,
            later.known_at,
            &later.spans as _
        )
        .fetch_all(conn)
        .await?;
        Ok(rows.into_iter().map(OpenEvents::from).collect())
    }

    /// The first and the last of the events that nobody has decided on; the same twice where there is one.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_first_and_last(&self, conn: &mut PgConnection) -> Result<Vec<EventAt>, StoreError> {
        let rows = sqlx::query_as!(
            EventAt,
            r#"
            with found as (
              select d.source, e.event_id, b.occurred_at
              from breaching_event($1, $2, $3) b
              join usage_event_online e using (event_key)
              -- its source is that under which it was reported first
              join usage_dimension d on d.dimension_id = e.dimension_id
              where b.verdict is null
            )
            (select source as "source!", event_id as "id!", occurred_at as "at!"
             from found order by occurred_at, event_id collate "C", source collate "C" limit 1)
            union all
            (select source, event_id, occurred_at
             from found order by occurred_at desc, event_id collate "C" desc, source collate "C" desc limit 1)
            "#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _
        )
        .fetch_all(conn)
        .await?;
        Ok(rows)
    }

    /// How many events before `end` are held back, by product and deployment.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_held_events(&self, conn: &mut PgConnection, end: Instant) -> Result<Vec<HeldEvents>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select d.product, d.deployment, count(*) as "events!"
            from held_event($1, $2, $3) h
            join usage_dimension d using (dimension_id)
            where h.occurred_at < $4
            group by 1, 2
            order by d.product collate "C", d.deployment collate "C"
            "#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            end
        )
        .fetch_all(conn)
        .await?;
        let held = rows.into_iter().map(|row| HeldEvents {
            contract: self.contract.clone(),
            product: ProductId::new(row.product),
            deployment: DeploymentId::new(row.deployment),
            events: row.events,
        });
        Ok(held.collect())
    }

    /// Which of some events are held back.
    ///
    /// # Errors
    /// The database's.
    pub async fn load_held_of<'e>(
        &self,
        conn: &mut PgConnection,
        events: impl IntoIterator<Item = &'e EventId>,
    ) -> Result<BTreeSet<&'e EventId>, StoreError> {
        let secret = super::usage::event_key_secret(&mut *conn).await?;
        let asked: BTreeMap<_, _> =
            events.into_iter().map(|event| (event_key(&secret, &event.source, &event.id), event)).collect();
        let keys: Vec<_> = asked.keys().copied().collect();
        let held = sqlx::query_scalar!(
            r#"select event_key as "event_key!" from held_event($1, $2, $3)
               where event_key = any($4)"#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            &keys
        )
        .fetch_all(conn)
        .await?;
        Ok(held.iter().filter_map(|key| asked.get(key).copied()).collect())
    }
}

/// How many events of a right, product, deployment and day there are.
struct EventRow {
    right_id: String,
    deployment: String,
    product: String,
    first_at: Instant,
    last_at: Instant,
    events: i64,
}

impl From<EventRow> for OpenEvents {
    fn from(row: EventRow) -> Self {
        Self {
            right: TermId::new(row.right_id),
            deployment: DeploymentId::new(row.deployment),
            product: ProductId::new(row.product),
            first_at: row.first_at,
            last_at: row.last_at,
            events: row.events,
        }
    }
}

/// An event with its instant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct EventAt {
    pub source: String,
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Instant,
}

/// Whether any usage of a contract was rejected for good by an instant.
///
/// # Errors
/// The database's.
pub async fn has_rejected(
    conn: &mut PgConnection,
    contract: &ContractId,
    known_at: Instant,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from finding_decision where contract_id = $1 and recorded_at <= $2
             and verdict = 'reject' and on_breach = 'hold') as "exists!""#,
        contract.as_str(),
        known_at
    )
    .fetch_one(conn)
    .await?)
}
