//! Money effects: what is owed before something and after it, by account and origin period, and where the difference is booked.

use super::calendar::Period;
use super::contract::Contract;
use super::engine::owed::{Account, ByPeriod};
use super::ids::{ContractId, PartyId, TermId};
use super::money::{Exact, Unit};
use super::settlement::{Books, open_period};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is owed of an origin period, rounded as it is booked, where that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub contract: ContractId,
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
    pub origin_period: Period,
    pub before: Exact,
    pub after: Exact,
    pub difference: Exact,
    /// The period in which the difference is booked: a later one than that of its origin where that is closed, or lies
    /// before the books. It is an adjustment then.
    pub booked_in: Period,
}

impl Change {
    pub fn is_adjustment(&self) -> bool {
        self.booked_in != self.origin_period
    }
}

/// What is owed by account and origin period, rounded.
pub type Owed = BTreeMap<Account, ByPeriod>;

/// What of a contract is owed otherwise after something than before it.
pub fn changes(contract: &Contract, books: &Books, before: &Owed, after: &Owed) -> Vec<Change> {
    let open = open_period(&contract.head.settlement, books.closed.last().copied(), books.settled.last().copied());
    let amount = |owed: &Owed, account: &Account, origin: Period| {
        owed.get(account).and_then(|periods| periods.get(&origin)).cloned().unwrap_or_default()
    };
    let places = |owed: &Owed| -> Vec<(Account, Period)> {
        let of_account = |(account, periods): (&Account, &ByPeriod)| -> Vec<(Account, Period)> {
            periods.keys().map(|origin| (account.clone(), *origin)).collect()
        };
        owed.iter().flat_map(of_account).collect()
    };
    let all: BTreeSet<(Account, Period)> = places(before).into_iter().chain(places(after)).collect();
    let change = |(account, origin): (Account, Period)| {
        let (before, after) = (amount(before, &account, origin), amount(after, &account, origin));
        let difference = &after - &before;
        let Account { contract, term, payer, payee, unit } = account;
        let booked_in = open.map_or(origin, |open| origin.max(open));
        let change =
            Change { contract, term, payer, payee, unit, origin_period: origin, before, after, difference, booked_in };
        (!change.difference.is_zero()).then_some(change)
    };
    all.into_iter().filter_map(change).collect()
}

/// The sums of differences by contract, payer, payee and unit, without those that cancel out.
pub fn in_all(changes: &[Change]) -> BTreeMap<(ContractId, PartyId, PartyId, Unit), Exact> {
    let mut sums: BTreeMap<_, Exact> = BTreeMap::new();
    for Change { contract, payer, payee, unit, difference, .. } in changes {
        let key = (contract.clone(), payer.clone(), payee.clone(), unit.clone());
        *sums.entry(key).or_default() += difference;
    }
    sums.retain(|_, sum| !sum.is_zero());
    sums
}
