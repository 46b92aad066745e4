//! What the service tells of itself: every metric name once, structured logs, and traces.

use crate::domain::outcome::{Counts, Outcome};
use crate::domain::schedule::{Job, RunOutcome};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

/// All metrics of the process, named as Prometheus has it: what is counted, its unit, `_total` for counters.
/// One instance; its clones count in the same registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// By `outcome`. Their sum is everything that was taken in since the process started, files excepted.
    messages: IntCounterVec,
    /// By `reason`. One that rises means that a source sends what we cannot read.
    rejections: IntCounterVec,
    /// Seconds from a batch's first query to its commit.
    batch_duration: Histogram,
    batch_messages: Histogram,
    /// Rises while Postgres is away: nothing is lost, and nothing is taken in.
    database_retries: IntCounter,
    /// Clients of Kafka that could not go on and were replaced. Nothing is lost; many mean that two processes share a
    /// `group.instance.id`.
    consumer_restarts: IntCounter,
    /// By `topic` and `partition`, in messages. One that only rises means that the consumer does not keep up.
    consumer_lag: IntGaugeVec,
    /// By `topic` and `partition`, 1 or 0. A person has to decide what becomes of the messages that are gone.
    partition_halted: IntGaugeVec,
    /// By `topic`, 1 or 0. Messages of a topic that is missing wait nowhere: its name may be misspelt.
    topic_missing: IntGaugeVec,
    /// 0 with messages waiting means that other members of the group hold all partitions, or that none is led.
    assigned_partitions: IntGauge,
    /// 0 means that Kafka cannot be reached, or refuses us.
    connected_brokers: IntGauge,
    /// Seconds since 1970. It stands still while a batch waits for Postgres, or when the consumer hangs.
    last_poll: IntGauge,
    jobs: JobMetrics,
    /// By `path` and `status`.
    pub http_requests: IntCounterVec,
    /// By `role` and `version`, 1 for each role that this process runs.
    role_info: IntGaugeVec,
    /// By `pool` and `state`: in_use or idle. As of the last scrape.
    database_connections: IntGaugeVec,
    /// By `pool`.
    database_connections_limit: IntGaugeVec,
}

/// What the scheduled jobs did.
#[derive(Clone)]
struct JobMetrics {
    /// By `job` and `outcome`. A job that waits needs a person, one that fails or is lost an engineer.
    runs: IntCounterVec,
    /// By `job`, in seconds since 1970. Of several instances the latest counts: each runs what the others do not.
    last_success: IntGaugeVec,
    /// Seconds since 1970. It stands still while Postgres is away, or when the scheduler hangs.
    last_tick: IntGauge,
    /// Seconds. One that only rises means that somebody began to record and does not end: findings, settlements and lists
    /// stay as they were known before.
    known_behind: IntGauge,
    /// By `contract` and `right`. Each process that runs the jobs tells the same, as the database has it.
    findings_open: IntGaugeVec,
}

impl JobMetrics {
    fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let runs = make.counters("apportion_job_runs_total", "Runs of jobs by how they ended", &["job", "outcome"])?;
        for job in Job::ALL {
            for outcome in RunOutcome::ALL {
                // As with messages: the first of a kind must not be hidden from rate().
                runs.with_label_values(&[job.name(), outcome.name()]);
            }
        }
        Ok(Self {
            runs,
            last_success: make.gauges(
                "apportion_job_last_success_timestamp_seconds",
                "Unix time at which a run of a job last ended well in this process",
                &["job"],
            )?,
            last_tick: make.gauge(
                "apportion_job_last_tick_timestamp_seconds",
                "Unix time at which it was last looked, without an error, what is due; 0 before the first time",
            )?,
            known_behind: make.gauge(
                "apportion_known_behind_seconds",
                "Seconds since the earliest of those who record began, before which all that is known lies; 0 for none",
            )?,
            findings_open: make.gauges(
                "apportion_findings_open",
                "Groups of findings of a right on which nobody has decided, as a job saw them last",
                &["contract", "right"],
            )?,
        })
    }
}

