//! Waivers: unresolved usage that somebody decided not to wait for.

use super::StoreError;
use super::rollups::UnresolvedUsage;
use crate::domain::calendar::Period;
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// The dimensions whose unresolved usage up to `end` (exclusive), as known at `known_at`, was waived, all of it.
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
        "select distinct w.dimension_id from unresolved_waiver w
         where w.contract_id = $1 and not exists (
           select from usage_rollup r join usage_batch b using (batch_id)
           where r.dimension_id = w.dimension_id and r.bucket < $2 and r.events > 0 and b.recorded_at <= $3
             and not is_waived($1, r.dimension_id, r.bucket, b.recorded_at))",
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

/// Records that a contract need not wait for the events of a dimension that were used before a period's end and are
/// unresolved at `cutoff`.
///
/// # Errors
/// The database's.
pub async fn insert_waiver(
    conn: &mut PgConnection,
    contract: &ContractId,
    (period, period_end): (Period, Instant),
    usage: &UnresolvedUsage,
    cutoff: Instant,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into unresolved_waiver (contract_id, period, period_end, dimension_id, events, cutoff, waived_at, waived_by,
                                        reason)
         values ($1, $2, $3, $4, $5, $6, clock_timestamp(), $7, $8) on conflict do nothing",
        contract.as_str(),
        period.to_string(),
        period_end,
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
