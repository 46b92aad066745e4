//! Writes over HTTP that name themselves: done once and answered alike, whoever hangs up and whatever is killed.

use crate::api_client::{Answer, Api, bearer, books, usage};
use crate::books::at;
use crate::job_crashes::{SETTLE_AWS, SETTLE_TRACE, SETTLES, hold, until, waits};
use crate::support::{Process, TestDatabase};
use apportion::domain::access::Scope;
use apportion::domain::findings::Verdict;
use apportion::jobs::findings::{FindingFilter, list};
use chrono::Utc;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const SETTLE: &str = "/api/v1/contracts/aws-openai/settlements";
const MAY: &str = r#"{"period":"2026-05"}"#;
const DRAFT: &str = "/api/v1/jobs/draft-statements/run";
const ANSWER_LOCK: &str = "lock table api_request in share mode";
const KEEPS: &str = "insert into api_request";

/// `apportion serve --roles http`.
struct Service {
    process: Process,
    address: SocketAddr,
}

impl Service {
    fn start(database: &TestDatabase) -> Self {
        let behind = (Utc::now() - at("2024-01-10T00:00:00Z")).num_days();
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command
            .args(["serve", "--roles", "http"])
            .env("DATABASE_URL", &database.url)
            .env("APPORTION_JOBS__CLOCK_BEHIND_DAYS", behind.to_string())
            .env("APPORTION_JOBS__LEASE_SECONDS", "1");
        let (process, address) = Process::serving(command);
        Self { process, address }
    }
}

