//! What the language refuses as it would mean nothing where it stands, and what is right instead, worked out by hand.

use crate::language::{accept, read_with, term};
use crate::worked;

#[track_caller]
fn refused(block: &str, problem: &str) {
    let found = read_with(block, &[]).err().unwrap_or_else(|| panic!("accepted:\n{block}"));
    assert!(found.contains(problem), "{found}\nfor:\n{block}");
}

/// Refuses a term with these fields, and accepts it with others.
#[track_caller]
fn instead(fields: &str, problem: &str, right: &str) {
    refused(&term(fields), problem);
    accept(&term(right));
}

/// Runs a contract with an example; `fee` is a term of the lab that pays the cloud.
#[track_caller]
fn right(blocks: &str, given: &str, expect: &str) {
    let blocks = blocks.replace("[term.fee]", "[term.fee]\npayer = \"lab\"\npayee = \"ms\"");
    worked::right(&[], &blocks, given, expect);
}

const SEATS: &str = "[figure.Seats]\nunit = \"number\"\nkind = \"level\"\nmissing = \"zero\"\n\n";
const SEATS_GIVEN: &str = "| figure Seats f | 2026-01-01 | 5 | | |\n| figure Seats g | 2026-03-10 | 7 | | |";
const WORTH: &str = "[figure.Worth]\nunit = \"USD\"\nkind = \"level\"\nmissing = \"zero\"\n\n";

/// 5 seats at the end of January and February, 7 at the end of March.
#[test]
fn a_level_is_owed_once_for_each_window_as_it_stands_at_its_end() {
    let fee = format!("{SEATS}[term.fee]\nprice = \"20 USD\"\nof = \"Seats\"\neach = \"month\"");
    let expect = "| fee | 2026-01 | 100 USD |\n| fee | 2026-02 | 100 USD |\n| fee | 2026-03 | 140 USD |";
    right(&fee, SEATS_GIVEN, expect);
    let quarterly = fee.replace("\"month\"", "\"quarter\"\nat_window_end = true");
    right(&quarterly, SEATS_GIVEN, "| fee | 2026-02 | 0 USD |\n| fee | 2026-03 | 140 USD |");
}

/// A block of five, then two of which one is begun.
#[test]
fn blocks_of_a_level_count() {
    let blocks = "price = \"30 USD\"\nof = \"Seats\"\nper_units = \"5\"\npart_block = \"whole\"\neach = \"month\"";
    let expect = "| fee | 2026-02 | 30 USD |\n| fee | 2026-03 | 60 USD |";
    right(&format!("{SEATS}[term.fee]\n{blocks}"), SEATS_GIVEN, expect);
}

/// 10 % of two sales of 100, and 50 once.
#[test]
fn a_level_beside_sales_is_owed_once() {
    let fee = "[term.fee]\neach = \"month\"\nsum = [{ rate = \"10%\", of = \"Sales\" }, { of = \"Worth\" }]";
    let given = "| figure Worth f | 2026-01-01 | 50 USD | | |\n| charge a | 2026-01-05 | 100 USD | lab | |\n\
                 | charge b | 2026-01-06 | 100 USD | lab | |";
    right(&format!("{WORTH}{fee}"), given, "| fee | 2026-01 | 70 USD |\n| fee | 2026-02 | 50 USD |");
}

/// An amount of it counts in a base (10 % of 80), and toward a minimum (100 less 80).
#[test]
fn a_level_counts_as_an_amount_of_each_window() {
    let amount =
        "[amount.Monthly]\nof = \"Worth\"\neach = \"month\"\n\n[base.B]\nselect = { amount = \"Monthly\" }\n\n";
    let given = "| figure Worth f | 2026-05-02 | 80 USD | | |";
    let share = "[term.fee]\nrate = \"10%\"\nof = \"B\"";
    right(&format!("{WORTH}{amount}{share}"), given, "| fee | 2026-04 | 0 USD |\n| fee | 2026-05 | 8 USD |");
    let minimum = "[term.fee]\nminimum = { is = \"100 USD\", each = \"month\", of = \"Monthly\" }";
    right(&format!("{WORTH}{amount}{minimum}"), given, "| fee | 2026-04 | 100 USD |\n| fee | 2026-05 | 20 USD |");
}

