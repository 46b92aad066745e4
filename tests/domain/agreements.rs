//! Small agreements, drawn at random: each as documents for the engine and as plain structs for the auditor.

use crate::auditor::{Agreement, Cap, Micros, Mode, ONE, Place, Select, Term, Version};
use apportion::domain::contract::folder::SourceFile;
use chrono::{Days, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use std::fmt::Write;

pub const CURRENCIES: [(&str, u32); 3] = [("USD", 2), ("JPY", 0), ("KWD", 3)];
const RATES: [(&str, (i128, i128)); 6] =
    [("20%", (1, 5)), ("1/3", (1, 3)), ("12.5%", (1, 8)), ("100%", (1, 1)), ("0%", (0, 1)), ("0.07", (7, 100))];
const ZONES: [Tz; 3] = [chrono_tz::UTC, chrono_tz::America::Los_Angeles, chrono_tz::Asia::Kolkata];
const MODES: [(&str, Mode); 3] = [("half_up", Mode::HalfUp), ("half_even", Mode::HalfEven), ("down", Mode::Down)];
pub const SHARE: usize = 0;
pub const RESALE: usize = 1;

/// A term as it was drawn; days count from 1 January 2026.
#[derive(Clone, Debug)]
pub struct TermPlan {
    rate: usize,
    /// 0 for all products, 1 and 2 for one of them.
    product: usize,
    from: Option<i64>,
    through: Option<i64>,
    until: bool,
    /// Where refunds and taxes stand: nowhere, at the item, at their own date.
    less: [usize; 2],
    /// The limit, the day from which it counts, the opening.
    cap: Option<(i64, i64, i64)>,
}

#[derive(Clone, Debug)]
pub struct VersionPlan {
    effective: i64,
    /// The step from which it is known.
    pub known: usize,
    main: Option<TermPlan>,
    figure: bool,
    accrual: bool,
    /// What Microsoft-like sellers pay back; not always in force.
    back: Option<TermPlan>,
    /// A share of the main share.
    fee: Option<TermPlan>,
    fee_first: bool,
}

#[derive(Clone, Debug)]
pub struct Plan {
    zone: [usize; 2],
    pub quarters: bool,
    pub currency: usize,
    mode: [usize; 2],
    pub share: Vec<VersionPlan>,
    pub resale: Vec<VersionPlan>,
}

pub fn term_plan() -> impl Strategy<Value = TermPlan> {
    let cap =
        (1..400_i64, -30..150_i64, 0..100_i64).prop_map(|(limit, from, opening)| (limit, from, opening.min(limit)));
    let day = |chance| prop::option::weighted(chance, 0..170_i64);
    (
        0..RATES.len(),
        0..3_usize,
        day(0.1),
        day(0.2),
        prop::bool::weighted(0.2),
        [0..3_usize, 0..3],
        prop::option::of(cap),
    )
        .prop_map(|(rate, product, from, through, until, less, cap)| TermPlan {
            rate,
            product,
            through: through.map(|day| day.max(from.unwrap_or(0))),
            from,
            until,
            less,
            cap,
        })
}

fn version_plan() -> impl Strategy<Value = VersionPlan> {
    let maybe = |chance| prop::option::weighted(chance, term_plan());
    (-30..150_i64, 0..6_usize, maybe(0.85), any::<[bool; 3]>(), maybe(0.3), maybe(0.3)).prop_map(
        |(effective, known, main, [figure, accrual, fee_first], back, fee)| VersionPlan {
            effective,
            known,
            main,
            figure,
            accrual,
            back,
            fee,
            fee_first,
        },
    )
}

/// The first version is known from the start and has the main term; it begins before the first settled period.
fn versions(most: usize) -> impl Strategy<Value = Vec<VersionPlan>> {
    (-30..20_i64, term_plan(), prop::collection::vec(version_plan(), 1..=most), any::<bool>()).prop_map(
        |(effective, main, mut plans, keep_cap)| {
            plans[0] = VersionPlan { effective, known: 0, main: Some(main), ..plans[0].clone() };
            for index in 1..plans.len() {
                plans[index].known = plans[index].known.max(plans[index - 1].known);
                // Often the same cap goes on while something else changes.
                let cap = plans[index - 1].main.as_ref().and_then(|main| main.cap);
                if let (true, Some(main)) = (keep_cap, &mut plans[index].main) {
                    main.cap = cap;
                }
            }
            // A term that ends before its contract begins is refused.
            let begins = plans.iter().map(|plan| plan.effective).min().expect("a version");
            let terms = plans.iter_mut().flat_map(|plan| [&mut plan.main, &mut plan.back, &mut plan.fee]).flatten();
            for term in terms {
                // So is one that begins before it: at first only the first version may be known.
                term.from = term.from.map(|from| from.max(effective));
                term.through = term.through.map(|through| through.max(begins).max(term.from.unwrap_or(begins)));
            }
            plans
        },
    )
}

pub fn plan() -> impl Strategy<Value = Plan> {
    ([0..3_usize, 0..3], any::<bool>(), 0..3_usize, [0..3_usize, 0..3], versions(3), versions(2)).prop_map(
        |(zone, quarters, currency, mode, share, resale)| Plan { zone, quarters, currency, mode, share, resale },
    )
}

pub fn date(day: i64) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
    let days = Days::new(day.unsigned_abs());
    if day < 0 { first - days } else { first + days }
}

