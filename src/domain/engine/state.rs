//! What a run remembers: of each stream, of each of its groups and caps, and of what passes.

use super::Stop;
use super::addend::Addend;
use super::cap::CapState;
use super::counter::Counter;
use super::credit::PaidBack;
use super::item::{AttributesId, Content, Item};
use super::life::Stretch;
use super::minimum::MinimumState;
use super::outcome::Cause;
use super::plan::{CapId, Step, StreamId};
use super::window::OpenWindow;
use crate::domain::contract::term::Cap;
use crate::domain::ids::TermId;
use crate::domain::money::Exact;
use crate::domain::period::{Instant, Span};
use std::collections::{BTreeMap, BTreeSet};

/// A cap, and the values that tell it apart.
pub(super) type CapKey = (CapId, AttributesId);

pub(super) struct CapInForce {
    pub state: CapState<Waiting>,
    pub wording: Cap,
    /// The terms that are under it.
    pub terms: BTreeSet<TermId>,
    /// The boundary at which it was last brought up to date.
    pub as_of: u64,
}

impl CapInForce {
    /// Whether it is still worded so, and over the same terms.
    pub fn says(&self, wording: &Cap, terms: &BTreeSet<TermId>) -> bool {
        self.wording == *wording && self.terms == *terms
    }
}

/// A term whose excess waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub stream: StreamId,
    pub group: AttributesId,
}

/// What a stream has come to.
#[derive(Default)]
pub(super) struct StreamState {
    /// Of a term: when it is in force.
    pub stretches: Vec<Stretch>,
    pub lives: Vec<Span>,
    /// Of a term: whether others recoup it as they accrue, or set it off at the end of the settlement period alone.
    pub paid_back: Option<PaidBackWhen>,
    pub groups: BTreeMap<AttributesId, Group>,
    /// Of a term: whether a version lets it go on after its end for its earlier customers.
    pub has_earlier_customers: bool,
    /// Whether some term of its agreement goes on after its end with some items alone.
    pub has_narrow_tail: bool,
    /// Customers that bought what the term counts before its end.
    pub customers: BTreeSet<String>,
}

impl StreamState {
    /// Of a term: by which of its stretches it is in force at an instant.
    pub fn stretch_at(&self, at: Instant) -> Option<&Stretch> {
        self.stretches.iter().find(|stretch| stretch.span.contains(at))
    }
}

/// What a stream has come to for one set of values.
#[derive(Default)]
pub(super) struct Group {
    pub tiers: Counter,
    pub threshold: Counter,
    /// Of a gauge: what its measures come to.
    pub gauged: [Counter; 2],
    pub blocks: Exact,
    /// Of a base that is decided on its total: this period's, and what earlier ones carried.
    pub period: Exact,
    pub carried: Exact,
    pub window: Option<OpenWindow>,
    /// What the last window came to, or the open one at the end of the last period.
    pub of_window: Option<Exact>,
    pub minimum_window: Option<OpenWindow>,
    pub minimum: MinimumState,
    /// What has accrued in all.
    pub accrued: Exact,
    /// What of that counts toward a cap, if there is one: all but what stands outside of it.
    pub capped: Exact,
    /// What the measures of its minimum have come to.
    pub spent: Exact,
    /// All as they were at earlier instants.
    pub marks: Vec<Mark>,
    pub paid_back: PaidBack,
    /// What has accrued in the settlement period, and may be set off against what is owed the other way.
    pub to_set_off: Exact,
    /// What has accrued in the settlement period, and others may set off.
    pub owed: Exact,
}

/// When a term is paid back by others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PaidBackWhen {
    AsTheyAccrue,
    AtPeriodEnd,
}

/// What had accrued at an instant, what of that counts toward a cap, and what was spent.
pub(super) struct Mark {
    at: Instant,
    accrued: Exact,
    capped: Exact,
    spent: Exact,
}

impl Group {
    /// What is owed of a period that ends is to be paid back, all of it at once.
    pub fn take_owed(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        if !owed.is_zero() {
            self.paid_back.pay(&owed);
        }
    }

    pub fn mark(&mut self, at: Instant) {
        let (accrued, capped, spent) = (self.accrued.clone(), self.capped.clone(), self.spent.clone());
        self.marks.push(Mark { at, accrued, capped, spent });
    }

