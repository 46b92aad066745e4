//! Cost reports of clouds on a real database: kept to the last digit, whole or not at all, as known at any instant.

use crate::support::TestDatabase;
use apportion::domain::cloud_cost::HeldCosts;
use apportion::domain::period::Instant;
use apportion::ingest::costs::{Recorded, check, record};
use apportion::store::costs::{HeldCostsFilter, load_held};
use flate2::read::GzDecoder;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEADER: &str = "ProviderName,InvoiceIssuerName,BillingAccountId,ServiceName,ChargeCategory,ChargeClass,\
    ChargePeriodStart,ChargePeriodEnd,BillingPeriodStart,BillingPeriodEnd,BillingCurrency,BilledCost,EffectiveCost,\
    ContractedCost,ListCost";

/// A row of May 2026. `of` is the provider, account and service; `costs` are billed, effective and contracted.
pub fn may([provider, account, service]: [&str; 3], category: &str, currency: &str, costs: &str) -> String {
    format!(
        "{provider},{provider} Inc.,{account},{service},{category},,2026-05-03T00:00:00Z,2026-05-04T00:00:00Z,\
         2026-05-01T00:00:00Z,2026-06-01T00:00:00Z,{currency},{costs},0"
    )
}

/// A folder, with files that go with it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    pub fn report(&self, name: &str, rows: &[String]) -> PathBuf {
        self.write(name, format!("{HEADER}\n{}\n", rows.join("\n")))
    }
}

