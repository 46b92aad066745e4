//! Explains bases: what was drawn on, and the usage and records behind, by price.

use super::node::{Kind, Node, limited};
use super::recorder::{Origin, Told};
use super::{Depth, Explanation};
use crate::domain::calendar::Window;
use crate::domain::contract::Version;
use crate::domain::contract::measure::Measure;
use crate::domain::engine::addend::{Addend, Passes};
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::ContractId;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Instant;
use crate::domain::statement::stream;
use std::collections::BTreeMap;

/// Of what parts are looked for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    pub contract: &'s ContractId,
    pub period: Window,
    pub unit: &'s Unit,
    /// Whose words say what is measured.
    pub version: Option<&'s Version>,
    /// Whether it is a plain number that is told.
    pub is_number: bool,
}

/// A part, and which share of it is asked for: it may lie in several tiers, or be taken back.
struct Piece<'r> {
    told: &'r Told,
    share: Exact,
    amount: Exact,
}

/// What tells parts apart that are summed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    what: String,
    place: String,
    /// Which share of them is asked for.
    share: Exact,
    meter: Option<(String, Option<Priced>)>,
}

/// At which price, in which unit, and how much of a charge counts, and why.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Priced {
    price: Exact,
    unit: String,
    counts: Exact,
    why: String,
}

impl Explanation<'_> {
    /// How much there was of a measure, and what that is made of, where it is known what passed.
    pub(super) fn base(&self, scope: Scope<'_>, measure: &Measure, amount: &Exact, passes: &Passes) -> Node {
        let scope = Scope { is_number: scope.version.is_some_and(|version| version.is_number(measure)), ..scope };
        let mut base = Node::new(Kind::Base, format!("of {measure}"), amount.clone(), &scope.shown());
        let (of, name) = match measure {
            Measure::Accrual { contract, term, .. } => (contract, StreamName::Term(term.clone())),
            _ => (scope.contract, stream(measure, scope.unit)),
        };
        let Some(told) = self.recorded.parts(of, &name) else { return base };
        if sum(passes.values()) != *amount {
            return base;
        }
        if let Some(unit) = converted_from(told, passes, scope.unit) {
            base.parts = self.converted((scope, unit), measure, (told, passes));
            return base;
        }
        let pieces = pieces_of(told, passes);
        if sum(pieces.iter().map(|piece| &piece.amount)) != *amount {
            return base;
        }
        if let Measure::Accrual { contract, term, .. } = measure {
            let accrued = self.contract(contract).map(|contract| self.accrued(contract, term, scope.period));
            base.parts.extend(accrued.filter(|node| node.amount == *amount && node.unit == scope.shown()));
            return base;
        }
        let (made, others): (Vec<Piece<'_>>, Vec<Piece<'_>>) =
            pieces.into_iter().partition(|piece| !piece.told.addends.is_empty());
        base.parts = self.made(scope, made.iter().flat_map(Piece::addends));
        base.parts.extend(self.parts(scope, &others));
        base
    }

    /// What is in another unit, by the rate of exchange.
    fn converted(
        &self,
        (scope, unit): (Scope<'_>, &Unit),
        measure: &Measure,
        (told, passes): (&BTreeMap<u64, Vec<Told>>, &Passes),
    ) -> Vec<Node> {
        let mut by_rate: BTreeMap<(Exact, String), Passes> = BTreeMap::new();
        for (pass, amount) in passes {
            let told = told.get(pass).map(Vec::as_slice).unwrap_or_default();
            let own = sum(told.iter().map(|told| &told.amount));
            if let (Some(rate), Some(first)) = (amount.checked_div(&own), told.first()) {
                let why = self.why_counted(scope, (unit, &rate), first.at);
                by_rate.entry((rate, why)).or_default().insert(*pass, own);
            }
        }
        let own_scope = Scope { unit, ..scope };
        let node = |((rate, why), passes): ((Exact, String), Passes)| {
            let base = self.base(own_scope, measure, &sum(passes.values()), &passes);
            let mut node = Node::new(Kind::Counted, why, &base.amount * &rate, &scope.shown());
            node.factor = Some(rate);
            node.parts.push(base);
            node
        };
        limited(by_rate.into_iter().map(node).collect(), self.question.limit)
    }

    /// Why so much of an amount in some unit counts: with which rate of exchange it was converted.
    fn why_counted(&self, scope: Scope<'_>, (unit, rate): (&Unit, &Exact), at: Instant) -> String {
        if unit == scope.unit {
            return "what of it counts".to_owned();
        }
        let agreement = self.contract(scope.contract).zip(scope.version);
        let found = agreement.and_then(|of| self.knowledge.conversion(of, (unit, scope.unit), at).ok());
        let found = found.filter(|found| found.rate == *rate).map(|found| format!(": {found}"));
        format!("converted{}", found.unwrap_or_default())
    }

    fn parts(&self, scope: Scope<'_>, pieces: &[Piece<'_>]) -> Vec<Node> {
        let mut drawn: BTreeMap<&Measure, Passes> = BTreeMap::new();
        let mut own: BTreeMap<Alike, Vec<&Piece<'_>>> = BTreeMap::new();
        for piece in pieces {
            match &piece.told.of {
                Some(measure) => {
                    *drawn.entry(measure).or_default().entry(piece.told.pass).or_default() += &piece.amount;
                }
                None => own.entry(self.alike(piece, scope)).or_default().push(piece),
            }
        }
        let drawn = drawn.into_iter().map(|(measure, passes)| {
            let amount = sum(passes.values());
            self.base(scope, measure, &amount, &passes)
        });
        let own = own.into_iter().map(|(alike, pieces)| self.part(alike, &pieces, &scope.shown()));
        limited(drawn.chain(own).collect(), self.question.limit)
    }

    /// Parts of one kind, place and price.
    fn part(&self, Alike { what, place, share, meter }: Alike, pieces: &[&Piece<'_>], unit: &str) -> Node {
        let amount = sum(pieces.iter().map(|piece| &piece.told.amount));
        let what = [what, place].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ");
        let node = match meter {
            Some((meter, priced)) => self.usage((what, amount, unit), meter, priced, pieces),
            None => {
                let mut node = Node::new(Kind::Base, what, amount, unit);
                node.parts = self.items(pieces, |told| told.amount.clone(), unit);
                node
            }
        };
        counting(node, share, "what of it counts", unit)
    }

    /// Usage of one meter, at one price.
    fn usage(
        &self,
        (what, amount, unit): (String, Exact, &str),
        meter: String,
        priced: Option<Priced>,
        pieces: &[&Piece<'_>],
    ) -> Node {
        let quantity = |told: &Told| match &told.source {
            Origin::Usage { quantity, .. } => quantity.clone(),
            Origin::Record { .. } | Origin::Streams => told.amount.clone(),
        };
        let whole: Exact = pieces.iter().map(|piece| quantity(piece.told)).sum();
        let mut used = Node::new(Kind::Quantity, counted(pieces), whole, &meter);
        used.parts = self.items(pieces, quantity, &meter);
        let Some(Priced { price, unit: of, counts, why }) = priced else {
            let mut node = Node::new(Kind::Base, what, amount, unit);
            node.factor = node.amount.checked_div(&used.amount).filter(|factor| *factor != Exact::from_integer(1));
            node.parts.extend((!used.amount.is_zero()).then_some(used));
            return node;
        };
        let charge = &used.amount * &price;
        let mut charged = Node::new(Kind::Price, format!("{what}: {meter} x price"), charge, &of);
        charged.factor = Some(price);
        charged.parts.push(used);
        counting(charged, counts, &why, unit)
    }

    fn alike(&self, Piece { told, share, .. }: &Piece<'_>, scope: Scope<'_>) -> Alike {
        let meter = match &told.source {
            Origin::Usage { meter, quantity, charge, .. } => {
                let priced = charge.as_ref().filter(|_| told.unit.is_some()).and_then(|(charge, unit)| {
                    let counts = told.amount.checked_div(charge)?;
                    let why = self.why_counted(scope, (unit, &counts), told.at);
                    Some(Priced { price: charge.checked_div(quantity)?, unit: unit.to_string(), counts, why })
                });
                Some((meter.clone(), priced))
            }
            Origin::Record { .. } | Origin::Streams => None,
        };
        Alike { what: told.what.clone(), place: told.place.clone(), share: share.clone(), meter }
    }

    fn items(&self, pieces: &[&Piece<'_>], amount: impl Fn(&Told) -> Exact, unit: &str) -> Vec<Node> {
        if self.question.depth == Depth::Sums {
            return Vec::new();
        }
        let item = |piece: &&Piece<'_>| {
            let told = piece.told;
            let (kind, what, at) = match &told.source {
                Origin::Usage { id, .. } if id.is_empty() => {
                    (Kind::Usage, "usage summed from here".to_owned(), told.at)
                }
                Origin::Usage { id, .. } => (Kind::Usage, id.clone(), told.at),
                Origin::Record { id, at } => (Kind::Record, id.clone(), *at),
                Origin::Streams => (Kind::Cause, told.what.clone(), told.at),
            };
            let mut node = Node::new(kind, what, amount(told), unit);
            node.at = Some(at);
            node
        };
        limited(pieces.iter().map(item).collect(), self.question.limit)
    }
}

impl Scope<'_> {
    /// The unit of what is told.
    pub fn shown(&self) -> String {
        if self.is_number { "units".to_owned() } else { self.unit.to_string() }
    }
}

