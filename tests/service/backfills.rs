//! Backfills: a preview equals what apply then does and leaves nothing, a revert restores what was owed, to the cent.

use crate::books::*;
use crate::settlement::history;
use crate::support::{TestDatabase, correction, event, void, write_lines};
use apportion::domain::backfill::{Brought, Stays};
use apportion::domain::ids::ContractId;
use apportion::domain::money::Exact;
use apportion::domain::outcome::Counts;
use apportion::domain::period::Instant;
use apportion::ingest::backfill::{BackfillError, apply, preview};
use apportion::ingest::file::FileReader;
use apportion::ingest::revert::{Kept, Reverted, kept as kept_now, preview_revert, revert};
use apportion::ingest::trial::{MAX_TRIED, TrialError, Tried};
use apportion::jobs::entitlement::entitlement;
use apportion::jobs::money_effect::{Compared, ContractEffect, Stopped, money_effect};
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::{approve, issue};
use apportion::store::backfills::{Backfill, BackfillChange, Reason, load_whole};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const CONTRACT: &str = "microsoft-openai";

/// A file of lines; gone with the folder.
pub fn file(lines: &[String]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backfill.jsonl");
    std::fs::write(&path, lines.join("\n")).expect("written");
    (folder, path)
}

fn reason() -> Reason {
    Reason { by: MAKER.to_owned(), why: "an outage".to_owned() }
}

pub async fn measure(conn: &mut PgConnection, tried: &Tried) -> Result<Vec<ContractEffect>, SettleError> {
    money_effect(conn, Compared { before: tried.before, after: tried.after, last_hour: tried.last_hour }).await
}

impl TestDatabase {
    async fn preview(&self, lines: &[String]) -> (Counts, Vec<ContractEffect>) {
        let (_folder, path) = file(lines);
        let how = FileReader::default();
        let tried = preview(&self.pool, (&path, &how), MAX_TRIED, measure).await.expect("tried");
        let (tried, effects) = tried.expect("measured");
        (tried.counts, effects)
    }

    /// Whether it was taken in now.
    pub async fn try_apply(&self, name: &str, lines: &[String]) -> Result<bool, BackfillError> {
        let (_folder, path) = file(lines);
        let (writer, how) = (self.writer().await, FileReader::default());
        apply(&self.pool, &writer, name, (&path, &how), &reason(), |_| {}).await
    }

    pub async fn backfill(&self, name: &str) -> (Backfill, Vec<BackfillChange>, Counts) {
        load_whole(&self.pool, name).await.expect("read").expect("a backfill")
    }

    pub async fn try_backfill(&self, name: &str, lines: &[String]) -> Counts {
        self.try_apply(name, lines).await.unwrap_or_else(|error| panic!("{error}"));
        self.backfill(name).await.2
    }

    pub async fn revert(&self, name: &str) -> Reverted {
        let reason = Reason { by: APPROVER.to_owned(), why: "reported twice".to_owned() };
        revert(&self.pool, &self.writer().await, name, &reason).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn statuses(&self, name: &str) -> Vec<String> {
        let (_, history, _) = self.backfill(name).await;
        history.iter().map(|it| format!("{} {}", it.status, it.changed_by)).collect()
    }

    /// By contract, term and period, what is owed through June as known at an instant, rounded as it is booked.
    async fn owed(&self, known_at: Option<Instant>) -> BTreeMap<(String, String, String), Exact> {
        let mut owed = BTreeMap::new();
        for contract in [CONTRACT, "aws-openai"] {
            let through = "2026-06".parse().expect("a period");
            let told = entitlement(&self.pool, &ContractId::from(contract), through, known_at).await.expect("told");
            for (term, entitled) in told.terms {
                for (period, amount) in entitled.periods {
                    owed.insert((contract.to_owned(), term.to_string(), period), amount.rounded);
                }
            }
        }
        owed.retain(|_, amount| !amount.is_zero());
        owed
    }

    /// All rows of all tables, each table as one digest.
    async fn everything(&self) -> Vec<(String, Option<String>)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select table_name::text from information_schema.tables
             where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
        )
        .fetch_all(&self.pool)
        .await
        .expect("tables");
        let mut all = Vec::new();
        for table in tables {
            let sql = format!("select md5(string_agg(t::text, '|' order by t::text)) from {table} t");
            let digest = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.expect("a digest");
            all.push((table, digest));
        }
        all
    }
}

