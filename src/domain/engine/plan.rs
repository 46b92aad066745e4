//! What the engine does at an item, laid out before the first one: which streams there are, and in which order.
//!
//! A *stream* is whatever yields amounts as items pass: a base, an amount, a term. An *epoch* is a stretch of time in
//! which no version changes; in each, every stream comes after those that it draws on.

use super::EngineError;
use super::arena::{Arena, Id};
use super::life::versions_in_force;
use super::mentions::{counts_from, is_read_where_needed, measures, read_by_values};
use super::once::{keeps, once_terms};
use super::order::in_file_order;
use super::window::is_of_window;
use crate::domain::contract::measure::{Amount, Base, FigureDefinition, Measure};
use crate::domain::contract::term::{Cap, Term};
use crate::domain::contract::whole::needs_whole;
use crate::domain::contract::window::Moment;
use crate::domain::contract::{Contract, Version};
use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::money::Unit;
use crate::domain::period::{Instant, Span};
use std::collections::{BTreeMap, BTreeSet};

/// Whatever yields amounts; the same through all versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The agreement's place in the plan.
    pub agreement: usize,
    pub name: StreamName,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamName {
    /// A base, in the unit of what draws on it.
    Base(DefinedTerm, Unit),
    /// A flow figure that something draws on by itself.
    Figure(DefinedTerm, Unit),
    Amount(DefinedTerm),
    Term(TermId),
    /// A figure that is computed of others over a window: it yields nothing, and is asked.
    Gauge(DefinedTerm),
}

pub type StreamId = Id<Stream>;

/// A cap by its name, through all versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CapName {
    /// The agreement's place in the plan.
    pub agreement: usize,
    pub name: DefinedTerm,
}

pub type CapId = Id<CapName>;

pub struct Plan<'a> {
    pub agreements: &'a [Contract],
    pub streams: Arena<Stream>,
    pub caps: Arena<CapName>,
    pub epochs: Vec<Epoch<'a>>,
}

/// A stretch of time in which no version changes, and what each item passes in it.
pub struct Epoch<'a> {
    pub span: Span,
    pub steps: Vec<Step<'a>>,
    /// The places of the steps in the order in which they close.
    pub closing: Vec<usize>,
    /// Terms and bases of later versions that count from a date before these, and count here already.
    pub counting: Vec<Step<'a>>,
    /// Terms as a later version words them that brings a minimum of what measures come to: they do so here already.
    pub spending: Vec<Step<'a>>,
}

