//! `apportion key`: keys for the HTTP door, made, listed and revoked.

use super::output::{self, json, line, tell};
use super::{Format, Session, Stop, named};
use anyhow::Context;
use apportion::domain::access::Scope;
use apportion::domain::ids::PartyId;
use apportion::domain::period::{Instant, instant_or_date};
use apportion::store::StoreError;
use apportion::store::access::{ApiKey, NewApiKey, create_key, list_keys, revoke_key};
use serde::Serialize;

const EXAMPLES: &str = "\
A key is shown once, when it is made; the database has its digest alone. Who holds it is who acts by it: the \
holder who makes a draft cannot approve it by another key either.

Examples:
  apportion key create --holder ana --scope read --scope settle --by ben
  apportion key create --holder microsoft-audit --scope read --party microsoft --by ben
  apportion key list
  apportion key revoke 0123456789abcdef --by ben";

const CREATE_EXAMPLES: &str = "\
Scopes: read, ingest (send usage), settle, approve (approve and issue), admin (run jobs). With a party the key sees \
what concerns that alone, and may have read and approve (agree to its statements, or dispute them).

Example:
  apportion key create --holder collector --scope ingest --expires 2027-01-01T00:00:00Z --by ben";

/// Make, list and revoke keys for the HTTP door
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key, and show it this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Who acts by it: a person or a program
        #[arg(long, value_parser = named)]
        holder: String,
        /// What it is good for; may be given more than once
        #[arg(long = "scope", required = true, value_parser = str::parse::<Scope>)]
        scopes: Vec<Scope>,
        /// Whose rows alone it sees
        #[arg(long)]
        party: Option<PartyId>,
        /// The instant, or date (UTC), from which it holds no more; never where it is left out
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        expires: Option<Instant>,
        /// Who makes it
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
    /// List the keys, without their secrets
    #[command(after_help = "Example:\n  apportion key list")]
    List,
    /// Revoke a key: from now on it holds no more
    #[command(after_help = "Example:\n  apportion key revoke 0123456789abcdef --by ben")]
    Revoke {
        /// The key's id, as `apportion key list` shows it
        key_id: String,
        /// Who revokes it
        #[arg(long, env = "APPORTION_USER", value_parser = named)]
        by: String,
    },
}

/// A key that was made.
#[derive(Serialize)]
struct Made {
    key: String,
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool().await?;
    match args.command {
        Command::Create { holder, scopes, party, expires, by } => {
            let new =
                NewApiKey { holder, scopes: scopes.into_iter().collect(), party, expires_at: expires, created_by: by };
            if let (Some(scope), Some(_)) = (new.scopes.iter().find(|scope| !scope.is_for_partners()), &new.party) {
                let reason = format!("--scope {scope}: a key that is bound to a party has read and approve alone");
                return Err(Stop::Refused { reason }.into());
            }
            let key = create_key(&pool, &new).await.map_err(|error| refused(error, &new))?;
            match session.format {
                Format::Json => json(&Made { key })?,
                Format::Table => {
                    line(&key)?;
                    // Apart from the key, so that a script takes that alone.
                    tell("It is shown this once: keep it where it is used.");
                }
            }
        }
        Command::List => {
            let keys = list_keys(&pool).await?;
            match session.format {
                Format::Json => json(&keys)?,
                Format::Table if keys.is_empty() => {
                    line("No keys yet; `apportion key create --help` tells how to make one.")?
                }
                Format::Table => line(table(&keys))?,
            }
        }
        Command::Revoke { key_id, by } => {
            if !revoke_key(&pool, &key_id, &by).await? {
                let reason = format!("there is no key \"{key_id}\"; `apportion key list` shows those there are");
                return Err(Stop::Refused { reason }.into());
            }
            let keys = list_keys(&pool).await?;
            let key = keys.iter().find(|key| key.key_id == key_id).context("a key that was there is gone")?;
            match session.format {
                Format::Json => json(key)?,
                Format::Table => line(format!("The key {key_id} of {} holds no more.", key.holder))?,
            }
        }
    }
    Ok(())
}

/// Says of what the database refused why that is.
fn refused(error: StoreError, new: &NewApiKey) -> anyhow::Error {
    let reason = match &error {
        StoreError::Database(sqlx::Error::Database(refusal)) if refusal.is_foreign_key_violation() => {
            let party = new.party.as_ref().map(PartyId::as_str).unwrap_or_default();
            format!("--party {party}: no register knows it; `apportion contracts apply FOLDER` registers parties")
        }
        StoreError::Database(sqlx::Error::Database(refusal)) if refusal.is_check_violation() => {
            "--expires: it lies in the past; write an instant or date to come, or leave it out".to_owned()
        }
        _ => return error.into(),
    };
    Stop::Refused { reason }.into()
}

fn table(keys: &[ApiKey]) -> comfy_table::Table {
    let heading = ["id", "holder", "scopes", "party", "made", "by", "expires", "revoked"];
    let row = |key: &ApiKey| {
        let at = |at: Option<Instant>| at.map(output::instant).unwrap_or_default();
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
        vec![
            key.key_id.clone(),
            key.holder.clone(),
            scopes.join(", "),
            key.party.as_ref().map(ToString::to_string).unwrap_or_default(),
            at(Some(key.created_at)),
            key.created_by.clone(),
            at(key.expires_at),
            at(key.revoked_at),
        ]
    };
    output::table(&heading, &[], keys.iter().map(row))
}
