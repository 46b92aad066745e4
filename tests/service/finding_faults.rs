//! Findings where things go wrong: news between a look and a decision, and usage of a far year.

use crate::api_client::{Api, books};
use crate::findings::{holding, million, release};
use crate::support::TestDatabase;
use apportion::domain::access::Scope;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_since_it_was_looked_at_is_not_rejected_for_good() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ben", Scope::ALL, None).await;
    let looked = database.watermark().await;
    let finding = database.open(None).await.remove(0);
    // Then it turns out that it was out on Azure before.
    database.record(&[release("late-news", "2026-05-01T00:00:00Z")]).await;
    assert!(database.open(None).await.is_empty());
    let body = json!({"verdict": "reject", "reason": "no", "known_at": looked});
    let decided = api.post(&format!("/api/v1/findings/{}/decisions", finding.id), &key, &body).await;
    assert_eq!((decided.status, decided.json()["type"].as_str()), (409, Some("urn:apportion:problem:ended")));
    let settled = database.settle("microsoft-openai", "2026-05").await;
    assert_eq!(crate::books::booked(&settled), ["revenue-share 2026-05 12"]);
    database.drop_it().await;
}

/// One of two events turns out to have run elsewhere, after somebody looked and before they decided.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_right_since_is_not_rejected_with_the_rest_of_its_group() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    database.ingest(&[million("other", "vertex-us-central1")]).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ben", Scope::ALL, None).await;
    let looked = database.watermark().await;
    let finding = database.open(None).await.remove(0);
    assert_eq!(finding.events, 2);
    let correction = json!({
        "specversion": "1.0", "type": "apportion.usage.correction.v1", "source": "test", "id": "c",
        "time": "2026-05-11T00:00:00Z", "data": {"corrects": "vertex", "deployment": "openai-direct"},
    });
    database.ingest(&[correction.to_string()]).await;
    let body = json!({"verdict": "reject", "reason": "no", "known_at": looked});
    let decided = api.post(&format!("/api/v1/findings/{}/decisions", finding.id), &key, &body).await;
    assert_eq!((decided.status, &decided.json()["events"]), (200, &json!(1)), "{}", decided.text);
    // Two million tokens ran where they may: the one that always did, and the one that was put right.
    let settled = database.settle("microsoft-openai", "2026-05").await;
    assert_eq!(crate::books::booked(&settled), ["revenue-share 2026-05 12"]);
    database.drop_it().await;
}

/// An event of the year 9999 is one day more to look at, not three million.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_far_year_is_one_day_more() {
    let database = books().await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ana", Scope::ALL, None).await;
    let event = |kind: &str, id: &str, time: &str, data: Value| {
        let usage = json!({
            "specversion": "1.0", "type": format!("apportion.usage.{kind}"), "source": "test", "id": id,
            "time": time, "data": data,
        });
        usage.to_string()
    };
    let of = |deployment: &str| json!({"deployment": deployment, "product": "gpt-5.5", "quantities": {"requests": 1}});
    let near = event("v1", "a", "2026-04-10T10:00:00Z", of("bedrock-us-east-1"));
    let far = event("v1", "b", "9999-12-31T00:00:00Z", of("azure-openai-eastus"));
    database.ingest(&[near, far]).await;
    let listed = api.get("/api/v1/findings?period=9999", &key).await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let started = std::time::Instant::now();
    assert_eq!(api.get(&format!("/api/v1/findings/{id}"), &key).await.status, 200);
    assert_eq!(api.get("/api/v1/findings/0123456789abcdef", &key).await.status, 404);
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}, where each of all days until then took minutes");
    // Voided, it is one no more.
    database.ingest(&[event("void.v1", "v", "2026-05-01T00:00:00Z", json!({"voids": "b"}))]).await;
    let listed = api.get("/api/v1/findings?period=9999", &key).await.json();
    assert_eq!(listed["items"], json!([]));
    database.drop_it().await;
}
