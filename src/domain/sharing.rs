//! Sharing: items become accruals, term by term, in the order of time (CONTRACTS sections 2 to 4).
//!
//! A cap is a function of the running sum, `min(cap, opening + sum)`, so sums per segment give what each
//! item alone and in order would give.

use super::contract::{Base, Cap, ChargeFilter, Contract, DeductionPlace, Selection, Term, Version};
use super::deduction::PlacedDeduction;
use super::ids::{ContractId, DefinedTerm, EventId, PartyId, TermId};
use super::money::{Currency, Exact};
use super::period::{Instant, Period, Span, Timeline, end_of_day_exclusive, last_instant_before};
use super::price::PriceBook;
use super::rating::{Charge, ChargeAttributes};
use super::record::{Fact, Figure, first_fact};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All that shares are computed from.
#[derive(Clone, Copy, Debug)]
pub struct SharingInput<'a> {
    pub contracts: &'a [Contract],
    pub timeline: &'a Timeline,
    pub charges: &'a [Charge],
    /// The contracts that hold some of it back.
    pub held: &'a [HeldBack<'a>],
    pub deductions: &'a [PlacedDeduction],
    pub figures: &'a [Figure],
    pub facts: &'a [Fact],
}

/// What a contract does not count because it breaks a right.
#[derive(Clone, Debug)]
pub struct HeldBack<'a> {
    pub contract: &'a ContractId,
    /// The charges that are left to it.
    pub charges: Vec<Charge>,
    /// The deductions of what is held.
    pub deductions: &'a BTreeSet<EventId>,
}

/// What one term makes one party owe another for one segment, unrounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Accrual {
    pub contract: ContractId,
    pub term: TermId,
    pub version: u32,
    pub span: Span,
    pub base: Exact,
    pub rate: Exact,
    /// `rate x base`.
    pub uncapped: Exact,
    /// What accrued: after the cap.
    pub amount: Exact,
    pub cap: Option<CapUse>,
    pub parts: Vec<BasePart>,
}

/// How far a cap was used up before and after an accrual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct CapUse {
    pub limit: Exact,
    pub before: Exact,
    pub after: Exact,
}

/// A part of a base, for people: what it is, where it was sold, how much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct BasePart {
    /// `charges`, `figure Subscriptions`, `accrual aws-openai/lab-share`, `deduction refund`.
    pub what: String,
    pub cloud: String,
    pub channel: String,
    pub product: String,
    pub amount: Exact,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    #[error("{}; add what is missing to the price book and settle again (a price of zero is written down)", told(.missing))]
    MissingPrices { missing: Vec<MissingPrice> },
    #[error("{contract}/{term} is in {expected} and {what} in {found}; there is no exchange rate for it")]
    MissingFx { contract: ContractId, term: TermId, what: String, expected: Currency, found: Currency },
}

/// How many missing prices are told one by one.
pub const MISSING_PRICES_TOLD: usize = 3;

/// In one line, however many there are.
fn told(missing: &[MissingPrice]) -> String {
    let first: Vec<String> = missing.iter().take(MISSING_PRICES_TOLD).map(ToString::to_string).collect();
    let is = if missing.len() == 1 { "price is" } else { "prices are" };
    let more = if missing.len() > MISSING_PRICES_TOLD { "; and so on" } else { "" };
    format!("{} {is} missing: {}{more}", missing.len(), first.join("; "))
}

/// What a term counts and the price book has no price for, where it is missing first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{meter} of {product}, tier {service_tier}, at {deployment} from {at}, which {contract}/{term} counts")]
pub struct MissingPrice {
    pub contract: ContractId,
    pub term: TermId,
    pub product: String,
    pub meter: String,
    pub service_tier: String,
    pub deployment: String,
    pub at: Instant,
}

