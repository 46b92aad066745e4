//! Generations of events: an id is known for ever, in whichever it lies, also while the next one is opened.

use crate::support::*;
use apportion::ingest::generations::begin_next;
use sqlx::Executor;
use std::time::Duration;

const OPEN: &str = "select open_usage_generation()";

/// Full of so many events.
fn full_at(events: u32) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "create or replace function usage_generation_is_full() returns boolean language sql stable as $$
           select coalesce(sum(stored + stored_unresolved), 0) >= {events} from usage_batch
           where batch_id >= (select max(first_batch) from usage_generation) $$"
    ))
}

impl TestDatabase {
    async fn eventually(&self, sql: &'static str, expected: i64) {
        for _ in 0..600 {
            if self.number(sql).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql}: {} instead of {expected}", self.number(sql).await);
    }
}

fn events(ids: std::ops::Range<u32>) -> Vec<String> {
    ids.map(|n| event(&format!("e{n}"), 1, 0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_known_in_whatever_generation_it_lies() {
    let database = TestDatabase::new().await;
    let mut before = database.writer().await;
    write_lines(&mut before, &[event("a", 1, 1), event("b", 2, 2), event("c", 3, 3)]).await;
    database.pool.execute(OPEN).await.expect("the second");
    write_lines(&mut before, &[event("d", 4, 4)]).await;
    database.pool.execute(OPEN).await.expect("the third");
    let again = [
        event("a", 1, 1),
        event("b", 2, 3),
        event_at("c", "2026-06-01T00:00:00Z", "east", 3, 3),
        event("d", 4, 4),
        event("e", 5, 5),
        event("e", 5, 5),
    ];
    // One that has written before, one that knows nothing, and one that may not look at less than all.
    let first = write_lines(&mut before, &again).await;
    assert_eq!((first.stored, first.duplicate, first.conflict), (1, 3, 2));
    let second = write_lines(&mut database.writer().await, &again).await;
    assert_eq!((second.stored, second.duplicate, second.conflict), (0, 4, 2));
    let amending =
        [again.as_slice(), &[correction("a-fix", "a", r#""quantities":{"input_tokens":7}"#), void("d-x", "d")]];
    let third = write_lines(&mut before, &amending.concat()).await;
    assert_eq!((third.duplicate, third.conflict, third.correction_applied, third.void_applied), (4, 2, 1, 1));
    assert_eq!(database.total("usage_rollup", "input_tokens").await, 7 + 2 + 3 + 5);
    // No index keeps a correction from the id of an event: who knows nothing looks at all there are, also in the newest.
    for id in ["b", "e"] {
        let fix = correction(id, "a", r#""quantities":{"input_tokens":9}"#);
        assert_eq!(write_lines(&mut database.writer().await, &[fix]).await.conflict, 1, "{id}");
    }
    let lies = "select string_agg(c.relname::text || ' ' || e.event_key::text, ',' order by c.relname, e.event_key)
                from usage_event_row e join pg_class c on c.oid = e.tableoid";
    let lies: String = sqlx::query_scalar(lies).fetch_one(&database.pool).await.expect("where they lie");
    let of = |table: &str| lies.split(',').filter(|it| it.starts_with(table)).count();
    assert_eq!([of("usage_event_row_1 "), of("usage_event_row_2 "), of("usage_event_row_3 ")], [3, 1, 1]);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_generation_is_sealed_and_what_it_holds_is_known_by_its_filter() {
    let database = TestDatabase::new().await;
    database.pool.execute(full_at(60_000)).await.expect("another size");
    let mut writer = database.writer().await;
    let all = events(0..130_000);
    for part in all.chunks(10_000) {
        assert_eq!(write_lines(&mut writer, part).await.stored, 10_000);
    }
    // It looks again after so many more, and a while: with the next batch then.
    let mut more = 130_000..;
    while database.number("select count(*) from usage_generation").await < 2 {
        let next = more.next().expect("a number");
        assert!(next < 130_600, "no other generation is opened");
        write_lines(&mut writer, &events(next..next + 1)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let filters = "select count(distinct generation) from usage_generation_filter";
    database.eventually(filters, 1).await;
    // Whoever was there, or comes later, knows what is sealed.
    for writer in [&mut writer, &mut database.writer().await] {
        // In each generation, the first few before a filter is worth the work.
        for part in all.chunks(10_000).step_by(4) {
            assert_eq!(write_lines(writer, part).await.duplicate, 10_000);
        }
    }
    let bits: Vec<u8> =
        sqlx::query_scalar("select bits from usage_generation_filter").fetch_one(&database.pool).await.expect("bits");
    let sealed = database.number("select count(*) from usage_event_row_1").await;
    // Two bytes of it for each event.
    assert_eq!(bits.len() as i64, (sealed / 32 + 1) * 64);
    let keys = "select count(distinct event_key) from usage_event";
    let stored = i64::from(more.start);
    assert_eq!(database.number(keys).await, stored);
    assert_eq!(database.total("usage_rollup", "input_tokens").await, stored);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_are_opened_amid_writers_and_nothing_counts_twice() {
    let database = TestDatabase::new().await;
    database.pool.execute(full_at(1)).await.expect("another size");
    // Each id is reported by each of four writers.
    let writing = (0..4_u32).map(|number| {
        let pool = database.pool.clone();
        let metrics = std::sync::Arc::new(apportion::telemetry::Metrics::new().expect("metrics"));
        tokio::spawn(async move {
            let mut writer = apportion::ingest::writer::Writer::open(pool, metrics).await.expect("a writer");
            let (mut stored, mut duplicate) = (0, 0);
            for part in 0..40 {
                // Not all of them in one order.
                let first = (part + 10 * number) % 40 * 250;
                let counts = write_lines(&mut writer, &events(first..first + 250)).await;
                stored += counts.stored;
                duplicate += counts.duplicate;
            }
            (stored, duplicate)
        })
    });
    let writing: Vec<_> = writing.collect();
    while writing.iter().any(|it| !it.is_finished()) {
        match begin_next(&database.pool).await {
            Ok(_) => {}
            // Four record all the time: it waits a little, and tries again later.
            Err(error) if error.is_lock_timeout() => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut stored, mut duplicate) = (0, 0);
    for it in writing {
        let counts = it.await.expect("written");
        stored += counts.0;
        duplicate += counts.1;
    }
    assert_eq!((stored, duplicate), (10_000, 30_000));
    let generations = database.number("select count(*) from usage_generation").await;
    assert!(generations > 1, "none was opened");
    // Each writer may open one too, and end before its filter is made: whoever asks for it makes it then.
    let filters = database.number("select count(distinct generation) from usage_generation_filter").await;
    assert!(filters >= generations - 1 - 4, "{filters} filters of {generations} generations");
    assert_eq!(database.total("usage_rollup", "input_tokens").await, 10_000);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_generation_never_changes() {
    let database = TestDatabase::new().await;
    write_lines(&mut database.writer().await, &[event("a", 1, 1)]).await;
    let stranger = "create temporary table stranger on commit drop as select * from usage_event_row_1;
                    update stranger set event_key = gen_random_uuid();";
    for table in ["usage_event_row", "usage_event_row_1"] {
        let sql = format!("{stranger} insert into {table} select * from stranger");
        let mut transaction = database.pool.begin().await.expect("a transaction");
        // The newest takes it.
        transaction.execute(sqlx::AssertSqlSafe(sql.clone())).await.expect("added");
        transaction.rollback().await.expect("undone");
        let mut transaction = database.pool.begin().await.expect("a transaction");
        transaction.execute(OPEN).await.expect("the second");
        let refused = transaction.execute(sqlx::AssertSqlSafe(sql)).await.expect_err("sealed").to_string();
        assert!(refused.contains("a generation that is sealed never changes"), "{refused}");
    }
    // One that is undone is opened anew, with the same batches.
    database.pool.execute(OPEN).await.expect("the second");
    write_lines(&mut database.writer().await, &[event("b", 1, 1)]).await;
    assert_eq!(database.number("select max(batch_id) from usage_event").await, 10_000_000_001);
    for table in ["usage_event_row_1", "usage_event_row_2", "usage_generation", "usage_generation_filter"] {
        for change in [format!("delete from {table}"), format!("truncate {table} cascade")] {
            let refused = database.pool.execute(sqlx::AssertSqlSafe(change)).await.expect_err("refused").to_string();
            assert!(refused.contains("append-only"), "{refused}");
        }
    }
    let stranger =
        "insert into usage_state (event_key, batch_id, voided, occurred_at, dimension_id, customer_id, input_tokens,
                      cached_input_tokens, output_tokens, reasoning_tokens, requests)
                    select gen_random_uuid(), batch_id, true, occurred_at, dimension_id, customer_id, 0, 0, 0, 0, 0
                    from usage_event_row";
    let refused = database.pool.execute(stranger).await.expect_err("no such event").to_string();
    assert!(refused.contains("usage_state: there is no such event"), "{refused}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_does_not_suspect_is_not_looked_up() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let all = events(0..20_000);
    assert_eq!(write_lines(&mut writer, &all).await.stored, 20_000);
    // One by hand, which knows no key: only so can be told who believes it.
    let empty = "insert into usage_generation_filter select 1, 1, 0, decode(repeat('00', 64), 'hex')";
    let refused = database.pool.execute(empty).await.expect_err("the newest").to_string();
    assert!(refused.contains("generation 1 is not sealed"), "{refused}");
    database.pool.execute(OPEN).await.expect("the second");
    database.pool.execute(empty).await.expect("of a sealed one");
    let mut writer = database.writer().await;
    // Few keys are looked up; many are not, once the filter is there.
    assert_eq!(write_lines(&mut writer, &all[..19_000]).await.duplicate, 19_000);
    let mut tries = 0;
    while write_lines(&mut writer, &all[19_000..]).await.duplicate == 1_000 {
        tries += 1;
        assert!(tries < 600, "all keys are looked up still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(database.number("select count(*) from usage_event").await, 21_000);
    database.drop_it().await;
}
