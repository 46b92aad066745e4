//! Findings: which usage breaks a right, decided by where and when it ran (CONTRACTS section 5).

use super::contract::Contract;
use super::contract::rights::{OnBreach, RightKind, Stretch, allowed_elsewhere, right_ids, stretches};
use super::contract::selector::{Attribute, Values, in_words};
use super::ids::{ContractId, DeploymentId, EventId, PartyId, ProductId, TermId};
use super::money::{Currency, Exact};
use super::names::names;
use super::period::{Instant, Span, Timeline, end_of_day_exclusive, local_date, start_of_day};
use super::price::PriceBook;
use super::rating::{Charge, UsageRollup, rate};
use super::record::Fact;
use super::register::{Deployment, Register};
use super::usage::Meter;
use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A stretch of time in which usage of a product at a deployment breaks a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Breach {
    pub contract: ContractId,
    pub right: TermId,
    pub version: u32,
    pub deployment: DeploymentId,
    pub product: ProductId,
    pub span: Span,
    pub on_breach: OnBreach,
    pub why: Why,
}

/// How usage breaks a right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Why {
    /// It is not, or not long enough, on the cloud that comes first.
    NotFirst {
        first: String,
        on: String,
        #[cfg_attr(feature = "service", schema(value_type = Option<String>, format = DateTime))]
        released_at: Option<Instant>,
        #[cfg_attr(feature = "service", schema(value_type = Option<String>, format = DateTime))]
        allowed_from: Option<Instant>,
    },
    /// It is outside of the only place.
    Elsewhere { only: String },
    /// The licensee runs it while the licence is not in force.
    Unlicensed { licensee: PartyId },
    /// Someone else runs it while the licence is exclusive.
    LicensedAlone { licensee: PartyId, operator: PartyId },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFirst { first, on, released_at: None, .. } => {
                write!(f, "on {on} without a release on {first} or a waiver")
            }
            Self::NotFirst { first, on, released_at: Some(released_at), allowed_from } => {
                write!(f, "on {on} too early: released on {first} at {released_at}")?;
                let later = allowed_from.filter(|from| from != released_at);
                later.map_or(Ok(()), |from| write!(f, ", allowed elsewhere from {from}"))
            }
            Self::Elsewhere { only } => write!(f, "elsewhere than on {only} alone"),
            Self::Unlicensed { licensee } => write!(f, "run by {licensee} outside of its licence"),
            Self::LicensedAlone { licensee, operator } => {
                write!(f, "run by {operator} while {licensee}'s licence is exclusive")
            }
        }
    }
}

/// Every stretch of a span in which usage breaks a right of a contract, by right, product, deployment and time.
///
/// Exact: usage that lies in one is a finding, and no other usage is. No event is needed to say so.
pub fn breaches(contract: &Contract, register: &Register, facts: &[Fact], within: Span) -> Vec<Breach> {
    let mut found = Vec::new();
    for id in right_ids(contract) {
        for stretch in stretches(contract, id, facts, within) {
            for product in &stretch.right.products {
                for (deployment_id, deployment) in &register.deployments {
                    for (span, why) in broken(contract, &stretch, product, (deployment_id, deployment), register, facts)
                    {
                        found.push(Breach {
                            contract: contract.head.id.clone(),
                            right: id.clone(),
                            version: stretch.version,
                            deployment: deployment_id.clone(),
                            product: product.clone(),
                            span,
                            on_breach: stretch.right.on_breach,
                            why,
                        });
                    }
                }
            }
        }
    }
    found
}

/// When in a stretch usage of a product at a deployment breaks the right, and how.
fn broken(
    contract: &Contract,
    stretch: &Stretch<'_>,
    product: &ProductId,
    (id, deployment): (&DeploymentId, &Deployment),
    register: &Register,
    facts: &[Fact],
) -> Vec<(Span, Why)> {
    let whole = |why| vec![(stretch.span, why)];
    match &stretch.right.kind {
        RightKind::First { cloud, .. } if stretch.in_force && deployment.cloud != *cloud => {
            let (head, right) = (&contract.head, stretch.right);
            let Some(allowed) = allowed_elsewhere(&head.id, head.zone, right, product, register, facts) else {
                return Vec::new();
            };
            let why = Why::NotFirst {
                first: cloud.clone(),
                on: deployment.cloud.clone(),
                released_at: allowed.released_at,
                allowed_from: allowed.from,
            };
            allowed.rest_of(stretch.span).into_iter().map(|span| (span, why.clone())).collect()
        }
        RightKind::Only(filter) if stretch.in_force && !is_at(filter, id, deployment) => {
            whole(Why::Elsewhere { only: in_words(filter) })
        }
        RightKind::Licence { licensee, .. } if deployment.operator == *licensee => match stretch.in_force {
            true => Vec::new(),
            false => whole(Why::Unlicensed { licensee: licensee.clone() }),
        },
        RightKind::Licence { licensor, licensee, exclusive: true }
            if stretch.in_force && deployment.operator != *licensor =>
        {
            whole(Why::LicensedAlone { licensee: licensee.clone(), operator: deployment.operator.clone() })
        }
        RightKind::First { .. } | RightKind::Only(_) | RightKind::Licence { .. } => Vec::new(),
    }
}

