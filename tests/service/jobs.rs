//! Scheduled jobs: what is due when, what waits for people, leases, and the manual path beside the schedule.

use crate::books::*;
use crate::support::*;
use apportion::domain::calendar::{Calendar, Period};
use apportion::domain::period::Instant;
use apportion::domain::schedule::{Job, RunOutcome, Standing, Subject};
use apportion::domain::statement::StatementStatus;
use apportion::jobs::schedule::{Planned, Ran, Schedule, Trigger, plan, run, tick};
use apportion::jobs::statements::{approve, issue};
use apportion::store::books::{StatementFilter, StatementHead, list_statements};
use apportion::store::jobs::{JobRun, RunFilter, RunStart, Starter, begin_run, end_run, list_runs, renew_lease};
use chrono::{TimeDelta, Utc};
use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

/// Its books begin in November 2023, in UTC, and no figure is missing.
pub const CONTRACT: &str = "trace-share";
const PATIENT: Trigger<'static> = Trigger::Schedule;
pub const IMPATIENT: Trigger<'static> = Trigger::Person(Starter { name: "ana", key_id: None, idempotency_key: None });

pub fn schedule() -> Schedule {
    Schedule {
        actor: "scheduler".to_owned(),
        holder: "test:1".to_owned(),
        delay_days: 3,
        redraft: TimeDelta::days(1),
        retry: TimeDelta::minutes(1),
        lease: Duration::from_secs(60),
        keep_runs_days: 90,
        clock_behind_days: 0,
    }
}

fn detail(told: &Option<String>) -> &str {
    told.as_deref().unwrap_or_default()
}

/// In each month from November 2023 on 1,000,000 tokens of output at 10/M, of which a tenth is shared: 1 USD.
fn months(count: u32) -> Vec<String> {
    let month = |n: u32| format!("{}-{:02}-15T12:00:00Z", 2023 + (n + 10) / 12, (n + 10) % 12 + 1);
    let event = |n| usage(&format!("e{n}"), &month(n), "trace-conv", "trace-model", &[("output_tokens", "1000000")]);
    (0..count).map(event).collect()
}

/// The agreements, so many months of usage, and books that a person began with November 2023.
pub async fn begun(count: u32) -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    database.ingest(&months(count)).await;
    assert_eq!(booked(&database.settle(CONTRACT, "2023-11").await), ["share 2023-11 1"]);
    database
}

impl TestDatabase {
    async fn plan(&self, now: &str, trigger: Trigger<'_>) -> Vec<Planned> {
        plan(&self.pool, &schedule(), Job::DraftStatements, at(now), trigger).await.expect("planned")
    }

    /// "subject standing", and what it waits for.
    async fn planned(&self, now: &str) -> Vec<String> {
        let of_contract = |it: &Planned| it.subject.contract.as_ref().is_some_and(|it| it.as_str() == CONTRACT);
        let told =
            |it: Planned| format!("{} {} {}", it.subject, it.standing, detail(&it.waits_for)).trim_end().to_owned();
        self.plan(now, PATIENT).await.into_iter().filter(of_contract).map(told).collect()
    }

    async fn tick_at(&self, now: &str, trigger: Trigger<'_>) -> Vec<Ran> {
        tick(&self.pool, &schedule(), Job::DraftStatements, at(now), trigger).await.expect("a tick")
    }

    /// "subject outcome" of each run of a tick.
    async fn tick(&self, now: &str, trigger: Trigger<'_>) -> Vec<String> {
        let ran = self.tick_at(now, trigger).await;
        ran.into_iter().map(|it| format!("{} {}", it.subject, it.outcome)).collect()
    }

    async fn runs(&self) -> Vec<JobRun> {
        let filter =
            RunFilter { job: Some(Job::DraftStatements), contract: None, request: None, before: None, limit: 1000 };
        list_runs(&self.pool, &filter).await.expect("listed")
    }

    pub async fn statements(&self) -> Vec<StatementHead> {
        let filter = StatementFilter { contract: Some(CONTRACT.into()), ..StatementFilter::default() };
        let mut conn = self.pool.acquire().await.expect("a connection");
        list_statements(&mut conn, &filter).await.expect("listed")
    }

