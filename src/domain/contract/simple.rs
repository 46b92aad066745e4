//! Temporary: agreements in the few shapes that `sharing` computes, derived from what the reader reads; others are
//! refused. It goes when the engine computes the whole language.

use super::measure::{AccrualPlace, Basis, BelowZero, FigureKind, Measure, Node, NodeKind, Place, Reduction, Source};
use super::selector::{Attribute as Named, Filter};
use super::term::{Excess, Payees};
use super::window::{DueAfter, Moment, WindowRule};
use super::{Assumed, Assumption, Clause, Effective, Straddling, beside, measure, term};
use crate::domain::calendar::Calendar;
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Length, PeriodUnit};
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

pub type Contract = super::Contract<Version>;

impl Contract {
    /// Whether some term of some version is between a party and another one.
    pub fn concerns(&self, party: &PartyId) -> bool {
        self.versions.iter().flat_map(|version| &version.terms).any(|term| [&term.payer, &term.payee].contains(&party))
    }
}

/// The full set of terms in force from an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    pub number: u32,
    pub effective_at: Instant,
    pub figures: BTreeMap<DefinedTerm, Missing>,
    /// In the order of the file, which is their order at one item.
    pub terms: Vec<Term>,
}

/// What holds while a figure is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Missing {
    /// The settlement stops.
    Stop,
    Zero,
}

/// One clause as data: who owes whom which share of which base, from when to when, up to which cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    pub id: TermId,
    pub clause: Clause,
    pub payer: PartyId,
    pub payee: PartyId,
    pub rate: Exact,
    pub base: Base,
    /// Inclusive; absent: while its version is in force.
    pub from: Option<Instant>,
    /// Exclusive.
    pub end: Option<Instant>,
    /// The fact that ends it.
    pub until: Option<DefinedTerm>,
    pub cap: Option<Cap>,
    pub due: Option<Due>,
    /// What in it is not official.
    pub assumptions: Vec<Assumption>,
}

/// A named selection of items, less its deductions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Base {
    pub name: DefinedTerm,
    pub select: Vec<Selection>,
    pub less: Vec<Deductions>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Selection {
    Charges(ChargeFilter),
    Figure(DefinedTerm),
    /// What another term yields, as it accrues, after its cap.
    Accrual {
        contract: ContractId,
        term: TermId,
    },
}

/// Each attribute that is named must have one of the values.
pub type ChargeFilter = BTreeMap<Attribute, Vec<String>>;

/// By what charges can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Attribute {
    Seller,
    Operator,
    Cloud,
    Channel,
    Region,
    Deployment,
    Product,
    Customer,
    ServiceTier,
    Meter,
}

/// Categories of deductions that reduce a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deductions {
    pub categories: Vec<String>,
    pub at: DeductionPlace,
}

/// Where a deduction that names a charge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DeductionPlace {
    /// At that charge: its rate, its period.
    Item,
    /// At its own date: the rate then; nothing once the term has ended.
    OwnDate,
}

/// The most that a term yields in all from a date on; what exceeds it is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cap {
    pub limit: Exact,
    pub counts_from: Instant,
    /// What had accrued before our books began; at most the limit.
    pub opening: Exact,
}

/// When an amount is to be paid: days after the period's last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    pub days_after_period: u32,
}

impl Effective for Version {
    fn number(&self) -> u32 {
        self.number
    }

    fn effective_at(&self) -> Instant {
        self.effective_at
    }
}

impl Version {
    pub fn term(&self, id: &TermId) -> Option<&Term> {
        self.terms.iter().find(|term| term.id == *id)
    }
}

impl Term {
    /// Whether its own dates and its fact, where it happened at `ended_at`, leave it in force.
    pub fn in_force(&self, at: Instant, ended_at: Option<Instant>) -> bool {
        self.from.is_none_or(|from| from <= at)
            && self.end.is_none_or(|end| at < end)
            && ended_at.is_none_or(|end| at < end)
    }
}

/// What `sharing` does not compute yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{contract} version {number}: {place}: {what} cannot be settled yet")]
pub struct NotSimple {
    pub contract: ContractId,
    pub number: u32,
    pub place: String,
    pub what: &'static str,
}

/// A contract, and those that it draws on, in simple shapes.
///
/// # Errors
/// The first part of one of them that is not computed yet.
pub fn contracts(all: &[super::Contract], id: &ContractId) -> Result<Vec<Contract>, NotSimple> {
    let mut found: Vec<Contract> = Vec::new();
    let mut wanted = vec![id.clone()];
    while let Some(id) = wanted.pop() {
        let Some(contract) = all.iter().find(|it| it.head.id == id && found.iter().all(|known| known.head.id != id))
        else {
            continue;
        };
        let simple = simple(contract)?;
        let terms = simple.versions.iter().flat_map(|version| &version.terms);
        wanted.extend(terms.flat_map(|term| &term.base.select).filter_map(|it| match it {
            Selection::Accrual { contract, .. } => Some(contract.clone()),
            Selection::Charges(_) | Selection::Figure(_) => None,
        }));
        found.push(simple);
    }
    found.sort_by(|a, b| a.head.id.cmp(&b.head.id));
    Ok(found)
}

