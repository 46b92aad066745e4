//! Usage summed through rollups equals the sum over every single event, at any boundary and any K.
//!
//! Versions and prices begin in mid-hour, corrections move events over those instants, a context threshold
//! and a deployment are recorded after the usage that they concern.

use crate::books::{at, usage};
use crate::support::{TestDatabase, correction, void, write_lines};
use apportion::domain::contract::simple;
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, Timeline};
use apportion::domain::sharing::timeline;
use apportion::jobs::contracts;
use apportion::store::rollups::{load_unresolved, load_usage};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const TERMS: &str = r#"
[base.Sales]
select = [{ charges = { seller = "op" } }]
[term.share]
payer = "op"
payee = "lab"
rate = "10%"
of = "Sales"
"#;

const CONTRACT: &str = r#"[contract]
id = "c"
zone = "Asia/Kolkata"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"
"#;

const REGISTER: &str = r#"[party.op]
name = "Operator"
[party.lab]
name = "Lab"
[cloud.cloud]
operator = "op"
[product.m]
maker = "lab"
[product.n]
maker = "lab"
[deployment.a]
cloud = "cloud"
channel = "ch"
region = "r"
operator = "op"
seller = "op"
[deployment.b]
cloud = "cloud"
channel = "ch"
region = "r"
operator = "op"
"#;

const LATER_DEPLOYMENT: &str = r#"[deployment.c]
cloud = "cloud"
channel = "ch"
region = "r"
operator = "op"
seller = "op"
"#;

const PRICES: &str = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n\
     m,m,input_tokens,default,,,,,1,1,USD,,2026-05-01T15:30:00.25Z,s\n\
     m2,m,input_tokens,default,,,,,2,1,USD,2026-05-01T15:30:00.25Z,,s\n\
     m3,m,input_tokens,default,,,,1000,3,1,USD,,,s\n";

fn write_folder(folder: &Path, effective: &[&str], later_deployment: bool, more_prices: &str) {
    let block = |text: &str| format!("# Title\n\n```toml\n{text}\n```\n");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    write("register.md", block(&format!("{REGISTER}{}", if later_deployment { LATER_DEPLOYMENT } else { "" })));
    write("contract.md", block(CONTRACT));
    for (number, instant) in (1..).zip(effective) {
        let version = format!("[version]\ncontract = \"c\"\nnumber = {number}\neffective = {instant}\n{TERMS}");
        write(&format!("{number}.md"), block(&version));
    }
    write("prices.csv", format!("{PRICES}{more_prices}"));
}

/// splitmix64: the same numbers on every machine, for ever.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Often at or beside an instant at which something begins, else anywhere in two days.
    fn instant(&mut self) -> Instant {
        let edges = [
            "2026-05-01T10:17:23.5Z",
            "2026-05-01T15:30:00.25Z",
            "2026-05-02T07:45:10.000001Z",
            "2026-05-02T18:30:00Z",
            "2026-05-01T11:00:00Z",
        ];
        if self.below(3) == 0 {
            return at(self.one(&edges)) + chrono::TimeDelta::microseconds(self.below(5) as i64 - 2);
        }
        at("2026-05-01T09:00:00Z") + chrono::TimeDelta::microseconds(self.below(36 * 3_600_000_000) as i64)
    }

    fn quantities(&mut self) -> Vec<(&'static str, String)> {
        let context = self.one(&[1, 400, 699, 700, 701, 999, 1000, 1001, 5000]);
        let cached = self.below(context + 1);
        let written = self.below(context - cached + 1);
        vec![
            ("input_tokens", (context - cached - written).to_string()),
            ("cached_input_tokens", cached.to_string()),
            ("cache_write_5m_tokens", written.to_string()),
            ("output_tokens", self.below(50).to_string()),
            ("state_gb_hours", format!("0.{:03}", self.below(1000))),
            ("requests", "1".to_owned()),
        ]
    }
}

