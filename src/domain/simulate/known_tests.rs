//! What is known when, worked out by hand: the cases of CONTRACTS section 9 as far as they are about records.

use super::Scenario;
use super::known::{Known, known_at};
use crate::domain::contract::folder::SourceFile;
use crate::domain::entry::NewEntry;
use crate::domain::period::parse_instant;
use crate::domain::record::RecordContent;
use crate::domain::usage::Meter;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

fn scenario(records: &[&str]) -> Scenario {
    Scenario::read(&[file("records.jsonl", &records.join("\n"))]).unwrap_or_else(|error| panic!("{error}"))
}

fn at(scenario: &Scenario, instant: &str) -> Known {
    known_at(scenario, parse_instant(instant).expect("an instant"))
}

fn usage(id: &str, day: &str, recorded_at: &str, requests: &str) -> String {
    format!(
        r#"{{"kind":"usage","source":"s","id":"{id}","occurred_at":"2026-{day}T00:00:00Z","recorded_at":"2026-{recorded_at}T00:00:00Z","deployment":"own","product":"model-a","customer":"cust","quantities":{{"requests":"{requests}"}}}}"#
    )
}

fn correction(id: &str, of: &str, recorded_at: &str, restated: &str) -> String {
    format!(
        r#"{{"kind":"correction","source":"s","id":"{id}","corrects":"{of}","recorded_at":"2026-{recorded_at}T00:00:00Z",{restated}}}"#
    )
}

