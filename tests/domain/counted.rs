//! What counts and what does not, with examples worked out by hand: first facts, refunds of what did not count; and what
//! a term rests on that is assumed.

use crate::worked::{REGISTER, contract, right};
use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::contract::rights::stretches;
use apportion::domain::ids::DefinedTerm;
use apportion::domain::period::{Span, parse_instant};
use apportion::domain::record::{Fact, Subject};

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

#[test]
fn a_right_ends_at_the_first_fact_that_counts() {
    let told = |at: &str| Fact {
        contract: "main".into(),
        name: DefinedTerm::new("go"),
        by: "lab".into(),
        at: parse_instant(at).expect("an instant"),
        until: None,
        about: Subject::default(),
        party: None,
        evidence: String::new(),
    };
    let agreement = contract(
        "main",
        &format!("{GO}[right.alone]\nonly = {{ cloud = \"azure\" }}\nproducts = \"api\"\nuntil = \"go\""),
        "",
    );
    let register = SourceFile { path: "register.md".to_owned(), text: REGISTER.to_owned() };
    let folder = read_folder(&[register, agreement]).unwrap_or_else(|errors| panic!("{errors}"));
    let agreement = folder.contracts.first().expect("one");
    let within = Span { start: parse_instant("2026-04-01T00:00:00Z").expect("an instant"), ..Span::ever() };
    let ends = |facts: &[Fact]| {
        let stretches = stretches(agreement, &"alone".into(), facts, within);
        stretches.into_iter().filter(|it| it.in_force).map(|it| it.span.end).collect::<Vec<_>>()
    };
    let (first, second) = (told("2026-05-01T00:00:00Z"), told("2026-06-01T00:00:00Z"));
    assert_eq!(ends(std::slice::from_ref(&first)), [within.end]);
    assert_eq!(ends(&[second.clone(), first]), [second.at]);
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

const NET: &str = "[base.Net]\nselect = { base = \"Sales\" }\n\
                   less = [{ deductions = [\"refund\"], at = \"own_date\" }]\n\n";
const REFUNDED: &str = "| charge a | 2026-02-02 | 1000 USD | lab |\n| refund r of a | 2026-03-03 | 1000 USD | |";

/// The lesser of 20 % and 3 % of 1,000 are 30, on the way back too; the greater of both 200.
#[test]
fn a_comparison_of_each_item_goes_the_same_way_back() {
    let (most, least) = ("{ rate = \"20%\", of = \"Net\" }", "{ rate = \"3%\", of = \"Net\" }");
    let right_of = |kind: &str, owed: u32| {
        let each = format!("{NET}{TERM}each = \"item\"\n{kind} = [{most}, {least}]");
        right(&[], &each, REFUNDED, &format!("| fee | 2026-02 | {owed} USD |\n| fee | 2026-03 | -{owed} USD |"));
    };
    right_of("lesser_of", 30);
    right_of("greater_of", 200);
}

/// Of 1,000 less 3 % are 970, on the way back too.
#[test]
fn a_comparison_within_a_base_goes_the_same_way_back() {
    let base = "[base.Kept]\nselect = { base = \"Net\" }\n\
                less = [{ lesser_of = [{ rate = \"20%\", of = \"Net\" }, { rate = \"3%\", of = \"Net\" }], at = \"own_date\" }]\n\n";
    right(
        &[],
        &format!("{NET}{base}{TERM}rate = \"10%\"\nof = \"Kept\""),
        REFUNDED,
        "| fee | 2026-02 | 97 USD |\n| fee | 2026-03 | -97 USD |",
    );
}

/// What the term `fee` of one document rests on.
fn rests_on(blocks: &str) -> Vec<String> {
    let register = "# Register\n\n```toml\n[party]\nlab.name = \"Lab\"\nms.name = \"Cloud\"\naws.name = \"Web\"\n```\n";
    let register = SourceFile { path: "register.md".to_owned(), text: register.to_owned() };
    let limit = "[parameter.redacted]\nvalue = \"50 USD\"\nconfidence = \"assumed\"\nsource = \"redacted\"\n\n\
                 [parameter.half]\nvalue = \"50%\"\nconfidence = \"assumed\"\nsource = \"redacted\"\n\n";
    let folder = read_folder(&[register, contract("main", &format!("{limit}{blocks}"), "")]);
    let folder = folder.unwrap_or_else(|errors| panic!("{errors}"));
    let version = folder.contracts.first().and_then(|contract| contract.versions.first()).expect("a version");
    let term = version.term(&"fee".into()).expect("the term");
    term.assumptions.iter().map(|it| it.what.clone()).collect()
}

#[test]
fn a_term_rests_on_what_its_cap_its_bands_and_its_parts_rest_on() {
    let plain = format!("{TERM}rate = \"10%\"\nof = \"Sales\"\n");
    assert_eq!(rests_on(&plain), [""; 0]);
    let cap = "[cap.total]\nis = \"redacted\"\neach = \"term\"\nfrom = 2026-01-01\nopening = \"0 USD\"\nexcess = \"lost\"\n\n";
    assert_eq!(rests_on(&format!("{cap}{plain}cap = \"total\"")), ["redacted"]);
    let bands = "rate = [{ up_to = \"redacted\", is = \"10%\" }, { otherwise = \"20%\" }]\nof = \"Sales\"\n\
                 tiers = { apply = \"marginal\", each = \"year\", from = 2026-01-01 }";
    assert_eq!(rests_on(&format!("{TERM}{bands}")), ["redacted"]);
    let parts = "[term.fee]\npayer = \"lab\"\n\
                 payee = [{ party = \"ms\", part = \"half\" }, { party = \"aws\", part = \"half\" }]\n";
    assert_eq!(rests_on(&format!("{parts}rate = \"10%\"\nof = \"Sales\"\n")), ["half"]);
}

/// 1 % of 1,000 is 10, and the level 50: a refund of all of it takes off what was owed, the lesser and the greater.
#[test]
fn a_comparison_with_a_level_goes_back_the_way_it_went() {
    let compared = |kind: &str| {
        format!(
            "[figure.Worth]\nunit = \"USD\"\nkind = \"level\"\nmissing = \"stop\"\n\n[base.Net]\nselect = {{ charges = {{ seller = \
             \"lab\" }} }}\nless = [{{ deductions = [\"refund\"], at = \"own_date\" }}]\n\n{TERM}each = \"item\"\n{kind} = [{{ rate = \
             \"1%\", of = \"Net\" }}, {{ of = \"Worth\" }}]"
        )
    };
    let given = "| figure Worth w | 2026-01-01 | 50 USD | |\n| charge a | 2026-05-02 | 1000 USD | lab |\n\
                 | refund r of a | 2026-06-03 | 1000 USD | |";
    right(&[], &compared("lesser_of"), given, "| fee | 2026-05 | 10 USD |\n| fee | 2026-06 | -10 USD |");
    right(&[], &compared("greater_of"), given, "| fee | 2026-05 | 50 USD |\n| fee | 2026-06 | -50 USD |");
}

/// Two facts of one day, of which one does not count: one price, and one fee.
#[test]
fn the_facts_that_are_skipped_are_the_same_wherever_they_count() {
    let both = format!(
        "{GO}[base.Goes]\nselect = {{ facts = \"go\" }}\n\n{TERM}price = \"3 USD\"\nof = \"Goes\"\n\n\
         [term.flat]\npayer = \"lab\"\npayee = \"ms\"\nfixed = \"7 USD\"\non = \"go\""
    );
    let given = "| fact go | 2026-05-01 | | |\n| fact go | 2026-05-01 | | |";
    right(&[], &both, given, "| fee | 2026-05 | 3 USD |\n| flat | 2026-05 | 7 USD |");
}

/// 100 is paid in January, of which February's 10 % of 600 pays back 60. In March 80 of it is taken back: 20 was paid in
/// all, so 40 of the 60 is given back at once, though nothing is sold.
#[test]
fn no_more_is_recouped_of_an_advance_than_was_paid() {
    let advance = format!(
        "[figure.Paid]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"zero\"\n\n[term.advance]\npayer = \"lab\"\n\
         payee = \"ms\"\nrate = \"100%\"\nof = \"Paid\"\n\n{TERM}rate = \"10%\"\nof = \"Sales\"\n\
         credits = [{{ of = \"advance\", rest = \"lost\" }}]"
    );
    let given = "| figure Paid | 2026-01 | 100 USD | |\n| charge a | 2026-02-05 | 600 USD | lab |\n\
                 | figure Paid | 2026-03 | -80 USD | |";
    let expect = "| advance | 2026-01 | 100 USD |\n| advance | 2026-02 | -60 USD |\n| fee | 2026-02 | 60 USD |\n\
                  | advance | 2026-03 | -40 USD |";
    right(&[], &advance, given, expect);
}