fn headers(key: &str, name: &str) -> [String; 3] {
    [bearer(key), "content-type: application/json".to_owned(), format!("idempotency-key: {name}")]
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

/// Waits until Postgres has found out that who was killed is gone.
async fn rolled_back(database: &TestDatabase) {
    let locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                 where l.locktype = 'advisory' and d.datname = current_database()";
    until("it is rolled back", async || database.number(locks).await == 0).await;
}

const SETTLEMENTS: &str = "select count(*) from settlement";
const KEPT: &str = "select count(*) from api_request";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_killed_before_or_after_its_commit_is_done_once() {
    let database = books().await;
    let mut service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let key = api.key("ana", &[Scope::Settle], None).await;
    // All is written, and nothing committed.
    let held = hold(&database, ANSWER_LOCK).await;
    let caller = api.begin("POST", SETTLE, &headers(&key, "a"), MAY);
    until("its answer is written", async || waits(&database, KEEPS).await).await;
    service.process.kill();
    held.rollback().await.expect("let go");
    drop(caller);
    rolled_back(&database).await;
    assert_eq!((database.number(SETTLEMENTS).await, database.number(KEPT).await), (0, 0));
    // It is committed, and nobody has heard its answer.
    let mut service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let caller = api.begin("POST", SETTLE, &headers(&key, "a"), MAY);
    until("it is committed", async || database.number(KEPT).await == 1).await;
    service.process.kill();
    drop(caller);
    let service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let again = api.send("POST", SETTLE, &headers(&key, "a"), MAY).await;
    assert_eq!((again.status, is_replay(&again)), (200, true), "{again:?}");
    let drafted = database.number("select statement_id from statement").await;
    assert_eq!(again.json()["statements"], json!([drafted]));
    assert_eq!(database.number(SETTLEMENTS).await, 1);
    drop(service);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_hangs_up_goes_on_to_its_end() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Settle], None).await;
    let held = hold(&database, SETTLE_AWS).await;
    let caller = api.begin("POST", SETTLE, &headers(&key, "a"), MAY);
    until("it settles", async || waits(&database, SETTLES).await).await;
    drop(caller);
    let early = api.send("POST", SETTLE, &headers(&key, "a"), MAY).await;
    assert_eq!(early.json()["type"], "urn:apportion:problem:in-progress");
    held.rollback().await.expect("let go");
    until("it has ended", async || database.number(KEPT).await == 1).await;
    let again = api.send("POST", SETTLE, &headers(&key, "a"), MAY).await;
    assert_eq!((again.status, is_replay(&again)), (200, true), "{again:?}");
    assert_eq!((again.json()["statements"].clone(), database.number(SETTLEMENTS).await), (json!([1]), 1));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_end_waits_for_a_write_whose_caller_hung_up() {
    let database = books().await;
    let mut service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let key = api.key("ana", &[Scope::Settle], None).await;
    let held = hold(&database, SETTLE_AWS).await;
    let caller = api.begin("POST", SETTLE, &headers(&key, "a"), MAY);
    until("it settles", async || waits(&database, SETTLES).await).await;
    drop(caller);
    // The shell's own: a small Debian has no other.
    let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", service.process.child.id())]).status();
    assert!(told.expect("a shell").success());
    until("it listens no more", async || TcpStream::connect(service.address).is_err()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(service.process.child.try_wait().expect("its status"), None, "it does not leave its write");
    held.rollback().await.expect("let go");
    let mut ended = None;
    until("it ends", async || {
        ended = service.process.child.try_wait().expect("its status");
        ended.is_some()
    })
    .await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    assert_eq!((database.number(SETTLEMENTS).await, database.number(KEPT).await), (1, 1));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_caller_hangs_up_ends_and_one_that_was_not_answered_is_not_run_again() {
    const ENDED: &str = "select count(*) from job_run join job_run_end using (run_id)
                         where contract_id = 'trace-share' and outcome in ('done', 'nothing_new')";
    let database = crate::jobs::begun(2).await;
    assert_eq!(database.issue_drafts().await, ["2023-11"]);
    let mut service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let key = api.key("ops", &[Scope::Admin], None).await;
    let held = hold(&database, SETTLE_TRACE).await;
    let caller = api.begin("POST", DRAFT, &headers(&key, "a"), "");
    until("it settles", async || waits(&database, SETTLES).await).await;
    drop(caller);
    // It goes on, and ends; then its answer cannot be kept yet.
    let answers = hold(&database, ANSWER_LOCK).await;
    held.rollback().await.expect("let go");
    until("its answer is written", async || waits(&database, KEEPS).await).await;
    assert_eq!(database.number(ENDED).await, 1);
    service.process.kill();
    answers.rollback().await.expect("let go");
    rolled_back(&database).await;
    let runs = database.number("select count(*) from job_run").await;
    let service = Service::start(&database);
    let api = Api::at(service.address, &database.pool);
    let answered = api.send("POST", DRAFT, &headers(&key, "a"), "").await;
    let again = api.send("POST", DRAFT, &headers(&key, "a"), "").await;
    assert_eq!((answered.status, is_replay(&answered), is_replay(&again)), (200, false, true), "{answered:?}");
    assert_eq!(answered.text, again.text);
    let items = answered.json()["items"].as_array().expect("items").clone();
    assert!(items.iter().any(|it| it["contract"] == "trace-share" && it["outcome"] == "done"), "{items:#?}");
    assert_eq!(items.len() as i64, runs);
    assert_eq!(database.number("select count(*) from job_run").await, runs, "nothing ran again");
    drop(service);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waited_while_another_of_its_name_was_answered_is_answered_alike() {
    let database = books().await;
    let api = Arc::new(Api::of(&database.pool).await);
    let key = api.key("collector", &[Scope::Ingest], None).await;
    let send = |body: Value| {
        let api = Arc::clone(&api);
        let headers = [bearer(&key), "content-type: application/cloudevents+json".into(), "idempotency-key: a".into()];
        tokio::spawn(async move { api.send("POST", "/api/v1/events", &headers, &body.to_string()).await })
    };
    let held = hold(&database, ANSWER_LOCK).await;
    let first = send(usage("e1"));
    until("its answer is written", async || waits(&database, KEEPS).await).await;
    let others = [send(usage("e1")), send(usage("e1")), send(usage("e2"))];
    // Time for the others to come as far as where they wait for the first.
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.rollback().await.expect("let go");
    let first = first.await.expect("answered");
    assert_eq!((first.status, is_replay(&first)), (204, false), "{first:?}");
    let [again, once_more, other] = others;
    for again in [again, once_more] {
        let again = again.await.expect("answered");
        assert_eq!((again.status, is_replay(&again), &again.text), (204, true, &first.text));
    }
    let other = other.await.expect("answered");
    assert_eq!(other.json()["type"], "urn:apportion:problem:idempotency-key-reused");
    assert_eq!(database.counts().await["messages"], 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_is_too_large_is_told_as_what_it_is() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Settle], None).await;
    let json = "content-type: application/json".to_owned();
    let large = " ".repeat((16 << 20) + 1);
    for name in [None, Some("idempotency-key: a".to_owned())] {
        let headers: Vec<String> = [bearer(&key), json.clone()].into_iter().chain(name).collect();
        let chunked = [headers.as_slice(), &["transfer-encoding: chunked".to_owned()]].concat();
        let broken = api.send("POST", SETTLE, &chunked, "no chunk\r\n").await;
        assert_eq!(broken.json()["type"], "urn:apportion:problem:bad-request", "{broken:?}");
        let refused = api.send("POST", SETTLE, &headers, &large).await;
        assert_eq!(refused.json()["type"], "urn:apportion:problem:too-large", "{refused:?}");
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_answered_alike_and_what_is_refused_keeps_no_answer() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let ana = api.key("ana", Scope::ALL, None).await;
    let ben = api.key("ben", Scope::ALL, None).await;
    let twice = async |path: &str, key: &str, content_type: &str, body: &Value| -> Answer {
        let headers = [bearer(key), format!("content-type: {content_type}"), "idempotency-key: k".to_owned() + path];
        let first = api.send("POST", path, &headers, &body.to_string()).await;
        let again = api.send("POST", path, &headers, &body.to_string()).await;
        assert_eq!((first.status, &first.text), (again.status, &again.text), "{path}");
        assert_eq!((is_replay(&first), is_replay(&again)), (false, true), "{path}: {first:?}");
        assert_eq!(first.header("etag"), again.header("etag"), "{path}");
        first
    };
    let batch = "application/cloudevents-batch+json";
    // One that is wrong makes the answer 422, and is counted once: the other one was taken in.
    // In April API products were Azure's alone.
    let mut april = usage("e1");
    april["time"] = json!("2026-04-10T10:00:00Z");
    let sent = twice("/api/v1/events", &ana, batch, &json!([april, {"specversion": "1.0"}])).await;
    assert_eq!(sent.status, 422);
    let outcomes = database.counts().await;
    assert_eq!((outcomes["messages"], outcomes["stored"], outcomes["rejected"]), (2, 1, 1));
    let json = "application/json";
    twice(SETTLE, &ana, json, &json!({"period": "2026-05"})).await;
    // What is refused, or cannot be read, keeps no answer: its name is free.
    let approve = "/api/v1/statements/1/approve";
    let named = headers(&ana, "own");
    for _ in 0..2 {
        let own = api.send("POST", approve, &named, "").await;
        assert_eq!((own.status, is_replay(&own)), (409, false));
    }
    let dispute = "/api/v1/statements/1/dispute";
    assert_eq!(api.send("POST", dispute, &named, r#"{"reason":""}"#).await.status, 422);
    for (step, body) in [
        ("approve", json!(null)),
        ("issue", json!(null)),
        ("dispute", json!({"reason": "a refund is missing"})),
        ("agree", json!({"reason": "found it"})),
        ("pay", json!({"reason": "transfer"})),
        ("invoices", json!(null)),
    ] {
        let done = twice(&format!("/api/v1/statements/1/{step}"), &ben, json, &body).await;
        assert_eq!(done.status, 200, "{done:?}");
    }
    assert_eq!(database.number("select count(*) from statement_status").await, 6);
    assert_eq!(database.number("select count(*) from invoice").await, 1);
    twice("/api/v1/jobs/expire-answers/run", &ana, json, &json!(null)).await;
    let open = list(&database.pool, &FindingFilter::default(), None, None).await.expect("a list").findings;
    let finding = open.first().expect("usage that breaks a right");
    let path = format!("/api/v1/findings/{}/decisions", finding.id);
    let verdict = json!({"verdict": Verdict::Release, "reason": "seen"});
    let decided = twice(&path, &ben, json, &verdict).await;
    assert_eq!(decided.status, 200, "{decided:?}");
    // As it is recorded, and as it is listed.
    let listed = api.get("/api/v1/findings/decisions", &ben).await.json();
    assert_eq!(listed["items"], json!([decided.json()]));
    assert_eq!((&decided.json()["decided_by"], &decided.json()["reason"]), (&json!("ben"), &json!("seen")));
    assert_eq!(database.number("select count(*) from finding_decision").await, 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_again_when_its_answer_is_not_kept_any_more() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ops", &[Scope::Admin], None).await;
    let run = async |name: &str| {
        let answer = api.send("POST", "/api/v1/jobs/draw-invoices/run", &headers(&key, name), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (is_replay(&answer), database.number("select count(*) from job_run where job = 'draw-invoices'").await)
    };
    assert_eq!((run("nightly").await, run("nightly").await), ((false, 1), (true, 1)));
    let older = async |days: i32| {
        let sql = format!(
            "alter table job_run disable trigger append_only;
             update job_run set started_at = started_at - interval '{days} days';
             alter table job_run enable trigger append_only;
             update api_request set answered_at = answered_at - interval '{days} days'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.pool).await.expect("long ago");
        apportion::store::requests::expire(&database.pool).await.expect("expired");
    };
    older(29).await;
    assert_eq!(run("nightly").await, (true, 1), "its answer is kept");
    older(2).await;
    assert_eq!(run("nightly").await, (false, 2), "it asks anew");
    assert_eq!(run("nightly").await, (true, 2));
    database.drop_it().await;
}
