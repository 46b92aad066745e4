//! What loading a folder adds to what is loaded, and what it would change of that.

use crate::support::{documents, files_in, shipped_files};
use crate::worked::{REGISTER, contract};
use apportion::domain::contract::additions::{AdditionError, Additions, Loaded, Overridden, additions};
use apportion::domain::contract::document::FileLine;
use apportion::domain::contract::folder::{SourceFile, read_folder, read_versions};
use apportion::domain::fx::{FxRate, read_fx_rates};
use apportion::domain::price::Price;
use std::path::Path;

const SHARE: &str = "microsoft-openai/3.md";
const CONTRACT: &str = "microsoft-openai/contract.md";

/// The shipped files without some of them.
fn without(paths: &[&str]) -> Vec<SourceFile> {
    let mut files = shipped_files();
    files.retain(|file| !paths.contains(&file.path.as_str()));
    files
}

/// Files in one of which a text stands in place of another.
fn with(mut files: Vec<SourceFile>, path: &str, from: &str, to: &str) -> Vec<SourceFile> {
    let file = files.iter_mut().find(|file| file.path == path).expect("the file");
    assert!(file.text.contains(from), "{path} has no {from}");
    file.text = file.text.replacen(from, to, 1);
    files
}

/// The line of a file that has these words.
fn line_of(files: &[SourceFile], path: &str, words: &str) -> usize {
    let text = &files.iter().find(|it| it.path == path).expect("a file").text;
    1 + text.lines().position(|line| line.contains(words)).expect("the words")
}

fn at(file: &str, line: usize) -> FileLine {
    FileLine { path: file.to_owned(), line }
}

/// What `files` add where `before` is loaded.
fn added(before: &[SourceFile], files: &[SourceFile]) -> Result<Additions, AdditionError> {
    let known = read_folder(before).unwrap_or_else(|errors| panic!("{errors}"));
    let folder = read_folder(files).unwrap_or_else(|errors| panic!("{errors}"));
    let stored = documents(&known);
    let contracts = read_versions(&stored, &folder.register).unwrap_or_else(|error| panic!("{error}"));
    let prices: Vec<Price> = known.prices.iter().map(|it| it.price.clone()).collect();
    let loaded = Loaded { prices: &prices, rates: &known.rates, documents: &stored, contracts };
    additions(&folder, loaded)
}

fn refused(before: &[SourceFile], files: &[SourceFile]) -> AdditionError {
    added(before, files).err().expect("a refusal")
}

/// Contracts and numbers of the versions that are new.
fn versions(additions: &Additions) -> Vec<String> {
    additions.versions.iter().map(|it| format!("{} {}", it.document.contract, it.read.number)).collect()
}

#[test]
fn what_is_loaded_is_not_added_again() {
    let it = added(&shipped_files(), &shipped_files()).expect("nothing changes");
    assert_eq!((it.prices.len(), it.rates.len(), it.versions.len(), it.overridden.len()), (0, 0, 0, 0));
    // A folder may leave out what is loaded.
    let it = added(&shipped_files(), &without(&[SHARE])).expect("nothing changes");
    assert_eq!(versions(&it), [""; 0]);
}

/// The agreements name channels and regions that no deployment of the reference agreement has.
#[test]
fn what_is_loaded_stays_readable_whatever_is_registered_later() {
    let agreements = files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("agreements"));
    let read = |files: &[SourceFile]| read_folder(files).unwrap_or_else(|errors| panic!("{errors}"));
    let (first, second) = (read(&agreements), read(&shipped_files()));
    let mut register = first.register.clone();
    register.extend(second.register.clone()).expect("one register");
    for folder in [&first, &second] {
        let contracts = read_versions(&documents(folder), &register).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(contracts, folder.contracts);
    }
}

