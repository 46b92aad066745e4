//! Double reports: replies that more than one event reports, and which of these state once more what another does.
//!
//! A call that two gateways, or a gateway and a cloud, report comes as two events with ids of their own. The id of
//! its reply tells that they are of one call; equal counts near in time do not, as in any hour of much traffic some
//! calls are alike by chance. The id alone is not enough: events may state parts of a call, one its input, another
//! its output. And a reply from a cache that is charged like any other repeats it rightly, which a person has to say. So
//! events are suspected that repeat both the id and the work, and nothing is left out of what is owed for it.

use super::ids::{CustomerId, DeploymentId, ProductId};
use super::money::{Currency, Exact};
use super::period::{Instant, Timeline};
use super::price::PriceBook;
use super::rating::{UsageRollup, rate};
use super::register::Register;
use super::usage::{Meter, Quantities, UsageContent, UsageEvent, context_over, context_tokens};
use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A reply that more than one event reports, as known at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct DoubleReport {
    /// Made of the reply's own id under the installation's secret: the same for ever, and nobody reads the other from it.
    pub id: String,
    /// Since when it is known that more than one event reports it.
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub known_since: Instant,
    /// Those that stand, in the order in which they were recorded.
    pub events: Vec<ReportedEvent>,
    /// What is charged for the events that are suspected; nothing for what nobody charges.
    #[cfg_attr(feature = "service", schema(value_type = BTreeMap<String, Exact>))]
    pub amounts: BTreeMap<Currency, Exact>,
    /// Some of it has no price, so that the amounts are too low.
    pub unpriced: bool,
    /// The hours in which events of it occurred that are archived: whether they state the same is told once they are back.
    /// None where all of its events are waived.
    #[cfg_attr(feature = "service", schema(value_type = Vec<String>))]
    pub archived_hours: BTreeSet<Instant>,
}

/// An event that reports the reply, as it stands after its corrections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct ReportedEvent {
    pub source: String,
    pub id: String,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub occurred_at: Instant,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub recorded_at: Instant,
    /// None where no register knows the deployment.
    pub cloud: Option<String>,
    pub deployment: String,
    pub product: String,
    /// Empty where none is named.
    pub customer: String,
    #[cfg_attr(feature = "service", schema(value_type = BTreeMap<String, Exact>))]
    pub quantities: BTreeMap<Meter, Exact>,
    /// Whether it states once more what one before it states, and nobody has said that both count.
    pub is_suspected: bool,
}

/// An event that stands, and when it was recorded.
#[derive(Clone, Debug)]
pub struct Seen {
    pub recorded_at: Instant,
    pub event: UsageEvent,
}

/// What events are rated by.
pub struct Rates<'a> {
    register: &'a Register,
    prices: &'a PriceBook,
    thresholds: BTreeMap<ProductId, BTreeSet<u64>>,
}

impl<'a> Rates<'a> {
    pub fn new(register: &'a Register, prices: &'a PriceBook) -> Self {
        Self { register, prices, thresholds: prices.thresholds() }
    }

    /// What is charged for an event by currency, and whether some of it has no price.
    fn charged(&self, event: &UsageContent) -> (BTreeMap<Currency, Exact>, bool) {
        let product = ProductId::new(event.product.clone());
        let over = self.thresholds.get(&product).map_or(0, |of| context_over(&event.quantities, of));
        let of_meter = |(meter, quantity): (&Meter, &Decimal)| UsageRollup {
            segment: 0,
            deployment: DeploymentId::new(event.deployment.clone()),
            product: product.clone(),
            customer: CustomerId::new(event.customer.clone()),
            service_tier: event.service_tier.clone(),
            context_over: over,
            meter: *meter,
            quantity: Exact::from(*quantity),
        };
        let usage: Vec<UsageRollup> = event.quantities.iter().map(of_meter).collect();
        // One instant long: it is rated as of when it occurred.
        let start = event.occurred_at;
        let end = start.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(start);
        let timeline = Timeline::new(start, end, std::iter::empty());
        let (mut amounts, mut unpriced) = (BTreeMap::<Currency, Exact>::new(), false);
        for charge in rate(&usage, &timeline, self.register, self.prices) {
            match charge.rated {
                Some(rated) => *amounts.entry(rated.currency).or_default() += &rated.amount,
                None => unpriced = true,
            }
        }
        (amounts, unpriced)
    }
}

