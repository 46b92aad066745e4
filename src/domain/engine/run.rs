//! The run: items pass through the streams in order; at boundaries windows close and versions change.

use super::boundaries::{Boundaries, boundaries, is_steady};
use super::item::{Attributes, AttributesId, AttributesList, Item};
use super::knowledge::Knowledge;
use super::life::{Named, instant, lives, stretches};
use super::memo::Memo;
use super::once::keep_further;
use super::outcome::{Cause, Lines};
use super::part::Telling;
use super::plan::{Epoch, Plan, Step, Stream, StreamId, StreamName, Work};
use super::set_off::paid_back;
use super::state::{CapInForce, CapKey, Deltas, Group, Passing, StreamState};
use super::table::Bands;
use super::tail::{has_earlier_customers, has_narrow_tail};
use super::watch::Watches;
use super::{EngineError, MissingPrice, Stop, Unpriced};
use crate::domain::calendar::Window;
use crate::domain::contract::measure::{Base, BelowZero};
use crate::domain::contract::selector::{Attribute, Filter};
use crate::domain::contract::value::Table;
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span, last_instant_before};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Passes items through the streams of a plan. Feed it every item in order, then `finish`.
pub struct Engine<'a, L> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) known: &'a Knowledge,
    pub(super) attributes: AttributesList,
    attribute_ids: BTreeMap<Attributes, AttributesId>,
    /// Every instant at which anything may change, rising.
    boundaries: std::iter::Peekable<std::vec::IntoIter<Instant>>,
    /// Beside the agreements: where their settlement periods end.
    pub(super) period_ends: Vec<BTreeSet<Instant>>,
    /// Where what has accrued by then is asked for later: a cap may begin to count in the past.
    marks: BTreeSet<Instant>,
    epoch: usize,
    pub(super) streams: Vec<StreamState>,
    pub(super) caps: BTreeMap<CapKey, CapInForce>,
    /// How many boundaries are passed.
    pub(super) passed: u64,
    root: AttributesId,
    /// Room for what streams yield of an item.
    pub(super) spare: Vec<Deltas>,
    /// Tables by item attributes, until the next boundary.
    tables: Memo<Table, Rc<Bands>>,
    /// Which filters select items of which attributes, until the next version.
    selected: Memo<Filter, bool>,
    /// Which steps usage of which attributes concerns, until then.
    pub(super) concerned: Memo<Epoch<'a>, Rc<[&'a Step<'a>]>>,
    groups: Memo<[Attribute], AttributesId>,
    /// Usage by which pools are shared: by term, period and payee.
    pub(super) shares: BTreeMap<(StreamId, Window, PartyId), Exact>,
    /// What bases count that has no price: since when, and the first event of it.
    pub(super) unpriced: BTreeMap<(ContractId, DefinedTerm, Unpriced), (Instant, Option<String>)>,
    /// Figures that must not be missing are asked for from here on.
    pub(super) books_begin: Instant,
    pub(super) telling: Telling<'a>,
    /// How many items, and yields of streams by themselves, have passed.
    passes: u64,
    /// When the sale was that the item which passes is money of.
    pub(super) sold_at: Option<Instant>,
    pub(super) lines: L,
    pub(super) watches: Watches,
    end: Instant,
}

/// What a run comes to.
pub struct Finished<L> {
    pub lines: L,
    pub shares: Shares,
    /// Stretches of summed usage in which the order of items could have mattered: they have to be opened.
    pub unsure: Vec<Span>,
}

/// Usage by which the pools of terms are shared, by period and party.
pub type Shares = BTreeMap<(ContractId, TermId), BTreeMap<(Window, PartyId), Exact>>;

