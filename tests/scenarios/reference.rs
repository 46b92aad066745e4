//! The scenarios that are shipped: the reference agreement over eight years, and what-ifs of it.

use apportion::domain::contract::folder::SourceFile;
use apportion::domain::money::Exact;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::path::{PathKind, Paths};
use apportion::domain::simulate::report::{By, Ran, Report, report};
use apportion::domain::simulate::run::run;
use apportion::domain::simulate::sheet::{Cell, SheetKind};
use apportion::domain::simulate::what_if::{Named, WhatIf, cases};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let (mut files, mut waiting): (Vec<SourceFile>, Vec<PathBuf>) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text");
            files.push(SourceFile { path: path.strip_prefix(&root).expect("inside").display().to_string(), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn paths(kind: PathKind, name: &str) -> Named<Paths> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/paths").join(name);
    let text = std::fs::read_to_string(path).expect("a text");
    Named { name: name.to_owned(), it: Paths::read(&text, kind).unwrap_or_else(|problem| panic!("{problem}")) }
}

fn compared(what_if: &WhatIf) -> Report {
    let given = Scenario::read_between(&folder("contracts"), &folder("scenarios/reference"), &[]);
    let cases = cases(given.unwrap_or_else(|errors| panic!("{errors}")), what_if);
    let ran = cases.unwrap_or_else(|problem| panic!("{problem:?}")).into_iter().map(|case| {
        let answers = run(&case.scenario).unwrap_or_else(|errors| panic!("{errors}"));
        let (name, compared_with, steps) = (case.name, case.compared_with, case.scenario.steps);
        Ran { name, compared_with, steps, answers, stated_amounts: 0 }
    });
    let report = report("reference", By::Year, ran.collect());
    assert_eq!(report.failures().count(), 0);
    report
}

fn number(text: &str) -> Exact {
    text.parse().expect("a number")
}

/// The rows of a sheet of the first case.
fn rows(report: &Report, kind: SheetKind) -> Vec<Vec<String>> {
    let (_, sheet) = report.sheets(kind).into_iter().next().expect("rows");
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) => text.clone(),
        Cell::Exact(number) | Cell::Amount(number, _) => number.to_string(),
        Cell::Nothing => String::new(),
    };
    sheet.rows.iter().map(|row| row.iter().map(cell).collect()).collect()
}

/// Version 3 caps the share at 38 billion dollars from 27 April 2026 on, and ends it with 2030.
#[test]
fn the_reference_agreement_reaches_its_cap_before_2030_ends() {
    let report = compared(&WhatIf::default());
    let again = compared(&WhatIf::default());
    assert_eq!(serde_json::to_string(&report).expect("JSON"), serde_json::to_string(&again).expect("JSON"));

    let crossings = rows(&report, SheetKind::Crossings);
    assert_eq!(crossings.len(), 1, "{crossings:?}");
    let [_, contract, term, period, at, _, room, none, unit] = crossings[0].as_slice() else { panic!("{crossings:?}") };
    assert_eq!([contract, term, unit], ["microsoft-openai", "revenue-share", "USD"]);
    assert!(at.starts_with(period.as_str()) && at.as_str() < "2031", "{crossings:?}");
    assert!(!number(room).is_zero() && !number(room).is_negative() && !number(none).is_zero(), "{crossings:?}");

    let owed: Vec<_> = rows(&report, SheetKind::Owed)
        .into_iter()
        .filter(|row| row[2] == "revenue-share" && row[3].as_str() >= "2026")
        .collect();
    assert_eq!(
        owed.iter().map(|row| row[3].as_str()).collect::<Vec<_>>(),
        ["2026", "2027", "2028", "2029", "2030", "2031", "2032", "2033"]
    );
    for row in &owed {
        let years = ["2031", "2032", "2033"];
        assert_eq!(number(&row[5]).is_zero(), years.contains(&row[3].as_str()), "no share after 2030: {row:?}");
        // Both versions share 20 % of the base; the cap leaves what it has room for.
        assert_eq!(&number(&row[4]) * &number("1/5"), number(&row[5]), "{row:?}");
    }
    assert_eq!(owed.last().map(|row| row[10].as_str()), Some("38000000000"));
    // What was accrued before 27 April 2026 does not count toward the cap.
    let booked = report.cases[0].booked.iter().filter(|it| it.account.term.as_str() == "revenue-share");
    let all: Exact = booked.map(|it| it.amount.clone()).sum();
    let before = &all - &number("38000000000");
    assert!(!before.is_negative() && before < number(&owed[0][6]), "{before}");

    // API products on AWS before 27 April 2026, and Microsoft's use after 2032.
    let breaches = rows(&report, SheetKind::Breaches);
    let rights: Vec<&str> = breaches.iter().map(|row| row[2].as_str()).collect();
    assert!(rights.contains(&"azure-exclusive") && rights.contains(&"licence"), "{breaches:?}");
}

#[test]
fn the_amendment_and_the_paths_that_are_shipped_stand_beside_it() {
    let above = folder("scenarios/amendment");
    let it = Scenario::read_between(&folder("contracts"), &folder("scenarios/reference"), &above);
    let against = Named { name: "amendment".to_owned(), it: it.unwrap_or_else(|errors| panic!("{errors}")) };
    let what_if = WhatIf {
        against: Some(against),
        prices: vec![paths(PathKind::Prices, "prices-down-40.toml")],
        volumes: vec![paths(PathKind::Volumes, "volumes-double.toml")],
    };
    let report = compared(&what_if);
    assert_eq!(report.cases.len(), 8);
    let of = |term: &str, period: Option<&str>| {
        let found = report.differences.iter().find(|it| it.of.term.as_str() == term && it.period.as_deref() == period);
        found.unwrap_or_else(|| panic!("{term} {period:?}"))
    };
    let less = |term: &str, period: Option<&str>, case: usize| {
        of(term, period).cases[case].less.clone().unwrap_or_else(|| panic!("{case} is compared with none"))
    };
    // An amendment of 2028 touches nothing before it; from then on it is 15 % of what was 20 %.
    assert!(less("revenue-share", Some("2026"), 1).is_zero());
    assert!(less("revenue-share", Some("2027"), 1).is_zero());
    let (change, year) = (&less("revenue-share", Some("2028"), 1), &of("revenue-share", Some("2028")).cases[0].amount);
    assert!(
        (change + &(year * &number("1/4"))).round(0, apportion::domain::money::Rounding::HalfUp).is_zero(),
        "{change} {year}"
    );
    // It raises the cap by seven billion.
    let total = of("revenue-share", None);
    assert!(less("revenue-share", None, 1) <= number("7000000000"), "{total:?}");
    // AWS passes on 80 % of its sales: prices alone make it less, the amendment nothing.
    assert!(less("lab-share", None, 1).is_zero());
    assert!(less("lab-share", None, 4).is_negative(), "{:?}", of("lab-share", None));
}
