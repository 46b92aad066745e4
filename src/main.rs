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
    let topics = std::env::var("APPORTION_KAFKA__TOPICS")?;
    let properties = std::env::vars().filter_map(|(name, value)| {
        let property = name.strip_prefix("APPORTION_KAFKA__PROPERTIES__")?;
        Some((property.to_lowercase().replace('_', "."), value))
    });
    let config = ConsumerConfig {
        brokers: std::env::var("KAFKA_BROKERS")?,
        group_id: std::env::var("APPORTION_KAFKA__GROUP_ID")?,
        topics: topics.split(',').map(str::to_owned).collect(),
        batch_messages: std::env::var("APPORTION_KAFKA__BATCH_MESSAGES")?.parse()?,
        linger: Duration::from_millis(50),
        properties: properties.collect(),
        until_caught_up: false,
        rejections_kept: chrono::TimeDelta::days(30),
    };
    let consuming = tokio::spawn(consumer::run(config, pool, Arc::new(Metrics::new()?), stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    consuming.await??;
    Ok(())
}
