//! Findings worked out by hand: launch order with lead and waiver, exclusivity, licences, and conflicts of rights.

use crate::support::{at, shipped_files};
use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::contract::rights::OnBreach;
use apportion::domain::findings::{Breach, Days, OpenEvents, Rated, Why, breaches, findings};
use apportion::domain::period::{Span, last_instant_before, start_of_hour};
use apportion::domain::price::PriceBook;
use apportion::domain::record::{Fact, Record, RecordContent};

const AMENDMENT: &str = "2026-04-27T00:00:00-07:00";

/// The shipped agreements with facts of their own, and those that a test adds.
struct Rights {
    folder: Folder,
    facts: Vec<Fact>,
}

impl Rights {
    fn new() -> Self {
        Self::under(&shipped_files())
    }

    fn under(files: &[SourceFile]) -> Self {
        let folder = read_folder(files).unwrap_or_else(|error| panic!("{error}"));
        let facts = folder.facts.iter().map(fact).collect();
        Self { folder, facts }
    }

    /// With one piece of text of one file replaced.
    fn with(path: &str, from: &str, to: &str) -> Self {
        let mut files = shipped_files();
        let file = files.iter_mut().find(|file| file.path == path).expect("the file");
        assert!(file.text.contains(from), "{path} has no {from}");
        file.text = file.text.replacen(from, to, 1);
        Self::under(&files)
    }

    fn fact(&mut self, name: &str, by: &str, when: &str, rest: &str) {
        let json = format!(
            r#"{{"kind":"fact","source":"test","id":"{name}","contract":"microsoft-openai","name":"{name}","by":"{by}","at":"{when}",{rest}"evidence":"test"}}"#
        );
        self.facts.push(fact(&Record::from_json(&json).unwrap_or_else(|error| panic!("{error}"))));
    }

    fn breaches(&self, contract: &str) -> Vec<Breach> {
        let within = Span { start: at("2020-01-01T00:00:00Z"), end: at("2040-01-01T00:00:00Z") };
        let contract = self.folder.contracts.iter().find(|it| it.head.id.as_str() == contract).expect("a contract");
        breaches(contract, &self.folder.register, &self.facts, within)
    }

    /// The rights that one use breaks: "right: why", in the order of contracts and rights.
    fn broken(&self, when: &str, deployment: &str, product: &str) -> Vec<String> {
        let hits = |it: &Breach| {
            it.deployment.as_str() == deployment && it.product.as_str() == product && it.span.contains(at(when))
        };
        let all = ["aws-openai", "microsoft-openai"].into_iter().flat_map(|contract| self.breaches(contract));
        all.filter(hits).map(|it| format!("{}: {}", it.right, it.why)).collect()
    }
}

