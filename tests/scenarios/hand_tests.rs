//! The comparison itself: on answers made by hand, right and wrong in one place each.

use crate::answers::{
    Answer, Answers, Booked, Charges, Crossing, Entitled, EntitledPeriod, Finding, Listed, Settlement, rounded,
};
use crate::hand::{differences, report};
use crate::translate::Asked;
use apportion::domain::money::Exact;
use apportion::domain::period::{Instant, parse_instant};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

fn exact(text: &str) -> Exact {
    text.parse().expect("a number")
}

fn amounts(pairs: &[(&str, &str)]) -> BTreeMap<String, Exact> {
    pairs.iter().map(|(key, amount)| ((*key).to_owned(), exact(amount))).collect()
}

fn booked(term: &str, payee: &str, lines: &[(&str, &str)]) -> Booked {
    Booked {
        term: term.into(),
        payer: "lab".into(),
        payee: payee.into(),
        currency: "USD".into(),
        lines: amounts(lines),
    }
}

fn settlement(period: &str, booked: Vec<Booked>, statements: &[(&str, &str)]) -> Settlement {
    Settlement { period: period.into(), booked, statements: amounts(statements) }
}

fn settled(settlements: Vec<Settlement>) -> Answer {
    Answer::Settled { settlements, findings: Vec::new() }
}

#[track_caller]
fn check(hand: Value, answer: Answer, expect: &[&str]) {
    let run = Answers { steps: vec![answer], ..Answers::default() };
    let found = differences("s", &json!({ "steps": [hand] }), &run);
    assert_eq!(found, expect, "{found:#?}");
}

#[test]
fn a_settlement_is_compared_by_value() {
    let answer = || settled(vec![settlement("2026-01", vec![booked("rs", "ms", &[("2026-01", "80")])], &[])]);
    check(
        json!({"terms=": {"rs": {"booked": "80.00", "lines": {"2026-01": "80.00"}, "adjustments": {}}}}),
        answer(),
        &[],
    );
    check(
        json!({"terms=": {"rs": {"booked": "80.01"}}}),
        answer(),
        &["s: step 1: terms: rs: booked: by hand 80.01, found 80"],
    );
    check(
        json!({"terms": {}}),
        answer(),
        &[
            "s: step 1: terms: rs: by hand absent, found {\"adjustments\":{},\"booked\":\"80\",\"currency\":\"USD\",\"lines\":{\"2026-01\":\"80\"},\"payee\":\"ms\",\"payer\":\"lab\"}",
        ],
    );
    check(
        json!({"terms": {"t2": {"booked": "1"}}}),
        answer(),
        &["s: step 1: terms: t2: by hand {\"booked\":\"1\"}, found nothing"],
    );
    check(
        json!({"terms=": {"rs": {"payee": "aws"}}}),
        answer(),
        &["s: step 1: terms: rs: payee: by hand aws, found ms"],
    );
    check(json!({"error": "missing_fx"}), answer(), &["s: step 1: error: by hand missing_fx, found nothing"]);
    check(json!({"error": "missing_fx"}), Answer::Failed { code: "missing_fx".into() }, &[]);
    check(json!({"op": "close"}), Answer::Closed, &[]);
}

#[test]
fn only_keys_that_are_closed_refuse_others() {
    let two = || {
        let booked = vec![booked("rs", "ms", &[("2026-01", "1")]), booked("t2", "ms", &[("2026-01", "2")])];
        settled(vec![settlement("2026-01", booked, &[("lab|ms|USD", "3"), ("ms|lab|USD", "0")])])
    };
    check(json!({"terms": {"rs": {"booked": "1"}}}), two(), &[]);
    // A statement of zero is as good as none.
    check(json!({"statements=": {"lab|ms|USD": "3.00"}}), two(), &[]);
    let found = "s: step 1: terms: t2: by hand absent, found {\"adjustments\":{},\"booked\":\"2\",\"currency\":\"USD\",\"lines\":{\"2026-01\":\"2\"},\"payee\":\"ms\",\"payer\":\"lab\"}";
    check(json!({"terms=": {"rs": {"booked": "1"}}}), two(), &[found]);
    check(json!({"statements=": {}}), two(), &["s: step 1: statements: lab|ms|USD: by hand absent, found 3"]);
}

