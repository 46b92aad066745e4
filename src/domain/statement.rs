//! Statements: what two parties owe each other for a period under a contract, with every amount's origin.

mod made;
mod totals;

use super::calendar::Period;
use super::contract::measure::Measure;
use super::contract::term::Term;
use super::contract::{Assumption, Clause, Contract, Version};
use super::engine::entitlement::{PartKey, VersionYield, Yield};
use super::engine::life::versions_in_force;
use super::engine::outcome::{CapUse, WholeInterval};
use super::engine::owed::rounding;
use super::engine::plan::StreamName;
use super::findings::HeldEvents;
use super::ids::{ContractId, PartyId, TermId};
use super::money::{Exact, Rounding, Unit};
use super::names::names;
use super::period::{Instant, Span};
use super::settlement::{BookedLine, Settled, SettlementError, SettlementInput, find_contract};
pub use made::DetailAddend;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
pub use totals::DirectionTotal;

/// The document that two parties agree on. Amounts are decimal strings; unrounded ones may be fractions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Statement {
    pub contract: ContractId,
    pub title: String,
    /// In the order of their ids.
    pub parties: [PartyId; 2],
    /// What its amounts are in: a currency, or a unit that the contract declares.
    #[serde(flatten)]
    pub unit: Unit,
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
    /// Records of intervals that lie across a boundary of a version, term, period or price: each stands whole at its
    /// start, in an origin period of the lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole_intervals: Vec<WholeInterval>,
    pub lines: Vec<StatementLine>,
    pub totals: Vec<DirectionTotal>,
    /// What the amounts rest on that is not official. Of an agreement that does not concern both parties it says no
    /// more than that.
    pub assumptions: Vec<Assumption>,
    pub engine_version: String,
    pub time_zone_data_version: String,
}

impl Statement {
    /// Whether it says what became of the period up to its end.
    pub fn is_of_whole_period(&self) -> bool {
        self.span.end <= self.cutoff
    }
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
    /// What the term's other payees are owed for the origin period, rounded.
    #[serde(default, skip_serializing_if = "Exact::is_zero")]
    pub owed_to_others: Exact,
    pub details: Vec<LineDetail>,
    /// What the origin period's base is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<BasePart>,
}

/// How a line came about under one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct LineDetail {
    pub version: u32,
    /// When in the origin period the version is in force; the end is exclusive.
    pub span: Span,
    /// What it is made of before the cap.
    pub addends: Vec<DetailAddend>,
    pub uncapped: Exact,
    /// What the cap leaves out, below zero.
    #[serde(default, skip_serializing_if = "Exact::is_zero")]
    pub left_out: Exact,
    /// What the cap lets in of what it had left out before: of what waited, or as a refund makes room.
    #[serde(default, skip_serializing_if = "Exact::is_zero")]
    pub let_in: Exact,
    /// What was recouped or set off of it, below zero, or given back of that; it is in what accrued.
    #[serde(default, skip_serializing_if = "Exact::is_zero")]
    pub paid_back: Exact,
    pub accrued: Exact,
    pub cap: Option<CapUse>,
}

/// A part of a base, for people: what it is, where it was sold, how much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct BasePart {
    /// `charges`, `usage`, `figure Subscriptions`, `deduction refund`.
    pub what: String,
    pub cloud: String,
    pub channel: String,
    pub product: String,
    pub amount: Exact,
    /// The currency or declared unit of that; none of a plain number, such as usage.
    pub unit: Option<String>,
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

