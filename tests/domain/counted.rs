//! What counts and what does not, with examples worked out by hand: first facts, refunds of what did not count; and what
//! a term rests on that is assumed.

use crate::worked::right;

const TERM: &str = "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\n";
const GO: &str = "[fact.go]\nkind = \"event\"\nby = \"lab\"\nskip = 1\n\n";
const GOES: &str = "| fact go | 2026-05-01 | | |\n| charge a | 2026-05-02 | 1000 USD | lab |\n\
                    | fact go | 2026-05-03 | | |\n| charge b | 2026-05-04 | 100 USD | lab |\n\
                    | fact go | 2026-06-03 | | |\n| charge c | 2026-06-04 | 10 USD | lab |";

/// The first of three does not count.
#[test]
fn facts_that_are_skipped_neither_begin_a_term_nor_end_it() {
    right(&[], &format!("{GO}{TERM}rate = \"10%\"\nof = \"Sales\"\nfrom = \"go\""), GOES, "| fee | 2026-05 | 10 USD |");
    right(
        &[],
        &format!("{GO}{TERM}rate = \"10%\"\nof = \"Sales\"\nuntil = \"go\""),
        GOES,
        "| fee | 2026-05 | 100 USD |\n| fee | 2026-06 | 0 USD |",
    );
}

#[test]
fn nothing_is_owed_at_facts_that_are_skipped() {
    let fixed = "fixed = \"7 USD\"\non = \"go\"";
    right(&[], &format!("{GO}{TERM}{fixed}"), GOES, "| fee | 2026-05 | 7 USD |\n| fee | 2026-06 | 7 USD |");
    // The first that counts is the only one.
    let once = format!("{GO}{TERM}{fixed}\nat_most = 1");
    right(&[], &once, GOES, "| fee | 2026-05 | 7 USD |\n| fee | 2026-06 | 0 USD |");
}

#[test]
fn facts_that_are_skipped_are_not_counted() {
    let counted = format!("{GO}[base.Goes]\nselect = {{ facts = \"go\" }}\n\n{TERM}price = \"3 USD\"\nof = \"Goes\"");
    right(&[], &counted, GOES, "| fee | 2026-05 | 3 USD |\n| fee | 2026-06 | 3 USD |");
}

/// What was sold before the amount began is not in it, and nor is what is taken off of that.
#[test]
fn a_refund_of_what_an_amount_did_not_count_takes_nothing_off() {
    let net = "[base.Net]\nselect = { charges = { seller = \"lab\" } }\n\
               less = [{ deductions = [\"refund\"], at = \"own_date\" }]\n\n\
               [amount.Late]\nrate = \"10%\"\nof = \"Net\"\nfrom = 2026-06-01\n\n";
    right(
        &[],
        &format!("{net}{TERM}of = \"Late\""),
        "| charge a | 2026-05-01 | 1000 USD | lab |\n| charge b | 2026-06-02 | 500 USD | lab |\n\
         | refund r of a | 2026-06-03 | 100 USD | |\n| refund s of b | 2026-06-04 | 50 USD | |",
        "| fee | 2026-05 | 0 USD |\n| fee | 2026-06 | 45 USD |",
    );
}
