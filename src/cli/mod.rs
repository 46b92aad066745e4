//! The command line: one file per group of commands. A group is a variant of [`Command`] and an arm of its match.

mod archive;
mod backfill;
mod config;
mod contracts;
mod cost;
mod demo;
mod double_report;
mod entitlement;
mod exit_status;
mod explain;
mod explain_text;
mod finding;
mod generate;
mod hints;
mod ingest;
mod invoice;
mod jobs;
mod key;
mod migrate;
mod output;
mod reading;
mod record;
mod replay;
mod serve;
mod settle;
mod simulate;
mod simulate_text;
mod statement;
mod statement_text;
mod usage;

use anyhow::Context;
use apportion::config::{Config, Setting, Sources};
use apportion::domain::ids::{MAX_REASON_CHARS, is_name, is_reason};
use apportion::ingest::consumer::ConsumerConfig;
use apportion::jobs::gather::Unreadable;
use apportion::sources::Reader;
use apportion::store;
use apportion::telemetry::{self, TelemetryConfig, TelemetryGuard};
use clap::{CommandFactory, Parser, Subcommand};
pub use exit_status::exit_status;
pub use output::{Format, Printed, tell};
use sqlx::PgPool;
use std::path::{Path, PathBuf};
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit status:
  0  done
  1  failed: Postgres or Kafka cannot be reached or used, or what was found differs from what was expected
  2  the command line is wrong
  3  an input was refused: a setting, a file, a contract, a record, a name, or a step that the rules forbid
  4  nothing is lost, but work is left: a figure or a price is missing, messages of a file were rejected or
     conflict with what stands, usage or records of a scenario do not count, or what it takes is archived

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
    /// Tables for people, or json for programs; of `simulate` csv for spreadsheets
    #[arg(long, global = true, value_enum, default_value_t = Printed::Table)]
    format: Printed,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Archive(archive::Args),
    Backfill(backfill::Args),
    Config(config::Args),
    Contracts(contracts::Args),
    Cost(cost::Args),
    Demo(demo::Args),
    Entitlement(entitlement::Args),
    Explain(explain::Args),
    Finding(finding::Args),
    Generate(generate::Args),
    Ingest(ingest::Args),
    Invoice(invoice::Args),
    Jobs(jobs::Args),
    Key(key::Args),
    Migrate(migrate::Args),
    Record(record::Args),
    Replay(replay::Args),
    Serve(serve::Args),
    Settle(settle::Args),
    Simulate(simulate::Args),
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
    /// A pool on the database that is set, which has the schema of this build.
    ///
    /// # Errors
    /// None is set, its URL is none, it is away, or has another schema.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let pool = self.any_pool()?;
        store::check_schema(&pool).await?;
        Ok(pool)
    }

    /// As [`Self::pool`], of a database that may be away or have any schema.
    ///
    /// # Errors
    /// None is set, or its URL is none.
    pub fn any_pool(&self) -> anyhow::Result<PgPool> {
        Ok(store::connect(self.database_url()?, self.config.database.max_connections)?)
    }

    /// The URL of the database that is set.
    ///
    /// # Errors
    /// None is set, or it is no URL.
    pub fn database_url(&self) -> anyhow::Result<&str> {
        let url = self.config.database_url()?;
        let why = match store::place(url) {
            Ok(_) if ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) => return Ok(url),
            Ok(_) => "it is of another scheme".to_owned(),
            Err(error) => error.to_string(),
        };
        let reason = format!("database.url cannot be used: {why}; write postgres://user:password@host:port/database");
        Err(Stop::Refused { reason }.into())
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
            topics: kafka.readers(),
            batch_messages: kafka.batch_messages,
            linger: Duration::from_millis(kafka.linger_ms),
            properties: kafka.properties.clone(),
            until_caught_up,
        })
    }

    /// How each source that is configured is read.
    pub fn readers(&self) -> Vec<Reader> {
        let Config { kafka, http, .. } = &self.config;
        let readers = kafka.topics.iter().map(|topic| &topic.reader).chain([&http.events, &http.traces]);
        readers.cloned().collect()
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
    /// Exit status 4: it is done as far as it could be, and the rest waits for someone.
    #[error("{what}")]
    Left { what: String },
}

impl Stop {
    /// A file or folder that is not there, or cannot be read or written.
    pub fn unusable(path: &Path, error: &std::io::Error) -> Self {
        Self::Refused { reason: format!("{}: {error}", path.display()) }
    }
}

impl From<Unreadable> for Stop {
    fn from(Unreadable { path, problem }: Unreadable) -> Self {
        Self::unusable(&path, &problem)
    }
}

/// The name of who acts: blanks are none.
pub fn named(text: &str) -> Result<String, String> {
    let text = text.trim();
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("it is empty, longer than 256 bytes, or no line of text; say who acts".to_owned()),
    }
}

/// A reason that a person has to give: blanks are none.
pub fn stated(text: &str) -> Result<String, String> {
    let text = text.trim();
    match is_reason(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("it is empty, or longer than {MAX_REASON_CHARS} characters; say why")),
    }
}

