//! The books of a contract in a scenario: a settlement settles and closes the open periods before it first.

use crate::domain::calendar::Window;
use crate::domain::contract::Contract;
use crate::domain::engine::owed::{Account, ByPeriod};
use crate::domain::ids::ContractId;
use crate::domain::period::Instant;
use crate::domain::settlement::{BookedLine, Books, PeriodClosed};
use std::collections::BTreeMap;

/// What was booked, and as known at when it was settled last.
#[derive(Clone, Debug, Default)]
pub struct KeptBooks {
    pub books: Books,
    cutoff: Option<Instant>,
}

/// What settling a period booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedPeriod {
    pub period: Window,
    pub lines: Vec<BookedLine>,
}

/// Why nothing is booked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BooksError {
    #[error(transparent)]
    PeriodClosed(#[from] PeriodClosed),
    #[error("{contract} was settled as known at {settled}; a later settlement knows no less")]
    KnowsLess { contract: ContractId, settled: Instant },
    #[error("{period} of {contract} is not settled; settle it before it is closed")]
    NotSettled { contract: ContractId, period: Window },
}

impl KeptBooks {
    /// Books what is due for a period and for the open ones before it, which are closed then; told are those with
    /// something to book, and the period, last.
    ///
    /// # Errors
    /// The period is closed and there is news for it, or less is known than at an earlier settlement.
    pub fn settle(
        &mut self,
        contract: &Contract,
        period: Window,
        cutoff: Instant,
        owed: &BTreeMap<Account, ByPeriod>,
    ) -> Result<Vec<BookedPeriod>, BooksError> {
        let closed = self.books.closed.last().copied();
        if closed.is_some_and(|closed| period <= closed) {
            let lines = self.books.due(contract, period, owed)?;
            return Ok(vec![BookedPeriod { period, lines }]);
        }
        if let Some(settled) = self.cutoff.filter(|settled| cutoff < *settled) {
            return Err(BooksError::KnowsLess { contract: contract.head.id.clone(), settled });
        }
        let next = |period| contract.head.settlement.next(period);
        let open = closed.map_or_else(|| contract.first_period(), next);
        let before = std::iter::successors(open, |open| next(*open)).take_while(|open| *open < period);
        let mut booked = Vec::new();
        for earlier in before {
            booked.extend(Some(self.book(contract, earlier, owed)?).filter(|it| !it.lines.is_empty()));
            self.books.closed.insert(earlier);
        }
        booked.push(self.book(contract, period, owed)?);
        self.cutoff = Some(cutoff);
        Ok(booked)
    }

    fn book(
        &mut self,
        contract: &Contract,
        period: Window,
        owed: &BTreeMap<Account, ByPeriod>,
    ) -> Result<BookedPeriod, PeriodClosed> {
        let lines = self.books.due(contract, period, owed)?;
        self.books.booked.extend(lines.iter().cloned());
        self.books.settled.insert(period);
        Ok(BookedPeriod { period, lines })
    }

    /// From then on a period, and those before it, refuse news.
    ///
    /// # Errors
    /// It is not settled.
    pub fn close(&mut self, contract: &ContractId, period: Window) -> Result<(), BooksError> {
        let reaches = |last: Option<&Window>| last.is_some_and(|last| period <= *last);
        if reaches(self.books.closed.last()) {
            return Ok(());
        }
        if !reaches(self.books.settled.last()) {
            return Err(BooksError::NotSettled { contract: contract.clone(), period });
        }
        self.books.closed.insert(period);
        Ok(())
    }
}
