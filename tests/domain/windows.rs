//! Windows, with examples worked out by hand: which rows hold in them, what a version adds to them, and what it leaves.

use crate::worked::{REGISTER, contract, example, right};
use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::simulate::examples::run_examples;

const TERM: &str = "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\n";

/// 10 % of 1,000 in the first year; 20 % of 100 in the second.
#[test]
fn a_rate_by_the_place_of_the_year_holds_at_each_item() {
    let rows = "rate = [{ period = 1, is = \"10%\" }, { otherwise = \"20%\" }]\nof = \"Sales\"\neach = \"year\"";
    right(
        &[],
        &format!("{TERM}{rows}"),
        "| charge a | 2026-12-31T23:59:59Z | 1000 USD | lab |\n| charge b | 2027-01-01 | 100 USD | lab |",
        "| fee | 2026-12 | 100 USD |\n| fee | 2027-01 | 20 USD |",
    );
}

/// It begins with the term, in June 2026: the second year is 2027, and its tail goes on in it.
#[test]
fn the_place_of_a_window_is_counted_from_where_the_term_begins_through_its_tail() {
    let rows = "from = 2026-06-01\nthrough = 2027-02-28\ntail = { lasts = \"1 month\", of = \"all\" }\n\
                rate = [{ period = 1, is = \"10%\" }, { period = 2, is = \"20%\" }, { otherwise = \"none\" }]\n\
                of = \"Sales\"\neach = \"year\"";
    right(
        &[],
        &format!("{TERM}{rows}"),
        "| charge a | 2026-06-01 | 1000 USD | lab |\n| charge b | 2027-02-01 | 100 USD | lab |\n\
         | charge c | 2027-03-01 | 10 USD | lab |",
        "| fee | 2026-06 | 100 USD |\n| fee | 2027-02 | 20 USD |\n| fee | 2027-03 | 2 USD |",
    );
}

/// Above 100 in the first year, of 600: 500. Above 1,000 in the second, of 1,200: 200.
#[test]
fn a_threshold_by_the_place_of_its_window_holds() {
    let base = "[base.Over]\nselect = { charges = { seller = \"lab\" } }\n\
                above = { is = [{ period = 1, is = \"100 USD\" }, { otherwise = \"1000 USD\" }], each = \"year\", from = 2026-01-01 }\n";
    right(
        &[],
        &format!("{base}\n{TERM}rate = \"10%\"\nof = \"Over\""),
        "| charge a | 2026-05-02 | 600 USD | lab |\n| charge b | 2027-05-02 | 1200 USD | lab |",
        "| fee | 2026-05 | 50 USD |\n| fee | 2027-05 | 20 USD |",
    );
}

/// What is right of an agreement whose second version, from June on, has other blocks.
#[track_caller]
fn right_of_two(first: &str, second: &str, given: &str, expect: &str) {
    let example = example(given, expect);
    let text = format!(
        "# Two\n\n```toml\n[version]\ncontract = \"main\"\nnumber = 2\neffective = 2026-06-01\n\n{second}\n```\n\n{example}"
    );
    let second = SourceFile { path: "two.md".to_owned(), text };
    all_right(&[contract("main", first, ""), second], expect);
}

#[track_caller]
fn all_right(documents: &[SourceFile], expect: &str) {
    let text = format!("{REGISTER}\n```toml\n[party.aws]\nname = \"Web\"\n```\n");
    let register = SourceFile { path: "register.md".to_owned(), text };
    let files: Vec<SourceFile> = [register].into_iter().chain(documents.to_vec()).collect();
    let figures = run_examples(&read_folder(&files).unwrap_or_else(|errors| panic!("{errors}")));
    assert_eq!(figures.len(), expect.lines().count());
    for figure in figures {
        assert!(figure.is_right, "{figure}");
    }
}

const OTHERS: &str = "[base.Others]\nselect = { charges = { seller = \"ms\" } }\n";

