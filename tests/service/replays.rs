//! Three published traces through Kafka, settled under the neutral share: the control totals that their
//! sources give, and amounts recomputed from the raw files.
//!
//! The recomputation shares nothing with `src/domain` or `src/produce`. The files lie in `../shared`; where that
//! is missing, a test says so and ends.

use crate::books::*;
use crate::support::*;
use apportion::domain::outcome::Counts;
use apportion::domain::period::Span;
use apportion::jobs::availability::availability_by_cloud;
use flate2::read::GzDecoder;
use num_bigint::BigInt;
use num_rational::BigRational;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A trace as a test replays it.
struct Trace {
    command: &'static str,
    file: &'static str,
    deployment: &'static str,
    arguments: &'static [&'static str],
    month: &'static str,
}

const EXGENTIC: Trace = Trace {
    command: "exgentic-spans",
    file: "exgentic_otel_llm_spans/llm_call_spans_2294.jsonl.gz",
    deployment: "trace-exgentic",
    arguments: &[
        "--product=azure/Kimi-K2.5=kimi-k2.5",
        "--product=azure/DeepSeek-V3.2=deepseek-v3.2",
        "--zone=UTC",
        "--shift-days=0",
    ],
    month: "2026-04",
};

const MOONCAKE: Trace = Trace {
    command: "mooncake-conversation",
    file: "mooncake/conversation_trace.head2000.jsonl.gz",
    deployment: "trace-mooncake",
    arguments: &["--product=kimi-k2.5", "--start=2026-05-01T00:00:00Z"],
    month: "2026-05",
};

const WEKA: Trace = Trace {
    command: "weka-requests",
    file: "cc_traces_weka/requests_761.jsonl.gz",
    deployment: "trace-weka",
    arguments: &["--product=trace-long-context", "--start=2026-05-01T00:00:00Z"],
    month: "2026-05",
};

impl Trace {
    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(self.file)
    }

    fn is_missing(&self) -> bool {
        let is_missing = !self.path().is_file();
        if is_missing {
            eprintln!("skipped: {} is not here", self.path().display());
        }
        is_missing
    }

    /// The raw rows.
    fn rows(&self) -> Vec<Value> {
        let bytes = std::fs::read(self.path()).expect("the file");
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// `apportion replay`, with the real binary.
    fn replay(&self, topic: &TestTopic) {
        let output = Command::new(env!("CARGO_BIN_EXE_apportion"))
            .args(["replay", self.command])
            .arg(self.path())
            .args(["--deployment", self.deployment, "--source", "urn:trace", "--to-kafka", &topic.name])
            .args(self.arguments)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// From the file to the books and again, where nothing may be new; leaves the database to be looked at.
    ///
    /// `charge` is what the raw rows come to at list price, in 10^-8 USD; `amount` its tenth, to the cent.
    async fn settled(&self, requests: u64, charge: BigInt, amount: &str) -> TestDatabase {
        let database = TestDatabase::empty().await;
        database.apply(&shipped()).await;
        let topic = TestTopic::new(4).await;
        self.replay(&topic);
        let stored = Counts { stored: requests, ..Counts::default() };
        assert_eq!(consume(&database, &[&topic]).await, stored);

        let report = database.settle("trace-share", self.month).await;
        let share = BigRational::new(charge, BigInt::from(10).pow(9));
        let line = &report.drafted[0].1.lines[0];
        assert_eq!(line.accrued.to_string(), decimal(&share, 9));
        assert_eq!(booked(&report), [format!("share {} {amount}", self.month)]);

        self.replay(&topic);
        let again = Counts { duplicate: requests, ..Counts::default() };
        assert_eq!(consume(&database, &[&topic]).await, again);
        assert!(database.settle("trace-share", self.month).await.lines.is_empty());
        topic.delete().await;
        database.audit().await;
        database
    }
}

/// A decimal that has at most so many digits, written out without trailing zeros.
fn decimal(value: &BigRational, digits: u32) -> String {
    let scaled = value * BigInt::from(10).pow(digits);
    assert!(scaled.is_integer(), "{value}");
    let text = format!("{:0>width$}", scaled.to_integer().to_string(), width = digits as usize + 1);
    let (whole, fraction) = text.split_at(text.len() - digits as usize);
    format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn count(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} of {row}"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}"))
}

/// Requests and tokens (input, cached input, output) by product, from the events and from the rollups.
async fn stored(database: &TestDatabase) -> [BTreeMap<String, [u64; 4]>; 2] {
    let sums = "sum(input_tokens)::bigint, sum(cached_input_tokens)::bigint, sum(output_tokens)::bigint";
    let mut found = [BTreeMap::new(), BTreeMap::new()];
    for (totals, (table, events)) in
        found.iter_mut().zip([("usage_event", "count(*)"), ("usage_rollup", "sum(events)::bigint")])
    {
        let sql = format!(
            "select product, {events}, {sums} from {table} join usage_dimension using (dimension_id) group by 1"
        );
        let rows: Vec<(String, i64, i64, i64, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&database.pool).await.expect("sums");
        for (product, requests, input, cached, output) in rows {
            totals.insert(product, [requests, input, cached, output].map(|sum| sum as u64));
        }
    }
    found
}

fn totals<const N: usize>(products: [(&str, [u64; 4]); N]) -> [BTreeMap<String, [u64; 4]>; 2] {
    let totals: BTreeMap<_, _> = products.map(|(product, sums)| (product.to_owned(), sums)).into();
    [totals.clone(), totals]
}

