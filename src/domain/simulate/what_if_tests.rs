//! What-ifs of a small scenario, with figures worked out by hand.

use super::Scenario;
use super::path::{PathKind, PathProblem, Paths};
use super::report::{By, Ran, Report, report};
use super::run::run;
use super::sheet::{Cell, SheetKind};
use super::what_if::{Named, WhatIf, cases};
use crate::domain::contract::folder::SourceFile;

const REGISTER: &str = r#"# Register

```toml
[party.lab]
name = "Lab"
[party.ms]
name = "Cloud"
[cloud.own]
operator = "lab"
[product.model-a]
maker = "lab"
[deployment.own]
cloud = "own"
channel = "direct"
region = "us"
operator = "lab"
seller = "lab"
```
"#;

const CONTRACT: &str = r#"# Main

```toml
[contract]
id = "main"
zone = "UTC"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"

[figure.Subscriptions]
unit = "USD"
kind = "flow"
by = "lab"
missing = "zero"

[base."Sales"]
select = [{ charges = { seller = "lab" } }, { figure = "Subscriptions" }]
```
"#;

fn version(number: u32, effective: &str, rate: &str) -> String {
    format!(
        "# Version {number}\n\n```toml\n[version]\ncontract = \"main\"\nnumber = {number}\neffective = {effective}\n```\n\n\
         ## Share\n\n```toml\n[term.share]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"{rate}\"\nof = \"Sales\"\n```\n"
    )
}

const PRICES: &str = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n\
     p,model-a,requests,default,,,,,1,1,USD,,,list\n";

