//! What cost reports are for, on a real database and by the program: beside what is rated, as figures, and listed by the API.
//!
//! A million output tokens of gpt-5.5 are rated 30 USD on Azure and 33 on AWS.

use crate::api_client::{Api, bearer};
use crate::books::{shipped, usage};
use crate::costs::{Folder, may};
use crate::support::TestDatabase;
use apportion::domain::access::Scope;
use chrono::SecondsFormat;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// A row of AWS, of May.
fn aws(service: &str, category: &str, costs: &str) -> String {
    may(["AWS", "1", service], category, "USD", costs)
}

/// Usage of three clouds, in May but for one event, and a report of what three providers charged.
async fn usage_and_costs(folder: &Folder) -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.apply(shipped().as_path()).await;
    let million = |id: &str, time: &str, deployment: &str| {
        usage(id, time, deployment, "gpt-5.5", &[("output_tokens", "1000000")])
    };
    database
        .write(&[
            million("a1", "2026-05-03T00:00:00Z", "bedrock-us-east-1"),
            million("a2", "2026-05-31T23:30:00Z", "bedrock-us-east-1"),
            million("a3", "2026-06-01T00:00:00Z", "bedrock-us-east-1"),
            million("m1", "2026-05-03T00:00:00Z", "azure-openai-eastus"),
            million("g1", "2026-05-03T00:00:00Z", "vertex-us-central1"),
            usage("a4", "2026-05-03T00:00:00Z", "bedrock-us-east-1", "chatgpt", &[("output_tokens", "5")]),
        ])
        .await;
    let rows = [
        aws("Amazon Bedrock", "Usage", "60,55,60"),
        // Of May, and billed in June.
        aws("Amazon Bedrock", "Usage", "9,8.5,9").replace("2026-05-01T", "2026-06-01T").replacen(
            "2026-06-01T00:00:00Z,USD",
            "2026-07-01T00:00:00Z,USD",
            1,
        ),
        aws("Amazon S3", "Usage", "31,31,31"),
        aws("Amazon S3", "Tax", "5,5,5"),
        // Of April and May.
        aws("Amazon Bedrock", "Usage", "2,2,2")
            .replace("2026-05-03T", "2026-04-30T")
            .replace("2026-05-04T", "2026-05-02T"),
        // Of June.
        aws("Amazon Bedrock", "Usage", "1000,1000,1000")
            .replace("2026-05-03T", "2026-06-01T")
            .replace("2026-05-04T", "2026-06-02T"),
        may(["Microsoft", "m", "Azure OpenAI"], "Usage", "EUR", "28,28,NULL"),
        may(["Initech", "i", "TPS"], "Usage", "USD", "1,1,1"),
    ];
    database.import_costs(&folder.report("all.csv", &rows)).await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clouds_report_stands_beside_what_is_rated() {
    let folder = Folder::new();
    let database = usage_and_costs(&folder).await;
    let known_at = database.watermark().await.to_rfc3339();
    let compared = database.cost_json(&["compare", "--month", "2026-05", "--by", "service"]);
    // 2 x 33 rated; billed 60 + 9 + 31 = 100, of which 34 too much: 3400/66 = 1700/33 %.
    let line = &compared["clouds"][0];
    assert_eq!(compared["clouds"].as_array().map(Vec::len), Some(1), "{compared:#}");
    assert_eq!(
        (&line["cloud"], &line["currency"], &line["rated"], &line["reported_rows"]),
        (&json!("aws"), &json!("USD"), &json!("66"), &json!(3))
    );
    assert_eq!(
        line["compared"],
        json!([
            {"measure": "billed", "reported": "100", "difference": "34", "percent": "1700/33"},
            {"measure": "effective", "reported": "94.5", "difference": "28.5", "percent": "475/11"},
            {"measure": "contracted", "reported": "100", "difference": "34", "percent": "1700/33"},
        ])
    );
    assert_eq!(line["services"]["Amazon Bedrock"]["billed"], "69");
    let reasons: Vec<&str> =
        compared["not_compared"].as_array().expect("a list").iter().filter_map(|it| it["reason"].as_str()).collect();
    let expected = [
        "unknown_provider",
        "other_category",
        "beyond_span",
        "no_report",
        "reported_in_other_currency",
        "rated_in_other_currency",
        "no_price",
    ];
    assert_eq!(reasons, expected, "{compared:#}");
    // Of the service that sells them: 69 less 66 is 3, which is 50/11 %, or 4.55.
    let (status, told, _) = database.cost(&["compare", "--month", "2026-05", "--service", "Amazon Bedrock"]);
    assert_eq!(status, Some(0));
    let billed = told.lines().find(|line| line.contains("billed")).expect("a line");
    let cells: Vec<&str> = billed.split_whitespace().collect();
    assert_eq!(cells, ["aws", "USD", "billed", "69", "66", "3", "4.55%"]);
    // Microsoft's report is there, though none of it is of that service.
    assert!(told.contains("azure: nothing of what is reported is compared (rated 30 USD)"), "{told}");
    assert!(told.contains("Microsoft: of services that were not asked for (1 row, billed 28 EUR)"), "{told}");
    assert!(told.contains("google: no report is held (rated 30 USD)"), "{told}");
    // What is set says which cloud a provider is; as known then it stays.
    let set = r#"costs.providers=[{name="Initech",cloud="google"}]"#;
    let other = database.cost_json(&["compare", "--month", "2026-05", "--known-at", &known_at, "--set", set]);
    assert_eq!((&other["clouds"][0]["cloud"], &other["clouds"][0]["rated"]), (&json!("google"), &json!("30")));
    database.import_costs(&folder.report("later.csv", &[aws("Amazon Bedrock", "Usage", "66,66,66")])).await;
    let again = database.cost_json(&["compare", "--month", "2026-05", "--known-at", &known_at]);
    assert_eq!(again["clouds"], compared["clouds"]);
    // May as it stands now, and what June's bill has of it: 66 + 9.
    let now = database.cost_json(&["compare", "--month", "2026-05"]);
    assert_eq!(now["clouds"][0]["compared"][0]["reported"], "75");
    let (status, _, complaint) = database.cost(&["compare", "--month", "2026-Q2"]);
    assert!(status == Some(2) && complaint.contains("write a month"), "{complaint}");
    database.drop_it().await;
}

