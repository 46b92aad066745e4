//! Conversion: which stored rate turns an amount of one unit into another (CONTRACTS section 6).

use crate::domain::money::{Exact, Unit};
use chrono::NaiveDate;
use serde::Serialize;

/// How a contract converts. Always by multiplication with a rate that is stated in that direction, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FxRule {
    /// Whose rates are taken.
    pub source: String,
    pub date: FxDate,
    /// How many days before its date a rate may be, the last one first.
    pub within_days: u32,
    /// Whether a rate of the other direction may be turned round.
    pub allows_inverse: bool,
    /// Over which unit two rates may be joined.
    pub cross: Option<Unit>,
    /// Rates that the contract states itself; they come first.
    pub fixed: Vec<FixedRate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FxDate {
    /// The local date of the item.
    Item,
    /// The last day of the item's settlement period.
    PeriodEnd,
    On(NaiveDate),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FixedRate {
    pub from: Unit,
    pub to: Unit,
    /// Multiplied with.
    pub rate: Exact,
}