impl DoubleReport {
    /// Of the events of a reply that stand. What was recorded by `waived_through` counts, as somebody has said.
    pub fn of(
        id: String,
        known_since: Instant,
        mut seen: Vec<Seen>,
        waived_through: Option<Instant>,
        rates: &Rates<'_>,
    ) -> Self {
        seen.sort_by(|a, b| {
            let place = |it: &Seen| (it.recorded_at, it.event.content.occurred_at);
            place(a).cmp(&place(b)).then_with(|| a.event.id.cmp(&b.event.id))
        });
        let mut report = Self {
            id,
            known_since,
            events: Vec::new(),
            amounts: BTreeMap::new(),
            unpriced: false,
            archived_hours: BTreeSet::new(),
        };
        for (place, Seen { recorded_at, event }) in seen.iter().enumerate() {
            let states_the_same = |it: &Seen| is_same_work(&it.event.content.quantities, &event.content.quantities);
            let is_suspected = waived_through.is_none_or(|through| *recorded_at > through)
                && seen.iter().take(place).any(states_the_same);
            if is_suspected {
                let (amounts, unpriced) = rates.charged(&event.content);
                for (currency, amount) in amounts {
                    *report.amounts.entry(currency).or_default() += &amount;
                }
                report.unpriced |= unpriced;
            }
            let UsageEvent { id, content } = event;
            let deployment = rates.register.deployments.get(&DeploymentId::new(content.deployment.clone()));
            report.events.push(ReportedEvent {
                source: id.source.clone(),
                id: id.id.clone(),
                occurred_at: content.occurred_at,
                recorded_at: *recorded_at,
                cloud: deployment.map(|it| it.cloud.clone()),
                deployment: content.deployment.clone(),
                product: content.product.clone(),
                customer: content.customer.clone(),
                quantities: content.quantities.iter().map(|(meter, it)| (*meter, Exact::from(*it))).collect(),
                is_suspected,
            });
        }
        report
    }

    /// Whether anybody has to look at it.
    pub fn is_open(&self) -> bool {
        self.suspected().next().is_some() || !self.archived_hours.is_empty()
    }

    /// The events that state once more what others do.
    pub fn suspected(&self) -> impl Iterator<Item = &ReportedEvent> {
        self.events.iter().filter(|event| event.is_suspected)
    }
}

/// Whether two events of one reply state the same work: as much context and as much output, however each source parts
/// these into cached and other tokens, visible ones and reasoning. Events without tokens state the same where all of their
/// quantities are equal.
fn is_same_work(a: &Quantities, b: &Quantities) -> bool {
    let tokens = [a, b].map(|it| (context_tokens(it), output_tokens(it)));
    let [of_a, of_b] = tokens;
    if of_a != of_b {
        return false;
    }
    let stated = |it: &Quantities| -> Quantities {
        it.iter().filter(|(_, quantity)| !quantity.is_zero()).map(|(meter, quantity)| (*meter, *quantity)).collect()
    };
    of_a != (Decimal::ZERO, Decimal::ZERO) || (!stated(a).is_empty() && stated(a) == stated(b))
}

/// All that a model made for a request, in tokens.
fn output_tokens(quantities: &Quantities) -> Decimal {
    let made = quantities.iter().filter(|(meter, _)| meter.is_token() && !meter.is_context());
    made.map(|(_, quantity)| *quantity).sum()
}

#[cfg(test)]
mod tests {
    use super::super::ids::EventId;
    use super::super::period::parse_instant;
    use super::super::usage::UsageAttributes;
    use super::*;

