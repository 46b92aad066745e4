//! Records every line of a run within the periods that are explained, and what passed of which they are made.

use crate::domain::calendar::Window;
use crate::domain::contract::measure::Measure;
use crate::domain::contract::selector::Attribute;
use crate::domain::engine::addend::Addend;
use crate::domain::engine::item::{AttributesId, Charge, Content, Item};
use crate::domain::engine::outcome::{CapUse, Cause, Line, Lines, Part, TakenOff};
use crate::domain::engine::plan::StreamName;
use crate::domain::ids::{ContractId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span};
use std::collections::BTreeMap;

/// What was told of some periods of time.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    spans: Vec<(Window, Span)>,
    /// Parts of this pass on are told, beside those of the periods.
    since: Option<u64>,
    /// The first of which a part was told, and the first that anything told is made of.
    first: Option<u64>,
    earliest: Option<u64>,
    lines: BTreeMap<(Window, ContractId, TermId), Vec<Accrual>>,
    parts: BTreeMap<(ContractId, StreamName), BTreeMap<u64, Vec<Told>>>,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Accrual {
    /// Whether it is what was recouped or set off.
    pub is_paid_back: bool,
    pub version: u32,
    pub amount: Exact,
    /// What it is made of before the cap.
    pub addends: Vec<Addend>,
    /// How far its cap was used up, and which counter of it.
    pub cap: Option<(AttributesId, CapUse)>,
}

impl Accrual {
    /// What its cap leaves out of it, below zero, or lets in of what it had left out before.
    pub fn at_cap(&self) -> Exact {
        &self.amount - &self.addends.iter().map(Addend::amount).sum()
    }
}

/// A part of what a stream yields.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub pass: u64,
    pub at: Instant,
    /// What it was drawn of, where that is another stream.
    pub of: Option<Measure>,
    /// What it is, in words.
    pub what: String,
    /// Where it was sold, and what.
    pub place: String,
    pub amount: Exact,
    pub unit: Option<Unit>,
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
        /// Its own date.
        at: Instant,
    },
    /// What other streams yield by themselves.
    Streams,
}

impl Recorder {
    /// Records these periods, of this and every other contract that runs.
    pub fn new(spans: Vec<(Window, Span)>) -> Self {
        Self { spans, ..Self::default() }
    }

    /// One that records from the first pass on that anything is made of: windows began before the periods. None where
    /// this one does.
    pub fn begun_earlier(&self) -> Option<Self> {
        let is_recorded = self.earliest.is_none() || self.first.is_some_and(|first| self.earliest >= Some(first));
        (!is_recorded && self.since != self.earliest)
            .then(|| Self { since: self.earliest, ..Self::new(self.spans.clone()) })
    }

    fn is_made_of(&mut self, addends: &[Addend]) {
        let passes = addends.iter().filter_map(|addend| addend.passes.keys().next().copied());
        self.earliest = passes.chain(self.earliest).min();
    }

    pub(super) fn lines(&self, period: Window, contract: &ContractId, term: &TermId) -> &[Accrual] {
        self.lines.get(&(period, contract.clone(), term.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    /// By pass.
    pub(super) fn parts(&self, contract: &ContractId, stream: &StreamName) -> Option<&BTreeMap<u64, Vec<Told>>> {
        self.parts.get(&(contract.clone(), stream.clone()))
    }

    fn period(&self, at: Instant) -> Option<Window> {
        self.spans.iter().find(|(_, span)| span.contains(at)).map(|(period, _)| *period)
    }
}

impl Lines for Recorder {
    fn line(&mut self, line: Line<'_>) {
        let Some(period) = self.period(line.at).filter(|_| line.cause != Cause::Shortfall) else { return };
        // Else what is missing would be told as left out by a cap.
        debug_assert!(line.adds_up(), "addends do not sum to {line:?}");
        let accrual = Accrual {
            is_paid_back: line.cause == Cause::PaidBack,
            version: line.version,
            amount: line.amount.clone(),
            addends: line.addends.to_vec(),
            cap: line.cap.map(|(group, used)| (group, used.clone())),
        };
        self.is_made_of(line.addends);
        self.lines.entry((period, line.contract.clone(), line.term.clone())).or_default().push(accrual);
    }

    fn wants_parts(&self) -> bool {
        true
    }

    fn part(&mut self, part: Part<'_>) {
        if self.period(part.at).is_none() && self.since.is_none_or(|since| part.pass < since) {
            return;
        }
        let values = [Attribute::Cloud, Attribute::Channel, Attribute::Deployment, Attribute::Product];
        let values: Vec<&str> = values.iter().filter_map(|name| part.attributes.get(name)).collect();
        let told = Told {
            pass: part.pass,
            at: part.at,
            of: part.of.filter(|_| part.taken_off.is_none()).cloned(),
            what: part.what(),
            place: values.join(" / "),
            amount: part.amount.clone(),
            unit: part.unit.cloned(),
            addends: part.addends.to_vec(),
            source: part.item.filter(|_| part.of.is_none()).map_or(Origin::Streams, |item| origin(item, &part)),
        };
        self.is_made_of(part.addends);
        self.first = self.first.into_iter().chain([part.pass]).min();
        let of_stream = self.parts.entry((part.contract.clone(), part.stream.clone())).or_default();
        of_stream.entry(part.pass).or_default().push(told);
    }

    fn wants_addends(&self) -> bool {
        true
    }
}

fn origin(item: &Item<'_>, part: &Part<'_>) -> Origin {
    let id = item.id.to_string();
    if let Some(TakenOff { by, at, .. }) = part.taken_off {
        let of = if *by == id || id.is_empty() { String::new() } else { format!(", off {id}") };
        return Origin::Record { id: format!("{by}{of}"), at: *at };
    }
    match &item.content {
        Content::Usage { quantity, charge, .. } => Origin::Usage {
            id,
            meter: item.id.meter.to_owned(),
            quantity: quantity.clone(),
            charge: match charge {
                Charge::Rated(amount) => Some((amount.value.clone(), amount.unit.clone())),
                Charge::Unsold | Charge::NoPrice | Charge::NoContext => None,
            },
        },
        _ => Origin::Record { id, at: item.at },
    }
}
