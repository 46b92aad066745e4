//! What others do with the same events, keeping neither duplicates' nor conflicts' nor anyone's books.

use crate::topic::Topic;
use apportion::domain::usage::{Meter, UsageEvent, UsageMessage};
use apportion::ingest::generations::begin_next;
use apportion::sources::cloudevents::decode_structured;
use futures_util::TryStreamExt;
use sqlx::{Connection, Executor, PgConnection, PgPool};

/// How many rows a COPY has, as many as a batch of ours.
const BATCH: u64 = 50_000;

/// How many rows a transaction of the obvious consumer has.
const ROWS: usize = 500;

/// The obvious table.
const TABLE: &str = "(
  source text not null,
  event_id text not null,
  occurred_at timestamptz not null,
  deployment text not null,
  product text not null,
  customer text not null,
  service_tier text not null,
  input_tokens bigint not null,
  cached_input_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  requests bigint not null,
  unique (source, event_id)
)";

/// Rows for the obvious table in batches, each as the bytes of a binary COPY.
pub struct Rows(Vec<Vec<u8>>);

impl Rows {
    /// The events that a database of ours has taken in, as they arrived.
    pub async fn stored(pool: &PgPool) -> Self {
        let mut conn = pool.acquire().await.expect("Postgres answers");
        sqlx::raw_sql(
            "create unlogged table arrived as
             select row_number() over (order by e.occurred_at) - 1 as place, d.source, e.event_id, e.occurred_at,
               d.deployment, d.product, c.customer, d.service_tier, e.input_tokens::bigint,
               e.cached_input_tokens::bigint, e.output_tokens::bigint, e.reasoning_tokens::bigint, e.requests::bigint
             from usage_event e join usage_dimension d using (dimension_id) join usage_customer c using (customer_id);
             create index on arrived (place)",
        )
        .execute(&mut *conn)
        .await
        .expect("the rows as they arrived");
        let count: i64 =
            sqlx::query_scalar("select count(*) from arrived").fetch_one(&mut *conn).await.expect("a count");
        let mut batches = Vec::new();
        for first in (0..u64::try_from(count).expect("a count")).step_by(usize::try_from(BATCH).expect("a size")) {
            let sql = format!(
                "copy (select source, event_id, occurred_at, deployment, product, customer, service_tier, input_tokens,
                   cached_input_tokens, output_tokens, reasoning_tokens, requests
                 from arrived where place >= {first} and place < {first} + {BATCH} order by place)
                 to stdout (format binary)"
            );
            let chunks = conn.copy_out_raw(&sql).await.expect("a COPY");
            let bytes: Vec<_> = chunks.try_collect().await.expect("bytes");
            batches.push(bytes.concat());
        }
        Self(batches)
    }
}

async fn empty(conn: &mut PgConnection, table: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create table {table} {TABLE}"))).execute(conn).await.expect("a table");
}

async fn copy_in(conn: &mut PgConnection, table: &str, bytes: &[u8]) {
    let mut copy = conn.copy_in_raw(&format!("copy {table} from stdin (format binary)")).await.expect("a COPY");
    for chunk in bytes.chunks(1 << 18) {
        copy.send(chunk).await.expect("bytes");
    }
    copy.finish().await.expect("copied");
}

/// How many events of other days a batch has.
const OTHERS: u64 = 500_000;

/// Events of other days, in as many generations as they fill.
pub async fn store_others(pool: &PgPool, events: u64) {
    if events == 0 {
        return;
    }
    let dimension = "insert into usage_dimension (source, deployment, product, service_tier, rules)
                       values ('other', 'other', 'other', 'default', 'cloudevents 1')";
    pool.execute(dimension).await.expect("a dimension");
    for first in (0..events).step_by(usize::try_from(OTHERS).expect("a size")) {
        let count = OTHERS.min(events - first);
        let sql = format!(
            "with batch as (
               insert into usage_batch (recorded_at, intake, messages, stored, stored_unresolved, duplicate, conflict,
                 correction_applied, correction_waiting, void_applied, void_waiting, no_usage, rejected)
               values (clock_timestamp(), 'file', {count}, {count}, 0, 0, 0, 0, 0, 0, 0, 0, 0) returning batch_id
             )
             insert into usage_event_row (event_key, content_hash, occurred_at, batch_id, dimension_id, customer_id,
               input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, requests, packed_id, other_quantities)
             select gen_random_uuid(), gen_random_uuid(),
               '2026-04-01Z'::timestamptz + ({first} + place) * interval '1 millisecond', batch_id, 1, 0, 100, 0, 100, 0, 1,
               '\\xff'::bytea || uuid_send(gen_random_uuid()), ''
             from batch, generate_series(1, {count}) place"
        );
        pool.execute(sqlx::AssertSqlSafe(sql)).await.expect("stored");
        begin_next(pool).await.expect("another generation, where it is time");
    }
    // As it would be long before: autovacuum takes the processors meanwhile else.
    pool.execute("vacuum (analyze) usage_event_row").await.expect("vacuumed");
}