/// Cuts time, from the first version on to `end`, wherever a version, period, term, cap, fact or price begins or ends.
///
/// `None` where no contract begins before `end`.
pub fn timeline(contracts: &[Contract], facts: &[Fact], prices: &PriceBook, end: Instant) -> Option<Timeline> {
    let start = contracts.iter().filter_map(Contract::begins).min().filter(|start| *start < end)?;
    let mut cuts: Vec<Instant> = prices.boundaries().collect();
    for contract in contracts {
        let (zone, unit) = (contract.head.zone, contract.head.period);
        let mut period = Period::at(start, zone, unit);
        while period.span(zone).start < end {
            cuts.push(period.span(zone).start);
            period = period.next();
        }
        for version in &contract.versions {
            cuts.push(version.effective_at);
            for term in &version.terms {
                cuts.extend([term.from, term.end, term.cap.as_ref().map(|cap| cap.counts_from)].into_iter().flatten());
            }
        }
    }
    cuts.extend(facts.iter().map(|fact| fact.at));
    Some(Timeline::new(start, end, cuts))
}

/// Computes what every term of every contract yields, segment by segment.
///
/// # Errors
/// Selected quantities without a price, or an amount in another currency than its term's.
pub fn share(input: &SharingInput<'_>) -> Result<Vec<Accrual>, SharingError> {
    let charges = by_segment(input.charges);
    let left = input.held.iter().map(|held| (held.contract, by_segment(&held.charges))).collect();
    let mut engine =
        Engine { input, charges, left, terms: BTreeMap::new(), accruals: Vec::new(), missing: BTreeMap::new() };
    for (index, span) in input.timeline.segments().enumerate() {
        let segment = Segment { index, span };
        for contract in input.contracts {
            for term in contract.in_force(span.start).map(|version| version.terms.as_slice()).unwrap_or_default() {
                engine.accrue(segment, contract, &term.id)?;
            }
        }
    }
    if !engine.missing.is_empty() {
        return Err(SharingError::MissingPrices { missing: engine.missing.into_values().collect() });
    }
    Ok(engine.accruals)
}

fn by_segment(charges: &[Charge]) -> BTreeMap<usize, Vec<&Charge>> {
    let mut found: BTreeMap<usize, Vec<&Charge>> = BTreeMap::new();
    for charge in charges {
        found.entry(charge.segment).or_default().push(charge);
    }
    found
}

#[derive(Clone, Copy)]
struct Segment {
    index: usize,
    span: Span,
}

/// What a term has come to so far; it goes on through the versions under the term's id.
#[derive(Default)]
struct TermState {
    /// The segment it was computed for last, and what accrued in it.
    last: Option<(usize, Exact)>,
    /// What accrued by segment, for a cap that starts to count in the past.
    accrued: Vec<(Instant, Exact)>,
    cap: Option<CapState>,
}

struct CapState {
    cap: Cap,
    /// What stood against the cap when it came into force: `T0` of CONTRACTS section 4.
    at_start: Exact,
    /// The uncapped sum since.
    sum: Exact,
}

struct Engine<'a> {
    input: &'a SharingInput<'a>,
    charges: BTreeMap<usize, Vec<&'a Charge>>,
    /// What is left to contracts that hold some back.
    left: BTreeMap<&'a ContractId, BTreeMap<usize, Vec<&'a Charge>>>,
    terms: BTreeMap<(ContractId, TermId), TermState>,
    accruals: Vec<Accrual>,
    /// By product, meter and service tier. All are gathered, so that one look at the price book mends them.
    missing: BTreeMap<[String; 3], MissingPrice>,
}

impl<'a> Engine<'a> {
    /// What a term yields in a segment; computed once, then remembered for the terms that draw on it.
    fn accrue(&mut self, segment: Segment, contract: &'a Contract, id: &TermId) -> Result<Exact, SharingError> {
        let key = (contract.head.id.clone(), id.clone());
        if let Some((index, amount)) = self.terms.get(&key).and_then(|state| state.last.as_ref())
            && *index == segment.index
        {
            return Ok(amount.clone());
        }
        let Some((version, term)) = self.term_in_force(contract, id, segment.span.start) else {
            return Ok(Exact::zero());
        };
        let parts = self.base(segment, contract, term)?;
        let base: Exact = parts.iter().map(|part| part.amount.clone()).sum();
        let uncapped = &term.rate * &base;
        let state = self.terms.entry(key).or_default();
        let (amount, cap) = state.take_room(term.cap.as_ref(), segment.span.start, &uncapped);
        state.accrued.push((segment.span.start, amount.clone()));
        state.last = Some((segment.index, amount.clone()));
        self.accruals.push(Accrual {
            contract: contract.head.id.clone(),
            term: id.clone(),
            version: version.number,
            span: segment.span,
            base,
            rate: term.rate.clone(),
            uncapped,
            amount: amount.clone(),
            cap,
            parts,
        });
        Ok(amount)
    }

