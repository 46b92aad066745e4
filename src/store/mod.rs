//! Postgres: the only place that holds SQL.

pub mod access;
pub mod agreements;
pub mod archives;
pub mod availability;
pub mod backfill_contents;
pub mod backfills;
pub mod books;
pub mod contracts;
pub mod costs;
pub mod demo_database;
pub mod dictionary;
pub mod double_reports;
pub mod file_positions;
pub mod finding_decisions;
pub mod finding_states;
pub mod findings;
pub mod generations;
pub mod invoices;
pub mod jobs;
pub mod offline_usage;
pub mod offsets;
pub mod quantities;
pub mod recording;
pub mod records;
pub mod rejections;
pub mod requests;
pub mod rollups;
pub mod span_sums;
pub mod statement_statuses;
pub mod trials;
pub mod usage;
pub mod usage_events;
pub mod usage_reports;
pub mod usage_rows;
pub mod usage_sums;
pub mod waivers;

mod copy;
mod event_ids;
mod usage_replies;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Postgres, Row, Transaction};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

/// The migrations of this build, compiled in.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Postgres's code of a statement that took longer than it may.
const QUERY_CANCELED: &str = "57014";

/// Postgres's code of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Postgres's code of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Postgres's code of a database that does not exist.
const UNKNOWN_DATABASE: &str = "3D000";

/// Our code of events that are in an archive and not here: `refuse_offline_usage` of `migrations/0001_usage.sql`.
const USAGE_ARCHIVED: &str = "UA001";

/// How Postgres's codes of a wrong user or password start.
const INVALID_AUTHORIZATION: &str = "28";

/// What the database answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    #[error("{0}; `apportion archive restore` brings them back")]
    Offline(#[source] Offline),
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("the database at {place} {found}")]
    OtherSchema { place: String, found: Schema },
    /// The partition was read further, or not as far, as the writer believed: another consumer owns it, or
    /// an earlier commit succeeded although its connection broke.
    #[error("{topic}/{partition}: the database does not expect offset {expected:?} next")]
    Fenced { topic: String, partition: i32, expected: Option<i64> },
    /// The batch before, after which this one was to be committed, was not.
    #[error("the batch before was not stored")]
    GivenUp,
    /// It is given up, with its connection.
    #[error("what was asked of the database took longer than {seconds} s")]
    Unanswered { seconds: u64 },
    /// What was committed is not there any more: an older state of the database was restored.
    #[error("the database was set back: what was stored last is not there")]
    SetBack,
    /// A row holds something that no version of this program wrote.
    #[error("{column} of {row}: {problem}")]
    Corrupt { column: &'static str, row: String, problem: String },
    /// What is known cannot be told without seeing since when others record.
    #[error(
        "it cannot be seen since when a transaction has been recording; let all of the service connect as one role, \
         with track_activities = on"
    )]
    HiddenRecorder,
    #[error("generation {generation} has {keys} keys of the {events} events that its batches stored")]
    LacksKeys { generation: i32, keys: usize, events: usize },
    #[error("this machine gives no random bytes: {problem}")]
    Randomness { problem: String },
    #[error("{value} is too large for {column}")]
    TooLarge { column: &'static str, value: String },
}

/// What was asked for needs events that an archive's file alone has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{which}")]
pub struct Offline {
    /// Of when, how many hours, and in which archives.
    pub which: String,
}

impl StoreError {
    /// Takes a stored value that was parsed, or says which column of which row holds what it may not.
    fn decoded<T, E: Display>(column: &'static str, row: impl Display, parsed: Result<T, E>) -> Result<T, Self> {
        parsed.map_err(|error| Self::Corrupt { column, row: row.to_string(), problem: error.to_string() })
    }

    /// A number as its column holds it, or says which column it does not fit.
    fn encoded<T, V: TryInto<T> + Copy + Display>(column: &'static str, value: V) -> Result<T, Self> {
        value.try_into().map_err(|_| Self::TooLarge { column, value: value.to_string() })
    }