/// 10 % of 1,000 + 1,000 are 200; 20 % of 500 are 100.
#[test]
fn a_version_that_words_a_comparison_in_another_order_goes_on_with_each_part() {
    let compared = |parts: &str| format!("{TERM}each = \"year\"\nat_window_end = true\ngreater_of = [{parts}]\n");
    let (own, others) = ("{ rate = \"10%\", of = \"Sales\" }", "{ rate = \"20%\", of = \"Others\" }");
    right_of_two(
        &format!("{OTHERS}\n{}", compared(&format!("{own}, {others}"))),
        &compared(&format!("{others}, {own}")),
        "| charge a | 2026-05-01 | 1000 USD | lab |\n| charge b | 2026-07-01 | 1000 USD | lab |\n\
         | charge c | 2026-07-02 | 500 USD | ms |",
        "| fee | 2026-12 | 200 USD |",
    );
}

/// Two parts of one measure are told apart by their order: 10 % of 1,000 and 20 % of 100, less 5 % of all, are 65.
#[test]
fn parts_of_one_measure_go_on_in_their_order() {
    let wording = |rate: &str| {
        let parts = format!("{{ rate = \"{rate}\", of = \"Sales\", less = [{{ rate = \"5%\", of = \"Sales\" }}] }}");
        format!(
            "{TERM}each = \"year\"\nat_window_end = true\ngreater_of = [{parts}, {{ rate = \"1%\", of = \"Others\" }}]\n"
        )
    };
    right_of_two(
        &format!("{OTHERS}\n{}", wording("10%")),
        &wording("20%"),
        "| charge a | 2026-05-01 | 1000 USD | lab |\n| charge b | 2026-07-01 | 100 USD | lab |",
        "| fee | 2026-12 | 65 USD |",
    );
}

/// 80 were spent before the version that commits to 100 a year, and 10 after: 10 are lacking.
#[test]
fn a_commitment_that_a_version_brings_counts_what_its_window_had_before() {
    let share = format!("{TERM}rate = \"10%\"\nof = \"Sales\"\n");
    let spent = "| charge a | 2026-05-01 | 80 USD | ms |\n\
                 | charge b | 2026-07-01 | 10 USD | ms |\n| charge c | 2027-01-01 | 30 USD | ms |";
    let of = "minimum = { is = \"100 USD\", each = \"year\", of = \"Others\" }\n";
    let due = "| fee | 2026-12 | 10 USD |\n| fee | 2027-12 | 70 USD |";
    right_of_two(&format!("{OTHERS}\n{share}"), &format!("{share}{of}"), spent, due);
    // So it does in a window of another length: of the second quarter it had 80, of the third 10.
    let by_quarter_of = "minimum = { is = \"100 USD\", each = \"quarter\", of = \"Others\" }\n";
    let due = "| fee | 2026-06 | 20 USD |\n| fee | 2026-09 | 90 USD |\n| fee | 2027-03 | 70 USD |";
    right_of_two(&format!("{OTHERS}\n{share}{of}"), &format!("{share}{by_quarter_of}"), spent, due);
}

/// The measure of a minimum is told apart as the term is.
#[test]
fn a_commitment_that_a_version_brings_counts_for_each_value_what_that_had() {
    let share = format!("{TERM}rate = \"10%\"\nof = \"Sales\"\nper = [\"seller\"]\n");
    let all = "[base.All]\nselect = { charges = {} }\n";
    let of = "minimum = { is = \"100 USD\", each = \"year\", of = \"All\" }\n";
    right_of_two(
        &format!("{all}\n{share}"),
        &format!("{share}{of}"),
        "| charge a | 2026-05-01 | 80 USD | ms |\n| charge b | 2026-05-02 | 50 USD | lab |\n\
         | charge c | 2026-07-01 | 10 USD | ms |",
        "| fee | 2026-05 | 5 USD |\n| fee | 2026-12 | 60 USD |",
    );
}