/// A hundred requests in each of three months, and 50 of subscriptions in March.
const RECORDS: &str = r#"
{"kind":"usage","source":"s","id":"e1","occurred_at":"2026-01-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}
{"kind":"usage","source":"s","id":"e2","occurred_at":"2026-02-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}
{"kind":"usage","source":"s","id":"e3","occurred_at":"2026-03-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}
{"kind":"figure","source":"s","id":"f","recorded_at":"2026-04-01T00:00:00Z","contract":"main","name":"Subscriptions","by":"lab","from":"2026-03-01","through":"2026-03-31","value":"50 USD"}
"#;

const STEPS: &str = r#"{"step":"settle","contract":"main","period":"2026-03","cutoff":"2026-04-05T00:00:00Z"}"#;

fn file(path: &str, text: impl Into<String>) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.into() }
}

fn files() -> Vec<SourceFile> {
    vec![
        file("1.md", version(1, "2026-01-01", "20%")),
        file("main.md", CONTRACT),
        file("prices.csv", PRICES),
        file("records.jsonl", RECORDS),
        file("register.md", REGISTER),
        file("steps.jsonl", STEPS),
    ]
}

fn paths(kind: PathKind, path: &str) -> Named<Paths> {
    let text = format!("zone = \"UTC\"\n{path}");
    Named { name: "path".to_owned(), it: Paths::read(&text, kind).unwrap_or_else(|problem| panic!("{problem}")) }
}

fn compared(files: &[SourceFile], what_if: &WhatIf, by: By) -> Report {
    let given = Scenario::read(files).unwrap_or_else(|errors| panic!("{errors}"));
    let cases = cases(given, what_if).unwrap_or_else(|problem| panic!("{problem:?}"));
    let ran = cases.into_iter().map(|case| {
        let answers = run(&case.scenario).unwrap_or_else(|errors| panic!("{errors}"));
        let (name, compared_with, steps) = (case.name, case.compared_with, case.scenario.steps);
        Ran { name, compared_with, steps, answers, stated_amounts: 0 }
    });
    report("small", by, ran.collect())
}

/// The amounts and differences of the one term, by period.
fn told(report: &Report) -> Vec<String> {
    let row = |it: &super::report::Difference<super::report::Account>| {
        let amounts: Vec<String> = it.cases.iter().map(|case| case.amount.to_string()).collect();
        let less: Vec<String> = it.cases.iter().filter_map(|case| Some(case.less.as_ref()?.to_string())).collect();
        format!("{}: {} | {}", it.period.as_deref().unwrap_or("total"), amounts.join(" "), less.join(" "))
    };
    report.differences.iter().map(row).collect()
}

/// From 100 % in January to 50 % in March.
const DOWN: &str = "[[path]]\npoints = [{ month = \"2026-01\", is = \"100%\" }, { month = \"2026-03\", is = \"50%\" }]";

#[test]
fn prices_follow_a_path_from_month_to_month() {
    let what_if = WhatIf { prices: vec![paths(PathKind::Prices, DOWN)], ..WhatIf::default() };
    let report = compared(&files(), &what_if, By::Period);
    // 20 % of 100 and of 100 * 0.75 and of 100 * 0.5 and the 50 of subscriptions, which no price path changes.
    assert_eq!(
        told(&report),
        ["2026-01: 20 20 | 0", "2026-02: 20 15 | -5", "2026-03: 30 20 | -10", "total: 70 55 | -15"]
    );
    assert_eq!(report.cases[1].compared_with.as_deref(), Some("as given"));
}

#[test]
fn a_path_of_prices_selects_by_the_columns_of_a_price_book() {
    let point = "points = [{ month = \"2026-01\", is = \"50%\" }]";
    let mut files = files();
    let of_customer = PRICES.lines().nth(1).expect("a price").replace("p,", "q,").replace("default,,", "default,c,");
    files[2].text.push_str(&of_customer);
    // The customer's own price is in force: 20 % of 100 at half of it, and of 50.
    for columns in ["product = \"model-a\"", "meter = \"requests\"", "service_tier = \"default\"", "customer = \"c\""] {
        let path = format!("[[path]]\nwhere = {{ {columns} }}\n{point}");
        let what_if = WhatIf { prices: vec![paths(PathKind::Prices, &path)], ..WhatIf::default() };
        let found = told(&compared(&files, &what_if, By::Period));
        assert_eq!(found[2], "2026-03: 30 20 | -10", "{columns}");
    }
}

#[test]
fn an_amendment_stands_beside_the_same_paths_without_it() {
    let amended: Vec<SourceFile> = vec![file("2.md", version(2, "2026-02-01", "10%"))];
    let it = Scenario::read_between(&[], &files(), &amended).unwrap_or_else(|errors| panic!("{errors}"));
    let against = Some(Named { name: "amendment".to_owned(), it });
    let what_if = WhatIf { against, prices: vec![paths(PathKind::Prices, DOWN)], ..WhatIf::default() };
    let report = compared(&files(), &what_if, By::Year);
    let names: Vec<_> = report.cases.iter().map(|case| (case.name.as_str(), case.compared_with.as_deref())).collect();
    let path = "path";
    assert_eq!(
        names,
        [
            ("as given", None),
            ("amendment", Some("as given")),
            (path, Some("as given")),
            ("amendment, path", Some(path))
        ]
    );
    // Amended: 20 + 10 + 15; on the path: 20 + 15 + 20; both: 20 + 7.50 + 10.
    assert_eq!(told(&report), ["2026: 70 45 55 37.5 | -25 -15 -17.5", "total: 70 45 55 37.5 | -25 -15 -17.5"]);
    let party = &report.party_differences[0];
    let [given, amended, ..] = party.cases.as_slice() else { panic!("{party:?}") };
    assert_eq!((party.of.party.as_str(), given.case.as_str(), &given.less), ("lab", "as given", &None));
    // It owes 70 as given and 45 as amended.
    assert_eq!((amended.case.as_str(), amended.amount.to_string()), ("amendment", "-45".to_owned()));
    assert_eq!(amended.less.as_ref().map(ToString::to_string), Some("25".to_owned()));
}

#[test]
fn volumes_are_multiplied_as_they_stand_after_corrections() {
    let mut files = files();
    files[3].text.push_str(
        r#"{"kind":"correction","source":"s","id":"k","corrects":"e2","quantities":{"requests":"200"},"recorded_at":"2026-03-01T00:00:00Z"}"#,
    );
    let path = "[[path]]\nwhere = { figure = \"Subscriptions\" }\npoints = [{ month = \"2026-03\", is = \"10%\" }]\n\
                [[path]]\nwhere = { customer = [\"c\", \"d\"] }\nbetween = \"level\"\n\
                points = [{ month = \"2026-02\", is = \"3\" }, { month = \"2026-03\", is = \"0\" }]";
    let what_if = WhatIf { volumes: vec![paths(PathKind::Volumes, path)], ..WhatIf::default() };
    // February: 20 % of 200 three times; March: nothing of the usage, and a tenth of 50.
    assert_eq!(
        told(&compared(&files, &what_if, By::Period)),
        ["2026-01: 20 20 | 0", "2026-02: 40 120 | 80", "2026-03: 30 1 | -29", "total: 90 141 | 51"]
    );
}

#[test]
fn a_path_that_selects_nothing_or_gives_too_many_digits_is_refused() {
    let given = || Scenario::read(&files()).expect("a scenario");
    let point = "points = [{ month = \"2026-02\", is = \"0.5\" }]";
    let of = |kind, select: &str| paths(kind, &format!("[[path]]\nwhere = {{ {select} }}\n{point}"));
    for (kind, select) in [
        (PathKind::Prices, "product = \"model-b\""),
        (PathKind::Prices, "region = \"us\""),
        (PathKind::Volumes, "deployment = \"azure\""),
        (PathKind::Volumes, "contract = \"main\""),
    ] {
        let paths = vec![of(kind, select)];
        let what_if = match kind {
            PathKind::Prices => WhatIf { prices: paths, ..WhatIf::default() },
            PathKind::Volumes => WhatIf { volumes: paths, ..WhatIf::default() },
        };
        let refused = cases(given(), &what_if).expect_err("a refusal");
        assert!(matches!(refused.it, PathProblem::SelectsNothing { path: 1 }), "{select}: {}", refused.it);
    }
    let mut files = files();
    files[2].text = files[2].text.replace(",,,,,1,1,USD", ",,,,,1.2345678901234567890123,1,USD");
    let given = Scenario::read(&files).expect("a scenario");
    let what_if = WhatIf { prices: vec![paths(PathKind::Prices, &format!("[[path]]\n{point}"))], ..WhatIf::default() };
    let refused = cases(given, &what_if).map(|cases| cases.len());
    assert!(refused.is_ok_and(|cases| cases == 2), "22 digits and those of a factor fit");
    files[2].text = files[2].text.replace("0123,1,USD", "01234567,1,USD");
    let given = Scenario::read(&files).expect("a scenario");
    let point = point.replace("0.5", "0.333333");
    let what_if = WhatIf { prices: vec![paths(PathKind::Prices, &format!("[[path]]\n{point}"))], ..WhatIf::default() };
    let refused = cases(given, &what_if).expect_err("a refusal");
    assert!(refused.it.to_string().contains("price \"p\" times a factor"), "{}", refused.it);
}

#[test]
fn files_beneath_give_way_and_files_above_stand() {
    let own = files();
    let shared = [file("prices.csv", PRICES.replace(",1,1,USD", ",7,1,USD")), file("more.jsonl", "")];
    let given = Scenario::read_between(&shared, &own, &[]).expect("a scenario");
    assert_eq!(given.prices[0].1.amount.to_string(), "1");
    assert_eq!(given.files().len(), own.len() + 1);
    let amended = Scenario::read_between(&[], &own, &shared).expect("a scenario");
    assert_eq!(amended.prices[0].1.amount.to_string(), "7");
    // One document that holds the files is read alike.
    let document = file("small.md", given.write_one_file("Small"));
    let of_document = Scenario::read_between(&[], &[document], &shared).expect("a scenario");
    assert_eq!(of_document.prices[0].1.amount.to_string(), "7");
}

/// The last case's rows of a sheet, each with its cells beside each other.
fn rows(report: &Report, kind: SheetKind) -> Vec<String> {
    let (_, sheet) = report.sheets(kind).pop().expect("rows");
    let row = |row: &Vec<Cell>| {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => text.clone(),
            Cell::Exact(number) | Cell::Amount(number, _) => number.to_string(),
            Cell::Nothing => String::new(),
        });
        cells.collect::<Vec<_>>().join(",")
    };
    sheet.rows.iter().map(row).collect()
}

