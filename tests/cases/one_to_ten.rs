//! Caps, amendments, late and repeated events, rounding, boundaries and rights: cases 1 to 10.

use crate::play::{HEAD, Play, SALES};
use serde_json::json;

/// A fifth of the lab's sales, up to 100 in all.
const CAPPED: &str = r#"
[term.share]
payer = "lab"
payee = "cloud"
rate = "20%"
of = "Sales"
cap = { is = "100 USD", each = "term", from = 2026-01-01, opening = "0 USD", excess = "lost" }
"#;

fn share(rate: &str) -> String {
    format!("[term.share]\npayer = \"lab\"\npayee = \"cloud\"\nrate = \"{rate}\"\nof = \"Sales\"\n")
}

const NOTHING: [&str; 0] = [];

#[test]
fn case_1_the_cap_is_reached_in_mid_hour_by_two_deployments_at_once() {
    let mut play = Play::new(HEAD, SALES, CAPPED);
    // 20 % of 400 = 80. Of two in one instant the id decides: "a" brings 12 and 92, "b" 8 of its 12 and 100.
    play.usage("b", "2026-01-10T09:40:00Z", "direct", "60", &json!({}));
    play.usage("a", "2026-01-10T09:40:00Z", "second", "60", &json!({}));
    play.sale("before", "2026-01-10T09:15:00Z", "400");
    // In the same hour, and nothing is left.
    play.sale("after", "2026-01-10T09:40:00.000001Z", "50");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 100"]);
    assert_eq!(play.crossings("share"), ["b: 8 and 4"]);
    assert_eq!(play.without_room("share"), ["after"]);
}

#[test]
fn case_2_the_direction_flips_at_the_first_instant_of_the_day() {
    let head = HEAD.replace("UTC", "America/Los_Angeles");
    let mut play = Play::new(&head, SALES, &share("20%"));
    let back = "[term.back]\npayer = \"cloud\"\npayee = \"lab\"\nrate = \"10%\"\nof = \"Sales\"\n";
    play.version(2, "2026-04-27", "2026-04-01", back);
    // Midnight is 07:00 UTC: 20 % of 100 before it; from it on 10 % of 300 the other way, of 50 more later that day.
    play.sale("last", "2026-04-27T06:59:59.999999Z", "100");
    play.sale("first", "2026-04-27T07:00:00Z", "300");
    play.sale("later", "2026-04-28T06:59:59Z", "50");
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["back 2026-04: 35", "share 2026-04: 20"]);
}

#[test]
fn case_3_refund_after_the_cap_and_a_correction_that_pushes_the_total_under_it() {
    let mut play = Play::new(HEAD, SALES, CAPPED);
    // Sums 80, 120, and 110 after the refund of 50: the total stays at 100.
    play.sale("a", "2026-01-05T00:00:00Z", "400");
    play.sale("b", "2026-01-10T00:00:00Z", "200");
    play.refund("r", "b", "2026-01-20T00:00:00Z", "50");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 100"]);
    // 250 in place of 400: sums 50, 90 and 80, so 20 go back; in February 60 more, of which 20 find room.
    play.recorded("2026-02-10T00:00:00Z");
    play.record(json!({ "kind": "correction", "id": "k", "corrects": "a", "quantities": { "requests": "250" } }));
    play.sale("c", "2026-02-15T00:00:00Z", "300");
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-01: -20", "share 2026-02: 20"]);
    assert_eq!(play.crossings("share"), ["c: 20 and 40"]);
}

#[test]
fn case_4_late_usage_of_closed_periods_before_at_and_after_the_crossing() {
    let mut play = Play::new(HEAD, SALES, CAPPED);
    // 60 in January; in February 60 more, of which 40 find room.
    play.sale("a", "2026-01-05T00:00:00Z", "300");
    play.sale("b", "2026-02-10T12:00:00Z", "300");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 60"]);
    assert_eq!(play.settle("2026-02", "2026-03-03T00:00:00Z"), ["share 2026-02: 40"]);
    play.close("2026-02");
    // Before: January has 80, so February has 20.
    play.recorded("2026-03-05T00:00:00Z");
    play.sale("before", "2026-01-08T00:00:00Z", "100");
    assert_eq!(play.settle("2026-02", "2026-03-06T00:00:00Z"), ["error: period_closed"]);
    assert_eq!(play.settle("2026-03", "2026-04-05T00:00:00Z"), ["share 2026-01: 20", "share 2026-02: -20"]);
    // At the crossing, in its instant and before it by its id: 10, which is 90, and 10 of the 60. February has 20 still.
    play.recorded("2026-04-06T00:00:00Z");
    play.sale("at", "2026-02-10T12:00:00Z", "50");
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), NOTHING);
    // After it: nothing is left.
    play.recorded("2026-05-06T00:00:00Z");
    play.sale("late", "2026-02-10T12:00:00Z", "1000");
    assert_eq!(play.settle("2026-05", "2026-06-05T00:00:00Z"), NOTHING);
}

