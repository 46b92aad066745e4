//! What the contract language refuses, with the whole message: place, block, text at fault, and what would be right.

use crate::support::head;
use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};

const REGISTER: &str = r#"# Register
```toml
[party]
lab.name = "Lab"
cloud.name = "Cloud"
other.name = "Other"
[cloud.azure]
operator = "cloud"
[product.api]
maker = "lab"
[product.agents]
maker = "lab"
```
"#;

/// What stands before the block of a test: the contract, and definitions that tests refer to.
const DEFINITIONS: &str = concat!(
    head!("deal"),
    r#"[base.Sales]
select = { charges = { seller = "lab" } }

[base.Units]
select = { units = { meter = "requests" } }

[figure.Cost]
unit = "USD"
kind = "flow"
missing = "stop"

[figure.Index]
unit = "%"
kind = "level"
missing = "last"

[fact.launch]
kind = "event"

[fact.paused]
kind = "status"

[fact.introduced]
kind = "event"
about = ["customer"]
value = "party"

[unit.credit]
worth = "1 USD"

[unit.point]
```

## Clause

```toml
"#
);

fn read(block: &str) -> Result<Folder, String> {
    read_with(block, &[])
}

/// Reads the agreement with a block, and other files beside it.
pub fn read_with(block: &str, others: &[(&str, &str)]) -> Result<Folder, String> {
    let file = |path: &str, text: String| SourceFile { path: path.to_owned(), text };
    let own = [("register.md", REGISTER.to_owned()), ("deal.md", format!("{DEFINITIONS}{}\n```\n", block.trim()))];
    let others = others.iter().map(|(path, text)| (*path, (*text).to_owned()));
    let files: Vec<SourceFile> = own.into_iter().chain(others).map(|(path, text)| file(path, text)).collect();
    read_folder(&files).map_err(|error| error.to_string())
}

/// The message with its line counted from the block's first.
fn refusal(block: &str) -> String {
    let message = read(block).err().unwrap_or_else(|| panic!("accepted:\n{block}"));
    let Some(rest) = message.strip_prefix("deal.md:") else { return message };
    let (line, rest) = rest.split_once(':').expect("a line");
    let line: usize = line.parse().expect("a line");
    format!("{}:{rest}", line - DEFINITIONS.lines().count())
}

pub fn check(block: &str, expect: &str) {
    assert_eq!(refusal(block), expect, "for:\n{block}");
}

/// A term of a lab that pays a cloud, with these fields.
pub fn term(fields: &str) -> String {
    format!("[term.share]\npayer = \"lab\"\npayee = \"cloud\"\n{fields}")
}

/// Refuses a term with these fields; lines count from the first of them.
pub fn check_term(fields: &str, expect: &str) {
    let found = refusal(&term(fields));
    let (line, rest) = found.split_once(':').expect("a line");
    let line: i64 = line.parse().expect("a line");
    assert_eq!(format!("{}:{rest}", line - 3), expect, "for:\n{fields}");
}

