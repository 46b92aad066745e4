//! How far a cap is used up, and when it will be at the pace of the last periods.

use crate::support::{History, at, exact, period, shipped_files};
use apportion::domain::burn_down::{Forecast, burn_down};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::money::Exact;
use apportion::domain::statement::Statement;
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// The statements of May to August 2026 in which the cap of 38 bn stands `opening` before, and so much (in USD)
/// accrues in each period: a fifth of what the lab reports of subscriptions.
fn statements(opening: &str, accrued: &[u64]) -> Vec<Statement> {
    let with_opening = |mut file: SourceFile| {
        file.text = file.text.replace("value = \"0 USD\"", &format!("value = \"{opening} USD\""));
        file
    };
    let files: Vec<SourceFile> = shipped_files().into_iter().map(with_opening).collect();
    let mut history = History::under(&files);
    let months =
        [("2026-05", "2026-05-31"), ("2026-06", "2026-06-30"), ("2026-07", "2026-07-31"), ("2026-08", "2026-08-31")];
    let mut drawn = Vec::new();
    for ((month, last), accrued) in months.into_iter().zip(accrued) {
        history.subscriptions(&format!("{month}-01"), last, &(accrued * 5).to_string());
        drawn.extend(history.statements("microsoft-openai", month));
        history.close(month);
    }
    drawn
}

/// The limit is 38 bn, so that all but `room` is used before May.
fn forecast(room: u64, accrued: &[u64], ends_at: Option<&str>) -> Forecast {
    let opening = (38_000_000_000 - room).to_string();
    let ends = ends_at.map(|it| ("revenue-share".into(), at(it)));
    let mut found = burn_down(&statements(&opening, accrued), &ends.into_iter().collect());
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).forecast
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

#[test]
fn use_is_told_by_period() {
    // The other direction has no cap, and is not told.
    let found = burn_down(&statements("37999999000", &[100, 200]), &BTreeMap::new());
    let [it] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (it.contract.as_str(), it.term.as_str(), it.period),
        ("microsoft-openai", "revenue-share", period("2026-06"))
    );
    assert_eq!((it.payer.as_str(), it.payee.as_str(), it.unit.to_string()), ("openai", "microsoft", "USD".to_owned()));
    let figures: [&Exact; 3] = [&it.limit, &it.used, &it.remaining];
    assert_eq!(figures, [&exact("38000000000"), &exact("37999999300"), &exact("700")]);
    let periods: Vec<_> = it.periods.iter().map(|it| (it.period, it.accrued.clone(), it.used.clone())).collect();
    assert_eq!(
        periods,
        [
            (period("2026-05"), exact("100"), exact("37999999100")),
            (period("2026-06"), exact("200"), exact("37999999300")),
        ]
    );
}

#[test]
fn the_day_follows_from_the_pace_of_the_last_three_periods() {
    // 700 are left of 1,000; 300 took the 61 days of May and June: 142 1/3 days at that pace, so the 143rd day after
    // 30 June, which is 20 November.
    let expected = Forecast::UsedUpOn { day: day("2026-11-20"), pace_periods: 2 };
    assert_eq!(forecast(1_000, &[100, 200], None), expected);
    // The 92 days of June to August took 920, 10 a day, whatever May took; 60 are left, for six days whole.
    let expected = Forecast::UsedUpOn { day: day("2026-09-06"), pace_periods: 3 };
    assert_eq!(forecast(1_000, &[20, 300, 310, 310], None), expected);
}

#[test]
fn a_term_may_end_before_and_a_cap_may_have_no_room_or_no_pace() {
    // As above, used up on 20 November: a term that ends as that day begins in the contract's zone ends before.
    let ends = "2026-11-20T08:00:00Z";
    let expected = Forecast::EndsBefore { ends_at: at(ends), pace_periods: 2 };
    assert_eq!(forecast(1_000, &[100, 200], Some(ends)), expected);
    let expected = Forecast::UsedUpOn { day: day("2026-11-20"), pace_periods: 2 };
    assert_eq!(forecast(1_000, &[100, 200], Some("2026-11-21T08:00:00Z")), expected);
    assert_eq!(forecast(250, &[100, 200], None), Forecast::UsedUp);
    assert_eq!(forecast(1_000, &[0, 0], None), Forecast::NoPace);
}
