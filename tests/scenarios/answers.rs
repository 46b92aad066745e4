//! What a run of a scenario answers, whoever ran it: steps in order, and everything that was booked.

use crate::translate::Asked;
use apportion::domain::money::{Exact, Rounding};
use apportion::domain::period::Instant;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A run of a scenario.
#[derive(Default)]
pub struct Answers {
    /// What the loader said, where it refused the contracts; then there are no steps.
    pub refused: Option<String>,
    pub steps: Vec<Answer>,
    /// By contract and `term|payer|payee|currency`, the sum of everything booked.
    pub booked_in_all: BTreeMap<String, BTreeMap<String, Exact>>,
}

pub enum Answer {
    /// Every period that the step settled, the named one last: those before it are closed at the same cutoff.
    Settled {
        settlements: Vec<Settlement>,
        findings: Vec<Finding>,
    },
    Closed,
    /// Nothing was booked; the code says why: `period_closed`, `out_of_order`, `missing_fx` and others.
    Failed {
        code: String,
    },
    Entitled {
        terms: BTreeMap<String, Entitled>,
    },
    Findings(Vec<Finding>),
    Charges(Charges),
    Period {
        start: Instant,
        end: Instant,
    },
    /// Rounded amounts, or the parts of one, each with its name if it has one.
    Amounts(Vec<(String, Exact)>),
}

#[derive(Clone)]
pub struct Settlement {
    pub period: String,
    pub booked: Vec<Booked>,
    /// By `payer|payee|currency`.
    pub statements: BTreeMap<String, Exact>,
}

/// What a settlement books for a term and payee; the key is `term/payee` where a term has several.
#[derive(Clone)]
pub struct Booked {
    pub term: String,
    pub payer: String,
    pub payee: String,
    pub currency: String,
    /// By origin period.
    pub lines: BTreeMap<String, Exact>,
}

#[derive(Clone)]
pub struct Finding {
    pub term: String,
    pub event: String,
    pub occurred_at: Instant,
    pub code: String,
    pub consequence: String,
    pub state: String,
}

#[derive(Default)]
pub struct Entitled {
    pub periods: BTreeMap<String, EntitledPeriod>,
    pub cumulative: Exact,
    pub crossings: Vec<Crossing>,
    pub zero_after_cap: Vec<String>,
}

pub struct EntitledPeriod {
    pub base: Exact,
    pub uncapped: Exact,
    pub accrued: Exact,
    pub rounded: Exact,
    /// Before and after, where there is a cap.
    pub cap: Option<(Exact, Exact)>,
}

pub struct Crossing {
    pub event: String,
    pub at: Instant,
    pub shared: Exact,
    pub unshared: Exact,
}

#[derive(Default)]
pub struct Charges {
    /// By event and currency.
    pub charges: BTreeMap<String, BTreeMap<String, Exact>>,
    pub conflicts: Vec<Listed>,
    pub rejected: Vec<Listed>,
    pub waiting: Vec<Listed>,
}

/// A record that does not count.
pub struct Listed {
    pub id: String,
    pub recorded_at: Instant,
    /// Why it was rejected, or for what it waits.
    pub reason: Option<String>,
}

/// Answers what asks for nothing but rounding.
pub fn rounded(asked: &Asked) -> Option<Answer> {
    let Asked::Round { amounts, digits, mode } = asked else { return None };
    let mode = mode_named(mode)?;
    let round = |text: &String| Some((String::new(), text.parse::<Exact>().ok()?.round(*digits, mode)));
    amounts.iter().map(round).collect::<Option<Vec<_>>>().map(Answer::Amounts)
}

fn mode_named(name: &str) -> Option<Rounding> {
    serde_json::from_value(json!(name)).ok()
}

