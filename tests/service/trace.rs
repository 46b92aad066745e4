//! A published trace through Kafka, settled under the neutral share: the counts and token totals that its
//! publisher's files have, and amounts recomputed from the raw files.
//!
//! The recomputation is in whole numbers and shares nothing with `src/domain`.

use crate::books::*;
use crate::support::*;
use apportion::domain::money::Exact;
use apportion::domain::outcome::Counts;
use apportion::domain::period::Timeline;
use apportion::domain::rating::rate;
use apportion::jobs::contracts;
use apportion::produce::replay::{Format, LocalTimes, Replay};
use apportion::store::rollups::load_usage;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `shared/data/PROVENANCE.md` says of each file: requests, input tokens, output tokens.
const TOTALS: [(&str, &str, [u64; 3]); 2] =
    [("conv", "trace-conv", [19_366, 22_361_870, 4_088_665]), ("code", "trace-code", [8_819, 18_059_974, 245_896])];

/// The requests of both files.
pub const EVENTS: usize = 28_185;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/azure_llm_2023")
}

fn file(trace: &str) -> PathBuf {
    folder().join(format!("AzureLLMInferenceTrace_{trace}.csv.gz"))
}

/// A raw file, unzipped.
fn raw_text(trace: &str) -> String {
    let mut text = String::new();
    let bytes = std::fs::read(file(trace)).expect("the file");
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("text");
    text
}

/// Requests and tokens of a raw file, row by row.
fn raw_totals(trace: &str) -> [u64; 3] {
    let mut totals = [0, 0, 0];
    for row in raw_text(trace).lines().skip(1) {
        let fields: Vec<&str> = row.trim_end().split(',').collect();
        assert_eq!(fields.len(), 3, "{row}");
        totals[0] += 1;
        totals[1] += fields[1].parse::<u64>().expect("tokens");
        totals[2] += fields[2].parse::<u64>().expect("tokens");
    }
    totals
}

/// The published trace as events of one deployment, and its control totals: input and output tokens.
///
/// Where the shared folder is missing, as many events that are made up.
pub fn requests() -> (Vec<String>, [u64; 2]) {
    if !folder().is_dir() {
        eprintln!("../shared is not here: made-up usage in place of the trace");
        let events: Vec<(u64, u64)> = (0..EVENTS as u64).map(|n| (n, n % 7)).collect();
        let totals = events.iter().fold([0, 0], |sums, (input, output)| [sums[0] + input, sums[1] + output]);
        let line = |(n, (input, output)): (usize, &(u64, u64))| event(&format!("e{n}"), *input, *output);
        return (events.iter().enumerate().map(line).collect(), totals);
    }
    let replay = Replay {
        deployment: "east".to_owned(),
        products: [(None, "gpt".to_owned())].into(),
        source: "trace".to_owned(),
        topic: String::new(),
    };
    let format = Format::AzureLlm2023(LocalTimes { zone: chrono_tz::UTC, shift_days: 0 });
    let mut lines = Vec::new();
    let mut totals = [0, 0];
    for (name, _, [_, input, output]) in TOTALS {
        let messages = replay.messages(format, name, &raw_text(name)).expect("the trace");
        lines.extend(messages.iter().map(|message| message.line()));
        totals = [totals[0] + input, totals[1] + output];
    }
    (lines, totals)
}

/// The totals stand in the events and in the rollups.
pub async fn check_totals(database: &TestDatabase, [input, output]: [u64; 2]) {
    for (meter, total) in [("input_tokens", input), ("output_tokens", output)] {
        for table in ["usage_event", "usage_rollup"] {
            assert_eq!(database.total(table, meter).await, total as i64, "{meter} of {table}");
        }
    }
}

/// A charge in units of 10^-7 USD: 2.50 USD per million of input are 25 of them a token, 10 USD are 100.
fn charge([_, input, output]: [u64; 3]) -> u64 {
    input * 25 + output * 100
}

