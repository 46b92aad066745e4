//! A history told line by line, and what settlements of it come to.
//!
//! What is sold on `direct` and `second` is the lab's, on `hosted` the cloud's, on `market` the shop's. One request of a
//! `model` or `runtime` costs 1 USD, of `euro`, `yen` and `dinar` 1 of these: a quantity is an amount.

use apportion::domain::contract::folder::SourceFile;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{Answer, Entitled};
use apportion::domain::simulate::run::run;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// By months in UTC, in USD.
pub const HEAD: &str = r#"zone = "UTC"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"
pro_rata = "full"
"#;

/// What the lab sells; a refund stands at its own date.
pub const SALES: &str = r#"
[base."Sales"]
select = { charges = { seller = "lab" } }
less = [{ deductions = ["refund"], at = "own_date" }]
"#;

const DEPLOYMENTS: [(&str, &str, &str, &str); 4] = [
    ("direct", "own", "lab", "lab"),
    ("second", "own", "lab", "lab"),
    ("hosted", "azure", "cloud", "cloud"),
    ("market", "aws", "shop", "shop"),
];

const PRODUCTS: [(&str, &str); 5] =
    [("model", "USD"), ("runtime", "USD"), ("euro", "EUR"), ("yen", "JPY"), ("dinar", "KWD")];

pub struct Play {
    contracts: Vec<SourceFile>,
    rates: String,
    records: String,
    steps: String,
    /// When what follows is recorded; none: as it happens.
    recorded_at: Option<String>,
    last: Option<Answer>,
}

impl Play {
    /// The contract "main" from 2026 on: its head, its definitions, and the terms of its first version.
    pub fn new(head: &str, definitions: &str, terms: &str) -> Self {
        let mut play = Self {
            contracts: Vec::new(),
            rates: String::from("date,from,to,rate,source,recorded_at\n"),
            records: String::new(),
            steps: String::new(),
            recorded_at: None,
            last: None,
        };
        play.contract("main", head, definitions, terms);
        play
    }

    pub fn contract(&mut self, id: &str, head: &str, definitions: &str, terms: &str) {
        self.document(id, &format!("[contract]\nid = \"{id}\"\n{head}\n{definitions}"));
        self.version_of(id, 1, "2026-01-01", "2025-12-01", terms);
    }

    /// A version of the contract "main".
    pub fn version(&mut self, number: u32, effective: &str, recorded_on: &str, terms: &str) {
        self.version_of("main", number, effective, recorded_on, terms);
    }

    fn version_of(&mut self, id: &str, number: u32, effective: &str, recorded_on: &str, terms: &str) {
        let head = format!("contract = \"{id}\"\nnumber = {number}\neffective = {effective}");
        let blocks = format!("[version]\n{head}\nrecorded_at = {recorded_on}T00:00:00Z\n{terms}");
        self.document(&format!("{id}-{number}"), &blocks);
    }

    fn document(&mut self, name: &str, blocks: &str) {
        let text = format!("# {name}\n\n```toml\n{blocks}\n```\n");
        self.contracts.push(SourceFile { path: format!("{name}.md"), text });
    }

    /// So much of `to` for one of `from`, on a date.
    pub fn rate(&mut self, date: &str, from: &str, to: &str, rate: &str) {
        let _ = writeln!(self.rates, "{date},{from},{to},{rate},bank,");
    }

    /// What follows is recorded then.
    pub fn recorded(&mut self, at: &str) {
        self.recorded_at = Some(at.to_owned());
    }

    /// Sold by the lab, of its model, to `c1`.
    pub fn sale(&mut self, id: &str, at: &str, amount: &str) {
        self.usage(id, at, "direct", amount, &json!({}));
    }

    /// Usage of a deployment, with what is said of it otherwise.
    pub fn usage(&mut self, id: &str, at: &str, deployment: &str, quantity: &str, more: &Value) {
        let mut line = json!({
            "kind": "usage", "id": id, "occurred_at": at, "deployment": deployment, "product": "model",
            "customer": "c1", "quantities": { "requests": quantity },
        });
        for (field, value) in more.as_object().expect("fields") {
            line[field] = value.clone();
        }
        self.record(line);
    }

    /// A refund of something that was sold or received.
    pub fn refund(&mut self, id: &str, of: &str, at: &str, amount: &str) {
        let event = json!({ "source": "s", "id": of });
        let amount = format!("{amount} USD");
        self.record(
            json!({ "kind": "deduction", "category": "refund", "id": id, "at": at, "amount": amount, "event": event }),
        );
    }

    /// A fact of the contract "main", of a kind told by its name.
    pub fn fact(&mut self, name: &str, at: &str, more: &Value) {
        let mut line = json!({ "kind": "fact", "id": format!("{name}-{at}"), "contract": "main", "name": name, "by": "lab", "at": at, "evidence": "test" });
        for (field, value) in more.as_object().expect("fields") {
            line[field] = value.clone();
        }
        self.record(line);
    }

    /// A record as its fields tell.
    pub fn record(&mut self, mut line: Value) {
        line["source"] = json!("s");
        let at = self.recorded_at.as_deref().or(line["occurred_at"].as_str()).or(line["at"].as_str());
        line["recorded_at"] = json!(at.expect("a time of recording"));
        let _ = writeln!(self.records, "{line}");
    }

