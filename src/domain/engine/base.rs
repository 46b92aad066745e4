//! Bases: what of an item counts, less what reduces it (CONTRACTS section 2).

use super::counter::part_above;
use super::item::{AttributesId, Charge, Content, Deduction, InUnit};
use super::knowledge::AskedRate;
use super::leaf::ItemLeaves;
use super::once::keep;
use super::outcome::{Lines, TakenOff, WholeInterval};
use super::plan::Step;
use super::reported::missing_figure;
use super::run::Engine;
use super::state::{Passing, content};
use super::term::named_at;
use super::watch::Total;
use super::{EngineError, Stop, Unpriced};
use crate::domain::contract::Straddling;
use crate::domain::contract::beside::Worth;
use crate::domain::contract::measure::{Base, Basis, BelowZero, Measure, Place, Reduction, Selection, Source};
use crate::domain::contract::selector::{Attribute, Filter};
use crate::domain::contract::whole::needs_whole;
use crate::domain::ids::{DefinedTerm, EventId};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, Span};
use std::borrow::Cow;
use std::collections::BTreeSet;

impl<'a, L: Lines> Engine<'a, L> {
    /// What of an item, or of what other streams yield, a base counts.
    pub(super) fn pass_base(
        &mut self,
        step: &'a Step<'a>,
        base: &'a Base,
        unit: &Unit,
        passing: &mut Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        let counted = self.counted(step, base, unit, passing);
        if base.below_zero == BelowZero::Keep {
            return counted;
        }
        let Some(above) = counted? else { return Ok(None) };
        // What was sold while no term drew on it counts in none, and nor does what reduces that.
        if let Some(named_at) = named_at(step, passing) {
            let drawing = |at| self.drawing(self.steps(), step.stream, at);
            let now = drawing(passing.at);
            if !now.is_empty() && now.is_disjoint(&drawing(named_at)) {
                return Ok(None);
            }
        }
        self.remember_for_later(step, passing);
        // It is decided on the period's total, which is its only item then.
        let whole = self.group(&[], step, passing.attributes, passing.at);
        if let Some(group) = self.group_state(step.stream, whole) {
            group.period += &above;
        }
        keep(step, passing);
        Ok(None)
    }

    /// The same before its total is decided on.
    pub(super) fn counted(
        &mut self,
        step: &'a Step<'a>,
        base: &'a Base,
        unit: &Unit,
        passing: &mut Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        let mut counted: Option<Exact> = None;
        let mut add = |amount: Exact| match &mut counted {
            Some(counted) => *counted += &amount,
            None => counted = Some(amount),
        };
        let mut is_counted = false;
        for selection in &base.select {
            // An item that several selections take counts once; what else they draw on adds up.
            let is_of_items = !matches!(selection.of, Source::Of(_));
            if is_of_items && is_counted {
                continue;
            }
            if let Some(amount) = self.selected(step, (base, selection), unit, passing)? {
                is_counted |= is_of_items;
                self.telling.is_of_item = is_counted;
                add(amount);
            }
        }
        for deduction in self.deductions(step, base, passing) {
            let amount = self.convert(step, &deduction.amount, unit, passing.of_and_at())?;
            // Of what is above a threshold nobody can say which part was taken off.
            if self.lines.wants_parts() && base.above.is_none() {
                self.telling.taken_off.push(TakenOff::by(deduction, &amount));
            }
            add(-amount);
        }
        for less in &base.less {
            let Reduction::Node(node) = &less.what else { continue };
            let is_of_input =
                |measure: &&Measure| step.input(measure).is_some_and(|stream| delta(passing, stream).is_some());
            if node.measures().iter().any(is_of_input) {
                let needs_whole = needs_whole(node);
                if needs_whole {
                    self.needs_items();
                }
                let leaves = ItemLeaves::new(self, step, passing, None, passing.attributes);
                let amount = leaves.evaluate(node, needs_whole)?;
                self.tell_reduced(base, &amount);
                add(-amount);
            }
        }
        // What counts in another term of a once group does not count here, nor toward the threshold. Who bought it is a
        // customer all the same.
        if counted.is_some() && self.is_left_to_others(step, passing) {
            self.remember_for_later(step, passing);
            counted = None;
        }
        let counts_other =
            base.above.as_ref().and_then(|above| delta(passing, step.input(above.of.as_ref()?)?)).is_some();
        let total = (base.below_zero != BelowZero::Keep).then_some(&base.name);
        let keeps = total.is_some() || base.above.is_some();
        if keeps && (counted.is_some() || counts_other) && self.is_left_by_tails(step, total, passing)? {
            return Ok(None);
        }
        let counted = match counted {
            Some(counted) => counted,
            // What the base does not count may count toward its threshold.
            None if counts_other => {
                return self.above(step, base, Exact::zero(), passing).map(|_| None);
            }
            None => return Ok(None),
        };
        if base.above.is_none() {
            return Ok(Some(counted));
        }
        let is_of_one = matches!(self.telling.drawn.as_slice(), [(_, drawn)] if *drawn == counted);
        let yielded = self.above(step, base, counted, passing)?;
        // What is above a threshold is told of what it was drawn on where that is one.
        match self.telling.drawn.as_mut_slice() {
            [(_, drawn)] if is_of_one => drawn.clone_from(&yielded),
            _ => self.telling.drawn.clear(),
        }
        Ok(Some(yielded))
    }

