//! Loads a folder of agreements: checked against what is loaded, only what is new is appended.

use crate::domain::contract::check::{CheckError, check};
use crate::domain::contract::folder::{Folder, FolderErrors, SourceFile, VersionDocument, read_folder, read_versions};
use crate::domain::contract::problem::ReadError;
use crate::domain::contract::{Contract, Version};
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use crate::domain::price::{Price, PriceBook};
use crate::domain::register::{Register, RegisterConflict};
use crate::store::StoreError;
use crate::store::contracts::{Added, Additions, append, load_prices, load_register, load_versions};
use crate::store::recording::{self, LockMode};
use sqlx::{PgConnection, PgPool};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ContractsError {
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: std::io::Error },
    #[error("{path}: no contract, register or price book (.md, .csv) in this folder")]
    Empty { path: PathBuf },
    #[error(transparent)]
    Folder(#[from] FolderErrors),
    #[error(transparent)]
    Register(#[from] RegisterConflict),
    #[error("price \"{id}\" is loaded with other content; a changed price is a new row with a new id and a from")]
    ChangedPrice { id: String },
    #[error("version {number} of {contract} is loaded with other words; write the change as a new version")]
    ChangedVersion { contract: ContractId, number: u32 },
    #[error("{contract} has version {loaded} loaded; a version that is new has a higher number than {number}")]
    NumberTooLow { contract: ContractId, number: u32, loaded: u32 },
    #[error(
        "a definition that version {number} of {contract} uses has changed; state the new one in a new version's file"
    )]
    ChangedDefinition { contract: ContractId, number: u32 },
    #[error("{contract} changes its zone, currency, period, rounding or negative; these hold through all versions")]
    ChangedHead { contract: ContractId },
    #[error("a loaded version can no longer be read: {0}")]
    Stored(#[from] ReadError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that agreements say, as known at one instant.
pub struct Known {
    pub register: Register,
    pub prices: PriceBook,
    pub contracts: Vec<Contract>,
}

/// Reads and checks a folder and all folders in it, without a database.
///
/// # Errors
/// The first file that cannot be read, or the first thing that is wrong in each.
pub fn read(path: &Path) -> Result<Folder, ContractsError> {
    let mut files = Vec::new();
    gather(path, path, &mut files)?;
    if files.is_empty() {
        return Err(ContractsError::Empty { path: path.to_owned() });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(read_folder(&files)?)
}

fn gather(root: &Path, path: &Path, files: &mut Vec<SourceFile>) -> Result<(), ContractsError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |problem| ContractsError::File { path, problem }
    };
    for entry in std::fs::read_dir(path).map_err(fail(path))? {
        let path = entry.map_err(fail(path))?.path();
        if path.is_dir() {
            gather(root, &path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "md" || ending == "csv") {
            let text = std::fs::read_to_string(&path).map_err(fail(&path))?;
            // Some editors begin a file with a byte order mark, which says nothing.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
            let name = path.strip_prefix(root).unwrap_or(&path);
            files.push(SourceFile { path: name.display().to_string(), text });
        }
    }
    Ok(())
}

/// Everything loaded by an instant, read anew from its documents.
///
/// # Errors
/// The database, or a stored document that this program cannot read.
pub async fn load(conn: &mut PgConnection, known_at: Instant) -> Result<Known, ContractsError> {
    let register = load_register(&mut *conn, known_at).await?;
    let prices = PriceBook::new(load_prices(&mut *conn, known_at).await?);
    let contracts = read_versions(&load_versions(conn, known_at).await?, &register)?;
    Ok(Known { register, prices, contracts })
}

/// Loads what a folder adds. Loading it again adds nothing.
///
/// # Errors
/// What is wrong in the folder, or what it would change of what is loaded: then nothing is loaded.
#[tracing::instrument(name = "contracts.apply", skip_all)]
pub async fn apply(pool: &PgPool, folder: &Folder) -> Result<Added, ContractsError> {
    // Alone: batches decide by prices and master data while they record, and two loads must see each other.
    let (mut tx, at) = recording::begin(pool, LockMode::Exclusive).await?;
    let mut register = load_register(&mut tx, at).await?;
    register.extend(folder.register.clone())?;
    let prices = new_prices(folder, &load_prices(&mut tx, at).await?)?;
    let stored = load_versions(&mut tx, at).await?;
    let versions = new_versions(folder, &stored)?;
    check_together(folder, read_versions(&stored, &register)?)?;
    let additions = Additions { register: &folder.register, prices: &prices, versions: &versions };
    let added = append(&mut tx, &additions, at).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(added)
}

fn new_prices(folder: &Folder, loaded: &[Price]) -> Result<Vec<Price>, ContractsError> {
    let mut new = Vec::new();
    for price in &folder.prices {
        match loaded.iter().find(|known| known.id == price.id) {
            Some(known) if known != price => return Err(ContractsError::ChangedPrice { id: price.id.clone() }),
            Some(_) => {}
            None => new.push(price.clone()),
        }
    }
    Ok(new)
}

fn new_versions(
    folder: &Folder,
    stored: &[VersionDocument],
) -> Result<Vec<(VersionDocument, Instant)>, ContractsError> {
    let mut new = Vec::new();
    for version in &folder.versions {
        let known = stored.iter().find(|it| (&it.contract, it.number) == (&version.contract, version.number));
        match known {
            Some(known) if known.document != version.document => {
                return Err(ContractsError::ChangedVersion {
                    contract: version.contract.clone(),
                    number: version.number,
                });
            }
            // The definitions stay as they stood when the version was loaded.
            Some(_) => {}
            None => {
                let of_contract = stored.iter().filter(|it| it.contract == version.contract);
                if let Some(loaded) = of_contract.map(|it| it.number).max().filter(|last| *last > version.number) {
                    let (contract, number) = (version.contract.clone(), version.number);
                    return Err(ContractsError::NumberTooLow { contract, number, loaded });
                }
                let contract = folder.contracts.iter().find(|it| it.head.id == version.contract);
                let read = contract.and_then(|it| it.versions.iter().find(|it| it.number == version.number));
                new.extend(read.map(|read| (version.clone(), read.effective_at)));
            }
        }
    }
    Ok(new)
}

/// Checks the folder's contracts beside those that are loaded and not in it.
fn check_together(folder: &Folder, known: Vec<Contract>) -> Result<(), ContractsError> {
    let mut all = folder.contracts.clone();
    for loaded in known {
        let Some(stated) = all.iter_mut().find(|it| it.head.id == loaded.head.id) else {
            all.push(loaded);
            continue;
        };
        let fixed = |contract: &Contract| {
            let head = &contract.head;
            (head.zone, head.currency, head.period, head.rounding, head.negative)
        };
        if fixed(stated) != fixed(&loaded) {
            return Err(ContractsError::ChangedHead { contract: loaded.head.id });
        }
        // Read anew under the definitions of the folder, a loaded version has to say what it said.
        let differs = |known: &&Version| stated.versions.iter().any(|it| it.number == known.number && it != *known);
        if let Some(version) = loaded.versions.iter().find(differs) {
            let (contract, number) = (loaded.head.id.clone(), version.number);
            return Err(ContractsError::ChangedDefinition { contract, number });
        }
        let missing = loaded.versions.into_iter().filter(|it| stated.versions.iter().all(|v| v.number != it.number));
        let missing: Vec<_> = missing.collect();
        stated.versions.extend(missing);
        stated.versions.sort_by_key(|version| version.number);
    }
    Ok(check(&all)?)
}