#[test]
fn nothing_of_a_level_is_counted() {
    let figure = |rest: &str| format!("{SEATS}{WORTH}{rest}");
    for (rest, of) in [
        ("[base.B]\nselect = { figure = \"Worth\" }", "Worth"),
        ("[base.B]\nselect = { charges = {} }\nless = [{ figure = \"Worth\", at = \"own_date\" }]", "Worth"),
        (
            "[base.B]\nselect = { charges = {} }\nabove = { is = \"3\", of = \"Seats\", each = \"year\", from = 2026-01-01 }",
            "Seats",
        ),
        ("[figure.G]\nunit = \"%\"\nkind = \"level\"\ngrowth_of = \"Seats\"\nover = \"month\"", "Seats"),
        ("[figure.R]\nunit = \"%\"\nkind = \"level\"\nratio_of = [\"Seats\", \"Units\"]\nover = \"month\"", "Seats"),
        (
            "[term.t]\npayer = \"lab\"\npayee = \"cloud\"\nminimum = { is = \"9 USD\", each = \"month\", of = \"Worth\", pro_rata = \"full\" }",
            "Worth",
        ),
        (
            "[term.t]\npayer = \"lab\"\npayee = \"cloud\"\nof = \"Sales\"\nrate = [{ up_to = \"3\", is = \"1%\" }, { otherwise = \"2%\" }]\n\
             tiers = { apply = \"marginal\", of = \"Seats\", each = \"year\", from = 2026-01-01 }",
            "Seats",
        ),
    ] {
        let problem = format!("figure \"{of}\" has a value at each instant, and here stands what is counted");
        refused(&figure(rest), &problem);
    }
    let share = term("rate = \"10%\"\nof = \"Worth\"");
    refused(&figure(&share), "figure \"Worth\" has a value at each instant: over which window is it owed?");
    accept(&figure(&format!("{share}\neach = \"month\"")));
    accept(&figure(&term("each = \"item\"\nlesser_of = [{ rate = \"1%\", of = \"Sales\" }, { of = \"Worth\" }]")));
    refused(&figure(&format!("{share}\neach = \"item\"")), "each = \"item\", and no item comes to it");
    refused(&term("fixed = \"1 USD\"\neach = \"item\""), "each = \"item\", and no item comes to it");
    let per = "each = \"month\"\nper = [\"product\"]";
    refused(&figure(&format!("{share}\n{per}")), "nothing that it counts comes by what per names");
}

#[test]
fn a_counter_is_of_more_than_one_item() {
    let problem = "a counter is of more than one item";
    for apply in ["marginal", "whole"] {
        let tiers = |each: &str| {
            format!(
                "of = \"Sales\"\nrate = [{{ up_to = \"5 USD\", is = \"1%\" }}, {{ otherwise = \"2%\" }}]\n\
                 tiers = {{ apply = \"{apply}\", each = \"{each}\", from = 2026-01-01 }}"
            )
        };
        instead(&tiers("item"), problem, &tiers("year"));
    }
    let above = "[base.B]\nselect = { charges = {} }\nabove = { is = \"5 USD\", each = \"item\", from = 2026-01-01 }";
    refused(above, problem);
    let figure = "[figure.R]\nunit = \"%\"\nkind = \"flow\"\nratio_of = [\"Sales\", \"Sales\"]\nover = \"item\"";
    refused(figure, "a figure is made over a window");
}

/// February: 500 at 10 % and 500 at 20 %. March has no window.
#[test]
fn what_counts_stops_after_the_last_window_that_is_listed() {
    let listed = "[period.two]\nstarts = [2026-01-01, 2026-02-01, 2026-03-01]\n\n[term.fee]\nof = \"Sales\"\n";
    let given = "| charge a | 2026-02-02 | 1000 USD | lab | |\n| charge b | 2026-03-02 | 100 USD | lab | |";
    let tiers = "rate = [{ up_to = \"500 USD\", is = \"10%\" }, { otherwise = \"20%\" }]\n\
                 tiers = { apply = \"marginal\", each = \"two\", from = 2026-01-01 }";
    right(&format!("{listed}{tiers}"), given, "| fee | 2026-02 | 150 USD |\n| fee | 2026-03 | stops |");
    let ends = format!("{listed}{tiers}\nthrough = 2026-02-28");
    right(&ends, given, "| fee | 2026-02 | 150 USD |\n| fee | 2026-03 | 0 USD |");
    let cap = "rate = \"10%\"\ncap = { is = [{ period = 1, is = \"20 USD\" }, { otherwise = \"50 USD\" }], each = \"two\", \
               from = 2026-01-01, opening = \"0 USD\", excess = \"lost\" }";
    right(&format!("{listed}{cap}"), given, "| fee | 2026-02 | 50 USD |\n| fee | 2026-03 | stops |");
    let early = "[period.two]\nstarts = [2026-02-01, 2026-03-01]\n\n";
    let early = format!("{early}{}", term(&format!("of = \"Sales\"\n{tiers}")));
    refused(&early, "it counts from before 2026-02-01, the first of the starts of its windows");
}

