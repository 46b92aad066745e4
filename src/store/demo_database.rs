//! The demo's own database: made anew for each run, and dropped only if it carries our mark.

use super::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::str::FromStr;

/// The comment on the database that says it is ours to drop.
const MARK: &str = "made by apportion demo; it drops this database without asking";

const NAME: &str = "apportion_demo";

#[derive(Debug, thiserror::Error)]
pub enum DemoDatabaseError {
    #[error("a database {NAME} exists that the demo did not make; rename or drop it yourself")]
    NotOurs,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Drops the demo's database of an earlier run and creates it empty, on the server of `url`.
///
/// Returns the URL of the new database.
///
/// # Errors
/// A database of that name without our mark, or whatever the server answers.
pub async fn recreate(url: &str) -> Result<String, DemoDatabaseError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::from)?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(StoreError::from)?;
    let existing =
        sqlx::query_scalar!("select shobj_description(oid, 'pg_database') from pg_database where datname = $1", NAME)
            .fetch_optional(&mut connection)
            .await
            .map_err(StoreError::from)?;
    match existing {
        None => {}
        Some(Some(mark)) if mark == MARK => {
            // Whoever still serves an earlier demo is sent away.
            execute(&mut connection, format!("drop database {NAME} with (force)")).await?;
        }
        Some(_) => return Err(DemoDatabaseError::NotOurs),
    }
    execute(&mut connection, format!("create database {NAME}")).await?;
    execute(&mut connection, format!("comment on database {NAME} is '{MARK}'")).await?;
    Ok(with_database(url))
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    // Statements about databases take no parameters and change nothing that could be checked ahead; these
    // hold constants of ours alone.
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// The URL with our database's name in the place of its own.
fn with_database(url: &str) -> String {
    let (front, query) =
        url.split_once('?').map_or((url, String::new()), |(front, query)| (front, format!("?{query}")));
    let authority = front.find("://").map_or(0, |scheme| scheme + 3);
    let end = front.get(authority..).and_then(|rest| rest.rfind('/')).map_or(front.len(), |at| authority + at);
    format!("{}/{NAME}{query}", front.get(..end).unwrap_or(front))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_changes() {
        let cases = [
            ("postgres://me:x@host:1/own?sslmode=require", "postgres://me:x@host:1/apportion_demo?sslmode=require"),
            ("postgres://host", "postgres://host/apportion_demo"),
            ("postgres:///own?host=/run/pg", "postgres:///apportion_demo?host=/run/pg"),
        ];
        for (url, expect) in cases {
            assert_eq!(with_database(url), expect);
        }
    }
}
