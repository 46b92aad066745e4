//! What `simulate` answers, in the form in which every run of a scenario is compared.

use crate::answers::{self, Answer, Answers};
use crate::translate::{Asked, Translated};
use apportion::domain::engine::allocation::allocate;
use apportion::domain::engine::stretches::Grain;
use apportion::domain::findings::Why;
use apportion::domain::money::Exact;
use apportion::domain::restated::Mention;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{self, State};
use apportion::domain::simulate::charges::Charge;
use apportion::domain::simulate::run::{run, run_by};
use std::collections::BTreeMap;

/// Runs a translated scenario.
pub fn simulated(scenario: &Translated) -> Answers {
    let read = match Scenario::read(&scenario.files) {
        Ok(read) => read,
        Err(errors) => return Answers { refused: Some(errors.to_string()), ..Answers::default() },
    };
    let ran = match run(&read) {
        Ok(ran) => ran,
        Err(errors) => return Answers { refused: Some(errors.to_string()), ..Answers::default() },
    };
    told(scenario, ran)
}

/// The answers to everything that a scenario asks, of what somebody answered to its steps.
pub fn told(scenario: &Translated, ran: answer::Answers) -> Answers {
    let mut simulated = ran.steps.into_iter();
    let answers = scenario.asked.iter().map(|asked| match asked {
        Asked::Simulate => simulated.next().map(answered),
        Asked::Round { .. } => answers::rounded(asked),
        Asked::Allocate { .. } => allocated(asked),
    });
    let steps = answers.map(|answer| answer.unwrap_or(Answer::Failed { code: "no_answer".to_owned() })).collect();
    let mut booked_in_all: BTreeMap<String, BTreeMap<String, Exact>> = BTreeMap::new();
    for it in ran.booked_in_all {
        let key = format!("{}|{}|{}|{}", it.term, it.payer, it.payee, it.unit);
        booked_in_all.entry(it.contract.to_string()).or_default().insert(key, it.amount);
    }
    Answers { refused: None, steps, booked_in_all }
}

/// The parts of a total that is rounded first.
fn allocated(asked: &Asked) -> Option<Answer> {
    let Asked::Allocate { total, names, weights, digits, mode } = asked else { return None };
    let one = Asked::Round { amounts: vec![total.clone()], digits: *digits, mode: mode.clone() };
    let Some(Answer::Amounts(rounded)) = answers::rounded(&one) else { return None };
    let weights: Vec<Exact> = weights.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?;
    let parts = allocate(&rounded.first()?.1, *digits, &weights)?;
    let names = names.iter().cloned().chain(std::iter::repeat(String::new()));
    Some(Answer::Amounts(names.zip(parts).collect()))
}

fn answered(answer: answer::Answer) -> Answer {
    match answer {
        answer::Answer::Settled { settlements, findings, .. } => Answer::Settled {
            settlements: settlements.into_iter().map(settlement).collect(),
            findings: findings.into_iter().map(finding).collect(),
        },
        answer::Answer::Closed => Answer::Closed,
        answer::Answer::Failed { code, message, .. } => {
            println!("{message}");
            Answer::Failed { code: code.to_owned() }
        }
        answer::Answer::Entitled { terms } => {
            Answer::Entitled { terms: terms.into_iter().map(|(term, it)| (term.to_string(), entitled(it))).collect() }
        }
        answer::Answer::Findings { findings } => Answer::Findings(findings.into_iter().map(finding).collect()),
        answer::Answer::Charges(charges) => charged(charges),
        answer::Answer::Period { start, end, .. } => Answer::Period { start, end },
    }
}

fn settlement(settled: answer::Settlement) -> answers::Settlement {
    let mut statements: BTreeMap<String, Exact> = BTreeMap::new();
    for it in &settled.booked {
        *statements.entry(format!("{}|{}|{}", it.payer, it.payee, it.unit)).or_default() += &it.amount;
    }
    let booked = settled.booked.into_iter().map(|it| answers::Booked {
        term: if it.is_shared { format!("{}/{}", it.term, it.payee) } else { it.term.to_string() },
        payer: it.payer.to_string(),
        payee: it.payee.to_string(),
        currency: it.unit.to_string(),
        lines: it.lines.into_iter().map(|(origin, amount)| (first_day(origin), amount)).collect(),
    });
    answers::Settlement { period: first_day(settled.period), booked: booked.collect(), statements }
}