/// What the hand does not expect to fail has failed, though it asks for nothing; zeros are asked for of nothing.
#[test]
fn nothing_is_no_failure() {
    let failed = || Answer::Failed { code: "missing_fx".into() };
    check(json!({"terms=": {}}), failed(), &["s: step 1: by hand an answer, found missing_fx"]);
    let nothing = json!({"terms": {"rs": {"booked": "0.00"}}, "statements": {"lab|ms|USD": "0.00"}});
    check(nothing, settled(vec![settlement("2026-02", Vec::new(), &[])]), &[]);
}

/// A period that has a name of the calendar may be called by its first day, as those of a contract's own quarters are.
#[test]
fn periods_may_be_called_by_their_first_day() {
    let answer = || settled(vec![settlement("2026-Q2", vec![booked("rs", "ms", &[("2026-Q2", "7")])], &[])]);
    check(json!({"terms=": {"rs": {"lines=": {"2026-04-01": "7.00"}}}}), answer(), &[]);
    check(json!({"terms=": {"rs": {"lines": {"2026-Q2": "7.00"}}}}), answer(), &[]);
    let found = "s: step 1: terms: rs: lines: 2026-07-01: by hand 7.00, found nothing";
    check(json!({"terms=": {"rs": {"lines": {"2026-07-01": "7.00"}}}}), answer(), &[found]);
}

/// An open period before the named one is settled with it, and the sums are compared.
#[test]
fn what_a_step_settles_is_summed() {
    let march = settlement("2026-03", vec![booked("rs", "ms", &[("2026-02", "-150")])], &[("lab|ms|USD", "-150")]);
    let april = settlement("2026-04", vec![booked("rs", "ms", &[("2026-04", "20")])], &[("lab|ms|USD", "20")]);
    let hand = json!({
        "terms=": {"rs": {"booked": "-130.00", "lines": {"2026-02": "-150", "2026-04": "20"}, "adjustments": {"2026-02": "-150"}}},
        "statements=": {"lab|ms|USD": "-130.00"},
    });
    check(hand, settled(vec![march.clone(), april]), &[]);
    // A cent that moves between origins is shown; what cancels out in one origin is not.
    let moved = settlement("2026-03", vec![booked("rs", "ms", &[("2026-01", "0.01"), ("2026-02", "-0.01")])], &[]);
    let hand = json!({"terms=": {"rs": {"booked": "0.00", "lines": {"2026-01": "0.01", "2026-02": "-0.01"}}}});
    check(hand, settled(vec![moved]), &[]);
    let back = settlement("2026-04", vec![booked("rs", "ms", &[("2026-02", "150")])], &[]);
    check(json!({"terms=": {}}), settled(vec![march, back]), &[]);
}

#[test]
fn several_payees_have_a_key_each() {
    let split = vec![booked("rs/p1", "p1", &[("2026-01", "0.01")]), booked("rs/p2", "p2", &[])];
    check(json!({"terms=": {"rs/p1": {"booked": "0.01"}}}), settled(vec![settlement("2026-01", split, &[])]), &[]);
}

