//! `apportion simulate` as a program: what it prints and how it ends. It needs neither database nor broker.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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

[version]
number = 1
effective = 2026-01-01

[base."Sales"]
select = { charges = { seller = "lab" } }

[term.share]
payer = "lab"
payee = "ms"
rate = "20%"
of = "Sales"
cap = { is = "30 USD", each = "term", from = 2026-01-01, opening = "0 USD", excess = "lost" }
```
"#;

const PRICES: &str = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n\
     p,model-a,requests,default,,,,,1,1,USD,,,list\n";

const RECORDS: &str = r#"{"kind":"usage","source":"s","id":"e1","occurred_at":"2026-01-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}
{"kind":"usage","source":"s","id":"e2","occurred_at":"2026-02-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}
"#;

const STEPS: &str = r#"{"step":"settle","contract":"main","period":"2026-01","cutoff":"2026-02-05T00:00:00Z"}
{"step":"settle","contract":"main","period":"2026-02","cutoff":"2026-03-05T00:00:00Z"}
"#;

fn write(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder).expect("a folder");
    for (path, text) in files {
        fs::write(folder.join(path), text).expect("a file");
    }
}

/// The scenario `small` in a folder, its agreements in `shared`.
fn scenario(root: &Path) {
    write(&root.join("shared"), &[("register.md", REGISTER), ("main.md", CONTRACT), ("prices.csv", PRICES)]);
    write(&root.join("small"), &[("records.jsonl", RECORDS), ("steps.jsonl", STEPS)]);
}

fn simulate(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command.current_dir(root).env_remove("APPORTION_CONFIG").arg("simulate").args(arguments);
    command.output().expect("the program")
}

#[track_caller]
fn printed(output: &Output, status: i32) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{told}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn people_programs_and_spreadsheets_get_the_same_figures() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    let with = ["small", "--with", "shared"];
    let of = |more: &[&str]| printed(&simulate(root.path(), &[&with, more].concat()), 0);
    let table = of(&[]);
    for expect in ["booked", "20.00", "10.00", "crossings", "e2", "settle main 2026-02"] {
        assert!(table.contains(expect), "{expect} in\n{table}");
    }
    let json = of(&["--format", "json"]);
    assert_eq!(json, of(&["--format", "json"]));
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["scenarios"][0]["cases"][0]["booked"][1]["amount"], "10");
    assert_eq!(
        value["scenarios"][0]["cases"][0]["steps"][1]["answer"]["terms"]["share"]["crossings"][0]["found_none"],
        "10"
    );
    assert_eq!(
        of(&["--format", "csv"]),
        "scenario,case,step,contract,settled,owed for,term,payer,payee,booked,unit\n\
         small,as given,1,main,2026-01,2026-01,share,lab,ms,20,USD\n\
         small,as given,2,main,2026-02,2026-02,share,lab,ms,10,USD\n"
    );
    assert_eq!(
        of(&["--format", "csv", "--only", "crossings"]),
        "scenario,case,step,contract,term,period,at,item,found room,found none,unit\n\
         small,as given,2,main,share,2026-02,2026-02-10T00:00:00Z,e2,10,10,USD\n"
    );
}

#[test]
fn spreadsheets_get_decimals_and_headings_of_empty_sheets() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    write(&root.path().join("shared"), &[("main.md", &CONTRACT.replace("20%", "1/3").replace("30 USD", "900 USD"))]);
    let csv = |only: &str| {
        let arguments = ["small", "--with", "shared", "--format", "csv", "--only", only];
        printed(&simulate(root.path(), &arguments), 0)
    };
    // A third of 100: a spreadsheet takes 100/3 for text, and 1/3 for a date.
    assert!(csv("owed").contains(",100,33.333333333333,33.333333333333,33.33,USD,"), "{}", csv("owed"));
    assert_eq!(csv("crossings"), "scenario,case,step,contract,term,period,at,item,found room,found none,unit\n");
}

#[test]
fn what_ifs_stand_side_by_side() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    write(&root.path().join("raised"), &[("main.md", &CONTRACT.replace("30 USD", "50 USD"))]);
    let path = "zone = \"UTC\"\n[[path]]\npoints = [{ month = \"2026-01\", is = \"50%\" }]\n";
    write(root.path(), &[("half.toml", path)]);
    let arguments = ["small", "--with", "shared", "--against", "raised", "--price-path", "half.toml", "--by", "all"];
    let csv = printed(&simulate(root.path(), &[&arguments[..], &["--format", "csv"]].concat()), 0);
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some(
            "scenario,case,contract,term,who,period,unit,as given,raised,less as given,half,less as given,\"raised, half\",less half"
        )
    );
    // Half the price gives 20 in all, under either cap.
    assert_eq!(lines.next(), Some("small,,main,share,lab owes ms,all,USD,30,40,10,20,-10,20,0"));
    let table = printed(&simulate(root.path(), &arguments), 0);
    assert!(table.contains("differences") && table.contains("raised, half"), "{table}");
    // A path of something that the scenario has not.
    write(root.path(), &[("none.toml", &path.replace("points", "where = { product = \"x\" }\npoints"))]);
    let output = simulate(root.path(), &["small", "--with", "shared", "--price-path", "none.toml"]);
    assert!(printed(&output, 3).contains("none: path 1 selects nothing"), "{output:?}");
}

#[test]
fn the_exit_status_tells_how_it_ended() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    let steps = |text: &str| write(&root.path().join("small"), &[("steps.jsonl", text)]);
    let run = |status| printed(&simulate(root.path(), &["small", "--with", "shared"]), status);
    // A price that is missing can still be recorded.
    write(&root.path().join("small"), &[("prices.csv", &PRICES.replace(",USD,,,", ",USD,2027-01-01T00:00:00Z,,"))]);
    assert!(run(4).contains("missing_price"));
    fs::remove_file(root.path().join("small/prices.csv")).expect("removed");
    // An earlier cutoff cannot be meant.
    steps(&STEPS.replace("2026-03-05", "2026-01-05"));
    assert!(run(3).contains("out_of_order"));
    steps(STEPS);
    // A scenario that cannot be read stops no other one.
    write(&root.path().join("bad"), &[("records.jsonl", "{}")]);
    let output = simulate(root.path(), &["bad", "small", "--with", "shared"]);
    let text = printed(&output, 3);
    assert!(text.contains("bad: refused\nrecords.jsonl:1:") && text.contains("20.00"), "{text}");
    printed(&simulate(root.path(), &["nowhere"]), 3);
    printed(&simulate(root.path(), &["small", "--format", "csv", "--only", "booked,owed"]), 3);
    printed(&simulate(root.path(), &["small", "--only", "bookings"]), 2);
    let output = simulate(root.path(), &["small", "--with", "shared", "--only", "differences"]);
    printed(&output, 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Add --against, --price-path or --volume-path"));
    let other = Command::new(env!("CARGO_BIN_EXE_apportion")).args(["config", "show", "--format", "csv"]).output();
    assert_eq!(other.expect("the program").status.code(), Some(2), "as of any other value that an option has not");
}

/// As `| head -1` and `2>&1 | true` do.
#[test]
fn readers_that_have_gone_change_no_exit_status() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    let gone = || std::io::pipe().expect("a pipe").1;
    let ended = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.current_dir(root.path()).env_remove("APPORTION_CONFIG").arg("simulate").args(arguments);
        command.stdout(gone()).stderr(gone()).status().expect("the program").code()
    };
    assert_eq!(ended(&["small", "--with", "shared"]), Some(0));
    assert_eq!(ended(&["nowhere"]), Some(3));
    write(&root.path().join("small"), &[("more.jsonl", UNCOUNTED)]);
    assert_eq!(ended(&["small", "--with", "shared"]), Some(4));
}

/// Two events of one misspelt deployment and a conflict beside what counts.
const UNCOUNTED: &str = r#"{"kind":"usage","source":"s","id":"x1","occurred_at":"2026-01-11T00:00:00Z","deployment":"onw","product":"model-a","quantities":{"requests":"100"}}
{"kind":"usage","source":"s","id":"x2","occurred_at":"2026-01-12T00:00:00Z","deployment":"onw","product":"model-a","quantities":{"requests":"100"}}
{"kind":"usage","source":"s","id":"e1","occurred_at":"2026-01-13T00:00:00Z","deployment":"own","product":"model-a","quantities":{"requests":"100"}}
"#;

#[test]
fn what_does_not_count_is_told_unasked_and_by_the_exit_status() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    write(&root.path().join("small"), &[("more.jsonl", UNCOUNTED)]);
    let with = ["small", "--with", "shared"];
    let output = |more: &[&str]| simulate(root.path(), &[&with, more].concat());
    let table = output(&[]);
    let told = String::from_utf8_lossy(&table.stderr).into_owned();
    assert!(told.contains("3 entries do not count, or the service refuses them; see uncounted"), "{told}");
    let text = printed(&table, 4);
    for expect in ["20.00", "uncounted", "more.jsonl:1", "no deployment \"onw\" is registered; there is own"] {
        assert!(text.contains(expect), "{expect} in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&printed(&output(&["--format", "json"]), 4)).expect("JSON");
    let uncounted = &json["scenarios"][0]["cases"][0]["uncounted"];
    assert_eq!(uncounted[2]["outcome"], "conflict");
    assert_eq!((&uncounted[1]["id"]["id"], &uncounted[1]["place"]["line"]), (&"x2".into(), &2.into()));
    assert_eq!(
        printed(&output(&["--format", "csv", "--only", "uncounted"]), 4),
        "scenario,case,what,entries,first,where,outcome,why\n\
         small,as given,usage,2,x1 of s,more.jsonl:1,unresolved,\"no deployment \"\"onw\"\" is registered; there is own\"\n\
         small,as given,usage,1,e1 of s,more.jsonl:3,conflict,\"its id is known at records.jsonl:1 with other content, which stands\"\n"
    );
    // It is told once where all cases say the same.
    write(
        root.path(),
        &[("half.toml", "zone = \"UTC\"\n[[path]]\npoints = [{ month = \"2026-01\", is = \"50%\" }]\n")],
    );
    let compared = printed(&output(&["--price-path", "half.toml"]), 4);
    assert_eq!(compared.matches("\nuncounted").count(), 1, "{compared}");
}

#[test]
fn an_explanation_tells_what_does_not_count_and_what_is_missing() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    let explain = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.current_dir(root.path()).env_remove("APPORTION_CONFIG");
        command.args(["explain", "--scenario", "small", "--with", "shared", "--contract", "main"]).args(more);
        command.output().expect("the program")
    };
    assert!(!printed(&explain(&["--period", "2026-01"]), 0).contains("uncounted"));
    let nothing = "Nothing is owed for 2025-12 under share of main, which is not in force before 2026-01-01 (UTC).\n";
    assert_eq!(printed(&explain(&["--period", "2025-12", "--term", "share"]), 0), nothing);
    write(&root.path().join("small"), &[("more.jsonl", UNCOUNTED)]);
    let text = printed(&explain(&["--period", "2026-01"]), 4);
    assert!(text.contains("20 USD") && text.contains("\nuncounted\n") && text.contains("more.jsonl:1"), "{text}");
    let json = printed(&explain(&["--period", "2026-01", "--format", "json"]), 4);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["uncounted"][0]["outcome"],
        "unresolved"
    );
    let output = explain(&["--period", "May"]);
    printed(&output, 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("its periods are named like 2026-01"), "{output:?}");
    write(&root.path().join("small"), &[("prices.csv", &PRICES.replace(",USD,,,", ",USD,2027-01-01T00:00:00Z,,"))]);
    printed(&explain(&["--period", "2026-01"]), 4);
}

#[test]
fn a_scenario_of_which_nothing_is_asked_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    fs::remove_file(root.path().join("small/steps.jsonl")).expect("removed");
    let text = printed(&simulate(root.path(), &["small", "--with", "shared"]), 3);
    assert!(text.contains("small: refused\nnothing is asked, as there are no steps; write steps.jsonl"), "{text}");
    assert!(
        text.contains(r#"{"step":"settle","contract":"main","period":"2026-01","cutoff":"2026-02-01T00:00:00Z"}"#),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_read_is_told() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    fs::rename(root.path().join("small/records.jsonl"), root.path().join("small/records.ndjson")).expect("renamed");
    let output = simulate(root.path(), &["small", "--with", "shared"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("Not read, as what is read ends in .md, .csv, .jsonl, .toml: small/records.ndjson."),
        "{told}"
    );
}

#[test]
fn a_scenario_without_its_register_is_told_that_one_belongs_to_it() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    fs::remove_file(root.path().join("shared/register.md")).expect("removed");
    let output = simulate(root.path(), &["small", "--with", "shared"]);
    let told = format!("{}{}", printed(&output, 3), String::from_utf8_lossy(&output.stderr));
    let hint = "no file registers a party, cloud, product or deployment; add the register.md that does";
    assert!(told.contains(hint), "{told}");
}

/// 20 % of 100 are 20.
const EXAMPLE: &str = "\n## Example: by hand\n\n| given | at | amount | seller |\n| --- | --- | --- | --- |\n\
    | charge a | 2026-01-05 | 100 USD | lab |\n\n| expect | period | amount |\n| --- | --- | --- |\n\
    | share | 2026-01 | 20 USD |\n";

#[test]
fn a_check_tells_the_text_from_its_examples_and_files_as_they_were_given() {
    let root = tempfile::tempdir().expect("a folder");
    scenario(root.path());
    let check = |more: &[(&str, &str)]| {
        write(&root.path().join("shared"), more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.current_dir(root.path()).env_remove("APPORTION_CONFIG").args(["contracts", "check", "shared"]);
        let output = command.output().expect("the program");
        let told = [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("text"));
        (output.status.code(), told.concat())
    };
    let text = format!("{CONTRACT}{EXAMPLE}");
    let (status, told) = check(&[("main.md", &text)]);
    assert!(status == Some(0) && told.contains("0 facts: all right."), "{told}");
    let (status, told) = check(&[("main.md", &text.replace("| 20 USD |", "| 21 USD |"))]);
    let verdict = "0 facts: the text is right, but of its examples 1 of 1 figure is wrong.";
    assert!(status == Some(3) && told.contains(verdict) && !told.contains("all right"), "{told}");
    assert!(told.contains("shared/main.md:") && told.contains("came out is 20 USD"), "{told}");
    let fx = text.replace("[term.share]", "[fx]\nsource = \"EBC\"\ndate = \"item\"\n\n[term.share]");
    let rates = "date,from,to,rate,source\n2026-01-05,USD,EUR,0.9,ECB\n";
    let (status, told) = check(&[("main.md", &fx), ("fx.csv", rates)]);
    assert!(status == Some(0) && told.contains("no row of fx.csv is of this source; there is ECB"), "{told}");
    let (status, told) = check(&[("main.md", &text), ("steps.jsonl", STEPS)]);
    let apart = "shared/steps.jsonl: steps of a scenario, which `apportion simulate` runs; keep them apart";
    assert!(status == Some(3) && told.contains(apart), "{told}");
}

#[test]
fn the_first_scenario_and_agreement_run_as_their_readmes_show_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = simulate(root, &["scenarios/first", "--only", "booked", "--format", "csv"]);
    let booked = printed(&output, 0);
    assert!(booked.ends_with(",1,cloud-lab,2026-05,2026-05,lab-share,cloud,lab,11.55,USD\n"), "{booked}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_apportion"));
    check.current_dir(root).env_remove("APPORTION_CONFIG").args(["contracts", "check", "scenarios/first/agreements"]);
    printed(&check.output().expect("the program"), 0);
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a text");
    let shown = [("contracts", "agreements/register.md"), ("contracts", "agreements/agreement.md")].into_iter();
    let shown = shown.chain([("contracts", "agreements/prices.csv"), ("scenarios", "usage.jsonl")]);
    for (readme, file) in shown.chain([("scenarios", "steps.jsonl")]) {
        let text = format!("text\n{}```", read(&format!("scenarios/first/{file}")));
        assert!(read(&format!("{readme}/README.md")).contains(&text), "{readme}/README.md shows another {file}");
    }
}
