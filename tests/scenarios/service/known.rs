//! What the database knows as of an instant.

use super::{Desk, Failure};
use apportion::domain::ids::EventId;
use apportion::domain::period::{Instant, Span};
use apportion::domain::restated::{KnownUsage, Mention, Reason, Rejected, Waiting};
use apportion::domain::simulate::known::Known;
use apportion::jobs::contracts;
use apportion::store::contracts::load_rates;
use apportion::store::records::load_standing;
use apportion::store::usage_events::load_events;
use sqlx::PgConnection;

/// Source, id, and when it was recorded.
type Row = (String, String, Instant);

impl Desk {
    /// Agreements, and all that is known beside them.
    pub async fn known(&self, at: Instant) -> Result<(contracts::Known, Known), Failure> {
        let mut conn = self.pool.acquire().await?;
        let agreements =
            contracts::load(&mut conn, at).await.map_err(|error| Failure::Code("store", error.to_string()))?;
        let span = Span { start: Instant::UNIX_EPOCH, end: at + chrono::TimeDelta::days(40_000) };
        let events = load_events(&mut conn, &[span], at).await?;
        let standing = load_standing(&mut conn, at).await?;
        let mut known = Known {
            prices: agreements.prices.clone(),
            rates: load_rates(&mut conn, at).await?,
            usage: events
                .into_iter()
                .map(|it| KnownUsage { id: it.id, recorded_at: at, content: it.content })
                .collect(),
            records: standing.records,
            conflicts: standing.conflicts,
            rejected: standing.rejected,
            waiting: standing.waiting,
        };
        self.not_counted(&mut conn, at, &mut known).await?;
        let told = |mention: &mut Mention| {
            mention.recorded_at = self.stamps.get(&mention.recorded_at).copied().unwrap_or(mention.recorded_at);
        };
        known.conflicts.iter_mut().for_each(told);
        known.rejected.iter_mut().for_each(|it| told(&mut it.what));
        known.waiting.iter_mut().for_each(|it| told(&mut it.what));
        Ok((agreements, known))
    }

    /// Adds what of usage does not count.
    async fn not_counted(&self, conn: &mut PgConnection, at: Instant, known: &mut Known) -> Result<(), Failure> {
        let mention = |(source, id, recorded_at): Row| Mention { id: EventId { source, id }, recorded_at };
        let conflicts: Vec<Row> = sqlx::query_as(
            "select source, event_id, recorded_at from usage_conflict join usage_batch using (batch_id)
             where recorded_at <= $1 order by conflict_id",
        )
        .bind(at)
        .fetch_all(&mut *conn)
        .await?;
        known.conflicts.extend(conflicts.into_iter().map(mention));
        let rejected: Vec<(String, String, Instant, String)> = sqlx::query_as(
            "select p.event ->> 'source', p.event ->> 'id', recorded_at, reason
             from usage_rejection join usage_batch using (batch_id),
               lateral (select convert_from(payload, 'UTF8')::jsonb as event) p
             where recorded_at <= $1 order by rejection_id",
        )
        .bind(at)
        .fetch_all(&mut *conn)
        .await?;
        for (source, id, recorded_at, reason) in rejected {
            let reason = Reason::named(&reason).unwrap_or(Reason::Misfit(reason));
            known.rejected.push(Rejected { what: mention((source, id, recorded_at)), reason });
        }
        let waiting: Vec<(String, String, Instant, String)> = sqlx::query_as(
            "with known as (select batch_id from usage_batch where recorded_at <= $1)
             select a.source, a.amendment_id, b.recorded_at, a.target_id
             from usage_amendment a join usage_batch b using (batch_id) join known using (batch_id)
             where not exists (select from usage_event e join known using (batch_id) where e.event_key = a.target_key)
               and not exists (select from usage_amendment o join known using (batch_id) where o.amendment_key = a.target_key)
             order by a.batch_id, a.place",
        )
        .bind(at)
        .fetch_all(&mut *conn)
        .await?;
        for (source, id, recorded_at, target) in waiting {
            let waits_for = EventId { source: source.clone(), id: target };
            known.waiting.push(Waiting { what: mention((source, id, recorded_at)), waits_for });
        }
        Ok(())
    }
}