#[test]
fn case_5_an_amendment_signed_in_june_effective_in_april() {
    let mut play = Play::new(HEAD, SALES, &share("10%"));
    play.sale("april", "2026-04-20T00:00:00Z", "1000");
    play.sale("may", "2026-05-20T00:00:00Z", "2000");
    play.sale("june", "2026-06-20T00:00:00Z", "3000");
    assert_eq!(play.settle("2026-04", "2026-05-05T00:00:00Z"), ["share 2026-04: 100"]);
    assert_eq!(play.settle("2026-05", "2026-06-05T00:00:00Z"), ["share 2026-05: 200"]);
    play.close("2026-05");
    // 5 % more of 1000 and 2000, and 15 % of 3000.
    play.version(2, "2026-04-01", "2026-06-10", &share("15%"));
    let booked = play.settle("2026-06", "2026-07-05T00:00:00Z");
    assert_eq!(booked, ["share 2026-04: 50", "share 2026-05: 100", "share 2026-06: 450"]);
}

#[test]
fn case_6_one_id_twice() {
    let mut play = Play::new(HEAD, SALES, &share("10%"));
    play.sale("a", "2026-01-05T00:00:00Z", "100");
    play.sale("b", "2026-01-06T00:00:00Z", "200");
    // Equal by value is one event; of what differs the first stands. 10 % of 100 + 200.
    play.recorded("2026-01-20T00:00:00Z");
    play.sale("a", "2026-01-05T01:00:00+01:00", "100.0");
    play.sale("b", "2026-01-06T00:00:00Z", "500");
    assert_eq!(play.settle("2026-01", "2026-02-05T00:00:00Z"), ["share 2026-01: 30"]);
    assert_eq!(play.conflicts("2026-02-05T00:00:00Z"), ["b"]);
    // Deciding for the other is a correction: 20 + 30 more.
    play.recorded("2026-02-10T00:00:00Z");
    play.record(json!({ "kind": "correction", "id": "k", "corrects": "b", "quantities": { "requests": "500" } }));
    assert_eq!(play.settle("2026-02", "2026-03-05T00:00:00Z"), ["share 2026-01: 30"]);
}

/// What is booked of the same sale each month.
fn monthly(play: &mut Play, product: &str, amounts: [&str; 3]) -> Vec<String> {
    let mut booked = Vec::new();
    for (month, amount) in (1..).zip(amounts) {
        let at = format!("2026-0{month}-10T00:00:00Z");
        play.usage(&format!("u{month}"), &at, "direct", amount, &json!({ "product": product }));
        booked.extend(play.settle(&format!("2026-0{month}"), &format!("2026-0{}-05T00:00:00Z", month + 1)));
    }
    booked
}

#[test]
fn case_7_cents_that_do_not_divide() {
    // 0.006 a month: 0.01, then 0.012 is 0.01, then 0.018 is 0.02.
    let mut play = Play::new(HEAD, SALES, &share("20%"));
    let booked = monthly(&mut play, "model", ["0.03", "0.03", "0.03"]);
    assert_eq!(booked, ["share 2026-01: 0.01", "share 2026-03: 0.01"]);
    // A third: 33.333.. is 33.33, 66.666.. is 66.67, 100.
    let mut play = Play::new(HEAD, SALES, &share("1/3"));
    let booked = monthly(&mut play, "model", ["100", "100", "100"]);
    assert_eq!(booked, ["share 2026-01: 33.33", "share 2026-02: 33.34", "share 2026-03: 33.33"]);
}

#[test]
fn case_7_three_partners_share_one_cent() {
    let partners = r#"
[term.share]
payer = "lab"
payee = [{ party = "p1", part = "1/3" }, { party = "p2", part = "1/3" }, { party = "p3", part = "1/3" }]
rate = "10%"
of = "Sales"
"#;
    // Of 1 cent, then 2, then 3 in all, whose remainders are equal: the first listed, the second too, the third too.
    let mut play = Play::new(HEAD, SALES, partners);
    let booked = monthly(&mut play, "model", ["0.10", "0.10", "0.10"]);
    assert_eq!(booked, ["share to p1 2026-01: 0.01", "share to p2 2026-02: 0.01", "share to p3 2026-03: 0.01"]);
}

#[test]
fn case_7_currencies_of_no_and_of_three_minor_digits() {
    // 20 % of 12, 25 and 38: 2.4 is 2, 5 is 5, 7.6 is 8.
    let mut play = Play::new(&HEAD.replace("USD", "JPY"), SALES, &share("20%"));
    let booked = monthly(&mut play, "yen", ["12", "13", "13"]);
    assert_eq!(booked, ["share 2026-01: 2", "share 2026-02: 3", "share 2026-03: 3"]);
    // A thousandth of that.
    let mut play = Play::new(&HEAD.replace("USD", "KWD"), SALES, &share("20%"));
    let booked = monthly(&mut play, "dinar", ["0.012", "0.013", "0.013"]);
    assert_eq!(booked, ["share 2026-01: 0.002", "share 2026-02: 0.003", "share 2026-03: 0.003"]);
}

