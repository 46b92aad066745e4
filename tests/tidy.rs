//! Rules of the house that a compiler does not know: who imports whom, sizes, headings, licences, and the map.
//!
//! Each rule is a function from texts to findings (`file:line: what is wrong`), so that it is tested on a bad
//! text beside the whole tree.

#[path = "tidy/dashboards.rs"]
mod dashboards;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/json_schema.rs"]
mod json_schema;
#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/map.rs"]
mod map;
#[path = "service/panels.rs"]
mod panels;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file by its path within the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Its lines with their numbers, without what a line comment says and without unit tests.
    fn code(&self) -> Vec<(usize, String)> {
        let mut code = Vec::new();
        if self.is_test() {
            return code;
        }
        for (index, line) in self.text.lines().enumerate() {
            // House style: unit tests stand last in their file.
            if line.trim() == "#[cfg(test)]"
                && self.text.lines().nth(index + 1).is_some_and(|next| next.contains("mod tests {"))
            {
                break;
            }
            let line = line.find("//").filter(|at| !line[..*at].contains('"')).map_or(line, |at| &line[..at]);
            code.push((index + 1, line.to_owned()));
        }
        code
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("_tests.rs")
    }

    fn finding(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// The module of `src` that it belongs to: `store` for `src/store/usage.rs`, `main` for `src/main.rs`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below some folders that end in `extension`.
fn files(folders: &[&str], extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|it| it == extension) {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push(Source { path: name, text: std::fs::read_to_string(&path).expect("a text") });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no {extension} below {folders:?}");
    found
}

#[track_caller]
fn expect_none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n{}\n", findings.join("\n"));
}

/// What has no place in the pure part, and what instead.
const IMPURE: &[(&str, &str)] = &[
    ("sqlx", "SQL stands in src/store"),
    ("axum", "HTTP stands in src/http"),
    ("rdkafka", "Kafka stands in src/ingest"),
    ("tokio", "the pure part is not async"),
    ("tracing", "the pure part returns facts and logs nothing"),
    ("Utc::now", "time is passed in"),
    ("SystemTime", "time is passed in"),
    ("std::fs", "bytes are passed in"),
    ("std::env", "configuration is passed in"),
    ("f32", "no binary floats near money"),
    ("f64", "no binary floats near money"),
];

/// What a visitor of JSON has to say of a float that stands where none belongs: it is handed over, and dropped.
const DROPPED_FLOAT: &str = "fn visit_f64<E>(self, _: f64) ->";

fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn uses_of(sources: &[Source], words: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (line, text) in source.code().into_iter().filter(|(_, text)| !text.contains(DROPPED_FLOAT)) {
            for (word, why) in words.iter().filter(|(word, _)| contains_word(&text, word)) {
                findings.push(source.finding(line, format_args!("{word}: {why}")));
            }
        }
    }
    findings
}

#[test]
fn the_pure_part_is_pure() {
    let mut sources = files(&["src"], "rs");
    sources.retain(|source| ["domain", "sources"].contains(&source.module()));
    expect_none("domain and sources do no IO, know no clock and no floats.", uses_of(&sources, IMPURE));
    // Places on a page are no money: they may be floats.
    let mut drawn = files(&["src"], "rs");
    drawn.retain(|source| source.module() == "render");
    let words: Vec<_> = IMPURE.iter().filter(|(word, _)| !["f32", "f64"].contains(word)).copied().collect();
    expect_none("render does no IO and knows no clock.", uses_of(&drawn, &words));
    let bad = [Source::new("src/domain/a.rs", "// f64 in words\nlet now = Utc::now();\nfn f(x: f64) {}\n")];
    assert_eq!(uses_of(&bad, IMPURE).len(), 2);
}

fn sql_outside_the_store(sources: &[Source]) -> Vec<String> {
    let words = ["sqlx::query", "query!", "query_as!", "query_scalar!", "sqlx::raw_sql"];
    let words: Vec<(&str, &str)> = words.into_iter().map(|word| (word, "SQL stands under src/store")).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.module() != "store") {
        for (line, text) in source.code() {
            if let Some((word, why)) = words.iter().find(|(word, _)| text.contains(word)) {
                findings.push(source.finding(line, format_args!("{word}: {why}")));
            }
        }
    }
    findings
}

#[test]
fn sql_stands_under_the_store() {
    expect_none("SQL text stands under src/store and nowhere else.", sql_outside_the_store(&files(&["src"], "rs")));
    let bad = [
        Source::new("src/jobs/a.rs", "sqlx::query_scalar!(\"select 1\")\n"),
        Source::new("src/store/a.rs", "sqlx::query!()"),
    ];
    assert_eq!(sql_outside_the_store(&bad).len(), 1);
}

const MOST_LINES: usize = 500;

/// Files that may be longer, each with its reason. Functions are kept short by clippy, see clippy.toml.
const LONG_FILES: &[(&str, &str)] = &[];

fn long_files(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        let is_exception = exceptions.iter().any(|(path, _)| *path == source.path);
        if lines > MOST_LINES && !is_exception {
            findings.push(source.finding(lines, format_args!("{lines} lines are more than {MOST_LINES}; split it")));
        }
        if lines <= MOST_LINES && is_exception {
            findings.push(source.finding(lines, "is short enough now; take it off LONG_FILES"));
        }
    }
    let is_gone = |path: &&str| !sources.iter().any(|source| source.path == *path);
    findings.extend(
        exceptions
            .iter()
            .map(|(path, _)| *path)
            .filter(is_gone)
            .map(|path| format!("{path}:0: is gone; take it off LONG_FILES")),
    );
    findings
}

