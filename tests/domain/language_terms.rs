//! What the contract language refuses of terms and of what stands around them, with the whole message.

use crate::language::{accept, check, check_term, read_with, term};

#[test]
fn a_node_is_one_thing() {
    check_term(
        "due = \"30 days after period\"",
        "-2:1: term share (\"Clause\"): what is owed? write rate and of, price and of, fixed, greater_of, lesser_of or sum; or a minimum with `of`",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\nfixed = \"1 USD\"",
        "3:9: term share (\"Clause\"): fixed = \"1 USD\"\n  a fixed sum is no part of anything; leave out what stands beside \
         it, or write greater_of, lesser_of or sum = [{ fixed = .. }, { .. }]",
    );
    check_term(
        "rate = \"20%\"\nof = \"Sales\"\nprice = \"1 USD\"",
        "-2:1: term share (\"Clause\"): one of: of with or without rate; price and of; fixed; greater_of; lesser_of; \
         sum. Several nest, as in sum = [{ .. }, { .. }]",
    );
    check_term("rate = \"20%\"", "-2:1: term share (\"Clause\"): a rate of what? write of = \"a base\"");
    check_term(
        "price = \"2 USD\"\nof = \"Sales\"",
        "2:6: term share (\"Clause\"): of = \"Sales\"\n  a price is per unit, and this is money; write rate for a part \
         of it",
    );
    check_term(
        "rate = \"2%\"\nof = \"Units\"",
        "2:6: term share (\"Clause\"): of = \"Units\"\n  it is a plain number, where USD is needed",
    );
    check_term(
        "price = \"2 USD\"\nof = \"Units\"\nper_units = \"5\"",
        "-2:1: term share (\"Clause\"): what does a part of a block count? write part_block = \"whole\", \"none\", \
         \"exact\", or \"running\" with block_from",
    );
    check_term(
        "price = \"2 USD\"\nof = \"Units\"\nper_units = \"5\"\npart_block = \"running\"",
        "4:14: term share (\"Clause\"): part_block = \"running\"\n  part_block = \"running\" goes with block_from = \
         date, from when on units fill blocks; no other does",
    );
    check_term(
        "rate = \"2%\"\nof = \"Sales\"\nin = \"point\"",
        "2:6: term share (\"Clause\"): of = \"Sales\"\n  it is in USD, where point is needed",
    );
    accept(&term("rate = \"2%\"\nof = \"Sales\"\nin = \"credit\""));
    check_term(
        "rate = \"2%\"\nof = \"Sales\"\nin = \"EUR\"",
        "2:6: term share (\"Clause\"): of = \"Sales\"\n  it is in USD, where EUR is needed; write [fx] with source and \
         date, by which one becomes the other",
    );
    accept(&format!(
        "[fx]\nsource = \"ECB\"\ndate = \"item\"\n\n{}",
        term("rate = \"2%\"\nof = \"Sales\"\nin = \"EUR\"")
    ));
}