/// 3650 in a month of 31 days: 10 % of it for 31/365.
#[test]
fn annual_is_of_the_days_of_a_window() {
    let annual = "rate = \"10%\"\nannual = \"actual/365\"\nof = \"Sales\"";
    let problem = "annual is of the days of each window";
    for each in ["on = 2026-05-31", "each = \"item\""] {
        refused(&term(&format!("{annual}\n{each}")), problem);
    }
    let less = "rate = \"10%\", annual = \"actual/365\", of = \"Sales\"";
    refused(&format!("[base.N]\nselect = {{ base = \"Sales\" }}\nless = [{{ {less}, at = \"own_date\" }}]"), problem);
    refused(&format!("[amount.N]\n{annual}"), problem);
    let amount = format!("[amount.N]\n{annual}\neach = \"month\"\n\n[term.fee]\nrate = \"100%\"\nof = \"N\"");
    right(&amount, "| charge a | 2026-05-01 | 3650 USD | lab | |", "| fee | 2026-05 | 31 USD |");
}

/// By April 1000, by May 1400: both above 500.
#[test]
fn tiers_of_a_parameter_are_of_a_level() {
    let rate = |tiers: &str| {
        format!(
            "[parameter.r]\nvalue = [{{ up_to = \"500 USD\", is = \"10%\" }}, {{ otherwise = \"20%\" }}]\n\
             tiers = {{ of = \"Sales\", {tiers} }}\n\n"
        )
    };
    let share = "rate = \"r\"\nof = \"Sales\"";
    for tiers in [
        "apply = \"level\", read = \"at_item\", each = \"month\"",
        "apply = \"level\", read = \"previous_window\", each = \"month\"",
        "apply = \"marginal\", each = \"term\", from = 2026-01-01",
        "apply = \"whole\", each = \"month\", from = 2026-01-01",
    ] {
        refused(&format!("{}{}", rate(tiers), term(share)), "tiers of a parameter are of a level");
    }
    let lasting = rate("apply = \"level\", read = \"at_item\", each = \"term\"");
    let given = "| charge a | 2026-04-01 | 1000 USD | lab | |\n| charge b | 2026-05-02 | 400 USD | lab | |";
    let expect = "| fee | 2026-04 | 200 USD |\n| fee | 2026-05 | 80 USD |";
    right(&format!("{lasting}[term.fee]\n{share}"), given, expect);
}

const TWO_PRODUCTS: &str =
    "| charge a | 2026-05-01 | 500 USD | lab | api |\n| charge b | 2026-05-02 | 500 USD | lab | chat |";

/// A cap of 40 on each of two: 50 of each has room for 40.
#[test]
fn a_cap_counts_what_its_term_tells_apart() {
    let cap = "rate = \"10%\"\nof = \"Sales\"\ncap = { is = \"40 USD\", each = \"term\", from = 2026-01-01, \
               opening = \"0 USD\", excess = \"lost\", per = [\"product\"] }";
    instead(
        cap,
        "the cap is counted per product, which the term does not tell apart",
        &format!("{cap}\nper = [\"product\"]"),
    );
    right(&format!("[term.fee]\n{cap}\nper = [\"product\"]"), TWO_PRODUCTS, "| fee | 2026-05 | 80 USD |");
    let credit = |per: &str| {
        let advance =
            "[term.advance]\npayer = \"cloud\"\npayee = \"lab\"\nrate = \"1%\"\nof = \"Sales\"\nper = [\"product\"]";
        let credits = "rate = \"2%\"\nof = \"Sales\"\ncredits = [{ of = \"advance\", rest = \"lost\" }]";
        format!("{advance}\n\n{}{per}", term(credits))
    };
    refused(&credit(""), "advance is owed per product, which this term does not tell apart");
    accept(&credit("\nper = [\"product\", \"customer\"]"));
}

