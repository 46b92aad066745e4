//! Findings as a job saw them last: what dashboards show, written down where it differs.

use super::StoreError;
use crate::domain::finding_watch::{FindingNews, FindingState};
use crate::domain::findings::GroupKey;
use crate::domain::ids::{ContractId, DeploymentId, ProductId, TermId};
use crate::domain::money::{Currency, Exact};
use crate::domain::period::Instant;
use crate::domain::usage::Meter;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// How the findings of a contract were seen last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// As known then; none before the first look.
    pub known_at: Option<Instant>,
    /// The groups that were open.
    pub open: Vec<FindingState>,
}

/// How the findings of a contract were seen last.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_seen(conn: &mut PgConnection, contract: &ContractId) -> Result<Seen, StoreError> {
    let known_at = sqlx::query_scalar!("select known_at from finding_watch where contract_id = $1", contract.as_str());
    let known_at = known_at.fetch_optional(&mut *conn).await?;
    let rows = sqlx::query!(
        r#"select s.finding_id, s.right_id, s.product, s.deployment, s.day, s.on_breach, s.why, s.events, s.first_at,
             s.last_at, s.quantities as "quantities: Json<BTreeMap<Meter, Exact>>",
             s.amounts as "amounts: Json<BTreeMap<Currency, Exact>>", s.unpriced
           from (select distinct on (finding_id) * from finding_state where contract_id = $1
                 order by finding_id, known_at desc) s
           where s.events > 0"#,
        contract.as_str()
    )
    .fetch_all(conn)
    .await?;
    let states = rows.into_iter().map(|row| {
        Ok(FindingState {
            key: GroupKey {
                contract: contract.clone(),
                right: TermId::new(row.right_id),
                product: ProductId::new(row.product),
                deployment: DeploymentId::new(row.deployment),
                day: row.day,
            },
            on_breach: StoreError::decoded("finding_state.on_breach", &row.finding_id, row.on_breach.parse())?,
            id: row.finding_id,
            why: row.why,
            events: row.events,
            first_at: row.first_at,
            last_at: row.last_at,
            quantities: row.quantities.0,
            amounts: row.amounts.0,
            unpriced: row.unpriced,
        })
    });
    Ok(Seen { known_at, open: states.collect::<Result<_, StoreError>>()? })
}

/// How many groups of findings of a right were seen open last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGroups {
    pub contract: ContractId,
    pub right: TermId,
    pub groups: i64,
}

/// How many groups of findings of each right of a contract were seen open last; none before the first look.
///
/// # Errors
/// The database's.
pub async fn count_open(pool: &PgPool) -> Result<Vec<OpenGroups>, StoreError> {
    let rows = sqlx::query!(
        r#"select t.contract_id as "contract_id!", t.right_id as "right_id!",
             count(*) filter (where s.events > 0) as "groups!"
           from (select distinct contract_id, term_id as right_id from contract_term where kind <> 'money') t
           left join (select distinct on (contract_id, finding_id) contract_id, right_id, events from finding_state
                      order by contract_id, finding_id, known_at desc) s using (contract_id, right_id)
           group by t.contract_id, t.right_id order by t.contract_id, t.right_id"#
    )
    .fetch_all(pool)
    .await?;
    let open = rows.into_iter().map(|row| OpenGroups {
        contract: ContractId::new(row.contract_id),
        right: TermId::new(row.right_id),
        groups: row.groups,
    });
    Ok(open.collect())
}

/// Whether anything but usage and decisions that findings follow from was recorded after `after` and by `until`.
///
/// # Errors
/// The database's.
pub async fn agreements_differ(conn: &mut PgConnection, after: Instant, until: Instant) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select exists (
             select from contract_version where recorded_at > $1 and recorded_at <= $2
             union all select from record where kind in ('fact', 'correction', 'void', 'decision') and recorded_at > $1 and recorded_at <= $2
             union all select from product where recorded_at > $1 and recorded_at <= $2
             union all select from deployment where recorded_at > $1 and recorded_at <= $2
           ) as "differ!""#,
        after,
        until
    )
    .fetch_one(conn)
    .await?)
}

/// Writes down what differs from how the findings of a contract were seen at `seen_at`; false, and nothing, where
/// somebody else has looked since.
///
/// # Errors
/// The database's.
pub async fn append(
    pool: &PgPool,
    contract: &ContractId,
    seen_at: Option<Instant>,
    known_at: Instant,
    news: &FindingNews,
) -> Result<bool, StoreError> {
    let mut tx = pool.begin().await?;
    let moved = match seen_at {
        None => {
            sqlx::query!(
                "insert into finding_watch (contract_id, known_at) values ($1, $2) on conflict do nothing",
                contract.as_str(),
                known_at
            )
            .execute(&mut *tx)
            .await?
        }
        Some(seen_at) => {
            sqlx::query!(
                "update finding_watch set known_at = $1 where contract_id = $2 and known_at = $3",
                known_at,
                contract.as_str(),
                seen_at
            )
            .execute(&mut *tx)
            .await?
        }
    };
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    for state in news.states() {
        insert_state(&mut tx, state, known_at).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn insert_state(conn: &mut PgConnection, state: &FindingState, known_at: Instant) -> Result<(), StoreError> {
    let key = &state.key;
    sqlx::query!(
        "insert into finding_state (finding_id, known_at, contract_id, right_id, product, deployment, day, on_breach,
                                    why, events, first_at, last_at, quantities, amounts, unpriced)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        state.id,
        known_at,
        key.contract.as_str(),
        key.right.as_str(),
        key.product.as_str(),
        key.deployment.as_str(),
        key.day,
        state.on_breach.name(),
        &state.why,
        state.events,
        state.first_at,
        state.last_at,
        Json(&state.quantities) as _,
        Json(&state.amounts) as _,
        state.unpriced
    )
    .execute(conn)
    .await?;
    Ok(())
}
