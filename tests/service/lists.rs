//! Lists over HTTP: pages that are one answer whatever comes in meanwhile, three representations, and what is refused.

use crate::api_client::{Answer, Api, bearer, books, routes};
use crate::books::{APPROVER, MAKER, subscriptions};
use crate::invoices::{issued, resale, sale};
use crate::job_crashes::{until, waits};
use crate::support::{TestDatabase, correction};
use apportion::domain::access::Scope;
use apportion::domain::findings::Verdict;
use apportion::domain::ids::ContractId;
use apportion::domain::period::Instant;
use apportion::jobs::double_reports::look;
use apportion::jobs::findings::{DecideRequest, FindingFilter, decide, list};
use apportion::jobs::invoices::draw;
use apportion::jobs::settle::{SettleRequest, settle_known};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many lists the API has.
const NUMBER_OF_LISTS: usize = 19;

const SPAN: &str = "from=2026-05-03T05:00:00Z&to=2026-05-06T00:00:00Z";

fn usage(id: &str, time: &str, deployment: &str, product: &str) -> Value {
    json!({
        "specversion": "1.0", "type": "apportion.usage.v1", "source": "test", "id": id, "time": time,
        "data": {
            "deployment": deployment, "product": product, "service_tier": "default",
            "quantities": {"input_tokens": 1000, "output_tokens": 10, "requests": 1, "cache_write_5m_tokens": 2},
        },
    })
}

async fn send(api: &Api, key: &str, events: Vec<Value>) {
    let headers = [bearer(key), "content-type: application/cloudevents-batch+json".to_owned()];
    let sent = api.send("POST", "/api/v1/events", &headers, &Value::from(events).to_string()).await;
    assert_eq!(sent.status, 204, "{sent:?}");
}

/// The items of all pages from `path` on, after `meanwhile` between each two.
async fn pages(api: &Api, key: &str, path: &str, meanwhile: &mut impl AsyncFnMut()) -> Vec<Value> {
    let (mut items, mut next, mut known_at) = (Vec::new(), path.to_owned(), None);
    loop {
        let answer = api.get(&next, key).await;
        let page = answer.json();
        assert_eq!(answer.status, 200, "{next}: {page}");
        items.extend(page["items"].as_array().expect("items").clone());
        assert_eq!(answer.header("known-at"), page["known_at"].as_str(), "{next}");
        assert_eq!(page["known_at"], *known_at.get_or_insert(page["known_at"].clone()), "{next}");
        let Some(cursor) = page["next_cursor"].as_str() else { return items };
        next = format!("{path}&cursor={cursor}");
        meanwhile().await;
    }
}

async fn items(api: &Api, key: &str, path: &str) -> Vec<Value> {
    api.get(path, key).await.json()["items"].as_array().expect("items").clone()
}