    fn at(text: &str) -> Instant {
        parse_instant(text).expect("an instant")
    }

    fn quantities(text: &str) -> Quantities {
        let part = |part: &str| {
            let (meter, quantity) = part.split_once(' ').expect("a meter and a number");
            (meter.parse().expect("a meter"), quantity.parse().expect("a number"))
        };
        text.split(", ").filter(|part| !part.is_empty()).map(part).collect()
    }

    fn seen(id: &str, hour: u32, stated: &str) -> Seen {
        let content = UsageContent {
            occurred_at: at("2026-05-01T00:00:00Z"),
            ended_at: None,
            deployment: "d".to_owned(),
            product: "p".to_owned(),
            customer: String::new(),
            service_tier: "default".to_owned(),
            outcome: None,
            attributes: UsageAttributes::new(),
            quantities: quantities(stated),
        };
        let id = EventId { source: "s".to_owned(), id: id.to_owned() };
        Seen { recorded_at: at(&format!("2026-05-01T{hour:02}:00:00Z")), event: UsageEvent { id, content } }
    }

    /// The ids of the events that are suspected.
    fn suspected(seen: Vec<Seen>, waived_through: Option<&str>) -> Vec<String> {
        let (register, prices) = (Register::default(), PriceBook::default());
        let since = at("2026-05-02T00:00:00Z");
        let rates = Rates::new(&register, &prices);
        let report = DoubleReport::of("r".to_owned(), since, seen, waived_through.map(at), &rates);
        assert_eq!(report.is_open(), report.suspected().next().is_some());
        report.suspected().map(|event| event.id.clone()).collect()
    }

    #[test]
    fn what_sources_part_otherwise_is_the_same_work() {
        let same = |a, b| is_same_work(&quantities(a), &quantities(b));
        assert!(same("input_tokens 10, output_tokens 5", "output_tokens 5, input_tokens 10.0, requests 1"));
        assert!(same("input_tokens 10, output_tokens 5", "input_tokens 3, cached_input_tokens 7, reasoning_tokens 5"));
        assert!(!same("input_tokens 10, output_tokens 5", "input_tokens 10, output_tokens 6"));
        assert!(!same("input_tokens 10, output_tokens 5", "input_tokens 5, output_tokens 10"));
        // Parts of one call.
        assert!(!same("input_tokens 10", "output_tokens 5"));
        assert!(!same("input_tokens 10, output_tokens 5", "requests 1"));
        assert!(same("requests 1", "requests 1, input_tokens 0") && !same("requests 1", "tool_calls 1"));
        assert!(!same("", "") && !same("input_tokens 0", "requests 0"), "nothing is stated twice");
    }

    #[test]
    fn of_events_that_state_the_same_the_first_recorded_counts() {
        let both = || vec![seen("late", 2, "input_tokens 1"), seen("early", 1, "input_tokens 1")];
        assert_eq!(suspected(both(), None), ["late"]);
        assert!(suspected(both()[..1].to_vec(), None).is_empty(), "alone it is no double");
        let parts = ["input_tokens 1", "output_tokens 1", "input_tokens 1", "output_tokens 1"];
        let parts = parts.iter().zip(["a", "b", "c", "d"]).map(|(stated, id)| seen(id, 1, stated)).collect();
        assert_eq!(suspected(parts, None), ["c", "d"], "each part once more");
    }

    #[test]
    fn what_is_waived_counts_and_what_comes_later_is_suspected() {
        let all = |hours: &[u32]| hours.iter().map(|hour| seen(&hour.to_string(), *hour, "input_tokens 1")).collect();
        assert!(suspected(all(&[1, 2]), Some("2026-05-01T02:00:00Z")).is_empty());
        assert_eq!(suspected(all(&[1, 2]), Some("2026-05-01T01:59:59Z")), ["2"]);
        assert_eq!(suspected(all(&[1, 2, 3]), Some("2026-05-01T02:00:00Z")), ["3"]);
    }
}
