//! Runs of small scenarios in the product's own files: what stops a settlement, and that answers are the same twice.

use super::Scenario;
use super::answer::{Answer, Answers};
use super::explained::{Amounts, ExplainError, explain};
use super::run::run;
use crate::domain::contract::folder::SourceFile;
use crate::domain::entry::Entry;
use crate::domain::explain::node::Node;
use crate::domain::explain::{Depth, Question};
use crate::domain::ids::TermId;
use crate::domain::period::Instant;

const REGISTER: &str = r#"# Register

```toml
[party.lab]
name = "Lab"
[party.ms]
name = "Cloud"
[cloud.coreweave]
operator = "lab"
[product.model-a]
maker = "lab"
[deployment.own]
cloud = "coreweave"
channel = "direct"
region = "us"
operator = "lab"
seller = "lab"
```
"#;

const PRICES: &str =
    "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at
p,model-a,requests,default,,,,,1,1,USD,,,list,
";

const SETTLE: &str = r#"{"step":"settle","contract":"main","period":"2026-01","cutoff":"2026-02-05T00:00:00Z"}"#;

/// The answers to steps about one sale of 100 in January under a contract with `head` and `terms` beside a share of 20 %.
fn answers(head: &str, terms: &str, steps: &str) -> Answers {
    run(&scenario(head, terms, steps)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn scenario(head: &str, terms: &str, steps: &str) -> Scenario {
    Scenario::read(&files(head, terms, steps)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn files(head: &str, terms: &str, steps: &str) -> Vec<SourceFile> {
    let contract = format!(
        r#"# Main

```toml
[contract]
id = "main"
zone = "UTC"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"
pro_rata = "full"
{head}

[version]
number = 1
effective = 2026-01-01

[base."Sales"]
select = {{ charges = {{ seller = "lab" }} }}
```

## 1 Share

```toml
[term.share]
payer = "lab"
payee = "ms"
rate = "20%"
of = "Sales"
{terms}
```
"#
    );
    let usage = r#"{"kind":"usage","source":"s","id":"e1","occurred_at":"2026-01-10T00:00:00Z","deployment":"own","product":"model-a","customer":"c","quantities":{"requests":"100"}}"#;
    let files = [
        ("register.md", REGISTER),
        ("main.md", &contract),
        ("prices.csv", PRICES),
        ("records.jsonl", usage),
        ("steps.jsonl", steps),
    ];
    let file = |(path, text): (&str, &str)| SourceFile { path: path.to_owned(), text: text.to_owned() };
    files.map(file).into()
}

#[track_caller]
fn stops(head: &str, terms: &str, expect: &str, words: &str) {
    match answers(head, terms, SETTLE).steps.as_slice() {
        [Answer::Failed { code, message, .. }] => {
            assert_eq!(*code, expect, "{message}");
            assert!(message.contains(words), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_books_and_is_the_same_twice() {
    let steps =
        [SETTLE, r#"{"step":"entitlement","contract":"main","through":"2026-01","known_at":"2026-02-05T00:00:00Z"}"#];
    let text = |answers: Answers| serde_json::to_string(&answers).expect("JSON");
    let first = text(answers("", "", &steps.join("\n")));
    assert_eq!(first, text(answers("", "", &steps.join("\n"))));
    assert!(
        first.contains(r#""booked":[{"term":"share","payer":"lab","payee":"ms","is_shared":false,"currency":"USD","digits":2,"amount":"20","lines":{"2026-01":"20"}}]"#),
        "{first}"
    );
    assert!(
        first.contains(
            r#""periods":{"2026-01":{"base":"100","uncapped":"20","paid_back":"0","accrued":"20","rounded":"20""#
        ),
        "{first}"
    );
}

#[test]
fn what_is_assumed_is_refused_where_the_contract_says_so() {
    let assumed = "confidence = \"assumed\"\nsource = \"the number is redacted\"";
    stops("assumed = \"refuse\"", assumed, "assumed", "or assumed = \"allow\"");
    assert!(matches!(answers("", assumed, SETTLE).steps.as_slice(), [Answer::Settled { .. }]));
}

#[test]
fn what_is_to_be_agreed_stops_the_settlement() {
    let open = "\n[open.\"Joint technology\"]\nagree = \"shared equitably\"\nmeanwhile = \"stop\"";
    stops("", open, "to_be_agreed", "or write meanwhile = \"nothing\"");
}

#[test]
fn what_is_missing_is_told_with_what_helps() {
    let euros = "\n[term.more]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"1%\"\nof = \"Sales\"\nin = \"EUR\"\n[fx]\nsource = \"ECB\"\ndate = \"item\"";
    stops("", euros, "missing_fx", "of ECB for 2026-01-10; add the row to fx.csv, under this source, and apply it");
    let pool = "\n[base.Other]\nselect = { units = { meter = \"requests\", seller = \"ms\" } }\n[term.pool]\npayer = \"lab\"\npayee = { each = \"operator\", by = \"Other\", if_none = \"stop\" }\nrate = \"1%\"\nof = \"Sales\"";
    stops("", pool, "nothing_used", "record the usage, or write if_none");
}

#[test]
fn a_figure_that_must_not_be_missing_is_asked_for_where_a_window_ends() {
    let fee = |when: &str| {
        format!(
            "\n[figure.Cost]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"stop\"\n[period.mid]\nevery = \"1 month\"\n\
             from = 2026-01-15\n[base.Net]\nselect = {{ charges = {{ seller = \"lab\" }} }}\n\
             less = [{{ figure = \"Cost\", at = \"own_date\" }}]\n[term.fee]\npayer = \"lab\"\npayee = \"ms\"\n{when}\n\
             greater_of = [{{ rate = \"10%\", of = \"Net\" }}, {{ fixed = \"1 USD\" }}]"
        )
    };
    stops("", &fee("each = \"month\""), "missing_figure", "2026-01-31");
    // Within a period: by itself, and with its term.
    stops("", &fee("each = \"mid\""), "missing_figure", "2026-01-14");
    stops("", &fee("each = \"month\"\nthrough = 2026-01-20"), "missing_figure", "2026-01-20");
    let by_period = "at_window_end = false\neach = \"month\"\nthrough = 2026-01-20";
    stops("", &fee(by_period), "missing_figure", "2026-01-20");
}

#[test]
fn an_explanation_names_parts_as_a_statement_does_and_refuses_a_term_that_is_none() {
    let scenario = scenario("", "", SETTLE);
    let of = |term: &str| {
        let (contract, term) = ("main".into(), TermId::new(term));
        let amounts = Amounts { contract: &contract, period: "2026-01", term: Some(&term), known_at: Instant::MAX_UTC };
        explain(&scenario, &amounts, Question { depth: Depth::Sums, limit: 9 })
    };
    fn words(node: &Node) -> String {
        node.parts.iter().fold(node.what.clone(), |all, part| format!("{all}\n{}", words(part)))
    }
    let told: String = of("share").expect("a tree").amounts.iter().map(words).collect();
    assert!(told.contains("\ncharges, coreweave / direct"), "{told}");
    match of("shares") {
        Err(error @ ExplainError::UnknownTerm { .. }) => {
            assert_eq!(error.to_string(), "no version of main has a term \"shares\"; there is share");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_that_is_owed_is_told_with_its_term_and_the_time_at_which_that_is_in_force() {
    let late = "\n[term.late]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"1%\"\nof = \"Sales\"\nfrom = 2026-03-01\n";
    let late = format!("{late}through = 2026-04-30");
    let scenario = scenario("", &late, SETTLE);
    let told = |period: &str, term: Option<&str>| {
        let (contract, term) = ("main".into(), term.map(TermId::new));
        let of = Amounts { contract: &contract, period, term: term.as_ref(), known_at: Instant::MAX_UTC };
        let explained = explain(&scenario, &of, Question { depth: Depth::Sums, limit: 9 }).expect("an answer");
        assert!(explained.amounts.is_empty(), "{explained:?}");
        of.none(explained.not_in_force)
    };
    for (period, term, expect) in [
        ("2025-12", None, "main, which is not in force before 2026-01-01 (UTC)"),
        ("2026-02", None, "main"),
        ("2026-02", Some("share"), "share of main"),
        ("2026-02", Some("late"), "late of main, which is not in force before 2026-03-01 (UTC)"),
        ("2026-04", Some("late"), "late of main"),
        ("2026-05", Some("late"), "late of main, which is not in force from 2026-05-01 (UTC) on"),
    ] {
        assert_eq!(told(period, term), format!("Nothing is owed for {period} under {expect}."));
    }
}

/// Of a sale of 100 less a refund of 30, 50 are above 20: nobody can say which part of them the refund took.
#[test]
fn what_is_above_a_threshold_is_explained_whole() {
    let above = "\n[base.Above]\nselect = { charges = { seller = \"lab\" } }\nless = [{ deductions = [\"refund\"], at = \"item\" }]\nabove = { is = \"20 USD\", each = \"year\", from = 2026-01-01 }\n[term.above]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Above\"";
    let mut scenario = scenario("", above, SETTLE);
    let refund = r#"{"kind":"deduction","source":"s","id":"r","category":"refund","at":"2026-01-12T00:00:00Z","amount":"30 USD","event":{"source":"s","id":"e1"}}"#;
    scenario.entries.push(Entry::from_json(refund).expect("a refund"));
    let (contract, term) = ("main".into(), TermId::new("above"));
    let amounts = Amounts { contract: &contract, period: "2026-01", term: Some(&term), known_at: Instant::MAX_UTC };
    let question = Question { depth: Depth::Sums, limit: 9 };
    let tree = explain(&scenario, &amounts, question).expect("a tree").amounts;
    fn words(node: &Node) -> String {
        node.parts.iter().fold(format!("{} {}", node.what, node.amount), |all, part| format!("{all}\n{}", words(part)))
    }
    let told: String = tree.iter().map(words).collect();
    assert!(told.contains("what of it counts 50\n") && !told.contains("refund"), "{told}");
}

/// Entries beside the sale of 100, of which none counts: what is told of each.
#[test]
fn what_does_not_count_is_told_with_its_place_and_reason() {
    let lines = [
        r#"{"kind":"usage","source":"s","id":"e1","occurred_at":"2026-01-10T00:00:00Z","deployment":"own","product":"model-a","quantities":{"requests":"7"}}"#,
        r#"{"kind":"usage","source":"s","id":"e2","occurred_at":"2026-01-11T00:00:00Z","deployment":"onw","product":"model-a","quantities":{"requests":"7"}}"#,
        r#"{"kind":"usage","source":"s","id":"e3","occurred_at":"2026-01-12T00:00:00Z","deployment":"own","product":"model-b","quantities":{"requests":"7"}}"#,
        r#"{"kind":"usage","source":"s","id":"e4","occurred_at":"2026-01-13T00:00:00Z","deployment":"own","product":"model-a","quantities":{"requests":"-7"}}"#,
        r#"{"kind":"deduction","source":"s","id":"d1","category":"refnd","at":"2026-01-14T00:00:00Z","amount":"3 USD","event":{"source":"s","id":"e1"}}"#,
        r#"{"kind":"deduction","source":"s","id":"d2","category":"refund","at":"2026-01-15T00:00:00Z","amount":"3 USD","event":{"source":"s","id":"e9"}}"#,
        r#"{"kind":"figure","source":"s","id":"f1","contract":"mian","name":"Cost","by":"lab","from":"2026-01-01","through":"2026-01-31","value":"1 USD","recorded_at":"2026-01-31T00:00:00Z"}"#,
        r#"{"kind":"void","source":"s","id":"v1","voids":"e8","recorded_at":"2026-02-01T00:00:00Z"}"#,
        r#"{"kind":"fact","source":"s","id":"a1","contract":"main","name":"relase","by":"lab","at":"2026-02-02T00:00:00Z","evidence":"mail"}"#,
        r#"{"kind":"figure","source":"s","id":"f2","contract":"main","name":"Cost","by":"lab","from":"2026-01-01","through":"2026-01-31","value":"1 USD","recorded_at":"2026-02-03T00:00:00Z"}"#,
        r#"{"kind":"figure","source":"s","id":"f3","contract":"main","name":"Cost","by":"lab","from":"2026-01-31","through":"2026-02-01","value":"1 USD","recorded_at":"2026-02-04T00:00:00Z"}"#,
        r#"{"kind":"figure","source":"s","id":"f4","contract":"main","name":"Cost","by":"ms","from":"2026-03-01","through":"2026-03-31","value":"1 EUR","recorded_at":"2026-02-05T00:00:00Z"}"#,
        r#"{"kind":"deduction","source":"s","id":"d3","category":"refund","at":"2026-02-06T00:00:00Z","amount":"3 EUR","event":{"source":"s","id":"e9"}}"#,
    ];
    let refund = "\n[base.Net]\nselect = { charges = { seller = \"lab\" } }\nless = [{ deductions = [\"refund\"], at = \"item\" }]\n\n\
        [figure.Cost]\nunit = \"USD\"\nkind = \"flow\"\nby = \"lab\"\nmissing = \"zero\"";
    let mut files = files("", refund, SETTLE);
    files.push(SourceFile { path: "z.jsonl".to_owned(), text: format!("\n{}\n", lines.join("\n")) });
    let answers = run(&Scenario::read(&files).expect("a scenario")).expect("answers");
    let told: Vec<String> = answers
        .uncounted
        .iter()
        .map(|it| {
            let place = it.place.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{place} {} {} {}: {}", it.kind, it.id.id, it.outcome, it.why)
        })
        .collect();
    assert_eq!(
        told,
        [
            "z.jsonl:2 usage e1 conflict: its id is known at records.jsonl:1 with other content, which stands",
            "z.jsonl:3 usage e2 unresolved: no deployment \"onw\" is registered; there is own",
            "z.jsonl:4 usage e3 unresolved: no product \"model-b\" is registered; there is model-a",
            "z.jsonl:5 usage e4 rejected: a quantity is negative; a correction restates the quantity",
            "z.jsonl:6 deduction d1 unawaited: no base of a loaded contract takes deductions of the category \"refnd\"; there is refund",
            "z.jsonl:7 deduction d2 waits: for the event e9 of s, which is not known or void",
            "z.jsonl:8 figure f1 unawaited: no contract \"mian\" is loaded; there is main",
            "z.jsonl:9 void v1 waits: for e8 of s, which is not known",
            "z.jsonl:10 fact a1 unawaited: contract main declares no fact \"relase\"",
            "z.jsonl:12 figure f3 refused: it counts here, but the service refuses it: figure \"Cost\" is reported for some of these days already: record f2 of s",
            "z.jsonl:13 figure f4 refused: it counts here, but the service refuses it: figure \"Cost\" is reported by lab, not by ms",
            "z.jsonl:14 deduction d3 waits: for the event e9 of s, which is not known or void",
        ]
    );
    // Without any of them the amounts are the same: 20 % of 100.
    let Answer::Settled { settlements, .. } = &answers.steps[0] else { panic!("{answers:?}") };
    assert_eq!(settlements[0].booked[0].amount.to_string(), "20");
}

/// What is received in January of a sale of December counts then, where a base is on what is received.
#[test]
fn usage_before_the_first_agreement_is_told_unless_a_record_names_it() {
    let lines = [
        r#"{"kind":"usage","source":"s","id":"b1","occurred_at":"2025-12-31T23:59:59Z","deployment":"own","product":"model-a","quantities":{"requests":"7"}}"#,
        r#"{"kind":"usage","source":"s","id":"b2","occurred_at":"2025-12-30T00:00:00Z","deployment":"own","product":"model-a","quantities":{"requests":"7"}}"#,
        r#"{"kind":"usage","source":"s","id":"b3","occurred_at":"2026-01-01T00:00:00Z","deployment":"own","product":"model-a","quantities":{"requests":"7"}}"#,
        r#"{"kind":"receipt","source":"s","id":"r1","at":"2026-01-20T00:00:00Z","amount":"7 USD","for":[{"source":"s","id":"b2"}]}"#,
    ];
    let mut files = files("", "", SETTLE);
    files.push(SourceFile { path: "z.jsonl".to_owned(), text: lines.join("\n") });
    let answers = run(&Scenario::read(&files).expect("a scenario")).expect("answers");
    let told: Vec<String> =
        answers.uncounted.iter().map(|it| format!("{} {}: {}", it.id.id, it.outcome, it.why)).collect();
    assert_eq!(told, ["b1 unawaited: it occurred before the first agreement, main, begins at 2026-01-01 (UTC)"]);
}

#[test]
fn what_is_missing_waits_and_unknown_names_come_with_what_there_is() {
    let scenario = scenario("", "", "");
    let of = |contract: &str, period: &str| {
        let contract = contract.into();
        let amounts = Amounts { contract: &contract, period, term: None, known_at: Instant::MAX_UTC };
        let error = explain(&scenario, &amounts, Question { depth: Depth::Sums, limit: 9 }).expect_err("refused");
        (error.to_string(), error.is_waiting())
    };
    assert_eq!(of("mian", "2026-01"), ("no contract \"mian\" is known; there is main".to_owned(), false));
    let unknown = "main has no period \"2026-Q1\"; its periods are named like 2026-01";
    assert_eq!(of("main", "2026-Q1"), (unknown.to_owned(), false));
    let mut unpriced = scenario.clone();
    unpriced.prices.clear();
    let contract = "main".into();
    let amounts = Amounts { contract: &contract, period: "2026-01", term: None, known_at: Instant::MAX_UTC };
    let error = explain(&unpriced, &amounts, Question { depth: Depth::Sums, limit: 9 }).expect_err("no price");
    assert!(error.is_waiting(), "{error}");
    assert_eq!(
        scenario.check_asked().expect_err("nothing is asked").to_string(),
        "nothing is asked, as there are no steps; write steps.jsonl, or in a document a block ```jsonl steps.jsonl, with lines such as \
         {\"step\":\"settle\",\"contract\":\"main\",\"period\":\"2026-01\",\"cutoff\":\"2026-02-01T00:00:00Z\"}"
    );
}

/// A sale of 100 in January alone; with the first step February is settled, and January before it.
#[test]
fn books_begin_with_the_contract_and_so_do_the_figures_that_must_not_be_missing() {
    let february = r#"{"step":"settle","contract":"main","period":"2026-02","cutoff":"2026-03-05T00:00:00Z"}"#;
    let of = |terms: &str| answers("", terms, february).steps.remove(0);
    match of("") {
        Answer::Settled { settlements, .. } => {
            let told: Vec<(&str, usize)> = settlements.iter().map(|it| (it.period.as_str(), it.booked.len())).collect();
            assert_eq!(told, [("2026-01", 1), ("2026-02", 0)]);
        }
        other => panic!("{other:?}"),
    }
    let figure = "\n[figure.Costs]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"stop\"\n[term.more]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"1%\"\nof = \"Costs\"";
    match of(figure) {
        Answer::Failed { code: "missing_figure", message, .. } => assert!(message.contains("2026-01"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_in_a_file_of_a_scenario_is_told_with_its_line() {
    let refused = |path: &str, text: &str| {
        let mut files = files("", "", SETTLE);
        files.push(SourceFile { path: path.to_owned(), text: text.to_owned() });
        Scenario::read(&files).expect_err("refused").to_string()
    };
    let steps = r#"{"step":"setle","contract":"main"}"#;
    assert_eq!(
        refused("more/steps.jsonl", &format!("\n{steps}\n")),
        "more/steps.jsonl:2: \"setle\" is none of settle, close, entitlement, findings, charges, period; is \"settle\" \
         meant?"
    );
    let field = r#"{"step":"settle","contract":"main","period":"2026-01","cutof":"2026-02-05T00:00:00Z"}"#;
    assert_eq!(
        refused("more/steps.jsonl", field),
        "more/steps.jsonl:1: unknown field `cutof`; there is contract, cutoff, period; is \"cutoff\" meant?"
    );
    let kind = refused("more.jsonl", "{\"source\":\"s\",\"id\":\"i\"}");
    assert!(
        kind.contains("missing field \"kind\"; write what it is, such as \"usage\", \"figure\" or \"fact\""),
        "{kind}"
    );
    assert_eq!(
        refused("more.csv", &PRICES.replace("p,", "q,model-a,requests,default,,,,,1,1,USD,,,list,\np,")),
        "more.csv:3: price \"p\" stands at prices.csv:2 too; give each price an id of its own"
    );
    assert!(refused("more.csv", &PRICES.replace(",1,1,USD", ",a,1,USD")).starts_with("more.csv:2: "));
}