/// Twelve hours on two days and three deployments, and a key that may send and read.
async fn some_usage() -> (TestDatabase, Api, String) {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Ingest], None).await;
    let mut events = Vec::new();
    for (day, hour) in [(3, 4), (3, 5), (3, 6), (3, 23), (4, 0), (4, 13), (5, 23), (6, 0)] {
        for deployment in ["bedrock-us-east-1", "azure-openai-eastus", "openai-direct"] {
            let id = format!("{deployment}-{day}-{hour}");
            events.push(usage(&id, &format!("2026-05-0{day}T{hour:02}:30:00Z"), deployment, "gpt-5.5"));
        }
    }
    send(&api, &key, events).await;
    (database, api, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_usage_and_charges_are_one_answer_while_usage_comes_in() {
    let (database, api, key) = some_usage().await;
    // In a span of six hours with usage, three deployments and four meters.
    let sums = |bucket: &str| {
        (
            format!("/api/v1/usage?{SPAN}&bucket={bucket}"),
            match bucket {
                "hour" => 6 * 3 * 4,
                "day" => 3 * 3 * 4,
                _ => 3 * 4,
            },
        )
    };
    let mut paths: Vec<_> = ["hour", "day", "total"].iter().map(|bucket| sums(bucket)).collect();
    paths.push((format!("/api/v1/usage?{SPAN}&bucket=hour&cloud=aws&meter=requests"), 6));
    paths.push((format!("/api/v1/charges?{SPAN}"), 0));
    let mut sent = 0;
    for (path, count) in paths {
        let whole = items(&api, &key, &format!("{path}&limit=1000")).await;
        assert!(if count == 0 { whole.len() > 3 } else { whole.len() == count }, "{path}: {}", whole.len());
        for limit in [2, 5, whole.len()] {
            let mut meanwhile = async || {
                sent += 1;
                // Before, at and after where the pages are, and of names that come before and after.
                let new = |deployment: &str, time: &str| usage(&format!("{sent}-{time}"), time, deployment, "gpt-5.5");
                send(
                    &api,
                    &key,
                    vec![
                        new("bedrock-us-east-1", "2026-05-03T06:10:00Z"),
                        new("azure-openai-eastus", "2026-05-03T05:10:00Z"),
                        new("openai-direct", "2026-05-05T22:10:00Z"),
                    ],
                )
                .await;
            };
            let before = items(&api, &key, &format!("{path}&limit=1000")).await;
            let paged = pages(&api, &key, &format!("{path}&limit={limit}"), &mut meanwhile).await;
            assert_eq!(paged, before, "{path} by {limit}");
        }
        assert!(sent > 0 && items(&api, &key, &format!("{path}&limit=1000")).await != whole, "{path}: the news is in");
    }
    // Nothing comes in: what is known is the same, and so is the answer.
    let path = format!("/api/v1/usage?{SPAN}");
    let known = api.get(&path, &key).await;
    let tag = format!("if-none-match: {}", known.header("etag").expect("an ETag"));
    assert_eq!(api.send("GET", &path, &[bearer(&key), tag], "").await.status, 304);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_list_goes_on_after_the_last_item_of_its_page() {
    let lines = [sale("s", "2026-05-10")];
    let database = resale(4, &lines).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Ingest], None).await;
    let last = issued(&database, "resale-4", "2026-05").await;
    for copy in [2, 1, 3] {
        let id = issued(&database, &format!("resale-{copy}"), "2026-05").await;
        draw(&database.pool, id, APPROVER).await.expect("drawn");
    }
    for name in ["a", "b", "c"] {
        send(&api, &key, vec![usage(name, "2026-05-03T05:00:00Z", name, "gpt-5.5")]).await;
        let conflict = usage(name, "2026-05-03T06:00:00Z", name, "gpt-5.5");
        send(&api, &key, vec![conflict]).await;
        let headers = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
        assert_eq!(api.send("POST", "/api/v1/events", &headers, &format!("{{\"id\":\"{name}\"}}")).await.status, 422);
        database.try_backfill(name, &[]).await;
    }
    for (list, unique, count) in [
        ("statements", "statement_id", 4),
        ("invoices", "number", 3),
        ("usage/conflicts", "conflict_id", 3),
        ("usage/rejections", "rejection_id", 3),
        ("usage/unresolved", "deployment", 3),
        ("backfills", "name", 3),
    ] {
        let path = format!("/api/v1/{list}?limit=1");
        let paged = pages(&api, &key, &path, &mut async || {}).await;
        let keys: BTreeSet<String> = paged.iter().map(|item| item[unique].to_string()).collect();
        assert_eq!((paged.len(), keys.len()), (count, count), "{list}: {paged:?}");
        assert_eq!(paged, items(&api, &key, &format!("/api/v1/{list}?limit=1000")).await, "{list}");
    }
    // A document that is drawn while somebody reads the pages moves none of the others.
    let first = api.get("/api/v1/invoices?limit=2", &key).await.json();
    draw(&database.pool, last, APPROVER).await.expect("drawn");
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let rest = items(&api, &key, &format!("/api/v1/invoices?limit=2&cursor={cursor}")).await;
    let numbers: Vec<&str> = rest.iter().map(|it| it["number"].as_str().expect("a number")).collect();
    assert_eq!(numbers, ["OPENAI-000003", "OPENAI-000004"]);
    database.drop_it().await;
}

/// The fields of an item as columns are named: those of objects with points.
fn leaves(name: &str, value: &Value, columns: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| {
            let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            leaves(&name, value, columns);
        }),
        Value::Null => {}
        _ => {
            columns.insert(name.to_owned());
        }
    }
}

