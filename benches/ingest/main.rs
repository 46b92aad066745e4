//! How fast usage is taken in, side by side with what only a part of it costs: one topic, one machine, rounds in turn.

mod events;
mod http;
mod peers;
mod processes;
mod steady;
mod topic;

use apportion::ingest::consumer::{self, ConsumerConfig};
use apportion::sources::Reader;
use apportion::store;
use apportion::telemetry::Metrics;
use clap::Parser;
use comfy_table::{CellAlignment, Table};
use http::Requests;
use peers::Rows;
use processes::{Processes, Taken};
use sqlx::{Connection, PgConnection, PgPool};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use topic::Topic;

#[derive(Debug, Parser)]
struct Args {
    /// How many events the topic has
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How many of them are inserted row by row
    #[arg(long, default_value_t = 50_000)]
    inserted: u64,
    /// How often each way is timed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many events of other days are stored already, for each of our runs
    #[arg(long, value_delimiter = ',', default_value = "0")]
    stored: Vec<u64>,
    /// How many of the events are sent over HTTP
    #[arg(long, default_value_t = 250_000)]
    posted: u64,
    /// Takes in a backlog of so many events instead, and tells the most memory that it took
    #[arg(long)]
    backlog: Option<u64>,
    /// Sends so many events a second instead, and tells how long until they can be queried
    #[arg(long)]
    steady: Option<u64>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One way, timed once.
struct Run {
    way: String,
    events: u64,
    seconds: f64,
    taken: Taken,
    /// What the database has grown by.
    bytes: Option<u64>,
}

struct Bench {
    server: String,
    topic: Topic,
    processes: Processes,
    runs: Vec<Run>,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(&args));
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make bench-ingest`"))
}

async fn measure(args: &Args) {
    let server = setting("DATABASE_URL");
    let mut conn = PgConnection::connect(&server).await.expect("Postgres answers");
    let data: String = sqlx::query_scalar("show data_directory").fetch_one(&mut conn).await.expect("a folder");
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        let sql = sqlx::AssertSqlSafe(format!("show {name}"));
        let is: String = sqlx::query_scalar(sql).fetch_one(&mut conn).await.expect("a setting");
        assert_eq!(is, "on", "{name}: what is measured is durable");
    }
    let brokers = setting("KAFKA_BROKERS");
    if let Some(per_second) = args.steady {
        return steady::measure(&server, &brokers, per_second, 20).await;
    }
    if let Some(events) = args.backlog {
        return backlog(&server, &brokers, events).await;
    }
    let topic = Topic::filled(&brokers, args.events).await;
    println!(
        "{} events of {} bytes, 4 partitions, {} repeats",
        args.events,
        bytes_of(args.events),
        events::repeats(args.events)
    );
    let mut bench = Bench { server, topic, processes: Processes::beside(Path::new(&data)), runs: Vec::new() };
    let (rows, requests) = (bench.rows().await, Arc::new(Requests::of(args.posted)));
    for round in 1..=args.rounds {
        println!("round {round} of {}", args.rounds);
        bench.round(args, &rows, &requests).await;
    }
    bench.topic.delete().await;
    print(&bench.runs, args.rounds);
}

/// A consumer that comes back to a long queue.
async fn backlog(server: &str, brokers: &str, events: u64) {
    let topic = Topic::filled(brokers, events).await;
    let database = Database::new(server).await;
    store::migrate(&database.pool).await.expect("migrations");
    processes::forget_peak();
    let begun = Instant::now();
    take_in(&topic, &database.pool).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (speed, peak) = (events as f64 / seconds, processes::peak_megabytes());
    println!("a backlog of {events} events: {speed:.0} events/s, at most {peak} MB of memory");
    println!("  {}", peers::index_sizes(&database.pool).await);
    database.drop().await;
    topic.delete().await;
}

/// How long an event is on average.
fn bytes_of(events: u64) -> usize {
    let sample = events.min(1_000);
    (0..sample).map(|place| events::event(place).len()).sum::<usize>() / usize::try_from(sample).expect("a size").max(1)
}

impl Bench {
    /// The events as rows in memory, without repeats.
    async fn rows(&self) -> Rows {
        let database = Database::new(&self.server).await;
        store::migrate(&database.pool).await.expect("migrations");
        take_in(&self.topic, &database.pool).await;
        let rows = Rows::stored(&database.pool).await;
        database.drop().await;
        rows
    }

    async fn round(&mut self, args: &Args, rows: &Rows, requests: &Arc<Requests>) {
        let (all, distinct) = (args.events, args.events - events::repeats(args.events));
        let topic = self.topic.clone();
        self.time("read", all, async |_| {
            tokio::task::block_in_place(|| topic.read(all, |_| {}));
        })
        .await;
        self.time("read and decode", all, async |_| tokio::task::block_in_place(|| topic.decode())).await;
        self.time("COPY of rows in memory", distinct, async |pool| peers::copy(&pool, rows).await).await;
        self.time("staging and merge of rows in memory", distinct, async |pool| peers::merge(&pool, rows).await).await;
        self.time("rows inserted one by one", args.inserted, async |pool| {
            peers::insert_rows(&pool, topic.clone(), args.inserted).await;
        })
        .await;
        let posted = "Apportion over HTTP".to_owned();
        self.ours(posted, args.posted, 0, async |pool| http::send(&pool, requests).await).await;
        for stored in &args.stored {
            let way = if *stored == 0 { "Apportion".to_owned() } else { format!("Apportion, {stored} stored") };
            self.ours(way, all, *stored, async |pool| take_in(&topic, &pool).await).await;
        }
    }

    /// The whole of it, beside so many events of other days.
    async fn ours(&mut self, way: String, events: u64, stored: u64, run: impl AsyncFnOnce(PgPool)) {
        let database = Database::new(&self.server).await;
        store::migrate(&database.pool).await.expect("migrations");
        peers::store_others(&database.pool, stored).await;
        let run = self.timed(&database, way, events, run).await;
        self.runs.push(run);
        let sizes = peers::index_sizes(&database.pool).await;
        println!("  {sizes}");
        database.drop().await;
    }

    /// In a database of its own.
    async fn time(&mut self, way: &str, events: u64, run: impl AsyncFnOnce(PgPool)) {
        let database = Database::new(&self.server).await;
        let run = self.timed(&database, way.to_owned(), events, run).await;
        self.runs.push(run);
        database.drop().await;
    }

    async fn timed(&self, database: &Database, way: String, events: u64, run: impl AsyncFnOnce(PgPool)) -> Run {
        sqlx::query("checkpoint").execute(&database.pool).await.expect("a checkpoint");
        let (bytes, taken, begun) = (database.bytes().await, self.processes.taken(), Instant::now());
        run(database.pool.clone()).await;
        let seconds = begun.elapsed().as_secs_f64();
        let taken = self.processes.taken().since(taken);
        let grown = database.bytes().await - bytes;
        Run { way, events, seconds, taken, bytes: (grown > 0).then_some(grown) }
    }
}

/// As `apportion serve` does it unless it is told otherwise, to the end of the topic.
fn consumer_config(topic: &Topic) -> ConsumerConfig {
    ConsumerConfig {
        brokers: topic.brokers.clone(),
        group_id: format!("apportion_bench_{:016x}", rand::random::<u64>()),
        topics: [(topic.name.clone(), Reader::default())].into(),
        batch_messages: 50_000,
        linger: Duration::from_millis(200),
        properties: BTreeMap::new(),
        until_caught_up: true,
    }
}

async fn take_in(topic: &Topic, pool: &PgPool) {
    let config = consumer_config(topic);
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let counts = consumer::run(config, pool.clone(), metrics, CancellationToken::new()).await.expect("taken in");
    let duplicates = events::repeats(topic.events);
    assert_eq!((counts.messages(), counts.duplicate), (topic.events, duplicates), "{counts:?}");
}

/// A database that is dropped.
struct Database {
    pool: PgPool,
    server: String,
    name: String,
}

impl Database {
    async fn new(server: &str) -> Self {
        let name = format!("apportion_bench_{:016x}", rand::random::<u64>());
        on_server(server, format!("create database {name}")).await;
        let (address, _) = server.rsplit_once('/').expect("a database in DATABASE_URL");
        let pool = store::connect(&format!("{address}/{name}"), 8).expect("a URL");
        Self { pool, server: server.to_owned(), name }
    }

    async fn bytes(&self) -> u64 {
        let sql = "select pg_database_size(current_database())";
        let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a size");
        u64::try_from(bytes).expect("a size")
    }

    async fn drop(self) {
        self.pool.close().await;
        on_server(&self.server, format!("drop database {} with (force)", self.name)).await;
    }
}

async fn on_server(server: &str, sql: String) {
    let mut conn = PgConnection::connect(server).await.expect("Postgres answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.expect("done");
}

/// The median of each way, beside what it is measured against.
fn print(runs: &[Run], rounds: usize) {
    let mut ways: Vec<&str> = Vec::new();
    for run in runs {
        if !ways.contains(&run.way.as_str()) {
            ways.push(&run.way);
        }
    }
    let medians: Vec<&Run> = ways
        .into_iter()
        .map(|way| {
            let mut of: Vec<&Run> = runs.iter().filter(|run| run.way == way).collect();
            of.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            of[of.len() / 2]
        })
        .collect();
    let speed = |run: &Run| run.events as f64 / run.seconds;
    let of = |start: &str| medians.iter().find(|run| run.way.starts_with(start)).map_or(f64::NAN, |run| speed(run));
    let (copy, merge, inserted) = (of("COPY"), of("staging"), of("rows inserted"));
    let micros = |time: Duration, run: &Run| format!("{:.1}", time.as_secs_f64() * 1e6 / run.events as f64);
    let mut table = Table::new();
    table.set_header([
        "way",
        "events/s",
        "x COPY",
        "x merge",
        "x rows",
        "own us/event",
        "Postgres us",
        "broker us",
        "bytes/event",
    ]);
    for run in medians {
        let ratio = |to: f64| format!("{:.2}", speed(run) / to);
        table.add_row([
            run.way.clone(),
            format!("{:.0}", speed(run)),
            ratio(copy),
            ratio(merge),
            ratio(inserted),
            micros(run.taken.own, run),
            micros(run.taken.postgres, run),
            micros(run.taken.broker, run),
            run.bytes.map_or_else(|| "-".to_owned(), |bytes| (bytes / run.events).to_string()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("medians of {rounds} rounds, {cores} cores\n{table}");
}
