//! The map: ARCHITECTURE.md names every file of `src` as it says of itself, and only paths that exist.
//!
//! A row names a file itself, or its folder first and then the files in it.

use crate::{Source, expect_none, files, root};
use std::collections::{BTreeMap, BTreeSet};

/// What stands in backticks, by line, outside fenced blocks.
fn quoted(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(|word| (index + 1, word.to_owned())));
        }
    }
    found
}

/// Whether something in backticks is a path: `src/store/`, `Cargo.toml`, but not `a::b` or `POST /v1`.
fn looks_like_path(word: &str) -> bool {
    let plain = word.chars().all(|it| it.is_alphanumeric() || "/._-".contains(it)) && !word.starts_with('/');
    let known = [".rs", ".md", ".toml", ".sql", ".yaml", ".json", ".csv"];
    let first = word.split('/').next().unwrap_or_default();
    let top = ["src", "tests", "contracts", "migrations", "scripts", "dashboards", "docs"];
    plain && (known.iter().any(|end| word.ends_with(end)) || (word.contains('/') && top.contains(&first)))
}

/// Paths of the map that are not there, and files of `src` that the map does not name.
fn map_faults(map: &Source, exists: impl Fn(&str) -> bool, sources: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (line, word) in quoted(&map.text) {
        let bare = word.trim_end_matches('/').to_owned();
        // A word of a folder's row may name one of the folder's files: `src/jobs/` | `settle`: ...
        for folder in rows.get(&line).into_iter().flatten() {
            named.extend([
                format!("{folder}/{bare}"),
                format!("{folder}/{bare}.rs"),
                format!("{folder}/{bare}/mod.rs"),
            ]);
        }
        let in_row =
            |path: &str| rows.get(&line).into_iter().flatten().any(|folder| exists(&format!("{folder}/{path}")));
        if looks_like_path(&word) {
            let below_src = format!("src/{bare}");
            if exists(&bare) || exists(&below_src) {
                for path in [&bare, &below_src] {
                    named.extend([path.clone(), format!("{path}/mod.rs")]);
                    if exists(&format!("{path}/mod.rs")) {
                        rows.entry(line).or_default().push(path.clone());
                    }
                }
            } else if !in_row(&bare) {
                findings.push(map.finding(line, format_args!("`{word}` does not exist")));
            }
        }
    }
    // Unit tests in a file of their own belong to what they test.
    let tested = |path: &str| path.replace("_tests.rs", ".rs");
    let missing = sources.iter().filter(|path| !named.contains(*path) && !named.contains(&tested(path)));
    findings.extend(missing.map(|path| format!("{path}:1: no row of {} names it", map.path)));
    findings
}

/// Rows of single files that do not say what the file's first paragraph says, or stand twice.
fn untrue_rows(map: &Source, sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, row) in map.text.lines().enumerate() {
        let cells = row.strip_prefix("| `").and_then(|row| row.strip_suffix(" |")?.split_once("` | "));
        let Some((source, said)) =
            cells.and_then(|(path, said)| Some((sources.iter().find(|source| source.path == path)?, said)))
        else {
            continue;
        };
        let paragraph: Vec<&str> =
            source.text.lines().map_while(|line| line.strip_prefix("//! ")).map(str::trim).collect();
        if paragraph.join(" ") != said {
            findings
                .push(map.finding(index + 1, format_args!("{} says of itself: {}", source.path, paragraph.join(" "))));
        }
        if !seen.insert(&source.path) {
            findings.push(map.finding(index + 1, format_args!("{} has a row before", source.path)));
        }
    }
    findings
}

#[test]
fn a_row_says_what_its_file_says() {
    let path = root().join("ARCHITECTURE.md");
    let map = Source::new("ARCHITECTURE.md", &std::fs::read_to_string(&path).expect("ARCHITECTURE.md, the map"));
    let sources = files(&["src"], "rs");
    expect_none("Rows of ARCHITECTURE.md are the first paragraphs of their files.", untrue_rows(&map, &sources));
    let source = || vec![Source::new("src/a.rs", "//! Adds\n//! things.\n//!\n//! More.\n")];
    let faults = |text: &str| untrue_rows(&Source::new("map.md", text), &source()).len();
    assert_eq!(faults("| `src/a.rs` | Adds things. |\n| `src/` | other |\n"), 0);
    assert_eq!(faults("| `src/a.rs` | Adds. |\n"), 1);
    assert_eq!(faults("| `src/a.rs` | Adds things. |\n| `src/a.rs` | Adds things. |\n"), 1);
}

#[test]
fn the_map_is_true_and_whole() {
    let path = root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).expect("ARCHITECTURE.md, the map");
    let sources: Vec<String> = files(&["src"], "rs").into_iter().map(|source| source.path).collect();
    let exists = |path: &str| root().join(path).exists();
    expect_none(
        "ARCHITECTURE.md names every file of src, and only paths that exist.",
        map_faults(&Source::new("ARCHITECTURE.md", &text), exists, &sources),
    );
}

#[test]
fn a_false_map_is_noticed() {
    let there = ["src/jobs", "src/jobs/mod.rs", "src/jobs/settle.rs", "src/lib.rs", "src/jobs/close.rs"];
    let sources: Vec<String> = there.iter().filter(|it| it.ends_with(".rs")).map(|it| it.to_string()).collect();
    let check = |text: &str, expect: usize| {
        let found = map_faults(&Source::new("map.md", text), |path| there.contains(&path), &sources);
        assert_eq!(found.len(), expect, "{found:?}");
    };
    check("| `src/lib.rs` | x |\n| `src/jobs/` | `settle`: a; `close.rs`: b |\n", 0);
    check("| `src/lib.rs` | x |\n| `src/jobs/` | `settle`: a |\n", 1);
    check(
        "| `src/lib.rs` | x |\n| `src/jobs/` | `settle`: a; `close`: b |\n| `src/gone.rs` | and `a::b`, `GET /x` |\n",
        1,
    );
}

/// Paths of the repository in backticks that do not exist, from its root or from the text's folder.
fn gone_paths(text: &Source, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = text.path.rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default();
    let is_path = |word: &str| {
        let word = word.trim_start_matches("../");
        let top = word.split('/').next().unwrap_or_default();
        word.contains('/') && TOP.contains(&top) && !word.contains([' ', '*', '<', '{'])
    };
    let is_there = |word: &str| {
        let inner = format!("{folder}/{word}");
        exists(word.trim_start_matches("../")) || exists(&inner)
    };
    let gone = quoted(&text.text).into_iter().filter(|(_, word)| is_path(word) && !is_there(word));
    gone.map(|(line, word)| text.finding(line, format_args!("`{word}` does not exist"))).collect()
}

/// The folders of which texts name files.
const TOP: [&str; 9] =
    ["src", "tests", "scripts", "migrations", "contracts", "agreements", "scenarios", "benches", "dashboards"];

#[test]
fn readmes_name_only_paths_that_exist() {
    let folders = ["README.md", "agreements", "benches", "contracts", "dashboards", "scenarios"];
    let texts = files(&folders, "md").into_iter().filter(|text| text.path.ends_with("README.md"));
    let found = texts.flat_map(|text| gone_paths(&text, |path| root().join(path).exists())).collect();
    expect_none("A README names only paths that exist.", found);
    let bad = Source::new("contracts/README.md", "`src/gone.rs`, `src/lib.rs`, `../src/gone/`, `a/b`, `x.md`\n");
    assert_eq!(gone_paths(&bad, |path| path == "src/lib.rs").len(), 2);
}
