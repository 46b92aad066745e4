//! The program as people start it: the demo from end to end, help for every command, and exit statuses.

use crate::books::shipped_copy;
use crate::support::TestDatabase;
use sqlx::PgPool;
use std::process::{Command, Output};

fn apportion(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("APPORTION_CONFIG")
        .env_remove("APPORTION_USER");
    command
}

/// Runs to the end; without a terminal, as output is piped.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn check_demo() {
    let (status, shown, complaints) = run(&mut apportion(&["demo", "--events", "4000"]));
    assert_eq!(status, Some(0), "{shown}\n{complaints}");
    // A broker that has just started makes the producer try again, and it says so.
    assert!(!complaints.contains("ERROR") && !complaints.contains('\u{1b}'), "{complaints}");
    let compared = shown.split_once("What the generator made").expect("the comparison").1;
    assert!(compared.lines().filter(|line| line.trim_end().ends_with("equal")).count() >= 20, "{shown}");
    for (part, count) in [
        ("DIFFERENT", 0),
        ("2026-04: issued statement", 2),
        ("2026-04: settled microsoft-openai", 1),
        ("2026-05: settled aws-openai", 2),
        ("2026-05: openai pays microsoft ", 1),
        ("2026-05: aws pays openai ", 1),
        ("Usage and list-price charges of 2026-05 by cloud", 1),
        ("Done in ", 1),
        ("Serving", 0),
        ("To look around, run `make demo` in a terminal", 1),
        ("export DATABASE_URL", 0),
    ] {
        assert_eq!(shown.matches(part).count(), count, "{part:?} in\n{shown}");
    }
}

