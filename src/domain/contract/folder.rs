//! A folder of documents: which is a register, a contract, a version, and all of them read and checked together.

use super::Contract;
use super::check::{CheckError, check};
use super::parsed::Parsed;
use super::problem::ReadError;
use super::read::read_version;
use crate::domain::ids::{ContractId, ProductId};
use crate::domain::price::{Price, PriceBookError, read_price_book};
use crate::domain::register::{Register, RegisterConflict};
use std::collections::BTreeSet;

/// A file as it was found: its path within the folder, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// Everything that a folder says.
#[derive(Debug)]
pub struct Folder {
    pub register: Register,
    pub prices: Vec<Price>,
    pub contracts: Vec<Contract>,
    /// The documents behind each version, by contract and number.
    pub versions: Vec<VersionDocument>,
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

/// Why a folder is refused.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{path}: {problem}")]
    Prices { path: String, problem: PriceBookError },
    #[error("{path}: {problem}")]
    Register { path: String, problem: RegisterConflict },
    #[error("{path}: version of contract \"{contract}\", which no file of the folder states")]
    NoContract { path: String, contract: String },
    #[error("{path}: contract \"{contract}\" is stated in {other} too")]
    RepeatedContract { path: String, contract: ContractId, other: String },
    #[error("{path}: price \"{price}\" is of product \"{product}\", which no register names")]
    UnknownProduct { path: String, price: String, product: ProductId },
    #[error("{path}: price \"{price}\" stands in another price book too; give each price an id of its own")]
    RepeatedPrice { path: String, price: String },
    #[error("{path}: contract \"{contract}\" has no version")]
    NoVersion { path: String, contract: ContractId },
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// Reads the Markdown documents and price books (`.csv`) of a folder.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_folder(files: &[SourceFile]) -> Result<Folder, FolderError> {
    let mut register = Register::default();
    let mut documents = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let parsed = Parsed::new(&file.path, &file.text)?;
        parsed.check_blocks()?;
        let fail = |problem| FolderError::Register { path: file.path.clone(), problem };
        register.extend(parsed.register()).map_err(fail)?;
        documents.push(parsed);
    }
    for parsed in &documents {
        parsed.check_register(&register)?;
    }
    let (contracts, versions) = read_contracts(&documents, &register)?;
    check(&contracts)?;
    Ok(Folder { prices: read_prices(files, &register)?, register, contracts, versions })
}

fn read_prices(files: &[SourceFile], register: &Register) -> Result<Vec<Price>, FolderError> {
    let mut all = Vec::new();
    let mut ids = BTreeSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".csv")) {
        let fail = |problem| FolderError::Prices { path: file.path.clone(), problem };
        let prices = read_price_book(&file.text).map_err(fail)?;
        if let Some(price) = prices.iter().find(|price| !register.products.contains_key(&price.product)) {
            let (price, product) = (price.id.clone(), price.product.clone());
            return Err(FolderError::UnknownProduct { path: file.path.clone(), price, product });
        }
        if let Some(price) = prices.iter().find(|price| !ids.insert(price.id.clone())) {
            return Err(FolderError::RepeatedPrice { path: file.path.clone(), price: price.id.clone() });
        }
        all.extend(prices);
    }
    Ok(all)
}

fn read_contracts(
    documents: &[Parsed],
    register: &Register,
) -> Result<(Vec<Contract>, Vec<VersionDocument>), FolderError> {
    let heads = documents.iter().filter(|it| it.is_contract());
    let mut contracts = Vec::new();
    let mut versions = Vec::new();
    for definitions in heads.clone() {
        let (head, path) = (definitions.head()?, definitions.document.file.clone());
        if let Some(other) =
            heads.clone().find(|it| it.document.file != path && it.contract_id().as_ref() == Some(&head.id))
        {
            let other = other.document.file.clone();
            return Err(FolderError::RepeatedContract { path, contract: head.id, other });
        }
        let mut contract = Contract { head, versions: Vec::new() };
        for document in documents.iter().filter(|it| is_version_of(it, &contract.head.id)) {
            let version = read_version(definitions, document, register)?;
            versions.push(VersionDocument {
                contract: contract.head.id.clone(),
                number: version.number,
                definitions: definitions.document.text.clone(),
                document: document.document.text.clone(),
            });
            contract.versions.push(version);
        }
        contract.versions.sort_by_key(|version| version.number);
        if contract.versions.is_empty() {
            return Err(FolderError::NoVersion { path, contract: contract.head.id });
        }
        contracts.push(contract);
    }
    for document in documents.iter().filter(|it| !it.is_contract()) {
        if let Some((_, named)) = document.version()
            && !contracts.iter().any(|contract| named == Some(contract.head.id.as_str()))
        {
            let (path, contract) = (document.document.file.clone(), named.unwrap_or_default().to_owned());
            return Err(FolderError::NoContract { path, contract });
        }
    }
    contracts.sort_by(|a, b| a.head.id.cmp(&b.head.id));
    versions.sort_by(|a, b| (&a.contract, a.number).cmp(&(&b.contract, b.number)));
    Ok((contracts, versions))
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
        let read = read_version(&definitions, &document, register)?;
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
