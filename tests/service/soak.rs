//! Three brokers whose leaders change, one Postgres, three consumers and a producer, and whatever may befall them, at
//! moments drawn from a seed: afterwards all is caught up, and totals equal the input.
//!
//! `make soak` does it for an hour (MINUTES=N, SEED=S), `make test` once with each kind of kill.

use crate::draw::{Draw, setting};
use crate::http::get;
use crate::instance::*;
use crate::link::*;
use crate::soak_input::*;
use crate::support::*;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BROKERS: usize = 3;
const CONSUMERS: usize = 3;

/// How long it may take until usage is stored again after a fault, and until all of it is at the end.
const RECOVERY: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ConsumerKilled,
    /// In good order: others take its partitions over.
    ConsumerEnded,
    /// Its partitions get other leaders.
    BrokerKilled,
    PostgresKilled,
    ToPostgres(Condition),
    ToKafka(Condition),
}

const SLOW: Condition = Condition::Slow(Duration::from_millis(50));

const KILLS: [Fault; 4] = [Fault::ConsumerKilled, Fault::ConsumerEnded, Fault::BrokerKilled, Fault::PostgresKilled];

const CONDITIONS: [Condition; 5] =
    [Condition::Cut, Condition::Stalled, SLOW, Condition::ServiceGone, Condition::ServerGone];

/// What stood in the table of faults.
#[derive(Default)]
struct Suffered {
    times: u32,
    /// Until usage was stored again once it was over.
    longest: Duration,
}

struct Soak {
    instance: Instance,
    database: TestDatabase,
    topic: TestTopic,
    to_postgres: Link,
    to_kafka: Vec<Link>,
    url: String,
    brokers: String,
    consumers: Vec<(Process, SocketAddr)>,
    draw: Draw,
    leaders_changed: usize,
    suffered: BTreeMap<Fault, Suffered>,
}

impl Soak {
    async fn start(instance: Instance, seed: u64) -> Self {
        let database = TestDatabase::at(&instance.database_url).await;
        let topic = TestTopic::at(&instance.brokers, PARTITIONS).await;
        let (to_postgres, url) = Link::to_postgres(&database.url).await;
        let (to_kafka, brokers) = Link::to_kafka(&instance.brokers).await;
        let mut soak = Self {
            instance,
            database,
            topic,
            to_postgres,
            to_kafka,
            url,
            brokers,
            consumers: Vec::new(),
            draw: Draw::new(seed),
            leaders_changed: 0,
            suffered: BTreeMap::new(),
        };
        soak.consumers = (0..CONSUMERS).map(|number| soak.serve(number)).collect();
        soak
    }

