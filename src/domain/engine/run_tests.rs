//! The engine on small agreements, with figures worked out by hand.

use super::item::{Attributes, AttributesList, Charge, Content, CountsFor, Deduction, InUnit, Item, ItemId, Kind};
use super::knowledge::Knowledge;
use super::outcome::{Cause, Line};
use super::plan::plan;
use super::run::Engine;
use crate::domain::calendar::Calendar;
use crate::domain::contract::Clause;
use crate::domain::contract::measure::*;
use crate::domain::contract::selector::{Attribute, Filter};
use crate::domain::contract::term::*;
use crate::domain::contract::value::{Cell, Condition, Edge, Row, Table};
use crate::domain::contract::window::{Counting, Moment, ProRata, WindowRule};
use crate::domain::contract::{Assumed, Contract, ContractHead, Negative, Straddling, Version};
use crate::domain::money::{Currency, Exact, Rounding, Unit};
use crate::domain::period::{Instant, Length, parse_instant};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

fn at(text: &str) -> Instant {
    let text = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    parse_instant(&text).expect("an instant")
}

fn exact(text: &str) -> Exact {
    text.parse().expect("a number")
}

fn usd() -> Unit {
    Unit::Currency("USD".parse::<Currency>().expect("a currency"))
}

fn months(months: u32) -> WindowRule {
    WindowRule::Calendar { months: NonZeroU32::new(months).expect("some") }
}

/// Charges of a seller, less refunds at their own date.
fn base(seller: &str) -> Base {
    let all = BTreeMap::from([(Attribute::Seller, vec![seller.to_owned()])]);
    Base {
        name: seller.into(),
        is_number: false,
        select: vec![Selection { of: Source::Charges, filter: Filter { all, none: Vec::new() }, valued_at: None }],
        less: vec![Less { what: Reduction::Deductions(vec!["refund".to_owned()]), at: Place::OwnDate }],
        basis: Basis::Occurred,
        below_zero: BelowZero::Keep,
        above: None,
        assumptions: Vec::new(),
    }
}

fn of(measure: Measure, rate: Table) -> Node {
    Node { kind: NodeKind::Share { of: measure, rate }, times: Vec::new(), less: Vec::new() }
}

fn sales(rate: &str) -> Node {
    of(Measure::Base("lab".into()), exact(rate).into())
}

fn fixed(amount: &str) -> Node {
    Node { kind: NodeKind::Fixed(exact(amount).into()), times: Vec::new(), less: Vec::new() }
}

fn term(id: &str, node: Option<Node>) -> Term {
    Term {
        id: id.into(),
        clause: Clause { heading: String::new(), text: String::new() },
        payer: "lab".into(),
        payees: Payees::One("ms".into()),
        unit: usd(),
        node,
        tiers: None,
        life: Life::default(),
        each: None,
        on: None,
        per: Vec::new(),
        cap: None,
        minimum: None,
        credits: Vec::new(),
        once: None,
        at_window_end: false,
        pro_rata: Some(ProRata::Full),
        due: Vec::new(),
        tax: None,
        is_input: false,
        assumptions: Vec::new(),
    }
}

fn cap(limit: &str, each: WindowRule, excess: Excess) -> Cap {
    Cap {
        limit: exact(limit).into(),
        unit: usd(),
        counting: Counting { each, from: Moment::At(at("2026-01-01")) },
        opening: Exact::zero(),
        excess,
        per: Vec::new(),
        pro_rata: None,
    }
}

fn version(terms: Vec<Term>, caps: &[(&str, Cap)]) -> Version {
    Version {
        number: 1,
        effective_at: at("2026-01-01"),
        signed: None,
        recorded_at: None,
        end: Vec::new(),
        units: BTreeMap::new(),
        rights: Vec::new(),
        effects: Vec::new(),
        opens: Vec::new(),
        audit: None,
        interest: None,
        assumptions: Vec::new(),
        bases: ["lab", "aws"].map(|seller| (seller.into(), base(seller))).into(),
        amounts: BTreeMap::new(),
        figures: BTreeMap::new(),
        facts: BTreeMap::new(),
        caps: caps.iter().map(|(name, cap)| ((*name).into(), cap.clone())).collect(),
        fx: None,
        terms,
    }
}

fn agreement(id: &str, versions: Vec<Version>) -> Contract {
    let head = ContractHead {
        id: id.into(),
        title: String::new(),
        zone: chrono_tz::UTC,
        currency: "USD".parse().expect("a currency"),
        settlement: Calendar::of_months(NonZeroU32::MIN),
        rounding: Rounding::HalfUp,
        negative: Negative::Carry,
        pro_rata: None,
        straddling: Straddling::Whole,
        assumed: Assumed::Allow,
        business_days: None,
    };
    Contract { head, versions }
}