/// A period that has no name of its own is called by its first day there.
fn first_day(period: String) -> String {
    period.split_once('/').map_or_else(|| period.clone(), |(first, _)| first.to_owned())
}

fn finding(found: answer::Finding) -> answers::Finding {
    let code = match found.why {
        Why::NotFirst { .. } => "not_first_available",
        Why::Elsewhere { .. } => "exclusive_elsewhere",
        Why::Unlicensed { .. } => "licence_not_in_force",
        Why::LicensedAlone { .. } => "licence_exclusive",
    };
    let state = match found.state {
        State::Open => "open",
        State::Released => "released",
        State::Rejected => "rejected",
    };
    answers::Finding {
        term: found.right.to_string(),
        event: found.event.id,
        occurred_at: found.occurred_at,
        code: code.to_owned(),
        consequence: found.on_breach.name().to_owned(),
        state: state.to_owned(),
    }
}

fn entitled(it: answer::Entitled) -> answers::Entitled {
    let periods = it.periods.into_iter().map(|(name, it)| {
        let period = answers::EntitledPeriod {
            base: it.base,
            uncapped: it.uncapped,
            accrued: it.accrued,
            rounded: it.rounded,
            cap: it.cap.map(|cap| (cap.before, cap.after)),
        };
        (first_day(name), period)
    });
    let crossings = it.crossings.into_iter().map(|it| answers::Crossing {
        event: it.item.unwrap_or_default(),
        at: it.at,
        shared: it.found_room,
        unshared: it.found_none,
    });
    answers::Entitled {
        periods: periods.collect(),
        cumulative: it.cumulative,
        crossings: crossings.collect(),
        zero_after_cap: it.without_room,
    }
}

fn charged(charged: answer::Charges) -> Answer {
    let listed = |mention: &Mention, reason: Option<String>| answers::Listed {
        id: mention.id.id.clone(),
        recorded_at: mention.recorded_at,
        reason,
    };
    let rated = charged.charges.into_iter().filter_map(|event| match event.charge {
        Charge::Rated { amounts, .. } => {
            Some((event.id.id, amounts.into_iter().map(|(currency, it)| (currency.to_string(), it)).collect()))
        }
        Charge::Unsold | Charge::Unresolved => None,
    });
    // What the translation tells to each contract under an id of its own is one record.
    let once = |all: Vec<answers::Listed>| {
        let ids: Vec<String> = all.iter().map(|it| it.id.clone()).collect();
        let is_first =
            |it: &answers::Listed| it.id.rsplit_once('#').is_none_or(|(first, _)| !ids.iter().any(|id| id == first));
        all.into_iter().filter(is_first).collect()
    };
    let rejected = charged.rejected.iter().map(|it| listed(&it.what, Some(it.reason.name().to_owned())));
    Answer::Charges(answers::Charges {
        charges: rated.collect(),
        conflicts: once(charged.conflicts.iter().map(|it| listed(it, None)).collect()),
        rejected: once(rejected.collect()),
        waiting: once(charged.waiting.iter().map(|it| listed(&it.what, Some(it.waits_for.id.clone()))).collect()),
    })
}

/// Where the answers on sums differ from those on items; what found no room is told of opened stretches alone.
pub fn on_sums(scenario: &Translated) -> Option<String> {
    let read = Scenario::read(&scenario.files).ok()?;
    let by = |grain| {
        let mut answers = run_by(&read, grain, || {}).ok()?;
        for step in &mut answers.steps {
            match step {
                answer::Answer::Settled { terms, .. } | answer::Answer::Entitled { terms } => {
                    terms.values_mut().for_each(|it| it.without_room.clear())
                }
                answer::Answer::Failed { message, .. } => message.clear(),
                _ => {}
            }
        }
        serde_json::to_string_pretty(&answers).ok()
    };
    let (items, sums) = (by(Grain::Items)?, by(Grain::Sums)?);
    let different = items.lines().zip(sums.lines()).find(|(items, sums)| items != sums);
    different.map(|(items, sums)| format!("{} of items, {} of sums", items.trim(), sums.trim()))
}