    /// What a selection takes of what passes.
    fn selected(
        &mut self,
        step: &'a Step<'a>,
        (base, selection): (&'a Base, &'a Selection),
        unit: &Unit,
        passing: &Passing<'_>,
    ) -> Result<Option<Exact>, Stop> {
        if let Source::Of(measure) = &selection.of {
            let amount = self.drawn(step, measure, unit, passing)?.map(Cow::into_owned);
            let is_taken = amount.is_some() && self.takes(step, &selection.filter, passing.attributes, passing.at);
            let amount = amount.filter(|_| is_taken);
            if self.lines.wants_parts() {
                self.telling.drawn.extend(amount.iter().map(|amount| (measure, amount.clone())));
            }
            return Ok(amount);
        }
        let Some(content) = content(step, passing) else { return Ok(None) };
        let amount = match (&selection.of, content, base.basis) {
            (Source::Charges, Content::Usage { quantity, charge, meets_prices }, basis) => {
                if !self.takes(step, &selection.filter, passing.attributes, passing.at) {
                    return Ok(None);
                }
                // Without a price nobody can tell either what is billed or received of a sale.
                if basis != Basis::Occurred {
                    return self.unrated(step, base, charge, passing).map(|()| None);
                }
                self.check_straddling(step, passing, *meets_prices)?;
                if let Some(name) = &selection.valued_at {
                    let price = self.level(step, name, passing.attributes, passing.at)?;
                    let value = self.convert_figure(step, name, quantity * &price, unit, passing.of_and_at());
                    return value.map(Some);
                }
                match charge {
                    Charge::Rated(amount) => amount,
                    unrated => return self.unrated(step, base, unrated, passing).map(|()| None),
                }
            }
            (Source::Billings, Content::Billing { is_alone: false, .. }, Basis::Occurred)
                if self.counts_charges_of(step, base, passing) =>
            {
                return Ok(None);
            }
            (Source::Charges, Content::Billing { amount, .. }, Basis::Invoiced)
            | (Source::Charges, Content::Receipt(amount), Basis::Received)
            | (Source::Billings, Content::Billing { amount, .. }, Basis::Occurred | Basis::Invoiced)
            | (Source::Billings, Content::Receipt(amount), Basis::Received) => amount,
            (Source::Units, Content::Usage { quantity, .. }, _) => {
                if !self.takes(step, &selection.filter, passing.attributes, passing.at) {
                    return Ok(None);
                }
                self.check_straddling(step, passing, false)?;
                return Ok(Some(quantity.clone()));
            }
            (Source::Facts(name), Content::Event { contract, name: happened }, _)
                if **contract == step.agreement.head.id && *happened == name =>
            {
                let counts = self.takes(step, &selection.filter, passing.attributes, passing.at);
                return Ok(counts.then(|| Exact::from_integer(1)));
            }
            _ => return Ok(None),
        };
        if !self.takes(step, &selection.filter, passing.attributes, passing.at) {
            return Ok(None);
        }
        self.convert(step, amount, unit, passing.of_and_at()).map(Some)
    }

