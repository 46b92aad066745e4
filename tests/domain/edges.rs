//! Edges of time, reading and booking: odd zones, misspelt fences, stray blocks, ended terms.

use crate::support::{History, shipped_files};

use apportion::domain::calendar::{Calendar, Period};
use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::period::{last_instant_before, parse_instant, start_of_day};
use apportion::domain::record::Record;
use apportion::domain::usage::Restatement;
use chrono::NaiveDate;
use std::num::NonZeroU32;

fn with(path: &str, change: impl Fn(&str) -> String) -> Vec<SourceFile> {
    let mut files = shipped_files();
    let file = files.iter_mut().find(|file| file.path == path).expect("the file");
    let changed = change(&file.text);
    assert_ne!(changed, file.text, "nothing changed");
    file.text = changed;
    files
}

fn refused(files: &[SourceFile], what: &str) {
    if let Ok(folder) = read_folder(files) {
        let terms: Vec<_> = folder
            .contracts
            .iter()
            .flat_map(|c| &c.versions)
            .flat_map(|v| &v.terms)
            .map(|t| t.id.to_string())
            .collect();
        panic!("accepted: {what}; the terms are {terms:?}");
    }
}

#[test]
fn a_day_starts_at_its_first_instant_in_every_zone() {
    let mut wrong = Vec::new();
    for zone in chrono_tz::TZ_VARIANTS {
        let mut day = NaiveDate::from_ymd_opt(2023, 1, 1).expect("a date");
        while day < NaiveDate::from_ymd_opt(2033, 1, 1).expect("a date") {
            let start = start_of_day(zone, day);
            let local = |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&zone).date_naive();
            if local(start) != day || local(last_instant_before(start)) >= day {
                wrong.push(format!("{zone} {day}: {start}"));
            }
            day = day.succ_opt().expect("a date");
        }
    }
    assert!(wrong.is_empty(), "{} days: {:?}", wrong.len(), &wrong[..wrong.len().min(12)]);
}

#[test]
fn an_instant_lies_in_the_span_of_its_period() {
    let mut wrong = Vec::new();
    let months = Calendar::of_months(NonZeroU32::MIN);
    for zone in chrono_tz::TZ_VARIANTS {
        let mut period: Period = "2023-01".parse().expect("a period");
        for _ in 0..120 {
            let span = period.span(zone);
            for at in [span.start, last_instant_before(span.end), span.end] {
                let found = months.at(at, zone);
                if !found.is_some_and(|it| it.span(zone).contains(at)) {
                    wrong.push(format!("{zone} {at} {found:?}"));
                }
            }
            period = months.next(period).expect("another");
        }
    }
    assert!(wrong.is_empty(), "{} : {:?}", wrong.len(), &wrong[..wrong.len().min(12)]);
}

/// Cairo's clocks go back from 24:00 to 23:00 on the last Thursday of October: in 2024 that is the 31st.
#[test]
fn a_month_that_begins_where_clocks_go_back_is_booked_as_itself() {
    let files: Vec<SourceFile> = shipped_files()
        .into_iter()
        .map(|mut file| {
            file.text = file.text.replace("America/Los_Angeles", "Africa/Cairo").replace("2025-10-28", "2024-01-01");
            file
        })
        .collect();
    let mut history = History::under(&files);
    history.subscriptions("2024-10-01", "2024-10-31", "0");
    history.subscriptions("2024-11-01", "2024-11-30", "0");
    // 1 M of output at 30/M on 15 November: 20% is 6.
    history.event("2024-11-15T12:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
    assert_eq!(history.settle("microsoft-openai", "2024-11"), ["revenue-share 2024-11 6"]);
}

#[test]
fn instants_outside_four_digit_years_are_refused() {
    for text in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
        assert!(parse_instant(text).is_err(), "{text} was read as {:?}", parse_instant(text));
    }
}

/// The first and the last instant that can be written.
const EDGES: [&str; 2] = ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"];

