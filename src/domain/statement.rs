//! Statements: what two parties owe each other for a period under a contract, with every amount's origin.

use super::contract::{Assumption, Clause, Contract, Negative, Selection, Term, Version};
use super::findings::HeldEvents;
use super::ids::{ContractId, PartyId, TermId};
use super::money::{Currency, Exact, Rounding};
use super::names::names;
use super::period::{Instant, Period, Span};
use super::settlement::{BookedLine, Entitlement, SettlementError, SettlementInput, SettlementOutcome, find_contract};
use super::sharing::{BasePart, CapUse};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The document that two parties agree on. Amounts are decimal strings; unrounded ones may be fractions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Statement {
    pub contract: ContractId,
    pub title: String,
    /// In the order of their ids.
    pub parties: [PartyId; 2],
    pub currency: Currency,
    /// How running totals were rounded.
    pub rounding: Rounding,
    pub period: Period,
    /// The period as instants; the end is exclusive.
    pub span: Span,
    pub zone: String,
    /// Nothing recorded after it is in the statement.
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub cutoff: Instant,
    /// What is held back from the bases of the contract, and of those that it draws on and that concern both parties,
    /// because it breaks a right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldEvents>,
    pub lines: Vec<StatementLine>,
    pub totals: Vec<DirectionTotal>,
    /// What the amounts rest on that is not official. Of an agreement that does not concern both parties it says no
    /// more than that.
    pub assumptions: Vec<Assumption>,
    pub engine_version: String,
    pub time_zone_data_version: String,
}

/// One term's amount of one origin period. Those of one origin period sum to what was booked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct StatementLine {
    pub term: TermId,
    pub clause: Clause,
    pub payer: PartyId,
    pub payee: PartyId,
    pub origin_period: Period,
    /// Booked in this period, rounded to the currency's minor unit.
    pub amount: Exact,
    /// Booked for the same origin period in periods before this one.
    pub booked_before: Exact,
    /// What the origin period yields, unrounded, and all periods before it.
    pub accrued: Exact,
    pub accrued_before: Exact,
    pub details: Vec<LineDetail>,
}

/// How a line came about under one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct LineDetail {
    pub version: u32,
    /// The end is exclusive.
    pub span: Span,
    pub base: Exact,
    pub rate: Exact,
    pub uncapped: Exact,
    pub accrued: Exact,
    pub cap: Option<CapUse>,
    pub parts: Vec<BasePart>,
}

/// What one of the two owes the other in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct DirectionTotal {
    pub payer: PartyId,
    pub payee: PartyId,
    /// The sum of this statement's lines.
    pub amount: Exact,
    /// A credit of earlier periods, zero or less.
    pub carried_in: Exact,
    /// What is to be paid: zero or more, or a credit below zero where the contract says that it is paid back.
    pub payable: Exact,
    /// The credit that later periods take off, zero or less.
    pub carried_out: Exact,
    pub due_on: Option<NaiveDate>,
}

names! {
    /// How far a statement has come. The database keeps the order: draft, approved, issued, agreed or disputed, settled.
    StatementStatus as "status" {
        Draft = "draft",
        Approved = "approved",
        Issued = "issued",
        Agreed = "agreed",
        Disputed = "disputed",
        Settled = "settled",
    }
}

impl StatementStatus {
    /// The statuses that this one may follow; the database keeps to the same.
    pub fn follows(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Draft, Self::Approved],
            Self::Approved => &[Self::Draft],
            Self::Issued => &[Self::Approved],
            Self::Agreed => &[Self::Issued, Self::Disputed],
            Self::Disputed => &[Self::Issued, Self::Agreed],
            Self::Settled => &[Self::Agreed],
        }
    }

    /// What people call the step that leads to this status; none for one that a settlement gives.
    pub fn step(self) -> Option<&'static str> {
        match self {
            Self::Draft => None,
            Self::Approved => Some("approve"),
            Self::Issued => Some("issue"),
            Self::Agreed => Some("agree"),
            Self::Disputed => Some("dispute"),
            Self::Settled => Some("pay"),
        }
    }

    /// The steps that people may take from this status.
    pub fn next_steps(self) -> impl Iterator<Item = &'static str> {
        let next = Self::ALL.iter().filter(move |next| next.follows().contains(&self));
        next.filter_map(|next| next.step())
    }

    /// Whether news draft the statement anew. What was issued stands: its news go into the next period.
    pub fn may_be_drafted_anew(self) -> bool {
        match self {
            Self::Draft | Self::Approved => true,
            Self::Issued | Self::Agreed | Self::Disputed | Self::Settled => false,
        }
    }
}

