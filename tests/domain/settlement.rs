//! Settlements with figures worked out by hand, in the comments beside them.

use crate::support::{History, at, exact, head, shipped_files};
use apportion::domain::contract::Confidence;
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::engine::addend::FactorOf;
use apportion::domain::engine::{EngineError, MissingPrice};
use apportion::domain::settlement::{PeriodClosed, SettlementError};
use apportion::domain::statement::StatementStatus;

const CONTRACT: &str = "microsoft-openai";

const REGISTER: &str = r#"# Register

```toml
[party.lab]
name = "Lab"
[party.ms]
name = "Cloud"
[cloud.coreweave]
operator = "lab"
[product.model-a]
maker = "lab"
[deployment.own]
cloud = "coreweave"
channel = "direct"
region = "us"
operator = "lab"
seller = "lab"
```
"#;

const PRICES: &str =
    "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source
p,model-a,requests,default,,,,,1,1,USD,,,list
";

/// A share of sales at the rate that an index tells.
const INDEXED: &str = concat!(
    head!("main"),
    r#"[figure.Index]
unit = "%"
kind = "level"
missing = "stop"

[base.Sales]
select = { charges = { seller = "lab" } }

[term.share]
payer = "lab"
payee = "ms"
rate = "Index"
of = "Sales"
```
"#
);

/// May 2026 with every channel of the table of channels, and late usage of April on both sides of the amendment.
fn small_month() -> History {
    let mut history = History::new();
    // Direct: 200,000 x 5/M + 40,000 x 0.5/M + 10,000 x 30/M + 2,000 x 30/M = 1 + 0.02 + 0.30 + 0.06 = 1.38
    let direct = history.event(
        "2026-05-03T10:00:00-07:00",
        "openai-direct",
        "gpt-5.5",
        &[
            ("input_tokens", "200000"),
            ("cached_input_tokens", "40000"),
            ("output_tokens", "10000"),
            ("reasoning_tokens", "2000"),
        ],
    );
    // 272,001 tokens of input are above the threshold: 272,001 x 10/M + 1,000 x 45/M = 2.72001 + 0.045 = 2.76501
    let long = [("input_tokens", "272001"), ("output_tokens", "1000")];
    history.event("2026-05-03T10:00:01-07:00", "openai-direct", "gpt-5.5", &long);
    // Azure: Microsoft sells and keeps it since the amendment, so it brings the lab nothing.
    let input = [("input_tokens", "100000")];
    history.event("2026-05-04T10:00:00-07:00", "azure-openai-eastus", "gpt-5.5", &input);
    // Microsoft's own use: a licence, no charge.
    history.event("2026-05-04T10:00:00-07:00", "microsoft-copilot", "gpt-5.5", &input);
    // Bedrock: 100,000 x 5.5/M + 10,000 x 33/M = 0.55 + 0.33 = 0.88
    let bedrock = [("input_tokens", "100000"), ("output_tokens", "10000")];
    history.event("2026-05-05T10:00:00-07:00", "bedrock-us-east-1", "gpt-5.5", &bedrock);
    // Managed Agents: 5,400 s x 0.0895/3600 + 2.5 GBh x 0.00945 + 3 x 0.01 = 0.13425 + 0.023625 + 0.03 = 0.187875
    let agents = [("runtime_seconds", "5400"), ("state_gb_hours", "2.5"), ("tool_calls", "3")];
    history.event("2026-05-06T10:00:00-07:00", "bedrock-agents-us-east-1", "bedrock-managed-agents", &agents);
    // Vertex: 100,000 x 0.75/M = 0.075
    history.event("2026-05-07T10:00:00-07:00", "vertex-us-central1", "gpt-5.4-mini", &input);
    // OCI: 100,000 x 1.75/M + 10,000 x 14/M = 0.175 + 0.14 = 0.315
    history.event("2026-05-08T10:00:00-07:00", "oci-us-ashburn-1", "gpt-5.3-codex", &bedrock);
    history.subscriptions("2026-04-01", "2026-04-30", "0");
    history.subscriptions("2026-05-01", "2026-05-31", "1_000.00");
    // A refund counts where its sale did, whenever it comes.
    history.deduct("refund", "2026-06-10T00:00:00Z", direct, "0.38");
    // Late, on the last second before the amendment and at its first instant: 100,000 x 5/M = 0.50 each.
    for channel in ["openai-direct", "azure-openai-eastus"] {
        history.event("2026-04-26T23:59:59-07:00", channel, "gpt-5.5", &input);
        history.event("2026-04-27T00:00:00-07:00", channel, "gpt-5.5", &input);
    }
    history
}

#[test]
fn a_small_month_with_every_channel() {
    let mut history = small_month();
    // April, revenue share: 20% of 0.50 uncapped and 20% of 0.50 under the cap. Azure resale: 20% of the 0.50
    // before the amendment, nothing of the 0.50 after it.
    // May: 1.38 + 2.76501 + 0.075 + 0.315 + 1,000 - 0.38 + what AWS owes (0.8 x 1.067875 = 0.8543)
    //      = 1,005.00931; 20% of it is 201.001862. With April's 0.20 the running total is 201.201862, so 201.20
    //      less the 0.20 of April is booked.
    assert_eq!(
        history.settle(CONTRACT, "2026-05"),
        ["azure-resale-share 2026-04 0.1", "revenue-share 2026-04 0.2", "revenue-share 2026-05 201"]
    );
    // AWS keeps 20%: 80% of 1.067875 is 0.8543.
    let mut resale = small_month();
    assert_eq!(resale.settle("aws-openai", "2026-05"), ["lab-share 2026-05 0.85"]);
}

#[test]
fn a_statement_tells_which_intervals_stand_whole_at_their_start() {
    let mut history = History::new();
    history.subscriptions("2026-05-01", "2026-06-30", "0");
    let (place, input) = (("vertex-us-central1", "gpt-5.4-mini"), [("input_tokens", "100000")]);
    let june = "2026-06-01T00:00:00-07:00";
    history.interval(("2026-05-31T23:00:00-07:00", june), place, &input);
    let across = history.interval(("2026-05-31T23:30:00-07:00", "2026-06-01T00:30:00-07:00"), place, &input);
    let may = history.statements(CONTRACT, "2026-05").remove(0);
    let told: Vec<String> =
        may.whole_intervals.iter().map(|it| format!("{} {} {}", it.contract, it.event.id, it.span.end)).collect();
    // One that ends at the boundary lies across nothing.
    assert_eq!(told, [format!("{CONTRACT} {across} 2026-06-01 07:30:00 UTC")]);
    // All of it is May's.
    history.close("2026-05");
    assert!(history.statements(CONTRACT, "2026-06").remove(0).whole_intervals.is_empty());
}

#[test]
fn the_statement_shows_how_each_amount_came_about() {
    let mut history = small_month();
    let statements = history.statements(CONTRACT, "2026-05");
    let [statement] = statements.as_slice() else { panic!("one pair of parties") };
    let line = |term: &str, origin: &str| {
        let found =
            statement.lines.iter().find(|it| it.term.as_str() == term && it.origin_period.to_string() == origin);
        found.unwrap_or_else(|| panic!("no line {term} {origin}"))
    };
    let may = line("revenue-share", "2026-05");
    let [detail] = may.details.as_slice() else { panic!("one version") };
    let [addend] = detail.addends.as_slice() else { panic!("one share") };
    assert_eq!((detail.version, addend.of.as_str(), addend.unit.as_deref()), (3, "Revenue", Some("USD")));
    assert_eq!((&addend.measured, &addend.amount), (&exact("1005.00931"), &exact("201.001862")));
    let [rate] = addend.factors.as_slice() else { panic!("one rate") };
    assert_eq!((rate.what, &rate.value, &detail.uncapped), (FactorOf::Rate, &exact("0.2"), &exact("201.001862")));
    let cap = detail.cap.as_ref().expect("a cap");
    // Only the 0.50 after the amendment counts against the cap: 20% of it stood before May.
    assert_eq!((&cap.limit, &cap.before), (&exact("38000000000"), &exact("0.1")));
    assert_eq!(cap.after, exact("201.101862"));
    let part = |what: &str, channel: &str| -> String {
        let parts = may.parts.iter().filter(|part| part.what == what && part.channel == channel);
        parts.map(|part| part.amount.clone()).sum::<apportion::domain::money::Exact>().to_string()
    };
    assert_eq!(part("charges", "direct"), "4.14501");
    assert_eq!(part("charges", "azure-openai"), "0");
    assert_eq!(part("charges", "own-use"), "0");
    assert_eq!(part("charges", "vertex"), "0.075");
    assert_eq!(part("charges", "oci-genai"), "0.315");
    assert_eq!(part("accrual aws-openai/lab-share", ""), "0.8543");
    assert_eq!(part("figure Subscriptions", ""), "1000");
    assert_eq!(part("deduction refund", "direct"), "-0.38");
    let april = line("revenue-share", "2026-04");
    let versions: Vec<(u32, bool)> = april.details.iter().map(|it| (it.version, it.cap.is_some())).collect();
    assert_eq!(versions, [(2, false), (3, true)]);
    let totals: Vec<String> = statement.totals.iter().map(|it| format!("{} {}", it.payer, it.payable)).collect();
    assert_eq!(totals, ["microsoft 0.1", "openai 201.2"]);
    let known: Vec<&str> = statement.assumptions.iter().map(|it| it.what.as_str()).collect();
    assert!(known.contains(&"share-rate") && known.contains(&"total-cap"), "{known:?}");
}

#[test]
fn a_statement_says_of_an_agreement_with_others_no_more_than_that_it_rests_on_it() {
    let aws = small_month().statements("aws-openai", "2026-05").remove(0);
    let own = aws.assumptions.iter().find(|it| it.confidence == Confidence::Assumed).expect("an assumption");
    let statement = small_month().statements(CONTRACT, "2026-05").remove(0);
    let drawn: Vec<_> = statement.assumptions.iter().filter(|it| it.what.contains("aws-openai")).collect();
    let [drawn] = drawn.as_slice() else { panic!("{:#?}", statement.assumptions) };
    assert_eq!((drawn.what.as_str(), drawn.confidence), ("accrual aws-openai/lab-share", Confidence::Assumed));
    assert_eq!(drawn.source, "an agreement that does not concern both parties");
    assert!(!statement.assumptions.contains(own), "{own:?}");
}

#[test]
fn a_rerun_books_nothing_and_late_news_is_an_adjustment() {
    let mut history = small_month();
    history.settle(CONTRACT, "2026-05");
    assert!(history.settle(CONTRACT, "2026-05").is_empty());
    history.close("2026-05");
    history.subscriptions("2026-06-01", "2026-06-30", "0");
    // 1,000,000 of output at 30/M, late, in May: 20% of 30.
    history.event("2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
    match history.try_settle(CONTRACT, "2026-05") {
        Err(SettlementError::PeriodClosed(PeriodClosed { lines: 1, .. })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(history.settle(CONTRACT, "2026-06"), ["revenue-share 2026-05 6"]);
}

#[test]
fn periods_are_settled_in_order_once_the_books_have_begun() {
    let mut history = small_month();
    history.settle(CONTRACT, "2026-05");
    match history.try_settle(CONTRACT, "2026-04") {
        Err(SettlementError::BeforeBooks { first, .. }) => assert_eq!(first.to_string(), "2026-05"),
        other => panic!("{other:?}"),
    }
    for wrong in ["2026-06", "2027-01"] {
        assert!(matches!(history.try_settle(CONTRACT, wrong), Err(SettlementError::OutOfOrder { .. })), "{wrong}");
    }
    assert!(matches!(history.try_settle(CONTRACT, "2026-Q2"), Err(SettlementError::NoSuchPeriod { .. })));
    assert_eq!(
        history.try_settle(CONTRACT, "2022-12").expect_err("before the contract").to_string(),
        "contract microsoft-openai has no version in force in 2022-12; the first is from 2023-01-23 \
         (America/Los_Angeles) on"
    );
}

#[test]
fn a_missing_figure_or_price_stops_the_settlement() {
    let mut history = History::new();
    match history.try_settle(CONTRACT, "2026-05") {
        Err(SettlementError::Engine(EngineError::MissingFigure { figure, .. })) => {
            assert_eq!(figure.as_str(), "Subscriptions")
        }
        other => panic!("{other:?}"),
    }
    let waits =
        |history: &mut History| history.try_settle(CONTRACT, "2026-05").expect_err("a figure is missing").to_string();
    assert!(waits(&mut history).contains("is missing for 2026-05-01 to 2026-05-31, and"), "{}", waits(&mut history));
    // The days alone that no report covers are told.
    history.subscriptions("2026-05-02", "2026-05-19", "0.5");
    history.subscriptions("2026-05-22", "2026-05-31", "0.5");
    assert!(
        waits(&mut history).contains("is missing for 2026-05-01, 2026-05-20 to 2026-05-21, and"),
        "{}",
        waits(&mut history)
    );
    history.subscriptions("2026-05-01", "2026-05-01", "0");
    history.subscriptions("2026-05-20", "2026-05-21", "0");
    // All that is missing is told at once, each where it is missing first.
    for at in ["2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"] {
        let quantities = [("audio_input_tokens", "1"), ("image_input_tokens", "1"), ("input_tokens", "1")];
        history.event(at, "openai-direct", "gpt-5.5", &quantities);
    }
    match history.try_settle(CONTRACT, "2026-05") {
        Err(SettlementError::Engine(EngineError::MissingPrices { missing })) => {
            let meters: Vec<&str> = missing.iter().map(|it| it.of.meter.as_str()).collect();
            assert_eq!(meters, ["audio_input_tokens", "image_input_tokens"]);
            // The event of the second day needs them as well, and comes later.
            let is_first = |it: &MissingPrice| it.at == at("2026-05-02T00:00:00Z") && it.event.is_some();
            assert!(missing.iter().all(is_first), "{missing:?}");
            let told = |missing| EngineError::MissingPrices { missing }.to_string();
            assert!(told(missing[..1].to_vec()).starts_with("1 price is missing: audio_input_tokens of gpt-5.5"));
            assert!(told(missing).starts_with("2 prices are missing: audio_input_tokens of gpt-5.5"));
        }
        other => panic!("{other:?}"),
    }
    assert!(history.books.booked.is_empty());
}

/// February is the first period that is settled. Of January's sale nothing is due, though no index told its rate; of
/// February's 100 it is 10 %.
#[test]
fn a_level_is_asked_for_from_where_the_books_begin() {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let mut history =
        History::under(&[file("register.md", REGISTER), file("main.md", INDEXED), file("prices.csv", PRICES)]);
    history.event("2026-01-10T00:00:00Z", "own", "model-a", &[("requests", "1000")]);
    history.event("2026-02-10T00:00:00Z", "own", "model-a", &[("requests", "100")]);
    match history.try_settle("main", "2026-02") {
        Err(SettlementError::Engine(EngineError::MissingFigure { figure, days, .. })) => {
            let days: Vec<_> = days.iter().map(|it| (it.first_day.to_string(), it.last_day().to_string())).collect();
            let day = "2026-02-10".to_owned();
            assert_eq!((figure.as_str(), days), ("Index", vec![(day.clone(), day)]));
        }
        other => panic!("{other:?}"),
    }
    history.record(
        r#"{"kind":"figure","source":"s","id":"i","contract":"main","name":"Index","by":"lab","at":"2026-02-01T00:00:00Z","value":"10%"}"#,
    );
    assert_eq!(history.settle("main", "2026-02"), ["share 2026-02 10"]);
}

/// The shipped agreements with the cap lowered to 100 USD.
fn under_a_cap_of_100() -> History {
    let mut files = shipped_files();
    for SourceFile { text, .. } in &mut files {
        *text = text.replace("38_000_000_000 USD", "100 USD");
    }
    let mut history = History::under(&files);
    for (from, through) in [("2026-05-01", "2026-05-31"), ("2026-06-01", "2026-06-30"), ("2026-07-01", "2026-07-31")] {
        history.subscriptions(from, through, "0");
    }
    history
}

#[test]
fn a_cap_is_a_function_of_the_running_sum() {
    let mut history = under_a_cap_of_100();
    // 10 M of output cost 300: 20% is 60. A second time the cap leaves 40 of 60, a third time nothing.
    let output = [("output_tokens", "10000000")];
    let first = history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    assert_eq!(history.settle(CONTRACT, "2026-05"), ["revenue-share 2026-05 60"]);
    history.close("2026-05");
    history.event("2026-06-10T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    history.event("2026-06-11T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    assert_eq!(history.settle(CONTRACT, "2026-06"), ["revenue-share 2026-06 40"]);
    history.close("2026-06");
    // A refund of 200 of the first sale takes 40 off May; June's overflow (80) fills the room that it leaves.
    history.deduct("refund", "2026-07-01T00:00:00Z", first, "200");
    assert_eq!(history.settle(CONTRACT, "2026-07"), ["revenue-share 2026-05 -40", "revenue-share 2026-06 40"]);
}

#[test]
fn the_share_ends_with_2030_in_the_contracts_zone() {
    let mut history = under_a_cap_of_100();
    for month in ["2030-12", "2031-01"] {
        history.subscriptions(&format!("{month}-01"), &format!("{month}-31"), "0");
    }
    let output = [("output_tokens", "1000000")];
    history.event("2031-01-01T07:59:59.999999Z", "openai-direct", "gpt-5.5", &output);
    history.event("2031-01-01T08:00:00Z", "openai-direct", "gpt-5.5", &output);
    assert_eq!(history.settle(CONTRACT, "2030-12"), ["revenue-share 2030-12 6"]);
    history.close("2030-12");
    assert!(history.settle(CONTRACT, "2031-01").is_empty());
}

#[test]
fn a_milestone_ends_the_share_until_a_version_drops_it() {
    let mut history = History::new();
    history.subscriptions("2026-05-01", "2026-05-31", "0");
    history.fact("agi-verified", "2026-03-01T00:00:00Z");
    let output = [("output_tokens", "1000000")];
    for when in ["2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-27T07:00:00Z"] {
        history.event(when, "openai-direct", "gpt-5.5", &output);
    }
    assert_eq!(history.settle(CONTRACT, "2026-05"), ["revenue-share 2026-02 6", "revenue-share 2026-04 6"]);
}

#[test]
fn a_credit_is_carried_into_later_periods() {
    let mut history = History::new();
    for (from, through) in [("2026-05-01", "2026-05-31"), ("2026-06-01", "2026-06-30"), ("2026-07-01", "2026-07-31")] {
        history.subscriptions(from, through, "0");
    }
    let output = [("output_tokens", "1000000")];
    let sale = history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &output);
    history.settle(CONTRACT, "2026-05");
    history.close("2026-05");
    history.deduct("refund", "2026-06-01T00:00:00Z", sale, "30");
    let total = |history: &mut History, period: &str| {
        let statements = history.statements(CONTRACT, period);
        let total = statements[0].totals.iter().find(|it| it.payer.as_str() == "openai").expect("a total").clone();
        [total.amount, total.carried_in, total.payable, total.carried_out].map(|it| it.to_string())
    };
    assert_eq!(total(&mut history, "2026-06"), ["-6", "0", "0", "-6"]);
    history.close("2026-06");
    history.event("2026-07-10T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "3000000")]);
    assert_eq!(total(&mut history, "2026-07"), ["18", "-6", "12", "0"]);
}

#[test]
fn rounding_never_drifts() {
    let mut history = History::new();
    for month in 5..=7 {
        let days = if month == 6 { 30 } else { 31 };
        history.subscriptions(&format!("2026-0{month}-01"), &format!("2026-0{month}-{days}"), "0.02");
    }
    // 20% of 0.02 is 0.004 a month: 0.00, then 0.008 -> 0.01, then 0.012 -> 0.01.
    assert!(history.settle(CONTRACT, "2026-05").is_empty());
    history.close("2026-05");
    assert_eq!(history.settle(CONTRACT, "2026-06"), ["revenue-share 2026-06 0.01"]);
    history.close("2026-06");
    assert!(history.settle(CONTRACT, "2026-07").is_empty());
}

#[test]
fn a_period_without_anything_due_has_a_statement() {
    let mut history = History::new();
    history.subscriptions("2026-05-01", "2026-05-31", "0");
    let statements = history.statements(CONTRACT, "2026-05");
    assert_eq!(statements.len(), 1);
    assert!(statements[0].lines.iter().all(|line| line.amount.is_zero()));
    assert_eq!(statements[0].span.end, at("2026-06-01T07:00:00Z"));
}

#[test]
fn each_status_of_a_statement_has_its_next_steps() {
    let next = |status: StatementStatus| status.next_steps().collect::<Vec<_>>();
    assert_eq!(next(StatementStatus::Draft), ["approve"]);
    assert_eq!(next(StatementStatus::Approved), ["issue"]);
    assert_eq!(next(StatementStatus::Issued), ["agree", "dispute"]);
    assert_eq!(next(StatementStatus::Disputed), ["agree"]);
    assert_eq!(next(StatementStatus::Agreed), ["dispute", "pay"]);
    assert_eq!(next(StatementStatus::Settled), [""; 0]);
}