    /// Whether the same call may succeed later without any change: the server restarts, a connection broke.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                // https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions,
                // rolled back transactions, lack of resources, an operator's intervention, read-only standby, idle for too long.
                let transient = ["08", "40", "53", "57", "25006", "25P03"];
                error.code().is_some_and(|code| transient.iter().any(|class| code.starts_with(class)))
            }
            StoreError::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::WorkerCrashed
            ),
            StoreError::Unanswered { .. } => true,
            StoreError::Migration(_)
            | StoreError::OtherSchema { .. }
            | StoreError::Fenced { .. }
            | StoreError::GivenUp
            | StoreError::SetBack
            | StoreError::Offline(_)
            | StoreError::LacksKeys { .. }
            | StoreError::Corrupt { .. }
            | StoreError::HiddenRecorder
            | StoreError::Randomness { .. }
            | StoreError::TooLarge { .. } => false,
        }
    }

    /// Whether Postgres ended the statement because it took too long; see [`for_reading`].
    pub fn is_timeout(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code == QUERY_CANCELED)
            }
            _ => false,
        }
    }

    /// Whether a lock was not to be had in time; see [`for_writing`].
    pub fn is_lock_timeout(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE)
            }
            _ => false,
        }
    }

    /// Whether what was asked for lies beyond what Postgres holds: a number, or an instant.
    pub fn is_out_of_range(&self) -> bool {
        // https://www.postgresql.org/docs/current/errcodes-appendix.html
        let codes = ["22003", "22008"];
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| codes.contains(&code.as_ref()))
            }
            _ => false,
        }
    }

    /// Whether a key was taken meanwhile by another writer.
    pub fn is_unique_violation(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => error.is_unique_violation(),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(told) if told.code().is_some_and(|code| code == USAGE_ARCHIVED) => {
                Self::Offline(Offline { which: told.message().to_owned() })
            }
            _ => Self::Database(error),
        }
    }
}

/// Where a URL points, without user and password: `host:port/database`.
///
/// # Errors
/// A URL that is none.
pub fn place(url: &str) -> Result<String, sqlx::Error> {
    Ok(place_of(&PgConnectOptions::from_str(url)?))
}

/// As [`place`], of a pool that is open.
pub fn place_of_pool(pool: &PgPool) -> String {
    place_of(&pool.connect_options())
}

fn place_of(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or_else(|| options.get_host().into(), |socket| socket.to_string_lossy());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{host}:{}/{database}", options.get_port())
}

/// How long a transaction may be idle: longer than any of ours is between two statements, even where a settlement is
/// decided in between. One whose process hangs or whose machine is gone is rolled back then; else it would hold what it
/// locked for hours, and what is known would stand still for all.
const IDLE_TRANSACTION_TIMEOUT: &str = "60s";

/// How much memory one step of a statement may take: what a trigger is told of the rows of a batch fits, so that it is
/// not written to disk and read again.
const WORK_MEM: &str = "32MB";

/// Opens a pool of at most `max_connections`. Connects on first use, so that a database that starts later
/// than we do is no error here.
///
/// # Errors
/// A URL that is none.
pub fn connect(url: &str, max_connections: u32) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("apportion")
        .options([("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT), ("work_mem", WORK_MEM)]);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_release(|conn, _| Box::pin(is_free(conn)))
        .connect_lazy_with(options))
}

/// Whether no transaction is open on a connection that was let go. Where a `begin` was broken off before its answer came one
/// is, and sqlx does not know of it: whatever runs there next would never be committed. Such a connection is closed.
async fn is_free(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Not prepared: one that is begins its own transaction before its statement.
    let alone = sqlx::raw_sql("select transaction_timestamp() = statement_timestamp()");
    alone.fetch_one(conn).await?.try_get(0)
}

/// How often Postgres looks, while a statement runs or waits, whether its client is still there.
const CLIENT_CHECK_INTERVAL: &str = "1s";

/// How long a connection that was let go may still be busy. Those whose work has ended answer at once; the others were
/// let go by a request that was broken off.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(250);

/// A pool beside another, to the same database and of as many connections, in which no statement takes longer than
/// `timeout`: whoever asks for much keeps no connection from those who write.
///
/// A read that is dropped ends: its connection is closed, and Postgres ends the statement of a client that is gone.
pub fn for_reading(pool: &PgPool, timeout: Duration) -> PgPool {
    // A plan for any filter and any span, which Postgres makes after a few calls, is far slower than one for those that
    // are asked for.
    let connect = pool.connect_options().as_ref().clone().options([("plan_cache_mode", "force_custom_plan")]);
    bounded(pool.options().clone(), connect, timeout)
}

/// How many callers are looked up at once: by a key of an index, in well under a millisecond each.
const CALLER_CONNECTIONS: u32 = 2;

/// A small pool beside another, to find out who calls and what they were answered before: no read and no write has to
/// come to its end first. Nothing in it takes longer than `timeout`.
pub fn for_callers(pool: &PgPool, timeout: Duration) -> PgPool {
    let options = pool.options().clone().max_connections(CALLER_CONNECTIONS).acquire_timeout(timeout);
    bounded(options, pool.connect_options().as_ref().clone(), timeout)
}

fn bounded(options: PgPoolOptions, connect: PgConnectOptions, timeout: Duration) -> PgPool {
    let settings = [
        ("statement_timeout", format!("{}ms", timeout.as_millis())),
        ("client_connection_check_interval", CLIENT_CHECK_INTERVAL.to_owned()),
    ];
    let options = options.after_release(|conn, _| {
        Box::pin(async {
            let free = tokio::time::timeout(RELEASE_TIMEOUT, is_free(conn)).await;
            Ok(free.is_ok_and(|free| free.unwrap_or(false)))
        })
    });
    options.connect_lazy_with(connect.options(settings))
}

/// A pool beside another, to the same database and of as many connections, in which nothing waits longer than `wait`
/// for a connection or for a lock: those who wait for each other keep no connection from the jobs and from usage that
/// comes in.
pub fn for_writing(pool: &PgPool, wait: Duration) -> PgPool {
    let settings = [
        ("lock_timeout", format!("{}ms", wait.as_millis())),
        ("client_connection_check_interval", CLIENT_CHECK_INTERVAL.to_owned()),
    ];
    let options = pool.options().clone().acquire_timeout(wait);
    options.connect_lazy_with(pool.connect_options().as_ref().clone().options(settings))
}

/// A transaction that reads one state of the database, whatever is written meanwhile.
///
/// # Errors
/// The database's.
pub async fn begin_read(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    Ok(pool.begin_with("begin isolation level repeatable read read only").await?)
}

/// Has the rest of a transaction wait for each lock no longer than `wait`, whatever its pool allows.
///
/// # Errors
/// The database's.
pub async fn limit_lock_wait(conn: &mut PgConnection, wait: Duration) -> Result<(), StoreError> {
    let wait = format!("{}ms", wait.as_millis());
    sqlx::query_scalar!("select set_config('lock_timeout', $1, true)", wait).fetch_one(conn).await?;
    Ok(())
}

/// Applies the migrations that the database does not have yet; returns their numbers and names.
///
/// # Errors
/// A migration that fails, or a database that another build made.
pub async fn migrate(pool: &PgPool) -> Result<Vec<String>, StoreError> {
    let before = applied(pool).await?;
    refuse(pool, Schema::of(&before), &[Schema::Current, Schema::Behind])?;
    MIGRATIONS.run(pool).await?;
    let new = MIGRATIONS.iter().filter(|migration| !before.contains_key(&migration.version));
    Ok(new.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect())
}

/// The migrations that the database has, by number: the digest of each.
async fn applied(pool: &PgPool) -> Result<BTreeMap<i64, Vec<u8>>, StoreError> {
    // The table belongs to sqlx and does not exist where queries are checked: not a checked query.
    let applied = sqlx::query_as("select version, checksum from _sqlx_migrations where success");
    match applied.fetch_all(pool).await {
        Err(error) if is_undefined_table(&error) => Ok(BTreeMap::new()),
        answered => Ok(answered?.into_iter().collect()),
    }
}

/// Whether a table that was asked for does not exist: the database has no schema of ours.
fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == UNDEFINED_TABLE)
}