fn compared_with_cost(missing: &str, when: &str) -> String {
    format!(
        "[figure.Cost]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"{missing}\"\n\n[period.mid]\nevery = \"1 month\"\n\
         from = 2026-01-15\n\n[base.Net]\nselect = {{ charges = {{ seller = \"lab\" }} }}\n\
         less = [{{ figure = \"Cost\", at = \"own_date\" }}]\n\n{TERM}{when}\n\
         greater_of = [{{ rate = \"10%\", of = \"Net\" }}, {{ fixed = \"1 USD\" }}]"
    )
}

/// The cost of February is that of January: of 15 February to 14 March 900 are left.
#[test]
fn the_last_figure_stands_at_the_end_of_each_period_of_a_window_that_ends_within_one() {
    let given = "| figure Cost g | 2026-01 | 100 USD | |\n| charge a | 2026-03-01 | 1000 USD | lab |";
    let mid = compared_with_cost("last", "each = \"mid\"");
    right(&[], &mid, given, "| fee | 2026-02 | 1 USD |\n| fee | 2026-03 | 90 USD |");
}

fn ended_in_may(owed: &str) -> String {
    format!(
        "[fact.stop]\nkind = \"event\"\nby = \"lab\"\n\n[base.Net]\nselect = {{ base = \"Sales\" }}\n\
         less = [{{ deductions = [\"refund\"], at = \"own_date\" }}]\n\n\
         {TERM}until = \"stop\"\ntail = {{ lasts = \"12 months\", of = \"all\" }}\n{owed}"
    )
}

const AFTER_ITS_END: &str = "| fact stop | 2026-06-01 | | |\n| charge a | 2026-07-02 | 100 USD | lab |\n\
                             | charge b | 2026-08-02 | 1000 USD | lab |\n| refund r of a | 2026-09-03 | 40 USD | |";

/// After the end in May 10 % are owed, and no floor, fee or sum beside it; what limits it goes on.
#[test]
fn what_is_owed_whatever_is_sold_ends_with_the_term() {
    let tenth = "{ rate = \"10%\", of = \"Net\" }";
    let fixed = "{ fixed = \"20 USD\" }";
    let after = "| fee | 2026-06 | 0 USD |\n| fee | 2026-07 | 10 USD |\n| fee | 2026-08 | 100 USD |\n| fee | 2026-09 | -4 USD |";
    for (kind, before) in [("greater_of", 20), ("sum", 20)] {
        let expect = format!("| fee | 2026-05 | {before} USD |\n{after}");
        right(&[], &ended_in_may(&format!("each = \"month\"\n{kind} = [{tenth}, {fixed}]")), AFTER_ITS_END, &expect);
    }
    let limited = "| fee | 2026-06 | 0 USD |\n| fee | 2026-07 | 10 USD |\n| fee | 2026-08 | 20 USD |";
    right(&[], &ended_in_may(&format!("each = \"month\"\nlesser_of = [{tenth}, {fixed}]")), AFTER_ITS_END, limited);
}

/// Of a sum on two days the second comes after the end; a tenth of what was sold by then, 100, is owed still.
#[test]
fn a_sum_on_a_day_after_the_end_is_not_owed() {
    let days = "on = [2026-05-01, 2026-08-01]";
    let fee = "| fee | 2026-05 | 7 USD |\n| fee | 2026-08 | 0 USD |";
    right(&[], &ended_in_may(&format!("{days}\nfixed = \"7 USD\"")), AFTER_ITS_END, fee);
    let tenth = ended_in_may("on = 2026-08-01\nrate = \"10%\"\nof = \"Sales\"");
    right(&[], &tenth, AFTER_ITS_END, "| fee | 2026-05 | 0 USD |\n| fee | 2026-08 | 10 USD |");
}

