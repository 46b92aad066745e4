//! Archives: old events go to a file and out of Postgres, stay known, and come back as they were; nothing is owed by fewer
//! events than there are.

use crate::api_client::Api;
use crate::books::*;
use crate::jobs::{IMPATIENT, schedule};
use crate::settlement::history;
use crate::support::*;
use apportion::domain::access::Scope;
use apportion::domain::explain::settled::Wanted;
use apportion::domain::explain::{Depth, Question};
use apportion::domain::schedule::{Job, RunOutcome};
use apportion::ingest::retry::retry;
use apportion::ingest::revert::revert;
use apportion::jobs::archive::{
    ArchiveError, BroughtBack, Dropped, bring_back, check, list, seal, take_offline, write,
};
use apportion::jobs::explain::explain_statement;
use apportion::jobs::schedule::{Ran, tick};
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::{approve, issue};
use apportion::store::StoreError;
use apportion::store::archives::Archive;
use apportion::store::backfills::Reason;
use apportion::store::offline_usage::{ChangeReason, HourFilter};
use apportion::store::rejections::expire_payloads;
use apportion::store::usage_reports::{self as reports, Standing};
use sqlx::Executor;
use std::path::Path;
use std::process::Command;

const WHY: ChangeReason<'_> = ChangeReason { by: "ana", why: "a year old" };

