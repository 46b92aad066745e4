//! An instance of Postgres and Kafka of a test's own, which may be killed; and the consumer as a process.

use crate::draw::setting;
use crate::support::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Gone when the test ends, also when it fails.
pub struct Instance {
    name: &'static str,
    pub database_url: String,
    /// All of them, separated by commas; empty where it has Postgres alone.
    pub brokers: String,
}

impl Instance {
    pub fn up(name: &'static str) -> Self {
        Self::made(name, &["up", name], 1)
    }

    /// Without Kafka.
    pub fn postgres(name: &'static str) -> Self {
        Self::made(name, &["up", "--only", "postgres", name], 1)
    }

    /// With so many brokers, each of which has all that there is.
    pub fn with_brokers(name: &'static str, brokers: u32) -> Self {
        Self::made(name, &["up", name], brokers)
    }

    fn made(name: &'static str, up: &[&str], brokers: u32) -> Self {
        // First, so that what comes up is ended even if the rest fails.
        let mut instance = Self { name, database_url: String::new(), brokers: String::new() };
        services(&["destroy", name], 1).expect("nothing is left");
        services(up, brokers).unwrap_or_else(|error| panic!("{up:?}: {error}"));
        let settings = services(&["env", name], 1).expect("its settings");
        let setting = |wanted: &str| {
            let line = settings.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        (instance.database_url, instance.brokers) = (setting("DATABASE_URL"), setting("KAFKA_BROKERS"));
        instance
    }

    /// SIGKILL to `postgres`, `kafka` or one broker, such as `kafka-2`.
    pub fn kill(&self, service: &str) {
        services(&["kill", service, self.name], 1).expect("killed");
    }

    pub fn start(&self, service: &str) {
        services(&["start", service, self.name], 1).expect("started");
    }

    pub fn bounce(&self, service: &str) {
        self.kill(service);
        std::thread::sleep(Duration::from_millis(500));
        self.start(service);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = services(&["destroy", self.name], 1) {
            eprintln!("{} is left: {error}", self.name);
        }
    }
}

/// Whether something can be done to servers of our own; where not, a line says so past what a test that passes hides.
pub fn can_try(what: &str, possible: Result<(), String>) -> bool {
    let is_container = std::env::var("SERVICES").is_ok_and(|services| services == "docker");
    let possible = if is_container { Err("SERVICES=docker".to_owned()) } else { possible };
    if let Err(why) = &possible {
        writeln!(std::io::stderr(), "NOT TRIED: {what}: {why}").expect("said");
    }
    possible.is_ok()
}

/// Runs `scripts/services`.
fn services(arguments: &[&str], brokers: u32) -> Result<String, String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
    let mut command = Command::new(&script);
    // The instance is ours, whatever the other tests were told to use.
    command.args(arguments).env_remove("DATABASE_URL").env_remove("KAFKA_BROKERS").stdin(Stdio::null());
    command.env("KAFKA_NODES", brokers.to_string());
    let output = command.output().map_err(|error| format!("{}: {error}", script.display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// `apportion serve --roles ingest,http`, of the group `faults`: it reads one topic, in small batches, and answers on a
/// free port.
pub fn consumer(database_url: &str, brokers: &str, topic: &str, member: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command
        .args(["serve", "--roles", "ingest,http"])
        .env("DATABASE_URL", database_url)
        .env("KAFKA_BROKERS", brokers)
        .env("APPORTION_KAFKA__GROUP_ID", "faults")
        .env("APPORTION_KAFKA__TOPICS", topic)
        .env("APPORTION_KAFKA__BATCH_MESSAGES", "200")
        // As a consumer that always restarts in the same place is set up: it need not wait for its own
        // dead predecessor to time out.
        .env("APPORTION_KAFKA__PROPERTIES__GROUP_INSTANCE_ID", member)
        // Reads little ahead: what Kafka's death interrupts is reading, not only writing.
        .env("APPORTION_KAFKA__PROPERTIES__QUEUED_MAX_MESSAGES_KBYTES", "64");
    command
}

/// How many messages are stored; nothing while the database is away.
pub async fn progress(database: &TestDatabase) -> Option<i64> {
    let sql = "select coalesce(sum(messages), 0)::bigint from usage_batch";
    sqlx::query_scalar(sql).fetch_one(&database.pool).await.ok()
}

/// Lines that are sent to a topic, a part of them each time.
pub struct Parts<'a> {
    topic: &'a TestTopic,
    partitions: i32,
    parts: std::slice::Chunks<'a, String>,
    sent: i64,
}

impl<'a> Parts<'a> {
    pub fn of(lines: &'a [String], parts: usize, topic: &'a TestTopic, partitions: i32) -> Self {
        Self { topic, partitions, parts: lines.chunks(lines.len().div_ceil(parts)), sent: 0 }
    }

    /// Returns how many lines are sent by then.
    pub fn send(&mut self) -> i64 {
        let part = self.parts.next().expect("a part");
        self.topic.send(part, self.partitions);
        self.sent += part.len() as i64;
        self.sent
    }
}

pub async fn wait_for(database: &TestDatabase, messages: i64, deadline: Instant) {
    loop {
        let stored = progress(database).await;
        if stored.is_some_and(|stored| stored >= messages) {
            return;
        }
        assert!(Instant::now() < deadline, "{stored:?} of {messages} messages were stored in time");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// What is drawn is drawn from this: SEED, or one that nobody knows before.
pub fn seed() -> u64 {
    let seed = setting("SEED", rand::random());
    println!("SEED={seed}");
    seed
}
