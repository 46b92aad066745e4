//! Looks at what findings of a contract are open, and writes down what differs from the last look.

use super::findings::{FindingError, load_open_of, snapshot};
use super::settle::SettleError;
use crate::domain::finding_watch::{FindingNews, to_look_at};
use crate::domain::ids::ContractId;
use crate::domain::period::Span;
use crate::domain::settlement::find_contract;
use crate::store::finding_states::{self, Seen, agreements_differ, load_seen};
use crate::store::findings::BreachQuery;
use crate::store::recording;
use sqlx::PgPool;

/// Looks at the findings of a contract, as known by now; returns what differs from the last look. None where no more is
/// known than then, as what records has not ended since.
///
/// # Errors
/// No such contract, or the database's.
pub async fn watch(pool: &PgPool, contract: &ContractId) -> Result<Option<FindingNews>, FindingError> {
    let known_at = recording::watermark(pool).await?;
    let mut conn = pool.acquire().await?;
    let now = snapshot(&mut conn, known_at).await?;
    let contract = find_contract(&now.known.contracts, contract).map_err(SettleError::from)?;
    let (id, zone) = (&contract.head.id, contract.head.zone);
    let Seen { known_at: seen_at, open: seen } = load_seen(&mut conn, id).await?;
    match seen_at {
        // An instant is handed out twice only while what is known stands still.
        Some(seen_at) if known_at == seen_at => return Ok(None),
        // Somebody who began later has looked already.
        Some(seen_at) if known_at < seen_at => return Ok(Some(FindingNews::default())),
        Some(_) | None => {}
    }
    let breaches = now.breaches(contract, Span::ever());
    let within = match seen_at {
        Some(seen_at) if !agreements_differ(&mut conn, seen_at, known_at).await? => {
            let query = BreachQuery::new(id, known_at, &breaches, Span::ever());
            to_look_at(&seen, query.hours_recorded_after(&mut conn, seen_at).await?, zone)
        }
        // The first look, or one after which anything may break a right, or break it no more.
        Some(_) | None => Some(Span::ever()),
    };
    let open = match within {
        Some(within) => load_open_of(&mut conn, &now, contract, &breaches, within).await?,
        None => Vec::new(),
    };
    drop(conn);
    let news = FindingNews::of(&seen, &open);
    let is_ours = finding_states::append(pool, id, seen_at, known_at, &news).await?;
    Ok(Some(if is_ours { news } else { FindingNews::default() }))
}
