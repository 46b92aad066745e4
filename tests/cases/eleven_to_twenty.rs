//! Milestones, commitments, shares of shares, currencies, tiers, guarantees, cash, tails and profit: cases 11 to 20.

use crate::play::{HEAD, Play, SALES};
use serde_json::json;

const NOTHING: [&str; 0] = [];

/// A term of the lab's sales that it owes the cloud.
fn term(name: &str, rest: &str) -> String {
    format!("[term.{name}]\npayer = \"lab\"\npayee = \"cloud\"\nof = \"Sales\"\n{rest}\n")
}

#[test]
fn case_11_a_milestone_before_and_after_the_amendment_that_drops_it() {
    let definitions = format!("{SALES}\n[fact.agi]\nkind = \"event\"\n");
    let ends = term("share", "rate = \"10%\"\nuntil = \"agi\"");
    let goes_on = term("share", "rate = \"10%\"");
    let mut play = Play::new(HEAD, &definitions, &ends);
    play.version(2, "2026-04-01", "2026-01-02", &goes_on);
    // Before: it has ended from that instant on, and runs again from the amendment. 10 % of 100, and 10 % of 400.
    play.fact("agi", "2026-02-10T00:00:00Z", &json!({}));
    play.sale("before", "2026-02-09T23:59:59.999999Z", "100");
    play.sale("at", "2026-02-10T00:00:00Z", "200");
    play.sale("between", "2026-03-31T23:59:59Z", "300");
    play.sale("again", "2026-04-01T00:00:00Z", "400");
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-02: 10"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), NOTHING);
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["share 2026-04: 40"]);
    // After: the version in force names no milestone.
    let mut play = Play::new(HEAD, &definitions, &ends);
    play.version(2, "2026-04-01", "2026-01-02", &goes_on);
    play.fact("agi", "2026-05-10T00:00:00Z", &json!({}));
    play.sale("a", "2026-03-31T00:00:00Z", "300");
    play.sale("b", "2026-05-20T00:00:00Z", "500");
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["share 2026-03: 30"]);
    assert_eq!(play.settle("2026-05", "2026-06-05T00:00:00Z"), ["share 2026-05: 50"]);
}

#[test]
fn case_12_late_usage_reduces_a_shortfall_that_was_trued_up() {
    let commitment = r#"
[term.commitment]
payer = "lab"
payee = "cloud"

[term.commitment.minimum]
is = "1_000 USD"
each = "year"
of = "Sales"
pro_rata = "full"
"#;
    let mut play = Play::new(HEAD, SALES, commitment);
    play.sale("spent", "2026-06-10T00:00:00Z", "600");
    // 1000 less 600.
    assert_eq!(play.settle("2026-12", "2027-01-05T00:00:00Z"), ["commitment 2026-12: 400"]);
    // 300 more of 2026 leave 100: a credit of 300 for the period of the shortfall.
    play.recorded("2027-01-20T00:00:00Z");
    play.sale("late", "2026-11-10T00:00:00Z", "300");
    assert_eq!(play.settle("2027-01", "2027-02-05T00:00:00Z"), ["commitment 2026-12: -300"]);
    // 500 more leave none: what is left of it goes back, and no more.
    play.recorded("2027-02-20T00:00:00Z");
    play.sale("later", "2026-11-11T00:00:00Z", "500");
    assert_eq!(play.settle("2027-02", "2027-03-05T00:00:00Z"), ["commitment 2026-12: -100"]);
}

#[test]
fn case_13_a_share_on_a_share_both_capped() {
    let cap = |is| {
        format!(
            "cap = {{ is = \"{is} USD\", each = \"term\", from = 2026-01-01, opening = \"0 USD\", excess = \"lost\" }}"
        )
    };
    let passed_on = "[base.\"Passed On\"]\nselect = { accrual = \"resale/margin\", as = \"owed\" }\n";
    let share = format!(
        "[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"20%\"\nof = \"Passed On\"\n{}\n",
        cap("15")
    );
    let mut play = Play::new(HEAD, passed_on, &share);
    let resold = SALES.replace("seller = \"lab\"", "seller = \"shop\"");
    let margin =
        format!("[term.margin]\npayer = \"shop\"\npayee = \"lab\"\nrate = \"50%\"\nof = \"Sales\"\n{}\n", cap("100"));
    play.contract("resale", HEAD, &resold, &margin);
    // The margin of 120 and 120 is 60 and 40 of 60; of these the share is 12, and 3 of 8.
    play.usage("a", "2026-01-10T00:00:00Z", "market", "120", &json!({}));
    play.usage("b", "2026-01-11T00:00:00Z", "market", "120", &json!({}));
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 15"]);
    assert_eq!(play.crossings("share"), ["b: 3 and 5"]);
    // Its sum was 120. Less 20 it is 100, which is the cap: no margin goes back, and no share.
    play.refund("r1", "a", "2026-02-10T00:00:00Z", "40");
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), NOTHING);
    // Less 10 more: 90. The sum of the share was 20 and is 18, above its cap.
    play.refund("r2", "a", "2026-03-10T00:00:00Z", "20");
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), NOTHING);
    // Less 30: 60. Its sum is 12, so 3 of 15 go back.
    play.refund("r3", "a", "2026-04-10T00:00:00Z", "60");
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["share 2026-04: -3"]);
}

