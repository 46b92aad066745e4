//! Sheets: what a report says as tables, for people and for spreadsheets.

use super::answer::{Answer, Crossing, Entitled, EntitledPeriod, Finding};
use super::charges::Charge;
use super::report::{Account, Answered, By, CaseReport, Difference, PartyUnit, Report};
use super::step::Step;
use super::uncounted::Uncounted;
use crate::domain::ids::TermId;
use crate::domain::money::{Exact, Unit};
use crate::domain::names::names;
use crate::domain::period::Instant;
use std::collections::BTreeMap;

names! {
    /// What can be shown of a run.
    #[derive(Hash)]
    SheetKind as "sheet" {
        /// What was asked, and whether there is an answer.
        Steps = "steps",
        /// What was booked.
        Booked = "booked",
        /// How each term comes to what is owed: base, cap, rounding.
        Owed = "owed",
        /// Where caps are reached.
        Crossings = "crossings",
        /// What each party receives and owes.
        Parties = "parties",
        /// Usage that breaks a right.
        Breaches = "breaches",
        /// What each event costs, and which records do not count.
        Charges = "charges",
        /// From when to when periods are.
        Periods = "periods",
        /// What counts in no amount.
        Uncounted = "uncounted",
        /// What other cases make different, by term and by party.
        Differences = "differences",
    }
}

/// A table with a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub kind: SheetKind,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    /// A number that is not rounded.
    Exact(Exact),
    /// A rounded amount.
    Amount(Exact, Unit),
    Nothing,
}

impl Cell {
    fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Exact(_) | Self::Amount(..))
    }
}

impl Report {
    /// A sheet of every case, with or without rows; of differences that of all cases.
    pub fn sheets(&self, kind: SheetKind) -> Vec<(&str, Sheet)> {
        match kind {
            SheetKind::Differences => vec![("", differences(self))],
            _ => self.cases.iter().map(|case| (case.name.as_str(), case.sheet(kind, self.by))).collect(),
        }
    }
}

impl CaseReport {
    fn sheet(&self, kind: SheetKind, by: By) -> Sheet {
        let (columns, rows): (&[&str], _) = match kind {
            SheetKind::Steps => (&["step", "what", "answer", "why"], rows(&self.steps, asked)),
            SheetKind::Booked if by == By::Period => (
                &["step", "contract", "settled", "owed for", "term", "payer", "payee", "booked", "unit"],
                rows(&self.steps, booked),
            ),
            SheetKind::Booked => {
                (&["contract", "owed for", "term", "payer", "payee", "booked", "unit"], self.booked_in_sum())
            }
            SheetKind::Owed => (OWED, rows(&self.steps, |step| owed(step, by))),
            SheetKind::Crossings => (
                &["step", "contract", "term", "period", "at", "item", "found room", "found none", "unit"],
                rows(&self.steps, crossings),
            ),
            SheetKind::Parties => (&["party", "period", "receives", "owes", "net", "unit"], self.by_party()),
            SheetKind::Breaches => (
                &["step", "contract", "right", "on breach", "state", "events", "first", "last", "why"],
                rows(&self.steps, breaches),
            ),
            SheetKind::Charges => (&["step", "event", "what", "amount", "unit"], rows(&self.steps, charges)),
            SheetKind::Periods => {
                (&["step", "contract", "period", "start", "end", "hours"], rows(&self.steps, periods))
            }
            SheetKind::Uncounted => return uncounted(&self.uncounted),
            SheetKind::Differences => (&[], Vec::new()),
        };
        Sheet { kind, columns: columns.iter().map(ToString::to_string).collect(), rows }
    }

    fn booked_in_sum(&self) -> Vec<Vec<Cell>> {
        let row = |it: &super::report::Amount| {
            let Account { contract, term, payer, payee, unit } = &it.account;
            let mut row = vec![Cell::text(contract), Cell::text(&it.period)];
            row.extend([Cell::text(term), Cell::text(payer), Cell::text(payee)]);
            row.extend([Cell::Amount(it.amount.clone(), unit.clone()), Cell::text(unit)]);
            row
        };
        self.booked.iter().map(row).collect()
    }

