//! `apportion demo`: the main job from end to end on generated usage, in a database and topics of its own.
//!
//! Each step is one function, in the order in which `run` calls them.

mod books;
mod findings;

use super::generate::producer;
use super::output::{bar, line, table, thousands};
use super::serve::{Role, serve};
use super::usage::{show_unresolved, unresolved as unresolved_usage};
use super::{Session, Stop};
use apportion::config::{Topic, mask_url};
use apportion::domain::access::Scope;
use apportion::domain::calendar::Period;
use apportion::domain::contract::folder::Folder;
use apportion::ingest::consumer;
use apportion::jobs::contracts;
use apportion::produce::generate::{Generator, Plan};
use apportion::produce::kafka::delete_topics;
use apportion::produce::manifest::Manifest;
use apportion::produce::message::TOPICS;
use apportion::sources::Reader;
use apportion::store::access::{NewApiKey, create_key};
use apportion::store::{self, demo_database, usage_reports as reports};
use apportion::telemetry::Metrics;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Topics that start with this are the demo's to delete.
const TOPIC_MARK: &str = "apportion-demo-";
const SEED: u64 = 42;

const EXAMPLES: &str = "\
Needs DATABASE_URL (of any database on a server where databases may be created) and KAFKA_BROKERS. Makes the
database apportion_demo and topics apportion-demo-...; those of an earlier demo are dropped, nothing else is.
With a terminal it then serves until Ctrl-C.

Examples:
  apportion demo
  apportion demo --events 500000";

/// See the whole way: usage of two months through Kafka into Postgres, and what became of it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Distinct usage events of May 2026; April gets a tenth
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(2_000..))]
    events: u32,
    /// The folder of agreements, prices and deployments
    #[arg(long, default_value = "contracts", value_name = "FOLDER")]
    contracts: PathBuf,
}

/// What the steps work on.
struct Demo<'a> {
    session: &'a Session,
    pool: PgPool,
    topic_prefix: String,
}

pub async fn run(args: Args, mut session: Session) -> anyhow::Result<()> {
    // The story is on standard output; the log only tells what went wrong.
    session.config.telemetry.log_filter = "warn,sqlx=error,rdkafka=error".to_owned();
    let _telemetry = session.telemetry()?;
    let started = Instant::now();
    // A folder that cannot be read is told of before anything is dropped.
    let folder = contracts::read(&args.contracts)?;
    let topic_prefix = prepare(&mut session).await?;
    let demo = Demo { session: &session, pool: session.any_pool()?, topic_prefix };
    migrate(&demo).await?;
    load_contracts(&demo, &folder).await?;
    let april =
        Plan { month: month("2026-04")?, events: args.events / 10, seed: SEED, late: false, empty_messages: true };
    let may = Plan { month: month("2026-05")?, events: args.events, late: true, ..april };
    let mut made = vec![produce(&demo, april).await?];
    consume(&demo, &made).await?;
    books::record_subscriptions(&demo.pool, april.month, "1_180_000_000.00 USD").await?;
    let settled = books::settle_month(&demo.pool, april.month).await?;
    books::issue_all(&demo.pool, &settled).await?;
    made.push(produce(&demo, may).await?);
    consume(&demo, &made).await?;
    books::record_subscriptions(&demo.pool, may.month, "1_250_000_000.00 USD").await?;
    books::settle_month(&demo.pool, may.month).await?;
    compare(&demo, &made).await?;
    // News: the drafts are drawn up again with them.
    findings::sell_elsewhere(&demo.pool).await?;
    let settled = books::settle_month(&demo.pool, may.month).await?;
    books::show_revenue(&demo.pool, may.month).await?;
    books::show_statements(&demo.pool, &settled).await?;
    books::show_watch(&demo.pool, may.month).await?;
    unresolved(&demo).await?;
    line(format!("\nDone in {}.{} s.", started.elapsed().as_secs(), started.elapsed().subsec_millis() / 100))?;
    if std::io::stdout().is_terminal() {
        where_next(&session)?;
        return keep_serving(session).await;
    }
    Ok(line("\nTo look around, run `make demo` in a terminal.")?)
}

/// Serves what the demo made, at the port that is set or, where another program holds that, at any that is free.
async fn keep_serving(mut session: Session) -> anyhow::Result<()> {
    if std::net::TcpListener::bind(session.config.http.listen).is_err() {
        let free = std::net::TcpListener::bind((session.config.http.listen.ip(), 0))?;
        session.config.http.listen = free.local_addr()?;
    }
    let key = create_key(&session.pool().await?, &demo_key()).await?;
    let door = format!("http://{}", session.config.http.listen);
    line(format!(
        "\nServing {door} until Ctrl-C: /readyz, /metrics, and the API that /api/v1/openapi.json describes:"
    ))?;
    for path in API_PATHS {
        line(format!("  curl -H 'Authorization: Bearer {key}' '{door}/api/v1/{path}'"))?;
    }
    serve(&[Role::Ingest, Role::Http, Role::Jobs], &session).await
}