/// Draws up the statements of a settled period: one for each pair of parties and unit, also where nothing is due.
///
/// `booked` holds every line of the contract, those of this settlement included; `earlier` at least the last statement of
/// each pair of parties and unit before the period.
///
/// # Errors
/// The contract is not among those of the input.
pub fn statements(
    input: &SettlementInput,
    settled: &Settled,
    booked: &[BookedLine],
    earlier: &[Statement],
    engine_version: &str,
) -> Result<Vec<Statement>, SettlementError> {
    let contract = find_contract(&input.contracts, &input.contract)?;
    let drawer = Drawer { input, contract, settled, booked, earlier };
    let mut sides: BTreeSet<Side> = drawer.terms_of_period().flat_map(|term| drawer.sides(term)).collect();
    if sides.is_empty() {
        // A version without terms: its periods have statements too, of zero, or they could never be closed.
        let terms = contract.versions.iter().flat_map(|version| &version.terms);
        sides.extend(terms.flat_map(|term| drawer.sides(term)));
    }
    sides.extend(booked.iter().filter(|line| line.booked == input.period).map(Side::of_line));
    Ok(sides.into_iter().map(|side| drawer.statement(&side, engine_version)).collect())
}

fn note(assumption: Assumption, into: &mut Vec<Assumption>) {
    if !into.contains(&assumption) {
        into.push(assumption);
    }
}

/// Between whom a statement is, and in what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Side {
    /// In the order of their ids.
    parties: [PartyId; 2],
    unit: Unit,
}

impl Side {
    fn new(a: &PartyId, b: &PartyId, unit: &Unit) -> Self {
        let mut parties = [a.clone(), b.clone()];
        parties.sort();
        Self { parties, unit: unit.clone() }
    }

    fn of_line(line: &BookedLine) -> Self {
        Self::new(&line.payer, &line.payee, &line.unit)
    }
}

/// Which line it is: term, payer, payee and origin period.
type LineKey = (TermId, PartyId, PartyId, Period);

struct Drawer<'a> {
    input: &'a SettlementInput,
    contract: &'a Contract,
    settled: &'a Settled,
    booked: &'a [BookedLine],
    earlier: &'a [Statement],
}

impl<'a> Drawer<'a> {
    fn statement(&self, side: &Side, engine_version: &str) -> Statement {
        let head = &self.contract.head;
        let lines = self.lines(side);
        let terms: BTreeSet<&TermId> = lines.iter().map(|line| &line.term).collect();
        let versions: BTreeSet<u32> =
            lines.iter().flat_map(|line| &line.details).map(|detail| detail.version).collect();
        let used = self.contract.versions.iter().filter(|version| versions.contains(&version.number));
        let period = self.input.period.span(head.zone);
        let origins = lines.iter().map(|line| line.origin_period.span(head.zone).start);
        let span = Span { start: origins.min().unwrap_or(period.start), end: period.end };
        let mut assumptions = Vec::new();
        for version in used {
            for term in version.terms.iter().filter(|term| terms.contains(&term.id)) {
                self.gather_assumptions((self.contract, version, term), span, &side.parties, &mut assumptions);
            }
        }
        let held = self.input.usage.held_events.iter();
        let held = held.filter(|held| self.is_known_to(&held.contract, &side.parties)).cloned().collect();
        let is_of_lines = |at: Instant| lines.iter().any(|line| line.origin_period.span(head.zone).contains(at));
        let intervals = self.settled.run.entitlements.whole_intervals.iter();
        let intervals =
            intervals.filter(|it| is_of_lines(it.span.start) && self.is_known_to(&it.contract, &side.parties));
        let whole_intervals = intervals.cloned().collect();
        Statement {
            contract: head.id.clone(),
            title: head.title.clone(),
            totals: self.totals(side),
            parties: side.parties.clone(),
            unit: side.unit.clone(),
            rounding: rounding(self.contract, &side.unit),
            period: self.input.period,
            span: period,
            zone: head.zone.name().to_owned(),
            cutoff: self.input.cutoff,
            held,
            whole_intervals,
            lines,
            assumptions,
            engine_version: engine_version.to_owned(),
            time_zone_data_version: chrono_tz::IANA_TZDB_VERSION.to_owned(),
        }
    }

