//! The API over a socket: who may ask what, pages and representations, ETags, idempotency keys, problems.

use crate::api_client::{Api, bearer, books, routes};

use crate::api_client::usage;
use apportion::domain::access::Scope;
use apportion::store::access::{list_keys, revoke_key};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const BATCH: &str = "content-type: application/cloudevents-batch+json";
/// Asks what became of the events.
const TELL: &str = "prefer: return=representation";

#[tokio::test(flavor = "multi_thread")]
async fn usage_goes_in_and_an_agreed_statement_comes_out() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let send = api.key("collector", &[Scope::Ingest], None).await;
    let ana = api.key("ana", &[Scope::Read, Scope::Settle, Scope::Approve], None).await;
    let ben = api.key("ben", &[Scope::Read, Scope::Approve], None).await;
    let [aws, google] = api.partners().await;
    let batch = json!([usage("e1"), usage("e2"), usage("e1")]);
    let headers = [&bearer(&send), BATCH, TELL].map(str::to_owned);
    let sent = api.send("POST", "/api/v1/events", &headers, &batch.to_string()).await;
    assert_eq!(
        (sent.status, sent.json()),
        (200, json!({"messages": 3, "outcomes": {"stored": 2, "duplicate": 1}})),
        "{sent:?}"
    );
    // One that is wrong is told of, and the other one is taken in.
    let batch = json!([usage("e3"), {"specversion": "1.0"}]);
    let sent = api.send("POST", "/api/v1/events", &headers, &batch.to_string()).await;
    assert_eq!((sent.status, sent.header("content-type")), (422, Some("application/problem+json")));
    assert_eq!(sent.json()["outcomes"], json!({"rejected": 1, "stored": 1}));
    assert!(sent.json()["rejections"][0]["position"].as_str().expect("a place").ends_with(":2"), "{sent:?}");

    let path = "/api/v1/usage?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z&meter=input_tokens";
    let expected = json!([{
        "starts_at": "2026-05-01T00:00:00Z", "cloud": "aws", "channel": "bedrock",
        "deployment": "bedrock-us-east-1", "product": "gpt-5.5", "service_tier": "default",
        "meter": "input_tokens", "quantity": "3000000",
    }]);
    assert_eq!(api.get(path, &ana).await.json()["items"], expected);
    assert_eq!(api.get(path, &aws).await.json()["items"], expected);
    assert_eq!(api.get(path, &google).await.json()["items"], json!([]));

    let settled = api.post("/api/v1/contracts/aws-openai/settlements", &ana, &json!({"period": "2026-05"})).await;
    assert_eq!(settled.status, 200, "{settled:?}");
    let id = settled.json()["statements"][0].as_i64().expect("a statement");
    let statement = format!("/api/v1/statements/{id}");
    // A draft is ours alone.
    assert_eq!((api.get(&statement, &ana).await.status, api.get(&statement, &aws).await.status), (200, 404));
    assert_eq!(api.post(&format!("{statement}/dispute"), &aws, &json!({"reason": "why"})).await.status, 404);
    assert_eq!(
        api.post(&format!("{statement}/approve"), &ana, &json!(null)).await.json()["type"],
        "urn:apportion:problem:own-draft"
    );
    // What was seen is approved, and nothing else.
    let seen = api.get(&statement, &ben).await.header("etag").expect("an ETag").to_owned();
    let stale =
        api.send("POST", &format!("{statement}/approve"), &[bearer(&ben), "if-match: \"7-draft\"".into()], "").await;
    assert_eq!((stale.status, stale.json()["etag"].as_str()), (412, Some(seen.trim_matches('"'))), "{stale:?}");
    let approved =
        api.send("POST", &format!("{statement}/approve"), &[bearer(&ben), format!("if-match: {seen}")], "").await;
    assert_eq!((approved.status, approved.json()["status"].as_str()), (200, Some("approved")));
    assert_eq!(api.post(&format!("{statement}/issue"), &ben, &json!(null)).await.status, 200);
    // The two parties see what was issued, and answer it; another does not.
    for (key, status) in [(&aws, 200), (&google, 404)] {
        assert_eq!(api.get(&statement, key).await.status, status);
        let listed = api.get("/api/v1/statements", key).await.json()["items"].as_array().expect("items").len();
        assert_eq!(listed, usize::from(status == 200));
        let disputed = api.post(&format!("{statement}/dispute"), key, &json!({"reason": "a refund is missing"})).await;
        assert_eq!(disputed.status, status, "{disputed:?}");
    }
    assert_eq!(api.post(&format!("{statement}/pay"), &ben, &json!({"reason": "paid"})).await.status, 409);
    assert_eq!(api.post(&format!("{statement}/agree"), &aws, &json!({"reason": "found it"})).await.status, 200);
    // A tag never comes back: what was seen as agreed before a dispute is not what is agreed now.
    let agreed = api.get(&statement, &ben).await.header("etag").expect("an ETag").to_owned();
    for step in ["dispute", "agree"] {
        assert_eq!(api.post(&format!("{statement}/{step}"), &aws, &json!({"reason": "again"})).await.status, 200);
    }
    let headers = [bearer(&ben), "content-type: application/json".to_owned(), format!("if-match: {agreed}")];
    let stale = api.send("POST", &format!("{statement}/pay"), &headers, r#"{"reason":"paid"}"#).await;
    assert_eq!(stale.status, 412, "{stale:?}");
    assert_eq!(
        api.post(&format!("{statement}/pay"), &ben, &json!({"reason": "paid"})).await.json()["status"],
        "settled"
    );
    check_history(&api, &statement, &ana, &aws).await;
    check_invoices(&api, &statement, &ana, &aws, &google).await;
    check_who_sees_what(&api, &ben, &aws, &google).await;
    database.drop_it().await;
}