#[test]
fn case_14_two_currencies_under_a_cap_in_a_third() {
    let head = HEAD.replace("USD", "GBP") + "\n[fx]\nsource = \"bank\"\ndate = \"item\"\n";
    let share = term(
        "share",
        "rate = \"10%\"\ncap = { is = \"100 GBP\", each = \"term\", from = 2026-01-01, opening = \"0 GBP\", excess = \"lost\" }",
    );
    let mut play = Play::new(&head, SALES, &share);
    play.rate("2026-01-10", "USD", "GBP", "0.8");
    play.rate("2026-01-11", "EUR", "GBP", "0.9");
    // 10 % of 500 USD = 400 GBP is 40; 10 % of 800 EUR = 720 GBP is 72, of which 60 find room.
    play.sale("dollars", "2026-01-10T00:00:00Z", "500");
    play.usage("euros", "2026-01-11T00:00:00Z", "direct", "800", &json!({ "product": "euro" }));
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 100"]);
    assert_eq!(play.crossings("share"), ["euros: 60 and 12"]);
    // Of 12 January there is no rate.
    play.sale("unrated", "2026-01-12T00:00:00Z", "1");
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["error: missing_fx"]);
}

#[test]
fn case_15_months_of_23_and_25_hour_days_and_a_month_from_the_31st() {
    let definitions = format!("{SALES}\n[fact.release]\nkind = \"event\"\nabout = [\"product\", \"cloud\"]\n");
    let first =
        "[right.azure-first]\nfirst = \"azure\"\nlead = \"1 month\"\nrelease = \"release\"\nproducts = [\"model\"]\n";
    let mut play = Play::new(&HEAD.replace("UTC", "America/Los_Angeles"), &definitions, first);
    // 31 days of 24 hours, less one on 8 March; 30 days and one more on 1 November.
    assert_eq!(play.period("2026-03"), "2026-03-01 08:00:00 UTC to 2026-04-01 07:00:00 UTC, 743 h");
    assert_eq!(play.period("2026-11"), "2026-11-01 07:00:00 UTC to 2026-12-01 08:00:00 UTC, 721 h");
    // Released on 31 January at 10:00: a month later is 28 February at 10:00, 18:00 UTC.
    play.fact("release", "2026-01-31T18:00:00Z", &json!({ "product": "model", "cloud": "azure" }));
    play.usage("early", "2026-02-28T17:59:59.999999Z", "market", "1", &json!({}));
    play.usage("in-time", "2026-02-28T18:00:00Z", "market", "1", &json!({}));
    assert_eq!(play.findings("2026-02", "2026-03-05T00:00:00Z"), ["azure-first early open"]);
    // Months that count from the 31st begin on the last day of shorter ones.
    let monthly = HEAD.replace("period = \"month\"", "period = \"service-month\"")
        + "\n[period.service-month]\nevery = \"1 month\"\nfrom = 2026-01-31\n";
    let mut play = Play::new(&monthly, SALES, &term("share", "rate = \"10%\""));
    assert_eq!(play.period("2026-01-31"), "2026-01-31 00:00:00 UTC to 2026-02-28 00:00:00 UTC, 672 h");
    assert_eq!(play.period("2026-02-28"), "2026-02-28 00:00:00 UTC to 2026-03-31 00:00:00 UTC, 744 h");
}

