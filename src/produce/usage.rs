//! What a generated usage event holds: which deployments sell what, to whom, at which hours, in which
//! amounts. Pure: an event is a function of the seed and its number.

use super::draw::Draw;
use super::message::{CloudEvent, Mode};
use crate::domain::calendar::Period;
use crate::domain::period::{Instant, Span};
use crate::domain::usage::RequestOutcome;
use chrono::{DateTime, Datelike, FixedOffset, SecondsFormat, TimeDelta, Timelike};
use chrono_tz::Tz;
use std::fmt::Write;

/// The zone whose months are generated: that of the reference agreement.
pub const ZONE: Tz = chrono_tz::America::Los_Angeles;

/// 2026-04-27T00:00 in Los Angeles. Before it every deployment stands on Azure; from then on any cloud.
pub const ANY_CLOUD_FROM_MICROS: i64 = 1_777_273_200_000_000;

/// A deployment that reports usage, as the generator knows it.
#[derive(Debug)]
pub struct Reporter {
    pub deployment: &'static str,
    pub source: &'static str,
    pub topic: &'static str,
    pub mode: Mode,
    /// Products with their service tier, by weight. Each is priced for this deployment, meter by meter.
    pub products: &'static [(u64, (&'static str, &'static str))],
    pub names_customers: bool,
    /// Whether it says of each request if it was answered.
    pub reports_outcomes: bool,
    /// Ids look like `req_...` where true, else like a UUID.
    pub request_ids: bool,
}

const OF_DIRECT: &[(u64, (&str, &str))] = &[
    (40, ("gpt-5.5", "default")),
    (6, ("gpt-5.5", "batch")),
    (28, ("gpt-5.4-mini", "default")),
    (6, ("gpt-5.4-mini", "batch")),
    (20, ("gpt-5.3-codex", "default")),
];
const OF_ALL_MODELS: &[(u64, (&str, &str))] =
    &[(50, ("gpt-5.5", "default")), (30, ("gpt-5.4-mini", "default")), (20, ("gpt-5.3-codex", "default"))];
const OF_TWO_MODELS: &[(u64, (&str, &str))] = &[(65, ("gpt-5.5", "default")), (35, ("gpt-5.4-mini", "default"))];
const OF_AGENTS: &[(u64, (&str, &str))] = &[(1, (AGENTS, "default"))];

const AGENTS: &str = "bedrock-managed-agents";

/// Deployments by weight; those on Azure come first.
pub const REPORTERS: &[(u64, Reporter)] = &[
    (
        34,
        Reporter {
            deployment: "openai-direct",
            source: "urn:openai:usage",
            topic: "usage.direct",
            mode: Mode::Structured,
            products: OF_DIRECT,
            names_customers: true,
            reports_outcomes: true,
            request_ids: true,
        },
    ),
    (20, on_azure("azure-openai-eastus", "urn:azure:openai:eastus", OF_DIRECT, false)),
    (12, on_azure("azure-openai-swedencentral", "urn:azure:openai:swedencentral", OF_ALL_MODELS, false)),
    (12, on_azure("microsoft-copilot", "urn:microsoft:copilot", OF_ALL_MODELS, true)),
    (10, elsewhere("bedrock-us-east-1", "urn:aws:bedrock:us-east-1", "usage.aws", Mode::Structured, OF_TWO_MODELS)),
    (4, elsewhere("bedrock-agents-us-east-1", "urn:aws:agents:us-east-1", "usage.aws", Mode::Structured, OF_AGENTS)),
    (5, elsewhere("vertex-us-central1", "urn:google:vertex:us-central1", "usage.google", Mode::Binary, OF_TWO_MODELS)),
    (3, elsewhere("oci-us-ashburn-1", "urn:oracle:oci:us-ashburn-1", "usage.oracle", Mode::Binary, OF_TWO_MODELS)),
];

/// How many of [`REPORTERS`] stand on Azure.
const ON_AZURE: usize = 4;

