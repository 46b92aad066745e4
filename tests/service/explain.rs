//! Explanations and entitlements on a real database: what amounts are made of, and what is owed, as known then.

use crate::api_client::Api;
use crate::books::*;
use crate::settlement::history;
use apportion::domain::access::Scope;
use apportion::domain::explain::node::{Kind, Node};
use apportion::domain::explain::settled::Wanted;
use apportion::domain::explain::{Depth, Question};
use apportion::jobs::explain::{ExplainedStatement, explain_statement};
use apportion::jobs::statements::{approve, issue};
use serde_json::Value;
use sqlx::PgPool;

async fn explain(pool: &PgPool, id: i64, depth: Depth) -> ExplainedStatement {
    let question = Question { depth, limit: 100 };
    let explained = explain_statement(pool, id, &Wanted::default(), question).await.expect("explained");
    assert_eq!(explained.loaded_sha256, explained.settled_sha256, "it is the input that was settled");
    for it in &explained.lines {
        assert!(it.tree.adds_up(), "{:#?}", it.tree);
        assert_eq!(it.tree.amount, it.stated);
    }
    explained
}

/// What is at the ends of a tree.
fn ends(node: &Node) -> Vec<&Node> {
    if node.parts.is_empty() { vec![node] } else { node.parts.iter().flat_map(ends).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_taken_apart_as_it_was_settled_whatever_came_since() {
    let database = history().await;
    let may = database.settle("microsoft-openai", "2026-05").await;
    let [(id, statement)] = may.drafted.as_slice() else { panic!("one pair of parties") };
    let sums = explain(&database.pool, *id, Depth::Sums).await;
    assert_eq!(sums.lines.len(), statement.lines.len());
    let events = explain(&database.pool, *id, Depth::Events).await;
    let trees: Vec<&Node> = events.lines.iter().map(|it| &it.tree).collect();
    let named = |kind: Kind| -> Vec<&str> {
        let ends = trees.iter().flat_map(|tree| ends(tree)).filter(|it| it.kind == kind);
        ends.map(|it| it.what.split(' ').next().unwrap_or_default()).collect()
    };
    for event in ["direct", "long", "bedrock", "late-direct-before", "late-azure-before"] {
        assert!(named(Kind::Usage).contains(&event), "{event} in {:?}", named(Kind::Usage));
    }
    assert!(!named(Kind::Usage).contains(&"usage"), "every event is told by itself: {:?}", named(Kind::Usage));
    assert!(named(Kind::Record).contains(&"may"), "the figure of May in {:?}", named(Kind::Record));
    // Issued, and followed by news that the next period books: what is explained stays as it was.
    approve(&database.pool, *id, "ben").await.expect("approved");
    issue(&database.pool, *id, "ben").await.expect("issued");
    database.record(&[subscriptions("june", "2026-06", 30, "5"), refund("s", "direct", "0.01")]).await;
    database.settle("microsoft-openai", "2026-06").await;
    let again = explain(&database.pool, *id, Depth::Events).await;
    let trees_again: Vec<&Node> = again.lines.iter().map(|it| &it.tree).collect();
    assert_eq!(trees_again, trees);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_it_is_told_what_terms_yield_and_what_statements_are_made_of() {
    let database = history().await;
    let may = database.settle("microsoft-openai", "2026-05").await;
    let api = Api::of(&database.pool).await;
    let ana = api.key("ana", Scope::ALL, None).await;
    let [partner, _] = api.partners().await;
    let entitlement = "/api/v1/contracts/microsoft-openai/entitlement";
    let path = format!("{entitlement}?through=2026-05");
    let told = api.get(&path, &ana).await.json();
    let [(id, statement)] = may.drafted.as_slice() else { panic!("one pair of parties") };
    let share = statement.lines.iter().find(|line| line.term.as_str() == "revenue-share").expect("a share");
    let period = &told["terms"]["revenue-share"]["periods"][share.origin_period.to_string()];
    assert_eq!(period["rounded"], share.amount.to_string(), "{told}");
    // What comes later changes what is told now, and nothing of what was known then.
    database.record(&[refund("s", "direct", "0.01")]).await;
    let then = format!("{path}&known_at={}", told["known_at"].as_str().expect("an instant"));
    assert_eq!(api.get(&then, &ana).await.json(), told);
    assert_ne!(api.get(&path, &ana).await.json()["terms"], told["terms"]);

    let explanation = format!("/api/v1/statements/{id}/explanation");
    let path = format!("{explanation}?term=revenue-share&depth=events");
    let explained = api.get(&path, &ana).await.json();
    assert_eq!(explained["settled_sha256"], explained["loaded_sha256"]);
    for line in explained["lines"].as_array().expect("lines") {
        assert_eq!((&line["term"], &line["stated"]), (&Value::from("revenue-share"), &line["tree"]["amount"]));
    }
    assert!(explained["lines"].to_string().contains("\"usage\""), "down to events: {explained}");
    let wrong = [
        (format!("{entitlement}?through=2026-05&known_at=2999-01-01T00:00:00Z"), &ana, 409),
        (format!("{entitlement}?through=2026-Q2"), &ana, 422),
        (format!("{entitlement}?through=soon"), &ana, 400),
        ("/api/v1/contracts/nobody/entitlement?through=2026-05".to_owned(), &ana, 404),
        (format!("{entitlement}?through=2026-05"), &partner, 403),
        ("/api/v1/statements/99/explanation".to_owned(), &ana, 404),
        (format!("{explanation}?depth=deep"), &ana, 400),
        (explanation, &partner, 403),
    ];
    for (path, key, status) in wrong {
        let answer = api.get(&path, key).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    database.drop_it().await;
}
