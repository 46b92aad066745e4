//! Trials: transactions that write and are never committed, to ask what they would change; others do not wait for them.

use super::StoreError;
use super::recording::next_instant;
use crate::domain::period::Instant;
use sqlx::{PgPool, Postgres, Transaction};

/// A trial that has begun.
pub struct Begun {
    /// It sees one state of the database, and what it writes itself.
    pub transaction: Transaction<'static, Postgres>,
    /// By which Postgres knows who holds what others wait for.
    pub process: i32,
    /// Later than all that it sees: when what it writes first is recorded, on trial.
    pub from: Instant,
}

/// Begins a trial. It never takes the recording gate: so nobody who asks what is known waits for it, or is told of it.
/// The numbers that its batches, dimensions and customers take are never used again; nothing else is left of it.
///
/// # Errors
/// The database's.
pub async fn begin(pool: &PgPool) -> Result<Begun, StoreError> {
    let mut transaction = pool.begin_with("begin isolation level repeatable read").await?;
    let process = sqlx::query_scalar!(r#"select pg_backend_pid() as "process!""#).fetch_one(&mut *transaction).await?;
    let from = next_instant(&mut transaction).await?;
    Ok(Begun { transaction, process, from })
}

/// Whether anybody waits for a process, as for a key or a name that both write.
///
/// # Errors
/// The database's.
pub async fn is_in_the_way(pool: &PgPool, process: i32) -> Result<bool, StoreError> {
    let waited_for = sqlx::query_scalar!(
        r#"select exists (select from pg_locks l
             where not l.granted and $1 = any (pg_blocking_pids(l.pid))) as "is_waited_for!""#,
        process
    );
    Ok(waited_for.fetch_one(pool).await?)
}

/// Ends the session of a process, whatever it is at: what it wrote is undone, and who waited for it goes on.
///
/// # Errors
/// The database's.
pub async fn end(pool: &PgPool, process: i32) -> Result<(), StoreError> {
    sqlx::query_scalar!("select pg_terminate_backend($1)", process).fetch_one(pool).await?;
    Ok(())
}