pub fn accept(block: &str) -> Folder {
    read(block).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_plain_share_is_five_lines() {
    let folder = accept(&term("rate = \"20%\"\nof = \"Sales\""));
    let version = &folder.contracts[0].versions[0];
    assert_eq!(version.terms.len(), 1);
    assert!(version.terms[0].assumptions.is_empty());
}

#[test]
fn numbers_are_written_as_text() {
    check_term(
        "rate = 0.0175\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = 0.0175\n  an unquoted number is inexact, and a rate is a percentage or \
         fraction: write \"1.75%\"",
    );
    check_term(
        "rate = 20\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = 20\n  an unquoted number is inexact, and a rate is a percentage or \
         fraction: write \"20%\"",
    );
    check_term(
        "fixed = 500.5\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = 500.5\n  an unquoted number is inexact: write \"500.5\", with its \
         currency if it has one",
    );
    check_term(
        "fixed = 500\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = 500\n  an unquoted number is inexact: write \"500 USD\"",
    );
    check_term(
        "rate = \"120%\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"120%\"\n  rate 1.2 is above 1; if more than all of it is \
         meant, write above_one = true",
    );
    check_term(
        "rate = \"2\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"2\"\n  rate 2 is above 1; write \"2%\", or, if more than all of it is \
         meant, write above_one = true",
    );
    accept(&term("rate = \"120%\"\nof = \"Sales\"\nabove_one = true"));
    check_term(
        "rate = \"-1%\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"-1%\"\n  rate -0.01 is negative; a flipped direction is another term",
    );
    check_term(
        "rate = \"20 USD\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"20 USD\"\n  rate is a plain number, a percentage or a fraction, not an \
         amount in USD; write \"20%\", \"0.2\" or \"1/5\"",
    );
    check_term(
        "fixed = \"500\"\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = \"500\"\n  fixed has no currency; write an amount such as \"1_000.50 USD\"",
    );
    check_term(
        "fixed = \"500 EUR\"\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = \"500 EUR\"\n  fixed is in EUR, and has to be in USD",
    );
    check_term(
        "fixed = \"500 bananas\"\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = \"500 bananas\"\n  fixed is in \"bananas\", which is no currency and no \
         [unit] of the contract",
    );
    check_term(
        "fixed = \"500 USD\"\neach = \"month\"\n\n[unit.EUR]\ndigits = 2",
        "4:1: unit EUR (\"Clause\"): a unit named \"EUR\" cannot be told from the currency; give it a name of its own",
    );
    check_term(
        "rate = 2026-01-01\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = 2026-01-01\n  rate is a number, not a date",
    );
}

#[test]
fn tables_end_rise_and_are_reached() {
    let bands = |rows: &str| {
        format!("of = \"Sales\"\nrate = {rows}\ntiers = {{ apply = \"marginal\", each = \"year\", from = 2026-01-01 }}")
    };
    check_term(
        &bands(r#"[{ up_to = "50_000_000 USD", is = "2.25%" }]"#),
        "2:8: term share (\"Clause\"): rate = [{ up_to = \"50_000_000 USD\", is = \"2.25%\" }]\n  rate stops at \
         50_000_000 USD: what holds above it? end with { otherwise = \"2.25%\" }, or with { otherwise = \"none\" }",
    );
    check_term(
        &bands(r#"[{ up_to = "50 USD", is = "2%" }, { up_to = "20 USD", is = "3%" }, { otherwise = "none" }]"#),
        "2:42: term share (\"Clause\"): { up_to = \"20 USD\", is = \"3%\" }\n  bands rise: after 50 comes 20, which \
         never holds",
    );
    check_term(
        &bands(r#"[{ below = "50%", is = "2%" }, { otherwise = "none" }]"#),
        "2:19: term share (\"Clause\"): below = \"50%\"\n  edge has no currency; write an amount such as \"1_000.50 USD\"",
    );
    check_term(
        "of = \"Sales\"\nrate = [{ where = { product = \"api\" }, is = \"2%\" }]",
        "2:8: term share (\"Clause\"): rate = [{ where = { product = \"api\" }, is = \"2%\" }]\n  what is rate for all \
         others? end with { otherwise = \"2%\" }, with { otherwise = \"none\" }, or with { otherwise = \"stop\" }",
    );
    accept(&term("of = \"Sales\"\nrate = [{ where = { product = \"api\" }, is = \"2%\" }, { otherwise = \"stop\" }]"));
    check_term(
        "of = \"Sales\"\nrate = [{ otherwise = \"2%\" }, { otherwise = \"3%\" }]",
        "2:31: term share (\"Clause\"): { otherwise = \"3%\" }\n  no row after `otherwise` ever holds",
    );
    check_term(
        "of = \"Sales\"\nrate = [{ through = 2026-12-31, is = \"1%\" }, { through = 2026-06-30, is = \"2%\" }, { \
         otherwise = \"3%\" }]",
        "2:46: term share (\"Clause\"): { through = 2026-06-30, is = \"2%\" }\n  a row before it holds whenever it \
         would, so it never does",
    );
    check_term(
        "of = \"Sales\"\nrate = [{ up_to = \"1 USD\", is = \"1%\" }, { otherwise = \"2%\" }]",
        "2:19: term share (\"Clause\"): up_to = \"1 USD\"\n  bands of what? write tiers = { apply = \"marginal\", each = \
         \"year\", from = 2026-01-01 } beside them",
    );
    check_term(&bands("\"20%\""), "-2:1: term share (\"Clause\"): tiers, and no row with up_to or below beside them");
    check_term(
        "of = \"Sales\"\nrate = [{ period = 1, is = \"1%\" }, { otherwise = \"2%\" }]",
        "2:20: term share (\"Clause\"): period = 1\n  the place of a window, where there are none; write each = \
         \"month\" or another window",
    );
}

#[test]
fn names_are_declared() {
    check_term(
        "rate = \"20%\"\nof = \"Sale\"",
        "2:6: term share (\"Clause\"): of = \"Sale\"\n  no base, amount, figure or term \"Sale\"; there is base \
         \"Sales\" (deal.md:15), base \"Units\" (deal.md:18), figure \"Cost\" (deal.md:21), figure \"Index\" \
         (deal.md:26), term \"share\"",
    );
    check_term(
        "rate = \"rat\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"rat\"\n  no parameter, figure or amount \"rat\"; there is Cost, Index",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\nuntil = \"lunch\"",
        "3:9: term share (\"Clause\"): until = \"lunch\"\n  no fact \"lunch\"; there is introduced, launch, paused; a new \
         one is declared as [fact.lunch] with kind = \"event\" or \"status\"",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\nwhile = \"launch\"",
        "3:9: term share (\"Clause\"): while = \"launch\"\n  fact \"launch\" is an event; here stands a status of the \
         contract",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\ncap = \"total\"",
        "3:7: term share (\"Clause\"): cap = \"total\"\n  no cap \"total\"",
    );
    check_term(
        "fixed = \"1 USD\"\neach = \"fortnight\"\npro_rata = \"full\"",
        "2:8: term share (\"Clause\"): each = \"fortnight\"\n  no window \"fortnight\"; there is item, month, period, \
         quarter, term, week, year",
    );
    check(
        "[base.B]\nselect = { charges = { sellr = \"lab\" } }",
        "2:24: base B (\"Clause\"): sellr\n  no attribute or fact \"sellr\"; there is seller",
    );
    check(
        "[base.B]\nselect = { charges = { seller = \"lap\" } }",
        "2:33: base B (\"Clause\"): seller = \"lap\"\n  no party \"lap\"; there is cloud, lab, other",
    );
    check(
        "[base.B]\nselect = { units = { meter = \"output_token\" } }",
        "2:30: base B (\"Clause\"): meter = \"output_token\"\n  no meter \"output_token\"; there is output_tokens",
    );
    check(
        "[base.B]\nselect = { charges = { introduced = true } }",
        "2:37: base B (\"Clause\"): introduced = true\n  this fact names a party; write which",
    );
    check(
        "[base.B]\nselect = { charges = { paused = \"lab\" } }",
        "2:33: base B (\"Clause\"): paused = \"lab\"\n  this fact holds or does not; write true or false",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\nfloor = \"1 USD\"",
        "3:1: term share (\"Clause\"): floor\n  unknown field `floor`; there is above_one, annual, at_most, \
         at_window_end, block_from, cap, confidence, credits, due, each, fixed, from, greater_of, in, input, lasts, less, \
         lesser_of, minimum, note, of, on, once, part_block, payee, payer, per, per_units, price, pro_rata, rate, \
         source, sum, tail, tax, through, tiers, times, until, while",
    );
}

#[test]
fn what_toml_refuses_is_told_in_our_words() {
    let share = "rate = \"20%\"\nof = \"Sales\"\n";
    for (rate, write) in [("20%", "20%"), ("1/3", "1/3"), ("5 USD # a sum", "5 USD")] {
        let found = refusal(&term(&format!("of = \"Sales\"\nrate = {rate}")));
        let expect = format!("\n  text stands in quotes: write rate = \"{write}\"");
        assert!(found.ends_with(&expect), "{found}");
    }
    check_term(
        "rate = \"70 %\"\nof = \"Sales\"",
        "1:8: term share (\"Clause\"): rate = \"70 %\"\n  a percentage has no space in it: write \"70%\"",
    );
    check_term(
        &format!("{share}rate = \"30%\""),
        "3:1: term share (\"Clause\"): rate\n  `rate` stands twice in its block; write it once",
    );
    check(
        "[term.share]\n[term.share]",
        "2:7: term share (\"Clause\"): share\n  a second [term.share]; write all of it in one, or give each a name of its own",
    );
    check(
        "[version]\nnumber = 2\neffective = 2027-01-01",
        "1:2: version (\"Clause\"): version\n  a second [version]; write each in a file of its own, with contract = \"its-id\"",
    );
    check_term(
        &format!("{share}pro_rata = \"ful\""),
        "3:12: term share (\"Clause\"): pro_rata = \"ful\"\n  \"ful\" is none of full, days, months, none; is \"full\" meant?",
    );
}

#[test]
fn quotes_that_lack_or_are_too_many_are_told_in_our_words() {
    let share = "rate = \"20%\"\nof = \"Sales\"\n";
    let fee = "fixed = \"5 USD\"\n";
    let no_quotes = "a date stands here; write it without quotes, such as 2026-04-27";
    let no_date = "no date or instant of the calendar; write 2026-04-27 or 2026-04-27T00:00:00-07:00";
    for (fields, fault, expect) in [
        (fee, "on = \"2026-02-01\"", no_quotes),
        (share, "from = \"2026-02-01\"", no_quotes),
        (share, "from = 2026-2-1", no_date),
        (share, "from = 2026-02-30", no_date),
        (share, "from = 2026-02-01T25:00:00Z", no_date),
        (share, "each = 2026-02-01", "text stands in quotes: write each = \"2026-02-01\""),
        (share, "once = 5", "text stands in quotes: write once = \"5\""),
        (share, "at_most = \"1\"", "a whole number such as 1 stands here, without quotes"),
        (share, "input = \"true\"", "true or false stands here, without quotes"),
    ] {
        let found = refusal(&term(&format!("{fields}{fault}")));
        assert!(found.ends_with(&format!("{fault}\n  {expect}")), "{found}");
    }
}

#[test]
fn all_that_a_block_lacks_is_told_at_once() {
    let lacks = "missing fields `each`, `excess`, `from`, `opening`; write each = \"month\", \"year\", \"term\" or another \
                 window; excess = \"lost\" or \"deferred\"; from = the date from which it counts, such as 2026-01-01; opening \
                 = what had accrued before, such as \"0 USD\"";
    let share = "rate = \"20%\"\nof = \"Sales\"\n";
    let cap = "{ is = \"5 USD\" }";
    check_term(&format!("{share}cap = {cap}"), &format!("3:7: term share (\"Clause\"): cap = {cap}\n  {lacks}"));
    let block = term(&format!("{share}\n[term.share.cap]\nis = \"5 USD\""));
    check(&block, &format!("7:1: term share.cap (\"Clause\"): {lacks}"));
    check("[cap.all]\nis = \"5 USD\"", &format!("1:1: cap all (\"Clause\"): {lacks}"));
    check(
        "[fact.won]\nevidence = \"a letter\"",
        "1:1: fact won (\"Clause\"): missing field `kind`; write \"event\" or \"status\"",
    );
    check("[base.B]\nless = []", "1:1: base B (\"Clause\"): missing field `select`");
    check(
        "[interest]\nrate = \"5%\"\nday_count = \"actual/365\"",
        "1:1: interest (\"Clause\"): missing field `from`; write \"due\" or the name of a fact",
    );
}

#[test]
fn a_head_that_names_nothing_is_told_as_it_is_right() {
    let name = |write: &str| format!("the head of a block names it, in single brackets: write {write}");
    let fields = "payer = \"lab\"\npayee = \"cloud\"\nrate = \"20%\"\nof = \"Sales\"";
    for (block, at, right) in [
        (format!("[term]\n{fields}"), "term", "[term.its-name]"),
        (format!("[[term]]\n{fields}"), "term", "[term.its-name]"),
        (format!("[[term.share]]\n{fields}"), "term share", "[term.share]"),
        ("[base]\nselect = { charges = {} }".to_owned(), "base", "[base.its-name]"),
        ("[product]\nmaker = \"lab\"".to_owned(), "product", "[product.its-name]"),
        ("[parameter]\nis = \"20%\"".to_owned(), "parameter", "[parameter.its-name]"),
    ] {
        check(&block, &format!("1:1: {at} (\"Clause\"): {}", name(right)));
    }
    // Names may stand in front of the fields: here the field is at fault.
    let unknown = "2:11: party (\"Clause\"): nam\n  unknown field `nam`; there is address, bank, name, tax_id";
    check("[party]\nthird = { nam = \"Lab\" }", unknown);
    let credit = "[[term.share.credits]]\nof = \"x\"\nrst = \"lost\"";
    let unknown = "unknown field `rst`; there is limit, of, rest";
    check(
        &format!("[term.share]\n{fields}\n{credit}"),
        &format!("8:1: term share.credits (\"Clause\"): rst\n  {unknown}"),
    );
    let quoted = "a name with other signs than a-z, A-Z, 0-9, - and _ stands in quotes: write";
    check(
        "[base.Net Sales]\nselect = { charges = {} }",
        &format!("1:1: base Net Sales (\"Clause\"): {quoted} [base.\"Net Sales\"]"),
    );
    check(
        "[Net Sales]",
        "1:1: Net Sales (\"Clause\"): the head of a block is its kind and name, such as [term.share] or [base.\"Net Sales\"]",
    );
    check(
        "[term.A & B.cap]\nis = \"5 USD\"",
        &format!("1:1: term A & B.cap (\"Clause\"): {quoted} [term.\"A & B\".cap]"),
    );
}

#[test]
fn a_text_where_a_table_or_list_stands_is_told_as_it_is_right() {
    let share = |field: &str| format!("rate = \"20%\"\nof = \"Sales\"\n{field}");
    for (field, right) in [
        (
            "minimum = \"5000 USD\"",
            "a table stands here: write minimum = { each = .., is = .. }; each is \"month\", \"year\", \"term\" or \
             another window; is is an amount such as \"1_000.50 USD\"",
        ),
        (
            "credits = \"advance\"",
            "a list stands here: write credits = [{ of = .., rest = .. }]; rest is \"lost\", \"carried\" or \"repaid\"",
        ),
        (
            "credits = { of = \"x\", rest = \"lost\" }",
            "a list stands here: write credits = [{ of = \"x\", rest = \"lost\" }]",
        ),
        ("per = \"product\"", "a list stands here: write per = [\"product\"]"),
        ("each = [\"month\"]", "one text in quotes stands here: write each = \"month\""),
        ("cap = 5", "a name, or a table stands here"),
        ("tax = 5", "text stands in quotes: write tax = \"5\""),
        ("on = \"2026-04-31\"", "no date or instant of the calendar; write 2026-04-27 or 2026-04-27T00:00:00-07:00"),
        ("from = \"2026-04-31\"", "no date or instant of the calendar; write 2026-04-27 or 2026-04-27T00:00:00-07:00"),
    ] {
        let column = field.find('=').expect("a field") + 3;
        check_term(&share(field), &format!("3:{column}: term share (\"Clause\"): {field}\n  {right}"));
    }
}

#[test]
fn a_line_that_is_no_toml_is_told_as_it_is_right() {
    let of_line = "each field stands on a line of its own, and an amount in quotes, such as \"1_000.50 USD\"";
    for (line, right) in [
        ("fixed = 5,000", of_line),
        ("rate = \"20%\" of = \"Sales\"", of_line),
        ("rate = \"20%", "a text ends on its line, with a quote; a quote within it is written \\\""),
        ("rate: \"20%\"", "a field is written with `=`, such as rate = \"20%\""),
    ] {
        check_term(line, &format!("1:1: term share (\"Clause\"): {line}\n  {right}"));
    }
    check_term(
        "fixed = \"5,000 USD\"\neach = \"month\"",
        "1:9: term share (\"Clause\"): fixed = \"5,000 USD\"\n  fixed: \"5,000\" is not an exact number of at most 64 \
         characters; write the number as 5_000 if the comma parts thousands, as 5.000 if it is a decimal point",
    );
}

#[test]
fn rows_that_are_parted_by_other_signs_than_the_header_are_told() {
    let told = |name: &str, text: &str| read_with("", &[(name, text)]).expect_err("a refusal");
    let problem = "its cells are parted by semicolons, and the columns of the header by commas; part both by commas";
    let row = "2026-03-10;USD;EUR;0,9;ECB";
    assert_eq!(told("fx.csv", &format!("date,from,to,rate,source\n{row}\n")), format!("fx.csv:2: {row}: {problem}"));
    let few = "fx.csv:2: 2 cells; the header names 5 columns, and a cell with a comma in it stands in quotes";
    assert_eq!(told("fx.csv", "date,from,to,rate,source\n2026-03-10,USD;EUR\n"), few);
}

#[test]
fn a_source_of_rates_that_no_row_is_of_is_told_where_others_are() {
    let rates = ("fx.csv", "date,from,to,rate,source\n2026-03-10,USD,EUR,0.9,ECB\n");
    let told = |fx: &str, others: &[(&str, &str)]| {
        let folder = read_with(fx, others).unwrap_or_else(|error| panic!("{error}"));
        folder.unrated.iter().map(ToString::to_string).collect::<Vec<String>>()
    };
    let (of_another, of_it) = ("[fx]\nsource = \"EBC\"\ndate = \"item\"", "[fx]\nsource = \"ECB\"\ndate = \"item\"");
    let line = DEFINITIONS.lines().count() + 2;
    let expect = format!("deal.md:{line}:10: source = \"EBC\"\n  no row of fx.csv is of this source; there is ECB");
    assert_eq!(told(of_another, &[rates]), [expect]);
    // Its rates may be loaded already, or be stated by the agreement.
    let own = format!("{of_another}\nrates = [{{ from = \"USD\", to = \"EUR\", rate = \"0.9\" }}]");
    assert!(told(of_it, &[rates]).is_empty() && told(of_another, &[]).is_empty() && told(&own, &[rates]).is_empty());
}