impl Answer {
    /// In the form of the scenario's `hand`.
    pub fn json(&self) -> Value {
        match self {
            Self::Settled { settlements, findings } => settled(settlements, findings),
            Self::Closed => json!({ "op": "close" }),
            Self::Failed { code } => json!({ "error": code }),
            Self::Entitled { terms } => {
                let terms: Map<_, _> = terms.iter().map(|(term, it)| (term.clone(), it.json())).collect();
                json!({ "op": "entitlement", "terms": terms })
            }
            Self::Findings(findings) => json!({ "op": "findings", "findings": all(findings, Finding::json) }),
            Self::Charges(charges) => json!({
                "op": "charges",
                "charges": charges.charges,
                "conflicts": all(&charges.conflicts, Listed::json),
                "rejected": all(&charges.rejected, Listed::json),
                "waiting": all(&charges.waiting, Listed::json),
            }),
            Self::Period { start, end } => {
                let micros = end.timestamp_micros() - start.timestamp_micros();
                json!({ "op": "period", "start": start, "end": end, "hours": Exact::ratio(micros, 3_600_000_000) })
            }
            Self::Amounts(amounts) => {
                let named: Map<_, _> = amounts.iter().map(|(name, it)| (name.clone(), json!(it))).collect();
                let listed: Vec<&Exact> = amounts.iter().map(|(_, amount)| amount).collect();
                json!({ "one": listed.first(), "list": listed, "named": named })
            }
        }
    }
}

fn all<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

/// The sum of the settlements of one step: the hand's figures are of the named period with those before it.
fn settled(settlements: &[Settlement], findings: &[Finding]) -> Value {
    let named = settlements.last().map(|it| it.period.clone()).unwrap_or_default();
    let mut booked: BTreeMap<(String, String), Booked> = BTreeMap::new();
    let mut statements: BTreeMap<&String, Exact> = BTreeMap::new();
    for settlement in settlements {
        for it in &settlement.booked {
            let key = (it.term.clone(), it.payee.clone());
            let sum = booked.entry(key).or_insert_with(|| Booked { lines: BTreeMap::new(), ..it.clone() });
            for (origin, amount) in &it.lines {
                *sum.lines.entry(origin.clone()).or_default() += amount;
            }
        }
        for (key, total) in &settlement.statements {
            *statements.entry(key).or_default() += total;
        }
    }
    let mut terms = Map::new();
    for ((key, _), mut it) in booked {
        it.lines.retain(|_, amount| !amount.is_zero());
        // A term with nothing to book is absent.
        if !it.lines.is_empty() {
            terms.insert(key, it.json(&named));
        }
    }
    json!({ "op": "settle", "terms": terms, "statements": statements, "findings": all(findings, Finding::json) })
}

impl Booked {
    fn json(&self, named: &str) -> Value {
        let booked: Exact = self.lines.values().cloned().sum();
        let adjustments: BTreeMap<_, _> = self.lines.iter().filter(|(origin, _)| *origin != named).collect();
        json!({
            "booked": booked, "lines": self.lines, "adjustments": adjustments, "payer": self.payer, "payee": self.payee,
            "currency": self.currency,
        })
    }
}

impl Finding {
    fn json(&self) -> Value {
        let Self { term, event, occurred_at, code, consequence, state } = self;
        json!({
            "term": term, "event": event, "occurred_at": occurred_at, "code": code, "consequence": consequence,
            "state": state,
        })
    }
}

impl Entitled {
    fn json(&self) -> Value {
        let crossing = |Crossing { event, at, shared, unshared }: &Crossing| json!({ "event": event, "at": at, "shared": shared, "unshared": unshared });
        let period = |it: &EntitledPeriod| {
            let (before, after) = it.cap.clone().unzip();
            json!({
                "base": it.base, "uncapped": it.uncapped, "accrued": it.accrued, "rounded": it.rounded,
                "cap_before": before, "cap_after": after,
            })
        };
        let periods: Map<_, _> = self.periods.iter().map(|(label, it)| (label.clone(), period(it))).collect();
        json!({
            "cumulative": self.cumulative, "crossings": all(&self.crossings, crossing), "periods": periods,
            "zero_after_cap": self.zero_after_cap,
        })
    }
}

impl Listed {
    fn json(&self) -> Value {
        json!({ "id": self.id, "recorded_at": self.recorded_at, "reason": self.reason })
    }
}