#[test]
fn every_record_that_is_taken_can_be_read_back() {
    for at in EDGES {
        let text = format!(
            r#"{{"kind":"fact","source":"s","id":"f","contract":"microsoft-openai","name":"agi-verified","by":"expert-panel","at":"{at}","evidence":"e"}}"#
        );
        let record = Record::from_json(&text).expect("a record");
        let stored = record.to_json().to_string();
        assert_eq!(Record::from_json(&stored).expect(&stored), record);
    }
}

#[test]
fn every_restatement_that_is_taken_can_be_read_back() {
    for at in EDGES {
        let occurred_at = Some(parse_instant(at).expect("an instant"));
        let restated = Restatement { occurred_at, ..Restatement::default() };
        let stored = serde_json::json!(restated);
        let read: Restatement = serde_json::from_value(stored.clone()).expect("a restatement");
        assert_eq!(read.occurred_at, occurred_at, "{stored}");
    }
}

#[test]
fn records_refuse_what_they_do_not_know() {
    let refused = |text: &str, expect: &str| {
        let error = Record::from_json(text).expect_err(text).to_string();
        assert!(error.contains(expect), "{error}");
    };
    refused(
        r#"{"kind":"deduction","source":"s","id":"d","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD","amount":"5 USD","deployment":"d","product":"p"}"#,
        "duplicate field `amount`",
    );
    refused(
        r#"{"kind":"deduction","source":"s","id":"d","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD","event":{"source":"s","id":"e","part":"half"}}"#,
        "unknown field `part`",
    );
    refused(
        r#"{"kind":"fact","kind":"fact","source":"s","id":"d","contract":"c","name":"n","by":"p","at":"2026-05-02T00:00:00Z","evidence":""}"#,
        "duplicate field `kind`",
    );
}

#[test]
fn a_term_in_a_file_that_is_no_version_is_refused() {
    let files = with("microsoft-openai/3.md", |text| {
        let start = text.find("```toml").expect("a block");
        let end = text[start + 7..].find("```").expect("its end") + start + 10;
        format!("{}{}", &text[..start], &text[end..])
    });
    refused(&files, "version 3 without its [version] block");
}

#[test]
fn a_term_in_the_definitions_of_a_contract_with_versions_of_their_own_is_refused() {
    let files = with("microsoft-openai/contract.md", |text| {
        format!(
            "{text}\n## More\n\n```toml\n[term.side-deal]\npayer = \"openai\"\npayee = \"microsoft\"\nrate = \"5%\"\nof = \"Revenue\"\n```\n"
        )
    });
    refused(&files, "a term in contract.md");
}

#[test]
fn fences_that_look_like_toml_are_not_passed_over() {
    for fence in ["```TOML", "```Toml", "```toml title=\"share\"", "```toml,ignore", "```{.toml}", "```tml", "```ini"] {
        let files = with("microsoft-openai/2.md", |text| {
            let last = text.rfind("```toml\n").expect("a block");
            format!("{}{fence}\n{}", &text[..last], &text[last + 8..])
        });
        refused(&files, fence);
    }
}

#[test]
fn a_block_in_a_tilde_fence_counts() {
    let files = with("microsoft-openai/3.md", |text| text.replace("```toml", "~~~toml").replace("\n```\n", "\n~~~\n"));
    let folder = read_folder(&files).expect("read");
    let terms: usize = folder.contracts.iter().flat_map(|c| &c.versions).map(|v| v.terms.len()).sum();
    assert_eq!(
        terms,
        read_folder(&shipped_files())
            .expect("read")
            .contracts
            .iter()
            .flat_map(|c| &c.versions)
            .map(|v| v.terms.len())
            .sum::<usize>()
    );
}

#[test]
fn a_block_with_crlf_counts() {
    let files: Vec<SourceFile> = shipped_files()
        .into_iter()
        .map(|mut f| {
            if f.path.ends_with(".md") {
                f.text = f.text.replace('\n', "\r\n");
            }
            f
        })
        .collect();
    let folder = read_folder(&files).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        folder.contracts.iter().flat_map(|c| &c.versions).flat_map(|v| &v.terms).count(),
        read_folder(&shipped_files())
            .expect("read")
            .contracts
            .iter()
            .flat_map(|c| &c.versions)
            .flat_map(|v| &v.terms)
            .count()
    );
}