/// How large the indexes of what is stored are.
pub async fn index_sizes(pool: &PgPool) -> String {
    let sizes: Vec<(String, String)> = sqlx::query_as(
        "select name || ' x ' || count(*), pg_size_pretty(sum(bytes))
         from pg_stat_user_indexes,
           lateral (select regexp_replace(indexrelname, '_[0-9]+_', '_n_'), pg_relation_size(indexrelid)) as it (name, bytes)
         where relname like 'usage\\_%' group by name order by sum(bytes) desc limit 4",
    )
    .fetch_all(pool)
    .await
    .expect("sizes");
    sizes.into_iter().map(|(name, size)| format!("{name} {size}")).collect::<Vec<_>>().join(", ")
}

/// The bound: rows from memory, each batch one COPY into the table with its key.
pub async fn copy(pool: &PgPool, rows: &Rows) {
    let mut conn = pool.acquire().await.expect("Postgres answers");
    empty(&mut conn, "copied").await;
    for batch in &rows.0 {
        copy_in(&mut conn, "copied", batch).await;
    }
}

/// Rows from memory through a staging table: what is there already is left.
pub async fn merge(pool: &PgPool, rows: &Rows) {
    let mut conn = pool.acquire().await.expect("Postgres answers");
    empty(&mut conn, "merged").await;
    conn.execute("create temporary table staging (like merged) on commit delete rows").await.expect("a table");
    for batch in &rows.0 {
        let mut transaction = conn.begin().await.expect("a transaction");
        copy_in(&mut transaction, "staging", batch).await;
        let merge = "insert into merged select * from staging on conflict (source, event_id) do nothing";
        transaction.execute(merge).await.expect("merged");
        transaction.commit().await.expect("committed");
    }
}

/// The obvious consumer: reads, decodes and inserts row by row, repeats refused by the key.
pub async fn insert_rows(pool: &PgPool, topic: Topic, events: u64) {
    let mut conn = pool.acquire().await.expect("Postgres answers");
    empty(&mut conn, "inserted").await;
    let (sender, mut decoded) = tokio::sync::mpsc::channel(ROWS);
    let reading = tokio::task::spawn_blocking(move || {
        topic.read(events, |bytes| {
            let UsageMessage::Event(event) = decode_structured(bytes).expect("usage").message else {
                panic!("an amendment")
            };
            sender.blocking_send(event).expect("somebody inserts");
        });
    });
    let mut batch = Vec::new();
    while decoded.recv_many(&mut batch, ROWS).await > 0 {
        let mut transaction = conn.begin().await.expect("a transaction");
        for event in batch.drain(..) {
            insert(&mut transaction, &event).await;
        }
        transaction.commit().await.expect("committed");
    }
    reading.await.expect("all read");
}

async fn insert(conn: &mut PgConnection, UsageEvent { id, content, .. }: &UsageEvent) {
    let count = |meter| content.quantities.get(&meter).and_then(|count| i64::try_from(*count).ok()).unwrap_or_default();
    sqlx::query(
        "insert into inserted values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
    )
    .bind(&id.source)
    .bind(&id.id)
    .bind(content.occurred_at)
    .bind(&content.deployment)
    .bind(&content.product)
    .bind(&content.customer)
    .bind(&content.service_tier)
    .bind(count(Meter::InputTokens))
    .bind(count(Meter::CachedInputTokens))
    .bind(count(Meter::OutputTokens))
    .bind(count(Meter::ReasoningTokens))
    .bind(count(Meter::Requests))
    .execute(conn)
    .await
    .expect("inserted");
}