/// What is refused today was accepted when it was loaded, and is settled by for ever.
#[test]
fn what_is_loaded_stays_readable_whatever_is_refused_later() {
    let blocks = "[fact.out]\nkind = \"event\"\nabout = [\"product\"]\n\n[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nfixed = \"5 USD\"\non = \"out\"";
    let register = SourceFile { path: "register.md".to_owned(), text: REGISTER.to_owned() };
    let read = |blocks: &str| read_folder(&[register.clone(), contract("main", blocks, "")]);
    let folder = read(blocks).unwrap_or_else(|errors| panic!("{errors}"));
    for (now, then) in [
        ("about = [\"product\"]", "about = [\"capability\"]"),
        ("payee = \"ms\"\nfixed = \"5 USD\"\non = \"out\"", "payee = \"ms\"\neach = \"item\"\nfixed = \"5 USD\""),
        ("fixed = \"5 USD\"\non = \"out\"", "fixed = \"5 USD\"\non = \"out\"\npro_rata = \"days\""),
        (
            "[term.fee]",
            "[term.debt]\npayer = \"ms\"\npayee = \"lab\"\nfixed = \"5 USD\"\non = \"out\"\n\n\
             [term.fee]\ncredits = [{ of = \"debt\", rest = \"repaid\" }]",
        ),
    ] {
        assert!(read(&blocks.replace(now, then)).is_err(), "{then}");
        let mut stored = documents(&folder);
        for version in &mut stored {
            version.definitions = version.definitions.replace(now, then);
            version.document = version.document.replace(now, then);
        }
        assert!(read_versions(&stored, &folder.register).is_ok(), "{then}");
    }
}