/// The paths of all lists that are read, as the description has them.
fn lists(since: &str) -> Vec<String> {
    let description = serde_json::to_value(apportion::http::description()).expect("JSON");
    let is_list = |path: &str| {
        let content = &description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"];
        content["schema"]["$ref"].as_str().is_some_and(|name| name.contains("/Page_"))
    };
    let paths = description["paths"].as_object().expect("paths").keys().filter(|path| is_list(path));
    let span = |path: &str| match path.rsplit_once('/').map(|(_, name)| name) {
        Some("usage" | "charges") => SPAN.to_owned(),
        Some("ended") => format!("since={since}"),
        _ => String::new(),
    };
    paths.map(|path| format!("{}?{}", path.replace("{contract}", "microsoft-openai"), span(path))).collect()
}

/// Usage on days of its own that may be sold on AWS alone: one is decided on, one is corrected, one is open. Returns an
/// instant before the correction.
async fn some_findings(database: &TestDatabase) -> Instant {
    let agents = |day: u32| {
        let quantities = [("output_tokens", "1000000"), ("runtime_seconds", "3600")];
        let time = format!("2026-05-{day}T12:00:00Z");
        crate::books::usage(&time, &time, "vertex-us-central1", "bedrock-managed-agents", &quantities)
    };
    database.ingest(&[12, 13, 14].map(agents)).await;
    let open = list(&database.pool, &FindingFilter::default(), None, None).await.expect("a list").findings;
    let (finding, by) = (open[0].id.clone(), APPROVER.to_owned());
    let reason = "as agreed".to_owned();
    let request = DecideRequest { finding, verdict: Verdict::Release, by, reason, known_at: None };
    decide(&database.pool, &request).await.expect("decided");
    let before = database.watermark().await;
    let on_aws = r#""deployment":"bedrock-us-east-1""#;
    database.ingest(&[correction("on-aws", "2026-05-14T12:00:00Z", on_aws)]).await;
    before
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_json_csv_or_json_lines() {
    let database = resale(2, &[sale("s", "2026-05-10"), sale("t", "2026-05-04")]).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Ingest], None).await;
    let as_wanted =
        async |path: &str, accept: &str| api.send("GET", path, &[bearer(&key), format!("accept: {accept}")], "").await;
    let empty = lists("2026-05-01T00:00:00Z");
    assert_eq!(empty.len(), NUMBER_OF_LISTS, "{empty:?}");
    let mut heads = Vec::new();
    for path in empty {
        let csv = as_wanted(&path, "text/csv").await;
        assert_eq!((csv.status, csv.header("content-type")), (200, Some("text/csv; charset=utf-8")), "{path}: {csv:?}");
        heads.push(csv.text.lines().next().unwrap_or_else(|| panic!("{path}: no head")).to_owned());
        assert_eq!(as_wanted(&path, "text/html").await.status, 406, "{path}");
    }
    // With something in each of them the columns are the same, and hold every field.
    let since = some_findings(&database).await.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    database.record(&[subscriptions("may", "2026-05", 31, "0")]).await;
    issued(&database, "microsoft-openai", "2026-05").await;
    let id = issued(&database, "resale-1", "2026-05").await;
    draw(&database.pool, id, APPROVER).await.expect("drawn");
    database.import_some_costs().await;
    database.try_backfill("late", &[crate::support::event("late", 1, 1)]).await;
    apportion::jobs::schedule::tick(
        &database.pool,
        &crate::jobs::schedule(),
        apportion::domain::schedule::Job::ExpireAnswers,
        chrono::Utc::now(),
        crate::jobs::IMPATIENT,
    )
    .await
    .expect("it ran");
    let named = |name: &str| usage("a", "2026-05-03T05:00:00Z", name, "gpt-5.5");
    send(&api, &key, vec![named("=HYPERLINK(1)"), named("b")]).await;
    let twice = ["first", "second"].map(|id| {
        let mut event = usage(id, "2026-05-03T05:00:00Z", "openai-direct", "gpt-5.5");
        event["data"]["reply_id"] = "reply".into();
        event
    });
    send(&api, &key, twice.to_vec()).await;
    assert_eq!(look(&database.pool).await.expect("looked"), Some(1));
    let headers = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
    assert_eq!(api.send("POST", "/api/v1/events", &headers, "{}").await.status, 422);
    for (path, head) in lists(&since).iter().zip(heads) {
        let items = as_wanted(path, "application/json").await.json()["items"].as_array().expect("items").clone();
        let lines = as_wanted(path, "application/x-ndjson").await;
        let of_lines: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        // When a job that is due runs next is now, each time it is asked.
        let still = |items: &[Value]| {
            let mut items = items.to_vec();
            items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| drop(item.remove("next_at")));
            items
        };
        assert_eq!(still(&of_lines), still(&items), "{path}");
        assert!(!items.is_empty(), "{path} lists nothing");
        let csv = as_wanted(path, "text/csv").await.text;
        assert_eq!(csv.lines().next(), Some(head.as_str()), "{path}");
        let columns: BTreeSet<String> = head.split(',').map(str::to_owned).collect();
        let mut fields = BTreeSet::new();
        items.iter().for_each(|item| leaves("", item, &mut fields));
        let missing: Vec<&String> = fields
            .iter()
            // What is in a list or of no described shape is one cell.
            .filter(|field| !columns.iter().any(|column| column == *field || field.starts_with(&format!("{column}."))))
            .collect();
        assert!(missing.is_empty(), "{path}: no column for {missing:?} in {head}");
        assert_eq!(csv::Reader::from_reader(csv.as_bytes()).into_records().count(), items.len(), "{path}");
    }
    let unresolved = as_wanted("/api/v1/usage/unresolved", "text/csv").await.text;
    assert!(unresolved.contains("test,'=HYPERLINK(1),gpt-5.5,false,true,1,"), "{unresolved}");
    database.drop_it().await;
}