/// Sales by the lab and others: `("2026-01-05", "100")`; below zero a refund at its own date.
struct History {
    attributes: AttributesList,
    items: Vec<(Instant, String, super::item::AttributesId, Exact)>,
}

impl History {
    fn new(items: &[(&str, &str)]) -> Self {
        Self::of(&items.iter().map(|(at, amount)| (*at, "lab", *amount)).collect::<Vec<_>>())
    }

    fn of(items: &[(&str, &str, &str)]) -> Self {
        let mut attributes = AttributesList::default();
        let items = items.iter().enumerate().map(|(number, (when, seller, amount))| {
            let seller = BTreeMap::from([(Attribute::Seller, (*seller).to_owned())]);
            (at(when), format!("e{number:03}"), attributes.push(Attributes(seller)), exact(amount))
        });
        let items = items.collect();
        Self { attributes, items }
    }

    /// What each term yields by month, unrounded: `rs 2026-01 80`.
    fn yields(&self, agreements: &[Contract], end: &str) -> Vec<String> {
        let mut found: BTreeMap<(String, String), Exact> = BTreeMap::new();
        let lines = |line: Line<'_>| {
            if line.cause != Cause::Shortfall {
                let key = (line.term.to_string(), line.at.format("%Y-%m").to_string());
                *found.entry(key).or_default() += line.amount;
            }
        };
        let plan = plan(agreements).expect("a plan");
        let known = Knowledge::default();
        let unit = usd();
        let mut engine = Engine::new(&plan, &known, self.attributes.clone(), at(end), lines);
        for (at, id, attributes, amount) in &self.items {
            let value = |value: Exact| InUnit { value, unit: &unit };
            let id = ItemId { id, source: "test", kind: Kind::Usage, meter: "requests" };
            let content = match amount.is_negative() {
                false => Content::Usage {
                    quantity: amount.clone(),
                    charge: Charge::Rated(value(amount.clone())),
                    meets_prices: false,
                },
                true => Content::Deduction(Deduction {
                    id,
                    at: *at,
                    category: "refund",
                    amount: value(-amount.clone()),
                    basis: Basis::Occurred,
                    item_at: None,
                    is_of_lone_billing: false,
                }),
            };
            engine
                .item(&Item {
                    at: *at,
                    id,
                    attributes: *attributes,
                    content,
                    less: Vec::new(),
                    sold_at: None,
                    until: None,
                    counts_for: CountsFor::All,
                })
                .expect("an item");
        }
        let _ = engine.finish().expect("an end");
        let shown = found.into_iter().filter(|(_, amount)| !amount.is_zero());
        shown.map(|((term, month), amount)| format!("{term} {month} {amount}")).collect()
    }
}

fn capped(id: &str, node: Node, name: &str) -> Term {
    Term { cap: Some(name.into()), ..term(id, Some(node)) }
}

#[test]
fn a_cap_is_reached_in_mid_month() {
    let agreements = [agreement(
        "main",
        vec![version(vec![capped("rs", sales("0.20"), "c")], &[("c", cap("100", WindowRule::Term, Excess::Lost))])],
    )];
    let history = History::new(&[
        ("2026-01-05", "400"),
        ("2026-02-10", "200"),
        ("2026-02-11", "50"),
        ("2026-03-01", "-250"),
        ("2026-04-01", "1000"),
    ]);
    assert_eq!(
        history.yields(&agreements, "2026-05-01"),
        ["rs 2026-01 80", "rs 2026-02 20", "rs 2026-03 -20", "rs 2026-04 20"],
        "130 wanted, 80 after the refund"
    );
}

#[test]
fn terms_under_one_cap_take_room_in_order() {
    // Scenario 19f.
    let agreements = [agreement(
        "main",
        vec![version(
            vec![capped("t1", sales("0.20"), "both"), capped("t2", sales("0.10"), "both")],
            &[("both", cap("100", WindowRule::Term, Excess::Lost))],
        )],
    )];
    let history =
        History::new(&[("2026-01-05", "300"), ("2026-02-05", "100"), ("2026-03-10", "-100"), ("2026-04-05", "100")]);
    assert_eq!(
        history.yields(&agreements, "2026-05-01"),
        ["t1 2026-01 60", "t1 2026-02 10", "t1 2026-04 10", "t2 2026-01 30", "t2 2026-03 -10"]
    );
}

