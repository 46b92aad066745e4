//! Terms that go on after their end with some items alone: what their totals, windows and thresholds are of.

use crate::worked::{contract, run};

/// The rows that are wrong of an agreement whose sales are each to a customer.
#[track_caller]
fn told(blocks: &str, given: &str, expect: &str) -> Vec<String> {
    let example = format!(
        "## Example: by hand\n\n| given | at | amount | seller | customer | product |\n\
         | --- | --- | --- | --- | --- | --- |\n{given}\n\n| expect | period | amount |\n| --- | --- | --- |\n{expect}\n"
    );
    run(&[contract("main", blocks, &example)])
}

/// A term of a base or an amount, through January and for two months after that.
fn term(name: &str, of: &str, goes_on: &str) -> String {
    format!(
        "\n\n[term.{name}]\npayer = \"lab\"\npayee = \"ms\"\nthrough = 2026-01-31\n\
         tail = {{ lasts = \"2 months\", {goes_on} }}\nrate = \"10%\"\nof = \"{of}\""
    )
}

const EARLIER: &str = "of = \"earlier customers\"";

const SOLD: &str = "| charge a | 2026-01-05 | 100 USD | lab | old | api |\n\
                    | charge b | 2026-02-05 | 500 USD | lab | new | chat |\n\
                    | charge c | 2026-02-06 | 40 USD | lab | old | api |";

/// The sum of each month, at least 30: of February's 540 the 40 are of who bought in January.
const MONTHLY: &str = "[amount.Monthly]\neach = \"month\"\n\
                       greater_of = [{ rate = \"100%\", of = \"Sales\" }, { fixed = \"30 USD\" }]";

#[test]
fn the_window_of_an_amount_is_of_whom_its_tail_is_for() {
    let earlier = format!("{MONTHLY}{}", term("x", "Monthly", EARLIER));
    assert_eq!(told(&earlier, SOLD, "| x | 2026-01 | 10 USD |\n| x | 2026-02 | 4 USD |"), [""; 0]);
    let of_api = format!("{MONTHLY}{}", term("x", "Monthly", "of = \"all\", where = { product = \"api\" }"));
    assert_eq!(told(&of_api, SOLD, "| x | 2026-01 | 10 USD |\n| x | 2026-02 | 4 USD |"), [""; 0]);
}

/// A sum of nothing is of no customer.
#[test]
fn a_fixed_sum_does_not_go_on_for_customers() {
    let fixed = "[amount.Sum]\nfixed = \"70 USD\"\neach = \"month\"".to_owned() + &term("x", "Sum", EARLIER);
    assert_eq!(told(&fixed, SOLD, "| x | 2026-01 | 7 USD |\n| x | 2026-02 | 0 USD |"), [""; 0]);
}

const TOTAL: &str = "[base.Total]\nselect = { base = \"Sales\" }\nbelow_zero = \"zero\"";

/// February's total is 540 for y, and 40 for x.
#[test]
fn one_total_is_not_of_a_tail_that_leaves_out_what_others_count() {
    let others = "\n\n[term.y]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Total\"";
    let torn = told(&format!("{TOTAL}{}{others}", term("x", "Total", EARLIER)), SOLD, "| y | 2026-02 | 54 USD |");
    let words = "base Total of main is decided on its total in each period, and at 2026-02-05 00:00:00 UTC x begins";
    assert!(matches!(torn.as_slice(), [torn] if torn.contains(words)), "{torn:?}");
    let both = format!("{TOTAL}{}{}", term("x", "Total", EARLIER), term("y", "Total", EARLIER));
    assert_eq!(told(&both, SOLD, "| x | 2026-02 | 4 USD |\n| y | 2026-02 | 4 USD |"), [""; 0]);
}

/// 10 % of what is above 100 in all. Of 90 that new bought before the term began 80 are given back in its tail: 10 are
/// left, so that old's 120 reach 130. What new buys in the tail fills nothing.
#[test]
fn what_was_sold_before_a_term_comes_off_its_threshold_in_its_tail_too() {
    let above = "[base.Above]\nselect = { charges = { seller = \"lab\" } }\n\
                 less = [{ deductions = [\"refund\"], at = \"own_date\" }]\n\
                 above = { is = \"100 USD\", each = \"term\", from = 2026-01-01 }";
    let from = term("x", "Above", EARLIER).replace("through = 2026-01-31", "from = 2026-01-10\nthrough = 2026-01-31");
    let given = "| charge a | 2026-01-05 | 90 USD | lab | new | api |\n\
                 | charge b | 2026-01-15 | 5 USD | lab | old | api |\n\
                 | refund r of a | 2026-02-02 | 80 USD | | | |\n\
                 | charge c | 2026-02-05 | 500 USD | lab | new | api |\n\
                 | charge d | 2026-02-06 | 115 USD | lab | old | api |";
    assert_eq!(told(&format!("{above}{from}"), given, "| x | 2026-01 | 0 USD |\n| x | 2026-02 | 3 USD |"), [""; 0]);
}

/// 10 % of what is above 100 a year; the first of a once group has what old bought in January, and ends. Who bought it is
/// an earlier customer of the second all the same: of February's 140 in its tail 40 are above, 4.
#[test]
fn whose_sale_another_term_took_is_an_earlier_customer_too() {
    let above = "[base.Above]\nselect = { charges = { seller = \"lab\" } }\n\
                 above = { is = \"100 USD\", each = \"term\", from = 2026-01-01 }";
    let once = |term: String| format!("{term}\nonce = \"sale\"");
    let first = once(term("first", "Sales", EARLIER).replace("2 months", "1 days"));
    let given = "| charge a | 2026-01-05 | 90 USD | lab | old | api |\n\
                 | charge b | 2026-02-05 | 140 USD | lab | old | api |\n\
                 | charge c | 2026-02-06 | 500 USD | lab | new | api |";
    let blocks = format!("{above}{first}{}", once(term("x", "Above", EARLIER)));
    let expect = "| first | 2026-01 | 9 USD |\n| x | 2026-01 | 0 USD |\n| x | 2026-02 | 4 USD |";
    assert_eq!(told(&blocks, given, expect), [""; 0]);
}
