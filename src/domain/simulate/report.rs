//! Reports: what the steps of a scenario answer, summed by period and party, and what other cases make different.

use super::answer::{Answer, Answers, BookedInAll};
use super::step::Step;
use super::uncounted::Uncounted;
use crate::domain::ids::{ContractId, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::names::names;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

names! {
    /// Over what amounts are summed.
    #[derive(Hash)]
    By as "way to sum" {
        /// The contract's own periods.
        Period = "period",
        /// The year in which a period begins.
        Year = "year",
        /// All periods.
        All = "all",
    }
}

impl By {
    /// What the sum is called in which a period counts. The name of every period begins with its year.
    pub fn of(self, period: &str) -> String {
        match self {
            Self::Period => period.to_owned(),
            Self::Year => period.split('-').next().unwrap_or(period).to_owned(),
            Self::All => "all".to_owned(),
        }
    }
}

/// A scenario, answered in each of its cases.
#[derive(Debug, Serialize)]
pub struct Report {
    pub scenario: String,
    pub by: By,
    /// The scenario as it is given comes first.
    pub cases: Vec<CaseReport>,
    /// Of each contract, term and payee, by period; none where there is one case.
    pub differences: Vec<Difference<Account>>,
    /// Of what each party receives, less what it owes.
    pub party_differences: Vec<Difference<PartyUnit>>,
    /// How many deductions, receipts and billings no path changes.
    pub stated_amounts: usize,
}

#[derive(Debug, Serialize)]
pub struct CaseReport {
    pub name: String,
    /// The case that it is compared with.
    pub compared_with: Option<String>,
    pub steps: Vec<Answered>,
    /// Everything that was booked, by the period that it is owed for.
    pub booked: Vec<Amount>,
    pub parties: Vec<PartyAmount>,
    pub booked_in_all: Vec<BookedInAll>,
    /// What counts in none of this, or counts here alone, once all is recorded.
    pub uncounted: Vec<Uncounted>,
}

#[derive(Debug, Serialize)]
pub struct Answered {
    pub number: usize,
    #[serde(flatten)]
    pub step: Step,
    pub answer: Answer,
}

/// Who owes whom, by which term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Account {
    pub contract: ContractId,
    pub term: TermId,
    pub payer: PartyId,
    pub payee: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PartyUnit {
    pub party: PartyId,
    #[serde(flatten)]
    pub unit: Unit,
}

#[derive(Clone, Debug, Serialize)]
pub struct Amount {
    #[serde(flatten)]
    pub account: Account,
    pub period: String,
    pub amount: Exact,
}

/// What a party receives and owes under all contracts.
#[derive(Clone, Debug, Serialize)]
pub struct PartyAmount {
    #[serde(flatten)]
    pub party: PartyUnit,
    pub period: String,
    pub receives: Exact,
    pub owes: Exact,
}

impl PartyAmount {
    pub fn net(&self) -> Exact {
        &self.receives - &self.owes
    }
}

/// One amount in every case.
#[derive(Clone, Debug, Serialize)]
pub struct Difference<K> {
    #[serde(flatten)]
    pub of: K,
    /// None: of all periods together.
    pub period: Option<String>,
    /// In their order.
    pub cases: Vec<InCase>,
}

/// An amount in one case.
#[derive(Clone, Debug, Serialize)]
pub struct InCase {
    pub case: String,
    pub amount: Exact,
    /// What it has more than the case that it is compared with; none for the scenario as it is given.
    pub less: Option<Exact>,
}

/// A case before it is reported.
#[derive(Debug)]
pub struct Ran {
    pub name: String,
    pub compared_with: Option<usize>,
    pub steps: Vec<Step>,
    pub answers: Answers,
    pub stated_amounts: usize,
}

/// Reports on the cases of a scenario, of which the first is the scenario as it is given.
pub fn report(scenario: &str, by: By, ran: Vec<Ran>) -> Report {
    let compared: Vec<(String, Option<usize>)> =
        ran.iter().map(|case| (case.name.clone(), case.compared_with)).collect();
    let mut sums = Vec::new();
    let mut party_sums = Vec::new();
    let mut cases = Vec::new();
    let stated_amounts = ran.first().map(|case| case.stated_amounts).unwrap_or_default();
    for Ran { name, compared_with, steps, answers, .. } in ran {
        let steps: Vec<Answered> = (1..)
            .zip(steps.into_iter().zip(answers.steps))
            .map(|(number, (step, answer))| Answered { number, step, answer })
            .collect();
        let booked = sum_by(&steps, by);
        let parties = by_party(&booked);
        cases.push(CaseReport {
            name,
            compared_with: compared_with.and_then(|place| compared.get(place)).map(|(name, _)| name.clone()),
            steps,
            booked: booked.iter().map(|((account, period), amount)| of(account, period, amount)).collect(),
            parties: parties.iter().map(|((party, period), it)| of_party(party, period, it)).collect(),
            booked_in_all: answers.booked_in_all,
            uncounted: answers.uncounted,
        });
        sums.push(booked);
        let net = |(key, (receives, owes)): ((PartyUnit, String), (Exact, Exact))| (key, receives - owes);
        party_sums.push(parties.into_iter().map(net).collect());
    }
    let differences = differences(&sums, &compared, by);
    let party_differences = self::differences(&party_sums, &compared, by);
    Report { scenario: scenario.to_owned(), by, cases, differences, party_differences, stated_amounts }
}

fn of(account: &Account, period: &str, amount: &Exact) -> Amount {
    Amount { account: account.clone(), period: period.to_owned(), amount: amount.clone() }
}

fn of_party(party: &PartyUnit, period: &str, (receives, owes): &(Exact, Exact)) -> PartyAmount {
    PartyAmount { party: party.clone(), period: period.to_owned(), receives: receives.clone(), owes: owes.clone() }
}

/// Sums by what they are of, and their period.
type Sums<K> = BTreeMap<(K, String), Exact>;

/// Everything that was booked, by the period that it is owed for.
fn sum_by(steps: &[Answered], by: By) -> Sums<Account> {
    let mut sums: Sums<Account> = BTreeMap::new();
    for answered in steps {
        let (Step::Settle { contract, .. }, Answer::Settled { settlements, .. }) = (&answered.step, &answered.answer)
        else {
            continue;
        };
        for it in settlements.iter().flat_map(|settlement| &settlement.booked) {
            let account = Account {
                contract: contract.clone(),
                term: it.term.clone(),
                payer: it.payer.clone(),
                payee: it.payee.clone(),
                unit: it.unit.clone(),
            };
            for (origin, amount) in &it.lines {
                *sums.entry((account.clone(), by.of(origin))).or_default() += amount;
            }
        }
    }
    sums
}

/// What each party receives and owes.
fn by_party(sums: &Sums<Account>) -> BTreeMap<(PartyUnit, String), (Exact, Exact)> {
    let mut parties: BTreeMap<(PartyUnit, String), (Exact, Exact)> = BTreeMap::new();
    for ((account, period), amount) in sums {
        let key = |party: &PartyId| (PartyUnit { party: party.clone(), unit: account.unit.clone() }, period.clone());
        parties.entry(key(&account.payee)).or_default().0 += amount;
        parties.entry(key(&account.payer)).or_default().1 += amount;
    }
    parties
}

/// Every amount of any case in all of them, by period and then of all periods.
fn differences<K: Clone + Ord>(cases: &[Sums<K>], compared: &[(String, Option<usize>)], by: By) -> Vec<Difference<K>> {
    if cases.len() < 2 {
        return Vec::new();
    }
    let keys: BTreeSet<&(K, String)> = cases.iter().flat_map(BTreeMap::keys).collect();
    let all: BTreeSet<&K> = keys.iter().map(|(of, _)| of).collect();
    let mut found = Vec::new();
    for of in all {
        let mut totals = vec![Exact::zero(); cases.len()];
        for key in keys.iter().filter(|(other, _)| other == of) {
            let amounts: Vec<Exact> = cases.iter().map(|case| case.get(key).cloned().unwrap_or_default()).collect();
            for (total, amount) in totals.iter_mut().zip(&amounts) {
                *total += amount;
            }
            found.push(difference(of, Some(key.1.clone()), amounts, compared));
        }
        // Of all periods together there is one sum already.
        if by != By::All {
            found.push(difference(of, None, totals, compared));
        }
    }
    found
}

fn difference<K: Clone>(
    of: &K,
    period: Option<String>,
    amounts: Vec<Exact>,
    compared: &[(String, Option<usize>)],
) -> Difference<K> {
    let less = |amount: &Exact, other: Option<usize>| Some(amount - amounts.get(other?)?);
    let pairs = amounts.iter().zip(compared);
    let cases = pairs.map(|(amount, (case, other))| InCase {
        case: case.clone(),
        amount: amount.clone(),
        less: less(amount, *other),
    });
    Difference { of: of.clone(), period, cases: cases.collect() }
}

impl Report {
    /// Of each step that has no answer, over all cases: whether something can still be recorded with which it has one.
    pub fn failures(&self) -> impl Iterator<Item = bool> {
        let answers = self.cases.iter().flat_map(|case| &case.steps).map(|step| &step.answer);
        answers.filter_map(|answer| match answer {
            Answer::Failed { is_waiting, .. } => Some(*is_waiting),
            _ => None,
        })
    }

    /// How many entries do not count, in the case with the most of them.
    pub fn uncounted(&self) -> usize {
        self.cases.iter().map(|case| case.uncounted.len()).max().unwrap_or_default()
    }
}