impl Cli {
    /// Runs the command on a runtime of its own.
    ///
    /// # Errors
    /// Whatever stopped it; [`exit_status`] tells the kinds apart.
    pub fn run(self) -> anyhow::Result<()> {
        let file = apportion::config::file(self.config.as_deref());
        let (config, settings) = Config::load(&Sources::of_process(file, self.set))?;
        let format = match (self.format, &self.command) {
            (Printed::Json, _) => Format::Json,
            (Printed::Table, _) | (Printed::Csv, Command::Simulate(_)) => Format::Table,
            (Printed::Csv, _) => {
                let reason = "--format csv is of `apportion simulate` alone; write table or json";
                // As of any other value that an option has not.
                Self::command().error(clap::error::ErrorKind::InvalidValue, reason).exit();
            }
        };
        let session = Session { config, settings, format };
        let database = DatabaseSetting::of(&session);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
        let ended = runtime.block_on(async {
            match self.command {
                Command::Archive(args) => archive::run(args, &session).await,
                Command::Backfill(args) => backfill::run(args, &session).await,
                Command::Config(args) => config::run(&args, &session),
                Command::Contracts(args) => contracts::run(args, &session).await,
                Command::Cost(args) => cost::run(args, &session).await,
                Command::Demo(args) => demo::run(args, session).await,
                Command::Entitlement(args) => entitlement::run(args, &session).await,
                Command::Explain(args) => explain::run(args, &session).await,
                Command::Finding(args) => finding::run(args, &session).await,
                Command::Generate(args) => generate::run(args, &session).await,
                Command::Ingest(args) => ingest::run(args, &session).await,
                Command::Invoice(args) => invoice::run(args, &session).await,
                Command::Jobs(args) => jobs::run(args, &session).await,
                Command::Key(args) => key::run(args, &session).await,
                Command::Migrate(args) => migrate::run(args, &session).await,
                Command::Record(args) => record::run(args, &session).await,
                Command::Replay(args) => replay::run(args, &session).await,
                Command::Serve(args) => serve::run(args, &session).await,
                Command::Settle(args) => settle::run(args, &session).await,
                Command::Simulate(args) => simulate::run(&args, self.format),
                Command::Statement(args) => statement::run(args, &session).await,
                Command::Usage(args) => usage::run(args, &session).await,
            }
        });
        ended.map_err(|error| match database.trouble(&error) {
            Some(trouble) => anyhow::Error::msg(trouble),
            None => error,
        })
    }
}

/// What to say of a Postgres that cannot be reached.
pub fn away(place: &str) -> String {
    format!("Postgres at {place} does not answer")
}

/// Where Postgres should be, and who says so: its driver tells of a failure without either.
struct DatabaseSetting {
    place: String,
    origin: String,
}

impl DatabaseSetting {
    fn of(session: &Session) -> Self {
        let origin = session.settings.iter().find(|it| it.key == "database.url").map(|it| it.origin.clone());
        Self {
            // A URL that is none is refused where it is used.
            place: store::place(&session.config.database.url).unwrap_or_default(),
            origin: origin.unwrap_or_default(),
        }
    }

    /// What to do about a Postgres that could not be reached, or that let nobody in; none for other errors.
    fn trouble(&self, error: &anyhow::Error) -> Option<String> {
        use sqlx::Error::{Io, PoolTimedOut, Tls};
        let (place, check) = (&self.place, format!("check database.url, which {} sets", self.origin));
        let start = format!("{check}, or start Postgres (`make up`)");
        error.chain().filter_map(|cause| cause.downcast_ref()).find_map(|cause| match cause {
            PoolTimedOut => Some(format!("{}; {start}", away(place))),
            Io(why) => Some(format!("{}: {why}; {start}", away(place))),
            Tls(why) => Some(format!("{} over TLS: {why}; {check}", away(place))),
            other => store::refused_entry(other).map(|why| format!("Postgres at {place} refuses: {why}; {check}")),
        })
    }
}

/// An error with its causes, and what helps; a cause that the words before it quote already is not repeated.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    hints::hint(error).map_or(text.clone(), |hint| format!("{text}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// What of a command's help is missing, and of those below it.
    fn missing_help(command: &clap::Command, findings: &mut Vec<String>) {
        if command.get_name() == "help" {
            return; // It is clap's own.
        }
        let name = command.get_display_name().or(command.get_bin_name()).unwrap_or(command.get_name()).to_owned();
        for argument in command.get_arguments().filter(|it| it.get_help().is_none()) {
            findings.push(format!("{name}: nothing about {}", argument.get_id()));
        }
        let example = command.get_after_help().is_some_and(|help| help.to_string().contains(" apportion "));
        if !example {
            findings.push(format!("{name}: no example"));
        }
        command.get_subcommands().for_each(|inner| missing_help(inner, findings));
    }

    /// The lines of a command's examples that clap may wrap, and those below it: pasted, such a line breaks.
    fn long_examples(command: &clap::Command, findings: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().skip_while(|line| !line.starts_with("Example"));
        findings.extend(examples.filter(|line| line.chars().count() > 100).map(str::to_owned));
        command.get_subcommands().for_each(|inner| long_examples(inner, findings));
    }

    #[test]
    fn no_example_is_wrapped() {
        let mut findings = Vec::new();
        long_examples(&Cli::command(), &mut findings);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn every_argument_is_explained_and_every_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        let mut findings = Vec::new();
        missing_help(&command, &mut findings);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn names_and_reasons_are_more_than_blanks_and_a_name_is_a_line() {
        for read in [named, stated] {
            assert_eq!(read(" ana "), Ok("ana".to_owned()));
            assert!(read("").is_err() && read(" \t").is_err());
        }
        let reason = format!("two\nlines, {}", "x".repeat(300));
        assert!(stated(&reason).is_ok() && named("two\nlines").is_err() && named(&"x".repeat(257)).is_err());
    }
}
