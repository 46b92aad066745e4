//! Rights: who may sell what first, alone, or at all; when each is in force, and which contradict each other.

use super::Version;
use super::selector::{Attribute, Values, in_words, overlap};
use super::term::Life;
use super::window::Moment;
use super::{Assumption, Clause, Contract};
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, ProductId, TermId};
use crate::domain::names::names;
use crate::domain::period::{Instant, Length, Span, Timeline};
use crate::domain::record::{Fact, first_fact, status_spans};
use crate::domain::register::Register;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// One right as data. Like a term it goes on through the versions under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Right {
    pub id: TermId,
    pub clause: Clause,
    pub kind: RightKind,
    pub products: Vec<ProductId>,
    pub life: Life,
    pub on_breach: OnBreach,
    /// What in it is not official.
    pub assumptions: Vec<Assumption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RightKind {
    /// Usage on another cloud has to wait for the release on this one and the lead time after it.
    First {
        cloud: String,
        lead: Length,
        /// The fact that tells of a release.
        release: DefinedTerm,
        /// The statuses under which nothing has to wait.
        waivers: Vec<DefinedTerm>,
    },
    /// Usage is where this matches, and nowhere else.
    Only(Values),
    /// The licensee may run the products while it is in force; while it is exclusive, nobody but the two may.
    Licence { licensor: PartyId, licensee: PartyId, exclusive: bool },
}

impl RightKind {
    /// The name in the database and what people read.
    pub fn name(&self) -> &'static str {
        match self {
            Self::First { .. } => "first_availability",
            Self::Only(_) => "exclusivity",
            Self::Licence { .. } => "licence",
        }
    }
}

names! {
    /// What follows from usage that breaks a right.
    #[derive(Default)]
    OnBreach as "consequence" {
        /// It is reported.
        #[default]
        Report = "report",
        /// It is left out of every base of the contract until someone decides.
        Hold = "hold",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// It happens once.
    Event,
    /// It holds from an instant until another.
    Status,
}

/// What a fact may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactAttribute {
    Product,
    Capability,
    Cloud,
    Channel,
    Region,
    Country,
    Deployment,
    Seller,
    Buyer,
    Customer,
    Label,
}

impl FactAttribute {
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Capability => "capability",
            Self::Cloud => "cloud",
            Self::Channel => "channel",
            Self::Region => "region",
            Self::Country => "country",
            Self::Deployment => "deployment",
            Self::Seller => "seller",
            Self::Buyer => "buyer",
            Self::Customer => "customer",
            Self::Label => "label",
        }
    }
}

impl fmt::Display for RightKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First { cloud, lead, .. } => write!(f, "first on {cloud}, elsewhere {lead} later"),
            Self::Only(filter) => write!(f, "only on {}", in_words(filter)),
            Self::Licence { licensor, licensee, exclusive } => {
                let exclusive = if *exclusive { "exclusive" } else { "not exclusive" };
                write!(f, "licence of {licensor} to {licensee}, {exclusive}")
            }
        }
    }
}

impl Right {
    /// From when until when its own dates and facts leave it in force; nothing before a fact that it waits for.
    fn own_span(&self, contract: &Contract, facts: &[Fact]) -> Span {
        let instant = |moment: &Moment| match moment {
            Moment::At(at) => Some(*at),
            Moment::Fact(name) => first_fact(facts, &contract.head.id, name, contract.skipped(name)),
        };
        let never = Instant::MAX_UTC;
        let start = self.life.from.iter().map(|it| instant(it).unwrap_or(never)).max().unwrap_or(Instant::MIN_UTC);
        let end = self.life.until.iter().filter_map(instant).min().unwrap_or(never);
        Span { start, end }
    }
}

/// A stretch of time in which nothing about a right changes.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    pub span: Span,
    pub version: u32,
    /// As the version in force states it; where that does not, as it was stated last, or first.
    pub right: &'a Right,
    pub in_force: bool,
}

/// How a right stands through a span, in the order of time; nothing where no version states it.
pub fn stretches<'a>(contract: &'a Contract, id: &TermId, facts: &[Fact], within: Span) -> Vec<Stretch<'a>> {
    fn stated<'a>(version: &'a Version, id: &TermId) -> Option<(u32, &'a Right)> {
        version.right(id).map(|right| (version.number, right))
    }
    let Some(first) = contract.versions.iter().find_map(|version| stated(version, id)) else { return Vec::new() };
    let mut cuts = vec![within.start];
    for version in &contract.versions {
        cuts.push(version.effective_at);
        if let Some(right) = version.right(id) {
            let own = right.own_span(contract, facts);
            cuts.extend([own.start, own.end]);
        }
    }
    let begin = contract.begins().map_or(within.start, |begins| begins.min(within.start));
    let mut last = first;
    let mut found: Vec<Stretch<'a>> = Vec::new();
    for span in Timeline::new(begin, within.end, cuts).segments() {
        let now = contract.in_force(span.start).and_then(|version| stated(version, id));
        last = now.unwrap_or(last);
        let (version, right) = last;
        let in_force = now.is_some() && right.own_span(contract, facts).contains(span.start);
        match found.last_mut().filter(|it| (it.version, it.in_force) == (version, in_force)) {
            Some(same) => same.span.end = span.end,
            None => found.push(Stretch { span, version, right, in_force }),
        }
    }
    let clip = |it: Stretch<'a>| Some(Stretch { span: it.span.intersection(within)?, ..it });
    found.into_iter().filter_map(clip).collect()
}

/// The names of the rights that any version of a contract states.
pub fn right_ids(contract: &Contract) -> BTreeSet<&TermId> {
    contract.versions.iter().flat_map(|version| &version.rights).map(|right| &right.id).collect()
}

