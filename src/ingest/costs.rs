//! Files of cloud costs: read whole before anything of them is stored, then recorded as a report in one transaction.

use super::file::unpacked;
use crate::domain::cloud_cost::{CloudCost, digest_of};
use crate::domain::hex::hex;
use crate::domain::period::{Instant, Span};
use crate::sources::{CostColumns, WrongCost};
use crate::store::StoreError;
use crate::store::costs::{
    CutPeriod, KnownReport, NewCostRow, append_rows, append_statement, begin_report, find_cut, find_report,
    record_report,
};
use crate::store::recording::{self, LockMode};
use csv::StringRecord;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many faults are told; those after them are counted.
const MAX_FAULTS_TOLD: usize = 20;

/// How many rows are written at once.
const ROWS_AT_ONCE: usize = 2_000;

/// What is wrong with a file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct FileFault {
    pub path: PathBuf,
    pub line: u64,
    pub problem: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CostImportError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Nothing of the report is stored.
    #[error("{}{}", told(faults), more(*untold))]
    Faults { faults: Vec<FileFault>, untold: u64 },
    #[error("{}: holds no row", path.display())]
    Empty { path: PathBuf },
    #[error("{}: holds what {} holds: a part of a report is given once", path.display(), other.display())]
    SamePart { path: PathBuf, other: PathBuf },
    #[error(
        "{}: states a billing period of account {billing_account} of {provider} that {} states as well, and would hold in its place; \
         give parts of one report as one, and of several deliveries of a month the last",
        path.display(), other.display()
    )]
    SamePeriod { path: PathBuf, other: PathBuf, provider: String, billing_account: String },
    #[error(
        "{}: states {} to {} of account {} of {}, a part of {} to {}, which a report recorded at {} states: \
         it would pass for the whole of that; import a report of all of it",
        path.display(), cut.stated.start, cut.stated.end, cut.billing_account, cut.provider,
        cut.held.start, cut.held.end, cut.held_since
    )]
    PartOfPeriod { path: PathBuf, cut: Box<CutPeriod> },
    #[error("{}: is not what it was a moment ago; nothing of it is recorded", path.display())]
    Changed { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CostImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn told(faults: &[FileFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn more(untold: u64) -> String {
    if untold == 0 { String::new() } else { format!("\nand {untold} more") }
}

/// What a report states of an account and a billing period: so many rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostStatement {
    pub provider: String,
    pub billing_account: String,
    pub billing: Span,
    pub rows: u64,
}

/// A report whose files were read and are right.
#[derive(Clone, Debug)]
pub struct CostReport {
    paths: Vec<PathBuf>,
    /// Of what its file holds, unpacked; of several the digest of theirs, in whatever order they come.
    pub sha256: String,
    /// By provider, account and period; the periods of an account do not overlap.
    pub statements: Vec<CostStatement>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Now(Instant),
    /// All of it was held already.
    Held(Instant),
    /// It was known, and some of it was replaced since: it was not asked to be recorded anew.
    Replaced(Instant),
}

/// Which statement a row is of.
type StatementKey = (String, String, Instant, Instant);

fn key(cost: &CloudCost) -> StatementKey {
    (cost.provider.clone(), cost.billing_account.clone(), cost.billing.start, cost.billing.end)
}

/// Reads the files of a report and checks all of their rows, without a database.
///
/// # Errors
/// A file that cannot be read, or holds no row; or all rows that are wrong, the first ones with their line.
pub fn check(paths: &[PathBuf]) -> Result<CostReport, CostImportError> {
    let mut reader = CostReader::new(paths);
    let mut faults = Vec::new();
    let mut count = 0_u64;
    let mut tell = |fault| {
        count += 1;
        if faults.len() < MAX_FAULTS_TOLD {
            faults.push(fault);
        }
    };
    // Each with where its first row stands.
    let mut found: BTreeMap<StatementKey, (u64, PathBuf, u64)> = BTreeMap::new();
    while let Some((path, line, row)) = reader.next()? {
        match row {
            Ok(cost) => {
                let (rows, ..) = found.entry(key(&cost)).or_insert_with(|| (0, path, line));
                *rows += 1;
            }
            Err(WrongCost { detail }) => tell(FileFault { path, line, problem: detail }),
        }
    }
    let mut before: Option<&StatementKey> = None;
    for (statement, (_, path, line)) in &found {
        let (provider, account, from, to) = statement;
        let clash = before.filter(|(p, a, _, end)| (p, a) == (provider, account) && end > from);
        if let Some((.., start, end)) = clash {
            let problem = format!(
                "BillingPeriodStart: the period {from} to {to} of account {account} overlaps {start} to {end}, which other rows have; \
                 a report states each billing period of an account once"
            );
            tell(FileFault { path: path.clone(), line: *line, problem });
        }
        before = Some(statement);
    }
    if !faults.is_empty() {
        let told = u64::try_from(faults.len()).unwrap_or(u64::MAX);
        return Err(CostImportError::Faults { faults, untold: count.saturating_sub(told) });
    }
    let mut parts: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for (path, sha256) in paths.iter().zip(&reader.parts) {
        if let Some(other) = parts.insert(sha256.clone(), path) {
            return Err(CostImportError::SamePart { path: path.clone(), other: other.clone() });
        }
    }
    let statements = found.into_iter().map(|((provider, billing_account, start, end), (rows, ..))| CostStatement {
        provider,
        billing_account,
        billing: Span { start, end },
        rows,
    });
    Ok(CostReport { paths: paths.to_vec(), sha256: reader.sha256(), statements: statements.collect() })
}

/// Checks that reports which come together hold beside each other: else the last of them would hold alone, and parts of a
/// report that are given as several would be lost.
///
/// # Errors
/// The first that states what another one states.
pub fn check_apart(reports: &[CostReport]) -> Result<(), CostImportError> {
    let mut seen: Vec<(&CostReport, &CostStatement)> = Vec::new();
    for report in reports {
        for it in &report.statements {
            let is_same = |(other, theirs): &&(&CostReport, &CostStatement)| {
                // A copy of a report is a known duplicate by then.
                other.sha256 != report.sha256
                    && (&theirs.provider, &theirs.billing_account) == (&it.provider, &it.billing_account)
                    && theirs.billing.intersection(it.billing).is_some()
            };
            if let Some((other, _)) = seen.iter().find(is_same) {
                let [path, other] = [report, *other].map(|of| of.paths.first().cloned().unwrap_or_default());
                let (provider, billing_account) = (it.provider.clone(), it.billing_account.clone());
                return Err(CostImportError::SamePeriod { path, other, provider, billing_account });
            }
        }
        seen.extend(report.statements.iter().map(|it| (report, it)));
    }
    Ok(())
}

/// Records a report that was checked, all of it in one transaction. One that is held is not recorded again; one that was
/// replaced is where that is asked for, as somebody who tries once more after a fault may not know that it was.
///
/// # Errors
/// The database's, a file that cannot be read any more or has changed, or a part of a billing period that is held: then
/// nothing is recorded.
#[tracing::instrument(name = "costs.record", skip_all, fields(sha256 = %report.sha256))]
pub async fn record(pool: &PgPool, report: &CostReport, again: bool) -> Result<Recorded, CostImportError> {
    let CostReport { paths, sha256, statements } = report;
    let mut tx = pool.begin().await?;
    if let Some(known) = known(&mut tx, sha256, again).await? {
        return Ok(known);
    }
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let names: Vec<String> = paths.iter().map(name).collect();
    let report_id = begin_report(&mut tx, sha256, &names).await?;
    let mut ids: BTreeMap<StatementKey, i64> = BTreeMap::new();
    for CostStatement { provider, billing_account, billing, rows } in statements {
        let id = append_statement(&mut tx, report_id, [provider, billing_account], *billing, *rows).await?;
        ids.insert((provider.clone(), billing_account.clone(), billing.start, billing.end), id);
    }
    // Before its rows are written, which may be many, and once more when nobody else records.
    refuse_part(&mut tx, report_id, paths).await?;
    let mut reader = CostReader::new(paths);
    let mut row_number = 0_i64;
    loop {
        let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
        while rows.len() < ROWS_AT_ONCE
            && let Some((path, _, row)) = reader.next()?
        {
            row_number += 1;
            let cost = row.map_err(|_| CostImportError::Changed { path: path.clone() })?;
            let statement_id = *ids.get(&key(&cost)).ok_or(CostImportError::Changed { path })?;
            rows.push(NewCostRow { statement_id, row_number, cost });
        }
        if rows.is_empty() {
            break;
        }
        append_rows(&mut tx, &rows).await?;
    }
    if reader.sha256() != *sha256 {
        return Err(CostImportError::Changed { path: paths.first().cloned().unwrap_or_default() });
    }
    // Alone, as is whatever is recorded that is no batch. Only now, so that nobody waits while rows are written.
    let recorded_at = recording::lock(&mut tx, LockMode::Exclusive).await?;
    // Another may have recorded it meanwhile.
    if let Some(known) = known(&mut tx, sha256, again).await? {
        return Ok(known);
    }
    refuse_part(&mut tx, report_id, paths).await?;
    record_report(&mut tx, report_id, recorded_at).await?;
    tx.commit().await?;
    Ok(Recorded::Now(recorded_at))
}

/// What is known of a report that is not to be recorded, or not again.
async fn known(conn: &mut PgConnection, sha256: &str, again: bool) -> Result<Option<Recorded>, StoreError> {
    Ok(match find_report(conn, sha256).await? {
        Some(KnownReport { recorded_at, is_held: true }) => Some(Recorded::Held(recorded_at)),
        Some(KnownReport { recorded_at, is_held: false }) if !again => Some(Recorded::Replaced(recorded_at)),
        _ => None,
    })
}

async fn refuse_part(conn: &mut PgConnection, report_id: i64, paths: &[PathBuf]) -> Result<(), CostImportError> {
    let path = paths.first().cloned().unwrap_or_default();
    let cut = find_cut(conn, report_id).await?;
    cut.map_or(Ok(()), |cut| Err(CostImportError::PartOfPeriod { path, cut: Box::new(cut) }))
}

/// Reads the rows of files one after the other, and hashes what each holds.
struct CostReader<'a> {
    left: std::slice::Iter<'a, PathBuf>,
    open: Option<OpenFile<'a>>,
    /// The digest of each file that was read to its end.
    parts: Vec<String>,
}

struct OpenFile<'a> {
    path: &'a Path,
    rows: csv::Reader<Hashed>,
    columns: CostColumns,
    /// What the reader's count of lines is short of.
    late: u64,
    is_empty: bool,
}