    /// Stops at usage that cannot be rated, now or once all that has no price is known.
    fn unrated(
        &mut self,
        step: &Step<'a>,
        base: &Base,
        charge: &Charge<'_>,
        passing: &Passing<'_>,
    ) -> Result<(), Stop> {
        match charge {
            Charge::Rated(_) | Charge::Unsold => Ok(()),
            Charge::NoContext => {
                let item = passing.item.map(|item| item.id.to_string()).unwrap_or_default();
                Err(EngineError::NoContext { contract: step.agreement.head.id.clone(), item }.into())
            }
            Charge::NoPrice => {
                self.miss_price(step, base, passing);
                Ok(())
            }
        }
    }

    fn miss_price(&mut self, step: &Step<'a>, base: &Base, passing: &Passing<'_>) {
        let attributes = &self.attributes[passing.attributes];
        let value = |name| attributes.get(name).unwrap_or_default().to_owned();
        let of = Unpriced {
            product: value(&Attribute::Product),
            meter: value(&Attribute::Meter),
            service_tier: value(&Attribute::ServiceTier),
            deployment: value(&Attribute::Deployment),
        };
        let key = (step.agreement.head.id.clone(), base.name.clone(), of);
        // A sum stands for events that have no names here.
        let event = passing.item.filter(|item| !item.id.id.is_empty()).map(|item| item.id.to_string());
        self.unpriced.entry(key).or_insert((passing.at, event));
    }

    /// Refuses a record of an interval that lies across a boundary, where the contract says so, or tells of it.
    fn check_straddling(&mut self, step: &Step<'a>, passing: &Passing<'_>, meets_prices: bool) -> Result<(), Stop> {
        let Some((item, until)) = passing.item.and_then(|item| Some((item, item.until?))) else { return Ok(()) };
        let place = self.plan.streams[step.stream].agreement;
        let is_within = |at: Instant| item.at < at && at < until;
        let versions = step.agreement.versions.iter().map(|version| version.effective_at);
        let periods = self.period_ends.get(place).into_iter().flatten().copied();
        // Of terms those count that draw on it, through whatever stands between.
        let mut drawing = BTreeSet::from([step.stream]);
        for later in self.steps() {
            if later.streams().any(|of| drawing.contains(&of)) {
                drawing.insert(later.stream);
            }
        }
        let lives = self.streams.iter().zip(self.plan.streams.iter());
        let lives = lives.filter(|(_, (id, it))| it.agreement == place && drawing.contains(id));
        let lives = lives.flat_map(|(state, _)| &state.stretches).flat_map(|it| [it.span.start, it.span.end]);
        let meets = meets_prices || versions.chain(periods).chain(lives).any(is_within);
        let contract = || step.agreement.head.id.clone();
        match step.agreement.head.straddling {
            _ if !meets => Ok(()),
            Straddling::Refuse => {
                Err(EngineError::Straddling { contract: contract(), item: item.id.to_string(), from: item.at, until }
                    .into())
            }
            Straddling::Whole => {
                let event = EventId { source: item.id.source.to_owned(), id: item.id.id.to_owned() };
                let span = Span { start: item.at, end: until };
                self.lines.stands_whole(WholeInterval { contract: contract(), event, span });
                Ok(())
            }
        }
    }

    pub(super) fn selects(&self, step: &Step<'a>, filter: &Filter, of: AttributesId, at: Instant) -> bool {
        filter.selects(|name| self.attribute(step, of, at, name))
    }

