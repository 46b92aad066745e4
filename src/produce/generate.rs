//! A month of per-request usage of every channel, from a seed: the same seed, the same bytes.
//!
//! Besides plain events it makes, in exact numbers that the [`Manifest`] reports, what real sources send:
//! late events, unknown names, repeats written differently, conflicts, corrections and voids after and
//! before their event, and malformed messages. Shares of the events, in 100,000: late 1,000, unknown
//! deployment 250, unknown product 150, repeated 1,000 (every tenth of them twice), conflicting 50,
//! corrected 300 (every tenth correction is repeated), corrected before 30, voided 100, voided before 10,
//! malformed 200; at least one of each. Two corrections are voided.

use super::draw::Draw;
use super::malformed::{self, Fault};
use super::manifest::Manifest;
use super::message::{CloudEvent, Message, Mode};
use super::usage::{self, Calendar, Style, UNKNOWN_DEPLOYMENT, UNKNOWN_PRODUCT, Usage, micros, time};
use crate::domain::calendar::Period;
use crate::domain::outcome::Outcome;
use crate::domain::period::Instant;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A calendar month, local to Los Angeles.
    pub month: Period,
    /// How many distinct usage events; repeats, amendments and malformed messages come on top.
    pub events: u32,
    pub seed: u64,
    /// Whether some events of the month before arrive in this one.
    pub late: bool,
    /// Whether messages without content are among the malformed ones: a file of lines cannot hold any.
    pub empty_messages: bool,
}

/// The plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{period} is no month; write one such as 2026-05")]
    NoMonth { period: Period },
    #[error("{events} events are too few to hold one of each kind; ask for {FEWEST_EVENTS} or more")]
    TooFew { events: u32 },
}

/// The fewest events that hold one of each kind.
pub const FEWEST_EVENTS: u32 = 100;

/// What befalls one event; no event has two fates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Plain,
    Late,
    UnknownDeployment,
    UnknownProduct,
    Repeated,
    RepeatedTwice,
    Conflicting,
    Corrected,
    CorrectedAndRepeated,
    CorrectedBefore,
    CorrectionVoided,
    Voided,
    VoidedBefore,
}

/// What one message is. The order breaks ties between messages of the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Event,
    Correction,
    Void,
    Repeat,
    SecondRepeat,
    RepeatedCorrection,
    VoidOfCorrection,
    Conflict,
    Malformed,
}

/// A message's place in the stream: when it is sent, what it is, and the number of the event concerned.
type Place = (Instant, What, u32);

// Draws for different purposes come from streams of their own; a purpose has 2^32 of them.
const EVENT_STREAMS: u64 = 0;
const FATE_STREAM: u64 = 1 << 32;
const DELAY_STREAMS: u64 = 2 << 32;
const MALFORMED_STREAMS: u64 = 3 << 32;

/// An iterator over the messages in the order of the stream; once it is exhausted, [`Generator::manifest`]
/// tells what it made.
pub struct Generator {
    plan: Plan,
    calendar: Calendar,
    fates: Vec<Fate>,
    stream: std::vec::IntoIter<Place>,
    /// What was sent so far, by event: it decides whether an amendment applies or waits.
    sent: BTreeSet<(u32, What)>,
    manifest: Manifest,
}