#[test]
fn windows_are_stated_where_they_matter() {
    check_term(
        "greater_of = [{ rate = \"7%\", of = \"Sales\" }, { fixed = \"700 USD\" }]",
        "-2:1: term share (\"Clause\"): over which window? write each = \"month\", \"quarter\", \"year\", \"item\", \
         \"term\" or a [period]",
    );
    check_term(
        "fixed = \"700 USD\"",
        "-2:1: term share (\"Clause\"): when is a fixed sum owed? write each = window, on = dates, or on = fact",
    );
    check_term(
        "fixed = \"700 USD\"\neach = \"month\"",
        "2:8: term share (\"Clause\"): each = \"month\"\n  what holds of the fixed sum in a window that a start or end \
         cuts? write pro_rata = \"full\", \"days\", \"months\" or \"none\" there or in [contract]",
    );
    check_term(
        "rate = \"7%\"\nof = \"Sales\"\nminimum = { is = \"1 USD\", each = \"year\" }",
        "3:11: term share (\"Clause\"): minimum = { is = \"1 USD\", each = \"year\" }\n  what holds of the minimum in a \
         window that a start or end cuts? write pro_rata = \"full\", \"days\", \"months\" or \"none\" there or in \
         [contract]",
    );
    check_term(
        "fixed = \"700 USD\"\nwhile = \"paused\"\non = [2026-03-01, 2026-02-01]",
        "3:6: term share (\"Clause\"): on = [2026-03-01, 2026-02-01]\n  dates stand in the order of time, each once",
    );
    check_term(
        "fixed = \"700 USD\"\neach = \"term\"\non = 2026-03-01",
        "-2:1: term share (\"Clause\"): owed by the window (each) or at a time (on), not both",
    );
    check_term(
        "fixed = \"700 USD\"\non = 2026-03-01\nat_most = 2",
        "3:11: term share (\"Clause\"): at_most = 2\n  at_most counts how often a fact is paid for; write on = \"a \
         fact\"",
    );
    check_term(
        "rate = \"7%\"\nof = \"Sales\"\nfrom = 2026-05-01\nthrough = 2026-04-01",
        "-2:1: term share (\"Clause\"): it ends at 2026-04-02 (UTC), before it begins at 2026-05-01 (UTC)",
    );
    check_term(
        "rate = \"7%\"\nof = \"Sales\"\nlasts = \"a year\"",
        "3:9: term share (\"Clause\"): lasts = \"a year\"\n  \"a year\" is no length of time; write \"0 days\", \
         \"36 hours\", \"12 months\" or \"5 years\"",
    );
    check_term(
        "rate = \"7%\"\nof = \"Sales\"\ndue = \"10 business days after period\"",
        "3:7: term share (\"Clause\"): due = \"10 business days after period\"\n  business days are counted by a \
         calendar; write calendar = \"its-name\" in [contract], and [calendar.its-name] with holidays",
    );
    check(
        "[period.fee]\nstarts = [2026-01-01]\n\n[term.t]\npayer = \"lab\"\npayee = \"cloud\"\nfixed = \"1 USD\"\neach = \
         \"fee\"",
        "2:10: period fee (\"Clause\"): starts = [2026-01-01]\n  starts are two dates or more, each after the one \
         before; the last ends the last window",
    );
}

#[test]
fn an_instant_is_written_without_quotes_where_an_interval_begins() {
    accept(&term("rate = \"7%\"\nof = \"Sales\"\nfrom = 2026-05-01T12:00:00Z"));
    for (field, at) in [("from", "\"2026-05-01T12:00:00Z\""), ("through", "2026-05-01T12:00:00Z")] {
        let found = read_with(&term(&format!("rate = \"7%\"\nof = \"Sales\"\n{field} = {at}")), &[]);
        assert!(found.is_err(), "accepted: {field} = {at}");
    }
    check_term(
        "rate = \"7%\"\nof = \"Sales\"\nthrough = \"soon\"",
        "3:11: term share (\"Clause\"): through = \"soon\"\n  through is no date or instant; write 2026-04-27 or \
         2026-04-27T00:00:00-07:00",
    );
}

#[test]
fn bands_of_a_level_are_in_its_own_unit() {
    let level = "[figure.Balance]\nunit = \"EUR\"\nkind = \"level\"\nmissing = \"zero\"";
    let bands = |edge: &str| {
        let tiers = "tiers = { apply = \"level\", of = \"Balance\", read = \"at_item\" }";
        let rate = format!("rate = [{{ up_to = \"{edge}\", is = \"1%\" }}, {{ otherwise = \"2%\" }}]");
        read_with(&format!("{level}\n\n{}", term(&format!("of = \"Sales\"\n{rate}\n{tiers}"))), &[])
    };
    bands("100 EUR").unwrap_or_else(|error| panic!("{error}"));
    assert!(bands("100 USD").is_err(), "the balance is in euro");
}

#[test]
fn events_alone_are_skipped_and_last() {
    for counts in ["skip = 1", "lasts = \"30 days\""] {
        let fact = |kind: &str| format!("[fact.told]\nkind = \"{kind}\"\n{counts}");
        accept(&fact("event"));
        let found = read_with(&fact("status"), &[]).err().unwrap_or_else(|| panic!("accepted: {counts}"));
        assert!(found.contains("a status begins and ends; skip and lasts are of events"), "{found}");
    }
}

#[test]
fn a_fact_of_a_party_selects_by_parties() {
    let by = |parties: &str| {
        let rows = format!("[{{ where = {{ introduced = {parties} }}, is = \"1%\" }}, {{ otherwise = \"2%\" }}]");
        read_with(&term(&format!("rate = {rows}\nof = \"Sales\"")), &[])
    };
    assert!(by("[\"cloud\", \"other\"]").is_ok());
    assert!(by("[]").is_err(), "no party would ever match");
    assert!(by("true").is_err(), "it is no fact that holds or not");
}

