//! Explains the lines of a statement, from what it was settled on.

use super::node::Node;
use super::{Explanation, Question, Subject};
use crate::domain::calendar::Period;
use crate::domain::engine::feed::feed;
use crate::domain::engine::owed::{Account, Run};
use crate::domain::ids::{PartyId, TermId};
use crate::domain::money::Exact;
use crate::domain::settlement::{SettlementError, SettlementInput, find_contract};
use crate::domain::statement::{Statement, StatementLine};
use serde::Serialize;
use std::collections::BTreeSet;

/// Which lines of a statement are to be explained: all, where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub term: Option<TermId>,
    pub origin: Option<Period>,
}

impl Wanted {
    fn takes(&self, line: &StatementLine) -> bool {
        self.term.as_ref().is_none_or(|term| line.term == *term)
            && self.origin.is_none_or(|origin| line.origin_period == origin)
    }

    /// The origin periods of what is wanted of a statement.
    pub fn origins(&self, statement: &Statement) -> BTreeSet<Period> {
        statement.lines.iter().filter(|line| self.takes(line)).map(|line| line.origin_period).collect()
    }
}

/// A line of a statement, taken apart.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Explained {
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    pub origin_period: Period,
    /// What the statement says.
    pub stated: Exact,
    /// What it comes to, from the booked amount down.
    pub tree: Node,
}

/// A tree for each line that is wanted.
///
/// # Errors
/// What stops the settlement.
pub fn explain(
    (input, run): (&SettlementInput, &Run),
    statement: &Statement,
    wanted: &Wanted,
    question: Question,
) -> Result<Vec<Explained>, SettlementError> {
    let contract = find_contract(&input.contracts, &input.contract)?;
    let end = input.span()?.end;
    input.known(|known| {
        let contract = known.contracts.iter().find(|it| it.head.id == contract.head.id).unwrap_or(contract);
        let periods = wanted.origins(statement);
        let feed = feed(*known);
        let explanation = Explanation::new(known, (&feed, run), (contract, end), periods, question)?;
        let lines = statement.lines.iter().filter(|line| wanted.takes(line));
        let explained = lines.map(|line| {
            let account = Account {
                contract: input.contract.clone(),
                term: line.term.clone(),
                payer: line.payer.clone(),
                payee: line.payee.clone(),
                unit: statement.unit.clone(),
            };
            let (origin, booked_before) = (line.origin_period, Some(line.booked_before.clone()));
            Explained {
                term: line.term.clone(),
                payer: line.payer.clone(),
                payee: line.payee.clone(),
                origin_period: origin,
                stated: line.amount.clone(),
                tree: explanation.tree(&Subject { account, origin, booked_before }),
            }
        });
        Ok(explained.collect())
    })
}
