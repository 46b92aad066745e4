//! The generator keeps its word: same seed, same bytes; nothing that has no price; exact counts.

use super::generate::{Generator, Plan};
use super::manifest::Manifest;
use super::message::Mode;
use super::usage::REPORTERS;
use crate::domain::calendar::Period;
use crate::domain::outcome::Counts;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const PRICES: &str = include_str!("../../contracts/prices.csv");
const REGISTER: &str = include_str!("../../contracts/register.md");

fn month(text: &str) -> Period {
    text.parse().expect("a month")
}

fn run(plan: Plan) -> (String, Manifest, usize) {
    let mut generator = Generator::new(plan).expect("a plan");
    let mut digest = Sha256::new();
    let mut binary = 0;
    for message in generator.by_ref() {
        binary += usize::from(message.mode == Mode::Binary);
        for part in [&*message.topic, &message.key, &message.line()] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        for (name, value) in message.headers() {
            digest.update(name.as_bytes());
            digest.update(value.as_bytes());
        }
    }
    let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    (hex, generator.manifest().clone(), binary)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let plan = Plan { month: month("2026-05"), events: 5_000, seed: 42, late: true, empty_messages: true };
    let (digest, manifest, binary) = run(plan);
    assert_eq!(digest, "72c2daa3ca3eb794eeb66c5d08f597daa5ef8124d3ea4827ca70964c6c783812");
    assert_ne!(run(Plan { seed: 43, ..plan }).0, digest);
    assert!(binary > 300, "{binary} messages in binary mode");
    assert_eq!(manifest.late, 50);
}

#[test]
fn two_months_of_one_seed_share_no_id() {
    let keys = |name: &str| -> std::collections::BTreeSet<String> {
        let plan = Plan { month: month(name), events: 3_000, seed: 42, late: false, empty_messages: false };
        Generator::new(plan).expect("a plan").map(|message| message.key.clone()).collect()
    };
    assert!(keys("2026-04").is_disjoint(&keys("2026-05")));
}

#[test]
fn the_counts_are_exact_and_add_up() {
    let (_, manifest, _) =
        run(Plan { month: month("2026-05"), events: 20_000, seed: 7, late: true, empty_messages: true });
    let expected = Counts {
        stored: 20_000 - 80,
        stored_unresolved: 80,
        duplicate: 180 + 2 * 20 + 6,
        conflict: 10,
        correction_applied: 60 + 2,
        correction_waiting: 6,
        void_applied: 20 + 2,
        void_waiting: 2,
        no_usage: 0,
        rejected: 40,
    };
    assert_eq!(manifest.counts, expected);
    assert_eq!(manifest.rejections.values().sum::<u64>(), 40);
    assert_eq!(manifest.events_by_deployment.values().sum::<u64>(), 20_000);
    assert_eq!(manifest.events_by_outcome.values().sum::<u64>(), 20_000);
    // About 30 in 10,000 of those with an outcome; those of the one deployment that reports none.
    assert!((30..90).contains(&manifest.events_by_outcome["error"]), "{:?}", manifest.events_by_outcome);
    assert!(manifest.events_by_outcome["not reported"] >= manifest.events_by_deployment["microsoft-copilot"]);
    assert_eq!(manifest.late, 200);
    assert_eq!(manifest.rejections.len(), 10);
    let (_, early, _) =
        run(Plan { month: month("2026-04"), events: 20_000, seed: 7, late: false, empty_messages: true });
    assert_eq!(early.late, 0);
}

#[test]
fn every_instant_lies_in_the_month_but_for_late_ones() {
    let plan = Plan { month: month("2026-05"), events: 5_000, seed: 1, late: true, empty_messages: true };
    let span = plan.month.span(super::usage::ZONE);
    let amendment = super::usage::ANY_CLOUD_FROM_MICROS;
    let (mut early, mut late) = (BTreeSet::new(), BTreeSet::new());
    for message in Generator::new(plan).expect("a plan") {
        let Some(event) = message.event else { continue };
        let Ok(at) = crate::domain::period::parse_instant(event.attribute("time")) else { continue };
        assert!(at < span.end, "{at}");
        if at < span.start {
            let side = if at.timestamp_micros() < amendment { &mut early } else { &mut late };
            side.insert(message.topic.into_owned());
        }
    }
    assert_eq!(
        early,
        BTreeSet::from(["usage.azure".to_owned(), "usage.direct".to_owned()]),
        "before the amendment all stand on Azure"
    );
    assert!(late.contains("usage.aws"), "{late:?}");
}

/// The deployment's channel and region, from the register.
fn place(deployment: &str) -> (String, String) {
    let block = REGISTER.split(&format!("[deployment.{deployment}]")).nth(1).expect("a registered deployment");
    let field = |name: &str| {
        let line = block.lines().find(|line| line.starts_with(&format!("{name} = "))).expect("a field");
        line.split('"').nth(1).expect("a text").to_owned()
    };
    (field("channel"), field("region"))
}

#[test]
fn every_product_tier_and_meter_has_a_price_at_its_deployment() {
    let mut reader = csv::Reader::from_reader(PRICES.as_bytes());
    let prices: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.expect("a price")).collect();
    let plan = Plan { month: month("2026-05"), events: 20_000, seed: 42, late: true, empty_messages: true };
    let mut used = BTreeSet::new();
    for message in Generator::new(plan).expect("a plan") {
        let Some(event) = message.event else { continue };
        let Ok(data) = serde_json::from_str::<serde_json::Value>(&event.data) else { continue };
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let known = REPORTERS.iter().any(|(_, reporter)| reporter.deployment == text("deployment"));
        if event.attribute("type") != "apportion.usage.v1" || !known || text("product") == "gpt-5.6-preview" {
            continue;
        }
        for (meter, quantity) in data["quantities"].as_object().expect("quantities") {
            if meter != "smiles" {
                assert!(!quantity.is_null());
                used.insert((text("deployment"), text("product"), text("service_tier"), meter.clone()));
            }
        }
    }
    assert!(used.len() > 80, "{} combinations", used.len());
    for (deployment, product, tier, meter) in used.iter().filter(|(_, product, ..)| !product.is_empty()) {
        let (channel, region) = place(deployment);
        let priced = prices.iter().any(|price| {
            let any_or = |column: &str, own: &str| price[column].is_empty() || price[column] == own;
            let same = [("product", product), ("service_tier", tier), ("meter", meter)];
            same.iter().all(|(column, own)| price[*column] == **own)
                && price["context_over"].is_empty()
                && price["customer"].is_empty()
                && any_or("region", &region)
                && any_or("channel", &channel)
        });
        assert!(priced, "{deployment} {product} {tier} {meter}");
        // A narrowed price would win for its meters alone, so batch is not sold where one is narrowed.
        let narrowed = prices
            .iter()
            .any(|price| price["product"] == *product && (price["region"] == region || price["channel"] == channel));
        assert!(!(narrowed && tier == "batch"), "{deployment} {product} {tier}");
    }
}