#[test]
fn deferred_excess_is_paid_out_of_the_next_years_room() {
    // Scenario 25a.
    let year = || months(12);
    let agreements = [agreement(
        "main",
        vec![version(
            vec![capped("def", sales("0.20"), "d"), capped("lost", sales("0.20"), "l")],
            &[("d", cap("100", year(), Excess::Deferred)), ("l", cap("100", year(), Excess::Lost))],
        )],
    )];
    let history = History::new(&[("2026-12-10", "750"), ("2027-01-10", "150"), ("2027-02-10", "200")]);
    assert_eq!(
        history.yields(&agreements, "2027-03-01"),
        [
            "def 2026-12 100",
            "def 2027-01 80",
            "def 2027-02 20",
            "lost 2026-12 100",
            "lost 2027-01 30",
            "lost 2027-02 40"
        ]
    );
}

fn bands(edges: &[(&str, &str)], last: &str) -> Table {
    let band = |(at, rate): &(&str, &str)| Row {
        when: vec![Condition::Band(Edge { at: exact(at), inclusive: true })],
        is: Cell::Number(exact(rate)),
    };
    let otherwise = Row { when: Vec::new(), is: Cell::Number(exact(last)) };
    Table { rows: edges.iter().map(band).chain([otherwise]).collect() }
}

fn tiered(apply: Apply, each: WindowRule) -> Term {
    let rate = bands(&[("1000", "0.10"), ("3000", "0.20")], "0.30");
    let counting = Counting { each, from: Moment::At(at("2026-01-01")) };
    let tiers = Some(Tiers { apply, of: None, counting });
    Term { tiers, ..term("rs", Some(of(Measure::Base("lab".into()), rate))) }
}

#[test]
fn marginal_tiers_run_back_down() {
    // Scenario T1a, with the refund of 1,000.
    let agreements = [agreement("main", vec![version(vec![tiered(Apply::Marginal, WindowRule::Term)], &[])])];
    let history = History::new(&[("2026-01-05", "1000"), ("2026-02-05", "2500"), ("2026-03-10", "-1000")]);
    assert_eq!(history.yields(&agreements, "2026-04-01"), ["rs 2026-01 100", "rs 2026-02 550", "rs 2026-03 -250"]);
}

#[test]
fn whole_tiers_are_rated_at_what_is_reached() {
    // Scenario 16a by the month; 16c by the year.
    let monthly = [agreement("main", vec![version(vec![tiered(Apply::Whole, months(1))], &[])])];
    let history = History::new(&[
        ("2026-01-10", "400"),
        ("2026-01-20", "600"),
        ("2026-02-10", "1000.01"),
        ("2026-04-10", "3000.05"),
    ]);
    assert_eq!(history.yields(&monthly, "2026-05-01"), ["rs 2026-01 100", "rs 2026-02 200.002", "rs 2026-04 900.015"]);
    let yearly = [agreement("main", vec![version(vec![tiered(Apply::Whole, months(12))], &[])])];
    let history = History::new(&[("2026-01-10", "800"), ("2026-02-10", "400"), ("2027-01-01", "100")]);
    assert_eq!(history.yields(&yearly, "2027-02-01"), ["rs 2026-01 80", "rs 2026-02 160", "rs 2027-01 10"]);
}

#[test]
fn the_greater_of_a_part_and_a_sum_each_month() {
    // Scenario 17a.
    let kind = NodeKind::GreatestOf(vec![sales("0.07"), fixed("700")]);
    let node = Node { kind, times: Vec::new(), less: Vec::new() };
    let term = Term { each: Some(months(1)), at_window_end: true, ..term("g", Some(node)) };
    let agreements = [agreement("main", vec![version(vec![term], &[])])];
    let history = History::new(&[("2026-01-10", "9000"), ("2026-02-10", "12000")]);
    assert_eq!(history.yields(&agreements, "2026-04-01"), ["g 2026-01 700", "g 2026-02 840", "g 2026-03 700"]);
}

