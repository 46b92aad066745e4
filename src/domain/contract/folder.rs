//! A folder of documents: which is a register, a contract, a version, and all of them read and checked together.

use super::check::{BlockName, CheckError, check};
use super::document::{FileLine, Location};
use super::example::{VersionExamples, What, read_examples};
use super::parsed::Parsed;
use super::placed_prices::{PlacedPrice, PricesError, check_prices, read_prices};
use super::problem::{Problem, ReadError};
use super::read::{Origin, effective_at, read_version};
use super::records::{RecordProblem, categories, check_record};
use super::rights::{RightInVersion, RightsConflict, conflicts};
use super::{Contract, Version};
use crate::domain::entry::lines;
use crate::domain::fx::{FxProblem, FxRate, read_fx_rates};
use crate::domain::ids::{ContractId, DefinedTerm, EventId, TermId};
use crate::domain::money::Currency;
use crate::domain::names::{nearest, there_is};
use crate::domain::record::{Fact, Record, RecordContent, RecordError, RecordKind};
use crate::domain::register::{Register, RegisterConflict};
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};

/// A file as it was found: its path within the folder, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

impl SourceFile {
    fn at(&self, line: usize) -> FileLine {
        FileLine { path: self.path.clone(), line }
    }
}

/// Everything that a folder says.
#[derive(Debug)]
pub struct Folder {
    pub register: Register,
    pub prices: Vec<PlacedPrice>,
    /// Rates of exchange.
    pub rates: Vec<FxRate>,
    pub contracts: Vec<Contract>,
    /// The documents behind each version, by contract and number.
    pub versions: Vec<PlacedVersion>,
    /// What runs with the versions, in the same order.
    pub examples: Vec<VersionExamples>,
    /// The facts that stand beside the agreements.
    pub facts: Vec<Record>,
    /// Rights that contradict each other: reported, not refused, as the agreements may say so.
    pub conflicts: Vec<PlacedConflict>,
    /// Sources whose rates agreements take, of which the folder has none though it has others: these may be loaded already.
    pub unrated: Vec<Unrated>,
}

/// A source of rates of exchange of which no row is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{at}: source = \"{name}\"\n  no row of fx.csv is of this source{}", there_is(&Vec::from_iter(.known)))]
pub struct Unrated {
    pub at: Location,
    pub name: String,
    pub known: BTreeSet<String>,
}

/// A conflict of rights, with the place of each.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlacedConflict {
    #[serde(flatten)]
    pub conflict: RightsConflict,
    pub places: Vec<Location>,
}

/// A version as its documents, the form in which it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDocument {
    pub contract: ContractId,
    pub number: u32,
    /// The contract's own file, with the definitions.
    pub definitions: String,
    /// The version's file; the same text where one file holds both.
    pub document: String,
}

/// A version's documents, and where they stand.
#[derive(Clone, Debug)]
pub struct PlacedVersion {
    pub documents: VersionDocument,
    /// Of `[contract]`, in the contract's own file.
    pub head: Location,
    /// Of `[version]`.
    pub place: Location,
}

