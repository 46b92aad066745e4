//! Alerts and panels on a real Prometheus, which scrapes a real `apportion serve`.

use crate::books::shipped_copy;
use crate::panels::{DASHBOARDS, Query, alerts, names, panels};
use crate::support::*;
use apportion::domain::schedule::{Job, Subject};
use apportion::store::jobs::{RunStart, begin_run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's Prometheus or promtool: on PATH, or where `scripts/services prometheus` put it.
fn program(name: &str) -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local/lib/prometheus/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain([fetched]).map(|folder| folder.join(name)).find(|it| it.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run `make test`, or `scripts/services prometheus`"))
}

fn promtool(arguments: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let run = Command::new(program("promtool")).args(arguments).current_dir(folder).output().expect("it runs");
    let told = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "promtool {arguments:?}: {told}");
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["test", "rules", "alerts_test.yaml"]);
}

/// Starts the service and returns where it answers.
fn serve(database: &TestDatabase, topic: &TestTopic) -> (Process, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command
        .arg("serve")
        .env("DATABASE_URL", &database.url)
        .env("APPORTION_KAFKA__GROUP_ID", &topic.name)
        .env("APPORTION_KAFKA__TOPICS", &topic.name)
        .env("APPORTION_JOBS__TICK_SECONDS", "1")
        .env("APPORTION_JOBS__RETRY_SECONDS", "1");
    Process::serving(command)
}

/// Starts a Prometheus that scrapes `address` each second and watches our alerts.
fn watch(address: SocketAddr, folder: &Path) -> (Process, SocketAddr) {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/alerts.yaml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
         scrape_configs: [{{job_name: apportion, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    std::fs::write(folder.join("prometheus.yaml"), config).expect("written");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let prometheus = Command::new(program("prometheus"))
        .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={free}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("Prometheus starts");
    (Process::of(prometheus), free)
}

/// The body of an answer; nothing where there is none.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // An answer of HTTP/1.0 comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// What Prometheus answers; nothing while it does not.
fn ask(prometheus: SocketAddr, path: &str) -> Option<Value> {
    let answer: Value = serde_json::from_str(&get(prometheus, path)?).ok()?;
    assert!(answer["status"] == "success", "{path}: {answer}");
    Some(answer["data"].clone())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Whether a query has a value that is a number, now or, for what is drawn over time, in the last half minute.
fn has_values(prometheus: SocketAddr, expression: &str, is_instant: bool) -> bool {
    // Four scrapes, as Grafana has it.
    let query = encoded(&expression.replace("$__rate_interval", "4s"));
    let now = chrono::Utc::now().timestamp();
    let path = match is_instant {
        true => format!("/api/v1/query?query={query}"),
        false => format!("/api/v1/query_range?query={query}&start={}&end={now}&step=1", now - 30),
    };
    let Some(data) = ask(prometheus, &path) else { return false };
    let series = data["result"].as_array().expect("a result");
    let is_number = |sample: &Value| {
        let text = sample[1].as_str().expect("a value");
        text.parse::<f64>().is_ok_and(f64::is_finite)
    };
    series.iter().any(|it| match it["values"].as_array() {
        Some(samples) => samples.iter().any(is_number),
        None => is_number(&it["value"]),
    })
}

/// Messages with every outcome that wants a person, and some that do not; `round` tells their ids apart.
fn messages(round: usize) -> Vec<String> {
    let id = |name: &str| format!("{name}-{round}");
    vec![
        event(&id("a"), 100, 1),
        event(&id("a"), 100, 1),
        event(&id("b"), 100, 1),
        event(&id("b"), 200, 1),
        event_at(&id("c"), "2026-05-01T00:30:00Z", "nowhere", 100, 1),
        "{".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_alert_has_what_it_asks_prometheus_for() {
    let (database, topic) = (TestDatabase::empty().await, TestTopic::new(2).await);
    // Findings are told by contract.
    database.apply(shipped_copy().path()).await;
    let named = "insert into product values ('gpt', 'openai', '{}', now());
        insert into deployment values ('east', 'azure', 'api', 'r', 'openai', 'openai', now())";
    sqlx::raw_sql(named).execute(&database.pool).await.expect("master data");
    let folder = tempfile::tempdir().expect("a folder");
    let (_service, address) = serve(&database, &topic);
    let (_prometheus, prometheus) = watch(address, folder.path());
    let mut queries: Vec<(String, String, bool)> = Vec::new();
    for panel in DASHBOARDS.iter().flat_map(|name| panels(name)) {
        for query in panel.queries {
            let Query::Promql { text, is_instant } = query else { continue };
            queries.push((panel.title.clone(), text, is_instant));
        }
    }
    let panel_queries = queries.len();
    for (alert, expression) in alerts() {
        // A healthy service raises nothing; but each metric that an alert asks for is there.
        queries.extend(names(&expression, "apportion_").into_iter().map(|metric| (alert.clone(), metric, true)));
    }
    let deadline = Instant::now() + Duration::from_secs(90);
    for round in 0.. {
        topic.send(&messages(round), 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        queries = tokio::task::spawn_blocking(move || {
            queries.retain(|(_, expression, is_instant)| !has_values(prometheus, expression, *is_instant));
            queries
        })
        .await
        .expect("asked");
        if queries.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{panel_queries} of panels, without a value: {queries:#?}");
    }
    // What the last messages mean to the alerts is looked at each second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rules = ask(prometheus, "/api/v1/rules").expect("the rules");
    let groups = rules["groups"].as_array().expect("groups").iter();
    let rules: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    let read: BTreeSet<String> = rules.iter().map(|rule| rule["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(read, alerts().into_iter().map(|(name, _)| name).collect());
    for rule in rules {
        assert_eq!((rule["health"].as_str(), &rule["lastError"]), (Some("ok"), &Value::Null), "{rule}");
        // What wants a person was sent above; nothing else is wrong.
        let expect = match rule["name"].as_str().expect("a name") {
            "UsageUnresolved" | "UsageConflicts" => "firing",
            "RejectionsHigh" => "pending",
            _ => "inactive",
        };
        assert_eq!(rule["state"], expect, "{rule}");
    }
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_died_counts_as_lost_and_is_done_again() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(1).await);
    let (at, subject) = (chrono::Utc::now(), Subject::default());
    let died = RunStart {
        job: Job::ExpireAnswers,
        subject: &subject,
        due_at: at,
        clock_at: at,
        attempt: 1,
        holder: "died",
        starter: None,
        follows: None,
        lease: Duration::from_secs(1),
    };
    assert!(begin_run(&database.pool, &died).await.expect("asked").is_some());
    let outcomes = async || -> Vec<String> {
        let runs = "select outcome from reporting.job_run where job = 'expire-answers' order by run_id";
        sqlx::query_scalar(runs).fetch_all(&database.pool).await.expect("runs")
    };
    assert_eq!(outcomes().await, ["running"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(outcomes().await, ["lost"]);
    let (_service, address) = serve(&database, &topic);
    let counted = |text: &str, outcome: &str| {
        text.contains(&format!("apportion_job_runs_total{{job=\"expire-answers\",outcome=\"{outcome}\"}} 1"))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !get(address, "/metrics").is_some_and(|text| counted(&text, "lost") && counted(&text, "nothing_new")) {
        assert!(Instant::now() < deadline, "{:?}", outcomes().await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(outcomes().await, ["lost", "nothing_new"]);
    let ready = get(address, "/readyz").expect("an answer");
    assert!(ready.contains(r#""jobs":{"ready":true"#), "{ready}");
    topic.delete().await;
    database.drop_it().await;
}