/// Per product: twice 10 % of 500 for the one, once for the other. A minimum of 70 for the one and of 30 for the other.
#[test]
fn values_of_whole_windows_ask_for_what_per_tells_apart() {
    let by_product = |api: &str, other: &str| {
        format!("[{{ where = {{ product = \"api\" }}, is = \"{api}\" }}, {{ otherwise = \"{other}\" }}]")
    };
    let double = format!(
        "each = \"month\"\npro_rata = \"full\"\n\
         greater_of = [{{ rate = \"10%\", of = \"Sales\", times = [{}] }}, {{ fixed = \"1 USD\" }}]",
        by_product("2", "1")
    );
    let problem = "it is of a whole window, in which product is not told apart; write per = [\"product\"]";
    instead(&double, problem, &format!("{double}\nper = [\"product\"]"));
    right(&format!("[term.fee]\n{double}\nper = [\"product\"]"), TWO_PRODUCTS, "| fee | 2026-05 | 150 USD |");
    let minimum = format!(
        "rate = \"10%\"\nof = \"Sales\"\nminimum = {{ is = {}, each = \"month\", pro_rata = \"full\" }}",
        by_product("70 USD", "30 USD")
    );
    instead(&minimum, problem, &format!("{minimum}\nper = [\"product\"]"));
    right(&format!("[term.fee]\n{minimum}\nper = [\"product\"]"), TWO_PRODUCTS, "| fee | 2026-05 | 120 USD |");
    // What is known of the contract is known of each window.
    accept(&term(&minimum.replace("product = \"api\"", "paused = true")));
    refused(
        &term(&minimum.replace("product = \"api\"", "introduced = \"other\"")),
        "in which introduced is not told apart",
    );
    accept(&term(&format!("{}\nper = [\"customer\"]", minimum.replace("product = \"api\"", "introduced = \"other\""))));
}

/// 10 % of 1000 are more than 1, and half of them are 50.
#[test]
fn what_windows_bring_is_selected_by_what_they_tell_apart() {
    let drawing = |per: &str| {
        format!(
            "[term.whole]\npayer = \"lab\"\npayee = \"PAYEE\"\neach = \"month\"\npro_rata = \"full\"\n{per}\
             greater_of = [{{ rate = \"10%\", of = \"Sales\" }}, {{ fixed = \"1 USD\" }}]\n\n\
             [base.B]\nselect = {{ accrual = \"whole\", where = {{ seller = \"lab\" }} }}\n\n\
             [term.fee]\nrate = \"50%\"\nof = \"B\""
        )
    };
    let of_fee = |text: String| text.replace("[term.fee]", "[term.fee]\npayer = \"lab\"\npayee = \"cloud\"");
    let problem = "base B of deal version 1 selects by seller of what deal/whole brings, which is of whole windows";
    refused(&of_fee(drawing("").replace("PAYEE", "cloud")), problem);
    let told = drawing("per = [\"seller\"]\n").replace("PAYEE", "ms");
    right(&told, "| charge a | 2026-05-01 | 1000 USD | lab | |", "| fee | 2026-05 | 50 USD |");
    let total = "[base.Profit]\nselect = { charges = {} }\nbelow_zero = \"zero\"\n\n\
                 [base.B]\nselect = { base = \"Profit\", where = { product = \"api\" } }";
    refused(total, "selects by product of what Profit brings, which is of whole windows or totals");
    let figure = "[base.B]\nselect = { figure = \"Cost\", where = { product = \"api\" } }";
    refused(figure, "selects by product of what Cost brings");
}

/// 5 of one product and 2 of the other, at 20 each, are more than 10.
#[test]
fn figures_of_many_are_told_apart_where_they_are_read() {
    let seats = SEATS.replace("missing", "about = [\"product\"]\nmissing");
    let fee = "each = \"month\"\npro_rata = \"full\"\ngreater_of = [{ price = \"20 USD\", of = \"Seats\" }, \
               { rate = \"1%\", of = \"Sales\" }]";
    let problem = "figure \"Seats\" is told by product, and this is of a whole window that is not";
    refused(&format!("{seats}{}", term(fee)), problem);
    let given = format!(
        "{TWO_PRODUCTS}\n| figure Seats f | 2026-05-01 | 5 | | api |\n| figure Seats g | 2026-05-01 | 2 | | chat |"
    );
    right(&format!("{seats}[term.fee]\n{fee}\nper = [\"product\"]"), &given, "| fee | 2026-05 | 140 USD |");
    let cost = "[figure.Price]\nunit = \"USD\"\nkind = \"flow\"\nabout = [\"product\"]\nmissing = \"last\"";
    refused(cost, "missing = \"last\" is of a figure that is told as a whole");
    accept(&cost.replace("flow", "level"));
    refused(&cost.replace("flow", "level").replace("\"last\"", "\"120% of last\""), "a level holds until the next");
}