    fn serve(&self, number: usize) -> (Process, SocketAddr) {
        let mut command = consumer(&self.url, &self.brokers, &self.topic.name, &format!("member-{number}"));
        command.envs([
            ("APPORTION_KAFKA__BATCH_MESSAGES", "1000"),
            // It is seen sooner than by default that somebody does not answer.
            ("APPORTION_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "6000"),
            ("APPORTION_KAFKA__PROPERTIES__MAX_POLL_INTERVAL_MS", "10000"),
            ("APPORTION_KAFKA__PROPERTIES__SOCKET_TIMEOUT_MS", "5000"),
            ("APPORTION_KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS", "100"),
        ]);
        if number == 0 {
            // One that leaves its group when it ends.
            command.env_remove("APPORTION_KAFKA__PROPERTIES__GROUP_INSTANCE_ID");
        }
        Process::serving(command)
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", &self.instance.brokers).create().expect("a client")
    }

    /// The leader of each partition; nothing while nobody knows.
    fn leaders(&self) -> Option<Vec<i32>> {
        let metadata = self.client().fetch_metadata(Some(&self.topic.name), Duration::from_secs(10)).ok()?;
        Some(metadata.topics().first()?.partitions().iter().map(|partition| partition.leader()).collect())
    }

    /// Kills a broker, waits until others lead what it led, and starts it again.
    async fn change_leaders(&mut self, broker: i32) {
        let name = format!("kafka-{broker}");
        let led = self.leaders().map_or(0, |leaders| leaders.iter().filter(|leader| **leader == broker).count());
        self.instance.kill(&name);
        let deadline = Instant::now() + RECOVERY;
        while self.leaders().is_none_or(|leaders| leaders.iter().any(|leader| *leader == broker || *leader < 0)) {
            assert!(Instant::now() < deadline, "nobody leads what {name} led");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.leaders_changed += led;
        self.instance.start(&name);
    }

    /// Has a fault happen, and undoes it after a while.
    async fn suffer(&mut self, fault: Fault, lasts: Duration) {
        let (member, broker) = (self.draw.place(CONSUMERS), self.draw.place(BROKERS));
        match fault {
            Fault::ConsumerKilled => self.consumers[member].0.kill(),
            Fault::ConsumerEnded => self.consumers[member].0.end(Duration::from_secs(60)),
            Fault::BrokerKilled => self.change_leaders(broker as i32 + 1).await,
            Fault::PostgresKilled => self.instance.kill("postgres"),
            Fault::ToPostgres(condition) => self.to_postgres.set(condition),
            Fault::ToKafka(condition) => self.to_kafka[broker].set(condition),
        }
        tokio::time::sleep(lasts).await;
        match fault {
            Fault::ConsumerKilled | Fault::ConsumerEnded => self.consumers[member] = self.serve(member),
            Fault::PostgresKilled => self.instance.start("postgres"),
            Fault::BrokerKilled => {}
            Fault::ToPostgres(_) => self.to_postgres.set(Condition::Whole),
            Fault::ToKafka(_) => self.to_kafka[broker].set(Condition::Whole),
        }
        let (began, before) = (Instant::now(), progress(&self.database).await.unwrap_or_default());
        wait_for(&self.database, before + 1, began + RECOVERY).await;
        let suffered = self.suffered.entry(fault).or_default();
        suffered.times += 1;
        suffered.longest = suffered.longest.max(began.elapsed());
        println!("{fault:?} for {lasts:?}: stored again {:?} after it", began.elapsed());
        for (number, (process, _)) in self.consumers.iter_mut().enumerate() {
            let ended = process.child.try_wait().expect("its status");
            let log = process.log.lock().expect("lines");
            let last = log.get(log.len().saturating_sub(10)..).unwrap_or_default();
            assert_eq!(ended, None, "consumer {number} lives: {last:#?}");
        }
    }

    /// Waits until all that Kafka has is stored, and until each consumer says that nothing is amiss.
    async fn catch_up(&self, sent: &Sent) {
        wait_for(&self.database, sent.messages, Instant::now() + RECOVERY).await;
        let deadline = Instant::now() + RECOVERY;
        for (_, address) in &self.consumers {
            loop {
                let (status, why) = get(*address, "/readyz").await;
                if status == 200 {
                    break;
                }
                assert!(Instant::now() < deadline, "{why}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    fn print(&self, sent: &Sent, counts: &BTreeMap<String, i64>) {
        println!("\n{:<48} {:>5}  {:>20}", "fault", "times", "longest until stored");
        for (fault, Suffered { times, longest }) in &self.suffered {
            println!("{:<48} {times:>5}  {:>18.1} s", format!("{fault:?}"), longest.as_secs_f64());
        }
        println!("partitions that changed their leader: {}\n", self.leaders_changed);
        println!("sent: {} messages, {} events, {} repeats", sent.messages, sent.events, sent.messages - sent.events);
        println!("sent: {} input tokens, {} output tokens", sent.tokens[0], sent.tokens[1]);
        println!("what became of them: {counts:?}");
    }
}

async fn check(soak: &Soak, sent: &Sent) {
    let (database, counts) = (&soak.database, soak.database.counts().await);
    soak.print(sent, &counts);
    let repeats = sent.messages - sent.events;
    let expected = [("messages", sent.messages), ("stored", sent.events), ("duplicate", repeats)];
    let expected: BTreeMap<String, i64> =
        expected.into_iter().filter(|(_, count)| *count != 0).map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(counts, expected, "each message has one outcome, and no other than these");
    assert_eq!(database.number("select sum(next_offset)::bigint from kafka_offset").await, sent.messages);
    for (meter, tokens) in [("input_tokens", sent.tokens[0]), ("output_tokens", sent.tokens[1])] {
        for table in ["usage_event", "usage_rollup"] {
            assert_eq!(database.total(table, meter).await, tokens, "{meter} of {table}");
        }
    }
    let differing = "select count(*) from (
        select date_trunc('hour', occurred_at, 'UTC'), dimension_id, customer_id, count(*), sum(input_tokens)
        from usage_event group by 1, 2, 3
        except
        select bucket, dimension_id, customer_id, sum(events), sum(input_tokens) from usage_rollup group by 1, 2, 3) as d";
    assert_eq!(database.number(differing).await, 0, "rollups equal events by hour, dimension and customer");
}

/// Up to so many milliseconds.
fn moment(draw: &mut Draw, most: i64) -> Duration {
    Duration::from_millis(draw.below(most) as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_three_brokers_postgres_and_three_consumers_totals_equal_the_input() {
    // For how long; `make test` does not say.
    let lasts = Duration::from_secs(60 * setting("MINUTES", 0));
    if !can_try("three brokers", Ok(())) {
        return;
    }
    let (seed, is_short) = (seed(), lasts.is_zero());
    // Both may run beside each other.
    let instance = Instance::with_brokers(if is_short { "brokers" } else { "soak" }, BROKERS as u32);
    let mut soak = Soak::start(instance, seed).await;
    let sending = Sending::start(&soak.instance.brokers, &soak.topic.name, seed);
    wait_for(&soak.database, 1, Instant::now() + RECOVERY).await;
    let began = Instant::now();
    let mut deck = KILLS.to_vec();
    if !is_short {
        deck.extend(CONDITIONS.map(Fault::ToPostgres));
        deck.extend(CONDITIONS.map(Fault::ToKafka));
    }
    // Each kind once before any comes again.
    let mut left = deck.clone();
    while !left.is_empty() {
        let fault = left.swap_remove(soak.draw.place(left.len()));
        let [most, rest] = if is_short { [1000, 100] } else { [6000, 3000] };
        let lasts_so_long = moment(&mut soak.draw, most);
        soak.suffer(fault, lasts_so_long).await;
        tokio::time::sleep(moment(&mut soak.draw, rest)).await;
        if !is_short && left.is_empty() {
            left.clone_from(&deck);
        }
        if !is_short && began.elapsed() > lasts {
            break;
        }
    }
    let sent = sending.end().await;
    soak.catch_up(&sent).await;
    check(&soak, &sent).await;
    assert!(soak.leaders_changed > 0, "brokers were killed, and others lead");
    let Soak { topic, database, consumers, .. } = soak;
    drop(consumers);
    topic.delete().await;
    database.drop_it().await;
}