    /// What a term rests on, and what it draws on in versions that are in force at some time of the span. (Nothing
    /// feeds itself: that is refused at load.)
    fn gather_assumptions(
        &self,
        (contract, version, term): (&Contract, &Version, &Term),
        span: Span,
        parties: &[PartyId; 2],
        into: &mut Vec<Assumption>,
    ) {
        for assumption in version.assumptions_behind(&contract.head.id, term) {
            note(assumption.clone(), into);
        }
        for measure in version.measures_behind(&contract.head.id, term.mentions()) {
            let Measure::Accrual { contract: of, term: drawn, .. } = measure else { continue };
            let mut found = Vec::new();
            for other in self.input.contracts.iter().filter(|other| other.head.id == *of && *of != contract.head.id) {
                for (version, term) in other.in_force_within(span).filter_map(|it| Some((it, it.term(drawn)?))) {
                    self.gather_assumptions((other, version, term), span, parties, &mut found);
                }
            }
            if self.is_known_to(of, parties) {
                found.into_iter().for_each(|assumption| note(assumption, into));
            } else if let Some(confidence) = found.iter().map(|assumption| assumption.confidence).max() {
                let source = "an agreement that does not concern both parties".to_owned();
                note(Assumption { what: format!("accrual {of}/{drawn}"), confidence, source }, into);
            }
        }
    }

    /// Whether a contract is this one, or concerns both parties, so that both may know what it says.
    fn is_known_to(&self, id: &ContractId, parties: &[PartyId; 2]) -> bool {
        let mut of_id = self.input.contracts.iter().filter(|it| it.head.id == *id);
        *id == self.contract.head.id || of_id.any(|contract| parties.iter().all(|party| contract.concerns(party)))
    }