#[test]
fn what_would_be_read_and_not_used_is_refused() {
    let amount = "[amount.Fee]\nfixed = \"1 USD\"\neach = \"year\"";
    refused(
        amount,
        "what holds of the fixed sum in a window that a start or end cuts? write pro_rata = \"full\", \"days\", \"months\" or \"none\" there or in [contract]",
    );
    accept("[amount.Fee]\nfixed = \"1 USD\"\neach = \"term\"");
    refused("[base.B]\nselect = { facts = \"paused\" }", "fact \"paused\" is a status; here stands an event");
    refused(
        &term("rate = \"1%\"\nof = \"Sales\"\ndue = \"36 hours after period\""),
        "in days, business days or months",
    );
    let minimum = "minimum = { is = \"10 USD\", each = \"term\", of = \"Sales\", carry = \"excess\", carry_for = 0 }";
    instead(minimum, "what is carried into no window is not carried", &minimum.replace('0', "1"));
    refused(
        "[base.B]\nselect = { base = \"Sales\" }\nbasis = \"received\"",
        "basis says when charges and billings count, and this base selects none",
    );
    for valued in [
        "select = { billings = {}, valued_at = \"Price\" }",
        "select = { units = {}, valued_at = \"Price\" }",
        "select = { charges = {}, valued_at = \"Price\" }\nbasis = \"received\"",
    ] {
        let price = "[figure.Price]\nunit = \"USD\"\nkind = \"level\"\nmissing = \"stop\"\n\n[base.B]\n";
        refused(&format!("{price}{valued}"), "valued_at is the price of what charges count when they occur");
    }
}

#[test]
fn a_release_counts_for_good() {
    let right = "[right.first]\nfirst = \"azure\"\nlead = \"1 week\"\nrelease = \"out\"\nproducts = \"api\"";
    let fact =
        |more: &str| format!("[fact.out]\nkind = \"event\"\nabout = [\"product\", \"cloud\"]\n{more}\n\n{right}");
    accept(&fact(""));
    for more in ["skip = 1", "pick = \"last\"", "lasts = \"1 year\""] {
        refused(&fact(more), "the first release counts, for good; leave out skip, pick and lasts");
    }
}

/// It would be owed once for each product that has the capability.
#[test]
fn nothing_is_owed_at_a_fact_about_a_capability() {
    let fee = |about: &str| {
        let fact = format!("[fact.out]\nkind = \"event\"\nabout = [\"{about}\"]\n\n");
        format!("{fact}{}", term("fixed = \"5 USD\"\non = \"out\""))
    };
    accept(&fee("product"));
    refused(&fee("capability"), "about a capability");
}

/// What is owed on a day is of everything that was sold by then.
#[test]
fn what_is_owed_on_a_day_tells_no_product_apart() {
    let once = term("rate = \"10%\"\nof = \"Sales\"\non = 2026-05-10");
    let drawn = |filter: &str| format!("{once}\n\n[base.Fed]\nselect = {{ accrual = \"share\"{filter} }}");
    accept(&drawn(""));
    refused(&drawn(", where = { product = \"api\" }"), "which is of whole windows or totals that do not tell it apart");
}