/// Of 1,200 in 2026 eleven parts of twelve go to the one; of 1,200 in 2027 all go to the other.
#[test]
fn a_pool_of_a_year_is_shared_by_what_was_used_in_that_year() {
    let pool = "[base.Use]\nselect = { units = { seller = \"lab\" } }\n\n[term.pool]\npayer = \"lab\"\n\
                payee = { by = \"Use\", each = \"channel\", parties = { x = \"ms\", y = \"aws\" }, if_none = \"equal\" }\n\
                fixed = \"1200 USD\"\neach = \"year\"";
    let expect = "| pool | ms | 2026-12 | 1100 USD |\n| pool | aws | 2026-12 | 100 USD |\n\
                  | pool | ms | 2027-12 | 0 USD |\n| pool | aws | 2027-12 | 1200 USD |";
    let example = format!(
        "## Example: a pool\n\n| given | at | amount | seller | channel | quantity |\n| --- | --- | --- | --- | --- | --- |\n\
         | charge a | 2026-05-02 | 1000 USD | lab | x | 11 |\n| charge b | 2026-12-03 | 1000 USD | lab | y | 1 |\n\
         | charge c | 2027-01-01 | 1000 USD | lab | y | 3 |\n\n\
         | expect | payee | period | amount |\n| --- | --- | --- | --- |\n{expect}\n"
    );
    all_right(&[contract("main", pool, &example)], expect);
}

/// What is sold in May is invoiced in June, when another version counts by the other of the two: it counts once.
#[test]
fn a_charge_counts_once_though_versions_count_sales_and_invoices() {
    let base = |select: &str| format!("[base.B]\nselect = {select}\n\n{TERM}rate = \"10%\"\nof = \"B\"");
    let billings = base("{ billings = { seller = \"lab\" } }");
    let both = base("[{ charges = { seller = \"lab\" } }, { billings = { seller = \"lab\" } }]");
    let given = "| charge a | 2026-05-10 | 100 USD | lab |\n| billing b of a | 2026-06-05 | 100 USD | |";
    right_of_two(&billings, &both, given, "| fee | 2026-05 | 0 USD |\n| fee | 2026-06 | 10 USD |");
    right_of_two(&both, &billings, given, "| fee | 2026-05 | 10 USD |\n| fee | 2026-06 | 0 USD |");
}

/// A figure and another contract's total behind `first` wait for one another, and no window passes before them: of the 40
/// `first` takes its 30, and 10 of the 50 of `second` find room.
#[test]
fn the_first_in_the_file_takes_room_first_though_it_is_made_of_two_totals() {
    let others = "[base.Others]\nselect = { charges = { seller = \"ms\" } }\nbelow_zero = \"carried\"\n\n\
                  [term.others]\npayer = \"ms\"\npayee = \"lab\"\nrate = \"10%\"\nof = \"Others\"\n";
    let blocks = format!(
        "[figure.Extra]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"zero\"\n\n[cap.total]\nis = \"40 USD\"\n\
         each = \"term\"\nfrom = 2026-01-01\nopening = \"0 USD\"\nexcess = \"lost\"\n\n\
         [base.B]\nselect = [{{ figure = \"Extra\" }}, {{ accrual = \"up/others\", as = \"owed\" }}]\n\n{}cap = \"total\"\n\
         each = \"month\"\ngreater_of = [{{ rate = \"10%\", of = \"B\" }}, {{ fixed = \"30 USD\" }}]\n\n{}cap = \"total\"\n\
         of = \"Sales\"\nrate = [{{ up_to = \"1000 USD\", is = \"50%\" }}, {{ otherwise = \"20%\" }}]\n\
         tiers = {{ apply = \"whole\", each = \"month\", from = 2026-01-01 }}",
        TERM.replace("fee", "first"),
        TERM.replace("fee", "second")
    );
    let given = "| charge a | 2026-01-05 | 100 USD | lab |";
    let expect = "| first | 2026-01 | 30 USD |\n| second | 2026-01 | 10 USD |";
    right(&[contract("up", others, "")], &blocks, given, expect);
}