impl Metrics {
    /// # Errors
    /// A name that is used twice or is no metric name: a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let partition: &[&str] = &["topic", "partition"];
        let make = Maker { registry: &registry };
        let messages =
            make.counters("apportion_ingest_messages_total", "Messages by what became of them", &["outcome"])?;
        for outcome in Outcome::ALL {
            // A counter that begins at its first event hides that event from rate().
            messages.with_label_values(&[outcome.name()]);
        }
        Ok(Self {
            messages,
            rejections: make.counters(
                "apportion_ingest_rejections_total",
                "Rejected messages by reason",
                &["reason"],
            )?,
            batch_duration: make.histogram(
                "apportion_ingest_batch_duration_seconds",
                "Time to store one batch, from its first query to its commit",
                prometheus::exponential_buckets(0.005, 2.0, 12)?,
            )?,
            batch_messages: make.histogram(
                "apportion_ingest_batch_messages",
                "Messages in one batch",
                prometheus::exponential_buckets(1.0, 4.0, 9)?,
            )?,
            consumer_lag: make.gauges(
                "apportion_consumer_lag_messages",
                "Messages of a partition that are not stored yet",
                partition,
            )?,
            assigned_partitions: make
                .gauge("apportion_consumer_assigned_partitions", "Partitions that this process reads now")?,
            connected_brokers: make
                .gauge("apportion_consumer_connected_brokers", "Kafka brokers with an open connection")?,
            last_poll: make.gauge(
                "apportion_consumer_last_poll_timestamp_seconds",
                "Unix time at which Kafka was last polled without an error; 0 before the first time",
            )?,
            partition_halted: make.gauges(
                "apportion_consumer_partition_halted",
                "1 while a partition is halted because its next offset is gone from the broker",
                partition,
            )?,
            topic_missing: make.gauges("apportion_consumer_topic_missing", "1 while a topic is missing", &["topic"])?,
            jobs: JobMetrics::new(&make)?,
            http_requests: make.counters(
                "apportion_http_requests_total",
                "Requests by path and status",
                &["path", "status"],
            )?,
            database_retries: make.counter(
                "apportion_database_retries_total",
                "Batches that were tried again because the database was away",
            )?,
            consumer_restarts: make
                .counter("apportion_consumer_restarts_total", "Clients of Kafka that were replaced")?,
            role_info: make.gauges("apportion_role_info", "1 for each role that runs", &["role", "version"])?,
            database_connections: make.gauges(
                "apportion_database_connections",
                "Connections of the process with the database",
                &["pool", "state"],
            )?,
            database_connections_limit: make.gauges(
                "apportion_database_connections_limit",
                "The most connections that the process opens with the database",
                &["pool"],
            )?,
            registry,
        })
    }

    /// A batch was committed.
    pub fn batch_written(&self, counts: &Counts, rejections: &[&str], took: Duration) {
        for (outcome, count) in counts.iter() {
            self.messages.with_label_values(&[outcome.name()]).inc_by(count);
        }
        for reason in rejections {
            self.rejections.with_label_values(&[reason]).inc();
        }
        self.batch_duration.observe(took.as_secs_f64());
        self.batch_messages.observe(f64::from(u32::try_from(counts.messages()).unwrap_or(u32::MAX)));
    }

    /// A run of a job ended.
    pub fn job_ran(&self, job: Job, outcome: RunOutcome) {
        self.jobs.runs.with_label_values(&[job.name(), outcome.name()]).inc();
        if outcome.is_success() {
            self.jobs.last_success.with_label_values(&[job.name()]).set(unix_seconds());
        }
    }

    /// How many groups of findings of a contract's right are open.
    pub fn set_findings_open(&self, contract: &str, right: &str, groups: i64) {
        self.jobs.findings_open.with_label_values(&[contract, right]).set(groups);
    }

    /// For how many seconds what is known has stood still.
    pub fn set_known_behind(&self, seconds: i64) {
        self.jobs.known_behind.set(seconds);
    }

    /// Seconds since it was looked what is due, without an error; none before the first time.
    pub fn seconds_since_tick(&self) -> Option<i64> {
        seconds_since(&self.jobs.last_tick)
    }

    /// It was looked what is due, without an error.
    pub fn jobs_ticked(&self) {
        self.jobs.last_tick.set(unix_seconds());
    }

    /// A batch is tried again because the database was away.
    pub fn database_retried(&self) {
        self.database_retries.inc();
    }

    /// A client of Kafka could not go on and is replaced.
    pub fn consumer_restarted(&self) {
        self.consumer_restarts.inc();
    }

    /// How many messages of a partition are not stored yet.
    pub fn set_lag(&self, topic: &str, partition: i32, lag: i64) {
        let partition = partition.to_string();
        self.consumer_lag.with_label_values(&[topic, &partition]).set(lag.max(0));
        // Makes the gauges where there are none: that nothing is halted or missing is told, too.
        self.partition_halted.with_label_values(&[topic, &partition]);
        self.topic_missing.with_label_values(&[topic]);
    }

    pub fn set_halted(&self, topic: &str, partition: i32, halted: bool) {
        self.partition_halted.with_label_values(&[topic, &partition.to_string()]).set(i64::from(halted));
    }

    /// A partition that another consumer took is no longer ours to report.
    pub fn forget_partition(&self, topic: &str, partition: i32) {
        // Absent where nothing was reported of it yet: that is no fault.
        drop(self.consumer_lag.remove_label_values(&[topic, &partition.to_string()]));
        drop(self.partition_halted.remove_label_values(&[topic, &partition.to_string()]));
    }

    /// The partitions that are halted, as `topic/partition`.
    pub fn halted(&self) -> Vec<String> {
        let labels = labels_that_are_set(&self.partition_halted);
        labels.iter().map(|label| format!("{}/{}", label["topic"], label["partition"])).collect()
    }

    pub fn set_missing(&self, topic: &str, missing: bool) {
        self.topic_missing.with_label_values(&[topic]).set(i64::from(missing));
    }

    /// The topics that are to be read and do not exist.
    pub fn missing_topics(&self) -> Vec<String> {
        labels_that_are_set(&self.topic_missing).iter().map(|label| label["topic"].clone()).collect()
    }

    /// How many partitions the consumer holds.
    pub fn set_assigned(&self, partitions: usize) {
        self.assigned_partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub fn assigned(&self) -> i64 {
        self.assigned_partitions.get()
    }

    /// With how many brokers the consumer is connected.
    pub fn set_connected_brokers(&self, brokers: usize) {
        self.connected_brokers.set(i64::try_from(brokers).unwrap_or(i64::MAX));
    }

    pub fn is_kafka_connected(&self) -> bool {
        self.connected_brokers.get() > 0
    }

    /// Kafka was polled just now, without an error.
    pub fn polled(&self) {
        self.last_poll.set(unix_seconds());
    }

    /// Seconds since the last poll without an error; none before the first.
    pub fn seconds_since_poll(&self) -> Option<i64> {
        seconds_since(&self.last_poll)
    }

    /// This process runs a role.
    pub fn runs(&self, role: &str) {
        self.role_info.with_label_values(&[role, env!("CARGO_PKG_VERSION")]).set(1);
    }

    /// How many connections a pool holds, how many of them nobody uses, and how many it may hold.
    pub fn set_connections(&self, pool: &str, open: u32, idle: usize, limit: u32) {
        let (open, idle) = (i64::from(open), i64::try_from(idle).unwrap_or(i64::MAX));
        // The two are not read at once: one may have changed in between.
        self.database_connections.with_label_values(&[pool, "in_use"]).set(open.saturating_sub(idle).max(0));
        self.database_connections.with_label_values(&[pool, "idle"]).set(idle);
        self.database_connections_limit.with_label_values(&[pool]).set(i64::from(limit));
    }

    /// All metrics in the text format that Prometheus scrapes.
    ///
    /// # Errors
    /// An encoding fault.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Makes metrics and registers them.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn registered<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, prometheus::Error> {
        self.registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
    }
}