/// One stream as one version words it.
#[derive(Clone)]
pub struct Step<'a> {
    pub stream: StreamId,
    pub agreement: &'a Contract,
    pub version: &'a Version,
    pub work: Work<'a>,
    /// What it yields amounts in.
    pub unit: Unit,
    /// Each measure in its wording, with the stream that yields it. A level has none.
    inputs: Vec<(&'a Measure, StreamId)>,
    /// Of a term: what its amount is of, each once.
    pub of: Vec<StreamId>,
    /// Whether it yields something of whole windows alone.
    pub is_of_window: bool,
    /// Whether it yields something else of a sum than of its parts.
    pub needs_whole: bool,
    /// The cap that it is under.
    pub cap: Option<(CapId, &'a Cap)>,
    /// The terms that it pays back.
    pub credits: Vec<StreamId>,
    /// What a pool is shared by.
    pub shared_by: Option<StreamId>,
    /// All that comes before it.
    pub after: Vec<StreamId>,
    /// The bases and figures that it asks how far they have come.
    asked: Vec<StreamId>,
    /// Of a base or figure: whether any step asks so.
    pub is_added_up: bool,
    /// Of a base or amount: the terms of once groups that it is for.
    pub once_terms: Vec<&'a Term>,
    /// Whether it keeps something of what passes, and is for these terms alone.
    pub keeps_for_once: bool,
}

#[derive(Clone)]
pub enum Work<'a> {
    Base(&'a Base, Unit),
    Figure(&'a DefinedTerm, Unit),
    Amount(&'a Amount),
    Term(&'a Term),
    Gauge(&'a FigureDefinition),
}

impl Step<'_> {
    /// What it draws on.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.inputs.iter().map(|(_, stream)| *stream).chain(self.shared_by)
    }

    /// The stream of a measure of this step's wording. It is found by where it stands, not by what it says.
    pub fn input(&self, measure: &Measure) -> Option<StreamId> {
        self.inputs.iter().find(|(of, _)| std::ptr::eq(*of, measure)).map(|(_, stream)| *stream)
    }
}

/// Lays out everything that the versions say.
///
/// # Errors
/// Streams that feed each other, or a name that nothing declares: loading refuses both.
pub fn plan(agreements: &[Contract]) -> Result<Plan<'_>, EngineError> {
    let end = Span::ever().end;
    let in_force: Vec<Vec<(Span, usize)>> = agreements.iter().map(|it| versions_in_force(it, end)).collect();
    let mut starts: Vec<Instant> = in_force.iter().flatten().map(|(span, _)| span.start).collect();
    starts.sort();
    starts.dedup();
    let ends: Vec<Instant> = starts.iter().copied().skip(1).chain([end]).collect();
    let mut ids = Ids::default();
    let mut epochs = Vec::new();
    for (start, end) in starts.into_iter().zip(ends) {
        let in_force = in_force.iter().zip(agreements).map(|(spans, agreement)| {
            let place = spans.iter().find(|(span, _)| span.contains(start))?.1;
            agreement.versions.get(place)
        });
        let mut layout = Layout {
            agreements,
            versions: in_force.collect(),
            ids: &mut ids,
            steps: Vec::new(),
            open: Vec::new(),
            done: Vec::new(),
        };
        layout.terms()?;
        let (counting, spending) = (layout.counting()?, layout.spending()?);
        let (steps, closing) = in_file_order(layout.steps, agreements);
        epochs.push(Epoch { span: Span { start, end }, steps, closing, counting, spending });
    }
    let steps = || epochs.iter().flat_map(|epoch| &epoch.steps);
    let asked: BTreeSet<StreamId> = steps().flat_map(|step| &step.asked).copied().collect();
    for epoch in &mut epochs {
        for place in 0..epoch.steps.len() {
            let Some(step) = epoch.steps.get(place) else { continue };
            let (once_terms, is_alone) = once_terms(&epoch.steps, step);
            if let Some(step) = epoch.steps.get_mut(place) {
                step.is_added_up = asked.contains(&step.stream);
                (step.keeps_for_once, step.once_terms) = (is_alone && keeps(step), once_terms);
            }
        }
    }
    for place in 0..epochs.len() {
        count_thresholds(&mut epochs, place);
    }
    Ok(Plan { agreements, streams: ids.streams, caps: ids.caps, epochs })
}

/// Lets the bases of later versions count in an epoch toward what only counts above, where that is from before.
fn count_thresholds(epochs: &mut [Epoch<'_>], place: usize) {
    let (past, later) = epochs.split_at_mut(place.saturating_add(1));
    let is_counted = |step: &&Step<'_>| matches!(&step.work, Work::Base(base, _) if base.above.is_some());
    let mut known: Vec<StreamId> =
        past.iter().flat_map(|epoch| &epoch.steps).filter(is_counted).map(|step| step.stream).collect();
    let Some(now) = past.last_mut() else { return };
    let begun = |step: &Step<'_>| step.agreement.begins().is_some_and(|begins| begins <= now.span.start);
    let mut found: Vec<Step<'_>> = Vec::new();
    for epoch in &*later {
        for step in &epoch.steps {
            let Work::Base(base, _) = &step.work else { continue };
            let Some(above) = &base.above else { continue };
            let is_before = matches!(&above.counting.from, Moment::At(from) if *from < now.span.end);
            if is_before && begun(step) && !known.contains(&step.stream) {
                // What it draws on comes before it, where nothing in force draws on that.
                let is_drawn = |it: &&Step<'_>| step.after.contains(&it.stream) && !is_counted(it);
                let drawn = epoch.steps.iter().filter(is_drawn).filter(|it| !matches!(it.work, Work::Term(_)));
                let is_here = |it: &&Step<'_>| now.steps.iter().chain(&found).any(|here| here.stream == it.stream);
                let drawn: Vec<Step<'_>> = drawn.filter(|it| !is_here(it)).cloned().collect();
                found.extend(drawn);
                found.push(step.clone());
            }
            known.push(step.stream);
        }
    }
    now.counting.extend(found);
}

impl Plan<'_> {
    /// What a stream yields amounts in during an epoch; none for plain numbers.
    pub fn unit_of<'e>(&'e self, stream: StreamId, epoch: &'e Epoch<'_>) -> Option<&'e Unit> {
        let Stream { agreement, name } = &self.streams[stream];
        let versions = &self.agreements.get(*agreement)?.versions;
        match name {
            StreamName::Base(_, unit) | StreamName::Figure(_, unit) => Some(unit),
            // Of one name each version may word another.
            StreamName::Amount(_) => epoch.steps.iter().chain(&epoch.counting).find_map(|step| match &step.work {
                Work::Amount(amount) if step.stream == stream => amount.unit.as_ref(),
                _ => None,
            }),
            StreamName::Term(id) => versions.iter().find_map(|it| it.term(id)).map(|term| &term.unit),
            StreamName::Gauge(_) => None,
        }
    }

    /// The stream of a name, where anything draws on it.
    pub fn stream(&self, agreement: usize, name: &StreamName) -> Option<StreamId> {
        self.streams.iter().find(|(_, stream)| stream.agreement == agreement && stream.name == *name).map(|(id, _)| id)
    }
}

