//! Records that would never count, or count twice, are refused with what would be right.

use crate::language::read_with;
use crate::support::{documents, shipped_files};
use apportion::domain::contract::additions::{Loaded, additions};
use apportion::domain::contract::folder::{Folder, read_folder};
use apportion::domain::contract::records::check_record;
use apportion::domain::entry::{EntryError, NewEntry};
use apportion::domain::fx::FxRate;
use apportion::domain::record::Record;
use apportion::domain::settlement::waiting;
use std::collections::BTreeMap;

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
    check(&[("2026-05-01", "2026-06-01"), ("2026-05-31", "2026-12-31")], "");
    check(
        &[("\"from\":\"2026-05-01\",\"through\":\"2026-05-31\"", "\"at\":\"2026-05-01T00:00:00Z\"")],
        "is a flow; write from",
    );
    check(&[("\"value\"", "\"country\":\"DE\",\"value\"")], "cannot be about a country");
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

#[test]
fn figures_facts_and_notices_say_what_their_declarations_ask() {
    let block = r#"[figure.Reach]
unit = "credit"
kind = "flow"
missing = "zero"
about = ["country"]

[parameter.ad-rate]
value = "1%"
set_by = "cloud"
between = ["0%", "2%"]
notice = "30 days"

[right.first]
first = "azure"
lead = "0 days"
products = ["api"]

[term.share]
payer = "lab"
payee = "cloud"
rate = "ad-rate"
of = "Sales""#;
    let folder = read_with(block, &[]).unwrap_or_else(|error| panic!("{error}"));
    let check = |text: &str, expect: &str| {
        let text = format!(r#"{{"source":"s","id":"r",{text}}}"#);
        let found = problem(&folder, &Record::from_json(&text).expect("a record"), &[]);
        assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{text}: {found}");
    };
    let flow = |rest: &str| {
        format!(r#""kind":"figure","contract":"deal","by":"lab","from":"2026-05-01","through":"2026-05-31",{rest}"#)
    };
    let level = |rest: &str| format!(r#""kind":"figure","contract":"deal","at":"2026-05-01T00:00:00Z",{rest}"#);
    let fact = |rest: &str| {
        format!(r#""kind":"fact","contract":"deal","by":"lab","at":"2026-05-01T00:00:00Z","evidence":"e",{rest}"#)
    };
    check(&flow(r#""name":"Reach","value":"5 credit","country":"DE""#), "");
    check(&flow(r#""name":"Reach","value":"5 point","country":"DE""#), "is in credit, not in point");
    check(&flow(r#""name":"Reach","value":"5 credit""#), "does not say what it is about; there is country");
    check(&flow(r#""name":"Reach","value":"5 credit","cloud":"azure""#), "cannot be about a cloud; there is country");
    check(&flow(r#""name":"Index","value":"5%""#), "\"Index\" is a level; write at");
    check(&level(r#""name":"Index","by":"lab","value":"5%""#), "");
    check(&level(r#""name":"Index","by":"lab","value":"5 USD""#), "is in plain numbers, not in USD");
    check(&level(r#""name":"Cost","by":"lab","value":"5 USD""#), "\"Cost\" is a flow; write from");
    check(&level(r#""name":"ad-rate","by":"cloud","value":"2%""#), "");
    check(
        &level(r#""name":"ad-rate","by":"lab","value":"2%""#),
        "parameter \"ad-rate\" is reported by cloud, not by lab",
    );
    check(&level(r#""name":"rate","by":"lab","value":"2%""#), "declares no figure \"rate\"");
    check(&fact(r#""name":"introduced","customer":"c","party":"cloud""#), "");
    check(&fact(r#""name":"introduced","customer":"c","party":"nobody""#), "no party \"nobody\" is registered");
    check(&fact(r#""name":"introduced","customer":"c""#), "\"introduced\" names a party");
    check(&fact(r#""name":"launch","party":"cloud""#), "\"launch\" names no party");
    check(
        &fact(r#""name":"introduced","country":"DE","party":"cloud""#),
        "cannot be about a country; there is customer",
    );
    let decision = |right: &str| {
        let event = r#""event":{"source":"s","id":"e"},"decision":"release","reason":"agreed""#;
        format!(r#""kind":"decision","contract":"deal","right":"{right}",{event}"#)
    };
    check(&decision("first"), "");
    check(&decision("last"), "no version of deal has a right \"last\"; there is first");
    check(r#""kind":"receipt","at":"2026-05-01T00:00:00Z","amount":"5 USD","for":[{"source":"s","id":"e"}]"#, "");
    let billing = r#""kind":"billing","at":"2026-05-01T00:00:00Z","amount":"5 USD","seller":"lab","product":"api""#;
    check(billing, "");
    check(&billing.replace("\"api\"", "\"chat\""), "no product \"chat\"");
}

#[test]
fn a_folder_has_each_price_once() {
    let share = "[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"20%\"\nof = \"Sales\"";
    let header = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source";
    let row = |id: &str| format!("{id},api,requests,default,,,,,1,1,USD,,,list\n");
    let (a, b) = (format!("{header}\n{}{}", row("q"), row("p")), format!("{header}\n{}", row("p")));
    let twice = read_with(share, &[("a.csv", &a), ("b.csv", &b)]).expect_err("a refusal");
    assert_eq!(twice, "b.csv:2: price \"p\" stands at a.csv:3 too; give each price an id of its own");
}

#[test]
fn a_folder_has_each_rate_once() {
    let rates = "date,from,to,rate,source\n2026-05-31,EUR,USD,1.1,ECB\n2026-05-31,EUR,USD,1.1,bank\n";
    let share = "[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"20%\"\nof = \"Sales\"";
    let folder = read_with(share, &[("fx.csv", rates)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(folder.rates.len(), 2);
    let twice = read_with(share, &[("a/fx.csv", rates), ("b/fx.csv", rates)]).expect_err("a refusal");
    assert_eq!(
        twice,
        "b/fx.csv:2: the rate of EUR to USD on 2026-05-31 of ECB stands at a/fx.csv:2 too; write it once"
    );
    let loaded: Vec<FxRate> =
        folder.rates.iter().map(|it| FxRate { rate: it.rate.clone() + it.rate.clone(), ..it.clone() }).collect();
    let none = Loaded { prices: &[], rates: &folder.rates, documents: &documents(&folder), contracts: Vec::new() };
    assert_eq!(additions(&folder, none).unwrap_or_else(|error| panic!("{error}")).rates, []);
    let both: Vec<FxRate> = folder.rates.iter().chain(&loaded[..1]).cloned().collect();
    let restated = Loaded { prices: &[], rates: &both, documents: &documents(&folder), contracts: Vec::new() };
    assert_eq!(additions(&folder, restated).unwrap_or_else(|error| panic!("{error}")).rates, folder.rates[..1]);
}

#[test]
fn what_the_database_cannot_keep_is_no_record() {
    let text = |reason: &str| format!(r#"{{"kind":"correction","source":"s","id":"k","corrects":"f","{reason}}}"#);
    assert!(NewEntry::storable(&text(r#"evidence":"e""#)).is_ok());
    for nul in [r#"evidence":"a\u0000b""#, r#"event":{"source":"s","id":"\u0000"}"#, r#"events":[{"id":"\u0000"}]"#] {
        let found = NewEntry::storable(&text(nul));
        assert!(matches!(found, Err(EntryError::Nul)), "{nul}: {found:?}");
    }
}

#[test]
fn a_record_waits_for_what_it_is_about() {
    let folder = read_folder(&shipped_files()).unwrap_or_else(|error| panic!("{error}"));
    let deduction = |id: &str, reduces: &str| {
        let text = format!(
            r#"{{"kind":"deduction","source":"s","id":"{id}","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD",{reduces}}}"#
        );
        Record::from_json(&text).expect("a record")
    };
    let of_place = |id: &str, deployment: &str, product: &str| {
        deduction(id, &format!(r#""deployment":"{deployment}","product":"{product}""#))
    };
    let records = [
        deduction("event", r#""event":{"source":"s","id":"later"}"#),
        // What another record is about is money too: it stands.
        deduction("record", r#""event":{"source":"s","id":"event"}"#),
        of_place("sold", "openai-direct", "gpt-5.5"),
        of_place("deployment", "openai", "gpt-5.5"),
        of_place("product", "openai-direct", "gpt"),
    ];
    let found = waiting(&records, &BTreeMap::new(), &folder.register);
    let told: Vec<_> = found.iter().map(|(id, waits)| format!("{}: {waits}", id.id)).collect();
    assert_eq!(
        told,
        [
            "event: the event later of s, which is not known or void",
            "deployment: the deployment openai to be registered",
            "product: the product gpt to be registered",
        ]
    );
}
