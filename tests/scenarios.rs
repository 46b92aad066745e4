//! Scenarios: small histories with figures worked out by hand, translated into the product's files and compared.
//!
//! `SCENARIOS=DIR` names another folder than `../shared/scenarios`; `SCENARIOS_OUT=DIR` gets every translated
//! scenario, as a folder and as one file. `SCENARIOS_VIA=service` asks the service in place of `simulate`: each scenario
//! is told to a database of its own on the server of `DATABASE_URL`.

#[path = "scenarios/answers.rs"]
mod answers;
#[path = "scenarios/explained.rs"]
mod explained;
#[path = "scenarios/hand.rs"]
mod hand;
#[path = "scenarios/hand_tests.rs"]
mod hand_tests;
#[path = "scenarios/json.rs"]
mod json;
#[path = "scenarios/reference.rs"]
mod reference;
#[cfg(feature = "service")]
#[path = "scenarios/service/mod.rs"]
mod service;
#[path = "scenarios/simulated.rs"]
mod simulated;
#[path = "scenarios/toml_text.rs"]
mod toml_text;
#[path = "scenarios/translate/mod.rs"]
mod translate;
#[path = "scenarios/translate_tests.rs"]
mod translate_tests;

use answers::Answers;
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::entry::{Entry, NewEntry, What};
use apportion::domain::simulate::Scenario;
use std::path::{Path, PathBuf};
use translate::{Asked, Translated, translate};

/// Whether the service could not keep a record, correction or void as it was said.
fn not_kept(entry: &Entry) -> Option<String> {
    if matches!(entry.what, What::Usage(_)) {
        return None;
    }
    match NewEntry::storable(&entry.to_json().to_string()) {
        Ok(kept) if kept.clone().recorded(entry.recorded_at).says_the_same(entry) => None,
        Ok(kept) => Some(format!("{} is kept as {kept:?}", entry.id)),
        Err(error) => Some(format!("{}: {error}", entry.id)),
    }
}

/// The scenario files of the folder, by name; none where there is no such folder and nobody named one.
fn scenario_files() -> Vec<PathBuf> {
    let named = std::env::var_os("SCENARIOS").map(PathBuf::from);
    let is_named = named.is_some();
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/scenarios"));
    let Ok(files) = json_files(&folder) else {
        let missing = format!("no scenarios: {} is no folder; SCENARIOS=DIR names another", folder.display());
        assert!(!is_named, "{missing}");
        println!("{missing}");
        return Vec::new();
    };
    files
}

/// The JSON files of a folder, by name.
fn json_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|it| it == "json"));
    files.sort();
    Ok(files)
}

fn translated(path: &Path) -> Result<Translated, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    translate(&json)
}

fn write_out(folder: &Path, scenario: &Translated, one_file: &str) {
    let root = folder.join(&scenario.name);
    for file in &scenario.files {
        let path = root.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, &file.text).expect("a file");
    }
    std::fs::write(folder.join(format!("{}.md", scenario.name)), one_file).expect("a file");
}

#[test]
fn every_scenario_is_translated_and_read() {
    let files = scenario_files();
    let mut faults = Vec::new();
    for path in &files {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let scenario = match translated(path) {
            Ok(scenario) => scenario,
            Err(fault) => {
                faults.push(format!("{name}: {fault}"));
                continue;
            }
        };
        let read = match Scenario::read(&scenario.files) {
            Ok(read) => read,
            Err(errors) => {
                faults.extend(errors.0.iter().map(|error| format!("{name}: {error}")));
                continue;
            }
        };
        let refused = scenario.hand.pointer("/load/error").is_some();
        let by_hand = scenario.hand.get("steps").and_then(|it| it.as_array()).map_or(0, Vec::len);
        let simulated = scenario.asked.iter().filter(|it| **it == Asked::Simulate).count();
        if !refused && by_hand != scenario.asked.len() || simulated != read.steps.len() {
            faults.push(format!("{name}: {by_hand} answers of {} steps", scenario.asked.len()));
        }
        for document in &read.documents {
            let parsed = apportion::domain::contract::document::Document::parse(&document.path, &document.text);
            if let Err(error) = parsed.toml.parse::<toml::Table>() {
                faults.push(format!("{name}: {}: {error}", document.path));
            }
        }
        faults.extend(read.entries.iter().filter_map(not_kept).map(|fault| format!("{name}: {fault}")));
        let one_file = read.write_one_file(&scenario.description);
        let again = SourceFile { path: "seed.md".into(), text: one_file.clone() };
        match Scenario::read(&[again]) {
            Ok(again) => assert_eq!(again.write_one_file(&scenario.description), one_file, "{name}"),
            Err(errors) => faults.push(format!("{name}: as one file: {errors}")),
        }
        if let Some(folder) = std::env::var_os("SCENARIOS_OUT") {
            write_out(Path::new(&folder), &scenario, &one_file);
        }
    }
    println!("{} scenarios translated, {} faults", files.len(), faults.len());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The scenarios of files, and what could not be translated, a name and a line each.
fn all_translated(files: &[PathBuf]) -> (Vec<Translated>, Vec<(String, Vec<String>)>) {
    let (mut scenarios, mut faults) = (Vec::new(), Vec::new());
    for path in files {
        match translated(path) {
            Ok(scenario) => scenarios.push(scenario),
            Err(fault) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                faults.push((name.clone(), vec![format!("{name}: not translated: {fault}")]));
            }
        }
    }
    (scenarios, faults)
}

