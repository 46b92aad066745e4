//! The translation of what the format can say, as documents and lines: each construct once, with what comes out.

use crate::translate::translate;
use serde_json::{Value, json};

fn base() -> Value {
    json!({"charges": [{"seller": ["lab"]}]})
}

/// A scenario with one contract of such terms.
fn scenario(terms: Value, records: Value) -> Value {
    json!({
        "parties": [{"id": "lab", "role": "lab"}, {"id": "ms", "role": "cloud"}, {"id": "p1"}, {"id": "p2"}],
        "products": [{"id": "a"}, {"id": "b"}],
        "deployments": [{"id": "own", "cloud": "c", "channel": "direct", "operator": "lab", "seller": "lab"}],
        "prices": [], "fx_rates": [], "units": [{"id": "CREDIT", "digits": 2}],
        "contracts": [{
            "id": "main", "zone": "Asia/Tokyo", "currency": "USD", "rounding": "down", "straddling": "refuse",
            "period": {"unit": "month"},
            "versions": [{"number": 1, "effective_at": "2026-01-31", "recorded_at": "2025-12-01T00:00:00Z", "terms": terms}],
        }],
        "records": records, "steps": [], "hand": {},
    })
}

fn files(scenario: &Value) -> Result<String, String> {
    let files = translate(scenario)?.files;
    Ok(files.iter().map(|file| format!("=== {}\n{}", file.path, file.text)).collect())
}

/// A term with such parts beside who, and a base; a part that is null takes that away.
fn term(parts: Value) -> Value {
    let mut term = json!({"id": "t", "payer": "lab", "payee": "ms", "base": base()});
    for (key, value) in parts.as_object().expect("an object") {
        term[key] = value.clone();
    }
    term.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    term
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|it| it == *line), "no line\n{line}\nin\n{text}");
    }
}

#[track_caller]
fn check(parts: Value, lines: &[&str]) {
    has(&files(&scenario(json!([term(parts)]), json!([]))).expect("files"), lines);
}

#[track_caller]
fn refused(parts: Value, expect: &str) {
    let fault = files(&scenario(json!([term(parts)]), json!([]))).expect_err("a fault");
    assert!(fault.contains(expect), "{fault}");
}

#[test]
fn a_contract_says_its_calendar_and_its_currency() {
    let mut all = scenario(json!([term(json!({"rate": "0.2"}))]), json!([]));
    let head = |all: &Value| files(all).expect("files");
    has(
        &head(&all),
        &["rounding = \"down\"", "straddling = \"refuse\"", "zone = \"Asia/Tokyo\"", "pro_rata = \"full\""],
    );
    let mut period = |unit: Value| {
        all["contracts"][0]["period"] = unit;
        head(&all)
    };
    let week = period(json!({"unit": "week", "first_day": "sun"}));
    has(
        &week,
        &["period = \"week-from-sun\"", "[period.week-from-sun]", "every = \"1 week\"", "first_day = \"sunday\""],
    );
    let dates = period(json!({"unit": "dates", "dates": ["2026-01-01", "2026-02-15", "2026-04-01"]}));
    has(&dates, &["period = \"dates-from-2026-01-01\"", "starts = [2026-01-01, 2026-02-15, 2026-04-01]"]);
    let year = period(json!({"unit": "contract_year", "anchor": "2026-05-31"}));
    has(&year, &["period = \"contract_year-from-2026-05-31\"", "every = \"12 months\"", "from = 2026-05-31"]);
}