    fn by_party(&self) -> Vec<Vec<Cell>> {
        let row = |it: &super::report::PartyAmount| {
            let PartyUnit { party, unit } = &it.party;
            let amount = |amount: &Exact| Cell::Amount(amount.clone(), unit.clone());
            let amounts = [amount(&it.receives), amount(&it.owes), amount(&it.net()), Cell::text(unit)];
            [Cell::text(party), Cell::text(&it.period)].into_iter().chain(amounts).collect()
        };
        self.parties.iter().map(row).collect()
    }
}

fn rows(steps: &[Answered], of: impl Fn(&Answered) -> Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    let numbered = |step: &Answered| {
        let number = step.number;
        let with = move |row: Vec<Cell>| std::iter::once(Cell::text(number)).chain(row).collect();
        of(step).into_iter().map(with).collect::<Vec<_>>()
    };
    steps.iter().flat_map(numbered).collect()
}

impl Step {
    /// What it asks, for people.
    pub fn in_words(&self) -> String {
        match self {
            Self::Settle { contract, period, cutoff } => {
                format!("settle {contract} {period} as known at {}", shown(*cutoff))
            }
            Self::Close { contract, period } => format!("close {contract} {period}"),
            Self::Entitlement { contract, through, known_at } => {
                format!("entitlement of {contract} through {through} as known at {}", shown(*known_at))
            }
            Self::Findings { contract, through, known_at } => {
                format!("findings of {contract} through {through} as known at {}", shown(*known_at))
            }
            Self::Charges { known_at } => format!("charges as known at {}", shown(*known_at)),
            Self::Period { contract, period } => format!("period {period} of {contract}"),
        }
    }

    fn contract(&self) -> Cell {
        match self {
            Self::Settle { contract, .. }
            | Self::Close { contract, .. }
            | Self::Entitlement { contract, .. }
            | Self::Findings { contract, .. }
            | Self::Period { contract, .. } => Cell::text(contract),
            Self::Charges { .. } => Cell::Nothing,
        }
    }
}

/// An instant with all that is not zero of it.
fn shown(at: Instant) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn asked(step: &Answered) -> Vec<Vec<Cell>> {
    let (answer, why) = match &step.answer {
        Answer::Settled { not_agreed: Some(why), .. } => ("nothing agreed", Cell::text(why)),
        Answer::Settled { .. } => ("settled", Cell::Nothing),
        Answer::Closed => ("closed", Cell::Nothing),
        Answer::Failed { code, message, .. } => (*code, Cell::text(message)),
        Answer::Entitled { .. } | Answer::Findings { .. } | Answer::Charges(_) | Answer::Period { .. } => {
            ("told", Cell::Nothing)
        }
    };
    vec![vec![Cell::text(step.step.in_words()), Cell::text(answer), why]]
}

fn booked(step: &Answered) -> Vec<Vec<Cell>> {
    let Answer::Settled { settlements, .. } = &step.answer else { return Vec::new() };
    let mut rows = Vec::new();
    for settlement in settlements {
        for it in &settlement.booked {
            for (origin, amount) in &it.lines {
                let mut row = vec![step.step.contract(), Cell::text(&settlement.period), Cell::text(origin)];
                row.extend([Cell::text(&it.term), Cell::text(&it.payer), Cell::text(&it.payee)]);
                row.extend([Cell::Amount(amount.clone(), it.unit.clone()), Cell::text(&it.unit)]);
                rows.push(row);
            }
        }
    }
    rows
}

/// The terms that a step tells of.
fn terms(step: &Answered) -> Option<&BTreeMap<TermId, Entitled>> {
    match &step.answer {
        Answer::Settled { terms, .. } | Answer::Entitled { terms } => Some(terms),
        _ => None,
    }
}

const OWED: &[&str] = &[
    "step",
    "contract",
    "term",
    "period",
    "base",
    "before the cap",
    "accrued",
    "rounded",
    "unit",
    "cap before",
    "cap after",
    "cap",
    "shortfall",
    "paid back",
];