    /// What a settlement of the contract "main" books: term, payee where there are several, origin period, amount.
    #[track_caller]
    pub fn settle(&mut self, period: &str, cutoff: &str) -> Vec<String> {
        match self.ask(&json!({ "step": "settle", "contract": "main", "period": period, "cutoff": cutoff })) {
            Answer::Settled { settlements, .. } => {
                let mut told = Vec::new();
                for booked in settlements.iter().flat_map(|it| &it.booked) {
                    let payee = if booked.is_shared { format!(" to {}", booked.payee) } else { String::new() };
                    let lines = booked.lines.iter().filter(|(_, amount)| !amount.is_zero());
                    told.extend(lines.map(|(origin, amount)| format!("{}{payee} {origin}: {amount}", booked.term)));
                }
                told
            }
            Answer::Failed { code, .. } => vec![format!("error: {code}")],
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn close(&mut self, period: &str) {
        let answer = self.ask(&json!({ "step": "close", "contract": "main", "period": period }));
        assert!(matches!(answer, Answer::Closed), "{answer:?}");
    }

    /// Where the last settlement found a cap to be reached: item, what found room and what found none.
    pub fn crossings(&self, term: &str) -> Vec<String> {
        let all = self.settled(term).crossings.iter();
        all.map(|it| {
            let item = it.item.as_deref().unwrap_or("window");
            format!("{item}: {} and {}", it.found_room, it.found_none)
        })
        .collect()
    }

    /// The items of which the cap left nothing.
    pub fn without_room(&self, term: &str) -> &[String] {
        &self.settled(term).without_room
    }

    fn settled(&self, term: &str) -> &Entitled {
        let Some(Answer::Settled { terms, .. }) = &self.last else { panic!("{:?}", self.last) };
        &terms[&term.into()]
    }

    /// The usage that breaks a right of the contract "main".
    #[track_caller]
    pub fn findings(&mut self, through: &str, known_at: &str) -> Vec<String> {
        let asked = json!({ "step": "findings", "contract": "main", "through": through, "known_at": known_at });
        match self.ask(&asked) {
            Answer::Findings { findings } => {
                findings.iter().map(|it| format!("{} {} {}", it.right, it.event.id, it.state)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The ids under which something else was told before.
    #[track_caller]
    pub fn conflicts(&mut self, known_at: &str) -> Vec<String> {
        match self.ask(&json!({ "step": "charges", "known_at": known_at })) {
            Answer::Charges(charges) => charges.conflicts.iter().map(|it| it.id.id.clone()).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// When a period of the contract "main" begins and ends, and how many hours it has.
    #[track_caller]
    pub fn period(&mut self, period: &str) -> String {
        match self.ask(&json!({ "step": "period", "contract": "main", "period": period })) {
            Answer::Period { start, end, hours } => format!("{start} to {end}, {hours} h"),
            other => panic!("{other:?}"),
        }
    }

    /// One more step; all are answered again, and the last answer is told.
    #[track_caller]
    fn ask(&mut self, step: &Value) -> Answer {
        let _ = writeln!(self.steps, "{step}");
        let mut files = self.contracts.clone();
        let file = |path: &str, text: String| SourceFile { path: path.to_owned(), text };
        files.push(file("register.md", register()));
        files.push(file("prices.csv", prices()));
        files.push(file("fx.csv", self.rates.clone()));
        files.push(file("records.jsonl", self.records.clone()));
        files.push(file("steps.jsonl", self.steps.clone()));
        let scenario = Scenario::read(&files).unwrap_or_else(|errors| panic!("{errors}"));
        let mut answers = run(&scenario).unwrap_or_else(|errors| panic!("{errors}"));
        let answer = answers.steps.pop().expect("an answer");
        self.last = Some(answer.clone());
        answer
    }
}

fn register() -> String {
    let mut text = String::from("# Register\n\n```toml\n");
    for party in ["lab", "cloud", "shop", "p1", "p2", "p3"] {
        let _ = writeln!(text, "[party.{party}]\nname = \"{party}\"\n");
    }
    for (cloud, operator) in [("own", "lab"), ("azure", "cloud"), ("aws", "shop")] {
        let _ = writeln!(text, "[cloud.{cloud}]\noperator = \"{operator}\"\n");
    }
    for (product, _) in PRODUCTS {
        let _ = writeln!(text, "[product.{product}]\nmaker = \"lab\"\n");
    }
    for (name, cloud, operator, seller) in DEPLOYMENTS {
        let _ = writeln!(
            text,
            "[deployment.{name}]\ncloud = \"{cloud}\"\nchannel = \"{name}\"\nregion = \"global\"\noperator = \"{operator}\"\nseller = \"{seller}\"\n"
        );
    }
    text + "```\n"
}

fn prices() -> String {
    let mut text = String::from(
        "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at\n",
    );
    for (product, currency) in PRODUCTS {
        let _ = writeln!(text, "{product},{product},requests,default,,,,,1,1,{currency},,,list,");
    }
    text
}
