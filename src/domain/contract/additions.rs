//! What loading a folder adds to what is loaded; what it would change of that is refused.

use super::check::{CheckError, check};
use super::document::FileLine;
use super::folder::{Folder, PlacedVersion, VersionDocument};
use super::placed_prices::PlacedPrice;
use super::{Contract, Version};
use crate::domain::fx::FxRate;
use crate::domain::ids::ContractId;
use crate::domain::price::Price;
use std::collections::BTreeMap;

/// What is loaded already.
pub struct Loaded<'a> {
    pub prices: &'a [Price],
    /// In the order of their recording.
    pub rates: &'a [FxRate],
    pub documents: &'a [VersionDocument],
    /// The documents as they read under the folder's register.
    pub contracts: Vec<Contract>,
}

/// What of a folder is new.
pub struct Additions {
    pub prices: Vec<Price>,
    /// Rates that are new, and those that say another number than what is loaded.
    pub rates: Vec<FxRate>,
    pub versions: Vec<NewVersion>,
    pub overridden: Vec<Overridden>,
}

pub struct NewVersion {
    pub document: VersionDocument,
    /// What the document says.
    pub read: Version,
}

/// A loaded version that never comes into force any more: a new one, with a higher number, is effective no
/// later than it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Overridden {
    pub contract: ContractId,
    pub number: u32,
    pub by: u32,
}

/// What a folder would change of what is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdditionError {
    #[error("{at}: price \"{id}\" is loaded with other content; a changed price is a new row with a new id and a from")]
    ChangedPrice { at: FileLine, id: String },
    #[error("{at}: version {number} of {contract} is loaded with other words; write the change as a new version")]
    ChangedVersion { at: FileLine, contract: ContractId, number: u32 },
    #[error("{at}: {contract} has version {loaded} loaded; a version that is new has a higher number than {number}")]
    NumberTooLow { at: FileLine, contract: ContractId, number: u32, loaded: u32 },
    #[error(
        "{at}: a definition that version {number} of {contract} uses has changed; state the new one in a new version's file"
    )]
    ChangedDefinition { at: FileLine, contract: ContractId, number: u32 },
    #[error(
        "{at}: version {number} of {contract} gives its recorded_at; loading stamps it, and only a history that is imported as a whole gives it"
    )]
    RecordedInFile { at: FileLine, contract: ContractId, number: u32 },
    #[error(
        "{at}: version {number} of {contract} has a table headed `record`, which loading does not record yet; write its facts as JSON lines beside the agreement, in a file .jsonl"
    )]
    RecordsInFile { at: FileLine, contract: ContractId, number: u32 },
    #[error(
        "{at}: {contract} changes its zone, currency, period, rounding or negative; these hold through all versions"
    )]
    ChangedHead { at: FileLine, contract: ContractId },
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// Decides what a folder adds.
///
/// # Errors
/// What it would change, or what does not go together with what is loaded.
pub fn additions(folder: &Folder, loaded: Loaded<'_>) -> Result<Additions, AdditionError> {
    let prices = new_prices(folder, loaded.prices)?;
    let rates = new_rates(&folder.rates, loaded.rates);
    let versions = new_versions(folder, loaded.documents)?;
    let overridden = overridden(&loaded.contracts, &versions);
    check_together(folder, loaded.contracts, loaded.documents)?;
    Ok(Additions { prices, rates, versions, overridden })
}

fn overridden(loaded: &[Contract], new: &[NewVersion]) -> Vec<Overridden> {
    let mut found = Vec::new();
    for NewVersion { document: version, read } in new {
        let of_contract = loaded.iter().filter(|contract| contract.head.id == version.contract);
        let later =
            of_contract.flat_map(|contract| &contract.versions).filter(|it| it.effective_at >= read.effective_at);
        found.extend(later.map(|it| Overridden {
            contract: version.contract.clone(),
            number: it.number,
            by: version.number,
        }));
    }
    found
}

fn new_prices(folder: &Folder, loaded: &[Price]) -> Result<Vec<Price>, AdditionError> {
    let mut new = Vec::new();
    for PlacedPrice { price, at } in &folder.prices {
        match loaded.iter().find(|known| known.id == price.id) {
            Some(known) if known != price => {
                return Err(AdditionError::ChangedPrice { at: at.clone(), id: price.id.clone() });
            }
            Some(_) => {}
            None => new.push(price.clone()),
        }
    }
    Ok(new)
}