#[test]
fn case_16_whole_tiers_their_edges_and_a_late_refund() {
    let tiers = |edge: &str, per: &str| {
        let rows = format!("rate = [{{ {edge} = \"100 USD\", is = \"10%\" }}, {{ otherwise = \"20%\" }}]");
        let tiers = "tiers = { apply = \"whole\", each = \"month\", from = 2026-01-01 }";
        term("share", &format!("{rows}\n{tiers}\n{per}"))
    };
    let settled = |terms: &str, sales: [(&str, &str); 2]| {
        let mut play = Play::new(HEAD, SALES, terms);
        for (country, amount) in sales {
            play.usage(country, "2026-01-10T00:00:00Z", "direct", amount, &json!({ "country": country }));
        }
        (play.settle("2026-01", "2026-02-05T00:00:00Z"), play)
    };
    // An edge that is hit: 10 % of 100 up to it, 20 % where the band ends below it.
    assert_eq!(settled(&tiers("up_to", ""), [("DE", "60"), ("FR", "40")]).0, ["share 2026-01: 10"]);
    assert_eq!(settled(&tiers("below", ""), [("DE", "60"), ("FR", "40")]).0, ["share 2026-01: 20"]);
    // Pooled 20 % of 200; of each country 10 % of 100.
    assert_eq!(settled(&tiers("up_to", ""), [("DE", "100"), ("FR", "100")]).0, ["share 2026-01: 40"]);
    let per_country = tiers("up_to", "per = [\"country\"]");
    assert_eq!(settled(&per_country, [("DE", "100"), ("FR", "100")]).0, ["share 2026-01: 20"]);
    // 20 % of 120 is 24; a refund that is told late leaves 10 % of 90.
    let (booked, mut play) = settled(&tiers("up_to", ""), [("DE", "60"), ("FR", "60")]);
    assert_eq!(booked, ["share 2026-01: 24"]);
    play.recorded("2026-02-10T00:00:00Z");
    play.refund("r", "DE", "2026-01-20T00:00:00Z", "30");
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-01: -15"]);
}

#[test]
fn case_17_the_greater_of_a_share_and_a_sum() {
    let greater = r#"
[term.royalty]
payer = "lab"
payee = "cloud"
each = "month"
greater_of = [{ rate = "7%", of = "Sales" }, { fixed = "700 USD" }]
"#;
    let mut play = Play::new(HEAD, SALES, greater);
    // 7 % of 5000 is 350, of 10000 is 700, of 20000 is 1400.
    play.sale("a", "2026-01-10T00:00:00Z", "5000");
    play.sale("b", "2026-02-10T00:00:00Z", "10000");
    play.sale("c", "2026-03-10T00:00:00Z", "20000");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["royalty 2026-01: 700"]);
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["royalty 2026-02: 700"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["royalty 2026-03: 1400"]);
}

#[test]
fn case_17_a_cumulative_guarantee() {
    let minimum = "minimum = { is = \"100 USD\", each = \"month\", cumulative = true, pro_rata = \"full\" }";
    let mut play = Play::new(HEAD, SALES, &term("share", &format!("rate = \"10%\"\n{minimum}")));
    // The greater of the minima and the shares to date, less what was owed: 100 or 50; 200 or 250, less 100; 300 or
    // 250, less 250; 400 or 450, less 300.
    play.sale("a", "2026-01-10T00:00:00Z", "500");
    play.sale("b", "2026-02-10T00:00:00Z", "2000");
    play.sale("d", "2026-04-10T00:00:00Z", "2000");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 100"]);
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-02: 150"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["share 2026-03: 50"]);
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["share 2026-04: 150"]);
}

