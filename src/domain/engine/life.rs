//! When each term is in force: by its versions, its own dates, the facts that it waits for, and its tail.

use super::knowledge::Knowledge;
use crate::domain::calendar::Calendar;
use crate::domain::contract::term::Term;
use crate::domain::contract::version::{Agreement, AgreementVersion};
use crate::domain::contract::window::{Anchor, Moment, WindowRule};
use crate::domain::ids::TermId;
use crate::domain::period::{Instant, Span};

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
pub fn versions_in_force(agreement: &Agreement, end: Instant) -> Vec<(Span, usize)> {
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

/// The stretches in which a term is in force, in the order of time.
pub fn stretches(agreement: &Agreement, id: &TermId, known: &Knowledge, end: Instant) -> Vec<Stretch> {
    let mut found = Vec::new();
    for (span, place) in versions_in_force(agreement, end) {
        let Some(version) = agreement.versions.get(place) else { continue };
        let Some(term) = version.terms.iter().find(|term| term.id == *id) else { continue };
        let own = OwnTime::of(agreement, version, term, known);
        let during = match &term.life.during {
            Some(status) => known.status_spans(&agreement.id, status),
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
pub fn instant(agreement: &Agreement, moment: &Moment, known: &Knowledge) -> Option<Instant> {
    match moment {
        Moment::At(at) => Some(*at),
        Moment::Fact(name) => known.first_event(&agreement.id, name),
    }
}

/// The calendar of a window; none for a window of an item or of the whole term, and before its fact has come.
pub fn calendar(agreement: &Agreement, rule: &WindowRule, known: &Knowledge) -> Option<Calendar> {
    match rule {
        WindowRule::Item | WindowRule::Term => None,
        WindowRule::Calendar { months } => Some(Calendar::of_months(*months)),
        WindowRule::Anchored { months, from: Anchor::Date(anchor) } => {
            Some(Calendar::Months { months: *months, anchor: *anchor })
        }
        WindowRule::Anchored { months, from: Anchor::Fact(name) } => {
            let at = known.first_event(&agreement.id, name)?;
            Some(Calendar::Months { months: *months, anchor: at.with_timezone(&agreement.zone).date_naive() })
        }
        WindowRule::Week { first_day } => Some(Calendar::Weeks { first_day: *first_day }),
        WindowRule::Dates(dates) => Some(Calendar::Dates(dates.clone())),
        WindowRule::Period => Some(agreement.period.clone()),
    }
}

/// When a term is in force by itself, whatever the version's time.
struct OwnTime {
    main: Span,
    tail: Option<Span>,
}

impl OwnTime {
    fn of(agreement: &Agreement, version: &AgreementVersion, term: &Term, known: &Knowledge) -> Self {
        let never = Span { start: Instant::MAX_UTC, end: Instant::MAX_UTC };
        let start = match &term.life.from {
            // A length counts from where the term first began, not anew from each version that restates it.
            None => {
                let stating = agreement.versions.iter().filter(|it| it.terms.iter().any(|other| other.id == term.id));
                stating.map(|it| it.effective_at).min().unwrap_or(version.effective_at)
            }
            Some(from) => match instant(agreement, from, known) {
                Some(start) => start,
                None => return Self { main: never, tail: None },
            },
        };
        let moments = version.until.iter().chain(&term.life.until).filter_map(|it| instant(agreement, it, known));
        let lasts = term.life.lasts.map(|lasts| lasts.after(start, agreement.zone));
        let end = moments.chain(lasts).min();
        let tail = end.zip(term.life.tail.as_ref());
        Self {
            main: Span { start, end: end.unwrap_or(Instant::MAX_UTC) },
            tail: tail.map(|(end, tail)| Span { start: end, end: tail.lasts.after(end, agreement.zone) }),
        }
    }
}
