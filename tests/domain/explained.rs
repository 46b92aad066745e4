//! What amounts are made of, as it is explained: each rate one that a clause says, worked out by hand.

use crate::worked::{REGISTER, TERM, contract};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::explain::node::{Kind, Node};
use apportion::domain::explain::{Depth, Question};
use apportion::domain::period::parse_instant;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::explained::{Amounts, explain};

const PRICES: &str = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at\n\
                      a,api,requests,default,,,,,100,1,USD,,,list,\nc,chat,requests,default,,,,,10,1,USD,,,list,\n";

const RATES: &str = "date,from,to,rate,source,recorded_at\n2026-01-02,EUR,USD,1.25,ecb,\n2026-01-05,EUR,GBP,0.8,ecb,\n";

/// A request: its day, its product and how many of it there were.
type Sold<'s> = (&'s str, &'s str, u32);

const OF_ALL: &str =
    "[base.Use]\nselect = { units = { seller = \"lab\" } }\n[base.Chat]\nselect = { charges = { product = \"chat\" } }";

/// The tree of `c` for a month of 2026, an amount a line; what is below prices left out.
#[track_caller]
fn told_of_c(blocks: &str, month: &str, sold: &[Sold<'_>]) -> Vec<String> {
    told_under(&contract("main", &format!("{OF_ALL}\n\n{blocks}"), "").text, month, sold)
}

#[track_caller]
fn told_under(agreement: &str, month: &str, sold: &[Sold<'_>]) -> Vec<String> {
    let mut told = Vec::new();
    trees_under(agreement, month, sold).iter().for_each(|tree| tell(tree, 0, &mut told));
    told
}

#[track_caller]
fn trees_under(agreement: &str, month: &str, sold: &[Sold<'_>]) -> Vec<Node> {
    trees_with(agreement, (month, Depth::Sums), sold, "")
}

#[track_caller]
fn trees_with(agreement: &str, (month, depth): (&str, Depth), sold: &[Sold<'_>], record: &str) -> Vec<Node> {
    let usage = |(place, (day, product, requests)): (usize, &Sold<'_>)| {
        let at = format!("2026-{day}T12:00:00Z");
        format!(
            r#"{{"kind":"usage","id":"{place}","source":"s","recorded_at":"{at}","occurred_at":"{at}","deployment":"own","product":"{product}","customer":"c","quantities":{{"requests":"{requests}"}}}}"#
        )
    };
    let usage: Vec<String> = sold.iter().enumerate().map(usage).chain([record.to_owned()]).collect();
    let own =
        "[deployment.own]\ncloud = \"azure\"\nchannel = \"api\"\noperator = \"ms\"\nseller = \"lab\"\nregion = \"eu\"";
    let settle = format!(r#"{{"step":"settle","contract":"main","period":"{month}","cutoff":"2026-12-01T00:00:00Z"}}"#);
    let file = |path: &str, text: String| SourceFile { path: path.to_owned(), text };
    let files = [
        file("contracts/register.md", format!("{REGISTER}\n```toml\n[party.arm]\nname = \"Arm\"\n{own}\n```\n")),
        file("contracts/main.md", agreement.to_owned()),
        file("contracts/prices.csv", PRICES.to_owned()),
        file("fx.csv", RATES.to_owned()),
        file("records.jsonl", usage.join("\n")),
        file("steps.jsonl", settle),
    ];
    let scenario = Scenario::read(&files).unwrap_or_else(|errors| panic!("{errors}"));
    let (id, known_at) = ("main".into(), parse_instant("2026-12-01T00:00:00Z").expect("an instant"));
    let of = Amounts { contract: &id, period: month, term: Some(&"c".into()), known_at };
    let question = Question { depth, limit: 10 };
    let explained = explain(&scenario, &of, question).unwrap_or_else(|error| panic!("{error}"));
    explained.amounts.iter().for_each(|tree| assert!(tree.adds_up(), "{tree:#?}"));
    explained.amounts
}

/// What is below the version, down to charges.
fn tell(node: &Node, depth: usize, told: &mut Vec<String>) {
    let is_above = depth < 3;
    let first = node.what.split(',').next().unwrap_or_default();
    let is_charge = matches!(first, "charges" | "usage");
    if !is_above {
        let what = if is_charge { first } else { &node.what };
        let factor = node.factor.as_ref().filter(|_| !is_charge).map(|factor| format!(": x {factor}"));
        let indent = "  ".repeat(depth.saturating_sub(3));
        told.push(format!("{indent}{} {} {what}{}", node.amount, node.unit, factor.unwrap_or_default()));
    }
    for part in node.parts.iter().filter(|_| !is_charge) {
        tell(part, depth.saturating_add(1), told);
    }
}

/// 5 % of 300, 10 % of the 100 of them that is chat, and 7 a month.
#[test]
fn a_sum_is_told_by_its_rates_and_sums() {
    let sum = format!(
        "[term.c]\n{TERM}\neach = \"month\"\nsum = [{{ rate = \"5%\", of = \"Sales\" }}, {{ rate = \"10%\", of = \"Chat\" }}, {{ fixed = \"7 USD\" }}]"
    );
    let sold = [("01-05", "api", 2), ("01-06", "chat", 10)];
    assert_eq!(
        told_of_c(&sum, "2026-01", &sold),
        [
            "10 USD base x rate: x 0.1",
            "  100 USD of Chat",
            "    100 USD charges",
            "15 USD base x rate: x 0.05",
            "  300 USD of Sales",
            "    200 USD charges",
            "    100 USD charges",
            "7 USD a sum as stated",
        ]
    );
}

/// The greater of 10 % of 300 and 25 % of the 100 that is chat; at most 28.
#[test]
fn what_is_not_the_greatest_or_least_is_told_and_counts_nothing() {
    let sold = [("01-05", "api", 2), ("01-06", "chat", 10)];
    let greater = "{ greater_of = [{ rate = \"10%\", of = \"Sales\" }, { rate = \"25%\", of = \"Chat\" }] }";
    let both = format!("[term.c]\n{TERM}\neach = \"month\"\nlesser_of = [{greater}, {{ fixed = \"28 USD\" }}]");
    assert_eq!(
        told_of_c(&both, "2026-01", &sold),
        [
            "28 USD a sum as stated",
            "0 USD not the least: x 0",
            "  0 USD not the greatest: x 0",
            "    25 USD base x rate: x 0.25",
            "      100 USD of Chat",
            "        100 USD charges",
            "0 USD not the least: x 0",
            "  30 USD base x rate: x 0.1",
            "    300 USD of Sales",
            "      200 USD charges",
            "      100 USD charges",
        ]
    );
}

/// 60 % up to 150 and 70 % above, of 100 and 200: the second lies in both.
#[test]
fn an_item_across_tiers_is_told_in_parts() {
    let tiers = "rate = [{ up_to = \"150 USD\", is = \"60%\" }, { otherwise = \"70%\" }]\ntiers = { apply = \"marginal\", each = \"year\", from = 2026-01-01 }";
    let term = format!("[term.c]\n{TERM}\nof = \"Sales\"\n{tiers}");
    assert_eq!(
        told_of_c(&term, "2026-01", &[("01-05", "api", 1), ("01-06", "api", 2)]),
        [
            "90 USD base x rate: x 0.6",
            "  150 USD of Sales",
            "    50 USD what of it counts: x 0.25",
            "      200 USD charges",
            "    100 USD charges",
            "105 USD base x rate: x 0.7",
            "  150 USD of Sales",
            "    150 USD what of it counts: x 0.75",
            "      200 USD charges",
        ]
    );
}

/// 20 % of chat and 10 % of what else is sold in a quarter, less 3: of charges of months before as well,
/// or as each month comes to date.
#[test]
fn a_window_of_several_rates_tells_the_charges_of_each() {
    let rate = "rate = [{ where = { product = \"chat\" }, is = \"20%\" }, { otherwise = \"10%\" }]";
    let term =
        format!("[term.c]\n{TERM}\neach = \"quarter\"\nof = \"Sales\"\n{rate}\nless = [{{ fixed = \"3 USD\" }}]");
    let sold = [("01-05", "api", 2), ("01-06", "chat", 10), ("02-06", "chat", 5)];
    assert_eq!(
        told_of_c(&term, "2026-03", &sold),
        [
            "20 USD base x rate: x 0.1",
            "  200 USD of Sales",
            "    200 USD charges",
            "30 USD base x rate: x 0.2",
            "  150 USD of Sales",
            "    150 USD charges",
            "-3 USD taken off: x -1",
            "  3 USD a sum as stated",
        ]
    );
    let to_date = format!("{term}\nat_window_end = false");
    assert_eq!(
        told_of_c(&to_date, "2026-02", &sold),
        ["10 USD base x rate: x 0.2", "  50 USD of Sales", "    50 USD charges"]
    );
}

/// 10 % of all that is sold in a quarter, 20 % once that exceeds 150: what January was told of is told anew.
#[test]
fn whole_tiers_tell_what_an_earlier_month_was_told_of() {
    let tiers = "rate = [{ up_to = \"150 USD\", is = \"10%\" }, { otherwise = \"20%\" }]\ntiers = { apply = \"whole\", each = \"quarter\", from = 2026-01-01 }";
    let term = format!("[term.c]\n{TERM}\nof = \"Sales\"\n{tiers}");
    let sold = [("01-05", "api", 1), ("02-06", "chat", 10)];
    assert_eq!(
        told_of_c(&term, "2026-02", &sold),
        [
            "-10 USD base x rate: x 0.1",
            "  -100 USD of Sales",
            "    -100 USD what of it counts: x -1",
            "      100 USD charges",
            "40 USD base x rate: x 0.2",
            "  200 USD of Sales",
            "    100 USD charges",
            "    100 USD charges",
        ]
    );
}

/// 3 for each whole block of 5 of 2 and 12 units, and half of 10 % of what is sold, which is an amount by name.
#[test]
fn blocks_and_amounts_are_told_down_to_what_they_are_of() {
    let tenth = "[amount.Tenth]\nrate = \"10%\"\nof = \"Sales\"";
    let nodes = "sum = [{ price = \"3 USD\", per_units = \"5\", part_block = \"none\", of = \"Use\" }, { rate = \"50%\", of = \"Tenth\" }]";
    let sold = [("01-05", "api", 2), ("01-06", "chat", 12)];
    assert_eq!(
        told_of_c(&format!("{tenth}\n\n[term.c]\n{TERM}\n{nodes}"), "2026-01", &sold),
        [
            "6 USD units x price: x 3",
            "  2 blocks in blocks: x 1/7",
            "    14 units of Use",
            "      2 units usage",
            "      12 units usage",
            "16 USD base x rate: x 0.5",
            "  32 USD of Tenth",
            "    32 USD base x rate: x 0.1",
            "      320 USD of Sales",
            "        200 USD charges",
            "        120 USD charges",
        ]
    );
}

/// Half of what terms yield: explained, 200 are told as one term's and 7 as the other's, and above a threshold nobody can
/// say of which.
#[test]
fn what_is_drawn_on_is_explained_by_what_each_brought() {
    let drawn = |more: &str| {
        format!(
            "[term.b]\n{TERM}\nprice = \"1 USD\"\nof = \"Use\"\n\n[base.Both]\nselect = [{{ accrual = \"share\" }}, {{ accrual = \"b\" }}]\n{more}\n\n\
             [term.c]\n{TERM}\nrate = \"50%\"\nof = \"Both\""
        )
    };
    let sold = [("01-05", "chat", 7), ("01-06", "chat", 93)];
    assert_eq!(
        told_of_c(&drawn(""), "2026-01", &sold),
        [
            "150 USD base x rate: x 0.5",
            "  300 USD of Both",
            "    100 USD of main/b",
            "      100 USD accrued by main/b, unrounded",
            "        100 USD version 1",
            "          100 USD units x price: x 1",
            "            100 units of Use",
            "              100 units usage",
            "    200 USD of main/share",
            "      200 USD accrued by main/share, unrounded",
            "        200 USD version 1",
            "          200 USD base x rate: x 0.2",
            "            1000 USD of Sales",
            "              1000 USD charges",
        ]
    );
    let above = "above = { is = \"50 USD\", each = \"term\", from = 2026-01-01 }";
    assert_eq!(
        told_of_c(&drawn(above), "2026-01", &sold),
        ["125 USD base x rate: x 0.5", "  250 USD of Both", "    250 USD its total, azure / api / own / chat",]
    );
}

/// At least 50 a month, and what exceeds that counts in later months: 10 % of 200 in February beside 10 % of 600 in January.
#[test]
fn a_top_up_is_the_minimum_less_what_counts_and_what_is_carried() {
    let minimum = "minimum = { is = \"50 USD\", each = \"month\", carry = \"excess\" }";
    let term = format!("[term.c]\n{TERM}\nrate = \"10%\"\nof = \"Sales\"\n{minimum}");
    let sold = [("01-05", "api", 6), ("02-06", "api", 2)];
    let expected = [
        "20 USD base x rate: x 0.1",
        "  200 USD of Sales",
        "    200 USD charges",
        "20 USD what the minimum lacked",
        "  50 USD the minimum",
        "  -20 USD taken off: x -1",
        "    20 USD what counts toward it",
        "  -10 USD what its other windows carry",
    ];
    assert_eq!(told_of_c(&term, "2026-02", &sold), expected);
}

/// 10 % of all that is sold in a month, 20 % once that exceeds 150, a year: of 320 in January 31 days of 365.
#[test]
fn a_yearly_rate_that_is_told_at_the_end_is_for_the_days_of_its_window() {
    let rate = "rate = [{ up_to = \"150 USD\", is = \"10%\" }, { otherwise = \"20%\" }]\nannual = \"actual/365\"";
    let sold = [("01-05", "api", 2), ("01-06", "chat", 12)];
    for apply in [
        "apply = \"whole\", each = \"month\", from = 2026-01-01",
        "apply = \"level\", of = \"Sales\", read = \"window_end\"",
    ] {
        let tiers = format!("tiers = {{ {apply} }}");
        let term = format!("[term.c]\n{TERM}\neach = \"month\"\nof = \"Sales\"\n{rate}\n{tiers}");
        let expected = [
            "1984/365 USD for a part of the year: x 31/365",
            "  64 USD base x rate: x 0.2",
            "    320 USD of Sales",
            "      200 USD charges",
            "      120 USD charges",
        ];
        assert_eq!(told_of_c(&term, "2026-01", &sold), expected, "{apply}");
    }
}

/// What an advance is recouped of passes before `c`, of the same sale: both tell their charges.
#[test]
fn what_passes_between_two_terms_changes_no_charges() {
    let advance = format!("[term.advance]\n{TERM}\nfixed = \"15 USD\"\non = 2026-01-02");
    let royalty = format!(
        "[term.a]\n{TERM}\nrate = \"10%\"\nof = \"Sales\"\ncredits = [{{ of = \"advance\", rest = \"lost\" }}]"
    );
    let sum = "sum = [{ rate = \"5%\", of = \"Sales\" }, { rate = \"1%\", of = \"Sales\" }]";
    let expected = [
        "10 USD base x rate: x 0.05",
        "  200 USD of Sales",
        "    200 USD charges",
        "2 USD base x rate: x 0.01",
        "  200 USD of Sales",
        "    200 USD charges",
    ];
    let blocks = format!("{advance}\n\n{royalty}\n\n[term.c]\n{TERM}\n{sum}");
    assert_eq!(told_of_c(&blocks, "2026-01", &[("01-05", "api", 2)]), expected);
}

/// 10 % of 200 less 30 % of a tenth of them.
#[test]
fn what_a_node_takes_off_a_base_is_told_by_its_rate() {
    let net = "[amount.Tenth]\nrate = \"10%\"\nof = \"Sales\"\n\n[base.Net]\nselect = { charges = { seller = \"lab\" } }\nless = [{ rate = \"30%\", of = \"Tenth\", at = \"item\" }]";
    let expected = [
        "19.4 USD base x rate: x 0.1",
        "  194 USD of Net",
        "    -6 USD taken off: x -1",
        "      6 USD base x rate: x 0.3",
        "        20 USD of Tenth",
        "          20 USD base x rate: x 0.1",
        "            200 USD of Sales",
        "              200 USD charges",
        "    200 USD charges",
    ];
    let blocks = format!("{net}\n\n[term.c]\n{TERM}\nrate = \"10%\"\nof = \"Net\"");
    assert_eq!(told_of_c(&blocks, "2026-01", &[("01-05", "api", 2)]), expected);
}

/// 3 for each whole block of 5 of the first 2 units, and 2 of what is above: 2 units fill none, 12 more fill two.
#[test]
fn units_that_fill_no_block_yet_are_told_all_the_same() {
    let price = "price = [{ up_to = \"2\", is = \"3 USD\" }, { otherwise = \"2 USD\" }]\nper_units = \"5\"\npart_block = \"none\"\nof = \"Use\"";
    let tiers = "tiers = { apply = \"marginal\", each = \"year\", from = 2026-01-01 }";
    let expected = [
        "4 USD units x price: x 2",
        "  2 blocks in blocks: x 1/6",
        "    12 units of Use",
        "      12 units usage",
        "0 USD units x price: x 3",
        "  0 blocks in blocks: x 0",
        "    2 units of Use",
        "      2 units usage",
    ];
    let blocks = format!("[term.c]\n{TERM}\n{price}\n{tiers}");
    assert_eq!(told_of_c(&blocks, "2026-01", &[("01-05", "api", 2), ("01-06", "chat", 12)]), expected);
}

/// 7 for each month from the 15th, beside 10 % of it: of 100 on 20 January and 200 on 10 February, and not of what comes after.
#[test]
fn a_window_across_periods_tells_the_charges_of_its_own_days() {
    let node = "sum = [{ rate = \"10%\", of = \"Sales\" }, { fixed = \"7 USD\" }]\nfrom = 2026-01-15";
    let term =
        format!("[period.own]\nevery = \"1 month\"\nfrom = 2026-01-15\n\n[term.c]\n{TERM}\neach = \"own\"\n{node}");
    let sold = [("01-20", "api", 1), ("02-10", "chat", 20), ("02-20", "api", 3)];
    let expected = [
        "30 USD base x rate: x 0.1",
        "  300 USD of Sales",
        "    100 USD charges",
        "    200 USD charges",
        "7 USD a sum as stated",
    ];
    assert_eq!(told_of_c(&term, "2026-02", &sold), expected);
}

/// Twice 10 % of 200, and 7 for each of two products.
#[test]
fn two_leaves_of_the_same_and_a_sum_that_is_owed_twice_are_told_so() {
    let twice = "sum = [{ rate = \"10%\", of = \"Sales\" }, { rate = \"10%\", of = \"Sales\" }, { fixed = \"7 USD\" }]";
    let term = format!("[term.c]\n{TERM}\neach = \"month\"\nper = [\"product\"]\n{twice}");
    let of_sales = ["20 USD base x rate: x 0.1", "  200 USD of Sales", "    100 USD charges", "    100 USD charges"];
    let stated = ["14 USD times: x 2", "  7 USD a sum as stated"];
    let expected: Vec<&str> = of_sales.iter().chain(&of_sales).chain(&stated).copied().collect();
    assert_eq!(told_of_c(&term, "2026-01", &[("01-05", "api", 1), ("01-06", "chat", 10)]), expected);
}

/// 10 % of 100 are 10 USD, which are 5 EUR, of which a half is owed in euros.
#[test]
fn an_amount_in_another_currency_is_told_in_its_own() {
    let tenth = "[amount.Tenth]\nrate = \"10%\"\nof = \"Sales\"";
    let expected = [
        "2.5 EUR base x rate: x 0.5",
        "  5 EUR of Tenth",
        "    5 EUR converted: 0.5 EUR for one USD (as the contract states): x 0.5",
        "      10 USD of Tenth",
        "        10 USD base x rate: x 0.1",
        "          100 USD of Sales",
        "            100 USD charges",
    ];
    let blocks = format!("{tenth}\n\n[term.c]\n{TERM}\nrate = \"50%\"\nof = \"Tenth\"\nin = \"EUR\"");
    assert_eq!(told_of_c(&blocks, "2026-01", &[("01-05", "api", 1)]), expected);
}

/// Half of sales in another currency, by the rates of the source.
fn in_unit(unit: &str, fields: &str) -> String {
    let term = format!("[term.c]\n{TERM}\nrate = \"50%\"\nof = \"Sales\"\nin = \"{unit}\"");
    let text = contract("main", &format!("{OF_ALL}\n\n{term}"), "").text;
    let (before, after) = text.split_once("[fx]").expect("rates of the agreement");
    let (_, after) = after.split_once("]\n").expect("their end");
    format!("{before}[fx]\nsource = \"ecb\"\ndate = \"item\"\nwithin = \"5 days\"\n{fields}{after}")
}

/// The source has euros to dollars alone.
#[test]
#[should_panic(expected = "one of the other direction is there: write inverse = true in [fx]")]
fn a_rate_of_the_other_direction_is_told_where_one_is_missing() {
    told_under(&in_unit("EUR", ""), "2026-01", &[("01-06", "api", 1)]);
}

/// 100 USD at 1.25 for a euro are 80 EUR, which are 64 GBP.
#[test]
fn a_rate_of_exchange_is_told_as_its_source_states_it() {
    let terms = |unit: &str| in_unit(unit, "inverse = true\ncross = \"EUR\"\n");
    let sold = [("01-06", "api", 1)];
    let inverse = "divided by 1.25 USD for one EUR (ecb, 2026-01-02)";
    assert_eq!(
        told_under(&terms("EUR"), "2026-01", &sold),
        [
            "40 EUR base x rate: x 0.5",
            "  80 EUR of Sales",
            &format!("    80 EUR converted: {inverse}: x 0.8"),
            "      100 USD charges"
        ]
    );
    assert_eq!(
        told_under(&terms("GBP"), "2026-01", &sold),
        [
            "32 GBP base x rate: x 0.5",
            "  64 GBP of Sales",
            &format!("    64 GBP converted: {inverse}, and 0.8 GBP for one EUR (ecb, 2026-01-05): x 0.64"),
            "      100 USD charges"
        ]
    );
}

/// Of 20 % of 100 the cloud has three quarters and the lab's own arm the rest.
#[test]
fn what_others_are_owed_by_a_term_is_told_one_by_one() {
    let split = "[term.c]\npayer = \"lab\"\npayee = [{ party = \"ms\", part = \"3/4\" }, { party = \"arm\", part = \"1/4\" }]\nrate = \"20%\"\nof = \"Sales\"";
    let text = contract("main", &format!("{OF_ALL}\n\n{split}"), "").text;
    let others = |tree: &Node| {
        let others = tree.parts.iter().filter(|part| part.kind == Kind::Others);
        let others: Vec<String> = others.map(|part| format!("{} {}", part.what, part.amount)).collect();
        format!("{}: {}", tree.amount, others.join(", "))
    };
    let trees = trees_under(&text, "2026-01", &[("01-05", "api", 1)]);
    assert_eq!(
        trees.iter().map(others).collect::<Vec<_>>(),
        ["5: what lab owes ms by this term -15", "15: what lab owes arm by this term -5"]
    );
}

/// 10 % of 300 less 10 that were given back in February of the request of 5 January.
#[test]
fn what_is_given_back_is_told_with_its_own_id_and_day() {
    let base = "[base.Net]\nselect = { charges = { seller = \"lab\" } }\nless = [{ deductions = [\"refund\"], at = \"item\" }]";
    let text = contract("main", &format!("{base}\n\n[term.c]\n{TERM}\nrate = \"10%\"\nof = \"Net\""), "").text;
    let refund = r#"{"kind":"deduction","id":"r-1","source":"billing","recorded_at":"2026-02-20T00:00:00Z","category":"refund","at":"2026-02-20T00:00:00Z","amount":"10 USD","event":{"source":"s","id":"0"}}"#;
    let sold = [("01-05", "api", 1), ("01-06", "api", 2)];
    let trees = trees_with(&text, ("2026-01", Depth::Events), &sold, refund);
    let mut records = Vec::new();
    let mut left: Vec<&Node> = trees.iter().collect();
    while let Some(node) = left.pop() {
        let at = node.at.map(|at| at.date_naive().to_string()).unwrap_or_default();
        records.extend((node.kind == Kind::Record).then(|| format!("{} {} {at}", node.amount, node.what)));
        left.extend(&node.parts);
    }
    assert_eq!(records, ["-10 r-1 of billing, off 0 of s 2026-02-20"]);
    assert_eq!(trees[0].amount, "29".parse().expect("a number"));
}