/// Whether a deployment is in the only place that a right allows.
fn is_at(filter: &Values, id: &DeploymentId, deployment: &Deployment) -> bool {
    filter.iter().all(|(attribute, values)| {
        let value = match attribute {
            Attribute::Seller => deployment.seller.as_ref().map(PartyId::as_str).unwrap_or_default(),
            Attribute::Operator => deployment.operator.as_str(),
            Attribute::Cloud => &deployment.cloud,
            Attribute::Channel => &deployment.channel,
            Attribute::Region => &deployment.region,
            Attribute::Deployment => id.as_str(),
            // The reader of rights refuses all others.
            _ => return true,
        };
        values.iter().any(|it| it == value)
    })
}

names! {
    /// What people decide on a group of findings.
    Verdict as "verdict" {
        /// What is held counts at its place.
        Release = "release",
        /// What is held never counts.
        Reject = "reject",
    }
}

/// What one group of findings is about: people look at and decide on a right, product, deployment and day at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct GroupKey {
    pub contract: ContractId,
    pub right: TermId,
    pub product: ProductId,
    pub deployment: DeploymentId,
    /// Local to the contract's zone.
    pub day: NaiveDate,
}

impl GroupKey {
    /// A short name for it: the same for ever, and of no other group.
    pub fn id(&self) -> String {
        let Self { contract, right, product, deployment, day } = self;
        let mut hasher = blake3::Hasher::new();
        for part in [contract.as_str(), right.as_str(), product.as_str(), deployment.as_str(), &day.to_string()] {
            // No name holds a NUL, so that no two groups read alike.
            hasher.update(part.as_bytes()).update(&[0]);
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }
}

/// The group of that id, if it is one of usage that breaks a right on one of these days, and the span of its day.
pub fn find_group(id: &str, breaches: &[Breach], days: &Days) -> Option<(GroupKey, Span)> {
    let places: BTreeSet<_> =
        breaches.iter().map(|it| (&it.contract, &it.right, &it.product, &it.deployment)).collect();
    places.into_iter().find_map(|(contract, right, product, deployment)| {
        let (contract, right) = (contract.clone(), right.clone());
        let mut key =
            GroupKey { contract, right, product: product.clone(), deployment: deployment.clone(), day: NaiveDate::MIN };
        days.spans().find_map(|(day, span)| {
            key.day = day;
            (key.id() == id).then(|| (key.clone(), span))
        })
    })
}

/// The local days in which something happened, however far they lie from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    spans: BTreeMap<Instant, (NaiveDate, Instant)>,
}

impl Days {
    /// Every day of a zone of which a part lies in one of these hours, each told by its first instant.
    pub fn of_hours(zone: Tz, hours: &[Instant]) -> Self {
        let last = |hour: Instant| hour.checked_add_signed(TimeDelta::minutes(59)).unwrap_or(hour);
        let days: BTreeSet<NaiveDate> =
            hours.iter().flat_map(|hour| [local_date(*hour, zone), local_date(last(*hour), zone)]).collect();
        let span = |day| (start_of_day(zone, day), (day, end_of_day_exclusive(zone, day)));
        Self { spans: days.into_iter().map(span).collect() }
    }

    pub fn starts(&self) -> impl Iterator<Item = Instant> {
        self.spans.keys().copied()
    }

    pub fn spans(&self) -> impl Iterator<Item = (NaiveDate, Span)> {
        self.spans.iter().map(|(start, (day, end))| (*day, Span { start: *start, end: *end }))
    }

    /// The days and what lies between them, cut at every instant of `cuts` too.
    pub fn timeline(&self, cuts: impl Iterator<Item = Instant>) -> Timeline {
        let begin = self.starts().next().unwrap_or(Instant::UNIX_EPOCH);
        let ends = self.spans.values().map(|(_, end)| *end);
        let end = ends.clone().next_back().unwrap_or(begin);
        Timeline::new(begin, end, self.starts().chain(ends).chain(cuts))
    }

    /// The day in which an instant lies, if it is one of these.
    pub fn day_at(&self, at: Instant) -> Option<NaiveDate> {
        let (_, (day, end)) = self.spans.range(..=at).next_back()?;
        (at < *end).then_some(*day)
    }
}

/// Usage of one segment that breaks a right, summed, and that nobody has decided on.
#[derive(Clone, Debug)]
pub struct OpenUsage {
    pub right: TermId,
    pub usage: UsageRollup,
}