#[test]
fn sheets_tell_what_is_owed_and_booked() {
    let report = compared(&files(), &WhatIf::default(), By::Year);
    let sheet = |kind| rows(&report, kind);
    assert_eq!(sheet(SheetKind::Booked), ["main,2026,share,lab,ms,70,USD"]);
    assert_eq!(sheet(SheetKind::Owed), ["1,main,share,2026,350,70,70,70,USD,,,,,"]);
    assert_eq!(sheet(SheetKind::Parties), ["lab,2026,0,70,-70,USD", "ms,2026,70,0,70,USD"]);
    assert_eq!(sheet(SheetKind::Steps), ["1,settle main 2026-03 as known at 2026-04-05T00:00:00Z,settled,"]);
    // Those without rows have headings.
    for kind in [SheetKind::Crossings, SheetKind::Differences] {
        assert!(matches!(report.sheets(kind).as_slice(), [(_, it)] if it.rows.is_empty() && !it.columns.is_empty()));
    }
    let by_period = compared(&files(), &WhatIf::default(), By::Period);
    let (_, booked) = by_period.sheets(SheetKind::Booked).pop().expect("rows");
    assert_eq!(booked.rows.len(), 3);
}

#[test]
fn a_sheet_tells_differences_by_term_and_by_party() {
    let what_if = WhatIf { prices: vec![paths(PathKind::Prices, DOWN)], ..WhatIf::default() };
    // 70 as given; 20 + 15 + 20 on the path. The lab owes it, so it is 15 better off.
    assert_eq!(
        rows(&compared(&files(), &what_if, By::Year), SheetKind::Differences),
        [
            "main,share,lab owes ms,2026,USD,70,55,-15",
            "main,share,lab owes ms,total,USD,70,55,-15",
            ",,lab receives, less what it owes,2026,USD,-70,-55,15",
            ",,lab receives, less what it owes,total,USD,-70,-55,15",
            ",,ms receives, less what it owes,2026,USD,70,55,-15",
            ",,ms receives, less what it owes,total,USD,70,55,-15",
        ]
    );
}

#[test]
fn a_period_before_the_contract_is_not_told_as_settled() {
    let step = |change: &dyn Fn(&str) -> String| {
        let files = files().into_iter().map(|file| match file.path.as_str() {
            "steps.jsonl" => SourceFile { text: change(&file.text), ..file },
            _ => file,
        });
        let report = compared(&files.collect::<Vec<_>>(), &WhatIf::default(), By::Year);
        rows(&report, SheetKind::Steps)
    };
    assert_eq!(
        step(&|text| text.replace("2026-03", "2025-12")),
        [
            "1,settle main 2025-12 as known at 2026-04-05T00:00:00Z,nothing agreed,the contract begins at 2026-01-01 (UTC), when the period is over"
        ]
    );
}
