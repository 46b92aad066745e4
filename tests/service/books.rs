//! What tests of settlements do: agreements applied, usage and records taken in, months settled.

use crate::support::{TestDatabase, write_lines};
use apportion::domain::entry::NewEntry;
use apportion::domain::ids::ContractId;
use apportion::domain::outcome::Counts;
use apportion::domain::period::{Instant, parse_instant};
use apportion::domain::record::Record;
use apportion::domain::restated::Taking;
use apportion::ingest::file::{FileReader, ingest_file};
use apportion::jobs::contracts;
use apportion::jobs::records::{Checks, record};
use apportion::jobs::settle::{SettleError, SettleReport, SettleRequest, settle};
use apportion::store::contracts::Added;
use apportion::store::recording;
use std::path::{Path, PathBuf};

pub const MAKER: &str = "ana";
pub const APPROVER: &str = "ben";

pub fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

/// The agreements as the product ships them.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts")
}

/// A copy of the shipped agreements that a test may change; goes with the folder that is returned.
pub fn shipped_copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(copy.path().join(&folder)).expect("a folder");
        for entry in std::fs::read_dir(shipped().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(name);
            } else {
                std::fs::copy(entry.path(), copy.path().join(name)).expect("copied");
            }
        }
    }
    copy
}

/// A usage event with all that a price or a share can depend on.
pub fn usage(id: &str, time: &str, deployment: &str, product: &str, quantities: &[(&str, &str)]) -> String {
    let quantities: Vec<String> = quantities.iter().map(|(meter, value)| format!(r#""{meter}":{value}"#)).collect();
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"test","type":"apportion.usage.v1","time":"{time}","data":{{"deployment":"{deployment}","product":"{product}","customer":"c","quantities":{{{}}}}}}}"#,
        quantities.join(",")
    )
}

/// Subscriptions that the lab reports for May or another month of 2026.
pub fn subscriptions(id: &str, month: &str, last_day: u32, value: &str) -> Record {
    let json = format!(
        r#"{{"kind":"figure","source":"openai-finance","id":"{id}","contract":"microsoft-openai","name":"Subscriptions","by":"openai","from":"{month}-01","through":"{month}-{last_day}","value":"{value} USD"}}"#
    );
    Record::from_json(&json).expect("a figure")
}

/// A refund of the charge of one event.
pub fn refund(id: &str, event: &str, amount: &str) -> Record {
    let json = format!(
        r#"{{"kind":"deduction","source":"billing","id":"{id}","category":"refund","at":"2026-06-10T00:00:00Z","amount":"{amount} USD","event":{{"source":"test","id":"{event}"}}}}"#
    );
    Record::from_json(&json).expect("a refund")
}

impl TestDatabase {
    pub async fn apply(&self, folder: &Path) -> Added {
        let folder = contracts::read(folder).unwrap_or_else(|error| panic!("{error}"));
        contracts::apply(&self.pool, &folder).await.unwrap_or_else(|error| panic!("{error}")).added
    }

    pub async fn record(&self, records: &[Record]) {
        let entries: Vec<NewEntry> = records.iter().map(NewEntry::from).collect();
        let became = record(&self.pool, &entries, Checks::Awaited).await.expect("recorded");
        assert!(became.iter().all(|taking| *taking == Taking::Taken), "{became:?}");
    }

    pub async fn write(&self, lines: &[String]) -> Counts {
        write_lines(&mut self.writer().await, lines).await
    }

    /// Takes a file of events in, as `apportion ingest` does.
    pub async fn ingest(&self, lines: &[String]) -> Counts {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usage.jsonl");
        std::fs::write(&path, lines.join("\n")).expect("written");
        ingest_file(&mut self.writer().await, &path, &FileReader::default(), |_| {}).await.expect("taken in").counts
    }

    pub async fn watermark(&self) -> Instant {
        recording::watermark(&self.pool).await.expect("a watermark")
    }

    pub async fn try_settle(
        &self,
        contract: &str,
        period: &str,
        cutoff: Option<Instant>,
    ) -> Result<SettleReport, SettleError> {
        let request = SettleRequest {
            contract: ContractId::from(contract),
            period: period.parse().expect("a period"),
            cutoff,
            by: MAKER.into(),
            keep_approvals: false,
        };
        settle(&self.pool, &request).await
    }

    pub async fn settle(&self, contract: &str, period: &str) -> SettleReport {
        self.try_settle(contract, period, None).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// What a settlement booked: "term origin amount", in order.
pub fn booked(report: &SettleReport) -> Vec<String> {
    report.lines.iter().map(|line| format!("{} {} {}", line.term, line.origin, line.amount)).collect()
}