#[derive(Default)]
struct Ids {
    streams: Arena<Stream>,
    by_stream: BTreeMap<Stream, StreamId>,
    caps: Arena<CapName>,
}

/// The steps of one epoch while they are laid out.
struct Layout<'a, 'i> {
    agreements: &'a [Contract],
    /// Beside the agreements: the version that is in force.
    versions: Vec<Option<&'a Version>>,
    ids: &'i mut Ids,
    steps: Vec<Step<'a>>,
    /// What is being laid out: a stream that is met again feeds itself.
    open: Vec<StreamId>,
    done: Vec<StreamId>,
}

impl<'a> Layout<'a, '_> {
    fn terms(&mut self) -> Result<(), EngineError> {
        for (place, version) in self.versions.clone().into_iter().enumerate() {
            let figures = version.into_iter().flat_map(|version| &version.figures);
            for (name, _) in figures.filter(|(_, figure)| figure.kind.is_gauged()) {
                self.stream(place, StreamName::Gauge(name.clone()))?;
            }
            for term in version.into_iter().flat_map(|version| &version.terms) {
                self.stream(place, StreamName::Term(term.id.clone()))?;
            }
        }
        Ok(())
    }

    /// Terms that the version in force does not state, or without a counter, and that a later version lets count from
    /// before itself.
    fn counting(&mut self) -> Result<Vec<Step<'a>>, EngineError> {
        let mut found = Vec::new();
        let agreements = self.agreements;
        for (place, (agreement, version)) in agreements.iter().zip(self.versions.clone()).enumerate() {
            let Some(now) = version else { continue };
            let mut known: Vec<&TermId> = agreement
                .versions
                .iter()
                .filter(|it| it.number <= now.number)
                .flat_map(|it| it.terms.iter().filter(|term| counts_from(term).is_some()).map(|term| &term.id))
                .collect();
            for version in agreement.versions.iter().filter(|it| it.number > now.number) {
                for term in version.terms.iter().filter(|term| counts_from(term).is_some()) {
                    let is_before = matches!(counts_from(term), Some(Moment::At(from)) if *from < version.effective_at);
                    if is_before && !known.contains(&&term.id) {
                        let id = self.ids.id(Stream { agreement: place, name: StreamName::Term(term.id.clone()) });
                        self.open.push(id);
                        found.push(self.step(place, id, agreement, version, Work::Term(term))?);
                        self.open.pop();
                    }
                    known.push(&term.id);
                }
            }
        }
        Ok(found)
    }

    /// Terms in force that a later version first gives a minimum of what measures come to.
    fn spending(&mut self) -> Result<Vec<Step<'a>>, EngineError> {
        let mut found = Vec::new();
        let agreements = self.agreements;
        let spends = |term: &&Term| term.minimum.as_ref().is_some_and(|minimum| !minimum.of.is_empty());
        for (place, (agreement, version)) in agreements.iter().zip(self.versions.clone()).enumerate() {
            let Some(now) = version else { continue };
            for term in now.terms.iter().filter(|term| !spends(term)) {
                let mut later = agreement.versions.iter().filter(|it| it.number > now.number);
                let next = later.find_map(|version| Some((version, version.term(&term.id).filter(spends)?)));
                let Some((version, term)) = next else { continue };
                let id = self.ids.id(Stream { agreement: place, name: StreamName::Term(term.id.clone()) });
                self.open.push(id);
                found.push(self.step(place, id, agreement, version, Work::Term(term))?);
                self.open.pop();
            }
        }
        Ok(found)
    }

    /// Lays a stream out once, after what it draws on.
    fn stream(&mut self, place: usize, name: StreamName) -> Result<StreamId, EngineError> {
        let id = self.ids.id(Stream { agreement: place, name: name.clone() });
        if self.done.contains(&id) {
            return Ok(id);
        }
        if self.open.contains(&id) {
            return Err(EngineError::Circle { stream: self.describe(place, &name) });
        }
        self.open.push(id);
        if let Some((agreement, version)) = self.agreements.get(place).zip(self.versions.get(place).copied().flatten())
        {
            let missing = || EngineError::Undeclared { stream: self.describe(place, &name) };
            let work = match &name {
                StreamName::Base(base, unit) => {
                    // What a later version counts from a date before itself, that version defines.
                    let base = definition(agreement, version, |it| it.bases.get(base)).ok_or_else(missing)?;
                    Some(Work::Base(base, unit.clone()))
                }
                StreamName::Figure(figure, unit) => {
                    let figure = definition(agreement, version, |it| it.figures.get_key_value(figure));
                    Some(Work::Figure(figure.ok_or_else(missing)?.0, unit.clone()))
                }
                StreamName::Amount(amount) => {
                    Some(Work::Amount(definition(agreement, version, |it| it.amounts.get(amount)).ok_or_else(missing)?))
                }
                StreamName::Gauge(figure) => version.figures.get(figure).map(Work::Gauge),
                // A term that this version does not state yields nothing.
                StreamName::Term(term) => version.terms.iter().find(|it| it.id == *term).map(Work::Term),
            };
            if let Some(work) = work {
                let step = self.step(place, id, agreement, version, work)?;
                self.steps.push(step);
            }
        }
        self.open.pop();
        self.done.push(id);
        Ok(id)
    }

    fn step(
        &mut self,
        place: usize,
        stream: StreamId,
        agreement: &'a Contract,
        version: &'a Version,
        work: Work<'a>,
    ) -> Result<Step<'a>, EngineError> {
        let unit = unit_of(&work, agreement);
        let mut inputs = Vec::new();
        for measure in measures(&work) {
            if !is_read_where_needed(measure, version, &work) {
                inputs.extend(self.measure(place, measure, &unit)?.map(|stream| (measure, stream)));
            }
        }
        // What values name is asked for how far it has come: it is laid out before them, and passes nothing on to them.
        let mut after: Vec<StreamId> = inputs.iter().map(|(_, stream)| *stream).collect();
        // What is owed on a day, or at a fact, is of all that its measures have come to.
        let is_on = matches!(&work, Work::Term(Term { on: Some(_), .. }));
        let mut asked: Vec<StreamId> = after.iter().copied().filter(|_| is_on).collect();
        for measure in read_by_values(&work, version) {
            if !matches!(measure, Measure::Figure(_)) {
                let stream = self.measure(place, measure, &Unit::Currency(agreement.head.currency))?;
                after.extend(stream);
                asked.extend(stream);
            }
        }
        let adds_up = |name: &StreamName| matches!(name, StreamName::Base(..) | StreamName::Figure(..));
        asked.retain(|stream| adds_up(&self.ids.streams[*stream].name));
        let (mut credits, mut shared_by, mut cap, mut of, mut seen) =
            (Vec::new(), None, None, Vec::new(), BTreeSet::new());
        if let Work::Term(term) = &work {
            let measures = term.node.iter().flat_map(|node| node.measures());
            let streams = measures.filter_map(|it| inputs.iter().find(|(other, _)| std::ptr::eq(*other, it)));
            of.extend(streams.map(|(_, stream)| *stream).filter(|stream| seen.insert(*stream)));
            if let Some(name) = &term.cap {
                let wording = version.caps.get(name);
                let missing = || EngineError::Undeclared { stream: format!("{}/{name}", agreement.head.id) };
                cap = Some((self.ids.cap(place, name), wording.ok_or_else(missing)?));
            }
            for credit in &term.credits {
                credits.push(self.ids.id(Stream { agreement: place, name: StreamName::Term(credit.of.clone()) }));
            }
            // What is set off is known at the period's end: it may be made of the term itself.
            for of in version.recouped(term) {
                after.push(self.stream(place, StreamName::Term(of.id.clone()))?);
            }
            if let Some(of) = term.payees.shared_by() {
                shared_by = Some(self.stream(place, StreamName::Base(of.clone(), unit.clone()))?);
            }
        }
        after.extend(shared_by);
        let is_of_window = is_of_window(&work, version);
        let node = match &work {
            Work::Amount(amount) => Some(&amount.node),
            Work::Term(term) => term.node.as_ref(),
            Work::Base(..) | Work::Figure(..) | Work::Gauge(_) => None,
        };
        let needs_whole = node.is_some_and(needs_whole);
        Ok(Step {
            stream,
            agreement,
            version,
            work,
            unit,
            inputs,
            of,
            is_of_window,
            needs_whole,
            cap,
            credits,
            shared_by,
            after,
            asked,
            is_added_up: false,
            once_terms: Vec::new(),
            keeps_for_once: false,
        })
    }

    /// The stream of a measure; none of a contract that is not known yet, which yields nothing.
    fn measure(&mut self, place: usize, measure: &Measure, unit: &Unit) -> Result<Option<StreamId>, EngineError> {
        let stream = match measure {
            Measure::Base(name) => self.stream(place, StreamName::Base(name.clone(), unit.clone())),
            Measure::Figure(name) => self.stream(place, StreamName::Figure(name.clone(), unit.clone())),
            Measure::Amount(name) => self.stream(place, StreamName::Amount(name.clone())),
            Measure::Accrual { contract, term } => {
                let other = self.agreements.iter().position(|it| it.head.id == *contract);
                let Some(other) = other else { return Ok(None) };
                let name = StreamName::Term(term.clone());
                // Tiers may count what their own term accrued before the line: that is no circle.
                let id = self.ids.id(Stream { agreement: other, name: name.clone() });
                if self.open.last() == Some(&id) { Ok(id) } else { self.stream(other, name) }
            }
        };
        stream.map(Some)
    }

    fn describe(&self, place: usize, name: &StreamName) -> String {
        let contract = self.agreements.get(place).map(|it| it.head.id.to_string()).unwrap_or_default();
        match name {
            StreamName::Base(name, _)
            | StreamName::Figure(name, _)
            | StreamName::Amount(name)
            | StreamName::Gauge(name) => format!("{contract}/{name}"),
            StreamName::Term(term) => format!("{contract}/{term}"),
        }
    }
}