/// A row, or why it is none, with its place.
type PlacedRow = (PathBuf, u64, Result<CloudCost, WrongCost>);

impl<'a> CostReader<'a> {
    fn new(paths: &'a [PathBuf]) -> Self {
        Self { left: paths.iter(), open: None, parts: Vec::new() }
    }

    /// Of all that was read.
    fn sha256(&self) -> String {
        match self.parts.as_slice() {
            [only] => only.clone(),
            several => digest_of(&several.iter().cloned().collect()),
        }
    }

    fn next(&mut self) -> Result<Option<PlacedRow>, CostImportError> {
        loop {
            let file = match &mut self.open {
                Some(file) => file,
                None => match self.left.next() {
                    None => return Ok(None),
                    Some(path) => match OpenFile::open(path)? {
                        Ok(file) => self.open.insert(file),
                        // What is wrong with a header is told once, and none of its rows.
                        Err(wrong) => return Ok(Some((path.clone(), 1, Err(wrong)))),
                    },
                },
            };
            match file.next()? {
                Some(row) => return Ok(Some(row)),
                None if file.is_empty => return Err(CostImportError::Empty { path: file.path.to_owned() }),
                None => {
                    self.parts.push(hex(&file.rows.get_ref().hasher.clone().finalize()));
                    self.open = None;
                }
            }
        }
    }
}

