//! A version of an agreement as the engine runs it: all definitions and terms in force from its effective instant on.

use super::fact::FactRule;
use super::fx::FxRule;
use super::measure::{Amount, Base, FigureDefinition};
use super::term::{Cap, Term};
use super::window::Moment;
use crate::domain::calendar::Calendar;
use crate::domain::ids::{ContractId, DefinedTerm};
use crate::domain::money::Unit;
use crate::domain::period::Instant;
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::BTreeMap;

/// An agreement with the versions that are known, numbers rising.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agreement {
    pub id: ContractId,
    pub zone: Tz,
    pub unit: Unit,
    /// Its settlement periods.
    pub period: Calendar,
    pub versions: Vec<AgreementVersion>,
}

/// The full set of definitions and terms in force from an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgreementVersion {
    pub number: u32,
    pub effective_at: Instant,
    /// When all its terms end, exclusive: the first of these.
    pub until: Vec<Moment>,
    pub bases: BTreeMap<DefinedTerm, Base>,
    pub amounts: BTreeMap<DefinedTerm, Amount>,
    pub figures: BTreeMap<DefinedTerm, FigureDefinition>,
    pub facts: BTreeMap<DefinedTerm, FactRule>,
    pub caps: BTreeMap<DefinedTerm, Cap>,
    pub fx: Option<FxRule>,
    /// In the order of the file, which is their order at one item.
    pub terms: Vec<Term>,
}

impl Agreement {
    /// The version in force at an instant: of those effective by then the one with the highest number.
    pub fn in_force(&self, at: Instant) -> Option<&AgreementVersion> {
        self.versions.iter().rev().find(|version| version.effective_at <= at)
    }
}