impl Piece<'_> {
    /// What it is made of, as much of that as is asked for.
    fn addends(&self) -> impl Iterator<Item = Addend> {
        self.told.addends.iter().cloned().map(|mut addend| {
            addend.share(&self.share);
            addend
        })
    }
}

/// Of each that passed, as much as is asked for of what was told with it: never more than that.
fn pieces_of<'r>(told: &'r BTreeMap<u64, Vec<Told>>, passes: &Passes) -> Vec<Piece<'r>> {
    let one = Exact::from_integer(1);
    let mut pieces = Vec::new();
    for (pass, wanted) in passes {
        let Some(told) = told.get(pass) else { continue };
        let share = wanted.checked_div(&sum(told.iter().map(|told| &told.amount)));
        let Some(share) = share.filter(|share| !share.is_zero() && *share <= one && -share.clone() <= one) else {
            continue;
        };
        pieces.extend(told.iter().map(|told| Piece { told, share: share.clone(), amount: &told.amount * &share }));
    }
    pieces
}

/// The unit of all that passed, where that is another.
fn converted_from<'r>(told: &'r BTreeMap<u64, Vec<Told>>, passes: &Passes, unit: &Unit) -> Option<&'r Unit> {
    let mut units = passes.keys().filter_map(|pass| told.get(pass)).flatten().map(|told| told.unit.as_ref());
    let own = units.next().flatten().filter(|own| *own != unit)?;
    units.all(|other| other == Some(own)).then_some(own)
}

/// A part of what a node says, where not all of it counts.
fn counting(whole: Node, counts: Exact, why: &str, unit: &str) -> Node {
    if counts == Exact::from_integer(1) {
        return whole;
    }
    let mut node = Node::new(Kind::Counted, why, &whole.amount * &counts, unit);
    node.factor = Some(counts);
    node.parts.push(whole);
    node
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
