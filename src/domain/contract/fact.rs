//! Facts that a contract waits for: what kind, about what, and whom they name.

use super::selector::Attribute;
use crate::domain::ids::PartyId;
use crate::domain::period::Length;
use serde::Serialize;

/// A name of facts that a contract declares; the facts come later, as records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactRule {
    pub kind: FactKind,
    /// What its facts tell apart; nothing where they are about the contract.
    pub about: Vec<Attribute>,
    pub by: Option<PartyId>,
    /// Whether each names a party, such as who introduced a customer.
    pub names_party: bool,
    /// Which one holds of several about the same.
    pub pick: Pick,
    /// So many of the first, in the order of time, do not count.
    pub skip: u32,
    /// For how long it holds; none: for ever, or until it is ended.
    pub lasts: Option<Length>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// Something that happens, such as a milestone.
    Event,
    /// Something that holds for a while, such as a waiver.
    Status,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    #[default]
    First,
    Last,
}
