//! What the database knows of a batch's messages, before it is decided what becomes of them.

use super::generations::Generation;
use super::quantities::join;
use super::{StoreError, dictionary};
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::usage::{Amendment, AmendmentKind, Restatement, UsageContent, UsageEvent, event_key};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use uuid::Uuid;

/// What was recorded under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Event {
        content_hash: Uuid,
    },
    Amendment {
        content_hash: Uuid,
    },
    /// A record beside usage: no usage has the same content.
    Record,
}

/// An event that the batch amends, as first reported.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub event: UsageEvent,
    /// The rules by which it was normalised.
    pub rules: String,
    /// When its present state was recorded: its own batch's time, or that of its last amendment.
    pub stated_at: Instant,
}

/// A correction or void that was recorded before.
#[derive(Clone, Debug)]
pub struct StoredAmendment {
    pub key: Uuid,
    pub target_key: Uuid,
    pub position: String,
    pub amendment: Amendment,
}

/// All that deciding about a batch needs to know.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// By key, for all keys that were looked up, and all that the batch's amendments name.
    pub identities: HashMap<Uuid, Identity>,
    /// By key, the events that amendments of the batch lead to, but for those that archives alone have.
    pub events: HashMap<Uuid, StoredEvent>,
    /// By key, the hours in which those occurred.
    pub archived: HashMap<Uuid, Instant>,
    /// In order of recording, all that lead to or from keys of the batch.
    pub amendments: Vec<StoredAmendment>,
    /// Context thresholds by product: when the price was recorded, and the threshold in tokens, exclusive.
    pub thresholds: HashMap<String, Vec<(Instant, i64)>>,
    pub deployments: HashSet<String>,
    pub products: HashSet<String>,
}

/// What to look up.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Keys of the batch under which an event may stand, sorted: the indexes are then read in their own order.
    pub event_keys: Vec<Uuid>,
    /// The same of those that may stand in some generation alone.
    pub keys_within: Vec<(Generation, Vec<Uuid>)>,
    /// Keys of the batch that corrections or voids may have or name, or records beside usage have.
    pub beside_keys: Vec<Uuid>,
    /// What the batch's own corrections and voids name.
    pub target_keys: Vec<Uuid>,
    pub deployments: BTreeSet<String>,
    pub products: BTreeSet<String>,
}

/// The secret that keys the hash which identifies events.
///
/// # Errors
/// The database's.
pub async fn event_key_secret(connection: &mut PgConnection) -> Result<[u8; 32], StoreError> {
    let secret = sqlx::query_scalar!("select event_key_secret from installation").fetch_one(connection).await?;
    let whole = secret.try_into().map_err(|_| "must have 32 bytes");
    StoreError::decoded("installation.event_key_secret", "the only row", whole)
}

/// Looks up everything that deciding about a batch needs.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn look_up(connection: &mut PgConnection, wanted: &Wanted) -> Result<Lookup, StoreError> {
    let mut lookup = Lookup::default();
    load_amendments(connection, &with_targets(&wanted.beside_keys, wanted), &mut lookup).await?;
    load_event_keys(connection, &with_targets(&wanted.event_keys, wanted), 0..i64::MAX, &mut lookup).await?;
    for (generation, keys) in &wanted.keys_within {
        load_event_keys(connection, keys, generation.batches(), &mut lookup).await?;
    }
    load_record_keys(connection, &wanted.beside_keys, &mut lookup).await?;
    let amended: BTreeSet<Uuid> =
        wanted.target_keys.iter().copied().chain(lookup.amendments.iter().map(|a| a.target_key)).collect();
    load_events(connection, &amended, &mut lookup).await?;
    load_names(connection, wanted, &mut lookup).await?;
    Ok(lookup)
}

/// Some keys and those that the batch's own amendments name, sorted.
fn with_targets(keys: &[Uuid], wanted: &Wanted) -> Vec<Uuid> {
    let mut keys = [keys, &wanted.target_keys].concat();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// How far corrections, voids and records beside usage are known, which have keys beside those of events: by the last
/// batch that has any of the former, and the last of the latter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BesideUpTo {
    pub batch: i64,
    pub record: i64,
}

/// The keys that corrections and voids have and name, and that records beside usage have, of those that were recorded
/// since; and how far that is. Whoever holds the recording gate, even beside others, sees all there are.
///
/// # Errors
/// The database's.
pub async fn beside_since(
    connection: &mut PgConnection,
    since: BesideUpTo,
) -> Result<(Vec<Uuid>, BesideUpTo), StoreError> {
    let beside = sqlx::query!(
        r#"select (select coalesce(array_agg(amendment_key) || array_agg(target_key), '{}')
                   from usage_amendment where batch_id > $1)
             || (select coalesce(array_agg(record_key), '{}') from record where sequence > $2) as "keys!",
             greatest($1, (select max(batch_id) from usage_amendment)) as "batch!",
             greatest($2, (select max(sequence) from record)) as "record!""#,
        since.batch,
        since.record
    );
    let beside = beside.fetch_one(connection).await?;
    Ok((beside.keys, BesideUpTo { batch: beside.batch, record: beside.record }))
}