/// So many units of 10^-`digits`, written out.
fn decimal(units: u64, digits: u32) -> String {
    let one = 10_u64.pow(digits);
    let text = format!("{}.{:0width$}", units / one, units % one, width = digits as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `apportion replay` of one file, with the real binary.
fn replay(trace: &str, deployment: &str, topic: &TestTopic) {
    let output = Command::new(env!("CARGO_BIN_EXE_apportion"))
        .args(["replay", "azure-llm-2023"])
        .arg(file(trace))
        .args(["--deployment", deployment, "--product", "trace-model", "--source", "urn:azure-llm-2023"])
        .args(["--zone", "UTC", "--shift-days", "0", "--to-kafka", &topic.name, "--format", "json"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Requests and tokens in Postgres, from the events and from the rollups.
async fn stored_totals(database: &TestDatabase, deployment: &str) -> [[u64; 3]; 2] {
    let events = "select count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint
                  from usage_event join usage_dimension using (dimension_id) where deployment = $1";
    let rollups = "select sum(events)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint
                   from usage_rollup join usage_dimension using (dimension_id) where deployment = $1";
    let mut totals = [[0; 3]; 2];
    for (total, sql) in totals.iter_mut().zip([events, rollups]) {
        let row: (i64, i64, i64) = sqlx::query_as(sql).bind(deployment).fetch_one(&database.pool).await.expect("sums");
        *total = [row.0, row.1, row.2].map(|sum| u64::try_from(sum).expect("zero or more"));
    }
    totals
}

/// Gross charges by deployment, as settlements rate them.
async fn charges(database: &TestDatabase) -> BTreeMap<String, Exact> {
    let now = database.watermark().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    let known = contracts::load(&mut conn, now).await.expect("agreements");
    let timeline = Timeline::new(at("2023-11-01T00:00:00Z"), at("2023-12-01T00:00:00Z"), known.prices.boundaries());
    let usage = load_usage(&mut conn, &timeline, &known.prices.thresholds(), now).await.expect("usage");
    let mut sums: BTreeMap<String, Exact> = BTreeMap::new();
    for charge in rate(&usage, &timeline, &known.register, &known.prices) {
        *sums.entry(charge.attributes.deployment).or_default() += &charge.rated.expect("a price").amount;
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_trace_is_settled_to_the_cent() {
    if !folder().is_dir() {
        eprintln!("skipped: ../shared is not here");
        return;
    }
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let topics = [TestTopic::new(4).await, TestTopic::new(4).await];
    let replay_both = || {
        for ((trace, deployment, _), topic) in TOTALS.iter().zip(&topics) {
            replay(trace, deployment, topic);
        }
    };
    replay_both();
    let both = [&topics[0], &topics[1]];
    let all = Counts { stored: 28_185, ..Counts::default() };
    assert_eq!(consume(&database, &both).await, all);
    let mut share = 0;
    let mut expected = BTreeMap::new();
    for (trace, deployment, totals) in TOTALS {
        assert_eq!(raw_totals(trace), totals, "{trace}");
        assert_eq!(stored_totals(&database, deployment).await, [totals, totals], "{trace}");
        expected.insert(deployment.to_owned(), decimal(charge(totals), 7).parse().expect("a number"));
        // 10 %: the same number of units, each a tenth.
        share += charge(totals);
    }
    assert_eq!(charges(&database).await, expected);

    let report = database.settle("trace-share", "2023-11").await;
    // Half up to the cent, which is 10^6 units of 10^-8 USD.
    let cents = (share + 500_000) / 1_000_000;
    assert_eq!(booked(&report), [format!("share 2023-11 {}", decimal(cents, 2))]);
    let line = &report.drafted[0].1.lines[0];
    assert_eq!(line.accrued.to_string(), decimal(share, 8));
    // Worked out by hand as well: 40,421,844 x 2.50/M + 4,334,561 x 10/M = 101.05461 + 43.34561 = 144.40022.
    assert_eq!((line.accrued.to_string(), line.amount.to_string()), ("14.440022".to_owned(), "14.44".to_owned()));

    replay_both();
    let again = Counts { duplicate: 28_185, ..Counts::default() };
    assert_eq!(consume(&database, &both).await, again);
    assert!(database.settle("trace-share", "2023-11").await.lines.is_empty());
    for topic in topics {
        topic.delete().await;
    }
    database.drop_it().await;
}