/// From when on, and in which spans before, a product may be elsewhere than on the cloud that comes first.
pub struct Allowed {
    /// The earliest release on that cloud that is known.
    pub released_at: Option<Instant>,
    /// That and the lead time.
    pub from: Option<Instant>,
    pub waived: Vec<Span>,
}

/// What the facts of a contract allow elsewhere; `None` for a right of another kind.
pub fn allowed_elsewhere(
    contract: &ContractId,
    zone: Tz,
    right: &Right,
    product: &ProductId,
    register: &Register,
    facts: &[Fact],
) -> Option<Allowed> {
    let RightKind::First { cloud, lead, release, waivers } = &right.kind else { return None };
    let capabilities = register.products.get(product).map(|it| it.capabilities.as_slice()).unwrap_or_default();
    let about = |fact: &&Fact| fact.contract == *contract && fact.about.covers(product, capabilities, cloud);
    let releases = facts.iter().filter(about).filter(|fact| fact.name == *release).map(|fact| fact.at);
    let statuses: Vec<&Fact> = facts.iter().filter(about).filter(|fact| waivers.contains(&fact.name)).collect();
    let released_at = releases.min();
    let from = released_at.map(|at| lead.after(at, zone));
    Some(Allowed { released_at, from, waived: status_spans(&statuses) })
}

/// Two rights that are in force at once and cannot both be met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RightsConflict {
    pub rights: [RightInVersion; 2],
    pub products: Vec<ProductId>,
    pub span: Span,
}

/// A right as a version states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RightInVersion {
    pub contract: ContractId,
    pub right: TermId,
    pub version: u32,
}

/// The rights of different contracts that contradict each other, as far as the facts do not settle it.
///
/// Two rights do if no place is allowed by both: the only clouds of one are none of the other's, or one
/// allows only clouds among which is not the one that comes first by the other.
pub fn conflicts(contracts: &[Contract], register: &Register, facts: &[Fact]) -> Vec<RightsConflict> {
    let begin = contracts.iter().filter_map(Contract::begins).min();
    let Some(within) = begin.map(|start| Span { start, end: Instant::MAX_UTC }) else { return Vec::new() };
    let all: Vec<(&Contract, Stretch<'_>)> = contracts
        .iter()
        .flat_map(|contract| right_ids(contract).into_iter().map(move |id| (contract, id)))
        .flat_map(|(contract, id)| stretches(contract, id, facts, within).into_iter().map(move |it| (contract, it)))
        .filter(|(_, stretch)| stretch.in_force)
        .collect();
    let mut found: Vec<RightsConflict> = Vec::new();
    for (place, (contract, mine)) in all.iter().enumerate() {
        let others = all.iter().skip(place.saturating_add(1)).filter(|(other, _)| other.head.id != contract.head.id);
        for (other, theirs) in others {
            let Some(both) = mine.span.intersection(theirs.span) else { continue };
            for product in mine.right.products.iter().filter(|it| theirs.right.products.contains(it)) {
                let pair = [(*contract, mine), (*other, theirs)];
                for span in contradiction(pair, product, both, register, facts) {
                    let of = |(contract, stretch): (&Contract, &Stretch<'_>)| RightInVersion {
                        contract: contract.head.id.clone(),
                        right: stretch.right.id.clone(),
                        version: stretch.version,
                    };
                    let rights = pair.map(of);
                    match found.iter_mut().find(|it| it.rights == rights && it.span == span) {
                        Some(same) => same.products.push(product.clone()),
                        None => found.push(RightsConflict { rights, products: vec![product.clone()], span }),
                    }
                }
            }
        }
    }
    found
}

/// When two rights in force, in one span, cannot both be met for a product.
fn contradiction(
    pair: [(&Contract, &Stretch<'_>); 2],
    product: &ProductId,
    both: Span,
    register: &Register,
    facts: &[Fact],
) -> Vec<Span> {
    let [(contract, mine), (other, theirs)] = pair;
    if let (Some(a), Some(b)) = (places(&mine.right.kind), places(&theirs.right.kind)) {
        return if overlap(&a, &b) { Vec::new() } else { vec![both] };
    }
    let first = |contract: &Contract, right: &Right, only: &Right| -> Option<Vec<Span>> {
        let RightKind::First { cloud, .. } = &right.kind else { return None };
        let on_first = Values::from([(Attribute::Cloud, vec![cloud.clone()])]);
        if overlap(&on_first, &places(&only.kind)?) {
            return None;
        }
        let head = &contract.head;
        let allowed = allowed_elsewhere(&head.id, head.zone, right, product, register, facts)?;
        Some(allowed.rest_of(both))
    };
    let found = first(contract, mine.right, theirs.right).or_else(|| first(other, theirs.right, mine.right));
    found.unwrap_or_default()
}

/// Where alone a right lets usage be; `None` for one that only orders it.
fn places(kind: &RightKind) -> Option<Values> {
    match kind {
        RightKind::Only(filter) => Some(filter.clone()),
        RightKind::Licence { licensor, licensee, exclusive: true } => {
            let operators = [licensor, licensee].map(ToString::to_string);
            Some(Values::from([(Attribute::Operator, operators.to_vec())]))
        }
        RightKind::Licence { exclusive: false, .. } | RightKind::First { .. } => None,
    }
}

impl Allowed {
    /// What of a span is not allowed.
    pub fn rest_of(&self, span: Span) -> Vec<Span> {
        let released = self.from.map(|start| Span { start, end: Instant::MAX_UTC });
        let allowed = self.waived.iter().copied().chain(released);
        allowed.fold(vec![span], |rest, taken| rest.iter().flat_map(|it| it.without(taken)).collect())
    }
}