#[test]
fn rates_are_numbers_rows_bands_or_set_by_notice() {
    check(json!({"rate": "1/3"}), &["rate = \"1/3\"", "of = \"t base\""]);
    check(json!({"rate": "1.5", "above_one": true}), &["rate = \"150%\"", "above_one = true"]);
    check(
        json!({"rate": {"table": [{"when": {"tier": "batch", "from": "2026-06-01"}, "rate": "0.1"}, {"when": {"introduced_by": ["p1"]}, "rate": null}]}}),
        &[
            "rate = [{ from = 2026-06-01, where = { service_tier = \"batch\" }, is = \"10%\" }, { where = { introduced = \"p1\" }, is = \"none\" }, { otherwise = \"stop\" }]",
        ],
    );
    check(
        json!({"rate": {"table": [{"when": {"status": "managed"}, "rate": "0.1"}], "otherwise": "0.07"}}),
        &[
            "rate = [{ where = { managed = true }, is = \"10%\" }, { otherwise = \"7%\" }]",
            "[fact.managed]",
            "kind = \"status\"",
        ],
    );
    check(
        json!({"rate": {"band": {"figure": "index", "when": "previous_period", "missing": "last"}, "steps": [{"below": "2", "rate": "0.05"}, {"up_to": null, "rate": "0.08"}]}}),
        &[
            "rate = [{ below = \"2\", is = \"5%\" }, { otherwise = \"8%\" }]",
            "tiers = { apply = \"level\", of = \"index\", read = \"previous_window\", each = \"period\" }",
            "missing = \"last\"",
        ],
    );
    check(
        json!({"rate": {"notice": "ad rate", "min": "0", "max": "0.02", "otherwise": "0.01"}}),
        &[
            "rate = \"ad rate\"",
            "[parameter.\"ad rate\"]",
            "value = \"1%\"",
            "set_by = \"lab\"",
            "between = [\"0%\", \"2%\"]",
        ],
    );
    refused(json!({"rate": "0.1", "tiers": {}}), "write one of the two");
}

#[test]
fn tiers_count_the_base_another_base_or_the_own_accrual() {
    let tiers = |counter: Value| json!({"tiers": {"mode": "whole", "reset": "contract_year", "counts_from": "2026-01-31", "counter": counter, "steps": [{"up_to": "10", "rate": "0.1"}, {"rate": "0.2"}]}});
    check(
        tiers(Value::Null),
        &[
            "rate = [{ up_to = \"10 USD\", is = \"10%\" }, { otherwise = \"20%\" }]",
            "tiers = { apply = \"whole\", each = \"contract_year-from-2026-01-31\", from = 2026-01-31 }",
        ],
    );
    check(
        tiers(json!("accrual")),
        &["tiers = { apply = \"whole\", each = \"contract_year-from-2026-01-31\", from = 2026-01-31, of = \"t\" }"],
    );
    check(
        tiers(json!({"quantities": [{"meters": ["output_tokens"]}]})),
        &[
            "rate = [{ up_to = \"10\", is = \"10%\" }, { otherwise = \"20%\" }]",
            "[base.\"t counter\"]",
            "select = [{ units = { meter = \"output_tokens\" } }]",
        ],
    );
    let units = json!({"quantities": [{"meters": ["requests"]}]});
    check(
        json!({"base": units, "tiers": {"mode": "marginal", "reset": "never", "counts_from": "2026-01-31", "steps": [{"up_to": "10", "rate": "2"}, {"rate": "1"}]}}),
        &["price = [{ up_to = \"10\", is = \"2 USD\" }, { otherwise = \"1 USD\" }]"],
    );
    check(
        json!({"base": units, "rate": "5", "block": {"size": "1000", "part": "full", "of": "item"}}),
        &["price = \"5 USD\"", "per_units = \"1000\"", "part_block = \"whole\""],
    );
    check(
        json!({"base": units, "rate": "5", "block": {"size": "10", "part": "full", "of": "counter", "counts_from": "2026-01-31"}}),
        &["part_block = \"started\"", "block_from = 2026-01-31"],
    );
}

#[test]
fn thresholds_and_baselines_leave_out_what_lies_below() {
    check(
        json!({"rate": "0.1", "group_by": ["product", "tier"], "threshold": {"amount": "5", "reset": "month", "counts_from": "2026-01-31"}}),
        &[
            "per = [\"product\", \"service_tier\"]",
            "above = { is = \"5 USD\", each = \"month\", from = 2026-01-31, per = [\"product\", \"service_tier\"] }",
        ],
    );
    check(
        json!({"rate": "0.5", "baseline": {"figure": "before"}}),
        &[
            "select = { base = \"t base\" }",
            "less = [{ figure = \"before\", at = \"own_date\" }]",
            "below_zero = \"zero\"",
            "of = \"t base over baseline\"",
        ],
    );
    check(
        json!({"rate": "0.5", "baseline": {"amount": "7", "per": "quarter", "partial": "days"}}),
        &[
            "fixed = \"7 USD\"",
            "each = \"quarter\"",
            "less = [{ amount = \"t base over baseline amount\", at = \"own_date\" }]",
            "pro_rata = \"days\"",
        ],
    );
}