impl<'a, L: Lines> Engine<'a, L> {
    /// Makes ready to pass items up to `end`.
    pub fn new(
        plan: &'a Plan<'a>,
        known: &'a Knowledge,
        mut attributes: AttributesList,
        end: Instant,
        lines: L,
    ) -> Self {
        let root = attributes.push(Attributes::default());
        let mut streams: Vec<StreamState> = Vec::new();
        let paid_back = paid_back(plan);
        for (id, stream) in plan.streams.iter() {
            let agreement = plan.agreements.get(stream.agreement);
            let stretches = match (&stream.name, agreement) {
                (StreamName::Term(term), Some(agreement)) => stretches(agreement, &Named::Term(term), known),
                (StreamName::Amount(name), Some(agreement)) => stretches(agreement, &Named::Amount(name), known),
                _ => Vec::new(),
            };
            let (lives, paid_back) = (lives(&stretches), paid_back.get(&id).copied());
            let has_earlier_customers = has_earlier_customers(stream, agreement);
            streams.push(StreamState {
                stretches,
                lives,
                paid_back,
                has_earlier_customers,
                has_narrow_tail: agreement.is_some_and(has_narrow_tail),
                ..StreamState::default()
            });
        }
        let Boundaries { cuts, marks, period_ends } = boundaries(plan, known, &streams, end);
        let boundaries: Vec<Instant> = cuts.into_iter().collect();
        Self {
            plan,
            known,
            attributes,
            attribute_ids: BTreeMap::from([(Attributes::default(), root)]),
            passed: 0,
            root,
            spare: Vec::new(),
            boundaries: boundaries.into_iter().peekable(),
            period_ends,
            marks,
            epoch: 0,
            streams,
            caps: BTreeMap::new(),
            tables: Memo::default(),
            selected: Memo::default(),
            concerned: Memo::default(),
            groups: Memo::default(),
            shares: BTreeMap::new(),
            unpriced: BTreeMap::new(),
            telling: Telling::default(),
            passes: 0,
            sold_at: None,
            books_begin: Span::ever().start,
            lines,
            watches: Watches::default(),
            end,
        }
    }

    /// Some of the items are sums of all usage of a stretch, in the order of time and apart from each other.
    pub fn with_summed(mut self, stretches: &[Span]) -> Self {
        self.watches = Watches::new(stretches);
        self
    }

    /// Figures that must not be missing are asked for from an instant on; before, those that are stand for zero.
    pub fn with_books_from(mut self, begin: Instant) -> Self {
        self.books_begin = begin;
        self
    }

    /// Every instant up to the end at which anything may change.
    pub fn changes(self) -> Vec<Instant> {
        self.boundaries.collect()
    }

    /// Passes the next item.
    ///
    /// # Errors
    /// What stops the settlement.
    pub fn item(&mut self, item: &Item<'_>) -> Result<(), EngineError> {
        while self.boundaries.peek().is_some_and(|boundary| *boundary <= item.at) {
            let done = self.boundary();
            self.prices_first(done)?;
        }
        let is_before = self.epoch().is_none_or(|epoch| item.at < epoch.span.start);
        if is_before || item.at >= self.end {
            return Ok(());
        }
        self.watches.pass(Some(item.at));
        let mut passing = Passing {
            number: self.next_pass(),
            at: item.at,
            attributes: item.attributes,
            item: Some(item),
            cause: Cause::Item(item.id),
            deltas: self.spare.pop().unwrap_or_default(),
            taken: Vec::new(),
            kept: Vec::new(),
            lacking: Vec::new(),
        };
        self.sold_at = item.sold_at;
        let steps = self.concerned(item);
        let done = self.pass(&mut passing, &steps);
        self.spare.push(passing.deltas);
        self.sold_at = None;
        Ok(self.prices_first(done)?)
    }

    /// Closes everything up to the end.
    ///
    /// # Errors
    /// What stops the settlement.
    pub fn finish(mut self) -> Result<Finished<L>, EngineError> {
        while self.boundaries.peek().is_some() {
            let done = self.boundary();
            self.prices_first(done)?;
        }
        self.check_prices()?;
        let mut shares = Shares::new();
        for ((stream, period, party), used) in self.shares {
            let Stream { agreement, name } = &self.plan.streams[stream];
            if let (Some(agreement), StreamName::Term(term)) = (self.plan.agreements.get(*agreement), name) {
                let of_term = shares.entry((agreement.head.id.clone(), term.clone())).or_default();
                of_term.insert((period, party), used);
            }
        }
        Ok(Finished { lines: self.lines, shares, unsure: self.watches.unsure() })
    }

    pub(super) fn epoch(&self) -> Option<&'a Epoch<'a>> {
        self.plan.epochs.get(self.epoch)
    }

