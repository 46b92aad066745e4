//! Two schedulers that are killed at each step and at random, while their clocks jump by months: one draft per
//! period, none missed, nothing booked twice.

use crate::books::*;
use crate::jobs::{CONTRACT, begun, next_month};
use crate::support::*;
use apportion::domain::calendar::Period;
use chrono::Utc;
use sqlx::{Postgres, Transaction};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// `apportion serve --roles jobs`.
struct Scheduler(Process);

impl Scheduler {
    /// Its clock stands at about a day of the past: the drafts of months are due one after the other.
    fn start(database: &TestDatabase, clock: &str) -> Self {
        let behind = (Utc::now() - at(clock)).num_days();
        let child = Command::new(env!("CARGO_BIN_EXE_apportion"))
            .args(["serve", "--roles", "jobs"])
            .env("DATABASE_URL", &database.url)
            .env("APPORTION_JOBS__CLOCK_BEHIND_DAYS", behind.to_string())
            .env("APPORTION_JOBS__TICK_SECONDS", "1")
            .env("APPORTION_JOBS__LEASE_SECONDS", "1")
            .env("APPORTION_JOBS__RETRY_SECONDS", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self(Process::of(child))
    }

    fn is_holder(&self, holder: &str) -> bool {
        holder.ends_with(&format!(":{}", self.0.child.id()))
    }
}

pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIME_LIMIT;
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A step at which a run is stopped by a lock, which it meets right after the step, and killed.
struct Step {
    after: &'static str,
    lock: &'static str,
    /// A lock that is taken once the first has stopped the run; the first is let go then.
    then: Option<&'static str>,
    /// How the query begins that waits for the lock.
    query: &'static str,
    /// What the database holds at that moment: runs of the period without an end, settlements of it.
    seen: (i64, i64),
}

impl Step {
    const fn new(after: &'static str, lock: &'static str, query: &'static str, seen: (i64, i64)) -> Self {
        Self { after, lock, then: None, query, seen }
    }
}

/// What takes the turn to settle the trace's contract, and that of the demo's resale.
pub const SETTLE_TRACE: &str = "select contract_id from contract where contract_id = 'trace-share' for no key update";
pub const SETTLE_AWS: &str = "select contract_id from contract where contract_id = 'aws-openai' for no key update";
/// How the statement begins in which a settlement waits for its turn.
pub const SETTLES: &str = "select contract_id from contract where";
const LEASE_LOCK: &str = "lock table job_lease in share mode";

const STEPS: &[Step] = &[
    Step::new("it was found due", "lock table job_run in share mode", "insert into job_run ", (0, 0)),
    Step::new("its run was written", LEASE_LOCK, "insert into job_lease", (0, 0)),
    Step::new("its lease was taken", SETTLE_TRACE, SETTLES, (1, 0)),
    Step::new("its settlement was written", "lock table booked_line in share mode", "insert into booked_line", (1, 0)),
    Step::new("lines were booked", "lock table statement_revision in share mode", "insert into statement_rev", (1, 0)),
    Step::new("its draft was written", "lock table statement_status in share mode", "insert into statement_st", (1, 0)),
    Step::new("all of it was committed", "lock table job_run_end in share mode", "insert into job_run_end", (1, 1)),
    Step {
        after: "its end was written",
        lock: SETTLE_TRACE,
        then: Some(LEASE_LOCK),
        query: "update job_lease set renewed_at = now.at",
        seen: (1, 1),
    },
];

pub async fn hold(database: &TestDatabase, lock: &'static str) -> Transaction<'static, Postgres> {
    let mut held = database.pool.begin().await.expect("a transaction");
    sqlx::query(lock).execute(&mut *held).await.expect("locked");
    held
}

/// Whether a query that begins so waits for a lock that somebody else holds.
pub async fn waits(database: &TestDatabase, query: &str) -> bool {
    let sql = "select exists (select from pg_stat_activity where datname = current_database()
               and wait_event_type = 'Lock' and starts_with(query, $1))";
    sqlx::query_scalar(sql).bind(query).fetch_one(&database.pool).await.expect("asked")
}

/// How many runs have no end, and how many settlements there are of a period.
async fn seen(database: &TestDatabase, period: &str) -> (i64, i64) {
    let open =
        "select count(*) from job_run left join job_run_end using (run_id) where period = $1 and ended_at is null";
    let settled = "select count(*) from settlement where period = $1";
    let count = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).bind(period).fetch_one(&database.pool).await.expect("counted")
    };
    (count(open).await, count(settled).await)
}

/// The process that holds the run of a period which has not ended.
async fn holder(database: &TestDatabase, period: &str) -> Option<String> {
    let sql = "select holder from job_run left join job_run_end using (run_id) where period = $1 and ended_at is null";
    sqlx::query_scalar(sql).bind(period).fetch_optional(&database.pool).await.expect("asked")
}