#[tokio::test(flavor = "multi_thread")]
async fn exgentic_spans_are_settled_with_failures_and_repeated_responses() {
    if EXGENTIC.is_missing() {
        return;
    }
    let rows = EXGENTIC.rows();
    // 0.60 and 3 USD, or 0.58 and 1.68 USD, per million tokens of input and output, in 10^-8 USD a token.
    let charge = rows.iter().map(|row| {
        let [input, output] = match text(row, "response_model") {
            "azure/Kimi-K2.5" => [60, 300],
            "azure/DeepSeek-V3.2" => [58, 168],
            other => panic!("{other}"),
        };
        BigInt::from(count(row, "input_tokens") * input + count(row, "output_tokens") * output)
    });
    let database = EXGENTIC.settled(2_294, charge.sum(), "3.88").await;
    let expect = [("kimi-k2.5", [1_495, 34_216_422, 0, 374_998]), ("deepseek-v3.2", [799, 28_963_436, 0, 185_640])];
    assert_eq!(stored(&database).await, totals(expect));

    // The traps are in the file, and each row is an event nevertheless.
    let responses: Vec<&str> = rows.iter().filter_map(|row| row["response_id"].as_str()).collect();
    let distinct: BTreeSet<&str> = responses.iter().copied().collect();
    assert_eq!((responses.len(), distinct.len()), (2_294 - 148, 2_294 - 148 - 5));
    let starts: Vec<&str> = rows.iter().map(|row| text(row, "start_time_iso")).collect();
    assert_eq!(starts.iter().filter(|start| !start.contains('+')).count(), 915);
    let ids: BTreeSet<String> = rows.iter().map(|row| text(row, "span_id").to_owned()).collect();
    let known: Vec<String> =
        sqlx::query_scalar("select event_id from usage_event").fetch_all(&database.pool).await.expect("ids");
    assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), ids);
    // `start_time_s` says in which zone the naive times are: the sum over all events agrees with UTC to the second.
    let seconds: f64 = rows.iter().map(|row| row["start_time_s"].as_f64().expect("seconds")).sum();
    let held = database.number("select round(sum(extract(epoch from occurred_at)))::bigint from usage_event").await;
    assert!((held as f64 - seconds).abs() < 1.0, "{held} {seconds}");

    let span = Span { start: at("2026-04-01T00:00:00Z"), end: at("2026-05-01T00:00:00Z") };
    let available = availability_by_cloud(&database.pool, span).await.expect("availability");
    let expect = json!([{"cloud": "trace-cloud", "ok": 2_146, "error": 148, "not_reported": 0,
        "availability": "29/31"}]);
    assert_eq!(serde_json::to_value(available).expect("JSON"), expect);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mooncake_is_settled_with_what_its_cache_held() {
    if MOONCAKE.is_missing() {
        return;
    }
    let rows = MOONCAKE.rows();
    // The line on which each block comes first: a request reads up to the first block that is new on its own line.
    let mut first: BTreeMap<u64, usize> = BTreeMap::new();
    let blocks = |row: &Value| -> Vec<u64> {
        let hashes = row["hash_ids"].as_array().expect("blocks");
        hashes.iter().map(|hash| hash.as_u64().expect("a block")).collect()
    };
    for (line, row) in rows.iter().enumerate() {
        for block in blocks(row) {
            first.entry(block).or_insert(line);
        }
    }
    let mut sums = [0, 0, 0];
    for (line, row) in rows.iter().enumerate() {
        let blocks = blocks(row);
        let held = blocks.iter().position(|block| first[block] == line).unwrap_or(blocks.len()) as u64;
        let input = count(row, "input_length");
        let cached = input.min(512 * held);
        sums = [sums[0] + input - cached, sums[1] + cached, sums[2] + count(row, "output_length")];
    }
    assert_eq!(sums, [27_441_774 - 8_070_959, 8_070_959, 704_602]);
    // 0.60, 0.10 and 3 USD per million tokens, in 10^-8 USD a token.
    let charge = BigInt::from(sums[0] * 60 + sums[1] * 10 + sums[2] * 300);
    let database = MOONCAKE.settled(2_000, charge, "1.45").await;
    assert_eq!(stored(&database).await, totals([("kimi-k2.5", [2_000, sums[0], sums[1], sums[2]])]));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weka_pays_the_long_price_above_272_000_tokens() {
    if WEKA.is_missing() {
        return;
    }
    let rows = WEKA.rows();
    let is_long = |row: &&Value| count(row, "input_tokens") > 272_000;
    assert_eq!(rows.iter().filter(is_long).count(), 141);
    // 5 and 30 USD per million tokens of input and output, 10 and 45 of a long request, in 10^-8 USD a token.
    let charge = rows.iter().map(|row| {
        let [input, output] = if is_long(&row) { [1_000, 4_500] } else { [500, 3_000] };
        BigInt::from(count(row, "input_tokens") * input + count(row, "output_tokens") * output)
    });
    let database = WEKA.settled(761, charge.sum(), "86.92").await;
    assert_eq!(stored(&database).await, totals([("trace-long-context", [761, 125_592_347, 0, 598_992])]));
    let long = "select sum(events)::bigint from usage_rollup where context_over = 272000";
    assert_eq!(database.number(long).await, 141);
    database.drop_it().await;
}
