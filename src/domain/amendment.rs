//! What an event is after its corrections and voids (CONTRACTS section 2).
//!
//! Per field the last recorded restatement that is not itself voided holds; a void removes the event, or one
//! of its corrections. What is refused never has an effect, wherever it was recorded.

use super::usage::{Amendment, AmendmentKind, Restatement, UsageContent};
use std::collections::BTreeSet;

/// An event as it stands after what is known of its corrections and voids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventState {
    /// A voided event counts nowhere; its content is what it would be.
    pub voided: bool,
    pub content: UsageContent,
}

impl EventState {
    /// Whether it counts: it is not voided, and what corrections made of it fits together.
    pub fn counts(&self) -> bool {
        !self.voided && !self.content.ends_before_start()
    }
}

/// Why a correction or void is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it corrects an event that is voided")]
    CorrectionOfVoided,
    #[error("it corrects a correction or a void; only an event can be corrected")]
    CorrectionOfAmendment,
    #[error("it voids a void; only an event or a correction can be voided")]
    VoidOfVoid,
}

/// What a correction or void names, as far as that is known when it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing of that id was recorded yet; `voided` says whether a void waits for it already.
    Unknown {
        voided: bool,
    },
    Event {
        voided: bool,
    },
    Correction,
    Void,
}

/// Decides whether a correction or void of usage may name its target.
///
/// # Errors
/// The refusal, if it may not.
pub fn check(kind: &AmendmentKind, target: Target) -> Result<(), Refusal> {
    may_name(matches!(kind, AmendmentKind::Void), target)
}

/// Decides whether a void, or else a correction, may name its target, whatever that is of.
///
/// # Errors
/// The refusal, if it may not.
pub fn may_name(is_void: bool, target: Target) -> Result<(), Refusal> {
    match (is_void, target) {
        // Whatever a voided unknown turns out to be, nothing about it can be corrected any more.
        (false, Target::Event { voided: true } | Target::Unknown { voided: true }) => Err(Refusal::CorrectionOfVoided),
        (false, Target::Correction | Target::Void) => Err(Refusal::CorrectionOfAmendment),
        (true, Target::Void) => Err(Refusal::VoidOfVoid),
        (false, Target::Event { voided: false } | Target::Unknown { voided: false })
        | (true, Target::Event { .. } | Target::Unknown { .. } | Target::Correction) => Ok(()),
    }
}

/// The state of an event with the amendments that name it or one of its corrections.
///
/// `amendments` stand in order of recording and are of the event's source. Those that name neither the
/// event nor one of its corrections have no effect, nor has a correction recorded after a void of the event.
pub fn state(event_id: &str, content: &UsageContent, amendments: &[&Amendment]) -> EventState {
    let is_void = |amendment: &Amendment| matches!(amendment.kind, AmendmentKind::Void);
    let removed: BTreeSet<&str> =
        amendments.iter().filter(|a| is_void(a) && a.target != event_id).map(|a| a.target.as_str()).collect();
    let mut state = EventState { voided: false, content: content.clone() };
    for amendment in amendments.iter().filter(|a| a.target == event_id) {
        match &amendment.kind {
            AmendmentKind::Void => state.voided = true,
            AmendmentKind::Correction(restated) => {
                if !state.voided && !removed.contains(amendment.id.id.as_str()) {
                    restate(&mut state.content, restated);
                }
            }
        }
    }
    state
}