impl<'a> OpenFile<'a> {
    fn open(path: &'a Path) -> Result<Result<Self, WrongCost>, CostImportError> {
        let failed = |source| CostImportError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            let why = "is no file that can be read twice, first to check it; write it to one";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let inner = unpacked(path, file).map_err(failed)?;
        let hashed = Hashed { inner, hasher: Sha256::new() };
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(hashed);
        let header = match rows.headers() {
            Ok(header) => header.clone(),
            Err(error) => return not_csv(error).map(Err).map_err(failed),
        };
        // The reader counts a line's end only at the next row where it is two signs.
        let late = u64::from(rows.position().line() == 1);
        Ok(CostColumns::find(&header).map(|columns| Self { path, rows, columns, late, is_empty: true }))
    }

    fn next(&mut self) -> Result<Option<PlacedRow>, CostImportError> {
        let Self { path, rows, columns, late, is_empty } = self;
        let mut record = StringRecord::new();
        let (row, position) = match rows.read_record(&mut record) {
            Ok(false) => return Ok(None),
            Ok(true) => (columns.cost(&record), record.position().map(csv::Position::line)),
            Err(error) => {
                let position = error.position().map(csv::Position::line);
                let failed = |source| CostImportError::Read { path: path.to_owned(), source };
                (Err(not_csv(error).map_err(failed)?), position)
            }
        };
        *is_empty = false;
        Ok(Some((path.to_owned(), position.unwrap_or(1).saturating_add(*late), row)))
    }
}

/// What is wrong with text that is no CSV.
///
/// # Errors
/// It could not be read.
fn not_csv(error: csv::Error) -> Result<WrongCost, io::Error> {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Err(error),
        _ => Ok(WrongCost { detail: "must be CSV, in UTF-8".to_owned() }),
    }
}

/// Hashes what is read.
struct Hashed {
    inner: Box<dyn Read + Send>,
    hasher: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(read) = buffer.get(..count) {
            self.hasher.update(read);
        }
        Ok(count)
    }
}