#[test]
fn bases_say_what_counts_and_what_does_not() {
    let mut input = term(json!({"rate": "0.1", "input_only": true}));
    input["id"] = json!("pct");
    let base = json!({
        "charges": [{"product": ["a", "b"]}, {"introduced_by": ["p1"], "within": {"months": 12}, "touch": "last"}],
        "exclude": [{"customer": "x"}, {"channel": ["d", "e"]}],
        "basis": "received", "figures": [{"name": "fees", "sign": "+", "where": {"product": ["a"]}}],
        "accruals": [{"contract": "other", "term": "up", "as": "received"}, {"contract": "main", "term": "pct"}],
        "deduct": ["refund", "tax"], "at": "item", "deduct_terms": [{"contract": "other", "term": "down"}], "below_zero": "carried",
    });
    let all = scenario(json!([input, term(json!({"rate": "0.1", "base": base}))]), json!([]));
    let not = "not = [{ customer = \"x\" }, { channel = [\"d\", \"e\"] }]";
    let select = format!(
        "select = [{{ charges = {{ product = [\"a\", \"b\"] }}, {not} }}, {{ charges = {{ introduced-12-months-last = \"p1\" }}, {not} }}, {{ figure = \"fees\", where = {{ product = \"a\" }} }}, {{ accrual = \"other/up\", as = \"received\" }}, {{ amount = \"pct\" }}]"
    );
    has(
        &files(&all).expect("files"),
        &[
            &select,
            "less = [{ deductions = [\"refund\", \"tax\"], at = \"item\" }, { accrual = \"other/down\", as = \"owed\", at = \"item\" }]",
            "basis = \"received\"",
            "below_zero = \"carried\"",
            "pick = \"last\"",
            "[amount.pct]",
        ],
    );
    refused(json!({"rate": "0.1", "base": {"charges": [{"colour": ["red"]}]}}), "charges[0]: unknown key \"colour\"");
    refused(json!({"rate": "0.1", "base": {"charges": [], "basics": "x"}}), "base: unknown key \"basics\"");
}

#[test]
fn minima_commitments_and_caps_have_windows() {
    check(
        json!({"rate": "0.1", "minimum": {"amount": "100", "per": "calendar_year", "partial": "prorata_months", "carry_forward": "shortfall", "limit": "20%", "windows": "2", "outside_cap": true}}),
        &[
            "minimum = { each = \"year\", is = \"100 USD\", carry = \"shortfall\", carry_limit = \"20%\", carry_for = 2, outside_cap = true, pro_rata = \"months\" }",
        ],
    );
    check(
        json!({"commitment": {"amounts": ["10", "20"], "per": "contract_year", "anchor": "2026-03-01", "mode": "cumulative"}}),
        &[
            "minimum = { each = \"contract_year-from-2026-03-01\", is = [{ period = 1, is = \"10 USD\" }, { otherwise = \"20 USD\" }], of = \"t base\", cumulative = true }",
        ],
    );
    check(
        json!({"rate": "0.1", "cap": {"amount": "100", "counts_from": "2026-01-31", "reset": "quarter", "opening": "7", "excess": "deferred", "partial": "none"}}),
        &[
            "cap = { is = \"100 USD\", each = \"quarter\", from = 2026-01-31, opening = \"7 USD\", excess = \"deferred\", pro_rata = \"none\" }",
        ],
    );
}