fn month(text: &str) -> anyhow::Result<Period> {
    Ok(text.parse()?)
}

/// Makes the database anew, removes the topics of earlier demos, and points the settings at the new ones.
async fn prepare(session: &mut Session) -> anyhow::Result<String> {
    let url = session.database_url()?;
    session.config.database.url = demo_database::recreate(url).await.map_err(|error| match error {
        demo_database::DemoDatabaseError::NotOurs => anyhow::Error::from(Stop::Refused { reason: error.to_string() }),
        demo_database::DemoDatabaseError::Store(_) => error.into(),
    })?;
    delete_topics(session.config.kafka_brokers()?, &session.config.kafka.properties, TOPIC_MARK).await?;
    // A deleted topic may linger: a name of its own for each run keeps them apart.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let prefix = format!("{TOPIC_MARK}{run}.");
    let topic = |topic: &&str| Topic { name: format!("{prefix}{topic}"), reader: Reader::default() };
    session.config.kafka.topics = TOPICS.iter().map(topic).collect();
    session.config.kafka.group_id = format!("{TOPIC_MARK}{run}");
    Ok(prefix)
}

async fn migrate(demo: &Demo<'_>) -> anyhow::Result<()> {
    store::migrate(&demo.pool).await?;
    Ok(line("migrated the database apportion_demo")?)
}

/// Loads the agreements, the price book and the register, without which all usage would be unresolved.
async fn load_contracts(demo: &Demo<'_>, folder: &Folder) -> anyhow::Result<()> {
    let added = contracts::apply(&demo.pool, folder).await?.added;
    let (versions, prices, entries) = (added.versions, added.prices, added.register_entries);
    Ok(line(format!("loaded {versions} contract versions, {prices} prices, {entries} entries of the register"))?)
}

/// Generates a month into Kafka.
async fn produce(demo: &Demo<'_>, plan: Plan) -> anyhow::Result<Manifest> {
    let mut generator = Generator::new(plan)?;
    let producer = producer(demo.session, &demo.topic_prefix).await?;
    let bar = bar(&format!("{} into Kafka", plan.month), u64::try_from(generator.remaining())?);
    let started = Instant::now();
    let manifest = tokio::task::spawn_blocking(move || {
        for message in generator.by_ref() {
            producer.send(&message)?;
            bar.inc(1);
        }
        producer.finish()?;
        bar.finish_and_clear();
        Ok::<_, apportion::produce::kafka::ProduceError>(generator.manifest().clone())
    })
    .await??;
    told(&format!("{}: messages sent to Kafka", plan.month), manifest.counts.messages(), started)?;
    Ok(manifest)
}

/// Consumes to the end of what the topics hold.
async fn consume(demo: &Demo<'_>, made: &[Manifest]) -> anyhow::Result<()> {
    let before = messages_stored(demo).await?;
    let expected: u64 = made.iter().map(|manifest| manifest.counts.messages()).sum();
    let bar = bar("Kafka into Postgres", expected);
    let (started, metrics) = (Instant::now(), Arc::new(Metrics::new()?));
    let consuming = consumer::run(demo.session.consumer(true)?, demo.pool.clone(), metrics, CancellationToken::new());
    let mut consuming = std::pin::pin!(consuming);
    loop {
        tokio::select! {
            ended = &mut consuming => {
                ended?;
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(250)) => bar.set_position(messages_stored(demo).await?),
        }
    }
    bar.finish_and_clear();
    told("messages consumed into Postgres", messages_stored(demo).await?.saturating_sub(before), started)
}

async fn messages_stored(demo: &Demo<'_>) -> anyhow::Result<u64> {
    Ok(reports::outcomes(&demo.pool).await?.messages())
}

