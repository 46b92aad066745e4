//! What of a scenario counts in no amount, such as conflicts, what waits and unknown names; and records that the service would refuse.

use super::Scenario;
use super::known::recorded_by;
use super::run::as_known;
use crate::domain::contract::Contract;
use crate::domain::contract::document::FileLine;
use crate::domain::contract::records::{RecordProblem, ReportedDays, check_record};
use crate::domain::ids::{DeploymentId, EventId, ProductId};
use crate::domain::names::{names, nearest, there_is};
use crate::domain::period::{Instant, LocalTime};
use crate::domain::record::{Record, RecordContent};
use crate::domain::register::Register;
use crate::domain::restated::{KnownUsage, Ledger, Standing, Taking};
use crate::domain::settlement::waiting;
use crate::domain::usage::UsageContent;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An entry that counts in no amount, or would be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uncounted {
    /// Usage, a correction, a void, or the kind of a record.
    pub kind: &'static str,
    pub id: EventId,
    pub recorded_at: Instant,
    /// Where it stands in the scenario's files.
    pub place: Option<FileLine>,
    pub outcome: UncountedOutcome,
    pub why: String,
}

names! {
    /// What became of an entry that does not count.
    UncountedOutcome as "outcome of an entry" {
        /// Its id is known with other content, which stands.
        Conflict = "conflict",
        /// It can have no effect.
        Rejected = "rejected",
        /// It names what is not known, or void.
        Waits = "waits",
        /// No register has its deployment or product.
        Unresolved = "unresolved",
        /// No agreement asks for it.
        Unawaited = "unawaited",
        /// It counts here; the service does not take it.
        Refused = "refused",
    }
}

/// What does not count of all that was recorded by an instant, in the order of recording.
pub fn uncounted(scenario: &Scenario, contracts: &[Contract], register: &Register, at: Instant) -> Vec<Uncounted> {
    let (mut ledger, mut found) = (Ledger::default(), Found { scenario, all: Vec::new() });
    // The places of entries that were taken: each has its id for itself.
    let mut taken: BTreeMap<&EventId, usize> = BTreeMap::new();
    let mut rejected_at_once: usize = 0;
    for (place, entry) in recorded_by(scenario, at) {
        match ledger.take(entry) {
            Taking::Taken => drop(taken.insert(&entry.id, place)),
            Taking::Duplicate => {}
            Taking::Conflict => {
                let stands = taken.get(&entry.id).and_then(|place| scenario.places.get(*place));
                let stands = stands.map(|place| format!(" at {place}")).unwrap_or_default();
                found.add(
                    place,
                    UncountedOutcome::Conflict,
                    format!("its id is known{stands} with other content, which stands"),
                );
            }
            Taking::Rejected(reason) => {
                rejected_at_once = rejected_at_once.saturating_add(1);
                found.add(place, UncountedOutcome::Rejected, reason.to_string());
            }
        }
    }
    let Standing { usage, records, rejected, waiting: naming, .. } = ledger.standing();
    let mut add = |id: &EventId, outcome, why| {
        if let Some(place) = taken.get(id) {
            found.add(*place, outcome, why);
        }
    };
    // Those that were told above come first.
    for it in rejected.iter().skip(rejected_at_once) {
        add(&it.what.id, UncountedOutcome::Rejected, it.reason.to_string());
    }
    for it in &naming {
        add(&it.what.id, UncountedOutcome::Waits, format!("for {}, which is not known", it.waits_for));
    }
    for event in &usage {
        if let Some(why) = unresolved(&event.content, register) {
            add(&event.id, UncountedOutcome::Unresolved, why);
        }
    }
    for (id, why) in before_agreements(&usage, &records, contracts) {
        add(id, UncountedOutcome::Unawaited, why);
    }
    let usage = usage.iter().map(|it| (&it.id, &it.content)).collect();
    let waiting = waiting(&records, &usage, register);
    let waits: BTreeSet<&EventId> = waiting.iter().map(|(id, _)| *id).collect();
    let mut reported = ReportedDays::default();
    for record in &records {
        let problem = check_record(record, contracts, register, &[]).err();
        if let Some(problem) = problem.as_ref().filter(|it| never_counts(record, it)) {
            add(&record.id, UncountedOutcome::Unawaited, problem.to_string());
            continue;
        }
        let recorded_at = taken.get(&record.id).and_then(|place| scenario.entries.get(*place)).map(|it| it.recorded_at);
        let as_it_was = problem.filter(|_| recorded_at.is_none_or(|at| is_refused(record, contracts, register, at)));
        let again = reported.add(record);
        // What waits counts nowhere yet.
        if let Some(problem) = as_it_was.or(again).filter(|_| !waits.contains(&record.id)) {
            let why = format!("it counts here, but the service refuses it: {problem}");
            add(&record.id, UncountedOutcome::Refused, why);
        }
    }
    for (id, waits_for) in waiting {
        add(id, UncountedOutcome::Waits, format!("for {waits_for}"));
    }
    found.all.sort_by_key(|(place, it)| (it.recorded_at, *place));
    // Of what no agreement asks for it is not told as well what it would wait for.
    found.all.dedup_by_key(|(place, _)| *place);
    found.all.into_iter().map(|(_, it)| it).collect()
}