#[test]
fn sums_and_comparisons() {
    check(
        json!({"base": null, "fixed": [{"per": "month", "amount": "5", "partial": "prorata_days"}]}),
        &["fixed = \"5 USD\"", "each = \"month\"", "pro_rata = \"days\""],
    );
    check(
        json!({"base": null, "fixed": [{"fact": "launch", "amount": "5", "max": "2"}]}),
        &["fixed = \"5 USD\"", "on = \"launch\"", "at_most = 2", "[fact.launch]"],
    );
    check(
        json!({"base": null, "advance": {"paid": [{"on": "2026-03-01", "amount": "7"}, {"on": "2026-02-01", "amount": "5"}], "recoup_from": ["rs"], "rest": "repaid"}}),
        &[
            "fixed = [{ through = 2026-02-01, is = \"5 USD\" }, { otherwise = \"7 USD\" }]",
            "on = [2026-02-01, 2026-03-01]",
        ],
    );
    check(
        json!({"base": null, "fixed": [{"per": "month", "amount": "5"}, {"fact": "launch", "amount": "7"}]}),
        &[
            "[term.\"t sum 1\"]",
            "input = true",
            "fixed = \"7 USD\"",
            "select = [{ accrual = \"main/t sum 1\", as = \"owed\" }, { accrual = \"main/t sum 2\", as = \"owed\" }]",
            "of = \"t sums\"",
        ],
    );
    check(
        json!({"base": null, "lesser_of": {"per": "term", "partial": "full", "of": [{"term": "x"}, {"figure": "fee", "missing": "zero"}, {"amount": "3"}]}}),
        &[
            "each = \"term\"",
            "lesser_of = [{ of = \"x\" }, { of = \"fee\" }, { fixed = \"3 USD\" }]",
            "pro_rata = \"full\"",
        ],
    );
    check(
        json!({"credit": {"figure": "availability", "per": "month", "steps": [{"below": "0.99", "rate": "0.25"}, {"rate": "0"}]}, "currency": "CREDIT"}),
        &[
            "rate = [{ below = \"0.99\", is = \"25%\" }, { otherwise = \"0%\" }]",
            "missing = \"nothing\"",
            "in = \"CREDIT\"",
            "[unit.CREDIT]",
            "digits = 2",
        ],
    );
    let mut paid = term(json!({"rate": "0.1"}));
    paid["id"] = json!("rs");
    let set_off =
        term(json!({"rate": "0.05", "payer": "ms", "payee": "lab", "set_off": {"against": ["rs"], "limit": "9"}}));
    has(
        &files(&scenario(json!([set_off, paid]), json!([]))).expect("files"),
        &["credits = [{ of = \"t\", rest = \"carried\", limit = \"9 USD\" }]", "rate = \"5%\""],
    );
    refused(json!({"base": null, "set_off": {"against": ["rs"]}}), "no way to yield");
    refused(json!({"rate": "0.1", "set_off": {"against": ["rs"], "until": "x"}}), "set_off: unknown key \"until\"");
}

#[test]
fn terms_begin_end_and_go_on() {
    check(
        json!({"rate": "0.1", "starts_at": "launch", "ends_at": "agi", "tail": {"items": "introduced", "for": {"years": 1}}}),
        &[
            "from = \"launch\"",
            "until = \"agi\"",
            "tail = { lasts = \"1 year\", of = \"all\", where = { introduced = \"ms\" } }",
        ],
    );
    check(json!({"rate": "0.1", "starts_at": "launch", "from": "2026-02-01"}), &["from = [2026-02-01, \"launch\"]"]);
    refused(json!({"rate": "0.1", "wages": "1"}), "unknown key \"wages\"");
    let mut expected = scenario(json!([term(json!({"rate": "0.1", "wages": ["1", true]}))]), json!([]));
    expected["hand"] = json!({"load": {"error": "refused:unknown_field"}});
    has(&files(&expected).expect("files"), &["wages = [\"1\", true]"]);
}

#[test]
fn payees_groups_and_their_order() {
    check(
        json!({"rate": "0.1", "payee": null, "payees": [{"party": "p1", "weight": "2"}, {"party": "p2", "weight": "0.5"}]}),
        &["payee = [{ party = \"p1\", part = \"0.8\" }, { party = \"p2\", part = \"0.2\" }]"],
    );
    let split = |of: Value| json!({"rate": "0.1", "payee": null, "payees": [{"party": "p1", "of": of}], "split": {"meters": ["requests"], "no_usage": "nothing"}});
    check(
        split(json!({"product": ["a", "b"]})),
        &[
            "payee = { by = \"t usage\", if_none = \"nothing\", parts = [{ party = \"p1\", where = { product = [\"a\", \"b\"] } }] }",
        ],
    );
    check(
        split(json!({"product": ["a"], "channel": ["b"]})),
        &[
            "payee = { by = \"t usage\", if_none = \"nothing\", parts = [{ party = \"p1\", where = { channel = \"b\", product = \"a\" } }] }",
        ],
    );
    let once = |id: &str, order: &str| {
        let mut one = term(json!({"rate": "0.1", "once": {"group": "g", "order": order}}));
        one["id"] = json!(id);
        one
    };
    let text = files(&scenario(json!([once("x", "2"), once("y", "1")]), json!([]))).expect("files");
    assert!(text.find("[term.y]") < text.find("[term.x]"), "{text}");
}