#[test]
fn case_17_an_advance_recouped() {
    let advance = "[term.advance]\npayer = \"lab\"\npayee = \"cloud\"\nfixed = \"100 USD\"\non = 2026-01-01\n";
    let royalty = term("royalty", "rate = \"10%\"\ncredits = [{ of = \"advance\", rest = \"carried\" }]");
    let mut play = Play::new(HEAD, SALES, &format!("{advance}{royalty}"));
    for month in 1..=3 {
        play.sale(&format!("u{month}"), &format!("2026-0{month}-10T00:00:00Z"), "600");
    }
    // 100 are paid, and 60 of them earned; then the other 40; then all 60 are paid out.
    let booked = play.settle("2026-01", "2026-02-05T00:00:00Z");
    assert_eq!(booked, ["advance 2026-01: 40", "royalty 2026-01: 60"]);
    let booked = play.settle("2026-02", "2026-03-05T00:00:00Z");
    assert_eq!(booked, ["advance 2026-02: -40", "royalty 2026-02: 60"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["royalty 2026-03: 60"]);
}

#[test]
fn case_18_sold_in_one_year_and_paid_in_the_next() {
    let received = format!("{SALES}basis = \"received\"\n");
    let mut play = Play::new(HEAD, &received, &term("share", "rate = \"10%\""));
    let mut receipt = |id: &str, at: &str, amount: &str| {
        let names = json!([{ "source": "s", "id": "sold" }]);
        play.record(json!({ "kind": "receipt", "id": id, "at": at, "amount": format!("{amount} USD"), "for": names }));
    };
    receipt("first", "2027-01-15T00:00:00Z", "600");
    receipt("second", "2027-03-10T00:00:00Z", "400");
    play.sale("sold", "2026-12-10T00:00:00Z", "1000");
    play.refund("r", "second", "2027-04-05T00:00:00Z", "100");
    // 10 % of what came in, when it did, and of what went back.
    assert_eq!(play.settle("2026-12", "2027-01-05T00:00:00Z"), NOTHING);
    assert_eq!(play.settle("2027-01", "2027-02-05T00:00:00Z"), ["share 2027-01: 60"]);
    assert_eq!(play.settle("2027-03", "2027-04-05T00:00:00Z"), ["share 2027-03: 40"]);
    assert_eq!(play.settle("2027-04", "2027-05-05T00:00:00Z"), ["share 2027-04: -10"]);
}

#[test]
fn case_19_stacked_shares_a_once_group_and_a_tail() {
    let definitions = format!(
        "{SALES}\n[base.\"Of the First\"]\nselect = {{ charges = {{ seller = \"lab\", customer = \"c1\" }} }}\n"
    );
    let stacked = [("royalty", "10%"), ("fund", "1%")].map(|(name, rate)| term(name, &format!("rate = \"{rate}\"")));
    let first =
        "[term.first]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"5%\"\nof = \"Of the First\"\nonce = \"sale\"\n";
    let other = term("other", "rate = \"3%\"\nonce = \"sale\"");
    let mut play = Play::new(HEAD, &definitions, &format!("{}{}{first}{other}", stacked[0], stacked[1]));
    // 10 % and 1 % of 300; 5 % of the 100 of c1, which is in no other of its group, so 3 % of 200.
    play.sale("a", "2026-01-10T00:00:00Z", "100");
    play.usage("b", "2026-01-11T00:00:00Z", "direct", "200", &json!({ "customer": "c2" }));
    let booked = play.settle("2026-01", "2026-02-05T00:00:00Z");
    assert_eq!(booked, ["first 2026-01: 5", "fund 2026-01: 3", "other 2026-01: 6", "royalty 2026-01: 30"]);

    let tail = "rate = \"10%\"\nthrough = 2026-02-28\ntail = { lasts = \"2 months\", of = \"earlier customers\" }";
    let mut play = Play::new(HEAD, SALES, &term("share", tail));
    // After the end two months for c1, who bought before it: 10 % of 100 each. c2 is new, and the tail ends with April.
    for (month, id) in [(2, "a"), (3, "b"), (4, "c"), (5, "d")] {
        play.sale(id, &format!("2026-0{month}-10T00:00:00Z"), "100");
    }
    play.usage("new", "2026-03-11T00:00:00Z", "direct", "900", &json!({ "customer": "c2" }));
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-02: 10"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["share 2026-03: 10"]);
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["share 2026-04: 10"]);
    assert_eq!(play.settle("2026-05", "2026-06-05T00:00:00Z"), NOTHING);
}

#[test]
fn case_20_profit_whose_cost_is_told_late_and_restated() {
    let profit = r#"
[figure.Cost]
unit = "USD"
kind = "flow"
missing = "stop"

[base."Sales"]
select = { charges = { seller = "lab" } }
less = [{ figure = "Cost", at = "own_date" }]
"#;
    let mut play = Play::new(HEAD, profit, &term("share", "rate = \"10%\""));
    play.sale("a", "2026-01-10T00:00:00Z", "1000");
    play.sale("b", "2026-02-10T00:00:00Z", "500");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["error: missing_figure"]);
    let cost = |id: &str, from: &str, through: &str, value: &str| {
        json!({ "kind": "figure", "id": id, "contract": "main", "name": "Cost", "by": "lab", "from": from,
            "through": through, "value": format!("{value} USD") })
    };
    // 10 % of 1000 less 400.
    play.recorded("2026-02-20T00:00:00Z");
    play.record(cost("cost-1", "2026-01-01", "2026-01-31", "400"));
    assert_eq!(play.settle("2026-01", "2026-02-21T00:00:00Z"), ["share 2026-01: 60"]);
    play.close("2026-01");
    // 450 in place of 400 takes 5 back; 10 % of 500 less 100.
    play.recorded("2026-03-05T00:00:00Z");
    play.record(cost("cost-2", "2026-02-01", "2026-02-28", "100"));
    play.record(json!({ "kind": "correction", "id": "k", "corrects": "cost-1", "value": "450 USD" }));
    assert_eq!(play.settle("2026-01", "2026-03-10T00:00:00Z"), ["error: period_closed"]);
    assert_eq!(play.settle("2026-02", "2026-03-10T00:00:00Z"), ["share 2026-01: -5", "share 2026-02: 40"]);
}
