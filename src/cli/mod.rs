//! The command line: one file per group of commands. A group is a variant of [`Command`] and an arm of its match.

mod config;
mod contracts;
mod generate;
mod output;
mod record;
mod replay;
mod settle;
mod statement;
mod statement_text;

use anyhow::Context;
use apportion::config::{Config, ConfigError, Setting, Sources};
use apportion::jobs::contracts::ContractsError;
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::StatementError;
use clap::{Parser, Subcommand};
pub use output::Format;
use sqlx::PgPool;
use std::path::PathBuf;
use std::process::ExitCode;

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
    Generate(generate::Args),
    Record(record::Args),
    Replay(replay::Args),
    Settle(settle::Args),
    Statement(statement::Args),
}

/// What every command is given: settings, where they came from, and how to print.
pub struct Session {
    pub config: Config,
    pub settings: Vec<Setting>,
    pub format: Format,
}

impl Session {
    /// Connections to the configured database, opened on first use.
    pub fn pool(&self) -> anyhow::Result<PgPool> {
        let database = &self.config.database;
        Ok(apportion::store::connect(self.config.database_url()?, database.max_connections)?)
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
        let context = Session { config, settings, format: self.format };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
        runtime.block_on(async {
            match self.command {
                Command::Config(args) => config::run(&args, &context),
                Command::Generate(args) => generate::run(args, &context).await,
                Command::Replay(args) => replay::run(args, &context).await,
                Command::Contracts(args) => contracts::run(args, &context).await,
                Command::Record(args) => record::run(args, &context).await,
                Command::Settle(args) => settle::run(args, &context).await,
                Command::Statement(args) => statement::run(args, &context).await,
            }
        })
    }
}

/// The exit status of an error, as `apportion --help` lists them.
pub fn exit_status(error: &anyhow::Error) -> ExitCode {
    let refused = error.is::<Stop>() || error.is::<ConfigError>() || error.is::<ContractsError>();
    let waits = error.downcast_ref::<SettleError>().is_some_and(|it| matches!(it, SettleError::Settlement(_)))
        || error.downcast_ref::<StatementError>().is_some_and(|it| matches!(it, StatementError::Unresolved { .. }));
    ExitCode::from(match (refused, waits) {
        (true, _) => 3,
        (false, true) => 4,
        (false, false) => 1,
    })
}
