//! What is known at an instant: records after corrections, voids and conflicts; and what the events cost then.

use crate::model::{FxRate, History, Micros, Name, Price, Q, Record, Restated, Usage, What, channel, seller, whole};
use num_traits::Zero;
use std::collections::BTreeSet;

/// A record that stands, as it stands.
pub struct Standing<'h> {
    pub source: Name,
    pub id: &'h str,
    pub what: What,
}

pub struct Known<'h> {
    pub records: Vec<Standing<'h>>,
    pub prices: Vec<&'h Price>,
    pub rates: Vec<&'h FxRate>,
}

/// Everything recorded at or before an instant.
pub fn known_at(history: &History, at: Micros) -> Known<'_> {
    let mut records: Vec<&Record> = history.records.iter().filter(|record| record.recorded_at <= at).collect();
    records.sort_by_key(|record| record.recorded_at);
    let mut first: BTreeSet<(Name, &str)> = BTreeSet::new();
    let mut in_order = Vec::new();
    for record in &records {
        let key = (record.source, record.id.as_str());
        // The same again is the same; other content never counts.
        if first.insert(key) {
            in_order.push(*record);
        }
    }
    let is_voided = |source: Name, id: &str| {
        in_order.iter().any(|it| it.source == source && matches!(&it.what, What::Void { of } if of == id))
    };
    let mut standing = Vec::new();
    for record in &in_order {
        if matches!(record.what, What::Correction { .. } | What::Void { .. }) || is_voided(record.source, &record.id) {
            continue;
        }
        let mut what = record.what.clone();
        for other in &in_order {
            if let What::Correction { of, restated } = &other.what
                && (other.source, of.as_str()) == (record.source, record.id.as_str())
                && !is_voided(other.source, &other.id)
            {
                restate(&mut what, restated);
            }
        }
        standing.push(Standing { source: record.source, id: &record.id, what });
    }
    let is_known = |recorded_at: Option<Micros>| recorded_at.is_none_or(|it| it <= at);
    let mut prices: Vec<&Price> = history.prices.iter().filter(|it| is_known(it.recorded_at)).collect();
    prices.sort_by_key(|price| price.recorded_at);
    let mut rates: Vec<&FxRate> = history.rates.iter().filter(|it| is_known(it.recorded_at)).collect();
    rates.sort_by_key(|rate| rate.recorded_at);
    Known { records: standing, prices, rates }
}

fn restate(what: &mut What, restated: &Restated) {
    match what {
        What::Usage(usage) => {
            usage.at = restated.at.unwrap_or(usage.at);
            usage.product = restated.product.unwrap_or(usage.product);
            usage.deployment = restated.deployment.unwrap_or(usage.deployment);
            if let Some((requests, tokens)) = &restated.quantities {
                (usage.requests, usage.tokens) = (requests.clone(), tokens.clone());
            }
        }
        What::Deduction { at, amount, .. } | What::Receipt { at, amount, .. } | What::Billing { at, amount, .. } => {
            *at = restated.at.unwrap_or(*at);
            *amount = restated.amount.clone().unwrap_or_else(|| amount.clone());
        }
        What::Figure { value, .. } => *value = restated.amount.clone().unwrap_or_else(|| value.clone()),
        What::Event { at, .. } => *at = restated.at.unwrap_or(*at),
        What::Status { at, until, .. } => {
            *at = restated.at.unwrap_or(*at);
            *until = restated.until.or(*until);
        }
        What::Decision { .. } | What::Correction { .. } | What::Void { .. } => {}
    }
}

pub const METERS: [Name; 2] = ["input_tokens", "requests"];

/// What something costs.
#[derive(Clone, Debug, PartialEq)]
pub enum Money {
    Unsold,
    NoPrice,
    Of(Q, Name),
}

impl Known<'_> {
    /// Meter, quantity and cost of everything that an event counts.
    pub fn charges(&self, usage: &Usage) -> Vec<(Name, Q, Money)> {
        let mut charges = Vec::new();
        for (meter, quantity) in METERS.into_iter().zip([&usage.tokens, &usage.requests]) {
            if quantity.is_zero() {
                continue;
            }
            let money = match (seller(usage.deployment), self.price(usage, meter)) {
                (None, _) => Money::Unsold,
                (Some(_), None) => Money::NoPrice,
                (Some(_), Some(price)) => Money::Of(quantity * &price.price, price.currency),
            };
            charges.push((meter, quantity.clone(), money));
        }
        charges
    }

    fn price(&self, usage: &Usage, meter: Name) -> Option<&Price> {
        let holds = |price: &&&Price| {
            price.product == usage.product
                && price.meter == meter
                && price.customer.is_none_or(|it| it == usage.customer)
                && price.channel.is_none_or(|it| it == channel(usage.deployment))
                && price.context_over.is_none_or(|over| usage.tokens > whole(over))
                && price.from.is_none_or(|from| from <= usage.at)
                && price.to.is_none_or(|to| usage.at < to)
        };
        // Of equals the last: `max_by_key` takes that one.
        let found = self.prices.iter().filter(holds);
        found.max_by_key(|it| (it.customer.is_some(), it.channel.is_some(), it.context_over)).copied()
    }
}

/// What stops a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Price,
    Fx,
}

impl Missing {
    pub fn code(self) -> &'static str {
        match self {
            Self::Price => "missing_price",
            Self::Fx => "missing_fx",
        }
    }
}
