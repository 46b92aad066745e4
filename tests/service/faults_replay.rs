//! All is read again: offsets deleted by hand, another group, a topic made anew, an old backup restored. What is known
//! counts once, what was lost with the backup comes again, and what Kafka does not have any more halts its partition.

use crate::http::get;
use crate::instance::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 2;
const TIME_LIMIT: Duration = Duration::from_secs(60);

fn serve(database: &TestDatabase, topic: &TestTopic, group: &str) -> (Process, SocketAddr) {
    let mut command = consumer(&database.url, &brokers(), &topic.name, "one");
    command.env("APPORTION_KAFKA__GROUP_ID", group);
    Process::serving(command)
}

async fn stored(database: &TestDatabase, messages: i64) {
    wait_for(database, messages, Instant::now() + TIME_LIMIT).await;
}

async fn run(database: &TestDatabase, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&database.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Waits until the service says that a partition is halted.
async fn says_halted(address: SocketAddr, topic: &TestTopic, partition: i32) {
    let halted = async {
        loop {
            let (status, why) = get(address, "/readyz").await;
            if status == 503 && why.contains("halted") && why.contains(&format!("{}/{partition}", topic.name)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(TIME_LIMIT, halted).await.expect("it says why it stands still");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_offsets_or_in_another_group_all_is_read_again_and_nothing_counts_twice() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(PARTITIONS).await);
    let (lines, totals) = requests();
    let all = EVENTS as i64;
    topic.send(&lines, PARTITIONS);
    let (mut process, _) = serve(&database, &topic, &topic.name);
    stored(&database, all).await;
    process.kill();
    run(&database, "delete from kafka_offset").await;
    let (mut process, _) = serve(&database, &topic, &topic.name);
    stored(&database, 2 * all).await;
    process.kill();
    run(&database, "delete from kafka_offset where partition = 1").await;
    let (mut process, _) = serve(&database, &topic, &format!("{}_other", topic.name));
    stored(&database, 2 * all + all / 2).await;
    process.kill();
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts["duplicate"]), (all, all + all / 2), "{counts:?}");
    check_totals(&database, totals).await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_halts_until_its_offsets_are_deleted_and_is_then_known() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(1).await);
    let lines: Vec<String> = (0..2000).map(|n| event(&format!("e{n}"), n, 1)).collect();
    topic.send(&lines[..1500], 1);
    let (mut process, address) = serve(&database, &topic, &topic.name);
    stored(&database, 1500).await;
    let topic = topic.again(1).await;
    topic.send(&lines[1000..], 1);
    says_halted(address, &topic, 0).await;
    assert_eq!(database.counts().await["messages"], 1500);
    process.kill();
    run(&database, "delete from kafka_offset").await;
    let (mut process, _) = serve(&database, &topic, &topic.name);
    stored(&database, 2500).await;
    process.kill();
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts["duplicate"]), (2000, 500), "{counts:?}");
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

/// Puts a copy of a folder, with owners and all, into the place of another.
fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

/// Events of a customer each.
fn events(numbers: std::ops::Range<u64>) -> Vec<String> {
    let of = |n: u64| event(&format!("e{n}"), n, 1).replace("\"c1\"", &format!("\"customer {}\"", n % 40));
    numbers.map(of).collect()
}

/// The input tokens of each customer: from the events with their corrections, by way of the rollups.
async fn by_customer(database: &TestDatabase) -> BTreeMap<String, i64> {
    let sql = "select customer, sum(input_tokens)::bigint from usage_rollup join usage_customer using (customer_id)
               group by customer having sum(input_tokens) <> 0";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&database.pool).await.expect("sums");
    rows.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_restored_under_a_running_service_is_made_up_for_from_kafka() {
    if !can_try("an old backup of Postgres", Ok(())) {
        return;
    }
    let instance = Instance::postgres("restore");
    let database = TestDatabase::at(&instance.database_url).await;
    let topic = TestTopic::new(PARTITIONS).await;
    let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&database.pool).await.expect("a folder");
    let (data, backup) = (Path::new(&folder), Path::new(&folder).with_extension("backup"));
    let (mut process, address) = serve(&database, &topic, &topic.name);
    topic.send(&events(0..20), PARTITIONS);
    stored(&database, 20).await;
    instance.kill("postgres");
    copy(data, &backup);
    instance.start("postgres");
    // Twenty more customers, and a correction: the service knows their numbers by now.
    topic.send(&events(20..1000), PARTITIONS);
    topic.send(&[correction("k1", "e30", r#""quantities":{"input_tokens":1000000}"#)], PARTITIONS);
    stored(&database, 1001).await;

    instance.kill("postgres");
    copy(&backup, data);
    instance.start("postgres");
    assert_eq!(progress(&database).await, Some(20));
    // Before the service has learnt of it, others take the same numbers, and correct what it is about to read again.
    let mut other = database.writer().await;
    let others: Vec<String> =
        (0..30).map(|n| events(n..n + 1)[0].replace("\"e", "\"o").replace("customer ", "other ")).collect();
    write_lines(&mut other, &others).await;
    write_lines(&mut other, &[correction("k2", "e21", r#""quantities":{"input_tokens":2000000}"#)]).await;
    // One message, of one partition, tells it.
    topic.send(&events(1000..1001), 1);
    stored(&database, 20 + 31 + 982).await;
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for n in 0..1001 {
        let tokens = match n {
            21 => 2_000_000,
            30 => 1_000_000,
            other => other,
        };
        *expected.entry(format!("customer {}", n % 40)).or_default() += tokens;
    }
    expected.extend((1..30).map(|n| (format!("other {n}"), n)));
    assert_eq!(by_customer(&database).await, expected);
    database.audit().await;

    // Kafka does not have any more what came since.
    instance.kill("postgres");
    copy(&backup, data);
    instance.start("postgres");
    topic.lose_before(0, 50).await;
    topic.send(&events(1001..1003), PARTITIONS);
    says_halted(address, &topic, 0).await;
    let offset = "select next_offset from kafka_offset where partition = 0";
    assert_eq!(database.number(offset).await, 10);
    assert_eq!(process.child.try_wait().expect("its status"), None, "the consumer lives");
    process.kill();
    topic.delete().await;
    database.drop_it().await;
}
