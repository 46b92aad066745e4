//! The demo's breach of a right: usage where it may not be sold, found, and decided on in part.

use super::super::output::{counted, line};
use super::books::APPROVER;
use apportion::domain::findings::Verdict;
use apportion::domain::ids::ContractId;
use apportion::ingest::messages::Position;
use apportion::ingest::writer::Writer;
use apportion::jobs::findings::{self, DecideRequest, FindingFilter};
use apportion::sources::cloudevents::decode_structured;
use apportion::store::usage_rows::Intake;
use apportion::telemetry::Metrics;
use sqlx::PgPool;
use std::sync::Arc;

/// Agents on Google Cloud, on two days of May: aws-openai sells them on AWS alone, and holds back what breaks that.
const TIMES: [&str; 3] = ["2026-05-12T09:00:00-07:00", "2026-05-12T09:30:00-07:00", "2026-05-19T09:00:00-07:00"];

/// Takes in usage that breaks a right, and releases that of its first day.
pub async fn sell_elsewhere(pool: &PgPool) -> anyhow::Result<()> {
    let writer = Writer::open(pool.clone(), Arc::new(Metrics::new()?)).await?;
    let name: Arc<str> = "the demo".into();
    let message = |(line, time): (u64, &&str)| {
        let event = serde_json::json!({
            "specversion": "1.0", "type": "apportion.usage.v1", "source": "vertex-us-central1",
            "id": format!("agents-{line}"), "time": time, "data": {
                "deployment": "vertex-us-central1", "product": "bedrock-managed-agents", "customer": "c-17",
                "outcome": "ok", "quantities": {"output_tokens": 1_000_000, "runtime_seconds": 3600},
            },
        });
        let position = Position::File { name: Arc::clone(&name), line, record: 1 };
        (position, decode_structured(event.to_string().as_bytes()))
    };
    let messages = writer.messages((1..).zip(&TIMES).map(message));
    let written = writer.write(&messages, None, Intake::File).await?;
    let (stored, sent) = (written.counts.stored, written.counts.messages());
    anyhow::ensure!(stored == sent, "{stored} of {sent} events of usage that breaks a right were stored");
    line(format!(
        "\nTook in {stored} events of agents on Google Cloud, which aws-openai sells on AWS alone (made up)."
    ))?;
    let filter = FindingFilter { contract: Some(ContractId::new("aws-openai")), ..FindingFilter::default() };
    let found = findings::list(pool, &filter, None, None).await?.findings;
    let Some(first) = found.into_iter().next() else { anyhow::bail!("usage that breaks a right was not found") };
    let request = DecideRequest {
        finding: first.id,
        verdict: Verdict::Release,
        by: APPROVER.to_owned(),
        reason: "the demo takes the first day for a trial that AWS agreed to".to_owned(),
        known_at: None,
    };
    let decision = findings::decide(pool, &request).await?;
    let events = counted(decision.events, "event");
    Ok(line(format!("Released {events} of {}; what is left stays held.", decision.key.day))?)
}
