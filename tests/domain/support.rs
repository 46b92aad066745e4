//! A history in memory: usage, figures and deductions, settled under the agreements of `contracts/`.

use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::contract::simple;
use apportion::domain::deduction::PlacedDeduction;
use apportion::domain::ids::{ContractId, CustomerId, EventId};
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, Period, parse_instant};
use apportion::domain::price::PriceBook;
use apportion::domain::rating::{ChargeAttributes, UsageRollup};
use apportion::domain::record::{Fact, Figure, Record, RecordContent, Subject};
use apportion::domain::settlement::{
    BookedLine, Books, SettlementError, SettlementInput, SettlementOutcome, settle, with_drawn_on,
};
use apportion::domain::sharing::timeline;
use apportion::domain::statement::{Statement, statements};
use apportion::domain::usage::Meter;
use std::path::Path;

pub fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

pub fn period(text: &str) -> Period {
    text.parse().expect("a period")
}

pub fn exact(text: &str) -> Exact {
    text.parse().expect("a number")
}

/// The files of `contracts/` as the product ships them.
pub fn shipped_files() -> Vec<SourceFile> {
    files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts"))
}

/// The files of a folder and the folders in it.
pub fn files_in(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a text");
                files.push(SourceFile { path: path.strip_prefix(root).expect("a path").display().to_string(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

struct Use {
    at: Instant,
    deployment: String,
    product: String,
    quantities: Vec<(Meter, Exact)>,
}

struct Taken {
    category: String,
    at: Instant,
    event: usize,
    amount: Exact,
}

/// What happened, and the books that settlements of it lead to.
pub struct History {
    pub folder: Folder,
    usage: Vec<Use>,
    deductions: Vec<Taken>,
    figures: Vec<Figure>,
    facts: Vec<Fact>,
    pub books: Books,
}

impl History {
    pub fn new() -> Self {
        Self::under(&shipped_files())
    }

    pub fn under(files: &[SourceFile]) -> Self {
        let folder = read_folder(files).unwrap_or_else(|error| panic!("{error}"));
        Self {
            folder,
            usage: Vec::new(),
            deductions: Vec::new(),
            figures: Vec::new(),
            facts: Vec::new(),
            books: Books::default(),
        }
    }

    /// One event; returns its number, by which a deduction names it.
    pub fn event(&mut self, when: &str, deployment: &str, product: &str, quantities: &[(&str, &str)]) -> usize {
        let quantities =
            quantities.iter().map(|(meter, quantity)| (meter.parse().expect("a meter"), exact(quantity))).collect();
        self.usage.push(Use { at: at(when), deployment: deployment.into(), product: product.into(), quantities });
        self.usage.len() - 1
    }

    pub fn deduct(&mut self, category: &str, when: &str, event: usize, amount: &str) {
        self.deductions.push(Taken { category: category.into(), at: at(when), event, amount: exact(amount) });
    }

    pub fn subscriptions(&mut self, from: &str, through: &str, value: &str) {
        let json = format!(
            r#"{{"kind":"figure","source":"openai-finance","id":"{from}","contract":"microsoft-openai","name":"Subscriptions","by":"openai","from":"{from}","through":"{through}","value":"{value} USD"}}"#
        );
        match Record::from_json(&json).expect("a figure").content {
            RecordContent::Figure(figure) => self.figures.push(figure),
            other => panic!("{other:?}"),
        }
    }

    pub fn fact(&mut self, name: &str, when: &str) {
        let contract = ContractId::from("microsoft-openai");
        self.facts.push(Fact {
            contract,
            name: name.into(),
            by: "expert-panel".into(),
            at: at(when),
            until: None,
            about: Subject::default(),
            party: None,
            evidence: "test".into(),
        });
    }

    pub fn close(&mut self, name: &str) {
        self.books.closed.insert(period(name));
    }

    fn input(&self, contract: &str, settled: Period) -> SettlementInput {
        let id = ContractId::from(contract);
        let contracts = simple::contracts(&self.folder.contracts, &id).unwrap_or_else(|error| panic!("{error}"));
        let contracts = with_drawn_on(contracts, &id);
        let prices = PriceBook::new(self.folder.prices.clone());
        let zone = contracts.iter().find(|it| it.head.id == id).expect("the contract").head.zone;
        let timeline = timeline(&contracts, &self.facts, &prices, settled.span(zone).end).expect("a timeline");
        let register = self.folder.register.clone();
        let thresholds = prices.thresholds();
        let mut usage = Vec::new();
        for used in &self.usage {
            let Some(segment) = timeline.segment_at(used.at) else { continue };
            let context: Exact =
                used.quantities.iter().filter(|(meter, _)| meter.is_context()).map(|(_, it)| it.clone()).sum();
            let exceeded = |over: &&u64| Exact::from_integer(i64::try_from(**over).expect("a threshold")) < context;
            let overs = thresholds.get(&used.product.as_str().into());
            let context_over = overs.and_then(|it| it.iter().rev().find(exceeded)).copied().unwrap_or(0);
            usage.extend(used.quantities.iter().map(|(meter, quantity)| UsageRollup {
                segment,
                deployment: used.deployment.as_str().into(),
                product: used.product.as_str().into(),
                customer: CustomerId::from("c"),
                service_tier: "default".into(),
                context_over,
                meter: *meter,
                quantity: quantity.clone(),
            }));
        }
        let deductions = self.deductions.iter().enumerate().map(|(number, taken)| {
            let used = &self.usage[taken.event];
            let deployment_id = used.deployment.as_str().into();
            let deployment = &register.deployments[&deployment_id];
            let product = used.product.as_str().into();
            PlacedDeduction {
                id: EventId { source: "billing".into(), id: number.to_string() },
                category: taken.category.clone(),
                at: taken.at,
                item_at: Some(used.at),
                attributes: ChargeAttributes::of_usage(&deployment_id, deployment, &product, "c").expect("a seller"),
                amount: taken.amount.clone(),
                currency: "USD".parse().expect("a currency"),
            }
        });
        SettlementInput {
            contract: id,
            period: settled,
            cutoff: at("2040-01-01T00:00:00Z"),
            contracts,
            prices,
            deductions: deductions.collect(),
            register,
            timeline,
            usage,
            figures: self.figures.clone(),
            facts: self.facts.clone(),
            unresolved_events: 0,
            held: Vec::new(),
            books: self.books.clone(),
        }
    }

    pub fn try_settle(
        &mut self,
        contract: &str,
        name: &str,
    ) -> Result<(Vec<BookedLine>, Vec<Statement>), SettlementError> {
        let input = self.input(contract, period(name));
        let outcome: SettlementOutcome = settle(&input)?;
        self.books.booked.extend(outcome.lines.iter().cloned());
        self.books.settled.insert(input.period);
        let drawn = statements(&input, &outcome, &self.books.booked, "test")?;
        Ok((outcome.lines, drawn))
    }

    /// Settles and returns what was booked: "term origin amount", in order.
    pub fn settle(&mut self, contract: &str, name: &str) -> Vec<String> {
        let (lines, _) = self.try_settle(contract, name).unwrap_or_else(|error| panic!("{error}"));
        lines.iter().map(|line| format!("{} {} {}", line.term, line.origin, line.amount)).collect()
    }

    pub fn statements(&mut self, contract: &str, name: &str) -> Vec<Statement> {
        self.try_settle(contract, name).unwrap_or_else(|error| panic!("{error}")).1
    }
}