fn fact(record: &Record) -> Fact {
    match &record.content {
        RecordContent::Fact(fact) => fact.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_product_waits_for_its_release_on_azure_and_the_lead_time_after_it() {
    // Not out on the amendment's day: without its release fact.
    let mut rights = Rights::with("microsoft-openai/3.md", "lead = \"0 days\"", "lead = \"2 days\"");
    rights.facts.retain(|fact| fact.about.product.as_ref().is_none_or(|it| it.as_str() != "gpt-5.5"));
    let on_bedrock = |rights: &Rights, when| rights.broken(when, "bedrock-us-east-1", "gpt-5.5");
    let never = ["azure-first: on aws without a release on azure or a waiver"];
    assert_eq!(on_bedrock(&rights, "2026-06-01T00:00:00Z"), never);
    assert_eq!(rights.broken("2026-06-01T00:00:00Z", "vertex-us-central1", "gpt-5.5").len(), 1);
    assert!(rights.broken("2026-06-01T00:00:00Z", "azure-openai-eastus", "gpt-5.5").is_empty());
    // Released on AWS alone: that is not Azure.
    rights.fact("release", "openai", "2026-05-01T00:00:00Z", r#""product":"gpt-5.5","cloud":"aws","#);
    assert_eq!(on_bedrock(&rights, "2026-06-01T00:00:00Z"), never);
    rights.fact("release", "openai", "2026-06-10T09:00:00-07:00", r#""product":"gpt-5.5","cloud":"azure","#);
    let early = ["azure-first: on aws too early: released on azure at 2026-06-10 16:00:00 UTC, \
                  allowed elsewhere from 2026-06-12 16:00:00 UTC"];
    assert_eq!(on_bedrock(&rights, "2026-06-10T08:59:59.999999-07:00"), early);
    assert_eq!(on_bedrock(&rights, "2026-06-10T09:00:00-07:00"), early);
    assert_eq!(on_bedrock(&rights, "2026-06-12T08:59:59.999999-07:00"), early);
    assert!(on_bedrock(&rights, "2026-06-12T09:00:00-07:00").is_empty());
    // Another product's release is no news for this one; codex was released with the amendment, two days before.
    assert_eq!(rights.broken("2026-04-28T23:59:59-07:00", "oci-us-ashburn-1", "gpt-5.3-codex").len(), 1);
    assert!(rights.broken("2026-04-29T00:00:00-07:00", "oci-us-ashburn-1", "gpt-5.3-codex").is_empty());
}

#[test]
fn a_waiver_that_starts_between_lets_usage_through_while_it_lasts() {
    let mut rights = Rights::new();
    rights.facts.retain(|fact| fact.about.product.as_ref().is_none_or(|it| it.as_str() != "gpt-5.5"));
    let product = r#""product":"gpt-5.5","#;
    let on_bedrock = |rights: &Rights, when| rights.broken(when, "bedrock-us-east-1", "gpt-5.5").len();
    rights.fact("azure-waiver", "microsoft", "2026-05-10T00:00:00Z", product);
    assert_eq!(on_bedrock(&rights, "2026-05-09T23:59:59.999999Z"), 1);
    assert_eq!(on_bedrock(&rights, "2026-05-10T00:00:00Z"), 0);
    assert_eq!(on_bedrock(&rights, "2027-05-10T00:00:00Z"), 0);
    // It ends: the same status from the same instant, told again with an end.
    rights.fact(
        "azure-waiver",
        "microsoft",
        "2026-05-10T00:00:00Z",
        &format!(r#"{product}"until":"2026-05-20T00:00:00Z","#),
    );
    assert_eq!(on_bedrock(&rights, "2026-05-19T23:59:59.999999Z"), 0);
    assert_eq!(on_bedrock(&rights, "2026-05-20T00:00:00Z"), 1);
    // The stateful runtime is waived by what it can do, from the amendment on.
    let agents = |when| rights.broken(when, "bedrock-agents-us-east-1", "bedrock-managed-agents");
    assert!(agents(AMENDMENT).is_empty());
    assert!(rights.broken("2032-12-31T23:59:59-08:00", "bedrock-agents-us-east-1", "frontier").is_empty());
}

#[test]
fn azure_first_runs_through_2032_and_no_longer() {
    let mut rights = Rights::new();
    rights.facts.clear();
    let broken = |when| rights.broken(when, "vertex-us-central1", "gpt-5.4-mini");
    assert_eq!(broken("2032-12-31T23:59:59.999999-08:00").len(), 1);
    assert!(broken("2033-01-01T00:00:00-08:00").is_empty());
    // The lab's own hardware would be another cloud; its deployment is on Azure.
    assert!(rights.broken("2026-06-01T00:00:00Z", "openai-direct", "gpt-5.4-mini").is_empty());
}

#[test]
fn the_licence_ends_and_is_exclusive_until_the_amendment() {
    let rights = Rights::new();
    let copilot = |when| rights.broken(when, "microsoft-copilot", "gpt-5.5");
    assert!(copilot("2032-12-31T23:59:59.999999-08:00").is_empty());
    assert_eq!(copilot("2033-01-01T00:00:00-08:00"), ["licence: run by microsoft outside of its licence"]);
    // What the licensor runs itself needs none.
    assert!(rights.broken("2033-01-01T00:00:00-08:00", "openai-direct", "gpt-5.5").is_empty());
    // And before the agreement there was none.
    assert_eq!(copilot("2023-01-22T23:59:59-08:00").len(), 1);
    assert!(copilot("2023-01-23T00:00:00-08:00").is_empty());
    let vertex = |when| rights.broken(when, "vertex-us-central1", "chatgpt");
    let alone = ["licence: run by google while microsoft's licence is exclusive"];
    let before = last_instant_before(at(AMENDMENT)).to_rfc3339();
    assert!(vertex("2023-01-22T23:59:59-08:00").is_empty());
    assert_eq!(vertex(before.as_str()), alone);
    assert!(vertex(AMENDMENT).is_empty());
}

#[test]
fn a_licence_that_a_version_drops_has_ended() {
    let mut files = shipped_files();
    let third = files.iter_mut().find(|file| file.path == "microsoft-openai/3.md").expect("a version");
    let (head, _) = third.text.split_once("## Azure first; licence").expect("its heading");
    third.text = head.to_owned();
    let rights = Rights::under(&files);
    assert!(rights.broken("2026-04-26T23:59:59-07:00", "microsoft-copilot", "gpt-5.5").is_empty());
    assert_eq!(
        rights.broken(AMENDMENT, "microsoft-copilot", "gpt-5.5"),
        ["licence: run by microsoft outside of its licence"]
    );
}

#[test]
fn the_exclusive_runtime_is_sold_on_aws_alone() {
    let rights = Rights::new();
    let azure = |when| rights.broken(when, "azure-openai-eastus", "bedrock-managed-agents");
    assert_eq!(azure("2026-05-01T00:00:00Z"), ["agents-on-aws: elsewhere than on cloud aws alone"]);
    assert!(azure("2026-02-26T23:59:59-08:00").is_empty());
    assert_eq!(azure("2026-02-27T00:00:00-08:00").len(), 1);
    assert!(rights.broken("2026-05-01T00:00:00Z", "bedrock-agents-us-east-1", "bedrock-managed-agents").is_empty());
}

#[test]
fn exclusivity_ends_with_its_milestone_and_not_in_a_version_that_does_not_name_it() {
    let mut rights = Rights::new();
    rights.fact("agi-verified", "expert-panel", "2026-01-15T18:00:00Z", "");
    let exclusive = |when| {
        let broken = rights.broken(when, "vertex-us-central1", "gpt-5.5");
        broken.iter().any(|it| it.starts_with("azure-exclusive"))
    };
    // Version 1 does not name it.
    assert!(exclusive("2025-10-01T00:00:00Z"));
    assert!(exclusive("2026-01-15T17:59:59.999999Z"));
    assert!(!exclusive("2026-01-15T18:00:00Z"));
    let without = Rights::new();
    let before = without.broken("2026-02-01T00:00:00Z", "vertex-us-central1", "gpt-5.5");
    assert_eq!(before[0], "azure-exclusive: elsewhere than on cloud azure alone");
}

#[test]
fn findings_are_of_local_days() {
    let day = |zone: &str, when: &str| {
        let days = Days::of_hours(zone.parse().expect("a zone"), &[start_of_hour(at(when))]);
        days.day_at(at(when)).map(|day| day.to_string()).unwrap_or_default()
    };
    assert_eq!(day("America/Los_Angeles", "2026-06-01T06:59:59.999999Z"), "2026-05-31");
    assert_eq!(day("America/Los_Angeles", "2026-06-01T07:00:00Z"), "2026-06-01");
    // Samoa skipped 30 December 2011; St. John's put its clocks back over midnight.
    assert_eq!(day("Pacific/Apia", "2011-12-30T10:00:00Z"), "2011-12-31");
    assert_eq!(day("America/St_Johns", "2009-11-01T02:45:00Z"), "2009-11-01");
    // Days that lie far from each other are two, not all those between them.
    let hours = ["2026-06-01T00:00:00Z", "9999-12-31T00:00:00Z"].map(at);
    assert_eq!(Days::of_hours(chrono_tz::UTC, &hours).spans().count(), 2);
}

/// Usage of some hours breaks a right that is broken until 6:00 and again from 12:00 on.
#[test]
fn a_group_of_findings_has_the_breaches_that_its_usage_meets() {
    let hour = |hour: u32| at(&format!("2026-05-01T{hour:02}:00:00Z"));
    let breach = |start, end| Breach {
        contract: "c".into(),
        right: "r".into(),
        version: 1,
        deployment: "d".into(),
        product: "p".into(),
        span: Span { start: hour(start), end: hour(end) },
        on_breach: OnBreach::default(),
        why: Why::Elsewhere { only: "aws".to_owned() },
    };
    let breaches = [breach(0, 6), breach(12, 18)];
    let days = Days::of_hours(chrono_tz::UTC, &[hour(0)]);
    let timeline = days.timeline(std::iter::empty());
    let (register, prices) = (Rights::new().folder.register, PriceBook::new(Vec::new()));
    let rated = Rated { days: &days, timeline: &timeline, register: &register, prices: &prices };
    let met = |first, last| {
        let events = OpenEvents {
            right: "r".into(),
            deployment: "d".into(),
            product: "p".into(),
            first_at: hour(first),
            last_at: hour(last),
            events: 2,
        };
        let found = findings(&"c".into(), &breaches, &[events], &[], &rated);
        found.iter().flat_map(|it| &it.breaches).map(|it| it.span.start).collect::<Vec<_>>()
    };
    assert_eq!(met(1, 2), [hour(0)]);
    assert!(met(6, 11).is_empty());
    assert_eq!(met(6, 12), [hour(12)]);
    assert_eq!(met(5, 12), [hour(0), hour(12)]);
}

#[test]
fn frontier_is_claimed_by_both_until_the_amendment() {
    let rights = Rights::new();
    let conflicts = &rights.folder.conflicts;
    let [found] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    let rights_of: Vec<String> =
        found.conflict.rights.iter().map(|it| format!("{}/{}", it.contract, it.right)).collect();
    assert_eq!(rights_of, ["aws-openai/agents-on-aws", "microsoft-openai/azure-exclusive"]);
    let products: Vec<&str> = found.conflict.products.iter().map(|it| it.as_str()).collect();
    assert_eq!(products, ["frontier"]);
    assert_eq!(found.conflict.span, Span { start: at("2026-02-27T00:00:00-08:00"), end: at(AMENDMENT) });
    let places: Vec<&str> = found.places.iter().map(|it| it.file.as_str()).collect();
    assert_eq!(places, ["aws-openai.md", "microsoft-openai/2.md"]);
    assert!(found.places.iter().all(|it| it.line > 1 && it.column == 1), "{:?}", found.places);
    // Usage on either side is a finding of the other.
    let march = "2026-03-10T00:00:00Z";
    assert_eq!(
        rights.broken(march, "bedrock-agents-us-east-1", "frontier"),
        [
            "azure-exclusive: elsewhere than on cloud azure alone",
            "licence: run by aws while microsoft's licence is exclusive"
        ]
    );
    assert_eq!(
        rights.broken(march, "azure-openai-eastus", "frontier"),
        ["agents-on-aws: elsewhere than on cloud aws alone"]
    );
}

#[test]
fn what_cannot_be_first_on_azure_contradicts_azure_first_unless_waived() {
    let mut files = shipped_files();
    files.retain(|file| file.path != "microsoft-openai/facts.jsonl");
    let conflicts = Rights::under(&files).folder.conflicts;
    let found: Vec<String> =
        conflicts.iter().map(|it| format!("{} {:?}", it.conflict.rights[1].right, it.conflict.products)).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("azure-first") && found[1].contains("frontier"), "{found:?}");
    assert_eq!(conflicts[1].conflict.span.start, at(AMENDMENT));
    assert_eq!(conflicts[1].conflict.span.end, at("2033-01-01T00:00:00-08:00"));
}