/// Draws up the statements of a settled period: one for each pair of parties, also where nothing is due.
///
/// `booked` holds every line of the contract, those of this settlement included.
///
/// # Errors
/// The contract is not among those of the input.
pub fn statements(
    input: &SettlementInput,
    outcome: &SettlementOutcome,
    booked: &[BookedLine],
    engine_version: &str,
) -> Result<Vec<Statement>, SettlementError> {
    let contract = find_contract(&input.contracts, &input.contract)?;
    let drawer = Drawer { input, contract, outcome, booked };
    let mut pairs: BTreeSet<[PartyId; 2]> =
        drawer.terms_of_period().map(|term| pair(&term.payer, &term.payee)).collect();
    if pairs.is_empty() {
        // A version without terms: its periods have statements too, of zero, or they could never be closed.
        let terms = contract.versions.iter().flat_map(|version| &version.terms);
        pairs.extend(terms.map(|term| pair(&term.payer, &term.payee)));
    }
    pairs.extend(booked.iter().filter(|line| line.booked == input.period).map(|line| pair(&line.payer, &line.payee)));
    Ok(pairs.into_iter().map(|parties| drawer.statement(parties, engine_version)).collect())
}

fn note(assumption: Assumption, into: &mut Vec<Assumption>) {
    if !into.contains(&assumption) {
        into.push(assumption);
    }
}

fn pair(a: &PartyId, b: &PartyId) -> [PartyId; 2] {
    let mut parties = [a.clone(), b.clone()];
    parties.sort();
    parties
}

struct Drawer<'a> {
    input: &'a SettlementInput,
    contract: &'a Contract,
    outcome: &'a SettlementOutcome,
    booked: &'a [BookedLine],
}

