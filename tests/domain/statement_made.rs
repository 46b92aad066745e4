//! What statements say that their amounts are made of, worked out by hand: each number in its own unit.

use crate::support::{History, exact};
use crate::worked::{REGISTER, contract};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::money::Exact;
use apportion::domain::statement::{LineDetail, StatementLine};

const PRICES: &str =
    "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source
a,api,requests,default,,,,,100,1,USD,,,list
c,chat,requests,default,,,,,10,1,USD,,,list
";

const OWN: &str =
    "[deployment.own]\ncloud = \"azure\"\nchannel = \"api\"\noperator = \"ms\"\nseller = \"lab\"\nregion = \"eu\"";

/// The line of a term `c` for January 2026, in which 3 requests of `api` and 40 of `chat` are sold: 300 and 400 USD.
#[track_caller]
fn line_of_c(blocks: &str) -> StatementLine {
    let statements = history(&contract("main", blocks, "").text, blocks).statements("main", "2026-01");
    let mut lines = statements.into_iter().flat_map(|statement| statement.lines);
    lines.find(|line| line.term.as_str() == "c").expect("a line")
}

/// That month under an agreement.
fn history(agreement: &str, blocks: &str) -> History {
    let file = |path: &str, text: String| SourceFile { path: path.to_owned(), text };
    let files = [
        file("register.md", format!("{REGISTER}\n```toml\n{OWN}\n[party.lab-arm]\nname = \"Arm\"\n```\n")),
        file("main.md", agreement.to_owned()),
        file("prices.csv", PRICES.to_owned()),
    ];
    let mut history = History::under(&files);
    for (product, requests) in [("api", "3"), ("chat", "40")] {
        history.event("2026-01-10T12:00:00Z", "own", product, &[("requests", requests)]);
    }
    let seats = r#""name":"Seats","at":"2026-01-01T00:00:00Z","value":"12""#;
    let costs = r#""name":"Costs","from":"2026-01-01","through":"2026-01-31","value":"90 USD""#;
    for (name, figure) in [("Seats", seats), ("Costs", costs)] {
        if blocks.contains(&format!("[figure.{name}]")) {
            let said = r#""kind":"figure","source":"lab","id":"1","contract":"main","by":"lab""#;
            history.record(&format!("{{{said},{figure}}}"));
        }
    }
    history
}

const TERM: &str = "payer = \"lab\"\npayee = \"ms\"";

/// "measured unit of: factors = amount", an addend a line.
fn made(detail: &LineDetail) -> Vec<String> {
    let sum: Exact = detail.addends.iter().map(|it| it.amount.clone()).sum();
    assert_eq!(sum, detail.uncapped, "{:?}", detail.addends);
    let addend = detail.addends.iter().map(|it| {
        let unit = it.unit.as_deref().unwrap_or("-");
        let blocks = it.blocks.iter().map(|blocks| format!(" in {blocks}")).collect::<String>();
        let factors = it.factors.iter().map(|factor| format!(" {:?} {}", factor.what, factor.value));
        format!("{} {unit} {}{blocks}:{} = {}", it.measured, it.of, factors.collect::<String>(), it.amount)
    });
    addend.collect()
}

#[track_caller]
fn check(blocks: &str, expect: &[&str]) -> StatementLine {
    let line = line_of_c(&format!("[term.c]\n{TERM}\n{blocks}"));
    let [detail] = line.details.as_slice() else { panic!("one version: {:?}", line.details) };
    assert_eq!(made(detail), expect);
    line
}

fn parts(line: &StatementLine) -> Vec<String> {
    let part = |it: &apportion::domain::statement::BasePart| {
        format!("{} {} {} {}", it.amount, it.unit.as_deref().unwrap_or("-"), it.what, it.product)
    };
    line.parts.iter().map(part).collect()
}

/// 43 requests at 5 for each ten, a part in proportion.
#[test]
fn requests_are_no_money() {
    let line = check(
        "price = \"5 USD\"\nper_units = \"10\"\npart_block = \"exact\"\nof = \"Use\"\n[base.Use]\nselect = { units = { seller = \"lab\" } }",
        &["43 - Use in 4.3: Price 5 = 21.5"],
    );
    assert_eq!(parts(&line), ["3 - usage api", "40 - usage chat"]);
}