#[test]
fn new_versions_and_prices_are_added() {
    let mut more = shipped_files();
    let book = more.iter_mut().find(|file| file.path == "prices.csv").expect("the prices");
    let row =
        book.text.lines().nth(1).expect("a price").replacen("gpt-5.5-in,", "new,", 1).replacen("default", "flex", 1);
    book.text.push_str(&format!("{row}\n"));
    let it = added(&without(&[SHARE]), &more).expect("an addition");
    assert_eq!(versions(&it), ["microsoft-openai 3"]);
    assert_eq!(it.prices.iter().map(|price| price.id.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(it.overridden, []);
}

#[test]
fn a_version_of_the_past_overrides_those_effective_after_it() {
    // Version 2 is effective on 28 October 2025, and so is this one: from then on nothing is left to version 2.
    let early = with(shipped_files(), SHARE, "effective = 2026-04-27", "effective = 2025-10-28");
    let early = with(early, CONTRACT, "value = 2026-04-27", "value = 2025-10-28");
    let before = with(without(&[SHARE]), CONTRACT, "value = 2026-04-27", "value = 2025-10-28");
    let it = added(&before, &early).expect("an addition");
    assert_eq!(it.overridden, [Overridden { contract: "microsoft-openai".into(), number: 2, by: 3 }]);
}

#[test]
fn what_is_loaded_never_changes() {
    let contract = || "microsoft-openai".into();
    let shipped = shipped_files();
    let words = with(shipped_files(), "microsoft-openai/2.md", "That the share", "That this share");
    let line = |file: &str, words: &str| line_of(&shipped, file, words);
    let second = || "microsoft-openai/2.md".to_owned();
    let changed = |line| AdditionError::ChangedVersion { at: at(&second(), line), contract: contract(), number: 2 };
    let expected = changed(line(&second(), "That the share"));
    assert_eq!(refused(&shipped, &words), expected);
    // Where the end was cut off, what was there before has no line any more.
    let mut longer = shipped_files();
    let document = longer.iter_mut().find(|file| file.path == second()).expect("a version");
    let last = document.text.lines().count();
    document.text.push_str("\nOne more clause.\n");
    assert_eq!(refused(&longer, &shipped), changed(last));
    let ends = with(shipped_files(), &second(), "\n", "\r\n");
    assert_eq!(refused(&shipped, &ends), changed(last));
    let dearer = with(shipped_files(), "prices.csv", ",5,1000000,", ",6,1000000,");
    let row = at("prices.csv", line("prices.csv", "gpt-5.5-in,"));
    let expected = AdditionError::ChangedPrice { at: row, id: "gpt-5.5-in".to_owned() };
    assert_eq!(refused(&shipped, &dearer), expected);
    // The first version that takes its share of Revenue.
    let base = with(shipped_files(), CONTRACT, "[\"refund\", \"tax\"]", "[\"refund\"]");
    let row = at(CONTRACT, line(CONTRACT, "[\"refund\", \"tax\"]"));
    let expected = AdditionError::ChangedDefinition { at: row, contract: contract(), number: 1 };
    assert_eq!(refused(&shipped, &base), expected);
    let head = with(shipped_files(), CONTRACT, "rounding = \"half_up\"", "rounding = \"half_even\"");
    let row = at(CONTRACT, line(CONTRACT, "[contract]"));
    assert_eq!(refused(&shipped, &head), AdditionError::ChangedHead { at: row, contract: contract() });
}

#[test]
fn a_definition_of_a_loaded_version_that_the_folder_leaves_out_may_change() {
    // Version 3 alone names the cap.
    let cap = with(without(&[SHARE]), CONTRACT, "38_000_000_000 USD", "39_000_000_000 USD");
    assert_eq!(versions(&added(&shipped_files(), &cap).expect("nothing of versions 1 and 2 changes")), [""; 0]);
}

#[test]
fn numbers_rise_and_loading_stamps_the_time() {
    let low = refused(&without(&["microsoft-openai/2.md"]), &shipped_files());
    let contract = || "microsoft-openai".into();
    let path = "microsoft-openai/2.md";
    let at = |path: &str, files: &[SourceFile]| at(path, line_of(files, path, "[version]"));
    let expected =
        AdditionError::NumberTooLow { at: at(path, &shipped_files()), contract: contract(), number: 2, loaded: 3 };
    assert_eq!(low, expected);
    let stamped = with(
        shipped_files(),
        SHARE,
        "effective = 2026-04-27",
        "effective = 2026-04-27\nrecorded_at = 2026-04-27T00:00:00Z",
    );
    let expected = AdditionError::RecordedInFile { at: at(SHARE, &stamped), contract: contract(), number: 3 };
    assert_eq!(refused(&without(&[SHARE]), &stamped), expected);
    let beside = "| record | at |\n| --- | --- |\n| fact agi-verified | 2026-05-01 |\n\n## Azure first; licence";
    let recording = with(shipped_files(), SHARE, "## Azure first; licence", beside);
    let expected = AdditionError::RecordsInFile { at: at(SHARE, &recording), contract: contract(), number: 3 };
    assert_eq!(refused(&without(&[SHARE]), &recording), expected);
}

#[test]
fn of_rates_those_are_new_that_the_last_one_does_not_say() {
    // Those that are loaded came one after another.
    let rates = |rows: &[&str]| -> Vec<FxRate> {
        let read = |row: &&str| read_fx_rates(&format!("date,from,to,rate,source\n{row}\n"));
        rows.iter().flat_map(|row| read(row).unwrap_or_else(|error| panic!("{error}"))).map(|(_, rate)| rate).collect()
    };
    let new = |known: &[&str], stated: &str| {
        let mut folder = read_folder(&shipped_files()).unwrap_or_else(|errors| panic!("{errors}"));
        folder.rates = rates(&[stated]);
        let loaded = Loaded { prices: &[], rates: &rates(known), documents: &[], contracts: Vec::new() };
        let it = additions(&folder, loaded).unwrap_or_else(|error| panic!("{error}"));
        it.rates.iter().map(|rate| rate.rate.to_string()).collect::<Vec<_>>()
    };
    let (first, second) = ("2026-05-01,EUR,USD,1.1,ecb", "2026-05-01,EUR,USD,1.2,ecb");
    assert_eq!(new(&[], first), ["1.1"]);
    assert_eq!(new(&[first], first), [""; 0]);
    assert_eq!(new(&[first], "2026-05-02,EUR,USD,1.1,ecb"), ["1.1"]);
    // Restated as 1.2, it is 1.1 no longer: to say 1.1 is news.
    assert_eq!(new(&[first, second], first), ["1.1"]);
    assert_eq!(new(&[first, second], second), [""; 0]);
}