/// Why a folder is refused.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Prices(#[from] PricesError),
    #[error("{at}: {problem}")]
    Rates { at: FileLine, problem: FxProblem },
    #[error("{at}: the rate of {from} to {to} on {date} of {rate_source} stands at {other} too; write it once")]
    RepeatedRate { at: FileLine, from: String, to: String, date: NaiveDate, rate_source: String, other: FileLine },
    #[error(
        "{at}: \"{name}\" is no ISO 4217 currency in use and no [unit] of these contracts; write a code such as \"USD\", or declare [unit.{name}]"
    )]
    UnknownUnit { at: FileLine, name: String },
    #[error("{path}: {problem}")]
    Register { path: String, problem: RegisterConflict },
    #[error("{at}: version of contract \"{contract}\", which no file of the folder states")]
    NoContract { at: Location, contract: String },
    #[error("{path}: contract \"{contract}\" is stated in {other} too")]
    RepeatedContract { path: String, contract: ContractId, other: String },
    #[error("{path}: steps of a scenario, which `apportion simulate` runs; keep them apart from the agreements")]
    Steps { path: String },
    #[error("{at}: {problem}")]
    Record { at: FileLine, problem: RecordError },
    #[error("{at}: record {id}: {problem}")]
    Fact { at: FileLine, id: EventId, problem: RecordProblem },
    #[error("{at}: record {id} is a {kind}; beside agreements stand facts, and `apportion record` takes the others")]
    NoFact { at: FileLine, id: EventId, kind: RecordKind },
    #[error("{at}: record {id} stands twice; give each an id of its own")]
    RepeatedFact { at: FileLine, id: EventId },
    #[error(
        "no file registers a party, cloud, product or deployment; add the register.md that does, in this folder or in the one that is read with it"
    )]
    NoRegister,
    #[error(
        "{path}: contract \"{contract}\" has no version; write [version] with number and effective here, or in another file with contract = \"{contract}\""
    )]
    NoVersion { path: String, contract: ContractId },
    #[error("{at}: no term or right \"{name}\" of \"{contract}\"{}", there_is(.known))]
    UnknownExpected { at: Location, contract: ContractId, name: TermId, known: Vec<TermId> },
    #[error("{at}: no kind of item and no category of deductions \"{name}\"{}", there_is(&nearest(.name, .known)))]
    UnknownItem { at: Location, name: String, known: Vec<String> },
    #[error("{}{}", .at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default(), .error.quoting(.found))]
    Check { at: Option<Location>, found: String, error: CheckError },
}

/// Everything that was found wrong in a folder, in the order of its files.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct FolderErrors(pub Vec<FolderError>);

impl FolderErrors {
    fn refuse(mut errors: Vec<FolderError>) -> Result<(), Self> {
        // Definitions are read with each of their versions.
        let mut seen = BTreeSet::new();
        errors.retain(|error| seen.insert(error.to_string()));
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }
}

/// A fact with the place of its line.
struct PlacedFact {
    record: Record,
    at: FileLine,
}

/// A rate with the place of its line.
struct PlacedRate {
    rate: FxRate,
    at: FileLine,
}

/// Reads the Markdown documents, rates of exchange (`fx.csv`), price books (other `.csv`) and facts (`.jsonl`) of a folder.
///
/// # Errors
/// The first thing that is wrong in each document, with its place.
pub fn read_folder(files: &[SourceFile]) -> Result<Folder, FolderErrors> {
    let (mut register, mut documents, mut books) = (Register::default(), Vec::new(), Vec::new());
    let (mut facts, mut rates) = (Vec::new(), Vec::new());
    let mut errors = Vec::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if file.path.ends_with(".md") {
            read_document(file, &mut register).map_or_else(|error| errors.push(error), |it| documents.push(it));
        } else if name == "fx.csv" {
            read_rates(file, &mut rates).unwrap_or_else(|error| errors.push(error));
        } else if file.path.ends_with(".csv") {
            let read = read_prices(&file.path, &file.text);
            read.map_or_else(|error| errors.push(error.into()), |prices| books.push(prices));
        } else if name == "steps.jsonl" {
            errors.push(FolderError::Steps { path: file.path.clone() });
        } else if file.path.ends_with(".jsonl") {
            read_facts(file).map_or_else(|error| errors.push(error), |read| facts.extend(read));
        }
    }
    // From here on names are looked up: without a file that cannot be read, right ones would look wrong.
    FolderErrors::refuse(errors)?;
    let wrong = documents.iter().filter_map(|parsed| parsed.check_register(&register).err());
    let astray = documents.iter().filter(|it| it.version().is_none());
    let astray = astray.filter_map(|parsed| read_examples(parsed, parsed).err());
    let mut errors: Vec<FolderError> = wrong.chain(astray).map(FolderError::from).collect();
    let (contracts, versions, examples) = read_contracts(&documents, &register, &mut errors);
    errors.extend(check_prices(&books, &register).into_iter().map(FolderError::from));
    if !errors.is_empty() && register == Register::default() {
        errors.insert(0, FolderError::NoRegister);
    }
    FolderErrors::refuse(errors)?;
    check(&contracts).map_err(|error| FolderErrors(vec![located(error, &documents)]))?;
    check_examples(&examples, &contracts)?;
    check_units(&rates, &contracts)?;
    let unrated = unrated(&documents, &rates);
    let (prices, rates) = (books.concat(), rates.into_iter().map(|it| it.rate).collect());
    let facts = check_facts(facts, &contracts, &register).map_err(|error| FolderErrors(vec![error]))?;
    let known: Vec<Fact> = facts.iter().filter_map(fact).cloned().collect();
    let conflicts = conflicts(&contracts, &register, &known);
    let conflicts = conflicts.into_iter().map(|conflict| placed(conflict, &documents)).collect();
    Ok(Folder { register, prices, rates, contracts, versions, examples, facts, conflicts, unrated })
}