fn simple(contract: &super::Contract) -> Result<Contract, NotSimple> {
    let months = match contract.head.period {
        PeriodUnit::Month => 1,
        PeriodUnit::Quarter => 3,
        PeriodUnit::Year => 12,
    };
    let of_calendar = NonZeroU32::new(months).map(Calendar::of_months);
    let mut versions = Vec::new();
    for version in &contract.versions {
        let fail = |place: &str, what| NotSimple {
            contract: contract.head.id.clone(),
            number: version.number,
            place: place.to_owned(),
            what,
        };
        if (contract.head.straddling, contract.head.assumed) != (Straddling::Whole, Assumed::Allow) {
            return Err(fail("contract", "what refuses straddling or assumed items"));
        }
        if of_calendar.as_ref() != Some(&contract.head.settlement) {
            return Err(fail("period", "a period that is no month, quarter or year of the calendar"));
        }
        if !version.end.is_empty() || version.fx.is_some() {
            return Err(fail("version", "an end, or rates of exchange,"));
        }
        let stops = version.opens.iter().any(|open| open.meanwhile == beside::Meanwhile::Stop);
        if stops || !version.effects.is_empty() || version.interest.is_some() {
            return Err(fail("version", "an open point that stops, an effect, or interest"));
        }
        let mut terms = Vec::new();
        for term in &version.terms {
            terms.push(simple_term(version, term, contract).map_err(|what| fail(&format!("term {}", term.id), what))?);
        }
        let missing = |(name, figure): (&DefinedTerm, &measure::FigureDefinition)| match figure.missing {
            measure::Missing::Zero => (name.clone(), Missing::Zero),
            _ => (name.clone(), Missing::Stop),
        };
        versions.push(Version {
            number: version.number,
            effective_at: version.effective_at,
            figures: version.figures.iter().map(missing).collect(),
            terms,
        });
    }
    Ok(Contract { head: contract.head.clone(), versions })
}

type Shape<T> = Result<T, &'static str>;

fn simple_term(of: &super::Version, it: &term::Term, contract: &super::Contract) -> Shape<Term> {
    let Payees::One(payee) = &it.payees else { return Err("several payees") };
    let has_more = it.tiers.is_some()
        || it.minimum.is_some()
        || !it.credits.is_empty()
        || it.once.is_some()
        || !it.per.is_empty()
        || it.on.is_some()
        || it.each.is_some()
        || it.tax.is_some();
    if has_more || it.unit != Unit::Currency(contract.head.currency) {
        return Err("more than a share of a base in the contract's currency");
    }
    if it.life.lasts.is_some() || it.life.during.is_some() || it.life.tail.is_some() {
        return Err("how long it lasts");
    }
    let Some(Node { kind: NodeKind::Share { of: Measure::Base(base), rate }, times, less }) = &it.node else {
        return Err("what is not a share of a base");
    };
    let Some(rate) = rate.plain().filter(|_| times.is_empty() && less.is_empty()) else {
        return Err("a rate by rows");
    };
    let base = of.bases.get(base).ok_or("a base of another contract")?;
    let from = match &it.life.from {
        Some(Moment::Fact(_)) => return Err("a start at a fact"),
        Some(Moment::At(at)) => Some(*at),
        None => None,
    };
    let facts: Vec<&DefinedTerm> = it
        .life
        .until
        .iter()
        .filter_map(|moment| match moment {
            Moment::Fact(name) => Some(name),
            Moment::At(_) => None,
        })
        .collect();
    if facts.len() > 1 {
        return Err("several facts that end it");
    }
    let is_plain = |name: &&DefinedTerm| {
        let fact = of.facts.get(*name);
        fact.is_some_and(|fact| fact.skip == 0 && fact.lasts.is_none() && fact.pick == beside::Pick::First)
    };
    if !facts.iter().all(is_plain) {
        return Err("a fact of which not the first counts, for ever,");
    }
    let cap = it.cap.as_ref().and_then(|name| Some((name, of.caps.get(name)?)));
    let is_own = |name: &DefinedTerm| name.as_str() == it.id.as_str();
    if cap.is_some_and(|(name, _)| !is_own(name)) {
        return Err("a cap of several terms");
    }
    Ok(Term {
        id: it.id.clone(),
        clause: it.clause.clone(),
        payer: it.payer.clone(),
        payee: payee.clone(),
        rate: rate.clone(),
        base: simple_base(base, contract)?,
        from,
        end: it.life.dates().1,
        until: facts.first().map(|name| (*name).clone()),
        cap: cap.map(|(_, cap)| simple_cap(cap)).transpose()?,
        due: simple_due(&it.due)?,
        assumptions: it.assumptions.clone(),
    })
}

