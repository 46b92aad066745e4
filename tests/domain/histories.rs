//! Random histories under random agreements: the engine must book, line for line, what the auditor books.

use crate::agreements::{CURRENCIES, Plan, RESALE, SHARE, date, midnight, plan};
use crate::auditor::{Auditor, Books as AuditedBooks, Item, Micros, ONE, Sold, due};
use apportion::domain::contract::folder::{Folder, read_folder};
use apportion::domain::contract::simple;
use apportion::domain::deduction::PlacedDeduction;
use apportion::domain::ids::{ContractId, EventId};
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, Period, PeriodUnit};
use apportion::domain::price::{PriceBook, read_price_book};
use apportion::domain::rating::{ChargeAttributes, UsageRollup};
use apportion::domain::record::{Fact, Figure, Subject};
use apportion::domain::settlement::{BookedLine, Books, SettlementInput, settle, with_drawn_on};
use apportion::domain::sharing::timeline;
use apportion::domain::usage::Meter;
use chrono::{DateTime, Datelike};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use std::collections::{BTreeMap, BTreeSet};

/// The months from January to June 2026; at each step one more is settled and closed.
const STEPS: usize = 6;
const DEPLOYMENTS: [(&str, Option<&str>); 4] =
    [("direct", Some("lab")), ("hosted", Some("cloud")), ("resold", Some("reseller")), ("own-use", None)];
const PRODUCTS: [&str; 2] = ["p", "q"];
const CATEGORIES: [&str; 3] = ["refund", "tax", "fee"];
/// Long-context prices hold above so many tokens.
const LONG: i64 = 1000;
const NAMES: [&str; 2] = ["share", "resale"];

/// An instant: beside an edge, or at some microsecond of a day.
#[derive(Clone, Debug)]
enum When {
    Edge(prop::sample::Index, i64),
    Day(i64, i64),
}

#[derive(Clone, Debug)]
struct EventPlan {
    when: When,
    deployment: usize,
    product: usize,
    input: i64,
    output: i64,
    known: usize,
    /// It is voided at that step.
    voided: Option<usize>,
}

#[derive(Clone, Debug)]
struct DeductionPlan {
    event: Option<prop::sample::Index>,
    deployment: usize,
    product: usize,
    category: usize,
    when: When,
    cents: i64,
    known: usize,
}

#[derive(Clone, Debug)]
struct FigurePlan {
    agreement: usize,
    through: i64,
    cents: i64,
    known: usize,
}

#[derive(Clone, Debug)]
struct History {
    plan: Plan,
    price_change: i64,
    events: Vec<EventPlan>,
    deductions: Vec<DeductionPlan>,
    figures: Vec<FigurePlan>,
    /// When, and the step from which it is known.
    milestones: Vec<(When, usize)>,
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        1 => (any::<prop::sample::Index>(), -1..=1_i64).prop_map(|(edge, beside)| When::Edge(edge, beside)),
        2 => (-35..185_i64, 0..86_400_000_000_i64).prop_map(|(day, micros)| When::Day(day, micros)),
    ]
}

fn event() -> impl Strategy<Value = EventPlan> {
    let input = prop_oneof![Just(0), 0..LONG, LONG..=LONG + 1, 0..60_000_i64];
    let voided = prop::option::weighted(0.1, 1..STEPS);
    (when(), 0..4_usize, 0..2_usize, input, 0..60_000_i64, 0..STEPS, voided).prop_map(
        |(when, deployment, product, input, output, known, voided)| EventPlan {
            when,
            deployment,
            product,
            input,
            output,
            known,
            voided,
        },
    )
}