/// The events of a day that break a right and that nobody has decided on.
#[derive(Clone, Debug)]
pub struct OpenEvents {
    pub right: TermId,
    pub deployment: DeploymentId,
    pub product: ProductId,
    /// At or after the first instant of the day.
    pub first_at: Instant,
    pub last_at: Instant,
    pub events: i64,
}

/// A group of findings on which nobody has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Finding {
    pub id: String,
    #[serde(flatten)]
    pub key: GroupKey,
    /// `hold` while the usage is left out of the contract's bases.
    pub on_breach: OnBreach,
    /// How the usage breaks the right.
    pub why: Vec<String>,
    pub breaches: Vec<Breach>,
    pub events: i64,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub first_at: Instant,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub last_at: Instant,
    #[cfg_attr(feature = "service", schema(value_type = BTreeMap<String, Exact>))]
    pub quantities: BTreeMap<Meter, Exact>,
    /// What is charged for it; nothing for what nobody charges.
    #[cfg_attr(feature = "service", schema(value_type = BTreeMap<String, Exact>))]
    pub amounts: BTreeMap<Currency, Exact>,
    /// Some of it has no price, so that the amounts are too low.
    pub unpriced: bool,
}

/// A group of findings that was open and is no more, though nobody decided: it no longer breaks the right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// As it was known before, with what of it has ended.
    pub finding: Finding,
    /// The facts about its product that were recorded since; none where a correction or a new version ended it.
    pub facts: Vec<EventId>,
}

/// Groups the usage that breaks the rights of a contract, as it was loaded for `breaches`.
pub fn findings(
    contract: &ContractId,
    breaches: &[Breach],
    events: &[OpenEvents],
    usage: &[OpenUsage],
    rated: &Rated<'_>,
) -> Vec<Finding> {
    let key = |right: &TermId, product: &ProductId, deployment: &DeploymentId, at| {
        let day = rated.days.day_at(at)?;
        let (right, product, deployment) = (right.clone(), product.clone(), deployment.clone());
        Some(GroupKey { contract: contract.clone(), right, product, deployment, day })
    };
    let mut charges: BTreeMap<GroupKey, Vec<(&UsageRollup, Option<Charge>)>> = BTreeMap::new();
    let segments: Vec<Span> = rated.timeline.segments().collect();
    for OpenUsage { right, usage } in usage {
        let Some(at) = segments.get(usage.segment).map(|span| span.start) else { continue };
        let Some(key) = key(right, &usage.product, &usage.deployment, at) else { continue };
        let charge = rate(std::slice::from_ref(usage), rated.timeline, rated.register, rated.prices).pop();
        charges.entry(key).or_default().push((usage, charge));
    }
    let finding = |found: &OpenEvents| {
        let key = key(&found.right, &found.product, &found.deployment, found.first_at)?;
        let seen = Span { start: found.first_at, end: found.last_at };
        let of_group = |it: &&Breach| {
            (&it.right, &it.product, &it.deployment) == (&key.right, &key.product, &key.deployment)
                && it.span.start <= seen.end
                && seen.start < it.span.end
        };
        let breaches: Vec<Breach> = breaches.iter().filter(of_group).cloned().collect();
        let why: BTreeSet<&Why> = breaches.iter().map(|breach| &breach.why).collect();
        let mut finding = Finding {
            id: key.id(),
            on_breach: breaches.iter().map(|breach| breach.on_breach).max().unwrap_or_default(),
            why: why.into_iter().map(ToString::to_string).collect(),
            breaches,
            events: found.events,
            first_at: found.first_at,
            last_at: found.last_at,
            quantities: BTreeMap::new(),
            amounts: BTreeMap::new(),
            unpriced: false,
            key,
        };
        for (usage, charge) in charges.get(&finding.key).into_iter().flatten() {
            *finding.quantities.entry(usage.meter).or_default() += &usage.quantity;
            match charge.as_ref().map(|charge| &charge.rated) {
                Some(Some(rated)) => *finding.amounts.entry(rated.currency).or_default() += &rated.amount,
                Some(None) => finding.unpriced = true,
                None => {}
            }
        }
        Some(finding)
    };
    let mut found: Vec<Finding> = events.iter().filter_map(finding).collect();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// What usage is rated and told apart by.
#[derive(Clone, Copy)]
pub struct Rated<'a> {
    pub days: &'a Days,
    pub timeline: &'a Timeline,
    pub register: &'a Register,
    pub prices: &'a PriceBook,
}

/// How many events of a product at a deployment are held back from the bases of a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct HeldEvents {
    pub contract: ContractId,
    pub product: ProductId,
    pub deployment: DeploymentId,
    pub events: i64,
}
