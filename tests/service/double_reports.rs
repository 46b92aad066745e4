//! Double reports on a real database: replies that several events report are found once each, whatever runs beside it, and
//! end by voids, corrections and waivers; what was known stays.
//!
//! A million output tokens of gpt-5.5 are charged 30 USD on Azure and 33 on AWS.

use crate::api_client::Api;
use crate::books::*;
use crate::jobs::{IMPATIENT, schedule};
use crate::support::{TestDatabase, correction, event, void, write_lines};
use apportion::domain::access::Scope;
use apportion::domain::double_report::DoubleReport;
use apportion::domain::period::Instant;
use apportion::domain::schedule::Job;
use apportion::ingest::file::{FileReader, ingest_file};
use apportion::ingest::messages::Position;
use apportion::jobs::archive;
use apportion::jobs::double_reports::{list_open, look};
use apportion::jobs::schedule::tick;
use apportion::sources::cloudevents::decode_structured;
use apportion::sources::{Format, Reader};
use apportion::store::double_reports::{append, find_repeated, load_watch};
use apportion::store::offline_usage::{ChangeReason, HourFilter};
use apportion::store::usage_rows::Intake;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

const AZURE: &str = "azure-openai-eastus";
const AWS: &str = "bedrock-us-east-1";

/// An event that reports a reply.
fn telling(event: &str, reply: &str) -> String {
    event.replacen(r#""data":{"#, &format!(r#""data":{{"reply_id":"{reply}","#), 1)
}

/// A million output tokens of gpt-5.5 at a deployment, and of which reply.
fn million(id: &str, deployment: &str, reply: &str) -> String {
    telling(&usage(id, "2026-05-10T17:00:00Z", deployment, "gpt-5.5", &[("output_tokens", "1000000")]), reply)
}

impl TestDatabase {
    /// The double reports that are open, after the job has looked.
    async fn double_reports(&self) -> Vec<DoubleReport> {
        look(&self.pool).await.expect("looked").expect("more is known");
        self.known_double_reports(self.watermark().await).await
    }

    async fn known_double_reports(&self, known_at: Instant) -> Vec<DoubleReport> {
        list_open(&self.pool, known_at, None, usize::MAX).await.unwrap_or_else(|error| panic!("{error}"))
    }

    fn finding(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.arg("finding").args(arguments).env("DATABASE_URL", &self.url).env_remove("APPORTION_USER");
        let output = command.output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

/// The ids of the events of each report, those with a star that are suspected.
fn told(reports: &[DoubleReport]) -> Vec<String> {
    let events = |report: &DoubleReport| {
        let told = report.events.iter().map(|it| if it.is_suspected { format!("{}*", it.id) } else { it.id.clone() });
        told.collect::<Vec<_>>().join(" ")
    };
    reports.iter().map(events).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_real_spans_the_five_that_a_cache_answered_are_found() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/exgentic_otel_llm_spans/llm_call_spans_2294.jsonl.gz");
    let Ok(packed) = std::fs::read(&path) else {
        println!("{} is missing: real spans are not tried", path.display());
        return;
    };
    let database = TestDatabase::new().await;
    let zone = Some(chrono_tz::UTC);
    let deployment = Some("azure".to_owned());
    let reader = Reader { format: Format::OtelFlat, source: "exgentic".into(), zone, deployment, ..Reader::default() };
    let how = FileReader { reader, ..FileReader::default() };
    for duplicate in [0, 2_294] {
        let counts = ingest_file(&mut database.writer().await, &path, &how, |_| {}).await.expect("taken in").counts;
        assert_eq!((counts.messages(), counts.duplicate), (2_294, duplicate));
        let found = database.double_reports().await;
        assert_eq!(found.len(), 5, "{found:#?}");
        for report in &found {
            let [first, second] = report.events.as_slice() else { panic!("{report:#?}") };
            assert_eq!((first.is_suspected, second.is_suspected), (false, true));
            assert_eq!(first.quantities, second.quantities);
            assert!(first.id != second.id);
        }
    }
    assert_eq!(database.number("select count(*) from usage_reply").await, 2_294 - 148);
    // As the raw file has them, and nowhere in the clear.
    let mut lines = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut lines).expect("a text");
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a span")).collect();
    let mut once = BTreeSet::new();
    let twice: BTreeSet<&str> =
        rows.iter().filter_map(|row| row["response_id"].as_str()).filter(|id| !once.insert(*id)).collect();
    let spans: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row["response_id"].as_str().is_some_and(|id| twice.contains(id)))
        .filter_map(|row| row["span_id"].as_str())
        .collect();
    let found = database.double_reports().await;
    assert_eq!(found.iter().flat_map(|it| &it.events).map(|it| it.id.as_str()).collect::<BTreeSet<_>>(), spans);
    let listed = serde_json::to_string(&found).expect("JSON");
    assert!(twice.iter().all(|reply| !listed.contains(reply)));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_two_clouds_report_after_a_fail_over_counts_once_when_it_is_voided() {
    let database = TestDatabase::empty().await;
    database.apply(shipped().as_path()).await;
    let (first, second) = (million("on-azure", AZURE, "call-1"), million("on-aws", AWS, "call-1"));
    let alone = million("alone", AZURE, "call-2");
    // Parts of one call are two events with one reply, and no double; neither is what tells of no reply.
    let part = |id: &str, meter: &str| {
        telling(&usage(id, "2026-05-10T17:00:00Z", AZURE, "gpt-5.5", &[(meter, "10")]), "call-3")
    };
    let parts = [part("input", "input_tokens"), part("output", "output_tokens")];
    let silent = usage("silent", "2026-05-10T17:00:00Z", AZURE, "gpt-5.5", &[("output_tokens", "1000000")]);
    let all = [&[first.clone(), alone, silent], parts.as_slice()].concat();
    assert_eq!(database.ingest(&all).await.stored, 5);
    assert!(database.double_reports().await.is_empty());
    // The same event again is a duplicate, whichever reply it tells, and no finding.
    let again = [first.clone(), first.replace("call-1", "call-2")];
    assert_eq!(database.ingest(&again).await.duplicate, 2);
    assert!(database.double_reports().await.is_empty());
    database.ingest(&[second]).await;
    let before_the_look = database.watermark().await;
    let found = database.double_reports().await;
    assert_eq!(told(&found), ["on-azure on-aws*"]);
    let report = &found[0];
    let places: Vec<_> =
        report.events.iter().map(|it| (it.source.as_str(), it.cloud.as_deref(), it.deployment.as_str())).collect();
    assert_eq!(places, [("test", Some("azure"), AZURE), ("test", Some("aws"), AWS)]);
    let amounts: Vec<String> = report.amounts.iter().map(|(currency, it)| format!("{it} {currency}")).collect();
    assert_eq!((amounts, report.unpriced), (vec!["33 USD".to_owned()], false));

    let (status, listed, _) = database.finding(&["list"]);
    assert_eq!(status, Some(0));
    for named in [&report.id, "on-aws", "suspected", "33.00 USD"] {
        assert!(listed.contains(named), "{named}: {listed}");
    }
    let (_, listed, _) = database.finding(&["list", "microsoft-openai", "--format", "json"]);
    assert!(!listed.contains("double_reports"), "{listed}");
    // The line that is told counts the call once; taken in twice it is one.
    let (status, shown, _) = database.finding(&["show", &report.id]);
    let voids: Vec<String> = shown.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    assert_eq!((status, voids.len()), (Some(0), 1), "{shown}");
    let looked = database.watermark().await;
    assert_eq!(database.ingest(&voids).await.void_applied, 1);
    assert_eq!(database.ingest(&voids).await.duplicate, 1);
    assert!(database.double_reports().await.is_empty());
    let (_, shown, _) = database.finding(&["show", &report.id]);
    assert!(shown.contains("Nothing of it is suspected"), "{shown}");
    // And so does that of one that comes later.
    database.ingest(&[million("on-google", "vertex-us-central1", "call-1")]).await;
    assert_eq!(told(&database.double_reports().await), ["on-azure on-google*"]);
    let (_, shown, _) = database.finding(&["show", &report.id]);
    let voids: Vec<String> = shown.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    assert_eq!(database.ingest(&voids).await.void_applied, 1);
    assert!(database.double_reports().await.is_empty());
    // What was known stays: before anybody looked, before it was voided, and since.
    assert!(database.known_double_reports(before_the_look).await.is_empty());
    assert_eq!(database.known_double_reports(looked).await, found);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_more_than_a_hundred_events_tell_is_no_replys_id() {
    let database = TestDatabase::new().await;
    let told_by = |ids: std::ops::Range<u32>| -> Vec<String> {
        ids.map(|n| telling(&event(&format!("e{n}"), 10, 5), "unknown")).collect()
    };
    database.write(&told_by(0..100)).await;
    let before = database.double_reports().await;
    assert_eq!((before.len(), before[0].events.len()), (1, 100));
    let known = database.watermark().await;
    database.write(&told_by(100..101)).await;
    assert!(database.double_reports().await.is_empty());
    // What was known then stays.
    assert_eq!(database.known_double_reports(known).await, before);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_archived_is_named_and_hides_no_other() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().expect("a folder"));
    let one = |id: &str, reply: &str| telling(&event(id, 10, 5), reply);
    database.write(&[one("a", "x")]).await;
    archive::seal(&database.pool).await.expect("sealed");
    archive::write(&database.pool, folder.path(), 1, "ana", |_| {}).await.expect("written");
    let why = ChangeReason { by: "ana", why: "old" };
    archive::take_offline(&database.pool, folder.path(), 1, false, why, |_| {}).await.expect("dropped");
    database.write(&[one("b", "x"), one("c", "y"), one("d", "y")]).await;
    let open = database.double_reports().await;
    assert_eq!(told(&open).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["b", "c d*"].map(str::to_owned)));
    let archived = open.iter().find(|it| it.events.len() == 1).expect("of x");
    let hours: Vec<String> = archived.archived_hours.iter().map(ToString::to_string).collect();
    assert_eq!(hours, ["2026-05-01 00:00:00 UTC"]);
    let (status, listed, _) = database.finding(&["list"]);
    assert!(status == Some(0) && listed.contains("archived"), "{listed}");
    // What it is charged for cannot be told.
    let (status, _, complaint) = database.finding(&["show", &archived.id]);
    assert_eq!((status, complaint.contains("2026-05-01T00:00:00Z")), (Some(4), true), "{complaint}");
    archive::bring_back(&database.pool, folder.path(), 1, &HourFilter::default(), why, |_| {}).await.expect("back");
    let open = database.double_reports().await;
    assert_eq!(told(&open).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["a b*", "c d*"].map(str::to_owned)));
    database.drop_it().await;
}

