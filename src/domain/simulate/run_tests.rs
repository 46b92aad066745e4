//! Runs of small scenarios in the product's own files: what stops a settlement, and that answers are the same twice.

use super::Scenario;
use super::answer::{Answer, Answers};
use super::run::run;
use crate::domain::contract::folder::SourceFile;

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

/// One sale of 100 in January under a contract with `head` and `terms` beside a share of 20 %.
fn answers(head: &str, terms: &str, steps: &str) -> Answers {
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
    let scenario = Scenario::read(&files.map(file)).unwrap_or_else(|errors| panic!("{errors}"));
    run(&scenario).unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn stops(head: &str, terms: &str, expect: &str, words: &str) {
    match answers(head, terms, SETTLE).steps.as_slice() {
        [Answer::Failed { code, message }] => {
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
        first.contains(r#""periods":{"2026-01":{"base":"100","uncapped":"20","accrued":"20","rounded":"20""#),
        "{first}"
    );
}

#[test]
fn what_is_assumed_is_refused_where_the_contract_says_so() {
    let assumed = "confidence = \"assumed\"\nsource = \"the number is redacted\"";
    stops("assumed = \"refuse\"", assumed, "assumed", "main/share rests on");
    assert!(matches!(answers("", assumed, SETTLE).steps.as_slice(), [Answer::Settled { .. }]));
}

#[test]
fn what_is_to_be_agreed_stops_the_settlement() {
    let open = "\n[open.\"Joint technology\"]\nagree = \"shared equitably\"\nmeanwhile = \"stop\"";
    stops("", open, "to_be_agreed", "\"Joint technology\" is still to be agreed");
}

#[test]
fn what_is_not_computed_is_refused() {
    let mix = "minimum = { is = \"50 USD\", each = \"month\", of = \"Sales\", mix = { by = \"product\", at_most = \"50%\" } }";
    stops("", mix, "not_computed", "is not computed yet");
    let received = "\n[base.Paid]\nselect = { accrual = \"main/share\", as = \"received\" }\n[term.more]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"1%\"\nof = \"Paid\"";
    stops("", received, "not_computed", "drawn on as received");
}