/// Each status tells who set it and with which key; the partner sees those since the issue, and nothing of others.
async fn check_history(api: &Api, statement: &str, ana: &str, aws: &str) {
    let long = json!({"reason": "x".repeat(2001)});
    let refused = api.post(&format!("{statement}/dispute"), aws, &long).await;
    assert_eq!((refused.status, refused.json()["type"].as_str()), (422, Some("urn:apportion:problem:wrong-body")));
    let told = |seen: &Value| -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let changes = seen["history"].as_array().expect("a history").iter();
        changes.map(|it| [&it["status"], &it["changed_by"], &it["party"]].map(text).join(" ")).collect()
    };
    let ours = api.get(statement, ana).await.json();
    let theirs = api.get(statement, aws).await.json();
    let answers = ["disputed aws-audit aws", "agreed aws-audit aws", "disputed aws-audit aws", "agreed aws-audit aws"];
    let since_issue = [&["issued ben -"], answers.as_slice(), &["settled ben -"]].concat();
    assert_eq!(told(&ours), [&["draft ana -", "approved ben -"], since_issue.as_slice()].concat());
    assert_eq!(told(&theirs), since_issue);
    let keys: BTreeSet<&str> =
        ours["history"].as_array().expect("a history").iter().filter_map(|it| it["key_id"].as_str()).collect();
    assert_eq!(keys.len(), 3);
    for change in theirs["history"].as_array().expect("a history") {
        assert_eq!(change["key_id"].is_string(), change["party"] == json!("aws"), "{change}");
    }
    // What no mapping knows, of whatever source, is ours alone.
    assert_eq!((&ours["unresolved_events"], theirs.get("unresolved_events")), (&json!(0), None));
    assert_eq!(theirs["statement"].get("unresolved_events"), None);
    assert_eq!((&ours["contract"], ours.get("contract_id")), (&json!("aws-openai"), None));
}