fn simple_due(due: &[term::Instalment]) -> Shape<Option<Due>> {
    match due {
        [] => Ok(None),
        [whole] => match (&whole.due.after, &whole.due.what, whole.due.business_days) {
            (Length::Days(days), DueAfter::Period, false) => Ok(Some(Due { days_after_period: *days })),
            _ => Err("when it is due"),
        },
        _ => Err("instalments"),
    }
}

fn simple_cap(cap: &term::Cap) -> Shape<Cap> {
    let (WindowRule::Term, Moment::At(counts_from), Excess::Lost) =
        (&cap.counting.each, &cap.counting.from, cap.excess)
    else {
        return Err("a cap that resets, waits for a fact or defers");
    };
    let limit = cap.limit.plain().filter(|_| cap.per.is_empty()).ok_or("a cap by rows or attributes")?;
    Ok(Cap { limit: limit.clone(), counts_from: *counts_from, opening: cap.opening.clone() })
}

fn simple_base(base: &measure::Base, contract: &super::Contract) -> Shape<Base> {
    if base.basis != Basis::Occurred || base.below_zero != BelowZero::Keep || base.above.is_some() {
        return Err("a base that is not what occurred, all of it");
    }
    let mut select = Vec::new();
    let mut filters: Vec<&Filter> = Vec::new();
    for selection in &base.select {
        if selection.valued_at.is_some() || !selection.filter.none.is_empty() {
            return Err("an exclusion or deemed price");
        }
        select.push(match &selection.of {
            Source::Charges => {
                if filters.iter().any(|other| other.overlaps(&selection.filter)) {
                    return Err("selections that share sales");
                }
                filters.push(&selection.filter);
                let named = selection.filter.all.iter();
                let named = named.map(|(attribute, values)| Some((simple_attribute(attribute)?, values.clone())));
                Selection::Charges(named.collect::<Option<ChargeFilter>>().ok_or("an attribute")?)
            }
            Source::Of(Measure::Figure(name)) if selection.filter == Filter::default() => {
                let definition = contract.versions.iter().find_map(|version| version.figures.get(name));
                let is_plain = definition.is_some_and(|it| {
                    it.kind == FigureKind::Flow
                        && it.about.is_empty()
                        && it.unit == Some(Unit::Currency(contract.head.currency))
                        && matches!(it.missing, measure::Missing::Stop | measure::Missing::Zero)
                });
                if !is_plain {
                    return Err("a figure that is no plain flow");
                }
                Selection::Figure(name.clone())
            }
            Source::Of(Measure::Accrual { contract, term, when: AccrualPlace::Owed })
                if selection.filter == Filter::default() =>
            {
                Selection::Accrual { contract: contract.clone(), term: term.clone() }
            }
            _ => return Err("a selection"),
        });
    }
    let less = base.less.iter().map(|less| match &less.what {
        Reduction::Deductions(categories) => Ok(Deductions {
            categories: categories.clone(),
            at: match less.at {
                Place::Item => DeductionPlace::Item,
                Place::OwnDate => DeductionPlace::OwnDate,
            },
        }),
        Reduction::Node(_) => Err("a reduction that is no deduction"),
    });
    let less: Vec<Deductions> = less.collect::<Shape<_>>()?;
    let parts = [Attribute::Meter, Attribute::ServiceTier];
    let by_part =
        |it: &Selection| matches!(it, Selection::Charges(filter) if parts.iter().any(|part| filter.contains_key(part)));
    if !less.is_empty() && select.iter().any(by_part) {
        return Err("a base that selects by meter or service_tier, with deductions,");
    }
    Ok(Base { name: base.name.clone(), select, less })
}

fn simple_attribute(attribute: &Named) -> Option<Attribute> {
    Some(match attribute {
        Named::Seller => Attribute::Seller,
        Named::Operator => Attribute::Operator,
        Named::Cloud => Attribute::Cloud,
        Named::Channel => Attribute::Channel,
        Named::Region => Attribute::Region,
        Named::Deployment => Attribute::Deployment,
        Named::Product => Attribute::Product,
        Named::Customer => Attribute::Customer,
        Named::ServiceTier => Attribute::ServiceTier,
        Named::Meter => Attribute::Meter,
        Named::Buyer | Named::BuyerClass | Named::Country | Named::Label | Named::Fact(_) => return None,
    })
}
