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
use std::iter::{once, once_with};

/// Of what parts are looked for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    pub contract: &'s ContractId,
    pub period: Window,
    pub unit: &'s Unit,
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
    pub(super) fn base(
        &self,
        scope: Scope<'_>,
        measure: &Measure,
        amount: &Exact,
        passes: impl Iterator<Item = Passes>,
    ) -> Node {
        let (of, name) = match measure {
            Measure::Accrual { contract, term, .. } => (contract, StreamName::Term(term.clone())),
            _ => (scope.contract, stream(measure, scope.unit)),
        };
        let told = self.recorded.parts(of, &name);
        let is_converted = matches!(measure, Measure::Accrual { .. } | Measure::Amount(_));
        let some = passes.map(|passes| pieces_of(told, &passes, is_converted));
        let all = told.iter().filter(|told| told.period == Some(scope.period));
        let all = once_with(|| all.map(|told| Piece { told, amount: told.amount.clone() }).collect::<Vec<_>>());
        let sums_up = |pieces: &Vec<Piece<'_>>| sum(pieces.iter().map(|piece| &piece.amount)) == *amount;
        let mut base = Node::new(Kind::Base, format!("of {measure}"), amount.clone(), &scope.shown());
        let Some(pieces) = some.chain(all).find(sums_up) else { return base };
        if let Measure::Accrual { contract, term, .. } = measure {
            let accrued = self.contract(contract).map(|contract| self.accrued(contract, term, scope.period));
            base.parts.extend(accrued.filter(|node| node.amount == *amount && node.unit == scope.shown()));
            return base;
        }
        let scope = Scope { contract: of, ..scope };
        let (made, others): (Vec<Piece<'_>>, Vec<Piece<'_>>) =
            pieces.into_iter().partition(|piece| !piece.told.addends.is_empty());
        base.parts = self.made(scope, &name, made.iter().flat_map(Piece::addends));
        base.parts.extend(self.parts(scope, &others));
        base
    }

    fn parts(&self, scope: Scope<'_>, pieces: &[Piece<'_>]) -> Vec<Node> {
        let mut drawn: Vec<(&Measure, Passes)> = Vec::new();
        let mut own: BTreeMap<PartKey, Vec<&Piece<'_>>> = BTreeMap::new();
        for piece in pieces {
            let Some(measure) = &piece.told.of else {
                own.entry(key(piece, scope)).or_default().push(piece);
                continue;
            };
            let found = drawn.iter().position(|(of, _)| *of == measure).unwrap_or_else(|| {
                drawn.push((measure, Passes::new()));
                drawn.len().saturating_sub(1)
            });
            if let Some((_, passes)) = drawn.get_mut(found) {
                *passes.entry(piece.told.pass).or_default() += &piece.amount;
            }
        }
        let drawn = drawn.into_iter().map(|(measure, passes)| {
            let amount = sum(passes.values());
            self.base(scope, measure, &amount, once(passes))
        });
        let own = own.into_iter().map(|(key, pieces)| self.part(key, &pieces, &scope.shown()));
        limited(drawn.chain(own).collect(), self.question.limit)
    }

    /// Parts of one kind, place and price.
    fn part(&self, (what, place, meter): PartKey, pieces: &[&Piece<'_>], unit: &str) -> Node {
        let amount = sum(pieces.iter().map(|piece| &piece.amount));
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

impl Scope<'_> {
    /// The unit of what is told.
    pub fn shown(&self) -> String {
        if self.of_units { "units".to_owned() } else { self.unit.to_string() }
    }
}

impl Piece<'_> {
    /// What it is made of, as much of that as is asked for.
    fn addends(&self) -> impl Iterator<Item = (Option<u64>, Addend)> {
        let share = self.amount.checked_div(&self.told.amount);
        let share = share.unwrap_or_else(|| Exact::from_integer(1));
        let addends = self.told.addends.iter().cloned();
        addends.map(move |addend| {
            let (measured, counted) = (&addend.measured * &share, &addend.counted * &share);
            (Some(self.told.pass), Addend { measured, counted, ..addend })
        })
    }
}

/// As much of each part as is asked for of what passed with it: it may lie in several tiers, or be converted. Nothing
/// of what passed where the parts would have to be stretched to come to that.
fn pieces_of<'r>(told: &'r [Told], passes: &Passes, is_converted: bool) -> Vec<Piece<'r>> {
    let one = Exact::from_integer(1);
    let mut wholes = Passes::new();
    for told in told.iter().filter(|told| passes.contains_key(&told.pass)) {
        *wholes.entry(told.pass).or_default() += &told.amount;
    }
    let piece = |told: &'r Told| {
        let share = passes.get(&told.pass)?.checked_div(wholes.get(&told.pass)?)?;
        let is_part = !share.is_negative() && !share.is_zero() && (is_converted || share <= one);
        is_part.then(|| Piece { told, amount: &told.amount * &share })
    };
    told.iter().filter_map(piece).collect()
}

fn sum<'e>(amounts: impl Iterator<Item = &'e Exact>) -> Exact {
    amounts.cloned().sum()
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

fn key(Piece { told, amount }: &Piece<'_>, scope: Scope<'_>) -> PartKey {
    let meter = match &told.source {
        Origin::Usage { meter, quantity, charge, .. } => {
            let charge = charge.as_ref().filter(|_| !scope.of_units);
            let priced = charge.and_then(|(charge, unit)| {
                let counts = amount.checked_div(charge)?;
                Some((charge.checked_div(quantity)?, unit.to_string(), counts))
            });
            Some((meter.clone(), priced))
        }
        Origin::Record { .. } | Origin::Streams => None,
    };
    let is_usage = meter.is_some() && scope.of_units;
    (if is_usage { "usage".to_owned() } else { told.what.clone() }, told.place.clone(), meter)
}
