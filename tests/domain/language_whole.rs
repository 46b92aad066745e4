//! What the reader refuses across terms, versions and contracts, and in examples, with the whole message.

use crate::language::{accept, read_with, term};
use crate::support::head;
use apportion::domain::contract::additions::{Loaded, additions};
use apportion::domain::contract::example::{Expected, What, When};
use apportion::domain::contract::folder::{Folder, read_versions};
use apportion::domain::contract::value::{Cell, Condition};

fn check(block: &str, others: &[(&str, &str)], expect: &str) {
    let found = read_with(block, others).err().unwrap_or_else(|| panic!("accepted:\n{block}"));
    assert_eq!(found, expect, "for:\n{block}");
}

fn version(number: u32, rest: &str) -> String {
    format!("# V\n```toml\n[version]\ncontract = \"deal\"\nnumber = {number}\neffective = 2026-06-01\n{rest}\n```\n")
}

const SHARE: &str = "[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"20%\"\nof = \"Sales\"";

const OTHER: &str = concat!(
    head!("chain"),
    r#"[base.Sales]
select = { charges = { seller = "lab" } }

[term.pass-on]
payer = "lab"
payee = "cloud"
rate = "50%"
of = "Sales"
```
"#
);

#[test]
fn versions_agree_with_each_other() {
    check(SHARE, &[("2.md", &version(1, SHARE))], "2.md:3:1: version 1 of deal has the number of another version");
    let flipped = SHARE.replace("\"lab\"", "\"x\"").replace("\"cloud\"", "\"lab\"").replace("\"x\"", "\"cloud\"");
    check(
        SHARE,
        &[("2.md", &version(2, &flipped))],
        "2.md:7:1: term share of deal version 2 has another payer or payee than in version 1; a flipped direction is another term, \
         under another name",
    );
    check(
        SHARE,
        &[
            ("2.md", &version(2, &format!("recorded_at = 2026-05-02T00:00:00Z\n{SHARE}"))),
            ("3.md", &version(3, &format!("recorded_at = 2026-05-01T00:00:00Z\n{SHARE}"))),
        ],
        "3.md:3:1: version 3 of deal is recorded before version 2; numbers rise with recorded_at",
    );
    check(
        &format!("{SHARE}\nthrough = 2025-06-30"),
        &[],
        "deal.md:56:11: term share (\"Clause\"): through = 2025-06-30\n  it ends at 2025-07-01 (UTC), before the \
         contract begins at 2026-01-01 (UTC), and never holds; write a later date, or leave it out",
    );
    check(
        &format!("{SHARE}\nfrom = 2025-06-30"),
        &[],
        "deal.md:56:8: term share (\"Clause\"): from = 2025-06-30\n  that is before the contract begins at 2026-01-01 \
         (UTC); write a date from then on",
    );
    check(
        &term("fixed = \"1 USD\"\non = [2025-06-30, 2026-06-30]"),
        &[],
        "deal.md:55:7: term share (\"Clause\"): 2025-06-30\n  that is before the contract begins at 2026-01-01 \
         (UTC); write a date from then on",
    );
}

#[test]
fn a_version_says_of_which_contract_it_is() {
    let alone = version(2, SHARE).replace("contract = \"deal\"\n", "");
    check(
        SHARE,
        &[("2.md", &alone)],
        "2.md:3:1: version (\"V\"): a version without a contract; write [contract] in this file, or contract = \
         \"its-id\" in [version]",
    );
    let other = version(2, SHARE).replace("\"deal\"", "\"dael\"");
    check(SHARE, &[("2.md", &other)], "2.md:3:1: version of contract \"dael\", which no file of the folder states");
}

#[test]
fn loaded_versions_do_not_change() {
    let definitions = OTHER.split("[version]").next().expect("definitions");
    let base = "[base.Sold]\nselect = { charges = { seller = \"lab\" } }\n```\n";
    let chain = SHARE.replace("Sales", "Sold");
    let version = |number, rest: &str| version(number, rest).replace("\"deal\"", "\"chain\"");
    let read = |base: &str, versions: &[(u32, String)]| {
        let definitions = format!("{definitions}{base}");
        let texts: Vec<(String, String)> =
            versions.iter().map(|(number, rest)| (format!("{number}.md"), version(*number, rest))).collect();
        let mut files = vec![("chain.md", definitions.as_str())];
        files.extend(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        read_with("", &files).unwrap_or_else(|error| panic!("{error}"))
    };
    let loaded = read(base, &[(1, chain.clone())]);
    let refuse = |folder: Folder, expect: &str| {
        let stored = crate::support::documents(&loaded);
        let contracts = read_versions(&stored, &loaded.register).expect("what was read before");
        let loaded = Loaded { prices: &[], rates: &[], documents: &stored, contracts };
        let found = additions(&folder, loaded).err().unwrap_or_else(|| panic!("accepted"));
        assert_eq!(found.to_string(), expect);
    };
    refuse(
        read(&base.replace("seller", "operator"), &[(1, chain.clone())]),
        "chain.md:12: a definition that version 1 of chain uses has changed; state the new one in a new version's file",
    );
    refuse(
        read(base, &[(1, chain.clone()), (2, format!("recorded_at = 2026-05-02T00:00:00Z\n{chain}"))]),
        "2.md:3: version 2 of chain gives its recorded_at; loading stamps it, and only a history that is imported as a whole \
         gives it",
    );
    let record = "\n```\n\n| record | at |\n| --- | --- |\n| fact launch | 2026-06-01 |\n\n```text";
    let launch = "[fact.launch]\nkind = \"event\"\n\n";
    refuse(
        read(base, &[(1, chain.clone()), (2, format!("\n{launch}{chain}{record}"))]),
        "2.md:3: version 2 of chain has a table headed `record`, which loading does not record yet; write its facts as JSON \
         lines beside the agreement, in a file .jsonl",
    );
}

#[test]
fn nothing_feeds_itself() {
    let base = "[base.Fed]\nselect = { accrual = \"share\" }\n\n";
    check(
        &format!("{base}{}", SHARE.replace("Sales", "Fed")),
        &[],
        "deal.md:58:6: term share of deal version 1: of = \"Fed\"\n  feeds itself in a circle: deal/share -> base Fed of deal -> deal/share",
    );
    check(
        &format!("[base.Fed]\nselect = {{ accrual = \"chain/pass-on\" }}\n\n{}", SHARE.replace("Sales", "Fed")),
        &[("chain.md", &OTHER.replace("{ charges = { seller = \"lab\" } }", "{ accrual = \"deal/share\" }"))],
        "chain.md:22:6: term pass-on of chain version 1: of = \"Sales\"\n  feeds itself in a circle: chain/pass-on -> base Sales of chain -> deal/share -> base Fed of deal -> \
         chain/pass-on",
    );
    check(
        &format!("[base.Fed]\nselect = {{ accrual = \"chain/passed\" }}\n\n{}", SHARE.replace("Sales", "Fed")),
        &[("chain.md", OTHER)],
        "deal.md:51:1: base Fed of deal version 1 draws on chain/passed, which no version of a known contract has",
    );
    let fee = "tiers = { apply = \"marginal\", of = \"share\", each = \"year\", from = 2026-01-01 }";
    let rows = "[{ up_to = \"1 USD\", is = \"10%\" }, { otherwise = \"5%\" }]";
    accept(&format!("{}\n{fee}", SHARE.replace("\"20%\"", rows)));
}

#[test]
fn no_money_counts_twice() {
    let both = "[base.Both]\nselect = [{ charges = { cloud = \"azure\" } }, { accrual = \"chain/pass-on\" }]";
    check(
        &format!("{both}\n\n{}", SHARE.replace("Sales", "Both")),
        &[("chain.md", OTHER)],
        "deal.md:52:46: base Both of deal version 1: { accrual = \"chain/pass-on\" }\n  counts the same money twice: what chain/pass-on brings may also be in a selection \
         above it; name attributes that tell them apart",
    );
    let apart = both.replace("cloud = \"azure\"", "seller = \"cloud\"");
    let left_out = both.replace("{ cloud = \"azure\" }", "{}, not = { seller = \"lab\" }");
    for block in [apart, left_out] {
        let read = read_with(&block, &[("chain.md", OTHER)]);
        read.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn rows_and_parameters_become_cells() {
    let rows = "[{ through = 2026-12-31, is = \"1%\" }, { where = { paused = true }, is = \"none\" }, { otherwise = [{ \
                where = { product = \"api\" }, is = \"set\" }, { otherwise = \"stop\" }] }]";
    let set = "[parameter.set]\nvalue = \"2%\"\nset_by = \"lab\"\nbetween = [\"0%\", \"5%\"]\nconfidence = \"assumed\"";
    let folder = accept(&format!("{set}\n\n{}", SHARE.replace("\"20%\"", rows)));
    let term = &folder.contracts[0].versions[0].terms[0];
    let tables = term.node.as_ref().expect("a node").tables();
    let [first, second, third] = tables[0].rows.as_slice() else { panic!("{tables:?}") };
    assert!(matches!(first.when.as_slice(), [Condition::Dates(_)]));
    assert_eq!(second.is, Cell::Nothing);
    let Cell::Table(inner) = &third.is else { panic!("{third:?}") };
    assert!(matches!(inner.rows.as_slice(), [row] if matches!(row.is, Cell::Noticed(_))), "{inner:?}");
    let assumed: Vec<&str> = term.assumptions.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(assumed, ["set"]);
}

#[test]
fn a_term_rests_on_what_its_base_rests_on() {
    let block = "[base.Sold]\nselect = { charges = { seller = \"lab\" } }\nconfidence = \"assumed\"\n\n[amount.Fee]\nrate = \
                 \"50%\"\nof = \"Sold\"";
    let folder = accept(&format!("{block}\n\n{}", SHARE.replace("Sales", "Fee")));
    let assumed = &folder.contracts[0].versions[0].terms[0].assumptions;
    assert_eq!(assumed.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), ["base Sold"]);
}

/// `third` draws on `second`, and that on `share`, whose rate is assumed.
#[test]
fn a_term_rests_on_what_the_terms_behind_it_rest_on() {
    let drawn = |name: &str, of: &str| SHARE.replace("term.share", &format!("term.{name}")).replace("Sales", of);
    let set = "[parameter.set]\nvalue = \"20%\"\nconfidence = \"assumed\"";
    let share = SHARE.replace("20%", "set");
    let folder = accept(&[set, &share, &drawn("second", "share"), &drawn("third", "second")].join("\n\n"));
    let contract = &folder.contracts[0];
    let third = contract.versions[0].term(&"third".into()).expect("a term");
    let behind = contract.versions[0].assumptions_behind(&contract.head.id, third);
    assert_eq!(behind.iter().map(|it| it.what.as_str()).collect::<Vec<_>>(), ["set"]);
}

#[test]
fn a_term_is_told_in_words() {
    let told = |from: &str, to: &str| {
        let folder = accept(&SHARE.replace(from, to));
        let term = &folder.contracts[0].versions[0].terms[0];
        format!("{} owes {}: {}", term.payer, term.payees, term.in_words())
    };
    assert_eq!(told("", ""), "lab owes cloud: 0.2 of Sales");
    let parts = "[{ party = \"cloud\", part = \"0.6\" }, { party = \"other\", part = \"0.4\" }]";
    assert_eq!(told("\"cloud\"", parts), "lab owes cloud, other: 0.2 of Sales");
    let pool = "{ each = \"operator\", by = \"Units\", if_none = \"nothing\" }";
    assert_eq!(told("\"cloud\"", pool), "lab owes each operator: 0.2 of Sales");
    let rows = "[{ through = 2026-12-31, is = \"20%\" }, { otherwise = \"stop\" }]";
    assert_eq!(told("\"20%\"", rows), "lab owes cloud: by rows of Sales");
    let minimum = "minimum = { is = \"9 USD\", each = \"year\", of = [\"Sales\"] }\npro_rata = \"full\"";
    assert_eq!(told("rate = \"20%\"\nof = \"Sales\"", minimum), "lab owes cloud: what Sales lacks of 9 USD");
    let share = "rate = \"20%\"\nof = \"Sales\"";
    let price = "price = \"2.50 USD\"\nof = \"Units\"";
    assert_eq!(told(share, price), "lab owes cloud: 2.5 USD per unit of Units");
    let block = format!("{price}\nper_units = \"1_000\"\npart_block = \"exact\"");
    assert_eq!(told(share, &block), "lab owes cloud: 2.5 USD per 1000 of Units, a part in proportion");
    let fixed = "{ fixed = \"700 USD\" }]\neach = \"month\"\npro_rata = \"full\"";
    let greater = format!("greater_of = [{{ {} }}, {fixed}", share.replace('\n', ", "));
    assert_eq!(told(share, &greater), "lab owes cloud: the greatest of (0.2 of Sales; 700 USD)");
}

fn example(given: &str, expect: &str) -> String {
    format!(
        "{SHARE}\n```\n\n## Example\n\n| given | at | amount | seller |\n| --- | --- | --- | --- |\n{given}\n\n| expect | period | amount |\n| --- | --- | --- |\n{expect}\n\n```text\n"
    )
}

#[test]
fn examples_are_read_as_data() {
    // The base takes no refunds, and another might.
    let takes_refunds = "[base.Net]\nselect = { charges = { seller = \"lab\" } }\nless = [{ deductions = [\"refund\"], at = \"item\" }]\n\n";
    let folder = accept(&format!(
        "{takes_refunds}{}",
        example(
            "| charge a | 2026-02-01 | 1_000 USD | lab |\n| refund r of a | 2026-03-01T00:00:00Z | 5 USD | |\n| figure Cost f \
         | 2026-02 | 9 USD | |",
            "| share | 2026-02 | 200 USD |\n| share | 2026 | 2 findings |",
        )
    ));
    let example = &folder.examples[0].examples[0];
    assert_eq!(example.title, "Example");
    let [charge, refund, figure] = example.given.as_slice() else { panic!("{example:?}") };
    assert_eq!((&charge.what, charge.id.as_deref()), (&What::Charge, Some("a")));
    assert_eq!(charge.values.get("seller").map(String::as_str), Some("lab"));
    assert_eq!(refund.what, What::Deduction { category: "refund".into(), of: vec!["a".into()] });
    assert!(matches!(refund.at, When::Instant(_)));
    assert_eq!((&figure.what, figure.id.as_deref()), (&What::Figure("Cost".into()), Some("f")));
    assert!(matches!(&example.expect[0].expected, Expected::Amount(amount) if amount.unit.as_deref() == Some("USD")));
    assert_eq!(example.expect[1].expected, Expected::Findings(2));
    assert_eq!(example.expect[1].period, When::Period("2026".parse().expect("a year")));
}

#[test]
fn wrong_examples_are_refused() {
    let given = "| charge a | 2026-02-01 | 1_000 USD | lab |";
    let expect = "| share | 2026-02 | 200 USD |";
    let refuse = |given: &str, expect: &str, message: &str| {
        check(&example(given, expect), &[], message);
    };
    refuse(
        &given.replace("1_000 USD", "1_000 bananas"),
        expect,
        "deal.md:62:27: \"Example\": \"1_000 bananas\" is no amount; write 1_000.50 USD, 300 sfg-share, 99.5% or 12",
    );
    refuse(
        &given.replace("2026-02-01", "soon"),
        expect,
        "deal.md:62:14: \"Example\": \"soon\" is no time; write 2026-04-27, 2026-04-27T00:00:00-07:00, 2026-04, 2026-Q2, \
         2026 or \"contract-year 2\"",
    );
    refuse("| refund r of a | 2026-02-01 | 1 USD | |", expect, "deal.md:62:3: \"Example\": no item \"a\"; there is r");
    // What is no kind of item would be the category of a deduction; here no base takes any.
    refuse(
        "| charges a | 2026-02-01 | 1_000 USD | lab |",
        expect,
        "deal.md:62:3: no kind of item and no category of deductions \"charges\"; there is charge",
    );
    refuse(given, "| shar | 2026-02 | 1 USD |", "deal.md:66:3: \"Example\": no term or right \"shar\"; there is share");
    refuse(given, "| chain/share | 2026-02 | 1 USD |", "deal.md:66:3: no term or right \"share\" of \"chain\"");
    refuse(
        &given.replace("charge a", "charged"),
        expect,
        "deal.md:62:3: \"Example\": \"charged\" is no item; write charge a, usage u, billing b, receipt p of a, refund r of \
         a, figure NAME f, fact NAME, status NAME, notice NAME n, rate EUR USD, correction of f or void of a",
    );
}

#[test]
fn deductions_reduce_sales_and_each_once() {
    let net = |select: &str, less: &str| {
        format!(
            "{SHARE}\n[base.Sold]\nselect = {{ charges = {{ seller = \"lab\" }} }}\n\
             less = [{{ deductions = [\"tax\"], at = \"item\" }}]\n\
             [base.Net]\nselect = {select}\nless = [{{ deductions = [\"{less}\"], at = \"own_date\" }}]"
        )
    };
    accept(&net("{ base = \"Sold\" }", "refund"));
    check(
        &net("{ base = \"Sold\" }", "tax"),
        &[],
        "deal.md:59:1: base Net of deal version 1 takes off a tax that is taken off in base Sold too: write it in one of them",
    );
    check(
        &net("{ accrual = \"share\" }", "refund"),
        &[],
        "deal.md:59:1: base Net of deal version 1 selects no sales that a refund could reduce: select charges, or a base of them",
    );
}

#[test]
fn a_value_that_is_looked_up_is_in_the_unit_that_is_wanted() {
    let cap = |unit: &str| {
        format!(
            "[figure.Most]\nunit = \"{unit}\"\nkind = \"level\"\nmissing = \"stop\"\n[fx]\nsource = \"ECB\"\ndate = \"item\"\n\
             {SHARE}\ncap = {{ is = \"Most\", each = \"year\", from = 2026-01-01, opening = \"0 USD\", excess = \"lost\", pro_rata = \"full\" }}"
        )
    };
    accept(&cap("USD"));
    check(
        &cap("EUR"),
        &[],
        "deal.md:63:14: term share (\"Clause\"): is = \"Most\"\n  it is in EUR, where USD is needed, and a value that is looked up is not converted; report it in USD",
    );
}

#[test]
fn what_is_owed_at_a_time_tells_no_items_apart() {
    let on = |rest: &str| format!("{SHARE}\n{rest}");
    accept(&on("on = 2026-06-01"));
    let refused = |field: &str| {
        format!(
            "deal.md:56:6: term share (\"Clause\"): on = 2026-06-01\n  {field} has no part in what is owed at a time (on), which \
             is of all that has come to by then; leave it out"
        )
    };
    check(&on("on = 2026-06-01\nonce = \"sale\""), &[], &refused("once"));
    check(&on("on = 2026-06-01\nper = [\"product\"]"), &[], &refused("per"));
    check(
        &on("on = [2026-06-01, 2026-09-01]"),
        &[],
        "deal.md:56:6: term share (\"Clause\"): on = [2026-06-01, 2026-09-01]\n  a share of all that has come to by then is owed \
         once; write one date, or a term for each",
    );
}

#[test]
fn tiers_count_their_own_measure_for_one_table_of_bands() {
    let sum = |second: &str| {
        format!(
            "[base.Other]\nselect = {{ charges = {{ seller = \"cloud\" }} }}\n[base.All]\nselect = [{{ base = \"Sales\" }}, {{ base = \
             \"Other\" }}]\n[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nsum = [{{ rate = [{{ up_to = \"500 USD\", is = \"10%\" }}, \
             {{ otherwise = \"5%\" }}], of = \"Sales\" }}, {{ rate = {second}, of = \"Other\" }}]\neach = \"month\"\n\
             tiers = {{ apply = \"marginal\", of = \"All\", each = \"month\", from = 2026-01-01 }}"
        )
    };
    accept(&sum("\"5%\""));
    let told = read_with(&sum("[{ up_to = \"500 USD\", is = \"10%\" }, { otherwise = \"5%\" }]"), &[])
        .expect_err("two tables");
    assert!(told.contains("would count it for each table of bands; write one table, of a base of both"), "{told}");
}
