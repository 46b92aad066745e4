//! `apportion config`: what is in force, and where each value came from.

use super::Session;
use super::output::{Format, json, line, table};

const EXAMPLES: &str = "\
Examples:
  apportion config show
  APPORTION_KAFKA__GROUP_ID=trial apportion config show --format json
  apportion config show --config /etc/apportion.toml --set http.listen=0.0.0.0:8080";

/// Show the settings in force, and where each came from
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print each setting, its value without secrets, and its origin
    #[command(after_help = EXAMPLES)]
    Show,
}

pub fn run(args: &Args, session: &Session) -> anyhow::Result<()> {
    let Command::Show = args.command;
    match session.format {
        Format::Json => json(&session.settings),
        Format::Table => {
            let row = |setting: &apportion::config::Setting| {
                vec![setting.key.clone(), setting.value.clone(), setting.origin.clone()]
            };
            Ok(line(table(&["setting", "value", "from"], &[], session.settings.iter().map(row)))?)
        }
    }
}