    /// What has accrued since an instant; where that was never marked, in all.
    pub fn accrued_since(&self, since: Instant) -> Exact {
        self.marked(since).map_or_else(|| self.accrued.clone(), |mark| &self.accrued - &mark.accrued)
    }

    /// What of that counts toward a cap.
    pub fn capped_since(&self, since: Instant) -> Exact {
        self.marked(since).map_or_else(|| self.capped.clone(), |mark| &self.capped - &mark.capped)
    }

    /// What was spent since an instant.
    pub fn spent_since(&self, since: Instant) -> Exact {
        self.marked(since).map_or_else(|| self.spent.clone(), |mark| &self.spent - &mark.spent)
    }

    fn marked(&self, since: Instant) -> Option<&Mark> {
        self.marks.iter().rev().find(|mark| mark.at <= since)
    }
}

/// Something on its way through the streams: an item, or what a stream yields by itself.
pub(super) struct Passing<'i> {
    /// What comes of it has its number.
    pub number: u64,
    pub at: Instant,
    pub attributes: AttributesId,
    pub item: Option<&'i Item<'i>>,
    pub cause: Cause<'i>,
    /// What each stream yields of it, so far.
    pub deltas: Deltas,
    /// The groups of terms in which a term has taken it, and which.
    pub taken: Vec<(usize, String, TermId)>,
    /// What keeps it for terms of once groups: it counts there, and they have something of it later.
    pub kept: Vec<StreamId>,
    /// Bases that cannot count it for want of a rate: that stops the terms in force that draw on them.
    pub lacking: Vec<(StreamId, Stop)>,
}

impl Passing<'_> {
    /// What tells it apart, and when it stands.
    pub fn of_and_at(&self) -> (AttributesId, Instant) {
        (self.attributes, self.at)
    }
}

/// An accrual on its way to the books.
pub(super) struct Wanted<'w> {
    pub group: AttributesId,
    pub at: Instant,
    pub cause: Cause<'w>,
    pub base: Exact,
    pub amount: Exact,
    /// What that is made of, where somebody wants to know.
    pub addends: Vec<Addend>,
    pub is_outside_cap: bool,
}

impl<'w> Wanted<'w> {
    /// What comes about by itself, of no base and of nothing yet.
    pub fn of_nothing(group: AttributesId, at: Instant, cause: Cause<'w>) -> Self {
        let (base, amount, addends) = (Exact::zero(), Exact::zero(), Vec::new());
        Self { group, at, cause, base, amount, addends, is_outside_cap: false }
    }

    /// What others paid back of a term: so much less is owed.
    pub fn paid_back(group: AttributesId, at: Instant, paid: Exact) -> Self {
        Self { amount: -paid, is_outside_cap: true, ..Self::of_nothing(group, at, Cause::PaidBack) }
    }
}

/// What the item that passes is made of, where the contract does not leave it out.
pub(super) fn content<'i>(step: &Step<'_>, passing: &Passing<'i>) -> Option<&'i Content<'i>> {
    passing.item.filter(|item| item.counts_for.includes(&step.agreement.head.id)).map(|item| &item.content)
}

/// What streams yield of what passes.
#[derive(Default)]
pub(super) struct Deltas {
    by_stream: Vec<Option<Exact>>,
    yielded: Vec<StreamId>,
}

impl Deltas {
    #[inline]
    pub fn get(&self, stream: StreamId) -> Option<&Exact> {
        self.by_stream.get(stream.place())?.as_ref()
    }

    /// What yielded first: of what a stream yields by itself, that stream.
    pub fn first(&self) -> Option<StreamId> {
        self.yielded.first().copied()
    }

    #[inline]
    pub fn set(&mut self, stream: StreamId, amount: Exact) {
        if self.by_stream.len() <= stream.place() {
            self.by_stream.resize(stream.place().saturating_add(1), None);
        }
        if let Some(delta) = self.by_stream.get_mut(stream.place()) {
            *delta = Some(amount);
            self.yielded.push(stream);
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        for stream in self.yielded.drain(..) {
            if let Some(delta) = self.by_stream.get_mut(stream.place()) {
                *delta = None;
            }
        }
    }
}