#[test]
fn files_are_short() {
    let sources = files(&["src", "tests"], "rs");
    expect_none("A file is read in one go.", long_files(&sources, LONG_FILES));
    let bad = [Source::new("a.rs", &"\n".repeat(501)), Source::new("b.rs", "")];
    assert_eq!(long_files(&bad, &[("b.rs", "stale"), ("c.rs", "gone")]).len(), 3);
}

fn without_heading(sources: &[Source], heading: &str) -> Vec<String> {
    let lacking = sources.iter().filter(|source| !source.text.starts_with(heading));
    lacking.map(|source| source.finding(1, format_args!("begins without `{heading}`: say what it is for"))).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    expect_none("Every Rust file begins with //!.", without_heading(&files(&["src", "tests"], "rs"), "//! "));
    expect_none("Every file of SQL begins with --.", without_heading(&sql(), "-- "));
    assert_eq!(without_heading(&[Source::new("a.rs", "use std;\n")], "//! ").len(), 1);
}

fn shouted_sql(sources: &[Source]) -> Vec<String> {
    let words: BTreeSet<&str> =
        "SELECT FROM WHERE INSERT INTO UPDATE DELETE CREATE TABLE INDEX FUNCTION TRIGGER VIEW TYPE NOT NULL \
        PRIMARY KEY REFERENCES UNIQUE CHECK DEFAULT ON CONFLICT ALTER GRANT REVOKE BEGIN END RETURNS RAISE IF THEN"
            .split_whitespace()
            .collect();
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            let code = line.split("--").next().unwrap_or_default();
            // What stands between quotes is a text, not SQL.
            let outside: String = code.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
            let words =
                outside.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|word| words.contains(word));
            findings.extend(words.map(|word| source.finding(index + 1, format_args!("{word} in upper case"))));
        }
    }
    findings
}

/// Every file of SQL: migrations, queries and what tests ask.
fn sql() -> Vec<Source> {
    let sources = files(&["migrations", "src", "tests"], "sql");
    for folder in ["migrations/", "src/store/"] {
        assert!(sources.iter().any(|source| source.path.starts_with(folder)), "no SQL below {folder}");
    }
    sources
}

#[test]
fn sql_is_lower_case() {
    expect_none("SQL keywords are written in lower case.", shouted_sql(&sql()));
    assert_eq!(shouted_sql(&[Source::new("a.sql", "-- CREATE\ncreate TABLE a (b text default 'NOT');\n")]).len(), 1);
}

/// What stands for work that is not done, or for a panic in a service.
fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    // Written in two parts, so that this file does not find itself.
    let everywhere =
        [concat!("to", "do!("), concat!("unimplem", "ented!("), concat!("db", "g!("), concat!("#[ig", "nore")];
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for word in everywhere.iter().filter(|word| line.contains(**word)) {
                findings.push(source.finding(index + 1, format_args!("{word}: finish it, or leave it out")));
            }
        }
        for (line, text) in source.code() {
            if text.contains(".unwrap()") {
                findings.push(source.finding(line, ".unwrap(): return an error"));
            }
        }
    }
    findings
}

#[test]
fn nothing_is_left_unfinished() {
    expect_none("Nothing is left for later, and no test is skipped.", unfinished(&files(&["src", "tests"], "rs")));
    let bad = format!("x.unwrap();\n{}x);\n{}]\n", concat!("db", "g!("), concat!("#[ig", "nore"));
    assert_eq!(unfinished(&[Source::new("src/a.rs", &bad)]).len(), 3);
}

/// Metric names that stand twice in `telemetry` or again elsewhere, and metrics that are made elsewhere.
fn stray_metrics(sources: &[Source]) -> Vec<String> {
    let names = |text: &str| -> Vec<String> {
        let quoted = text.split('"').skip(1).step_by(2);
        let is_name = |word: &&str| {
            word.starts_with("apportion_") && word.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
        };
        quoted.filter(is_name).map(str::to_owned).collect()
    };
    let (telemetry, others): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.path == "src/telemetry.rs");
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for source in telemetry {
        for (line, text) in source.code() {
            for name in names(&text).into_iter().filter(|name| !seen.insert(name.clone())) {
                findings.push(source.finding(line, format_args!("metric {name} stands twice")));
            }
        }
    }
    let makers = ["Opts::new(", "Counter::new(", "Gauge::new(", "Histogram::with_opts(", "Vec::new(Opts"];
    for source in others {
        for (line, text) in source.code() {
            if names(&text).iter().any(|name| seen.contains(name)) || makers.iter().any(|maker| text.contains(maker)) {
                findings.push(source.finding(line, "a metric outside src/telemetry.rs"));
            }
        }
    }
    findings
}

#[test]
fn every_metric_name_stands_once() {
    let sources = files(&["src"], "rs");
    assert!(sources.iter().any(|source| source.path == "src/telemetry.rs" && source.text.contains("\"apportion_")));
    expect_none("Metric names stand once, in src/telemetry.rs.", stray_metrics(&sources));
    let bad = [
        Source::new("src/telemetry.rs", "a(\"apportion_x_total\");\nb(\"apportion_x_total\");\n"),
        Source::new("src/http/mod.rs", "c(\"apportion_x_total\");\nIntCounter::new(\"y\");\n"),
    ];
    assert_eq!(stray_metrics(&bad).len(), 3);
}

#[test]
fn the_exceptions_have_reasons() {
    assert!(LONG_FILES.iter().all(|(path, reason)| Path::new(path).extension().is_some() && reason.len() > 20));
}