impl TestDatabase {
    /// Writes all that is recorded by now to a file.
    async fn archive(&self, folder: &Path) -> Archive {
        seal(&self.pool).await.expect("sealed");
        let all = list(&self.pool).await.expect("a list");
        let sealed = all.iter().rev().find(|it| it.is_sealed).expect("a sealed one").generation;
        write(&self.pool, folder, sealed, "ana", |_| {}).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn drop_events(&self, folder: &Path, generation: i32) -> Dropped {
        let dropped = take_offline(&self.pool, folder, generation, false, WHY, |_| {}).await;
        dropped.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn restore(&self, folder: &Path, generation: i32) -> BroughtBack {
        let restored = bring_back(&self.pool, folder, generation, &HourFilter::default(), WHY, |_| {}).await;
        restored.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn here(&self) -> i64 {
        self.number("select count(*) from usage_event_row").await
    }

    /// All rows of events, as text.
    async fn rows(&self) -> Vec<String> {
        let rows = "select e::text from usage_event_row e order by event_key";
        sqlx::query_scalar(rows).fetch_all(&self.pool).await.expect("rows")
    }

    async fn refuses(&self, sql: &'static str, why: &str) {
        let refused = self.pool.execute(sql).await.expect_err(sql).to_string();
        assert!(refused.contains(why), "{sql}: {refused}");
    }
}

fn is_offline(error: &SettleError) -> bool {
    matches!(error, SettleError::Store(StoreError::Offline(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_explained_from_the_archive_as_it_was() {
    let (database, folder) = (history().await, tempfile::tempdir().expect("a folder"));
    let may = database.settle("microsoft-openai", "2026-05").await;
    let [(id, _)] = may.drafted.as_slice() else { panic!("one pair of parties") };
    approve(&database.pool, *id, "ben").await.expect("approved");
    issue(&database.pool, *id, "ben").await.expect("issued");
    let question = Question { depth: Depth::Events, limit: 100 };
    let wanted = Wanted::default();
    let told = || async { explain_statement(&database.pool, *id, &wanted, question).await };
    let before = told().await.expect("explained");
    let (rows, all) = (database.rows().await, database.here().await);
    database.archive(folder.path()).await;
    assert_eq!(database.rows().await, rows, "written is not dropped");
    let dropped = database.drop_events(folder.path(), 1).await;
    assert_eq!(dropped.events as i64, all - database.here().await);
    assert!(dropped.events > 0);
    // What it takes is told, with the hours, and no other answer is given.
    let Err(refused) = told().await else { panic!("events are missing") };
    let refused = refused.to_string();
    assert!(refused.contains("are archived") && refused.contains("apportion archive restore"), "{refused}");
    let api = Api::of(&database.pool).await;
    let ana = api.key("ana", Scope::ALL, None).await;
    let answer = api.get(&format!("/api/v1/statements/{id}/explanation?depth=events"), &ana).await;
    assert_eq!(
        (answer.status, answer.json()["type"].as_str()),
        (409, Some("urn:apportion:problem:archived")),
        "{answer:?}"
    );
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        let output = command.args(words).env("DATABASE_URL", &database.url).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (status, said) = command(&["explain", &id.to_string(), "--depth", "events"]);
    assert_eq!((status, said.contains("are archived")), (Some(4), true), "{said}");
    let path = folder.path().to_str().expect("a name");
    let (status, said) = command(&["archive", "restore", path, "--by", "ana", "--reason", "audit of May"]);
    assert_eq!((status, said.contains("brought back")), (Some(0), true), "{said}");
    assert_eq!(database.rows().await, rows);
    let after = told().await.expect("explained");
    assert_eq!(serde_json::to_value(&after).expect("JSON"), serde_json::to_value(&before).expect("JSON"));
    database.audit().await;
    // What was brought back once stays, and it is told how to drop it.
    let again = database.drop_events(folder.path(), 1).await;
    assert_eq!((again.hours, again.hours_brought_back), (0, dropped.hours as i64));
    let (status, said) =
        command(&["archive", "drop", path, "--generation", "1", "--by", "ana", "--reason", "old", "--again"]);
    let told = format!("{} events dropped, {} hours went offline", dropped.events, dropped.hours);
    assert_eq!((status, said.contains(&told), said.contains("--again")), (Some(0), true, false), "{said}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whole_hours_add_up_to_is_settled_while_they_are_offline() {
    let (database, folder) = (history().await, tempfile::tempdir().expect("a folder"));
    let other = history().await;
    let later = [usage("june", "2026-06-20T10:30:00Z", "openai-direct", "gpt-5.5", &[("input_tokens", "5")])];
    for database in [&database, &other] {
        database.ingest(&later).await;
    }
    database.archive(folder.path()).await;
    database.drop_events(folder.path(), 1).await;
    let all = database.number("select count(*) from usage_offline_hour").await;
    let settled = database.settle("microsoft-openai", "2026-05").await;
    assert_eq!(booked(&settled), booked(&other.settle("microsoft-openai", "2026-05").await));
    assert_eq!(database.number("select count(*) from usage_offline_hour").await, all, "none was needed");
    // Now that prices change with the context, hours are opened down to their events. A schedule waits for that.
    let price = "insert into price (price_id, product, meter, service_tier, context_over, amount, per_units, currency,
                   source, recorded_at) values ('long', 'gpt-5.5', 'input_tokens', 'default', 1000, 9, 1000000, 'USD', 's',
                   clock_timestamp())";
    for database in [&database, &other] {
        database.pool.execute(price).await.expect("a price");
    }
    let ran = tick(&database.pool, &schedule(), Job::DraftStatements, at("2026-06-20T00:00:00Z"), IMPATIENT).await;
    let waits = |ran: &Ran| {
        let archived = ran.detail.as_ref().is_some_and(|detail| detail.contains("are archived"));
        ran.outcome == RunOutcome::Waiting && archived
    };
    let ran = ran.expect("a tick");
    assert!(ran.iter().any(waits), "{ran:?}");
    let error = database.try_settle("microsoft-openai", "2026-05", None).await.expect_err("events are missing");
    assert!(is_offline(&error), "{error}");
    // The hours are named, and these alone are brought back.
    let said = error.to_string();
    let listed = said.split(' ').skip_while(|word| *word != "--hours").nth(1).unwrap_or_else(|| panic!("{said}"));
    let which = HourFilter { hours: Some(listed.split(',').map(at).collect()), ..HourFilter::default() };
    bring_back(&database.pool, folder.path(), 1, &which, WHY, |_| {}).await.expect("brought back");
    let [settled, expected] =
        [database.settle("microsoft-openai", "2026-05").await, other.settle("microsoft-openai", "2026-05").await];
    assert_eq!(booked(&settled), booked(&expected));
    assert!(!settled.lines.is_empty(), "the price changed something");
    let offline = database.number("select count(*) from usage_offline_hour").await;
    assert!(offline > 0 && offline < all, "{offline} of {all} are offline still");
    other.drop_it().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_archived_is_known() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    let mut before = database.writer().await;
    let all: Vec<String> = (0..500).map(|n| event(&format!("e{n}"), n, 1)).collect();
    let uuid = "123e4567-e89b-12d3-a456-42661417400f";
    let named = [
        event(uuid, 7, 7),
        event_at("late", "2025-01-01T00:00:00Z", "west", 5, 5),
        event("corrected", 1, 1),
        correction("fix", "corrected", r#""quantities":{"input_tokens":3}"#),
    ];
    assert_eq!(write_lines(&mut before, &[all.clone(), named.to_vec()].concat()).await.stored, 503);
    let rows = database.rows().await;
    database.archive(folder.path()).await;
    database.drop_events(folder.path(), 1).await;
    // What a correction names stays.
    assert_eq!(database.here().await, 1);
    let total = database.total("usage_rollup", "input_tokens").await;
    let other = [event("e7", 8, 1), event_at("e8", "2026-06-01T00:00:00Z", "east", 8, 1), event(uuid, 7, 8)];
    let new = [event("new", 1, 1)];
    for (writer, stored) in [(&mut before, 1), (&mut database.writer().await, 0)] {
        let again = [all.as_slice(), &named[..3], &other, &new].concat();
        let counts = write_lines(writer, &again).await;
        assert_eq!((counts.stored, counts.duplicate, counts.conflict), (stored, 503 + 1 - stored, 3), "{counts:?}");
    }
    assert_eq!(database.total("usage_rollup", "input_tokens").await, total + 1);
    let conflicts = reports::conflicts(&database.pool, None, 10).await.expect("conflicts");
    assert!(conflicts.iter().all(|it| it.stands == Standing::Archived), "{conflicts:?}");
    // What it says is needed to correct it; of one that stayed it is here.
    let amending = [
        correction("fix-2", "e7", r#""quantities":{"input_tokens":70}"#),
        void("void-2", "e8"),
        correction("fix-3", "corrected", r#""quantities":{"input_tokens":4}"#),
        // Its own id is an archived event's.
        void("e9", "corrected"),
    ];
    let counts = write_lines(&mut before, &amending).await;
    assert_eq!((counts.rejected, counts.correction_applied, counts.conflict), (2, 1, 1), "{counts:?}");
    let rejected = reports::rejections(&database.pool, None, None, 10).await.expect("rejections");
    let restore = "`apportion archive restore --hours 2026-05-01T00:00:00Z`";
    assert!(rejected.iter().all(|it| it.reason == "archived_target" && it.detail.contains(restore)), "{rejected:?}");
    assert_eq!(database.total("usage_rollup", "input_tokens").await, total + 2);
    // However long it takes: one that would have expired is kept.
    let old = "insert into usage_rejection (batch_id, position, reason, detail, format, source, content_type, payload,
                 expires_at, event_key)
               select batch_id, 'old', reason, detail, format, source, content_type, payload, now() - interval '1 second',
                 event_key from usage_rejection where detail like 'e7,%'";
    database.pool.execute(old).await.expect("an old one");
    assert_eq!(expire_payloads(&database.pool).await.expect("expired"), 0);
    // Once they are back it is taken in.
    database.restore(folder.path(), 1).await;
    let retried = retry(&mut before, &database.pool, &[], None).await.expect("retried");
    let taken = (retried.taken.correction_applied, retried.taken.void_applied, retried.taken.duplicate);
    assert_eq!(taken, (1, 1, 1), "{retried:?}");
    assert_eq!(database.total("usage_rollup", "input_tokens").await, total + 2 + 63 - 8);
    let now = database.rows().await;
    assert!(rows.iter().all(|row| now.contains(row)), "each as it was");
    database.audit().await;
    // These stay now, too.
    take_offline(&database.pool, folder.path(), 1, true, WHY, |_| {}).await.expect("dropped");
    assert_eq!(database.here().await, 1 + 2 + 1, "corrected, e7 and e8, and the new one");
    database.drop_it().await;
}

/// A filter that is made once events are gone has all of them.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_archived_is_known_by_a_filter_that_comes_later() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    let all: Vec<String> = (0..25_000).map(|n| event(&format!("e{n}"), 1, 1)).collect();
    assert_eq!(database.write(&all).await.stored, 25_000);
    database.archive(folder.path()).await;
    database.drop_events(folder.path(), 1).await;
    assert_eq!(database.number("select count(*) from usage_generation_filter").await, 0);
    let mut writer = database.writer().await;
    let filters = "select count(*) from usage_generation_filter";
    while database.number(filters).await == 0 {
        assert_eq!(write_lines(&mut writer, &all).await.duplicate, 25_000);
    }
    for writer in [&mut writer, &mut database.writer().await] {
        assert_eq!(write_lines(writer, &all).await.duplicate, 25_000);
    }
    database.drop_it().await;
}

/// A backfill whose first part adds up to nothing: what it brought is missed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_reverted_once_what_it_brought_is_back() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    database.write(&[event("old", 10, 5)]).await;
    database.try_backfill("again", &[void("x", "old"), event("new", 10, 5)]).await;
    database.archive(folder.path()).await;
    // What is voided stays; what came for it goes.
    assert_eq!(database.drop_events(folder.path(), 1).await.events, 1);
    let writer = database.writer().await;
    let reason = Reason { by: "ben".into(), why: "reported twice".into() };
    let refused = revert(&database.pool, &writer, "again", &reason).await.expect_err("it cannot be told");
    assert!(refused.to_string().contains("2026-05-01T00:00:00Z"), "{refused}");
    database.restore(folder.path(), 1).await;
    revert(&database.pool, &writer, "again", &reason).await.expect("reverted");
    assert_eq!(database.total("usage_rollup", "input_tokens").await, 0);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_file_as_it_was_written_is_believed() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    database.write(&[event("a", 1, 1), event("b", 2, 2)]).await;
    let open = write(&database.pool, folder.path(), 1, "ana", |_| {}).await.expect_err("it takes what comes");
    assert!(matches!(open, ArchiveError::NotSealed { generation: 1 }), "{open}");
    let unknown = write(&database.pool, folder.path(), 9, "ana", |_| {}).await.expect_err("none");
    assert!(matches!(unknown, ArchiveError::Unknown { generation: 9 }), "{unknown}");
    seal(&database.pool).await.expect("sealed");
    let never = take_offline(&database.pool, folder.path(), 1, false, WHY, |_| {}).await.expect_err("no file");
    assert!(matches!(never, ArchiveError::NotArchived { generation: 1 }), "{never}");
    let gone = write(&database.pool, &folder.path().join("none"), 1, "ana", |_| {}).await.expect_err("no folder");
    assert!(matches!(gone, ArchiveError::File { .. }), "{gone}");
    // Sealed again it is the same generation that takes what comes, and one with events is sealed whenever that is asked for.
    seal(&database.pool).await.expect("nothing to seal");
    database.write(&[event_at("z", "2026-06-01T00:00:00Z", "east", 1, 1)]).await;
    seal(&database.pool).await.expect("sealed");
    assert_eq!(database.number("select count(*) from usage_generation").await, 3);
    let name = |archive: &Archive| folder.path().join(&archive.file_name);
    let written = write(&database.pool, folder.path(), 1, "ana", |_| {}).await.expect("written");
    let twice = write(&database.pool, folder.path(), 1, "ana", |_| {}).await.expect_err("twice");
    assert!(matches!(twice, ArchiveError::Archived { generation: 1, .. }), "{twice}");
    check(folder.path(), &written).expect("as written");
    let whole = std::fs::read(name(&written)).expect("read");
    for damaged in [whole[..whole.len() - 1].to_vec(), [&whole[..20], &[whole[20] ^ 1], &whole[21..]].concat()] {
        std::fs::write(name(&written), &damaged).expect("damaged");
        let refused = take_offline(&database.pool, folder.path(), 1, false, WHY, |_| {}).await.expect_err("damaged");
        assert!(matches!(refused, ArchiveError::OtherFile { .. }), "{refused}");
    }
    assert_eq!(database.here().await, 3);
    std::fs::write(name(&written), &whole).expect("mended");
    assert_eq!(database.drop_events(folder.path(), 1).await.events, 2);
    std::fs::write(name(&written), &whole[1..]).expect("damaged");
    let refused =
        bring_back(&database.pool, folder.path(), 1, &HourFilter::default(), WHY, |_| {}).await.expect_err("damaged");
    assert!(matches!(refused, ArchiveError::OtherFile { .. }), "{refused}");
    std::fs::remove_file(name(&written)).expect("removed");
    let refused =
        bring_back(&database.pool, folder.path(), 1, &HourFilter::default(), WHY, |_| {}).await.expect_err("gone");
    assert!(matches!(refused, ArchiveError::File { .. }), "{refused}");
    std::fs::write(name(&written), &whole).expect("mended");
    // Moved to another folder, it is the same.
    let other = tempfile::tempdir().expect("a folder");
    std::fs::rename(name(&written), other.path().join(&written.file_name)).expect("moved");
    assert_eq!(database.restore(other.path(), 1).await.events, 2);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_to_lose_an_event() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    database.write(&[event("a", 1, 1), event("b", 2, 2), event_at("c", "2026-05-02T10:15:00Z", "east", 3, 3)]).await;
    database.write(&[void("x", "b")]).await;
    let hour = "insert into usage_offline_hour select 1, date_trunc('hour', occurred_at, 'UTC'), count(*),
                  sum(usage_event_digest(e)) from usage_event_row e group by 2";
    database.refuses("delete from usage_event_row", "append-only").await;
    database.refuses(hour, "usage_offline_hour_generation_fkey").await;
    database.archive(folder.path()).await;
    database.refuses("delete from usage_event_row", "append-only").await;
    database.refuses("delete from usage_event_row_1", "append-only").await;
    database.refuses("truncate usage_event_row_1 cascade", "append-only").await;
    database
        .refuses(
            "insert into usage_offline_hour values (1, '2026-05-02T10:00:00Z', 1, 2)",
            "not all events of an hour are here as they were",
        )
        .await;
    database
        .refuses(
            "insert into usage_offline_hour select 1, '2026-05-02T10:00:00Z', 1, usage_event_digest(e) from usage_event_row e
               where occurred_at >= '2026-05-02T10:00:00Z';
             delete from usage_event_row where occurred_at < '2026-05-02'",
            "append-only",
        )
        .await;
    let named = "exists (select from usage_state s where s.event_key = e.event_key)";
    let gone = format!("create table gone as select * from usage_event_row e where not {named}");
    database.pool.execute(sqlx::AssertSqlSafe(gone)).await.expect("a copy");
    database.pool.execute(hour).await.expect("offline");
    database.refuses("delete from usage_event_row", "an event that something names stays").await;
    database.pool.execute("delete from usage_event_row e where not exists (select from usage_state s where s.event_key = e.event_key)").await.expect("dropped");
    database.refuses("delete from usage_offline_hour", "not all events of an hour are here as they were").await;
    database.refuses("update usage_offline_hour set events = 1", "append-only").await;
    database.refuses("truncate usage_offline_hour", "append-only").await;
    for table in ["usage_archive", "usage_archive_identity"] {
        let refused = database.pool.execute(sqlx::AssertSqlSafe(format!("delete from {table}"))).await;
        assert!(refused.expect_err("refused").to_string().contains("append-only"), "{table}");
    }
    database
        .refuses(
            "select * from usage_event",
            "events of 2 hours are archived: --hours 2026-05-01T00:00:00Z,2026-05-02T10:00:00Z (generation 1)",
        )
        .await;
    // As many, and not the same.
    for change in ["event_key = gen_random_uuid()", "input_tokens = 999999", "packed_id = 'z'"] {
        let stranger = format!(
            "create temporary table stranger on commit drop as select * from gone;
             update stranger set {change};
             insert into usage_event_row select * from stranger; delete from usage_offline_hour"
        );
        let refused = database.pool.execute(sqlx::AssertSqlSafe(stranger)).await.expect_err(change).to_string();
        assert!(refused.contains("not all events of an hour are here as they were"), "{refused}");
    }
    assert_eq!(database.restore(folder.path(), 1).await.events, 2);
    database.audit().await;
    database.drop_it().await;
}

/// Corrections, voids and repeats come while hours go offline and back: each ends as applied, or as refused for now.
#[tokio::test(flavor = "multi_thread")]
async fn events_go_and_come_back_amid_corrections_and_repeats() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    let at = |n: u32| format!("2026-05-{:02}T{:02}:30:00Z", 1 + n / 24 % 20, n % 24);
    let all: Vec<String> = (0..480).map(|n| event_at(&format!("e{n}"), &at(n), "east", 10, 1)).collect();
    database.write(&all).await;
    database.archive(folder.path()).await;
    let moving = tokio::spawn({
        let (pool, folder) = (database.pool.clone(), folder.path().to_owned());
        async move {
            for _ in 0..4 {
                take_offline(&pool, &folder, 1, true, WHY, |_| {}).await.expect("dropped");
                bring_back(&pool, &folder, 1, &HourFilter::default(), WHY, |_| {}).await.expect("brought back");
            }
        }
    });
    let mut writer = database.writer().await;
    let (mut applied, mut rejected) = (0, 0);
    for n in 0..120 {
        let (corrected, voided) = (4 * n, 4 * n + 1);
        let amending = [
            correction(&format!("c{n}"), &format!("e{corrected}"), r#""quantities":{"input_tokens":15}"#),
            void(&format!("v{n}"), &format!("e{voided}")),
        ];
        let counts = write_lines(&mut writer, &amending).await;
        applied += counts.correction_applied + counts.void_applied;
        rejected += counts.rejected;
        assert_eq!(counts.messages(), counts.correction_applied + counts.void_applied + counts.rejected, "{counts:?}");
        let again = write_lines(&mut writer, &all[..50]).await;
        assert_eq!(again.duplicate, 50, "{again:?}");
    }
    moving.await.expect("moved");
    let retried = retry(&mut writer, &database.pool, &[], None).await.expect("retried").taken;
    assert_eq!(applied + retried.correction_applied + retried.void_applied, 240, "{rejected} were refused");
    assert_eq!(database.total("usage_rollup", "input_tokens").await, 480 * 10 + 120 * 5 - 120 * 10);
    assert_eq!(database.here().await, 480);
    database.audit().await;
    database.drop_it().await;
}
