//! Postgres: every SQL statement of the product lives here, checked at compile time where it is static.

pub mod books;
pub mod contracts;
pub mod recording;
pub mod rollups;

use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use std::fmt::{Display, Write};

/// What went wrong at the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value that this program cannot read: it was written by another version, or by hand.
    #[error("stored {what} cannot be read: {problem}")]
    Decode { what: &'static str, problem: String },
    #[error("{what} does not fit the database: {problem}")]
    Encode { what: &'static str, problem: String },
}

impl StoreError {
    pub fn decoded<T, E: Display>(what: &'static str, value: Result<T, E>) -> Result<T, Self> {
        value.map_err(|problem| Self::Decode { what, problem: problem.to_string() })
    }

    pub fn encoded<T, E: Display>(what: &'static str, value: Result<T, E>) -> Result<T, Self> {
        value.map_err(|problem| Self::Encode { what, problem: problem.to_string() })
    }
}

/// The secret of the hash that identifies events, as this database holds it.
pub async fn event_key_secret(conn: &mut PgConnection) -> Result<[u8; 32], StoreError> {
    let secret = sqlx::query_scalar!("select event_key_secret from installation").fetch_one(conn).await?;
    StoreError::decoded("installation.event_key_secret", <[u8; 32]>::try_from(secret.as_slice()))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub async fn connect(url: &str, max_connections: u32) -> Result<PgPool, StoreError> {
    Ok(PgPoolOptions::new().max_connections(max_connections).connect(url).await?)
}

/// Brings the schema up to date.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    Ok(sqlx::migrate!().run(pool).await?)
}
