//! Cost reports in place of others: of those of a period the last one holds, a part of what is held never, and what was known
//! stays.

use crate::costs::{Folder, may};
use crate::support::TestDatabase;
use apportion::domain::period::Instant;
use apportion::ingest::costs::{Recorded, check, record};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn of_the_reports_of_a_month_the_last_one_holds_and_what_was_known_stays() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let first = [
        may(["AWS", "1", "Bedrock"], "Usage", "USD", "10,10,10"),
        may(["AWS", "1", "S3"], "Usage", "USD", "0.5,0.5,0.5"),
        may(["AWS", "1", "S3"], "Usage", "EUR", "3,3,3"),
        may(["AWS", "2", "Bedrock"], "Usage", "USD", "7,7,7"),
        may(["Microsoft", "1", "OpenAI"], "Usage", "USD", "4,4,4"),
    ];
    assert!(matches!(database.import_costs(&folder.report("first.csv", &first)).await, Recorded::Now(_)));
    let before = database.watermark().await;
    let as_first = ["AWS 1 EUR 1 3", "AWS 1 USD 2 10.5", "AWS 2 USD 1 7", "Microsoft 1 USD 1 4"];
    assert_eq!(database.told_costs(before).await, as_first);
    // Account 1 again, with a row that corrects and no euros; a report may be in two files.
    let correction =
        may(["AWS", "1", "Bedrock"], "Usage", "USD", "-2.25,-2.25,-2.25").replacen(",,", ",Correction,", 1);
    let parts = [folder.report("a.csv", &first[..2]), folder.report("b.csv", &[correction])];
    let [a, b] = [&parts[0], &parts[1]].map(|path| path.to_str().expect("a path"));
    let (status, told, complaint) = database.cost(&["import", "--as-one", a, b]);
    assert_eq!(status, Some(0), "{complaint}");
    let same = database.cost(&["import", "--as-one", a, b, a]);
    assert!(same.0 == Some(3) && same.2.contains("a.csv: holds what"), "{same:?}");
    let apart = database.cost(&["import", a, b]);
    assert!(
        apart.0 == Some(3) && apart.2.contains("b.csv: states a billing period of account 1 of AWS that"),
        "{apart:?}"
    );
    assert!(apart.2.contains("--as-one makes them one report"), "{apart:?}");
    let line = told.lines().find(|line| line.contains("AWS")).expect("a line").split_whitespace().collect::<Vec<_>>();
    assert_eq!(line, ["AWS", "1", "2026-05", "3", "3"], "as many rows as were held: {told}");
    let after = database.watermark().await;
    let as_second = ["AWS 1 USD 3 8.25", "AWS 2 USD 1 7", "Microsoft 1 USD 1 4"];
    assert_eq!(database.told_costs(after).await, as_second);
    // The digest is of those of the files, sorted: in another order it is the same report.
    let (status, told, _) = database.cost(&["import", "--as-one", b, a]);
    assert!(status == Some(0) && told.contains("a known duplicate"), "{told}");
    let sorted = r#"sha256sum "$@" | cut -c1-64 | LC_ALL=C sort | sha256sum"#;
    let sum = Command::new("sh").args(["-c", sorted, "sh", a, b]).output().expect("coreutils").stdout;
    let held = database.held_costs(after).await;
    assert!(String::from_utf8_lossy(&sum).starts_with(&held[0].report_sha256), "{held:?}");
    assert_eq!(
        (database.told_costs(before).await, database.told_costs(after).await),
        (as_first.map(str::to_owned).to_vec(), as_second.map(str::to_owned).to_vec())
    );
    let known =
        |known_at: Instant| database.cost_json(&["list", "--provider", "AWS", "--known-at", &known_at.to_rfc3339()]);
    assert_eq!(known(before).as_array().map(Vec::len), Some(3));
    assert_eq!((&known(after)[0]["billed"], &known(after)[0]["rows"]), (&json!("8.25"), &json!(3)));
    let (status, _, complaint) = database.cost(&["list", "--known-at", "2999-01-01"]);
    assert_eq!(status, Some(3), "{complaint}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_what_is_held_is_refused_and_what_was_replaced_holds_again() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let of_account = |account: &str| may(["AWS", account, "Bedrock"], "Usage", "USD", "10,10,10");
    let billed = |from: &str, to: &str, costs: &str| {
        let row = of_account("1").replace("2026-05-01T", "FROM").replace("2026-06-01T", &format!("{to}T"));
        let row = row.replace("FROM", &format!("{from}T")).replace("10,10,10", costs);
        folder.report(&format!("{from}-{to}.csv"), &[row])
    };
    let refused = |path: &Path, why: &str| {
        let (status, _, complaint) = database.cost(&["import", path.to_str().expect("a path")]);
        assert!(status == Some(3) && complaint.contains(why), "{why}: {complaint}");
    };
    let told = async || database.told_costs(database.watermark().await).await;
    database.import_costs(&billed("2026-05-01", "2026-06-01", "10,10,10")).await;
    // A part of what is held would pass for the whole; a month beside it is held, too.
    refused(&billed("2026-05-02", "2026-05-08", "1,1,1"), "import a report of all of it");
    refused(&billed("2026-04-15", "2026-05-15", "1,1,1"), "a part of 2026-05-01");
    assert_eq!(database.number("select count(*) from cost_report").await, 1);
    database.import_costs(&billed("2026-06-01", "2026-07-01", "6,6,6")).await;
    assert_eq!(told().await, ["AWS 1 USD 1 10", "AWS 1 USD 1 6"]);
    // What states all of them is in place of its parts.
    database.import_costs(&billed("2026-04-01", "2026-07-01", "3,3,3")).await;
    assert_eq!(told().await, ["AWS 1 USD 1 3"]);
    refused(&billed("2026-05-01", "2026-06-01", "9,9,9"), "a part of 2026-04-01");
    // The same in parts, which state all of it together; of the last alone, a part.
    let parts = [("2026-04-01", "2026-05-01"), ("2026-05-01", "2026-06-01"), ("2026-06-01", "2026-07-01")];
    let parts = parts.map(|(from, to)| billed(from, to, "2,2,2"));
    refused(&parts[2], "a part of 2026-04-01");
    let [april, of_may, june] = parts.each_ref().map(|path| path.to_str().expect("a path"));
    let (status, _, complaint) = database.cost(&["import", "--as-one", april, of_may, june]);
    assert_eq!(status, Some(0), "{complaint}");
    assert_eq!(told().await, ["AWS 1 USD 1 2"; 3]);
    // What was replaced is known, and holds again where that is asked for.
    let again = billed("2026-04-01", "2026-07-01", "3,3,3");
    assert!(matches!(database.import_costs(&again).await, Recorded::Replaced(_)));
    let again = again.to_str().expect("a path");
    for (arguments, says, holds) in [
        (&["import", again][..], "and replaced since; --again records it anew", "AWS 1 USD 1 2"),
        (&["import", "--again", again], "1 row recorded", "AWS 1 USD 1 3"),
        (&["import", "--again", again], "which holds; nothing is recorded again", "AWS 1 USD 1 3"),
    ] {
        let (status, said, _) = database.cost(arguments);
        assert!(status == Some(0) && said.contains(says) && told().await[0] == holds, "{arguments:?}: {said}");
    }
    // What was recorded before one was refused is told.
    let other = folder.report("other.csv", &[of_account("2")]);
    let (status, said, _) = database.cost(&["import", "--format", "json", other.to_str().expect("a path"), april]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((status, said[0]["holds"].as_bool(), said[1].is_null()), (Some(3), Some(true), true));
    assert_eq!(database.number("select count(*) from cost_report").await, 6);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_come_at_once_are_recorded_once_each_and_one_is_the_last() {
    let (database, folder) = (TestDatabase::empty().await, Folder::new());
    let report = |account: usize, n: usize| {
        let row = may(["AWS", &account.to_string(), "Bedrock"], "Usage", "USD", &format!("{n},0,0"));
        check(&[folder.report(&format!("{n}.csv"), &vec![row; 2_500])]).expect("right")
    };
    // Of one account, of which each is in place of the one before, and of accounts of their own.
    let reports = [(1, 1), (1, 1), (1, 2), (1, 3), (1, 2), (1, 1), (4, 4), (5, 5), (5, 5), (4, 4)];
    let reports = reports.map(|(account, n)| report(account, n));
    // Beside batches of usage, which hold the gate as well.
    let usage = async {
        for n in 0..5 {
            database.write(&[crate::support::event(&format!("e{n}"), 1, 1)]).await;
        }
    };
    let (became, ()) = tokio::join!(
        futures_util::future::join_all(reports.iter().map(|report| record(&database.pool, report, true))),
        usage
    );
    let mut recorded = BTreeMap::new();
    let mut duplicates = Vec::new();
    for (report, became) in reports.iter().zip(became) {
        match became.unwrap_or_else(|error| panic!("{error}")) {
            Recorded::Now(at) => assert_eq!(recorded.insert(at, report.sha256.clone()), None),
            Recorded::Held(at) => duplicates.push((at, report.sha256.clone())),
            Recorded::Replaced(at) => panic!("it is recorded again: {at}"),
        }
    }
    assert!(duplicates.iter().all(|(at, sha256)| recorded.get(at) == Some(sha256)));
    assert_eq!(database.cost_rows().await, recorded.len() as i64 * 2_500);
    let apart: BTreeSet<&String> = reports[6..8].iter().map(|report| &report.sha256).collect();
    let of_one: Vec<_> = recorded.iter().filter(|(_, sha256)| !apart.contains(sha256)).collect();
    assert_eq!((recorded.len() - of_one.len(), duplicates.len() + of_one.len()), (2, 8));
    // None is recorded that is held; as known at each instant the one recorded by then is held.
    assert!(of_one.len() >= 3 && of_one.windows(2).all(|pair| pair[0].1 != pair[1].1), "{of_one:?}");
    let last = database.watermark().await;
    for (at, sha256) in of_one.iter().copied().chain([(&last, of_one.last().expect("one").1)]) {
        let mut held = database.held_costs(*at).await;
        held.retain(|it| it.billing_account == "1");
        assert_eq!((held.len(), &held[0].report_sha256, held[0].rows), (1, sha256, 2_500));
    }
    let first = *recorded.keys().next().expect("one");
    assert!(database.held_costs(first - chrono::TimeDelta::microseconds(1)).await.is_empty());
    database.drop_it().await;
}