    /// The term of the version in force at an instant, where its own dates and fact leave it in force too.
    fn term_in_force(&self, contract: &'a Contract, id: &TermId, at: Instant) -> Option<(&'a Version, &'a Term)> {
        let version = contract.in_force(at)?;
        let term = version.term(id)?;
        let ended_at = term.until.as_ref().and_then(|fact| first_fact(self.input.facts, &contract.head.id, fact));
        term.in_force(at, ended_at).then_some((version, term))
    }

    fn base(
        &mut self,
        segment: Segment,
        contract: &'a Contract,
        term: &'a Term,
    ) -> Result<Vec<BasePart>, SharingError> {
        let mut parts = Parts { contract, term, sums: BTreeMap::new() };
        for selection in &term.base.select {
            match selection {
                Selection::Charges(filter) => {
                    let charges = self.left.get(&contract.head.id).unwrap_or(&self.charges);
                    let here = charges.get(&segment.index).map(Vec::as_slice).unwrap_or_default();
                    for charge in here.iter().filter(|charge| selects(filter, &charge.attributes)) {
                        match &charge.rated {
                            Some(rated) => parts.add(
                                "charges".to_owned(),
                                Some(&charge.attributes),
                                rated.amount.clone(),
                                rated.currency,
                            )?,
                            None => missing_price(&mut self.missing, &charge.attributes, segment, contract, term),
                        }
                    }
                }
                Selection::Figure(name) => {
                    for figure in figures_in(self.input.figures, contract, name, segment.span) {
                        parts.add(
                            format!("figure {name}"),
                            None,
                            figure.value.amount.clone(),
                            figure.value.currency,
                        )?;
                    }
                }
                Selection::Accrual { contract: drawn, term: drawn_term } => {
                    let Some(other) = self.input.contracts.iter().find(|it| it.head.id == *drawn) else { continue };
                    let amount = self.accrue(segment, other, drawn_term)?;
                    parts.add(format!("accrual {drawn}/{drawn_term}"), None, amount, other.head.currency)?;
                }
            }
        }
        let mut held_back = self.input.held.iter().filter(|held| *held.contract == contract.head.id);
        let held = held_back.next().map(|held| held.deductions);
        let counts = |id: &EventId| held.is_none_or(|held| !held.contains(id));
        for deduction in self.input.deductions.iter().filter(|deduction| counts(&deduction.id)) {
            if self.stands_in(deduction, segment, contract, term) {
                let what = format!("deduction {}", deduction.category);
                parts.add(what, Some(&deduction.attributes), -deduction.amount.clone(), deduction.currency)?;
            }
        }
        Ok(parts.into_parts())
    }

    /// Whether a deduction reduces the base of a term in a segment.
    ///
    /// The terms in force at the charge that it names say whether that counts, and so whether and where the
    /// deduction does: an amendment between the two neither doubles nor loses it.
    fn stands_in(&self, deduction: &PlacedDeduction, segment: Segment, contract: &'a Contract, term: &'a Term) -> bool {
        // Where it can't stand at all is decided first: it is cheap, and true of most.
        let at_item = deduction.item_at.is_some_and(|item_at| segment.span.contains(item_at));
        if !at_item && !segment.span.contains(deduction.at) {
            return false;
        }
        let governing = match deduction.item_at {
            Some(item_at) => self.term_in_force(contract, &term.id, item_at).map(|(_, term)| term),
            None => Some(term),
        };
        let Some(Base { select, less, .. }) = governing.map(|term| &term.base) else { return false };
        let listed = less.iter().find(|less| less.categories.contains(&deduction.category));
        let place = match (listed.map(|less| less.at), deduction.item_at) {
            (None, _) => return false,
            (Some(DeductionPlace::Item), Some(item_at)) => item_at,
            (Some(DeductionPlace::Item), None) | (Some(DeductionPlace::OwnDate), _) => deduction.at,
        };
        segment.span.contains(place)
            && select.iter().any(|selection| match selection {
                Selection::Charges(filter) => selects(filter, &deduction.attributes),
                Selection::Figure(_) | Selection::Accrual { .. } => false,
            })
    }
}