/// Name and value of the labels of each gauge that is above zero.
fn labels_that_are_set(gauges: &IntGaugeVec) -> Vec<BTreeMap<String, String>> {
    let families = gauges.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let set = metrics.filter(|metric| metric.get_gauge().get_value() > 0.0);
    let labels = |metric: &prometheus::proto::Metric| {
        metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
    };
    set.map(labels).collect()
}

/// Seconds since the instant that a gauge holds; none before it was set.
fn seconds_since(gauge: &IntGauge) -> Option<i64> {
    let at = gauge.get();
    (at > 0).then(|| unix_seconds().saturating_sub(at))
}

fn unix_seconds() -> i64 {
    // A clock before 1970 is as good as none.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// Directives such as `info,apportion=debug`.
    pub filter: String,
    pub format: LogFormat,
    /// Where traces go, OTLP over HTTP, such as `http://collector:4318/v1/traces`; none if absent.
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log_filter: {0}; write a level such as info, or target=level, separated by commas")]
    Filter(#[from] ParseError),
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("logging is set up already: {0}")]
    Taken(#[from] TryInitError),
}

/// Exports what is left of the traces when it is dropped.
#[derive(Default)]
pub struct TelemetryGuard {
    traces: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take()
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// Sets up logs on standard error, and trace export if there is an endpoint. Once per process.
///
/// # Errors
/// A filter that is none, an endpoint that is none, or a second set-up.
pub fn init(config: &TelemetryConfig) -> Result<TelemetryGuard, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let traces = config.otlp_endpoint.as_deref().map(trace_provider).transpose()?;
    let export = traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("apportion")));
    // Colours are for a person's terminal: never in a file or a collector.
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Where nobody reads them any more, lines are lost: told on the same closed end, that would be a panic.
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours).log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(export).with(lines).try_init()?;
    Ok(TelemetryGuard { traces })
}

fn trace_provider(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()?;
    let resource = Resource::builder().with_service_name("apportion").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_by_outcome_and_only_good_ones_are_a_success() {
        let metrics = Metrics::new().expect("metrics");
        for outcome in [RunOutcome::Waiting, RunOutcome::Waiting, RunOutcome::Failed] {
            metrics.job_ran(Job::DraftStatements, outcome);
        }
        metrics.job_ran(Job::ExpirePayloads, RunOutcome::NothingNew);
        let text = String::from_utf8(metrics.render().expect("rendered")).expect("text");
        assert!(text.contains(r#"apportion_job_runs_total{job="draft-statements",outcome="waiting"} 2"#), "{text}");
        assert!(!text.contains(r#"last_success_timestamp_seconds{job="draft-statements"}"#), "{text}");
        assert!(text.contains(r#"last_success_timestamp_seconds{job="expire-payloads"}"#), "{text}");
        assert!(text.contains("apportion_job_last_tick_timestamp_seconds 0"), "{text}");
    }
}