/// Which of the ids usage has, or a correction or void of it.
///
/// # Errors
/// The database's.
pub async fn ids_of_usage<'a>(
    connection: &mut PgConnection,
    ids: impl Iterator<Item = &'a EventId>,
) -> Result<BTreeSet<EventId>, StoreError> {
    let secret = event_key_secret(&mut *connection).await?;
    let ids: HashMap<Uuid, &EventId> = ids.map(|id| (event_key(&secret, &id.source, &id.id), id)).collect();
    let keys: Vec<Uuid> = ids.keys().copied().collect();
    let taken = sqlx::query_scalar!(
        r#"select event_key as "key!" from usage_event_row where event_key = any($1)
           union
           select event_key from archived_usage($1)
           union all
           select amendment_key from usage_amendment where amendment_key = any($1)"#,
        &keys
    );
    let taken = taken.fetch_all(connection).await?;
    Ok(taken.iter().filter_map(|key| ids.get(key).copied().cloned()).collect())
}

/// Of the events that some batches brought, in whatever generation or archive they lie.
async fn load_event_keys(
    connection: &mut PgConnection,
    keys: &[Uuid],
    batches: Range<i64>,
    lookup: &mut Lookup,
) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let events = sqlx::query!(
        r#"select event_key as "event_key!", content_hash as "content_hash!" from usage_event_row
           where event_key = any($1) and batch_id >= $2 and batch_id < $3
           union
           select event_key, content_hash from archived_usage($1, $2, $3)"#,
        keys,
        batches.start,
        batches.end
    );
    for row in events.fetch_all(connection).await? {
        lookup.identities.insert(row.event_key, Identity::Event { content_hash: row.content_hash });
    }
    Ok(())
}

async fn load_record_keys(connection: &mut PgConnection, keys: &[Uuid], lookup: &mut Lookup) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let records = sqlx::query_scalar!("select record_key from record where record_key = any($1)", keys);
    lookup.identities.extend(records.fetch_all(connection).await?.into_iter().map(|key| (key, Identity::Record)));
    Ok(())
}

/// The amendments that have or name one of the keys, those that have or name what they name, and so on.
async fn load_amendments(connection: &mut PgConnection, keys: &[Uuid], lookup: &mut Lookup) -> Result<(), StoreError> {
    let mut found: BTreeMap<(i64, i32), StoredAmendment> = BTreeMap::new();
    let mut seen: HashSet<Uuid> = keys.iter().copied().collect();
    let mut frontier = keys.to_vec();
    while !frontier.is_empty() {
        let rows = sqlx::query!(
            r#"select batch_id as "batch_id!", place as "place!", amendment_key as "amendment_key!",
               content_hash as "content_hash!", target_key as "target_key!", source as "source!",
               amendment_id as "amendment_id!", target_id as "target_id!", kind as "kind!", restated as "restated!",
               position as "position!"
             from usage_amendment where amendment_key = any($1)
             union
             select batch_id, place, amendment_key, content_hash, target_key, source, amendment_id, target_id, kind,
               restated, position
             from usage_amendment where target_key = any($1)"#,
            &frontier
        )
        .fetch_all(&mut *connection)
        .await?;
        frontier.clear();
        for row in rows {
            let (key, target_key) = (row.amendment_key, row.target_key);
            frontier.extend([key, target_key].into_iter().filter(|key| seen.insert(*key)));
            let kind = amendment_kind(&row.kind, row.restated);
            let kind = StoreError::decoded("usage_amendment.restated", key, kind)?;
            let id = EventId { source: row.source, id: row.amendment_id };
            let amendment = Amendment { id, target: row.target_id, kind };
            let stored = StoredAmendment { key, target_key, position: row.position, amendment };
            lookup.identities.insert(key, Identity::Amendment { content_hash: row.content_hash });
            found.insert((row.batch_id, row.place), stored);
        }
    }
    lookup.amendments = found.into_values().collect();
    Ok(())
}

/// Reads what an amendment does; where that is nothing that we know, says so in words.
fn amendment_kind(kind: &str, restated: serde_json::Value) -> Result<AmendmentKind, String> {
    match kind {
        "void" => Ok(AmendmentKind::Void),
        "correction" => {
            let restated = serde_json::from_value::<Restatement>(restated).map_err(|error| error.to_string())?;
            Ok(AmendmentKind::Correction(restated))
        }
        other => Err(format!("the kind {other} is unknown")),
    }
}

/// How often events are looked for here and in archives, between which they may be moved meanwhile.
const MOST_LOOKS: usize = 10;