/// The server's databases but those of tests.
async fn names(pool: &PgPool) -> Vec<String> {
    let sql = "select datname::text from pg_database where datname not like 'apportion_test_%' order by 1";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("databases")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_again_and_again_and_touches_only_its_own() {
    let database = TestDatabase::empty().await;
    let admin = PgPool::connect(&database.url).await.expect("Postgres answers");
    let mut before = names(&admin).await;
    let run_demo = async || tokio::task::spawn_blocking(check_demo).await.expect("the demo");
    run_demo().await;
    run_demo().await;
    let (server, _) = database.url.rsplit_once('/').expect("a database");
    let mut jobs = apportion(&["jobs", "run"]);
    jobs.env("DATABASE_URL", format!("{server}/apportion_demo"));
    let (status, _, complaints) = tokio::task::spawn_blocking(move || run(&mut jobs)).await.expect("it runs");
    assert_eq!(status, Some(0), "{complaints}");
    crate::dashboards::every_sql_panel_returns_rows("apportion_demo").await;
    before.retain(|name| name != "apportion_demo");
    let mut after = names(&admin).await;
    assert!(after.contains(&"apportion_demo".to_owned()));
    after.retain(|name| name != "apportion_demo");
    assert_eq!(after, before);
    // A database of that name that the demo did not make is left alone.
    sqlx::query("comment on database apportion_demo is 'precious'").execute(&admin).await.expect("marked otherwise");
    let refused = tokio::task::spawn_blocking(|| run(&mut apportion(&["demo", "--events", "4000"]))).await;
    let (status, _, complaints) = refused.expect("the demo");
    assert_eq!(status, Some(3), "{complaints}");
    assert!(complaints.contains("that the demo did not make"), "{complaints}");
    sqlx::query("drop database apportion_demo with (force)").execute(&admin).await.expect("dropped");
    admin.close().await;
    database.drop_it().await;
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let name = |line: &str| line.strip_prefix("  ").filter(|it| !it.starts_with(' ')).map(first_word);
    listed.filter_map(name).filter(|name| name != "help").collect()
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn every_command_explains_itself() {
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (status, help, complaints) = run(&mut apportion(&arguments));
        assert_eq!((status, complaints.as_str()), (Some(0), ""), "{path:?}");
        assert!(help.contains("Usage: apportion"), "{path:?}: {help}");
        let inner = commands(&help);
        waiting.extend(inner.iter().map(|name| [path.clone(), vec![name.clone()]].concat()));
        seen.push(path.join(" "));
    }
    for command in [
        "serve",
        "migrate",
        "ingest",
        "replay azure-llm-2023",
        "replay exgentic-spans",
        "replay mooncake-conversation",
        "replay weka-requests",
        "generate",
        "contracts check",
        "contracts apply",
        "contracts show",
        "record",
        "settle",
        "statement list",
        "statement show",
        "statement approve",
        "statement issue",
        "statement waive",
        "invoice draw",
        "invoice list",
        "invoice show",
        "invoice pdf",
        "invoice csv",
        "config show",
        "jobs list",
        "jobs runs",
        "jobs run",
        "usage outcomes",
        "usage availability",
        "demo",
    ] {
        assert!(seen.contains(&command.to_owned()), "no {command} in {seen:?}");
    }
    let (_, help, _) = run(&mut apportion(&["--help"]));
    assert!(help.contains("Exit status:") && help.contains("Examples:"), "{help}");
}

#[test]
fn settings_of_jobs_that_make_no_sense_are_refused() {
    for (setting, expected) in [
        ("jobs.tick_seconds=0", "from 1 to 86400"),
        ("jobs.retry_seconds=0", "from 1 to 3600"),
        ("jobs.redraft_hours=0", "from 1 to 744"),
        ("jobs.close_delay_days=400", "from 0 to 366"),
        ("jobs.keep_runs_days=7", "from 8 to 36525"),
    ] {
        let (status, _, complaints) = run(&mut apportion(&["jobs", "list", "--set", setting]));
        assert!(status == Some(3) && complaints.contains(expected), "{setting}: {complaints}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_tell_what_is_wrong() {
    let database = TestDatabase::empty().await;
    let url = database.url.clone();
    let checks = tokio::task::spawn_blocking(move || {
        let check = |arguments: &[&str], expect: i32, part: &str| {
            let (status, _, complaints) = run(apportion(arguments).env("DATABASE_URL", &url));
            assert_eq!(status, Some(expect), "{arguments:?}: {complaints}");
            assert!(complaints.contains(part), "{arguments:?}: {complaints}");
        };
        check(&["settle", "--no-such-flag"], 2, "--no-such-flag");
        check(&["demo", "--events", "1"], 2, "2000");
        check(&["demo", "--contracts", "/nowhere", "--set", "database.url=postgres://127.0.0.1:1/none"], 3, "/nowhere");
        check(&[], 2, "Usage:");
        check(&["config", "show", "--set", "kafka.no_such=1"], 3, "no_such");
        let broken = shipped_copy();
        let version = broken.path().join("microsoft-openai/3.md");
        let text = std::fs::read_to_string(&version).expect("the version");
        std::fs::write(&version, text.replace("payee = \"microsoft\"", "payee = \"microsft\"")).expect("written");
        let folder = broken.path().to_str().expect("a name");
        for command in ["check", "apply"] {
            check(&["contracts", command, folder], 3, "microsoft-openai/3.md:");
        }
        check(&["contracts", "check", "contracts"], 0, "");
        check(&["contracts", "apply", "contracts"], 0, "");
        check(&["settle", "microsoft-openai", "2026-05", "--by", "ana"], 4, "figure \"Subscriptions\"");
        check(&["settle", "aws-openai", "2026-05", "--by", "ana"], 0, "");
        check(&["statement", "approve", "1", "--by", "ana"], 3, "someone else has to approve it");
        check(&["statement", "approve", "1", "--by", "ben"], 0, "");
        check(&["statement", "show", "one"], 2, "a statement's number is expected");
        check(&["statement", "show", "77"], 3, "no statement 77");
        check(&["statement", "approve", "1", "--by", " "], 2, "it is empty");
        check(&["settle", "no-such", "2026-05", "--by", "ana"], 3, "there is aws-openai");
        check(&["contracts", "show", "no-such"], 3, "there is aws-openai");
        check(&["jobs", "runs", "--contract", "no-such"], 3, "there is aws-openai");
        check(&["jobs", "run", "no-such"], 2, "there is draft-statements, draw-invoices, watch-findings");
        check(&["statement", "list", "--set", "database.url=none"], 3, "database.url");
        check(&["serve", "--set", "telemetry.log_filter=a=b=c"], 3, "telemetry.log_filter");
        for command in [["ingest", "/nowhere"], ["record", "/nowhere"]] {
            check(&command, 3, "/nowhere");
        }
        check(&["contracts", "check", "/nowhere"], 3, "/nowhere");
        let event = r#"{"specversion":"1.0","type":"apportion.usage.v1","source":"s","id":"e","time":"2026-05-03T10:00:00Z","data":{"deployment":"openai-direct","product":"gpt-5.5","quantities":{"requests":1}}}"#;
        let file = |name: &str, text: String| {
            let path = broken.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("a name").to_owned()
        };
        check(&["ingest", &file("events", format!("{event}\nno json\n"))], 4, "1 of 2 messages rejected");
        let other = event.replace("\"requests\":1", "\"requests\":2");
        check(&["ingest", &file("other", format!("\u{feff}{other}\n"))], 4, "usage conflicts");
        check(&["record", &file("nothing", "\n".to_owned())], 3, "holds no record");
        let figure = r#"{"kind":"figure","source":"s","id":"f","contract":"microsoft-openai","name":"Subscriptions","by":"openai","from":"2026-05-01","through":"2026-05-31","value":"1 USD"}"#;
        check(&["record", &file("figure", format!("\u{feff}{figure}"))], 0, "");
        check(&["record", &file("changed", figure.replace("1 USD", "2 USD"))], 3, "f of s");
        let other = figure.replace("microsoft-openai", "no-such").replace("\"id\":\"f\"", "\"id\":\"g\"");
        let beyond = file("beyond", format!("\n{other}"));
        check(&["record", &beyond], 3, "beyond:2: record g of s: no contract \"no-such\" is loaded");
        check(&["statement", "list", "--set", "database.url=mysql://a/b"], 3, "another scheme");
        check(&["statement", "list", "--set", &format!("database.url={url}_no")], 1, "which --set sets");
        let unreachable = ["statement", "list", "--set", "database.url=postgres://nobody@127.0.0.1:1/none"];
        let (status, _, complaints) = run(apportion(&unreachable).env_remove("DATABASE_URL"));
        assert_eq!(status, Some(1), "{complaints}");
        assert!(complaints.contains("127.0.0.1:1/none"), "{complaints}");
    });
    checks.await.expect("checked");
    database.drop_it().await;
}

#[test]
fn config_show_hides_secrets_and_tells_where_a_value_is_from() {
    for format in ["table", "json"] {
        let mut command = apportion(&["config", "show", "--format", format, "--set", "http.listen=127.0.0.1:4"]);
        command.env("DATABASE_URL", "postgres://me:verysecret@db.example/usage");
        command.env("APPORTION_KAFKA__PROPERTIES__SASL_PASSWORD", "verysecret");
        let (status, shown, complaints) = run(&mut command);
        assert_eq!(status, Some(0), "{complaints}");
        assert!(!shown.contains("verysecret"), "{shown}");
        for part in ["postgres://me:***@db.example/usage", "DATABASE_URL", "127.0.0.1:4"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