#[derive(Clone)]
struct Content {
    at: Instant,
    deployment: &'static str,
    product: &'static str,
    customer: &'static str,
    quantities: Vec<(&'static str, String)>,
}

/// A field that a correction restates.
#[derive(Clone)]
enum Restated {
    At(Instant),
    Deployment(&'static str),
    Product(&'static str),
    Quantities(Vec<(&'static str, String)>),
}

#[derive(Clone)]
enum Said {
    Event(Content),
    Correction { of: usize, restated: Restated },
    VoidOfEvent(usize),
    VoidOfCorrection(usize),
}

/// Everything that was sent, in order, with how much of it was recorded by each step.
#[derive(Default)]
struct Log {
    said: Vec<Said>,
    sent: usize,
}

fn json_of(quantities: &[(&str, String)]) -> String {
    let parts: Vec<String> = quantities.iter().map(|(meter, value)| format!(r#""{meter}":"{value}""#)).collect();
    format!("{{{}}}", parts.join(","))
}

impl Log {
    fn line(&self, number: usize) -> String {
        let (kind, time, data) = match &self.said[number] {
            Said::Event(it) => {
                let quantities = json_of(&it.quantities);
                let data = format!(
                    r#"{{"deployment":"{}","product":"{}","customer":"{}","quantities":{quantities}}}"#,
                    it.deployment, it.product, it.customer
                );
                ("", it.at, data)
            }
            Said::Correction { of, restated } => {
                let field = match restated {
                    Restated::At(instant) => format!(r#""occurred_at":"{}""#, instant.to_rfc3339()),
                    Restated::Deployment(name) => format!(r#""deployment":"{name}""#),
                    Restated::Product(name) => format!(r#""product":"{name}""#),
                    Restated::Quantities(quantities) => format!(r#""quantities":{}"#, json_of(quantities)),
                };
                (".correction", at("2026-06-01T00:00:00Z"), format!(r#"{{"corrects":"{of}",{field}}}"#))
            }
            Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) => {
                (".void", at("2026-06-01T00:00:00Z"), format!(r#"{{"voids":"{of}"}}"#))
            }
        };
        let time = time.to_rfc3339();
        format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"test","type":"apportion.usage{kind}.v1","time":"{time}","data":{data}}}"#
        )
    }

    /// Says so many things more; each names only what it may name.
    fn grow(&mut self, draw: &mut Draw, count: usize) {
        for _ in 0..count {
            let amended = self.amendment(draw);
            let content = Content {
                at: draw.instant(),
                deployment: draw.one(&["a", "a", "b", "c", "unknown"]),
                product: draw.one(&["m", "m", "n"]),
                customer: draw.one(&["", "x", "y"]),
                quantities: draw.quantities(),
            };
            self.said.push(amended.unwrap_or(Said::Event(content)));
        }
    }

    fn amendment(&self, draw: &mut Draw) -> Option<Said> {
        if self.said.is_empty() || draw.below(3) > 0 {
            return None;
        }
        let of = draw.below(self.said.len() as u64) as usize;
        let is_voided = |wanted: usize| {
            self.said.iter().any(|it| matches!(it, Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) if *of == wanted))
        };
        if is_voided(of) {
            return None;
        }
        match (&self.said[of], draw.below(5)) {
            (Said::Event(_), 0) => Some(Said::VoidOfEvent(of)),
            (Said::Event(_), 1) => Some(Said::Correction { of, restated: Restated::Quantities(draw.quantities()) }),
            (Said::Event(_), 2) => {
                Some(Said::Correction { of, restated: Restated::Deployment(draw.one(&["a", "b", "c", "unknown"])) })
            }
            (Said::Event(_), 3) => Some(Said::Correction { of, restated: Restated::Product(draw.one(&["m", "n"])) }),
            (Said::Event(_), _) => Some(Said::Correction { of, restated: Restated::At(draw.instant()) }),
            (Said::Correction { .. }, 0..3) => Some(Said::VoidOfCorrection(of)),
            _ => None,
        }
    }

    /// Sends what was not sent yet, in batches of varied size; some corrections overtake their events.
    async fn send(&mut self, database: &TestDatabase, draw: &mut Draw) {
        let mut writer = database.writer().await;
        let mut numbers: Vec<usize> = (self.sent..self.said.len()).collect();
        for place in 1..numbers.len() {
            let (before, after) = (numbers[place - 1], numbers[place]);
            // The order of corrections among each other decides, so only an event may be overtaken.
            if matches!(self.said[after], Said::Correction { of, .. } if of == before) {
                numbers.swap(place - 1, place);
            }
        }
        let mut rest = numbers.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + draw.below(60) as usize));
            let lines: Vec<String> = now.iter().map(|number| self.line(*number)).collect();
            assert_eq!(write_lines(&mut writer, &lines).await.rejected, 0);
            rest = later;
        }
        self.sent = self.said.len();
    }

    /// Every event as it stands after the first `recorded` things that were said.
    fn contents(&self, recorded: usize) -> Vec<Content> {
        let said = &self.said[..recorded];
        let voided: BTreeSet<usize> = said
            .iter()
            .filter_map(|it| match it {
                Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) => Some(*of),
                Said::Event(_) | Said::Correction { .. } => None,
            })
            .collect();
        let mut contents: BTreeMap<usize, Content> = BTreeMap::new();
        for (number, it) in said.iter().enumerate().filter(|(number, _)| !voided.contains(number)) {
            match it {
                Said::Event(content) => drop(contents.insert(number, content.clone())),
                Said::Correction { of, restated } => {
                    let Some(content) = contents.get_mut(of) else { continue };
                    match restated.clone() {
                        Restated::At(instant) => content.at = instant,
                        Restated::Deployment(name) => content.deployment = name,
                        Restated::Product(name) => content.product = name,
                        Restated::Quantities(quantities) => content.quantities = quantities,
                    }
                }
                Said::VoidOfEvent(_) | Said::VoidOfCorrection(_) => {}
            }
        }
        contents.into_values().collect()
    }
}

/// Segment, deployment, product, customer, threshold that is exceeded, meter.
type Key = (usize, String, String, String, u64, String);

/// The plain recomputation: every event alone.
fn recompute(
    contents: &[Content],
    edges: &[Instant],
    deployments: &[&str],
    thresholds: &[u64],
) -> BTreeMap<Key, Exact> {
    let mut sums: BTreeMap<Key, Exact> = BTreeMap::new();
    for content in contents.iter().filter(|it| deployments.contains(&it.deployment)) {
        let Some(segment) = edges.windows(2).position(|it| it[0] <= content.at && content.at < it[1]) else { continue };
        let context: u64 = content
            .quantities
            .iter()
            .filter(|(meter, _)| ["input_tokens", "cached_input_tokens", "cache_write_5m_tokens"].contains(meter))
            .map(|(_, quantity)| quantity.parse::<u64>().expect("whole"))
            .sum();
        let exceeded = thresholds.iter().filter(|over| content.product == "m" && context > **over);
        let over = exceeded.max().copied().unwrap_or(0);
        for (meter, quantity) in &content.quantities {
            let names = [content.deployment, content.product, content.customer].map(str::to_owned);
            let [deployment, product, customer] = names;
            let key = (segment, deployment, product, customer, over, (*meter).to_owned());
            *sums.entry(key).or_default() += &quantity.parse::<Exact>().expect("a number");
        }
    }
    sums.retain(|_, sum| !sum.is_zero());
    sums
}

/// What is loaded before more usage comes, and what then counts.
#[derive(Clone, Copy)]
struct Round<'a> {
    effective: &'a [&'a str],
    later_deployment: bool,
    prices: &'a str,
    deployments: &'static [&'static str],
    thresholds: &'static [u64],
}

/// What was known at a watermark, for the recomputation.
struct Step {
    at: Instant,
    recorded: usize,
    deployments: &'static [&'static str],
    thresholds: &'static [u64],
}

async fn check(database: &TestDatabase, log: &Log, step: &Step) -> usize {
    let mut conn = database.pool.acquire().await.expect("a connection");
    let known = contracts::load(&mut conn, step.at).await.expect("agreements");
    let end = at("2026-05-02T18:30:00Z");
    let simple = simple::contracts(&known.contracts, &"c".into()).expect("shares");
    let cut = timeline(&simple, &[], &known.prices, end).expect("a version");
    let whole_hours = Timeline::new(at("2026-05-01T10:00:00Z"), at("2026-05-02T20:00:00Z"), []);
    let mut compared = 0;
    for timeline in [cut, whole_hours] {
        let rollups = load_usage(&mut conn, &timeline, &known.prices.thresholds(), step.at).await.expect("usage");
        let mut sums: BTreeMap<Key, Exact> = BTreeMap::new();
        for it in rollups {
            let (deployment, product) = (it.deployment.to_string(), it.product.to_string());
            let meter = it.meter.name().to_owned();
            let key = (it.segment, deployment, product, it.customer.to_string(), it.context_over, meter);
            assert!(sums.insert(key.clone(), it.quantity).is_none(), "{key:?} twice");
        }
        let expect = recompute(&log.contents(step.recorded), timeline.edges(), step.deployments, step.thresholds);
        assert_eq!(sums, expect, "as known at {}", step.at);
        compared += sums.len();
    }
    compared
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_equal_the_events_at_every_boundary_and_every_k() {
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut draw, mut log, mut steps) = (Draw(20_260_501), Log::default(), Vec::new());
    let both = ["2026-05-01T10:17:23.5Z", "2026-05-02T07:45:10.000001Z"];
    let later_threshold = "m4,m,input_tokens,default,,,,700,4,1,USD,,,s\n";
    let first = Round {
        effective: &both[..1],
        later_deployment: false,
        prices: "",
        deployments: &["a", "b"],
        thresholds: &[1000],
    };
    let second = Round { effective: &both, ..first };
    let third = Round { prices: later_threshold, thresholds: &[700, 1000], ..second };
    let fourth = Round { later_deployment: true, deployments: &["a", "b", "c"], ..third };
    for Round { effective, later_deployment, prices, deployments, thresholds } in [first, second, third, fourth] {
        write_folder(folder.path(), effective, later_deployment, prices);
        database.apply(folder.path()).await;
        // What the folder adds changes how earlier usage counts, before any more is recorded.
        steps.push(Step { at: database.watermark().await, recorded: log.sent, deployments, thresholds });
        for _ in 0..2 {
            log.grow(&mut draw, 250);
            log.send(&database, &mut draw).await;
            steps.push(Step { at: database.watermark().await, recorded: log.sent, deployments, thresholds });
        }
    }
    let mut compared = 0;
    for step in &steps {
        compared += check(&database, &log, step).await;
    }
    assert!(compared > 2000, "{compared} sums were compared");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unresolved_usage_is_counted_up_to_an_end_in_mid_hour() {
    let database = TestDatabase::empty().await;
    let unknown = |id: &str, time: &str| usage(id, time, "nowhere", "m", &[("requests", "1")]);
    let lines = [
        unknown("whole-hour", "2026-05-31T17:59:59Z"),
        unknown("last", "2026-05-31T18:29:59.999999Z"),
        unknown("first-after", "2026-05-31T18:30:00Z"),
        unknown("moved-in", "2026-05-31T18:45:00Z"),
        unknown("moved-out", "2026-05-31T18:10:00Z"),
        unknown("voided", "2026-05-31T18:10:00Z"),
    ];
    database.write(&lines).await;
    let before = database.watermark().await;
    let moved = |to: &str| format!(r#""occurred_at":"{to}""#);
    let amendments = [
        correction("k1", "moved-in", &moved("2026-05-31T18:00:00Z")),
        correction("k2", "moved-out", &moved("2026-05-31T18:30:00Z")),
        void("v", "voided"),
    ];
    database.write(&amendments).await;
    let now = database.watermark().await;
    let mut conn = database.pool.acquire().await.expect("a connection");
    // The end of May in Kolkata, and the hours beside it.
    for (end, known_at, events) in [
        ("2026-05-31T18:30:00Z", before, 4),
        ("2026-05-31T18:30:00Z", now, 3),
        ("2026-05-31T18:00:00Z", now, 1),
        ("2026-05-31T19:00:00Z", before, 6),
        ("2026-05-31T19:00:00Z", now, 5),
    ] {
        let found = load_unresolved(&mut conn, at(end), known_at).await.expect("usage");
        assert_eq!(found.iter().map(|it| it.events).sum::<i64>(), events, "{end} as known at {known_at}");
    }
    drop(conn);
    database.drop_it().await;
}
