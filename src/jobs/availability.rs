//! Availability of a span by cloud, proposed from the outcomes that usage events report, as known now.

use crate::domain::availability::CloudOutcomes;
use crate::domain::money::Exact;
use crate::domain::period::Span;
use crate::store::StoreError;
use crate::store::availability::load_outcomes;
use crate::store::recording::watermark;
use sqlx::PgPool;

/// How available a cloud was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CloudAvailability {
    #[serde(flatten)]
    pub outcomes: CloudOutcomes,
    /// `ok / (ok + error)`, exact; null where no outcome was reported.
    pub availability: Option<Exact>,
}

/// Counts the events of a span by cloud and outcome; clouds by name, unregistered deployments last.
///
/// # Errors
/// The database's.
pub async fn availability_by_cloud(pool: &PgPool, span: Span) -> Result<Vec<CloudAvailability>, StoreError> {
    let known_at = watermark(pool).await?;
    let outcomes = load_outcomes(pool, span, known_at).await?;
    let with_share = |outcomes: CloudOutcomes| CloudAvailability { availability: outcomes.availability(), outcomes };
    Ok(outcomes.into_iter().map(with_share).collect())
}