#[test]
fn conversion_is_by_source_stated_or_a_units_worth() {
    let mut all = scenario(json!([term(json!({"rate": "0.1"}))]), json!([]));
    all["contracts"][0]["fx"] = json!({"source": "ECB", "date_rule": "period_end", "fallback_days": 3});
    has(&files(&all).expect("files"), &["source = \"ECB\"", "date = \"period_end\"", "within = \"3 days\""]);
    all["contracts"][0]["fx"] = json!({"date_rule": "fixed", "rates": {"EUR/USD": "1.1"}});
    has(
        &files(&all).expect("files"),
        &["source = \"stated\"", "date = \"item\"", "rates = [{ from = \"EUR\", to = \"USD\", rate = \"1.1\" }]"],
    );
    check(
        json!({"rate": "0.1", "currency": "CREDIT", "fx": {"date_rule": "fixed", "rates": {"USD/CREDIT": "3"}}}),
        &["worth = \"1/3 USD\""],
    );
}

#[test]
fn rights_name_their_products() {
    let rights = json!([
        {"id": "l", "right": "licence", "licensor": "lab", "licensee": "ms", "products": "all", "exclusive": true, "ends_at": "agi"},
        {"id": "e", "right": "exclusivity", "products": ["a"], "only_channel": "direct", "consequence": "hold"},
        {"id": "f", "right": "first_availability", "cloud": "azure", "products": ["a", "b"], "lead_time": {"days": 1}},
    ]);
    has(
        &files(&scenario(rights, json!([]))).expect("files"),
        &[
            "products = \"all-products\"",
            "exclusive = true",
            "until = \"agi\"",
            "only = { channel = \"direct\" }",
            "on_breach = \"hold\"",
            "lead = \"1 day\"",
            "release = \"release\"",
            "waivers = [\"waiver\"]",
            "[cloud.azure]",
            "products = [\"a\", \"b\"]",
        ],
    );
}

#[test]
fn records_reach_every_contract_that_declares_them() {
    let figured = |id: &str| {
        let mut one = term(json!({"rate": "0.1", "base": {"charges": [], "figures": [{"name": "cost", "sign": "-"}]}}));
        one["id"] = json!(id);
        one
    };
    let records = json!([
        {"kind": "figure", "id": "f", "name": "cost", "value": "6", "currency": "EUR", "from": "2026-02-01", "through": "2026-02-28", "attrs": {"country": "DE"}, "recorded_at": "2026-03-01T00:00:00Z"},
        {"kind": "correction", "id": "c", "corrects": "f", "value": "7", "recorded_at": "2026-03-02T00:00:00Z"},
        {"kind": "void", "id": "v", "voids": "c", "recorded_at": "2026-03-03T00:00:00Z"},
        {"kind": "milestone", "id": "m", "name": "never named", "at": "2026-03-03T00:00:00Z", "recorded_at": "2026-03-03T00:00:00Z"},
    ]);
    let mut all = scenario(json!([figured("t")]), records);
    let mut other = all["contracts"][0].clone();
    other["id"] = json!("other");
    all["contracts"].as_array_mut().expect("contracts").push(other);
    has(
        &files(&all).expect("files"),
        &[
            r#"{"kind":"figure","source":"main","id":"f","contract":"main","name":"cost","by":"lab","country":"DE","from":"2026-02-01","recorded_at":"2026-03-01T00:00:00Z","through":"2026-02-28","value":"6 EUR"}"#,
            r#"{"kind":"figure","source":"main","id":"f#2","contract":"other","name":"cost","by":"lab","country":"DE","from":"2026-02-01","recorded_at":"2026-03-01T00:00:00Z","through":"2026-02-28","value":"6 EUR"}"#,
            r#"{"kind":"correction","source":"main","id":"c#2","corrects":"f#2","recorded_at":"2026-03-02T00:00:00Z","value":"7 EUR"}"#,
            r#"{"kind":"void","source":"main","id":"v#2","voids":"c#2","recorded_at":"2026-03-03T00:00:00Z"}"#,
            "about = [\"country\"]",
            "unit = \"EUR\"",
        ],
    );
    assert!(!files(&all).expect("files").contains("never named"));
}