/// A report of May of two accounts with Microsoft, and figures that are made of what is held.
struct FigureTest {
    database: TestDatabase,
    folder: Folder,
    rows: [String; 3],
}

const BILLED_USD: [&str; 4] = ["--measure", "billed", "--currency", "USD"];

impl FigureTest {
    async fn new() -> Self {
        let (database, folder) = (TestDatabase::empty().await, Folder::new());
        database.apply(shipped().as_path()).await;
        let rows = [
            may(["Microsoft", "m", "Azure OpenAI"], "Usage", "USD", "1000.25,900,NULL"),
            may(["Microsoft", "n", "Storage"], "Purchase", "USD", "500,0,0"),
            may(["Microsoft", "m", "Storage"], "Usage", "EUR", "7,7,7"),
        ];
        database.import_costs(&folder.report("first.csv", &rows)).await;
        Self { database, folder, rows }
    }

    fn figures(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let known = ["figures", "--provider", "Microsoft", "--period", "2026-05", "--contract", "microsoft-openai"];
        let named = ["--name", "Subscriptions", "--by", "openai"];
        self.database.cost(&[&known[..], &named[..], more].concat())
    }

    /// A line, and the record that it is.
    fn record(&self, more: &[&str]) -> (String, Value) {
        let (status, line, complaint) = self.figures(more);
        assert_eq!(status, Some(0), "{more:?}: {complaint}");
        let record = serde_json::from_str(&line).expect("a record");
        (line, record)
    }

    fn refused(&self, more: &[&str], why: &str) {
        let (status, told, complaint) = self.figures(more);
        assert_eq!((status, told.as_str()), (Some(3), ""), "{more:?}");
        assert!(complaint.contains(why), "{why}: {complaint}");
    }