/// Holds the generator's word beside what Postgres holds.
async fn compare(demo: &Demo<'_>, made: &[Manifest]) -> anyhow::Result<()> {
    let outcomes = reports::outcomes(&demo.pool).await?;
    let mut rows: BTreeMap<(u8, String), (i64, i64)> = BTreeMap::new();
    let mut count = |group: u8, name: String, made: i64, held: i64| {
        let row = rows.entry((group, name)).or_default();
        *row = (row.0.saturating_add(made), row.1.saturating_add(held));
    };
    for (outcome, held) in outcomes.iter() {
        count(0, outcome.name().to_owned(), 0, i64::try_from(held)?);
    }
    for reason in reports::rejections_by_reason(&demo.pool).await? {
        count(1, format!("rejected: {}", reason.name), 0, reason.count);
    }
    for deployment in reports::events_by_deployment(&demo.pool).await? {
        count(2, format!("events of {}", deployment.name), 0, deployment.count);
    }
    for outcome in reports::events_by_outcome(&demo.pool).await? {
        count(3, format!("requests: {}", outcome.name), 0, outcome.count);
    }
    let late = "late (of a closed period)";
    count(0, late.to_owned(), 0, reports::late_events(&demo.pool).await?);
    for manifest in made {
        count(0, late.to_owned(), i64::try_from(manifest.late)?, 0);
        for (outcome, made) in manifest.counts.iter() {
            count(0, outcome.name().to_owned(), i64::try_from(made)?, 0);
        }
        for (reason, made) in &manifest.rejections {
            count(1, format!("rejected: {reason}"), i64::try_from(*made)?, 0);
        }
        for (deployment, made) in &manifest.events_by_deployment {
            count(2, format!("events of {deployment}"), i64::try_from(*made)?, 0);
        }
        for (outcome, made) in &manifest.events_by_outcome {
            count(3, format!("requests: {outcome}"), i64::try_from(*made)?, 0);
        }
    }
    let differing = rows.values().filter(|(made, held)| made != held).count();
    let shown = rows.into_iter().map(|((_, name), (made, held))| {
        let equal = if made == held { "equal" } else { "DIFFERENT" };
        vec![name, thousands(made), thousands(held), equal.to_owned()]
    });
    line("\nWhat the generator made, beside what Postgres holds:")?;
    line(table(&["", "generated", "in Postgres", ""], &[1, 2], shown))?;
    anyhow::ensure!(differing == 0, "{differing} counts differ from what the generator made");
    Ok(())
}

/// What blocks the close until it is registered or waived.
async fn unresolved(demo: &Demo<'_>) -> anyhow::Result<()> {
    line("\nUsage that no register names; it blocks the close until it is registered or waived:")?;
    show_unresolved(unresolved_usage(&demo.pool).await?)
}

/// What of the API is worth a look after the demo.
const API_PATHS: [&str; 5] = [
    "statements/4",
    "contracts/microsoft-openai/caps",
    "invoices",
    "usage?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z&meter=output_tokens",
    "jobs",
];

/// A key of the demo's own database, which is gone with the next demo.
fn demo_key() -> NewApiKey {
    let scopes = [Scope::Read].into();
    NewApiKey { holder: "demo".to_owned(), scopes, party: None, expires_at: None, created_by: "demo".to_owned() }
}

/// Commands that can be pasted into a shell as they are.
fn where_next(session: &Session) -> anyhow::Result<()> {
    let (url, shown) = (session.config.database.url.as_str(), mask_url(&session.config.database.url));
    let masked = if shown == url { "" } else { ", with the password in the place of ***" };
    let program = std::env::current_exe()?;
    let program = quoted(&program.display().to_string());
    line(format!("\nLook around in another shell, while Postgres runs{masked}:"))?;
    line(format!("  export DATABASE_URL={}", quoted(&shown)))?;
    for command in [
        "statement list",
        "statement show 4",
        "statement show 4 --format json",
        "explain 4",
        "entitlement microsoft-openai --through 2026-05",
        "invoice list",
        "contracts show",
        "contracts caps microsoft-openai",
        "finding list",
        "usage outcomes",
        "usage rejections --limit 5",
        "usage conflicts",
        "usage unresolved",
        "jobs list",
        "usage availability --from 2026-05-01T00:00:00-07:00 --to 2026-06-01T00:00:00-07:00",
    ] {
        line(format!("  {program} {command}"))?;
    }
    Ok(())
}

/// A word as a shell reads it back unchanged.
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-./:@%+,=".contains(it);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn told(what: &str, count: u64, started: Instant) -> anyhow::Result<()> {
    let took = started.elapsed();
    let (seconds, tenths) = (took.as_secs(), took.subsec_millis() / 100);
    Ok(line(format!("{what}: {} in {seconds}.{tenths} s", thousands(count)))?)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let cases = [
            ("postgres://me@host:1/own", "postgres://me@host:1/own"),
            ("postgres:///own?host=/run&x=1", "'postgres:///own?host=/run&x=1'"),
            ("/it's here/apportion", r"'/it'\''s here/apportion'"),
        ];
        for (word, expect) in cases {
            assert_eq!(quoted(word), expect);
        }
    }
}
