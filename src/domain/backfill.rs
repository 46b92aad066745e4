//! Backfills: files that are applied and reverted as one, how far that is, and what of one can be taken back.

use super::hex::hex;
use super::ids::EventId;
use super::names::names;
use super::usage::{Amendment, AmendmentKind, UsageMessage};
use serde::Serialize;

names! {
    /// How far a backfill is: each follows those above it.
    BackfillStatus as "status of a backfill" {
        /// It is being taken in, or was interrupted: applied again it goes on.
        Applying = "applying",
        Applied = "applied",
        /// It is being taken back, was interrupted, or something of it stays that may be taken back later.
        Reverting = "reverting",
        /// All of it is taken back that ever can be.
        Reverted = "reverted",
    }
    /// What a backfill brought.
    Brought as "part of a backfill" {
        Event = "event",
        Correction = "correction",
        Void = "void",
    }
}

/// The longest name, in characters; the database keeps to the same.
const MAX_NAME_CHARS: usize = 100;

/// Whether a text can name a backfill, wherever it is written: in a path, a URL, or on a command line.
pub fn is_backfill_name(text: &str) -> bool {
    let may_follow = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    (1..=MAX_NAME_CHARS).contains(&text.len())
        && text.starts_with(|it: char| it.is_ascii_alphanumeric())
        && text.chars().all(may_follow)
}

/// The void by which a backfill's revert takes something back: the same each time, so that none is voided twice.
pub fn taking_back(backfill: &str, brought: &EventId) -> UsageMessage {
    // As short as an id has to be, however long that of what it takes back is.
    let digest = blake3::hash(brought.id.as_bytes());
    let id = format!("revert.{backfill}.{}", hex(digest.as_bytes()));
    UsageMessage::Amendment(Amendment {
        id: EventId { source: brought.source.clone(), id },
        target: brought.id.clone(),
        kind: AmendmentKind::Void,
    })
}

/// An event that a backfill brought, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtEvent {
    pub id: EventId,
    pub voided: bool,
    /// The last correction that others made of it since, and that stands.
    pub corrected_by: Option<String>,
}

/// A correction or void that a backfill brought, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtAmendment {
    pub id: EventId,
    pub is_void: bool,
    /// Whether it is voided itself.
    pub voided: bool,
    pub target: String,
    pub names: Named,
}

/// What a correction or void of a backfill names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// An event of the same backfill.
    OwnEvent { voided: bool },
    /// A correction of the same backfill.
    OwnCorrection,
    /// What was there without it, or is not known yet.
    Other,
}

/// Why something that a backfill brought stays when that is reverted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    #[error("{by} corrected it since; void that first, or this event itself")]
    CorrectedSince { by: String },
    #[error("the event {event}, which it corrects, stays")]
    WithEvent { event: String },
    #[error("it voids {target}, and a void is never taken back; report anew what it removed, under a new id")]
    Void { target: String },
}

impl Stays {
    /// Whether nothing can change it any more.
    pub fn is_for_ever(&self) -> bool {
        match self {
            Self::Void { .. } => true,
            Self::CorrectedSince { .. } | Self::WithEvent { .. } => false,
        }
    }
}

impl Serialize for Stays {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a revert does about something that a backfill brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A void takes it back.
    TakenBack,
    /// It has no effect any more.
    Gone,
    Stays(Stays),
}

impl BroughtEvent {
    pub fn fate(&self) -> Fate {
        match &self.corrected_by {
            _ if self.voided => Fate::Gone,
            Some(by) => Fate::Stays(Stays::CorrectedSince { by: by.clone() }),
            None => Fate::TakenBack,
        }
    }
}

impl BroughtAmendment {
    pub fn brought(&self) -> Brought {
        if self.is_void { Brought::Void } else { Brought::Correction }
    }

    /// Once the events of the backfill are taken back as far as they can be.
    pub fn fate(&self) -> Fate {
        match (self.is_void, self.names) {
            // What it removed came with it, and goes with it.
            (true, Named::OwnEvent { .. } | Named::OwnCorrection) => Fate::Gone,
            (true, Named::Other) => Fate::Stays(Stays::Void { target: self.target.clone() }),
            (false, _) if self.voided => Fate::Gone,
            (false, Named::OwnEvent { voided: true }) => Fate::Gone,
            // Who corrected the event since saw it with this correction.
            (false, Named::OwnEvent { voided: false }) => Fate::Stays(Stays::WithEvent { event: self.target.clone() }),
            (false, Named::OwnCorrection | Named::Other) => Fate::TakenBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> EventId {
        EventId { source: "s".into(), id: id.into() }
    }

    #[test]
    fn an_event_is_taken_back_unless_it_is_gone_or_others_corrected_it() {
        let fate =
            |voided, by: Option<&str>| BroughtEvent { id: id("e"), voided, corrected_by: by.map(Into::into) }.fate();
        assert_eq!(fate(false, None), Fate::TakenBack);
        assert_eq!((fate(true, None), fate(true, Some("k"))), (Fate::Gone, Fate::Gone));
        let stays = Stays::CorrectedSince { by: "k".into() };
        assert!(!stays.is_for_ever());
        assert_eq!(fate(false, Some("k")), Fate::Stays(stays));
    }

    #[test]
    fn a_correction_is_taken_back_unless_it_goes_or_stays_with_its_event_and_a_void_stays() {
        let fate = |is_void, voided, names| {
            BroughtAmendment { id: id("a"), is_void, voided, target: "t".into(), names }.fate()
        };
        let gone = Named::OwnEvent { voided: true };
        let left = Named::OwnEvent { voided: false };
        let void = Stays::Void { target: "t".into() };
        assert!(void.is_for_ever());
        for (is_void, voided, names, expected) in [
            (false, false, Named::Other, Fate::TakenBack),
            (false, true, Named::Other, Fate::Gone),
            (false, false, gone, Fate::Gone),
            (false, false, left, Fate::Stays(Stays::WithEvent { event: "t".into() })),
            (false, true, left, Fate::Gone),
            (true, false, Named::Other, Fate::Stays(void)),
            (true, false, gone, Fate::Gone),
            (true, false, Named::OwnCorrection, Fate::Gone),
        ] {
            assert_eq!(fate(is_void, voided, names), expected, "{is_void} {voided} {names:?}");
        }
    }

    #[test]
    fn what_takes_something_back_has_an_id_of_the_backfill_that_is_short_enough() {
        let taken = |backfill: &str, brought: &str| taking_back(backfill, &id(brought)).id().clone();
        assert_eq!(taken("a", "e"), taken("a", "e"));
        assert!(taken("a", "e") != taken("b", "e") && taken("a", "e") != taken("a", "f"));
        assert_eq!(taken("a", "e").source, "s");
        assert!(taken(&"x".repeat(100), &"y".repeat(256)).id.len() <= 256);
    }

    #[test]
    fn a_name_can_stand_in_a_path() {
        assert!(is_backfill_name("azure-2026.05_a") && is_backfill_name(&"x".repeat(100)));
        let long = "x".repeat(101);
        for name in ["", "-a", ".a", "a/b", "a b", "ä", long.as_str()] {
            assert!(!is_backfill_name(name), "{name}");
        }
    }
}