    /// What people do: every draft is approved and issued; returns the periods.
    pub async fn issue_drafts(&self) -> Vec<String> {
        let mut issued = Vec::new();
        for head in self.statements().await.iter().filter(|head| head.status == StatementStatus::Draft) {
            approve(&self.pool, head.statement_id, APPROVER).await.expect("approved");
            issue(&self.pool, head.statement_id, APPROVER).await.expect("issued");
            issued.push(head.period.to_string());
        }
        issued
    }

    /// One draft and 1 USD for each of so many periods, none missed, and no two runs of one subject at once.
    pub async fn check_months(&self, count: usize) {
        let statements = self.statements().await;
        let revisions: Vec<(String, i32)> =
            statements.iter().map(|head| (head.period.to_string(), head.revision)).collect();
        let mut period: Period = "2023-11".parse().expect("a period");
        let expected: Vec<(String, i32)> = (0..count)
            .map(|_| {
                let this = period.to_string();
                period = next_month(period);
                (this, 1)
            })
            .collect();
        assert_eq!(revisions, expected);
        let lines = "select count(*) from booked_line where amount = 1 and origin_period = booked_period";
        assert_eq!(self.number(lines).await, count as i64);
        assert_eq!(self.number("select count(*) from booked_line").await, count as i64);
        assert_eq!(self.number("select count(*) from settlement").await, count as i64);
        let at_once = "select count(*) from job_run a
             join job_run b on (a.job, a.contract_id, a.period) is not distinct from (b.job, b.contract_id, b.period)
             left join job_run_end e on e.run_id = a.run_id
             where a.run_id < b.run_id and (e.ended_at is null or e.ended_at > b.started_at)";
        assert_eq!(self.number(at_once).await, 0);
    }
}