    /// What a stream yields amounts in; none for plain numbers.
    pub(super) fn unit_of(&self, stream: StreamId) -> Option<&'a Unit> {
        self.plan.unit_of(stream, self.epoch()?)
    }

    /// The epoch that begins at an instant, while the one before is still passed.
    pub(super) fn next_epoch(&self, at: Instant) -> Option<&'a Epoch<'a>> {
        self.plan.epochs.get(self.epoch.saturating_add(1)).filter(|next| next.span.start == at)
    }

    /// Refuses what went without a price so far: all of it at once.
    fn check_prices(&mut self) -> Result<(), Stop> {
        let missing = |((contract, base, of), (at, event))| MissingPrice { contract, base, of, at, event };
        let missing: Vec<MissingPrice> = std::mem::take(&mut self.unpriced).into_iter().map(missing).collect();
        if missing.is_empty() { Ok(()) } else { Err(EngineError::MissingPrices { missing }.into()) }
    }

    /// What went without a price before something else went wrong comes first.
    fn prices_first(&mut self, done: Result<(), Stop>) -> Result<(), Stop> {
        if done.is_err() {
            self.check_prices()?;
        }
        done
    }

    /// What passes counts in the present epoch.
    pub(super) fn steps(&self) -> &'a [Step<'a>] {
        self.epoch().map(|epoch| epoch.steps.as_slice()).unwrap_or_default()
    }

    pub(super) fn next_pass(&mut self) -> u64 {
        self.passes = self.passes.saturating_add(1);
        self.passes
    }

    pub(super) fn pass(&mut self, passing: &mut Passing<'_>, steps: &[&'a Step<'a>]) -> Result<(), Stop> {
        for step in steps.iter().copied() {
            if self.lines.wants_parts() {
                self.telling.clear();
            }
            self.check_rates(step, passing)?;
            match self.pass_step(step, passing)? {
                Some(amount) => {
                    self.yields(step, passing, &amount);
                    passing.deltas.set(step.stream, amount);
                }
                None => keep_further(step, passing),
            }
        }
        for step in self.epoch().map(|epoch| epoch.counting.as_slice()).unwrap_or_default() {
            self.check_rates(step, passing)?;
            let delta = match &step.work {
                Work::Base(base, unit) => self.counted(step, base, unit, passing)?,
                Work::Figure(name, unit) => self.pass_figure(step, name, unit, passing)?,
                Work::Term(term) => {
                    self.count_only(step, term, passing);
                    None
                }
                Work::Amount(_) | Work::Gauge(_) => None,
            };
            if let Some(amount) = delta.filter(|_| passing.deltas.get(step.stream).is_none()) {
                passing.deltas.set(step.stream, amount);
            }
        }
        for step in self.epoch().map(|epoch| epoch.spending.as_slice()).unwrap_or_default() {
            self.count_spend(step, passing);
        }
        passing.deltas.clear();
        Ok(())
    }

    /// What a step yields of what passes.
    fn pass_step(&mut self, step: &'a Step<'a>, passing: &mut Passing<'_>) -> Result<Option<Exact>, Stop> {
        match &step.work {
            Work::Base(base, unit) => match self.pass_base(step, base, unit, passing) {
                // What no term in force draws on needs no rate.
                Err(stop) if matches!(*stop, EngineError::MissingFx { .. }) && is_item_by_item(base) => {
                    passing.lacking.push((step.stream, stop));
                    Ok(None)
                }
                counted => counted,
            },
            Work::Figure(name, unit) => self.pass_figure(step, name, unit, passing),
            Work::Amount(amount) => self.pass_amount(step, amount, passing),
            Work::Term(term) => self.pass_term(step, term, passing),
            Work::Gauge(figure) => self.pass_gauge(step, figure, passing),
        }
    }

    /// Stops where a step draws on a base that lacks a rate, and has to know.
    fn check_rates(&mut self, step: &'a Step<'a>, passing: &Passing<'_>) -> Result<(), Stop> {
        let lacking = passing.lacking.iter().find(|(stream, _)| step.streams().any(|of| of == *stream));
        let Some((_, error)) = lacking else { return Ok(()) };
        let has_to_know = match &step.work {
            Work::Term(term) => {
                let tiers = term.tiers.as_ref().filter(|_| self.is_before_its_life(step, passing));
                let from = tiers.and_then(|tiers| instant(step.agreement, &tiers.counting.from, self.known));
                let counts = from.is_some_and(|from| from <= passing.at);
                counts || self.is_in_force(step, term, passing)
            }
            _ => true,
        };
        if has_to_know { Err(error.clone()) } else { Ok(()) }
    }

    /// What ends at the next boundary ends, and what begins there begins.
    fn boundary(&mut self) -> Result<(), Stop> {
        let Some(at) = self.boundaries.next() else { return Ok(()) };
        self.watches.pass(None);
        // Before the first version there is nothing to close.
        if self.epoch().is_some_and(|epoch| epoch.span.start < at) {
            self.close(last_instant_before(at), at)?;
        }
        self.passed = self.passed.saturating_add(1);
        self.tables.clear();
        self.selected.pass_boundary();
        self.concerned.pass_boundary();
        if self.marks.contains(&at) {
            for group in self.streams.iter_mut().flat_map(|stream| stream.groups.values_mut()) {
                group.mark(at);
            }
        }
        while self.epoch().is_some_and(|epoch| epoch.span.end <= at) {
            self.epoch = self.epoch.saturating_add(1);
            self.selected.clear();
            self.concerned.clear();
        }
        if at < self.end {
            self.check_listed(at)?;
            // What is paid at the boundary counts in the windows that begin there.
            self.open_windows(at);
            self.open_caps(at)?;
            self.pay_on(at)?;
        }
        Ok(())
    }

    /// The values of `names` that something has, as the name of a group.
    pub(super) fn group(
        &mut self,
        names: &'a [Attribute],
        step: &Step<'a>,
        of: AttributesId,
        at: Instant,
    ) -> AttributesId {
        if names.is_empty() {
            return self.root;
        }
        // What facts say changes.
        let is_steady = !names.iter().any(|name| matches!(name, Attribute::Fact(_)));
        if let Some(group) = self.groups.get(names, of).filter(|_| is_steady) {
            return *group;
        }
        let value = |name: &Attribute| self.attribute(step, of, at, name).map(|value| (name.clone(), value.to_owned()));
        let values = Attributes(names.iter().filter_map(value).collect());
        let group = self.group_of(values);
        if is_steady {
            self.groups.insert(names, of, group, true);
        }
        group
    }

    pub(super) fn group_of(&mut self, values: Attributes) -> AttributesId {
        if let Some(id) = self.attribute_ids.get(&values) {
            return *id;
        }
        let id = self.attributes.push(values.clone());
        self.attribute_ids.insert(values, id);
        id
    }

    /// The group of what is not told apart.
    pub(super) fn root(&self) -> AttributesId {
        self.root
    }

    /// The group of values that something had before.
    pub(super) fn known_group(&self, values: &Attributes) -> Option<AttributesId> {
        self.attribute_ids.get(values).copied()
    }

    /// Whether a filter selects an item; it says the same until the next boundary, if it asks for facts.
    pub(super) fn takes(&mut self, step: &Step<'a>, filter: &'a Filter, of: AttributesId, at: Instant) -> bool {
        if self.sold_at.is_some() {
            return self.selects(step, filter, of, at);
        }
        if let Some(is_taken) = self.selected.get(filter, of) {
            return *is_taken;
        }
        let is_taken = self.selects(step, filter, of, at);
        self.selected.insert(filter, of, is_taken, !filter.names_fact());
        is_taken
    }

    /// An attribute of an item, or what a fact says of it.
    pub(super) fn attribute(&self, step: &Step<'a>, of: AttributesId, at: Instant, name: &Attribute) -> Option<&str> {
        let attributes = &self.attributes[of];
        match name {
            // What is told apart by a fact has what it said as an attribute.
            Attribute::Fact(_) if attributes.get(name).is_some() => attributes.get(name),
            Attribute::Fact(fact) => {
                let (fact, rule) = step.version.facts.get_key_value(fact)?;
                let at = self.sold_at.filter(|_| rule.names_party).unwrap_or(at);
                self.known.fact_value(&step.agreement.head.id, (fact, rule), step.agreement.head.zone, attributes, at)
            }
            _ => attributes.get(name),
        }
    }

    pub(super) fn state(&mut self, stream: StreamId) -> Option<&mut StreamState> {
        self.streams.get_mut(stream.place())
    }

    pub(super) fn group_state(&mut self, stream: StreamId, group: AttributesId) -> Option<&mut Group> {
        Some(self.state(stream)?.groups.entry(group).or_default())
    }

    /// The bands of a table for an item; none where it has no row for it.
    pub(super) fn bands(
        &mut self,
        step: &Step<'a>,
        table: &'a Table,
        of: AttributesId,
        (at, window): (Instant, Option<u32>),
    ) -> Result<Rc<Bands>, Stop> {
        let is_steady = window.is_none() && self.sold_at.is_none() && is_steady(step, table);
        if let Some(bands) = self.tables.get(table, of).filter(|_| is_steady) {
            return Ok(bands.clone());
        }
        let window = window.or_else(|| self.place_at_item(step, table, at));
        let circumstances = super::term::AtItem { engine: self, step, of, at, window };
        let bands = Bands::of(table, &circumstances)?.ok_or_else(|| EngineError::NoRow {
            contract: step.agreement.head.id.clone(),
            name: self.name_of(step.stream),
            at,
        })?;
        let bands = Rc::new(bands);
        if is_steady {
            self.tables.insert(table, of, bands.clone(), false);
        }
        Ok(bands)
    }

    pub(super) fn name_of(&self, stream: StreamId) -> String {
        match &self.plan.streams[stream].name {
            StreamName::Base(name, _)
            | StreamName::Figure(name, _)
            | StreamName::Amount(name)
            | StreamName::Gauge(name) => name.to_string(),
            StreamName::Term(term) => term.to_string(),
        }
    }
}

/// Whether a base counts each item for itself: it keeps nothing of those before.
fn is_item_by_item(base: &Base) -> bool {
    base.above.is_none() && base.below_zero == BelowZero::Keep
}
