//! Explains bases: what was drawn on, and the usage and records behind, by price.

use super::node::{Kind, Node, limited};
use super::recorder::{Accrual, Origin, Told};
use super::{Depth, Explanation};
use crate::domain::calendar::Window;
use crate::domain::contract::Contract;
use crate::domain::contract::measure::Measure;
use crate::domain::contract::term::Term;
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::ContractId;
use crate::domain::money::{Exact, Unit};
use crate::domain::statement::stream;
use std::collections::{BTreeMap, BTreeSet};

/// Lines of a term at one rate.
pub(super) struct Group<'g> {
    pub contract: &'g Contract,
    pub term: &'g Term,
    pub period: Window,
    pub unit: &'g Unit,
    pub lines: &'g [&'g Accrual],
}

/// Where parts are looked for.
#[derive(Clone, Copy)]
struct Place<'p> {
    contract: &'p ContractId,
    period: Window,
    unit: &'p Unit,
}

/// What tells parts apart that are summed: what and where, the meter, its price and unit, and how much of a charge counts.
type PartKey = (String, String, Option<(String, Option<(Exact, String, Exact)>)>);

impl Explanation<'_> {
    /// What the lines are of.
    pub(super) fn base(&self, group: Group<'_>) -> Node {
        let Group { contract, term, period, unit, lines } = group;
        let amount: Exact = lines.iter().map(|line| line.base.clone()).sum();
        let mut measures: Vec<&Measure> = Vec::new();
        for measure in term.node.iter().flat_map(|node| node.measures()) {
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        let names: Vec<String> = measures.iter().map(ToString::to_string).collect();
        let place = Place { contract: &contract.head.id, period, unit };
        let passes: Option<BTreeSet<u64>> = lines.iter().map(|line| line.pass).collect();
        let of_measures = |passes: Option<&BTreeSet<u64>>| -> Vec<Node> {
            measures.iter().flat_map(|measure| self.measure(place, measure, passes)).collect()
        };
        let mut base = Node::new(Kind::Base, format!("of {}", names.join(" and ")), amount, &unit.to_string());
        base.parts = exactly(&base.amount, of_measures(passes.as_ref()))
            .or_else(|| exactly(&base.amount, of_measures(None)))
            .unwrap_or_default();
        base
    }

    /// What a measure came to, of what passed.
    fn measure(&self, place: Place<'_>, measure: &Measure, passes: Option<&BTreeSet<u64>>) -> Vec<Node> {
        let (of, name) = match measure {
            Measure::Accrual { contract, term, .. } => (contract, StreamName::Term(term.clone())),
            _ => (place.contract, stream(measure, place.unit)),
        };
        let is_of = |told: &&Told| passes.is_none_or(|passes| passes.contains(&told.pass));
        let told: Vec<&Told> = self.recorded.parts(place.period, of, name).iter().filter(is_of).collect();
        let amount: Exact = told.iter().map(|told| told.amount.clone()).sum();
        if let Measure::Accrual { contract, term, .. } = measure {
            let accrued = self.contract(contract).map(|contract| self.accrued(contract, term, place.period));
            let same = accrued.filter(|node| node.amount == amount && node.unit == place.unit.to_string());
            let leaf = || Node::new(Kind::Accrued, measure.to_string(), amount, &place.unit.to_string());
            return vec![same.unwrap_or_else(leaf)];
        }
        self.parts(Place { contract: of, ..place }, &told, passes)
    }

    fn parts(&self, place: Place<'_>, told: &[&Told], passes: Option<&BTreeSet<u64>>) -> Vec<Node> {
        let unit = place.unit.to_string();
        let mut drawn: Vec<(&Measure, Exact)> = Vec::new();
        let mut own: BTreeMap<PartKey, Vec<&Told>> = BTreeMap::new();
        for part in told {
            match &part.of {
                Some(measure) => match drawn.iter_mut().find(|(of, _)| *of == measure) {
                    Some((_, amount)) => *amount += &part.amount,
                    None => drawn.push((measure, part.amount.clone())),
                },
                None => own.entry(key(part)).or_default().push(part),
            }
        }
        let mut nodes = Vec::new();
        for (measure, amount) in drawn {
            let of = Node::new(Kind::Base, format!("of {measure}"), amount, &unit);
            let parts = exactly(&of.amount, self.measure(place, measure, passes));
            nodes.push(Node { parts: parts.unwrap_or_default(), ..of });
        }
        nodes.extend(own.into_iter().map(|(key, told)| self.part(key, &told, &unit)));
        limited(nodes, self.question.limit)
    }

    /// Parts of one kind, place and price.
    fn part(&self, (what, place, meter): PartKey, told: &[&Told], unit: &str) -> Node {
        let amount: Exact = told.iter().map(|told| told.amount.clone()).sum();
        let what = [what, place].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ");
        let Some((meter, priced)) = meter else {
            let mut node = Node::new(Kind::Base, what, amount, unit);
            node.parts = self.items(told, |told| told.amount.clone(), unit);
            return node;
        };
        let quantity = |told: &Told| match &told.source {
            Origin::Usage { quantity, .. } => quantity.clone(),
            Origin::Record { .. } | Origin::Streams => told.amount.clone(),
        };
        let items = self.items(told, quantity, &meter);
        let whole: Exact = told.iter().map(|told| quantity(told)).sum();
        let mut used = Node::new(Kind::Quantity, counted(told), whole, &meter);
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

    fn items(&self, told: &[&Told], amount: impl Fn(&Told) -> Exact, unit: &str) -> Vec<Node> {
        if self.question.depth == Depth::Sums {
            return Vec::new();
        }
        let item = |told: &&Told| {
            let (kind, what) = match &told.source {
                Origin::Usage { id, .. } if id.is_empty() => (Kind::Usage, "usage summed from here".to_owned()),
                Origin::Usage { id, .. } => (Kind::Usage, id.clone()),
                Origin::Record { id } => (Kind::Record, id.clone()),
                Origin::Streams => (Kind::Cause, told.what.clone()),
            };
            let mut node = Node::new(kind, what, amount(told), unit);
            node.at = Some(told.at);
            node
        };
        limited(told.iter().map(item).collect(), self.question.limit)
    }
}

/// How many events and sums a quantity is of.
fn counted(told: &[&Told]) -> String {
    let is_sum = |told: &&&Told| matches!(&told.source, Origin::Usage { id, .. } if id.is_empty());
    let sums = told.iter().filter(is_sum).count();
    match (told.len().saturating_sub(sums), sums) {
        (events, 0) => format!("of {events} events"),
        (0, sums) => format!("of {sums} sums of usage"),
        (events, sums) => format!("of {events} events and {sums} sums of usage"),
    }
}

fn key(told: &Told) -> PartKey {
    let meter = match &told.source {
        Origin::Usage { meter, quantity, charge, .. } => {
            let priced = charge.as_ref().and_then(|(charge, unit)| {
                let counts = told.amount.checked_div(charge)?;
                Some((charge.checked_div(quantity)?, unit.to_string(), counts))
            });
            Some((meter.clone(), priced))
        }
        Origin::Record { .. } | Origin::Streams => None,
    };
    (told.what.clone(), told.place.clone(), meter)
}

/// Parts that sum to an amount, and none others.
fn exactly(amount: &Exact, parts: Vec<Node>) -> Option<Vec<Node>> {
    let sum: Exact = parts.iter().map(|part| part.amount.clone()).sum();
    (sum == *amount).then_some(parts)
}