/// Who answers: `simulate` unless `SCENARIOS_VIA` says otherwise.
fn via() -> String {
    std::env::var("SCENARIOS_VIA").unwrap_or_else(|_| "simulate".to_owned())
}

/// Runs scenarios where `SCENARIOS_VIA` says: through `simulate`, or through the service and its database.
fn run_all(scenarios: Vec<Translated>) -> Vec<(Translated, Answers)> {
    match via().as_str() {
        "simulate" => {
            let run = |scenario: Translated| {
                let answers = simulated::simulated(&scenario);
                (scenario, answers)
            };
            scenarios.into_iter().map(run).collect()
        }
        #[cfg(feature = "service")]
        "service" => service::through_the_service(scenarios),
        other => panic!("SCENARIOS_VIA={other}; there is simulate and, with the feature of that name, service"),
    }
}

/// The differences between what a run answers and what was worked out by hand, as a report; and whether there are none.
fn compare_all(files: &[PathBuf]) -> (String, bool) {
    let (scenarios, mut runs) = all_translated(files);
    for (scenario, answers) in run_all(scenarios) {
        let lines = hand::differences(&scenario.name, &scenario.hand, &answers);
        runs.push((scenario.name, lines));
    }
    let is_as_by_hand = runs.iter().all(|(_, lines)| lines.is_empty());
    (hand::report(&runs), is_as_by_hand)
}

/// What the amounts of every scenario are does not depend on whether its usage is summed.
#[test]
fn sums_give_what_items_give() {
    let more = json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/more")).expect("a folder");
    let mut differences = Vec::new();
    for path in scenario_files().iter().chain(&more) {
        let scenario = translated(path).expect("a scenario");
        differences.extend(simulated::on_sums(&scenario).map(|found| format!("{}: {found}", scenario.name)));
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

/// Every figure of every scenario of the folder.
#[test]
fn every_scenario_gives_the_figures_by_hand() {
    let (report, is_as_by_hand) = compare_all(&scenario_files());
    println!("{report}");
    assert!(is_as_by_hand, "\n{report}");
}

/// Those of `tests/scenarios/more`: what the others leave out.
#[test]
fn more_scenarios_give_the_figures_by_hand() {
    let files = json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/more")).expect("a folder");
    assert!(!files.is_empty());
    let (report, is_as_by_hand) = compare_all(&files);
    println!("{report}");
    assert!(is_as_by_hand, "\n{report}");
}

/// What every scenario owes for each period can be taken apart down to events, and adds up on the way: the answers to
/// its steps that ask what is owed are the amounts that are taken apart.
#[test]
fn every_amount_is_the_sum_of_its_parts() {
    let more = json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/more")).expect("a folder");
    let (mut amounts, mut faults) = (0, Vec::new());
    for path in scenario_files().iter().chain(&more) {
        let scenario = translated(path).expect("a scenario");
        let (explained, found) = explained::explained(&scenario);
        amounts += explained;
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", scenario.name)));
    }
    println!("{amounts} amounts taken apart, {} faults", faults.len());
    assert!(amounts > 50 && faults.is_empty(), "\n{}\n", faults.join("\n"));
}
