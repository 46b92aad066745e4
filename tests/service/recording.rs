//! What is known, while others record: nobody waits for anybody, and no answer changes afterwards.

use crate::api_client::{Api, books};
use crate::books::usage;
use crate::support::{TestDatabase, correction, event, write_lines};
use apportion::domain::access::Scope;
use apportion::domain::period::Instant;
use apportion::jobs::finding_watch::watch;
use apportion::store::connect;
use apportion::store::recording::{
    LockMode, begin, last_recorded, lock, note_alone, seconds_behind, was_handed_out, watermark,
};
use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No wait is seen that is shorter than this; nothing here takes as long on a busy machine without one.
const AT_ONCE: Duration = Duration::from_secs(5);

/// An empty batch, as of an instant that the recording gate gave.
async fn insert_batch(conn: &mut PgConnection, recorded_at: Instant) -> Result<(), sqlx::Error> {
    let sql = "insert into usage_batch (recorded_at, intake, messages, stored, stored_unresolved, duplicate, conflict,
                 correction_applied, correction_waiting, void_applied, void_waiting, no_usage, rejected)
               values ($1, 'file', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
    sqlx::query(sql).bind(recorded_at).execute(conn).await.map(drop)
}

async fn both(pool: &PgPool) -> [Instant; 2] {
    let now = timeout(AT_ONCE, watermark(pool)).await.expect("no wait").expect("an instant");
    let last = timeout(AT_ONCE, last_recorded(pool)).await.expect("no wait").expect("an instant");
    [now, last]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_what_is_known_does_not_wait_for_who_records() {
    let database = TestDatabase::new().await;
    for mode in [LockMode::Shared, LockMode::Exclusive] {
        let (mut open, recorded_at) = begin(&database.pool, mode).await.expect("begun");
        insert_batch(&mut open, recorded_at).await.expect("written");
        if mode == LockMode::Shared {
            // One that records beside it, and is done.
            write_lines(&mut database.writer().await, &[event("beside", 1, 1)]).await;
        }
        let known = both(&database.pool).await;
        assert!(known.iter().all(|at| *at < recorded_at), "{known:?} {recorded_at}");
        open.commit().await.expect("committed");
        let newest: Instant = sqlx::query_scalar("select max(recorded_at) from usage_batch")
            .fetch_one(&database.pool)
            .await
            .expect("one");
        let [now, last] = both(&database.pool).await;
        assert!(now >= newest && last == newest, "{now} {last} {newest}");
        assert_eq!(both(&database.pool).await[1], newest, "the same as long as nothing is recorded");
    }
    // Who rolls back, or dies, leaves nothing behind.
    let (open, recorded_at) = begin(&database.pool, LockMode::Shared).await.expect("begun");
    open.rollback().await.expect("rolled back");
    assert!(both(&database.pool).await[0] > recorded_at);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_alone_is_known_while_batches_that_began_before_go_on() {
    let database = TestDatabase::new().await;
    // A batch that has begun, and comes to the gate after one who records alone.
    let mut batch = database.pool.begin().await.expect("a transaction");
    sqlx::query("select now()").execute(&mut *batch).await.expect("begun");
    let (mut alone, recorded_at) = begin(&database.pool, LockMode::Exclusive).await.expect("begun");
    note_alone(&mut alone, recorded_at).await.expect("noted");
    alone.commit().await.expect("committed");
    let later = lock(&mut batch, LockMode::Shared).await.expect("the gate");
    let known = both(&database.pool).await;
    assert!(known.iter().all(|at| recorded_at <= *at && *at < later), "{recorded_at} {known:?} {later}");
    batch.rollback().await.expect("rolled back");
    // A batch that corrects is such a one, too.
    let mut writer = database.writer().await;
    write_lines(&mut writer, &[event("e", 1, 1)]).await;
    let mut batch = database.pool.begin().await.expect("a transaction");
    sqlx::query("select now()").execute(&mut *batch).await.expect("begun");
    write_lines(&mut writer, &[correction("c", "e", r#""customer":"other""#)]).await;
    let newest: Instant =
        sqlx::query_scalar("select max(recorded_at) from usage_batch").fetch_one(&database.pool).await.expect("one");
    lock(&mut batch, LockMode::Shared).await.expect("the gate");
    assert!(both(&database.pool).await.iter().all(|at| newest <= *at));
    batch.rollback().await.expect("rolled back");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_records_and_does_not_end_is_told_of_and_ended() {
    let database = books().await;
    let pool = connect(&database.url, 2).expect("a pool");
    let contract = "microsoft-openai".into();
    let looked = async || watch(&database.pool, &contract).await.expect("a look").is_some();
    assert!(looked().await && looked().await);
    assert_eq!(seconds_behind(&database.pool).await.expect("a number"), 0);
    let (mut stuck, _) = begin(&pool, LockMode::Shared).await.expect("begun");
    let timeout: String = sqlx::query_scalar("select current_setting('idle_in_transaction_session_timeout')")
        .fetch_one(&mut *stuck)
        .await
        .expect("a setting");
    assert_eq!(timeout, "1min");
    // Up to when it began more is known than before, and then no more: a look that finds nothing is no look.
    assert!(looked().await && !looked().await);
    sqlx::query("set local idle_in_transaction_session_timeout = '3s'").execute(&mut *stuck).await.expect("set");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let behind = seconds_behind(&database.pool).await.expect("a number");
    assert!((2..60).contains(&behind), "{behind}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seconds_behind(&database.pool).await.expect("a number"), 0);
    assert!(looked().await);
    let refused = apportion::store::StoreError::from(stuck.commit().await.expect_err("it was rolled back"));
    assert!(refused.is_transient(), "{refused}");
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_records_does_not_wait_for_who_asks_what_is_known() {
    let database = TestDatabase::new().await;
    // One who asks, and was stopped before its commit.
    let mut asks = database.pool.begin().await.expect("a transaction");
    let moved =
        "update recording_watermark set watermark = clock_timestamp(), known_at = clock_timestamp() - interval '1 s'";
    sqlx::query(moved).execute(&mut *asks).await.expect("moved");
    for mode in [LockMode::Shared, LockMode::Exclusive] {
        let recorded = timeout(AT_ONCE, async {
            let (mut open, recorded_at) = begin(&database.pool, mode).await.expect("begun");
            insert_batch(&mut open, recorded_at).await.expect("written");
            open.commit().await.expect("committed");
        });
        recorded.await.expect("no wait");
    }
    asks.rollback().await.expect("let go");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_would_change_what_is_known() {
    let database = TestDatabase::new().await;
    let known_at = database.watermark().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    for recorded_at in [known_at, known_at - TimeDelta::days(1)] {
        let refused = insert_batch(&mut conn, recorded_at).await.expect_err("refused").to_string();
        assert!(refused.contains("was handed out already"), "{refused}");
    }
    let party = "insert into party (party_id, name, recorded_at) values ('p', 'P', $1)";
    let refused = sqlx::query(party).bind(known_at).execute(&mut *conn).await.expect_err("refused").to_string();
    assert!(refused.contains("was handed out already"), "{refused}");
    let back = "update recording_watermark set known_at = known_at - interval '1 microsecond'";
    let refused = sqlx::query(back).execute(&mut *conn).await.expect_err("refused").to_string();
    assert!(refused.contains("only moves forward"), "{refused}");
    insert_batch(&mut conn, known_at + TimeDelta::microseconds(1)).await.expect("later");
    drop(conn);
    database.drop_it().await;
}

/// Draws that are the same for each run; which transactions meet is left to the machine.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// How many batches were recorded by an instant, and which.
async fn seen(pool: &PgPool, known_at: Instant) -> (i64, i64) {
    let sql = "select count(*), coalesce(sum(batch_id), 0)::bigint from usage_batch where recorded_at <= $1";
    sqlx::query_as(sql).bind(known_at).fetch_one(pool).await.expect("counted")
}

/// Records at random: batches that take their time, alone or beside others, some of which come to nothing.
async fn record(pool: PgPool, mut draws: Draws, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let mode = if draws.below(8) == 0 { LockMode::Exclusive } else { LockMode::Shared };
        let mut tx = pool.begin().await.expect("a transaction");
        // As a write over HTTP, whose transaction began before it comes to record.
        tokio::time::sleep(Duration::from_millis(draws.below(4))).await;
        let recorded_at = apportion::store::recording::lock(&mut tx, mode).await.expect("the gate");
        tokio::time::sleep(Duration::from_millis(draws.below(8))).await;
        insert_batch(&mut tx, recorded_at).await.expect("later than what is known");
        tokio::time::sleep(Duration::from_millis(draws.below(8))).await;
        let end = if draws.below(5) == 0 { tx.rollback().await } else { tx.commit().await };
        end.expect("ended");
    }
}

/// Asks what is known at random; returns each instant with what was seen as known then.
async fn ask(pool: PgPool, mut draws: Draws, stop: Arc<AtomicBool>) -> Vec<(Instant, (i64, i64))> {
    let (mut answers, mut last) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let known_at = if draws.below(2) == 0 {
            let now = watermark(&pool).await.expect("an instant");
            assert!(last.replace(now).is_none_or(|last| last <= now), "{last:?} {now}");
            now
        } else {
            last_recorded(&pool).await.expect("an instant")
        };
        assert!(was_handed_out(&pool, known_at).await.expect("asked"), "{known_at}");
        answers.push((known_at, seen(&pool, known_at).await));
        tokio::time::sleep(Duration::from_millis(draws.below(3))).await;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_never_changes_whoever_records() {
    let database = TestDatabase::new().await;
    let pool = apportion::store::connect(&database.url, 16).expect("a pool");
    let stop = Arc::new(AtomicBool::new(false));
    let (mut recorders, mut readers) = (JoinSet::new(), JoinSet::new());
    for n in 1..=8 {
        recorders.spawn(record(pool.clone(), Draws(n * 7919), Arc::clone(&stop)));
    }
    for n in 1..=4 {
        readers.spawn(ask(pool.clone(), Draws(n * 104_729), Arc::clone(&stop)));
    }
    // Real batches, with corrections, beside them.
    let started = Clock::now();
    let mut writer = database.writer().await;
    for n in 0.. {
        if started.elapsed() > Duration::from_secs(5) {
            break;
        }
        let lines =
            [event(&format!("e{n}"), 1, 0), correction(&format!("k{n}"), &format!("e{n}"), r#""product":"codex""#)];
        write_lines(&mut writer, &lines[..1 + n % 2]).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = recorders.join_next().await {
        done.expect("recorded");
    }
    let mut answers = Vec::new();
    while let Some(answered) = readers.join_next().await {
        answers.extend(answered.expect("asked"));
    }
    for (known_at, then) in &answers {
        assert_eq!(seen(&pool, *known_at).await, *then, "as known at {known_at}");
    }
    let mut counts: Vec<i64> = answers.iter().map(|(_, (count, _))| *count).collect();
    counts.sort_unstable();
    counts.dedup();
    let batches = database.number("select count(*) from usage_batch").await;
    println!("{batches} batches, {} answers, {} of them different", answers.len(), counts.len());
    assert!(counts.len() > 10, "more and more was known: {counts:?}");
    assert_eq!(seen(&pool, database.watermark().await).await.0, batches, "in the end all of it is");
    database.audit().await;
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_answered_beside_a_batch_that_takes_its_time() {
    let database = books().await;
    let api = Api::with_read_timeout(&database.pool, Duration::from_secs(1)).await;
    let [aws, _] = api.partners().await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let line = |id: &str| usage(id, "2026-05-03T12:00:00Z", "bedrock-us-east-1", "gpt-5.5", &[("output_tokens", "10")]);
    database.ingest(&[line("before")]).await;
    let (mut open, recorded_at) = begin(&database.pool, LockMode::Shared).await.expect("begun");
    insert_batch(&mut open, recorded_at).await.expect("written");
    database.ingest(&[line("beside")]).await;
    let span = "from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z";
    let quantity = async |key: &str| {
        let answer = api.get(&format!("/api/v1/usage?{span}"), key).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["items"][0]["quantity"].clone()
    };
    for key in [&aws, &key] {
        assert_eq!(quantity(key).await, "10", "what came beside it is known when it has ended");
    }
    for path in [format!("/api/v1/charges?{span}"), "/api/v1/findings".to_owned()] {
        let answer = api.get(&path, &key).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    open.commit().await.expect("committed");
    assert_eq!(quantity(&aws).await, "20");
    database.drop_it().await;
}
