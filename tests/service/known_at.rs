//! As known at K: a settlement sees what was recorded by its cutoff, and gives the same bytes years later.

use crate::books::*;
use crate::support::{TestDatabase, correction, void};
use apportion::domain::period::Instant;
use apportion::jobs::entitlement::entitlement;
use apportion::jobs::findings::{FindingError, FindingFilter, list};
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::{approve, issue};
use std::path::Path;

const CONTRACT: &str = "microsoft-openai";

/// What one settlement wrote down: booked lines, the documents byte for byte, and the digest of all its input.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    booked: Vec<String>,
    documents: Vec<(String, String)>,
    input_sha256: String,
}

async fn settle_at(database: &TestDatabase, cutoff: Instant) -> Written {
    let report = database.try_settle(CONTRACT, "2026-05", Some(cutoff)).await.unwrap_or_else(|error| panic!("{error}"));
    let documents = sqlx::query_as("select content, sha256 from statement_revision order by statement_id, revision");
    let input_sha256 = sqlx::query_scalar("select input_sha256 from settlement");
    Written {
        booked: booked(&report),
        documents: documents.fetch_all(&database.pool).await.expect("documents"),
        input_sha256: input_sha256.fetch_one(&database.pool).await.expect("one settlement"),
    }
}

/// Steps taken one after the other, with a copy of the database as it stood after each.
struct Story {
    database: TestDatabase,
    known: Vec<(Instant, TestDatabase, &'static [&'static str])>,
}

impl Story {
    /// The last step is recorded; a settlement as known now books `expect`.
    async fn then(&mut self, expect: &'static [&'static str]) {
        let cutoff = self.database.watermark().await;
        let copy = self.database.copy().await;
        self.known.push((cutoff, copy, expect));
    }
}

/// Output that brings the lab 30 USD, of which the share is 6.
fn million(id: &str) -> String {
    usage(id, "2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")])
}

fn append(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, before + text).expect("written");
}

/// 10 % instead of 20 %, without a cap, from 1 May on.
const VERSION_4: &str = r#"# Version 4

```toml
[version]
contract = "microsoft-openai"
number = 4
effective = 2026-05-01
source = "test"
confidence = "official"
```

## Revenue share

Half of it.

