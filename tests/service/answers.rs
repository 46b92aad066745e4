//! What answers tell people beside what they asked for: what came in since, what stands, and which step is next.

use crate::api_client::{Api, bearer, books};
use crate::books::{subscriptions, usage};
use crate::invoices::{resale, sale};
use apportion::domain::access::Scope;
use serde_json::{Value, json};

const MAY: &str = r#"{"period": "2026-05"}"#;

async fn get(api: &Api, path: &str, key: &str) -> Value {
    let answer = api.get(path, key).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn until_its_issue_a_statement_tells_us_what_came_in_since_its_cutoff() {
    let database = resale(1, &[sale("s", "2026-05-10")]).await;
    let api = Api::of(&database.pool).await;
    let (ana, ben) = (api.key("ana", Scope::ALL, None).await, api.key("ben", Scope::ALL, None).await);
    let [aws, _] = api.partners().await;
    let settle = "/api/v1/contracts/resale-1/settlements";
    let may: Value = serde_json::from_str(MAY).expect("JSON");
    let first = api.post(settle, &ana, &may).await.json();
    assert_eq!((&first["statements"], &first["unchanged"]), (&json!([1]), &json!([])), "{first}");
    // Without news the draft stands, and the answer says which that is.
    let again = api.post(settle, &ana, &may).await.json();
    assert_eq!((&again["statements"], &again["unchanged"]), (&json!([]), &json!([1])), "{again}");

    let path = "/api/v1/statements/1";
    let seen = api.get(path, &ana).await;
    assert_eq!(seen.header("events-since-cutoff"), Some("0"));
    database.ingest(&[sale("late", "2026-05-20"), sale("of-june", "2026-06-02")]).await;
    let tag = seen.header("etag").expect("an ETag").to_owned();
    let looked = api.send("GET", path, &[bearer(&ana), format!("if-none-match: {tag}")], "").await;
    // The statement is the same, so it is not sent again; what came in is told beside it.
    assert_eq!((looked.status, looked.header("events-since-cutoff")), (304, Some("1")), "{looked:?}");
    // Usage that comes in beside it changes nothing of what is approved.
    let approved = api.send("POST", &format!("{path}/approve"), &[bearer(&ben), format!("if-match: {tag}")], "").await;
    assert_eq!((approved.status, approved.header("events-since-cutoff")), (200, Some("1")), "{approved:?}");
    assert_eq!(api.post(&format!("{path}/issue"), &ben, &json!(null)).await.status, 200);
    for key in [&ana, &aws] {
        assert_eq!(api.get(path, key).await.header("events-since-cutoff"), None);
    }
    // What is issued is not sent again to who has it.
    let tag = api.get(path, &aws).await.header("etag").expect("an ETag").to_owned();
    assert_eq!(api.send("GET", path, &[bearer(&aws), format!("if-none-match: {tag}")], "").await.status, 304);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_step_names_those_that_are_next() {
    let database = resale(1, &[sale("s", "2026-05-10")]).await;
    let api = Api::of(&database.pool).await;
    let (ana, ben) = (api.key("ana", Scope::ALL, None).await, api.key("ben", Scope::ALL, None).await);
    let [aws, _] = api.partners().await;
    database.settle("resale-1", "2026-05").await;
    let refused = async |step: &str| {
        let answer = api.post(&format!("/api/v1/statements/1/{step}"), &ben, &json!({"reason": "x"})).await;
        assert_eq!(answer.status, 409, "{answer:?}");
        answer.json()["detail"].as_str().and_then(|it| it.split_once("; next: ")).expect("a step").1.to_owned()
    };
    let post = |step: &str| format!("POST /api/v1/statements/1/{step}");
    assert_eq!(refused("pay").await, post("approve"));
    assert_eq!(api.post("/api/v1/statements/1/approve", &ben, &json!(null)).await.status, 200);
    assert_eq!(refused("agree").await, post("issue"));
    assert_eq!(api.post("/api/v1/statements/1/issue", &ben, &json!(null)).await.status, 200);
    assert_eq!(refused("pay").await, format!("{} or {}", post("agree"), post("dispute")));
    // What a partner's key may see is told whole.
    let more = api.get("/api/v1/charges?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z", &aws).await;
    assert!(more.status == 403 && more.json()["detail"].as_str().is_some_and(|it| it.contains("invoices")), "{more:?}");
    assert_eq!(api.get("/api/v1/invoices", &ana).await.status, 200);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_price_is_told_by_itself() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", Scope::ALL, None).await;
    let quantities = [("input_tokens", "5"), ("output_tokens", "7")];
    let event = usage("e", "2026-05-10T12:00:00Z", "bedrock-us-east-1", "gpt-5.5", &quantities);
    database.ingest(&[event.replace("\"customer\":\"c\"", "\"service_tier\":\"scale\"")]).await;
    let refused = api.post("/api/v1/contracts/aws-openai/settlements", &key, &json!({"period": "2026-05"})).await;
    let told = refused.json();
    assert_eq!((refused.status, &told["type"]), (409, &json!("urn:apportion:problem:cannot-settle")), "{refused:?}");
    let missing = told["missing_prices"].as_array().expect("a list");
    let meters: Vec<&Value> = missing.iter().map(|it| &it["meter"]).collect();
    assert_eq!(meters, ["input_tokens", "output_tokens"]);
    assert_eq!((&missing[0]["service_tier"], &missing[0]["base"]), (&json!("scale"), &json!("Bedrock Sales")));
    let detail = told["detail"].as_str().expect("a text");
    // Usage is summed by the month; what needs the price first is told all the same.
    let expect = "2 prices are missing: input_tokens of gpt-5.5, tier scale, at bedrock-us-east-1 from \
                  2026-05-10 12:00:00 UTC (event e of test), which base";
    assert!(detail.starts_with(expect) && detail.contains("; output_tokens of gpt-5.5"), "{detail}");
    assert!(!detail.contains('\n') && detail.matches("price book").count() == 1, "{detail}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_that_is_used_by_fractions_is_decimal_as_csv_and_exact_as_json() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", Scope::ALL, None).await;
    database.record(&[subscriptions("may", "2026-05", 31, "0")]).await;
    // 0.0895 USD an hour, of which AWS passes on 80%, and of that the lab owes 20%: 0.01432 / 3600.
    let second = [("runtime_seconds", "1")];
    let event = usage("e", "2026-05-10T12:00:00Z", "bedrock-agents-us-east-1", "bedrock-managed-agents", &second);
    database.ingest(&[event]).await;
    database.settle("microsoft-openai", "2026-05").await;
    let path = "/api/v1/contracts/microsoft-openai/caps";
    let exact = get(&api, path, &key).await["items"][0]["used"].as_str().expect("a number").to_owned();
    let rows = api.send("GET", path, &[bearer(&key), "accept: text/csv".to_owned()], "").await;
    let mut reader = csv::Reader::from_reader(rows.text.as_bytes());
    let place = reader.headers().expect("a head").iter().position(|it| it == "used").expect("a column");
    let row = reader.into_records().next().expect("a row").expect("CSV");
    assert_eq!((exact.as_str(), &row[place]), ("179/45000000", "0.000003977778"));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_its_first_instant_in_utc_as_at_the_command_line() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", Scope::ALL, None).await;
    let used = [("input_tokens", "5")];
    database.ingest(&[usage("e", "2026-05-10T12:00:00Z", "bedrock-us-east-1", "gpt-5.5", &used)]).await;
    let get = async |path: &str| api.get(&format!("/api/v1/{path}"), &key).await;
    let items = async |span: &str| get(&format!("usage?{span}")).await.json()["items"].clone();
    let by_date = items("from=2026-05-01&to=2026-06-01").await;
    assert_eq!(by_date, items("from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z").await);
    assert!(!by_date.as_array().expect("a list").is_empty());
    let wrong = get("usage?from=May&to=2026-06-01").await;
    let detail = wrong.json()["detail"].to_string();
    assert!(wrong.status == 400 && detail.contains("T00:00:00-07:00, or a date, such as 2026-04-27"), "{wrong:?}");
    let early = get("contracts/aws-openai/entitlement?through=2026-05&known_at=2020-01-01").await;
    let detail = early.json()["detail"].to_string();
    assert!(early.status == 409 && detail.contains("was not loaded yet at 2020-01-01 00:00:00 UTC"), "{early:?}");
    database.drop_it().await;
}