    /// What `apportion record` says of a line.
    fn take(&self, line: &str) -> String {
        let path = self.folder.write("figures.jsonl", line);
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.arg("record").arg(path).env("DATABASE_URL", &self.database.url);
        let output = command.output().expect("it starts");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_is_the_sum_of_what_is_held() {
    let test = FigureTest::new().await;
    test.refused(&["--measure", "billed"], "the costs are in EUR and USD");
    test.refused(&["--measure", "contracted", "--currency", "USD"], "the contracted cost is left out of 1 of the rows");
    test.refused(&["--measure", "billed", "--currency", "JPY"], "`apportion cost list` shows what is held");
    test.refused(&[&BILLED_USD[..], &["--about", "colour=red"]].concat(), "unknown field \"colour\"");
    let (line, record) = test.record(&BILLED_USD);
    let held = test.database.held_costs(test.database.watermark().await).await[0].clone();
    let since = held.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let report = format!("report-{}@{since}", &held.report_sha256[..16]);
    let id = format!("microsoft-openai/Subscriptions/Microsoft/2026-05/billed/USD/{report}");
    assert_eq!(
        record,
        json!({
            "kind": "figure", "source": "cloud-costs", "id": id, "contract": "microsoft-openai",
            "name": "Subscriptions", "by": "openai", "from": "2026-05-01", "through": "2026-05-31",
            "value": "1500.25 USD",
        })
    );
    let of_usage = ["--measure", "effective", "--currency", "USD", "--category", "Usage", "--account", "m"];
    let (_, of_usage) = test.record(&of_usage);
    let id = format!("microsoft-openai/Subscriptions/Microsoft/m/Usage/2026-05/effective/USD/{report}");
    assert_eq!((of_usage["value"].as_str(), of_usage["id"].as_str()), (Some("900 USD"), Some(id.as_str())));
    // What nothing is charged for is zero, where the month is held.
    let (_, of_tax) = test.record(&[&BILLED_USD[..], &["--category", "Tax"]].concat());
    assert_eq!(of_tax["value"], "0 USD");
    assert!(test.take(&line).starts_with("1 recorded"));
    assert!(test.take(&line).starts_with("0 recorded, 1 known duplicate"));
    test.database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_report_changes_corrects_the_figure_that_stands() {
    let test = FigureTest::new().await;
    let (line, record) = test.record(&BILLED_USD);
    let id = record["id"].as_str().expect("an id");
    let corrects = |id| [&BILLED_USD[..], &["--corrects", id]].concat();
    test.refused(&corrects(id), "no figure of costs");
    assert!(test.take(&line).starts_with("1 recorded"));
    // Nothing changed yet; and another figure is not corrected by this one.
    test.refused(&corrects(id), "stands at 1500.25 USD");
    for (other, is) in [
        (&["--measure", "billed", "--currency", "EUR"][..], "2026-05/billed/USD, not"),
        (&["--measure", "effective", "--currency", "USD"], "2026-05/billed/USD, not"),
        (&["--measure", "billed", "--currency", "USD", "--account", "n"], "/Microsoft/n/2026-05"),
        (&["--measure", "billed", "--currency", "USD", "--category", "Usage"], "/Microsoft/Usage/2026-05"),
    ] {
        test.refused(&[other, &["--corrects", id]].concat(), is);
    }
    test.refused(&[&corrects(id)[..], &["--about", "cloud=azure"]].concat(), "its cloud is none, not azure");

    // One account is reported anew: what it changes is a correction, and a second figure of the month is refused.
    let later = test.folder.report("later.csv", &[test.rows[1].replace("500,", "400.5,")]);
    test.database.import_costs(&later).await;
    let (second, _) = test.record(&BILLED_USD);
    assert!(test.take(&second).contains("is reported for some of these days already"), "{second}");
    let (line, correction) = test.record(&corrects(id));
    assert_eq!((&correction["kind"], &correction["value"]), (&json!("correction"), &json!("1400.75 USD")));
    assert!(correction["id"].as_str().is_some_and(|id| id.contains("/reports-")), "of two reports: {correction}");
    assert!(test.take(&line).starts_with("1 recorded"), "{line}");
    // The first report holds again: by another id than the first figure's, though all is as it was then.
    let before = test.database.watermark().await.to_rfc3339();
    let first = test.folder.report("first.csv", &test.rows);
    let (status, _, complaint) = test.database.cost(&["import", "--again", first.to_str().expect("a path")]);
    assert_eq!(status, Some(0), "{complaint}");
    let (line, back) = test.record(&corrects(id));
    assert_eq!(back["value"], "1500.25 USD");
    assert!(back["id"] != record["id"] && test.take(&line).starts_with("1 recorded"), "{back}");
    let (_, as_then) = test.record(&[&BILLED_USD[..], &["--known-at", &before]].concat());
    assert_eq!((&as_then["value"], &as_then["id"]), (&correction["value"], &correction["id"]));
    test.database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lists_costs_in_pages_as_known_then_and_to_no_partner() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    database.apply(shipped().as_path()).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read], None).await;
    let path = "/api/v1/costs";
    assert_eq!(api.get(path, &key).await.json()["items"], json!([]));
    let mut rows = Vec::new();
    for (provider, account) in [("AWS", "1"), ("AWS", "b"), ("Microsoft", "1"), ("Zeta", "B")] {
        for currency in ["EUR", "USD"] {
            rows.push(may([provider, account, "S"], "Usage", currency, "1.50,1,1"));
        }
    }
    database.import_costs(&folder.report("first.csv", &rows)).await;
    let whole = api.get(path, &key).await.json();
    let known = whole["known_at"].as_str().expect("an instant").to_owned();
    let items = whole["items"].as_array().expect("items").clone();
    assert_eq!((items.len(), items[0]["billed"].as_str(), &items[0]["rows"]), (8, Some("1.5"), &json!(1)));
    for limit in 1..=8 {
        let (mut paged, mut next) = (Vec::new(), format!("{path}?limit={limit}&known_at={known}"));
        loop {
            let page = api.get(&next, &key).await.json();
            assert!(page["items"].as_array().is_some_and(|it| it.len() <= limit), "{page}");
            paged.extend(page["items"].as_array().expect("items").clone());
            // What comes meanwhile is on none of the pages.
            let later = may(["AWS", "b", "S"], "Usage", "USD", &format!("{limit}.{},1,1", paged.len()));
            database.import_costs(&folder.report("later.csv", &[later])).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{path}?limit={limit}&cursor={cursor}");
        }
        assert_eq!(paged, items, "by {limit}");
    }
    let of_aws = api.get(&format!("{path}?provider=AWS&known_at={known}"), &key).await.json();
    assert_eq!(of_aws["items"].as_array().map(Vec::len), Some(4));
    let csv = api.send("GET", path, &[bearer(&key), "accept: text/csv".to_owned()], "").await;
    assert!(
        csv.text.starts_with("provider,billing_account,billing_from,billing_to,currency,rows,billed,"),
        "{}",
        csv.text
    );
    assert_eq!(api.get(&format!("{path}?known_at=2999-01-01"), &key).await.status, 409);
    let [partner, _] = api.partners().await;
    assert_eq!(api.get(path, &partner).await.status, 403);
    // Nor could it by any other way: the role may read none of it.
    let tables: BTreeSet<String> =
        sqlx::query_scalar("select table_name::text from information_schema.tables where table_name like 'cost\\_%'")
            .fetch_all(&database.pool)
            .await
            .expect("tables")
            .into_iter()
            .collect();
    assert_eq!(tables.len(), 4, "{tables:?}");
    for read in tables.iter().cloned().chain(["held_cost_statement(now())".to_owned()]) {
        for role in ["apportion_partner", "apportion_readonly"] {
            let mut tx = database.pool.begin().await.expect("a transaction");
            sqlx::query(sqlx::AssertSqlSafe(format!("set local role {role}")))
                .execute(&mut *tx)
                .await
                .expect("the role");
            let sql = format!("select count(*) from {read}");
            let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.expect_err(&read).to_string();
            assert!(refused.contains("permission denied"), "{role} {read}: {refused}");
        }
    }
    database.drop_it().await;
}