#[test]
fn an_entitlement_shows_the_cap_and_what_crossed_it() {
    let answer = || {
        let period = EntitledPeriod {
            base: exact("250"),
            uncapped: exact("50"),
            accrued: exact("20"),
            rounded: exact("20"),
            cap: Some((exact("80"), exact("100"))),
        };
        let crossing =
            Crossing { event: "e3".into(), at: at("2026-02-10T12:30:00Z"), shared: exact("20"), unshared: exact("20") };
        let entitled = Entitled {
            periods: BTreeMap::from([("2026-02".to_owned(), period)]),
            cumulative: exact("100"),
            crossings: vec![crossing],
            zero_after_cap: vec!["e4".into(), "e5".into()],
        };
        Answer::Entitled { terms: BTreeMap::from([("rs".to_owned(), entitled)]) }
    };
    let hand = json!({"terms": {"rs": {
        "cumulative": "100",
        "crossings": [{"event": "e3", "at": "2026-02-10T13:30:00+01:00", "shared": "20", "unshared": "20"}],
        "zero_after_cap": ["e5", "e4"],
        "periods": {"2026-02": {"cap_before": "80", "cap_after": "100", "uncapped": "50"}},
    }}});
    check(hand, answer(), &[]);
    check(
        json!({"terms": {"rs": {"zero_after_cap": ["e4"]}}}),
        answer(),
        &["s: step 1: terms: rs: zero_after_cap: by hand absent, found e5"],
    );
    check(
        json!({"terms": {"rs": {"crossings": []}}}),
        answer(),
        &[
            "s: step 1: terms: rs: crossings: by hand absent, found {\"at\":\"2026-02-10T12:30:00Z\",\"event\":\"e3\",\"shared\":\"20\",\"unshared\":\"20\"}",
        ],
    );
    check(
        json!({"terms": {"rs": {"periods": {"2026-03": {"base": "1"}}}}}),
        answer(),
        &["s: step 1: terms: rs: periods: 2026-03: by hand {\"base\":\"1\"}, found nothing"],
    );
}

#[test]
fn findings_are_a_whole_list() {
    let finding = |event: &str, state: &str| Finding {
        term: "first".into(),
        event: event.into(),
        occurred_at: at("2026-06-10T00:00:00Z"),
        code: "not_first_available".into(),
        consequence: "hold".into(),
        state: state.into(),
    };
    let both = || Answer::Findings(vec![finding("g1", "open"), finding("g2", "released")]);
    let one = json!({"term": "first", "event": "g2", "occurred_at": "2026-06-10T00:00:00.000Z", "state": "released"});
    check(json!({"findings": [one.clone(), {"event": "g1"}]}), both(), &[]);
    let run = Answers { steps: vec![both()], ..Answers::default() };
    assert_eq!(differences("s", &json!({"steps": [{"findings": [one]}]}), &run).len(), 1);
    assert_eq!(differences("s", &json!({"steps": [{"findings": [{"event": "g3"}, {"event": "g1"}]}]}), &run).len(), 1);
}

#[test]
fn charges_come_with_what_does_not_count() {
    let listed = |id: &str, reason: Option<&str>| Listed {
        id: id.into(),
        recorded_at: at("2026-01-12T00:00:00Z"),
        reason: reason.map(str::to_owned),
    };
    let answer = || {
        Answer::Charges(Charges {
            charges: BTreeMap::from([("e1".to_owned(), amounts(&[("USD", "1.360005")]))]),
            conflicts: vec![listed("e1", None)],
            rejected: vec![listed("c2", Some("correction_of_voided"))],
            waiting: Vec::new(),
        })
    };
    let hand = json!({
        "charges": {"e1": {"USD": "1.3600050"}}, "waiting": [],
        "conflicts": [{"id": "e1", "recorded_at": "2026-01-12T00:00:00Z"}],
        "rejected": ["c2"],
    });
    check(hand, answer(), &[]);
    check(
        json!({"charges=": {"e1": {"USD": "1.36"}}}),
        answer(),
        &["s: step 1: charges: e1: USD: by hand 1.36, found 1.360005"],
    );
    check(json!({"waiting": ["c2"]}), answer(), &["s: step 1: waiting: by hand c2, found []"]);
}

