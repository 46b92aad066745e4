//! The service against a real Postgres and a real Kafka. `make test` starts both.

#[path = "service/support.rs"]
mod support;

#[path = "service/answers.rs"]
mod answers;
#[path = "service/api.rs"]
mod api;
#[path = "service/api_client.rs"]
mod api_client;
#[path = "service/archive.rs"]
mod archive;
#[path = "service/attributes.rs"]
mod attributes;
#[path = "service/availability.rs"]
mod availability;
#[path = "service/backfill_commands.rs"]
mod backfill_commands;
#[path = "service/backfills.rs"]
mod backfills;
#[path = "service/books.rs"]
mod books;
#[path = "service/consumers.rs"]
mod consumers;
#[path = "service/cost_replacements.rs"]
mod cost_replacements;
#[path = "service/cost_uses.rs"]
mod cost_uses;
#[path = "service/costs.rs"]
mod costs;
#[path = "service/crash.rs"]
mod crash;
#[path = "service/dashboards.rs"]
mod dashboards;
#[path = "service/demo.rs"]
mod demo;
#[path = "service/doors.rs"]
mod doors;
#[path = "service/double_reports.rs"]
mod double_reports;
#[path = "service/files.rs"]
mod files;
#[path = "audit/draw.rs"]
mod draw;
#[path = "service/faults_disk.rs"]
mod faults_disk;
#[path = "service/faults_kafka.rs"]
mod faults_kafka;
#[path = "service/faults_postgres.rs"]
mod faults_postgres;
#[path = "service/faults_replay.rs"]
mod faults_replay;
#[path = "service/finding_faults.rs"]
mod finding_faults;
#[path = "service/explain.rs"]
mod explain;
#[path = "service/findings.rs"]
mod findings;
#[path = "service/generations.rs"]
mod generations;
#[path = "service/http.rs"]
mod http;
#[path = "service/instance.rs"]
mod instance;
#[path = "service/invoices.rs"]
mod invoices;
#[path = "service/job_crashes.rs"]
mod job_crashes;
#[path = "service/jobs.rs"]
mod jobs;
#[path = "service/known_at.rs"]
mod known_at;
#[path = "service/limits.rs"]
mod limits;
#[path = "service/link.rs"]
mod link;
#[path = "service/lists.rs"]
mod lists;
#[path = "service/outcomes.rs"]
mod outcomes;
#[path = "service/panels.rs"]
mod panels;
#[path = "service/prometheus.rs"]
mod prometheus;
#[path = "service/races.rs"]
mod races;
#[path = "service/recording.rs"]
mod recording;
#[path = "service/records.rs"]
mod records;
#[path = "service/replays.rs"]
mod replays;
#[path = "service/retries.rs"]
mod retries;
#[path = "service/rollups.rs"]
mod rollups;
#[path = "service/settlement.rs"]
mod settlement;
#[path = "service/soak.rs"]
mod soak;
#[path = "service/soak_input.rs"]
mod soak_input;
#[path = "service/sources.rs"]
mod sources;
#[path = "service/trace.rs"]
mod trace;
#[path = "service/traces.rs"]
mod traces;
#[path = "service/usage_log.rs"]
mod usage_log;
#[path = "service/writes.rs"]
mod writes;
