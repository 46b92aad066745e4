//! `apportion backfill` as a program: killed midway and resumed, what it prints, how it ends; and what the API tells.

use crate::api_client::Api;
use crate::backfills::{CONTRACT, file};
use crate::books::{subscriptions, usage};
use crate::settlement::history;
use crate::support::{TestDatabase, event};
use apportion::domain::access::Scope;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn command(database: &TestDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command.arg("backfill").args(arguments).env("DATABASE_URL", &database.url).env_remove("APPORTION_USER");
    command.stdin(Stdio::null());
    command
}

/// Its exit status, and what it printed and told.
fn ran(database: &TestDatabase, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(database, arguments).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn answer(database: &TestDatabase, arguments: &[&str], status: i32) -> Value {
    let (ended, told, complaint) = ran(database, &[arguments, &["--format", "json"]].concat());
    assert_eq!(ended, Some(status), "{arguments:?}: {told} {complaint}");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"))
}

fn applying<'a>(path: &'a Path, name: &'a str) -> Vec<&'a str> {
    let path = path.to_str().expect("a path");
    vec!["apply", path, "--name", name, "--reason", "an outage", "--by", "ana"]
}

/// Kills what a command does once so many rows are there, and does it again to its end.
async fn killed_midway(database: &TestDatabase, arguments: &[&str], rows: &'static str) -> i64 {
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut killed = quiet(&mut command(database, arguments));
    let deadline = Instant::now() + Duration::from_secs(120);
    while database.number(rows).await == 0 {
        assert!(Instant::now() < deadline, "{arguments:?}: nothing is stored");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    killed.kill().expect("killed");
    killed.wait().expect("it ended");
    let before = database.number(rows).await;
    let ended = quiet(&mut command(database, arguments)).wait().expect("it ended");
    assert!(ended.success(), "{arguments:?}: {ended:?}");
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_and_a_revert_that_were_killed_midway_go_on_and_count_once() {
    let database = TestDatabase::new().await;
    let lines: Vec<String> = (0..60_000).map(|n| event(&format!("e{n}"), 1, 0)).collect();
    let (_folder, path) = file(&lines);
    let events = "select count(*) from usage_event";
    let before = killed_midway(&database, &applying(&path, "big"), events).await;
    println!("{before} events were stored when it was killed");
    let (backfill, history, counts) = database.backfill("big").await;
    // Nothing that was stored was read again.
    assert_eq!((backfill.messages, counts.stored, counts.duplicate), (60_000, 60_000, 0));
    assert_eq!(history.len(), 2, "{history:?}");
    assert_eq!(database.number("select count(*) from file_position").await, 0);
    let reverting = ["revert", "big", "--reason", "twice", "--by", "ben"];
    let before = killed_midway(&database, &reverting, "select count(*) from usage_amendment").await;
    println!("{before} events were taken back when it was killed");
    let (backfill, history, _) = database.backfill("big").await;
    assert_eq!((backfill.taken_back, backfill.status.name()), (60_000, "reverted"));
    assert_eq!(history.len(), 2 + 3, "{history:?}");
    assert_eq!(database.number("select count(*) from usage_amendment").await, 60_000);
    assert_eq!(database.number("select sum(events)::bigint from usage_rollup").await, 0);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_what_changes_and_ends_as_it_says() {
    let database = history().await;
    database.record(&[subscriptions("june", "2026-06", 30, "0")]).await;
    let output = [("output_tokens", "1000000")];
    let late = usage("late", "2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    let conflict = usage("direct", "2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    let (_folder, path) = file(&[late, conflict, "{}".to_owned()]);
    let preview = ["preview", path.to_str().expect("a path")];
    let (status, told, complaint) = ran(&database, &preview);
    assert_eq!(status, Some(4), "{told} {complaint}");
    for expected in [
        "revenue-share  openai to microsoft  2026-05  201.00 USD  207.00 USD    6.00 USD  2026-05",
        "backfill.jsonl:2",
        "what stands under direct of test has other content",
        "backfill.jsonl:3",
        &format!("In all under {CONTRACT}, openai to microsoft: 6.00 USD"),
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(complaint.contains("1 would be rejected, and there would be 1 conflict"), "{complaint}");
    let json = answer(&database, &preview, 4);
    assert_eq!(json["counts"]["stored"], 1, "{json}");
    let change = &json["effects"][0]["changes"][0];
    assert_eq!(
        (&change["difference"], &change["currency"], &change["booked_in"]),
        (&json!("6"), &json!("USD"), &json!("2026-05"))
    );
    assert_eq!(database.number("select count(*) from backfill").await, 0);
    // Who did it and why has to be said, under a name that can be one.
    let path_text = path.to_str().expect("a path");
    for missing in [["apply", path_text, "--name", "late"].as_slice(), &["apply", path_text, "--name", "a/b"]] {
        assert_eq!(ran(&database, missing).0, Some(2), "{missing:?}");
    }
    let applied = answer(&database, &applying(&path, "late"), 4);
    assert_eq!((&applied["backfill"]["status"], &applied["counts"]["conflict"]), (&json!("applied"), &json!(1)));
    let (_other_folder, other) = file(&[event("x", 1, 1)]);
    let (status, _, complaint) = ran(&database, &applying(&other, "late"));
    assert!(status == Some(3) && complaint.contains("is of another file, backfill.jsonl"), "{complaint}");
    assert_eq!(answer(&database, &["preview-revert", "late"], 0)["effects"][0]["changes"][0]["difference"], "-6");
    let reverted = answer(&database, &["revert", "late", "--reason", "twice", "--by", "ben"], 0);
    assert_eq!((&reverted["taken_back"], &reverted["kept"]), (&json!(1), &json!([])));
    let shown = answer(&database, &["show", "late"], 0);
    let statuses: Vec<&str> =
        shown["history"].as_array().expect("a list").iter().filter_map(|it| it["status"].as_str()).collect();
    assert_eq!(statuses, ["applying", "applied", "reverting", "reverted"]);
    for (arguments, expected) in [
        (["show", "late"].as_slice(), "reverted"),
        (&["list"], "an outage"),
        (
            &["preview-revert", "late"],
            "0 messages would be taken back; 1 message has no effect any more; 0 messages stay.",
        ),
    ] {
        let (status, told, complaint) = ran(&database, arguments);
        assert!(status == Some(0) && told.contains(expected), "{arguments:?}: {told} {complaint}");
    }
    let (status, _, complaint) = ran(&database, &["show", "none"]);
    assert!(status == Some(3) && complaint.contains("`apportion backfill list`"), "{complaint}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lists_and_shows_backfills_to_all_but_partners() {
    let database = history().await;
    for name in ["one", "two", "three"] {
        database.try_backfill(name, &[event(name, 1, 1)]).await;
    }
    database.revert("two").await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let first = api.get("/api/v1/backfills?limit=2", &key).await.json();
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let rest = api.get(&format!("/api/v1/backfills?limit=2&cursor={cursor}"), &key).await.json();
    let names: Vec<&str> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().expect("items"))
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(names, ["three", "two", "one"]);
    let shown = api.get("/api/v1/backfills/two", &key).await.json();
    assert_eq!(
        (&shown["status"], &shown["taken_back"], &shown["begun_by"]),
        (&json!("reverted"), &json!(1), &json!("ana"))
    );
    assert_eq!(shown["history"].as_array().expect("a list").len(), 4);
    assert!(
        shown["outcomes"].as_array().expect("a list").contains(&json!({"outcome": "stored_unresolved", "messages": 1}))
    );
    assert_eq!(api.get("/api/v1/backfills/none", &key).await.status, 404);
    let [partner, _] = api.partners().await;
    for path in ["/api/v1/backfills", "/api/v1/backfills/two"] {
        assert_eq!(api.get(path, &partner).await.status, 403, "{path}");
    }
    database.drop_it().await;
}
