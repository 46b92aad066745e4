//! What usage that is tried would change of what is owed: every contract, run as known before it and as known after it.

use super::contracts::load;
use super::entitlement::run_as_known;
use super::settle::SettleError;
use crate::domain::calendar::Period;
use crate::domain::contract::Contract;
use crate::domain::engine::stretches::Grain;
use crate::domain::ids::ContractId;
use crate::domain::money_effect::{Change, Owed, changes};
use crate::domain::names::names;
use crate::domain::period::{Instant, last_instant_before};
use crate::domain::settlement::{Books, SettlementError};
use crate::store::books::load_books;
use crate::store::rollups::last_hour;
use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgConnection;

/// As known at which instants two runs are compared, and the last hour whose usage differs.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    pub before: Instant,
    pub after: Instant,
    pub last_hour: Option<Instant>,
}

/// What of a contract is owed otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct ContractEffect {
    pub contract: ContractId,
    /// The last period that was looked at.
    pub through: Period,
    pub changes: Vec<Change>,
    /// Why nothing can be told.
    pub untold: Option<Untold>,
}

names! {
    /// When a contract cannot be run.
    Stopped as "time of a stop" {
        /// Whether or not what is tried comes.
        Before = "before",
        /// Once what is tried comes, and not before: its settlement would stop.
        After = "after",
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Untold {
    pub stopped: Stopped,
    pub why: String,
}

/// What is owed otherwise, of every contract of which anything is or of which that cannot be told.
///
/// Each is run through the last period of which there is usage. Where that one waits for something, such as a figure that
/// comes once it is over, then through the last one that was settled or whose usage differs.
///
/// # Errors
/// The database's, or a stored document that this program cannot read.
pub async fn money_effect(conn: &mut PgConnection, compared: Compared) -> Result<Vec<ContractEffect>, SettleError> {
    let Some(touched) = compared.last_hour else { return Ok(Vec::new()) };
    // What is said to be of later than now is a mistake, and would have each contract run through all the time until then.
    let last = last_hour(&mut *conn).await?.map_or(touched, |last| last.min(compared.after).max(touched));
    let known = load(&mut *conn, compared.after).await?;
    let mut effects = Vec::new();
    for contract in &known.contracts {
        let books = load_books(&mut *conn, &contract.head.id, None).await?;
        // By its last instant: in some zones a period begins within an hour.
        let end = |hour: Instant| hour.checked_add_signed(TimeDelta::hours(1)).map_or(hour, last_instant_before);
        let period = |hour| contract.head.settlement.at(end(hour), contract.head.zone);
        let needed = period(touched).max(books.settled.last().copied());
        let latest = period(last).max(needed);
        let (Some(latest), Some(needed)) = (latest, needed) else { continue };
        let mut effect = of_contract(&mut *conn, contract, &books, latest, compared).await?;
        if effect.as_ref().is_some_and(|effect| effect.untold.is_some()) && needed < latest {
            effect = of_contract(&mut *conn, contract, &books, needed, compared).await?;
        }
        effects.extend(effect.filter(|effect| !effect.changes.is_empty() || effect.untold.is_some()));
    }
    Ok(effects)
}

/// None of a contract of which nothing was agreed yet.
async fn of_contract(
    conn: &mut PgConnection,
    contract: &Contract,
    books: &Books,
    through: Period,
    Compared { before, after, .. }: Compared,
) -> Result<Option<ContractEffect>, SettleError> {
    let of = (&contract.head.id, through);
    let first = books.settled.first().copied();
    let run_before = told(run_as_known(&mut *conn, of, before, first, Grain::Sums).await.map(|(_, it)| it.owed))?;
    let run_after = told(run_as_known(&mut *conn, of, after, first, Grain::Sums).await.map(|(_, it)| it.owed))?;
    let (changes, untold) = match (run_before, run_after) {
        (Told::NotBegun, _) | (_, Told::NotBegun) => return Ok(None),
        (Told::Owed(before), Told::Owed(after)) => (changes(contract, books, &before, &after), None),
        (Told::Stopped(why), _) => (Vec::new(), Some(Untold { stopped: Stopped::Before, why })),
        (Told::Owed(_), Told::Stopped(why)) => (Vec::new(), Some(Untold { stopped: Stopped::After, why })),
    };
    Ok(Some(ContractEffect { contract: contract.head.id.clone(), through, changes, untold }))
}

/// What came of a run.
enum Told {
    Owed(Owed),
    /// Nothing was agreed of the period yet.
    NotBegun,
    Stopped(String),
}

fn told(ran: Result<Owed, SettleError>) -> Result<Told, SettleError> {
    match ran {
        Ok(owed) => Ok(Told::Owed(owed)),
        Err(SettleError::Settlement(SettlementError::BeforeContract { .. })) => Ok(Told::NotBegun),
        Err(SettleError::Settlement(error)) => Ok(Told::Stopped(error.to_string())),
        Err(error) => Err(error),
    }
}