impl Generator {
    /// # Errors
    /// The plan names no month, or too few events.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        if !crate::domain::calendar::Calendar::of_months(NonZeroU32::MIN).has(plan.month) {
            return Err(PlanError::NoMonth { period: plan.month });
        }
        if plan.events < FEWEST_EVENTS {
            return Err(PlanError::TooFew { events: plan.events });
        }
        let (calendar, fates) = (Calendar::new(plan.month), fates(&plan));
        let mut places = Vec::with_capacity(fates.len().saturating_add(fates.len() / 16));
        for (number, fate) in (0_u32..).zip(&fates) {
            place_event(&plan, &calendar, number, *fate, &mut places);
        }
        for number in 0..share(plan.events, 200).max(u32::try_from(Fault::ALL.len()).unwrap_or(0)) {
            let at =
                usage::occurred_at(&calendar, &mut Draw::new(drawing_seed(&plan), malformed_stream(number)), false);
            places.push((at, What::Malformed, number));
        }
        places.sort_unstable();
        let manifest = Manifest::new(plan.seed, plan.month);
        Ok(Self { plan, calendar, fates, stream: places.into_iter(), sent: BTreeSet::new(), manifest })
    }

    /// How many messages are still to come.
    pub fn remaining(&self) -> usize {
        self.stream.len()
    }

    /// What was made so far; complete once the iterator is exhausted.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn usage(&self, number: u32) -> Usage {
        let fate = self.fates.get(usize::try_from(number).unwrap_or(usize::MAX)).copied().unwrap_or(Fate::Plain);
        let mut draw = Draw::new(drawing_seed(&self.plan), event_stream(number));
        let at = usage::occurred_at(&self.calendar, &mut draw, fate == Fate::Late);
        let mut usage = usage::usage(&mut draw, at);
        match fate {
            Fate::UnknownDeployment => usage.deployment = UNKNOWN_DEPLOYMENT,
            Fate::UnknownProduct => usage.product = UNKNOWN_PRODUCT,
            _ => {}
        }
        usage
    }

    /// Counts a message by the outcome that it must have, given what was sent before it.
    fn count(&mut self, what: What, number: u32, usage: &Usage) {
        let unresolved = usage.deployment == UNKNOWN_DEPLOYMENT || usage.product == UNKNOWN_PRODUCT;
        let late = usage.occurred_at < self.calendar.span.start;
        let target = if what == What::VoidOfCorrection { What::Correction } else { What::Event };
        let known = self.sent.contains(&(number, target));
        let manifest = &mut self.manifest;
        let outcome = match (what, known) {
            (What::Event, _) => {
                manifest.count_event(usage.deployment, usage.outcome, late);
                if unresolved { Outcome::StoredUnresolved } else { Outcome::Stored }
            }
            (What::Repeat | What::SecondRepeat | What::RepeatedCorrection, _) => Outcome::Duplicate,
            (What::Conflict, _) => Outcome::Conflict,
            (What::Correction, true) => Outcome::CorrectionApplied,
            (What::Correction, false) => Outcome::CorrectionWaiting,
            (What::Void | What::VoidOfCorrection, true) => Outcome::VoidApplied,
            (What::Void | What::VoidOfCorrection, false) => Outcome::VoidWaiting,
            (What::Malformed, _) => {
                manifest.count_rejection(fault(&self.plan, number).reason());
                Outcome::Rejected
            }
        };
        manifest.counts.count(outcome);
        // Only what an amendment can name is ever asked for.
        let has_amendments =
            !matches!(self.fates.get(usize::try_from(number).unwrap_or(usize::MAX)), Some(Fate::Plain));
        if has_amendments && matches!(what, What::Event | What::Correction) {
            self.sent.insert((number, what));
        }
    }

    fn malformed(&mut self, number: u32) -> Message {
        let mut draw = Draw::new(drawing_seed(&self.plan), malformed_stream(number));
        let at = usage::occurred_at(&self.calendar, &mut draw, false);
        let usage = usage::usage(&mut draw, at);
        self.count(What::Malformed, number, &usage);
        // Both modes carry each fault, whatever the source's own mode is.
        let mode = if draw.happens(5_000) { Mode::Binary } else { Mode::Structured };
        let event = malformed::event(fault(&self.plan, number), &usage);
        Message { topic: usage.reporter.topic.into(), key: usage.id, mode, event }
    }

    fn message(&mut self, at: Instant, what: What, number: u32) -> Message {
        let usage = self.usage(number);
        self.count(what, number, &usage);
        let event = match what {
            What::Event | What::Malformed => usage.cloud_event(Style::Plain),
            What::Repeat => usage.cloud_event([Style::Plain, Style::Point, Style::Text][pick(number, 3)]),
            What::SecondRepeat => usage.cloud_event(Style::Text),
            What::Conflict => usage.with_more_output(7).cloud_event(Style::Plain),
            What::Correction => self.correction(&usage, number, at, Style::Plain),
            What::RepeatedCorrection => self.correction(&usage, number, at, Style::Text),
            What::Void => self.void(&usage, &usage.id, at),
            What::VoidOfCorrection => self.void(&usage, &correction_id(&usage), at),
        };
        Message { topic: usage.reporter.topic.into(), key: usage.id, mode: usage.reporter.mode, event: Some(event) }
    }

    /// A correction restates quantities, the customer or the time, in turn.
    fn correction(&self, usage: &Usage, number: u32, at: Instant, style: Style) -> CloudEvent {
        let restated = match (pick(number, 4), usage.customer_json()) {
            (0, Some(_)) => format!("\"customer\":\"cust-{:04}\"", usage.customer % 40 + 1),
            (1, _) => {
                let moved = self.calendar.within(usage.occurred_at + TimeDelta::minutes(90));
                format!("\"occurred_at\":\"{}\"", time(moved, style))
            }
            _ => format!("\"quantities\":{}", usage.with_more_output(64).quantities_json(style)),
        };
        let data = format!("{{\"corrects\":\"{}\",{restated}}}", usage.id);
        amendment(usage, correction_id(usage), "apportion.usage.correction.v1", self.calendar.within(at), data)
    }

    fn void(&self, usage: &Usage, target: &str, at: Instant) -> CloudEvent {
        let data = format!("{{\"voids\":\"{target}\"}}");
        amendment(usage, format!("void-{target}"), "apportion.usage.void.v1", self.calendar.within(at), data)
    }
}

impl Iterator for Generator {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let (at, what, number) = self.stream.next()?;
        Some(if what == What::Malformed { self.malformed(number) } else { self.message(at, what, number) })
    }
}

fn correction_id(usage: &Usage) -> String {
    format!("correction-{}", usage.id)
}

