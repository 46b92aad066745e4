//! Findings on a real database: what is held, decided, late, released and rejected, and what settlements make of it.
//!
//! A million output tokens of gpt-5.5 are charged 30 USD, of gpt-5.3-codex 14 USD; the share is 20 %.

use crate::api_client::Api;
use crate::books::*;
use crate::support::{TestDatabase, correction};
use apportion::domain::access::Scope;
use apportion::domain::contract::rights::OnBreach;
use apportion::domain::findings::{Finding, Verdict};
use apportion::domain::ids::ContractId;
use apportion::domain::period::Instant;
use apportion::domain::record::Record;
use apportion::jobs::finding_watch::watch;
use apportion::jobs::findings::{DecideRequest, FindingError, FindingFilter, decide, list, show};
use apportion::jobs::statements::{approve, issue};
use apportion::store::finding_decisions::Decision;
use apportion::store::finding_states::count_open;
use serde_json::json;

const CONTRACT: &str = "microsoft-openai";

fn edit(folder: &std::path::Path, path: &str, from: &str, to: &str) {
    let path = folder.join(path);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{} has no {from}", path.display());
    std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
}

/// A copy of the agreements under which usage before Azure is held, and gpt-5.5 is not released there yet.
pub fn holding() -> tempfile::TempDir {
    let folder = shipped_copy();
    edit(folder.path(), "microsoft-openai/3.md", "first = \"azure\"", "first = \"azure\"\non_breach = \"hold\"");
    let facts = folder.path().join("microsoft-openai/facts.jsonl");
    let text = std::fs::read_to_string(&facts).expect("facts");
    let others: Vec<&str> = text.lines().filter(|line| !line.contains("\"gpt-5.5\"")).collect();
    std::fs::write(facts, others.join("\n")).expect("written");
    folder
}

/// A million output tokens of gpt-5.5 at a deployment, on 10 May 2026.
pub fn million(id: &str, deployment: &str) -> String {
    usage(id, "2026-05-10T10:00:00-07:00", deployment, "gpt-5.5", &[("output_tokens", "1000000")])
}

pub fn release(id: &str, at: &str) -> Record {
    let json = format!(
        r#"{{"kind":"fact","source":"test","id":"{id}","contract":"{CONTRACT}","name":"release","by":"openai","at":"{at}","product":"gpt-5.5","cloud":"azure","evidence":"test"}}"#
    );
    Record::from_json(&json).expect("a fact")
}

impl TestDatabase {
    /// Agreements, one million tokens that the lab may sell and one on Vertex, May and June without subscriptions.
    pub async fn with_usage_on_vertex(folder: &std::path::Path) -> Self {
        let database = TestDatabase::empty().await;
        database.apply(folder).await;
        database.ingest(&[million("direct", "openai-direct"), million("vertex", "vertex-us-central1")]).await;
        let figures = [subscriptions("may", "2026-05", 31, "0"), subscriptions("june", "2026-06", 30, "0")];
        database.record(&figures).await;
        database
    }

    pub async fn open(&self, known_at: Option<Instant>) -> Vec<Finding> {
        let filter = FindingFilter { contract: Some(ContractId::from(CONTRACT)), ..FindingFilter::default() };
        list(&self.pool, &filter, known_at, None).await.unwrap_or_else(|error| panic!("{error}")).findings
    }

    /// The one group that is open.
    async fn one(&self) -> Finding {
        let mut open = self.open(None).await;
        assert_eq!(open.len(), 1, "{open:#?}");
        open.remove(0)
    }

    async fn try_decide(
        &self,
        finding: &str,
        verdict: Verdict,
        known_at: Option<Instant>,
    ) -> Result<Decision, FindingError> {
        let (by, reason) = (APPROVER.to_owned(), "as agreed".to_owned());
        decide(&self.pool, &DecideRequest { finding: finding.to_owned(), verdict, by, reason, known_at }).await
    }

    async fn decide(&self, finding: &str, verdict: Verdict) -> i64 {
        self.try_decide(finding, verdict, None).await.unwrap_or_else(|error| panic!("{error}")).events
    }