    /// The terms of the versions that are in force at some time of the period.
    fn terms_of_period(&self) -> impl Iterator<Item = &'a Term> {
        let terms = self.contract.in_force_within(self.input.period.span(self.contract.head.zone));
        terms.flat_map(|it| &it.terms).filter(|term| !term.is_input)
    }

    /// Who is paid by a term: as it says, and where its items say it, whoever is owed something.
    fn payees(&self, term: &'a Term) -> BTreeSet<&PartyId> {
        let owed = self.settled.owed.keys().filter(|account| account.term == term.id).map(|account| &account.payee);
        term.payees.named().into_iter().chain(owed).collect()
    }

    fn sides(&self, term: &'a Term) -> Vec<Side> {
        self.payees(term).into_iter().map(|payee| Side::new(&term.payer, payee, &term.unit)).collect()
    }

    /// A line for each term and origin period with an amount, and one for each term of this period; terms in the order
    /// of the agreement, as its last version has it.
    fn lines(&self, side: &Side) -> Vec<StatementLine> {
        let period = self.input.period;
        let mut keys: BTreeSet<LineKey> = BTreeSet::new();
        for term in self.terms_of_period() {
            for payee in self.payees(term).into_iter().filter(|it| Side::new(&term.payer, it, &term.unit) == *side) {
                keys.insert((term.id.clone(), term.payer.clone(), payee.clone(), period));
            }
        }
        for line in self.booked.iter().filter(|line| line.booked == period && Side::of_line(line) == *side) {
            keys.insert((line.term.clone(), line.payer.clone(), line.payee.clone(), line.origin));
        }
        let terms = self.contract.versions.iter().rev().flat_map(|version| &version.terms);
        let order: Vec<&TermId> = terms.map(|term| &term.id).collect();
        let mut keys: Vec<LineKey> = keys.into_iter().collect();
        keys.sort_by_key(|(term, ..)| order.iter().position(|it| *it == term));
        keys.into_iter().map(|key| self.line(key, &side.unit)).collect()
    }

    fn line(&self, (term, payer, payee, origin): LineKey, unit: &Unit) -> StatementLine {
        let period = self.input.period;
        let sum = |booked: &dyn Fn(Period) -> bool| -> Exact {
            let same = |line: &&BookedLine| {
                (&line.term, &line.payer, &line.payee, &line.unit, line.origin) == (&term, &payer, &payee, unit, origin)
            };
            self.booked.iter().filter(same).filter(|line| booked(line.booked)).map(|line| line.amount.clone()).sum()
        };
        let entitlements = &self.settled.run.entitlements;
        let yields = entitlements.terms.get(&(self.contract.head.id.clone(), term.clone()));
        let yielded = yields.and_then(|yields| yields.get(&origin));
        // A term that yielded nothing in the period still stands on what it yielded before.
        let before =
            yields.into_iter().flat_map(|yields| yields.range(..origin)).map(|(_, it)| it.amount.clone()).sum();
        let details = yielded.map(|it| self.details(&term, it, origin)).unwrap_or_default();
        let of_others = self.settled.owed.iter().filter(|(account, _)| account.term == term && account.payee != payee);
        StatementLine {
            owed_to_others: of_others.filter_map(|(_, owed)| owed.get(&origin).cloned()).sum(),
            clause: self.clause(&term, &details),
            amount: sum(&|booked| booked == period),
            booked_before: sum(&|booked| booked < period),
            accrued: yielded.map(|it| it.amount.clone()).unwrap_or_default(),
            accrued_before: before,
            parts: self.parts(&term, &details, origin),
            details,
            term,
            payer,
            payee,
            origin_period: origin,
        }
    }

    fn version(&self, number: u32) -> Option<&'a Version> {
        self.contract.versions.iter().find(|version| version.number == number)
    }

    /// What a term yielded in a period, by version.
    fn details(&self, term: &TermId, yielded: &Yield, origin: Period) -> Vec<LineDetail> {
        let period = origin.span(self.contract.head.zone);
        let detail = |(number, it): (&u32, &VersionYield)| {
            let spans = versions_in_force(self.contract, period.end).into_iter();
            let own =
                spans.filter(|(_, place)| self.contract.versions.get(*place).is_some_and(|it| it.number == *number));
            let span = own.filter_map(|(span, _)| span.intersection(period));
            let span = span.reduce(|first, last| Span { start: first.start, end: last.end }).unwrap_or(period);
            let worded = self.version(*number).and_then(|version| Some((version, version.term(term)?)));
            let addends =
                worded.map(|worded| it.addends.iter().map(|addend| DetailAddend::new(addend, worded)).collect());
            LineDetail {
                version: *number,
                span,
                addends: addends.unwrap_or_default(),
                uncapped: it.uncapped.clone(),
                left_out: it.left_out.clone(),
                let_in: it.let_in.clone(),
                paid_back: it.paid_back.clone(),
                accrued: it.amount.clone(),
                cap: CapUse::in_all(it.caps.values()),
            }
        };
        yielded.versions.iter().map(detail).collect()
    }

    /// What the bases and figures of a term are made of, in the versions that an amount comes from.
    fn parts(&self, term: &TermId, details: &[LineDetail], origin: Period) -> Vec<BasePart> {
        let mut streams: BTreeSet<StreamName> = BTreeSet::new();
        for worded in details.iter().filter_map(|detail| self.version(detail.version)?.term(term)) {
            let own = worded.mentions().into_iter().filter(|measure| !self.is_of_another(measure));
            streams.extend(own.map(|measure| stream(measure, &worded.unit)));
        }
        let entitlements = &self.settled.run.entitlements;
        let parts = streams.iter().flat_map(|stream| entitlements.parts(stream, origin));
        let part = |(key, amount): (&PartKey, &Exact)| {
            let PartKey { what, cloud, channel, product, unit } = key.clone();
            let unit = unit.map(|unit| unit.to_string());
            BasePart { what, cloud, channel, product, amount: amount.clone(), unit }
        };
        parts.map(part).collect()
    }

    /// Whether it is what another contract yields, of whose streams no more is told than the sum.
    fn is_of_another(&self, measure: &Measure) -> bool {
        matches!(measure, Measure::Accrual { contract, .. } if *contract != self.contract.head.id)
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
}

/// The stream that yields a measure, in a unit.
pub(super) fn stream(measure: &Measure, unit: &Unit) -> StreamName {
    match measure {
        Measure::Base(name) => StreamName::Base(name.clone(), unit.clone()),
        Measure::Figure(name) => StreamName::Figure(name.clone(), unit.clone()),
        Measure::Amount(name) => StreamName::Amount(name.clone()),
        Measure::Accrual { term, .. } => StreamName::Term(term.clone()),
    }
}
