use apportion::domain::calendar::Calendar;
use apportion::domain::contract::{Clause, measure::*, selector::*, term::*, version::*, window::*};
use apportion::domain::engine::{item::*, knowledge::Knowledge, outcome::Line, plan::plan, run::Engine};
use apportion::domain::money::*;
use apportion::domain::period::*;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
fn main() {
    let usd = Unit::Currency("USD".parse().unwrap());
    let at = |t: &str| parse_instant(t).unwrap();
    let base = Base {
        name: "b".into(),
        select: vec![Selection {
            of: Source::Charges,
            filter: Filter { all: BTreeMap::from([(Attribute::Seller, vec!["lab".to_owned()])]), none: vec![] },
            valued_at: None,
        }],
        less: vec![],
        basis: Basis::Occurred,
        below_zero: BelowZero::Keep,
        above: None,
        assumptions: vec![],
    };
    let term = Term {
        id: "rs".into(),
        clause: Clause { heading: String::new(), text: String::new() },
        payer: "lab".into(),
        payees: Payees::One("ms".into()),
        unit: usd.clone(),
        node: Some(Node {
            kind: NodeKind::Share { of: Measure::Base("b".into()), rate: "0.2".parse::<Exact>().unwrap().into() },
            times: vec![],
            less: vec![],
        }),
        tiers: None,
        life: Life::default(),
        each: None,
        on: None,
        per: vec![],
        cap: Some("c".into()),
        minimum: None,
        credits: vec![],
        once: None,
        at_window_end: false,
        pro_rata: None,
        due: None,
        is_input: false,
        assumptions: vec![],
    };
    let cap = Cap {
        limit: "5000".parse::<Exact>().unwrap().into(),
        unit: usd.clone(),
        counting: Counting { each: WindowRule::Term, from: Moment::At(at("2026-01-01T00:00:00Z")) },
        opening: Exact::zero(),
        excess: Excess::Lost,
        per: vec![],
        pro_rata: None,
    };
    let version = AgreementVersion {
        number: 1,
        effective_at: at("2026-01-01T00:00:00Z"),
        until: vec![],
        bases: BTreeMap::from([("b".into(), base)]),
        amounts: BTreeMap::new(),
        figures: BTreeMap::new(),
        facts: BTreeMap::new(),
        caps: BTreeMap::from([("c".into(), cap)]),
        fx: None,
        terms: vec![term],
    };
    let agreements = [Agreement {
        id: "m".into(),
        zone: chrono_tz::America::Los_Angeles,
        unit: usd.clone(),
        period: Calendar::of_months(NonZeroU32::MIN),
        versions: vec![version],
    }];
    let end = at("2027-01-01T00:00:00Z");
    let mut attributes = AttributesList::default();
    let clouds: Vec<_> = ["azure", "aws", "gcp", "oci"]
        .iter()
        .map(|c| {
            attributes.push(Attributes(BTreeMap::from([
                (Attribute::Seller, "lab".to_owned()),
                (Attribute::Cloud, c.to_string()),
            ])))
        })
        .collect();
    let n: i64 = 10_000_000;
    let start = at("2026-01-01T08:00:00Z");
    let step = 31_000_000_000_000 / n;
    let known = Knowledge::default();
    let plan = plan(&agreements, end).unwrap();
    let clock = std::time::Instant::now();
    let mut sum = Exact::zero();
    let mut lines = 0u64;
    let mut engine = Engine::new(&plan, &known, attributes, end, |line: Line<'_>| {
        lines += 1;
        sum += &line.amount;
    });
    for i in 0..n {
        let micros = (i * 7919) % 100_000 + 1;
        let amount = Exact::ratio(micros, 1_000_000).unwrap();
        let item = Item {
            at: start + chrono::TimeDelta::microseconds(i * step),
            id: ItemId { id: "e", source: "s", kind: Kind::Usage, meter: "m" },
            attributes: clouds[(i % 4) as usize],
            content: Content::Usage {
                quantity: Exact::zero(),
                charge: Charge::Rated(InUnit { value: amount, unit: &usd }),
            },
            summed_until: None,
        };
        engine.item(&item).unwrap();
    }
    let _ = engine.finish().unwrap();
    let t = clock.elapsed();
    println!("{lines} lines, sum {sum}, {:?}, {:.2} M/s", t, n as f64 / t.as_secs_f64() / 1e6);
}
