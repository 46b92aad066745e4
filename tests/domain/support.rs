//! A history in memory: usage, figures and deductions, settled under the agreements of `contracts/`.

use apportion::domain::calendar::Period;
use apportion::domain::contract::folder::{Folder, SourceFile, VersionDocument, read_folder};
use apportion::domain::ids::EventId;
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, parse_instant};
use apportion::domain::price::PriceBook;
use apportion::domain::record::Record;
use apportion::domain::settlement::{
    BookedLine, Books, SettlementError, SettlementInput, SettlementOutcome, Usage, settle,
};
use apportion::domain::statement::{Statement, statements};
use apportion::domain::usage::{UsageAttributes, UsageContent, UsageEvent};
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

/// What stands before the definitions of an agreement in US dollars that is settled by months of UTC, from 2026 on.
macro_rules! head {
    ($id:literal) => {
        concat!(
            "# Agreement\n```toml\n[contract]\nid = \"",
            $id,
            "\"\nzone = \"UTC\"\ncurrency = \"USD\"\nperiod = \"month\"\nrounding = \"half_up\"\nnegative = \"carry\"\n\n",
            "[version]\nnumber = 1\neffective = 2026-01-01\n\n"
        )
    };
}
pub(crate) use head;

/// The versions of a folder as they are stored.
pub fn documents(folder: &Folder) -> Vec<VersionDocument> {
    folder.versions.iter().map(|it| it.documents.clone()).collect()
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

/// What happened, and the books that settlements of it lead to.
pub struct History {
    pub folder: Folder,
    usage: Vec<UsageEvent>,
    records: Vec<Record>,
    pub books: Books,
    /// The last of each period counts.
    drawn: Vec<Statement>,
}

impl History {
    pub fn new() -> Self {
        Self::under(&shipped_files())
    }

    pub fn under(files: &[SourceFile]) -> Self {
        let folder = read_folder(files).unwrap_or_else(|error| panic!("{error}"));
        Self { folder, usage: Vec::new(), records: Vec::new(), books: Books::default(), drawn: Vec::new() }
    }

    /// One event; returns its number, by which a deduction names it.
    pub fn event(&mut self, when: &str, deployment: &str, product: &str, quantities: &[(&str, &str)]) -> usize {
        let quantity =
            |(meter, quantity): &(&str, &str)| (meter.parse().expect("a meter"), quantity.parse().expect("a quantity"));
        let content = UsageContent {
            occurred_at: at(when),
            ended_at: None,
            deployment: deployment.into(),
            product: product.into(),
            customer: "c".into(),
            service_tier: "default".into(),
            outcome: None,
            attributes: UsageAttributes::new(),
            quantities: quantities.iter().map(quantity).collect(),
        };
        let number = self.usage.len();
        self.usage.push(UsageEvent { id: EventId { source: "requests".into(), id: number.to_string() }, content });
        number
    }

    /// One event that ends as much later as said; returns its number.
    pub fn interval(&mut self, (when, until): (&str, &str), place: (&str, &str), quantities: &[(&str, &str)]) -> usize {
        let number = self.event(when, place.0, place.1, quantities);
        self.usage[number].content.ended_at = Some(at(until));
        number
    }

    pub fn record(&mut self, json: &str) {
        self.records.push(Record::from_json(json).expect("a record"));
    }

    pub fn deduct(&mut self, category: &str, when: &str, event: usize, amount: &str) {
        let number = self.records.len();
        self.record(&format!(
            r#"{{"kind":"deduction","source":"billing","id":"{number}","category":"{category}","at":"{when}","amount":"{amount} USD","event":{{"source":"requests","id":"{event}"}}}}"#
        ));
    }

    pub fn subscriptions(&mut self, from: &str, through: &str, value: &str) {
        self.record(&format!(
            r#"{{"kind":"figure","source":"openai-finance","id":"{from}","contract":"microsoft-openai","name":"Subscriptions","by":"openai","from":"{from}","through":"{through}","value":"{value} USD"}}"#
        ));
    }

    pub fn fact(&mut self, name: &str, when: &str) {
        self.record(&format!(
            r#"{{"kind":"fact","source":"panel","id":"{name}","contract":"microsoft-openai","name":"{name}","by":"expert-panel","at":"{when}","evidence":"test"}}"#
        ));
    }

    pub fn close(&mut self, name: &str) {
        self.books.closed.insert(period(name));
    }

    fn input(&self, contract: &str, period: Period) -> SettlementInput {
        SettlementInput {
            contract: contract.into(),
            period,
            cutoff: at("2040-01-01T00:00:00Z"),
            contracts: self.folder.contracts.clone(),
            register: self.folder.register.clone(),
            prices: PriceBook::new(self.folder.prices.iter().map(|it| it.price.clone())),
            rates: Vec::new(),
            records: self.records.clone(),
            usage: Usage { events: self.usage.clone(), ..Usage::default() },
            unresolved_events: 0,
            books: self.books.clone(),
        }
    }

    pub fn try_settle(
        &mut self,
        contract: &str,
        name: &str,
    ) -> Result<(Vec<BookedLine>, Vec<Statement>), SettlementError> {
        let input = self.input(contract, period(name));
        let settled = match settle(&input)? {
            SettlementOutcome::Settled(settled) => *settled,
            SettlementOutcome::Open(_) => panic!("there are no sums to open"),
        };
        self.books.booked.extend(settled.lines.iter().cloned());
        self.books.settled.insert(input.period);
        let drawn = statements(&input, &settled, &self.books.booked, &self.drawn, "test")?;
        self.drawn.retain(|it| (&it.contract, it.period) != (&input.contract, input.period));
        self.drawn.extend(drawn.iter().cloned());
        Ok((settled.lines, drawn))
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