fn deduction() -> impl Strategy<Value = DeductionPlan> {
    let event = prop::option::weighted(0.8, any::<prop::sample::Index>());
    (event, 0..3_usize, 0..2_usize, 0..3_usize, when(), 0..30_000_i64, 0..STEPS).prop_map(
        |(event, deployment, product, category, when, cents, known)| DeductionPlan {
            event,
            deployment,
            product,
            category,
            when,
            cents,
            known,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    let figure = (0..2_usize, -20..185_i64, 0..50_000_i64, 0..STEPS)
        .prop_map(|(agreement, through, cents, known)| FigurePlan { agreement, through, cents, known });
    (
        plan(),
        -20..170_i64,
        prop::collection::vec(event(), 0..25),
        prop::collection::vec(deduction(), 0..8),
        prop::collection::vec(figure, 0..5),
        prop::collection::vec((when(), 0..STEPS), 0..3),
    )
        .prop_map(|(plan, price_change, events, deductions, figures, milestones)| History {
            plan,
            price_change,
            events,
            deductions,
            figures,
            milestones,
        })
}

fn instant(at: Micros) -> Instant {
    DateTime::from_timestamp_micros(at).expect("an instant")
}

/// Cents as the engine's number.
fn cents(amount: i64) -> Exact {
    Exact::ratio(amount, 100).expect("a number")
}

fn milestone(at: Instant) -> Fact {
    Fact {
        contract: "share".into(),
        name: "milestone".into(),
        by: "lab".into(),
        at,
        until: None,
        about: Subject::default(),
        party: None,
        evidence: "e".into(),
    }
}

impl History {
    fn at(&self, when: &When) -> Micros {
        match when {
            When::Edge(edge, beside) => edge.get(&self.plan.edges()) + beside,
            When::Day(day, micros) => midnight(chrono_tz::UTC, date(*day)) + micros,
        }
    }

    fn price_change(&self) -> Micros {
        midnight(chrono_tz::UTC, date(self.price_change))
    }

    fn prices(&self) -> PriceBook {
        let currency = CURRENCIES[self.plan.currency].0;
        let change = instant(self.price_change()).to_rfc3339();
        let mut text =
            "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n"
                .to_owned();
        let rows = [
            ("p", "input_tokens", "", "", "2", "", change.as_str()),
            ("p", "input_tokens", "", "", "3", change.as_str(), ""),
            ("p", "input_tokens", "", "1000", "4", "", ""),
            ("p", "input_tokens", "resold", "", "2.5", "", ""),
            ("p", "output_tokens", "", "", "7", "", ""),
            ("q", "input_tokens", "", "", "1.5", "", ""),
            ("q", "output_tokens", "", "", "0.37", "", ""),
        ];
        for (id, (product, meter, channel, over, price, from, to)) in rows.into_iter().enumerate() {
            text +=
                &format!("{id},{product},{meter},default,,,{channel},{over},{price},1000,{currency},{from},{to},s\n");
        }
        PriceBook::new(read_price_book(&text).expect("prices"))
    }

    /// The auditor's price, in hundredths per 1,000.
    fn hundredths(&self, event: &EventPlan, output: bool) -> i128 {
        match (PRODUCTS[event.product], output) {
            ("p", true) => 700,
            ("p", false) if DEPLOYMENTS[event.deployment].0 == "resold" => 250,
            ("p", false) if event.input > LONG => 400,
            ("p", false) if self.at(&event.when) < self.price_change() => 200,
            ("p", false) => 300,
            (_, true) => 37,
            (_, false) => 150,
        }
    }

    /// The events that count at a step. A void takes out what no deduction names.
    fn counted(&self, step: usize) -> impl Iterator<Item = (usize, &EventPlan)> {
        let named: BTreeSet<usize> = self.deductions.iter().filter_map(|it| self.named(it)).collect();
        self.events.iter().enumerate().filter(move |(index, event)| {
            event.known <= step && (named.contains(index) || event.voided.is_none_or(|voided| step < voided))
        })
    }

    /// The event that a deduction names, if its usage is charged.
    fn named(&self, deduction: &DeductionPlan) -> Option<usize> {
        let index = deduction.event?.index(self.events.len().max(1));
        self.events.get(index).filter(|event| DEPLOYMENTS[event.deployment].1.is_some()).map(|_| index)
    }

    /// Deductions known at a step, with the place and product that they reduce.
    fn deducted(&self, step: usize) -> impl Iterator<Item = (&DeductionPlan, Option<Micros>, usize, usize)> {
        self.deductions.iter().filter_map(move |deduction| match self.named(deduction) {
            Some(index) => {
                let event = &self.events[index];
                let known = deduction.known.max(event.known) <= step;
                known.then(|| (deduction, Some(self.at(&event.when)), event.deployment, event.product))
            }
            None => (deduction.known <= step).then_some((deduction, None, deduction.deployment, deduction.product)),
        })
    }

    fn milestones(&self, step: usize) -> Vec<Micros> {
        self.milestones.iter().filter(|(_, known)| *known <= step).map(|(when, _)| self.at(when)).collect()
    }

    fn items(&self, step: usize) -> Vec<Item> {
        let cent = ONE / 100;
        let mut items = Vec::new();
        for (_, event) in self.counted(step) {
            let Some(seller) = DEPLOYMENTS[event.deployment].1 else { continue };
            for (quantity, output) in [(event.input, false), (event.output, true)] {
                let sold = Sold { seller, product: PRODUCTS[event.product] };
                let amount = i128::from(quantity) * self.hundredths(event, output) * (cent / 1000);
                items.push(Item::Charge { at: self.at(&event.when), sold, amount });
            }
        }
        for (deduction, item_at, deployment, product) in self.deducted(step) {
            let seller = DEPLOYMENTS[deployment].1.expect("a seller");
            items.push(Item::Deduction {
                at: self.at(&deduction.when),
                item_at,
                category: CATEGORIES[deduction.category],
                sold: Sold { seller, product: PRODUCTS[product] },
                amount: i128::from(deduction.cents) * cent,
            });
        }
        for figure in self.figures.iter().filter(|figure| figure.known <= step) {
            let at = midnight(self.plan.zone(figure.agreement), date(figure.through + 1)) - 1;
            items.push(Item::Figure { at, agreement: figure.agreement, amount: i128::from(figure.cents) * cent });
        }
        items
    }

    /// The period of an agreement that is open at a step.
    fn period(&self, agreement: usize, step: usize) -> Period {
        let unit = if self.plan.quarters && agreement == SHARE { PeriodUnit::Quarter } else { PeriodUnit::Month };
        let month = u32::try_from(step + 1).expect("a month");
        Period::containing(chrono::NaiveDate::from_ymd_opt(2026, month, 15).expect("a date"), unit)
    }

    /// The engine's input at a step. Each quantity is handed over in `pieces` events of the same instant.
    fn input(&self, folder: &Folder, agreement: usize, step: usize, pieces: i64, books: Books) -> SettlementInput {
        let id = ContractId::from(NAMES[agreement]);
        let simple = simple::contracts(&folder.contracts, &id).unwrap_or_else(|error| panic!("{error}"));
        let mut contracts = with_drawn_on(simple, &id);
        for contract in &mut contracts {
            let plans = if contract.head.id.as_str() == "share" { &self.plan.share } else { &self.plan.resale };
            contract.versions.retain(|version| plans[version.number as usize - 1].known <= step);
        }
        let period = self.period(agreement, step);
        let end = period.span(self.plan.zone(agreement)).end;
        let facts: Vec<Fact> = self.milestones(step).into_iter().map(|at| milestone(instant(at))).collect();
        let prices = self.prices();
        let timeline = timeline(&contracts, &facts, &prices, end).expect("a timeline");
        let mut usage = Vec::new();
        for (_, event) in self.counted(step) {
            let Some(segment) = timeline.segment_at(instant(self.at(&event.when))) else { continue };
            for (meter, quantity) in [(Meter::InputTokens, event.input), (Meter::OutputTokens, event.output)] {
                let piece = quantity / pieces;
                let rest = quantity - piece * (pieces - 1);
                usage.extend((0..pieces).map(|number| UsageRollup {
                    segment,
                    deployment: DEPLOYMENTS[event.deployment].0.into(),
                    product: PRODUCTS[event.product].into(),
                    customer: "c".into(),
                    service_tier: "default".into(),
                    context_over: if event.product == 0 && event.input > LONG { 1000 } else { 0 },
                    meter,
                    quantity: Exact::from_integer(if number == 0 { rest } else { piece }),
                }));
            }
        }
        let currency = CURRENCIES[self.plan.currency].0.parse().expect("a currency");
        let deductions = self.deducted(step).enumerate().map(|(number, (taken, item_at, deployment, product))| {
            let deployment = DEPLOYMENTS[deployment].0.into();
            let known = &folder.register.deployments[&deployment];
            let product = PRODUCTS[product].into();
            PlacedDeduction {
                id: EventId { source: "billing".into(), id: number.to_string() },
                category: CATEGORIES[taken.category].into(),
                at: instant(self.at(&taken.when)),
                item_at: item_at.map(instant),
                attributes: ChargeAttributes::of_usage(&deployment, known, &product, "c").expect("a seller"),
                amount: cents(taken.cents),
                currency,
            }
        });
        let figures = self.figures.iter().filter(|figure| figure.known <= step).map(|figure| Figure {
            contract: NAMES[figure.agreement].into(),
            name: "Reported".into(),
            by: "lab".into(),
            from: date(figure.through),
            through: date(figure.through),
            value: apportion::domain::money::Money { amount: cents(figure.cents), currency }.into(),
            about: Subject::default(),
        });
        SettlementInput {
            contract: id,
            period,
            cutoff: instant(midnight(chrono_tz::UTC, date(400))),
            prices,
            timeline,
            usage,
            deductions: deductions.collect(),
            figures: figures.collect(),
            facts,
            unresolved_events: 0,
            held: Vec::new(),
            books,
            contracts,
            register: folder.register.clone(),
        }
    }

    fn folder(&self) -> Folder {
        read_folder(&self.plan.files()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the period that is open at a step is closed after it.
    fn closes(&self, agreement: usize, step: usize) -> bool {
        self.period(agreement, step) != self.period(agreement, step + 1)
    }

    /// Settles step by step; `each` sees what every settlement booked.
    fn settle_all(&self, folder: &Folder, agreement: usize, mut each: impl FnMut(usize, &[BookedLine])) -> Books {
        let mut books = Books::default();
        for step in 0..STEPS {
            let input = self.input(folder, agreement, step, 1, books.clone());
            let lines = settle(&input).unwrap_or_else(|error| panic!("{error}")).lines;
            each(step, &lines);
            books.booked.extend(lines);
            books.settled.insert(input.period);
            if self.closes(agreement, step) {
                books.closed.insert(input.period);
            }
        }
        books
    }

    fn digits(&self) -> u32 {
        CURRENCIES[self.plan.currency].1
    }

    /// Lines as the auditor writes them, in minor units.
    fn sums(&self, lines: &[BookedLine]) -> BTreeMap<(String, i32), i128> {
        let mut sums = BTreeMap::new();
        for line in lines {
            let first = line.origin.first_day();
            let origin = first.year() * 12 + i32::try_from(first.month0()).expect("a month");
            let minor = line.amount.to_decimal(self.digits()).expect("whole minor units");
            let mut minor = minor;
            minor.rescale(self.digits());
            *sums.entry((line.term.to_string(), origin)).or_default() += minor.mantissa();
        }
        sums.retain(|_, amount| *amount != 0);
        sums
    }

    fn agrees_with_the_auditor(&self) {
        let folder = self.folder();
        for agreement in [SHARE, RESALE] {
            let mut audited = AuditedBooks::new();
            self.settle_all(&folder, agreement, |step, lines| {
                let known = self.plan.agreements(step, &self.milestones(step));
                let end = self.period(agreement, step).span(self.plan.zone(agreement)).end.timestamp_micros();
                let owed = Auditor::entitlements(&known, &self.items(step), end);
                let expected = due(&known[agreement], agreement, &owed, self.digits(), &audited);
                for (key, amount) in &expected {
                    *audited.entry(*key).or_default() += amount;
                }
                let expected: BTreeMap<_, _> =
                    expected.into_iter().map(|((term, origin), amount)| ((term.to_owned(), origin), amount)).collect();
                assert_eq!(self.sums(lines), expected, "{} at step {step}", NAMES[agreement]);
            });
        }
    }
}

/// `default` histories from a fixed seed; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` set others.
fn config(default: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = default;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(2026);
    }
    config
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn the_engine_books_what_the_auditor_books(history in history()) {
        history.agrees_with_the_auditor();
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_rerun_books_nothing(history in history()) {
        let folder = history.folder();
        for agreement in [SHARE, RESALE] {
            let mut books = Books::default();
            for step in 0..STEPS {
                let input = history.input(&folder, agreement, step, 1, books.clone());
                books.booked.extend(settle(&input).expect("a settlement").lines);
                books.settled.insert(input.period);
                let rerun = |books| settle(&SettlementInput { books, ..input.clone() }).expect("a settlement").lines;
                prop_assert_eq!(rerun(books.clone()), vec![]);
                if history.closes(agreement, step) {
                    books.closed.insert(input.period);
                }
                prop_assert_eq!(rerun(books.clone()), vec![]);
            }
        }
    }

    #[test]
    fn settling_by_the_month_or_at_once_books_the_same(history in history()) {
        let folder = history.folder();
        for agreement in [SHARE, RESALE] {
            let books = history.settle_all(&folder, agreement, |_, _| ());
            let at_once = history.input(&folder, agreement, STEPS - 1, 1, Books::default());
            let lines = settle(&at_once).expect("a settlement").lines;
            prop_assert_eq!(history.sums(&books.booked), history.sums(&lines));
        }
    }

    #[test]
    fn usage_may_be_split_within_an_instant(history in history(), pieces in 2..9_i64) {
        let folder = history.folder();
        for agreement in [SHARE, RESALE] {
            let settled = |pieces| {
                settle(&history.input(&folder, agreement, STEPS - 1, pieces, Books::default())).expect("a settlement")
            };
            let (whole, split) = (settled(1), settled(pieces));
            prop_assert_eq!(whole.lines, split.lines);
            let exact = |outcome: Vec<apportion::domain::settlement::Entitlement>| -> Vec<Exact> {
                outcome.into_iter().map(|owed| owed.amount).collect()
            };
            prop_assert_eq!(exact(whole.entitlements), exact(split.entitlements));
        }
    }

    #[test]
    fn no_cap_is_exceeded(history in history()) {
        let folder = history.folder();
        for agreement in [SHARE, RESALE] {
            let input = history.input(&folder, agreement, STEPS - 1, 1, Books::default());
            for owed in settle(&input).expect("a settlement").entitlements {
                for cap in owed.accruals.into_iter().filter_map(|accrual| accrual.cap) {
                    // Where a cap came below what stood, nothing is paid back, and nothing is added.
                    prop_assert!(cap.after <= cap.limit.clone().max(cap.before.clone()), "{cap:?}");
                }
            }
        }
    }
}