/// What does not count, each with the place of its entry.
struct Found<'a> {
    scenario: &'a Scenario,
    all: Vec<(usize, Uncounted)>,
}

impl Found<'_> {
    fn add(&mut self, place: usize, outcome: UncountedOutcome, why: String) {
        let Some(entry) = self.scenario.entries.get(place) else { return };
        self.all.push((
            place,
            Uncounted {
                kind: entry.what.kind(),
                id: entry.id.clone(),
                recorded_at: entry.recorded_at,
                place: self.scenario.places.get(place).cloned(),
                outcome,
                why,
            },
        ));
    }
}

/// What of a usage event no register names.
fn unresolved(content: &UsageContent, register: &Register) -> Option<String> {
    let UsageContent { deployment, product, .. } = content;
    if !register.deployments.contains_key(&DeploymentId::from(deployment.as_str())) {
        return Some(unknown("deployment", deployment, register.deployments.keys()));
    }
    let is_known = register.products.contains_key(&ProductId::from(product.as_str()));
    (!is_known).then(|| unknown("product", product, register.products.keys()))
}

/// Usage of a time at which no agreement is in force yet. What names it, such as a receipt, may come later and count.
fn before_agreements<'u>(
    usage: &'u [KnownUsage],
    records: &[Record],
    contracts: &[Contract],
) -> Vec<(&'u EventId, String)> {
    let begin = contracts.iter().filter_map(|it| Some((it.begins()?, it)));
    let Some((at, first)) = begin.min_by_key(|(at, _)| *at) else { return Vec::new() };
    let named: BTreeSet<&EventId> = records.iter().flat_map(Record::names).collect();
    let is_before = |it: &&KnownUsage| it.content.occurred_at < at && !named.contains(&it.id);
    let begins = LocalTime { at, zone: first.head.zone };
    let why = format!("it occurred before the first agreement, {}, begins at {begins}", first.head.id);
    usage.iter().filter(is_before).map(|it| (&it.id, why.clone())).collect()
}

fn unknown<N: ToString>(kind: &str, name: &str, known: impl Iterator<Item = N>) -> String {
    let known: Vec<String> = known.map(|it| it.to_string()).collect();
    format!("no {kind} \"{name}\" is registered{}", there_is(&nearest(name, &known)))
}

/// Whether a record that the service refuses counts nowhere: one from another party, say, counts here all the same.
fn never_counts(record: &Record, problem: &RecordProblem) -> bool {
    let is_fact = matches!(record.content, RecordContent::Fact(_));
    match problem {
        RecordProblem::UnknownContract { .. }
        | RecordProblem::Undeclared { .. }
        | RecordProblem::OtherKind { .. }
        | RecordProblem::UnknownCategory { .. }
        | RecordProblem::UnknownRight { .. } => true,
        // A fact about what there is not holds of nothing.
        RecordProblem::UnknownName { .. }
        | RecordProblem::UnknownDeployment { .. }
        | RecordProblem::UnknownProduct { .. } => is_fact,
        // A flow is converted.
        RecordProblem::OtherUnit { .. } => matches!(record.content, RecordContent::Level(_)),
        RecordProblem::OtherParty { .. }
        | RecordProblem::OtherNamed { .. }
        | RecordProblem::Overlap { .. }
        | RecordProblem::DeductionCurrency { .. }
        | RecordProblem::EventUntil { .. }
        | RecordProblem::OtherSubject { .. }
        | RecordProblem::NoSubject { .. } => false,
    }
}

/// Whether the service refused a record when it came: a later version may ask for another.
fn is_refused(record: &Record, contracts: &[Contract], register: &Register, at: Instant) -> bool {
    let mut versions = contracts.iter().flat_map(|contract| &contract.versions);
    let is_later = |recorded_at: Option<Instant>| recorded_at.is_some_and(|recorded_at| recorded_at > at);
    !versions.any(|version| is_later(version.recorded_at))
        || check_record(record, &as_known(contracts, at), register, &[]).is_err()
}