fn is_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")), "{what}");
    let problem = answer.json();
    assert_eq!(problem["status"], json!(status), "{what}");
    assert!(!problem["detail"].as_str().expect("words").contains("`apportion"), "{what}: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_is_a_problem() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", Scope::ALL, None).await;
    let event = "content-type: application/cloudevents+json".to_owned();
    // One byte more than a body may have.
    let long = " ".repeat((16 << 20) + 1);
    for headers in [vec![bearer(&key), event.clone()], vec![bearer(&key), event, "idempotency-key: a".to_owned()]] {
        is_problem(&api.send("POST", "/api/v1/events", &headers, &long).await, 413, "an event that is too long");
    }
    let json = [bearer(&key), "content-type: application/json".to_owned()];
    let settle = "/api/v1/contracts/aws-openai/settlements";
    is_problem(&api.send("POST", settle, &json, &long).await, 413, "a body that is too long");
    is_problem(&api.send("POST", settle, &json, "{").await, 400, "a body that is no JSON");
    is_problem(&api.send("POST", settle, &json, "{}").await, 422, "a body without what is needed");
    let text = [bearer(&key), "content-type: text/plain".to_owned()];
    for path in ["/api/v1/events", settle, "/api/v1/statements/1/dispute"] {
        is_problem(&api.send("POST", path, &text, "x").await, 415, path);
    }
    for path in ["/", "/api", "/api/v2/usage", "/api/v1/contracts/%FF", "/healthz/x", "/api/v1/statements/x"] {
        is_problem(&api.get(path, &key).await, 404, path);
    }
    for path in routes().into_iter().map(|(_, path, _)| path).chain(["/healthz".to_owned(), "/metrics".to_owned()]) {
        let refused = api.send("DELETE", &path, &[bearer(&key)], "").await;
        is_problem(&refused, 405, &path);
        assert!(refused.header("allow").is_some(), "{path}");
    }
    // What jobs refuse speaks of the API, not of the command line.
    for (path, status) in [
        ("/api/v1/statements/7/approve", 404),
        ("/api/v1/statements/7/invoices", 404),
        ("/api/v1/contracts/none/settlements", 404),
    ] {
        let refused = api.send("POST", path, &json, r#"{"period":"2026-05"}"#).await;
        is_problem(&refused, status, path);
    }
    for path in ["/api/v1/statements/7", "/api/v1/invoices/X-1", "/api/v1/findings/0123456789abcdef"] {
        is_problem(&api.get(path, &key).await, 404, path);
    }
    database.drop_it().await;
}

