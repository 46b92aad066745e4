//! Records every line of a run within the periods that are explained, and what bases are made of since their windows began.

use crate::domain::calendar::Window;
use crate::domain::contract::measure::Measure;
use crate::domain::contract::selector::Attribute;
use crate::domain::engine::addend::Addend;
use crate::domain::engine::item::{AttributesId, Charge, Content, Item};
use crate::domain::engine::outcome::{CapUse, Cause, Gathered, Line, Lines, Part};
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::{ContractId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span};
use std::collections::BTreeMap;

/// What was told of some periods of time.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    spans: Vec<(Window, Span)>,
    /// Parts are told from here on: what a period says of a window is made of what was gathered before.
    since: Option<Instant>,
    /// Since when something was gathered for windows of which the periods say something.
    gathered_since: Option<Instant>,
    lines: BTreeMap<(Window, ContractId, TermId), Vec<Accrual>>,
    parts: BTreeMap<(ContractId, StreamName), Vec<Told>>,
    gathered: BTreeMap<(ContractId, StreamName), Vec<ForWindow>>,
}

/// What passed and was gathered for a window.
#[derive(Clone, Debug)]
pub(super) struct ForWindow {
    pub pass: u64,
    /// Of those that are explained.
    pub period: Option<Window>,
    pub addend: Addend,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Accrual {
    /// As of the engine's lines.
    pub pass: Option<u64>,
    /// Whether it is what was recouped or set off.
    pub is_paid_back: bool,
    pub version: u32,
    pub amount: Exact,
    /// What it is made of before the cap.
    pub addends: Vec<Addend>,
    /// How far its cap was used up, and which counter of it.
    pub cap: Option<(AttributesId, CapUse)>,
}

/// A part of what a stream yields.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub pass: u64,
    /// Of those that are explained; none before them.
    pub period: Option<Window>,
    pub at: Instant,
    /// What it was drawn of, where that is another stream.
    pub of: Option<Measure>,
    /// What it is, in words.
    pub what: String,
    /// Where it was sold, and what.
    pub place: String,
    pub amount: Exact,
    /// What it is made of, where it is of a node.
    pub addends: Vec<Addend>,
    pub source: Origin,
}

/// What a part comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Usage {
        id: String,
        meter: String,
        quantity: Exact,
        /// What it costs, where it has a price.
        charge: Option<(Exact, Unit)>,
    },
    Record {
        id: String,
    },
    /// What other streams yield by themselves.
    Streams,
}

impl Recorder {
    /// Records these periods, of this and every other contract that runs.
    pub fn new(spans: Vec<(Window, Span)>) -> Self {
        let since = spans.iter().map(|(_, span)| span.start).min();
        Self { spans, since, ..Self::default() }
    }

    /// One that starts where the windows began of which the periods say something; none where this one does.
    pub fn for_windows(&self) -> Option<Self> {
        let since = self.gathered_since.filter(|since| self.since.is_some_and(|start| *since < start));
        since.map(|since| Self { since: Some(since), ..Self::new(self.spans.clone()) })
    }

    pub(super) fn lines(&self, period: Window, contract: &ContractId, term: &TermId) -> &[Accrual] {
        self.lines.get(&(period, contract.clone(), term.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn parts(&self, contract: &ContractId, stream: &StreamName) -> &[Told] {
        self.parts.get(&(contract.clone(), stream.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn gathered(&self, contract: &ContractId, stream: &StreamName) -> &[ForWindow] {
        self.gathered.get(&(contract.clone(), stream.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    fn period(&self, at: Instant) -> Option<Window> {
        self.spans.iter().find(|(_, span)| span.contains(at)).map(|(period, _)| *period)
    }
}

impl Lines for Recorder {
    fn line(&mut self, line: Line<'_>) {
        let Some(period) = self.period(line.at).filter(|_| line.cause != Cause::Shortfall) else { return };
        let added: Exact = line.addends.iter().map(Addend::amount).sum();
        debug_assert!(line.cause == Cause::PaidBack || added == *line.uncapped, "{added} of {line:?}");
        let accrual = Accrual {
            pass: line.pass,
            is_paid_back: line.cause == Cause::PaidBack,
            version: line.version,
            amount: line.amount.clone(),
            addends: line.addends.to_vec(),
            cap: line.cap.map(|(group, used)| (group, used.clone())),
        };
        self.lines.entry((period, line.contract.clone(), line.term.clone())).or_default().push(accrual);
    }

    fn wants_parts(&self) -> bool {
        true
    }

    fn part(&mut self, part: Part<'_>) {
        if self.since.is_none_or(|since| part.at < since) {
            return;
        }
        let values = [Attribute::Cloud, Attribute::Channel, Attribute::Deployment, Attribute::Product];
        let values: Vec<&str> = values.iter().filter_map(|name| part.attributes.get(name)).collect();
        let told = Told {
            pass: part.pass,
            period: self.period(part.at),
            at: part.at,
            of: part.of.filter(|_| part.taken_off.is_none()).cloned(),
            what: part.what(),
            place: values.join(" / "),
            amount: part.amount.clone(),
            addends: part.addends.to_vec(),
            source: part.item.filter(|_| part.of.is_none()).map_or(Origin::Streams, |item| origin(item, &part)),
        };
        self.parts.entry((part.contract.clone(), part.stream.clone())).or_default().push(told);
    }

    fn wants_addends(&self) -> bool {
        true
    }

    fn gathers(&mut self, gathered: Gathered<'_>) {
        let Gathered { contract, stream, pass, at, window, addend } = gathered;
        if self.spans.iter().any(|(_, span)| span.start < window.end && window.start < span.end) {
            self.gathered_since = self.gathered_since.min(Some(window.start)).or(Some(window.start));
        }
        if self.since.is_some_and(|since| since <= at) {
            let of_window = ForWindow { pass, period: self.period(at), addend: addend.clone() };
            self.gathered.entry((contract.clone(), stream.clone())).or_default().push(of_window);
        }
    }
}

fn origin(item: &Item<'_>, part: &Part<'_>) -> Origin {
    // A sum has no id.
    let id = match (item.id.id, item.id.source) {
        ("", _) => String::new(),
        (id, "") => id.to_owned(),
        (id, source) => format!("{id} of {source}"),
    };
    match &item.content {
        Content::Usage { quantity, charge, .. } if part.taken_off.is_none() => Origin::Usage {
            id,
            meter: item.id.meter.to_owned(),
            quantity: quantity.clone(),
            charge: match charge {
                Charge::Rated(amount) => Some((amount.value.clone(), amount.unit.clone())),
                Charge::Unsold | Charge::NoPrice | Charge::NoContext => None,
            },
        },
        _ => Origin::Record { id },
    }
}