/// Refuses an example that gives what nothing takes, or expects something of a term or right which no version states.
fn check_examples(all: &[VersionExamples], contracts: &[Contract]) -> Result<(), FolderErrors> {
    let mut errors = Vec::new();
    let categories = categories(contracts);
    for given in all.iter().flat_map(|it| &it.examples).flat_map(|example| &example.given) {
        // Whatever is none of the kinds was read as the category of a deduction.
        if let What::Deduction { category, .. } = &given.what
            && !categories.contains_key(category.as_str())
        {
            let known = What::KINDS.iter().map(ToString::to_string).chain(categories.keys().map(ToString::to_string));
            let (at, name) = (given.place.clone(), category.clone());
            errors.push(FolderError::UnknownItem { at, name, known: known.collect() });
        }
    }
    for expect in all.iter().flat_map(|it| &it.examples).flat_map(|example| &example.expect) {
        let versions = contracts.iter().filter(|it| it.head.id == expect.contract).flat_map(|it| &it.versions);
        let names = |version: &Version| {
            let rights = version.rights.iter().map(|right| right.id.clone());
            version.terms.iter().map(|term| term.id.clone()).chain(rights).collect::<Vec<TermId>>()
        };
        let known: Vec<TermId> = versions.flat_map(names).collect();
        if !known.contains(&expect.name) {
            let (contract, name) = (expect.contract.clone(), expect.name.clone());
            errors.push(FolderError::UnknownExpected { at: expect.place.clone(), contract, name, known });
        }
    }
    FolderErrors::refuse(errors)
}

/// Refuses a rate of what nothing is in: it would never be looked up.
fn check_units(rates: &[PlacedRate], contracts: &[Contract]) -> Result<(), FolderErrors> {
    let units = contracts.iter().flat_map(|it| &it.versions).flat_map(|it| it.units.keys());
    let units: BTreeSet<&str> = units.map(DefinedTerm::as_str).collect();
    let is_known = |name: &str| name.parse::<Currency>().is_ok() || units.contains(name);
    let unknown = rates.iter().filter_map(|it| {
        let name = [&it.rate.from, &it.rate.to].into_iter().find(|name| !is_known(name))?.clone();
        Some(FolderError::UnknownUnit { at: it.at.clone(), name })
    });
    FolderErrors::refuse(unknown.collect())
}

fn unrated(documents: &[Parsed], rates: &[PlacedRate]) -> Vec<Unrated> {
    let known: BTreeSet<String> = rates.iter().map(|it| it.rate.source.clone()).collect();
    let taken = documents.iter().filter_map(Parsed::source_of_rates);
    let unrated = taken.filter(|(_, name)| !known.is_empty() && !known.contains(*name));
    unrated.map(|(at, name)| Unrated { at, name: name.to_owned(), known: known.clone() }).collect()
}

/// Adds the rates of a file; each stands once in a folder.
fn read_rates(file: &SourceFile, rates: &mut Vec<PlacedRate>) -> Result<(), FolderError> {
    let read = read_fx_rates(&file.text);
    let read = read.map_err(|error| FolderError::Rates { at: file.at(error.line), problem: error.problem })?;
    let known: BTreeMap<_, _> = rates.iter().map(|it| (it.rate.key(), &it.at)).collect();
    if let Some((line, rate, other)) = read.iter().find_map(|(line, it)| Some((line, it, *known.get(&it.key())?))) {
        let FxRate { from, to, date, source: rate_source, .. } = rate.clone();
        let (at, other) = (file.at(*line), other.clone());
        return Err(FolderError::RepeatedRate { at, from, to, date, rate_source, other });
    }
    rates.extend(read.into_iter().map(|(line, rate)| PlacedRate { rate, at: file.at(line) }));
    Ok(())
}