fn owed(step: &Answered, by: By) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (term, it) in terms(step).into_iter().flatten() {
        let mut sums: BTreeMap<String, EntitledPeriod> = BTreeMap::new();
        for (period, one) in &it.periods {
            let name = by.of(period);
            match sums.get_mut(&name) {
                Some(sum) => sum.add(one),
                None => drop(sums.insert(name, one.clone())),
            }
        }
        for (period, sum) in sums {
            let unit = it.unit.as_ref();
            let rounded =
                |amount: Exact| unit.map_or(Cell::Exact(amount.clone()), |unit| Cell::Amount(amount, unit.clone()));
            let mut row = vec![step.step.contract(), Cell::text(term), Cell::text(period)];
            row.extend([Cell::Exact(sum.base), Cell::Exact(sum.uncapped), Cell::Exact(sum.accrued)]);
            row.extend([rounded(sum.rounded), unit.map_or(Cell::Nothing, Cell::text)]);
            match sum.cap {
                Some(cap) => row.extend([cap.before, cap.after, cap.limit].map(Cell::Exact)),
                None => row.extend([Cell::Nothing, Cell::Nothing, Cell::Nothing]),
            }
            row.extend([sum.shortfall, sum.paid_back].map(unless_zero));
            rows.push(row);
        }
    }
    rows
}

fn unless_zero(amount: Exact) -> Cell {
    if amount.is_zero() { Cell::Nothing } else { Cell::Exact(amount) }
}

impl EntitledPeriod {
    /// With the period after it.
    fn add(&mut self, next: &Self) {
        self.base += &next.base;
        self.uncapped += &next.uncapped;
        self.paid_back += &next.paid_back;
        self.accrued += &next.accrued;
        self.rounded += &next.rounded;
        self.shortfall += &next.shortfall;
        match (&mut self.cap, &next.cap) {
            (Some(cap), Some(next)) => (cap.limit, cap.after) = (next.limit.clone(), next.after.clone()),
            (cap @ None, Some(next)) => *cap = Some(next.clone()),
            (_, None) => {}
        }
        self.versions.extend(&next.versions);
        self.versions.sort_unstable();
        self.versions.dedup();
    }
}

fn crossings(step: &Answered) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (term, it) in terms(step).into_iter().flatten() {
        for Crossing { item, period, at, found_room, found_none } in &it.crossings {
            let mut row = vec![step.step.contract(), Cell::text(term), Cell::text(period), Cell::text(shown(*at))];
            row.push(item.as_ref().map_or_else(|| Cell::text("the amount of a window"), Cell::text));
            row.extend([Cell::Exact(found_room.clone()), Cell::Exact(found_none.clone())]);
            row.push(it.unit.as_ref().map_or(Cell::Nothing, Cell::text));
            rows.push(row);
        }
    }
    rows
}

/// Those of one right and reason together.
fn breaches(step: &Answered) -> Vec<Vec<Cell>> {
    let (Answer::Settled { findings, .. } | Answer::Findings { findings }) = &step.answer else { return Vec::new() };
    let mut groups: BTreeMap<[String; 4], Vec<&Finding>> = BTreeMap::new();
    for it in findings {
        let of = [it.right.to_string(), it.on_breach.name().to_owned(), it.state.to_string(), it.why.to_string()];
        groups.entry(of).or_default().push(it);
    }
    let row = |([right, on_breach, state, why], found): ([String; 4], Vec<&Finding>)| {
        let at = |it: Option<&&Finding>| it.map_or(Cell::Nothing, |it| Cell::text(shown(it.occurred_at)));
        let mut row = vec![step.step.contract(), Cell::Text(right), Cell::Text(on_breach), Cell::Text(state)];
        row.push(Cell::Exact(i64::try_from(found.len()).map_or_else(|_| Exact::zero(), Exact::from_integer)));
        row.extend([at(found.first()), at(found.last()), Cell::Text(why)]);
        row
    };
    groups.into_iter().map(row).collect()
}