#[test]
fn a_commitment_owes_what_is_not_spent() {
    // Scenario 12b: 1,000 a month, excess counts later.
    let minimum = Minimum {
        is: exact("1000").into(),
        each: months(1),
        of: vec![Measure::Base("lab".into())],
        is_cumulative: false,
        carry: Carry::Excess,
        carry_limit: None,
        carry_windows: None,
        shortfall: Shortfall::Due,
        is_outside_cap: false,
        pro_rata: Some(ProRata::Full),
        due: None,
    };
    let life = Life { until: vec![Moment::At(at("2026-05-01"))], ..Life::default() };
    let commitment = Term { minimum: Some(minimum), life, ..term("mc", None) };
    let agreements = [agreement("main", vec![version(vec![commitment], &[])])];
    let history =
        History::new(&[("2026-01-10", "1500"), ("2026-02-10", "700"), ("2026-03-10", "750"), ("2026-04-10", "2000")]);
    assert_eq!(history.yields(&agreements, "2026-07-01"), ["mc 2026-03 50"]);
}

#[test]
fn an_advance_is_recouped_and_a_refund_lifts_it_again() {
    // Scenario 17g.
    let advance =
        Term { on: Some(On::Dates(vec!["2026-01-01".parse().expect("a date")])), ..term("adv", Some(fixed("100"))) };
    let credits = vec![Credit { of: "adv".into(), rest: Rest::Lost, limit: None }];
    let share = Term { credits, ..term("rs", Some(sales("0.20"))) };
    let agreements = [agreement("main", vec![version(vec![share, advance], &[])])];
    let history =
        History::new(&[("2026-01-10", "300"), ("2026-02-10", "400"), ("2026-03-10", "-200"), ("2026-04-10", "-150")]);
    assert_eq!(
        history.yields(&agreements, "2026-05-01"),
        [
            "adv 2026-01 40",
            "adv 2026-02 -40",
            "adv 2026-04 30",
            "rs 2026-01 60",
            "rs 2026-02 80",
            "rs 2026-03 -40",
            "rs 2026-04 -30"
        ]
    );
}

#[test]
fn a_share_of_a_share_is_unrounded_and_capped_twice() {
    // Scenario 13a: AWS passes on 80 %, up to 200; the lab owes 20 % of its own sales and of that, up to 50.
    let drawn = Measure::Accrual { contract: "labaws".into(), term: "up".into() };
    let up = capped("up", of(Measure::Base("aws".into()), exact("0.80").into()), "c");
    let mut both = base("lab");
    both.select.push(Selection { of: Source::Of(drawn), filter: Filter::default(), valued_at: None });
    let mut down =
        version(vec![capped("down", sales("0.20"), "c")], &[("c", cap("50", WindowRule::Term, Excess::Lost))]);
    down.bases.insert("lab".into(), both);
    let agreements = [
        agreement("labms", vec![down]),
        agreement("labaws", vec![version(vec![up], &[("c", cap("200", WindowRule::Term, Excess::Lost))])]),
    ];
    let history = History::of(&[
        ("2026-01-05", "lab", "100"),
        ("2026-01-10", "aws", "100"),
        ("2026-02-05", "aws", "150"),
        ("2026-02-06", "lab", "100"),
    ]);
    assert_eq!(
        history.yields(&agreements, "2026-03-01"),
        ["down 2026-01 36", "down 2026-02 14", "up 2026-01 80", "up 2026-02 120"]
    );
}

#[test]
fn a_version_drops_a_term_and_a_tail_goes_on_for_earlier_customers() {
    let tail = Some(Tail { lasts: Length::Months(2), of: TailItems::All, filter: Filter::default() });
    let life = Life { until: vec![Moment::At(at("2026-04-01"))], tail, ..Life::default() };
    let share = Term { life, ..term("rs", Some(sales("0.20"))) };
    let first = version(vec![share.clone()], &[]);
    let history = History::new(&[("2026-03-10", "100"), ("2026-05-31T23:59:59Z", "100"), ("2026-06-01", "100")]);
    let agreements = [agreement("main", vec![first.clone()])];
    assert_eq!(history.yields(&agreements, "2026-07-01"), ["rs 2026-03 20", "rs 2026-05 20"]);
    let dropped = Version { number: 2, effective_at: at("2026-05-01"), ..version(Vec::new(), &[]) };
    let agreements = [agreement("main", vec![first, dropped])];
    assert_eq!(history.yields(&agreements, "2026-07-01"), ["rs 2026-03 20"], "no tail once a version drops the term");
}

#[test]
fn streams_that_feed_each_other_are_named() {
    let of_term = |id, other: &str| {
        let measure = Measure::Accrual { contract: "main".into(), term: other.into() };
        term(id, Some(of(measure, exact("1").into())))
    };
    let agreements = [agreement("main", vec![version(vec![of_term("a", "b"), of_term("b", "a")], &[])])];
    let error = plan(&agreements).err().expect("a circle").to_string();
    assert!(error.contains("main/a"), "{error}");
}