/// The month after one.
pub fn next_month(month: Period) -> Period {
    Calendar::of_months(NonZeroU32::MIN).next(month).expect("another month")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_schedule_begins_books_and_a_period_waits_for_its_delay() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let plan = database.plan("2026-06-10T00:00:00Z", PATIENT).await;
    assert!(plan.iter().all(|it| it.standing == Standing::NotBegun && it.next_at.is_none()), "{plan:?}");
    assert_eq!(plan.len(), 3);
    assert!(database.tick("2026-06-10T00:00:00Z", IMPATIENT).await.is_empty());
    database.ingest(&months(2)).await;
    database.settle(CONTRACT, "2023-11").await;
    assert_eq!(database.planned("2023-12-03T23:59:59Z").await, ["trace-share 2023-11 scheduled"]);
    assert!(database.tick("2023-12-03T23:59:59Z", IMPATIENT).await.is_empty());
    assert_eq!(database.planned("2023-12-04T00:00:00Z").await, ["trace-share 2023-11 due"]);
    // A person has drafted it already, on the same path.
    assert_eq!(database.tick("2023-12-04T00:00:00Z", PATIENT).await, ["trace-share 2023-11 nothing_new"]);
    // Once a day is enough.
    assert_eq!(database.planned("2023-12-04T00:00:00Z").await, ["trace-share 2023-11 scheduled"]);
    assert!(database.tick("2023-12-04T00:00:00Z", PATIENT).await.is_empty());
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_months_misses_none_and_one_that_goes_back_repeats_none() {
    let database = begun(5).await;
    assert!(database.tick("2023-11-20T00:00:00Z", PATIENT).await.is_empty());
    let jumped = "2024-03-10T00:00:00Z";
    let in_line = [
        "trace-share 2023-11 due",
        "trace-share 2023-12 in_line 2023-11 to be issued",
        "trace-share 2024-01 in_line 2023-12 to be issued",
        "trace-share 2024-02 in_line 2024-01 to be issued",
    ];
    assert_eq!(database.planned(jumped).await, in_line);
    assert_eq!(database.tick(jumped, PATIENT).await, ["trace-share 2023-11 nothing_new"]);
    for period in ["2023-12", "2024-01", "2024-02"] {
        assert_eq!(database.issue_drafts().await.len(), 1);
        assert_eq!(database.tick(jumped, PATIENT).await, [format!("trace-share {period} done")]);
        assert!(database.tick(jumped, PATIENT).await.is_empty());
    }
    // Back before the period that is open: it is drafted already, and what was issued stays.
    let back = "2024-01-20T00:00:00Z";
    assert_eq!(database.planned(back).await, ["trace-share 2024-02 scheduled"]);
    assert!(database.tick(back, IMPATIENT).await.is_empty());
    assert_eq!(database.issue_drafts().await, ["2024-02"]);
    assert!(database.tick(back, IMPATIENT).await.is_empty());
    assert_eq!(database.tick("2024-04-04T00:00:00Z", PATIENT).await, ["trace-share 2024-03 done"]);
    database.check_months(5).await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_ahead_of_the_database_drafts_nothing_early() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    database.settle(CONTRACT, "2026-05").await;
    database.issue_drafts().await;
    let head = "2099-01-10T00:00:00Z";
    let ran = loop {
        let ran = database.tick_at(head, PATIENT).await.pop().expect("the open period is due");
        if ran.outcome != RunOutcome::Done {
            break ran;
        }
        database.issue_drafts().await;
    };
    assert_eq!(ran.outcome, RunOutcome::Waiting);
    assert!(detail(&ran.detail).contains("has not ended yet"), "{ran:?}");
    database.drop_it().await;
}

/// April 2026 of microsoft-openai was issued, and May lacks a figure.
async fn without_figure() -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    database.record(&[subscriptions("april", "2026-04", 30, "0")]).await;
    let april = database.settle("microsoft-openai", "2026-04").await.drafted[0].0;
    approve(&database.pool, april, APPROVER).await.expect("approved");
    issue(&database.pool, april, APPROVER).await.expect("issued");
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_runs_and_lists() {
    let database = without_figure().await;
    let apportion = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        let ended = command.args(arguments).env("DATABASE_URL", &database.url).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
    };
    let (status, told, complaint) = apportion(&["jobs", "run"]);
    assert_eq!(status, Some(4), "{complaint}");
    assert!(told.contains("waiting") && told.contains("figure \"Subscriptions\""), "{told}");
    assert!(complaint.contains("1 run waits for somebody"), "{complaint}");
    let (status, listed, _) = apportion(&["jobs", "list", "--format", "json"]);
    assert_eq!(status, Some(0));
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("json");
    let may = listed.iter().find(|it| it["period"] == "2026-05").expect("May");
    assert_eq!((&may["job"], &may["due_at"]), (&"draft-statements".into(), &"2026-06-04T07:00:00Z".into()));
    assert_eq!((&may["standing"], &may["last_run"]["outcome"]), (&"scheduled".into(), &"waiting".into()));
    let (_, runs, _) = apportion(&["jobs", "runs", "--contract", "microsoft-openai", "--job", "draft-statements"]);
    assert!(runs.contains("microsoft-openai 2026-05") && !runs.contains("expire-payloads"), "{runs}");
    let (_, runs, _) = apportion(&["jobs", "runs", "--before", "1"]);
    assert!(runs.contains("No runs"), "{runs}");
    database.record(&[subscriptions("may", "2026-05", 31, "0")]).await;
    let (status, told, _) = apportion(&["jobs", "run", "draft-statements"]);
    assert!(status == Some(0) && told.contains("drafted statement 2"), "{told}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_and_tried_again_ever_later() {
    let database = without_figure().await;
    let now = "2026-06-10T00:00:00Z";
    assert_eq!(database.tick(now, PATIENT).await, ["microsoft-openai 2026-05 waiting"]);
    let waits = async |minutes: i64| {
        let plan = database.plan(now, PATIENT).await;
        let it = plan.iter().find(|it| it.subject.period.is_some()).expect("planned");
        assert_eq!(it.standing, Standing::Scheduled);
        let left = it.next_at.expect("a time") - at(now);
        let (most, least) = (TimeDelta::minutes(minutes), TimeDelta::minutes(minutes) - TimeDelta::seconds(30));
        assert!(least < left && left <= most, "{left} of {minutes} minutes");
        let last = it.last_run.as_ref().expect("a run");
        assert!(detail(&last.detail).contains("figure \"Subscriptions\" of microsoft-openai is missing"), "{last:?}");
    };
    waits(1).await;
    assert!(database.tick(now, PATIENT).await.is_empty());
    for minutes in [2, 4, 8] {
        assert_eq!(database.tick(now, IMPATIENT).await, ["microsoft-openai 2026-05 waiting"]);
        waits(minutes).await;
    }
    database.record(&[subscriptions("may", "2026-05", 31, "1_000.00")]).await;
    assert_eq!(database.tick(now, IMPATIENT).await, ["microsoft-openai 2026-05 done"]);
    let attempts: Vec<u32> = database.runs().await.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [5, 4, 3, 2, 1]);
    assert_eq!(database.tick(now, IMPATIENT).await, ["microsoft-openai 2026-05 nothing_new"]);
    assert_eq!(database.runs().await[0].attempt, 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_approved_keeps_its_approval() {
    let database = begun(1).await;
    let (pool, now) = (&database.pool, "2023-12-10T00:00:00Z");
    let id = database.statements().await[0].statement_id;
    approve(pool, id, APPROVER).await.expect("approved");
    assert_eq!(database.tick(now, IMPATIENT).await, ["trace-share 2023-11 nothing_new"]);
    let late = usage("late", "2023-11-20T00:00:00Z", "trace-code", "trace-model", &[("output_tokens", "2000000")]);
    database.ingest(&[late]).await;
    let ran = database.tick_at(now, IMPATIENT).await.pop().expect("it ran");
    assert_eq!(ran.outcome, RunOutcome::Waiting);
    assert!(detail(&ran.detail).starts_with(&format!("there is news, and statement {id} is approved")), "{ran:?}");
    let standing = &database.statements().await[0];
    assert_eq!((standing.status, standing.revision), (StatementStatus::Approved, 1));
    assert_eq!(database.number("select count(*) from settlement").await, 1);
    // A person may: then it is a draft again, and the schedule keeps it current.
    assert_eq!(booked(&database.settle(CONTRACT, "2023-11").await), ["share 2023-11 2"]);
    let more = usage("more", "2023-11-21T00:00:00Z", "trace-code", "trace-model", &[("output_tokens", "3000000")]);
    database.ingest(&[more]).await;
    let ran = database.tick_at(now, IMPATIENT).await.pop().expect("it ran");
    assert_eq!((ran.outcome, ran.detail), (RunOutcome::Done, Some(format!("drafted statement {id}, booked 1 line"))));
    let standing = &database.statements().await[0];
    assert_eq!(
        (standing.status, standing.revision, standing.changed_by.as_str()),
        (StatementStatus::Draft, 3, "scheduler")
    );
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_and_by_schedule_at_once_there_is_one_draft() {
    let database = begun(6).await;
    let now = "2024-12-10T00:00:00Z";
    for period in ["2023-12", "2024-01", "2024-02", "2024-03", "2024-04"] {
        database.issue_drafts().await;
        let by_hand = database.try_settle(CONTRACT, period, None);
        let (a, b, c) = tokio::join!(database.tick(now, IMPATIENT), database.tick(now, IMPATIENT), by_hand);
        c.expect("settled");
        assert!((1..=2).contains(&(a.len() + b.len())), "{a:?} {b:?}");
    }
    database.check_months(6).await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_found_the_same_due_one_runs_it() {
    let database = begun(2).await;
    for round in 0..10 {
        let due = database.plan("2023-12-10T00:00:00Z", IMPATIENT).await;
        let due = due.iter().find(|it| it.standing == Standing::Due).expect("due");
        let (now, schedule) = (at("2023-12-10T00:00:00Z"), schedule());
        let run = || run(&database.pool, &schedule, due, now, PATIENT);
        let (a, b, c) = tokio::join!(run(), run(), run());
        let ran = [a, b, c].into_iter().filter(|it| it.as_ref().expect("asked").is_some()).count();
        assert_eq!(ran, 1, "round {round}");
    }
    assert_eq!(database.runs().await.len(), 10);
    database.drop_it().await;
}

fn start<'a>(subject: &'a Subject, follows: Option<i64>, lease: u64) -> RunStart<'a> {
    let at: Instant = at("2023-12-10T00:00:00Z");
    let (job, lease) = (Job::DraftStatements, Duration::from_secs(lease));
    RunStart { job, subject, due_at: at, clock_at: at, attempt: 1, holder: "test:2", starter: None, follows, lease }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_held_until_it_runs_out_and_then_fences() {
    let database = TestDatabase::empty().await;
    let (pool, subject) = (&database.pool, Subject::of(&CONTRACT.into()));
    sqlx::query("insert into contract values ($1)").bind(CONTRACT).execute(pool).await.expect("a contract");
    let begin = async |follows, lease| begin_run(pool, &start(&subject, follows, lease)).await.expect("asked");
    let first = begin(None, 1).await.expect("it is free");
    assert_eq!((begin(None, 1).await, begin(Some(first), 1).await), (None, None));
    assert!(renew_lease(pool, first, Duration::from_secs(60)).await.expect("asked"));
    let refused = async |sql: &str| {
        let sql = sql.replace("$first", &first.to_string());
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect_err("refused");
        error.to_string()
    };
    assert!(refused("delete from job_lease").await.contains("leases stay"));
    let lost = refused("insert into job_run_end (run_id, outcome, detail) values ($first, 'lost', '')").await;
    assert!(lost.contains("is not lost: it holds its lease"), "{lost}");
    let early = refused("update job_lease set leased_until = clock_timestamp(), renewed_at = clock_timestamp()").await;
    assert!(early.contains("has not ended"), "{early}");
    let stolen = "with run as (insert into job_run (job, contract_id, due_at, clock_at, attempt, holder)
          values ('draft-statements', 'trace-share', now(), now(), 1, 'thief') returning run_id)
        select run_id from run; update job_lease set run_id = (select max(run_id) from job_run)";
    assert!(refused(stolen).await.contains("still holds the lease"));
    assert!(renew_lease(pool, first, Duration::from_secs(1)).await.expect("asked"));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let running = database.runs().await;
    assert_eq!((running[0].outcome, running[0].ended_at), (Some(RunOutcome::Lost), None));
    let second = begin(Some(first), 60).await.expect("it ran out");
    // The first wakes up: it is overtaken.
    assert!(!renew_lease(pool, first, Duration::from_secs(60)).await.expect("asked"));
    assert!(!end_run(pool, first, RunOutcome::Done, None).await.expect("asked"));
    let late = refused("insert into job_run_end (run_id, outcome, detail) values ($first, 'done', '')").await;
    assert!(late.contains("does not hold its lease any more"), "{late}");
    assert!(end_run(pool, second, RunOutcome::NothingNew, None).await.expect("asked"));
    let outcomes: Vec<_> = database.runs().await.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Some(RunOutcome::NothingNew), Some(RunOutcome::Lost)]);
    // Who found it due before the second ran looks again.
    assert_eq!(begin(Some(first), 60).await, None);
    assert!(begin(Some(second), 60).await.is_some());
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_from_before_the_clock_went_back_holds_nobody_up() {
    let database = TestDatabase::empty().await;
    let (pool, subject) = (&database.pool, Subject::default());
    let first = begin_run(pool, &start(&subject, None, 60)).await.expect("asked").expect("it is free");
    // As it stands when the database's clock went back by a month.
    let sql = "update job_lease set renewed_at = renewed_at + interval '1 month', leased_until = leased_until + interval '1 month'";
    sqlx::query(sql).execute(pool).await.expect("moved");
    assert!(begin_run(pool, &start(&subject, Some(first), 60)).await.expect("asked").is_some());
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_expire_as_a_job_and_once_an_hour() {
    let database = TestDatabase::new().await;
    write_lines(&mut database.writer().await, &["no json".into()]).await;
    let sql = "insert into usage_rejection (batch_id, position, reason, detail, format, source, content_type, payload,
                 expires_at)
               select batch_id, 'old', reason, detail, format, source, content_type, payload, now() - interval '1 second'
               from usage_rejection";
    sqlx::query(sql).execute(&database.pool).await.expect("kept");
    let now = at("2026-06-10T00:00:00Z");
    let tick = async |patience| {
        let ran = tick(&database.pool, &schedule(), Job::ExpirePayloads, now, patience).await.expect("a tick");
        ran.into_iter().map(|it| format!("{} {} {}", it.subject, it.outcome, detail(&it.detail))).collect::<Vec<_>>()
    };
    assert_eq!(tick(PATIENT).await, ["all done payloads of rejections that expired: 1"]);
    assert_eq!(database.number("select count(*) from usage_rejection where payload is not null").await, 1);
    assert!(tick(PATIENT).await.is_empty());
    assert_eq!(tick(IMPATIENT).await, ["all nothing_new "]);
    let plan = plan(&database.pool, &schedule(), Job::ExpirePayloads, now, PATIENT).await.expect("planned");
    let left = plan[0].next_at.expect("a time") - now;
    assert!(left > TimeDelta::minutes(59) && left <= TimeDelta::hours(1), "{left}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_say_who_started_them_and_are_removed_in_time() {
    let database = TestDatabase::new().await;
    let (pool, now) = (&database.pool, at("2026-06-10T00:00:00Z"));
    let tick = async |job, trigger| tick(pool, &schedule(), job, now, trigger).await.expect("a tick");
    for trigger in [PATIENT, IMPATIENT, IMPATIENT] {
        assert_eq!(tick(Job::ExpirePayloads, trigger).await.len(), 1);
    }
    let all = RunFilter { job: None, contract: None, request: None, before: None, limit: 10 };
    let runs = list_runs(pool, &all).await.expect("listed");
    let starters: Vec<Option<&str>> = runs.iter().map(|run| run.started_by.as_deref()).collect();
    assert_eq!(starters, [Some("ana"), Some("ana"), None]);
    let refused = async |sql: &'static str| sqlx::query(sql).execute(pool).await.expect_err("refused").to_string();
    assert!(refused("delete from job_run").await.contains("has not ended 7 days ago"));
    assert!(refused("delete from job_run_end").await.contains("stays as long as the run"));
    assert!(refused("update job_run set started_by = 'ben'").await.contains("append-only"));
    // Of the two that ended long ago the last of the subject stays, as does one that ended since.
    let aged = "alter table job_run_end disable trigger append_only;
                update job_run_end set ended_at = ended_at - interval '91 days';
                alter table job_run_end enable trigger append_only";
    sqlx::raw_sql(aged).execute(pool).await.expect("aged");
    assert_eq!(tick(Job::ExpireAnswers, IMPATIENT).await.len(), 1);
    assert_eq!(detail(&tick(Job::ExpireRuns, IMPATIENT).await[0].detail), "runs that expired: 2");
    let left: Vec<Job> = list_runs(pool, &all).await.expect("listed").iter().map(|run| run.job).collect();
    assert_eq!(left, [Job::ExpireRuns, Job::ExpireAnswers, Job::ExpirePayloads]);
    assert_eq!(tick(Job::ExpireRuns, IMPATIENT).await[0].outcome, RunOutcome::NothingNew);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_with_the_runs_of_its_own_job() {
    let database = TestDatabase::new().await;
    let pool = &database.pool;
    let key = "insert into api_key (key_id, secret_sha256, holder, scopes, created_at, created_by)
               values ('00000000000000aa', sha256('x'), 'ana', array['admin'], now(), 'test')";
    sqlx::query(key).execute(pool).await.expect("a key");
    let ask = async |job, idempotency_key| {
        let starter = Starter { name: "ana", key_id: Some("00000000000000aa"), idempotency_key };
        let ran = tick(pool, &schedule(), job, Utc::now(), Trigger::Person(starter)).await.expect("a tick");
        ran.into_iter().map(|it| (it.run_id, it.job)).collect::<Vec<_>>()
    };
    let first = ask(Job::ExpirePayloads, Some("a")).await;
    assert_eq!(first, [(1, Job::ExpirePayloads)]);
    assert_eq!(ask(Job::ExpireAnswers, Some("a")).await, [(2, Job::ExpireAnswers)], "another job");
    assert_eq!(ask(Job::ExpirePayloads, Some("a")).await, first, "the same request");
    assert_eq!(ask(Job::ExpirePayloads, Some("b")).await, [(3, Job::ExpirePayloads)], "another request");
    assert_eq!(ask(Job::ExpirePayloads, None).await, [(4, Job::ExpirePayloads)], "a request without a name");
    database.drop_it().await;
}
