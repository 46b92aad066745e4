//! Explains bases: what was drawn on, and the usage and records behind, by price.

use super::node::{Kind, Node, limited};
use super::recorder::{Origin, Told};
use super::{Depth, Explanation};
use crate::domain::calendar::Window;
use crate::domain::contract::measure::Measure;
use crate::domain::engine::addend::Addend;
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::ContractId;
use crate::domain::money::{Exact, Unit};
use crate::domain::statement::stream;
use std::collections::BTreeMap;

/// Where parts are looked for.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub contract: &'p ContractId,
    pub period: Window,
    pub unit: &'p Unit,
    /// Whether they are units, and no money.
    pub of_units: bool,
}

/// How much of something each that passed brought, by its number.
pub(super) type Passes = BTreeMap<u64, Exact>;

/// A part, and how much of it is asked for.
struct Piece<'r> {
    told: &'r Told,
    amount: Exact,
}

/// What tells parts apart that are summed: what and where, the meter, its price and unit, and how much of a charge counts.
type PartKey = (String, String, Option<(String, Option<(Exact, String, Exact)>)>);

impl Explanation<'_> {
    /// How much there was of a measure, and what that is made of: of the first of `passes` that come to as much, else of
    /// all that passed in the period.
    pub(super) fn base<const N: usize>(
        &self,
        place: Place<'_>,
        measure: &Measure,
        amount: &Exact,
        passes: [Passes; N],
    ) -> Node {
        let mut base = Node::new(Kind::Base, format!("of {measure}"), amount.clone(), &place.unit_shown());
        let some = passes.iter().find_map(|passes| exactly(amount, self.measure(place, measure, Some(passes))));
        let all = || exactly(amount, self.measure(place, measure, None));
        base.parts = some.or_else(all).unwrap_or_default();
        base
    }

    /// What a measure came to, of what passed.
    fn measure(&self, place: Place<'_>, measure: &Measure, passes: Option<&Passes>) -> Vec<Node> {
        let (of, name) = match measure {
            Measure::Accrual { contract, term, .. } => (contract, StreamName::Term(term.clone())),
            _ => (place.contract, stream(measure, place.unit)),
        };
        let told = self.recorded.parts(of, &name);
        let pieces = pieces(told, passes, place.period);
        if let Measure::Accrual { contract, term, .. } = measure {
            let amount: Exact = pieces.iter().map(|piece| piece.amount.clone()).sum();
            let accrued = self.contract(contract).map(|contract| self.accrued(contract, term, place.period));
            let same = accrued.filter(|node| node.amount == amount && node.unit == place.unit.to_string());
            let leaf = || Node::new(Kind::Accrued, measure.to_string(), amount, &place.unit_shown());
            return vec![same.unwrap_or_else(leaf)];
        }
        let place = Place { contract: of, ..place };
        let (made, others): (Vec<Piece<'_>>, Vec<Piece<'_>>) =
            pieces.into_iter().partition(|piece| !piece.told.addends.is_empty());
        let mut nodes = self.made(place, &name, made.iter().flat_map(Piece::addends));
        nodes.extend(self.parts(place, &others, passes));
        nodes
    }

    fn parts(&self, place: Place<'_>, pieces: &[Piece<'_>], passes: Option<&Passes>) -> Vec<Node> {
        let mut drawn: Vec<(&Measure, Exact, Passes)> = Vec::new();
        let mut own: BTreeMap<PartKey, Vec<&Piece<'_>>> = BTreeMap::new();
        for piece in pieces {
            let Some(measure) = &piece.told.of else {
                own.entry(key(piece, place)).or_default().push(piece);
                continue;
            };
            let place = drawn.iter().position(|(of, ..)| *of == measure).unwrap_or_else(|| {
                drawn.push((measure, Exact::zero(), Passes::new()));
                drawn.len().saturating_sub(1)
            });
            if let Some((_, amount, passes)) = drawn.get_mut(place) {
                *amount += &piece.amount;
                *passes.entry(piece.told.pass).or_default() += &piece.amount;
            }
        }
        let mut nodes = Vec::new();
        for (measure, amount, of_passes) in drawn {
            let of_passes = if passes.is_some() { of_passes } else { Passes::new() };
            nodes.push(self.base(place, measure, &amount, [of_passes]));
        }
        nodes.extend(own.into_iter().map(|(key, pieces)| self.part(key, &pieces, &place.unit_shown())));
        limited(nodes, self.question.limit)
    }

    /// Parts of one kind, place and price.
    fn part(&self, (what, place, meter): PartKey, pieces: &[&Piece<'_>], unit: &str) -> Node {
        let amount: Exact = pieces.iter().map(|piece| piece.amount.clone()).sum();
        let what = [what, place].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ");
        let Some((meter, priced)) = meter else {
            let mut node = Node::new(Kind::Base, what, amount, unit);
            node.parts = self.items(pieces, |piece| piece.amount.clone(), unit);
            return node;
        };
        let quantity = |piece: &Piece<'_>| match &piece.told.source {
            Origin::Usage { quantity, .. } => quantity.clone(),
            Origin::Record { .. } | Origin::Streams => piece.amount.clone(),
        };
        let items = self.items(pieces, quantity, &meter);
        let whole: Exact = pieces.iter().map(|piece| quantity(piece)).sum();
        let mut used = Node::new(Kind::Quantity, counted(pieces), whole, &meter);
        used.parts = items;
        let Some((price, of, counts)) = priced else {
            let mut node = Node::new(Kind::Base, what, amount, unit);
            node.factor = node.amount.checked_div(&used.amount).filter(|factor| *factor != Exact::from_integer(1));
            node.parts.extend((!used.amount.is_zero()).then_some(used));
            return node;
        };
        let charge = &used.amount * &price;
        let mut charged = Node::new(Kind::Price, format!("{what}: {meter} x price"), charge, &of);
        charged.factor = Some(price);
        charged.parts.push(used);
        if counts == Exact::from_integer(1) {
            return charged;
        }
        let why = if of == unit { "what of it counts" } else { "converted" };
        let mut node = Node::new(Kind::Counted, why, amount, unit);
        node.factor = Some(counts);
        node.parts.push(charged);
        node
    }

    fn items(&self, pieces: &[&Piece<'_>], amount: impl Fn(&Piece<'_>) -> Exact, unit: &str) -> Vec<Node> {
        if self.question.depth == Depth::Sums {
            return Vec::new();
        }
        let item = |piece: &&Piece<'_>| {
            let told = piece.told;
            let (kind, what) = match &told.source {
                Origin::Usage { id, .. } if id.is_empty() => (Kind::Usage, "usage summed from here".to_owned()),
                Origin::Usage { id, .. } => (Kind::Usage, id.clone()),
                Origin::Record { id } => (Kind::Record, id.clone()),
                Origin::Streams => (Kind::Cause, told.what.clone()),
            };
            let mut node = Node::new(kind, what, amount(piece), unit);
            node.at = Some(told.at);
            node
        };
        limited(pieces.iter().map(item).collect(), self.question.limit)
    }
}

