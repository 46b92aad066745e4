//! Random histories under random agreements: a seed draws one.

use crate::agreements::{DAY, Setting, contract, setting};
use crate::draw::Draw;
use crate::model::{
    CATEGORIES, COUNTRIES, CUSTOMERS, Each, FxRate, History, Micros, Name, PRODUCTS, Price, Q, Record, Restated, Step,
    Usage, What, When, ratio, whole,
};
use crate::time::{at_of, start_of, window};
use chrono::Days;

const SOURCES: [Name; 2] = ["crm", "meter"];

struct World<'d> {
    draw: &'d mut Draw,
    setting: Setting,
    history: History,
    /// Instants beside which items like to fall.
    edges: Vec<Micros>,
    count: usize,
}

/// The history of a seed.
pub fn generate(seed: u64) -> History {
    let mut draw = Draw::new(seed);
    let setting = setting(&mut draw);
    let mut world = World { draw: &mut draw, setting, history: History::default(), edges: Vec::new(), count: 0 };
    let contracts = 1 + world.draw.place(3);
    for place in 0..contracts {
        let next = contract(world.draw, &world.setting, place, &world.history.contracts);
        world.history.contracts.push(next);
    }
    world.mark_edges();
    world.prices();
    world.rates();
    for _ in 0..world.draw.between(3, 22) {
        world.usage();
    }
    world.facts();
    world.figures();
    for _ in 0..world.draw.below(9) {
        world.about_usage();
    }
    for _ in 0..world.draw.below(6) {
        world.amend();
    }
    world.steps();
    world.history
}

