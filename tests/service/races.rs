//! Writers beside each other: the same ids, the same partition, corrections and their events.

use crate::support::*;
use apportion::ingest::messages::Position;
use apportion::ingest::writer::Offsets;
use apportion::sources::cloudevents::decode_structured;
use apportion::store::StoreError;
use apportion::store::offsets::Advance;
use apportion::store::usage_rows::Intake;
use futures_util::FutureExt;
use sqlx::Connection;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_of_one_partition_one_is_fenced() {
    let database = TestDatabase::new().await;
    for round in 0..10_i64 {
        let write = async |name: &str| {
            let writer = database.writer().await;
            let position = Position::Kafka { topic: "t".into(), partition: 0, offset: round, record: 1 };
            let line = event(&format!("{name}{round}"), 10, 1);
            let messages = writer.messages([(position, decode_structured(line.as_bytes()))]);
            let advance =
                Advance { topic: "t".into(), partition: 0, expected: (round > 0).then_some(round), next: round + 1 };
            let offsets = Offsets { cluster_id: "cluster".into(), advances: vec![advance] };
            writer.write(&messages, Some(&offsets), Intake::Kafka).await
        };
        let (a, b) = tokio::join!(write("a"), write("b"));
        let fenced = |outcome: &Result<_, _>| matches!(outcome, Err(StoreError::Fenced { .. }));
        assert!(fenced(&a) != fenced(&b) && a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    }
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 100);
    assert_eq!(database.number("select next_offset from kafka_offset").await, 10);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_racing_for_the_same_ids_store_each_once() {
    let database = TestDatabase::new().await;
    let lines: Vec<String> = (0..3000).map(|n| event(&format!("e{n}"), 1, 1)).collect();
    let write = async |reversed: bool| {
        let mut writer = database.writer().await;
        let mut lines = lines.clone();
        if reversed {
            lines.reverse();
        }
        for batch in lines.chunks(500) {
            write_lines(&mut writer, batch).await;
        }
    };
    tokio::join!(write(false), write(false), write(true), write(true));
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"], counts["duplicate"]), (12_000, 3000, 9000));
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 3000);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_racing_their_events_are_all_applied() {
    let database = TestDatabase::new().await;
    let write = async |lines: Vec<String>| {
        let mut writer = database.writer().await;
        for batch in lines.chunks(7) {
            write_lines(&mut writer, batch).await;
        }
    };
    let numbers = || 0..210;
    let events = write(numbers().map(|n| event(&format!("e{n}"), 1, 0)).collect());
    let restated = r#""quantities":{"input_tokens":10}"#;
    let corrections = write(numbers().map(|n| correction(&format!("k{n}"), &format!("e{n}"), restated)).collect());
    let voids = write(numbers().step_by(3).map(|n| void(&format!("v{n}"), &format!("k{n}"))).collect());
    tokio::join!(events, corrections, voids);
    // 140 corrected to 10, 70 whose correction is voided.
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 1470);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_finds_what_others_have_stored() {
    let database = TestDatabase::new().await;
    let (mut one, mut other) = (database.writer().await, database.writer().await);
    let known: Vec<String> = (0..50).map(|n| event(&format!("e{n}"), 1, 0)).collect();
    write_lines(&mut one, &known).await;
    // The other takes them for new, until the index refuses them.
    let mixed = [&known[..], &[event("e0", 2, 0), event("new", 1, 0), event("new", 1, 0)]].concat();
    let counts = write_lines(&mut other, &mixed).await;
    assert_eq!((counts.duplicate, counts.conflict, counts.stored), (51, 1, 1));
    // A correction that waits, and one that is applied: the other's events have their ids, or are what they name.
    let restated = r#""quantities":{"input_tokens":10}"#;
    write_lines(&mut one, &[correction("k1", "late", restated), correction("k2", "e0", restated)]).await;
    let counts = write_lines(&mut other, &[event("late", 1, 0), event("k1", 1, 0), event("k2", 1, 0)]).await;
    assert_eq!((counts.stored, counts.conflict), (1, 2));
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 49 + 10 + 1 + 10);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_name_batches_dimensions_and_customers_that_exist() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    write_lines(&mut writer, &[event("e1", 1, 1), event("e2", 1, 1)]).await;
    for (table, customer, change) in [
        ("usage_event_row", "customer_id", "event_key = gen_random_uuid()"),
        ("usage_event_row_1", "customer_id", "event_key = gen_random_uuid()"),
        ("usage_rollup_row", "customer_ids[1]", "bucket = bucket + random() * interval '100 days'"),
    ] {
        for (column, stranger) in
            [("batch_id", "batch 99"), ("dimension_id", "dimension 99"), (customer, "customer 99")]
        {
            // Others of the statement name what exists.
            let sql = format!(
                "create temporary table strangers on commit drop as select * from {table} union all select * from {table};
                 update strangers set {change};
                 update strangers set {column} = 99 where ctid = (select max(ctid) from strangers);
                 insert into {table} select * from strangers"
            );
            let mut transaction = database.pool.begin().await.expect("a transaction");
            let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await;
            let refused = refused.expect_err("a stranger").to_string();
            assert!(refused.contains(&format!("{table}: there is no {stranger}")), "{refused}");
        }
    }
    assert_eq!(database.number("select count(*) from usage_event").await, 2);
    // Of a row of rollups each customer has one place in each array.
    for (change, refusal) in [
        ("customer_ids = array[0, 0], events = array[1, 1]", "each_customer_has_a_place_in_all"),
        ("customer_ids = '{}'", "each_customer_has_a_place_in_all"),
        ("input_tokens = array[null]::bigint[]", "no_sum_is_missing"),
        (
            "customer_ids = array[0, 0], events = array[1, 1], input_tokens = array[1, 1],
             cached_input_tokens = array[0, 0], output_tokens = array[1, 1], reasoning_tokens = array[0, 0],
             requests = array[0, 0]",
            "a customer has two places in a row",
        ),
    ] {
        let sql = format!(
            "create temporary table changed on commit drop as select * from usage_rollup_row;
             update changed set bucket = bucket + interval '1 day', {change};
             insert into usage_rollup_row select * from changed"
        );
        let mut transaction = database.pool.begin().await.expect("a transaction");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *transaction).await;
        let refused = refused.expect_err("a place too many").to_string();
        assert!(refused.contains(refusal), "{refused}");
    }
    // Neither of these events is of an interval, and by now both are known.
    let sql = "insert into usage_interval select event_key, occurred_at, occurred_at from usage_event_row";
    let refused = sqlx::query(sql).execute(&database.pool).await.expect_err("no interval").to_string();
    assert!(refused.contains("usage_interval: not as its event says, or later"), "{refused}");
    // What a conflict names is in no row.
    let other = event("e1", 1, 1).replace("\"deployment\":\"", "\"deployment\":\"another-");
    assert_eq!(write_lines(&mut writer, &[other]).await.conflict, 1);
    assert_eq!(database.number("select count(*) from usage_dimension where deployment like 'another-%'").await, 0);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_told_as_they_were_reported() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let ids = [
        "123e4567-e89b-12d3-a456-42661417400f",
        "123e4567e89b12d3a45642661417400f",
        "123E4567-E89B-12D3-A456-42661417400F",
        "00000000-0000-0000-0000-000000000000",
        "ffffffffffffffffffffffffffffffff",
        "seventeen bytes..",
        "réponse-1-öäüß €",
        "r",
    ];
    write_lines(&mut writer, &ids.map(|id| event(id, 1, 1))).await;
    let told: Vec<String> = sqlx::query_scalar("select event_id from usage_event order by event_id collate \"C\"")
        .fetch_all(&database.pool)
        .await
        .expect("ids");
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(told, sorted);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_broken_off_as_it_begins_takes_nothing_with_it() {
    let database = TestDatabase::new().await;
    let pool = apportion::store::connect(&database.url, 1).expect("a URL");
    let mut broken_off = 0;
    for n in 0..20_u8 {
        let mut conn = pool.acquire().await.expect("a connection");
        // It is asked for, and dropped while it waits for the answer, as a request whose caller hangs up.
        broken_off += usize::from(conn.begin().now_or_never().is_none());
        drop(conn);
        let sql = "insert into file_position (file_digest, rows_taken) values ($1, 1)";
        sqlx::query(sql).bind([n; 32]).execute(&pool).await.expect("stored");
        assert_eq!(database.number("select count(*) from file_position").await, i64::from(n) + 1, "it is committed");
    }
    // On a busy machine an answer may be there at once.
    assert!(broken_off > 0);
    pool.close().await;
    database.drop_it().await;
}
