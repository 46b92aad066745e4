//! What if: the same history under other documents, prices or volumes, each case beside the one that it differs from.

use super::Scenario;
use super::known::Known;
use super::path::{PathProblem, Paths};
use crate::domain::entry::What;
use crate::domain::money::Exact;
use crate::domain::price::{Narrowing, Price, RecordedPrice};
use crate::domain::record::RecordContent;
use crate::domain::usage::Meter;
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Something that a case is called by, such as a file's name.
#[derive(Clone, Debug)]
pub struct Named<T> {
    pub name: String,
    pub it: T,
}

/// What is to be compared with a scenario as it is given.
#[derive(Clone, Debug, Default)]
pub struct WhatIf {
    /// The scenario with other documents.
    pub against: Option<Named<Scenario>>,
    pub prices: Vec<Named<Paths>>,
    pub volumes: Vec<Named<Paths>>,
}

/// One of the scenarios that stand side by side.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub scenario: Scenario,
    /// The place of the case that it differs from: one under other documents from the same paths under the given
    /// ones, one with paths alone from the scenario as it is given.
    pub compared_with: Option<usize>,
}

/// What the scenario as it is given is called.
pub const AS_GIVEN: &str = "as given";

/// Every case that is asked for: each price path, or none, with each volume path, or none, under the given documents
/// and the others. The first is the scenario as it is given.
///
/// # Errors
/// The name of the first paths that do not fit the scenario, and why.
pub fn cases(given: Scenario, what_if: &WhatIf) -> Result<Vec<Case>, Named<PathProblem>> {
    let mut cases: Vec<Case> = Vec::new();
    for prices in std::iter::once(None).chain(what_if.prices.iter().map(Some)) {
        for volumes in std::iter::once(None).chain(what_if.volumes.iter().map(Some)) {
            let names: Vec<&str> = [prices, volumes].into_iter().flatten().map(|it| it.name.as_str()).collect();
            let place = cases.len();
            let name = if names.is_empty() { AS_GIVEN.to_owned() } else { names.join(", ") };
            let scenario = given.under(prices, volumes)?;
            cases.push(Case { name, scenario, compared_with: (place > 0).then_some(0) });
            if let Some(against) = &what_if.against {
                let name = std::iter::once(against.name.as_str()).chain(names).collect::<Vec<_>>().join(", ");
                let scenario = against.it.under(prices, volumes)?;
                cases.push(Case { name, scenario, compared_with: Some(place) });
            }
        }
    }
    Ok(cases)
}

impl Scenario {
    fn under(&self, prices: Option<&Named<Paths>>, volumes: Option<&Named<Paths>>) -> Result<Self, Named<PathProblem>> {
        let mut scenario = self.clone();
        let named = |name: &str, it| Named { name: name.to_owned(), it };
        if let Some(Named { name, it }) = prices {
            scenario.multiply_prices(it).map_err(|problem| named(name, problem))?;
        }
        if let Some(Named { name, it }) = volumes {
            scenario.multiply_volumes(it).map_err(|problem| named(name, problem))?;
        }
        Ok(scenario)
    }

    /// Puts in place of each price those that it is on its path, from month to month.
    fn multiply_prices(&mut self, paths: &Paths) -> Result<(), PathProblem> {
        let mut used = BTreeSet::new();
        let mut prices: Vec<RecordedPrice> = Vec::new();
        for (recorded_at, price) in &self.prices {
            let Some(place) = paths.place(|name| column(price, name)) else {
                prices.push((*recorded_at, price.clone()));
                continue;
            };
            used.insert(place);
            let stretches = paths.stretches(place);
            let ends = stretches.iter().skip(1).map(|next| next.from).chain([None]);
            for (stretch, end) in stretches.iter().zip(ends) {
                let from = price.from.max(stretch.from);
                let to = [price.to, end].into_iter().flatten().min();
                if from.zip(to).is_some_and(|(from, to)| from >= to) {
                    continue;
                }
                let amount = stretch.factor.times(price.amount);
                let amount =
                    amount.ok_or_else(|| PathProblem::TooManyDigits { what: format!("price \"{}\"", price.id) })?;
                prices.push((*recorded_at, Price { amount, from, to, ..price.clone() }));
            }
        }
        paths.check_used(used)?;
        self.prices = prices;
        Ok(())
    }

    /// Has what is known multiplied with volume paths: see [`multiply`].
    fn multiply_volumes(&mut self, paths: &Paths) -> Result<(), PathProblem> {
        let (bound, mut used) = (paths.bound(), BTreeSet::new());
        for entry in &self.entries {
            let place = |it: Option<(usize, _)>| it.map(|(place, _)| place);
            match &entry.what {
                What::Usage(usage) => {
                    let meters = usage.quantities.keys();
                    used.extend(meters.filter_map(|meter| place(paths.of_usage(usage, *meter))));
                }
                What::Record(RecordContent::Figure(figure)) => used.extend(place(paths.of_figure(figure))),
                What::Record(_) | What::Correction { .. } | What::Void { .. } => {}
            }
            // Whatever usage comes to be after its corrections, its quantities are among those that are stated.
            let is_held = |quantity: &Decimal| bound.times(*quantity).is_some();
            if !entry.quantities().values().all(is_held) {
                return Err(PathProblem::TooManyDigits { what: format!("a quantity of {}", entry.id) });
            }
        }
        paths.check_used(used)?;
        self.volumes = Some(paths.clone());
        Ok(())
    }

    /// How many deductions, receipts and billings stay as they are recorded under any path: their amounts are stated.
    pub fn stated_amounts(&self) -> usize {
        let is_stated = |what: &What| {
            matches!(
                what,
                What::Record(RecordContent::Deduction(_) | RecordContent::Receipt(_) | RecordContent::Billing(_))
            )
        };
        self.entries.iter().filter(|entry| is_stated(&entry.what)).count()
    }
}

/// A price by the columns of a price book that paths select by.
fn column<'p>(price: &'p Price, name: &str) -> Option<&'p str> {
    match (name, &price.narrowing) {
        ("product", _) => Some(price.product.as_str()),
        ("meter", _) => Some(price.meter.name()),
        ("service_tier", _) => Some(price.service_tier.as_str()),
        ("customer", Narrowing::Customer(it))
        | ("region", Narrowing::Region(it))
        | ("channel", Narrowing::Channel(it)) => Some(it),
        _ => None,
    }
}

/// Multiplies usage in the month in which it occurred, and figures in that of their last day.
pub(super) fn multiply(known: &mut Known, paths: &Paths) {
    for event in &mut known.usage {
        let content = &event.content;
        let times = |(meter, quantity): (&Meter, &Decimal)| {
            let factor = paths.of_usage(content, *meter).map(|(_, factor)| factor);
            // What does not fit was refused with the paths.
            (*meter, factor.and_then(|factor| factor.times(*quantity)).unwrap_or(*quantity))
        };
        event.content.quantities = content.quantities.iter().map(times).collect();
    }
    for record in &mut known.records {
        if let RecordContent::Figure(figure) = &mut record.content
            && let Some((_, factor)) = paths.of_figure(figure)
        {
            let amount: Exact = &figure.value.amount * &factor.exact();
            figure.value.amount = amount;
        }
    }
}