/// Loads amended events with their content as first reported; of those in archives nobody says more than who they are.
async fn load_events(
    connection: &mut PgConnection,
    keys: &BTreeSet<Uuid>,
    lookup: &mut Lookup,
) -> Result<(), StoreError> {
    let mut keys: Vec<Uuid> = keys.iter().copied().collect();
    for _ in 0..MOST_LOOKS {
        if keys.is_empty() {
            return Ok(());
        }
        load_online_events(connection, &keys, lookup).await?;
        keys.retain(|key| {
            matches!(lookup.identities.get(key), Some(Identity::Event { .. })) && !lookup.events.contains_key(key)
        });
        if !keys.is_empty() {
            let archived =
                sqlx::query!(r#"select event_key as "event_key!", bucket as "bucket!" from archived_usage($1)"#, &keys);
            let archived = archived.fetch_all(&mut *connection).await?.into_iter();
            lookup.archived.extend(archived.map(|row| (row.event_key, row.bucket)));
            // One that was brought back between the two statements is in neither: it is here by now.
            keys.retain(|key| !lookup.archived.contains_key(key));
        }
    }
    match keys.first() {
        None => Ok(()),
        Some(key) => {
            let problem = "it is neither here nor in an archive".to_owned();
            Err(StoreError::Corrupt { column: "usage_event_row.event_key", row: key.to_string(), problem })
        }
    }
}

async fn load_online_events(
    connection: &mut PgConnection,
    keys: &[Uuid],
    lookup: &mut Lookup,
) -> Result<(), StoreError> {
    let rows = sqlx::query!(
        r#"select e.event_key as "event_key!", e.content_hash as "content_hash!", e.event_id as "event_id!",
             e.occurred_at as "occurred_at!", e.ended_at as "ended_at?", d.source as "source!",
             d.deployment as "deployment!", d.product as "product!", d.service_tier as "service_tier!",
             d.outcome as "outcome?", d.attributes as "attributes!", d.rules as "rules!", c.customer as "customer!",
             e.input_tokens as "input_tokens!",
             e.cached_input_tokens as "cached_input_tokens!", e.output_tokens as "output_tokens!",
             e.reasoning_tokens as "reasoning_tokens!", e.requests as "requests!", e.other_quantities,
             greatest(b.recorded_at, (select max(sb.recorded_at) from usage_state s join usage_batch sb using (batch_id)
               where s.event_key = e.event_key)) as "stated_at!"
           from usage_event_online e join usage_batch b using (batch_id) join usage_dimension d using (dimension_id)
             join usage_customer c using (customer_id)
           where e.event_key = any($1)"#,
        keys
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let columns =
            [row.input_tokens, row.cached_input_tokens, row.output_tokens, row.reasoning_tokens, row.requests];
        let quantities = join(columns, row.other_quantities);
        let content = UsageContent {
            occurred_at: row.occurred_at,
            ended_at: row.ended_at,
            deployment: row.deployment,
            product: row.product,
            customer: row.customer,
            service_tier: row.service_tier,
            outcome: dictionary::outcome(row.outcome.as_deref(), row.event_key)?,
            attributes: dictionary::attributes(row.attributes, row.event_key)?,
            quantities: StoreError::decoded("usage_event.other_quantities", row.event_key, quantities)?,
        };
        let event = UsageEvent { id: EventId { source: row.source, id: row.event_id }, content };
        lookup.identities.insert(row.event_key, Identity::Event { content_hash: row.content_hash });
        lookup.events.insert(row.event_key, StoredEvent { event, rules: row.rules, stated_at: row.stated_at });
    }
    Ok(())
}

/// Which of the names are known, and where prices change with the context.
async fn load_names(connection: &mut PgConnection, wanted: &Wanted, lookup: &mut Lookup) -> Result<(), StoreError> {
    let deployments: Vec<String> = wanted.deployments.iter().cloned().collect();
    let mut products = wanted.products.clone();
    products.extend(lookup.events.values().map(|stored| stored.event.content.product.clone()));
    let restated = lookup.amendments.iter().filter_map(|stored| match &stored.amendment.kind {
        AmendmentKind::Correction(restated) => restated.product.clone(),
        AmendmentKind::Void => None,
    });
    products.extend(restated);
    let products: Vec<String> = products.into_iter().collect();
    lookup.deployments =
        sqlx::query_scalar!("select deployment_id from deployment where deployment_id = any($1)", &deployments)
            .fetch_all(&mut *connection)
            .await?
            .into_iter()
            .collect();
    lookup.products = sqlx::query_scalar!("select product_id from product where product_id = any($1)", &products)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
    let thresholds = sqlx::query!(
        r#"select product, context_over, min(recorded_at) as "recorded_at!" from price
           where context_over > 0 and product = any($1) group by product, context_over order by context_over"#,
        &products
    )
    .fetch_all(connection)
    .await?;
    for row in thresholds {
        lookup.thresholds.entry(row.product).or_default().push((row.recorded_at, row.context_over));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amendment_of_an_unknown_kind_is_a_fault() {
        let restated = || serde_json::json!({ "product": "p" });
        assert_eq!(amendment_kind("void", serde_json::json!({})), Ok(AmendmentKind::Void));
        assert!(matches!(amendment_kind("correction", restated()), Ok(AmendmentKind::Correction(_))));
        assert!(amendment_kind("correction", serde_json::Value::Null).is_err());
        assert!(amendment_kind("replacement", restated()).is_err());
    }
}