#[test]
fn a_row_that_never_holds_is_refused() {
    let rows = |second: &str| {
        term(&format!(
            "minimum = {{ is = [{{ period = \"2-3\", is = \"1 USD\" }}, {{ period = {second}, is = \"2 USD\" }}, {{ \
             otherwise = \"3 USD\" }}], each = \"year\" }}\nrate = \"7%\"\nof = \"Sales\"\npro_rata = \"full\""
        ))
    };
    for after in ["\"1-3\"", "\"2-4\"", "4"] {
        accept(&rows(after));
    }
    for within in ["\"2-3\"", "2", "3"] {
        let found = read_with(&rows(within), &[]).err().unwrap_or_else(|| panic!("accepted: {within}"));
        assert!(found.contains("a row before it holds whenever it would, so it never does"), "{found}");
    }
}

#[test]
fn caps_and_minima_fit_their_terms() {
    let cap = |cap: &str| format!("rate = \"20%\"\nof = \"Sales\"\ncap = {cap}");
    let whole = r#"each = "term", from = 2026-01-01, excess = "lost""#;
    check_term(
        &cap(&format!(r#"{{ is = "10 USD", opening = "20 USD", {whole} }}"#)),
        "3:34: term share (\"Clause\"): opening = \"20 USD\"\n  the opening 20 is above the cap 10",
    );
    check_term(
        &cap(r#"{ is = "10 USD", opening = "0 USD", each = "year", from = 2026-01-01, excess = "lost" }"#),
        "3:7: term share (\"Clause\"): cap = { is = \"10 USD\", opening = \"0 USD\", each = \"year\", from = \
         2026-01-01, excess = \"lost\" }\n  what holds of the cap in a window that a start or end cuts? write pro_rata \
         = \"full\", \"days\", \"months\" or \"none\" there or in [contract]",
    );
    let shared = format!("[cap.total]\nis = \"10 USD\"\nopening = \"0 USD\"\n{}\n\n", whole.replace(", ", "\n"));
    check(
        &format!(
            "{shared}{}\n\n[term.back]\npayer = \"cloud\"\npayee = \"lab\"\nrate = \"1%\"\nof = \"Sales\"\ncap = \
             \"total\"",
            term("rate = \"20%\"\nof = \"Sales\"\ncap = \"total\"")
        ),
        "13:7: term share (\"Clause\"): cap = \"total\"\n  terms under cap \"total\" have one payer and payee",
    );
    let alone = read_with(&format!("{shared}{}", term("rate = \"20%\"\nof = \"Sales\"")), &[]);
    let told = alone.err().unwrap_or_else(|| panic!("accepted: a cap of nothing"));
    assert!(told.contains("no term is under cap \"total\"; write cap = \"total\" in a term"), "{told}");
    check(
        &format!("{shared}{}", term("rate = \"20%\"\nof = \"Sales\"\nin = \"credit\"\ncap = \"total\"")),
        "14:7: term share (\"Clause\"): cap = \"total\"\n  terms under cap \"total\" have one currency or unit",
    );
    check_term(
        r#"minimum = { is = "10 USD", each = "term" }"#,
        "1:11: term share (\"Clause\"): minimum = { is = \"10 USD\", each = \"term\" }\n  a minimum of what? write of = \
         what counts toward it",
    );
    check_term(
        r#"minimum = { is = "10 USD", each = "term", of = "Sales", carry_for = 1 }"#,
        "1:11: term share (\"Clause\"): minimum = { is = \"10 USD\", each = \"term\", of = \"Sales\", carry_for = 1 \
         }\n  carry_limit and carry_for limit what is carried; write carry = \"excess\" or \"shortfall\"",
    );
    accept(&term(r#"minimum = { is = "10 USD", each = "term", of = "Sales" }"#));
}

#[test]
fn payees_and_credits_are_between_the_parties() {
    let payees = |payee: &str| format!("[term.t]\npayer = \"lab\"\npayee = {payee}\nrate = \"20%\"\nof = \"Sales\"");
    check(&payees("\"lab\""), "3:9: term t (\"Clause\"): payee = \"lab\"\n  payer and payee are both \"lab\"");
    check(
        &payees(r#"[{ party = "cloud", part = "1/2" }, { party = "other", part = "1/3" }]"#),
        "3:9: term t (\"Clause\"): payee = [{ party = \"cloud\", part = \"1/2\" }, { party = \"other\", part = \"1/3\" \
         }]\n  the parts make 5/6, not 1",
    );
    accept(&payees(r#"[{ party = "cloud", part = "1/3" }, { party = "other", part = "2/3" }]"#));
    check(
        &payees(r#"{ each = "operator", by = "Units", if_none = "equal" }"#),
        "3:9: term t (\"Clause\"): payee = { each = \"operator\", by = \"Units\", if_none = \"equal\" }\n  equal among \
         whom? list them: parties = { value = \"party\" }",
    );
    accept(&payees(
        r#"{ each = "product", by = "Units", parties = { api = "cloud", agents = "other" }, if_none = "equal" }"#,
    ));
    check(
        &payees(r#"{ each = "product", by = "Units", parties = { apy = "cloud" }, if_none = "stop" }"#),
        "3:55: term t (\"Clause\"): apy\n  no product or group \"apy\"; there is agents, api",
    );
    let advance = "\n\n[term.advance]\npayer = \"other\"\npayee = \"lab\"\nfixed = \"9 USD\"\non = 2026-01-01";
    check(
        &format!(
            "{}{advance}",
            term("rate = \"20%\"\nof = \"Sales\"\ncredits = [{ of = \"advance\", rest = \"lost\" }]")
        ),
        "6:19: term share (\"Clause\"): of = \"advance\"\n  a credit is of another term between the same two parties, \
         in either direction",
    );
    let paid = |name: &str, payer: &str, payee: &str| {
        format!("\n\n[term.{name}]\npayer = \"{payer}\"\npayee = \"{payee}\"\nfixed = \"9 USD\"\non = 2026-01-01")
    };
    let one = |credit: &str| {
        let credits = format!("rate = \"20%\"\nof = \"Sales\"\ncredits = [{credit}]");
        format!("{}{}", term(&credits), paid("debt", "cloud", "lab"))
    };
    accept(&one(r#"{ of = "debt", rest = "lost", limit = "9 USD" }"#));
    check(
        &one(r#"{ of = "debt", rest = "lost", limit = "-9 USD" }"#),
        "6:12: term share (\"Clause\"): { of = \"debt\", rest = \"lost\", limit = \"-9 USD\" }\n  a limit below zero would \
         be paid back to nobody; write the most that is paid back in all",
    );
    check(
        &one(r#"{ of = "debt", rest = "repaid" }"#),
        "6:12: term share (\"Clause\"): { of = \"debt\", rest = \"repaid\" }\n  what is not set off stays owed; write rest \
         = \"carried\", or \"lost\" where it is not to be set off later",
    );
    check(
        &one(r#"{ of = "debt", rest = "lost" }"#).replace("[term.debt]", "[term.debt]\ninput = true"),
        "6:19: term share (\"Clause\"): of = \"debt\"\n  nobody owes an input, so nothing is set off against it or recouped \
         of it; name a term that is owed",
    );
    let credits = "rate = \"20%\"\nof = \"Sales\"\ncredits = [{ of = \"debt\", rest = \"lost\" }, { of = \"advance\", rest = \"lost\" }]";
    check(
        &format!("{}{}{}", term(credits), paid("debt", "cloud", "lab"), paid("advance", "lab", "cloud")),
        "6:19: term share (\"Clause\"): of = \"debt\"\n  what was paid in advance is recouped as a term accrues, what is \
         owed the other way is set off at the period's end; write `debt` after the advances",
    );
    check(
        &format!(
            "{}\ncredits = [{{ of = \"share\", rest = \"carried\" }}]",
            one(r#"{ of = "debt", rest = "carried" }"#)
        ),
        "6:19: term share (\"Clause\"): of = \"debt\"\n  `debt` sets off what is owed the other way by itself; write the \
         credits of either side in one term alone",
    );
}

#[test]
fn parameters_by_notice_have_bounds() {
    let parameter = |lines: &str| format!("[parameter.rate]\n{lines}\n\n{}", term("rate = \"rate\"\nof = \"Sales\""));
    accept(&parameter("value = \"1%\"\nset_by = \"lab\"\nbetween = [\"0%\", \"2%\"]\nnotice = \"30 days\""));
    accept(&parameter("value = \"1%\"\nset_by = \"lab\"\nbetween = [\"1%\", \"1%\"]"));
    check(
        &parameter("value = \"3%\"\nset_by = \"lab\"\nbetween = [\"0%\", \"2%\"]"),
        "2:9: parameter rate (\"Clause\"): value = \"3%\"\n  the value is out of its own bounds",
    );
    check(
        &parameter("value = \"1%\"\nset_by = \"lab\""),
        "2:9: parameter rate (\"Clause\"): value = \"1%\"\n  set_by stands with between = [least, most], and without \
         tiers",
    );
    check(
        &parameter("value = \"rate\""),
        "2:9: parameter rate (\"Clause\"): value = \"rate\"\n  they are made of each other in a circle: parameter rate \
         -> parameter rate",
    );
    check(
        "[parameter.x]\nvalue = 5",
        "2:9: parameter x (\"Clause\"): value = 5\n  an unquoted number is inexact: write \"5\"",
    );
}

#[test]
fn bases_say_where_deductions_stand() {
    check(
        "[base.B]\nselect = { charges = { seller = \"lab\" } }\nless = [{ deductions = [\"return\"] }]",
        "3:9: base B (\"Clause\"): { deductions = [\"return\"] }\n  does a return count where its sale did (at = \
         \"item\") or on its own date (at = \"own_date\")?",
    );
    check(
        "[base.B]\nselect = [{ charges = {} }, { units = {} }]",
        "2:29: base B (\"Clause\"): { units = {} }\n  USD and a plain number cannot be one base; make two",
    );
    check(
        "[base.A]\nselect = { base = \"B\" }\n\n[base.B]\nselect = { base = \"A\" }",
        "2:19: base A (\"Clause\"): base = \"B\"\n  they are made of each other in a circle: base A -> base B -> base A",
    );
    check(
        "[amount.A]\nof = \"B\"\n\n[amount.B]\nsum = [{ of = \"A\" }, { of = \"Sales\" }]",
        "2:6: amount A (\"Clause\"): of = \"B\"\n  they are made of each other in a circle: amount A -> amount B -> amount A",
    );
    check(
        "[base.B]\nselect = { charges = {}, figure = \"Cost\" }",
        "2:10: base B (\"Clause\"): select = { charges = {}, figure = \"Cost\" }\n  select = { .. } names one of \
         charges, billings, units, facts, figure, accrual, base and amount",
    );
    check(
        "[base.B]\nselect = []",
        "2:10: base B (\"Clause\"): select = []\n  base selects nothing; name charges, a figure or an accrual",
    );
    accept("[base.B]\nselect = []\nless = [{ figure = \"Cost\", at = \"own_date\" }]");
    check(
        "[figure.F]\nunit = \"USD\"\nkind = \"flow\"",
        "1:1: figure F (\"Clause\"): what holds while it is missing? write missing = \"stop\", \"zero\", \"nothing\", \
         \"last\" or \"120% of last\"",
    );
    check(
        "[figure.Sales]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"stop\"",
        "1:1: figure Sales (\"Clause\"): \"Sales\" is a base and a figure; give each a name of its own",
    );
}

#[test]
fn what_cannot_be_computed_is_refused() {
    check_term(
        "minimum = { is = \"50 USD\", each = \"term\", of = \"Sales\", mix = { by = \"product\", at_most = \"50%\" } }",
        "1:57: term share (\"Clause\"): mix\n  unknown field `mix`; there is carry, carry_for, carry_limit, cumulative, due, \
         each, is, of, outside_cap, pro_rata, shortfall",
    );
    check(
        "[amount.Year]\nof = \"Sales\"\nover = \"12 months\"",
        "3:1: amount Year (\"Clause\"): over\n  unknown field `over`; there is annual, block_from, confidence, each, fixed, \
         from, greater_of, in, less, lesser_of, note, of, part_block, per, per_units, price, pro_rata, rate, source, sum, through, \
         tiers, times, until",
    );
    check(
        "[base.Paid]\nselect = { accrual = \"other/share\", as = \"received\" }",
        "2:42: base Paid (\"Clause\"): as = \"received\"\n  what is paid of a term is not recorded; draw on it where it is owed, \
         without `as` or with as = \"owed\"",
    );
    check(
        "[base.Net]\nselect = { base = \"Sales\" }\nless = [{ fixed = \"1 USD\", at = \"item\" }]",
        "3:9: base Net (\"Clause\"): { fixed = \"1 USD\", at = \"item\" }\n  a fixed sum would come off at each item; make it an \
         [amount] with each = window, and name that here",
    );
    check_term(
        "rate = [{ up_to = \"1 USD\", is = \"1%\" }, { otherwise = \"2%\" }]\nof = \"Sales\"\ntiers = { apply = \"level\", of = \"Sales\", read = \"window_start\" }",
        "3:9: term share (\"Clause\"): tiers = { apply = \"level\", of = \"Sales\", read = \"window_start\" }\n  a window begins \
         with nothing of what is counted in it; write read = \"previous_window\", or \"at_item\" with each = \"term\"",
    );
}
