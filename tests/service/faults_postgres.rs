//! The consumer's connection to Postgres breaks, stalls or is slow, and the consumer dies, at each step of a batch: no
//! usage is lost, none counts twice.

use crate::instance::*;
use crate::link::*;
use crate::support::*;
use crate::trace::{EVENTS, check_totals, requests};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The steps of a batch, as Postgres hears of them.
const PLACES: [Place; 8] = [
    Place::query("before it begins", "BEGIN"),
    Place::statement("at the recording gate", "lock table recording_gate"),
    Place::statement("before its row is written", "insert into usage_batch"),
    Place::rows("amid its events", "copy usage_event_row_"),
    Place::end_of_rows("with all of its rows", "copy usage_rollup_row "),
    Place::statement("before its offsets move", "update kafka_offset"),
    Place::query("before its commit", "COMMIT"),
    Place::answer("committed, and the answer lost", "COMMIT"),
];

/// A consumer whose way to Postgres is a link, of a topic of its own.
struct Linked {
    database: TestDatabase,
    topic: TestTopic,
    link: Link,
    url: String,
    consumer: Process,
    settings: &'static [(&'static str, &'static str)],
    sent: i64,
}

impl Linked {
    async fn start(settings: &'static [(&'static str, &'static str)]) -> Self {
        let (database, topic) = (TestDatabase::new().await, TestTopic::new(PARTITIONS).await);
        let (link, url) = Link::to_postgres(&database.url).await;
        let consumer = Self::serve(&url, &topic, settings);
        Self { database, topic, link, url, consumer, settings, sent: 0 }
    }

    fn serve(url: &str, topic: &TestTopic, settings: &[(&str, &str)]) -> Process {
        let mut command = consumer(url, &brokers(), &topic.name, "one");
        // A group of its own, as others test beside it.
        command.env("APPORTION_KAFKA__GROUP_ID", &topic.name).envs(settings.iter().copied());
        Process::serving(command).0
    }

    fn send(&mut self, lines: &[String]) {
        self.topic.send(lines, PARTITIONS);
        self.sent += lines.len() as i64;
    }

    async fn catches_up(&self) {
        wait_for(&self.database, self.sent, Instant::now() + TIME_LIMIT).await;
    }

    /// Kills the consumer where it is, and starts another.
    fn replace(&mut self) {
        self.consumer.kill();
        self.link.cut();
        self.consumer = Self::serve(&self.url, &self.topic, self.settings);
    }

    /// All came once and stands; the consumer that was started last lives.
    async fn end(mut self, stored: i64) {
        assert_eq!(self.consumer.child.try_wait().expect("its status"), None, "the consumer lives");
        self.consumer.kill();
        let counts = self.database.counts().await;
        assert_eq!((counts["messages"], counts["stored"]), (self.sent, stored), "{counts:?}");
        assert_eq!(self.database.number("select sum(next_offset)::bigint from kafka_offset").await, self.sent);
        self.topic.delete().await;
        self.database.drop_it().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_or_cut_off_at_each_step_of_a_batch_nothing_is_lost_or_doubled() {
    let (mut lines, totals) = requests();
    // One in ten comes again, later.
    lines.extend(lines.clone().into_iter().step_by(10));
    let mut linked = Linked::start(&[]).await;
    let mut parts = lines.chunks(lines.len().div_ceil(2 * PLACES.len() + 1));
    linked.send(parts.next().expect("a part"));
    linked.catches_up().await;
    for place in PLACES {
        for is_killed in [true, false] {
            let reached = linked.link.hold_at(place);
            linked.send(parts.next().expect("a part"));
            let reached = tokio::time::timeout(TIME_LIMIT, reached).await;
            reached.unwrap_or_else(|_| panic!("no batch came {}", place.name)).expect("held");
            println!("{} {}", if is_killed { "killed" } else { "cut off" }, place.name);
            if is_killed { linked.replace() } else { linked.link.cut() }
        }
    }
    linked.catches_up().await;
    check_totals(&linked.database, totals).await;
    linked.end(EVENTS as i64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_to_postgres_takes_longer_and_no_more() {
    let lines: Vec<String> = (0..1000).map(|n| event(&format!("e{n}"), n, 1)).collect();
    let mut linked = Linked::start(&[]).await;
    linked.send(&lines[..100]);
    linked.catches_up().await;
    linked.link.set(Condition::Slow(Duration::from_millis(40)));
    let began = Instant::now();
    linked.send(&lines[100..]);
    linked.catches_up().await;
    // A batch is some ten questions, each of which goes and comes.
    assert!(began.elapsed() > Duration::from_millis(800), "it was slow: {:?}", began.elapsed());
    linked.database.audit().await;
    linked.end(1000).await;
}

/// Whoever does not poll for so long is counted as gone from its group: a batch may take no longer.
const IMPATIENT: [(&str, &str); 2] = [
    ("APPORTION_KAFKA__PROPERTIES__MAX_POLL_INTERVAL_MS", "6000"),
    ("APPORTION_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "6000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_postgres_that_stands_still_or_is_half_closed_is_given_up_and_the_batch_stored_once() {
    let lines: Vec<String> = (0..4000).map(|n| event(&format!("e{n}"), n, 1)).collect();
    let mut linked = Linked::start(&IMPATIENT).await;
    let mut parts = lines.chunks(1000);
    linked.send(parts.next().expect("a part"));
    linked.catches_up().await;
    for (place, condition) in
        [(PLACES[2], Condition::ServerGone), (PLACES[5], Condition::ServiceGone), (PLACES[7], Condition::Stalled)]
    {
        let reached = linked.link.hold_at(place);
        linked.send(parts.next().expect("a part"));
        let reached = tokio::time::timeout(TIME_LIMIT, reached).await;
        reached.unwrap_or_else(|_| panic!("no batch came {}", place.name)).expect("held");
        println!("{condition:?} {}", place.name);
        linked.link.set(condition);
        if condition != Condition::ServerGone {
            // What the server holds for a service that is gone, it lets go of when it learns of it.
            tokio::time::sleep(Duration::from_secs(3)).await;
            linked.link.set(Condition::Whole);
        }
        linked.catches_up().await;
        linked.link.set(Condition::Whole);
    }
    linked.database.audit().await;
    linked.end(4000).await;
}