/// Those that the last one loaded of their source, date and pair does not say.
fn new_rates(stated: &[FxRate], loaded: &[FxRate]) -> Vec<FxRate> {
    let holding: BTreeMap<_, &FxRate> = loaded.iter().map(|rate| (rate.key(), rate)).collect();
    let is_new = |rate: &&FxRate| holding.get(&rate.key()).is_none_or(|known| known.rate != rate.rate);
    stated.iter().filter(is_new).cloned().collect()
}

fn new_versions(folder: &Folder, stored: &[VersionDocument]) -> Result<Vec<NewVersion>, AdditionError> {
    let mut new = Vec::new();
    for PlacedVersion { documents: version, place, .. } in &folder.versions {
        let (contract, number) = (version.contract.clone(), version.number);
        let at = place.of_line();
        let known = stored.iter().find(|it| (&it.contract, it.number) == (&contract, number));
        match known {
            Some(known) if known.document != version.document => {
                let at = FileLine { line: changed_line(&known.document, &version.document), ..at };
                return Err(AdditionError::ChangedVersion { at, contract, number });
            }
            // The definitions stay as they stood when the version was loaded.
            Some(_) => {}
            None => {
                let of_contract = stored.iter().filter(|it| it.contract == contract);
                if let Some(loaded) = of_contract.map(|it| it.number).max().filter(|last| *last > number) {
                    return Err(AdditionError::NumberTooLow { at, contract, number, loaded });
                }
                let of_it = folder.contracts.iter().find(|it| it.head.id == contract);
                let read = of_it.and_then(|it| it.versions.iter().find(|it| it.number == number));
                if read.is_some_and(|read| read.recorded_at.is_some()) {
                    return Err(AdditionError::RecordedInFile { at, contract, number });
                }
                let mut beside = folder.examples.iter().filter(|it| it.contract == contract);
                if beside.any(|it| it.version == number && !it.records.is_empty()) {
                    return Err(AdditionError::RecordsInFile { at, contract, number });
                }
                new.extend(read.map(|read| NewVersion { document: version.clone(), read: read.clone() }));
            }
        }
    }
    Ok(new)
}

/// The first line that is another than before; the last one where lines went at the end, or only line ends differ.
fn changed_line(before: &str, now: &str) -> usize {
    let same = before.lines().zip(now.lines()).take_while(|(before, now)| before == now).count();
    same.saturating_add(1).min(now.lines().count()).max(1)
}

/// Checks the folder's contracts beside those that are loaded and not in it.
fn check_together(folder: &Folder, known: Vec<Contract>, documents: &[VersionDocument]) -> Result<(), AdditionError> {
    let mut all = folder.contracts.clone();
    for loaded in known {
        let Some(stated) = all.iter_mut().find(|it| it.head.id == loaded.head.id) else {
            all.push(loaded);
            continue;
        };
        let fixed = |contract: &Contract| {
            let head = &contract.head;
            (head.zone, head.currency, head.settlement.clone(), head.rounding, head.negative)
        };
        let mut placed = folder.versions.iter().filter(|it| it.documents.contract == loaded.head.id).peekable();
        if let Some(PlacedVersion { head, .. }) = placed.peek()
            && fixed(stated) != fixed(&loaded)
        {
            return Err(AdditionError::ChangedHead { at: head.of_line(), contract: loaded.head.id });
        }
        // Read anew under the definitions of the folder, a loaded version has to say what it said.
        let differs = |it: &&PlacedVersion| {
            let of_it = |version: &&Version| version.number == it.documents.number;
            let known = loaded.versions.iter().find(of_it);
            known.is_some() && known != stated.versions.iter().find(of_it)
        };
        if let Some(PlacedVersion { documents: now, head, .. }) = placed.find(differs) {
            let (mut at, contract, number) = (head.of_line(), now.contract.clone(), now.number);
            let before = documents.iter().find(|it| (&it.contract, it.number) == (&contract, number));
            if let Some(before) = before {
                at.line = changed_line(&before.definitions, &now.definitions);
            }
            return Err(AdditionError::ChangedDefinition { at, contract, number });
        }
        let missing = loaded.versions.into_iter().filter(|it| stated.versions.iter().all(|v| v.number != it.number));
        let missing: Vec<_> = missing.collect();
        stated.versions.extend(missing);
        stated.versions.sort_by_key(|version| version.number);
    }
    Ok(check(&all)?)
}
