//! `apportion explain` on a real database: what a statement's amounts are made of, from the input that was settled.

use crate::books::*;
use crate::settlement::history;
use apportion::domain::explain::node::{Kind, Node};
use apportion::domain::explain::settled::Wanted;
use apportion::domain::explain::{Depth, Question};
use apportion::jobs::explain::{ExplainedStatement, explain_statement};
use apportion::jobs::statements::{approve, issue};
use sqlx::PgPool;

async fn explain(pool: &PgPool, id: i64, depth: Depth) -> ExplainedStatement {
    let question = Question { depth, limit: 100 };
    let explained = explain_statement(pool, id, &Wanted::default(), question).await.expect("explained");
    assert_eq!(explained.loaded_sha256, explained.settled_sha256, "it is the input that was settled");
    for it in &explained.lines {
        assert!(it.tree.adds_up(), "{:#?}", it.tree);
        assert_eq!(it.tree.amount, it.line.amount);
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
