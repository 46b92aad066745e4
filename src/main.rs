//! The smallest command line that the crash tests need: `serve --roles ingest`, settings from the environment.

use apportion::ingest::consumer::{self, ConsumerConfig};
use apportion::store;
use apportion::telemetry::{self, LogFormat, Metrics, TelemetryConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments != ["serve", "--roles", "ingest"] {
        anyhow::bail!("usage: apportion serve --roles ingest");
    }
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    let _telemetry = telemetry::init(&TelemetryConfig { filter, format: LogFormat::Human, otlp_endpoint: None })?;
    let pool = store::connect(&std::env::var("DATABASE_URL")?, 4)?;
    let stop = CancellationToken::new();
    let config = ConsumerConfig {
        brokers: std::env::var("KAFKA_BROKERS")?,
        group_id: std::env::var("APPORTION_KAFKA__GROUP_ID")?,
        topics: std::env::var("APPORTION_KAFKA__TOPICS")?.split(',').map(str::to_owned).collect(),
        batch_messages: 500,
        linger: Duration::from_millis(50),
        properties: [("session.timeout.ms".to_owned(), "6000".to_owned())].into(),
        until_caught_up: false,
    };
    let consuming = tokio::spawn(consumer::run(config, pool, Arc::new(Metrics::new()?), stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    consuming.await??;
    Ok(())
}