/// The records of a file, one JSON object a line; empty lines are none.
fn read_facts(file: &SourceFile) -> Result<Vec<PlacedFact>, FolderError> {
    let read = |(line, text)| match Record::from_json(text) {
        Ok(record) => Ok(PlacedFact { record, at: file.at(line) }),
        Err(problem) => Err(FolderError::Record { at: file.at(line), problem }),
    };
    lines(&file.text).map(read).collect()
}

fn fact(record: &Record) -> Option<&Fact> {
    match &record.content {
        RecordContent::Fact(fact) => Some(fact),
        _ => None,
    }
}

fn check_facts(
    lines: Vec<PlacedFact>,
    contracts: &[Contract],
    register: &Register,
) -> Result<Vec<Record>, FolderError> {
    let mut facts: Vec<Record> = Vec::new();
    for PlacedFact { record, at } in lines {
        let id = record.id.clone();
        if fact(&record).is_none() {
            return Err(FolderError::NoFact { at, id, kind: record.kind() });
        }
        if facts.iter().any(|other| other.id == id) {
            return Err(FolderError::RepeatedFact { at, id });
        }
        let checked = check_record(&record, contracts, register, &[]);
        checked.map_err(|problem| FolderError::Fact { at, id, problem })?;
        facts.push(record);
    }
    Ok(facts)
}

/// The document of a version.
fn version_file<'d>(documents: &'d [Parsed], contract: &ContractId, number: u32) -> Option<&'d Parsed> {
    let mut versions = documents.iter().filter(|document| is_version_of(document, contract));
    versions.rfind(|it| it.version().is_some_and(|(stated, _)| stated == number))
}

/// Looks up where the block stands that is wrong, or else its version.
fn located(error: CheckError, documents: &[Parsed]) -> FolderError {
    let place = || {
        let version = version_file(documents, &error.contract, error.number)?;
        // What several versions share stands in the contract's own file.
        let own = documents.iter().filter(|it| it.contract_id().as_ref() == Some(&error.contract));
        let mut files = std::iter::once(version).chain(own);
        let block = error.block.as_ref().and_then(|block| files.find_map(|it| it.fault(block, &error.problem)));
        block.or_else(|| Some((version.place_of_version(), String::new())))
    };
    let (at, found) = place().map_or((None, String::new()), |(at, found)| (Some(at), found));
    FolderError::Check { at, found, error }
}

/// Looks up where the rights of a conflict are stated.
fn placed(conflict: RightsConflict, documents: &[Parsed]) -> PlacedConflict {
    let place = |right: &RightInVersion| {
        version_file(documents, &right.contract, right.version)?.place_of_block(&BlockName::Right(right.right.clone()))
    };
    let places = conflict.rights.iter().filter_map(place).collect();
    PlacedConflict { conflict, places }
}

fn read_document(file: &SourceFile, register: &mut Register) -> Result<Parsed, FolderError> {
    let parsed = Parsed::new(&file.path, &file.text)?;
    parsed.check_blocks()?;
    let fail = |problem| FolderError::Register { path: file.path.clone(), problem };
    register.extend(parsed.register()).map_err(fail)?;
    Ok(parsed)
}

fn read_contracts(
    documents: &[Parsed],
    register: &Register,
    errors: &mut Vec<FolderError>,
) -> (Vec<Contract>, Vec<PlacedVersion>, Vec<VersionExamples>) {
    let heads: Vec<&Parsed> = documents.iter().filter(|it| it.is_contract()).collect();
    let mut contracts = Vec::new();
    let (mut versions, mut examples) = (Vec::new(), Vec::new());
    for definitions in &heads {
        match read_contract(definitions, &heads, documents, register) {
            Ok((contract, documents, ran)) => {
                contracts.push(contract);
                versions.extend(documents);
                examples.extend(ran);
            }
            Err(found) => errors.extend(found),
        }
    }
    for document in documents.iter().filter(|it| !it.is_contract()) {
        if let Some((_, named)) = document.version()
            && !heads.iter().any(|head| head.contract_id().is_some_and(|id| named == Some(id.as_str())))
        {
            errors.push(match named.map(str::to_owned) {
                Some(contract) => FolderError::NoContract { at: document.place_of_version(), contract },
                None => document.no_contract().into(),
            });
        }
    }
    contracts.sort_by(|a, b| a.head.id.cmp(&b.head.id));
    versions.sort_by(|a: &PlacedVersion, b| {
        (&a.documents.contract, a.documents.number).cmp(&(&b.documents.contract, b.documents.number))
    });
    examples.sort_by(|a, b| (&a.contract, a.version).cmp(&(&b.contract, b.version)));
    (contracts, versions, examples)
}