/// An invoice is drawn once, and read in three forms by who is party to it.
async fn check_invoices(api: &Api, statement: &str, ana: &str, aws: &str, google: &str) {
    let drawn = api.post(&format!("{statement}/invoices"), ana, &json!(null)).await.json();
    let again = api.post(&format!("{statement}/invoices"), ana, &json!(null)).await.json();
    assert_eq!((&drawn["is_new"], &again["is_new"]), (&json!(true), &json!(false)));
    assert_eq!(drawn["invoices"], again["invoices"]);
    let path = format!("/api/v1/invoices/{}", drawn["invoices"][0]["number"].as_str().expect("a number"));
    for (accept, start) in [("application/json", "{"), ("text/csv", "number,kind,issuer"), ("application/pdf", "%PDF-")]
    {
        let headers = |key: &str| [bearer(key), format!("accept: {accept}")];
        let invoice = api.send("GET", &path, &headers(aws), "").await;
        assert!(invoice.status == 200 && invoice.text.starts_with(start), "{accept}: {}", invoice.status);
        assert_eq!(api.send("GET", &path, &headers(google), "").await.status, 404);
    }
}

/// What there is, an unbound key sees; the partner sees its own, and another partner nothing of it.
async fn check_who_sees_what(api: &Api, unbound: &str, aws: &str, google: &str) {
    let span = "from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z";
    let usage = format!("usage?{span}");
    for path in
        ["statements", "invoices", "contracts", "contracts/aws-openai", "contracts/aws-openai/versions/1", &usage]
    {
        let path = format!("/api/v1/{path}");
        for key in [unbound, aws] {
            let seen = api.get(&path, key).await;
            assert!(seen.status == 200 && seen.text.contains("aws"), "{path}: {seen:?}");
        }
        let hidden = api.get(&path, google).await;
        assert!([200, 404].contains(&hidden.status) && !hidden.text.contains("\"aws\""), "{path}: {hidden:?}");
    }
    let inside = ["findings", "jobs", "jobs/runs", "usage/outcomes", "usage/rejections", "usage/unresolved"];
    for path in inside {
        let path = format!("/api/v1/{path}");
        assert_eq!((api.get(&path, unbound).await.status, api.get(&path, aws).await.status), (200, 403), "{path}");
    }
    let charges = api.get(&format!("/api/v1/charges?{span}"), unbound).await.json();
    let of_input = |it: &&Value| it["meter"] == "input_tokens";
    let input: Vec<&Value> = charges["items"].as_array().expect("items").iter().filter(of_input).collect();
    // 3 x 1,000,000 tokens of input, each request above 272,000: 11 USD a million on Bedrock
    assert_eq!((input.len(), &input[0]["amount"], &input[0]["currency"]), (1, &json!("33"), &json!("USD")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_a_key_without_its_scope() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    for (method, path, scopes) in routes() {
        assert_eq!(api.send(&method, &path, &[], "").await.status, 401, "{method} {path} without a key");
        let others: Vec<Scope> =
            Scope::ALL.iter().copied().filter(|scope| !scopes.contains(&scope.to_string())).collect();
        let key = api.key("other", &others, None).await;
        let refused = api.send(&method, &path, &[bearer(&key)], "").await;
        assert_eq!(refused.status, 403, "{method} {path}: {refused:?}");
        match refused.json() {
            // OTLP's `Status` has no other fields.
            status if path == "/v1/traces" => {
                let why = format!("The key may not do this: this needs a key with the scope {}", scopes[0]);
                assert_eq!(status, json!({"message": why}));
            }
            problem => assert_eq!(problem["scope"], json!(scopes[0]), "{method} {path}"),
        }
    }
    let revoked = api.key("gone", Scope::ALL, None).await;
    let id = list_keys(&database.pool).await.expect("keys").remove(0).key_id;
    assert!(revoke_key(&database.pool, &id, "test").await.expect("revoked"));
    assert_eq!(api.get("/api/v1/contracts", &revoked).await.status, 401);
    assert_eq!(api.get("/api/v1/contracts", "apk_0123456789abcdef_00").await.status, 401);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_key_sees_nothing_of_others_on_any_route() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("google-audit", &[Scope::Read, Scope::Approve], Some("google")).await;
    for (method, path, _) in routes() {
        let span = "?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z";
        let path = if path.ends_with("/usage") || path.ends_with("/charges") { path + span } else { path };
        let headers = [bearer(&key), "content-type: application/json".to_owned()];
        let answer = api.send(&method, &path, &headers, r#"{"reason":"why"}"#).await;
        match answer.status {
            // Nothing of it, or none of its business.
            403 | 404 => {}
            200 => {
                let items =
                    answer.json()["items"].as_array().unwrap_or_else(|| panic!("{method} {path}: {answer:?}")).clone();
                let others: Vec<&Value> =
                    items.iter().filter(|item| !item.to_string().contains("\"google\"")).collect();
                assert!(others.is_empty(), "{method} {path}: {others:?}");
            }
            other => panic!("{method} {path}: {other} {answer:?}"),
        }
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_hides_what_concerns_others() {
    let database = books().await;
    let tables = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind = 'r' and has_table_privilege('apportion_partner', c.oid, 'select')
          and not c.relrowsecurity";
    assert_eq!(database.number(tables).await, 0, "a table that the role reads has no policy");
    let writes = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'public' and c.relkind = 'r'
          and has_table_privilege('apportion_partner', c.oid, 'insert, update, delete, truncate')";
    assert_eq!(database.number(writes).await, 0, "the role may write");
    // What runs as the owner looks nothing up in the schemas of who calls it, and is not for everybody.
    let definers = "select count(*) from pg_proc p where prosecdef and (
        not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)
        or has_function_privilege('apportion_readonly', p.oid, 'execute'))";
    assert_eq!(database.number(definers).await, 0, "a function that runs as the owner can be led astray");
    let mut transaction = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql("set local role apportion_partner").execute(&mut *transaction).await.expect("the role");
    // Without a party nothing is seen.
    let tables = ["contract_version", "contract_term", "statement", "deployment", "usage_dimension"];
    for table in tables.into_iter().chain(["usage_rollup", "usage_rollup_row"]) {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let seen: i64 = sqlx::query_scalar(sql).fetch_one(&mut *transaction).await.expect("a count");
        assert_eq!(seen, 0, "{table}");
    }
    drop(transaction);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_names_itself_is_done_once() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Settle, Scope::Ingest], None).await;
    let path = "/api/v1/contracts/aws-openai/settlements";
    let headers =
        |name: &str| [bearer(&key), "content-type: application/json".to_owned(), format!("idempotency-key: {name}")];
    let body = r#"{"period":"2026-05"}"#;
    let first = api.send("POST", path, &headers("a"), body).await;
    let again = api.send("POST", path, &headers("a"), body).await;
    assert_eq!((first.status, again.status, &first.text), (200, 200, &again.text));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    let other = api.send("POST", path, &headers("a"), r#"{"period":"2026-06"}"#).await;
    assert_eq!(other.json()["type"], "urn:apportion:problem:idempotency-key-reused");
    // Side by side: one does it, the others are answered alike or told to wait.
    let mut tries = tokio::task::JoinSet::new();
    let api = Arc::new(api);
    for _ in 0..8 {
        let (api, headers) = (Arc::clone(&api), headers("b"));
        tries.spawn(async move { api.send("POST", path, &headers, body).await.status });
    }
    let statuses: BTreeSet<u16> = tries.join_all().await.into_iter().collect();
    assert!(statuses.contains(&200) && statuses.is_subset(&BTreeSet::from([200, 409])), "{statuses:?}");
    assert_eq!(database.number("select count(*) from settlement").await, 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_as_they_are_wanted() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Ingest], None).await;
    let sent = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
    assert_eq!(api.send("POST", "/api/v1/events", &sent, &usage("e1").to_string()).await.status, 204);
    let path = "/api/v1/usage?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z&bucket=day";
    let mut meters = Vec::new();
    let mut next = format!("{path}&limit=2");
    loop {
        let page = api.get(&next, &key).await.json();
        let items = page["items"].as_array().expect("items").clone();
        meters.extend(items.iter().map(|item| item["meter"].as_str().expect("a meter").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{path}&limit=2&cursor={cursor}");
    }
    assert_eq!(meters, ["input_tokens", "output_tokens", "requests"]);
    let csv = api.send("GET", &format!("{path}&limit=2"), &[bearer(&key), "accept: text/csv".to_owned()], "").await;
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines[0], "starts_at,cloud,channel,deployment,product,service_tier,meter,quantity");
    assert_eq!(lines[1], "2026-05-03T00:00:00Z,aws,bedrock,bedrock-us-east-1,gpt-5.5,default,input_tokens,1000000");
    let cursor =
        api.get(&format!("{path}&limit=2"), &key).await.json()["next_cursor"].as_str().expect("one").to_owned();
    let link = csv.header("link").expect("a link");
    assert!(link.ends_with(&format!("limit=2&cursor={cursor}>; rel=\"next\"")), "{csv:?}");
    let rows = api.send("GET", path, &[bearer(&key), "accept: application/x-ndjson".to_owned()], "").await;
    assert_eq!(rows.text.lines().count(), 3);
    // What is known already is not sent again.
    let known = api.get(path, &key).await;
    let tag = format!("if-none-match: {}", known.header("etag").expect("an ETag"));
    let same = api.send("GET", path, &[bearer(&key), tag], "").await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    for (path, accept, status) in [
        (path, "text/html", 406),
        ("/api/v1/usage?from=x&to=y", "*/*", 400),
        ("/api/v1/usage?from=-4713-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "*/*", 400),
        ("/api/v1/usage?from=2026-05-01T00:30:00Z&to=2026-06-01T00:00:00Z", "*/*", 400),
        ("/api/v1/statements?limit=0", "*/*", 400),
        ("/api/v1/statements?cursor=x", "*/*", 400),
        ("/api/v1/statements?status=x", "*/*", 400),
        // A name that is misspelt would list everything.
        ("/api/v1/statements?contarct=aws-openai", "*/*", 400),
        ("/api/v1/contracts?x=1", "*/*", 400),
        ("/api/v1/invoices?payer=%00", "*/*", 400),
        ("/api/v1/contracts/%00", "*/*", 400),
        ("/api/v1/statements/x", "*/*", 404),
        ("/api/v1/statements/999", "*/*", 404),
        ("/api/v1/contracts/x/caps", "*/*", 404),
        ("/api/v1/x", "*/*", 404),
    ] {
        let answer = api.send("GET", path, &[bearer(&key), format!("accept: {accept}")], "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
    }
    let wrong = api.send("DELETE", "/api/v1/statements", &[bearer(&key)], "").await;
    assert_eq!((wrong.status, wrong.header("allow").is_some()), (405, true));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_listed_with_what_stands() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Ingest], None).await;
    let headers = [bearer(&key), "content-type: application/cloudevents+json".to_owned()];
    let mut changed = usage("e1");
    changed["data"]["quantities"]["output_tokens"] = json!(7);
    for event in [usage("e1"), changed.clone()] {
        assert_eq!(api.send("POST", "/api/v1/events", &headers, &event.to_string()).await.status, 204);
    }
    let listed = api.get("/api/v1/usage/conflicts", &key).await.json();
    let output = |content: &str| listed["items"][0][content]["data"]["quantities"]["output_tokens"].clone();
    assert_eq!((output("reported"), output("stands")), (json!("7"), json!("10000")), "{listed}");
    assert_eq!(listed["items"][0]["stands"]["id"], "e1");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_read_as_the_standards_say() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let ana = api.key("ana", Scope::ALL, None).await;
    let ben = api.key("ben", Scope::ALL, None).await;
    let settle = "/api/v1/contracts/aws-openai/settlements";
    let with = |key: &str, others: &[&str]| -> Vec<String> {
        let first = [bearer(key), "content-type: application/json".to_owned()];
        first.into_iter().chain(others.iter().map(|&it| it.to_owned())).collect()
    };
    let may = r#"{"period":"2026-05"}"#;
    // Which of two names is meant nobody can tell.
    let twice = api.send("POST", settle, &with(&ana, &["idempotency-key: a", "idempotency-key: b"]), may).await;
    assert_eq!((twice.status, &twice.json()["detail"]), (400, &json!("Idempotency-Key: send one")));
    assert_eq!(api.send("POST", settle, &with(&ana, &[]), may).await.status, 200);

    // Several lines are one list; 0 refuses, whatever a wider range says.
    let chosen = async |others: &[&str]| {
        let answer = api.send("GET", "/api/v1/statements", &with(&ana, others), "").await;
        (answer.status, answer.header("content-type").unwrap_or_default().to_owned())
    };
    assert_eq!(chosen(&["accept: text/html", "accept: text/csv"]).await, (200, "text/csv; charset=utf-8".into()));
    let csv = chosen(&["accept: */*", "accept: application/json;q=0"]).await;
    assert_eq!(csv, (200, "text/csv; charset=utf-8".into()));
    assert_eq!(chosen(&["accept: text/html", "accept: */*;q=0"]).await.0, 406);

    // One tag of a list has to match, and strongly.
    let approve = "/api/v1/statements/1/approve";
    let tag = api.get("/api/v1/statements/1", &ben).await.header("etag").expect("an ETag").to_owned();
    let weak = format!("if-match: W/{tag}");
    for (line, status) in [("if-match: \"7-draft\", \"a,b\"", 412), (weak.as_str(), 412), ("if-match: 7-draft", 400)] {
        let refused = api.send("POST", approve, &with(&ben, &[line]), "").await;
        assert_eq!(refused.status, status, "{line}: {refused:?}");
    }
    // What the caller has is known by a weak copy, too.
    let known = api.get("/api/v1/contracts", &ben).await.header("etag").expect("an ETag").to_owned();
    for line in [format!("if-none-match: \"x\", W/{known}"), format!("if-none-match: \"x\"\r\nif-none-match: {known}")]
    {
        assert_eq!(api.send("GET", "/api/v1/contracts", &with(&ben, &[&line]), "").await.status, 304, "{line}");
    }
    let list = ["if-match: W/\"x\"".to_owned(), format!("if-match: \"7-draft\", {tag}")];
    let approved = api.send("POST", approve, &with(&ben, &[&list[0], &list[1]]), "").await;
    assert_eq!(approved.status, 200, "{approved:?}");
    database.drop_it().await;
}

#[test]
fn each_operation_has_a_name_of_its_own() {
    let description = serde_json::to_value(apportion::http::description()).expect("JSON");
    let paths = description["paths"].as_object().expect("paths").values();
    let operations: Vec<&Value> = paths.flat_map(|methods| methods.as_object().expect("methods").values()).collect();
    let names: BTreeSet<&str> = operations.iter().filter_map(|it| it["operationId"].as_str()).collect();
    assert_eq!(names.len(), operations.len(), "{names:?}");
    for operation in operations {
        let (name, tag) = (&operation["operationId"], operation["tags"][0].as_str().expect("a tag"));
        assert!(name.as_str().is_some_and(|name| name.starts_with(&format!("{tag}_"))), "{name} of {tag}");
    }
}

#[test]
fn each_operation_tells_by_code_what_it_answers_and_in_which_format() {
    let description = serde_json::to_value(apportion::http::description()).expect("JSON");
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let responses = operation["responses"].as_object().expect("responses");
            assert!(["400", "401", "403", "503"].iter().all(|code| responses.contains_key(*code)), "{path}");
            let formats: &[&str] = match path.as_str() {
                "/v1/traces" => &["application/json", "application/x-protobuf"],
                _ => &["application/problem+json"],
            };
            for (code, response) in responses.iter().filter(|(code, _)| !code.starts_with('2')) {
                assert!(code.parse::<u16>().is_ok(), "{path}: {code}");
                let content = response["content"].as_object().expect("content");
                assert_eq!(content.keys().collect::<Vec<_>>(), formats, "{path}: {code}");
            }
        }
    }
}

#[test]
fn whatever_the_description_refers_to_it_describes() {
    let description = serde_json::to_value(apportion::http::description()).expect("JSON");
    let mut left = vec![&description];
    let mut referred = BTreeSet::new();
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                referred.extend(fields.get("$ref").and_then(Value::as_str));
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    assert!(referred.len() > 20, "{referred:?}");
    let missing = |it: &&&str| it.strip_prefix('#').is_none_or(|pointer| description.pointer(pointer).is_none());
    assert_eq!(referred.iter().filter(missing).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn the_description_of_the_api_that_is_committed_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let current = apportion::http::description().to_pretty_json().expect("JSON") + "\n";
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(path, &current).expect("written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == current, "openapi.json is not what the code says: run `make openapi` and commit it");
}