/// What effects say, a change a line: "contract term period before after difference booked-in".
fn told(effects: &[ContractEffect]) -> Vec<String> {
    let changes = effects.iter().flat_map(|it| &it.changes);
    let line = |it: &apportion::domain::money_effect::Change| {
        let (contract, term, period) = (&it.contract, &it.term, it.origin_period);
        format!("{contract} {term} {period} {} {} {} {}", it.before, it.after, it.difference, it.booked_in)
    };
    changes.map(line).collect()
}

/// The same of what is owed before and after.
fn differences(
    before: &BTreeMap<(String, String, String), Exact>,
    after: &BTreeMap<(String, String, String), Exact>,
) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for key in keys {
        let of = |owed: &BTreeMap<_, Exact>| owed.get(key).cloned().unwrap_or_default();
        let (contract, term, period) = key;
        if of(before) != of(after) {
            let difference = of(after) - of(before);
            // May is issued, and June open.
            lines.push(format!("{contract} {term} {period} {} {} {difference} 2026-06", of(before), of(after)));
        }
    }
    lines
}

/// The small month, issued, and June's figure.
async fn issued_may() -> TestDatabase {
    let database = history().await;
    for contract in [CONTRACT, "aws-openai"] {
        let id = database.settle(contract, "2026-05").await.drafted[0].0;
        approve(&database.pool, id, APPROVER).await.expect("approved");
        issue(&database.pool, id, APPROVER).await.expect("issued");
    }
    database.record(&[subscriptions("june", "2026-06", 30, "0")]).await;
    database
}

