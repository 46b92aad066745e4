//! What a backfill brought, batch by batch, and what others made of it since.

use super::StoreError;
use super::backfills::BackfillId;
use crate::domain::backfill::{BroughtAmendment, BroughtEvent, Named};
use crate::domain::ids::EventId;
use sqlx::PgConnection;

/// The events that a batch of a backfill stored, each as it stands.
///
/// # Errors
/// The database's.
pub async fn load_events(
    conn: &mut PgConnection,
    BackfillId(id): BackfillId,
    batch: i64,
) -> Result<Vec<BroughtEvent>, StoreError> {
    let rows = sqlx::query!(
        r#"with correction as (
             -- those that others made since, and that stand
             select distinct on (a.target_key) a.target_key, a.amendment_id
             from usage_event_online e
             join usage_amendment a on a.target_key = e.event_key and a.kind = 'correction' and a.batch_id > e.batch_id
             join usage_batch b on b.batch_id = a.batch_id and b.backfill_id is distinct from $2
             where e.batch_id = $1
               and not exists (select from usage_amendment v where v.target_key = a.amendment_key and v.kind = 'void')
             order by a.target_key, a.batch_id desc, a.place desc
           )
           select d.source, e.event_id as "event_id!",
             exists (select from usage_amendment v where v.target_key = e.event_key and v.kind = 'void') as "voided!",
             c.amendment_id as "corrected_by?"
           from usage_event_online e
           join usage_dimension d using (dimension_id)
           left join correction c on c.target_key = e.event_key
           where e.batch_id = $1 and usage_batch_is_online($1)
           order by e.event_key"#,
        batch,
        id
    );
    let event = |(source, id, voided, corrected_by)| BroughtEvent { id: EventId { source, id }, voided, corrected_by };
    let rows = rows.fetch_all(conn).await?.into_iter();
    Ok(rows.map(|row| event((row.source, row.event_id, row.voided, row.corrected_by))).collect())
}

/// The corrections and voids that a batch of a backfill recorded, each as it stands, in their order.
///
/// # Errors
/// The database's.
pub async fn load_amendments(
    conn: &mut PgConnection,
    BackfillId(id): BackfillId,
    batch: i64,
) -> Result<Vec<BroughtAmendment>, StoreError> {
    let rows = sqlx::query!(
        r#"select a.source, a.amendment_id, a.target_id, a.kind,
             exists (select from usage_amendment v where v.target_key = a.amendment_key and v.kind = 'void') as "voided!",
             -- what is amended stays
             exists (select from usage_event_online e join usage_batch b using (batch_id)
               where e.event_key = a.target_key and b.backfill_id = $2) as "own_event!",
             exists (select from usage_amendment t join usage_batch b using (batch_id)
               where t.amendment_key = a.target_key and b.backfill_id = $2) as "own_correction!",
             exists (select from usage_amendment v
               where v.target_key = a.target_key and v.kind = 'void') as "target_voided!"
           from usage_amendment a where a.batch_id = $1 order by a.place"#,
        batch,
        id
    );
    let amendments = rows.fetch_all(conn).await?.into_iter().map(|row| BroughtAmendment {
        id: EventId { source: row.source, id: row.amendment_id },
        is_void: row.kind == "void",
        voided: row.voided,
        target: row.target_id,
        names: match (row.own_event, row.own_correction) {
            (true, _) => Named::OwnEvent { voided: row.target_voided },
            (false, true) => Named::OwnCorrection,
            (false, false) => Named::Other,
        },
    });
    Ok(amendments.collect())
}
