//! Double reports: looks for replies that more than one event reports, lists them as known at an instant, and takes waivers.

use super::contracts::{Known, load};
use super::findings::{FindingError, known_by};
use crate::domain::double_report::{DoubleReport, Rates};
use crate::domain::period::Instant;
use crate::store::double_reports::{
    DoubleReportWaiver, Found, FoundFilter, append, find_repeated, insert_waiver, load_found, load_waivers, load_watch,
    next_step,
};
use crate::store::recording::{self, LockMode};
use crate::store::{StoreError, begin_read};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool, Postgres};
use uuid::Uuid;

/// How many replies are loaded at once.
const CHUNK: i64 = 500;

/// A double report with what was said of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DoubleReportDetails {
    #[schema(value_type = String, format = DateTime)]
    pub known_at: Instant,
    #[serde(flatten)]
    pub report: DoubleReport,
    pub waivers: Vec<DoubleReportWaiver>,
}

/// Looks at what was recorded since the last look for replies that more than one event reports; returns how many it found.
/// None where no more is known than then, as what records has not ended since.
///
/// # Errors
/// The database's. What was found before stands, and the next look goes on there.
pub async fn look(pool: &PgPool) -> Result<Option<usize>, StoreError> {
    let until = recording::watermark(pool).await?;
    let mut after = load_watch(pool).await?;
    if after == until {
        return Ok(None);
    }
    let mut count = 0_usize;
    while after < until {
        let end = next_step(pool, after, until).await?;
        let found = find_repeated(pool, after, end).await?;
        if !append(pool, after, end, &found).await? {
            // Somebody else looks, and goes on.
            break;
        }
        count = count.saturating_add(found.len());
        after = end;
    }
    Ok(Some(count))
}

/// The double reports that are open, as known at an instant that [`known_by`] gave: the first ones, so many at most, or
/// those that come after one.
///
/// # Errors
/// The database's, or what is stored cannot be read.
pub async fn list_open(
    pool: &PgPool,
    known_at: Instant,
    after: Option<(Instant, Uuid)>,
    limit: usize,
) -> Result<Vec<DoubleReport>, FindingError> {
    // Of one state: events may go offline, and come back, while pages are read.
    let mut conn = begin_read(pool).await?;
    let Known { register, prices, .. } = load(&mut conn, known_at).await?;
    let rates = Rates::new(&register, &prices);
    let mut filter = FoundFilter { reply: None, after, limit: Some(CHUNK) };
    let mut open = Vec::new();
    loop {
        let found = load_found(&mut conn, &filter, known_at).await?;
        let Some(last) = found.last() else { break };
        filter.after = Some((last.known_since, last.reply));
        open.extend(found.into_iter().map(|it| report(it, &rates)).filter(DoubleReport::is_open));
        if open.len() >= limit {
            break;
        }
    }
    open.truncate(limit);
    Ok(open)
}

/// Shows a double report with what was said of it, open or not.
///
/// # Errors
/// There is none of that id.
pub async fn show(pool: &PgPool, id: Uuid, known_at: Option<Instant>) -> Result<DoubleReportDetails, FindingError> {
    let known_at = known_by(pool, known_at).await?;
    let mut conn = pool.acquire().await?;
    let report = find(&mut conn, id, known_at).await?;
    let waivers = load_waivers(&mut conn, id, known_at).await?;
    Ok(DoubleReportDetails { known_at, report, waivers })
}

/// What to waive.
#[derive(Clone, Debug)]
pub struct WaiveRequest {
    /// The double report's id, as it is listed.
    pub id: Uuid,
    pub by: String,
    pub reason: String,
}

/// Says that the events of a double report count, each of them that was recorded by a cutoff, which [`known_by`] gave.
/// Later ones are suspected anew.
///
/// # Errors
/// There is none of that id, or none of these events is suspected any more.
#[tracing::instrument(name = "double_report.waive", skip_all, fields(double_report = %request.id))]
pub async fn waive<'c>(
    database: impl Acquire<'c, Database = Postgres>,
    request: &WaiveRequest,
    cutoff: Instant,
) -> Result<DoubleReportWaiver, FindingError> {
    let WaiveRequest { id, by, reason } = request;
    let mut tx = database.begin().await?;
    // It was known by the cutoff, too: a waiver of what somebody guessed says nothing.
    find(&mut tx, *id, cutoff).await?;
    // Alone: two waivers must see each other, and none may come into an answer that was given.
    let recorded_at = recording::lock(&mut tx, LockMode::Exclusive).await?;
    let now = find(&mut tx, *id, recorded_at).await?;
    if !now.suspected().any(|event| event.recorded_at <= cutoff) {
        return Err(FindingError::NotDouble { id: id.to_string(), known_at: cutoff });
    }
    let waiver = insert_waiver(&mut tx, *id, [cutoff, recorded_at], [by, reason]).await?;
    tx.commit().await?;
    Ok(waiver)
}

async fn find(conn: &mut PgConnection, id: Uuid, known_at: Instant) -> Result<DoubleReport, FindingError> {
    let filter = FoundFilter { reply: Some(id), ..FoundFilter::default() };
    let found = load_found(&mut *conn, &filter, known_at).await?.pop();
    let found = found.ok_or_else(|| FindingError::Unknown { id: id.to_string(), known_at })?;
    let Known { register, prices, .. } = load(conn, known_at).await?;
    Ok(report(found, &Rates::new(&register, &prices)))
}

fn report(found: Found, rates: &Rates<'_>) -> DoubleReport {
    let Found { reply, known_since, waived_through, events, archived } = found;
    let mut recorded = events.iter().map(|it| it.recorded_at).chain(archived.iter().map(|(recorded, _)| *recorded));
    let is_waived = waived_through.is_some_and(|through| recorded.all(|at| at <= through));
    let archived_hours = archived.iter().filter(|_| !is_waived).map(|(_, hour)| *hour).collect();
    DoubleReport { archived_hours, ..DoubleReport::of(reply.to_string(), known_since, events, waived_through, rates) }
}
