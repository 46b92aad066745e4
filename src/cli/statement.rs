//! `apportion statement`: list, show, approve, issue, and waive what an issue waits for.

use super::output::{self, json, line};
use super::{Format, Session};
use apportion::jobs::statements::{approve, document, issue, show, waive};
use apportion::store::books::{StatementHead, list_statements};
use sqlx::PgPool;

/// List, show, approve and issue statements
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the statements with their status
    List {
        /// Of this contract alone
        contract: Option<String>,
    },
    /// Show a statement: every amount with its clause, rate, base and cap
    #[command(after_help = "Examples:\n  apportion statement show 1\n  apportion statement show 1 --format json")]
    Show { id: i64 },
    /// Approve a draft that someone else made
    #[command(after_help = "Example:\n  apportion statement approve 1 --by ben")]
    Approve {
        id: i64,
        #[arg(long, env = "APPORTION_USER")]
        by: String,
    },
    /// Issue an approved statement; this closes its period
    #[command(after_help = "Example:\n  apportion statement issue 1 --by ben")]
    Issue {
        id: i64,
        #[arg(long, env = "APPORTION_USER")]
        by: String,
    },
    /// Decide that a period need not wait for the usage that is unresolved now
    #[command(after_help = "Example:\n  apportion statement waive 1 --by ben --reason 'test traffic'")]
    Waive {
        id: i64,
        #[arg(long, env = "APPORTION_USER")]
        by: String,
        #[arg(long)]
        reason: String,
    },
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool()?;
    match args.command {
        Command::List { contract } => {
            let rows = list_statements(&pool, contract.as_deref()).await?;
            match session.format {
                Format::Json => json(&rows)?,
                Format::Table => line(list(&rows))?,
            }
        }
        Command::Show { id } => {
            match session.format {
                // Byte for byte what was stored, so that its digest can be checked.
                Format::Json => line(document(&pool, id).await?)?,
                Format::Table => {
                    let (head, statement) = show(&pool, id).await?;
                    line(super::statement_text::text(&head, &statement))?;
                }
            }
        }
        Command::Approve { id, by } => {
            approve(&pool, id, &by).await?;
            report(&pool, id, session).await?;
        }
        Command::Issue { id, by } => {
            issue(&pool, id, &by).await?;
            report(&pool, id, session).await?;
        }
        Command::Waive { id, by, reason } => {
            let waived = waive(&pool, id, &by, &reason).await?;
            let events: i64 = waived.iter().map(|usage| usage.events).sum();
            match session.format {
                Format::Json => json(&waived)?,
                Format::Table => line(format!("Waived {events} unresolved events of {} kinds.", waived.len()))?,
            }
        }
    }
    Ok(())
}

async fn report(pool: &PgPool, id: i64, session: &Session) -> anyhow::Result<()> {
    let (row, _) = show(pool, id).await?;
    match session.format {
        Format::Json => json(&row),
        Format::Table => Ok(line(format!("Statement {id} is {}, revision {}.", row.status, row.revision))?),
    }
}

/// The statements as a table.
pub fn list(rows: &[StatementHead]) -> comfy_table::Table {
    let heading = ["id", "contract", "period", "between", "currency", "status", "revision", "by"];
    let row = |row: &StatementHead| {
        vec![
            row.statement_id.to_string(),
            row.contract_id.to_string(),
            row.period.to_string(),
            format!("{} and {}", row.party_a, row.party_b),
            row.currency.to_string(),
            row.status.to_string(),
            row.revision.to_string(),
            row.changed_by.clone(),
        ]
    };
    output::table(&heading, &[0, 6], rows.iter().map(row))
}
