//! A record as its decoder reads it: fields by their path, and the sums that a format promises.

use super::node::Node;
use super::number::{self, WrongQuantity};
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::period::{Instant, instant_since_1970, parse_instant};
use crate::domain::usage::{Meter, Quantities};
use chrono::{LocalResult, NaiveDateTime, TimeZone};
use rust_decimal::Decimal;
use std::borrow::Cow;

/// The allow-listed part of one record, or of a part of it.
#[derive(Clone)]
pub(super) struct Record<'n> {
    node: &'n Node,
    /// Where it stands in the whole, empty or with a dot at its end.
    place: String,
}

/// Units of a fraction of a second in which an epoch time is counted.
#[derive(Clone, Copy)]
pub(super) enum Epoch {
    Seconds,
    Milliseconds,
    Nanoseconds,
}

impl<'n> Record<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self { node, place: String::new() }
    }

    /// The value at a path. A name may itself hold dots.
    fn node(&self, path: &str) -> &'n Node {
        let (mut node, mut path) = (self.node, path);
        loop {
            let named = node.get(path);
            match path.split_once('.') {
                Some((first, rest)) if *named == Node::Null => (node, path) = (node.get(first), rest),
                _ => return named,
            }
        }
    }

    /// A part of it, under its path.
    pub(super) fn part(&self, path: &str) -> Self {
        Self { node: self.node(path), place: format!("{}{path}.", self.place) }
    }

    /// Whether it is there.
    pub(super) fn has(&self, path: &str) -> bool {
        *self.node(path) != Node::Null
    }

    /// Itself, if it is there.
    pub(super) fn is_there(&self) -> bool {
        *self.node != Node::Null
    }

    pub(super) fn fault(&self, reason: Reason, path: &str, what: impl std::fmt::Display) -> Fault {
        fault(reason, format!("{}{path}: {what}", self.place))
    }

    fn wrong(&self, path: &str, expected: &str) -> Fault {
        self.fault(Reason::WrongField, path, expected)
    }

    pub(super) fn missing(&self, path: &str) -> Fault {
        self.fault(Reason::MissingField, path, "missing")
    }

    /// A text that is given and not empty.
    pub(super) fn text(&self, path: &str) -> Result<Option<&'n str>, Fault> {
        match self.node(path) {
            Node::Null => Ok(None),
            Node::Text(text) => Ok(Some(&**text).filter(|text| !text.is_empty())),
            Node::Unread(expected) => Err(self.wrong(path, expected)),
            _ => Err(self.wrong(path, "must be a text")),
        }
    }

    pub(super) fn need_text(&self, path: &str) -> Result<&'n str, Fault> {
        self.text(path)?.ok_or_else(|| self.missing(path))
    }

    pub(super) fn flag(&self, path: &str) -> Result<Option<bool>, Fault> {
        match self.node(path) {
            Node::Null => Ok(None),
            Node::Flag(flag) => Ok(Some(*flag)),
            _ => Err(self.wrong(path, "must be true or false")),
        }
    }

    fn number(&self, path: &str) -> Result<Option<&'n str>, Fault> {
        match self.node(path) {
            Node::Null => Ok(None),
            Node::Number(text) => Ok(Some(text)),
            Node::Unread(expected) => Err(self.wrong(path, expected)),
            _ => Err(self.wrong(path, "must be a number")),
        }
    }

    pub(super) fn quantity(&self, path: &str, meter: Meter) -> Result<Option<Decimal>, Fault> {
        let Some(text) = self.number(path)? else { return Ok(None) };
        let quantity = number::quantity(meter, text).map_err(|problem| match problem {
            WrongQuantity::Negative => self.fault(Reason::NegativeQuantity, path, "is negative"),
            WrongQuantity::Wrong(expected) => self.fault(Reason::WrongQuantity, path, expected),
        })?;
        Ok(Some(quantity))
    }

    /// A whole number of tokens, requests or calls.
    pub(super) fn count(&self, path: &str) -> Result<Option<u64>, Fault> {
        let Some(quantity) = self.quantity(path, Meter::Requests)? else { return Ok(None) };
        let whole = quantity.is_integer().then(|| u64::try_from(quantity).ok()).flatten();
        whole.map(Some).ok_or_else(|| self.fault(Reason::WrongQuantity, path, "must be a whole number"))
    }

    /// A count that is zero where it is not given.
    pub(super) fn count_or_zero(&self, path: &str) -> Result<u64, Fault> {
        Ok(self.count(path)?.unwrap_or(0))
    }

    pub(super) fn need_count(&self, path: &str) -> Result<u64, Fault> {
        self.count(path)?.ok_or_else(|| self.missing(path))
    }

    /// A count that a source states under several names: where more than one is given they must agree.
    pub(super) fn count_of_any(&self, paths: &[&str]) -> Result<Option<u64>, Fault> {
        let mut first: Option<(&str, u64)> = None;
        for path in paths {
            let Some(count) = self.count(path)? else { continue };
            match first {
                Some((other, stated)) if stated != count => {
                    let detail = format!("is {count}, while {other} says {stated}; they state one number");
                    return Err(self.fault(Reason::BrokenIdentity, path, detail));
                }
                _ => first = first.or(Some((path, count))),
            }
        }
        Ok(first.map(|(_, count)| count))
    }

    /// The only item of a list.
    pub(super) fn only(&self, path: &str) -> Result<Record<'n>, Fault> {
        let mut items = self.items(path)?;
        match (items.pop(), items.is_empty()) {
            (Some(item), true) => Ok(item),
            _ => Err(self.wrong(path, "must be one")),
        }
    }

    pub(super) fn items(&self, path: &str) -> Result<Vec<Record<'n>>, Fault> {
        match self.node(path) {
            Node::Null => Ok(Vec::new()),
            Node::List(items) => {
                let place = |index| format!("{}{path}[{index}].", self.place);
                Ok(items.iter().enumerate().map(|(index, node)| Record { node, place: place(index) }).collect())
            }
            Node::Unread(expected) => Err(self.wrong(path, expected)),
            _ => Err(self.wrong(path, "must be a list")),
        }
    }

    /// What the first of some tags that is there says.
    pub(super) fn first_text<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Result<Option<&'n str>, Fault> {
        for path in paths {
            if let Some(text) = self.text(path)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// An instant as a text; one without a zone is read in the zone that its source is configured with.
    pub(super) fn instant(&self, path: &str, context: &Context<'_>) -> Result<Option<Instant>, Fault> {
        let Node::Time(text) = self.node(path) else {
            return if self.has(path) { Err(self.wrong(path, "must be a time")) } else { Ok(None) };
        };
        if let Ok(at) = parse_instant(text) {
            return Ok(Some(at));
        }
        let wrong = |what: &str| self.fault(Reason::WrongTime, path, what);
        let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        let Some(local) = naive.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) else {
            return Err(wrong("must be RFC 3339 with a zone"));
        };
        let Some(zone) = context.zone else {
            return Err(wrong("names no zone; write RFC 3339 with one, or configure the zone of the source"));
        };
        match zone.from_local_datetime(&local) {
            // Its offset makes it RFC 3339, so that fine digits and leap seconds are treated alike.
            LocalResult::Single(at) => parse_instant(&at.to_rfc3339()).map(Some).map_err(|_| wrong("is out of range")),
            LocalResult::Ambiguous(..) => Err(wrong("comes twice in the zone of its source; write it with a zone")),
            LocalResult::None => Err(wrong("does not exist in the zone of its source; write it with a zone")),
        }
    }

    /// A time that is counted from 1970; finer digits than microseconds are truncated.
    pub(super) fn epoch(&self, path: &str, epoch: Epoch) -> Result<Option<Instant>, Fault> {
        let text = match self.node(path) {
            Node::Null => return Ok(None),
            Node::Time(text) | Node::Number(text) => text,
            _ => return Err(self.wrong(path, "must be a number")),
        };
        let micros = match epoch {
            Epoch::Seconds => number::exact_decimal(text).and_then(|it| it.checked_mul(Decimal::from(1_000_000))),
            Epoch::Milliseconds => number::exact_decimal(text).and_then(|it| it.checked_mul(Decimal::from(1_000))),
            Epoch::Nanoseconds => number::exact_decimal(text).and_then(|it| it.checked_div(Decimal::from(1_000))),
        };
        let micros = micros.and_then(|micros| i64::try_from(micros.floor()).ok());
        micros
            .and_then(instant_since_1970)
            .map(Some)
            .ok_or_else(|| self.fault(Reason::WrongTime, path, "must be a time since 1970"))
    }

    /// The rest of `whole` when its `parts` are taken off: they must lie within it.
    pub(super) fn rest(&self, whole: (&str, u64), parts: &[(&str, u64)]) -> Result<u64, Fault> {
        let (path, count) = whole;
        let sum = sum(parts);
        count.checked_sub(sum).ok_or_else(|| {
            let detail = format!("is {count}, but includes {}, which make {sum}", told(parts));
            self.fault(Reason::BrokenIdentity, path, detail)
        })
    }

    /// Checks that a total is the sum of its parts.
    pub(super) fn check_sum(&self, path: &str, total: u64, parts: &[(&str, u64)]) -> Result<(), Fault> {
        let sum = sum(parts);
        if total == sum {
            return Ok(());
        }
        let detail = format!("is {total}, but {} make {sum}", told(parts));
        Err(self.fault(Reason::BrokenIdentity, path, detail))
    }

    /// Checks a total that need not be given.
    pub(super) fn check_total(&self, path: &str, parts: &[(&str, u64)]) -> Result<(), Fault> {
        self.count(path)?.map_or(Ok(()), |total| self.check_sum(path, total, parts))
    }
}

fn sum(parts: &[(&str, u64)]) -> u64 {
    parts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn told(parts: &[(&str, u64)]) -> String {
    let parts: Vec<_> = parts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    parts.join(" + ")
}

/// Counts by meter, of which none that is zero is named.
#[derive(Default)]
pub(super) struct Tally(Quantities);

impl Tally {
    /// What one request used.
    pub(super) fn of_request(counts: &[(Meter, u64)]) -> Self {
        let mut tally = Self::default();
        tally.add(Meter::Requests, 1);
        for (meter, count) in counts {
            tally.add(*meter, *count);
        }
        tally
    }

    pub(super) fn add(&mut self, meter: Meter, count: u64) {
        self.add_quantity(meter, Decimal::from(count));
    }

    pub(super) fn add_quantity(&mut self, meter: Meter, quantity: Decimal) {
        if !quantity.is_zero() {
            let sum = self.0.entry(meter).or_default();
            // Counts have at most 16 digits: their sums are exact.
            *sum = sum.saturating_add(quantity);
        }
    }

    pub(super) fn into_quantities(self) -> Quantities {
        self.0
    }
}

/// A text without its case, for words that sources write as they like.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}