impl TermState {
    /// What accrues of `uncapped` under the cap in force, and how far that is used up.
    fn take_room(&mut self, cap: Option<&Cap>, at: Instant, uncapped: &Exact) -> (Exact, Option<CapUse>) {
        let Some(cap) = cap.filter(|cap| cap.counts_from <= at) else {
            self.cap = None;
            return (uncapped.clone(), None);
        };
        let counted = |accrued: &[(Instant, Exact)]| -> Exact {
            accrued.iter().filter(|(at, _)| cap.counts_from <= *at).map(|(_, amount)| amount.clone()).sum()
        };
        let state = match self.cap.take() {
            Some(state) if state.cap == *cap => state,
            // A cap that is new or changed: what accrued stands, and it counts on from there.
            _ => CapState { cap: cap.clone(), at_start: &cap.opening + &counted(&self.accrued), sum: Exact::zero() },
        };
        let room = (&cap.limit - &state.at_start).max(Exact::zero());
        let total = |sum: &Exact| &state.at_start + sum.min(&room);
        let sum = &state.sum + uncapped;
        let (before, after) = (total(&state.sum), total(&sum));
        let amount = &after - &before;
        self.cap = Some(CapState { sum, ..state });
        (amount, Some(CapUse { limit: cap.limit.clone(), before, after }))
    }
}

/// Sums the parts of one base of one term in its currency.
struct Parts<'a> {
    contract: &'a Contract,
    term: &'a Term,
    sums: BTreeMap<(String, String, String, String), Exact>,
}

impl Parts<'_> {
    fn add(
        &mut self,
        what: String,
        sold: Option<&ChargeAttributes>,
        amount: Exact,
        currency: Currency,
    ) -> Result<(), SharingError> {
        let expected = self.contract.head.currency;
        if currency != expected {
            let (contract, term) = (self.contract.head.id.clone(), self.term.id.clone());
            return Err(SharingError::MissingFx { contract, term, what, expected, found: currency });
        }
        let place = sold.map(|it| (it.cloud.clone(), it.channel.clone(), it.product.clone())).unwrap_or_default();
        *self.sums.entry((what, place.0, place.1, place.2)).or_default() += &amount;
        Ok(())
    }

    fn into_parts(self) -> Vec<BasePart> {
        self.sums
            .into_iter()
            .map(|((what, cloud, channel, product), amount)| BasePart { what, cloud, channel, product, amount })
            .collect()
    }
}

fn missing_price(
    missing: &mut BTreeMap<[String; 3], MissingPrice>,
    of: &ChargeAttributes,
    segment: Segment,
    contract: &Contract,
    term: &Term,
) {
    let key = [of.product.clone(), of.meter.clone(), of.service_tier.clone()];
    missing.entry(key).or_insert_with(|| MissingPrice {
        contract: contract.head.id.clone(),
        term: term.id.clone(),
        product: of.product.clone(),
        meter: of.meter.clone(),
        service_tier: of.service_tier.clone(),
        deployment: of.deployment.clone(),
        at: segment.span.start,
    });
}

fn selects(filter: &ChargeFilter, attributes: &ChargeAttributes) -> bool {
    filter.iter().all(|(attribute, values)| values.iter().any(|value| value == attributes.get(*attribute)))
}

/// The figures of a contract that stand in a span: each at the last instant of its last day.
pub fn figures_in<'a>(
    figures: &'a [Figure],
    contract: &'a Contract,
    name: &'a DefinedTerm,
    span: Span,
) -> impl Iterator<Item = &'a Figure> {
    figures.iter().filter(move |figure| {
        figure.contract == contract.head.id
            && figure.name == *name
            && span.contains(last_instant_before(end_of_day_exclusive(contract.head.zone, figure.through)))
    })
}

/// Who owes whom under a term: the same through all versions.
pub fn parties_of<'a>(contract: &'a Contract, term: &TermId) -> Option<(&'a PartyId, &'a PartyId)> {
    contract.versions.iter().rev().find_map(|version| version.term(term)).map(|term| (&term.payer, &term.payee))
}
