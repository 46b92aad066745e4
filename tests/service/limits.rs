//! What the API waits for has an end: callers who wait for each other, hang up, or never send what they began.

use crate::api_client::{Answer, Api, LIMITS, bearer, books, usage};
use crate::job_crashes::{SETTLE_AWS, SETTLE_TRACE, SETTLES, hold, until, waits};
use crate::support::{Process, TestDatabase};
use apportion::domain::access::Scope;
use apportion::http::Limits;
use apportion::store::connect;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SETTLE: &str = "/api/v1/contracts/aws-openai/settlements";
const MAY: &str = r#"{"period":"2026-05"}"#;
const DRAFT: &str = "/api/v1/jobs/draft-statements/run";
const CONTRACTS: &str = "/api/v1/contracts";
const CONTRACTS_LOCK: &str = "lock table contract_version in access exclusive mode";
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database()
                       and wait_event_type = 'Lock'";

fn json_of(key: &str) -> [String; 2] {
    [bearer(key), "content-type: application/json".to_owned()]
}

/// What was refused for now, and is to be sent again.
fn is_for_now(answer: &Answer, kind: &str) -> bool {
    let named = answer.json()["type"] == format!("urn:apportion:problem:{kind}");
    answer.status == 503 && named && answer.header("retry-after").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_for_one_contract_hold_up_nobody_else() {
    let database = books().await;
    let pool = connect(&database.url, 8).expect("a pool");
    let api = Arc::new(Api::with_limits(&pool, Limits { turn: Duration::from_secs(4), ..LIMITS }).await);
    let key = api.key("ana", Scope::ALL, None).await;
    let held = hold(&database, SETTLE_AWS).await;
    let write = |path: String, body: &'static str| {
        let (api, headers) = (Arc::clone(&api), json_of(&key));
        tokio::spawn(async move { api.send("POST", &path, &headers, body).await })
    };
    let waiting: Vec<_> = (0..8).map(|_| write(SETTLE.to_owned(), MAY)).collect();
    until("all wait", async || database.number(WAITING).await == 8).await;
    // One more, which wants none of what they wait for, has to wait for a connection.
    let ninth = write("/api/v1/jobs/expire-answers/run".to_owned(), "");
    let started = Instant::now();
    assert_eq!(api.get(CONTRACTS, &key).await.status, 200);
    let ready = api.send("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let event = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
    assert_eq!(api.send("POST", "/api/v1/events", &event, &usage("e1").to_string()).await.status, 204);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    for answer in waiting {
        let answer = answer.await.expect("answered");
        assert!(is_for_now(&answer, "busy"), "{answer:?}");
    }
    // It got its turn as one of the others let go, or was told to come again.
    let ninth = ninth.await.expect("answered");
    assert!(ninth.status == 200 || is_for_now(&ninth, "unavailable"), "{ninth:?}");
    held.rollback().await.expect("let go");
    assert_eq!(api.send("POST", SETTLE, &json_of(&key), MAY).await.status, 200);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_wait_keep_nobody_else_from_being_let_in() {
    let database = books().await;
    let pool = connect(&database.url, 8).expect("a pool");
    let api = Arc::new(Api::with_limits(&pool, Limits { turn: Duration::from_secs(4), ..LIMITS }).await);
    let key = api.key("ana", Scope::ALL, None).await;
    let held = hold(&database, CONTRACTS_LOCK).await;
    let readers: Vec<_> = (0..9)
        .map(|_| {
            let (api, key) = (Arc::clone(&api), key.clone());
            tokio::spawn(async move { api.get(CONTRACTS, &key).await })
        })
        .collect();
    until("all connections for reading are taken", async || database.number(WAITING).await == 8).await;
    let started = Instant::now();
    let named = |kind: &str, name: &str| {
        [bearer(&key), format!("content-type: application/{kind}"), format!("idempotency-key: {name}")]
    };
    for replayed in [None, Some("true")] {
        let event = usage("e1").to_string();
        let taken = api.send("POST", "/api/v1/events", &named("cloudevents+json", "a"), &event).await;
        assert_eq!((taken.status, taken.header("idempotent-replayed")), (204, replayed), "{taken:?}");
    }
    let reply = "/api/v1/statements/1/agree";
    let written = api.send("POST", reply, &named("json", "b"), r#"{"reason":"fine"}"#).await;
    assert_eq!(written.status, 404, "{written:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    held.rollback().await.expect("let go");
    for reader in readers {
        assert_eq!(reader.await.expect("answered").status, 200);
    }
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_for_who_records_alone_are_put_off_in_time() {
    let database = books().await;
    let pool = connect(&database.url, 8).expect("a pool");
    let api = Arc::new(Api::with_limits(&pool, Limits { turn: Duration::from_secs(1), ..LIMITS }).await);
    let key = api.key("ana", Scope::ALL, None).await;
    let held = hold(&database, "lock table recording_gate in exclusive mode").await;
    let started = Instant::now();
    let send = |id: &str| {
        let headers = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
        let (api, event) = (Arc::clone(&api), usage(id).to_string());
        tokio::spawn(async move { api.send("POST", "/api/v1/events", &headers, &event).await })
    };
    // The first waits for the gate, the second for the first.
    for event in [send("e1"), send("e2")] {
        let answer = event.await.expect("answered");
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("2")), "{answer:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    held.rollback().await.expect("let go");
    assert_eq!(send("e1").await.expect("answered").status, 204);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_by_hand_waits_for_another_no_longer_than_a_write_does() {
    let database = crate::jobs::begun(2).await;
    let pool = connect(&database.url, 7).expect("a pool");
    let api = Arc::new(Api::with_limits(&pool, Limits { turn: Duration::from_secs(1), ..LIMITS }).await);
    let key = api.key("ops", Scope::ALL, None).await;
    database.issue_drafts().await;
    let held = hold(&database, SETTLE_TRACE).await;
    let first = {
        let (api, key) = (Arc::clone(&api), key.clone());
        tokio::spawn(async move { api.send("POST", DRAFT, &[bearer(&key)], "").await })
    };
    until("it settles", async || waits(&database, SETTLES).await).await;
    let second = api.send("POST", DRAFT, &[bearer(&key)], "").await;
    assert!(is_for_now(&second, "busy"), "{second:?}");
    assert_eq!(api.send("GET", "/readyz", &[], "").await.status, 200);
    held.rollback().await.expect("let go");
    assert_eq!(first.await.expect("answered").status, 200);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_hang_up_leave_no_connection_taken_and_no_statement_running() {
    let database = books().await;
    let pool = connect(&database.url, 8).expect("a pool");
    let api = Api::of(&pool).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let held = hold(&database, CONTRACTS_LOCK).await;
    let callers: Vec<TcpStream> = (0..8).map(|_| api.begin("GET", CONTRACTS, &[bearer(&key)], "")).collect();
    until("all wait", async || database.number(WAITING).await == 8).await;
    drop(callers);
    let started = Instant::now();
    let other = api.get("/api/v1/statements", &key).await;
    until("their statements have ended", async || database.number(WAITING).await == 0).await;
    let took = started.elapsed();
    assert!(other.status == 200 && took < Duration::from_secs(6), "{} after {took:?}", other.status);
    held.rollback().await.expect("let go");
    assert_eq!(api.get(CONTRACTS, &key).await.status, 200);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_ended_in_time_however_many_statements_it_makes() {
    let database = books().await;
    let read = Duration::from_secs(3);
    let api = Arc::new(Api::with_read_timeout(&connect(&database.url, 8).expect("a pool"), read).await);
    let key = api.key("ana", &[Scope::Read], None).await;
    let contracts = hold(&database, CONTRACTS_LOCK).await;
    let keys = hold(&database, "lock table api_key in access exclusive mode").await;
    let started = Instant::now();
    let asked = {
        let (api, key) = (Arc::clone(&api), key.clone());
        tokio::spawn(async move { api.get(CONTRACTS, &key).await })
    };
    // Its first statement takes most of the time, and its last ones would take all of it again.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    keys.rollback().await.expect("let go");
    let answer = asked.await.expect("answered");
    let took = started.elapsed();
    assert_eq!((answer.status, &answer.json()["type"]), (503, &json!("urn:apportion:problem:too-slow")), "{answer:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    until("its statement has ended", async || database.number(WAITING).await == 0).await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    contracts.rollback().await.expect("let go");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_sends_the_rest_is_told_or_hung_up_on() {
    let database = books().await;
    let receive = Duration::from_secs(1);
    let api = Api::with_limits(&database.pool, Limits { receive, ..LIMITS }).await;
    let key = api.key("ana", Scope::ALL, None).await;
    let half = |head: &str| {
        let mut stream = api.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is ended in time");
        answer
    };
    let batch = "content-type: application/cloudevents-batch+json\r\n";
    let json = "content-type: application/json\r\n";
    for (path, headers) in [
        (SETTLE, json.to_owned()),
        (SETTLE, format!("idempotency-key: a\r\n{json}")),
        ("/api/v1/events", batch.to_owned()),
    ] {
        let bearer = bearer(&key);
        let answer =
            half(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n{bearer}\r\n{headers}content-length: 9\r\n\r\n["));
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem:not-received"), "{path}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    }
    assert_eq!(half("GET /healthz HTTP/1.1\r\nhost: x\r\nx-half: "), "");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_end_ends_whoever_is_slow_and_says_what_it_broke_off() {
    let database = books().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command
        .args(["serve", "--roles", "http"])
        .env("DATABASE_URL", &database.url)
        .env("APPORTION_HTTP__TURN_TIMEOUT_SECONDS", "600")
        .env("APPORTION_HTTP__DRAIN_TIMEOUT_SECONDS", "2");
    let (mut process, address) = Process::serving(command);
    let api = Arc::new(Api::at(address, &database.pool));
    let key = api.key("ana", Scope::ALL, None).await;
    let held = hold(&database, SETTLE_AWS).await;
    let write = {
        let (api, headers) = (Arc::clone(&api), json_of(&key));
        tokio::spawn(async move { api.send("POST", SETTLE, &headers, MAY).await })
    };
    let gone = api.begin("POST", SETTLE, &json_of(&key), MAY);
    until("both settle", async || database.number(WAITING).await == 2).await;
    drop(gone);
    let mut slow_body = api.connect();
    let bearer = bearer(&key);
    write!(slow_body, "POST {SETTLE} HTTP/1.1\r\nhost: x\r\n{bearer}\r\ncontent-type: application/json\r\n")
        .expect("sent");
    write!(slow_body, "content-length: 9\r\n\r\n{{").expect("sent");
    let mut slow_head = api.connect();
    slow_head.write_all(b"GET /healthz HTTP/1.1\r\n").expect("sent");
    // Time for it to take them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    // The shell's own: a small Debian has no other.
    let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", process.child.id())]).status();
    assert!(told.expect("a shell").success());
    let mut ended = None;
    until("it ends", async || {
        ended = process.child.try_wait().expect("its status");
        ended.is_some()
    })
    .await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
    let answer = write.await.expect("answered");
    assert!(is_for_now(&answer, "ending"), "{answer:?}");
    held.rollback().await.expect("let go");
    until("nothing of it is left", async || !others_work(&database).await).await;
    assert_eq!(database.number("select count(*) from settlement").await, 0);
    let log = process.log.lock().expect("lines").join("\n");
    assert_eq!(log.matches("a write was broken off").count(), 3, "{log}");
    assert!(log.contains(SETTLE) && log.contains("connections were cut"), "{log}");
    database.drop_it().await;
}

/// Whether a connection but those of this test's own pool is at something.
async fn others_work(database: &TestDatabase) -> bool {
    let active = "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle'
                  and pid <> pg_backend_pid()";
    database.number(active).await > 0
}