/// Why the server lets nobody in, in its own words: no such database or user, or a wrong password.
pub fn refused_entry(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    let is_entry = |code: &str| code == UNKNOWN_DATABASE || code.starts_with(INVALID_AUTHORIZATION);
    error.code().is_some_and(|code| is_entry(&code)).then(|| error.message())
}

/// How the database's migrations stand to those of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// It lacks some, or has none at all.
    Behind,
    /// It has some that this build does not know.
    Ahead,
    /// One that both have reads otherwise here.
    Different,
}

impl Schema {
    fn of(applied: &BTreeMap<i64, Vec<u8>>) -> Self {
        let ours: BTreeMap<i64, &[u8]> = MIGRATIONS.iter().map(|it| (it.version, &*it.checksum)).collect();
        let reads_otherwise = |(version, theirs): (&i64, &Vec<u8>)| ours.get(version).is_some_and(|it| it != theirs);
        if applied.iter().any(reads_otherwise) {
            return Self::Different;
        }
        if applied.keys().any(|version| !ours.contains_key(version)) {
            return Self::Ahead;
        }
        if applied.len() < ours.len() { Self::Behind } else { Self::Current }
    }
}

impl Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "has the migrations of this build",
            Self::Behind => "lacks migrations of this build; run `apportion migrate`",
            Self::Ahead => "has migrations of a later build; run that one on it",
            Self::Different => {
                "was made by another build, whose migrations read otherwise; run that one on it, or have \
                 `apportion migrate` make a new database"
            }
        })
    }
}

/// How the database stands to this build.
///
/// # Errors
/// The database does not answer.
pub async fn schema(pool: &PgPool) -> Result<Schema, StoreError> {
    Ok(Schema::of(&applied(pool).await?))
}

/// Refuses a database with other migrations than this build's: what it holds would be misread.
///
/// # Errors
/// It has others, or does not answer.
pub async fn check_schema(pool: &PgPool) -> Result<(), StoreError> {
    refuse(pool, schema(pool).await?, &[Schema::Current])
}

fn refuse(pool: &PgPool, found: Schema, right: &[Schema]) -> Result<(), StoreError> {
    match right.contains(&found) {
        true => Ok(()),
        false => Err(StoreError::OtherSchema { place: place_of_pool(pool), found }),
    }
}