fn amendment(usage: &Usage, id: String, kind: &str, at: Instant, data: String) -> CloudEvent {
    let attributes = vec![
        ("id", id),
        ("source", usage.reporter.source.to_owned()),
        ("type", kind.to_owned()),
        ("time", time(at, Style::Plain)),
    ];
    CloudEvent { attributes, data }
}

fn event_stream(number: u32) -> u64 {
    EVENT_STREAMS | u64::from(number)
}

fn malformed_stream(number: u32) -> u64 {
    MALFORMED_STREAMS | u64::from(number)
}

fn fault(plan: &Plan, number: u32) -> Fault {
    let faults = if plan.empty_messages { &Fault::ALL[..] } else { &Fault::ALL[1..] };
    faults[pick(number, faults.len())]
}

/// The number's remainder, as an index.
fn pick(number: u32, of: usize) -> usize {
    usize::try_from(number).unwrap_or(0) % of
}

/// So many in 100,000 of the events, at least one.
fn share(events: u32, per_100_000: u64) -> u32 {
    let exact = u64::from(events).saturating_mul(per_100_000) / 100_000;
    u32::try_from(exact).unwrap_or(u32::MAX).max(1)
}

/// Deals the fates: exact numbers of each, to events that chance picks.
fn fates(plan: &Plan) -> Vec<Fate> {
    let share = |per_100_000| share(plan.events, per_100_000);
    let tenth = |count: u32| (count.saturating_sub(count / 10), count / 10);
    let (repeated, repeated_twice) = tenth(share(1_000));
    let (corrected, corrected_and_repeated) = tenth(share(300));
    let dealt = [
        (Fate::Late, if plan.late { share(1_000) } else { 0 }),
        (Fate::UnknownDeployment, share(250)),
        (Fate::UnknownProduct, share(150)),
        (Fate::Repeated, repeated),
        (Fate::RepeatedTwice, repeated_twice),
        (Fate::Conflicting, share(50)),
        (Fate::Corrected, corrected),
        (Fate::CorrectedAndRepeated, corrected_and_repeated),
        (Fate::CorrectedBefore, share(30)),
        (Fate::CorrectionVoided, 2),
        (Fate::Voided, share(100)),
        (Fate::VoidedBefore, share(10)),
    ];
    let mut fates = vec![Fate::Plain; usize::try_from(plan.events).unwrap_or(0)];
    let mut next = 0_usize;
    for (fate, count) in dealt {
        let end = next.saturating_add(usize::try_from(count).unwrap_or(0));
        fates[next..end].fill(fate);
        next = end;
    }
    Draw::new(drawing_seed(plan), FATE_STREAM).shuffle(&mut fates);
    fates
}

/// Places an event in the stream, and the messages that its fate brings.
fn place_event(plan: &Plan, calendar: &Calendar, number: u32, fate: Fate, places: &mut Vec<Place>) {
    let mut draw = Draw::new(drawing_seed(plan), event_stream(number));
    let occurred_at = usage::occurred_at(calendar, &mut draw, fate == Fate::Late);
    let mut delay = Draw::new(drawing_seed(plan), DELAY_STREAMS | u64::from(number));
    // Sources deliver within three seconds; late ones in the first three days of the month.
    let sent = match fate {
        Fate::Late => calendar.span.start + micros(delay.below(3 * 86_400_000_000)),
        _ => occurred_at + micros(delay.below(3_000_000)),
    };
    let mut after = |from: Instant| from + micros(delay.below(6 * 3_600_000_000).saturating_add(1));
    places.push((sent, What::Event, number));
    let brought: &[(What, Instant)] = match fate {
        Fate::Plain | Fate::Late | Fate::UnknownDeployment | Fate::UnknownProduct => &[],
        Fate::Repeated => &[(What::Repeat, after(sent))],
        Fate::RepeatedTwice => &[(What::Repeat, after(sent)), (What::SecondRepeat, after(sent))],
        Fate::Conflicting => &[(What::Conflict, after(sent))],
        Fate::Corrected => &[(What::Correction, after(sent))],
        Fate::CorrectedAndRepeated => {
            let corrected = after(sent);
            &[(What::Correction, corrected), (What::RepeatedCorrection, after(corrected))]
        }
        Fate::CorrectedBefore => &[(What::Correction, before(sent, &mut after))],
        Fate::CorrectionVoided => {
            let corrected = after(sent);
            &[(What::Correction, corrected), (What::VoidOfCorrection, after(corrected))]
        }
        Fate::Voided => &[(What::Void, after(sent))],
        Fate::VoidedBefore => &[(What::Void, before(sent, &mut after))],
    };
    places.extend(brought.iter().map(|(what, at)| (*at, *what, number)));
}

/// As long before as `after` would be after.
fn before(sent: Instant, after: &mut impl FnMut(Instant) -> Instant) -> Instant {
    sent - (after(sent) - sent)
}

/// The seed with the month mixed in: one id names one event for ever, so two months of one seed share none.
fn drawing_seed(plan: &Plan) -> u64 {
    let first_day = u64::from(plan.month.first_day.to_epoch_days().unsigned_abs());
    plan.seed.rotate_left(32) ^ first_day
}
