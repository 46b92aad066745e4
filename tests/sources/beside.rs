//! What a carrier says of records that say nothing but their counts.

use apportion::sources::Context;

/// What stands beside a record that says nothing but its counts.
pub fn beside() -> Context<'static> {
    Context {
        source: "cloud",
        id: Some("carried-1"),
        occurred_at: "2026-05-01T12:00:00Z".parse().ok(),
        deployment: Some("somewhere"),
        product: Some("some-model"),
        ..Context::default()
    }
}