#[test]
fn case_8_the_last_instant_of_2030_and_the_first_of_2031() {
    let by_date = r#"
[term.share]
payer = "lab"
payee = "cloud"
rate = [{ through = 2030-12-31, is = "20%" }, { otherwise = "10%" }]
of = "Sales"

[term.ended]
payer = "lab"
payee = "cloud"
rate = "1%"
of = "Sales"
through = 2030-12-31
"#;
    // In Los Angeles the year ends at 08:00 UTC: 20 % and 1 % of 100, then 10 % of 300.
    let mut play = Play::new(&HEAD.replace("UTC", "America/Los_Angeles"), SALES, by_date);
    play.sale("last", "2031-01-01T07:59:59.999999Z", "100");
    play.sale("first", "2031-01-01T08:00:00Z", "300");
    assert_eq!(play.settle("2030-12", "2031-01-05T00:00:00Z"), ["ended 2030-12: 1", "share 2030-12: 20"]);
    assert_eq!(play.settle("2031-01", "2031-02-05T00:00:00Z"), ["share 2031-01: 30"]);
    // In Kiritimati it ended at 10:00 UTC of 31 December: both are of 2031, 10 % of 400.
    let mut play = Play::new(&HEAD.replace("UTC", "Pacific/Kiritimati"), SALES, by_date);
    play.sale("last", "2031-01-01T07:59:59.999999Z", "100");
    play.sale("first", "2031-01-01T08:00:00Z", "300");
    assert_eq!(play.settle("2030-12", "2031-01-05T00:00:00Z"), NOTHING);
    assert_eq!(play.settle("2031-01", "2031-02-05T00:00:00Z"), ["share 2031-01: 40"]);
}

#[test]
fn case_9_used_on_aws_before_at_and_after_the_azure_release() {
    let facts = r#"
[fact.release]
kind = "event"
about = ["product", "cloud"]

[fact.azure-waiver]
kind = "status"
about = ["product"]
"#;
    let first = r#"
[right.azure-first]
first = "azure"
lead = "0 days"
release = "release"
waivers = ["azure-waiver"]
products = ["model"]
"#;
    let mut play = Play::new(HEAD, facts, first);
    let market = |play: &mut Play, id: &str, at: &str| play.usage(id, at, "market", "1", &json!({}));
    play.fact("release", "2026-03-10T00:00:00Z", &json!({ "product": "model", "cloud": "azure" }));
    let until = json!({ "product": "model", "until": "2026-03-08T00:00:00Z" });
    play.fact("azure-waiver", "2026-03-07T00:00:00Z", &until);
    market(&mut play, "before", "2026-03-06T23:59:59.999999Z");
    market(&mut play, "waived", "2026-03-07T00:00:00Z");
    market(&mut play, "waiver-over", "2026-03-08T00:00:00Z");
    market(&mut play, "last-before", "2026-03-09T23:59:59.999999Z");
    market(&mut play, "at", "2026-03-10T00:00:00Z");
    market(&mut play, "after", "2026-03-11T00:00:00Z");
    // The lab's own cloud is another one too; Azure itself is free.
    play.sale("own", "2026-03-09T00:00:00Z", "1");
    play.usage("azure", "2026-03-09T00:00:00Z", "hosted", "1", &json!({}));
    let found = play.findings("2026-03", "2026-04-05T00:00:00Z");
    let breaches = ["before open", "waiver-over open", "own open", "last-before open"];
    assert_eq!(found, breaches.map(|it| format!("azure-first {it}")));
}

#[test]
fn case_10_exclusive_runtime_elsewhere_and_the_licence_after_2032() {
    let rights = r#"
[right.runtime-on-aws]
only = { cloud = "aws" }
products = ["runtime"]

[right.licence]
licensor = "lab"
licensee = "cloud"
exclusive = false
products = ["model"]
through = 2032-12-31
"#;
    let mut play = Play::new(HEAD, "", rights);
    let runtime = json!({ "product": "runtime" });
    play.usage("on-aws", "2032-12-01T00:00:00Z", "market", "1", &runtime);
    play.usage("on-azure", "2032-12-01T00:00:00Z", "hosted", "1", &runtime);
    play.usage("licensed", "2032-12-31T23:59:59.999999Z", "hosted", "1", &json!({}));
    play.usage("over", "2033-01-01T00:00:00Z", "hosted", "1", &json!({}));
    // What the licensor runs, and anyone else while it is not exclusive, breaks nothing.
    play.sale("licensor", "2033-01-01T00:00:00Z", "1");
    let found = play.findings("2033-01", "2033-02-05T00:00:00Z");
    assert_eq!(found, ["runtime-on-aws on-azure open", "licence over open"]);
}