const fn on_azure(
    deployment: &'static str,
    source: &'static str,
    products: &'static [(u64, (&'static str, &'static str))],
    own_use: bool,
) -> Reporter {
    Reporter {
        deployment,
        source,
        topic: "usage.azure",
        mode: Mode::Structured,
        products,
        names_customers: !own_use,
        reports_outcomes: !own_use,
        request_ids: false,
    }
}

const fn elsewhere(
    deployment: &'static str,
    source: &'static str,
    topic: &'static str,
    mode: Mode,
    products: &'static [(u64, (&'static str, &'static str))],
) -> Reporter {
    let (names_customers, reports_outcomes) = (true, true);
    Reporter { deployment, source, topic, mode, products, names_customers, reports_outcomes, request_ids: false }
}

/// Names that are in no register, with which usage stays unresolved.
pub const UNKNOWN_DEPLOYMENT: &str = "foundry-northeurope";
pub const UNKNOWN_PRODUCT: &str = "gpt-5.6-preview";

/// Evenly spaced quantiles of all input of a request, in tokens: about log-normal, median 820.
const CONTEXT: &[u64] =
    &[8, 70, 130, 190, 260, 340, 440, 560, 710, 820, 1_100, 1_460, 1_960, 2_750, 4_200, 8_800, 61_000];
/// The same of output, reasoning included.
const OUTPUT: &[u64] = &[1, 12, 25, 40, 58, 78, 101, 130, 165, 208, 262, 335, 438, 590, 850, 1_500, 9_000];
/// The context of the few requests that exceed the long-context threshold of 272,000 tokens.
const LONG_CONTEXT: &[u64] = &[272_001, 281_000, 296_000, 318_000, 352_000, 400_000];
/// The same of an agent session's run time, in milliseconds.
const RUNTIME: &[u64] = &[350, 4_100, 11_000, 24_000, 46_000, 90_000, 180_000, 410_000, 3_600_000];

/// Requests by local hour of the day.
const BY_HOUR: [u64; 24] =
    [30, 24, 20, 18, 18, 22, 34, 52, 78, 96, 104, 106, 98, 102, 108, 106, 100, 88, 74, 66, 60, 54, 46, 38];

/// How many requests in ten thousand fail where outcomes are reported.
const FAILED_PER_10_000: u64 = 30;

/// The smallest unit of a quantity: six fractional digits, as many as a record may have.
const UNITS_PER_ONE: u64 = 1_000_000;

/// One usage event as it will be reported.
#[derive(Clone, Debug)]
pub struct Usage {
    pub id: String,
    pub reporter: &'static Reporter,
    pub occurred_at: Instant,
    pub deployment: &'static str,
    pub product: &'static str,
    pub service_tier: &'static str,
    /// The customer's number, from 1; 0 where none is named.
    pub customer: u64,
    /// Whether the request was answered; `None` where the deployment does not say.
    pub outcome: Option<RequestOutcome>,
    /// Quantities by meter, in millionths.
    pub quantities: Vec<(&'static str, u64)>,
}

/// How one and the same content is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// `100.0`
    Point,
    /// `"100"`, and a time with an offset.
    Text,
}

/// When the generated month is, hour by hour, and how much happens in each.
pub struct Calendar {
    pub span: Span,
    /// The hours' starts, with the sum of the weights up to and including the hour.
    hours: Vec<(Instant, u64)>,
    /// From where late usage occurred: the last ten days of the month before.
    late: Span,
}

impl Calendar {
    pub fn new(month: Period) -> Self {
        let span = month.span(ZONE);
        let mut hours = Vec::new();
        let (mut at, mut total) = (span.start, 0_u64);
        while at < span.end {
            let local = at.with_timezone(&ZONE);
            let weekend = local.weekday().number_from_monday() > 5;
            let hour = usize::try_from(local.hour()).unwrap_or(0);
            total = total.saturating_add(BY_HOUR[hour].saturating_mul(if weekend { 6 } else { 10 }));
            hours.push((at, total));
            at += TimeDelta::hours(1);
        }
        let late = Span { start: span.start - TimeDelta::days(10), end: span.start };
        Self { span, hours, late }
    }