impl World<'_> {
    fn start(&self) -> Micros {
        start_of(chrono_tz::UTC, self.setting.start)
    }

    fn mark_edges(&mut self) {
        for contract in &self.history.contracts {
            for version in &contract.versions {
                self.edges.push(at_of(contract.zone, version.effective));
                for term in &version.terms {
                    let dates = term.from.into_iter().chain(term.through.and_then(|it| it.succ_opt()));
                    self.edges.extend(dates.map(|date| at_of(contract.zone, When::Date(date))));
                }
            }
            for month in 1..10 {
                let date = self.setting.start + chrono::Months::new(month);
                self.edges.push(start_of(contract.zone, date));
            }
        }
    }

    fn instant(&mut self) -> Micros {
        if self.draw.chance(30) {
            return self.draw.pick(&self.edges) + self.draw.between(-1, 1);
        }
        self.start() + self.draw.between(-20, self.setting.days + 10) * DAY + self.draw.below(DAY)
    }

    fn recorded(&mut self, at: Micros) -> Micros {
        let days = if self.draw.chance(25) { self.draw.below(120) } else { 0 };
        at + days * DAY + self.draw.below(DAY)
    }

    fn id(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    fn record(&mut self, source: Name, id: String, recorded_at: Micros, what: What) {
        self.history.records.push(Record { source, id, recorded_at, what });
    }

    fn prices(&mut self) {
        let exact = |units: i64| ratio(units, 1_000_000_000_000_000);
        let currency = |product: Name| if product == "r" { "EUR" } else { "USD" };
        for product in PRODUCTS {
            for (meter, price) in
                [("requests", whole(1)), ("input_tokens", exact(self.draw.between(1, 900_000_000_000_000)))]
            {
                // What has no price stops the settlement.
                if self.draw.chance(1) {
                    continue;
                }
                let id = self.id("price");
                let (from, to, recorded_at) = (None, None, None);
                let (customer, channel, context_over) = (None, None, None);
                let currency = currency(product);
                let price = Price {
                    id,
                    product,
                    meter,
                    customer,
                    channel,
                    context_over,
                    price,
                    currency,
                    from,
                    to,
                    recorded_at,
                };
                self.history.prices.push(price.clone());
                if self.draw.chance(30) {
                    let from = self.instant();
                    let named = self.draw.below(4);
                    let other = Price {
                        id: self.id("price"),
                        customer: (named == 0).then_some("c1"),
                        channel: (named == 1).then_some("market"),
                        context_over: self.draw.chance(30).then_some(50),
                        price: ratio(self.draw.between(0, 3000), 1000),
                        from: Some(from),
                        to: self.draw.chance(50).then_some(from + 40 * DAY),
                        recorded_at: self.draw.chance(50).then(|| self.recorded(from)),
                        ..price
                    };
                    self.history.prices.push(other);
                }
            }
        }
    }

    /// A rate a week, of which some come late or again.
    fn rates(&mut self) {
        let mut pairs: Vec<(Name, Name)> = Vec::new();
        for (place, contract) in self.history.contracts.iter().enumerate() {
            let passed_on = self.history.contracts.iter().take(place).map(|it| it.currency);
            pairs.extend(["USD", "EUR"].into_iter().chain(passed_on).map(|from| (from, contract.currency)));
        }
        pairs.sort_unstable();
        pairs.dedup();
        for (from, to) in pairs.into_iter().filter(|(from, to)| from != to) {
            let mut date = self.setting.start - Days::new(30);
            while date < self.setting.start + Days::new(480) {
                let rate = ratio(self.draw.between(5_000_000_000, 15_000_000_000), 10_000_000_000);
                let at = start_of(chrono_tz::UTC, date);
                let recorded_at = self.draw.chance(10).then(|| at + self.draw.below(90) * DAY);
                if !self.draw.chance(3) {
                    self.history.rates.push(FxRate { date, from, to, rate, recorded_at });
                }
                date = date + Days::new(7);
            }
        }
    }

    fn quantities(&mut self) -> (Q, Q) {
        let requests = match self.draw.below(4) {
            0 => whole(self.draw.between(1, 1500)),
            1 => ratio(self.draw.between(1, 99_999), 1000),
            2 => whole(self.draw.pick(&[1, 50, 100, 500, 600])),
            _ => whole(self.draw.between(1, 300)),
        };
        let tokens = if self.draw.chance(30) { whole(self.draw.pick(&[49, 50, 51, 700])) } else { whole(0) };
        (requests, tokens)
    }

    fn usage(&mut self) {
        let at = self.instant();
        let (requests, tokens) = self.quantities();
        let usage = Usage {
            at,
            deployment: self.draw.pick(&["direct", "direct", "hosted", "resold", "resold", "own-use"]),
            product: self.draw.pick(&PRODUCTS),
            customer: self.draw.pick(&CUSTOMERS),
            country: if self.draw.chance(70) { Some(self.draw.pick(&COUNTRIES)) } else { None },
            requests,
            tokens,
        };
        let (source, id, recorded_at) = (self.draw.pick(&SOURCES), self.id("u"), self.recorded(at));
        self.record(source, id.clone(), recorded_at, What::Usage(usage.clone()));
        if self.draw.chance(15) {
            // Two events may have one id at two sources, or one instant.
            let source = if source == "crm" { "meter" } else { "crm" };
            let recorded_at = self.recorded(at);
            self.record(source, id, recorded_at, What::Usage(usage));
        }
    }

    fn facts(&mut self) {
        for contract in 0..self.history.contracts.len() {
            for (name, most) in [("milestone", 2), ("launch", 2), ("sign-up", 4)] {
                for _ in 0..self.draw.below(most + 1) {
                    let (at, id) = (self.instant(), self.id("f"));
                    let recorded_at = self.recorded(at);
                    self.record("desk", id, recorded_at, What::Event { contract, name, at });
                }
            }
            for _ in 0..self.draw.below(2) {
                let (at, id) = (self.instant(), self.id("s"));
                let until = self.draw.chance(60).then(|| at + self.draw.between(1, 60) * DAY);
                let recorded_at = self.recorded(at);
                self.record("desk", id, recorded_at, What::Status { contract, name: "managed", at, until });
            }
        }
    }

    fn figures(&mut self) {
        for contract in 0..self.history.contracts.len() {
            let first = window(self.history.contracts[contract].period, self.setting.start);
            let mut period = first;
            for _ in 0..self.draw.below(4) {
                let through = period.end.pred_opt().expect("a day");
                let from = period.first.max(self.setting.start);
                let value = ratio(self.draw.between(-20_000, 60_000), 100);
                let (id, at) = (self.id("g"), start_of(chrono_tz::UTC, period.end));
                let recorded_at = self.recorded(at);
                let name = "Extra";
                self.record("books", id, recorded_at, What::Figure { contract, name, from, through, value });
                period = window(self.history.contracts[contract].period, period.end);
            }
        }
    }

    /// A refund, tax or receipt of something that was sold, or of nothing that it names.
    fn about_usage(&mut self) {
        let place = self.draw.place(self.history.records.len());
        let (source, of, usage) = match &self.history.records[place] {
            Record { source, id, what: What::Usage(usage), .. } => (*source, id.clone(), usage.clone()),
            Record { source, id, what: What::Billing { at, currency, .. }, .. } if self.draw.chance(50) => {
                let (source, of, currency) = (*source, id.clone(), *currency);
                let at = at + self.draw.below(40 * DAY);
                let (id, recorded_at) = (self.id("r"), self.recorded(at));
                let amount = ratio(self.draw.between(1, 20_000), 100);
                let what = What::Receipt { of, at, amount, currency };
                return self.record(source, id, recorded_at, what);
            }
            Record { source, id, what: What::Receipt { at, .. } | What::Billing { at, .. }, .. } => {
                let (source, id, at) = (*source, id.clone(), *at);
                let amount = ratio(self.draw.between(1, 10_000), 100);
                let what = What::Deduction {
                    of: Some(id),
                    sold: ("direct", "p", "c1"),
                    category: self.draw.pick(&CATEGORIES),
                    at: at + self.draw.below(40 * DAY),
                    amount,
                    currency: "USD",
                };
                let (id, recorded_at) = (self.id("d"), self.recorded(at + 41 * DAY));
                return self.record(source, id, recorded_at, what);
            }
            _ => return,
        };
        let contract = self.draw.place(self.history.contracts.len());
        if usage.product == "p"
            && !self.history.contracts[contract].versions[0].holds.is_empty()
            && self.draw.chance(40)
        {
            let (id, recorded_at) = (self.id("h"), self.recorded(usage.at));
            let (right, releases) = (self.draw.pick(&["keep", "keep-too"]), self.draw.chance(75));
            return self.record(source, id, recorded_at, What::Decision { contract, right, of, releases });
        }
        let currency = if usage.product == "r" { "EUR" } else { "USD" };
        let at = if self.draw.chance(15) { self.instant() } else { usage.at + self.draw.below(70 * DAY) };
        let recorded_at = self.recorded(at);
        let amount = ratio(self.draw.between(1, 20_000), 100);
        let what = if self.draw.chance(35) {
            What::Receipt { of, at, amount, currency }
        } else if self.draw.chance(25) {
            let of = self.draw.chance(70).then_some(of);
            What::Billing { of, sold: (usage.deployment, usage.product, usage.customer), at, amount, currency }
        } else {
            let is_named = self.draw.chance(80);
            What::Deduction {
                of: is_named.then_some(of),
                sold: (usage.deployment, usage.product, usage.customer),
                category: self.draw.pick(&CATEGORIES),
                at,
                amount,
                currency,
            }
        };
        let id = self.id(match what {
            What::Receipt { .. } => "r",
            What::Billing { .. } => "b",
            _ => "d",
        });
        self.record(source, id, recorded_at, what);
    }

    /// The same again, other content under a known id, a correction, or a void.
    fn amend(&mut self) {
        let place = self.draw.place(self.history.records.len());
        let record = self.history.records[place].clone();
        let recorded_at = record.recorded_at + self.draw.between(-5, 90) * DAY;
        match self.draw.below(6) {
            0 => self.record(record.source, record.id, recorded_at, record.what),
            1 => {
                if let What::Usage(usage) = record.what {
                    let (requests, tokens) = self.quantities();
                    let what = What::Usage(Usage { requests, tokens, ..usage });
                    self.record(record.source, record.id, recorded_at, what);
                }
            }
            2 => {
                if !matches!(record.what, What::Void { .. }) {
                    let id = self.id("v");
                    self.record(record.source, id, recorded_at, What::Void { of: record.id });
                }
            }
            _ => {
                let restated = match &record.what {
                    What::Usage(usage) => {
                        let moves = self.draw.chance(25);
                        Restated {
                            at: moves.then(|| self.instant()),
                            product: (usage.product == "p" && self.draw.chance(25)).then_some("q"),
                            deployment: self.draw.chance(20).then_some("direct"),
                            quantities: self.draw.chance(70).then(|| self.quantities()),
                            ..Restated::default()
                        }
                    }
                    What::Deduction { at, .. } | What::Receipt { at, .. } | What::Billing { at, .. } => {
                        let moved = self.draw.chance(30).then(|| at + self.draw.between(-10, 20) * DAY);
                        let amount = Some(ratio(self.draw.between(1, 9000), 100));
                        Restated { at: moved, amount, ..Restated::default() }
                    }
                    What::Figure { .. } => {
                        let amount = Some(ratio(self.draw.between(-9000, 9000), 100));
                        Restated { amount, ..Restated::default() }
                    }
                    What::Event { .. } => Restated { at: Some(self.instant()), ..Restated::default() },
                    What::Status { at, .. } => {
                        let until = Some(at + self.draw.between(1, 90) * DAY);
                        Restated { until, ..Restated::default() }
                    }
                    What::Decision { .. } | What::Correction { .. } | What::Void { .. } => return,
                };
                if restated != Restated::default() {
                    let id = self.id("k");
                    self.record(record.source, id, recorded_at, What::Correction { of: record.id, restated });
                }
            }
        }
    }

    fn steps(&mut self) {
        let mut steps: Vec<(Micros, Step)> = Vec::new();
        for contract in 0..self.history.contracts.len() {
            let of = &self.history.contracts[contract];
            let (zone, each) = (of.zone, of.period);
            let mut period = window(each, self.setting.start);
            let count = if matches!(each, Each::Week | Each::Month | Each::ContractMonth(_)) { 7 } else { 3 };
            let mut cutoff = start_of(zone, self.setting.start);
            for _ in 0..count {
                let end = start_of(zone, period.end);
                if !self.draw.chance(20) {
                    cutoff = cutoff.max(end + self.draw.between(1, 40) * DAY);
                    let first = period.first;
                    steps.push((cutoff, Step::Settle { contract, period: first, cutoff }));
                    if self.draw.chance(50) {
                        steps.push((cutoff, Step::Close { contract, period: first }));
                    }
                    if self.draw.chance(8) {
                        cutoff += 20 * DAY;
                        steps.push((cutoff, Step::Settle { contract, period: first, cutoff }));
                    }
                    if self.draw.chance(15) {
                        let known_at = self.start() + self.draw.below(self.setting.days * 2) * DAY;
                        steps.push((cutoff, Step::Entitlement { contract, through: first, known_at }));
                    }
                }
                period = window(each, period.end);
            }
            let known_at = self.start() + 3 * 365 * DAY;
            let through = window(each, period.first - Days::new(1)).first;
            steps.push((known_at, Step::Entitlement { contract, through, known_at }));
        }
        // In time, and what one contract does stays in its order.
        steps.sort_by_key(|(at, _)| *at);
        self.history.steps = steps.into_iter().map(|(_, step)| step).collect();
    }
}
