//! When each term is in force: by its versions, its own dates, the facts that it waits for, and its tail.

use super::item::Attributes;
use super::knowledge::Knowledge;
use crate::domain::calendar::Calendar;
use crate::domain::contract::beside::VersionEnd;
use crate::domain::contract::selector::Attribute;
use crate::domain::contract::term::Life;
use crate::domain::contract::window::{Anchor, Moment, WindowRule};
use crate::domain::contract::{Contract, Version};
use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::period::{Instant, Span, last_instant_before, local_date};

/// A stretch of time in which one version's wording of a term is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub span: Span,
    /// The version's place in the agreement.
    pub version: usize,
    /// After the term's end, under its tail.
    pub is_tail: bool,
}

/// The spans in which each version of an agreement is in force, in the order of time, up to `end`.
pub fn versions_in_force(agreement: &Contract, end: Instant) -> Vec<(Span, usize)> {
    let mut starts: Vec<Instant> = agreement.versions.iter().map(|version| version.effective_at).collect();
    starts.sort();
    starts.dedup();
    let ends = starts.iter().copied().skip(1).chain([end]);
    let spans = starts.iter().zip(ends).map(|(start, end)| Span { start: *start, end }).filter(|it| it.start < it.end);
    let mut found: Vec<(Span, usize)> = Vec::new();
    for span in spans {
        let Some(version) = agreement.versions.iter().rposition(|it| it.effective_at <= span.start) else { continue };
        match found.last_mut().filter(|(_, last)| *last == version) {
            Some((last, _)) => last.end = span.end,
            None => found.push((span, version)),
        }
    }
    found
}

/// A term or an amount, by its name.
pub enum Named<'n> {
    Term(&'n TermId),
    Amount(&'n DefinedTerm),
}

impl Named<'_> {
    fn life<'v>(&self, version: &'v Version) -> Option<&'v Life> {
        match self {
            Self::Term(id) => version.terms.iter().find(|term| term.id == **id).map(|term| &term.life),
            Self::Amount(name) => version.amounts.get(*name).map(|amount| &amount.life),
        }
    }
}

/// The stretches in which a term or amount is in force, in the order of time.
pub fn stretches(agreement: &Contract, named: &Named<'_>, known: &Knowledge) -> Vec<Stretch> {
    let mut found = Vec::new();
    for (span, place) in versions_in_force(agreement, Span::ever().end) {
        let Some(version) = agreement.versions.get(place) else { continue };
        let Some(life) = named.life(version) else { continue };
        let own = OwnTime::of(agreement, version, named, life, known);
        let during = match &life.during {
            Some(status) => known.status_spans(&agreement.head.id, status),
            None => vec![span],
        };
        let parts = during.into_iter().filter_map(|during| during.intersection(own.main)?.intersection(span));
        found.extend(parts.map(|span| Stretch { span, version: place, is_tail: false }));
        let tail = own.tail.and_then(|tail| tail.intersection(span));
        found.extend(tail.map(|span| Stretch { span, version: place, is_tail: true }));
    }
    found.sort_by_key(|stretch| stretch.span.start);
    found
}

/// The lives of a term: stretches that follow each other without a gap. A term that comes back begins anew.
pub fn lives(stretches: &[Stretch]) -> Vec<Span> {
    let mut lives: Vec<Span> = Vec::new();
    for stretch in stretches.iter().filter(|stretch| !stretch.is_tail) {
        match lives.last_mut().filter(|life| life.end == stretch.span.start) {
            Some(life) => life.end = stretch.span.end,
            None => lives.push(stretch.span),
        }
    }
    lives
}

/// When a moment is; none for a fact that has not come.
pub fn instant(agreement: &Contract, moment: &Moment, known: &Knowledge) -> Option<Instant> {
    match moment {
        Moment::At(at) => Some(*at),
        Moment::Fact(name) => known.first_event(&agreement.head.id, name),
    }
}

/// The calendar of a window; none for a window of an item or of the whole term, and before its fact has come.
pub fn calendar(agreement: &Contract, rule: &WindowRule, known: &Knowledge) -> Option<Calendar> {
    match rule {
        WindowRule::Item | WindowRule::Term => None,
        WindowRule::Calendar { months } => Some(Calendar::of_months(*months)),
        WindowRule::Anchored { months, from: Anchor::Date(anchor) } => {
            Some(Calendar::Months { months: *months, anchor: *anchor })
        }
        WindowRule::Anchored { months, from: Anchor::Fact(name) } => {
            let at = known.first_event(&agreement.head.id, name)?;
            Some(Calendar::Months { months: *months, anchor: local_date(at, agreement.head.zone) })
        }
        WindowRule::Week { first_day } => Some(Calendar::Weeks { first_day: *first_day }),
        WindowRule::Dates(dates) => Some(Calendar::Dates(dates.clone())),
        WindowRule::Period => Some(agreement.head.settlement.clone()),
    }
}

/// When a version ends by itself: the first of its rows whose facts hold then.
fn version_end(agreement: &Contract, version: &Version, known: &Knowledge) -> Option<Instant> {
    let nothing = Attributes::default();
    let holds = |end: &&VersionEnd| {
        let at = last_instant_before(end.end);
        end.when.selects(|name| match name {
            Attribute::Fact(fact) => {
                let fact = version.facts.get_key_value(fact)?;
                known.fact_value(&agreement.head.id, fact, agreement.head.zone, &nothing, at)
            }
            _ => None,
        })
    };
    version.end.iter().find(holds).map(|end| end.end)
}

/// When a term is in force by itself, whatever the version's time.
struct OwnTime {
    main: Span,
    tail: Option<Span>,
}

impl OwnTime {
    fn of(agreement: &Contract, version: &Version, named: &Named<'_>, life: &Life, known: &Knowledge) -> Self {
        let never = Span { start: Instant::MAX_UTC, end: Instant::MAX_UTC };
        let from: Option<Vec<Instant>> = life.from.iter().map(|it| instant(agreement, it, known)).collect();
        let Some(from) = from else { return Self { main: never, tail: None } };
        let start = from.into_iter().max().unwrap_or_else(|| {
            // A length counts from where the term first began, not anew from each version that restates it.
            let stating = agreement.versions.iter().filter(|it| named.life(it).is_some());
            stating.map(|it| it.effective_at).min().unwrap_or(version.effective_at)
        });
        let moments = life.until.iter().filter_map(|it| instant(agreement, it, known));
        let moments = moments.chain(version_end(agreement, version, known));
        let lasts = life.lasts.map(|lasts| lasts.after(start, agreement.head.zone));
        let end = moments.chain(lasts).min();
        // What never was in force does not go on.
        let tail = end.filter(|end| start < *end).zip(life.tail.as_ref());
        Self {
            main: Span { start, end: end.unwrap_or(Instant::MAX_UTC) },
            tail: tail.map(|(end, tail)| Span { start: end, end: tail.lasts.after(end, agreement.head.zone) }),
        }
    }
}