fn void(id: &str, of: &str, recorded_at: &str) -> String {
    format!(r#"{{"kind":"void","source":"s","id":"{id}","voids":"{of}","recorded_at":"2026-{recorded_at}T00:00:00Z"}}"#)
}

/// Each event that stands, with its requests.
fn requests(known: &Known) -> Vec<(&str, String)> {
    let quantity = |it: &crate::domain::restated::KnownUsage| it.content.quantities[&Meter::Requests].to_string();
    known.usage.iter().map(|it| (it.id.id.as_str(), quantity(it))).collect()
}

fn conflicts(known: &Known) -> Vec<String> {
    known.conflicts.iter().map(|it| format!("{} at {}", it.id.id, it.recorded_at.format("%m-%d"))).collect()
}

fn rejected(known: &Known) -> Vec<(&str, &str)> {
    known.rejected.iter().map(|it| (it.what.id.id.as_str(), it.reason.name())).collect()
}

fn waiting(known: &Known) -> Vec<(&str, &str)> {
    known.waiting.iter().map(|it| (it.what.id.id.as_str(), it.waits_for.id.as_str())).collect()
}

/// Case 6b: the first recorded stands, though it comes second in the file.
#[test]
fn of_one_id_with_two_contents_the_first_recorded_stands() {
    let second = usage("e1", "01-10", "01-12", "700");
    let first = usage("e1", "01-10", "01-11", "100");
    // By value the same as the first, in another zone and with another zero: one event.
    let again = first.replace("2026-01-10T00:00:00Z", "2026-01-10T01:00:00+01:00").replace("\"100\"", "100.0");
    let again = again.replace("2026-01-11", "2026-01-13").replace("100.0", "100.0,\"tool_calls\":0");
    let scenario = scenario(&[&second, &first, &again]);
    let early = at(&scenario, "2026-01-11T12:00:00Z");
    assert_eq!((requests(&early), conflicts(&early)), (vec![("e1", "100".into())], vec![]));
    let late = at(&scenario, "2026-02-01T00:00:00Z");
    assert_eq!((requests(&late), conflicts(&late)), (vec![("e1", "100".into())], vec!["e1 at 01-12".into()]));
    assert!(at(&scenario, "2026-01-10T23:59:59.999999Z").usage.is_empty());
}

#[test]
fn ties_of_recording_are_broken_by_the_order_of_the_file() {
    let records = [usage("e", "01-10", "01-11", "1"), usage("e", "01-10", "01-11", "2")];
    let known = at(&scenario(&[&records[0], &records[1]]), "2026-02-01T00:00:00Z");
    assert_eq!((requests(&known), known.conflicts.len()), (vec![("e", "1".into())], 1));
    let known = at(&scenario(&[&records[1], &records[0]]), "2026-02-01T00:00:00Z");
    assert_eq!(requests(&known), [("e", "2".into())]);
}

/// Case 6e: a correction waits for its event, a second one replaces it, and a void of that brings it back.
#[test]
fn corrections_wait_restate_and_come_back() {
    let scenario = scenario(&[
        &correction("c1", "e1", "01-09", r#""quantities":{"requests":"60"}"#),
        &usage("e1", "01-10", "01-10", "100"),
        &correction("c2", "e1", "02-10", r#""quantities":{"requests":"90"}"#),
        &void("v2", "c2", "03-10"),
    ]);
    let before = at(&scenario, "2026-01-09T12:00:00Z");
    assert_eq!((requests(&before), waiting(&before)), (vec![], vec![("c1", "e1")]));
    for (known_at, expected) in [("2026-02-05", "60"), ("2026-03-05", "90"), ("2026-04-05", "60")] {
        let known = at(&scenario, &format!("{known_at}T12:00:00Z"));
        assert_eq!(requests(&known), [("e1", expected.into())], "{known_at}");
        assert!(known.waiting.is_empty() && known.rejected.is_empty());
    }
}

/// Case 3d: a correction lowers one event, a void removes another.
#[test]
fn a_correction_restates_and_a_void_removes() {
    let scenario = scenario(&[
        &usage("e1", "01-10", "01-10", "400"),
        &usage("e2", "02-10", "02-10", "200"),
        &correction("c1", "e1", "03-10", r#""quantities":{"requests":"250"}"#),
        &void("v1", "e2", "04-10"),
    ]);
    for (known_at, expected) in [
        ("2026-03-05T12:00:00Z", vec![("e1", "400".to_owned()), ("e2", "200".to_owned())]),
        ("2026-03-10T00:00:00Z", vec![("e1", "250".to_owned()), ("e2", "200".to_owned())]),
        ("2026-05-05T12:00:00Z", vec![("e1", "250".to_owned())]),
    ] {
        assert_eq!(requests(&at(&scenario, known_at)), expected, "{known_at}");
    }
}

#[test]
fn per_field_the_last_correction_holds() {
    let scenario = scenario(&[
        &usage("e", "01-10", "01-10", "1"),
        &correction("c1", "e", "01-11", r#""quantities":{"requests":"2"},"product":"model-b""#),
        &correction("c2", "e", "01-12", r#""occurred_at":"2026-01-20T00:00:00Z","quantities":{"requests":"3"}"#),
        &void("v", "c2", "01-13"),
    ]);
    let now = at(&scenario, "2026-01-12T00:00:00Z");
    let content = &now.usage[0].content;
    assert_eq!(
        (content.product.as_str(), content.occurred_at.to_rfc3339()),
        ("model-b", "2026-01-20T00:00:00+00:00".into())
    );
    assert_eq!(requests(&now), [("e", "3".into())]);
    let later = at(&scenario, "2026-01-13T00:00:00Z");
    let content = &later.usage[0].content;
    assert_eq!(
        (content.product.as_str(), content.occurred_at.to_rfc3339()),
        ("model-b", "2026-01-10T00:00:00+00:00".into())
    );
    assert_eq!(requests(&later), [("e", "2".into())]);
}

/// Records after an event `e` of 1, the requests that are left, and what was refused and why.
type Refusals = (Vec<String>, &'static str, Vec<(&'static str, &'static str)>);

#[test]
fn what_is_refused_has_no_effect() {
    let cases: Vec<Refusals> = vec![
        (
            vec![void("v", "e", "01-11"), correction("c", "e", "01-12", r#""quantities":{"requests":"2"}"#)],
            "",
            vec![("c", "correction_of_voided")],
        ),
        (vec![void("v", "e", "01-11"), void("w", "v", "01-12")], "", vec![("w", "void_of_void")]),
        // It waited for what turned out to be a void.
        (vec![void("w", "v", "01-11"), void("v", "e", "01-12")], "", vec![("w", "void_of_void")]),
        (
            vec![
                correction("c", "e", "01-11", r#""quantities":{"requests":"2"}"#),
                correction("d", "c", "01-12", r#""quantities":{"requests":"3"}"#),
            ],
            "2",
            vec![("d", "correction_of_amendment")],
        ),
        (
            vec![correction("c", "e", "01-11", r#""quantities":{"requests":"-2"}"#)],
            "1",
            vec![("c", "negative_quantity")],
        ),
        // It leaves its id free.
        (
            vec![usage("f", "01-10", "01-11", "-1"), usage("f", "01-10", "01-12", "5")],
            "1 5",
            vec![("f", "negative_quantity")],
        ),
    ];
    for (records, expected, refused) in cases {
        let event = usage("e", "01-10", "01-10", "1");
        let all: Vec<&str> = [&event].into_iter().chain(&records).map(String::as_str).collect();
        let known = at(&scenario(&all), "2026-02-01T00:00:00Z");
        let left: Vec<String> = requests(&known).into_iter().map(|(_, it)| it).collect();
        assert_eq!(left.join(" "), expected, "{records:?}");
        assert_eq!(rejected(&known), refused, "{records:?}");
    }
}

/// Case 20a: a cost that is reported late and restated.
#[test]
fn a_figure_is_restated() {
    let figure = r#"{"kind":"figure","source":"s","id":"f1","contract":"main","name":"cost","by":"lab","from":"2026-01-01","through":"2026-01-31","value":"600 USD","recorded_at":"2026-02-20T00:00:00Z"}"#;
    let scenario = scenario(&[figure, &correction("c1", "f1", "03-20", r#""value":"650 USD""#)]);
    let cost = |known_at: &str| match at(&scenario, known_at).records.first().map(|record| record.content.clone()) {
        Some(RecordContent::Figure(figure)) => figure.value.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(cost("2026-02-05T12:00:00Z"), "None");
    assert_eq!(cost("2026-03-05T12:00:00Z"), "600 USD");
    assert_eq!(cost("2026-04-05T12:00:00Z"), "650 USD");
}

/// Case 26d: levels, one of which is restated by half of one.
#[test]
fn a_level_is_restated() {
    let level = |id: &str, day: &str, value: &str| {
        format!(
            r#"{{"kind":"figure","source":"s","id":"{id}","contract":"main","name":"subscribers","by":"lab","at":"2026-{day}T00:00:00Z","value":"{value}"}}"#
        )
    };
    let (s1, s2) = (level("s1", "01-20", "5_000"), level("s2", "02-28", "5001"));
    let scenario = scenario(&[&s1, &s2, &correction("c1", "s1", "03-10", r#""value":"5000.5""#)]);
    let levels = |known_at: &str| -> Vec<String> {
        let value = |content: RecordContent| match content {
            RecordContent::Level(level) => level.value.to_string(),
            other => format!("{other:?}"),
        };
        at(&scenario, known_at).records.into_iter().map(|record| value(record.content)).collect()
    };
    assert_eq!(levels("2026-02-05T12:00:00Z"), ["5000"]);
    assert_eq!(levels("2026-03-05T12:00:00Z"), ["5000", "5001"]);
    assert_eq!(levels("2026-04-05T12:00:00Z"), ["5000.5", "5001"]);
}

#[test]
fn a_status_ends_later_and_a_fact_is_withdrawn() {
    let waiver = r#"{"kind":"fact","source":"s","id":"w","contract":"main","name":"waiver","by":"ms","at":"2026-06-10T00:00:00Z","recorded_at":"2026-06-01T00:00:00Z","capability":"agents","evidence":"letter"}"#;
    let scenario = scenario(&[
        waiver,
        &correction("c", "w", "06-05", r#""until":"2026-06-20T00:00:00Z""#),
        &void("v", "w", "06-07"),
    ]);
    let until = |known_at: &str| match at(&scenario, known_at).records.first().map(|record| record.content.clone()) {
        Some(RecordContent::Fact(fact)) => format!("{:?}", fact.until.map(|it| it.to_rfc3339())),
        other => format!("{other:?}"),
    };
    assert_eq!(until("2026-06-02T00:00:00Z"), "None");
    assert_eq!(until("2026-06-06T00:00:00Z"), "Some(\"2026-06-20T00:00:00+00:00\")");
    assert!(at(&scenario, "2026-06-07T00:00:00Z").records.is_empty());
}

#[test]
fn prices_and_rates_are_known_from_their_recording_on() {
    let prices = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at\n\
                  b,m,requests,default,,,,,2,1,USD,,,s,2026-02-01T00:00:00Z\na,m,requests,default,,,,,1,1,USD,,,s,\n";
    let rates = "date,from,to,rate,source,recorded_at\n2026-01-10,EUR,USD,1.2,ECB,2026-02-01T00:00:00Z\n2026-01-10,EUR,USD,1.1,ECB,2026-01-10T16:00:00Z\n";
    let scenario = Scenario::read(&[file("prices.csv", prices), file("fx.csv", rates)]).expect("a scenario");
    let in_force = |known: &Known| {
        let query = crate::domain::price::PriceQuery {
            product: &"m".into(),
            meter: Meter::Requests,
            service_tier: "default",
            customer: "c",
            region: "",
            channel: "",
            context_exceeds: 0,
            at: parse_instant("2026-03-01T00:00:00Z").expect("an instant"),
        };
        known.prices.in_force(&query).map(|price| price.id.clone())
    };
    let known = at(&scenario, "2026-01-31T00:00:00Z");
    assert_eq!((in_force(&known).as_deref(), known.rates.len()), (Some("a"), 1));
    let known = at(&scenario, "2026-02-01T00:00:00Z");
    // The last recorded of equals stands last.
    assert_eq!((in_force(&known).as_deref(), known.rates[1].rate.to_string()), (Some("b"), "1.2".into()));
}

#[test]
fn one_file_is_read_as_its_folder() {
    let contract = "# Main\n\n```toml\n[contract]\nid = \"main\"\n```\n";
    let steps =
        "{\"step\":\"settle\",\"contract\":\"main\",\"period\":\"2026-01\",\"cutoff\":\"2026-02-05T12:00:00Z\"}\n";
    let files = [
        file("contracts/main.md", contract),
        file("records.jsonl", &usage("e", "01-10", "01-10", "1")),
        file("steps.jsonl", steps),
        file("fx.csv", "date,from,to,rate,source,recorded_at\n"),
    ];
    let folder = Scenario::read(&files).expect("a scenario");
    let text = folder.write_one_file("A seed");
    let one = Scenario::read(&[file("seed.md", &text)]).expect("a scenario");
    assert_eq!(one.documents[0].text, contract);
    assert_eq!((one.documents.len(), one.entries.len(), one.steps.clone()), (1, 1, folder.steps.clone()));
    assert_eq!(one.write_one_file("A seed"), text);
    // A language that looks like that of a part, and no path.
    let misspelt = file("seed.md", &text.replace("jsonl steps.jsonl", "jsnl"));
    let refused = Scenario::read(&[misspelt]).expect_err("passed over").to_string();
    assert!(refused.contains("a block without a path would be passed over"), "{refused}");
    // A contract alone holds no parts: it is a document itself.
    assert_eq!(Scenario::read(&[file("main.md", contract)]).expect("a scenario").documents[0].text, contract);
}

#[test]
fn the_lines_of_the_documentation_are_read() {
    let text = include_str!("../../../contracts/README.md");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("{\"kind\":")).collect();
    let known = at(&scenario_with_figures_recorded(&lines), "2030-01-01T00:00:00Z");
    assert_eq!((lines.len(), known.usage.len(), known.rejected.len(), known.waiting.len()), (17, 1, 0, 0));
    let steps: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `{\"step\""))
        .map(|rest| format!("{{\"step\"{}", rest.split('`').next().unwrap_or_default()))
        .collect();
    let read = Scenario::read(&[file("steps.jsonl", &steps.join("\n"))]).expect("steps");
    assert_eq!(read.steps.len(), 6);
}

/// Figures and corrections as `apportion record` takes them are stamped when they are recorded: here after May.
fn scenario_with_figures_recorded(lines: &[&str]) -> Scenario {
    let is_stamped = |line: &str| ["\"through\"", "\"corrects\"", "\"voids\""].iter().any(|it| line.contains(it));
    let stamped = |line: &&str| match is_stamped(line) && !line.contains("\"recorded_at\"") {
        true => line.replacen('{', "{\"recorded_at\":\"2026-06-01T00:00:00Z\",", 1),
        false => (*line).to_owned(),
    };
    let lines: Vec<String> = lines.iter().map(stamped).collect();
    scenario(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\PC\n]{0,120}", quoted in "[a-z0-9:{}\"\\[\\], .-]{0,80}") {
        for path in ["a.jsonl", "steps.jsonl", "fx.csv", "prices.csv", "a.md"] {
            drop(Scenario::read(&[file(path, &text)]));
            drop(Scenario::read(&[file(path, &format!("{{\"kind\":\"usage\",{quoted}}}"))]));
            drop(Scenario::read(&[file("one.md", &format!("```jsonl {path}\n{text}\n```\n"))]));
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |path: &str, text: &str, expect: &str| {
        let error = Scenario::read(&[file(path, text)]).expect_err("a refusal").to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("records.jsonl", "\n{\"kind\":\"usage\"}", "records.jsonl:2: missing field \"source\"");
    let kind = r#"{"kind":"figur","source":"s","id":"i"}"#;
    let records = "no kind \"figur\"; there is figure, deduction, receipt, billing, fact, decision, correction, void";
    check("a.jsonl", kind, &format!("{records}, usage"));
    // Usage comes another way where records are stored.
    assert_eq!(NewEntry::storable(kind).map(|_| ()).map_err(|error| error.to_string()), Err(records.to_owned()));
    let event = usage("e", "01-10", "01-10", "1");
    check("a.jsonl", &event.replace("deployment", "place"), "a.jsonl:1: unknown field \"place\"");
    check("a.jsonl", &event.replace("requests", "calls"), "unknown meter \"calls\"");
    check("a.jsonl", &event.replace("\"1\"", "1e3"), "requests is 1e3; write a decimal");
    check("a.jsonl", &event.replace("{\"kind\"", "{\"id\":\"f\",\"kind\""), "duplicate field `id`");
    let figure = r#"{"kind":"figure","source":"s","id":"f1","contract":"main","name":"cost","by":"lab","from":"2026-01-01","through":"2026-01-31","value":"600 USD"}"#;
    check("a.jsonl", figure, "a figure says when it was recorded; write \"recorded_at\"");
    let restated = correction("c", "e", "01-11", "\"value\":\"1\"");
    check(
        "a.jsonl",
        &format!("{event}\n{restated}"),
        "a.jsonl:2: what it restates does not fit e of s: unknown field \"value\"",
    );
    check("a.jsonl", &correction("c", "e", "01-11", "").replace(",}", "}"), "restates at least one field");
    check("steps.jsonl", "{\"step\":\"settle\"}", "steps.jsonl:1: missing field `contract`");
    check("steps.jsonl", "{\"step\":\"charges\",\"known_at\":\"2026-01-01\"}", "is no instant with a zone");
    check("notes.txt", "", "notes.txt:1: no part of a scenario");
    check("seed.md", "# A\n\n```jsonl records.jsonl\n\n{}\n```\n", "seed.md:5: missing field \"source\"");
    check("seed.md", "# A\n\n```jsonl records.jsonl\n```\n\n```csv\na\n```\n", "seed.md:6: a block without a path");
    check("fx.csv", "date,from,to,rate,source,recorded_at\nx,EUR,USD,1,ECB,\n", "fx.csv:2: date: \"x\" is no date");
    check("fx.csv", "date,from,to,source\n2026-01-01,EUR,USD,ECB\n", "fx.csv:1: no column \"rate\"");
}