/// Late usage of May and new of June, of both contracts; a correction and a void of what stands, and one of its own.
fn late() -> Vec<String> {
    let direct = |id: &str, time: &str| usage(id, time, "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
    let at = "2026-05-20T00:00:00Z";
    vec![
        direct("late", at),
        direct("june", "2026-06-03T00:00:00Z"),
        usage("aws", at, "bedrock-us-east-1", "gpt-5.5", &[("input_tokens", "7777777")]),
        correction("fix", "direct", r#""quantities":{"input_tokens":1234567}"#),
        void("gone", "vertex"),
        direct("mine", at),
        correction("fix-mine", "mine", r#""quantities":{"output_tokens":7}"#),
        // Known already, and in conflict with what stands.
        usage("bedrock", "2026-05-05T10:00:00-07:00", "bedrock-us-east-1", "gpt-5.5", &[("input_tokens", "1")]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_equals_what_apply_then_does_and_leaves_nothing() {
    let database = issued_may().await;
    let (before, untouched) = (database.owed(None).await, database.everything().await);
    let (counts, effects) = database.preview(&late()).await;
    assert_eq!(database.everything().await, untouched);
    assert!(effects.iter().all(|it| it.untold.is_none() && it.through.to_string() == "2026-06"), "{effects:?}");
    // Applied, both the counts and the amounts are those that were shown.
    assert_eq!(database.try_backfill("late", &late()).await, counts);
    assert_eq!((counts.stored, counts.conflict, counts.void_applied, counts.correction_applied), (4, 1, 1, 2));
    let after = database.owed(None).await;
    let expected = differences(&before, &after);
    assert_eq!(told(&effects), expected);
    let periods = |period: &str| expected.iter().filter(|line| line.contains(period)).count();
    assert!(periods(" 2026-05 ") >= 2 && periods("2026-06 0 ") == 1, "{expected:?}");
    // And they are booked as it said.
    let mut booked = BTreeSet::new();
    for contract in [CONTRACT, "aws-openai"] {
        let lines = database.settle(contract, "2026-06").await.lines;
        booked.extend(lines.iter().map(|it| format!("{contract} {} {} {}", it.term, it.origin, it.amount)));
    }
    let changes = effects.iter().flat_map(|it| &it.changes);
    let shown =
        changes.map(|it| format!("{} {} {} {}", it.contract, it.term, it.origin_period, it.difference)).collect();
    assert_eq!(booked, shown);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_restores_what_was_owed_and_what_was_known_stays() {
    let database = issued_may().await;
    let before = database.owed(None).await;
    // Of what stands a void removes nothing here: that could not be taken back.
    let lines: Vec<String> = late().into_iter().filter(|line| !line.contains("\"gone\"")).collect();
    database.try_backfill("late", &lines).await;
    let (applied, known_at) = (database.owed(None).await, database.watermark().await);
    assert_ne!(applied, before);
    let untouched = database.everything().await;
    let (previewed, effects) = preview_revert(&database.pool, "late", measure).await.expect("tried").expect("measured");
    assert_eq!(database.everything().await, untouched);
    assert_eq!(told(&effects), differences(&applied, &before));
    let reverted = database.revert("late").await;
    assert_eq!(reverted, previewed);
    // Four events and a correction of what was there; one goes with its event.
    assert_eq!((reverted.voids.void_applied, reverted.gone, reverted.kept.len()), (5, 1, 0));
    assert_eq!(database.owed(None).await, before);
    assert_eq!(database.owed(Some(known_at)).await, applied);
    assert!(database.settle(CONTRACT, "2026-06").await.lines.is_empty());
    assert_eq!(database.statuses("late").await, ["applying ana", "applied ana", "reverting ben", "reverted ben"]);
    // Again: nothing changes.
    let untouched = database.everything().await;
    let again = database.revert("late").await;
    assert_eq!((again.voids, again.gone, again.kept.len()), (Counts::default(), 6, 0));
    assert_eq!(database.everything().await, untouched);
    // What was taken back keeps its ids.
    match database.try_apply("late", &lines).await {
        Err(BackfillError::NoLongerTaken { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(database.try_backfill("again", &lines).await.duplicate, 6);
    assert_eq!(database.owed(None).await, before);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_corrected_since_stays_until_that_is_voided_and_voids_stay_for_ever() {
    let database = TestDatabase::new().await;
    let tokens = |n: u64| format!(r#""quantities":{{"input_tokens":{n}}}"#);
    database.write(&[event("old", 1000, 0), event("victim", 100, 0), correction("early", "b", &tokens(3))]).await;
    let lines = [
        event("a", 1, 0),
        event("b", 1, 0),
        event("c", 1, 0),
        event("d", 1, 0),
        correction("c-own", "c", &tokens(5)),
        void("d-own", "d"),
        correction("old-own", "old", &tokens(2000)),
        correction("victim-own", "victim", &tokens(300)),
        void("victim-void", "victim-own"),
        void("foreign-void", "victim"),
        correction("waits", "never", &tokens(1)),
    ];
    database.try_backfill("mixed", &lines).await;
    // Since: one is corrected, one voided, and what the backfill corrected is corrected again.
    let since =
        [correction("c-since", "c", &tokens(7)), void("a-since", "a"), correction("old-since", "old", &tokens(3000))];
    database.write(&since).await;
    let sum = async || database.number("select sum(input_tokens)::bigint from usage_rollup").await;
    // b as corrected early, c and old as corrected since.
    assert_eq!(sum().await, 3 + 7 + 3000);
    let reverted = database.revert("mixed").await;
    let kept = |id: &str, what: Brought, why: Stays| {
        let id = apportion::domain::ids::EventId { source: "test".into(), id: id.into() };
        Kept { id, what, why }
    };
    let by_void = kept("foreign-void", Brought::Void, Stays::Void { target: "victim".into() });
    let expected = [
        kept("c", Brought::Event, Stays::CorrectedSince { by: "c-since".into() }),
        kept("c-own", Brought::Correction, Stays::WithEvent { event: "c".into() }),
        by_void.clone(),
    ];
    assert_eq!(reverted.kept, expected);
    // b and the corrections of old and of what never came; a, d, its void, victim-own and its void have no effect.
    assert_eq!((reverted.voids.void_applied, reverted.voids.void_waiting, reverted.gone), (2, 1, 5));
    assert_eq!(sum().await, 7 + 3000);
    assert_eq!(database.statuses("mixed").await.last().expect("a status"), "reverting ben");
    // Its correction is voided: then it goes, with the correction of its own.
    database.write(&[void("c-open", "c-since")]).await;
    let backfill = database.backfill("mixed").await.0;
    let stays = kept_now(&mut database.pool.acquire().await.expect("a connection"), &backfill).await.expect("told");
    assert_eq!(stays, std::slice::from_ref(&by_void));
    let rest = database.revert("mixed").await;
    assert_eq!((rest.voids.void_applied, rest.kept), (1, vec![by_void]));
    assert_eq!(sum().await, 3000);
    assert_eq!(database.statuses("mixed").await[2..], ["reverting ben", "reverting ben", "reverted ben"]);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_store_each_part_once_and_take_it_back_once() {
    let database = TestDatabase::new().await;
    let lines: Vec<String> = (0..25_000).map(|n| event(&format!("e{n}"), 1, 0)).collect();
    let (_folder, path) = file(&lines);
    let how = FileReader::default();
    let run = async || {
        let writer = database.writer().await;
        apply(&database.pool, &writer, "big", (&path, &how), &reason(), |_| {}).await
    };
    let (one, other) = tokio::join!(run(), run());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let (backfill, history, counts) = database.backfill("big").await;
    assert_eq!(counts, Counts { stored: 25_000, ..Counts::default() });
    assert_eq!((backfill.messages, backfill.events, history.len()), (25_000, 25_000, 2));
    assert_eq!(database.number("select count(*) from file_position").await, 0);
    // Once it is applied nothing happens to it.
    let untouched = database.everything().await;
    run().await.expect("nothing to do");
    assert_eq!(database.everything().await, untouched);
    let (one, other) = tokio::join!(database.revert("big"), database.revert("big"));
    assert_eq!(one.voids.void_applied + other.voids.void_applied, 25_000);
    assert_eq!(one.gone + other.gone, 25_000);
    assert_eq!(database.backfill("big").await.0.taken_back, 25_000);
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 0);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_ends_an_apply_that_goes_on() {
    let database = TestDatabase::new().await;
    let lines: Vec<String> = (0..25_000).map(|n| event(&format!("e{n}"), 1, 0)).collect();
    let (_folder, path) = file(&lines);
    let (writer, how) = (database.writer().await, FileReader::default());
    let batches = AtomicU32::new(0);
    let reason = reason();
    let apply = apply(&database.pool, &writer, "cut", (&path, &how), &reason, |_| {
        if batches.fetch_add(1, Ordering::Relaxed) == 0 {
            let database = &database;
            // In the middle of the file.
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(database.revert("cut")));
        }
    });
    match apply.await {
        Err(BackfillError::NoLongerTaken { .. }) => {}
        other => panic!("{other:?}"),
    }
    let (backfill, _, counts) = database.backfill("cut").await;
    assert_eq!((counts.stored, backfill.taken_back, batches.into_inner()), (10_000, 10_000, 1));
    assert_eq!(database.number("select count(*) from file_position").await, 0);
    assert_eq!(database.number("select sum(input_tokens)::bigint from usage_rollup").await, 0);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_gives_way_to_who_records_the_same_and_begins_anew() {
    let database = TestDatabase::new().await;
    let (_folder, path) = file(&[event("same", 5, 0), event("other", 1, 0)]);
    let how = FileReader::default();
    let tries = AtomicU32::new(0);
    let slow = async |_: &mut PgConnection, tried: &Tried| {
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            // As long as a large run may take: without giving way whoever records would wait for all of it.
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        Ok::<_, std::convert::Infallible>(tried.counts)
    };
    let record = async || {
        while tries.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let began = std::time::Instant::now();
        let counts = write_lines(&mut database.writer().await, &[event("same", 5, 0)]).await;
        assert_eq!(counts.stored, 1);
        began.elapsed()
    };
    let began = std::time::Instant::now();
    let (tried, waited) = tokio::join!(preview(&database.pool, (&path, &how), MAX_TRIED, slow), record());
    println!("who records waited {waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    // What it tells is of the last try, which knows what was recorded meanwhile; the first was broken off at once.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let (_, counts) = tried.expect("tried").expect("measured");
    assert_eq!((counts.stored, counts.duplicate), (1, 1));
    assert_eq!(database.number("select count(*) from usage_event").await, 1);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_holds_back_nobody_who_asks_what_is_known() {
    let database = TestDatabase::new().await;
    database.write(&[event("a", 1, 0)]).await;
    let (_folder, path) = file(&[event("b", 1, 0)]);
    let how = FileReader::default();
    let ask = async |_: &mut PgConnection, tried: &Tried| {
        // What comes in meanwhile is recorded, known, and none of the trial's.
        database.write(&[event("c", 1, 0)]).await;
        let known = database.watermark().await;
        let last: Instant = sqlx::query_scalar("select max(recorded_at) from usage_batch")
            .fetch_one(&database.pool)
            .await
            .expect("an instant");
        assert!(tried.after < last && last <= known, "{} {last} {known}", tried.after);
        Ok::<_, std::convert::Infallible>(())
    };
    let tried = preview(&database.pool, (&path, &how), MAX_TRIED, ask).await.expect("tried");
    assert_eq!(tried.expect("asked").0.counts.stored, 1);
    assert_eq!(database.number("select count(*) from usage_event").await, 2);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_what_would_stop_and_refuses_what_is_too_large() {
    let database = history().await;
    let input = [("input_tokens", "100000")];
    // A sale of June without June's figure: what it comes to cannot be told, of that contract.
    let (_, effects) =
        database.preview(&[usage("june", "2026-06-03T00:00:00Z", "openai-direct", "gpt-5.5", &input)]).await;
    let untold: Vec<_> = effects.iter().filter_map(|it| Some((it.contract.as_str(), it.untold.as_ref()?))).collect();
    let [(CONTRACT, untold)] = untold.as_slice() else { panic!("{untold:?}") };
    assert!(untold.stopped == Stopped::Before && untold.why.contains("Subscriptions"), "{untold:?}");
    // A sale of June is there, and one of May comes: May is told.
    database.ingest(&[usage("june", "2026-06-03T00:00:00Z", "openai-direct", "gpt-5.5", &input)]).await;
    let late = usage("may", "2026-05-03T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
    let (_, effects) = database.preview(&[late]).await;
    assert_eq!(told(&effects), [format!("{CONTRACT} revenue-share 2026-05 201 207 6 2026-05")]);
    assert_eq!(effects[0].through.to_string(), "2026-05");
    // The books begin with May: what April comes to is booked there.
    database.settle(CONTRACT, "2026-05").await;
    let april = usage("april", "2026-04-28T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
    let (_, effects) = database.preview(&[april]).await;
    assert_eq!(told(&effects), [format!("{CONTRACT} revenue-share 2026-04 0.2 6.2 6 2026-05")]);
    // Something without a price would stop it.
    let unpriced = usage("x", "2026-05-03T00:00:00Z", "openai-direct", "gpt-5.5", &[("audio_input_tokens", "1")]);
    let (_, effects) = database.preview(&[unpriced]).await;
    let untold = effects.iter().find(|it| it.contract.as_str() == CONTRACT).and_then(|it| it.untold.as_ref());
    assert!(untold.is_some_and(|it| it.stopped == Stopped::After && it.why.contains("price")), "{effects:?}");
    // Nothing but duplicates changes nothing.
    let (counts, effects) =
        database.preview(&[usage("june", "2026-06-03T00:00:00Z", "openai-direct", "gpt-5.5", &input)]).await;
    assert_eq!((counts.duplicate, effects.len()), (1, 0));
    let (_folder, path) = file(&(0..12_000).map(|n| event(&format!("e{n}"), 1, 0)).collect::<Vec<_>>());
    let how = FileReader::default();
    match preview(&database.pool, (&path, &how), 11_999, measure).await {
        Err(BackfillError::Trial(TrialError::TooMany { most: 11_999 })) => {}
        other => panic!("{other:?}"),
    }
    let all = preview(&database.pool, (&path, &how), 12_000, measure).await.expect("tried").expect("measured");
    assert_eq!(all.0.counts.stored_unresolved, 12_000);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_of_one_file_and_the_database_defends_it() {
    let database = TestDatabase::new().await;
    database.try_backfill("one", &[event("a", 1, 0)]).await;
    let other = database.try_apply("one", &[event("b", 1, 0)]).await;
    assert!(matches!(&other, Err(BackfillError::OtherFile { name, .. }) if name == "one"), "{other:?}");
    match preview_revert(&database.pool, "two", measure).await {
        Err(BackfillError::Unknown { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(database.try_apply("one", &[event("a", 1, 0)]).await, Ok(false)), "nothing is done twice");
    // One that is cut off is refused before any of it is stored.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.jsonl.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let lines: Vec<String> = (0..20_000).map(|n| event(&format!("cut{n}"), n, 0)).collect();
    std::io::Write::write_all(&mut packed, lines.join("\n").as_bytes()).expect("packed");
    let packed = packed.finish().expect("packed");
    std::fs::write(&path, &packed[..packed.len() - 9]).expect("written");
    let (writer, how) = (database.writer().await, FileReader::default());
    let cut = apply(&database.pool, &writer, "cut", (&path, &how), &reason(), |_| {}).await;
    assert!(matches!(&cut, Err(BackfillError::NotWhole(_))), "{cut:?}");
    assert_eq!(database.number("select count(*) from usage_event").await, 1);
    assert_eq!(database.number("select count(*) from backfill").await, 1);
    let status = |status: &str, sequence: i32| {
        format!("insert into backfill_status values (1, {sequence}, '{status}', now(), 'x', 'y')")
    };
    let batch = |intake: &str, backfill: &str| {
        format!(
            "insert into usage_batch (recorded_at, intake, messages, stored, stored_unresolved, duplicate, conflict,
               correction_applied, correction_waiting, void_applied, void_waiting, no_usage, rejected, backfill_id)
             values (now() + interval '1 hour', '{intake}', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {backfill})"
        )
    };
    for (sql, refused) in [
        ("update backfill set name = 'x'".to_owned(), "append-only"),
        ("delete from backfill_status".to_owned(), "append-only"),
        (status("applied", 3), "applied does not follow applied"),
        (status("reverted", 3), "reverted does not follow applied"),
        (status("applying", 3), "applying does not follow applied"),
        (status("reverting", 4), "its status changed meanwhile"),
        (batch("backfill", "1"), "no batch of intake backfill while it is applied"),
        (batch("revert", "1"), "no batch of intake revert while it is applied"),
        (batch("backfill", "9"), "no batch of intake backfill while it is not begun"),
        (batch("file", "1"), "backfill 1: no batch of intake file"),
        (batch("backfill", "null"), "backfills_are_named"),
        ("insert into backfill (name, file_name, file_digest) values ('a/b', 'f', sha256(''))".to_owned(), "name"),
    ] {
        let outcome = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&database.pool).await;
        let error = outcome.map_or_else(|error| error.to_string(), |_| panic!("accepted: {sql}"));
        assert!(error.contains(refused), "{sql}: {error}");
    }
    database.drop_it().await;
}