fn restate(content: &mut UsageContent, restated: &Restatement) {
    let Restatement {
        occurred_at,
        ended_at,
        deployment,
        product,
        customer,
        service_tier,
        outcome,
        attributes,
        quantities,
    } = restated;
    if let Some(occurred_at) = occurred_at {
        content.occurred_at = *occurred_at;
    }
    if ended_at.is_some() {
        content.ended_at = *ended_at;
    }
    let texts = [
        (&mut content.deployment, deployment),
        (&mut content.product, product),
        (&mut content.customer, customer),
        (&mut content.service_tier, service_tier),
    ];
    for (field, value) in texts {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    if outcome.is_some() {
        content.outcome = *outcome;
    }
    for (name, value) in attributes {
        content.attributes.insert(*name, value.clone());
    }
    content.attributes.retain(|_, value| !value.is_empty());
    if let Some(quantities) = quantities {
        content.quantities.clone_from(quantities);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::EventId;
    use crate::domain::period::parse_instant;
    use crate::domain::usage::{Meter, Quantities, UsageAttribute, UsageAttributes};
    use rust_decimal::Decimal;

    fn quantities(tokens: u32) -> Quantities {
        Quantities::from([(Meter::InputTokens, Decimal::from(tokens))])
    }

    fn content() -> UsageContent {
        UsageContent {
            occurred_at: parse_instant("2026-05-01T00:00:00Z").expect("an instant"),
            ended_at: None,
            deployment: "azure".into(),
            product: "gpt".into(),
            customer: String::new(),
            service_tier: "default".into(),
            outcome: None,
            attributes: UsageAttributes::new(),
            quantities: quantities(1),
        }
    }

    fn amendment(id: &str, target: &str, kind: AmendmentKind) -> Amendment {
        Amendment { id: EventId { source: "s".into(), id: id.into() }, target: target.into(), kind }
    }

    fn tokens(id: &str, tokens: u32) -> Amendment {
        let restated = Restatement { quantities: Some(quantities(tokens)), ..Restatement::default() };
        amendment(id, "e", AmendmentKind::Correction(restated))
    }

    fn product(id: &str, name: &str) -> Amendment {
        let restated = Restatement { product: Some(name.into()), ..Restatement::default() };
        amendment(id, "e", AmendmentKind::Correction(restated))
    }

    fn void(id: &str, target: &str) -> Amendment {
        amendment(id, target, AmendmentKind::Void)
    }

    #[test]
    fn the_last_restatement_of_a_field_that_is_not_voided_holds() {
        let cases: Vec<(Vec<Amendment>, bool, u32, &str)> = vec![
            (vec![], false, 1, "gpt"),
            (vec![tokens("c1", 2)], false, 2, "gpt"),
            (vec![tokens("c1", 2), tokens("c2", 3)], false, 3, "gpt"),
            (vec![tokens("c1", 2), product("c2", "codex")], false, 2, "codex"),
            (vec![tokens("c1", 2), tokens("c2", 3), void("v", "c2")], false, 2, "gpt"),
            // The void waited for its correction.
            (vec![void("v", "c2"), tokens("c1", 2), tokens("c2", 3)], false, 2, "gpt"),
            (vec![void("v", "c1"), tokens("c1", 2)], false, 1, "gpt"),
            (vec![tokens("c1", 2), void("v", "e")], true, 2, "gpt"),
            // Refused, so without effect: a correction of a voided event, a void of a void.
            (vec![void("v", "e"), tokens("c1", 2)], true, 1, "gpt"),
            (vec![void("v", "e"), void("w", "v")], true, 1, "gpt"),
            (vec![void("v", "e"), void("w", "e")], true, 1, "gpt"),
            // A correction of a correction is refused.
            (vec![tokens("c1", 2), amendment("c2", "c1", tokens("x", 9).kind)], false, 2, "gpt"),
        ];
        for (amendments, voided, tokens, product) in cases {
            let known: Vec<&Amendment> = amendments.iter().collect();
            let state = state("e", &content(), &known);
            assert_eq!(state.voided, voided, "{amendments:?}");
            assert_eq!(state.content.quantities, quantities(tokens), "{amendments:?}");
            assert_eq!(state.content.product, product, "{amendments:?}");
        }
    }

    #[test]
    fn each_attribute_is_a_field_of_its_own() {
        let told = |pairs: &[(UsageAttribute, &str)]| -> UsageAttributes {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let (country, label) = (UsageAttribute::Country, UsageAttribute::Label);
        let content = UsageContent { attributes: told(&[(country, "CH"), (label, "setup")]), ..content() };
        let restate = |id: &str, pairs: &[(UsageAttribute, &str)]| {
            let restated = Restatement { attributes: told(pairs), ..Restatement::default() };
            amendment(id, "e", AmendmentKind::Correction(restated))
        };
        let cases = [
            (vec![restate("c1", &[(country, "DE")])], told(&[(country, "DE"), (label, "setup")])),
            (vec![restate("c1", &[(country, "DE")]), restate("c2", &[(label, "")])], told(&[(country, "DE")])),
            (vec![restate("c1", &[(country, "DE")]), void("v", "c1")], content.attributes.clone()),
        ];
        for (amendments, expected) in cases {
            let known: Vec<&Amendment> = amendments.iter().collect();
            assert_eq!(state("e", &content, &known).content.attributes, expected, "{amendments:?}");
        }
    }

    #[test]
    fn an_interval_that_would_end_before_it_starts_counts_nowhere() {
        let at = |text: &str| parse_instant(text).ok();
        let content = UsageContent { ended_at: at("2026-05-01T01:00:00Z"), ..content() };
        let moved = |id: &str, to: &str| {
            let restated = Restatement { occurred_at: at(to), ..Restatement::default() };
            amendment(id, "e", AmendmentKind::Correction(restated))
        };
        let ended = Restatement { ended_at: at("2026-05-01T03:00:00Z"), ..Restatement::default() };
        let later = moved("c1", "2026-05-01T02:00:00Z");
        let cases = [
            (vec![moved("c1", "2026-05-01T01:00:00Z")], true),
            (vec![later.clone()], false),
            (vec![later.clone(), amendment("c2", "e", AmendmentKind::Correction(ended))], true),
            (vec![later.clone(), void("v", "c1")], true),
        ];
        for (amendments, counts) in cases {
            let known: Vec<&Amendment> = amendments.iter().collect();
            assert_eq!(state("e", &content, &known).counts(), counts, "{amendments:?}");
        }
    }

    #[test]
    fn what_may_not_be_named_is_refused() {
        let correction = tokens("c", 2).kind;
        let cases = [
            (&correction, Target::Event { voided: false }, Ok(())),
            (&correction, Target::Event { voided: true }, Err(Refusal::CorrectionOfVoided)),
            (&correction, Target::Unknown { voided: true }, Err(Refusal::CorrectionOfVoided)),
            (&correction, Target::Correction, Err(Refusal::CorrectionOfAmendment)),
            (&correction, Target::Void, Err(Refusal::CorrectionOfAmendment)),
            (&AmendmentKind::Void, Target::Event { voided: true }, Ok(())),
            (&AmendmentKind::Void, Target::Correction, Ok(())),
            (&AmendmentKind::Void, Target::Void, Err(Refusal::VoidOfVoid)),
        ];
        for (kind, target, expected) in cases {
            assert_eq!(check(kind, target), expected, "{kind:?} of {target:?}");
        }
    }
}
