//! What people decided on findings: each decision with every event that it covers.

use super::StoreError;
use super::findings::BreachQuery;
use crate::domain::contract::rights::OnBreach;
use crate::domain::findings::{Finding, GroupKey, Verdict};
use crate::domain::ids::{ContractId, DeploymentId, ProductId, TermId};
use crate::domain::period::Instant;
use chrono::NaiveDate;
use sqlx::{PgConnection, PgExecutor};

/// What was decided on a group of findings.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Decision {
    pub decision_id: i64,
    /// The group's id.
    pub finding: String,
    #[serde(flatten)]
    pub key: GroupKey,
    pub verdict: Verdict,
    pub on_breach: OnBreach,
    /// How the usage broke the right, as known at the cutoff.
    pub why: Vec<String>,
    /// How many events it covers.
    pub events: i64,
    /// What of the group was recorded by then is covered.
    #[schema(value_type = String, format = DateTime)]
    pub cutoff: Instant,
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Instant,
    pub decided_by: String,
    pub reason: String,
}

/// A decision as it is to be written down.
pub struct NewDecision<'a> {
    pub finding: &'a Finding,
    pub verdict: Verdict,
    pub by: &'a str,
    pub reason: &'a str,
    pub recorded_at: Instant,
}

impl BreachQuery<'_> {
    /// Writes a decision with the events of the group that were known then, that nobody has decided on since, and that
    /// break the right as known `now` too. Where there are none, nothing is written.
    ///
    /// # Errors
    /// The database's.
    pub async fn insert_decision(
        &self,
        conn: &mut PgConnection,
        new: &NewDecision<'_>,
        now: &BreachQuery<'_>,
    ) -> Result<Option<Decision>, StoreError> {
        let (finding, key) = (new.finding, &new.finding.key);
        let events = sqlx::query_scalar!(
            r#"
            select b.event_key as "event_key!"
            from breaching_event($1, $2, $3) b
            where b.verdict is null
              and not exists (select from finding_decision_event f
                where (f.contract_id, f.right_id, f.event_key) = ($1, b.right_id, b.event_key))
              -- a decision follows its event for ever: what a correction has put right since is not covered
              and (b.right_id, b.event_key) in (select n.right_id, n.event_key from breaching_event($1, $4, $5) n)
            "#,
            self.contract.as_str(),
            self.known_at,
            &self.spans as _,
            now.known_at,
            &now.spans as _
        )
        .fetch_all(&mut *conn)
        .await?;
        if events.is_empty() {
            return Ok(None);
        }
        let count: i64 = StoreError::encoded("finding_decision.events", events.len())?;
        let decision_id = sqlx::query_scalar!(
            "with decision as (
               insert into finding_decision (finding_id, contract_id, right_id, product, deployment, day, verdict,
                                             on_breach, why, events, cutoff, recorded_at, decided_by, reason)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
               returning decision_id, contract_id, right_id
             ), covered as (
               insert into finding_decision_event (contract_id, right_id, event_key, decision_id)
               select d.contract_id, d.right_id, k.event_key, d.decision_id
               from decision d cross join unnest($15::uuid[]) as k(event_key)
             )
             select decision_id from decision",
            finding.id,
            key.contract.as_str(),
            key.right.as_str(),
            key.product.as_str(),
            key.deployment.as_str(),
            key.day,
            new.verdict.name(),
            finding.on_breach.name(),
            &finding.why,
            count,
            self.known_at,
            new.recorded_at,
            new.by,
            new.reason,
            &events
        )
        .fetch_one(&mut *conn)
        .await?;
        super::recording::note_alone(conn, new.recorded_at).await?;
        Ok(Some(Decision {
            decision_id,
            finding: finding.id.clone(),
            key: key.clone(),
            verdict: new.verdict,
            on_breach: finding.on_breach,
            why: finding.why.clone(),
            events: count,
            cutoff: self.known_at,
            recorded_at: new.recorded_at,
            decided_by: new.by.to_owned(),
            reason: new.reason.to_owned(),
        }))
    }
}

/// Which decisions to load.
#[derive(Clone, Debug, Default)]
pub struct DecisionFilter<'a> {
    pub contract: Option<&'a ContractId>,
    /// Of findings of this day and later.
    pub from: Option<NaiveDate>,
    /// Of findings of this day and earlier.
    pub through: Option<NaiveDate>,
    /// Of this group of findings alone.
    pub finding: Option<&'a str>,
    /// Those after this decision, to go on where a list ended.
    pub after: Option<i64>,
    /// How many at most.
    pub limit: Option<i64>,
}

/// Decisions recorded by an instant, or all by now, in their order.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_decisions(
    conn: impl PgExecutor<'_>,
    filter: &DecisionFilter<'_>,
    known_at: Option<Instant>,
) -> Result<Vec<Decision>, StoreError> {
    let rows = sqlx::query!(
        "select decision_id, finding_id, contract_id, right_id, product, deployment, day, verdict, on_breach, why,
                events, cutoff, recorded_at, decided_by, reason
         from finding_decision
         where ($1::timestamptz is null or recorded_at <= $1) and ($2::text is null or contract_id = $2)
           and ($3::date is null or day >= $3) and ($4::date is null or day <= $4)
           and ($5::text is null or finding_id = $5) and ($6::bigint is null or decision_id > $6)
         order by decision_id
         limit $7",
        known_at,
        filter.contract.map(ContractId::as_str),
        filter.from,
        filter.through,
        filter.finding,
        filter.after,
        filter.limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Decision {
                decision_id: row.decision_id,
                key: GroupKey {
                    contract: ContractId::new(row.contract_id),
                    right: TermId::new(row.right_id),
                    product: ProductId::new(row.product),
                    deployment: DeploymentId::new(row.deployment),
                    day: row.day,
                },
                verdict: StoreError::decoded("finding_decision.verdict", &row.finding_id, row.verdict.parse())?,
                on_breach: StoreError::decoded("finding_decision.on_breach", &row.finding_id, row.on_breach.parse())?,
                finding: row.finding_id,
                why: row.why,
                events: row.events,
                cutoff: row.cutoff,
                recorded_at: row.recorded_at,
                decided_by: row.decided_by,
                reason: row.reason,
            })
        })
        .collect()
}