/// A contract with its versions, or the first thing that is wrong in each of its documents.
fn read_contract(
    definitions: &Parsed,
    heads: &[&Parsed],
    documents: &[Parsed],
    register: &Register,
) -> Result<(Contract, Vec<PlacedVersion>, Vec<VersionExamples>), Vec<FolderError>> {
    let head = definitions.head().map_err(|error| vec![error.into()])?;
    let path = definitions.document.file.clone();
    if let Some(other) = heads.iter().find(|it| it.document.file != path && it.contract_id().as_ref() == Some(&head.id))
    {
        let other = other.document.file.clone();
        return Err(vec![FolderError::RepeatedContract { path, contract: head.id, other }]);
    }
    let mut contract = Contract { head, versions: Vec::new() };
    let (mut sources, mut examples, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let own: Vec<&Parsed> = documents.iter().filter(|it| is_version_of(it, &contract.head.id)).collect();
    let begins = own.iter().filter_map(|it| effective_at(definitions, it, register).ok()).min();
    for document in own {
        match read_version(definitions, document, register, Origin::Folder { begins }) {
            Ok(version) => {
                let documents = VersionDocument {
                    contract: contract.head.id.clone(),
                    number: version.number,
                    definitions: definitions.document.text.clone(),
                    document: document.document.text.clone(),
                };
                let (head, place) = (definitions.place_of_head(), document.place_of_version());
                sources.push(PlacedVersion { documents, head, place });
                contract.versions.push(version);
            }
            Err(error) => errors.push(error.into()),
        }
        match read_examples(definitions, document) {
            Ok(read) => examples.extend(read),
            Err(error) => errors.push(error.into()),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if contract.versions.is_empty() {
        return Err(vec![FolderError::NoVersion { path, contract: contract.head.id }]);
    }
    contract.versions.sort_by_key(|version| version.number);
    let own = documents.iter().filter(|it| std::ptr::eq(*it, definitions) || is_version_of(it, &contract.head.id));
    let unused: Vec<FolderError> = own.filter_map(|it| unused_cap(it, &contract)).collect();
    if unused.is_empty() { Ok((contract, sources, examples)) } else { Err(unused) }
}

/// A shared cap that no term of any version names would hold back nothing.
fn unused_cap(document: &Parsed, contract: &Contract) -> Option<FolderError> {
    let is_used = |name: &str| contract.versions.iter().any(|it| it.caps.keys().any(|cap| cap.as_str() == name));
    let (name, cap) = document.raw.cap.iter().find(|(name, _)| !is_used(name))?;
    document.fail::<()>(&cap.span(), Problem::UnusedCap { name: name.clone() }).err().map(Into::into)
}

fn is_version_of(document: &Parsed, id: &ContractId) -> bool {
    match document.version() {
        Some((_, Some(named))) => named == id.as_str(),
        Some((_, None)) => document.contract_id().as_ref() == Some(id),
        None => false,
    }
}

/// Reads the stored versions of all contracts, in the order of contract and number.
///
/// # Errors
/// A document that this engine cannot read.
pub fn read_versions(stored: &[VersionDocument], register: &Register) -> Result<Vec<Contract>, ReadError> {
    let mut contracts: Vec<Contract> = Vec::new();
    for version in stored {
        let name = format!("{} version {}", version.contract, version.number);
        let definitions = Parsed::new(&format!("{name} (definitions)"), &version.definitions)?;
        let document = Parsed::new(&name, &version.document)?;
        let read = read_version(&definitions, &document, register, Origin::Store)?;
        // The newest head holds: what may not change through the versions was checked when they were loaded.
        let head = definitions.head()?;
        match contracts.last_mut().filter(|contract| contract.head.id == version.contract) {
            Some(contract) => {
                contract.head = head;
                contract.versions.push(read);
            }
            None => contracts.push(Contract { head, versions: vec![read] }),
        }
    }
    Ok(contracts)
}
