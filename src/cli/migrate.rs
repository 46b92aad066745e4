//! `apportion migrate`: brings the database up to this build.

use super::Session;
use super::output::{Format, counted, json, line};
use apportion::store;

const EXAMPLES: &str = "\
Examples:
  DATABASE_URL=postgres://apportion@localhost/apportion apportion migrate";

/// Apply the migrations that the database does not have yet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

pub async fn run(_: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.any_pool()?;
    let applied = store::migrate(&pool).await?;
    match session.format {
        Format::Json => json(&serde_json::json!({ "current": true, "applied": applied })),
        Format::Table if applied.is_empty() => Ok(line("the database has every migration of this build")?),
        Format::Table => Ok(line(format!("applied {}: {}", counted(applied.len(), "migration"), applied.join(", ")))?),
    }
}