/// Such as one of a database that was restored to an earlier state since.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_later_time_is_refused() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let meters = [("input_tokens", "1"), ("output_tokens", "1")];
    database.ingest(&[crate::books::usage("a", "2026-05-03T05:00:00Z", "bedrock-us-east-1", "gpt-5.5", &meters)]).await;
    for route in ["usage", "charges"] {
        let page = api.get(&format!("/api/v1/{route}?{SPAN}&limit=1"), &key).await.json();
        let cursor = apportion::domain::hex::unhex(page["next_cursor"].as_str().expect("more")).expect("hex");
        let mut cursor: Value = serde_json::from_slice(&cursor).expect("JSON");
        cursor[0] = json!("2999-01-01T00:00:00Z");
        let cursor = apportion::domain::hex::hex(cursor.to_string().as_bytes());
        let answer = api.get(&format!("/api/v1/{route}?{SPAN}&cursor={cursor}"), &key).await;
        assert!(answer.status == 400 && answer.text.contains("of a later time"), "{route}: {answer:?}");
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_takes_too_long_is_ended_and_says_what_to_do() {
    let database = books().await;
    let api = Api::with_read_timeout(&database.pool, Duration::from_millis(300)).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let partner = api.key("aws-audit", &[Scope::Read], Some("aws")).await;
    // Whoever reads usage waits for this transaction.
    let mut transaction = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql("lock table usage_rollup in access exclusive mode").execute(&mut *transaction).await.expect("locked");
    for (path, key) in [("usage", &key), ("charges", &key), ("usage", &partner)] {
        let asked = std::time::Instant::now();
        let slow = api.get(&format!("/api/v1/{path}?{SPAN}"), key).await;
        is_problem(&slow, 503, path);
        assert_eq!(slow.json()["type"], "urn:apportion:problem:too-slow", "{path}");
        assert!(slow.json()["detail"].as_str().expect("words").contains("a shorter span"), "{slow:?}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    }
    // Nothing else is held up, and with the lock gone it is answered.
    assert_eq!(api.get("/api/v1/contracts", &key).await.status, 200);
    transaction.rollback().await.expect("rolled back");
    assert_eq!(api.get(&format!("/api/v1/usage?{SPAN}"), &key).await.status, 200);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_statements_misses_none_that_is_committed_later() {
    let database = resale(3, &[sale("s", "2026-05-10")]).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let request = |contract: &str| SettleRequest {
        contract: ContractId::from(contract),
        period: "2026-05".parse().expect("a period"),
        cutoff: None,
        by: MAKER.into(),
        keep_approvals: false,
    };
    let known_at = database.watermark().await;
    let mut slow = database.pool.begin().await.expect("a transaction");
    let first = settle_known(&mut *slow, &request("resale-1"), known_at).await.expect("settled").drafted[0].0;
    let others = {
        let (pool, requests) = (database.pool.clone(), [request("resale-2"), request("resale-3")]);
        tokio::spawn(async move {
            for request in requests {
                settle_known(&pool, &request, known_at).await.expect("settled");
            }
        })
    };
    // The second takes no id before the first is committed: it could be seen, and the first missed.
    until("it waits", async || waits(&database, "insert into statement ").await).await;
    let follow = async |seen: &mut Vec<i64>| {
        let after = seen.last().map(|id| format!("&cursor={}", apportion::domain::hex::hex(id.to_string().as_bytes())));
        let page = api.get(&format!("/api/v1/statements?limit=1{}", after.unwrap_or_default()), &key).await.json();
        seen.extend(page["items"].as_array().expect("items").iter().filter_map(|it| it["statement_id"].as_i64()));
    };
    let mut seen = Vec::new();
    follow(&mut seen).await;
    assert_eq!(seen, [0_i64; 0]);
    slow.commit().await.expect("committed");
    others.await.expect("settled");
    for _ in 0..4 {
        follow(&mut seen).await;
    }
    assert_eq!((seen.len(), seen[0]), (3, first), "{seen:?}");
    database.drop_it().await;
}
