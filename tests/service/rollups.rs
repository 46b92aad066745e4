//! Usage summed through rollups equals the sum over every single event, at any boundary and any K.
//!
//! Versions and prices begin in mid-hour, corrections move events over those instants, a context threshold
//! and a deployment are recorded after the usage that they concern. Some usage tells where it was sold, some is
//! of an interval, and corrections change both.

use crate::books::{at, usage};
use crate::support::{TestDatabase, correction, void};
use crate::usage_log::{Content, Draw, Log};
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, Span, Timeline};
use apportion::domain::usage::{Meter, UsageAttribute, UsageEvent};
use apportion::jobs::contracts;
use apportion::store::rollups::{load_unresolved, load_usage};
use apportion::store::span_sums::load_span_sums;
use apportion::store::usage_events::{load_events, load_interval_events};
use std::collections::BTreeMap;
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

/// Segment, deployment, product, customer, country, threshold that is exceeded, meter.
type Key = (usize, [String; 4], u64, String);

/// The plain recomputation: every event alone.
fn recompute<'a>(
    contents: impl Iterator<Item = &'a Content>,
    edges: &[Instant],
    deployments: &[&str],
    thresholds: &[u64],
) -> BTreeMap<Key, Exact> {
    let mut sums: BTreeMap<Key, Exact> = BTreeMap::new();
    for content in contents.filter(|it| deployments.contains(&it.deployment)) {
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
            let names = [content.deployment, content.product, content.customer, content.country].map(str::to_owned);
            let key = (segment, names, over, (*meter).to_owned());
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
    let begins = known.contracts.iter().find_map(|contract| contract.begins()).expect("a version");
    let cut = Timeline::new(begins, end, known.prices.boundaries());
    let whole_hours = Timeline::new(at("2026-05-01T10:00:00Z"), at("2026-05-02T20:00:00Z"), []);
    let contents = log.contents(step.recorded);
    let everywhere: Vec<Content> = contents.values().map(|it| Content { country: "", ..it.clone() }).collect();
    let mut compared = 0;
    for timeline in [cut, whole_hours] {
        let recompute = |usage: &mut dyn Iterator<Item = &Content>| {
            recompute(usage, timeline.edges(), step.deployments, step.thresholds)
        };
        let thresholds = known.prices.thresholds();
        let mut sums: BTreeMap<Key, Exact> = BTreeMap::new();
        for it in load_usage(&mut conn, &timeline, &thresholds, step.at).await.expect("usage") {
            let names = [it.deployment.to_string(), it.product.to_string(), it.customer.to_string(), String::new()];
            let key = (it.segment, names, it.context_over, it.meter.name().to_owned());
            assert!(sums.insert(key.clone(), it.quantity).is_none(), "{key:?} twice");
        }
        assert_eq!(sums, recompute(&mut everywhere.iter()), "as known at {}", step.at);
        compared += sums.len();
        sums.clear();
        // Every other segment is left out, and what lies in it.
        let spans: Vec<Span> = timeline.segments().step_by(2).collect();
        for it in load_span_sums(&mut conn, &spans, &thresholds, step.at).await.expect("usage") {
            assert!(spans.contains(&it.span), "{:?}", it.span);
            let segment = timeline.segment_at(it.span.start).expect("a segment");
            let country = it.attributes.get(&UsageAttribute::Country).cloned().unwrap_or_default();
            let names = [it.deployment, it.product, it.customer, country];
            for (meter, quantity) in it.quantities {
                let key = (segment, names.clone(), it.context_over, meter.name().to_owned());
                assert!(sums.insert(key.clone(), quantity).is_none(), "{key:?} twice");
            }
        }
        let is_summed = |it: &&Content| it.ended_at.is_none() && spans.iter().any(|span| span.contains(it.at));
        let summed = &mut contents.values().filter(is_summed);
        assert_eq!(sums, recompute(summed), "as known at {}", step.at);
        compared += sums.len();
        let span = Span { start: timeline.edges()[0], end: *timeline.edges().last().expect("an end") };
        let intervals = load_interval_events(&mut conn, span, step.at).await.expect("events");
        compared += intervals.len();
        assert_eq!(told(&intervals), expected(&contents, &[span], |it| it.ended_at.is_some()));
    }
    let span = |start, end| Span { start: at(start), end: at(end) };
    let spans = [
        span("2026-05-01T15:00:00Z", "2026-05-01T18:30:00.000001Z"),
        span("2026-05-02T07:45:10.000001Z", "2026-05-02T08:00:00Z"),
        span("2026-05-01T10:17:23.5Z", "2026-05-01T15:30:00.25Z"),
    ];
    let events = load_events(&mut conn, &spans, step.at).await.expect("events");
    assert_eq!(told(&events), expected(&contents, &spans, |_| true));
    compared + events.len()
}

/// When, until when, the id, where and what, and the quantities: of each event in order.
type Told = (Instant, String, Option<Instant>, [String; 4], Vec<(String, Exact)>);

fn told(events: &[UsageEvent]) -> Vec<Told> {
    let told = |UsageEvent { id, content: it }: &UsageEvent| {
        let country = it.attributes.get(&UsageAttribute::Country).cloned().unwrap_or_default();
        let names = [it.deployment.clone(), it.product.clone(), it.customer.clone(), country];
        let quantities = it.quantities.iter().map(|(meter, it)| (meter.name().to_owned(), Exact::from(*it)));
        (it.occurred_at, id.id.clone(), it.ended_at, names, quantities.collect())
    };
    events.iter().map(told).collect()
}

fn expected(contents: &BTreeMap<usize, Content>, spans: &[Span], is_wanted: fn(&Content) -> bool) -> Vec<Told> {
    let wanted = |(_, it): &(&usize, &Content)| is_wanted(it) && spans.iter().any(|span| span.contains(it.at));
    let told = |(number, it): (&usize, &Content)| {
        let names = [it.deployment, it.product, it.customer, it.country].map(str::to_owned);
        let quantity = |(meter, value): &(&str, String)| {
            let meter: Meter = meter.parse().expect("a meter");
            (meter, value.parse::<Exact>().expect("a number"))
        };
        let quantities: BTreeMap<Meter, Exact> = it.quantities.iter().map(quantity).collect();
        let nonzero = quantities.into_iter().filter(|(_, it)| !it.is_zero());
        let quantities = nonzero.map(|(meter, it)| (meter.name().to_owned(), it)).collect();
        (it.at, number.to_string(), it.ended_at, names, quantities)
    };
    let mut all: Vec<Told> = contents.iter().filter(wanted).map(told).collect();
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
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
