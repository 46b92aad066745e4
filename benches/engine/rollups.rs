//! Ten years of monthly rollups of 1,000 customers, and what is owed of them.

use crate::charges::{CLOUDS, PRODUCTS, agreement, draw, years};
use apportion::domain::contract::folder::Folder;
use apportion::domain::engine::feed::{Event, Known, Sum, Units, feed};
use apportion::domain::engine::owed::{self, Detail};
use apportion::domain::engine::stretches::Stretches;
use apportion::domain::ids::{ContractId, EventId};
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, Span};
use apportion::domain::price::PriceBook;
use apportion::domain::usage::{Meter, Quantities, UsageAttributes, UsageContent, UsageEvent, UsageSum};
use chrono::TimeDelta;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

const CUSTOMERS: u64 = 1000;

pub struct Rollups {
    folder: Folder,
    prices: PriceBook,
    units: Units,
    /// The stretches in which nothing changes, with the sums of each.
    stretches: Stretches,
    sums: Vec<Sum>,
}

impl Rollups {
    pub fn new() -> Self {
        let folder = agreement(true);
        let prices = PriceBook::new(folder.prices.iter().map(|it| it.price.clone()));
        let units = Units::of(&folder.contracts);
        let mut rollups = Self { folder, prices, units, stretches: Stretches::default(), sums: Vec::new() };
        let known = rollups.known(&[], &[]);
        let contract = &rollups.folder.contracts[0].head.id;
        let edges = owed::edges(&known, &feed(known), contract, years().end).expect("edges");
        rollups.stretches = Stretches::between(&edges);
        rollups.sums = rollups.stretches.summed.iter().flat_map(|span| sums(*span)).collect();
        rollups
    }

    /// What is owed in all: the product's way from rollups, which opens those that the cap cuts.
    pub fn owed(&self) -> Exact {
        let contract = &self.folder.contracts[0];
        let (mut stretches, mut sums_left) = (self.stretches.clone(), self.sums.clone());
        let mut opened: Vec<UsageEvent> = Vec::new();
        loop {
            let usage: Vec<Event<'_>> = opened.iter().map(Event::from).collect();
            let known = self.known(&usage, &sums_left);
            let run = owed::run(&known, &feed(known), &contract.head.id, years().end, Detail::Amounts).expect("a run");
            if run.unsure.is_empty() {
                let owed = run.owed(contract).expect("what is owed");
                return owed.into_values().flat_map(BTreeMap::into_values).sum();
            }
            sums_left.retain(|sum| !run.unsure.contains(&sum.usage.span));
            let finer = stretches.open(&run.unsure);
            sums_left.extend(finer.summed.iter().flat_map(|span| sums(*span)));
            opened.extend(finer.opened.iter().flat_map(|span| events(*span)));
        }
    }

    fn known<'a>(&'a self, usage: &'a [Event<'a>], sums: &'a [Sum]) -> Known<'a> {
        static NOTHING_HELD: BTreeMap<EventId, BTreeSet<ContractId>> = BTreeMap::new();
        Known {
            contracts: &self.folder.contracts,
            register: &self.folder.register,
            prices: &self.prices,
            rates: &[],
            usage,
            sums,
            records: &[],
            held: &NOTHING_HELD,
            units: &self.units,
            books_begin: years().start,
        }
    }
}

/// The usage of a stretch of time: an event a day of each customer.
fn events(span: Span) -> impl Iterator<Item = UsageEvent> {
    let days = |at: Instant| u64::try_from((at - years().start).num_days()).expect("it rises");
    let numbers = days(span.start) * CUSTOMERS..(days(span.end) + 1) * CUSTOMERS;
    numbers.map(event).filter(move |event| span.contains(event.content.occurred_at))
}

fn event(n: u64) -> UsageEvent {
    let (day, customer, drawn) = (n / CUSTOMERS, n % CUSTOMERS, draw(n));
    let second = day * 86_400 + drawn % 86_400;
    let place = |of: u64| usize::try_from(of % 3).expect("it is small");
    let content = UsageContent {
        occurred_at: years().start + TimeDelta::seconds(i64::try_from(second).expect("not so many")),
        ended_at: None,
        deployment: CLOUDS[place(customer)].1.to_owned(),
        product: PRODUCTS[place(customer / 3)].0.to_owned(),
        customer: format!("customer-{customer}"),
        service_tier: "default".to_owned(),
        outcome: None,
        attributes: UsageAttributes::new(),
        quantities: Quantities::from([(Meter::InputTokens, Decimal::from((drawn >> 20) % 8_000_000 + 1))]),
    };
    UsageEvent { id: EventId { source: "bench".to_owned(), id: format!("{n:012}") }, content }
}

/// The same, summed by customer.
fn sums(span: Span) -> Vec<Sum> {
    let mut found: BTreeMap<String, UsageSum> = BTreeMap::new();
    for UsageEvent { content, .. } in events(span) {
        let sum = found.entry(content.customer.clone()).or_insert_with(|| UsageSum {
            span,
            deployment: content.deployment,
            product: content.product,
            customer: content.customer,
            service_tier: content.service_tier,
            attributes: content.attributes,
            context_over: 0,
            quantities: BTreeMap::new(),
        });
        for (meter, quantity) in content.quantities {
            *sum.quantities.entry(meter).or_default() += &Exact::from(quantity);
        }
    }
    found.into_values().map(Sum::from).collect()
}