#[test]
fn what_nothing_cuts_has_no_pro_rata() {
    let problem = "nothing of it is cut";
    let share = "rate = \"10%\"\nof = \"Sales\"";
    instead(
        &format!("{share}\npro_rata = \"days\""),
        problem,
        &format!("{share}\nminimum = {{ is = \"9 USD\", each = \"year\" }}\npro_rata = \"days\""),
    );
    let cap = |each: &str, pro_rata: &str| {
        let cap = "is = \"9 USD\", from = 2026-01-01, opening = \"0 USD\", excess = \"lost\"";
        format!("{share}\ncap = {{ {cap}, each = \"{each}\"{pro_rata} }}")
    };
    instead(&cap("term", ", pro_rata = \"days\""), problem, &cap("year", ", pro_rata = \"days\""));
    accept(&term(&cap("term", "")));
    let amount = |each: &str, of: &str| format!("[amount.A]\neach = \"{each}\"\npro_rata = \"days\"\n{of}");
    let fixed = "fixed = \"1 USD\"";
    refused(&amount("term", fixed), problem);
    accept(&amount("month", fixed));
    instead(
        &format!("{fixed}\neach = \"term\"\npro_rata = \"days\""),
        "deal.md:56:12: term share (\"Clause\"): pro_rata = \"days\"\n  nothing of it is cut: it has no windows",
        &format!("{fixed}\neach = \"month\"\npro_rata = \"days\""),
    );
}

#[test]
fn what_never_holds_is_refused() {
    let once = "fixed = \"1 USD\"\non = \"launch\"";
    let none = "at_most = 0\n  no fact is paid for; write at_most = 1 or more";
    instead(&format!("{once}\nat_most = 0"), none, &format!("{once}\nat_most = 1"));
    let share = |rest: &str| format!("rate = \"10%\"\nof = \"Sales\"\n{rest}");
    let tail = |lasts: &str, end: &str| share(&format!("{end}\ntail = {{ lasts = \"{lasts}\" }}"));
    let ends = "through = 2026-12-31";
    for lasts in ["0 months", "0 days"] {
        let none = format!("lasts = \"{lasts}\"\n  that is no time at all");
        instead(&tail(lasts, ends), &none, &tail("1 month", ends));
        instead(&share(&format!("lasts = \"{lasts}\"")), &none, &share("lasts = \"1 day\""));
    }
    let endless = "tail = { lasts = \"1 month\" }\n  a tail comes after an end, and this term has none";
    for end in ["lasts = \"1 year\"", "until = \"launch\""] {
        instead(&tail("1 month", ""), endless, &tail("1 month", end));
    }
    let rows = |day: &str| {
        share("").replace("\"10%\"", &format!("[{{ through = {day}, is = \"1%\" }}, {{ otherwise = \"2%\" }}]"))
    };
    let ended = "through = 2025-12-31\n  it ends at 2026-01-01 (UTC), before the contract begins at 2026-01-01";
    instead(&rows("2025-12-31"), ended, &rows("2026-01-01"));
}

/// A fixed sum may be one that is given back.
#[test]
fn what_is_below_zero_and_means_nothing_is_refused() {
    let share = |rest: &str| format!("rate = \"10%\"\nof = \"Sales\"\n{rest}");
    let minimum = |is: &str| share(&format!("minimum = {{ is = \"{is}\", each = \"month\", pro_rata = \"full\" }}"));
    instead(&minimum("-5 USD"), "is = \"-5 USD\"\n  minimum is zero or more", &minimum("0 USD"));
    instead(&share("times = [\"-50%\"]"), "\"-50%\"\n  times is zero or more", &share("times = [\"50%\"]"));
    let price = |price: &str| format!("price = \"{price}\"\nof = \"Units\"");
    instead(
        &price("-1 USD"),
        "price = \"-1 USD\"\n  price is zero or more; what comes off stands in less",
        &price("1 USD"),
    );
    let above = |is: &str| {
        format!(
            "[base.B]\nselect = {{ charges = {{}} }}\nabove = {{ is = \"{is}\", each = \"year\", from = 2026-01-01 }}"
        )
    };
    refused(&above("-1 USD"), "is = \"-1 USD\"\n  above is zero or more");
    accept(&above("1 USD"));
    accept(&term("fixed = \"-1 USD\"\neach = \"month\"\npro_rata = \"full\""));
}

#[test]
fn a_rate_is_of_units_that_there_are() {
    let rate =
        |from: &str| format!("date,from,to,rate,source\n2026-01-02,USD,EUR,1.1,ECB\n2026-01-02,{from},USD,1.1,ECB\n");
    let read = |from: &str| read_with("", &[("fx.csv", &rate(from))]);
    let told = read("EUX").err().unwrap_or_default();
    assert_eq!(
        told,
        "fx.csv:3: \"EUX\" is no ISO 4217 currency in use and no [unit] of these contracts; write a code such as \"USD\", or declare [unit.EUX]"
    );
    // A unit that the contract declares.
    assert!(read("EUR").is_ok() && read("point").is_ok());
}
