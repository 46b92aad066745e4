//! Health, readiness and metrics, over a socket.

use crate::api_client::LIMITS;
use crate::support::*;
use apportion::http::{HttpState, serve_on};
use apportion::store::{self, Schema};
use apportion::telemetry::Metrics;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The status and the body of an answer.
pub async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = asked.await.expect("asked");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

async fn start(pool: sqlx::PgPool, metrics: Arc<Metrics>, ingests: bool) -> (SocketAddr, CancellationToken) {
    start_state(state_of(pool, metrics, ingests)).await
}

fn state_of(pool: sqlx::PgPool, metrics: Arc<Metrics>, ingests: bool) -> HttpState {
    HttpState::new(pool, LIMITS, metrics, ingests, crate::jobs::schedule())
}

async fn start_state(state: HttpState) -> (SocketAddr, CancellationToken) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(serve_on(listener, state, stop.clone()));
    (address, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_that_each_role_can_work() {
    let database = TestDatabase::new().await;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (door, stop_door) = start(database.pool.clone(), Arc::clone(&metrics), false).await;
    assert_eq!(get(door, "/healthz").await.0, 200);
    assert_eq!(get(door, "/readyz").await, (200, r#"{"ready":true,"roles":{"http":{"ready":true,"why":[]}}}"#.into()));
    // The same process with a consumer that has not reached Kafka yet.
    let (both, stop_both) = start(database.pool.clone(), Arc::clone(&metrics), true).await;
    let (status, why) = get(both, "/readyz").await;
    assert_eq!(status, 503);
    for part in [r#""http":{"ready":true"#, r#""ingest":{"ready":false"#, "no Kafka broker", "not polled yet"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    metrics.set_connected_brokers(1);
    metrics.polled();
    assert_eq!(get(both, "/readyz").await.0, 200);
    metrics.set_missing("usage.nix", true);
    let (status, why) = get(both, "/readyz").await;
    assert!(status == 503 && why.contains("topic usage.nix does not exist"), "{why}");
    metrics.set_missing("usage.nix", false);
    metrics.set_halted("t", 0, true);
    let (status, why) = get(both, "/readyz").await;
    assert!(status == 503 && why.contains("lost their next offset: t/0"), "{why}");
    let (status, text) = get(both, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains(r#"apportion_consumer_partition_halted{partition="0",topic="t"} 1"#), "{text}");
    assert!(text.contains(r#"apportion_http_requests_total{path="/readyz",status="503"} 3"#), "{text}");
    assert!(text.contains("apportion_consumer_connected_brokers 1"), "{text}");
    stop_door.cancel();
    stop_both.cancel();
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_is_ready_once_it_looked_what_is_due() {
    let database = TestDatabase::new().await;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let state = state_of(database.pool.clone(), Arc::clone(&metrics), false);
    let (address, stop) = start_state(state.with_jobs(Duration::from_secs(30))).await;
    let (status, why) = get(address, "/readyz").await;
    assert!(status == 503 && why.contains(r#""http":{"ready":true"#), "{why}");
    assert!(why.contains(r#""jobs":{"ready":false,"why":["it was not looked yet which jobs are due"]"#), "{why}");
    metrics.jobs_ticked();
    let (status, why) = get(address, "/readyz").await;
    assert!(status == 200 && why.contains(r#""jobs":{"ready":true"#), "{why}");
    stop.cancel();
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_it_lives_and_says_soon_which_one_is_away() {
    let pool = store::connect("postgres://nobody:verysecret@127.0.0.1:1/none", 1).expect("a URL");
    let (address, stop) = start(pool, Arc::new(Metrics::new().expect("metrics")), false).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    let asked = Instant::now();
    let (status, why) = get(address, "/readyz").await;
    assert!(status == 503 && asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(why.contains("127.0.0.1:1/none") && !why.contains("verysecret"), "{why}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_never_migrated_is_behind() {
    let database = TestDatabase::bare().await;
    let pool = store::connect(&database.url, 1).expect("a URL");
    assert_eq!(store::schema(&pool).await.expect("it answers"), Schema::Behind);
    let applied = store::migrate(&pool).await.expect("migrated");
    assert_eq!(applied.first().map(String::as_str), Some("0001 usage"));
    assert!(store::migrate(&pool).await.expect("migrated").is_empty());
    assert_eq!(store::schema(&pool).await.expect("it answers"), Schema::Current);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_build_is_refused() {
    let database = TestDatabase::empty().await;
    let (address, stop) = start(database.pool.clone(), Arc::new(Metrics::new().expect("metrics")), false).await;
    let refused = async |sql: &'static str, told: &str, commands: &[&[&str]]| {
        sqlx::query(sql).execute(&database.pool).await.expect("changed");
        for command in commands {
            // One that goes on is ended, with another status.
            let mut run = Command::new("timeout");
            run.args(["30", env!("CARGO_BIN_EXE_apportion")]).args(*command).env("DATABASE_URL", &database.url);
            let ended = run.output().expect("it starts");
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{command:?}: {complaint}");
            assert!(complaint.contains(told), "{command:?}: {complaint}");
        }
        let (status, why) = get(address, "/readyz").await;
        assert!(status == 503 && why.contains(told), "{why}");
    };
    let (serve, jobs, migrate) = (&["serve", "--roles", "jobs"][..], &["jobs", "run"][..], &["migrate"][..]);
    let behind = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
    refused(behind, "lacks migrations of this build; run `apportion migrate`", &[serve, jobs]).await;
    let ahead = "insert into _sqlx_migrations select 1000, 'later', now(), true, checksum, 0 from _sqlx_migrations where version = 1";
    refused(ahead, "has migrations of a later build", &[serve, jobs, migrate]).await;
    let different = "update _sqlx_migrations set checksum = '\\x00' where version = 3";
    refused(different, "was made by another build", &[serve, jobs, migrate]).await;
    stop.cancel();
    database.drop_it().await;
}