    /// An instant of the month, by its rhythm.
    fn instant(&self, draw: &mut Draw) -> Instant {
        let total = self.hours.last().map_or(0, |(_, total)| *total);
        let at = draw.below(total);
        let hour = self.hours.partition_point(|(_, sum)| *sum <= at);
        self.hours[hour].0 + micros(draw.below(3_600_000_000))
    }

    fn late_instant(&self, draw: &mut Draw) -> Instant {
        let length = (self.late.end - self.late.start).num_microseconds().unwrap_or(0);
        self.late.start + micros(draw.below(u64::try_from(length).unwrap_or(0)))
    }

    /// The instant, or the month's last where it lies after it.
    pub fn within(&self, at: Instant) -> Instant {
        at.min(self.span.end - TimeDelta::microseconds(1)).max(self.span.start)
    }
}

/// A duration of some microseconds.
pub fn micros(count: u64) -> TimeDelta {
    TimeDelta::microseconds(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Draws when an event occurred; the first draw of its stream.
pub fn occurred_at(calendar: &Calendar, draw: &mut Draw, late: bool) -> Instant {
    if late { calendar.late_instant(draw) } else { calendar.instant(draw) }
}

/// Draws the rest of an event.
pub fn usage(draw: &mut Draw, occurred_at: Instant) -> Usage {
    let any_cloud = occurred_at.timestamp_micros() >= ANY_CLOUD_FROM_MICROS;
    let reporter = draw.weighted(if any_cloud { REPORTERS } else { &REPORTERS[..ON_AZURE] });
    let &(product, service_tier) = draw.weighted(reporter.products);
    let id = event_id(draw, reporter.request_ids);
    let customer = if reporter.names_customers { customer(draw) } else { 0 };
    let mut quantities = tokens(draw, product);
    if product == AGENTS {
        agent_quantities(draw, &mut quantities);
    }
    quantities.push(("requests", UNITS_PER_ONE));
    let outcome = reporter
        .reports_outcomes
        .then(|| if draw.happens(FAILED_PER_10_000) { RequestOutcome::Error } else { RequestOutcome::Ok });
    if outcome == Some(RequestOutcome::Error) {
        // Nothing was answered, so nothing but the request itself is reported.
        quantities.retain(|(meter, _)| *meter == "requests");
    }
    let deployment = reporter.deployment;
    Usage { id, reporter, occurred_at, deployment, product, service_tier, customer, outcome, quantities }
}

fn event_id(draw: &mut Draw, request_id: bool) -> String {
    let (high, low) = (draw.bits(), draw.bits());
    if request_id {
        return format!("req_{high:016x}{:08x}", low >> 32);
    }
    // Version 4, variant 1, as RFC 9562 writes them.
    let (time_high, node) = ((high & 0xfff) | 0x4000, low & 0xffff_ffff_ffff);
    let variant = ((low >> 48) & 0x3fff) | 0x8000;
    format!("{:08x}-{:04x}-{time_high:04x}-{variant:04x}-{node:012x}", high >> 32, (high >> 16) & 0xffff)
}

/// One of 40 customers; the first uses as much as the next two together, and so on (Zipf).
fn customer(draw: &mut Draw) -> u64 {
    let weight = |rank: u64| 1_000_000_u64.checked_div(rank).unwrap_or(0);
    let mut rest = draw.below((1..=40).map(weight).sum());
    for rank in 1..=40 {
        match rest.checked_sub(weight(rank)) {
            Some(less) => rest = less,
            None => return rank,
        }
    }
    1
}

fn tokens(draw: &mut Draw, product: &str) -> Vec<(&'static str, u64)> {
    let long = product == "gpt-5.5" && draw.happens(70);
    let context = if long { draw.quantile(LONG_CONTEXT) } else { draw.quantile(CONTEXT) };
    // Caches hold the front of the prompt, in blocks of 128 tokens, from 1,024 tokens on.
    let cached = if context >= 1_024 && draw.happens(6_000) { draw.below(context) >> 7 << 7 } else { 0 };
    let output = draw.quantile(OUTPUT);
    let reasoning = if product != "gpt-5.4-mini" && draw.happens(5_500) { draw.below(output) } else { 0 };
    let parts = [
        ("input_tokens", context.saturating_sub(cached)),
        ("cached_input_tokens", cached),
        ("output_tokens", output.saturating_sub(reasoning)),
        ("reasoning_tokens", reasoning),
    ];
    let given = parts.into_iter().filter(|(_, count)| *count > 0);
    given.map(|(meter, count)| (meter, count.saturating_mul(UNITS_PER_ONE))).collect()
}

/// An agent session runs for fractions of a second and keeps state for fractions of a GB-hour.
fn agent_quantities(draw: &mut Draw, quantities: &mut Vec<(&'static str, u64)>) {
    let milliseconds = draw.quantile(RUNTIME);
    quantities.push(("runtime_seconds", milliseconds.saturating_mul(1_000)));
    // 0.000001 to 2 GB-hours.
    quantities.push(("state_gb_hours", draw.below(2_000_000).saturating_add(1)));
    quantities.push(("tool_calls", draw.below(24).saturating_mul(UNITS_PER_ONE)));
}

impl Usage {
    /// What is reported in a conflict or a correction: other output, never below one token.
    pub fn with_more_output(&self, tokens: u64) -> Self {
        let mut other = self.clone();
        let more = tokens.saturating_mul(UNITS_PER_ONE);
        match other.quantities.iter_mut().find(|(meter, _)| *meter == "output_tokens") {
            Some((_, units)) => *units = units.saturating_add(more),
            None => other.quantities.push(("output_tokens", more)),
        }
        other
    }

    pub fn quantities_json(&self, style: Style) -> String {
        let mut text = String::from("{");
        for (meter, units) in &self.quantities {
            let comma = if text.len() > 1 { "," } else { "" };
            // Writing into a String cannot fail.
            let _ = write!(text, "{comma}\"{meter}\":{}", number(*units, style));
        }
        text.push('}');
        text
    }

    pub fn data_json(&self, style: Style) -> String {
        let Self { deployment, product, service_tier, .. } = self;
        let customer = self.customer_json().map_or(String::new(), |name| format!("\"customer\":{name},"));
        let outcome = self.outcome.map_or(String::new(), |it| format!("\"outcome\":\"{}\",", it.name()));
        let quantities = self.quantities_json(style);
        format!(
            "{{\"deployment\":\"{deployment}\",\"product\":\"{product}\",{customer}\
             \"service_tier\":\"{service_tier}\",{outcome}\"quantities\":{quantities}}}"
        )
    }

    /// The customer's key in quotes.
    pub fn customer_json(&self) -> Option<String> {
        (self.customer > 0).then(|| format!("\"cust-{:04}\"", self.customer))
    }

    pub fn cloud_event(&self, style: Style) -> CloudEvent {
        let attributes = vec![
            ("id", self.id.clone()),
            ("source", self.reporter.source.to_owned()),
            ("type", "apportion.usage.v1".to_owned()),
            ("time", time(self.occurred_at, style)),
        ];
        CloudEvent { attributes, data: self.data_json(style) }
    }
}

/// An instant as RFC 3339 with microseconds: in UTC, or with an offset.
pub fn time(at: Instant, style: Style) -> String {
    match (style, FixedOffset::east_opt(3_600)) {
        (Style::Text, Some(offset)) => {
            DateTime::with_timezone(&at, &offset).to_rfc3339_opts(SecondsFormat::Micros, false)
        }
        _ => at.to_rfc3339_opts(SecondsFormat::Micros, true),
    }
}

fn number(units: u64, style: Style) -> String {
    let (whole, rest) = (units / UNITS_PER_ONE, units % UNITS_PER_ONE);
    let fraction = format!("{rest:06}");
    let decimal = match fraction.trim_end_matches('0') {
        "" if style == Style::Point => format!("{whole}.0"),
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    };
    if style == Style::Text { format!("\"{decimal}\"") } else { decimal }
}