impl Drawer<'_> {
    fn statement(&self, parties: [PartyId; 2], engine_version: &str) -> Statement {
        let head = &self.contract.head;
        let lines = self.lines(&parties);
        let terms: BTreeSet<&TermId> = lines.iter().map(|line| &line.term).collect();
        let versions: BTreeSet<u32> =
            lines.iter().flat_map(|line| &line.details).map(|detail| detail.version).collect();
        let used = self.contract.versions.iter().filter(|version| versions.contains(&version.number));
        let own = used.flat_map(|version| &version.terms).filter(|term| terms.contains(&term.id));
        let period = self.input.period.span(head.zone);
        let origins = lines.iter().map(|line| line.origin_period.span(head.zone).start);
        let span = Span { start: origins.min().unwrap_or(period.start), end: period.end };
        let mut assumptions = Vec::new();
        for term in own {
            self.gather_assumptions(term, span, &parties, &mut assumptions);
        }
        let held = self.input.held.iter().filter(|held| self.is_known_to(&held.contract, &parties));
        let held = held.flat_map(|held| &held.events).cloned().collect();
        Statement {
            contract: head.id.clone(),
            title: head.title.clone(),
            totals: self.totals(&parties),
            parties,
            currency: head.currency,
            rounding: head.rounding,
            period: self.input.period,
            span: self.input.period.span(head.zone),
            zone: head.zone.name().to_owned(),
            cutoff: self.input.cutoff,
            held,
            lines,
            assumptions,
            engine_version: engine_version.to_owned(),
            time_zone_data_version: chrono_tz::IANA_TZDB_VERSION.to_owned(),
        }
    }

    /// What a term rests on, and the terms that it draws on in versions that are in force at some time of the
    /// span. (Nothing feeds itself: that is refused at load.)
    fn gather_assumptions(&self, term: &Term, span: Span, parties: &[PartyId; 2], into: &mut Vec<Assumption>) {
        for assumption in &term.assumptions {
            note(assumption.clone(), into);
        }
        for selection in &term.base.select {
            let Selection::Accrual { contract, term: drawn } = selection else { continue };
            let others = self.input.contracts.iter().filter(|other| other.head.id == *contract);
            let mut found = Vec::new();
            for other in others.flat_map(|other| other.in_force_within(span)).filter_map(|it| it.term(drawn)) {
                self.gather_assumptions(other, span, parties, &mut found);
            }
            if self.is_known_to(contract, parties) {
                found.into_iter().for_each(|assumption| note(assumption, into));
            } else if let Some(confidence) = found.iter().map(|assumption| assumption.confidence).max() {
                let source = "an agreement that does not concern both parties".to_owned();
                note(Assumption { what: format!("accrual {contract}/{drawn}"), confidence, source }, into);
            }
        }
    }

    /// Whether a contract is this one, or concerns both parties, so that both may know what it says.
    fn is_known_to(&self, id: &ContractId, parties: &[PartyId; 2]) -> bool {
        let mut of_id = self.input.contracts.iter().filter(|it| it.head.id == *id);
        *id == self.contract.head.id || of_id.any(|contract| parties.iter().all(|party| contract.concerns(party)))
    }

    /// The terms of the versions that are in force at some time of the period.
    fn terms_of_period(&self) -> impl Iterator<Item = &Term> {
        self.contract.in_force_within(self.input.period.span(self.contract.head.zone)).flat_map(|it| &it.terms)
    }

    /// A line for each term and origin period with an amount, and one for each term of this period.
    fn lines(&self, parties: &[PartyId; 2]) -> Vec<StatementLine> {
        let period = self.input.period;
        let mut keys: BTreeSet<(TermId, PartyId, PartyId, Period)> = BTreeSet::new();
        for term in self.terms_of_period().filter(|term| pair(&term.payer, &term.payee) == *parties) {
            keys.insert((term.id.clone(), term.payer.clone(), term.payee.clone(), period));
        }
        for line in
            self.booked.iter().filter(|line| line.booked == period && pair(&line.payer, &line.payee) == *parties)
        {
            keys.insert((line.term.clone(), line.payer.clone(), line.payee.clone(), line.origin));
        }
        keys.into_iter().map(|(term, payer, payee, origin)| self.line(term, payer, payee, origin)).collect()
    }

    fn line(&self, term: TermId, payer: PartyId, payee: PartyId, origin: Period) -> StatementLine {
        let period = self.input.period;
        let sum = |booked: &dyn Fn(Period) -> bool| -> Exact {
            let same = |line: &&BookedLine| (&line.term, &line.payer, line.origin) == (&term, &payer, origin);
            self.booked.iter().filter(same).filter(|line| booked(line.booked)).map(|line| line.amount.clone()).sum()
        };
        let owed = self.outcome.entitlements.iter().find(|it| it.term == term && it.origin == origin);
        // A term that yielded nothing in the period still stands on what it yielded before.
        let before = || {
            let earlier = self.outcome.entitlements.iter().filter(|it| it.term == term && it.origin < origin);
            earlier.map(|it| it.amount.clone()).sum::<Exact>()
        };
        let details = owed.map(details).unwrap_or_default();
        StatementLine {
            clause: self.clause(&term, &details),
            amount: sum(&|booked| booked == period),
            booked_before: sum(&|booked| booked < period),
            accrued: owed.map(|it| it.amount.clone()).unwrap_or_default(),
            accrued_before: owed.map_or_else(before, |it| it.cumulative_before.clone()),
            details,
            term,
            payer,
            payee,
            origin_period: origin,
        }
    }

    /// The words of the last version that an amount comes from; without one, of the last that has begun.
    fn clause(&self, term: &TermId, details: &[LineDetail]) -> Clause {
        let end = self.input.period.span(self.contract.head.zone).end;
        let last = details.iter().map(|detail| detail.version).max();
        let quoted = |version: &&Version| match last {
            Some(last) => version.number == last,
            None => version.effective_at < end,
        };
        let latest = self.contract.versions.iter().rev().filter(quoted).find_map(|version| version.term(term));
        latest.map(|term| term.clause.clone()).unwrap_or(Clause { heading: String::new(), text: String::new() })
    }

    fn totals(&self, [a, b]: &[PartyId; 2]) -> Vec<DirectionTotal> {
        let mentioned = |payer: &PartyId, payee: &PartyId| {
            self.terms_of_period().any(|term| (&term.payer, &term.payee) == (payer, payee))
                || self.booked.iter().any(|line| (&line.payer, &line.payee) == (payer, payee))
        };
        let directions = [(a, b), (b, a)].into_iter().filter(|(payer, payee)| mentioned(payer, payee));
        directions.map(|(payer, payee)| self.total(payer, payee)).collect()
    }

    fn total(&self, payer: &PartyId, payee: &PartyId) -> DirectionTotal {
        let mut by_period: BTreeMap<Period, Exact> = BTreeMap::new();
        for line in self.booked.iter().filter(|line| (&line.payer, &line.payee) == (payer, payee)) {
            *by_period.entry(line.booked).or_default() += &line.amount;
        }
        let amount = by_period.get(&self.input.period).cloned().unwrap_or_default();
        let carries = self.contract.head.negative == Negative::Carry;
        let credit = |sum: Exact| if carries { sum.min(Exact::zero()) } else { Exact::zero() };
        let earlier = by_period.range(..self.input.period);
        let carried_in = earlier.fold(Exact::zero(), |carried, (_, total)| credit(&carried + total));
        let sum = &carried_in + &amount;
        let carried_out = credit(sum.clone());
        DirectionTotal {
            payer: payer.clone(),
            payee: payee.clone(),
            payable: &sum - &carried_out,
            due_on: self.due_on(payer, payee),
            amount,
            carried_in,
            carried_out,
        }
    }

    /// The earliest due date that a term of this direction states.
    fn due_on(&self, payer: &PartyId, payee: &PartyId) -> Option<NaiveDate> {
        let terms = self.terms_of_period().filter(|term| (&term.payer, &term.payee) == (payer, payee));
        let days = terms.filter_map(|term| term.due.as_ref()).map(|due| due.days_after_period).min()?;
        self.input.period.last_day().checked_add_days(Days::new(days.into()))
    }
}