fn charges(step: &Answered) -> Vec<Vec<Cell>> {
    let Answer::Charges(told) = &step.answer else { return Vec::new() };
    let mut rows = Vec::new();
    let nothing = |id: &dyn ToString, what: String| {
        vec![Cell::Text(id.to_string()), Cell::Text(what), Cell::Nothing, Cell::Nothing]
    };
    for event in &told.charges {
        match &event.charge {
            Charge::Rated { amounts, without_price } => {
                let charge = |(currency, amount): (_, &Exact)| {
                    vec![Cell::text(&event.id), Cell::text("charge"), Cell::Exact(amount.clone()), Cell::text(currency)]
                };
                rows.extend(amounts.iter().map(charge));
                rows.extend(without_price.iter().map(|meter| nothing(&event.id, format!("no price of {meter}"))));
            }
            Charge::Unsold => rows.push(nothing(&event.id, "not sold".to_owned())),
            Charge::Unresolved => rows.push(nothing(&event.id, "names that no register has".to_owned())),
        }
    }
    rows.extend(told.conflicts.iter().map(|it| nothing(&it.id, "conflicts with what stands".to_owned())));
    rows.extend(told.rejected.iter().map(|it| nothing(&it.what.id, format!("rejected: {}", it.reason))));
    rows.extend(told.waiting.iter().map(|it| nothing(&it.what.id, format!("waits for {}", it.waits_for))));
    rows
}

fn periods(step: &Answered) -> Vec<Vec<Cell>> {
    let (Answer::Period { start, end, hours }, Step::Period { period, .. }) = (&step.answer, &step.step) else {
        return Vec::new();
    };
    let span = [Cell::text(shown(*start)), Cell::text(shown(*end)), Cell::Exact(hours.clone())];
    vec![[step.step.contract(), Cell::text(period)].into_iter().chain(span).collect()]
}

/// What does not count, that of one kind and reason together.
pub fn uncounted(all: &[Uncounted]) -> Sheet {
    let mut groups: Vec<(&Uncounted, i64)> = Vec::new();
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for it in all {
        let group = known.entry((it.kind, it.outcome, &it.why)).or_insert(groups.len());
        match groups.get_mut(*group) {
            Some((_, entries)) => *entries = entries.saturating_add(1),
            None => groups.push((it, 1)),
        }
    }
    let row = |(first, entries): (&Uncounted, i64)| {
        vec![
            Cell::text(first.kind),
            Cell::Exact(Exact::from_integer(entries)),
            Cell::text(&first.id),
            first.place.as_ref().map_or(Cell::Nothing, Cell::text),
            Cell::text(first.outcome),
            Cell::text(&first.why),
        ]
    };
    let columns = ["what", "entries", "first", "where", "outcome", "why"].map(str::to_owned).to_vec();
    Sheet { kind: SheetKind::Uncounted, columns, rows: groups.into_iter().map(row).collect() }
}

/// Amounts side by side: first of terms, then of parties.
fn differences(report: &Report) -> Sheet {
    let mut columns: Vec<String> =
        ["contract", "term", "who", "period", "unit"].into_iter().map(str::to_owned).collect();
    for case in &report.cases {
        columns.push(case.name.clone());
        if let Some(other) = &case.compared_with {
            columns.push(format!("less {other}"));
        }
    }
    let of_term = |it: &Difference<Account>| {
        let Account { contract, term, payer, payee, unit } = &it.of;
        let who = Cell::Text(format!("{payer} owes {payee}"));
        row(vec![Cell::text(contract), Cell::text(term), who], it, unit)
    };
    let of_party = |it: &Difference<PartyUnit>| {
        let who = Cell::Text(format!("{} receives, less what it owes", it.of.party));
        row(vec![Cell::Nothing, Cell::Nothing, who], it, &it.of.unit)
    };
    let terms = report.differences.iter().map(of_term);
    let rows = terms.chain(report.party_differences.iter().map(of_party)).collect();
    Sheet { kind: SheetKind::Differences, columns, rows }
}

fn row<K>(mut row: Vec<Cell>, of: &Difference<K>, unit: &Unit) -> Vec<Cell> {
    row.push(Cell::text(of.period.as_deref().unwrap_or("total")));
    row.push(Cell::text(unit));
    let amount = |amount: &Exact| Cell::Amount(amount.clone(), unit.clone());
    for case in &of.cases {
        row.push(amount(&case.amount));
        row.extend(case.less.as_ref().map(amount));
    }
    row
}
