//! Loads a folder of agreements: checked against what is loaded, only what is new is appended.

use super::gather::{Gathered, Unreadable, gather};
use crate::domain::contract::Contract;
use crate::domain::contract::additions::{AdditionError, Loaded, Overridden, additions};
use crate::domain::contract::folder::{Folder, FolderErrors, read_folder, read_versions};
use crate::domain::contract::problem::ReadError;
use crate::domain::entry::{Entry, NewEntry};
use crate::domain::ids::EventId;
use crate::domain::period::Instant;
use crate::domain::price::PriceBook;
use crate::domain::register::{Namesake, Register, RegisterConflict};
use crate::domain::restated::{Ledger, Taking};
use crate::store::StoreError;
use crate::store::contracts::{Added, append, load_prices, load_rates, load_register, load_versions};
use crate::store::recording::{self, LockMode};
use crate::store::records::{append_entries, load_entries};
use crate::store::usage::ids_of_usage;
use sqlx::{PgConnection, PgPool};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ContractsError {
    #[error(transparent)]
    File(#[from] Unreadable),
    #[error("{path}: no contract, register, price book or fact (.md, .csv, .jsonl) in this folder")]
    Empty { path: PathBuf },
    #[error(transparent)]
    Folder(#[from] FolderErrors),
    #[error(transparent)]
    Register(#[from] RegisterConflict),
    #[error(transparent)]
    Namesake(#[from] Namesake),
    #[error(transparent)]
    Addition(#[from] AdditionError),
    #[error(
        "what stands under {id}, a record or usage, has other content and never changes: give the new one a new id"
    )]
    ChangedFact { id: EventId },
    #[error("a loaded version can no longer be read: {0}")]
    Stored(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What loading a folder did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    #[serde(flatten)]
    pub added: Added,
    pub overridden: Vec<Overridden>,
}

/// Everything that agreements say, as known at one instant.
pub struct Known {
    pub register: Register,
    pub prices: PriceBook,
    pub contracts: Vec<Contract>,
}

/// The endings of the files that agreements, their register, prices and facts stand in.
pub const ENDINGS: [&str; 3] = ["md", "csv", "jsonl"];

/// Reads and checks a folder and all folders in it, without a database.
///
/// # Errors
/// The first file that cannot be read, or the first thing that is wrong in each.
pub fn read(path: &Path) -> Result<Folder, ContractsError> {
    read_gathered(gather(path, &ENDINGS)?)
}

/// As [`read`], of what was found there. Messages name a file by the folder as it was given, and its path in that.
///
/// # Errors
/// The first thing that is wrong in each file.
pub fn read_gathered(found: Gathered) -> Result<Folder, ContractsError> {
    let Gathered { folder, mut files, .. } = found;
    if files.is_empty() {
        return Err(ContractsError::Empty { path: folder });
    }
    for file in &mut files {
        file.path = folder.join(&file.path).display().to_string();
    }
    Ok(read_folder(&files)?)
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
pub async fn apply(pool: &PgPool, folder: &Folder) -> Result<Applied, ContractsError> {
    // Alone: batches decide by prices and master data while they record, and two loads must see each other.
    let (mut tx, at) = recording::begin(pool, LockMode::Exclusive).await?;
    let mut register = load_register(&mut tx, at).await?;
    register.extend(folder.register.clone())?;
    folder.register.parties.keys().try_for_each(|party| register.check_namesakes(party))?;
    let prices = load_prices(&mut tx, at).await?;
    let rates = load_rates(&mut tx, at).await?;
    let documents = load_versions(&mut tx, at).await?;
    let contracts = read_versions(&documents, &register)?;
    let additions = additions(folder, Loaded { prices: &prices, rates: &rates, documents: &documents, contracts })?;
    let mut added = append(&mut tx, &folder.register, &additions, at).await?;
    added.facts = append_facts(&mut tx, folder, at).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Applied { added, overridden: additions.overridden })
}

/// Records the facts that stand beside the agreements of a folder and are new; returns how many.
async fn append_facts(conn: &mut PgConnection, folder: &Folder, at: Instant) -> Result<u64, ContractsError> {
    let stored = load_entries(&mut *conn, at).await?;
    let facts: Vec<Entry> = folder.facts.iter().map(|fact| NewEntry::from(fact).recorded(at)).collect();
    let mut ledger = Ledger::beside(ids_of_usage(&mut *conn, facts.iter().map(|fact| &fact.id)).await?);
    for entry in &stored {
        ledger.take(entry);
    }
    let became: Vec<(&Entry, Taking)> = facts.iter().map(|fact| (fact, ledger.take(fact))).collect();
    if let Some((fact, _)) = became.iter().find(|(_, taking)| *taking == Taking::Conflict) {
        return Err(ContractsError::ChangedFact { id: fact.id.clone() });
    }
    append_entries(conn, &became, at).await?;
    Ok(became.iter().map(|(_, taking)| u64::from(*taking == Taking::Taken)).sum())
}