#[test]
fn an_indented_fence_in_a_list_counts() {
    let plain = read_folder(&shipped_files()).expect("read").contracts;
    let files = with("microsoft-openai/2.md", |text| {
        let last = text.rfind("```toml\n").expect("a block");
        let end = text[last + 8..].find("```").expect("end") + last + 12;
        let block: String = text[last..end].lines().map(|line| format!("   {line}\n")).collect();
        format!("{}1. item\n\n{block}\n{}", &text[..last], &text[end..])
    });
    let read = read_folder(&files).unwrap_or_else(|error| panic!("{error}")).contracts;
    let count = |contracts: &[apportion::domain::contract::Contract]| -> usize {
        contracts.iter().flat_map(|it| &it.versions).map(|it| it.terms.len()).sum()
    };
    assert_eq!(count(&read), count(&plain));
}

#[test]
fn one_price_id_in_two_files_is_refused() {
    let mut files = shipped_files();
    let text = files.iter().find(|file| file.path == "prices.csv").expect("prices").text.clone();
    let header = text.lines().next().expect("a header");
    files.push(SourceFile {
        path: "prices2.csv".into(),
        text: format!("{header}\ngpt-5.5-out,gpt-5.5,output_tokens,default,,,,,99,1000000,USD,,,other\n"),
    });
    assert!(read_folder(&files).is_err(), "two prices with the id gpt-5.5-out were accepted; only the first is stored");
}

#[test]
fn a_selector_of_two_kinds_is_refused() {
    let files = with("microsoft-openai/contract.md", |text| {
        text.replace(
            "{ figure = \"Subscriptions\" }",
            "{ figure = \"Subscriptions\", accrual = \"aws-openai/lab-share\" }",
        )
    });
    refused(&files, "two kinds in one selector");
}

#[test]
fn an_empty_list_of_values_is_refused() {
    let files =
        with("microsoft-openai/contract.md", |text| text.replace("product = \"openai-api-products\"", "product = []"));
    refused(&files, "product = []");
}

#[test]
fn a_figure_of_one_day_is_not_the_figure_of_the_month() {
    let mut history = History::new();
    history.subscriptions("2026-05-31", "2026-05-31", "1");
    assert!(history.try_settle("microsoft-openai", "2026-05").is_err(), "missing = stop, and 30 days are missing");
}

#[test]
fn no_figure_is_asked_for_once_the_term_has_ended() {
    let mut history = History::new();
    history.subscriptions("2030-12-01", "2030-12-31", "1");
    history.settle("microsoft-openai", "2030-12");
    history.close("2030-12");
    history.try_settle("microsoft-openai", "2031-01").unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_period_of_a_version_without_terms_has_a_statement() {
    let mut files = shipped_files();
    files.push(SourceFile {
        path: "microsoft-openai/4.md".into(),
        text: "# End\n\n```toml\n[version]\ncontract = \"microsoft-openai\"\nnumber = 4\neffective = 2026-06-01\n```\n"
            .into(),
    });
    let mut history = History::under(&files);
    history.subscriptions("2026-05-01", "2026-05-31", "1");
    history.settle("microsoft-openai", "2026-05");
    history.close("2026-05");
    assert!(
        !history.statements("microsoft-openai", "2026-06").is_empty(),
        "nothing to issue: June can never be closed"
    );
}

#[test]
fn wide_amounts_stay_exact() {
    let files: Vec<SourceFile> = shipped_files()
        .into_iter()
        .map(|mut file| {
            file.text = file
                .text
                .replace(",,,,,30,1000000,USD", ",,,,,0.000000000000001,3,USD")
                .replace("value = \"20%\"", "value = \"1/3\"")
                .replace("38_000_000_000 USD", "99999999999999999999 USD");
            file
        })
        .collect();
    let mut history = History::under(&files);
    history.subscriptions("2026-05-01", "2026-05-31", "10_000_000_000_000.000000000000001");
    history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000000000000")]);
    let lines = history.settle("microsoft-openai", "2026-05");
    // 1/3 of 10^13 and 10^-15 and 1/3
    assert_eq!(lines, ["revenue-share 2026-05 3333333333333.44"]);
}