#[test]
fn periods_and_amounts_are_exact() {
    let period = || Answer::Period { start: at("2026-03-31T13:00:00Z"), end: at("2026-04-30T13:30:00Z") };
    check(json!({"start": "2026-03-31T13:00:00Z", "hours": "720.5"}), period(), &[]);
    check(json!({"hours": "720"}), period(), &["s: step 1: hours: by hand 720, found 720.5"]);
    let asked = |mode: &str| Asked::Round {
        amounts: vec!["0.5".into(), "-1.5".into(), "2.4".into()],
        digits: 0,
        mode: mode.into(),
    };
    let round = |mode: &str| rounded(&asked(mode)).expect("an answer");
    check(json!({"op": "round", "rounded": ["1", "-2", "2"]}), round("half_up"), &[]);
    check(json!({"rounded": ["0", "-2", "2"]}), round("half_even"), &[]);
    check(json!({"rounded": ["0", "-1"]}), round("down"), &["s: step 1: rounded: by hand 2 amounts, found 3"]);
    check(json!({"rounded": "2"}), round("half_up"), &["s: step 1: rounded: by hand 2, found 1"]);
    let parts = || Answer::Amounts(vec![("p1".into(), exact("0.02")), ("p2".into(), exact("0.01"))]);
    check(json!({"parts": {"p1": "0.02", "p2": "0.01"}}), parts(), &[]);
    check(
        json!({"parts": ["0.01", "0.02"]}),
        parts(),
        &["s: step 1: parts[0]: by hand 0.01, found 0.02", "s: step 1: parts[1]: by hand 0.02, found 0.01"],
    );
}

#[test]
fn refusals_and_sums_of_everything_are_compared() {
    let refused = |message: &str| Answers { refused: Some(message.into()), ..Answers::default() };
    let hand = |code: &str| json!({"load": {"error": code}});
    assert!(
        differences("s", &hand("refused:rate_out_of_range"), &refused("a.md:1:1: rate 1.01 is above 1")).is_empty()
    );
    let other = differences("s", &hand("refused:rate_out_of_range"), &refused("a.md:1:1: no party \"x\""));
    assert_eq!(other, ["s: load: by hand rate_out_of_range, found: a.md:1:1: no party \"x\""]);
    assert!(differences("s", &hand("refused:some_other"), &refused("a.md: whatever")).is_empty());
    let accepted = differences("s", &hand("refused:tier_gap"), &Answers::default());
    assert_eq!(accepted, ["s: load: by hand refused:tier_gap, found: accepted"]);
    assert_eq!(differences("s", &json!({"steps": []}), &refused("no")), ["s: load: by hand accepted, found: no"]);

    let booked_in_all =
        BTreeMap::from([("main".to_owned(), amounts(&[("rs|lab|ms|USD", "50"), ("t2|lab|ms|USD", "1")]))]);
    let run = Answers { booked_in_all, ..Answers::default() };
    let sums = |key: &str| json!({"steps": [], key: {"main": {"rs|lab|ms|USD": "50.00"}}});
    assert!(differences("s", &sums("booked_in_all"), &run).is_empty());
    let wrong = json!({"booked_in_all": {"main": {"rs|lab|ms|USD": "49"}}});
    assert_eq!(differences("s", &wrong, &run), ["s: booked_in_all: main: rs|lab|ms|USD: by hand 49, found 50"]);
    let missing = json!({"steps": [{"op": "close"}], "sums": {}});
    let found = differences("s", &missing, &run);
    assert_eq!(found, ["s: steps: by hand 1, found 0", "s: sums: a key of hand that is not compared"]);
}

#[test]
fn the_count_stands_at_the_end() {
    let runs = [("a".to_owned(), Vec::new()), ("b".to_owned(), vec!["b: x".to_owned(), "b: y".to_owned()])];
    assert_eq!(report(&runs), "b: x\nb: y\n2 scenarios: 1 as by hand, 1 with 2 differences\n");
}