async fn has_succeeded(database: &TestDatabase, period: &str) -> bool {
    let sql = "select exists (select from job_run join job_run_end using (run_id)
               where period = $1 and outcome in ('done', 'nothing_new'))";
    sqlx::query_scalar(sql).bind(period).fetch_one(&database.pool).await.expect("asked")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_any_step_is_taken_over_and_drafts_once() {
    let database = begun(STEPS.len() as u32 + 1).await;
    assert_eq!(database.issue_drafts().await, ["2023-11"]);
    let mut period: Period = "2023-12".parse().expect("a period");
    for step in STEPS {
        let name = period.to_string();
        println!("{name}: killed after {}", step.after);
        let mut held = hold(&database, step.lock).await;
        // The clock of both has jumped by a month since the last round.
        let clock = format!("{}T00:00:00Z", next_month(period).last_day());
        let mut schedulers = [Scheduler::start(&database, &clock), Scheduler::start(&database, &clock)];
        if let Some(lock) = step.then {
            until("a run waits", async || waits(&database, SETTLES).await).await;
            let next = hold(&database, lock).await;
            held.rollback().await.expect("let go");
            held = next;
        }
        until("the step is seen", async || {
            waits(&database, step.query).await && seen(&database, &name).await == step.seen
        })
        .await;
        let holder = holder(&database, &name).await;
        for scheduler in &mut schedulers {
            // Before it holds a lease nobody can tell which of the two it is.
            if holder.as_deref().is_none_or(|holder| scheduler.is_holder(holder)) {
                scheduler.0.kill();
            }
        }
        held.rollback().await.expect("let go");
        let _third = holder.is_none().then(|| Scheduler::start(&database, &clock));
        until("it is taken over", async || has_succeeded(&database, &name).await).await;
        if holder.is_some() {
            let lost =
                "select count(*) from job_run join job_run_end using (run_id) where period = $1 and outcome = 'lost'";
            let lost: i64 = sqlx::query_scalar(lost).bind(&name).fetch_one(&database.pool).await.expect("counted");
            assert!(lost > 0, "{name}");
        }
        drop(schedulers);
        assert_eq!(database.issue_drafts().await, [name]);
        period = next_month(period);
    }
    database.check_months(STEPS.len() + 1).await;
    database.drop_it().await;
}

/// Which of them is amid a run, if one is within a time.
async fn amid_run(database: &TestDatabase, schedulers: &[Scheduler; 2], most: Duration) -> Option<usize> {
    let began = Instant::now();
    // A run of one that is dead has no end either, until it is taken over.
    let sql = "select holder from job_run left join job_run_end using (run_id)
               where ended_at is null order by run_id desc limit 1";
    while began.elapsed() < most {
        let holder: Option<String> = sqlx::query_scalar(sql).fetch_optional(&database.pool).await.expect("asked");
        let running = schedulers.iter().position(|it| holder.as_ref().is_some_and(|holder| it.is_holder(holder)));
        if running.is_some() {
            return running;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_and_clocks_that_disagree_by_months_miss_nothing_and_double_nothing() {
    const MONTHS: usize = 9;
    const KILLS: u32 = 30;
    let random = |below: u32| rand::random::<u32>() % below;
    let database = begun(MONTHS as u32).await;
    // Each instance that starts has one of these clocks: they jump on and back, and disagree.
    let clocks = ["2024-01-10T00:00:00Z", "2024-04-10T00:00:00Z", "2024-08-10T00:00:00Z"];
    let start = || Scheduler::start(&database, clocks[random(3) as usize]);
    let mut schedulers = [start(), start()];
    let (mut kills, mut amid_runs, deadline) = (0_u32, 0_u32, Instant::now() + TIME_LIMIT);
    let mut issued = Vec::new();
    while issued.len() < MONTHS {
        assert!(Instant::now() < deadline, "only {issued:?} were issued in time");
        if kills < KILLS {
            // Most kills hit the one that is amid a run, at some place of it.
            let running = amid_run(&database, &schedulers, Duration::from_millis(random(1500).into())).await;
            tokio::time::sleep(Duration::from_millis(random(120).into())).await;
            amid_runs += u32::from(running.is_some());
            let victim = &mut schedulers[running.unwrap_or(random(2) as usize)];
            victim.0.kill();
            *victim = start();
            kills += 1;
        } else if kills == KILLS {
            // All months are over by the last clock: what is left is done in peace.
            schedulers = [0, 1].map(|_| Scheduler::start(&database, clocks[2]));
            kills += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // People are at it meanwhile, and one of them settles by hand what may be drafted at the same time.
        if random(3) == 0
            && let Some(open) = database.statements().await.last()
        {
            let again = database.try_settle(CONTRACT, &open.period.to_string(), None).await;
            assert!(again.is_ok_and(|report| report.drafted.is_empty() && report.lines.is_empty()));
        }
        issued.extend(database.issue_drafts().await);
    }
    let lost = database.number("select count(*) from job_run_end where outcome = 'lost'").await;
    let runs = database.number("select count(*) from job_run").await;
    println!("{} kills, {amid_runs} of them amid runs; of {runs} runs {lost} were lost", kills.min(KILLS));
    database.check_months(MONTHS).await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_told_to_end_ends_its_run_and_begins_no_other() {
    let database = begun(2).await;
    assert_eq!(database.issue_drafts().await, ["2023-11"]);
    let held = hold(&database, SETTLE_TRACE).await;
    let mut scheduler = Scheduler::start(&database, "2024-01-10T00:00:00Z");
    until("it settles", async || waits(&database, SETTLES).await).await;
    // The shell's own: a small Debian has no other.
    let told =
        Command::new("sh").args(["-c", &format!("kill -TERM {}", scheduler.0.child.id())]).status().expect("a shell");
    assert!(told.success());
    // Longer than its lease: it holds that as long as it runs.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scheduler.0.child.try_wait().expect("its status"), None, "it does not leave its run");
    held.rollback().await.expect("let go");
    let mut ended = None;
    until("it ends", async || {
        ended = scheduler.0.child.try_wait().expect("its status");
        ended.is_some()
    })
    .await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    let outcomes = "select count(*) from job_run join job_run_end using (run_id) where outcome = 'done'";
    assert_eq!(database.number(outcomes).await, 1);
    database.check_months(2).await;
    database.drop_it().await;
}
