//! Licences: whatever the program is built from, its tests included, may be used and passed on by anybody.

use crate::{expect_none, root};
use serde_json::Value;
use std::process::Command;

/// SPDX identifiers of licences that ask for no more than a notice, or for nothing. MPL-2.0 asks for changes of
/// its own files alone.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression leaves a choice of allowed licences alone. A slash is how crates once wrote "OR".
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "~");
    let tokens: Vec<String> = spaced.split_whitespace().map(|token| token.replace('~', " WITH ")).collect();
    let mut rest = tokens.as_slice();
    any(&mut rest).is_some_and(|allowed| allowed && rest.is_empty())
}

/// Terms joined by OR; none where the expression is none.
fn any(rest: &mut &[String]) -> Option<bool> {
    let mut allowed = all(rest)?;
    while rest.first().is_some_and(|token| token == "OR") {
        *rest = &rest[1..];
        allowed |= all(rest)?;
    }
    Some(allowed)
}

/// Licences joined by AND, which binds closer than OR.
fn all(rest: &mut &[String]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while rest.first().is_some_and(|token| token == "AND") {
        *rest = &rest[1..];
        allowed &= one(rest)?;
    }
    Some(allowed)
}

fn one(rest: &mut &[String]) -> Option<bool> {
    let (token, after) = rest.split_first()?;
    *rest = after;
    if token != "(" {
        return Some(ALLOWED.contains(&token.as_str()));
    }
    let allowed = any(rest)?;
    let (closing, after) = rest.split_first()?;
    *rest = after;
    (closing == ")").then_some(allowed)
}

fn refused(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let licence = package["license"].as_str().unwrap_or("no SPDX expression");
        if !is_allowed(licence) {
            findings.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    findings
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("the host");
    // What a build for this machine needs lies here already; of other machines' packages nothing may.
    let mut arguments = vec!["metadata", "--offline", "--locked", "--format-version=1", "--filter-platform", host];
    if !cfg!(feature = "service") {
        arguments.push("--no-default-features");
    }
    let metadata: Value = serde_json::from_str(&cargo(&arguments)).expect("metadata");
    assert!(metadata["packages"].as_array().is_some_and(|packages| packages.len() > 20), "too few packages");
    expect_none("Dependencies have licences of the table in tests/tidy/licences.rs.", refused(&metadata));
}

#[test]
fn a_licence_that_is_not_allowed_is_noticed() {
    let cases = [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("MIT AND GPL-3.0-only OR Zlib", true),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
        ("CC0-1.0 OR Apache-2.0 WITH LLVM-exception", true),
        ("GPL-3.0-only", false),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("MIT AND (GPL-3.0-only OR AGPL-3.0-only)", false),
        ("MIT AND", false),
        ("(MIT", false),
        ("MIT MIT", false),
        ("", false),
    ];
    for (expression, expected) in cases {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
    let metadata = serde_json::json!({"packages": [
        {"name": "a", "version": "1.0.0", "license": null}, {"name": "b", "version": "1.0.0", "license": "ISC"},
    ]});
    assert_eq!(refused(&metadata).len(), 1);
}
