//! What the reader of agreements refuses, and that it says where and what would be right.

use crate::support::shipped_files;
use apportion::domain::contract::folder::read_folder;

/// Reads the shipped folder with one piece of text of one file replaced.
fn refusal(path: &str, from: &str, to: &str) -> String {
    let mut files = shipped_files();
    let file = files.iter_mut().find(|file| file.path == path).expect("the file");
    assert!(file.text.contains(from), "{path} has no {from}");
    file.text = file.text.replacen(from, to, 1);
    read_folder(&files).err().map_or_else(|| panic!("accepted: {to}"), |error| error.to_string())
}

fn check(path: &str, from: &str, to: &str, expect: &[&str]) {
    let error = refusal(path, from, to);
    for part in expect {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
}

#[test]
fn what_would_be_right_is_told_of_a_rate_in_words_and_of_what_is_left_out() {
    let version = "microsoft-openai/3.md";
    let words = &["not an amount in percent; write \"20%\", \"0.2\" or \"1/5\""];
    check(version, "rate = \"share-rate\"", "rate = \"20 percent\"", words);
    let definitions = "microsoft-openai/contract.md";
    check(
        definitions,
        "rounding = \"half_up\"\n",
        "",
        &["missing field `rounding`; write \"half_up\", \"half_even\" or \"down\""],
    );
    let zone = &["missing field `zone`; write an IANA name such as \"America/Los_Angeles\""];
    check(definitions, "zone = \"America/Los_Angeles\"\n", "", zone);
}

#[test]
fn what_has_no_version_is_told_to_write_one() {
    let head = "[version]\nnumber = 1\neffective = 2023-11-01\n";
    check("trace-share.md", head, "", &["a term in a file without [version]", "write [version] with number"]);
    let definitions = "microsoft-openai/contract.md";
    let mut files = shipped_files();
    files.retain(|file| !file.path.starts_with("microsoft-openai/") || file.path == definitions);
    let error = read_folder(&files).expect_err("no version").to_string();
    assert!(
        error.contains("\"microsoft-openai\" has no version; write [version] with number and effective here"),
        "{error}"
    );
}

#[test]
fn wrong_versions_are_refused_with_their_place() {
    let version = "microsoft-openai/3.md";
    check(
        version,
        "of = \"Revenue\"",
        "of = \"Revenu\"",
        &[
            "microsoft-openai/3.md:23:6: term revenue-share (\"Revenue share\"): of = \"Revenu\"\n  no base, amount, figure or term \"Revenu\"; there is",
            "base \"Revenue\" (microsoft-openai/contract.md:61)",
        ],
    );
    check(
        version,
        "rate = \"share-rate\"",
        "rate = 0.2",
        &["rate = 0.2\n  an unquoted number is inexact, and a rate is a percentage or fraction: write \"20%\""],
    );
    check(version, "rate = \"share-rate\"", "rate = \"120%\"", &["above 1"]);
    check(version, "rate = \"share-rate\"", "rate = \"-20%\"", &["negative"]);
    check(
        version,
        "rate = \"share-rate\"",
        "rate = \"share-rat\"",
        &["no parameter, figure or amount \"share-rat\"; there is"],
    );
    check(version, "payee = \"microsoft\"", "payee = \"microsft\"", &["no party \"microsft\""]);
    check(version, "payee = \"microsoft\"", "payee = \"openai\"", &["both \"openai\""]);
    check(
        version,
        "through = 2030-12-31",
        "through = 2030-12-31\nfloor = \"1 USD\"",
        &["unknown field `floor`", "3.md:"],
    );
    check(version, "is = \"total-cap\"", "is = \"38_000_000_000\"", &["no currency"]);
    check(version, "is = \"total-cap\"", "is = \"1 EUR\"", &["cap is in EUR, and has to be in USD"]);
    check(version, "opening = \"cap-opening\"", "opening = \"39_000_000_000 USD\"", &["above the cap"]);
    check(version, "excess = \"lost\"", "excess = \"kept\"", &["\"kept\" is none of lost, deferred"]);
    check(version, "number = 3", "number = 0", &["version 0; numbers are 1 to"]);
    check(
        version,
        "rate = \"share-rate\"",
        &format!("rate = \"0.{}\"", "1".repeat(70_000)),
        &["at most 64 characters"],
    );
    check(version, "through = 2030-12-31", "through = 2018-12-31", &["before the contract begins"]);
    check(version, "\n[term.revenue-share.cap]", "```\n\n```\n[term.revenue-share.cap]", &["without a language"]);
    check(
        version,
        "```toml\n[term.revenue-share]",
        "<details>\n```toml\n[term.revenue-share]",
        &["a block within HTML would be passed over"],
    );
    check(version, "Revenue share\n", "Revenue share\n\n    [term.x]\n    rate = \"1%\"\n", &["indented code"]);
    check(version, "# Version 3", "\0# Version 3", &["NUL"]);
    check(version, "number = 3", "number = 2", &["has the number of another version"]);
    check(version, "contract = \"microsoft-openai\"", "contract = \"microsoft\"", &["no file of the folder states"]);
    check(
        version,
        "payer = \"openai\"\npayee = \"microsoft\"",
        "payer = \"microsoft\"\npayee = \"openai\"",
        &["another payer or payee"],
    );
    check("microsoft-openai/2.md", "until = \"agi-verified\"", "until = \"agi\"", &["no fact \"agi\"", "agi-verified"]);
}

#[test]
fn wrong_definitions_are_refused_with_their_place() {
    let contract = "microsoft-openai/contract.md";
    check(contract, "America/Los_Angeles", "America/Los_Angles", &["unknown zone"]);
    check(contract, "at = \"item\"", "at = \"sale\"", &["sale"]);
    check(
        contract,
        ", at = \"item\"",
        "",
        &[
            "base Revenue (",
            "does a refund or tax count where its sale did (at = \"item\") or on its own date (at = \"own_date\")?",
        ],
    );
    check(contract, "aws-openai/lab-share", "aws-openai/share", &["which no version of a known contract has"]);
    check(contract, "{ charges = { seller = \"openai\" } }", "{ charges = { sellr = \"openai\" } }", &["sellr"]);
    check(contract, "{ charges = { seller = \"openai\" } }", "{ charges = {} }", &["the same money twice"]);
    check(
        contract,
        "{ figure = \"Subscriptions\" },",
        "{ figure = \"Subscriptions\" }, { figure = \"Subscriptions\" },",
        &["it is selected twice"],
    );
    check(
        contract,
        "{ accrual = \"aws-openai/lab-share\" },",
        "{ accrual = \"aws-openai/lab-share\" }, { accrual = \"aws-openai/lab-share\" },",
        &["it is selected twice"],
    );
    check(
        contract,
        "less = [{ deductions",
        "less = [{ deductions = [\"tax\"], at = \"own_date\" }, { deductions",
        &["deductions \"tax\" stand twice", "contract.md:"],
    );
    check(
        contract,
        "seller = \"openai\" } }",
        "seller = \"openai\", cloud = \"azur\" } }",
        &["no cloud \"azur\"; there is aws, azure", "contract.md:"],
    );
    // A base that no term uses yet is read all the same.
    check(
        "aws-openai.md",
        "[term.",
        "[base.\"Later Sales\"]\nselect = [{ charges = { seller = \"awz\" } }]\n\n[term.",
        &["no party \"awz\""],
    );
    check("register.md", "cloud = \"aws\"", "cloud = \"amazon\"", &["no cloud \"amazon\"", "register.md:"]);
    check(
        "prices.csv",
        "gpt-5.5-in,gpt-5.5,input_tokens",
        "gpt-5.5-in,gpt-9,input_tokens",
        &["prices.csv", "no register names"],
    );
}

#[test]
fn wrong_names_prices_and_currencies_are_refused_with_their_place() {
    let contract = "microsoft-openai/contract.md";
    check("register.md", "[group.openai-products]", "[group.\"gpt-5.5\"]", &["product or group \"gpt-5.5\""]);
    check("register.md", "[party.aws]", "[party.\"\"]", &["of a party; a name has 1 to 256 bytes"]);
    check(
        "register.md",
        "[party.google]",
        "[party.AWS]\nname = \"Other\"\n\n[party.google]",
        &["register.md:", "\"AWS\" is \"aws\" in capitals"],
    );
    check(
        "register.md",
        "channel = \"bedrock\"",
        "channel = \"bed\\u001brock\"",
        &["register.md:", "channel \"bed\\u{1b}rock\" of a deployment"],
    );
    check(
        "prices.csv",
        "input_tokens,default,",
        "input_tokens,\"def\u{1b}ault\",",
        &["prices.csv:2: ", "service_tier \"def\\u{1b}ault\""],
    );
    check("prices.csv", "gpt-5.5-in,", "\"gpt\u{1b}\",", &["the id \"gpt\\u{1b}\""]);
    check("prices.csv", "5,1000000,USD", "5,18446744073709551615,USD", &["per is 18446744073709551615"]);
    check(
        "prices.csv",
        ",bedrock,,5.5,",
        ",bedrok,,5.5,",
        &["channel \"bedrok\", which no deployment has; there is", "bedrock"],
    );
    check(contract, "unit = \"USD\"", "unit = \"EUR\"", &["it is in EUR, where USD is needed; write [fx]"]);
    check(
        "aws-openai.md",
        "currency = \"USD\"",
        "currency = \"EUR\"",
        &["aws-openai/lab-share in EUR, and the contract is in USD"],
    );
    check(
        "aws-openai.md",
        "{ charges = { seller = \"aws\", product = \"openai-products\" } }",
        "{ accrual = \"microsoft-openai/revenue-share\" }",
        &["in a circle"],
    );
}

#[test]
fn the_shipped_agreements_are_read_whole() {
    let folder = read_folder(&shipped_files()).unwrap_or_else(|error| panic!("{error}"));
    let versions: Vec<(String, usize)> =
        folder.contracts.iter().map(|it| (it.head.id.to_string(), it.versions.len())).collect();
    let expect = [("aws-openai", 1), ("microsoft-openai", 3), ("trace-share", 1)];
    assert_eq!(versions, expect.map(|(id, count)| (id.to_owned(), count)));
}

#[test]
fn wrong_rights_are_refused_with_their_place() {
    let version = "microsoft-openai/3.md";
    check(version, "first = \"azure\"", "first = \"azur\"", &["3.md:", "no cloud \"azur\"; there is aws, azure"]);
    check(version, "lead = \"0 days\"", "lead = \"0 fortnights\"", &["3.md:", "no length of time"]);
    check(version, "lead = \"0 days\"   # assumed\n", "", &["a right is first = cloud"]);
    check(version, "release = \"release\"", "release = \"releas\"", &["no fact \"releas\"; there is", "azure-waiver"]);
    check(version, "release = \"release\"", "release = \"azure-waiver\"", &["is a status; here stands an event"]);
    check(version, "[\"azure-waiver\"]", "[\"release\"]", &["is an event; here stands a status"]);
    check(version, "[\"azure-waiver\"]", "[\"agi-verified\"]", &["about the contract; here stands one about products"]);
    check(version, "through = 2032-12-31", "until = \"release\"", &["is not about the contract alone; here stands"]);
    check(version, "through = 2032-12-31", "through = 2018-12-31", &["before the contract begins"]);
    check(version, "exclusive = false", "exclusive = false\nlead = \"0 days\"", &["a right is first = cloud"]);
    check(version, "exclusive = false", "exclusive = false\nwhile = \"azure-waiver\"", &["unknown field `while`"]);
    check(version, "licensee = \"microsoft\"", "licensee = \"microsft\"", &["no party \"microsft\""]);
    check(version, "[right.licence]", "[right.revenue-share]", &["is a term and a right"]);
    check(version, "through = 2032-12-31", "on_breach = \"stop\"", &["stop", "report"]);
    let other = "aws-openai.md";
    check(other, "\"frontier\"]", "\"frontir\"]", &["aws-openai.md:", "no product or group \"frontir\""]);
    check(other, "only = { cloud = \"aws\" }", "only = { cloud = \"amazon\" }", &["no cloud \"amazon\""]);
    check(other, "only = { cloud = \"aws\" }", "only = { customer = \"c\" }", &["only by customer"]);
    check(other, "only = { cloud = \"aws\" }", "only = {}", &["selects nothing"]);
    let definitions = "microsoft-openai/contract.md";
    check(definitions, "kind = \"status\"", "kind = \"state\"", &["state", "status"]);
    check(
        definitions,
        "about = [\"product\", \"cloud\"]",
        "about = [\"region\"]",
        &["fact \"release\" cannot be about a product; there is region"],
    );
}

#[test]
fn wrong_facts_beside_agreements_are_refused_with_their_line() {
    let facts = "microsoft-openai/facts.jsonl";
    check(facts, "\"product\":\"gpt-5.5\"", "\"product\":\"gpt-5\"", &["facts.jsonl:1:", "no product \"gpt-5\""]);
    check(facts, "\"cloud\":\"azure\"", "\"cloud\":\"azur\"", &["no cloud \"azur\" is registered; there is aws"]);
    check(facts, "\"cloud\":\"azure\"", "\"capability\":\"stateless-api\"", &["cannot be about a capability"]);
    check(
        facts,
        "\"capability\":\"stateful-runtime\"",
        "\"capability\":\"x\"",
        &["facts.jsonl:5:", "capability \"x\""],
    );
    check(facts, ",\"capability\":\"stateful-runtime\"", "", &["does not say what it is about"]);
    check(facts, "\"evidence\"", "\"until\":\"2027-01-01T00:00:00Z\",\"evidence\"", &["happens once"]);
    check(facts, "azure-gpt-5.4-mini", "azure-gpt-5.5", &["facts.jsonl:2:", "stands twice"]);
    check(facts, "\"by\":\"openai\"", "\"by\":\"microsoft\"", &["reported by openai"]);
    let deduction = r#"{"kind":"deduction","source":"s","id":"d","category":"tax","at":"2026-05-02T00:00:00Z","amount":"3 USD","deployment":"openai-direct","product":"gpt-5.5"}"#;
    check(facts, "{\"kind\"", &format!("{deduction}\n{{\"kind\""), &["facts.jsonl:1:", "is a deduction"]);
}