#[test]
fn records_have_the_products_names() {
    let terms = json!([term(
        json!({"rate": {"table": [{"when": {"status": "managed"}, "rate": "0.1"}], "otherwise": "0"}, "group_by": ["segment"], "ends_at": "agi"})
    )]);
    let records = json!([
        {"kind": "usage", "id": "u", "source": "s", "occurred_at": "2026-02-01T00:00:00Z", "ended_at": "2026-02-01T01:00:00Z", "deployment": "own", "product": "a", "customer": "c", "tier": "batch", "quantities": {"sessions": "2"}, "attrs": {"segment": "x"}, "recorded_at": "2026-02-01T00:00:00Z"},
        {"kind": "receipt", "id": "p", "event": "u", "at": "2026-02-03", "amount": "4", "currency": "USD", "recorded_at": "2026-02-03T00:00:00Z"},
        {"kind": "status", "id": "st", "name": "managed", "from": "2026-02-01", "to": "2026-03-01", "recorded_at": "2026-02-03T00:00:00Z"},
        {"kind": "decision", "id": "d", "contract": "main", "term": "first", "event": "u", "decision": "reject", "reason": "r", "recorded_at": "2026-02-03T00:00:00Z"},
        {"kind": "correction", "id": "x", "corrects": "u", "tier": "flex", "attrs": {"segment": "y"}, "recorded_at": "2026-02-03T00:00:00Z"},
        {"kind": "void", "id": "y", "voids": "x", "recorded_at": "2026-02-04T00:00:00Z"},
        {"kind": "deduction", "id": "w", "category": "tax", "deployment": "own", "product": "a", "at": "2026-02-03T00:00:00Z", "amount": "1", "currency": "USD", "recorded_at": "2026-02-03T00:00:00Z"},
    ]);
    let all = scenario(terms, records);
    has(
        &files(&all).expect("files"),
        &[
            r#"{"kind":"usage","source":"s","id":"u","occurred_at":"2026-02-01T00:00:00Z","country":"x","customer":"c","deployment":"own","ended_at":"2026-02-01T01:00:00Z","product":"a","quantities":{"state_gb_hours":"2"},"recorded_at":"2026-02-01T00:00:00Z","service_tier":"batch"}"#,
            r#"{"kind":"receipt","source":"main","id":"p","at":"2026-02-02T15:00:00+00:00","amount":"4 USD","for":[{"id":"u","source":"s"}],"recorded_at":"2026-02-03T00:00:00Z"}"#,
            r#"{"kind":"fact","source":"main","id":"st","contract":"main","name":"managed","by":"lab","at":"2026-01-31T15:00:00+00:00","evidence":"scenario","recorded_at":"2026-02-03T00:00:00Z","until":"2026-02-28T15:00:00+00:00"}"#,
            r#"{"kind":"decision","source":"main","id":"d","contract":"main","decision":"reject","event":{"id":"u","source":"s"},"reason":"r","recorded_at":"2026-02-03T00:00:00Z","right":"first"}"#,
            r#"{"kind":"correction","source":"s","id":"x","corrects":"u","country":"y","recorded_at":"2026-02-03T00:00:00Z","service_tier":"flex"}"#,
            r#"{"kind":"deduction","source":"main","id":"w","at":"2026-02-03T00:00:00Z","amount":"1 USD","category":"tax","deployment":"own","product":"a","recorded_at":"2026-02-03T00:00:00Z"}"#,
            r#"{"kind":"void","source":"s","id":"y","voids":"x","recorded_at":"2026-02-04T00:00:00Z"}"#,
            "per = [\"country\"]",
        ],
    );
    let text = files(&all).expect("files");
    assert!(text.contains("where = { managed = true }"), "{text}");
    let wrong = |record: Value, expect: &str| {
        let fault = files(&scenario(json!([]), json!([record]))).expect_err("a fault");
        assert!(fault.contains(expect), "{fault}");
    };
    wrong(
        json!({"kind": "usage", "id": "u", "quantities": {}, "currency": "USD"}),
        "records[0]: unknown key \"currency\"",
    );
    wrong(json!({"kind": "letter", "id": "u"}), "kind \"letter\"");
}