impl Ids {
    fn cap(&mut self, agreement: usize, name: &DefinedTerm) -> CapId {
        let cap = CapName { agreement, name: name.clone() };
        let known = self.caps.iter().find(|(_, other)| **other == cap).map(|(id, _)| id);
        known.unwrap_or_else(|| self.caps.push(cap))
    }

    fn id(&mut self, stream: Stream) -> StreamId {
        if let Some(id) = self.by_stream.get(&stream) {
            return *id;
        }
        let id = self.streams.push(stream.clone());
        self.by_stream.insert(stream, id);
        id
    }
}

/// The unit of what a step yields.
fn unit_of(work: &Work<'_>, agreement: &Contract) -> Unit {
    match work {
        Work::Base(_, unit) | Work::Figure(_, unit) => unit.clone(),
        // A plain number, such as a count, is of quantities: their unit is never asked for.
        Work::Amount(amount) => amount.unit.clone().unwrap_or(Unit::Currency(agreement.head.currency)),
        Work::Term(term) => term.unit.clone(),
        // A ratio of two bases has no unit: both are taken in the contract's.
        Work::Gauge(_) => Unit::Currency(agreement.head.currency),
    }
}

/// A definition of the version in force, or else of the next one that has it.
fn definition<'a, T>(
    agreement: &'a Contract,
    version: &'a Version,
    find: impl Fn(&'a Version) -> Option<T>,
) -> Option<T> {
    let later = agreement.versions.iter().filter(|it| it.number > version.number);
    std::iter::once(version).chain(later).find_map(find)
}
