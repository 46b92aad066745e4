//! Who imports whom: the table of ARCHITECTURE.md is the rule, and within the domain the order of its `mod.rs`.

use crate::{Source, expect_none, files, root};
use std::collections::{BTreeMap, BTreeSet};

/// The names in `text` that follow `prefix`, also those of a group: `a` and `b` in `crate::{a::x, b}`.
fn names_after(text: &str, prefix: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let mut depth = 0_usize;
        let mut item = String::new();
        for it in group.chars() {
            match it {
                '}' if depth == 0 => break,
                ',' if depth == 0 => names.push(name(std::mem::take(&mut item).trim())),
                _ => {
                    depth = match it {
                        '{' => depth + 1,
                        '}' => depth - 1,
                        _ => depth,
                    };
                    item.push(it);
                }
            }
        }
        names.push(name(item.trim()));
    }
    names.retain(|it| !it.is_empty());
    names
}

/// Each statement of the code with its first line's number: an import may span lines.
fn statements(source: &Source) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in source.code() {
        let (start, mut text) = open.take().unwrap_or((number, String::new()));
        text.push_str(line.trim());
        let is_use = text.starts_with("use ") || text.starts_with("pub use ") || text.starts_with("pub(crate) use ");
        if is_use && !text.ends_with(';') {
            open = Some((start, text));
        } else {
            all.push((start, text));
        }
    }
    all
}

/// By module of `src`, the modules that it may import.
type Rules = BTreeMap<String, BTreeSet<String>>;

const HEADING: &str = "## Who may import what";

fn in_backticks(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The rules as ARCHITECTURE.md states them: a row names a module, those that it may import (or that it may
/// import all), and those that it never may.
fn rules(map: &str) -> Result<Rules, String> {
    let section = map.split(HEADING).nth(1).unwrap_or_default().split("\n## ").next().unwrap_or_default();
    let rows: Vec<Vec<&str>> =
        section.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').collect()).collect();
    let modules: BTreeSet<String> = rows.iter().flat_map(|row| in_backticks(row[1])).collect();
    let mut rules = Rules::new();
    for row in rows {
        let [_, module, may, never, _] = row[..] else { return Err(format!("no row of three cells: {row:?}")) };
        let mut allowed: BTreeSet<String> = in_backticks(may).filter(|name| !name.contains('/')).collect();
        if may.trim() == "all" {
            allowed.clone_from(&modules);
        }
        if let Some(unknown) = allowed.iter().find(|name| !modules.contains(*name)) {
            return Err(format!("{unknown} may be imported and has no row"));
        }
        if let Some(both) = in_backticks(never).find(|name| allowed.contains(name)) {
            return Err(format!("{module} may import {both}, and never may"));
        }
        for module in in_backticks(module) {
            let own = BTreeSet::from([module.clone()]);
            rules.insert(module, allowed.union(&own).cloned().collect());
        }
    }
    Ok(rules)
}

fn forbidden_imports(rules: &Rules, sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(allowed) = rules.get(module) else {
            findings.push(source.finding(1, format_args!("module {module} has no row under \"{HEADING}\"")));
            continue;
        };
        for (line, text) in statements(source) {
            let mut imported = names_after(&text, "crate::");
            imported.extend(names_after(&text, "apportion::"));
            for other in imported.iter().filter(|other| !allowed.contains(*other)) {
                findings.push(source.finding(line, format_args!("{module} may not import {other}; only {allowed:?}")));
            }
        }
    }
    findings
}

#[test]
fn modules_import_only_what_they_may() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md, the map");
    let rules = rules(&map).expect("a table of who may import what");
    expect_none("Imports go one way; see ARCHITECTURE.md.", forbidden_imports(&rules, &files(&["src"], "rs")));
}

#[test]
fn a_forbidden_import_is_noticed() {
    let table =
        |rows: &str| rules(&format!("{HEADING}\n\n| module | may import | never |\n| --- | --- | --- |\n{rows}"));
    let rows = "| `domain` | entries above it in `src/domain/mod.rs` | IO |\n| `jobs` | `domain` | `http`, SQL |\n\
                | `http` | all | |\n## Next\n| `x` | | |\n";
    let rules = table(rows).expect("rules");
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["domain", "http", "jobs"]);
    let bad = [
        Source::new("src/domain/a.rs", "//! A.\nuse crate::{domain::ids,\n  store::Row};\n"),
        Source::new("src/jobs/a.rs", "fn f() { crate::http::serve() }\n// crate::ingest\n"),
        Source::new("src/new/a.rs", ""),
        Source::new("src/http/mod.rs", "use crate::domain;\nuse crate::jobs;\n"),
    ];
    let found = forbidden_imports(&rules, &bad);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("src/domain/a.rs:2: ") && found[1].contains("may not import http"), "{found:?}");
    assert!(table("| `jobs` | `gone` | |\n").is_err(), "a module without a row");
    assert!(table("| `a` | `b` | `b` |\n| `b` | | |\n").is_err(), "both allowed and not");
}

/// The files and folders of the domain, in the order in which its `mod.rs` lists them.
fn domain_order(module_file: &str) -> Vec<String> {
    let named = module_file.lines().filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod "));
    named.map(|name| name.trim_end_matches(';').to_owned()).collect()
}

fn upward_imports(order: &[String], sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let place = |name: &str| order.iter().position(|it| it == name);
    for source in sources {
        let Some(inside) = source.path.strip_prefix("src/domain/").filter(|it| *it != "mod.rs") else { continue };
        let own = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let nested = inside.contains('/') && !inside.ends_with("mod.rs");
        for (line, text) in statements(source) {
            let mut imported = names_after(&text, "crate::domain::");
            imported.extend(names_after(&text, if nested { "super::super::" } else { "super::" }));
            for other in imported {
                // A name that is no file of the domain is an item of the module itself.
                if place(&other) > place(own) {
                    let what = format!("{own} may not import {other}, which src/domain/mod.rs lists below it");
                    findings.push(source.finding(line, what));
                }
            }
        }
    }
    findings
}

#[test]
fn the_domain_imports_only_upwards() {
    let sources = files(&["src/domain"], "rs");
    let module_file = sources.iter().find(|source| source.path == "src/domain/mod.rs").expect("src/domain/mod.rs");
    let order = domain_order(&module_file.text);
    assert!(order.len() > 5, "src/domain/mod.rs lists {order:?}");
    expect_none("Each file of the domain may import only those listed above it.", upward_imports(&order, &sources));
    let bad = [
        Source::new("src/domain/ids.rs", "use super::money::Exact;\n"),
        Source::new("src/domain/ids.rs", "use super::csv_table::Table;\n"),
        Source::new(
            "src/domain/contract/read.rs",
            "use super::settlement;\nuse crate::domain::settlement::{settle};\n",
        ),
    ];
    let found = upward_imports(&order, &bad);
    assert_eq!(found.len(), 3, "{found:?}");
}
