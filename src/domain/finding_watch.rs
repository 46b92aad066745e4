//! Watching findings: which groups are not as they were seen last, and from when on one has to look.

use super::contract::rights::OnBreach;
use super::findings::{Finding, GroupKey};
use super::money::{Currency, Exact};
use super::period::{Instant, Span, start_of_day};
use super::usage::Meter;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// A group of findings as it was seen; without events where nothing of it was open any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingState {
    pub id: String,
    pub key: GroupKey,
    pub on_breach: OnBreach,
    pub why: Vec<String>,
    pub events: i64,
    pub first_at: Instant,
    pub last_at: Instant,
    pub quantities: BTreeMap<Meter, Exact>,
    pub amounts: BTreeMap<Currency, Exact>,
    pub unpriced: bool,
}

impl From<&Finding> for FindingState {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            key: finding.key.clone(),
            on_breach: finding.on_breach,
            why: finding.why.clone(),
            events: finding.events,
            first_at: finding.first_at,
            last_at: finding.last_at,
            quantities: finding.quantities.clone(),
            amounts: finding.amounts.clone(),
            unpriced: finding.unpriced,
        }
    }
}

impl FindingState {
    /// The group once nobody has to decide on it any more.
    fn gone(&self) -> Self {
        let (quantities, amounts) = (BTreeMap::new(), BTreeMap::new());
        Self { events: 0, quantities, amounts, unpriced: false, ..self.clone() }
    }
}

/// What is not as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingNews {
    /// Groups that were not open.
    pub opened: Vec<FindingState>,
    /// Groups that are still open, and are not the same.
    pub changed: Vec<FindingState>,
    /// Groups of which nothing is open any more: all of it was decided on, or no longer breaks the right.
    pub gone: Vec<FindingState>,
}

impl FindingNews {
    /// Compares the groups that were open with those that are.
    pub fn of(seen: &[FindingState], open: &[Finding]) -> Self {
        let mut before: BTreeMap<&str, &FindingState> = seen.iter().map(|it| (it.id.as_str(), it)).collect();
        let mut news = Self::default();
        for state in open.iter().map(FindingState::from) {
            match before.remove(state.id.as_str()) {
                None => news.opened.push(state),
                Some(same) if *same == state => {}
                Some(_) => news.changed.push(state),
            }
        }
        news.gone = before.into_values().map(FindingState::gone).collect();
        news
    }

    pub fn states(&self) -> impl Iterator<Item = &FindingState> {
        self.opened.iter().chain(&self.changed).chain(&self.gone)
    }

    pub fn is_empty(&self) -> bool {
        self.states().next().is_none()
    }
}

/// The stretch of time in which findings may differ from those that were seen; `None` where there is none.
///
/// While agreements and facts stand, a group differs only where it was open, as it may be decided on, and where usage
/// was recorded since: `news` are the hours of that. Closed periods are no bound: late usage breaks rights in them,
/// too.
pub fn to_look_at(seen: &[FindingState], news: Option<Span>, zone: Tz) -> Option<Span> {
    let days = seen.iter().map(|state| state.key.day);
    let news = news.map(|hours| hours.start.with_timezone(&zone).date_naive());
    // Whole days, as groups are; and a day more, where clocks were put back over midnight.
    let first = days.chain(news).min().map(|day| day.pred_opt().unwrap_or(day))?;
    Some(Span { start: start_of_day(zone, first), end: Span::ever().end })
}

#[cfg(test)]
mod tests {
    use super::super::period::parse_instant;
    use super::*;
    use rust_decimal::Decimal;

    fn at(text: &str) -> Instant {
        parse_instant(text).expect("an instant")
    }

    fn finding(day: &str, events: i64) -> Finding {
        let key = GroupKey {
            contract: "c".into(),
            right: "first".into(),
            product: "p".into(),
            deployment: "d".into(),
            day: day.parse().expect("a day"),
        };
        Finding {
            id: key.id(),
            key,
            on_breach: OnBreach::Hold,
            why: vec!["too early".to_owned(), "elsewhere".to_owned()],
            breaches: Vec::new(),
            events,
            first_at: at("2026-05-10T00:00:00Z"),
            last_at: at("2026-05-10T01:00:00Z"),
            quantities: BTreeMap::new(),
            amounts: BTreeMap::from([("USD".parse().expect("a currency"), Exact::from(Decimal::from(events)))]),
            unpriced: true,
        }
    }

    #[test]
    fn what_is_new_differs_or_is_gone_is_told_and_what_stands_is_not() {
        let seen: Vec<FindingState> = [finding("2026-05-01", 1), finding("2026-05-02", 1), finding("2026-05-03", 1)]
            .iter()
            .map(Into::into)
            .collect();
        let open = [finding("2026-05-01", 1), finding("2026-05-02", 2), finding("2026-05-04", 1)];
        let news = FindingNews::of(&seen, &open);
        let days = |states: &[FindingState]| states.iter().map(|it| it.key.day.to_string()).collect::<Vec<_>>();
        assert_eq!(days(&news.opened), ["2026-05-04"]);
        assert_eq!(days(&news.changed), ["2026-05-02"]);
        assert_eq!(days(&news.gone), ["2026-05-03"]);
        let gone = &news.gone[0];
        assert_eq!(
            (gone.events, gone.amounts.len(), gone.unpriced, gone.why.join("; ")),
            (0, 0, false, "too early; elsewhere".to_owned())
        );
        assert_eq!(news.states().count(), 3);
        assert!(FindingNews::of(&seen, &[]).gone.len() == 3 && FindingNews::of(&[], &[]).is_empty());
    }

    #[test]
    fn one_looks_from_the_first_day_that_may_differ() {
        let zone = chrono_tz::America::Los_Angeles;
        let seen = [FindingState::from(&finding("2026-05-10", 1))];
        let hour = |start| Some(Span { start: at(start), end: at("2026-06-01T00:00:00Z") });
        let from = |seen, news| to_look_at(seen, news, zone).map(|span| span.start);
        assert_eq!(from(&[], None), None);
        assert_eq!(from(&seen, None), Some(at("2026-05-09T07:00:00Z")));
        assert_eq!(from(&seen, hour("2026-05-20T00:00:00Z")), Some(at("2026-05-09T07:00:00Z")));
        // Late usage of April, on the 3rd in the zone.
        assert_eq!(from(&seen, hour("2026-04-04T06:00:00Z")), Some(at("2026-04-02T07:00:00Z")));
    }
}
