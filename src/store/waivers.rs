//! Waivers: unresolved usage that somebody decided not to wait for.

use super::StoreError;
use super::rollups::UnresolvedUsage;
use crate::domain::calendar::Period;
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// The dimensions whose unresolved usage up to `end` (exclusive), as known at `known_at`, was waived: in any
/// period of the contract, and nothing of them was recorded after the last waiver's cutoff.
///
/// # Errors
/// The database's.
async fn load_waived(
    conn: &mut PgConnection,
    contract: &ContractId,
    end: Instant,
    known_at: Instant,
) -> Result<BTreeSet<i32>, StoreError> {
    let waived = sqlx::query_scalar!(
        "select w.dimension_id
         from (select dimension_id, max(cutoff) as cutoff from unresolved_waiver where contract_id = $1 group by 1) w
         where not exists (
           select from usage_rollup r join usage_batch b using (batch_id)
           where r.dimension_id = w.dimension_id and r.bucket < $2 and r.events > 0
             and b.recorded_at > w.cutoff and b.recorded_at <= $3)",
        contract.as_str(),
        end,
        known_at
    )
    .fetch_all(conn)
    .await?;
    Ok(waived.into_iter().collect())
}

/// What of unresolved usage up to `end` (exclusive), as known at `known_at`, a contract waits for: nobody waived it.
///
/// # Errors
/// The database's.
pub async fn without_waived(
    conn: &mut PgConnection,
    contract: &ContractId,
    mut unresolved: Vec<UnresolvedUsage>,
    end: Instant,
    known_at: Instant,
) -> Result<Vec<UnresolvedUsage>, StoreError> {
    let waived = load_waived(conn, contract, end, known_at).await?;
    unresolved.retain(|usage| !waived.contains(&usage.dimension_id));
    Ok(unresolved)
}

/// Records that a contract need not wait for the events of a dimension that are unresolved at `cutoff`.
///
/// # Errors
/// The database's.
pub async fn insert_waiver(
    conn: &mut PgConnection,
    contract: &ContractId,
    period: Period,
    usage: &UnresolvedUsage,
    cutoff: Instant,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into unresolved_waiver (contract_id, period, dimension_id, events, cutoff, waived_at, waived_by, reason)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7) on conflict do nothing",
        contract.as_str(),
        period.to_string(),
        usage.dimension_id,
        usage.events,
        cutoff,
        by,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}