    /// What reduces a base of what passes: a deduction at its own date, or what makes an item smaller that counts.
    fn deductions<'p>(&self, step: &Step<'a>, base: &Base, passing: &'p Passing<'_>) -> Vec<&'p Deduction<'p>> {
        match content(step, passing) {
            Some(Content::Deduction(own)) => {
                // The definition in force at the item that it names says whether that counts, and where it stands: an
                // amendment between the two neither doubles nor loses it.
                let governing = own.item_at.map_or(Some(base), |at| step.agreement.in_force(at)?.bases.get(&base.name));
                let stands = |base: &&Base| match base.place_of(own.category) {
                    Some(place) => own.item_at.is_none() || place == Place::OwnDate,
                    None => false,
                };
                let at = own.item_at.unwrap_or(passing.at);
                let counts = |base: &Base| self.counts_named(step, base, own, (at, passing));
                governing.filter(stands).is_some_and(counts).then_some(own).into_iter().collect()
            }
            Some(_) => {
                let there = passing.item.map(|item| item.less.as_slice()).unwrap_or_default();
                let counts = |it: &&Deduction<'_>| {
                    base.place_of(it.category) == Some(Place::Item)
                        && self.counts_named(step, base, it, (passing.at, passing))
                };
                there.iter().filter(counts).collect()
            }
            None => Vec::new(),
        }
    }

    /// Whether a base counted the charges of a billing that passes as they occurred, as it was defined then: what is
    /// invoiced of them does not count once more.
    fn counts_charges_of(&self, step: &Step<'a>, base: &Base, passing: &Passing<'_>) -> bool {
        let at = self.sold_at.unwrap_or(passing.at);
        let then = match self.sold_at {
            Some(at) => step.agreement.in_force(at).and_then(|version| version.bases.get(&base.name)),
            None => Some(base),
        };
        then.filter(|base| base.basis == Basis::Occurred).is_some_and(|base| {
            let mut of_charges = base.select.iter().filter(|selection| selection.of == Source::Charges);
            of_charges.any(|it| self.selects(step, &it.filter, passing.attributes, at))
        })
    }

    /// Whether a base counts what a deduction names, by itself or through bases that it selects, as it did there: that
    /// has the deduction's attributes.
    pub(super) fn counts_named(
        &self,
        step: &Step<'a>,
        base: &Base,
        deduction: &Deduction<'_>,
        (at, passing): (Instant, &Passing<'_>),
    ) -> bool {
        base.select.iter().any(|selection| {
            let is_of_it = match &selection.of {
                Source::Charges => deduction.basis == base.basis,
                Source::Billings if base.basis == Basis::Occurred => {
                    let is_left = deduction.is_of_lone_billing || !self.counts_charges_of(step, base, passing);
                    deduction.basis == Basis::Invoiced && is_left
                }
                Source::Billings => deduction.basis == base.basis,
                Source::Of(Measure::Base(name)) => {
                    let inner = step.agreement.in_force(at).and_then(|version| version.bases.get(name));
                    inner.is_some_and(|inner| self.counts_named(step, inner, deduction, (at, passing)))
                }
                Source::Units | Source::Facts(_) | Source::Of(_) => false,
            };
            is_of_it && self.selects(step, &selection.filter, passing.attributes, at)
        })
    }

    /// The part above a threshold.
    fn above(
        &mut self,
        step: &'a Step<'a>,
        base: &'a Base,
        counted: Exact,
        passing: &Passing<'_>,
    ) -> Result<Exact, Stop> {
        let Some(above) = &base.above else { return Ok(counted) };
        let (known, at) = (self.known, passing.at);
        let bands = self.bands(step, &above.is, passing.attributes, (at, None))?;
        let edge = bands.single().flatten().cloned().unwrap_or_default();
        let group = self.group(&above.per, step, passing.attributes, at);
        let step_of = match above.of.as_ref().and_then(|measure| step.input(measure)) {
            Some(stream) => delta(passing, stream).cloned().unwrap_or_default(),
            None => counted.clone(),
        };
        let Some(state) = self.group_state(step.stream, group) else { return Ok(counted) };
        let counter = &mut state.threshold;
        if !counter.counts(step.agreement, &above.counting, known, at) {
            return Ok(Exact::zero());
        }
        let part = part_above(&counter.count, &step_of, &edge);
        let (is_above, before) = (counter.count > edge, counter.count.clone());
        counter.count += &step_of;
        self.watches.advance(Total::Threshold(step.stream, group), &before, &step_of, [&edge]);
        if above.of.is_none() {
            return Ok(part);
        }
        // A counter other than the base splits an item in proportion to what it adds to the counter.
        let whole = if is_above { counted.clone() } else { Exact::zero() };
        Ok((&counted * &part).checked_div(&step_of).unwrap_or(whole))
    }

    /// An amount in a unit: converted, where it is in another, by the contract's rule.
    pub(super) fn convert(
        &self,
        step: &Step<'a>,
        amount: &InUnit<'_>,
        unit: &Unit,
        place: (AttributesId, Instant),
    ) -> Result<Exact, Stop> {
        // Nothing is nothing in any unit.
        if amount.unit == unit || amount.value.is_zero() {
            return Ok(amount.value.clone());
        }
        if let Some(worth) = worth_of(step, unit) {
            return self.convert_by_worth(step, amount, (unit, worth), place);
        }
        let found = self.known.conversion((step.agreement, step.version), (amount.unit, unit), place.1);
        let found = found.map_err(|missing| missing_fx(step, missing.from, missing.to, missing.asked))?;
        Ok(&amount.value * &found.rate)
    }

    /// Money as a declared unit of which it is stated what one is worth.
    fn convert_by_worth(
        &self,
        step: &Step<'a>,
        amount: &InUnit<'_>,
        (unit, worth): (&Unit, &Worth),
        place: (AttributesId, Instant),
    ) -> Result<Exact, Stop> {
        let own = Unit::Currency(step.agreement.head.currency);
        let (one, of_unit) = match worth {
            Worth::Money { amount, currency } => (Some(amount.clone()), Unit::Currency(*currency)),
            Worth::Measured(Measure::Figure(name)) => {
                let figure = self.figure(step, name, place.0, place.1)?;
                let money = step.version.figures.get(name).and_then(|figure| figure.unit.clone());
                (figure, money.unwrap_or(own))
            }
            Worth::Measured(measure) => (self.come_to(step, measure), own),
        };
        let money = self.convert(step, amount, &of_unit, place)?;
        one.and_then(|one| money.checked_div(&one)).ok_or_else(|| missing_fx(step, of_unit, unit.clone(), None))
    }

    /// A figure that is looked up, in the unit of a step.
    pub(super) fn looked_up(
        &self,
        step: &Step<'a>,
        name: &DefinedTerm,
        (of, at): (AttributesId, Instant),
    ) -> Result<Exact, Stop> {
        let value = self.figure(step, name, of, at)?.unwrap_or_default();
        self.convert_figure(step, name, value, &step.unit, (of, at))
    }

    /// What is in the unit of a figure, in another one; a plain number stays what it is.
    fn convert_figure(
        &self,
        step: &Step<'a>,
        name: &DefinedTerm,
        value: Exact,
        unit: &Unit,
        place: (AttributesId, Instant),
    ) -> Result<Exact, Stop> {
        match step.version.figures.get(name).and_then(|figure| figure.unit.as_ref()) {
            Some(found) => self.convert(step, &InUnit { value, unit: found }, unit, place),
            None => Ok(value),
        }
    }

    pub(super) fn level(
        &self,
        step: &Step<'a>,
        name: &DefinedTerm,
        of: AttributesId,
        at: Instant,
    ) -> Result<Exact, Stop> {
        let level = self.known.level(&step.agreement.head.id, name, &self.attributes[of], at);
        level.cloned().ok_or_else(|| missing_figure(step, name, at))
    }
}

fn missing_fx(step: &Step<'_>, from: Unit, to: Unit, asked: Option<AskedRate>) -> Stop {
    EngineError::MissingFx { contract: step.agreement.head.id.clone(), from, to, asked: asked.map(Box::new) }.into()
}

/// What one of a declared unit is worth, where that is stated.
fn worth_of<'s>(step: &Step<'s>, unit: &Unit) -> Option<&'s Worth> {
    match unit {
        Unit::Declared { name, .. } => step.version.units.get(name)?.worth.as_ref(),
        Unit::Currency(_) => None,
    }
}

/// What a stream yields of what passes.
pub(super) fn delta<'p>(passing: &'p Passing<'_>, stream: super::plan::StreamId) -> Option<&'p Exact> {
    passing.deltas.get(stream)
}