impl TestDatabase {
    pub fn cost(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.arg("cost").args(arguments).env("DATABASE_URL", &self.url).env_remove("APPORTION_USER");
        let output = command.output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    pub fn cost_json(&self, arguments: &[&str]) -> Value {
        let (status, told, complaint) = self.cost(&[arguments, &["--format", "json"]].concat());
        assert_eq!(status, Some(0), "{arguments:?}: {told} {complaint}");
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"))
    }

    pub async fn import_costs(&self, path: &Path) -> Recorded {
        let report = check(&[path.to_owned()]).unwrap_or_else(|error| panic!("{error}"));
        record(&self.pool, &report, false).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A report of one row.
    pub async fn import_some_costs(&self) {
        let folder = Folder::new();
        let row = may(["AWS", "1", "Bedrock"], "Usage", "USD", "1.5,1,1");
        self.import_costs(&folder.report("some.csv", &[row])).await;
    }

    pub async fn held_costs(&self, known_at: Instant) -> Vec<HeldCosts> {
        let mut conn = self.pool.acquire().await.expect("a connection");
        load_held(&mut conn, &HeldCostsFilter::default(), known_at).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is held, a line each: provider, account, currency, rows, billed.
    pub async fn told_costs(&self, known_at: Instant) -> Vec<String> {
        let line = |it: &HeldCosts| {
            format!("{} {} {} {} {}", it.provider, it.billing_account, it.currency, it.rows, it.billed)
        };
        self.held_costs(known_at).await.iter().map(line).collect()
    }

    pub async fn cost_rows(&self) -> i64 {
        self.number("select count(*) from cost_row").await
    }
}

/// A file of the folder `shared` beside the checkout, or none, which is said aloud.
fn shared(path: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/focus").join(path);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("{} is missing: the costs in it are not tried", path.display());
    }
    bytes
}

/// By provider, account, start of the billing period and currency: rows, and sums of billed, effective, contracted and list.
type Sums = BTreeMap<[String; 4], (u64, [Decimal; 4])>;

/// The sums of a file, taken from its text.
fn summed(text: &[u8]) -> Sums {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.headers().expect("a header").clone();
    let mut sums = Sums::new();
    for row in reader.records() {
        let row = row.expect("a row");
        let cell = |name: &str| row[header.iter().position(|it| it == name).expect(name)].trim().to_owned();
        let start = cell("BillingPeriodStart").replace(' ', "T").trim_end_matches('Z').to_owned();
        let key = [cell("ProviderName"), cell("BillingAccountId"), format!("{start}Z"), cell("BillingCurrency")];
        let (rows, costs) = sums.entry(key).or_default();
        *rows += 1;
        for (sum, name) in costs.iter_mut().zip(["BilledCost", "EffectiveCost", "ContractedCost", "ListCost"]) {
            let stated = cell(name);
            if stated != "NULL" && !stated.is_empty() {
                *sum = sum.checked_add(stated.parse().expect("a number")).expect("a sum");
            }
        }
    }
    sums
}

fn sums_of(held: &[HeldCosts]) -> Sums {
    let sums = held.iter().map(|it| {
        let start = it.billing_from.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let costs = [&it.billed, &it.effective, &it.contracted, &it.list];
        let costs = costs.map(|sum| sum.to_string().parse::<Decimal>().expect("a decimal"));
        ([it.provider.clone(), it.billing_account.clone(), start, it.currency.to_string()], (it.rows, costs))
    });
    sums.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_real_rows_are_held_to_the_last_digit_however_they_are_packed() {
    let Some(packed) = shared("focus_1.0_sample_1000.csv.gz") else { return };
    let mut text = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut text).expect("a text");
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let gzip = folder.write("focus.csv.gz", &packed);
    let (status, told, complaint) = database.cost(&["import", gzip.to_str().expect("a path")]);
    assert_eq!(status, Some(0), "{complaint}");
    assert!(told.contains("1,000 rows recorded") && told.contains("2024-09"), "{told}");

    let held = database.held_costs(database.watermark().await).await;
    let sums = summed(&text);
    assert_eq!(sums_of(&held), sums);
    // Three providers; Oracle's rows are of two months.
    let rows: Vec<_> = held.iter().map(|it| (it.provider.as_str(), it.rows)).collect();
    assert_eq!(rows, [("AWS", 942), ("Microsoft", 51), ("Oracle", 6), ("Oracle", 1)]);
    let without: Vec<u64> = held.iter().map(|it| it.rows_without_contracted).collect();
    assert_eq!(without, [0, 0, 6, 1]);
    // Every number as it is stated.
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let place = reader.headers().expect("a header").iter().position(|it| it == "BilledCost").expect("it");
    let stated: Vec<Decimal> =
        reader.records().map(|row| row.expect("a row")[place].parse().expect("a number")).collect();
    let kept: Vec<Decimal> = sqlx::query_scalar("select billed from cost_row order by row_number")
        .fetch_all(&database.pool)
        .await
        .expect("rows");
    assert!(kept == stated && kept.len() == 1_000);

    // The same again, plain and packed in another way, is known.
    let zstd = folder.write("focus.csv.zst", zstd::encode_all(text.as_slice(), 0).expect("packed"));
    for path in [folder.write("focus.csv", &text), zstd, gzip] {
        let (status, told, _) = database.cost(&["import", path.to_str().expect("a path")]);
        assert!(status == Some(0) && told.contains("a known duplicate, recorded at 20"), "{told}");
        let told = database.cost_json(&["import", path.to_str().expect("a path")]);
        assert_eq!(
            (&told[0]["duplicate"], told[0]["sha256"].as_str()),
            (&json!(true), Some(held[0].report_sha256.as_str()))
        );
    }
    assert_eq!(database.held_costs(database.watermark().await).await, held);
    database.drop_it().await;
}

/// A file of the specification's examples, with dates and amounts written as the faults say.
fn mended(text: &[u8]) -> String {
    let mut reader = csv::Reader::from_reader(text);
    let header = reader.headers().expect("a header").clone();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).expect("written");
    for row in reader.records() {
        let row = row.expect("a row");
        let cells = header.iter().zip(&row).map(|(name, cell)| {
            if name == "ServiceName" && cell.is_empty() {
                "all services".to_owned()
            } else if name.contains("Period") && !cell.is_empty() {
                let [month, day, year] = [0, 1, 2].map(|part| cell.split('/').nth(part).expect("a date"));
                format!("20{year}-{month:0>2}-{day:0>2}T00:00:00Z")
            } else {
                cell.replace(['$', ','], "")
            }
        });
        writer.write_record(cells).expect("written");
    }
    String::from_utf8(writer.into_inner().expect("a text")).expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_specification_are_refused_by_line_and_taken_once_mended() {
    let folder_of_examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/focus/spec_saas_examples");
    let Ok(examples) = std::fs::read_dir(&folder_of_examples) else {
        println!("{} is missing: the costs in it are not tried", folder_of_examples.display());
        return;
    };
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let mut tried = 0;
    for example in examples {
        let path = example.expect("a file").path();
        let text = std::fs::read(&path).expect("a text");
        let refused = check(std::slice::from_ref(&path)).expect_err("its dates are none").to_string();
        // All have dates such as 4/1/25; some purchases name no service, which is read before them.
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let service = reader.headers().expect("a header").iter().position(|it| it == "ServiceName").expect("it");
        let faults = (2..).zip(reader.records()).map(|(line, row): (u64, _)| {
            let is_missing = row.expect("a row")[service].is_empty();
            let why =
                if is_missing { "ServiceName: missing" } else { "ChargePeriodStart: must be RFC 3339 with a zone" };
            format!("{}:{line}: {why}", path.display())
        });
        assert_eq!(refused.lines().collect::<Vec<_>>(), faults.collect::<Vec<_>>());

        let name = path.file_name().expect("a name").to_str().expect("a name");
        let mended = mended(&text);
        let Recorded::Now(at) = database.import_costs(&folder.write(name, &mended)).await else {
            panic!("{name} is new")
        };
        let mut held = database.held_costs(database.watermark().await).await;
        held.retain(|it| it.recorded_at == at);
        assert_eq!(sums_of(&held), summed(mended.as_bytes()), "{name}");
        tried += 1;
    }
    assert_eq!(tried, 15);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_with_bad_lines_nothing_is_stored_and_each_is_named() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let good = may(["AWS", "1", "Bedrock"], "Usage", "USD", "1,1,1");
    let bad = may(["AWS", "1", "Bedrock"], "Usage", "USD", "1.2.3,1,1");
    let rows: Vec<String> = (0..30).map(|n| if n % 6 == 0 { &good } else { &bad }.clone()).collect();
    for ending in ["\n", "\r\n"] {
        let text = format!("{HEADER}{ending}{}{ending}", rows.join(ending));
        let path = folder.write("bad.csv", text);
        let right = folder.report("right.csv", std::slice::from_ref(&good));
        let [path, right] = [&path, &right].map(|path| path.to_str().expect("a path"));
        // Of several files none is recorded where one is wrong.
        let (status, told, complaint) = database.cost(&["import", right, path]);
        assert_eq!((status, told.as_str()), (Some(3), ""), "{complaint}");
        let lines: Vec<usize> = (0..30).filter(|n| n % 6 != 0).map(|n| n + 2).collect();
        for line in &lines[..20] {
            let fault = format!("bad.csv:{line}: BilledCost: must be a decimal number of at most 28 digits");
            assert!(complaint.contains(&fault), "{fault}: {complaint}");
        }
        assert!(complaint.trim_end().ends_with("and 5 more"), "{complaint}");
        assert!(!complaint.contains("bad.csv:2:") && !complaint.contains("bad.csv:26:"), "{complaint}");
    }
    let report = |first: &str, second: &str| {
        let rows = [first, second].map(|start| good.replace("2026-05-01T00", start));
        check(&[folder.report("overlap.csv", &rows)]).err().map(|error| error.to_string())
    };
    let overlap = report("2026-05-01T00", "2026-05-02T00").expect("refused");
    assert!(overlap.contains("overlap.csv:3: BillingPeriodStart: the period 2026-05-02"), "{overlap}");
    assert_eq!(report("2026-05-01T00", "2026-05-01T00"), None);
    for (content, why) in [
        (Vec::new(), "odd.csv:1: ProviderName: no such column"),
        (format!("{HEADER}\n").into_bytes(), "odd.csv: holds no row"),
        (
            format!("{HEADER}\n{good}\n").into_bytes().into_iter().chain(*b"\xff,1\n").collect(),
            "odd.csv:3: must be CSV, in UTF-8",
        ),
    ] {
        let refused = check(&[folder.write("odd.csv", content)]).expect_err(why).to_string();
        assert!(refused.ends_with(why), "{why}: {refused}");
    }
    let (status, _, complaint) = database.cost(&["import", folder.0.path().to_str().expect("a path")]);
    assert!(status == Some(3) && complaint.contains("no file that can be read twice"), "{complaint}");
    assert_eq!((database.cost_rows().await, database.number("select count(*) from cost_report").await), (0, 0));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_would_change_what_was_reported() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    database.import_costs(&folder.report("first.csv", &[may(["AWS", "1", "S"], "Usage", "USD", "1,1,1")])).await;
    let row =
        "insert into cost_row (statement_id, row_number, invoice_issuer, service, category, is_correction, charge_from,
        charge_to, currency, billed, effective, list)";
    let values = "'i', 's', 'Usage', false, 'epoch', 'epoch'::timestamptz + interval '1 day', 'USD'";
    let begun =
        "with r as (insert into cost_report (sha256, file_names) values (repeat('a', 64), '{f}') returning report_id)
        insert into cost_statement (report_id, provider, billing_account, billing_from, billing_to, row_count)
        select report_id, 'p', 'a', 'epoch', now(), 1 from r returning statement_id";
    let of_held = |sha256: &str, to: &str| {
        format!(
            "with r as (insert into cost_report (sha256, file_names) select {sha256}, '{{f}}' from cost_report p
               returning report_id)
             insert into cost_statement (report_id, provider, billing_account, billing_from, billing_to, row_count)
             select r.report_id, provider, billing_account, billing_from, {to}, 1 from r, cost_statement;
             {row} select max(statement_id), 1, {values}, 1, 1, 1 from cost_statement;
             insert into cost_recording select max(report_id), now() + interval '1 hour' from cost_report"
        )
    };
    for (sql, why) in [
        (
            format!("{row} select statement_id, 2, {values}, 1, 1, 1 from cost_statement"),
            "that is recorded never changes",
        ),
        (
            "insert into cost_statement (report_id, provider, billing_account, billing_from, billing_to, row_count)
             select report_id, 'p', 'a', 'epoch', now(), 1 from cost_report"
                .to_owned(),
            "that is recorded never changes",
        ),
        ("update cost_row set billed = 2".to_owned(), "append-only"),
        ("delete from cost_recording".to_owned(), "append-only"),
        ("truncate cost_report cascade".to_owned(), "append-only"),
        (of_held("repeat('a', 64)", "billing_to - interval '1 day'"), "states a part of a billing period that is held"),
        (of_held("p.sha256", "billing_to"), "all of it is held"),
        // A report that nobody records, that has no row that it says it has, and one of an instant that was handed out.
        (begun.to_owned(), "is_recorded"),
        (
            format!(
                "{begun}; insert into cost_recording select max(report_id), now() + interval '1 hour' from cost_report"
            ),
            "its statements have other rows than they say",
        ),
        (
            format!("{begun}; {row} select max(statement_id), 1, {values}, 'NaN', 1, 1 from cost_statement"),
            "cost_row_check",
        ),
        (
            format!(
                "{begun}; {row} select max(statement_id), 1, {values}, 1, 1, 1 from cost_statement;
                 update recording_watermark set known_at = now(), watermark = now();
                 insert into cost_recording select max(report_id), now() - interval '1 hour' from cost_report"
            ),
            "was handed out already",
        ),
    ] {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&database.pool).await.expect_err(&sql);
        assert!(refused.to_string().contains(why), "{sql}: {refused}");
    }
    assert_eq!(database.cost_rows().await, 1);
    assert_eq!(database.told_costs(database.watermark().await).await, ["AWS 1 USD 1 1"]);
    database.drop_it().await;
}
