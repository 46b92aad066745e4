//! Files: packed and laid out in every way they come to the same rows; what is cut off, interrupted or giant.

use crate::support::*;
use apportion::domain::outcome::Counts;
use apportion::ingest::file::{FileError, FileReader, Layout, Progress, ingest_file};
use apportion::ingest::writer::Writer;
use apportion::sources::{ALL_OTHERS, Format, Reader};
use apportion::store::usage_reports::{RejectionState, rejections};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Where files of a test lie, and where they are taken in.
struct Files {
    database: TestDatabase,
    writer: Writer,
    folder: TempDir,
}

impl Files {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let writer = database.writer().await;
        Self { database, writer, folder: tempfile::tempdir().expect("a folder") }
    }

    async fn read(&mut self, name: &str, bytes: &[u8], how: &FileReader) -> Result<Progress, FileError> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        ingest_file(&mut self.writer, &path, how, |_| {}).await
    }

    async fn counts(&mut self, name: &str, bytes: &[u8], how: &FileReader) -> Counts {
        self.read(name, bytes, how).await.unwrap_or_else(|error| panic!("{name}: {error}")).counts
    }

    async fn error(&mut self, name: &str, bytes: &[u8], how: &FileReader) -> String {
        match self.read(name, bytes, how).await {
            Err(error) => error.to_string(),
            Ok(progress) => panic!("{name}: {progress:?}"),
        }
    }

    /// Why the last message was rejected, and where it stands.
    async fn last_rejection(&self) -> (String, String, String) {
        let sql = "select position, reason, detail from usage_rejection order by rejection_id desc limit 1";
        sqlx::query_as(sql).fetch_one(&self.database.pool).await.expect("a rejection")
    }

    async fn positions(&self) -> i64 {
        self.database.number("select count(*) from file_position").await
    }

    async fn drop_it(self) {
        self.database.audit().await;
        self.database.drop_it().await;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("packed")
}

