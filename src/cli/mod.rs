//! The command line: one file per group of commands. A group is a variant of [`Command`] and an arm of its match.

mod config;
mod contracts;
mod demo;
mod generate;
mod ingest;
mod migrate;
mod output;
mod record;
mod replay;
mod serve;
mod settle;
mod statement;
mod statement_text;
mod usage;

use anyhow::Context;
use apportion::config::{Config, ConfigError, Setting, Sources};
use apportion::domain::settlement::SettlementError;
use apportion::ingest::consumer::ConsumerConfig;
use apportion::jobs::contracts::ContractsError;
use apportion::jobs::records::RecordsError;
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::StatementError;
use apportion::store;
use apportion::telemetry::{self, TelemetryConfig, TelemetryGuard};
use clap::{Parser, Subcommand};
pub use output::Format;
use sqlx::PgPool;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit status:
  0  done
  1  failed: Postgres or Kafka cannot be reached, or what was found differs from what was expected
  2  the command line is wrong
  3  an input was refused: a setting, a contract, a record, a trace
  4  nothing is lost, but work is left: a figure or a price is missing, say

Examples:
  apportion config show
  apportion generate --month 2026-05 --output may.jsonl.gz
  apportion demo";

/// Meters AI usage on every cloud and settles the money that labs and clouds owe each other.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    /// The configuration file; else the one that APPORTION_CONFIG names, else none
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides a setting; may be given more than once
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Tables for people, or json for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Config(config::Args),
    Contracts(contracts::Args),
    Demo(demo::Args),
    Generate(generate::Args),
    Ingest(ingest::Args),
    Migrate(migrate::Args),
    Record(record::Args),
    Replay(replay::Args),
    Serve(serve::Args),
    Settle(settle::Args),
    Statement(statement::Args),
    Usage(usage::Args),
}

/// What every command is given: settings, where they came from, and how to print.
pub struct Session {
    pub config: Config,
    pub settings: Vec<Setting>,
    pub format: Format,
}

impl Session {
    /// A pool on the database that is set.
    ///
    /// # Errors
    /// None is set, or its URL is none.
    pub fn pool(&self) -> anyhow::Result<PgPool> {
        Ok(store::connect(self.config.database_url()?, self.config.database.max_connections)?)
    }

    /// The consumer's settings.
    ///
    /// # Errors
    /// No brokers are set.
    pub fn consumer(&self, until_caught_up: bool) -> anyhow::Result<ConsumerConfig> {
        let kafka = &self.config.kafka;
        Ok(ConsumerConfig {
            brokers: self.config.kafka_brokers()?.to_owned(),
            group_id: kafka.group_id.clone(),
            topics: kafka.topics.clone(),
            batch_messages: kafka.batch_messages,
            linger: Duration::from_millis(kafka.linger_ms),
            properties: kafka.properties.clone(),
            until_caught_up,
        })
    }

    /// Logs and traces of a long-running role.
    ///
    /// # Errors
    /// A filter or an endpoint that is none.
    pub fn telemetry(&self) -> anyhow::Result<TelemetryGuard> {
        let settings = &self.config.telemetry;
        let otlp_endpoint = (!settings.otlp_endpoint.is_empty()).then(|| settings.otlp_endpoint.clone());
        Ok(telemetry::init(&TelemetryConfig {
            filter: settings.log_filter.clone(),
            format: settings.log_format,
            otlp_endpoint,
        })?)
    }
}

/// A command ended in a way that has an exit status of its own.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Exit status 3: what was given cannot be taken as it is.
    #[error("{reason}")]
    Refused { reason: String },
}

impl Cli {
    /// Runs the command on a runtime of its own.
    ///
    /// # Errors
    /// Whatever stopped it; [`exit_status`] tells the kinds apart.
    pub fn run(self) -> anyhow::Result<()> {
        let file = apportion::config::file(self.config.as_deref());
        let (config, settings) = Config::load(&Sources::of_process(file, self.set))?;
        let session = Session { config, settings, format: self.format };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
        runtime.block_on(async {
            match self.command {
                Command::Config(args) => config::run(&args, &session),
                Command::Contracts(args) => contracts::run(args, &session).await,
                Command::Demo(args) => demo::run(args, session).await,
                Command::Generate(args) => generate::run(args, &session).await,
                Command::Ingest(args) => ingest::run(args, &session).await,
                Command::Migrate(args) => migrate::run(args, &session).await,
                Command::Record(args) => record::run(args, &session).await,
                Command::Replay(args) => replay::run(args, &session).await,
                Command::Serve(args) => serve::run(args, &session).await,
                Command::Settle(args) => settle::run(args, &session).await,
                Command::Statement(args) => statement::run(args, &session).await,
                Command::Usage(args) => usage::run(args, &session).await,
            }
        })
    }
}

/// An error with its causes; a cause that the words before it quote already is not repeated.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    if error
        .chain()
        .any(|cause| cause.to_string().contains("relation \"") && cause.to_string().contains("does not exist"))
    {
        return "the database has no schema of this build; run `apportion migrate`".to_owned();
    }
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The exit status of an error, as `apportion --help` lists them.
pub fn exit_status(error: &anyhow::Error) -> ExitCode {
    let refused = error.is::<Stop>()
        || error.is::<ConfigError>()
        || error.downcast_ref().is_some_and(|it| !matches!(it, ContractsError::Store(_)));
    let wrong_record = matches!(error.downcast_ref(), Some(RecordsError::Problem { .. }));
    let waits = matches!(error.downcast_ref(), Some(StatementError::Unresolved { .. }));
    let otherwise = error.downcast_ref().map_or(1, settle_status);
    ExitCode::from(if refused || wrong_record {
        3
    } else if waits {
        4
    } else {
        otherwise
    })
}

/// 4 where something has to come first, 3 where what was asked for cannot be.
fn settle_status(error: &SettleError) -> u8 {
    match error {
        SettleError::PeriodNotEnded { .. }
        | SettleError::Settlement(
            SettlementError::OutOfOrder { .. }
            | SettlementError::PeriodClosed { .. }
            | SettlementError::MissingFigure { .. }
            | SettlementError::Sharing(_),
        ) => 4,
        SettleError::CutoffBeforeLast { .. }
        | SettleError::CutoffInFuture { .. }
        | SettleError::Contracts(_)
        | SettleError::Settlement(
            SettlementError::UnknownContract { .. }
            | SettlementError::WrongPeriodUnit { .. }
            | SettlementError::BeforeContract { .. },
        ) => 3,
        SettleError::Document(_) | SettleError::Store(_) => 1,
    }
}
