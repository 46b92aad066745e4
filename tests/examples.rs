//! Worked examples of agreements: those that ship, those of real contracts, and wrong ones.

#[path = "tidy/json_schema.rs"]
mod json_schema;

use apportion::domain::contract::document::Document;
use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::contract::schema::schema;
use apportion::domain::ids::ContractId;
use apportion::domain::simulate::examples::{Figure, run_examples};
use std::collections::BTreeSet;
use std::path::Path;

/// The files of a folder of the repository, and of the folders in it.
fn files_in(folder: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a text");
                files.push(SourceFile { path: path.strip_prefix(&root).expect("a path").display().to_string(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read(folder: &str) -> Folder {
    read_folder(&files_in(folder)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs all examples of a folder, and tells which are wrong.
#[track_caller]
fn all_are_right(folder: &str) -> Vec<Figure> {
    let figures = run_examples(&read(folder));
    let wrong: Vec<String> = figures.iter().filter(|it| !it.is_right).map(ToString::to_string).collect();
    println!("{folder}: {} figures, {} wrong", figures.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    figures
}

#[test]
fn every_example_that_ships_is_right() {
    assert!(all_are_right("contracts").len() > 25);
    assert!(all_are_right("agreements").len() > 50);
}

#[test]
fn every_example_of_a_real_contract_is_right() {
    let figures = all_are_right("tests/contracts");
    let contracts: BTreeSet<&ContractId> = figures.iter().map(|it| &it.contract).collect();
    assert_eq!(contracts.len(), read("tests/contracts").contracts.len(), "each has a worked example");
    assert!(contracts.len() >= 25, "{contracts:?}");
}

/// The table says of each of the 60 contracts how it is said, and names the file of each that is encoded.
#[test]
fn the_table_of_clauses_and_the_contracts_agree() {
    let table = files_in("contracts").into_iter().find(|file| file.path == "CLAUSES.md").expect("the table").text;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| matches!(cells.get(2), Some(&"yes" | &"part")))
        .collect();
    assert_eq!(rows.len(), 60);
    let linked: BTreeSet<String> = rows
        .iter()
        .filter_map(|cells| cells[1].split_once("](../tests/contracts/"))
        .map(|(_, file)| file.trim_end_matches(')').to_owned())
        .collect();
    let encoded: BTreeSet<String> = files_in("tests/contracts").into_iter().map(|file| file.path).collect();
    assert_eq!(linked, encoded);
    assert!(table.contains(&format!("For {} of them that is shown", encoded.len())));
    // Of 60, all but 5 % can be said; what is left has a row below the table.
    let left: Vec<&str> = rows.iter().filter(|cells| cells[2..4].contains(&"part")).map(|cells| cells[1]).collect();
    let unsaid = rows.iter().filter(|cells| cells[2] == "part").count();
    assert!(unsaid <= 3, "{unsaid}");
    let (_, below) = table.split_once("## What is left").expect("what is left");
    for contract in left {
        let name = contract.trim_start_matches('[').split(']').next().unwrap_or_default();
        assert!(below.contains(name), "{name}");
    }
    // Each quotes its source and licence.
    for file in files_in("tests/contracts") {
        assert!(file.text.contains("CUAD v1 (The Atticus Project, CC BY 4.0)"), "{}", file.path);
        assert!(file.text.contains('"') && file.text.contains("## Example"), "{}", file.path);
    }
}

/// A block as JSON; dates are text, as editors take them.
fn as_json(value: &toml::Value) -> serde_json::Value {
    match value {
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.iter().map(as_json).collect(),
        toml::Value::Table(table) => table.iter().map(|(name, value)| (name.clone(), as_json(value))).collect(),
        other => serde_json::to_value(other).expect("JSON"),
    }
}

#[test]
fn the_schema_for_editors_is_that_of_the_reader() {
    let schema = schema();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts/schema.json");
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the schema")).expect("JSON");
    assert!(written == schema, "not current: apportion contracts schema > contracts/schema.json");
    let checker = json_schema::Schema { root: &schema };
    let faults = |document: &str| {
        let toml = Document::parse("x.md", document).toml;
        checker.faults(&schema, &as_json(&toml.parse::<toml::Table>().expect("TOML").into()), "")
    };
    for folder in ["contracts", "agreements", "tests/contracts"] {
        for file in files_in(folder).iter().filter(|file| file.path.ends_with(".md")) {
            let faults = faults(&file.text);
            assert!(faults.is_empty(), "{}: {faults:?}", file.path);
        }
    }
    for wrong in
        ["[term.a]\npayer = 1", "[contract]\nid = \"a\"", "[base.x]\nselekt = {}", "[cap.c]\nexcess = \"kept\""]
    {
        assert!(!faults(&format!("```toml\n{wrong}\n```\n")).is_empty(), "{wrong}");
    }
}

/// `EXAMPLES=DIR` names a folder of agreements, to run its examples while they are written.
#[test]
fn examples_of_a_folder_that_somebody_names() {
    if let Ok(folder) = std::env::var("EXAMPLES") {
        all_are_right(&folder);
    }
}

/// What is told of the examples of a small agreement: a share of 20 % of sales less refunds and a cost.
fn told(given: &str, expect: &str) -> Vec<String> {
    let text = format!(
        r#"# Deal

```toml
[party.lab]
name = "Lab"

[party.partner]
name = "Partner"

[contract]
id = "deal"
zone = "UTC"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"

[version]
number = 1
effective = 2026-01-01

[figure.Cost]
unit = "USD"
kind = "flow"
missing = "stop"

[fact.signed]
kind = "event"
about = ["customer"]

[base.Profit]
select = {{ charges = {{ seller = "lab" }} }}
less = [{{ deductions = ["refund"], at = "item" }}, {{ figure = "Cost", at = "own_date" }}]
```

## Share

```toml
[term.share]
payer = "lab"
payee = "partner"
rate = "20%"
of = "Profit"
cap = {{ is = "100 USD", each = "term", from = 2026-01-01, opening = "0 USD", excess = "lost" }}
```

## Example

{given}

{expect}
"#
    );
    let file = SourceFile { path: "deal.md".into(), text };
    let folder = read_folder(&[file]).unwrap_or_else(|errors| panic!("{errors}"));
    run_examples(&folder).iter().map(ToString::to_string).collect()
}

const GIVEN: &str = "| given | at | amount | seller |\n| --- | --- | --- | --- |\n";
const EXPECT: &str = "| expect | period | amount |\n| --- | --- | --- |\n";

#[track_caller]
fn comes_out_as(given: &str, expect: &str, words: &str) {
    let told = told(&format!("{GIVEN}{given}"), &format!("{EXPECT}{expect}"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(words), "{}", told[0]);
}

#[test]
fn a_wrong_example_says_what_came_out_instead() {
    let sale = "| charge a | 2026-02-03 | 1_000 USD | lab |";
    comes_out_as(
        sale,
        "| share | 2026-02 | 200 USD |",
        "deal.md:55:3: example \"Example\": share 2026-02: expected 200 USD, and what came out is 100 USD (base 1000, 200 \
         before the cap, of which 100 of 100 are used, 100 unrounded)",
    );
    comes_out_as(sale, "| share | 2026-02 | 100 EUR |", "expected 100 EUR, and what came out is 100 USD");
    comes_out_as(sale, "| share | 2026-02 | 1 finding |", "expected 1 finding, and what came out is 0 findings");
    comes_out_as(sale, "| share | 2026-02 | stops |", "expected stops, and what came out is 100");
    comes_out_as(sale, "| share | 2026-Q1 | 100 USD |", "what came out is 100 USD");
    comes_out_as(sale, "| share | 2026-02-03 | 100 USD |", "what came out is 100 USD");
}

#[test]
fn an_example_stops_where_a_settlement_does() {
    let given = "| charge a | 2026-02-03 | 100 USD | lab |\n| figure Cost f | 2026-01 | 1 USD | |";
    // Of what an example tells nothing, nothing is missing.
    comes_out_as(given, "| share | 2026-02 | 20 USD |", "what came out is 20 USD");
    let told = told(
        "| given | at | recorded | amount |\n| --- | --- | --- | --- |\n| figure Cost f | 2026-01 | 2026-02-10 | 1 USD |",
        "| expect | period | known | amount |\n| --- | --- | --- | --- |\n| share | 2026-01 | 2026-02-09 | 0 USD |",
    );
    assert!(told[0].contains("it stops: figure \"Cost\" of deal is missing for 2026-01-01 to 2026-01-31,"), "{told:?}");
}

#[test]
fn a_row_that_cannot_be_run_is_told() {
    let expect = "| share | 2026-02 | 0 USD |";
    let wrong = |row: &str, words: &str| comes_out_as(row, expect, words);
    wrong("| charge a | 2026-02-03 | 1_000 | lab |", "deal.md:51:3: 1000 is in no currency");
    wrong("| charge a | 2026-02-03 | | lab |", "no amount; write one, such as 1_000.50 USD");
    wrong("| charge a | 2026-02-03 | 1 USD | labs |", "no register names a party \"labs\"");
    wrong("| usage a | 2026-02-03 | -1 | lab |", "-1 is no number of at most 28 digits, zero or more");
    wrong("| figure Cost f | 2026-02-03T00:00:00Z | 1 USD | |", "a flow is of a period or day");
    wrong("| rate EUR USD | 2026-02-03 | 1.1 | |", "the contract has no [fx]");
    wrong(
        "| charge a | 2026-02-03 | 1 USD | lab |\n| void of a | 2026-02-03 | | lab |",
        "the column \"seller\" says nothing of this",
    );
    let told = told(
        "| given | at | cloud |\n| --- | --- | --- |\n| fact signed | 2026-02-03 | azur |",
        &format!("{EXPECT}{expect}"),
    );
    assert!(told.concat().contains("no register names a cloud \"azur\""), "{told:?}");
}
