//! Records that would never count, or count twice, are refused with what would be right.

use crate::support::shipped_files;
use apportion::domain::contract::folder::{Folder, read_folder};
use apportion::domain::contract::records::check_record;
use apportion::domain::record::Record;

fn figure(id: &str, changes: &[(&str, &str)]) -> Record {
    let mut text = format!(
        r#"{{"kind":"figure","source":"s","id":"{id}","contract":"microsoft-openai","name":"Subscriptions","by":"openai","from":"2026-05-01","through":"2026-05-31","value":"1 USD"}}"#
    );
    for (from, to) in changes {
        assert!(text.contains(from), "{text} lacks {from}");
        text = text.replace(from, to);
    }
    Record::from_json(&text).expect("a record")
}

fn problem(folder: &Folder, record: &Record, others: &[Record]) -> String {
    let checked = check_record(record, &folder.contracts, &folder.register, others);
    checked.err().map(|problem| problem.to_string()).unwrap_or_default()
}

#[test]
fn a_figure_is_the_declared_one_by_its_party_in_its_unit_once() {
    let folder = read_folder(&shipped_files()).unwrap_or_else(|error| panic!("{error}"));
    let may = figure("may", &[]);
    let check = |changes: &[(&str, &str)], expect: &str| {
        let found = problem(&folder, &figure("other", changes), std::slice::from_ref(&may));
        assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{found}");
    };
    assert_eq!(problem(&folder, &may, &[]), "");
    check(&[("2026-05-01", "2026-06-01"), ("2026-05-31", "2026-06-30")], "");
    check(
        &[("microsoft-openai", "microsoft")],
        "no contract \"microsoft\" is loaded; there is aws-openai, microsoft-openai",
    );
    check(&[("Subscriptions", "Subscription")], "declares no figure \"Subscription\"; there is Subscriptions");
    check(&[("\"openai\"", "\"microsoft\"")], "by openai, not by microsoft");
    check(&[("1 USD", "1 EUR")], "in USD, not in EUR");
    check(&[("2026-05-31", "2026-06-01")], "across periods");
    check(&[("2026-05-01", "2026-05-31")], "already: record may of s");
    // The same record again is a duplicate or a conflict, which its own id tells.
    assert_eq!(problem(&folder, &figure("may", &[("1 USD", "2 USD")]), std::slice::from_ref(&may)), "");
}

#[test]
fn a_deduction_or_fact_is_one_that_a_contract_knows() {
    let folder = read_folder(&shipped_files()).unwrap_or_else(|error| panic!("{error}"));
    let check = |text: &str, expect: &str| {
        let found = problem(&folder, &Record::from_json(text).expect("a record"), &[]);
        assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{found}");
    };
    let deduction = |category: &str, reduces: &str| {
        format!(
            r#"{{"kind":"deduction","source":"s","id":"d","category":"{category}","at":"2026-05-02T00:00:00Z","amount":"3 USD",{reduces}}}"#
        )
    };
    check(&deduction("refund", r#""event":{"source":"s","id":"later"}"#), "");
    check(&deduction("refund", r#""deployment":"openai-direct","product":"gpt-5.5""#), "");
    check(&deduction("rebate", r#""event":{"source":"s","id":"e"}"#), "category \"rebate\"; there is refund, tax");
    let euros = deduction("tax", r#""event":{"source":"s","id":"e"}"#).replace("3 USD", "3 EUR");
    check(&euros, "category \"tax\" are taken in USD, not in EUR");
    check(&deduction("tax", r#""deployment":"openai","product":"gpt-5.5""#), "no deployment \"openai\"");
    check(&deduction("tax", r#""deployment":"openai-direct","product":"gpt""#), "no product \"gpt\"");
    let fact = r#"{"kind":"fact","source":"s","id":"f","contract":"microsoft-openai","name":"agi-verified","by":"expert-panel","at":"2026-05-02T00:00:00Z","evidence":"e"}"#;
    check(fact, "");
    let long = format!("0.{}", "1".repeat(70_000));
    for (from, to) in [("\"3 USD\"", format!("\"{long} USD\"")), ("\"id\":\"d\"", "\"id\":\"\"".to_owned())] {
        let text = deduction("tax", r#""event":{"source":"s","id":"e"}"#).replace(from, &to);
        assert!(Record::from_json(&text).is_err(), "{from}");
    }
    assert!(Record::from_json(&fact.replace("\"evidence\":\"e\"", "\"evidence\":\"\\u0000\"")).is_err());
    check(&fact.replace("\"by\":\"expert-panel\"", "\"by\":\"openai\""), "reported by expert-panel, not by openai");
    check(&fact.replace("agi-verified", "agi"), "declares no fact \"agi\"; there is agi-verified");
}