/// A gateway whose callback tells the reply's id as its event's own, and the provider's reply, which parts the counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_the_provider_report_one_reply_each_in_its_own_words() {
    let database = TestDatabase::new().await;
    let reader = |format, source: &str| Reader {
        format,
        source: source.to_owned(),
        deployment: Some("east".to_owned()),
        product: Some("gpt".to_owned()),
        ..Reader::default()
    };
    let of_gateway = |id: &str, counts: Value| {
        json!({"specversion": "1.0", "type": "litellm_tokens", "source": "litellm-proxy", "id": id, "subject": "c",
            "time": "2026-05-01T00:30:01Z", "data": counts})
    };
    let call = json!({"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37});
    let count = |kind: &str, tokens: u32| json!({"type": kind, "tokens": tokens});
    let gateway = [
        of_gateway("chatcmpl-1", call),
        // Ids of single counts are of no reply.
        of_gateway("chatcmpl-2", count("input", 30)),
    ];
    let of_provider = |id: &str| {
        json!({"id": id, "object": "chat.completion", "created": 1_777_595_400, "usage": {"prompt_tokens": 30,
            "completion_tokens": 7, "total_tokens": 37, "prompt_tokens_details": {"cached_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 5}}})
    };
    let provider = [of_provider("chatcmpl-1"), of_provider("chatcmpl-2")];
    let doors = [(reader(Format::OpenMeter, ""), gateway), (reader(Format::OpenAiChat, "openai"), provider)];
    for (reader, records) in doors {
        let (folder, how) = (tempfile::tempdir().expect("a folder"), FileReader { reader, ..FileReader::default() });
        let path = folder.path().join("records.jsonl");
        std::fs::write(&path, records.map(|record| record.to_string()).join("\n")).expect("written");
        let counts = ingest_file(&mut database.writer().await, &path, &how, |_| {}).await.expect("taken in").counts;
        assert_eq!(counts.stored, 2, "{counts:?}");
    }
    let found = database.double_reports().await;
    let sources: Vec<&str> = found.iter().flat_map(|it| &it.events).map(|it| it.source.as_str()).collect();
    assert_eq!((told(&found), sources), (vec!["chatcmpl-1 chatcmpl-1*".to_owned()], vec!["litellm-proxy", "openai"]));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waived_counts_and_a_later_report_is_suspected_anew() {
    let database = TestDatabase::empty().await;
    database.apply(shipped().as_path()).await;
    let api = Api::of(&database.pool).await;
    let key = api.key("ben", Scope::ALL, None).await;
    let list = "/api/v1/findings/double-reports";
    database.ingest(&[million("a", AZURE, "x"), million("b", AWS, "x"), million("c", AWS, "y")]).await;
    database.ingest(&[million("d", AZURE, "y")]).await;
    let ran = tick(&database.pool, &schedule(), Job::FindDoubleReports, chrono::Utc::now(), IMPATIENT).await;
    let ran = ran.expect("a tick");
    assert_eq!(ran[0].detail.as_deref(), Some("replies that more than one event reports: 2"));
    // In pages they are the same two, as known at the first one's instant.
    let first = api.get(&format!("{list}?limit=1"), &key).await.json();
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = api.get(&format!("{list}?limit=1&cursor={cursor}"), &key).await.json();
    let whole = api.get(list, &key).await.json();
    assert_eq!(whole["items"], json!([first["items"][0], second["items"][0]]));
    assert_eq!((&second["known_at"], second["next_cursor"].as_str()), (&first["known_at"], None));
    let of = |id: &str| {
        let items = whole["items"].as_array().expect("items").iter();
        items.clone().find(|it| it["events"][0]["id"] == id).expect("a report")["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let known = first["known_at"].as_str().expect("an instant").to_owned();
    let (waived, other) = (format!("{list}/{}", of("a")), of("c"));
    // What came since then, and nobody has seen, is not covered.
    database.ingest(&[million("e", AZURE, "x")]).await;
    let body = json!({"reason": "asked twice, and answered twice", "known_at": known});
    let waiver = api.post(&format!("{waived}/waivers"), &key, &body).await;
    assert_eq!((waiver.status, &waiver.json()["waived_by"]), (200, &json!("ben")), "{waiver:?}");
    let open = database.double_reports().await;
    assert_eq!(
        told(&open).into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["a b e*".to_owned(), "c d*".to_owned()])
    );
    let (status, _, complaint) =
        database.finding(&["waive", &of("a"), "--by", "ana", "--reason", "and once more", "--known-at", &known]);
    assert_eq!(status, Some(3), "{complaint}");
    assert_eq!(api.post(&format!("{waived}/waivers"), &key, &body).await.status, 409);
    let (status, said, _) = database.finding(&["waive", &of("a"), "--by", "ana", "--reason", "and once more"]);
    assert!(status == Some(0) && said.starts_with("Waived: each event"), "{said}");
    assert_eq!(told(&database.double_reports().await), ["c d*"]);
    let details = api.get(&waived, &key).await.json();
    assert_eq!(details["waivers"].as_array().map(Vec::len), Some(2), "{details}");
    // A reader sees it and does not decide; what is no id is not found.
    let reader = api.key("eve", &[Scope::Read], None).await;
    let waive = |id: &str| format!("{list}/{id}/waivers");
    let body = json!({"reason": "no"});
    assert_eq!(api.get(&waived, &reader).await.status, 200);
    assert_eq!(api.post(&waive(&other), &reader, &body).await.status, 403);
    for unknown in ["0", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(api.get(&format!("{list}/{unknown}"), &key).await.status, 404);
        assert_eq!(api.post(&waive(unknown), &key, &body).await.status, 404);
    }
    // As known before, all of it is as it was.
    assert_eq!(api.get(&format!("{list}?known_at={known}"), &key).await.json()["items"], whole["items"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_corrected_or_reverted_is_a_double_no_more() {
    let database = TestDatabase::new().await;
    let one = |id: &str, reply: &str| telling(&event(id, 10, 5), reply);
    database.write(&[one("a", "x"), one("b", "y"), one("c", "z")]).await;
    database.try_backfill("again", &[one("a2", "x"), one("b2", "y")]).await;
    database.write(&[one("c2", "z")]).await;
    let reports = |open: &[DoubleReport]| told(open).into_iter().collect::<BTreeSet<_>>();
    let before = database.double_reports().await;
    assert_eq!(reports(&before), BTreeSet::from(["a a2*", "b b2*", "c c2*"].map(str::to_owned)));
    let known = database.watermark().await;
    // Of c2 the count was wrong; the file is taken back, all of it.
    database.write(&[correction("w", "c2", r#""quantities":{"input_tokens":11,"output_tokens":5}"#)]).await;
    assert_eq!(reports(&database.double_reports().await), BTreeSet::from(["a a2*", "b b2*"].map(str::to_owned)));
    database.revert("again").await;
    assert!(database.double_reports().await.is_empty());
    // Once the correction is voided it is one again, and what is voided first of all leaves the other.
    database.write(&[void("v", "w")]).await;
    assert_eq!(told(&database.double_reports().await), ["c c2*"]);
    database.write(&[void("v2", "c")]).await;
    assert!(database.double_reports().await.is_empty());
    assert_eq!(database.known_double_reports(known).await, before);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_found_once_by_two_jobs_after_a_crash_and_in_late_batches() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    // More batches than are looked at in one step; the second reports come in batches of their own.
    let one = |side: &str, n: u32| telling(&event(&format!("{side}{n}"), 10, 5), &format!("reply-{n}"));
    for side in ["cloud", "gateway"] {
        for n in 0..120 {
            write_lines(&mut writer, &[one(side, n)]).await;
        }
    }
    // A job that dies after it has looked leaves nothing behind.
    let (start, until) = (load_watch(&database.pool).await.expect("a watch"), database.watermark().await);
    assert_eq!(find_repeated(&database.pool, start, until).await.expect("found").len(), 120);
    let (left, right) = tokio::join!(look(&database.pool), look(&database.pool));
    let counts = [left, right].map(|found| found.expect("looked").unwrap_or_default());
    assert_eq!(counts.iter().sum::<usize>(), 120, "{counts:?}");
    assert_eq!(database.number("select count(*) from double_report").await, 120);
    // One that was overtaken writes nothing.
    let found = find_repeated(&database.pool, start, until).await.expect("found");
    assert!(found.is_empty(), "they are found already");
    assert!(!append(&database.pool, start, until, &found).await.expect("refused"));

    // A batch that is slow to commit: others are recorded and looked at meanwhile, and it is found when it is there.
    let late = database.writer().await;
    let position = Position::File { name: "late".into(), line: 1, record: 1 };
    let messages = late.messages([(position, decode_structured(one("late", 0).as_bytes()))]);
    let mut slow = database.pool.begin().await.expect("a transaction");
    let stored = late.write_on(&mut slow, &messages, None, Intake::File).await.expect("written");
    write_lines(&mut writer, &[one("other", 500)]).await;
    look(&database.pool).await.expect("looked");
    slow.commit().await.expect("committed");
    late.committed(stored).await;
    write_lines(&mut writer, &[one("again", 500)]).await;
    let open = database.double_reports().await;
    let told = told(&open).into_iter().collect::<BTreeSet<_>>();
    assert!(told.contains("cloud0 gateway0* late0*") && told.contains("other500 again500*"), "{told:?}");
    assert_eq!((open.len(), look(&database.pool).await.expect("looked")), (121, Some(0)));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_what_would_change_what_was_found() {
    let database = TestDatabase::new().await;
    database.write(&[telling(&event("a", 1, 1), "x"), telling(&event("b", 1, 1), "x")]).await;
    database.write(&[telling(&event("c", 1, 1), "y")]).await;
    assert_eq!(database.double_reports().await.len(), 1);
    for (sql, why) in [
        (
            "insert into double_report select reply_key, now() + interval '1 hour' from usage_reply group by 1 having count(*) = 1",
            "one event reports a reply",
        ),
        (
            "insert into double_report_waiver (reply_key, cutoff, recorded_at, waived_by, reason)
          select reply_key, recorded_at - interval '1 hour', recorded_at, 'ana', 'why' from double_report",
            "was handed out already",
        ),
        (
            "insert into usage_reply select reply_key, gen_random_uuid(), batch_id from usage_reply",
            "of no batch, or later",
        ),
        ("insert into usage_reply select reply_key, event_key, 99 from usage_reply", "of no batch, or later"),
        ("update usage_reply set reply_key = event_key", "append-only"),
        ("delete from double_report", "append-only"),
        ("delete from double_report_waiver", "append-only"),
        ("update double_report_watch set known_at = 'epoch'", "only moves forward"),
        ("delete from double_report_watch", "only moves forward"),
    ] {
        let refused = sqlx::query(sql).execute(&database.pool).await.expect_err(sql).to_string();
        assert!(refused.contains(why), "{sql}: {refused}");
    }
    database.drop_it().await;
}