/// The first instant of a day in a zone; none of the zones skips a midnight.
pub fn midnight(zone: Tz, date: NaiveDate) -> Micros {
    let local = date.and_hms_opt(0, 0, 0).expect("midnight");
    zone.from_local_datetime(&local).earliest().expect("an instant").with_timezone(&Utc).timestamp_micros()
}

pub const REGISTER: &str = r#"# Register
```toml
[party]
lab.name = "Lab"
cloud.name = "Cloud"
reseller.name = "Reseller"
[cloud.first]
operator = "cloud"
[cloud.second]
operator = "reseller"
[product.p]
maker = "lab"
[product.q]
maker = "lab"
[deployment]
direct = { cloud = "first", channel = "direct", region = "r", operator = "lab", seller = "lab" }
hosted = { cloud = "first", channel = "hosted", region = "r", operator = "cloud", seller = "cloud" }
resold = { cloud = "second", channel = "resold", region = "r", operator = "reseller", seller = "reseller" }
own-use = { cloud = "first", channel = "own-use", region = "r", operator = "cloud" }
```
"#;

impl Plan {
    pub fn zone(&self, agreement: usize) -> Tz {
        ZONES[self.zone[agreement]]
    }

    fn months(&self, agreement: usize) -> u32 {
        if self.quarters && agreement == SHARE { 3 } else { 1 }
    }

    fn plans(&self, agreement: usize) -> &[VersionPlan] {
        if agreement == SHARE { &self.share } else { &self.resale }
    }

    /// The documents of both agreements.
    pub fn files(&self) -> Vec<SourceFile> {
        let mut files = vec![SourceFile { path: "register.md".into(), text: REGISTER.into() }];
        for (agreement, name) in [(SHARE, "share"), (RESALE, "resale")] {
            let period = if self.months(agreement) == 3 { "quarter" } else { "month" };
            let (currency, mode) = (CURRENCIES[self.currency].0, MODES[self.mode[agreement]].0);
            let text = format!(
                "# {name}\n```toml\n[contract]\nid = \"{name}\"\nzone = \"{}\"\ncurrency = \"{currency}\"\n\
                 period = \"{period}\"\nrounding = \"{mode}\"\nnegative = \"carry\"\n\
                 [figure.Reported]\nunit = \"{currency}\"\nkind = \"flow\"\nby = \"lab\"\nmissing = \"zero\"\n\
                 [fact.milestone]\nkind = \"event\"\nby = \"lab\"\n```\n",
                self.zone(agreement)
            );
            files.push(SourceFile { path: format!("{name}/contract.md"), text });
            for (index, version) in self.plans(agreement).iter().enumerate() {
                let number = index + 1;
                let mut text = format!(
                    "# Version\n```toml\n[version]\ncontract = \"{name}\"\nnumber = {number}\neffective = {}\n",
                    date(version.effective)
                );
                for drawn in version.terms(agreement) {
                    drawn.write(&mut text, CURRENCIES[self.currency].0);
                }
                text.push_str("```\n");
                files.push(SourceFile { path: format!("{name}/{number}.md"), text });
            }
        }
        files
    }

    /// Both agreements as known at a step, for the auditor.
    pub fn agreements(&self, step: usize, milestones: &[Micros]) -> Vec<Agreement> {
        let agreement = |index: usize| {
            let zone = self.zone(index);
            let known = self.plans(index).iter().enumerate().filter(|(_, plan)| plan.known <= step);
            Agreement {
                zone,
                months: self.months(index),
                mode: MODES[self.mode[index]].1,
                versions: known
                    .map(|(number, plan)| Version {
                        number: u32::try_from(number).expect("a few"),
                        effective: midnight(zone, date(plan.effective)),
                        terms: plan.terms(index).iter().map(|drawn| drawn.term(zone)).collect(),
                    })
                    .collect(),
                milestones: if index == SHARE { milestones.to_vec() } else { Vec::new() },
            }
        };
        vec![agreement(SHARE), agreement(RESALE)]
    }

    /// The instants around which most can go wrong.
    pub fn edges(&self) -> Vec<Micros> {
        let mut edges = Vec::new();
        for agreement in [SHARE, RESALE] {
            let mut days: Vec<i64> = vec![0, 31, 59, 90, 120, 151, 181];
            for version in self.plans(agreement) {
                days.push(version.effective);
                for drawn in version.terms(agreement) {
                    days.extend(drawn.plan.from);
                    days.extend(drawn.plan.through.map(|day| day + 1));
                    days.extend(drawn.plan.cap.map(|(_, day, _)| day));
                }
            }
            edges.extend(days.into_iter().map(|day| midnight(self.zone(agreement), date(day))));
        }
        edges
    }
}