    /// Settles, approves and issues.
    async fn close(&self, period: &str) -> Vec<String> {
        let report = self.settle(CONTRACT, period).await;
        let id = report.drafted[0].0;
        approve(&self.pool, id, APPROVER).await.expect("approved");
        issue(&self.pool, id, APPROVER).await.expect("issued");
        booked(&report)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_left_out_until_it_is_released() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    database.record(&[refund("r", "vertex", "5")]).await;
    let finding = database.one().await;
    let key = &finding.key;
    assert_eq!(
        (key.right.as_str(), key.product.as_str(), key.deployment.as_str(), key.day.to_string().as_str()),
        ("azure-first", "gpt-5.5", "vertex-us-central1", "2026-05-10")
    );
    assert_eq!((finding.events, finding.on_breach), (1, OnBreach::Hold));
    assert_eq!(finding.why, ["on google without a release on azure or a waiver"]);
    let amounts: Vec<String> = finding.amounts.iter().map(|(currency, it)| format!("{it} {currency}")).collect();
    assert_eq!(amounts, ["30 USD"]);
    let details = show(&database.pool, &finding.id, None).await.expect("a finding");
    let events: Vec<&str> = details.first_and_last.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(events, ["vertex", "vertex"]);

    // 20 % of 30: the usage on Vertex and its refund are left out.
    let may = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(booked(&may), ["revenue-share 2026-05 6"]);
    let held: Vec<String> =
        may.drafted[0].1.held.iter().map(|it| format!("{} {} {}", it.product, it.deployment, it.events)).collect();
    assert_eq!(held, ["gpt-5.5 vertex-us-central1 1"]);
    let again = database.settle(CONTRACT, "2026-05").await;
    assert!(again.lines.is_empty() && again.drafted.is_empty(), "{again:?}");
    let id = may.drafted[0].0;
    approve(&database.pool, id, APPROVER).await.expect("approved");
    issue(&database.pool, id, APPROVER).await.expect("issued");

    // Released after the close: 20 % of 30 - 5, at its place.
    let before = database.watermark().await;
    assert_eq!(database.decide(&finding.id, Verdict::Release).await, 1);
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-05 5"]);
    assert!(database.settle(CONTRACT, "2026-06").await.lines.is_empty());
    assert!(database.open(None).await.is_empty());
    // As known before, it is as it was.
    assert_eq!(database.open(Some(before)).await, std::slice::from_ref(&finding));
    assert!(matches!(
        database.try_decide(&finding.id, Verdict::Reject, None).await,
        Err(FindingError::Decided { verdict: Verdict::Release, .. })
    ));
    // A correction follows what was decided on its event: 20 % of another 30.
    let doubled = r#""quantities":{"output_tokens":2000000}"#;
    database.ingest(&[correction("c", "vertex", doubled)]).await;
    assert!(database.open(None).await.is_empty());
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-05 6"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_form_a_new_group_and_what_is_rejected_never_counts() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    assert_eq!(database.close("2026-05").await, ["revenue-share 2026-05 6"]);
    let seen = database.watermark().await;
    database.ingest(&[million("late", "vertex-us-central1")]).await;
    let both = database.one().await;
    assert_eq!(both.events, 2);
    // What was seen then, and nothing later.
    let decided = database.try_decide(&both.id, Verdict::Release, Some(seen)).await.expect("decided");
    assert_eq!((decided.events, decided.cutoff), (1, seen));
    let late = database.one().await;
    assert_eq!((late.events, &late.id), (1, &both.id));
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-05 6"]);
    // What was decided since is not decided again, however far back one looks.
    assert!(matches!(
        database.try_decide(&both.id, Verdict::Reject, Some(seen)).await,
        Err(FindingError::Decided { verdict: Verdict::Release, .. })
    ));
    assert_eq!(database.decide(&late.id, Verdict::Reject).await, 1);
    assert!(database.settle(CONTRACT, "2026-06").await.lines.is_empty());
    assert_eq!(show(&database.pool, &late.id, None).await.expect("a finding").decisions.len(), 2);
    // A release that comes to light frees others, not what was rejected; nor does a correction.
    database.record(&[release("azure", "2026-05-01T00:00:00Z")]).await;
    database.ingest(&[correction("c", "late", r#""deployment":"openai-direct""#)]).await;
    assert!(database.settle(CONTRACT, "2026-06").await.lines.is_empty());
    database.ingest(&[million("free", "vertex-us-central1")]).await;
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-05 6"]);
    let ahead = database.watermark().await + chrono::TimeDelta::days(1);
    assert!(matches!(
        database.try_decide(&late.id, Verdict::Release, Some(ahead)).await,
        Err(FindingError::NotKnownYet { .. })
    ));
    assert!(matches!(database.try_decide("none", Verdict::Release, None).await, Err(FindingError::Unknown { .. })));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_facts_end_a_finding_without_a_decision() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    assert_eq!(database.close("2026-05").await, ["revenue-share 2026-05 6"]);
    let before = database.watermark().await;
    // Too late for the usage at 10:00: it stays held. Then one that is early enough comes to light.
    database.record(&[release("late", "2026-05-10T10:00:00.000001-07:00")]).await;
    assert_eq!(database.one().await.why, ["on google too early: released on azure at 2026-05-10 17:00:00.000001 UTC"]);
    assert!(database.settle(CONTRACT, "2026-06").await.lines.is_empty());
    database.record(&[release("early", "2026-05-10T10:00:00-07:00")]).await;
    assert!(database.open(None).await.is_empty());
    assert_eq!(database.open(Some(before)).await.len(), 1);
    let all = FindingFilter::default();
    let ended = list(&database.pool, &all, None, Some(before)).await.expect("a list").ended;
    let ended: Vec<String> = ended
        .iter()
        .map(|it| {
            format!(
                "{} {} {:?}",
                it.finding.key.right,
                it.finding.events,
                it.facts.iter().map(|it| it.id.as_str()).collect::<Vec<_>>()
            )
        })
        .collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(ended[0].starts_with("azure-first 1") && ended[0].contains("late") && ended[0].contains("early"));
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-05 6"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_rights_hold_needs_both_released() {
    let folder = holding();
    let second = "[right.not-on-vertex]\nonly = { cloud = [\"azure\", \"aws\", \"oracle\"] }\nproducts = \"gpt-5.5\"\n\
                  on_breach = \"hold\"\n\n[right.licence]";
    edit(folder.path(), "microsoft-openai/3.md", "[right.licence]", second);
    let database = TestDatabase::with_usage_on_vertex(folder.path()).await;
    let open = database.open(None).await;
    let rights: Vec<&str> = open.iter().map(|it| it.key.right.as_str()).collect();
    assert_eq!(rights, ["azure-first", "not-on-vertex"]);
    let may = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(booked(&may), ["revenue-share 2026-05 6"]);
    assert_eq!(may.drafted[0].1.held[0].events, 1);
    assert_eq!(database.decide(&open[0].id, Verdict::Release).await, 1);
    assert!(database.settle(CONTRACT, "2026-05").await.lines.is_empty());
    assert_eq!(database.decide(&open[1].id, Verdict::Release).await, 1);
    assert_eq!(booked(&database.settle(CONTRACT, "2026-05").await), ["revenue-share 2026-05 6"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bases_that_draw_on_what_is_held_shrink_with_it() {
    let folder = shipped_copy();
    let held =
        "only = { cloud = \"azure\" }\nproducts = \"gpt-5.3-codex\"\non_breach = \"hold\"\n\n[right.agents-on-aws]";
    edit(folder.path(), "aws-openai.md", "[right.agents-on-aws]", &format!("[right.codex-on-azure]\n{held}"));
    let database = TestDatabase::with_usage_on_vertex(folder.path()).await;
    let codex = usage(
        "codex",
        "2026-05-10T10:00:00-07:00",
        "bedrock-us-east-1",
        "gpt-5.3-codex",
        &[("output_tokens", "1000000")],
    );
    database.ingest(&[codex]).await;
    // 20 % of 60; nothing of what AWS would owe for codex.
    let shared = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(booked(&shared), ["revenue-share 2026-05 12"]);
    let resale = database.settle("aws-openai", "2026-05").await;
    assert_eq!(booked(&resale), Vec::<String>::new());
    // What is held under an agreement is told to its own parties.
    assert!(shared.drafted[0].1.held.is_empty());
    assert_eq!(resale.drafted[0].1.held[0].events, 1);
    let all = list(&database.pool, &FindingFilter::default(), None, None).await.expect("a list").findings;
    let [finding] = all.as_slice() else { panic!("{all:#?}") };
    assert_eq!(finding.key.contract.as_str(), "aws-openai");
    database.decide(&finding.id, Verdict::Release).await;
    // 80 % of 14, and 20 % of that.
    assert_eq!(booked(&database.settle("aws-openai", "2026-05").await), ["lab-share 2026-05 11.2"]);
    assert_eq!(booked(&database.settle(CONTRACT, "2026-05").await), ["revenue-share 2026-05 2.24"]);
    database.drop_it().await;
}

/// One hour on Vertex, in the middle of which gpt-5.5 comes out on Azure: what breaks launch order, and the rest.
fn hour_of_release() -> [Vec<String>; 2] {
    let at = |id: &str, time: &str, quantities: &[(&str, &str)]| {
        usage(id, &format!("2026-05-10T10:{time}-07:00"), "vertex-us-central1", "gpt-5.5", quantities)
    };
    // 272,000 tokens of context are the last at the short price.
    let (short, long) = ([("input_tokens", "272000")], [("input_tokens", "200000"), ("cached_input_tokens", "72001")]);
    // Without a price: what is held stops nothing.
    let unpriced = [("output_tokens", "1000"), ("state_gb_hours", "2.5")];
    let held = vec![
        at("held-1", "00:00", &short),
        at("held-2", "29:59.999999", &long),
        at("held-3", "10:00", &unpriced),
        at("into", "50:00", &long),
    ];
    let free = vec![at("free-1", "30:00", &short), at("free-2", "45:00", &long), at("out-of", "10:00", &short)];
    [held, free]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_counts_as_if_it_had_not_been() {
    let [held, free] = hour_of_release();
    // Corrections move one event to before the release, and one to after it; a third one is void.
    let into = correction("c1", "into", r#""occurred_at":"2026-05-10T17:20:00Z""#);
    let out_of = correction("c2", "out-of", r#""occurred_at":"2026-05-10T17:40:00Z""#);
    let void = crate::support::void("v", "void");
    let mut amounts = Vec::new();
    for with_held in [false, true] {
        let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
        database.record(&[release("azure", "2026-05-10T10:30:00-07:00")]).await;
        database.ingest(&free).await;
        database.ingest(&[million("void", "vertex-us-central1"), void.clone(), out_of.clone()]).await;
        if with_held {
            database.ingest(&held).await;
            database.ingest(std::slice::from_ref(&into)).await;
        }
        let report = database.settle(CONTRACT, "2026-05").await;
        let events: i64 = report.drafted[0].1.held.iter().map(|it| it.events).sum();
        // The million at 10:00 that every such database has is held too.
        assert_eq!(events, if with_held { 5 } else { 1 });
        let finding = database.one().await;
        assert_eq!((finding.events, finding.unpriced), (events, with_held));
        amounts.push(booked(&report));
        database.drop_it().await;
    }
    // 20 % of 30 + 2 x 272,000 at 5/M + 200,000 at 10/M + 72,001 at 1/M.
    assert_eq!(amounts[0], ["revenue-share 2026-05 6.96"]);
    assert_eq!(amounts[0], amounts[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_listed_by_local_day_and_decisions_stand() {
    let folder = shipped_copy();
    let facts = folder.path().join("microsoft-openai/facts.jsonl");
    std::fs::remove_file(facts).expect("removed");
    let database = TestDatabase::with_usage_on_vertex(folder.path()).await;
    let at = |id: &str, time: &str| usage(id, time, "vertex-us-central1", "gpt-5.5", &[("output_tokens", "1000000")]);
    let edges = [at("last-of-may", "2026-06-01T06:59:59.999999Z"), at("first-of-june", "2026-06-01T07:00:00Z")];
    database.ingest(&edges).await;
    let days: Vec<String> = database.open(None).await.iter().map(|it| it.key.day.to_string()).collect();
    assert_eq!(days, ["2026-05-10", "2026-05-31", "2026-06-01"]);
    let june = FindingFilter::default().in_period("2026-06".parse().expect("a period"));
    let june = list(&database.pool, &june, None, None).await.expect("a list");
    assert_eq!(june.findings.iter().map(|it| it.key.day.to_string()).collect::<Vec<_>>(), ["2026-06-01"]);
    // Reported, not held: it counts, and rejecting it is an opinion on record.
    assert_eq!(booked(&database.settle(CONTRACT, "2026-05").await), ["revenue-share 2026-05 18"]);
    let before = database.watermark().await;
    database.decide(&june.findings[0].id, Verdict::Reject).await;
    assert_eq!(database.open(None).await.len(), 2);
    let unknown = FindingFilter { contract: Some(ContractId::from("none")), ..FindingFilter::default() };
    let all = FindingFilter::default();
    assert!(
        list(&database.pool, &all, None, Some(before)).await.expect("a list").ended.is_empty(),
        "it was decided on"
    );
    assert!(matches!(list(&database.pool, &unknown, None, None).await, Err(FindingError::Contract(_))));
    for (change, expect) in [
        ("update finding_decision set verdict = 'release'", "append-only"),
        ("delete from finding_decision_event", "append-only"),
        ("truncate finding_decision cascade", "append-only"),
        (
            "insert into finding_decision_event select contract_id, right_id, (select event_key from usage_event
               where event_id = 'direct'), decision_id from finding_decision_event",
            "as many events as it says",
        ),
        (
            "insert into finding_decision_event select 'other', right_id, event_key, decision_id
               from finding_decision_event",
            "foreign key",
        ),
        ("insert into finding_decision_event select * from finding_decision_event", "duplicate key"),
    ] {
        let outcome = sqlx::query(change).execute(&database.pool).await;
        let error = outcome.map_or_else(|error| error.to_string(), |_| panic!("accepted: {change}"));
        assert!(error.contains(expect), "{change}: {error}");
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_writes_down_what_differs_from_its_last_look_and_nothing_else() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    let look = async || {
        let news = watch(&database.pool, &CONTRACT.into()).await.unwrap_or_else(|error| panic!("{error}"));
        let news = news.expect("more is known than at the last look");
        [news.opened, news.changed, news.gone].map(|states| states.iter().map(|it| it.events).collect::<Vec<_>>())
    };
    // What dashboards show is what is open.
    let shown = async || -> Vec<String> {
        let sql = "select f.day || ' ' || f.events || ' ' || a.amount || ' ' || f.on_breach || ' ' || f.kind
            from reporting.finding f join reporting.finding_amount a using (finding_id) where f.events > 0 order by 1";
        sqlx::query_scalar(sql).fetch_all(&database.pool).await.expect("findings")
    };
    let counted = async || {
        let counts = count_open(&database.pool).await.expect("counts");
        assert!(
            counts.len() > 2
                && counts
                    .iter()
                    .all(|it| it.groups == 0 || it.contract.as_str() == CONTRACT && it.right.as_str() == "azure-first")
        );
        counts.iter().map(|it| it.groups).sum::<i64>()
    };
    let nothing: [Vec<i64>; 3] = [vec![], vec![], vec![]];
    assert_eq!(counted().await, 0);
    assert_eq!(look().await, [vec![1], vec![], vec![]]);
    assert_eq!(look().await, nothing);
    assert_eq!(counted().await, 1);
    assert_eq!(shown().await, ["2026-05-10 1 30 hold first_availability"]);
    // Late usage of the same day, and of one before all that was seen.
    let early =
        usage("early", "2026-04-28T00:00:00-07:00", "vertex-us-central1", "gpt-5.5", &[("output_tokens", "1000000")]);
    database.ingest(&[million("late", "vertex-us-central1"), early]).await;
    assert_eq!(look().await, [vec![1], vec![2], vec![]]);
    assert_eq!(counted().await, 2);
    let first = "2026-04-28 1 30 hold first_availability";
    assert_eq!(shown().await, [first, "2026-05-10 2 60 hold first_availability"]);
    let ids: Vec<String> = database.open(None).await.into_iter().map(|it| it.id).collect();
    database.decide(&ids[1], Verdict::Release).await;
    assert_eq!(look().await, [vec![], vec![], vec![0]]);
    assert_eq!((shown().await, counted().await), (vec![first.to_owned()], 1));
    // What usage nowhere near brings is looked at, and is none.
    database.ingest(&[million("elsewhere", "openai-direct")]).await;
    assert_eq!(look().await, nothing);
    // A fact that comes to light ends what is left; it opens again where that is corrected to another day.
    database.record(&[release("azure", "2026-04-27T12:00:00-07:00")]).await;
    assert_eq!(look().await, [vec![], vec![], vec![0]]);
    database.ingest(&[correction("c", "early", r#""occurred_at":"2026-04-27T17:00:00Z""#)]).await;
    assert_eq!(look().await, [vec![1], vec![], vec![]]);
    assert_eq!(shown().await, ["2026-04-27 1 30 hold first_availability"]);
    assert_eq!(database.number("select count(*) from finding_state").await, 6);
    for (change, expect) in [
        ("update finding_watch set known_at = known_at", "only moves forward"),
        ("delete from finding_watch", "only moves forward"),
        ("update finding_state set events = 1", "append-only"),
        (
            "insert into finding_state select finding_id, known_at - interval '1 second', contract_id, right_id, product,
               deployment, day, on_breach, why, events, first_at, last_at, quantities, amounts, unpriced
             from finding_state limit 1",
            "is not watched as known at",
        ),
    ] {
        let error = sqlx::query(change).execute(&database.pool).await.expect_err(change).to_string();
        assert!(error.contains(expect), "{change}: {error}");
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_findings_are_one_answer() {
    let folder = holding();
    let database = TestDatabase::with_usage_on_vertex(folder.path()).await;
    let at =
        |day: &str| usage(day, &format!("{day}T12:00:00Z"), "vertex-us-central1", "gpt-5.5", &[("output_tokens", "5")]);
    database.ingest(&["2026-05-11", "2026-05-12", "2025-05-01"].map(at)).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", &[Scope::Read, Scope::Approve], None).await;
    let days = |page: &serde_json::Value| -> Vec<String> {
        page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|it| it["day"].as_str().expect("a day").to_owned())
            .collect()
    };
    let first = api.get("/api/v1/findings?period=2026-05&limit=2", &key).await.json();
    assert_eq!(days(&first), ["2026-05-10", "2026-05-11"]);
    assert_eq!(
        (&first["items"][0]["amounts"], &first["items"][0]["on_breach"]),
        (&json!({"USD": "30"}), &json!("hold"))
    );
    // Decided meanwhile: the second page is as known at the first.
    let of_day = |it: &Finding| it.key.day.to_string() == "2026-05-12";
    let last = database.open(None).await.into_iter().find(of_day).expect("a finding");
    database.decide(&last.id, Verdict::Reject).await;
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = api.get(&format!("/api/v1/findings?period=2026-05&limit=2&cursor={cursor}"), &key).await.json();
    assert_eq!((days(&second), &second["known_at"]), (vec!["2026-05-12".to_owned()], &first["known_at"]));
    assert!(second["next_cursor"].is_null(), "{second}");
    assert_eq!(days(&api.get("/api/v1/findings?period=2026-05", &key).await.json()), ["2026-05-10", "2026-05-11"]);
    let other = api.get(&format!("/api/v1/findings?period=2026-05&contract=aws-openai&cursor={cursor}"), &key).await;
    assert_eq!(other.status, 400, "{other:?}");
    let csv = ["accept: text/csv".to_owned(), crate::api_client::bearer(&key)];
    let csv = api.send("GET", "/api/v1/findings?period=2026-05", &csv, "").await.text;
    assert!(
        csv.starts_with("contract,right,product,deployment,day,id,on_breach,why,events,") && csv.lines().count() == 3
    );
    let decisions = api.get("/api/v1/findings/decisions?period=2026-05", &key).await.json();
    assert_eq!(
        (days(&decisions), &decisions["items"][0]["verdict"]),
        (vec!["2026-05-12".to_owned()], &"reject".into())
    );
    // Without a period it is the last 12 months.
    let lately = (chrono::Utc::now() - chrono::TimeDelta::days(40)).format("%Y-%m-%d").to_string();
    database.ingest(&[at(&lately)]).await;
    let listed = days(&api.get("/api/v1/findings", &key).await.json());
    assert!(listed.contains(&lately) && !listed.contains(&"2025-05-01".to_owned()), "{listed:?}");
    assert_eq!(days(&api.get("/api/v1/findings?period=2025", &key).await.json()), ["2025-05-01"; 2], "two rights");
    let since = database.watermark().await;
    database.record(&[release("azure", "2026-05-10T00:00:00Z")]).await;
    let since = since.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let ended = api.get(&format!("/api/v1/findings/ended?since={since}&period=2026-05"), &key).await.json();
    assert_eq!(
        (days(&ended), &ended["items"][0]["facts"]),
        (days(&first), &json!([{"source": "test", "id": "azure"}]))
    );
    database.drop_it().await;
}