impl Place<'_> {
    fn unit_shown(&self) -> String {
        if self.of_units { "units".to_owned() } else { self.unit.to_string() }
    }
}

impl Piece<'_> {
    /// What it is made of, as much of that as is asked for.
    fn addends(&self) -> impl Iterator<Item = (Option<u64>, Addend)> {
        let part = self.amount.checked_div(&self.told.amount);
        let part = part.unwrap_or_else(|| Exact::from_integer(1));
        let addends = self.told.addends.iter().cloned();
        addends.map(move |addend| {
            let (measured, counted) = (&addend.measured * &part, &addend.counted * &part);
            (Some(self.told.pass), Addend { measured, counted, ..addend })
        })
    }
}

/// As much of each part as is asked for of what passed with it: it may lie in several tiers, or be converted. Where
/// nothing is, all of a period.
fn pieces<'r>(told: &'r [Told], passes: Option<&Passes>, period: Window) -> Vec<Piece<'r>> {
    let Some(passes) = passes else {
        let of_period = told.iter().filter(|told| told.period == Some(period));
        return of_period.map(|told| Piece { told, amount: told.amount.clone() }).collect();
    };
    let mut wholes = Passes::new();
    for told in told.iter().filter(|told| passes.contains_key(&told.pass)) {
        *wholes.entry(told.pass).or_default() += &told.amount;
    }
    let piece = |told: &'r Told| {
        let part = passes.get(&told.pass)?.checked_div(wholes.get(&told.pass)?)?;
        Some(Piece { told, amount: &told.amount * &part })
    };
    told.iter().filter_map(piece).collect()
}

/// How many events and sums a quantity is of.
fn counted(pieces: &[&Piece<'_>]) -> String {
    let is_sum = |piece: &&&Piece<'_>| matches!(&piece.told.source, Origin::Usage { id, .. } if id.is_empty());
    let sums = pieces.iter().filter(is_sum).count();
    match (pieces.len().saturating_sub(sums), sums) {
        (events, 0) => format!("of {events} events"),
        (0, sums) => format!("of {sums} sums of usage"),
        (events, sums) => format!("of {events} events and {sums} sums of usage"),
    }
}

fn key(Piece { told, amount }: &Piece<'_>, place: Place<'_>) -> PartKey {
    let meter = match &told.source {
        Origin::Usage { meter, quantity, charge, .. } => {
            let charge = charge.as_ref().filter(|_| !place.of_units);
            let priced = charge.and_then(|(charge, unit)| {
                let counts = amount.checked_div(charge)?;
                Some((charge.checked_div(quantity)?, unit.to_string(), counts))
            });
            Some((meter.clone(), priced))
        }
        Origin::Record { .. } | Origin::Streams => None,
    };
    let is_usage = meter.is_some() && place.of_units;
    (if is_usage { "usage".to_owned() } else { told.what.clone() }, told.place.clone(), meter)
}

/// Parts that sum to an amount, and none others.
fn exactly(amount: &Exact, parts: Vec<Node>) -> Option<Vec<Node>> {
    let sum: Exact = parts.iter().map(|part| part.amount.clone()).sum();
    (sum == *amount).then_some(parts)
}
