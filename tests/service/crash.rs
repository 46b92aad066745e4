//! The consumer, Postgres and Kafka are killed while usage comes in; nothing is lost, nothing counts twice.
//!
//! Runs on an instance of the services of its own, as it kills them.

use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One in ten is sent again.
const DUPLICATES: usize = 2_819;
const PARTITIONS: i32 = 4;
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// An instance of Postgres and Kafka that may be killed; gone when the test ends, also when it fails.
struct Services;

impl Services {
    fn run(arguments: &[&str]) -> String {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
        let mut command = Command::new(&script);
        // The instance is ours, whatever the other tests were told to use.
        command.args(arguments).env_remove("DATABASE_URL").env_remove("KAFKA_BROKERS").stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn up() -> (Self, String, String) {
        // Handed out first, so that what comes up is ended even if the rest fails.
        let services = Self;
        Self::run(&["up", "crash"]);
        let settings = Self::run(&["env", "crash"]);
        let setting = |name: &str| {
            let line = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("{name} in {settings}")).trim_matches(['"', '\'']).to_owned()
        };
        (services, setting("DATABASE_URL"), setting("KAFKA_BROKERS"))
    }

    fn bounce(service: &str) {
        Self::run(&["kill", service, "crash"]);
        std::thread::sleep(Duration::from_millis(500));
        Self::run(&["start", service, "crash"]);
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        Self::run(&["destroy", "crash"]);
    }
}

fn start_consumer(database_url: &str, brokers: &str, topic: &TestTopic) -> Child {
    Command::new(env!("CARGO_BIN_EXE_apportion"))
        .args(["serve", "--roles", "ingest"])
        .env("DATABASE_URL", database_url)
        .env("KAFKA_BROKERS", brokers)
        .env("APPORTION_KAFKA__GROUP_ID", "crash")
        .env("APPORTION_KAFKA__TOPICS", &topic.name)
        .env("APPORTION_KAFKA__BATCH_MESSAGES", "50")
        // As a consumer that always restarts in the same place is set up: it need not wait for its own
        // dead predecessor to time out.
        .env("APPORTION_KAFKA__PROPERTIES__GROUP_INSTANCE_ID", "crash")
        // Reads little ahead: what Kafka's death interrupts is reading, not only writing.
        .env("APPORTION_KAFKA__PROPERTIES__QUEUED_MAX_MESSAGES_KBYTES", "64")
        .env("APPORTION_HTTP__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the consumer starts")
}

/// How many messages are stored; nothing while the database is away.
async fn progress(database: &TestDatabase) -> Option<i64> {
    let sql = "select coalesce(sum(messages), 0)::bigint from usage_batch";
    sqlx::query_scalar(sql).fetch_one(&database.pool).await.ok()
}

async fn wait_for(database: &TestDatabase, messages: i64, deadline: Instant) {
    loop {
        let stored = progress(database).await;
        if stored.is_some_and(|stored| stored >= messages) {
            return;
        }
        assert!(Instant::now() < deadline, "{stored:?} of {messages} messages were stored in time");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_neither_lose_nor_double() {
    let (_services, database_url, brokers) = Services::up();
    let database = TestDatabase::at(&database_url).await;
    let topic = TestTopic::at(&brokers, PARTITIONS).await;
    let (mut lines, totals) = requests();
    lines.extend(lines.clone().into_iter().step_by(10));
    topic.send(&lines, PARTITIONS);
    let all = lines.len() as i64;
    // Ten kills of the consumer, two of each service, at random places of the way.
    let killed = (0..10).map(|_| "consumer").chain(["postgres", "kafka", "postgres", "kafka"]);
    let place = || (rand::random::<u32>() as i64) % (all * 8 / 10);
    let mut kills: Vec<(i64, &str)> = killed.map(|what| (place(), what)).collect();
    kills.sort_unstable();
    println!("kills, after how many messages: {kills:?}");
    let deadline = Instant::now() + TIME_LIMIT;
    let mut consumer = start_consumer(&database.url, &brokers, &topic);
    let mut last = 0;
    for (messages, what) in kills {
        // Each kill finds a consumer that has got on since the last.
        wait_for(&database, messages.max(last + 1).min(all), deadline).await;
        tokio::time::sleep(Duration::from_millis(rand::random::<u64>() % 30)).await;
        let stored = progress(&database).await;
        println!("killing {what} after {stored:?} messages");
        last = stored.unwrap_or(last);
        match what {
            "consumer" => {
                consumer.kill().expect("killed");
                consumer.wait().expect("ended");
                consumer = start_consumer(&database.url, &brokers, &topic);
            }
            service => Services::bounce(service),
        }
    }
    wait_for(&database, all, deadline).await;
    assert_eq!(consumer.try_wait().expect("its status"), None, "the consumer lives");
    consumer.kill().expect("killed");
    consumer.wait().expect("ended");
    let counts = database.counts().await;
    assert_eq!(counts["messages"], all);
    assert_eq!((counts["stored"], counts["duplicate"]), (EVENTS as i64, DUPLICATES as i64));
    check_totals(&database, totals).await;
    assert_eq!(database.number("select sum(next_offset)::bigint from kafka_offset").await, all);
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_killed_midway_goes_on_and_counts_once() {
    let database = TestDatabase::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("usage.jsonl");
    let lines: Vec<String> = (0..EVENTS as u64 * 2).map(|n| event(&format!("e{n}"), n, n % 7)).collect();
    std::fs::write(&path, lines.join("\n")).expect("written");
    let ingest = || {
        Command::new(env!("CARGO_BIN_EXE_apportion"))
            .arg("ingest")
            .arg(&path)
            .env("DATABASE_URL", &database.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    };
    let (all, deadline) = (lines.len() as i64, Instant::now() + TIME_LIMIT);
    let mut killed = ingest();
    wait_for(&database, 1, deadline).await;
    killed.kill().expect("killed");
    killed.wait().expect("it ended");
    let before = database.number("select count(*) from usage_event").await;
    assert!(ingest().wait().expect("it ended").success());
    assert_eq!(database.number("select count(*) from usage_event").await, all);
    // Nothing that was stored was read again.
    println!("{before} of {all} events were stored when it was killed");
    assert_eq!(database.counts().await["messages"], all);
    database.audit().await;
    database.drop_it().await;
}