/// 700 USD are 350 EUR.
#[test]
fn a_base_stands_in_the_terms_currency() {
    let line = check("in = \"EUR\"\nrate = \"10%\"\nof = \"Sales\"", &["350 EUR Sales: Rate 0.1 = 35"]);
    assert_eq!(parts(&line), ["150 EUR charges api", "200 EUR charges chat"]);
}

/// 12 seats at 20.
#[test]
fn a_level_is_measured_though_nothing_passes() {
    let seats = "each = \"month\"\nprice = \"20 USD\"\nof = \"Seats\"\n[figure.Seats]\nunit = \"number\"\nkind = \"level\"\nby = \"lab\"\nmissing = \"stop\"";
    check(seats, &["12 - Seats: Price 20 = 240"]);
}

/// 5 % of 700, and half of the costs of 90.
#[test]
fn unlike_things_stand_apart() {
    let sum = "each = \"month\"\nsum = [{ rate = \"5%\", of = \"Sales\" }, { rate = \"50%\", of = \"Costs\" }, { fixed = \"7 USD\" }]\n[figure.Costs]\nunit = \"USD\"\nkind = \"flow\"\nby = \"lab\"\nmissing = \"stop\"";
    let expect = ["700 USD Sales: Rate 0.05 = 35", "90 USD Costs: Rate 0.5 = 45", "1 - a sum as stated: Sum 7 = 7"];
    check(sum, &expect);
}

/// 5 % of 700 is less than 50.
#[test]
fn what_is_not_the_greatest_counts_nothing() {
    let greater = "each = \"month\"\ngreater_of = [{ rate = \"5%\", of = \"Sales\" }, { fixed = \"50 USD\" }]";
    check(greater, &["700 USD Sales: Rate 0.05 NotGreatest 0 = 0", "1 - a sum as stated: Sum 50 = 50"]);
}

/// 10 % of 700 is 70, of which a cap of 40 leaves 40 and leaves out 30.
#[test]
fn what_a_cap_leaves_out_is_told_beside() {
    let line = check(
        "rate = \"10%\"\nof = \"Sales\"\ncap = \"all\"\n[cap.all]\nis = \"40 USD\"\neach = \"term\"\nexcess = \"lost\"\nfrom = 2026-01-01\nopening = \"0 USD\"",
        &["700 USD Sales: Rate 0.1 = 70"],
    );
    assert_eq!((&line.details[0].left_out, &line.details[0].let_in), (&exact("-30"), &exact("0")));
}

/// Of 10 % of 700 the cloud has a quarter.
#[test]
fn what_other_payees_have_of_a_term_is_told() {
    let split = "payee = [{ party = \"ms\", part = \"1/4\" }, { party = \"lab-arm\", part = \"3/4\" }]";
    let line = line_of_c(&format!("[term.c]\npayer = \"lab\"\n{split}\nrate = \"10%\"\nof = \"Sales\""));
    assert_eq!((line.payee.as_str(), &line.accrued), ("lab-arm", &exact("70")));
    assert_eq!((&line.amount, &line.owed_to_others), (&exact("52.5"), &exact("17.5")));
}

/// No source of this name has a rate.
#[test]
fn a_missing_rate_is_told_by_what_was_looked_for() {
    let term = format!("[term.c]\n{TERM}\nrate = \"10%\"\nof = \"Sales\"\nin = \"EUR\"");
    let text = contract("main", &term, "").text;
    let (before, after) = text.split_once("[fx]").expect("rates of the agreement");
    let (_, after) = after.split_once("]\n").expect("their end");
    let fx = "[fx]\nsource = \"EZB\"\nwithin = \"3 days\"\ndate = \"item\"\n";
    let error = history(&format!("{before}{fx}{after}"), "").try_settle("main", "2026-01").expect_err("no rate");
    assert_eq!(
        error.to_string(),
        "main: no rate from USD to EUR of EZB for 2026-01-10, or up to 3 days before; add the row to fx.csv, under this source, and apply it"
    );
}

/// 2 USD for each of 43 requests: they are no charges.
#[test]
fn what_an_amount_yields_is_told_by_its_name() {
    let fee = "[amount.Fee]\nprice = \"2 USD\"\nof = \"Use\"\n[base.Use]\nselect = { units = { seller = \"lab\" } }";
    let line = check(&format!("rate = \"50%\"\nof = \"Fee\"\n{fee}"), &["86 USD Fee: Rate 0.5 = 43"]);
    assert_eq!(parts(&line), ["6 USD amount Fee api", "80 USD amount Fee chat"]);
}