```toml
[term.revenue-share]
payer = "openai"
payee = "microsoft"
rate = "10%"
of = "Revenue"
```
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_sees_what_was_recorded_by_its_cutoff() {
    let folder = shipped_copy();
    let mut story = Story { database: TestDatabase::empty().await, known: Vec::new() };
    story.database.apply(folder.path()).await;
    story.database.record(&[subscriptions("may", "2026-05", 31, "0")]).await;
    story.then(&[]).await;
    story.database.write(&[million("e1"), million("e2")]).await;
    story.then(&["revenue-share 2026-05 12"]).await;
    let restated = r#""quantities":{"output_tokens":3000000}"#;
    story.database.write(&[correction("k1", "e1", restated)]).await;
    story.then(&["revenue-share 2026-05 24"]).await;
    story.database.write(&[correction("k2", "e2", r#""occurred_at":"2026-04-30T00:00:00Z""#)]).await;
    story.then(&["revenue-share 2026-04 6", "revenue-share 2026-05 18"]).await;
    story.database.write(&[void("v1", "k1")]).await;
    story.then(&["revenue-share 2026-04 6", "revenue-share 2026-05 6"]).await;
    // The last recorded of equal prices holds: 60/M.
    append(folder.path(), "prices.csv", "new,gpt-5.5,output_tokens,default,,,,,60,1000000,USD,,,test\n");
    assert_eq!(story.database.apply(folder.path()).await.prices, 1);
    story.then(&["revenue-share 2026-04 12", "revenue-share 2026-05 12"]).await;
    story.database.record(&[subscriptions("april", "2026-04", 30, "100")]).await;
    story.then(&["revenue-share 2026-04 32", "revenue-share 2026-05 12"]).await;
    story.database.record(&[refund("r", "e1", "10")]).await;
    story.then(&["revenue-share 2026-04 32", "revenue-share 2026-05 10"]).await;
    append(folder.path(), "microsoft-openai/4.md", VERSION_4);
    assert_eq!(story.database.apply(folder.path()).await.versions, 1);
    story.then(&["revenue-share 2026-04 32", "revenue-share 2026-05 5"]).await;
    story.database.write(&[void("v2", "e2")]).await;
    story.then(&["revenue-share 2026-04 20", "revenue-share 2026-05 5"]).await;

    for (step, (cutoff, then, expect)) in story.known.into_iter().enumerate() {
        let now = story.database.copy().await;
        let asked_now = settle_at(&now, cutoff).await;
        assert_eq!(asked_now.booked, expect, "step {step}");
        assert_eq!(asked_now, settle_at(&then, cutoff).await, "step {step}: asked when nothing later was recorded");
        now.drop_it().await;
        then.drop_it().await;
    }
    story.database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutoff_lies_at_or_before_what_is_recorded_and_after_the_period() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let cutoff = database.watermark().await + chrono::TimeDelta::hours(1);
    let error = database.try_settle(CONTRACT, "2026-05", Some(cutoff)).await.expect_err("refused").to_string();
    assert!(error.contains("lies after"), "{error}");
    let error = database.try_settle(CONTRACT, "2126-05", None).await.expect_err("refused").to_string();
    assert!(error.contains("has not ended yet"), "{error}");
    let now = database.watermark().await;
    let error = database.try_settle(CONTRACT, "2126-05", Some(now)).await.expect_err("refused").to_string();
    assert!(error.contains("has not ended yet"), "{error}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_period_comes_to_so_far_cannot_be_issued() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let now = database.watermark().await;
    let zone = chrono_tz::America::Los_Angeles;
    let this_month = now.with_timezone(&zone).format("%Y-%m").to_string();
    let error = database.try_settle("aws-openai", &this_month, None).await.expect_err("refused").to_string();
    assert!(error.contains("has not ended yet"), "{error}");
    let report = database.try_settle("aws-openai", &this_month, Some(now)).await.expect("settled");
    let (id, _) = report.drafted.first().expect("a statement");
    approve(&database.pool, *id, APPROVER).await.expect("approved");
    let error = issue(&database.pool, *id, APPROVER).await.expect_err("refused").to_string();
    assert!(error.contains("settle it again then"), "{error}");
    let close = "insert into period_close select contract_id, period, period_start, now(), 'nobody' from settlement";
    let error = sqlx::raw_sql(close).execute(&database.pool).await.expect_err("refused").to_string();
    assert!(error.contains("never settled as known at its end"), "{error}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_was_loaded_later_is_told_from_one_that_never_was() {
    let database = TestDatabase::empty().await;
    let before = database.watermark().await;
    database.apply(&shipped()).await;
    let ask = async |contract: &str| {
        let (contract, period) = (contract.into(), "2026-05".parse().expect("a period"));
        entitlement(&database.pool, &contract, period, Some(before)).await.expect_err("refused")
    };
    let stored = sqlx::query_scalar("select min(recorded_at) from contract_version where contract_id = $1");
    let stored: Instant = stored.bind(CONTRACT).fetch_one(&database.pool).await.expect("an instant");
    match ask(CONTRACT).await {
        SettleError::NotLoadedYet { known_at, first, .. } => assert_eq!((known_at, first), (before, stored)),
        other => panic!("{other}"),
    }
    assert!(ask("no-such").await.to_string().contains("no contract \"no-such\" is loaded"));
    match database.try_settle(CONTRACT, "2026-05", Some(before)).await {
        Err(SettleError::NotLoadedYet { .. }) => {}
        other => panic!("{other:?}"),
    }
    let findings = async |contract: &str| {
        let filter = FindingFilter { contract: Some(contract.into()), ..FindingFilter::default() };
        list(&database.pool, &filter, Some(before), None).await.map(|found| found.findings.len())
    };
    match findings(CONTRACT).await {
        Err(FindingError::Contract(SettleError::NotLoadedYet { known_at, first, .. })) => {
            assert_eq!((known_at, first), (before, stored));
        }
        other => panic!("{other:?}"),
    }
    let unknown = findings("no-such").await.expect_err("refused").to_string();
    assert!(unknown.contains("no contract \"no-such\" is loaded"), "{unknown}");
    database.drop_it().await;
}