/// Sums the accruals of an origin period by version.
fn details(owed: &Entitlement) -> Vec<LineDetail> {
    let mut details: Vec<LineDetail> = Vec::new();
    for accrual in &owed.accruals {
        match details.last_mut().filter(|detail| detail.version == accrual.version && detail.rate == accrual.rate) {
            Some(detail) => {
                detail.span.end = accrual.span.end;
                detail.base += &accrual.base;
                detail.uncapped += &accrual.uncapped;
                detail.accrued += &accrual.amount;
                detail.cap = match (detail.cap.take(), &accrual.cap) {
                    (Some(first), Some(last)) => Some(CapUse { before: first.before, ..last.clone() }),
                    (first, last) => first.or_else(|| last.clone()),
                };
                merge_parts(&mut detail.parts, &accrual.parts);
            }
            None => details.push(LineDetail {
                version: accrual.version,
                span: accrual.span,
                base: accrual.base.clone(),
                rate: accrual.rate.clone(),
                uncapped: accrual.uncapped.clone(),
                accrued: accrual.amount.clone(),
                cap: accrual.cap.clone(),
                parts: accrual.parts.clone(),
            }),
        }
    }
    details
}

fn merge_parts(into: &mut Vec<BasePart>, from: &[BasePart]) {
    for part in from {
        let same = |it: &&mut BasePart| {
            (&it.what, &it.cloud, &it.channel, &it.product) == (&part.what, &part.cloud, &part.channel, &part.product)
        };
        match into.iter_mut().find(same) {
            Some(known) => known.amount += &part.amount,
            None => into.push(part.clone()),
        }
    }
}
