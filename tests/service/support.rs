//! Databases and topics that a test makes and removes, producers, and the audit of what was stored.

use apportion::domain::outcome::{Counts, Outcome};
use apportion::ingest::consumer::{self, ConsumerConfig};
use apportion::ingest::messages::Position;
use apportion::ingest::writer::Writer;
use apportion::sources::Reader;
use apportion::sources::cloudevents::{CONTENT_TYPE, decode_structured};
use apportion::store;
use apportion::store::usage_rows::Intake;
use apportion::telemetry::Metrics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`, which starts what this needs"))
}

pub fn brokers() -> String {
    setting("KAFKA_BROKERS")
}

pub fn random_name(kind: &str) -> String {
    format!("apportion_test_{kind}{:016x}", rand::random::<u64>())
}

/// A database of its own, with all migrations; dropped when the test ends.
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    pub async fn new() -> Self {
        Self::at(&setting("DATABASE_URL")).await
    }

    pub async fn at(server_url: &str) -> Self {
        let database = Self::empty_at(server_url).await;
        database.register().await;
        database
    }

    /// Migrated and without master data.
    pub async fn empty() -> Self {
        Self::empty_at(&setting("DATABASE_URL")).await
    }

    /// Never migrated.
    pub async fn bare() -> Self {
        Self::bare_at(&setting("DATABASE_URL")).await
    }

    async fn bare_at(server_url: &str) -> Self {
        let admin = PgConnectOptions::from_str(server_url).expect("DATABASE_URL is a Postgres URL");
        Self::create(server_url, admin, "").await
    }

    async fn empty_at(server_url: &str) -> Self {
        let database = Self::bare_at(server_url).await;
        store::migrate(&database.pool).await.expect("migrations");
        database
    }

    /// A database of its own with all that this one holds now. Nothing may be writing to this one.
    pub async fn copy(&mut self) -> Self {
        // Postgres copies a database that nobody is connected to.
        self.pool.close().await;
        let copy = Self::create(&self.url, self.admin.clone(), &format!(" template {}", self.name)).await;
        self.pool = store::connect(&self.url, 8).expect("a URL");
        copy
    }

    /// `server_url` may name any database of the server; `admin` connects to one that is not copied.
    async fn create(server_url: &str, admin: PgConnectOptions, template: &str) -> Self {
        let (server, _) = server_url.rsplit_once('/').expect("a database in DATABASE_URL");
        let name = random_name("");
        let pool = PgPool::connect_with(admin.clone()).await.expect("Postgres answers");
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}{template}")))
            .execute(&pool)
            .await
            .expect("a database");
        pool.close().await;
        let url = format!("{server}/{name}");
        let pool = store::connect(&url, 8).expect("a URL");
        Self { pool, url, admin, name }
    }

    /// Two deployments and two products; one product has a price with a context threshold.
    async fn register(&self) {
        sqlx::raw_sql(
            "insert into party values ('lab', 'Lab', now());
             insert into cloud values ('azure', 'lab', now());
             insert into product values ('gpt', 'lab', '{}', now()), ('codex', 'lab', '{}', now());
             insert into deployment values ('east', 'azure', 'api', 'r', 'lab', 'lab', now()),
               ('west', 'azure', 'api', 'r', 'lab', 'lab', now());
             insert into price (price_id, product, meter, service_tier, context_over, amount, per_units, currency,
               source, recorded_at) values ('p', 'gpt', 'input_tokens', 'default', 1000, 1, 1, 'USD', 's', now())",
        )
        .execute(&self.pool)
        .await
        .expect("master data");
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The sum of a meter over a table.
    pub async fn total(&self, table: &str, meter: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select sum({meter})::bigint from {table}"));
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a sum")
    }

    /// What the database's batches say became of all messages.
    pub async fn counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for name in Outcome::ALL.iter().map(|outcome| outcome.name()).chain(["messages"]) {
            let sql = format!("select coalesce(sum({name}), 0)::bigint from usage_batch");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.expect("a count");
            if count != 0 {
                counts.insert(name.to_owned(), count);
            }
        }
        counts
    }

    pub async fn writer(&self) -> Writer {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        Writer::open(self.pool.clone(), metrics).await.expect("a writer")
    }

    /// Rollups as known at every time of recording equal the sums over the events as known then.
    pub async fn audit(&self) {
        let audit = include_str!("audit.sql");
        let differences: Vec<(chrono::DateTime<chrono::Utc>, i64)> =
            sqlx::query_as(audit).fetch_all(&self.pool).await.expect("the audit");
        assert!(!differences.is_empty(), "nothing was recorded");
        for (known_at, differences) in differences {
            assert_eq!(differences, 0, "rollups differ from the events as known at {known_at}");
        }
        let twice = "select count(*) - count(distinct event_key) from usage_event_row";
        assert_eq!(self.number(twice).await, 0, "a key stands in two generations");
    }

    pub async fn drop_it(self) {
        self.pool.close().await;
        let pool = PgPool::connect_with(self.admin.clone()).await.expect("Postgres answers");
        let sql = format!("drop database {} with (force)", self.name);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("dropped");
        pool.close().await;
    }
}

/// Writes lines as one batch.
pub async fn write_lines(writer: &mut Writer, lines: &[String]) -> Counts {
    let messages = (1..).zip(lines).map(|(line, text)| {
        let position = Position::File { name: "lines".into(), line, record: 1 };
        (position, decode_structured(text.as_bytes()))
    });
    writer.write(&writer.messages(messages), None, Intake::File).await.expect("written").counts
}

fn event_json(id: &str, kind: &str, time: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"test","type":"apportion.usage{kind}.v1","time":"{time}","data":{data}}}"#
    )
}

/// An event of product `gpt` in deployment `east`.
pub fn event(id: &str, input: u64, output: u64) -> String {
    event_at(id, "2026-05-01T00:30:00Z", "east", input, output)
}

pub fn event_at(id: &str, time: &str, deployment: &str, input: u64, output: u64) -> String {
    let quantities = format!(r#"{{"input_tokens":{input},"output_tokens":{output},"requests":1}}"#);
    let data = format!(r#"{{"deployment":"{deployment}","product":"gpt","customer":"c1","quantities":{quantities}}}"#);
    event_json(id, "", time, &data)
}

/// `restated` is the inside of the JSON object.
pub fn correction(id: &str, corrects: &str, restated: &str) -> String {
    event_json(id, ".correction", "2026-06-01T00:00:00Z", &format!(r#"{{"corrects":"{corrects}",{restated}}}"#))
}

pub fn void(id: &str, voids: &str) -> String {
    event_json(id, ".void", "2026-06-01T00:00:00Z", &format!(r#"{{"voids":"{voids}"}}"#))
}

/// A topic of its own; deleted when the test ends.
pub struct TestTopic {
    pub name: String,
    brokers: String,
}

impl TestTopic {
    pub async fn new(partitions: i32) -> Self {
        Self::at(&brokers(), partitions).await
    }

    pub async fn at(brokers: &str, partitions: i32) -> Self {
        Self::made(brokers, partitions, &[]).await
    }

    /// With settings of its own.
    pub async fn with(partitions: i32, settings: &[(&str, &str)]) -> Self {
        Self::made(&brokers(), partitions, settings).await
    }

    async fn made(brokers: &str, partitions: i32, settings: &[(&str, &str)]) -> Self {
        let topic = Self { name: random_name("topic_"), brokers: brokers.to_owned() };
        // As many copies as there are brokers to hold them.
        let copies = TopicReplication::Fixed(brokers.split(',').count() as i32);
        let new = NewTopic::new(&topic.name, partitions, copies);
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let created = topic.admin().create_topics(&[new], &AdminOptions::new()).await.expect("Kafka answers");
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        topic
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("an admin client")
    }

    pub async fn delete(self) {
        let deleted = self.admin().delete_topics(&[&self.name], &AdminOptions::new()).await.expect("Kafka answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    /// Deletes it and makes it anew, under its name.
    pub async fn again(self, partitions: i32) -> Self {
        let topic = Self { name: self.name.clone(), brokers: self.brokers.clone() };
        self.delete().await;
        let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(1));
        let admin = topic.admin();
        // Until the old one is gone it is refused.
        while admin.create_topics([&new], &AdminOptions::new()).await.expect("Kafka answers").iter().any(Result::is_err)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        topic
    }

    /// Deletes what stands before an offset, as retention does.
    pub async fn lose_before(&self, partition: i32, offset: i64) {
        let mut offsets = rdkafka::TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, partition, rdkafka::Offset::Offset(offset)).expect("an offset");
        self.admin().delete_records(&offsets, &AdminOptions::new()).await.expect("deleted");
    }

    pub fn producer(&self) -> TestProducer<'_> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("linger.ms", "5")
            .create()
            .expect("a producer");
        TestProducer { topic: self, producer }
    }

    /// Sends structured events round robin.
    pub fn send(&self, lines: &[String], partitions: i32) {
        let producer = self.producer();
        for (line, text) in lines.iter().enumerate() {
            producer.send(line as i32 % partitions, Some(text.as_bytes()), &[("content-type", CONTENT_TYPE)]);
        }
        producer.flush();
    }
}

pub struct TestProducer<'a> {
    topic: &'a TestTopic,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl TestProducer<'_> {
    pub fn send(&self, partition: i32, payload: Option<&[u8]>, headers: &[(&str, &str)]) {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: Some(*value) });
        }
        let mut record = BaseRecord::<(), [u8]>::to(&self.topic.name).partition(partition).headers(owned);
        record.payload = payload;
        while let Err((error, unsent)) = self.producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
            std::thread::sleep(Duration::from_millis(5));
            record = unsent;
        }
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).expect("all sent");
    }
}

pub fn config(group: &str, topics: &[&TestTopic]) -> ConsumerConfig {
    ConsumerConfig {
        brokers: topics.first().expect("a topic").brokers.clone(),
        group_id: group.to_owned(),
        topics: topics.iter().map(|topic| (topic.name.clone(), Reader::default())).collect(),
        batch_messages: 10_000,
        linger: Duration::from_millis(100),
        properties: BTreeMap::new(),
        until_caught_up: true,
    }
}

/// Consumes what the topics hold now.
pub async fn consume(database: &TestDatabase, topics: &[&TestTopic]) -> Counts {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let config = config(&random_name("group_"), topics);
    let running = consumer::run(config, database.pool.clone(), metrics, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("within a minute").expect("consumed")
}

/// A process that ends with the test, also when that fails.
pub struct Process {
    pub child: Child,
    /// What it has logged since it listens.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub fn of(child: Child) -> Self {
        Self { child, log: Arc::default() }
    }

    /// Starts an `apportion serve` on a free port; returns where it answers, as its log tells.
    pub fn serving(mut command: Command) -> (Self, SocketAddr) {
        let mut child = command
            .env("APPORTION_HTTP__LISTEN", "127.0.0.1:0")
            .env("APPORTION_TELEMETRY__LOG_FORMAT", "json")
            .env_remove("APPORTION_CONFIG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut log = BufReader::new(child.stderr.take().expect("a log")).lines();
        let process = Self::of(child);
        let address = log.by_ref().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).ok()?;
            line["fields"]["address"].as_str().and_then(|address| address.parse().ok())
        });
        // It is read to its end: a full pipe would stop the service.
        let lines = Arc::clone(&process.log);
        std::thread::spawn(move || log.for_each(|line| lines.lock().expect("lines").extend(line)));
        (process, address.expect("it listens"))
    }

    /// SIGKILL: it can put nothing in order.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM, and its end in good order.
    pub fn end(&mut self, within: Duration) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(told.success());
        let deadline = std::time::Instant::now() + within;
        while self.child.try_wait().expect("its status").is_none() {
            assert!(std::time::Instant::now() < deadline, "it ends within {within:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