/// The same events as lines and as a table.
fn events(count: u64) -> (String, String) {
    let lines: Vec<String> = (0..count).map(|n| event(&format!("e{n}"), n, n % 7)).collect();
    let row = |n| format!("e{n},test,2026-05-01T00:30:00Z,east,gpt,c1,{n},{},1", n % 7);
    let rows: Vec<String> = (0..count).map(row).collect();
    let header = "id,source,time,deployment,product,customer,input_tokens,data.quantities.output_tokens,requests";
    (lines.join("\n"), format!("{header}\n{}\n", rows.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_packing_and_layout_comes_to_the_same_rows() {
    let mut files = Files::new().await;
    let how = FileReader::default();
    let (lines, table) = events(3_000);
    assert_eq!(files.counts("a.jsonl", lines.as_bytes(), &how).await.stored, 3_000);
    for (name, text) in [("a.jsonl", &lines), ("a.csv", &table)] {
        let bytes = text.as_bytes();
        for (name, packed) in [
            (name.to_owned(), bytes.to_vec()),
            (format!("{name}.gz"), gzip(bytes)),
            (format!("{name}.zst"), zstd(bytes)),
            // Packed in parts, as some programs do.
            (format!("2{name}.gz"), [gzip(&bytes[..9]), gzip(&bytes[9..])].concat()),
            (format!("2{name}.zst"), [zstd(&bytes[..9]), zstd(&bytes[9..])].concat()),
            // The first bytes tell what packs it, not its name.
            (format!("3{name}"), zstd(bytes)),
        ] {
            let counts = files.counts(&name, &packed, &how).await;
            assert_eq!((counts.messages(), counts.duplicate), (3_000, 3_000), "{name}");
        }
    }
    assert_eq!(files.positions().await, 0);
    // As a table under any name.
    let how = FileReader { layout: Some(Layout::Csv), ..how };
    let windows = format!("\u{feff}{}", table.replace('\n', "\r\n"));
    assert_eq!(files.counts("table", windows.as_bytes(), &how).await.duplicate, 3_000);
    files.drop_it().await;
}

/// What stands in a JSON object as a row of the columns.
fn row(line: &str, columns: &[&str]) -> Vec<String> {
    let object: serde_json::Value = serde_json::from_str(line).expect("an object");
    let cell = |column: &&str| match &object[*column] {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    columns.iter().map(cell).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_spans_are_the_same_as_lines_and_as_a_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/exgentic_otel_llm_spans/llm_call_spans_2294.jsonl.gz");
    let Ok(packed) = std::fs::read(&path) else {
        println!("{} is missing: real spans are not tried", path.display());
        return;
    };
    let mut files = Files::new().await;
    let reader = Reader {
        format: Format::OtelFlat,
        source: "exgentic".into(),
        zone: Some(chrono_tz::UTC),
        deployment: Some("azure".into()),
        ..Reader::default()
    };
    let how = FileReader { reader, ..FileReader::default() };
    let first = files.counts("spans.jsonl.gz", &packed, &how).await;
    assert_eq!((first.messages(), first.rejected, first.conflict), (2294, 0, 0), "{first:?}");
    let mut lines = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut lines).expect("a text");
    let columns = ["benchmark", "span_id", "start_time_iso", "operation_name", "request_model", "response_model"];
    let columns = [columns.as_slice(), &["response_id", "input_tokens", "output_tokens", "is_error"]].concat();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(&columns).expect("a header");
    for line in lines.lines() {
        table.write_record(row(line, &columns)).expect("a row");
    }
    let table = zstd(&table.into_inner().expect("a table"));
    let refused = files.error("spans.csv.zst", &table, &how).await;
    assert!(refused.contains("column \"benchmark\": otel_flat has no such field; its columns are ce_id"), "{refused}");
    for skipped in ["benchmark", ALL_OTHERS] {
        let how = FileReader { skipped_columns: vec![skipped.to_owned()], ..how.clone() };
        let again = files.counts("spans.csv.zst", &table, &how).await;
        assert_eq!((again.messages(), again.rejected, again.conflict), (2294, 0, 0), "{again:?}");
        assert_eq!((again.duplicate, again.no_usage), (first.stored + first.stored_unresolved, first.no_usage));
    }
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn litellms_records_are_read_from_their_file() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/litellm_standard_logging/records.jsonl");
    let Ok(records) = std::fs::read(&path) else {
        println!("{} is missing: real records are not tried", path.display());
        return;
    };
    let mut files = Files::new().await;
    let reader = Reader { format: Format::LiteLlm, source: "gateway".into(), ..Reader::default() };
    let how = FileReader { reader, ..FileReader::default() };
    let first = files.counts("records.jsonl", &records, &how).await;
    assert_eq!((first.messages(), first.rejected), (7, 0), "{first:?}");
    let again = files.counts("records.jsonl.zst", &zstd(&records), &how).await;
    assert_eq!(again.duplicate + again.no_usage, 7, "{again:?}");
    files.drop_it().await;
}

/// Twenty events as another program writes them (pyarrow 26): two row groups, nulls, and of each file another packing,
/// encoding and kind of timestamp. Some columns are none of ours, one of them a list.
const TABLES: [(&str, &[u8]); 4] = [
    ("plain", include_bytes!("parquet/plain.parquet")),
    ("snappy", include_bytes!("parquet/snappy.parquet")),
    ("gzip", include_bytes!("parquet/gzip.parquet")),
    ("zstd", include_bytes!("parquet/zstd.parquet")),
];

#[tokio::test(flavor = "multi_thread")]
async fn parquet_comes_to_the_same_rows_as_csv() {
    let mut files = Files::new().await;
    let row = |n: u32| {
        let customer = if n.is_multiple_of(3) { "" } else { "c1" };
        format!("p{n},test,2026-05-01T00:30:{n:02}Z,east,gpt,{customer},{n},{},1,{n}.250", 7 * n)
    };
    let rows: Vec<String> = (0..20).map(row).collect();
    let header = "id,source,time,deployment,product,customer,input_tokens,output_tokens,requests,runtime_seconds";
    let table = format!("{header}\n{}\n", rows.join("\n"));
    assert_eq!(files.counts("a.csv", table.as_bytes(), &FileReader::default()).await.stored, 20);
    let skipped = |names: &[&str]| FileReader {
        skipped_columns: names.iter().map(|it| (*it).to_owned()).collect(),
        ..FileReader::default()
    };
    for (name, bytes) in TABLES {
        let refused = files.error(name, bytes, &FileReader::default()).await;
        assert!(refused.contains("column \"note\": cloudevents has no such field"), "{refused}");
        for how in [skipped(&["note", "labels.list.element"]), skipped(&[ALL_OTHERS])] {
            let counts = files.counts(name, bytes, &how).await;
            assert_eq!((counts.messages(), counts.duplicate), (20, 20), "{name}: {counts:?}");
        }
        // Its end says where everything stands.
        let cut = files.error("cut.parquet", &bytes[..bytes.len() / 2], &skipped(&[ALL_OTHERS])).await;
        assert!(cut.contains("cut.parquet: "), "{cut}");
        let packed = files.error("packed.parquet.gz", &gzip(bytes), &FileReader::default()).await;
        assert!(packed.contains("not packed as a whole"), "{packed}");
    }
    assert_eq!(files.positions().await, 0);
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_parquet_is_an_error_that_names_the_place() {
    let mut files = Files::new().await;
    let how = FileReader { skipped_columns: vec![ALL_OTHERS.to_owned()], ..FileReader::default() };
    // Any byte may be another: the events are what they are, or something is said; nothing panics.
    let (_, bytes) = TABLES[3];
    let mut errors = 0;
    for place in (4..bytes.len()).step_by(bytes.len() / 60) {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 0xff;
        match files.read("a.parquet", &bytes, &how).await {
            Err(_) => errors += 1,
            // No row is passed over.
            Ok(progress) => assert_eq!(progress.counts.messages(), 20, "byte {place}"),
        }
    }
    assert!(errors > 20, "{errors}");
    // An offset that lies before the file.
    for ((_, table), place, byte) in [(TABLES[1], 2711, 0x7f), (TABLES[0], 3525, 219)] {
        let mut bytes = table.to_vec();
        bytes[place] = byte;
        let told = files.error("b.parquet", &bytes, &how).await;
        assert!(told.contains("begins or ends before the file does"), "{told}");
    }
    files.database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_that_is_cut_off_all_that_is_whole_is_taken_in_and_not_read_again() {
    let how = FileReader::default();
    let (lines, table) = events(25_000);
    // A header is a line of its own.
    for (name, packed, header) in [("a.jsonl.gz", gzip(lines.as_bytes()), 0), ("b.csv.zst", zstd(table.as_bytes()), 1)]
    {
        let mut files = Files::new().await;
        let cut = &packed[..packed.len() * 2 / 3];
        let told = files.error(name, cut, &how).await;
        let taken = files.database.number("select rows_taken from file_position").await;
        assert!(taken > 10_000 && taken < 25_000, "{name}: {taken}");
        assert!(told.contains(&format!("{name}, after line {}: ", taken + header)), "{told}");
        assert_eq!(files.database.counts().await["stored"], taken);
        // Read again it says the same, and nothing of it was read again.
        assert_eq!(files.error(name, cut, &how).await, told);
        assert_eq!(files.database.counts().await["messages"], taken);
        let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
        command.args(["ingest", "--format", "json"]).arg(files.folder.path().join(name));
        let ended = command.env("DATABASE_URL", &files.database.url).output().expect("it starts");
        let report: Value = serde_json::from_slice(&ended.stdout).expect("a report, though the file is cut off");
        assert_eq!((ended.status.code(), &report["rows_before"]), (Some(3), &json!(taken)), "{report}");
        // Read in another way it is another file: no line of it is a span.
        let spans = Reader { format: Format::OtelFlat, source: "s".into(), ..Reader::default() };
        let spans = FileReader { reader: spans, layout: Some(Layout::Lines), ..FileReader::default() };
        files.error(name, cut, &spans).await;
        assert_eq!(files.database.counts().await["rejected"], taken + header);
        // So is the whole file.
        let counts = files.counts(name, &packed, &how).await;
        assert_eq!((counts.stored as i64, counts.duplicate as i64), (25_000 - taken, taken));
        files.drop_it().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_file_goes_on_where_it_stopped() {
    let mut files = Files::new().await;
    let (_, table) = events(25_000);
    let path = files.folder.path().join("a.csv");
    std::fs::write(&path, &table).expect("written");
    // It stops after its first batch, as if it had been killed.
    let database = &files.database;
    let stopped = {
        let mut writer = database.writer().await;
        let (path, (told, hears)) = (path.clone(), tokio::sync::oneshot::channel());
        let mut told = Some(told);
        let running = tokio::spawn(async move {
            let first = |_: &Progress| {
                told.take().map(|told| told.send(()));
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            };
            ingest_file(&mut writer, &path, &FileReader::default(), first).await
        });
        hears.await.expect("a batch");
        running.abort();
        running.await
    };
    assert!(stopped.is_err_and(|error| error.is_cancelled()));
    let before = database.number("select rows_taken from file_position").await;
    assert_eq!((before % 10_000, database.counts().await["stored"]), (0, before));
    let on = ingest_file(&mut files.writer, &path, &FileReader::default(), |_| {}).await.expect("read");
    assert_eq!((on.rows, on.rows_before as i64, on.place), (25_000, before, 25_001));
    assert_eq!((on.counts.stored as i64, on.counts.duplicate), (25_000 - before, 0));
    assert_eq!(files.positions().await, 0);
    // It ended: read again, it is read from its start.
    assert_eq!(files.counts("a.csv", table.as_bytes(), &FileReader::default()).await.duplicate, 25_000);
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carriage_return_where_a_giant_line_is_cut_is_not_its_end() {
    let mut files = Files::new().await;
    let how = FileReader::default();
    let most = Format::CloudEvents.max_bytes();
    for start in [event("e1", 1, 1), String::new()] {
        let blanks = " ".repeat(most - start.len());
        let text = format!("{start}{blanks}\r{}\n{}\n", event("lost", 1, 1), event("e2", 1, 1));
        let counts = files.counts("a.jsonl", text.as_bytes(), &how).await;
        assert_eq!((counts.messages(), counts.rejected), (2, 1));
        assert_eq!(files.last_rejection().await.1, "message_too_large");
    }
    // At the end of a line that is as long as may be it is.
    let longest = event("e3", 1, 1);
    let text = format!("{longest}{}\r\n", " ".repeat(most - longest.len()));
    assert_eq!(files.counts("b.jsonl", text.as_bytes(), &how).await.stored, 1);
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_giant_or_do_not_fit_are_rejected_where_they_stand() {
    let mut files = Files::new().await;
    let how = FileReader::default();
    let (_, table) = events(1);
    // A quoted line end and comma, a row of one cell more, an empty line, a giant cell, and one of it all.
    let giant = "x".repeat(5 << 20);
    let more = [
        "\"e,\n1\",test,2026-05-01T00:30:00Z,east,gpt,\"c \"\"1\"\"\",1,2,1",
        "e2,test,2026-05-01T00:30:00Z,east,gpt,c1,1,2,1,",
        "",
        &format!("e3,test,2026-05-01T00:30:00Z,east,gpt,\"{giant}\",1,2,1"),
        "e4,test,noon,east,gpt,c1,1,2,1",
    ];
    let text = format!("{table}{}\n", more.join("\r\n"));
    let counts = files.counts("a.csv", text.as_bytes(), &how).await;
    assert_eq!((counts.stored, counts.rejected), (2, 3));
    let sql = "select position || ' ' || reason from usage_rejection order by rejection_id";
    let told: Vec<String> = sqlx::query_scalar(sql).fetch_all(&files.database.pool).await.expect("rejections");
    assert_eq!(told, ["a.csv:5 wrong_packing", "a.csv:7 message_too_large", "a.csv:8 wrong_time"]);
    let customer = "select count(*) from usage_customer where customer = 'c \"1\"'";
    assert_eq!(files.database.number(customer).await, 1);
    // A quotation that never ends has the rest of the file in it, and the memory never has.
    let open = format!("{table}e5,\"{}", "a line\n".repeat(1 << 20));
    let counts = files.counts("b.csv", open.as_bytes(), &how).await;
    assert_eq!((counts.duplicate, counts.rejected), (1, 1));
    assert_eq!(files.last_rejection().await.1, "message_too_large");
    // Tables without a header that is one, or without a column that each row needs.
    let cut = table.replacen("deployment", "country", 1);
    let told = files.error("cut.csv", cut.as_bytes(), &how).await;
    assert!(told.ends_with("cut.csv:1: no column deployment, without which cloudevents has no record"), "{told}");
    assert!(files.error("c.csv", b"", &how).await.contains("the first row of CSV names the columns"));
    assert!(files.error("d.csv", giant.as_bytes(), &how).await.contains("too long to be one"));
    let told = files.error("e.csv", b"id;source\n", &how).await;
    assert!(
        told.contains("column \"id;source\": cloudevents has no such field; its columns are id, source, "),
        "{told}"
    );
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_one_message_and_a_line_several_records() {
    let mut files = Files::new().await;
    let bucket = |start: u64, model: &str| {
        format!(
            r#"{{"object":"bucket","start_time":{start},"end_time":{},"results":[{{
              "object":"organization.usage.completions.result","input_tokens":10,"input_cached_tokens":4,
              "output_tokens":5,"num_model_requests":2,"model":"{model}"}}]}}"#,
            start + 86_400
        )
    };
    let page = format!(
        "{{\n  \"object\": \"page\",\n  \"data\": [{},{}]\n}}\n",
        bucket(1_777_593_600, "gpt"),
        bucket(1_777_680_000, "gpt")
    );
    let reader = Reader {
        format: Format::OpenAiUsage,
        source: "openai".into(),
        deployment: Some("east".into()),
        ..Reader::default()
    };
    let whole = FileReader { reader: reader.clone(), layout: Some(Layout::Whole), ..FileReader::default() };
    let counts = files.counts("page.json", page.as_bytes(), &whole).await;
    assert_eq!((counts.messages(), counts.stored), (2, 2), "{counts:?}");
    let line = page.replace('\n', " ").replace("\"start_time\":1777680000", "\"start_time\":\"noon\"");
    let lines = FileReader { reader, ..FileReader::default() };
    let counts = files.counts("pages.jsonl", line.as_bytes(), &lines).await;
    assert_eq!((counts.duplicate, counts.rejected), (1, 1), "{counts:?}");
    assert_eq!(files.last_rejection().await.0, "pages.jsonl:1#2");
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_id_is_given_one_beside_its_fields() {
    let mut files = Files::new().await;
    let reader = Reader {
        format: Format::BedrockConverse,
        source: "aws".into(),
        deployment: Some("east".into()),
        product: Some("gpt".into()),
        ..Reader::default()
    };
    let how = FileReader { reader, ..FileReader::default() };
    let line =
        r#"{"ce_id":"r1","ce_time":"2026-05-01T00:30:00Z","usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;
    assert_eq!(files.counts("a.jsonl", line.as_bytes(), &how).await.stored, 1);
    let table = "usage.inputTokens,ce_time,usage.outputTokens,ce_id,usage.totalTokens\n7,2026-05-01T00:30:00Z,2,r1,9\n";
    assert_eq!(files.counts("a.csv", table.as_bytes(), &how).await.duplicate, 1);
    let bare = r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;
    assert_eq!(files.counts("b.jsonl", bare.as_bytes(), &how).await.rejected, 1);
    assert_eq!(files.last_rejection().await.2, "id: missing; neither the record nor its carrier says");
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_record_is_listed_once_with_what_became_of_it() {
    let mut files = Files::new().await;
    let how = FileReader::default();
    let (right, void_of_it) = (event("e2", 1, 1), void("v1", "e2"));
    let wrong = right.replace("\"requests\":1", "\"requests\":-1");
    let wrong_void = void_of_it.replace("\"voids\"", "\"void\"");
    let text = format!("{}\n{wrong}\n{wrong_void}\nno json\n", event("e1", 1, 1));
    for _ in 0..2 {
        files.counts("a.jsonl", text.as_bytes(), &how).await;
    }
    let other = text.replace("no json", "no JSON!");
    files.counts("a.jsonl", other.as_bytes(), &how).await;
    let listed = async |files: &Files| -> Vec<(String, i64, RejectionState)> {
        let found = rejections(&files.database.pool, None, None, 10).await.expect("a list");
        found.into_iter().map(|it| (it.position, it.times, it.state)).collect()
    };
    let all = |state| {
        let known = [("a.jsonl:4", 1, RejectionState::Open), ("a.jsonl:3", 3, state), ("a.jsonl:2", 3, state)];
        [known.as_slice(), &[("a.jsonl:4", 2, RejectionState::Open)]].concat()
    };
    let owned = |rows: Vec<(&str, i64, RejectionState)>| -> Vec<_> {
        rows.into_iter().map(|(position, times, state)| (position.to_owned(), times, state)).collect()
    };
    assert_eq!(listed(&files).await, owned(all(RejectionState::Open)));
    // Sent again, mended, they came in.
    files.counts("b.jsonl", format!("{right}\n{void_of_it}\n").as_bytes(), &how).await;
    assert_eq!(listed(&files).await, owned(all(RejectionState::CameIn)));
    // Read once more, the faults are the same ones; and of an id that stood before, nothing came in.
    let standing = event("e1", 1, 1).replace("\"requests\":1", "\"requests\":-1");
    files.counts("c.jsonl", format!("{standing}\n").as_bytes(), &how).await;
    files.counts("a.jsonl", text.as_bytes(), &how).await;
    let states: Vec<_> = listed(&files).await.into_iter().map(|(_, times, state)| (times, state)).collect();
    let (open, came_in) = (RejectionState::Open, RejectionState::CameIn);
    assert_eq!(states, [(3, open), (4, came_in), (4, came_in), (1, open), (1, open)]);
    let page = rejections(&files.database.pool, None, Some(4), 10).await.expect("a list");
    assert!(page.is_empty(), "a record is on the page of its last rejection alone: {page:?}");
    // Dashboards show the same.
    let sql = "select position, times, state from reporting.rejected_record order by rejection_id desc";
    let shown: Vec<(String, i64, String)> = sqlx::query_as(sql).fetch_all(&files.database.pool).await.expect("a list");
    let listed = listed(&files).await.into_iter().map(|(position, times, state)| (position, times, state.to_string()));
    assert_eq!(shown, listed.collect::<Vec<_>>());
    files.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_one_batch_a_rejected_record_came_in_by_another_alone() {
    let mut files = Files::new().await;
    let (right, void_of_it) = (event("e1", 1, 1), void("v1", "e1"));
    let wrong = right.replace("\"requests\":1", "\"requests\":-1");
    let wrong_void = void_of_it.replace("\"voids\"", "\"void\"");
    // The last waits for what turns out to be a void, and is refused itself; nothing else came under its id.
    let lines = [wrong, right, wrong_void, void_of_it, void("v3", "v2"), void("v2", "e2")];
    let counts = files.counts("a.jsonl", lines.join("\n").as_bytes(), &FileReader::default()).await;
    assert_eq!((counts.rejected, counts.stored, counts.void_applied, counts.void_waiting), (2, 1, 1, 2), "{counts:?}");
    assert_eq!(files.database.number("select count(distinct batch_id) from usage_rejection").await, 1);
    let found = rejections(&files.database.pool, None, None, 10).await.expect("a list");
    let mut states: Vec<_> = found.into_iter().map(|it| (it.position, it.state)).collect();
    states.sort();
    let (open, came_in) = (RejectionState::Open, RejectionState::CameIn);
    let expected = [("a.jsonl:1", came_in), ("a.jsonl:3", came_in), ("a.jsonl:5", open)];
    assert_eq!(states, expected.map(|(position, state)| (position.to_owned(), state)));
    files.drop_it().await;
}