impl VersionPlan {
    /// The terms in the order of the file.
    fn terms(&self, agreement: usize) -> Vec<Drawn<'_>> {
        let drawn = |name, plan, select| Drawn { name, plan, select };
        if agreement == RESALE {
            let main = self.main.iter().map(|plan| drawn("lab-share", plan, vec![plan.charges("reseller")]));
            return main.collect();
        }
        let main = self.main.iter().map(|plan| {
            let mut select = vec![plan.charges("lab")];
            select.extend(self.figure.then_some(Select::Figure));
            select.extend(self.accrual.then_some(Select::Accrual { contract: RESALE, term: "lab-share" }));
            drawn("main", plan, select)
        });
        let back = self.back.iter().map(|plan| drawn("back", plan, vec![plan.charges("cloud")]));
        let accrual = || Select::Accrual { contract: SHARE, term: "main" };
        let fee = self.fee.iter().map(|plan| drawn("fee", plan, vec![accrual()]));
        if self.fee_first { fee.chain(main).chain(back).collect() } else { main.chain(back).chain(fee).collect() }
    }
}

impl TermPlan {
    fn charges(&self, seller: &'static str) -> Select {
        let products = [vec![], vec!["p"], vec!["q"]];
        Select::Charges { seller, products: products[self.product].clone() }
    }
}

struct Drawn<'a> {
    name: &'static str,
    plan: &'a TermPlan,
    select: Vec<Select>,
}

impl Drawn<'_> {
    fn less(&self) -> Vec<(&'static str, Place)> {
        let places = [None, Some(Place::Item), Some(Place::OwnDate)];
        let less = ["refund", "tax"].into_iter().zip(self.plan.less);
        less.filter_map(|(category, place)| Some((category, places[place]?))).collect()
    }

    fn term(&self, zone: Tz) -> Term {
        Term {
            name: self.name,
            rate: RATES[self.plan.rate].1,
            select: self.select.clone(),
            less: self.less(),
            from: self.plan.from.map(|day| midnight(zone, date(day))),
            end: self.plan.through.map(|day| midnight(zone, date(day + 1))),
            until_milestone: self.plan.until,
            cap: self.plan.cap.map(|(limit, day, opening)| Cap {
                limit: i128::from(limit) * ONE,
                counts_from: midnight(zone, date(day)),
                opening: i128::from(opening) * ONE,
            }),
        }
    }

    fn write(&self, to: &mut String, currency: &str) {
        let (name, plan) = (self.name, self.plan);
        let select: Vec<String> = self.select.iter().map(write_select).collect();
        let less = self.less().into_iter().map(|(category, place)| {
            let place = if place == Place::Item { "item" } else { "own_date" };
            format!("{{ deductions = [\"{category}\"], at = \"{place}\" }}")
        });
        let less: Vec<String> = less.collect();
        let (payer, payee) = match name {
            "lab-share" => ("reseller", "lab"),
            "back" => ("cloud", "lab"),
            _ => ("lab", "cloud"),
        };
        let mut line = |text: String| writeln!(to, "{text}").expect("a string takes it");
        line(format!("[base.\"{name} base\"]\nselect = [{}]\nless = [{}]", select.join(", "), less.join(", ")));
        let rate = RATES[plan.rate].0;
        line(format!(
            "[term.{name}]\npayer = \"{payer}\"\npayee = \"{payee}\"\nrate = \"{rate}\"\nof = \"{name} base\""
        ));
        if let Some(day) = plan.from {
            line(format!("from = {}", date(day)));
        }
        if let Some(day) = plan.through {
            line(format!("through = {}", date(day)));
        }
        if plan.until {
            line("until = \"milestone\"".into());
        }
        if let Some((limit, day, opening)) = plan.cap {
            line(format!("[term.{name}.cap]\nis = \"{limit} {currency}\"\neach = \"term\"\nfrom = {}", date(day)));
            line(format!("opening = \"{opening} {currency}\"\nexcess = \"lost\""));
        }
    }
}

fn write_select(select: &Select) -> String {
    match select {
        Select::Charges { seller, products } if products.is_empty() => {
            format!("{{ charges = {{ seller = \"{seller}\" }} }}")
        }
        Select::Charges { seller, products } => {
            format!("{{ charges = {{ seller = \"{seller}\", product = {products:?} }} }}")
        }
        Select::Figure => "{ figure = \"Reported\" }".into(),
        Select::Accrual { contract, term } => {
            format!("{{ accrual = \"{}/{term}\" }}", if *contract == SHARE { "share" } else { "resale" })
        }
    }
}
